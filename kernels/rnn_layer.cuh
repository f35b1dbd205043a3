/* A recurrent layer around its steps (rnn.cuh): the products that need no order, before and after them.
 *
 * Forward: x Wi^T + bi of all rows of x in one product, into the place where the gates are saved if each step has a row
 * of x, else into scratch, where one row for a batch row is read by all its steps. Then the steps.
 *
 * Backward: the steps write the slopes, what the gradient is of the sums that enter the gates, (B T, 4 H). Which
 * columns of them belong to which rows of the weights an op says by rnn_kind: Wh has all its rows in one piece, so that
 * a step is one product; for gru Wi then has two. After the steps
 *
 *   dx = slopes Wi   dWi = slopes^T x   dbi, dbh = column sums   dWh = slopes^T h_{t-1}
 *
 * Where one row of x served all steps, dx, dWi and the biases take slopes added up over the steps first (k_rnn_fold; t
 * in order). Row r of the slopes meets row r - 1 of y, except at t = 0, where it meets h0: those rows are set apart and
 * zeroed (k_rnn_first), last of all, so that all others are one product and not B.
 *
 * Order of sums: products as cuBLASLt has it; of dWh h0's rows first; biases as columns.cuh has it. */
#ifndef MMREC_RNN_LAYER_CUH
#define MMREC_RNN_LAYER_CUH

#include "columns.cuh"
#include "rnn.cuh"

enum { RNN_IN_X, RNN_IN_H0, RNN_OUT_Y = 0, RNN_OUT_H_LAST, RNN_AHEAD = 8, RNN_WAVES = 8 };

/* `count` H columns of the slopes from `column` H on belong to as many rows of a weight from `gate` H on. */
struct rnn_piece {
    int column, gate, count;
};

struct rnn_kind {
    const char *name;
    int gates, weight_ih, weight_hh, bias_ih, bias_hh; /* inputs */
    rnn_piece hidden, input[2];
    int inputs; /* pieces of `input` */
};

/* One call on the host's side. */
struct rnn_job {
    const mmrec_op_call *call;
    const rnn_kind *kind;
    rnn_sizes sizes;
    float *scratch(size_t at) const {
        return reinterpret_cast<float *>(static_cast<unsigned char *>(call->scratch) + at);
    }
};

/* What a step reads of x Wi^T + bi: a row for each step, or one for all. */
struct rnn_input {
    matrix<const float> data;
    int each, steps;
    SIMT_DEVICE const float *row(int b, int t) const {
        return data.row(static_cast<int64_t>(b) * each + (each == steps ? t : 0));
    }
};

/* ---- views ---- */

static inline mmrec_view rnn_dense(float *data, int64_t rows, int64_t columns, int64_t stride) {
    mmrec_view v = mmrec_view_dense(data, MMREC_F32, mmrec_shape2(rows, columns));
    v.stride = stride;
    return v;
}
static inline mmrec_view rnn_columns(const mmrec_view &of, int64_t first, int64_t columns) {
    return rnn_dense(static_cast<float *>(of.data) + first, mmrec_shape_rows(&of.shape), columns, of.stride);
}
static inline mmrec_view rnn_rows(const mmrec_view &of, int64_t first, int64_t rows) {
    return rnn_dense(static_cast<float *>(of.data) + first * of.stride, rows, mmrec_shape_columns(&of.shape),
                     of.stride);
}
/* Step t of (B T) rows. */
static inline mmrec_view rnn_step_of(const mmrec_view &of, const rnn_sizes &r, int64_t t) {
    return rnn_dense(static_cast<float *>(of.data) + t * of.stride, r.batch, mmrec_shape_columns(&of.shape),
                     of.stride * r.steps);
}
static inline mmrec_view rnn_slopes(const rnn_job &job) {
    int64_t columns = job.sizes.width * RNN_SLOPES;
    return rnn_dense(job.scratch(job.sizes.slopes), job.sizes.batch * job.sizes.steps, columns, columns);
}

/* ---- both passes ---- */

static inline mmrec_status rnn_check(const rnn_job &job, mmrec_error *error) {
    const rnn_sizes &r = job.sizes;
    if (r.width <= ROW_WIDEST / RNN_SLOPES && r.batch <= ROW_WIDEST / r.width && r.steps <= ROW_WIDEST) return MMREC_OK;
    MMREC_FAIL(
        error, MMREC_UNSUPPORTED,
        "%s: a state of B = %lld times H = %lld over T = %lld steps; on a device B H and T may be %d at most, use "
        "a smaller batch or fewer steps",
        job.kind->name, (long long)r.batch, (long long)r.width, (long long)r.steps, ROW_WIDEST);
}

static inline rnn_job rnn_job_of(const mmrec_op_call *call, const rnn_kind &kind, mmrec_pass pass) {
    return {call, &kind, rnn_sizes_of(call->sizes, kind.gates, pass)};
}

static inline rnn_frame rnn_frame_of(const rnn_job &job, int total) {
    const rnn_sizes &r = job.sizes;
    return {static_cast<int>(r.batch), static_cast<int>(r.steps), static_cast<int>(r.width), total,
            job.scratch(r.carry),      job.scratch(r.product)};
}

/* ---- forward ---- */

/* Where the input half of the gates is made. */
static inline mmrec_view rnn_input_half(const rnn_job &job) {
    const rnn_sizes &r = job.sizes;
    int64_t columns = r.width * r.gates;
    if (r.in_place) return rnn_columns(job.call->saved[0], 0, columns);
    return rnn_dense(job.scratch(r.input), r.batch * r.inputs, columns, columns);
}

static inline rnn_input rnn_input_of(const rnn_job &job) {
    return {matrix_of<const float>(rnn_input_half(job)), static_cast<int>(job.sizes.inputs),
            static_cast<int>(job.sizes.steps)};
}

template <typename Cell>
static mmrec_status rnn_forward_graph(const rnn_job &job, const rnn_frame &f, const Cell &cell, mmrec_error *error) {
    const mmrec_op_call *call = job.call;
    const rnn_sizes &r = job.sizes;
    const mmrec_view *weight = &call->in[job.kind->weight_hh];
    const void *bias = call->in[job.kind->bias_hh].data;
    mmrec_view product = rnn_dense(job.scratch(r.product), r.batch, r.width * r.gates, r.width * r.gates);
    for (int t = 0; t < f.steps; t++) {
        mmrec_view h = t > 0 ? rnn_step_of(call->out[RNN_OUT_Y], r, t - 1) : call->in[RNN_IN_H0];
        MMREC_TRY(h.data ? mmrec_cuda_gemm(&h, false, weight, true, &product, bias, false, error)
                         : mmrec_cuda_put_row(&product, bias, false, error));
        MMREC_TRY(rnn_launch_step(f, cell, t + 1, error));
    }
    return MMREC_OK;
}

template <typename Cell> static mmrec_status rnn_forward(const rnn_job &job, const Cell &cell, mmrec_error *error) {
    const mmrec_op_call *call = job.call;
    const rnn_kind &kind = *job.kind;
    const float *bias = static_cast<const float *>(call->in[kind.bias_hh].data);
    mmrec_view half = rnn_input_half(job);
    MMREC_TRY(mmrec_cuda_gemm(&call->in[RNN_IN_X], false, &call->in[kind.weight_ih], true, &half,
                              call->in[kind.bias_ih].data, false, error));
    rnn_frame f = rnn_frame_of(job, static_cast<int>(job.sizes.steps) + 1);
    rnn_way way = rnn_way_of(job.sizes.batch, job.sizes.width, Cell::GATES, Cell::SENT);
    if (way.rows == 0) return rnn_forward_graph(job, f, cell, error);
    return rnn_run_small(way, f, cell, {matrix_of<const float>(call->in[kind.weight_hh]), bias, 0}, error);
}

/* ---- backward: the steps ---- */

template <typename Cell>
static mmrec_status rnn_backward_graph(const rnn_job &job, const rnn_frame &f, const Cell &cell, mmrec_error *error) {
    const rnn_sizes &r = job.sizes;
    const mmrec_view *weight = &job.call->in[job.kind->weight_hh];
    mmrec_view product = rnn_dense(job.scratch(r.product), r.batch, r.width, r.width);
    mmrec_view slopes = rnn_columns(rnn_slopes(job), job.kind->hidden.column * r.width, r.gates * r.width);
    for (int i = 0; i < f.total; i++) {
        if (i > 0) {
            mmrec_view later = rnn_step_of(slopes, r, r.steps - i);
            MMREC_TRY(mmrec_cuda_gemm(&later, false, weight, false, &product, nullptr, false, error));
        }
        MMREC_TRY(rnn_launch_step(f, cell, i, error));
    }
    return MMREC_OK;
}

/* The last iteration only makes the gradients of the first state: `first_state` says whether any is wanted. */
template <typename Cell>
static mmrec_status rnn_backward_steps(const rnn_job &job, const Cell &cell, bool first_state, mmrec_error *error) {
    rnn_frame f = rnn_frame_of(job, static_cast<int>(job.sizes.steps) + (first_state ? 1 : 0));
    rnn_way way = rnn_way_of(job.sizes.batch, job.sizes.width, Cell::GATES, Cell::SENT);
    if (way.rows == 0) return rnn_backward_graph(job, f, cell, error);
    return rnn_run_small(way, f, cell, {matrix_of<const float>(job.call->in[job.kind->weight_hh]), nullptr, 0}, error);
}

/* ---- backward: after the steps ---- */

/* fold[b] = the sum of the slopes of batch row b over its steps: a thread has one column of one batch row. */
template <typename T>
SIMT_KERNEL(RNN_THREADS)
k_rnn_fold(const T *slopes, T *fold, int64_t count, int64_t columns, int64_t steps) {
    for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < count;
         i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
        const T *from = slopes + i / columns * steps * columns + i % columns;
        float sum = 0.0f;
        for (int64_t t = 0; t < steps; t += RNN_AHEAD) {
            float v[RNN_AHEAD] = {};
#pragma unroll
            for (int k = 0; k < RNN_AHEAD; k++) {
                if (t + k < steps) v[k] = from[(t + k) * columns];
            }
#pragma unroll
            for (int k = 0; k < RNN_AHEAD; k++) sum += v[k];
        }
        fold[i] = sum;
    }
}

/* Sets the slopes of the first step apart; zeros take their place. `slopes`: at the first of `columns` of each row. */
template <typename T>
SIMT_KERNEL(RNN_THREADS)
k_rnn_first(T *slopes, T *first, int64_t count, int64_t columns, int64_t stride) {
    for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < count;
         i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
        T *at = slopes + i / columns * stride + i % columns;
        first[i] = *at;
        *at = 0.0f;
    }
}

static inline simt_shape rnn_flat(int64_t count) {
    return {grid_for(count, RNN_THREADS, RNN_WAVES), RNN_THREADS, 0, SIMT_FREE, 0};
}

/* The slopes as x sees them: one row for each of its rows. */
static inline mmrec_status rnn_fold(const rnn_job &job, mmrec_view *to, mmrec_error *error) {
    const rnn_sizes &r = job.sizes;
    int64_t columns = r.width * RNN_SLOPES;
    *to = rnn_slopes(job);
    if (!r.folded) return MMREC_OK;
    *to = rnn_dense(job.scratch(r.fold), r.batch, columns, columns);
    return SIMT_LAUNCH((k_rnn_fold<float>), rnn_flat(r.batch * columns), error, job.scratch(r.slopes),
                       job.scratch(r.fold), r.batch * columns, columns, r.steps);
}

static inline mmrec_status rnn_input_gradients(const rnn_job &job, const mmrec_view &slopes, mmrec_error *error) {
    const mmrec_op_call *call = job.call;
    const rnn_kind &kind = *job.kind;
    const mmrec_view &dx = call->d_in[RNN_IN_X], &dweight = call->d_in[kind.weight_ih];
    int64_t width = job.sizes.width;
    for (int i = 0; i < kind.inputs; i++) {
        const rnn_piece &p = kind.input[i];
        mmrec_view part = rnn_columns(slopes, p.column * width, p.count * width);
        if (dx.data) {
            mmrec_view weight = rnn_rows(call->in[kind.weight_ih], p.gate * width, p.count * width);
            bool add = i > 0 || call_adds(call, RNN_IN_X);
            MMREC_TRY(mmrec_cuda_gemm(&part, false, &weight, false, &dx, nullptr, add, error));
        }
        if (dweight.data) {
            mmrec_view to = rnn_rows(dweight, p.gate * width, p.count * width);
            bool add = call_adds(call, kind.weight_ih);
            MMREC_TRY(mmrec_cuda_gemm(&part, true, &call->in[RNN_IN_X], false, &to, nullptr, add, error));
        }
    }
    return MMREC_OK;
}

/* One piece of a bias' gradient from the partial sums of all columns. */
static inline mmrec_status rnn_bias_piece(const rnn_job &job, int input, const rnn_piece &p, mmrec_error *error) {
    const rnn_sizes &r = job.sizes;
    float *to = static_cast<float *>(job.call->d_in[input].data);
    if (!to) return MMREC_OK;
    row_pieces pieces = r.pieces;
    pieces.columns = static_cast<int>(p.count * r.width);
    return columns_join({job.scratch(r.sums) + p.column * r.width, to + p.gate * r.width, call_adds(job.call, input)},
                        {nullptr, nullptr, false}, pieces, error);
}

static inline mmrec_status rnn_bias_gradients(const rnn_job &job, const mmrec_view &slopes, mmrec_error *error) {
    const rnn_kind &kind = *job.kind;
    if (!job.call->d_in[kind.bias_ih].data && !job.call->d_in[kind.bias_hh].data) return MMREC_OK;
    MMREC_TRY(columns_part<float>(slopes, 1, job.sizes.pieces, job.scratch(job.sizes.sums), error));
    for (int i = 0; i < kind.inputs; i++) MMREC_TRY(rnn_bias_piece(job, kind.bias_ih, kind.input[i], error));
    return rnn_bias_piece(job, kind.bias_hh, kind.hidden, error);
}

/* The rows of all later steps with y of the step before. Where there is but one step all rows are zeros by now, and
 * with any rows of y they give the zeros that are due. */
static inline mmrec_status rnn_later_gradient(const rnn_job &job, const mmrec_view &slopes, bool add,
                                              mmrec_error *error) {
    const mmrec_view &y = job.call->out[RNN_OUT_Y], &to = job.call->d_in[job.kind->weight_hh];
    int64_t rows = job.sizes.batch * job.sizes.steps, shift = job.sizes.steps > 1 ? 1 : 0;
    mmrec_view later = rnn_rows(slopes, shift, rows - shift), before = rnn_rows(y, 0, rows - shift);
    return mmrec_cuda_gemm(&later, true, &before, false, &to, nullptr, add, error);
}

static inline mmrec_status rnn_hidden_gradient(const rnn_job &job, mmrec_error *error) {
    const mmrec_op_call *call = job.call;
    const rnn_kind &kind = *job.kind;
    const rnn_sizes &r = job.sizes;
    const mmrec_view &to = call->d_in[kind.weight_hh], &h0 = call->in[RNN_IN_H0];
    int64_t columns = r.gates * r.width, stride = r.steps * r.width * RNN_SLOPES;
    if (!to.data) return MMREC_OK;
    mmrec_view slopes = rnn_columns(rnn_slopes(job), kind.hidden.column * r.width, columns);
    mmrec_view first = rnn_dense(job.scratch(r.first), r.batch, columns, columns);
    bool add = call_adds(call, kind.weight_hh);
    MMREC_TRY(SIMT_LAUNCH((k_rnn_first<float>), rnn_flat(r.batch * columns), error, static_cast<float *>(slopes.data),
                          job.scratch(r.first), r.batch * columns, columns, stride));
    if (h0.data) MMREC_TRY(mmrec_cuda_gemm(&first, true, &h0, false, &to, nullptr, add, error));
    if (h0.data && r.steps == 1) return MMREC_OK;
    return rnn_later_gradient(job, slopes, add || h0.data, error);
}

static inline mmrec_status rnn_gradients(const rnn_job &job, mmrec_error *error) {
    mmrec_view slopes;
    MMREC_TRY(rnn_fold(job, &slopes, error));
    MMREC_TRY(rnn_input_gradients(job, slopes, error));
    MMREC_TRY(rnn_bias_gradients(job, slopes, error));
    return rnn_hidden_gradient(job, error);
}

#endif
