/* How time and memory grow along an axis: the points, and the exponent of a power law through them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compare/compare_print.h"
#include "core/text.h"

/* ---- points ---- */

static void point_row(const mmrec_comparison *c, int row, const mmrec_compare_point *p, mmrec_table *table) {
    char text[COMPARE_CELL], bytes[MMREC_UNITS_TEXT], missing[COMPARE_CELL] = "n/a";
    mmrec_row_figures f = compare_point_of(c, p);
    if (!p->failure[0] && compare_untimed(c)) snprintf(missing, sizeof missing, "n/a (%s)", compare_untimed(c));
    mmrec_table_cell(table, "%s", c->options->entries[row].label);
    mmrec_table_cell(table, "%lld", (long long)p->at);
    mmrec_table_cell(table, "%s", f.valid ? compare_ms_text(&f, text) : missing);
    mmrec_table_cell(table, "%s", p->bytes > 0 ? mmrec_units_bytes_text((double)p->bytes, bytes) : "n/a");
    mmrec_table_cell(table, "%s", p->work.flops > 0 ? mmrec_units_scaled_text(p->work.flops, "FLOP", bytes) : "n/a");
}

static void points_table(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_table table;
    mmrec_table_begin(&table, out->allocator, 5, 0x1e);
    mmrec_table_cell(&table, "Model");
    mmrec_table_cell(&table, "%s", c->options->axis_name);
    mmrec_table_header(&table, "Step (ms)|Planned memory|FLOPs");
    for (int i = 0; i < c->options->count; i++) {
        for (int k = 0; k < c->options->axis_count && c->row[i].points; k++)
            point_row(c, i, &c->row[i].points[k], &table);
    }
    mmrec_table_end(&table, out);
}

static void point_failures(const mmrec_comparison *c, mmrec_buffer *out) {
    bool any = false;
    for (int i = 0; i < c->options->count; i++) {
        for (int k = 0; k < c->options->axis_count && c->row[i].points; k++) {
            const mmrec_compare_point *p = &c->row[i].points[k];
            char text[MMREC_ERROR_MESSAGE];
            if (!p->failure[0]) continue;
            mmrec_buffer_format(out, "%s- %s at %s %lld: %s\n", any ? "" : "\n", c->options->entries[i].label,
                                c->options->axis_name, (long long)p->at,
                                mmrec_text_printable(p->failure, strlen(p->failure), text, sizeof text));
            any = true;
        }
    }
}

/* ---- fits ---- */

static void fit_cells(const mmrec_compare_fit *fit, const char *missing, mmrec_table *table) {
    char text[COMPARE_CELL];
    if (!fit->valid) {
        for (int i = 0; i < 3; i++) mmrec_table_cell(table, "%s", missing);
        return;
    }
    mmrec_table_cell(table, "%s",
                     compare_interval_text(fit->exponent, true, (mmrec_interval){fit->low, fit->high}, 3, text));
    mmrec_table_cell(table, "%s", compare_exponent_word(fit));
    mmrec_table_cell(table, "%.1f %%", 100 * (exp(fit->residual) - 1));
}

static void fit_row(const mmrec_comparison *c, int row, mmrec_table *table) {
    static const mmrec_compare_fit no_fit;
    char untimed[COMPARE_CELL] = "n/a";
    compare_figures f;
    if (!compare_row_begin(c, row, 7, &f, table)) return;
    if (compare_untimed(c)) snprintf(untimed, sizeof untimed, "n/a (%s)", compare_untimed(c));
    fit_cells(compare_untimed(c) ? &no_fit : &c->row[row].time_fit, untimed, table);
    fit_cells(&c->row[row].memory_fit, "n/a", table);
}

static void fits_table(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_table table;
    mmrec_buffer_text(out, "\n");
    mmrec_table_begin(&table, out->allocator, 7, 0x5a);
    mmrec_table_header(&table, "Model|Exponent of time|its interval|off by|Exponent of memory|its interval|off by");
    for (int i = 0; i < c->options->count; i++) fit_row(c, i, &table);
    mmrec_table_end(&table, out);
}

void compare_print_scaling(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_buffer_format(out, "\n## Scaling with %s\n\n", c->options->axis_name);
    points_table(c, out);
    point_failures(c, out);
    fits_table(c, out);
    mmrec_buffer_text(out,
                      "\nExponent: of a power law through the points of a row, least squares of logarithms, with its "
                      "95 % interval, from 3 points on.\n1 is linear, 2 quadratic growth; an interval that contains "
                      "both decides neither. Off by: how far the worst point is from\nthat law.\n");
}
