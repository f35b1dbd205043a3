/* One value of one option: is it usable, and what does it mean. */
#include "core/options_impl.h"
#include "core/text.h"

#include <stdio.h>
#include <string.h>

const char *mmrec_option_quote(const char *text, char quote[MMREC_OPTION_QUOTE]) {
    return mmrec_text_printable(text, strlen(text), quote, MMREC_OPTION_QUOTE);
}

/* What a value of the option must be, in words. */
static const char *wanted_text(const mmrec_option_def *def, char *text, size_t size) {
    char low[MMREC_UNITS_TEXT], high[MMREC_UNITS_TEXT];
    switch (def->kind) {
    case MMREC_KIND_FLAG:
        snprintf(text, size, "on or off");
        break;
    case MMREC_KIND_WORD:
        mmrec_choice_words(def->choices, text, size);
        break;
    case MMREC_KIND_COUNT:
        snprintf(text, size, "a whole number from %.0f to %.0f", def->low, def->high);
        break;
    case MMREC_KIND_REAL:
        snprintf(text, size, "a number from %g to %g", def->low, def->high);
        break;
    case MMREC_KIND_PERCENT:
        snprintf(text, size, "a percentage above 0 and up to %g, like 1%%", def->high);
        break;
    case MMREC_KIND_TIME:
        snprintf(text, size, "a time with its unit from %s to %s, like 500us, 200ms or 2s",
                 mmrec_units_time_text(def->low * 1e9, low), mmrec_units_time_text(def->high * 1e9, high));
        break;
    case MMREC_KIND_SIZE:
        snprintf(text, size, "a size in bytes from 1 B to 4 EiB, like 24GiB or 500MB");
        break;
    case MMREC_KIND_SEED:
        snprintf(text, size, "a whole number from 0 to 18446744073709551615");
        break;
    case MMREC_KIND_PAIRS:
        snprintf(text, size, "KEY=VALUE");
        break;
    default:
        snprintf(text, size, "at least one character");
        break;
    }
    return text;
}

static bool in_range(const mmrec_option_def *def, double value) { return value >= def->low && value <= def->high; }

/* Reads `text` into the number of `value` that the kind uses; false when it is not one or out of range. */
static bool read_value(const mmrec_option_def *def, const char *text, mmrec_option_value *value) {
    switch (def->kind) {
    case MMREC_KIND_FLAG:
        return (value->whole = mmrec_choice_find("off|on", text)) >= 0;
    case MMREC_KIND_WORD:
        return (value->whole = mmrec_choice_find(def->choices, text)) >= 0;
    case MMREC_KIND_COUNT:
        return mmrec_units_whole(text, &value->whole) && in_range(def, (double)value->whole);
    case MMREC_KIND_REAL:
        return mmrec_units_real(text, &value->real) && in_range(def, value->real);
    case MMREC_KIND_PERCENT:
        return mmrec_units_percent(text, &value->real) && in_range(def, value->real * 100);
    case MMREC_KIND_TIME:
        return mmrec_units_seconds(text, &value->real) && in_range(def, value->real);
    case MMREC_KIND_SIZE:
        return mmrec_units_bytes(text, &value->bits) && in_range(def, (double)value->bits);
    case MMREC_KIND_SEED:
        return mmrec_units_seed(text, &value->bits);
    case MMREC_KIND_PAIRS:
        return text[0] != '=' && strchr(text, '=') != NULL;
    default:
        return text[0] != '\0';
    }
}

mmrec_status mmrec_option_check_whole(mmrec_option_id id, int64_t value, const char *where, mmrec_error *error) {
    const mmrec_option_def *def = mmrec_option_get(id);
    if (in_range(def, (double)value)) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE, "%s: %s must be a whole number from %.0f to %.0f, got %lld", where, def->flag,
               def->low, def->high, (long long)value);
}

/* The option a name of an axis stands for: a whole number of mmrec-bench's model. MMREC_OPTIONS when there is none. */
static mmrec_option_id axis_option(const char *name, const char **nearest) {
    const char *names[MMREC_OPTIONS];
    int count = 0;
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        const mmrec_option_def *def = mmrec_option_get((mmrec_option_id)i);
        if (def->group != MMREC_GROUP_MODEL || def->kind != MMREC_KIND_COUNT) continue;
        if (!mmrec_option_taken(MMREC_PROGRAM_BENCH, (mmrec_option_id)i)) continue;
        names[count++] = def->flag;
        if (strcmp(def->flag, name) == 0) return (mmrec_option_id)i;
    }
    *nearest = mmrec_nearest_name(name, names, count);
    return MMREC_OPTIONS;
}

mmrec_status mmrec_option_axis(const char **text, const char *where, mmrec_axis *axis, mmrec_option_id *id,
                               mmrec_error *error) {
    char part[256], quote[MMREC_OPTION_QUOTE];
    size_t length = strcspn(*text, " \t");
    mmrec_option_quote(*text, quote);
    if (length >= sizeof part) MMREC_FAIL(error, MMREC_USAGE, "%s: '%s' is longer than 255 characters", where, quote);
    memcpy(part, *text, length);
    part[length] = '\0';
    const char *rest = *text + length + strspn(*text + length, " \t");
    *text = *rest ? rest : NULL;

    const char *fault = mmrec_units_axis(part, axis), *nearest = NULL;
    mmrec_option_quote(part, quote);
    if (fault) {
        MMREC_FAIL(error, MMREC_USAGE, "%s: '%s': %s; write time=512:8192:*2, time=512:2048:+512 or time=100,200",
                   where, quote, fault);
    }
    *id = axis_option(axis->name, &nearest);
    if (*id == MMREC_OPTIONS) {
        mmrec_option_quote(axis->name, quote);
        MMREC_FAIL(error, MMREC_USAGE, "%s: '%s' is not a size of the model%s%s%s", where, quote,
                   nearest ? ", did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    }
    for (int i = 0; i < axis->count; i++) MMREC_TRY(mmrec_option_check_whole(*id, axis->value[i], where, error));
    return MMREC_OK;
}

static mmrec_status check_axes(const char *text, const char *where, mmrec_error *error) {
    mmrec_axis axis;
    mmrec_option_id id;
    text += strspn(text, " \t");
    do MMREC_TRY(mmrec_option_axis(&text, where, &axis, &id, error));
    while (text);
    return MMREC_OK;
}

static bool repeatable(mmrec_option_kind kind) {
    return kind == MMREC_KIND_LIST || kind == MMREC_KIND_PAIRS || kind == MMREC_KIND_AXES;
}

/* Stores a checked value, or leaves the one of a stronger source. */
static mmrec_status store(mmrec_options *options, mmrec_option_id id, const mmrec_option_value *read, const char *where,
                          mmrec_error *error) {
    mmrec_option_value *value = &options->value[id];
    bool first = value->count == 0 || value->source < read->source;
    if (!first && value->source > read->source) return MMREC_OK;
    if (!first && !repeatable(mmrec_option_get(id)->kind)) MMREC_FAIL(error, MMREC_USAGE, "%s is given twice", where);
    int count = first ? 0 : value->count;
    if (count == MMREC_OPTION_REPEATS) {
        MMREC_FAIL(error, MMREC_USAGE, "%s is given more than %d times", where, MMREC_OPTION_REPEATS);
    }
    mmrec_option_value old = *value;
    *value = *read;
    for (int i = 0; i < count; i++) value->text[i] = old.text[i];
    value->text[count] = read->text[0];
    value->count = count + 1;
    return MMREC_OK;
}

mmrec_status mmrec_option_set(mmrec_options *options, mmrec_option_id id, mmrec_option_source source, int line,
                              const char *where, const char *text, mmrec_error *error) {
    const mmrec_option_def *def = mmrec_option_get(id);
    mmrec_option_value value = {.source = source, .line = line, .text = {text}};
    if (!read_value(def, text, &value)) {
        char wanted[160], quote[MMREC_OPTION_QUOTE];
        MMREC_FAIL(error, MMREC_USAGE, "%s must be %s, got '%s'", where, wanted_text(def, wanted, sizeof wanted),
                   mmrec_option_quote(text, quote));
    }
    if (def->kind == MMREC_KIND_AXES) MMREC_TRY(check_axes(text, where, error));
    return store(options, id, &value, where, error);
}
