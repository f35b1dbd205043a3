/* What happens around the loop over time: packing of weights, rounding to bf16, and setting the first steps apart.
 *
 * One pass over the weights a call (50 MB at D = 2048, 17 us at 3 TB/s) buys 16-byte loads without a tail for every
 * step, the transposed weights of the backward pass and the rounding of bf16 = 1. */
#ifndef MMREC_RECURRENCE_PACK_CUH
#define MMREC_RECURRENCE_PACK_CUH

#include "recurrence_tile.cuh"

enum { PACK_THREADS = 256, PACK_WAVES = 8 };

/* Sum j, value k of the inner axis as the product wants them; zeros pad. Forward: j counts units and, within them, the
 * gates; k is a unit of h. Backward: j is a unit; k is a unit of A g, or a unit of M g after `part`. */
struct recurrence_weights {
    matrix<const float> gate, mdi; /* Wg, [U Wh] */
    int width, part;
    bool backward;
    SIMT_DEVICE float at(int64_t j, int64_t k) const {
        int64_t to = backward ? k % part : j / 2, from = backward ? j : k;
        bool second = backward ? k >= part : j % 2 == 1;
        if (to >= width || from >= width) return 0.0f;
        return second ? mdi.row(to)[width + from] : gate.row(to)[from];
    }
};

/* A thread packs 16 bytes at a time; then `words` 16-byte words of exchange buffers are cleared, and the arrivals of a
 * grid barrier that a call before left waiting. */
template <bool BF16>
SIMT_KERNEL(PACK_THREADS)
k_recurrence_pack(recurrence_weights w, uint4 *panel, int64_t fragments, int64_t per_tile, uint4 *exchange,
                  int64_t words, unsigned *barrier) {
    int64_t start = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = start; i < fragments * 32; i += stride) {
        int64_t lane = i % 32, sum = i / 32 % per_tile, tile = i / 32 / per_tile;
        if constexpr (BF16) {
            int64_t j = sum * RECURRENCE_TILE_SUMS + lane / 4, k = tile * RECURRENCE_TILE_BF16 + lane % 4 * 2;
            panel[i] = make_uint4(bf16_pair(w.at(j, k), w.at(j, k + 1)), bf16_pair(w.at(j + 8, k), w.at(j + 8, k + 1)),
                                  bf16_pair(w.at(j, k + 8), w.at(j, k + 9)),
                                  bf16_pair(w.at(j + 8, k + 8), w.at(j + 8, k + 9)));
        } else {
            int64_t k = tile * RECURRENCE_TILE_F32 + lane * 4;
            panel[i] = make_uint4(__float_as_uint(w.at(sum, k)), __float_as_uint(w.at(sum, k + 1)),
                                  __float_as_uint(w.at(sum, k + 2)), __float_as_uint(w.at(sum, k + 3)));
        }
    }
    for (int64_t i = start; i < words; i += stride) exchange[i] = make_uint4(0, 0, 0, 0);
    if (start == 0) barrier[0] = 0;
}

/* Rows of floats as bf16, nearest even. */
SIMT_KERNEL(PACK_THREADS)
k_recurrence_round(matrix<const float> from, matrix<simt_bf16> to, int64_t columns, int64_t count) {
    int64_t stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        to.row(i / columns)[i % columns] = simt_cast<simt_bf16>(from.row(i / columns)[i % columns]);
    }
}

/* Of two dense (B, T, D) tensors, step 0 goes to the (B, D) tensors `to` and becomes zero. The products for dWg and dWh
 * pair row r with row r - 1 of h, which is the step before for all other rows. */
SIMT_KERNEL(PACK_THREADS)
k_recurrence_first(float *gated, float *mixed, float *to, int64_t batch, int64_t steps, int64_t width) {
    int64_t stride = (int64_t)gridDim.x * blockDim.x, count = batch * width;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        int64_t at = i / width * steps * width + i % width;
        to[i] = gated[at];
        to[count + i] = mixed[at];
        gated[at] = mixed[at] = 0.0f;
    }
}

#endif
