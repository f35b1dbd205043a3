/* nsm_lstm: y = o tanh(f s + i n) with f, i, o = sigmoid and n = tanh of a + u, in that order of columns.
 *
 * Source: the LSTM form of the gated step of the Neural State Machines (docs/baselines.md). There is no cell: the old
 * state plays the cell, and c = f s + i n is not kept. With h = tanh c and g = dy o (1 - h^2):
 *   ds = g f,  df = g s f (1 - f),  di = g n i (1 - i),  do = dy h o (1 - o),  dn = g i (1 - n^2),
 * the last four for a and u alike; u gets the sums over the states, a and s those over the batch where it shares its
 * states.
 * Nothing but the inputs is kept: the gates come again from five exponentials, where saving them would take four
 * tensors of B S D, as much as everything the op reads and writes for a shared set of states. */
#include "nsm_gates.h"

#if MMREC_REAL_F32
#include "nsm_fast.h"
#endif

enum { IN_A = NSM_A, IN_U = NSM_U, IN_S };
enum { FORGET, INPUT, OUTPUT, CANDIDATE, GATES };

/* One element of one state, its gates and the tanh of what they make of it. */
typedef struct gated {
    real state, f, i, o, n, h;
} gated;

static real sum_of(const mmrec_op_call *call, int64_t b, int64_t s, int64_t d, int64_t gate) {
    return nsm_state_half(call, b, s, gate)[d] + nsm_input_half(call, b, gate)[d];
}

static gated gates_of(const mmrec_op_call *call, int64_t b, int64_t s, int64_t d) {
    gated g;
    g.state = view_row(&call->in[IN_S], nsm_row(call->sizes, b, s))[d];
    g.f = real_sigmoid(sum_of(call, b, s, d, FORGET));
    g.i = real_sigmoid(sum_of(call, b, s, d, INPUT));
    g.o = real_sigmoid(sum_of(call, b, s, d, OUTPUT));
    g.n = real_tanh(sum_of(call, b, s, d, CANDIDATE));
    g.h = real_tanh(g.f * g.state + g.i * g.n);
    return g;
}

static void element_value(const mmrec_op_call *call, int64_t b, int64_t s, int64_t d) {
    gated g = gates_of(call, b, s, d);
    view_row(&call->out[0], b * MMREC_SIZE(call->sizes, S) + s)[d] = g.o * g.h;
}

static void element_gradient(const mmrec_op_call *call, int64_t b, int64_t s, int64_t d) {
    int64_t width = MMREC_SIZE(call->sizes, D);
    gated g = gates_of(call, b, s, d);
    real dy = view_row(&call->d_out[0], b * MMREC_SIZE(call->sizes, S) + s)[d];
    real dc = dy * g.o * ((real)1 - g.h * g.h), ds = dc * g.f, di = dc * g.i;
    real slope[GATES];
    slope[FORGET] = ds * g.state * ((real)1 - g.f);
    slope[INPUT] = di * g.n * ((real)1 - g.i);
    slope[OUTPUT] = dy * g.h * g.o * ((real)1 - g.o);
    slope[CANDIDATE] = di * ((real)1 - g.n * g.n);
    nsm_deliver_state(call, IN_S, b, s, d, ds);
    for (int64_t k = 0; k < GATES; k++) {
        nsm_deliver_state(call, IN_A, b, s, k * width + d, slope[k]);
        nsm_deliver_input(call, b, s, k * width + d, slope[k]);
    }
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    nsm_each(call, element_gradient);
    return MMREC_OK;
}

#if MMREC_REAL_F32
static void strip_value(const nsm_strip *at, float *restrict y) {
    const float *restrict af = at->a[FORGET], *restrict ai = at->a[INPUT], *restrict ao = at->a[OUTPUT];
    const float *restrict uf = at->u[FORGET], *restrict ui = at->u[INPUT], *restrict uo = at->u[OUTPUT];
    const float *restrict an = at->a[CANDIDATE], *restrict un = at->u[CANDIDATE], *restrict s = at->s;
    for (int64_t d = 0; d < at->count; d++) {
        float f = fast_sigmoidf(af[d] + uf[d]), i = fast_sigmoidf(ai[d] + ui[d]), o = fast_sigmoidf(ao[d] + uo[d]);
        y[d] = o * fast_tanhf(f * s[d] + i * fast_tanhf(an[d] + un[d]));
    }
}

static void strip_slope(const nsm_strip *at, float (*slope)[FAST_STRIP]) {
    const float *restrict af = at->a[FORGET], *restrict ai = at->a[INPUT], *restrict ao = at->a[OUTPUT];
    const float *restrict uf = at->u[FORGET], *restrict ui = at->u[INPUT], *restrict uo = at->u[OUTPUT];
    const float *restrict an = at->a[CANDIDATE], *restrict un = at->u[CANDIDATE], *restrict s = at->s;
    const float *restrict dy = at->dy;
    float *restrict df = slope[FORGET], *restrict di = slope[INPUT], *restrict out = slope[OUTPUT];
    float *restrict dn = slope[CANDIDATE], *restrict ds = slope[GATES];
    for (int64_t d = 0; d < at->count; d++) {
        float f = fast_sigmoidf(af[d] + uf[d]), i = fast_sigmoidf(ai[d] + ui[d]), o = fast_sigmoidf(ao[d] + uo[d]);
        float n = fast_tanhf(an[d] + un[d]), h = fast_tanhf(f * s[d] + i * n), dc = dy[d] * o * (1.0f - h * h);
        ds[d] = dc * f;
        df[d] = dc * f * s[d] * (1.0f - f);
        di[d] = dc * i * n * (1.0f - i);
        out[d] = dy[d] * h * o * (1.0f - o);
        dn[d] = dc * i * (1.0f - n * n);
    }
}

static const nsm_gates gates = {
    .states = IN_S, .first = FORGET, .gates = GATES, .inputs = GATES, .value = strip_value, .slope = strip_slope};
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    return nsm_infer("nsm_lstm", GATES, sizes, error);
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    return nsm_work(sizes, pass, pass == MMREC_FORWARD ? 17 : 35, 5, GATES, GATES);
}

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(nsm_lstm);
const mmrec_op_def MMREC_OP_DEFINE(nsm_lstm) = {
    .name = "nsm_lstm",
    .formula = "y = o tanh(f s + i n), [f, i, o] = sigmoid and n = tanh of a + u",
    .source = "the gated step of the Neural State Machines, LSTM form",
    .in = {{.name = "a", .dims = "* S 4D", .flags = MMREC_ARG_KEEP},
           {.name = "u", .dims = "B 4D", .flags = MMREC_ARG_KEEP},
           {.name = "s", .dims = "* S D", .flags = MMREC_ARG_KEEP}},
    .out = {{.name = "y", .dims = "B S D"}},
    .infer = infer,
    .work = work,
    .function = {nsm_forward, backward},
    .fast = {MMREC_FAST(nsm_fast_forward), MMREC_FAST(nsm_fast_backward)},
    .tolerance = {8e-7, 1.5e-6,
                  "three sigmoids and two tanhs of relative errors up to 1.9e-7, one inside of the other: under 7 eps "
                  "of the result; gradients are sums of at most 67 products of up to five such values"},
    .samples = nsm_samples,
    .bench = "B=64 S=16 D=128",
};
