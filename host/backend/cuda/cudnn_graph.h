/* A graph of cuDNN's operations that one execution plan runs: tensors of rank 4, named by numbers from 1, and
 * operations in an order in which everything is made before it is used. Values in between are virtual: they are nowhere
 * in memory.
 *
 * After the first failure every call does nothing; graph_plan says what failed. */
#ifndef MMREC_CUDNN_GRAPH_H
#define MMREC_CUDNN_GRAPH_H

#include "cudnn_calls.h"

enum { GRAPH_RANK = 4, GRAPH_TENSORS = 40, GRAPH_OPS = 28, GRAPH_MADE = 128 };

/* A plan, and every descriptor that it stands on. */
typedef struct cudnn_plan {
    cudnnBackendDescriptor_t made[GRAPH_MADE];
    int count;
    cudnnBackendDescriptor_t run; /* NULL: cuDNN has no engine for such a graph */
    size_t work_bytes;
} cudnn_plan;

typedef struct graph_shape {
    int64_t size[GRAPH_RANK], stride[GRAPH_RANK];
} graph_shape;

typedef struct cudnn_graph {
    const cudnn_calls *calls;
    cudnn_plan *plan;
    mmrec_status status;
    mmrec_error error;
    cudnnBackendDescriptor_t tensor[GRAPH_TENSORS + 1];
    graph_shape shape[GRAPH_TENSORS + 1];
    int tensors;
    cudnnBackendDescriptor_t op[GRAPH_OPS];
    int ops;
} cudnn_graph;

/* What a tensor is to the graph: memory on the device, one number on the host, or a value in between. */
typedef enum graph_place { GRAPH_DEVICE, GRAPH_NUMBER, GRAPH_VIRTUAL } graph_place;

/* `plan` is zeroed, and given back by graph_plan_end whatever happens. */
void graph_begin(cudnn_graph *graph, const cudnn_calls *calls, cudnn_plan *plan);

/* All that make a tensor return its number. */
int graph_tensor(cudnn_graph *graph, const graph_shape *shape, cudnnDataType_t type, graph_place place);
int graph_number(cudnn_graph *graph, cudnnDataType_t type);
/* c = a b, into the tensor `c`; or into a new virtual one in float. */
void graph_product_into(cudnn_graph *graph, int a, int b, int c);
int graph_product(cudnn_graph *graph, int a, int b);
/* y = f(x), f(x, b) or f(x, b, t), numbers of 0 for what the function does not take; or a new virtual tensor of x's
 * sizes. Comparisons give booleans, indices int32, all else `type`. */
void graph_pointwise_into(cudnn_graph *graph, cudnnPointwiseMode_t mode, int x, int b, int y);
int graph_pointwise(cudnn_graph *graph, cudnnPointwiseMode_t mode, int x, int b, cudnnDataType_t type);
/* The place of every element along an axis. */
int graph_index(cudnn_graph *graph, int x, int axis);
/* x where `chosen`, else b. */
int graph_select(cudnn_graph *graph, int x, int b, int chosen);
/* Over the last axis, in float. */
int graph_reduce(cudnn_graph *graph, cudnnReduceTensorOp_t how, int x);
/* The last two axes exchanged, as `type`. */
int graph_turn(cudnn_graph *graph, int x, cudnnDataType_t type);

/* Asks cuDNN for engines in the order of its own preference and takes the first that can be had; plan->run stays NULL
 * where there is none. */
mmrec_status graph_plan(cudnn_graph *graph, cudnnHandle_t handle, mmrec_error *error) MMREC_MUST_CHECK;
void graph_plan_end(const cudnn_calls *calls, cudnn_plan *plan);

/* One run in the handle's stream: where each tensor that is not virtual lies. */
typedef struct graph_places {
    int64_t id[GRAPH_TENSORS];
    void *at[GRAPH_TENSORS];
    int count;
} graph_places;
void graph_at(graph_places *places, int tensor, const void *at);
mmrec_status graph_run(const cudnn_calls *calls, cudnnHandle_t handle, const cudnn_plan *plan,
                       const graph_places *places, void *work, mmrec_error *error) MMREC_MUST_CHECK;

#endif
