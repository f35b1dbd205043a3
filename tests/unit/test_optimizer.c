/* AdamW: against a plain loop of its own and values computed by hand, on every backend; clipping, the guard, the number
 * of threads, refusals. Training: test_optimizer_fixture. */
#include "optimizer_rig.h"

/* ---- the plain loop ---- */

typedef struct plain {
    double w[ALL], m[ALL], v[ALL];
    double norm, factor;
    int step;
} plain;

static void plain_start(plain *q, const store *s) {
    memset(q, 0, sizeof *q);
    int64_t at = 0;
    for (int p = 0; p < TENSORS; p++) {
        for (int64_t i = 0; i < s->size[p]; i++) q->w[at++] = value(p, 0, i);
    }
}

/* As the common libraries write it: decay first, then the corrected moments. */
static void plain_element(plain *q, int64_t at, double g, bool decays, const mmrec_optimizer_config *c, double rate) {
    if (decays) q->w[at] -= rate * c->weight_decay * q->w[at];
    q->m[at] += (1 - c->beta1) * (g - q->m[at]);
    q->v[at] = c->beta2 * q->v[at] + (1 - c->beta2) * pow(g, 2);
    double mean = q->m[at] / (1 - pow(c->beta1, q->step)), square = q->v[at] / (1 - pow(c->beta2, q->step));
    q->w[at] -= rate * mean / (sqrt(square) + c->epsilon);
}

static void plain_step(plain *q, const store *s, int step, const mmrec_optimizer_config *c, double rate) {
    long double sum = 0;
    for (int p = 0; p < TENSORS; p++) {
        for (int64_t i = 0; i < s->size[p]; i++) sum += (long double)value(p, step, i) * value(p, step, i);
    }
    q->norm = (double)sqrtl(sum);
    q->factor = c->clip_norm > 0 && q->norm > c->clip_norm ? c->clip_norm / q->norm : 1;
    q->step++;
    int64_t at = 0;
    for (int p = 0; p < TENSORS; p++) {
        for (int64_t i = 0; i < s->size[p]; i++) {
            plain_element(q, at++, value(p, step, i) * q->factor, s->decays[p], c, rate);
        }
    }
}

/* What one float step may be off: a handful of roundings of a weight, and of an update of at most about `rate` each. */
static double allowed(const mmrec_backend *backend) { return backend->real == MMREC_F64 ? 1e-13 : 1e-6; }

static void check_steps(const mmrec_backend *backend, double clip_norm) {
    static plain q;
    static double all[ALL];
    mmrec_optimizer_config c = mmrec_optimizer_config_default();
    c.clip_norm = clip_norm;
    store s;
    store_start(&s, backend, &c);
    plain_start(&q, &s);
    for (int step = 1; step <= STEPS; step++) {
        write_gradients(&s, step);
        mmrec_optimizer_report report = step_with(&s, settings_rate[step - 1]);
        plain_step(&q, &s, step, &c, settings_rate[step - 1]);
        assert_false(report.skipped);
        assert_int_equal(report.step, step);
        assert_true(fabs(report.gradient_norm - q.norm) <= 1e-12 * q.norm);
        assert_true(fabs(report.clip_factor - q.factor) <= 1e-12);
        read_all(&s, all);
        for (int64_t i = 0; i < ALL; i++) {
            if (fabs(all[i] - q.w[i]) <= allowed(backend) * (1 + fabs(q.w[i]))) continue;
            fail_msg("%s step %d: value %lld is %.9g, plain %.9g", backend->name, step, (long long)i, all[i], q.w[i]);
        }
    }
    store_end(&s);
}

static void check_plain_loop(const mmrec_backend *backend) {
    check_steps(backend, 0);
    check_steps(backend, 0.5); /* below the norm, which is about 2.57 */
    check_steps(backend, 100);
}

static void test_plain_loop(void **state) {
    (void)state;
    on_each(check_plain_loop);
}

/* ---- by hand ---- */

/* g = 0.5, then -1, with beta2 0.999, rate 0.1, no clipping. Step 1: m / (1 - beta1) = 0.5, sqrt(v / (1 - beta2)) =
 * 0.5, so w falls by 0.1. Step 2: m = -0.055, v = 0.00124975, corrected -0.055 / 0.19 and 0.00124975 / 0.001999: w
 * rises by 0.1 * 0.28947368 / 0.79068805 = 0.036610352. Decay 0.1 takes 0.01 of the weight first. */
static void check_by_hand(const mmrec_backend *backend) {
    const double bias_want[2] = {0.9, 0.936610352}, weight_want[2] = {0.89, 0.917710352};
    mmrec_optimizer_config c = {0.9, 0.999, 1e-12, 0.1, 0};
    mmrec_error error = {0};
    store s;
    store_start(&s, backend, &c);
    double ones[15], got[15];
    for (int i = 0; i < 15; i++) ones[i] = 1;
    must(mmrec_exec_write(s.exec, s.param[1], ones, 7, &error), &error);
    must(mmrec_exec_write(s.exec, s.param[2], ones, 15, &error), &error);
    for (int step = 0; step < 2; step++) {
        double g[15];
        for (int i = 0; i < 15; i++) g[i] = step ? -1 : 0.5;
        must(mmrec_exec_write(s.exec, mmrec_graph_gradient(s.graph, s.param[1]), g, 7, &error), &error);
        must(mmrec_exec_write(s.exec, mmrec_graph_gradient(s.graph, s.param[2]), g, 15, &error), &error);
        assert_false(step_with(&s, 0.1).skipped);
        must(mmrec_exec_read(s.exec, s.param[1], got, 7, &error), &error);
        for (int i = 0; i < 7; i++) assert_true(fabs(got[i] - bias_want[step]) < 2e-7);
        must(mmrec_exec_read(s.exec, s.param[2], got, 15, &error), &error);
        for (int i = 0; i < 15; i++) assert_true(fabs(got[i] - weight_want[step]) < 2e-7);
    }
    store_end(&s);
}

static void test_by_hand(void **state) {
    (void)state;
    on_each(check_by_hand);
}

/* ---- the guard ---- */

static void spoil(store *s, int p, int64_t at, double with) {
    mmrec_error error = {0};
    for (int64_t i = 0; i < s->size[p]; i++) buffer[i] = i == at ? with : value(p, 1, i);
    must(mmrec_exec_write(s->exec, mmrec_graph_gradient(s->graph, s->param[p]), buffer, s->size[p], &error), &error);
}

/* One bad gradient, whichever it is, changes nothing; the steps after it are those of a run without it. */
static void check_guard(const mmrec_backend *backend) {
    static double before[ALL], after[ALL], undisturbed[ALL];
    const double bad[] = {NAN, INFINITY, -INFINITY};
    mmrec_optimizer_config c = mmrec_optimizer_config_default();
    store s, other;
    store_start(&s, backend, &c);
    store_start(&other, backend, &c);
    for (int p = 0; p < TENSORS; p++) {
        write_gradients(&s, 1);
        read_all(&s, before);
        int64_t at = p % 2 ? s.size[p] - 1 : s.size[p] / 2;
        spoil(&s, p, at, bad[p % 3]);
        mmrec_optimizer_report report = step_with(&s, 1e-2);
        read_all(&s, after);
        assert_true(report.skipped);
        assert_true(!isfinite(report.gradient_norm));
        assert_true(report.clip_factor == 1);
        assert_int_equal(report.step, p);
        assert_memory_equal(before, after, sizeof before);
        write_gradients(&s, p + 1);
        write_gradients(&other, p + 1);
        assert_int_equal(step_with(&s, 1e-2).step, p + 1);
        assert_int_equal(step_with(&other, 1e-2).step, p + 1);
        read_all(&s, after);
        read_all(&other, undisturbed);
        assert_memory_equal(undisturbed, after, sizeof after);
        assert_memory_not_equal(before, after, sizeof after);
    }
    store_end(&other);
    store_end(&s);
}

static void test_guard(void **state) {
    (void)state;
    on_each(check_guard);
}

/* A gradient whose square float cannot hold: clipped it is harmless, unclipped the guard acts, in double it need not.
 */
static void check_large_gradients(const mmrec_backend *backend) {
    static double all[ALL];
    for (int clipped = 0; clipped < 2; clipped++) {
        mmrec_optimizer_config c = mmrec_optimizer_config_default();
        c.clip_norm = clipped;
        store s;
        store_start(&s, backend, &c);
        write_gradients(&s, 1);
        spoil(&s, 4, 4096, 1e30);
        mmrec_optimizer_report report = step_with(&s, 1e-2);
        assert_true(fabs(report.gradient_norm - 1e30) < 1e24);
        assert_int_equal(report.skipped, !clipped && backend->real == MMREC_F32);
        read_all(&s, all);
        for (int64_t i = 0; i < ALL; i++) assert_true(isfinite(all[i]));
        store_end(&s);
    }
}

static void test_large_gradients(void **state) {
    (void)state;
    on_each(check_large_gradients);
}

/* Gradients of nothing move only what decays. */
static void check_zero_gradients(const mmrec_backend *backend) {
    static double before[ALL], after[ALL];
    mmrec_optimizer_config c = mmrec_optimizer_config_default();
    store s;
    store_start(&s, backend, &c);
    read_all(&s, before);
    mmrec_optimizer_report report = step_with(&s, 0.5);
    read_all(&s, after);
    assert_true(report.gradient_norm == 0 && report.clip_factor == 1 && !report.skipped);
    for (int64_t p = 0, at = 0; p < TENSORS; p++) {
        double shrink = s.decays[p] ? 0.95 : 1;
        for (int64_t i = 0; i < s.size[p]; i++, at++) {
            assert_true(fabs(after[at] - shrink * before[at]) <= (s.decays[p] ? 2e-7 * fabs(before[at]) : 0));
        }
    }
    store_end(&s);
}

static void test_zero_gradients(void **state) {
    (void)state;
    on_each(check_zero_gradients);
}

/* ---- threads, memory, refusals ---- */

static void test_threads(void **state) {
    (void)state;
    static const char *const on_the_host[] = {"ref", "cpu"};
    static double first[ALL], all[ALL];
    for (int b = 0; b < 2; b++) {
        for (int threads = 1; threads <= 5; threads++) {
            mmrec_optimizer_config c = mmrec_optimizer_config_default();
            mmrec_error error = {0};
            store s;
            must(mmrec_backend_set_threads(threads, &error), &error);
            store_start(&s, backend_named(on_the_host[b]), &c);
            for (int step = 1; step <= 3; step++) {
                write_gradients(&s, step);
                step_with(&s, 1e-2);
            }
            read_all(&s, threads == 1 ? first : all);
            if (threads > 1) assert_memory_equal(first, all, sizeof all);
            store_end(&s);
        }
    }
    assert_int_equal(mmrec_backend_set_threads(2, NULL), MMREC_OK);
}

/* A step captured once and run again finds its new gradients, rate and count, and writes the bits of steps of their
 * own. */
static void check_captured(const mmrec_backend *backend) {
    static double all[ALL], want[ALL];
    mmrec_optimizer_config c = mmrec_optimizer_config_default();
    mmrec_optimizer_report report = {0};
    mmrec_error error = {0};
    void *graph = NULL;
    store s, other;
    if (!backend->device) return;
    store_start(&s, backend, &c);
    store_start(&other, backend, &c);
    must(backend->device->capture_begin(&error), &error);
    must(mmrec_optimizer_queue(s.optimizer, &error), &error);
    must(backend->device->capture_end(&graph, &error), &error);
    for (int step = 1; step <= STEPS; step++) {
        write_gradients(&s, step);
        write_gradients(&other, step);
        must(mmrec_optimizer_rate(s.optimizer, settings_rate[step - 1], &error), &error);
        must(backend->device->graph_launch(graph, &error), &error);
        must(mmrec_optimizer_report_of(s.optimizer, &report, &error), &error);
        assert_int_equal(report.step, step);
        step_with(&other, settings_rate[step - 1]);
        read_all(&s, all);
        read_all(&other, want);
        assert_memory_equal(all, want, sizeof want);
    }
    backend->device->graph_destroy(graph);
    store_end(&other);
    store_end(&s);
}

static void test_captured(void **state) {
    (void)state;
    on_each(check_captured);
}

static void check_no_allocation(const mmrec_backend *backend) {
    mmrec_optimizer_config c = mmrec_optimizer_config_default();
    store s;
    store_start(&s, backend, &c);
    write_gradients(&s, 1);
    uint64_t attempts = s.allocator.attempts;
    step_with(&s, 1e-3);
    assert_int_equal(s.allocator.attempts, attempts);
    assert_int_equal(mmrec_optimizer_step(s.optimizer, 1e-3, NULL, NULL), MMREC_OK);
    mmrec_optimizer_report report = {0};
    assert_int_equal(mmrec_optimizer_report_of(s.optimizer, &report, NULL), MMREC_OK);
    assert_int_equal(report.step, 2);
    store_end(&s);
}

static void test_no_allocation(void **state) {
    (void)state;
    on_each(check_no_allocation);
}

static void test_no_memory(void **state) {
    (void)state;
    mmrec_optimizer_config c = mmrec_optimizer_config_default();
    mmrec_status status = MMREC_NO_MEMORY;
    uint64_t k = 1;
    for (; status != MMREC_OK; k++) {
        mmrec_error error = {0};
        store s;
        memset(&s, 0, sizeof s);
        s.allocator.fail_at = k;
        status = store_try(&s, backend_named("cpu"), &c, &error);
        assert_true(status == MMREC_OK || (status == MMREC_NO_MEMORY && error.message[0]));
        store_end(&s);
    }
    assert_true(k > 8);
}

static void expect_refusal(const mmrec_optimizer_config *config, const char *message) {
    mmrec_error error = {0};
    store s;
    memset(&s, 0, sizeof s);
    assert_int_equal(store_try(&s, backend_named("cpu"), config, &error), MMREC_CONFIG);
    assert_string_equal(error.message, message);
    assert_null(s.optimizer);
    store_end(&s);
}

static void test_settings_refused(void **state) {
    (void)state;
    mmrec_optimizer_config good = mmrec_optimizer_config_default(), c = good;
    c.beta1 = 1;
    expect_refusal(&c, "the optimizer's beta1 is 1, it must be at least 0 and below 1");
    c = good;
    c.beta2 = -0.5;
    expect_refusal(&c, "the optimizer's beta2 is -0.5, it must be at least 0 and below 1");
    c = good;
    c.epsilon = 0;
    expect_refusal(&c, "the optimizer's epsilon is 0, it must be above 0");
    c = good;
    c.weight_decay = INFINITY;
    expect_refusal(&c, "the optimizer's weight_decay is inf, it must be at least 0");
    c = good;
    c.clip_norm = NAN;
    expect_refusal(&c, "the optimizer's clip_norm is nan, it must be at least 0 (0: no clipping)");
    mmrec_error error = {0};
    store s;
    store_start(&s, backend_named("cpu"), &good);
    assert_int_equal(mmrec_optimizer_step(s.optimizer, -1e-3, NULL, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "a learning rate must be finite and at least 0, got -0.001");
    assert_int_equal(mmrec_optimizer_step(s.optimizer, NAN, NULL, &error), MMREC_CONFIG);
    store_end(&s);
}

/* A graph that was not differentiated, and a plan without room. */
static void test_graphs_refused(void **state) {
    (void)state;
    const char *const messages[] = {
        "parameter \"w\" has no gradient: an optimizer needs a differentiated graph",
        "the plan has room for 0 values of optimizer state, AdamW needs two for each of 6 parameters: plan with "
        "optimizer_slots = 2",
        "an optimizer needs a graph with parameters"};
    for (int way = 0; way < 3; way++) {
        mmrec_optimizer_config c = mmrec_optimizer_config_default();
        mmrec_plan_options plan = {.optimizer_slots = way == 1 ? 0 : 2};
        mmrec_exec_options options = {0};
        mmrec_error error = {0};
        rig r = {0};
        mmrec_optimizer *optimizer = NULL;
        must(mmrec_graph_create(&r.allocator, MMREC_F32, 1, &r.graph, &error), &error);
        if (way < 2) mmrec_graph_param(r.graph, "w", mmrec_shape2(2, 3));
        if (way == 1) must(mmrec_graph_differentiate(r.graph, NULL, 0, NULL, 0, false, &error), &error);
        must(mmrec_plan_create(&r.allocator, r.graph, plan, &r.plan, &error), &error);
        must(mmrec_exec_create(&r.allocator, backend_named("cpu"), r.graph, r.plan, options, &r.exec, &error), &error);
        assert_int_equal(mmrec_optimizer_create(&r.allocator, r.exec, &c, &optimizer, &error), MMREC_CONFIG);
        assert_string_equal(error.message, messages[way]);
        rig_end(&r);
    }
}

static void test_what_decays(void **state) {
    (void)state;
    mmrec_shape matrix = mmrec_shape2(3, 4), row = mmrec_shape1(4);
    assert_true(mmrec_optimizer_decays("blocks.0.q.weight", &matrix));
    assert_true(mmrec_optimizer_decays("embedding.weight", &matrix));
    assert_true(mmrec_optimizer_decays("working_memory.k", &matrix));
    assert_false(mmrec_optimizer_decays("blocks.0.q.bias", &row));
    assert_false(mmrec_optimizer_decays("norm.weight", &row));
    assert_false(mmrec_optimizer_decays("blocks.1.memory.k", &matrix));
    assert_false(mmrec_optimizer_decays("memory.v", &matrix));
}

/* An argument names the tests to run; kernels.mutants needs one or two of them. */
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain_loop),     cmocka_unit_test(test_by_hand),
                                       cmocka_unit_test(test_guard),          cmocka_unit_test(test_large_gradients),
                                       cmocka_unit_test(test_zero_gradients), cmocka_unit_test(test_threads),
                                       cmocka_unit_test(test_captured),       cmocka_unit_test(test_no_allocation),
                                       cmocka_unit_test(test_no_memory),      cmocka_unit_test(test_settings_refused),
                                       cmocka_unit_test(test_graphs_refused), cmocka_unit_test(test_what_decays)};
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mmrec_backend_close();
    return failed;
}
