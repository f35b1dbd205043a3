/* The configuration of the model, and of the optimizer, as JSON stored in a fixture. */
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "parity_impl.h"

typedef struct field {
    const char *key;
    size_t offset;
    enum { WHOLE, REAL, UBOO, ADAMW } type;
} field;

/* An object that must have exactly these keys. */
typedef struct object {
    const char *name, *owner; /* for messages */
    const field *fields;
    int count;
} object;

#define FIELD(name, type)                                                                                              \
    { #name, offsetof(mmrec_model_config, name), type }
static const field model_fields[] = {
    FIELD(vocab, WHOLE),       FIELD(dim, WHOLE),   FIELD(layers, WHOLE),     FIELD(heads, WHOLE), FIELD(ffn, WHOLE),
    FIELD(inner, WHOLE),       FIELD(slots, WHOLE), FIELD(level, WHOLE),      FIELD(pe, WHOLE),    FIELD(dpg, WHOLE),
    FIELD(memory_decay, REAL), FIELD(uboo, UBOO),   FIELD(uboo_weight, REAL),
};
#undef FIELD

/* What an optimizer's object fills. */
typedef struct optimizer {
    mmrec_optimizer_config config;
    double rate;
} optimizer;

static const field optimizer_fields[] = {
    {"name", 0, ADAMW},
    {"lr", offsetof(optimizer, rate), REAL},
    {"beta1", offsetof(optimizer, config.beta1), REAL},
    {"beta2", offsetof(optimizer, config.beta2), REAL},
    {"eps", offsetof(optimizer, config.epsilon), REAL},
    {"weight_decay", offsetof(optimizer, config.weight_decay), REAL},
    {"clip_norm", offsetof(optimizer, config.clip_norm), REAL},
};

#define COUNT(list) (int)(sizeof(list) / sizeof *(list))
static const object model = {"config", "the MM-Rec model", model_fields, COUNT(model_fields)};
static const object adamw = {"optimizer", "AdamW", optimizer_fields, COUNT(optimizer_fields)};
#undef COUNT

static mmrec_status check_adamw(const char *name, mmrec_error *error) {
    char text[48];
    if (strcmp(name, "adamw") == 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_UNSUPPORTED, "optimizer: name is '%s'; it must be adamw",
               mmrec_text_printable(name, strlen(name), text, sizeof text));
}

static mmrec_status set_field(const object *o, const field *f, const json_t *value, void *out, mmrec_error *error) {
    void *to = (char *)out + f->offset;
    switch (f->type) {
    case WHOLE:
        if (!json_is_integer(value)) MMREC_FAIL(error, MMREC_CONFIG, "%s: %s must be a whole number", o->name, f->key);
        *(int64_t *)to = json_integer_value(value);
        return MMREC_OK;
    case REAL:
        if (!json_is_number(value)) MMREC_FAIL(error, MMREC_CONFIG, "%s: %s must be a number", o->name, f->key);
        *(double *)to = json_number_value(value);
        return MMREC_OK;
    default:
        if (!json_is_string(value)) MMREC_FAIL(error, MMREC_CONFIG, "%s: %s must be a word", o->name, f->key);
        if (f->type == ADAMW) return check_adamw(json_string_value(value), error);
        return mmrec_uboo_find(json_string_value(value), (mmrec_uboo *)to, error);
    }
}

static bool known(const object *o, const char *key) {
    for (int i = 0; i < o->count; i++) {
        if (strcmp(o->fields[i].key, key) == 0) return true;
    }
    return false;
}

static mmrec_status read_object(const object *o, json_t *from, void *out, mmrec_error *error) {
    if (!json_is_object(from)) MMREC_FAIL(error, MMREC_CONFIG, "%s must be a JSON object", o->name);
    for (int i = 0; i < o->count; i++) {
        const json_t *value = json_object_get(from, o->fields[i].key);
        if (!value) MMREC_FAIL(error, MMREC_CONFIG, "%s: %s is missing", o->name, o->fields[i].key);
        MMREC_TRY(set_field(o, &o->fields[i], value, out, error));
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

mmrec_status parity_config_parse(mmrec_allocator *allocator, const char *text, mmrec_model_config *out,
                                 mmrec_error *error) {
    memset(out, 0, sizeof *out);
    return parse(allocator, &model, text, out, error);
}

mmrec_status parity_optimizer_parse(mmrec_allocator *allocator, const char *text, mmrec_optimizer_config *out,
                                    double *rate, mmrec_error *error) {
    optimizer o;
    memset(&o, 0, sizeof o);
    MMREC_TRY(parse(allocator, &adamw, text, &o, error));
    *out = o.config;
    *rate = o.rate;
    return MMREC_OK;
}
