/* What the fast functions of several ops share: when a loop is worth threads, how it is cut, and sgemm with its sizes
 * checked. Cuts depend on sizes alone, never on the number of threads, so results do not either. */
#ifndef MMREC_FAST_LOOP_H
#define MMREC_FAST_LOOP_H

#include <limits.h>

#include "op_impl.h"

#if MMREC_REAL_F32
#include <cblas.h>
#endif

/* Elements below which a loop stays on one thread: starting two threads costs 2 to 5 us, in which one core passes
 * about 16 Ki floats through the cache. */
enum { FAST_SERIAL = 16384 };

/* Elements of one span, the unit of work of an elementwise loop: 4 KiB of floats, and a multiple of 4, the numbers of
 * one Philox block. */
enum { FAST_SPAN = 1024 };

/* Columns that one thread sums at a time: four cache lines, whose partial sums stay in registers or the first cache. */
enum { FAST_STRIP = 64 };

/* Rows in one partial sum. Adding up 64 rows, then the partial sums, keeps the rounding error of N rows near
 * (64 + N / 64) / 2 instead of N / 2 units. */
enum { FAST_BLOCK = 64 };

static inline int64_t fast_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t fast_blocks(int64_t count, int64_t size) { return (count + size - 1) / size; }

/* Rows that share one partial sum of a weight's gradient, where it is made in the same pass as the input's: at most 64
 * chunks, so that the partial sums stay small beside the tensor (infer reserves them in scratch). */
static inline int64_t fast_chunk_rows(int64_t rows) {
    return rows > 64 * FAST_BLOCK ? fast_blocks(rows, 64) : (int64_t)FAST_BLOCK;
}
static inline size_t fast_chunk_bytes(int64_t rows, int64_t columns) {
    return (size_t)fast_blocks(rows, fast_chunk_rows(rows)) * (size_t)columns * sizeof(float);
}

/* A matrix view as an elementwise loop sees it: one long row where no padding lies between rows. Element (r, c) has
 * number r * columns + c in either form. */
typedef struct fast_matrix {
    int64_t rows, columns, spans; /* spans of one row */
} fast_matrix;

/* The matrix of two views of one shape (the same view twice: of one). */
static inline fast_matrix fast_matrix_of(const mmrec_view *a, const mmrec_view *b) {
    fast_matrix m = {mmrec_shape_rows(&a->shape), mmrec_shape_columns(&a->shape), 0};
    if (a->stride == m.columns && b->stride == m.columns) {
        m.columns *= m.rows;
        m.rows = 1;
    }
    m.spans = fast_blocks(m.columns, FAST_SPAN);
    return m;
}

#if MMREC_REAL_F32
/* c = op(a) op(b), or added to c, over the inner indices [first, first + count). */
static inline void fast_gemm_part(const mmrec_view *a, bool transpose_a, const mmrec_view *b, bool transpose_b,
                                  const mmrec_view *c, int64_t first, int64_t count, bool add) {
    const float *from_a = transpose_a ? view_row(a, first) : view_row(a, 0) + first;
    const float *from_b = transpose_b ? view_row(b, 0) + first : view_row(b, first);
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans,
                (int)mmrec_shape_rows(&c->shape), (int)mmrec_shape_columns(&c->shape), (int)count, 1.0f, from_a,
                (int)a->stride, from_b, (int)b->stride, add ? 1.0f : 0.0f, view_row(c, 0), (int)c->stride);
}

/* c = op(a) op(b), or added to c: op transposes where asked. SHAPE where a size passes what CBLAS can be told.
 *
 * OpenBLAS 0.3.21 cuts the rest of a long inner axis differently with one thread and with several, unless it is a
 * multiple of 32; so it gets a multiple of 64 first and then the remainder. Of 300 random shapes 65 differed between 1
 * and 2 to 4 threads, then none (AVX-512 kernels; its AVX2 kernels still differ where rows are cut), at no cost:
 * 104.8 against 104.2 GFLOP/s for 1000 x 500 x 200. */
static inline mmrec_status fast_gemm(const mmrec_view *a, bool transpose_a, const mmrec_view *b, bool transpose_b,
                                     const mmrec_view *c, bool add, mmrec_error *error) {
    int64_t m = mmrec_shape_rows(&c->shape), n = mmrec_shape_columns(&c->shape);
    int64_t k = transpose_a ? mmrec_shape_rows(&a->shape) : mmrec_shape_columns(&a->shape);
    const int64_t size[] = {m, n, k, a->stride, b->stride, c->stride};
    for (int i = 0; i < (int)(sizeof size / sizeof size[0]); i++) {
        if (size[i] > INT_MAX) {
            MMREC_FAIL(error, MMREC_SHAPE,
                       "matrix product: a size or row stride of %lld exceeds %d; use smaller pieces",
                       (long long)size[i], INT_MAX);
        }
    }
    int64_t whole = k > 256 ? k - k % 64 : k;
    fast_gemm_part(a, transpose_a, b, transpose_b, c, 0, whole, add);
    if (whole < k) fast_gemm_part(a, transpose_a, b, transpose_b, c, whole, k - whole, true);
    return MMREC_OK;
}

/* Column sums of `from` over all rows, for columns [first, first + count), count <= FAST_STRIP. */
static inline void fast_strip_sum(const mmrec_view *from, int64_t first, int64_t count, float *restrict total) {
    int64_t rows = mmrec_shape_rows(&from->shape);
    for (int64_t c = 0; c < count; c++) total[c] = 0;
    for (int64_t start = 0; start < rows; start += FAST_BLOCK) {
        float part[FAST_STRIP] = {0};
        int64_t end = fast_min(start + FAST_BLOCK, rows);
        for (int64_t r = start; r < end; r++) {
            const float *restrict row = view_row(from, r) + first;
            for (int64_t c = 0; c < count; c++) part[c] += row[c];
        }
        for (int64_t c = 0; c < count; c++) total[c] += part[c];
    }
}

/* Delivers the sums over all chunks of `part` (chunks, columns) to `to`, in the order of the chunks. */
static inline void fast_chunk_sum(const float *part, int64_t chunks, int64_t columns, float *to, bool add) {
    for (int64_t first = 0; first < columns; first += FAST_STRIP) {
        float total[FAST_STRIP] = {0};
        int64_t count = fast_min(FAST_STRIP, columns - first);
        for (int64_t k = 0; k < chunks; k++) {
            const float *restrict from = part + k * columns + first;
            for (int64_t c = 0; c < count; c++) total[c] += from[c];
        }
        for (int64_t c = 0; c < count; c++) deliver(&to[first + c], total[c], add);
    }
}
#endif

#endif
