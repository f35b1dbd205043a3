/* Vectors of the fast recurrence: one register of floats of the instruction set being compiled, loads and stores with a
 * tail, rounding to bfloat16, and sigmoids. Included by the float variants of recurrence.c. */
#ifndef MMREC_RECURRENCE_VECTOR_H
#define MMREC_RECURRENCE_VECTOR_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "fast_math.h"

/* ROWS: the most batch rows of one register tile. A tile of 2 vectors x ROWS accumulators leaves room for the 2 weights
 * and a broadcast value in 32 (AVX-512) or 16 registers; without multiply-add a product needs one more. */
#if defined(__AVX512F__)
enum { LANES = 16, ROWS = 8 };
#elif defined(__AVX__)
enum { LANES = 8, ROWS = 6 };
#else
enum { LANES = 4, ROWS = 5 };
#endif

typedef float vec __attribute__((vector_size(LANES * sizeof(float)), may_alias));
typedef float vec_anywhere __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
typedef uint32_t vec_bits __attribute__((vector_size(LANES * sizeof(float)), may_alias));
typedef int32_t vec_index __attribute__((vector_size(LANES * sizeof(float))));

/* The first `count` floats at p, zeros after them. */
static __attribute__((noinline)) vec vec_load_tail(const float *p, int64_t count) {
    vec v = {0};
    memcpy(&v, p, (size_t)count * sizeof(float));
    return v;
}
static inline vec vec_load(const float *p, int64_t count) {
    return count >= LANES ? (vec) * (const vec_anywhere *)p : vec_load_tail(p, count);
}
static __attribute__((noinline)) void vec_store_tail(float *p, vec v, int64_t count) {
    memcpy(p, &v, (size_t)count * sizeof(float));
}
static inline void vec_store(float *p, vec v, int64_t count) {
    if (count >= LANES) {
        *(vec_anywhere *)p = v;
    } else {
        vec_store_tail(p, v, count);
    }
}

/* The vector form of deliver(). */
static inline void vec_deliver(float *p, vec v, int64_t count, bool add) {
    if (add) v += vec_load(p, count);
    vec_store(p, v, count);
}

static inline vec vec_choose(vec_bits mask, vec yes, vec no) {
    return (vec)(((vec_bits)yes & mask) | ((vec_bits)no & ~mask));
}

/* NaN passes: the instructions return their second operand where one is NaN. */
static inline vec vec_clamp(vec x, float low, float high) {
    const vec least = (vec){0} + low, most = (vec){0} + high;
#if defined(__AVX512F__)
    return (vec)_mm512_min_ps((__m512)most, _mm512_max_ps((__m512)least, (__m512)x));
#elif defined(__AVX__)
    return (vec)_mm256_min_ps((__m256)most, _mm256_max_ps((__m256)least, (__m256)x));
#else
    return (vec)_mm_min_ps((__m128)most, _mm_max_ps((__m128)least, (__m128)x));
#endif
}

/* e^x = 2^n (1 + rest) for |x| <= 43: the polynomial of fast_exp_parts on whole registers. A loop over fast_expf would
 * do the same through memory, which the accumulators would have to pass too. */
typedef struct vec_exp_parts {
    vec_bits exponent; /* n where a float holds its exponent; the bits above it have left at the top */
    vec rest;
} vec_exp_parts;

static inline vec_exp_parts vec_exp_split(vec x) {
    vec shifted = x * fast_log2_e + fast_round;
    vec n = shifted - fast_round;
    vec r = (x - n * fast_ln2_high) + n * fast_ln2_low;
    vec p = r * fast_exp_term[0] + fast_exp_term[1];
    p = p * r + fast_exp_term[2];
    p = p * r + fast_exp_term[3];
    p = p * r + fast_exp_term[4];
    vec_exp_parts parts = {(vec_bits)shifted << 23, p * (r * r) + r};
    return parts;
}

static inline vec vec_exp(vec x) {
    vec_exp_parts e = vec_exp_split(x);
    return (vec)((vec_bits)(e.rest + 1.0f) + e.exponent);
}

/* Outside +-43 a sigmoid is 0 or 1 to 2e-19. NaN stays NaN. */
static inline vec vec_inverse_sigmoid(vec x) { return 1.0f + vec_exp(vec_clamp(-x, -43.0f, 43.0f)); }
static inline vec vec_sigmoid(vec x) { return 1.0f / vec_inverse_sigmoid(x); }

/* Both sigmoids with one division, 1 / (p q) times the other factor; within +-43 the product stays finite. */
static inline void vec_sigmoids(vec x, vec y, vec *sx, vec *sy) {
    vec p = vec_inverse_sigmoid(x), q = vec_inverse_sigmoid(y);
    vec inverse = 1.0f / (p * q);
    *sx = q * inverse;
    *sy = p * inverse;
}

/* Rounds to bfloat16, nearest even, kept as float; NaN stays NaN. */
static inline vec vec_round_bf16(vec x) {
    vec_bits bits = (vec_bits)x, rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u;
    return vec_choose((vec_bits)(x == x), (vec)rounded, (vec)((bits | 0x00400000u) & 0xFFFF0000u));
}

/* Two rounded vectors as one of words: bfloat16 of `low` in the low half, of `high` in the high half. */
static inline vec vec_pair_bf16(vec low, vec high) { return (vec)(((vec_bits)low >> 16) | (vec_bits)high); }

#endif
