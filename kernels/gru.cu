/* gru: one layer over time, from the halves of a step a = x_t Wi^T + bi and b = h_{t-1} Wh^T + bh, gates r, z, n:
 *
 *   r = s(a_r + b_r)   z = s(a_z + b_z)   n = tanh(a_n + r b_n)     h_t = (1 - z) n + z h_{t-1}
 *
 * Backward, from the last step to the first:
 *
 *   dh = dy_t + z_{t+1} dh_{t+1} + [slopes_{t+1} of b] Wh
 *   slopes: a_n: dh (1 - z) (1 - n^2)   r: a_n's b_n r (1 - r)   z: dh (h_{t-1} - n) z (1 - z)   b_n: a_n's r
 *   dh0 = z_0 dh_0 + slopes_0 Wh   dx, dWi, dWh, dbi, dbh: rnn_layer.cuh
 *
 * Source: host/ops/gru.c.
 *
 *   x, dx     (B X, D)    float; X is T, or 1: that row is the input of all steps
 *   h0, dh0   (B, H)      float, may be absent: zeros
 *   Wi, Wh    (3 H, D), (3 H, H)   float; bi, bh (3 H)
 *   y, dy     (B T, H)    float
 *   h_last    (B, H)      float, may be absent
 *   gates     (B T, 4 H)  float, saved: r, z, n as they were applied, and b_n; absent where no backward call follows
 *   scratch   host/ops/rnn_device.h
 *
 * The slopes lie in the order a_n, r, z, b_n: the last three are those of Wh's rows, in one piece and in their order,
 * so that a step backward is one product. Wi's rows then take two.
 *
 * cuDNN has the call instead where --rnn says so and it takes it (host/backend/cuda/rnn.c).
 *
 * The products are cuBLASLt's (mmrec_cuda_gemm), but for that of a step of few units, which is ours: rnn.cuh has both
 * ways, the order of sums, and what a block, warp and thread do. The cell is the same code in both. */
#include "rnn_layer.cuh"

enum { IN_WEIGHT_IH = 2, IN_WEIGHT_HH, IN_BIAS_IH, IN_BIAS_HH };
enum { GATE_R, GATE_Z, GATE_N, GRU_GATES, SAVED_BN = GRU_GATES, GRU_SAVED };
enum { SLOPE_N, SLOPE_HIDDEN }; /* of a_n; then those of Wh's rows */

static const rnn_kind gru = {"gru",      GRU_GATES,  IN_WEIGHT_IH,         IN_WEIGHT_HH,
                             IN_BIAS_IH, IN_BIAS_HH, {SLOPE_HIDDEN, 0, 3}, {{SLOPE_HIDDEN, 0, 2}, {SLOPE_N, GATE_N, 1}},
                             2};

struct gru_forward {
    enum { GATES = GRU_GATES, SUMS = GRU_GATES, SENT = 1, FIRST = 1 };
    rnn_input half;
    matrix<const float> h0;
    matrix<float> y, h_last, gates;

    struct input {
        float half[GRU_GATES];
    };
    SIMT_DEVICE float begin(int row, int unit) const { return rnn_read(h0, row, unit); }
    SIMT_DEVICE void fetch(const rnn_frame &f, int row, int unit, int i, input &in) const {
        if (i == 0) return;
        const float *from = half.row(row, i - 1) + unit;
        for (int g = 0; g < GRU_GATES; g++) in.half[g] = from[static_cast<int64_t>(g) * f.width];
    }
    SIMT_DEVICE void save(const rnn_frame &f, int64_t at, int unit, const float (&values)[GRU_SAVED]) const {
        if (!gates.data) return;
        for (int g = 0; g < GRU_SAVED; g++) gates.row(at)[static_cast<int64_t>(g) * f.width + unit] = values[g];
    }
    SIMT_DEVICE void step(const rnn_frame &f, int row, int unit, int i, const float (&sums)[SUMS], const input &in,
                          float &h, float (&sent)[SENT]) const {
        if (i > 0) {
            int64_t at = static_cast<int64_t>(row) * f.steps + i - 1;
            float r = sigmoid(in.half[GATE_R] + sums[GATE_R]), z = sigmoid(in.half[GATE_Z] + sums[GATE_Z]);
            float n = tanhf(in.half[GATE_N] + r * sums[GATE_N]);
            h = (1.0f - z) * n + z * h;
            save(f, at, unit, {r, z, n, sums[GATE_N]});
            y.row(at)[unit] = h;
            if (i == f.steps) rnn_write(h_last, row, unit, h);
        }
        sent[0] = h;
    }
};

struct gru_backward {
    enum { GATES = GRU_GATES, SUMS = 1, SENT = GRU_GATES, FIRST = 0 };
    matrix<const float> h0, y, gates, dy, dh_last;
    matrix<float> dh0;
    float *slopes;
    bool add_h0;

    struct input {
        float gate[GRU_SAVED], before, dy;
    };
    SIMT_DEVICE float begin(int row, int unit) const { return rnn_read(dh_last, row, unit); }
    SIMT_DEVICE void fetch(const rnn_frame &f, int row, int unit, int i, input &in) const {
        int t = f.steps - 1 - i;
        int64_t at = static_cast<int64_t>(row) * f.steps + t;
        if (t < 0) return;
        for (int g = 0; g < GRU_SAVED; g++) in.gate[g] = gates.row(at)[static_cast<int64_t>(g) * f.width + unit];
        in.before = t > 0 ? y.row(at - 1)[unit] : rnn_read(h0, row, unit);
        in.dy = rnn_read(dy, at, unit);
    }
    /* `dh`: what comes past the product, at first the gradient of h_last. */
    SIMT_DEVICE void step(const rnn_frame &f, int row, int unit, int i, const float (&sums)[SUMS], const input &in,
                          float &dh, float (&sent)[SENT]) const {
        if (i > 0) dh += sums[0];
        if (i == f.steps) {
            if (dh0.data) deliver(&dh0.row(row)[unit], dh, add_h0);
            return;
        }
        float r = in.gate[GATE_R], z = in.gate[GATE_Z], n = in.gate[GATE_N];
        dh += in.dy;
        float slope_n = dh * (1.0f - z) * (1.0f - n * n);
        sent[GATE_R] = slope_n * in.gate[SAVED_BN] * r * (1.0f - r);
        sent[GATE_Z] = dh * (in.before - n) * z * (1.0f - z);
        sent[GATE_N] = slope_n * r;
        dh *= z;
        float *to = slopes + (static_cast<int64_t>(row) * f.steps + f.steps - 1 - i) * RNN_SLOPES * f.width + unit;
        to[0] = slope_n;
        for (int s = 0; s < SENT; s++) to[static_cast<int64_t>(SLOPE_HIDDEN + s) * f.width] = sent[s];
    }
};

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    bool done = false;
    MMREC_TRY(mmrec_cuda_rnn(MMREC_OP_gru, MMREC_FORWARD, call, &done, error));
    if (done) return MMREC_OK;
    rnn_job job = rnn_job_of(call, gru, MMREC_FORWARD);
    MMREC_TRY(rnn_check(job, error));
    gru_forward cell = {rnn_input_of(job), matrix_of<const float>(call->in[RNN_IN_H0]),
                        matrix_of<float>(call->out[RNN_OUT_Y]), matrix_of<float>(call->out[RNN_OUT_H_LAST]),
                        matrix_of<float>(call->saved[0])};
    return rnn_forward(job, cell, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    bool done = false;
    MMREC_TRY(mmrec_cuda_rnn(MMREC_OP_gru, MMREC_BACKWARD, call, &done, error));
    if (done) return MMREC_OK;
    rnn_job job = rnn_job_of(call, gru, MMREC_BACKWARD);
    MMREC_TRY(rnn_check(job, error));
    gru_backward cell = {matrix_of<const float>(call->in[RNN_IN_H0]),
                         matrix_of<const float>(call->out[RNN_OUT_Y]),
                         matrix_of<const float>(call->saved[0]),
                         matrix_of<const float>(call->d_out[RNN_OUT_Y]),
                         matrix_of<const float>(call->d_out[RNN_OUT_H_LAST]),
                         matrix_of<float>(call->d_in[RNN_IN_H0]),
                         job.scratch(job.sizes.slopes),
                         call_adds(call, RNN_IN_H0)};
    MMREC_TRY(rnn_backward_steps(job, cell, cell.dh0.data != nullptr, error));
    return rnn_gradients(job, error);
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_gru = {{forward, backward}};
