/* How the kernels of memory_attention cut their work (kernels/memory_attention.cu): shared with the op file, which must
 * know the scratch of a call without a device. */
#ifndef MMREC_ATTENTION_DEVICE_H
#define MMREC_ATTENTION_DEVICE_H

#include "pieces_device.h"

enum { ATTENTION_TILE = 64, ATTENTION_BLOCKS = PIECES_WANTED / 2 };

static inline int64_t attention_tiles(int64_t count) { return (count + ATTENTION_TILE - 1) / ATTENTION_TILE; }

/* The rows that read one memory, cut into pieces whose shares of its gradient are added afterwards: as many as it takes
 * for two blocks a processor of an H100, a block having 64 slots and 64 columns of one head. One piece needs no adding.
 */
static inline row_pieces attention_pieces(const mmrec_op_sizes *sizes) {
    int64_t slots = MMREC_SIZE(sizes, M), columns = MMREC_SIZE(sizes, D), heads = MMREC_SIZE(sizes, H);
    int64_t memories = mmrec_shape_rows(&sizes->in[1]) / slots;
    int64_t blocks = heads * memories * attention_tiles(slots) * attention_tiles(columns / heads);
    int64_t most = blocks < ATTENTION_BLOCKS ? ATTENTION_BLOCKS / blocks : 1;
    return pieces_of(MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, T) / memories, columns, ATTENTION_TILE, most);
}

/* Floats from one row of score gradients to the next. */
static inline int64_t attention_stride(const mmrec_op_sizes *sizes) { return (MMREC_SIZE(sizes, M) + 3) / 4 * 4; }

/* Floats of the score gradients (H, B, T, M), and of the pieces of one memory gradient (pieces, memories M, D). */
static inline int64_t attention_scores(const mmrec_op_sizes *sizes) {
    return MMREC_SIZE(sizes, H) * MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, T) * attention_stride(sizes);
}
static inline int64_t attention_parts(const mmrec_op_sizes *sizes) {
    row_pieces pieces = attention_pieces(sizes);
    return pieces.count > 1 ? pieces.count * mmrec_shape_rows(&sizes->in[1]) * pieces.stride : 0;
}

#endif
