/* Normal numbers from the counter-based generator. */
#include "mmrec/rng.h"

#include <math.h>

/* Uniform in (0, 1) from all 32 bits: the smallest is 2^-33, so a normal number stays below 6.8 in magnitude. */
static double unit(uint32_t word) { return ((double)word + 0.5) * 0x1p-32; }

static double radius(uint32_t word) { return sqrt(-2.0 * log(unit(word))); }
static double angle(uint32_t word) { return 6.283185307179586 * unit(word); }

double mmrec_rng_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    mmrec_rng_block block = mmrec_rng_philox(seed, stream, index >> 2);
    uint64_t pair = index & 2;
    double turn = angle(block.word[pair + 1]);
    return radius(block.word[pair]) * (index & 1 ? sin(turn) : cos(turn));
}

void mmrec_rng_normal4(uint64_t seed, uint64_t stream, uint64_t block, double number[4]) {
    mmrec_rng_block words = mmrec_rng_philox(seed, stream, block);
    for (int pair = 0; pair < 4; pair += 2) {
        double length = radius(words.word[pair]), turn = angle(words.word[pair + 1]);
        number[pair] = length * cos(turn);
        number[pair + 1] = length * sin(turn);
    }
}
