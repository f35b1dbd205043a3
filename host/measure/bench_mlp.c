/* The fused MLP beside sgemm at the sizes of its layers, and beside the same training as a graph. */
#include <cblas.h>

#include "bench_impl.h"
#include "mmrec/mlp.h"
#include "mmrec/rng.h"

/* Fewer pairs have no ratio. */
enum { LEAST_EPOCHS = 8 };

typedef struct mlp_bench {
    mmrec_allocator *allocator;
    const mmrec_mlp_bench_options *options;
    mmrec_mlp_trainer *fused;
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_exec *exec;
    mmrec_optimizer *optimizer;
    mmrec_tensor x, target;
    double *data; /* inputs, then targets */
    int32_t *classes;
    float *factors; /* what sgemm multiplies: three of the largest matrix of a step */
    int64_t largest;
    size_t data_bytes, class_bytes, factor_bytes;
    double first_loss, last_loss;
    bool begun;
} mlp_bench;

static const double *targets_of(const mlp_bench *b) {
    return b->data + b->options->samples * b->options->model->inputs;
}

static bool has_classes(const mlp_bench *b) { return b->options->model->loss == MMREC_MLP_CROSS_ENTROPY; }

/* ---- samples: a smooth function of the inputs, or which of them is the largest ---- */

static int32_t class_of(const double *x, int64_t inputs, int64_t outputs) {
    int64_t best = 0, count = inputs < outputs ? inputs : outputs;
    for (int64_t i = 1; i < count; i++) best = x[i] > x[best] ? i : best;
    return (int32_t)best;
}

static void make_up(mlp_bench *b) {
    const mmrec_mlp_bench_options *o = b->options;
    int64_t inputs = o->model->inputs, outputs = o->model->outputs;
    double *x = b->data, *target = b->data + o->samples * inputs;
    for (int64_t i = 0; i < o->samples * inputs; i++) x[i] = mmrec_rng_normal(o->seed, 0, (uint64_t)i);
    for (int64_t s = 0; s < o->samples; s++) {
        const double *row = x + s * inputs;
        b->classes[s] = class_of(row, inputs, outputs);
        for (int64_t k = 0; k < outputs; k++) {
            double a = row[k % inputs], c = row[(k + 1) % inputs];
            target[s * outputs + k] = a * c / (1 + a * a) + 0.5 * c;
        }
    }
}

static mmrec_mlp_samples samples_of(const mlp_bench *b, int64_t first, int64_t count) {
    const mmrec_mlp_config *m = b->options->model;
    return (mmrec_mlp_samples){.x = b->data + first * m->inputs,
                               .target = has_classes(b) ? NULL : targets_of(b) + first * m->outputs,
                               .classes = has_classes(b) ? b->classes + first : NULL,
                               .count = count};
}

/* ---- what is timed ---- */

static mmrec_status run_fused(void *context, mmrec_error *error) {
    mlp_bench *b = context;
    mmrec_mlp_report report;
    MMREC_TRY(mmrec_mlp_epoch(b->fused, NULL, b->options->rate, &report, error));
    if (!b->begun) b->first_loss = report.loss;
    b->begun = true;
    b->last_loss = report.loss;
    return MMREC_OK;
}

/* y = x W^T, dW = dy^T x, and dx = dy W where the layer is not the first; (rows, in) and (rows, out) with W (out, in).
 */
static void multiply(const mlp_bench *b, int rows, int in, int out, bool first) {
    const float *x = b->factors, *w = b->factors + b->largest;
    float *to = b->factors + 2 * b->largest;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in, 1, x, in, w, in, 0, to, out);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, rows, 1, w, out, x, in, 0, to, in);
    if (first) return;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, in, out, 1, x, out, w, in, 0, to, in);
}

static mmrec_status run_sgemm(void *context, mmrec_error *error) {
    const mlp_bench *b = context;
    const mmrec_mlp_bench_options *o = b->options;
    (void)error;
    for (int64_t first = 0; first < o->samples; first += o->batch) {
        int64_t rows = o->samples - first < o->batch ? o->samples - first : o->batch, in = o->model->inputs;
        for (int l = 0; l <= o->model->hidden.count; l++) {
            int64_t out = l < o->model->hidden.count ? o->model->hidden.width[l] : o->model->outputs;
            multiply(b, (int)rows, (int)in, (int)out, l == 0);
            in = out;
        }
    }
    return MMREC_OK;
}

static mmrec_status graph_step(mlp_bench *b, int64_t first, mmrec_error *error) {
    const mmrec_mlp_bench_options *o = b->options;
    mmrec_mlp_samples s = samples_of(b, first, o->batch);
    MMREC_TRY(mmrec_exec_write(b->exec, b->x, s.x, o->batch * o->model->inputs, error));
    if (s.classes) {
        MMREC_TRY(mmrec_exec_write_ids(b->exec, b->target, s.classes, o->batch, error));
    } else {
        MMREC_TRY(mmrec_exec_write(b->exec, b->target, s.target, o->batch * o->model->outputs, error));
    }
    MMREC_TRY(mmrec_exec_run(b->exec, MMREC_PHASE_FORWARD, error));
    MMREC_TRY(mmrec_exec_run(b->exec, MMREC_PHASE_BACKWARD, error));
    return mmrec_optimizer_step(b->optimizer, o->rate, NULL, error);
}

/* As many steps as a fused epoch has. A graph has one batch size, so the last one is a whole batch from the end. */
static mmrec_status run_graph(void *context, mmrec_error *error) {
    mlp_bench *b = context;
    const mmrec_mlp_bench_options *o = b->options;
    for (int64_t first = 0; first < o->samples; first += o->batch) {
        int64_t from = first + o->batch <= o->samples ? first : o->samples - o->batch;
        MMREC_TRY(graph_step(b, from, error));
    }
    return MMREC_OK;
}

/* ---- making it ---- */

static mmrec_status get(mlp_bench *b, size_t count, size_t size, void **out, size_t *bytes, mmrec_error *error) {
    MMREC_TRY(mmrec_alloc_zero(b->allocator, count, size, MMREC_ALLOC_MEASURE, out, error));
    *bytes = count * size;
    return MMREC_OK;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t largest_matrix(const mmrec_mlp_bench_options *o) {
    int64_t widest = larger(o->model->inputs, o->model->outputs);
    for (int l = 0; l < o->model->hidden.count; l++) widest = larger(widest, o->model->hidden.width[l]);
    return larger(o->batch, widest) * widest;
}

static mmrec_status make_data(mlp_bench *b, mmrec_error *error) {
    const mmrec_mlp_bench_options *o = b->options;
    size_t numbers = (size_t)(o->samples * (o->model->inputs + o->model->outputs));
    void *memory = NULL;
    b->largest = largest_matrix(o);
    MMREC_TRY(get(b, numbers, sizeof *b->data, &memory, &b->data_bytes, error));
    b->data = memory;
    MMREC_TRY(get(b, (size_t)o->samples, sizeof *b->classes, &memory, &b->class_bytes, error));
    b->classes = memory;
    MMREC_TRY(get(b, 3 * (size_t)b->largest, sizeof *b->factors, &memory, &b->factor_bytes, error));
    b->factors = memory;
    make_up(b);
    for (int64_t i = 0; i < 2 * b->largest; i++) b->factors[i] = mmrec_rng_uniform(o->seed, 1, (uint64_t)i);
    return MMREC_OK;
}

static mmrec_status make_fused(mlp_bench *b, mmrec_error *error) {
    const mmrec_mlp_bench_options *o = b->options;
    mmrec_mlp_samples all = samples_of(b, 0, o->samples);
    MMREC_TRY(mmrec_mlp_create(b->allocator, o->backend, o->model, o->optimizer, o->batch, o->seed, &b->fused, error));
    return mmrec_mlp_load(b->fused, &all, error);
}

static mmrec_status make_graph(mlp_bench *b, mmrec_error *error) {
    const mmrec_mlp_bench_options *o = b->options;
    mmrec_model_run run = {.batch = o->batch, .time = 1, .gradient = true};
    mmrec_plan_options plan = {.optimizer_slots = 2};
    mmrec_exec_options options = {0};
    MMREC_TRY(mmrec_graph_create(b->allocator, o->backend->real, o->threads, &b->graph, error));
    MMREC_TRY(mmrec_model_build(MMREC_MODEL_mlp, o->model, &run, b->graph, error));
    MMREC_TRY(mmrec_plan_create(b->allocator, b->graph, plan, &b->plan, error));
    MMREC_TRY(mmrec_exec_create(b->allocator, o->backend, b->graph, b->plan, options, &b->exec, error));
    MMREC_TRY(mmrec_model_init(b->exec, b->graph, b->allocator, o->seed, error));
    b->x = mmrec_graph_find(b->graph, "x");
    b->target = mmrec_graph_find(b->graph, has_classes(b) ? "targets" : "target");
    return mmrec_optimizer_create(b->allocator, b->exec, o->optimizer, &b->optimizer, error);
}

static void unmake(mlp_bench *b) {
    mmrec_optimizer_destroy(&b->optimizer);
    mmrec_exec_destroy(&b->exec);
    mmrec_plan_destroy(&b->plan);
    mmrec_graph_destroy(&b->graph);
    mmrec_mlp_destroy(&b->fused);
    mmrec_alloc(b->allocator, b->factors, b->factor_bytes, 0, MMREC_ALLOC_MEASURE);
    mmrec_alloc(b->allocator, b->classes, b->class_bytes, 0, MMREC_ALLOC_MEASURE);
    mmrec_alloc(b->allocator, b->data, b->data_bytes, 0, MMREC_ALLOC_MEASURE);
}

/* ---- the figures ---- */

/* `amount` by the median time; its interval is that of the median. */
static mmrec_mlp_figure rate_of(double amount, const mmrec_series *series) {
    const mmrec_stats *s = &series->stats;
    if (!s->valid) return (mmrec_mlp_figure){0};
    return (mmrec_mlp_figure){amount * 1e9 / s->median, {amount * 1e9 / s->ci95.high, amount * 1e9 / s->ci95.low}};
}

static void fill(const mlp_bench *b, mmrec_mlp_bench *out) {
    const mmrec_mlp_bench_options *o = b->options;
    double samples = (double)o->samples;
    out->flops = mmrec_mlp_flops(o->model, o->samples);
    out->samples_per_s = rate_of(samples, &out->fused);
    out->flops_per_s = rate_of(out->flops, &out->fused);
    for (int i = 0; i < out->fused.count; i++) out->seconds += out->fused.samples_ns[i] * 1e-9;
    out->first_loss = b->first_loss;
    out->last_loss = b->last_loss;
}

static mmrec_status measure(mlp_bench *b, mmrec_mlp_bench *out, mmrec_error *error) {
    const mmrec_mlp_bench_options *o = b->options;
    mmrec_subject fused = {.run = run_fused, .context = b}, sgemm = {.run = run_sgemm, .context = b};
    mmrec_subject graph = {.run = run_graph, .context = b};
    /* Every epoch that was asked for, however narrow the interval is before, and however long they take. */
    mmrec_sampling all = o->sampling;
    all.min_samples = all.max_samples = all.least_samples = o->epochs;
    all.target_ci = 0;
    all.max_time_s = 3600;
    MMREC_TRY_WHILE(mmrec_measure_pair(b->allocator, fused, sgemm, &all, (mmrec_progress){0}, &out->fused, &out->sgemm,
                                       &out->against_sgemm, error),
                    error, "timing epochs of the MLP beside sgemm");
    fill(b, out);
    MMREC_TRY_WHILE(mmrec_measure_pair(b->allocator, fused, graph, &o->sampling, (mmrec_progress){0}, &out->beside,
                                       &out->graph, &out->against_graph, error),
                    error, "timing epochs of the MLP beside its graph");
    out->graph_samples_per_s = rate_of((double)o->samples, &out->graph);
    return MMREC_OK;
}

static mmrec_status check(const mmrec_mlp_bench_options *o, mmrec_error *error) {
    MMREC_TRY(mmrec_mlp_check(o->backend, o->model, o->batch, error));
    if (!o->backend->host_memory) {
        MMREC_FAIL(error, MMREC_UNSUPPORTED,
                   "backend %s: the MLP is timed beside sgemm of the processor, which says nothing of a device; use "
                   "mmrec-compare",
                   o->backend->name);
    }
    if (o->epochs < LEAST_EPOCHS) {
        MMREC_FAIL(error, MMREC_CONFIG, "epochs must be at least %d, got %d", LEAST_EPOCHS, o->epochs);
    }
    if (o->samples < o->batch || o->samples > INT32_MAX) {
        MMREC_FAIL(error, MMREC_CONFIG, "samples must be %lld (a batch) to %d, got %lld", (long long)o->batch,
                   INT32_MAX, (long long)o->samples);
    }
    return mmrec_backend_set_threads(o->threads, error);
}

mmrec_status mmrec_mlp_bench_run(mmrec_allocator *allocator, const mmrec_mlp_bench_options *options,
                                 mmrec_mlp_bench *out, mmrec_error *error) {
    mlp_bench b = {.allocator = allocator, .options = options};
    *out = (mmrec_mlp_bench){0};
    MMREC_TRY(check(options, error));
    mmrec_status status = make_data(&b, error);
    if (status == MMREC_OK) status = make_fused(&b, error);
    if (status == MMREC_OK) status = make_graph(&b, error);
    if (status == MMREC_OK) status = measure(&b, out, error);
    unmake(&b);
    return status;
}

void mmrec_mlp_bench_free(mmrec_allocator *allocator, mmrec_mlp_bench *bench) {
    mmrec_series *all[] = {&bench->fused, &bench->sgemm, &bench->graph, &bench->beside};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mmrec_series_free(allocator, all[i]);
    *bench = (mmrec_mlp_bench){0};
}
