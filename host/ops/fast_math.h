/* Elementary functions in float without branches or tables, so that gcc turns a loop over them into vector code for
 * SSE2, AVX2 and AVX-512 alike. libm's float functions are calls: 3.6 ns for an expf on a Zen 4 core where
 * fast_expf takes 1.15, 0.34 and 0.26 ns.
 *
 * NaN in gives NaN out everywhere. Selections are written so that they hold for NaN without -ffast-math, and the whole
 * file needs -fno-trapping-math -fno-math-errno only to be vectorised, not to be right. The polynomials were fitted by
 * weighted least squares, reweighted until the largest relative error was level (Lawson's iteration), in 45 digits.
 *
 * Errors named below were measured against libm in double, with and without fused multiply-add: over every float of
 * the range (exp, log) or 2^24 evenly spaced ones (the others). */
#ifndef MMREC_FAST_MATH_H
#define MMREC_FAST_MATH_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t fast_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float fast_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* What e^x is made of, here and four vectors at a time in fast_row.h. */
static const float fast_exp_lowest = -87.33f;
static const float fast_log2_e = 1.44269504f;
static const float fast_round = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer, held in the low bits */
/* ln 2 in two parts; the first has 9 bits, so that n times it is exact. */
static const float fast_ln2_high = 0.693359375f, fast_ln2_low = 2.12194440e-4f;
/* e^r = 1 + r + r^2 (a polynomial, its highest power first). */
static const float fast_exp_term[] = {0.0013814586096502158f, 0.008368718068709237f, 0.04166838830735055f,
                                      0.16666520618923816f, 0.4999999344649379f};
/* Added to the bits of a rounded number n: those of 2^n, 23 places too low. */
enum { FAST_EXPONENT = 127 - 0x4B400000 };

/* e^x = power (1 + rest), power = 2^n and rest in [-0.3, 0.42], for x in [-87.33, 88.37]. */
typedef struct fast_parts {
    float power, rest;
} fast_parts;

static inline fast_parts fast_exp_parts(float x) {
    float shifted = x * fast_log2_e + fast_round;
    float n = shifted - fast_round;
    float r = (x - n * fast_ln2_high) + n * fast_ln2_low;
    float p = fast_exp_term[0];
    p = p * r + fast_exp_term[1];
    p = p * r + fast_exp_term[2];
    p = p * r + fast_exp_term[3];
    p = p * r + fast_exp_term[4];
    fast_parts parts = {fast_float((fast_bits(shifted) + (uint32_t)FAST_EXPONENT) << 23), p * (r * r) + r};
    return parts;
}

/* e^x. Relative error 8.5e-8 on [-87.3, 88.3]; 0 below -87.33 (where the result leaves the normal numbers), and
 * 2.4e38, the value at 88.37, above: softmax and sigmoid want a large number there, not an infinity to divide by. */
static inline float fast_expf(float x) {
    float clamped = x > 88.37f ? 88.37f : x;
    clamped = clamped < fast_exp_lowest ? fast_exp_lowest : clamped;
    fast_parts e = fast_exp_parts(clamped);
    float result = (e.rest + 1.0f) * e.power;
    return x < fast_exp_lowest ? 0.0f : result;
}

/* e^x for x <= 0 (or NaN), as a softmax takes it: the same numbers. Without the upper limit one comparison serves the
 * lower one and the 0 below it, where two limits become four comparisons and as many masks. */
static inline float fast_exp_belowf(float x) {
    bool vanishes = x < fast_exp_lowest;
    fast_parts e = fast_exp_parts(vanishes ? 0.0f : x);
    float result = (e.rest + 1.0f) * e.power;
    return vanishes ? 0.0f : result;
}

/* tanh x = m / (m + 2) with m = e^2a - 1 = power rest + (power - 1), a = |x|: where a is small power is 1, and nothing
 * cancels. Relative error 1.9e-7; from 9.02 on 1, to which it rounds there. */
static inline float fast_tanhf(float x) {
    float a = x < 0.0f ? -x : x;
    a = a > 9.02f ? 9.02f : a;
    fast_parts e = fast_exp_parts(2.0f * a);
    float m = e.power * e.rest + (e.power - 1.0f);
    float result = m / (m + 2.0f);
    return x < 0.0f ? -result : result;
}

/* ln x for normal positive x, relative error 8.2e-8. 0 and denormals give -infinity, negative x gives NaN. */
static inline float fast_logf(float x) {
    uint32_t bits = fast_bits(x) + (0x3F800000u - 0x3F3504F3u); /* so that the mantissa lies in [sqrt(1/2), sqrt 2) */
    float n = (float)((int32_t)(bits >> 23) - 127);
    float f = fast_float((bits & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
    /* ln(1+f) = f - f^2/2 + s (f^2/2 + R(s^2)) with s = f / (2+f): the series of 2 artanh s, the small part apart. */
    float s = f / (2.0f + f), w = s * s, half = 0.5f * f * f;
    float tail = ((w * (2.0f / 9.0f) + 2.0f / 7.0f) * w + 2.0f / 5.0f) * w + 2.0f / 3.0f;
    float result = n * 0.693359375f + (f - (half - (s * (half + w * tail) - n * 2.12194440e-4f)));
    result = x >= FLT_MIN ? result : (x < 0.0f ? NAN : -INFINITY);
    return x <= FLT_MAX ? result : x;
}

/* 1 / (1 + e^-x). Relative error 1.5e-7 for x >= -87. */
static inline float fast_sigmoidf(float x) { return 1.0f / (1.0f + fast_expf(-x)); }

/* The normal distribution: P(X <= x), its density, and what both share. With a = |x|,
 * P(X <= -a) = e^(-a^2/2) t P(t), t = 1/(1 + 0.3 a), P of degree 7: no cancellation in the lower tail, where GELU is
 * small, and one exponential serves the value and the slope. Absolute error of the probability 1.6e-7. */
typedef struct fast_normal {
    float below;   /* P(X <= x) */
    float density; /* e^(-x^2/2) / sqrt(2 pi) */
} fast_normal;

static inline fast_normal fast_normalf(float x) {
    float a = x < 0.0f ? -x : x;
    float e = fast_expf(-0.5f * a * a), t = 1.0f / (1.0f + 0.3f * a);
    float p = 0.03641729139f;
    p = p * t - 0.1599419841f;
    p = p * t + 0.2103605148f;
    p = p * t - 0.05660380551f;
    p = p * t + 0.1296296991f;
    p = p * t + 0.09975878992f;
    p = p * t + 0.1207475038f;
    p = p * t + 0.1196320064f;
    float tail = e * (p * t);
    fast_normal result = {x < 0.0f ? tail : 1.0f - tail, 0.39894228f * e};
    return result;
}

/* GELU (the exact one): absolute error 3.9e-7 on [-10, 10], relative error 2.7e-6 on [-10, -0.1]. */
static inline float fast_geluf(float x) { return x * fast_normalf(x).below; }

/* Its derivative: absolute error 1.7e-7. */
static inline float fast_gelu_slopef(float x) {
    fast_normal n = fast_normalf(x);
    return n.below + x * n.density;
}

#endif
