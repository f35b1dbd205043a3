/* Figures as cells of a table. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/units.h"
#include "run/study.h"

enum { NUMBER = 64 };

/* A figure in its style. */
static void number(const study_figure_def *def, double value, char *text, size_t size) {
    char bytes[MMREC_UNITS_TEXT];
    if (def->style == STUDY_BYTES)
        snprintf(text, size, "%s", mmrec_units_bytes_text(value, bytes));
    else if (def->style == STUDY_GENERAL && fabs(value) < 1e4)
        snprintf(text, size, "%#.*g", def->digits, value);
    else
        snprintf(text, size, "%.*f", def->style == STUDY_GENERAL ? 0 : def->digits, value);
}

/* Its half interval: digits enough to see it where the mean shows none of it. */
static const char *half_width(const study_figure_def *def, mmrec_interval interval, char text[NUMBER]) {
    double half = (interval.high - interval.low) / 2;
    if (def->style == STUDY_GENERAL)
        snprintf(text, NUMBER, half < 100 ? "%.2g" : "%.0f", half);
    else
        snprintf(text, NUMBER, "%.*f", def->digits > 0 || half == 0 || half >= 10 ? def->digits : 1, half);
    return text;
}

/* Nothing but zeros, with or without a unit. */
static bool is_nothing(const char *text) { return strspn(text, "-0.") == strcspn(text, " "); }

/* What is compared: a ratio, or a difference with its sign, which one that rounds to nothing has not. */
static const char *change(const study_figure_def *def, double value, char text[NUMBER]) {
    if (def->ratio) {
        snprintf(text, NUMBER, "%.3f", value);
        return text;
    }
    text[0] = value < 0 ? '-' : '+';
    number(def, fabs(value), text + 1, NUMBER - 1);
    if (is_nothing(text + 1)) memmove(text, text + 1, strlen(text));
    return text;
}

/* ---- a side ---- */

static void why_missing(const study *s, const study_summary *summary, const study_figure_def *def, int variant,
                        char *text, size_t size) {
    int count = 0, last = 0;
    for (int k = 0; k < summary->seeds; k++) {
        if (isfinite(def->value(s, summary->target, k, variant))) continue;
        count++;
        last = k;
    }
    bool diverged = count > 0 && s->run[last][variant].failure[0] && def->better != 0;
    const char *why = diverged && strcmp(def->missing, "not reached") != 0 ? "diverged" : def->missing;
    if (def->ratio && mmrec_train_untimed(s->setup)) why = "no times, emulated"; /* ratios are those of times */
    text[0] = '\0';
    if (count > 0) snprintf(text, size, "%s (%d of %d)", why, count, summary->seeds);
}

static const char *runs_text(const study *s, const study_summary *summary, const study_figure_def *def, int variant,
                             char text[STUDY_CELL]) {
    double sum = 0;
    for (int k = 0; k < summary->seeds; k++) sum += def->value(s, summary->target, k, variant);
    snprintf(text, STUDY_CELL, "%.0f of %d", sum, summary->seeds);
    return text;
}

static bool of_auxiliary(study_figure figure) { return figure >= STUDY_AUX_FIRST && figure <= STUDY_NORM_RATIO; }

static bool of_target(study_figure figure) { return figure == STUDY_TO_TARGET || figure == STUDY_TIME_TO_TARGET; }

const char *study_side_text(const study *s, const study_summary *summary, study_figure figure, int variant,
                            char text[STUDY_CELL]) {
    const study_figure_def *def = study_figure_get(figure);
    study_estimate e = summary->row[figure].side[variant];
    char mean[NUMBER], half[NUMBER], missing[NUMBER];
    if (def->style == STUDY_RUNS) return runs_text(s, summary, def, variant, text);
    if (of_target(figure) && !isfinite(summary->target)) {
        snprintf(text, STUDY_CELL, "n/a (no target)");
        return text;
    }
    if (of_auxiliary(figure) && !s->variant[variant].auxiliary) {
        snprintf(text, STUDY_CELL, "n/a (%s)", def->missing);
        return text;
    }
    why_missing(s, summary, def, variant, missing, sizeof missing);
    if (e.count == 0) {
        snprintf(text, STUDY_CELL, "%s", missing[0] ? missing : "n/a");
        return text;
    }
    number(def, e.mean, mean, sizeof mean);
    int used = snprintf(text, STUDY_CELL, "%s", mean);
    if (e.has_interval)
        used += snprintf(text + used, STUDY_CELL - (size_t)used, " \xc2\xb1 %s", half_width(def, e.interval, half));
    if (missing[0]) snprintf(text + used, STUDY_CELL - (size_t)used, "; %s", missing);
    return text;
}

/* ---- a difference ---- */

const char *study_difference_text(const study *s, const study_summary *summary, study_figure figure, int variant,
                                  char text[STUDY_CELL]) {
    const study_figure_def *def = study_figure_get(figure);
    const study_difference *d = &summary->row[figure].difference[variant];
    char mean[NUMBER], low[NUMBER], high[NUMBER];
    int missing = d->missing[0] + d->missing[1];
    if (of_auxiliary(figure) && !(s->variant[0].auxiliary && s->variant[variant].auxiliary)) missing = 0;
    if (d->estimate.count == 0) {
        snprintf(text, STUDY_CELL, "n/a%s%s", missing > 0 ? ": " : "", missing > 0 ? study_word_text(d->word) : "");
        return text;
    }
    if (def->style == STUDY_RUNS) {
        int more = (int)round(d->estimate.mean * d->estimate.count);
        snprintf(text, STUDY_CELL, more ? "%+d of %d: %s" : "%d of %d: %s", more, summary->seeds,
                 study_word_text(d->word));
        return text;
    }
    int used = snprintf(text, STUDY_CELL, "%s%s", change(def, d->estimate.mean, mean), def->ratio ? " times" : "");
    if (d->estimate.has_interval && !def->exact)
        used += snprintf(text + used, STUDY_CELL - (size_t)used, " (%s to %s)",
                         change(def, d->estimate.interval.low, low), change(def, d->estimate.interval.high, high));
    if (missing > 0)
        used +=
            snprintf(text + used, STUDY_CELL - (size_t)used, " over %d of %d seeds", d->estimate.count, summary->seeds);
    snprintf(text + used, STUDY_CELL - (size_t)used, ": %s", study_word_text(d->word));
    return text;
}

/* ---- names ---- */

const char *study_figure_text(const study *s, const study_summary *summary, study_figure figure,
                              char text[STUDY_CELL]) {
    const char *name = study_figure_get(figure)->name;
    long long window = (long long)study_window(s->steps);
    bool windowed = figure == STUDY_TRAIN_LOSS || figure == STUDY_VARIANCE;
    snprintf(text, STUDY_CELL, "%s", name);
    if (of_target(figure) && isfinite(summary->target)) {
        int length = (int)strcspn(name, ","); /* the unit stays last */
        snprintf(text, STUDY_CELL, "%.*s %.4f%s", length, name, summary->target, name + length);
    }
    if (windowed) snprintf(text, STUDY_CELL, "%s, last %lld steps", name, window);
    if (figure == STUDY_LOSS) snprintf(text, STUDY_CELL, "%s (decides)", name);
    return text;
}

bool study_figure_shown(const study *s, const study_summary *summary, study_figure figure) {
    bool any = figure != STUDY_BITS && figure != STUDY_ACCURACY && !of_auxiliary(figure);
    for (int v = 0; v < s->variant_count; v++) {
        any = any || summary->row[figure].side[v].count > 0;
        any = any || (of_auxiliary(figure) && s->variant[v].auxiliary);
    }
    return any;
}
