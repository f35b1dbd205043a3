/* Sampling: order, stop rules, warm-up, interrupts, faults.
 *
 * Time is made up: the linker puts the two functions below in the place of the library's clock, and only a fake subject
 * moves it on. So no busy machine can change what these tests see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "measure/beside.h"

enum { LOG = 4096 };

/* ---- the clock ---- */

static uint64_t clock_now_ns = 1;

uint64_t __wrap_mmrec_clock_ns(void);
double __wrap_mmrec_clock_seconds_since(uint64_t start_ns);

/* Reading it costs a little, as that of a computer does. */
uint64_t __wrap_mmrec_clock_ns(void) { return clock_now_ns += 30; }
double __wrap_mmrec_clock_seconds_since(uint64_t start_ns) { return (double)(mmrec_clock_ns() - start_ns) * 1e-9; }

/* ---- what is sampled ---- */

/* A subject that takes a given time and writes down when it was called. */
typedef struct fake {
    char *log; /* shared by the sides */
    int *used;
    char name;
    double ns;
    double wild; /* two runs of four take so much longer, as a factor; 0: all take the same */
    int runs, prepared;
    int interrupt_at, fail_at; /* run, from 1; 0: never */
} fake;

static mmrec_status run(void *context, mmrec_error *error) {
    fake *f = context;
    f->runs++;
    if (f->log && *f->used < LOG) f->log[(*f->used)++] = f->name;
    if (f->runs == f->interrupt_at) mmrec_measure_interrupt();
    if (f->runs == f->fail_at) MMREC_FAIL(error, MMREC_INTERNAL, "this run fails on purpose");
    clock_now_ns += (uint64_t)(f->ns * (f->runs % 4 < 2 ? 1 + f->wild : 1));
    return MMREC_OK;
}

static mmrec_status prepare(void *context, mmrec_error *error) {
    (void)error;
    ((fake *)context)->prepared++;
    return MMREC_OK;
}

static const mmrec_progress silent = {NULL, NULL};

static mmrec_sampling brief(void) {
    mmrec_sampling s = mmrec_sampling_default();
    s.warmup_s = 0.001;
    s.min_time_s = 0;
    s.max_time_s = 5;
    return s;
}

static mmrec_status measure(mmrec_allocator *allocator, fake *f, const mmrec_sampling *sampling, mmrec_series *out,
                            mmrec_error *error) {
    return mmrec_measure(allocator, (mmrec_subject){.run = run, .context = f}, sampling, silent, out, error);
}

static void stops_at_the_most_samples(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    fake f = {.ns = 30e3};
    mmrec_series series;
    sampling.min_samples = sampling.max_samples = 37;
    assert_int_equal(measure(&allocator, &f, &sampling, &series, NULL), MMREC_OK);
    assert_int_equal(series.count, 37);
    assert_int_equal(series.stop, MMREC_STOP_SAMPLES);
    assert_int_equal(f.runs, 37 + series.warmup_runs);
    assert_true(series.stats.valid && series.stats.count == 37);
    assert_true(series.stats.min >= 30e3);
    assert_int_equal(series.runs_per_sample, 1);
    mmrec_series_free(&allocator, &series);
    assert_int_equal(allocator.total.live_bytes, 0);
    assert_null(series.samples_ns);
}

static void stops_when_the_interval_is_narrow(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    fake f = {.ns = 100e3};
    mmrec_series series;
    sampling.target_ci = 0.2;
    sampling.min_time_s = 0.01;
    f.wild = 0.1;
    assert_int_equal(measure(&allocator, &f, &sampling, &series, NULL), MMREC_OK);
    assert_int_equal(series.stop, MMREC_STOP_CI);
    assert_true(series.count >= sampling.min_samples);
    assert_true(series.count * series.stats.mean >= 0.01e9);
    assert_true((series.stats.ci95.high - series.stats.ci95.low) / 2 <= 0.2 * series.stats.median);
    mmrec_series_free(&allocator, &series);
}

static void stops_at_the_cap_on_time(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    fake f = {.ns = 2e6};
    mmrec_series series;
    sampling.target_ci = 0;
    sampling.max_time_s = 0.05;
    uint64_t start = mmrec_clock_ns();
    assert_int_equal(measure(&allocator, &f, &sampling, &series, NULL), MMREC_OK);
    assert_int_equal(series.stop, MMREC_STOP_TIME);
    assert_in_range(series.count, 24, 25);
    assert_true(mmrec_clock_ns() - start < 100000000u);
    mmrec_series_free(&allocator, &series);
}

/* The cap on time waits for as many samples as a ratio needs. */
static void takes_the_least_samples(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    fake f = {.ns = 5e6};
    mmrec_series series;
    sampling.target_ci = 0;
    sampling.max_time_s = 0.001;
    sampling.least_samples = 8;
    assert_int_equal(measure(&allocator, &f, &sampling, &series, NULL), MMREC_OK);
    assert_int_equal(series.stop, MMREC_STOP_TIME);
    assert_int_equal(series.count, 8);
    mmrec_series_free(&allocator, &series);
}

static void takes_one_sample_however_long(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    fake f = {.ns = 20e6};
    mmrec_series series;
    sampling.warmup_s = 0;
    sampling.max_time_s = 0.001;
    assert_int_equal(measure(&allocator, &f, &sampling, &series, NULL), MMREC_OK);
    assert_int_equal(series.count, 1);
    assert_int_equal(series.stop, MMREC_STOP_TIME);
    assert_int_equal(series.warmup_runs, 1);
    mmrec_series_free(&allocator, &series);
}

/* A machine that never settles is measured all the same: a tenth of the cap is spent on waiting for it. */
static void warm_up_ends_without_settling(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    fake f = {.ns = 1e6, .wild = 2};
    mmrec_series series;
    sampling.min_samples = sampling.max_samples = 20;
    assert_int_equal(measure(&allocator, &f, &sampling, &series, NULL), MMREC_OK);
    assert_true(series.warmup_s >= 0.5 && series.warmup_s < 0.51);
    assert_int_equal(series.count, 20);
    mmrec_series_free(&allocator, &series);
    f = (fake){.ns = 1e6};
    assert_int_equal(measure(&allocator, &f, &sampling, &series, NULL), MMREC_OK);
    assert_int_equal(series.warmup_runs, 7); /* five medians of three neighbours, all alike */
    mmrec_series_free(&allocator, &series);
}

static void short_runs_are_repeated_within_a_sample(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    fake f = {.ns = 1000};
    mmrec_series series;
    sampling.min_samples = sampling.max_samples = 20;
    assert_int_equal(measure(&allocator, &f, &sampling, &series, NULL), MMREC_OK);
    assert_int_equal(series.runs_per_sample, 20); /* 20 us of runs of 1 us and a little */
    assert_int_equal(f.runs, 20 * series.runs_per_sample + series.warmup_runs);
    assert_true(series.stats.median >= 1000 && series.stats.median < 20e3);
    mmrec_series_free(&allocator, &series);
}

static void prepare_runs_before_every_run(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    fake f = {.ns = 500};
    mmrec_series series;
    sampling.min_samples = sampling.max_samples = 20;
    mmrec_subject subject = {.run = run, .context = &f, .prepare = prepare};
    assert_int_equal(mmrec_measure(&allocator, subject, &sampling, silent, &series, NULL), MMREC_OK);
    assert_int_equal(series.runs_per_sample, 1); /* a repeated run would be an unprepared one */
    assert_int_equal(f.prepared, f.runs);
    mmrec_series_free(&allocator, &series);
}

/* After the warm-up the order is a b b a, over and over. */
static void pairs_are_taken_in_abba_order(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    char log[LOG];
    int used = 0;
    fake a = {.log = log, .used = &used, .name = 'a', .ns = 40e3},
         b = {.log = log, .used = &used, .name = 'b', .ns = 80e3};
    mmrec_series series_a, series_b;
    mmrec_paired paired;
    sampling.min_samples = sampling.max_samples = 24;
    assert_int_equal(mmrec_measure_pair(&allocator, (mmrec_subject){.run = run, .context = &a},
                                        (mmrec_subject){.run = run, .context = &b}, &sampling, silent, &series_a,
                                        &series_b, &paired, NULL),
                     MMREC_OK);
    int warm = series_a.warmup_runs + series_b.warmup_runs;
    assert_int_equal(series_a.warmup_runs, series_b.warmup_runs);
    assert_int_equal(used, warm + 48);
    for (int i = 0; i < 48; i++) assert_int_equal(log[warm + i], "abba"[i % 4]);
    assert_int_equal(series_a.count, 24);
    assert_int_equal(series_b.count, 24);
    assert_int_equal(paired.pairs, 24);
    assert_int_equal(paired.verdict, MMREC_SLOWER); /* B takes twice as long */
    assert_true(paired.ratio > 1.5);
    mmrec_series_free(&allocator, &series_a);
    mmrec_series_free(&allocator, &series_b);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void an_interrupt_ends_after_the_sample(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    fake f = {.ns = 50e3};
    mmrec_series series;
    sampling.target_ci = 0;
    f.interrupt_at = 400;
    assert_int_equal(measure(&allocator, &f, &sampling, &series, NULL), MMREC_OK);
    assert_true(mmrec_measure_interrupted());
    assert_int_equal(f.runs, 400);
    assert_int_equal(series.stop, MMREC_STOP_INTERRUPT);
    assert_int_equal(series.count, 400 - series.warmup_runs);
    assert_true(series.stats.valid);
    mmrec_series_free(&allocator, &series);
    /* Still interrupted: nothing is run, and nothing is made up. */
    f.runs = 0;
    assert_int_equal(measure(&allocator, &f, &sampling, &series, NULL), MMREC_OK);
    assert_int_equal(f.runs, 0);
    assert_int_equal(series.count, 0);
    assert_false(series.stats.valid);
    mmrec_series_free(&allocator, &series);
    mmrec_measure_interrupt_clear();
    assert_false(mmrec_measure_interrupted());
}

static void an_interrupted_pair_keeps_whole_pairs(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    fake a = {.ns = 50e3}, b = {.ns = 50e3, .interrupt_at = 301};
    mmrec_series series_a, series_b;
    mmrec_paired paired;
    sampling.target_ci = 0;
    assert_int_equal(mmrec_measure_pair(&allocator, (mmrec_subject){.run = run, .context = &a},
                                        (mmrec_subject){.run = run, .context = &b}, &sampling, silent, &series_a,
                                        &series_b, &paired, NULL),
                     MMREC_OK);
    mmrec_measure_interrupt_clear();
    assert_int_equal(series_a.stop, MMREC_STOP_INTERRUPT);
    assert_in_range(series_a.count - series_b.count + 1, 0, 2);
    assert_true(paired.pairs <= series_a.count && paired.pairs <= series_b.count);
    mmrec_series_free(&allocator, &series_a);
    mmrec_series_free(&allocator, &series_b);
}

static void failures_leave_nothing_behind(void **state) {
    (void)state;
    mmrec_sampling sampling = brief();
    mmrec_error error;
    sampling.min_samples = sampling.max_samples = 40;
    for (uint64_t k = 1; k <= 3; k++) { /* room grows 8, 16, 32, 64 */
        mmrec_allocator allocator = {.fail_at = k};
        fake f = {.ns = 20e3};
        mmrec_series series;
        assert_int_equal(measure(&allocator, &f, &sampling, &series, &error), MMREC_NO_MEMORY);
        assert_int_equal(error.code, MMREC_NO_MEMORY);
        assert_null(series.samples_ns);
        assert_int_equal(allocator.total.live_bytes, 0);
    }
    for (int at = 1; at <= 31; at += 10) { /* in the warm-up and while sampling */
        mmrec_allocator allocator = {0};
        fake a = {.ns = 20e3}, b = {.ns = 20e3, .fail_at = at};
        mmrec_series series_a, series_b;
        mmrec_paired paired;
        mmrec_error_clear(&error);
        mmrec_status status = mmrec_measure_pair(&allocator, (mmrec_subject){.run = run, .context = &a},
                                                 (mmrec_subject){.run = run, .context = &b}, &sampling, silent,
                                                 &series_a, &series_b, &paired, &error);
        assert_int_equal(status, MMREC_INTERNAL);
        assert_non_null(strstr(error.message, "on purpose"));
        assert_int_equal(error.frames, 1);
        assert_int_equal(allocator.total.live_bytes, 0);
        assert_false(paired.valid);
    }
}

static void impossible_sampling_is_refused(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    fake f = {.ns = 1000};
    mmrec_sampling wrong[6];
    for (int i = 0; i < 6; i++) wrong[i] = brief();
    wrong[0].max_samples = 0;
    wrong[1].min_samples = wrong[1].max_samples + 1;
    wrong[2].max_time_s = 0;
    wrong[3].min_time_s = NAN;
    wrong[4].target_ci = -0.01;
    wrong[5].warmup_s = -1;
    for (int i = 0; i < 6; i++) {
        mmrec_error error;
        mmrec_series series;
        mmrec_error_clear(&error);
        assert_int_equal(measure(&allocator, &f, &wrong[i], &series, &error), MMREC_CONFIG);
        assert_true(error.message[0] != 0);
        assert_int_equal(f.runs, 0);
    }
}

static void count_ticks(void *context, double done) {
    double *last = context;
    assert_true(done >= *last && done <= 1);
    *last = done;
}

static void progress_grows_to_one(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_sampling sampling = brief();
    fake f = {.ns = 20e3};
    mmrec_series series;
    double last = 0;
    sampling.min_samples = sampling.max_samples = 50;
    assert_int_equal(mmrec_measure(&allocator, (mmrec_subject){.run = run, .context = &f}, &sampling,
                                   (mmrec_progress){count_ticks, &last}, &series, NULL),
                     MMREC_OK);
    assert_true(last == 1);
    mmrec_series_free(&allocator, &series);
}

/* ---- a ceiling beside a series ---- */

/* A machine that works at 8 GFLOP/s, or slower by a factor that grows while a subject runs on it. */
typedef struct fake_machine {
    char log[LOG];
    int used, rates;
    double slower, growth;
} fake_machine;

static double fake_rate(void *context, mmrec_ceiling which) {
    fake_machine *m = context;
    assert_int_equal(which, MMREC_CEILING_SGEMM);
    m->log[m->used++] = 'c';
    m->rates++;
    clock_now_ns += 1000 * 1000;
    return 8e9 / m->slower;
}

static mmrec_status run_on(void *context, mmrec_error *error) {
    (void)error;
    fake_machine *m = context;
    m->log[m->used++] = 's';
    m->slower *= m->growth;
    clock_now_ns += (uint64_t)(1e6 * m->slower);
    return MMREC_OK;
}

/* 40 samples of 4 MFLOP that take 1 ms each on a machine that is not slower: half of its rate. */
static mmrec_status measure_beside(mmrec_allocator *allocator, fake_machine *m, mmrec_stats *share) {
    mmrec_ceiling_source source = {.rate = fake_rate, .context = m};
    ceiling_beside beside = {.allocator = allocator, .source = &source};
    mmrec_beside hook = {ceiling_beside_run, &beside};
    mmrec_sampling sampling = brief();
    mmrec_series series = {0};
    sampling.warmup_s = 0;
    sampling.min_samples = sampling.max_samples = 40;
    sampling.beside = &hook;
    mmrec_status status =
        mmrec_measure(allocator, (mmrec_subject){.run = run_on, .context = m}, &sampling, silent, &series, NULL);
    if (status == MMREC_OK) status = ceiling_beside_share(&beside, &series, 4e6, share, NULL);
    mmrec_series_free(allocator, &series);
    ceiling_beside_free(&beside);
    assert_int_equal(allocator->total.live_bytes, 0);
    return status;
}

static void a_ceiling_is_taken_between_samples(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    fake_machine m = {.slower = 1, .growth = 1};
    mmrec_stats share;
    assert_int_equal(measure_beside(&allocator, &m, &share), MMREC_OK);
    const char *first = memchr(m.log, 'c', (size_t)m.used);
    assert_non_null(first);
    assert_int_equal(m.log + m.used - first, 40 + m.rates);
    assert_memory_equal(first, "cssscssscsssc", 13);
    assert_int_equal(m.log[m.used - 1], 'c');
    assert_int_equal(m.rates, 1 + 14); /* the last window holds one sample */
    assert_int_equal(share.count, 14);
    assert_true(fabs(share.min - 0.5) < 1e-4 && fabs(share.max - 0.5) < 1e-4);
}

/* A machine that is 50 times slower at the end than at the start: against the rate at the start the median sample would
 * come to 0.07, and the last to 0.01. */
static void a_share_holds_on_a_machine_that_slows_down(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    fake_machine m = {.slower = 1, .growth = 1.1};
    mmrec_stats share;
    assert_int_equal(measure_beside(&allocator, &m, &share), MMREC_OK);
    assert_true(m.slower > 40);
    assert_true(share.min > 0.5 / 1.1 && share.max < 0.5 * 1.1);
}

static void a_window_is_a_median_over_the_rates_at_its_ends(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    double samples[] = {1000, 4000, 2000, 1000, 0};
    ceiling_mark marks[] = {{1e9, 0}, {4e9, 3}, {4e9, 4}, {1e9, 5}};
    mmrec_series series = {.samples_ns = samples, .count = 5};
    ceiling_beside beside = {.allocator = &allocator, .marks = marks, .count = 4};
    mmrec_stats share;
    assert_int_equal(ceiling_beside_share(&beside, &series, 4000, &share, NULL), MMREC_OK);
    /* 4000 / 2 us over 2e9; 4000 / 1 us over 4e9; a sample of 0 counts as 1 ns. */
    assert_int_equal(share.count, 3);
    assert_true(fabs(share.min - 1) < 1e-12 && fabs(share.median - 1) < 1e-12 && fabs(share.max - 2000) < 1e-9);
    series.count = 4; /* a sample that was told of is not there */
    assert_int_equal(ceiling_beside_share(&beside, &series, 4000, &share, NULL), MMREC_OK);
    assert_false(share.valid);
    beside.count = 1;
    assert_int_equal(ceiling_beside_share(&beside, &series, 4000, &share, NULL), MMREC_OK);
    assert_false(share.valid);
}

static void no_memory_beside_a_series(void **state) {
    (void)state;
    mmrec_allocator clean = {0};
    fake_machine m = {.slower = 1, .growth = 1};
    mmrec_stats share;
    assert_int_equal(measure_beside(&clean, &m, &share), MMREC_OK);
    assert_true(clean.attempts > 4);
    for (uint64_t k = 1; k <= clean.attempts; k++) {
        mmrec_allocator allocator = {.fail_at = k};
        m = (fake_machine){.slower = 1, .growth = 1};
        assert_int_equal(measure_beside(&allocator, &m, &share), MMREC_NO_MEMORY);
    }
}

static void names(void **state) {
    (void)state;
    assert_string_equal(mmrec_stop_reason_name(MMREC_STOP_CI), "interval");
    assert_string_equal(mmrec_stop_reason_name(MMREC_STOP_TIME), "time");
    assert_string_equal(mmrec_stop_reason_name(MMREC_STOP_SAMPLES), "samples");
    assert_string_equal(mmrec_stop_reason_name(MMREC_STOP_INTERRUPT), "interrupt");
    assert_string_equal(mmrec_stop_reason_name((mmrec_stop_reason)9), "?");
    assert_string_equal(mmrec_ceiling_name(MMREC_CEILING_SGEMM), "sgemm");
    assert_string_equal(mmrec_ceiling_name(MMREC_CEILING_COPY), "copy");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_at_the_most_samples),
        cmocka_unit_test(stops_when_the_interval_is_narrow),
        cmocka_unit_test(stops_at_the_cap_on_time),
        cmocka_unit_test(takes_the_least_samples),
        cmocka_unit_test(takes_one_sample_however_long),
        cmocka_unit_test(warm_up_ends_without_settling),
        cmocka_unit_test(short_runs_are_repeated_within_a_sample),
        cmocka_unit_test(prepare_runs_before_every_run),
        cmocka_unit_test(pairs_are_taken_in_abba_order),
        cmocka_unit_test(an_interrupt_ends_after_the_sample),
        cmocka_unit_test(an_interrupted_pair_keeps_whole_pairs),
        cmocka_unit_test(failures_leave_nothing_behind),
        cmocka_unit_test(impossible_sampling_is_refused),
        cmocka_unit_test(progress_grows_to_one),
        cmocka_unit_test(a_ceiling_is_taken_between_samples),
        cmocka_unit_test(a_share_holds_on_a_machine_that_slows_down),
        cmocka_unit_test(a_window_is_a_median_over_the_rates_at_its_ends),
        cmocka_unit_test(no_memory_beside_a_series),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
