/* A ceiling measured beside a series: taken again and again between its samples, so that both
 * met the same moments. */
#ifndef MMREC_BESIDE_H
#define MMREC_BESIDE_H

#include "mmrec/measure.h"

/* The ceiling's rate, taken when the series had so many samples. */
typedef struct ceiling_mark {
    double rate;
    int taken;
} ceiling_mark;

typedef struct ceiling_beside {
    mmrec_allocator *allocator;
    const mmrec_ceiling_source *source;
    mmrec_ceiling which;
    ceiling_mark *marks; /* owned: ceiling_beside_free */
    int count;
    size_t capacity;
    uint64_t last_ns; /* when the last was taken, and how long that took */
    double took_s;
} ceiling_beside;

/* What `sampling.beside` runs; `context` is a ceiling_beside. */
mmrec_status ceiling_beside_run(void *context, int taken, bool last, mmrec_error *error) MMREC_MUST_CHECK;

/* Statistics, over the windows between two marks, of what a series made of the ceiling: `amount` FLOPs or bytes a run
 * at the median time of the window's samples, over the geometric mean of the rates at its ends. Not valid without a
 * window, and where the series has fewer samples than were told of. */
mmrec_status ceiling_beside_share(const ceiling_beside *beside, const mmrec_series *series, double amount,
                                  mmrec_stats *out, mmrec_error *error) MMREC_MUST_CHECK;
void ceiling_beside_free(ceiling_beside *beside);

#endif
