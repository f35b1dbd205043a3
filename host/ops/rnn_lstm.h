/* What a unit of lstm does in the fast functions. */
#ifndef MMREC_RNN_LSTM_H
#define MMREC_RNN_LSTM_H

#include "rnn_backward.h"

static inline void forward_save(const forward_run *run, int64_t b, int64_t t, int64_t unit, const vec *gate, vec c,
                                vec h) {
    const mmrec_op_call *call = run->call;
    const mmrec_view *gates = &call->saved[SAVED_GATES], *cells = &call->saved[SAVED_CELLS];
    int64_t row = b * run->steps + t, count = run->width - unit;
    for (int64_t k = 0; gates->data && k < GATES; k++) {
        vec_store(view_row(gates, row) + k * run->width + unit, gate[k], count);
    }
    if (cells->data) vec_store(view_row(cells, row) + unit, c, count);
    vec_store(view_row(&call->out[OUT_Y], row) + unit, h, count);
    if (t < run->steps - 1) return;
    if (call->out[OUT_H_LAST].data) vec_store(view_row(&call->out[OUT_H_LAST], b) + unit, h, count);
    if (call->out[OUT_C_LAST].data) vec_store(view_row(&call->out[OUT_C_LAST], b) + unit, c, count);
}

static inline void forward_gates(const forward_run *run, int64_t b, int64_t t, int64_t unit, const vec *bias_ih,
                                 const vec *bias_hh, vec *sum) {
    const float *x = input_row(run, b, t) + unit;
    vec all[GATES];
    for (int64_t k = 0; k < GATES; k++) {
        all[k] = vec_load(x + k * run->width, run->width - unit) + bias_ih[k] + (sum[k] + bias_hh[k]);
    }
    vec_sigmoids(all[0], all[1], &sum[0], &sum[1]);
    vec_sigmoid_tanh(all[3], all[2], &sum[3], &sum[2]);
}

static inline void forward_unit(const forward_run *run, int64_t b, int64_t t, int64_t unit, const vec *gate) {
    vec *cell = (vec *)(run->cell + b * run->padded + unit);
    vec c = gate[1] * *cell + gate[0] * gate[2], h = gate[3] * vec_tanh(c);
    *cell = c;
    state_store(run->state[(t + 1) % 2] + b * run->stepper.row_words, unit, h, EXACT);
    forward_save(run, b, t, unit, gate, c, h);
}

static inline void backward_unit(const backward_run *run, int64_t b, int64_t t, int64_t unit, vec sum, vec *slope) {
    const mmrec_op_call *call = run->call;
    int64_t row = b * run->steps + t, count = run->width - unit;
    const float *gates = view_row(&call->saved[SAVED_GATES], row) + unit;
    vec i = vec_load(gates, count), f = vec_load(gates + run->width, count);
    vec g = vec_load(gates + 2 * run->width, count), o = vec_load(gates + 3 * run->width, count);
    vec bent = vec_tanh(vec_load(view_row(&call->saved[SAVED_CELLS], row) + unit, count));
    vec dh = sum, *carry = (vec *)(run->carry + b * run->padded + unit);
    if (call->d_out[OUT_Y].data) dh += vec_load(view_row(&call->d_out[OUT_Y], row) + unit, count);
    if (t == run->steps - 1) dh += last_gradient(call, OUT_H_LAST, b, unit, count);
    vec before = unit_before(run, b, t, unit);
    vec dc = *carry + dh * o * (1.0f - bent * bent);
    slope[0] = dc * g * i * (1.0f - i);
    slope[1] = dc * before * f * (1.0f - f);
    slope[2] = dc * i * (1.0f - g * g);
    slope[3] = dh * bent * o * (1.0f - o);
    *carry = dc * f;
}

#endif
