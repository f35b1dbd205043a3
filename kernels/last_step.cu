/* last_step: h_last[b] = h[b, T - 1], the state the next chunk starts from. No gradient crosses.
 *
 * Source: host/ops/last_step.c.
 *
 *   h        (B T, D)   float, rows may be slices of wider ones
 *   h_last   (B, D)     float
 *
 * A copy of B rows: a thread has 16 bytes of a row (each.cuh); the launch is most of its time. No sums. */
#include "each.cuh"

template <int N>
SIMT_KERNEL(EACH_THREADS)
k_last_step_fwd(matrix<const float> h, matrix<float> h_last, each_loop loop, int64_t steps) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, h.row(at.row * steps + steps - 1), v);
        each_store(loop, at, h_last.row(at.row), v);
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &h = call->in[0], &to = call->out[0];
    each_loop loop =
        each_rows(mmrec_shape_rows(&to.shape), mmrec_shape_columns(&to.shape), to.dtype, {&h, &to}, each_most());
    EACH_BY_WIDTH(loop, float, N,
                  return SIMT_LAUNCH((k_last_step_fwd<N>), each_shape(loop), error, matrix_of<const float>(h),
                                     matrix_of<float>(to), loop, MMREC_SIZE(call->sizes, T)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_last_step = {{forward, nullptr}};
