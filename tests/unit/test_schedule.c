/* The learning rate of a step, against a table computed by hand, and at its edges. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mmrec/train.h"

/* 4 steps of warm-up to 0.8, then from 0.8 to 0.2 in 8 steps: 0.2 + 0.3 (1 + cos(pi k / 8)), k = 0 .. 8, at steps 4
 * .. 12. The cosines of pi / 8 and 3 pi / 8 are 0.92387953251 and 0.38268343237, that of pi / 4 is 0.70710678119. */
static void test_table(void **state) {
    (void)state;
    static const double want[] = {0.2,
                                  0.4,
                                  0.6,
                                  0.8,
                                  0.8,
                                  0.777163859753,
                                  0.712132034357,
                                  0.614805029711,
                                  0.5,
                                  0.385194970289,
                                  0.287867965643,
                                  0.222836140247,
                                  0.2,
                                  0.2,
                                  0.2};
    mmrec_schedule s = {.rate = 0.8, .final_share = 0.25, .warmup_steps = 4, .steps = 13};
    for (int i = 0; i < (int)(sizeof want / sizeof *want); i++) {
        double got = mmrec_schedule_rate(&s, i);
        if (!(fabs(got - want[i]) <= 1e-11)) fail_msg("step %d: %.12g, by hand %.12g", i, got, want[i]);
    }
    assert_true(mmrec_schedule_rate(&s, 1000000000) == 0.2);
}

/* A constant rate: a share of 1 and no warm-up. */
static void test_constant(void **state) {
    (void)state;
    mmrec_schedule s = {.rate = 3e-3, .final_share = 1, .steps = 5};
    for (int i = 0; i < 9; i++) assert_true(mmrec_schedule_rate(&s, i) == 3e-3);
}

/* Without warm-up it begins at the full rate; the last step has the last rate exactly, and 0 is 0. */
static void test_ends(void **state) {
    (void)state;
    mmrec_schedule s = {.rate = 1, .final_share = 0, .steps = 3};
    assert_true(mmrec_schedule_rate(&s, 0) == 1);
    assert_true(fabs(mmrec_schedule_rate(&s, 1) - 0.5) <= 1e-15);
    assert_true(mmrec_schedule_rate(&s, 2) == 0);
}

/* Warm-up that is as long as everything, or longer, and a training of one step: no division by 0. */
static void test_short(void **state) {
    (void)state;
    mmrec_schedule all = {.rate = 1, .final_share = 0.5, .warmup_steps = 4, .steps = 4};
    static const double want[] = {0.25, 0.5, 0.75, 1, 0.5};
    for (int i = 0; i < 5; i++) assert_true(mmrec_schedule_rate(&all, i) == want[i]);
    mmrec_schedule longer = {.rate = 1, .final_share = 0.5, .warmup_steps = 8, .steps = 4};
    for (int i = 0; i < 8; i++) assert_true(mmrec_schedule_rate(&longer, i) == (i + 1) / 8.0);
    mmrec_schedule last = {.rate = 1, .final_share = 0.5, .warmup_steps = 3, .steps = 4};
    assert_true(mmrec_schedule_rate(&last, 2) == 1 && mmrec_schedule_rate(&last, 3) == 0.5);
    mmrec_schedule one = {.rate = 1, .final_share = 0.5, .steps = 1};
    assert_true(mmrec_schedule_rate(&one, 0) == 0.5);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_constant),
                                       cmocka_unit_test(test_ends), cmocka_unit_test(test_short)};
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
