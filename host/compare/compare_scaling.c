/* The same rows at several sizes of one axis: time, batch, or the field that sizes the model.
 *
 * The points are gone through twice, up and down again: a machine that gets steadily slower in the meantime adds the
 * same to all of them, and not to the exponent. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compare_impl.h"
#include "measure/bench_impl.h"

typedef struct scaled {
    compare_run *run;
    compare_task *task;
    mmrec_compare_entry entry;
    compare_net net;
    mmrec_compare_point *point;
} scaled;

static bool axis_is(const compare_run *run, const char *name) { return strcmp(run->options->axis_name, name) == 0; }

/* ---- a step ---- */

static mmrec_status prepare(void *context, mmrec_error *error) {
    const scaled *s = context;
    MMREC_TRY(compare_net_feed(&s->net, s->task, s->net.exec, error));
    if (s->net.exec) mmrec_exec_params_changed(s->net.exec);
    return MMREC_OK;
}

static mmrec_status run_step(void *context, mmrec_error *error) {
    return compare_net_queue(&((const scaled *)context)->net, MMREC_PART_STEP, error);
}

static void tick(void *context, double done) { compare_progress(((const scaled *)context)->run, done); }

/* Half of what a series takes, for each of two sweeps; both together are as narrow as was asked for. */
static mmrec_sampling half_of(mmrec_sampling sampling) {
    sampling.min_time_s /= 2;
    sampling.max_time_s /= 2;
    sampling.min_samples = (sampling.min_samples + 1) / 2;
    sampling.max_samples = (sampling.max_samples + 1) / 2;
    sampling.least_samples = (sampling.least_samples + 1) / 2;
    sampling.target_ci *= sqrt(2.0);
    return sampling;
}

static mmrec_status keep_samples(scaled *s, const mmrec_series *taken, mmrec_error *error) {
    mmrec_series *all = &s->point->series;
    void *samples = all->samples_ns;
    if (taken->count == 0) return MMREC_OK;
    mmrec_status status =
        mmrec_alloc_grow(s->run->allocator, &samples, &all->capacity, (size_t)(all->count + taken->count),
                         sizeof *all->samples_ns, MMREC_ALLOC_MEASURE, error);
    all->samples_ns = samples;
    if (status != MMREC_OK) return status;
    memcpy(all->samples_ns + all->count, taken->samples_ns, (size_t)taken->count * sizeof *all->samples_ns);
    all->count += taken->count;
    s->point->step = mmrec_stats_of(all->samples_ns, all->count);
    return MMREC_OK;
}

static bool untimed(const compare_run *run) {
    const mmrec_meter *meter = device_meter_of(&run->meter);
    return meter && meter->untimed;
}

static mmrec_status time_step(scaled *s, mmrec_error *error) {
    mmrec_sampling sampling = half_of(s->run->options->sampling);
    mmrec_subject subject = {.run = run_step, .context = s, .prepare = prepare};
    mmrec_progress progress = {tick, s};
    mmrec_series series = {0};
    sampling.meter = device_meter_of(&s->run->meter);
    if (untimed(s->run)) sampling = bench_sampling_untimed(sampling.meter);
    MMREC_TRY_WHILE(mmrec_measure(s->run->allocator, subject, &sampling, progress, &series, error), error,
                    "timing a step");
    mmrec_status status = keep_samples(s, &series, error);
    mmrec_series_free(s->run->allocator, &series);
    return status;
}

/* ---- a row at a point ---- */

static mmrec_status size_entry(scaled *s, int64_t at, mmrec_error *error) {
    const mmrec_model_def *def = mmrec_model_get(s->entry.kind);
    if (!axis_is(s->run, "dim")) return mmrec_compare_fit_task(&s->entry, &s->task->spec, error);
    if (!def->width) MMREC_FAIL(error, MMREC_CONFIG, "model %s has no field that sizes it", def->name);
    def->scale(&s->entry.config, at);
    return mmrec_compare_fit_task(&s->entry, &s->task->spec, error);
}

static mmrec_status measure(scaled *s, int64_t at, mmrec_error *error) {
    const mmrec_compare_task *task = &s->task->spec;
    compare_recipe recipe = {s->run->options, &s->entry, task->batch, task->time, true, NULL, task->seed};
    MMREC_TRY(size_entry(s, at, error));
    MMREC_TRY(compare_net_create(s->run->allocator, &recipe, &s->net, error));
    mmrec_work forward = compare_net_forward_work(&s->net),
               backward = mmrec_graph_work(s->net.graph, MMREC_PHASE_BACKWARD);
    s->point->bytes = compare_net_planned_all(&s->net);
    s->point->work = (mmrec_work){forward.flops + backward.flops, forward.transcendentals + backward.transcendentals,
                                  forward.bytes + backward.bytes};
    return time_step(s, error);
}

/* What the sweep down would add: nothing where the sweep up failed, or where there are no times. */
static bool done_with(const compare_run *run, const mmrec_compare_point *point, bool again) {
    return again && (point->failure[0] || untimed(run) || mmrec_measure_interrupted());
}

static void measure_row(compare_run *run, compare_task *task, int row, int number, bool again) {
    scaled s = {.run = run, .task = task, .entry = run->options->entries[row]};
    mmrec_error error;
    mmrec_error_clear(&error);
    s.point = &run->out->row[row].points[number];
    if (done_with(run, s.point, again)) return;
    if (mmrec_measure_interrupted()) {
        snprintf(s.point->failure, sizeof s.point->failure, "interrupted before it was measured");
        return;
    }
    compare_message(run, "%s at %s %lld%s", s.entry.label, run->options->axis_name, (long long)s.point->at,
                    again ? " again" : "");
    if (measure(&s, s.point->at, &error) != MMREC_OK) {
        s.point->step = (mmrec_stats){0};
        mmrec_error_text(&error, s.point->failure, sizeof s.point->failure);
        compare_message(run, "%s at %s %lld: %s", s.entry.label, run->options->axis_name, (long long)s.point->at,
                        s.point->failure);
    }
    compare_net_free(&s.net);
}

/* ---- points ---- */

/* A size that the task cannot have fails for all rows, and at this point only. */
static void measure_point(compare_run *run, int number, bool again) {
    mmrec_compare_task spec = run->options->task;
    int64_t at = run->options->axis[number];
    compare_task task;
    mmrec_error error;
    mmrec_error_clear(&error);
    if (axis_is(run, "time")) spec.time = at;
    if (axis_is(run, "batch")) spec.batch = at;
    mmrec_status status = compare_task_create(run->allocator, run->options->io, &spec, spec.seed, &task, &error);
    if (status == MMREC_OK) compare_task_batch(&task, MMREC_SPLIT_TRAIN, 0);
    for (int row = 0; row < run->options->count; row++) {
        mmrec_compare_point *points = run->out->row[row].points;
        if (points && status == MMREC_OK) measure_row(run, &task, row, number, again);
        if (points && status != MMREC_OK) mmrec_error_text(&error, points[number].failure, MMREC_ERROR_MESSAGE);
        compare_done(run);
    }
    compare_task_free(&task);
}

static void fit(const compare_run *run, mmrec_compare_row *row) {
    double at[MMREC_COMPARE_POINTS], ns[MMREC_COMPARE_POINTS], bytes[MMREC_COMPARE_POINTS];
    int count = run->options->axis_count;
    for (int i = 0; i < count; i++) {
        const mmrec_compare_point *p = &row->points[i];
        at[i] = (double)p->at;
        ns[i] = p->step.valid ? p->step.median : 0; /* left out */
        bytes[i] = (double)p->bytes;
    }
    row->time_fit = compare_fit_of(at, ns, count);
    row->memory_fit = compare_fit_of(at, bytes, count);
}

static mmrec_status check(const compare_run *run, mmrec_error *error) {
    const mmrec_compare_options *options = run->options;
    if (!axis_is(run, "time") && !axis_is(run, "batch") && !axis_is(run, "dim")) {
        MMREC_FAIL(error, MMREC_CONFIG, "the axis is \"%.40s\"; it must be time, batch or dim", options->axis_name);
    }
    if (options->axis_count >= 1 && options->axis_count <= MMREC_COMPARE_POINTS) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "the axis has %d points; it must have from 1 to %d", options->axis_count,
               MMREC_COMPARE_POINTS);
}

static mmrec_status make_points(compare_run *run, int row, mmrec_error *error) {
    void *memory = NULL;
    int count = run->options->axis_count;
    MMREC_TRY(compare_alloc(run->allocator, (size_t)count, sizeof(mmrec_compare_point), &memory, error));
    run->out->row[row].points = memory;
    for (int i = 0; i < count; i++) run->out->row[row].points[i].at = run->options->axis[i];
    return MMREC_OK;
}

mmrec_status compare_scaling(compare_run *run, mmrec_error *error) {
    if (!run->options->axis_name) return MMREC_OK;
    MMREC_TRY(check(run, error));
    for (int row = 0; row < run->options->count; row++) {
        if (compare_goes_on(run, row)) MMREC_TRY(make_points(run, row, error));
    }
    for (int i = 0; i < run->options->axis_count; i++) measure_point(run, i, false);
    for (int i = run->options->axis_count - 1; i >= 0; i--) measure_point(run, i, true);
    for (int row = 0; row < run->options->count; row++) {
        if (run->out->row[row].points) fit(run, &run->out->row[row]);
    }
    return MMREC_OK;
}
