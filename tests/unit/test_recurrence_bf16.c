/* The recurrence with bf16 = 1, which the op harness does not walk: its weights are rounded to bfloat16, and with
 * AVX512-BF16 so is what meets them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/alloc.h"
#include "mmrec/compare.h"
#include "mmrec/op.h"
#include "mmrec/rng.h"

enum { Z, GAMMA, H0, GATE_WEIGHT, GATE_BIAS, MDI_WEIGHT, MDI_BIAS, INPUTS };
enum { H = INPUTS, N, M, DIN, DOUT = DIN + INPUTS, TENSORS }; /* DIN + i is the gradient of input i */
enum { SEED = 7, MOST = 40000 };

/* One definition at one sample, its tensors dense in one block. */
typedef struct side {
    const mmrec_op_def *def;
    bool fast, real64;
    mmrec_op_sizes sizes;
    mmrec_view view[TENSORS];
    mmrec_allocator allocator;
    char *block;
    size_t bytes;
} side;

static size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64; }

static mmrec_shape shape_of(const side *s, int tensor) {
    if (tensor < INPUTS) return s->sizes.in[tensor];
    if (tensor >= DIN && tensor < DOUT) return s->sizes.in[tensor - DIN];
    return s->sizes.out[H - INPUTS]; /* n, m and dh have the shape of h */
}

static side side_open(const mmrec_op_def *def, bool real64, const char *sample) {
    side s = {.def = def, .fast = !real64, .real64 = real64};
    mmrec_error error = {0};
    assert_int_equal(mmrec_op_from_text(def, sample, 2, &s.sizes, &error), MMREC_OK);
    mmrec_dtype dtype = real64 ? MMREC_F64 : MMREC_F32;
    size_t offset[TENSORS];
    for (int i = 0; i < TENSORS; i++) {
        mmrec_shape shape = shape_of(&s, i);
        s.view[i] = mmrec_view_dense(NULL, dtype, shape);
        offset[i] = s.bytes;
        s.bytes += padded((size_t)mmrec_shape_elements(&shape) * mmrec_dtype_bytes(dtype));
    }
    s.bytes += padded(s.sizes.scratch_bytes[MMREC_FORWARD]) + padded(s.sizes.scratch_bytes[MMREC_BACKWARD]);
    s.block = mmrec_alloc(&s.allocator, NULL, 0, s.bytes, MMREC_ALLOC_OTHER);
    assert_non_null(s.block);
    memset(s.block, 0xff, s.bytes); /* NaN */
    for (int i = 0; i < TENSORS; i++) s.view[i].data = s.block + offset[i];
    return s;
}

static void side_close(side *s) { mmrec_alloc(&s->allocator, s->block, s->bytes, 0, MMREC_ALLOC_OTHER); }

static void put(const side *s, int tensor, int64_t i, double value) {
    if (s->real64) {
        ((double *)s->view[tensor].data)[i] = value;
    } else {
        ((float *)s->view[tensor].data)[i] = (float)value;
    }
}

static double get(const side *s, int tensor, int64_t i) {
    return s->real64 ? ((double *)s->view[tensor].data)[i] : (double)((float *)s->view[tensor].data)[i];
}

static double rounded(double value) { return (double)mmrec_bf16_to_float(mmrec_bf16_from_float((float)value)); }

/* Inputs as the op asks for them; those with their bit set in `round` hold bfloat16 values. */
static void fill(const side *s, unsigned round) {
    for (int i = 0; i < TENSORS; i++) {
        if (i >= INPUTS && i != DOUT) continue;
        double low = i < INPUTS ? s->def->in[i].low : 0, high = i < INPUTS ? s->def->in[i].high : 0;
        for (int64_t k = 0; k < mmrec_shape_elements(&s->view[i].shape); k++) {
            double value = (double)mmrec_rng_normal(SEED, (uint64_t)i, (uint64_t)k);
            if (high > low) value = low + (high - low) * (double)mmrec_rng_uniform(SEED, (uint64_t)i, (uint64_t)k);
            put(s, i, k, (round >> i) & 1u ? rounded(value) : (double)(float)value);
        }
    }
}

static void run(side *s) {
    mmrec_op_call call = {.sizes = &s->sizes};
    size_t scratch = padded(s->sizes.scratch_bytes[MMREC_FORWARD]) + padded(s->sizes.scratch_bytes[MMREC_BACKWARD]);
    memcpy(call.in, s->view, sizeof *s->view * INPUTS);
    memcpy(call.out, s->view + H, sizeof *s->view * 2);
    memcpy(call.d_in, s->view + DIN, sizeof *s->view * INPUTS);
    call.saved[0] = s->view[M];
    call.d_out[0] = s->view[DOUT];
    call.scratch = s->block + s->bytes - scratch;
    for (int pass = MMREC_FORWARD; pass < MMREC_PASSES; pass++) {
        mmrec_op_function function = s->fast ? s->def->fast[pass] : s->def->function[pass];
        mmrec_error error = {0};
        assert_int_equal(function(&call, &error), MMREC_OK);
        memset(call.scratch, 0xff, scratch);
    }
}

static mmrec_difference difference(const side *got, const side *want, int tensor) {
    static double a[MOST], b[MOST];
    int64_t count = mmrec_shape_elements(&want->view[tensor].shape);
    assert_true(count <= MOST);
    for (int64_t i = 0; i < count; i++) {
        a[i] = get(got, tensor, i);
        b[i] = get(want, tensor, i);
    }
    return mmrec_compare(a, b, count);
}

static void assert_near(const side *got, const side *want, int tensor, double tolerance) {
    mmrec_difference d = difference(got, want, tensor);
    if (!mmrec_difference_within(&d, tolerance, 0)) {
        print_error("tensor %d: %g relative, %g allowed\n", tensor, d.max_rel, tolerance);
    }
    assert_true(mmrec_difference_within(&d, tolerance, 0));
}

static const mmrec_op_def *reference(void) { return mmrec_op_get(MMREC_OP_recurrence, MMREC_VARIANT_F64); }

/* Whether a set multiplies bfloat16 pairs: it does where it may use AVX-512 and the processor has the instruction. */
static bool multiplies_pairs(const char *set) {
#if defined(__AVX512F__)
    (void)set; /* MMREC_NATIVE: every set is compiled for this processor */
    return __builtin_cpu_supports("avx512bf16");
#else
    return strcmp(set, "avx512") == 0 && __builtin_cpu_supports("avx512bf16");
#endif
}

static const char *const sets[] = {"base", "avx2", "avx512"};
enum { SETS = 3, ROUND_WEIGHTS = 1u << GATE_WEIGHT | 1u << MDI_WEIGHT };

static void test_reference_rounds_only_the_weights(void **state) {
    (void)state;
    side rounds = side_open(reference(), true, "B=2 T=3 D=7 bf16=1"),
         plain = side_open(reference(), true, "B=2 T=3 D=7");
    fill(&rounds, 0);
    fill(&plain, ROUND_WEIGHTS);
    run(&rounds);
    run(&plain);
    for (int i = H; i < DOUT; i++) assert_near(&rounds, &plain, i, 0);
    fill(&plain, 0);
    run(&plain);
    mmrec_difference d = difference(&rounds, &plain, H);
    assert_true(d.max_rel > 1e-4 && d.max_rel < 0.1);
    side_close(&rounds);
    side_close(&plain);
}

static void test_sets_follow_the_reference(void **state) {
    (void)state;
    static const char *const samples[] = {"B=1 T=1 D=1 bf16=1",   "B=3 T=17 D=31 bf16=1", "B=1 T=17 D=131 bf16=1",
                                          "B=17 T=3 D=33 bf16=1", "B=4 T=2 D=64 bf16=1",  NULL};
    for (int set = 0; set < SETS; set++) {
        const mmrec_op_def *def = mmrec_op_get_isa(MMREC_OP_recurrence, sets[set]);
        if (!def) continue;
        bool pairs = multiplies_pairs(sets[set]);
        for (const char *const *sample = samples; *sample; sample++) {
            side want = side_open(reference(), true, *sample), got = side_open(def, false, *sample);
            fill(&want, 0);
            fill(&got, 0);
            run(&want);
            run(&got);
            mmrec_tolerance allowed = pairs ? mmrec_op_tolerance(def, &got.sizes) : def->tolerance;
            for (int i = H; i < DIN; i++) assert_near(&got, &want, i, allowed.output);
            for (int i = DIN; i < DOUT; i++) assert_near(&got, &want, i, allowed.gradient);
            side_close(&want);
            side_close(&got);
        }
    }
}

/* One step from values that bfloat16 holds: nothing but the weights is rounded, so that everything which does not pass
 * through the products of the sweep is as exact as without bf16. */
static void test_exact_inputs_lose_nothing(void **state) {
    (void)state;
    static const int exact[] = {
        H, N, M, DIN + GAMMA, DIN + GATE_WEIGHT, DIN + GATE_BIAS, DIN + MDI_WEIGHT, DIN + MDI_BIAS};
    for (int set = 0; set < SETS; set++) {
        const mmrec_op_def *def = mmrec_op_get_isa(MMREC_OP_recurrence, sets[set]);
        if (!def) continue;
        side want = side_open(reference(), true, "B=5 T=1 D=67 bf16=1"),
             got = side_open(def, false, "B=5 T=1 D=67 bf16=1");
        fill(&want, 1u << Z | 1u << H0);
        fill(&got, 1u << Z | 1u << H0);
        run(&want);
        run(&got);
        for (int i = 0; i < (int)(sizeof exact / sizeof *exact); i++) {
            assert_near(&got, &want, exact[i], def->tolerance.gradient);
        }
        side_close(&want);
        side_close(&got);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_rounds_only_the_weights),
        cmocka_unit_test(test_sets_follow_the_reference),
        cmocka_unit_test(test_exact_inputs_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
