/* attention: per head, ctx = dropout(softmax(query key^T / sqrt(K))) value, K = D / H, without a matrix of all weights.
 *   p = exp(s - L), dp = keep dctx value^T, ds = p (dp - dctx . ctx) / sqrt(K), dquery = ds key, dkey = ds^T query,
 *   dvalue = (keep p)^T dctx; L = log sum exp(s) is saved.
 *
 * Source: host/ops/attention.c; the running maximum and sum: Dao et al., "FlashAttention", 2022.
 *
 *   query, ctx, dctx, dquery             (B T, D)   float or bf16; head h has columns h K .. h K + K - 1
 *   key, value, dkey, dvalue             (B M, D)   float or bf16
 *   visible (B, M), logsum (B H, T)                 float
 *   scratch of the backward pass (B H, T)           float, dctx . ctx
 *
 * A tile is 64 queries by 64 keys of one head of one batch row: products by the whole block (tile.cuh), a thread has 4
 * x 4 of the weights. Forward: a block has 64 queries and 64 columns of ctx and goes through the keys; the maximum so
 * far is the same in all threads of a row (8 lanes of 2 warps), sums are each thread's own until the end. Backward:
 * first dctx . ctx, a warp a row; then a block has 64 queries and 64 columns of dquery and goes through the keys, and
 * another 64 keys and 64 columns of dkey and dvalue and goes through the queries: nothing is added between blocks.
 * Weights go to a second product by way of shared memory, 16 KiB beside the 16 KiB of the factors. Causal tiles that
 * hold no pair are left out; blocks with the most tiles start first.
 *
 * A head of more than 64 columns takes a block for each 64 of them, which compute the same scores: any K runs, but at K
 * = 128 forward does 6 / 4 of the counted multiply-adds. Keeping 128 columns in a block instead costs 16 or 32
 * registers a thread for all.
 *
 * Order of sums: keys in tiles of 64 (dkey, dvalue: queries in tiles of 64), within a tile in order; the sum of
 * exponentials in 16 threads a row, then as a tree. Fixed by the sizes. Products on float units, for bf16 too, with
 * weights in float. B = 2, T = 1024, D = 512, H = 8, causal: 2.2 GFLOP forward and 5.4 backward for 9 and 17 MB. Times:
 * n/a (no device).
 * Considered: tensor cores for bf16 (weights rounded to 8 bits before the second product, a twin for the emulation);
 * dquery by atomics in the kernel of dkey and dvalue (5 products for 7, but sums in the order of arrival). */
#include "mask.cuh"
#include "tile.cuh"

enum { IN_QUERY, IN_KEY, IN_VALUE, IN_VISIBLE };
enum { ATTR_HEADS, ATTR_CAUSAL, ATTR_P, ATTR_STREAM };

enum { PAIR_FLOATS = TILE * TILE, ATTEND_FLOATS = TILE_FLOATS + PAIR_FLOATS + 2 * TILE };

/* What the kernels share. */
template <typename T> struct attend {
    matrix<const T> query, key, value, dctx;
    matrix<const float> visible, inner;
    matrix<float> logsum;
    matrix<T> ctx, dquery, dkey, dvalue;
    int queries, keys, heads, width, query_tiles, key_tiles, pieces; /* pieces: of 64 columns of a head */
    float scale;
    bool causal, wide, add_query, add_key, add_value;
    mask drop;
};

/* Where a block and the tile it is at lie. */
struct attend_place {
    int pair, batch, column, piece; /* column: the head's first; piece: of its columns, this block's first */
    int query, key;                 /* the tile's first, within the batch row */
    SIMT_DEVICE int64_t query_row(int queries) const { return static_cast<int64_t>(batch) * queries + query; }
    SIMT_DEVICE int64_t key_row(int keys) const { return static_cast<int64_t>(batch) * keys + key; }
};

template <typename T> SIMT_DEVICE attend_place attend_place_of(const attend<T> &a, int tiles) {
    int i = static_cast<int>(blockIdx.x) / tiles, piece = i % a.pieces * TILE, pair = i / a.pieces;
    return {pair, pair / a.heads, pair % a.heads * a.width, piece, 0, 0};
}

/* Bit 4 i + j: whether the thread's weight (i, j) is one, inside the tile's ends and seen. */
template <typename T> SIMT_DEVICE unsigned attend_seen(const attend<T> &a, const attend_place &p) {
    int query = p.query + tile_row(), key = p.key + tile_column();
    unsigned columns = 0, seen = 0;
    for (int j = 0; j < PACK; j++) {
        bool there = key + j < a.keys && (!a.visible.data || a.visible.row(p.batch)[key + j] >= 0.5f);
        columns |= (there ? 1u : 0u) << j;
    }
    for (int i = 0; i < PACK; i++) {
        int ends = a.causal ? query + i + 1 - key : static_cast<int>(PACK);
        unsigned before = ends >= PACK ? 15u : ends > 0 ? (1u << ends) - 1u : 0u;
        seen |= (query + i < a.queries ? columns & before : 0u) << (PACK * i);
    }
    return seen;
}

/* The same for dropout: whether it is kept. Weight (i, 0) of the thread has the number below, the others follow. */
template <typename T> SIMT_DEVICE unsigned attend_kept(const attend<T> &a, const attend_place &p) {
    if (!(a.drop.p > 0.0f)) return 0xFFFFu;
    int64_t first = static_cast<int64_t>(p.pair) * a.queries + p.query + tile_row();
    uint64_t number = static_cast<uint64_t>(first * a.keys + p.key + tile_column());
    unsigned kept = 0;
#pragma unroll 1
    for (int i = 0; i < PACK; i++) {
        uint32_t word[PACK];
        mask_words<PACK>(a.drop, *a.drop.seed, number + static_cast<uint64_t>(i) * static_cast<unsigned>(a.keys), word);
        for (int j = 0; j < PACK; j++) kept |= (mmrec_rng_unit(word[j]) >= a.drop.p ? 1u : 0u) << (PACK * i + j);
    }
    return kept;
}

SIMT_DEVICE bool bit_of(unsigned bits, int i, int j) { return (bits >> (PACK * i + j)) & 1u; }

/* sum = x y^T over the head's width: x rows of queries, y rows of keys. */
template <typename T>
SIMT_DEVICE void attend_pairs(const attend<T> &a, const attend_place &p, const matrix<const T> &x,
                              const matrix<const T> &y, float *shared, float (&sum)[PACK][PACK]) {
    const T *from_x = x.row(p.query_row(a.queries)) + p.column;
    const T *from_y = y.row(p.key_row(a.keys)) + p.column;
    tile_factor<T, false> left = {from_x, x.stride, a.queries - p.query, a.width, a.wide};
    tile_factor<T, false> right = {from_y, y.stride, a.keys - p.key, a.width, a.wide};
    for (int i = 0; i < PACK; i++) {
        for (int j = 0; j < PACK; j++) sum[i][j] = 0.0f;
    }
    tile_product(left, right, a.width, shared, sum);
}

/* The thread's weights to shared memory, a row of keys for each query; all have them when it returns. Who reads the
 * ones before has fetched the last of them ahead of a barrier of that product. */
SIMT_DEVICE void attend_share(float *pairs, const float (&v)[PACK][PACK]) {
    for (int i = 0; i < PACK; i++) {
        pack_deliver(pairs + (tile_row() + i) * TILE, tile_column(), TILE, true, v[i], false);
    }
    simt_block_sync();
}

/* sum += weights rows, rows being 64 columns of keys or values: what the queries get. */
template <typename T>
SIMT_DEVICE void attend_mix(const attend<T> &a, const attend_place &p, const matrix<const T> &rows, const float *pairs,
                            float *shared, float (&sum)[PACK][PACK]) {
    const T *from = rows.row(p.key_row(a.keys)) + p.column + p.piece;
    tile_factor<float, false> left = {pairs, TILE, TILE, TILE, true};
    tile_factor<T, true> right = {from, rows.stride, a.width - p.piece, a.keys - p.key, a.wide};
    tile_product(left, right, TILE, shared, sum);
}

/* sum += weights^T rows, rows being 64 columns of queries or dctx: what the keys get. */
template <typename T>
SIMT_DEVICE void attend_gather(const attend<T> &a, const attend_place &p, const matrix<const T> &rows,
                               const float *pairs, float *shared, float (&sum)[PACK][PACK]) {
    const T *from = rows.row(p.query_row(a.queries)) + p.column + p.piece;
    tile_factor<float, true> left = {pairs, TILE, TILE, TILE, true};
    tile_factor<T, true> right = {from, rows.stride, a.width - p.piece, a.queries - p.query, a.wide};
    tile_product(left, right, TILE, shared, sum);
}

/* Over the 8 lanes of a warp that share a row. */
SIMT_DEVICE float row_part_max(float v) {
    for (int mask = 4; mask > 0; mask >>= 1) v = fmaxf(v, simt_shuffle_xor(v, mask));
    return v;
}
SIMT_DEVICE float row_part_sum(float v) {
    for (int mask = 4; mask > 0; mask >>= 1) v += simt_shuffle_xor(v, mask);
    return v;
}
/* The two warps that share rows exchange a number a row by way of `both`, 2 x 64 floats. Barriers of the products lie
 * between one use and the next. */
SIMT_DEVICE void both_parts(float *both, const float (&mine)[PACK], float (&first)[PACK], float (&second)[PACK]) {
    for (int i = 0; i < PACK; i++) {
        if (simt_lane() % 8 == 0) both[simt_warp() % 2 * TILE + tile_row() + i] = mine[i];
    }
    simt_block_sync();
    for (int i = 0; i < PACK; i++) {
        first[i] = both[tile_row() + i];
        second[i] = both[TILE + tile_row() + i];
    }
}

/* A thread's part of the softmax of its four rows. */
struct attend_state {
    float top[PACK], sum[PACK];
};

/* Scores become weights; what was mixed before is scaled to the new maximum. */
template <typename T>
SIMT_DEVICE void attend_weights(const attend<T> &a, const attend_place &p, float *both, attend_state &state,
                                float (&score)[PACK][PACK], float (&mixed)[PACK][PACK]) {
    float part[PACK], first[PACK], second[PACK];
    unsigned seen = attend_seen(a, p), kept = attend_kept(a, p);
    for (int i = 0; i < PACK; i++) {
        float top = -INFINITY;
        for (int j = 0; j < PACK; j++) {
            score[i][j] = bit_of(seen, i, j) ? score[i][j] * a.scale : -INFINITY;
            top = fmaxf(top, score[i][j]);
        }
        part[i] = row_part_max(top);
    }
    both_parts(both, part, first, second);
    for (int i = 0; i < PACK; i++) {
        float top = fmaxf(state.top[i], fmaxf(first[i], second[i])), from = top > -INFINITY ? top : 0.0f;
        float carry = expf(state.top[i] - from), sum = pack_exp(score[i], from);
        state.sum[i] = state.sum[i] * carry + sum;
        state.top[i] = top;
        for (int j = 0; j < PACK; j++) {
            mixed[i][j] *= carry;
            score[i][j] = bit_of(kept, i, j) ? score[i][j] * a.drop.scale : 0.0f;
        }
    }
}

/* ctx and logsum; where nothing was seen the sum is 0 and both are NaN. */
template <typename T>
SIMT_DEVICE void attend_finish(const attend<T> &a, const attend_place &p, float *both, attend_state &state,
                               float (&mixed)[PACK][PACK]) {
    float part[PACK], first[PACK], second[PACK];
    for (int i = 0; i < PACK; i++) part[i] = row_part_sum(state.sum[i]);
    both_parts(both, part, first, second);
    for (int i = 0; i < PACK; i++) {
        float sum = first[i] + second[i];
        int query = p.query + tile_row() + i;
        for (int j = 0; j < PACK; j++) mixed[i][j] /= sum;
        if (a.logsum.data && p.piece == 0 && tile_column() == 0 && query < a.queries) {
            a.logsum.row(p.pair)[query] = sum > 0.0f ? state.top[i] + logf(sum) : NAN;
        }
    }
    T *to = a.ctx.row(p.query_row(a.queries)) + p.column + p.piece;
    tile_deliver(to, a.ctx.stride, a.queries - p.query, a.width - p.piece, a.wide, false, 1.0f, mixed);
}

template <typename T> SIMT_DEVICE int attend_keys_end(const attend<T> &a, const attend_place &p) {
    int end = p.query + TILE;
    return a.causal && end < a.keys ? end : a.keys;
}

template <typename T> SIMT_KERNEL(ROW_THREADS) k_attention_fwd(attend<T> a) {
    float *shared = simt_shared<float>(), *pairs = shared + TILE_FLOATS, *both = pairs + PAIR_FLOATS;
    attend_place p = attend_place_of(a, a.query_tiles);
    p.query = (a.query_tiles - 1 - static_cast<int>(blockIdx.x) % a.query_tiles) * TILE;
    float mixed[PACK][PACK] = {}, score[PACK][PACK];
    attend_state state;
    for (int i = 0; i < PACK; i++) {
        state.top[i] = -INFINITY;
        state.sum[i] = 0.0f;
    }
    for (int end = attend_keys_end(a, p); p.key < end; p.key += TILE) {
        attend_pairs(a, p, a.query, a.key, shared, score);
        attend_weights(a, p, both, state, score, mixed);
        attend_share(pairs, score);
        attend_mix(a, p, a.value, pairs, shared, mixed);
    }
    attend_finish(a, p, both, state, mixed);
}

/* inner = dctx . ctx for each query and head, a warp for each. */
template <typename T>
SIMT_KERNEL(ROW_THREADS)
k_attention_inner(matrix<const T> dctx, matrix<const T> ctx, float *inner, int64_t rows, int64_t heads, int64_t queries,
                  int64_t width) {
    for (int64_t r = row_first<1>(); r < rows; r += row_step<1>()) {
        int64_t pair = r / queries, row = pair / heads * queries + r % queries, column = pair % heads * width;
        float sum = 0.0f;
        for (int64_t d = simt_lane(); d < width; d += 32) {
            sum += simt_float(dctx.row(row)[column + d]) * simt_float(ctx.row(row)[column + d]);
        }
        sum = warp_sum(sum);
        if (simt_lane() == 0) inner[r] = sum;
    }
}

/* The weights of a tile again (dropped ones 0, others scaled, in `weight`) and the gradients of its scores. */
template <typename T>
SIMT_DEVICE void attend_back(const attend<T> &a, const attend_place &p, float *shared, float (&weight)[PACK][PACK],
                             float (&dscore)[PACK][PACK]) {
    attend_pairs(a, p, a.query, a.key, shared, weight);
    attend_pairs(a, p, a.dctx, a.value, shared, dscore);
    unsigned seen = attend_seen(a, p), kept = attend_kept(a, p);
    for (int i = 0; i < PACK; i++) {
        int query = p.query + tile_row() + i;
        bool inside = query < a.queries;
        float logsum = inside ? a.logsum.row(p.pair)[query] : 0.0f, inner = inside ? a.inner.row(p.pair)[query] : 0.0f;
        for (int j = 0; j < PACK; j++) {
            float w = expf(weight[i][j] * a.scale - logsum), keep = bit_of(kept, i, j) ? a.drop.scale : 0.0f;
            weight[i][j] = bit_of(seen, i, j) ? w * keep : 0.0f;
            dscore[i][j] = bit_of(seen, i, j) ? w * (dscore[i][j] * keep - inner) * a.scale : 0.0f;
        }
    }
}

template <typename T> SIMT_KERNEL(ROW_THREADS) k_attention_bwd_query(attend<T> a) {
    float *shared = simt_shared<float>(), *pairs = shared + TILE_FLOATS;
    attend_place p = attend_place_of(a, a.query_tiles);
    p.query = (a.query_tiles - 1 - static_cast<int>(blockIdx.x) % a.query_tiles) * TILE;
    float sum[PACK][PACK] = {}, weight[PACK][PACK], dscore[PACK][PACK];
    for (int end = attend_keys_end(a, p); p.key < end; p.key += TILE) {
        attend_back(a, p, shared, weight, dscore);
        attend_share(pairs, dscore);
        attend_mix(a, p, a.key, pairs, shared, sum);
    }
    T *to = a.dquery.row(p.query_row(a.queries)) + p.column + p.piece;
    tile_deliver(to, a.dquery.stride, a.queries - p.query, a.width - p.piece, a.wide, a.add_query, 1.0f, sum);
}

template <typename T> SIMT_KERNEL(ROW_THREADS) k_attention_bwd_keys(attend<T> a) {
    float *shared = simt_shared<float>(), *pairs = shared + TILE_FLOATS;
    attend_place p = attend_place_of(a, a.key_tiles);
    p.key = static_cast<int>(blockIdx.x) % a.key_tiles * TILE;
    float dkey[PACK][PACK] = {}, dvalue[PACK][PACK] = {}, weight[PACK][PACK], dscore[PACK][PACK];
    for (p.query = a.causal ? p.key : 0; p.query < a.queries; p.query += TILE) {
        attend_back(a, p, shared, weight, dscore);
        attend_share(pairs, weight);
        attend_gather(a, p, a.dctx, pairs, shared, dvalue);
        attend_share(pairs, dscore);
        attend_gather(a, p, a.query, pairs, shared, dkey);
    }
    int64_t row = p.key_row(a.keys), column = p.column + p.piece, left = a.keys - p.key;
    if (a.dkey.data) {
        tile_deliver(a.dkey.row(row) + column, a.dkey.stride, left, a.width - p.piece, a.wide, a.add_key, 1.0f, dkey);
    }
    if (a.dvalue.data) {
        tile_deliver(a.dvalue.row(row) + column, a.dvalue.stride, left, a.width - p.piece, a.wide, a.add_value, 1.0f,
                     dvalue);
    }
}

/* Every head's first column of the view may hold a pack. */
static bool heads_pack(const mmrec_op_call *call, const mmrec_view &view) {
    int64_t heads = MMREC_SIZE(call->sizes, H), width = MMREC_SIZE(call->sizes, D) / heads;
    return packs(view) && (heads == 1 || width % PACK == 0);
}

/* The sizes, and what both passes read. */
template <typename T> static attend<T> attend_of(const mmrec_op_call *call) {
    const mmrec_op_sizes *sizes = call->sizes;
    const mmrec_view *in = call->in;
    attend<T> a = {};
    a.query = matrix_of<const T>(in[IN_QUERY]);
    a.key = matrix_of<const T>(in[IN_KEY]);
    a.value = matrix_of<const T>(in[IN_VALUE]);
    a.visible = matrix_of<const float>(in[IN_VISIBLE]);
    a.logsum = matrix_of<float>(call->saved[0]);
    a.queries = static_cast<int>(MMREC_SIZE(sizes, T));
    a.keys = static_cast<int>(MMREC_SIZE(sizes, M));
    a.heads = static_cast<int>(MMREC_SIZE(sizes, H));
    a.width = static_cast<int>(MMREC_SIZE(sizes, D)) / a.heads;
    a.query_tiles = (a.queries + TILE - 1) / TILE;
    a.key_tiles = (a.keys + TILE - 1) / TILE;
    a.pieces = (a.width + TILE - 1) / TILE;
    a.scale = static_cast<float>(1.0 / sqrt(static_cast<double>(a.width)));
    a.causal = sizes->attr[ATTR_CAUSAL] != 0;
    a.wide = heads_pack(call, in[IN_QUERY]) && heads_pack(call, in[IN_KEY]) && heads_pack(call, in[IN_VALUE]);
    a.drop = mask_of(call, ATTR_P);
    return a;
}

static int64_t pairs_of(const mmrec_op_call *call) { return MMREC_SIZE(call->sizes, B) * MMREC_SIZE(call->sizes, H); }

static simt_shape shape_of(int64_t blocks) {
    return {static_cast<unsigned>(blocks), ROW_THREADS, ATTEND_FLOATS * sizeof(float), SIMT_FREE, 0};
}

template <typename T> static mmrec_status forward_as(const mmrec_op_call *call, mmrec_error *error) {
    attend<T> a = attend_of<T>(call);
    a.ctx = matrix_of<T>(call->out[0]);
    a.wide = a.wide && heads_pack(call, call->out[0]);
    return SIMT_LAUNCH((k_attention_fwd<T>), shape_of(pairs_of(call) * a.pieces * a.query_tiles), error, a);
}

/* Queries, keys and columns are counted in int. */
static mmrec_status check(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(row_check("attention", MMREC_SIZE(call->sizes, D), error));
    MMREC_TRY(row_check("attention", MMREC_SIZE(call->sizes, T), error));
    return row_check("attention", MMREC_SIZE(call->sizes, M), error);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    bool done;
    MMREC_TRY(check(call, error));
    MMREC_TRY(mmrec_cuda_attention(MMREC_FORWARD, call, &done, error));
    if (done) return MMREC_OK;
    SIMT_BY_DTYPE(call->in[IN_QUERY], T, return forward_as<T>(call, error));
}

template <typename T>
static mmrec_status inner_products(const mmrec_op_call *call, const attend<T> &a, mmrec_error *error) {
    int64_t rows = pairs_of(call) * a.queries;
    simt_shape shape = {grid_for(rows, ROW_WARPS, 16), ROW_THREADS, 0, SIMT_FREE, 0};
    return SIMT_LAUNCH((k_attention_inner<T>), shape, error, a.dctx, matrix_of<const T>(call->out[0]),
                       static_cast<float *>(call->scratch), rows, a.heads, a.queries, a.width);
}

template <typename T> static mmrec_status backward_as(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *d_in = call->d_in, &dctx = call->d_out[0];
    attend<T> a = attend_of<T>(call);
    a.dctx = matrix_of<const T>(dctx);
    a.inner = {static_cast<const float *>(call->scratch), a.queries};
    a.dquery = matrix_of<T>(d_in[IN_QUERY]);
    a.dkey = matrix_of<T>(d_in[IN_KEY]);
    a.dvalue = matrix_of<T>(d_in[IN_VALUE]);
    a.add_query = call_adds(call, IN_QUERY);
    a.add_key = call_adds(call, IN_KEY);
    a.add_value = call_adds(call, IN_VALUE);
    a.wide = a.wide && heads_pack(call, dctx);
    for (int i = IN_QUERY; i <= IN_VALUE; i++) a.wide = a.wide && heads_pack(call, d_in[i]);
    MMREC_TRY(inner_products(call, a, error));
    int64_t blocks = pairs_of(call) * a.pieces;
    if (a.dquery.data) {
        MMREC_TRY(SIMT_LAUNCH((k_attention_bwd_query<T>), shape_of(blocks * a.query_tiles), error, a));
    }
    if (!a.dkey.data && !a.dvalue.data) return MMREC_OK;
    return SIMT_LAUNCH((k_attention_bwd_keys<T>), shape_of(blocks * a.key_tiles), error, a);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    bool done;
    MMREC_TRY(check(call, error));
    MMREC_TRY(mmrec_cuda_attention(MMREC_BACKWARD, call, &done, error));
    if (done) return MMREC_OK;
    SIMT_BY_DTYPE(call->in[IN_QUERY], T, return backward_as<T>(call, error));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_attention = {{forward, backward}};
