/* What the definitions of lstm and gru share besides their functions: sizes, refusals, scratch bytes and FLOPs.
 * Included after the fast functions, whose scratch bytes it asks for. */
#ifndef MMREC_RNN_SIZES_H
#define MMREC_RNN_SIZES_H

#include <limits.h>

#include "rnn_reference.h"

enum { ATTR_STEPS };

static mmrec_status bind_steps(mmrec_op_sizes *sizes, const char *op, mmrec_error *error) {
    double wanted = sizes->attr[ATTR_STEPS];
    int64_t have = MMREC_SIZE(sizes, X);
    if (!(wanted >= 0 && wanted <= INT_MAX) || wanted != floor(wanted)) {
        MMREC_FAIL(error, MMREC_SHAPE, "%s: steps is %g; give a whole number up to %d, or 0 for as many as x has", op,
                   wanted, INT_MAX);
    }
    int64_t steps = wanted > 0 ? (int64_t)wanted : have;
    if (have != steps && have != 1) {
        MMREC_FAIL(error, MMREC_SHAPE, "%s: x has %lld steps but %lld are wanted; give it as many, or one for all", op,
                   (long long)have, (long long)steps);
    }
    MMREC_SIZE(sizes, T) = steps;
    return MMREC_OK;
}

/* CBLAS counts in int; the refusal stands here so that every backend takes the same sizes. */
static mmrec_status check_sizes(const mmrec_op_sizes *sizes, const char *op, mmrec_error *error) {
    double rows = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, T);
    double columns = RNN_SLOPES * (double)MMREC_SIZE(sizes, H), inputs = (double)MMREC_SIZE(sizes, D);
    if (rows <= INT_MAX && columns <= INT_MAX && inputs <= INT_MAX) return MMREC_OK;
    MMREC_FAIL(error, MMREC_SHAPE,
               "%s: %.0f rows (B T), %.0f gate columns (%d H) and %.0f input columns, but none may exceed %d; use a "
               "smaller batch or fewer steps",
               op, rows, columns, RNN_SLOPES, inputs, INT_MAX);
}

/* Bytes come in double, as sizes whose product leaves the integers are refused, not wrapped. */
static mmrec_status take_scratch(mmrec_op_sizes *sizes, const char *op, const double *bytes, mmrec_error *error) {
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        if (bytes[pass] > 0x1p62) {
            MMREC_FAIL(error, MMREC_SHAPE, "%s: the sizes need %.3g bytes of scratch memory; use smaller ones", op,
                       bytes[pass]);
        }
        sizes->scratch_bytes[pass] = (size_t)bytes[pass];
    }
    return MMREC_OK;
}

/* Reals of the reference. Forward: a row of sums, and a state row beside the output's. Backward: slopes of all rows and
 * of a row for each sequence, and two state rows. */
static void reference_scratch(const mmrec_op_sizes *sizes, double *bytes) {
    double width = (double)MMREC_SIZE(sizes, H), batch = (double)MMREC_SIZE(sizes, B);
    bytes[MMREC_FORWARD] = (double)sizeof(real) * width * (GATES + 1);
    bytes[MMREC_BACKWARD] =
        (double)sizeof(real) * width * (batch * ((double)MMREC_SIZE(sizes, T) + 1) * RNN_SLOPES + 2);
}

static mmrec_status rnn_infer(mmrec_op_sizes *sizes, const char *op, mmrec_error *error) {
    double bytes[MMREC_PASSES];
    MMREC_TRY(bind_steps(sizes, op, error));
    MMREC_TRY(check_sizes(sizes, op, error));
    reference_scratch(sizes, bytes);
#if MMREC_REAL_F32
    bytes[MMREC_FORWARD] = fmax(bytes[MMREC_FORWARD], forward_scratch(sizes));
    bytes[MMREC_BACKWARD] = fmax(bytes[MMREC_BACKWARD], backward_scratch(sizes));
#endif
    return take_scratch(sizes, op, bytes, error);
}

static size_t rnn_device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    return rnn_sizes_of(sizes, GATES, pass).bytes;
}

/* `forward` and `backward`: FLOPs of a unit of a step besides the products. A product of x passes as often as x has
 * rows; one of h not at the first step where there is no h0. Backward the biases' sums come to it, and where x stays
 * those of its slopes over the steps. */
static mmrec_work rnn_work(const mmrec_op_sizes *sizes, mmrec_pass pass, double forward, double backward,
                           const double *transcendentals) {
    double batch = (double)MMREC_SIZE(sizes, B), steps = (double)MMREC_SIZE(sizes, T);
    double width = (double)MMREC_SIZE(sizes, H), gates = GATES * width, units = batch * steps * width;
    double of_x = 2 * batch * (double)MMREC_SIZE(sizes, X) * gates * (double)MMREC_SIZE(sizes, D);
    double of_h = 2 * batch * (given(sizes, IN_H0) ? steps : steps - 1) * gates * width;
    mmrec_work w = {of_x + of_h + units * forward, units * transcendentals[pass], 0};
    if (pass == MMREC_FORWARD) return w;
    w.flops = 2 * (of_x + of_h) + units * (backward + 2 * GATES);
    if (x_stays(sizes)) w.flops += units * GATES;
    return w;
}

#endif
