/* mean_steps: y[b] = mean over t of x[b, t]; dx[b, t] = dy[b] / T.
 *
 * Source: models that read a sequence as one thing.
 * Order of sums: the reference adds step by step; the fast function adds blocks of 64 steps, then the blocks. */
#include "op_impl.h"
#include "pieces_device.h"

#if MMREC_REAL_F32
#include "fast_loop.h"
#endif

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *x = &call->in[0], *y = &call->out[0];
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T),
            columns = MMREC_SIZE(call->sizes, D);
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t d = 0; d < columns; d++) {
            real sum = (real)0;
            for (int64_t t = 0; t < steps; t++) sum += view_row(x, b * steps + t)[d];
            view_row(y, b)[d] = sum / (real)(double)steps;
        }
    }
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *dy = &call->d_out[0], *dx = &call->d_in[0];
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T),
            columns = MMREC_SIZE(call->sizes, D);
    for (int64_t b = 0; dx->data && b < batch; b++) {
        for (int64_t d = 0; d < columns; d++) {
            real part = view_row(dy, b)[d] / (real)(double)steps;
            for (int64_t t = 0; t < steps; t++) deliver(&view_row(dx, b * steps + t)[d], part, accumulates(call, 0));
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* Columns [first, first + count) of the mean of sequence b. */
static void mean_strip(const mmrec_op_call *call, int64_t b, int64_t first, int64_t count) {
    const mmrec_view *x = &call->in[0];
    int64_t steps = MMREC_SIZE(call->sizes, T);
    mmrec_view sequence = {view_row(x, b * steps), MMREC_F32, mmrec_shape2(steps, MMREC_SIZE(call->sizes, D)),
                           x->stride};
    float sum[FAST_STRIP], *restrict to = view_row(&call->out[0], b) + first;
    fast_strip_sum(&sequence, first, count, sum);
    for (int64_t d = 0; d < count; d++) to[d] = sum[d] / (float)steps;
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T),
            columns = MMREC_SIZE(call->sizes, D);
    int64_t strips = fast_blocks(columns, FAST_STRIP);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (batch * steps * columns >= FAST_SERIAL)
    for (int64_t i = 0; i < batch * strips; i++) {
        int64_t first = i % strips * FAST_STRIP;
        mean_strip(call, i / strips, first, fast_min(FAST_STRIP, columns - first));
    }
    return MMREC_OK;
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *dy = &call->d_out[0], *dx = &call->d_in[0];
    int64_t steps = MMREC_SIZE(call->sizes, T), columns = MMREC_SIZE(call->sizes, D);
    int64_t rows = dx->data ? mmrec_shape_rows(&dx->shape) : 0;
    float scale = 1.0f / (float)steps;
    bool add = accumulates(call, 0);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * columns >= FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) {
        const float *restrict from = view_row(dy, r / steps);
        float *restrict to = view_row(dx, r);
        for (int64_t d = 0; d < columns; d++) deliver(&to[d], from[d] * scale, add);
    }
    return MMREC_OK;
}
#endif

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    row_pieces pieces = pieces_of_steps(MMREC_SIZE(sizes, T), MMREC_SIZE(sizes, D));
    return pass == MMREC_FORWARD ? (size_t)MMREC_SIZE(sizes, B) * pieces_bytes(pieces) : 0;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double columns = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, D);
    mmrec_work w = {pass == MMREC_FORWARD ? columns * ((double)MMREC_SIZE(sizes, T) + 1) : columns, 0, 0};
    return w;
}

static const char *const samples[] = {"B=1 T=1 D=1",   "B=2 T=2 D=5",     "B=3 T=3 D=7", "B=2 T=17 D=13",
                                      "B=3 T=65 D=67", "B=2 T=131 D=132", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(mean_steps);
const mmrec_op_def MMREC_OP_DEFINE(mean_steps) = {
    .name = "mean_steps",
    .formula = "y = mean_t x[t]",
    .source = "models that read a sequence as one thing",
    .in = {{.name = "x", .dims = "B T D"}},
    .out = {{.name = "y", .dims = "B D"}},
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance =
        {1e-6, 2e-7,
         "sums of up to 131 normal values, 64 at a time: 8 eps of their magnitude, over their mean; a gradient "
         "is one product with a rounded scale, and one sum when adding"},
    .samples = samples,
    .bench = "B=8 T=512 D=1024",
};
