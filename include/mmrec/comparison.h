/* mmrec-compare as a library: models side by side on one task, measured in one run, and the result that printers show.
 *
 *   options -> setup (rows, task) -> run (facts, times, training, layers, scaling) -> tables, CSV, JSON, pictures
 *
 * Every row has the same task, batch, head and seed. A row that cannot be measured keeps its reason and the others go on.
 * What each figure means and how it is made: docs/compare.md. */
#ifndef MMREC_COMPARISON_H
#define MMREC_COMPARISON_H

#include "mmrec/io.h"
#include "mmrec/measure.h"
#include "mmrec/model.h"
#include "mmrec/optimizer.h"
#include "mmrec/options.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MMREC_COMPARE_ROWS = 32, MMREC_COMPARE_LABEL = 96, MMREC_COMPARE_SEEDS = 64, MMREC_COMPARE_POINTS = 64 };

/* ---- the task ---- */

typedef enum mmrec_task_kind {
    MMREC_COMPARE_LANGUAGE, /* ids (B,T) and the ids one step later; loss: mean cross-entropy, nats */
    MMREC_COMPARE_CLASSES,  /* x (B,I) and a class of O; loss: mean cross-entropy, nats */
    MMREC_COMPARE_VALUES    /* x (B,I) and target (B,O); loss: mean squared error */
} mmrec_task_kind;

typedef struct mmrec_compare_task {
    mmrec_task_kind kind;
    int64_t batch, time;       /* CLASSES: time > 1 cuts the I inputs into so many steps for models that read sequences */
    int64_t inputs, outputs;   /* I, O; LANGUAGE: outputs is the vocabulary */
    int64_t samples, held_out; /* CLASSES, VALUES: made up from the seed */
    const char *data_path;     /* LANGUAGE: bytes of this file; NULL: a Markov text from the seed (data.h) */
    double val;                /* LANGUAGE: share of the file that is held out */
    uint64_t seed;
} mmrec_compare_task;

/* ---- what is compared ---- */

typedef enum mmrec_match {
    MMREC_MATCH_NONE, MMREC_MATCH_WIDTH, MMREC_MATCH_PARAMETERS, MMREC_MATCH_FLOPS, MMREC_MATCHES
} mmrec_match;

typedef struct mmrec_compare_entry {
    char label[MMREC_COMPARE_LABEL]; /* "lstm", "nsm-simple gate=lstm"; no two are the same */
    mmrec_model_kind kind;
    mmrec_any_config config;
    bool fused;                      /* mlp: the whole step as one function (mmrec/mlp.h) instead of a graph */
    double budget;                   /* --match: what was aimed at; 0: it was not sized */
    double reached;                  /* and what came of it: width, parameters, or FLOPs of forward and backward */
    char refused[MMREC_ERROR_MESSAGE]; /* why it cannot do the task or be sized; "" */
} mmrec_compare_entry;

typedef struct mmrec_compare_options {
    mmrec_compare_entry *entries;
    int count;
    mmrec_compare_task task;
    mmrec_match match;
    const mmrec_backend *backend;
    int threads;
    bool hem, bf16, graphs, recompute;
    bool no_ceilings;        /* what the machine can do is not measured: the ceilings are 0 */
    mmrec_sampling sampling;
    mmrec_optimizer_config optimizer;
    double rate;             /* of AdamW */
    int64_t train_steps;     /* 0: nothing is trained */
    int seeds;               /* seed, seed + 1 ... */
    bool layers;             /* time by op and module */
    const char *axis_name;   /* scaling: "time", "batch" or "dim"; NULL: none */
    int64_t axis[MMREC_COMPARE_POINTS];
    int axis_count;
    mmrec_io *io;
} mmrec_compare_options;

/* ---- what comes of it ---- */

typedef enum mmrec_compare_part {
    MMREC_PART_FORWARD, MMREC_PART_BACKWARD, MMREC_PART_OPTIMIZER, MMREC_PART_STEP, MMREC_PARTS
} mmrec_compare_part;
const char *mmrec_compare_part_name(mmrec_compare_part part); /* "forward" ... */

/* A parameter and its gradient at the initial values, on the first batch. */
typedef enum mmrec_flow {
    MMREC_FLOW_FLOWS,
    MMREC_FLOW_ZERO,      /* all of it is zero, or below 1e-6 of the largest norm by element: rounding */
    MMREC_FLOW_MISSING,   /* the loss does not depend on it */
    MMREC_FLOW_NOT_FINITE
} mmrec_flow;
typedef struct mmrec_compare_gradient {
    char name[96];
    int layer;             /* -1: outside of layers */
    int64_t count, zeros, not_finite;
    int64_t exempt;        /* elements whose gradient is 0 by mathematics (key biases): not counted as dead */
    double norm;           /* of the finite ones */
    mmrec_flow flow;
} mmrec_compare_gradient;

/* Memory, bytes. */
typedef struct mmrec_compare_memory {
    size_t planned[MMREC_ARENAS];      /* by category */
    size_t created, forward, backward, step; /* allocated at the end of each phase, that of the row alone */
    size_t peak;
} mmrec_compare_memory;

/* One line of --layers. */
typedef struct mmrec_compare_layer {
    char module[96];       /* "layer 0: linear", "linear", "optimizer"; "": the rest */
    int layer;             /* -1: outside of layers */
    mmrec_op_id op;        /* NONE: the optimizer, the rest */
    mmrec_pass pass;
    int calls;
    double ns;             /* median over traced steps */
    mmrec_work work;
    size_t saved_bytes;    /* of what its calls keep for the backward pass */
} mmrec_compare_layer;

/* What was learned, one value a seed; held-out. */
typedef struct mmrec_compare_quality {
    int seeds;
    double loss[MMREC_COMPARE_SEEDS];      /* NaN: it failed */
    double accuracy[MMREC_COMPARE_SEEDS];  /* CLASSES, LANGUAGE: share of right answers; NaN for VALUES */
    double train_loss[MMREC_COMPARE_SEEDS]; /* mean over the last tenth of the steps */
    double seconds[MMREC_COMPARE_SEEDS];
    bool diverged[MMREC_COMPARE_SEEDS];    /* stopped by the guard against values that are not finite */
    double loss_mean, loss_low, loss_high; /* mean with its 95 % interval by Student's t; interval from two seeds on */
    double accuracy_mean, accuracy_low, accuracy_high;
} mmrec_compare_quality;

/* A power law y = c x^exponent, least squares of logarithms over the points, with its 95 % interval. */
typedef struct mmrec_compare_fit {
    bool valid;            /* from 3 points on */
    double exponent, low, high;
    double residual;       /* largest |log y - fit|: how well a power law describes it */
} mmrec_compare_fit;
typedef struct mmrec_compare_point {
    int64_t at;
    mmrec_series series;   /* owned: the samples of both sweeps, up and down */
    mmrec_stats step;      /* of them, ns; not valid: failed */
    size_t bytes;          /* planned, all categories */
    mmrec_work work;       /* forward and backward */
    char failure[MMREC_ERROR_MESSAGE];
} mmrec_compare_point;

/* Epochs of a fused row, one call each, in alternation with the same products by sgemm and with the same as a graph:
 * as many as --train-steps or --epochs are of the task's samples, at least 8. */
typedef struct mmrec_compare_epochs {
    int epochs;            /* 0: none */
    int64_t samples;       /* of an epoch */
    double seconds;        /* all of them */
    double samples_per_s;
    mmrec_interval ci95;   /* of it */
    mmrec_paired sgemm;    /* time of the products by sgemm / of the whole step: its share of the rate of sgemm */
    mmrec_paired graph;    /* time as a graph / of the whole step */
    char failure[MMREC_ERROR_MESSAGE]; /* why there are none; "" */
} mmrec_compare_epochs;

typedef struct mmrec_compare_row {
    char failure[MMREC_ERROR_MESSAGE]; /* "" or why it was not measured */
    int64_t parameters;
    int64_t trainable;                 /* of those that the loss depends on */
    int64_t dead;                      /* no gradient reaches them, or nothing but zeros and rounding; without the exempt */
    size_t size_bytes;                 /* of the parameters as they are stored */
    mmrec_work forward, backward, optimizer; /* counted from the ops of one step; optimizer: the formula of AdamW */
    mmrec_series series[MMREC_PARTS];  /* a fused step has no parts: those are empty, and there are no layers of it */
    mmrec_paired paired[MMREC_PARTS];  /* this row / row 0, of times; row 0: not valid */
    mmrec_stats sgemm_share[MMREC_PARTS]; /* FLOP/s over those of a sgemm in the same moments; not valid: not known */
    int64_t tokens;                    /* LANGUAGE: of a batch; else its samples */
    mmrec_compare_memory memory;
    double gradient_norm;              /* global, at the initial values */
    mmrec_compare_gradient *gradients; /* owned (tag MEASURE) */
    int gradient_count, missing, zero, not_finite; /* tensors; zero: without those that are exempt as a whole */
    mmrec_compare_quality quality;
    mmrec_compare_epochs epochs;       /* of a fused row */
    mmrec_compare_layer *layers;       /* owned; the optimizer before the last, which is what no line accounts for */
    int layer_count;
    double layers_step_ns;             /* median of the steps they were taken from, traced */
    mmrec_compare_point *points;       /* owned; as many as axis_count */
    mmrec_compare_fit time_fit, memory_fit;
} mmrec_compare_row;

/* What is counted of a part of its step; of the whole step: all parts. */
mmrec_work mmrec_compare_part_work(const mmrec_compare_row *row, mmrec_compare_part part);

typedef struct mmrec_comparison {
    mmrec_allocator *allocator;
    const mmrec_compare_options *options; /* outlives it */
    mmrec_machine machine;
    mmrec_ceilings ceilings;
    mmrec_device_info device;             /* name "" on the host */
    char backend[16], started[32], ended[32], data[256], choice[200];
    double best_loss;                     /* that no model can beat but by chance; NaN: not known */
    bool interrupted;
    mmrec_compare_row row[MMREC_COMPARE_ROWS];
    /* The Pareto front: rows that no other beats in time of a step, planned memory or held-out loss (of those three that
     * were measured) without being worse in one; decided by medians and means. A row without a figure that others have
     * is worse in it. */
    bool front[MMREC_COMPARE_ROWS];
} mmrec_comparison;

/* Called when something begins; text is one line. `done` of the whole run in [0, 1]. */
typedef struct mmrec_compare_observer {
    void (*message)(void *context, const char *text);
    void (*progress)(void *context, double done);
    void *context;
} mmrec_compare_observer;

/* ---- setup ---- */

typedef struct mmrec_compare_setup {
    mmrec_compare_options run;
    mmrec_compare_entry entries[MMREC_COMPARE_ROWS];
    bool list; /* --list: the models and their fields */
} mmrec_compare_setup;

/* Rows and task from the options: --models, --suite, --model with --set, --match. USAGE or CONFIG naming option and value; a
 * model that cannot do the task or be sized is a row with its reason, unless it is the only one. `options` must outlive it. */
mmrec_status mmrec_compare_setup_create(mmrec_allocator *allocator, mmrec_io *io, const mmrec_options *options,
                                        mmrec_compare_setup *out, mmrec_error *error) MMREC_MUST_CHECK;
/* Makes an entry's configuration fit the task: widths of input and head, vocabulary, context, loss, heads. CONFIG where the
 * model cannot do it. */
mmrec_status mmrec_compare_fit_task(mmrec_compare_entry *entry, const mmrec_compare_task *task,
                                    mmrec_error *error) MMREC_MUST_CHECK;
/* Sizes an entry by its width field until width, parameters or FLOPs (forward and backward of a step of the task) are nearest to
 * `budget`; fills budget and reached. CONFIG where no width comes within 10 %. */
mmrec_status mmrec_compare_size_to(mmrec_allocator *allocator, mmrec_compare_entry *entry,
                                   const mmrec_compare_options *options, double budget,
                                   mmrec_error *error) MMREC_MUST_CHECK;

/* ---- run ---- */

/* Fills `out`, which mmrec_comparison_free releases in any case. Rows that fail are recorded; errors are those of the whole:
 * data that cannot be read, no memory for the result. An interrupt ends it with what was measured. */
mmrec_status mmrec_compare_run(mmrec_allocator *allocator, const mmrec_compare_options *options,
                               mmrec_compare_observer observer, mmrec_comparison *out,
                               mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_comparison_free(mmrec_comparison *comparison);
/* 0; 1 where a row failed. `text` gets one line about failures, "" without. */
int mmrec_comparison_exit(const mmrec_comparison *comparison, char *text, size_t size);

/* ---- output ---- */

/* Writes what the options ask for: the tables to standard output, --markdown, --csv, --json, --plot; every output is tried, the
 * first failure is returned. Checked before anything is measured by the second. */
mmrec_status mmrec_compare_write(mmrec_io *io, const mmrec_options *options, const mmrec_comparison *comparison,
                                 mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_compare_check_outputs(mmrec_io *io, const mmrec_options *options,
                                         mmrec_error *error) MMREC_MUST_CHECK;
/* The models with their fields, ranges and defaults, to standard output. */
mmrec_status mmrec_compare_list(mmrec_allocator *allocator, mmrec_io *io, mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
