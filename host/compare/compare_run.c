/* The whole run: each row alone for what needs no clock, then all rows in turns; what fails is recorded and the rest
 * goes on. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "compare_impl.h"

const char *mmrec_compare_part_name(mmrec_compare_part part) {
    static const char *const names[MMREC_PARTS] = {"forward", "backward", "optimizer", "step"};
    return (unsigned)part < MMREC_PARTS ? names[part] : "?";
}

/* ---- what the files share ---- */

mmrec_status compare_alloc(mmrec_allocator *allocator, size_t count, size_t size, void **out, mmrec_error *error) {
    return mmrec_alloc_zero(allocator, count, size, MMREC_ALLOC_MEASURE, out, error);
}

void compare_release(mmrec_allocator *allocator, void *memory, size_t count, size_t size) {
    if (memory) mmrec_alloc(allocator, memory, count * size, 0, MMREC_ALLOC_MEASURE);
}

void compare_message(const compare_run *run, const char *format, ...) {
    char text[128 + MMREC_ERROR_MESSAGE];
    va_list arguments;
    if (!run->observer.message) return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    run->observer.message(run->observer.context, text);
}

void compare_progress(const compare_run *run, double part) {
    if (run->observer.progress) run->observer.progress(run->observer.context, fmin(1, (run->done + part) / run->units));
}

void compare_done(compare_run *run) {
    run->done += 1;
    compare_progress(run, 0);
}

bool compare_goes_on(const compare_run *run, int row) {
    return !run->out->row[row].failure[0] && !mmrec_measure_interrupted();
}

void compare_fail(compare_run *run, int row, mmrec_error *error) {
    char *text = run->out->row[row].failure;
    mmrec_error_text(error, text, MMREC_ERROR_MESSAGE);
    mmrec_error_clear(error);
    compare_message(run, "%s: %s", run->options->entries[row].label, text);
}

compare_recipe compare_recipe_of(const compare_run *run, int row) {
    const mmrec_compare_task *task = &run->options->task;
    return (compare_recipe){run->options, &run->options->entries[row], task->batch, task->time, true, NULL, task->seed};
}

/* ---- the parts of a run ---- */

typedef mmrec_status (*look_at_row)(compare_run *run, int row, mmrec_error *error);

static void for_rows(compare_run *run, look_at_row look, const char *what) {
    for (int row = 0; row < run->options->count; row++) {
        mmrec_error error;
        mmrec_error_clear(&error);
        if (compare_goes_on(run, row)) {
            compare_message(run, "%s of %s", what, run->options->entries[row].label);
            if (look(run, row, &error) != MMREC_OK) compare_fail(run, row, &error);
        }
        compare_done(run);
    }
}

static void note_refused(compare_run *run) {
    for (int row = 0; row < run->options->count; row++) {
        const mmrec_compare_entry *entry = &run->options->entries[row];
        snprintf(run->out->row[row].failure, MMREC_ERROR_MESSAGE, "%s", entry->refused);
        if (entry->refused[0]) compare_message(run, "%s: %s", entry->label, entry->refused);
    }
}

static void note_interrupt(compare_run *run) {
    run->out->interrupted = mmrec_measure_interrupted();
    for (int row = 0; row < run->options->count && run->out->interrupted; row++) {
        mmrec_compare_row *r = &run->out->row[row];
        if (r->failure[0] || r->parameters > 0) continue;
        snprintf(r->failure, sizeof r->failure, "interrupted before it was measured");
    }
}

/* Units of work for progress: the facts of each row, all times, each row's layers, seeds and points, these
 * twice. */
static double units_of(const mmrec_compare_options *o) {
    double rows = o->count, training = o->train_steps > 0 ? o->seeds : 0, points = o->axis_name ? 2 * o->axis_count : 0;
    return rows + 1 + (o->layers ? rows : 0) + rows * training + rows * points;
}

static mmrec_status begin(compare_run *run, mmrec_error *error) {
    const mmrec_compare_options *options = run->options;
    if (options->count < 1 || options->count > MMREC_COMPARE_ROWS) {
        MMREC_FAIL(error, MMREC_USAGE, "there are %d models to compare; there must be from 1 to %d", options->count,
                   MMREC_COMPARE_ROWS);
    }
    MMREC_TRY(device_meter_open(run->allocator, options->backend, MMREC_TIMER_AUTO, false, &run->meter, error));
    MMREC_TRY(mmrec_backend_set_threads(options->threads, error));
    MMREC_TRY(compare_task_create(run->allocator, options->io, &options->task, options->task.seed, &run->task, error));
    snprintf(run->out->data, sizeof run->out->data, "%s", run->task.name);
    run->out->best_loss = run->task.best_loss;
    return MMREC_OK;
}

static mmrec_status run_all(compare_run *run, mmrec_error *error) {
    MMREC_TRY(begin(run, error));
    note_refused(run);
    compare_task_batch(&run->task, MMREC_SPLIT_TRAIN, 0);
    for_rows(run, compare_facts, "parameters, work, memory and gradients");
    MMREC_TRY(compare_times(run, error));
    for (int row = 0; row < run->options->count; row++) {
        if (run->options->entries[row].fused && compare_goes_on(run, row)) compare_epochs(run, row);
    }
    if (run->options->layers) for_rows(run, compare_layers, "ops and modules");
    MMREC_TRY(compare_train(run, error));
    return compare_scaling(run, error);
}

static void describe(const mmrec_compare_options *options, mmrec_comparison *out) {
    mmrec_clock_date(out->started, sizeof out->started);
    mmrec_machine_read(&out->machine, options->threads);
    snprintf(out->backend, sizeof out->backend, "%s", options->backend->name);
    snprintf(out->choice, sizeof out->choice, "%.199s", mmrec_backend_choice());
    if (options->backend->device) out->device = options->backend->device->info;
}

mmrec_status mmrec_compare_run(mmrec_allocator *allocator, const mmrec_compare_options *options,
                               mmrec_compare_observer observer, mmrec_comparison *out, mmrec_error *error) {
    memset(out, 0, sizeof *out);
    out->allocator = allocator;
    out->options = options;
    out->best_loss = (double)NAN;
    compare_run run = {
        .allocator = allocator, .options = options, .observer = observer, .out = out, .units = units_of(options)};
    describe(options, out);
    mmrec_status status = run_all(&run, error);
    device_meter_close(&run.meter);
    compare_task_free(&run.task);
    if (options->count >= 1 && options->count <= MMREC_COMPARE_ROWS) {
        note_interrupt(&run);
        compare_front(out);
    }
    mmrec_clock_date(out->ended, sizeof out->ended);
    return status;
}

/* ---- the result ---- */

static void free_row(mmrec_allocator *allocator, mmrec_compare_row *row, int points) {
    compare_release(allocator, row->gradients, (size_t)row->gradient_count, sizeof *row->gradients);
    compare_release(allocator, row->layers, (size_t)row->layer_count, sizeof *row->layers);
    for (int i = 0; i < points && row->points; i++) mmrec_series_free(allocator, &row->points[i].series);
    compare_release(allocator, row->points, (size_t)points, sizeof *row->points);
    for (int part = 0; part < MMREC_PARTS; part++) mmrec_series_free(allocator, &row->series[part]);
}

void mmrec_comparison_free(mmrec_comparison *c) {
    if (!c->allocator) return;
    for (int row = 0; row < MMREC_COMPARE_ROWS; row++) free_row(c->allocator, &c->row[row], c->options->axis_count);
    memset(c, 0, sizeof *c);
}

int mmrec_comparison_exit(const mmrec_comparison *c, char *text, size_t size) {
    int failed = 0, count = c->options ? c->options->count : 0;
    size_t used = 0;
    if (size > 0) text[0] = '\0';
    for (int row = 0; row < count; row++) failed += c->row[row].failure[0] != '\0';
    if (failed == 0) return 0;
    used += (size_t)snprintf(text, size, "%d of %d models could not be measured:", failed, count);
    for (int row = 0, named = 0; row < count; row++) {
        if (!c->row[row].failure[0] || used >= size) continue;
        used += (size_t)snprintf(text + used, size - used, "%s %s", named++ ? "," : "", c->options->entries[row].label);
    }
    return 1;
}
