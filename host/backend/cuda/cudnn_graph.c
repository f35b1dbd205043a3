/* Graphs of cuDNN's operations (cudnn_graph.h). */
#include "cudnn_graph.h"

#include <string.h>

enum { ALIGNED = 16, ENGINES = 8, ROWS = 2, COLUMNS = 3 };
enum { KERNELS = 4 }; /* of a run, about: cuDNN does not tell */

void graph_begin(cudnn_graph *graph, const cudnn_calls *calls, cudnn_plan *plan) {
    memset(graph, 0, sizeof *graph);
    graph->calls = calls;
    graph->plan = plan;
}

/* ---- descriptors ---- */

static void note(cudnn_graph *graph, cudnnStatus_t code, const char *call) {
    if (graph->status == MMREC_OK) graph->status = cudnn_check(code, call, &graph->error);
}

static cudnnBackendDescriptor_t make(cudnn_graph *graph, cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t made = NULL;
    if (graph->status != MMREC_OK) return NULL;
    note(graph, graph->calls->BackendCreateDescriptor(type, &made), "cudnnBackendCreateDescriptor");
    if (graph->status == MMREC_OK) graph->plan->made[graph->plan->count++] = made;
    return made;
}

static void set(cudnn_graph *graph, cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    if (graph->status != MMREC_OK) return;
    note(graph, graph->calls->BackendSetAttribute(of, name, type, count, values), "cudnnBackendSetAttribute");
}

static void set_tensor(cudnn_graph *graph, cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name, int tensor) {
    set(graph, of, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph->tensor[tensor]);
}

static void set_type(cudnn_graph *graph, cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name,
                     cudnnDataType_t type) {
    set(graph, of, name, CUDNN_TYPE_DATA_TYPE, 1, &type);
}

static void finish(cudnn_graph *graph, cudnnBackendDescriptor_t of) {
    if (graph->status == MMREC_OK) note(graph, graph->calls->BackendFinalize(of), "cudnnBackendFinalize");
}

static void finish_op(cudnn_graph *graph, cudnnBackendDescriptor_t op) {
    finish(graph, op);
    if (graph->status == MMREC_OK) graph->op[graph->ops++] = op;
}

/* ---- tensors ---- */

int graph_tensor(cudnn_graph *graph, const graph_shape *shape, cudnnDataType_t type, graph_place place) {
    const int64_t alignment = ALIGNED, id = ++graph->tensors;
    const bool is_virtual = place == GRAPH_VIRTUAL, by_value = place == GRAPH_NUMBER;
    cudnnBackendDescriptor_t t = make(graph, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set_type(graph, t, CUDNN_ATTR_TENSOR_DATA_TYPE, type);
    set(graph, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, GRAPH_RANK, shape->size);
    set(graph, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, GRAPH_RANK, shape->stride);
    set(graph, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(graph, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(graph, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    set(graph, t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
    finish(graph, t);
    graph->tensor[id] = t;
    graph->shape[id] = *shape;
    return (int)id;
}

int graph_number(cudnn_graph *graph, cudnnDataType_t type) {
    return graph_tensor(graph, &(graph_shape){{1, 1, 1, 1}, {1, 1, 1, 1}}, type, GRAPH_NUMBER);
}

static graph_shape dense(int64_t a, int64_t b, int64_t rows, int64_t columns) {
    return (graph_shape){{a, b, rows, columns}, {b * rows * columns, rows * columns, columns, 1}};
}

/* A virtual tensor of the sizes of x, but for the last one. */
static int like(cudnn_graph *graph, int x, int64_t columns, cudnnDataType_t type) {
    const int64_t *size = graph->shape[x].size;
    const graph_shape shape = dense(size[0], size[1], size[ROWS], columns);
    return graph_tensor(graph, &shape, type, GRAPH_VIRTUAL);
}

/* ---- operations ---- */

void graph_product_into(cudnn_graph *graph, int a, int b, int c) {
    cudnnBackendDescriptor_t how = make(graph, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set_type(graph, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
    finish(graph, how);
    cudnnBackendDescriptor_t op = make(graph, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    set(graph, op, CUDNN_ATTR_OPERATION_MATMUL_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &how);
    set_tensor(graph, op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    set_tensor(graph, op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    set_tensor(graph, op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
    finish_op(graph, op);
}

int graph_product(cudnn_graph *graph, int a, int b) {
    int c = like(graph, a, graph->shape[b].size[COLUMNS], CUDNN_DATA_FLOAT);
    graph_product_into(graph, a, b, c);
    return c;
}

/* `axis` below 0: a function without one. */
static cudnnBackendDescriptor_t pointwise(cudnn_graph *graph, cudnnPointwiseMode_t mode, cudnnDataType_t computed,
                                          int64_t axis) {
    cudnnBackendDescriptor_t how = make(graph, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(graph, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set_type(graph, how, CUDNN_ATTR_POINTWISE_MATH_PREC, computed);
    if (axis >= 0) set(graph, how, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &axis);
    finish(graph, how);
    cudnnBackendDescriptor_t op = make(graph, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set(graph, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &how);
    return op;
}

static void connect(cudnn_graph *graph, cudnnBackendDescriptor_t op, int x, int b, int t, int y) {
    set_tensor(graph, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b) set_tensor(graph, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    if (t) set_tensor(graph, op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t);
    set_tensor(graph, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    finish_op(graph, op);
}

void graph_pointwise_into(cudnn_graph *graph, cudnnPointwiseMode_t mode, int x, int b, int y) {
    connect(graph, pointwise(graph, mode, CUDNN_DATA_FLOAT, -1), x, b, 0, y);
}

int graph_pointwise(cudnn_graph *graph, cudnnPointwiseMode_t mode, int x, int b, cudnnDataType_t type) {
    int y = like(graph, x, graph->shape[x].size[COLUMNS], type);
    cudnnDataType_t computed = type == CUDNN_DATA_BOOLEAN ? type : CUDNN_DATA_FLOAT;
    connect(graph, pointwise(graph, mode, computed, -1), x, b, 0, y);
    return y;
}

int graph_index(cudnn_graph *graph, int x, int axis) {
    int y = like(graph, x, graph->shape[x].size[COLUMNS], CUDNN_DATA_INT32);
    connect(graph, pointwise(graph, CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_FLOAT, axis), x, 0, 0, y);
    return y;
}

int graph_select(cudnn_graph *graph, int x, int b, int chosen) {
    int y = like(graph, x, graph->shape[x].size[COLUMNS], CUDNN_DATA_FLOAT);
    connect(graph, pointwise(graph, CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, -1), x, b, chosen, y);
    return y;
}

int graph_reduce(cudnn_graph *graph, cudnnReduceTensorOp_t mode, int x) {
    int y = like(graph, x, 1, CUDNN_DATA_FLOAT);
    cudnnBackendDescriptor_t how = make(graph, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set(graph, how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &mode);
    set_type(graph, how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    finish(graph, how);
    cudnnBackendDescriptor_t op = make(graph, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    set(graph, op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &how);
    set_tensor(graph, op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    set_tensor(graph, op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    finish_op(graph, op);
    return y;
}

int graph_turn(cudnn_graph *graph, int x, cudnnDataType_t type) {
    graph_shape shape = graph->shape[x];
    const graph_shape *s = &graph->shape[x];
    shape.size[ROWS] = s->size[COLUMNS], shape.size[COLUMNS] = s->size[ROWS];
    shape.stride[ROWS] = s->stride[COLUMNS], shape.stride[COLUMNS] = s->stride[ROWS];
    int y = graph_tensor(graph, &shape, type, GRAPH_VIRTUAL);
    cudnnBackendDescriptor_t op = make(graph, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    set_tensor(graph, op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    set_tensor(graph, op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
    finish_op(graph, op);
    return y;
}

/* ---- the plan ---- */

/* All of cuDNN's ways of saying that it does not do this are numbers of one thousand. */
static bool is_refusal(cudnnStatus_t code) { return code / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000; }

/* Engines for the graph, at most ENGINES; how many. */
static int find_engines(cudnn_graph *graph, cudnnHandle_t handle, cudnnBackendDescriptor_t *engine) {
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    int64_t count = 0;
    cudnnBackendDescriptor_t all = make(graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(graph, all, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    set(graph, all, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, graph->ops, graph->op);
    finish(graph, all);
    cudnnBackendDescriptor_t asked = make(graph, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set(graph, asked, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &all);
    set(graph, asked, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    for (int i = 0; i < ENGINES; i++) engine[i] = make(graph, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (graph->status != MMREC_OK) return 0;
    /* It is refused here where no engine fits. */
    cudnnStatus_t code = graph->calls->BackendFinalize(asked);
    bool asks = code == CUDNN_STATUS_SUCCESS;
    if (asks)
        code = graph->calls->BackendGetAttribute(asked, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                                 ENGINES, &count, engine);
    if (is_refusal(code)) return 0;
    note(graph, code, asks ? "cudnnBackendGetAttribute" : "cudnnBackendFinalize");
    if (graph->status != MMREC_OK) return 0;
    return count < ENGINES ? (int)count : ENGINES;
}

/* plan->run, unless the engine refuses. */
static void try_engine(cudnn_graph *graph, cudnnHandle_t handle, cudnnBackendDescriptor_t engine) {
    cudnn_plan *plan = graph->plan;
    int64_t count = 0, bytes = 0;
    cudnnBackendDescriptor_t run = make(graph, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set(graph, run, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    set(graph, run, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engine);
    if (graph->status != MMREC_OK) return;
    cudnnStatus_t code = graph->calls->BackendFinalize(run);
    if (is_refusal(code)) return;
    note(graph, code, "cudnnBackendFinalize");
    if (graph->status != MMREC_OK) return;
    note(graph,
         graph->calls->BackendGetAttribute(run, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
                                           &bytes),
         "cudnnBackendGetAttribute");
    if (graph->status != MMREC_OK) return;
    plan->run = run;
    plan->work_bytes = (size_t)bytes;
}

mmrec_status graph_plan(cudnn_graph *graph, cudnnHandle_t handle, mmrec_error *error) {
    cudnnBackendDescriptor_t engine[ENGINES];
    int engines = find_engines(graph, handle, engine);
    for (int i = 0; i < engines && !graph->plan->run && graph->status == MMREC_OK; i++)
        try_engine(graph, handle, engine[i]);
    if (graph->status != MMREC_OK) *error = graph->error;
    return graph->status;
}

void graph_plan_end(const cudnn_calls *calls, cudnn_plan *plan) {
    while (plan->count > 0) calls->BackendDestroyDescriptor(plan->made[--plan->count]);
    memset(plan, 0, sizeof *plan);
}

/* ---- running ---- */

void graph_at(graph_places *places, int tensor, const void *at) {
    places->id[places->count] = tensor;
    places->at[places->count++] = (void *)(uintptr_t)at;
}

mmrec_status graph_run(const cudnn_calls *calls, cudnnHandle_t handle, const cudnn_plan *plan,
                       const graph_places *places, void *work, mmrec_error *error) {
    cudnn_plan moment = {.count = 0};
    cudnn_graph pack;
    graph_begin(&pack, calls, &moment);
    cudnnBackendDescriptor_t all = make(&pack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    set(&pack, all, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, places->count, places->id);
    set(&pack, all, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, places->count, places->at);
    set(&pack, all, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &work);
    finish(&pack, all);
    if (pack.status != MMREC_OK)
        *error = pack.error;
    else
        pack.status =
            cudnn_queued(calls->BackendExecute(handle, plan->run, all), "cudnnBackendExecute", KERNELS, error);
    graph_plan_end(calls, &moment);
    return pack.status;
}
