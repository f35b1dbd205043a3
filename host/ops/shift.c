/* shift: h_prev[b, 0] = h0[b], h_prev[b, t] = h[b, t - 1]: the state each step started from.
 *
 * Source: the planning error of the MM-Rec block, which reads h_{t-1}. A copy: no arithmetic, so the work is zero FLOPs
 * and the traffic is all. */
#include "op_impl.h"

#if MMREC_REAL_F32
#include "fast_loop.h"
#endif

enum { IN_H, IN_H0 };

/* Row (b, t) of h_prev comes from here. */
static const real *source_row(const mmrec_op_call *call, int64_t row) {
    int64_t steps = MMREC_SIZE(call->sizes, T);
    return row % steps == 0 ? view_row(&call->in[IN_H0], row / steps) : view_row(&call->in[IN_H], row - 1);
}

static void copy_row(const mmrec_op_call *call, int64_t row) {
    const real *from = source_row(call, row);
    real *to = view_row(&call->out[0], row);
    int64_t columns = MMREC_SIZE(call->sizes, D);
    for (int64_t d = 0; d < columns; d++) to[d] = from[d];
}

/* The gradient of h at (b, t) is that of h_prev one step later; the last state is not read. */
static void gradient_row(const mmrec_op_call *call, int64_t row) {
    bool last = (row + 1) % MMREC_SIZE(call->sizes, T) == 0, add = accumulates(call, IN_H);
    const real *from = last ? NULL : view_row(&call->d_out[0], row + 1);
    real *to = view_row(&call->d_in[IN_H], row);
    int64_t columns = MMREC_SIZE(call->sizes, D);
    if (from) {
        for (int64_t d = 0; d < columns; d++) deliver(&to[d], from[d], add);
    } else if (!add) {
        for (int64_t d = 0; d < columns; d++) to[d] = (real)0;
    }
}

static void initial_gradient_row(const mmrec_op_call *call, int64_t b) {
    const real *from = view_row(&call->d_out[0], b * MMREC_SIZE(call->sizes, T));
    real *to = view_row(&call->d_in[IN_H0], b);
    int64_t columns = MMREC_SIZE(call->sizes, D);
    for (int64_t d = 0; d < columns; d++) deliver(&to[d], from[d], accumulates(call, IN_H0));
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->out[0].shape);
    for (int64_t r = 0; r < rows; r++) copy_row(call, r);
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), rows = mmrec_shape_rows(&call->d_out[0].shape);
    for (int64_t r = 0; call->d_in[IN_H].data && r < rows; r++) gradient_row(call, r);
    for (int64_t b = 0; call->d_in[IN_H0].data && b < batch; b++) initial_gradient_row(call, b);
    return MMREC_OK;
}

#if MMREC_REAL_F32
static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->out[0].shape), columns = MMREC_SIZE(call->sizes, D);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * columns >= FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) copy_row(call, r);
    return MMREC_OK;
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), columns = MMREC_SIZE(call->sizes, D);
    int64_t rows = call->d_in[IN_H].data ? mmrec_shape_rows(&call->d_out[0].shape) : 0;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * columns >= FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) gradient_row(call, r);
    for (int64_t b = 0; call->d_in[IN_H0].data && b < batch; b++) initial_gradient_row(call, b);
    return MMREC_OK;
}
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)sizes;
    (void)pass;
    mmrec_work w = {0, 0, 0};
    return w;
}

static const char *const samples[] = {"B=1 T=1 D=1",  "B=2 T=2 D=5",   "B=3 T=3 D=7", "B=2 T=17 D=13",
                                      "B=1 T=7 D=65", "B=3 T=65 D=97", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(shift);
const mmrec_op_def MMREC_OP_DEFINE(shift) = {
    .name = "shift",
    .formula = "h_prev[t] = h[t - 1], h_prev[0] = h0",
    .source = "the planning error of the block",
    .in = {{.name = "h", .dims = "B T D"}, {.name = "h0", .dims = "B D"}},
    .out = {{.name = "h_prev", .dims = "B T D"}},
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {1e-7, 1e-7, "a copy: nothing is rounded but the inputs and one sum when adding to a gradient"},
    .samples = samples,
    .bench = "B=2 T=1024 D=1024",
};
