/* take_steps: y[b, k] = x[b, first + k]: a run of steps of every sequence.
 *
 * Source: models that read a sequence in pieces, or one step of it. A copy: no arithmetic, so the work is zero FLOPs
 * and the traffic is all. The gradient of the steps that are not taken is zero. */
#include "part.h"

static void take_row(const mmrec_op_call *call, int64_t row) {
    int64_t steps = MMREC_SIZE(call->sizes, T), taken = MMREC_SIZE(call->sizes, K);
    int64_t from = row / taken * steps + part_first(call->sizes) + row % taken;
    part_copy(view_row(&call->out[0], row), view_row(&call->in[0], from), MMREC_SIZE(call->sizes, D), false);
}

/* Row (b, t) of dx: that of dy, or nothing. */
static void gradient_row(const mmrec_op_call *call, int64_t row) {
    int64_t steps = MMREC_SIZE(call->sizes, T), taken = MMREC_SIZE(call->sizes, K),
            columns = MMREC_SIZE(call->sizes, D);
    int64_t k = row % steps - part_first(call->sizes);
    bool add = accumulates(call, 0);
    real *to = view_row(&call->d_in[0], row);
    if (k >= 0 && k < taken) {
        part_copy(to, view_row(&call->d_out[0], row / steps * taken + k), columns, add);
    } else if (!add) {
        part_clear(to, columns);
    }
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
    return part_bind("take_steps", "steps", sizes, MMREC_SIZE(sizes, T), &MMREC_SIZE(sizes, K), error);
}

static const char *const samples[] = {"B=1 T=1 D=1",
                                      "B=2 T=2 D=5 first=1",
                                      "B=3 T=3 D=7 count=2",
                                      "B=2 T=17 D=13 first=4 count=9",
                                      "B=1 T=7 D=65 first=6 count=1",
                                      "B=3 T=65 D=97 first=1 count=64",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(take_steps);
const mmrec_op_def MMREC_OP_DEFINE(take_steps) = {
    .name = "take_steps",
    .formula = "y[k] = x[first + k]",
    .source = "models that read a sequence in pieces",
    .in = {{.name = "x", .dims = "B T D"}},
    .out = {{.name = "y", .dims = "B K D"}},
    .attr = {"first", "count"},
    .attr_default = {0, 0},
    .infer = infer,
    .work = part_work,
    .function = {forward, backward},
    .tolerance = {1e-7, 1e-7, "a copy: nothing is rounded but the inputs and one sum when adding to a gradient"},
    .samples = samples,
    .bench = "B=2 T=1024 D=1024 first=256 count=512",
};
