/* The paired comparison: its error rates on synthetic noisy series (docs/measuring.md prints them), and its rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "mmrec/measure.h"
#include "mmrec/rng.h"

enum { RUNS = 2000, MOST_PAIRS = 200 };

/* Times in the order of measuring: exp of white noise + autoregressive noise + spikes + drift + one step. */
typedef struct noise {
    const char *name;
    double white, slow, correlation; /* standard deviations of the two parts; lag-1 correlation of the slow one */
    double spike_share, spike_size;  /* share of samples hit; mean of the exponential excess */
    double drift, step_share;        /* over the whole series; share of series with a jump of 10 % somewhere */
} noise;

/* `quiet` has the spread, correlation and spikes seen in repeated sgemm on a machine left alone (docs/measuring.md). */
static const noise independent = {"independent", 0.012, 0, 0, 0, 0, 0, 0};
static const noise quiet = {"realistic", 0.008, 0.008, 0.7, 0.02, 0.3, 0.05, 0.3};
static const noise sticky = {"correlated 0.9", 0.005, 0.015, 0.9, 0.02, 0.3, 0.05, 0.3};
static const noise shared = {"busy machine", 0.02, 0.02, 0.7, 0.05, 0.3, 0.1, 0.5};

typedef struct draws {
    uint64_t stream, next;
} draws;

static double uniform(draws *d) { return (double)mmrec_rng_uniform(11, d->stream, d->next++); }
static double normal(draws *d) { return mmrec_rng_normal(12, d->stream, d->next++); }

static void make_series(const noise *n, double shift, int pairs, uint64_t stream, double *a, double *b) {
    draws d = {stream, 0};
    double slow = n->slow * normal(&d);
    int step = uniform(&d) < n->step_share ? (int)(uniform(&d) * 2 * pairs) : 2 * pairs;
    for (int i = 0; i < 2 * pairs; i++) {
        int turn = i % 4, pair = i / 4 * 2 + turn / 2;
        bool is_b = turn == 1 || turn == 2;
        slow = n->correlation * slow + sqrt(1 - n->correlation * n->correlation) * n->slow * normal(&d);
        double log_time = n->white * normal(&d) + slow + n->drift * i / (2 * pairs) + (i >= step ? 0.1 : 0);
        if (uniform(&d) < n->spike_share) log_time -= n->spike_size * log(uniform(&d));
        (is_b ? b : a)[pair] = 5e7 * exp(log_time) * (is_b ? 1 + shift : 1);
    }
}

typedef struct rates {
    double verdict[4], covered;
} rates;

static rates simulate(const noise *n, double shift, int pairs) {
    double a[MOST_PAIRS], b[MOST_PAIRS];
    rates r = {{0}, 0};
    for (int run = 0; run < RUNS; run++) {
        make_series(n, shift, pairs, (uint64_t)run, a, b);
        mmrec_paired p = mmrec_paired_of(a, b, pairs);
        assert_true(p.valid);
        assert_int_equal(p.pairs, pairs);
        r.verdict[p.verdict] += 1.0 / RUNS;
        r.covered += (p.ci95.low <= 1 + shift && p.ci95.high >= 1 + shift) / (double)RUNS;
    }
    printf("  %-15s %3d pairs, B %+.0f %%: faster %5.2f %%, slower %6.2f %%, same %6.2f %%, unclear %6.2f %%; "
           "95 %% interval covers %.1f %%\n",
           n->name, pairs, 100 * shift, 100 * r.verdict[MMREC_FASTER], 100 * r.verdict[MMREC_SLOWER],
           100 * r.verdict[MMREC_SAME], 100 * r.verdict[MMREC_UNCLEAR], 100 * r.covered);
    return r;
}

/* The same, played once however often it is asked for. */
static rates rates_of(const noise *n, double shift, int pairs) {
    static struct {
        const noise *n;
        double shift;
        int pairs;
        rates found;
    } known[32];
    static int count;
    for (int i = 0; i < count; i++) {
        if (known[i].n == n && known[i].shift == shift && known[i].pairs == pairs) return known[i].found;
    }
    assert_true(count < 32);
    known[count].n = n;
    known[count].shift = shift;
    known[count].pairs = pairs;
    known[count].found = simulate(n, shift, pairs);
    return known[count++].found;
}

static void identical_sides_are_rarely_called_different(void **state) {
    (void)state;
    static const noise *const kinds[] = {&independent, &quiet, &sticky, &shared};
    static const int pairs[] = {8, 12, 20, 60};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++) {
            rates r = rates_of(kinds[k], 0, pairs[p]);
            assert_true(r.verdict[MMREC_FASTER] + r.verdict[MMREC_SLOWER] <= 0.02);
            assert_true(r.covered >= 0.92);
        }
    }
}

/* With as many pairs as the default run takes at least. */
static void three_percent_is_found(void **state) {
    (void)state;
    int pairs = mmrec_sampling_default().min_samples;
    assert_true(rates_of(&quiet, 0.03, pairs).verdict[MMREC_SLOWER] >= 0.9);
    assert_true(rates_of(&quiet, -0.03, pairs).verdict[MMREC_FASTER] >= 0.9);
    assert_true(rates_of(&independent, 0.03, pairs).verdict[MMREC_SLOWER] >= 0.9);
    assert_true(rates_of(&shared, 0.03, 60).verdict[MMREC_SLOWER] >= 0.9);
}

static void identical_sides_are_called_the_same(void **state) {
    (void)state;
    int pairs = mmrec_sampling_default().min_samples;
    assert_true(rates_of(&quiet, 0, pairs).verdict[MMREC_SAME] >= 0.95);
    assert_true(rates_of(&independent, 0, pairs).verdict[MMREC_SAME] >= 0.95);
    assert_true(rates_of(&shared, 0, 60).verdict[MMREC_SAME] >= 0.95);
}

static void same_is_not_said_of_three_percent(void **state) {
    (void)state;
    static const noise *const kinds[] = {&independent, &quiet, &shared};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        rates r = rates_of(kinds[k], 0.03, mmrec_sampling_default().min_samples);
        assert_true(r.verdict[MMREC_SAME] <= 0.03);
        assert_true(r.verdict[MMREC_FASTER] <= 0.005);
    }
}

static void constant(double *to, int count, double value) {
    for (int i = 0; i < count; i++) to[i] = value;
}

static void exact_ratios(void **state) {
    (void)state;
    double a[20], b[20];
    constant(a, 20, 1000);
    constant(b, 20, 1020);
    mmrec_paired p = mmrec_paired_of(a, b, 20);
    assert_true(fabs(p.ratio - 1.02) < 1e-12);
    assert_int_equal(p.verdict, MMREC_SLOWER);
    assert_int_equal(mmrec_paired_of(b, a, 20).verdict, MMREC_FASTER);
    assert_int_equal(mmrec_paired_of(a, a, 20).verdict, MMREC_SAME);
    constant(b, 20, 1009); /* seen, but too small to matter */
    assert_int_equal(mmrec_paired_of(a, b, 20).verdict, MMREC_SAME);
}

/* Half of the blocks equal: the median distance is 0 and the spread comes from the rest. */
static void a_coarse_clock_still_has_a_spread(void **state) {
    (void)state;
    double a[32], b[32];
    constant(a, 32, 100);
    constant(b, 32, 100);
    for (int i = 0; i < 6; i++) b[i] = 101 + i % 3;
    mmrec_paired p = mmrec_paired_of(a, b, 32);
    assert_true(p.valid);
    assert_true(p.ci95.high > p.ci95.low);
    assert_true(p.ci95.low <= 1.0 && p.ci95.high < 1.02);
}

/* Drift of 40 % over the series, far above the noise, and no difference: the blocks cancel it. */
static void linear_drift_cancels(void **state) {
    (void)state;
    double a[40], b[40];
    for (int i = 0; i < 80; i++) {
        int turn = i % 4, pair = i / 4 * 2 + turn / 2;
        (turn == 1 || turn == 2 ? b : a)[pair] = 1e6 * (1 + 0.005 * i);
    }
    mmrec_paired p = mmrec_paired_of(a, b, 40);
    assert_int_equal(p.verdict, MMREC_SAME);
    assert_true(fabs(p.ratio - 1) < 1e-4);
}

static void one_wild_block_does_not_decide(void **state) {
    (void)state;
    double a[24], b[24];
    for (int i = 0; i < 24; i++) {
        a[i] = 1e6 * (1 + 0.004 * mmrec_rng_normal(3, 1, (uint64_t)i));
        b[i] = 1e6 * (1 + 0.004 * mmrec_rng_normal(3, 2, (uint64_t)i));
    }
    b[7] *= 30;
    mmrec_paired p = mmrec_paired_of(a, b, 24);
    assert_int_equal(p.verdict, MMREC_SAME);
    assert_true(fabs(p.ratio - 1) < 0.005);
}

/* Two blocks in three agree to 0.1 %, the rest are off by 15 % either way: that is no basis for a verdict. */
static void scattered_blocks_are_unclear(void **state) {
    (void)state;
    double a[60], b[60];
    for (int i = 0; i < 60; i++) {
        int block = i / 2;
        a[i] = 28e6 * (1 + 0.001 * mmrec_rng_normal(4, 1, (uint64_t)i));
        b[i] = a[i] * (block % 3 ? 1 : block % 2 ? 1.15 : 0.85);
    }
    assert_int_equal(mmrec_paired_of(a, b, 60).verdict, MMREC_UNCLEAR);
}

static void too_few_or_impossible_samples(void **state) {
    (void)state;
    double a[9], b[9];
    constant(a, 9, 1e6);
    constant(b, 9, 2e6);
    assert_false(mmrec_paired_of(a, b, 0).valid);
    assert_false(mmrec_paired_of(a, b, -4).valid);
    assert_false(mmrec_paired_of(a, b, 7).valid);
    assert_int_equal(mmrec_paired_of(a, b, 7).verdict, MMREC_UNCLEAR);
    assert_int_equal(mmrec_paired_of(a, b, 9).pairs, 8); /* a lone last pair is half a block */
    assert_int_equal(mmrec_paired_of(a, b, 9).verdict, MMREC_SLOWER);
    a[3] = NAN;
    assert_false(mmrec_paired_of(a, b, 9).valid);
    constant(a, 9, 0); /* faster than the clock */
    constant(b, 9, 0);
    assert_int_equal(mmrec_paired_of(a, b, 9).verdict, MMREC_SAME);
}

static void names(void **state) {
    (void)state;
    assert_string_equal(mmrec_verdict_name(MMREC_FASTER), "faster");
    assert_string_equal(mmrec_verdict_name(MMREC_SLOWER), "slower");
    assert_string_equal(mmrec_verdict_name(MMREC_SAME), "same");
    assert_string_equal(mmrec_verdict_name(MMREC_UNCLEAR), "unclear");
    assert_string_equal(mmrec_verdict_name((mmrec_verdict)9), "?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identical_sides_are_rarely_called_different),
        cmocka_unit_test(three_percent_is_found),
        cmocka_unit_test(identical_sides_are_called_the_same),
        cmocka_unit_test(same_is_not_said_of_three_percent),
        cmocka_unit_test(exact_ratios),
        cmocka_unit_test(a_coarse_clock_still_has_a_spread),
        cmocka_unit_test(linear_drift_cancels),
        cmocka_unit_test(one_wild_block_does_not_decide),
        cmocka_unit_test(scattered_blocks_are_unclear),
        cmocka_unit_test(too_few_or_impossible_samples),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
