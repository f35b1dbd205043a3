/* combine: y = c0 x0 + ... + c7 x7, up to eight inputs of one shape; absent ones count as zero.
 *
 * Source: the sums of the MM-Rec block (s = h + c + 0.1 v + e, r = x + s, query + 0.5 q). Inputs may be slices of a
 * wider tensor, as the fused projection makes them.
 * Order of sums: x0 first, then upwards. The coefficients are attributes c0 .. c7, 1 by default. */
#include "op_impl.h"

#if MMREC_REAL_F32
#include "fast_each.h"
#endif

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *y = &call->out[0];
    int64_t rows = mmrec_shape_rows(&y->shape), columns = mmrec_shape_columns(&y->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real sum = (real)call->sizes->attr[0] * view_row(&call->in[0], r)[c];
            for (int i = 1; i < MMREC_MAX_IN; i++) {
                if (call->in[i].data) sum += (real)call->sizes->attr[i] * view_row(&call->in[i], r)[c];
            }
            view_row(y, r)[c] = sum;
        }
    }
    return MMREC_OK;
}

static void input_gradient(const mmrec_op_call *call, int i) {
    const mmrec_view *dy = &call->d_out[0], *dx = &call->d_in[i];
    int64_t rows = mmrec_shape_rows(&dy->shape), columns = mmrec_shape_columns(&dy->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            deliver(&view_row(dx, r)[c], (real)call->sizes->attr[i] * view_row(dy, r)[c], accumulates(call, i));
        }
    }
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if (call->d_in[i].data) input_gradient(call, i);
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* One input after the other: the span of y (4 KiB) stays in the first cache between them. */
static void sum_span(const mmrec_op_call *call, float *const *at, int64_t count) {
    float *restrict y = at[0];
    const float *restrict first = at[1];
    float c0 = (float)call->sizes->attr[0];
    for (int64_t i = 0; i < count; i++) y[i] = c0 * first[i];
    for (int k = 1; k < MMREC_MAX_IN; k++) {
        const float *restrict x = at[1 + k];
        float c = (float)call->sizes->attr[k];
        for (int64_t i = 0; x && i < count; i++) y[i] += c * x[i];
    }
}

/* All inputs' gradients while the span of dy is in the first cache. */
static void scale_span(const mmrec_op_call *call, float *const *at, int64_t count) {
    const float *restrict dy = at[0];
    for (int k = 0; k < MMREC_MAX_IN; k++) {
        float *restrict dx = at[1 + k];
        float c = (float)call->sizes->attr[k];
        bool add = accumulates(call, k);
        for (int64_t i = 0; dx && i < count; i++) deliver(&dx[i], c * dy[i], add);
    }
}

/* The inputs (or their gradients) with y (or dy) in front. */
static mmrec_status each_input(const mmrec_op_call *call, const mmrec_view *y, const mmrec_view *inputs,
                               fast_span_function function) {
    const mmrec_view *views[FAST_EACH_VIEWS] = {y};
    for (int i = 0; i < MMREC_MAX_IN; i++) views[1 + i] = &inputs[i];
    fast_each(call, views, 1 + MMREC_MAX_IN, function);
    return MMREC_OK;
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    return each_input(call, &call->out[0], call->in, sum_span);
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    return each_input(call, &call->d_out[0], call->d_in, scale_span);
}
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double elements = (double)mmrec_shape_elements(&sizes->in[0]), given = 0;
    for (int i = 0; i < MMREC_MAX_IN; i++) given += (sizes->given >> i) & 1u;
    mmrec_work w = {(pass == MMREC_FORWARD ? 2 * given - 1 : given) * elements, 0, 0};
    return w;
}

static const char *const samples[] = {"N=1 D=1 -x1 -x2 -x3 -x4 -x5 -x6 -x7",
                                      "N=3 D=5 c0=0.5 c1=-2 -x2 -x3 -x4 -x5 -x6 -x7",
                                      "N=17 D=13 c0=2 c3=0.1 -x1 -x2 -x4 -x5 -x6 -x7",
                                      "N=5 D=65 c0=3 c1=0.1 c2=-1 c3=0.3 c4=2 c5=0.7 c6=-0.2 c7=1.5",
                                      "N=19 D=1031 c2=0.1 -x4 -x5 -x6 -x7",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(combine);
const mmrec_op_def MMREC_OP_DEFINE(combine) = {
    .name = "combine",
    .formula = "y = sum_i c_i x_i",
    .source = "the residual and query sums of the block",
    .in = {{.name = "x0", .dims = "* D"},
           {.name = "x1", .dims = "* D", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x2", .dims = "* D", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x3", .dims = "* D", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x4", .dims = "* D", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x5", .dims = "* D", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x6", .dims = "* D", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x7", .dims = "* D", .flags = MMREC_ARG_OPTIONAL}},
    .out = {{.name = "y", .dims = "* D"}},
    .attr = {"c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"},
    .attr_default = {1, 1, 1, 1, 1, 1, 1, 1},
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {5e-7, 2e-7, "eight products and seven sums, each rounded to 6e-8 of at most the sum of magnitudes"},
    .samples = samples,
    .bench = "N=2048 D=1024 c2=0.1 -x4 -x5 -x6 -x7",
};
