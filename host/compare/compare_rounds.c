/* All rows in turns: whatever else the machine does in the meantime meets them alike, so that what is compared is the
 * rows and not the minutes in which they were measured. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "compare_impl.h"
#include "run/study.h"

/* As long as anyone waits for the few samples without which a row has no interval and no ratio (measure/sampling.c). */
static const double least_box_s = 60;

typedef struct clockwork {
    compare_rounds *r;
    int order[MMREC_COMPARE_ROWS], alive; /* rows that take part */
    int rounds, next_look;
    uint64_t start_ns;
    double sampled_ns; /* of whole steps */
} clockwork;

static bool untimed(const compare_rounds *r) { return r->sampling->meter && r->sampling->meter->untimed; }

static void call_the_roll(clockwork *c) {
    c->alive = 0;
    for (int row = 0; row < c->r->rows; row++) {
        if (!c->r->out[row]) c->order[c->alive++] = row;
    }
}

static void drop(clockwork *c, int row, mmrec_error *error) {
    c->r->out[row] = true;
    for (int part = 0; part < MMREC_PARTS; part++) mmrec_series_free(c->r->allocator, &c->r->series[row][part]);
    c->r->fail(c->r->context, row, error);
}

/* ---- one row's times ---- */

static mmrec_status make_room(const clockwork *c, mmrec_series *s, mmrec_error *error) {
    void *samples = s->samples_ns, *notes = s->notes;
    size_t wanted = (size_t)s->count + 1;
    mmrec_status status =
        mmrec_alloc_grow(c->r->allocator, &samples, &s->capacity, wanted, sizeof(double), MMREC_ALLOC_MEASURE, error);
    s->samples_ns = samples;
    if (status != MMREC_OK || !c->r->sampling->meter) return status;
    status = mmrec_alloc_grow(c->r->allocator, &notes, &s->note_capacity, wanted, sizeof(mmrec_sample_note),
                              MMREC_ALLOC_MEASURE, error);
    s->notes = notes;
    return status;
}

static mmrec_status take(clockwork *c, int row, bool keep, mmrec_error *error) {
    double ns[MMREC_PARTS] = {0};
    mmrec_sample_note notes[MMREC_PARTS];
    memset(notes, 0, sizeof notes);
    MMREC_TRY(c->r->take(c->r->context, row, ns, notes, error));
    for (int part = 0; part < MMREC_PARTS && keep; part++) MMREC_TRY(make_room(c, &c->r->series[row][part], error));
    for (int part = 0; part < MMREC_PARTS; part++) {
        mmrec_series *s = &c->r->series[row][part];
        s->warmup_runs += !keep;
        s->warmup_s += keep || isnan(ns[part]) ? 0 : ns[part] * 1e-9;
        if (!keep || isnan(ns[part])) continue;
        if (s->notes) s->notes[s->count] = notes[part];
        s->samples_ns[s->count++] = ns[part];
    }
    if (keep) c->sampled_ns += ns[MMREC_PART_STEP];
    return MMREC_OK;
}

/* An interrupt ends between two rounds: every row has as many samples. */
static void make_round(clockwork *c, int number, bool keep) {
    int alive = c->alive;
    for (int turn = 0; turn < alive; turn++) {
        mmrec_error error;
        mmrec_error_clear(&error);
        int row = c->order[study_turn(alive, number, turn)];
        if (take(c, row, keep, &error) != MMREC_OK) drop(c, row, &error);
    }
    call_the_roll(c);
}

/* The first round finds threads, code and memory new. */
static void warm_up(clockwork *c) {
    uint64_t start = mmrec_clock_ns();
    int rounds = 0, least = untimed(c->r) ? 0 : 2;
    while (c->alive > 0 && !mmrec_measure_interrupted() &&
           (rounds < least || mmrec_clock_seconds_since(start) < c->r->sampling->warmup_s * c->alive)) {
        if (untimed(c->r)) break;
        make_round(c, rounds++, false);
    }
}

/* ---- when it is enough ---- */

static mmrec_paired pair(const compare_rounds *r, int row, int part) {
    const mmrec_series *a = &r->series[0][part], *b = &r->series[row][part];
    mmrec_paired none = {.verdict = MMREC_UNCLEAR};
    if (row == 0 || r->out[0] || r->out[row] || a->count == 0) return none;
    return mmrec_paired_of(a->samples_ns, b->samples_ns, a->count < b->count ? a->count : b->count);
}

static bool narrow(const clockwork *c) {
    double target = c->r->sampling->target_ci;
    for (int i = 0; i < c->alive; i++) {
        const mmrec_series *s = &c->r->series[c->order[i]][MMREC_PART_STEP];
        mmrec_stats stats = mmrec_stats_of(s->samples_ns, s->count);
        if (!(stats.valid && (stats.ci95.high - stats.ci95.low) / 2 < target * stats.median)) return false;
        mmrec_paired paired = pair(c->r, c->order[i], MMREC_PART_STEP);
        if (paired.valid && !((paired.ci95.high - paired.ci95.low) / 2 < target * paired.ratio)) return false;
    }
    return true;
}

/* Each look is a chance to stop on a lucky one: every eighth more samples, not at each (measure/sampling.c). */
static bool look(clockwork *c) {
    if (c->rounds < c->next_look) return false;
    c->next_look = c->rounds + (c->rounds / 8 > 2 ? c->rounds / 8 : 2);
    return narrow(c);
}

static bool finished(clockwork *c, mmrec_stop_reason *stop) {
    const mmrec_sampling *wanted = c->r->sampling;
    double elapsed = mmrec_clock_seconds_since(c->start_ns), most = wanted->max_time_s * c->alive;
    double next = elapsed + elapsed / fmax(c->rounds, 1);
    if (c->rounds < wanted->least_samples) most = fmax(most, least_box_s);
    *stop = MMREC_STOP_INTERRUPT;
    if (mmrec_measure_interrupted() || c->alive == 0) return true;
    *stop = MMREC_STOP_SAMPLES;
    if (c->rounds >= wanted->max_samples || (untimed(c->r) && c->rounds > 0)) return true;
    *stop = MMREC_STOP_TIME;
    if (c->rounds > 0 && next > most) return true;
    *stop = MMREC_STOP_CI;
    bool whole = c->rounds % 2 == 0; /* an order and its reverse */
    return whole && c->rounds >= wanted->min_samples && c->sampled_ns * 1e-9 >= wanted->min_time_s * c->alive &&
           look(c);
}

static void tick(const clockwork *c) {
    if (!c->r->tick) return;
    double time = mmrec_clock_seconds_since(c->start_ns) / (c->r->sampling->max_time_s * fmax(c->alive, 1));
    c->r->tick(c->r->context, fmin(1, fmax(time, (double)c->rounds / c->r->sampling->max_samples)));
}

/* ---- the end ---- */

static void conclude_series(const compare_rounds *r, mmrec_series *s, mmrec_stop_reason stop, double waited_share) {
    s->stop = stop;
    s->runs_per_sample = 1;
    s->waited_share = waited_share;
    if (untimed(r)) {
        s->untimed = r->sampling->meter->untimed;
        s->count = 0;
    }
    s->stats = mmrec_stats_of(s->samples_ns, s->count);
    for (int i = 0; i < s->count && s->notes; i++) s->throttled += (s->notes[i].throttle & MMREC_THROTTLED) != 0;
}

static void conclude(const clockwork *c, mmrec_stop_reason stop, double waited_share) {
    const compare_rounds *r = c->r;
    for (int i = 0; i < c->alive; i++) {
        for (int part = 0; part < MMREC_PARTS; part++)
            conclude_series(r, &r->series[c->order[i]][part], stop, waited_share);
    }
    for (int row = 0; row < r->rows; row++) {
        for (int part = 0; part < MMREC_PARTS; part++) r->paired[row][part] = pair(r, row, part);
    }
}

/* What fails is left out: the rows' own times stand without it. */
static void run_beside(const clockwork *c, bool last) {
    const mmrec_beside *beside = c->r->beside;
    mmrec_error error;
    mmrec_error_clear(&error);
    if (beside && beside->run(beside->context, c->rounds, last, &error) != MMREC_OK) c->r->beside = NULL;
}

void compare_rounds_run(compare_rounds *rounds) {
    clockwork c = {.r = rounds};
    mmrec_stop_reason stop = MMREC_STOP_INTERRUPT;
    call_the_roll(&c);
    warm_up(&c);
    double waited_s = mmrec_machine_waited_s();
    c.start_ns = mmrec_clock_ns();
    while (!finished(&c, &stop)) {
        run_beside(&c, false);
        make_round(&c, c.rounds++, true);
        tick(&c);
    }
    run_beside(&c, true);
    double threads_s = mmrec_clock_seconds_since(c.start_ns) * omp_get_max_threads();
    waited_s = mmrec_machine_waited_s() - waited_s;
    conclude(&c, stop, fmin(1, waited_s / fmax(threads_s, 1e-9)));
}
