/* The rows of a comparison: names of models, suites, one model with several --set, and the labels. */
#include <stdio.h>
#include <string.h>

#include "compare_print.h"
#include "compare_setup.h"
#include "core/options_impl.h"
#include "core/text.h"

enum { SET_ROOM = 256 };

/* ---- names ---- */

static mmrec_status add_name(compare_names *names, const char *name, const char *option, mmrec_error *error) {
    mmrec_model_kind kind;
    if (names->count == MMREC_COMPARE_ROWS) {
        MMREC_FAIL(error, MMREC_USAGE, "%s names more than %d models", option, MMREC_COMPARE_ROWS);
    }
    MMREC_TRY_WHILE(mmrec_model_find(name, &kind, error), error, "reading %s", option);
    names->kind[names->count++] = kind;
    return MMREC_OK;
}

static mmrec_status add_all(compare_names *names, mmrec_error *error) {
    names->all = true;
    for (int kind = 0; kind < MMREC_MODELS; kind++) {
        MMREC_TRY(add_name(names, mmrec_model_get((mmrec_model_kind)kind)->name, "--models", error));
    }
    return MMREC_OK;
}

static mmrec_status add_list(compare_names *names, const char *text, mmrec_error *error) {
    while (*text) {
        char name[COMPARE_NAME];
        text = mmrec_text_word(text, name, sizeof name);
        if (!*name) continue;
        MMREC_TRY(strcmp(name, "all") == 0 ? add_all(names, error) : add_name(names, name, "--models", error));
    }
    return MMREC_OK;
}

static void add_kinds(compare_names *names, const mmrec_model_kind *kinds, int count) {
    for (int i = 0; i < count; i++) names->kind[names->count++] = kinds[i];
}

static void add_suite(compare_names *names, int64_t suite) {
    static const mmrec_model_kind nsm[] = {MMREC_MODEL_nsm_simple, MMREC_MODEL_nsm_advanced, MMREC_MODEL_nsm_sequential,
                                           MMREC_MODEL_lstm, MMREC_MODEL_encoder};
    static const mmrec_model_kind language[] = {MMREC_MODEL_mmrec, MMREC_MODEL_lstm, MMREC_MODEL_gru, MMREC_MODEL_gpt};
    static const mmrec_model_kind mlp[] = {MMREC_MODEL_mlp, MMREC_MODEL_mlp};
    if (suite == COMPARE_SUITE_NSM) add_kinds(names, nsm, 5);
    if (suite == COMPARE_SUITE_LANGUAGE) add_kinds(names, language, 4);
    if (suite == COMPARE_SUITE_MLP) add_kinds(names, mlp, 2);
}

mmrec_status compare_setup_names(const mmrec_options *o, compare_names *out, mmrec_error *error) {
    const mmrec_option_value *models = &o->value[MMREC_OPTION_models];
    const char *one = mmrec_option_text(o, MMREC_OPTION_model);
    int sets = o->value[MMREC_OPTION_set].count;
    *out = (compare_names){0};
    for (int i = 0; i < models->count; i++) MMREC_TRY(add_list(out, models->text[i], error));
    if (models->count > 0 && out->count == 0) MMREC_FAIL(error, MMREC_USAGE, "--models names no model");
    add_suite(out, o->value[MMREC_OPTION_suite].whole);
    for (int i = 0; one && i < (sets > 0 ? sets : 1); i++) MMREC_TRY(add_name(out, one, "--model", error));
    return MMREC_OK;
}

/* ---- labels ---- */

static bool taken(const mmrec_compare_setup *setup, const mmrec_compare_entry *e) {
    for (int i = 0; i < setup->run.count; i++) {
        if (&setup->entries[i] != e && strcmp(setup->entries[i].label, e->label) == 0) return true;
    }
    return false;
}

/* "lstm", "nsm-simple gate=lstm", "lstm (2)". A long one is cut where its number still fits. */
static void put_label(const mmrec_compare_setup *setup, mmrec_compare_entry *e, const char *more) {
    char base[MMREC_COMPARE_LABEL - 16];
    snprintf(base, sizeof base, "%s%s%.62s", mmrec_model_get(e->kind)->name, *more ? " " : "", more);
    snprintf(e->label, sizeof e->label, "%s", base);
    for (int n = 2; taken(setup, e); n++) snprintf(e->label, sizeof e->label, "%s (%d)", base, n);
}

/* ---- --set ---- */

static mmrec_status set_field(mmrec_compare_entry *e, const mmrec_compare_task *task, const char *key, const char *text,
                              mmrec_error *error) {
    const char *instead;
    if (!compare_model_field_of_task(e->kind, task->kind, key, &instead)) {
        return mmrec_model_set(e->kind, &e->config, key, text, error);
    }
    MMREC_FAIL(error, MMREC_USAGE, "%s of model %s is decided by the task, which is the same for all rows%s%s", key,
               mmrec_model_get(e->kind)->name, *instead ? ": give " : "", instead);
}

/* "gate=lstm,dim=64": a piece without a = goes on with the value before it, as in hidden=64,32. */
static mmrec_status set_fields(mmrec_compare_entry *e, const mmrec_compare_task *task, const char *text,
                               mmrec_error *error) {
    char pairs[SET_ROOM], quote[MMREC_OPTION_QUOTE];
    if (strlen(text) >= sizeof pairs) {
        MMREC_FAIL(error, MMREC_USAGE, "'%s' is longer than %d characters", mmrec_option_quote(text, quote),
                   SET_ROOM - 1);
    }
    snprintf(pairs, sizeof pairs, "%s", text);
    for (char *pair = pairs, *next; pair; pair = next) {
        char *value = strchr(pair, '=');
        if (!value || value == pair) {
            MMREC_FAIL(error, MMREC_USAGE, "'%s' is not KEY=VALUE", mmrec_option_quote(pair, quote));
        }
        *value++ = '\0';
        next = value;
        while ((next = strchr(next, ','))) {
            size_t length = strcspn(++next, ",=");
            if (next[length] != '=') continue;
            next[-1] = '\0';
            break;
        }
        MMREC_TRY(set_field(e, task, pair, value, error));
    }
    return MMREC_OK;
}

/* ---- one row ---- */

/* What the suite has that is no default of the model: the sizes its figures were published with. */
static mmrec_status set_suite(mmrec_compare_entry *e, int64_t suite, mmrec_error *error) {
    static const struct {
        mmrec_model_kind kind;
        const char *key, *value;
    } sizes[] = {
        {MMREC_MODEL_nsm_advanced, "dim", "64"},    {MMREC_MODEL_nsm_advanced, "time", "8"},
        {MMREC_MODEL_nsm_advanced, "steps", "8"},   {MMREC_MODEL_nsm_advanced, "heads", "4"},
        {MMREC_MODEL_nsm_advanced, "slots", "32"},  {MMREC_MODEL_nsm_advanced, "width", "16"},
        {MMREC_MODEL_nsm_advanced, "hidden", "64"}, {MMREC_MODEL_lstm, "hidden", "128"},
        {MMREC_MODEL_lstm, "layers", "2"},          {MMREC_MODEL_encoder, "dim", "64"},
        {MMREC_MODEL_encoder, "ffn", "2048"},       {MMREC_MODEL_encoder, "layers", "2"},
        {MMREC_MODEL_encoder, "positions", "1000"},
    };
    for (size_t i = 0; suite == COMPARE_SUITE_NSM && i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i].kind != e->kind) continue;
        MMREC_TRY(mmrec_model_set(e->kind, &e->config, sizes[i].key, sizes[i].value, error));
    }
    return MMREC_OK;
}

/* Positions as many as the task has steps, unless a field says another number. */
static int64_t *positions_of(mmrec_compare_entry *e) {
    if (e->kind == MMREC_MODEL_gpt) return &e->config.gpt.context;
    return e->kind == MMREC_MODEL_encoder ? &e->config.encoder.positions : NULL;
}

static void set_positions(mmrec_compare_entry *e, const mmrec_compare_task *task) {
    int64_t *positions = positions_of(e);
    bool wanted = e->kind == MMREC_MODEL_gpt || task->time > 1;
    if (positions && wanted && (e->kind == MMREC_MODEL_gpt || *positions == 0)) *positions = task->time;
}

/* What fit_task would raise without a word. */
static mmrec_status check_positions(mmrec_compare_entry *e, const mmrec_compare_task *task, mmrec_error *error) {
    const int64_t *positions = positions_of(e);
    bool short_table = positions && *positions > 0 && *positions < task->time;
    if (!short_table) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "model %s has %lld positions, but the task has %lld steps; give it more, or --time",
               mmrec_model_get(e->kind)->name, (long long)*positions, (long long)task->time);
}

static bool has_variants(mmrec_model_kind kind) {
    return kind == MMREC_MODEL_nsm_advanced || kind == MMREC_MODEL_nsm_sequential;
}

static void set_width(mmrec_compare_entry *e, const mmrec_options *o) {
    int64_t width;
    if (!mmrec_option_given(o, MMREC_OPTION_compare_dim) || !compare_model_width(e, &width)) return;
    mmrec_model_get(e->kind)->scale(&e->config, o->value[MMREC_OPTION_compare_dim].whole);
}

/* What the options say of every row; a refusal here is the row's own. */
static mmrec_status begin_row(mmrec_compare_entry *e, const mmrec_options *o, const mmrec_compare_task *task,
                              mmrec_error *error) {
    MMREC_TRY(set_suite(e, o->value[MMREC_OPTION_suite].whole, error));
    MMREC_TRY(mmrec_compare_fit_task(e, task, error));
    set_positions(e, task);
    set_width(e, o);
    if (has_variants(e->kind)) {
        e->config.hybrid.variant = (mmrec_hybrid_variant)mmrec_option_whole(o, MMREC_OPTION_variant, MMREC_FAITHFUL);
    }
    return mmrec_compare_fit_task(e, task, error);
}

static mmrec_status finish_row(mmrec_compare_entry *e, const mmrec_compare_task *task, const char *set,
                               mmrec_error *error) {
    MMREC_TRY(set_fields(e, task, set, error));
    MMREC_TRY(check_positions(e, task, error));
    return mmrec_compare_fit_task(e, task, error);
}

/* A model that cannot do the task is a row that says so. */
static mmrec_status refuse_row(mmrec_compare_entry *e, bool only, mmrec_status status, mmrec_error *error) {
    if (status == MMREC_OK || only) return status;
    mmrec_error_text(error, e->refused, sizeof e->refused);
    mmrec_error_clear(error);
    return MMREC_OK;
}

static mmrec_status add_row(const mmrec_options *o, mmrec_model_kind kind, const char *set, bool only,
                            mmrec_compare_setup *setup, mmrec_error *error) {
    mmrec_compare_entry *e = &setup->entries[setup->run.count++];
    char more[SET_ROOM + 32];
    bool variant = has_variants(kind) && mmrec_option_is(o, MMREC_OPTION_variant, "repaired");
    *e = (mmrec_compare_entry){.kind = kind};
    mmrec_model_defaults(kind, &e->config);
    snprintf(more, sizeof more, "%s%s%.*s", variant ? "variant=repaired" : "", variant && set ? " " : "", SET_ROOM,
             set ? set : "");
    put_label(setup, e, more);
    mmrec_status status = begin_row(e, o, &setup->run.task, error);
    if (status != MMREC_OK || !set) return refuse_row(e, only, status, error);
    MMREC_TRY_WHILE(finish_row(e, &setup->run.task, set, error), error, "reading --set %s", set);
    return MMREC_OK;
}

/* ---- all rows ---- */

/* Those that can do the task first: the first row is what the others are compared with. */
static void order_all(compare_names *names, mmrec_task_kind task) {
    compare_names sorted = {.all = true};
    for (int can = 1; can >= 0; can--) {
        for (int i = 0; i < names->count; i++) {
            if (compare_model_can(names->kind[i], task) == (can != 0)) sorted.kind[sorted.count++] = names->kind[i];
        }
    }
    *names = sorted;
}

static mmrec_status check_variant(const mmrec_options *o, const compare_names *names, mmrec_error *error) {
    const mmrec_option_value *set = &o->value[MMREC_OPTION_set];
    for (int i = 0; i < set->count && compare_flag_given(o, MMREC_OPTION_variant); i++) {
        if (!strstr(set->text[i], "variant=")) continue;
        MMREC_FAIL(error, MMREC_USAGE, "--variant and --set %s exclude each other: leave --variant out", set->text[i]);
    }
    for (int i = 0; i < names->count; i++) {
        if (has_variants(names->kind[i])) return MMREC_OK;
    }
    if (!compare_flag_given(o, MMREC_OPTION_variant)) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE, "--variant is for models nsm-advanced and nsm-sequential, and neither is compared");
}

mmrec_status compare_setup_rows(const mmrec_options *o, const compare_names *names, mmrec_compare_setup *setup,
                                mmrec_error *error) {
    const mmrec_option_value *set = &o->value[MMREC_OPTION_set];
    bool only = names->count == 1 || mmrec_option_given(o, MMREC_OPTION_model);
    compare_names ordered = *names;
    MMREC_TRY(check_variant(o, names, error));
    if (names->all) order_all(&ordered, setup->run.task.kind);
    setup->run.count = 0;
    for (int i = 0; i < ordered.count; i++) {
        const char *fields = set->count > 0 ? set->text[i] : NULL;
        MMREC_TRY(add_row(o, ordered.kind[i], fields, only, setup, error));
    }
    /* The second row of suite mlp. */
    if (o->value[MMREC_OPTION_suite].whole == COMPARE_SUITE_MLP) {
        setup->entries[1].fused = true;
        snprintf(setup->entries[1].label, sizeof setup->entries[1].label, "mlp fused");
    }
    return MMREC_OK;
}
