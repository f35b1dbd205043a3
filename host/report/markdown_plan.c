/* Memory plans in the Markdown report. */
#include "report/markdown.h"

static void arenas(const mmrec_plan_report *p, mmrec_buffer *out) {
    char a[MMREC_UNITS_TEXT], b[MMREC_UNITS_TEXT];
    mmrec_table table;
    mmrec_table_begin(&table, out->allocator, 4, 0xe);
    mmrec_table_header(&table, "memory|planned|bytes|without sharing");
    for (int arena = 0; arena < MMREC_ARENAS; arena++) {
        mmrec_table_cell(&table, "%s", mmrec_arena_name((mmrec_arena)arena));
        mmrec_table_cell(&table, "%s", mmrec_units_bytes_text((double)p->arena_bytes[arena], a));
        mmrec_table_cell(&table, "%zu", p->arena_bytes[arena]);
        mmrec_table_cell(&table, "%s", mmrec_units_bytes_text((double)p->unshared_bytes[arena], b));
    }
    mmrec_table_cell(&table, "total");
    mmrec_table_cell(&table, "%s", mmrec_units_bytes_text((double)p->total_bytes, a));
    mmrec_table_cell(&table, "%zu", p->total_bytes);
    mmrec_table_cell(&table, "%s", mmrec_units_bytes_text((double)mmrec_figures_sum(p->unshared_bytes), b));
    mmrec_table_end(&table, out);
}

static void largest(const mmrec_plan_report *p, mmrec_buffer *out) {
    char text[MMREC_UNITS_TEXT];
    mmrec_table table;
    if (p->largest_count == 0) return;
    mmrec_table_begin(&table, out->allocator, 5, 0x10);
    mmrec_table_header(&table, "largest tensors|shape|type|arena|bytes");
    for (int i = 0; i < p->largest_count; i++) {
        const mmrec_plan_item *item = &p->largest[i];
        mmrec_table_cell(&table, "%s", item->name);
        mmrec_table_cell(&table, "%s", item->shape);
        mmrec_table_cell(&table, "%s", item->dtype);
        mmrec_table_cell(&table, "%s", mmrec_arena_name(item->arena));
        mmrec_table_cell(&table, "%s", mmrec_units_bytes_text((double)item->bytes, text));
    }
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&table, out);
}

static void batch_fit(const mmrec_plan_report *p, mmrec_buffer *out) {
    char budget[MMREC_UNITS_TEXT], used[MMREC_UNITS_TEXT];
    if (p->budget_bytes == 0) return;
    mmrec_units_bytes_text((double)p->budget_bytes, budget);
    if (p->batch_fit == 0) {
        mmrec_buffer_format(out, "\nNot even batch 1 fits into %s.\n", budget);
    } else {
        mmrec_buffer_format(out, "\nThe largest batch that fits into %s is %lld, with %s.\n", budget,
                            (long long)p->batch_fit, mmrec_units_bytes_text((double)p->batch_fit_bytes, used));
    }
}

static void one_plan(const mmrec_report *report, int index, mmrec_buffer *out) {
    const mmrec_plan_report *p = &report->plans[index];
    char name[MMREC_NAME_TEXT], a[MMREC_UNITS_TEXT], b[MMREC_UNITS_TEXT];
    mmrec_buffer_format(out, "\n## Plan: %s, %s\n\n", mmrec_case_name(&p->input, name), mmrec_hem_name(p->hem));
    mmrec_buffer_format(out, "%s\n\n", mmrec_case_details(&p->input, report->setup->run.recompute, name));
    mmrec_buffer_format(
        out, "%lld parameters; a step is %s forward and %s backward%s; nodes: %d refresh, %d forward, %d backward\n\n",
        (long long)p->parameters, mmrec_units_scaled_text(p->forward.flops, "FLOP", a),
        mmrec_units_scaled_text(p->backward.flops, "FLOP", b), mmrec_recompute_note(report),
        p->nodes[MMREC_PHASE_REFRESH], p->nodes[MMREC_PHASE_FORWARD], p->nodes[MMREC_PHASE_BACKWARD]);
    arenas(p, out);
    largest(p, out);
    batch_fit(p, out);
}

void mmrec_markdown_plans(const mmrec_report *report, mmrec_buffer *out) {
    for (int i = 0; i < report->plan_count; i++) one_plan(report, i, out);
}
