/* route: y[b, s] = sum over n of weights[b, n, s] fit(tokens[b, n]), where fit pads features with zeros, or cuts them,
 * from Q to D.
 *
 * Source: the token-to-state router of the Neural State Machines (docs/baselines.md). A sum, not divided by what a state
 * received. With F = min(Q, D): dweights[n, s] = dy[s, :F] tokens[n, :F], dtokens[n, :F] = sum over s of
 * weights[n, s] dy[s, :F]; what was cut has no gradient.
 * Order of sums: the reference adds products in the order of the inner index. The fast functions leave each sample to
 * sgemm on one thread, which takes the samples one after another. */
#include <limits.h>

#include "fast_loop.h"

enum { IN_WEIGHTS, IN_TOKENS };
enum { ATTR_WIDTH };

/* Features that pass. */
static int64_t features(const mmrec_op_sizes *sizes) {
    int64_t given = MMREC_SIZE(sizes, Q), wanted = MMREC_SIZE(sizes, D);
    return given < wanted ? given : wanted;
}

static const real *weight_row(const mmrec_op_call *call, int64_t b, int64_t n) {
    return view_row(&call->in[IN_WEIGHTS], b * MMREC_SIZE(call->sizes, N) + n);
}

static const real *token_row(const mmrec_op_call *call, int64_t b, int64_t n) {
    return view_row(&call->in[IN_TOKENS], b * MMREC_SIZE(call->sizes, N) + n);
}

static void routed_row(const mmrec_op_call *call, int64_t b, int64_t s) {
    int64_t tokens = MMREC_SIZE(call->sizes, N), width = MMREC_SIZE(call->sizes, D), passing = features(call->sizes);
    real *y = view_row(&call->out[0], b * MMREC_SIZE(call->sizes, S) + s);
    for (int64_t d = 0; d < width; d++) {
        real sum = (real)0;
        for (int64_t n = 0; d < passing && n < tokens; n++) sum += weight_row(call, b, n)[s] * token_row(call, b, n)[d];
        y[d] = sum;
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), states = MMREC_SIZE(call->sizes, S);
    for (int64_t row = 0; row < batch * states; row++) routed_row(call, row / states, row % states);
    return MMREC_OK;
}

static void weight_gradient(const mmrec_op_call *call, int64_t b, int64_t n) {
    int64_t states = MMREC_SIZE(call->sizes, S), passing = features(call->sizes);
    real *to = view_row(&call->d_in[IN_WEIGHTS], b * MMREC_SIZE(call->sizes, N) + n);
    for (int64_t s = 0; s < states; s++) {
        const real *dy = view_row(&call->d_out[0], b * states + s);
        real sum = (real)0;
        for (int64_t d = 0; d < passing; d++) sum += dy[d] * token_row(call, b, n)[d];
        deliver(&to[s], sum, accumulates(call, IN_WEIGHTS));
    }
}

static void token_gradient(const mmrec_op_call *call, int64_t b, int64_t n) {
    int64_t states = MMREC_SIZE(call->sizes, S), given = MMREC_SIZE(call->sizes, Q), passing = features(call->sizes);
    real *to = view_row(&call->d_in[IN_TOKENS], b * MMREC_SIZE(call->sizes, N) + n);
    for (int64_t d = 0; d < passing; d++) {
        real sum = (real)0;
        for (int64_t s = 0; s < states; s++) {
            sum += weight_row(call, b, n)[s] * view_row(&call->d_out[0], b * states + s)[d];
        }
        deliver(&to[d], sum, accumulates(call, IN_TOKENS));
    }
    for (int64_t d = passing; d < given && !accumulates(call, IN_TOKENS); d++) to[d] = (real)0;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), tokens = MMREC_SIZE(call->sizes, N);
    for (int64_t row = 0; row < batch * tokens; row++) {
        if (call->d_in[IN_WEIGHTS].data) weight_gradient(call, row / tokens, row % tokens);
        if (call->d_in[IN_TOKENS].data) token_gradient(call, row / tokens, row % tokens);
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* The rows of sample b of a view, `columns` of them, as a view of its own. */
static mmrec_view sample_of(const mmrec_view *view, int64_t b, int64_t rows, int64_t columns) {
    mmrec_view sample = {view_row(view, b * rows), MMREC_F32, mmrec_shape2(rows, columns), view->stride};
    return sample;
}

/* Whether CBLAS can count what this call has. */
static mmrec_status check_strides(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *const views[] = {&call->in[IN_WEIGHTS],  &call->in[IN_TOKENS], &call->d_in[IN_WEIGHTS],
                                       &call->d_in[IN_TOKENS], &call->out[0],        &call->d_out[0]};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        if (views[i]->stride > INT_MAX) {
            MMREC_FAIL(error, MMREC_SHAPE, "route: a row stride of %lld exceeds %d; use smaller pieces",
                       (long long)views[i]->stride, INT_MAX);
        }
    }
    return MMREC_OK;
}

/* Zeros in columns [first, end) of the rows of a view. */
static void pad(const mmrec_view *view, int64_t first, int64_t end) {
    int64_t rows = mmrec_shape_rows(&view->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = first; c < end; c++) view_row(view, r)[c] = 0;
    }
}

/* y = weights^T tokens for sample b. */
static void fast_sample(const mmrec_op_call *call, int64_t b) {
    int64_t tokens = MMREC_SIZE(call->sizes, N), states = MMREC_SIZE(call->sizes, S), passing = features(call->sizes);
    mmrec_view weights = sample_of(&call->in[IN_WEIGHTS], b, tokens, states);
    mmrec_view given = sample_of(&call->in[IN_TOKENS], b, tokens, passing);
    mmrec_view y = sample_of(&call->out[0], b, states, passing);
    fast_gemm_part(&weights, true, &given, false, &y, 0, tokens, false);
    pad(&y, passing, MMREC_SIZE(call->sizes, D));
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(check_strides(call, error));
    int64_t batch = MMREC_SIZE(call->sizes, B);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static)
    for (int64_t b = 0; b < batch; b++) fast_sample(call, b);
    return MMREC_OK;
}

/* dweights = tokens dy^T, dtokens = weights dy for sample b. */
static void fast_sample_gradient(const mmrec_op_call *call, int64_t b) {
    int64_t tokens = MMREC_SIZE(call->sizes, N), states = MMREC_SIZE(call->sizes, S), passing = features(call->sizes);
    mmrec_view dy = sample_of(&call->d_out[0], b, states, passing);
    if (call->d_in[IN_WEIGHTS].data) {
        mmrec_view given = sample_of(&call->in[IN_TOKENS], b, tokens, passing);
        mmrec_view to = sample_of(&call->d_in[IN_WEIGHTS], b, tokens, states);
        fast_gemm_part(&given, false, &dy, true, &to, 0, passing, accumulates(call, IN_WEIGHTS));
    }
    if (call->d_in[IN_TOKENS].data) {
        mmrec_view weights = sample_of(&call->in[IN_WEIGHTS], b, tokens, states);
        mmrec_view to = sample_of(&call->d_in[IN_TOKENS], b, tokens, passing);
        fast_gemm_part(&weights, false, &dy, false, &to, 0, states, accumulates(call, IN_TOKENS));
        if (!accumulates(call, IN_TOKENS)) pad(&to, passing, MMREC_SIZE(call->sizes, Q));
    }
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(check_strides(call, error));
    int64_t batch = MMREC_SIZE(call->sizes, B);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static)
    for (int64_t b = 0; b < batch; b++) fast_sample_gradient(call, b);
    return MMREC_OK;
}
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    double width = sizes->attr[ATTR_WIDTH];
    if (!(width >= 0 && width <= INT_MAX) || width != (double)(int64_t)width) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "route: width is %g; it must be the number of features of a state, or 0 for that of a token", width);
    }
    MMREC_SIZE(sizes, D) = width > 0 ? (int64_t)width : MMREC_SIZE(sizes, Q);
    if (MMREC_SIZE(sizes, N) > INT_MAX || MMREC_SIZE(sizes, S) > INT_MAX || MMREC_SIZE(sizes, Q) > INT_MAX) {
        MMREC_FAIL(error, MMREC_SHAPE,
                   "route: %lld tokens of %lld features for %lld states, but no size may exceed %d; use smaller pieces",
                   (long long)MMREC_SIZE(sizes, N), (long long)MMREC_SIZE(sizes, Q), (long long)MMREC_SIZE(sizes, S),
                   INT_MAX);
    }
    return MMREC_OK;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double product = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, N) * (double)MMREC_SIZE(sizes, S) *
                     (double)features(sizes);
    mmrec_work w = {(pass == MMREC_FORWARD ? 2 : 4) * product, 0, 0};
    return w;
}

static const char *const samples[] = {"B=1 N=1 S=1 Q=1",
                                      "B=2 N=3 S=2 Q=5 width=7",
                                      "B=3 N=5 S=7 Q=9 width=4",
                                      "B=2 N=17 S=3 Q=13 width=1",
                                      "B=2 N=7 S=65 Q=5",
                                      "B=1 N=67 S=5 Q=33 width=65",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(route);
const mmrec_op_def MMREC_OP_DEFINE(route) = {
    .name = "route",
    .formula = "y[b, s] = sum_n weights[b, n, s] fit(tokens[b, n])",
    .source = "the token-to-state router of the Neural State Machines",
    .in = {{.name = "weights", .dims = "B N S", .flags = MMREC_ARG_KEEP},
           {.name = "tokens", .dims = "B N Q", .flags = MMREC_ARG_KEEP}},
    .out = {{.name = "y", .dims = "B S D"}},
    .attr = {"width"},
    .attr_default = {0},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance =
        {1e-6, 1e-6,
         "sums of at most 67 normal products, whose error is near sqrt(67) eps / 2 = 5e-7 of the largest result"},
    .samples = samples,
    .bench = "B=32 N=64 S=16 Q=128",
};
