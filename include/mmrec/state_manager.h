/* The state manager: which of a bank of state vectors take part, by an importance that follows evidence.
 *
 * The vectors are a parameter `states` (max, D) of a graph, drawn from N(0, 0.1^2). The manager holds what is no
 * parameter, in double: an importance logit for each slot, and which slots are active. A graph takes the vectors of the
 * active slots by op `embedding` on the ids of mmrec_state_manager_active_ids, so that the importance gets no gradient.
 *
 *   score = sigmoid(logit)
 *   update by evidence g, one number a slot:  q = 0.9 score + 0.1 g, between 1e-6 and 1 - 1e-6;
 *                                             logit = log(q / (1 - q + 1e-8))
 *   prune:     active slots with a score below a threshold fall asleep, unless none would be left
 *   allocate:  the first sleeping slots wake; vectors and logits are as they were
 *
 * A call that is refused changes nothing. Thread rule: a manager belongs to one thread at a time. */
#ifndef MMREC_STATE_MANAGER_H
#define MMREC_STATE_MANAGER_H

#include <stdbool.h>
#include <stdint.h>

#include "mmrec/alloc.h"
#include "mmrec/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmrec_state_manager mmrec_state_manager;

typedef struct mmrec_state_config {
    int64_t max, initial; /* slots; those active at first, 1 to max */
    double threshold;     /* what mmrec_state_manager_prune is usually given, in [0, 1] */
    uint64_t seed;        /* of the first logits, U(0.5, 1) */
} mmrec_state_config;

/* CONFIG, naming the figure, where the sizes or the threshold do not fit. */
mmrec_status mmrec_state_manager_create(mmrec_allocator *allocator, const mmrec_state_config *config,
                                        mmrec_state_manager **out, mmrec_error *error) MMREC_MUST_CHECK;
/* NULL is allowed; `*manager` becomes NULL. */
void mmrec_state_manager_destroy(mmrec_state_manager **manager);

const mmrec_state_config *mmrec_state_manager_config(const mmrec_state_manager *manager);

/* Logits and mask of all `max` slots, as they are now: all that has to be saved. */
const double *mmrec_state_manager_logits(const mmrec_state_manager *manager);
const bool *mmrec_state_manager_mask(const mmrec_state_manager *manager);

/* Sets both (NULL: stays) from arrays of `count` slots. SHAPE: `count` is not max; CONFIG: a logit is not finite. */
mmrec_status mmrec_state_manager_set(mmrec_state_manager *manager, const double *logits, const bool *mask,
                                     int64_t count, mmrec_error *error) MMREC_MUST_CHECK;

/* Fills `scores` (max of them). */
void mmrec_state_manager_scores(const mmrec_state_manager *manager, double *scores);

/* The active slots: their number, and their numbers in order into `ids` (room for max; NULL: only count). */
int64_t mmrec_state_manager_active_ids(const mmrec_state_manager *manager, int32_t *ids);

/* Updates the logits of all slots, asleep or not, by
 * - evidence itself, one number for each of `slots` slots;
 * - the gradient of the vectors, (slots, width): the length of each slot's row;
 * - attention weights, (batch, slots): their means over the batch.
 * SHAPE: `slots` is not max, or another size is below 1; MISMATCH: a slot's evidence is not a finite number. */
mmrec_status mmrec_state_manager_update(mmrec_state_manager *manager, const double *evidence, int64_t slots,
                                        mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_state_manager_update_by_gradient(mmrec_state_manager *manager, const double *gradient, int64_t slots,
                                                    int64_t width, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_state_manager_update_by_weights(mmrec_state_manager *manager, const double *weights, int64_t batch,
                                                   int64_t slots, mmrec_error *error) MMREC_MUST_CHECK;

/* Puts active slots with a score below `threshold` to sleep; where none would be left only if `force`. `*count`: how
 * many fell asleep. CONFIG: the threshold is not in [0, 1]. */
mmrec_status mmrec_state_manager_prune(mmrec_state_manager *manager, double threshold, bool force, int64_t *count,
                                       mmrec_error *error) MMREC_MUST_CHECK;

/* Wakes the first `wanted` sleeping slots, or as many as there are. `*count`: how many woke. CONFIG: `wanted` is
 * negative. */
mmrec_status mmrec_state_manager_allocate(mmrec_state_manager *manager, int64_t wanted, int64_t *count,
                                          mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
