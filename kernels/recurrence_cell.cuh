/* The elementwise part of a step, for a pair of units of one batch row, and the loop over iterations around it.
 *
 * Forward, iteration i > 0 is step t = i - 1: from the sums Wg h and Wh h to h_t. Iteration 0 only hands on h0.
 * Backward, iteration i is step t = T - 1 - i: from the sum Wg^T (A g) + Wh^T (M g) of step t + 1 to g_t and what
 * follows from it; iteration T delivers the gradient of h0.
 *
 * What a step reads besides the state is asked for before the wait, so that it arrives meanwhile. Where a block has one
 * chunk of rows in a persistent kernel, h_{t-1} (backward: c g) stays in registers, else it comes back from memory,
 * which only this thread has written.
 *
 * Where a product meets a sum, it is written out whether the two are one instruction (fmaf) or not (simt_product): left
 * to itself the compiler chooses anew in every instance of the kernels, and all of them must give the same bits. */
#ifndef MMREC_RECURRENCE_CELL_CUH
#define MMREC_RECURRENCE_CELL_CUH

#include "recurrence_exchange.cuh"

static const float recurrence_mix = 0.1f; /* weight of the MDI state in h */

/* What a thread works on: two neighbouring units, of which `count` exist. */
struct recurrence_item {
    int n, row, unit, pair, count; /* row n of the chunk, batch row; first unit; pair among the block's */
};

SIMT_DEVICE recurrence_item recurrence_item_of(const recurrence_frame &f, const recurrence_block &k, int chunk) {
    recurrence_item it;
    it.n = static_cast<int>(threadIdx.x) % RECURRENCE_ROWS;
    it.pair = static_cast<int>(threadIdx.x) / RECURRENCE_ROWS;
    it.row = chunk * f.rows + it.n;
    it.unit = k.rank * f.units + 2 * it.pair;
    bool mine = 2 * it.pair < f.units && it.n < f.rows && it.row < f.batch && it.unit < f.width;
    it.count = !mine ? 0 : it.unit + 1 < f.width ? 2 : 1;
    return it;
}

struct forward_cell {
    enum { GATES = 2, PARTS = 1, MOST_TILES = RECURRENCE_MOST_FORWARD };
    matrix<const float> z, gamma, h0;
    const float *gate_bias;
    matrix<float> h, n, m; /* m holds U z + bm until it is replaced; n may be absent */

    struct input {
        float z[2], gamma[2], gate[2], mixed[2];
    };
    SIMT_DEVICE void fetch(const recurrence_frame &f, const recurrence_item &it, int i, bool fresh, float (&before)[2],
                           input &in) const {
        int64_t at = (int64_t)it.row * f.steps + i - 1;
        RECURRENCE_UNROLL
        for (int q = 0; q < 2; q++) {
            if (q >= it.count) continue;
            int unit = it.unit + q;
            if (fresh) before[q] = i <= 1 ? h0.row(it.row)[unit] : h.row(at - 1)[unit];
            if (i == 0) continue;
            in.z[q] = z.row(at)[unit];
            in.gamma[q] = gamma.row(at)[unit];
            in.gate[q] = gate_bias[unit];
            in.mixed[q] = m.row(at)[unit];
        }
    }
    SIMT_DEVICE void step(const recurrence_frame &f, const recurrence_item &it, int i, const float *sums,
                          float (&before)[2], const input &in, float (&state)[PARTS][2]) const {
        int64_t at = (int64_t)it.row * f.steps + i - 1;
        RECURRENCE_UNROLL
        for (int q = 0; q < 2; q++) {
            if (q >= it.count) continue;
            if (i > 0) {
                int unit = it.unit + q;
                float a = sigmoid(in.gate[q] + sums[2 * q]), mix = sigmoid(in.mixed[q] + sums[2 * q + 1]);
                float kept = in.gamma[q] * before[q];
                float state_n = fmaf(mix, in.z[q], fmaf(1.0f - mix, before[q], kept));
                before[q] = fmaf(recurrence_mix, state_n, fmaf(in.z[q], a, kept));
                m.row(at)[unit] = mix;
                h.row(at)[unit] = before[q];
                if (n.data) n.row(at)[unit] = state_n;
            }
            state[0][q] = before[q];
        }
    }
};

struct backward_cell {
    enum { GATES = 1, PARTS = 2, MOST_TILES = RECURRENCE_MOST_BACKWARD };
    matrix<const float> z, gamma, h0, h, m, dh;
    const float *gate_bias;
    matrix<float> dz, dgamma, dh0; /* each may be absent */
    bool add_z, add_gamma, add_h0;
    float *gated, *mixed, *first, *carry; /* dense, see launchers */

    struct input {
        float z[2], gamma[2], a[2], m[2], before[2], dh[2];
    };
    /* `gated` at step t holds Wg h_t, the sum of step t + 1, until A g of step t replaces it. */
    SIMT_DEVICE void fetch(const recurrence_frame &f, const recurrence_item &it, int i, bool fresh, float (&kept)[2],
                           input &in) const {
        int t = f.steps - 1 - i;
        int64_t at = (int64_t)it.row * f.steps + t;
        RECURRENCE_UNROLL
        for (int q = 0; q < 2; q++) {
            if (q >= it.count) continue;
            int unit = it.unit + q;
            if (fresh && i > 0) kept[q] = carry[(int64_t)it.row * f.width + unit];
            if (t < 0) continue;
            in.z[q] = z.row(at)[unit];
            in.gamma[q] = gamma.row(at)[unit];
            in.m[q] = m.row(at)[unit];
            in.dh[q] = dh.row(at)[unit];
            in.before[q] = t > 0 ? h.row(at - 1)[unit] : h0.row(it.row)[unit];
            in.a[q] =
                gate_bias[unit] + (t > 0 ? gated[(at - 1) * f.width + unit] : first[(int64_t)it.row * f.width + unit]);
        }
    }
    SIMT_DEVICE void step(const recurrence_frame &f, const recurrence_item &it, int i, const float *sums,
                          float (&kept)[2], const input &in, float (&state)[PARTS][2]) const {
        int t = f.steps - 1 - i;
        int64_t at = (int64_t)it.row * f.steps + t;
        RECURRENCE_UNROLL
        for (int q = 0; q < 2; q++) {
            if (q >= it.count) continue;
            int unit = it.unit + q;
            float g = i > 0 ? kept[q] + sums[q] : 0.0f;
            if (t < 0) {
                if (dh0.data) deliver(&dh0.row(it.row)[unit], g, add_h0);
                continue;
            }
            g += in.dh[q];
            float a = sigmoid(in.a[q]), open = 1.0f - in.m[q];
            float ag = in.z[q] * a * (1.0f - a) * g;
            float mg = recurrence_mix * (in.z[q] - in.before[q]) * in.m[q] * open * g;
            kept[q] = simt_product(fmaf(recurrence_mix, open + in.gamma[q], in.gamma[q]), g);
            carry[(int64_t)it.row * f.width + unit] = kept[q];
            gated[at * f.width + unit] = state[0][q] = ag;
            mixed[at * f.width + unit] = state[1][q] = mg;
            if (dz.data) deliver(&dz.row(at)[unit], simt_product(g, fmaf(recurrence_mix, in.m[q], a)), add_z);
            if (dgamma.data) {
                deliver(&dgamma.row(at)[unit], simt_product((1.0f + recurrence_mix) * g, in.before[q]), add_gamma);
            }
        }
    }
};

/* All of state i against the block's weights; false when the state never came. */
template <typename Tile>
SIMT_DEVICE bool recurrence_product(const recurrence_frame &f, const recurrence_block &k, const weight_source &w, int i,
                                    int first, int rows, Tile &tile) {
    tile.begin();
    for (int from = 0; from < f.depth; from += f.stage) {
        int end = from + f.stage < f.depth ? from + f.stage : f.depth;
        if (from > 0) simt_block_sync();
        if (!gather<Tile>(f, k, i, first, rows, from, end)) return false;
        const unsigned char *at = k.state + (f.way == MMREC_RECURRENCE_CLUSTER ? (i & 1) * k.state_bytes : 0);
        state_stage stage = {at, k.stride, rows, from / Tile::INNER, end / Tile::INNER};
        tile.add(w, stage, k.sums);
    }
    tile.store(k.sums);
    simt_block_sync();
    return true;
}

/* The sums of a pair: gates side by side, the warps' parts in their order. */
template <typename Tile, typename Cell>
SIMT_DEVICE void pair_sums(const recurrence_block &k, const recurrence_item &it, float (&sums)[2 * Cell::GATES]) {
    RECURRENCE_UNROLL
    for (int q = 0; q < 2 * Cell::GATES; q++) {
        const float *at = k.sums + sum_slot(2 * Cell::GATES * it.pair + q, it.n);
        sums[q] = at[0];
        for (int set = 1; set < Tile::SETS; set++) sums[q] += at[set * Tile::COUNT * RECURRENCE_TILE_SUMS * 10];
    }
}

/* One iteration for one chunk of batch rows. `kept`: what the cell carries from step to step, in registers if not
 * `fresh`. */
template <typename Tile, typename Cell>
SIMT_DEVICE bool recurrence_iteration(const recurrence_frame &f, const recurrence_block &k, const weight_source &w,
                                      const Cell &cell, Tile &tile, int i, int chunk, bool fresh, float (&kept)[2]) {
    int first = chunk * f.rows, rows = f.batch - first < f.rows ? f.batch - first : f.rows;
    recurrence_item it = recurrence_item_of(f, k, chunk);
    typename Cell::input in = {};
    float sums[2 * Cell::GATES] = {}, state[Cell::PARTS][2] = {};
    cell.fetch(f, it, i, fresh, kept, in);
    if (i > 0) {
        if (!recurrence_product(f, k, w, i - 1, first, rows, tile)) return false;
        if (it.count > 0) pair_sums<Tile, Cell>(k, it, sums);
    }
    cell.step(f, it, i, sums, kept, in, state);
    if (i + 1 == f.total) return true;
    expect<Tile>(f, k, i, rows);
    RECURRENCE_UNROLL
    for (int part = 0; part < Cell::PARTS; part++) {
        if (it.count == 0) continue;
        publish<Tile>(f, k, i, it.row, it.n, part * f.part + it.unit, state[part][0], state[part][1]);
    }
    return true;
}

template <typename Tile, typename Cell> SIMT_DEVICE void recurrence_run(const recurrence_frame &f, const Cell &cell) {
    recurrence_block k = recurrence_block_of<Tile>(f);
    enter<Tile>(f, k);
    if (k.rank < f.blocks) {
        int fragments = Tile::COUNT * (Tile::BF16 ? 1 : RECURRENCE_TILE_SUMS);
        weight_source w = {f.panel + (int64_t)k.rank * fragments * 32 + simt_lane(),
                           k.weights + simt_lane(),
                           f.per_tile,
                           fragments,
                           f.shared_first,
                           f.resident};
        Tile tile;
        tile.hold(w, f.depth / Tile::INNER);
        float kept[2] = {};
        bool good = true, one = f.chunks <= f.groups;
        for (int i = f.first; i < f.last && good; i++) {
            if (f.way == MMREC_RECURRENCE_BARRIER && i > f.first) {
                good = simt_grid_sync(f.barrier, f.spin_limit);
                if (!good && threadIdx.x == 0) recurrence_gave_up(f, i);
            }
            for (int chunk = k.group; chunk < f.chunks && good; chunk += f.groups) {
                good = recurrence_iteration(f, k, w, cell, tile, i, chunk, !one || i == f.first, kept);
            }
        }
    }
    leave(f);
}

#endif
