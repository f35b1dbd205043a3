/* scan_linear: h_t = gamma_t h_{t-1} + u_t, h_{-1} = h0.
 *
 * Source: the linear recurrence of the associative scan. Backward, from the last step to the first with r = 0:
 * g_t = dh_t + r, du_t = g_t, dgamma_t = g_t h_{t-1}, r = gamma_t g_t; in the end dh0 = r.
 * Cut into chunks (scan_parts.h), what a chunk does to the state (or to r) is x -> decay x + gain; those pairs are
 * found in a first pass without writing anything, and the second runs the same sums as the plain sweep. */
#include "scan_device.h"
#include "scan_parts.h"

enum { IN_GAMMA, IN_U, IN_H0 };
enum { ATTR_CHUNK };

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    return scan_infer("scan_linear", sizes, sizes->attr[ATTR_CHUNK], 2, error);
}

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)pass;
    return scan_device_scratch(sizes, sizes->attr[ATTR_CHUNK], 2);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T),
            columns = MMREC_SIZE(call->sizes, D);
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t d = 0; d < columns; d++) {
            real h = view_row(&call->in[IN_H0], b)[d];
            for (int64_t row = b * steps; row < (b + 1) * steps; row++) {
                h = view_row(&call->in[IN_GAMMA], row)[d] * h + view_row(&call->in[IN_U], row)[d];
                view_row(&call->out[0], row)[d] = h;
            }
        }
    }
    return MMREC_OK;
}

static void column_gradient(const mmrec_op_call *call, int64_t b, int64_t steps, int64_t d) {
    const mmrec_view *dgamma = &call->d_in[IN_GAMMA], *du = &call->d_in[IN_U], *dh0 = &call->d_in[IN_H0];
    real r = 0;
    for (int64_t t = steps - 1; t >= 0; t--) {
        int64_t row = b * steps + t;
        real before = t ? view_row(&call->out[0], row - 1)[d] : view_row(&call->in[IN_H0], b)[d];
        real g = view_row(&call->d_out[0], row)[d] + r;
        if (du->data) deliver(&view_row(du, row)[d], g, accumulates(call, IN_U));
        if (dgamma->data) deliver(&view_row(dgamma, row)[d], g * before, accumulates(call, IN_GAMMA));
        r = view_row(&call->in[IN_GAMMA], row)[d] * g;
    }
    if (dh0->data) deliver(&view_row(dh0, b)[d], r, accumulates(call, IN_H0));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T),
            columns = MMREC_SIZE(call->sizes, D);
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t d = 0; d < columns; d++) column_gradient(call, b, steps, d);
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* Scratch: (chunks, B, D) gains, which the passing on replaces by the carries, then as many decays. */
static float *gains(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *u) {
    return (float *)call->scratch + scan_carry(cut, u);
}
static float *decays(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *u) {
    return gains(call, cut, u) + cut->chunks * cut->batch * cut->columns;
}

/* What the chunk makes of a state of zero, and the product of its gammas. */
static void effect_unit(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *u) {
    float h[SCAN_STRIP] = {0}, product[SCAN_STRIP];
    for (int64_t d = 0; d < u->count; d++) product[d] = 1;
    for (int64_t row = u->row; row < u->end; row++) {
        const float *restrict gamma = view_row(&call->in[IN_GAMMA], row) + u->first;
        const float *restrict input = view_row(&call->in[IN_U], row) + u->first;
        for (int64_t d = 0; d < u->count; d++) {
            h[d] = gamma[d] * h[d] + input[d];
            product[d] *= gamma[d];
        }
    }
    for (int64_t d = 0; d < u->count; d++) gains(call, cut, u)[d] = h[d];
    for (int64_t d = 0; d < u->count; d++) decays(call, cut, u)[d] = product[d];
}

/* The same from the last step to the first, for r. */
static void effect_back_unit(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *u) {
    float r[SCAN_STRIP] = {0}, product[SCAN_STRIP];
    for (int64_t d = 0; d < u->count; d++) product[d] = 1;
    for (int64_t row = u->end - 1; row >= u->row; row--) {
        const float *restrict gamma = view_row(&call->in[IN_GAMMA], row) + u->first;
        const float *restrict dh = view_row(&call->d_out[0], row) + u->first;
        for (int64_t d = 0; d < u->count; d++) {
            r[d] = gamma[d] * (dh[d] + r[d]);
            product[d] *= gamma[d];
        }
    }
    for (int64_t d = 0; d < u->count; d++) gains(call, cut, u)[d] = r[d];
    for (int64_t d = 0; d < u->count; d++) decays(call, cut, u)[d] = product[d];
}

/* Each chunk's gain becomes what enters the chunk: h0 (NULL: zero) enters the first one in this direction. */
static void pass_carries(const mmrec_op_call *call, const scan_cut *cut, const mmrec_view *h0, int64_t step) {
    int64_t width = cut->batch * cut->columns, first = step > 0 ? 0 : cut->chunks - 1;
    for (int64_t i = 0; i < width; i++) {
        float carry = h0 ? view_row(h0, i / cut->columns)[i % cut->columns] : 0.0f;
        for (int64_t n = 0, k = first; n < cut->chunks; n++, k += step) {
            float *gain = (float *)call->scratch + k * width + i, own = *gain;
            *gain = carry;
            carry = gain[cut->chunks * width] * carry + own;
        }
    }
}

static void forward_unit(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *u) {
    float h[SCAN_STRIP];
    const float *start = cut->chunks > 1 ? gains(call, cut, u) : view_row(&call->in[IN_H0], u->b) + u->first;
    for (int64_t d = 0; d < u->count; d++) h[d] = start[d];
    for (int64_t row = u->row; row < u->end; row++) {
        const float *restrict gamma = view_row(&call->in[IN_GAMMA], row) + u->first;
        const float *restrict input = view_row(&call->in[IN_U], row) + u->first;
        float *restrict out = view_row(&call->out[0], row) + u->first;
        for (int64_t d = 0; d < u->count; d++) {
            h[d] = gamma[d] * h[d] + input[d];
            out[d] = h[d];
        }
    }
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    scan_cut cut = scan_cut_of(call, call->sizes->attr[ATTR_CHUNK]);
    if (cut.chunks > 1) {
        scan_each(call, &cut, effect_unit);
        pass_carries(call, &cut, &call->in[IN_H0], 1);
    }
    scan_each(call, &cut, forward_unit);
    return MMREC_OK;
}

/* One step of a unit backwards: g = dh + r, du = g, dgamma = g h_{t-1}, r = gamma g. */
static void step_back(const mmrec_op_call *call, const scan_unit *u, int64_t row, const float *restrict before,
                      float *restrict r) {
    const mmrec_view *dgamma_view = &call->d_in[IN_GAMMA], *du_view = &call->d_in[IN_U];
    const float *restrict gamma = view_row(&call->in[IN_GAMMA], row) + u->first;
    const float *restrict dh = view_row(&call->d_out[0], row) + u->first;
    float g[SCAN_STRIP];
    for (int64_t d = 0; d < u->count; d++) g[d] = dh[d] + r[d];
    for (int64_t d = 0; d < u->count; d++) r[d] = gamma[d] * g[d];
    if (du_view->data) {
        float *restrict du = view_row(du_view, row) + u->first;
        bool add = accumulates(call, IN_U);
        for (int64_t d = 0; d < u->count; d++) deliver(&du[d], g[d], add);
    }
    if (dgamma_view->data) {
        float *restrict dgamma = view_row(dgamma_view, row) + u->first;
        bool add = accumulates(call, IN_GAMMA);
        for (int64_t d = 0; d < u->count; d++) deliver(&dgamma[d], g[d] * before[d], add);
    }
}

static void backward_unit(const mmrec_op_call *call, const scan_cut *cut, const scan_unit *u) {
    float r[SCAN_STRIP] = {0};
    const mmrec_view *dh0_view = &call->d_in[IN_H0];
    for (int64_t d = 0; cut->chunks > 1 && d < u->count; d++) r[d] = gains(call, cut, u)[d];
    for (int64_t row = u->end - 1; row >= u->row; row--) {
        bool start = row == u->b * cut->steps;
        const float *before = start ? view_row(&call->in[IN_H0], u->b) : view_row(&call->out[0], row - 1);
        step_back(call, u, row, before + u->first, r);
    }
    if (u->index > 0 || !dh0_view->data) return;
    float *restrict dh0 = view_row(dh0_view, u->b) + u->first;
    bool add = accumulates(call, IN_H0);
    for (int64_t d = 0; d < u->count; d++) deliver(&dh0[d], r[d], add);
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    scan_cut cut = scan_cut_of(call, call->sizes->attr[ATTR_CHUNK]);
    if (cut.chunks > 1) {
        scan_each(call, &cut, effect_back_unit);
        pass_carries(call, &cut, NULL, -1);
    }
    scan_each(call, &cut, backward_unit);
    return MMREC_OK;
}
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double elements = (double)mmrec_shape_elements(&sizes->in[IN_GAMMA]);
    mmrec_work w = {(pass == MMREC_FORWARD ? 2 : 3) * elements, 0, 0};
    return w;
}

static const char *const samples[] = {
    "B=1 T=1 D=1",    "B=2 T=2 D=5",    "B=3 T=3 D=65 chunk=2",     "B=2 T=17 D=13 chunk=4",  "B=1 T=65 D=129 chunk=16",
    "B=1 T=259 D=67", "B=3 T=67 D=193", "B=2 T=300 D=37 chunk=200", "B=2 T=7 D=1100 chunk=2", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(scan_linear);
const mmrec_op_def MMREC_OP_DEFINE(scan_linear) = {
    .name = "scan_linear",
    .formula = "h_t = gamma_t h_{t-1} + u_t",
    .source = "the linear recurrence of the associative scan",
    .in = {{.name = "gamma", .dims = "B T D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32, .low = 0.5, .high = 1},
           {.name = "u", .dims = "B T D"},
           {.name = "h0", .dims = "B D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32}},
    .out = {{.name = "h", .dims = "B T D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32}},
    .attr = {"chunk"},
    .attr_default = {0},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance = {1e-6, 1e-6, "decays near 0.75 forget an error within a few steps: a handful of roundings of |h|"},
    .samples = samples,
    .bench = "B=2 T=1024 D=1024",
};
