/* What layernorm and softmax do with a row: sums, exponentials, and stores that pass the caches by.
 *
 * Sums are kept in four vectors. A loop with one waits 3 or 4 cycles for each addition, where two could begin every
 * cycle. The vectors take turns along the row, are added in order, then their lanes, then what is left of the row: a
 * matter of the width alone. */
#ifndef MMREC_FAST_ROW_H
#define MMREC_FAST_ROW_H

#include "fast_loop.h"
#include "fast_math.h"

#if MMREC_REAL_F32
#include <immintrin.h>

#if defined(__AVX512F__)
enum { ROW_LANES = 16 };
#elif defined(__AVX__)
enum { ROW_LANES = 8 };
#else
enum { ROW_LANES = 4 };
#endif
enum { ROW_VECTORS = 4, ROW_STEP = ROW_VECTORS * ROW_LANES };
enum { ROW_LINE = 16 }; /* floats of a cache line */

/* Floats from which on a result does not stay in the caches (16 MiB, half of a third cache): a plain store reads the
 * line first, so three transfers a float become two when it is written past them. */
enum { ROW_STREAM = 4 << 20 };

typedef float row_vec __attribute__((vector_size(ROW_LANES * sizeof(float)), aligned(4), may_alias));

typedef uint32_t row_bits __attribute__((vector_size(ROW_LANES * sizeof(float))));

static inline row_vec row_at(const float *p) { return *(const row_vec *)p; }

/* a > b ? a : b. */
static inline row_vec row_larger(row_vec a, row_vec b) {
#if defined(__AVX512F__)
    return (row_vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
    return (row_vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return (row_vec)_mm_max_ps((__m128)a, (__m128)b);
#endif
}

/* Adds up the lanes, in order. */
static inline float row_total(const row_vec *part) {
    row_vec all = part[0] + part[1] + part[2] + part[3];
    float total = 0;
    for (int i = 0; i < ROW_LANES; i++) total += all[i];
    return total;
}

static inline float row_sum(const float *x, int64_t width) {
    row_vec part[ROW_VECTORS] = {{0}};
    int64_t d = 0;
    for (; d + ROW_STEP <= width; d += ROW_STEP) {
#pragma GCC unroll 4
        for (int v = 0; v < ROW_VECTORS; v++) part[v] += row_at(x + d + v * ROW_LANES);
    }
    float total = row_total(part);
    for (; d < width; d++) total += x[d];
    return total;
}

/* Sum of (x - mean)^2. */
static inline float row_spread(const float *x, int64_t width, float mean) {
    row_vec part[ROW_VECTORS] = {{0}};
    int64_t d = 0;
    for (; d + ROW_STEP <= width; d += ROW_STEP) {
#pragma GCC unroll 4
        for (int v = 0; v < ROW_VECTORS; v++) {
            row_vec off = row_at(x + d + v * ROW_LANES) - mean;
            part[v] += off * off;
        }
    }
    float total = row_total(part);
    for (; d < width; d++) total += (x[d] - mean) * (x[d] - mean);
    return total;
}

/* e^x of up to ROW_VECTORS vectors with no number above 0: fast_exp_belowf, the same bits. One chain of it is 14 steps
 * of 3 or 4 cycles, too long for a core to look ahead over it to the next vectors; so every step is taken for all. */
static inline __attribute__((always_inline)) void row_exp_below(row_vec *x, const int vectors) {
    row_vec shifted[ROW_VECTORS], r[ROW_VECTORS], p[ROW_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) shifted[v] = x[v] * fast_log2_e + fast_round;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        row_vec n = shifted[v] - fast_round;
        r[v] = (x[v] - n * fast_ln2_high) + n * fast_ln2_low;
        p[v] = fast_exp_term[0] * r[v] + fast_exp_term[1];
    }
#pragma GCC unroll 3
    for (int i = 2; i < 5; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) p[v] = p[v] * r[v] + fast_exp_term[i];
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        row_vec e =
            (p[v] * (r[v] * r[v]) + r[v] + 1.0f) * (row_vec)(((row_bits)shifted[v] + (uint32_t)FAST_EXPONENT) << 23);
        x[v] = (row_vec)(~(row_bits)(x[v] < fast_exp_lowest) & (row_bits)e);
    }
}

/* Stores a vector to a place that is aligned to its size where `stream`. */
static inline void row_put(float *to, row_vec v, bool stream) {
    if (!stream) {
        *(row_vec *)to = v;
    } else {
#if defined(__AVX512F__)
        _mm512_stream_ps(to, (__m512)v);
#elif defined(__AVX__)
        _mm256_stream_ps(to, (__m256)v);
#else
        _mm_stream_ps(to, (__m128)v);
#endif
    }
}

/* Floats before the first of a row that is aligned to a vector. */
static inline int64_t row_before(const float *row, int64_t width) {
    int64_t off = (int64_t)((uintptr_t)row / sizeof(float) % ROW_LANES);
    return fast_min(off ? ROW_LANES - off : 0, width);
}

/* Makes what a thread has streamed visible to others. */
static inline void row_fence(bool stream) {
    if (stream) _mm_sfence();
}
#endif

#endif
