/* dropout: y = x / (1 - p) where the element's number is at least p, 0 elsewhere; dx likewise from dy.
 *
 * Source: host/ops/dropout.c; the mask, and why it is drawn again instead of stored: mask.cuh.
 *
 *   x, y, dy, dx   (rows, columns)   float or bf16, rows may be slices of wider ones
 *
 * A thread has 16 bytes of a row (each.cuh); memory-bound where rows begin on 16 bytes. Elsewhere each thread draws
 * four numbers for its one element. No sums. */
#include "mask.cuh"

enum { ATTR_P };

/* Forward from x to y, backward from dy to dx: one map. */
template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_dropout(matrix<const T> from, matrix<T> to, each_loop loop, mask m, bool add) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, from.row(at.row), v);
        mask_pass(m, each_number<N>(loop, at), v);
        each_deliver(loop, at, to.row(at.row), v, add);
    }
}

static mmrec_status apply(const mmrec_op_call *call, const mmrec_view &from, const mmrec_view &to, bool add,
                          mmrec_error *error) {
    each_loop loop = each_over({&from, &to}, each_most());
    EACH_BY_TYPE(loop, from, T, N,
                 return SIMT_LAUNCH((k_dropout<T, N>), each_shape(loop), error, matrix_of<const T>(from),
                                    matrix_of<T>(to), loop, mask_of(call, ATTR_P), add));
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    return apply(call, call->in[0], call->out[0], false, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    return call->d_in[0].data ? apply(call, call->d_out[0], call->d_in[0], call_adds(call, 0), error) : MMREC_OK;
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_dropout = {{forward, backward}};
