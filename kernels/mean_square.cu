/* mean_square: loss = mean over all elements of (a - b)^2; da = dloss 2 (a - b) / n, db = -da.
 *
 * Source: host/ops/mean_square.c.
 *
 *   a, b, da, db   (rows, columns)   float or bf16, rows may be slices of wider ones
 *   loss, dloss    (1)               float
 *   scratch        (1024) float, forward: a sum for each block
 *
 * A thread has 16 bytes of a row (each.cuh); memory-bound, 8 bytes an element forward and 12 to 16 backward. Up to 1024
 * blocks give a sum each; a second launch of one block adds those up.
 *
 * Order of sums: a thread's pieces in float, one after the other; a block's threads over lanes, then warps; the blocks'
 * sums in double, every 256th by a thread and then the threads by halves. Fixed by the sizes and by whether rows start
 * on 16 bytes.
 * Considered: the last block to finish adds up the others' sums, one launch less; it needs a counter that starts at
 * zero, and scratch does not. The threads' sums one after the other: a chain of 255 additions for one of 8. */
#include "each.cuh"

#include "ops/mean_square_device.h"

enum { IN_A, IN_B };

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_mean_square_part(matrix<const T> a, matrix<const T> b, float *parts, each_loop loop) {
    float sum = 0.0f;
    for (EACH(at, loop)) {
        float x[N], y[N];
        each_load(loop, at, a.row(at.row), x);
        each_load(loop, at, b.row(at.row), y);
        for (int i = 0; i < N; i++) sum += (x[i] - y[i]) * (x[i] - y[i]);
    }
    sum = block_sum(sum, simt_shared<float>());
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

/* One block. */
SIMT_KERNEL(EACH_THREADS) k_mean_square_join(const float *parts, unsigned count, float *loss, double elements) {
    double *shared = simt_shared<double>(), sum = 0.0;
    for (unsigned i = threadIdx.x; i < count; i += EACH_THREADS) sum += static_cast<double>(parts[i]);
    shared[threadIdx.x] = sum;
    for (unsigned half = EACH_THREADS / 2; half > 0; half /= 2) {
        simt_block_sync();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    if (threadIdx.x == 0) *loss = static_cast<float>(shared[0] / elements);
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_mean_square_bwd(matrix<const T> a, matrix<const T> b, const float *dloss, matrix<T> da, matrix<T> db, each_loop loop,
                  float share, bool add_a, bool add_b) {
    float factor = *dloss * share;
    for (EACH(at, loop)) {
        float x[N], y[N];
        each_load(loop, at, a.row(at.row), x);
        each_load(loop, at, b.row(at.row), y);
        for (int i = 0; i < N; i++) {
            x[i] = factor * (x[i] - y[i]);
            y[i] = -x[i];
        }
        if (da.data) each_deliver(loop, at, da.row(at.row), x, add_a);
        if (db.data) each_deliver(loop, at, db.row(at.row), y, add_b);
    }
}

static mmrec_status sum_parts(const mmrec_op_call *call, const each_loop &loop, mmrec_error *error) {
    const mmrec_view &a = call->in[IN_A], &b = call->in[IN_B];
    simt_shape shape = {loop.blocks, EACH_THREADS, 32 * sizeof(float), SIMT_FREE, 0};
    EACH_BY_TYPE(loop, a, T, N,
                 return SIMT_LAUNCH((k_mean_square_part<T, N>), shape, error, matrix_of<const T>(a),
                                    matrix_of<const T>(b), static_cast<float *>(call->scratch), loop));
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &a = call->in[IN_A];
    each_loop loop = each_over({&a, &call->in[IN_B]}, MEAN_SQUARE_PARTS);
    simt_shape one = {1, EACH_THREADS, EACH_THREADS * sizeof(double), SIMT_FREE, 0};
    MMREC_TRY(sum_parts(call, loop, error));
    return SIMT_LAUNCH(k_mean_square_join, one, error, static_cast<const float *>(call->scratch), loop.blocks,
                       static_cast<float *>(call->out[0].data), static_cast<double>(mmrec_shape_elements(&a.shape)));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &a = call->in[IN_A], &b = call->in[IN_B], &da = call->d_in[IN_A], &db = call->d_in[IN_B];
    each_loop loop = each_over({&a, &b, &da, &db}, each_most());
    float share = static_cast<float>(2.0 / static_cast<double>(mmrec_shape_elements(&a.shape)));
    EACH_BY_TYPE(loop, a, T, N,
                 return SIMT_LAUNCH((k_mean_square_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(a),
                                    matrix_of<const T>(b), static_cast<const float *>(call->d_out[0].data),
                                    matrix_of<T>(da), matrix_of<T>(db), loop, share, call_adds(call, IN_A),
                                    call_adds(call, IN_B)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_mean_square = {{forward, backward}};
