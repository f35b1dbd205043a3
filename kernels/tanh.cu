/* tanh: y = tanh x; dx = dy (1 - y^2).
 *
 * Source: host/ops/tanh.c. Arguments and kernels: map.cuh; y is kept.
 *
 * tanhf is the accurate one, to 2 units in the last place also near 0; tanh.approx, one instruction, is off by 5e-4. */
#include "map.cuh"

struct tanh_map {
    SIMT_DEVICE static float value(float x) { return tanhf(x); }
    SIMT_DEVICE static float gradient(float y, float dy) { return dy * (1.0f - y * y); }
};

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    return map_backward<tanh_map>(call, call->out[0], error);
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_tanh = {{map_forward<tanh_map>, backward}};
