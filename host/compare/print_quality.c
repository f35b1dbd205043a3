/* What was learned: held-out figures as means over seeds. */
#include <math.h>

#include "compare/compare_print.h"

typedef struct columns {
    bool perplexity, bits, accuracy;
    int count;
} columns;

static columns columns_of(const mmrec_comparison *c) {
    const mmrec_compare_task *t = &c->options->task;
    bool language = t->kind == MMREC_COMPARE_LANGUAGE;
    columns k = {.perplexity = language, .bits = language && t->data_path, .accuracy = t->kind != MMREC_COMPARE_VALUES};
    k.count = 6 + k.perplexity + k.bits + k.accuracy;
    return k;
}

static void estimate_cell(double value, bool has_interval, mmrec_interval ci95, int digits, mmrec_table *table) {
    char text[COMPARE_CELL];
    mmrec_table_cell(table, "%s",
                     isfinite(value) ? compare_interval_text(value, has_interval, ci95, digits, text) : "n/a");
}

static void quality_row(const mmrec_comparison *c, int row, columns k, mmrec_table *table) {
    compare_figures f;
    compare_figures_of(c, row, &f);
    const compare_learned *l = &f.learned;
    if (!f.measured || l->seeds == 0) {
        compare_cells_missing(f.label, k.count, table);
        return;
    }
    mmrec_interval percent = {100 * l->accuracy_ci95.low, 100 * l->accuracy_ci95.high};
    mmrec_table_cell(table, "%s", f.label);
    estimate_cell(l->loss, l->has_interval, l->loss_ci95, 4, table);
    if (k.perplexity) estimate_cell(l->perplexity, l->has_interval, l->perplexity_ci95, 3, table);
    if (k.bits) estimate_cell(l->bits, l->has_interval, l->bits_ci95, 4, table);
    if (k.accuracy) estimate_cell(100 * l->accuracy, l->has_interval, percent, 2, table);
    mmrec_table_cell(table, isfinite(l->train_loss) ? "%.4f" : "n/a", l->train_loss);
    mmrec_table_cell(table, "%d of %d", l->diverged, l->seeds);
    mmrec_table_cell(table, "%d", l->finite);
    if (compare_untimed(c))
        mmrec_table_cell(table, "n/a (%s)", compare_untimed(c));
    else
        mmrec_table_cell(table, isfinite(l->seconds) ? "%.2f" : "n/a", l->seconds);
}

void compare_print_quality(const mmrec_comparison *c, mmrec_buffer *out) {
    columns k = columns_of(c);
    mmrec_table table;
    mmrec_buffer_format(out, "\n## Quality after %lld steps\n\n", (long long)c->options->train_steps);
    mmrec_table_begin(&table, out->allocator, k.count, 0x1fe);
    mmrec_table_cell(&table, "Model");
    mmrec_table_cell(&table, "Held-out loss, %s", compare_loss_unit(c->options->task.kind));
    if (k.perplexity) mmrec_table_cell(&table, "Perplexity");
    if (k.bits) mmrec_table_cell(&table, "Bits per byte");
    if (k.accuracy) mmrec_table_cell(&table, "Accuracy, %%");
    mmrec_table_header(&table, "Training loss|Diverged|Seeds|Training, s");
    for (int i = 0; i < c->options->count; i++) quality_row(c, i, k, &table);
    mmrec_table_end(&table, out);
    mmrec_buffer_text(out,
                      "\nMeans over the seeds that came to an end, in brackets their 95 % interval by Student's t; "
                      "one seed has none. The training\nloss is that of the last tenth of the steps.\n");
    if (isfinite(c->best_loss))
        mmrec_buffer_format(out, "No model can come below a held-out loss of %.4f but by chance.\n", c->best_loss);
}
