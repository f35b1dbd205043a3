/* The executor on a device: recorded phases, events, memory that does not fit, values through the staging buffer.
 * Skipped where there is neither a device nor its emulation. */
#include "cuda_rig.h"
#include "model_rig.h"

static const mmrec_backend *cuda;

/* A model with dropout, so that a step depends on its seed. */
static mmrec_model_config config(void) {
    mmrec_model_config c = small_config();
    c.dropout = 0.25;
    return c;
}

static mmrec_status try_rig(rig *r, const mmrec_model_config *c, int64_t batch, mmrec_exec_options options,
                            mmrec_error *error) {
    mmrec_model_run run = {.batch = batch, .time = 3, .hem = true, .loss = true, .gradient = true};
    memset(r, 0, sizeof *r);
    r->vocab = c->vocab;
    MMREC_TRY(mmrec_graph_create(&r->allocator, cuda->real, mmrec_backend_threads(cuda, 2), &r->graph, error));
    MMREC_TRY(mmrec_model_build(MMREC_MODEL_mmrec, c, &run, r->graph, error));
    MMREC_TRY(mmrec_plan_create(&r->allocator, r->graph, (mmrec_plan_options){0}, &r->plan, error));
    return mmrec_exec_create(&r->allocator, cuda, r->graph, r->plan, options, &r->exec, error);
}

static void start(rig *r, mmrec_exec_options options) {
    mmrec_model_config c = config();
    mmrec_error error = {0};
    must(try_rig(r, &c, 2, options, &error), &error);
    must(fill_kind(r, MMREC_TENSOR_PARAM, &error), &error);
}

static mmrec_status step(rig *r, uint64_t seed, mmrec_error *error) {
    MMREC_TRY(fill_kind(r, MMREC_TENSOR_INPUT, error));
    mmrec_exec_seed(r->exec, seed);
    MMREC_TRY(mmrec_exec_run(r->exec, MMREC_PHASE_FORWARD, error));
    return mmrec_exec_run(r->exec, MMREC_PHASE_BACKWARD, error);
}

static size_t live_bytes(void) {
    size_t sum = 0;
    for (int a = 0; a <= MMREC_ARENAS; a++) sum += cuda->device->allocated(a).live_bytes;
    return sum;
}

static uint64_t requests(void) {
    uint64_t sum = 0;
    for (int a = 0; a <= MMREC_ARENAS; a++) sum += cuda->device->allocated(a).requests;
    return sum;
}

/* ---- recorded phases ---- */

enum { EMBEDDING = 19 * 12 };

static void results(rig *r, double *loss, double *gradient) {
    mmrec_error error = {0};
    mmrec_tensor table = mmrec_graph_gradient(r->graph, mmrec_graph_find(r->graph, "embedding.weight"));
    read_named(r, "loss", loss, 1);
    must(mmrec_exec_read(r->exec, table, gradient, EMBEDDING, &error), &error);
}

/* Bit for bit, at every step, and with another seed another result. */
static void graphs_change_no_result(void **state) {
    (void)state;
    rig plain, recorded;
    mmrec_error error = {0};
    double loss[2], before = 0, gradient[2][EMBEDDING];
    start(&plain, (mmrec_exec_options){0});
    start(&recorded, (mmrec_exec_options){.graphs = true});
    for (uint64_t i = 0; i < 5; i++) {
        must(step(&plain, i * i, &error), &error);
        results(&plain, &loss[0], gradient[0]);
        must(step(&recorded, i * i, &error), &error);
        results(&recorded, &loss[1], gradient[1]);
        assert_true(loss[0] == loss[1] && loss[0] != before);
        assert_memory_equal(gradient[0], gradient[1], sizeof gradient[0]);
        before = loss[0];
    }
    rig_end(&plain);
    rig_end(&recorded);
}

/* What changes between steps reaches a recorded phase: parameters, and the weights derived from them. */
static void recorded_phases_see_new_parameters(void **state) {
    (void)state;
    rig r;
    mmrec_error error = {0};
    double loss[4], gradient[EMBEDDING], values[12];
    start(&r, (mmrec_exec_options){.graphs = true});
    for (int i = 0; i < 4; i++) {
        if (i == 3) {
            read_named(&r, "norm.weight", values, 12);
            for (int d = 0; d < 12; d++) values[d] += 0.25;
            must(mmrec_exec_write(r.exec, mmrec_graph_find(r.graph, "norm.weight"), values, 12, &error), &error);
        }
        must(step(&r, 5, &error), &error);
        results(&r, &loss[i], gradient);
    }
    assert_true(loss[0] == loss[1] && loss[1] == loss[2] && loss[2] != loss[3]);
    rig_end(&r);
}

static void steps_allocate_nothing(void **state) {
    (void)state;
    rig r;
    mmrec_error error = {0};
    size_t before = live_bytes();
    start(&r, (mmrec_exec_options){.graphs = true});
    assert_int_equal(live_bytes() - before, mmrec_plan_total_bytes(r.plan));
    must(step(&r, 1, &error), &error);
    must(step(&r, 2, &error), &error);
    uint64_t device = requests(), host = r.allocator.attempts, launches = cuda->device->launches();
    must(step(&r, 3, &error), &error);
    uint64_t per_step = cuda->device->launches() - launches;
    must(step(&r, 4, &error), &error);
    assert_int_equal(cuda->device->launches() - launches, 2 * per_step);
    assert_true(per_step > 20);
    assert_int_equal(requests(), device);
    assert_int_equal(r.allocator.attempts, host);
    rig_end(&r);
    assert_int_equal(live_bytes(), before);
}

/* ---- faults ---- */

static void faulty_ids(mmrec_exec_options options) {
    const int32_t bad[6] = {0, 1, 2, 3, 19, 5};
    rig r;
    mmrec_error error = {0};
    start(&r, options);
    for (int i = 0; i < 3; i++) must(step(&r, 1, &error), &error);
    must(mmrec_exec_write_ids(r.exec, mmrec_graph_find(r.graph, "ids"), bad, 6, &error), &error);
    assert_int_equal(mmrec_exec_run(r.exec, MMREC_PHASE_FORWARD, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "embedding: id 19 of row 4 is not in [0, 19)");
    assert_int_equal(mmrec_exec_run(r.exec, MMREC_PHASE_BACKWARD, &error), MMREC_INTERNAL);
    must(step(&r, 1, &error), &error);
    rig_end(&r);
}

static void ids_out_of_range_are_refused(void **state) {
    (void)state;
    faulty_ids((mmrec_exec_options){0});
    faulty_ids((mmrec_exec_options){.graphs = true});
    faulty_ids((mmrec_exec_options){.trace = true});
}

static void what_does_not_fit_is_refused_first(void **state) {
    (void)state;
    mmrec_model_config c = config();
    mmrec_error error = {0};
    size_t before = live_bytes(), free_bytes = 0, total = 0;
    must(cuda->device->memory(&free_bytes, &total, &error), &error);
    for (int64_t batch = 1 << 10;; batch *= 4) {
        rig r;
        uint64_t asked = requests();
        mmrec_status status = try_rig(&r, &c, batch, (mmrec_exec_options){0}, &error);
        bool fits = mmrec_plan_total_bytes(r.plan) <= free_bytes;
        if (!fits) assert_int_equal(requests(), asked);
        rig_end(&r);
        if (fits) continue;
        assert_int_equal(status, MMREC_NO_MEMORY);
        assert_non_null(strstr(error.message, "the plan needs"));
        assert_non_null(strstr(error.message, "of device memory (parameters "));
        assert_non_null(strstr(error.message, "are free"));
        break;
    }
    assert_int_equal(live_bytes(), before);
}

/* ---- traces ---- */

static void traces_hold_the_time_of_every_node(void **state) {
    (void)state;
    rig r;
    mmrec_error error = {0};
    int count = 0;
    start(&r, (mmrec_exec_options){.trace = true, .graphs = true});
    must(step(&r, 1, &error), &error);
    const mmrec_trace_record *trace = mmrec_exec_trace(r.exec, &count);
    assert_int_equal(count, mmrec_graph_node_count(r.graph));
    for (int i = 0; i < count; i++) {
        assert_int_equal(trace[i].node, i);
        assert_true(trace[i].ns > 0 && trace[i].ns < 60000000000u);
    }
    rig_end(&r);
}

/* A device that counts how often it is held, and where every call adds `launches_more` kernels. */
static const mmrec_backend *counted;
static int holds, releases;
static uint64_t launches_more, launches_added;

static mmrec_status count_hold(mmrec_error *error) {
    holds++;
    return counted->device->hold(error);
}
static void count_release(void) {
    releases++;
    counted->device->release();
}
static uint64_t count_launches(void) { return counted->device->launches() + (launches_added += launches_more); }

/* A first run may wait for the device, and so may more launches than its queue takes: neither is done to a held stream.
 */
static void streams_are_held_only_where_nothing_waits(void **state) {
    (void)state;
    rig r;
    mmrec_error error = {0};
    mmrec_device device = *cuda->device;
    mmrec_backend backend = *cuda;
    device.hold = count_hold;
    device.release = count_release;
    device.launches = count_launches;
    backend.device = &device;
    counted = cuda;
    cuda = &backend;
    start(&r, (mmrec_exec_options){.trace = true});
    must(step(&r, 1, &error), &error);
    assert_int_equal(holds, 0);
    launches_more = MMREC_MOST_HELD;
    must(step(&r, 2, &error), &error);
    assert_true(holds > 20 && holds == releases);
    holds = 0;
    must(step(&r, 3, &error), &error);
    assert_int_equal(holds, 0);
    rig_end(&r);
    cuda = counted;
}

static void the_first_value_that_is_not_finite_is_found(void **state) {
    (void)state;
    rig r;
    mmrec_error error = {0};
    double weight[12];
    int count = 0, first = -1;
    start(&r, (mmrec_exec_options){.check_finite = true});
    read_named(&r, "blocks.1.norm1.weight", weight, 12);
    weight[7] = NAN;
    must(mmrec_exec_write(r.exec, mmrec_graph_find(r.graph, "blocks.1.norm1.weight"), weight, 12, &error), &error);
    must(fill_kind(&r, MMREC_TENSOR_INPUT, &error), &error);
    must(mmrec_exec_run(r.exec, MMREC_PHASE_FORWARD, &error), &error);
    const mmrec_trace_record *trace = mmrec_exec_trace(r.exec, &count);
    for (int i = 0; i < count && first < 0; i++) {
        if (!trace[i].finite) first = i;
    }
    assert_true(first > 0);
    assert_int_equal(trace[first].op, MMREC_OP_rmsnorm);
    assert_int_equal(trace[first].layer, 1);
    rig_end(&r);
}

/* ---- values ---- */

/* More than one piece of the staging buffer, and the same back. */
static void large_tensors_pass_in_pieces(void **state) {
    (void)state;
    mmrec_model_config c = mmrec_model_config_default(3001, 36, 1, 3);
    c.slots = 16;
    c.level = 1;
    int64_t count = c.vocab * c.dim;
    rig r;
    mmrec_error error = {0};
    double *values = calloc((size_t)count, sizeof *values), *back = calloc((size_t)count, sizeof *back);
    assert_non_null(values);
    assert_non_null(back);
    for (int64_t i = 0; i < count; i++) values[i] = (double)(i % 100003) - 5e4;
    must(try_rig(&r, &c, 1, (mmrec_exec_options){0}, &error), &error);
    must(mmrec_exec_write(r.exec, mmrec_graph_find(r.graph, "embedding.weight"), values, count, &error), &error);
    read_named(&r, "embedding.weight", back, count);
    assert_memory_equal(values, back, (size_t)count * sizeof *values);
    free(values);
    free(back);
    rig_end(&r);
}

int main(void) {
    int unusable = cuda_rig_open(&cuda);
    if (unusable) return unusable;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graphs_change_no_result),
        cmocka_unit_test(recorded_phases_see_new_parameters),
        cmocka_unit_test(steps_allocate_nothing),
        cmocka_unit_test(ids_out_of_range_are_refused),
        cmocka_unit_test(what_does_not_fit_is_refused_first),
        cmocka_unit_test(traces_hold_the_time_of_every_node),
        cmocka_unit_test(streams_are_held_only_where_nothing_waits),
        cmocka_unit_test(the_first_value_that_is_not_finite_is_found),
        cmocka_unit_test(large_tensors_pass_in_pieces),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mmrec_backend_close();
    return failed;
}
