/* What bench_op.c and bench_op_call.c share: one op at one size, with memory and numbers. */
#ifndef MMREC_BENCH_OP_IMPL_H
#define MMREC_BENCH_OP_IMPL_H

#include "bench_impl.h"

typedef struct op_use {
    mmrec_allocator *allocator;
    const mmrec_backend *backend;
    mmrec_op_id op;
    const mmrec_op_def *def;
    bool bf16;           /* numbers that may be stored in bf16 are ones it holds */
    mmrec_dtype storage; /* of the call (op.h): bf16 where that is asked for and the backend stores it */
    mmrec_op_sizes sizes;
    mmrec_op_call call;             /* with every gradient the op can give */
    unsigned char *memory, *mirror; /* the arguments; the same on the host: for a device copies of it, else itself */
    size_t bytes;
} op_use;

/* Sizes from text, memory, inputs and outer gradients drawn with the options' seed and for their storage: the same
 * numbers on every backend. On failure nothing is left to free. */
mmrec_status op_use_create(mmrec_allocator *allocator, const mmrec_backend *backend, mmrec_op_id op, const char *text,
                           const mmrec_bench_options *options, op_use *out, mmrec_error *error) MMREC_MUST_CHECK;
void op_use_free(op_use *use);
mmrec_status op_use_run(op_use *use, mmrec_pass pass, mmrec_error *error) MMREC_MUST_CHECK;
/* Whether there is anything to run backward. */
bool op_use_differentiable(const op_use *use);
/* Dense values of one of its views as doubles, once the device is done. */
mmrec_status op_use_read(const op_use *use, const mmrec_view *view, double *values,
                         mmrec_error *error) MMREC_MUST_CHECK;

/* Writes into `out` the size text with its letters halved, the largest first, until a call is cheap for the reference.
 * A letter that the op does not allow to be halved stays as it is. */
mmrec_status op_size_reduce(const mmrec_op_def *def, const char *text, char *out, size_t size,
                            mmrec_error *error) MMREC_MUST_CHECK;

/* The yardstick of an op that is being timed. */
typedef struct op_against {
    op_use *use;
    mmrec_op_against *out;
    bool open;
    bool recorded[MMREC_PASSES]; /* the yardstick is one launch a pass */
    struct op_against_pass {
        struct op_against *of;
        mmrec_pass pass;
    } pass[MMREC_PASSES];
} op_against;

/* Makes the yardstick of the options, for the sizes of `use`, which must not move. Where it cannot be had, `out` says
 * why and the rest goes on; an error only where the device was lost. Close in any case. */
mmrec_status op_against_open(op_use *use, const mmrec_bench_options *options, mmrec_op_against *out,
                             op_against *against, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_subject op_against_subject(op_against *against, mmrec_pass pass);
void op_against_close(op_against *against);

#endif
