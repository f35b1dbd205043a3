/* One value per run and figure. A run that did not get as far as a figure needs has none: NaN, and the definition says
 * why. Nothing is averaged into anything here. */
#include <math.h>

#include "run/study.h"

static const double none = (double)NAN;

int64_t study_window(int64_t steps) {
    int64_t window = steps / 10;
    if (window < 20) window = 20;
    if (window > 200) window = 200;
    return window < steps ? window : steps;
}

/* An even number: times are paired in blocks of two steps. */
int64_t study_untimed(int64_t steps) { return steps >= 20 ? 4 : 0; }

int64_t study_steps_to(const study_run *run, double target) {
    for (int64_t i = 0; i < run->point_count; i++) {
        if (run->points[i].validation.loss <= target) return run->points[i].step;
    }
    return -1;
}

const study_point *study_last(const study_run *run) {
    return run->failure[0] || run->point_count < 1 ? NULL : &run->points[run->point_count - 1];
}

static const study_run *run_of(const study *s, int seed, int variant) { return &s->run[seed][variant]; }

/* ---- held-out data ---- */

static double loss_of(const study *s, double target, int seed, int variant) {
    (void)target;
    const study_point *last = study_last(run_of(s, seed, variant));
    return last ? last->validation.loss : none;
}

static double perplexity_of(const study *s, double target, int seed, int variant) {
    return exp(loss_of(s, target, seed, variant));
}

static double bits_of(const study *s, double target, int seed, int variant) {
    return s->setup->data.path ? loss_of(s, target, seed, variant) / log(2) : none;
}

static double accuracy_of(const study *s, double target, int seed, int variant) {
    (void)target;
    const study_point *last = study_last(run_of(s, seed, variant));
    return last && !s->setup->data.path ? 100 * last->validation.accuracy : none;
}

static double to_target_of(const study *s, double target, int seed, int variant) {
    int64_t steps = study_steps_to(run_of(s, seed, variant), target);
    return steps >= 0 ? (double)steps : none;
}

/* Training alone: looking at held-out data costs nothing here. */
static double time_to_target_of(const study *s, double target, int seed, int variant) {
    const study_run *run = run_of(s, seed, variant);
    int64_t steps = study_steps_to(run, target);
    double sum = 0;
    for (int64_t i = 0; i < steps && i < run->step_count; i++) sum += run->step_ns[i];
    return steps >= 0 ? sum / 1e9 : none;
}

static double diverged_of(const study *s, double target, int seed, int variant) {
    (void)target;
    return run_of(s, seed, variant)->failure[0] ? 1 : 0;
}

/* ---- training ---- */

/* Over the finite main losses of the last steps: `variance` with n - 1, or their mean. */
static double over_window(const study *s, int seed, int variant, bool variance) {
    const study_run *run = run_of(s, seed, variant);
    int64_t count = 0, first = run->step_count - study_window(s->steps);
    double mean = 0, squares = 0;
    if (run->failure[0]) return none;
    for (int64_t i = first > 0 ? first : 0; i < run->step_count; i++) {
        double loss = run->steps[i].loss_main, distance = loss - mean;
        if (run->steps[i].skipped || !isfinite(loss)) continue;
        count++;
        mean += distance / (double)count;
        squares += distance * (loss - mean);
    }
    if (variance) return count > 1 ? squares / (double)(count - 1) : none;
    return count > 0 ? mean : none;
}

static double train_loss_of(const study *s, double target, int seed, int variant) {
    (void)target;
    return over_window(s, seed, variant, false);
}

static double variance_of(const study *s, double target, int seed, int variant) {
    (void)target;
    return over_window(s, seed, variant, true);
}

static double spikes_of(const study *s, double target, int seed, int variant) {
    (void)target;
    const study_run *run = run_of(s, seed, variant);
    double count = 0;
    for (int64_t i = 0; i < run->step_count; i++) count += run->steps[i].spike;
    return count;
}

static double skipped_of(const study *s, double target, int seed, int variant) {
    (void)target;
    const study_run *run = run_of(s, seed, variant);
    double count = 0;
    for (int64_t i = 0; i < run->step_count; i++) count += run->steps[i].skipped;
    return count;
}

static double growth_of(const study *s, double target, int seed, int variant) {
    (void)target;
    const study_run *run = run_of(s, seed, variant);
    double largest = none;
    for (int64_t i = 0; i < run->step_count; i++) largest = fmax(largest, run->steps[i].growth);
    return largest;
}

/* ---- cost ---- */

static double step_ns_of(const study *s, int seed, int variant) {
    const study_run *run = run_of(s, seed, variant);
    int64_t first = study_untimed(run->step_count), count = run->step_count - first;
    mmrec_stats stats = count > 0 ? mmrec_stats_of(run->step_ns + first, (int)count) : (mmrec_stats){0};
    return stats.valid && stats.median > 0 ? stats.median : none;
}

static double step_time_of(const study *s, double target, int seed, int variant) {
    (void)target;
    return step_ns_of(s, seed, variant) / 1e6;
}

static double tokens_of(const study *s, double target, int seed, int variant) {
    (void)target;
    const mmrec_train_config *c = &s->setup->train;
    return (double)(c->batch * c->time * c->accumulate) * 1e9 / step_ns_of(s, seed, variant);
}

static double parameters_of(const study *s, double target, int seed, int variant) {
    (void)target, (void)seed;
    return (double)s->variant[variant].parameters;
}

static double all_memory_of(const study *s, double target, int seed, int variant) {
    (void)target, (void)seed;
    double sum = 0;
    for (int a = 0; a < MMREC_ARENAS; a++) sum += (double)s->variant[variant].memory[a];
    return sum;
}

#define MEMORY(name, arena)                                                                                            \
    static double name(const study *s, double target, int seed, int variant) {                                         \
        (void)target, (void)seed;                                                                                      \
        return (double)s->variant[variant].memory[arena];                                                              \
    }
MEMORY(params_of, MMREC_ARENA_PARAMS)
MEMORY(grads_of, MMREC_ARENA_GRADS)
MEMORY(optimizer_of, MMREC_ARENA_OPTIMIZER)
MEMORY(saved_of, MMREC_ARENA_SAVED)
MEMORY(scratch_of, MMREC_ARENA_SCRATCH)
#undef MEMORY

/* ---- the auxiliary loss ---- */

static double aux_first_of(const study *s, double target, int seed, int variant) {
    (void)target;
    const study_run *run = run_of(s, seed, variant);
    return s->variant[variant].auxiliary && run->point_count > 0 ? run->points[0].validation.loss_aux : none;
}

static double aux_last_of(const study *s, double target, int seed, int variant) {
    (void)target;
    const study_point *last = study_last(run_of(s, seed, variant));
    return s->variant[variant].auxiliary && last ? last->validation.loss_aux : none;
}

/* Mean over the points that have a value. */
static double over_points(const study_run *run, double (*value)(const mmrec_gradient_angle *angle)) {
    double sum = 0, count = 0;
    for (int64_t i = 0; i < run->point_count; i++) {
        double v = value(&run->points[i].angle);
        if (!isfinite(v)) continue;
        sum += v;
        count++;
    }
    return count > 0 ? sum / count : none;
}

static double cosine(const mmrec_gradient_angle *angle) { return angle->cosine; }
static double norm_ratio(const mmrec_gradient_angle *angle) { return angle->aux_norm / angle->main_norm; }

static double cosine_of(const study *s, double target, int seed, int variant) {
    (void)target;
    return s->variant[variant].auxiliary ? over_points(run_of(s, seed, variant), cosine) : none;
}

static double norm_ratio_of(const study *s, double target, int seed, int variant) {
    (void)target;
    return s->variant[variant].auxiliary ? over_points(run_of(s, seed, variant), norm_ratio) : none;
}

/* ---- all of them ---- */

#define DIVERGED "diverged"
#define NO_AUX "no auxiliary loss"
#define NOT_REACHED "not reached"

static const study_figure_def defs[STUDY_FIGURES] = {
    [STUDY_LOSS] = {"final_validation_loss", "Final validation loss, nats", -1, STUDY_FIXED, 4, .missing = DIVERGED,
                    .value = loss_of},
    [STUDY_PERPLEXITY] = {"final_validation_perplexity", "Final validation perplexity", -1, STUDY_FIXED, 3,
                          .missing = DIVERGED, .value = perplexity_of},
    [STUDY_BITS] = {"final_bits_per_byte", "Final bits per byte", -1, STUDY_FIXED, 4, .missing = DIVERGED,
                    .value = bits_of},
    [STUDY_ACCURACY] = {"final_accuracy_percent", "Final accuracy, %", 1, STUDY_FIXED, 2, .missing = DIVERGED,
                        .value = accuracy_of},
    [STUDY_TO_TARGET] = {"steps_to_target", "Steps to the target", -1, STUDY_FIXED, 0, .missing = NOT_REACHED,
                         .value = to_target_of},
    [STUDY_TIME_TO_TARGET] = {"seconds_to_target", "Training to the target, s", -1, STUDY_FIXED, 2, .ratio = true,
                              .missing = NOT_REACHED, .value = time_to_target_of},
    [STUDY_DIVERGED] = {"diverged_share", "Diverged runs", -1, STUDY_RUNS, 0, .missing = "", .value = diverged_of},
    [STUDY_TRAIN_LOSS] = {"training_loss", "Training loss", -1, STUDY_FIXED, 4, .missing = DIVERGED,
                          .value = train_loss_of},
    [STUDY_VARIANCE] = {"training_loss_variance", "Variance of the training loss", -1, STUDY_GENERAL, 3,
                        .missing = DIVERGED, .value = variance_of},
    [STUDY_SPIKES] = {"spikes", "Loss spikes", -1, STUDY_FIXED, 1, .missing = "", .value = spikes_of},
    [STUDY_SKIPPED] = {"skipped_updates", "Skipped updates", -1, STUDY_FIXED, 1, .missing = "", .value = skipped_of},
    [STUDY_GROWTH] = {"largest_growth", "Largest growth factor of h", 0, STUDY_FIXED, 4, .missing = "not finite",
                      .value = growth_of},
    [STUDY_STEP_TIME] = {"step_ms", "Time per step, ms", -1, STUDY_FIXED, 2, .ratio = true, .missing = "no times",
                         .value = step_time_of},
    [STUDY_TOKENS] = {"tokens_per_s", "Tokens per second", 1, STUDY_FIXED, 0, .ratio = true, .missing = "no times",
                      .value = tokens_of},
    [STUDY_PARAMETERS] = {"parameters", "Parameters", 0, STUDY_FIXED, 0, .exact = true, .missing = "",
                          .value = parameters_of},
    [STUDY_MEMORY_PARAMS] = {"parameters_bytes", "Memory of parameters", -1, STUDY_BYTES, 0, .exact = true,
                             .missing = "", .value = params_of},
    [STUDY_MEMORY_GRADS] = {"gradients_bytes", "Memory of gradients", -1, STUDY_BYTES, 0, .exact = true, .missing = "",
                            .value = grads_of},
    [STUDY_MEMORY_OPTIMIZER] = {"optimizer_bytes", "Memory of the optimizer", -1, STUDY_BYTES, 0, .exact = true,
                                .missing = "", .value = optimizer_of},
    [STUDY_MEMORY_SAVED] = {"saved_bytes", "Memory of saved values", -1, STUDY_BYTES, 0, .exact = true, .missing = "",
                            .value = saved_of},
    [STUDY_MEMORY_SCRATCH] = {"scratch_bytes", "Memory of scratch", -1, STUDY_BYTES, 0, .exact = true, .missing = "",
                              .value = scratch_of},
    [STUDY_MEMORY] = {"all_bytes", "Memory in all", -1, STUDY_BYTES, 0, .exact = true, .missing = "",
                      .value = all_memory_of},
    [STUDY_AUX_FIRST] = {"auxiliary_loss_first", "Auxiliary loss before training", 0, STUDY_GENERAL, 3, .missing = NO_AUX,
                         .value = aux_first_of},
    [STUDY_AUX_LAST] = {"auxiliary_loss_last", "Auxiliary loss at the end", 0, STUDY_GENERAL, 3, .missing = NO_AUX,
                        .value = aux_last_of},
    [STUDY_COSINE] = {"gradient_cosine", "Cosine of main and auxiliary gradient, mean over training", 0, STUDY_FIXED, 4,
                      .missing = NO_AUX, .value = cosine_of},
    [STUDY_NORM_RATIO] = {"gradient_norm_ratio", "Norm of the auxiliary gradient over the main one, mean", 0,
                          STUDY_FIXED, 3, .missing = NO_AUX, .value = norm_ratio_of},
};

const study_figure_def *study_figure_get(study_figure figure) { return &defs[figure]; }
