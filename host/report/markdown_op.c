/* Single ops in the Markdown report. */
#include "report/markdown.h"

#include <stdio.h>

static const mmrec_ceilings no_ceilings = {0};

static mmrec_row_figures figures(const mmrec_op_result *op, int pass) {
    if (!op->has_pass[pass]) return (mmrec_row_figures){.valid = false};
    return mmrec_figures_of(&op->pass[pass], 1, &no_ceilings);
}

static mmrec_time_unit column_unit(const mmrec_report *report) {
    double smallest = 0;
    for (int i = 0; i < report->op_count * MMREC_PASSES; i++) {
        mmrec_row_figures f = figures(&report->ops[i / MMREC_PASSES], i % MMREC_PASSES);
        if (f.valid && (!(smallest > 0) || f.median_ns < smallest)) smallest = f.median_ns;
    }
    return mmrec_time_unit_for(smallest);
}

/* "64 ± 2 % of sgemm"; without the interval where too few windows say nothing of it. */
static void ceiling_cell(const mmrec_stats *share, const char *ceiling, mmrec_table *table) {
    double half = 100 * (share->ci95.high - share->ci95.low) / 2;
    if (!share->valid)
        mmrec_table_cell(table, "n/a");
    else if (share->count < MMREC_INTERVAL_SAMPLES)
        mmrec_table_cell(table, "%.0f %% of %s", 100 * share->median, ceiling);
    else
        mmrec_table_cell(table, "%.0f ± %.0f %% of %s", 100 * share->median, half, ceiling);
}

static void rate_cells(const mmrec_op_result *op, int pass, const mmrec_row_figures *f, mmrec_table *table) {
    if (!f->has_work) {
        for (int i = 0; i < 3; i++) mmrec_table_cell(table, "n/a");
        return;
    }
    mmrec_table_cell(table, "%.1f", f->flops_per_s / 1e9);
    mmrec_table_cell(table, "%.1f", f->bytes_per_s / 1e9);
    ceiling_cell(&op->ceiling_share[pass], mmrec_ceiling_name(op->ceiling[pass]), table);
}

static void count_cells(const mmrec_report *report, const mmrec_bench_row *row, mmrec_table *table) {
    char text[MMREC_UNITS_TEXT];
    if (mmrec_of_device(report)) {
        if (row->launches > 0)
            mmrec_table_cell(table, "%lld", (long long)row->launches);
        else
            mmrec_table_cell(table, "n/a");
        mmrec_table_cell(table, "%s", mmrec_slowed_text(report, &row->series, text));
    }
    mmrec_table_cell(table, "%d", row->series.count);
    mmrec_table_cell(table, "%s", row->series.stats.valid ? mmrec_stop_reason_name(row->series.stop) : "n/a");
}

static void op_row(const mmrec_report *report, const mmrec_op_result *op, int pass, mmrec_time_unit unit,
                   mmrec_table *table) {
    const mmrec_bench_row *row = &op->pass[pass];
    mmrec_row_figures f = figures(op, pass);
    const mmrec_bench_check *c = &op->check;
    bool forward = pass == MMREC_FORWARD;
    if (!op->has_pass[pass] || !mmrec_row_shown(row)) return;
    mmrec_table_cell(table, "%s", op->op);
    mmrec_table_cell(table, "%s", op->size);
    mmrec_table_cell(table, "%s", mmrec_pass_name(pass));
    mmrec_time_cells(report, op->timing.used, row, &f, unit, table);
    rate_cells(op, pass, &f, table);
    mmrec_table_cell(table, "%.0e of %.0e", forward ? c->output_error : c->gradient_error,
                     forward ? c->output_tolerance : c->gradient_tolerance);
    count_cells(report, row, table);
}

/* ---- the yardstick ---- */

static void yardstick_row(const mmrec_report *report, const mmrec_op_result *op, int pass, mmrec_time_unit unit,
                          mmrec_table *table) {
    static const mmrec_op_result no_ceiling;
    const mmrec_bench_row *row = &op->against.row[pass];
    mmrec_row_figures f = mmrec_figures_of(row, 1, &no_ceilings);
    if (!op->has_pass[pass] || !mmrec_row_shown(row)) return;
    mmrec_table_cell(table, "%s", mmrec_against_name(op->against.what));
    mmrec_table_cell(table, "%s", op->size);
    mmrec_table_cell(table, "%s", mmrec_pass_name(pass));
    mmrec_time_cells(report, op->timing.used, row, &f, unit, table);
    rate_cells(&no_ceiling, pass, &f, table);
    mmrec_table_cell(table, "n/a");
    count_cells(report, row, table);
}

/* What the yardstick is, as far as the name of the option does not say it. */
static void about_yardstick(const mmrec_op_against *a, mmrec_buffer *out) {
    char bytes[MMREC_UNITS_TEXT];
    if (!a->version[0]) return;
    mmrec_buffer_format(out, "\n%s: cuDNN %s, forward %s, backward %s, %s of device memory\n",
                        mmrec_against_name(a->what), a->version, a->kernel[MMREC_FORWARD], a->kernel[MMREC_BACKWARD],
                        mmrec_units_bytes_text((double)a->device_bytes, bytes));
}

static void ratios(const mmrec_op_result *op, mmrec_buffer *out) {
    const mmrec_op_against *a = &op->against;
    const char *name = mmrec_against_name(a->what), *missing = mmrec_against_missing(op);
    mmrec_table table;
    if (a->what == MMREC_AGAINST_NONE) return;
    about_yardstick(a, out);
    if (missing) mmrec_buffer_format(out, "\n%s against %s: n/a (%s)\n", op->op, name, missing);
    if (!a->paired[MMREC_FORWARD].valid && !a->paired[MMREC_BACKWARD].valid) return;
    mmrec_table_begin(&table, out->allocator, 5, 0xe);
    mmrec_table_cell(&table, "%s against %s", op->op, name);
    mmrec_table_cell(&table, "time %s / %s", op->op, name);
    mmrec_table_header(&table, "95 % interval|pairs");
    mmrec_table_cell(&table, "%s is", op->op);
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        const mmrec_paired *p = &a->paired[pass];
        if (p->valid) mmrec_ratio_row(mmrec_pass_name(pass), p, &table);
    }
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&table, out);
}

static void header(const mmrec_report *report, mmrec_time_unit unit, mmrec_table *table) {
    mmrec_table_header(table, "op|size|pass");
    mmrec_time_header(report, unit, table);
    mmrec_table_header(table, "spread|GFLOP/s|GB/s|of ceiling|error of allowed");
    mmrec_table_header(table, mmrec_of_device(report) ? "launches|slowed|n|ended by" : "n|ended by");
}

void mmrec_markdown_ops(const mmrec_report *report, mmrec_buffer *out) {
    enum { COLUMNS = 11, RIGHT = 0x3f8, DEVICE_COLUMNS = 14, DEVICE_RIGHT = 0x1ff8 };
    bool device = mmrec_of_device(report);
    mmrec_time_unit unit = column_unit(report);
    mmrec_table table;
    mmrec_table_begin(&table, out->allocator, device ? DEVICE_COLUMNS : COLUMNS, device ? DEVICE_RIGHT : RIGHT);
    header(report, unit, &table);
    for (int i = 0; i < report->op_count * MMREC_PASSES; i++) {
        const mmrec_op_result *op = &report->ops[i / MMREC_PASSES];
        op_row(report, op, i % MMREC_PASSES, unit, &table);
        yardstick_row(report, op, i % MMREC_PASSES, unit, &table);
    }
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&table, out);
    for (int i = 0; i < report->op_count; i++) ratios(&report->ops[i], out);
    for (int i = 0; i < report->op_count * MMREC_PASSES; i++) {
        const mmrec_op_result *op = &report->ops[i / MMREC_PASSES];
        const char *pass = mmrec_pass_name(i % MMREC_PASSES);
        char name[64];
        snprintf(name, sizeof name, "%s %s", op->op, pass);
        mmrec_markdown_kernels(&op->pass[i % MMREC_PASSES], name, out);
        snprintf(name, sizeof name, "%s %s", mmrec_against_name(op->against.what), pass);
        mmrec_markdown_kernels(&op->against.row[i % MMREC_PASSES], name, out);
    }
    for (int i = 0; i < report->op_count; i++) {
        char failure[MMREC_ERROR_MESSAGE];
        if (mmrec_op_failure(&report->ops[i], failure, sizeof failure))
            mmrec_buffer_format(out, "\n**Failed:** %s\n", failure);
    }
}
