/* nsm_lstm: y = o h, h = tanh(f s + i n), with f, i, o = sigmoid and n = tanh of a + u; with g = dy o (1 - h^2):
 *   ds = g f,   df = g s f (1 - f),   di = g n i (1 - i),   do = dy h o (1 - o),   dn = g i (1 - n^2).
 *
 * Source: host/ops/nsm_lstm.c. Arguments, kernels and order of sums: nsm.cuh; a and u have 4 blocks in the order f, i,
 * o, n, and all are read. */
#include "nsm.cuh"

struct lstm_gates {
    enum { FIRST = 0, GATES = 4, INPUTS = 4, CANDIDATE = 0, BLOCKS_A = 4, BLOCKS_U = 4 };
    SIMT_DEVICE static float value(const float (&sum)[INPUTS], float s) {
        return sigmoid(sum[2]) * tanhf(sigmoid(sum[0]) * s + sigmoid(sum[1]) * tanhf(sum[3]));
    }
    SIMT_DEVICE static void slope(const float (&sum)[INPUTS], float s, float dy, float (&slope)[INPUTS + 1]) {
        float f = sigmoid(sum[0]), i = sigmoid(sum[1]), o = sigmoid(sum[2]), n = tanhf(sum[3]);
        float h = tanhf(f * s + i * n), g = dy * o * (1.0f - h * h);
        slope[0] = g * f * s * (1.0f - f);
        slope[1] = g * i * n * (1.0f - i);
        slope[2] = dy * h * o * (1.0f - o);
        slope[3] = g * i * (1.0f - n * n);
        slope[4] = g * f;
    }
};

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    return nsm_forward<lstm_gates>("nsm_lstm", call, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    return nsm_backward<lstm_gates>("nsm_lstm", call, error);
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_nsm_lstm = {{forward, backward}};
