/* last_step: the last state of a sequence, h[:, T - 1], which the next chunk starts from.
 *
 * Source: the carried state of the MM-Rec block. No gradient crosses from chunk to chunk. It copies B rows: too few to
 * be worth threads at any size of the model. */
#include "op_impl.h"

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T),
            columns = MMREC_SIZE(call->sizes, D);
    for (int64_t b = 0; b < batch; b++) {
        const real *from = view_row(&call->in[0], b * steps + steps - 1);
        real *to = view_row(&call->out[0], b);
        for (int64_t d = 0; d < columns; d++) to[d] = from[d];
    }
    return MMREC_OK;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)sizes;
    (void)pass;
    mmrec_work w = {0, 0, 0};
    return w;
}

static const char *const samples[] = {"B=1 T=1 D=1",   "B=2 T=2 D=5",  "B=3 T=3 D=7",
                                      "B=2 T=17 D=13", "B=1 T=7 D=65", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(last_step);
const mmrec_op_def MMREC_OP_DEFINE(last_step) = {
    .name = "last_step",
    .formula = "h_last = h[T - 1]",
    .source = "the state the block carries from chunk to chunk",
    .in = {{.name = "h", .dims = "B T D", .flags = MMREC_ARG_NO_GRAD | MMREC_ARG_F32}},
    .out = {{.name = "h_last", .dims = "B D", .flags = MMREC_ARG_NO_GRAD | MMREC_ARG_F32}},
    .work = work,
    .function = {forward, NULL},
    .tolerance = {1e-7, 0, "a copy: nothing is rounded but the inputs"},
    .samples = samples,
    .bench = "B=16 T=1024 D=1024",
};
