/* nsm_reset: y = r s, r = sigmoid(a_r + u_r);   ds = dy r,   d(a_r + u_r) = dy r s (1 - r).
 *
 * Source: host/ops/nsm_reset.c. Arguments, kernels and order of sums: nsm.cuh; a has 2 blocks and u 3, of which the
 * first of each is read.
 *
 * 1 - r is taken as the sigmoid of the opposite sign: the difference would keep few digits where a gate is nearly
 * open. */
#include "nsm.cuh"

struct reset_gates {
    enum { FIRST = 0, GATES = 1, INPUTS = 1, CANDIDATE = 0, BLOCKS_A = 2, BLOCKS_U = 3 };
    SIMT_DEVICE static float value(const float (&sum)[INPUTS], float s) { return sigmoid(sum[0]) * s; }
    SIMT_DEVICE static void slope(const float (&sum)[INPUTS], float s, float dy, float (&slope)[INPUTS + 1]) {
        slope[1] = dy * sigmoid(sum[0]);
        slope[0] = slope[1] * s * sigmoid(-sum[0]);
    }
};

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    return nsm_forward<reset_gates>("nsm_reset", call, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    return nsm_backward<reset_gates>("nsm_reset", call, error);
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_nsm_reset = {{forward, backward}};
