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

static void op_row(const mmrec_op_result *op, int pass, mmrec_time_unit unit, mmrec_table *table) {
    mmrec_row_figures f = figures(op, pass);
    const mmrec_bench_check *c = &op->check;
    bool forward = pass == MMREC_FORWARD;
    char text[MMREC_UNITS_TEXT];
    if (!f.valid) return;
    mmrec_table_cell(table, "%s", op->op);
    mmrec_table_cell(table, "%s", op->size);
    mmrec_table_cell(table, "%s", forward ? "forward" : "backward");
    mmrec_table_cell(table, "%s", mmrec_time_text(&f, 1, unit, text));
    mmrec_table_cell(table, "%s", mmrec_spread_text(&f, text));
    mmrec_table_cell(table, "%.1f", f.flops_per_s / 1e9);
    mmrec_table_cell(table, "%.1f", f.bytes_per_s / 1e9);
    if (op->ceiling_ratio[pass] > 0) {
        mmrec_table_cell(table, "%.0f %% of %s", 100 * op->ceiling_ratio[pass],
                         op->flops_bound[pass] ? "sgemm" : "copy");
    } else {
        mmrec_table_cell(table, "n/a");
    }
    mmrec_table_cell(table, "%.0e of %.0e", forward ? c->output_error : c->gradient_error,
                     forward ? c->output_tolerance : c->gradient_tolerance);
    mmrec_table_cell(table, "%d", op->pass[pass].series.count);
    mmrec_table_cell(table, "%s", mmrec_stop_reason_name(op->pass[pass].series.stop));
}

void mmrec_markdown_ops(const mmrec_report *report, mmrec_buffer *out) {
    mmrec_time_unit unit = column_unit(report);
    mmrec_table table;
    char header[160];
    mmrec_table_begin(&table, out->allocator, 11, 0x3f8);
    snprintf(header, sizeof header,
             "op|size|pass|median \xc2\xb1 95 %% [%s]|spread|GFLOP/s|GB/s|of ceiling|error of allowed|n|ended by",
             unit.name);
    mmrec_table_header(&table, header);
    for (int i = 0; i < report->op_count * MMREC_PASSES; i++) {
        op_row(&report->ops[i / MMREC_PASSES], i % MMREC_PASSES, unit, &table);
    }
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&table, out);
    for (int i = 0; i < report->op_count; i++) {
        char failure[MMREC_ERROR_MESSAGE];
        if (mmrec_op_failure(&report->ops[i], failure, sizeof failure))
            mmrec_buffer_format(out, "\n**Failed:** %s\n", failure);
    }
}
