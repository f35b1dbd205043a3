/* dropout: y = x / (1 - p) where the element's number is at least p, 0 elsewhere.
 *
 * Source: the dropouts of the MM-Rec block (docs/model.md), which apply it inside gelu and combine.
 * mask.h has the mask, and how it is drawn. */
#include "mask.h"

#if MMREC_REAL_F32
#include "fast_each.h"
#endif

enum { ATTR_P, ATTR_STREAM };

static void apply(const mmrec_op_call *call, const mmrec_view *from, const mmrec_view *to, bool add) {
    int64_t rows = mmrec_shape_rows(&from->shape), columns = mmrec_shape_columns(&from->shape);
    mask m = mask_of(call, ATTR_P);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            deliver(&view_row(to, r)[c], mask_pass(&m, view_row(from, r)[c], r * columns + c), add);
        }
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    apply(call, &call->in[0], &call->out[0], false);
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    if (call->d_in[0].data) apply(call, &call->d_out[0], &call->d_in[0], accumulates(call, 0));
    return MMREC_OK;
}

#if MMREC_REAL_F32
static void value_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    mask m = mask_of(call, ATTR_P);
    fast_deliver(at[1], at[0], count, false);
    mask_span(&m, number, count, at[1]);
}

static void slope_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    mask m = mask_of(call, ATTR_P);
    float gradient[FAST_SPAN];
    fast_deliver(gradient, at[0], count, false);
    mask_span(&m, number, count, gradient);
    fast_deliver(at[1], gradient, count, accumulates(call, 0));
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->in[0], &call->out[0]};
    fast_each(call, views, 2, value_span);
    return MMREC_OK;
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->d_out[0], &call->d_in[0]};
    if (call->d_in[0].data) fast_each(call, views, 2, slope_span);
    return MMREC_OK;
}
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    return mask_check("dropout", sizes, ATTR_P, error);
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)pass;
    mmrec_work w = {(double)mmrec_shape_elements(&sizes->in[0]), 0, 0};
    return w;
}

static const char *const samples[] = {"N=1 D=1 p=0.5",
                                      "N=3 D=5 p=0.25",
                                      "N=17 D=13 p=0.5 stream=9",
                                      "B=2 T=3 D=65 p=0",
                                      "N=5 D=1025 p=0.3 stream=3",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(dropout);
const mmrec_op_def MMREC_OP_DEFINE(dropout) = {
    .name = "dropout",
    .formula = "y = x mask / (1 - p)",
    .source = "Srivastava et al., \"Dropout: a simple way to prevent neural networks from overfitting\", 2014",
    .in = {{.name = "x", .dims = "* D"}},
    .out = {{.name = "y", .dims = "* D"}},
    .attr = {"p", "stream"},
    .attr_default = {0.1, 0},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {2e-7, 3e-7,
                  "the scale and one product, each rounded once: eps; a third rounding where gradients are added"},
    .samples = samples,
    .bench = "N=2048 D=1024 p=0.1",
};
