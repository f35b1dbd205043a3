/* A case in the Markdown report: what it is, the timings, HEM on against off, memory. */
#include "report/markdown.h"

#include <stdio.h>

static void heading(const mmrec_report *report, int index, mmrec_buffer *out) {
    const mmrec_bench_case_result *r = &report->bench.cases[index];
    char name[MMREC_NAME_TEXT], details[MMREC_NAME_TEXT];
    mmrec_buffer_format(out, "\n## Case %d of %d: %s\n\n", index + 1, report->bench.case_count,
                        mmrec_case_name(&r->input, name));
    mmrec_buffer_format(out, "- %s\n", mmrec_case_details(&r->input, report->setup->run.recompute, details));
}

/* What a side computes in a step, and how far it is from the reference. */
static void side_line(const mmrec_report *report, const mmrec_bench_case_result *r, int side, mmrec_buffer *out) {
    const mmrec_bench_side *s = &r->side[side];
    const char *name = mmrec_side_name(report, side);
    const mmrec_bench_check *c = &s->check;
    char forward[MMREC_UNITS_TEXT], backward[MMREC_UNITS_TEXT];
    if (!s->present || !(s->forward.flops > 0)) return;
    mmrec_buffer_format(out, "- %s: a step is %s forward and %s backward%s\n", name,
                        mmrec_units_scaled_text(s->forward.flops, "FLOP", forward),
                        mmrec_units_scaled_text(s->backward.flops, "FLOP", backward), mmrec_recompute_note(report));
    if (!c->done) return;
    mmrec_buffer_format(out, "- %s against ref: outputs off by %.1e (at most %.0e), gradients by %.1e (at most %.0e)\n",
                        name, c->output_error, c->output_tolerance, c->gradient_error, c->gradient_tolerance);
}

static void facts(const mmrec_report *report, const mmrec_bench_case_result *r, mmrec_buffer *out) {
    const mmrec_bench_check *c = r->side[0].check.done ? &r->side[0].check : &r->side[1].check;
    char failure[MMREC_ERROR_MESSAGE];
    if (r->parameters > 0) mmrec_buffer_format(out, "- %lld parameters\n", (long long)r->parameters);
    if (c->done) {
        mmrec_buffer_format(out, "- compared with ref at D %lld, T %lld, B %lld, L %lld\n", (long long)c->dim,
                            (long long)c->time, (long long)c->batch, (long long)c->layers);
    }
    for (int side = 0; side < 2; side++) side_line(report, r, side, out);
    if (mmrec_case_failure(report, r, failure, sizeof failure)) mmrec_buffer_format(out, "\n**Failed:** %s\n", failure);
}

static mmrec_row_figures figures(const mmrec_report *report, const mmrec_bench_case_result *r, int side, int kind) {
    return mmrec_figures_of(&r->side[side].row[kind], mmrec_figures_layers(&r->input, (mmrec_measure_kind)kind),
                            &report->bench.ceilings);
}

/* The unit in which every per-layer time of the case reads well; false when there is nothing to show. */
static bool case_unit(const mmrec_report *report, const mmrec_bench_case_result *r, mmrec_time_unit *unit) {
    double smallest = 0;
    bool shown = false;
    for (int i = 0; i < 2 * MMREC_MEASURE_KINDS; i++) {
        mmrec_row_figures f = figures(report, r, i % 2, i / 2);
        if (f.valid && (!(smallest > 0) || f.per_layer_ns < smallest)) smallest = f.per_layer_ns;
        shown = shown || mmrec_row_shown(&r->side[i % 2].row[i / 2]);
    }
    *unit = smallest > 0 ? mmrec_time_unit_for(smallest) : (mmrec_time_unit){"ms", 1e6};
    return shown;
}

static void number_cell(mmrec_table *table, bool valid, const char *format, double value) {
    char text[MMREC_UNITS_TEXT] = "n/a";
    if (valid) snprintf(text, sizeof text, format, value);
    mmrec_table_cell(table, "%s", text);
}

static void timing_row(const mmrec_report *report, const mmrec_bench_row *row, const mmrec_row_figures *f,
                       mmrec_time_unit unit, mmrec_table *table) {
    char text[MMREC_UNITS_TEXT];
    mmrec_time_cells(report, report->bench.timing.used, row, f, unit, table);
    number_cell(table, f->valid, "%.0f", f->tokens_per_s);
    number_cell(table, f->valid, "%.3f", f->per_layer_ns / unit.ns);
    number_cell(table, f->valid, "%.1f", f->flops_per_s / 1e9);
    number_cell(table, f->sgemm_share > 0, "%.0f %%", 100 * f->sgemm_share);
    mmrec_table_cell(table, "%d", row->nodes);
    if (mmrec_of_device(report)) {
        mmrec_table_cell(table, "%lld", (long long)row->launches);
        mmrec_table_cell(table, "%s", mmrec_slowed_text(report, &row->series, text));
    }
    mmrec_table_cell(table, "%d", row->series.count);
    mmrec_table_cell(table, "%s", f->valid ? mmrec_stop_reason_name(row->series.stop) : "n/a");
}

static void timing_header(const mmrec_report *report, mmrec_time_unit unit, mmrec_table *table) {
    bool device = mmrec_of_device(report);
    char header[160];
    mmrec_table_header(table, "measure|side");
    mmrec_time_header(report, unit, table);
    snprintf(header, sizeof header, "spread|tokens/s|layer [%s]|GFLOP/s|of sgemm|nodes%s|n|ended by", unit.name,
             device ? "|launches|slowed" : "");
    mmrec_table_header(table, header);
}

static void timings(const mmrec_report *report, const mmrec_bench_case_result *r, mmrec_buffer *out) {
    enum { COLUMNS = 11, RIGHT = 0x3fc, DEVICE_COLUMNS = 14, DEVICE_RIGHT = 0x1ffc };
    bool device = mmrec_of_device(report);
    mmrec_time_unit unit;
    mmrec_table table;
    if (!case_unit(report, r, &unit)) return;
    mmrec_table_begin(&table, out->allocator, device ? DEVICE_COLUMNS : COLUMNS, device ? DEVICE_RIGHT : RIGHT);
    timing_header(report, unit, &table);
    for (int i = 0; i < 2 * MMREC_MEASURE_KINDS; i++) {
        const mmrec_bench_row *row = &r->side[i % 2].row[i / 2];
        mmrec_row_figures f = figures(report, r, i % 2, i / 2);
        if (!mmrec_row_shown(row)) continue;
        mmrec_table_cell(&table, "%s", mmrec_measure_kind_name((mmrec_measure_kind)(i / 2)));
        mmrec_table_cell(&table, "%s", mmrec_side_name(report, i % 2));
        timing_row(report, row, &f, unit, &table);
    }
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&table, out);
}

static void kernels(const mmrec_report *report, const mmrec_bench_case_result *r, mmrec_buffer *out) {
    for (int i = 0; i < 2 * MMREC_MEASURE_KINDS; i++) {
        char name[MMREC_NAME_TEXT];
        snprintf(name, sizeof name, "%s, %s", mmrec_measure_kind_name((mmrec_measure_kind)(i / 2)),
                 mmrec_side_name(report, i % 2));
        mmrec_markdown_kernels(&r->side[i % 2].row[i / 2], name, out);
    }
}

static void ratios(const mmrec_report *report, const mmrec_bench_case_result *r, mmrec_buffer *out) {
    mmrec_table table;
    bool self = report->setup->run.self_test;
    int count = 0;
    for (int kind = 0; kind < MMREC_MEASURE_KINDS; kind++) count += r->paired[kind].valid;
    if (r->side[0].row[0].series.untimed && r->side[1].row[0].series.untimed) {
        mmrec_buffer_format(out, "\n%s against %s: n/a (%s)\n", mmrec_hem_name(r->side[1].hem), self ? "itself" : "off",
                            r->side[1].row[0].series.untimed);
    }
    if (count == 0) return;
    mmrec_table_begin(&table, out->allocator, 5, 0xe);
    mmrec_table_cell(&table, "%s against %s", mmrec_hem_name(r->side[1].hem), self ? "itself" : "off");
    mmrec_table_header(&table, self ? "time second / first|95 % interval|pairs|second is"
                                    : "time on / off|95 % interval|pairs|HEM on is");
    for (int kind = 0; kind < MMREC_MEASURE_KINDS; kind++) {
        const mmrec_paired *p = &r->paired[kind];
        if (p->valid) mmrec_ratio_row(mmrec_measure_kind_name((mmrec_measure_kind)kind), p, &table);
    }
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&table, out);
}

/* A side that failed or was interrupted before its memory was planned has none to show. */
static bool has_memory(const mmrec_bench_side *s) {
    return s->present && mmrec_figures_sum(s->model_memory.planned) > 0;
}

static void memory_cells(const mmrec_memory_figures *m, int arena, mmrec_table *table) {
    char planned[MMREC_UNITS_TEXT], allocated[MMREC_UNITS_TEXT];
    bool total = arena == MMREC_ARENAS;
    size_t p = total ? mmrec_figures_sum(m->planned) : m->planned[arena];
    size_t a = total ? mmrec_figures_sum(m->allocated_peak) : m->allocated_peak[arena];
    mmrec_table_cell(table, "%s", mmrec_units_bytes_text((double)p, planned));
    mmrec_table_cell(table, "%s", mmrec_units_bytes_text((double)a, allocated));
}

static void memory(const mmrec_report *report, const mmrec_bench_case_result *r, mmrec_buffer *out) {
    mmrec_table table;
    int sides = has_memory(&r->side[0]) + has_memory(&r->side[1]);
    char text[MMREC_UNITS_TEXT];
    if (sides == 0) return;
    mmrec_table_begin(&table, out->allocator, 1 + 2 * sides, ~1u);
    mmrec_table_cell(&table, "memory of a model step");
    for (int side = 0; side < 2; side++) {
        if (!has_memory(&r->side[side])) continue;
        mmrec_table_cell(&table, "%s planned", mmrec_side_name(report, side));
        mmrec_table_cell(&table, "allocated peak");
    }
    for (int arena = 0; arena <= MMREC_ARENAS; arena++) {
        mmrec_table_cell(&table, "%s", arena == MMREC_ARENAS ? "total" : mmrec_arena_name((mmrec_arena)arena));
        for (int side = 0; side < 2; side++) {
            if (has_memory(&r->side[side])) memory_cells(&r->side[side].model_memory, arena, &table);
        }
    }
    mmrec_table_cell(&table, "graph, plan and samples");
    for (int side = 0; side < 2; side++) {
        if (!has_memory(&r->side[side])) continue;
        mmrec_table_cell(&table, "n/a");
        mmrec_table_cell(&table, "%s", mmrec_units_bytes_text((double)r->side[side].model_memory.other_peak, text));
    }
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&table, out);
}

/* One line of the table of phases. */
typedef enum memory_line { PLANNED, ALLOCATED, ALLOCATED_PEAK, USED, UNACCOUNTED, MEMORY_LINES } memory_line;
static const char *const memory_lines[MEMORY_LINES] = {"planned", "allocated", "allocated, peak", "device in use",
                                                       "unaccounted"};

static double memory_value(const mmrec_bench_side *s, int phase, memory_line line) {
    const mmrec_memory_point *point = &s->memory[phase];
    switch (line) {
    case PLANNED:
        return (double)point->planned_bytes;
    case ALLOCATED:
        return (double)point->allocated_bytes;
    case ALLOCATED_PEAK:
        return (double)point->allocated_peak;
    case USED:
        return (double)point->device_used_bytes;
    default:
        return (double)mmrec_memory_unaccounted(&s->memory[MMREC_MEMORY_BEFORE], point);
    }
}

static void phase_cells(const mmrec_bench_side *s, memory_line line, mmrec_table *table) {
    double most = 0;
    char text[MMREC_UNITS_TEXT];
    for (int phase = 0; phase < MMREC_MEMORY_PHASES; phase++) {
        double value = memory_value(s, phase, line);
        if (!s->memory[phase].taken) {
            mmrec_table_cell(table, "n/a");
            continue;
        }
        mmrec_units_bytes_text(value < 0 ? -value : value, text);
        mmrec_table_cell(table, "%s%s", value < 0 ? "-" : "", text);
        if (value > most) most = value;
    }
    mmrec_table_cell(table, "%s", mmrec_units_bytes_text(most, text));
}

/* Each side alone, from before it is made until after it is freed. On the host the driver's two lines are not there. */
static void phases(const mmrec_report *report, const mmrec_bench_case_result *r, mmrec_buffer *out) {
    mmrec_table table;
    int lines = mmrec_of_device(report) ? MEMORY_LINES : USED;
    if (!r->side[0].memory[MMREC_MEMORY_CREATE].taken && !r->side[1].memory[MMREC_MEMORY_CREATE].taken) return;
    mmrec_table_begin(&table, out->allocator, 2 + MMREC_MEMORY_PHASES, ~1u);
    mmrec_table_cell(&table, "memory by phase");
    for (int phase = 0; phase < MMREC_MEMORY_PHASES; phase++)
        mmrec_table_cell(&table, "%s", mmrec_memory_phase_name((mmrec_memory_phase)phase));
    mmrec_table_cell(&table, "highest");
    for (int i = 0; i < 2 * lines; i++) {
        const mmrec_bench_side *s = &r->side[i / lines];
        if (!s->memory[MMREC_MEMORY_CREATE].taken) continue;
        mmrec_table_cell(&table, "%s, %s", mmrec_side_name(report, i / lines), memory_lines[i % lines]);
        phase_cells(s, (memory_line)(i % lines), &table);
    }
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&table, out);
}

void mmrec_markdown_case(const mmrec_report *report, int index, mmrec_buffer *out) {
    const mmrec_bench_case_result *r = &report->bench.cases[index];
    heading(report, index, out);
    facts(report, r, out);
    timings(report, r, out);
    ratios(report, r, out);
    kernels(report, r, out);
    memory(report, r, out);
    phases(report, r, out);
}
