/* The spike guard: how far a loss lies above those before it.
 *
 * The last MMREC_GUARD_WINDOW finite losses, their median, and their median absolute deviation times 1.4826, which is
 * the standard deviation of normal numbers (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993). Half the
 * window can be spikes before either moves far. */
#ifndef MMREC_TRAIN_GUARD_H
#define MMREC_TRAIN_GUARD_H

#include <stdint.h>

#include "mmrec/train.h"

typedef struct guard {
    double window[MMREC_GUARD_WINDOW]; /* a ring */
    int64_t count, next;               /* losses in it, and the place of the next one */
} guard;

/* (loss - median) / deviation; NaN while the window has under MMREC_GUARD_LEAST losses, and for a loss that is not
 * finite. The deviation counts as at least 1e-3 of the median, so that a window of equal losses is not divided by 0 and
 * rounding is no spike. */
double guard_score(const guard *g, double loss);
/* Enters a loss; one that is not finite is not entered. */
void guard_add(guard *g, double loss);

/* The losses, oldest first; returns how many. And a window made of such (the last ones where there are too many). */
int64_t guard_losses(const guard *g, double losses[MMREC_GUARD_WINDOW]);
void guard_restore(guard *g, const double *losses, int64_t count);

#endif
