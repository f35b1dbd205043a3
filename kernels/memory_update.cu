/* memory_update: m_next = decay m + (1 - decay) mean over t of y, the same mean for every slot. No gradient.
 *
 * Source: host/ops/memory_update.c.
 *
 *   m        (1 or B memories of S slots, D)   float: moved by 1 % a time, of which bf16, in steps of
 *                                               0.4 to 0.8 %, would lose most
 *   y        (B T, D)                          float or bf16
 *   m_next   (B S, D)                          float
 *   scratch  (B, pieces, D)                    float: sums of y over pieces of T
 *
 * Two kernels. The first adds up pieces of at least 64 steps (columns.cuh); in the second a block has 128 columns of 64
 * slots of one memory, adds the pieces up (at most 32: 16 KiB from the cache for 64 KiB written) and moves its slots, a
 * warp one at a time, a lane four columns. Everything is read and written once.
 *
 * Order of sums: rows of a warp, warps, pieces of a warp, warps. Fixed by the sizes. */
#include "columns.cuh"

enum { IN_M, IN_Y };
enum { SLOTS = 64 };

struct update_place {
    row_pieces pieces;
    int64_t slots, slot_blocks;
    bool shared_memory; /* one memory is read by all batch rows */
    unsigned strips;
    float decay, share; /* share: (1 - decay) / T */
    bool wide;
};

SIMT_KERNEL(ROW_THREADS)
k_memory_update(matrix<const float> m, const float *parts, matrix<float> next, update_place p) {
    int columns = p.pieces.columns, at = static_cast<int>(blockIdx.x % p.strips) * STRIP + simt_lane() * PACK;
    int64_t tile = blockIdx.x / p.strips, b = tile / p.slot_blocks, first = tile % p.slot_blocks * SLOTS;
    matrix<const float> sums = {parts, p.pieces.stride};
    float news[PACK], v[PACK];
    strip_sum(sums, b * p.pieces.count, (b + 1) * p.pieces.count, at, columns, true, simt_shared<float>(), news);
    for (int64_t s = first + simt_warp(); s < p.slots && s < first + SLOTS; s += ROW_WARPS) {
        pack_load(v, m.row((p.shared_memory ? 0 : b) * p.slots + s), at, columns, p.wide);
        for (int j = 0; j < PACK; j++) v[j] = p.decay * v[j] + p.share * news[j];
        pack_deliver(next.row(b * p.slots + s), at, columns, p.wide, v, false);
    }
}

static mmrec_status update(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_op_sizes *sizes = call->sizes;
    const mmrec_view &m = call->in[IN_M], &next = call->out[0];
    int64_t batch = MMREC_SIZE(sizes, B), steps = MMREC_SIZE(sizes, T);
    double decay = sizes->attr[0];
    update_place p;
    p.pieces = pieces_of_steps(steps, MMREC_SIZE(sizes, D));
    p.slots = MMREC_SIZE(sizes, S);
    p.slot_blocks = (p.slots + SLOTS - 1) / SLOTS;
    p.shared_memory = mmrec_shape_rows(&m.shape) == p.slots;
    p.strips = strips_of(p.pieces.columns);
    p.decay = static_cast<float>(decay);
    p.share = static_cast<float>((1 - decay) / static_cast<double>(steps));
    p.wide = packs(m) && packs(next);
    simt_shape shape = {static_cast<unsigned>(batch * p.slot_blocks * p.strips), ROW_THREADS,
                        ROW_WARPS * STRIP * sizeof(float), SIMT_FREE, 0};
    return SIMT_LAUNCH(k_memory_update, shape, error, matrix_of<const float>(m),
                       static_cast<const float *>(call->scratch), matrix_of<float>(next), p);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &y = call->in[IN_Y];
    int64_t batch = MMREC_SIZE(call->sizes, B), columns = MMREC_SIZE(call->sizes, D);
    MMREC_TRY(row_check("memory_update", columns, error));
    row_pieces pieces = pieces_of_steps(MMREC_SIZE(call->sizes, T), columns);
    float *parts = static_cast<float *>(call->scratch);
    SIMT_BY_DTYPE(y, T, MMREC_TRY(columns_part<T>(y, batch, pieces, parts, error)));
    return update(call, error);
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_memory_update = {{forward, nullptr}};
