/* Memory of a training step: what the plan holds by category, and what was allocated by phase. */
#include "compare/compare_print.h"

static void bytes_cell(size_t bytes, mmrec_table *table) {
    char text[MMREC_UNITS_TEXT];
    mmrec_table_cell(table, "%s", mmrec_units_bytes_text((double)bytes, text));
}

static void category_row(const mmrec_comparison *c, int row, mmrec_table *table) {
    compare_figures f;
    if (!compare_row_begin(c, row, MMREC_ARENAS + 2, &f, table)) return;
    for (int a = 0; a < MMREC_ARENAS; a++) bytes_cell(c->row[row].memory.planned[a], table);
    bytes_cell(f.planned, table);
}

static void phase_row(const mmrec_comparison *c, int row, mmrec_table *table) {
    const mmrec_compare_memory *m = &c->row[row].memory;
    compare_figures f;
    if (!compare_row_begin(c, row, 6, &f, table)) return;
    bytes_cell(m->created, table);
    bytes_cell(m->forward, table);
    bytes_cell(m->backward, table);
    bytes_cell(m->step, table);
    bytes_cell(m->peak, table);
}

void compare_print_memory(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_table table;
    mmrec_buffer_text(out, "\n## Memory\n\n");
    mmrec_table_begin(&table, out->allocator, MMREC_ARENAS + 2, 0x7e);
    mmrec_table_header(&table, "planned");
    for (int a = 0; a < MMREC_ARENAS; a++) mmrec_table_cell(&table, "%s", mmrec_arena_name((mmrec_arena)a));
    mmrec_table_header(&table, "all");
    for (int i = 0; i < c->options->count; i++) category_row(c, i, &table);
    mmrec_table_end(&table, out);
    mmrec_buffer_text(out, "\n");
    mmrec_table_begin(&table, out->allocator, 6, 0x3e);
    mmrec_table_header(&table, "allocated|created|forward|backward|step|peak");
    for (int i = 0; i < c->options->count; i++) phase_row(c, i, &table);
    mmrec_table_end(&table, out);
    mmrec_buffer_text(out, "\nAllocated: at the end of each phase, of the row alone, the graph and what the host keeps "
                           "of it included.\n");
}
