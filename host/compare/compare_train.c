/* What the rows learn: every seed begins with its own initial values and data, which are the same for all rows. */
#include <math.h>

#include "compare_impl.h"
#include "mmrec/train.h"
#include "run/study.h"

/* As mmrec-train has it by default: a tenth of the steps to warm up, then a half cosine down to a tenth of the rate. */
static const double final_share = 0.1;

typedef struct pupil {
    compare_run *run;
    compare_task *task;
    compare_net net, exam; /* exam: without gradients, with the parameters of the other */
    double *scores;        /* the result of a batch */
    int64_t score_count;
    int row, seed;
    double loss_sum; /* of the last tenth of the steps */
    int64_t loss_count;
    int skipped; /* steps in a row that were not made */
} pupil;

static mmrec_schedule schedule_of(const mmrec_compare_options *options) {
    return (mmrec_schedule){.rate = options->rate,
                            .final_share = final_share,
                            .warmup_steps = options->train_steps / 10,
                            .steps = options->train_steps};
}

static int64_t window_of(int64_t steps) { return steps >= 10 ? steps / 10 : 1; }

/* ---- steps ---- */

/* Dropout draws under a seed of its own in every step: the two are mixed by the golden ratio. */
static mmrec_status run_step(pupil *p, int64_t number, double rate, double *loss, bool *skipped, mmrec_error *error) {
    mmrec_optimizer_report report = {0};
    mmrec_exec_seed(p->net.exec, p->task->spec.seed + (uint64_t)number * UINT64_C(0x9E3779B97F4A7C15));
    MMREC_TRY(compare_net_feed(&p->net, p->task, p->net.exec, error));
    MMREC_TRY(mmrec_exec_run(p->net.exec, MMREC_PHASE_FORWARD, error));
    MMREC_TRY(compare_net_loss(&p->net, loss, error));
    MMREC_TRY(mmrec_exec_run(p->net.exec, MMREC_PHASE_BACKWARD, error));
    MMREC_TRY(compare_net_carry(&p->net, error));
    MMREC_TRY(mmrec_optimizer_step(p->net.optimizer, rate, &report, error));
    *skipped = report.skipped;
    return MMREC_OK;
}

/* What is not finite is not learned from: the optimizer writes nothing then, and after some such steps in a row the row
 * has diverged. */
static mmrec_status step(pupil *p, int64_t number, bool *diverged, mmrec_error *error) {
    const mmrec_compare_options *options = p->run->options;
    mmrec_schedule schedule = schedule_of(options);
    double loss = 0, rate = mmrec_schedule_rate(&schedule, number);
    bool skipped = false;
    compare_task_batch(p->task, MMREC_SPLIT_TRAIN, number);
    if (p->net.fused)
        MMREC_TRY(compare_fused_train(&p->net, p->task, rate, &loss, &skipped, error));
    else
        MMREC_TRY(run_step(p, number, rate, &loss, &skipped, error));
    bool good = isfinite(loss) && !skipped;
    p->skipped = good ? 0 : p->skipped + 1;
    *diverged = p->skipped >= MMREC_GUARD_MOST;
    if (number >= options->train_steps - window_of(options->train_steps)) {
        p->loss_sum += loss;
        p->loss_count++;
    }
    return MMREC_OK;
}

/* ---- the exam ---- */

static int64_t best_of(const double *scores, int64_t classes) {
    int64_t best = 0;
    for (int64_t i = 1; i < classes; i++) {
        if (scores[i] > scores[best]) best = i;
    }
    return best;
}

static void mark(const pupil *p, int64_t *right, int64_t *asked) {
    const compare_task *t = p->task;
    int64_t classes = p->score_count / t->places;
    for (int64_t i = 0; i < t->places; i++) {
        if (!t->asked[i]) continue;
        (*asked)++;
        *right += best_of(p->scores + i * classes, classes) == t->targets[i];
    }
}

static mmrec_status examine_batch(pupil *p, int64_t number, double *loss, int64_t *right, int64_t *asked,
                                  mmrec_error *error) {
    compare_task_batch(p->task, MMREC_SPLIT_HELD_OUT, number);
    if (p->net.fused) {
        MMREC_TRY(compare_fused_examine(&p->net, p->task, loss, p->scores, error));
        if (p->task->targets) mark(p, right, asked);
        return MMREC_OK;
    }
    MMREC_TRY(compare_net_feed(&p->exam, p->task, p->exam.exec, error));
    MMREC_TRY(mmrec_exec_run(p->exam.exec, MMREC_PHASE_FORWARD, error));
    MMREC_TRY(compare_net_loss(&p->exam, loss, error));
    MMREC_TRY(compare_net_carry(&p->exam, error));
    if (!p->task->targets) return MMREC_OK;
    MMREC_TRY(mmrec_exec_read(p->exam.exec, p->exam.result, p->scores, p->score_count, error));
    mark(p, right, asked);
    return MMREC_OK;
}

static mmrec_status open_exam_net(pupil *p, mmrec_error *error) {
    compare_recipe recipe = compare_recipe_of(p->run, p->row);
    recipe.gradient = false;
    recipe.params_from = p->net.exec;
    MMREC_TRY(compare_net_create(p->run->allocator, &recipe, &p->exam, error));
    compare_net_carry_from(&p->exam, &p->net);
    if (!p->exam.result) MMREC_FAIL(error, MMREC_CONFIG, "the model has no result that could be judged");
    mmrec_shape shape = mmrec_graph_tensor_info(p->exam.graph, p->exam.result).shape;
    p->score_count = mmrec_shape_elements(&shape);
    return MMREC_OK;
}

static mmrec_status open_exam(pupil *p, mmrec_error *error) {
    void *memory = NULL;
    if (!p->net.fused) MMREC_TRY(open_exam_net(p, error));
    if (p->net.fused) p->score_count = p->task->spec.batch * p->task->spec.outputs;
    MMREC_TRY(compare_alloc(p->run->allocator, (size_t)p->score_count, sizeof *p->scores, &memory, error));
    p->scores = memory;
    return MMREC_OK;
}

static mmrec_status examine(pupil *p, mmrec_compare_quality *q, mmrec_error *error) {
    int64_t right = 0, asked = 0;
    double sum = 0;
    MMREC_TRY(open_exam(p, error));
    for (int64_t i = 0; i < p->task->held_out; i++) {
        double loss = 0;
        MMREC_TRY(examine_batch(p, i, &loss, &right, &asked, error));
        sum += loss;
    }
    double loss = sum / (double)p->task->held_out;
    q->loss[p->seed] = isfinite(loss) ? loss : (double)NAN;
    if (asked > 0) q->accuracy[p->seed] = (double)right / (double)asked;
    q->diverged[p->seed] = !isfinite(loss);
    return MMREC_OK;
}

/* ---- one row, one seed ---- */

static mmrec_status study_hard(pupil *p, mmrec_compare_quality *q, mmrec_error *error) {
    int64_t steps = p->run->options->train_steps;
    compare_recipe recipe = compare_recipe_of(p->run, p->row);
    bool diverged = false;
    recipe.seed = p->task->spec.seed;
    MMREC_TRY(compare_net_create(p->run->allocator, &recipe, &p->net, error));
    uint64_t start = mmrec_clock_ns();
    for (int64_t i = 0; i < steps && !diverged && !mmrec_measure_interrupted(); i++) {
        MMREC_TRY_WHILE(step(p, i, &diverged, error), error, "making step %lld with seed %llu", (long long)i + 1,
                        (unsigned long long)p->task->spec.seed);
        compare_progress(p->run, (double)i / (double)steps);
    }
    q->seconds[p->seed] = mmrec_clock_seconds_since(start);
    q->diverged[p->seed] = diverged;
    q->loss[p->seed] = q->accuracy[p->seed] = q->train_loss[p->seed] = (double)NAN;
    if (diverged || mmrec_measure_interrupted()) return MMREC_OK;
    q->train_loss[p->seed] = p->loss_sum / (double)p->loss_count;
    MMREC_TRY_WHILE(examine(p, q, error), error, "looking at held-out data");
    return MMREC_OK;
}

static void teach(compare_run *run, compare_task *task, int row, int seed) {
    pupil p = {.run = run, .task = task, .row = row, .seed = seed};
    mmrec_compare_quality *q = &run->out->row[row].quality;
    mmrec_error error;
    mmrec_error_clear(&error);
    compare_message(run, "training %s with seed %llu (%d of %d)", run->options->entries[row].label,
                    (unsigned long long)task->spec.seed, seed + 1, run->options->seeds);
    mmrec_status status = study_hard(&p, q, &error);
    compare_release(run->allocator, p.scores, (size_t)p.score_count, sizeof *p.scores);
    compare_net_free(&p.exam);
    compare_net_free(&p.net);
    if (status != MMREC_OK)
        compare_fail(run, row, &error);
    else if (!mmrec_measure_interrupted())
        q->seeds = seed + 1; /* one that was cut off is none */
}

/* ---- all ---- */

static void estimate(const double *values, int count, double *mean, double *low, double *high) {
    study_estimate e = study_estimate_of(values, count, 0.95);
    *mean = e.count > 0 ? e.mean : (double)NAN;
    *low = e.has_interval ? e.interval.low : (double)NAN;
    *high = e.has_interval ? e.interval.high : (double)NAN;
}

static void conclude(mmrec_compare_quality *q) {
    estimate(q->loss, q->seeds, &q->loss_mean, &q->loss_low, &q->loss_high);
    estimate(q->accuracy, q->seeds, &q->accuracy_mean, &q->accuracy_low, &q->accuracy_high);
}

static mmrec_status check(const compare_run *run, mmrec_error *error) {
    const mmrec_compare_options *options = run->options;
    if (run->task.held_out < 1) {
        MMREC_FAIL(error, MMREC_CONFIG, "%lld steps are to be trained, but nothing is held out to see what was learned",
                   (long long)options->train_steps);
    }
    if (options->seeds >= 1 && options->seeds <= MMREC_COMPARE_SEEDS) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "seeds is %d; it must be from 1 to %d", options->seeds, MMREC_COMPARE_SEEDS);
}

static mmrec_status teach_all(compare_run *run, int seed, mmrec_error *error) {
    const mmrec_compare_options *options = run->options;
    compare_task task;
    mmrec_status status = compare_task_create(run->allocator, options->io, &options->task,
                                              options->task.seed + (uint64_t)seed, &task, error);
    for (int row = 0; row < options->count && status == MMREC_OK; row++) {
        if (compare_goes_on(run, row)) teach(run, &task, row, seed);
        compare_done(run);
    }
    compare_task_free(&task);
    return status;
}

mmrec_status compare_train(compare_run *run, mmrec_error *error) {
    const mmrec_compare_options *options = run->options;
    if (options->train_steps < 1) return MMREC_OK;
    MMREC_TRY(check(run, error));
    mmrec_status status = MMREC_OK;
    for (int seed = 0; seed < options->seeds && status == MMREC_OK && !mmrec_measure_interrupted(); seed++) {
        status = teach_all(run, seed, error);
    }
    for (int row = 0; row < options->count; row++) conclude(&run->out->row[row].quality);
    return status;
}
