/* cross_entropy: loss = mean over rows of logsumexp(logits) - logits[target].
 *
 * Source: the language model's loss (docs/model.md).
 * The forward pass saves share = (softmax(logits) - onehot(target)) / rows, the gradient for dloss = 1, while it has
 * the exponentials of a row; where there is no backward pass there is no share. Backward: dlogits = share dloss. A plan
 * may put share over the logits and dlogits over share. Then dloss = 1, which the main loss of a model always has,
 * leaves backward nothing to do.
 *
 * Order of sums: the reference adds classes, then rows, one by one. The fast functions add classes in vector lanes; the
 * rows are added in double by one thread (2048 rows take 2 us), so the loss does not depend on the number of threads.
 */
#include "fast_loop.h"
#include "fast_math.h"

enum { IN_LOGITS, IN_TARGETS };

/* The class that row r must predict; targets have the logits' leading axes, so their rows are shorter. */
static int32_t target_of(const mmrec_op_call *call, int64_t r) {
    int64_t columns = mmrec_shape_columns(&call->in[IN_TARGETS].shape);
    return view_ids(&call->in[IN_TARGETS], r / columns)[r % columns];
}

/* Targets are the caller's data: one out of range is refused before anything is read through it or written. */
static mmrec_status check_targets(const mmrec_op_call *call, int64_t rows, mmrec_error *error) {
    int64_t classes = MMREC_SIZE(call->sizes, V);
    for (int64_t r = 0; r < rows; r++) {
        int32_t target = target_of(call, r);
        if (target < 0 || target >= classes) {
            MMREC_FAIL(error, MMREC_CONFIG, "cross_entropy: target %d of row %lld is not in [0, %lld)", (int)target,
                       (long long)r, (long long)classes);
        }
    }
    return MMREC_OK;
}

/* The row of share, NULL where none is wanted. */
static real *share_row(const mmrec_op_call *call, int64_t r) {
    return call->saved[0].data ? view_row(&call->saved[0], r) : NULL;
}

/* The loss of one row. `share` may be NULL, or x itself; `rate` is 1 / rows. */
static real pass_row(const real *x, int64_t width, int32_t target, real rate, real *share) {
    real top = x[0], sum = (real)0, hit = x[target];
    for (int64_t v = 1; v < width; v++) top = x[v] > top ? x[v] : top;
    for (int64_t v = 0; v < width; v++) {
        real e = real_exp(x[v] - top);
        sum += e;
        if (share) share[v] = e;
    }
    if (share) {
        real scale = rate / sum;
        for (int64_t v = 0; v < width; v++) share[v] *= scale;
        share[target] -= rate;
    }
    return top - hit + real_log(sum);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    int64_t rows = mmrec_shape_rows(&call->in[IN_LOGITS].shape), classes = MMREC_SIZE(call->sizes, V);
    MMREC_TRY(check_targets(call, rows, error));
    real sum = (real)0, rate = (real)1 / (real)rows;
    for (int64_t r = 0; r < rows; r++) {
        sum += pass_row(view_row(&call->in[IN_LOGITS], r), classes, target_of(call, r), rate, share_row(call, r));
    }
    *view_row(&call->out[0], 0) = sum / (real)rows;
    return MMREC_OK;
}

/* Already there: the gradient lies over share, and share is the gradient for dloss = 1. */
static bool is_done(const mmrec_op_call *call, real dloss) {
    return call->d_in[IN_LOGITS].data == call->saved[0].data && dloss == (real)1;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *to = &call->d_in[IN_LOGITS];
    (void)error;
    if (!to->data) return MMREC_OK;
    real dloss = *view_row(&call->d_out[0], 0);
    if (is_done(call, dloss)) return MMREC_OK;
    int64_t rows = mmrec_shape_rows(&to->shape), classes = MMREC_SIZE(call->sizes, V);
    for (int64_t r = 0; r < rows; r++) {
        const real *share = view_row(&call->saved[0], r);
        real *gradient = view_row(to, r);
        for (int64_t v = 0; v < classes; v++) {
            deliver(&gradient[v], share[v] * dloss, accumulates(call, IN_LOGITS));
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
static float fast_top(const float *x, int64_t width) {
    float top = x[0];
#pragma omp simd reduction(max : top)
    for (int64_t v = 0; v < width; v++) top = x[v] > top ? x[v] : top;
    return top;
}

/* share[v] = e^(x[v] - top); returns their sum. Either the same array or apart: `simd` says that no element is read
 * after another was written. */
static float fast_shares(const float *x, int64_t width, float top, float *share) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t v = 0; v < width; v++) {
        float e = fast_expf(x[v] - top);
        share[v] = e;
        sum += e;
    }
    return sum;
}

static float fast_sum(const float *restrict x, int64_t width, float top) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t v = 0; v < width; v++) sum += fast_expf(x[v] - top);
    return sum;
}

static double fast_row(const float *x, int64_t width, int32_t target, float rate, float *share) {
    double hit = (double)x[target];
    float top = fast_top(x, width), sum = share ? fast_shares(x, width, top, share) : fast_sum(x, width, top);
    if (share) {
        float scale = rate / sum;
        for (int64_t v = 0; v < width; v++) share[v] *= scale;
        share[target] -= rate;
    }
    return (double)top - hit + (double)logf(sum);
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    int64_t rows = mmrec_shape_rows(&call->in[IN_LOGITS].shape), classes = MMREC_SIZE(call->sizes, V);
    MMREC_TRY(check_targets(call, rows, error));
    double *losses = (double *)call->scratch, sum = 0;
    float rate = 1.0f / (float)rows;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * classes > FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) {
        losses[r] = fast_row(view_row(&call->in[IN_LOGITS], r), classes, target_of(call, r), rate, share_row(call, r));
    }
    for (int64_t r = 0; r < rows; r++) sum += losses[r];
    *view_row(&call->out[0], 0) = (float)(sum / (double)rows);
    return MMREC_OK;
}

static void fast_scale(const float *from, int64_t width, float by, float *to, bool add) {
    if (add) {
#pragma omp simd
        for (int64_t v = 0; v < width; v++) to[v] += from[v] * by;
    } else {
#pragma omp simd
        for (int64_t v = 0; v < width; v++) to[v] = from[v] * by;
    }
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *to = &call->d_in[IN_LOGITS];
    (void)error;
    if (!to->data) return MMREC_OK;
    float dloss = *view_row(&call->d_out[0], 0);
    if (is_done(call, dloss)) return MMREC_OK;
    int64_t rows = mmrec_shape_rows(&to->shape), classes = MMREC_SIZE(call->sizes, V);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * classes > FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) {
        fast_scale(view_row(&call->saved[0], r), classes, dloss, view_row(to, r), accumulates(call, IN_LOGITS));
    }
    return MMREC_OK;
}
#endif

/* The losses of the rows, for the fast function and the kernels. */
static size_t scratch_bytes(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    return pass == MMREC_FORWARD ? (size_t)mmrec_shape_rows(&sizes->in[IN_LOGITS]) * sizeof(double) : 0;
}

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    (void)error;
    sizes->scratch_bytes[MMREC_FORWARD] = scratch_bytes(sizes, MMREC_FORWARD);
    return MMREC_OK;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double rows = (double)mmrec_shape_rows(&sizes->in[IN_LOGITS]), classes = (double)MMREC_SIZE(sizes, V);
    double share = sizes->stored ? classes + 2 : 0;
    mmrec_work forward_work = {rows * (2 * classes + 3 + share) + 2, rows * (classes + 1), 0};
    mmrec_work backward_work = {rows * classes, 0, 0};
    return pass == MMREC_FORWARD ? forward_work : backward_work;
}

/* More rows than the kernels have threads for them; rows wider than the registers of a block hold. */
static const char *const samples[] = {"N=1 V=1",
                                      "N=3 V=5",
                                      "N=17 V=13",
                                      "B=2 T=3 V=65",
                                      "N=129 V=17",
                                      "N=5 V=257",
                                      "B=2 T=3 V=7 -share",
                                      "N=1031 V=3",
                                      "N=3 V=1030",
                                      "N=2 V=8197",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(cross_entropy);
const mmrec_op_def MMREC_OP_DEFINE(cross_entropy) = {
    .name = "cross_entropy",
    .formula = "loss = mean over rows of logsumexp(logits) - logits[target]",
    .source = "the negative log likelihood of the softmax",
    /* exp of these is next to nothing in float unless the maximum is subtracted first, and a zero is far above them. */
    .in = {{.name = "logits", .dims = "* V", .low = -104, .high = -94},
           {.name = "targets", .dims = "*", .flags = MMREC_ARG_IDS, .below = 'V'}},
    .out = {{.name = "loss", .dims = "1", .flags = MMREC_ARG_F32}},
    .saved = {{.name = "share", .dims = "* V", .flags = MMREC_ARG_OPTIONAL, .over = 1 + IN_LOGITS}},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = scratch_bytes,
    .tolerance =
        {2e-6, 2e-6,
         "logits lie up to 10 below the maximum: exp turns a rounding there into 10 eps / 2 = 6e-7 of a share; sum, "
         "logarithm and product add 4 roundings; a thousand rows added one by one, as the plain function does, 8e-7"},
    .samples = samples,
    .bench = "N=2048 V=1000",
};
