/* Sums over the rows of a matrix, column by column, in two kernels: each block adds up a piece of the rows, then the
 * pieces are added in their order. How rows are cut is in host/ops/pieces_device.h.
 *
 * Order of sums: within a piece each of 8 warps takes every 8th row, then the warps in order; pieces likewise by 32
 * warps. Fixed by the sizes. One kernel with atomics would save a launch and lose that. */
#ifndef MMREC_COLUMNS_CUH
#define MMREC_COLUMNS_CUH

#include "rows.cuh"

#include "ops/pieces_device.h"

enum { COLUMNS_AHEAD = 4, JOIN_THREADS = 1024, JOIN_WARPS = JOIN_THREADS / 32 };

/* Sums of this lane's pack over every ROW_WARPS-th row from first + warp on, before `end`; four rows are loaded at a
 * time. Then the warps' sums, in order, for all threads: sum[0..3] of the lane. `shared`: ROW_WARPS strips. */
template <typename T>
SIMT_DEVICE void strip_sum(const matrix<const T> &from, int64_t first, int64_t end, int column, int columns, bool wide,
                           float *shared, float (&sum)[PACK]) {
    float part[PACK] = {};
    for (int64_t r = first + simt_warp(); r < end; r += COLUMNS_AHEAD * ROW_WARPS) {
        float v[COLUMNS_AHEAD][PACK] = {};
        for (int k = 0; k < COLUMNS_AHEAD; k++) {
            if (r + k * ROW_WARPS < end) pack_load(v[k], from.row(r + k * ROW_WARPS), column, columns, wide);
        }
        for (int k = 0; k < COLUMNS_AHEAD; k++) {
            for (int i = 0; i < PACK; i++) part[i] += v[k][i];
        }
    }
    for (int i = 0; i < PACK; i++) shared[simt_warp() * STRIP + simt_lane() * PACK + i] = part[i];
    simt_block_sync();
    for (int i = 0; i < PACK; i++) {
        sum[i] = 0.0f;
        for (int w = 0; w < ROW_WARPS; w++) sum[i] += shared[w * STRIP + simt_lane() * PACK + i];
    }
}

/* parts(g, piece, column): sums of piece `piece` of the rows of group g; groups follow each other in `from`. A block
 * has one strip of 128 columns of one piece. */
template <typename T>
SIMT_KERNEL(ROW_THREADS)
k_columns_part(matrix<const T> from, row_pieces pieces, unsigned strips, float *parts, bool wide) {
    int64_t piece = blockIdx.x / strips;
    int column = static_cast<int>(blockIdx.x % strips) * STRIP + simt_lane() * PACK;
    int64_t group = piece / pieces.count, first = piece % pieces.count * pieces.length;
    int64_t end = first + pieces.length < pieces.rows ? first + pieces.length : pieces.rows;
    float sum[PACK];
    strip_sum(from, group * pieces.rows + first, group * pieces.rows + end, column, pieces.columns, wide,
              simt_shared<float>(), sum);
    if (simt_warp() == 0) pack_deliver(parts + piece * pieces.stride, column, pieces.columns, true, sum, false);
}

template <typename T>
static mmrec_status columns_part(const mmrec_view &from, int64_t groups, row_pieces pieces, float *parts,
                                 mmrec_error *error) {
    unsigned strips = strips_of(pieces.columns);
    simt_shape shape = {static_cast<unsigned>(groups * pieces.count * strips), ROW_THREADS,
                        ROW_WARPS * STRIP * sizeof(float), SIMT_FREE, 0};
    return SIMT_LAUNCH((k_columns_part<T>), shape, error, matrix_of<const T>(from), pieces, strips, parts, packs(from));
}

/* One set of partial sums, and the row they are for. */
template <typename T> struct column_join {
    const float *parts;
    T *to;
    bool add;
};

/* A block has 32 columns of one of two sets; each of its 32 warps adds every 32nd piece. */
template <typename T> SIMT_KERNEL(JOIN_THREADS) k_columns_join(column_join<T> a, column_join<T> b, row_pieces pieces) {
    unsigned strips = (static_cast<unsigned>(pieces.columns) + 31) / 32;
    if (blockIdx.x >= strips) a = b;
    int column = static_cast<int>(blockIdx.x % strips) * 32 + simt_lane();
    float *shared = simt_shared<float>(), sum = 0.0f;
    for (int64_t p = simt_warp(); p < pieces.count; p += COLUMNS_AHEAD * JOIN_WARPS) {
        float v[COLUMNS_AHEAD] = {};
        for (int k = 0; k < COLUMNS_AHEAD; k++) {
            int64_t at = p + k * JOIN_WARPS;
            if (at < pieces.count && column < pieces.columns) v[k] = a.parts[at * pieces.stride + column];
        }
        for (int k = 0; k < COLUMNS_AHEAD; k++) sum += v[k];
    }
    shared[threadIdx.x] = sum;
    simt_block_sync();
    if (simt_warp() != 0 || column >= pieces.columns) return;
    float all = 0.0f;
    for (int w = 0; w < JOIN_WARPS; w++) all += shared[w * 32 + simt_lane()];
    deliver(&a.to[column], all, a.add);
}

/* Joins those of the two sets whose result is wanted (`to` not NULL). */
static inline mmrec_status columns_join(column_join<float> a, column_join<float> b, row_pieces pieces,
                                        mmrec_error *error) {
    unsigned sets = (a.to ? 1u : 0u) + (b.to ? 1u : 0u);
    if (sets == 0) return MMREC_OK;
    if (!a.to) a = b;
    simt_shape shape = {sets * static_cast<unsigned>((pieces.columns + 31) / 32), JOIN_THREADS,
                        JOIN_THREADS * sizeof(float), SIMT_FREE, 0};
    return SIMT_LAUNCH((k_columns_join<float>), shape, error, a, b, pieces);
}

/* The sums of a block whose threads hold whole rows' shares (ITEMS packs each, see rows.cuh) as one row of partial
 * sums: the warps' in order where each had its own rows. `shared`: row_share_bytes. */
template <int ITEMS, bool WARP>
SIMT_DEVICE void part_store(const float (&part)[ITEMS][PACK], float *to, const row_pieces &pieces, float *shared) {
    int width = pieces.columns;
    if constexpr (!WARP) {
        (void)shared;
        for (int i = 0; i < ITEMS; i++) pack_deliver(to, row_column<WARP>(i), width, true, part[i], false);
    } else {
        float *mine = shared + simt_warp() * pieces.stride;
        for (int i = 0; i < ITEMS; i++) pack_deliver(mine, row_column<WARP>(i), width, true, part[i], false);
        simt_block_sync();
        for (int c = static_cast<int>(threadIdx.x); c < width; c += ROW_THREADS) {
            float sum = 0.0f;
            for (int w = 0; w < ROW_WARPS; w++) sum += shared[w * pieces.stride + c];
            to[c] = sum;
        }
        simt_block_sync();
    }
}

/* Shared memory of a kernel that uses row_sum and part_store. */
static inline size_t row_share_bytes(const row_pieces &pieces) {
    return static_cast<size_t>(row_by_warp(pieces.columns) ? ROW_WARPS * pieces.stride : 32) * sizeof(float);
}

#endif
