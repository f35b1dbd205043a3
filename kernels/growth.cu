/* growth: max over all elements of 1.1 gamma + 0.1 (1 - m); NaN where any element is. No gradient.
 *
 * Source: host/ops/growth.c.
 *
 *   gamma, m   (rows, columns)   float, rows may be slices of wider ones
 *   growth     (1)               float
 *   scratch    (528) float: a maximum for each block
 *
 * A thread has 16 bytes of a row (each.cuh); memory-bound, 8 bytes an element. Up to 528 blocks give a maximum each; a
 * second launch of one block takes the largest of those.
 *
 * Order: a maximum has none, so the bits do not hang on the cut. fmaxf returns the other argument of a NaN and so loses
 * it; `larger` keeps it, for one comparison more.
 * Considered: atomicMax on the bits as an integer, one launch less; it needs a place that starts at the least number,
 * which is a launch too. */
#include "each.cuh"

#include "ops/growth_device.h"

enum { IN_GAMMA, IN_M };

/* A NaN goes in and never out. */
SIMT_DEVICE float larger(float top, float v) { return !(top >= v) && top == top ? v : top; }

SIMT_DEVICE float block_larger(float v, float *shared) {
    return block_join(v, shared, -INFINITY, [](float x) {
        for (int mask = 16; mask > 0; mask >>= 1) x = larger(x, simt_shuffle_xor(x, mask));
        return x;
    });
}

template <int N>
SIMT_KERNEL(EACH_THREADS)
k_growth_part(matrix<const float> gamma, matrix<const float> m, float *parts, each_loop loop) {
    float top = -INFINITY;
    for (EACH(at, loop)) {
        float x[N], y[N];
        /* What lies beyond the row's end must not be the largest. */
        load_neighbours(x, gamma.row(at.row), at.piece * N, each_end<N>(loop, at), true, -INFINITY);
        each_load(loop, at, m.row(at.row), y);
        for (int i = 0; i < N; i++) top = larger(top, 1.1f * x[i] + 0.1f * (1.0f - y[i]));
    }
    top = block_larger(top, simt_shared<float>());
    if (threadIdx.x == 0) parts[blockIdx.x] = top;
}

/* One block. */
SIMT_KERNEL(EACH_THREADS) k_growth_join(const float *parts, unsigned count, float *growth) {
    float top = -INFINITY;
    for (unsigned i = threadIdx.x; i < count; i += EACH_THREADS) top = larger(top, parts[i]);
    top = block_larger(top, simt_shared<float>());
    if (threadIdx.x == 0) *growth = top;
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &gamma = call->in[IN_GAMMA], &m = call->in[IN_M];
    each_loop loop = each_over({&gamma, &m}, GROWTH_PARTS);
    float *parts = static_cast<float *>(call->scratch);
    simt_shape many = {loop.blocks, EACH_THREADS, 32 * sizeof(float), SIMT_FREE, 0};
    simt_shape one = {1, EACH_THREADS, 32 * sizeof(float), SIMT_FREE, 0};
    EACH_BY_WIDTH(loop, float, N,
                  MMREC_TRY(SIMT_LAUNCH((k_growth_part<N>), many, error, matrix_of<const float>(gamma),
                                        matrix_of<const float>(m), parts, loop)));
    return SIMT_LAUNCH(k_growth_join, one, error, parts, loop.blocks, static_cast<float *>(call->out[0].data));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_growth = {{forward, nullptr}};
