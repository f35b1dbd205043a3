/* growth: how much one step of the recurrence may enlarge the state, max over all elements of 1.1 gamma + 0.1 (1 - m).
 *
 * Source: h_t = z a + gamma h + 0.1 ((1 - m) h + m z + gamma h) multiplies h_{t-1} by that (recurrence.c).
 * Order: a maximum has none, so threads, instruction sets and devices that round alike give the same bits.
 * A NaN in gamma or m makes the result NaN: a maximum that loses it would call a broken state harmless. No gradient. */
#include "growth_device.h"
#include "op_impl.h"

#if MMREC_REAL_F32
#include "fast_each.h"
#include "fast_math.h"
#endif

enum { IN_GAMMA, IN_M };

#define MIX 0.1 /* weight of the MDI state in h */

static inline real multiplier(real gamma, real m) { return (real)(1 + MIX) * gamma + (real)MIX * ((real)1 - m); }

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *gamma = &call->in[IN_GAMMA], *m = &call->in[IN_M];
    int64_t rows = mmrec_shape_rows(&gamma->shape), columns = mmrec_shape_columns(&gamma->shape);
    real top = (real)-INFINITY;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real value = multiplier(view_row(gamma, r)[c], view_row(m, r)[c]);
            if (!(top >= value) && top == top) top = value; /* a NaN goes in and never out */
        }
    }
    view_row(&call->out[0], 0)[0] = top;
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* Floats in order as whole numbers, NaN above all: their maximum is vector code, and reduces over threads as it is. A
 * maximum of floats that must keep NaN is neither for gcc 12. */
static inline int32_t key_of(float x) {
    uint32_t bits = fast_bits(x);
    int32_t key = (int32_t)(bits ^ ((uint32_t)((int32_t)bits >> 31) >> 1));
    return x == x ? key : INT32_MAX;
}

/* Its own inverse where x is a number; INT32_MAX has the bits of a NaN. */
static inline float value_of(int32_t key) { return fast_float((uint32_t)key ^ ((uint32_t)(key >> 31) >> 1)); }

static int32_t span_top(const float *restrict gamma, const float *restrict m, int64_t count) {
    int32_t top = INT32_MIN;
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < count; i++) {
        int32_t key = key_of(multiplier(gamma[i], m[i]));
        top = key > top ? key : top;
    }
    return top;
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->in[IN_GAMMA], &call->in[IN_M]};
    fast_matrix x = fast_matrix_all(views, 2);
    int64_t spans = x.rows * x.spans;
    int32_t top = INT32_MIN;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static)                                            \
    reduction(max                                                                                                      \
              : top) if (x.rows * x.columns >= FAST_SERIAL)
    for (int64_t i = 0; i < spans; i++) {
        float *at[2];
        int64_t count = fast_span_at(&x, views, 2, i, at);
        int32_t key = span_top(at[0], at[1], count);
        top = key > top ? key : top;
    }
    view_row(&call->out[0], 0)[0] = value_of(top);
    return MMREC_OK;
}
#endif

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)sizes;
    return pass == MMREC_FORWARD ? GROWTH_PARTS * sizeof(float) : 0;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    mmrec_work w = {pass == MMREC_FORWARD ? 4 * (double)mmrec_shape_elements(&sizes->in[IN_GAMMA]) : 0, 0, 0};
    return w;
}

/* The last is more than one piece for each of the kernel's threads. */
static const char *const samples[] = {"N=1 D=1",     "N=3 D=5",      "N=17 D=13", "N=2 D=65",
                                      "N=37 D=1025", "N=131 D=1033", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(growth);
const mmrec_op_def MMREC_OP_DEFINE(growth) = {
    .name = "growth",
    .formula = "growth = max of 1.1 gamma + 0.1 (1 - m)",
    .source = "the factor of h in step 4 of the block",
    /* Test values whose largest multiplier is below 0 in small samples and below 0.1, that of zeros, in all: nothing
     * that is not there can be the largest unseen. */
    .in = {{.name = "gamma", .dims = "* D", .flags = MMREC_ARG_NO_GRAD | MMREC_ARG_F32, .low = -0.95, .high = 0.05},
           {.name = "m", .dims = "* D", .flags = MMREC_ARG_NO_GRAD | MMREC_ARG_F32, .low = 1.05, .high = 1.95}},
    .out = {{.name = "growth", .dims = "1", .flags = MMREC_ARG_NO_GRAD | MMREC_ARG_F32}},
    .work = work,
    .function = {forward, NULL},
    .fast = {MMREC_FAST(fast_forward), NULL},
    .device_scratch = device_scratch,
    .tolerance = {3e-7, 0, "two roundings of the first term, three of the second, one of the sum: under 4 times 2^-24"},
    .samples = samples,
    .bench = "N=2048 D=1024",
};
