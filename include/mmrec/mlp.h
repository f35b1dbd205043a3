/* Training a small MLP without a graph: model `mlp` (model.h) with AdamW (optimizer.h), where forward, backward and
 * update of a batch are one call of the backend: one pass that stays in the cache on the host, one launch on a device,
 * for as many steps as there is data. What is fused, the limits and the figures: docs/mlp.md.
 *
 * Names, shapes and initial values of the parameters are those of the graph, and so is what comes of a step, up to
 * rounding. A step allocates nothing. The host uses one thread. */
#ifndef MMREC_MLP_H
#define MMREC_MLP_H

#include "mmrec/model.h"
#include "mmrec/optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmrec_mlp_trainer mmrec_mlp_trainer;

/* The largest MLP on the host, in numbers: parameters, gradients, moments, and the activations of a batch. That many
 * floats are 512 KiB, the second-level cache of a core. A larger one is a matter for the graph. */
enum { MMREC_MLP_NUMBERS = 128 << 10 };

/* Samples, (N, I) with (N, O), or with N classes where the loss is cross-entropy; the other one is NULL. */
typedef struct mmrec_mlp_samples {
    const double *x, *target;
    const int32_t *classes;
    int64_t count;
} mmrec_mlp_samples;

typedef struct mmrec_mlp_report {
    double loss;          /* before the update; of an epoch: over its samples, each with its step's parameters */
    double gradient_norm; /* before clipping; of the last step */
    int64_t skipped;      /* steps in which the guard acted */
    int64_t step;         /* updates made so far */
} mmrec_mlp_report;

/* Parameters drawn by `seed` as mmrec_model_init draws them, moments zero. CONFIG for what model or optimizer refuse,
 * a batch below 1, or an MLP that is too large (on a device: for the shared memory of a block), with the limit;
 * NO_MEMORY. Destroy is NULL-safe and clears. */
mmrec_status mmrec_mlp_create(mmrec_allocator *allocator, const mmrec_backend *backend, const mmrec_mlp_config *config,
                              const mmrec_optimizer_config *optimizer, int64_t batch, uint64_t seed,
                              mmrec_mlp_trainer **out, mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_mlp_destroy(mmrec_mlp_trainer **trainer);
/* Whether mmrec_mlp_create would take it, without making anything of it. */
mmrec_status mmrec_mlp_check(const mmrec_backend *backend, const mmrec_mlp_config *config, int64_t batch,
                             mmrec_error *error) MMREC_MUST_CHECK;

/* A parameter by its name in the graph, "layers.0.weight" (out, in) or "layers.0.bias" (out). CONFIG for another name,
 * SHAPE for another count. */
mmrec_status mmrec_mlp_read(const mmrec_mlp_trainer *trainer, const char *name, double *values, int64_t count,
                            mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_mlp_write(mmrec_mlp_trainer *trainer, const char *name, const double *values, int64_t count,
                             mmrec_error *error) MMREC_MUST_CHECK;

/* One step on 1 to `batch` samples. `report` NULL: on a device the step is queued and not waited for. CONFIG for a rate
 * that is negative or not finite, another number of samples, classes out of range, or a target of the wrong kind. A
 * step that the guard skipped is no failure. */
mmrec_status mmrec_mlp_step(mmrec_mlp_trainer *trainer, const mmrec_mlp_samples *samples, double rate,
                            mmrec_mlp_report *report, mmrec_error *error) MMREC_MUST_CHECK;
/* y (N, O) for N rows of x, any number: values, or scores of classes. */
mmrec_status mmrec_mlp_predict(mmrec_mlp_trainer *trainer, const double *x, int64_t count, double *y,
                               mmrec_error *error) MMREC_MUST_CHECK;
/* The mean loss over the samples, any number, without training. */
mmrec_status mmrec_mlp_loss_of(mmrec_mlp_trainer *trainer, const mmrec_mlp_samples *samples, double *loss,
                               mmrec_error *error) MMREC_MUST_CHECK;

/* Samples to train on from now on: copied once into the backend's memory. CONFIG as in a step; NO_MEMORY, which leaves
 * none. */
mmrec_status mmrec_mlp_load(mmrec_mlp_trainer *trainer, const mmrec_mlp_samples *samples,
                            mmrec_error *error) MMREC_MUST_CHECK;
/* One step after the other over all of them, the last on what is left of them; on a device in one launch. `order`: the
 * samples in their order, each number in [0, N), N of them; NULL: as they lie. */
mmrec_status mmrec_mlp_epoch(mmrec_mlp_trainer *trainer, const int32_t *order, double rate, mmrec_mlp_report *report,
                             mmrec_error *error) MMREC_MUST_CHECK;

/* ---- what it costs ---- */

int64_t mmrec_mlp_parameters(const mmrec_mlp_config *config);
/* FLOPs of the products of a step of that many samples, forward and backward: 2 for each weight and sample forward, 4
 * backward, less the 2 for the gradient of x, which nobody needs. */
double mmrec_mlp_flops(const mmrec_mlp_config *config, int64_t samples);
/* The backend's memory: PARAMS, OPTIMIZER, SCRATCH with the samples; 0 for the other arenas. */
size_t mmrec_mlp_bytes(const mmrec_mlp_trainer *trainer, mmrec_arena arena);

#ifdef __cplusplus
}
#endif
#endif
