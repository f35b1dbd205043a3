/* What layernorm does with a row: sums, and stores that pass the caches by.
 *
 * Sums are kept in four vectors. A loop with one waits 3 or 4 cycles for each addition, where two could begin every
 * cycle. The vectors take turns along the row, are added in order, then their lanes, then what is left of the row: a
 * matter of the width alone. */
#ifndef MMREC_FAST_ROW_H
#define MMREC_FAST_ROW_H

#include "fast_loop.h"

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

/* Floats from which on a result does not stay in the caches (16 MiB, half of a third cache): a plain store reads the
 * line first, so three transfers a float become two when it is written past them. */
enum { ROW_STREAM = 4 << 20 };

typedef float row_vec __attribute__((vector_size(ROW_LANES * sizeof(float)), aligned(4), may_alias));

static inline row_vec row_at(const float *p) { return *(const row_vec *)p; }

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
