/* Where the parts of a run lie in its scratch memory: recurrence, lstm and gru. */
#ifndef MMREC_RECURRENCE_LAYOUT_H
#define MMREC_RECURRENCE_LAYOUT_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

typedef struct layout_part {
    float **at;   /* becomes its address */
    double count; /* floats */
} layout_part;

/* Lays the parts out from `memory`, each on a multiple of 64 bytes of it; returns the floats used. NULL: counts alone.
 * In double, because infer asks before it refuses sizes whose product leaves the integers; below 2^53 it is exact. */
static double layout_run(const layout_part *parts, size_t count, float *memory) {
    double used = 0;
    for (size_t i = 0; i < count; i++) {
        *parts[i].at = memory ? memory + (int64_t)used : NULL;
        used += 16 * ceil(parts[i].count / 16);
    }
    return used;
}

#endif
