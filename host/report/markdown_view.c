/* The view "Metric | Original | HEM | Improvement": HEM off is the original. An improvement is printed only where it
 * was measured, with its interval, or is exact arithmetic; everything else says why it is not there. */
#include "report/markdown.h"

#include <stdio.h>

typedef struct view {
    const mmrec_report *report;
    const mmrec_bench_case_result *result;
    mmrec_table table;
} view;

typedef enum rate { TIME, PER_LAYER, TOKENS } rate;

static void value_cell(view *v, int side, mmrec_measure_kind kind, rate what) {
    const mmrec_bench_side *s = &v->result->side[side];
    mmrec_row_figures f =
        mmrec_figures_of(&s->row[kind], mmrec_figures_layers(&v->result->input, kind), &v->report->bench.ceilings);
    if (!s->present || !f.valid) {
        const char *why = s->row[kind].series.untimed ? s->row[kind].series.untimed : "no samples";
        mmrec_table_cell(&v->table, "n/a (%s)", s->present ? why : "not run");
        return;
    }
    char text[MMREC_UNITS_TEXT];
    /* A cell has its own unit, unlike a column: whole ones of it, for all the digits. */
    mmrec_time_unit unit = mmrec_time_unit_for((what == PER_LAYER ? f.per_layer_ns : f.median_ns) / 10);
    switch (what) {
    case TIME:
        mmrec_table_cell(&v->table, "%s %s", mmrec_time_text(&f, 1, unit, text), unit.name);
        break;
    case PER_LAYER:
        mmrec_table_cell(&v->table, "%s %s", mmrec_time_text(&f, f.per_layer_ns / f.median_ns, unit, text), unit.name);
        break;
    case TOKENS:
        mmrec_table_cell(&v->table, "%.0f", f.tokens_per_s);
        break;
    }
}

static void improvement_cell(view *v, mmrec_measure_kind kind, rate what) {
    const mmrec_paired *p = &v->result->paired[kind];
    mmrec_improvement i = what == TOKENS ? mmrec_improvement_of_rate(p) : mmrec_improvement_of_time(p);
    char text[MMREC_UNITS_TEXT];
    if (i.valid) {
        mmrec_table_cell(&v->table, "%s, %s", mmrec_improvement_text(&i, text), mmrec_verdict_name(p->verdict));
    } else {
        bool both = v->result->side[0].present && v->result->side[1].present;
        const char *untimed = v->result->side[1].row[kind].series.untimed;
        mmrec_table_cell(&v->table, "n/a (%s)", !both ? "needs both sides" : untimed ? untimed : "too few pairs");
    }
}

static void measured_row(view *v, const char *name, mmrec_measure_kind kind, rate what) {
    mmrec_table_cell(&v->table, "%s", name);
    value_cell(v, 0, kind, what);
    value_cell(v, 1, kind, what);
    improvement_cell(v, kind, what);
}

typedef enum quantity { BYTES, FLOPS, COUNT } quantity;

/* A figure of 0 is one that was never filled in: the side failed or was interrupted before. */
static void exact_cell(view *v, int side, double value, quantity what) {
    char text[MMREC_UNITS_TEXT];
    bool present = v->result->side[side].present;
    if (!present || !(value > 0))
        mmrec_table_cell(&v->table, "n/a (%s)", present ? "not reached" : "not run");
    else if (what == BYTES)
        mmrec_table_cell(&v->table, "%s", mmrec_units_bytes_text(value, text));
    else if (what == FLOPS)
        mmrec_table_cell(&v->table, "%s", mmrec_units_scaled_text(value, "FLOP", text));
    else
        mmrec_table_cell(&v->table, "%.0f", value);
}

/* A figure that is known exactly for both sides: no interval. */
static void exact_row(view *v, const char *name, double off, double on, quantity what) {
    bool both = v->result->side[0].present && v->result->side[1].present;
    mmrec_table_cell(&v->table, "%s", name);
    exact_cell(v, 0, off, what);
    exact_cell(v, 1, on, what);
    if (!both || !(off > 0) || !(on > 0))
        mmrec_table_cell(&v->table, "n/a (needs both sides)");
    else if (off == on)
        mmrec_table_cell(&v->table, "equal");
    else
        mmrec_table_cell(&v->table, "%+.1f %% (exact)", 100 * (1 - on / off));
}

static void exact_rows(view *v) {
    const mmrec_bench_side *a = &v->result->side[0], *b = &v->result->side[1];
    const mmrec_measure_kind step = MMREC_MEASURE_MODEL_FORWARD_BACKWARD;
    exact_row(v, "planned memory of a model step", (double)mmrec_figures_sum(a->model_memory.planned),
              (double)mmrec_figures_sum(b->model_memory.planned), BYTES);
    exact_row(v, "allocated memory, its peak", (double)mmrec_figures_sum(a->model_memory.allocated_peak),
              (double)mmrec_figures_sum(b->model_memory.allocated_peak), BYTES);
    exact_row(v, "parameters", (double)v->result->parameters, (double)v->result->parameters, COUNT);
    exact_row(v, "work of model forward", a->forward.flops, b->forward.flops, FLOPS);
    exact_row(v, "work of model backward", a->backward.flops, b->backward.flops, FLOPS);
    exact_row(v, "nodes of model forward + backward", a->row[step].nodes, b->row[step].nodes, COUNT);
    if (!mmrec_of_device(v->report)) return;
    for (int kind = 0; kind < MMREC_MEASURE_KINDS; kind++) {
        char name[64];
        if (!mmrec_measure_wanted(&v->report->setup->run, (mmrec_measure_kind)kind)) continue;
        snprintf(name, sizeof name, "kernel launches of %s", mmrec_measure_kind_name((mmrec_measure_kind)kind));
        exact_row(v, name, (double)a->row[kind].launches, (double)b->row[kind].launches, COUNT);
    }
}

void mmrec_markdown_view(const mmrec_report *report, int index, mmrec_buffer *out) {
    view v = {.report = report, .result = &report->bench.cases[index]};
    if (!v.result->side[0].present && !v.result->side[1].present) return;
    mmrec_table_begin(&v.table, out->allocator, 4, 0xe);
    mmrec_table_header(&v.table, report->setup->run.self_test ? "Metric|First|Second|Difference"
                                                              : "Metric|Original|HEM|Improvement");
    measured_row(&v, "block forward", MMREC_MEASURE_BLOCK_FORWARD, TIME);
    measured_row(&v, "block backward", MMREC_MEASURE_BLOCK_BACKWARD, TIME);
    measured_row(&v, "model forward", MMREC_MEASURE_MODEL_FORWARD, TIME);
    measured_row(&v, "model forward + backward", MMREC_MEASURE_MODEL_FORWARD_BACKWARD, TIME);
    if (mmrec_measure_wanted(&report->setup->run, MMREC_MEASURE_OPTIMIZER))
        measured_row(&v, "optimizer step", MMREC_MEASURE_OPTIMIZER, TIME);
    measured_row(&v, "model forward, per layer", MMREC_MEASURE_MODEL_FORWARD, PER_LAYER);
    measured_row(&v, "tokens/s, model forward", MMREC_MEASURE_MODEL_FORWARD, TOKENS);
    measured_row(&v, "tokens/s, model forward + backward", MMREC_MEASURE_MODEL_FORWARD_BACKWARD, TOKENS);
    exact_rows(&v);
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&v.table, out);
}
