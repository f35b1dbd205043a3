/* Saving and going on: the same bits as not stopping, whatever is trained and wherever it stops; what is refused; and
 * no memory at every point. */
#include "train/trainer_impl.h"
#include "trainer_rig.h"

static mmrec_checkpoint *save(training *r) {
    mmrec_error error = {0};
    mmrec_checkpoint *checkpoint = NULL;
    must(mmrec_checkpoint_create(&r->allocator, &checkpoint, &error), &error);
    must(mmrec_trainer_save(r->trainer, checkpoint, &error), &error);
    return checkpoint;
}

typedef struct notes {
    int count;
    char last[320];
} notes;

static void note(void *context, const char *text) {
    notes *n = context;
    n->count++;
    snprintf(n->last, sizeof n->last, "%s", text);
}

static void load(training *r, const mmrec_checkpoint *checkpoint) {
    mmrec_error error = {0};
    notes n = {0};
    must(mmrec_trainer_load(r->trainer, checkpoint, note, &n, &error), &error);
    if (n.count) fail_msg("%s", n.last);
}

/* ---- the same bits ---- */

enum { MICROS = 12, MOST_STEPS = 64 };

/* Records of the steps that micro-batches [first, end) finish, each in its place. */
static void run_micros(training *r, int first, int end, mmrec_train_record *records) {
    for (int i = first; i < end; i++) {
        mmrec_error error = {0};
        mmrec_train_record record;
        bool finished = false;
        must(mmrec_trainer_micro(r->trainer, &finished, &record, &error), &error);
        assert_true(!finished || record.step < MOST_STEPS);
        if (finished) records[record.step] = record;
    }
}

static weights straight, resumed;

/* Stops behind `stop` micro-batches of `all`; the second trainer made some other steps before it loads. */
static void check_stop(const char *backend, const mmrec_train_config *c, int stop, int all) {
    static mmrec_train_record whole[MOST_STEPS], parts[MOST_STEPS];
    training a, b;
    memset(whole, 0, sizeof whole);
    memset(parts, 0, sizeof parts);
    training_start(&a, backend, c);
    run_micros(&a, 0, stop, whole);
    mmrec_checkpoint *checkpoint = save(&a);
    run_micros(&a, stop, all, whole);
    read_weights(&a, &straight);

    training_start(&b, backend, c);
    if (stop % 2) run_micros(&b, 0, 2 * (int)c->accumulate + 1, parts);
    load(&b, checkpoint);
    memset(parts, 0, sizeof parts);
    run_micros(&b, stop, all, parts);
    read_weights(&b, &resumed);
    for (int i = stop / (int)c->accumulate + 1; i <= all / (int)c->accumulate; i++) {
        if (!same_record(&whole[i], &parts[i])) fail_msg("%s, stopped at %d: step %d is another", backend, stop, i);
    }
    if (!same_weights(&straight, &resumed)) fail_msg("%s, stopped at %d: other weights", backend, stop);
    mmrec_train_totals x = mmrec_trainer_totals(a.trainer), y = mmrec_trainer_totals(b.trainer);
    assert_memory_equal(&x, &y, sizeof x);
    mmrec_checkpoint_destroy(&checkpoint);
    training_end(&a);
    training_end(&b);
}

static void check_backends(const mmrec_train_config *c, int stop, int all) {
    check_stop("cpu", c, stop, all);
    check_stop("ref", c, stop, all);
}

static void check_threads(mmrec_train_config c, int stop, int all) {
    c.threads = 2;
    check_backends(&c, stop, all);
}

static void test_plain(void **state) {
    (void)state;
    mmrec_train_config c = tiny_config();
    check_backends(&c, 0, 3);
    check_backends(&c, 5, MICROS);
    check_threads(c, 5, MICROS);
    c.recompute = true;
    c.model.dpg = 3;
    c.model.pe = 4;
    check_backends(&c, 7, MICROS);
}

static void test_losses(void **state) {
    (void)state;
    for (int hem = 0; hem < 2; hem++) {
        mmrec_train_config c = tiny_config();
        c.hem = hem != 0;
        c.model.dropout = 0.2;
        c.model.uboo = MMREC_UBOO_PLANNING;
        check_backends(&c, 5, MICROS);
        c.model.uboo = MMREC_UBOO_DEEP;
        check_backends(&c, 4, MICROS);
        check_threads(c, 3, 6);
    }
}

/* Between the micro-batches of a step, at its ends, with and without carried state, over the end of an epoch. */
static void test_within_a_step(void **state) {
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        mmrec_train_config c = tiny_config();
        c.stream = stream != 0;
        c.accumulate = 3;
        c.model.dropout = 0.1;
        c.model.uboo = MMREC_UBOO_PLANNING;
        c.model.pe = 4; /* with values that follow from parameters */
        for (int stop = 1; stop < 11; stop++) check_stop(stop % 2 ? "cpu" : "ref", &c, stop, 15);
        check_threads(c, 5, 9);
    }
}

static void test_stream(void **state) {
    (void)state;
    mmrec_train_config c = tiny_config();
    c.stream = true;
    for (int stop = 7; stop < 11; stop++) check_backends(&c, stop, 14);
    check_threads(c, 8, 11);
}

/* Long enough for the spike guard to have a window, and for it to be full. */
static void test_guard_state(void **state) {
    (void)state;
    mmrec_train_config c = tiny_config();
    check_stop("cpu", &c, 12, 25);
    check_stop("cpu", &c, 20, 25);
    training a, b;
    training_start(&a, "cpu", &c);
    for (int i = 0; i < 70; i++) step_of(&a);
    mmrec_checkpoint *checkpoint = save(&a);
    training_start(&b, "cpu", &c);
    load(&b, checkpoint);
    for (int i = 0; i < 3; i++) {
        mmrec_train_record x = step_of(&a), y = step_of(&b);
        assert_true(isfinite(x.spike_score) && same_record(&x, &y));
    }
    mmrec_checkpoint_destroy(&checkpoint);
    training_end(&a);
    training_end(&b);
}

/* Through a file, and once more: what was loaded saves the same. */
static void test_through_a_file(void **state) {
    (void)state;
    training a, b;
    mmrec_error error = {0};
    mmrec_io io = {0};
    char path[] = "trainer_save.safetensors";
    mmrec_train_config c = tiny_config();
    c.stream = true;
    c.accumulate = 2;
    training_start(&a, "cpu", &c);
    mmrec_train_record records[MOST_STEPS];
    run_micros(&a, 0, 5, records);
    mmrec_checkpoint *checkpoint = save(&a), *read = NULL, *again;
    must(mmrec_checkpoint_write_file(checkpoint, &io, path, &error), &error);
    mmrec_checkpoint_destroy(&checkpoint);
    training_start(&b, "cpu", &c);
    must(mmrec_checkpoint_read_file(&b.allocator, &io, path, &read, &error), &error);
    remove(path);
    load(&b, read);
    again = save(&b);
    mmrec_checkpoint_destroy(&read);
    load(&a, again);
    mmrec_checkpoint_destroy(&again);
    for (int i = 0; i < 5; i++) {
        mmrec_train_record x = step_of(&a), y = step_of(&b);
        assert_true(same_record(&x, &y));
    }
    read_weights(&a, &straight);
    read_weights(&b, &resumed);
    assert_true(same_weights(&straight, &resumed));
    training_end(&a);
    training_end(&b);
}

/* ---- guards over a stop ---- */

static double read_one(training *r, const char *name) {
    static double values[MAX_VALUES];
    mmrec_error error = {0};
    mmrec_tensor t = tensor_named(r, name);
    must(mmrec_exec_read(mmrec_trainer_exec(r->trainer), t, values, count_of(r, t), &error), &error);
    return values[0];
}

/* A micro-batch was bad before the stop: the step is skipped behind it, with the op that was named then. */
static void test_bad_before(void **state) {
    (void)state;
    for (int bad = 0; bad < 2; bad++) {
        training a, b;
        mmrec_train_record records[MOST_STEPS], others[MOST_STEPS];
        mmrec_train_config c = tiny_config();
        c.stream = true;
        c.accumulate = 3;
        training_start(&a, "cpu", &c);
        run_micros(&a, 0, 3 + bad, records);
        double good = read_one(&a, "norm.weight");
        poke(&a, "norm.weight", 0, NAN);
        run_micros(&a, 3 + bad, 4 + bad, records);
        poke(&a, "norm.weight", 0, good);
        mmrec_checkpoint *checkpoint = save(&a);
        training_start(&b, "cpu", &c);
        load(&b, checkpoint);
        run_micros(&a, 4 + bad, 9, records);
        run_micros(&b, 4 + bad, 9, others);
        assert_true(others[2].skipped && same_record(&records[2], &others[2]));
        assert_string_equal(others[2].culprit, "rmsnorm forward");
        assert_true(!others[3].skipped && same_record(&records[3], &others[3]));
        mmrec_checkpoint_destroy(&checkpoint);
        training_end(&a);
        training_end(&b);
    }
}

/* Two skipped steps before the stop and one behind it are three in a row. */
static void test_row_over_a_stop(void **state) {
    (void)state;
    training a, b;
    mmrec_error error = {0};
    mmrec_train_record record;
    mmrec_train_config c = tiny_config();
    training_start(&a, "cpu", &c);
    step_of(&a);
    double good = read_one(&a, "norm.weight");
    poke(&a, "norm.weight", 0, NAN);
    for (int i = 0; i < 2; i++) assert_true(step_of(&a).skipped);
    poke(&a, "norm.weight", 0, good);
    mmrec_checkpoint *checkpoint = save(&a);
    training_start(&b, "cpu", &c);
    load(&b, checkpoint);
    poke(&b, "norm.weight", 0, NAN);
    assert_int_equal(mmrec_trainer_step(b.trainer, &record, &error), MMREC_MISMATCH);
    assert_non_null(strstr(error.message, "step 4 is number 3 in a row"));
    mmrec_checkpoint_destroy(&checkpoint);
    training_end(&a);
    training_end(&b);
}

/* Since when a parameter is dead is remembered. */
static void test_dead_since(void **state) {
    (void)state;
    static mmrec_gradient_stat x[128], y[128];
    training a, b;
    mmrec_error error = {0};
    mmrec_train_config c = tiny_config();
    c.stream = true;
    training_start(&a, "cpu", &c);
    for (int i = 0; i < 4; i++) {
        step_of(&a);
        must(mmrec_trainer_gradients(a.trainer, x, &error), &error);
    }
    mmrec_checkpoint *checkpoint = save(&a);
    training_start(&b, "cpu", &c);
    load(&b, checkpoint);
    step_of(&a);
    step_of(&b);
    must(mmrec_trainer_gradients(a.trainer, x, &error), &error);
    must(mmrec_trainer_gradients(b.trainer, y, &error), &error);
    int dead = 0;
    for (int i = 0; i < mmrec_trainer_gradient_count(a.trainer); i++) {
        assert_int_equal(x[i].dead_steps, y[i].dead_steps);
        dead += x[i].dead_steps == 4;
    }
    assert_int_equal(dead, 4); /* memory.k and memory.v of two layers */
    mmrec_checkpoint_destroy(&checkpoint);
    training_end(&a);
    training_end(&b);
}

/* ---- refusals ---- */

/* A checkpoint of `saved` into a trainer of `loaded`: its words, or OK with the last note. */
static mmrec_status load_other(const mmrec_train_config *saved, const mmrec_train_config *loaded, const char *backend,
                               int micros, notes *n, mmrec_error *error) {
    training a, b;
    mmrec_train_record records[MOST_STEPS];
    memset(n, 0, sizeof *n);
    memset(error, 0, sizeof *error);
    training_start(&a, "cpu", saved);
    run_micros(&a, 0, micros, records);
    mmrec_checkpoint *checkpoint = save(&a);
    training_start(&b, backend, loaded);
    mmrec_status status = mmrec_trainer_load(b.trainer, checkpoint, note, n, error);
    mmrec_checkpoint_destroy(&checkpoint);
    training_end(&a);
    training_end(&b);
    return status;
}

static void check_other(const mmrec_train_config *c, mmrec_status want, const char *words) {
    mmrec_train_config saved = tiny_config();
    mmrec_error error;
    notes n;
    mmrec_status status = load_other(&saved, c, "cpu", 2, &n, &error);
    const char *text = want == MMREC_OK ? n.last : error.message;
    if (status != want || !strstr(text, words)) {
        fail_msg("%s: \"%s\" does not say \"%s\"", mmrec_status_name(status), text, words);
    }
}

static void test_other_model(void **state) {
    (void)state;
    mmrec_train_config c;
#define OTHER(change, status, words)                                                                                   \
    c = tiny_config();                                                                                                 \
    change;                                                                                                            \
    check_other(&c, status, words)
#define REFUSED(change, words) OTHER(change, MMREC_CONFIG, words)
#define NOTED(change, words) OTHER(change, MMREC_OK, words)
    REFUSED(c.model.vocab = 300, "config.vocab is 256 in the checkpoint, 300 here");
    REFUSED(c.model.dim = 15, "config.dim is 12 in the checkpoint, 15 here");
    REFUSED(c.model.layers = 3, "config.layers is 2 in the checkpoint, 3 here");
    REFUSED(c.model.heads = 2, "config.heads is 3 in the checkpoint, 2 here");
    REFUSED(c.model.ffn = 21, "config.ffn");
    REFUSED(c.model.inner = 6, "config.inner");
    REFUSED(c.model.slots = 32, "config.slots is 16 in the checkpoint, 32 here");
    REFUSED(c.model.level = 2, "config.level");
    REFUSED(c.model.pe = 2, "config.pe");
    REFUSED(c.model.dpg = 2, "config.dpg");
    REFUSED(c.model.memory_decay = 0.5, "config.memory_decay is 0.99 in the checkpoint, 0.5 here");
    REFUSED(c.model.uboo = MMREC_UBOO_DEEP, "config.uboo is off in the checkpoint, deep here");
    REFUSED(c.model.uboo_weight = 0.2, "config.uboo_weight");
    REFUSED(c.model.dropout = 0.1, "config.dropout is 0 in the checkpoint, 0.1 here");
    REFUSED(c.batch = 2, "config.batch is 3 in the checkpoint, 2 here");
    REFUSED(c.time = 7, "config.time is 8 in the checkpoint, 7 here");
    REFUSED(c.stream = true, "config.stream is 0 in the checkpoint, 1 here");
    REFUSED(c.seed = 18446744073709551615u, "config.seed is 5 in the checkpoint, 18446744073709551615 here");
    NOTED(c.hem = false, "config.hem was 1 in the checkpoint and is 0 from here on");
    NOTED(c.recompute = true, "config.recompute was 0");
    NOTED(c.threads = 2, "config.threads was 1 in the checkpoint and is 2");
    NOTED(c.accumulate = 2, "config.accumulate was 1 in the checkpoint and is 2");
    NOTED(c.schedule.rate = 0.5, "config.rate was 0.01 in the checkpoint and is 0.5");
    NOTED(c.schedule.final_share = 0.5, "config.final_share");
    NOTED(c.schedule.warmup_steps = 9, "config.warmup_steps was 3");
    NOTED(c.schedule.steps = 99, "config.steps was 40");
    NOTED(c.optimizer.beta1 = 0.5, "config.beta1 was 0.9");
    NOTED(c.optimizer.beta2 = 0.5, "config.beta2 was 0.95");
    NOTED(c.optimizer.epsilon = 0.5, "config.epsilon was 1e-08");
    NOTED(c.optimizer.weight_decay = 0.5, "config.weight_decay was 0.1");
    NOTED(c.optimizer.clip_norm = 0.5, "config.clip_norm was 1");
    NOTED(c.spike_score = 0.5, "config.spike_score was 6");
#undef OTHER
#undef REFUSED
#undef NOTED
}

/* Within a step its number of micro-batches cannot change; of another backend's numbers one is told. */
static void test_other_ways(void **state) {
    (void)state;
    mmrec_error error;
    notes n;
    mmrec_train_config saved = tiny_config(), loaded = tiny_config();
    saved.accumulate = 3;
    loaded.accumulate = 2;
    assert_int_equal(load_other(&saved, &loaded, "cpu", 4, &n, &error), MMREC_CONFIG);
    assert_non_null(strstr(error.message, "config.accumulate is 3 in the checkpoint, 2 here"));
    assert_int_equal(load_other(&saved, &loaded, "cpu", 6, &n, &error), MMREC_OK);
    assert_int_equal(load_other(&saved, &saved, "ref", 4, &n, &error), MMREC_OK);
    assert_string_equal(n.last, "config.backend was cpu in the checkpoint and is ref from here on");
    assert_int_equal(n.count, 1);
}

static void check_other_data(mmrec_data_request request, const char *words) {
    training a, b;
    mmrec_error error = {0};
    mmrec_train_config c = tiny_config();
    training_start(&a, "cpu", &c);
    step_of(&a);
    mmrec_checkpoint *checkpoint = save(&a);
    memset(&b, 0, sizeof b);
    request.batch = c.batch;
    request.time = c.time;
    must(mmrec_data_create(&b.allocator, &b.io, &request, &b.data, &error), &error);
    must(mmrec_trainer_create(&b.allocator, backend_named("cpu"), b.data, &c, &b.trainer, &error), &error);
    assert_int_equal(mmrec_trainer_load(b.trainer, checkpoint, NULL, NULL, &error), MMREC_CONFIG);
    if (!strstr(error.message, words)) fail_msg("\"%s\" does not say \"%s\"", error.message, words);
    mmrec_checkpoint_destroy(&checkpoint);
    training_end(&a);
    training_end(&b);
}

static void test_other_data(void **state) {
    (void)state;
    const char *file = MMREC_GOLDEN "/text/harbour.txt";
    mmrec_data_request seed = {.path = file, .seed = 8, .held_out = 0.99};
    mmrec_data_request share = {.path = file, .seed = 9, .held_out = 0.5};
    mmrec_data_request other = {.path = MMREC_GOLDEN "/report/both.md", .seed = 9, .held_out = 0.99};
    mmrec_data_request task = {.task = MMREC_TASK_COPY, .seed = 9};
    check_other_data(seed, "data.seed is 9 in the checkpoint, 8 here");
    check_other_data(share, "data.held_out is 0.99 in the checkpoint, 0.5 here");
    other.held_out = 0.9;
    check_other_data(other, "data.name is harbour.txt in the checkpoint, both.md here");
    check_other_data(task, "data.name is harbour.txt in the checkpoint, task copy here");
}

/* ---- numbers that would spread ---- */

static void check_refused(training *a, const mmrec_train_config *c, const char *backend, const char *words) {
    training b;
    mmrec_error error = {0};
    mmrec_checkpoint *checkpoint = save(a);
    training_start(&b, backend, c);
    mmrec_status status = mmrec_trainer_load(b.trainer, checkpoint, NULL, NULL, &error);
    if (status != MMREC_FORMAT || !strstr(error.message, words)) {
        fail_msg("%s \"%s\" does not say \"%s\"", mmrec_status_name(status), error.message, words);
    }
    mmrec_checkpoint_destroy(&checkpoint);
    training_end(&b);
}

/* Element 5 of memory that is no tensor. */
static void poke_view(training *a, mmrec_view view, double value) {
    mmrec_error error = {0};
    mmrec_view part = flat_part(view, 5, mmrec_shape1(1));
    must(mmrec_exec_write_view(mmrec_trainer_exec(a->trainer), &part, &value, &error), &error);
}

static void test_not_finite(void **state) {
    (void)state;
    mmrec_error error = {0};
    training a;
    mmrec_train_record records[MOST_STEPS];
    mmrec_train_config c = tiny_config();
    c.stream = true;
    c.accumulate = 2;
    training_start(&a, "ref", &c);
    run_micros(&a, 0, 3, records);
    mmrec_trainer *t = a.trainer;
    mmrec_view moments[2];
    mmrec_tensor k = tensor_named(&a, "blocks.0.k.weight");
    must(mmrec_optimizer_moments(t->optimizer, k, moments, &error), &error);
    const struct {
        mmrec_view view;
        double value;
        const char *backend, *words;
    } rows[] = {
        {mmrec_exec_view(t->net.exec, k), NAN, "ref", "\"blocks.0.k.weight\" holds nan at element 5"},
        {mmrec_exec_view(t->net.exec, k), 1e300, "cpu", "\"blocks.0.k.weight\" holds 1e+300"},
        {moments[0], -INFINITY, "ref", "\"optimizer.first.blocks.0.k.weight\" holds -inf"},
        {moments[1], NAN, "ref", "\"optimizer.second.blocks.0.k.weight\" holds nan"},
        {moments[1], -1e-9, "ref",
         "\"optimizer.second.blocks.0.k.weight\" holds -1e-09 at element 5: it must be finite and"},
        {train_sum_view(t, &t->params[0]), INFINITY, "ref", "\"accumulated.embedding.weight\" holds inf"},
        {train_carry_view(t, &t->carry[TRAIN_BEFORE], 1, TRAIN_H), NAN, "ref", "\"state.1.h\" holds nan"},
        {train_carry_view(t, &t->carry[TRAIN_WITHIN], 0, TRAIN_V), NAN, "ref", "\"next.0.mem_v\" holds nan"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        poke_view(&a, rows[i].view, rows[i].value);
        check_refused(&a, &c, rows[i].backend, rows[i].words);
        poke_view(&a, rows[i].view, 0.25);
    }
    training_end(&a);
}

/* Texts that are missing or say what cannot be. `change` 0: as they are. */
static void test_bad_texts(void **state) {
    (void)state;
    training a, b;
    mmrec_error error = {0};
    mmrec_train_config c = tiny_config();
    mmrec_checkpoint *empty = NULL;
    training_start(&b, "cpu", &c);
    must(mmrec_checkpoint_create(&b.allocator, &empty, &error), &error);
    assert_int_equal(mmrec_trainer_load(b.trainer, empty, NULL, NULL, &error), MMREC_FORMAT);
    assert_non_null(strstr(error.message, "step.done"));
    must(mmrec_checkpoint_put_whole(empty, "step.done", 0, &error), &error);
    memset(&error, 0, sizeof error);
    assert_int_equal(mmrec_trainer_load(b.trainer, empty, NULL, NULL, &error), MMREC_FORMAT);
    assert_non_null(strstr(error.message, "config.vocab"));
    mmrec_checkpoint_destroy(&empty);
    training_end(&b);

    const struct {
        size_t offset;
        int64_t value;
        const char *words;
    } rows[] = {
        {offsetof(mmrec_trainer, totals.steps), -1, "progress.steps is -1"},
        {offsetof(mmrec_trainer, totals.tokens), (int64_t)1 << 60, "progress.tokens is 1152921504606846976"},
        {offsetof(mmrec_trainer, step.good), 1, "0 micro-batches of a step are done and 1 were good"},
        {offsetof(mmrec_trainer, params), 0, "guard.zero_since"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        training_start(&a, "cpu", &c);
        step_of(&a);
        if (rows[i].offset == offsetof(mmrec_trainer, params))
            a.trainer->params[2].zero_since = 7;
        else
            memcpy((char *)a.trainer + rows[i].offset, &rows[i].value, sizeof rows[i].value);
        if (rows[i].offset == offsetof(mmrec_trainer, step.good)) {
            a.trainer->sum = mmrec_exec_gradients(a.trainer->net.exec).data; /* there are none to save */
        }
        check_refused(&a, &c, "cpu", rows[i].words);
        if (rows[i].offset == offsetof(mmrec_trainer, step.good)) a.trainer->sum = NULL;
        training_end(&a);
    }
}

/* ---- no memory ---- */

/* Everything once: to the end, or to the first failure. */
static mmrec_status everything(training *r, const mmrec_train_config *c, mmrec_checkpoint **checkpoint,
                               mmrec_error *error) {
    mmrec_train_record record;
    MMREC_TRY(training_try(r, "cpu", c, error));
    for (int i = 0; i < 2; i++) MMREC_TRY(mmrec_trainer_step(r->trainer, &record, error));
    MMREC_TRY(mmrec_checkpoint_create(&r->allocator, checkpoint, error));
    MMREC_TRY(mmrec_trainer_save(r->trainer, *checkpoint, error));
    MMREC_TRY(mmrec_trainer_load(r->trainer, *checkpoint, NULL, NULL, error));
    return mmrec_trainer_step(r->trainer, &record, error);
}

/* Request k fails, for k = 1, 1 + stride, ... until a run is not reached by it. */
static void check_no_memory(uint64_t stride, bool from_then_on) {
    mmrec_train_config c = tiny_config();
    c.model.layers = 1;
    c.stream = true;
    c.accumulate = 2;
    c.model.uboo = MMREC_UBOO_PLANNING;
    for (uint64_t k = 1;; k += stride) {
        training r;
        mmrec_error error = {0};
        mmrec_checkpoint *checkpoint = NULL;
        memset(&r, 0, sizeof r);
        r.allocator.fail_at = k;
        r.allocator.fail_after = from_then_on;
        mmrec_status status = everything(&r, &c, &checkpoint, &error);
        bool reached = r.allocator.attempts >= k;
        mmrec_checkpoint_destroy(&checkpoint);
        training_end(&r);
        if (!reached) {
            assert_int_equal(status, MMREC_OK);
            assert_true(k > 100);
            return;
        }
        if (status != MMREC_NO_MEMORY || !error.message[0]) {
            fail_msg("request %d failed: %s \"%s\"", (int)k, mmrec_status_name(status), error.message);
        }
    }
}

static void test_no_memory(void **state) {
    (void)state;
    check_no_memory(1, false);
    check_no_memory(5, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_losses),
        cmocka_unit_test(test_within_a_step), cmocka_unit_test(test_stream),
        cmocka_unit_test(test_guard_state),   cmocka_unit_test(test_through_a_file),
        cmocka_unit_test(test_bad_before),    cmocka_unit_test(test_row_over_a_stop),
        cmocka_unit_test(test_dead_since),    cmocka_unit_test(test_other_model),
        cmocka_unit_test(test_other_ways),    cmocka_unit_test(test_other_data),
        cmocka_unit_test(test_not_finite),    cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("trainer_save", tests, NULL, NULL);
}
