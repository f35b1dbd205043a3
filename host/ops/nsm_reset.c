/* nsm_reset: y = sigmoid(a_r + u_r) s, the states that the candidate of a gated step reads.
 *
 * Source: the GRU form of the gated step of the Neural State Machines (docs/baselines.md), where the reset comes before
 * the matrix. a holds the state halves of reset and update, u the input halves of reset, update and candidate, biases
 * in them; nsm_update reads what is left. With g = dy r: ds = g, d(a_r + u_r) = g s (1 - r), summed over the states for
 * u, and over the batch for a and s where it shares its states.
 * Nothing but the inputs is kept: r comes again from one exponential, where a saved tensor of B S D would be written
 * once and read once. */
#include "nsm_gates.h"

#if MMREC_REAL_F32
#include "nsm_fast.h"
#endif

enum { IN_A = NSM_A, IN_U = NSM_U, IN_S };
enum { RESET, GATES };

static void element_value(const mmrec_op_call *call, int64_t b, int64_t s, int64_t d) {
    real r = real_sigmoid(nsm_state_half(call, b, s, RESET)[d] + nsm_input_half(call, b, RESET)[d]);
    real state = view_row(&call->in[IN_S], nsm_row(call->sizes, b, s))[d];
    view_row(&call->out[0], b * MMREC_SIZE(call->sizes, S) + s)[d] = r * state;
}

static void element_gradient(const mmrec_op_call *call, int64_t b, int64_t s, int64_t d) {
    real r = real_sigmoid(nsm_state_half(call, b, s, RESET)[d] + nsm_input_half(call, b, RESET)[d]);
    real state = view_row(&call->in[IN_S], nsm_row(call->sizes, b, s))[d];
    real ds = view_row(&call->d_out[0], b * MMREC_SIZE(call->sizes, S) + s)[d] * r;
    real slope = ds * state * ((real)1 - r);
    nsm_deliver_state(call, IN_A, b, s, d, slope);
    nsm_deliver_state(call, IN_S, b, s, d, ds);
    nsm_deliver_input(call, b, s, d, slope);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t width = MMREC_SIZE(call->sizes, D);
    nsm_each(call, element_gradient);
    nsm_clear(call, IN_A, width, width);
    nsm_clear(call, IN_U, width, 2 * width);
    return MMREC_OK;
}

#if MMREC_REAL_F32
static void strip_value(const nsm_strip *at, float *restrict y) {
    const float *restrict a = at->a[0], *restrict u = at->u[0], *restrict s = at->s;
    for (int64_t i = 0; i < at->count; i++) y[i] = fast_sigmoidf(a[i] + u[i]) * s[i];
}

/* 1 - r is e^-x r: where the gate is nearly open the difference would keep few digits. */
static void strip_slope(const nsm_strip *at, float (*slope)[FAST_STRIP]) {
    const float *restrict a = at->a[0], *restrict u = at->u[0], *restrict s = at->s, *restrict dy = at->dy;
    float *restrict da = slope[0], *restrict ds = slope[1];
    for (int64_t i = 0; i < at->count; i++) {
        float e = fast_expf(-(a[i] + u[i])), r = 1.0f / (1.0f + e);
        ds[i] = dy[i] * r;
        da[i] = ds[i] * s[i] * (e * r);
    }
}

static const nsm_gates gates = {
    .states = IN_S, .first = RESET, .gates = GATES, .inputs = 1, .value = strip_value, .slope = strip_slope};
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    return nsm_infer("nsm_reset", GATES, sizes, error);
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    return nsm_work(sizes, pass, pass == MMREC_FORWARD ? 5 : 8, 1, GATES, 1);
}

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(nsm_reset);
const mmrec_op_def MMREC_OP_DEFINE(nsm_reset) = {
    .name = "nsm_reset",
    .formula = "y = sigmoid(a_r + u_r) s",
    .source = "the gated step of the Neural State Machines, GRU form",
    .in = {{.name = "a", .dims = "* S 2D", .flags = MMREC_ARG_KEEP},
           {.name = "u", .dims = "B 3D", .flags = MMREC_ARG_KEEP},
           {.name = "s", .dims = "* S D", .flags = MMREC_ARG_KEEP}},
    .out = {{.name = "y", .dims = "B S D"}},
    .infer = infer,
    .work = work,
    .function = {nsm_forward, backward},
    .fast = {MMREC_FAST(nsm_fast_forward), MMREC_FAST(nsm_fast_backward)},
    .tolerance = {5e-7, 1e-6,
                  "a sigmoid of relative error 1.5e-7 of a rounded sum, times a state: under 4 eps of the result; "
                  "gradients add 1 - sigmoid, and sums of at most 67 such values"},
    .samples = nsm_samples,
    .bench = "B=64 S=16 D=128",
};
