/* Trains the variants of one seed side by side, seed after seed. Each variant makes one step, then the next variant
 * does, in orders that turn: whatever else the machine does in the meantime meets all of them alike. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mmrec/report.h"
#include "run/study.h"

typedef struct lane {
    mmrec_trainer *trainer;
    study_run *run;
    study_variant *variant;
} lane;

/* One seed under way. */
typedef struct race {
    const mmrec_train_context *context;
    study *s;
    int seed;
    mmrec_data *data;
    mmrec_train_setup setup; /* of this seed */
    lane lanes[STUDY_VARIANTS];
    mmrec_progress_bar *bar;
    mmrec_bench_observer observer;
    uint64_t began_ns; /* of the whole study */
} race;

int study_turn(int variants, int64_t step, int turn) {
    int64_t place = step % 2 == 0 ? turn : variants - 1 - turn;
    return (int)((step / 2 + place) % variants);
}

mmrec_status study_run_create(mmrec_allocator *allocator, study_run *run, int64_t steps, int64_t points,
                              mmrec_error *error) {
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, (size_t)steps, sizeof *run->steps, MMREC_ALLOC_OTHER, &memory, error));
    run->steps = memory;
    run->step_room = steps;
    MMREC_TRY(mmrec_alloc_zero(allocator, (size_t)steps, sizeof *run->step_ns, MMREC_ALLOC_OTHER, &memory, error));
    run->step_ns = memory;
    MMREC_TRY(mmrec_alloc_zero(allocator, (size_t)points, sizeof *run->points, MMREC_ALLOC_OTHER, &memory, error));
    run->points = memory;
    run->point_room = points;
    return MMREC_OK;
}

/* ---- the same beginning ---- */

/* Values of one parameter, where the other model has one of that name and shape. */
static mmrec_status copy_parameter(mmrec_exec *from, mmrec_exec *to, mmrec_tensor t, double *values,
                                   mmrec_error *error) {
    mmrec_tensor_info info = mmrec_graph_tensor_info(mmrec_exec_graph(to), t);
    mmrec_tensor same = mmrec_graph_find(mmrec_exec_graph(from), info.name);
    if (!same) return MMREC_OK;
    mmrec_tensor_info other = mmrec_graph_tensor_info(mmrec_exec_graph(from), same);
    if (other.kind != MMREC_TENSOR_PARAM || !mmrec_shape_equal(&other.shape, &info.shape)) return MMREC_OK;
    int64_t count = mmrec_shape_elements(&info.shape);
    MMREC_TRY(mmrec_exec_read(from, same, values, count, error));
    return mmrec_exec_write(to, t, values, count, error);
}

/* Initial values are drawn by the number of a parameter, which another variant's parameters shift: what variants share
 * is taken from the baseline. */
static mmrec_status begin_alike(race *r, int variant, mmrec_error *error) {
    mmrec_exec *from = mmrec_trainer_exec(r->lanes[0].trainer), *to = mmrec_trainer_exec(r->lanes[variant].trainer);
    const mmrec_graph *graph = mmrec_exec_graph(to);
    size_t count = (size_t)mmrec_graph_largest_param(graph);
    void *values = NULL;
    MMREC_TRY(mmrec_alloc_zero(r->s->allocator, count, sizeof(double), MMREC_ALLOC_OTHER, &values, error));
    mmrec_status status = MMREC_OK;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph) && status == MMREC_OK; t++) {
        if (mmrec_graph_tensor_info(graph, t).kind != MMREC_TENSOR_PARAM) continue;
        status = copy_parameter(from, to, t, values, error);
    }
    mmrec_alloc(r->s->allocator, values, count * sizeof(double), 0, MMREC_ALLOC_OTHER);
    return status;
}

static mmrec_status open_lane(race *r, int variant, mmrec_error *error) {
    study *s = r->s;
    lane *l = &r->lanes[variant];
    mmrec_train_config config = r->setup.train;
    l->variant = &s->variant[variant];
    l->run = &s->run[r->seed][variant];
    config.model.uboo = l->variant->train.model.uboo;
    config.model.dpg = l->variant->train.model.dpg;
    config.hem = l->variant->train.hem;
    MMREC_TRY(mmrec_trainer_create(s->allocator, s->setup->backend, r->data, &config, &l->trainer, error));
    const mmrec_graph *graph = mmrec_exec_graph(mmrec_trainer_exec(l->trainer));
    l->variant->train = config;
    l->variant->auxiliary = mmrec_graph_find(graph, "loss_aux") != 0;
    l->variant->parameters = mmrec_graph_param_count(graph);
    mmrec_trainer_memory(l->trainer, l->variant->memory);
    int64_t points = s->steps / s->val_every + 2; /* before, at the end */
    MMREC_TRY(study_run_create(s->allocator, l->run, s->steps, points, error));
    return variant > 0 ? begin_alike(r, variant, error) : MMREC_OK;
}

/* ---- looking ---- */

static mmrec_status look(race *r, lane *l, mmrec_error *error) {
    study_run *run = l->run;
    bool accuracy = !r->setup.data.path;
    if (run->failure[0] || (run->point_count > 0 && run->points[run->point_count - 1].step == run->step_count))
        return MMREC_OK;
    study_point point = {.step = run->step_count, .angle = {(double)NAN, (double)NAN, (double)NAN}};
    MMREC_TRY(mmrec_trainer_evaluate(l->trainer, r->s->val_batches, accuracy, &point.validation, error));
    if (l->variant->auxiliary) MMREC_TRY(mmrec_trainer_angle(l->trainer, &point.angle, error));
    run->points[run->point_count++] = point;
    return MMREC_OK;
}

static double seconds_left(const race *r, double done) {
    return done > 0 ? mmrec_clock_seconds_since(r->began_ns) * (1 - done) / done : -1;
}

static double done_of(const race *r, int64_t step) {
    const study *s = r->s;
    return (r->seed + (double)step / (double)s->steps) / s->seed_count;
}

/* "seed 1 (1 of 5), step 50 of 200: validation loss off 2.3100, planning 2.3210, deep diverged" */
static void tell(race *r, int64_t step) {
    const study *s = r->s;
    char text[256];
    int used = snprintf(text, sizeof text, "seed %llu (%d of %d), step %lld of %lld: validation loss",
                        (unsigned long long)s->seed[r->seed], r->seed + 1, s->seed_count, (long long)step,
                        (long long)s->steps);
    for (int v = 0; v < s->variant_count && used < (int)sizeof text; v++) {
        const study_point *last = study_last(r->lanes[v].run);
        size_t room = sizeof text - (size_t)used;
        const char *between = v > 0 ? "," : "";
        used += last ? snprintf(text + used, room, "%s %s %.4f", between, s->variant[v].name, last->validation.loss)
                     : snprintf(text + used, room, "%s %s diverged", between, s->variant[v].name);
    }
    mmrec_progress_hide(r->bar);
    r->observer.message(r->observer.context, text);
}

static mmrec_status look_at_all(race *r, int64_t step, mmrec_error *error) {
    for (int v = 0; v < r->s->variant_count; v++)
        MMREC_TRY_WHILE(look(r, &r->lanes[v], error), error, "validating %s at step %lld", r->s->variant[v].name,
                        (long long)step);
    tell(r, step);
    return MMREC_OK;
}

/* ---- steps ---- */

static void record_step(study_run *run, const mmrec_train_record *record, bool untimed) {
    run->steps[run->step_count] = (study_step){.loss = record->loss,
                                               .loss_main = record->loss_main,
                                               .loss_aux = record->loss_aux,
                                               .gradient_norm = record->gradient_norm,
                                               .growth = record->growth,
                                               .skipped = record->skipped,
                                               .spike = record->spike};
    run->step_ns[run->step_count++] = untimed ? (double)NAN : (double)record->ns;
}

/* A guard that gives up ends this run, not the study. */
static mmrec_status step(race *r, lane *l, mmrec_error *error) {
    mmrec_train_record record = {0};
    if (l->run->failure[0]) return MMREC_OK;
    mmrec_status status = mmrec_trainer_step(l->trainer, &record, error);
    if (status != MMREC_OK && status != MMREC_MISMATCH) return status;
    record_step(l->run, &record, mmrec_train_untimed(&r->setup));
    if (status == MMREC_OK) return MMREC_OK;
    char text[MMREC_ERROR_MESSAGE];
    mmrec_error_text(error, text, sizeof text);
    mmrec_error_clear(error);
    snprintf(l->run->failure, sizeof l->run->failure, "diverged at step %lld: %.400s", (long long)l->run->step_count,
             text);
    mmrec_progress_hide(r->bar);
    r->observer.message(r->observer.context, l->run->failure);
    return MMREC_OK;
}

static bool all_failed(const race *r) {
    for (int v = 0; v < r->s->variant_count; v++) {
        if (!r->lanes[v].run->failure[0]) return false;
    }
    return true;
}

/* Whether to stop before the end, with the reason. */
static bool stops(race *r) {
    const mmrec_train_context *c = r->context;
    double most = r->s->setup->max_time_s;
    const char *why = NULL;
    if (mmrec_measure_interrupted() || (c->stop_signal && c->stop_signal() != 0)) why = "it was interrupted";
    if (most > 0 && mmrec_clock_seconds_since(r->began_ns) >= most) why = "the time of --max-time was over";
    if (why) snprintf(r->s->stopped, sizeof r->s->stopped, "%s", why);
    return why != NULL;
}

static mmrec_status run_steps(race *r, mmrec_error *error) {
    study *s = r->s;
    int64_t made = 0;
    MMREC_TRY(look_at_all(r, 0, error));
    while (made < s->steps && !all_failed(r) && !stops(r)) {
        for (int turn = 0; turn < s->variant_count; turn++) {
            int v = study_turn(s->variant_count, made, turn);
            MMREC_TRY_WHILE(step(r, &r->lanes[v], error), error, "training %s with seed %llu, step %lld",
                            s->variant[v].name, (unsigned long long)s->seed[r->seed], (long long)made + 1);
        }
        made++;
        if (made % s->val_every == 0) MMREC_TRY(look_at_all(r, made, error));
        char text[64];
        snprintf(text, sizeof text, "seed %d of %d, step %lld", r->seed + 1, s->seed_count, (long long)made);
        mmrec_progress_show(r->bar, done_of(r, made), seconds_left(r, done_of(r, made)), text);
    }
    /* A seed that was stopped is in the figures only where it is the first: no other is looked at again. */
    bool wanted = made % s->val_every != 0 && (r->seed == 0 || !s->stopped[0]);
    return wanted ? look_at_all(r, made, error) : MMREC_OK;
}

/* ---- seeds ---- */

/* What the first seed's data and options come to is said once, and must be so for all of them. */
static mmrec_status note_data(race *r, mmrec_error *error) {
    study *s = r->s;
    const mmrec_data_info *info = mmrec_data_info_of(r->data);
    if (r->seed > 0 && r->setup.data.path && info->checksum != s->data.checksum) {
        MMREC_FAIL(error, MMREC_IO, "\"%.300s\" changed while the study ran: its CRC-32 was %08x and is %08x",
                   r->setup.data.path, (unsigned)s->data.checksum, (unsigned)info->checksum);
    }
    if (r->seed > 0) return MMREC_OK;
    s->data = *info;
    s->steps = r->setup.steps;
    s->val_batches = r->setup.val_batches;
    s->val_every = r->setup.val_every > 0 && r->setup.val_every < s->steps ? r->setup.val_every : s->steps;
    if (s->steps < 1) MMREC_FAIL(error, MMREC_CONFIG, "a study needs at least 1 step, got %lld", (long long)s->steps);
    return MMREC_OK;
}

static mmrec_status open_race(race *r, mmrec_error *error) {
    study *s = r->s;
    r->setup = *s->setup;
    r->setup.train.seed = r->setup.data.seed = s->seed[r->seed];
    MMREC_TRY(mmrec_train_setup_data(s->allocator, r->context->io, &r->setup, &r->data, error));
    MMREC_TRY(note_data(r, error));
    s->begun = r->seed + 1;
    for (int v = 0; v < s->variant_count; v++)
        MMREC_TRY_WHILE(open_lane(r, v, error), error, "setting up %s", s->variant[v].name);
    return MMREC_OK;
}

/* After a failure within a round some variants have a point more than others: it is nothing to compare. */
static void level_points(race *r) {
    int64_t least = INT64_MAX;
    for (int v = 0; v < r->s->variant_count; v++) {
        const study_run *run = &r->s->run[r->seed][v];
        if (!run->failure[0] && run->point_count < least) least = run->point_count;
    }
    for (int v = 0; v < r->s->variant_count; v++) {
        study_run *run = &r->s->run[r->seed][v];
        if (run->point_count > least) run->point_count = least;
    }
}

static void close_race(race *r) {
    for (int v = 0; v < STUDY_VARIANTS; v++) mmrec_trainer_destroy(&r->lanes[v].trainer);
    mmrec_data_destroy(&r->data);
}

static mmrec_status run_seed(race *r, mmrec_error *error) {
    mmrec_status status = open_race(r, error);
    if (status == MMREC_OK) status = run_steps(r, error);
    if (status != MMREC_OK) level_points(r);
    close_race(r);
    return status;
}

static void note_failure(study *s, const mmrec_error *error) {
    char text[MMREC_ERROR_MESSAGE];
    snprintf(s->stopped, sizeof s->stopped, "it failed: %.200s", mmrec_error_text(error, text, sizeof text));
}

mmrec_status study_train(const mmrec_train_context *context, study *s, mmrec_error *error) {
    mmrec_progress_bar bar;
    mmrec_bench_observer observer = mmrec_progress_begin(&bar, context->io, s->setup->quiet);
    uint64_t began = mmrec_clock_ns();
    mmrec_status status = MMREC_OK;
    mmrec_machine_read(&s->machine, s->setup->train.threads);
    mmrec_clock_date(s->started, sizeof s->started);
    for (int k = 0; k < s->seed_count && status == MMREC_OK && !s->stopped[0]; k++) {
        race r = {.context = context, .s = s, .seed = k, .bar = &bar, .observer = observer, .began_ns = began};
        status = run_seed(&r, error);
    }
    mmrec_progress_end(&bar);
    if (status != MMREC_OK) note_failure(s, error);
    mmrec_clock_date(s->ended, sizeof s->ended);
    return status;
}
