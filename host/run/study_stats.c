/* Estimates over seeds. There are few seeds, and their scatter is unknown: Student's t. */
#include <math.h>

#include "measure/stats_impl.h"
#include "run/study.h"

/* Mean and sum of squares in one pass (Welford): equal values give a deviation of exactly 0. */
typedef struct moments {
    int count;
    double mean, squares;
} moments;

static moments moments_of(const double *values, int count) {
    moments m = {0};
    for (int i = 0; i < count; i++) {
        if (!isfinite(values[i])) continue;
        double distance = values[i] - m.mean;
        m.count++;
        m.mean += distance / m.count;
        m.squares += distance * (values[i] - m.mean);
    }
    return m;
}

study_estimate study_estimate_of(const double *values, int count, double level) {
    moments m = moments_of(values, count);
    study_estimate e = {.count = m.count, .mean = m.mean};
    if (m.count < 2) return e;
    double freedom = m.count - 1, half = 0;
    if (m.squares > 0) half = measure_t_quantile(level, freedom) * sqrt(m.squares / freedom / m.count);
    e.has_interval = true;
    e.interval = (mmrec_interval){m.mean - half, m.mean + half};
    return e;
}
