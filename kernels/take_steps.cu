/* take_steps: y[b, k] = x[b, first + k]; dx[b, t] = dy[b, t - first] where that step was taken, else 0.
 *
 * Source: host/ops/take_steps.c.
 *
 *   x, dx   (B T, D)   float or bf16, rows may be slices of wider ones
 *   y, dy   (B K, D)   the same type
 *
 * A copy: a thread has 16 bytes of a row (each.cuh) and asks for each piece whose row it comes from. No sums. Steps
 * that were not taken are not touched where the gradient accumulates. Considered: taking the steps of a sequence as one
 * long row, which saves the division a piece; it holds only where no row is a slice of a wider one. */
#include "each.cuh"

#include "ops/part_device.h"

struct steps_place {
    int64_t steps, first, taken;
};

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_take_steps_fwd(matrix<const T> x, matrix<T> y, each_loop loop, steps_place p) {
    for (EACH(at, loop)) {
        float v[N];
        int64_t b = at.row / p.taken, k = at.row % p.taken;
        each_load(loop, at, x.row(b * p.steps + p.first + k), v);
        each_store(loop, at, y.row(at.row), v);
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_take_steps_bwd(matrix<const T> dy, matrix<T> dx, each_loop loop, steps_place p, bool add) {
    for (EACH(at, loop)) {
        float v[N] = {};
        int64_t b = at.row / p.steps, k = at.row % p.steps - p.first;
        bool taken = k >= 0 && k < p.taken;
        if (taken) each_load(loop, at, dy.row(b * p.taken + k), v);
        if (taken || !add) each_deliver(loop, at, dx.row(at.row), v, add);
    }
}

static steps_place place_of(const mmrec_op_call *call) {
    return {MMREC_SIZE(call->sizes, T), part_first(call->sizes), MMREC_SIZE(call->sizes, K)};
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[0], &y = call->out[0];
    each_loop loop = each_rows(mmrec_shape_rows(&y.shape), MMREC_SIZE(call->sizes, D), y.dtype, {&x, &y}, each_most());
    EACH_BY_TYPE(loop, y, T, N,
                 return SIMT_LAUNCH((k_take_steps_fwd<T, N>), each_shape(loop), error, matrix_of<const T>(x),
                                    matrix_of<T>(y), loop, place_of(call)));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dy = call->d_out[0], &dx = call->d_in[0];
    if (!dx.data) return MMREC_OK;
    each_loop loop =
        each_rows(mmrec_shape_rows(&dx.shape), MMREC_SIZE(call->sizes, D), dx.dtype, {&dy, &dx}, each_most());
    EACH_BY_TYPE(loop, dx, T, N,
                 return SIMT_LAUNCH((k_take_steps_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(dy),
                                    matrix_of<T>(dx), loop, place_of(call), call_adds(call, 0)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_take_steps = {{forward, backward}};
