/* How the float scans along T are cut: a unit is 128 neighbouring columns of one batch row over one chunk of steps.
 *
 * A scan is sequential in T, but its units are independent along B and D, and with one chunk nothing is read twice:
 * that is the fastest way on few threads. With more chunks each unit first finds what its chunk does to a carry, then
 * the carries are passed on, then the units run again from theirs: 0.9 to 1.4 times the time on one thread, bought back
 * where B and D alone would leave threads idle. So T is cut only where there are fewer than SCAN_UNITS units without
 * it, into chunks of SCAN_CHUNK steps. Both follow from the shape alone: the result must not depend on the threads.
 *
 * The reference needs scan_infer alone; the rest exists where MMREC_REAL_F32 is 1. */
#ifndef MMREC_SCAN_PARTS_H
#define MMREC_SCAN_PARTS_H

#include "op_impl.h"

enum { SCAN_STRIP = 128, SCAN_UNITS = 8, SCAN_CHUNK = 256 };

/* Steps in one chunk; `wanted` is the op's attribute, 0 = choose. */
static inline int64_t scan_chunk(const mmrec_op_sizes *sizes, double wanted) {
    int64_t steps = MMREC_SIZE(sizes, T), strips = (MMREC_SIZE(sizes, D) + SCAN_STRIP - 1) / SCAN_STRIP;
    int64_t chunk = MMREC_SIZE(sizes, B) * strips >= SCAN_UNITS ? steps : SCAN_CHUNK;
    if (wanted > 0) chunk = (int64_t)wanted;
    return chunk < steps ? chunk : steps;
}

static inline int64_t scan_chunks(const mmrec_op_sizes *sizes, double wanted) {
    int64_t steps = MMREC_SIZE(sizes, T), chunk = scan_chunk(sizes, wanted);
    return (steps + chunk - 1) / chunk;
}

/* Refuses a chunk that is no number of steps; makes room for `carries` values per column and chunk, in the float
 * variants only: the reference has no chunks. */
static inline mmrec_status scan_infer(const char *op, mmrec_op_sizes *sizes, double wanted, int carries,
                                      mmrec_error *error) {
    if (!(wanted >= 0 && wanted <= 1e9) || wanted != (double)(int64_t)wanted) {
        MMREC_FAIL(error, MMREC_SHAPE, "%s: chunk %g is not a whole number of steps; 0 chooses", op, wanted);
    }
    int64_t chunks = scan_chunks(sizes, wanted);
    size_t columns = (size_t)(MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, D));
    size_t bytes = MMREC_REAL_F32 && chunks > 1 ? (size_t)chunks * columns * sizeof(float) * (size_t)carries : 0;
    sizes->scratch_bytes[MMREC_FORWARD] = bytes;
    sizes->scratch_bytes[MMREC_BACKWARD] = bytes;
    return MMREC_OK;
}

#if MMREC_REAL_F32
#include "fast_loop.h"

typedef struct scan_cut {
    int64_t batch, steps, columns, strips, chunk, chunks;
} scan_cut;

typedef struct scan_unit {
    int64_t b, first, count; /* columns [first, first + count) of batch row b */
    int64_t row, end;        /* rows of the views: [row, end) */
    int64_t index;           /* of the chunk */
} scan_unit;

static inline scan_cut scan_cut_of(const mmrec_op_call *call, double wanted) {
    const mmrec_op_sizes *sizes = call->sizes;
    scan_cut cut = {MMREC_SIZE(sizes, B), MMREC_SIZE(sizes, T), MMREC_SIZE(sizes, D), 0, scan_chunk(sizes, wanted), 0};
    cut.strips = fast_blocks(cut.columns, SCAN_STRIP);
    cut.chunks = fast_blocks(cut.steps, cut.chunk);
    return cut;
}

static inline scan_unit scan_unit_of(const scan_cut *cut, int64_t i) {
    int64_t strip = i % cut->strips, index = i / cut->strips % cut->chunks;
    scan_unit u = {.b = i / cut->strips / cut->chunks, .first = strip * SCAN_STRIP, .index = index};
    u.count = fast_min(SCAN_STRIP, cut->columns - u.first);
    u.row = u.b * cut->steps + index * cut->chunk;
    u.end = u.b * cut->steps + fast_min((index + 1) * cut->chunk, cut->steps);
    return u;
}

/* Where the carries of a unit's columns lie in an array of (chunks, B, D). */
static inline int64_t scan_carry(const scan_cut *cut, const scan_unit *u) {
    return (u->index * cut->batch + u->b) * cut->columns + u->first;
}

typedef void (*scan_function)(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *unit);

/* Calls `function` for every unit. */
static inline void scan_each(const mmrec_op_call *call, const scan_cut *cut, scan_function function) {
    int64_t units = cut->batch * cut->chunks * cut->strips;
    bool parallel = cut->batch * cut->steps * cut->columns >= FAST_SERIAL;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (parallel)
    for (int64_t i = 0; i < units; i++) {
        scan_unit unit = scan_unit_of(cut, i);
        function(call, cut, &unit);
    }
}
#endif

#endif
