/* What the models share while they add nodes to a graph: affine maps, weighted sums, and the MM-Rec block.
 *
 * Every function latches in the graph on failure and returns 0, so callers read as the mathematics of docs/model.md. */
#ifndef MMREC_MODELS_BUILD_H
#define MMREC_MODELS_BUILD_H

#include <stddef.h>

#include "mmrec/model.h"

enum { MMREC_LAYERS_MAX = 4096 };

/* Weight (out, in) and bias (out) of one affine map; bias 0 where there is none. */
typedef struct mmrec_affine {
    mmrec_tensor weight, bias;
} mmrec_affine;

/* What parameters begin with: one value; normal with that standard deviation; uniform in [-bound, bound). */
mmrec_initial mmrec_initial_constant(double value);
mmrec_initial mmrec_initial_normal(double deviation);
mmrec_initial mmrec_initial_uniform(double bound);
/* A parameter and what it begins with. */
mmrec_tensor mmrec_param(mmrec_graph *graph, const char *name, mmrec_shape shape, mmrec_initial initial);
/* Parameters "<name>.weight" and "<name>.bias". Without more: weight normal with deviation 1 / sqrt(in), bias 0. */
mmrec_affine mmrec_affine_param(mmrec_graph *graph, const char *name, int64_t out, int64_t in);
mmrec_affine mmrec_affine_drawn(mmrec_graph *graph, const char *name, int64_t out, int64_t in, mmrec_initial weight,
                                mmrec_initial bias);
/* x W^T + b */
mmrec_tensor mmrec_affine_apply(mmrec_graph *graph, mmrec_affine map, mmrec_tensor x);

/* One node of an op with the inputs given, defaults for everything else. */
mmrec_tensor mmrec_add1(mmrec_graph *graph, mmrec_op_id op, mmrec_tensor a);
mmrec_tensor mmrec_add2(mmrec_graph *graph, mmrec_op_id op, mmrec_tensor a, mmrec_tensor b);

/* A term of a weighted sum; a term without a tensor is left out. */
typedef struct mmrec_term {
    mmrec_tensor tensor;
    double factor;
} mmrec_term;
/* factor_0 tensor_0 + factor_1 tensor_1 + ..., at most MMREC_MAX_IN terms. */
mmrec_tensor mmrec_add_sum(mmrec_graph *graph, const mmrec_term *terms, int count);
/* The same of losses, which are never stored in bf16. */
mmrec_tensor mmrec_add_losses(mmrec_graph *graph, const mmrec_term *terms, int count);

/* Dropout inside another node: probability (0: none) and the stream that addresses its draws. */
typedef struct mmrec_drop {
    double p;
    int64_t stream;
} mmrec_drop;
/* factor_0 tensor_0 + dropout(factor_1 tensor_1 + ...); the first two terms have tensors. */
mmrec_tensor mmrec_add_dropped_sum(mmrec_graph *graph, const mmrec_term *terms, int count, mmrec_drop drop);

/* One use of the block: what goes in, and what comes out. */
typedef struct mmrec_block {
    mmrec_tensor x, h0;            /* (B,T,D), (B,D) */
    mmrec_tensor state_k, state_v; /* carried memory (B,S,D); 0: the trained first memory (S,D) */
    mmrec_tensor y, gamma, h;      /* (B,T,D) */
    mmrec_tensor aux;              /* (1); 0 when not wanted or the configuration has none */
    mmrec_tensor growth;           /* (1); 0 when not wanted */
    mmrec_tensor h_last;           /* (B,D) */
    mmrec_tensor mem_k, mem_v;     /* (B,S,D), memory for the next chunk */
} mmrec_block;

/* Adds parameters and nodes of block `layer` in the graph's current scope. `aux_wanted`: compute the planning error. */
void mmrec_block_add(mmrec_graph *graph, const mmrec_model_config *config, const mmrec_model_run *run, int layer,
                     bool aux_wanted, mmrec_block *block);

/* The largest axis of a model: 8 times it is still an int of CBLAS, and the product of two stays far below 2^62. */
enum { MMREC_SIZE_LIMIT = 1 << 28 };

/* A row of a table of fields: offset and key from the name of the member. */
#define MMREC_WHOLE(type, member, standard, low, high, help)                                                           \
    { #member, offsetof(type, member), MMREC_FIELD_WHOLE, standard, low, high, NULL, help, false }
#define MMREC_REAL(type, member, standard, low, high, help)                                                            \
    { #member, offsetof(type, member), MMREC_FIELD_REAL, standard, low, high, NULL, help, false }
#define MMREC_WORD(type, member, standard, choices, help)                                                              \
    { #member, offsetof(type, member), MMREC_FIELD_WORD, standard, 0, 0, choices, help, false }
/* The same for members that fixtures do not have. */
#define MMREC_LATER_REAL(type, member, standard, low, high, help)                                                      \
    { #member, offsetof(type, member), MMREC_FIELD_REAL, standard, low, high, NULL, help, true }
#define MMREC_LATER_WORD(type, member, standard, choices, help)                                                        \
    { #member, offsetof(type, member), MMREC_FIELD_WORD, standard, 0, 0, choices, help, true }

/* The divisor of `width` nearest below or at `heads`. */
int64_t mmrec_heads_for(int64_t width, int64_t heads);

/* The tables. */
#define MMREC_MODEL(name) extern const mmrec_model_def mmrec_model_##name;
#include "mmrec/models.def"
#undef MMREC_MODEL

/* What config.c holds together of models mmrec and block. */
mmrec_status mmrec_build(const void *settings, const mmrec_model_run *run, mmrec_graph *graph,
                         mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_block_build(const void *settings, const mmrec_model_run *run, mmrec_graph *graph,
                               mmrec_error *error) MMREC_MUST_CHECK;

#endif
