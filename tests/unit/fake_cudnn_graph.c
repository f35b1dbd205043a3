/* cuDNN's graph API: descriptors that keep what was set, each checked when it is finalized. What a descriptor refers to
 * has to live until the plan is finalized, and an engine configuration as long as its plan: cuDNN's pages do not say
 * that it could end before. */
#include "fake_cudnn_graph.h"

#include <stdlib.h>
#include <string.h>

extern int fake_cudnn_alive;

enum { MOST_AXES = 8, ANY_OPERATION = -1 };

static descriptor *alive; /* all */

/* ---- attributes ---- */

typedef struct rule {
    cudnnBackendDescriptorType_t kind;
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t most;
    bool needed;
    int refers_to; /* of attributes that are descriptors: their kind */
} rule;

#define ONE(kind, name, type) CUDNN_BACKEND_##kind##_DESCRIPTOR, CUDNN_ATTR_##name, CUDNN_TYPE_##type, 1, true, 0
#define MAY(kind, name, type) CUDNN_BACKEND_##kind##_DESCRIPTOR, CUDNN_ATTR_##name, CUDNN_TYPE_##type, 1, false, 0
#define SOME(kind, name, type, most)                                                                                   \
    CUDNN_BACKEND_##kind##_DESCRIPTOR, CUDNN_ATTR_##name, CUDNN_TYPE_##type, most, true, 0
#define REFERS(kind, name, needed, to)                                                                                 \
    CUDNN_BACKEND_##kind##_DESCRIPTOR, CUDNN_ATTR_##name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, needed,                    \
        CUDNN_BACKEND_##to##_DESCRIPTOR

static const rule rules[] = {
    {ONE(TENSOR, TENSOR_UNIQUE_ID, INT64)},
    {ONE(TENSOR, TENSOR_DATA_TYPE, DATA_TYPE)},
    {SOME(TENSOR, TENSOR_DIMENSIONS, INT64, MOST_AXES)},
    {SOME(TENSOR, TENSOR_STRIDES, INT64, MOST_AXES)},
    {ONE(TENSOR, TENSOR_BYTE_ALIGNMENT, INT64)},
    {MAY(TENSOR, TENSOR_IS_VIRTUAL, BOOLEAN)},
    {MAY(TENSOR, TENSOR_IS_BY_VALUE, BOOLEAN)},
    {ONE(MATMUL, MATMUL_COMP_TYPE, DATA_TYPE)},
    {REFERS(OPERATION_MATMUL, OPERATION_MATMUL_DESC, true, MATMUL)},
    {REFERS(OPERATION_MATMUL, OPERATION_MATMUL_ADESC, true, TENSOR)},
    {REFERS(OPERATION_MATMUL, OPERATION_MATMUL_BDESC, true, TENSOR)},
    {REFERS(OPERATION_MATMUL, OPERATION_MATMUL_CDESC, true, TENSOR)},
    {ONE(POINTWISE, POINTWISE_MODE, POINTWISE_MODE)},
    {ONE(POINTWISE, POINTWISE_MATH_PREC, DATA_TYPE)},
    {MAY(POINTWISE, POINTWISE_AXIS, INT64)},
    {REFERS(OPERATION_POINTWISE, OPERATION_POINTWISE_PW_DESCRIPTOR, true, POINTWISE)},
    {REFERS(OPERATION_POINTWISE, OPERATION_POINTWISE_XDESC, true, TENSOR)},
    {REFERS(OPERATION_POINTWISE, OPERATION_POINTWISE_BDESC, false, TENSOR)},
    {REFERS(OPERATION_POINTWISE, OPERATION_POINTWISE_TDESC, false, TENSOR)},
    {REFERS(OPERATION_POINTWISE, OPERATION_POINTWISE_YDESC, true, TENSOR)},
    {ONE(REDUCTION, REDUCTION_OPERATOR, REDUCTION_OPERATOR_TYPE)},
    {ONE(REDUCTION, REDUCTION_COMP_TYPE, DATA_TYPE)},
    {REFERS(OPERATION_REDUCTION, OPERATION_REDUCTION_DESC, true, REDUCTION)},
    {REFERS(OPERATION_REDUCTION, OPERATION_REDUCTION_XDESC, true, TENSOR)},
    {REFERS(OPERATION_REDUCTION, OPERATION_REDUCTION_YDESC, true, TENSOR)},
    {REFERS(OPERATION_RESHAPE, OPERATION_RESHAPE_XDESC, true, TENSOR)},
    {REFERS(OPERATION_RESHAPE, OPERATION_RESHAPE_YDESC, true, TENSOR)},
    {ONE(OPERATIONGRAPH, OPERATIONGRAPH_HANDLE, HANDLE)},
    {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
     FAKE_MOST_OPERATIONS, true, ANY_OPERATION},
    {ONE(ENGINEHEUR, ENGINEHEUR_MODE, HEUR_MODE)},
    {REFERS(ENGINEHEUR, ENGINEHEUR_OPERATION_GRAPH, true, OPERATIONGRAPH)},
    /* Nobody but a heuristic sets this one (fake_offer): it is not one of this kind's attributes. */
    {REFERS(ENGINECFG, ENGINEHEUR_OPERATION_GRAPH, true, OPERATIONGRAPH)},
    {ONE(EXECUTION_PLAN, EXECUTION_PLAN_HANDLE, HANDLE)},
    {REFERS(EXECUTION_PLAN, EXECUTION_PLAN_ENGINE_CONFIG, true, ENGINECFG)},
    {SOME(VARIANT_PACK, VARIANT_PACK_UNIQUE_IDS, INT64, FAKE_MOST_TENSORS)},
    {SOME(VARIANT_PACK, VARIANT_PACK_DATA_POINTERS, VOID_PTR, FAKE_MOST_TENSORS)},
    {MAY(VARIANT_PACK, VARIANT_PACK_WORKSPACE, VOID_PTR)},
};
enum { RULES = sizeof rules / sizeof *rules };

static size_t element_bytes(cudnnBackendAttributeType_t type) {
    switch (type) {
    case CUDNN_TYPE_BOOLEAN:
        return sizeof(bool);
    case CUDNN_TYPE_INT64:
        return sizeof(int64_t);
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return sizeof(void *);
    default:
        return sizeof(int); /* an enum */
    }
}

static const rule *rule_of(const descriptor *d, cudnnBackendAttributeName_t name) {
    for (int i = 0; i < RULES; i++) {
        if (rules[i].kind == d->kind && rules[i].name == name) return &rules[i];
    }
    return NULL;
}

const attribute *fake_find(const descriptor *d, cudnnBackendAttributeName_t name) {
    for (int i = 0; i < d->used; i++) {
        if (d->attributes[i].name == name) return &d->attributes[i];
    }
    return NULL;
}

bool fake_keep(descriptor *d, cudnnBackendAttributeName_t name, int64_t count, const void *elements) {
    attribute *a = (attribute *)fake_find(d, name);
    size_t bytes = (size_t)count * element_bytes(rule_of(d, name)->type);
    void *copy = malloc(bytes);
    if (!copy) return false;
    memcpy(copy, elements, bytes);
    if (!a) a = &d->attributes[d->used++];
    free(a->elements);
    *a = (attribute){name, count, copy};
    return true;
}

/* ---- references ---- */

bool fake_lives(const descriptor *d) {
    for (const descriptor *at = alive; at; at = at->next) {
        if (at == d) return true;
    }
    return false;
}

static bool refers_well(const attribute *a, int kind) {
    descriptor *const *all = a->elements;
    for (int64_t i = 0; i < a->count; i++) {
        if (!fake_lives(all[i]) || !all[i]->finalized || !fake_whole(all[i])) return false;
        if (kind == ANY_OPERATION ? !fake_operation_names(all[i]->kind) : (int)all[i]->kind != kind) return false;
    }
    return true;
}

/* Whether it has what it needs, and all that it refers to, near and far, lives and is finalized. */
bool fake_whole(const descriptor *d) {
    for (int i = 0; i < RULES; i++) {
        if (rules[i].kind != d->kind) continue;
        const attribute *a = fake_find(d, rules[i].name);
        if (!a && rules[i].needed) return false;
        if (a && rules[i].type == CUDNN_TYPE_BACKEND_DESCRIPTOR && !refers_well(a, rules[i].refers_to)) return false;
    }
    return true;
}

/* ---- descriptors ---- */

static bool is_known(cudnnBackendDescriptorType_t kind) {
    for (int i = 0; i < RULES; i++) {
        if (rules[i].kind == kind) return true;
    }
    return false;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t kind, cudnnBackendDescriptor_t *out) {
    cudnnStatus_t code = fake_note("BackendCreateDescriptor", (int)kind, CUDNN_STATUS_NOT_INITIALIZED);
    if (code != CUDNN_STATUS_SUCCESS) return code;
    if (!is_known(kind)) return CUDNN_STATUS_NOT_SUPPORTED;
    descriptor *made = calloc(1, sizeof *made);
    if (!made) return CUDNN_STATUS_NOT_INITIALIZED;
    made->kind = kind;
    made->next = alive;
    *out = alive = made;
    fake_cudnn_alive++;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor_at) {
    descriptor *d = descriptor_at, **link = &alive;
    if (!fake_lives(d)) return CUDNN_STATUS_BAD_PARAM;
    while (*link != d) link = &(*link)->next;
    *link = d->next;
    for (int i = 0; i < d->used; i++) free(d->attributes[i].elements);
    free(d->graph);
    cudnnStatus_t code = fake_note("BackendDestroyDescriptor", (int)d->kind, CUDNN_STATUS_BAD_PARAM);
    free(d);
    fake_cudnn_alive--;
    return code;
}

static cudnnStatus_t check(descriptor *d) {
    if (!fake_whole(d)) return CUDNN_STATUS_BAD_PARAM;
    if (fake_operation_names(d->kind)) return fake_check_operation(d);
    switch (d->kind) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
        return fake_check_tensor(d);
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        return fake_make_graph(d);
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR: /* it may say so instead of offering nothing */
        return fake_note("heuristic", -1, CUDNN_STATUS_NOT_SUPPORTED);
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        return fake_make_plan(d);
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
        return fake_check_pack(d);
    default:
        return CUDNN_STATUS_SUCCESS;
    }
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor_at) {
    descriptor *d = descriptor_at;
    if (!fake_lives(d) || d->finalized) return CUDNN_STATUS_BAD_PARAM;
    bool plan = d->kind == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR;
    cudnnStatus_t failure = plan ? CUDNN_STATUS_NOT_SUPPORTED : CUDNN_STATUS_BAD_PARAM;
    cudnnStatus_t code = fake_note("BackendFinalize", (int)d->kind, failure);
    if (code == CUDNN_STATUS_SUCCESS) code = check(d);
    d->finalized = code == CUDNN_STATUS_SUCCESS;
    return code;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor_at, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void *elements) {
    descriptor *d = descriptor_at;
    cudnnStatus_t code = fake_note("BackendSetAttribute", (int)name, CUDNN_STATUS_BAD_PARAM);
    if (code != CUDNN_STATUS_SUCCESS) return code;
    if (!fake_lives(d) || d->finalized || d->kind == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) return CUDNN_STATUS_BAD_PARAM;
    const rule *r = rule_of(d, name);
    bool good = r && type == r->type && count >= 1 && count <= r->most && elements;
    return good && fake_keep(d, name, count, elements) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

/* `count` becomes how many there are, of which up to `most` are given. */
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor_at, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t most, int64_t *count, void *elements) {
    const descriptor *d = descriptor_at;
    cudnnStatus_t code = fake_note("BackendGetAttribute", (int)name, CUDNN_STATUS_BAD_PARAM);
    if (code != CUDNN_STATUS_SUCCESS) return code;
    if (!fake_lives(d) || !d->finalized || !count || (most > 0 && !elements)) return CUDNN_STATUS_BAD_PARAM;
    if (d->kind == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR && name == CUDNN_ATTR_ENGINEHEUR_RESULTS &&
        type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
        return fake_offer(d, most, count, elements);
    bool good = d->kind == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR &&
                name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE && type == CUDNN_TYPE_INT64 && most > 0;
    if (!good) return CUDNN_STATUS_BAD_PARAM;
    *count = 1;
    *(int64_t *)elements = (int64_t)d->graph->work_bytes;
    return CUDNN_STATUS_SUCCESS;
}
