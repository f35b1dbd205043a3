/* scan_product: y_t = product over i <= t of gamma_i, as exp(cumsum(clamp(log(gamma + 1e-8), -50, 0))).
 *
 * Source: the exponential product of the MM-Rec paper's associative scan.
 * dgamma_i = (sum over t >= i of dy_t y_t) / (gamma_i + 1e-8), zero where the clamp acts.
 * Order of sums: along T; cut into chunks (scan_parts.h) the sums of the chunks before are added as one number. */
#include "scan_device.h"
#include "scan_parts.h"

#if MMREC_REAL_F32
#include "fast_math.h"
#endif

enum { IN_GAMMA };
enum { ATTR_CHUNK };

static const double epsilon = 1e-8, log_min = -50, smallest = 1.928749847963918e-22; /* e^-50 */

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    return scan_infer("scan_product", sizes, sizes->attr[ATTR_CHUNK], 1, error);
}

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)pass;
    return scan_device_scratch(sizes, sizes->attr[ATTR_CHUNK], 1);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *gamma = &call->in[IN_GAMMA], *y = &call->out[0];
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T),
            columns = MMREC_SIZE(call->sizes, D);
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t d = 0; d < columns; d++) {
            real sum = 0;
            for (int64_t row = b * steps; row < (b + 1) * steps; row++) {
                real l = real_log(view_row(gamma, row)[d] + (real)epsilon);
                if (real_value(l) < log_min) l = (real)log_min;
                if (real_value(l) > 0) l = (real)0;
                sum += l;
                view_row(y, row)[d] = real_exp(sum);
            }
        }
    }
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *gamma = &call->in[IN_GAMMA], *y = &call->out[0], *dy = &call->d_out[0];
    const mmrec_view *dgamma = &call->d_in[IN_GAMMA];
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T),
            columns = MMREC_SIZE(call->sizes, D);
    for (int64_t b = 0; dgamma->data && b < batch; b++) {
        for (int64_t d = 0; d < columns; d++) {
            real sum = 0;
            for (int64_t row = (b + 1) * steps - 1; row >= b * steps; row--) {
                sum += view_row(dy, row)[d] * view_row(y, row)[d];
                real x = view_row(gamma, row)[d] + (real)epsilon, gradient = sum / x;
                if (real_value(x) < smallest || real_value(x) > 1) gradient = (real)0;
                deliver(&view_row(dgamma, row)[d], gradient, accumulates(call, IN_GAMMA));
            }
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
static inline float clamped_log(float gamma) {
    float l = fast_logf(gamma + 1e-8f);
    l = l < -50.0f ? -50.0f : l;
    return l > 0.0f ? 0.0f : l;
}

/* y = e^(sums of the unit's own logarithms): all there is to do where T is not cut. Two loops, because one with both
 * functions has too many values for the registers: 1.3 instead of 1.0 ns an element. */
static void product_unit(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *u) {
    (void)cut;
    float sum[SCAN_STRIP] = {0};
    for (int64_t row = u->row; row < u->end; row++) {
        const float *restrict gamma = view_row(&call->in[IN_GAMMA], row) + u->first;
        float *restrict y = view_row(&call->out[0], row) + u->first;
        for (int64_t d = 0; d < u->count; d++) {
            sum[d] += clamped_log(gamma[d]);
        }
        for (int64_t d = 0; d < u->count; d++) y[d] = fast_expf(sum[d]);
    }
}

/* y = the sums alone, kept there so that no logarithm is taken twice; the last ones are the chunk's carry. */
static void sum_unit(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *u) {
    float sum[SCAN_STRIP] = {0}, *carry = (float *)call->scratch + scan_carry(cut, u);
    for (int64_t row = u->row; row < u->end; row++) {
        const float *restrict gamma = view_row(&call->in[IN_GAMMA], row) + u->first;
        float *restrict y = view_row(&call->out[0], row) + u->first;
        for (int64_t d = 0; d < u->count; d++) {
            sum[d] += clamped_log(gamma[d]);
            y[d] = sum[d];
        }
    }
    for (int64_t d = 0; d < u->count; d++) carry[d] = sum[d];
}

static void exponential_unit(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *u) {
    const float *restrict carry = (const float *)call->scratch + scan_carry(cut, u);
    for (int64_t row = u->row; row < u->end; row++) {
        float *restrict y = view_row(&call->out[0], row) + u->first;
        for (int64_t d = 0; d < u->count; d++) y[d] = fast_expf(carry[d] + y[d]);
    }
}

/* Each chunk's sum becomes the sum of all chunks before it (step 1), or after it (step -1). */
static void pass_carries(const mmrec_op_call *call, const scan_cut *cut, int64_t step) {
    int64_t width = cut->batch * cut->columns, first = step > 0 ? 0 : cut->chunks - 1;
    for (int64_t i = 0; i < width; i++) {
        float sum = 0;
        for (int64_t n = 0, k = first; n < cut->chunks; n++, k += step) {
            float *carry = (float *)call->scratch + k * width + i, own = *carry;
            *carry = sum;
            sum += own;
        }
    }
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    scan_cut cut = scan_cut_of(call, call->sizes->attr[ATTR_CHUNK]);
    if (cut.chunks == 1) {
        scan_each(call, &cut, product_unit);
        return MMREC_OK;
    }
    scan_each(call, &cut, sum_unit);
    pass_carries(call, &cut, 1);
    scan_each(call, &cut, exponential_unit);
    return MMREC_OK;
}

/* The chunk's sum of dy y. */
static void gradient_sum_unit(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *u) {
    float sum[SCAN_STRIP] = {0}, *carry = (float *)call->scratch + scan_carry(cut, u);
    for (int64_t row = u->end - 1; row >= u->row; row--) {
        const float *restrict dy = view_row(&call->d_out[0], row) + u->first;
        const float *restrict y = view_row(&call->out[0], row) + u->first;
        for (int64_t d = 0; d < u->count; d++) sum[d] += dy[d] * y[d];
    }
    for (int64_t d = 0; d < u->count; d++) carry[d] = sum[d];
}

static void gradient_unit(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *u) {
    float sum[SCAN_STRIP] = {0};
    const float *carry = (const float *)call->scratch + scan_carry(cut, u);
    bool add = accumulates(call, IN_GAMMA);
    for (int64_t d = 0; cut->chunks > 1 && d < u->count; d++) sum[d] = carry[d];
    for (int64_t row = u->end - 1; row >= u->row; row--) {
        const float *restrict dy = view_row(&call->d_out[0], row) + u->first;
        const float *restrict y = view_row(&call->out[0], row) + u->first;
        const float *restrict gamma = view_row(&call->in[IN_GAMMA], row) + u->first;
        float *restrict dgamma = view_row(&call->d_in[IN_GAMMA], row) + u->first;
        for (int64_t d = 0; d < u->count; d++) {
            float x = gamma[d] + 1e-8f;
            sum[d] += dy[d] * y[d];
            float gradient = sum[d] / x;
            deliver(&dgamma[d], x < (float)smallest || x > 1.0f ? 0.0f : gradient, add);
        }
    }
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    if (!call->d_in[IN_GAMMA].data) return MMREC_OK;
    scan_cut cut = scan_cut_of(call, call->sizes->attr[ATTR_CHUNK]);
    if (cut.chunks > 1) {
        scan_each(call, &cut, gradient_sum_unit);
        pass_carries(call, &cut, -1);
    }
    scan_each(call, &cut, gradient_unit);
    return MMREC_OK;
}
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double elements = (double)mmrec_shape_elements(&sizes->in[IN_GAMMA]);
    mmrec_work w = {(pass == MMREC_FORWARD ? 2 : 4) * elements, pass == MMREC_FORWARD ? 2 * elements : 0, 0};
    return w;
}

static const char *const samples[] = {
    "B=1 T=1 D=1",    "B=2 T=2 D=5",    "B=3 T=3 D=65 chunk=2",     "B=2 T=17 D=13 chunk=4",  "B=1 T=65 D=129 chunk=16",
    "B=1 T=259 D=67", "B=3 T=67 D=193", "B=2 T=300 D=37 chunk=200", "B=2 T=7 D=1100 chunk=2", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(scan_product);
const mmrec_op_def MMREC_OP_DEFINE(scan_product) = {
    .name = "scan_product",
    .formula = "y_t = exp(sum over i <= t of clamp(log(gamma_i + 1e-8), -50, 0))",
    .source = "the exponential product of the associative scan",
    /* Past 1, so that the clamp acts. */
    .in = {{.name = "gamma", .dims = "B T D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32, .low = 0.6, .high = 1.1}},
    .out = {{.name = "y", .dims = "B T D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32}},
    .attr = {"chunk"},
    .attr_default = {0},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance =
        {1e-6, 2e-6,
         "y is e^s with s rounded to 6e-8 |s| per step; y falls faster than that error grows. The gradient adds "
         "dy y and divides once more"},
    .samples = samples,
    .bench = "B=2 T=1024 D=1024",
};
