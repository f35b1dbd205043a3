/* gelu: y = dropout(x P(X <= x)), the exact (erf) form; dx = dropout(dy) (P(X <= x) + x density(x)). p = 0: no dropout.
 *
 * Source: host/ops/gelu.c. cuBLASLt's GELU epilogue is the tanh approximation, up to 5e-4 away, so it is not used.
 *
 *   x, y, dy, dx   (rows, columns)   float or bf16, rows may be slices of wider ones
 *
 * A thread has 16 bytes of a row (each.cuh); memory-bound: 8 bytes an element forward, 12 backward in float, for about
 * 30 operations. No sums. Considered: keeping P(X <= x) for the backward pass, 4 bytes more written and read to save an
 * erff of 25 operations. */
#include "mask.cuh"

enum { ATTR_P };

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_gelu_fwd(matrix<const T> x, matrix<T> y, each_loop loop, mask m) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, x.row(at.row), v);
        for (int i = 0; i < N; i++) v[i] = 0.5f * v[i] * (1.0f + erff(v[i] * 0.70710678f));
        mask_pass(m, each_number<N>(loop, at), v);
        each_store(loop, at, y.row(at.row), v);
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_gelu_bwd(matrix<const T> x, matrix<const T> dy, matrix<T> dx, each_loop loop, mask m, bool add) {
    for (EACH(at, loop)) {
        float v[N], g[N];
        each_load(loop, at, x.row(at.row), v);
        each_load(loop, at, dy.row(at.row), g);
        mask_pass(m, each_number<N>(loop, at), g);
        for (int i = 0; i < N; i++) {
            float below = 0.5f * (1.0f + erff(v[i] * 0.70710678f)), density = 0.39894228f * expf(-0.5f * v[i] * v[i]);
            g[i] *= below + v[i] * density;
        }
        each_deliver(loop, at, dx.row(at.row), g, add);
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[0], &y = call->out[0];
    each_loop loop = each_over({&x, &y}, each_most());
    EACH_BY_TYPE(loop, x, T, N,
                 return SIMT_LAUNCH((k_gelu_fwd<T, N>), each_shape(loop), error, matrix_of<const T>(x), matrix_of<T>(y),
                                    loop, mask_of(call, ATTR_P)));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[0], &dy = call->d_out[0], &dx = call->d_in[0];
    if (!dx.data) return MMREC_OK;
    each_loop loop = each_over({&x, &dy, &dx}, each_most());
    EACH_BY_TYPE(loop, x, T, N,
                 return SIMT_LAUNCH((k_gelu_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(x),
                                    matrix_of<const T>(dy), matrix_of<T>(dx), loop, mask_of(call, ATTR_P),
                                    call_adds(call, 0)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_gelu = {{forward, backward}};
