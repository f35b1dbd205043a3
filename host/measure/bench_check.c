/* Correctness before speed: every side against the double reference on a small slice of its case. */
#include <math.h>
#include <string.h>

#include "bench_impl.h"
#include "measure/tolerance.h"
#include "mmrec/compare.h"

/* The reference does about 1 GFLOP/s: a slice of this much work takes some seconds at most, and usually one. */
static const double most_flops = 1e9;
static const int64_t most_parameters = 16 << 20; /* 256 MiB of doubles with their gradients */
enum { SLICE_BATCH = 2, SLICE_TIME = 8, SLICE_LEAST_DIM = 32, SLICE_LEAST_VOCAB = 256 };
/* A gradient tensor that is zero but for rounding is measured against this share of the largest gradient. */
static const double gradient_floor = 1e-3;

typedef struct checker {
    mmrec_allocator *allocator;
    const mmrec_bench_options *options;
    bench_data data;
    mmrec_bench_case slice;
    bench_inputs inputs;
    bench_net truth, net;
    double *got, *want;
    size_t room; /* values in each */
    double largest_gradient;
} checker;

mmrec_bench_check bench_check_begin(mmrec_tolerance allowed) {
    return (mmrec_bench_check){.output_error = (double)NAN,
                               .gradient_error = (double)NAN,
                               .output_tolerance = allowed.output,
                               .gradient_tolerance = allowed.gradient};
}

bool bench_check_values(const double *got, const double *want, int64_t count, double tolerance, double scale,
                        double *worst) {
    mmrec_difference d = mmrec_compare(got, want, count);
    double largest = fmax(d.max_want, scale), relative = largest > 0 ? d.max_abs / largest : d.max_abs;
    if (!(relative <= *worst)) *worst = relative;
    return mmrec_difference_within(&d, tolerance, scale);
}

/* ---- the slice ---- */

static void halve(int64_t *size) {
    if (*size > 1) *size /= 2;
}

/* Makes the slice one step cheaper; false when nothing is left to give. Time goes first and width late: most mistakes
 * show at any length, some only where width has tails. */
static bool shrink(mmrec_bench_case *slice) {
    mmrec_model_config *model = &slice->model;
    if (slice->time > 2)
        halve(&slice->time);
    else if (model->layers > 2)
        model->layers = 2;
    else if (model->vocab > SLICE_LEAST_VOCAB)
        halve(&model->vocab);
    else if (model->dim % 2 == 0 && model->dim / 2 >= SLICE_LEAST_DIM && model->dim / 2 % model->heads == 0) {
        halve(&model->dim);
        halve(&model->ffn);
        halve(&model->inner);
        halve(&model->pe);
        halve(&model->dpg);
    } else if (slice->batch > 1)
        slice->batch = 1;
    else
        return false;
    return true;
}

static mmrec_status cost_of(const checker *c, double *flops, int64_t *parameters, mmrec_error *error) {
    mmrec_graph *graph = NULL;
    mmrec_model_run run = {.batch = c->slice.batch, .time = c->slice.time, .loss = true, .gradient = true};
    mmrec_status status = mmrec_graph_create(c->allocator, MMREC_F64, 1, &graph, error);
    if (status == MMREC_OK) status = mmrec_model_build(MMREC_MODEL_mmrec, &c->slice.model, &run, graph, error);
    if (status == MMREC_OK) {
        *flops =
            mmrec_graph_work(graph, MMREC_PHASE_FORWARD).flops + mmrec_graph_work(graph, MMREC_PHASE_BACKWARD).flops;
        *parameters = mmrec_graph_param_count(graph);
    }
    mmrec_graph_destroy(&graph);
    return status;
}

static mmrec_status choose_slice(checker *c, const mmrec_bench_case *input, mmrec_error *error) {
    c->slice = *input;
    if (c->slice.batch > SLICE_BATCH) c->slice.batch = SLICE_BATCH;
    if (c->slice.time > SLICE_TIME) c->slice.time = SLICE_TIME;
    do {
        double flops = 0;
        int64_t parameters = 0;
        MMREC_TRY(cost_of(c, &flops, &parameters, error));
        if (flops <= most_flops && parameters <= most_parameters) return MMREC_OK;
    } while (shrink(&c->slice));
    return MMREC_OK;
}

/* ---- one net against the other ---- */

/* With gradients or without; the reference has its logits beside its gradients. */
static mmrec_status run_net(const checker *c, bench_net *net, const mmrec_backend *backend, bool hem, bool gradient,
                            mmrec_error *error) {
    const mmrec_bench_options *options = c->options;
    bench_recipe recipe = {.kind = MMREC_MODEL_mmrec,
                           .input = &c->slice,
                           .backend = backend,
                           .threads = options->threads,
                           .bf16 = options->bf16 && backend == options->backend,
                           .hem = hem,
                           .gradient = gradient,
                           .logits = net == &c->truth,
                           .recompute = options->recompute,
                           .graphs = options->graphs,
                           .seed = options->seed};
    MMREC_TRY(bench_net_create(c->allocator, &recipe, net, error));
    MMREC_TRY(bench_net_feed(net, net->exec, &c->inputs, error));
    MMREC_TRY(mmrec_exec_run(net->exec, MMREC_PHASE_FORWARD, error));
    return gradient ? mmrec_exec_run(net->exec, MMREC_PHASE_BACKWARD, error) : MMREC_OK;
}

/* Room for the largest tensor that is compared. */
static mmrec_status make_room(checker *c, mmrec_error *error) {
    c->room = 1;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(c->truth.graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(c->truth.graph, t);
        size_t count = (size_t)mmrec_shape_elements(&info.shape);
        if ((info.kind == MMREC_TENSOR_PARAM || info.name[0]) && count > c->room) c->room = count;
    }
    MMREC_TRY(bench_doubles(c->allocator, c->room, &c->got, error));
    return bench_doubles(c->allocator, c->room, &c->want, error);
}

static mmrec_status read_both(const checker *c, mmrec_tensor truth, mmrec_tensor tensor, int64_t *count,
                              mmrec_error *error) {
    mmrec_tensor_info info = mmrec_graph_tensor_info(c->truth.graph, truth);
    *count = mmrec_shape_elements(&info.shape);
    MMREC_TRY(mmrec_exec_read(c->truth.exec, truth, c->want, *count, error));
    return mmrec_exec_read(c->net.exec, tensor, c->got, *count, error);
}

static mmrec_status compare_output(const checker *c, const char *name, mmrec_bench_check *check, mmrec_error *error) {
    int64_t count = 0;
    mmrec_tensor truth = mmrec_graph_find(c->truth.graph, name), tensor = mmrec_graph_find(c->net.graph, name);
    MMREC_TRY(read_both(c, truth, tensor, &count, error));
    if (bench_check_values(c->got, c->want, count, check->output_tolerance, 0, &check->output_error)) return MMREC_OK;
    MMREC_FAIL(error, MMREC_MISMATCH, "%s differs from the reference by %.3g of its largest value, allowed are %.3g",
               name, check->output_error, check->output_tolerance);
}

static mmrec_status find_largest_gradient(checker *c, mmrec_error *error) {
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(c->truth.graph); t++) {
        mmrec_tensor gradient = mmrec_graph_gradient(c->truth.graph, t);
        mmrec_tensor_info info = mmrec_graph_tensor_info(c->truth.graph, t);
        if (info.kind != MMREC_TENSOR_PARAM || !gradient) continue;
        int64_t count = mmrec_shape_elements(&info.shape);
        MMREC_TRY(mmrec_exec_read(c->truth.exec, gradient, c->want, count, error));
        for (int64_t i = 0; i < count; i++) c->largest_gradient = fmax(c->largest_gradient, fabs(c->want[i]));
    }
    return MMREC_OK;
}

static mmrec_status compare_gradient(const checker *c, mmrec_tensor param, const char *name, mmrec_bench_check *check,
                                     mmrec_error *error) {
    int64_t count = 0;
    mmrec_tensor truth = mmrec_graph_gradient(c->truth.graph, param);
    mmrec_tensor gradient = mmrec_graph_gradient(c->net.graph, mmrec_graph_find(c->net.graph, name));
    if (!truth && !gradient) return MMREC_OK;
    if (!truth || !gradient) MMREC_FAIL(error, MMREC_INTERNAL, "only one of two graphs has a gradient of %s", name);
    MMREC_TRY(read_both(c, truth, gradient, &count, error));
    double scale = gradient_floor * c->largest_gradient;
    if (bench_check_values(c->got, c->want, count, check->gradient_tolerance, scale, &check->gradient_error)) {
        return MMREC_OK;
    }
    MMREC_FAIL(error, MMREC_MISMATCH,
               "the gradient of %s differs from the reference by %.3g of its largest value, allowed are %.3g", name,
               check->gradient_error, check->gradient_tolerance);
}

static mmrec_status compare_gradients(const checker *c, mmrec_bench_check *check, mmrec_error *error) {
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(c->truth.graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(c->truth.graph, t);
        if (info.kind == MMREC_TENSOR_PARAM) MMREC_TRY(compare_gradient(c, t, info.name, check, error));
    }
    return MMREC_OK;
}

/* ---- a case ---- */

/* As it is timed: inference, which has logits, and a step, which has not. */
static mmrec_status compare_side(checker *c, bool hem, mmrec_bench_check *check, mmrec_error *error) {
    MMREC_TRY(run_net(c, &c->net, c->options->backend, hem, false, error));
    MMREC_TRY(compare_output(c, "logits", check, error));
    bench_net_free(&c->net);
    MMREC_TRY(run_net(c, &c->net, c->options->backend, hem, true, error));
    MMREC_TRY(compare_output(c, "loss", check, error));
    return compare_gradients(c, check, error);
}

static mmrec_status check_side(checker *c, bool hem, mmrec_bench_check *check, mmrec_error *error) {
    *check = bench_check_begin(measure_tolerance(c->options->backend, c->options->bf16, c->options->tf32));
    check->batch = c->slice.batch;
    check->time = c->slice.time;
    check->dim = c->slice.model.dim;
    check->layers = c->slice.model.layers;
    mmrec_status status = compare_side(c, hem, check, error);
    check->done = status == MMREC_OK || status == MMREC_MISMATCH;
    check->passed = status == MMREC_OK;
    bench_net_free(&c->net);
    if (status != MMREC_OK) {
        mmrec_error_frame(error, "checking HEM %s against the reference", hem ? "on" : "off");
    }
    return status;
}

static mmrec_status check_sides(checker *c, mmrec_bench_case_result *result, mmrec_error *error) {
    const mmrec_backend *reference;
    MMREC_TRY(mmrec_backend_find("ref", &reference, error));
    MMREC_TRY(choose_slice(c, &result->input, error));
    MMREC_TRY(bench_inputs_create(c->allocator, &c->slice, c->options->seed, c->data, &c->inputs, error));
    MMREC_TRY_WHILE(run_net(c, &c->truth, reference, false, true, error), error, "running the reference");
    MMREC_TRY(make_room(c, error));
    MMREC_TRY(find_largest_gradient(c, error));
    for (int side = 0; side < BENCH_SIDES; side++) {
        if (!result->side[side].present) continue;
        MMREC_TRY(check_side(c, result->side[side].hem, &result->side[side].check, error));
    }
    return MMREC_OK;
}

mmrec_status bench_check(const bench_runner *runner, mmrec_bench_case_result *result, mmrec_error *error) {
    mmrec_allocator *allocator = runner->allocator;
    checker c = {.allocator = allocator, .options = runner->options, .data = runner->data};
    mmrec_status status = check_sides(&c, result, error);
    if (c.got) mmrec_alloc(allocator, c.got, c.room * sizeof *c.got, 0, MMREC_ALLOC_MEASURE);
    if (c.want) mmrec_alloc(allocator, c.want, c.room * sizeof *c.want, 0, MMREC_ALLOC_MEASURE);
    bench_net_free(&c.net);
    bench_net_free(&c.truth);
    bench_inputs_free(&c.inputs);
    return status;
}
