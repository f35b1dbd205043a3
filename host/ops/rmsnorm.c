/* rmsnorm: y = w * x / (rms + eps), rms = sqrt(mean of x^2 over a row). The epsilon is outside the root.
 *
 * Source: the norms of the MM-Rec block (docs/model.md).
 * Backward, with g = w * dy and d = rms + eps:  dx = g / d - x * sum(g x) / (d^2 D rms),  dw = sum over rows of dy x /
 * d. A row of zeros has rms = 0; its second term is zero, so dx = g / eps stays finite. Order of sums: the reference
 * adds columns, then rows, one by one. The fast functions add columns in vector lanes, and rows within chunks of at
 * least 64, then the chunks, whatever the number of threads. */
#include "fast_loop.h"
#include "pieces_device.h"

enum { IN_X, IN_WEIGHT };

static real epsilon(const mmrec_op_call *call) { return (real)call->sizes->attr[0]; }
static real *saved_rms(const mmrec_op_call *call, int64_t r) { return view_row(&call->saved[0], r); }

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[IN_X].shape), width = MMREC_SIZE(call->sizes, D);
    const real *weight = view_row(&call->in[IN_WEIGHT], 0);
    for (int64_t r = 0; r < rows; r++) {
        const real *x = view_row(&call->in[IN_X], r);
        real *y = view_row(&call->out[0], r), sum = (real)0;
        for (int64_t d = 0; d < width; d++) sum += x[d] * x[d];
        real rms = real_sqrt(sum / (real)width);
        real below = rms + epsilon(call);
        for (int64_t d = 0; d < width; d++) y[d] = weight[d] * x[d] / below;
        *saved_rms(call, r) = rms;
    }
    return MMREC_OK;
}

static void input_gradient(const mmrec_op_call *call, int64_t r, int64_t width) {
    const real *x = view_row(&call->in[IN_X], r), *weight = view_row(&call->in[IN_WEIGHT], 0);
    const real *dy = view_row(&call->d_out[0], r);
    real *dx = view_row(&call->d_in[IN_X], r), rms = *saved_rms(call, r), sum = (real)0;
    real below = rms + epsilon(call);
    for (int64_t d = 0; d < width; d++) sum += weight[d] * dy[d] * x[d];
    real safe = rms > (real)0 ? rms : (real)1; /* x = 0 makes the sum zero too */
    real back = sum / (below * below * (real)width * safe);
    for (int64_t d = 0; d < width; d++) {
        deliver(&dx[d], weight[d] * dy[d] / below - x[d] * back, accumulates(call, IN_X));
    }
}

static void weight_gradient(const mmrec_op_call *call, int64_t rows, int64_t width) {
    real *dweight = view_row(&call->d_in[IN_WEIGHT], 0);
    for (int64_t d = 0; d < width; d++) {
        real sum = (real)0;
        for (int64_t r = 0; r < rows; r++) {
            real below = *saved_rms(call, r) + epsilon(call);
            sum += view_row(&call->d_out[0], r)[d] * view_row(&call->in[IN_X], r)[d] / below;
        }
        deliver(&dweight[d], sum, accumulates(call, IN_WEIGHT));
    }
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[IN_X].shape), width = MMREC_SIZE(call->sizes, D);
    for (int64_t r = 0; r < rows && call->d_in[IN_X].data; r++) input_gradient(call, r, width);
    if (call->d_in[IN_WEIGHT].data) weight_gradient(call, rows, width);
    return MMREC_OK;
}

#if MMREC_REAL_F32
static void fast_row(const mmrec_op_call *call, int64_t r, int64_t width) {
    const float *restrict x = view_row(&call->in[IN_X], r), *restrict weight = view_row(&call->in[IN_WEIGHT], 0);
    float *restrict y = view_row(&call->out[0], r), sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < width; d++) sum += x[d] * x[d];
    float rms = sqrtf(sum / (float)width), scale = 1.0f / (rms + epsilon(call));
    for (int64_t d = 0; d < width; d++) y[d] = weight[d] * x[d] * scale;
    *saved_rms(call, r) = rms;
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[IN_X].shape), width = MMREC_SIZE(call->sizes, D);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * width > FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) fast_row(call, r, width);
    return MMREC_OK;
}

static void fast_input_row(const mmrec_op_call *call, int64_t r, int64_t width) {
    const float *restrict x = view_row(&call->in[IN_X], r), *restrict weight = view_row(&call->in[IN_WEIGHT], 0);
    const float *restrict dy = view_row(&call->d_out[0], r);
    float *restrict dx = view_row(&call->d_in[IN_X], r), rms = *saved_rms(call, r), sum = 0;
    float scale = 1.0f / (rms + epsilon(call));
    bool add = accumulates(call, IN_X);
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < width; d++) sum += weight[d] * dy[d] * x[d];
    float back = rms > 0 ? sum * scale * scale / ((float)width * rms) : 0;
    for (int64_t d = 0; d < width; d++) deliver(&dx[d], weight[d] * dy[d] * scale - x[d] * back, add);
}

/* Adds the row's share of dweight to a partial sum. */
static void fast_weight_row(const mmrec_op_call *call, int64_t r, int64_t width, float *restrict part) {
    const float *restrict x = view_row(&call->in[IN_X], r), *restrict dy = view_row(&call->d_out[0], r);
    float scale = 1.0f / (*saved_rms(call, r) + epsilon(call));
    for (int64_t d = 0; d < width; d++) part[d] += dy[d] * x[d] * scale;
}

/* Both gradients row by row while x and dy are in the cache. */
static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[IN_X].shape), width = MMREC_SIZE(call->sizes, D);
    int64_t size = fast_chunk_rows(rows), chunks = fast_blocks(rows, size);
    const mmrec_view *dx = &call->d_in[IN_X], *dweight = &call->d_in[IN_WEIGHT];
    float *parts = (float *)call->scratch;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * width > FAST_SERIAL)
    for (int64_t k = 0; k < chunks; k++) {
        float *part = parts + k * width;
        for (int64_t d = 0; d < width; d++) part[d] = 0;
        for (int64_t r = k * size; r < fast_min(rows, (k + 1) * size); r++) {
            if (dx->data) fast_input_row(call, r, width);
            if (dweight->data) fast_weight_row(call, r, width, part);
        }
    }
    if (dweight->data) fast_chunk_sum(parts, chunks, width, view_row(dweight, 0), accumulates(call, IN_WEIGHT));
    return MMREC_OK;
}
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    if (!(sizes->attr[0] > 0))
        MMREC_FAIL(error, MMREC_CONFIG, "rmsnorm: eps is %g; it must be above 0", sizes->attr[0]);
    sizes->scratch_bytes[MMREC_BACKWARD] = fast_chunk_bytes(mmrec_shape_rows(&sizes->in[IN_X]), MMREC_SIZE(sizes, D));
    return MMREC_OK;
}

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    row_pieces pieces = pieces_of_norm(mmrec_shape_rows(&sizes->in[IN_X]), MMREC_SIZE(sizes, D));
    return pass == MMREC_BACKWARD ? pieces_bytes(pieces) : 0;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double rows = (double)mmrec_shape_rows(&sizes->in[IN_X]), width = (double)MMREC_SIZE(sizes, D);
    mmrec_work forward_work = {rows * (4 * width + 2), rows, 0};
    mmrec_work backward_work = {rows * (11 * width + 5), 0, 0};
    return pass == MMREC_FORWARD ? forward_work : backward_work;
}

/* One column alone normalises to its sign, with a gradient of eps / rms: a larger eps keeps it measurable. */
static const char *const samples[] = {"N=1 D=1 eps=0.5", "N=3 D=5",   "N=17 D=13 eps=0.01", "B=5 T=13 D=65",
                                      "N=131 D=7",       "N=2 D=257", "N=3 D=1030",         NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(rmsnorm);
const mmrec_op_def MMREC_OP_DEFINE(rmsnorm) = {
    .name = "rmsnorm",
    .formula = "y = w x / (sqrt(mean x^2) + eps)",
    .source =
        "Zhang and Sennrich, \"Root mean square layer normalization\", 2019; epsilon placed as in the MM-Rec block",
    .in = {{.name = "x", .dims = "* D", .flags = MMREC_ARG_KEEP},
           {.name = "weight", .dims = "D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32}},
    .out = {{.name = "y", .dims = "* D"}},
    .saved = {{.name = "rms", .dims = "* 1", .flags = MMREC_ARG_F32}},
    .attr = {"eps"},
    .attr_default = {1e-6},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance =
        {5e-7, 2e-6,
         "forward: the roundings of sum, root, division and two products, under 4 eps of the result; backward: "
         "sums of at most 131 rows, near sqrt(131) eps / 2 = 7e-7 of the largest, and the difference of two "
         "terms of like size"},
    .samples = samples,
    .bench = "N=2048 D=1024",
};
