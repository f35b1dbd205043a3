/* Elementwise kernels: tensors of one shape, walked in pieces of N neighbouring elements of a row.
 *
 * A piece is what 16 bytes of the stored type hold, 4 floats or 8 bf16 (N), loaded and stored at once; a thread has one
 * piece and strides over the grid. Where any tensor's rows do not all start on 16 bytes (a slice of columns may start
 * anywhere) the same kernel runs with N = 1, neighbouring threads on neighbouring elements. The last piece of a row may
 * be shorter.
 *
 * With 256 threads a block and 8 blocks for each of 132 processors a launch has 4.3 MB of loads in flight for each
 * input, what the data sheet's 3.35 TB/s delivers in 1.3 us; how near a copy it comes is not measured yet. Indices: two
 * 32-bit divisions a thread, none a piece (a 64-bit one is some 70 instructions where nvcc cannot shorten it). */
#ifndef MMREC_EACH_CUH
#define MMREC_EACH_CUH

#include <initializer_list>

#include "device.cuh"

enum { EACH_THREADS = 256, EACH_WAVES = 8 };

/* What all threads walk, and how far it is from a thread's piece to its next. */
struct each_loop {
    int64_t rows, columns, pieces; /* pieces of a row */
    int64_t step_rows, step_pieces;
    unsigned blocks;
    bool wide; /* N elements a piece instead of one */
};

/* A thread's piece: the elements of `row` from column piece * N on. */
struct each_at {
    int64_t row, piece;
};

SIMT_DEVICE each_at each_first(const each_loop &loop) {
    unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
    /* Never as many threads as 2^32: where a row has more pieces they are all in row 0. */
    unsigned pieces = loop.pieces < UINT32_MAX ? static_cast<unsigned>(loop.pieces) : UINT32_MAX;
    return {index / pieces, index % pieces};
}

SIMT_DEVICE void each_next(const each_loop &loop, each_at &at) {
    at.row += loop.step_rows;
    at.piece += loop.step_pieces;
    if (at.piece >= loop.pieces) {
        at.piece -= loop.pieces;
        at.row++;
    }
}

/* For the kernel's loop: for (EACH(at, loop)) ... */
#define EACH(at, loop)                                                                                                 \
    each_at at = each_first(loop);                                                                                     \
    at.row < (loop).rows;                                                                                              \
    each_next(loop, at)

/* Number r * columns + c of the piece's first element: the address of its random numbers. */
template <int N> SIMT_DEVICE uint64_t each_number(const each_loop &loop, const each_at &at) {
    return static_cast<uint64_t>(at.row * loop.columns + at.piece * N);
}

/* Where the row ends, for a piece of N: one of a single element is never short. */
template <int N> SIMT_DEVICE int64_t each_end(const each_loop &loop, const each_at &at) {
    return N == 1 ? at.piece + 1 : loop.columns;
}

/* The piece in `row` of a tensor; 0 stands for what lies beyond the row's end. */
template <int N, typename T>
SIMT_DEVICE void each_load(const each_loop &loop, const each_at &at, const T *row, float (&v)[N]) {
    load_neighbours(v, row, at.piece * N, each_end<N>(loop, at), true);
}

/* Overwrites or adds, rounding once. */
template <int N, typename T>
SIMT_DEVICE void each_deliver(const each_loop &loop, const each_at &at, T *row, const float (&v)[N], bool add) {
    deliver_neighbours(row, at.piece * N, each_end<N>(loop, at), true, v, add);
}
template <int N, typename T>
SIMT_DEVICE void each_store(const each_loop &loop, const each_at &at, T *row, const float (&v)[N]) {
    each_deliver(loop, at, row, v, false);
}

typedef std::initializer_list<const mmrec_view *> each_views;

static inline bool each_starts_wide(const mmrec_view &view) {
    return reinterpret_cast<uintptr_t>(view.data) % 16 == 0; /* so does an absent one */
}

static inline each_loop each_cut(int64_t rows, int64_t columns, mmrec_dtype dtype, bool wide, unsigned most) {
    int64_t width = wide ? 16 / static_cast<int64_t>(mmrec_dtype_bytes(dtype)) : 1;
    each_loop loop = {rows, columns, (columns + width - 1) / width, 0, 0, 0, wide};
    int64_t blocks = (rows * loop.pieces + EACH_THREADS - 1) / EACH_THREADS;
    loop.blocks = blocks < most ? static_cast<unsigned>(blocks) : most;
    int64_t threads = static_cast<int64_t>(loop.blocks) * EACH_THREADS;
    loop.step_rows = threads / loop.pieces;
    loop.step_pieces = threads % loop.pieces;
    return loop;
}

/* `rows` rows of `columns` in pieces of 16 bytes of `dtype`, where every row of every view starts on 16 bytes; at most
 * `most` blocks. */
static inline each_loop each_rows(int64_t rows, int64_t columns, mmrec_dtype dtype, each_views views, unsigned most) {
    bool wide = true;
    for (const mmrec_view *view : views) {
        size_t row_bytes = static_cast<size_t>(view->stride) * mmrec_dtype_bytes(view->dtype);
        wide = wide && (!view->data || (each_starts_wide(*view) && row_bytes % 16 == 0));
    }
    return each_cut(rows, columns, dtype, wide, most);
}

/* All elements of views of one shape (absent ones do not matter; the first is there and has the stored type): one long
 * row where none has padding between its rows. Element numbers are the same in either form. */
static inline each_loop each_over(each_views views, unsigned most) {
    const mmrec_view &first = **views.begin();
    int64_t rows = mmrec_shape_rows(&first.shape), columns = mmrec_shape_columns(&first.shape);
    bool dense = true, wide = true;
    for (const mmrec_view *view : views) {
        dense = dense && (!view->data || view->stride == columns);
        wide = wide && each_starts_wide(*view);
    }
    return dense ? each_cut(1, rows * columns, first.dtype, wide, most)
                 : each_rows(rows, columns, first.dtype, views, most);
}

static inline unsigned each_most() { return static_cast<unsigned>(mmrec_cuda_now()->sms) * EACH_WAVES; }

static inline simt_shape each_shape(const each_loop &loop) { return {loop.blocks, EACH_THREADS, 0, SIMT_FREE, 0}; }

/* Runs `statement` with N, the elements of a piece of the stored type T. */
#define EACH_BY_WIDTH(loop, T, N, statement)                                                                           \
    do {                                                                                                               \
        if ((loop).wide) {                                                                                             \
            constexpr int N = 16 / sizeof(T);                                                                          \
            statement;                                                                                                 \
        } else {                                                                                                       \
            constexpr int N = 1;                                                                                       \
            statement;                                                                                                 \
        }                                                                                                              \
    } while (0)

/* The same with T, the storage type of a view. */
#define EACH_BY_TYPE(loop, view, T, N, statement) SIMT_BY_DTYPE(view, T, EACH_BY_WIDTH(loop, T, N, statement))

#endif
