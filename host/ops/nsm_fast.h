/* The float functions of nsm_reset, nsm_update and nsm_lstm. The op that includes this says in `gates` which blocks of
 * a and u it reads and gives two functions over a strip of columns of one state, plain pointers and a count, that gcc
 * turns into vector code.
 *
 * Order of sums, whatever the number of threads: du adds the states in their order. Where the batch shares its states,
 * da and ds add the samples of a chunk in order and then the chunks, of which there are at most 16; their sums lie in
 * scratch.
 *
 * Only included where MMREC_REAL_F32 is 1. */
#ifndef MMREC_NSM_FAST_H
#define MMREC_NSM_FAST_H

#include "fast_each.h"
#include "fast_math.h"
#include "nsm_gates.h"

/* Elements below which a loop stays on one thread: each costs one to five exponentials, at 0.3 ns or more. */
enum { NSM_SERIAL = 4096 };
enum { NSM_SLOPES = 5 };

/* The inputs of one state of one sample from a column on, block by block of a and u. */
typedef struct nsm_strip {
    const float *a[NSM_SLOPES - 1], *u[NSM_SLOPES - 1], *s, *n, *dy; /* n: of nsm_update; dy: backward */
    int64_t count;
} nsm_strip;

typedef struct nsm_gates {
    int states, candidate;    /* which inputs s and n are; candidate 0: there is no n */
    int first, gates, inputs; /* the first block that is read, of a and of u; blocks of a; blocks of u */
    void (*value)(const nsm_strip *at, float *y);
    /* slope[0 .. inputs): gradients of the blocks of u, of which the first `gates` are those of a too, and the last
     * that of n; slope[inputs]: that of s. */
    void (*slope)(const nsm_strip *at, float (*slope)[FAST_STRIP]);
} nsm_gates;

static const nsm_gates gates; /* the op's */

static inline nsm_strip nsm_strip_at(const nsm_gates *g, const mmrec_op_call *call, int64_t b, int64_t s,
                                     int64_t column, int64_t count) {
    int64_t own = nsm_row(call->sizes, b, s), row = b * MMREC_SIZE(call->sizes, S) + s;
    nsm_strip at = {.s = view_row(&call->in[g->states], own) + column, .count = count};
    for (int k = 0; k < g->gates; k++) at.a[k] = nsm_state_half(call, b, s, g->first + k) + column;
    for (int k = 0; k < g->inputs; k++) at.u[k] = nsm_input_half(call, b, g->first + k) + column;
    if (g->candidate) at.n = view_row(&call->in[g->candidate], row) + column;
    if (call->d_out[0].data) at.dy = view_row(&call->d_out[0], row) + column;
    return at;
}

static mmrec_status nsm_fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t states = MMREC_SIZE(call->sizes, S), rows = MMREC_SIZE(call->sizes, B) * states;
    int64_t width = MMREC_SIZE(call->sizes, D);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * width >= NSM_SERIAL)
    for (int64_t row = 0; row < rows; row++) {
        nsm_strip at = nsm_strip_at(&gates, call, row / states, row % states, 0, width);
        gates.value(&at, view_row(&call->out[0], row));
    }
    return MMREC_OK;
}

/* Delivers `count` values where the gradient is wanted. */
static inline void nsm_fast_deliver(const mmrec_op_call *call, int input, int64_t row, int64_t column,
                                    const float *value, int64_t count, bool add) {
    const mmrec_view *to = &call->d_in[input];
    if (to->data) fast_deliver(view_row(to, row) + column, value, count, add || accumulates(call, input));
}

/* Zeros in the blocks of a row that the op does not read: all but [first, end). */
static inline void nsm_fast_clear(const mmrec_op_call *call, int input, int64_t row, int64_t first, int64_t end) {
    const mmrec_view *to = &call->d_in[input];
    if (!to->data || accumulates(call, input)) return;
    int64_t columns = mmrec_shape_columns(&to->shape);
    float *at = view_row(to, row);
    for (int64_t c = 0; c < first; c++) at[c] = 0;
    for (int64_t c = end; c < columns; c++) at[c] = 0;
}

/* All gradients of `count` columns of one state of one sample; those of a and s go to `part` where it is given. */
static inline void nsm_strip_gradient(const mmrec_op_call *call, const nsm_gates *g, int64_t b, int64_t s,
                                      int64_t column, int64_t count, float *part, bool first_sample) {
    float slope[NSM_SLOPES][FAST_STRIP];
    int64_t width = MMREC_SIZE(call->sizes, D), row = b * MMREC_SIZE(call->sizes, S) + s;
    nsm_strip at = nsm_strip_at(g, call, b, s, column, count);
    g->slope(&at, slope);
    for (int k = 0; k < g->inputs; k++) {
        nsm_fast_deliver(call, NSM_U, b, (g->first + k) * width + column, slope[k], count, s > 0);
    }
    if (g->candidate) nsm_fast_deliver(call, g->candidate, row, column, slope[g->inputs - 1], count, false);
    for (int k = 0; k < g->gates && !part; k++) {
        nsm_fast_deliver(call, NSM_A, row, (g->first + k) * width + column, slope[k], count, false);
    }
    if (!part) nsm_fast_deliver(call, g->states, row, column, slope[g->inputs], count, false);
    for (int k = 0; k <= g->gates && part; k++) {
        const float *value = slope[k < g->gates ? k : g->inputs];
        fast_deliver(part + (s * (g->gates + 1) + k) * width + column, value, count, !first_sample);
    }
}

/* All gradients of one sample. */
static inline void nsm_sample_gradient(const mmrec_op_call *call, const nsm_gates *g, int64_t b, float *part,
                                       bool first_sample) {
    int64_t states = MMREC_SIZE(call->sizes, S), width = MMREC_SIZE(call->sizes, D);
    nsm_fast_clear(call, NSM_U, b, g->first * width, (g->first + g->inputs) * width);
    for (int64_t s = 0; s < states; s++) {
        for (int64_t column = 0; column < width; column += FAST_STRIP) {
            nsm_strip_gradient(call, g, b, s, column, fast_min(FAST_STRIP, width - column), part, first_sample);
        }
        if (!part) nsm_fast_clear(call, NSM_A, b * states + s, g->first * width, (g->first + g->gates) * width);
    }
}

/* Adds the chunks' sums up in the first one's place and delivers them. */
static inline void nsm_join_state(const mmrec_op_call *call, const nsm_gates *g, int64_t s, int64_t chunks) {
    int64_t width = MMREC_SIZE(call->sizes, D), columns = (g->gates + 1) * width;
    int64_t step = nsm_part_floats(call->sizes, g->gates);
    float *sum = (float *)call->scratch + s * columns;
    for (int64_t k = 1; k < chunks; k++) fast_deliver(sum, sum + k * step, columns, true);
    nsm_fast_deliver(call, NSM_A, s, g->first * width, sum, g->gates * width, false);
    nsm_fast_clear(call, NSM_A, s, g->first * width, (g->first + g->gates) * width);
    nsm_fast_deliver(call, g->states, s, 0, sum + g->gates * width, width, false);
}

static mmrec_status nsm_fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_op_sizes *sizes = call->sizes;
    int64_t batch = MMREC_SIZE(sizes, B), states = MMREC_SIZE(sizes, S), size = nsm_chunk(sizes);
    int64_t chunks = fast_blocks(batch, size), step = nsm_part_floats(sizes, gates.gates);
    bool shared = nsm_shared(sizes), threads = batch * states * MMREC_SIZE(sizes, D) >= NSM_SERIAL;
#pragma omp parallel num_threads(sizes->threads) if (threads)
    {
#pragma omp for schedule(static)
        for (int64_t k = 0; k < chunks; k++) {
            float *part = shared ? (float *)call->scratch + k * step : NULL;
            for (int64_t b = k * size; b < fast_min(batch, (k + 1) * size); b++) {
                nsm_sample_gradient(call, &gates, b, part, b == k * size);
            }
        }
#pragma omp for schedule(static)
        for (int64_t s = 0; s < (shared ? states : 0); s++) nsm_join_state(call, &gates, s, chunks);
    }
    return MMREC_OK;
}

#endif
