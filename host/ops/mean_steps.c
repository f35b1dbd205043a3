/* mean_steps: y[b] = mean over t of x[b, t]; dx[b, t] = dy[b] / T.
 *
 * Source: models that read a sequence as one thing. Order of sums: mean_rows.h. */
#include "mean_rows.h"
#include "pieces_device.h"

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    row_pieces pieces = pieces_of_steps(MMREC_SIZE(sizes, T), MMREC_SIZE(sizes, D));
    return pass == MMREC_FORWARD ? (size_t)MMREC_SIZE(sizes, B) * pieces_bytes(pieces) : 0;
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
    .work = mean_work,
    .function = {mean_forward, mean_backward},
    .fast = {MMREC_FAST(mean_fast_forward), MMREC_FAST(mean_fast_backward)},
    .device_scratch = device_scratch,
    .tolerance =
        {1e-6, 2e-7,
         "sums of up to 131 normal values, 64 at a time: 8 eps of their magnitude, over their mean; a gradient "
         "is one product with a rounded scale, and one sum when adding"},
    .samples = samples,
    .bench = "B=8 T=512 D=1024",
};
