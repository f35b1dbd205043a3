/* gelu: y = x P(X <= x) for a standard normal X, the exact form; with p > 0 dropout (mask.h) behind it.
 *
 * Source: the activation of the decay networks and the feed-forward part of the MM-Rec block.
 * dx = dropout(dy) (P(X <= x) + x density(x)). Nothing but x is kept: with the exponential shared, both factors come
 * again at 0.6 ns an element, less than a second saved tensor costs to write and read. */
#include "mask.h"

#if MMREC_REAL_F32
#include "fast_each.h"
#include "fast_math.h"
#endif

enum { ATTR_P, ATTR_STREAM };

static const double sqrt_half = 0.70710678118654752440, density_at_0 = 0.39894228040143267794;

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *x = &call->in[0], *y = &call->out[0];
    int64_t rows = mmrec_shape_rows(&x->shape), columns = mmrec_shape_columns(&x->shape);
    mask m = mask_of(call, ATTR_P);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real v = view_row(x, r)[c];
            real value = (real)0.5 * v * ((real)1 + real_erf(v * (real)sqrt_half));
            view_row(y, r)[c] = m.drops ? mask_pass(&m, value, r * columns + c) : value;
        }
    }
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *x = &call->in[0], *dy = &call->d_out[0], *dx = &call->d_in[0];
    int64_t rows = mmrec_shape_rows(&x->shape), columns = mmrec_shape_columns(&x->shape);
    mask m = mask_of(call, ATTR_P);
    for (int64_t r = 0; dx->data && r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real v = view_row(x, r)[c];
            real below = (real)0.5 * ((real)1 + real_erf(v * (real)sqrt_half));
            real density = (real)density_at_0 * real_exp((real)-0.5 * v * v);
            real passed = view_row(dy, r)[c];
            if (m.drops) passed = mask_pass(&m, passed, r * columns + c);
            deliver(&view_row(dx, r)[c], passed * (below + v * density), accumulates(call, 0));
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
static void value_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    const float *restrict x = at[0];
    float *restrict y = at[1];
    mask m = mask_of(call, ATTR_P);
    for (int64_t i = 0; i < count; i++) y[i] = fast_geluf(x[i]);
    if (m.drops) mask_span(&m, number, count, y);
}

static void slope_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    const float *restrict x = at[0], *restrict dy = at[1];
    float gradient[FAST_SPAN];
    mask m = mask_of(call, ATTR_P);
    for (int64_t i = 0; i < count; i++) gradient[i] = dy[i] * fast_gelu_slopef(x[i]);
    if (m.drops) mask_span(&m, number, count, gradient);
    fast_deliver(at[2], gradient, count, accumulates(call, 0));
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->in[0], &call->out[0]};
    fast_each(call, views, 2, value_span);
    return MMREC_OK;
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->in[0], &call->d_out[0], &call->d_in[0]};
    if (call->d_in[0].data) fast_each(call, views, 3, slope_span);
    return MMREC_OK;
}
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    return mask_check("gelu", sizes, ATTR_P, error);
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double elements = (double)mmrec_shape_elements(&sizes->in[0]), drop = sizes->attr[ATTR_P] > 0 ? 1 : 0;
    mmrec_work w = {((pass == MMREC_FORWARD ? 4 : 9) + drop) * elements, (pass == MMREC_FORWARD ? 1 : 2) * elements, 0};
    return w;
}

static const char *const samples[] = {"N=1 D=1",
                                      "N=3 D=5",
                                      "N=17 D=13",
                                      "N=2 D=65",
                                      "N=37 D=1025",
                                      "N=17 D=13 p=0.25 stream=2",
                                      "N=5 D=1027 p=0.5 stream=5",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(gelu);
const mmrec_op_def MMREC_OP_DEFINE(gelu) = {
    .name = "gelu",
    .formula = "y = dropout(x (1 + erf(x / sqrt 2)) / 2)",
    .source = "the activation of the block's decay networks and feed-forward part",
    .in = {{.name = "x", .dims = "* D", .flags = MMREC_ARG_KEEP, .low = -8, .high = 8}},
    .out = {{.name = "y", .dims = "* D"}},
    .attr = {"p", "stream"},
    .attr_default = {0, 0},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {4e-7, 6e-7,
                  "fast_math.h: absolute error 3.9e-7 at |y| near 5 and 1.7e-7 for the slope; twice that where the "
                  "largest value is small"},
    .samples = samples,
    .bench = "N=2048 D=2048",
};
