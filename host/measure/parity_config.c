/* The configuration of the model, and of the optimizer, as JSON stored in a fixture. */
#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "parity_impl.h"

/* An object that must have exactly these keys, those for later use aside. */
typedef struct object {
    const char *name, *owner; /* for messages */
    const mmrec_model_field *fields;
    mmrec_status unknown_word;
} object;

/* What an optimizer's object fills. */
typedef struct optimizer {
    int name;
    mmrec_optimizer_config config;
    double rate;
} optimizer;

#define REAL(key, member)                                                                                              \
    { key, offsetof(optimizer, member), MMREC_FIELD_REAL, "0", 0, INFINITY, NULL, "", false }
static const mmrec_model_field optimizer_fields[] = {
    {"name", offsetof(optimizer, name), MMREC_FIELD_WORD, "adamw", 0, 0, "adamw", "", false},
    REAL("lr", rate),
    REAL("beta1", config.beta1),
    REAL("beta2", config.beta2),
    REAL("eps", config.epsilon),
    REAL("weight_decay", config.weight_decay),
    REAL("clip_norm", config.clip_norm),
    {0},
};
#undef REAL

/* ---- one value ---- */

static mmrec_status set_word(const object *o, const mmrec_model_field *f, const char *word, int *to,
                             mmrec_error *error) {
    char text[48];
    *to = mmrec_choice_find(f->choices, word);
    if (*to >= 0) return MMREC_OK;
    MMREC_FAIL(error, o->unknown_word, "%s: %s is '%s'; it must be %s", o->name, f->key,
               mmrec_text_printable(word, strlen(word), text, sizeof text), f->choices);
}

static mmrec_status set_widths(const object *o, const mmrec_model_field *f, const json_t *value, mmrec_widths *to,
                               mmrec_error *error) {
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count > MMREC_WIDTHS) {
        MMREC_FAIL(error, MMREC_CONFIG, "%s: %s must be an array of at most %d whole numbers", o->name, f->key,
                   MMREC_WIDTHS);
    }
    to->count = (int)count;
    for (size_t i = 0; i < count; i++) {
        const json_t *width = json_array_get(value, i);
        if (!json_is_integer(width)) {
            MMREC_FAIL(error, MMREC_CONFIG, "%s: %s must hold whole numbers", o->name, f->key);
        }
        to->width[i] = json_integer_value(width);
    }
    return MMREC_OK;
}

static mmrec_status set_field(const object *o, const mmrec_model_field *f, const json_t *value, void *out,
                              mmrec_error *error) {
    void *to = (char *)out + f->offset;
    switch (f->type) {
    case MMREC_FIELD_WHOLE:
        if (!json_is_integer(value)) MMREC_FAIL(error, MMREC_CONFIG, "%s: %s must be a whole number", o->name, f->key);
        *(int64_t *)to = json_integer_value(value);
        return MMREC_OK;
    case MMREC_FIELD_REAL:
        if (!json_is_number(value)) MMREC_FAIL(error, MMREC_CONFIG, "%s: %s must be a number", o->name, f->key);
        *(double *)to = json_number_value(value);
        return MMREC_OK;
    case MMREC_FIELD_WORD:
        if (!json_is_string(value)) MMREC_FAIL(error, MMREC_CONFIG, "%s: %s must be a word", o->name, f->key);
        return set_word(o, f, json_string_value(value), to, error);
    case MMREC_FIELD_WIDTHS:
        return set_widths(o, f, value, to, error);
    }
    return MMREC_OK;
}

/* ---- the object ---- */

static bool known(const object *o, const char *key) {
    for (const mmrec_model_field *f = o->fields; f->key; f++) {
        if (strcmp(f->key, key) == 0) return true;
    }
    return false;
}

static mmrec_status read_object(const object *o, json_t *from, void *out, mmrec_error *error) {
    if (!json_is_object(from)) MMREC_FAIL(error, MMREC_CONFIG, "%s must be a JSON object", o->name);
    for (const mmrec_model_field *f = o->fields; f->key; f++) {
        const json_t *value = json_object_get(from, f->key);
        if (!value && f->later) continue;
        if (!value) MMREC_FAIL(error, MMREC_CONFIG, "%s: %s is missing", o->name, f->key);
        MMREC_TRY(set_field(o, f, value, out, error));
    }
    const char *key;
    json_t *value;
    json_object_foreach(from, key, value) {
        char text[64];
        if (known(o, key)) continue;
        MMREC_FAIL(error, MMREC_CONFIG, "%s: '%s' is not a key of %s", o->name,
                   mmrec_text_printable(key, strlen(key), text, sizeof text), o->owner);
    }
    return MMREC_OK;
}

static mmrec_status parse(mmrec_allocator *allocator, const object *o, const char *text, void *out,
                          mmrec_error *error) {
    json_t *from = NULL;
    MMREC_TRY_WHILE(mmrec_json_parse(allocator, text, strlen(text), &from, error), error, "reading %s", o->name);
    mmrec_status status = read_object(o, from, out, error);
    json_decref(from);
    return status;
}

/* Which of a kind's models it is: they have one type of configuration, a field of which says it. */
static mmrec_status choose(parity_work *work, const mmrec_model_field *f, mmrec_error *error) {
    const parity_kind *kind = work->kind;
    if (!kind->choice) return MMREC_OK;
    while (strcmp(f->key, kind->choice) != 0) f++;
    return mmrec_model_find(kind->models[*(const int *)((const char *)&work->config + f->offset)], &work->model, error);
}

mmrec_status parity_config_parse(parity_work *work, const char *text, mmrec_error *error) {
    MMREC_TRY(mmrec_model_find(work->kind->models[0], &work->model, error));
    const mmrec_model_def *def = mmrec_model_get(work->model);
    object model = {"config", def->title, def->fields, MMREC_CONFIG};
    memset(&work->config, 0,
           sizeof work->config); /* what fixtures leave out is 0: no dropout, a head on the last step */
    MMREC_TRY(parse(work->result->allocator, &model, text, &work->config, error));
    return choose(work, def->fields, error);
}

mmrec_status parity_optimizer_parse(mmrec_allocator *allocator, const char *text, mmrec_optimizer_config *out,
                                    double *rate, mmrec_error *error) {
    static const object adamw = {"optimizer", "AdamW", optimizer_fields, MMREC_UNSUPPORTED};
    optimizer o = {0};
    MMREC_TRY(parse(allocator, &adamw, text, &o, error));
    *out = o.config;
    *rate = o.rate;
    return MMREC_OK;
}
