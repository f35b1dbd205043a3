/* widen: y = x, from what activations are stored in to f32; dx = dy.
 *
 * Source: what the recurrence reads of the projections (graph.h). */
#include "copy.h"

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(widen);
const mmrec_op_def MMREC_OP_DEFINE(widen) = {
    .name = "widen",
    .formula = "y = x at full precision",
    .source = "storing activations and weights in bf16",
    .in = {{.name = "x", .dims = "* D"}},
    .out = {{.name = "y", .dims = "* D", .flags = MMREC_ARG_F32}},
    .work = copy_work,
    .function = {copy_forward, copy_backward},
    .tolerance = {1e-7, 1e-7, "a copy: nothing is rounded but the inputs and one sum when adding to a gradient"},
    .samples = copy_samples,
    .bench = "N=2048 D=2048",
};
