/* A run of mmrec-train as its files see it: run.c (its course), run_loop.c (steps and what comes due between them),
 * run_save.c (checkpoints), run_sample.c (text at the end). */
#ifndef MMREC_RUN_RUN_IMPL_H
#define MMREC_RUN_RUN_IMPL_H

#include "run/log.h"

/* What --sample begins with. */
typedef struct train_prompt {
    int32_t *ids;
    int64_t count;
} train_prompt;

typedef struct train_run {
    const mmrec_train_context *context;
    mmrec_train_setup setup; /* fitted to the data */
    mmrec_data *data;
    mmrec_trainer *trainer;
    mmrec_checkpoint_writer *writer; /* NULL: no checkpoints */
    mmrec_checkpoint *state;         /* what the writer is given; NULL: no checkpoints */
    mmrec_gradient_stat *gradients;  /* room for all parameters; NULL: not asked for */
    train_prompt prompt;
    train_log log;
    uint64_t began_ns;
    mmrec_train_totals before; /* this run */
    bool resumed;
    train_stop stop;
    int64_t validated; /* the step of the last validation, -1: none */

    /* Micro-batches in the state that was last given to the writer (or loaded), -1: none; the newest step on disk; and
     * why the last save failed, if it did. */
    int64_t kept, saved;
    mmrec_status save_status;
    mmrec_error save_error;
    int64_t save_step;
    bool save_again; /* there was a checkpoint of that step before */

    double pace_s; /* wall time of a step with all that comes between steps, the last ones counting most */
    uint64_t paced_ns;
} train_run;

double run_seconds(const train_run *run); /* since it began */

/* run_loop.c: micro-batches until there is a reason to stop, left in run->stop. */
mmrec_status run_loop(train_run *run, mmrec_error *error) MMREC_MUST_CHECK;
/* Validates, if anything is held out and it was not done at this step. */
mmrec_status run_validate(train_run *run, mmrec_error *error) MMREC_MUST_CHECK;

/* run_save.c. Open makes the folder ready, and refuses one that holds the checkpoints of another training. */
mmrec_status run_save_open(train_run *run, mmrec_error *error) MMREC_MUST_CHECK;
/* Goes on from the newest checkpoint, if there is one. */
mmrec_status run_resume(train_run *run, mmrec_error *error) MMREC_MUST_CHECK;
/* Begins a save. A save that fails does not end the run: it is told as a warning, by these or when the next one begins.
 */
void run_save(train_run *run);
void run_save_poll(train_run *run);
/* Saves the state unless it was, waits, and returns the failure of the last save without telling it. */
mmrec_status run_save_last(train_run *run, mmrec_error *error) MMREC_MUST_CHECK;
/* Waits for the save in flight alone. */
void run_save_wait(train_run *run);

/* run_sample.c. Open turns --prompt into ids, or refuses it. */
mmrec_status run_sample_open(train_run *run, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status run_sample(train_run *run, mmrec_error *error) MMREC_MUST_CHECK;
void run_sample_close(train_run *run);

/* Ids as text that steers no terminal, of as many bytes as there are ids: what is no printable character becomes '?'.
 * `bytes`: they are those of a text in UTF-8; else symbols of a task. `text` has room for one byte more. */
void run_text(bool bytes, const int32_t *ids, int64_t count, char *text);
/* The id of a symbol, -1: none of a vocabulary of that size has it. */
int32_t run_symbol(char symbol, int64_t vocab);

#endif
