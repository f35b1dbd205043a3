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

/* What is known of one sample beside its time; kept only where a meter tells it. */
typedef struct mmrec_sample_note {
    double host_ns;      /* of a run that was not held back: from the first call until the device is done; NaN: not taken */
    int sm_mhz, memory_mhz; /* clocks while it ran; 0: not told */
    uint64_t throttle;   /* what held the clocks down, in bits of NVML's clocks event reasons */
} mmrec_sample_note;

/* What is run between samples, untimed, so that something else is measured in the same moments: before the first sample,
 * between any two (`taken` are there by then), and after the last. */
typedef struct mmrec_beside {
    mmrec_status (*run)(void *context, int taken, bool last, mmrec_error *error);
    void *context;
} mmrec_beside;

struct mmrec_subject;

/* How runs are timed where the host's clock cannot: runs a prepared subject `repeats` times and gives the time of one. */
typedef struct mmrec_meter {
    mmrec_status (*time)(void *context, const struct mmrec_subject *subject, int repeats, double *ns,
                         mmrec_sample_note *note, mmrec_error *error);
    void *context;
    bool once;           /* every run needs a sample of its own (what lies in the cache, say) */
    const char *untimed; /* why its times mean nothing ("emulated"): none are kept; NULL: they do */
} mmrec_meter;

typedef struct mmrec_sampling {
    double warmup_s;      /* at least this long, and until medians settle */
    double min_time_s;    /* at least this long in samples */
    double max_time_s;    /* cap per series */
    double target_ci;     /* stop when the half-width of the interval is below this share of the median; 0: never */
    int min_samples, max_samples;
    int least_samples;    /* so many are taken even past max_time_s, for up to a minute; 0: no such wish */
    const mmrec_meter *meter; /* NULL: the host's clock */
    const mmrec_beside *beside; /* NULL: nothing */
} mmrec_sampling;

/* 0.2 s warm-up, 0.5 to 6 s of samples, half-width 1 %, 20 to 1000 samples (docs/measuring.md says why). */
mmrec_sampling mmrec_sampling_default(void);

/* What is sampled: one call does the work once. `prepare` (may be NULL) runs untimed before every run. */
typedef struct mmrec_subject {
    mmrec_status (*run)(void *context, mmrec_error *error);
    void *context;
    mmrec_status (*prepare)(void *context, mmrec_error *error);
    bool unheld; /* on a device the stream is not held for it: it may queue more than the driver has room for */
} mmrec_subject;

/* One measured series. `samples_ns` and `notes` are owned (tag MEASURE); mmrec_series_free releases them. */
typedef struct mmrec_series {
    double *samples_ns;
    mmrec_sample_note *notes; /* as many; NULL without a meter */
    int count;
    size_t capacity, note_capacity;
    int warmup_runs;
    double warmup_s;
    int runs_per_sample; /* > 1 where one run is too short for the clock: a sample is then their mean */
    mmrec_stop_reason stop;
    double waited_share; /* of the threads' time while sampling (both sides of a pair): ready, but without a processor */
    mmrec_stats stats;   /* of samples_ns, in ns */
    mmrec_stats host;    /* of the notes' host_ns; not valid without */
    int throttled;       /* samples while which the device was slowed down: they count all the same */
    const char *untimed; /* of the meter: then there are no samples */
} mmrec_series;

/* Bits of mmrec_sample_note.throttle that mean less than full speed: power cap, heat, the board's own brakes. The others
 * (idle, clocks that someone has set) are no trouble of the moment. */
#define MMREC_THROTTLED UINT64_C(0xec)
/* "power cap, heat" of a note's bits; "" for none. */
const char *mmrec_throttle_text(uint64_t throttle, char *text, size_t size);

/* One kernel in the runs of a series, by its records. */
enum { MMREC_KERNEL_NAME = 96 };
typedef struct mmrec_kernel_time {
    char name[MMREC_KERNEL_NAME]; /* k_gelu_fwd<float, 4>; as the driver has it where that cannot be read; cut */
    double launches, ns;          /* of one run */
} mmrec_kernel_time;

/* What times a run: AUTO is EVENT on a device and HOST elsewhere. HOST: the host's clock, from the first call until the
 * device is done. EVENT: events of the device before and after, the work queued while the stream is held, so that the
 * host's time is not in it. CUPTI: the sum of the kernels' own times. */
typedef enum mmrec_timer {
    MMREC_TIMER_AUTO, MMREC_TIMER_EVENT, MMREC_TIMER_HOST, MMREC_TIMER_CUPTI, MMREC_TIMERS
} mmrec_timer;
const char *mmrec_timer_name(mmrec_timer timer); /* "auto", "event", "host", "cupti" */

/* How a run was timed, as opposed to how it was wished. */
typedef struct mmrec_timing {
    mmrec_timer wanted, used; /* `used` is never AUTO */
    bool cold;                /* the second-level cache was filled with other data before every run */
    bool clocks;              /* the device's clocks are in the notes */
    uint64_t records_lost;    /* CUPTI had no room for the times of so many kernels: the sums lack them */
    bool gaps;                /* some runs were too many launches to queue at once: their times hold waits for the host */
    char fallback[200];       /* why not `wanted`; "" it is */
    char no_clocks[200];      /* why there are no clocks; "" there are, or there is no device */
} mmrec_timing;

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

typedef enum mmrec_ceiling { MMREC_CEILING_SGEMM, MMREC_CEILING_COPY } mmrec_ceiling;
const char *mmrec_ceiling_name(mmrec_ceiling ceiling); /* "sgemm", "copy" */

/* The ceilings, and how to take one of them again: the rate now, FLOP/s or bytes/s, from two runs of some milliseconds. */
typedef struct mmrec_ceiling_source {
    mmrec_ceilings best;
    double (*rate)(void *context, mmrec_ceiling which);
    void *context;
} mmrec_ceiling_source;
/* Measures the ceilings and keeps the memory for it (tag MEASURE) until it is closed; closing one that was not opened (all
 * zero) does nothing. NO_MEMORY; CONFIG for an impossible number of threads. */
mmrec_status mmrec_ceilings_open(mmrec_allocator *allocator, int threads, mmrec_ceiling_source *out,
                                 mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_ceilings_close(mmrec_ceiling_source *source);

#ifdef __cplusplus
}
#endif
#endif
