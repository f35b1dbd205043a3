/* lstm: one layer over time, from the sums of a step s = x_t Wi^T + bi + h_{t-1} Wh^T + bh, gates in the order i, f, g,
 * o:
 *
 *   c_t = s(s_f) c_{t-1} + s(s_i) tanh(s_g)     h_t = s(s_o) tanh(c_t)
 *
 * Backward, from the last step to the first:
 *
 *   dh = dy_t + [slopes_{t+1}] Wh     dc = f_{t+1} dc_{t+1} + dh o (1 - tanh(c_t)^2)
 *   slopes: i: dc g i (1 - i)   f: dc c_{t-1} f (1 - f)   g: dc i (1 - g^2)   o: dh tanh(c_t) o (1 - o)
 *   dh0 = slopes_0 Wh   dc0 = f_0 dc_0   dx, dWi, dWh, dbi, dbh: rnn_layer.cuh
 *
 * Source: host/ops/lstm.c.
 *
 *   x, dx            (B X, D)    float; X is T, or 1: that row is the input of all steps
 *   h0, c0, dh0, dc0 (B, H)      float, each may be absent: zeros
 *   Wi, Wh           (4 H, D), (4 H, H)   float; bi, bh (4 H)
 *   y, dy            (B T, H)    float
 *   h_last, c_last   (B, H)      float, each may be absent
 *   gates, cells     (B T, 4 H), (B T, H)   float, saved: what was applied, and c; absent where no backward call
 * follows scratch          host/ops/rnn_device.h
 *
 * cuDNN has the call instead where --rnn says so and it takes it (host/backend/cuda/rnn.c).
 *
 * The products are cuBLASLt's (mmrec_cuda_gemm), but for that of a step of few units, which is ours: rnn.cuh has both
 * ways, the order of sums, and what a block, warp and thread do. The cell is the same code in both. tanh(c) is made
 * again backward, which costs one tanh a unit instead of 4 bytes. */
#include "rnn_layer.cuh"

enum { IN_C0 = 2, IN_WEIGHT_IH, IN_WEIGHT_HH, IN_BIAS_IH, IN_BIAS_HH, OUT_C_LAST = 2, SAVED_GATES = 0, SAVED_CELLS };
enum { GATE_I, GATE_F, GATE_G, GATE_O, LSTM_GATES };

static const rnn_kind lstm = {
    "lstm", LSTM_GATES, IN_WEIGHT_IH, IN_WEIGHT_HH, IN_BIAS_IH, IN_BIAS_HH, {0, 0, 4}, {{0, 0, 4}, {0, 0, 0}}, 1};

struct lstm_forward {
    enum { GATES = LSTM_GATES, SUMS = LSTM_GATES, SENT = 1, FIRST = 1 };
    rnn_input half;
    matrix<const float> h0, c0;
    matrix<float> y, h_last, c_last, gates, cells;

    struct input {
        float half[LSTM_GATES];
    };
    SIMT_DEVICE float begin(int row, int unit) const { return rnn_read(c0, row, unit); }
    SIMT_DEVICE void fetch(const rnn_frame &f, int row, int unit, int i, input &in) const {
        if (i == 0) return;
        const float *from = half.row(row, i - 1) + unit;
        for (int g = 0; g < LSTM_GATES; g++) in.half[g] = from[static_cast<int64_t>(g) * f.width];
    }
    SIMT_DEVICE void step(const rnn_frame &f, int row, int unit, int i, const float (&sums)[SUMS], const input &in,
                          float &c, float (&sent)[SENT]) const {
        if (i == 0) {
            sent[0] = rnn_read(h0, row, unit);
            return;
        }
        int64_t at = static_cast<int64_t>(row) * f.steps + i - 1;
        float gate[LSTM_GATES];
        for (int g = 0; g < LSTM_GATES; g++) {
            float sum = in.half[g] + sums[g];
            gate[g] = g == GATE_G ? tanhf(sum) : sigmoid(sum);
            if (gates.data) gates.row(at)[static_cast<int64_t>(g) * f.width + unit] = gate[g];
        }
        c = gate[GATE_F] * c + gate[GATE_I] * gate[GATE_G];
        sent[0] = gate[GATE_O] * tanhf(c);
        y.row(at)[unit] = sent[0];
        rnn_write(cells, at, unit, c);
        if (i < f.steps) return;
        rnn_write(h_last, row, unit, sent[0]);
        rnn_write(c_last, row, unit, c);
    }
};

struct lstm_backward {
    enum { GATES = LSTM_GATES, SUMS = 1, SENT = LSTM_GATES, FIRST = 0 };
    matrix<const float> c0, gates, cells, dy, dh_last, dc_last;
    matrix<float> dh0, dc0;
    float *slopes;
    bool add_h0, add_c0;

    struct input {
        float gate[LSTM_GATES], c, before, dy;
    };
    SIMT_DEVICE float begin(int row, int unit) const { return rnn_read(dc_last, row, unit); }
    SIMT_DEVICE void fetch(const rnn_frame &f, int row, int unit, int i, input &in) const {
        int t = f.steps - 1 - i;
        int64_t at = static_cast<int64_t>(row) * f.steps + t;
        if (t < 0) return;
        for (int g = 0; g < LSTM_GATES; g++) in.gate[g] = gates.row(at)[static_cast<int64_t>(g) * f.width + unit];
        in.c = cells.row(at)[unit];
        in.before = t > 0 ? cells.row(at - 1)[unit] : rnn_read(c0, row, unit);
        in.dy = rnn_read(dy, at, unit);
    }
    SIMT_DEVICE void step(const rnn_frame &f, int row, int unit, int i, const float (&sums)[SUMS], const input &in,
                          float &dc, float (&sent)[SENT]) const {
        float dh = i == 0 ? rnn_read(dh_last, row, unit) : sums[0];
        if (i == f.steps) {
            if (dh0.data) deliver(&dh0.row(row)[unit], dh, add_h0);
            if (dc0.data) deliver(&dc0.row(row)[unit], dc, add_c0);
            return;
        }
        float in_gate = in.gate[GATE_I], forget = in.gate[GATE_F], g = in.gate[GATE_G], out = in.gate[GATE_O];
        float bent = tanhf(in.c);
        dh += in.dy;
        dc += dh * out * (1.0f - bent * bent);
        sent[GATE_I] = dc * g * in_gate * (1.0f - in_gate);
        sent[GATE_F] = dc * in.before * forget * (1.0f - forget);
        sent[GATE_G] = dc * in_gate * (1.0f - g * g);
        sent[GATE_O] = dh * bent * out * (1.0f - out);
        dc *= forget;
        float *to = slopes + (static_cast<int64_t>(row) * f.steps + f.steps - 1 - i) * RNN_SLOPES * f.width + unit;
        for (int s = 0; s < SENT; s++) to[static_cast<int64_t>(s) * f.width] = sent[s];
    }
};

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    bool done = false;
    MMREC_TRY(mmrec_cuda_rnn(MMREC_OP_lstm, MMREC_FORWARD, call, &done, error));
    if (done) return MMREC_OK;
    rnn_job job = rnn_job_of(call, lstm, MMREC_FORWARD);
    MMREC_TRY(rnn_check(job, error));
    lstm_forward cell = {rnn_input_of(job),
                         matrix_of<const float>(call->in[RNN_IN_H0]),
                         matrix_of<const float>(call->in[IN_C0]),
                         matrix_of<float>(call->out[RNN_OUT_Y]),
                         matrix_of<float>(call->out[RNN_OUT_H_LAST]),
                         matrix_of<float>(call->out[OUT_C_LAST]),
                         matrix_of<float>(call->saved[SAVED_GATES]),
                         matrix_of<float>(call->saved[SAVED_CELLS])};
    return rnn_forward(job, cell, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    bool done = false;
    MMREC_TRY(mmrec_cuda_rnn(MMREC_OP_lstm, MMREC_BACKWARD, call, &done, error));
    if (done) return MMREC_OK;
    rnn_job job = rnn_job_of(call, lstm, MMREC_BACKWARD);
    MMREC_TRY(rnn_check(job, error));
    lstm_backward cell = {matrix_of<const float>(call->in[IN_C0]),
                          matrix_of<const float>(call->saved[SAVED_GATES]),
                          matrix_of<const float>(call->saved[SAVED_CELLS]),
                          matrix_of<const float>(call->d_out[RNN_OUT_Y]),
                          matrix_of<const float>(call->d_out[RNN_OUT_H_LAST]),
                          matrix_of<const float>(call->d_out[OUT_C_LAST]),
                          matrix_of<float>(call->d_in[RNN_IN_H0]),
                          matrix_of<float>(call->d_in[IN_C0]),
                          job.scratch(job.sizes.slopes),
                          call_adds(call, RNN_IN_H0),
                          call_adds(call, IN_C0)};
    MMREC_TRY(rnn_backward_steps(job, cell, cell.dh0.data || cell.dc0.data, error));
    return rnn_gradients(job, error);
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_lstm = {{forward, backward}};
