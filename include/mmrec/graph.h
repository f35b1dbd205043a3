/* A graph of op calls: built by the models, extended by automatic differentiation, executed in the order of adding.
 *
 * Building latches its first error: after a failure every function does nothing and returns 0, and mmrec_graph_status
 * (or differentiate, or plan) reports it, so model code reads as mathematics. A tensor is a small positive number; 0
 * stands for "none".
 *
 * Ownership: the graph owns everything in it. Thread rule: one thread at a time. */
#ifndef MMREC_GRAPH_H
#define MMREC_GRAPH_H

#include "mmrec/alloc.h"
#include "mmrec/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmrec_graph mmrec_graph;
typedef int32_t mmrec_tensor;

typedef enum mmrec_tensor_kind {
    MMREC_TENSOR_INPUT,    /* given by the user before a run */
    MMREC_TENSOR_PARAM,    /* trained */
    MMREC_TENSOR_STACK,    /* storage whose rows are parameters and values derived from them (fused weights) */
    MMREC_TENSOR_VALUE,    /* made by a node */
    MMREC_TENSOR_GRADIENT  /* made by automatic differentiation */
} mmrec_tensor_kind;

/* When a node runs: after a change of the parameters, in the forward or in the backward half of a step. */
typedef enum mmrec_phase { MMREC_PHASE_REFRESH, MMREC_PHASE_FORWARD, MMREC_PHASE_BACKWARD, MMREC_PHASES } mmrec_phase;

typedef struct mmrec_node_spec {
    mmrec_tensor in[MMREC_MAX_IN];
    mmrec_tensor into[MMREC_MAX_OUT]; /* write output i here instead of making a tensor; 0 = make one */
    double attr[MMREC_MAX_ATTR];      /* used where bit i of attr_set is set, else the op's default */
    unsigned attr_set;
    unsigned skip;                    /* bit i: optional output i is not wanted */
    bool precise;                     /* nothing of it is stored in bf16: for sums of losses */
} mmrec_node_spec;

/* The values a parameter begins with, drawn by (seed, number of the parameter, index) and by nothing else. */
typedef enum mmrec_initial_kind { MMREC_INITIAL_CONSTANT, MMREC_INITIAL_NORMAL, MMREC_INITIAL_UNIFORM } mmrec_initial_kind;
typedef struct mmrec_initial {
    mmrec_initial_kind kind;
    double mean;          /* CONSTANT: the value */
    double spread;        /* NORMAL: standard deviation; UNIFORM: half the width of the interval around mean */
    mmrec_tensor same_as; /* a parameter whose numbers it gets; 0: its own */
} mmrec_initial;

typedef struct mmrec_tensor_info {
    const char *name; /* "" when nobody named it */
    mmrec_tensor_kind kind;
    mmrec_dtype dtype;
    mmrec_shape shape;
    mmrec_tensor base; /* the tensor this is a slice of, or 0 */
    int64_t offset;    /* of a slice: elements from the start of the base */
    int64_t stride;    /* elements from row to row */
    int layer;         /* block number, -1 outside of blocks */
    mmrec_initial initial; /* of a parameter */
} mmrec_tensor_info;

typedef struct mmrec_node_info {
    mmrec_op_id op;
    mmrec_pass pass;
    mmrec_phase phase;
    bool recompute; /* a forward node run again in the backward phase (gradient checkpointing) */
    int layer;
    mmrec_dtype storage; /* the storage type of the call (op.h) */
    const mmrec_op_sizes *sizes;
} mmrec_node_info;

/* `storage`: MMREC_F32 or MMREC_F64, the type of everything that is not an id; or MMREC_BF16: calls store bf16 (op.h says
 * which arguments) and everything else is f32: inputs, parameters and their gradients, the REFRESH phase. Where an op wants
 * a tensor in the other type than it has, a node `narrow` or `widen` makes it, once per tensor; one that follows from
 * parameters alone is made in the REFRESH phase, and what would be its gradient goes to the parameter's. `threads` >= 1,
 * or MMREC_ON_DEVICE: what each op may use (scratch sizes depend on it). Destroy is NULL-safe and clears. */
mmrec_status mmrec_graph_create(mmrec_allocator *allocator, mmrec_dtype storage, int threads, mmrec_graph **out,
                                mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_graph_destroy(mmrec_graph **graph);
/* The storage type it was created with. */
mmrec_dtype mmrec_graph_dtype(const mmrec_graph *graph);

/* What is added from here on belongs to block `layer` (-1: none), and names get `prefix` ("blocks.0."). */
void mmrec_graph_scope(mmrec_graph *graph, int layer, const char *prefix);

/* What the user gives before a run, and what is trained, under the scope's prefix and `name`; 0 on a name that is taken or
 * a shape that is not valid. dtype: MMREC_I32 for ids; any other means what parameters have, f64 or f32. */
mmrec_tensor mmrec_graph_input(mmrec_graph *graph, const char *name, mmrec_dtype dtype, mmrec_shape shape);
mmrec_tensor mmrec_graph_param(mmrec_graph *graph, const char *name, mmrec_shape shape);
/* What a parameter begins with; without it, zeros. */
void mmrec_graph_initial(mmrec_graph *graph, mmrec_tensor param, mmrec_initial initial);
/* Storage to be filled by slices of its rows; at the end every row must belong to exactly one slice. */
mmrec_tensor mmrec_graph_stack(mmrec_graph *graph, const char *name, mmrec_shape shape);
/* Elements [first, first + elements(shape)) of a stack as a parameter, or as a value a REFRESH node will write. */
mmrec_tensor mmrec_graph_stack_param(mmrec_graph *graph, mmrec_tensor stack, int64_t first, const char *name,
                                     mmrec_shape shape);
mmrec_tensor mmrec_graph_stack_value(mmrec_graph *graph, mmrec_tensor stack, int64_t first, mmrec_shape shape);
/* Columns [first, first + count) of a value or input: a view, no copy. Slices that overlap are refused, here and above. */
mmrec_tensor mmrec_graph_columns(mmrec_graph *graph, mmrec_tensor base, int64_t first, int64_t count);
/* The elements of a value or input, in their order, under another shape: a view, no copy. The tensor itself where it has
 * that shape; refused for a slice, for another number of elements, and where it has slices or another shape already. */
mmrec_tensor mmrec_graph_reshape(mmrec_graph *graph, mmrec_tensor base, mmrec_shape shape);

/* Nodes added from here on run in `phase` (REFRESH or FORWARD; a new graph is in FORWARD). A REFRESH node may read
 * parameters, stacks and what REFRESH nodes made; only it may write `into` a tensor, a value of a stack. */
void mmrec_graph_phase(mmrec_graph *graph, mmrec_phase phase);
/* Adds a node; returns its first output. mmrec_graph_result gives output i of the node added last (0 if skipped). */
mmrec_tensor mmrec_graph_add(mmrec_graph *graph, mmrec_op_id op, mmrec_node_spec spec);
mmrec_tensor mmrec_graph_result(const mmrec_graph *graph, int i);
/* What the node added last saves for its backward pass, to be read by another node too: saved tensor i, 0 where it is
 * made only on demand (MMREC_ARG_OPTIONAL). */
mmrec_tensor mmrec_graph_saved(const mmrec_graph *graph, int i);

/* Names a value (prefix applies) and keeps it readable until the end of the run. */
void mmrec_graph_keep(mmrec_graph *graph, mmrec_tensor tensor, const char *name);
/* The tensor of that full name (prefix included), or 0. */
mmrec_tensor mmrec_graph_find(const mmrec_graph *graph, const char *name);

/* Latches an error of the caller's own (a model's refusal), as a failed add would. */
void mmrec_graph_refuse(mmrec_graph *graph, mmrec_status code, const char *format, ...) MMREC_PRINTF(3, 4);
/* OK, or the first error, which is copied to `error`. */
mmrec_status mmrec_graph_status(const mmrec_graph *graph, mmrec_error *error) MMREC_MUST_CHECK;

/* Where differentiation starts: the gradient of `tensor` is the input tensor `gradient` (same shape), or, with
 * gradient 0, the constant `value`. Gradients given to one tensor twice are added, and only read. */
typedef struct mmrec_seed {
    mmrec_tensor tensor, gradient;
    double value;
} mmrec_seed;

/* Appends the BACKWARD phase: gradients of sum(seed * tensor) for every parameter, and for the inputs listed in
 * `wanted`. A parameter that nothing depends on gets zeros. `recompute`: values inside a block are not saved but
 * computed again before its backward nodes (gradient checkpointing), with identical results. Once per graph. */
mmrec_status mmrec_graph_differentiate(mmrec_graph *graph, const mmrec_seed *seeds, int seed_count,
                                       const mmrec_tensor *wanted, int wanted_count, bool recompute,
                                       mmrec_error *error) MMREC_MUST_CHECK;
/* The gradient tensor of a parameter or wanted input, 0 if there is none. */
mmrec_tensor mmrec_graph_gradient(const mmrec_graph *graph, mmrec_tensor tensor);
/* Whether nothing that was differentiated depends on the parameter or input: its gradient is zeros by construction. */
bool mmrec_graph_unreached(const mmrec_graph *graph, mmrec_tensor tensor);

/* Tensors are 1 .. tensor_count, nodes 0 .. node_count - 1. Pointers live as long as the graph is not changed. */
int mmrec_graph_tensor_count(const mmrec_graph *graph);
int mmrec_graph_node_count(const mmrec_graph *graph);
mmrec_tensor_info mmrec_graph_tensor_info(const mmrec_graph *graph, mmrec_tensor tensor);
mmrec_node_info mmrec_graph_node_info(const mmrec_graph *graph, int node);
/* Number of trained values: elements of all parameters. */
int64_t mmrec_graph_param_count(const mmrec_graph *graph);
/* Elements of the largest parameter: room for any one of them. 0 without parameters. */
int64_t mmrec_graph_largest_param(const mmrec_graph *graph);
/* Work of all nodes of a phase: FLOPs, transcendentals, least bytes. */
mmrec_work mmrec_graph_work(const mmrec_graph *graph, mmrec_phase phase);

#ifdef __cplusplus
}
#endif
#endif
