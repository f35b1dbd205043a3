/* Where the random samples of the op harness do not go: parts of a tensor that are not there, sums of sizes, the ends
 * of tanh, and dropout nodes at stream numbers that a model chooses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mmrec/op.h"

static void refused(mmrec_op_id op, const char *text, const char *message) {
    mmrec_op_sizes sizes;
    mmrec_error error;
    assert_int_equal(mmrec_op_from_text(mmrec_op_get(op, MMREC_VARIANT_F64), text, 1, &sizes, &error), MMREC_SHAPE);
    assert_string_equal(error.message, message);
}

static int64_t size_of(mmrec_op_id op, const char *text, char letter) {
    mmrec_op_sizes sizes;
    mmrec_error error;
    assert_int_equal(mmrec_op_from_text(mmrec_op_get(op, MMREC_VARIANT_F64), text, 1, &sizes, &error), MMREC_OK);
    return sizes.letter[letter - 'A'];
}

static void parts_that_are_not_there_are_refused(void **state) {
    (void)state;
    refused(MMREC_OP_take_steps, "B=1 T=4 D=1 first=4",
            "take_steps: first is 4, but there are 4 steps: wanted a whole number from 0 to 3");
    refused(MMREC_OP_take_steps, "B=1 T=4 D=1 first=-1",
            "take_steps: first is -1, but there are 4 steps: wanted a whole number from 0 to 3");
    refused(
        MMREC_OP_take_steps, "B=1 T=4 D=1 first=3 count=2",
        "take_steps: count is 2, but from 3 on there are 1 of 4 steps: wanted a whole number up to that, or 0 for all "
        "of them");
    refused(MMREC_OP_columns, "N=1 D=7 first=0.5",
            "columns: first is 0.5, but there are 7 columns: wanted a whole number from 0 to 6");
    refused(MMREC_OP_columns, "N=1 D=7 first=1e300",
            "columns: first is 1e+300, but there are 7 columns: wanted a whole number from 0 to 6");
    refused(
        MMREC_OP_columns, "N=1 D=7 first=2 count=-5",
        "columns: count is -5, but from 2 on there are 5 of 7 columns: wanted a whole number up to that, or 0 for all "
        "of them");
    refused(MMREC_OP_add_position, "B=1 T=4 P=3 D=1",
            "add_position: 4 steps, but the table has 3 positions; use shorter sequences or a longer table");
}

static void parts_are_as_large_as_asked(void **state) {
    (void)state;
    assert_int_equal(size_of(MMREC_OP_take_steps, "B=1 T=4 D=1 first=3", 'K'), 1);
    assert_int_equal(size_of(MMREC_OP_take_steps, "B=1 T=4 D=1 first=1 count=3", 'K'), 3);
    assert_int_equal(size_of(MMREC_OP_columns, "N=1 D=7", 'F'), 7);
    assert_int_equal(size_of(MMREC_OP_columns, "N=1 D=7 count=2", 'F'), 2);
    assert_int_equal(size_of(MMREC_OP_concat, "N=1 A=3 B=4 F=2 -x2 -x3 -x4 -x6 -x7", 'Z'), 9);
}

/* Three times 2^61 is more than 62 bits hold, eight times more than 64. */
static void sums_of_widths_that_do_not_fit_are_refused(void **state) {
    (void)state;
    const char *message = "concat: y would have more elements than 62 bits can count, or none";
    refused(MMREC_OP_concat,
            "N=1 A=2305843009213693952 B=2305843009213693952 C=2305843009213693952 -x3 -x4 -x5 -x6 -x7", message);
    refused(MMREC_OP_concat,
            "N=1 A=2305843009213693952 B=2305843009213693952 C=2305843009213693952 D=2305843009213693952 "
            "E=2305843009213693952 F=2305843009213693952 G=2305843009213693952 H=2305843009213693952",
            message);
}

/* Forward of an op with one input and one output of `count` floats, at this seed. */
static void run(mmrec_op_id op, const char *text, uint64_t seed, float *x, float *y) {
    const mmrec_op_def *def = mmrec_op_get(op, MMREC_VARIANT_F32);
    mmrec_op_sizes sizes;
    mmrec_error error;
    assert_int_equal(mmrec_op_from_text(def, text, 1, &sizes, &error), MMREC_OK);
    mmrec_op_call call = {.sizes = &sizes, .seed = seed};
    call.in[0] = mmrec_view_dense(x, MMREC_F32, sizes.in[0]);
    call.out[0] = mmrec_view_dense(y, MMREC_F32, sizes.out[0]);
    assert_int_equal(def->fast[MMREC_FORWARD](&call, &error), MMREC_OK);
}

static void tanh_is_right_at_its_ends(void **state) {
    (void)state;
    float x[] = {0.0f, 1e-30f, -1e-7f, 3e-3f, 9.02f, -9.1f, 1e30f, -INFINITY, INFINITY, NAN}, y[10];
    run(MMREC_OP_tanh, "N=1 D=10", 0, x, y);
    for (int i = 0; i < 9; i++) {
        double wanted = tanh((double)x[i]), off = fabs((double)y[i] - wanted);
        if (!(off <= 1.9e-7 * fabs(wanted))) fail_msg("tanh %g is %.9g, not %.9g", (double)x[i], (double)y[i], wanted);
    }
    assert_true(isnan(y[9]));
}

enum { DRAWS = 4096 };

/* How many of the two nodes' elements share their fate. */
static int agree(const char *one, uint64_t seed_of_one, const char *other, uint64_t seed_of_other) {
    static float x[DRAWS], y[DRAWS], z[DRAWS];
    int same = 0;
    for (int i = 0; i < DRAWS; i++) x[i] = 1.0f;
    run(MMREC_OP_dropout, one, seed_of_one, x, y);
    run(MMREC_OP_dropout, other, seed_of_other, x, z);
    for (int i = 0; i < DRAWS; i++) same += (y[i] > 0) == (z[i] > 0) ? 1 : 0;
    return same;
}

/* At p = 0.5 unrelated draws agree in half of 4096 elements, give or take 32: six of those are allowed. */
static void dropout_nodes_draw_by_stream_and_seed(void **state) {
    (void)state;
    static const char *const other[] = {"N=1 D=4096 p=0.5 stream=8", "N=1 D=4096 p=0.5 stream=4294967303",
                                        "N=1 D=4096 p=0.5"};
    const char *own = "N=1 D=4096 p=0.5 stream=7";
    assert_int_equal(agree(own, 3, own, 3), DRAWS);
    for (int i = 0; i < 3; i++) assert_in_range(agree(own, 3, other[i], 3), DRAWS / 2 - 192, DRAWS / 2 + 192);
    assert_in_range(agree(own, 3, own, 4), DRAWS / 2 - 192, DRAWS / 2 + 192);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_that_are_not_there_are_refused),       cmocka_unit_test(parts_are_as_large_as_asked),
        cmocka_unit_test(sums_of_widths_that_do_not_fit_are_refused), cmocka_unit_test(tanh_is_right_at_its_ends),
        cmocka_unit_test(dropout_nodes_draw_by_stream_and_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
