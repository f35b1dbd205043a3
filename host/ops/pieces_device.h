/* How kernels cut sums over rows (kernels/columns.cuh): shared with the op files, which must know the scratch of a call
 * without a device. The cut follows from sizes alone, so every device adds in the same order.
 *
 * A piece is a run of rows that one block adds up; its sums, one row of floats, go through scratch to a second kernel
 * that adds the pieces in their order. */
#ifndef MMREC_PIECES_DEVICE_H
#define MMREC_PIECES_DEVICE_H

#include "mmrec/op.h"

/* Blocks wanted at once: four for each of the 132 processors of an H100, so that loads of one hide the barriers of
 * another. */
enum { PIECES_WANTED = 528 };

typedef struct row_pieces {
    int64_t rows, length, count; /* to be added; of each piece but the last; pieces */
    int columns, stride;         /* floats from one row of sums to the next: whole packs of 4, all aligned alike */
} row_pieces;

/* Pieces of at least `least` rows, at most `most` of them. */
static inline row_pieces pieces_of(int64_t rows, int64_t columns, int64_t least, int64_t most) {
    row_pieces p = {rows, (rows + most - 1) / most, 0, (int)columns, (int)((columns + 3) / 4 * 4)};
    if (p.length < least) p.length = least;
    p.count = (rows + p.length - 1) / p.length;
    return p;
}

static inline size_t pieces_bytes(row_pieces p) { return (size_t)(p.count * p.stride) * sizeof(float); }

/* dweight of the norms, made in the pass that makes dx: 8 rows, one for each warp of a block. */
static inline row_pieces pieces_of_norm(int64_t rows, int64_t columns) {
    return pieces_of(rows, columns, 8, PIECES_WANTED);
}

/* dbias of linear: 64 rows, 8 for each warp, so that the sums are under 2 % of what is read. */
static inline row_pieces pieces_of_bias(int64_t rows, int64_t columns) {
    return pieces_of(rows, columns, 64, PIECES_WANTED);
}

/* The mean over T of memory_update. Every block that updates slots adds up all pieces anew: 32 of them are 16 KiB read
 * from the second-level cache for 64 KiB written. */
static inline row_pieces pieces_of_steps(int64_t steps, int64_t columns) { return pieces_of(steps, columns, 64, 32); }

#endif
