#include "core/units.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct unit {
    const char *name;
    double factor;
} unit;

static const unit time_units[] = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"min", 60}};
static const unit byte_units[] = {
    {"", 1},      {"B", 1},      {"kB", 1e3},      {"MB", 1e6},         {"GB", 1e9},
    {"TB", 1e12}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", 1099511627776}};

bool mmrec_units_whole(const char *text, int64_t *out) {
    const char *digits = text + (text[0] == '-');
    size_t length = strspn(digits, "0123456789");
    if (length == 0 || digits[length] != '\0') return false;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno != 0) return false;
    *out = value;
    return true;
}

bool mmrec_units_seed(const char *text, uint64_t *out) {
    size_t length = strspn(text, "0123456789");
    if (length == 0 || text[length] != '\0') return false;
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno != 0) return false;
    *out = value;
    return true;
}

/* Reads a number at the start of `text`; returns what follows it, NULL if there is none or it is not finite. */
static const char *leading_real(const char *text, double *out) {
    size_t sign = text[0] == '-';
    size_t digits = strspn(text + sign, "0123456789.");
    /* "0x10" stops at the x and is refused as a unit; strtod alone would read it, and "inf" and "nan" too. */
    if (digits == 0 || strcmp(text + sign, ".") == 0 || text[sign + digits] == 'x' || text[sign + digits] == 'X') {
        return NULL;
    }
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || !isfinite(value)) return NULL;
    *out = value;
    return end;
}

bool mmrec_units_real(const char *text, double *out) {
    double value;
    const char *end = leading_real(text, &value);
    if (!end || *end != '\0') return false;
    *out = value;
    return true;
}

bool mmrec_units_percent(const char *text, double *share) {
    double value;
    const char *end = leading_real(text, &value);
    if (!end || (*end != '\0' && strcmp(end, "%") != 0 && strcmp(end, " %") != 0)) return false;
    *share = value / 100;
    return true;
}

/* The factor of a unit, 0 when the name is not in the list. */
static double unit_factor(const unit *units, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(units[i].name, name) == 0) return units[i].factor;
    }
    return 0;
}

bool mmrec_units_seconds(const char *text, double *out) {
    double value;
    const char *end = leading_real(text, &value);
    if (!end) return false;
    double factor = unit_factor(time_units, sizeof time_units / sizeof *time_units, end);
    if (*end == '\0' && value == 0) factor = 1;
    if (!(factor > 0)) return false;
    *out = value * factor;
    return true;
}

bool mmrec_units_bytes(const char *text, uint64_t *out) {
    double value;
    const char *end = leading_real(text, &value);
    if (!end) return false;
    double factor = unit_factor(byte_units, sizeof byte_units / sizeof *byte_units, end);
    double bytes = value * factor;
    if (!(factor > 0) || !(bytes >= 0) || !(bytes <= 0x1p62)) return false;
    *out = (uint64_t)(bytes + 0.5);
    return true;
}

/* Copies the text up to `stop` into `part`; returns what follows the stop, or NULL if it is not there or too long. */
static const char *take(const char *text, char stop, char *part, size_t size) {
    const char *end = strchr(text, stop);
    if (!end || (size_t)(end - text) >= size) return NULL;
    memcpy(part, text, (size_t)(end - text));
    part[end - text] = '\0';
    return end + 1;
}

static const char *axis_list(const char *text, mmrec_axis *out) {
    char part[MMREC_UNITS_TEXT];
    while (text) {
        const char *rest = take(text, ',', part, sizeof part);
        if (out->count == MMREC_AXIS_VALUES) return "more than 64 values";
        if (!mmrec_units_whole(rest ? part : text, &out->value[out->count])) return "a value is not a whole number";
        out->count++;
        text = rest;
    }
    return NULL;
}

static const char *axis_range(const char *text, mmrec_axis *out) {
    char low_text[MMREC_UNITS_TEXT], high_text[MMREC_UNITS_TEXT];
    int64_t low, high, step;
    const char *rest = take(text, ':', low_text, sizeof low_text);
    if (rest) rest = take(rest, ':', high_text, sizeof high_text);
    if (!rest) return "a range is LOW:HIGH:*FACTOR or LOW:HIGH:+STEP";
    if (!mmrec_units_whole(low_text, &low) || !mmrec_units_whole(high_text, &high))
        return "a value is not a whole number";
    if ((*rest != '*' && *rest != '+') || !mmrec_units_whole(rest + 1, &step)) return "the step is *FACTOR or +STEP";
    if (step < (*rest == '*' ? 2 : 1)) return "the step does not move upwards";
    if (low > high || low < 0) return "the range is empty";
    if (*rest == '*' && low == 0) return "a factor never leaves 0";
    for (int64_t value = low;;) {
        if (out->count == MMREC_AXIS_VALUES) return "more than 64 values";
        out->value[out->count++] = value;
        bool overflow =
            *rest == '*' ? __builtin_mul_overflow(value, step, &value) : __builtin_add_overflow(value, step, &value);
        if (overflow || value > high) return NULL;
    }
}

const char *mmrec_units_axis(const char *text, mmrec_axis *out) {
    out->count = 0;
    const char *values = take(text, '=', out->name, sizeof out->name);
    if (!values) return "an axis is NAME=RANGE";
    return strchr(values, ':') ? axis_range(values, out) : axis_list(values, out);
}

/* Three significant figures up to 999.5, whole numbers above; the unit may be empty. */
static const char *three_figures(double value, const char *unit_name, char text[MMREC_UNITS_TEXT]) {
    double size = fabs(value);
    int decimals = size == 0 ? 0 : size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
    snprintf(text, MMREC_UNITS_TEXT, "%.*f%s%s", decimals, value, *unit_name ? " " : "", unit_name);
    return text;
}

const char *mmrec_units_bytes_text(double bytes, char text[MMREC_UNITS_TEXT]) {
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        snprintf(text, MMREC_UNITS_TEXT, "%.0f B", bytes);
        return text;
    }
    size_t i = 0;
    double value = bytes / 1024;
    for (; value >= 1023.5 && i + 1 < sizeof names / sizeof *names; i++) value /= 1024;
    return three_figures(value, names[i], text);
}

const char *mmrec_units_time_text(double nanoseconds, char text[MMREC_UNITS_TEXT]) {
    static const char *const names[] = {"ns", "us", "ms", "s"};
    size_t i = 0;
    double value = nanoseconds;
    for (; fabs(value) >= 999.5 && i + 1 < sizeof names / sizeof *names; i++) value /= 1000;
    return three_figures(value, names[i], text);
}

const char *mmrec_units_scaled_text(double value, const char *unit_name, char text[MMREC_UNITS_TEXT]) {
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
    size_t i = 0;
    for (; fabs(value) >= 999.5 && i + 1 < sizeof prefixes / sizeof *prefixes; i++) value /= 1000;
    char name[24];
    snprintf(name, sizeof name, "%s%s", prefixes[i], unit_name);
    if (i == 0 && value == floor(value)) {
        snprintf(text, MMREC_UNITS_TEXT, "%.0f%s%s", value, *name ? " " : "", name);
        return text;
    }
    return three_figures(value, name, text);
}
