/* The task of a comparison, its sizes, and the steps of its training. */
#include <math.h>

#include "compare_print.h"
#include "compare_setup.h"
#include "core/options_impl.h"

/* ---- which task ---- */

/* The task that most of the models can do, the first of those that as many can. */
static mmrec_task_kind usual_task(const mmrec_model_kind *kinds, int count) {
    int best = 0, most = -1;
    for (int t = 0; t <= MMREC_COMPARE_VALUES; t++) {
        int can = 0;
        for (int i = 0; i < count; i++) can += compare_model_can(kinds[i], (mmrec_task_kind)t);
        if (can <= most) continue;
        most = can;
        best = t;
    }
    return (mmrec_task_kind)best;
}

/* A suite is a task too. */
static mmrec_status choose(const mmrec_options *o, const mmrec_model_kind *kinds, int count, mmrec_task_kind *out,
                           mmrec_error *error) {
    static const mmrec_task_kind of_suite[] = {[COMPARE_SUITE_NSM] = MMREC_COMPARE_CLASSES,
                                               [COMPARE_SUITE_LANGUAGE] = MMREC_COMPARE_LANGUAGE,
                                               [COMPARE_SUITE_MLP] = MMREC_COMPARE_VALUES};
    int64_t suite = o->value[MMREC_OPTION_suite].whole;
    int64_t task = o->value[MMREC_OPTION_compare_task].whole - 1; /* behind auto */
    bool file = mmrec_option_given(o, MMREC_OPTION_compare_data);
    *out = suite != COMPARE_SUITE_NONE ? of_suite[suite] : task >= 0 ? (mmrec_task_kind)task : usual_task(kinds, count);
    if (suite == COMPARE_SUITE_NONE && task < 0 && file) *out = MMREC_COMPARE_LANGUAGE;
    if (suite == COMPARE_SUITE_NONE || task < 0 || task == (int64_t)*out) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE, "--suite %s is of task %s; leave --task %s out, or name --models instead",
               mmrec_option_text(o, MMREC_OPTION_suite), compare_task_name(*out),
               compare_task_name((mmrec_task_kind)task));
}

/* ---- what does not go with it ---- */

/* Refuses the first of `ids` that is on the command line: `why` says for what it would be. */
static mmrec_status refuse_flags(const mmrec_options *o, mmrec_task_kind task, const mmrec_option_id *ids, int count,
                                 const char *why, mmrec_error *error) {
    for (int i = 0; i < count; i++) {
        if (!compare_flag_given(o, ids[i])) continue;
        MMREC_FAIL(error, MMREC_USAGE, "--%s has no effect on task %s%s", mmrec_option_get(ids[i])->flag,
                   compare_task_name(task), why);
    }
    return MMREC_OK;
}

static mmrec_status check(const mmrec_options *o, mmrec_task_kind task, mmrec_error *error) {
    static const mmrec_option_id of_vectors[] = {MMREC_OPTION_inputs, MMREC_OPTION_outputs, MMREC_OPTION_samples};
    static const mmrec_option_id of_language[] = {MMREC_OPTION_compare_data, MMREC_OPTION_compare_vocab,
                                                  MMREC_OPTION_val};
    static const mmrec_option_id of_files[] = {MMREC_OPTION_val}, of_time[] = {MMREC_OPTION_compare_time};
    if (task == MMREC_COMPARE_LANGUAGE) {
        MMREC_TRY(refuse_flags(o, task, of_vectors, 3, ", which has --vocab and --time", error));
        if (mmrec_option_given(o, MMREC_OPTION_compare_data)) return MMREC_OK;
        return refuse_flags(o, task, of_files, 1, " without --data: other sequences of the Markov text are held out",
                            error);
    }
    MMREC_TRY(refuse_flags(o, task, of_language, 3, ", which has --inputs, --outputs and --samples", error));
    return task == MMREC_COMPARE_VALUES ? refuse_flags(o, task, of_time, 1, ", which has no time", error) : MMREC_OK;
}

/* ---- sizes ---- */

/* A fifth as many as are trained on, and at least one. */
enum { HELD_OUT_SHARE = 5 };

static const struct {
    int64_t batch, time, inputs, outputs;
} usual[] = {
    [MMREC_COMPARE_LANGUAGE] = {12, 64, 0, 256},
    [MMREC_COMPARE_CLASSES] = {32, 1, 784, 10},
    [MMREC_COMPARE_VALUES] = {32, 1, 5, 1},
};

static mmrec_status check_sizes(const mmrec_compare_task *t, mmrec_error *error) {
    if (t->kind == MMREC_COMPARE_LANGUAGE && t->batch > INT32_MAX / t->time) {
        MMREC_FAIL(error, MMREC_CONFIG, "--batch (%lld) times --time (%lld) is more than %d tokens",
                   (long long)t->batch, (long long)t->time, INT32_MAX);
    }
    if (t->kind != MMREC_COMPARE_CLASSES || t->outputs >= 2) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "--outputs is 1, but task classes needs at least 2 to choose from");
}

mmrec_status compare_setup_task(const mmrec_options *o, const mmrec_model_kind *kinds, int count,
                                mmrec_compare_task *out, mmrec_error *error) {
    mmrec_task_kind kind;
    MMREC_TRY(choose(o, kinds, count, &kind, error));
    MMREC_TRY(check(o, kind, error));
    bool language = kind == MMREC_COMPARE_LANGUAGE, values = kind == MMREC_COMPARE_VALUES;
    *out = (mmrec_compare_task){.kind = kind, .seed = o->value[MMREC_OPTION_seed].bits};
    out->batch = mmrec_option_whole(o, MMREC_OPTION_compare_batch, usual[kind].batch);
    out->time = values ? 1 : mmrec_option_whole(o, MMREC_OPTION_compare_time, usual[kind].time);
    out->outputs =
        mmrec_option_whole(o, language ? MMREC_OPTION_compare_vocab : MMREC_OPTION_outputs, usual[kind].outputs);
    if (language) {
        out->data_path = mmrec_option_text(o, MMREC_OPTION_compare_data);
        out->val = o->value[MMREC_OPTION_val].real;
    } else {
        out->inputs = mmrec_option_whole(o, MMREC_OPTION_inputs, usual[kind].inputs);
        out->samples = mmrec_option_whole(o, MMREC_OPTION_samples, 1);
        out->held_out = (out->samples + HELD_OUT_SHARE - 1) / HELD_OUT_SHARE;
    }
    return check_sizes(out, error);
}

/* ---- training ---- */

/* Exact shares of an epoch must not cost a step more because 0.07 * 100 is a little above 7 in doubles. */
static const double count_tolerance = 1e-12;

static mmrec_status steps_of_epochs(const mmrec_options *o, const mmrec_compare_task *task, int64_t *out,
                                    mmrec_error *error) {
    if (task->kind == MMREC_COMPARE_LANGUAGE) {
        MMREC_FAIL(error, MMREC_USAGE,
                   "--epochs is for --task classes and values, whose samples are counted: give "
                   "--train-steps");
    }
    double steps = o->value[MMREC_OPTION_compare_epochs].real * (double)task->samples / (double)task->batch;
    *out = (int64_t)fmin(fmax(1, ceil(steps * (1 - count_tolerance))), 0x1p62);
    return mmrec_option_check_whole(MMREC_OPTION_train_steps, *out, "--epochs", error);
}

mmrec_status compare_setup_steps(const mmrec_options *o, const mmrec_compare_task *task, int64_t *out,
                                 mmrec_error *error) {
    static const mmrec_option_id of_training[] = {MMREC_OPTION_compare_seeds, MMREC_OPTION_rate};
    bool steps = o->value[MMREC_OPTION_train_steps].source != MMREC_SOURCE_DEFAULT;
    *out = mmrec_option_whole(o, MMREC_OPTION_train_steps, 0);
    if (mmrec_option_given(o, MMREC_OPTION_compare_epochs)) {
        if (steps) {
            MMREC_FAIL(error, MMREC_USAGE, "--train-steps and --epochs exclude each other: give one of them");
        }
        MMREC_TRY(steps_of_epochs(o, task, out, error));
    }
    for (int i = 0; *out == 0 && i < 2; i++) {
        if (!compare_flag_given(o, of_training[i])) continue;
        MMREC_FAIL(error, MMREC_USAGE, "--%s is for --train-steps, and nothing is trained",
                   mmrec_option_get(of_training[i])->flag);
    }
    if (*out > 0 && task->data_path && !(task->val > 0)) {
        MMREC_FAIL(error, MMREC_USAGE, "--train-steps judges by what is held out: --val must be above 0 with it");
    }
    return MMREC_OK;
}
