/* columns: y = columns [first, first + count) of x; dx = dy there and 0 elsewhere.
 *
 * Source: host/ops/columns.c.
 *
 *   x, dx   (rows, D)   float or bf16, rows may be slices of wider ones
 *   y, dy   (rows, F)   the same type
 *
 * Forward, and backward where the gradient accumulates: a copy of a slice (copy.cuh). Backward where it overwrites: a
 * thread has 16 bytes of a row of dx (each.cuh), in the slice or beside it, so that all of dx is written in one launch,
 * and once. No sums. */
#include "copy.cuh"

#include "ops/part_device.h"

/* Pieces are whole only where the slice starts on 16 bytes, so none lies across its beginning; beyond its end, `width`
 * columns on, elements are 0. */
template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_columns_bwd(matrix<const T> dy, matrix<T> dx, each_loop loop, int64_t first, int64_t width) {
    for (EACH(at, loop)) {
        float v[N] = {};
        int64_t column = at.piece * N - first;
        if (column >= 0) load_neighbours(v, dy.row(at.row), column, width, true);
        each_store(loop, at, dx.row(at.row), v);
    }
}

/* The slice of x or dx as a tensor of its own: the shape of y. */
static mmrec_view slice_of(const mmrec_view &x, const mmrec_view &y, int64_t first) {
    mmrec_view slice = x;
    slice.shape = y.shape;
    slice.data = static_cast<char *>(x.data) + static_cast<size_t>(first) * mmrec_dtype_bytes(x.dtype);
    return slice;
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &y = call->out[0];
    return copy_same(slice_of(call->in[0], y, part_first(call->sizes)), y, false, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dy = call->d_out[0], &dx = call->d_in[0];
    if (!dx.data) return MMREC_OK;
    int64_t first = part_first(call->sizes);
    mmrec_view slice = slice_of(dx, dy, first);
    if (call_adds(call, 0)) return copy_same(dy, slice, true, error);
    each_loop loop =
        each_rows(mmrec_shape_rows(&dx.shape), MMREC_SIZE(call->sizes, D), dx.dtype, {&dy, &slice, &dx}, each_most());
    EACH_BY_TYPE(loop, dx, T, N,
                 return SIMT_LAUNCH((k_columns_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(dy),
                                    matrix_of<T>(dx), loop, first, MMREC_SIZE(call->sizes, F)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_columns = {{forward, backward}};
