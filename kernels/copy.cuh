/* Copying a tensor, from one stored type to another in both passes of `narrow` and `widen`, as it is elsewhere.
 *
 *   x, dx, y, dy   (rows, columns)   float or bf16 each, rows may be slices of wider ones
 *
 * A thread has 16 bytes of a row of the smaller type (each.cuh), so 8 elements where one side is bf16: two loads or two
 * stores of 16 bytes on the other. Memory-bound, 6 bytes an element from float to bf16 or back. No sums. */
#ifndef MMREC_COPY_CUH
#define MMREC_COPY_CUH

#include "each.cuh"

template <typename From, typename To, int N>
SIMT_KERNEL(EACH_THREADS)
k_copy(matrix<const From> x, matrix<To> y, each_loop loop, bool add) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, x.row(at.row), v);
        each_deliver(loop, at, y.row(at.row), v, add);
    }
}

template <typename From, typename To>
static mmrec_status copy_typed(const mmrec_view &from, const mmrec_view &to, bool add, mmrec_error *error) {
    constexpr bool narrows = sizeof(To) < sizeof(From);
    constexpr int wide = 16 / static_cast<int>(narrows ? sizeof(To) : sizeof(From));
    each_loop loop = narrows ? each_over({&to, &from}, each_most()) : each_over({&from, &to}, each_most());
    matrix<const From> x = matrix_of<const From>(from);
    matrix<To> y = matrix_of<To>(to);
    if (!loop.wide) return SIMT_LAUNCH((k_copy<From, To, 1>), each_shape(loop), error, x, y, loop, add);
    return SIMT_LAUNCH((k_copy<From, To, wide>), each_shape(loop), error, x, y, loop, add);
}

/* Both sides have one type. */
static inline mmrec_status copy_same(const mmrec_view &from, const mmrec_view &to, bool add, mmrec_error *error) {
    SIMT_BY_DTYPE(to, T, return (copy_typed<T, T>(from, to, add, error)));
}

/* One side is always float. */
static inline mmrec_status copy_view(const mmrec_view &from, const mmrec_view &to, bool add, mmrec_error *error) {
    if (from.dtype == MMREC_BF16) return copy_typed<simt_bf16, float>(from, to, add, error);
    SIMT_BY_DTYPE(to, To, return (copy_typed<float, To>(from, to, add, error)));
}

static inline mmrec_status copy_forward(const mmrec_op_call *call, mmrec_error *error) {
    return copy_view(call->in[0], call->out[0], false, error);
}

static inline mmrec_status copy_backward(const mmrec_op_call *call, mmrec_error *error) {
    if (!call->d_in[0].data) return MMREC_OK;
    return copy_view(call->d_out[0], call->d_in[0], call_adds(call, 0), error);
}

#endif
