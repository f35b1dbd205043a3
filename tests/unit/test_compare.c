/* The comparison of arrays: figures, verdicts, and everything that is not a number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "mmrec/compare.h"

enum { MOST = 4 };

/* One comparison and what it must say. Figures are exact unless `about` is set (then to 1e-14). */
typedef struct expectation {
    const char *what;
    int64_t count;
    double got[MOST], want[MOST];
    double max_abs, max_want, max_rel, l2_rel;
    int64_t worst;
    bool finite, about;
} expectation;

#define INF INFINITY
#define BAD INF, 0, INF, INF
static const expectation expectations[] = {
    {"nothing", 0, {1}, {2}, 0, 0, 0, 0, -1, true, false},
    {"a negative count", -3, {1}, {2}, 0, 0, 0, 0, -1, true, false},
    {"one equal", 1, {2}, {2}, 0, 2, 0, 0, 0, true, false},
    {"one off", 1, {3}, {2}, 1, 2, 0.5, 0.5, 0, true, false},
    {"one off below", 1, {1}, {2}, 1, 2, 0.5, 0.5, 0, true, false},
    {"negative values", 1, {-3}, {-2}, 1, 2, 0.5, 0.5, 0, true, false},
    {"the wrong sign", 1, {-2}, {2}, 4, 2, 2, 2, 0, true, false},
    {"relative to the largest, not to its own", 2, {4, 1.5}, {4, 1}, 0.5, 4, 0.125, 0.121267812518166, 1, true, true},
    {"3 4 against zeros and back", 2, {0, 0}, {3, 4}, 4, 4, 1, 1, 1, true, true},
    {"l2 of two errors", 2, {6, 8}, {3, 4}, 4, 4, 1, 1, 1, true, true},
    {"the first of equal worst", 3, {1, 2, 2}, {0, 1, 1}, 1, 1, 1, 1.22474487139158904909, 0, true, true},
    {"the worst in the middle", 3, {1, 5, 3}, {1, 2, 3}, 3, 3, 1, 0.80178372573727315, 1, true, true},
    {"the worst last", 3, {1, 2, 4}, {1, 2, 2}, 2, 2, 1, 2.0 / 3, 2, true, true},
    {"zeros against zeros", 2, {0, 0}, {0, 0}, 0, 0, 0, 0, 0, true, false},
    {"minus zero is zero", 1, {-0.0}, {0}, 0, 0, 0, 0, 0, true, false},
    {"want all zero, got not", 2, {0, 1e-300}, {0, 0}, 1e-300, 0, INF, INF, 1, true, false},
    {"NaN got", 2, {1, NAN}, {1, 1}, BAD, 1, false, false},
    {"NaN wanted", 2, {1, 1}, {NAN, 1}, BAD, 0, false, false},
    {"NaN on both sides", 1, {NAN}, {NAN}, BAD, 0, false, false},
    {"infinity got", 1, {INF}, {1}, BAD, 0, false, false},
    {"infinity wanted", 1, {1}, {INF}, BAD, 0, false, false},
    {"equal infinities", 1, {INF}, {INF}, BAD, 0, false, false},
    {"equal negative infinities", 1, {-INF}, {-INF}, BAD, 0, false, false},
    {"NaN after a large error", 3, {9, 1, NAN}, {1, 1, 1}, BAD, 2, false, false},
    {"the first of two NaN", 3, {1, NAN, NAN}, {1, 1, 1}, BAD, 1, false, false},
    {"a difference beyond double", 1, {DBL_MAX}, {-DBL_MAX}, BAD, 0, false, false},
    {"largest doubles that agree", 1, {DBL_MAX}, {DBL_MAX}, 0, DBL_MAX, 0, 0, 0, true, false},
    {"squares that would overflow",
     2,
     {2e300, 1e300},
     {1e300, 1e300},
     1e300,
     1e300,
     1,
     0.70710678118654752,
     0,
     true,
     true},
    {"squares that would vanish",
     2,
     {2e-300, 1e-300},
     {1e-300, 1e-300},
     1e-300,
     1e-300,
     1,
     0.70710678118654752,
     0,
     true,
     true},
    {"denormals", 1, {3 * DBL_TRUE_MIN}, {2 * DBL_TRUE_MIN}, DBL_TRUE_MIN, 2 * DBL_TRUE_MIN, 0.5, 0.5, 0, true, false},
    {"one unit in the last place", 1, {1 + DBL_EPSILON}, {1}, DBL_EPSILON, 1, DBL_EPSILON, DBL_EPSILON, 0, true, false},
    {"elements past the count do not matter", 1, {1, NAN}, {1, 5}, 0, 1, 0, 0, 0, true, false},
};

static void expect_figure(const expectation *e, const char *name, double got, double want) {
    bool good = got == want || (e->about && fabs(got - want) <= 1e-14 * fabs(want));
    if (!good) fail_msg("%s: %s is %.17g, not %.17g", e->what, name, got, want);
}

static void test_figures(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof expectations / sizeof expectations[0]; i++) {
        const expectation *e = &expectations[i];
        mmrec_difference d = mmrec_compare(e->got, e->want, e->count);
        expect_figure(e, "max_abs", d.max_abs, e->max_abs);
        expect_figure(e, "max_rel", d.max_rel, e->max_rel);
        expect_figure(e, "l2_rel", d.l2_rel, e->l2_rel);
        if (e->finite) expect_figure(e, "max_want", d.max_want, e->max_want);
        if (d.worst != e->worst) fail_msg("%s: worst is %lld", e->what, (long long)d.worst);
        if (d.finite != e->finite) fail_msg("%s: finite is %d", e->what, d.finite);
    }
}

typedef struct verdict {
    const char *what;
    double got, want, tolerance, scale;
    bool passes;
} verdict;

static const verdict verdicts[] = {
    {"equal at tolerance 0", 1, 1, 0, 0, true},
    {"zeros at tolerance 0", 0, 0, 0, 0, true},
    {"exactly at the tolerance", 1.5, 1, 0.5, 0, true},
    {"just above it", 1.5, 1, 0.4999, 0, false},
    {"noise around zero has no scale", 1e-9, 0, 1e-3, 0, false},
    {"noise around zero with a scale", 1e-9, 0, 1e-3, 1, true},
    {"a scale below the largest plays no part", 1.5, 1, 0.4999, 0.9, false},
    {"a scale above it does", 1.5, 1, 0.4999, 1.1, true},
    {"NaN got", NAN, 1, 1e9, 0, false},
    {"NaN wanted", 1, NAN, 1e9, 0, false},
    {"equal infinities", INF, INF, 1e9, 0, false},
    {"infinity against an infinite tolerance", INF, 1, INF, 0, false},
    {"a NaN tolerance", 1, 1, NAN, 0, false},
    {"a NaN scale", 1, 1, 0, NAN, false},
    {"a negative tolerance", 1, 1, -1, 0, false},
    {"a negative scale counts as none", 1, 1, 0, -5, true},
};

static void test_verdicts(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        const verdict *v = &verdicts[i];
        mmrec_difference d = mmrec_compare(&v->got, &v->want, 1);
        if (mmrec_difference_within(&d, v->tolerance, v->scale) != v->passes) fail_msg("%s", v->what);
    }
}

static void test_nothing_is_equal_to_nothing(void **state) {
    (void)state;
    mmrec_difference d = mmrec_compare(NULL, NULL, 0);
    assert_true(mmrec_difference_within(&d, 0, 0));
    assert_int_equal(d.worst, -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_nothing_is_equal_to_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
