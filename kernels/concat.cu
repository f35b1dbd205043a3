/* concat: y = the columns of x0 .. x7 side by side; each dx is its columns of dy. Absent inputs take no columns.
 *
 * Source: host/ops/concat.c.
 *
 *   x0 .. x7, dx0 .. dx7   (rows, A .. H)   float or bf16, rows may be slices of wider ones
 *   y, dy                  (rows, Z)        the same type
 *
 * One launch for all inputs: a row's pieces (each.cuh) are those of its first input, then those of the next; a thread
 * finds by at most seven comparisons whose piece it has. Pieces are 16 bytes where every row of every input, and its
 * columns in y, start on 16 bytes, else one element. No sums. Considered: a copy for each input, without comparisons;
 * with the few rows of a recurrent cell the launches would be most of the time. */
#include "each.cuh"

/* The inputs, or their gradients: input i has the pieces [piece[i], piece[i + 1]) of a row, none where it is absent or
 * its gradient not wanted, and the columns [column[i], column[i + 1]) of y. */
template <typename T> struct concat_parts {
    matrix<T> x[MMREC_MAX_IN];
    int64_t piece[MMREC_MAX_IN + 1], column[MMREC_MAX_IN + 1];
    unsigned adds; /* backward: bit i, gradient i is added to what is there */
};

template <typename T> SIMT_DEVICE int part_at(const concat_parts<T> &p, int64_t piece) {
    int i = 0;
    for (int k = 1; k < MMREC_MAX_IN; k++) i += piece >= p.piece[k] ? 1 : 0;
    return i;
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_concat_fwd(concat_parts<const T> from, matrix<T> y, each_loop loop) {
    for (EACH(at, loop)) {
        float v[N];
        int i = part_at(from, at.piece);
        int64_t c = (at.piece - from.piece[i]) * N, width = from.column[i + 1] - from.column[i];
        load_neighbours(v, from.x[i].row(at.row), c, width, true);
        deliver_neighbours(y.row(at.row) + from.column[i], c, width, true, v, false);
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_concat_bwd(matrix<const T> dy, concat_parts<T> to, each_loop loop) {
    for (EACH(at, loop)) {
        float v[N];
        int i = part_at(to, at.piece);
        int64_t c = (at.piece - to.piece[i]) * N, width = to.column[i + 1] - to.column[i];
        load_neighbours(v, dy.row(at.row) + to.column[i], c, width, true);
        deliver_neighbours(to.x[i].row(at.row), c, width, true, v, ((to.adds >> i) & 1u) != 0);
    }
}

/* Columns of input i: its last axis is 'A' + i, which is 0 where it is absent. */
static int64_t width_of(const mmrec_op_call *call, int i) { return call->sizes->letter[i]; }

/* Whether pieces of `most` elements start on 16 bytes everywhere: in the inputs' rows, and at their columns of y. */
static bool starts_wide(const mmrec_op_call *call, const mmrec_view *x, const mmrec_view &y, int64_t most) {
    each_views views = {&y, &x[0], &x[1], &x[2], &x[3], &x[4], &x[5], &x[6], &x[7]};
    int64_t column = 0;
    bool wide = each_rows(1, 1, y.dtype, views, 1).wide;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        wide = wide && (!x[i].data || column % most == 0);
        column += width_of(call, i);
    }
    return wide;
}

template <typename T> static concat_parts<T> parts_of(const mmrec_op_call *call, const mmrec_view *x, int64_t piece) {
    concat_parts<T> p = {};
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        int64_t width = width_of(call, i);
        p.x[i] = matrix_of<T>(x[i]);
        p.piece[i + 1] = p.piece[i] + (x[i].data ? (width + piece - 1) / piece : 0);
        p.column[i + 1] = p.column[i] + width;
    }
    p.adds = call->accumulate;
    return p;
}

/* A loop over rows whose columns are counted in pieces. */
static each_loop loop_over(const mmrec_view &y, int64_t pieces, bool wide) {
    each_loop loop = each_cut(mmrec_shape_rows(&y.shape), pieces, y.dtype, false, each_most());
    loop.wide = wide;
    return loop;
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *x = call->in, &y = call->out[0];
    int64_t most = 16 / static_cast<int64_t>(mmrec_dtype_bytes(y.dtype));
    bool wide = starts_wide(call, x, y, most);
    each_loop loop = loop_over(y, parts_of<float>(call, x, wide ? most : 1).piece[MMREC_MAX_IN], wide);
    EACH_BY_TYPE(loop, y, T, N,
                 return SIMT_LAUNCH((k_concat_fwd<T, N>), each_shape(loop), error, parts_of<const T>(call, x, N),
                                    matrix_of<T>(y), loop));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dy = call->d_out[0], *dx = call->d_in;
    int64_t most = 16 / static_cast<int64_t>(mmrec_dtype_bytes(dy.dtype));
    bool wide = starts_wide(call, dx, dy, most);
    int64_t pieces = parts_of<float>(call, dx, wide ? most : 1).piece[MMREC_MAX_IN];
    if (pieces == 0) return MMREC_OK;
    each_loop loop = loop_over(dy, pieces, wide);
    EACH_BY_TYPE(loop, dy, T, N,
                 return SIMT_LAUNCH((k_concat_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(dy),
                                    parts_of<T>(call, dx, N), loop));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_concat = {{forward, backward}};
