/* AdamW over all parameters in one launch: norm of all gradients, clipping, guard, update.
 *
 * Source: include/mmrec/optimizer.h; the arithmetic is host/backend/adamw_formula.h's, which the processor runs too.
 *
 *   ranges     one per parameter: addresses of w, g, m, v (float, dense), elements, first chunk, decay
 *   state      settings, rate, step count and powers of the betas (double); norm, clip factor and guard come back in it
 *   partials   MMREC_ADAMW_PARTS sums of squares (double)
 *
 * All blocks are on the device at once. Block b makes the partial sums b, b + blocks ...: thread t squares four
 * neighbouring elements in every 4 x 512 of a chunk, in double, where no float overflows and every product is exact; a
 * tree joins the threads. After a grid barrier each block adds all partial sums itself (8 KiB from L2), so all come to
 * the same decision and factors, and updates the chunks b, b + blocks ...; block 0 writes the state, which the others
 * read before the barrier. A block that waits too long for the barrier leaves and writes nothing.
 *
 * Order of sums: elements of a thread, tree over threads, chunks of a part, tree over parts; the sizes alone decide it.
 * Aligned ranges move 16 bytes at a time, others 4, each thread the same elements either way.
 *
 * Memory-bound: 4 bytes an element for the norm, then 28 for the update (w, m, v both ways, g once). Considered: two
 * launches, norm and update, save the barrier and let more blocks wait on memory, but cost a launch and, outside of a
 * graph, its gap; small models, where g is still in L2 for the second reading, are where that counts. One block of 512
 * threads a multiprocessor keeps 512 x 64 bytes of loads in flight there. No device was at hand: times are n/a (no
 * device). */
#include "device.cuh"

#include <float.h>

#define ADAMW_FUNCTION SIMT_DEVICE
#define ADAMW_REAL float
#define ADAMW_NAME(name) adamw_##name
#define ADAMW_SQRT sqrtf
#define ADAMW_LARGEST FLT_MAX
#include "backend/adamw_formula.h"

enum { THREADS = 512, GROUP = 4 };

/* What a block shares, at the start of its dynamic memory. */
struct adamw_shared {
    double sum[THREADS];
    mmrec_adamw_state state;
    adamw_factors factors;
    int good;
};

struct alignas(16) quad {
    float v[GROUP];
};

SIMT_DEVICE quad load_quad(const float *at, int64_t left, bool wide) {
    if (wide && left >= GROUP) return *reinterpret_cast<const quad *>(at);
    quad q = {{0.0f, 0.0f, 0.0f, 0.0f}};
#pragma unroll
    for (int k = 0; k < GROUP; k++) {
        if (k < left) q.v[k] = at[k];
    }
    return q;
}

SIMT_DEVICE void store_quad(float *at, const quad &q, int64_t left, bool wide) {
    if (wide && left >= GROUP) {
        *reinterpret_cast<quad *>(at) = q;
        return;
    }
#pragma unroll
    for (int k = 0; k < GROUP; k++) {
        if (k < left) at[k] = q.v[k];
    }
}

SIMT_DEVICE bool aligned(const void *at) { return (reinterpret_cast<uintptr_t>(at) & 15u) == 0; }

/* Elements [first, end) of a range that make up a chunk. */
struct adamw_piece {
    const mmrec_adamw_range *range;
    int64_t first, end;
};

SIMT_DEVICE adamw_piece piece_of(const mmrec_adamw_call &call, int64_t chunk) {
    const mmrec_adamw_range *range = adamw_range_of(call.ranges, call.range_count, chunk);
    int64_t first = (chunk - range->chunk) * MMREC_ADAMW_CHUNK, end = first + MMREC_ADAMW_CHUNK;
    return {range, first, end < range->count ? end : range->count};
}

/* This thread's share of a chunk's sum of squares. */
SIMT_DEVICE double squares(const adamw_piece &piece) {
    const float *gradient = static_cast<const float *>(piece.range->gradient);
    bool wide = aligned(gradient);
    double sum = 0;
    for (int64_t i = piece.first + GROUP * threadIdx.x; i < piece.end; i += GROUP * THREADS) {
        quad g = load_quad(gradient + i, piece.end - i, wide);
#pragma unroll
        for (int k = 0; k < GROUP; k++) sum += static_cast<double>(g.v[k]) * static_cast<double>(g.v[k]);
    }
    return sum;
}

SIMT_DEVICE void update(const adamw_piece &piece, const adamw_factors &f) {
    const mmrec_adamw_range *r = piece.range;
    float *w = static_cast<float *>(r->parameter), *m = static_cast<float *>(r->first);
    float *v = static_cast<float *>(r->second);
    const float *g = static_cast<const float *>(r->gradient);
    bool wide = aligned(w) && aligned(m) && aligned(v) && aligned(g);
    float shrink = r->decay > 0 ? f.shrink : 1.0f;
    for (int64_t i = piece.first + GROUP * threadIdx.x; i < piece.end; i += GROUP * THREADS) {
        int64_t left = piece.end - i;
        quad qg = load_quad(g + i, left, wide), qw = load_quad(w + i, left, wide);
        quad qm = load_quad(m + i, left, wide), qv = load_quad(v + i, left, wide);
#pragma unroll
        for (int k = 0; k < GROUP; k++) adamw_element(&f, shrink, qg.v[k], &qw.v[k], &qm.v[k], &qv.v[k]);
        store_quad(w + i, qw, left, wide);
        store_quad(m + i, qm, left, wide);
        store_quad(v + i, qv, left, wide);
    }
}

SIMT_KERNEL(THREADS) k_adamw(mmrec_adamw_call call, unsigned *barrier, uint64_t spin_limit, mmrec_cuda_fault *fault) {
    adamw_shared *shared = simt_shared<adamw_shared>();
    int64_t parts = MMREC_ADAMW_PARTS;
    if (parts > call.chunk_count) parts = call.chunk_count;
    if (threadIdx.x == 0) shared->state = *call.state;
    for (int64_t part = blockIdx.x; part < parts; part += gridDim.x) {
        double sum = 0;
        for (int64_t chunk = part; chunk < call.chunk_count; chunk += MMREC_ADAMW_PARTS) {
            sum += squares(piece_of(call, chunk));
        }
        sum = block_sum_double<THREADS>(sum, shared->sum);
        if (threadIdx.x == 0) call.partials[part] = sum;
    }
    if (!simt_grid_sync(barrier, spin_limit)) {
        if (threadIdx.x == 0) report_fault(fault, MMREC_CUDA_FAULT_SPIN, MMREC_OP_NONE, 0, (int64_t)spin_limit, 0);
        return;
    }
    double sum = 0;
    for (int64_t part = threadIdx.x; part < parts; part += THREADS) sum += call.partials[part];
    sum = block_sum_double<THREADS>(sum, shared->sum);
    if (threadIdx.x == 0) {
        shared->good = adamw_begin(&shared->state, sum, &shared->factors) ? 1 : 0;
        if (blockIdx.x == 0) *call.state = shared->state;
    }
    simt_block_sync();
    if (!shared->good) return;
    adamw_factors factors = shared->factors;
    for (int64_t chunk = blockIdx.x; chunk < call.chunk_count; chunk += gridDim.x)
        update(piece_of(call, chunk), factors);
}

mmrec_status mmrec_cuda_adamw(const mmrec_adamw_call *call, mmrec_error *error) {
    const mmrec_cuda *now = mmrec_cuda_now();
    int64_t blocks = call->chunk_count < now->sms ? call->chunk_count : now->sms;
    simt_shape shape = {static_cast<unsigned>(blocks), THREADS, sizeof(adamw_shared), SIMT_RESIDENT, 0};
    return SIMT_LAUNCH(k_adamw, shape, error, *call, now->barrier, now->spin_limit, now->fault);
}
