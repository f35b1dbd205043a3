/* layernorm: y = (x - mean) / sqrt(var + eps) * w + b over each row; var is the population variance.
 *
 * Source: the norm of the baselines (docs/model.md); the epsilon is inside the root.
 * Backward, with xhat = (x - mean) rstd and g = w * dy:
 *   dx = rstd (g - mean(g) - xhat mean(g xhat)),  dw = sum over rows of dy xhat,  db = sum over rows of dy.
 * Order of sums: the reference adds columns, then rows, one by one. The fast functions add columns in vector lanes, and
 * rows within chunks of at least 64, then the chunks, whatever the number of threads. The variance takes a second pass
 * over the row, which is in the cache: the one-pass form loses all digits where |mean| is 1e4 times the spread. */
#include "fast_row.h"
#include "pieces_device.h"

enum { IN_X, IN_WEIGHT, IN_BIAS };

typedef struct row_scale {
    real mean, rstd;
} row_scale;

static row_scale saved_scale(const mmrec_op_call *call, int64_t r) {
    row_scale s = {*view_row(&call->saved[0], r), *view_row(&call->saved[1], r)};
    return s;
}

static void save_scale(const mmrec_op_call *call, int64_t r, row_scale s) {
    *view_row(&call->saved[0], r) = s.mean;
    *view_row(&call->saved[1], r) = s.rstd;
}

static row_scale measure(const real *x, int64_t width, real eps) {
    real sum = (real)0, squares = (real)0;
    for (int64_t d = 0; d < width; d++) sum += x[d];
    row_scale s = {sum / (real)width, (real)0};
    for (int64_t d = 0; d < width; d++) {
        real off = x[d] - s.mean;
        squares += off * off;
    }
    s.rstd = (real)1 / real_sqrt(squares / (real)width + eps);
    return s;
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[IN_X].shape), width = MMREC_SIZE(call->sizes, D);
    const real *weight = view_row(&call->in[IN_WEIGHT], 0), *bias = view_row(&call->in[IN_BIAS], 0);
    for (int64_t r = 0; r < rows; r++) {
        const real *x = view_row(&call->in[IN_X], r);
        real *y = view_row(&call->out[0], r);
        row_scale s = measure(x, width, (real)call->sizes->attr[0]);
        for (int64_t d = 0; d < width; d++) y[d] = (x[d] - s.mean) * s.rstd * weight[d] + bias[d];
        save_scale(call, r, s);
    }
    return MMREC_OK;
}

static void input_gradient(const mmrec_op_call *call, int64_t r, int64_t width) {
    const real *x = view_row(&call->in[IN_X], r), *weight = view_row(&call->in[IN_WEIGHT], 0);
    const real *dy = view_row(&call->d_out[0], r);
    real *dx = view_row(&call->d_in[IN_X], r), sum = (real)0, sum_hat = (real)0;
    row_scale s = saved_scale(call, r);
    for (int64_t d = 0; d < width; d++) {
        real g = weight[d] * dy[d];
        sum += g;
        sum_hat += g * ((x[d] - s.mean) * s.rstd);
    }
    real mean = sum / (real)width, mean_hat = sum_hat / (real)width;
    for (int64_t d = 0; d < width; d++) {
        real hat = (x[d] - s.mean) * s.rstd;
        deliver(&dx[d], s.rstd * (weight[d] * dy[d] - mean - hat * mean_hat), accumulates(call, IN_X));
    }
}

static void weight_gradient(const mmrec_op_call *call, int64_t rows, int64_t width) {
    for (int64_t d = 0; d < width; d++) {
        real sum = (real)0;
        for (int64_t r = 0; r < rows; r++) {
            row_scale s = saved_scale(call, r);
            sum += view_row(&call->d_out[0], r)[d] * ((view_row(&call->in[IN_X], r)[d] - s.mean) * s.rstd);
        }
        deliver(&view_row(&call->d_in[IN_WEIGHT], 0)[d], sum, accumulates(call, IN_WEIGHT));
    }
}

static void bias_gradient(const mmrec_op_call *call, int64_t rows, int64_t width) {
    for (int64_t d = 0; d < width; d++) {
        real sum = (real)0;
        for (int64_t r = 0; r < rows; r++) sum += view_row(&call->d_out[0], r)[d];
        deliver(&view_row(&call->d_in[IN_BIAS], 0)[d], sum, accumulates(call, IN_BIAS));
    }
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[IN_X].shape), width = MMREC_SIZE(call->sizes, D);
    for (int64_t r = 0; r < rows && call->d_in[IN_X].data; r++) input_gradient(call, r, width);
    if (call->d_in[IN_WEIGHT].data) weight_gradient(call, rows, width);
    if (call->d_in[IN_BIAS].data) bias_gradient(call, rows, width);
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* y = (x - mean) rstd w + b, past the caches where `stream`. */
static void fast_normal_row(const float *restrict x, const float *restrict weight, const float *restrict bias,
                            float *restrict y, int64_t width, row_scale s, bool stream) {
    int64_t d = 0, before = row_before(y, width);
    for (; d < before; d++) y[d] = (x[d] - s.mean) * s.rstd * weight[d] + bias[d];
    for (; d + ROW_LANES <= width; d += ROW_LANES) {
        row_vec hat = (row_at(x + d) - s.mean) * s.rstd;
        row_put(y + d, hat * row_at(weight + d) + row_at(bias + d), stream);
    }
    for (; d < width; d++) y[d] = (x[d] - s.mean) * s.rstd * weight[d] + bias[d];
}

static void fast_row(const mmrec_op_call *call, int64_t r, int64_t width, bool stream) {
    const float *x = view_row(&call->in[IN_X], r);
    row_scale s = {row_sum(x, width) / (float)width, 0};
    s.rstd = 1.0f / sqrtf(row_spread(x, width, s.mean) / (float)width + (float)call->sizes->attr[0]);
    fast_normal_row(x, view_row(&call->in[IN_WEIGHT], 0), view_row(&call->in[IN_BIAS], 0), view_row(&call->out[0], r),
                    width, s, stream);
    save_scale(call, r, s);
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[IN_X].shape), width = MMREC_SIZE(call->sizes, D);
    bool stream = rows * width >= ROW_STREAM;
#pragma omp parallel num_threads(call->sizes->threads) if (rows * width > FAST_SERIAL)
    {
#pragma omp for schedule(static) nowait
        for (int64_t r = 0; r < rows; r++) fast_row(call, r, width, stream);
        row_fence(stream);
    }
    return MMREC_OK;
}

static void fast_input_row(const mmrec_op_call *call, int64_t r, int64_t width) {
    const float *restrict x = view_row(&call->in[IN_X], r), *restrict weight = view_row(&call->in[IN_WEIGHT], 0);
    const float *restrict dy = view_row(&call->d_out[0], r);
    float *restrict dx = view_row(&call->d_in[IN_X], r), sum = 0, sum_hat = 0;
    const row_scale s = saved_scale(call, r);
    bool add = accumulates(call, IN_X);
#pragma omp simd reduction(+ : sum, sum_hat)
    for (int64_t d = 0; d < width; d++) {
        sum += weight[d] * dy[d];
        sum_hat += weight[d] * dy[d] * (x[d] - s.mean);
    }
    float mean = sum / (float)width, slope = sum_hat * s.rstd * s.rstd / (float)width;
    for (int64_t d = 0; d < width; d++) {
        deliver(&dx[d], s.rstd * (weight[d] * dy[d] - mean - (x[d] - s.mean) * slope), add);
    }
}

/* Adds the row's shares of dweight and dbias to partial sums. */
static void fast_affine_row(const mmrec_op_call *call, int64_t r, int64_t width, float *restrict part_weight,
                            float *restrict part_bias) {
    const float *restrict x = view_row(&call->in[IN_X], r), *restrict dy = view_row(&call->d_out[0], r);
    const row_scale s = saved_scale(call, r);
    for (int64_t d = 0; d < width; d++) {
        part_weight[d] += dy[d] * ((x[d] - s.mean) * s.rstd);
        part_bias[d] += dy[d];
    }
}

/* All gradients row by row while x and dy are in the cache. */
static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[IN_X].shape), width = MMREC_SIZE(call->sizes, D);
    int64_t size = fast_chunk_rows(rows), chunks = fast_blocks(rows, size);
    const mmrec_view *dx = &call->d_in[IN_X], *dweight = &call->d_in[IN_WEIGHT], *dbias = &call->d_in[IN_BIAS];
    float *weight_parts = (float *)call->scratch, *bias_parts = weight_parts + chunks * width;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * width > FAST_SERIAL)
    for (int64_t k = 0; k < chunks; k++) {
        float *part_weight = weight_parts + k * width, *part_bias = bias_parts + k * width;
        for (int64_t d = 0; d < width; d++) part_weight[d] = part_bias[d] = 0;
        for (int64_t r = k * size; r < fast_min(rows, (k + 1) * size); r++) {
            if (dx->data) fast_input_row(call, r, width);
            if (dweight->data || dbias->data) fast_affine_row(call, r, width, part_weight, part_bias);
        }
    }
    if (dweight->data) fast_chunk_sum(weight_parts, chunks, width, view_row(dweight, 0), accumulates(call, IN_WEIGHT));
    if (dbias->data) fast_chunk_sum(bias_parts, chunks, width, view_row(dbias, 0), accumulates(call, IN_BIAS));
    return MMREC_OK;
}
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    if (!(sizes->attr[0] > 0)) {
        MMREC_FAIL(error, MMREC_CONFIG, "layernorm: eps is %g; it must be above 0", sizes->attr[0]);
    }
    sizes->scratch_bytes[MMREC_BACKWARD] =
        2 * fast_chunk_bytes(mmrec_shape_rows(&sizes->in[IN_X]), MMREC_SIZE(sizes, D));
    return MMREC_OK;
}

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    row_pieces pieces = pieces_of_norm(mmrec_shape_rows(&sizes->in[IN_X]), MMREC_SIZE(sizes, D));
    return pass == MMREC_BACKWARD ? 2 * pieces_bytes(pieces) : 0;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double rows = (double)mmrec_shape_rows(&sizes->in[IN_X]), width = (double)MMREC_SIZE(sizes, D);
    mmrec_work forward_work = {rows * (8 * width + 4), rows, 0};
    mmrec_work backward_work = {rows * (18 * width + 2), 0, 0};
    return pass == MMREC_FORWARD ? forward_work : backward_work;
}

/* One column alone has no gradient, only the rounding of a difference times rstd: a larger eps keeps that small. */
static const char *const samples[] = {"N=1 D=1 eps=1", "N=3 D=5 eps=0.1", "N=17 D=13",  "B=5 T=13 D=65",
                                      "N=131 D=7",     "N=2 D=257",       "N=3 D=1030", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(layernorm);
const mmrec_op_def MMREC_OP_DEFINE(layernorm) = {
    .name = "layernorm",
    .formula = "y = (x - mean) / sqrt(var + eps) w + b",
    .source = "Ba, Kiros and Hinton, \"Layer normalization\", 2016",
    .in = {{.name = "x", .dims = "* D", .flags = MMREC_ARG_KEEP},
           {.name = "weight", .dims = "D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32},
           {.name = "bias", .dims = "D", .flags = MMREC_ARG_F32}},
    .out = {{.name = "y", .dims = "* D"}},
    .saved = {{.name = "mean", .dims = "* 1", .flags = MMREC_ARG_F32},
              {.name = "rstd", .dims = "* 1", .flags = MMREC_ARG_F32}},
    .attr = {"eps"},
    .attr_default = {1e-5},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance = {1e-6, 3e-6,
                  "forward: the mean's rounding and those of variance, root and three products, under 8 eps of the "
                  "largest result; backward: sums of at most 131 rows, near sqrt(131) eps / 2 = 7e-7 of the largest, "
                  "and the difference of three terms of like size"},
    .samples = samples,
    .bench = "N=2048 D=1024",
};
