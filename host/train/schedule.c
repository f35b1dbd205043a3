/* The learning rate of a step: warm-up, then half a cosine. */
#include <math.h>

#include "mmrec/train.h"

static const double pi = 3.14159265358979323846;

/* The cosine begins at the full rate with the step after warm-up and has its last value at step steps - 1. */
double mmrec_schedule_rate(const mmrec_schedule *s, int64_t step) {
    double floor = s->final_share * s->rate;
    if (step < s->warmup_steps) return s->rate * ((double)step + 1) / (double)s->warmup_steps;
    int64_t last = s->steps - 1;
    if (step >= last) return floor;
    double share = (double)(step - s->warmup_steps) / (double)(last - s->warmup_steps);
    return floor + (s->rate - floor) * 0.5 * (1 + cos(pi * share));
}
