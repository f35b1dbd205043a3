/* The one product of a time step, [rows, depth] x [depth, 2 vectors x panels], from packed weights.
 *
 * A panel holds, for each k of the depth, two vectors of weights side by side; it is read front to back once per block
 * of rows. A register tile is `blocks` panels x `rows` batch rows: 2 x blocks x rows accumulators, chosen so that at
 * least 8 (the latency of a multiply-add times its rate) and at most what the registers hold are in flight. Every
 * output is one chain of multiply-adds in the order of k, whatever the tile: results do not depend on the number of
 * threads.
 *
 * With AVX512-BF16 a word of the state and of a panel is a pair of bfloat16 (k, k+1) and the depth counts pairs. */
#ifndef MMREC_RECURRENCE_PRODUCT_H
#define MMREC_RECURRENCE_PRODUCT_H

#include "recurrence_panel.h"

enum { BLOCKS = 4 }; /* most panels of a tile */

/* What a tile reads: `panel` and the next ones, panel_words apart; the rows of the state, row_words apart. Both count
 * 4-byte words. It writes sums[(2 * block + vector) * rows + row]; with `add` it goes on from what is there.
 *
 * `ahead` is what will be read next, of which a tile of one panel asks for ahead_words at each k, as weights larger
 * than the second-level cache come from afar. Tiles of several panels have more loads than multiply-adds already. */
typedef struct tile_input {
    const float *panel, *state;
    int64_t panel_words, row_words, depth;
    vec *sums;
    const float *ahead;
    int64_t ahead_words;
    bool add;
} tile_input;

typedef void (*product_function)(const tile_input *t, int rows, int blocks);

#define RECURRENCE_TILE(name, attribute, multiply_add)                                                                 \
    attribute static inline __attribute__((always_inline)) void name(const tile_input *t, const int rows,              \
                                                                     const int blocks) {                               \
        vec sum[2 * BLOCKS * ROWS];                                                                                    \
        const float *panel = t->panel, *state = t->state;                                                              \
        const int64_t panel_words = t->panel_words, row_words = t->row_words, depth = t->depth;                        \
        const float *ahead = t->ahead;                                                                                 \
        const int64_t ahead_words = t->ahead_words;                                                                    \
        _Pragma("GCC unroll 32") for (int i = 0; i < 2 * blocks * rows; i++) sum[i] = t->add ? t->sums[i] : (vec){0};  \
        for (int64_t k = 0; k < depth; k++) {                                                                          \
            if (blocks == 1) __builtin_prefetch(ahead + k * ahead_words, 0, 2);                                        \
            _Pragma("GCC unroll 4") for (int b = 0; b < blocks; b++) {                                                 \
                const vec *weight = (const vec *)(panel + b * panel_words) + 2 * k;                                    \
                vec first = weight[0], second = weight[1];                                                             \
                _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++) {                                               \
                    float h = state[r * row_words + k];                                                                \
                    sum[2 * b * rows + r] = multiply_add(sum[2 * b * rows + r], first, h);                             \
                    sum[(2 * b + 1) * rows + r] = multiply_add(sum[(2 * b + 1) * rows + r], second, h);                \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        _Pragma("GCC unroll 32") for (int i = 0; i < 2 * blocks * rows; i++) t->sums[i] = sum[i];                      \
    }

/* Tiles in use: few rows take several panels to have enough accumulators. */
#define RECURRENCE_PRODUCT(name, attribute, tile_function)                                                             \
    attribute static void name(const tile_input *t, int rows, int blocks) {                                            \
        switch (rows * 8 + blocks) {                                                                                   \
        case 1 * 8 + 4:                                                                                                \
            tile_function(t, 1, 4);                                                                                    \
            break;                                                                                                     \
        case 1 * 8 + 2:                                                                                                \
            tile_function(t, 1, 2);                                                                                    \
            break;                                                                                                     \
        case 1 * 8 + 1:                                                                                                \
            tile_function(t, 1, 1);                                                                                    \
            break;                                                                                                     \
        case 2 * 8 + 2:                                                                                                \
            tile_function(t, 2, 2);                                                                                    \
            break;                                                                                                     \
        case 2 * 8 + 1:                                                                                                \
            tile_function(t, 2, 1);                                                                                    \
            break;                                                                                                     \
        case 3 * 8 + 2:                                                                                                \
            tile_function(t, 3, 2);                                                                                    \
            break;                                                                                                     \
        case 3 * 8 + 1:                                                                                                \
            tile_function(t, 3, 1);                                                                                    \
            break;                                                                                                     \
        case 4 * 8 + 1:                                                                                                \
            tile_function(t, 4, 1);                                                                                    \
            break;                                                                                                     \
        case 5 * 8 + 1:                                                                                                \
            tile_function(t, 5, 1);                                                                                    \
            break;                                                                                                     \
        case 6 * 8 + 1:                                                                                                \
            tile_function(t, 6, 1);                                                                                    \
            break;                                                                                                     \
        case 7 * 8 + 1:                                                                                                \
            tile_function(t, 7, 1);                                                                                    \
            break;                                                                                                     \
        case 8 * 8 + 1:                                                                                                \
            tile_function(t, 8, 1);                                                                                    \
            break;                                                                                                     \
        default:                                                                                                       \
            break;                                                                                                     \
        }                                                                                                              \
    }

#define MULTIPLY_ADD(sum, weight, h) ((sum) + (weight) * (h))
RECURRENCE_TILE(tile_float, , MULTIPLY_ADD)
RECURRENCE_PRODUCT(product_float, , tile_float)

#if defined(__AVX512F__)
#define MULTIPLY_ADD_PAIR(sum, weight, h)                                                                              \
    ((vec)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(weight), (__m512bh)_mm512_set1_ps(h)))
RECURRENCE_TILE(tile_bf16, __attribute__((target("avx512bf16"))), MULTIPLY_ADD_PAIR)
RECURRENCE_PRODUCT(product_bf16, __attribute__((target("avx512bf16"))), tile_bf16)
#endif

static product_function product_for(precision p) {
#if defined(__AVX512F__)
    if (p == PAIRS) return product_bf16;
#endif
    (void)p;
    return product_float;
}

/* Panels that a tile of `rows` takes at once when `left` are left. */
static int tile_blocks(int rows, int64_t left) {
    int want = rows == 1 ? 4 : rows <= 3 ? 2 : 1;
    while (want > left) want /= 2;
    return want;
}

#endif
