/* columns: y = columns [first, first + count) of x, copied.
 *
 * Source: parts of a weight that go into a stacked one (the halves that belong to the input and to the state). Columns
 * of a value need no copy, they are a view of it (mmrec_graph_columns); a parameter has none. The work is zero FLOPs.
 * The gradient of the columns that are not taken is zero. */
#include "part.h"

#if MMREC_REAL_F32
#include "fast_loop.h"
#endif

static void take_row(const mmrec_op_call *call, int64_t row) {
    const real *from = view_row(&call->in[0], row) + part_first(call->sizes);
    part_copy(view_row(&call->out[0], row), from, MMREC_SIZE(call->sizes, F), false);
}

static void gradient_row(const mmrec_op_call *call, int64_t row) {
    int64_t first = part_first(call->sizes), taken = MMREC_SIZE(call->sizes, F), end = first + taken;
    bool add = accumulates(call, 0);
    real *to = view_row(&call->d_in[0], row);
    part_copy(to + first, view_row(&call->d_out[0], row), taken, add);
    if (add) return;
    part_clear(to, first);
    part_clear(to + end, MMREC_SIZE(call->sizes, D) - end);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->out[0].shape);
    for (int64_t r = 0; r < rows; r++) take_row(call, r);
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = call->d_in[0].data ? mmrec_shape_rows(&call->d_in[0].shape) : 0;
    for (int64_t r = 0; r < rows; r++) gradient_row(call, r);
    return MMREC_OK;
}

#if MMREC_REAL_F32
static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->out[0].shape), taken = MMREC_SIZE(call->sizes, F);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * taken >= FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) take_row(call, r);
    return MMREC_OK;
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = call->d_in[0].data ? mmrec_shape_rows(&call->d_in[0].shape) : 0;
    int64_t columns = MMREC_SIZE(call->sizes, D);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * columns >= FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) gradient_row(call, r);
    return MMREC_OK;
}
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    return part_bind("columns", "columns", sizes, MMREC_SIZE(sizes, D), &MMREC_SIZE(sizes, F), error);
}

static const char *const samples[] = {"N=1 D=1",
                                      "N=3 D=5 first=2",
                                      "N=17 D=13 count=7",
                                      "B=2 N=3 D=65 first=8 count=51",
                                      "N=37 D=1025 first=512 count=512",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(columns);
const mmrec_op_def MMREC_OP_DEFINE(columns) = {
    .name = "columns",
    .formula = "y[c] = x[first + c]",
    .source = "parts of a weight that go into a stacked one",
    .in = {{.name = "x", .dims = "* D"}},
    .out = {{.name = "y", .dims = "* F"}},
    .attr = {"first", "count"},
    .attr_default = {0, 0},
    .infer = infer,
    .work = part_work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {1e-7, 1e-7, "a copy: nothing is rounded but the inputs and one sum when adding to a gradient"},
    .samples = samples,
    .bench = "N=2048 D=2048 first=1024",
};
