/* Values of a model's configuration by their table: defaults, text, ranges. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "build.h"
#include "core/text.h"
#include "core/units.h"
#include "mmrec/options.h"

static void *place_of(const mmrec_model_field *f, void *config) { return (char *)config + f->offset; }
static const void *value_of(const mmrec_model_field *f, const void *config) { return (const char *)config + f->offset; }

/* ---- from text ---- */

/* "64,32,16", or "none". */
static bool parse_widths(const char *text, mmrec_widths *out) {
    mmrec_widths widths = {0};
    bool none = strcmp(text, "none") == 0;
    while (!none && *text) {
        char number[24];
        size_t size = strcspn(text, ",");
        if (widths.count == MMREC_WIDTHS || size == 0 || size >= sizeof number) return false;
        memcpy(number, text, size);
        number[size] = '\0';
        if (!mmrec_units_whole(number, &widths.width[widths.count++])) return false;
        text += size;
        if (*text == ',' && !*++text) return false;
    }
    *out = widths;
    return none || widths.count > 0;
}

static bool parse(const mmrec_model_field *f, const char *text, void *config) {
    void *to = place_of(f, config);
    int choice;
    switch (f->type) {
    case MMREC_FIELD_WHOLE:
        return mmrec_units_whole(text, to);
    case MMREC_FIELD_REAL:
        return mmrec_units_real(text, to);
    case MMREC_FIELD_WORD:
        choice = mmrec_choice_find(f->choices, text);
        if (choice >= 0) *(int *)to = choice;
        return choice >= 0;
    case MMREC_FIELD_WIDTHS:
        return parse_widths(text, to);
    }
    return false;
}

static const char *what_it_must_be(const mmrec_model_field *f) {
    switch (f->type) {
    case MMREC_FIELD_WHOLE:
        return "a whole number";
    case MMREC_FIELD_REAL:
        return "a number";
    case MMREC_FIELD_WORD:
        return f->choices;
    case MMREC_FIELD_WIDTHS:
        return "at most 8 whole numbers with commas between, or none";
    }
    return "?";
}

void mmrec_model_defaults(mmrec_model_kind kind, void *config) {
    const mmrec_model_def *def = mmrec_model_get(kind);
    memset(config, 0, def->config_bytes);
    for (const mmrec_model_field *f = def->fields; f->key; f++) parse(f, f->standard, config);
}

static mmrec_status refuse_key(const mmrec_model_def *def, const char *key, mmrec_error *error) {
    const char *names[64];
    char text[48];
    int count = 0;
    for (const mmrec_model_field *f = def->fields; f->key && count < 64; f++) names[count++] = f->key;
    const char *nearest = mmrec_nearest_name(key, names, count);
    MMREC_FAIL(error, MMREC_CONFIG, "model %s has no field '%s'%s%s%s", def->name,
               mmrec_text_printable(key, strlen(key), text, sizeof text), nearest ? ", did you mean " : "",
               nearest ? nearest : "", nearest ? "?" : "");
}

mmrec_status mmrec_model_set(mmrec_model_kind kind, void *config, const char *key, const char *text,
                             mmrec_error *error) {
    const mmrec_model_def *def = mmrec_model_get(kind);
    const mmrec_model_field *f = def->fields;
    while (f->key && strcmp(f->key, key) != 0) f++;
    if (!f->key) return refuse_key(def, key, error);
    if (!parse(f, text, config)) {
        char quoted[48];
        MMREC_FAIL(error, MMREC_CONFIG, "%s of model %s is '%s'; it must be %s", key, def->name,
                   mmrec_text_printable(text, strlen(text), quoted, sizeof quoted), what_it_must_be(f));
    }
    bool sizes = def->width && strcmp(def->width, key) == 0 && f->type == MMREC_FIELD_WHOLE;
    int64_t width = sizes ? *(const int64_t *)value_of(f, config) : 0;
    if (sizes && width >= 1 && width <= MMREC_SIZE_LIMIT) def->scale(config, width);
    return MMREC_OK;
}

/* ---- to text ---- */

static void put_widths(const mmrec_widths *widths, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "%s", widths->count ? "" : "none");
    for (int i = 0; i < widths->count && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? "," : "", (long long)widths->width[i]);
    }
}

const char *mmrec_model_field_text(const mmrec_model_field *f, const void *config, char *text, size_t size) {
    const void *value = value_of(f, config);
    switch (f->type) {
    case MMREC_FIELD_WHOLE:
        snprintf(text, size, "%lld", (long long)*(const int64_t *)value);
        break;
    case MMREC_FIELD_REAL:
        snprintf(text, size, "%.9g", *(const double *)value);
        break;
    case MMREC_FIELD_WORD:
        return mmrec_choice_name(f->choices, *(const int *)value, text, size);
    case MMREC_FIELD_WIDTHS:
        put_widths(value, text, size);
        break;
    }
    return text;
}

/* ---- ranges ---- */

static mmrec_status check_whole(const mmrec_model_field *f, int64_t value, mmrec_error *error) {
    if ((double)value >= f->low && (double)value <= f->high) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "%s is %lld; it must be from %lld to %lld", f->key, (long long)value,
               (long long)f->low, (long long)f->high);
}

static mmrec_status check_real(const mmrec_model_field *f, double value, mmrec_error *error) {
    if (value >= f->low && value < f->high) return MMREC_OK;
    if (isinf(f->high)) {
        MMREC_FAIL(error, MMREC_CONFIG, "%s is %g; it must be a number of at least %g", f->key, value, f->low);
    }
    MMREC_FAIL(error, MMREC_CONFIG, "%s is %g; it must be at least %g and below %g", f->key, value, f->low, f->high);
}

static mmrec_status check_widths(const mmrec_model_field *f, const mmrec_widths *widths, mmrec_error *error) {
    if (widths->count < 0 || widths->count > MMREC_WIDTHS) {
        MMREC_FAIL(error, MMREC_CONFIG, "%s has %d widths; it must have from 0 to %d", f->key, widths->count,
                   MMREC_WIDTHS);
    }
    for (int i = 0; i < widths->count; i++) MMREC_TRY(check_whole(f, widths->width[i], error));
    return MMREC_OK;
}

static mmrec_status check_field(const mmrec_model_field *f, const void *config, mmrec_error *error) {
    const void *value = value_of(f, config);
    int choice;
    switch (f->type) {
    case MMREC_FIELD_WHOLE:
        return check_whole(f, *(const int64_t *)value, error);
    case MMREC_FIELD_REAL:
        return check_real(f, *(const double *)value, error);
    case MMREC_FIELD_WIDTHS:
        return check_widths(f, value, error);
    case MMREC_FIELD_WORD:
        choice = *(const int *)value;
        if (choice >= 0 && choice < mmrec_choice_count(f->choices)) return MMREC_OK;
        MMREC_FAIL(error, MMREC_CONFIG, "%s is choice %d; it must be one of %s, counted from 0", f->key, choice,
                   f->choices);
    }
    return MMREC_OK;
}

mmrec_status mmrec_model_check(mmrec_model_kind kind, const void *config, mmrec_error *error) {
    const mmrec_model_def *def = mmrec_model_get(kind);
    for (const mmrec_model_field *f = def->fields; f->key; f++) MMREC_TRY(check_field(f, config, error));
    return def->check ? def->check(config, error) : MMREC_OK;
}
