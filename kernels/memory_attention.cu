/* memory_attention: per head, p = softmax(query key^T / sqrt(K)), ctx = p value over the M slots of a memory, K = D /
 * H; dp = dctx value^T,  ds = p (dp - sum p dp) / sqrt(K),  dquery = ds key,  dkey = ds^T query,  dvalue = p^T dctx.
 *
 * Source: host/ops/memory_attention.c.
 *
 *   query, ctx, dctx, dquery   (B T, D)           float or bf16; head h has columns h K .. h K + K - 1
 *   key, value, dkey, dvalue   (memories M, D)    float; one memory for all batch rows, or one each
 *   p                          (H, B T, M)        float, saved
 *   scratch                    (H, B T, M) ds; 2 x (pieces, memories M, D) shares of dkey and dvalue; float
 *
 * Forward, and backward as far as dquery: a block has 64 query rows of one head and one memory. Scores go to p (and dp
 * to ds) 64 slots at a time; after a barrier 8 lanes a row turn them into what they shall be, in place; after another
 * they are a factor of the second product. So any M and K take 16 KiB of shared memory, and the rows come back from the
 * cache: at M = 64 they are 16 KiB a block. The gradients of a memory are sums over all rows that read it: a block has
 * 64 slots, 64 columns and a piece of the rows (host/ops/attention_device.h); where there is more than one piece,
 * shares go through scratch and are added in order.
 *
 * The products are 64 x 64 tiles on float units (tile.cuh), for bf16 too. B T = 2048, M = 64, D = 1024, H = 8, float:
 * forward 0.54 GFLOP for 21 MB, backward 1.07 GFLOP for 42 MB, 26 FLOP a byte, where an H100 balances float at 67
 * TFLOP/s and 3.35 TB/s (data sheet), 20 a byte. Times: n/a (no device).
 *
 * Order of sums: products over their inner index; rows of a piece in order, then pieces. Fixed by the sizes.
 * Considered: cuBLASLt for each head and product: at H = 8 16 and 32 launches instead of 1 and 2 to 5, and the scores
 * to memory and back once more; softmax while the scores come (one pass over the slots): p is saved, so it must be
 * written again anyway. */
#include "each.cuh"
#include "tile.cuh"

#include "ops/attention_device.h"

enum { IN_QUERY, IN_KEY, IN_VALUE };
static_assert(static_cast<int>(TILE) == static_cast<int>(ATTENTION_TILE), "the scratch is cut as the kernels work");

/* What the kernels share. `scores`: p in forward, ds in backward. */
template <typename T> struct attention {
    matrix<const T> query, dctx;
    matrix<const float> key, value;
    matrix<T> ctx, dquery;
    matrix<float> probs, scores;
    int64_t rows, per_memory, tiles, memories, slots, width; /* width: K */
    float scale;
    bool wide, wide_scores, add;
};

/* A block's share: `count` rows from `row` on, which read the memory that starts at `slot`. */
struct attention_place {
    int64_t row, count, slot, scores, column;
};

template <typename T> SIMT_DEVICE attention_place attention_place_of(const attention<T> &a) {
    int64_t first = blockIdx.x % a.tiles * TILE, memory = blockIdx.x / a.tiles % a.memories;
    int64_t head = blockIdx.x / a.tiles / a.memories;
    attention_place p = {memory * a.per_memory + first, a.per_memory - first, memory * a.slots, 0, head * a.width};
    if (p.count > TILE) p.count = TILE;
    p.scores = head * a.rows + p.row;
    return p;
}

/* scores = scale x memory^T, both of them running along the head's width. */
template <typename T>
SIMT_DEVICE void attention_scores_of(const attention<T> &a, const attention_place &p, const matrix<const T> &x,
                                     const matrix<const float> &memory, float scale, float *shared) {
    tile_factor<T, false> left = {x.row(p.row) + p.column, x.stride, p.count, a.width, a.wide};
    for (int64_t s = 0; s < a.slots; s += TILE) {
        const float *at = memory.row(p.slot + s) + p.column;
        tile_factor<float, false> right = {at, memory.stride, a.slots - s, a.width, a.wide};
        float sum[PACK][PACK] = {};
        tile_product(left, right, a.width, shared, sum);
        tile_deliver(a.scores.row(p.scores) + s, a.scores.stride, p.count, a.slots - s, a.wide_scores, false, scale,
                     sum);
    }
}

/* to = scores memory. */
template <typename T>
SIMT_DEVICE void attention_mix(const attention<T> &a, const attention_place &p, const matrix<const float> &memory,
                               const matrix<T> &to, bool add, float *shared) {
    const float *scores = a.scores.row(p.scores);
    tile_factor<float, false> left = {scores, a.scores.stride, p.count, a.slots, a.wide_scores};
    for (int64_t d = 0; d < a.width; d += TILE) {
        const float *at = memory.row(p.slot) + p.column + d;
        tile_factor<float, true> right = {at, memory.stride, a.width - d, a.slots, a.wide};
        float sum[PACK][PACK] = {};
        tile_product(left, right, a.slots, shared, sum);
        tile_deliver(to.row(p.row) + p.column + d, to.stride, p.count, a.width - d, a.wide, add, 1.0f, sum);
    }
}

/* Eight lanes have a row, a warp four, and takes the next four 32 rows on. */
enum { ROW_LANES = 8, ROW_STEP = ROW_LANES * PACK };
SIMT_DEVICE float eight_sum(float v) {
    for (int mask = ROW_LANES / 2; mask > 0; mask >>= 1) v += simt_shuffle_xor(v, mask);
    return v;
}
SIMT_DEVICE float eight_max(float v) {
    for (int mask = ROW_LANES / 2; mask > 0; mask >>= 1) v = fmaxf(v, simt_shuffle_xor(v, mask));
    return v;
}

/* The softmax of a row in place. `slots` is 0 for lanes without a row. */
SIMT_DEVICE void attention_softmax(float *row, int slots, bool wide) {
    float top = -INFINITY, sum = 0.0f, v[PACK];
    int first = simt_lane() % ROW_LANES * PACK;
    for (int at = first; at < slots; at += ROW_STEP) {
        pack_load(v, row, at, slots, wide, -INFINITY);
        for (int j = 0; j < PACK; j++) top = fmaxf(top, v[j]);
    }
    top = eight_max(top);
    for (int at = first; at < slots; at += ROW_STEP) {
        pack_load(v, row, at, slots, wide, -INFINITY);
        for (int j = 0; j < PACK; j++) sum += at + j < slots ? expf(v[j] - top) : 0.0f;
    }
    float inverse = 1.0f / eight_sum(sum);
    for (int at = first; at < slots; at += ROW_STEP) {
        pack_load(v, row, at, slots, wide);
        for (int j = 0; j < PACK; j++) v[j] = expf(v[j] - top) * inverse;
        pack_deliver(row, at, slots, wide, v, false);
    }
}

/* dp becomes ds in place. */
SIMT_DEVICE void attention_softmax_back(const float *probs, float *row, int slots, bool wide, float scale) {
    float sum = 0.0f, p[PACK], v[PACK];
    int first = simt_lane() % ROW_LANES * PACK;
    for (int at = first; at < slots; at += ROW_STEP) {
        pack_load(p, probs, at, slots, wide);
        pack_load(v, row, at, slots, wide);
        for (int j = 0; j < PACK; j++) sum += p[j] * v[j];
    }
    sum = eight_sum(sum);
    for (int at = first; at < slots; at += ROW_STEP) {
        pack_load(p, probs, at, slots, wide);
        pack_load(v, row, at, slots, wide);
        for (int j = 0; j < PACK; j++) v[j] = p[j] * (v[j] - sum) * scale;
        pack_deliver(row, at, slots, wide, v, false);
    }
}

template <typename T> SIMT_KERNEL(ROW_THREADS) k_memory_attention_fwd(attention<T> a) {
    float *shared = simt_shared<float>();
    attention_place p = attention_place_of(a);
    attention_scores_of(a, p, a.query, a.key, a.scale, shared);
    simt_block_sync();
    for (int r = simt_warp() * 4 + simt_lane() / ROW_LANES; r < TILE; r += 32) {
        attention_softmax(a.scores.row(p.scores + r), r < p.count ? static_cast<int>(a.slots) : 0, a.wide_scores);
    }
    simt_block_sync();
    attention_mix(a, p, a.value, a.ctx, false, shared);
}

template <typename T> SIMT_KERNEL(ROW_THREADS) k_memory_attention_bwd(attention<T> a) {
    float *shared = simt_shared<float>();
    attention_place p = attention_place_of(a);
    attention_scores_of(a, p, a.dctx, a.value, 1.0f, shared);
    simt_block_sync();
    for (int r = simt_warp() * 4 + simt_lane() / ROW_LANES; r < TILE; r += 32) {
        int slots = r < p.count ? static_cast<int>(a.slots) : 0;
        attention_softmax_back(a.probs.row(p.scores + r), a.scores.row(p.scores + r), slots, a.wide_scores, a.scale);
    }
    simt_block_sync();
    if (a.dquery.data) attention_mix(a, p, a.key, a.dquery, a.add, shared);
}

/* One gradient of the memories: to = weights^T x, weights ds or p. With more than one piece: shares to `parts`. */
template <typename T> struct attention_sum {
    matrix<const float> weights;
    matrix<const T> x;
    matrix<float> to;
    float *parts;
    row_pieces pieces;
    int64_t rows, memories, slots, width, slot_tiles, column_tiles;
    bool wide_weights, wide, add;
};

template <typename T> SIMT_KERNEL(ROW_THREADS) k_memory_attention_sum(attention_sum<T> a) {
    int64_t i = blockIdx.x, piece = i % a.pieces.count, first = piece * a.pieces.length;
    i /= a.pieces.count;
    int64_t d = i % a.column_tiles * TILE, s = i / a.column_tiles % a.slot_tiles * TILE;
    i /= a.column_tiles * a.slot_tiles;
    int64_t memory = i % a.memories, head = i / a.memories, column = head * a.width + d;
    int64_t row = memory * a.pieces.rows + first, left = a.pieces.rows - first, slot = memory * a.slots + s;
    if (left > a.pieces.length) left = a.pieces.length;
    const float *weights = a.weights.row(head * a.rows + row) + s;
    tile_factor<float, true> x = {weights, a.weights.stride, a.slots - s, left, a.wide_weights};
    tile_factor<T, true> y = {a.x.row(row) + column, a.x.stride, a.width - d, left, a.wide};
    float sum[PACK][PACK] = {};
    tile_product(x, y, left, simt_shared<float>(), sum);
    if (a.pieces.count == 1) {
        tile_deliver(a.to.row(slot) + column, a.to.stride, a.slots - s, a.width - d, a.wide, a.add, 1.0f, sum);
    } else {
        float *part = a.parts + (piece * a.memories * a.slots + slot) * a.pieces.stride + column;
        tile_deliver(part, a.pieces.stride, a.slots - s, a.width - d, a.wide, false, 1.0f, sum);
    }
}

/* Adds the pieces, loading four at a time; a thread has 16 bytes of a slot. */
template <int N>
SIMT_KERNEL(EACH_THREADS)
k_memory_attention_join(const float *parts, matrix<float> to, row_pieces pieces, each_loop loop, bool add) {
    for (EACH(at, loop)) {
        float sum[N] = {};
#pragma unroll 4
        for (int64_t p = 0; p < pieces.count; p++) {
            float v[N];
            each_load(loop, at, parts + (p * loop.rows + at.row) * pieces.stride, v);
            for (int i = 0; i < N; i++) sum[i] += v[i];
        }
        each_deliver(loop, at, to.row(at.row), sum, add);
    }
}

/* Every head's first column of the view may hold a pack. */
static bool head_packs(const mmrec_op_call *call, const mmrec_view &view) {
    int64_t heads = MMREC_SIZE(call->sizes, H), width = MMREC_SIZE(call->sizes, D) / heads;
    return packs(view) && (heads == 1 || width % PACK == 0);
}

/* The sizes, and what both passes read. */
template <typename T> static attention<T> attention_of(const mmrec_op_call *call) {
    const mmrec_op_sizes *sizes = call->sizes;
    const mmrec_view *in = call->in;
    attention<T> a = {};
    a.query = matrix_of<const T>(in[IN_QUERY]);
    a.key = matrix_of<const float>(in[IN_KEY]);
    a.value = matrix_of<const float>(in[IN_VALUE]);
    a.probs = matrix_of<float>(call->saved[0]);
    a.slots = MMREC_SIZE(sizes, M);
    a.width = MMREC_SIZE(sizes, D) / MMREC_SIZE(sizes, H);
    a.rows = MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, T);
    a.memories = mmrec_shape_rows(&in[IN_KEY].shape) / a.slots;
    a.per_memory = a.rows / a.memories;
    a.tiles = attention_tiles(a.per_memory);
    a.scale = static_cast<float>(1.0 / sqrt(static_cast<double>(a.width)));
    a.wide = head_packs(call, in[IN_QUERY]) && head_packs(call, in[IN_KEY]) && head_packs(call, in[IN_VALUE]);
    a.wide_scores = packs(call->saved[0]);
    return a;
}

static simt_shape shape_of(int64_t blocks) {
    return {static_cast<unsigned>(blocks), ROW_THREADS, TILE_FLOATS * sizeof(float), SIMT_FREE, 0};
}

template <typename T> static mmrec_status forward_as(const mmrec_op_call *call, mmrec_error *error) {
    attention<T> a = attention_of<T>(call);
    a.ctx = matrix_of<T>(call->out[0]);
    a.scores = a.probs;
    a.wide = a.wide && head_packs(call, call->out[0]);
    simt_shape shape = shape_of(MMREC_SIZE(call->sizes, H) * a.memories * a.tiles);
    return SIMT_LAUNCH((k_memory_attention_fwd<T>), shape, error, a);
}

static mmrec_status check(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(row_check("memory_attention", MMREC_SIZE(call->sizes, D), error));
    return row_check("memory_attention", MMREC_SIZE(call->sizes, M), error);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(check(call, error));
    SIMT_BY_DTYPE(call->in[IN_QUERY], T, return forward_as<T>(call, error));
}

/* ds to scratch, and dquery. */
template <typename T> static mmrec_status query_gradient(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dctx = call->d_out[0], &dquery = call->d_in[IN_QUERY];
    attention<T> a = attention_of<T>(call);
    a.dctx = matrix_of<const T>(dctx);
    a.dquery = matrix_of<T>(dquery);
    a.scores = {static_cast<float *>(call->scratch), attention_stride(call->sizes)};
    a.wide = a.wide && head_packs(call, dctx) && head_packs(call, dquery);
    a.add = call_adds(call, IN_QUERY);
    simt_shape shape = shape_of(MMREC_SIZE(call->sizes, H) * a.memories * a.tiles);
    return SIMT_LAUNCH((k_memory_attention_bwd<T>), shape, error, a);
}

/* d_in[input] = weights^T x over the rows of each memory. */
template <typename T>
static mmrec_status memory_gradient(const mmrec_op_call *call, int input, matrix<const float> weights,
                                    bool wide_weights, const mmrec_view &x, float *parts, mmrec_error *error) {
    const mmrec_op_sizes *sizes = call->sizes;
    const mmrec_view &to = call->d_in[input];
    int64_t heads = MMREC_SIZE(sizes, H), memory_rows = mmrec_shape_rows(&to.shape);
    attention_sum<T> a = {};
    a.weights = weights;
    a.x = matrix_of<const T>(x);
    a.to = matrix_of<float>(to);
    a.parts = parts;
    a.pieces = attention_pieces(sizes);
    a.rows = MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, T);
    a.slots = MMREC_SIZE(sizes, M);
    a.memories = memory_rows / a.slots;
    a.width = MMREC_SIZE(sizes, D) / heads;
    a.slot_tiles = attention_tiles(a.slots);
    a.column_tiles = attention_tiles(a.width);
    a.wide = head_packs(call, x) && head_packs(call, to);
    a.wide_weights = wide_weights;
    a.add = call_adds(call, input);
    simt_shape shape = shape_of(heads * a.memories * a.slot_tiles * a.column_tiles * a.pieces.count);
    MMREC_TRY(SIMT_LAUNCH((k_memory_attention_sum<T>), shape, error, a));
    if (a.pieces.count == 1) return MMREC_OK;
    each_loop loop =
        each_rows(memory_rows, a.pieces.columns, MMREC_F32, {&to}, each_most()); /* parts start on 16 bytes */
    EACH_BY_WIDTH(
        loop, float, N,
        return SIMT_LAUNCH((k_memory_attention_join<N>), each_shape(loop), error, parts, a.to, a.pieces, loop, a.add));
}

template <typename T> static mmrec_status backward_as(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &query = call->in[IN_QUERY], &dctx = call->d_out[0], &probs = call->saved[0];
    const mmrec_view *d_in = call->d_in;
    float *ds = static_cast<float *>(call->scratch), *parts = ds + attention_scores(call->sizes);
    if (d_in[IN_QUERY].data || d_in[IN_KEY].data) MMREC_TRY(query_gradient<T>(call, error));
    if (d_in[IN_KEY].data) {
        matrix<const float> weights = {ds, attention_stride(call->sizes)};
        MMREC_TRY(memory_gradient<T>(call, IN_KEY, weights, true, query, parts, error));
        parts += attention_parts(call->sizes);
    }
    if (!d_in[IN_VALUE].data) return MMREC_OK;
    return memory_gradient<T>(call, IN_VALUE, matrix_of<const float>(probs), packs(probs), dctx, parts, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(check(call, error));
    SIMT_BY_DTYPE(call->in[IN_QUERY], T, return backward_as<T>(call, error));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_memory_attention = {{forward, backward}};
