/* Which model can do which task, and what the task decides in a model's configuration: widths of input and head,
 * vocabulary, positions, loss. */
#include "compare_print.h"
#include "compare_setup.h"

#include <string.h>

/* ---- who can do what ---- */

static const char a_part[] = "it is a part of a model, without a loss of its own";
static const char reads_ids[] = "it reads ids and is judged at every step";
static const char judges_classes[] = "its loss is over classes";
static const char reads_vectors[] = "it reads vectors, not ids";
static const char sees_all[] = "it has no mask, so a step would see those that it is to predict";

/* Why a model cannot do a task; NULL: it can. */
static const char *const why_not[MMREC_MODELS][3] = {
    [MMREC_MODEL_block] = {a_part, a_part, a_part},
    [MMREC_MODEL_mmrec] = {NULL, reads_ids, reads_ids},
    [MMREC_MODEL_lstm] = {NULL, NULL, judges_classes},
    [MMREC_MODEL_gru] = {NULL, NULL, judges_classes},
    [MMREC_MODEL_encoder] = {sees_all, NULL, judges_classes},
    [MMREC_MODEL_gpt] = {NULL, reads_ids, reads_ids},
    [MMREC_MODEL_mlp] = {reads_vectors, NULL, NULL},
    [MMREC_MODEL_nsm_simple] = {reads_vectors, NULL, judges_classes},
    [MMREC_MODEL_nsm_advanced] = {reads_vectors, NULL, judges_classes},
    [MMREC_MODEL_nsm_sequential] = {reads_vectors, NULL, judges_classes},
    [MMREC_MODEL_nsm_router] = {a_part, a_part, a_part},
    [MMREC_MODEL_nsm_layer] = {a_part, a_part, a_part},
    [MMREC_MODEL_nsm_states] = {a_part, a_part, a_part},
};

bool compare_model_can(mmrec_model_kind kind, mmrec_task_kind task) { return !why_not[kind][task]; }

static mmrec_status refuse(mmrec_model_kind kind, mmrec_task_kind task, mmrec_error *error) {
    const char *instead = NULL, *name = mmrec_model_get(kind)->name;
    for (int t = MMREC_COMPARE_VALUES; t >= 0; t--) {
        if (compare_model_can(kind, (mmrec_task_kind)t)) instead = compare_task_name((mmrec_task_kind)t);
    }
    if (!instead) {
        MMREC_FAIL(error, MMREC_CONFIG, "model %s cannot do a task: %s; leave it out", name, why_not[kind][task]);
    }
    MMREC_FAIL(error, MMREC_CONFIG, "model %s cannot do task %s: %s; leave it out, or take --task %s", name,
               compare_task_name(task), why_not[kind][task], instead);
}

/* ---- fields of the task ---- */

typedef struct owned {
    const char *key, *option; /* of a field, and what to give in its place */
} owned;

/* Of lstm and gru `inputs` is the width of the embedding where they read ids. */
static const owned language_fields[] = {{"vocab", "--vocab"}, {"outputs", "--vocab"}, {"head", ""}, {0}};
static const owned vector_fields[] = {{"inputs", "--inputs"}, {"outputs", "--outputs"}, {"vocab", ""},
                                      {"head", ""},           {"loss", "--task"},       {0}};

bool compare_model_field_of_task(mmrec_model_kind kind, mmrec_task_kind task, const char *key, const char **instead) {
    const owned *o = task == MMREC_COMPARE_LANGUAGE ? language_fields : vector_fields;
    const mmrec_model_field *f = mmrec_model_get(kind)->fields;
    while (f->key && strcmp(f->key, key) != 0) f++;
    while (o->key && strcmp(o->key, key) != 0) o++;
    *instead = o->key ? o->option : "";
    return f->key && o->key;
}

/* ---- fitting ---- */

/* Width of a step where a model reads the inputs in pieces. */
static mmrec_status step_width(const mmrec_compare_entry *e, const mmrec_compare_task *task, int64_t *out,
                               mmrec_error *error) {
    *out = task->inputs / task->time;
    if (*out * task->time == task->inputs) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG,
               "model %s reads a sequence, and %lld inputs cannot be cut into %lld steps of the same width; "
               "give a --time that divides --inputs",
               mmrec_model_get(e->kind)->name, (long long)task->inputs, (long long)task->time);
}

static mmrec_status fit_rnn(mmrec_compare_entry *e, const mmrec_compare_task *task, mmrec_error *error) {
    mmrec_rnn_config *c = &e->config.rnn;
    c->outputs = task->outputs;
    if (task->kind == MMREC_COMPARE_CLASSES) {
        c->vocab = 0;
        c->head = MMREC_HEAD_LAST;
        return step_width(e, task, &c->inputs, error);
    }
    /* An embedding is as wide as the layers that read it, unless it has been given another width since. */
    if (c->vocab == 0) c->inputs = c->hidden;
    c->vocab = task->outputs;
    c->head = MMREC_HEAD_ALL;
    return MMREC_OK;
}

/* A table of positions must reach over the sequence; what is longer is left. */
static void reach(int64_t *positions, int64_t time) {
    if (*positions < time) *positions = time;
}

static mmrec_status fit_encoder(mmrec_compare_entry *e, const mmrec_compare_task *task, mmrec_error *error) {
    mmrec_encoder_config *c = &e->config.encoder;
    c->vocab = 0;
    c->outputs = task->outputs;
    if (c->positions > 0) reach(&c->positions, task->time);
    return step_width(e, task, &c->inputs, error);
}

static void fit_gpt(mmrec_gpt_config *c, const mmrec_compare_task *task) {
    c->vocab = task->outputs;
    reach(&c->context, task->time);
}

static void fit_mlp(mmrec_mlp_config *c, const mmrec_compare_task *task) {
    c->inputs = task->inputs;
    c->outputs = task->outputs;
    c->loss = task->kind == MMREC_COMPARE_VALUES ? MMREC_MLP_MSE : MMREC_MLP_CROSS_ENTROPY;
}

static mmrec_status fit_nsm(mmrec_compare_entry *e, const mmrec_compare_task *task, mmrec_error *error) {
    mmrec_nsm_config *c = &e->config.nsm;
    c->inputs = task->inputs;
    c->outputs = task->outputs;
    if (c->sequence == MMREC_NSM_OFF) return MMREC_OK;
    if (c->sequence == MMREC_NSM_ALL) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "sequence=all of model nsm-simple gives a result at every step, and task classes has one class for "
                   "all of them; set sequence to off, last or mean");
    }
    return step_width(e, task, &c->inputs, error);
}

static void fit_hybrid(mmrec_hybrid_config *c, const mmrec_compare_task *task) {
    c->inputs = task->inputs;
    c->outputs = task->outputs;
}

static mmrec_status fit(mmrec_compare_entry *e, const mmrec_compare_task *task, mmrec_error *error) {
    switch ((int)e->kind) {
    case MMREC_MODEL_lstm:
    case MMREC_MODEL_gru:
        return fit_rnn(e, task, error);
    case MMREC_MODEL_encoder:
        return fit_encoder(e, task, error);
    case MMREC_MODEL_nsm_simple:
        return fit_nsm(e, task, error);
    case MMREC_MODEL_mmrec:
        e->config.mmrec.vocab = task->outputs;
        return MMREC_OK;
    case MMREC_MODEL_gpt:
        fit_gpt(&e->config.gpt, task);
        return MMREC_OK;
    case MMREC_MODEL_mlp:
        fit_mlp(&e->config.mlp, task);
        return MMREC_OK;
    default:
        fit_hybrid(&e->config.hybrid, task);
        return MMREC_OK;
    }
}

mmrec_status mmrec_compare_fit_task(mmrec_compare_entry *entry, const mmrec_compare_task *task, mmrec_error *error) {
    if (!compare_model_can(entry->kind, task->kind)) return refuse(entry->kind, task->kind, error);
    MMREC_TRY(fit(entry, task, error));
    return mmrec_model_check(entry->kind, &entry->config, error);
}
