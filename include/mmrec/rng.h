/* Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11).
 *
 * A number is addressed by (seed, stream, index): no state is carried, so any thread, block or device draws the
 * same number for the same address. Key = seed (low word, high word); counter = index (low, high), stream (low, high).
 * Plain inline C that CUDA C++ can include. */
#ifndef MMREC_RNG_H
#define MMREC_RNG_H

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define MMREC_RNG_INLINE static inline __host__ __device__
#else
#define MMREC_RNG_INLINE static inline
#endif

typedef struct mmrec_rng_block {
    uint32_t word[4];
} mmrec_rng_block;

/* One Philox round: two 32x32 -> 64 multiplications by the published constants. */
MMREC_RNG_INLINE mmrec_rng_block mmrec_rng_round(mmrec_rng_block counter, uint32_t key0, uint32_t key1) {
    uint64_t product0 = (uint64_t)0xD2511F53u * counter.word[0];
    uint64_t product1 = (uint64_t)0xCD9E8D57u * counter.word[2];
    mmrec_rng_block next;
    next.word[0] = (uint32_t)(product1 >> 32) ^ counter.word[1] ^ key0;
    next.word[1] = (uint32_t)product1;
    next.word[2] = (uint32_t)(product0 >> 32) ^ counter.word[3] ^ key1;
    next.word[3] = (uint32_t)product0;
    return next;
}

/* Four 32-bit words for block `index` of `stream` under `seed`. */
MMREC_RNG_INLINE mmrec_rng_block mmrec_rng_philox(uint64_t seed, uint64_t stream, uint64_t index) {
    mmrec_rng_block block = {{(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        block = mmrec_rng_round(block, key0, key1);
        key0 += 0x9E3779B9u; /* golden ratio */
        key1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    return block;
}

/* Word `index` of the stream: four consecutive indices share one block. */
MMREC_RNG_INLINE uint32_t mmrec_rng_word(uint64_t seed, uint64_t stream, uint64_t index) {
    return mmrec_rng_philox(seed, stream, index >> 2).word[index & 3];
}

/* Uniform in (0, 1): the 23 high bits plus one half, exact in float, never 0 or 1 (with 24 bits the half would not fit,
 * and the highest value would round to 1). */
MMREC_RNG_INLINE float mmrec_rng_unit(uint32_t word) { return ((float)(word >> 9) + 0.5f) * (1.0f / 8388608.0f); }

/* Uniform float in (0, 1) at (seed, stream, index). */
MMREC_RNG_INLINE float mmrec_rng_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    return mmrec_rng_unit(mmrec_rng_word(seed, stream, index));
}

/* Uniform integer in [0, below), below > 0 (bias under below / 2^32). */
MMREC_RNG_INLINE uint32_t mmrec_rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint32_t below) {
    return (uint32_t)(((uint64_t)mmrec_rng_word(seed, stream, index) * below) >> 32);
}

/* Box-Muller in double, of two words: the length, and the turn in half turns or in radians. A word is uniform in (0, 1)
 * with all its 32 bits: the smallest is 2^-33, so a normal number stays below 6.8 in magnitude. */
MMREC_RNG_INLINE double mmrec_rng_radius(uint32_t word) { return sqrt(-2.0 * log(((double)word + 0.5) * 0x1p-32)); }
MMREC_RNG_INLINE double mmrec_rng_turn(uint32_t word) { return ((double)word + 0.5) * 0x1p-31; }
MMREC_RNG_INLINE double mmrec_rng_angle(uint32_t word) { return 3.141592653589793 * mmrec_rng_turn(word); }

#ifdef __cplusplus
extern "C" {
#endif
/* Standard normal number at (seed, stream, index), by Box-Muller on words 2*(index/2) and 2*(index/2)+1 in double. */
double mmrec_rng_normal(uint64_t seed, uint64_t stream, uint64_t index);
/* The normal numbers of indices 4 * block to 4 * block + 3, the same bits at half the time (23 instead of 49 ns each):
 * two of them share a logarithm, all four a Philox block. */
void mmrec_rng_normal4(uint64_t seed, uint64_t stream, uint64_t block, double number[4]);
#ifdef __cplusplus
}
#endif
#endif
