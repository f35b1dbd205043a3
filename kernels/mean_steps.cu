/* mean_steps: y[b] = mean over t of x[b, t]; dx[b, t] = dy[b] / T.
 *
 * Source: host/ops/mean_steps.c.
 *
 *   x, dx     (B T, D)         float or bf16, rows may be slices of wider ones
 *   y, dy     (B, D)           the same type
 *   scratch   (B, pieces, D)   float: sums of x over pieces of T
 *
 * Forward: two kernels. The first adds up pieces of at least 64 steps (columns.cuh); in the second a thread has 16
 * bytes of a row of y (each.cuh), adds the pieces up, at most 32, and divides. Backward: a thread has 16 bytes of a row
 * of dx. Memory-bound: x is read once, dx written once.
 *
 * Order of sums: rows of a warp, warps, pieces. Fixed by the sizes. */
#include "columns.cuh"
#include "each.cuh"

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_mean_steps_fwd(const float *parts, matrix<T> y, each_loop loop, row_pieces pieces) {
    for (EACH(at, loop)) {
        float sum[N] = {};
        for (int64_t p = 0; p < pieces.count; p++) {
            float v[N];
            each_load(loop, at, parts + (at.row * pieces.count + p) * pieces.stride, v);
            for (int i = 0; i < N; i++) sum[i] += v[i];
        }
        for (int i = 0; i < N; i++) sum[i] /= static_cast<float>(pieces.rows);
        each_store(loop, at, y.row(at.row), sum);
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_mean_steps_bwd(matrix<const T> dy, matrix<T> dx, each_loop loop, int64_t steps, bool add) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, dy.row(at.row / steps), v);
        for (int i = 0; i < N; i++) v[i] /= static_cast<float>(steps);
        each_deliver(loop, at, dx.row(at.row), v, add);
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[0], &y = call->out[0];
    int64_t batch = MMREC_SIZE(call->sizes, B), columns = MMREC_SIZE(call->sizes, D);
    MMREC_TRY(row_check("mean_steps", columns, error));
    row_pieces pieces = pieces_of_steps(MMREC_SIZE(call->sizes, T), columns);
    float *parts = static_cast<float *>(call->scratch);
    SIMT_BY_DTYPE(x, T, MMREC_TRY(columns_part<T>(x, batch, pieces, parts, error)));
    each_loop loop = each_rows(batch, columns, y.dtype, {&y}, each_most());
    EACH_BY_TYPE(loop, y, T, N,
                 return SIMT_LAUNCH((k_mean_steps_fwd<T, N>), each_shape(loop), error,
                                    static_cast<const float *>(parts), matrix_of<T>(y), loop, pieces));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dy = call->d_out[0], &dx = call->d_in[0];
    if (!dx.data) return MMREC_OK;
    each_loop loop =
        each_rows(mmrec_shape_rows(&dx.shape), MMREC_SIZE(call->sizes, D), dx.dtype, {&dy, &dx}, each_most());
    EACH_BY_TYPE(loop, dx, T, N,
                 return SIMT_LAUNCH((k_mean_steps_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(dy),
                                    matrix_of<T>(dx), loop, MMREC_SIZE(call->sizes, T), call_adds(call, 0)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_mean_steps = {{forward, backward}};
