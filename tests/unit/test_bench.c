/* The bench runner on tiny models, end to end: what a result holds, what is refused, and faults everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "mmrec/bench.h"

static mmrec_bench_case tiny_case(void) {
    mmrec_bench_case c = {.model = mmrec_model_config_default(50, 16, 2, 2), .batch = 2, .time = 8};
    c.model.slots = 16;
    c.model.level = 1;
    return c;
}

static mmrec_bench_options tiny_options(const char *backend, const mmrec_bench_case *cases, int count) {
    mmrec_bench_options o = {.hem = MMREC_HEM_BOTH, .threads = 2, .seed = 7, .cases = cases, .case_count = count};
    assert_int_equal(mmrec_backend_find(backend, &o.backend, NULL), MMREC_OK);
    o.sampling = mmrec_sampling_default();
    o.sampling.warmup_s = 0;
    o.sampling.min_time_s = 0;
    o.sampling.max_time_s = 5;
    o.sampling.min_samples = o.sampling.max_samples = 8;
    o.no_ceilings = true;
    return o;
}

/* What the runner told while it ran. */
typedef struct told {
    int messages, ticks;
    double last;
    const char *interrupt_at; /* a part of the message at which to interrupt */
} told;

static void on_message(void *context, const char *text) {
    told *t = context;
    assert_null(strchr(text, '\n'));
    t->messages++;
    if (t->interrupt_at && strstr(text, t->interrupt_at)) mmrec_measure_interrupt();
}

static void on_progress(void *context, double done) {
    told *t = context;
    assert_true(done >= t->last && done <= 1);
    t->last = done;
    t->ticks++;
}

static mmrec_bench_observer observe(told *t) { return (mmrec_bench_observer){on_message, on_progress, t}; }

static void row_is_whole(const mmrec_bench_row *row, int64_t tokens) {
    assert_true(row->series.stats.valid);
    assert_true(row->series.stats.median > 0);
    assert_int_equal(row->series.count, 8);
    assert_int_equal(row->series.stop, MMREC_STOP_SAMPLES);
    assert_int_equal(row->tokens, tokens);
    assert_true(row->nodes > 0);
    assert_true(row->work.flops > 0 && row->work.bytes > 0);
    assert_true(isfinite(row->overhead_ns));
}

static void memory_is_as_planned(const mmrec_memory_figures *m) {
    for (int arena = 0; arena < MMREC_ARENAS; arena++) assert_int_equal(m->planned[arena], m->allocated_peak[arena]);
    assert_true(m->planned[MMREC_ARENA_PARAMS] > 0 && m->planned[MMREC_ARENA_GRADS] > 0);
    assert_true(m->planned[MMREC_ARENA_SAVED] > 0);
    assert_true(m->other_peak > 0);
}

/* Nodes, and so an overhead, are of the graph; the optimizer is none of it. */
static void optimizer_is_whole(const mmrec_bench_side *side) {
    const mmrec_bench_row *row = &side->row[MMREC_MEASURE_OPTIMIZER];
    assert_true(row->series.stats.valid && row->series.count == 8);
    assert_true(row->work.flops > 0 && row->work.bytes > 0);
    assert_int_equal(row->nodes, 0);
    assert_true(isnan(row->overhead_ns));
    assert_true(side->model_memory.planned[MMREC_ARENA_OPTIMIZER] > 0);
}

/* On the host: what is planned is allocated, a step allocates nothing, and nothing is left. */
static void phases_are_whole(const mmrec_memory_point *memory) {
    const mmrec_memory_point *create = &memory[MMREC_MEMORY_CREATE];
    for (int phase = 0; phase < MMREC_MEMORY_PHASES; phase++) {
        assert_true(memory[phase].taken);
        assert_int_equal(memory[phase].device_used_bytes, 0);
    }
    assert_int_equal(memory[MMREC_MEMORY_BEFORE].allocated_bytes, 0);
    assert_int_equal(memory[MMREC_MEMORY_AFTER].allocated_bytes, 0);
    assert_true(create->allocated_bytes >= create->planned_bytes && create->planned_bytes > 0);
    for (int phase = MMREC_MEMORY_WARM_UP; phase <= MMREC_MEMORY_OPTIMIZER; phase++) {
        assert_int_equal(memory[phase].planned_bytes, create->planned_bytes);
        assert_int_equal(memory[phase].allocated_bytes, create->allocated_bytes);
        assert_int_equal(memory[phase].allocated_peak, create->allocated_bytes);
    }
}

static void side_is_whole(const mmrec_bench_side *side, const mmrec_bench_case *input) {
    assert_true(side->present);
    assert_true(side->check.done && side->check.passed);
    assert_true(side->check.output_error <= side->check.output_tolerance);
    assert_int_equal(side->check.dim, input->model.dim);
    assert_int_equal(side->check.time, 8);
    for (int kind = 0; kind < MMREC_MEASURE_OPTIMIZER; kind++)
        row_is_whole(&side->row[kind], input->batch * input->time);
    optimizer_is_whole(side);
    phases_are_whole(side->memory);
    memory_is_as_planned(&side->block_memory);
    memory_is_as_planned(&side->model_memory);
    assert_true(side->forward.flops > 0 && side->backward.flops > side->forward.flops);
    const mmrec_bench_row *both = &side->row[MMREC_MEASURE_MODEL_FORWARD_BACKWARD];
    assert_true(both->work.flops >= side->forward.flops + side->backward.flops);
}

static void a_run_is_whole(const char *backend) {
    mmrec_allocator allocator = {0};
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options(backend, &input, 1);
    mmrec_bench_result r;
    mmrec_error error;
    told t = {0};
    options.optimizer_slots = 2;
    options.timer = MMREC_TIMER_EVENT;
    mmrec_error_clear(&error);
    if (mmrec_bench_run(&allocator, &options, observe(&t), &r, &error) != MMREC_OK) fail_msg("%s", error.message);
    assert_string_equal(r.backend, backend);
    assert_string_equal(r.data, "random ids");
    assert_string_equal(r.device.name, "");
    assert_int_equal(r.timing.used, MMREC_TIMER_HOST);
    assert_non_null(strstr(r.timing.fallback, "no device"));
    assert_int_equal(strlen(r.started), strlen("2000-01-01T00:00:00Z"));
    assert_true(strcmp(r.ended, r.started) >= 0);
    assert_true(r.peak_rss_bytes > 0);
    assert_false(r.interrupted);
    assert_int_equal(r.case_count, 1);
    const mmrec_bench_case_result *c = &r.cases[0];
    if (c->failure[0]) fail_msg("%s", c->failure);
    assert_true(c->parameters > 0);
    for (int side = 0; side < 2; side++) side_is_whole(&c->side[side], &input);
    for (int kind = 0; kind < MMREC_MEASURE_KINDS; kind++) {
        assert_true(c->paired[kind].valid);
        assert_int_equal(c->paired[kind].pairs, 8);
    }
    assert_int_equal(t.messages, 1 + MMREC_MEASURE_KINDS);
    assert_true(t.ticks > 0 && t.last > 0.9);
    mmrec_bench_result_free(&allocator, &r);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void cpu_run(void **state) {
    (void)state;
    a_run_is_whole("cpu");
}

static void ref_run(void **state) {
    (void)state;
    a_run_is_whole("ref");
}

static void one_side_alone(void **state) {
    (void)state;
    for (int hem = 0; hem < 2; hem++) {
        mmrec_allocator allocator = {0};
        mmrec_bench_case input = tiny_case();
        mmrec_bench_options options = tiny_options("cpu", &input, 1);
        mmrec_bench_result r;
        options.hem = hem ? MMREC_HEM_ON : MMREC_HEM_OFF;
        options.recompute = true;
        assert_int_equal(mmrec_bench_run(&allocator, &options, (mmrec_bench_observer){0}, &r, NULL), MMREC_OK);
        assert_string_equal(r.cases[0].failure, "");
        assert_true(r.cases[0].side[hem].present && !r.cases[0].side[!hem].present);
        row_is_whole(&r.cases[0].side[hem].row[MMREC_MEASURE_MODEL_FORWARD_BACKWARD], 16);
        assert_false(r.cases[0].side[!hem].row[0].series.stats.valid);
        assert_false(r.cases[0].paired[0].valid);
        mmrec_bench_result_free(&allocator, &r);
        assert_int_equal(allocator.total.live_bytes, 0);
    }
}

/* A case that cannot be built says why, and the next one is measured. */
static void a_failing_case_does_not_end_the_run(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_bench_case cases[2] = {tiny_case(), tiny_case()};
    cases[0].model.heads = 3;
    mmrec_bench_options options = tiny_options("cpu", cases, 2);
    mmrec_bench_result r;
    options.hem = MMREC_HEM_ON;
    assert_int_equal(mmrec_bench_run(&allocator, &options, (mmrec_bench_observer){0}, &r, NULL), MMREC_OK);
    assert_non_null(strstr(r.cases[0].failure, "heads"));
    assert_false(r.cases[0].side[1].row[0].series.stats.valid);
    assert_string_equal(r.cases[1].failure, "");
    mmrec_bench_result_free(&allocator, &r);
    assert_int_equal(allocator.total.live_bytes, 0);
}

/* ---- a wrong backend is caught before it is timed ---- */

static const mmrec_backend *honest;
static mmrec_op_id wrong_op;
static mmrec_pass wrong_pass;
static float wrong_factor;

static mmrec_status run_wrongly(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, mmrec_error *error) {
    mmrec_status status = honest->run(op, pass, call, error);
    const mmrec_view *view = pass == MMREC_FORWARD ? &call->out[0] : &call->d_in[0];
    if (op == wrong_op && pass == wrong_pass && view->data) ((float *)view->data)[0] *= wrong_factor;
    return status;
}

static void wrong_results_are_not_timed(void **state) {
    (void)state;
    static const struct {
        mmrec_op_id op;
        mmrec_pass pass;
        float factor;
        const char *says;
    } table[] = {{MMREC_OP_rmsnorm, MMREC_FORWARD, 1.05f, "logits differs from the reference"},
                 {MMREC_OP_rmsnorm, MMREC_FORWARD, NAN, "logits differs from the reference"},
                 {MMREC_OP_gelu, MMREC_BACKWARD, 2.0f, "the gradient of"},
                 {MMREC_OP_gelu, MMREC_BACKWARD, NAN, "the gradient of"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        mmrec_allocator allocator = {0};
        mmrec_bench_case input = tiny_case();
        mmrec_bench_options options = tiny_options("cpu", &input, 1);
        mmrec_bench_result r;
        mmrec_backend wrong = *options.backend;
        honest = options.backend;
        wrong_op = table[i].op;
        wrong_pass = table[i].pass;
        wrong_factor = table[i].factor;
        wrong.run = run_wrongly;
        options.backend = &wrong;
        assert_int_equal(mmrec_bench_run(&allocator, &options, (mmrec_bench_observer){0}, &r, NULL), MMREC_OK);
        assert_non_null(strstr(r.cases[0].failure, table[i].says));
        assert_true(r.cases[0].side[0].check.done && !r.cases[0].side[0].check.passed);
        for (int kind = 0; kind < MMREC_MEASURE_KINDS; kind++)
            assert_int_equal(r.cases[0].side[0].row[kind].series.count, 0);
        mmrec_bench_result_free(&allocator, &r);
        assert_int_equal(allocator.total.live_bytes, 0);
    }
}

/* ---- ids from a file ---- */

static void ids_come_from_a_file(void **state) {
    (void)state;
    static const char path[] = "test_bench_ids.bin";
    unsigned char bytes[17]; /* 2 x 8 tokens and the last target */
    mmrec_allocator allocator = {0};
    mmrec_io io = {0};
    mmrec_error error;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(200 + i);
    assert_int_equal(mmrec_io_write_file(&io, path, bytes, sizeof bytes, NULL), MMREC_OK);
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options("cpu", &input, 1);
    mmrec_bench_result r;
    options.hem = MMREC_HEM_ON;
    options.data_path = path;
    options.io = &io;
    assert_int_equal(mmrec_bench_run(&allocator, &options, (mmrec_bench_observer){0}, &r, NULL), MMREC_OK);
    assert_string_equal(r.cases[0].failure, "");
    assert_string_equal(r.data, "test_bench_ids.bin (17 bytes)");
    mmrec_bench_result_free(&allocator, &r);

    input.time = 9;
    mmrec_error_clear(&error);
    assert_int_equal(mmrec_bench_run(&allocator, &options, (mmrec_bench_observer){0}, &r, &error), MMREC_FORMAT);
    assert_non_null(strstr(error.message, "17 bytes"));
    assert_non_null(strstr(error.message, "needs 19"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mmrec_bench_run(&allocator, &options, (mmrec_bench_observer){0}, &r, &error), MMREC_IO);
    assert_int_equal(allocator.total.live_bytes, 0);
}

/* ---- interrupts and budgets ---- */

static void an_interrupt_keeps_what_there_is(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_bench_case cases[2] = {tiny_case(), tiny_case()};
    mmrec_bench_options options = tiny_options("cpu", cases, 2);
    mmrec_bench_result r;
    told t = {.interrupt_at = "model forward"};
    assert_int_equal(mmrec_bench_run(&allocator, &options, observe(&t), &r, NULL), MMREC_OK);
    mmrec_measure_interrupt_clear();
    assert_true(r.interrupted);
    row_is_whole(&r.cases[0].side[0].row[MMREC_MEASURE_BLOCK_BACKWARD], 16);
    assert_int_equal(r.cases[0].side[0].row[MMREC_MEASURE_MODEL_FORWARD].series.stop, MMREC_STOP_INTERRUPT);
    assert_false(r.cases[0].side[0].row[MMREC_MEASURE_MODEL_FORWARD].series.stats.valid);
    assert_non_null(strstr(r.cases[1].failure, "interrupted"));
    mmrec_bench_result_free(&allocator, &r);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void a_budget_is_kept(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options("cpu", &input, 1);
    mmrec_bench_result r;
    options.sampling.target_ci = 0;
    options.sampling.max_samples = 1000000;
    options.sampling.max_time_s = 60;
    options.budget_s = 0.4;
    uint64_t start = mmrec_clock_ns();
    assert_int_equal(mmrec_bench_run(&allocator, &options, (mmrec_bench_observer){0}, &r, NULL), MMREC_OK);
    /* Without the budget it would be 8 series of 60 s; far less than that is allowed, as the machine may be busy. */
    assert_true(mmrec_clock_seconds_since(start) < 60);
    assert_string_equal(r.cases[0].failure, "");
    for (int kind = 0; kind < MMREC_MEASURE_OPTIMIZER; kind++) {
        assert_int_equal(r.cases[0].side[1].row[kind].series.stop, MMREC_STOP_TIME);
    }
    mmrec_bench_result_free(&allocator, &r);
}

/* ---- plans ---- */

static size_t planned_bytes(const mmrec_bench_options *options, int64_t batch) {
    mmrec_allocator allocator = {0};
    mmrec_bench_case input = tiny_case();
    mmrec_plan_report report;
    input.batch = batch;
    assert_int_equal(mmrec_bench_plan(&allocator, &input, true, options, 0, &report, NULL), MMREC_OK);
    assert_int_equal(allocator.total.live_bytes, 0);
    return report.total_bytes;
}

static void plan_adds_up(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options("cpu", &input, 1);
    mmrec_plan_report p;
    options.optimizer_slots = 2;
    input.model.pe = 4; /* HEM folds We Wp again whenever they change: the REFRESH phase */
    assert_int_equal(mmrec_bench_plan(&allocator, &input, true, &options, 0, &p, NULL), MMREC_OK);
    size_t total = 0, unshared = 0;
    for (int arena = 0; arena < MMREC_ARENAS; arena++) {
        total += p.arena_bytes[arena];
        unshared += p.unshared_bytes[arena];
    }
    assert_int_equal(p.total_bytes, total);
    assert_true(unshared > total);
    assert_true(p.arena_bytes[MMREC_ARENA_OPTIMIZER] >= 2 * 4 * (size_t)p.parameters);
    assert_int_equal(p.largest_count, MMREC_PLAN_LARGEST);
    for (int i = 0; i < p.largest_count; i++) {
        assert_true(p.largest[i].name[0] != 0 && p.largest[i].bytes > 0);
        if (i > 0) assert_true(p.largest[i].bytes <= p.largest[i - 1].bytes);
    }
    assert_string_equal(p.largest[0].name, "optimizer state");
    assert_true(p.nodes[MMREC_PHASE_REFRESH] > 0 && p.nodes[MMREC_PHASE_FORWARD] > 0);
    assert_true(p.nodes[MMREC_PHASE_BACKWARD] > 0);
    assert_int_equal(p.batch_fit, 0);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void batch_that_fits_is_the_largest(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options("cpu", &input, 1);
    size_t budget = planned_bytes(&options, 37);
    mmrec_plan_report p;
    assert_int_equal(mmrec_bench_plan(&allocator, &input, true, &options, budget, &p, NULL), MMREC_OK);
    assert_true(p.batch_fit >= 37);
    assert_int_equal(p.batch_fit_bytes, planned_bytes(&options, p.batch_fit));
    assert_true(p.batch_fit_bytes <= budget);
    assert_true(planned_bytes(&options, p.batch_fit + 1) > budget);
    assert_int_equal(mmrec_bench_plan(&allocator, &input, true, &options, 1, &p, NULL), MMREC_OK);
    assert_int_equal(p.batch_fit, 0);
    assert_int_equal(p.batch_fit_bytes, 0);
    assert_int_equal(mmrec_bench_plan(&allocator, &input, true, &options, (size_t)1 << 62, &p, NULL), MMREC_OK);
    assert_true(p.batch_fit > 1000 && p.batch_fit_bytes <= (size_t)1 << 62);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void impossible_plan_is_refused(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options("cpu", &input, 1);
    mmrec_plan_report p;
    mmrec_error error;
    mmrec_error_clear(&error);
    input.model.heads = 5;
    assert_int_not_equal(mmrec_bench_plan(&allocator, &input, true, &options, 1 << 30, &p, &error), MMREC_OK);
    assert_true(error.message[0] != 0);
    input = tiny_case();
    input.batch = (int64_t)1 << 60;
    assert_int_not_equal(mmrec_bench_plan(&allocator, &input, false, &options, 0, &p, &error), MMREC_OK);
    assert_int_equal(allocator.total.live_bytes, 0);
}

/* ---- ops ---- */

static double modest_rate(void *context, mmrec_ceiling which) {
    (void)context;
    return which == MMREC_CEILING_SGEMM ? 1e9 : 2e9;
}
static const mmrec_ceiling_source modest = {{1e9, 1e9}, modest_rate, NULL};

static void every_op_is_checked_and_timed(void **state) {
    (void)state;
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options("cpu", &input, 1);
    for (int op = MMREC_OP_NONE + 1; op < MMREC_OPS; op++) {
        const mmrec_op_def *def = mmrec_op_get((mmrec_op_id)op, MMREC_VARIANT_F32);
        for (int s = 0; def->samples[s]; s++) {
            mmrec_allocator allocator = {0};
            mmrec_op_result r;
            mmrec_error error;
            mmrec_error_clear(&error);
            if (mmrec_bench_op(&allocator, (mmrec_op_id)op, def->samples[s], &options, &modest,
                               (mmrec_bench_observer){0}, &r, &error) != MMREC_OK) {
                char text[1024];
                fail_msg("%s at \"%s\": %s", def->name, def->samples[s], mmrec_error_text(&error, text, sizeof text));
            }
            assert_true(r.check.done && r.check.passed);
            assert_true(r.has_pass[MMREC_FORWARD] && r.pass[MMREC_FORWARD].series.stats.median > 0);
            assert_true(r.ceiling_share[MMREC_FORWARD].median > 0);
            if (r.has_pass[MMREC_BACKWARD]) assert_true(r.pass[MMREC_BACKWARD].series.stats.median > 0);
            mmrec_op_result_free(&allocator, &r);
            assert_int_equal(allocator.total.live_bytes, 0);
        }
    }
}

/* Every window's share lies between those of the fastest and of the slowest sample. */
static void share_is_of(const mmrec_op_result *r, mmrec_ceiling ceiling, double amount, double rate) {
    const mmrec_stats *time = &r->pass[MMREC_FORWARD].series.stats, *share = &r->ceiling_share[MMREC_FORWARD];
    assert_int_equal(r->ceiling[MMREC_FORWARD], ceiling);
    assert_true(share->valid && share->count >= 1 && r->has_pass[MMREC_BACKWARD]);
    assert_true(share->min >= amount / (time->max * 1e-9) / rate * (1 - 1e-9));
    assert_true(share->max <= amount / (time->min * 1e-9) / rate * (1 + 1e-9));
}

static void op_is_bound_by_flops_or_bytes(void **state) {
    (void)state;
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options("cpu", &input, 1);
    mmrec_allocator allocator = {0};
    mmrec_op_result r;
    assert_int_equal(mmrec_bench_op(&allocator, MMREC_OP_linear, "N=64 D=128 F=128", &options, &modest,
                                    (mmrec_bench_observer){0}, &r, NULL),
                     MMREC_OK);
    share_is_of(&r, MMREC_CEILING_SGEMM, r.pass[MMREC_FORWARD].work.flops, 1e9);
    mmrec_op_result_free(&allocator, &r);
    mmrec_ceiling_source fast = {{1e15, 1e9}, modest_rate, NULL};
    assert_int_equal(mmrec_bench_op(&allocator, MMREC_OP_linear, "N=64 D=128 F=128", &options, &fast,
                                    (mmrec_bench_observer){0}, &r, NULL),
                     MMREC_OK);
    share_is_of(&r, MMREC_CEILING_COPY, r.pass[MMREC_FORWARD].work.bytes, 2e9);
    mmrec_op_result_free(&allocator, &r);
    assert_int_equal(mmrec_bench_op(&allocator, MMREC_OP_linear, "N=64 D=128 F=128", &options, NULL,
                                    (mmrec_bench_observer){0}, &r, NULL),
                     MMREC_OK);
    assert_false(r.ceiling_share[MMREC_FORWARD].valid);
    mmrec_op_result_free(&allocator, &r);
}

/* The whole default size is timed, a reduced one is checked. */
static void op_at_its_own_size(void **state) {
    (void)state;
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options("cpu", &input, 1);
    mmrec_allocator allocator = {0};
    mmrec_op_result r;
    options.sampling.min_samples = options.sampling.max_samples = 2;
    assert_int_equal(
        mmrec_bench_op(&allocator, MMREC_OP_linear, NULL, &options, &modest, (mmrec_bench_observer){0}, &r, NULL),
        MMREC_OK);
    assert_string_equal(r.size, mmrec_op_get(MMREC_OP_linear, MMREC_VARIANT_F32)->bench);
    assert_true(r.check.passed);
    assert_int_equal(r.pass[MMREC_FORWARD].series.count, 2);
    mmrec_op_result_free(&allocator, &r);
}

static void wrong_op_and_bad_sizes_are_refused(void **state) {
    (void)state;
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options("cpu", &input, 1);
    mmrec_allocator allocator = {0};
    mmrec_op_result r;
    mmrec_error error;
    static const char *const bad[] = {"N=0 D=1 F=1", "hello", "N=99999999999999 D=99999999 F=9999999", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmrec_error_clear(&error);
        assert_int_not_equal(mmrec_bench_op(&allocator, MMREC_OP_linear, bad[i], &options, &modest,
                                            (mmrec_bench_observer){0}, &r, &error),
                             MMREC_OK);
        assert_true(error.message[0] != 0);
    }
    assert_int_equal(
        mmrec_bench_op(&allocator, MMREC_OP_NONE, NULL, &options, &modest, (mmrec_bench_observer){0}, &r, &error),
        MMREC_USAGE);
    mmrec_backend wrong = *options.backend;
    honest = options.backend;
    wrong_op = MMREC_OP_linear;
    wrong_pass = MMREC_BACKWARD;
    wrong_factor = NAN;
    wrong.run = run_wrongly;
    options.backend = &wrong;
    mmrec_error_clear(&error);
    assert_int_equal(mmrec_bench_op(&allocator, MMREC_OP_linear, "N=3 D=5 F=7", &options, &modest,
                                    (mmrec_bench_observer){0}, &r, &error),
                     MMREC_MISMATCH);
    assert_non_null(strstr(error.message, "the gradient of x of linear"));
    assert_int_equal(allocator.total.live_bytes, 0);
}

/* ---- no memory, anywhere ---- */

static uint64_t attempts_of_a_clean_run(const mmrec_bench_options *options) {
    mmrec_allocator allocator = {0};
    mmrec_bench_result r;
    assert_int_equal(mmrec_bench_run(&allocator, options, (mmrec_bench_observer){0}, &r, NULL), MMREC_OK);
    assert_string_equal(r.cases[0].failure, "");
    mmrec_bench_result_free(&allocator, &r);
    return allocator.attempts;
}

static void no_memory_is_a_message(void **state) {
    (void)state;
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options("cpu", &input, 1);
    options.sampling.min_samples = options.sampling.max_samples = 2;
    uint64_t attempts = attempts_of_a_clean_run(&options), step = attempts / 120 + 1;
    int failed_cases = 0;
    for (uint64_t k = 1; k <= attempts; k += k < 20 ? 1 : step) {
        mmrec_allocator allocator = {.fail_at = k};
        mmrec_bench_result r;
        mmrec_error error;
        mmrec_error_clear(&error);
        mmrec_status status = mmrec_bench_run(&allocator, &options, (mmrec_bench_observer){0}, &r, &error);
        if (status == MMREC_OK) {
            assert_true(r.cases[0].failure[0] != 0);
            failed_cases++;
        } else {
            assert_int_equal(status, MMREC_NO_MEMORY);
            assert_true(error.message[0] != 0);
        }
        mmrec_bench_result_free(&allocator, &r);
        assert_int_equal(allocator.total.live_bytes, 0);
    }
    assert_true(failed_cases > 50);
}

static void no_memory_for_a_plan_or_an_op(void **state) {
    (void)state;
    mmrec_bench_case input = tiny_case();
    mmrec_bench_options options = tiny_options("cpu", &input, 1);
    mmrec_allocator clean = {0};
    mmrec_plan_report p;
    assert_int_equal(mmrec_bench_plan(&clean, &input, true, &options, 1 << 20, &p, NULL), MMREC_OK);
    for (uint64_t k = 1; k <= clean.attempts; k += k < 20 ? 1 : clean.attempts / 60 + 1) {
        mmrec_allocator allocator = {.fail_at = k};
        assert_int_equal(mmrec_bench_plan(&allocator, &input, true, &options, 1 << 20, &p, NULL), MMREC_NO_MEMORY);
        assert_int_equal(allocator.total.live_bytes, 0);
    }
    for (uint64_t k = 1;; k++) {
        mmrec_allocator allocator = {.fail_at = k};
        mmrec_op_result r;
        mmrec_status status = mmrec_bench_op(&allocator, MMREC_OP_linear, "N=3 D=5 F=7", &options, &modest,
                                             (mmrec_bench_observer){0}, &r, NULL);
        mmrec_op_result_free(&allocator, &r);
        assert_int_equal(allocator.total.live_bytes, 0);
        if (status == MMREC_OK) {
            assert_true(k > 6); /* two calls, two buffers, the timed call, two series */
            break;
        }
        assert_int_equal(status, MMREC_NO_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpu_run),
        cmocka_unit_test(ref_run),
        cmocka_unit_test(one_side_alone),
        cmocka_unit_test(a_failing_case_does_not_end_the_run),
        cmocka_unit_test(wrong_results_are_not_timed),
        cmocka_unit_test(ids_come_from_a_file),
        cmocka_unit_test(an_interrupt_keeps_what_there_is),
        cmocka_unit_test(a_budget_is_kept),
        cmocka_unit_test(plan_adds_up),
        cmocka_unit_test(batch_that_fits_is_the_largest),
        cmocka_unit_test(impossible_plan_is_refused),
        cmocka_unit_test(every_op_is_checked_and_timed),
        cmocka_unit_test(op_is_bound_by_flops_or_bytes),
        cmocka_unit_test(op_at_its_own_size),
        cmocka_unit_test(wrong_op_and_bad_sizes_are_refused),
        cmocka_unit_test(no_memory_is_a_message),
        cmocka_unit_test(no_memory_for_a_plan_or_an_op),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
