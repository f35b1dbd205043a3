/* What bench_op.c and bench_op_call.c share: one op at one size, with memory and numbers. */
#ifndef MMREC_BENCH_OP_IMPL_H
#define MMREC_BENCH_OP_IMPL_H

#include "bench_impl.h"

typedef struct op_use {
    mmrec_allocator *allocator;
    const mmrec_backend *backend;
    mmrec_op_id op;
    const mmrec_op_def *def;
    mmrec_op_sizes sizes;
    mmrec_op_call call; /* with every gradient the op can give */
    unsigned char *memory;
    size_t bytes;
} op_use;

/* Sizes from text, memory, inputs and outer gradients drawn with `seed`: the same numbers, to rounding, on every
 * backend. On failure nothing is left to free. */
mmrec_status op_use_create(mmrec_allocator *allocator, const mmrec_backend *backend, mmrec_op_id op, const char *text,
                           int threads, uint64_t seed, op_use *out, mmrec_error *error) MMREC_MUST_CHECK;
void op_use_free(op_use *use);
mmrec_status op_use_run(op_use *use, mmrec_pass pass, mmrec_error *error) MMREC_MUST_CHECK;
/* Whether there is anything to run backward. */
bool op_use_differentiable(const op_use *use);
/* Dense values of a view as doubles. */
void op_use_read(const mmrec_view *view, double *values);

/* Writes into `out` the size text with its letters halved, the largest first, until a call is cheap for the reference.
 * A letter that the op does not allow to be halved stays as it is. */
mmrec_status op_size_reduce(const mmrec_op_def *def, const char *text, char *out, size_t size,
                            mmrec_error *error) MMREC_MUST_CHECK;

#endif
