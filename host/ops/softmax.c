/* softmax over the columns of each row: y = exp(x - max x) / sum of the same.
 *
 * Source: the memory attention of the MM-Rec block (docs/model.md), there inside one op.
 * Backward: dx = y (dy - sum(dy y)).
 * Order of sums: the reference adds column by column, the fast functions in vector lanes. */
#include "fast_row.h"

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[0].shape), width = MMREC_SIZE(call->sizes, D);
    for (int64_t r = 0; r < rows; r++) {
        const real *x = view_row(&call->in[0], r);
        real *y = view_row(&call->out[0], r), top = x[0], sum = (real)0;
        for (int64_t d = 1; d < width; d++) top = x[d] > top ? x[d] : top;
        for (int64_t d = 0; d < width; d++) {
            y[d] = real_exp(x[d] - top);
            sum += y[d];
        }
        for (int64_t d = 0; d < width; d++) y[d] = y[d] / sum;
    }
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[0].shape), width = MMREC_SIZE(call->sizes, D);
    for (int64_t r = 0; r < rows && call->d_in[0].data; r++) {
        const real *y = view_row(&call->out[0], r), *dy = view_row(&call->d_out[0], r);
        real *dx = view_row(&call->d_in[0], r), sum = (real)0;
        for (int64_t d = 0; d < width; d++) sum += dy[d] * y[d];
        for (int64_t d = 0; d < width; d++) deliver(&dx[d], y[d] * (dy[d] - sum), accumulates(call, 0));
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* y = exp(x - top) in whole vectors, as many at a time as said; returns where the next begins. Loads what the next row
 * will ask for: its lines are on their way while this one's exponentials are computed, not after them. */
static inline __attribute__((always_inline)) int64_t exp_vectors(const float *x, const float *next, float *y, float top,
                                                                 int64_t d, int64_t width, row_vec *part,
                                                                 const int vectors) {
    for (; d + vectors * ROW_LANES <= width; d += vectors * ROW_LANES) {
        row_vec e[ROW_VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) e[v] = row_at(x + d + v * ROW_LANES) - top;
        for (int i = 0; i < vectors * ROW_LANES; i += ROW_LINE) __builtin_prefetch(next + d + i);
        row_exp_below(e, vectors);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            row_put(y + d + v * ROW_LANES, e[v], false);
            part[v] += e[v];
        }
    }
    return d;
}

/* y = scale e, past the caches where `stream`; e may be y. */
static void put_scaled(const float *e, float scale, float *y, int64_t width, bool stream) {
    int64_t d = 0, before = row_before(y, width);
    for (; d < before; d++) y[d] = e[d] * scale;
    for (; d + ROW_LANES <= width; d += ROW_LANES) row_put(y + d, row_at(e + d) * scale, stream);
    for (; d < width; d++) y[d] = e[d] * scale;
}

/* The exponentials wait for their sum in e: y itself, or other memory where y is not to come into the caches. */
static void fast_row(const float *restrict x, const float *next, float *e, float *y, int64_t width, bool stream) {
    float top = x[0];
#pragma omp simd reduction(max : top)
    for (int64_t d = 0; d < width; d++) top = x[d] > top ? x[d] : top;
    row_vec part[ROW_VECTORS] = {{0}};
    int64_t d = exp_vectors(x, next, e, top, 0, width, part, ROW_VECTORS);
    d = exp_vectors(x, next, e, top, d, width, part, 1);
    float sum = row_total(part);
    for (; d < width; d++) {
        e[d] = fast_exp_belowf(x[d] - top);
        sum += e[d];
    }
    put_scaled(e, 1.0f / sum, y, width, stream);
}

/* Exponentials that a thread keeps beside the row they come from, in a first cache of 32 KiB. */
enum { ROW_HELD = 4096 };

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->in[0].shape), width = MMREC_SIZE(call->sizes, D);
    bool stream = rows * width >= ROW_STREAM && width <= ROW_HELD;
#pragma omp parallel num_threads(call->sizes->threads) if (rows * width > FAST_SERIAL)
    {
        float held[ROW_HELD];
#pragma omp for schedule(static) nowait
        for (int64_t r = 0; r < rows; r++) {
            const float *next = view_row(&call->in[0], fast_min(r + 1, rows - 1));
            float *y = view_row(&call->out[0], r);
            fast_row(view_row(&call->in[0], r), next, stream ? held : y, y, width, stream);
        }
        row_fence(stream);
    }
    return MMREC_OK;
}

static void fast_gradient_row(const float *restrict y, const float *restrict dy, float *restrict dx, int64_t width,
                              bool add) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < width; d++) sum += dy[d] * y[d];
    for (int64_t d = 0; d < width; d++) deliver(&dx[d], y[d] * (dy[d] - sum), add);
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    if (!call->d_in[0].data) return MMREC_OK;
    int64_t rows = mmrec_shape_rows(&call->in[0].shape), width = MMREC_SIZE(call->sizes, D);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * width > FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) {
        fast_gradient_row(view_row(&call->out[0], r), view_row(&call->d_out[0], r), view_row(&call->d_in[0], r), width,
                          accumulates(call, 0));
    }
    return MMREC_OK;
}
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double elements = (double)mmrec_shape_elements(&sizes->in[0]);
    mmrec_work forward_work = {3 * elements, elements, 0}, backward_work = {4 * elements, 0, 0};
    return pass == MMREC_FORWARD ? forward_work : backward_work;
}

static const char *const samples[] = {"N=1 D=1",    "N=3 D=5",   "N=17 D=13",  "B=2 T=3 D=65",
                                      "N=129 D=17", "N=3 D=257", "N=3 D=1030", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(softmax);
const mmrec_op_def MMREC_OP_DEFINE(softmax) = {
    .name = "softmax",
    .formula = "y = exp(x - max x) / sum exp(x - max x)",
    .source = "the normalised exponential",
    /* exp of these is next to nothing in float unless the maximum is subtracted first, and a zero is far above them. */
    .in = {{.name = "x", .dims = "* D", .low = -104, .high = -94}},
    .out = {{.name = "y", .dims = "* D", .flags = MMREC_ARG_KEEP}},
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {3e-6, 4e-6,
                  "a sum of D = 1000 terms in order is off by near sqrt(D / 3) eps / 2 = 1.1e-6 (in vector lanes by less); "
                  "x - max, exp and division add 4 roundings; backward: one more difference of like terms"},
    .samples = samples,
    .bench = "N=8192 D=1000",
};
