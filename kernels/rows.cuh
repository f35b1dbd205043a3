/* Rows of a matrix as kernels read them: four elements at a time, by a warp or by a block.
 *
 * A pack is four elements, 16 bytes of float or 8 of bf16: one load where the row's address allows it, four where it
 * does not (a slice of columns may start anywhere) and at the row's end. Whether it does is asked once per launch
 * (`wide`).
 *
 * Up to 1024 columns a warp has a row to itself: no barriers, and 8 packs a lane are 4 KiB in flight for each warp.
 * Wider rows get a block; its registers hold 8192 columns, and what lies beyond is read again from the cache. */
#ifndef MMREC_ROWS_CUH
#define MMREC_ROWS_CUH

#include "device.cuh"

enum { PACK = 4, ROW_THREADS = 256, ROW_WARPS = ROW_THREADS / 32 };
enum { ROW_FEW = 2, ROW_MANY = 8 }; /* packs of a row in the registers of a thread */

/* Every row of the view starts where a pack may lie. Absent views do not object. */
static inline bool packs(const mmrec_view &view) {
    size_t bytes = PACK * mmrec_dtype_bytes(view.dtype);
    return !view.data || (reinterpret_cast<uintptr_t>(view.data) % bytes == 0 && view.stride % PACK == 0);
}

/* Kernels count columns in int, which saves a third of the registers in the widest of them. */
enum { ROW_WIDEST = 1 << 30 };
static inline mmrec_status row_check(const char *op, int64_t columns, mmrec_error *error) {
    if (columns <= ROW_WIDEST) return MMREC_OK;
    MMREC_FAIL(error, MMREC_SHAPE, "%s: rows of %lld columns, at most %d on a device; use a smaller width", op,
               (long long)columns, ROW_WIDEST);
}

/* Columns at .. at + 3 of a row of `width`; `empty` stands for those beyond it. */
template <typename T>
SIMT_DEVICE void pack_load(float (&to)[PACK], const T *row, int at, int width, bool wide, float empty = 0.0f) {
    load_neighbours(to, row, at, width, wide, empty);
}

/* Overwrites or adds, rounding once. */
template <typename T>
SIMT_DEVICE void pack_deliver(T *row, int at, int width, bool wide, const float (&from)[PACK], bool add) {
    deliver_neighbours(row, at, width, wide, from, add);
}

/* The threads that share a row: a warp (WARP) or the block. */
template <bool WARP> SIMT_DEVICE int row_lane() { return WARP ? simt_lane() : static_cast<int>(threadIdx.x); }
template <bool WARP> SIMT_DEVICE int row_lanes() { return WARP ? 32 : static_cast<int>(blockDim.x); }
/* The first column of this thread's pack i. */
template <bool WARP> SIMT_DEVICE int row_column(int i) { return (i * row_lanes<WARP>() + row_lane<WARP>()) * PACK; }
/* Whether pack i lies in the row: for packs beyond the ITEMS in registers, which only the widest rows have. */
template <int ITEMS, bool WARP> SIMT_DEVICE bool row_beyond(int i, int width) {
    return ITEMS == ROW_MANY && !WARP && row_column<WARP>(i) < width;
}
/* The first of these threads' rows in the whole launch, and the step to their next. */
template <bool WARP> SIMT_DEVICE int64_t row_first() {
    return WARP ? (int64_t)blockIdx.x * (blockDim.x / 32) + simt_warp() : (int64_t)blockIdx.x;
}
template <bool WARP> SIMT_DEVICE int64_t row_step() {
    return WARP ? (int64_t)gridDim.x * (blockDim.x / 32) : (int64_t)gridDim.x;
}
/* Sum over the row's threads; `shared`: 32 floats. */
template <bool WARP> SIMT_DEVICE float row_sum(float v, float *shared) {
    if constexpr (WARP) {
        (void)shared;
        return warp_sum(v);
    } else {
        return block_sum(v, shared);
    }
}
/* Its maximum; the same memory. */
template <bool WARP> SIMT_DEVICE float row_max(float v, float *shared) {
    if constexpr (WARP) {
        (void)shared;
        return warp_max(v);
    } else {
        return block_max(v, shared);
    }
}

SIMT_DEVICE float pack_max(const float (&v)[PACK], float top) {
    for (int j = 0; j < PACK; j++) top = fmaxf(top, v[j]);
    return top;
}

/* v = exp(v - top); returns the sum. Beyond the row's end v is -inf and becomes 0. */
SIMT_DEVICE float pack_exp(float (&v)[PACK], float top) {
    float sum = 0.0f;
    for (int j = 0; j < PACK; j++) sum += v[j] = expf(v[j] - top);
    return sum;
}

/* The columns a warp reads at once, where warps share columns instead of a row. */
enum { STRIP = 32 * PACK };
static inline unsigned strips_of(int columns) { return (static_cast<unsigned>(columns) + STRIP - 1) / STRIP; }

enum { ROW_WARP_WIDTH = 32 * PACK * ROW_MANY };
static inline bool row_by_warp(int64_t width) { return width <= ROW_WARP_WIDTH; }
/* Blocks that give each row to a warp or a block; rows beyond are strided over. */
static inline unsigned row_grid(int64_t rows, int64_t width) {
    return grid_for(rows, row_by_warp(width) ? ROW_WARPS : 1, 16);
}

/* Runs `statement` with ITEMS, the packs of a row each thread holds, and WARP: whose row it is. */
#define ROWS_BY_WIDTH(width, ITEMS, WARP, statement)                                                                   \
    do {                                                                                                               \
        if ((width) <= 32 * PACK * ROW_FEW) {                                                                          \
            enum { ITEMS = ROW_FEW, WARP = 1 };                                                                        \
            statement;                                                                                                 \
        } else if (row_by_warp(width)) {                                                                               \
            enum { ITEMS = ROW_MANY, WARP = 1 };                                                                       \
            statement;                                                                                                 \
        } else if ((width) <= ROW_THREADS * PACK * ROW_FEW) {                                                          \
            enum { ITEMS = ROW_FEW, WARP = 0 };                                                                        \
            statement;                                                                                                 \
        } else {                                                                                                       \
            enum { ITEMS = ROW_MANY, WARP = 0 };                                                                       \
            statement;                                                                                                 \
        }                                                                                                              \
    } while (0)

#endif
