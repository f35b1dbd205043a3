/* combine: y = c0 x0 + ... + c7 x7, up to eight inputs of one shape; absent ones count as zero. With p > 0 everything
 * but x0 is dropped out: y = c0 x0 + dropout(c1 x1 + ... + c7 x7), the mask is that of mask.h.
 *
 * Source: the sums of the MM-Rec block (query + 0.5 q, r = x + dropout(h + c + 0.1 v + e), y = r + dropout(ffn)).
 * Inputs may be slices of a wider tensor, as the fused projection makes them. Order of sums: x0 first, then upwards;
 * with p > 0 x1 first, then upwards, and x0 added at the end. The coefficients are attributes c0 .. c7, 1 by default.
 */
#include "mask.h"

#if MMREC_REAL_F32
#include "fast_each.h"
#endif

enum { ATTR_P = MMREC_MAX_IN, ATTR_STREAM };

static real term(const mmrec_op_call *call, int i, int64_t r, int64_t c) {
    return (real)call->sizes->attr[i] * view_row(&call->in[i], r)[c];
}

/* The terms of input `first`, which is there, and of those behind it. */
static real sum_from(const mmrec_op_call *call, int first, int64_t r, int64_t c) {
    real sum = term(call, first, r, c);
    for (int i = first + 1; i < MMREC_MAX_IN; i++) {
        if (call->in[i].data) sum += term(call, i, r, c);
    }
    return sum;
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *y = &call->out[0];
    int64_t rows = mmrec_shape_rows(&y->shape), columns = mmrec_shape_columns(&y->shape);
    mask m = mask_of(call, ATTR_P);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            if (m.drops) {
                real dropped = mask_pass(&m, sum_from(call, 1, r, c), r * columns + c);
                view_row(y, r)[c] = term(call, 0, r, c) + dropped;
            } else {
                view_row(y, r)[c] = sum_from(call, 0, r, c);
            }
        }
    }
    return MMREC_OK;
}

static void input_gradient(const mmrec_op_call *call, int i) {
    const mmrec_view *dy = &call->d_out[0], *dx = &call->d_in[i];
    int64_t rows = mmrec_shape_rows(&dy->shape), columns = mmrec_shape_columns(&dy->shape);
    mask m = mask_of(call, ATTR_P);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real passed = view_row(dy, r)[c];
            if (m.drops && i > 0) passed = mask_pass(&m, passed, r * columns + c);
            deliver(&view_row(dx, r)[c], (real)call->sizes->attr[i] * passed, accumulates(call, i));
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
/* y = c x for one input, or added to y. */
static void term_span(const mmrec_op_call *call, float *const *at, int k, int64_t count, bool add) {
    float *restrict y = at[0];
    const float *restrict x = at[1 + k];
    float c = (float)call->sizes->attr[k];
    if (add) {
        for (int64_t i = 0; i < count; i++) y[i] += c * x[i];
    } else {
        for (int64_t i = 0; i < count; i++) y[i] = c * x[i];
    }
}

/* One input after the other: the span of y (4 KiB) stays in the first cache between them. */
static void sum_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    mask m = mask_of(call, ATTR_P);
    int first = m.drops ? 1 : 0;
    for (int k = first; k < MMREC_MAX_IN; k++) {
        if (at[1 + k]) term_span(call, at, k, count, k > first);
    }
    if (!m.drops) return;
    mask_span(&m, number, count, at[0]);
    term_span(call, at, 0, count, true);
}

/* All inputs' gradients while the span of dy is in the first cache. */
static void scale_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    const float *restrict dy = at[0];
    float dropped[FAST_SPAN];
    mask m = mask_of(call, ATTR_P);
    if (m.drops) {
        fast_deliver(dropped, dy, count, false);
        mask_span(&m, number, count, dropped);
    }
    for (int k = 0; k < MMREC_MAX_IN; k++) {
        float *restrict dx = at[1 + k];
        const float *restrict from = m.drops && k > 0 ? dropped : dy;
        float c = (float)call->sizes->attr[k];
        bool add = accumulates(call, k);
        for (int64_t i = 0; dx && i < count; i++) deliver(&dx[i], c * from[i], add);
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

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    MMREC_TRY(mask_check("combine", sizes, ATTR_P, error));
    if (sizes->attr[ATTR_P] > 0 && !((sizes->given >> 1) & 1u)) {
        MMREC_FAIL(error, MMREC_CONFIG, "combine: p is %g, but there is no x1: what is dropped begins with x1",
                   sizes->attr[ATTR_P]);
    }
    return MMREC_OK;
}

/* A product for every input and a sum for every one but the first; dropout is one product more, forward for the sum and
 * backward for each gradient that passes it. */
static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double elements = (double)mmrec_shape_elements(&sizes->in[0]), given = 0;
    bool drops = sizes->attr[ATTR_P] > 0;
    for (int i = 0; i < MMREC_MAX_IN; i++) given += (sizes->given >> i) & 1u;
    double forward_flops = 2 * given - 1 + (drops ? 1 : 0), backward_flops = given + (drops ? given - 1 : 0);
    mmrec_work w = {(pass == MMREC_FORWARD ? forward_flops : backward_flops) * elements, 0, 0};
    return w;
}

static const char *const samples[] = {"N=1 D=1 -x1 -x2 -x3 -x4 -x5 -x6 -x7",
                                      "N=3 D=5 c0=0.5 c1=-2 -x2 -x3 -x4 -x5 -x6 -x7",
                                      "N=17 D=13 c0=2 c3=0.1 -x1 -x2 -x4 -x5 -x6 -x7",
                                      "N=5 D=65 c0=3 c1=0.1 c2=-1 c3=0.3 c4=2 c5=0.7 c6=-0.2 c7=1.5",
                                      "N=19 D=1031 c2=0.1 -x4 -x5 -x6 -x7",
                                      "N=7 D=33 c0=2 c1=0.5 p=0.25 stream=4 -x2 -x3 -x4 -x5 -x6 -x7",
                                      "N=5 D=1027 c0=-1 c2=0.1 c7=3 p=0.5 stream=7 -x3 -x5 -x6",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(combine);
const mmrec_op_def MMREC_OP_DEFINE(combine) = {
    .name = "combine",
    .formula = "y = c0 x0 + dropout(c1 x1 + ... + c7 x7)",
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
    .attr = {"c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "p", "stream"},
    .attr_default = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance =
        {5e-7, 3e-7,
         "eight products, seven sums and dropout's product, each rounded to 6e-8 of at most the sum of magnitudes; "
         "a gradient is two products with a rounded scale"},
    .samples = samples,
    .bench = "N=2048 D=1024 c2=0.1 -x4 -x5 -x6 -x7",
};
