/* attention where the op harness does not reach: what it refuses, queries that see nothing, and heads of several tiles
 * cut up for one to five threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/op.h"
#include "mmrec/rng.h"

enum { INPUTS = 3 };

static float *numbers(int64_t count, uint64_t stream) {
    float *at = malloc((size_t)count * sizeof *at);
    assert_non_null(at);
    for (int64_t i = 0; i < count; i++) at[i] = 2 * mmrec_rng_uniform(3, stream, (uint64_t)i) - 1;
    return at;
}

/* One call with everything it needs; the results of both passes. */
typedef struct rig {
    mmrec_op_sizes sizes;
    mmrec_op_call call;
    mmrec_error error;
} rig;

static mmrec_view tensor(const mmrec_shape *shape, uint64_t stream) {
    return mmrec_view_dense(numbers(mmrec_shape_elements(shape), stream), MMREC_F32, *shape);
}

static void open_rig(rig *r, const char *text, int threads) {
    memset(r, 0, sizeof *r);
    const mmrec_op_def *def = mmrec_op_get(MMREC_OP_attention, MMREC_VARIANT_F32);
    assert_int_equal(mmrec_op_from_text(def, text, threads, &r->sizes, &r->error), MMREC_OK);
    r->call.sizes = &r->sizes;
    for (int i = 0; i < INPUTS; i++) {
        r->call.in[i] = tensor(&r->sizes.in[i], (uint64_t)i);
        r->call.d_in[i] = tensor(&r->sizes.in[i], 50);
    }
    if ((r->sizes.given >> INPUTS) & 1u) r->call.in[INPUTS] = tensor(&r->sizes.in[INPUTS], 4);
    r->call.out[0] = tensor(&r->sizes.out[0], 50);
    r->call.d_out[0] = tensor(&r->sizes.out[0], 5);
    r->call.saved[0] = tensor(&r->sizes.saved[0], 50);
    size_t bytes = r->sizes.scratch_bytes[MMREC_FORWARD];
    if (bytes < r->sizes.scratch_bytes[MMREC_BACKWARD]) bytes = r->sizes.scratch_bytes[MMREC_BACKWARD];
    r->call.scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(r->call.scratch);
}

static void close_rig(rig *r) {
    for (int i = 0; i <= INPUTS; i++) {
        free(r->call.in[i].data);
        free(r->call.d_in[i].data);
    }
    free(r->call.out[0].data);
    free(r->call.d_out[0].data);
    free(r->call.saved[0].data);
    free(r->call.scratch);
}

static void run_both(rig *r, bool fast) {
    const mmrec_op_def *def = mmrec_op_get(MMREC_OP_attention, MMREC_VARIANT_F32);
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        mmrec_op_function run = fast ? def->fast[pass] : def->function[pass];
        assert_int_equal(run(&r->call, &r->error), MMREC_OK);
    }
}

static void test_same_bits_for_any_threads(void **state) {
    (void)state;
    const char *text = "B=1 T=230 M=230 D=18 heads=2 causal=1 p=0.1 stream=3 -visible";
    rig one, many;
    open_rig(&one, text, 1);
    run_both(&one, true);
    for (int threads = 2; threads <= 5; threads++) {
        open_rig(&many, text, threads);
        run_both(&many, true);
        size_t bytes = (size_t)mmrec_shape_elements(&one.sizes.out[0]) * sizeof(float);
        assert_memory_equal(one.call.out[0].data, many.call.out[0].data, bytes);
        for (int i = 0; i < INPUTS; i++) assert_memory_equal(one.call.d_in[i].data, many.call.d_in[i].data, bytes);
        close_rig(&many);
    }
    close_rig(&one);
}

/* The second batch row sees no key: its ctx is NaN, the first one's is not touched by that. */
static void test_nothing_visible(void **state) {
    (void)state;
    const mmrec_op_def *def = mmrec_op_get(MMREC_OP_attention, MMREC_VARIANT_F32);
    for (int fast = 0; fast < 2; fast++) {
        rig r;
        open_rig(&r, "B=2 T=3 M=100 D=4 heads=2", 2);
        float *visible = r.call.in[INPUTS].data;
        for (int j = 0; j < 200; j++) visible[j] = j < 100 && j != 7 ? 1.0f : 0.0f;
        mmrec_op_function run = fast ? def->fast[MMREC_FORWARD] : def->function[MMREC_FORWARD];
        assert_int_equal(run(&r.call, &r.error), MMREC_OK);
        const float *ctx = r.call.out[0].data;
        for (int i = 0; i < 24; i++) assert_true(i < 12 ? isfinite(ctx[i]) : isnan(ctx[i]));
        close_rig(&r);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"B=1 T=2 M=2 D=6 heads=4 -visible", "4 heads do not divide the width 6"},
        {"B=1 T=2 M=2 D=6 heads=0 -visible", "0 heads do not divide"},
        {"B=1 T=2 M=3 D=6 causal=1 -visible", "causal with 2 queries and 3 keys"},
        {"B=1 T=2 M=2 D=6 causal=2 -visible", "causal is 2; it must be 0 or 1"},
        {"B=1 T=2 M=2 D=6 p=1 -visible", "p is 1; it must be at least 0 and below 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mmrec_op_sizes sizes;
        mmrec_error error = {0};
        const mmrec_op_def *def = mmrec_op_get(MMREC_OP_attention, MMREC_VARIANT_F32);
        assert_int_not_equal(mmrec_op_from_text(def, cases[i].text, 2, &sizes, &error), MMREC_OK);
        assert_non_null(strstr(error.message, cases[i].words));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits_for_any_threads),
                                       cmocka_unit_test(test_nothing_visible), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
