/* fill: y = value everywhere; also how automatic differentiation writes zeros or a constant.
 *
 * Source: host/ops/fill.c. It follows the view it is given.
 *
 *   y   (rows, columns)   float or bf16, rows may be slices of wider ones
 *
 * A thread has 16 bytes of a row (each.cuh); memory-bound. cudaMemset2D knows no value of four bytes. No sums. */
#include "each.cuh"

enum { ATTR_VALUE };

template <typename T, int N> SIMT_KERNEL(EACH_THREADS) k_fill(matrix<T> y, each_loop loop, float value) {
    float v[N];
    for (int i = 0; i < N; i++) v[i] = value;
    for (EACH(at, loop)) each_store(loop, at, y.row(at.row), v);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &y = call->out[0];
    each_loop loop = each_over({&y}, each_most());
    EACH_BY_TYPE(loop, y, T, N,
                 return SIMT_LAUNCH((k_fill<T, N>), each_shape(loop), error, matrix_of<T>(y), loop,
                                    static_cast<float>(call->sizes->attr[ATTR_VALUE])));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_fill = {{forward, nullptr}};
