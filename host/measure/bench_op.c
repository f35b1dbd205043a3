/* --op: one op of the table, checked against the reference and timed beside the machine's own ceilings. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench_op_impl.h"
#include "beside.h"
#include "mmrec/compare.h"

static const char *const pass_names[MMREC_PASSES] = {"forward", "backward"};

/* ---- check ---- */

typedef struct op_check {
    op_use truth, use;
    double *got, *want;
    size_t room;
    double gradient_scale;
    mmrec_bench_check *result;
} op_check;

static mmrec_status compare_view(const op_check *c, const mmrec_view *got, const mmrec_view *want, const char *name,
                                 bool gradient, mmrec_error *error) {
    if (!want->data || want->dtype == MMREC_I32) return MMREC_OK;
    double tolerance = gradient ? c->result->gradient_tolerance : c->result->output_tolerance;
    double *worst = gradient ? &c->result->gradient_error : &c->result->output_error;
    MMREC_TRY(op_use_read(&c->use, got, c->got, error));
    MMREC_TRY(op_use_read(&c->truth, want, c->want, error));
    if (bench_check_values(c->got, c->want, mmrec_shape_elements(&want->shape), tolerance,
                           gradient ? c->gradient_scale : 0, worst))
        return MMREC_OK;
    MMREC_FAIL(error, MMREC_MISMATCH,
               "%s%s of %s differs from the reference by %.3g of its largest value, allowed are %.3g",
               gradient ? "the gradient of " : "", name, c->use.def->name, *worst, tolerance);
}

static size_t most_elements(const op_use *use) {
    int64_t most = 1;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        int64_t count = use->call.d_in[i].data ? mmrec_shape_elements(&use->call.d_in[i].shape) : 0;
        if (count > most) most = count;
    }
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        int64_t count = use->call.out[i].data ? mmrec_shape_elements(&use->call.out[i].shape) : 0;
        if (count > most) most = count;
    }
    return (size_t)most;
}

static mmrec_status run_both(op_check *c, mmrec_pass pass, mmrec_error *error) {
    MMREC_TRY(op_use_run(&c->truth, pass, error));
    return op_use_run(&c->use, pass, error);
}

static mmrec_status raise_by(const op_check *c, const mmrec_view *view, double *largest, mmrec_error *error) {
    if (!view->data) return MMREC_OK;
    MMREC_TRY(op_use_read(&c->truth, view, c->want, error));
    *largest = fmax(*largest, mmrec_compare(c->want, c->want, mmrec_shape_elements(&view->shape)).max_want);
    return MMREC_OK;
}

/* A gradient that cancels (through a normalisation, a softmax) keeps the rounding noise of its terms: a quarter of the
 * largest gradient going in or coming out stands for them, as in the tests of the ops. */
static mmrec_status find_gradient_scale(op_check *c, mmrec_error *error) {
    double largest = 0;
    for (int i = 0; i < MMREC_MAX_IN; i++) MMREC_TRY(raise_by(c, &c->truth.call.d_in[i], &largest, error));
    for (int i = 0; i < MMREC_MAX_OUT; i++) MMREC_TRY(raise_by(c, &c->truth.call.d_out[i], &largest, error));
    c->gradient_scale = largest / 4;
    return MMREC_OK;
}

static mmrec_status compare_passes(op_check *c, mmrec_error *error) {
    const mmrec_op_def *def = c->use.def;
    MMREC_TRY(run_both(c, MMREC_FORWARD, error));
    for (int i = 0; i < mmrec_arg_count(def->out); i++) {
        MMREC_TRY(compare_view(c, &c->use.call.out[i], &c->truth.call.out[i], def->out[i].name, false, error));
    }
    if (!op_use_differentiable(&c->use)) return MMREC_OK;
    MMREC_TRY(run_both(c, MMREC_BACKWARD, error));
    MMREC_TRY(find_gradient_scale(c, error));
    for (int i = 0; i < mmrec_arg_count(def->in); i++) {
        MMREC_TRY(compare_view(c, &c->use.call.d_in[i], &c->truth.call.d_in[i], def->in[i].name, true, error));
    }
    return MMREC_OK;
}

static mmrec_status prepare_check(op_check *c, mmrec_allocator *allocator, mmrec_op_id op, const char *text,
                                  const mmrec_bench_options *options, mmrec_error *error) {
    const mmrec_backend *reference;
    MMREC_TRY(mmrec_backend_find("ref", &reference, error));
    MMREC_TRY(op_use_create(allocator, reference, op, text, options, &c->truth, error));
    MMREC_TRY(op_use_create(allocator, options->backend, op, text, options, &c->use, error));
    c->room = most_elements(&c->truth);
    MMREC_TRY(bench_doubles(allocator, c->room, &c->got, error));
    return bench_doubles(allocator, c->room, &c->want, error);
}

static mmrec_status check_op(mmrec_allocator *allocator, mmrec_op_id op, const mmrec_bench_options *options,
                             mmrec_op_result *out, mmrec_error *error) {
    const mmrec_op_def *def = mmrec_op_get(op, options->backend->variant);
    MMREC_TRY(op_size_reduce(def, out->size, out->check_size, sizeof out->check_size, error));
    mmrec_bench_check *result = &out->check;
    *result = bench_check_begin(def->tolerance);
    op_check c = {.result = result};
    mmrec_status status = prepare_check(&c, allocator, op, out->check_size, options, error);
    mmrec_tolerance allowed = status == MMREC_OK ? mmrec_op_tolerance(def, &c.use.sizes) : def->tolerance;
    /* A result is rounded by 2^-8 of itself when it is stored, and what was saved for it was before. */
    double rounding = options->bf16 ? 0x1p-7 : 0;
    result->output_tolerance = allowed.output + rounding;
    result->gradient_tolerance = allowed.gradient + rounding;
    if (status == MMREC_OK) status = compare_passes(&c, error);
    result->done = status == MMREC_OK || status == MMREC_MISMATCH;
    result->passed = status == MMREC_OK;
    if (c.got) mmrec_alloc(allocator, c.got, c.room * sizeof *c.got, 0, MMREC_ALLOC_MEASURE);
    if (c.want) mmrec_alloc(allocator, c.want, c.room * sizeof *c.want, 0, MMREC_ALLOC_MEASURE);
    op_use_free(&c.use);
    op_use_free(&c.truth);
    if (status != MMREC_OK) mmrec_error_frame(error, "checking at \"%s\"", out->check_size);
    return status;
}

/* ---- timing ---- */

typedef struct pass_subject {
    op_use *use;
    mmrec_pass pass;
} pass_subject;

static mmrec_status run_pass(void *context, mmrec_error *error) {
    const pass_subject *s = context;
    return op_use_run(s->use, s->pass, error);
}

/* Progress over the passes. */
typedef struct op_progress {
    mmrec_bench_observer observer;
    int pass, passes;
} op_progress;

static void tick(void *context, double done) {
    const op_progress *p = context;
    if (p->observer.progress) p->observer.progress(p->observer.context, (p->pass + done) / p->passes);
}

static mmrec_sampling sampling_of(const mmrec_bench_options *options, const device_meter *meter) {
    mmrec_sampling sampling = options->sampling;
    sampling.meter = device_meter_of(meter);
    return sampling.meter && sampling.meter->untimed ? bench_sampling_untimed(sampling.meter) : sampling;
}

/* One run of a pass for a profiler to look at. */
static mmrec_status show_profiler(const mmrec_subject *subject, const mmrec_backend *backend, mmrec_error *error) {
    mmrec_exec_capture(backend, true);
    mmrec_status status = subject->run(subject->context, error);
    if (status == MMREC_OK) status = device_meter_wait(backend, error);
    mmrec_exec_capture(backend, false);
    return status;
}

/* An op under way. */
typedef struct op_run {
    op_use use;
    op_against against;
    device_meter meter;
    const mmrec_bench_options *options;
    const mmrec_ceiling_source *ceilings;
    op_progress progress;
} op_run;

/* Compute and traffic each have a least time on this machine; the longer one binds. */
static mmrec_ceiling binding(const mmrec_ceilings *best, const mmrec_work *work) {
    bool compute = work->flops * best->copy_bytes_per_s > work->bytes * best->sgemm_flops_per_s;
    return compute ? MMREC_CEILING_SGEMM : MMREC_CEILING_COPY;
}

/* Alone, but for the ceiling that binds. */
static mmrec_status sample_beside(op_run *run, mmrec_pass pass, mmrec_subject timed, mmrec_sampling sampling,
                                  mmrec_progress progress, mmrec_op_result *out, mmrec_error *error) {
    mmrec_bench_row *row = &out->pass[pass];
    ceiling_beside beside = {.allocator = run->use.allocator, .source = run->ceilings};
    mmrec_beside hook = {ceiling_beside_run, &beside};
    if (run->ceilings) {
        beside.which = out->ceiling[pass] = binding(&run->ceilings->best, &row->work);
        sampling.beside = &hook;
    }
    double amount = beside.which == MMREC_CEILING_SGEMM ? row->work.flops : row->work.bytes;
    mmrec_status status = mmrec_measure(beside.allocator, timed, &sampling, progress, &row->series, error);
    if (status == MMREC_OK && run->ceilings && amount > 0)
        status = ceiling_beside_share(&beside, &row->series, amount, &out->ceiling_share[pass], error);
    ceiling_beside_free(&beside);
    return status;
}

/* By itself, or in alternation with the yardstick. */
static mmrec_status sample_pass(op_run *run, mmrec_pass pass, mmrec_subject timed, mmrec_op_result *out,
                                mmrec_error *error) {
    mmrec_allocator *allocator = run->use.allocator;
    mmrec_sampling sampling = sampling_of(run->options, &run->meter);
    mmrec_progress progress = {tick, &run->progress};
    mmrec_bench_row *row = &out->pass[pass], *other = &out->against.row[pass];
    if (!run->against.open) return sample_beside(run, pass, timed, sampling, progress, out, error);
    mmrec_subject yardstick = op_against_subject(&run->against, pass);
    MMREC_TRY(mmrec_measure_pair(allocator, yardstick, timed, &sampling, progress, &other->series, &row->series,
                                 &out->against.paired[pass], error));
    return bench_count_launches(allocator, &run->meter, &yardstick, other, error);
}

static mmrec_status time_pass(op_run *run, mmrec_pass pass, mmrec_op_result *out, mmrec_error *error) {
    op_use *use = &run->use;
    pass_subject subject = {use, pass};
    mmrec_subject timed = {.run = run_pass, .context = &subject};
    mmrec_bench_row *row = &out->pass[pass];
    row->work = mmrec_op_work(use->def, &use->sizes, pass, use->storage);
    row->nodes = 1;
    MMREC_TRY_WHILE(sample_pass(run, pass, timed, out, error), error, "timing %s %s", use->def->name, pass_names[pass]);
    out->has_pass[pass] = true;
    if (run->against.open && out->against.what == MMREC_AGAINST_GRID_BARRIER) out->against.row[pass].work = row->work;
    MMREC_TRY(bench_count_launches(use->allocator, &run->meter, &timed, row, error));
    return run->options->profile ? show_profiler(&timed, run->options->backend, error) : MMREC_OK;
}

static mmrec_status time_passes(op_run *run, mmrec_op_result *out, mmrec_error *error) {
    run->progress.passes = op_use_differentiable(&run->use) ? 2 : 1;
    for (int pass = 0; pass < run->progress.passes && !mmrec_measure_interrupted(); pass++) {
        run->progress.pass = pass;
        MMREC_TRY(time_pass(run, (mmrec_pass)pass, out, error));
    }
    return MMREC_OK;
}

static mmrec_status bench_op(mmrec_allocator *allocator, mmrec_op_id op, const mmrec_bench_options *options,
                             const mmrec_ceiling_source *ceilings, mmrec_bench_observer observer, mmrec_op_result *out,
                             mmrec_error *error) {
    op_run run = {.options = options, .ceilings = ceilings, .progress = {.observer = observer}};
    const mmrec_backend *backend = options->backend;
    if (observer.message) observer.message(observer.context, out->op);
    MMREC_TRY(mmrec_backend_set_threads(options->threads, error));
    MMREC_TRY(check_op(allocator, op, options, out, error));
    MMREC_TRY(op_use_create(allocator, backend, op, out->size, options, &run.use, error));
    run.meter.backend = backend;
    /* The backward pass reads what a forward pass left. */
    mmrec_status status = op_use_run(&run.use, MMREC_FORWARD, error);
    if (status == MMREC_OK) status = op_against_open(&run.use, options, &out->against, &run.against, error);
    if (status == MMREC_OK)
        status = device_meter_open(allocator, backend, options->timer, options->cold, &run.meter, error);
    if (status == MMREC_OK) status = time_passes(&run, out, error);
    device_meter_close(&run.meter);
    out->timing = run.meter.timing;
    op_against_close(&run.against);
    op_use_free(&run.use);
    return status;
}

mmrec_status mmrec_bench_op(mmrec_allocator *allocator, mmrec_op_id op, const char *size,
                            const mmrec_bench_options *options, const mmrec_ceiling_source *ceilings,
                            mmrec_bench_observer observer, mmrec_op_result *out, mmrec_error *error) {
    memset(out, 0, sizeof *out);
    const mmrec_op_def *def = mmrec_op_get(op, options->backend->variant);
    if (!def) MMREC_FAIL(error, MMREC_USAGE, "there is no op number %d", (int)op);
    const char *text = size ? size : def->bench;
    if (strlen(text) >= sizeof out->size) {
        MMREC_FAIL(error, MMREC_USAGE, "the size text is longer than %zu characters", sizeof out->size - 1);
    }
    out->op = def->name;
    snprintf(out->size, sizeof out->size, "%s", text);
    snprintf(out->backend, sizeof out->backend, "%s", options->backend->name);
    mmrec_status status = bench_op(allocator, op, options, ceilings, observer, out, error);
    if (status != MMREC_OK) mmrec_op_result_free(allocator, out);
    return status;
}

void mmrec_op_result_free(mmrec_allocator *allocator, mmrec_op_result *result) {
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        bench_row_free(allocator, &result->pass[pass]);
        bench_row_free(allocator, &result->against.row[pass]);
        result->has_pass[pass] = false;
    }
}
