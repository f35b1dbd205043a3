/* layernorm and softmax at a size whose result passes the caches by (host/ops/fast_row.h), which the samples of the op
 * harness are too small for: rows of an odd length, so that they start anywhere. Against the float reference. */
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

enum { ROWS = 4111, WIDTH = 1037, STREAM = 4 << 20 };

static float *numbers(int64_t count, uint64_t stream) {
    float *at = malloc((size_t)count * sizeof *at);
    assert_non_null(at);
    for (int64_t i = 0; i < count; i++) at[i] = mmrec_rng_uniform(5, stream, (uint64_t)i);
    return at;
}

static float *room(int64_t count) {
    float *at = malloc((size_t)count * sizeof *at);
    assert_non_null(at);
    for (int64_t i = 0; i < count; i++) at[i] = NAN;
    return at;
}

/* The fast function's first output may be off the reference's by what is allowed. */
static void check_rows(mmrec_op_id op, float allowed) {
    const mmrec_op_def *def = mmrec_op_get(op, MMREC_VARIANT_F32);
    mmrec_op_sizes sizes;
    mmrec_error error = {0};
    mmrec_op_call call = {.sizes = &sizes};
    const int inputs = mmrec_arg_count(def->in), saved = mmrec_arg_count(def->saved);
    float *y[2];
    assert_true((int64_t)ROWS * WIDTH > STREAM);
    assert_int_equal(mmrec_op_from_text(def, "N=4111 D=1037", 2, &sizes, &error), MMREC_OK);
    for (int i = 0; i < inputs; i++) {
        float *at = numbers(mmrec_shape_elements(&sizes.in[i]), (uint64_t)i);
        call.in[i] = mmrec_view_dense(at, MMREC_F32, sizes.in[i]);
    }
    for (int i = 0; i < saved; i++) {
        call.saved[i] = mmrec_view_dense(room(mmrec_shape_elements(&sizes.saved[i])), MMREC_F32, sizes.saved[i]);
    }
    for (int fast = 0; fast < 2; fast++) {
        y[fast] = room((int64_t)ROWS * WIDTH);
        call.out[0] = mmrec_view_dense(y[fast], MMREC_F32, sizes.out[0]);
        mmrec_op_function run = fast ? def->fast[MMREC_FORWARD] : def->function[MMREC_FORWARD];
        assert_int_equal(run(&call, &error), MMREC_OK);
    }
    for (int64_t i = 0; i < (int64_t)ROWS * WIDTH; i++) assert_true(fabsf(y[0][i] - y[1][i]) <= allowed);
    for (int i = 0; i < inputs; i++) free(call.in[i].data);
    for (int i = 0; i < saved; i++) free(call.saved[i].data);
    for (int fast = 0; fast < 2; fast++) free(y[fast]);
}

static void test_layernorm(void **state) {
    (void)state;
    check_rows(MMREC_OP_layernorm, 2e-5f);
}

/* Results are at most e / 1037 = 2.7e-3, and off by 3e-6 of that. */
static void test_softmax(void **state) {
    (void)state;
    check_rows(MMREC_OP_softmax, 8e-9f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_layernorm), cmocka_unit_test(test_softmax)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
