/* relu: y = max(x, 0); dx = dy where x > 0, else 0. NaN stays NaN, and its gradient passes.
 *
 * Source: host/ops/relu.c. Arguments and kernels: map.cuh; x is kept. */
#include "map.cuh"

struct relu_map {
    SIMT_DEVICE static float value(float x) { return x < 0.0f ? 0.0f : x; } /* fmaxf would turn NaN into 0 */
    SIMT_DEVICE static float gradient(float x, float dy) { return x <= 0.0f ? 0.0f : dy; }
};

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    return map_backward<relu_map>(call, call->in[0], error);
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_relu = {{map_forward<relu_map>, backward}};
