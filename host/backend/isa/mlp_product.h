/* Products of small matrices for the fused MLP: c = a b, where rows of b and c are whole panels of MLP_PANEL numbers
 * that begin on a vector, and elements of a lie anywhere.
 *
 * A tile is some rows of one panel: its sums stay in registers while k runs, an element of a meets a whole panel of b.
 * sgemm packs both factors first, which takes as long as the product where the sizes are below a hundred.
 *
 * Order of sums: by k, one by one, whatever the instruction set. */
#ifndef MMREC_MLP_PRODUCT_H
#define MMREC_MLP_PRODUCT_H

#include "backend/mlp.h"
#include "ops/op_impl.h"

/* VECTOR: bytes of a register. ROWS: the most rows of a tile: with the vectors of a panel they make at most 12 sums,
 * which leaves registers for a panel of b and an element of a. */
#if defined(__AVX512F__)
enum { VECTOR = 64, ROWS = 12 };
#elif defined(__AVX__)
enum { VECTOR = 32, ROWS = 6 };
#else
enum { VECTOR = 16, ROWS = 3 };
#endif
#if MMREC_REAL_F64
typedef int64_t lane_number;
#else
typedef int32_t lane_number;
#endif
enum { LANES = VECTOR / (int)sizeof(real), VECTORS = MLP_PANEL / LANES };

typedef real vec __attribute__((vector_size(VECTOR), may_alias));
typedef lane_number vec_index __attribute__((vector_size(VECTOR)));

#include "ops/vector_turn.h"

/* Element (r, k) of a factor is at[r row + k inner]. */
typedef struct factor {
    const real *at;
    int64_t row, inner;
} factor;

/* Whole rows of a matrix. */
typedef struct rows_of {
    real *at;
    int64_t stride;
} rows_of;

static inline __attribute__((always_inline)) void tile(const int rows, factor a, const real *b, int64_t b_stride,
                                                       int64_t inner, real *c, int64_t c_stride) {
    vec sum[ROWS][VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) sum[r][v] = (vec){0};
    }
    for (int64_t k = 0; k < inner; k++) {
        vec panel[VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) panel[v] = ((const vec *)(b + k * b_stride))[v];
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            real element = a.at[r * a.row + k * a.inner];
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++) sum[r][v] += element * panel[v];
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) ((vec *)(c + r * c_stride))[v] = sum[r][v];
    }
}

/* ---- turning a matrix ---- */

/* to(c, r) = from(r, c), a block of LANES x LANES; rows past `rows` count as zeros, `columns` are written. */
static void turn_block(const real *from, int64_t from_stride, int64_t rows, real *to, int64_t to_stride,
                       int64_t columns) {
    vec block[LANES];
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++) block[r] = r < rows ? *(const vec *)(from + r * from_stride) : (vec){0};
    turn_vectors(block);
#pragma GCC unroll 16
    for (int c = 0; c < LANES; c++) {
        if (c < columns) *(vec *)(to + c * to_stride) = block[c];
    }
}

/* to(c, r) = from(r, c), for rows of whole vectors. */
static void turn(rows_of from, int64_t rows, int64_t columns, rows_of to) {
    for (int64_t r = 0; r < rows; r += LANES) {
        for (int64_t c = 0; c < columns; c += LANES) {
            turn_block(from.at + r * from.stride + c, from.stride, rows - r, to.at + c * to.stride + r, to.stride,
                       columns - c);
        }
    }
}

/* ---- products ---- */

/* As many rows as the compiler knows at each place. */
static void tile_of(int64_t rows, factor a, rows_of b, int64_t inner, real *c, int64_t c_stride) {
#define TILE_CASE(count)                                                                                               \
    case count:                                                                                                        \
        if (count <= ROWS) tile(count <= ROWS ? count : 1, a, b.at, b.stride, inner, c, c_stride);                     \
        break;
    switch (rows) {
        TILE_CASE(1)
        TILE_CASE(2)
        TILE_CASE(3)
        TILE_CASE(4)
        TILE_CASE(5)
        TILE_CASE(6)
        TILE_CASE(7)
        TILE_CASE(8)
        TILE_CASE(9)
        TILE_CASE(10)
        TILE_CASE(11)
        TILE_CASE(12)
    }
#undef TILE_CASE
}

/* Rows are shared out evenly: 32 rows are 6 tiles of 5 or 6 and not 5 of 6 and one of 2, whose few sums would wait for
 * each other. */
static void product(factor a, rows_of b, int64_t inner, rows_of c, int64_t rows, int64_t columns) {
    int64_t tiles = (rows + ROWS - 1) / ROWS;
    for (int64_t column = 0; column < columns; column += MLP_PANEL) {
        rows_of panel = {b.at + column, b.stride};
        for (int64_t t = 0; t < tiles; t++) {
            int64_t first = rows * t / tiles, end = rows * (t + 1) / tiles;
            factor from = {a.at + first * a.row, a.row, a.inner};
            tile_of(end - first, from, panel, inner, c.at + first * c.stride + column, c.stride);
        }
    }
}

#endif
