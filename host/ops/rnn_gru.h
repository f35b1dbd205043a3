/* What a unit of gru does in the fast functions. */
#ifndef MMREC_RNN_GRU_H
#define MMREC_RNN_GRU_H

#include "rnn_backward.h"

/* r and z, and the sum of n. */
static inline void forward_gates(const forward_run *run, int64_t b, int64_t t, int64_t unit, const vec *bias_ih,
                                 const vec *bias_hh, vec *sum) {
    const mmrec_view *gates = &run->call->saved[SAVED_GATES];
    const float *x = input_row(run, b, t) + unit;
    int64_t count = run->width - unit;
    vec of_x[GATES], of_h[GATES];
    for (int64_t k = 0; k < GATES; k++) {
        of_x[k] = vec_load(x + k * run->width, count) + bias_ih[k];
        of_h[k] = sum[k] + bias_hh[k];
    }
    vec_sigmoids(of_x[0] + of_h[0], of_x[1] + of_h[1], &sum[0], &sum[1]);
    sum[2] = of_x[2] + sum[0] * of_h[2];
    if (gates->data) vec_store(view_row(gates, b * run->steps + t) + 3 * run->width + unit, of_h[2], count);
}

static inline void forward_unit(const forward_run *run, int64_t b, int64_t t, int64_t unit, const vec *gate) {
    const mmrec_op_call *call = run->call;
    const mmrec_view *gates = &call->saved[SAVED_GATES];
    int64_t row = b * run->steps + t, count = run->width - unit;
    vec before = *(const vec *)(run->state[t % 2] + b * run->stepper.row_words + unit);
    vec n = vec_tanh(gate[2]), h = (1.0f - gate[1]) * n + gate[1] * before;
    const vec kept[GATES] = {gate[0], gate[1], n};
    for (int64_t k = 0; gates->data && k < GATES; k++) {
        vec_store(view_row(gates, row) + k * run->width + unit, kept[k], count);
    }
    state_store(run->state[(t + 1) % 2] + b * run->stepper.row_words, unit, h, EXACT);
    vec_store(view_row(&call->out[OUT_Y], row) + unit, h, count);
    if (t < run->steps - 1 || !call->out[OUT_H_LAST].data) return;
    vec_store(view_row(&call->out[OUT_H_LAST], b) + unit, h, count);
}

static inline void backward_unit(const backward_run *run, int64_t b, int64_t t, int64_t unit, vec sum, vec *slope) {
    const mmrec_op_call *call = run->call;
    int64_t row = b * run->steps + t, count = run->width - unit;
    const float *gates = view_row(&call->saved[SAVED_GATES], row) + unit;
    vec r = vec_load(gates, count), z = vec_load(gates + run->width, count);
    vec n = vec_load(gates + 2 * run->width, count), b_n = vec_load(gates + 3 * run->width, count);
    vec *carry = (vec *)(run->carry + b * run->padded + unit), dh = *carry + sum;
    if (call->d_out[OUT_Y].data) dh += vec_load(view_row(&call->d_out[OUT_Y], row) + unit, count);
    vec before = unit_before(run, b, t, unit);
    vec da_n = dh * (1.0f - z) * (1.0f - n * n);
    slope[0] = da_n * b_n * r * (1.0f - r);
    slope[1] = dh * (before - n) * z * (1.0f - z);
    slope[2] = da_n;
    slope[3] = da_n * r;
    *carry = dh * z;
}

#endif
