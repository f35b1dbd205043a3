/* Where the kernels of `lstm` and `gru` keep things in their scratch memory (kernels/rnn_layer.cuh): shared with the op
 * files, which must know the bytes of a call without a device. They follow from the sizes alone, so both ways of
 * running the steps have their places.
 *
 * `gates` is what W has of H rows: 4 for lstm, 3 for gru. Slopes, the gradients of what enters the gates, have 4 H
 * columns for both: gru's n has one for each of its halves. */
#ifndef MMREC_RNN_DEVICE_H
#define MMREC_RNN_DEVICE_H

#include <string.h>

#include "ops/pieces_device.h"

enum { RNN_SLOPES = 4 };

typedef struct rnn_sizes {
    int64_t batch, steps, width, gates;
    int64_t inputs;    /* rows of x for a batch row: all steps, or one for all of them */
    bool in_place;     /* the input half of the gates is made where the gates are saved */
    bool folded;       /* one row of x: its slopes are summed over the steps */
    row_pieces pieces; /* of the biases' gradients */
    /* Bytes from the start of the scratch memory. */
    size_t input, product, carry, slopes, first, sums, fold, bytes;
} rnn_sizes;

/* Takes `count` floats; returns where they start. */
static inline size_t rnn_take(rnn_sizes *r, int64_t count) {
    size_t at = r->bytes;
    r->bytes += ((size_t)count * sizeof(float) + 63) / 64 * 64;
    return at;
}

static inline void rnn_take_forward(rnn_sizes *r) {
    int64_t state = r->batch * r->width;
    if (!r->in_place) r->input = rnn_take(r, state * r->inputs * r->gates);
    r->product = rnn_take(r, state * r->gates);
    r->carry = rnn_take(r, state);
}

static inline void rnn_take_backward(rnn_sizes *r) {
    int64_t state = r->batch * r->width;
    r->slopes = rnn_take(r, state * r->steps * RNN_SLOPES);
    r->product = rnn_take(r, state);
    r->carry = rnn_take(r, state);
    r->first = rnn_take(r, state * r->gates);
    if (r->folded) r->fold = rnn_take(r, state * RNN_SLOPES);
    r->pieces = pieces_of_bias(r->batch * r->inputs, r->width * RNN_SLOPES);
    r->sums = rnn_take(r, r->pieces.count * r->pieces.stride);
}

/* The axes are B, X (rows of x), T and H; saved tensor 0 is the gates. */
static inline rnn_sizes rnn_sizes_of(const mmrec_op_sizes *sizes, int64_t gates, mmrec_pass pass) {
    rnn_sizes r;
    memset(&r, 0, sizeof r);
    r.batch = MMREC_SIZE(sizes, B);
    r.steps = MMREC_SIZE(sizes, T);
    r.width = MMREC_SIZE(sizes, H);
    r.inputs = MMREC_SIZE(sizes, X);
    r.gates = gates;
    r.folded = r.inputs < r.steps;
    r.in_place = !r.folded && (sizes->stored & 1u) != 0;
    if (pass == MMREC_FORWARD) {
        rnn_take_forward(&r);
    } else {
        rnn_take_backward(&r);
    }
    return r;
}

#endif
