/* How gradients reach the parameters: in all, by depth, and by tensor. */
#include <math.h>

#include "compare/compare_print.h"
#include "mmrec/model.h"

enum { COLUMNS = 9 };

/* ---- in all ---- */

static int flowing(const mmrec_compare_row *r) {
    int count = 0;
    for (int i = 0; i < r->gradient_count; i++) count += r->gradients[i].flow == MMREC_FLOW_FLOWS;
    return count;
}

/* The first layer against the last, by element: does the gradient fade or grow with depth? */
static void depth_cell(const mmrec_compare_row *r, mmrec_table *table) {
    compare_depth first, last, d;
    double ratio = (double)NAN;
    bool any = compare_depth_next(r, 0, &first);
    if (any) last = first;
    for (int layer = 0; compare_depth_next(r, layer, &d); layer = d.layer + 1) last = d;
    if (any && last.layer > first.layer) ratio = compare_depth_rms(&first) / compare_depth_rms(&last);
    mmrec_table_cell(table, isfinite(ratio) ? "%.3g" : "n/a", ratio);
}

static void flow_row(const mmrec_comparison *c, int row, mmrec_table *table) {
    const mmrec_compare_row *r = &c->row[row];
    compare_figures f;
    if (!compare_row_begin(c, row, COLUMNS, &f, table)) return;
    bool norm = isfinite(r->gradient_norm) && r->gradient_count > 0;
    mmrec_table_cell(table, norm ? "%.6g" : "n/a", r->gradient_norm);
    mmrec_table_cell(table, "%d", r->gradient_count);
    mmrec_table_cell(table, "%d", flowing(r));
    mmrec_table_cell(table, "%d", r->zero);
    mmrec_table_cell(table, "%d", r->missing);
    mmrec_table_cell(table, "%d", r->not_finite);
    mmrec_table_cell(table, "%lld", (long long)r->dead);
    depth_cell(r, table);
}

static void flow_table(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_table table;
    mmrec_table_begin(&table, out->allocator, COLUMNS, 0x1fe);
    mmrec_table_header(&table, "Model|Norm|Tensors|Flowing|Zero|Missing|Not finite|Dead parameters|First / last layer");
    for (int i = 0; i < c->options->count; i++) flow_row(c, i, &table);
    mmrec_table_end(&table, out);
}

/* ---- by depth ---- */

static void depth_rows(const mmrec_comparison *c, int row, mmrec_table *table) {
    compare_depth d;
    for (int layer = -1; compare_depth_next(&c->row[row], layer, &d); layer = d.layer + 1) {
        mmrec_table_cell(table, "%s", c->options->entries[row].label);
        mmrec_table_cell(table, d.layer >= 0 ? "%d" : "outside", d.layer);
        mmrec_table_cell(table, "%d", d.tensors);
        mmrec_table_cell(table, "%lld", (long long)d.count);
        mmrec_table_cell(table, isfinite(d.norm) ? "%.6g" : "n/a", d.norm);
        mmrec_table_cell(table, isfinite(d.norm) ? "%.3g" : "n/a", compare_depth_rms(&d));
    }
}

static void depth_table(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_table table;
    mmrec_buffer_text(out, "\n");
    mmrec_table_begin(&table, out->allocator, 6, 0x3e);
    mmrec_table_header(&table, "By depth|Layer|Tensors|Elements|Norm|By element");
    for (int i = 0; i < c->options->count; i++) depth_rows(c, i, &table);
    mmrec_table_end(&table, out);
    mmrec_buffer_text(out,
                      "\nZero: all of a tensor's gradient is 0, or as near to it as rounding. Missing: the loss does "
                      "not depend on it. By element: the\nnorm over the root of the elements, which does not grow "
                      "with the size; first / last layer is a ratio of these.\n");
}

/* ---- by tensor ---- */

static void tensor_table(const mmrec_comparison *c, int row, mmrec_buffer *out) {
    const mmrec_compare_row *r = &c->row[row];
    mmrec_table table;
    if (r->gradient_count == 0) return;
    mmrec_buffer_text(out, "\n");
    mmrec_table_begin(&table, out->allocator, 7, 0x3e);
    mmrec_table_cell(&table, "Gradients of %s", c->options->entries[row].label);
    mmrec_table_header(&table, "Layer|Elements|Norm|Zeros|Not finite|Flow");
    for (int i = 0; i < r->gradient_count; i++) {
        const mmrec_compare_gradient *g = &r->gradients[i];
        mmrec_table_cell(&table, "%s", g->name);
        mmrec_table_cell(&table, g->layer >= 0 ? "%d" : "outside", g->layer);
        mmrec_table_cell(&table, "%lld", (long long)g->count);
        mmrec_table_cell(&table, isfinite(g->norm) ? "%.6g" : "n/a", g->norm);
        mmrec_table_cell(&table, "%lld", (long long)g->zeros);
        mmrec_table_cell(&table, "%lld", (long long)g->not_finite);
        mmrec_table_cell(&table, "%s", compare_flow_name(g->flow));
    }
    mmrec_table_end(&table, out);
}

void compare_print_gradients(const mmrec_comparison *c, bool details, mmrec_buffer *out) {
    mmrec_buffer_text(out, "\n## Gradient flow\n\n");
    flow_table(c, out);
    depth_table(c, out);
    for (int i = 0; i < c->options->count && details; i++) tensor_table(c, i, out);
}
