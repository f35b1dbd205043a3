/* nsm_update: y = (1 - z) s + z c, z = sigmoid(a_z + u_z), c = tanh(n + u_n);
 *   ds = dy (1 - z),   d(a_z + u_z) = ds z (c - s),   dn = dy z (1 - c^2).
 *
 * Source: host/ops/nsm_update.c. Arguments, kernels and order of sums: nsm.cuh; a has 2 blocks, of which the second is
 * read, and u 3, of which the second and the third are.
 *
 * 1 - z is taken as the sigmoid of the opposite sign: the difference would keep few digits where a gate is nearly
 * open. */
#include "nsm.cuh"

struct update_gates {
    enum { FIRST = 1, GATES = 1, INPUTS = 2, CANDIDATE = 1, BLOCKS_A = 2, BLOCKS_U = 3 };
    SIMT_DEVICE static float value(const float (&sum)[INPUTS], float s) {
        return sigmoid(-sum[0]) * s + sigmoid(sum[0]) * tanhf(sum[1]);
    }
    SIMT_DEVICE static void slope(const float (&sum)[INPUTS], float s, float dy, float (&slope)[INPUTS + 1]) {
        float z = sigmoid(sum[0]), c = tanhf(sum[1]);
        slope[2] = dy * sigmoid(-sum[0]);
        slope[0] = slope[2] * z * (c - s);
        slope[1] = dy * z * (1.0f - c * c);
    }
};

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    return nsm_forward<update_gates>("nsm_update", call, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    return nsm_backward<update_gates>("nsm_update", call, error);
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_nsm_update = {{forward, backward}};
