/* relu: y = max(x, 0); the gradient passes where x > 0, and NaN stays NaN.
 *
 * Source: the low-rank decay (DPG) of the MM-Rec block. */
#include "map.h"

static inline real value(real x) { return real_value(x) < 0 ? (real)0 : x; }
static inline real gradient(real x, real dy) { return real_value(x) <= 0 ? (real)0 : dy; }
static inline const mmrec_view *kept_by(const mmrec_op_call *call) { return &call->in[0]; }

#if MMREC_REAL_F32
static inline float fast_value(float x) { return value(x); }
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)sizes;
    (void)pass;
    mmrec_work w = {0, 0, 0};
    return w;
}

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(relu);
const mmrec_op_def MMREC_OP_DEFINE(relu) = {
    .name = "relu",
    .formula = "y = max(x, 0)",
    .source = "the low-rank decay of the block",
    .in = {{.name = "x", .dims = "* D", .flags = MMREC_ARG_KEEP}},
    .out = {{.name = "y", .dims = "* D"}},
    .work = work,
    .function = {map_forward, map_backward},
    .fast = {MMREC_FAST(map_fast_forward), MMREC_FAST(map_fast_backward)},
    .tolerance = {1e-7, 1e-7, "a selection: nothing is rounded but the inputs and one sum when adding to a gradient"},
    .samples = map_samples,
    .bench = "N=2048 D=2048",
};
