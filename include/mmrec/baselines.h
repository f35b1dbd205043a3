/* Configurations of the models that MM-Rec is compared with. What they compute, with sources, names of parameters and
 * initial values: docs/baselines.md. Every field has a row in its model's table (mmrec_model_def.fields), with range,
 * default and help. */
#ifndef MMREC_BASELINES_H
#define MMREC_BASELINES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MMREC_WIDTHS = 8 };

typedef enum mmrec_cell { MMREC_CELL_LSTM, MMREC_CELL_GRU } mmrec_cell;
typedef enum mmrec_head { MMREC_HEAD_LAST, MMREC_HEAD_ALL } mmrec_head;
typedef enum mmrec_activation { MMREC_ACTIVATION_RELU, MMREC_ACTIVATION_TANH, MMREC_ACTIVATION_GELU } mmrec_activation;
typedef enum mmrec_mlp_loss { MMREC_MLP_MSE, MMREC_MLP_CROSS_ENTROPY } mmrec_mlp_loss;
typedef enum mmrec_nsm_sequence {
    MMREC_NSM_OFF, MMREC_NSM_LAST, MMREC_NSM_MEAN, MMREC_NSM_ALL
} mmrec_nsm_sequence;
typedef enum mmrec_hybrid { MMREC_HYBRID_ADVANCED, MMREC_HYBRID_SEQUENTIAL } mmrec_hybrid;
typedef enum mmrec_hybrid_variant { MMREC_FAITHFUL, MMREC_REPAIRED } mmrec_hybrid_variant;

/* Models lstm and gru. */
typedef struct mmrec_rnn_config {
    mmrec_cell cell; /* that of the model */
    int64_t inputs;  /* width of x, or of the embedding */
    int64_t hidden, layers;
    int64_t outputs; /* > 0: a linear head */
    int64_t vocab;   /* > 0: inputs are ids */
    mmrec_head head; /* what the head reads: the last step, or every step (a language model, with vocab) */
    double dropout;  /* of the input of every layer but the first */
} mmrec_rnn_config;

/* Model encoder: post-norm, no mask. */
typedef struct mmrec_encoder_config {
    int64_t dim, heads, ffn, layers;
    int64_t inputs;    /* > 0: a linear map of x to dim comes first */
    int64_t vocab;     /* > 0: inputs are ids; inputs and vocab exclude each other */
    int64_t positions; /* rows of the learned position table; 0: none */
    int64_t outputs;   /* > 0: mean over time, then a linear head */
    double dropout;
} mmrec_encoder_config;

/* Model gpt: pre-norm, causal, tied head. */
typedef struct mmrec_gpt_config {
    int64_t vocab, dim, layers, heads;
    int64_t context; /* rows of the position table, the largest T */
    double dropout;
} mmrec_gpt_config;

/* Widths of hidden layers, first to last; count 0: none. They stand in front, as the first one is what sizes a model. */
typedef struct mmrec_widths {
    int64_t width[MMREC_WIDTHS];
    int count;
} mmrec_widths;

/* Model mlp. */
typedef struct mmrec_mlp_config {
    int64_t inputs;
    mmrec_widths hidden;
    int64_t outputs;
    mmrec_activation activation; /* after all layers but the last */
    mmrec_mlp_loss loss;
} mmrec_mlp_config;

/* Model nsm-simple. */
typedef struct mmrec_nsm_config {
    int64_t inputs, dim, states, outputs;
    mmrec_cell gate;
    int64_t heads;
    mmrec_nsm_sequence sequence; /* off: one step; else over time, and which steps make the result */
} mmrec_nsm_config;

/* Models nsm-advanced and nsm-sequential. */
typedef struct mmrec_hybrid_config {
    mmrec_hybrid model; /* that of the model */
    mmrec_hybrid_variant variant;
    int64_t inputs, outputs, dim;
    int64_t time; /* steps made from one input vector */
    int64_t heads, kernel;
    int64_t expand;       /* inner width of the conv block = expand * dim */
    int64_t slots, width; /* of the content memory: N, M */
    int64_t hidden, layers;
    mmrec_cell cell;
    int64_t steps; /* of the RNN on the repeated vector */
    double dropout;
} mmrec_hybrid_config;

/* Models nsm-router, nsm-layer and nsm-states: parts of Neural State Machines. */
typedef struct mmrec_nsm_router_config {
    int64_t tokens, dim, states, heads; /* tokens: their width */
} mmrec_nsm_router_config;
typedef struct mmrec_nsm_layer_config {
    int64_t dim, tokens, states, heads;
} mmrec_nsm_layer_config;
typedef struct mmrec_nsm_states_config {
    int64_t dim, max, initial;
    double threshold;
} mmrec_nsm_states_config;

#ifdef __cplusplus
}
#endif
#endif
