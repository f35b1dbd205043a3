/* columns: y = columns [first, first + count) of x, copied.
 *
 * Source: parts of a weight that go into a stacked one (the halves that belong to the input and to the state). Columns
 * of a value need no copy, they are a view of it (mmrec_graph_columns); a parameter has none. The work is zero FLOPs.
 * The gradient of the columns that are not taken is zero. */
#include "part.h"

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
    return part_each(call, &call->out[0], take_row);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    return part_each(call, &call->d_in[0], gradient_row);
}

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
    .tolerance = {1e-7, 1e-7, "a copy: nothing is rounded but the inputs and one sum when adding to a gradient"},
    .samples = samples,
    .bench = "N=2048 D=2048 first=1024",
};
