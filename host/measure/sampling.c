/* Sampling: warm up until settled, then sample until the interval is narrow or a cap is reached. */
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <string.h>

#include "stats_impl.h"

enum { SIDES = 2, SETTLE_WINDOW = 3, SETTLE_MEDIANS = 5, SETTLE_RUNS = SETTLE_WINDOW + SETTLE_MEDIANS - 1 };

/* Running medians this close together count as settled: twice the spread of a quiet machine. */
static const double settle_share = 0.02;
/* Settling may take this share of the cap on sampling: a machine that never settles must still be measured. */
static const double settle_cap_share = 0.1;
/* As long as anyone waits for the few samples without which a large case has no interval and no ratio. */
static const double least_box_s = 60;
/* A shorter run is repeated within one sample: reading the clock costs some 30 ns, and its grain is 10 to 50 ns. */
static const double shortest_sample_ns = 20e3;
enum { MOST_REPEATS = 1000 };

static volatile sig_atomic_t interrupt_flag;

void mmrec_measure_interrupt(void) { interrupt_flag = 1; }
bool mmrec_measure_interrupted(void) { return interrupt_flag != 0; }
void mmrec_measure_interrupt_clear(void) { interrupt_flag = 0; }

mmrec_sampling mmrec_sampling_default(void) {
    return (mmrec_sampling){
        .warmup_s = 0.2, .min_time_s = 0.5, .max_time_s = 6, .target_ci = 0.01, .min_samples = 20, .max_samples = 1000};
}

/* One or two series under way. */
typedef struct sampler {
    mmrec_allocator *allocator;
    const mmrec_sampling *sampling;
    mmrec_progress progress;
    int sides, repeats;
    mmrec_subject subject[SIDES];
    mmrec_series *series[SIDES];
    double recent_ns[SIDES][SETTLE_RUNS]; /* ring of warm-up runs */
    uint64_t start_ns;                    /* of sampling */
    double sampled_ns;                    /* sum of all samples' runs */
    int next_look;                        /* samples at which the interval is computed again */
} sampler;

/* Runs a side `repeats` times and gives the time of one. */
static mmrec_status timed_run(const sampler *s, int side, int repeats, double *ns, mmrec_sample_note *note,
                              mmrec_error *error) {
    const mmrec_subject *subject = &s->subject[side];
    const mmrec_meter *meter = s->sampling->meter;
    if (subject->prepare) MMREC_TRY(subject->prepare(subject->context, error));
    if (meter) return meter->time(meter->context, subject, repeats, ns, note, error);
    uint64_t start = mmrec_clock_ns();
    for (int i = 0; i < repeats; i++) MMREC_TRY(subject->run(subject->context, error));
    *ns = (double)(mmrec_clock_ns() - start) / repeats;
    return MMREC_OK;
}

/* ---- warm-up ---- */

static double median3(double a, double b, double c) { return fmax(fmin(a, b), fmin(fmax(a, b), c)); }

/* The last five medians of three neighbouring runs agree. */
static bool settled(const double ring[SETTLE_RUNS], int runs) {
    if (runs < SETTLE_RUNS) return false;
    double low = INFINITY, high = 0;
    for (int i = 0; i < SETTLE_MEDIANS; i++) {
        double median = median3(ring[(runs + i) % SETTLE_RUNS], ring[(runs + i + 1) % SETTLE_RUNS],
                                ring[(runs + i + 2) % SETTLE_RUNS]);
        low = fmin(low, median);
        high = fmax(high, median);
    }
    return high - low <= settle_share * low;
}

static mmrec_status warm_up_once(sampler *s, mmrec_error *error) {
    for (int side = 0; side < s->sides; side++) {
        double *slot = &s->recent_ns[side][s->series[side]->warmup_runs % SETTLE_RUNS];
        uint64_t start = mmrec_clock_ns();
        mmrec_sample_note note;
        MMREC_TRY_WHILE(timed_run(s, side, 1, slot, &note, error), error, "warming up");
        s->series[side]->warmup_runs++;
        s->series[side]->warmup_s += mmrec_clock_seconds_since(start);
    }
    return MMREC_OK;
}

static bool warm(const sampler *s, double elapsed_s) {
    const mmrec_sampling *wanted = s->sampling;
    bool ready = true;
    for (int side = 0; side < s->sides; side++) {
        ready = ready && settled(s->recent_ns[side], s->series[side]->warmup_runs);
    }
    double least = wanted->warmup_s * s->sides, most = fmax(least, settle_cap_share * wanted->max_time_s * s->sides);
    return elapsed_s >= (ready ? least : most);
}

/* How many runs make a sample long enough for the clock; 1 where something must be prepared between runs. */
static int repeats_for(const sampler *s) {
    double shortest = INFINITY;
    if (s->sampling->meter && s->sampling->meter->once) return 1;
    for (int side = 0; side < s->sides; side++) {
        if (s->subject[side].prepare) return 1;
        for (int i = 0; i < SETTLE_RUNS && i < s->series[side]->warmup_runs; i++) {
            shortest = fmin(shortest, s->recent_ns[side][i]);
        }
    }
    double repeats = ceil(shortest_sample_ns / fmax(shortest, 1));
    return repeats < MOST_REPEATS ? (int)repeats : MOST_REPEATS;
}

static mmrec_status warm_up(sampler *s, mmrec_error *error) {
    uint64_t start = mmrec_clock_ns();
    do {
        if (mmrec_measure_interrupted()) return MMREC_OK;
        MMREC_TRY(warm_up_once(s, error));
    } while (!warm(s, mmrec_clock_seconds_since(start)));
    s->repeats = repeats_for(s);
    return MMREC_OK;
}

/* ---- sampling ---- */

static mmrec_status make_room(const sampler *s, mmrec_series *series, mmrec_error *error) {
    void *samples = series->samples_ns, *notes = series->notes;
    size_t wanted = (size_t)series->count + 1;
    mmrec_status status =
        mmrec_alloc_grow(s->allocator, &samples, &series->capacity, wanted, sizeof(double), MMREC_ALLOC_MEASURE, error);
    series->samples_ns = samples;
    if (status != MMREC_OK || !s->sampling->meter) return status;
    status = mmrec_alloc_grow(s->allocator, &notes, &series->note_capacity, wanted, sizeof(mmrec_sample_note),
                              MMREC_ALLOC_MEASURE, error);
    series->notes = notes;
    return status;
}

static mmrec_status sample(sampler *s, int side, mmrec_error *error) {
    mmrec_series *series = s->series[side];
    mmrec_sample_note note = {.host_ns = (double)NAN};
    double ns = 0;
    MMREC_TRY(make_room(s, series, error));
    MMREC_TRY_WHILE(timed_run(s, side, s->repeats, &ns, &note, error), error, "taking sample %d", series->count + 1);
    if (series->notes) series->notes[series->count] = note;
    series->samples_ns[series->count++] = ns;
    s->sampled_ns += ns * s->repeats;
    return MMREC_OK;
}

/* One sample, or a b b a. An interrupt ends it between two samples. */
static mmrec_status sample_unit(sampler *s, mmrec_error *error) {
    static const int order[] = {0, 1, 1, 0};
    for (int i = 0; i < (s->sides == 1 ? 1 : 4); i++) {
        if (mmrec_measure_interrupted()) return MMREC_OK;
        MMREC_TRY(sample(s, order[i], error));
    }
    return MMREC_OK;
}

static bool narrow(const sampler *s) {
    for (int side = 0; side < s->sides; side++) {
        const mmrec_series *series = s->series[side];
        mmrec_stats stats = mmrec_stats_of(series->samples_ns, series->count);
        double half = (stats.ci95.high - stats.ci95.low) / 2;
        if (!(stats.valid && half < s->sampling->target_ci * stats.median)) return false;
    }
    if (s->sides == 1) return true;
    mmrec_paired paired = mmrec_paired_of(s->series[0]->samples_ns, s->series[1]->samples_ns, s->series[0]->count);
    return paired.valid && (paired.ci95.high - paired.ci95.low) / 2 < s->sampling->target_ci;
}

/* Looking costs time and each look is a chance to stop on a lucky one: every eighth more samples, not at each. */
static bool look(sampler *s, int count) {
    if (count < s->next_look) return false;
    s->next_look = count + (count / 8 > 2 ? count / 8 : 2);
    return narrow(s);
}

/* Until when both sides together may sample, given how many there are of each. */
static double time_for(const sampler *s, int count) {
    bool few = count < s->sampling->least_samples;
    return few ? fmax(least_box_s, s->sampling->max_time_s * s->sides) : s->sampling->max_time_s * s->sides;
}

static bool finished(sampler *s) {
    const mmrec_sampling *wanted = s->sampling;
    int count = s->series[s->sides - 1]->count, unit = s->sides;
    double elapsed = mmrec_clock_seconds_since(s->start_ns), per_unit = elapsed * unit / fmax(count, 1);
    mmrec_stop_reason stop = MMREC_STOP_CI;
    if (mmrec_measure_interrupted())
        stop = MMREC_STOP_INTERRUPT;
    else if (count > 0 && count + unit > wanted->max_samples)
        stop = MMREC_STOP_SAMPLES;
    else if (count > 0 && elapsed + per_unit > time_for(s, count))
        stop = MMREC_STOP_TIME;
    else if (s->sampled_ns * 1e-9 < wanted->min_time_s * s->sides || count < wanted->min_samples || !look(s, count))
        return false;
    for (int side = 0; side < s->sides; side++) s->series[side]->stop = stop;
    return true;
}

static void tick(const sampler *s) {
    if (!s->progress.tick) return;
    double time = mmrec_clock_seconds_since(s->start_ns) / (s->sampling->max_time_s * s->sides);
    double count = (double)s->series[0]->count / s->sampling->max_samples;
    s->progress.tick(s->progress.context, fmin(1, fmax(time, count)));
}

static mmrec_status check_sampling(const mmrec_sampling *s, mmrec_error *error) {
    if (s->max_samples < 1 || s->min_samples > s->max_samples) {
        MMREC_FAIL(error, MMREC_CONFIG, "samples must be at most %d and at least %d: there is no such number",
                   s->max_samples, s->min_samples);
    }
    if (!(s->warmup_s >= 0) || !(s->min_time_s >= 0) || !(s->max_time_s > 0) || !(s->target_ci >= 0)) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "sampling times and the interval must not be negative, and the longest time must be above 0: got "
                   "warm-up %g s, %g to %g s, interval %g",
                   s->warmup_s, s->min_time_s, s->max_time_s, s->target_ci);
    }
    return MMREC_OK;
}

/* The statistics of a series; times that mean nothing are not kept, so that nobody reads them. */
static mmrec_status conclude(const sampler *s, mmrec_series *series, mmrec_error *error) {
    const mmrec_meter *meter = s->sampling->meter;
    void *memory = NULL;
    if (meter && meter->untimed) {
        series->untimed = meter->untimed;
        series->count = 0;
    }
    series->stats = mmrec_stats_of(series->samples_ns, series->count);
    if (!series->notes || series->count == 0) return MMREC_OK;
    size_t count = (size_t)series->count;
    MMREC_TRY(mmrec_alloc_zero(s->allocator, count, sizeof(double), MMREC_ALLOC_MEASURE, &memory, error));
    double *host_ns = memory;
    for (int i = 0; i < series->count; i++) {
        host_ns[i] = series->notes[i].host_ns;
        series->throttled += (series->notes[i].throttle & MMREC_THROTTLED) != 0;
    }
    series->host = mmrec_stats_of(host_ns, series->count);
    mmrec_alloc(s->allocator, memory, count * sizeof(double), 0, MMREC_ALLOC_MEASURE);
    return MMREC_OK;
}

static mmrec_status run_beside(const sampler *s, bool last, mmrec_error *error) {
    const mmrec_beside *beside = s->sampling->beside;
    return beside ? beside->run(beside->context, s->series[0]->count, last, error) : MMREC_OK;
}

static mmrec_status run_sampler(sampler *s, mmrec_error *error) {
    MMREC_TRY(check_sampling(s->sampling, error));
    MMREC_TRY(warm_up(s, error));
    double waited_s = mmrec_machine_waited_s();
    s->start_ns = mmrec_clock_ns();
    while (!finished(s)) {
        MMREC_TRY(run_beside(s, false, error));
        MMREC_TRY(sample_unit(s, error));
        tick(s);
    }
    MMREC_TRY(run_beside(s, true, error));
    double threads_s = mmrec_clock_seconds_since(s->start_ns) * omp_get_max_threads();
    waited_s = mmrec_machine_waited_s() - waited_s;
    for (int side = 0; side < s->sides; side++) {
        mmrec_series *series = s->series[side];
        series->runs_per_sample = s->repeats;
        series->waited_share = fmin(1, waited_s / fmax(threads_s, 1e-9));
        MMREC_TRY(conclude(s, series, error));
    }
    return MMREC_OK;
}

static mmrec_status measure(sampler *s, mmrec_error *error) {
    s->repeats = 1;
    for (int side = 0; side < s->sides; side++) memset(s->series[side], 0, sizeof *s->series[side]);
    mmrec_status status = run_sampler(s, error);
    for (int side = 0; side < s->sides && status != MMREC_OK; side++) mmrec_series_free(s->allocator, s->series[side]);
    return status;
}

mmrec_status mmrec_measure(mmrec_allocator *allocator, mmrec_subject subject, const mmrec_sampling *sampling,
                           mmrec_progress progress, mmrec_series *out, mmrec_error *error) {
    sampler s = {.allocator = allocator, .sampling = sampling, .progress = progress, .sides = 1};
    s.subject[0] = subject;
    s.series[0] = out;
    return measure(&s, error);
}

mmrec_status mmrec_measure_pair(mmrec_allocator *allocator, mmrec_subject a, mmrec_subject b,
                                const mmrec_sampling *sampling, mmrec_progress progress, mmrec_series *out_a,
                                mmrec_series *out_b, mmrec_paired *paired, mmrec_error *error) {
    sampler s = {.allocator = allocator, .sampling = sampling, .progress = progress, .sides = SIDES};
    s.subject[0] = a;
    s.subject[1] = b;
    s.series[0] = out_a;
    s.series[1] = out_b;
    memset(paired, 0, sizeof *paired);
    MMREC_TRY(measure(&s, error));
    int pairs = out_a->count < out_b->count ? out_a->count : out_b->count;
    *paired = mmrec_paired_of(out_a->samples_ns, out_b->samples_ns, pairs);
    return MMREC_OK;
}

void mmrec_series_free(mmrec_allocator *allocator, mmrec_series *series) {
    mmrec_alloc(allocator, series->samples_ns, series->capacity * sizeof(double), 0, MMREC_ALLOC_MEASURE);
    mmrec_alloc(allocator, series->notes, series->note_capacity * sizeof(mmrec_sample_note), 0, MMREC_ALLOC_MEASURE);
    memset(series, 0, sizeof *series);
}

const char *mmrec_stop_reason_name(mmrec_stop_reason reason) {
    static const char *const names[] = {"interval", "time", "samples", "interrupt"};
    return (unsigned)reason < sizeof names / sizeof *names ? names[reason] : "?";
}
