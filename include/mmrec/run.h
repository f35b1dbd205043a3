/* mmrec-train as a library: what its options ask for, the run with its log and checkpoints, and its other modes. */
#ifndef MMREC_RUN_H
#define MMREC_RUN_H

#include "mmrec/measure.h"
#include "mmrec/options.h"
#include "mmrec/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which variants a study trains side by side; in the order of the words of --study. */
typedef enum mmrec_study { MMREC_STUDY_NONE, MMREC_STUDY_UBOO, MMREC_STUDY_HEM, MMREC_STUDY_DPG } mmrec_study;

/* Everything that the options of mmrec-train say, checked. Texts belong to the options, which must outlive it. */
typedef struct mmrec_train_setup {
    const mmrec_options *options;
    const mmrec_backend *backend;
    mmrec_train_config train; /* vocab, steps and warm-up are final once the data is known: mmrec_train_setup_data */
    mmrec_data_request data;
    int64_t steps;            /* to make in all; 0 with --epochs until the data is known */
    double epochs;            /* 0: --steps counts */
    double max_time_s;        /* 0: no limit */
    int64_t stop_after;       /* stop, as if interrupted, after this many steps of this process; 0: never */
    int64_t log_every;        /* >= 1 */
    int64_t val_every;        /* validate every so many steps, and after the last one; 0: after the last one only */
    int64_t val_batches;      /* >= 1, of those that are held out */
    int64_t grad_stats_every; /* 0: never */
    const char *log_path;     /* JSONL; NULL: none */
    int64_t sample;           /* ids to write at the end; 0: none */
    const char *prompt;       /* never NULL, at least one byte */
    double temperature;       /* 0: the most probable id */
    const char *checkpoint;   /* folder; NULL: none are written */
    int64_t save_every;       /* >= 1 */
    int keep;
    bool resume, quiet;
    bool bench;         /* --bench: time steps instead */
    mmrec_study study;  /* MMREC_STUDY_NONE: no study */
    int seeds;          /* of a study */
    double target;      /* loss whose reaching a study times, nats; NaN: the study finds one */
    const char *output; /* folder a study writes to; NULL: study-<name> */
} mmrec_train_setup;

/* USAGE or CONFIG naming option and value, NO_DEVICE where the backend's hardware is absent. */
mmrec_status mmrec_train_setup_create(const mmrec_options *options, mmrec_train_setup *out,
                                      mmrec_error *error) MMREC_MUST_CHECK;
/* Reads the data and fits the setup to it: vocabulary, steps from epochs (ceil(epochs * batches per epoch /
 * accumulate)), and the schedule. What mmrec_data_create returns; USAGE for epochs that are too many, or fewer than the
 * steps of warm-up. On failure `*out` is NULL. */
mmrec_status mmrec_train_setup_data(mmrec_allocator *allocator, mmrec_io *io, mmrec_train_setup *setup,
                                    mmrec_data **out, mmrec_error *error) MMREC_MUST_CHECK;

/* Whether times mean nothing here, and none are told: the device is emulated. */
bool mmrec_train_untimed(const mmrec_train_setup *setup);

/* Trains: lines on standard output, records to --log (docs/train.schema.json), checkpoints; warnings, and on a terminal
 * a bar, on standard error. `*code` is the exit status where OK is returned: 0, or 130 and 143 when a signal
 * (mmrec_measure_interrupt) stopped it; `stop_signal` (may be NULL) gives the signal's number, 0: none.
 *
 * However a run ends, but for a step that failed, its last state is saved first. MISMATCH: a guard stopped it, and the
 * checkpoints are as they were. IO and NO_MEMORY also where the last save failed or an output can no longer be written.
 * `save_io` is for the thread that writes checkpoints. */
typedef struct mmrec_train_context {
    mmrec_allocator *allocator;
    mmrec_io *io, *save_io;
    int (*stop_signal)(void);
} mmrec_train_context;
mmrec_status mmrec_train_run(const mmrec_train_context *context, const mmrec_train_setup *setup, int *code,
                             mmrec_error *error) MMREC_MUST_CHECK;

/* --bench: times steps without logging beside the block's own forward and backward pass, in alternation. */
mmrec_status mmrec_train_bench(const mmrec_train_context *context, const mmrec_train_setup *setup, int *code,
                               mmrec_error *error) MMREC_MUST_CHECK;

/* --study NAME: trains the variants side by side over several seeds and reports with intervals (docs/study.md). */
mmrec_status mmrec_train_study(const mmrec_train_context *context, const mmrec_train_setup *setup, int *code,
                               mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
