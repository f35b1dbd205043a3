/* A step of AdamW on the host, over the real type of adamw_formula.h. No sum depends on the number of threads. */
#include "adamw_formula.h"

/* Elements [first, end) of a range. */
typedef struct ADAMW_NAME(piece) {
    const mmrec_adamw_range *range;
    int64_t first, end;
} ADAMW_NAME(piece);

static ADAMW_NAME(piece) ADAMW_NAME(piece_of)(const mmrec_adamw_call *call, int64_t chunk) {
    const mmrec_adamw_range *range = adamw_range_of(call->ranges, call->range_count, chunk);
    int64_t first = (chunk - range->chunk) * MMREC_ADAMW_CHUNK, end = first + MMREC_ADAMW_CHUNK;
    ADAMW_NAME(piece) piece = {range, first, end < range->count ? end : range->count};
    return piece;
}

/* In eight interleaved sums, so that the additions need not wait for each other. */
static double ADAMW_NAME(squares)(const ADAMW_REAL *gradient, int64_t count) {
    double lane[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        for (int k = 0; k < 8; k++) lane[k] += (double)gradient[i + k] * (double)gradient[i + k];
    }
    for (int k = 0; i < count; i++, k++) lane[k] += (double)gradient[i] * (double)gradient[i];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static double ADAMW_NAME(sum_of_squares)(const mmrec_adamw_call *call) {
    int64_t parts = call->chunk_count < MMREC_ADAMW_PARTS ? call->chunk_count : MMREC_ADAMW_PARTS;
#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < parts; part++) {
        double sum = 0;
        for (int64_t chunk = part; chunk < call->chunk_count; chunk += MMREC_ADAMW_PARTS) {
            ADAMW_NAME(piece) piece = ADAMW_NAME(piece_of)(call, chunk);
            const ADAMW_REAL *gradient = (const ADAMW_REAL *)piece.range->gradient;
            sum += ADAMW_NAME(squares)(gradient + piece.first, piece.end - piece.first);
        }
        call->partials[part] = sum;
    }
    double sum = 0;
    for (int64_t part = 0; part < parts; part++) sum += call->partials[part];
    return sum;
}

static void ADAMW_NAME(update)(const ADAMW_NAME(piece) * piece, const ADAMW_NAME(factors) * f) {
    ADAMW_REAL *restrict w = (ADAMW_REAL *)piece->range->parameter + piece->first;
    ADAMW_REAL *restrict m = (ADAMW_REAL *)piece->range->first + piece->first;
    ADAMW_REAL *restrict v = (ADAMW_REAL *)piece->range->second + piece->first;
    const ADAMW_REAL *restrict gradient = (const ADAMW_REAL *)piece->range->gradient + piece->first;
    const ADAMW_NAME(factors) factors = *f;
    ADAMW_REAL shrink = piece->range->decay > 0 ? f->shrink : 1;
    int64_t count = piece->end - piece->first;
    for (int64_t i = 0; i < count; i++) {
        ADAMW_NAME(element)(&factors, shrink, gradient[i], &w[i], &m[i], &v[i]);
    }
}

static void ADAMW_NAME(step)(const mmrec_adamw_call *call) {
    ADAMW_NAME(factors) f;
    if (!ADAMW_NAME(begin)(call->state, ADAMW_NAME(sum_of_squares)(call), &f)) return;
#pragma omp parallel for schedule(static)
    for (int64_t chunk = 0; chunk < call->chunk_count; chunk++) {
        ADAMW_NAME(piece) piece = ADAMW_NAME(piece_of)(call, chunk);
        ADAMW_NAME(update)(&piece, &f);
    }
}
