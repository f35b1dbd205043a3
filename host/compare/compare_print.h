/* What the printers of a comparison share: figures derived from the result, once, and the sections made of them.
 *
 *   print_figures.c   figures of a row, and between rows
 *   print_report.c    the whole text: heading, the table of all rows, the sections in their order
 *   print_times.c, print_memory.c, print_gradients.c, print_quality.c, print_scaling.c, print_layers.c, print_front.c
 *   print_warnings.c  what makes the times less sure
 *   print_csv.c, print_json.c, print_json_row.c, print_plot.c, print_list.c
 *   print_write.c     where all of that goes
 *
 * Nothing is measured here: the same result gives the same text. docs/compare.md says what a figure means. */
#ifndef MMREC_COMPARE_PRINT_H
#define MMREC_COMPARE_PRINT_H

#include "core/units.h"
#include "mmrec/comparison.h"
#include "report/buffer.h"
#include "report/figures.h"
#include "report/gnuplot.h"

enum { COMPARE_CELL = 160, COMPARE_PATH = 4096 };

/* ---- figures of a row ---- */

/* What was learned: means over the seeds that came to an end. */
typedef struct compare_learned {
    bool valid;
    bool has_interval; /* from 2 such seeds on */
    int seeds, finite, diverged;
    double loss, perplexity, bits, accuracy; /* NaN where the task has none */
    mmrec_interval loss_ci95, perplexity_ci95, bits_ci95, accuracy_ci95;
    double train_loss, seconds;
} compare_learned;

typedef struct compare_figures {
    const char *label, *failure; /* "" : it was measured */
    bool measured;
    mmrec_bench_row timed[MMREC_PARTS];
    mmrec_row_figures part[MMREC_PARTS];
    size_t planned;   /* all categories */
    double aim_error; /* of --match: reached / budget - 1; NaN: it was not sized */
    compare_learned learned;
} compare_figures;
void compare_figures_of(const mmrec_comparison *c, int row, compare_figures *out);

const char *compare_task_name(mmrec_task_kind kind);      /* "language", "classes", "values" */
const char *compare_match_name(mmrec_match match);        /* "none", "width", "parameters", "flops" */
const char *compare_flow_name(mmrec_flow flow);           /* "flows", "zero", "missing", "not finite" */
const char *compare_loss_unit(mmrec_task_kind kind);      /* "nats", "squared error" */
const char *compare_rate_name(const mmrec_comparison *c); /* "tokens/s", "samples/s" */
/* Why no times are told of the device, "emulated"; NULL: they are. */
const char *compare_untimed(const mmrec_comparison *c);
/* Why a part of a row has no times, as a cell: "n/a (emulated)", "n/a (fused)", "n/a". */
const char *compare_no_time(const mmrec_comparison *c, int row, mmrec_compare_part part, char text[COMPARE_CELL]);
/* The same in a word, for JSON. */
const char *compare_no_time_reason(const mmrec_comparison *c, int row, mmrec_compare_part part);

/* ---- gradients by depth ---- */

typedef struct compare_depth {
    int layer; /* -1: outside of layers */
    int tensors;
    int64_t count;
    double norm;
} compare_depth;
/* The next layer from `layer` on (-1: what is outside comes first) that has parameters; false: there is none. */
bool compare_depth_next(const mmrec_compare_row *row, int layer, compare_depth *out);
double compare_depth_rms(const compare_depth *depth); /* norm / sqrt(count): does not grow with the size */

/* ---- scaling ---- */

/* "contains 1", "contains 2", "contains 1 and 2", "contains neither 1 nor 2"; "" without a fit. */
const char *compare_exponent_word(const mmrec_compare_fit *fit);
/* Of a point: ns with its interval, nothing where times mean nothing or it failed. */
mmrec_row_figures compare_point_of(const mmrec_comparison *c, const mmrec_compare_point *point);

/* ---- the trade-off ---- */

typedef enum compare_criterion { COMPARE_TIME, COMPARE_MEMORY, COMPARE_LOSS, COMPARE_CRITERIA } compare_criterion;
const char *compare_criterion_name(compare_criterion criterion); /* "step time" ... */
/* Of a row; NaN: it was not measured. ns, bytes, loss. */
double compare_criterion_of(const mmrec_comparison *c, int row, compare_criterion criterion);
/* Whether any row has it. */
bool compare_criterion_used(const mmrec_comparison *c, compare_criterion criterion);

typedef enum compare_word { COMPARE_BETTER, COMPARE_WORSE, COMPARE_SAME, COMPARE_UNDECIDED } compare_word;
const char *compare_word_name(compare_word word); /* "better", "worse", "same", "not decided" */

/* Row `by` against another in one criterion. */
typedef struct compare_gap {
    bool known;
    double value; /* by / other for time and memory; by - other for the loss */
    bool has_interval;
    mmrec_interval ci95;
    compare_word word; /* where the interval decides; of `by` */
} compare_gap;
compare_gap compare_gap_of(const mmrec_comparison *c, int by, int other, compare_criterion criterion);
/* The row of the front that beats this one most: no worse in what both have, better in one, the product of ratios
 * smallest. -1: none. */
int compare_beaten_by(const mmrec_comparison *c, int row);
/* What there is to say about the front in all, and about a row that is not on it; nothing for others. */
void compare_front_summary(const mmrec_comparison *c, mmrec_buffer *out);
void compare_front_sentence(const mmrec_comparison *c, int row, mmrec_buffer *out);

/* What makes the times less sure than asked for. */
void compare_warnings_of(const mmrec_comparison *c, mmrec_warnings *out);

/* ---- what is printed ---- */

/* Where pictures went. */
typedef struct compare_pictures {
    bool wanted;
    const char *folder;
    bool front, scaling;           /* there is something to draw */
    char note[MMREC_GNUPLOT_NOTE]; /* why there are none; "" there are */
} compare_pictures;

/* All tables. `details`: the gradient of every tensor too. */
void compare_report(const mmrec_comparison *c, const mmrec_options *options, const compare_pictures *pictures,
                    bool details, mmrec_buffer *out);
void compare_print_times(const mmrec_comparison *c, mmrec_buffer *out);
void compare_print_memory(const mmrec_comparison *c, mmrec_buffer *out);
void compare_print_gradients(const mmrec_comparison *c, bool details, mmrec_buffer *out);
void compare_print_quality(const mmrec_comparison *c, mmrec_buffer *out);
void compare_print_scaling(const mmrec_comparison *c, mmrec_buffer *out);
void compare_print_layers(const mmrec_comparison *c, mmrec_buffer *out);
void compare_print_front(const mmrec_comparison *c, mmrec_buffer *out);

/* Cells: the label, then "n/a" in the other columns, of a row that has nothing in this table. */
void compare_cells_missing(const char *label, int columns, mmrec_table *table);
/* Gets the figures of a row and writes its label, the first of `columns` cells; false: it was not measured, and the
 * others are written too. */
bool compare_row_begin(const mmrec_comparison *c, int row, int columns, compare_figures *f, mmrec_table *table);
/* The time of a part in ms, or why there is none. */
void compare_time_cell(const mmrec_comparison *c, int row, mmrec_compare_part part, const compare_figures *f,
                       mmrec_table *table);
/* "2.500 ± 0.012" in ms, digits enough for what is much shorter. */
const char *compare_ms_text(const mmrec_row_figures *figures, char text[COMPARE_CELL]);
/* "0.812 (0.800 to 0.824)" with `digits` behind the point; without an interval only the first. */
const char *compare_interval_text(double value, bool has_interval, mmrec_interval ci95, int digits,
                                  char text[COMPARE_CELL]);

void compare_csv(const mmrec_comparison *c, mmrec_buffer *out);
/* docs/compare.schema.json. */
mmrec_status compare_json(const mmrec_comparison *c, const mmrec_options *options, mmrec_buffer *out,
                          mmrec_error *error) MMREC_MUST_CHECK;
void compare_plot_data(const mmrec_comparison *c, mmrec_buffer *out);
void compare_plot_script(const mmrec_comparison *c, mmrec_buffer *out);
/* What there is to draw: fills front and scaling. */
void compare_plot_what(const mmrec_comparison *c, compare_pictures *pictures);

#endif
