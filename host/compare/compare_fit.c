/* Figures made of what was measured: power laws through points, and the Pareto front. */
#include <math.h>

#include "compare_impl.h"
#include "measure/stats_impl.h"

/* ---- power laws ---- */

/* Sums over points (log at, log value). */
typedef struct sums {
    int count;
    double x, y;       /* means */
    double xx, xy, yy; /* of products of distances from them */
} sums;

static bool usable(double at, double value) { return at > 0 && value > 0 && isfinite(at) && isfinite(value); }

static sums sums_of(const double *at, const double *values, int count) {
    sums s = {0};
    for (int i = 0; i < count; i++) {
        if (!usable(at[i], values[i])) continue;
        s.count++;
        double dx = log(at[i]) - s.x, dy = log(values[i]) - s.y;
        s.x += dx / s.count;
        s.y += dy / s.count;
        s.xx += dx * (log(at[i]) - s.x);
        s.xy += dx * (log(values[i]) - s.y);
        s.yy += dy * (log(values[i]) - s.y);
    }
    return s;
}

static double residual_at(const sums *s, double exponent, double at, double value) {
    return log(value) - s->y - exponent * (log(at) - s->x);
}

mmrec_compare_fit compare_fit_of(const double *at, const double *values, int count) {
    sums s = sums_of(at, values, count);
    mmrec_compare_fit fit = {0};
    double squares = 0;
    if (s.count < 3 || !(s.xx > 0)) return fit;
    fit.valid = true;
    fit.exponent = s.xy / s.xx;
    for (int i = 0; i < count; i++) {
        if (!usable(at[i], values[i])) continue;
        double residual = residual_at(&s, fit.exponent, at[i], values[i]);
        squares += residual * residual;
        fit.residual = fmax(fit.residual, fabs(residual));
    }
    double freedom = s.count - 2, half = measure_t_quantile(0.95, freedom) * sqrt(squares / freedom / s.xx);
    fit.low = fit.exponent - half;
    fit.high = fit.exponent + half;
    return fit;
}

/* ---- the front ---- */

enum { FIGURES = 3 };

/* Less is better in all of them; infinite where it was not measured, so that what nobody has decides nothing. */
static void figures_of(const mmrec_compare_row *row, double out[FIGURES]) {
    size_t bytes = 0;
    for (int arena = 0; arena < MMREC_ARENAS; arena++) bytes += row->memory.planned[arena];
    const mmrec_stats *step = &row->series[MMREC_PART_STEP].stats;
    const mmrec_compare_quality *q = &row->quality;
    out[0] = step->valid ? step->median : (double)INFINITY;
    out[1] = (double)bytes;
    out[2] = q->seeds > 0 && isfinite(q->loss_mean) ? q->loss_mean : (double)INFINITY;
}

static bool beats(const mmrec_compare_row *a, const mmrec_compare_row *b) {
    double of_a[FIGURES], of_b[FIGURES];
    bool better = false;
    figures_of(a, of_a);
    figures_of(b, of_b);
    for (int i = 0; i < FIGURES; i++) {
        if (of_a[i] > of_b[i]) return false;
        better = better || of_a[i] < of_b[i];
    }
    return better;
}

void compare_front(mmrec_comparison *c) {
    for (int i = 0; i < c->options->count; i++) {
        c->front[i] = !c->row[i].failure[0];
        for (int k = 0; k < c->options->count && c->front[i]; k++) {
            c->front[i] = c->row[k].failure[0] || !beats(&c->row[k], &c->row[i]);
        }
    }
}
