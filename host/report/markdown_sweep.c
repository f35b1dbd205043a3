/* The cases of a sweep side by side: what an axis does to a measure should not have to be gathered from sections. */
#include "report/markdown.h"

#include <stdio.h>

/* The first so many sizes that differ between cases have a column; further ones are in the headings of the cases. */
enum { VARYING = 6 };

typedef struct sweep {
    const mmrec_report *report;
    int varying[VARYING], count;
    bool present[2], both; /* sides, the same for every case */
} sweep;

static bool varies(const mmrec_report *report, int size) {
    const mmrec_bench_case_result *cases = report->bench.cases;
    for (int i = 1; i < report->bench.case_count; i++) {
        if (mmrec_case_size(&cases[i].input, size) != mmrec_case_size(&cases[0].input, size)) return true;
    }
    return false;
}

static mmrec_row_figures figures(const sweep *s, int index, int side, int kind) {
    return mmrec_figures_of(&s->report->bench.cases[index].side[side].row[kind], 1, &s->report->bench.ceilings);
}

static mmrec_time_unit unit_of(const sweep *s, int kind) {
    double smallest = 0;
    for (int i = 0; i < 2 * s->report->bench.case_count; i++) {
        mmrec_row_figures f = figures(s, i / 2, i % 2, kind);
        if (f.valid && (!(smallest > 0) || f.median_ns < smallest)) smallest = f.median_ns;
    }
    return mmrec_time_unit_for(smallest);
}

static void side_cells(const sweep *s, int index, int side, int kind, mmrec_time_unit unit, mmrec_table *table) {
    mmrec_row_figures f = figures(s, index, side, kind);
    char text[MMREC_UNITS_TEXT], missing[MMREC_UNITS_TEXT];
    mmrec_missing_text(&s->report->bench.cases[index].side[side].row[kind].series, missing);
    mmrec_table_cell(table, "%s", f.valid ? mmrec_time_text(&f, 1, unit, text) : missing);
    snprintf(text, sizeof text, "%.0f", f.tokens_per_s);
    mmrec_table_cell(table, "%s", f.valid ? text : missing);
}

static void ratio_cells(const mmrec_paired *p, mmrec_table *table) {
    char text[MMREC_NAME_TEXT] = "n/a";
    if (p->valid) snprintf(text, sizeof text, "%.3f (%.3f to %.3f)", p->ratio, p->ci95.low, p->ci95.high);
    mmrec_table_cell(table, "%s", text);
    mmrec_table_cell(table, "%s", p->valid ? mmrec_verdict_name(p->verdict) : "n/a");
}

static void case_row(const sweep *s, int index, int kind, mmrec_time_unit unit, mmrec_table *table) {
    const mmrec_bench_case_result *r = &s->report->bench.cases[index];
    mmrec_table_cell(table, "case %d", index + 1);
    for (int i = 0; i < s->count; i++) {
        mmrec_table_cell(table, "%lld", (long long)mmrec_case_size(&r->input, s->varying[i]));
    }
    for (int side = 0; side < 2; side++) {
        if (s->present[side]) side_cells(s, index, side, kind, unit, table);
    }
    if (s->both) ratio_cells(&r->paired[kind], table);
}

static void header(const sweep *s, int kind, mmrec_time_unit unit, mmrec_table *table) {
    mmrec_table_cell(table, "%s", mmrec_measure_kind_name((mmrec_measure_kind)kind));
    for (int i = 0; i < s->count; i++) mmrec_table_cell(table, "%s", mmrec_case_size_name(s->varying[i]));
    for (int i = 0; i < 2; i++) {
        if (!s->present[i]) continue;
        mmrec_table_cell(table, "%s [%s]", mmrec_side_name(s->report, i), unit.name);
        mmrec_table_cell(table, "tokens/s");
    }
    if (s->both) {
        bool self = s->report->setup->run.self_test;
        mmrec_table_header(table, self ? "time second / first|second is" : "time on / off|HEM on is");
    }
}

static void measure_table(const sweep *s, int kind, mmrec_buffer *out) {
    mmrec_time_unit unit = unit_of(s, kind);
    mmrec_table table;
    mmrec_table_begin(&table, out->allocator, 1 + s->count + (s->both ? 6 : 2), ~1u);
    header(s, kind, unit, &table);
    for (int i = 0; i < s->report->bench.case_count; i++) case_row(s, i, kind, unit, &table);
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&table, out);
}

void mmrec_markdown_sweep(const mmrec_report *report, mmrec_buffer *out) {
    if (report->bench.case_count < 2) return;
    const mmrec_bench_side *side = report->bench.cases[0].side;
    sweep s = {.report = report, .present = {side[0].present, side[1].present}};
    s.both = s.present[0] && s.present[1];
    for (int i = 0; i < MMREC_CASE_SIZES && s.count < VARYING; i++) {
        if (varies(report, i)) s.varying[s.count++] = i;
    }
    mmrec_buffer_text(out, "\n## All cases\n");
    for (int kind = 0; kind < MMREC_MEASURE_KINDS; kind++) {
        if (mmrec_measure_wanted(&report->setup->run, (mmrec_measure_kind)kind)) measure_table(&s, kind, out);
    }
}
