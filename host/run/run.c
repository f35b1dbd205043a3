/* The course of a training: data, trainer, where to go on, steps, and the end with its checkpoint, validation and
 * sample. */

#include "run/run_impl.h"

enum { EXIT_SIGNAL = 128, SIGNAL_INTERRUPT = 2 };

double run_seconds(const train_run *run) { return (double)(mmrec_clock_ns() - run->began_ns) * 1e-9; }

/* ---- beginning ---- */

static mmrec_status make_gradients(train_run *run, mmrec_error *error) {
    void *memory = NULL;
    if (run->setup.grad_stats_every == 0) return MMREC_OK;
    MMREC_TRY(mmrec_alloc_zero(run->context->allocator, (size_t)mmrec_trainer_gradient_count(run->trainer),
                               sizeof *run->gradients, MMREC_ALLOC_OTHER, &memory, error));
    run->gradients = memory;
    return MMREC_OK;
}

static void start_log(train_run *run) {
    train_log_head head = {.setup = &run->setup,
                           .data = mmrec_data_info_of(run->data),
                           .parameters = mmrec_graph_param_count(mmrec_exec_graph(mmrec_trainer_exec(run->trainer))),
                           .resumed = run->resumed,
                           .made = run->before};
    mmrec_trainer_memory(run->trainer, head.planned);
    train_log_start(&run->log, &head);
    if (head.data->held_out_batches == 0)
        train_log_event(&run->log, TRAIN_EVENT_NOTE, run->before.steps, "nothing is held out, so nothing is validated");
}

/* What can be refused is refused before the first step, and before a log of an earlier run is emptied. */
static mmrec_status begin(train_run *run, mmrec_error *error) {
    const mmrec_train_context *c = run->context;
    MMREC_TRY(train_log_open(&run->log, c->allocator, c->io, &run->setup, error));
    MMREC_TRY(mmrec_train_setup_data(c->allocator, c->io, &run->setup, &run->data, error));
    MMREC_TRY(run_sample_open(run, error));
    MMREC_TRY(
        mmrec_trainer_create(c->allocator, run->setup.backend, run->data, &run->setup.train, &run->trainer, error));
    MMREC_TRY(make_gradients(run, error));
    MMREC_TRY(run_save_open(run, error));
    MMREC_TRY(run_resume(run, error));
    run->before = mmrec_trainer_totals(run->trainer);
    start_log(run);
    return MMREC_OK;
}

/* ---- end ---- */

/* Whoever interrupts a run wants it to end: validation and sample are for a training that was done, or out of time. */
static mmrec_status conclude(train_run *run, mmrec_error *error) {
    if (run->stop != TRAIN_DONE && run->stop != TRAIN_TIME_IS_UP) return MMREC_OK;
    MMREC_TRY_WHILE(run_validate(run, error), error, "validating at the end");
    MMREC_TRY_WHILE(run_sample(run, error), error, "writing the sample");
    return MMREC_OK;
}

static void tell_stop(train_run *run) {
    mmrec_train_totals totals = mmrec_trainer_totals(run->trainer);
    const char *why = run->stop == TRAIN_INTERRUPTED ? "by a signal" : train_stop_name(run->stop);
    if (run->stop == TRAIN_DONE || run->stop == TRAIN_FAILED) return;
    train_log_event(&run->log, TRAIN_EVENT_STOPPED, totals.steps, "%s at step %lld of %lld%s", why,
                    (long long)totals.steps, (long long)run->setup.steps,
                    !run->writer                   ? "; without --checkpoint nothing of it is kept"
                    : run->save_status == MMREC_OK ? "; --resume goes on from there"
                                                   : "");
}

/* A training that a guard has stopped leaves its checkpoints as they are. */
static mmrec_status after_failure(train_run *run, mmrec_status status, mmrec_error *error) {
    run->stop = TRAIN_FAILED;
    run_save_wait(run);
    if (status != MMREC_MISMATCH || run->saved < 0) return status;
    mmrec_error before = *error;
    MMREC_FAIL(error, status, "%.400s; the newest checkpoint is of step %lld", before.message, (long long)run->saved);
}

/* Steps, then the last save, then what a user reads at the end, though the save may have failed. An output that broke
 * ends the run, but the training itself is good: it is saved first. */
static mmrec_status course(train_run *run, mmrec_error *error) {
    mmrec_error late;
    mmrec_status status = run_loop(run, error);
    if (status != MMREC_OK) return after_failure(run, status, error);
    status = run_save_last(run, error);
    tell_stop(run);
    if (run->log.status == MMREC_OK) {
        mmrec_status concluded = conclude(run, status == MMREC_OK ? error : &late);
        if (status == MMREC_OK) status = concluded;
    }
    if (status != MMREC_OK) run->stop = TRAIN_FAILED;
    return status;
}

static mmrec_status of_outputs(const train_run *run, mmrec_error *error) {
    if (run->log.status != MMREC_OK) *error = run->log.error;
    return run->log.status;
}

static int exit_code(const train_run *run, mmrec_status status) {
    if (status != MMREC_OK) return mmrec_status_exit(status);
    if (run->stop != TRAIN_INTERRUPTED) return 0;
    int number = run->context->stop_signal ? run->context->stop_signal() : 0;
    return EXIT_SIGNAL + (number > 0 ? number : SIGNAL_INTERRUPT);
}

static void end_log(train_run *run, mmrec_status status, const mmrec_error *error) {
    char failure[2 * MMREC_ERROR_MESSAGE];
    train_log_tail tail = {.stop = run->stop,
                           .exit_code = exit_code(run, status),
                           .failure = status == MMREC_OK ? NULL : mmrec_error_text(error, failure, sizeof failure),
                           .totals = mmrec_trainer_totals(run->trainer),
                           .wall_s = run_seconds(run),
                           .saved = run->saved,
                           .host_peak_bytes = run->context->allocator->total.peak_bytes};
    tail.steps = tail.totals.steps - run->before.steps;
    tail.tokens = tail.totals.tokens - run->before.tokens;
    mmrec_trainer_waits(run->trainer, &tail.waits, &tail.wait_ns);
    train_log_end(&run->log, &tail);
}

static void release(train_run *run) {
    mmrec_allocator *allocator = run->context->allocator;
    mmrec_checkpoint_writer_destroy(&run->writer);
    mmrec_checkpoint_destroy(&run->state);
    if (run->gradients) {
        size_t count = (size_t)mmrec_trainer_gradient_count(run->trainer);
        mmrec_alloc(allocator, run->gradients, count * sizeof *run->gradients, 0, MMREC_ALLOC_OTHER);
    }
    run_sample_close(run);
    mmrec_trainer_destroy(&run->trainer);
    mmrec_data_destroy(&run->data);
}

mmrec_status mmrec_train_run(const mmrec_train_context *context, const mmrec_train_setup *setup, int *code,
                             mmrec_error *error) {
    train_run run = {.context = context, .setup = *setup, .began_ns = mmrec_clock_ns(), .validated = -1};
    mmrec_error unread;
    if (!error) error = &unread;
    run.kept = run.saved = -1;
    mmrec_status status = begin(&run, error);
    if (status == MMREC_OK) {
        status = course(&run, error);
        if (status == MMREC_OK) status = of_outputs(&run, error);
        end_log(&run, status, error);
        *code = exit_code(&run, status);
    }
    train_log_close(&run.log);
    release(&run);
    return status == MMREC_OK ? of_outputs(&run, error) : status;
}
