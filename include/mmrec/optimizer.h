/* AdamW over all parameters of an exec, with clipping by the global norm and a guard against non-finite gradients.
 *
 * Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (ICLR 2019), algorithm 2. For step t = 1, 2 ... of
 * rate a:
 *
 *   n = ||g||                           over the gradients of all parameters
 *   g <- g min(1, clip_norm / n)        where clip_norm > 0
 *   m <- beta1 m + (1 - beta1) g        v <- beta2 v + (1 - beta2) g^2
 *   w <- (1 - a decay) w - a m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
 *
 * The paper writes the decay without a and multiplies both terms by a schedule; here, as in common libraries, `a` is
 * the whole rate of the step, so decay = weight_decay is multiplied by it.
 *
 * Guard: where n is not finite, which is so exactly when some gradient is not, or where the clipped norm squared is
 * beyond the backend's real type (a second moment would be infinite), nothing is written: parameters, moments and the
 * step count stay as they were, and the report says so.
 *
 * The state is two moments per parameter in the plan's OPTIMIZER arena (mmrec_plan_options.optimizer_slots = 2). On a
 * device a step is one launch, and what changes from step to step (rate, count, powers of the betas) lies in the
 * device's memory, so a step can be captured in a graph and run again. */
#ifndef MMREC_OPTIMIZER_H
#define MMREC_OPTIMIZER_H

#include "mmrec/exec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmrec_optimizer mmrec_optimizer;

typedef struct mmrec_optimizer_config {
    double beta1, beta2; /* in [0, 1) */
    double epsilon;      /* > 0 */
    double weight_decay; /* >= 0 */
    double clip_norm;    /* >= 0; 0: no clipping */
} mmrec_optimizer_config;

/* beta1 0.9, beta2 0.95, epsilon 1e-8, weight_decay 0.1, clip_norm 1. */
mmrec_optimizer_config mmrec_optimizer_config_default(void);

/* Does weight decay act on the parameter of this name and shape? It does on matrices, embeddings included; not on
 * biases and norm weights (one axis), and not on a first memory ("memory.k", "memory.v"), which is a state and no map.
 */
bool mmrec_optimizer_decays(const char *name, const mmrec_shape *shape);

typedef struct mmrec_optimizer_report {
    double gradient_norm; /* before clipping; not finite where a gradient is not */
    double clip_factor;   /* what gradients were multiplied by, at most 1; 1 where nothing was written */
    bool skipped;         /* the guard acted: nothing was written */
    int64_t step;         /* updates made so far */
} mmrec_optimizer_report;

/* Work of one step over the parameters of a graph in numbers of that type, as the formula above has it: by parameter 2
 * FLOPs for the norm, 1 to clip, 3 and 4 for the moments, 2 corrections, 3 for quotient and rate, 2 for decay and
 * difference. Parameters and moments are read and written, gradients read for the norm and again for the step. */
mmrec_work mmrec_optimizer_work(const mmrec_graph *graph, mmrec_dtype real);

/* Moments zero, no step made. `exec` must outlive the optimizer and its graph be differentiated. CONFIG: settings out
 * of range, a graph without gradients or parameters, a plan without room for the moments; NO_MEMORY. After it a step
 * allocates nothing. Destroy is NULL-safe and clears. */
mmrec_status mmrec_optimizer_create(mmrec_allocator *allocator, mmrec_exec *exec, const mmrec_optimizer_config *config,
                                    mmrec_optimizer **out, mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_optimizer_destroy(mmrec_optimizer **optimizer);

/* One step with the gradients of the last backward phase; the parameters count as changed. `report` NULL: on a device
 * the step is queued and not waited for. CONFIG for a rate that is negative or not finite. A step the guard skipped is
 * no failure. */
mmrec_status mmrec_optimizer_step(mmrec_optimizer *optimizer, double rate, mmrec_optimizer_report *report,
                                  mmrec_error *error) MMREC_MUST_CHECK;

/* The parts of a step, for graphs of a device: the rate that queued and captured steps will find; the step itself,
 * which may be captured; and what the last one did, after waiting for it. A captured step that is run again must be
 * followed by mmrec_exec_params_changed, unless the graph holds the refresh phase too. */
mmrec_status mmrec_optimizer_rate(mmrec_optimizer *optimizer, double rate, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_optimizer_queue(mmrec_optimizer *optimizer, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_optimizer_report_of(mmrec_optimizer *optimizer, mmrec_optimizer_report *report,
                                       mmrec_error *error) MMREC_MUST_CHECK;

/* What a checkpoint needs beside the parameters. Progress: updates made, and the products of the betas of all of them,
 * which correct the moments. Resume sets it: CONFIG for a step below 0 or products outside of [0, 1]. */
typedef struct mmrec_optimizer_progress {
    int64_t step;
    double power1, power2; /* beta1^step, beta2^step where the betas never changed */
} mmrec_optimizer_progress;
mmrec_status mmrec_optimizer_progress_of(mmrec_optimizer *optimizer, mmrec_optimizer_progress *out,
                                         mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_optimizer_resume(mmrec_optimizer *optimizer, const mmrec_optimizer_progress *progress,
                                    mmrec_error *error) MMREC_MUST_CHECK;
/* The first and second moment of a parameter of the graph as views of the backend's memory, in the parameter's shape,
 * to be read and written (mmrec_exec_read_view). INTERNAL for another tensor. */
mmrec_status mmrec_optimizer_moments(const mmrec_optimizer *optimizer, mmrec_tensor parameter, mmrec_view moments[2],
                                     mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
