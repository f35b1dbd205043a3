/* How the kernels of conv_gate divide their scratch: shared with the op's file, which must know its size without a
 * device. First dc, a row of floats for each row of the batch, then pieces of the sums over rows (pieces_device.h): a
 * row for each tap, then one for the bias. */
#ifndef MMREC_CONV_GATE_DEVICE_H
#define MMREC_CONV_GATE_DEVICE_H

#include "pieces_device.h"

/* Floats from one row to the next: whole packs of 4, all aligned alike. */
static inline int64_t conv_gate_stride(const mmrec_op_sizes *sizes) { return (MMREC_SIZE(sizes, W) + 3) / 4 * 4; }

static inline int64_t conv_gate_rows(const mmrec_op_sizes *sizes) {
    return MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, T);
}

/* 64 rows, 8 for each warp of a block; at most 64 pieces, as each has a block for every tap. */
static inline row_pieces conv_gate_pieces(const mmrec_op_sizes *sizes) {
    return pieces_of(conv_gate_rows(sizes), (MMREC_SIZE(sizes, K) + 1) * conv_gate_stride(sizes), 64, 64);
}

static inline size_t conv_gate_bytes(const mmrec_op_sizes *sizes) {
    return (size_t)(conv_gate_rows(sizes) * conv_gate_stride(sizes)) * sizeof(float) +
           pieces_bytes(conv_gate_pieces(sizes));
}

#endif
