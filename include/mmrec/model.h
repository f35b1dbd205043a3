/* The models: configuration, building into a graph, initial values, and streaming with carried state.
 *
 * models.def lists them. Each has one definition (mmrec_model_def) in host/models: the fields of its configuration with
 * ranges and defaults, and a function that adds its nodes to a graph. Configurations of the baselines: baselines.h.
 *
 * Names of parameters and what is computed: docs/model.md, after the published MM-Rec block, and docs/baselines.md. A model
 * graph has these named tensors besides its parameters ("blocks.<i>.q.weight" ...; without the prefix in model `block`):
 *   block:  inputs x (B,T,D), h0 (B,D) [, state.mem_k, state.mem_v (B,S,D) with carried state]; results y, gamma, h,
 *           aux (1), h_last, mem_k, mem_v; d.y is the input that seeds the gradient of y
 *   mmrec:  inputs ids (B,T), targets (B,T), state.<i>.h (B,D) [, state.<i>.mem_k, .mem_v (B,S,D)]; results logits, loss,
 *           loss_main, loss_aux (1 each), next.<i>.h, next.<i>.mem_k, next.<i>.mem_v
 *   gpt:    inputs ids, targets; results logits, loss
 *   lstm, gru: inputs x (B,T,I), or ids with a vocabulary; carried: state.<i>.h [, .c] (B,H), else zeros; results y
 *           (B,T,H), or (B,O) with a head on the last step, or (B,T,O) with a head on every step, named logits where
 *           there is a vocabulary; next.<i>.h [, next.<i>.c]
 *   encoder: inputs x (B,T,I), or ids; results y (B,T,D), or (B,O) with a head
 *   mlp:    inputs x (B,I), target (B,O) or targets (B) of class ids; results y (B,O), loss
 *   nsm-simple: inputs x (B,I), over time (B,T,I); carried: s0 (B,S,D) in place of the parameter `initial`; results y (B,O),
 *           with sequence all (B,T,O), states (B,S,D), over time (B,T,S,D)
 *   nsm-advanced, nsm-sequential: inputs x (B,I), faithful: state.memory (N,M); results y (B,O), read (B,M), next.memory,
 *           (N,M) faithful, (B,N,M) repaired
 *   nsm-router: inputs tokens (B,T,Q); results y (B,S,D), w (B,T,S)
 *   nsm-layer: inputs states (B,S,D), tokens (B,T,Q) [, visible (B,T)]; result y (B,S,D)
 *   nsm-states: input ids (1,T), the active slots; result y (T,D)
 * With a loss, models with a result y (B,O) or (B,T,O) of class scores have the input targets (B) or (B,T) and the result
 * loss, a mean cross-entropy; a state.X is to be filled from next.X of the run before, and with its beginning at first:
 * zeros, unless said otherwise. aux and loss_aux exist only where there is an auxiliary loss; logits not where there are
 * gradients, unless the run asks for them. Inputs must be written before every run, state too. */
#ifndef MMREC_MODEL_H
#define MMREC_MODEL_H

#include "mmrec/baselines.h"
#include "mmrec/exec.h"
#include "mmrec/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmrec_uboo { MMREC_UBOO_OFF, MMREC_UBOO_PLANNING, MMREC_UBOO_DEEP } mmrec_uboo;

/* "off", "planning" or "deep". */
const char *mmrec_uboo_name(mmrec_uboo uboo);

/* What is trained: everything that decides parameters and results. */
typedef struct mmrec_model_config {
    int64_t vocab, dim, layers, heads, ffn, inner, slots;
    int64_t level;       /* memory slots are pooled 4 to 1 this many times before attention */
    int64_t pe;          /* positional width P; 0 = no positional path */
    int64_t dpg;         /* low rank R of the decay; 0 = the two-network decay */
    double memory_decay; /* M <- decay M + (1 - decay) mean(y); 0 = replace */
    mmrec_uboo uboo;
    double uboo_weight;  /* lambda_P of `planning` */
    double dropout;      /* probability, 0 <= p < 1 */
} mmrec_model_config;

/* Whose gradients a graph computes: of the loss, or of one of the two parts that it is the sum of (for `deep`, of half the
 * last head's loss and half the mean of the others'). AUX without an auxiliary loss is CONFIG. */
typedef enum mmrec_loss_part { MMREC_LOSS_ALL, MMREC_LOSS_MAIN, MMREC_LOSS_AUX } mmrec_loss_part;

/* How one graph runs it: nothing here changes the function computed. */
typedef struct mmrec_model_run {
    int64_t batch, time;
    bool hem;       /* one fused projection instead of six */
    bool carried;   /* memory comes from the state inputs, not from the trained first memory (or zeros) */
    bool loss;      /* add targets and losses (always there for gradients that are not seeded) */
    bool gradient;  /* append the backward phase */
    bool seeded;    /* baselines but gpt and mlp: gradients of sum(d.r r) for inputs d.<r> over r = y (with w, router; with
                       next.*, lstm and gru), instead of those of a loss; model block has no others */
    bool input_gradient; /* baselines: gradients of the real inputs too; model block always has them */
    bool masked;    /* nsm-layer: the input `visible` is there */
    bool logits;    /* token models: they stay readable even where there are gradients, which then take memory of their own */
    bool recompute; /* gradient checkpointing: save block inputs only */
    bool growth;    /* add the results growth.<i> (block: growth) (1): the largest multiplier of h in the layer's
                       recurrence, max over (B,T,D) of 1.1 gamma + 0.1 (1 - m) */
    bool state_gradient;  /* mmrec, with `carried` and `gradient`: also those of state.<i>.mem_k and state.<i>.mem_v */
    mmrec_loss_part part; /* mmrec: whose gradients */
} mmrec_model_run;

typedef enum mmrec_model_kind {
#define MMREC_MODEL(name) MMREC_MODEL_##name,
#include "mmrec/models.def"
#undef MMREC_MODEL
    MMREC_MODELS
} mmrec_model_kind;

/* ---- definitions ---- */

typedef enum mmrec_field_type {
    MMREC_FIELD_WHOLE, /* int64_t */
    MMREC_FIELD_REAL,  /* double */
    MMREC_FIELD_WORD,  /* an enumeration: one of `choices`, in their order */
    MMREC_FIELD_WIDTHS /* mmrec_widths */
} mmrec_field_type;

/* One value of a configuration. */
typedef struct mmrec_model_field {
    const char *key; /* NULL ends a table */
    size_t offset;
    mmrec_field_type type;
    const char *standard; /* the default, as text */
    double low, high;     /* WHOLE, REAL, each of WIDTHS: from low to high, both included */
    const char *choices;  /* WORD: "gru|lstm" */
    const char *help;     /* a phrase */
    bool later;           /* not in fixtures: their configurations may leave it out */
} mmrec_model_field;

/* Room for any configuration. */
typedef union mmrec_any_config {
    mmrec_model_config mmrec;
    mmrec_rnn_config rnn;
    mmrec_encoder_config encoder;
    mmrec_gpt_config gpt;
    mmrec_mlp_config mlp;
    mmrec_nsm_config nsm;
    mmrec_hybrid_config hybrid;
    mmrec_nsm_router_config router;
    mmrec_nsm_layer_config layer;
    mmrec_nsm_states_config states;
} mmrec_any_config;

typedef struct mmrec_model_def {
    const char *name;   /* "nsm-simple" */
    const char *title;  /* "SimpleNSM" */
    const char *source; /* paper or published code */
    const mmrec_model_field *fields;
    size_t config_bytes;
    const char *width; /* the field that sizes the model; NULL: none */
    /* Sets that field and all that follow from it: the widths inside, the nearest number of heads that divides. */
    void (*scale)(void *config, int64_t width);
    /* What ranges cannot say: CONFIG with words. NULL: nothing. */
    mmrec_status (*check)(const void *config, mmrec_error *error);
    /* Adds everything to the graph, whose configuration and run have been checked. */
    mmrec_status (*build)(const void *config, const mmrec_model_run *run, mmrec_graph *graph, mmrec_error *error);
} mmrec_model_def;

/* The definition; NULL for a kind that is none. */
const mmrec_model_def *mmrec_model_get(mmrec_model_kind kind);
/* The model of that name; CONFIG naming the nearest. */
mmrec_status mmrec_model_find(const char *name, mmrec_model_kind *out, mmrec_error *error) MMREC_MUST_CHECK;
/* Fills a configuration with its defaults. */
void mmrec_model_defaults(mmrec_model_kind kind, void *config);
/* Sets a field from text ("gru", "64,32,16"); the field that sizes the model sets what follows from it too. CONFIG naming
 * field, text and what it must be. */
mmrec_status mmrec_model_set(mmrec_model_kind kind, void *config, const char *key, const char *text,
                             mmrec_error *error) MMREC_MUST_CHECK;
/* A field as text, always terminated; returns `text`. */
const char *mmrec_model_field_text(const mmrec_model_field *field, const void *config, char *text, size_t size);
/* Ranges and what the model refuses besides: CONFIG with words: which value, what it must be. */
mmrec_status mmrec_model_check(mmrec_model_kind kind, const void *config, mmrec_error *error) MMREC_MUST_CHECK;

/* ---- MM-Rec ---- */

/* The usual sizes: inner = dim / 4, ffn = 4 dim, slots 1024 with level 2, memory_decay 0.99, uboo_weight 0.1. */
mmrec_model_config mmrec_model_config_default(int64_t vocab, int64_t dim, int64_t layers, int64_t heads);
/* mmrec_model_check of models mmrec and block. */
mmrec_status mmrec_model_config_check(const mmrec_model_config *config, mmrec_error *error) MMREC_MUST_CHECK;

/* ---- all models ---- */

/* Checks configuration (of the kind's own type) and run, and builds the model into an empty graph, backward phase included
 * when asked. CONFIG for a run that the model does not have. */
mmrec_status mmrec_model_build(mmrec_model_kind kind, const void *config, const mmrec_model_run *run,
                               mmrec_graph *graph, mmrec_error *error) MMREC_MUST_CHECK;

/* Writes initial values of every parameter, drawn by (seed, parameter number, index), as docs/model.md and
 * docs/baselines.md list them. Same values on every backend, up to its type, and with HEM on or off. */
mmrec_status mmrec_model_init(mmrec_exec *exec, const mmrec_graph *graph, mmrec_allocator *allocator, uint64_t seed,
                              mmrec_error *error) MMREC_MUST_CHECK;

/* Streaming: logits for a sequence given in chunks of any length, state carried from one to the next. */
typedef struct mmrec_stream mmrec_stream;

/* `params_from` holds the parameters (an exec of model `mmrec` of the same configuration), says what is stored in bf16,
 * and must outlive the stream.
 * CONFIG for a configuration or batch that is refused, SHAPE when the state of a batch is beyond memory, NO_MEMORY. Destroy
 * is NULL-safe and clears. */
mmrec_status mmrec_stream_create(mmrec_allocator *allocator, const mmrec_backend *backend, mmrec_exec *params_from,
                                 const mmrec_model_config *config, int64_t batch, bool hem, int threads,
                                 mmrec_stream **out, mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_stream_destroy(mmrec_stream **stream);
/* Feeds ids (B, time), time >= 1 and free to differ from call to call; fills logits (B, time, V) unless NULL. CONFIG for an
 * id outside of the vocabulary, a time out of range, or parameters of another configuration; NO_MEMORY. On failure the
 * carried state is as it was. */
mmrec_status mmrec_stream_feed(mmrec_stream *stream, const int32_t *ids, int64_t time, double *logits,
                               mmrec_error *error) MMREC_MUST_CHECK;
/* Copies the carried state of a layer: h (B,D), mem_k and mem_v (B,S,D); each may be NULL. CONFIG before the first chunk
 * and for a layer the model does not have. */
mmrec_status mmrec_stream_state(const mmrec_stream *stream, int64_t layer, double *h, double *mem_k, double *mem_v,
                                mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
