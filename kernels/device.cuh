/* What kernels share: matrices, loads and stores of neighbouring elements, sums over warps and blocks, delivery of
 * gradients, dispatch on the stored type. */
#ifndef MMREC_DEVICE_CUH
#define MMREC_DEVICE_CUH

#include "simt.h"

#include <math.h>

#include "mmrec/rng.h"

/* A view as a kernel takes it: rows `stride` elements apart. data NULL: absent. */
template <typename T> struct matrix {
    T *data;
    int64_t stride;
    SIMT_DEVICE T *row(int64_t r) const { return data + r * stride; }
};

template <typename T> static inline matrix<T> matrix_of(const mmrec_view &view) {
    return {static_cast<T *>(view.data), view.stride};
}

/* Runs `statement` with T as float or simt_bf16, the storage type of a view. */
#define SIMT_BY_DTYPE(view, T, statement)                                                                              \
    do {                                                                                                               \
        if ((view).dtype == MMREC_BF16) {                                                                              \
            typedef simt_bf16 T;                                                                                       \
            statement;                                                                                                 \
        } else {                                                                                                       \
            typedef float T;                                                                                           \
            statement;                                                                                                 \
        }                                                                                                              \
    } while (0)

static inline bool call_adds(const mmrec_op_call *call, int input) { return ((call->accumulate >> input) & 1u) != 0; }

/* The way every backward kernel delivers an element: overwrite or add, rounding once. */
template <typename T> SIMT_DEVICE void deliver(T *to, float value, bool add) {
    *to = simt_cast<T>(add ? simt_float(*to) + value : value);
}

/* N neighbours as they lie in memory; at most 16 bytes a load. */
template <typename T, int N> struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) neighbours { T item[N]; };

/* v = row[at] .. row[at + N - 1], of which those before `end` exist; `empty` stands for the others. At once where all
 * exist and the place is aligned for it (`wide`), else one by one. */
template <int N, typename T, typename Int>
SIMT_DEVICE void load_neighbours(float (&v)[N], const T *row, Int at, Int end, bool wide, float empty = 0.0f) {
    if (wide && at + N <= end) {
        neighbours<T, N> whole = *reinterpret_cast<const neighbours<T, N> *>(row + at);
        for (int i = 0; i < N; i++) v[i] = simt_float(whole.item[i]);
    } else {
        for (int i = 0; i < N; i++) v[i] = at + i < end ? simt_float(row[at + i]) : empty;
    }
}

/* The same way back: those that exist are overwritten or added to, rounding once. */
template <int N, typename T, typename Int>
SIMT_DEVICE void deliver_neighbours(T *row, Int at, Int end, bool wide, const float (&v)[N], bool add) {
    if (wide && at + N <= end) {
        neighbours<T, N> *to = reinterpret_cast<neighbours<T, N> *>(row + at), whole = {};
        if (add) whole = *to;
        for (int i = 0; i < N; i++) deliver(&whole.item[i], v[i], add);
        *to = whole;
    } else {
        for (int i = 0; i < N; i++) {
            if (at + i < end) deliver(&row[at + i], v[i], add);
        }
    }
}

SIMT_DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/* Sum and maximum over a warp; every lane gets the result. Order: a tree over lanes, the same in every run. */
SIMT_DEVICE float warp_sum(float v) {
    for (int mask = 16; mask > 0; mask >>= 1) v += simt_shuffle_xor(v, mask);
    return v;
}
SIMT_DEVICE float warp_max(float v) {
    for (int mask = 16; mask > 0; mask >>= 1) v = fmaxf(v, simt_shuffle_xor(v, mask));
    return v;
}

/* The same over the block, by way of 32 floats of shared memory; every thread gets the result. All threads call it. The
 * memory is free to use again when it returns. */
template <typename Join> SIMT_DEVICE float block_join(float v, float *shared, float empty, Join join) {
    v = join(v);
    if (simt_lane() == 0) shared[simt_warp()] = v;
    simt_block_sync();
    int warps = static_cast<int>(blockDim.x / 32);
    v = join(simt_lane() < warps ? shared[simt_lane()] : empty);
    simt_block_sync();
    return v;
}
SIMT_DEVICE float block_sum(float v, float *shared) {
    return block_join(v, shared, 0.0f, [](float x) { return warp_sum(x); });
}
SIMT_DEVICE float block_max(float v, float *shared) {
    return block_join(v, shared, -INFINITY, [](float x) { return warp_max(x); });
}

/* The sum of doubles over a block of `Threads`, a power of two, by way of one double of shared memory for each; every
 * thread gets the result. Order: a tree over threads. The memory is free to use again when it returns. */
template <unsigned Threads> SIMT_DEVICE double block_sum_double(double v, double *shared) {
    shared[threadIdx.x] = v;
    simt_block_sync();
    for (unsigned half = Threads / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        simt_block_sync();
    }
    double sum = shared[0];
    simt_block_sync();
    return sum;
}

/* The first fault stays; later ones are dropped. */
SIMT_DEVICE void report_fault(mmrec_cuda_fault *fault, uint32_t code, uint32_t op, int64_t at, int64_t value,
                              int64_t limit) {
    if (atomicCAS(&fault->code, 0u, code) != 0) return;
    fault->op = op;
    fault->at = at;
    fault->value = value;
    fault->limit = limit;
}

/* Blocks for `count` pieces of work, at most `waves` times what the device holds at once: kernels stride over the rest.
 */
static inline unsigned grid_for(int64_t count, int64_t per_block, int waves) {
    int64_t blocks = (count + per_block - 1) / per_block, most = (int64_t)mmrec_cuda_now()->sms * waves;
    blocks = blocks < most ? blocks : most;
    return static_cast<unsigned>(blocks > 0 ? blocks : 1);
}

#endif
