/* How a call of the recurrence is laid out on a device: units to blocks, rows to groups, weights to shared memory. Pure
 * arithmetic, from the sizes and a few limits of the device; docs/recurrence.md shows what comes out.
 *
 * A block owns `tiles` times 16 sums of every time step: 8 units forward (two gates each), 16 backward. It keeps their
 * weights and works on chunks of at most 8 batch rows, the width of a tensor-core instruction. The order of sums
 * depends on D alone, never on the layout: all regimes give the same bits. */
#ifndef MMREC_RECURRENCE_PLAN_H
#define MMREC_RECURRENCE_PLAN_H

#include "mmrec/backend.h"

#include "ops/recurrence_device.h"

enum {
    RECURRENCE_WARPS = 8,
    RECURRENCE_THREADS = 32 * RECURRENCE_WARPS,
    RECURRENCE_ROWS = 8,       /* batch rows of a chunk */
    RECURRENCE_TILE_SUMS = 16, /* sums of a tile: rows of a tensor-core instruction */
    RECURRENCE_FRAGMENT = 512, /* bytes that a warp loads at once: 16 a lane */
    RECURRENCE_HEAD = 64,      /* bytes of shared memory for barriers */
    RECURRENCE_MOST_HELD = 32  /* fragments in the registers of a warp: 128 of a thread's 255 */
};

typedef struct recurrence_limits {
    int sms, capability, max_cluster;
    int64_t shared_bytes;
    int clusters; /* at once; 0: not asked, as many as there are multiprocessors for */
} recurrence_limits;

typedef struct recurrence_layout {
    int way;             /* mmrec_recurrence_regime, never AUTO */
    int tiles;           /* of a block: 1, 2, 4 or 8 */
    int blocks, cluster; /* blocks that share the units; blocks of a cluster (idle ones beyond `blocks`), or 1 */
    int rows, chunks;    /* batch rows of a chunk; chunks */
    int groups;          /* groups of blocks: group g has the chunks g, g + groups, .. */
    int stage;           /* inner-axis elements of the state in shared memory at once */
    int resident;        /* tiles of the inner axis whose weights stay on chip; the rest comes from the cache */
    int64_t shared_bytes;
    bool possible, whole; /* fits the device; all weights stay on chip */
} recurrence_layout;

static inline int64_t recurrence_parts_of(int64_t count, int64_t of) { return (count + of - 1) / of; }
static inline int recurrence_element(const recurrence_sizes *r) { return r->bf16 ? 2 : 4; }
static inline int recurrence_tile(const recurrence_sizes *r) {
    return r->bf16 ? RECURRENCE_TILE_BF16 : RECURRENCE_TILE_F32;
}
static inline int recurrence_units(const recurrence_sizes *r, int tiles) {
    return tiles * RECURRENCE_TILE_SUMS / (r->backward ? 1 : 2);
}
enum { RECURRENCE_MOST_FORWARD = 8, RECURRENCE_MOST_BACKWARD = 4 }; /* tiles of a block */
static inline int recurrence_most_tiles(const recurrence_sizes *r) {
    return r->backward ? RECURRENCE_MOST_BACKWARD : RECURRENCE_MOST_FORWARD;
}

/* Tiles of the inner axis that a warp of the tensor-core kernel holds in registers. */
static inline int recurrence_held(int tiles) { return tiles == 1 ? 16 : RECURRENCE_MOST_HELD / tiles; }

/* Elements from one row of the staged state to the next: 16 bytes more than it holds, so that 8 rows lie in different
 * banks. */
static inline int recurrence_stage_stride(const recurrence_sizes *r, int stage) {
    return stage + 16 / recurrence_element(r);
}
/* Floats of one set of sums, 40 for each 4 x 8: whatever pair of units a thread takes, a warp meets no bank twice. */
static inline int recurrence_sum_floats(int tiles) { return tiles * RECURRENCE_TILE_SUMS * 10; }
/* Sets of sums: the tensor-core kernel splits the inner axis over its warps, the other one splits the sums. */
static inline int recurrence_sum_sets(const recurrence_sizes *r) { return r->bf16 ? RECURRENCE_WARPS : 1; }
/* Bytes of a block's weights for one tile of the inner axis. */
static inline int64_t recurrence_tile_bytes(const recurrence_sizes *r, int tiles) {
    return (int64_t)tiles * (r->bf16 ? 1 : RECURRENCE_TILE_SUMS) * RECURRENCE_FRAGMENT;
}

/* Fewest tiles with which the units need at most `limit` blocks; the most tiles where none does. */
static inline int recurrence_tiles_for(const recurrence_sizes *r, int64_t limit) {
    int tiles = 1;
    while (tiles < recurrence_most_tiles(r) && recurrence_parts_of(r->width, recurrence_units(r, tiles)) > limit) {
        tiles *= 2;
    }
    return tiles;
}

/* Batch rows over `most` groups, as evenly as chunks of 8 allow. */
static inline void recurrence_share_rows(const recurrence_sizes *r, recurrence_layout *l, int64_t most) {
    int64_t rows = recurrence_parts_of(r->batch, most > 0 ? most : 1);
    l->rows = rows < RECURRENCE_ROWS ? (int)rows : RECURRENCE_ROWS;
    l->chunks = (int)recurrence_parts_of(r->batch, l->rows);
}

static inline void recurrence_place(const recurrence_sizes *r, const recurrence_limits *device, recurrence_layout *l) {
    int64_t limit = l->way == MMREC_RECURRENCE_CLUSTER ? device->max_cluster : device->sms;
    if (l->way == MMREC_RECURRENCE_GRAPH) {
        recurrence_share_rows(r, l, 1);
        l->tiles = recurrence_tiles_for(r, recurrence_parts_of(2 * (int64_t)device->sms, l->chunks));
    } else {
        l->tiles = recurrence_tiles_for(r, limit);
    }
    l->blocks = (int)recurrence_parts_of(r->width, recurrence_units(r, l->tiles));
    l->possible = l->way == MMREC_RECURRENCE_GRAPH || l->blocks <= limit;
    l->cluster = 1;
    int64_t at_once = device->sms / l->blocks;
    if (l->way == MMREC_RECURRENCE_CLUSTER) {
        while (l->cluster < l->blocks) l->cluster *= 2;
        at_once = device->sms / l->cluster;
        if (device->clusters > 0 && device->clusters < at_once) at_once = device->clusters;
    }
    if (l->way != MMREC_RECURRENCE_GRAPH) recurrence_share_rows(r, l, at_once);
    bool in_turn = l->way == MMREC_RECURRENCE_GRID || l->way == MMREC_RECURRENCE_BARRIER;
    l->groups = in_turn && l->chunks > at_once ? (int)(at_once > 0 ? at_once : 1) : l->chunks;
}

/* Shared memory of a block but for weights, staging at most so many bytes of state; a cluster's blocks write each
 * other's, so there it is whole, and there are two. */
static inline void recurrence_stage(const recurrence_sizes *r, int64_t bytes, recurrence_layout *l) {
    bool cluster = l->way == MMREC_RECURRENCE_CLUSTER;
    int64_t element = recurrence_element(r), most = bytes / RECURRENCE_ROWS / element;
    l->stage = (int)(cluster || r->depth < most ? r->depth : most);
    int64_t state = (int64_t)RECURRENCE_ROWS * recurrence_stage_stride(r, l->stage) * element;
    int64_t sums = (int64_t)recurrence_sum_sets(r) * recurrence_sum_floats(l->tiles) * (int64_t)sizeof(float);
    l->shared_bytes = RECURRENCE_HEAD + state * (cluster ? RECURRENCE_BUFFERS : 1) + sums;
}

/* 64 KiB of state at once; with the sums of 8 warps that is 105 KiB at most, and devices of 8.6 and 8.9 have 99, so
 * there half of it where it must be. Not for float: its sums take less, and their order follows the stages. */
static inline void recurrence_fill(const recurrence_sizes *r, const recurrence_limits *device, recurrence_layout *l) {
    recurrence_stage(r, 65536, l);
    if (r->bf16 && l->shared_bytes > device->shared_bytes) recurrence_stage(r, 32768, l);
    if (l->shared_bytes > device->shared_bytes) l->possible = false;
    int64_t all = r->depth / recurrence_tile(r), held = r->bf16 ? recurrence_held(l->tiles) * RECURRENCE_WARPS : 0;
    int64_t left = all > held ? all - held : 0, tile = recurrence_tile_bytes(r, l->tiles);
    int64_t fit = l->possible && l->way != MMREC_RECURRENCE_GRAPH ? (device->shared_bytes - l->shared_bytes) / tile : 0;
    if (fit > left) fit = left;
    l->shared_bytes += fit * tile;
    l->resident = (int)((all < held ? all : held) + fit);
    l->whole = l->resident == all && l->way != MMREC_RECURRENCE_GRAPH;
}

/* The layout of one regime; `possible` says whether the device can run it. */
static inline recurrence_layout recurrence_layout_of(const recurrence_sizes *r, const recurrence_limits *device,
                                                     mmrec_recurrence_regime way) {
    recurrence_layout l = {};
    l.way = way;
    recurrence_place(r, device, &l);
    if (way == MMREC_RECURRENCE_CLUSTER && (device->capability < 90 || device->max_cluster < 2)) l.possible = false;
    recurrence_fill(r, device, &l);
    return l;
}

/* What AUTO takes where both exchanges are proven: clusters where their floor is lower, the grid where the weights fit
 * on chip, one launch a step elsewhere. `proven` has a bit for each regime. */
static inline recurrence_layout recurrence_layout_auto(const recurrence_sizes *r, const recurrence_limits *device,
                                                       unsigned proven) {
    static const mmrec_recurrence_regime order[] = {MMREC_RECURRENCE_CLUSTER, MMREC_RECURRENCE_GRID};
    for (int i = 0; i < 2; i++) {
        bool suits = order[i] == MMREC_RECURRENCE_CLUSTER ? r->width <= 512 || (r->width <= 1024 && r->batch >= 32)
                                                          : r->width <= 2048;
        recurrence_layout l = recurrence_layout_of(r, device, order[i]);
        if (suits && ((proven >> order[i]) & 1u) && l.possible && l.whole) return l;
    }
    return recurrence_layout_of(r, device, MMREC_RECURRENCE_GRAPH);
}

#endif
