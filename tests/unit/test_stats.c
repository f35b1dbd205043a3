/* Robust statistics: values worked out by hand, exact ranks, coverage on synthetic series. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "measure/stats_impl.h"
#include "mmrec/rng.h"

static void near(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("got %.12g, want %.12g within %g", got, want, tolerance);
}

static double at(const void *context, int i) { return ((const double *)context)[i]; }

static void figures_of_a_small_series(void **state) {
    (void)state;
    static const double samples[] = {2, 7, 1, 8, 2.5, 8.25};
    mmrec_stats s = mmrec_stats_of(samples, 6);
    assert_true(s.valid);
    assert_int_equal(s.count, 6);
    near(s.min, 1, 0);
    near(s.q1, 2.125, 1e-15);
    near(s.median, 4.75, 1e-15);
    near(s.q3, 7.75, 1e-15);
    near(s.max, 8.25, 0);
    near(s.mad, 3, 1e-15);
    near(s.mean, 28.75 / 6, 1e-15);
    near(s.deviation, 3.3030919858, 1e-9);
    near(s.ci95.low, 1, 0); /* below 6 samples nothing is left out, at 6 only minimum and maximum cover 95 % */
    near(s.ci95.high, 8.25, 0);
}

static void one_and_two_samples(void **state) {
    (void)state;
    static const double samples[] = {3, 5};
    mmrec_stats one = mmrec_stats_of(samples, 1), two = mmrec_stats_of(samples, 2);
    assert_true(one.valid);
    near(one.median, 3, 0);
    near(one.deviation, 0, 0);
    near(one.mad, 0, 0);
    near(one.ci95.high - one.ci95.low, 0, 0);
    near(two.median, 4, 0);
    near(two.deviation, sqrt(2), 1e-15);
}

static void nothing_and_non_finite_are_not_valid(void **state) {
    (void)state;
    const double bad[] = {1, NAN}, infinite[] = {INFINITY, 1}, huge[] = {1.7e308, 1.7e308};
    assert_false(mmrec_stats_of(bad, 0).valid);
    assert_false(mmrec_stats_of(bad, -1).valid);
    assert_false(mmrec_stats_of(bad, 2).valid);
    assert_false(mmrec_stats_of(infinite, 2).valid);
    assert_false(mmrec_stats_of(huge, 2).valid);
    near(mmrec_stats_of(bad, 2).median, 0, 0);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void order_statistics_equal_sorting(void **state) {
    (void)state;
    enum { COUNT = 301 };
    double values[COUNT], sorted[COUNT];
    for (int i = 0; i < COUNT; i++) {
        double z = mmrec_rng_normal(1, 2, (uint64_t)i);
        values[i] = sorted[i] = i % 7 == 0 ? 0.0 : i % 11 == 0 ? z * 1e-310 : floor(z * 20) / 4;
    }
    qsort(sorted, COUNT, sizeof *sorted, by_value);
    measure_values v = {at, values, COUNT};
    for (int k = 0; k < COUNT; k++) near(measure_order(v, k), sorted[k], 0);
    for (int p = 0; p <= 100; p++) {
        double position = p / 100.0 * (COUNT - 1);
        int k = (int)position;
        double want = k + 1 < COUNT ? sorted[k] + (position - k) * (sorted[k + 1] - sorted[k]) : sorted[k];
        near(measure_quantile(v, p / 100.0), want, 1e-12);
    }
}

/* Published tables of Student's t. */
static void t_quantiles(void **state) {
    (void)state;
    static const struct {
        double level, freedom, t;
    } table[] = {{0.95, 2, 4.302653},   {0.99, 2, 9.924843},   {0.95, 5, 2.570582},   {0.99, 5, 4.032143},
                 {0.95, 10, 2.228139},  {0.99, 10, 3.169273},  {0.95, 30, 2.042272},  {0.99, 30, 2.749996},
                 {0.95, 120, 1.979930}, {0.99, 120, 2.617421}, {0.95, 1e4, 1.960201}, {0.99, 1e4, 2.576321}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        near(measure_t_quantile(table[i].level, table[i].freedom), table[i].t, 5e-4 * table[i].t);
    }
}

/* Neighbours that alternate carry no positive autocorrelation, so these are the exact binomial ranks. */
static void interval_has_the_binomial_ranks(void **state) {
    (void)state;
    static const struct { int count, rank; } table[] = {{5, 1}, {6, 1}, {9, 2}, {10, 2}, {20, 6}, {100, 40}};
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        double samples[100];
        int n = table[t].count;
        for (int i = 0; i < n; i++) samples[i] = i % 2 ? n - i / 2 : 1 + i / 2; /* 1 n 2 n-1 ... */
        mmrec_stats s = mmrec_stats_of(samples, n);
        near(s.ci95.low, table[t].rank, 0);
        near(s.ci95.high, n + 1 - table[t].rank, 0);
    }
}

/* x_i = rho x_(i-1) + noise, of unit variance. */
static void autoregressive(double *out, int count, double rho, uint64_t stream) {
    double x = mmrec_rng_normal(5, stream, 0);
    for (int i = 0; i < count; i++) {
        out[i] = x;
        x = rho * x + sqrt(1 - rho * rho) * mmrec_rng_normal(5, stream, (uint64_t)i + 1);
    }
}

static double coverage(double rho, int count) {
    enum { RUNS = 2000 };
    double samples[400];
    int covered = 0;
    for (int run = 0; run < RUNS; run++) {
        autoregressive(samples, count, rho, (uint64_t)run);
        mmrec_stats s = mmrec_stats_of(samples, count);
        covered += s.ci95.low <= 0 && s.ci95.high >= 0;
    }
    printf("  median interval, %d samples, lag-1 correlation %.1f: covers in %.1f %% of runs\n", count, rho,
           100.0 * covered / RUNS);
    return (double)covered / RUNS;
}

static void interval_covers_the_median(void **state) {
    (void)state;
    assert_true(coverage(0, 20) >= 0.95);
    assert_true(coverage(0, 200) >= 0.94);
    assert_true(coverage(0.5, 50) >= 0.90);
    assert_true(coverage(0.5, 200) >= 0.92);
    assert_true(coverage(0.8, 400) >= 0.92);
}

static void inflation_is_that_of_the_series(void **state) {
    (void)state;
    double sum[3] = {0}, samples[400];
    static const double rho[] = {0, 0.5, -0.5};
    enum { RUNS = 200 };
    for (int r = 0; r < 3; r++) {
        for (int run = 0; run < RUNS; run++) {
            autoregressive(samples, 400, rho[r], (uint64_t)run);
            sum[r] += measure_inflation((measure_values){at, samples, 400}) / RUNS;
        }
    }
    near(sum[0], 1, 0.3); /* (1 + rho) / (1 - rho) */
    near(sum[1], 3, 0.6);
    near(sum[2], 1, 0.01);
    const double zeros[8] = {0};
    near(measure_inflation((measure_values){at, zeros, 8}), 1, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_of_a_small_series),
        cmocka_unit_test(one_and_two_samples),
        cmocka_unit_test(nothing_and_non_finite_are_not_valid),
        cmocka_unit_test(order_statistics_equal_sorting),
        cmocka_unit_test(t_quantiles),
        cmocka_unit_test(interval_has_the_binomial_ranks),
        cmocka_unit_test(interval_covers_the_median),
        cmocka_unit_test(inflation_is_that_of_the_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
