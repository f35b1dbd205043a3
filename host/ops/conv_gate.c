/* conv_gate: y = silu(c) g, c[t] = bias + sum over j < K of kernel[:, j] a[t - (K - 1) + j], zeros before t = 0.
 *
 * Source: the convolution block of the hybrids of the Neural State Machines (docs/baselines.md): a causal depthwise
 * convolution, whose last tap meets the present, with a gate behind it. a and g are the two halves of one projection.
 * With q = silu(c) = c sigmoid(c) and dc = dy g (sigmoid(c) + q (1 - sigmoid(c))):
 *   dg = dy q,  da[t] = sum over j of kernel[:, j] dc[t + (K - 1) - j],
 *   dkernel[:, j] = sum over b, t of dc[t] a[t - (K - 1) + j],  dbias = sum over b, t of dc.
 * c is not kept: it comes again from K multiply-adds, where saving it would write and read B T W numbers.
 * Order of sums: the reference adds taps, then steps, one by one. The fast functions add rows within chunks of at least
 * 64, then the chunks, whatever the number of threads. */
#include "conv_gate_device.h"
#include "fast_loop.h"

#if MMREC_REAL_F32
#include "fast_each.h"
#include "fast_math.h"
#endif

enum { IN_AG, IN_KERNEL, IN_BIAS };

/* The first tap that meets a step of the sequence at step t: those before it meet zeros. */
static int64_t first_tap(int64_t taps, int64_t t) { return t + 1 >= taps ? 0 : taps - 1 - t; }

static real convolved(const mmrec_op_call *call, int64_t b, int64_t t, int64_t w) {
    int64_t steps = MMREC_SIZE(call->sizes, T), taps = MMREC_SIZE(call->sizes, K);
    const real *kernel = view_row(&call->in[IN_KERNEL], w);
    real sum = view_row(&call->in[IN_BIAS], 0)[w];
    for (int64_t j = first_tap(taps, t); j < taps; j++) {
        sum += kernel[j] * view_row(&call->in[IN_AG], b * steps + t - (taps - 1) + j)[w];
    }
    return sum;
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T), width = MMREC_SIZE(call->sizes, W);
    for (int64_t row = 0; row < batch * steps; row++) {
        for (int64_t w = 0; w < width; w++) {
            real c = convolved(call, row / steps, row % steps, w), g = view_row(&call->in[IN_AG], row)[width + w];
            view_row(&call->out[0], row)[w] = c * real_sigmoid(c) * g;
        }
    }
    return MMREC_OK;
}

/* Delivers what dc at (b, t) adds to the gradients of the taps and of the steps they met, and to that of the bias. */
static void tap_gradients(const mmrec_op_call *call, int64_t b, int64_t t, int64_t w, real dc) {
    int64_t steps = MMREC_SIZE(call->sizes, T), taps = MMREC_SIZE(call->sizes, K);
    const mmrec_view *dag = &call->d_in[IN_AG], *dkernel = &call->d_in[IN_KERNEL], *dbias = &call->d_in[IN_BIAS];
    for (int64_t j = first_tap(taps, t); j < taps; j++) {
        int64_t row = b * steps + t - (taps - 1) + j;
        if (dag->data) view_row(dag, row)[w] += view_row(&call->in[IN_KERNEL], w)[j] * dc;
        if (dkernel->data) view_row(dkernel, w)[j] += view_row(&call->in[IN_AG], row)[w] * dc;
    }
    if (dbias->data) view_row(dbias, 0)[w] += dc;
}

static void element_gradient(const mmrec_op_call *call, int64_t b, int64_t t, int64_t w) {
    int64_t row = b * MMREC_SIZE(call->sizes, T) + t, width = MMREC_SIZE(call->sizes, W);
    const mmrec_view *dag = &call->d_in[IN_AG];
    real c = convolved(call, b, t, w), open = real_sigmoid(c), silu = c * open;
    real dy = view_row(&call->d_out[0], row)[w], g = view_row(&call->in[IN_AG], row)[width + w];
    if (dag->data) deliver(&view_row(dag, row)[width + w], dy * silu, accumulates(call, IN_AG));
    tap_gradients(call, b, t, w, dy * g * (open + silu * ((real)1 - open)));
}

/* Zeros in the first `columns` columns of a gradient whose sum begins here. */
static void begin_sum(const mmrec_op_call *call, int input, int64_t columns) {
    const mmrec_view *to = &call->d_in[input];
    int64_t rows = to->data && !accumulates(call, input) ? mmrec_shape_rows(&to->shape) : 0;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) view_row(to, r)[c] = (real)0;
    }
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T), width = MMREC_SIZE(call->sizes, W);
    begin_sum(call, IN_AG, width);
    begin_sum(call, IN_KERNEL, MMREC_SIZE(call->sizes, K));
    begin_sum(call, IN_BIAS, width);
    for (int64_t row = 0; row < batch * steps; row++) {
        for (int64_t w = 0; w < width; w++) element_gradient(call, row / steps, row % steps, w);
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* Numbers that backward shares between its passes, in floats from the start of scratch on: the taps, a row for each; dc
 * of every row; the sums of a chunk of rows, one row of W for each tap and one for the bias, and behind the chunks
 * their totals. */
typedef struct conv_scratch {
    int64_t dc, parts, totals, size, chunk, chunks; /* chunk: rows of one */
} conv_scratch;

static conv_scratch scratch_of(const mmrec_op_sizes *sizes) {
    int64_t rows = MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, T), taps = MMREC_SIZE(sizes, K);
    int64_t width = MMREC_SIZE(sizes, W);
    conv_scratch c = {.dc = taps * width, .chunk = fast_chunk_rows(rows)};
    c.chunks = fast_blocks(rows, c.chunk);
    c.parts = c.dc + rows * width;
    c.totals = c.parts + c.chunks * (taps + 1) * width;
    c.size = c.totals + (taps + 1) * width;
    return c;
}

/* Elements below which a loop stays on one thread: each costs K multiply-adds and an exponential. */
enum { CONV_SERIAL = 4096 };

/* The taps, a row of W for each: neighbouring channels side by side. */
static const float *taps_across(const mmrec_op_call *call) {
    int64_t taps = MMREC_SIZE(call->sizes, K), width = MMREC_SIZE(call->sizes, W);
    float *to = (float *)call->scratch;
    for (int64_t w = 0; w < width; w++) {
        for (int64_t j = 0; j < taps; j++) to[j * width + w] = view_row(&call->in[IN_KERNEL], w)[j];
    }
    return to;
}

/* c of `count` channels from `first` on, at row `row` of the batch. */
static void strip_convolved(const mmrec_op_call *call, const float *across, int64_t row, int64_t first, int64_t count,
                            float *restrict c) {
    int64_t taps = MMREC_SIZE(call->sizes, K), width = MMREC_SIZE(call->sizes, W);
    const float *restrict bias = view_row(&call->in[IN_BIAS], 0) + first;
    for (int64_t w = 0; w < count; w++) c[w] = bias[w];
    for (int64_t j = first_tap(taps, row % MMREC_SIZE(call->sizes, T)); j < taps; j++) {
        const float *restrict tap = across + j * width + first;
        const float *restrict a = view_row(&call->in[IN_AG], row - (taps - 1) + j) + first;
        for (int64_t w = 0; w < count; w++) c[w] += tap[w] * a[w];
    }
}

static void value_row(const mmrec_op_call *call, const float *across, int64_t row) {
    int64_t width = MMREC_SIZE(call->sizes, W);
    for (int64_t first = 0; first < width; first += FAST_STRIP) {
        int64_t count = fast_min(FAST_STRIP, width - first);
        const float *restrict g = view_row(&call->in[IN_AG], row) + width + first;
        float c[FAST_STRIP], *restrict y = view_row(&call->out[0], row) + first;
        strip_convolved(call, across, row, first, count, c);
        for (int64_t w = 0; w < count; w++) y[w] = c[w] * fast_sigmoidf(c[w]) * g[w];
    }
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = MMREC_SIZE(call->sizes, B) * MMREC_SIZE(call->sizes, T), width = MMREC_SIZE(call->sizes, W);
    const float *across = taps_across(call);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * width >= CONV_SERIAL)
    for (int64_t row = 0; row < rows; row++) value_row(call, across, row);
    return MMREC_OK;
}

/* dc of `count` channels, and what is delivered at once: dg. */
static void strip_slope(const mmrec_op_call *call, int64_t row, int64_t first, int64_t count, float *restrict dc) {
    int64_t width = MMREC_SIZE(call->sizes, W);
    const float *restrict g = view_row(&call->in[IN_AG], row) + width + first;
    const float *restrict dy = view_row(&call->d_out[0], row) + first;
    float c[FAST_STRIP], dg[FAST_STRIP];
    strip_convolved(call, (const float *)call->scratch, row, first, count, c);
    for (int64_t w = 0; w < count; w++) {
        float open = fast_sigmoidf(c[w]), silu = c[w] * open;
        dg[w] = dy[w] * silu;
        dc[w] = dy[w] * g[w] * (open + silu * (1.0f - open));
    }
    if (!call->d_in[IN_AG].data) return;
    fast_deliver(view_row(&call->d_in[IN_AG], row) + width + first, dg, count, accumulates(call, IN_AG));
}

/* dc and dg of a row; its shares of the gradients of taps and bias are added to `part`. */
static void slope_row(const mmrec_op_call *call, int64_t row, float *dc, float *part) {
    int64_t taps = MMREC_SIZE(call->sizes, K), width = MMREC_SIZE(call->sizes, W);
    for (int64_t first = 0; first < width; first += FAST_STRIP) {
        strip_slope(call, row, first, fast_min(FAST_STRIP, width - first), dc + first);
    }
    for (int64_t j = first_tap(taps, row % MMREC_SIZE(call->sizes, T)); j < taps; j++) {
        const float *restrict a = view_row(&call->in[IN_AG], row - (taps - 1) + j), *restrict slope = dc;
        float *restrict sum = part + j * width;
        for (int64_t w = 0; w < width; w++) sum[w] += slope[w] * a[w];
    }
    fast_deliver(part + taps * width, dc, width, true);
}

/* da of a row, from dc of this step and the K - 1 that follow. */
static void input_row(const mmrec_op_call *call, int64_t row, const float *all_dc) {
    int64_t taps = MMREC_SIZE(call->sizes, K), width = MMREC_SIZE(call->sizes, W), steps = MMREC_SIZE(call->sizes, T);
    int64_t later = fast_min(taps - 1, steps - 1 - row % steps);
    const float *across = (const float *)call->scratch;
    for (int64_t first = 0; first < width; first += FAST_STRIP) {
        int64_t count = fast_min(FAST_STRIP, width - first);
        float sum[FAST_STRIP] = {0};
        for (int64_t i = 0; i <= later; i++) {
            const float *restrict tap = across + (taps - 1 - i) * width + first;
            const float *restrict dc = all_dc + (row + i) * width + first;
            for (int64_t w = 0; w < count; w++) sum[w] += tap[w] * dc[w];
        }
        fast_deliver(view_row(&call->d_in[IN_AG], row) + first, sum, count, accumulates(call, IN_AG));
    }
}

/* Delivers the sums over all chunks, those of the taps channel by channel. */
static void deliver_sums(const mmrec_op_call *call, const conv_scratch *c) {
    int64_t taps = MMREC_SIZE(call->sizes, K), width = MMREC_SIZE(call->sizes, W);
    float *totals = (float *)call->scratch + c->totals;
    const mmrec_view *dkernel = &call->d_in[IN_KERNEL], *dbias = &call->d_in[IN_BIAS];
    fast_chunk_sum((const float *)call->scratch + c->parts, c->chunks, (taps + 1) * width, totals, false);
    for (int64_t w = 0; dkernel->data && w < width; w++) {
        for (int64_t j = 0; j < taps; j++) {
            deliver(&view_row(dkernel, w)[j], totals[j * width + w], accumulates(call, IN_KERNEL));
        }
    }
    if (dbias->data) {
        fast_deliver(view_row(dbias, 0), totals + taps * width, width, accumulates(call, IN_BIAS));
    }
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const conv_scratch c = scratch_of(call->sizes);
    int64_t rows = MMREC_SIZE(call->sizes, B) * MMREC_SIZE(call->sizes, T), width = MMREC_SIZE(call->sizes, W);
    int64_t part_size = (MMREC_SIZE(call->sizes, K) + 1) * width, input_rows = call->d_in[IN_AG].data ? rows : 0;
    float *dc = (float *)call->scratch + c.dc, *parts = (float *)call->scratch + c.parts;
    taps_across(call);
#pragma omp parallel num_threads(call->sizes->threads) if (rows * width >= CONV_SERIAL)
    {
#pragma omp for schedule(static)
        for (int64_t k = 0; k < c.chunks; k++) {
            float *part = parts + k * part_size;
            for (int64_t i = 0; i < part_size; i++) part[i] = 0;
            for (int64_t row = k * c.chunk; row < fast_min(rows, (k + 1) * c.chunk); row++) {
                slope_row(call, row, dc + row * width, part);
            }
        }
#pragma omp for schedule(static)
        for (int64_t row = 0; row < input_rows; row++) input_row(call, row, dc);
    }
    deliver_sums(call, &c);
    return MMREC_OK;
}
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    (void)error;
#if MMREC_REAL_F32
    sizes->scratch_bytes[MMREC_FORWARD] = (size_t)(MMREC_SIZE(sizes, K) * MMREC_SIZE(sizes, W)) * sizeof(float);
    sizes->scratch_bytes[MMREC_BACKWARD] = (size_t)scratch_of(sizes).size * sizeof(float);
#else
    (void)sizes;
#endif
    return MMREC_OK;
}

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    return pass == MMREC_BACKWARD ? conv_gate_bytes(sizes) : 0;
}

/* Multiply-adds of one channel of one sequence: K a step, but for the first K - 1 steps. */
static double products(const mmrec_op_sizes *sizes) {
    double steps = (double)MMREC_SIZE(sizes, T), taps = (double)MMREC_SIZE(sizes, K);
    return steps < taps ? steps * (steps + 1) / 2 : taps * steps - taps * (taps - 1) / 2;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double channels = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, W), steps = (double)MMREC_SIZE(sizes, T);
    double each = pass == MMREC_FORWARD ? 2 * products(sizes) + 5 * steps : 6 * products(sizes) + 11 * steps;
    mmrec_work w = {channels * each, channels * steps, 0};
    return w;
}

static const char *const samples[] = {"B=1 T=1 W=1 K=1",
                                      "B=2 T=2 W=3 K=4",
                                      "B=1 T=3 W=5 K=2",
                                      "B=3 T=17 W=24 K=4",
                                      "B=2 T=5 W=65 K=3",
                                      "B=5 T=29 W=31 K=5",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(conv_gate);
const mmrec_op_def MMREC_OP_DEFINE(conv_gate) = {
    .name = "conv_gate",
    .formula = "y = silu(c) g, c[t] = bias + sum_j kernel[j] a[t - (K - 1) + j]",
    .source = "the convolution block of the hybrids of the Neural State Machines",
    .in = {{.name = "ag", .dims = "B T 2W", .flags = MMREC_ARG_KEEP},
           {.name = "kernel", .dims = "W K", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32},
           {.name = "bias", .dims = "W", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32}},
    .out = {{.name = "y", .dims = "B T W"}},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance = {8e-7, 1.5e-6,
                  "at most 6 terms and a sigmoid of relative error 1.5e-7 that takes their sum: under 7 eps of the "
                  "largest result; gradients of kernel and bias are sums of at most 145 such values, near sqrt(145) "
                  "eps / 2 = 7e-7 of the largest"},
    .samples = samples,
    .bench = "B=32 T=64 W=256 K=4",
};
