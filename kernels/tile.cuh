/* A product of two matrices on float units, one 64 x 64 tile of the result for each block of 256 threads: what small
 * fused products use where one cuBLASLt call each would cost more than the arithmetic.
 *
 * A thread has 4 x 4 of the results in registers. Factors pass through shared memory 32 inner indices at a time (8 KiB
 * each), while the next 32 are on their way into registers: two barriers for 131072 multiply-adds. A warp's threads
 * form 4 x 8 of the 16 x 16, so one step of the inner index reads 4 + 8 distinct quads from shared memory for 512
 * multiply-adds.
 *
 * In shared memory element (inner k, outer o) lies in row k at quad (o / 4) ^ (k / 4): reads of quads stay aligned and
 * without bank conflicts, and so are the writes of a factor that runs along its inner index, which is transposed on the
 * way (rows of 64 without the permutation: 8 threads on one bank).
 *
 * Sums run over the inner index in order, in float. */
#ifndef MMREC_TILE_CUH
#define MMREC_TILE_CUH

#include "rows.cuh"

enum { TILE = 64, TILE_DEPTH = 32, TILE_FLOATS = 2 * TILE * TILE_DEPTH };

SIMT_DEVICE int tile_at(int k, int o) { return k * TILE + ((((o >> 2) ^ (k >> 2)) << 2) | (o & 3)); }

/* One factor of a product, from the tile's first element on: `outer` indices go into the result, `inner` are summed
 * over. ACROSS: neighbours in memory are neighbours in the outer index (element (k, o) at k stride + o), else in the
 * inner one (o stride + k). Beyond its ends a factor is zero. */
template <typename T, bool ACROSS> struct tile_factor {
    const T *at;
    int64_t stride;
    int64_t outer, inner;
    bool wide;

    /* This thread's two packs of the 32 inner indices from `first` on. */
    SIMT_DEVICE void fetch(int64_t first, float (&v)[2][PACK]) const {
        int thread = static_cast<int>(threadIdx.x);
        for (int i = 0; i < 2; i++) {
            int64_t line = ACROSS ? first + thread / 16 + 16 * i : thread / 8 + 32 * i;
            int64_t column = ACROSS ? thread % 16 * PACK : first + thread % 8 * PACK;
            int64_t left = (ACROSS ? outer : inner) - column;
            bool inside = line < (ACROSS ? inner : outer);
            int width = !inside || left < 0 ? 0 : left < PACK ? static_cast<int>(left) : PACK;
            pack_load(v[i], at + line * stride + column, 0, width, wide);
        }
    }

    SIMT_DEVICE void place(float *tile, const float (&v)[2][PACK]) const {
        int thread = static_cast<int>(threadIdx.x);
        for (int i = 0; i < 2; i++) {
            if constexpr (ACROSS) {
                pack_deliver(tile + tile_at(thread / 16 + 16 * i, thread % 16 * PACK), 0, PACK, true, v[i], false);
            } else {
                for (int j = 0; j < PACK; j++) tile[tile_at(thread % 8 * PACK + j, thread / 8 + 32 * i)] = v[i][j];
            }
        }
    }
};

/* This thread's results: rows tile_row() .. + 3, columns tile_column() .. + 3 of the tile. */
SIMT_DEVICE int tile_row() { return (simt_warp() / 2 * 4 + simt_lane() / 8) * PACK; }
SIMT_DEVICE int tile_column() { return (simt_warp() % 2 * 8 + simt_lane() % 8) * PACK; }

/* sum += a b over `inner` indices, by the whole block. `shared`: TILE_FLOATS. */
template <typename A, typename B>
SIMT_DEVICE void tile_product(const A &a, const B &b, int64_t inner, float *shared, float (&sum)[PACK][PACK]) {
    float *tile_a = shared, *tile_b = shared + TILE * TILE_DEPTH, next_a[2][PACK], next_b[2][PACK];
    a.fetch(0, next_a);
    b.fetch(0, next_b);
    for (int64_t first = 0; first < inner; first += TILE_DEPTH) {
        simt_block_sync(); /* all are done with the factors before */
        a.place(tile_a, next_a);
        b.place(tile_b, next_b);
        simt_block_sync();
        if (first + TILE_DEPTH < inner) {
            a.fetch(first + TILE_DEPTH, next_a);
            b.fetch(first + TILE_DEPTH, next_b);
        }
        for (int k = 0; k < TILE_DEPTH; k++) {
            float x[PACK], y[PACK];
            pack_load(x, tile_a + tile_at(k, tile_row()), 0, PACK, true);
            pack_load(y, tile_b + tile_at(k, tile_column()), 0, PACK, true);
            for (int i = 0; i < PACK; i++) {
                for (int j = 0; j < PACK; j++) sum[i][j] += x[i] * y[j];
            }
        }
    }
}

/* Delivers the tile's results times `scale` to the matrix from `to` on, of which `rows` x `columns` are left. */
template <typename T>
SIMT_DEVICE void tile_deliver(T *to, int64_t stride, int64_t rows, int64_t columns, bool wide, bool add, float scale,
                              float (&sum)[PACK][PACK]) {
    int width = columns < TILE ? static_cast<int>(columns) : TILE;
    for (int i = 0; i < PACK; i++) {
        if (tile_row() + i >= rows) return;
        for (int j = 0; j < PACK; j++) sum[i][j] *= scale;
        pack_deliver(to + (tile_row() + i) * stride, tile_column(), width, wide, sum[i], add);
    }
}

#endif
