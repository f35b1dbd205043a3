/* What looks on while a model is trained: evaluation, the angle of the two gradients, gradient flow, samples. Each
 * against a computation of its own; and none of them changes a bit of the training. */
#include "trainer_rig.h"

/* ---- evaluation ---- */

enum { BATCH = 3, TIME = 8, VOCAB = 256, TOKENS = BATCH * TIME };

typedef struct sums {
    double loss;
    int right, asked;
} sums;

/* Cross-entropy and hits of logits (B T, V), by hand. */
static void add_logits(const double *logits, const int32_t *targets, const uint8_t *asked, int vocab, sums *s) {
    for (int i = 0; i < TOKENS; i++) {
        const double *row = logits + i * vocab;
        double total = 0;
        int best = 0;
        for (int v = 0; v < vocab; v++) {
            total += exp(row[v]);
            if (row[v] > row[best]) best = v;
        }
        s->loss += (log(total) - row[targets[i]]) / TOKENS;
        s->asked += asked[i];
        s->right += asked[i] && best == targets[i];
    }
}

/* Held-out batches through the streaming model, which has code of its own: from the beginning for each batch, or on. */
static sums own_evaluation(training *r, const mmrec_train_config *c, int batches) {
    static double logits[TOKENS * VOCAB];
    mmrec_error error = {0};
    mmrec_stream *stream = NULL;
    sums s = {0};
    for (int n = 0; n < batches; n++) {
        int32_t ids[TOKENS], targets[TOKENS];
        uint8_t asked[TOKENS];
        mmrec_data_batch(r->data, MMREC_SPLIT_HELD_OUT, n, ids, targets, asked);
        if (n == 0 || !c->stream) {
            mmrec_stream_destroy(&stream);
            must(mmrec_stream_create(&r->allocator, backend_named("ref"), mmrec_trainer_exec(r->trainer), &c->model,
                                     BATCH, false, 1, &stream, &error),
                 &error);
        }
        must(mmrec_stream_feed(stream, ids, TIME, logits, &error), &error);
        add_logits(logits, targets, asked, (int)c->model.vocab, &s);
    }
    mmrec_stream_destroy(&stream);
    s.loss /= batches;
    return s;
}

static void check_evaluation(training *r, const mmrec_train_config *c, int batches) {
    mmrec_error error = {0};
    mmrec_evaluation e;
    sums want = own_evaluation(r, c, batches);
    must(mmrec_trainer_evaluate(r->trainer, batches, true, &e, &error), &error);
    assert_true(fabs(e.loss - want.loss) <= 1e-11 * want.loss);
    assert_int_equal(e.asked, want.asked);
    assert_true(e.accuracy == (double)want.right / want.asked);
    assert_int_equal(e.batches, batches);
    assert_int_equal(e.tokens, batches * TOKENS);
    must(mmrec_trainer_evaluate(r->trainer, batches, false, &e, &error), &error);
    assert_true(isnan(e.accuracy) && e.asked == 0 && fabs(e.loss - want.loss) <= 1e-11 * want.loss);
}

static void test_evaluation(void **state) {
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        training r;
        mmrec_train_config c = tiny_config();
        c.stream = stream != 0;
        c.model.dropout = 0.3; /* not in an evaluation */
        c.model.memory_decay = 0.8;
        training_start(&r, "ref", &c);
        check_evaluation(&r, &c, 4);
        for (int i = 0; i < 3; i++) step_of(&r);
        check_evaluation(&r, &c, 4); /* with the parameters of now */
        for (int i = 0; i < 12; i++) poke(&r, "norm.weight", i, 0);
        check_evaluation(&r, &c, 1); /* of equal logits the first id counts as the most probable */
        uint64_t attempts = r.allocator.attempts;
        mmrec_evaluation e;
        mmrec_error error = {0};
        must(mmrec_trainer_evaluate(r.trainer, 4, true, &e, &error), &error);
        assert_int_equal(r.allocator.attempts, attempts);
        training_end(&r);
    }
}

/* A task asks for some of the targets only, and its held-out part has an end. */
static void test_task(void **state) {
    (void)state;
    training r;
    mmrec_error error = {0};
    mmrec_train_config c = tiny_config();
    mmrec_data_request request = {.task = MMREC_TASK_COPY, .seed = 3, .batch = BATCH, .time = TIME};
    memset(&r, 0, sizeof r);
    must(mmrec_data_create(&r.allocator, &r.io, &request, &r.data, &error), &error);
    c.model.vocab = mmrec_data_info_of(r.data)->vocab;
    must(mmrec_trainer_create(&r.allocator, backend_named("ref"), r.data, &c, &r.trainer, &error), &error);
    for (int i = 0; i < 3; i++) step_of(&r);
    check_evaluation(&r, &c, 5);
    int64_t all = mmrec_data_info_of(r.data)->held_out_batches;
    mmrec_evaluation e;
    must(mmrec_trainer_evaluate(r.trainer, all + 100, false, &e, &error), &error);
    assert_int_equal(e.batches, all);
    training_end(&r);
}

/* The auxiliary loss as the training graph has it, which at a rate of 0 and without dropout is that of a held-out
 * batch. */
static void test_evaluated_aux(void **state) {
    (void)state;
    for (int deep = 0; deep < 2; deep++) {
        training r;
        rig own;
        mmrec_error error = {0};
        mmrec_evaluation e;
        double aux, main;
        mmrec_train_config c = tiny_config();
        c.model.uboo = deep ? MMREC_UBOO_DEEP : MMREC_UBOO_PLANNING;
        training_start(&r, "ref", &c);
        must(mmrec_trainer_evaluate(r.trainer, 1, false, &e, &error), &error);
        mmrec_model_run run = {.batch = BATCH, .time = TIME, .loss = true};
        int32_t ids[TOKENS], targets[TOKENS];
        double zeros[BATCH * 12] = {0};
        rig_start(&own, MMREC_MODEL_mmrec, &c.model, &run, mmrec_trainer_exec(r.trainer));
        mmrec_data_batch(r.data, MMREC_SPLIT_HELD_OUT, 0, ids, targets, NULL);
        must(mmrec_exec_write_ids(own.exec, mmrec_graph_find(own.graph, "ids"), ids, TOKENS, &error), &error);
        must(mmrec_exec_write_ids(own.exec, mmrec_graph_find(own.graph, "targets"), targets, TOKENS, &error), &error);
        must(mmrec_exec_write(own.exec, mmrec_graph_find(own.graph, "state.0.h"), zeros, BATCH * 12, &error), &error);
        must(mmrec_exec_write(own.exec, mmrec_graph_find(own.graph, "state.1.h"), zeros, BATCH * 12, &error), &error);
        must(mmrec_exec_run(own.exec, MMREC_PHASE_FORWARD, &error), &error);
        read_named(&own, "loss_aux", &aux, 1);
        read_named(&own, "loss_main", &main, 1);
        assert_true(aux > 0 && fabs(e.loss_aux - aux) <= 1e-12 * aux && fabs(e.loss - main) <= 1e-12 * main);
        rig_end(&own);
        training_end(&r);
    }
}

static void test_evaluation_refusals(void **state) {
    (void)state;
    training r;
    mmrec_error error = {0};
    mmrec_evaluation e;
    mmrec_train_config c = tiny_config();
    training_start(&r, "cpu", &c);
    assert_int_equal(mmrec_trainer_evaluate(r.trainer, 0, false, &e, &error), MMREC_CONFIG);
    assert_non_null(strstr(error.message, "on 0 batches"));
    training_end(&r);
    memset(&r, 0, sizeof r);
    mmrec_data_request request = {.path = MMREC_GOLDEN "/text/harbour.txt", .batch = BATCH, .time = TIME};
    must(mmrec_data_create(&r.allocator, &r.io, &request, &r.data, &error), &error);
    must(mmrec_trainer_create(&r.allocator, backend_named("cpu"), r.data, &c, &r.trainer, &error), &error);
    assert_int_equal(mmrec_trainer_evaluate(r.trainer, 1, false, &e, &error), MMREC_CONFIG);
    assert_non_null(strstr(error.message, "nothing of the data is held out"));
    training_end(&r);
}

/* ---- the angle ---- */

enum { ROOM = 1 << 16 };
static double main_part[ROOM], aux_part[ROOM];

/* Gradients of one part of the loss on held-out batch 0, by a graph of its own. */
static void own_part(training *r, const mmrec_train_config *c, mmrec_loss_part part, double *to) {
    rig own;
    mmrec_error error = {0};
    mmrec_model_config model = c->model;
    model.dropout = 0;
    mmrec_model_run run = {.batch = BATCH, .time = TIME, .gradient = true, .part = part};
    int32_t ids[TOKENS], targets[TOKENS];
    double zeros[BATCH * 12] = {0};
    rig_start(&own, MMREC_MODEL_mmrec, &model, &run, mmrec_trainer_exec(r->trainer));
    mmrec_data_batch(r->data, MMREC_SPLIT_HELD_OUT, 0, ids, targets, NULL);
    must(mmrec_exec_write_ids(own.exec, mmrec_graph_find(own.graph, "ids"), ids, TOKENS, &error), &error);
    must(mmrec_exec_write_ids(own.exec, mmrec_graph_find(own.graph, "targets"), targets, TOKENS, &error), &error);
    must(mmrec_exec_write(own.exec, mmrec_graph_find(own.graph, "state.0.h"), zeros, BATCH * 12, &error), &error);
    must(mmrec_exec_write(own.exec, mmrec_graph_find(own.graph, "state.1.h"), zeros, BATCH * 12, &error), &error);
    must(mmrec_exec_run(own.exec, MMREC_PHASE_FORWARD, &error), &error);
    must(mmrec_exec_run(own.exec, MMREC_PHASE_BACKWARD, &error), &error);
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(own.graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(own.graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        int64_t count = mmrec_shape_elements(&info.shape);
        must(mmrec_exec_read(own.exec, mmrec_graph_gradient(own.graph, t), to, count, &error), &error);
        to += count;
    }
    rig_end(&own);
}

/* Parameter by parameter: those that one of the two does not reach count for that one's norm only. */
static mmrec_gradient_angle own_angle(training *r) {
    const mmrec_graph *graph = mmrec_exec_graph(mmrec_trainer_exec(r->trainer));
    long double all[2] = {0}, common[2] = {0}, both = 0;
    int64_t at = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph); t++) {
        if (mmrec_graph_tensor_info(graph, t).kind != MMREC_TENSOR_PARAM) continue;
        long double squares[2] = {0}, product = 0;
        for (int64_t end = at + count_of(r, t); at < end; at++) {
            squares[0] += (long double)main_part[at] * main_part[at];
            squares[1] += (long double)aux_part[at] * aux_part[at];
            product += (long double)main_part[at] * aux_part[at];
        }
        for (int i = 0; i < 2; i++) all[i] += squares[i];
        if (squares[0] == 0 || squares[1] == 0) continue;
        for (int i = 0; i < 2; i++) common[i] += squares[i];
        both += product;
    }
    mmrec_gradient_angle angle = {(double)sqrtl(all[0]), (double)sqrtl(all[1]),
                                  (double)(both / sqrtl(common[0] * common[1]))};
    return angle;
}

static void check_angle(mmrec_uboo uboo, bool stream) {
    training r;
    mmrec_error error = {0};
    mmrec_gradient_angle angle;
    mmrec_train_config c = tiny_config();
    c.model.uboo = uboo;
    c.model.dropout = 0.2;
    c.stream = stream;
    training_start(&r, "ref", &c);
    for (int i = 0; i < 3; i++) {
        step_of(&r);
        own_part(&r, &c, MMREC_LOSS_MAIN, main_part);
        own_part(&r, &c, MMREC_LOSS_AUX, aux_part);
        mmrec_gradient_angle want = own_angle(&r);
        uint64_t attempts = r.allocator.attempts;
        must(mmrec_trainer_angle(r.trainer, &angle, &error), &error);
        if (i > 0) assert_int_equal(r.allocator.attempts, attempts);
        assert_true(fabs(angle.main_norm - want.main_norm) <= 1e-12 * want.main_norm);
        assert_true(fabs(angle.aux_norm - want.aux_norm) <= 1e-12 * want.aux_norm);
        assert_true(fabs(angle.cosine - want.cosine) <= 1e-12);
        assert_true(fabs(angle.cosine) < 0.999 && angle.cosine != 0);
    }
    training_end(&r);
}

static void test_angle(void **state) {
    (void)state;
    check_angle(MMREC_UBOO_PLANNING, false);
    check_angle(MMREC_UBOO_PLANNING, true);
    check_angle(MMREC_UBOO_DEEP, false);
}

static void test_angle_refusals(void **state) {
    (void)state;
    training r;
    mmrec_error error = {0};
    mmrec_gradient_angle angle;
    mmrec_train_config c = tiny_config();
    training_start(&r, "cpu", &c);
    assert_int_equal(mmrec_trainer_angle(r.trainer, &angle, &error), MMREC_CONFIG);
    assert_non_null(strstr(error.message, "uboo is off"));
    training_end(&r);
    c.model.uboo = MMREC_UBOO_DEEP; /* a head for every layer but the last: none */
    c.model.layers = 1;
    training_start(&r, "cpu", &c);
    assert_int_equal(mmrec_trainer_angle(r.trainer, &angle, &error), MMREC_CONFIG);
    training_end(&r);
}

/* ---- gradient flow ---- */

enum { MOST_PARAMS = 128 };
static mmrec_gradient_stat stats[MOST_PARAMS];

static void look(training *r) {
    mmrec_error error = {0};
    assert_true(mmrec_trainer_gradient_count(r->trainer) <= MOST_PARAMS);
    must(mmrec_trainer_gradients(r->trainer, stats, &error), &error);
}

static const mmrec_gradient_stat *stat_of(training *r, const char *name) {
    for (int i = 0; i < mmrec_trainer_gradient_count(r->trainer); i++) {
        if (strcmp(stats[i].name, name) == 0) return &stats[i];
    }
    fail_msg("there is no parameter %s", name);
    return NULL;
}

/* Norms against the values themselves, and all of them against the norm before clipping. */
static void test_norms(void **state) {
    (void)state;
    static double values[ROOM], gradients[ROOM];
    training r;
    mmrec_train_config c = tiny_config();
    c.optimizer.clip_norm = 1e-3;
    training_start(&r, "cpu", &c);
    step_of(&r);
    mmrec_train_record record = step_of(&r);
    assert_true(record.clip_factor < 1);
    look(&r);
    read_parameters(&r, false, values, ROOM);
    read_parameters(&r, true, gradients, ROOM);
    double all = 0;
    int64_t at = 0;
    for (int i = 0; i < mmrec_trainer_gradient_count(r.trainer); i++) {
        double squares = 0, parameter = 0;
        int64_t zeros = 0;
        for (int64_t end = at + stats[i].count; at < end; at++) {
            squares += gradients[at] * gradients[at];
            parameter += values[at] * values[at];
            zeros += gradients[at] == 0;
        }
        assert_true(fabs(stats[i].norm - sqrt(squares)) <= 1e-12 * sqrt(squares));
        assert_true(fabs(stats[i].parameter_norm - sqrt(parameter)) <= 1e-12 * sqrt(parameter));
        assert_int_equal(stats[i].zeros, zeros);
        assert_int_equal(stats[i].not_finite, 0);
        assert_int_equal(stats[i].state, zeros < stats[i].count ? MMREC_GRADIENT_FLOWS : MMREC_GRADIENT_ZERO);
        all += squares;
    }
    assert_true(fabs(sqrt(all) - record.gradient_norm) <= 1e-12 * record.gradient_norm);
    training_end(&r);
}

/* In a stream the first memory is read where an epoch begins, and dead in between: 9 batches. */
static void test_dead(void **state) {
    (void)state;
    training r;
    mmrec_train_config c = tiny_config();
    c.stream = true;
    training_start(&r, "cpu", &c);
    for (int i = 0; i < 20; i++) {
        step_of(&r);
        if (i % 9 == 4) continue; /* not looked at: it was dead before and behind */
        look(&r);
        const mmrec_gradient_stat *s = stat_of(&r, "blocks.0.memory.v");
        assert_int_equal(s->state, i % 9 == 0 ? MMREC_GRADIENT_FLOWS : MMREC_GRADIENT_MISSING);
        assert_int_equal(s->dead_steps, i % 9);
        assert_int_equal(s->zeros == s->count, i % 9 > 0);
        assert_int_equal(stat_of(&r, "blocks.0.q.weight")->dead_steps, 0);
    }
    assert_string_equal(mmrec_gradient_state_name(MMREC_GRADIENT_FLOWS), "flows");
    assert_string_equal(mmrec_gradient_state_name(MMREC_GRADIENT_ZERO), "zero");
    assert_string_equal(mmrec_gradient_state_name(MMREC_GRADIENT_NOT_FINITE), "not finite");
    assert_string_equal(mmrec_gradient_state_name(MMREC_GRADIENT_STATES), "?");
    training_end(&r);
}

static void test_not_finite(void **state) {
    (void)state;
    training r;
    mmrec_error error = {0};
    mmrec_train_config c = tiny_config();
    training_start(&r, "cpu", &c);
    assert_int_equal(mmrec_trainer_gradients(r.trainer, stats, &error), MMREC_CONFIG);
    poke(&r, "norm.weight", 0, NAN);
    assert_true(step_of(&r).skipped);
    look(&r);
    const mmrec_gradient_stat *s = stat_of(&r, "blocks.1.ffn.in.weight");
    assert_int_equal(s->state, MMREC_GRADIENT_NOT_FINITE);
    assert_true(s->not_finite > 0 && isfinite(s->norm));
    training_end(&r);
}

/* ---- samples ---- */

static const int32_t prompt[] = {'t', 'h', 'e', ' ', 's'};

static void draw(training *r, double temperature, uint64_t seed, int32_t *ids, int64_t count) {
    mmrec_error error = {0};
    must(mmrec_trainer_sample(r->trainer, prompt, 5, temperature, seed, ids, count, &error), &error);
    for (int64_t i = 0; i < count; i++) assert_true(ids[i] >= 0 && ids[i] < VOCAB);
}

static void test_most_probable(void **state) {
    (void)state;
    training r;
    mmrec_error error = {0};
    mmrec_stream *stream = NULL;
    double logits[VOCAB];
    int32_t ids[20];
    mmrec_train_config c = tiny_config();
    training_start(&r, "ref", &c);
    for (int i = 0; i < 10; i++) step_of(&r);
    draw(&r, 0, 1, ids, 20);
    must(mmrec_stream_create(&r.allocator, backend_named("ref"), mmrec_trainer_exec(r.trainer), &c.model, 1, true, 1,
                             &stream, &error),
         &error);
    must(mmrec_stream_feed(stream, prompt, 4, NULL, &error), &error);
    int32_t next = prompt[4];
    for (int i = 0; i < 20; i++) {
        must(mmrec_stream_feed(stream, &next, 1, logits, &error), &error);
        int best = 0;
        for (int v = 0; v < VOCAB; v++) best = logits[v] > logits[best] ? v : best;
        assert_int_equal(ids[i], best);
        next = ids[i];
    }
    mmrec_stream_destroy(&stream);
    training_end(&r);
}

/* Drawn ids follow the probabilities: of 400 first ids, shares are within 5 standard deviations. */
static void test_drawn(void **state) {
    (void)state;
    training r;
    mmrec_error error = {0};
    mmrec_stream *stream = NULL;
    double logits[VOCAB], total = 0;
    int hits[VOCAB] = {0};
    int32_t ids[30], again[30];
    mmrec_train_config c = tiny_config();
    training_start(&r, "ref", &c);
    for (int i = 0; i < 30; i++) step_of(&r);
    draw(&r, 0.8, 3, ids, 30);
    draw(&r, 0.8, 3, again, 30);
    assert_memory_equal(ids, again, sizeof ids);
    draw(&r, 0.8, 4, again, 30);
    assert_true(memcmp(ids, again, sizeof ids) != 0);
    draw(&r, 1e-6, 4, ids, 30); /* so cold that it is the most probable */
    draw(&r, 0, 4, again, 30);
    assert_memory_equal(ids, again, sizeof ids);

    must(mmrec_stream_create(&r.allocator, backend_named("ref"), mmrec_trainer_exec(r.trainer), &c.model, 1, true, 1,
                             &stream, &error),
         &error);
    must(mmrec_stream_feed(stream, prompt, 4, NULL, &error), &error);
    must(mmrec_stream_feed(stream, prompt + 4, 1, logits, &error), &error);
    mmrec_stream_destroy(&stream);
    for (int v = 0; v < VOCAB; v++) total += exp(logits[v] / 1.5);
    for (int i = 0; i < 400; i++) {
        draw(&r, 1.5, (uint64_t)(100 + i), ids, 1);
        hits[ids[0]]++;
    }
    double expected = 0, seen = 0;
    for (int v = 0; v < VOCAB; v++) { /* the letters together, and each */
        double p = exp(logits[v] / 1.5) / total, deviation = sqrt(p * (1 - p) / 400);
        assert_true(fabs(hits[v] / 400.0 - p) <= 5 * deviation + 0.01);
        if (v < 'a' || v > 'z') continue;
        expected += p;
        seen += hits[v] / 400.0;
    }
    assert_true(expected > 0.1 && fabs(seen - expected) <= 5 * sqrt(expected * (1 - expected) / 400));
    training_end(&r);
}

static void test_sample_refusals(void **state) {
    (void)state;
    training r;
    int32_t ids[4];
    const int32_t foreign[] = {65, VOCAB};
    mmrec_train_config c = tiny_config();
    training_start(&r, "cpu", &c);
    struct {
        const int32_t *prompt;
        int64_t prompt_count, count;
        double temperature;
        mmrec_status status;
        const char *words;
    } rows[] = {{prompt, 0, 4, 1, MMREC_CONFIG, "behind 0"},
                {prompt, 5, -1, 1, MMREC_CONFIG, "a sample of -1 ids"},
                {prompt, 5, 4, -1, MMREC_CONFIG, "temperature of a sample is -1"},
                {prompt, 5, 4, NAN, MMREC_CONFIG, "temperature of a sample is nan"},
                {foreign, 2, 4, 1, MMREC_CONFIG, "256"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mmrec_error error = {0};
        mmrec_status status = mmrec_trainer_sample(r.trainer, rows[i].prompt, rows[i].prompt_count, rows[i].temperature,
                                                   1, ids, rows[i].count, &error);
        assert_int_equal(status, rows[i].status);
        if (!strstr(error.message, rows[i].words)) fail_msg("%s", error.message);
    }
    for (int temperature = 0; temperature < 2; temperature++) {
        mmrec_error error = {0};
        poke(&r, "norm.weight", 0, NAN);
        mmrec_status status = mmrec_trainer_sample(r.trainer, prompt, 5, temperature, 1, ids, 4, &error);
        assert_int_equal(status, MMREC_MISMATCH);
        assert_non_null(strstr(error.message, "not finite"));
    }
    training_end(&r);
}

/* ---- nothing is changed by looking ---- */

static void look_at_everything(training *r) {
    mmrec_error error = {0};
    mmrec_evaluation e;
    mmrec_gradient_angle angle;
    int32_t ids[3];
    must(mmrec_trainer_evaluate(r->trainer, 2, true, &e, &error), &error);
    must(mmrec_trainer_angle(r->trainer, &angle, &error), &error);
    draw(r, 1, 7, ids, 3);
    if (mmrec_trainer_totals(r->trainer).steps > 0) look(r);
}

static void check_same_training(const char *backend, bool stream) {
    static weights seen, unseen;
    training a, b;
    mmrec_train_config c = tiny_config();
    c.model.uboo = MMREC_UBOO_PLANNING;
    c.model.dropout = 0.2;
    c.model.pe = 4;
    c.accumulate = 2;
    c.stream = stream;
    training_start(&a, backend, &c);
    training_start(&b, backend, &c);
    for (int i = 0; i < 24; i++) {
        mmrec_error error = {0};
        mmrec_train_record x, y;
        bool finished;
        must(mmrec_trainer_micro(a.trainer, &finished, &x, &error), &error);
        look_at_everything(&a);
        must(mmrec_trainer_micro(b.trainer, &finished, &y, &error), &error);
        if (finished) assert_true(same_record(&x, &y));
    }
    read_weights(&a, &seen);
    read_weights(&b, &unseen);
    assert_true(same_weights(&seen, &unseen));
    training_end(&a);
    training_end(&b);
}

static void test_same_training(void **state) {
    (void)state;
    check_same_training("cpu", false);
    check_same_training("cpu", true);
    check_same_training("ref", true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evaluation),    cmocka_unit_test(test_task),
        cmocka_unit_test(test_evaluated_aux), cmocka_unit_test(test_evaluation_refusals),
        cmocka_unit_test(test_angle),         cmocka_unit_test(test_angle_refusals),
        cmocka_unit_test(test_norms),         cmocka_unit_test(test_dead),
        cmocka_unit_test(test_not_finite),    cmocka_unit_test(test_most_probable),
        cmocka_unit_test(test_drawn),         cmocka_unit_test(test_sample_refusals),
        cmocka_unit_test(test_same_training),
    };
    return cmocka_run_group_tests_name("trainer_look", tests, NULL, NULL);
}
