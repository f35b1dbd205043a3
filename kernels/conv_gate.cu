/* conv_gate: y = silu(c) g, c[t] = bias + sum over j < K of kernel[:, j] a[t - (K - 1) + j], zeros before t = 0; with
 * q = silu(c) and dc = dy g (sigmoid(c) + q (1 - sigmoid(c))):
 *   dg = dy q,   da[t] = sum over j of kernel[:, j] dc[t + (K - 1) - j],   dkernel[:, j] = sum of dc[t] a[t - (K - 1) +
 *   j],   dbias = sum of dc.
 *
 * Source: host/ops/conv_gate.c.
 *
 *   ag, dag                (B T, 2 W)      float or bf16; a, then g
 *   kernel, dkernel        (W, K)          float
 *   bias, dbias            (W)             float
 *   y, dy                  (B T, W)        the type of ag
 *   scratch                (B T, W) dc; (pieces, K + 1, W) sums of the taps and of the bias; float, backward
 *
 * Forward a thread has 16 bytes of a row of y (each.cuh) and reads K rows of a, of which all but one come from the
 * cache. Backward: the same threads write dg and dc; others sum K rows of dc for da; for dkernel and dbias a block has
 * 128 channels of a piece of the rows for one tap (a warp every 8th row, a lane four channels), and the pieces are
 * joined. dc is written once and read K times for da and K + 1 times for the sums, all but the first from the cache:
 * for K = 4, T = 16 and W = 256 a sequence is 16 KiB. Considered: making c anew where dc is needed, which would save 8
 * bytes an element of traffic and cost K (K - 1) multiply-adds and K exponentials.
 *
 * Order of sums: taps in order; dkernel and dbias by rows of a warp, warps, pieces of a warp, warps. Fixed. */
#include "columns.cuh"
#include "each.cuh"

#include "ops/conv_gate_device.h"

enum { IN_AG, IN_KERNEL, IN_BIAS };

template <typename T> struct conv {
    matrix<const T> ag, dy;
    matrix<const float> kernel;
    const float *bias;
    matrix<T> dag;
    matrix<float> dc;
    int64_t steps;
    int width, taps;
    bool add; /* to dag */
};

/* This thread's piece of c in a row. */
template <int N, typename T>
SIMT_DEVICE void conv_sum(const conv<T> &f, const each_loop &loop, const each_at &at, float (&c)[N]) {
    int64_t t = at.row % f.steps, channel = at.piece * N;
    load_neighbours(c, f.bias, channel, (int64_t)f.width, false);
    for (int64_t j = t + 1 >= f.taps ? 0 : f.taps - 1 - t; j < f.taps; j++) {
        float a[N];
        each_load(loop, at, f.ag.row(at.row - (f.taps - 1) + j), a);
        for (int i = 0; i < N; i++) c[i] += channel + i < f.width ? f.kernel.row(channel + i)[j] * a[i] : 0.0f;
    }
}

template <typename T, int N> SIMT_KERNEL(EACH_THREADS) k_conv_gate_fwd(conv<T> f, matrix<T> y, each_loop loop) {
    for (EACH(at, loop)) {
        float c[N], g[N];
        conv_sum(f, loop, at, c);
        each_load(loop, at, f.ag.row(at.row) + f.width, g);
        for (int i = 0; i < N; i++) c[i] *= sigmoid(c[i]) * g[i];
        each_store(loop, at, y.row(at.row), c);
    }
}

template <typename T, int N> SIMT_KERNEL(EACH_THREADS) k_conv_gate_bwd(conv<T> f, each_loop loop) {
    for (EACH(at, loop)) {
        float c[N], g[N], dy[N];
        conv_sum(f, loop, at, c);
        each_load(loop, at, f.ag.row(at.row) + f.width, g);
        each_load(loop, at, f.dy.row(at.row), dy);
        for (int i = 0; i < N; i++) {
            float open = sigmoid(c[i]), silu = c[i] * open;
            c[i] = dy[i] * g[i] * (open + silu * (1.0f - open));
            g[i] = dy[i] * silu;
        }
        each_store(loop, at, f.dc.row(at.row), c);
        if (f.dag.data) each_deliver(loop, at, f.dag.row(at.row) + f.width, g, f.add);
    }
}

template <typename T, int N> SIMT_KERNEL(EACH_THREADS) k_conv_gate_bwd_input(conv<T> f, each_loop loop) {
    for (EACH(at, loop)) {
        float da[N] = {};
        int64_t left = f.steps - 1 - at.row % f.steps, channel = at.piece * N;
        for (int64_t i = 0; i < f.taps && i <= left; i++) {
            float dc[N];
            each_load(loop, at, f.dc.row(at.row + i), dc);
            for (int k = 0; k < N; k++) {
                if (channel + k < f.width) da[k] += f.kernel.row(channel + k)[f.taps - 1 - i] * dc[k];
            }
        }
        each_deliver(loop, at, f.dag.row(at.row), da, f.add);
    }
}

/* parts(piece, tap, channel): sums over the rows of a piece; tap K is the bias. */
template <typename T>
SIMT_KERNEL(ROW_THREADS)
k_conv_gate_bwd_taps(conv<T> f, row_pieces pieces, unsigned strips, float *parts, bool wide) {
    unsigned sums = static_cast<unsigned>(f.taps) + 1, index = blockIdx.x / strips;
    int64_t piece = index / sums, tap = index % sums, first = piece * pieces.length, end = first + pieces.length;
    int channel = static_cast<int>(blockIdx.x % strips) * STRIP + simt_lane() * PACK;
    float part[PACK] = {}, dc[PACK], a[PACK], *shared = simt_shared<float>();
    if (end > pieces.rows) end = pieces.rows;
    for (int64_t r = first + simt_warp(); r < end; r += ROW_WARPS) {
        int64_t back = f.taps - 1 - tap; /* steps from the one that the tap meets */
        if (r % f.steps < back) continue;
        for (int i = 0; i < PACK; i++) a[i] = 1.0f;
        pack_load(dc, f.dc.row(r), channel, f.width, true);
        if (tap < f.taps) pack_load(a, f.ag.row(r - back), channel, f.width, wide);
        for (int i = 0; i < PACK; i++) part[i] += dc[i] * a[i];
    }
    for (int i = 0; i < PACK; i++) shared[simt_warp() * STRIP + simt_lane() * PACK + i] = part[i];
    simt_block_sync();
    if (simt_warp() != 0) return;
    for (int i = 0; i < PACK; i++) {
        part[i] = 0.0f;
        for (int w = 0; w < ROW_WARPS; w++) part[i] += shared[w * STRIP + simt_lane() * PACK + i];
    }
    pack_deliver(parts + piece * pieces.stride + tap * f.dc.stride, channel, static_cast<int>(f.dc.stride), true, part,
                 false);
}

/* Where the sums over all pieces go. */
struct conv_sums {
    matrix<float> dkernel;
    float *dbias;
    int64_t stride; /* of the sums of one tap */
    int width, taps;
    bool add_kernel, add_bias;
};

/* A block has 128 columns of the pieces. */
SIMT_KERNEL(ROW_THREADS) k_conv_gate_bwd_join(conv_sums to, matrix<const float> parts, row_pieces pieces) {
    int column = static_cast<int>(blockIdx.x) * STRIP + simt_lane() * PACK;
    float sum[PACK];
    strip_sum(parts, 0, pieces.count, column, pieces.columns, true, simt_shared<float>(), sum);
    if (simt_warp() != 0 || column >= pieces.columns) return;
    int64_t tap = column / to.stride, channel = column - tap * to.stride; /* a pack has one tap */
    for (int i = 0; i < PACK && channel + i < to.width; i++) {
        if (tap < to.taps) {
            if (to.dkernel.data) deliver(&to.dkernel.row(channel + i)[tap], sum[i], to.add_kernel);
        } else if (to.dbias) {
            deliver(&to.dbias[channel + i], sum[i], to.add_bias);
        }
    }
}

template <typename T> static conv<T> conv_of(const mmrec_op_call *call) {
    const mmrec_op_sizes *sizes = call->sizes;
    conv<T> f;
    f.ag = matrix_of<const T>(call->in[IN_AG]);
    f.dy = matrix_of<const T>(call->d_out[0]);
    f.kernel = matrix_of<const float>(call->in[IN_KERNEL]);
    f.bias = static_cast<const float *>(call->in[IN_BIAS].data);
    f.dag = matrix_of<T>(call->d_in[IN_AG]);
    f.dc = {static_cast<float *>(call->scratch), conv_gate_stride(sizes)};
    f.steps = MMREC_SIZE(sizes, T);
    f.width = static_cast<int>(MMREC_SIZE(sizes, W));
    f.taps = static_cast<int>(MMREC_SIZE(sizes, K));
    f.add = call_adds(call, IN_AG);
    return f;
}

/* Pieces of rows of W; g must start on 16 bytes too where a thread shall have so many. */
static each_loop conv_loop(const mmrec_op_call *call, const mmrec_view &y) {
    const mmrec_view &ag = call->in[IN_AG];
    int64_t rows = conv_gate_rows(call->sizes), width = MMREC_SIZE(call->sizes, W);
    each_loop loop = each_rows(rows, width, ag.dtype, {&ag, &y, &call->d_in[IN_AG]}, each_most());
    bool half = static_cast<size_t>(width) * mmrec_dtype_bytes(ag.dtype) % 16 == 0;
    return half ? loop : each_cut(rows, width, ag.dtype, false, each_most());
}

static mmrec_status conv_check(const mmrec_op_call *call, mmrec_error *error) {
    int64_t width = conv_gate_stride(call->sizes), taps = MMREC_SIZE(call->sizes, K);
    MMREC_TRY(row_check("conv_gate", 2 * width, error));
    if (taps < ROW_WIDEST / width) return MMREC_OK;
    MMREC_FAIL(error, MMREC_SHAPE,
               "conv_gate: %lld taps of %lld channels, at most %d products of both on a device; use "
               "fewer taps",
               (long long)taps, (long long)MMREC_SIZE(call->sizes, W), ROW_WIDEST);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &y = call->out[0];
    MMREC_TRY(conv_check(call, error));
    each_loop loop = conv_loop(call, y);
    EACH_BY_TYPE(
        loop, y, T, N,
        return SIMT_LAUNCH((k_conv_gate_fwd<T, N>), each_shape(loop), error, conv_of<T>(call), matrix_of<T>(y), loop));
}

/* dkernel and dbias, from dc. */
template <typename T>
static mmrec_status sums_gradient(const conv<T> &f, const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *dkernel = &call->d_in[IN_KERNEL], *dbias = &call->d_in[IN_BIAS];
    if (!dkernel->data && !dbias->data) return MMREC_OK;
    row_pieces pieces = conv_gate_pieces(call->sizes);
    float *parts = f.dc.data + conv_gate_rows(call->sizes) * f.dc.stride;
    unsigned strips = strips_of(f.width);
    simt_shape shape = {static_cast<unsigned>(pieces.count * (f.taps + 1)) * strips, ROW_THREADS,
                        ROW_WARPS * STRIP * sizeof(float), SIMT_FREE, 0};
    MMREC_TRY(SIMT_LAUNCH((k_conv_gate_bwd_taps<T>), shape, error, f, pieces, strips, parts, packs(call->in[IN_AG])));
    shape.grid = strips_of(pieces.columns);
    conv_sums to = {matrix_of<float>(*dkernel), static_cast<float *>(dbias->data), f.dc.stride, f.width, f.taps,
                    call_adds(call, IN_KERNEL), call_adds(call, IN_BIAS)};
    return SIMT_LAUNCH(k_conv_gate_bwd_join, shape, error, to, (matrix<const float>{parts, pieces.stride}), pieces);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dy = call->d_out[0];
    MMREC_TRY(conv_check(call, error));
    each_loop loop = conv_loop(call, dy);
    EACH_BY_TYPE(loop, dy, T, N,
                 MMREC_TRY(SIMT_LAUNCH((k_conv_gate_bwd<T, N>), each_shape(loop), error, conv_of<T>(call), loop)));
    if (call->d_in[IN_AG].data) {
        EACH_BY_TYPE(
            loop, dy, T, N,
            MMREC_TRY(SIMT_LAUNCH((k_conv_gate_bwd_input<T, N>), each_shape(loop), error, conv_of<T>(call), loop)));
    }
    SIMT_BY_DTYPE(dy, T, return sums_gradient(conv_of<T>(call), call, error));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_conv_gate = {{forward, backward}};
