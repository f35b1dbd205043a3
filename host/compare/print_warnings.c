/* What makes the times less sure than asked for, each with what can be done about it. */
#include <stdio.h>
#include <string.h>

#include "compare/compare_print.h"

/* As mmrec-bench has them (report/warnings.c): other work on half of a processor shows in a run on two; left alone,
 * threads wait below 0.1 % of the time. */
static const double load_share = 0.25, taken_share = 0.02;

static char *begin(mmrec_warnings *out, const char *code) {
    out->item[out->count].code = code;
    return out->item[out->count++].message;
}

static void warn_machine(const mmrec_comparison *c, mmrec_warnings *out) {
    const mmrec_machine *m = &c->machine;
    if (m->load1 > load_share * m->processors)
        snprintf(
            begin(out, "load_high"), MMREC_WARNING_TEXT,
            "The load average was %.2f on %d processors at the start: other work takes part of the machine. Stop it, "
            "or trust only the ratios.",
            m->load1, m->processors);
    if (m->threads > m->processors)
        snprintf(begin(out, "threads"), MMREC_WARNING_TEXT, "%d threads share %d processors: they wait for each other.",
                 m->threads, m->processors);
}

/* ---- rows whose step ... ---- */

typedef bool (*row_test)(const mmrec_comparison *c, int row, const mmrec_row_figures *step);

static bool was_taken(const mmrec_comparison *c, int row, const mmrec_row_figures *step) {
    (void)step;
    return c->row[row].series[MMREC_PART_STEP].waited_share > taken_share;
}

static bool is_few(const mmrec_comparison *c, int row, const mmrec_row_figures *step) {
    (void)c, (void)row;
    return !step->has_interval;
}

static bool is_wide(const mmrec_comparison *c, int row, const mmrec_row_figures *step) {
    (void)row;
    return step->has_interval && step->half_width_ns > c->options->sampling.target_ci * step->median_ns;
}

/* Labels of the rows that are so, cut with "..." where there is no room; false: there are none. */
static bool list_rows(const mmrec_comparison *c, row_test is, char text[320]) {
    size_t used = 0, room = 320 - 5;
    text[0] = '\0';
    for (int i = 0; i < c->options->count; i++) {
        compare_figures f;
        compare_figures_of(c, i, &f);
        if (!f.part[MMREC_PART_STEP].valid || !is(c, i, &f.part[MMREC_PART_STEP])) continue;
        size_t length = strlen(f.label) + 2;
        if (used + length > room) {
            snprintf(text + used, 6, ", ...");
            break;
        }
        used += (size_t)snprintf(text + used, length + 1, "%s%s", used > 0 ? ", " : "", f.label);
    }
    return used > 0;
}

static void warn_rows(const mmrec_comparison *c, mmrec_warnings *out) {
    char rows[320];
    if (list_rows(c, was_taken, rows))
        snprintf(
            begin(out, "processor_taken"), MMREC_WARNING_TEXT,
            "Threads waited for a processor for more than %.0f %% of the time: %s. Other programs ran; times are too "
            "long.",
            100 * taken_share, rows);
    if (list_rows(c, is_few, rows))
        snprintf(begin(out, "few_samples"), MMREC_WARNING_TEXT,
                 "Fewer than %d samples, too few for an interval: %s. Allow more --max-time.", MMREC_INTERVAL_SAMPLES,
                 rows);
    if (list_rows(c, is_wide, rows))
        snprintf(
            begin(out, "interval_wide"), MMREC_WARNING_TEXT,
            "Half the interval of a step is wider than the %.3g %% asked for: %s. Allow more --max-time, or quiet the "
            "machine.",
            100 * c->options->sampling.target_ci, rows);
}

void compare_warnings_of(const mmrec_comparison *c, mmrec_warnings *out) {
    out->count = 0;
    if (compare_untimed(c)) return;
    warn_machine(c, out);
    warn_rows(c, out);
}
