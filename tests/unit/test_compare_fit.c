/* Power laws fitted to points whose exponent is known, and the Pareto front. */
#include "compare_rig.h"

/* ---- power laws ---- */

static void test_exact_laws(void **state) {
    (void)state;
    static const double exponents[] = {-1, 0, 0.5, 1, 2, 3};
    double at[] = {16, 32, 64, 128, 256}, values[5];
    for (size_t e = 0; e < sizeof exponents / sizeof *exponents; e++) {
        for (int i = 0; i < 5; i++) values[i] = 7e3 * pow(at[i], exponents[e]);
        mmrec_compare_fit fit = compare_fit_of(at, values, 5);
        assert_true(fit.valid);
        assert_true(fabs(fit.exponent - exponents[e]) <= 1e-12);
        assert_true(fit.low <= fit.exponent && fit.exponent <= fit.high && fit.high - fit.low <= 1e-10);
        assert_true(fit.residual <= 1e-12);
    }
}

static void test_too_few(void **state) {
    (void)state;
    double at[] = {1, 2, 4, 8}, values[] = {1, 2, 4, 8};
    for (int count = 0; count < 3; count++) assert_false(compare_fit_of(at, values, count).valid);
    assert_true(compare_fit_of(at, values, 3).valid);
    values[1] = values[2] = 0; /* failed: two points are left */
    assert_false(compare_fit_of(at, values, 4).valid);
    double same[] = {4, 4, 4}, any[] = {1, 2, 3};
    assert_false(compare_fit_of(same, any, 3).valid);
}

/* A point that failed counts for nothing, wherever it stands. */
static void test_left_out(void **state) {
    (void)state;
    double at[] = {1, 2, 3, 4}, values[] = {5, 0, 45, 80}, left[] = {1, 3, 4}, others[] = {5, 45, 80};
    mmrec_compare_fit all = compare_fit_of(at, values, 4), fit = compare_fit_of(left, others, 3);
    assert_true(all.exponent == fit.exponent && all.low == fit.low && all.high == fit.high);
    assert_true(fabs(all.exponent - 2) <= 1e-12);
    values[1] = (double)NAN;
    assert_true(compare_fit_of(at, values, 4).exponent == fit.exponent);
}

/* Points (0, 0), (1, 1), (2, 1) of logarithms: by hand the slope is 1/2, residuals -1/6, 1/3, -1/6, their squares 1/6,
 * the slope's error sqrt(1/6 / 1 / 2), and t at 95 % with one degree of freedom 12.706. */
static void test_interval(void **state) {
    (void)state;
    double at[] = {1, exp(1), exp(2)}, values[] = {1, exp(1), exp(1)};
    mmrec_compare_fit fit = compare_fit_of(at, values, 3);
    double half = 12.7062 * sqrt(1. / 12);
    assert_true(fabs(fit.exponent - 0.5) <= 1e-12);
    assert_true(fabs(fit.residual - 1. / 3) <= 1e-12);
    assert_true(fabs(fit.high - fit.exponent - half) <= 2e-3 * half);
    assert_true(fabs(fit.exponent - fit.low - half) <= 2e-3 * half);
}

/* Of 400 fits of noisy laws the interval holds the exponent in 95 of 100, give or take three times the scatter of that
 * count. */
static void test_coverage(void **state) {
    (void)state;
    enum { FITS = 400 };
    double at[] = {32, 64, 128, 256, 512, 1024}, values[6];
    int held = 0;
    for (uint64_t k = 0; k < FITS; k++) {
        for (uint64_t i = 0; i < 6; i++) values[i] = 3 * pow(at[i], 1.5) * exp(0.1 * mmrec_rng_normal(5, k, i));
        mmrec_compare_fit fit = compare_fit_of(at, values, 6);
        held += fit.low <= 1.5 && 1.5 <= fit.high;
    }
    assert_in_range(held, 380 - 13, 380 + 13);
}

/* ---- the front ---- */

static mmrec_compare_options options;
static mmrec_comparison table;

static void set_row(int row, double ns, size_t bytes, double loss) {
    mmrec_compare_row *r = &table.row[row];
    memset(r, 0, sizeof *r);
    r->series[MMREC_PART_STEP].stats = (mmrec_stats){.valid = ns > 0, .median = ns};
    r->memory.planned[MMREC_ARENA_SAVED] = bytes;
    r->quality.seeds = loss > 0;
    r->quality.loss_mean = loss;
    options.count = row + 1;
    table.options = &options;
}

static void front_is(const char *wanted) {
    char found[MMREC_COMPARE_ROWS + 1] = "";
    compare_front(&table);
    for (int i = 0; i < options.count; i++) found[i] = table.front[i] ? '1' : '0';
    assert_string_equal(found, wanted);
}

static void test_front(void **state) {
    (void)state;
    set_row(0, 10, 100, 2);
    front_is("1");
    set_row(1, 20, 200, 1);   /* better in one */
    set_row(2, 20, 200, 1.5); /* worse than 1 in one, than 0 in two */
    set_row(3, 9, 300, 3);
    set_row(4, 9, 300, 3.1);
    front_is("11010");
    snprintf(table.row[0].failure, sizeof table.row[0].failure, "no memory");
    front_is("01010");
}

static void test_front_of_equals(void **state) {
    (void)state;
    set_row(0, 10, 100, 2);
    set_row(1, 10, 100, 2);
    front_is("11");
}

/* What no row has decides nothing; what one lacks that others have counts against it. */
static void test_front_of_what_was_measured(void **state) {
    (void)state;
    set_row(0, 10, 100, 0);
    set_row(1, 11, 90, 0);
    set_row(2, 11, 100, 0);
    front_is("110");
    set_row(2, 11, 100, 5);
    front_is("111");
    set_row(1, 0, 100, 5);
    set_row(2, 11, 100, 5);
    front_is("101");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_laws),      cmocka_unit_test(test_too_few),
        cmocka_unit_test(test_left_out),        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_coverage),        cmocka_unit_test(test_front),
        cmocka_unit_test(test_front_of_equals), cmocka_unit_test(test_front_of_what_was_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
