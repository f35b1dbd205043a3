/* Addressing by content, which memory_read, memory_write and memory_write_shared have in common. Formulas, forward and
 * backward, and their names: host/ops/content_address.h.
 *
 *   key         (B, M)              float or bf16
 *   strength    (B, 1)              float or bf16
 *   memory      (1 or B memories of N rows, M)   float
 *   weights, similarities (B, N), row_norms (1 or B, N), key_norms (B, 1)   float, written by the forward pass
 *   g           (B, N)              float, scratch of the backward pass
 *
 * A block has a sample: 8 lanes have a row of its memory, 4 columns each at a time, so that the rows of 16 to 20
 * columns of the models leave a third of the lanes idle and not five sixths, as a warp a row would. Rows wider than 32
 * columns take several steps. Weights and similarities go through memory, which the block reads again from the first
 * cache: no number of slots is too large. In the gradient of the memory a thread has 4 columns of a row; where the
 * memory is shared, 8 warps share the samples. A memory of 128 x 20 is 10 KiB: it is read from the cache after the
 * first time.
 *
 * Order of sums: over columns, a lane's, then a tree over 8 lanes; over slots, every 32nd in one group of lanes, then
 * the groups in order, or a tree over the block; over samples, every 8th in one warp, then the warps in order. Fixed by
 * the sizes. */
#ifndef MMREC_CONTENT_ADDRESS_CUH
#define MMREC_CONTENT_ADDRESS_CUH

#include "rows.cuh"

#include "ops/content_address_device.h"

enum { ADDRESS_KEY, ADDRESS_STRENGTH };
enum { GROUP_LANES = 8, GROUP_COLUMNS = GROUP_LANES * PACK, GROUPS = ROW_THREADS / GROUP_LANES };

/* Norms below this are taken to be this. */
#define ADDRESS_LEAST 1e-12f

template <typename T> struct content_address {
    matrix<const T> key, strength;
    matrix<const float> memory;
    matrix<float> weights, similarities, row_norms, key_norms;
    int64_t batch;
    int slots, width;
    bool shared_memory, twice, wide; /* wide: key and memory */
};

/* The sums of all groups, column by column, through shared memory: those of a strip of 32 columns. */
enum { STRIP_FLOATS = GROUPS * GROUP_COLUMNS };

SIMT_DEVICE int group_lane() { return simt_lane() % GROUP_LANES; }
SIMT_DEVICE int group_number() { return static_cast<int>(threadIdx.x) / GROUP_LANES; }

SIMT_DEVICE float group_sum(float v) {
    for (int mask = GROUP_LANES / 2; mask > 0; mask >>= 1) v += simt_shuffle_xor(v, mask);
    return v;
}

/* Column `simt_lane()` of the strip, for the first warp; the groups' sums in order. The memory is free to use again
 * when it returns. */
SIMT_DEVICE float group_columns(const float (&sum)[PACK], float *shared) {
    for (int j = 0; j < PACK; j++) shared[group_number() * GROUP_COLUMNS + group_lane() * PACK + j] = sum[j];
    simt_block_sync();
    float total = 0.0f;
    for (int g = 0; g < GROUPS && simt_warp() == 0; g++) total += shared[g * GROUP_COLUMNS + simt_lane()];
    simt_block_sync();
    return total;
}

template <typename T> SIMT_DEVICE int64_t address_own(const content_address<T> &a, int64_t b) {
    return a.shared_memory ? 0 : b;
}
template <typename T> SIMT_DEVICE const float *address_row(const content_address<T> &a, int64_t b, int n) {
    return a.memory.row(address_own(a, b) * a.slots + n);
}

SIMT_DEVICE float softplus(float x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }

template <typename T> SIMT_DEVICE float address_beta(const content_address<T> &a, int64_t b) {
    float once = softplus(simt_float(*a.strength.row(b)));
    return a.twice ? softplus(once) : once;
}

/* dbeta / dstrength */
template <typename T> SIMT_DEVICE float address_beta_slope(const content_address<T> &a, int64_t b) {
    float raw = simt_float(*a.strength.row(b)), slope = sigmoid(raw);
    return a.twice ? slope * sigmoid(softplus(raw)) : slope;
}

/* Every warp finds it by itself. */
template <typename T> SIMT_DEVICE float address_key_norm(const content_address<T> &a, int64_t b) {
    float square = 0.0f, v[PACK];
    for (int at = simt_lane() * PACK; at < a.width; at += STRIP) {
        pack_load(v, a.key.row(b), at, a.width, a.wide);
        for (int j = 0; j < PACK; j++) square += v[j] * v[j];
    }
    return fmaxf(sqrtf(warp_sum(square)), ADDRESS_LEAST);
}

/* The similarities of the block's sample, and the norms. */
template <typename T> SIMT_DEVICE void address_similarities(const content_address<T> &a, int64_t b) {
    float norm = address_key_norm(a, b), k[PACK], v[PACK];
    bool keeps = !a.shared_memory || b == 0; /* one block writes the norms of a shared memory */
    for (int first = 0; first < a.slots; first += GROUPS) {
        int n = first + group_number();
        float product = 0.0f, square = 0.0f;
        for (int at = group_lane() * PACK; n < a.slots && at < a.width; at += GROUP_COLUMNS) {
            pack_load(k, a.key.row(b), at, a.width, a.wide);
            pack_load(v, address_row(a, b, n), at, a.width, a.wide);
            for (int j = 0; j < PACK; j++) product += k[j] * v[j];
            for (int j = 0; j < PACK; j++) square += v[j] * v[j];
        }
        product = group_sum(product);
        float row_norm = fmaxf(sqrtf(group_sum(square)), ADDRESS_LEAST);
        if (n >= a.slots || group_lane() != 0) continue;
        a.similarities.row(b)[n] = product / norm / row_norm;
        if (keeps) a.row_norms.row(address_own(a, b))[n] = row_norm;
    }
    if (threadIdx.x == 0) *a.key_norms.row(b) = norm;
    simt_block_sync();
}

/* All that the forward pass writes for the block's sample; the block may read the weights when it returns. `shared`: 32
 * floats. */
template <typename T> SIMT_DEVICE void address_sample(const content_address<T> &a, int64_t b, float *shared) {
    address_similarities(a, b);
    const float *s = a.similarities.row(b);
    float *w = a.weights.row(b), beta = address_beta(a, b), top = -INFINITY, sum = 0.0f;
    int first = static_cast<int>(threadIdx.x);
    for (int n = first; n < a.slots; n += ROW_THREADS) top = fmaxf(top, s[n]);
    top = block_max(top, shared);
    for (int n = first; n < a.slots; n += ROW_THREADS) {
        w[n] = expf(beta * (s[n] - top));
        sum += w[n];
    }
    sum = block_sum(sum, shared);
    for (int n = first; n < a.slots; n += ROW_THREADS) w[n] /= sum;
    simt_block_sync();
}

/* put(column, sum over n of weights[n] memory_n[column]), by the first warp. `shared`: STRIP_FLOATS. */
template <typename T, typename Put>
SIMT_DEVICE void address_mix(const content_address<T> &a, int64_t b, const float *weights, float *shared, Put put) {
    for (int strip = 0; strip < a.width; strip += GROUP_COLUMNS) {
        float sum[PACK] = {}, v[PACK];
        for (int n = group_number(); n < a.slots; n += GROUPS) {
            pack_load(v, address_row(a, b, n), strip + group_lane() * PACK, a.width, a.wide);
            for (int j = 0; j < PACK; j++) sum[j] += weights[n] * v[j];
        }
        float total = group_columns(sum, shared);
        if (simt_warp() == 0 && strip + simt_lane() < a.width) put(strip + simt_lane(), total);
    }
}

/* Where the gradients of a sample's key and strength go. */
template <typename T> struct address_gradients {
    matrix<T> dkey, dstrength; /* data NULL: not wanted */
    float *g;
    bool add_key, add_strength;
};

/* From dw, which the block left in the sample's row of g: g, and the gradients of key and strength. `shared`:
 * STRIP_FLOATS. */
template <typename T>
SIMT_DEVICE void address_back(const content_address<T> &a, const address_gradients<T> &to, int64_t b, float *shared) {
    const float *w = a.weights.row(b), *s = a.similarities.row(b), *norms = a.row_norms.row(address_own(a, b));
    float *g = to.g + b * a.slots, mean = 0.0f, dbeta = 0.0f, beta = address_beta(a, b), norm = *a.key_norms.row(b);
    int first = static_cast<int>(threadIdx.x);
    simt_block_sync();
    for (int n = first; n < a.slots; n += ROW_THREADS) mean += g[n] * w[n];
    mean = block_sum(mean, shared);
    for (int n = first; n < a.slots; n += ROW_THREADS) {
        float da = w[n] * (g[n] - mean);
        dbeta += da * s[n];
        g[n] = beta / norm * da / norms[n];
    }
    dbeta = block_sum(dbeta, shared); /* its barriers show g to the block */
    if (to.dstrength.data && threadIdx.x == 0) {
        deliver(to.dstrength.row(b), dbeta * address_beta_slope(a, b), to.add_strength);
    }
    if (!to.dkey.data) return;
    float pull = norm > ADDRESS_LEAST ? beta * dbeta / norm / norm : 0.0f;
    address_mix(a, b, g, shared, [&](int m, float sum) {
        deliver(&to.dkey.row(b)[m], sum - pull * simt_float(a.key.row(b)[m]), to.add_key);
    });
}

/* The gradient of the memory's rows: a thread has `PACK` columns of one. */
template <typename T> struct address_rows {
    content_address<T> address;
    const float *g;
    matrix<float> dmemory;
    int64_t rows;
    int packs, ways; /* of a row; warps that share the samples */
    bool wide, add;  /* wide: all that is read and written, whole packs */
};

/* What a lane has found for its columns, among the lanes of the block. */
SIMT_DEVICE float *row_share(float *shared, int warp) { return shared + (warp * 32 + simt_lane()) * (PACK + 1); }
enum { ROW_SHARES = ROW_THREADS * (PACK + 1) };

/* term(b, n, at, sum) adds what sample b has for columns at .. at + 3 of its row n, g key excepted. `shared`:
 * ROW_SHARES. */
template <typename T, typename Term>
SIMT_DEVICE void address_row_gradient(const address_rows<T> &r, float *shared, Term term) {
    const content_address<T> &a = r.address;
    int64_t item = (int64_t)blockIdx.x * (ROW_WARPS / r.ways) + simt_warp() / r.ways;
    item = item * 32 + simt_lane();
    int64_t row = item / r.packs, own = row / a.slots;
    int at = static_cast<int>(item % r.packs) * PACK, n = static_cast<int>(row % a.slots), way = simt_warp() % r.ways;
    int64_t end = row >= r.rows ? 0 : a.shared_memory ? a.batch : own + 1;
    float sum[PACK] = {}, pull = 0.0f, v[PACK];
    for (int64_t b = (a.shared_memory ? 0 : own) + way; b < end; b += r.ways) {
        float g = r.g[b * a.slots + n];
        pack_load(v, a.key.row(b), at, a.width, r.wide);
        for (int j = 0; j < PACK; j++) sum[j] += g * v[j];
        term(b, n, at, sum);
        pull += g * a.similarities.row(b)[n] * *a.key_norms.row(b);
    }
    float *share = row_share(shared, simt_warp());
    for (int j = 0; j < PACK; j++) share[j] = sum[j];
    share[PACK] = pull;
    simt_block_sync();
    if (way != 0 || row >= r.rows) return;
    for (int w = 1; w < r.ways; w++) {
        share = row_share(shared, simt_warp() + w);
        for (int j = 0; j < PACK; j++) sum[j] += share[j];
        pull += share[PACK];
    }
    float norm = a.row_norms.row(own)[n];
    pull = norm > ADDRESS_LEAST ? pull / norm : 0.0f;
    pack_load(v, a.memory.row(row), at, a.width, r.wide);
    for (int j = 0; j < PACK; j++) sum[j] -= pull * v[j];
    pack_deliver(r.dmemory.row(row), at, a.width, r.wide, sum, r.add);
}

/* Sizes and inputs; the rest from what the op saves. */
template <typename T> static content_address<T> address_inputs(const mmrec_op_call *call, int memory) {
    content_address<T> a = {};
    a.key = matrix_of<const T>(call->in[ADDRESS_KEY]);
    a.strength = matrix_of<const T>(call->in[ADDRESS_STRENGTH]);
    a.memory = matrix_of<const float>(call->in[memory]);
    a.batch = MMREC_SIZE(call->sizes, B);
    a.slots = static_cast<int>(MMREC_SIZE(call->sizes, N));
    a.width = static_cast<int>(MMREC_SIZE(call->sizes, M));
    a.shared_memory = mmrec_shape_rows(&call->in[memory].shape) == a.slots;
    a.wide = packs(call->in[ADDRESS_KEY]) && packs(call->in[memory]);
    return a;
}
template <typename T> static content_address<T> address_of(const mmrec_op_call *call, int memory, bool twice) {
    content_address<T> a = address_inputs<T>(call, memory);
    a.weights = matrix_of<float>(call->saved[0]);
    a.similarities = matrix_of<float>(call->saved[1]);
    a.row_norms = matrix_of<float>(call->saved[2]);
    a.key_norms = matrix_of<float>(call->saved[3]);
    a.twice = twice;
    return a;
}

template <typename T> static address_gradients<T> address_gradients_of(const mmrec_op_call *call) {
    return {matrix_of<T>(call->d_in[ADDRESS_KEY]), matrix_of<T>(call->d_in[ADDRESS_STRENGTH]),
            static_cast<float *>(call->scratch), call_adds(call, ADDRESS_KEY), call_adds(call, ADDRESS_STRENGTH)};
}

/* `wide`: whether what the term reads is. */
template <typename T>
static address_rows<T> address_rows_of(const mmrec_op_call *call, const content_address<T> &a, int memory, bool wide) {
    const mmrec_view &to = call->d_in[memory];
    address_rows<T> r = {a, static_cast<const float *>(call->scratch), matrix_of<float>(to), 0, 0, 1, false, false};
    r.rows = mmrec_shape_rows(&to.shape);
    r.packs = (a.width + PACK - 1) / PACK;
    r.ways = a.shared_memory && a.batch > 1 ? ROW_WARPS : 1;
    r.wide = a.wide && wide && packs(to);
    r.add = call_adds(call, memory);
    return r;
}

/* Blocks of one sample each. */
static inline simt_shape address_shape(int64_t batch, int floats) {
    return {static_cast<unsigned>(batch), ROW_THREADS, static_cast<size_t>(floats) * sizeof(float), SIMT_FREE, 0};
}
template <typename T> static simt_shape address_rows_shape(const address_rows<T> &r) {
    int64_t together = 32 * (ROW_WARPS / r.ways), blocks = (r.rows * r.packs + together - 1) / together;
    return {static_cast<unsigned>(blocks), ROW_THREADS, ROW_SHARES * sizeof(float), SIMT_FREE, 0};
}

static inline mmrec_status address_check(const char *op, const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(row_check(op, MMREC_SIZE(call->sizes, M), error));
    return row_check(op, MMREC_SIZE(call->sizes, N), error);
}

#endif
