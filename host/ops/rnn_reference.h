/* What the reference functions of lstm and gru share: the products with the weights and their gradients.
 *
 * The file that includes this has named its arguments (IN_X, IN_H0, IN_WEIGHT_IH, IN_WEIGHT_HH, IN_BIAS_IH, IN_BIAS_HH,
 * OUT_Y, OUT_H_LAST) and says how many GATES a unit has, which are the blocks of rows of its weights. For every row (b,
 * t) there are four slopes a unit, RNN_SLOPES x H reals: the gradients of its sums. The first GATES x H belong to the
 * sums over x. Those of the sums over h are the same but for the last gate of gru, whose own come last.
 *
 * x has T steps, or one that is the input of every step: then its sums are made once, and its gradient and that of
 * weight_ih are made from the slopes added up over the steps. */
#ifndef MMREC_RNN_REFERENCE_H
#define MMREC_RNN_REFERENCE_H

#include "op_impl.h"
#include "rnn_device.h"

/* x is one step that stands for several. */
static inline bool x_stays(const mmrec_op_sizes *sizes) { return MMREC_SIZE(sizes, X) != MMREC_SIZE(sizes, T); }
static inline bool given(const mmrec_op_sizes *sizes, int input) { return ((sizes->given >> input) & 1u) != 0; }

static inline int64_t row_at(const mmrec_op_call *call, int64_t b, int64_t t) {
    return b * MMREC_SIZE(call->sizes, T) + t;
}
/* h_{t-1}; NULL where a sequence starts from zeros. */
static const real *state_before(const mmrec_op_call *call, int64_t b, int64_t t) {
    if (t > 0) return view_row(&call->out[OUT_Y], row_at(call, b, t - 1));
    return call->in[IN_H0].data ? view_row(&call->in[IN_H0], b) : NULL;
}

/* The slope that belongs to a row of weight_hh. */
static inline int64_t recurrent_slope(const mmrec_op_sizes *sizes, int64_t weight_row) {
    int64_t width = MMREC_SIZE(sizes, H);
    return weight_row < (GATES - 1) * width ? weight_row : weight_row + (RNN_SLOPES - GATES) * width;
}

/* sums = bias_ih + weight_ih x, GATES x H of them, for step t. Where x stays they are those of step 0. */
static void input_sums(const mmrec_op_call *call, int64_t b, int64_t t, real *sums) {
    if (t > 0 && x_stays(call->sizes)) return;
    const real *x = view_row(&call->in[IN_X], b * MMREC_SIZE(call->sizes, X) + t);
    for (int64_t i = 0; i < GATES * MMREC_SIZE(call->sizes, H); i++) {
        real sum = view_row(&call->in[IN_BIAS_IH], 0)[i];
        for (int64_t k = 0; k < MMREC_SIZE(call->sizes, D); k++) {
            sum += view_row(&call->in[IN_WEIGHT_IH], i)[k] * x[k];
        }
        sums[i] = sum;
    }
}

/* bias_hh + weight_hh h of one row of the weight. */
static real recurrent_sum(const mmrec_op_call *call, int64_t weight_row, const real *before) {
    real sum = view_row(&call->in[IN_BIAS_HH], 0)[weight_row];
    for (int64_t k = 0; before && k < MMREC_SIZE(call->sizes, H); k++) {
        sum += view_row(&call->in[IN_WEIGHT_HH], weight_row)[k] * before[k];
    }
    return sum;
}

/* carry[k] += the gradient of h_{t-1} through the sums, from the slopes of step t. */
static void state_gradient(const mmrec_op_call *call, const real *slope, real *carry) {
    int64_t width = MMREC_SIZE(call->sizes, H);
    for (int64_t k = 0; k < width; k++) {
        for (int64_t i = 0; i < GATES * width; i++) {
            carry[k] += view_row(&call->in[IN_WEIGHT_HH], i)[k] * slope[recurrent_slope(call->sizes, i)];
        }
    }
}

/* The slopes of each sequence added up over its steps. */
static void add_steps(const mmrec_op_call *call, const real *slopes, real *sums) {
    int64_t steps = MMREC_SIZE(call->sizes, T), width = RNN_SLOPES * MMREC_SIZE(call->sizes, H);
    for (int64_t b = 0; b < MMREC_SIZE(call->sizes, B); b++) {
        for (int64_t i = 0; i < GATES * MMREC_SIZE(call->sizes, H); i++) {
            real sum = (real)0;
            for (int64_t t = 0; t < steps; t++) sum += slopes[(b * steps + t) * width + i];
            sums[b * width + i] = sum;
        }
    }
}

/* dx = slopes weight_ih; `slopes` has a row for each row of x. */
static void input_gradient(const mmrec_op_call *call, const real *slopes) {
    int64_t gates = GATES * MMREC_SIZE(call->sizes, H), width = RNN_SLOPES * MMREC_SIZE(call->sizes, H);
    for (int64_t row = 0; row < MMREC_SIZE(call->sizes, B) * MMREC_SIZE(call->sizes, X); row++) {
        for (int64_t k = 0; k < MMREC_SIZE(call->sizes, D); k++) {
            real sum = (real)0;
            for (int64_t i = 0; i < gates; i++) {
                sum += slopes[row * width + i] * view_row(&call->in[IN_WEIGHT_IH], i)[k];
            }
            deliver(&view_row(&call->d_in[IN_X], row)[k], sum, accumulates(call, IN_X));
        }
    }
}

/* dweight_ih = slopes^T x */
static void input_weight_gradient(const mmrec_op_call *call, const real *slopes) {
    int64_t gates = GATES * MMREC_SIZE(call->sizes, H), width = RNN_SLOPES * MMREC_SIZE(call->sizes, H);
    for (int64_t i = 0; i < gates; i++) {
        for (int64_t k = 0; k < MMREC_SIZE(call->sizes, D); k++) {
            real sum = (real)0;
            for (int64_t row = 0; row < MMREC_SIZE(call->sizes, B) * MMREC_SIZE(call->sizes, X); row++) {
                sum += slopes[row * width + i] * view_row(&call->in[IN_X], row)[k];
            }
            deliver(&view_row(&call->d_in[IN_WEIGHT_IH], i)[k], sum, accumulates(call, IN_WEIGHT_IH));
        }
    }
}

/* dweight_hh = slopes^T h_{t-1} */
static void recurrent_weight_gradient(const mmrec_op_call *call, const real *slopes) {
    int64_t steps = MMREC_SIZE(call->sizes, T), width = MMREC_SIZE(call->sizes, H);
    for (int64_t i = 0; i < GATES * width; i++) {
        const real *slope = slopes + recurrent_slope(call->sizes, i);
        for (int64_t k = 0; k < width; k++) {
            real sum = (real)0;
            for (int64_t row = 0; row < MMREC_SIZE(call->sizes, B) * steps; row++) {
                const real *before = state_before(call, row / steps, row % steps);
                if (before) sum += slope[row * RNN_SLOPES * width] * before[k];
            }
            deliver(&view_row(&call->d_in[IN_WEIGHT_HH], i)[k], sum, accumulates(call, IN_WEIGHT_HH));
        }
    }
}

static void bias_gradient(const mmrec_op_call *call, const real *slopes, int input) {
    int64_t rows = MMREC_SIZE(call->sizes, B) * MMREC_SIZE(call->sizes, T), width = MMREC_SIZE(call->sizes, H);
    for (int64_t i = 0; i < GATES * width; i++) {
        int64_t at = input == IN_BIAS_HH ? recurrent_slope(call->sizes, i) : i;
        real sum = (real)0;
        for (int64_t row = 0; row < rows; row++) sum += slopes[row * RNN_SLOPES * width + at];
        deliver(&view_row(&call->d_in[input], 0)[i], sum, accumulates(call, input));
    }
}

/* Everything that follows from the slopes of all rows; `sums` is memory for a row of slopes for each sequence. */
static void weight_gradients(const mmrec_op_call *call, const real *slopes, real *sums) {
    const real *of_x = slopes;
    if (x_stays(call->sizes) && (call->d_in[IN_X].data || call->d_in[IN_WEIGHT_IH].data)) {
        add_steps(call, slopes, sums);
        of_x = sums;
    }
    if (call->d_in[IN_X].data) input_gradient(call, of_x);
    if (call->d_in[IN_WEIGHT_IH].data) input_weight_gradient(call, of_x);
    if (call->d_in[IN_WEIGHT_HH].data) recurrent_weight_gradient(call, slopes);
    if (call->d_in[IN_BIAS_IH].data) bias_gradient(call, slopes, IN_BIAS_IH);
    if (call->d_in[IN_BIAS_HH].data) bias_gradient(call, slopes, IN_BIAS_HH);
}

/* The gradient of an output of the last step, or zeros, as what the sweep starts from. */
static void first_carry(const mmrec_op_call *call, int output, int64_t b, real *carry) {
    const mmrec_view *last = &call->d_out[output];
    for (int64_t i = 0; i < MMREC_SIZE(call->sizes, H); i++) carry[i] = last->data ? view_row(last, b)[i] : (real)0;
}

static void deliver_row(const mmrec_op_call *call, int input, int64_t b, const real *values) {
    if (!call->d_in[input].data) return;
    for (int64_t i = 0; i < MMREC_SIZE(call->sizes, H); i++) {
        deliver(&view_row(&call->d_in[input], b)[i], values[i], accumulates(call, input));
    }
}

#endif
