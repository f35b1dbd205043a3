/* How the kernels of the scans cut T (kernels/scan.cuh): shared with the op files, which must know the scratch of a
 * call without a device, so the cut follows from the sizes alone.
 *
 * A block scans 32 columns of one batch row in tiles of 128 steps. Every tile is cut over the warps of its block
 * anyway; T is cut further, into segments that run at the same time, only where B and D give too few blocks. 64 blocks
 * hold 64 x 32 KiB of loads in flight, about what a 3 TB/s memory with 700 ns latency asks for; below that T is cut
 * until there are 128, and the inputs are read twice. */
#ifndef MMREC_SCAN_DEVICE_H
#define MMREC_SCAN_DEVICE_H

#include "mmrec/op.h"

enum { SCAN_COLUMNS = 32, SCAN_STEPS = 8, SCAN_WARPS = 16, SCAN_TILE = SCAN_STEPS * SCAN_WARPS };
enum { SCAN_ENOUGH_BLOCKS = 64, SCAN_WANTED_BLOCKS = 128 };

typedef struct scan_segments {
    int64_t length, count; /* steps of each but the last; how many */
} scan_segments;

/* `chunk`: the op's attribute, steps of a segment; 0 = choose. */
static inline scan_segments scan_segments_of(const mmrec_op_sizes *sizes, double chunk) {
    int64_t steps = MMREC_SIZE(sizes, T), strips = (MMREC_SIZE(sizes, D) + SCAN_COLUMNS - 1) / SCAN_COLUMNS;
    int64_t blocks = MMREC_SIZE(sizes, B) * strips;
    scan_segments s = {steps, 1};
    if (chunk >= 1 && chunk < (double)steps) {
        s.length = (int64_t)chunk;
    } else if (chunk < 1 && blocks < SCAN_ENOUGH_BLOCKS) {
        int64_t tiles = (steps + SCAN_TILE - 1) / SCAN_TILE, wanted = SCAN_WANTED_BLOCKS / blocks;
        s.length = (tiles + wanted - 1) / wanted * SCAN_TILE;
    }
    s.count = (steps + s.length - 1) / s.length;
    return s;
}

/* Bytes for what each segment does to the state: `floats` values a column. The last segment hands nothing on. */
static inline size_t scan_device_scratch(const mmrec_op_sizes *sizes, double chunk, int floats) {
    scan_segments s = scan_segments_of(sizes, chunk);
    int64_t columns = MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, D);
    return (size_t)((s.count - 1) * columns * floats) * sizeof(float);
}

#endif
