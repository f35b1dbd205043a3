/* Hyperbolic tangents of vectors, for the fast functions of lstm and gru. */
#ifndef MMREC_RNN_VECTOR_H
#define MMREC_RNN_VECTOR_H

#include "recurrence_vector.h"

/* e^x - 1 for |x| <= 43, so that nothing cancels near 0: 2^n rest + (2^n - 1), where 2^n - 1 is exact for the small n
 * for which it matters. */
static inline vec vec_exp_minus_1(vec x) {
    vec_exp_parts e = vec_exp_split(x);
    vec power = (vec)(e.exponent + 0x3F800000u);
    return power * e.rest + (power - 1.0f);
}

/* tanh x = m / (m + 2), m = e^2x - 1; beyond +-9.5 it is +-1 to 1e-8. NaN stays NaN. */
static inline vec vec_double_minus_1(vec x) { return vec_exp_minus_1(vec_clamp(x + x, -19.0f, 19.0f)); }
static inline vec vec_tanh(vec x) {
    vec m = vec_double_minus_1(x);
    return m / (m + 2.0f);
}

/* A sigmoid and a tanh with one division; within the clamps the product stays finite. */
static inline void vec_sigmoid_tanh(vec x, vec y, vec *sigmoid, vec *tangent) {
    vec p = vec_inverse_sigmoid(x), m = vec_double_minus_1(y);
    vec inverse = 1.0f / (p * (m + 2.0f));
    *sigmoid = (m + 2.0f) * inverse;
    *tangent = m * p * inverse;
}

#endif
