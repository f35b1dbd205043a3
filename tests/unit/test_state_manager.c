/* The state manager: the fixture's whole course, evidence at its limits, what is refused, and want of memory. */
#include "model_rig.h"

#include "mmrec/safetensors.h"
#include "mmrec/state_manager.h"

enum { MAX = 12, INITIAL = 8, WIDTH = 8, BATCH = 3, WOKEN = 4, ROOM = MAX * WIDTH };

static mmrec_allocator allocator;
static const mmrec_state_config small = {.max = MAX, .initial = INITIAL, .threshold = 0.45, .seed = 5};

static mmrec_state_manager *create(const mmrec_state_config *config) {
    mmrec_error error = {0};
    mmrec_state_manager *m = NULL;
    must(mmrec_state_manager_create(&allocator, config, &m, &error), &error);
    return m;
}

static void end(mmrec_state_manager **m) {
    mmrec_state_manager_destroy(m);
    assert_null(*m);
    assert_int_equal(allocator.total.live_bytes, 0);
}

/* ---- the fixture ---- */

static mmrec_safetensors *open_fixture(void) {
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_safetensors *file = NULL;
    const char *path = MMREC_GOLDEN "/fixtures/nsm_states.safetensors";
    must(mmrec_safetensors_open(&io, &allocator, path, 1 << 20, &file, &error), &error);
    return file;
}

static void read_tensor(const mmrec_safetensors *file, const char *name, double *to, size_t count) {
    mmrec_error error = {0};
    const mmrec_safetensors_tensor *tensor = mmrec_safetensors_find(file, name);
    if (!tensor) fail_msg("the fixture has no %s", name);
    must(mmrec_safetensors_read_f64(tensor, to, count, &error), &error);
}

/* What the file holds is rounded to float. */
static void expect_numbers(const mmrec_safetensors *file, const char *name, const double *got, size_t count,
                           double tolerance) {
    double want[ROOM];
    read_tensor(file, name, want, count);
    mmrec_difference d = mmrec_compare(got, want, (int64_t)count);
    if (!mmrec_difference_within(&d, tolerance, 0))
        fail_msg("%s is off by %g at element %lld", name, d.max_rel, (long long)d.worst);
}

static void expect_mask(const mmrec_safetensors *file, const char *name, const mmrec_state_manager *m) {
    double got[MAX];
    for (int i = 0; i < MAX; i++) got[i] = mmrec_state_manager_mask(m)[i];
    expect_numbers(file, name, got, MAX, 0);
}

/* The manager as the fixture has it at first. */
static mmrec_state_manager *begin(const mmrec_safetensors *file) {
    double logits[MAX], active[MAX];
    bool mask[MAX];
    mmrec_error error = {0};
    read_tensor(file, "param.importance", logits, MAX);
    read_tensor(file, "in.active", active, MAX);
    for (int i = 0; i < MAX; i++) mask[i] = active[i] != 0;
    mmrec_state_manager *m = create(&small);
    must(mmrec_state_manager_set(m, logits, mask, MAX, &error), &error);
    return m;
}

static void the_course_of_the_fixture(void **state) {
    (void)state;
    mmrec_safetensors *file = open_fixture();
    mmrec_state_manager *m = begin(file);
    mmrec_error error = {0};
    double values[ROOM], counts[4];
    int64_t count;
    mmrec_state_manager_scores(m, values);
    expect_numbers(file, "out.score", values, MAX, 1e-7);
    read_tensor(file, "in.gradient", values, ROOM);
    must(mmrec_state_manager_update_by_gradient(m, values, MAX, WIDTH, &error), &error);
    expect_numbers(file, "out.logits_gradient", mmrec_state_manager_logits(m), MAX, 2e-7);
    read_tensor(file, "in.weights", values, BATCH * MAX);
    must(mmrec_state_manager_update_by_weights(m, values, BATCH, MAX, &error), &error);
    expect_numbers(file, "out.logits_weights", mmrec_state_manager_logits(m), MAX, 2e-7);
    must(mmrec_state_manager_prune(m, mmrec_state_manager_config(m)->threshold, false, &count, &error), &error);
    counts[0] = (double)count;
    expect_mask(file, "out.active_pruned", m);
    must(mmrec_state_manager_allocate(m, WOKEN, &count, &error), &error);
    counts[1] = (double)count;
    expect_mask(file, "out.active_allocated", m);
    must(mmrec_state_manager_prune(m, 1, false, &count, &error), &error);
    counts[2] = (double)count;
    expect_mask(file, "out.active_refused", m);
    must(mmrec_state_manager_prune(m, 1, true, &count, &error), &error);
    counts[3] = (double)count;
    expect_mask(file, "out.active_forced", m);
    expect_numbers(file, "out.counts", counts, 4, 0);
    mmrec_safetensors_destroy(&file);
    end(&m);
}

/* states[mask], in a graph. The importance is a parameter there that nothing depends on. */
static void take_states(rig *r, const mmrec_backend *backend, const mmrec_safetensors *file, const int32_t *ids,
                        int64_t active) {
    mmrec_error error = {0};
    double values[ROOM];
    memset(r, 0, sizeof *r);
    must(mmrec_graph_create(&r->allocator, backend->real, 1, &r->graph, &error), &error);
    mmrec_tensor states = mmrec_graph_param(r->graph, "states", mmrec_shape2(MAX, WIDTH));
    mmrec_graph_param(r->graph, "importance", mmrec_shape1(MAX));
    mmrec_tensor slots = mmrec_graph_input(r->graph, "slots", MMREC_I32, mmrec_shape2(1, active));
    mmrec_tensor dy = mmrec_graph_input(r->graph, "dy", MMREC_F32, mmrec_shape3(1, active, WIDTH));
    mmrec_tensor y = mmrec_graph_add(r->graph, MMREC_OP_embedding, (mmrec_node_spec){.in = {slots, states}});
    mmrec_graph_keep(r->graph, y, "y");
    const mmrec_seed seed = {.tensor = y, .gradient = dy};
    must(mmrec_graph_differentiate(r->graph, &seed, 1, NULL, 0, false, &error), &error);
    must(mmrec_plan_create(&r->allocator, r->graph, (mmrec_plan_options){0}, &r->plan, &error), &error);
    must(mmrec_exec_create(&r->allocator, backend, r->graph, r->plan, (mmrec_exec_options){0}, &r->exec, &error),
         &error);
    read_tensor(file, "param.states", values, ROOM);
    must(mmrec_exec_write(r->exec, states, values, ROOM, &error), &error);
    read_tensor(file, "in.dy", values, (size_t)(active * WIDTH));
    must(mmrec_exec_write(r->exec, dy, values, active * WIDTH, &error), &error);
    must(mmrec_exec_write_ids(r->exec, slots, ids, active, &error), &error);
    must(mmrec_exec_run(r->exec, MMREC_PHASE_FORWARD, &error), &error);
    must(mmrec_exec_run(r->exec, MMREC_PHASE_BACKWARD, &error), &error);
}

static void expect_gradient(rig *r, const mmrec_safetensors *file, const char *param, const char *name, int64_t count) {
    double values[ROOM];
    mmrec_error error = {0};
    mmrec_tensor gradient = mmrec_graph_gradient(r->graph, mmrec_graph_find(r->graph, param));
    must(mmrec_exec_read(r->exec, gradient, values, count, &error), &error);
    expect_numbers(file, name, values, (size_t)count, 0);
}

static void a_graph_takes_the_active_states(void **state) {
    (void)state;
    mmrec_safetensors *file = open_fixture();
    mmrec_state_manager *m = begin(file);
    int32_t ids[MAX];
    int64_t active = mmrec_state_manager_active_ids(m, ids);
    assert_int_equal(active, INITIAL);
    for (int cpu = 0; cpu <= 1; cpu++) {
        rig r;
        double y[ROOM];
        take_states(&r, backend_named(cpu ? "cpu" : "ref"), file, ids, active);
        read_named(&r, "y", y, active * WIDTH);
        expect_numbers(file, "out.y", y, (size_t)(active * WIDTH), 0);
        expect_gradient(&r, file, "states", "grad.states", ROOM);
        expect_gradient(&r, file, "importance", "grad.importance", MAX);
        rig_end(&r);
    }
    mmrec_safetensors_destroy(&file);
    end(&m);
}

/* ---- the start, and evidence ---- */

static void it_starts_as_configured(void **state) {
    (void)state;
    mmrec_state_manager *m = create(&small), *again = create(&small);
    mmrec_state_config seeded = small;
    seeded.seed = 6;
    mmrec_state_manager *other = create(&seeded);
    double scores[MAX];
    mmrec_state_manager_scores(m, scores);
    for (int i = 0; i < MAX; i++) {
        double logit = mmrec_state_manager_logits(m)[i];
        assert_true(logit > 0.5 && logit < 1);
        assert_true(fabs(scores[i] - 1 / (1 + exp(-logit))) <= 1e-15);
        assert_true(logit == mmrec_state_manager_logits(again)[i]);
        assert_true(logit != mmrec_state_manager_logits(other)[i]);
        assert_true(i == 0 || logit != mmrec_state_manager_logits(m)[0]);
        assert_int_equal(mmrec_state_manager_mask(m)[i], i < INITIAL);
    }
    assert_int_equal(mmrec_state_manager_active_ids(m, NULL), INITIAL);
    mmrec_state_manager_destroy(&again);
    mmrec_state_manager_destroy(&other);
    end(&m);
}

/* q = 0.9 / 2 + 0.1 g, worked out for a logit of 0; beyond both ends it is clamped. */
static void evidence_is_clamped(void **state) {
    (void)state;
    static const double evidence[][2] = {{0.5, 0.5}, {0, 0.45}, {5.4, 0.99}, {1e3, 1 - 1e-6}, {-1e3, 1e-6}};
    enum { CASES = sizeof evidence / sizeof *evidence };
    const mmrec_state_config config = {.max = CASES, .initial = 1, .threshold = 0.5};
    const double zeros[CASES] = {0};
    double g[CASES];
    mmrec_error error = {0};
    mmrec_state_manager *m = create(&config);
    for (int i = 0; i < CASES; i++) g[i] = evidence[i][0];
    must(mmrec_state_manager_set(m, zeros, NULL, CASES, &error), &error);
    must(mmrec_state_manager_update(m, g, CASES, &error), &error);
    for (int i = 0; i < CASES; i++) {
        double q = evidence[i][1], want = log(q / (1 - q + 1e-8));
        assert_true(fabs(mmrec_state_manager_logits(m)[i] - want) <= 1e-8);
    }
    end(&m);
}

static void nothing_moves_where_evidence_is_no_number(void **state) {
    (void)state;
    mmrec_state_manager *m = create(&small), *before = create(&small);
    mmrec_error error = {0};
    double g[ROOM] = {0};
    g[3] = NAN;
    assert_int_equal(mmrec_state_manager_update(m, g, MAX, &error), MMREC_MISMATCH);
    assert_string_equal(error.message, "state manager: the evidence of slot 3 is nan, not a finite number; leave out "
                                       "this update");
    assert_int_equal(mmrec_state_manager_update_by_weights(m, g, 2, MAX, &error), MMREC_MISMATCH);
    g[3] = 0;
    g[WIDTH * 7 + 2] = INFINITY;
    assert_int_equal(mmrec_state_manager_update_by_gradient(m, g, MAX, WIDTH, &error), MMREC_MISMATCH);
    assert_string_equal(error.message, "state manager: the evidence of slot 7 is inf, not a finite number; leave out "
                                       "this update");
    for (int i = 0; i < MAX; i++) {
        assert_true(mmrec_state_manager_logits(m)[i] == mmrec_state_manager_logits(before)[i]);
    }
    mmrec_state_manager_destroy(&before);
    end(&m);
}

/* ---- sleeping and waking ---- */

static void the_active_come_in_order(void **state) {
    (void)state;
    static const bool mask[MAX] = {[2] = true, [5] = true, [11] = true};
    static const int32_t woken[] = {0, 1, 2, 3, 5, 11};
    int32_t ids[MAX];
    int64_t count;
    mmrec_error error = {0};
    mmrec_state_manager *m = create(&small);
    must(mmrec_state_manager_set(m, NULL, mask, MAX, &error), &error);
    assert_int_equal(mmrec_state_manager_active_ids(m, ids), 3);
    assert_true(ids[0] == 2 && ids[1] == 5 && ids[2] == 11);
    must(mmrec_state_manager_allocate(m, 3, &count, &error), &error);
    assert_int_equal(count, 3);
    assert_int_equal(mmrec_state_manager_active_ids(m, ids), 6);
    assert_memory_equal(ids, woken, sizeof woken);
    must(mmrec_state_manager_allocate(m, 0, &count, &error), &error);
    assert_int_equal(count, 0);
    must(mmrec_state_manager_allocate(m, 100, &count, &error), &error);
    assert_int_equal(count, 6);
    assert_int_equal(mmrec_state_manager_active_ids(m, NULL), MAX);
    end(&m);
}

/* A score at the threshold stays; sleeping slots do not count, and are not counted. */
static void pruning_looks_at_the_active(void **state) {
    (void)state;
    static const double logits[4] = {-1, 0, -1, -2};
    static const bool mask[4] = {true, true, false, true}, none[4] = {false};
    const mmrec_state_config config = {.max = 4, .initial = 4, .threshold = 0.5};
    int64_t count;
    mmrec_error error = {0};
    mmrec_state_manager *m = create(&config);
    must(mmrec_state_manager_set(m, logits, mask, 4, &error), &error);
    must(mmrec_state_manager_prune(m, 0.5, false, &count, &error), &error);
    assert_int_equal(count, 2);
    assert_true(!mmrec_state_manager_mask(m)[0] && mmrec_state_manager_mask(m)[1] && !mmrec_state_manager_mask(m)[3]);
    must(mmrec_state_manager_prune(m, 0.6, false, &count, &error), &error);
    assert_int_equal(count, 0);
    assert_true(mmrec_state_manager_mask(m)[1]);
    must(mmrec_state_manager_set(m, NULL, none, 4, &error), &error);
    must(mmrec_state_manager_prune(m, 1, true, &count, &error), &error);
    assert_int_equal(count, 0);
    end(&m);
}

/* ---- what is refused ---- */

static void refuse_create(mmrec_state_config config, const char *message) {
    mmrec_error error = {0};
    mmrec_state_manager *m = NULL;
    assert_int_equal(mmrec_state_manager_create(&allocator, &config, &m, &error), MMREC_CONFIG);
    assert_string_equal(error.message, message);
    assert_null(m);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void configurations_are_refused(void **state) {
    (void)state;
    refuse_create((mmrec_state_config){0, 1, 0.5, 0},
                  "state manager: max is 0 slots; it must be between 1 and 2147483647");
    refuse_create((mmrec_state_config){1ll << 31, 1, 0.5, 0},
                  "state manager: max is 2147483648 slots; it must be between 1 and 2147483647");
    refuse_create((mmrec_state_config){4, 0, 0.5, 0},
                  "state manager: initial is 0 slots; it must be between 1 and max, 4");
    refuse_create((mmrec_state_config){4, 5, 0.5, 0},
                  "state manager: initial is 5 slots; it must be between 1 and max, 4");
    refuse_create((mmrec_state_config){4, 2, 1.5, 0},
                  "state manager: the threshold is 1.5; a score lies in [0, 1], choose one there");
    refuse_create((mmrec_state_config){4, 2, NAN, 0},
                  "state manager: the threshold is nan; a score lies in [0, 1], choose one there");
}

static void calls_are_refused(void **state) {
    (void)state;
    mmrec_state_manager *m = create(&small);
    mmrec_error error = {0};
    double values[ROOM] = {[9] = INFINITY};
    int64_t count = 7;
    assert_int_equal(mmrec_state_manager_update(m, values, MAX - 1, &error), MMREC_SHAPE);
    assert_string_equal(error.message, "state manager: evidence for 11 slots; there are 12");
    assert_int_equal(mmrec_state_manager_update_by_gradient(m, values, MAX + 1, WIDTH, &error), MMREC_SHAPE);
    assert_string_equal(error.message, "state manager: a gradient for 13 slots; there are 12");
    assert_int_equal(mmrec_state_manager_update_by_gradient(m, values, MAX, 0, &error), MMREC_SHAPE);
    assert_string_equal(error.message, "state manager: the width of the gradient is 0; it must be at least 1");
    assert_int_equal(mmrec_state_manager_update_by_weights(m, values, BATCH, 1, &error), MMREC_SHAPE);
    assert_int_equal(mmrec_state_manager_update_by_weights(m, values, 0, MAX, &error), MMREC_SHAPE);
    assert_string_equal(error.message, "state manager: the batch of the weights is 0; it must be at least 1");
    assert_int_equal(mmrec_state_manager_set(m, values, NULL, MAX, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "state manager: the logit of slot 9 is inf; it must be finite");
    assert_int_equal(mmrec_state_manager_set(m, values, NULL, 3, &error), MMREC_SHAPE);
    assert_int_equal(mmrec_state_manager_prune(m, -0.1, true, &count, &error), MMREC_CONFIG);
    assert_int_equal(count, 0);
    assert_int_equal(mmrec_state_manager_allocate(m, -1, &count, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "state manager: -1 slots are to be woken; it must be 0 or more");
    assert_int_equal(mmrec_state_manager_active_ids(m, NULL), INITIAL);
    end(&m);
}

static void no_memory(void **state) {
    (void)state;
    bool reached = true;
    for (uint64_t k = 1; reached; k++) {
        mmrec_allocator a = {.fail_at = k};
        mmrec_error error = {0};
        mmrec_state_manager *m = NULL;
        mmrec_status status = mmrec_state_manager_create(&a, &small, &m, &error);
        reached = a.attempts >= k;
        assert_int_equal(status, reached ? MMREC_NO_MEMORY : MMREC_OK);
        if (reached) assert_non_null(strstr(error.message, "not enough memory"));
        mmrec_state_manager_destroy(&m);
        assert_int_equal(a.total.live_bytes, 0);
        assert_true(k < 10);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_course_of_the_fixture),
        cmocka_unit_test(a_graph_takes_the_active_states),
        cmocka_unit_test(it_starts_as_configured),
        cmocka_unit_test(evidence_is_clamped),
        cmocka_unit_test(nothing_moves_where_evidence_is_no_number),
        cmocka_unit_test(the_active_come_in_order),
        cmocka_unit_test(pruning_looks_at_the_active),
        cmocka_unit_test(configurations_are_refused),
        cmocka_unit_test(calls_are_refused),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
