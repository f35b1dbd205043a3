/* The spike guard: its score against values computed by hand, and what its window takes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "train/guard.h"

/* Losses 1 .. 16: median 8.5; the distances 0.5, 0.5, 1.5, 1.5 ... 7.5, 7.5 have median (3.5 + 4.5) / 2 = 4, so one
 * deviation is 5.9304, and a loss of 8.5 + 6 * 5.9304 = 44.0824 has the score 6. */
static void test_by_hand(void **state) {
    (void)state;
    guard g = {0};
    for (int i = 16; i >= 1; i--) guard_add(&g, i);
    assert_true(fabs(guard_score(&g, 44.0824) - 6) <= 1e-12);
    assert_true(guard_score(&g, 8.5) == 0);
    assert_true(fabs(guard_score(&g, 2.5696) + 1) <= 1e-12);
    /* One more, 17: median 9, distances 0, 1, 1, 2, 2 ... 8, 8, the middle of which is 4. */
    guard_add(&g, 17);
    assert_true(fabs(guard_score(&g, 9 + 2 * 5.9304) - 2) <= 1e-12);
}

static void test_too_few(void **state) {
    (void)state;
    guard g = {0};
    for (int i = 0; i < MMREC_GUARD_LEAST; i++) {
        assert_true(isnan(guard_score(&g, 1)));
        guard_add(&g, i);
    }
    assert_true(guard_score(&g, 1) < 0); /* a number: the median is 7.5 */
}

/* What is not finite neither enters nor has a score. */
static void test_not_finite(void **state) {
    (void)state;
    guard g = {0};
    const double bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 32; i++) {
        guard_add(&g, 2 + i % 3);
        for (int k = 0; k < 3; k++) guard_add(&g, bad[k]);
    }
    assert_int_equal(g.count, 32);
    for (int k = 0; k < 3; k++) assert_true(isnan(guard_score(&g, bad[k])));
    assert_true(guard_score(&g, 3) == 0);
    assert_true(fabs(guard_score(&g, 4) - 1 / 1.4826) <= 1e-12);
}

/* Equal losses: the deviation is at least a thousandth of the median, and of 0 not 0. */
static void test_flat(void **state) {
    (void)state;
    guard g = {0}, zero = {0};
    for (int i = 0; i < 20; i++) {
        guard_add(&g, 2);
        guard_add(&zero, 0);
    }
    assert_true(guard_score(&g, 2) == 0);
    assert_true(fabs(guard_score(&g, 2.01) - 5) <= 1e-9);
    assert_true(guard_score(&zero, 0) == 0);
    assert_true(guard_score(&zero, 1) > 1e6 && isfinite(guard_score(&zero, 1)));
}

/* Of half a window of spikes neither median nor deviation takes notice. */
static void test_robust(void **state) {
    (void)state;
    guard g = {0};
    for (int i = 0; i < 33; i++) guard_add(&g, 2 + 0.01 * (i % 5));
    for (int i = 0; i < 15; i++) guard_add(&g, 1e30);
    assert_true(guard_score(&g, 3) > 6);
    assert_true(guard_score(&g, 2.03) < 6);
}

/* The oldest loss makes room; a window that was written down and read again is the same. */
static void test_ring(void **state) {
    (void)state;
    guard g = {0}, again = {0};
    double losses[MMREC_GUARD_WINDOW], restored[MMREC_GUARD_WINDOW];
    for (int count = 0; count < 3 * MMREC_GUARD_WINDOW; count++) {
        int64_t n = guard_losses(&g, losses);
        int64_t want = count < MMREC_GUARD_WINDOW ? count : MMREC_GUARD_WINDOW;
        assert_int_equal(n, want);
        for (int64_t i = 0; i < n; i++) assert_true(losses[i] == (double)(count - want + i));
        guard_restore(&again, losses, n);
        guard_add(&again, count);
        guard_add(&g, count);
        n = guard_losses(&g, losses);
        assert_int_equal(guard_losses(&again, restored), n);
        assert_memory_equal(losses, restored, (size_t)n * sizeof *losses);
        double a = guard_score(&g, 1000), b = guard_score(&again, 1000);
        assert_memory_equal(&a, &b, sizeof a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand), cmocka_unit_test(test_too_few), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_flat),    cmocka_unit_test(test_robust),  cmocka_unit_test(test_ring),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
