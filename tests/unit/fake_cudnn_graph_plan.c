/* Graphs, plans and runs, made of the descriptors of fake_cudnn_graph.c. */
#include "fake_cudnn_graph.h"

#include <stdlib.h>

enum { CONFIGURATIONS = 2 };

/* ---- attributes ---- */

/* The first element of an attribute; -1, false or NULL where there is none. */
static int enum_of(const descriptor *d, cudnnBackendAttributeName_t name) {
    return fake_find(d, name) ? *(const int *)fake_find(d, name)->elements : -1;
}
static int64_t int_of(const descriptor *d, cudnnBackendAttributeName_t name) {
    return fake_find(d, name) ? *(const int64_t *)fake_find(d, name)->elements : -1;
}
static bool bool_of(const descriptor *d, cudnnBackendAttributeName_t name) {
    return fake_find(d, name) && *(const bool *)fake_find(d, name)->elements;
}
static void *pointer_of(const descriptor *d, cudnnBackendAttributeName_t name) {
    return fake_find(d, name) ? *(void *const *)fake_find(d, name)->elements : NULL;
}

#define NONE CUDNN_ATTR_ENGINEHEUR_RESULTS /* which no descriptor keeps */

const operation_names *fake_operation_names(cudnnBackendDescriptorType_t kind) {
    static const operation_names all[] = {
        {CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, CUDNN_ATTR_OPERATION_MATMUL_DESC, CUDNN_ATTR_OPERATION_MATMUL_ADESC,
         CUDNN_ATTR_OPERATION_MATMUL_BDESC, NONE, CUDNN_ATTR_OPERATION_MATMUL_CDESC},
        {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
         CUDNN_ATTR_OPERATION_POINTWISE_TDESC, CUDNN_ATTR_OPERATION_POINTWISE_YDESC},
        {CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, CUDNN_ATTR_OPERATION_REDUCTION_DESC,
         CUDNN_ATTR_OPERATION_REDUCTION_XDESC, NONE, NONE, CUDNN_ATTR_OPERATION_REDUCTION_YDESC},
        {CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, NONE, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, NONE, NONE,
         CUDNN_ATTR_OPERATION_RESHAPE_YDESC},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i].kind == kind) return &all[i];
    }
    return NULL;
}

/* ---- tensors ---- */

/* Fewer axes than four get first ones of size 1. */
static fake_tensor read_tensor(const descriptor *d) {
    const attribute *sizes = fake_find(d, CUDNN_ATTR_TENSOR_DIMENSIONS),
                    *strides = fake_find(d, CUDNN_ATTR_TENSOR_STRIDES);
    fake_tensor t = {.id = int_of(d, CUDNN_ATTR_TENSOR_UNIQUE_ID),
                     .alignment = int_of(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT),
                     .size = {1, 1, 1, 1},
                     .stride = {1, 1, 1, 1},
                     .type = (cudnnDataType_t)enum_of(d, CUDNN_ATTR_TENSOR_DATA_TYPE),
                     .axes = (int)sizes->count,
                     .is_virtual = bool_of(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL),
                     .by_value = bool_of(d, CUDNN_ATTR_TENSOR_IS_BY_VALUE)};
    for (int64_t i = 0; i < sizes->count; i++) {
        t.size[FAKE_AXES - sizes->count + i] = ((const int64_t *)sizes->elements)[i];
        t.stride[FAKE_AXES - sizes->count + i] = ((const int64_t *)strides->elements)[i];
    }
    return t;
}

static bool value_good(const fake_tensor *t) {
    for (int i = 0; i < FAKE_AXES; i++) {
        if (t->size[i] != 1) return false;
    }
    return !t->is_virtual && (t->type == CUDNN_DATA_FLOAT || t->type == CUDNN_DATA_INT32);
}

cudnnStatus_t fake_check_tensor(const descriptor *d) {
    int64_t axes = fake_find(d, CUDNN_ATTR_TENSOR_DIMENSIONS)->count;
    if (axes != fake_find(d, CUDNN_ATTR_TENSOR_STRIDES)->count) return CUDNN_STATUS_BAD_PARAM;
    if (axes > FAKE_AXES) return CUDNN_STATUS_NOT_SUPPORTED;
    const fake_tensor t = read_tensor(d);
    if (fake_tensor_element_bytes(&t) == 0) return CUDNN_STATUS_NOT_SUPPORTED;
    for (int i = 0; i < FAKE_AXES; i++) {
        if (t.size[i] < 1 || t.stride[i] < 1) return CUDNN_STATUS_BAD_PARAM;
    }
    bool aligned = t.alignment > 0 && (t.alignment & (t.alignment - 1)) == 0;
    return aligned && (!t.by_value || value_good(&t)) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

/* ---- graphs ---- */

/* The place of a tensor in the graph, which it is added to if it is not there; -1: there is none, or no room, or
 * another has its id (`good` becomes false). */
static int add_tensor(fake_graph *g, const descriptor **seen, const descriptor *tensor, bool *good) {
    if (!tensor) return -1;
    for (int i = 0; i < g->tensors; i++) {
        if (seen[i] == tensor) return i;
        if (g->tensor[i].id == int_of(tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID)) *good = false;
    }
    if (g->tensors == FAKE_MOST_TENSORS) *good = false;
    if (!*good) return -1;
    seen[g->tensors] = tensor;
    g->tensor[g->tensors] = read_tensor(tensor);
    return g->tensors++;
}

static int mode_of(const descriptor *operation) {
    const descriptor *how = pointer_of(operation, fake_operation_names(operation->kind)->how);
    if (!how || how->kind == CUDNN_BACKEND_MATMUL_DESCRIPTOR) return 0;
    bool reduction = how->kind == CUDNN_BACKEND_REDUCTION_DESCRIPTOR;
    return enum_of(how, reduction ? CUDNN_ATTR_REDUCTION_OPERATOR : CUDNN_ATTR_POINTWISE_MODE);
}

static int axis_of(const descriptor *operation) {
    const descriptor *how = pointer_of(operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    return how ? (int)int_of(how, CUDNN_ATTR_POINTWISE_AXIS) : -1;
}

static bool add_operation(fake_graph *g, const descriptor **seen, const descriptor *d) {
    const operation_names *n = fake_operation_names(d->kind);
    bool good = g->operations < FAKE_MOST_OPERATIONS;
    const fake_operation o = {.kind = d->kind,
                              .mode = mode_of(d),
                              .axis = axis_of(d),
                              .x = add_tensor(g, seen, pointer_of(d, n->x), &good),
                              .b = add_tensor(g, seen, pointer_of(d, n->b), &good),
                              .t = add_tensor(g, seen, pointer_of(d, n->t), &good),
                              .y = add_tensor(g, seen, pointer_of(d, n->y), &good)};
    if (good) g->operation[g->operations++] = o;
    return good;
}

/* An input that is virtual has been made; a result is made once, and not after it was read. */
static bool in_order(fake_graph *g) {
    bool read[FAKE_MOST_TENSORS] = {false};
    for (int i = 0; i < g->operations; i++) {
        const fake_operation *o = &g->operation[i];
        const int inputs[3] = {o->x, o->b, o->t};
        for (int k = 0; k < 3; k++) {
            if (inputs[k] < 0) continue;
            if (g->tensor[inputs[k]].is_virtual && !g->tensor[inputs[k]].written) return false;
            read[inputs[k]] = true;
        }
        fake_tensor *y = &g->tensor[o->y];
        if (y->written || y->by_value || read[o->y]) return false;
        y->written = true;
    }
    return true;
}

/* Products and reductions are summed in float. */
static bool sums_good(const descriptor *operation) {
    const descriptor *how = pointer_of(operation, fake_operation_names(operation->kind)->how);
    if (!how || how->kind == CUDNN_BACKEND_POINTWISE_DESCRIPTOR) return true;
    bool reduction = how->kind == CUDNN_BACKEND_REDUCTION_DESCRIPTOR;
    return enum_of(how, reduction ? CUDNN_ATTR_REDUCTION_COMP_TYPE : CUDNN_ATTR_MATMUL_COMP_TYPE) == CUDNN_DATA_FLOAT;
}

cudnnStatus_t fake_check_operation(const descriptor *d) {
    const descriptor *seen[4]; /* x, b, t, y */
    fake_graph *g = calloc(1, sizeof *g);
    if (!g) return CUDNN_STATUS_BAD_PARAM;
    bool good = add_operation(g, seen, d) && fake_operation_fits(g, &g->operation[0]);
    free(g);
    if (!good) return CUDNN_STATUS_BAD_PARAM;
    return sums_good(d) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}

cudnnStatus_t fake_make_graph(descriptor *d) {
    const descriptor *seen[FAKE_MOST_TENSORS];
    const attribute *all = fake_find(d, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    if (!pointer_of(d, CUDNN_ATTR_OPERATIONGRAPH_HANDLE)) return CUDNN_STATUS_BAD_PARAM;
    fake_graph *g = calloc(1, sizeof *g);
    bool good = g != NULL;
    for (int64_t i = 0; good && i < all->count; i++) good = add_operation(g, seen, ((descriptor **)all->elements)[i]);
    if (good && in_order(g))
        d->graph = g;
    else
        free(g);
    return d->graph ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

/* ---- engines ---- */

static const fake_operation *first_product(const fake_graph *g) {
    for (int i = 0; i < g->operations; i++) {
        if (g->operation[i].kind == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) return &g->operation[i];
    }
    return NULL;
}

static bool product_supported(const fake_graph *g, const fake_operation *o) {
    return g->tensor[o->x].type == CUDNN_DATA_BFLOAT16 && g->tensor[o->b].type == CUDNN_DATA_BFLOAT16;
}

static bool tensor_supported(const fake_tensor *t) {
    bool dense = false;
    for (int i = 0; i < FAKE_AXES; i++) dense |= t->stride[i] == 1;
    return t->axes == FAKE_AXES && (dense || t->is_virtual || t->type != CUDNN_DATA_BFLOAT16);
}

/* What there are engines for: four axes everywhere; at most one maximum; factors of products are bf16; the first
 * product sums over a multiple of 8, of at most 128; bf16 tensors in memory have an axis of stride 1. */
static bool supported(const fake_graph *g) {
    const fake_operation *product = first_product(g);
    int maxima = 0;
    for (int i = 0; i < g->tensors; i++) {
        if (!tensor_supported(&g->tensor[i])) return false;
    }
    for (int i = 0; i < g->operations; i++) {
        const fake_operation *o = &g->operation[i];
        if (o->kind == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR && !product_supported(g, o)) return false;
        maxima += o->kind == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR && o->mode == CUDNN_REDUCE_TENSOR_MAX;
    }
    int64_t width = product ? g->tensor[product->x].size[3] : 0;
    return product && maxima <= 1 && width % 8 == 0 && width <= 128;
}

static size_t work_bytes(const fake_graph *g, int rank) {
    return 256 * ((size_t)rank + 1) + 4 * (size_t)g->tensor[first_product(g)->y].size[2];
}

static bool fill_in(descriptor *config, int rank, const descriptor *heuristic) {
    if (!fake_lives(config) || config->kind != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR || config->finalized) return false;
    config->rank = rank;
    return config->finalized = fake_keep(config, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, 1,
                                         fake_find(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)->elements);
}

cudnnStatus_t fake_offer(const descriptor *heuristic, int64_t most, int64_t *count, descriptor *const *configs) {
    const descriptor *graph = pointer_of(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    if (!fake_whole(heuristic)) return CUDNN_STATUS_BAD_PARAM;
    *count = supported(graph->graph) ? CONFIGURATIONS : 0;
    for (int i = 0; i < *count && i < most; i++) {
        if (!fill_in(configs[i], i, heuristic)) return CUDNN_STATUS_BAD_PARAM;
    }
    return CUDNN_STATUS_SUCCESS;
}

/* "configuration:0 " among what fails: as if the first one offered could not be built after all. */
cudnnStatus_t fake_make_plan(descriptor *d) {
    const descriptor *config = pointer_of(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    const descriptor *graph = pointer_of(config, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    if (!pointer_of(d, CUDNN_ATTR_EXECUTION_PLAN_HANDLE)) return CUDNN_STATUS_BAD_PARAM;
    cudnnStatus_t code = fake_note("configuration", config->rank, CUDNN_STATUS_NOT_SUPPORTED);
    if (code != CUDNN_STATUS_SUCCESS) return code;
    d->graph = malloc(sizeof *d->graph);
    if (!d->graph) return CUDNN_STATUS_BAD_PARAM;
    *d->graph = *graph->graph;
    d->rank = config->rank;
    d->graph->work_bytes = work_bytes(d->graph, d->rank);
    return CUDNN_STATUS_SUCCESS;
}

/* ---- a run ---- */

cudnnStatus_t fake_check_pack(const descriptor *d) {
    const attribute *ids = fake_find(d, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const int64_t *id = ids->elements;
    if (ids->count != fake_find(d, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)->count) return CUDNN_STATUS_BAD_PARAM;
    for (int64_t i = 0; i < ids->count; i++) {
        for (int64_t k = 0; k < i; k++) {
            if (id[k] == id[i]) return CUDNN_STATUS_BAD_PARAM;
        }
    }
    return CUDNN_STATUS_SUCCESS;
}

static void *pointer_to(const descriptor *pack, int64_t id) {
    const attribute *ids = fake_find(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    for (int64_t i = 0; i < ids->count; i++) {
        if (((const int64_t *)ids->elements)[i] == id)
            return ((void **)fake_find(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)->elements)[i];
    }
    return NULL;
}

/* A value is read now: who gave it may not keep it. */
static bool bind(fake_tensor *t, const descriptor *pack) {
    if (t->is_virtual) return true;
    t->at = pointer_to(pack, t->id);
    if (!t->at) return false;
    if (!t->by_value) return (uintptr_t)t->at % (uintptr_t)t->alignment == 0;
    t->value = t->type == CUDNN_DATA_INT32 ? *(const int32_t *)t->at : (double)*(const float *)t->at;
    return true;
}

static bool may_run(cudnnHandle_t handle, const descriptor *plan, const descriptor *pack) {
    return handle && fake_lives(plan) && plan->kind == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR && plan->finalized &&
           fake_lives(pointer_of(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)) && fake_lives(pack) &&
           pack->kind == CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR && pack->finalized;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
    const descriptor *p = plan;
    if (!may_run(handle, plan, pack)) return CUDNN_STATUS_BAD_PARAM;
    fake_graph g = *p->graph;
    cudnnStatus_t code = fake_note("BackendExecute", p->rank, CUDNN_STATUS_EXECUTION_FAILED);
    if (code != CUDNN_STATUS_SUCCESS) return code;
    g.work = pointer_of(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    if (!g.work && g.work_bytes) return CUDNN_STATUS_BAD_PARAM;
    for (int i = 0; i < g.tensors; i++) {
        if (!bind(&g.tensor[i], pack)) return CUDNN_STATUS_BAD_PARAM;
    }
    return fake_cudnn_queue(handle, "BackendExecute", fake_graph_run, &g, sizeof g);
}
