/* The fused MLP against the graph on the reference backend, step by step, on every backend; against the fixture of
 * training; epochs, results, the guard. */
#include "mlp_rig.h"

#include "mmrec/safetensors.h"

/* Every way through it: layers and none, widths around a panel of 16, losses, activations, short steps. */
static const struct {
    const char *config;
    int64_t batch, count;
} cases[] = {
    {"", 32, 32},
    {"inputs=3 hidden=17,2 outputs=2 activation=tanh", 5, 3},
    {"inputs=16 hidden=15,33 outputs=17 activation=gelu loss=cross-entropy", 33, 33},
    {"inputs=1 hidden=none outputs=1", 1, 1},
    {"inputs=7 hidden=none outputs=3 loss=cross-entropy", 6, 5},
    {"inputs=2 hidden=1,1,1,1,1,1,1,1 outputs=2 activation=gelu", 2, 2},
    {"inputs=19 hidden=48 outputs=20 activation=relu", 7, 7},
    {"hidden=120,120", 8, 8}, /* on a device the moments find no room in shared memory */
};
enum { CASES = sizeof cases / sizeof *cases, STEPS = 5, MOST_PARAMETERS = 16384 };

static const double rates[STEPS] = {3e-3, 1e-2, 0, 2e-3, 5e-3};

/* Of values of size 1: roundings of double, and of float sums that a step squares and divides by. */
static double allowed(const mmrec_backend *backend) { return is_f64(backend) ? 1e-12 : 1e-5; }

static void same(const mmrec_backend *backend, const char *what, double got, double want) {
    if (!(fabs(got - want) <= allowed(backend) * (1 + fabs(want)))) {
        fail_msg("%s: %s is %.17g, the graph's %.17g", backend->name, what, got, want);
    }
}

static void same_parameters(const mmrec_backend *backend, const mmrec_mlp_trainer *t, const mmrec_mlp_config *c,
                            plain *p) {
    static double got[MOST_PARAMETERS], want[MOST_PARAMETERS];
    int64_t count = fused_read(t, c, got);
    assert_int_equal(plain_read(p, want), count);
    for (int64_t i = 0; i < count; i++) same(backend, "a parameter", got[i], want[i]);
}

/* ---- steps ---- */

static void check_case(const mmrec_backend *backend, int number_of_case, const mmrec_optimizer_config *optimizer) {
    static samples s;
    mmrec_mlp_config c = mlp_config(cases[number_of_case].config);
    int64_t count = cases[number_of_case].count;
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_mlp_trainer *t = fused(&allocator, backend, &c, optimizer, cases[number_of_case].batch);
    plain p;
    plain_start(&p, &c, optimizer, count);
    same_parameters(backend, t, &c, &p);
    for (int step = 0; step < STEPS; step++) {
        mmrec_mlp_report got;
        samples_fill(&s, &c, count, (uint64_t)step);
        must(mmrec_mlp_step(t, &s.view, rates[step], &got, &error), &error);
        mmrec_mlp_report want = plain_step(&p, &c, &s.view, rates[step]);
        same(backend, "the loss", got.loss, want.loss);
        same(backend, "the norm", got.gradient_norm, want.gradient_norm);
        assert_int_equal(got.step, step + 1);
        assert_int_equal(got.skipped, 0);
        same_parameters(backend, t, &c, &p);
    }
    plain_end(&p);
    fused_end(&t, &allocator);
}

/* With clipping that acts and that does not, and decay large enough to be seen in a step. */
static void check_steps(const mmrec_backend *backend) {
    mmrec_optimizer_config clipped = {0.9, 0.95, 1e-4, 2, 0.3}, plainly = {0.8, 0.99, 1e-4, 0, 0};
    for (int i = 0; i < CASES; i++) {
        check_case(backend, i, &clipped);
        check_case(backend, i, &plainly);
    }
}

static void test_steps(void **state) {
    (void)state;
    on_each(check_steps);
}

/* ---- epochs ---- */

/* An epoch is its steps, to the bit, in the order asked for; the last one has what is left. */
static void check_epoch_of(const mmrec_backend *backend, const char *text, bool reversed) {
    enum { BATCH = 8, COUNT = 2 * BATCH + 3 };
    static samples all, one;
    static double got[MOST_PARAMETERS], want[MOST_PARAMETERS];
    int32_t order[COUNT];
    mmrec_mlp_config c = mlp_config(text);
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_allocator allocator = {0}, other = {0};
    mmrec_error error = {0};
    mmrec_mlp_trainer *t = fused(&allocator, backend, &c, &optimizer, BATCH);
    mmrec_mlp_trainer *single = fused(&other, backend, &c, &optimizer, BATCH);
    mmrec_mlp_report report, last;
    double sum = 0;
    samples_fill(&all, &c, COUNT, 3);
    for (int i = 0; i < COUNT; i++) order[i] = reversed ? COUNT - 1 - i : i;
    must(mmrec_mlp_load(t, &all.view, &error), &error);
    must(mmrec_mlp_epoch(t, reversed ? order : NULL, 1e-2, &report, &error), &error);
    for (int first = 0; first < COUNT; first += BATCH) {
        int rows = COUNT - first < BATCH ? COUNT - first : BATCH;
        for (int r = 0; r < rows; r++) {
            int32_t from = order[first + r];
            memcpy(one.x + r * c.inputs, all.x + from * c.inputs, (size_t)c.inputs * sizeof *one.x);
            memcpy(one.target + r * c.outputs, all.target + from * c.outputs, (size_t)c.outputs * sizeof *one.x);
            one.classes[r] = all.classes[from];
        }
        mmrec_mlp_samples step = view_of(&one, &c, 0, rows);
        must(mmrec_mlp_step(single, &step, 1e-2, &last, &error), &error);
        sum += last.loss * rows;
    }
    int64_t count = fused_read(t, &c, got);
    fused_read(single, &c, want);
    assert_memory_equal(got, want, (size_t)count * sizeof *got);
    assert_int_equal(report.step, 3);
    assert_int_equal(last.step, 3);
    assert_true(report.loss == sum / COUNT);
    assert_true(report.gradient_norm == last.gradient_norm);
    fused_end(&t, &allocator);
    fused_end(&single, &other);
}

static void check_epoch(const mmrec_backend *backend) {
    check_epoch_of(backend, "hidden=9,5 outputs=2 activation=tanh", false);
    check_epoch_of(backend, "hidden=9,5 outputs=2 activation=gelu", true);
    check_epoch_of(backend, "hidden=9 outputs=3 loss=cross-entropy", true);
}

static void test_epoch(void **state) {
    (void)state;
    on_each(check_epoch);
}

/* Loaded again, other samples take the place of the first; epochs go on with the parameters there are, and learn. */
static void check_learning(const mmrec_backend *backend) {
    static samples s;
    mmrec_mlp_config c = mlp_config("hidden=16 activation=tanh");
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_mlp_trainer *t = fused(&allocator, backend, &c, &optimizer, 16);
    mmrec_mlp_report first, last;
    samples_fill(&s, &c, 100, 1);
    must(mmrec_mlp_load(t, &s.view, &error), &error);
    samples_fill(&s, &c, 40, 2);
    for (int64_t i = 0; i < 40; i++) s.target[i] = 0.5 * s.x[5 * i] - s.x[5 * i + 1] + 0.25;
    must(mmrec_mlp_load(t, &s.view, &error), &error);
    must(mmrec_mlp_epoch(t, NULL, 1e-2, &first, &error), &error);
    assert_int_equal(first.step, 3);
    for (int i = 1; i < 80; i++) must(mmrec_mlp_epoch(t, NULL, 1e-2, &last, &error), &error);
    assert_int_equal(last.step, 240);
    if (!(last.loss < 0.03 * first.loss)) fail_msg("%s: from %g to %g", backend->name, first.loss, last.loss);
    fused_end(&t, &allocator);
}

static void test_learning(void **state) {
    (void)state;
    on_each(check_learning);
}

/* ---- forward only ---- */

/* More samples than a batch; parameters stay as they are. */
static void check_forward_of(const mmrec_backend *backend, const char *text) {
    enum { COUNT = 21, BATCH = 8 };
    static samples s;
    static double got[COUNT * MOST_WIDTH], want[COUNT * MOST_WIDTH], before[MOST_PARAMETERS], after[MOST_PARAMETERS];
    mmrec_mlp_config c = mlp_config(text);
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_mlp_trainer *t = fused(&allocator, backend, &c, &optimizer, BATCH);
    double loss;
    plain p;
    plain_start(&p, &c, &optimizer, COUNT);
    samples_fill(&s, &c, COUNT, 5);
    int64_t count = fused_read(t, &c, before);
    must(mmrec_mlp_predict(t, s.x, COUNT, got, &error), &error);
    must(mmrec_mlp_loss_of(t, &s.view, &loss, &error), &error);
    same(backend, "the loss", loss, plain_forward(&p, &c, &s.view));
    read_named(&p.r, "y", want, COUNT * c.outputs);
    for (int64_t i = 0; i < COUNT * c.outputs; i++) same(backend, "a result", got[i], want[i]);
    fused_read(t, &c, after);
    assert_memory_equal(before, after, (size_t)count * sizeof *before);
    plain_end(&p);
    fused_end(&t, &allocator);
}

static void check_forward(const mmrec_backend *backend) {
    check_forward_of(backend, "hidden=18,3 outputs=2 activation=gelu");
    check_forward_of(backend, "hidden=6 outputs=17 loss=cross-entropy");
}

static void test_forward(void **state) {
    (void)state;
    on_each(check_forward);
}

/* ---- the guard ---- */

/* A step with a target that is no number changes nothing; the steps behind it are those of a run without it. */
static void check_guard(const mmrec_backend *backend) {
    static samples s;
    static double got[MOST_PARAMETERS], want[MOST_PARAMETERS];
    mmrec_mlp_config c = mlp_config("hidden=9");
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_allocator allocator = {0}, other = {0};
    mmrec_error error = {0};
    mmrec_mlp_trainer *t = fused(&allocator, backend, &c, &optimizer, 4);
    mmrec_mlp_trainer *undisturbed = fused(&other, backend, &c, &optimizer, 4);
    const double bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        mmrec_mlp_report report;
        samples_fill(&s, &c, 4, (uint64_t)i);
        double good = s.target[i];
        s.target[i] = bad[i];
        must(mmrec_mlp_step(t, &s.view, 1e-2, &report, &error), &error);
        assert_int_equal(report.skipped, 1);
        assert_int_equal(report.step, i);
        assert_true(!isfinite(report.gradient_norm) && !isfinite(report.loss));
        s.target[i] = good;
        must(mmrec_mlp_step(t, &s.view, 1e-2, &report, &error), &error);
        assert_int_equal(report.skipped, 0);
        assert_int_equal(report.step, i + 1);
        must(mmrec_mlp_step(undisturbed, &s.view, 1e-2, NULL, &error), &error);
    }
    int64_t count = fused_read(t, &c, got);
    fused_read(undisturbed, &c, want);
    assert_memory_equal(got, want, (size_t)count * sizeof *got);
    fused_end(&t, &allocator);
    fused_end(&undisturbed, &other);
}

static void test_guard(void **state) {
    (void)state;
    on_each(check_guard);
}

/* ---- parameters, and the fixture ---- */

static void check_written(const mmrec_backend *backend) {
    double values[18], got[18];
    mmrec_mlp_config c = mlp_config("inputs=6 hidden=3 outputs=2");
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_mlp_trainer *t = fused(&allocator, backend, &c, &optimizer, 2);
    for (int i = 0; i < 18; i++) values[i] = i - 4.5;
    must(mmrec_mlp_write(t, "layers.0.weight", values, 18, &error), &error);
    must(mmrec_mlp_write(t, "layers.0.bias", values + 9, 3, &error), &error);
    must(mmrec_mlp_read(t, "layers.0.weight", got, 18, &error), &error);
    assert_memory_equal(got, values, sizeof got);
    must(mmrec_mlp_read(t, "layers.0.bias", got, 3, &error), &error);
    assert_memory_equal(got, values + 9, 3 * sizeof *got);
    fused_end(&t, &allocator);
}

static void test_written(void **state) {
    (void)state;
    on_each(check_written);
}

enum { TRAIN_STEPS = 20, TRAIN_BATCH = 32 };

static void fixture_values(const mmrec_safetensors *file, const char *prefix, const char *name, double *values,
                           int64_t count) {
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const mmrec_safetensors_tensor *tensor = mmrec_safetensors_find(file, full);
    mmrec_error error = {0};
    if (!tensor) fail_msg("the fixture has no %s", full);
    must(mmrec_safetensors_read_f64(tensor, values, (size_t)count, &error), &error);
}

/* Writes every parameter, or compares it with what it should be. */
static void each_parameter(mmrec_mlp_trainer *t, const mmrec_safetensors *file, bool compare, double tolerance) {
    static const struct {
        const char *name;
        int64_t count;
    } all[] = {{"layers.0.weight", 320}, {"layers.0.bias", 64}, {"layers.1.weight", 2048}, {"layers.1.bias", 32},
               {"layers.2.weight", 512}, {"layers.2.bias", 16}, {"layers.3.weight", 16},   {"layers.3.bias", 1}};
    static double want[2048], got[2048];
    mmrec_error error = {0};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fixture_values(file, compare ? "out.param." : "param.", all[i].name, want, all[i].count);
        if (!compare) {
            must(mmrec_mlp_write(t, all[i].name, want, all[i].count, &error), &error);
            continue;
        }
        must(mmrec_mlp_read(t, all[i].name, got, all[i].count, &error), &error);
        mmrec_difference d = mmrec_compare(got, want, all[i].count);
        if (!mmrec_difference_within(&d, tolerance, 0)) fail_msg("%s is off by %g", all[i].name, d.max_rel);
    }
}

/* The fixture holds float32, which bounds what double can agree to. */
static void check_fixture(const mmrec_backend *backend) {
    static double x[TRAIN_STEPS][TRAIN_BATCH * 5], target[TRAIN_STEPS][TRAIN_BATCH];
    double loss[TRAIN_STEPS], norm[TRAIN_STEPS], got_loss[TRAIN_STEPS], got_norm[TRAIN_STEPS];
    const char *path = MMREC_GOLDEN "/fixtures/train_mlp.safetensors";
    mmrec_safetensors *file = NULL;
    mmrec_allocator allocator = {0}, other = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_mlp_config c = mlp_config("");
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_mlp_trainer *t = fused(&allocator, backend, &c, &optimizer, TRAIN_BATCH);
    must(mmrec_safetensors_open(&io, &other, path, 1 << 24, &file, &error), &error);
    each_parameter(t, file, false, 0);
    fixture_values(file, "in.", "x", &x[0][0], TRAIN_STEPS * TRAIN_BATCH * 5);
    fixture_values(file, "in.", "target", &target[0][0], TRAIN_STEPS * TRAIN_BATCH);
    fixture_values(file, "out.", "loss", loss, TRAIN_STEPS);
    fixture_values(file, "out.", "grad_norm", norm, TRAIN_STEPS);
    for (int step = 0; step < TRAIN_STEPS; step++) {
        mmrec_mlp_samples s = {.x = x[step], .target = target[step], .count = TRAIN_BATCH};
        mmrec_mlp_report report;
        must(mmrec_mlp_step(t, &s, 3e-3, &report, &error), &error);
        got_loss[step] = report.loss;
        got_norm[step] = report.gradient_norm;
    }
    double tolerance = is_f64(backend) ? 1e-6 : 1e-4;
    mmrec_difference losses = mmrec_compare(got_loss, loss, TRAIN_STEPS);
    mmrec_difference norms = mmrec_compare(got_norm, norm, TRAIN_STEPS);
    if (!mmrec_difference_within(&losses, tolerance, 0)) fail_msg("the loss is off by %g", losses.max_rel);
    if (!mmrec_difference_within(&norms, tolerance, 0)) fail_msg("the norm is off by %g", norms.max_rel);
    each_parameter(t, file, true, tolerance);
    mmrec_safetensors_destroy(&file);
    fused_end(&t, &allocator);
}

static void test_fixture(void **state) {
    (void)state;
    on_each(check_fixture);
}

/* An argument names the tests to run; kernels.mutants needs one or two of them. */
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps),    cmocka_unit_test(test_epoch),
                                       cmocka_unit_test(test_learning), cmocka_unit_test(test_forward),
                                       cmocka_unit_test(test_guard),    cmocka_unit_test(test_written),
                                       cmocka_unit_test(test_fixture)};
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mmrec_backend_close();
    return failed;
}
