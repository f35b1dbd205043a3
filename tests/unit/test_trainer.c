/* Training: what a step is made of. Accumulation, carried state, the first memory's gradient, both parts of the loss,
 * memory, refusals, and that nothing allocates. */
#include "train/trainer_impl.h"
#include "trainer_rig.h"

/* ---- steps ---- */

static void test_learns(void **state) {
    (void)state;
    training r;
    mmrec_train_config c = tiny_config();
    training_start(&r, "cpu", &c);
    double begin = 0, end = 0;
    for (int i = 0; i < 40; i++) {
        mmrec_train_record record = step_of(&r);
        assert_int_equal(record.step, i + 1);
        assert_int_equal(record.tokens, 24);
        assert_true(record.rate == mmrec_schedule_rate(&c.schedule, i));
        assert_true(record.loss == record.loss_main && record.loss_aux == 0);
        assert_true(record.gradient_norm > 0 && record.clip_factor > 0 && record.clip_factor <= 1);
        assert_true(record.growth > 0 && record.growth < 1.3);
        assert_true(record.ns > 0 && !record.skipped && !record.culprit[0]);
        if (i == 0) begin = record.loss;
        if (i >= 35) end += record.loss / 5;
    }
    assert_true(fabs(begin - log(256)) <= 0.1);
    assert_true(end < begin - 1);
    mmrec_train_totals totals = mmrec_trainer_totals(r.trainer);
    assert_int_equal(totals.steps, 40);
    assert_int_equal(totals.micro_batches, 40);
    assert_int_equal(totals.tokens, 40 * 24);
    assert_int_equal(totals.skipped + totals.skipped_in_row, 0);
    assert_true(totals.largest_growth > 0);
    training_end(&r);
}

/* The largest multiplier of all layers and micro-batches, and of the whole training. */
static void test_growth(void **state) {
    (void)state;
    training r;
    mmrec_error error = {0};
    mmrec_train_config c = tiny_config();
    c.accumulate = 2;
    double all = 0;
    training_start(&r, "ref", &c);
    for (int i = 0; i < 4; i++) {
        mmrec_train_record record;
        double step = 0;
        for (int k = 0; k < 2; k++) {
            bool finished;
            must(mmrec_trainer_micro(r.trainer, &finished, &record, &error), &error);
            for (int layer = 0; layer < 2; layer++) {
                double growth;
                mmrec_tensor t = tensor_named(&r, layer ? "growth.1" : "growth.0");
                must(mmrec_exec_read(mmrec_trainer_exec(r.trainer), t, &growth, 1, &error), &error);
                step = fmax(step, growth);
            }
        }
        all = fmax(all, step);
        assert_true(record.growth == step);
        assert_true(mmrec_trainer_totals(r.trainer).largest_growth == all);
    }
    poke(&r, "blocks.0.decay.out.bias", 1, NAN);
    assert_true(isnan(step_of(&r).growth));
    assert_true(mmrec_trainer_totals(r.trainer).largest_growth == all);
    training_end(&r);
}

/* Records and weights of two runs are the same bits; of another seed they are others. */
static void test_same_bits(void **state) {
    (void)state;
    static weights all[3];
    mmrec_train_record records[3][6];
    mmrec_train_config c = tiny_config();
    c.model.dropout = 0.2;
    c.model.uboo = MMREC_UBOO_PLANNING;
    for (int i = 0; i < 3; i++) {
        training r;
        c.seed = i < 2 ? 5 : 6;
        training_start(&r, "cpu", &c);
        for (int k = 0; k < 6; k++) records[i][k] = step_of(&r);
        read_weights(&r, &all[i]);
        training_end(&r);
    }
    assert_true(same_weights(&all[0], &all[1]));
    assert_false(same_weights(&all[0], &all[2]));
    for (int k = 0; k < 6; k++) assert_true(same_record(&records[0][k], &records[1][k]));
}

/* ---- accumulation ---- */

enum { ROOM = 1 << 16 };
static double got[ROOM], want[ROOM];

static double worst(int64_t count) { return mmrec_compare(got, want, count).max_rel; }

/* Two micro-batches of 3 are one batch of 6, which holds the same windows: gradients to rounding, and the losses of the
 * steps that follow. */
static void test_accumulate(void **state) {
    (void)state;
    training two, one;
    mmrec_train_config c = tiny_config();
    c.model.uboo = MMREC_UBOO_PLANNING;
    c.accumulate = 2;
    training_start(&two, "ref", &c);
    c.accumulate = 1;
    c.batch = 6;
    training_start(&one, "ref", &c);
    for (int i = 0; i < 4; i++) {
        mmrec_train_record a = step_of(&two), b = step_of(&one);
        assert_int_equal(a.tokens, b.tokens);
        assert_true(fabs(a.loss - b.loss) <= 1e-10 * b.loss);
        assert_true(fabs(a.loss_aux - b.loss_aux) <= 1e-9 * b.loss_aux);
        assert_true(fabs(a.gradient_norm - b.gradient_norm) <= 1e-9 * b.gradient_norm);
        if (i > 0) continue;
        int64_t count = read_parameters(&two, true, got, ROOM);
        assert_int_equal(count, read_parameters(&one, true, want, ROOM));
        assert_true(worst(count) <= 1e-12);
    }
    assert_int_equal(mmrec_trainer_totals(two.trainer).micro_batches, 8);
    training_end(&two);
    training_end(&one);
}

static void test_micro(void **state) {
    (void)state;
    training r;
    mmrec_error error = {0};
    mmrec_train_record record;
    mmrec_train_config c = tiny_config();
    c.accumulate = 3;
    training_start(&r, "cpu", &c);
    for (int i = 1; i <= 7; i++) {
        bool finished = true;
        must(mmrec_trainer_micro(r.trainer, &finished, &record, &error), &error);
        assert_int_equal(finished, i % 3 == 0);
        assert_int_equal(mmrec_trainer_totals(r.trainer).micro_batches, i);
        assert_int_equal(mmrec_trainer_totals(r.trainer).steps, i / 3);
        if (finished) assert_int_equal(record.tokens, 3 * 24);
    }
    training_end(&r);
}

/* ---- carried state ---- */

/* The mean cross-entropy of a batch through the streaming model. */
static double streamed_loss(mmrec_stream *stream, const int32_t *ids, const int32_t *targets) {
    static double logits[3 * 8 * 256];
    mmrec_error error = {0};
    double sum = 0;
    must(mmrec_stream_feed(stream, ids, 8, logits, &error), &error);
    for (int i = 0; i < 24; i++) {
        double total = 0;
        for (int v = 0; v < 256; v++) total += exp(logits[i * 256 + v]);
        sum += log(total) - logits[i * 256 + targets[i]];
    }
    return sum / 24;
}

/* With a rate of 0, so that only the state changes from batch to batch: over the end of an epoch, where it begins anew.
 */
static void check_carried(int64_t accumulate) {
    training r;
    mmrec_error error = {0};
    mmrec_train_config c = tiny_config();
    c.stream = true;
    c.schedule.rate = 0;
    c.model.memory_decay = 0.7;
    c.accumulate = accumulate;
    training_start(&r, "ref", &c);
    assert_int_equal(mmrec_data_info_of(r.data)->batches_per_epoch, 9);
    mmrec_stream *stream = NULL;
    for (int64_t n = 0; n < 20; n += accumulate) {
        double loss = 0;
        for (int64_t i = n; i < n + accumulate; i++) {
            int32_t ids[24], targets[24];
            mmrec_data_batch(r.data, MMREC_SPLIT_TRAIN, i, ids, targets, NULL);
            if (mmrec_data_starts(r.data, MMREC_SPLIT_TRAIN, i)) {
                mmrec_stream_destroy(&stream);
                must(mmrec_stream_create(&r.allocator, backend_named("ref"), mmrec_trainer_exec(r.trainer), &c.model, 3,
                                         true, 1, &stream, &error),
                     &error);
            }
            loss += streamed_loss(stream, ids, targets) / (double)accumulate;
        }
        mmrec_train_record record = step_of(&r);
        if (!(fabs(record.loss - loss) <= 1e-12 * loss)) fail_msg("batch %d: %.15g, %.15g", (int)n, record.loss, loss);
    }
    mmrec_stream_destroy(&stream);
    training_end(&r);
}

static void test_carried(void **state) {
    (void)state;
    check_carried(1);
    check_carried(2);
}

/* ---- the gradient of the whole, by another graph ---- */

/* Runs a graph on a training batch from h = 0 and the first memory. */
static void own_run(rig *own, training *r, int64_t batch, uint64_t seed) {
    mmrec_error error = {0};
    int32_t ids[24], targets[24];
    double zeros[3 * 12] = {0};
    mmrec_data_batch(r->data, MMREC_SPLIT_TRAIN, batch, ids, targets, NULL);
    must(mmrec_exec_write_ids(own->exec, mmrec_graph_find(own->graph, "ids"), ids, 24, &error), &error);
    must(mmrec_exec_write_ids(own->exec, mmrec_graph_find(own->graph, "targets"), targets, 24, &error), &error);
    for (int layer = 0; layer < 2; layer++) {
        char name[20];
        snprintf(name, sizeof name, "state.%d.h", layer);
        must(mmrec_exec_write(own->exec, mmrec_graph_find(own->graph, name), zeros, 36, &error), &error);
    }
    mmrec_exec_seed(own->exec, seed);
    must(mmrec_exec_run(own->exec, MMREC_PHASE_FORWARD, &error), &error);
    must(mmrec_exec_run(own->exec, MMREC_PHASE_BACKWARD, &error), &error);
}

/* A graph of its own with the trainer's initial values, run on batch 0. */
static void own_graph(rig *own, training *r, const mmrec_train_config *c, mmrec_loss_part part) {
    mmrec_error error = {0};
    mmrec_model_run run = {.batch = 3, .time = 8, .hem = c->hem, .gradient = true, .part = part};
    rig_start(own, MMREC_MODEL_mmrec, &c->model, &run, NULL);
    must(mmrec_model_init(own->exec, own->graph, &own->allocator, c->seed, &error), &error);
    own_run(own, r, 0, 0);
}

static int64_t own_gradients(rig *own, double *to) {
    mmrec_error error = {0};
    int64_t at = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(own->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(own->graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        int64_t count = mmrec_shape_elements(&info.shape);
        must(mmrec_exec_read(own->exec, mmrec_graph_gradient(own->graph, t), to + at, count, &error), &error);
        at += count;
    }
    return at;
}

/* Where a stream begins, the first memory gets the gradient it would get in a graph that reads it itself. */
static void test_first_memory(void **state) {
    (void)state;
    for (int recompute = 0; recompute < 2; recompute++) {
        training r;
        rig own;
        mmrec_train_config c = tiny_config();
        c.stream = true;
        c.recompute = recompute != 0;
        training_start(&r, "ref", &c);
        own_graph(&own, &r, &c, MMREC_LOSS_ALL);
        step_of(&r);
        int64_t count = read_parameters(&r, true, got, ROOM);
        assert_int_equal(own_gradients(&own, want), count);
        assert_true(worst(count) <= 1e-12);
        mmrec_tensor memory = mmrec_graph_gradient(own.graph, mmrec_graph_find(own.graph, "blocks.1.memory.k"));
        double k[16 * 12], largest = 0;
        mmrec_error error = {0};
        must(mmrec_exec_read(own.exec, memory, k, 16 * 12, &error), &error);
        for (int i = 0; i < 16 * 12; i++) largest = fmax(largest, fabs(k[i]));
        assert_true(largest > 0);
        step_of(&r); /* here nothing began: the first memory has no gradient */
        mmrec_exec *exec = mmrec_trainer_exec(r.trainer);
        memory = mmrec_graph_gradient(mmrec_exec_graph(exec), tensor_named(&r, "blocks.1.memory.k"));
        must(mmrec_exec_read(exec, memory, k, 16 * 12, &error), &error);
        for (int i = 0; i < 16 * 12; i++) assert_true(k[i] == 0);
        rig_end(&own);
        training_end(&r);
    }
}

/* What the optimizer is given is the gradient of both parts of the loss, and the auxiliary one reaches the recurrence.
 */
static void check_parts(mmrec_uboo uboo, const char *reached) {
    static double aux[ROOM];
    training r;
    rig own;
    mmrec_error error = {0};
    mmrec_train_config c = tiny_config();
    c.model.uboo = uboo;
    training_start(&r, "ref", &c);
    own_graph(&own, &r, &c, MMREC_LOSS_MAIN);
    int64_t count = own_gradients(&own, want);
    rig_end(&own);
    own_graph(&own, &r, &c, MMREC_LOSS_AUX);
    assert_int_equal(own_gradients(&own, aux), count);
    mmrec_tensor weight = mmrec_graph_gradient(own.graph, mmrec_graph_find(own.graph, reached));
    double values[288], largest = 0;
    int64_t size = count_of(&r, tensor_named(&r, reached));
    must(mmrec_exec_read(own.exec, weight, values, size, &error), &error);
    for (int64_t i = 0; i < size; i++) largest = fmax(largest, fabs(values[i]));
    assert_true(largest > 1e-9);
    rig_end(&own);
    mmrec_train_record record = step_of(&r);
    double share = uboo == MMREC_UBOO_DEEP ? 0.5 : 1;
    assert_true(record.loss_aux > 0);
    assert_true(fabs(record.loss - share * (record.loss_main + record.loss_aux)) <= 1e-12 * record.loss);
    assert_int_equal(read_parameters(&r, true, got, ROOM), count);
    assert_true(worst(count) > 1e-6); /* not the main part alone */
    for (int64_t i = 0; i < count; i++) want[i] += aux[i];
    assert_true(worst(count) <= 1e-12);
    training_end(&r);
}

static void test_parts(void **state) {
    (void)state;
    check_parts(MMREC_UBOO_PLANNING, "blocks.1.mdi_gate.weight");
    check_parts(MMREC_UBOO_DEEP, "blocks.0.mdi_gate.weight");
}

/* Each micro-batch draws its own dropout, by its number. */
static void test_draws(void **state) {
    (void)state;
    training r;
    rig own;
    mmrec_train_config c = tiny_config();
    c.model.dropout = 0.5;
    c.schedule.rate = 0;
    c.accumulate = 2;
    training_start(&r, "ref", &c);
    own_graph(&own, &r, &c, MMREC_LOSS_ALL);
    for (int64_t n = 0; n < 6; n += 2) {
        double loss[2], mean = 0;
        for (int64_t i = 0; i < 2; i++) {
            own_run(&own, &r, n + i, train_seed(r.trainer, n + i));
            read_named(&own, "loss", &loss[i], 1);
            mean += loss[i] / 2;
        }
        assert_true(fabs(step_of(&r).loss - mean) <= 1e-14 * mean);
    }
    rig_end(&own);
    for (int64_t n = 1; n < 100; n++) assert_true(train_seed(r.trainer, n) != train_seed(r.trainer, n - 1));
    training_end(&r);
}

/* ---- memory ---- */

static mmrec_train_config large_step(void) {
    mmrec_train_config c = tiny_config();
    c.stream = true;
    c.accumulate = 2;
    c.model.dropout = 0.1;
    return c;
}

/* After the first step, over the ends of epochs. */
static void test_allocations(void **state) {
    (void)state;
    static const char *const names[] = {"cpu", "ref"};
    for (int i = 0; i < 2; i++) {
        training r;
        mmrec_train_config c = large_step();
        training_start(&r, names[i], &c);
        step_of(&r);
        uint64_t attempts = r.allocator.attempts;
        size_t live = r.allocator.total.live_bytes;
        for (int k = 0; k < 12; k++) step_of(&r);
        assert_int_equal(r.allocator.attempts, attempts);
        assert_int_equal(r.allocator.total.live_bytes, live);
        training_end(&r);
    }
}

/* What is said to be planned is what a plan of that graph says, and what was allocated. */
static void test_memory(void **state) {
    (void)state;
    training r;
    mmrec_error error = {0};
    mmrec_plan *plan = NULL;
    size_t bytes[MMREC_ARENAS];
    mmrec_train_config c = large_step();
    training_start(&r, "cpu", &c);
    mmrec_trainer_memory(r.trainer, bytes);
    mmrec_plan_options options = {.optimizer_slots = 2};
    must(mmrec_plan_create(&r.allocator, mmrec_exec_graph(mmrec_trainer_exec(r.trainer)), options, &plan, &error),
         &error);
    for (int a = 0; a < MMREC_ARENAS; a++) {
        assert_true(bytes[a] > 0);
        assert_int_equal(bytes[a], mmrec_plan_arena_bytes(plan, (mmrec_arena)a));
    }
    mmrec_plan_destroy(&plan);
    assert_int_equal(r.allocator.by_tag[MMREC_ALLOC_PARAMS].live_bytes, bytes[MMREC_ARENA_PARAMS]);
    assert_int_equal(r.allocator.by_tag[MMREC_ALLOC_GRADS].live_bytes, 2 * bytes[MMREC_ARENA_GRADS]);
    assert_int_equal(r.allocator.by_tag[MMREC_ALLOC_SCRATCH].live_bytes, bytes[MMREC_ARENA_SCRATCH]);
    training_end(&r);
}

/* ---- refusals ---- */

static void check_refused(mmrec_train_config c, const char *words) {
    training r;
    mmrec_error error = {0};
    mmrec_train_config good = tiny_config();
    training_start(&r, "cpu", &good);
    mmrec_trainer_destroy(&r.trainer);
    assert_int_equal(mmrec_trainer_create(&r.allocator, backend_named("cpu"), r.data, &c, &r.trainer, &error),
                     MMREC_CONFIG);
    assert_null(r.trainer);
    if (!strstr(error.message, words)) fail_msg("\"%s\" does not say \"%s\"", error.message, words);
    training_end(&r);
}

static void test_refusals(void **state) {
    (void)state;
    mmrec_train_config c = tiny_config();
#define REFUSED(change, words)                                                                                         \
    c = tiny_config();                                                                                                 \
    change;                                                                                                            \
    check_refused(c, words)
    REFUSED(c.batch = 4, "of batch 3 and time 8, the trainer wants windows of batch 4");
    REFUSED(c.time = 9, "and time 9");
    REFUSED(c.stream = true, "the trainer wants streams");
    REFUSED(c.model.vocab = 255, "ids up to 255, the model a vocabulary of 255");
    REFUSED(c.model.heads = 5, "heads (5) must divide dim (12)");
    REFUSED(c.accumulate = 0, "made of 0 micro-batches");
    REFUSED(c.spike_score = NAN, "the score of a spike is nan");
    REFUSED(c.schedule.rate = -1, "the learning rate is -1");
    REFUSED(c.schedule.rate = INFINITY, "the learning rate is inf");
    REFUSED(c.schedule.final_share = 1.5, "the last share of the learning rate is 1.5");
    REFUSED(c.schedule.steps = 0, "0 steps");
    REFUSED(c.schedule.warmup_steps = -1, "-1 of them warm-up");
    REFUSED(c.optimizer.beta1 = 1, "beta1 is 1");
    REFUSED(c.threads = 0, "threads must be 1 to 1024");
#undef REFUSED
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),      cmocka_unit_test(test_growth),       cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_draws),       cmocka_unit_test(test_accumulate),   cmocka_unit_test(test_micro),
        cmocka_unit_test(test_carried),     cmocka_unit_test(test_first_memory), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_allocations), cmocka_unit_test(test_memory),       cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("trainer", tests, NULL, NULL);
}
