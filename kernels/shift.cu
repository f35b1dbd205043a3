/* shift: h_prev[b, 0] = h0[b], h_prev[b, t] = h[b, t - 1]; dh[b, t] = dh_prev[b, t + 1], dh[b, T - 1] = 0,
 * dh0[b] = dh_prev[b, 0].
 *
 * Source: host/ops/shift.c.
 *
 *   h, h_prev, dh, dh_prev   (B T, D)   float or bf16, rows may be slices of wider ones
 *   h0, dh0                  (B, D)     the same type
 *
 * A copy: a thread has 16 bytes of a row (each.cuh) and asks for each piece whose row it comes from. No sums.
 * Considered: two cudaMemcpy3D; they cannot add to a gradient and take no rows apart. */
#include "each.cuh"

enum { IN_H, IN_H0 };

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_shift_fwd(matrix<const T> h, matrix<const T> h0, matrix<T> h_prev, each_loop loop, int64_t steps) {
    for (EACH(at, loop)) {
        float v[N];
        bool first = at.row % steps == 0;
        each_load(loop, at, first ? h0.row(at.row / steps) : h.row(at.row - 1), v);
        each_store(loop, at, h_prev.row(at.row), v);
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_shift_bwd(matrix<const T> dh_prev, matrix<T> dh, each_loop loop, int64_t steps, bool add) {
    for (EACH(at, loop)) {
        float v[N] = {};
        if ((at.row + 1) % steps != 0) each_load(loop, at, dh_prev.row(at.row + 1), v);
        each_deliver(loop, at, dh.row(at.row), v, add);
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_shift_bwd_h0(matrix<const T> dh_prev, matrix<T> dh0, each_loop loop, int64_t steps, bool add) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, dh_prev.row(at.row * steps), v);
        each_deliver(loop, at, dh0.row(at.row), v, add);
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &h = call->in[IN_H], &h0 = call->in[IN_H0], &to = call->out[0];
    int64_t steps = MMREC_SIZE(call->sizes, T);
    each_loop loop =
        each_rows(mmrec_shape_rows(&to.shape), mmrec_shape_columns(&to.shape), to.dtype, {&h, &h0, &to}, each_most());
    EACH_BY_TYPE(loop, to, T, N,
                 return SIMT_LAUNCH((k_shift_fwd<T, N>), each_shape(loop), error, matrix_of<const T>(h),
                                    matrix_of<const T>(h0), matrix_of<T>(to), loop, steps));
}

static mmrec_status state_gradient(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &from = call->d_out[0], &dh = call->d_in[IN_H];
    int64_t steps = MMREC_SIZE(call->sizes, T);
    each_loop loop =
        each_rows(mmrec_shape_rows(&dh.shape), mmrec_shape_columns(&dh.shape), dh.dtype, {&from, &dh}, each_most());
    EACH_BY_TYPE(loop, dh, T, N,
                 return SIMT_LAUNCH((k_shift_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(from),
                                    matrix_of<T>(dh), loop, steps, call_adds(call, IN_H)));
}

static mmrec_status initial_gradient(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &from = call->d_out[0], &dh0 = call->d_in[IN_H0];
    int64_t steps = MMREC_SIZE(call->sizes, T);
    each_loop loop =
        each_rows(mmrec_shape_rows(&dh0.shape), mmrec_shape_columns(&dh0.shape), dh0.dtype, {&from, &dh0}, each_most());
    EACH_BY_TYPE(loop, dh0, T, N,
                 return SIMT_LAUNCH((k_shift_bwd_h0<T, N>), each_shape(loop), error, matrix_of<const T>(from),
                                    matrix_of<T>(dh0), loop, steps, call_adds(call, IN_H0)));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    if (call->d_in[IN_H].data) MMREC_TRY(state_gradient(call, error));
    return call->d_in[IN_H0].data ? initial_gradient(call, error) : MMREC_OK;
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_shift = {{forward, backward}};
