/* Training: one trainer holds a model, its optimizer and everything that a step depends on, so that saving it and going
 * on later gives the same bits as not stopping.
 *
 * A step is `accumulate` micro-batches, the mean of their gradients, and one AdamW update (mmrec/optimizer.h).
 * Everything random is addressed: dropout of micro-batch m draws under a seed made of (seed, m), the data likewise.
 *
 * Guards: a step is made whole or not at all. Where a loss, a carried state or a gradient of it is not finite, nothing
 * of it reaches weights, moments or carried state, and what is left of its micro-batches is passed over; the data goes
 * on. The micro-batch is run again node by node to name the op that made the first such value, and after
 * MMREC_GUARD_MOST steps in a row without an update the step fails. A loss far above those of the steps before it is
 * reported as a spike, by a z-score of median and median absolute deviation over the last MMREC_GUARD_WINDOW losses of
 * steps that were made.
 *
 * With `stream` a batch goes on where the one before it ended: h and memory of every layer are carried, gradients stop
 * at the batch's beginning (truncated backpropagation through time). Where an epoch begins (mmrec_data_starts), the
 * state is h = 0 and the trained first memory, which gets its gradient there. Memory does not depend on the number of
 * batches.
 *
 * Thread rule: one thread at a time; the loader's thread is the trainer's own affair. */
#ifndef MMREC_TRAIN_H
#define MMREC_TRAIN_H

#include "mmrec/checkpoint.h"
#include "mmrec/data.h"
#include "mmrec/model.h"
#include "mmrec/optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Steps in a row without an update that are the end; losses in the spike guard's window, and those it needs; bytes of a
 * culprit's text. */
enum { MMREC_GUARD_MOST = 3, MMREC_GUARD_WINDOW = 64, MMREC_GUARD_LEAST = 16, MMREC_CULPRIT = 128 };

/* Rate of step s (from 0): rate (s + 1) / warmup_steps while s < warmup_steps, then a half cosine from rate down to
 * final_share * rate at step steps - 1, and that value from there on (Loshchilov and Hutter, SGDR, ICLR 2017, eq. 5).
 */
typedef struct mmrec_schedule {
    double rate, final_share;    /* rate >= 0; final_share from 0 to 1 */
    int64_t warmup_steps, steps; /* >= 0, >= 1 */
} mmrec_schedule;
double mmrec_schedule_rate(const mmrec_schedule *schedule, int64_t step);

typedef struct mmrec_train_config {
    mmrec_model_config model;
    mmrec_optimizer_config optimizer;
    mmrec_schedule schedule;
    int64_t batch, time; /* of a micro-batch */
    int64_t accumulate;  /* micro-batches in a step, >= 1; more than one take a second set of gradients */
    bool stream;         /* carried state; the data must be of a stream too */
    bool hem, recompute;
    bool bf16;   /* storage (mmrec_backend_stores) */
    bool graphs; /* on a device: each phase as one CUDA graph */
    int threads;
    uint64_t seed;      /* of initial values and dropout */
    double spike_score; /* z-score from which a loss counts as a spike, > 0 */
} mmrec_train_config;

/* What one step did. Losses are means over its micro-batches, in nats; all three are NaN where one was not finite. */
typedef struct mmrec_train_record {
    int64_t step;                      /* number of steps made, this one included; skipped ones count */
    double loss, loss_main, loss_aux;  /* as model.h has them; loss_aux 0 without an auxiliary loss */
    double gradient_norm, clip_factor; /* norm before clipping; NaN where the step was stopped before the update */
    double rate;
    double growth;               /* largest multiplier of h in the recurrences of this step; NaN: not finite */
    int64_t tokens;              /* of this step, passed over or not */
    uint64_t ns;                 /* wall time of its micro-batches, data and update included */
    bool skipped;                /* a guard acted */
    bool spike;                  /* spike_score is at least that of the configuration */
    double spike_score;          /* NaN while the window has under MMREC_GUARD_LEAST losses, and where skipped */
    char culprit[MMREC_CULPRIT]; /* of a skipped step: "linear forward, layer 2"; else "" */
} mmrec_train_record;

/* Totals since the beginning of the training, over stops. */
typedef struct mmrec_train_totals {
    int64_t steps, micro_batches, tokens, skipped, skipped_in_row, spikes;
    double largest_growth; /* of those that were finite */
} mmrec_train_totals;

typedef struct mmrec_trainer mmrec_trainer;

/* Width 128, 2 layers, 4 heads, 64 slots of level 1, vocabulary 256; batch 12, time 64; 1000 steps, 100 of them warm-up
 * to 1e-3, down to a tenth; no accumulation, stream, dropout or recomputation; HEM and graphs on; 1 thread, seed 1,
 * spikes from 6. */
mmrec_train_config mmrec_train_config_default(void);

/* Builds and initialises the model, and sets the number of threads of the process (mmrec_backend_set_threads). `data`
 * and `backend` must outlive the trainer; batch, time and stream of the data must be those of the configuration and its
 * vocabulary not larger than the model's: CONFIG with words, as for every value out of range. NO_MEMORY; UNSUPPORTED
 * for a storage the backend does not have; IO when the loader's thread cannot be started. After the first step no step
 * allocates, but one that is skipped (to name the culprit). Destroy is NULL-safe and clears. */
mmrec_status mmrec_trainer_create(mmrec_allocator *allocator, const mmrec_backend *backend, const mmrec_data *data,
                                  const mmrec_train_config *config, mmrec_trainer **out,
                                  mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_trainer_destroy(mmrec_trainer **trainer);

/* What it was created with; what was done; the training graph's exec: parameters, gradients of the last step. All live
 * as long as the trainer. */
const mmrec_train_config *mmrec_trainer_config(const mmrec_trainer *trainer);
mmrec_train_totals mmrec_trainer_totals(const mmrec_trainer *trainer);
mmrec_exec *mmrec_trainer_exec(mmrec_trainer *trainer);

/* One micro-batch; `*finished` says whether it ended a step, whose record is then in `record`. MISMATCH after
 * MMREC_GUARD_MOST skipped steps in a row: `*finished` and the record are filled all the same, and the message names
 * step and op; the trainer may be saved then and holds the weights of the last step that was made. After any other
 * failure it can only be destroyed. */
mmrec_status mmrec_trainer_micro(mmrec_trainer *trainer, bool *finished, mmrec_train_record *record,
                                 mmrec_error *error) MMREC_MUST_CHECK;
/* Micro-batches until a step is finished. */
mmrec_status mmrec_trainer_step(mmrec_trainer *trainer, mmrec_train_record *record,
                                mmrec_error *error) MMREC_MUST_CHECK;

/* Loss on held-out batches 0 .. batches - 1 (fewer if there are fewer), without dropout; with `stream`, state is
 * carried from one to the next. Training is as if it had not happened, between micro-batches too. Its graph is built at
 * the first call (NO_MEMORY) and kept. CONFIG when nothing is held out, and for batches < 1. */
typedef struct mmrec_evaluation {
    double loss;     /* mean cross-entropy of the last layer's head, nats; perplexity = exp, bits per byte = / ln 2 */
    double loss_aux; /* mean of loss_aux as model.h has it; 0 without */
    double accuracy; /* share of the places asked for where the target's logit was the largest; NaN: not asked for */
    int64_t batches, tokens, asked;
} mmrec_evaluation;
mmrec_status mmrec_trainer_evaluate(mmrec_trainer *trainer, int64_t batches, bool accuracy, mmrec_evaluation *out,
                                    mmrec_error *error) MMREC_MUST_CHECK;

/* Gradients of the main and of the auxiliary loss apart (mmrec_loss_part), on held-out batch 0 (training batch 0 where
 * nothing is held out) from its beginning, without dropout. Training is as if it had not happened. Two graphs with
 * gradients are built at the first call (NO_MEMORY) and kept. CONFIG without an auxiliary loss. */
typedef struct mmrec_gradient_angle {
    double main_norm, aux_norm; /* over all parameters */
    double cosine;              /* over the parameters that both reach; NaN where there are none */
} mmrec_gradient_angle;
mmrec_status mmrec_trainer_angle(mmrec_trainer *trainer, mmrec_gradient_angle *out,
                                 mmrec_error *error) MMREC_MUST_CHECK;

/* Gradients of the last step, parameter by parameter, before clipping. */
typedef enum mmrec_gradient_state {
    MMREC_GRADIENT_FLOWS,
    MMREC_GRADIENT_ZERO,    /* every element is exactly zero, though the loss depends on the parameter */
    MMREC_GRADIENT_MISSING, /* the loss of the step does not depend on it */
    MMREC_GRADIENT_NOT_FINITE,
    MMREC_GRADIENT_STATES
} mmrec_gradient_state;
const char *mmrec_gradient_state_name(mmrec_gradient_state state); /* "flows", "zero" ...; "?" */
typedef struct mmrec_gradient_stat {
    const char *name; /* of the parameter; lives as long as the trainer */
    int64_t count;    /* elements */
    int64_t zeros, not_finite;
    double norm;           /* of the finite elements */
    double parameter_norm; /* of the finite elements */
    mmrec_gradient_state state;
    int64_t dead_steps; /* from the first look in a row that found nothing but zeros to this one; 0: it flows */
} mmrec_gradient_stat;
int mmrec_trainer_gradient_count(const mmrec_trainer *trainer);
/* Fills `out` (as many as gradient_count, in the order of the graph) from the gradients as they lie there now: behind a
 * step those of the step, within one those of its last micro-batch. Reads parameters and gradients once, so it costs
 * about an optimizer step. CONFIG before the first step. */
mmrec_status mmrec_trainer_gradients(mmrec_trainer *trainer, mmrec_gradient_stat *out,
                                     mmrec_error *error) MMREC_MUST_CHECK;

/* Writes `count` ids drawn from the model behind `prompt` (at least one id), at temperature > 0 (0: the most probable),
 * addressed by `seed`. Training is as if it had not happened. CONFIG for an empty prompt, an id outside of the
 * vocabulary, a negative count or temperature; MISMATCH when a logit is not finite; NO_MEMORY. */
mmrec_status mmrec_trainer_sample(mmrec_trainer *trainer, const int32_t *prompt, int64_t prompt_count,
                                  double temperature, uint64_t seed, int32_t *ids, int64_t count,
                                  mmrec_error *error) MMREC_MUST_CHECK;

/* Everything a step depends on into an empty checkpoint, and back, at any point between micro-batches. Tensors, F32 or
 * F64 as the backend computes, so that no bit is lost: <parameter>, optimizer.first.<parameter>,
 * optimizer.second.<parameter> accumulated.<parameter>             within a step: the gradients so far, each
 * micro-batch's divided by their number state.<i>.h, .mem_k, .mem_v         with stream: the state before the step;
 * within one, next.<i>.* behind its last micro-batch guard.window, guard.zero_since      losses of the spike guard,
 * oldest first; by parameter, since when it is dead and texts: config.*, data.*, progress.*, step.*, optimizer.*,
 * state.carried.
 *
 * Loading refuses with CONFIG, naming the key and both values, a checkpoint of another model, data, batch or seed, and
 * within a step of another `accumulate`; other differences, of schedule, optimizer, threads, HEM or backend, are taken
 * and each told to `note` (may be NULL). FORMAT for what is missing or cannot be, and for parameters, moments,
 * gradients and states that are not finite as the backend's numbers, naming the tensor. NO_MEMORY. After a failed load
 * the trainer can only be destroyed. */
typedef void (*mmrec_trainer_note)(void *context, const char *text);
mmrec_status mmrec_trainer_save(mmrec_trainer *trainer, mmrec_checkpoint *to, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_trainer_load(mmrec_trainer *trainer, const mmrec_checkpoint *from, mmrec_trainer_note note,
                                void *context, mmrec_error *error) MMREC_MUST_CHECK;

/* Batches that were not ready when a micro-batch wanted them, and the time it took to make them on the spot, ns: since
 * the trainer was created or loaded (mmrec_loader_waits). */
void mmrec_trainer_waits(const mmrec_trainer *trainer, int64_t *count, uint64_t *ns);

/* Planned bytes of the training graph by arena. Beside them lie: the sum of gradients (accumulate > 1: as many bytes as
 * the gradients), carried state (stream: B D (4 + 2 S) numbers a layer, and B D (1 + 2 S) more where
 * accumulate > 1), half a MiB, and the graphs of evaluation and angle. */
void mmrec_trainer_memory(const mmrec_trainer *trainer, size_t bytes[MMREC_ARENAS]);

#ifdef __cplusplus
}
#endif
#endif
