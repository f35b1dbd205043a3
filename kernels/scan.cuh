/* What the scans along T share: x_s = f_s(x_{s-1}) for every column, where the effect of several steps together is
 * known without their starting state (x -> a x + b, or x -> x + b).
 *
 * A Scan says what is loaded and written; it is given to the kernel by value:
 *
 *   step                        what one step reads, in registers
 *   effect                      what steps do to a state
 *   none(), extend(e, step)     the effect of no step; of e and one step more
 *   chain(first, then)          the effect of both
 *   apply(e, x)                 the state after e
 *   BACK                        the scan runs from the last step to the first
 *   begin(b, d)                 the state of batch row b, column d, before the first step
 *   load(b, t, row, d)          the step at time t, row = b T + t
 *   advance(step, row, d, x)    the state after the step; writes what the step yields
 *   end(b, d, x)                the state after the last step
 *
 * A block scans 32 columns of one batch row: lane = column (a warp reads 128 bytes of a row), warp w has steps [8 w, 8
 * w + 8) of the tile in registers. Each warp's effect goes to shared memory, then every thread folds the effects of the
 * tile onto the carried state, warp 0 first: on the way it meets the state its own steps start from, at the end the
 * state that the next tile starts from. One barrier a tile, as the effects lie in two buffers in turn. Tiles follow
 * each other within a block, so all of T takes one launch and each value is read once.
 *
 * Where B and D give too few blocks (host/ops/scan_device.h) T is cut into segments: k_scan_effect finds what each
 * segment but the last does, and each block of k_scan folds the segments before its own, in order.
 *
 * Order of sums: fixed by the sizes; steps in a warp, warps in a tile, tiles in a segment, segments.
 * Considered: decoupled look-back, which reads once at any size. Its carry joins as many neighbours as happen to be
 * done, so its sums would depend on timing; waiting for the one neighbour instead is a chain of T / 128 exchanges, and
 * both need tickets, flags to clear and a bounded spin. The second reading costs at most 8 of 20 bytes an element, and
 * only at sizes of up to 63 x 32 columns. No device was at hand: times are n/a (no device). */
#ifndef MMREC_SCAN_CUH
#define MMREC_SCAN_CUH

#include "device.cuh"

#include "ops/scan_device.h"

struct scan_plan {
    int64_t batch, steps, columns, strips, units;
    scan_segments segment;
};

/* One block's share: columns of one batch row in one segment. Steps count in the direction of the scan. */
struct scan_unit {
    int64_t b, d, segment, first, end;
    bool inside; /* this thread's column exists */
};

static inline scan_plan scan_plan_of(const mmrec_op_sizes *sizes, double chunk, bool all_segments) {
    scan_plan p = {MMREC_SIZE(sizes, B),          MMREC_SIZE(sizes, T), MMREC_SIZE(sizes, D), 0, 0,
                   scan_segments_of(sizes, chunk)};
    p.strips = (p.columns + SCAN_COLUMNS - 1) / SCAN_COLUMNS;
    p.units = p.batch * p.strips * (p.segment.count - (all_segments ? 0 : 1));
    return p;
}

SIMT_DEVICE scan_unit scan_unit_of(const scan_plan &p, int64_t i) {
    scan_unit u;
    u.d = i % p.strips * SCAN_COLUMNS + simt_lane();
    u.b = i / p.strips % p.batch;
    u.segment = i / p.strips / p.batch;
    u.first = u.segment * p.segment.length;
    u.end = u.first + p.segment.length < p.steps ? u.first + p.segment.length : p.steps;
    u.inside = u.d < p.columns;
    return u;
}

/* Where the effect of a segment on a column lies: (segments - 1, B, D). */
SIMT_DEVICE int64_t scan_slot(const scan_plan &p, const scan_unit &u, int64_t segment) {
    return (segment * p.batch + u.b) * p.columns + u.d;
}

/* Loads this thread's steps, from `first` on and before `end`; returns their effect. */
template <typename Scan>
SIMT_DEVICE typename Scan::effect scan_load(const Scan &scan, const scan_plan &p, const scan_unit &u, int64_t first,
                                            typename Scan::step (&steps)[SCAN_STEPS]) {
#pragma unroll
    for (int k = 0; k < SCAN_STEPS; k++) {
        int64_t s = first + k, t = Scan::BACK ? p.steps - 1 - s : s;
        if (u.inside && s < u.end) steps[k] = scan.load(u.b, t, u.b * p.steps + t, u.d);
    }
    typename Scan::effect e = Scan::none();
#pragma unroll
    for (int k = 0; k < SCAN_STEPS; k++) {
        if (u.inside && first + k < u.end) e = Scan::extend(e, steps[k]);
    }
    return e;
}

/* The shared buffer of tile number `tile`: an effect for each warp and lane. */
template <typename Scan> SIMT_DEVICE typename Scan::effect *scan_buffer(int64_t tile) {
    return simt_shared<typename Scan::effect>() + (tile & 1) * blockDim.x + simt_lane();
}

template <typename Scan>
SIMT_KERNEL(SCAN_WARPS * 32)
k_scan_effect(Scan scan, scan_plan p, typename Scan::effect *effects) {
    int warps = static_cast<int>(blockDim.x / 32);
    int64_t tile = 0;
    for (int64_t i = blockIdx.x; i < p.units; i += gridDim.x) {
        scan_unit u = scan_unit_of(p, i);
        typename Scan::effect all = Scan::none();
        for (int64_t at = u.first; at < u.end; at += warps * SCAN_STEPS, tile++) {
            typename Scan::step steps[SCAN_STEPS];
            typename Scan::effect *shared = scan_buffer<Scan>(tile);
            shared[simt_warp() * 32] = scan_load(scan, p, u, at + simt_warp() * SCAN_STEPS, steps);
            simt_block_sync();
            for (int w = 0; w < warps && simt_warp() == 0; w++) all = Scan::chain(all, shared[w * 32]);
        }
        if (simt_warp() == 0 && u.inside) effects[scan_slot(p, u, u.segment)] = all;
    }
}

/* The state that enters a segment. */
template <typename Scan>
SIMT_DEVICE float scan_enter(const Scan &scan, const scan_plan &p, const scan_unit &u,
                             const typename Scan::effect *effects) {
    float x = u.inside ? scan.begin(u.b, u.d) : 0.0f;
    for (int64_t s = 0; u.inside && s < u.segment; s++) x = Scan::apply(effects[scan_slot(p, u, s)], x);
    return x;
}

template <typename Scan>
SIMT_KERNEL(SCAN_WARPS * 32)
k_scan(Scan scan, scan_plan p, const typename Scan::effect *effects) {
    int warps = static_cast<int>(blockDim.x / 32);
    int64_t tile = 0;
    for (int64_t i = blockIdx.x; i < p.units; i += gridDim.x) {
        scan_unit u = scan_unit_of(p, i);
        float carry = scan_enter(scan, p, u, effects);
        for (int64_t at = u.first; at < u.end; at += warps * SCAN_STEPS, tile++) {
            typename Scan::step steps[SCAN_STEPS];
            typename Scan::effect *shared = scan_buffer<Scan>(tile);
            int64_t first = at + simt_warp() * SCAN_STEPS;
            shared[simt_warp() * 32] = scan_load(scan, p, u, first, steps);
            simt_block_sync();
            float x = carry;
            for (int w = 0; w < warps; w++) {
                if (w == simt_warp()) x = carry;
                carry = Scan::apply(shared[w * 32], carry);
            }
#pragma unroll
            for (int k = 0; k < SCAN_STEPS; k++) {
                int64_t s = first + k, t = Scan::BACK ? p.steps - 1 - s : s;
                if (u.inside && s < u.end) x = scan.advance(steps[k], u.b * p.steps + t, u.d, x);
            }
        }
        if (u.inside && u.end == p.steps && simt_warp() == 0) scan.end(u.b, u.d, carry);
    }
}

/* As many warps as the longest segment fills. */
template <typename Scan> static simt_shape scan_shape(const scan_plan &p) {
    int64_t warps = (p.segment.length + SCAN_STEPS - 1) / SCAN_STEPS;
    if (warps > SCAN_WARPS) warps = SCAN_WARPS;
    unsigned threads = static_cast<unsigned>(warps) * 32;
    return {grid_for(p.units, 1, 16), threads, 2 * threads * sizeof(typename Scan::effect), SIMT_FREE, 0};
}

template <typename Scan>
static mmrec_status scan_launch(const Scan &scan, const mmrec_op_call *call, double chunk, mmrec_error *error) {
    typedef typename Scan::effect effect;
    effect *effects = static_cast<effect *>(call->scratch);
    scan_plan p = scan_plan_of(call->sizes, chunk, true), before = scan_plan_of(call->sizes, chunk, false);
    if (before.units > 0) {
        MMREC_TRY(SIMT_LAUNCH((k_scan_effect<Scan>), scan_shape<Scan>(before), error, scan, before, effects));
    }
    return SIMT_LAUNCH((k_scan<Scan>), scan_shape<Scan>(p), error, scan, p, effects);
}

#endif
