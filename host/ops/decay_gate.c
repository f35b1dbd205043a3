/* decay_gate: gamma = sigmoid(a) [* sigmoid(b)], clamped to [1e-6, 1 - 1e-6]; no gradient where clamped.
 *
 * Source: step 3 of the MM-Rec block: a and b are the outputs of the decay and the context network; the low-rank decay
 * has no context, so no b. gamma stays in float32: 1 - 1e-6 has no neighbour in bf16. */
#include "op_impl.h"

#if MMREC_REAL_F32
#include "fast_each.h"
#include "fast_math.h"
#endif

enum { IN_A, IN_B };

static const double gamma_min = 1e-6, gamma_max = 1.0 - 1e-6;

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *a = &call->in[IN_A], *b = &call->in[IN_B], *gamma = &call->out[0];
    int64_t rows = mmrec_shape_rows(&a->shape), columns = mmrec_shape_columns(&a->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real p = real_sigmoid(view_row(a, r)[c]);
            if (b->data) p = p * real_sigmoid(view_row(b, r)[c]);
            if (real_value(p) < gamma_min) p = (real)gamma_min;
            if (real_value(p) > gamma_max) p = (real)gamma_max;
            view_row(gamma, r)[c] = p;
        }
    }
    return MMREC_OK;
}

/* d sigmoid = s (1 - s), so each input's gradient is dgamma * gamma * (1 - its own sigmoid). */
static void element_gradient(const mmrec_op_call *call, int64_t r, int64_t c) {
    const mmrec_view *da = &call->d_in[IN_A], *db = &call->d_in[IN_B];
    bool both = call->in[IN_B].data != NULL;
    real sa = real_sigmoid(view_row(&call->in[IN_A], r)[c]);
    real sb = both ? real_sigmoid(view_row(&call->in[IN_B], r)[c]) : (real)1;
    real p = both ? sa * sb : sa;
    bool clamped = real_value(p) < gamma_min || real_value(p) > gamma_max;
    real slope = view_row(&call->d_out[0], r)[c] * p;
    if (clamped) slope = (real)0;
    if (da->data) deliver(&view_row(da, r)[c], slope * ((real)1 - sa), accumulates(call, IN_A));
    if (db->data) deliver(&view_row(db, r)[c], slope * ((real)1 - sb), accumulates(call, IN_B));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *a = &call->in[IN_A];
    int64_t rows = mmrec_shape_rows(&a->shape), columns = mmrec_shape_columns(&a->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) element_gradient(call, r, c);
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
static inline float clamp_gamma(float p) {
    p = p < 1e-6f ? 1e-6f : p;
    return p > 0.999999f ? 0.999999f : p;
}

static void value_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    (void)number;
    (void)call;
    const float *restrict a = at[0], *restrict b = at[1];
    float *restrict gamma = at[2];
    if (b) {
        /* One division for two sigmoids: 1 / ((1 + e^-a)(1 + e^-b)). Past the range of float the product is infinite
         * and its inverse 0, which the clamp lifts to where it belongs. */
        for (int64_t i = 0; i < count; i++) {
            gamma[i] = clamp_gamma(1.0f / ((1.0f + fast_expf(-a[i])) * (1.0f + fast_expf(-b[i]))));
        }
    } else {
        for (int64_t i = 0; i < count; i++) gamma[i] = clamp_gamma(fast_sigmoidf(a[i]));
    }
}

/* 1 - sigmoid(x) is taken as e^-x sigmoid(x): where the gate is nearly open the difference would keep few digits. */
static void one_gradient(const float *restrict a, const float *restrict dgamma, float *restrict da, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        float ea = fast_expf(-a[i]), s = 1.0f / (1.0f + ea);
        float slope = s < 1e-6f || s > 0.999999f ? 0.0f : dgamma[i] * s;
        da[i] = slope * (ea * s);
    }
}

/* Both gradients, with one division: p = 1 / ((1 + e^-a)(1 + e^-b)), sigmoid(a) = p (1 + e^-b). Where the product is
 * infinite p is 0, and clamped. */
static void two_gradients(float *const *at, float *restrict da, float *restrict db, int64_t count) {
    const float *restrict a = at[0], *restrict b = at[1], *restrict dgamma = at[2];
    for (int64_t i = 0; i < count; i++) {
        float ea = fast_expf(-a[i]), eb = fast_expf(-b[i]), p = 1.0f / ((1.0f + ea) * (1.0f + eb));
        float slope = p < 1e-6f || p > 0.999999f ? 0.0f : dgamma[i] * p;
        da[i] = slope * (ea * (p * (1.0f + eb)));
        db[i] = slope * (eb * (p * (1.0f + ea)));
    }
}

static void slope_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    (void)number;
    float da[FAST_SPAN], db[FAST_SPAN];
    if (at[1])
        two_gradients(at, da, db, count);
    else
        one_gradient(at[0], at[2], da, count);
    if (at[3]) fast_deliver(at[3], da, count, accumulates(call, IN_A));
    if (at[4]) fast_deliver(at[4], db, count, accumulates(call, IN_B));
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->in[IN_A], &call->in[IN_B], &call->out[0]};
    fast_each(call, views, 3, value_span);
    return MMREC_OK;
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->in[IN_A], &call->in[IN_B], &call->d_out[0], &call->d_in[IN_A],
                                       &call->d_in[IN_B]};
    fast_each(call, views, 5, slope_span);
    return MMREC_OK;
}
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double elements = (double)mmrec_shape_elements(&sizes->in[IN_A]);
    bool both = ((sizes->given >> IN_B) & 1u) != 0;
    double flops = pass == MMREC_FORWARD ? (both ? 7 : 3) : (both ? 12 : 6);
    mmrec_work w = {flops * elements, (both ? 2 : 1) * elements, 0};
    return w;
}

static const char *const samples[] = {"N=1 D=1", "N=3 D=5 -b", "N=17 D=13", "N=2 D=65 -b", "N=37 D=1025", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(decay_gate);
const mmrec_op_def MMREC_OP_DEFINE(decay_gate) = {
    .name = "decay_gate",
    .formula = "gamma = clamp(sigmoid(a) sigmoid(b), 1e-6, 1 - 1e-6)",
    .source = "step 3 of the block, the decay",
    /* Wide enough that both clamps are met, the upper one without b only: at its edge float cannot tell whether a
     * gradient of 1e-6 dgamma is cut off, and one in a hundred thousand elements would differ. */
    .in = {{.name = "a", .dims = "* D", .flags = MMREC_ARG_KEEP, .low = -20, .high = 20},
           {.name = "b", .dims = "* D", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_KEEP, .low = -9, .high = 13}},
    .out = {{.name = "gamma", .dims = "* D", .flags = MMREC_ARG_F32}},
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance =
        {4e-7, 1e-6,
         "two sigmoids of relative error 1.5e-7 and their rounded product; in the gradient 1 - sigmoid keeps an "
         "absolute error of 1e-7, large beside the gradient of a nearly open gate"},
    .samples = samples,
    .bench = "N=2048 D=1024",
};
