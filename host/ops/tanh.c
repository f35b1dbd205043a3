/* tanh: y = tanh x; dx = dy (1 - y^2), from the y that is kept.
 *
 * Source: the activation of recurrent cells and of multi-layer perceptrons. */
#include "map.h"

#if MMREC_REAL_F32
#include "fast_math.h"
#endif

static inline real value(real x) { return real_tanh(x); }
static inline real gradient(real y, real dy) { return dy * ((real)1 - y * y); }
static inline const mmrec_view *kept_by(const mmrec_op_call *call) { return &call->out[0]; }

#if MMREC_REAL_F32
static inline float fast_value(float x) { return fast_tanhf(x); }
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double elements = (double)mmrec_shape_elements(&sizes->in[0]);
    mmrec_work w = {pass == MMREC_FORWARD ? 0 : 3 * elements, pass == MMREC_FORWARD ? elements : 0, 0};
    return w;
}

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(tanh);
const mmrec_op_def MMREC_OP_DEFINE(tanh) = {
    .name = "tanh",
    .formula = "y = tanh x",
    .source = "the activation of recurrent cells and multi-layer perceptrons",
    .in = {{.name = "x", .dims = "* D", .low = -5, .high = 5}},
    .out = {{.name = "y", .dims = "* D", .flags = MMREC_ARG_KEEP}},
    .work = work,
    .function = {map_forward, map_backward},
    .fast = {MMREC_FAST(map_fast_forward), MMREC_FAST(map_fast_backward)},
    .tolerance = {3e-7, 6e-7,
                  "fast_math.h: 1.9e-7, and 6e-8 for x as it is rounded; a slope has the error of y twice, over the "
                  "largest slope of a sample, which is near 1"},
    .samples = map_samples,
    .bench = "N=2048 D=2048",
};
