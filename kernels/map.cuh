/* Kernels that take a tensor element by element, each for itself, and need one tensor more for the gradient.
 *
 *   x, y, kept, dy, dx   (rows, columns)   float or bf16, rows may be slices of wider ones; kept: x or y
 *
 * A Map type has two functions of one element: value(x) is y, gradient(kept, dy) is dx. A thread has 16 bytes of a row
 * (each.cuh); memory-bound. No sums. */
#ifndef MMREC_MAP_CUH
#define MMREC_MAP_CUH

#include "each.cuh"

template <typename T, int N, typename Map>
SIMT_KERNEL(EACH_THREADS)
k_map_fwd(matrix<const T> x, matrix<T> y, each_loop loop) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, x.row(at.row), v);
        for (int i = 0; i < N; i++) v[i] = Map::value(v[i]);
        each_store(loop, at, y.row(at.row), v);
    }
}

template <typename T, int N, typename Map>
SIMT_KERNEL(EACH_THREADS)
k_map_bwd(matrix<const T> kept, matrix<const T> dy, matrix<T> dx, each_loop loop, bool add) {
    for (EACH(at, loop)) {
        float v[N], g[N];
        each_load(loop, at, kept.row(at.row), v);
        each_load(loop, at, dy.row(at.row), g);
        for (int i = 0; i < N; i++) g[i] = Map::gradient(v[i], g[i]);
        each_deliver(loop, at, dx.row(at.row), g, add);
    }
}

template <typename Map> static mmrec_status map_forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[0], &y = call->out[0];
    each_loop loop = each_over({&x, &y}, each_most());
    EACH_BY_TYPE(loop, x, T, N,
                 return SIMT_LAUNCH((k_map_fwd<T, N, Map>), each_shape(loop), error, matrix_of<const T>(x),
                                    matrix_of<T>(y), loop));
}

template <typename Map>
static mmrec_status map_backward(const mmrec_op_call *call, const mmrec_view &kept, mmrec_error *error) {
    const mmrec_view &dy = call->d_out[0], &dx = call->d_in[0];
    if (!dx.data) return MMREC_OK;
    each_loop loop = each_over({&kept, &dy, &dx}, each_most());
    EACH_BY_TYPE(loop, kept, T, N,
                 return SIMT_LAUNCH((k_map_bwd<T, N, Map>), each_shape(loop), error, matrix_of<const T>(kept),
                                    matrix_of<const T>(dy), matrix_of<T>(dx), loop, call_adds(call, 0)));
}

#endif
