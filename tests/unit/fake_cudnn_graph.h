/* cuDNN's graph API: descriptors, and what is made of them. */
#ifndef MMREC_TEST_FAKE_CUDNN_GRAPH_H
#define MMREC_TEST_FAKE_CUDNN_GRAPH_H

#include "fake_cudnn.h"

enum { FAKE_AXES = 4, FAKE_MOST_TENSORS = 160, FAKE_MOST_OPERATIONS = 64 };

typedef struct fake_tensor {
    int64_t id, alignment, size[FAKE_AXES], stride[FAKE_AXES]; /* of fewer axes: the first ones have size 1 */
    cudnnDataType_t type;
    int axes;
    bool is_virtual, by_value, written; /* written: an operation makes it */
    double value;                       /* of one given by value */
    void *at;                           /* of one that is in memory */
} fake_tensor;

/* Tensors are places in the graph, or -1. `mode`: of a pointwise operation, or how a reduction joins. A product has A
 * as x, B as b and C as y. */
typedef struct fake_operation {
    cudnnBackendDescriptorType_t kind;
    int mode, axis, x, b, t, y;
} fake_operation;

/* One flat piece, so that it can be queued by value. */
typedef struct fake_graph {
    int tensors, operations;
    fake_tensor tensor[FAKE_MOST_TENSORS];
    fake_operation operation[FAKE_MOST_OPERATIONS];
    void *work;
    size_t work_bytes;
} fake_graph;

/* What was set, in full. */
typedef struct attribute {
    cudnnBackendAttributeName_t name;
    int64_t count;
    void *elements;
} attribute;

enum { FAKE_MOST_ATTRIBUTES = 8 };

typedef struct descriptor {
    struct descriptor *next;
    cudnnBackendDescriptorType_t kind;
    bool finalized;
    int used;
    attribute attributes[FAKE_MOST_ATTRIBUTES];
    int rank;          /* of an engine configuration and its plan: 0 is the one offered first */
    fake_graph *graph; /* of a graph and of a plan, once finalized */
} descriptor;

/* By which names an operation has what it has. */
typedef struct operation_names {
    cudnnBackendDescriptorType_t kind;
    cudnnBackendAttributeName_t how, x, b, t, y;
} operation_names;

/* fake_cudnn_graph.c: the attribute, or NULL; whether a descriptor was made and not destroyed; whether it has all that
 * it needs, and all that it refers to, near and far, lives and is finalized; keeps a copy, false without memory. */
const attribute *fake_find(const descriptor *d, cudnnBackendAttributeName_t name);
bool fake_lives(const descriptor *d);
bool fake_whole(const descriptor *d);
bool fake_keep(descriptor *d, cudnnBackendAttributeName_t name, int64_t count, const void *elements);

/* fake_cudnn_graph_plan.c: what finalizing one that is whole comes to, and what a heuristic offers. */
const operation_names *fake_operation_names(cudnnBackendDescriptorType_t kind); /* NULL: not an operation */
cudnnStatus_t fake_check_tensor(const descriptor *d);
cudnnStatus_t fake_check_operation(const descriptor *d);
cudnnStatus_t fake_make_graph(descriptor *d);
cudnnStatus_t fake_make_plan(descriptor *d);
cudnnStatus_t fake_check_pack(const descriptor *d);
cudnnStatus_t fake_offer(const descriptor *heuristic, int64_t most, int64_t *count, descriptor *const *configs);

/* fake_cudnn_graph_run.c */
size_t fake_tensor_element_bytes(const fake_tensor *tensor); /* 0: a type that is not known here */
/* Whether the tensors of an operation go with each other. */
bool fake_operation_fits(const fake_graph *graph, const fake_operation *operation);
/* Computes it: what is queued. */
void fake_graph_run(void *graph);

#endif
