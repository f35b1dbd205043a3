#include "guard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double normal_deviation = 1.4826, least_share = 1e-3, least = 1e-12;

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the values. */
static double median(double *values, int64_t count) {
    qsort(values, (size_t)count, sizeof *values, ascending);
    double low = values[(count - 1) / 2], high = values[count / 2];
    return low + (high - low) / 2;
}

double guard_score(const guard *g, double loss) {
    double values[MMREC_GUARD_WINDOW];
    if (g->count < MMREC_GUARD_LEAST || !isfinite(loss)) return NAN;
    memcpy(values, g->window, (size_t)g->count * sizeof *values);
    double middle = median(values, g->count);
    for (int64_t i = 0; i < g->count; i++) values[i] = fabs(values[i] - middle);
    double deviation = normal_deviation * median(values, g->count);
    double floor = fmax(least_share * fabs(middle), least);
    return (loss - middle) / fmax(deviation, floor);
}

void guard_add(guard *g, double loss) {
    if (!isfinite(loss)) return;
    g->window[g->next] = loss;
    g->next = (g->next + 1) % MMREC_GUARD_WINDOW;
    if (g->count < MMREC_GUARD_WINDOW) g->count++;
}

int64_t guard_losses(const guard *g, double losses[MMREC_GUARD_WINDOW]) {
    int64_t first = g->count < MMREC_GUARD_WINDOW ? 0 : g->next;
    for (int64_t i = 0; i < g->count; i++) losses[i] = g->window[(first + i) % MMREC_GUARD_WINDOW];
    return g->count;
}

void guard_restore(guard *g, const double *losses, int64_t count) {
    memset(g, 0, sizeof *g);
    for (int64_t i = 0; i < count; i++) guard_add(g, losses[i]);
}
