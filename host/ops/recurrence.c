/* recurrence: the MM-Rec cell over time, sequential because both gates read the state before them.
 *
 *   a_t = sigmoid(Wg h_{t-1} + bg)                                 block gate
 *   m_t = sigmoid(U z_t + Wh h_{t-1} + bm)                         MDI gate; mdi_weight = [U Wh], D x 2D
 *   n_t = (1 - m_t) h_{t-1} + m_t z_t + gamma_t h_{t-1}            MDI state
 *   h_t = z_t a_t + gamma_t h_{t-1} + 0.1 n_t
 *
 * Backward, g_t = dL/dh_t, is linear in g once the gates are known:
 *
 *   A = z a (1 - a)      M = 0.1 (z - h_{t-1}) m (1 - m)      c = gamma + 0.1 (1 - m + gamma)
 *   g_{t-1} = dout_{t-1} + c g_t + Wg^T (A g_t) + Wh^T (M g_t)
 *   dz = g (a + 0.1 m) + U^T (M g)      dgamma = 1.1 g h_{t-1}
 *   dWg = sum (A g) h_{t-1}^T      dU = sum (M g) z^T      dWh = sum (M g) h_{t-1}^T, all after the sweep
 *
 * h is kept for its reader anyway; the MDI gate m is saved, the block gate a is recomputed for all t in one product.
 * With nothing saved the backward pass has 9 products of BT x D x D against 3 forward, with m saved 7, with both gates
 * 6: the first tensor of memory buys 2 of 9, a second one would buy 1 of 7.
 *
 * Attribute bf16 = 1: gate_weight and mdi_weight are rounded to bfloat16 in both passes, and gradients pass straight
 * through the rounding. Where the machine has AVX512-BF16 the fast functions round what meets the weights as well (z,
 * h; backward A g and M g), with sums in float; allowed against the reference are then 2^-7 for outputs and 2^-6 for
 * gradients. Elsewhere the rounded weights meet float values and the differences are those of bf16 = 0. The weights'
 * gradients are always float sums over float values.
 *
 * Order of sums: bias first, then z, then h in the order of the inner axis. */
#include "op_impl.h"

#include "ops/recurrence_device.h"

enum { IN_Z, IN_GAMMA, IN_H0, IN_GATE_WEIGHT, IN_GATE_BIAS, IN_MDI_WEIGHT, IN_MDI_BIAS };
enum { OUT_H, OUT_N };
enum { ATTR_BF16 };

#define MIX 0.1 /* weight of the MDI state in h */

/* Row of z, gamma, h, n, m and their gradients at batch row b, step t; and of h_{t-1}. */
static int64_t row_at(const mmrec_op_call *call, int64_t b, int64_t t) { return b * MMREC_SIZE(call->sizes, T) + t; }
static const real *state_before(const mmrec_op_call *call, int64_t b, int64_t t) {
    return t > 0 ? view_row(&call->out[OUT_H], row_at(call, b, t - 1)) : view_row(&call->in[IN_H0], b);
}

/* A weight as the attribute wants it. The first D columns of mdi_weight are U, the others Wh. */
static real used_weight(const mmrec_op_call *call, real value) {
    if (call->sizes->attr[ATTR_BF16] == 0) return value;
    return (real)mmrec_bf16_to_float(mmrec_bf16_from_float((float)real_value(value)));
}
static real gate_weight(const mmrec_op_call *call, int64_t to, int64_t from) {
    return used_weight(call, view_row(&call->in[IN_GATE_WEIGHT], to)[from]);
}
static real mdi_weight(const mmrec_op_call *call, int64_t to, int64_t from) {
    return used_weight(call, view_row(&call->in[IN_MDI_WEIGHT], to)[from]);
}

static real block_gate(const mmrec_op_call *call, const real *before, int64_t i) {
    real sum = view_row(&call->in[IN_GATE_BIAS], 0)[i];
    for (int64_t k = 0; k < MMREC_SIZE(call->sizes, D); k++) sum += gate_weight(call, i, k) * before[k];
    return real_sigmoid(sum);
}

static real mdi_gate(const mmrec_op_call *call, const real *z, const real *before, int64_t i) {
    int64_t width = MMREC_SIZE(call->sizes, D);
    real sum = view_row(&call->in[IN_MDI_BIAS], 0)[i];
    for (int64_t k = 0; k < width; k++) sum += mdi_weight(call, i, k) * z[k];
    for (int64_t k = 0; k < width; k++) sum += mdi_weight(call, i, width + k) * before[k];
    return real_sigmoid(sum);
}

static void step(const mmrec_op_call *call, int64_t b, int64_t t) {
    int64_t row = row_at(call, b, t);
    const real *z = view_row(&call->in[IN_Z], row), *gamma = view_row(&call->in[IN_GAMMA], row);
    const real *before = state_before(call, b, t);
    for (int64_t i = 0; i < MMREC_SIZE(call->sizes, D); i++) {
        real a = block_gate(call, before, i), m = mdi_gate(call, z, before, i);
        real kept = gamma[i] * before[i];
        real n = ((real)1 - m) * before[i] + m * z[i] + kept;
        view_row(&call->saved[0], row)[i] = m;
        view_row(&call->out[OUT_H], row)[i] = z[i] * a + kept + (real)MIX * n;
        if (call->out[OUT_N].data) view_row(&call->out[OUT_N], row)[i] = n;
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    for (int64_t b = 0; b < MMREC_SIZE(call->sizes, B); b++) {
        for (int64_t t = 0; t < MMREC_SIZE(call->sizes, T); t++) step(call, b, t);
    }
    return MMREC_OK;
}

/* What the backward sweep keeps: A g and M g for every row, and one row each of g, c g and the direct part of dz. */
typedef struct sweep {
    real *gated, *mixed, *g, *carry, *direct;
} sweep;

static sweep sweep_at(const mmrec_op_call *call) {
    int64_t width = MMREC_SIZE(call->sizes, D), all = MMREC_SIZE(call->sizes, B) * MMREC_SIZE(call->sizes, T) * width;
    sweep s;
    s.gated = (real *)call->scratch;
    s.mixed = s.gated + all;
    s.g = s.mixed + all;
    s.carry = s.g + width;
    s.direct = s.carry + width;
    return s;
}

/* The elementwise part of step t: everything that follows from g_t and the gates. */
static void sweep_gates(const mmrec_op_call *call, const sweep *s, int64_t b, int64_t t) {
    int64_t row = row_at(call, b, t), width = MMREC_SIZE(call->sizes, D);
    const real *z = view_row(&call->in[IN_Z], row), *gamma = view_row(&call->in[IN_GAMMA], row);
    const real *before = state_before(call, b, t);
    for (int64_t i = 0; i < width; i++) {
        real a = block_gate(call, before, i), m = view_row(&call->saved[0], row)[i], open = (real)1 - m, g = s->g[i];
        s->gated[row * width + i] = z[i] * a * ((real)1 - a) * g;
        s->mixed[row * width + i] = (real)MIX * (z[i] - before[i]) * m * open * g;
        s->carry[i] = (gamma[i] + (real)MIX * (open + gamma[i])) * g;
        s->direct[i] = g * (a + (real)MIX * m);
        if (call->d_in[IN_GAMMA].data) {
            real slope = (real)(1 + MIX) * g * before[i];
            deliver(&view_row(&call->d_in[IN_GAMMA], row)[i], slope, accumulates(call, IN_GAMMA));
        }
    }
}

/* dz of step t, and g_{t-1} but for dout_{t-1}. */
static void sweep_products(const mmrec_op_call *call, const sweep *s, int64_t b, int64_t t) {
    int64_t row = row_at(call, b, t), width = MMREC_SIZE(call->sizes, D);
    const real *gated = s->gated + row * width, *mixed = s->mixed + row * width;
    for (int64_t i = 0; i < width; i++) {
        real dz = s->direct[i], g = s->carry[i];
        for (int64_t k = 0; k < width; k++) {
            dz += mdi_weight(call, k, i) * mixed[k];
            g += gate_weight(call, k, i) * gated[k];
            g += mdi_weight(call, k, width + i) * mixed[k];
        }
        s->g[i] = g;
        if (call->d_in[IN_Z].data) deliver(&view_row(&call->d_in[IN_Z], row)[i], dz, accumulates(call, IN_Z));
    }
}

static void sweep_row(const mmrec_op_call *call, const sweep *s, int64_t b) {
    int64_t steps = MMREC_SIZE(call->sizes, T), width = MMREC_SIZE(call->sizes, D);
    for (int64_t i = 0; i < width; i++) s->g[i] = view_row(&call->d_out[OUT_H], row_at(call, b, steps - 1))[i];
    for (int64_t t = steps - 1; t >= 0; t--) {
        sweep_gates(call, s, b, t);
        sweep_products(call, s, b, t);
        if (t == 0) break;
        for (int64_t i = 0; i < width; i++) s->g[i] += view_row(&call->d_out[OUT_H], row_at(call, b, t - 1))[i];
    }
    if (!call->d_in[IN_H0].data) return;
    for (int64_t i = 0; i < width; i++) {
        deliver(&view_row(&call->d_in[IN_H0], b)[i], s->g[i], accumulates(call, IN_H0));
    }
}

/* dW[i][k] = sum over rows of slope[i] * h_{t-1}[k], or of slope[i] * z[k]; `first` is the column where it starts. */
static void weight_gradient(const mmrec_op_call *call, const real *slope, int input, int64_t first, bool from_z) {
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T), width = MMREC_SIZE(call->sizes, D);
    if (!call->d_in[input].data) return;
    for (int64_t i = 0; i < width; i++) {
        for (int64_t k = 0; k < width; k++) {
            real sum = 0;
            for (int64_t row = 0; row < batch * steps; row++) {
                const real *from =
                    from_z ? view_row(&call->in[IN_Z], row) : state_before(call, row / steps, row % steps);
                sum += slope[row * width + i] * from[k];
            }
            deliver(&view_row(&call->d_in[input], i)[first + k], sum, accumulates(call, input));
        }
    }
}

static void bias_gradient(const mmrec_op_call *call, const real *slope, int input) {
    int64_t rows = MMREC_SIZE(call->sizes, B) * MMREC_SIZE(call->sizes, T), width = MMREC_SIZE(call->sizes, D);
    if (!call->d_in[input].data) return;
    for (int64_t i = 0; i < width; i++) {
        real sum = 0;
        for (int64_t row = 0; row < rows; row++) sum += slope[row * width + i];
        deliver(&view_row(&call->d_in[input], 0)[i], sum, accumulates(call, input));
    }
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    sweep s = sweep_at(call);
    int64_t width = MMREC_SIZE(call->sizes, D);
    for (int64_t b = 0; b < MMREC_SIZE(call->sizes, B); b++) sweep_row(call, &s, b);
    weight_gradient(call, s.gated, IN_GATE_WEIGHT, 0, false);
    bias_gradient(call, s.gated, IN_GATE_BIAS);
    weight_gradient(call, s.mixed, IN_MDI_WEIGHT, 0, true);
    weight_gradient(call, s.mixed, IN_MDI_WEIGHT, width, false);
    bias_gradient(call, s.mixed, IN_MDI_BIAS);
    return MMREC_OK;
}

#if MMREC_REAL_F32
#include "recurrence_forward.h"

#include "recurrence_backward.h"
#endif

/* Bytes are counted in double first: sizes whose product leaves the integers are refused, not wrapped. */
static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    double width = (double)MMREC_SIZE(sizes, D), rows = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, T);
    double bytes[MMREC_PASSES] = {0, (2 * rows + 3) * width * (double)sizeof(real)};
#if MMREC_REAL_F32
    bytes[MMREC_FORWARD] = forward_scratch(sizes);
    bytes[MMREC_BACKWARD] = fmax(bytes[MMREC_BACKWARD], backward_scratch(sizes));
#endif
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        if (bytes[pass] > 0x1p62) {
            MMREC_FAIL(error, MMREC_SHAPE, "recurrence: %.0f rows of %.0f columns need %.3g bytes of scratch memory",
                       rows, width, bytes[pass]);
        }
        sizes->scratch_bytes[pass] = (size_t)bytes[pass];
    }
    return MMREC_OK;
}

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    return recurrence_sizes_of(sizes, pass).bytes;
}

/* Forward, per element: 3 products of depth D on top of a bias, 2 sigmoids of 3, 10 for n and h. Backward: 1 product
 * for the block gate, 3 in the sweep, 3 for the weights, the rest elementwise; dout joins at all steps but the last. */
static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double batch = (double)MMREC_SIZE(sizes, B), steps = (double)MMREC_SIZE(sizes, T),
           width = (double)MMREC_SIZE(sizes, D);
    double elements = batch * steps * width;
    mmrec_work w = {elements * (6 * width + 16), 2 * elements, 0};
    if (pass == MMREC_BACKWARD) {
        w.flops = elements * (14 * width + 24) + batch * (steps - 1) * width;
        w.transcendentals = elements;
    }
    return w;
}

static const char *const samples[] = {"B=1 T=1 D=1",
                                      "B=2 T=2 D=3",
                                      "B=3 T=3 D=7",
                                      "B=2 T=17 D=5",
                                      "B=1 T=3 D=17",
                                      "B=4 T=2 D=33",
                                      "B=17 T=3 D=13",
                                      "B=9 T=5 D=16",
                                      "B=7 T=1 D=31",
                                      "B=5 T=2 D=65",
                                      "B=1 T=17 D=67",
                                      "B=8 T=3 D=48",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(recurrence);

/* A rounding to bfloat16 is at most 2^-9, near 2^-10.7 in the mean square; the sum of a gate, D = 131 products of
 * weights up to 0.3 and states near 1.4, is then off by 2^-10.7 * 0.17 * 1.4 * sqrt(131) = 1.6e-3, the gate by a
 * quarter of it, h by |z| <= 4 times that, of a largest h near 5: 3e-4 in each step. The state adds up what the last 6
 * steps left, 2^-9; four of these for the largest of a thousand elements. The gradients pass rounded products twice, in
 * the gates and in the sweep. */
static mmrec_tolerance tolerance_at(const mmrec_op_sizes *sizes) {
    static const mmrec_tolerance rounded = {0x1p-7, 0x1p-6,
                                            "four times the 2^-9 of six steps with rounded factors, gradients twice "
                                            "that; measured 3.6e-3 and 3.1e-3"};
    return sizes->attr[ATTR_BF16] != 0 ? rounded : MMREC_OP_DEFINE(recurrence).tolerance;
}

const mmrec_op_def MMREC_OP_DEFINE(recurrence) = {
    .name = "recurrence",
    .formula = "h' = z a + gamma h + 0.1 n, n = (1-m) h + m z + gamma h, a = s(Wg h + bg), m = s(Wm [z;h] + bm)",
    .source = "the MM-Rec block's recurrence over time",
    /* The state carries what a storage type rounds off from step to step: all f32. */
    .in = {{.name = "z", .dims = "B T D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32},
           {.name = "gamma", .dims = "B T D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32, .low = 0.05, .high = 0.95},
           {.name = "h0", .dims = "B D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32},
           {.name = "gate_weight", .dims = "D D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32, .low = -0.3, .high = 0.3},
           {.name = "gate_bias", .dims = "D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32},
           {.name = "mdi_weight", .dims = "D 2D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32, .low = -0.3, .high = 0.3},
           {.name = "mdi_bias", .dims = "D", .flags = MMREC_ARG_F32}},
    .out = {{.name = "h", .dims = "B T D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32},
            {.name = "n", .dims = "B T D", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_NO_GRAD | MMREC_ARG_F32}},
    .saved = {{.name = "m", .dims = "B T D", .flags = MMREC_ARG_F32}},
    .attr = {"bf16"},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance =
        {2e-6, 7e-6,
         "sums of 3 D <= 400 products whose rounding the state carries on by up to 1.15 a step, gradients both "
         "ways: 4e-7 and 1.4e-6 measured, times 5"},
    .tolerance_at = tolerance_at,
    .samples = samples,
    .bench = "B=16 T=128 D=1024",
};
