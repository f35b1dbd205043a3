/* The product of a time step: a block's sums over the inner axis, for up to 8 batch rows at once.
 *
 * Weights come in fragments, 16 bytes a lane, 512 a warp, packed in the order in which they are used
 * (recurrence_pack.cuh). A fragment of tile k is held in registers, lies in shared memory, or is loaded from the
 * second-level cache: in that order, as far as each reaches. Layout of the sums: sum j of row n is at j * 8 + (j / 4) *
 * 8 + n.
 *
 * tensor_tile   bf16. A fragment is the 16 sums x 16 values of an mma.sync.m16n8k16. Warp w takes the tiles k = w, w +
 * 8,
 *               ... of the inner axis; the sums of the 8 warps are added in the order of the warps by whoever reads
 * them. wgmma (from 64 sums of 16 on up) reaches 95 % of the tensor rate against 63 %, but a step of 8 rows is bound by
 * latency: at D = 1024 a warp has 8 instructions, about 0.15 us. plain_tile    the same sums without tensor cores: what
 * the emulation runs, and what the check on first use trusts. float_tile    float. A fragment is one sum x 128 values,
 * 4 for each lane. Warp w has sums w * 2 tiles and up, 2 or 4 at a time, over the whole inner axis; lanes are added by
 * a tree (masks 16, 8, 4, 2, 1). With 4 sums and 8 rows there are 128 multiply-adds for 12 loads of 16 bytes from
 * shared memory. */
#ifndef MMREC_RECURRENCE_TILE_CUH
#define MMREC_RECURRENCE_TILE_CUH

#include "device.cuh"
#include "recurrence_plan.h"

#include <string.h>

#if defined(__CUDACC__)
#define RECURRENCE_UNROLL _Pragma("unroll")
#else
#define RECURRENCE_UNROLL
#endif

/* The block's weights: tile k has `per_block` fragments for this block, `per_tile` for all. */
struct weight_source {
    const uint4 *panel, *shared; /* both at this block's first fragment, this lane */
    int64_t per_tile;
    int per_block, shared_first, shared_end; /* tiles in shared memory */
    SIMT_DEVICE uint4 load(int k, int fragment) const {
        if (k >= shared_first && k < shared_end) {
            return shared[((k - shared_first) * per_block + fragment) * 32];
        }
        return panel[(k * per_tile + fragment) * 32];
    }
};

/* The staged state: rows of `stride` elements, of which the inner axis' tiles [first, end) are there. */
struct state_stage {
    const unsigned char *data;
    int stride, rows, first, end;
};

SIMT_DEVICE int sum_slot(int sum, int row) { return sum * 8 + (sum >> 2) * 8 + row; }

SIMT_DEVICE float bf16_low(uint32_t pair) { return __uint_as_float(pair << 16); }
SIMT_DEVICE float bf16_high(uint32_t pair) { return __uint_as_float(pair & 0xFFFF0000u); }
SIMT_DEVICE uint32_t bf16_pair(float low, float high) {
    simt_bf16 two[2] = {simt_cast<simt_bf16>(low), simt_cast<simt_bf16>(high)};
    uint32_t pair;
    memcpy(&pair, two, sizeof pair);
    return pair;
}

#if defined(__CUDACC__)
/* c += a b: a 16 x 16 by rows, b 16 x 8 by columns, each as mma.sync.m16n8k16 spreads them over a warp. */
struct tensor_core {
    SIMT_DEVICE static void multiply(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
    }
};
#endif

/* The same by shuffles: lane 4 g + t has rows g and g + 8 of a and column g of b at values 2t, 2t + 1, 2t + 8, 2t + 9,
 * and keeps columns 2t and 2t + 1 of rows g and g + 8 of c. */
struct plain_core {
    SIMT_DEVICE static float dot(uint32_t a, uint32_t b, float c) {
        return c + bf16_low(a) * bf16_low(b) + bf16_high(a) * bf16_high(b);
    }
    SIMT_DEVICE static void multiply(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
        int group = simt_lane() / 4, column = simt_lane() % 4 * 2;
        for (int from = 0; from < 4; from++) {
            int mine = group * 4 + from, left = column * 4 + from, right = left + 4;
            uint32_t low = simt_shuffle(a.x, mine), low_under = simt_shuffle(a.y, mine);
            uint32_t high = simt_shuffle(a.z, mine), high_under = simt_shuffle(a.w, mine);
            uint32_t l0 = simt_shuffle(b0, left), l1 = simt_shuffle(b1, left);
            uint32_t r0 = simt_shuffle(b0, right), r1 = simt_shuffle(b1, right);
            c[0] = dot(high, l1, dot(low, l0, c[0]));
            c[1] = dot(high, r1, dot(low, r0, c[1]));
            c[2] = dot(high_under, l1, dot(low_under, l0, c[2]));
            c[3] = dot(high_under, r1, dot(low_under, r0, c[3]));
        }
    }
};

template <typename Core, int TILES> struct bf16_tile {
    typedef simt_bf16 element;
    enum {
        BF16 = 1,
        COUNT = TILES,
        INNER = RECURRENCE_TILE_BF16,
        SETS = RECURRENCE_WARPS,
        HELD = TILES == 1 ? 16 : RECURRENCE_MOST_HELD / TILES
    };
    uint4 held[HELD * TILES];
    float sum[TILES][4];

    /* Tiles of the inner axis beyond `count` are never used. */
    SIMT_DEVICE void hold(const weight_source &w, int count) {
        RECURRENCE_UNROLL
        for (int i = 0; i < HELD; i++) {
            int k = simt_warp() + i * RECURRENCE_WARPS;
            RECURRENCE_UNROLL
            for (int f = 0; f < TILES; f++) held[i * TILES + f] = k < count ? w.load(k, f) : make_uint4(0, 0, 0, 0);
        }
    }
    SIMT_DEVICE void begin() {
        RECURRENCE_UNROLL
        for (int f = 0; f < TILES; f++) sum[f][0] = sum[f][1] = sum[f][2] = sum[f][3] = 0.0f;
    }
    /* The two words of the state that this lane brings to a multiplication. */
    SIMT_DEVICE static void column(const state_stage &s, int k, uint32_t &b0, uint32_t &b1) {
        const element *row = reinterpret_cast<const element *>(s.data) + simt_lane() / 4 * s.stride;
        const uint32_t *at = reinterpret_cast<const uint32_t *>(row + (k - s.first) * INNER) + simt_lane() % 4;
        b0 = at[0];
        b1 = at[4];
    }
    SIMT_DEVICE void add(const weight_source &w, const state_stage &s, float *) {
        uint32_t b0, b1;
        if (s.first == 0) {
            RECURRENCE_UNROLL
            for (int i = 0; i < HELD; i++) {
                int k = simt_warp() + i * RECURRENCE_WARPS;
                if (k < s.end) {
                    column(s, k, b0, b1);
                    RECURRENCE_UNROLL
                    for (int f = 0; f < TILES; f++) Core::multiply(sum[f], held[i * TILES + f], b0, b1);
                }
            }
        }
        int first = s.first == 0 ? HELD * RECURRENCE_WARPS : s.first;
        for (int k = first + simt_warp(); k < s.end; k += RECURRENCE_WARPS) {
            column(s, k, b0, b1);
            RECURRENCE_UNROLL
            for (int f = 0; f < TILES; f++) Core::multiply(sum[f], w.load(k, f), b0, b1);
        }
    }
    SIMT_DEVICE void store(float *sums) const {
        float *mine = sums + simt_warp() * TILES * RECURRENCE_TILE_SUMS * 10;
        int group = simt_lane() / 4, row = simt_lane() % 4 * 2;
        RECURRENCE_UNROLL
        for (int f = 0; f < TILES; f++) {
            int top = f * RECURRENCE_TILE_SUMS + group;
            *reinterpret_cast<float2 *>(mine + sum_slot(top, row)) = make_float2(sum[f][0], sum[f][1]);
            *reinterpret_cast<float2 *>(mine + sum_slot(top + 8, row)) = make_float2(sum[f][2], sum[f][3]);
        }
    }
};
#if defined(__CUDACC__)
template <int TILES> using tensor_tile = bf16_tile<tensor_core, TILES>;
#else
template <int TILES> using tensor_tile = bf16_tile<plain_core, TILES>;
#endif
template <int TILES> using plain_tile = bf16_tile<plain_core, TILES>;

/* The sum over lanes of COUNT values (a power of two up to 32): lane l gets value l * COUNT / 32. Where two values are
 * still to be summed by two halves of the lanes, each half takes one: 31 shuffles for 32 values in place of 160. */
template <int COUNT> SIMT_DEVICE float lanes_sum(float (&v)[COUNT], int mask = 16) {
    if constexpr (COUNT == 1) {
        for (; mask > 0; mask /= 2) v[0] += simt_shuffle_xor(v[0], mask);
        return v[0];
    } else {
        bool upper = (simt_lane() & mask) != 0;
        float mine[COUNT / 2];
        RECURRENCE_UNROLL
        for (int i = 0; i < COUNT / 2; i++) {
            float away = upper ? v[i] : v[i + COUNT / 2], kept = upper ? v[i + COUNT / 2] : v[i];
            mine[i] = kept + simt_shuffle_xor(away, mask);
        }
        return lanes_sum(mine, mask / 2);
    }
}

template <int TILES> struct float_tile {
    typedef float element;
    enum {
        BF16 = 0,
        COUNT = TILES,
        INNER = RECURRENCE_TILE_F32,
        SETS = 1,
        SUMS = TILES * RECURRENCE_TILE_SUMS / RECURRENCE_WARPS, /* of a warp */
        AT_ONCE = SUMS < 4 ? SUMS : 4
    };
    SIMT_DEVICE void hold(const weight_source &, int) {}
    SIMT_DEVICE void begin() {}

    SIMT_DEVICE static void multiply(float &sum, const uint4 &w, const float4 &x) {
        sum = fmaf(__uint_as_float(w.x), x.x, sum);
        sum = fmaf(__uint_as_float(w.y), x.y, sum);
        sum = fmaf(__uint_as_float(w.z), x.z, sum);
        sum = fmaf(__uint_as_float(w.w), x.w, sum);
    }
    /* Sums [first, first + AT_ONCE) for rows 0 .. ROWS - 1; later stages add to what earlier ones left. */
    template <int ROWS>
    SIMT_DEVICE static void block(const weight_source &w, const state_stage &s, int first, float *sums) {
        float sum[AT_ONCE * ROWS] = {};
        const element *state = reinterpret_cast<const element *>(s.data) + simt_lane() * 4;
        for (int k = s.first; k < s.end; k++) {
            float4 x[ROWS];
            RECURRENCE_UNROLL
            for (int n = 0; n < ROWS; n++) {
                x[n] = *reinterpret_cast<const float4 *>(state + n * s.stride + (k - s.first) * INNER);
            }
            RECURRENCE_UNROLL
            for (int j = 0; j < AT_ONCE; j++) {
                uint4 weight = w.load(k, first + j);
                RECURRENCE_UNROLL
                for (int n = 0; n < ROWS; n++) multiply(sum[j * ROWS + n], weight, x[n]);
            }
        }
        float all = lanes_sum(sum);
        int spread = 32 / (AT_ONCE * ROWS), value = simt_lane() / spread;
        if (simt_lane() % spread != 0) return;
        float *to = sums + sum_slot(first + value / ROWS, value % ROWS);
        *to = s.first == 0 ? all : *to + all;
    }
    template <int ROWS> SIMT_DEVICE static void rows(const weight_source &w, const state_stage &s, float *sums) {
        int first = simt_warp() * SUMS;
        for (int done = 0; done < SUMS; done += AT_ONCE) block<ROWS>(w, s, first + done, sums);
    }
    SIMT_DEVICE void add(const weight_source &w, const state_stage &s, float *sums) const {
        if (s.rows == 1) {
            rows<1>(w, s, sums);
        } else if (s.rows == 2) {
            rows<2>(w, s, sums);
        } else if (s.rows <= 4) {
            rows<4>(w, s, sums);
        } else {
            rows<8>(w, s, sums);
        }
    }
    SIMT_DEVICE void store(float *) const {}
};

#endif
