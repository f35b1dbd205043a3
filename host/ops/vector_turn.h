/* Turning a block of LANES vectors in registers: what was a row becomes a column. The file that includes this has named
 * `vec`, its LANES and `vec_index`, a vector of integers as wide as its numbers. */
#ifndef MMREC_VECTOR_TURN_H
#define MMREC_VECTOR_TURN_H

/* Swaps the off-diagonal blocks of distance x distance in every 2 x 2 of them. */
static inline __attribute__((always_inline)) void turn_pass(vec *row, const int distance) {
    vec_index low = {0}, high = {0};
#pragma GCC unroll 16
    for (int j = 0; j < LANES; j++) {
        low[j] = j & distance ? j - distance + LANES : j;
        high[j] = j & distance ? j + LANES : j + distance;
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        if (i & distance) continue;
        vec first = row[i], second = row[i + distance];
        row[i] = __builtin_shuffle(first, second, low);
        row[i + distance] = __builtin_shuffle(first, second, high);
    }
}

static inline __attribute__((always_inline)) void turn_vectors(vec *row) {
#pragma GCC unroll 4
    for (int distance = 1; distance < LANES; distance *= 2) turn_pass(row, distance);
}

#endif
