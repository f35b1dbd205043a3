/* The tolerances of whole models. */
#include "measure/tolerance.h"

/* bf16. Each stored value is rounded by 2^-8 = 4e-3 at most and by 1.6e-3 in the mean, and 20 to 30 of them lie on the
 * way to an output or a gradient: 7e-3 and 9e-3. Double arithmetic rounded where bf16 is stored
 * (tests/unit/rounded_backend.h) is off by as much: over all fixtures outputs by 9.4e-3 at most, and by 1.2e-2 where a
 * few roundings fall otherwise; gradients by 7e-3 in the median tensor, by 1.6e-2 or less in 95 % of them, by 5.3e-2 in
 * the worst, a bias of 8 whose terms cancel. The kernels, emulated, have the same figures, and outputs of a model of 16
 * blocks are off by 1.1e-2. */
mmrec_tolerance measure_tolerance(const mmrec_backend *backend, bool bf16, bool tf32) {
    static const mmrec_tolerance in_f64 = {1e-6, 1e-6, "fixtures hold float32, 6e-8 of the largest value"};
    static const mmrec_tolerance in_f32 = {1e-5, 1e-4, "sums of float32"};
    /* A gradient passes through several products on top of each other: 1.8e-3 at most over all fixtures, emulated. */
    static const mmrec_tolerance in_tf32 = {1e-3, 5e-3, "factors rounded by 2^-11 = 5e-4, averaged over sums"};
    static const mmrec_tolerance in_bf16 = {2e-2, 8e-2, "values rounded by 2^-8 wherever they are stored"};
    if (bf16) return in_bf16;
    if (backend->real == MMREC_F64) return in_f64;
    return tf32 && backend->device ? in_tf32 : in_f32;
}

/* Training compounds rounding. AdamW divides a gradient by the root of its own square: a first update has the size of
 * the rate whatever the gradient's, so an element whose gradient is little more than rounding noise may be moved the
 * wrong way, by 2 rate; later gradients see other parameters. Over two models, 20 steps at rate 3e-3 and every way of
 * running, parameters are off by 6e-8 in f64 (what the file holds), 2.4e-5 in f32 (a memory query's weight; most by
 * 1e-6), 1.4e-2 in TF32 and 4.5e-2 in bf16 (2e-4 and 2e-3 in the median tensor); losses and norms by 5e-8, 3e-7, 2e-4
 * and 1.3e-3. */
mmrec_tolerance measure_tolerance_trained(const mmrec_backend *backend, bool bf16, bool tf32) {
    static const mmrec_tolerance in_f64 = {1e-6, 1e-6, "fixtures hold float32, 6e-8 of the largest value"};
    static const mmrec_tolerance in_f32 = {1e-4, 1e-4, "four times what the sign of a gradient near 0 costs"};
    static const mmrec_tolerance in_tf32 = {1e-3, 5e-2, "the same of gradients off by 2e-3"};
    static const mmrec_tolerance in_bf16 = {5e-3, 1.5e-1, "the same of gradients off by 1e-2"};
    if (bf16) return in_bf16;
    if (backend->real == MMREC_F64) return in_f64;
    return tf32 && backend->device ? in_tf32 : in_f32;
}
