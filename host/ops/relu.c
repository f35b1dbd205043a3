/* relu: y = max(x, 0); the gradient passes where x > 0, and NaN stays NaN.
 *
 * Source: the low-rank decay (DPG) of the MM-Rec block. */
#include "op_impl.h"

#if MMREC_REAL_F32
#include "fast_each.h"
#endif

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *x = &call->in[0], *y = &call->out[0];
    int64_t rows = mmrec_shape_rows(&x->shape), columns = mmrec_shape_columns(&x->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real v = view_row(x, r)[c];
            view_row(y, r)[c] = real_value(v) < 0 ? (real)0 : v;
        }
    }
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *x = &call->in[0], *dy = &call->d_out[0], *dx = &call->d_in[0];
    int64_t rows = mmrec_shape_rows(&x->shape), columns = mmrec_shape_columns(&x->shape);
    for (int64_t r = 0; dx->data && r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real passed = real_value(view_row(x, r)[c]) <= 0 ? (real)0 : view_row(dy, r)[c];
            deliver(&view_row(dx, r)[c], passed, accumulates(call, 0));
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
static void value_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    (void)number;
    (void)call;
    const float *restrict x = at[0];
    float *restrict y = at[1];
    for (int64_t i = 0; i < count; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

static void slope_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    (void)number;
    const float *restrict x = at[0], *restrict dy = at[1];
    float *restrict dx = at[2];
    bool add = accumulates(call, 0);
    for (int64_t i = 0; i < count; i++) deliver(&dx[i], x[i] <= 0.0f ? 0.0f : dy[i], add);
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

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)sizes;
    (void)pass;
    mmrec_work w = {0, 0, 0};
    return w;
}

static const char *const samples[] = {"N=1 D=1", "N=3 D=5", "N=17 D=13", "N=2 D=65", "N=37 D=1025", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(relu);
const mmrec_op_def MMREC_OP_DEFINE(relu) = {
    .name = "relu",
    .formula = "y = max(x, 0)",
    .source = "the low-rank decay of the block",
    .in = {{.name = "x", .dims = "* D", .flags = MMREC_ARG_KEEP}},
    .out = {{.name = "y", .dims = "* D"}},
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {1e-7, 1e-7, "a selection: nothing is rounded but the inputs and one sum when adding to a gradient"},
    .samples = samples,
    .bench = "N=2048 D=2048",
};
