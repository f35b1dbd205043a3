/* Dropout as kernels apply it, alone (dropout) or behind their own arithmetic (gelu, combine): host/ops/mask.h on a
 * device, with the same decisions bit for bit. Ten rounds of Philox give four elements their numbers, about 80
 * instructions, beside 32 bytes of memory traffic or more; storing masks would cost a byte an element, written
 * once and read twice. */
#ifndef MMREC_MASK_CUH
#define MMREC_MASK_CUH

#include "each.cuh"

struct mask {
    const uint64_t *seed; /* on the device: a captured graph draws anew when it changes */
    uint64_t stream;
    float p, scale; /* kept elements are multiplied by it */
};

/* `attr_p`: number of the attribute p; stream follows it. */
static inline mask mask_of(const mmrec_op_call *call, int attr_p) {
    double p = call->sizes->attr[attr_p];
    return {call->seed_at, static_cast<uint64_t>(call->sizes->attr[attr_p + 1]), static_cast<float>(p),
            static_cast<float>(1 / (1 - p))};
}

/* The N words (at most four) from number `index` on. They begin inside a block of four where rows are not multiples of
 * four long: then one block more is drawn, and the words are shifted by selections, since an array indexed by a
 * variable would lie in memory. */
template <int N> SIMT_DEVICE void mask_words(const mask &m, uint64_t seed, uint64_t index, uint32_t (&word)[N]) {
    constexpr int BLOCKS = N == 1 ? 1 : 2, WORDS = 4 * BLOCKS;
    unsigned before = static_cast<unsigned>(index & 3u);
    uint32_t w[WORDS] = {};
    for (int b = 0; b < BLOCKS; b++) {
        if (static_cast<unsigned>(4 * b) >= before + N) continue;
        mmrec_rng_block block = mmrec_rng_philox(seed, m.stream, (index >> 2) + static_cast<unsigned>(b));
        for (int k = 0; k < 4; k++) w[4 * b + k] = block.word[k];
    }
    for (int i = 0; i + 1 < WORDS; i++) w[i] = before & 1u ? w[i + 1] : w[i];
    for (int i = 0; i + 2 < WORDS; i++) w[i] = before & 2u ? w[i + 2] : w[i];
    for (int i = 0; i < N; i++) word[i] = w[i];
}

/* v / (1 - p) where the mask keeps the element, else 0; v[0] has number `index`. Nothing happens where p is 0. */
template <int N> SIMT_DEVICE void mask_pass(const mask &m, uint64_t index, float (&v)[N]) {
    constexpr int AT_ONCE = N < 4 ? N : 4;
    if (!(m.p > 0.0f)) return;
    uint64_t seed = *m.seed;
    unsigned keep = 0; /* a bit an element: eight numbers at once cost 60 registers, half the threads */
#pragma unroll 1
    for (int i = 0; i < N; i += AT_ONCE) {
        uint32_t word[AT_ONCE];
        mask_words<AT_ONCE>(m, seed, index + static_cast<unsigned>(i), word);
        for (int k = 0; k < AT_ONCE; k++) keep |= (mmrec_rng_unit(word[k]) >= m.p ? 1u : 0u) << (i + k);
    }
    for (int i = 0; i < N; i++) v[i] = (keep >> i) & 1u ? v[i] * m.scale : 0.0f;
}

#endif
