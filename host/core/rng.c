/* Normal numbers from the counter-based generator. */
#include "mmrec/rng.h"

double mmrec_rng_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    mmrec_rng_block block = mmrec_rng_philox(seed, stream, index >> 2);
    uint64_t pair = index & 2;
    double turn = mmrec_rng_angle(block.word[pair + 1]);
    return mmrec_rng_radius(block.word[pair]) * (index & 1 ? sin(turn) : cos(turn));
}

void mmrec_rng_normal4(uint64_t seed, uint64_t stream, uint64_t block, double number[4]) {
    mmrec_rng_block words = mmrec_rng_philox(seed, stream, block);
    for (int pair = 0; pair < 4; pair += 2) {
        double length = mmrec_rng_radius(words.word[pair]), turn = mmrec_rng_angle(words.word[pair + 1]);
        number[pair] = length * cos(turn);
        number[pair + 1] = length * sin(turn);
    }
}
