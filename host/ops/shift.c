/* shift: h_prev[b, 0] = h0[b], h_prev[b, t] = h[b, t - 1]: the state each step started from.
 *
 * Source: the planning error of the MM-Rec block, which reads h_{t-1}. A copy: no arithmetic, so the work is zero FLOPs
 * and the traffic is all. */
#include "part.h"

enum { IN_H, IN_H0 };

/* Row (b, t) of h_prev comes from here. */
static const real *source_row(const mmrec_op_call *call, int64_t row) {
    int64_t steps = MMREC_SIZE(call->sizes, T);
    return row % steps == 0 ? view_row(&call->in[IN_H0], row / steps) : view_row(&call->in[IN_H], row - 1);
}

static void copy_row(const mmrec_op_call *call, int64_t row) {
    part_copy(view_row(&call->out[0], row), source_row(call, row), MMREC_SIZE(call->sizes, D), false);
}

/* The gradient of h at (b, t) is that of h_prev one step later; the last state is not read. */
static void gradient_row(const mmrec_op_call *call, int64_t row) {
    bool last = (row + 1) % MMREC_SIZE(call->sizes, T) == 0, add = accumulates(call, IN_H);
    real *to = view_row(&call->d_in[IN_H], row);
    int64_t columns = MMREC_SIZE(call->sizes, D);
    if (!last) {
        part_copy(to, view_row(&call->d_out[0], row + 1), columns, add);
    } else if (!add) {
        part_clear(to, columns);
    }
}

static void initial_gradient_row(const mmrec_op_call *call, int64_t b) {
    const real *from = view_row(&call->d_out[0], b * MMREC_SIZE(call->sizes, T));
    part_copy(view_row(&call->d_in[IN_H0], b), from, MMREC_SIZE(call->sizes, D), accumulates(call, IN_H0));
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    return part_each(call, &call->out[0], copy_row);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    MMREC_TRY(part_each(call, &call->d_in[IN_H], gradient_row));
    return part_each(call, &call->d_in[IN_H0], initial_gradient_row);
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
    .work = part_work,
    .function = {forward, backward},
    .tolerance = {1e-7, 1e-7, "a copy: nothing is rounded but the inputs and one sum when adding to a gradient"},
    .samples = samples,
    .bench = "B=2 T=1024 D=1024",
};
