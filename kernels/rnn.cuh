/* The steps of a recurrent layer, one after the other: a product of the state with Wh, then what the cell does with its
 * sums. Two ways, for any cell:
 *
 *   graph   a launch of cuBLASLt's product and one of k_rnn_step for each step, meant to be recorded into a CUDA graph;
 *           any size. Between launches a state element waits in `carry`, the sums in `product`.
 *   small   k_rnn_small, one launch for all steps, at most 128 units: a block has one or two batch rows and all of
 *           Wh, so that no block ever waits for another.
 *
 * A Cell is one pass of one kind of layer, given to the kernels by value:
 *
 *   GATES                       rows of Wh for each unit
 *   SUMS                        sums that a unit takes from the product: GATES forward, 1 backward
 *   SENT                        values of a unit that enter the next product: 1 forward (h), GATES backward (slopes)
 *   FIRST                       the first iteration in which a unit does anything but hand on where it starts from
 *   input                       what a step reads besides the sums, in registers
 *   begin(row, unit)            the state element that the unit carries from step to step, before the first
 *   fetch(f, row, unit, i, in)
 *   step(f, row, unit, i, sums, in, kept, sent)   writes what the step yields; `kept`: the carried element
 *
 * Forward, iteration i > 0 is step t = i - 1, and iteration 0 sends h0. Backward, iteration i is step t = T - 1 - i,
 * and iteration T delivers the gradients of h0 and c0.
 *
 * k_rnn_step: a thread has one unit of one batch row.
 *
 * k_rnn_small: thread p H + u has gate p of unit u. Forward it holds row p H + u of Wh and its sum is the gate's;
 * backward it holds column u of the p-th H rows, and its sum is the p-th part of the unit's. Of its H weights 32 or 64
 * lie in registers, the rest in shared memory, side by side with those of its neighbours (no bank conflicts). The
 * vector is read by all threads of a gate at once, four values a load: 4 ROWS multiply-adds for ROWS loads where
 * weights are in registers. Then thread r H + u is unit u of batch row r (there are more threads than units of all
 * rows), and its state never leaves its registers. What it reads for a step is asked for one step ahead. Two barriers a
 * step.
 *
 * Order of sums: small: bias, then the sum of four interleaved sums over the units in order ((0 + 1) + (2 + 3));
 * backward the gates' parts in order. It does not depend on the rows of a block. graph: as cuBLASLt has it. So the two
 * ways differ in their last bits; which one runs follows from the sizes and the device alone.
 *
 * Considered: a persistent kernel over the whole grid, as the recurrence has (recurrence_exchange.cuh), for 128 to 2048
 * units: Wh would stay on chip there too. It is not done; these sizes take the way `graph`. */
#ifndef MMREC_RNN_CUH
#define MMREC_RNN_CUH

#include "device.cuh"

#include "ops/rnn_device.h"

enum { RNN_THREADS = 256, RNN_FEW = 32, RNN_MANY = 64, RNN_SMALL_WIDTH = 128, RNN_ROWS = 2 };

struct rnn_frame {
    int batch, steps, width, total; /* total: iterations */
    float *carry;                   /* (B, H) */
    const float *product;           /* (B, SUMS H) */
};

/* Wh, and what its product starts from (forward; else NULL). */
struct rnn_weights {
    matrix<const float> hidden;
    const float *bias;
    int vector; /* rnn_vector */
};

/* A matrix that may be absent: 0 then. */
SIMT_DEVICE float rnn_read(const matrix<const float> &from, int64_t row, int unit) {
    return from.data ? from.row(row)[unit] : 0.0f;
}

SIMT_DEVICE void rnn_write(const matrix<float> &to, int64_t row, int unit, float value) {
    if (to.data) to.row(row)[unit] = value;
}

template <typename Cell> SIMT_KERNEL(RNN_THREADS) k_rnn_step(rnn_frame f, Cell cell, int i) {
    int at = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), row = at / f.width, unit = at % f.width;
    if (row >= f.batch) return;
    typename Cell::input in = {};
    float sums[Cell::SUMS] = {}, sent[Cell::SENT] = {};
    cell.fetch(f, row, unit, i, in);
    float kept = i == Cell::FIRST ? cell.begin(row, unit) : f.carry[at];
    for (int s = 0; s < Cell::SUMS && i > 0; s++) {
        sums[s] = f.product[(static_cast<int64_t>(row) * Cell::SUMS + s) * f.width + unit];
    }
    cell.step(f, row, unit, i, sums, in, kept, sent);
    f.carry[at] = kept;
}

/* ---- all steps in one launch ---- */

/* Floats of the vector of one gate: whole loads of four, and as far as the registers' weights reach. */
static inline int rnn_vector(int width, int keep) { return width > keep ? (width + 3) / 4 * 4 : keep; }
static inline int rnn_small_threads(int gates, int width) { return (gates * width + 31) / 32 * 32; }

/* Shared memory of a block: vectors, sums, weights that are not in registers. */
static inline size_t rnn_small_bytes(int gates, int sent, int width, int keep, int rows) {
    size_t vector = static_cast<size_t>(rnn_vector(width, keep)), threads = rnn_small_threads(gates, width);
    size_t vectors = static_cast<size_t>(rows * sent) * vector, sums = static_cast<size_t>(rows) * threads;
    return (vectors + sums + (vector - static_cast<size_t>(keep)) * threads) * sizeof(float);
}

struct rnn_block {
    float *vectors, *sums, *rest;
    int vector;        /* floats of one */
    int count;         /* of weights in shared memory, for each thread */
    int gate, unit;    /* this thread's part of the product */
    int row, of, item; /* its batch row, which is number `of` in the block, and unit there */
    bool sums_up, mine;
};

template <typename Cell, int KEEP, int ROWS> SIMT_DEVICE rnn_block rnn_block_of(const rnn_frame &f, int vector) {
    rnn_block k;
    int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
    k.vector = vector;
    k.count = vector - KEEP;
    k.vectors = simt_shared<float>();
    k.sums = k.vectors + ROWS * Cell::SENT * k.vector;
    k.rest = k.sums + ROWS * threads + thread;
    k.gate = k.of = thread / f.width;
    k.unit = k.item = thread % f.width;
    k.row = static_cast<int>(blockIdx.x) * ROWS + k.of;
    k.sums_up = k.gate < Cell::GATES;
    k.mine = k.of < ROWS && k.row < f.batch;
    return k;
}

/* This thread's weights, 0 beyond the last unit; and vectors of zeros. */
template <typename Cell, int KEEP, int ROWS>
SIMT_DEVICE void rnn_enter(const rnn_frame &f, const rnn_block &k, const rnn_weights &w, float (&held)[KEEP]) {
    int threads = static_cast<int>(blockDim.x), floats = ROWS * Cell::SENT * k.vector;
    for (int i = static_cast<int>(threadIdx.x); i < floats; i += threads) k.vectors[i] = 0.0f;
    auto weight = [&](int i) {
        if (!k.sums_up || i >= f.width) return 0.0f;
        int first = k.gate * f.width;
        return Cell::SUMS == 1 ? w.hidden.row(first + i)[k.unit] : w.hidden.row(first + k.unit)[i];
    };
#pragma unroll
    for (int i = 0; i < KEEP; i++) held[i] = weight(i);
    for (int i = 0; i < k.count; i++) k.rest[i * threads] = weight(KEEP + i);
    simt_block_sync();
}

/* Four more values of the sums of all rows. */
template <int ROWS>
SIMT_DEVICE void rnn_add(const float (&weight)[4], const float *vector, int stride, float (&sum)[ROWS][4]) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        neighbours<float, 4> v = *reinterpret_cast<const neighbours<float, 4> *>(vector + r * stride);
#pragma unroll
        for (int q = 0; q < 4; q++) sum[r][q] += weight[q] * v.item[q];
    }
}

template <typename Cell, int KEEP, int ROWS>
SIMT_DEVICE void rnn_product(const rnn_block &k, const float (&held)[KEEP], float bias) {
    const float *vector = k.vectors + (Cell::SENT > 1 ? k.gate * k.vector : 0);
    int threads = static_cast<int>(blockDim.x), stride = Cell::SENT * k.vector;
    float sum[ROWS][4] = {};
#pragma unroll
    for (int i = 0; i < KEEP; i += 4) {
        float weight[4] = {held[i], held[i + 1], held[i + 2], held[i + 3]};
        rnn_add<ROWS>(weight, vector + i, stride, sum);
    }
#pragma unroll 2
    for (int i = 0; i < k.count; i += 4) {
        float weight[4];
        for (int q = 0; q < 4; q++) weight[q] = k.rest[(i + q) * threads];
        rnn_add<ROWS>(weight, vector + KEEP + i, stride, sum);
    }
    for (int r = 0; r < ROWS; r++) {
        k.sums[r * threads + static_cast<int>(threadIdx.x)] =
            bias + ((sum[r][0] + sum[r][1]) + (sum[r][2] + sum[r][3]));
    }
}

/* What this thread's unit takes from the product. */
template <typename Cell>
SIMT_DEVICE void rnn_take_sums(const rnn_frame &f, const rnn_block &k, float (&sums)[Cell::SUMS]) {
    const float *from = k.sums + k.of * static_cast<int>(blockDim.x) + k.item;
    for (int g = 0; g < Cell::GATES; g++) {
        if constexpr (Cell::SUMS == 1) {
            sums[0] = g == 0 ? from[0] : sums[0] + from[g * f.width];
        } else {
            sums[g] = from[g * f.width];
        }
    }
}

template <typename Cell, int KEEP, int ROWS>
SIMT_KERNEL_ALONE(Cell::GATES *(KEEP == RNN_FEW ? RNN_FEW : RNN_SMALL_WIDTH))
k_rnn_small(rnn_frame f, Cell cell, rnn_weights w) {
    rnn_block k = rnn_block_of<Cell, KEEP, ROWS>(f, w.vector);
    float held[KEEP];
    rnn_enter<Cell, KEEP, ROWS>(f, k, w, held);
    float bias = w.bias && k.sums_up ? w.bias[threadIdx.x] : 0.0f, kept = k.mine ? cell.begin(k.row, k.item) : 0.0f;
    typename Cell::input in = {}, next = {};
    if (k.mine) cell.fetch(f, k.row, k.item, 0, in);
    for (int i = 0; i < f.total; i++) {
        float sums[Cell::SUMS] = {}, sent[Cell::SENT] = {};
        if (k.mine && i + 1 < f.total) cell.fetch(f, k.row, k.item, i + 1, next);
        if (i > 0) {
            if (k.sums_up) rnn_product<Cell, KEEP, ROWS>(k, held, bias);
            simt_block_sync();
        }
        if (k.mine) {
            if (i > 0) rnn_take_sums<Cell>(f, k, sums);
            cell.step(f, k.row, k.item, i, sums, in, kept, sent);
            for (int s = 0; s < Cell::SENT; s++) k.vectors[(k.of * Cell::SENT + s) * k.vector + k.item] = sent[s];
        }
        simt_block_sync();
        in = next;
    }
}

/* ---- choice and launches ---- */

/* One block's share in the way `small`; rows 0: the way `graph`. */
struct rnn_way {
    int keep, rows;
    unsigned blocks;
    size_t bytes;
};

/* `small` wherever it can run: it launches once and keeps Wh on chip; `graph` launches twice a step and reads Wh each
 * time. It can run where all of Wh fits into a block, and it does while two waves of blocks are enough for all batch
 * rows: from there on the product of all rows fills the device by itself. 128 units take 64 registers a thread and, for
 * lstm, 136 KiB of shared memory, more than the 99 KiB of some devices. A block has one row while there are as many
 * multiprocessors as rows, else two. --recurrence graph, which asks for launches a step, asks for `graph`. None of this
 * is measured yet: no device was at hand. */
static inline rnn_way rnn_way_of(int64_t batch, int64_t width, int gates, int sent) {
    const mmrec_cuda *device = mmrec_cuda_now();
    rnn_way way = {width <= RNN_FEW ? RNN_FEW : RNN_MANY, batch <= device->sms ? 1 : RNN_ROWS, 0, 0};
    int64_t blocks = (batch + way.rows - 1) / way.rows;
    bool fits = width <= RNN_SMALL_WIDTH && blocks <= 2 * device->sms;
    if (fits) way.bytes = rnn_small_bytes(gates, sent, static_cast<int>(width), way.keep, way.rows);
    fits = fits && way.bytes <= static_cast<size_t>(device->max_shared_bytes);
    if (!fits || device->recurrence == MMREC_RECURRENCE_GRAPH) way.rows = 0;
    way.blocks = static_cast<unsigned>(blocks);
    return way;
}

template <typename Cell, int KEEP>
static mmrec_status rnn_launch_small(const rnn_way &way, const rnn_frame &f, const Cell &cell, const rnn_weights &w,
                                     mmrec_error *error) {
    unsigned threads = static_cast<unsigned>(rnn_small_threads(Cell::GATES, f.width));
    simt_shape shape = {way.blocks, threads, way.bytes, SIMT_FREE, 0};
    rnn_weights weights = {w.hidden, w.bias, rnn_vector(f.width, KEEP)};
    if (way.rows == 1) return SIMT_LAUNCH((k_rnn_small<Cell, KEEP, 1>), shape, error, f, cell, weights);
    return SIMT_LAUNCH((k_rnn_small<Cell, KEEP, RNN_ROWS>), shape, error, f, cell, weights);
}

template <typename Cell>
static mmrec_status rnn_run_small(const rnn_way &way, const rnn_frame &f, const Cell &cell, const rnn_weights &w,
                                  mmrec_error *error) {
    if (way.keep == RNN_FEW) return rnn_launch_small<Cell, RNN_FEW>(way, f, cell, w, error);
    return rnn_launch_small<Cell, RNN_MANY>(way, f, cell, w, error);
}

template <typename Cell>
static mmrec_status rnn_launch_step(const rnn_frame &f, const Cell &cell, int i, mmrec_error *error) {
    unsigned blocks = (static_cast<unsigned>(f.batch) * static_cast<unsigned>(f.width) + RNN_THREADS - 1) / RNN_THREADS;
    return SIMT_LAUNCH((k_rnn_step<Cell>), (simt_shape{blocks, RNN_THREADS, 0, SIMT_FREE, 0}), error, f, cell, i);
}

#endif
