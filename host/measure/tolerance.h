/* How near a model comes to the exact values: the one place for parity and for the check before timing. */
#ifndef MMREC_MEASURE_TOLERANCE_H
#define MMREC_MEASURE_TOLERANCE_H

#include "mmrec/backend.h"

/* What outputs and gradients of a model on this backend may differ by, max |a - b| / max |b| of each tensor. */
mmrec_tolerance measure_tolerance(const mmrec_backend *backend, bool bf16, bool tf32);
/* The same after some twenty steps of training: `output` for the losses and norms of each, `gradient` for parameters.
 */
mmrec_tolerance measure_tolerance_trained(const mmrec_backend *backend, bool bf16, bool tf32);

#endif
