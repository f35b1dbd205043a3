/* Running a planned graph: arenas allocated once, every call's pointers resolved once, then nodes in order.
 *
 * This is the only file that reads clocks around nodes or opens NVTX ranges. */
#include "core/clock.h"
#include "exec_impl.h"
#include "nvtx.h"

#include <string.h>

static bool owns(const mmrec_exec *exec, int arena) { return arena != MMREC_ARENA_PARAMS || exec->owner == exec; }

/* ---- creation ---- */

/* Does this parameter lie in the owner's memory where it lies in the plan of this exec? */
static bool same_place(const mmrec_exec *exec, mmrec_tensor here) {
    const mmrec_exec *owner = exec->owner;
    const graph_tensor *tensor = graph_tensor_at(exec->graph, here);
    mmrec_tensor there = mmrec_graph_find(owner->graph, tensor->name);
    if (!there) return false;
    const graph_tensor *other = graph_tensor_at(owner->graph, there);
    const mmrec_plan_entry *a = mmrec_plan_find(exec->plan, here), *b = mmrec_plan_find(owner->plan, there);
    return a && b && a->arena == b->arena && a->offset == b->offset && tensor->offset == other->offset &&
           tensor->dtype == other->dtype && mmrec_shape_equal(&tensor->shape, &other->shape);
}

static mmrec_status check_shared(const mmrec_exec *exec, mmrec_error *error) {
    size_t here = mmrec_plan_arena_bytes(exec->plan, MMREC_ARENA_PARAMS);
    size_t there = exec->owner->arena_bytes[MMREC_ARENA_PARAMS];
    if (here != there) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "parameters cannot be shared: %zu bytes here, %zu bytes in the owner: the two were built from "
                   "different models",
                   here, there);
    }
    for (mmrec_tensor t = 1; t <= (mmrec_tensor)exec->graph->tensor_count; t++) {
        mmrec_tensor_kind kind = graph_tensor_at(exec->graph, t)->kind;
        if ((kind != MMREC_TENSOR_PARAM && kind != MMREC_TENSOR_STACK) || same_place(exec, t)) continue;
        MMREC_FAIL(error, MMREC_CONFIG,
                   "parameters cannot be shared: the owner has no \"%s\" at the same place: the two were built from "
                   "different models",
                   graph_tensor_at(exec->graph, t)->name);
    }
    return MMREC_OK;
}

static mmrec_status allocate_arenas(mmrec_exec *exec, mmrec_error *error) {
    MMREC_TRY(mmrec_exec_fits(exec->backend, exec->plan, exec->owner != exec, error));
    for (int a = 0; a < MMREC_ARENAS; a++) {
        size_t bytes = mmrec_plan_arena_bytes(exec->plan, (mmrec_arena)a);
        if (!owns(exec, a)) {
            MMREC_TRY(check_shared(exec, error));
            exec->arena[a] = exec->owner->arena[a];
            exec->arena_bytes[a] = bytes;
            continue;
        }
        if (!bytes) continue;
        MMREC_TRY_WHILE(exec->backend->alloc(exec->allocator, (mmrec_arena)a, bytes, &exec->arena[a], error), error,
                        "allocating the %s arena of %zu bytes", mmrec_arena_name((mmrec_arena)a), bytes);
        exec->arena_bytes[a] = bytes;
    }
    return MMREC_OK;
}

mmrec_view mmrec_exec_view(const mmrec_exec *exec, mmrec_tensor tensor) {
    mmrec_view view;
    memset(&view, 0, sizeof view);
    if (!tensor) return view;
    const graph_tensor *t = graph_tensor_at(exec->graph, tensor);
    view.dtype = t->dtype;
    view.shape = t->shape;
    view.stride = t->stride;
    const mmrec_plan_entry *entry = mmrec_plan_find(exec->plan, tensor);
    if (!entry) return view;
    view.data = (char *)exec->arena[entry->arena] + entry->offset + (size_t)t->offset * mmrec_dtype_bytes(t->dtype);
    return view;
}

const mmrec_backend *mmrec_exec_backend(const mmrec_exec *exec) { return exec->backend; }
const mmrec_graph *mmrec_exec_graph(const mmrec_exec *exec) { return exec->graph; }

static mmrec_view arena_view(const mmrec_exec *exec, mmrec_arena arena) {
    size_t elements = exec->arena_bytes[arena] / mmrec_dtype_bytes(exec->graph->real);
    return mmrec_view_dense(exec->arena[arena], exec->graph->real, mmrec_shape1((int64_t)elements));
}

mmrec_view mmrec_exec_optimizer(const mmrec_exec *exec) { return arena_view(exec, MMREC_ARENA_OPTIMIZER); }
mmrec_view mmrec_exec_gradients(const mmrec_exec *exec) { return arena_view(exec, MMREC_ARENA_GRADS); }

static void resolve_call(const mmrec_exec *exec, size_t n) {
    const graph_node *node = &exec->graph->nodes[n];
    mmrec_op_call *call = &exec->calls[n];
    call->sizes = &node->sizes;
    call->accumulate = node->accumulate;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        call->in[i] = mmrec_exec_view(exec, node->in[i]);
        /* A backward function may ask for the shape of an input it does not read. */
        if (!node->in[i]) call->in[i].shape = node->sizes.in[i];
        call->d_in[i] = mmrec_exec_view(exec, node->d_in[i]);
    }
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        call->out[i] = mmrec_exec_view(exec, node->out[i]);
        if (!node->out[i]) call->out[i].shape = node->sizes.out[i];
        call->d_out[i] = mmrec_exec_view(exec, node->d_out[i]);
    }
    for (int i = 0; i < MMREC_MAX_SAVED; i++) call->saved[i] = mmrec_exec_view(exec, node->saved[i]);
    const mmrec_plan_entry *scratch = mmrec_plan_scratch(exec->plan, (int)n);
    call->seed_at = exec->backend->device ? exec->backend->device->seed_at : NULL;
    call->scratch = scratch ? (char *)exec->arena[scratch->arena] + scratch->offset : NULL;
}

static mmrec_status prepare_trace(mmrec_exec *exec, mmrec_error *error) {
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(exec->allocator, exec->node_count, sizeof(mmrec_trace_record), MMREC_ALLOC_TRACE,
                               &memory, error));
    exec->trace = memory;
    for (size_t n = 0; n < exec->node_count; n++) {
        const graph_node *node = &exec->graph->nodes[n];
        mmrec_trace_record *record = &exec->trace[n];
        record->node = (int)n;
        record->op = node->op;
        record->pass = node->pass;
        record->layer = node->layer;
        record->work = mmrec_op_work(graph_op_def(exec->graph, node->op), &node->sizes, node->pass, node->storage);
        record->finite = true;
    }
    return MMREC_OK;
}

static mmrec_status prepare_device(mmrec_exec *exec, mmrec_exec_options options, mmrec_error *error) {
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(exec->allocator, 1, EXEC_STAGING_BYTES, MMREC_ALLOC_EXEC, &memory, error));
    exec->staging = memory;
    exec->graphs = options.graphs && !options.trace && !options.check_finite;
    return MMREC_OK;
}

static mmrec_status prepare(mmrec_exec *exec, mmrec_exec_options options, mmrec_error *error) {
    MMREC_TRY(allocate_arenas(exec, error));
    if (exec->backend->device) MMREC_TRY(prepare_device(exec, options, error));
    void *memory = NULL;
    if (!exec->node_count) return MMREC_OK;
    MMREC_TRY(
        mmrec_alloc_zero(exec->allocator, exec->node_count, sizeof(mmrec_op_call), MMREC_ALLOC_EXEC, &memory, error));
    exec->calls = memory;
    for (size_t n = 0; n < exec->node_count; n++) resolve_call(exec, n);
    if (!options.trace && !options.check_finite) return MMREC_OK;
    MMREC_TRY(prepare_trace(exec, error));
    return exec->backend->device ? exec_events_create(exec, error) : MMREC_OK;
}

mmrec_status mmrec_exec_create(mmrec_allocator *allocator, const mmrec_backend *backend, const mmrec_graph *graph,
                               const mmrec_plan *plan, mmrec_exec_options options, mmrec_exec **out,
                               mmrec_error *error) {
    *out = NULL;
    if (backend->real != graph->real) {
        MMREC_FAIL(error, MMREC_UNSUPPORTED, "backend %s computes in %s, the graph in %s", backend->name,
                   mmrec_dtype_name(backend->real), mmrec_dtype_name(graph->real));
    }
    MMREC_TRY(mmrec_backend_stores(backend, graph->storage, error));
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof(mmrec_exec), MMREC_ALLOC_EXEC, &memory, error));
    mmrec_exec *exec = memory;
    exec->allocator = allocator;
    exec->backend = backend;
    exec->graph = graph;
    exec->plan = plan;
    exec->owner = options.params_from ? options.params_from->owner : exec;
    exec->node_count = graph->node_count;
    exec->check_finite = options.check_finite;
    exec->version = 1;
    mmrec_status status = prepare(exec, options, error);
    if (status != MMREC_OK) {
        mmrec_exec_destroy(&exec);
        return status;
    }
    *out = exec;
    return MMREC_OK;
}

void mmrec_exec_destroy(mmrec_exec **exec_pointer) {
    mmrec_exec *exec = *exec_pointer;
    if (!exec) return;
    mmrec_allocator *allocator = exec->allocator;
    exec_device_release(exec);
    for (int a = 0; a < MMREC_ARENAS; a++) {
        if (owns(exec, a) && exec->arena[a]) {
            exec->backend->free(allocator, (mmrec_arena)a, exec->arena[a], exec->arena_bytes[a]);
        }
    }
    if (exec->calls) mmrec_alloc(allocator, exec->calls, exec->node_count * sizeof(mmrec_op_call), 0, MMREC_ALLOC_EXEC);
    if (exec->trace) {
        mmrec_alloc(allocator, exec->trace, exec->node_count * sizeof(mmrec_trace_record), 0, MMREC_ALLOC_TRACE);
    }
    mmrec_alloc(allocator, exec, sizeof(mmrec_exec), 0, MMREC_ALLOC_EXEC);
    *exec_pointer = NULL;
}

/* ---- settings ---- */

void mmrec_exec_params_changed(mmrec_exec *exec) { exec->owner->version++; }
void mmrec_exec_seed(mmrec_exec *exec, uint64_t seed) { exec->seed = seed; }

const mmrec_trace_record *mmrec_exec_trace(const mmrec_exec *exec, int *count) {
    *count = (int)exec->node_count;
    return exec->trace;
}

/* ---- running ---- */

/* The call inside what is watched about it: on the host the clock around it, on a device events. */
static mmrec_status run_watched(mmrec_exec *exec, size_t n, mmrec_error *error) {
    const graph_node *node = &exec->graph->nodes[n];
    const mmrec_op_call *call = &exec->calls[n];
    mmrec_trace_record *record = &exec->trace[n];
    uint64_t start = core_clock_ns();
    if (exec->events) MMREC_TRY(exec_event_start(exec, n, error));
    mmrec_status status = exec->backend->run(node->op, node->pass, call, error);
    if (exec->events) {
        mmrec_status stopped = exec_event_stop(exec, n, status == MMREC_OK ? error : NULL);
        if (status == MMREC_OK) status = stopped;
    }
    record->ns = exec->events ? 0 : core_clock_ns() - start;
    record->finite = true;
    if (status == MMREC_OK && exec->check_finite) status = exec_call_finite(exec, node, call, &record->finite, error);
    return status;
}

static mmrec_status run_node(mmrec_exec *exec, size_t n, mmrec_error *error) {
    const graph_node *node = &exec->graph->nodes[n];
    mmrec_op_call *call = &exec->calls[n];
    call->seed = exec->seed;
    mmrec_nvtx_push_node(node->op, node->pass, node->phase, node->layer, (int)n);
    mmrec_status status =
        exec->trace ? run_watched(exec, n, error) : exec->backend->run(node->op, node->pass, call, error);
    mmrec_nvtx_pop();
    if (status != MMREC_OK) {
        mmrec_error_frame(error, "running node %zu (%s %s, block %d)", n, graph_op_def(exec->graph, node->op)->name,
                          node->pass == MMREC_FORWARD ? "forward" : "backward", node->layer);
    }
    return status;
}

/* The nodes of a phase, those of one block inside a range of their own. */
static mmrec_status run_nodes(mmrec_exec *exec, mmrec_phase phase, mmrec_error *error) {
    int open = -1;
    mmrec_status status = MMREC_OK;
    for (size_t n = 0; n < exec->node_count && status == MMREC_OK; n++) {
        const graph_node *node = &exec->graph->nodes[n];
        if (node->phase != phase) continue;
        if (node->layer != open) {
            if (open >= 0) mmrec_nvtx_pop();
            if (node->layer >= 0) mmrec_nvtx_push_block(phase, node->layer);
            open = node->layer;
        }
        status = run_node(exec, n, error);
    }
    if (open >= 0) mmrec_nvtx_pop();
    return status;
}

static mmrec_status run_phase(mmrec_exec *exec, mmrec_phase phase, mmrec_error *error) {
    if (exec->backend->device) MMREC_TRY(exec->backend->device->seed(exec->seed, error));
    mmrec_nvtx_push_phase(phase);
    mmrec_status status =
        exec->graphs ? exec_run_recorded(exec, phase, run_nodes, error) : run_nodes(exec, phase, error);
    mmrec_nvtx_pop();
    return status;
}

static mmrec_status refresh_if_stale(mmrec_exec *exec, mmrec_error *error) {
    if (exec->refreshed == exec->owner->version) return MMREC_OK;
    MMREC_TRY(run_phase(exec, MMREC_PHASE_REFRESH, error));
    exec->refreshed = exec->owner->version;
    return MMREC_OK;
}

mmrec_status mmrec_exec_queue(mmrec_exec *exec, mmrec_phase phase, mmrec_error *error) {
    if (phase == MMREC_PHASE_REFRESH) {
        exec->refreshed = 0;
        return refresh_if_stale(exec, error);
    }
    if (phase == MMREC_PHASE_FORWARD) {
        exec->forward = 0;
        MMREC_TRY(refresh_if_stale(exec, error));
        MMREC_TRY(run_phase(exec, MMREC_PHASE_FORWARD, error));
        exec->forward = exec->owner->version;
        return MMREC_OK;
    }
    /* The backward phase reuses the memory of saved values as it goes, so it runs once per forward; and it reads the
     * parameters again, which must be those of the forward phase. */
    uint64_t forward = exec->forward;
    if (!forward) MMREC_FAIL(error, MMREC_INTERNAL, "a backward phase needs a forward phase just before it");
    exec->forward = 0;
    if (forward != exec->owner->version) {
        MMREC_FAIL(error, MMREC_INTERNAL, "the parameters changed between the forward and the backward phase");
    }
    return run_phase(exec, MMREC_PHASE_BACKWARD, error);
}

/* Waits for a device; its times of nodes are known then. */
static mmrec_status finish(mmrec_exec *exec, mmrec_phase phase, mmrec_error *error) {
    if (exec->backend->synchronize) MMREC_TRY(exec->backend->synchronize(error));
    return exec->events ? exec_events_read(exec, phase, error) : MMREC_OK;
}

mmrec_status mmrec_exec_run(mmrec_exec *exec, mmrec_phase phase, mmrec_error *error) {
    MMREC_TRY(mmrec_exec_queue(exec, phase, error));
    mmrec_status status = finish(exec, phase, error);
    if (status != MMREC_OK) exec->forward = 0;
    return status;
}

void mmrec_exec_capture(const mmrec_backend *backend, bool on) {
    if (on && backend->device) backend->device->profiler(true);
    if (on)
        mmrec_nvtx_push_capture();
    else
        mmrec_nvtx_pop();
    if (!on && backend->device) backend->device->profiler(false);
}
