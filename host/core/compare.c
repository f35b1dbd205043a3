#include "mmrec/compare.h"

#include <math.h>

/* Largest differences first: they scale the squares of the second pass. Returns false at a non-finite element. */
static bool find_largest(const double *got, const double *want, int64_t count, mmrec_difference *d) {
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs(got[i] - want[i]);
        /* Finite sides can differ by more than a double holds: that too is beyond any tolerance. */
        if (!isfinite(got[i]) || !isfinite(want[i]) || !isfinite(difference)) {
            d->worst = i;
            return false;
        }
        if (difference > d->max_abs || d->worst < 0) {
            d->max_abs = difference;
            d->worst = i;
        }
        if (fabs(want[i]) > d->max_want) d->max_want = fabs(want[i]);
    }
    return true;
}

/* sqrt(sum((a - b)^2)) / scale, b NULL standing for zeros. */
static double scaled_norm(const double *a, const double *b, int64_t count, double scale) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double x = (a[i] - (b ? b[i] : 0)) / scale;
        sum += x * x;
    }
    return sqrt(sum);
}

mmrec_difference mmrec_compare(const double *got, const double *want, int64_t count) {
    mmrec_difference d = {.max_abs = 0, .worst = -1, .finite = true};
    if (count <= 0) return d;
    if (!find_largest(got, want, count, &d)) {
        d.finite = false;
        d.max_abs = d.max_rel = d.l2_rel = INFINITY;
        return d;
    }
    if (d.max_abs == 0) return d;
    if (d.max_want == 0) {
        d.max_rel = d.l2_rel = INFINITY;
        return d;
    }
    d.max_rel = d.max_abs / d.max_want;
    d.l2_rel = d.max_rel * (scaled_norm(got, want, count, d.max_abs) / scaled_norm(want, 0, count, d.max_want));
    return d;
}

bool mmrec_difference_within(const mmrec_difference *difference, double tolerance, double scale) {
    if (!difference->finite || isnan(scale)) return false;
    double largest = difference->max_want > scale ? difference->max_want : scale;
    return difference->max_abs <= tolerance * largest;
}
