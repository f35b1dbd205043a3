/* narrow: y = x, from f32 to what activations are stored in; dx = dy.
 *
 * Source: the bf16 copies of f32 parameters, of h, and of inputs (graph.h). */
#include "copy.h"

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(narrow);
const mmrec_op_def MMREC_OP_DEFINE(narrow) = {
    .name = "narrow",
    .formula = "y = x as it is stored",
    .source = "storing activations and weights in bf16",
    .in = {{.name = "x", .dims = "* D", .flags = MMREC_ARG_F32}},
    .out = {{.name = "y", .dims = "* D"}},
    .work = copy_work,
    .function = {copy_forward, copy_backward},
    .tolerance = {1e-7, 1e-7, "a copy: nothing is rounded but the inputs and one sum when adding to a gradient"},
    .samples = copy_samples,
    .bench = "N=2048 D=2048",
};
