/* What makes the figures less sure than asked for. */
#include "core/units.h"
#include "report/figures.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Other work on half of a processor is enough to show in a run on two. */
static const double load_share = 0.25;
/* Left alone, threads wait below 0.1 % of the time. Barriers of OpenMP make far more of a lost processor: beside a
 * second program with two threads, an op of 26 us took 8.000 ms with an interval of 0.01 %. */
static const double taken_share = 0.02;

static void warn(mmrec_warnings *out, const char *code, const char *format, ...) MMREC_PRINTF(3, 4);

static void warn(mmrec_warnings *out, const char *code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    out->item[out->count].code = code;
    vsnprintf(out->item[out->count].message, MMREC_WARNING_TEXT, format, arguments);
    out->count++;
    va_end(arguments);
}

static void warn_machine(const mmrec_report *report, mmrec_warnings *out) {
    const mmrec_machine *m = &report->bench.machine;
    if (m->load1 > load_share * m->processors) {
        warn(out, "load_high",
             "The load average was %.2f on %d processors at the start: other work takes part of the machine. Stop it, "
             "or trust only ratios of sides measured in alternation.",
             m->load1, m->processors);
    }
    if (m->governor[0] && strcmp(m->governor, "performance") != 0) {
        warn(out, "governor",
             "The frequency governor is '%s': the clock follows the load. `performance` keeps it still.", m->governor);
    }
    if (m->threads > m->processors) {
        warn(out, "threads", "%d threads share %d processors: they wait for each other.", m->threads, m->processors);
    }
}

static void warn_timing(const mmrec_report *report, mmrec_warnings *out) {
    const mmrec_timing *t = &report->bench.timing;
    const mmrec_device_info *d = &report->bench.device;
    if (d->emulated) {
        warn(out, "emulated",
             "The device is emulated on the processor: results, launches and memory are real, times would mean nothing "
             "and are left out.");
    } else if (t->fallback[0]) {
        warn(out, "timer_fallback", "Timed by %s and not by %s: %s.", mmrec_timer_name(t->used),
             mmrec_timer_name(t->wanted), t->fallback);
    }
    if (d->name[0] && !d->emulated && !t->clocks)
        warn(out, "clocks_unknown", "The device's clocks are not known (%s): nothing tells whether it was slowed down.",
             t->no_clocks);
    if (t->gaps) {
        warn(out, "launch_gaps",
             "Some runs launch more kernels than the driver queues at once: their gpu times hold waits for the host. "
             "--graphs on launches each half as one.");
    }
    if (t->records_lost > 0) {
        warn(out, "records_lost", "CUPTI lost the records of %llu kernels: the times lack them.",
             (unsigned long long)t->records_lost);
    }
}

static void warn_yardstick(const mmrec_report *report, mmrec_warnings *out) {
    for (int i = 0; i < report->op_count; i++) {
        const mmrec_op_against *a = &report->ops[i].against;
        if (!a->missing[0]) continue;
        warn(out, "yardstick_missing", "There are no times of %s (%s): the op was timed alone.",
             mmrec_against_name(a->what), a->missing);
        return;
    }
}

/* A list of rows that grows in a text, with "and N more" when it is full. */
typedef struct row_list {
    char text[360];
    size_t used;
    int count, left_out;
} row_list;

static void list_row(row_list *list, const char *format, ...) MMREC_PRINTF(2, 3);

static void list_row(row_list *list, const char *format, ...) {
    char row[120];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(row, sizeof row, format, arguments);
    va_end(arguments);
    list->count++;
    if (list->used + strlen(row) + 3 > sizeof list->text) {
        list->left_out++;
        return;
    }
    list->used +=
        (size_t)snprintf(list->text + list->used, sizeof list->text - list->used, "%s%s", list->used ? "; " : "", row);
}

static const char *left_out_text(const row_list *list, char text[32]) {
    text[0] = '\0';
    if (list->left_out > 0) snprintf(text, 32, "; and %d more", list->left_out);
    return text;
}

/* Rows that a warning is about, by kind of warning. */
typedef struct row_lists {
    row_list taken, wide, few_samples, unclear, few_pairs, self, slowed;
} row_lists;

static void list_interval(const mmrec_bench_row *row, double target, const char *name, row_lists *lists) {
    mmrec_row_figures f = mmrec_figures_of(row, 1, &(mmrec_ceilings){0});
    double share = f.valid ? f.half_width_ns / f.median_ns : 0;
    if (f.valid && row->series.waited_share > taken_share)
        list_row(&lists->taken, "%s %.0f %%", name, 100 * row->series.waited_share);
    if (row->series.throttled > 0) {
        list_row(&lists->slowed, "%s %d of %d", name, row->series.throttled, row->series.count);
    }
    if (f.valid && !f.has_interval) list_row(&lists->few_samples, "%s %d", name, row->series.count);
    if (f.has_interval && share > target) list_row(&lists->wide, "%s \xc2\xb1%.1f %%", name, 100 * share);
}

static void list_pair(const mmrec_paired *p, bool both, const char *name, row_lists *lists) {
    if (p->valid && p->verdict == MMREC_UNCLEAR) list_row(&lists->unclear, "%s", name);
    if (!p->valid && both) list_row(&lists->few_pairs, "%s", name);
}

static void list_comparison(const mmrec_report *report, const mmrec_bench_case_result *r, int kind, const char *name,
                            row_lists *lists) {
    const mmrec_paired *p = &r->paired[kind];
    bool both = r->side[0].row[kind].series.count > 0 && r->side[1].row[kind].series.count > 0;
    list_pair(p, both, name, lists);
    bool differs = p->valid && (p->verdict == MMREC_FASTER || p->verdict == MMREC_SLOWER);
    if (report->setup->run.self_test && differs) list_row(&lists->self, "%s %.3f", name, p->ratio);
}

static void list_case(const mmrec_report *report, int index, row_lists *lists) {
    const mmrec_bench_case_result *r = &report->bench.cases[index];
    for (int kind = 0; kind < MMREC_MEASURE_KINDS; kind++) {
        const char *measure = mmrec_measure_kind_name((mmrec_measure_kind)kind);
        char name[80], side_name[100];
        if (report->bench.case_count > 1)
            snprintf(name, sizeof name, "case %d %s", index + 1, measure);
        else
            snprintf(name, sizeof name, "%s", measure);
        for (int side = 0; side < 2; side++) {
            snprintf(side_name, sizeof side_name, "%s, %s", name, mmrec_side_name(report, side));
            list_interval(&r->side[side].row[kind], report->setup->run.sampling.target_ci, side_name, lists);
        }
        list_comparison(report, r, kind, name, lists);
    }
}

static void list_op(const mmrec_report *report, const mmrec_op_result *r, row_lists *lists) {
    double target = report->setup->run.sampling.target_ci;
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        const mmrec_bench_row *other = &r->against.row[pass];
        char name[100];
        if (!r->has_pass[pass]) continue;
        snprintf(name, sizeof name, "%s %s", r->op, mmrec_pass_name(pass));
        list_interval(&r->pass[pass], target, name, lists);
        list_pair(&r->against.paired[pass], other->series.count > 0, name, lists);
        snprintf(name, sizeof name, "%s %s", mmrec_against_name(r->against.what), mmrec_pass_name(pass));
        list_interval(other, target, name, lists);
    }
}

static void warn_list(mmrec_warnings *out, const char *code, const char *what, const row_list *list,
                      const char *advice) {
    char more[32];
    if (list->count > 0) warn(out, code, "%s: %s%s. %s", what, list->text, left_out_text(list, more), advice);
}

static void warn_rows(const mmrec_report *report, mmrec_warnings *out) {
    row_lists lists = {.wide = {.used = 0}};
    char wide[80];
    for (int i = 0; i < report->bench.case_count; i++) list_case(report, i, &lists);
    for (int i = 0; i < report->op_count; i++) list_op(report, &report->ops[i], &lists);
    snprintf(wide, sizeof wide, "The interval is wider than the %g %% asked for",
             100 * report->setup->run.sampling.target_ci);
    warn_list(out, "processor_taken", "Other work took the processors, in % of the threads' time", &lists.taken,
              "These times are of a shared machine, however narrow their intervals: measure again when it is quiet.");
    warn_list(out, "interval_wide", wide, &lists.wide, "A longer --max-time (and --total-time) narrows it.");
    warn_list(out, "slowed", "The device was held below its clocks (power, heat), in samples", &lists.slowed,
              "They count all the same; the JSON tells which and why. Let it cool, or lock its clocks.");
    warn_list(out, "verdict_unclear", "Neither a difference nor its absence is shown", &lists.unclear,
              "A longer --max-time or a quieter machine can tell.");
    warn_list(out, "samples_few", "Too few samples for a 95 % interval", &lists.few_samples,
              "A longer --max-time (and --total-time), or a smaller case, gives one.");
    warn_list(out, "pairs_few", "Too few pairs of samples for a ratio", &lists.few_pairs,
              "A longer --max-time (and --total-time), or a smaller case, gives one.");
    warn_list(out, "self_test", "Equal sides seem to differ", &lists.self,
              "Differences of this size are no findings on this machine as it is now.");
}

void mmrec_warnings_of(const mmrec_report *report, mmrec_warnings *out) {
    out->count = 0;
    if (report->bench.interrupted) {
        warn(out, "interrupted",
             "The run was interrupted: the figures are those measured till then, and some are missing.");
    }
    if (report->plans) return;
    warn_machine(report, out);
    warn_timing(report, out);
    warn_yardstick(report, out);
    warn_rows(report, out);
}
