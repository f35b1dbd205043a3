/* concat: y = the columns of x0, x1, ... x7 side by side, in this order. Absent ones take no columns, wherever they
 * stand.
 *
 * Source: models that read several things at one place (an input and a state). A copy: the work is zero FLOPs. */
#include "part.h"

/* Columns of input i, 0 where it is absent: its axes are "* A" for x0 to "* H" for x7. */
static int64_t width_of(const mmrec_op_sizes *sizes, int i) { return sizes->letter[i]; }

static void join_row(const mmrec_op_call *call, int64_t row) {
    real *to = view_row(&call->out[0], row);
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if (!call->in[i].data) continue;
        int64_t width = width_of(call->sizes, i);
        part_copy(to, view_row(&call->in[i], row), width, false);
        to += width;
    }
}

static void gradient_row(const mmrec_op_call *call, int64_t row) {
    const real *from = view_row(&call->d_out[0], row);
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        int64_t width = width_of(call->sizes, i);
        if (call->d_in[i].data) part_copy(view_row(&call->d_in[i], row), from, width, accumulates(call, i));
        from += width;
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    return part_each(call, &call->out[0], join_row);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    return part_each(call, &call->d_out[0], gradient_row);
}

/* A sum beyond what 64 bits hold stays at the largest number, which no shape may have. */
static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    (void)error;
    int64_t all = 0;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        int64_t width = width_of(sizes, i);
        all = width > INT64_MAX - all ? INT64_MAX : all + width;
    }
    MMREC_SIZE(sizes, Z) = all;
    return MMREC_OK;
}

static const char *const samples[] = {"N=1 A=1 -x1 -x2 -x3 -x4 -x5 -x6 -x7",
                                      "N=3 A=5 B=2 C=3 -x3 -x4 -x5 -x6 -x7",
                                      "N=2 T=5 A=13 B=1 D=7 G=2 -x2 -x4 -x5 -x7",
                                      "N=7 A=8 B=16 C=24 D=8 E=16 F=32 G=8 H=5",
                                      "N=5 A=65 B=3 C=1 D=2 E=5 F=7 G=11 H=13",
                                      "N=37 A=512 B=513 -x2 -x3 -x4 -x5 -x6 -x7",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(concat);
const mmrec_op_def MMREC_OP_DEFINE(concat) = {
    .name = "concat",
    .formula = "y = [x0 x1 .. x7]",
    .source = "models that read several things at one place",
    .in = {{.name = "x0", .dims = "* A"},
           {.name = "x1", .dims = "* B", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x2", .dims = "* C", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x3", .dims = "* D", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x4", .dims = "* E", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x5", .dims = "* F", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x6", .dims = "* G", .flags = MMREC_ARG_OPTIONAL},
           {.name = "x7", .dims = "* H", .flags = MMREC_ARG_OPTIONAL}},
    .out = {{.name = "y", .dims = "* Z"}},
    .infer = infer,
    .work = part_work,
    .function = {forward, backward},
    .tolerance = {1e-7, 1e-7, "a copy: nothing is rounded but the inputs and one sum when adding to a gradient"},
    .samples = samples,
    .bench = "N=2048 A=1024 B=1024 -x2 -x3 -x4 -x5 -x6 -x7",
};
