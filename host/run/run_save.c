/* Checkpoints of a run: where it goes on from, when it saves, and what becomes of a save that fails. */
#include <stdio.h>

#include "run/run_impl.h"

/* ---- going on ---- */

static void on_skipped(void *context, const char *file, const char *why) {
    train_run *run = context;
    train_log_event(&run->log, TRAIN_EVENT_CHECKPOINT_SKIPPED, 0, "the checkpoint %.150s is skipped: %.250s", file,
                    why);
}

static void on_note(void *context, const char *text) {
    train_run *run = context;
    train_log_event(&run->log, TRAIN_EVENT_NOTE, mmrec_trainer_totals(run->trainer).steps, "%s", text);
}

/* Without --resume there must be nothing: the next saves would take the place of the checkpoints of another training,
 * and a later --resume would go on from whichever has made more steps. */
static mmrec_status refuse_other(const train_run *run, const mmrec_checkpoint *found, int64_t step,
                                 mmrec_error *error) {
    if (!found) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG,
               "\"%.300s\" holds the checkpoint of step %lld of a training: --resume goes on from it, or name another "
               "folder",
               run->setup.checkpoint, (long long)step);
}

static mmrec_status load(train_run *run, const mmrec_checkpoint *from, int64_t step, mmrec_error *error) {
    if (!from) {
        train_log_event(&run->log, TRAIN_EVENT_NOTE, 0, "there is no checkpoint in %.300s: training begins anew",
                        run->setup.checkpoint);
        return MMREC_OK;
    }
    MMREC_TRY_WHILE(mmrec_trainer_load(run->trainer, from, on_note, run, error), error,
                    "going on from the checkpoint of step %lld", (long long)step);
    mmrec_train_totals totals = mmrec_trainer_totals(run->trainer);
    run->resumed = true;
    run->kept = totals.micro_batches;
    run->saved = step;
    train_log_event(&run->log, TRAIN_EVENT_RESUMED, totals.steps, "at step %lld, micro-batch %lld, of %lld steps",
                    (long long)totals.steps, (long long)totals.micro_batches, (long long)run->setup.steps);
    return MMREC_OK;
}

mmrec_status run_resume(train_run *run, mmrec_error *error) {
    mmrec_checkpoint *newest = NULL;
    int64_t step = 0;
    if (!run->setup.checkpoint) return MMREC_OK;
    MMREC_TRY(mmrec_checkpoint_newest(run->context->allocator, run->context->io, run->setup.checkpoint, on_skipped, run,
                                      &newest, &step, error));
    mmrec_status status = run->setup.resume ? load(run, newest, step, error) : refuse_other(run, newest, step, error);
    mmrec_checkpoint_destroy(&newest);
    return status;
}

mmrec_status run_save_open(train_run *run, mmrec_error *error) {
    if (!run->setup.checkpoint) return MMREC_OK;
    MMREC_TRY(mmrec_checkpoint_create(run->context->allocator, &run->state, error));
    return mmrec_checkpoint_writer_create(run->context->allocator, run->context->save_io, run->setup.checkpoint,
                                          run->setup.keep, &run->writer, error);
}

/* ---- saving ---- */

/* What is known of the save before: it came to the disk, or it failed. Old checkpoints that could not be removed are a
 * failure too, but behind a good save. */
static void settle(train_run *run, mmrec_status status) {
    int64_t saved = mmrec_checkpoint_writer_saved(run->writer);
    bool written = saved == run->save_step && !run->save_again;
    if (saved > run->saved) {
        run->saved = saved;
        train_log_event(&run->log, TRAIN_EVENT_SAVED, saved, "checkpoint of step %lld", (long long)saved);
    }
    if (status == MMREC_OK) return;
    char text[MMREC_ERROR_MESSAGE];
    if (written) {
        train_log_event(&run->log, TRAIN_EVENT_WARNING, saved, "%s",
                        mmrec_error_text(&run->save_error, text, sizeof text));
        return;
    }
    run->save_status = status;
    run->kept = -1;
}

static void warn(train_run *run) {
    char text[MMREC_ERROR_MESSAGE];
    if (run->save_status == MMREC_OK) return;
    train_log_event(&run->log, TRAIN_EVENT_SAVE_FAILED, run->save_step,
                    "the checkpoint of step %lld is not safe on disk: %s", (long long)run->save_step,
                    mmrec_error_text(&run->save_error, text, sizeof text));
    run->save_status = MMREC_OK;
}

/* A copy of the state to the writer; the save before it has been waited for. Its memory is kept for the next one: fresh
 * memory made a save of 315 MB ten times as slow. */
static mmrec_status submit(train_run *run, int64_t step) {
    mmrec_error *error = &run->save_error;
    mmrec_checkpoint_clear(run->state);
    MMREC_TRY(mmrec_trainer_save(run->trainer, run->state, error));
    return mmrec_checkpoint_writer_save(run->writer, run->state, step, error);
}

static void begin_save(train_run *run) {
    mmrec_train_totals totals = mmrec_trainer_totals(run->trainer);
    run->save_step = totals.steps;
    run->save_again = mmrec_checkpoint_writer_saved(run->writer) == totals.steps;
    run->kept = totals.micro_batches;
    mmrec_error_clear(&run->save_error);
    settle(run, submit(run, totals.steps));
}

void run_save_wait(train_run *run) {
    if (!run->writer) return;
    mmrec_status status = mmrec_checkpoint_writer_wait(run->writer, &run->save_error);
    settle(run, status);
    warn(run);
}

void run_save_poll(train_run *run) {
    bool idle = true;
    if (!run->writer) return;
    settle(run, mmrec_checkpoint_writer_poll(run->writer, &idle, &run->save_error));
    warn(run);
}

void run_save(train_run *run) {
    if (!run->writer) return;
    run_save_wait(run);
    begin_save(run);
    warn(run);
}

mmrec_status run_save_last(train_run *run, mmrec_error *error) {
    if (!run->writer) return MMREC_OK;
    if (run->kept != mmrec_trainer_totals(run->trainer).micro_batches) {
        run_save_wait(run);
        begin_save(run);
    }
    if (run->save_status == MMREC_OK) settle(run, mmrec_checkpoint_writer_wait(run->writer, &run->save_error));
    if (run->save_status == MMREC_OK) return MMREC_OK;
    char newest[64] = "no checkpoint is";
    if (run->saved >= 0)
        snprintf(newest, sizeof newest, "the newest checkpoint is of step %lld", (long long)run->saved);
    MMREC_FAIL(error, run->save_status, "the state of step %lld could not be saved: %.300s; %s on disk",
               (long long)run->save_step, run->save_error.message, newest);
}
