/* Paired comparison of two sides measured in ABBA order. The method and its error rates: docs/measuring.md.
 *
 * One block is a b b a: its log ratio (log b + log b' - log a - log a') / 2 is free of any drift linear over the
 * block. The blocks' location is Tukey's biweight with Kafadar's t interval, which a spike in one block in five does
 * not move; the interval is widened by the autocorrelation that is left between blocks. */
#include "stats_impl.h"

#include <math.h>

enum { BLOCKS_NEEDED = 4 }; /* 8 pairs: below, one disturbed block of three would decide */

/* Weights reach 0 at this many MAD, 6 standard deviations of normal noise. With 6 MAD the interval of 4 to 10 blocks
 * came out too narrow: 2.5 % false verdicts on a busy machine at 12 pairs, against 1.7 %. */
static const double biweight_reach = 9;
static const double same_margin = 0.01;
/* A verdict `same` that rests on "no difference seen" promises that one of this size would have been. */
static const double resolution = 0.03;

typedef struct blocks {
    const double *a, *b;
} blocks;

static double ratio_of(double b, double a) { return fmax(b, 1) / fmax(a, 1); } /* a clock may read 0 ns */

static double block_at(const void *context, int i) {
    const blocks *s = context;
    return log(ratio_of(s->b[2 * i], s->a[2 * i]) * ratio_of(s->b[2 * i + 1], s->a[2 * i + 1])) / 2;
}

typedef struct residuals {
    measure_values values;
    double location, reach;
} residuals;

/* Biweight score: what is left of a block's distance once its weight is applied. */
static double score_at(const void *context, int i) {
    const residuals *r = context;
    double distance = r->values.at(r->values.context, i) - r->location, u = distance / r->reach;
    return fabs(u) < 1 ? distance * (1 - u * u) * (1 - u * u) : 0;
}

static double mean_distance(measure_values values, double center) {
    double sum = 0;
    for (int i = 0; i < values.count; i++) sum += fabs(values.at(values.context, i) - center);
    return sum / values.count;
}

static int count_beyond(measure_values values, double center, double reach) {
    int count = 0;
    for (int i = 0; i < values.count; i++) count += fabs(values.at(values.context, i) - center) >= reach;
    return count;
}

/* The MAD, unless more than a quarter of the blocks would then count as outliers: those are no spikes but how this
 * machine behaves now (a coarse clock, times in steps of the scheduler's tick), and must widen the interval. */
static double spread_of(measure_values values, double center) {
    double mad = measure_mad(values, center);
    bool spikes_only = 4 * count_beyond(values, center, biweight_reach * mad) <= values.count;
    return spikes_only ? mad : mean_distance(values, center);
}

static double location_of(residuals *r) {
    enum { STEPS = 5 }; /* changes by less than 1e-6 of the spread after these */
    for (int step = 0; step < STEPS; step++) {
        double scores = 0, weights = 0;
        for (int i = 0; i < r->values.count; i++) {
            double u = (r->values.at(r->values.context, i) - r->location) / r->reach;
            scores += score_at(r, i);
            weights += fabs(u) < 1 ? (1 - u * u) * (1 - u * u) : 0;
        }
        r->location += scores / weights;
    }
    return r->location;
}

/* Standard error of the biweight location. */
static double error_of(const residuals *r) {
    double squares = 0, slope = 0;
    for (int i = 0; i < r->values.count; i++) {
        double score = score_at(r, i), u = (r->values.at(r->values.context, i) - r->location) / r->reach;
        squares += score * score;
        slope += fabs(u) < 1 ? (1 - u * u) * (1 - 5 * u * u) : 0;
    }
    double inflation = measure_inflation((measure_values){score_at, r, r->values.count});
    return sqrt(inflation * squares / (slope * fmax(1, slope - 1)));
}

static mmrec_interval interval_of(double location, double error, double level, int count) {
    double half = error > 0 ? error * measure_t_quantile(level, 0.7 * (count - 1)) : 0;
    return (mmrec_interval){exp(location - half), exp(location + half)};
}

static bool inside(mmrec_interval interval, double margin) {
    return interval.low >= 1 - margin && interval.high <= 1 + margin;
}

static mmrec_verdict verdict_of(const mmrec_paired *p) {
    if (inside(p->ci95, same_margin)) return MMREC_SAME;
    bool excludes = p->ci99.low > 1 || p->ci99.high < 1;
    if (excludes && fabs(p->ratio - 1) >= same_margin) return p->ratio < 1 ? MMREC_FASTER : MMREC_SLOWER;
    return !excludes && inside(p->ci95, resolution) ? MMREC_SAME : MMREC_UNCLEAR;
}

mmrec_paired mmrec_paired_of(const double *a, const double *b, int count) {
    mmrec_paired p = {.verdict = MMREC_UNCLEAR, .same_margin = same_margin, .resolution = resolution};
    p.pairs = count > 0 ? count / 2 * 2 : 0;
    if (p.pairs < 2 * BLOCKS_NEEDED) return p;
    for (int i = 0; i < p.pairs; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) return p;
    }
    blocks s = {a, b};
    measure_values values = {block_at, &s, p.pairs / 2};
    double median = measure_quantile(values, 0.5), spread = spread_of(values, median), location = median, error = 0;
    if (spread > 0) {
        residuals r = {values, median, biweight_reach * spread};
        location = location_of(&r);
        error = error_of(&r);
    }
    p.valid = true;
    p.ratio = exp(location);
    p.ci95 = interval_of(location, error, 0.95, values.count);
    p.ci99 = interval_of(location, error, 0.99, values.count);
    p.verdict = verdict_of(&p);
    return p;
}

const char *mmrec_verdict_name(mmrec_verdict verdict) {
    static const char *const names[] = {"faster", "slower", "same", "unclear"};
    return (unsigned)verdict < sizeof names / sizeof *names ? names[verdict] : "?";
}
