/* Steps, and what comes due between them. What is looked at after every micro-batch is cheap: flags, counters, a clock.
 */
#include <math.h>

#include "run/run_impl.h"

/* ---- when to stop ---- */

static train_stop reason_to_stop(const train_run *run) {
    mmrec_train_totals totals = mmrec_trainer_totals(run->trainer);
    const mmrec_train_setup *s = &run->setup;
    if (totals.steps >= s->steps) return TRAIN_DONE;
    if (mmrec_measure_interrupted()) return TRAIN_INTERRUPTED;
    if (run->log.status != MMREC_OK) return TRAIN_FAILED;
    if (s->stop_after > 0 && totals.steps - run->before.steps >= s->stop_after) return TRAIN_STOP_AFTER;
    if (s->max_time_s > 0 && run_seconds(run) >= s->max_time_s) return TRAIN_TIME_IS_UP;
    return TRAIN_GOES_ON;
}

/* ---- what is due behind a step ---- */

mmrec_status run_validate(train_run *run, mmrec_error *error) {
    mmrec_evaluation evaluation;
    int64_t step = mmrec_trainer_totals(run->trainer).steps;
    uint64_t start = mmrec_clock_ns();
    if (mmrec_data_info_of(run->data)->held_out_batches == 0 || run->validated == step) return MMREC_OK;
    MMREC_TRY(mmrec_trainer_evaluate(run->trainer, run->setup.val_batches, !run->setup.data.path, &evaluation, error));
    train_log_validation(&run->log, step, &evaluation, mmrec_clock_ns() - start);
    run->validated = step;
    return MMREC_OK;
}

static mmrec_status look_at_gradients(train_run *run, const mmrec_train_record *record, mmrec_error *error) {
    MMREC_TRY(mmrec_trainer_gradients(run->trainer, run->gradients, error));
    train_log_gradients(&run->log, record->step, record->gradient_norm, run->gradients,
                        mmrec_trainer_gradient_count(run->trainer));
    return MMREC_OK;
}

static bool is_due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

static void tell_step(train_run *run, const mmrec_train_record *record) {
    const mmrec_backend *backend = run->setup.backend;
    train_log_step step = {.record = record, .host_bytes = run->context->allocator->total.live_bytes};
    for (int arena = 0; backend->device && arena <= MMREC_ARENAS; arena++)
        step.device_bytes += backend->device->allocated(arena).live_bytes;
    train_log_of_step(&run->log, &step);
}

/* The state behind a step that a guard has stopped is not saved: if the run ends here, the last good one is there. */
static mmrec_status after_step(train_run *run, const mmrec_train_record *record, mmrec_error *error) {
    const mmrec_train_setup *s = &run->setup;
    tell_step(run, record);
    if (run->gradients && is_due(record->step, s->grad_stats_every))
        MMREC_TRY_WHILE(look_at_gradients(run, record, error), error, "reading the gradients of step %lld",
                        (long long)record->step);
    run_save_poll(run);
    if (is_due(record->step, s->save_every) && !record->skipped) run_save(run);
    if (is_due(record->step, s->val_every))
        MMREC_TRY_WHILE(run_validate(run, error), error, "validating at step %lld", (long long)record->step);
    return MMREC_OK;
}

/* ---- progress ---- */

/* Steps differ, and so do the pauses between them: the mean, in which the last twenty or so count most. */
static void take_pace(train_run *run, int64_t made) {
    static const double least_share = 0.05;
    uint64_t now = mmrec_clock_ns();
    double step_s = (double)(now - run->paced_ns) * 1e-9;
    run->pace_s += fmax(1.0 / (double)made, least_share) * (step_s - run->pace_s);
    run->paced_ns = now;
}

static void show_progress(train_run *run, const mmrec_train_record *record) {
    const mmrec_train_setup *s = &run->setup;
    int64_t made = record->step - run->before.steps, last = s->steps - run->before.steps;
    if (s->stop_after > 0 && s->stop_after < last) last = s->stop_after;
    double done = (double)made / (double)last, left_s = run->pace_s * (double)(last - made);
    if (s->max_time_s > 0) {
        double spent = run_seconds(run);
        done = fmax(done, spent / s->max_time_s);
        left_s = fmin(left_s, s->max_time_s - spent);
    }
    train_log_progress(&run->log, done, left_s, record);
}

mmrec_status run_loop(train_run *run, mmrec_error *error) {
    mmrec_train_record record;
    run->paced_ns = mmrec_clock_ns();
    while ((run->stop = reason_to_stop(run)) == TRAIN_GOES_ON) {
        bool finished = false;
        mmrec_status status = mmrec_trainer_micro(run->trainer, &finished, &record, error);
        /* A step that a guard ended the run with is told like any other. */
        if (finished && status == MMREC_MISMATCH) tell_step(run, &record);
        MMREC_TRY(status);
        if (!finished) continue;
        MMREC_TRY(after_step(run, &record, error));
        take_pace(run, record.step - run->before.steps);
        show_progress(run, &record);
    }
    return MMREC_OK;
}
