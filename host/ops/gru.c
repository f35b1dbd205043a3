/* gru: one layer of gated recurrent units over a sequence, in one direction.
 *
 *   a = x_t Wi^T + bi      b = h_{t-1} Wh^T + bh              rows r, z, n of the weights
 *   r = s(a_r + b_r)   z = s(a_z + b_z)   n = tanh(a_n + r b_n)      h_t = (1 - z) n + z h_{t-1}
 *
 * Source: Cho et al. 2014, with the reset gate behind the product and weights laid out as PyTorch has them; z means
 * keep. h0 is zeros where it is absent. y is h of all steps; h_last is the state after the last.
 *
 * Backward, from the last step to the first:
 *
 *   dh = dy_t + carried dh      da_n = dh (1 - z) (1 - n^2)   db_n = da_n r
 *   da_r = db_r = da_n b_n r (1 - r)      da_z = db_z = dh (h_{t-1} - n) z (1 - z)
 *   carried dh = dh z + db Wh
 *   dx = da Wi   dWi = sum da^T x   dWh = sum db^T h_{t-1}   dbi = sum da   dbh = sum db, all after the sweep
 *
 * r, z, n and b_n of every step are saved; they may be left out where no backward pass follows.
 * Order of sums: bias_ih, then the products with x; bias_hh, then the products with h; then both together. */
#include "op_impl.h"

enum { IN_X, IN_H0, IN_WEIGHT_IH, IN_WEIGHT_HH, IN_BIAS_IH, IN_BIAS_HH };
enum { OUT_Y, OUT_H_LAST };
enum { SAVED_GATES, SAVED };
enum { GATES = 3 };

#include "rnn_reference.h"

/* `sums` over x with their bias. */
static void step(const mmrec_op_call *call, int64_t b, int64_t t, const real *sums) {
    int64_t row = row_at(call, b, t), width = MMREC_SIZE(call->sizes, H);
    const real *before = state_before(call, b, t);
    for (int64_t i = 0; i < width; i++) {
        real r = real_sigmoid(sums[i] + recurrent_sum(call, i, before));
        real z = real_sigmoid(sums[width + i] + recurrent_sum(call, width + i, before));
        real b_n = recurrent_sum(call, 2 * width + i, before);
        real n = real_tanh(sums[2 * width + i] + r * b_n);
        view_row(&call->out[OUT_Y], row)[i] = ((real)1 - z) * n + z * (before ? before[i] : (real)0);
        if (!call->saved[SAVED_GATES].data) continue;
        const real kept[RNN_SLOPES] = {r, z, n, b_n};
        for (int64_t k = 0; k < RNN_SLOPES; k++) view_row(&call->saved[SAVED_GATES], row)[k * width + i] = kept[k];
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t steps = MMREC_SIZE(call->sizes, T), width = MMREC_SIZE(call->sizes, H);
    real *sums = (real *)call->scratch;
    for (int64_t b = 0; b < MMREC_SIZE(call->sizes, B); b++) {
        for (int64_t t = 0; t < steps; t++) {
            input_sums(call, b, t, sums);
            step(call, b, t, sums);
        }
        const real *last = view_row(&call->out[OUT_Y], row_at(call, b, steps - 1));
        for (int64_t i = 0; i < width && call->out[OUT_H_LAST].data; i++) {
            view_row(&call->out[OUT_H_LAST], b)[i] = last[i];
        }
    }
    return MMREC_OK;
}

/* The slopes of step t; `carry` becomes the direct part of dh of the step before. */
static void sweep_units(const mmrec_op_call *call, int64_t b, int64_t t, real *carry, real *slope) {
    int64_t row = row_at(call, b, t), width = MMREC_SIZE(call->sizes, H);
    const real *gates = view_row(&call->saved[SAVED_GATES], row), *before = state_before(call, b, t);
    for (int64_t i = 0; i < width; i++) {
        real r = gates[i], z = gates[width + i], n = gates[2 * width + i], b_n = gates[3 * width + i];
        real dh = call->d_out[OUT_Y].data ? view_row(&call->d_out[OUT_Y], row)[i] + carry[i] : carry[i];
        real da_n = dh * ((real)1 - z) * ((real)1 - n * n);
        slope[i] = da_n * b_n * r * ((real)1 - r);
        slope[width + i] = dh * ((before ? before[i] : (real)0) - n) * z * ((real)1 - z);
        slope[2 * width + i] = da_n;
        slope[3 * width + i] = da_n * r;
        carry[i] = dh * z;
    }
}

static void sweep_row(const mmrec_op_call *call, int64_t b, real *carry, real *slopes) {
    first_carry(call, OUT_H_LAST, b, carry);
    for (int64_t t = MMREC_SIZE(call->sizes, T) - 1; t >= 0; t--) {
        real *slope = slopes + row_at(call, b, t) * RNN_SLOPES * MMREC_SIZE(call->sizes, H);
        sweep_units(call, b, t, carry, slope);
        if (t > 0 || call->d_in[IN_H0].data) state_gradient(call, slope, carry);
    }
    deliver_row(call, IN_H0, b, carry);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), width = MMREC_SIZE(call->sizes, H);
    real *slopes = (real *)call->scratch, *sums = slopes + batch * MMREC_SIZE(call->sizes, T) * RNN_SLOPES * width;
    real *carry = sums + batch * RNN_SLOPES * width;
    for (int64_t b = 0; b < batch; b++) sweep_row(call, b, carry, slopes);
    weight_gradients(call, slopes, sums);
    return MMREC_OK;
}

#if MMREC_REAL_F32
enum { IN_CELL = -1, OUT_CARRIED = OUT_H_LAST }; /* h is what a unit carries from step to step */

#include "rnn_gru.h"
#endif

#include "rnn_sizes.h"

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) { return rnn_infer(sizes, "gru", error); }

/* Forward: the two sums of r and z, 2 sigmoids of 3, 2 for n and 4 for h. Backward: 17 of sweep_units. */
static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    const double transcendentals[MMREC_PASSES] = {3, 0};
    return rnn_work(sizes, pass, 14, 17, transcendentals);
}

static const char *const samples[] = {"B=1 X=1 D=1 H=1",
                                      "B=2 X=3 D=5 H=3",
                                      "B=3 X=2 D=7 H=13 -h0",
                                      "B=2 X=17 D=3 H=5",
                                      "B=5 X=1 D=9 H=17 steps=3 -h0",
                                      "B=2 X=1 D=3 H=8 steps=2 -h_last",
                                      "B=33 X=2 D=3 H=5",
                                      "B=9 X=2 D=2 H=33",
                                      "B=3 X=5 D=4 H=6 -gates",
                                      "B=3 X=1 D=4 H=6 steps=4 -gates",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(gru);
const mmrec_op_def MMREC_OP_DEFINE(gru) = {
    .name = "gru",
    .formula = "h' = (1 - z) n + z h, r, z = s(x Wi^T + bi + h Wh^T + bh), n = tanh(x Wi^T + bi + r (h Wh^T + bh))",
    .source = "Cho et al. 2014, as PyTorch lays it out",
    /* The state carries what a storage type rounds off from step to step: all f32. */
    .in = {{.name = "x", .dims = "B X D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32},
           {.name = "h0", .dims = "B H", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_KEEP | MMREC_ARG_F32},
           {.name = "weight_ih", .dims = "3H D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32, .low = -0.5, .high = 0.5},
           {.name = "weight_hh", .dims = "3H H", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32, .low = -0.5, .high = 0.5},
           {.name = "bias_ih", .dims = "3H", .flags = MMREC_ARG_F32},
           {.name = "bias_hh", .dims = "3H", .flags = MMREC_ARG_F32}},
    .out = {{.name = "y", .dims = "B T H", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32},
            {.name = "h_last", .dims = "B H", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_F32}},
    .saved = {{.name = "gates", .dims = "B T 4H", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_F32}},
    .attr = {"steps"},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = rnn_device_scratch,
    .tolerance = {5e-6, 7e-6,
                  "sums of D + H products, whose rounding the state carries on: 4.5e-7 and 5.3e-7 measured in the "
                  "samples, 1e-6 and 8e-7 "
                  "over 128 steps of 512 units, times 2 and more"},
    .samples = samples,
    .bench = "B=16 X=128 D=512 H=512",
};
