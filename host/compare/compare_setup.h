/* What the files between options and rows share.
 *
 *   setup_create.c   what does not go together, and everything that is read as it stands
 *   setup_task.c     the task and its sizes
 *   setup_fit.c      which model can do which task, and what that sets in its configuration
 *   setup_rows.c     the rows: names, suites, --set, labels
 *   setup_match.c    sizing to a budget */
#ifndef MMREC_COMPARE_SETUP_H
#define MMREC_COMPARE_SETUP_H

#include "mmrec/comparison.h"

/* ---- options ---- */

/* Whether the command line named it. What has no effect is refused there alone, as a file or the environment may serve
 * several runs. */
bool compare_flag_given(const mmrec_options *options, mmrec_option_id id);

/* In the order of the option's choices. */
enum { COMPARE_SUITE_NONE, COMPARE_SUITE_NSM, COMPARE_SUITE_LANGUAGE, COMPARE_SUITE_MLP };

/* ---- the task ---- */

/* The task of the options, for rows that are mostly of the models `kinds`. USAGE, CONFIG. */
mmrec_status compare_setup_task(const mmrec_options *options, const mmrec_model_kind *kinds, int count,
                                mmrec_compare_task *out, mmrec_error *error) MMREC_MUST_CHECK;
/* Steps of training: --train-steps, or what --epochs comes to. */
mmrec_status compare_setup_steps(const mmrec_options *options, const mmrec_compare_task *task, int64_t *out,
                                 mmrec_error *error) MMREC_MUST_CHECK;

/* ---- fitting ---- */

bool compare_model_can(mmrec_model_kind kind, mmrec_task_kind task);
/* Whether fit_task decides the field: who wants another value gives the task another size. `instead` gets the option,
 * "" where there is none. */
bool compare_model_field_of_task(mmrec_model_kind kind, mmrec_task_kind task, const char *key, const char **instead);

/* ---- rows ---- */

enum { COMPARE_NAME = 32 };

/* Names of models in the options, in their order; "all" is every model, those first that can do the task. */
typedef struct compare_names {
    mmrec_model_kind kind[MMREC_COMPARE_ROWS];
    int count;
    bool all;
} compare_names;
mmrec_status compare_setup_names(const mmrec_options *options, compare_names *out, mmrec_error *error) MMREC_MUST_CHECK;
/* Fills the entries of `setup`, whose task is known. */
mmrec_status compare_setup_rows(const mmrec_options *options, const compare_names *names, mmrec_compare_setup *setup,
                                mmrec_error *error) MMREC_MUST_CHECK;

/* ---- matching ---- */

/* The field that sizes the entry's model; false where it has none. */
bool compare_model_width(const mmrec_compare_entry *entry, int64_t *out);
/* Sizes all rows to --budget or the first, where --match asks for it. */
mmrec_status compare_setup_match(mmrec_allocator *allocator, const mmrec_options *options, mmrec_compare_setup *setup,
                                 mmrec_error *error) MMREC_MUST_CHECK;

#endif
