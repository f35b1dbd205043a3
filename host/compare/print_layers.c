/* Where the time of a step goes: by op and module, and what no line accounts for. */

#include "compare/compare_print.h"
#include "report/markdown.h"

enum { COLUMNS = 9 };

static const char *op_name(mmrec_op_id op) {
    return op == MMREC_OP_NONE ? "" : mmrec_op_get(op, MMREC_VARIANT_F64)->name;
}

static const char *module_name(const mmrec_compare_layer *l) { return l->module[0] ? l->module : "not accounted for"; }

static mmrec_time_unit unit_of(const mmrec_compare_row *r) {
    return mmrec_time_unit_for(r->layers_step_ns > 0 ? r->layers_step_ns / 100 : 1e6);
}

static void time_cells(const mmrec_comparison *c, const mmrec_compare_row *r, double ns, mmrec_table *table) {
    if (compare_untimed(c)) {
        mmrec_table_cell(table, "n/a (%s)", compare_untimed(c));
        mmrec_table_cell(table, "n/a");
        return;
    }
    mmrec_table_cell(table, "%.3f", ns / unit_of(r).ns);
    mmrec_table_cell(table, r->layers_step_ns > 0 ? "%.1f" : "n/a", 100 * ns / r->layers_step_ns);
}

static void layer_row(const mmrec_comparison *c, const mmrec_compare_row *r, const mmrec_compare_layer *l,
                      mmrec_table *table) {
    char text[MMREC_UNITS_TEXT];
    bool known = l->module[0] != '\0', op = l->op != MMREC_OP_NONE;
    mmrec_table_cell(table, "%s", module_name(l));
    mmrec_table_cell(table, "%s", op_name(l->op));
    mmrec_table_cell(table, "%s", op ? mmrec_pass_name(l->pass) : "");
    mmrec_table_cell(table, known ? "%d" : "", l->calls);
    time_cells(c, r, l->ns, table);
    mmrec_table_cell(table, "%s", known ? mmrec_units_scaled_text(l->work.flops, "FLOP", text) : "n/a");
    mmrec_table_cell(table, "%s", known ? mmrec_units_bytes_text(l->work.bytes, text) : "n/a");
    mmrec_table_cell(table, "%s", known ? mmrec_units_bytes_text((double)l->saved_bytes, text) : "n/a");
}

static void layer_table(const mmrec_comparison *c, int row, mmrec_buffer *out) {
    const mmrec_compare_row *r = &c->row[row];
    mmrec_table table;
    if (r->layer_count == 0) return;
    mmrec_buffer_format(out, "\n### %s\n\n", c->options->entries[row].label);
    mmrec_table_begin(&table, out->allocator, COLUMNS, 0x1f8);
    mmrec_table_header(&table, "Module|Op|Pass|Calls");
    mmrec_table_cell(&table, "Time (%s)", compare_untimed(c) ? "n/a" : unit_of(r).name);
    mmrec_table_header(&table, "% of the step|FLOPs|Bytes|Saved");
    for (int i = 0; i < r->layer_count; i++) layer_row(c, r, &r->layers[i], &table);
    mmrec_table_end(&table, out);
}

void compare_print_layers(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_buffer_text(out, "\n## Layers\n");
    for (int i = 0; i < c->options->count; i++) layer_table(c, i, out);
    mmrec_buffer_text(out, "\nTimes: medians over traced steps, optimizer included; saved: what the calls keep for the "
                           "backward pass. Not accounted for: the\nmedian of these steps less the sum of the lines.\n");
}
