/* Weights packed for the product of a time step, and the rows of the state that meet them.
 *
 * A panel is what two vectors of outputs need: for each k of the depth, 2 x LANES weights side by side, read front to
 * back. Forward a panel is LANES units, the vectors being their two gates, so that a, m, n and h are finished where the
 * sums are. Backward (transposed weights, depth Wg then Wh) it is 2 x LANES units. Missing units and depth are zeros.
 *
 * A word is 4 bytes: a float, or with AVX512-BF16 a pair of bfloat16 for k and k + 1. */
#ifndef MMREC_RECURRENCE_PANEL_H
#define MMREC_RECURRENCE_PANEL_H

#include "recurrence_vector.h"
#include "vector_turn.h"

/* How weights and state are held: ROUNDED is float holding bfloat16 values of the weights alone. */
typedef enum precision { EXACT, ROUNDED, PAIRS } precision;

static inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

/* Words of `depth` values. */
static inline int64_t depth_words(int64_t depth, precision p) { return p == PAIRS ? divide_up(depth, 2) : depth; }

/* Row stride of the state in words. 64 bytes past a multiple of the vector: with D = 1024 the rows of a tile would
 * otherwise all fall into the same sets of the first-level cache. */
static inline int64_t state_words(int64_t width) { return round_up(width, LANES) + 16; }

/* Puts a vector of units into a state row, tail included (it is zero). */
static inline void state_store(float *row, int64_t unit, vec value, precision p) {
#if defined(__AVX512F__)
    if (p == PAIRS) {
        __m512i words = _mm512_srli_epi32((__m512i)vec_round_bf16(value), 16);
        _mm256_store_si256((__m256i *)((uint16_t *)row + unit), _mm512_cvtepi32_epi16(words));
        return;
    }
#endif
    (void)p;
    *(vec *)(row + unit) = value;
}

/* One row of weights: `count` units from `p`, nothing where p is NULL. */
static inline vec weight_load(const float *p, int64_t count, precision how) {
    if (!p || count <= 0) return (vec){0};
    vec w = vec_load(p, count);
    return how == EXACT ? w : vec_round_bf16(w);
}

/* LANES rows of a matrix from column k on, turned so that row[j] holds column k + j of every row. */
static void turn_block(const float *matrix, int64_t stride, int64_t rows, int64_t columns, precision p, vec *row) {
    for (int64_t i = 0; i < LANES; i++) row[i] = weight_load(i < rows ? matrix + i * stride : NULL, columns, p);
    turn_vectors(row);
}

/* Vector `which` (0 or 1) of a forward panel: rows of the matrix are units, columns the depth. */
static void pack_turned(float *panel, int which, const mmrec_view *weight, int64_t column, int64_t unit, int64_t depth,
                        precision p) {
    int64_t units = weight->shape.dim[0] - unit;
    const float *matrix = view_row(weight, units > 0 ? unit : 0) + column;
    vec *to = (vec *)panel + which, turned[LANES];
    for (int64_t k = 0; k < depth; k += LANES) {
        int64_t columns = depth - k < LANES ? depth - k : LANES;
        turn_block(matrix + k, weight->stride, units, columns, p, turned);
        for (int64_t j = 0; j < columns; j++) {
            if (p != PAIRS) {
                to[2 * (k + j)] = turned[j];
            } else if (j % 2 == 0) {
                to[k + j] = vec_pair_bf16(turned[j], turned[j + 1]);
            }
        }
    }
}

/* Half of a backward panel: rows of the matrix are the depth, `depth` of them or zeros, columns the units. */
static void pack_rows(float *panel, const mmrec_view *weight, int64_t column, int64_t unit, int64_t depth,
                      precision p) {
    int64_t rows = weight->shape.dim[0];
    vec *to = (vec *)panel;
    for (int64_t k = 0; k < depth; k += p == PAIRS ? 2 : 1) {
        for (int64_t v = 0; v < 2; v++) {
            int64_t from = unit + v * LANES, count = rows - from;
            const float *row = k < rows && count > 0 ? view_row(weight, k) + column + from : NULL;
            const float *next = k + 1 < rows && count > 0 ? view_row(weight, k + 1) + column + from : NULL;
            vec w = weight_load(row, count, p);
            *to++ = p == PAIRS ? vec_pair_bf16(w, weight_load(next, count, p)) : w;
        }
    }
}

#endif
