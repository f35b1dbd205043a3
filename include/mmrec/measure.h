/* Measuring honestly: sampling until the interval is narrow, robust statistics, paired comparison, verdicts.
 *
 * What a figure means, and why these methods: docs/measuring.md. */
#ifndef MMREC_MEASURE_H
#define MMREC_MEASURE_H

#include "mmrec/alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmrec_interval {
    double low, high;
} mmrec_interval;

/* Statistics of one series; every figure is NaN-free, and `valid` is false (with count < 1) when there is nothing. */
typedef struct mmrec_stats {
    bool valid;
    int count;
    double median, mean, min, max, q1, q3, deviation; /* deviation: sample standard deviation, 0 below 2 samples */
    double mad;                                       /* median absolute deviation from the median */
    mmrec_interval ci95;                              /* of the median */
} mmrec_stats;

typedef enum mmrec_verdict { MMREC_FASTER, MMREC_SLOWER, MMREC_SAME, MMREC_UNCLEAR } mmrec_verdict;

/* Two sides measured in alternation. Ratio = B / A of times: below 1, B is faster. */
typedef struct mmrec_paired {
    bool valid;
    int pairs;
    double ratio;         /* of paired samples, robust location */
    mmrec_interval ci95;  /* of the ratio */
    mmrec_interval ci99;  /* faster and slower are decided by this one, so that few of them are wrong */
    mmrec_verdict verdict;
    double same_margin;   /* the half-width around 1 that counts as the same, 0.01 */
    double resolution;    /* `same` also means: contains 1, and ci95 excludes differences of this size, 0.03 */
} mmrec_paired;

typedef enum mmrec_stop_reason { MMREC_STOP_CI, MMREC_STOP_TIME, MMREC_STOP_SAMPLES, MMREC_STOP_INTERRUPT } mmrec_stop_reason;

typedef struct mmrec_sampling {
    double warmup_s;      /* at least this long, and until medians settle */
    double min_time_s;    /* at least this long in samples */
    double max_time_s;    /* cap per series */
    double target_ci;     /* stop when the half-width of the interval is below this share of the median; 0: never */
    int min_samples, max_samples;
    int least_samples;    /* so many are taken even past max_time_s, for up to a minute; 0: no such wish */
} mmrec_sampling;

/* 0.2 s warm-up, 0.5 to 6 s of samples, half-width 1 %, 20 to 1000 samples (docs/measuring.md says why). */
mmrec_sampling mmrec_sampling_default(void);

/* What is sampled: one call does the work once. `prepare` (may be NULL) runs untimed before every run. */
typedef struct mmrec_subject {
    mmrec_status (*run)(void *context, mmrec_error *error);
    void *context;
    mmrec_status (*prepare)(void *context, mmrec_error *error);
} mmrec_subject;

/* One measured series. `samples_ns` is owned (capacity `capacity`, tag MEASURE); mmrec_series_free releases it. */
typedef struct mmrec_series {
    double *samples_ns;
    int count;
    size_t capacity;
    int warmup_runs;
    double warmup_s;
    int runs_per_sample; /* > 1 where one run is too short for the clock: a sample is then their mean */
    mmrec_stop_reason stop;
    double waited_share; /* of the threads' time while sampling (both sides of a pair): ready, but without a processor */
    mmrec_stats stats; /* of samples_ns, in ns */
} mmrec_series;

uint64_t mmrec_clock_ns(void); /* monotonic */
double mmrec_clock_seconds_since(uint64_t start_ns);
/* The date and time now, RFC 3339 UTC: "2000-01-01T00:00:00Z". */
void mmrec_clock_date(char *text, size_t size);

mmrec_stats mmrec_stats_of(const double *samples, int count);
/* Pairs a[i] with b[i], taken in the order a0 b0 b1 a1 a2 b2 b3 a3 ...: two pairs make a block, an odd last pair is left
 * out. Needs 8 pairs to be valid. */
mmrec_paired mmrec_paired_of(const double *a, const double *b, int count);
const char *mmrec_verdict_name(mmrec_verdict verdict);     /* of B against A: "faster", "slower", "same", "unclear" */
const char *mmrec_stop_reason_name(mmrec_stop_reason reason);

/* Called between samples, never inside one; may be NULL. `done` in [0, 1]. */
typedef struct mmrec_progress {
    void (*tick)(void *context, double done);
    void *context;
} mmrec_progress;

/* Samples one subject, or two in ABBA order (a b b a a b b a ...), so that drift meets both alike. The caps count for each
 * series, so a pair takes twice the time, and at least one sample (one a b b a) is always taken unless interrupted.
 * CONFIG when `sampling` asks for the impossible. On failure the series are empty. */
mmrec_status mmrec_measure(mmrec_allocator *allocator, mmrec_subject subject, const mmrec_sampling *sampling,
                           mmrec_progress progress, mmrec_series *out, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_measure_pair(mmrec_allocator *allocator, mmrec_subject a, mmrec_subject b,
                                const mmrec_sampling *sampling, mmrec_progress progress, mmrec_series *out_a,
                                mmrec_series *out_b, mmrec_paired *paired, mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_series_free(mmrec_allocator *allocator, mmrec_series *series);
/* Set from a signal handler: sampling ends after the sample under way with stop reason INTERRUPT. */
void mmrec_measure_interrupt(void);
bool mmrec_measure_interrupted(void);
/* Forgets an interrupt, to measure again in the same process. */
void mmrec_measure_interrupt_clear(void);

/* The machine, as printed above every table. Text fields are "" when the system does not tell. */
typedef struct mmrec_machine {
    char cpu[128], os[128], kernel[128], governor[32], isa[16], blas[128], compiler[64];
    int processors, threads;
    uint64_t memory_bytes, l1d_bytes, l2_bytes, l3_bytes;
    double load1; /* one-minute load average at the start, -1 unknown */
} mmrec_machine;
void mmrec_machine_read(mmrec_machine *machine, int threads);
/* Seconds that the calling thread and its OpenMP team have been ready to run but had no processor, together; 0 when the
 * system does not tell. */
double mmrec_machine_waited_s(void);
/* Peak resident set of this process, bytes; 0 when the system does not tell. */
uint64_t mmrec_machine_peak_rss(void);

/* The machine's own ceilings, measured now with `threads`: FLOP/s of CBLAS sgemm (best square size tried) and bytes/s
 * (read + written) of a copy larger than the last cache. */
typedef struct mmrec_ceilings {
    double sgemm_flops_per_s, copy_bytes_per_s;
} mmrec_ceilings;
mmrec_status mmrec_measure_ceilings(mmrec_allocator *allocator, int threads, mmrec_ceilings *out,
                                    mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
