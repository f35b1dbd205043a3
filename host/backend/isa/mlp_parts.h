/* What stands between the products of the fused MLP: activations, losses and the update of parameters, over rows that
 * are filled up to whole panels. */
#ifndef MMREC_MLP_PARTS_H
#define MMREC_MLP_PARTS_H

#include <float.h>

#include "mlp_product.h"
#include "ops/fast_math.h"

#define ADAMW_FUNCTION static inline
#define ADAMW_REAL real
#define ADAMW_NAME(name) adamw_##name
#define ADAMW_SQRT real_sqrt
#if MMREC_REAL_F64
#define ADAMW_LARGEST DBL_MAX
#else
#define ADAMW_LARGEST FLT_MAX
#endif
#include "backend/adamw_formula.h"

/* ---- activations ---- */

#if MMREC_REAL_F64
static inline real tanh_of(real x) { return real_tanh(x); }
static inline real exp_of(real x) { return real_exp(x); }
static inline real gelu_of(real x) { return 0.5 * x * (1 + real_erf(x * 0.70710678118654752440)); }
static inline real gelu_slope(real x) {
    real below = 0.5 * (1 + real_erf(x * 0.70710678118654752440));
    return below + x * (0.39894228040143267794 * real_exp(-0.5 * x * x));
}
#else
static inline real tanh_of(real x) { return fast_tanhf(x); }
static inline real exp_of(real x) { return fast_expf(x); }
static inline real gelu_of(real x) { return fast_geluf(x); }
static inline real gelu_slope(real x) { return fast_gelu_slopef(x); }
#endif

/* to = f(from), which may be the same row. */
static void activate(mmrec_activation activation, const real *from, real *to, int64_t width) {
    switch (activation) {
    case MMREC_ACTIVATION_RELU:
#pragma omp simd
        for (int64_t i = 0; i < width; i++) to[i] = from[i] < 0 ? 0 : from[i];
        break;
    case MMREC_ACTIVATION_TANH:
#pragma omp simd
        for (int64_t i = 0; i < width; i++) to[i] = tanh_of(from[i]);
        break;
    case MMREC_ACTIVATION_GELU:
#pragma omp simd
        for (int64_t i = 0; i < width; i++) to[i] = gelu_of(from[i]);
        break;
    }
}

/* slope *= f'(x), from what was kept: f(x), of GELU x. The gradient of relu passes where x > 0, and where it is NaN. */
static void multiply_slope(mmrec_activation activation, const real *restrict kept, real *restrict slope,
                           int64_t width) {
    switch (activation) {
    case MMREC_ACTIVATION_RELU:
        for (int64_t i = 0; i < width; i++) slope[i] = kept[i] <= 0 ? 0 : slope[i];
        break;
    case MMREC_ACTIVATION_TANH:
        for (int64_t i = 0; i < width; i++) slope[i] *= 1 - kept[i] * kept[i];
        break;
    case MMREC_ACTIVATION_GELU:
        for (int64_t i = 0; i < width; i++) slope[i] *= gelu_slope(kept[i]);
        break;
    }
}

/* ---- losses: of a row, with its gradient ---- */

/* Sum of squares; slope = scale (y - target). */
static double square_row(const real *y, const real *target, int64_t width, real scale, real *slope) {
    double sum = 0;
    for (int64_t i = 0; i < width; i++) {
        real difference = y[i] - target[i];
        sum += (double)(difference * difference);
        slope[i] = scale * difference;
    }
    return sum;
}

/* logsumexp(y) - y[class]; slope = (softmax(y) - onehot) / samples. */
static double entropy_row(const real *y, int32_t class, int64_t width, real samples, real *slope) {
    real top = y[0], sum = 0;
    for (int64_t i = 1; i < width; i++) top = y[i] > top ? y[i] : top;
    for (int64_t i = 0; i < width; i++) {
        slope[i] = exp_of(y[i] - top);
        sum += slope[i];
    }
    real scale = 1 / (samples * sum);
    for (int64_t i = 0; i < width; i++) slope[i] *= scale;
    slope[class] -= 1 / samples;
    return (double)top - (double)y[class] + (double)real_log(sum);
}

/* ---- the update ---- */

/* In double, in eight interleaved sums. `count` is a multiple of 8. */
static double squares(const real *restrict gradient, int64_t count) {
    double lane[8] = {0};
    for (int64_t i = 0; i < count; i += 8) {
        for (int k = 0; k < 8; k++) lane[k] += (double)gradient[i + k] * (double)gradient[i + k];
    }
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static void update(const adamw_factors *factors, real shrink, const real *restrict gradient, real *restrict w,
                   real *restrict m, real *restrict v, int64_t count) {
    const adamw_factors f = *factors;
    for (int64_t i = 0; i < count; i++) adamw_element(&f, shrink, gradient[i], &w[i], &m[i], &v[i]);
}

#endif
