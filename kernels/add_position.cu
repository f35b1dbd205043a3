/* add_position: y[b, t] = x[b, t] + table[t]; dx = dy, dtable[t] = sum over b of dy[b, t], 0 from row T on.
 *
 * Source: host/ops/add_position.c.
 *
 *   x, dx, y, dy    (B T, D)   float or bf16, rows may be slices of wider ones
 *   table, dtable   (P, D)     float
 *
 * Forward: a thread has 16 bytes of a row (each.cuh). Backward: dx is a copy (copy.cuh); for dtable a thread has the
 * same 16 bytes of every batch row of its step, four rows loaded at a time. Memory-bound. Considered: dx in the pass
 * that sums dy, which reads dy once instead of twice; but each of the two gradients may be absent, or be added to.
 *
 * Order of sums: batch rows, from first to last. */
#include "copy.cuh"

enum { IN_X, IN_TABLE };
enum { BATCH_AHEAD = 4 };

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_add_position_fwd(matrix<const T> x, matrix<const float> table, matrix<T> y, each_loop loop, int64_t steps) {
    for (EACH(at, loop)) {
        float v[N], position[N];
        each_load(loop, at, x.row(at.row), v);
        each_load(loop, at, table.row(at.row % steps), position);
        for (int i = 0; i < N; i++) v[i] += position[i];
        each_store(loop, at, y.row(at.row), v);
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_add_position_bwd(matrix<const T> dy, matrix<float> dtable, each_loop loop, int64_t batch, int64_t steps, bool add) {
    for (EACH(at, loop)) {
        float sum[N] = {};
        for (int64_t first = 0; at.row < steps && first < batch; first += BATCH_AHEAD) {
            float v[BATCH_AHEAD][N] = {};
            for (int k = 0; k < BATCH_AHEAD; k++) {
                if (first + k < batch) each_load(loop, at, dy.row((first + k) * steps + at.row), v[k]);
            }
            for (int k = 0; k < BATCH_AHEAD; k++) {
                for (int i = 0; i < N; i++) sum[i] += v[k][i];
            }
        }
        each_deliver(loop, at, dtable.row(at.row), sum, add);
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[IN_X], &table = call->in[IN_TABLE], &y = call->out[0];
    each_loop loop =
        each_rows(mmrec_shape_rows(&y.shape), MMREC_SIZE(call->sizes, D), y.dtype, {&x, &table, &y}, each_most());
    EACH_BY_TYPE(loop, y, T, N,
                 return SIMT_LAUNCH((k_add_position_fwd<T, N>), each_shape(loop), error, matrix_of<const T>(x),
                                    matrix_of<const float>(table), matrix_of<T>(y), loop, MMREC_SIZE(call->sizes, T)));
}

static mmrec_status table_gradient(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dy = call->d_out[0], &dtable = call->d_in[IN_TABLE];
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T);
    each_loop loop =
        each_rows(MMREC_SIZE(call->sizes, P), MMREC_SIZE(call->sizes, D), dy.dtype, {&dy, &dtable}, each_most());
    EACH_BY_TYPE(loop, dy, T, N,
                 return SIMT_LAUNCH((k_add_position_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(dy),
                                    matrix_of<float>(dtable), loop, batch, steps, call_adds(call, IN_TABLE)));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dx = call->d_in[IN_X];
    if (dx.data) MMREC_TRY(copy_same(call->d_out[0], dx, call_adds(call, IN_X), error));
    return call->d_in[IN_TABLE].data ? table_gradient(call, error) : MMREC_OK;
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_add_position = {{forward, backward}};
