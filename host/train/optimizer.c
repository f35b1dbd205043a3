/* AdamW over the parameters of an exec: where they, their gradients and moments lie. The arithmetic is the backend's.
 */
#include "train/optimizer_impl.h"

#include <math.h>
#include <string.h>

/* One block of the backend's memory: state, partial sums, ranges. */
struct mmrec_optimizer {
    mmrec_allocator *allocator;
    mmrec_exec *exec;
    const mmrec_backend *backend;
    void *memory;
    size_t bytes;
    mmrec_adamw_call call;
};

enum { STATE_BYTES = (sizeof(mmrec_adamw_state) + 63) / 64 * 64, PARTIAL_BYTES = MMREC_ADAMW_PARTS * sizeof(double) };

mmrec_optimizer_config mmrec_optimizer_config_default(void) {
    mmrec_optimizer_config config = {0.9, 0.95, 1e-8, 0.1, 1.0};
    return config;
}

bool mmrec_optimizer_decays(const char *name, const mmrec_shape *shape) {
    static const char *const states[] = {"memory.k", "memory.v"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        size_t tail = strlen(states[i]);
        bool ends = length >= tail && strcmp(name + length - tail, states[i]) == 0;
        if (ends && (length == tail || name[length - tail - 1] == '.')) return false;
    }
    return shape->ndim >= 2;
}

mmrec_work mmrec_optimizer_work(const mmrec_graph *graph, mmrec_dtype real) {
    enum { FLOPS = 2 + 1 + 3 + 4 + 2 + 3 + 2, ACCESSES = 3 * 2 + 2 };
    double values = (double)mmrec_graph_param_count(graph);
    return (mmrec_work){FLOPS * values, values, ACCESSES * (double)mmrec_dtype_bytes(real) * values};
}

mmrec_status optimizer_check(const mmrec_optimizer_config *c, mmrec_error *error) {
    const struct {
        const char *name;
        double value;
        bool good;
        const char *range;
    } rows[] = {
        {"beta1", c->beta1, c->beta1 >= 0 && c->beta1 < 1, "at least 0 and below 1"},
        {"beta2", c->beta2, c->beta2 >= 0 && c->beta2 < 1, "at least 0 and below 1"},
        {"epsilon", c->epsilon, c->epsilon > 0 && isfinite(c->epsilon), "above 0"},
        {"weight_decay", c->weight_decay, c->weight_decay >= 0 && isfinite(c->weight_decay), "at least 0"},
        {"clip_norm", c->clip_norm, c->clip_norm >= 0 && isfinite(c->clip_norm), "at least 0 (0: no clipping)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].good) continue;
        MMREC_FAIL(error, MMREC_CONFIG, "the optimizer's %s is %g, it must be %s", rows[i].name, rows[i].value,
                   rows[i].range);
    }
    return MMREC_OK;
}

mmrec_adamw_state optimizer_begin(const mmrec_optimizer_config *config) {
    return (mmrec_adamw_state){.beta1 = config->beta1,
                               .beta2 = config->beta2,
                               .epsilon = config->epsilon,
                               .weight_decay = config->weight_decay,
                               .clip_norm = config->clip_norm,
                               .power1 = 1,
                               .power2 = 1,
                               .clip_factor = 1};
}

mmrec_status optimizer_check_rate(double rate, mmrec_error *error) {
    if (rate >= 0 && isfinite(rate)) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "a learning rate must be finite and at least 0, got %g", rate);
}

/* ---- ranges ---- */

static bool is_parameter(const mmrec_graph *graph, mmrec_tensor t) {
    return mmrec_graph_tensor_info(graph, t).kind == MMREC_TENSOR_PARAM;
}

static int64_t count_parameters(const mmrec_graph *graph) {
    int64_t count = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph); t++) count += is_parameter(graph, t);
    return count;
}

/* A parameter's values or their gradient: in memory, and without gaps between rows. */
static mmrec_status find_values(const mmrec_exec *exec, mmrec_tensor t, const char *name, void **data,
                                mmrec_error *error) {
    mmrec_view view = mmrec_exec_view(exec, t);
    if (!view.data || view.stride != mmrec_shape_columns(&view.shape)) {
        MMREC_FAIL(error, MMREC_INTERNAL, "parameter \"%s\" or its gradient is not one piece of memory", name);
    }
    *data = view.data;
    return MMREC_OK;
}

/* The moments follow each other: first and second of one parameter, then those of the next. */
static mmrec_status fill_range(const mmrec_exec *exec, mmrec_tensor t, char *moments, mmrec_adamw_range *range,
                               mmrec_error *error) {
    const mmrec_graph *graph = mmrec_exec_graph(exec);
    mmrec_tensor_info info = mmrec_graph_tensor_info(graph, t);
    mmrec_tensor gradient = mmrec_graph_gradient(graph, t);
    void *values = NULL;
    if (!gradient) {
        MMREC_FAIL(error, MMREC_CONFIG, "parameter \"%s\" has no gradient: an optimizer needs a differentiated graph",
                   info.name);
    }
    range->count = mmrec_shape_elements(&info.shape);
    range->first = moments;
    range->second = moments + (size_t)range->count * mmrec_dtype_bytes(info.dtype);
    range->decay = mmrec_optimizer_decays(info.name, &info.shape) ? 1.0 : 0.0;
    MMREC_TRY(find_values(exec, t, info.name, &range->parameter, error));
    MMREC_TRY(find_values(exec, gradient, info.name, &values, error));
    range->gradient = values;
    return MMREC_OK;
}

static mmrec_status fill_ranges(mmrec_optimizer *o, mmrec_adamw_range *ranges, mmrec_error *error) {
    const mmrec_graph *graph = mmrec_exec_graph(o->exec);
    mmrec_view state = mmrec_exec_optimizer(o->exec);
    size_t size = mmrec_dtype_bytes(state.dtype);
    char *moments = state.data;
    int64_t n = 0, chunk = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph); t++) {
        if (!is_parameter(graph, t)) continue;
        mmrec_adamw_range *range = &ranges[n++];
        MMREC_TRY(fill_range(o->exec, t, moments, range, error));
        range->chunk = chunk;
        moments += 2 * (size_t)range->count * size;
        chunk += (range->count + MMREC_ADAMW_CHUNK - 1) / MMREC_ADAMW_CHUNK;
    }
    o->call.chunk_count = chunk;
    return MMREC_OK;
}

static mmrec_status check_room(const mmrec_exec *exec, mmrec_error *error) {
    int64_t params = mmrec_graph_param_count(mmrec_exec_graph(exec));
    mmrec_view state = mmrec_exec_optimizer(exec);
    int64_t room = state.data ? mmrec_shape_elements(&state.shape) : 0;
    if (params < 1) MMREC_FAIL(error, MMREC_CONFIG, "an optimizer needs a graph with parameters");
    if (room / 2 < params) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "the plan has room for %lld values of optimizer state, AdamW needs two for each of %lld parameters: "
                   "plan with optimizer_slots = 2",
                   (long long)room, (long long)params);
    }
    return MMREC_OK;
}

/* ---- the backend's memory ---- */

static mmrec_status copy_in(const mmrec_optimizer *o, void *to, const void *from, size_t bytes, mmrec_error *error) {
    if (o->backend->device) return o->backend->device->copy_in(to, from, bytes, error);
    memcpy(to, from, bytes);
    return MMREC_OK;
}

static mmrec_status copy_out(const mmrec_optimizer *o, void *to, const void *from, size_t bytes, mmrec_error *error) {
    if (o->backend->device) return o->backend->device->copy_out(to, from, bytes, error);
    memcpy(to, from, bytes);
    return MMREC_OK;
}

static mmrec_status send_ranges(mmrec_optimizer *o, mmrec_error *error) {
    size_t bytes = (size_t)o->call.range_count * sizeof(mmrec_adamw_range);
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(o->allocator, 1, bytes, MMREC_ALLOC_OPTIMIZER, &memory, error));
    mmrec_status status = fill_ranges(o, memory, error);
    char *to = (char *)o->memory + STATE_BYTES + PARTIAL_BYTES;
    if (status == MMREC_OK) status = copy_in(o, to, memory, bytes, error);
    mmrec_alloc(o->allocator, memory, bytes, 0, MMREC_ALLOC_OPTIMIZER);
    return status;
}

static mmrec_status prepare(mmrec_optimizer *o, const mmrec_optimizer_config *config, mmrec_error *error) {
    MMREC_TRY(optimizer_check(config, error));
    MMREC_TRY(check_room(o->exec, error));
    o->call.range_count = count_parameters(mmrec_exec_graph(o->exec));
    size_t bytes = STATE_BYTES + PARTIAL_BYTES + (size_t)o->call.range_count * sizeof(mmrec_adamw_range);
    MMREC_TRY(o->backend->alloc(o->allocator, MMREC_ARENA_OPTIMIZER, bytes, &o->memory, error));
    o->bytes = bytes;
    o->call.state = o->memory;
    o->call.partials = (double *)((char *)o->memory + STATE_BYTES);
    o->call.ranges = (const mmrec_adamw_range *)((const char *)o->memory + STATE_BYTES + PARTIAL_BYTES);
    mmrec_adamw_state state = optimizer_begin(config);
    MMREC_TRY(copy_in(o, o->call.state, &state, sizeof state, error));
    return send_ranges(o, error);
}

mmrec_status mmrec_optimizer_create(mmrec_allocator *allocator, mmrec_exec *exec, const mmrec_optimizer_config *config,
                                    mmrec_optimizer **out, mmrec_error *error) {
    *out = NULL;
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof(mmrec_optimizer), MMREC_ALLOC_OPTIMIZER, &memory, error));
    mmrec_optimizer *o = memory;
    o->allocator = allocator;
    o->exec = exec;
    o->backend = mmrec_exec_backend(exec);
    mmrec_status status = prepare(o, config, error);
    if (status != MMREC_OK) {
        mmrec_optimizer_destroy(&o);
        return status;
    }
    *out = o;
    return MMREC_OK;
}

void mmrec_optimizer_destroy(mmrec_optimizer **optimizer) {
    mmrec_optimizer *o = *optimizer;
    if (!o) return;
    if (o->memory) o->backend->free(o->allocator, MMREC_ARENA_OPTIMIZER, o->memory, o->bytes);
    mmrec_alloc(o->allocator, o, sizeof *o, 0, MMREC_ALLOC_OPTIMIZER);
    *optimizer = NULL;
}

/* ---- a step ---- */

mmrec_status mmrec_optimizer_rate(mmrec_optimizer *o, double rate, mmrec_error *error) {
    MMREC_TRY(optimizer_check_rate(rate, error));
    return copy_in(o, &o->call.state->rate, &rate, sizeof rate, error);
}

mmrec_status mmrec_optimizer_queue(mmrec_optimizer *o, mmrec_error *error) {
    MMREC_TRY_WHILE(o->backend->adamw(&o->call, error), error, "running the optimizer");
    mmrec_exec_params_changed(o->exec);
    return MMREC_OK;
}

mmrec_status mmrec_optimizer_report_of(mmrec_optimizer *o, mmrec_optimizer_report *report, mmrec_error *error) {
    mmrec_adamw_state state;
    if (o->backend->synchronize) MMREC_TRY(o->backend->synchronize(error));
    MMREC_TRY(copy_out(o, &state, o->call.state, sizeof state, error));
    report->gradient_norm = state.gradient_norm;
    report->clip_factor = state.clip_factor;
    report->skipped = state.skipped > 0;
    report->step = (int64_t)state.step;
    return MMREC_OK;
}

mmrec_status mmrec_optimizer_step(mmrec_optimizer *o, double rate, mmrec_optimizer_report *report, mmrec_error *error) {
    MMREC_TRY(mmrec_optimizer_rate(o, rate, error));
    MMREC_TRY(mmrec_optimizer_queue(o, error));
    return report ? mmrec_optimizer_report_of(o, report, error) : MMREC_OK;
}

/* ---- checkpoints ---- */

mmrec_status mmrec_optimizer_progress_of(mmrec_optimizer *o, mmrec_optimizer_progress *out, mmrec_error *error) {
    mmrec_adamw_state state;
    if (o->backend->synchronize) MMREC_TRY(o->backend->synchronize(error));
    MMREC_TRY(copy_out(o, &state, o->call.state, sizeof state, error));
    out->step = (int64_t)state.step;
    out->power1 = state.power1;
    out->power2 = state.power2;
    return MMREC_OK;
}

static bool is_share(double value) { return value >= 0 && value <= 1; }

mmrec_status mmrec_optimizer_resume(mmrec_optimizer *o, const mmrec_optimizer_progress *progress, mmrec_error *error) {
    mmrec_adamw_state state;
    if (progress->step < 0 || !is_share(progress->power1) || !is_share(progress->power2)) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "an optimizer cannot go on from step %lld with products of its betas of %g and %g: the step must be "
                   "at least 0, the products from 0 to 1",
                   (long long)progress->step, progress->power1, progress->power2);
    }
    if (o->backend->synchronize) MMREC_TRY(o->backend->synchronize(error));
    MMREC_TRY(copy_out(o, &state, o->call.state, sizeof state, error));
    state.step = (double)progress->step;
    state.power1 = progress->power1;
    state.power2 = progress->power2;
    return copy_in(o, o->call.state, &state, sizeof state, error);
}

mmrec_status mmrec_optimizer_moments(const mmrec_optimizer *o, mmrec_tensor parameter, mmrec_view moments[2],
                                     mmrec_error *error) {
    const mmrec_graph *graph = mmrec_exec_graph(o->exec);
    mmrec_view state = mmrec_exec_optimizer(o->exec);
    char *at = state.data;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph); t++) {
        if (!is_parameter(graph, t)) continue;
        mmrec_shape shape = mmrec_graph_tensor_info(graph, t).shape;
        size_t bytes = (size_t)mmrec_shape_elements(&shape) * mmrec_dtype_bytes(state.dtype);
        for (int i = 0; i < 2; i++) moments[i] = mmrec_view_dense(at + (size_t)i * bytes, state.dtype, shape);
        if (t == parameter) return MMREC_OK;
        at += 2 * bytes;
    }
    MMREC_FAIL(error, MMREC_INTERNAL, "tensor %d has no moments: it is no parameter of the optimizer's graph",
               parameter);
}
