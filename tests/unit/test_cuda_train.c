/* Training on a device: what the cpu gets, to rounding; the same bits with graphs and without, and behind a checkpoint;
 * guards, what looks on, allocations, bf16. Skipped where there is neither a device nor its emulation. */
#include "cuda_rig.h"
#include "train/trainer_impl.h"
#include "trainer_rig.h"

static const mmrec_backend *cuda;
static weights one, two;

/* The emulation takes its time by the kernel, by the step of a recurrence and, in the optimizer, by the parameter. */
static mmrec_train_config short_config(int64_t layers) {
    mmrec_train_config c = tiny_config();
    c.model.layers = layers;
    c.batch = 2;
    c.time = 4;
    return c;
}

/* Every part of a step: carried state, dropout, an auxiliary loss, several micro-batches. */
static mmrec_train_config whole_config(int64_t layers) {
    mmrec_train_config c = short_config(layers);
    c.stream = true;
    c.accumulate = 2;
    c.model.uboo = MMREC_UBOO_PLANNING;
    c.model.dropout = 0.2;
    c.model.memory_decay = 0.8;
    return c;
}

/* A training on the device or another backend, from `before` batches before the end of an epoch on. */
static void start_before(training *r, const char *backend, const mmrec_train_config *c, int64_t before) {
    mmrec_error error = {0};
    training_start(r, backend, c);
    r->trainer->totals.micro_batches = mmrec_data_info_of(r->data)->batches_per_epoch - before;
    must(train_loader(r->trainer, &error), &error);
}

static void steps(training *r, int count, mmrec_train_record *records) {
    for (int i = 0; i < count; i++) records[i] = step_of(r);
}

/* ---- against the cpu ---- */

/* Both are sums of floats, in another order: what a float backend may be off from exact outputs of one pass
 * (host/measure/tolerance.c). Over these steps it is 1e-6 at most. */
static const double allowed = 1e-5;

static void expect_near(const char *what, double got, double want) {
    if (fabs(got - want) <= allowed * fabs(want)) return;
    fail_msg("%s is %.9g, on the cpu %.9g: %.2g of it apart", what, got, want, fabs(got - want) / fabs(want));
}

static void check_against_cpu(const mmrec_train_config *c) {
    training device, host;
    start_before(&device, "cuda", c, 5);
    start_before(&host, "cpu", c, 5);
    for (int i = 1; i <= 4; i++) {
        mmrec_train_record got = step_of(&device), want = step_of(&host);
        assert_true(!got.skipped && !got.spike && got.tokens == want.tokens && got.rate == want.rate);
        expect_near("the loss", got.loss, want.loss);
        expect_near("its main part", got.loss_main, want.loss_main);
        expect_near("its auxiliary part", got.loss_aux, want.loss_aux);
        expect_near("the gradients' norm", got.gradient_norm, want.gradient_norm);
        expect_near("the clipping", got.clip_factor, want.clip_factor);
        expect_near("the growth", got.growth, want.growth);
        assert_true(want.loss_aux > 0 || c->model.uboo == MMREC_UBOO_OFF);
    }
    training_end(&device);
    training_end(&host);
}

/* Batch 5 begins an epoch: in the middle of the third step, where a step has two. */
static void test_as_the_cpu(void **state) {
    (void)state;
    mmrec_train_config c = short_config(2);
    check_against_cpu(&c);
    c.hem = false;
    c.model.pe = 4;
    c.model.uboo = MMREC_UBOO_PLANNING;
    check_against_cpu(&c);
    c.hem = true;
    c.model.dpg = 3;
    c.recompute = true;
    c.model.uboo = MMREC_UBOO_DEEP;
    check_against_cpu(&c);
    c = whole_config(2);
    check_against_cpu(&c);
}

/* ---- the same bits ---- */

/* A phase is recorded at its second run and launched from the third on. */
enum { RUN = 3 };

static void expect_same_records(const mmrec_train_record *a, const mmrec_train_record *b, int count) {
    for (int i = 0; i < count; i++) {
        if (!same_record(&a[i], &b[i])) fail_msg("step %d is another", (int)a[i].step);
    }
}

static void check_graphs(mmrec_train_config c) {
    static mmrec_train_record records[2][RUN];
    for (int graphs = 0; graphs < 2; graphs++) {
        training r;
        c.graphs = graphs != 0;
        start_before(&r, "cuda", &c, 3);
        steps(&r, RUN, records[graphs]);
        read_weights(&r, graphs ? &two : &one);
        training_end(&r);
    }
    expect_same_records(records[0], records[1], RUN);
    assert_true(same_weights(&one, &two));
}

static void test_graphs_change_no_bit(void **state) {
    (void)state;
    mmrec_train_config c = whole_config(2);
    check_graphs(c);
    c = short_config(1);
    c.recompute = true;
    check_graphs(c);
}

/* Stops behind `stop` micro-batches; the second trainer has made other steps, and recorded its graphs, before it loads.
 */
static void check_stop(const mmrec_train_config *c, int stop) {
    static mmrec_train_record straight[RUN], resumed[RUN];
    training a, b;
    mmrec_error error = {0};
    mmrec_train_record record;
    mmrec_checkpoint *checkpoint = NULL;
    int rest = RUN - stop / (int)c->accumulate;
    bool finished;
    training_start(&a, "cuda", c);
    training_start(&b, "cuda", c);
    for (int i = 0; i < stop; i++) must(mmrec_trainer_micro(a.trainer, &finished, &record, &error), &error);
    must(mmrec_checkpoint_create(&a.allocator, &checkpoint, &error), &error);
    must(mmrec_trainer_save(a.trainer, checkpoint, &error), &error);
    for (int i = 0; i < 3; i++) must(mmrec_trainer_micro(b.trainer, &finished, &record, &error), &error);
    must(mmrec_trainer_load(b.trainer, checkpoint, NULL, NULL, &error), &error);
    steps(&a, rest, straight);
    steps(&b, rest, resumed);
    expect_same_records(straight, resumed, rest);
    assert_int_equal(mmrec_trainer_totals(b.trainer).micro_batches, RUN * c->accumulate);
    read_weights(&a, &one);
    read_weights(&b, &two);
    assert_true(same_weights(&one, &two));
    mmrec_checkpoint_destroy(&checkpoint);
    training_end(&a);
    training_end(&b);
}

static void test_resuming_changes_no_bit(void **state) {
    (void)state;
    mmrec_train_config c = whole_config(1);
    check_stop(&c, 3);
    c = short_config(1);
    check_stop(&c, 2);
}

/* ---- what looks on ---- */

static void expect_same_sample(training *device, training *host) {
    static const int32_t prompt[] = {'t', 'h', 'e', ' '};
    mmrec_error error = {0};
    int32_t got[6], want[6];
    must(mmrec_trainer_sample(device->trainer, prompt, 4, 0, 1, got, 6, &error), &error);
    must(mmrec_trainer_sample(host->trainer, prompt, 4, 0, 1, want, 6, &error), &error);
    assert_memory_equal(got, want, sizeof got);
    must(mmrec_trainer_sample(device->trainer, prompt, 4, 1, 1, got, 6, &error), &error);
    for (int i = 0; i < 6; i++) assert_true(got[i] >= 0 && got[i] < 256);
}

static void expect_near_gradients(training *device, training *host) {
    enum { MOST = 128 };
    static mmrec_gradient_stat got[MOST], want[MOST];
    mmrec_error error = {0};
    int count = mmrec_trainer_gradient_count(device->trainer);
    double all = 0;
    assert_true(count <= MOST && count == mmrec_trainer_gradient_count(host->trainer));
    must(mmrec_trainer_gradients(device->trainer, got, &error), &error);
    must(mmrec_trainer_gradients(host->trainer, want, &error), &error);
    for (int i = 0; i < count; i++) all += want[i].norm * want[i].norm;
    for (int i = 0; i < count; i++) {
        assert_string_equal(got[i].name, want[i].name);
        assert_int_equal(got[i].state, want[i].state);
        assert_true(fabs(got[i].norm - want[i].norm) <= allowed * sqrt(all));
        /* Weights of a gradient near 0 may have gone the other way: by twice the rate of 1e-2 a step. */
        assert_true(fabs(got[i].parameter_norm - want[i].parameter_norm) <= 2e-2 * sqrt((double)want[i].count));
    }
}

static void look(training *device, training *host) {
    mmrec_error error = {0};
    mmrec_evaluation got, want;
    mmrec_gradient_angle angle, angle_want;
    must(mmrec_trainer_evaluate(device->trainer, 2, true, &got, &error), &error);
    must(mmrec_trainer_evaluate(host->trainer, 2, true, &want, &error), &error);
    expect_near("the held-out loss", got.loss, want.loss);
    expect_near("its auxiliary part", got.loss_aux, want.loss_aux);
    assert_true(got.accuracy == want.accuracy && got.asked == want.asked && got.tokens == want.tokens);
    must(mmrec_trainer_angle(device->trainer, &angle, &error), &error);
    must(mmrec_trainer_angle(host->trainer, &angle_want, &error), &error);
    expect_near("the main gradient's norm", angle.main_norm, angle_want.main_norm);
    expect_near("the auxiliary gradient's norm", angle.aux_norm, angle_want.aux_norm);
    assert_true(fabs(angle.cosine - angle_want.cosine) <= allowed && angle.cosine != 0);
    expect_same_sample(device, host);
    expect_near_gradients(device, host);
}

/* Whoever looks gets what the cpu gets, between micro-batches too, and the training is as if nobody had. */
static void test_looking_changes_no_bit(void **state) {
    (void)state;
    training seen, host, unseen;
    mmrec_error error = {0};
    mmrec_train_record records[2][3], record;
    mmrec_train_config c = whole_config(1);
    bool finished;
    training_start(&seen, "cuda", &c);
    training_start(&host, "cpu", &c);
    training_start(&unseen, "cuda", &c);
    records[0][0] = step_of(&seen);
    step_of(&host);
    look(&seen, &host);
    must(mmrec_trainer_micro(seen.trainer, &finished, &record, &error), &error);
    must(mmrec_trainer_micro(host.trainer, &finished, &record, &error), &error);
    look(&seen, &host);
    steps(&seen, 2, records[0] + 1);
    steps(&unseen, 3, records[1]);
    expect_same_records(records[0], records[1], 3);
    read_weights(&seen, &one);
    read_weights(&unseen, &two);
    assert_true(same_weights(&one, &two));
    training_end(&seen);
    training_end(&host);
    training_end(&unseen);
}

/* ---- guards ---- */

static void expect_skipped(training *r, const char *culprit) {
    read_weights(r, &one);
    mmrec_train_record record = step_of(r);
    if (!record.skipped || strcmp(record.culprit, culprit) != 0) fail_msg("\"%s\", not %s", record.culprit, culprit);
    read_weights(r, &two);
    assert_true(same_weights(&one, &two));
}

static double parameter_at(training *r, const char *name, int64_t at) {
    static double values[MAX_VALUES];
    mmrec_error error = {0};
    mmrec_tensor t = tensor_named(r, name);
    must(mmrec_exec_read(mmrec_trainer_exec(r->trainer), t, values, count_of(r, t), &error), &error);
    return values[at];
}

/* Parameters, and a state that overflows behind a finite loss: the step is skipped and the next one made. */
static void test_guards(void **state) {
    (void)state;
    static const struct {
        const char *parameter, *culprit;
        double value;
    } rows[] = {{"blocks.0.gate.weight", "recurrence forward, layer 0", NAN},
                {"blocks.1.ffn.in.weight", "linear forward, layer 1", INFINITY},
                {"blocks.1.ffn.out.bias", "memory_update forward, layer 1", 3e38}};
    training r;
    mmrec_train_config c = short_config(2);
    c.stream = true;
    training_start(&r, "cuda", &c);
    step_of(&r);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double good = parameter_at(&r, rows[i].parameter, 5);
        poke(&r, rows[i].parameter, 5, rows[i].value);
        expect_skipped(&r, rows[i].culprit);
        poke(&r, rows[i].parameter, 5, good);
        mmrec_train_record record = step_of(&r);
        assert_true(!record.skipped && record.loss > 0 && !record.culprit[0]);
    }
    assert_int_equal(mmrec_trainer_totals(r.trainer).skipped, 3);
    training_end(&r);
}

/* Finite gradients whose squares are beyond float: only the optimizer sees that. */
static void test_guard_of_the_optimizer(void **state) {
    (void)state;
    training r;
    mmrec_error error = {0};
    double values[12];
    mmrec_train_config c = short_config(1);
    c.optimizer.clip_norm = 0;
    training_start(&r, "cuda", &c);
    mmrec_tensor norm = tensor_named(&r, "norm.weight");
    must(mmrec_exec_read(mmrec_trainer_exec(r.trainer), norm, values, 12, &error), &error);
    for (int i = 0; i < 12; i++) values[i] *= 1e25;
    must(mmrec_exec_write(mmrec_trainer_exec(r.trainer), norm, values, 12, &error), &error);
    expect_skipped(&r, "the optimizer: the gradients' norm is beyond what it can square");
    training_end(&r);
}

/* ---- what a step costs ---- */

static mmrec_alloc_count device_memory(void) {
    mmrec_alloc_count sum = {0, 0, 0};
    for (int a = 0; a <= MMREC_ARENAS; a++) {
        sum.requests += cuda->device->allocated(a).requests;
        sum.live_bytes += cuda->device->allocated(a).live_bytes;
    }
    return sum;
}

/* After the first step, over the end of an epoch; and all of it is given back. */
static void test_allocations(void **state) {
    (void)state;
    training r;
    mmrec_train_config c = whole_config(1);
    mmrec_train_record records[RUN];
    size_t before = device_memory().live_bytes;
    start_before(&r, "cuda", &c, 5);
    step_of(&r);
    mmrec_alloc_count device = device_memory();
    uint64_t host = r.allocator.attempts;
    steps(&r, RUN, records);
    assert_int_equal(device_memory().requests, device.requests);
    assert_int_equal(device_memory().live_bytes, device.live_bytes);
    assert_int_equal(r.allocator.attempts, host);
    training_end(&r);
    assert_int_equal(device_memory().live_bytes, before);
}

/* Kernels of a step in the middle of an epoch. */
static uint64_t launches_of(int64_t batch, bool stream) {
    training r;
    mmrec_train_config c = short_config(1);
    c.batch = batch;
    c.stream = stream;
    training_start(&r, "cuda", &c);
    step_of(&r);
    uint64_t before = cuda->device->launches();
    step_of(&r);
    uint64_t launches = cuda->device->launches() - before;
    training_end(&r);
    return launches;
}

/* What is carried and looked at is moved as a whole, however many sequences there are. */
static void test_launches_do_not_grow_with_the_batch(void **state) {
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        uint64_t few = launches_of(2, stream != 0);
        assert_true(few > 20);
        assert_int_equal(few, launches_of(4, stream != 0));
    }
}

/* ---- bf16 ---- */

/* Values that bf16 would have rounded: at least one is there unless everything was. */
static bool beyond_bf16(const double *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        float value = (float)values[i];
        uint32_t bits = 0;
        memcpy(&bits, &value, sizeof bits);
        if (bits & 0xffffu) return true;
    }
    return false;
}

/* The whole of it runs, and stops and goes on; masters, moments and gradients are float. */
static void test_bf16(void **state) {
    (void)state;
    training r;
    mmrec_train_config c = whole_config(1);
    mmrec_train_record records[RUN];
    c.bf16 = true;
    start_before(&r, "cuda", &c, 3);
    steps(&r, RUN, records);
    for (int i = 0; i < RUN; i++) assert_true(!records[i].skipped && records[i].gradient_norm > 0);
    assert_true(fabs(records[0].loss_main - log(256)) <= 0.1);
    const mmrec_graph *graph = mmrec_exec_graph(mmrec_trainer_exec(r.trainer));
    for (int64_t i = 0; i < r.trainer->param_count; i++) {
        const train_param *p = &r.trainer->params[i];
        assert_int_equal(mmrec_graph_tensor_info(graph, p->tensor).dtype, MMREC_F32);
        assert_int_equal(mmrec_graph_tensor_info(graph, p->gradient).dtype, MMREC_F32);
    }
    read_weights(&r, &one);
    assert_true(beyond_bf16(one.value, one.count) && beyond_bf16(one.moment, one.moment_count));
    training_end(&r);
    check_stop(&c, 3);
}

static void test_bf16_learns(void **state) {
    (void)state;
    training r;
    mmrec_train_config c = tiny_config();
    mmrec_train_record records[12];
    c.model.layers = 1;
    c.bf16 = true;
    training_start(&r, "cuda", &c);
    steps(&r, 12, records);
    assert_true(fabs(records[0].loss - log(256)) <= 0.1);
    for (int i = 8; i < 12; i++) assert_true(records[i].loss < records[0].loss - 0.5);
    training_end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_cpu),
        cmocka_unit_test(test_graphs_change_no_bit),
        cmocka_unit_test(test_resuming_changes_no_bit),
        cmocka_unit_test(test_looking_changes_no_bit),
        cmocka_unit_test(test_guards),
        cmocka_unit_test(test_guard_of_the_optimizer),
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_launches_do_not_grow_with_the_batch),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_bf16_learns),
    };
    int unusable = cuda_rig_open(&cuda);
    if (unusable) return unusable;
    int failed = cmocka_run_group_tests_name("cuda_train", tests, NULL, NULL);
    mmrec_backend_close();
    return failed;
}
