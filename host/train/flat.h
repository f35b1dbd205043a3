/* Copies and sums of whole tensors where they lie, in host or device memory, in the backend's own arithmetic: nothing
 * becomes double on the way, and nothing is waited for.
 *
 * They are calls of ops (`fill`, and the backward half of `combine`, which is d_in = c d_out, overwriting or adding),
 * so every backend has them. */
#ifndef MMREC_TRAIN_FLAT_H
#define MMREC_TRAIN_FLAT_H

#include "mmrec/backend.h"

typedef struct flat {
    const mmrec_backend *backend;
    int threads; /* as a graph of this backend counts them (mmrec_backend_threads) */
} flat;

/* to = value */
mmrec_status flat_fill(flat f, mmrec_view to, double value, mmrec_error *error) MMREC_MUST_CHECK;
/* to = factor from; to += factor from. Both of one shape and type (INTERNAL otherwise), not overlapping. */
mmrec_status flat_copy(flat f, mmrec_view to, mmrec_view from, double factor, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status flat_add(flat f, mmrec_view to, mmrec_view from, double factor, mmrec_error *error) MMREC_MUST_CHECK;

/* Elements [first, first + elements(shape)) of a dense view, as another shape. */
mmrec_view flat_part(mmrec_view view, int64_t first, mmrec_shape shape);

#endif
