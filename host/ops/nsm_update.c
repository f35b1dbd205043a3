/* nsm_update: y = (1 - z) s + z c with z = sigmoid(a_z + u_z), c = tanh(n + u_n): z means replace.
 *
 * Source: the GRU form of the gated step of the Neural State Machines (docs/baselines.md). a and u as in nsm_reset; n
 * is the state half of the candidate, whose matrix has been applied to the states after their reset. With g = dy z:
 * dn = g (1 - c^2), ds = dy - g, d(a_z + u_z) = ds z (c - s); u gets the sums over the states, a and s those over the
 * batch where it shares its states. Nothing but the inputs is kept: z and c come again from two exponentials, where
 * saving them would take two tensors of B S D. */
#include "nsm_gates.h"

#if MMREC_REAL_F32
#include "nsm_fast.h"
#endif

enum { IN_A = NSM_A, IN_U = NSM_U, IN_N, IN_S };
enum { UPDATE = 1, CANDIDATE, GATES = 1 };

/* One element of one state, its inputs and both gates. */
typedef struct gated {
    real state, z, candidate;
} gated;

static gated gates_of(const mmrec_op_call *call, int64_t b, int64_t s, int64_t d) {
    real half = view_row(&call->in[IN_N], b * MMREC_SIZE(call->sizes, S) + s)[d];
    gated g = {view_row(&call->in[IN_S], nsm_row(call->sizes, b, s))[d],
               real_sigmoid(nsm_state_half(call, b, s, UPDATE)[d] + nsm_input_half(call, b, UPDATE)[d]),
               real_tanh(half + nsm_input_half(call, b, CANDIDATE)[d])};
    return g;
}

static void element_value(const mmrec_op_call *call, int64_t b, int64_t s, int64_t d) {
    gated g = gates_of(call, b, s, d);
    view_row(&call->out[0], b * MMREC_SIZE(call->sizes, S) + s)[d] = ((real)1 - g.z) * g.state + g.z * g.candidate;
}

static void element_gradient(const mmrec_op_call *call, int64_t b, int64_t s, int64_t d) {
    int64_t width = MMREC_SIZE(call->sizes, D), row = b * MMREC_SIZE(call->sizes, S) + s;
    gated g = gates_of(call, b, s, d);
    real dy = view_row(&call->d_out[0], row)[d], ds = dy * ((real)1 - g.z);
    real dz = ds * g.z * (g.candidate - g.state);
    real dn = dy * g.z * ((real)1 - g.candidate * g.candidate);
    nsm_deliver_state(call, IN_A, b, s, UPDATE * width + d, dz);
    nsm_deliver_state(call, IN_S, b, s, d, ds);
    nsm_deliver_input(call, b, s, UPDATE * width + d, dz);
    nsm_deliver_input(call, b, s, CANDIDATE * width + d, dn);
    if (call->d_in[IN_N].data) deliver(&view_row(&call->d_in[IN_N], row)[d], dn, accumulates(call, IN_N));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t width = MMREC_SIZE(call->sizes, D);
    nsm_each(call, element_gradient);
    nsm_clear(call, IN_A, 0, UPDATE * width);
    nsm_clear(call, IN_U, 0, UPDATE * width);
    return MMREC_OK;
}

#if MMREC_REAL_F32
static void strip_value(const nsm_strip *at, float *restrict y) {
    const float *restrict a = at->a[0], *restrict u = at->u[0], *restrict v = at->u[1];
    const float *restrict n = at->n, *restrict s = at->s;
    for (int64_t i = 0; i < at->count; i++) {
        float z = fast_sigmoidf(a[i] + u[i]), c = fast_tanhf(n[i] + v[i]);
        y[i] = (1.0f - z) * s[i] + z * c;
    }
}

/* 1 - z is e^-x z: where the gate is nearly open the difference would keep few digits. */
static void strip_slope(const nsm_strip *at, float (*slope)[FAST_STRIP]) {
    const float *restrict a = at->a[0], *restrict u = at->u[0], *restrict v = at->u[1];
    const float *restrict n = at->n, *restrict s = at->s, *restrict dy = at->dy;
    float *restrict dz = slope[0], *restrict dn = slope[1], *restrict ds = slope[2];
    for (int64_t i = 0; i < at->count; i++) {
        float e = fast_expf(-(a[i] + u[i])), z = 1.0f / (1.0f + e), c = fast_tanhf(n[i] + v[i]);
        ds[i] = dy[i] * (e * z);
        dz[i] = ds[i] * z * (c - s[i]);
        dn[i] = dy[i] * z * (1.0f - c * c);
    }
}

static const nsm_gates gates = {.states = IN_S,
                                .candidate = IN_N,
                                .first = UPDATE,
                                .gates = GATES,
                                .inputs = 2,
                                .value = strip_value,
                                .slope = strip_slope};
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    return nsm_infer("nsm_update", GATES, sizes, error);
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    return nsm_work(sizes, pass, pass == MMREC_FORWARD ? 9 : 14, 2, GATES, 2);
}

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(nsm_update);
const mmrec_op_def MMREC_OP_DEFINE(nsm_update) = {
    .name = "nsm_update",
    .formula = "y = (1 - z) s + z tanh(n + u_n), z = sigmoid(a_z + u_z)",
    .source = "the gated step of the Neural State Machines, GRU form",
    .in = {{.name = "a", .dims = "* S 2D", .flags = MMREC_ARG_KEEP},
           {.name = "u", .dims = "B 3D", .flags = MMREC_ARG_KEEP},
           {.name = "n", .dims = "B S D", .flags = MMREC_ARG_KEEP},
           {.name = "s", .dims = "* S D", .flags = MMREC_ARG_KEEP}},
    .out = {{.name = "y", .dims = "B S D"}},
    .infer = infer,
    .work = work,
    .function = {nsm_forward, backward},
    .fast = {MMREC_FAST(nsm_fast_forward), MMREC_FAST(nsm_fast_backward)},
    .tolerance =
        {6e-7, 1e-6,
         "a sigmoid and a tanh of relative errors 1.5e-7 and 1.9e-7 of rounded sums, each times a number of the size "
         "of the result: under 5 eps; gradients are sums of at most 67 products of three such values"},
    .samples = nsm_samples,
    .bench = "B=64 S=16 D=128",
};
