/* memory_pool: the mean over groups of 4^level neighbouring slots; backward: each slot gets its group's dy / 4^level.
 *
 * Source: host/ops/memory_pool.c.
 *
 *   m, dm         (memories S, D)   float: the memory is small, and carried from chunk to chunk
 *   pooled, dy    (memories M, D)   float, M = S / 4^level
 *
 * Forward: a block of 8 warps has 128 columns, a lane four of them (one load). Up to 8 warps share a group, each takes
 * every 8th slot of it, so that few large groups still fill the device; groups of 1 and 4 slots leave room for 8 and 2
 * groups a block. Backward: a thread has 16 bytes of a slot (each.cuh). Memory-bound: each element is read and written
 * once.
 *
 * Order of sums: slots of a warp, then warps. Fixed. 4^level is a power of two, so the division is exact. */
#include "each.cuh"
#include "rows.cuh"

struct pool_place {
    int64_t rows, group; /* pooled rows; slots in each */
    int columns, ways;   /* ways: warps that share a group: 1, 4 or 8 */
    unsigned strips;
    bool wide;
};

SIMT_KERNEL(ROW_THREADS)
k_memory_pool_fwd(matrix<const float> m, matrix<float> pooled, pool_place p) {
    float *shared = simt_shared<float>(), sum[PACK] = {};
    int way = simt_warp() % p.ways, at = static_cast<int>(blockIdx.x % p.strips) * STRIP + simt_lane() * PACK;
    int64_t row = (int64_t)(blockIdx.x / p.strips) * (ROW_WARPS / p.ways) + simt_warp() / p.ways;
    for (int64_t i = way; row < p.rows && i < p.group; i += p.ways) {
        float v[PACK];
        pack_load(v, m.row(row * p.group + i), at, p.columns, p.wide);
        for (int j = 0; j < PACK; j++) sum[j] += v[j];
    }
    for (int j = 0; j < PACK; j++) shared[simt_warp() * STRIP + simt_lane() * PACK + j] = sum[j];
    simt_block_sync();
    if (way != 0 || row >= p.rows) return;
    for (int j = 0; j < PACK; j++) {
        for (int w = 1; w < p.ways; w++) sum[j] += shared[(simt_warp() + w) * STRIP + simt_lane() * PACK + j];
        sum[j] /= static_cast<float>(p.group);
    }
    pack_deliver(pooled.row(row), at, p.columns, p.wide, sum, false);
}

template <int N>
SIMT_KERNEL(EACH_THREADS)
k_memory_pool_bwd(matrix<const float> dy, matrix<float> dm, each_loop loop, int64_t group, bool add) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, dy.row(at.row / group), v);
        for (int i = 0; i < N; i++) v[i] /= static_cast<float>(group);
        each_deliver(loop, at, dm.row(at.row), v, add);
    }
}

static int64_t group_of(const mmrec_op_call *call) { return MMREC_SIZE(call->sizes, S) / MMREC_SIZE(call->sizes, M); }

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &m = call->in[0], &pooled = call->out[0];
    int64_t columns = MMREC_SIZE(call->sizes, D);
    MMREC_TRY(row_check("memory_pool", columns, error));
    pool_place p = {mmrec_shape_rows(&pooled.shape), group_of(call), static_cast<int>(columns), ROW_WARPS, 0, false};
    if (p.group < ROW_WARPS) p.ways = static_cast<int>(p.group);
    p.strips = strips_of(p.columns);
    p.wide = packs(m) && packs(pooled);
    int64_t together = ROW_WARPS / p.ways, blocks = (p.rows + together - 1) / together * p.strips;
    simt_shape shape = {static_cast<unsigned>(blocks), ROW_THREADS, ROW_WARPS * STRIP * sizeof(float), SIMT_FREE, 0};
    return SIMT_LAUNCH(k_memory_pool_fwd, shape, error, matrix_of<const float>(m), matrix_of<float>(pooled), p);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dy = call->d_out[0], &dm = call->d_in[0];
    if (!dm.data) return MMREC_OK;
    each_loop loop =
        each_rows(mmrec_shape_rows(&dm.shape), MMREC_SIZE(call->sizes, D), MMREC_F32, {&dy, &dm}, each_most());
    EACH_BY_WIDTH(loop, float, N,
                  return SIMT_LAUNCH((k_memory_pool_bwd<N>), each_shape(loop), error, matrix_of<const float>(dy),
                                     matrix_of<float>(dm), loop, group_of(call), call_adds(call, 0)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_memory_pool = {{forward, backward}};
