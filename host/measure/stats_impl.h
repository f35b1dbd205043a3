/* What stats.c and paired.c share: order statistics of a computed series without memory of their own, and the
 * inflation of variance by autocorrelation.
 *
 * A series is read through a function, so that the same code ranks samples, distances from a median and log ratios.
 * Nothing here allocates: statistics cannot fail in the middle of a measurement. */
#ifndef MMREC_STATS_IMPL_H
#define MMREC_STATS_IMPL_H

#include "mmrec/measure.h"

typedef struct measure_values {
    double (*at)(const void *context, int i);
    const void *context;
    int count;
} measure_values;

/* Quantile p of type 7 (linear between order statistics); count >= 1, all values finite. */
double measure_quantile(measure_values values, double p);
/* The k-th smallest value, k from 0. */
double measure_order(measure_values values, int k);
/* Median of |value - center|. */
double measure_mad(measure_values values, double center);
/* Variance of the mean of the series over that of as many independent values, at least 1: Geyer's initial positive
 * sequence of autocorrelations. The series must be centred on zero. */
double measure_inflation(measure_values centred);
/* The t with P(|T| <= t) = level for `freedom` >= 1 degrees, whole or not. */
double measure_t_quantile(double level, double freedom);

#endif
