/* A ceiling measured beside a series (beside.h). */
#include "beside.h"

#include <math.h>

/* A window lasts this many times as long as it takes to measure the ceiling, 100 ms for a sgemm on two processors:
 * short, since a virtual machine was seen to change its speed by a third from one second to the next, and most of it
 * samples. */
static const double window_length = 3;

mmrec_status ceiling_beside_run(void *context, int taken, bool last, mmrec_error *error) {
    ceiling_beside *b = context;
    void *marks = b->marks;
    bool due = !b->count || (last ? taken > b->marks[b->count - 1].taken
                                  : mmrec_clock_seconds_since(b->last_ns) >= window_length * b->took_s);
    if (!due) return MMREC_OK;
    mmrec_status status = mmrec_alloc_grow(b->allocator, &marks, &b->capacity, (size_t)b->count + 1, sizeof *b->marks,
                                           MMREC_ALLOC_MEASURE, error);
    b->marks = marks;
    if (status != MMREC_OK) return status;
    uint64_t start = mmrec_clock_ns();
    b->marks[b->count++] = (ceiling_mark){b->source->rate(b->source->context, b->which), taken};
    b->last_ns = mmrec_clock_ns();
    b->took_s = (double)(b->last_ns - start) * 1e-9;
    return MMREC_OK;
}

static double window_share(const ceiling_mark *mark, const mmrec_series *series, double amount) {
    mmrec_stats window = mmrec_stats_of(series->samples_ns + mark[0].taken, mark[1].taken - mark[0].taken);
    double seconds = fmax(window.median, 1) * 1e-9;
    return amount / seconds / sqrt(mark[0].rate * mark[1].rate);
}

mmrec_status ceiling_beside_share(const ceiling_beside *b, const mmrec_series *series, double amount, mmrec_stats *out,
                                  mmrec_error *error) {
    void *memory = NULL;
    int windows = b->count - 1;
    *out = (mmrec_stats){0};
    if (windows < 1 || series->count < b->marks[windows].taken) return MMREC_OK;
    size_t bytes = (size_t)windows * sizeof(double);
    MMREC_TRY(mmrec_alloc_zero(b->allocator, 1, bytes, MMREC_ALLOC_MEASURE, &memory, error));
    double *shares = memory;
    for (int i = 0; i < windows; i++) shares[i] = window_share(&b->marks[i], series, amount);
    *out = mmrec_stats_of(shares, windows);
    mmrec_alloc(b->allocator, memory, bytes, 0, MMREC_ALLOC_MEASURE);
    return MMREC_OK;
}

void ceiling_beside_free(ceiling_beside *b) {
    mmrec_alloc(b->allocator, b->marks, b->capacity * sizeof *b->marks, 0, MMREC_ALLOC_MEASURE);
    *b = (ceiling_beside){0};
}
