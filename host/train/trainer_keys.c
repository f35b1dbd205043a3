/* What a checkpoint holds: the one list of everything in it, for saving and for loading. */
#include <math.h>
#include <stdio.h>

#include "trainer_impl.h"

/* Where the list is being written. */
typedef struct list {
    train_key *keys;
    int count;
} list;

static train_key *add(list *to, const char *name, train_key_kind kind, bool must_match) {
    train_key *key = &to->keys[to->count++];
    *key = (train_key){.name = name, .kind = kind, .must_match = must_match};
    return key;
}

static void add_whole(list *to, const char *name, bool must_match, int64_t value) {
    add(to, name, TRAIN_KEY_WHOLE, must_match)->whole = value;
}

static void add_real(list *to, const char *name, bool must_match, double value) {
    add(to, name, TRAIN_KEY_REAL, must_match)->real = value;
}

static void add_seed(list *to, const char *name, uint64_t value) { add(to, name, TRAIN_KEY_SEED, true)->seed = value; }

static void add_text(list *to, const char *name, bool must_match, const char *value) {
    add(to, name, TRAIN_KEY_TEXT, must_match)->text = value;
}

static void add_model(list *to, const mmrec_model_config *m) {
    add_whole(to, "config.vocab", true, m->vocab);
    add_whole(to, "config.dim", true, m->dim);
    add_whole(to, "config.layers", true, m->layers);
    add_whole(to, "config.heads", true, m->heads);
    add_whole(to, "config.ffn", true, m->ffn);
    add_whole(to, "config.inner", true, m->inner);
    add_whole(to, "config.slots", true, m->slots);
    add_whole(to, "config.level", true, m->level);
    add_whole(to, "config.pe", true, m->pe);
    add_whole(to, "config.dpg", true, m->dpg);
    add_real(to, "config.memory_decay", true, m->memory_decay);
    add_text(to, "config.uboo", true, mmrec_uboo_name(m->uboo));
    add_real(to, "config.uboo_weight", true, m->uboo_weight);
    add_real(to, "config.dropout", true, m->dropout);
}

static void add_data(list *to, const mmrec_data *data) {
    const mmrec_data_info *info = mmrec_data_info_of(data);
    const mmrec_data_request *request = mmrec_data_request_of(data);
    add_text(to, "data.name", true, info->name);
    add_whole(to, "data.checksum", true, (int64_t)info->checksum);
    add_real(to, "data.held_out", true, request->held_out);
    add_seed(to, "data.seed", request->seed);
}

/* These decide only how the same function is computed: bits, not what is learned. */
static void add_way(list *to, const mmrec_trainer *t) {
    const mmrec_train_config *c = &t->config;
    add_whole(to, "config.hem", false, c->hem);
    add_whole(to, "config.recompute", false, c->recompute);
    add_whole(to, "config.bf16", false, c->bf16);
    add_whole(to, "config.threads", false, c->threads);
    add_text(to, "config.backend", false, t->backend->name);
}

static void add_settings(list *to, const mmrec_train_config *c) {
    add_real(to, "config.rate", false, c->schedule.rate);
    add_real(to, "config.final_share", false, c->schedule.final_share);
    add_whole(to, "config.warmup_steps", false, c->schedule.warmup_steps);
    add_whole(to, "config.steps", false, c->schedule.steps);
    add_real(to, "config.beta1", false, c->optimizer.beta1);
    add_real(to, "config.beta2", false, c->optimizer.beta2);
    add_real(to, "config.epsilon", false, c->optimizer.epsilon);
    add_real(to, "config.weight_decay", false, c->optimizer.weight_decay);
    add_real(to, "config.clip_norm", false, c->optimizer.clip_norm);
    add_real(to, "config.spike_score", false, c->spike_score);
}

int train_keys(const mmrec_trainer *t, bool within_step, train_key keys[TRAIN_KEYS]) {
    const mmrec_train_config *c = &t->config;
    list to = {keys, 0};
    add_model(&to, &c->model);
    add_whole(&to, "config.batch", true, c->batch);
    add_whole(&to, "config.time", true, c->time);
    add_whole(&to, "config.stream", true, c->stream);
    add_seed(&to, "config.seed", c->seed);
    add_whole(&to, "config.accumulate", within_step, c->accumulate);
    add_data(&to, t->data);
    add_way(&to, t);
    add_settings(&to, c);
    return to.count;
}

/* ---- progress ---- */

int train_counts(mmrec_trainer *t, train_count counts[TRAIN_COUNTS]) {
    const train_count rows[] = {
        {"progress.steps", &t->totals.steps, NULL},
        {"progress.micro_batches", &t->totals.micro_batches, NULL},
        {"progress.tokens", &t->totals.tokens, NULL},
        {"progress.skipped", &t->totals.skipped, NULL},
        {"progress.skipped_in_row", &t->totals.skipped_in_row, NULL},
        {"progress.spikes", &t->totals.spikes, NULL},
        {"progress.largest_growth", NULL, &t->totals.largest_growth},
        {"step.done", &t->step.done, NULL},
        {"step.good", &t->step.good, NULL},
        {"step.loss", NULL, &t->step.loss},
        {"step.loss_main", NULL, &t->step.main},
        {"step.loss_aux", NULL, &t->step.aux},
        {"step.growth", NULL, &t->step.growth},
    };
    int count = sizeof rows / sizeof *rows;
    for (int i = 0; i < count; i++) counts[i] = rows[i];
    return count;
}

/* ---- tensors ---- */

/* What a checkpoint holds by parameter. */
typedef enum train_part { TRAIN_PARAMETER, TRAIN_FIRST, TRAIN_SECOND, TRAIN_ACCUMULATED, TRAIN_PARTS } train_part;

/* Gradients that are being summed. */
static bool has_sums(const mmrec_trainer *t) { return t->step.good > 0; }

bool train_has_state(const mmrec_trainer *t, int moment) {
    return t->config.stream && (moment == TRAIN_BEFORE ? t->carried : t->step.good > 0);
}

static const char *part_name(const train_param *param, train_part part, char *text, size_t size) {
    static const char *const prefix[TRAIN_PARTS] = {"", "optimizer.first.", "optimizer.second.", "accumulated."};
    snprintf(text, size, "%s%s", prefix[part], param->name);
    return text;
}

static const char *state_name(int moment, int64_t layer, int state, char *text, size_t size) {
    static const char *const names[TRAIN_STATES] = {"h", "mem_k", "mem_v"};
    snprintf(text, size, "%s.%lld.%s", moment == TRAIN_BEFORE ? "state" : "next", (long long)layer, names[state]);
    return text;
}

static mmrec_status part_view(mmrec_trainer *t, const train_param *param, train_part part, mmrec_view *view,
                              mmrec_error *error) {
    mmrec_view moments[2];
    if (part == TRAIN_FIRST || part == TRAIN_SECOND) {
        MMREC_TRY(mmrec_optimizer_moments(t->optimizer, param->tensor, moments, error));
        *view = moments[part == TRAIN_SECOND];
    } else {
        *view = part == TRAIN_PARAMETER ? mmrec_exec_view(t->net.exec, param->tensor) : train_sum_view(t, param);
    }
    return MMREC_OK;
}

mmrec_status train_each_part(mmrec_trainer *t, train_visit visit, const void *context, mmrec_error *error) {
    int parts = has_sums(t) ? TRAIN_PARTS : TRAIN_ACCUMULATED;
    char name[MMREC_SAFETENSORS_MAX_NAME];
    for (int64_t i = 0; i < t->param_count * parts; i++) {
        const train_param *param = &t->params[i % t->param_count];
        train_part part = (train_part)(i / t->param_count);
        mmrec_view view;
        MMREC_TRY(part_view(t, param, part, &view, error));
        part_name(param, part, name, sizeof name);
        MMREC_TRY(visit(context, name, &view, part == TRAIN_SECOND ? 0 : -INFINITY, error));
    }
    return MMREC_OK;
}

static mmrec_status each_state_at(mmrec_trainer *t, int moment, train_visit visit, const void *context,
                                  mmrec_error *error) {
    char name[64];
    for (int64_t i = 0; i < t->config.model.layers * TRAIN_STATES; i++) {
        int64_t layer = i / TRAIN_STATES;
        int state = (int)(i % TRAIN_STATES);
        mmrec_view view = train_carry_view(t, &t->carry[moment], layer, state);
        state_name(moment, layer, state, name, sizeof name);
        MMREC_TRY(visit(context, name, &view, -INFINITY, error));
    }
    return MMREC_OK;
}

mmrec_status train_each_state(mmrec_trainer *t, train_visit visit, const void *context, mmrec_error *error) {
    for (int moment = 0; moment < TRAIN_MOMENTS; moment++) {
        if (train_has_state(t, moment)) MMREC_TRY(each_state_at(t, moment, visit, context, error));
    }
    return MMREC_OK;
}

int64_t train_largest(const mmrec_trainer *t) {
    const mmrec_train_config *c = &t->config;
    int64_t most = c->stream ? c->batch * c->model.slots * c->model.dim : 1;
    int64_t param = mmrec_graph_largest_param(t->net.graph);
    if (most < t->param_count) most = t->param_count;
    return most < param ? param : most;
}
