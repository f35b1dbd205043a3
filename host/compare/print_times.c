/* Times of forward, backward, optimizer and step, each with its rates and its ratio to the first row. */
#include <stdio.h>

#include "compare/compare_print.h"
#include "report/markdown.h"

enum { COLUMNS = 9 };

static mmrec_time_unit unit_of(const mmrec_comparison *c, mmrec_compare_part part) {
    double smallest = 0;
    for (int i = 0; i < c->options->count; i++) {
        compare_figures f;
        compare_figures_of(c, i, &f);
        double ns = f.part[part].median_ns;
        if (f.part[part].valid && (smallest == 0 || ns < smallest)) smallest = ns;
    }
    return mmrec_time_unit_for(smallest > 0 ? smallest : 1e6);
}

static void ratio_cells(const mmrec_paired *p, int row, bool timed, mmrec_table *table) {
    char text[COMPARE_CELL];
    if (row == 0 || !p->valid || !timed) {
        mmrec_table_cell(table, row == 0 && timed ? "1" : "n/a");
        mmrec_table_cell(table, row == 0 && timed ? "" : "n/a");
        return;
    }
    mmrec_table_cell(table, "%s", compare_interval_text(p->ratio, true, p->ci95, 3, text));
    mmrec_table_cell(table, "%s", mmrec_verdict_name(p->verdict));
}

static void rate_cells(const mmrec_row_figures *f, mmrec_compare_part part, mmrec_table *table) {
    char text[MMREC_UNITS_TEXT];
    bool tokens = f->valid && part != MMREC_PART_OPTIMIZER, work = f->valid && f->has_work;
    mmrec_table_cell(table, tokens ? "%.0f" : "n/a", f->tokens_per_s);
    mmrec_table_cell(table, "%s", work ? mmrec_units_scaled_text(f->flops_per_s, "FLOP/s", text) : "n/a");
    mmrec_table_cell(table, work && f->sgemm_share > 0 ? "%.3f" : "n/a", f->sgemm_share);
}

static void time_row(const mmrec_comparison *c, int row, mmrec_compare_part part, mmrec_time_unit unit,
                     mmrec_table *table) {
    char text[MMREC_UNITS_TEXT], missing[COMPARE_CELL];
    compare_figures f;
    if (!compare_row_begin(c, row, COLUMNS, &f, table)) return;
    const mmrec_row_figures *p = &f.part[part];
    compare_no_time(c, row, part, missing);
    mmrec_table_cell(table, "%s", p->valid ? mmrec_time_text(p, 1, unit, text) : missing);
    mmrec_table_cell(table, "%s", p->valid ? mmrec_spread_text(p, text) : missing);
    mmrec_table_cell(table, "%d", p->valid ? c->row[row].series[part].count : 0);
    ratio_cells(&c->row[row].paired[part], row, p->valid, table);
    rate_cells(p, part, table);
}

static void part_table(const mmrec_comparison *c, mmrec_compare_part part, mmrec_buffer *out) {
    mmrec_time_unit unit = unit_of(c, part);
    char header[COMPARE_CELL], first[COMPARE_CELL];
    mmrec_table table;
    snprintf(header, sizeof header, "%s|median \xc2\xb1 95 %% [%s]|spread|n", mmrec_compare_part_name(part), unit.name);
    snprintf(first, sizeof first, "/ %s", c->options->entries[0].label);
    mmrec_table_begin(&table, out->allocator, COLUMNS, 0x1de);
    mmrec_table_header(&table, header);
    mmrec_table_cell(&table, "%s", first);
    mmrec_table_header(&table, "verdict");
    mmrec_table_header(&table, compare_rate_name(c));
    mmrec_table_header(&table, "achieved|of sgemm");
    for (int i = 0; i < c->options->count; i++) time_row(c, i, part, unit, &table);
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&table, out);
}

static void print_epochs(const mmrec_comparison *c, int row, mmrec_buffer *out) {
    const mmrec_compare_epochs *e = &c->row[row].epochs;
    const char *label = c->options->entries[row].label;
    char sgemm[COMPARE_CELL], graph[COMPARE_CELL];
    if (e->failure[0]) mmrec_buffer_format(out, "\n%s: no epochs: %s\n", label, e->failure);
    if (e->epochs == 0) return;
    mmrec_buffer_format(
        out,
        "\n%s: %d epochs of %lld samples in %.3g s, %.3g samples/s (%.3g to %.3g). What their products "
        "take at the rate of\nsgemm for these sizes is %s of that time, and the same as a graph takes %s "
        "times as long.\n",
        label, e->epochs, (long long)e->samples, e->seconds, e->samples_per_s, e->ci95.low, e->ci95.high,
        compare_interval_text(e->sgemm.ratio, e->sgemm.valid, e->sgemm.ci95, 3, sgemm),
        compare_interval_text(e->graph.ratio, e->graph.valid, e->graph.ci95, 3, graph));
}

void compare_print_times(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_buffer_text(out, "\n## Times\n");
    if (compare_untimed(c)) {
        mmrec_buffer_format(out, "\nn/a (%s): times of it mean nothing.\n", compare_untimed(c));
        return;
    }
    for (int p = 0; p < MMREC_PARTS; p++) part_table(c, (mmrec_compare_part)p, out);
    mmrec_buffer_text(out,
                      "\nRows take turns, in an order and its reverse. Spread: distance of the quartiles over the "
                      "median; n: samples; the ratio is of\npaired times with its 95 % interval, below 1 is faster; "
                      "the verdict goes by the interval of 99 %.\n");
    for (int i = 0; i < c->options->count; i++) print_epochs(c, i, out);
}
