/* What the models that MM-Rec is compared with share: what a run may ask of them, inputs and results, the initial
 * values of docs/baselines.md, layer norms, attention, one layer of an RNN, and the loss of a classifier.
 *
 * As in build.h, every function latches in the graph on failure and returns 0. */
#ifndef MMREC_MODELS_BASELINE_H
#define MMREC_MODELS_BASELINE_H

#include "build.h"

/* ---- a run ---- */

/* What a model can do besides the forward pass. */
typedef struct mmrec_abilities {
    const char *model;        /* its name */
    bool carried;             /* it has a state */
    bool seeded;              /* gradients may start at its results */
    bool masked;              /* it has the input `visible` */
    bool loss;                /* this configuration of it has a loss */
    const char *to_have_loss; /* where it has none: what would give it one; NULL: nothing */
} mmrec_abilities;

/* CONFIG for what the run asks for and the model has not. Options that say how MM-Rec is computed (hem, logits) are
 * accepted by all. */
mmrec_status mmrec_baseline_check(const mmrec_model_run *run, const mmrec_abilities *can,
                                  mmrec_error *error) MMREC_MUST_CHECK;
/* Does the run want the loss, for itself or for its gradients? */
bool mmrec_baseline_loss(const mmrec_model_run *run);

/* Ends of a model: at most two states a layer, and a few. */
enum { MMREC_BASELINE_ENDS = 2 * MMREC_LAYERS_MAX + 8 };

/* A model while it is added to a graph: where its backward phase will start, and the inputs it will lead to. */
typedef struct mmrec_baseline {
    mmrec_graph *graph;
    const mmrec_model_run *run;
    mmrec_seed seeds[MMREC_BASELINE_ENDS];
    mmrec_tensor wanted[MMREC_BASELINE_ENDS];
    int seed_count, wanted_count;
} mmrec_baseline;

/* Names of node and tensor that follow: layer `layer` (-1: none) and "<what>.<layer>." before them. */
void mmrec_baseline_scope(mmrec_graph *graph, const char *what, int layer);
/* An input of real numbers, whose gradient a run may ask for. */
mmrec_tensor mmrec_baseline_input(mmrec_baseline *model, const char *name, mmrec_shape shape);
/* Keeps a differentiable result under a name; a seeded run gives it the input "d.<name>". */
void mmrec_baseline_result(mmrec_baseline *model, mmrec_tensor tensor, const char *name);
/* Result `loss`: mean cross-entropy of scores (..., V) against the input `targets` (...) of ids. */
void mmrec_baseline_class_loss(mmrec_baseline *model, mmrec_tensor scores);
/* Result `loss`, where gradients start that are not seeded. */
void mmrec_baseline_keep_loss(mmrec_baseline *model, mmrec_tensor loss);
/* Adds inputs of seeds and the backward phase, where the run has them. */
mmrec_status mmrec_baseline_finish(mmrec_baseline *model, mmrec_error *error) MMREC_MUST_CHECK;

/* ---- parameters by their initial values ---- */

/* K, the usual one of a linear map: weight and bias uniform in +-1 / sqrt(in). */
mmrec_affine mmrec_usual_param(mmrec_graph *graph, const char *name, int64_t out, int64_t in);
/* X (Xavier): weight uniform in +-sqrt(6 / (in + out)), bias 0. */
mmrec_affine mmrec_xavier_param(mmrec_graph *graph, const char *name, int64_t out, int64_t in);
double mmrec_xavier_bound(int64_t out, int64_t in);
/* LayerNorm: weight 1, bias 0. */
mmrec_affine mmrec_norm_param(mmrec_graph *graph, const char *name, int64_t width);
mmrec_tensor mmrec_norm_apply(mmrec_graph *graph, mmrec_affine norm, mmrec_tensor x);

/* ---- attention ---- */

/* How attention is done; visible (B,M): 0, every key is seen. */
typedef struct mmrec_attend {
    int64_t heads;
    bool causal;
    mmrec_drop drop; /* of the weights */
    mmrec_tensor visible;
} mmrec_attend;
/* Per head softmax(query key^T / sqrt(D / heads)) value. */
mmrec_tensor mmrec_attend_add(mmrec_graph *graph, mmrec_tensor query, mmrec_tensor key, mmrec_tensor value,
                              mmrec_attend how);

/* Self-attention with its two maps: query, key and value are columns of one product. */
typedef struct mmrec_self_attention {
    mmrec_affine qkv, out;
} mmrec_self_attention;
/* Parameters "attention.qkv" and "attention.out" with the initial values called MHA. */
mmrec_self_attention mmrec_self_attention_param(mmrec_graph *graph, int64_t width);
mmrec_tensor mmrec_self_attention_apply(mmrec_graph *graph, const mmrec_self_attention *map, mmrec_tensor x,
                                        mmrec_attend how);

/* ---- recurrent layers ---- */

typedef struct mmrec_rnn_weights {
    mmrec_cell cell;
    mmrec_tensor weight_ih, weight_hh, bias_ih, bias_hh;
} mmrec_rnn_weights;

/* What the parameters of a layer begin with. */
typedef struct mmrec_rnn_initial {
    mmrec_initial weight_ih, weight_hh, bias;
} mmrec_rnn_initial;

/* One pass of a layer over a sequence. */
typedef struct mmrec_rnn_pass {
    mmrec_tensor x, h0, c0;         /* h0, c0: 0 for zeros; c0 of an lstm only */
    int64_t steps;                  /* 0: those of x; else x has as many, or one that is the input of all */
    bool last, state;               /* wanted: h_last; h_last and c_last */
    mmrec_tensor y, h_last, c_last; /* 0 where not wanted */
} mmrec_rnn_pass;

/* Blocks of rows in the weights of a cell: 4 or 3. */
int64_t mmrec_rnn_gates(mmrec_cell cell);
/* R, the usual one of a recurrent layer: everything uniform in +-1 / sqrt(hidden). */
mmrec_rnn_initial mmrec_rnn_usual(int64_t hidden);
/* Parameters "<prefix>weight_ih_l<layer>" and so on. */
mmrec_rnn_weights mmrec_rnn_param(mmrec_graph *graph, mmrec_cell cell, const char *prefix, int layer, int64_t inputs,
                                  int64_t hidden, const mmrec_rnn_initial *initial);
void mmrec_rnn_add(mmrec_graph *graph, const mmrec_rnn_weights *weights, mmrec_rnn_pass *pass);

/* dropout(x); x itself with probability 0. */
mmrec_tensor mmrec_dropout_add(mmrec_graph *graph, mmrec_tensor x, mmrec_drop drop);

#endif
