/* relu: y = max(x, 0); dx = dy where x > 0, else 0. NaN stays NaN, and its gradient passes.
 *
 * Source: host/ops/relu.c.
 *
 *   x, y, dy, dx   (rows, columns)   float or bf16, rows may be slices of wider ones
 *
 * A thread has 16 bytes of a row (each.cuh); memory-bound. No sums. */
#include "each.cuh"

template <typename T, int N> SIMT_KERNEL(EACH_THREADS) k_relu_fwd(matrix<const T> x, matrix<T> y, each_loop loop) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, x.row(at.row), v);
        for (int i = 0; i < N; i++) v[i] = v[i] < 0.0f ? 0.0f : v[i]; /* fmaxf would turn NaN into 0 */
        each_store(loop, at, y.row(at.row), v);
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_relu_bwd(matrix<const T> x, matrix<const T> dy, matrix<T> dx, each_loop loop, bool add) {
    for (EACH(at, loop)) {
        float v[N], g[N];
        each_load(loop, at, x.row(at.row), v);
        each_load(loop, at, dy.row(at.row), g);
        for (int i = 0; i < N; i++) g[i] = v[i] <= 0.0f ? 0.0f : g[i];
        each_deliver(loop, at, dx.row(at.row), g, add);
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[0], &y = call->out[0];
    each_loop loop = each_over({&x, &y}, each_most());
    EACH_BY_TYPE(
        loop, x, T, N,
        return SIMT_LAUNCH((k_relu_fwd<T, N>), each_shape(loop), error, matrix_of<const T>(x), matrix_of<T>(y), loop));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[0], &dy = call->d_out[0], &dx = call->d_in[0];
    if (!dx.data) return MMREC_OK;
    each_loop loop = each_over({&x, &dy, &dx}, each_most());
    EACH_BY_TYPE(loop, x, T, N,
                 return SIMT_LAUNCH((k_relu_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(x),
                                    matrix_of<const T>(dy), matrix_of<T>(dx), loop, call_adds(call, 0)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_relu = {{forward, backward}};
