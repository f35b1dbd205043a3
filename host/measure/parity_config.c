/* The configuration stored in a fixture. */
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "parity_impl.h"

typedef struct field {
    const char *key;
    size_t offset; /* into mmrec_model_config */
    enum { WHOLE, REAL, UBOO } type;
} field;

#define FIELD(name, type)                                                                                              \
    { #name, offsetof(mmrec_model_config, name), type }
static const field fields[] = {
    FIELD(vocab, WHOLE),       FIELD(dim, WHOLE),   FIELD(layers, WHOLE),     FIELD(heads, WHOLE), FIELD(ffn, WHOLE),
    FIELD(inner, WHOLE),       FIELD(slots, WHOLE), FIELD(level, WHOLE),      FIELD(pe, WHOLE),    FIELD(dpg, WHOLE),
    FIELD(memory_decay, REAL), FIELD(uboo, UBOO),   FIELD(uboo_weight, REAL),
};
#undef FIELD
enum { FIELDS = sizeof fields / sizeof *fields };

static mmrec_status set_field(const field *f, const json_t *value, mmrec_model_config *out, mmrec_error *error) {
    void *to = (char *)out + f->offset;
    switch (f->type) {
    case WHOLE:
        if (!json_is_integer(value)) MMREC_FAIL(error, MMREC_CONFIG, "config: %s must be a whole number", f->key);
        *(int64_t *)to = json_integer_value(value);
        return MMREC_OK;
    case REAL:
        if (!json_is_number(value)) MMREC_FAIL(error, MMREC_CONFIG, "config: %s must be a number", f->key);
        *(double *)to = json_number_value(value);
        return MMREC_OK;
    default:
        if (!json_is_string(value)) MMREC_FAIL(error, MMREC_CONFIG, "config: %s must be a word", f->key);
        return mmrec_uboo_find(json_string_value(value), (mmrec_uboo *)to, error);
    }
}

static bool known(const char *key) {
    for (int i = 0; i < FIELDS; i++) {
        if (strcmp(fields[i].key, key) == 0) return true;
    }
    return false;
}

static mmrec_status read_object(json_t *object, mmrec_model_config *out, mmrec_error *error) {
    if (!json_is_object(object)) MMREC_FAIL(error, MMREC_CONFIG, "config must be a JSON object");
    for (int i = 0; i < FIELDS; i++) {
        const json_t *value = json_object_get(object, fields[i].key);
        if (!value) MMREC_FAIL(error, MMREC_CONFIG, "config: %s is missing", fields[i].key);
        MMREC_TRY(set_field(&fields[i], value, out, error));
    }
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        char text[64];
        if (known(key)) continue;
        MMREC_FAIL(error, MMREC_CONFIG, "config: '%s' is not a key of the MM-Rec model",
                   mmrec_text_printable(key, strlen(key), text, sizeof text));
    }
    return MMREC_OK;
}

mmrec_status parity_config_parse(mmrec_allocator *allocator, const char *text, mmrec_model_config *out,
                                 mmrec_error *error) {
    json_t *object = NULL;
    memset(out, 0, sizeof *out);
    MMREC_TRY_WHILE(mmrec_json_parse(allocator, text, strlen(text), &object, error), error, "reading config");
    mmrec_status status = read_object(object, out, error);
    json_decref(object);
    return status;
}
