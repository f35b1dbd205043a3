/* Robust statistics of one series: quantiles, MAD, and the interval of the median. docs/measuring.md says why these. */
#include "stats_impl.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const double half_pi = 1.57079632679489661923;

/* Doubles as integers in the same order. */
static uint64_t key_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 63 ? ~bits : bits | (1ull << 63);
}

static double value_of(uint64_t key) {
    uint64_t bits = key >> 63 ? key & ~(1ull << 63) : ~key;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int count_up_to(measure_values values, uint64_t key) {
    int count = 0;
    for (int i = 0; i < values.count; i++) count += key_of(values.at(values.context, i)) <= key;
    return count;
}

/* Bisection over the value's bits: at most 64 passes and no copy, where sorting would need memory that can fail. */
double measure_order(measure_values values, int k) {
    uint64_t low = UINT64_MAX, high = 0;
    for (int i = 0; i < values.count; i++) {
        uint64_t key = key_of(values.at(values.context, i));
        if (key < low) low = key;
        if (key > high) high = key;
    }
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (count_up_to(values, middle) > k)
            high = middle;
        else
            low = middle + 1;
    }
    return value_of(low);
}

/* The order statistic after `value`, which is the k-th: one pass instead of another bisection. */
static double order_after(measure_values values, double value, int k) {
    if (count_up_to(values, key_of(value)) > k + 1) return value;
    double next = INFINITY;
    for (int i = 0; i < values.count; i++) {
        double other = values.at(values.context, i);
        if (other > value && other < next) next = other;
    }
    return next;
}

double measure_quantile(measure_values values, double p) {
    double position = p * (values.count - 1);
    int k = (int)position;
    double value = measure_order(values, k), part = position - k;
    return part > 0 ? value + part * (order_after(values, value, k) - value) : value;
}

typedef struct distances {
    measure_values values;
    double center;
} distances;

static double distance_at(const void *context, int i) {
    const distances *d = context;
    return fabs(d->values.at(d->values.context, i) - d->center);
}

double measure_mad(measure_values values, double center) {
    distances d = {values, center};
    return measure_quantile((measure_values){distance_at, &d, values.count}, 0.5);
}

static double lag_product(measure_values v, int lag) {
    double sum = 0;
    for (int i = 0; i + lag < v.count; i++) sum += v.at(v.context, i) * v.at(v.context, i + lag);
    return sum;
}

/* Sums of two neighbouring autocorrelations are positive for any reversible process, so the first sum that is not
 * marks where noise begins. A quarter of the series is as far as they can be estimated. */
double measure_inflation(measure_values v) {
    double power = lag_product(v, 0);
    if (!(power > 0)) return 1;
    double inflation = -1;
    for (int lag = 0; lag <= v.count / 4; lag += 2) {
        double sum = (lag_product(v, lag) + lag_product(v, lag + 1)) / power;
        if (!(sum > 0)) break;
        inflation += 2 * sum;
    }
    return inflation > 1 ? inflation : 1;
}

/* The right angle is not a double: just past it the cosine is negative and its power not a number. */
static double cosine_power(double angle, double power) { return pow(fmax(cos(angle), 0), power); }

/* With x = sqrt(freedom) tan(angle) the density of t is cos(angle)^(freedom - 1): Simpson's rule over the angle, until
 * the wanted share of the half circle is reached. 200 panels: error below 5e-4 of t for freedom >= 2, also where the
 * mass of a large freedom sits at small angles (beyond t = 8 less than 1e-8 of it is left). */
double measure_t_quantile(double level, double freedom) {
    enum { PANELS = 200 };
    double most = freedom > 30 ? atan(8 / sqrt(freedom)) : half_pi, panel = most / PANELS;
    double sum[PANELS + 1] = {0}, left = 1;
    for (int i = 0; i < PANELS; i++) {
        double middle = cosine_power((i + 0.5) * panel, freedom - 1),
               right = cosine_power((i + 1) * panel, freedom - 1);
        sum[i + 1] = sum[i] + left + 4 * middle + right;
        left = right;
    }
    int i = 0;
    while (sum[i + 1] < level * sum[PANELS]) i++;
    return sqrt(freedom) * tan((i + (level * sum[PANELS] - sum[i]) / (sum[i + 1] - sum[i])) * panel);
}

static double sample_at(const void *context, int i) { return ((const double *)context)[i]; }

typedef struct signs {
    const double *samples;
    double median;
} signs;

static double sign_at(const void *context, int i) {
    const signs *s = context;
    return (double)(s->samples[i] > s->median) - (double)(s->samples[i] < s->median);
}

/* How many order statistics from either end the exact 95 % interval of the median begins: the largest k with
 * P(Binomial(n, 1/2) < k) <= 2.5 %. 0 below 6 samples, where not even minimum and maximum cover 95 %. */
static int binomial_rank(int n) {
    double log_term = -n * log(2.0), sum = 0;
    int k = 0;
    for (; k < n; k++) {
        sum += exp(log_term);
        if (sum > 0.025) break;
        log_term += log((double)(n - k)) - log((double)k + 1);
    }
    return k;
}

/* Neighbouring samples that lie on the same side of the median carry less than n samples' worth of information: the
 * ranks move outwards by the square root of the inflation. */
static mmrec_interval median_interval(measure_values values, double median) {
    signs s = {values.context, median};
    int n = values.count;
    double inflation = measure_inflation((measure_values){sign_at, &s, n});
    double middle = (n + 1) / 2.0;
    int rank = (int)floor(middle - (middle - binomial_rank(n)) * sqrt(inflation));
    if (rank < 1) rank = 1;
    return (mmrec_interval){measure_order(values, rank - 1), measure_order(values, n - rank)};
}

static void moments(const double *samples, int count, mmrec_stats *s) {
    double sum = 0, squares = 0;
    for (int i = 0; i < count; i++) sum += samples[i];
    s->mean = sum / count;
    for (int i = 0; i < count; i++) squares += (samples[i] - s->mean) * (samples[i] - s->mean);
    s->deviation = count > 1 ? sqrt(squares / (count - 1)) : 0;
}

mmrec_stats mmrec_stats_of(const double *samples, int count) {
    mmrec_stats s = {0};
    if (count < 1) return s;
    for (int i = 0; i < count; i++) {
        /* Half of the range: sums and differences stay finite too. */
        if (!(fabs(samples[i]) < DBL_MAX / 2 / count)) return s;
    }
    measure_values values = {sample_at, samples, count};
    s.valid = true;
    s.count = count;
    s.min = measure_order(values, 0);
    s.q1 = measure_quantile(values, 0.25);
    s.median = measure_quantile(values, 0.5);
    s.q3 = measure_quantile(values, 0.75);
    s.max = measure_order(values, count - 1);
    s.mad = measure_mad(values, s.median);
    s.ci95 = median_interval(values, s.median);
    moments(samples, count, &s);
    return s;
}
