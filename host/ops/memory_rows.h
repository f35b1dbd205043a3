/* Which memory a batch row reads: one shared by all rows (no leading axis, or one of size 1), or one each. */
#ifndef MMREC_MEMORY_ROWS_H
#define MMREC_MEMORY_ROWS_H

#include "op_impl.h"

/* Refuses leading axes that are neither absent, nor 1, nor the batch. */
static inline mmrec_status memory_check(const char *op, const mmrec_op_sizes *sizes, mmrec_error *error) {
    int64_t batch = MMREC_SIZE(sizes, B);
    bool fits =
        sizes->star.ndim == 0 || (sizes->star.ndim == 1 && (sizes->star.dim[0] == 1 || sizes->star.dim[0] == batch));
    if (!fits) {
        char text[96];
        MMREC_FAIL(error, MMREC_SHAPE,
                   "%s: memory with leading axes %s for a batch of %lld: give one memory for all, or %lld", op,
                   mmrec_shape_text(&sizes->star, text, sizeof text), (long long)batch, (long long)batch);
    }
    return MMREC_OK;
}

/* Memories given: 1 or B. */
static inline int64_t memory_count(const mmrec_op_sizes *sizes) { return sizes->star.ndim ? sizes->star.dim[0] : 1; }

#endif
