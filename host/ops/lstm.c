/* lstm: one layer of a long short-term memory over a sequence, in one direction.
 *
 *   all = x_t Wi^T + bi + h_{t-1} Wh^T + bh            rows i, f, g, o of the weights
 *   c_t = s(f) c_{t-1} + s(i) tanh(g)      h_t = s(o) tanh(c_t)
 *
 * Source: Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, weights laid out as PyTorch has
 * them. h0 and c0 are zeros where they are absent. y is h of all steps; h_last and c_last are the state after the last.
 *
 * Backward, i, f, g, o now being the gates as they were applied, from the last step to the first:
 *
 *   dh = dy_t + carried dh      dc = carried dc + dh o (1 - tanh(c)^2)
 *   di = dc g i (1 - i)   df = dc c_{t-1} f (1 - f)   dg = dc i (1 - g^2)   do = dh tanh(c) o (1 - o)
 *   carried dc = dc f     carried dh = d Wh, d = [di df dg do]
 *   dx = d Wi   dWi = sum d^T x   dWh = sum d^T h_{t-1}   dbi = dbh = sum d, all after the sweep
 *
 * The gates and c of every step are saved; both may be left out where no backward pass follows. tanh(c) comes again.
 * Order of sums: bias_ih, then the products with x; bias_hh, then the products with h; then both together. */
#include "op_impl.h"

enum { IN_X, IN_H0, IN_C0, IN_WEIGHT_IH, IN_WEIGHT_HH, IN_BIAS_IH, IN_BIAS_HH };
enum { OUT_Y, OUT_H_LAST, OUT_C_LAST };
enum { SAVED_GATES, SAVED_CELLS, SAVED };
enum { GATES = 4 };

#include "rnn_reference.h"

/* c before the first step, or zeros. */
static void first_cell(const mmrec_op_call *call, int64_t b, real *cell) {
    const mmrec_view *c0 = &call->in[IN_C0];
    for (int64_t i = 0; i < MMREC_SIZE(call->sizes, H); i++) cell[i] = c0->data ? view_row(c0, b)[i] : (real)0;
}

static void save_unit(const mmrec_op_call *call, int64_t row, int64_t unit, const real *gate, real cell) {
    const mmrec_view *gates = &call->saved[SAVED_GATES], *cells = &call->saved[SAVED_CELLS];
    int64_t width = MMREC_SIZE(call->sizes, H);
    for (int64_t k = 0; k < GATES && gates->data; k++) view_row(gates, row)[k * width + unit] = gate[k];
    if (cells->data) view_row(cells, row)[unit] = cell;
}

/* `sums` over x with their bias; `cell` is c_{t-1} and becomes c_t. */
static void step(const mmrec_op_call *call, int64_t b, int64_t t, const real *sums, real *cell) {
    int64_t row = row_at(call, b, t), width = MMREC_SIZE(call->sizes, H);
    const real *before = state_before(call, b, t);
    for (int64_t i = 0; i < width; i++) {
        real gate[GATES];
        for (int64_t k = 0; k < GATES; k++) {
            real sum = sums[k * width + i] + recurrent_sum(call, k * width + i, before);
            gate[k] = k == 2 ? real_tanh(sum) : real_sigmoid(sum);
        }
        cell[i] = gate[1] * cell[i] + gate[0] * gate[2];
        view_row(&call->out[OUT_Y], row)[i] = gate[3] * real_tanh(cell[i]);
        save_unit(call, row, i, gate, cell[i]);
    }
}

static void copy_last(const mmrec_op_call *call, int output, int64_t b, const real *values) {
    if (!call->out[output].data) return;
    for (int64_t i = 0; i < MMREC_SIZE(call->sizes, H); i++) view_row(&call->out[output], b)[i] = values[i];
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t steps = MMREC_SIZE(call->sizes, T);
    real *sums = (real *)call->scratch, *cell = sums + GATES * MMREC_SIZE(call->sizes, H);
    for (int64_t b = 0; b < MMREC_SIZE(call->sizes, B); b++) {
        first_cell(call, b, cell);
        for (int64_t t = 0; t < steps; t++) {
            input_sums(call, b, t, sums);
            step(call, b, t, sums, cell);
        }
        copy_last(call, OUT_H_LAST, b, view_row(&call->out[OUT_Y], row_at(call, b, steps - 1)));
        copy_last(call, OUT_C_LAST, b, cell);
    }
    return MMREC_OK;
}

/* c_{t-1} of a unit. */
static real cell_before(const mmrec_op_call *call, int64_t b, int64_t t, int64_t unit) {
    if (t > 0) return view_row(&call->saved[SAVED_CELLS], row_at(call, b, t - 1))[unit];
    return call->in[IN_C0].data ? view_row(&call->in[IN_C0], b)[unit] : (real)0;
}

/* What the sweep carries from step to step, dh and dc of one sequence. */
typedef struct carried {
    real *h, *c;
} carried;

/* The slopes of step t, and dc of the step before. */
static void sweep_units(const mmrec_op_call *call, int64_t b, int64_t t, const carried *d, real *slope) {
    int64_t row = row_at(call, b, t), width = MMREC_SIZE(call->sizes, H);
    const real *gates = view_row(&call->saved[SAVED_GATES], row), *cells = view_row(&call->saved[SAVED_CELLS], row);
    for (int64_t n = 0; n < width; n++) {
        real i = gates[n], f = gates[width + n], g = gates[2 * width + n], o = gates[3 * width + n];
        real dh = call->d_out[OUT_Y].data ? view_row(&call->d_out[OUT_Y], row)[n] + d->h[n] : d->h[n];
        real bent = real_tanh(cells[n]);
        real dc = d->c[n] + dh * o * ((real)1 - bent * bent);
        slope[n] = dc * g * i * ((real)1 - i);
        slope[width + n] = dc * cell_before(call, b, t, n) * f * ((real)1 - f);
        slope[2 * width + n] = dc * i * ((real)1 - g * g);
        slope[3 * width + n] = dh * bent * o * ((real)1 - o);
        d->c[n] = dc * f;
    }
}

static void sweep_row(const mmrec_op_call *call, int64_t b, const carried *d, real *slopes) {
    int64_t width = MMREC_SIZE(call->sizes, H);
    first_carry(call, OUT_H_LAST, b, d->h);
    first_carry(call, OUT_C_LAST, b, d->c);
    for (int64_t t = MMREC_SIZE(call->sizes, T) - 1; t >= 0; t--) {
        real *slope = slopes + row_at(call, b, t) * RNN_SLOPES * width;
        sweep_units(call, b, t, d, slope);
        if (t == 0 && !call->d_in[IN_H0].data) break;
        for (int64_t i = 0; i < width; i++) d->h[i] = (real)0;
        state_gradient(call, slope, d->h);
    }
    deliver_row(call, IN_H0, b, d->h);
    deliver_row(call, IN_C0, b, d->c);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), width = MMREC_SIZE(call->sizes, H);
    real *slopes = (real *)call->scratch, *sums = slopes + batch * MMREC_SIZE(call->sizes, T) * RNN_SLOPES * width;
    carried d = {sums + batch * RNN_SLOPES * width, sums + (batch * RNN_SLOPES + 1) * width};
    for (int64_t b = 0; b < batch; b++) sweep_row(call, b, &d, slopes);
    weight_gradients(call, slopes, sums);
    return MMREC_OK;
}

#if MMREC_REAL_F32
enum { IN_CELL = IN_C0, OUT_CARRIED = OUT_C_LAST }; /* c is what a unit carries from step to step */

#include "rnn_lstm.h"
#endif

#include "rnn_sizes.h"

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) { return rnn_infer(sizes, "lstm", error); }

/* Forward: the two sums of 4 gates, 3 sigmoids of 3, 3 for c and 1 for h. Backward: 23 of sweep_units. */
static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    const double transcendentals[MMREC_PASSES] = {5, 1};
    return rnn_work(sizes, pass, 17, 23, transcendentals);
}

static const char *const samples[] = {"B=1 X=1 D=1 H=1",
                                      "B=2 X=3 D=5 H=3",
                                      "B=3 X=2 D=7 H=13 -h0 -c0",
                                      "B=2 X=17 D=3 H=5 -c0",
                                      "B=5 X=1 D=9 H=17 steps=3 -h0",
                                      "B=2 X=1 D=3 H=8 steps=2 -h_last -c_last",
                                      "B=33 X=2 D=3 H=5 -h_last",
                                      "B=7 X=2 D=2 H=33",
                                      "B=3 X=5 D=4 H=6 -gates -cells",
                                      "B=3 X=1 D=4 H=6 steps=4 -c_last -gates -cells",
                                      "B=2 X=2 D=1 H=65",
                                      "B=65 X=1 D=1 H=2",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(lstm);
const mmrec_op_def MMREC_OP_DEFINE(lstm) = {
    .name = "lstm",
    .formula = "c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c'), [i f g o] = x Wi^T + bi + h Wh^T + bh",
    .source = "Hochreiter and Schmidhuber 1997, Gers et al. 2000, as PyTorch lays it out",
    /* The state carries what a storage type rounds off from step to step: all f32. */
    .in = {{.name = "x", .dims = "B X D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32},
           {.name = "h0", .dims = "B H", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_KEEP | MMREC_ARG_F32},
           {.name = "c0", .dims = "B H", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_KEEP | MMREC_ARG_F32},
           {.name = "weight_ih", .dims = "4H D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32, .low = -0.5, .high = 0.5},
           {.name = "weight_hh", .dims = "4H H", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32, .low = -0.5, .high = 0.5},
           {.name = "bias_ih", .dims = "4H", .flags = MMREC_ARG_F32},
           {.name = "bias_hh", .dims = "4H", .flags = MMREC_ARG_F32}},
    .out = {{.name = "y", .dims = "B T H", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32},
            {.name = "h_last", .dims = "B H", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_F32},
            {.name = "c_last", .dims = "B H", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_F32}},
    .saved = {{.name = "gates", .dims = "B T 4H", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_F32},
              {.name = "cells", .dims = "B T H", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_F32}},
    .attr = {"steps"},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = rnn_device_scratch,
    .tolerance = {5e-6, 7e-6,
                  "sums of D + H products, whose rounding the state carries on: 3.4e-7 and 6.6e-7 measured in the "
                  "samples, 2e-6 and 1e-6 "
                  "over 128 steps of 512 units, times 2 and more"},
    .samples = samples,
    .bench = "B=16 X=128 D=512 H=512",
};
