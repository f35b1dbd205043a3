/* cross_entropy: loss = mean over rows of logsumexp(logits) - logits[target].
 *
 * Source: the language model's loss (docs/model.md).
 * Backward: dlogits = (softmax(logits) - onehot(target)) dloss / rows, softmax from the saved norm of each row: its
 * maximum and the logarithm of the sum of exp(logit - maximum), apart, since their sum would round a logit of 100 at
 * 4e-6.
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

typedef struct row_norm {
    real top, log_sum;
} row_norm;

static row_norm saved_norm(const mmrec_op_call *call, int64_t r) {
    const real *saved = view_row(&call->saved[0], r);
    row_norm norm = {saved[0], saved[1]};
    return norm;
}

static void save_norm(const mmrec_op_call *call, int64_t r, row_norm norm) {
    real *saved = view_row(&call->saved[0], r);
    saved[0] = norm.top;
    saved[1] = norm.log_sum;
}

/* Targets are the caller's data: one out of range is refused before anything is read through it. */
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

static row_norm measure(const real *x, int64_t width) {
    real top = x[0], sum = (real)0;
    for (int64_t v = 1; v < width; v++) top = x[v] > top ? x[v] : top;
    for (int64_t v = 0; v < width; v++) sum += real_exp(x[v] - top);
    row_norm norm = {top, real_log(sum)};
    return norm;
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    int64_t rows = mmrec_shape_rows(&call->in[IN_LOGITS].shape), classes = MMREC_SIZE(call->sizes, V);
    MMREC_TRY(check_targets(call, rows, error));
    real sum = (real)0;
    for (int64_t r = 0; r < rows; r++) {
        const real *logits = view_row(&call->in[IN_LOGITS], r);
        row_norm norm = measure(logits, classes);
        save_norm(call, r, norm);
        sum += norm.top - logits[target_of(call, r)] + norm.log_sum;
    }
    *view_row(&call->out[0], 0) = sum / (real)rows;
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    int64_t rows = mmrec_shape_rows(&call->in[IN_LOGITS].shape), classes = MMREC_SIZE(call->sizes, V);
    if (!call->d_in[IN_LOGITS].data) return MMREC_OK;
    MMREC_TRY(check_targets(call, rows, error));
    real scale = *view_row(&call->d_out[0], 0) / (real)rows;
    for (int64_t r = 0; r < rows; r++) {
        const real *logits = view_row(&call->in[IN_LOGITS], r);
        real *to = view_row(&call->d_in[IN_LOGITS], r);
        row_norm norm = saved_norm(call, r);
        for (int64_t v = 0; v < classes; v++) {
            real hot = v == target_of(call, r) ? (real)1 : (real)0;
            real share = real_exp(logits[v] - norm.top - norm.log_sum);
            deliver(&to[v], (share - hot) * scale, accumulates(call, IN_LOGITS));
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
static row_norm fast_measure(const float *restrict x, int64_t width) {
    float top = x[0], sum = 0;
#pragma omp simd reduction(max : top)
    for (int64_t v = 0; v < width; v++) top = x[v] > top ? x[v] : top;
#pragma omp simd reduction(+ : sum)
    for (int64_t v = 0; v < width; v++) sum += fast_expf(x[v] - top);
    row_norm norm = {top, logf(sum)};
    return norm;
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    int64_t rows = mmrec_shape_rows(&call->in[IN_LOGITS].shape), classes = MMREC_SIZE(call->sizes, V);
    MMREC_TRY(check_targets(call, rows, error));
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * classes > FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) {
        save_norm(call, r, fast_measure(view_row(&call->in[IN_LOGITS], r), classes));
    }
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        row_norm norm = saved_norm(call, r);
        sum += (double)norm.top - (double)view_row(&call->in[IN_LOGITS], r)[target_of(call, r)] + (double)norm.log_sum;
    }
    *view_row(&call->out[0], 0) = (float)(sum / (double)rows);
    return MMREC_OK;
}

/* The target's element apart, so that the loop over classes has no comparison. */
static void fast_gradient_row(const mmrec_op_call *call, int64_t r, int64_t classes, float scale) {
    const float *restrict logits = view_row(&call->in[IN_LOGITS], r);
    float *restrict to = view_row(&call->d_in[IN_LOGITS], r);
    const row_norm norm = saved_norm(call, r);
    bool add = accumulates(call, IN_LOGITS);
    int32_t target = target_of(call, r);
    float hot = (fast_expf(logits[target] - norm.top - norm.log_sum) - 1.0f) * scale;
    if (add) hot += to[target];
    for (int64_t v = 0; v < classes; v++) {
        deliver(&to[v], fast_expf(logits[v] - norm.top - norm.log_sum) * scale, add);
    }
    to[target] = hot;
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    int64_t rows = mmrec_shape_rows(&call->in[IN_LOGITS].shape), classes = MMREC_SIZE(call->sizes, V);
    if (!call->d_in[IN_LOGITS].data) return MMREC_OK;
    MMREC_TRY(check_targets(call, rows, error));
    float scale = *view_row(&call->d_out[0], 0) / (float)rows;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * classes > FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) fast_gradient_row(call, r, classes, scale);
    return MMREC_OK;
}
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double rows = (double)mmrec_shape_rows(&sizes->in[IN_LOGITS]), classes = (double)MMREC_SIZE(sizes, V);
    mmrec_work forward_work = {rows * (2 * classes + 3) + 1, rows * (classes + 1), 0};
    mmrec_work backward_work = {rows * 4 * classes + 1, rows * classes, 0};
    return pass == MMREC_FORWARD ? forward_work : backward_work;
}

static const char *const samples[] = {"N=1 V=1",    "N=3 V=5",   "N=17 V=13", "B=2 T=3 V=65",
                                      "N=129 V=17", "N=5 V=257", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(cross_entropy);
const mmrec_op_def MMREC_OP_DEFINE(cross_entropy) = {
    .name = "cross_entropy",
    .formula = "loss = mean over rows of logsumexp(logits) - logits[target]",
    .source = "the negative log likelihood of the softmax",
    /* exp of these overflows in float unless the maximum is subtracted first. */
    .in = {{.name = "logits", .dims = "* V", .flags = MMREC_ARG_KEEP, .low = 84, .high = 94},
           {.name = "targets", .dims = "*", .flags = MMREC_ARG_IDS | MMREC_ARG_KEEP, .below = 'V'}},
    .out = {{.name = "loss", .dims = "1"}},
    .saved = {{.name = "norm", .dims = "* 2"}},
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance =
        {1e-6, 2e-6,
         "logits lie up to 10 below the maximum: exp turns a rounding there into 10 eps / 2 = 6e-7 of a share; sum, "
         "logarithm and product add 4 roundings"},
    .samples = samples,
    .bench = "N=2048 V=1000",
};
