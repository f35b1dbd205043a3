/* --op: one op of the table, checked against the reference and timed beside the machine's own ceilings. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench_op_impl.h"
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
    op_use_read(got, c->got);
    op_use_read(want, c->want);
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

static double largest_in(const op_check *c, const mmrec_view *view) {
    if (!view->data) return 0;
    op_use_read(view, c->want);
    return mmrec_compare(c->want, c->want, mmrec_shape_elements(&view->shape)).max_want;
}

/* A gradient that cancels (through a normalisation, a softmax) keeps the rounding noise of its terms: a quarter of the
 * largest gradient going in or coming out stands for them, as in the tests of the ops. */
static void find_gradient_scale(op_check *c) {
    double largest = 0;
    for (int i = 0; i < MMREC_MAX_IN; i++) largest = fmax(largest, largest_in(c, &c->truth.call.d_in[i]));
    for (int i = 0; i < MMREC_MAX_OUT; i++) largest = fmax(largest, largest_in(c, &c->truth.call.d_out[i]));
    c->gradient_scale = largest / 4;
}

static mmrec_status compare_passes(op_check *c, mmrec_error *error) {
    const mmrec_op_def *def = c->use.def;
    MMREC_TRY(run_both(c, MMREC_FORWARD, error));
    for (int i = 0; i < mmrec_arg_count(def->out); i++) {
        MMREC_TRY(compare_view(c, &c->use.call.out[i], &c->truth.call.out[i], def->out[i].name, false, error));
    }
    if (!op_use_differentiable(&c->use)) return MMREC_OK;
    MMREC_TRY(run_both(c, MMREC_BACKWARD, error));
    find_gradient_scale(c);
    for (int i = 0; i < mmrec_arg_count(def->in); i++) {
        MMREC_TRY(compare_view(c, &c->use.call.d_in[i], &c->truth.call.d_in[i], def->in[i].name, true, error));
    }
    return MMREC_OK;
}

static mmrec_status prepare_check(op_check *c, mmrec_allocator *allocator, mmrec_op_id op, const char *text,
                                  const mmrec_bench_options *options, mmrec_error *error) {
    const mmrec_backend *reference;
    MMREC_TRY(mmrec_backend_find("ref", &reference, error));
    MMREC_TRY(op_use_create(allocator, reference, op, text, options->threads, options->seed, &c->truth, error));
    MMREC_TRY(op_use_create(allocator, options->backend, op, text, options->threads, options->seed, &c->use, error));
    c->room = most_elements(&c->truth);
    MMREC_TRY(bench_doubles(allocator, c->room, &c->got, error));
    return bench_doubles(allocator, c->room, &c->want, error);
}

static mmrec_status check_op(mmrec_allocator *allocator, mmrec_op_id op, const mmrec_bench_options *options,
                             mmrec_op_result *out, mmrec_error *error) {
    const mmrec_op_def *def = mmrec_op_get(op, options->backend->variant);
    MMREC_TRY(op_size_reduce(def, out->size, out->check_size, sizeof out->check_size, error));
    mmrec_bench_check *result = &out->check;
    *result = bench_check_begin(options->backend);
    op_check c = {.result = result};
    mmrec_status status = prepare_check(&c, allocator, op, out->check_size, options, error);
    mmrec_tolerance allowed = status == MMREC_OK ? mmrec_op_tolerance(def, &c.use.sizes) : def->tolerance;
    result->output_tolerance = allowed.output;
    result->gradient_tolerance = allowed.gradient;
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

/* Compute and traffic each have a least time on this machine; the longer one binds. */
static void rate_pass(const mmrec_ceilings *ceilings, mmrec_pass pass, mmrec_op_result *out) {
    const mmrec_work *work = &out->pass[pass].work;
    double seconds = out->pass[pass].series.stats.median * 1e-9;
    if (!(seconds > 0) || !(ceilings->sgemm_flops_per_s > 0) || !(ceilings->copy_bytes_per_s > 0)) return;
    double compute = work->flops / ceilings->sgemm_flops_per_s, traffic = work->bytes / ceilings->copy_bytes_per_s;
    out->flops_bound[pass] = compute > traffic;
    out->ceiling_ratio[pass] = fmax(compute, traffic) / seconds;
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

static mmrec_status time_passes(op_use *use, const mmrec_bench_options *options, const mmrec_ceilings *ceilings,
                                mmrec_bench_observer observer, mmrec_op_result *out, mmrec_error *error) {
    op_progress progress = {observer, 0, op_use_differentiable(use) ? 2 : 1};
    for (int pass = 0; pass < progress.passes && !mmrec_measure_interrupted(); pass++) {
        pass_subject subject = {use, (mmrec_pass)pass};
        mmrec_subject timed = {run_pass, &subject, NULL};
        mmrec_bench_row *row = &out->pass[pass];
        progress.pass = pass;
        MMREC_TRY_WHILE(mmrec_measure(use->allocator, timed, &options->sampling, (mmrec_progress){tick, &progress},
                                      &row->series, error),
                        error, "timing %s %s", use->def->name, pass_names[pass]);
        out->has_pass[pass] = true;
        row->work = mmrec_op_work(use->def, &use->sizes, (mmrec_pass)pass, use->backend->real);
        row->nodes = 1;
        rate_pass(ceilings, (mmrec_pass)pass, out);
    }
    return MMREC_OK;
}

static mmrec_status bench_op(mmrec_allocator *allocator, mmrec_op_id op, const mmrec_bench_options *options,
                             const mmrec_ceilings *ceilings, mmrec_bench_observer observer, mmrec_op_result *out,
                             mmrec_error *error) {
    op_use use;
    if (observer.message) observer.message(observer.context, out->op);
    MMREC_TRY(mmrec_backend_set_threads(options->threads, error));
    MMREC_TRY(check_op(allocator, op, options, out, error));
    MMREC_TRY(op_use_create(allocator, options->backend, op, out->size, options->threads, options->seed, &use, error));
    /* The backward pass reads what a forward pass left. */
    mmrec_status status = op_use_run(&use, MMREC_FORWARD, error);
    if (status == MMREC_OK) status = time_passes(&use, options, ceilings, observer, out, error);
    op_use_free(&use);
    return status;
}

mmrec_status mmrec_bench_op(mmrec_allocator *allocator, mmrec_op_id op, const char *size,
                            const mmrec_bench_options *options, const mmrec_ceilings *ceilings,
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
        mmrec_series_free(allocator, &result->pass[pass].series);
        result->has_pass[pass] = false;
    }
}
