/* What the files of a study share: the variants, what was recorded of every run, the figures made of that, and the
 * printers. docs/study.md says what a figure means and which one decides.
 *
 *   study_setup.c    which variants there are, and what a study refuses
 *   study_train.c    trains the variants of a seed side by side and records
 *   study_stats.c    estimates with intervals over seeds
 *   study_figures.c  one value per run and figure
 *   study_summary.c  figures compared with the baseline, in words
 *   study_text.c, study_report.c, study_csv.c, study_json.c, study_plot.c, study_write.c   what is printed
 *
 * Nothing after study_train.c measures: the same record gives the same text. */
#ifndef MMREC_RUN_STUDY_H
#define MMREC_RUN_STUDY_H

#include "mmrec/run.h"
#include "report/buffer.h"

enum { STUDY_VARIANTS = 3, STUDY_SEEDS = 1000, STUDY_NAME = 32, STUDY_CELL = 160, STUDY_PATH = 4096 };

const char *study_name(mmrec_study kind); /* "uboo", "hem", "dpg" */

/* ---- what was recorded ---- */

/* One side; number 0 is the baseline. */
typedef struct study_variant {
    char name[STUDY_NAME];  /* "planning": in files and plots */
    char title[STUDY_NAME]; /* "UBÖO planning" */
    mmrec_train_config train;
    bool auxiliary; /* it has an auxiliary loss */
    int64_t parameters;
    size_t memory[MMREC_ARENAS];
} study_variant;

/* One step of training. What was not finite is NaN. */
typedef struct study_step {
    double loss, loss_main, loss_aux, gradient_norm, growth;
    bool skipped, spike;
} study_step;

/* What was looked at between two steps. */
typedef struct study_point {
    int64_t step; /* made so far */
    mmrec_evaluation validation;
    mmrec_gradient_angle angle; /* NaN without an auxiliary loss */
} study_point;

/* One seed of one variant. */
typedef struct study_run {
    study_step *steps;
    double *step_ns; /* times beside the steps, as the statistics want them */
    study_point *points;
    int64_t step_count, point_count, step_room, point_room;
    char failure[MMREC_ERROR_MESSAGE]; /* why it ended early ("diverged ..."); "" it did not */
} study_run;

typedef struct study {
    mmrec_allocator *allocator;
    const mmrec_train_setup *setup;
    mmrec_study kind;
    int variant_count, seed_count;
    int begun; /* seeds of which something was recorded */
    study_variant variant[STUDY_VARIANTS];
    uint64_t seed[STUDY_SEEDS];
    study_run run[STUDY_SEEDS][STUDY_VARIANTS];
    int64_t steps, val_every, val_batches;
    double target; /* asked for; NaN: what the worst run of the baseline ends with */
    mmrec_data_info data; /* of the first seed */
    mmrec_machine machine;
    char started[32], ended[32];
    char stopped[256];     /* why it is not complete; "" it is */
    char folder[STUDY_PATH];
    char plot_note[160];   /* why there is no picture; "" there is one */
} study;

/* NO_MEMORY; USAGE or CONFIG for what a study cannot do. Destroy is NULL-safe and clears. */
mmrec_status study_create(mmrec_allocator *allocator, const mmrec_train_setup *setup, study **out,
                          mmrec_error *error) MMREC_MUST_CHECK;
void study_destroy(study **pointer);

/* Trains everything. OK also where it was stopped; `stopped` says so. On failure what was recorded till then stays. */
mmrec_status study_train(const mmrec_train_context *context, study *s, mmrec_error *error) MMREC_MUST_CHECK;
/* Room for the record of a run of `steps` steps and `points` points. */
mmrec_status study_run_create(mmrec_allocator *allocator, study_run *run, int64_t steps, int64_t points,
                              mmrec_error *error) MMREC_MUST_CHECK;
/* Which variant makes its step as number `turn` in step `step` (from 0): an order and its reverse by turns, so that
 * every pair of variants meets any linear drift of the machine alike in each two steps. */
int study_turn(int variants, int64_t step, int turn);

/* ---- statistics ---- */

/* Mean over the values that are finite, with its interval by Student's t. */
typedef struct study_estimate {
    int count; /* of them; 0: the rest means nothing */
    double mean;
    bool has_interval; /* from 2 values on */
    mmrec_interval interval;
} study_estimate;
study_estimate study_estimate_of(const double *values, int count, double level);

/* ---- figures ---- */

typedef enum study_figure {
    STUDY_LOSS, STUDY_PERPLEXITY, STUDY_BITS, STUDY_ACCURACY, STUDY_TO_TARGET, STUDY_TIME_TO_TARGET, STUDY_DIVERGED,
    STUDY_TRAIN_LOSS, STUDY_VARIANCE, STUDY_SPIKES, STUDY_SKIPPED, STUDY_GROWTH, STUDY_STEP_TIME, STUDY_TOKENS,
    STUDY_PARAMETERS, STUDY_MEMORY_PARAMS, STUDY_MEMORY_GRADS, STUDY_MEMORY_OPTIMIZER, STUDY_MEMORY_SAVED,
    STUDY_MEMORY_SCRATCH, STUDY_MEMORY, STUDY_AUX_FIRST, STUDY_AUX_LAST, STUDY_COSINE, STUDY_NORM_RATIO, STUDY_FIGURES
} study_figure;

typedef enum study_style {
    STUDY_FIXED,   /* `digits` behind the point */
    STUDY_GENERAL, /* `digits` significant ones */
    STUDY_BYTES,
    STUDY_RUNS     /* so many runs of all */
} study_style;

typedef struct study_figure_def {
    const char *key;  /* in JSON */
    const char *name; /* in tables */
    int better;       /* -1: less is better, 1: more is; 0: neither */
    study_style style;
    int digits;
    bool ratio;          /* compared by the ratio of a pair, not by its difference */
    bool exact;          /* the same for every seed: no interval */
    const char *missing; /* why a run has no value */
    double (*value)(const study *s, double target, int seed, int variant); /* NaN: it has none */
} study_figure_def;
const study_figure_def *study_figure_get(study_figure figure);

/* Losses over the last steps are taken over a tenth of them, but at least 20 and at most 200. */
int64_t study_window(int64_t steps);
/* Times of the first steps are left out where there are enough others: threads and memory are new then. */
int64_t study_untimed(int64_t steps);
/* Steps made at the first point with a validation loss at or below the target; -1: at none. */
int64_t study_steps_to(const study_run *run, double target);
/* The last point of a run that came to its end; NULL for one that did not. */
const study_point *study_last(const study_run *run);

/* ---- the summary ---- */

typedef enum study_word {
    STUDY_BETTER, STUDY_WORSE, STUDY_MORE, STUDY_LESS, STUDY_NO_DIFFERENCE, STUDY_SAME, STUDY_UNDECIDED, STUDY_NOTHING,
    STUDY_WORDS
} study_word;
/* "better", "worse", "more", "less", "no difference shown", "same", "not decided", "". */
const char *study_word_text(study_word word);

/* A variant against the baseline over the seeds of which both have a value. */
typedef struct study_difference {
    study_estimate estimate; /* of variant - baseline, or of variant / baseline */
    mmrec_interval decides;  /* the interval that the word goes by; of the wider level where more must be asked for */
    int missing[2];          /* seeds of which only the other one has a value: by baseline, variant */
    study_word word;
} study_difference;

typedef struct study_row {
    study_estimate side[STUDY_VARIANTS];
    study_difference difference[STUDY_VARIANTS]; /* 0: nothing */
} study_row;

typedef struct study_summary {
    int seeds;       /* the first ones, which all figures are about */
    bool complete;   /* all seeds are, to their last step */
    int64_t reached; /* steps that the seeds in the figures made at most */
    double target;   /* NaN: none */
    double level;    /* at which the final validation loss decides: over all variants together 95 % */
    study_row row[STUDY_FIGURES];
} study_summary;
void study_summarise(const study *s, study_summary *out);
/* The word for a difference from `none` (0, or 1 for ratios). */
study_word study_word_of(const study_figure_def *def, const study_difference *d);

/* ---- what is printed ---- */

/* "1.9051 ± 0.0123", and why values are missing; the difference with interval and word. Both return `text`. */
const char *study_side_text(const study *s, const study_summary *summary, study_figure figure, int variant,
                            char text[STUDY_CELL]);
const char *study_difference_text(const study *s, const study_summary *summary, study_figure figure, int variant,
                                  char text[STUDY_CELL]);
/* "Steps to a validation loss of 1.9100". */
const char *study_figure_text(const study *s, const study_summary *summary, study_figure figure,
                              char text[STUDY_CELL]);
/* Whether any run has a value for it, or could have had one. */
bool study_figure_shown(const study *s, const study_summary *summary, study_figure figure);

/* What came of a variant, in sentences made from the figures. */
void study_verdict(const study *s, const study_summary *summary, int variant, mmrec_buffer *out);
void study_tables(const study *s, const study_summary *summary, mmrec_buffer *out); /* verdicts and tables */
void study_report(const study *s, const study_summary *summary, mmrec_buffer *out); /* the whole of report.md */
/* The options that were given, as a command line. */
void study_command(const study *s, mmrec_buffer *out);
void study_curves_csv(const study *s, mmrec_buffer *out); /* a row per point */
void study_steps_csv(const study *s, mmrec_buffer *out);  /* a row per step */
/* docs/study.schema.json. */
mmrec_status study_json(const study *s, const study_summary *summary, mmrec_buffer *out,
                        mmrec_error *error) MMREC_MUST_CHECK;
void study_plot_data(const study *s, const study_summary *summary, mmrec_buffer *out);
void study_plot_script(const study *s, mmrec_buffer *out);
/* Runs `program` (gnuplot, by its name in PATH) with plot.gp in the study's folder; notes in `plot_note` why nothing
 * was drawn. Never a failure. */
void study_draw(study *s, const char *program);

/* All files, then the tables to standard output. Every output is tried; the first failure is returned. */
mmrec_status study_write(mmrec_io *io, study *s, mmrec_error *error) MMREC_MUST_CHECK;

#endif
