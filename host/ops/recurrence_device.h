/* Where the kernels of the recurrence keep things in their scratch memory (kernels/recurrence.cu): shared with the op
 * file, which must know the bytes of a call without a device. They follow from the sizes and the attribute alone.
 *
 * The weights are packed once a call, padded with zeros, so that kernels load 16 bytes at a time whatever the views'
 * alignment: `panel`. Forward, a unit has two sums (both gates) over the D values of h; backward, one sum over the D
 * values of A g and then the D values of M g. Each of these parts of the inner axis is padded for itself. */
#ifndef MMREC_RECURRENCE_DEVICE_H
#define MMREC_RECURRENCE_DEVICE_H

#include <string.h>

#include "ops/pieces_device.h"

enum {
    RECURRENCE_UNITS = 64,     /* panels are padded to whole blocks of the largest kind */
    RECURRENCE_TILE_F32 = 128, /* of the inner axis: 4 floats for each lane of a warp */
    RECURRENCE_TILE_BF16 = 16, /* of one tensor-core instruction */
    RECURRENCE_BUFFERS = 2     /* states at once: one being read, one being written */
};

typedef struct recurrence_sizes {
    int64_t batch, steps, width;
    bool bf16, backward;
    int64_t part, depth; /* inner axis: padded length of a part, of all parts */
    int64_t outputs;     /* sums: rows of the panel */
    int64_t half_stride; /* of bfloat16 copies: rows that start where 16 bytes may be loaded */
    /* Bytes from the start of the scratch memory. */
    size_t panel, exchange, half, half_weight, gated, mixed, first, carry, sums, bytes;
} recurrence_sizes;

static inline int64_t recurrence_up(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/* Takes `count` elements of `each` bytes; returns where they start. */
static inline size_t recurrence_take(recurrence_sizes *r, int64_t count, size_t each) {
    size_t at = r->bytes;
    r->bytes += ((size_t)count * each + 63) / 64 * 64;
    return at;
}

static inline recurrence_sizes recurrence_sizes_of(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    recurrence_sizes r;
    memset(&r, 0, sizeof r);
    r.batch = MMREC_SIZE(sizes, B);
    r.steps = MMREC_SIZE(sizes, T);
    r.width = MMREC_SIZE(sizes, D);
    r.bf16 = sizes->attr[0] != 0;
    r.backward = pass == MMREC_BACKWARD;
    int64_t rows = r.batch * r.steps;
    r.part = recurrence_up(r.width, r.bf16 ? RECURRENCE_TILE_BF16 : RECURRENCE_TILE_F32);
    r.depth = r.backward ? 2 * r.part : r.part;
    r.outputs = recurrence_up(r.width, RECURRENCE_UNITS) * (r.backward ? 1 : 2);
    r.half_stride = recurrence_up(r.width, 8);
    r.panel = recurrence_take(&r, r.outputs * r.depth, r.bf16 ? 2 : 4);
    /* Words of 8 bytes with their step: one float each, or two of bfloat16. States without flags fit as well. */
    r.exchange = recurrence_take(&r, RECURRENCE_BUFFERS * r.batch * r.depth, r.bf16 ? 4 : 8);
    if (r.bf16) {
        r.half = recurrence_take(&r, rows * r.half_stride, 2);
        r.half_weight = recurrence_take(&r, r.width * r.half_stride, 2);
    }
    if (r.backward) {
        r.gated = recurrence_take(&r, rows * r.width, 4);
        r.mixed = recurrence_take(&r, rows * r.width, 4);
        r.first = recurrence_take(&r, 2 * r.batch * r.width, 4);
        r.carry = recurrence_take(&r, r.batch * r.width, 4);
        row_pieces pieces = pieces_of_bias(rows, r.width);
        r.sums = recurrence_take(&r, 2 * pieces.count * pieces.stride, 4);
    }
    return r;
}

#endif
