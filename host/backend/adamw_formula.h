/* The arithmetic of AdamW (mmrec/optimizer.h), for the host in double and in float and for the kernel: written once.
 *
 * Whoever includes this defines first:
 *   ADAMW_REAL, ADAMW_NAME(name)   the number type, and the names of this copy
 *   ADAMW_SQRT, ADAMW_LARGEST      its square root and its largest finite number
 *   ADAMW_FUNCTION                 what stands before a function */

/* What all elements of a step share. */
typedef struct ADAMW_NAME(factors) {
    ADAMW_REAL clip, keep1, take1, keep2, take2; /* m <- keep1 m + take1 g, v <- keep2 v + take2 g^2 */
    ADAMW_REAL shrink;                           /* 1 - rate weight_decay */
    ADAMW_REAL rate, root, epsilon;              /* rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */
} ADAMW_NAME(factors);

/* Enters the results of a call in the state; false where the guard acts. */
ADAMW_FUNCTION bool ADAMW_NAME(begin)(mmrec_adamw_state *state, double sum_of_squares, ADAMW_NAME(factors) * f) {
    double norm = sqrt(sum_of_squares);
    double clip = state->clip_norm > 0 && norm > state->clip_norm ? state->clip_norm / norm : 1.0;
    double largest = norm * clip;
    bool good = largest * largest <= (double)ADAMW_LARGEST; /* false for NaN, which infinity times 0 is, too */
    state->gradient_norm = norm;
    state->clip_factor = good ? clip : 1.0;
    state->skipped = good ? 0.0 : 1.0;
    if (!good) return false;
    state->step += 1.0;
    state->power1 *= state->beta1;
    state->power2 *= state->beta2;
    f->clip = (ADAMW_REAL)clip;
    f->keep1 = (ADAMW_REAL)state->beta1;
    f->take1 = (ADAMW_REAL)(1.0 - state->beta1);
    f->keep2 = (ADAMW_REAL)state->beta2;
    f->take2 = (ADAMW_REAL)(1.0 - state->beta2);
    f->shrink = (ADAMW_REAL)(1.0 - state->rate * state->weight_decay);
    f->rate = (ADAMW_REAL)(state->rate / (1.0 - state->power1));
    f->root = (ADAMW_REAL)(1.0 / sqrt(1.0 - state->power2));
    f->epsilon = (ADAMW_REAL)state->epsilon;
    return true;
}

/* One element; `shrink` is f->shrink, or 1 where the parameter does not decay. */
ADAMW_FUNCTION void ADAMW_NAME(element)(const ADAMW_NAME(factors) * f, ADAMW_REAL shrink, ADAMW_REAL gradient,
                                        ADAMW_REAL *w, ADAMW_REAL *m, ADAMW_REAL *v) {
    ADAMW_REAL g = gradient * f->clip;
    *m = f->keep1 * *m + f->take1 * g;
    *v = f->keep2 * *v + f->take2 * (g * g);
    *w = shrink * *w - f->rate * *m / (ADAMW_SQRT(*v) * f->root + f->epsilon);
}

#ifndef ADAMW_RANGE_OF
#define ADAMW_RANGE_OF
/* The range that holds a chunk. */
ADAMW_FUNCTION const mmrec_adamw_range *adamw_range_of(const mmrec_adamw_range *ranges, int64_t count, int64_t chunk) {
    int64_t low = 0, high = count - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (ranges[middle].chunk <= chunk)
            low = middle;
        else
            high = middle - 1;
    }
    return &ranges[low];
}
#endif
