/* mean_square: loss = mean over all elements of (a - b)^2.
 *
 * Source: the planning error of the MM-Rec block.
 * Order of sums: the float forward adds up spans of at most 1024 elements in float and the spans, in order, in double;
 * spans follow from the shape, so the result does not depend on the number of threads. */
#include "mean_square_device.h"
#include "op_impl.h"

#if MMREC_REAL_F32
#include "fast_each.h"
#endif

enum { IN_A, IN_B };

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *a = &call->in[IN_A], *b = &call->in[IN_B];
    int64_t rows = mmrec_shape_rows(&a->shape), columns = mmrec_shape_columns(&a->shape);
    real sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real difference = view_row(a, r)[c] - view_row(b, r)[c];
            sum += difference * difference;
        }
    }
    view_row(&call->out[0], 0)[0] = sum / (real)((double)rows * (double)columns);
    return MMREC_OK;
}

/* da = dloss 2 (a - b) / n, db = -da */
static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *a = &call->in[IN_A], *b = &call->in[IN_B], *da = &call->d_in[IN_A], *db = &call->d_in[IN_B];
    int64_t rows = mmrec_shape_rows(&a->shape), columns = mmrec_shape_columns(&a->shape);
    real factor = (real)2 * view_row(&call->d_out[0], 0)[0] / (real)((double)rows * (double)columns);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real gradient = factor * (view_row(a, r)[c] - view_row(b, r)[c]);
            if (da->data) deliver(&view_row(da, r)[c], gradient, accumulates(call, IN_A));
            if (db->data) deliver(&view_row(db, r)[c], -gradient, accumulates(call, IN_B));
        }
    }
    return MMREC_OK;
}

/* One double per span. Without padding the spans run across rows and are at most this many. */
static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    (void)sizes;
    (void)error;
#if MMREC_REAL_F32
    int64_t spans = fast_blocks(mmrec_shape_columns(&sizes->in[IN_A]), FAST_SPAN);
    sizes->scratch_bytes[MMREC_FORWARD] = (size_t)(mmrec_shape_rows(&sizes->in[IN_A]) * spans) * sizeof(double);
#endif
    return MMREC_OK;
}

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)sizes;
    return pass == MMREC_FORWARD ? MEAN_SQUARE_PARTS * sizeof(float) : 0;
}

#if MMREC_REAL_F32
static float span_sum(const float *restrict a, const float *restrict b, int64_t count) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->in[IN_A], &call->in[IN_B]};
    fast_matrix m = fast_matrix_all(views, 2);
    int64_t spans = m.rows * m.spans;
    double *part = (double *)call->scratch, sum = 0;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (m.rows * m.columns >= FAST_SERIAL)
    for (int64_t i = 0; i < spans; i++) {
        float *at[2];
        int64_t count = fast_span_at(&m, views, 2, i, at);
        part[i] = (double)span_sum(at[0], at[1], count);
    }
    for (int64_t i = 0; i < spans; i++) sum += part[i];
    view_row(&call->out[0], 0)[0] = (float)(sum / ((double)m.rows * (double)m.columns));
    return MMREC_OK;
}

static void gradient_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    (void)number;
    const float *restrict a = at[0], *restrict b = at[1];
    float *restrict da = at[2], *restrict db = at[3];
    double elements = (double)mmrec_shape_elements(&call->in[IN_A].shape);
    float factor = (float)(2 * (double)view_row(&call->d_out[0], 0)[0] / elements);
    bool add_a = accumulates(call, IN_A), add_b = accumulates(call, IN_B);
    for (int64_t i = 0; da && i < count; i++) deliver(&da[i], factor * (a[i] - b[i]), add_a);
    for (int64_t i = 0; db && i < count; i++) deliver(&db[i], factor * (b[i] - a[i]), add_b);
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->in[IN_A], &call->in[IN_B], &call->d_in[IN_A], &call->d_in[IN_B]};
    fast_each(call, views, 4, gradient_span);
    return MMREC_OK;
}
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double elements = (double)mmrec_shape_elements(&sizes->in[IN_A]);
    mmrec_work w = {pass == MMREC_FORWARD ? 3 * elements + 1 : 2 * elements + 2, 0, 0};
    return w;
}

static const char *const samples[] = {"N=1 D=1", "N=3 D=5", "N=17 D=13", "N=2 D=65", "N=37 D=1025", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(mean_square);
const mmrec_op_def MMREC_OP_DEFINE(mean_square) = {
    .name = "mean_square",
    .formula = "loss = mean (a - b)^2",
    .source = "the planning error of the block",
    .in = {{.name = "a", .dims = "* D", .flags = MMREC_ARG_KEEP},
           {.name = "b", .dims = "* D", .flags = MMREC_ARG_KEEP}},
    .out = {{.name = "loss", .dims = "1", .flags = MMREC_ARG_F32}},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance = {5e-6, 4e-7,
                  "the plain float sum of 38 thousand squares of one sign loses sqrt(n)/2 eps on average; a gradient "
                  "is two rounded products of a rounded difference"},
    .samples = samples,
    .bench = "N=2048 D=1024",
};
