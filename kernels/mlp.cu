/* Training steps of a small MLP in one launch: forward, backward, clipping and AdamW for one batch after the other.
 *
 * Source: host/models/mlp.c; where weights lie: host/backend/mlp.h; AdamW: host/backend/adamw_formula.h, which the
 * processor runs too.
 *
 *   x, target   (N, I), (N, O) float, dense; classes (N) int32 in the place of target for cross-entropy
 *   order       (samples) int32 or absent: which rows of them, in which order
 *   w, m, v     (numbers) float: layers of (in + 1, stride), the last row the bias, stride odd
 *   state       settings, rate, step count and powers of the betas (double)
 *   record      loss, norm and guard of each step (double)
 *
 * One block of 256 threads. Weights, their gradients and the batch stay in shared memory from the first step to the
 * last, the moments too where there is room, else they come from the second-level cache. A thread has two rows times
 * two columns of a product, as far from each other as rows and columns halve, so that neighbouring lanes read
 * neighbouring columns; four loads for four products a k. An odd stride lets the weights be read along rows (forward)
 * and along columns (gradient of x) without bank conflicts.
 *
 * Order of sums: a product by k in one thread; squares of the gradient and losses by elements of a thread, then a tree
 * over threads. The sizes alone decide it.
 *
 * Considered: several blocks, in a cluster: more multiplying units, but each of the dozen products of a step needs
 * results of all blocks, and a barrier of a cluster costs about what a block needs for such a product. Tensor cores:
 * their tiles are as large as a layer here, and TF32 would round weights to 10 bits. No device was at hand: times are
 * n/a (no device). */
#include "device.cuh"

#include <float.h>
#include <limits.h>

#include "backend/mlp.h"

#define ADAMW_FUNCTION SIMT_DEVICE
#define ADAMW_REAL float
#define ADAMW_NAME(name) adamw_##name
#define ADAMW_SQRT sqrtf
#define ADAMW_LARGEST FLT_MAX
#include "backend/adamw_formula.h"

enum { THREADS = 256 };

/* Where things lie in the floats behind mlp_shared. */
struct mlp_places_on_device {
    int value[MMREC_MLP_LAYERS + 1]; /* (batch, width + 1): what goes into a layer, with its 1; y */
    int kept[MMREC_MLP_LAYERS + 1];  /* the same before the activation; GELU's gradient needs it */
    int slope[2];                    /* (batch, widest): gradients of what comes out of a layer, and goes in */
    int w, gradient, m, v;           /* m below 0: the moments stay where they are */
};

/* At the start of the block's dynamic memory; floats follow. */
struct mlp_shared {
    double sum[THREADS];
    mmrec_adamw_state state;
    adamw_factors factors;
    int good;
    mlp_places_on_device at; /* here, as a parameter that is indexed would be copied for each thread */
};

/* A call under way: `rows` samples from number `first` on. */
struct mlp_work {
    const mmrec_mlp_call &call;
    const mlp_places_on_device &at;
    float *memory;
    int64_t first;
    int rows;

    SIMT_DEVICE int width(int l) const { return static_cast<int>(mlp_width(&call, l)); }
    SIMT_DEVICE float *value(int l) const { return memory + at.value[l]; }
    SIMT_DEVICE float *kept(int l) const { return memory + at.kept[l]; }
    SIMT_DEVICE float *slope(int l) const { return memory + at.slope[l & 1]; }
    SIMT_DEVICE int64_t sample(int r) const { return call.order ? call.order[first + r] : first + r; }
};

/* ---- products ---- */

/* Element (r, k) of a factor on the left, (n, k) of one on the right: at[first step + k inner]. */
struct mlp_factor {
    const float *at;
    int step, inner;
};

/* store(r, n, sum over k of a(r, k) b(n, k)). What would lie past the end is computed twice and stored once. */
template <typename Store>
SIMT_DEVICE void product(mlp_factor a, mlp_factor b, int depth, int rows, int columns, const Store &store) {
    int down = (rows + 1) / 2, across = (columns + 1) / 2;
    for (int tile = static_cast<int>(threadIdx.x); tile < down * across; tile += THREADS) {
        int r = tile / across, n = tile % across;
        bool second_row = r + down < rows, second_column = n + across < columns;
        const float *a0 = a.at + r * a.step, *a1 = second_row ? a0 + down * a.step : a0;
        const float *b0 = b.at + n * b.step, *b1 = second_column ? b0 + across * b.step : b0;
        float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int k = 0; k < depth; k++) {
            float left[2] = {a0[k * a.inner], a1[k * a.inner]}, right[2] = {b0[k * b.inner], b1[k * b.inner]};
            sum[0] += left[0] * right[0];
            sum[1] += left[0] * right[1];
            sum[2] += left[1] * right[0];
            sum[3] += left[1] * right[1];
        }
        store(r, n, sum[0]);
        if (second_column) store(r, n + across, sum[1]);
        if (second_row) store(r + down, n, sum[2]);
        if (second_row && second_column) store(r + down, n + across, sum[3]);
    }
}

/* ---- activations ---- */

SIMT_DEVICE float activated(mmrec_activation activation, float x) {
    if (activation == MMREC_ACTIVATION_RELU) return x < 0.0f ? 0.0f : x;
    if (activation == MMREC_ACTIVATION_TANH) return tanhf(x);
    return 0.5f * x * (1.0f + erff(x * 0.70710678f));
}

/* dy f'(x), from what was kept: f(x), of GELU x. The gradient of relu passes where x > 0, and where it is NaN. */
SIMT_DEVICE float passed(mmrec_activation activation, float kept, float dy) {
    if (activation == MMREC_ACTIVATION_RELU) return kept <= 0.0f ? 0.0f : dy;
    if (activation == MMREC_ACTIVATION_TANH) return dy * (1.0f - kept * kept);
    float below = 0.5f * (1.0f + erff(kept * 0.70710678f)), density = 0.39894228f * expf(-0.5f * kept * kept);
    return dy * (below + kept * density);
}

/* ---- forward ---- */

SIMT_DEVICE void gather(const mlp_work &s) {
    int width = s.width(0);
    const float *x = static_cast<const float *>(s.call.x);
    for (int i = static_cast<int>(threadIdx.x); i < s.rows * width; i += THREADS) {
        int r = i / width, c = i % width;
        s.value(0)[r * (width + 1) + c] = x[s.sample(r) * width + c];
    }
}

SIMT_DEVICE void forward(const mlp_work &s, int l) {
    const mmrec_mlp_layer &layer = s.call.layer[l];
    int in = s.width(l), out = s.width(l + 1), stride = static_cast<int>(layer.stride);
    bool last = l + 1 == s.call.layers;
    float *to = s.value(l + 1), *kept = s.kept(l + 1);
    mmrec_activation activation = s.call.activation;
    mlp_factor x = {s.value(l), in + 1, 1}, w = {s.memory + s.at.w + layer.at, 1, stride};
    product(x, w, in + 1, s.rows, out, [=](int r, int n, float sum) {
        kept[r * (out + 1) + n] = sum;
        if (!last) to[r * (out + 1) + n] = activated(activation, sum);
    });
}

SIMT_DEVICE void give_results(const mlp_work &s) {
    int width = s.width(s.call.layers);
    float *y = static_cast<float *>(s.call.y) + s.first * width;
    for (int i = static_cast<int>(threadIdx.x); i < s.rows * width; i += THREADS) {
        y[i] = s.value(s.call.layers)[i / width * (width + 1) + i % width];
    }
}

/* ---- loss ---- */

/* This thread's share of the sum of squares; slope = 2 (y - target) / elements. */
SIMT_DEVICE double squared_errors(const mlp_work &s, int width, float *slope) {
    const float *target = static_cast<const float *>(s.call.target), *y = s.value(s.call.layers);
    float scale = static_cast<float>(2.0 / (static_cast<double>(s.rows) * width));
    double sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < s.rows * width; i += THREADS) {
        int r = i / width, c = i % width;
        float difference = y[r * (width + 1) + c] - target[s.sample(r) * width + c];
        slope[i] = scale * difference;
        sum += static_cast<double>(difference * difference);
    }
    return sum;
}

/* The same of logsumexp(y) - y[class]; slope = (softmax(y) - onehot) / rows. A thread has whole rows. */
SIMT_DEVICE double entropies(const mlp_work &s, int width, float *slope) {
    double sum = 0;
    for (int r = static_cast<int>(threadIdx.x); r < s.rows; r += THREADS) {
        const float *y = s.value(s.call.layers) + r * (width + 1);
        float *to = slope + r * width, top = y[0], all = 0.0f;
        int32_t hit = s.call.classes[s.sample(r)];
        for (int i = 1; i < width; i++) top = y[i] > top ? y[i] : top;
        for (int i = 0; i < width; i++) {
            to[i] = expf(y[i] - top);
            all += to[i];
        }
        float count = static_cast<float>(s.rows), scale = 1.0f / (count * all);
        for (int i = 0; i < width; i++) to[i] *= scale;
        to[hit] -= 1.0f / count;
        sum += static_cast<double>(top) - static_cast<double>(y[hit]) + static_cast<double>(logf(all));
    }
    return sum;
}

SIMT_DEVICE double loss(const mlp_work &s, double *shared) {
    int width = s.width(s.call.layers);
    float *slope = s.slope(s.call.layers - 1);
    bool classes = s.call.loss == MMREC_MLP_CROSS_ENTROPY;
    double mine = classes ? entropies(s, width, slope) : squared_errors(s, width, slope);
    return block_sum_double<THREADS>(mine, shared) / (static_cast<double>(s.rows) * (classes ? 1 : width));
}

/* ---- backward ---- */

SIMT_DEVICE void backward(const mlp_work &s, int l) {
    const mmrec_mlp_layer &layer = s.call.layer[l];
    int in = s.width(l), out = s.width(l + 1), stride = static_cast<int>(layer.stride);
    const float *dy = s.slope(l);
    float *dw = s.memory + s.at.gradient + layer.at;
    mlp_factor x = {s.value(l), 1, in + 1}, columns = {dy, 1, out};
    product(x, columns, s.rows, in + 1, out, [=](int i, int o, float sum) { dw[i * stride + o] = sum; });
    if (l == 0) return;
    mmrec_activation activation = s.call.activation;
    const float *kept = s.kept(l);
    float *dx = s.slope(l - 1);
    mlp_factor slope = {dy, out, 1}, w = {s.memory + s.at.w + layer.at, stride, 1};
    product(slope, w, out, s.rows, in,
            [=](int r, int i, float sum) { dx[r * in + i] = passed(activation, kept[r * (in + 1) + i], sum); });
}

/* ---- AdamW ---- */

SIMT_DEVICE void update(const mlp_work &s, const adamw_factors &f, float *m, float *v) {
    float *w = s.memory + s.at.w;
    const float *gradient = s.memory + s.at.gradient;
    for (int l = 0; l < s.call.layers; l++) {
        const mmrec_mlp_layer &layer = s.call.layer[l];
        int at = static_cast<int>(layer.at), bias = at + static_cast<int>(layer.in * layer.stride);
        int end = bias + static_cast<int>(layer.stride);
        for (int i = at + static_cast<int>(threadIdx.x); i < end; i += THREADS) {
            adamw_element(&f, i < bias ? f.shrink : 1.0f, gradient[i], &w[i], &m[i], &v[i]);
        }
    }
}

/* Norm and guard; false where nothing is to be written. */
SIMT_DEVICE bool decide(const mlp_work &s, mlp_shared *shared) {
    const float *gradient = s.memory + s.at.gradient;
    double sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < s.call.numbers; i += THREADS) {
        sum += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
    }
    sum = block_sum_double<THREADS>(sum, shared->sum);
    if (threadIdx.x == 0) shared->good = adamw_begin(&shared->state, sum, &shared->factors) ? 1 : 0;
    simt_block_sync();
    return shared->good != 0;
}

/* ---- the kernel ---- */

SIMT_DEVICE void copy(float *to, const float *from, int64_t count) {
    for (int64_t i = threadIdx.x; i < count; i += THREADS) to[i] = from[i];
}

/* Everything that stays: weights, gradients (what fills up their rows remains 0), the ones behind every row. */
SIMT_DEVICE void begin(const mlp_work &s, mlp_shared *shared, const float *m, const float *v) {
    int batch = static_cast<int>(s.call.batch);
    if (threadIdx.x == 0 && s.call.state) shared->state = *s.call.state;
    copy(s.memory + s.at.w, static_cast<const float *>(s.call.w), s.call.numbers);
    for (int64_t i = threadIdx.x; i < s.call.numbers; i += THREADS) s.memory[s.at.gradient + i] = 0.0f;
    if (s.at.m >= 0) {
        copy(s.memory + s.at.m, m, s.call.numbers);
        copy(s.memory + s.at.v, v, s.call.numbers);
    }
    for (int l = 0; l < s.call.layers; l++) {
        int width = s.width(l);
        for (int r = static_cast<int>(threadIdx.x); r < batch; r += THREADS) s.value(l)[r * (width + 1) + width] = 1.0f;
    }
}

SIMT_DEVICE void step(const mlp_work &s, mlp_shared *shared, mmrec_mlp_record *record, float *m, float *v) {
    gather(s);
    simt_block_sync();
    for (int l = 0; l < s.call.layers; l++) {
        forward(s, l);
        simt_block_sync();
    }
    if (s.call.y) give_results(s);
    if (!s.call.target && !s.call.classes) return;
    double mean = loss(s, shared->sum);
    if (threadIdx.x == 0) *record = {mean, 0.0, 0.0};
    if (!s.call.state) return;
    for (int l = s.call.layers - 1; l >= 0; l--) {
        backward(s, l);
        simt_block_sync();
    }
    if (decide(s, shared)) update(s, shared->factors, m, v);
    if (threadIdx.x == 0) *record = {mean, shared->state.gradient_norm, shared->state.skipped};
}

SIMT_KERNEL(THREADS) k_mlp(mmrec_mlp_call call, mlp_places_on_device at) {
    mlp_shared *shared = simt_shared<mlp_shared>();
    if (threadIdx.x == 0) shared->at = at;
    simt_block_sync();
    mlp_work s = {call, shared->at, reinterpret_cast<float *>(shared + 1), 0, 0};
    float *m = static_cast<float *>(call.m), *v = static_cast<float *>(call.v);
    begin(s, shared, m, v);
    float *m_here = at.m >= 0 ? s.memory + at.m : m, *v_here = at.m >= 0 ? s.memory + at.v : v;
    for (int64_t number = 0; s.first < call.samples; number++, s.first += call.batch) {
        int64_t left = call.samples - s.first;
        s.rows = static_cast<int>(left < call.batch ? left : call.batch);
        step(s, shared, call.record + number, m_here, v_here);
        simt_block_sync(); /* the next batch goes where this one's values are, and meets the new weights */
    }
    if (!call.state) return;
    copy(static_cast<float *>(call.w), s.memory + at.w, call.numbers);
    if (at.m >= 0) {
        copy(m, m_here, call.numbers);
        copy(v, v_here, call.numbers);
    }
    if (threadIdx.x == 0) *call.state = shared->state;
}

/* ---- the launch ---- */

/* Beyond INT_MAX it counts no further. */
static int64_t place(int *at, int64_t used, int64_t count) {
    *at = static_cast<int>(used);
    return used + count < INT_MAX ? used + count : INT_MAX;
}

/* Returns the bytes of shared memory. Places of one that is too large mean nothing. */
static int64_t lay_out(const mmrec_mlp_call *call, bool moments, mlp_places_on_device *at) {
    int64_t used = 0, widest = 0;
    *at = {};
    for (int l = 0; l <= call->layers; l++) {
        int64_t width = mlp_width(call, l);
        used = place(&at->value[l], used, call->batch * (width + 1));
        at->kept[l] = at->value[l];
        if (l > 0 && l < call->layers && call->activation == MMREC_ACTIVATION_GELU) {
            used = place(&at->kept[l], used, call->batch * (width + 1));
        }
        if (l > 0 && width > widest) widest = width;
    }
    for (int i = 0; i < 2; i++) used = place(&at->slope[i], used, call->batch * widest);
    used = place(&at->w, used, call->numbers);
    used = place(&at->gradient, used, call->numbers);
    if (moments) {
        used = place(&at->m, used, call->numbers);
        used = place(&at->v, used, call->numbers);
    } else {
        at->m = at->v = -1;
    }
    return used * static_cast<int64_t>(sizeof(float)) + static_cast<int64_t>(sizeof(mlp_shared));
}

mmrec_status mmrec_cuda_mlp(const mmrec_mlp_call *call, mmrec_error *error) {
    int64_t most = mmrec_cuda_now()->max_shared_bytes;
    mlp_places_on_device at;
    int64_t bytes = lay_out(call, call->state != NULL, &at);
    if (bytes > most) bytes = lay_out(call, false, &at);
    if (bytes > most) {
        MMREC_FAIL(
            error, MMREC_CONFIG,
            "an MLP of %d layers with batches of %lld needs %lld bytes or more of shared memory (weights, gradients, "
            "activations), a block of this device has %lld; use smaller widths or batches, or the graph",
            call->layers, static_cast<long long>(call->batch), static_cast<long long>(bytes),
            static_cast<long long>(most));
    }
    if (call->samples < 1) return MMREC_OK;
    simt_shape shape = {1, THREADS, static_cast<size_t>(bytes), SIMT_FREE, 0};
    return SIMT_LAUNCH(k_mlp, shape, error, *call, at);
}
