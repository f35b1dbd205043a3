/* The graph as its own modules see it: graph.c, nodes.c, differentiate.c, recompute.c, plan.c, exec.c. */
#ifndef MMREC_GRAPH_IMPL_H
#define MMREC_GRAPH_IMPL_H

#include "mmrec/graph.h"

typedef struct graph_tensor {
    char *name; /* owned, NULL when unnamed */
    mmrec_tensor_kind kind;
    mmrec_dtype dtype;
    mmrec_shape shape;
    mmrec_tensor base;
    int64_t offset, stride;
    int layer;
    mmrec_initial initial;
    mmrec_tensor gradient;             /* 0 until differentiation makes one */
    mmrec_tensor first_slice, sibling; /* the slices of a base, newest first */
    mmrec_tensor copy;                 /* the same values in the other type, 0: none yet */
    mmrec_tensor source;               /* of a copy made by a REFRESH node: where its gradient goes; else 0 */
    bool whole;                        /* a slice that is all of its base, in another shape */
    bool keep;                         /* readable until the end of the run */
    bool refreshed;                    /* made by a REFRESH node: valid until the parameters change again */
    bool recalled;                     /* saved: a backward node reads it */
    bool unreached;                    /* nothing depends on it: its gradient is zero by construction */
} graph_tensor;

typedef struct graph_node {
    mmrec_op_id op;
    mmrec_pass pass;
    mmrec_phase phase;
    bool recompute;
    int layer;
    mmrec_dtype storage;
    unsigned accumulate;
    mmrec_op_sizes sizes;
    mmrec_tensor in[MMREC_MAX_IN], out[MMREC_MAX_OUT], saved[MMREC_MAX_SAVED];
    mmrec_tensor d_in[MMREC_MAX_IN], d_out[MMREC_MAX_OUT];
} graph_node;

struct mmrec_graph {
    mmrec_allocator *allocator;
    mmrec_dtype storage; /* as created: of the nodes of a step */
    mmrec_dtype real;    /* of parameters, inputs and REFRESH nodes: the same, or f32 where storage is bf16 */
    int threads;
    graph_tensor *tensors; /* tensor t is tensors[t - 1] */
    size_t tensor_count, tensor_capacity;
    mmrec_tensor *names; /* hash table of the named tensors, 0 = free; capacity a power of two */
    size_t name_count, name_capacity;
    graph_node *nodes;
    size_t node_count, node_capacity;
    int layer;
    char prefix[64];
    mmrec_phase phase;
    bool differentiated;
    mmrec_error error; /* latched; code OK while all is well */
};

/* The definition of the variant that will run: shapes, work and flags are the same in all, scratch sizes are its own.
 */
const mmrec_op_def *graph_op_def(const mmrec_graph *graph, mmrec_op_id op);

static inline graph_tensor *graph_tensor_at(const mmrec_graph *graph, mmrec_tensor tensor) {
    return &graph->tensors[tensor - 1];
}
/* The tensor whose storage holds this one. */
static inline mmrec_tensor graph_storage(const mmrec_graph *graph, mmrec_tensor tensor) {
    mmrec_tensor base = graph_tensor_at(graph, tensor)->base;
    return base ? base : tensor;
}

/* Adds a tensor with storage of its own, unnamed; 0 on failure (latched). */
mmrec_tensor graph_new_tensor(mmrec_graph *graph, mmrec_tensor_kind kind, mmrec_dtype dtype, mmrec_shape shape);
/* Adds a slice of `base` of the given shape, at an offset, with a row stride. */
mmrec_tensor graph_new_slice(mmrec_graph *graph, mmrec_tensor base, mmrec_tensor_kind kind, int64_t offset,
                             int64_t stride, mmrec_shape shape);
/* Makes the saved tensors of a node that its sizes ask for and it has not got; false on failure (latched). */
bool graph_store(mmrec_graph *graph, const mmrec_op_def *def, graph_node *node);
/* Copies a node to the end of the list; false on failure (latched). */
bool graph_push_node(mmrec_graph *graph, const graph_node *node);

/* Differentiation's view of values that are computed again (recompute.c). remap[t] is the copy of tensor t, 0: none. */
mmrec_status graph_recompute_layer(mmrec_graph *graph, size_t forward_nodes, int layer, const bool *needs,
                                   mmrec_tensor *remap, mmrec_error *error) MMREC_MUST_CHECK;

#endif
