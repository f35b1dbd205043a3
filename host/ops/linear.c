/* linear: y = x W^T + b, rows independent. W is stored (out, in).
 *
 * Source: the affine map of every projection in the MM-Rec block (docs/model.md).
 * Order of sums: the reference adds products in the order of the inner axis, then the bias. The fast functions leave
 * the products to sgemm, which begins from the bias; the bias gradient adds blocks of 64 rows, then the blocks. */
#include <limits.h>

#include "fast_loop.h"
#include "pieces_device.h"

enum { IN_X, IN_WEIGHT, IN_BIAS };

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *x = &call->in[IN_X], *weight = &call->in[IN_WEIGHT], *bias = &call->in[IN_BIAS];
    const mmrec_view *y = &call->out[0];
    int64_t rows = mmrec_shape_rows(&x->shape), inner = MMREC_SIZE(call->sizes, D), width = MMREC_SIZE(call->sizes, F);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t o = 0; o < width; o++) {
            real sum = (real)0;
            for (int64_t i = 0; i < inner; i++) sum += view_row(x, r)[i] * view_row(weight, o)[i];
            if (bias->data) sum += view_row(bias, 0)[o];
            view_row(y, r)[o] = sum;
        }
    }
    return MMREC_OK;
}

/* dx = dy W */
static void input_gradient(const mmrec_op_call *call, int64_t rows, int64_t inner, int64_t width) {
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < inner; i++) {
            real sum = (real)0;
            for (int64_t o = 0; o < width; o++) {
                sum += view_row(&call->d_out[0], r)[o] * view_row(&call->in[IN_WEIGHT], o)[i];
            }
            deliver(&view_row(&call->d_in[IN_X], r)[i], sum, accumulates(call, IN_X));
        }
    }
}

/* dW = dy^T x */
static void weight_gradient(const mmrec_op_call *call, int64_t rows, int64_t inner, int64_t width) {
    for (int64_t o = 0; o < width; o++) {
        for (int64_t i = 0; i < inner; i++) {
            real sum = (real)0;
            for (int64_t r = 0; r < rows; r++) {
                sum += view_row(&call->d_out[0], r)[o] * view_row(&call->in[IN_X], r)[i];
            }
            deliver(&view_row(&call->d_in[IN_WEIGHT], o)[i], sum, accumulates(call, IN_WEIGHT));
        }
    }
}

/* db = column sums of dy */
static void bias_gradient(const mmrec_op_call *call, int64_t rows, int64_t width) {
    for (int64_t o = 0; o < width; o++) {
        real sum = (real)0;
        for (int64_t r = 0; r < rows; r++) sum += view_row(&call->d_out[0], r)[o];
        deliver(&view_row(&call->d_in[IN_BIAS], 0)[o], sum, accumulates(call, IN_BIAS));
    }
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[IN_X].shape);
    int64_t inner = MMREC_SIZE(call->sizes, D), width = MMREC_SIZE(call->sizes, F);
    if (call->d_in[IN_X].data) input_gradient(call, rows, inner, width);
    if (call->d_in[IN_WEIGHT].data) weight_gradient(call, rows, inner, width);
    if (call->d_in[IN_BIAS].data) bias_gradient(call, rows, width);
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* The bias goes in first, so that sgemm adds to it: y is written once more, but read only from the cache. */
static void place_bias(const mmrec_op_call *call) {
    const mmrec_view *y = &call->out[0];
    int64_t rows = mmrec_shape_rows(&y->shape), width = mmrec_shape_columns(&y->shape);
    const float *bias = view_row(&call->in[IN_BIAS], 0);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * width > FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) {
        float *restrict to = view_row(y, r);
        for (int64_t o = 0; o < width; o++) to[o] = bias[o];
    }
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    bool bias = call->in[IN_BIAS].data;
    if (bias) place_bias(call);
    return fast_gemm(&call->in[IN_X], false, &call->in[IN_WEIGHT], true, &call->out[0], bias, error);
}

static void fast_bias_gradient(const mmrec_op_call *call) {
    const mmrec_view *dy = &call->d_out[0];
    int64_t rows = mmrec_shape_rows(&dy->shape), width = mmrec_shape_columns(&dy->shape);
    bool add = accumulates(call, IN_BIAS);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * width > FAST_SERIAL)
    for (int64_t first = 0; first < width; first += FAST_STRIP) {
        float total[FAST_STRIP];
        int64_t count = fast_min(FAST_STRIP, width - first);
        fast_strip_sum(dy, first, count, total);
        float *to = view_row(&call->d_in[IN_BIAS], 0) + first;
        for (int64_t c = 0; c < count; c++) deliver(&to[c], total[c], add);
    }
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *x = &call->in[IN_X], *weight = &call->in[IN_WEIGHT], *dy = &call->d_out[0];
    const mmrec_view *dx = &call->d_in[IN_X], *dw = &call->d_in[IN_WEIGHT];
    if (dx->data) MMREC_TRY(fast_gemm(dy, false, weight, false, dx, accumulates(call, IN_X), error));
    if (dw->data) MMREC_TRY(fast_gemm(dy, true, x, false, dw, accumulates(call, IN_WEIGHT), error));
    if (call->d_in[IN_BIAS].data) fast_bias_gradient(call);
    return MMREC_OK;
}
#endif

/* CBLAS counts in int; the refusal stands here so that every backend takes the same sizes. */
static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    int64_t rows = mmrec_shape_rows(&sizes->in[IN_X]);
    int64_t inner = MMREC_SIZE(sizes, D), width = MMREC_SIZE(sizes, F);
    if (rows > INT_MAX || inner > INT_MAX || width > INT_MAX) {
        MMREC_FAIL(error, MMREC_SHAPE,
                   "linear: %lld rows, %lld columns in and %lld out, but no size may exceed %d; use a smaller batch",
                   (long long)rows, (long long)inner, (long long)width, INT_MAX);
    }
    return MMREC_OK;
}

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    if (pass == MMREC_FORWARD || ((sizes->given >> IN_BIAS) & 1u) == 0) return 0;
    return pieces_bytes(pieces_of_bias(mmrec_shape_rows(&sizes->in[IN_X]), MMREC_SIZE(sizes, F)));
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double rows = (double)mmrec_shape_rows(&sizes->in[IN_X]);
    double product = rows * (double)MMREC_SIZE(sizes, D) * (double)MMREC_SIZE(sizes, F);
    double bias = ((sizes->given >> IN_BIAS) & 1u) != 0 ? rows * (double)MMREC_SIZE(sizes, F) : 0;
    mmrec_work w = {(pass == MMREC_FORWARD ? 2 : 4) * product + bias, 0, 0};
    return w;
}

static const char *const samples[] = {
    "N=1 D=1 F=1",    "N=3 D=5 F=7", "N=17 D=13 F=1 -bias", "B=2 T=33 D=31 F=67", "N=65 D=33 F=17 -bias",
    "N=130 D=3 F=65", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(linear);
const mmrec_op_def MMREC_OP_DEFINE(linear) = {
    .name = "linear",
    .formula = "y = x W^T + b",
    .source = "the affine map of the block's projections",
    .in = {{.name = "x", .dims = "* D", .flags = MMREC_ARG_KEEP},
           {.name = "weight", .dims = "F D", .flags = MMREC_ARG_KEEP | MMREC_ARG_WEIGHT},
           {.name = "bias", .dims = "F", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_WEIGHT}},
    .out = {{.name = "y", .dims = "* F"}},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance = {2e-6, 4e-6,
                  "sums of at most 130 normal products, whose error is near sqrt(130) eps / 2 = 7e-7 of the largest "
                  "result; gradients hold two roundings more where they are added"},
    .samples = samples,
    .bench = "N=2048 D=1024 F=1024",
};
