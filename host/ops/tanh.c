/* tanh: y = tanh x; dx = dy (1 - y^2), from the y that is kept.
 *
 * Source: the activation of recurrent cells and of multi-layer perceptrons. */
#include "op_impl.h"

#if MMREC_REAL_F32
#include "fast_each.h"
#include "fast_math.h"
#endif

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *x = &call->in[0], *y = &call->out[0];
    int64_t rows = mmrec_shape_rows(&x->shape), columns = mmrec_shape_columns(&x->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) view_row(y, r)[c] = real_tanh(view_row(x, r)[c]);
    }
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *y = &call->out[0], *dy = &call->d_out[0], *dx = &call->d_in[0];
    int64_t rows = mmrec_shape_rows(&y->shape), columns = mmrec_shape_columns(&y->shape);
    for (int64_t r = 0; dx->data && r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real v = view_row(y, r)[c];
            deliver(&view_row(dx, r)[c], view_row(dy, r)[c] * ((real)1 - v * v), accumulates(call, 0));
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
static void value_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    (void)call;
    (void)number;
    const float *restrict x = at[0];
    float *restrict y = at[1];
    for (int64_t i = 0; i < count; i++) y[i] = fast_tanhf(x[i]);
}

static void slope_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    (void)number;
    const float *restrict y = at[0], *restrict dy = at[1];
    float *restrict dx = at[2];
    bool add = accumulates(call, 0);
    for (int64_t i = 0; i < count; i++) deliver(&dx[i], dy[i] * (1.0f - y[i] * y[i]), add);
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->in[0], &call->out[0]};
    fast_each(call, views, 2, value_span);
    return MMREC_OK;
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->out[0], &call->d_out[0], &call->d_in[0]};
    if (call->d_in[0].data) fast_each(call, views, 3, slope_span);
    return MMREC_OK;
}
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double elements = (double)mmrec_shape_elements(&sizes->in[0]);
    mmrec_work w = {pass == MMREC_FORWARD ? 0 : 3 * elements, pass == MMREC_FORWARD ? elements : 0, 0};
    return w;
}

static const char *const samples[] = {"N=1 D=1", "N=3 D=5", "N=17 D=13", "N=2 D=65", "N=37 D=1025", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(tanh);
const mmrec_op_def MMREC_OP_DEFINE(tanh) = {
    .name = "tanh",
    .formula = "y = tanh x",
    .source = "the activation of recurrent cells and multi-layer perceptrons",
    .in = {{.name = "x", .dims = "* D", .low = -5, .high = 5}},
    .out = {{.name = "y", .dims = "* D", .flags = MMREC_ARG_KEEP}},
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {3e-7, 6e-7,
                  "fast_math.h: 1.9e-7, and 6e-8 for x as it is rounded; a slope has the error of y twice, over the "
                  "largest slope of a sample, which is near 1"},
    .samples = samples,
    .bench = "N=2048 D=2048",
};
