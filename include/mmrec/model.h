/* The models: configuration, building into a graph, initial values, and streaming with carried state.
 *
 * Names of parameters and what is computed: docs/model.md, after the published MM-Rec block. A model graph has these
 * named tensors besides its parameters ("blocks.<i>.q.weight" ...; without the prefix in model `block`):
 *   block:  inputs x (B,T,D), h0 (B,D) [, state.mem_k, state.mem_v (B,S,D) with carried state]; results y, gamma, h,
 *           aux (1), h_last, mem_k, mem_v; d.y is the input that seeds the gradient of y
 *   mmrec:  inputs ids (B,T), targets (B,T), state.<i>.h (B,D) [, state.<i>.mem_k, .mem_v (B,S,D)]; results logits, loss,
 *           loss_main, loss_aux (1 each), next.<i>.h, next.<i>.mem_k, next.<i>.mem_v
 * aux and loss_aux exist only where there is an auxiliary loss; logits not where there are gradients, unless the run asks
 * for them. Inputs must be written before every run, state too. */
#ifndef MMREC_MODEL_H
#define MMREC_MODEL_H

#include "mmrec/exec.h"
#include "mmrec/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmrec_uboo { MMREC_UBOO_OFF, MMREC_UBOO_PLANNING, MMREC_UBOO_DEEP } mmrec_uboo;

/* "off", "planning" or "deep"; and back, CONFIG naming the choices otherwise. */
const char *mmrec_uboo_name(mmrec_uboo uboo);
mmrec_status mmrec_uboo_find(const char *name, mmrec_uboo *out, mmrec_error *error) MMREC_MUST_CHECK;

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
    bool carried;   /* memory comes from the state inputs, not from the trained first memory */
    bool loss;      /* mmrec: add targets and losses (always there for gradients) */
    bool gradient;  /* append the backward phase */
    bool logits;    /* mmrec: they stay readable even where there are gradients, which then take memory of their own */
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

/* The usual sizes: inner = dim / 4, ffn = 4 dim, slots 1024 with level 2, memory_decay 0.99, uboo_weight 0.1. */
mmrec_model_config mmrec_model_config_default(int64_t vocab, int64_t dim, int64_t layers, int64_t heads);
/* CONFIG with words: which value, what it must be. */
mmrec_status mmrec_model_config_check(const mmrec_model_config *config, mmrec_error *error) MMREC_MUST_CHECK;

/* Builds the model into an empty graph, backward phase included when asked. */
mmrec_status mmrec_model_build(mmrec_model_kind kind, const mmrec_model_config *config, const mmrec_model_run *run,
                               mmrec_graph *graph, mmrec_error *error) MMREC_MUST_CHECK;

/* Writes initial values of every parameter, drawn by (seed, parameter number, index): weights normal with standard
 * deviation 1 / sqrt(columns), embedding 0.02 ... as docs/model.md lists. Same values on every backend, up to its type,
 * and with HEM on or off. */
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
