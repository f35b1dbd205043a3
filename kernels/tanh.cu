/* tanh: y = tanh x; dx = dy (1 - y^2).
 *
 * Source: host/ops/tanh.c.
 *
 *   x, y, dy, dx   (rows, columns)   float or bf16, rows may be slices of wider ones
 *
 * A thread has 16 bytes of a row (each.cuh); memory-bound. tanhf is the accurate one, to 2 units in the last place also
 * near 0; tanh.approx, one instruction, is off by 5e-4. No sums. */
#include "each.cuh"

template <typename T, int N> SIMT_KERNEL(EACH_THREADS) k_tanh_fwd(matrix<const T> x, matrix<T> y, each_loop loop) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, x.row(at.row), v);
        for (int i = 0; i < N; i++) v[i] = tanhf(v[i]);
        each_store(loop, at, y.row(at.row), v);
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_tanh_bwd(matrix<const T> y, matrix<const T> dy, matrix<T> dx, each_loop loop, bool add) {
    for (EACH(at, loop)) {
        float v[N], g[N];
        each_load(loop, at, y.row(at.row), v);
        each_load(loop, at, dy.row(at.row), g);
        for (int i = 0; i < N; i++) g[i] *= 1.0f - v[i] * v[i];
        each_deliver(loop, at, dx.row(at.row), g, add);
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[0], &y = call->out[0];
    each_loop loop = each_over({&x, &y}, each_most());
    EACH_BY_TYPE(
        loop, x, T, N,
        return SIMT_LAUNCH((k_tanh_fwd<T, N>), each_shape(loop), error, matrix_of<const T>(x), matrix_of<T>(y), loop));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &y = call->out[0], &dy = call->d_out[0], &dx = call->d_in[0];
    if (!dx.data) return MMREC_OK;
    each_loop loop = each_over({&y, &dy, &dx}, each_most());
    EACH_BY_TYPE(loop, y, T, N,
                 return SIMT_LAUNCH((k_tanh_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(y),
                                    matrix_of<const T>(dy), matrix_of<T>(dx), loop, call_adds(call, 0)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_tanh = {{forward, backward}};
