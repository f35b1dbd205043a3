/* The text of a comparison: what ran where, the table of all rows, and the sections in their order. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compare/compare_print.h"
#include "core/text.h"
#include "report/markdown.h"

/* ---- heading ---- */

static void device_row(const mmrec_comparison *c, mmrec_table *table) {
    const mmrec_device_info *d = &c->device;
    mmrec_table_cell(table, "device");
    if (!d->name[0])
        mmrec_table_cell(table, "n/a (no device)%s%s", c->choice[0] ? "; " : "", c->choice);
    else if (d->emulated)
        mmrec_table_cell(table, "%s: results are real, times mean nothing", d->name);
    else
        mmrec_table_cell(table, "%s, compute capability %d.%d, %d SMs", d->name, d->capability / 10, d->capability % 10,
                         d->sms);
}

static void ceilings_row(const mmrec_comparison *c, mmrec_table *table) {
    char sgemm[MMREC_UNITS_TEXT], copy[MMREC_UNITS_TEXT];
    if (!(c->ceilings.sgemm_flops_per_s > 0)) return;
    mmrec_table_cell(table, "ceilings");
    mmrec_table_cell(table, "sgemm %s, copy %s, measured in this run with %d thread%s",
                     mmrec_units_scaled_text(c->ceilings.sgemm_flops_per_s, "FLOP/s", sgemm),
                     mmrec_units_scaled_text(c->ceilings.copy_bytes_per_s, "B/s", copy), c->machine.threads,
                     c->machine.threads == 1 ? "" : "s");
}

static void task_rows(const mmrec_comparison *c, mmrec_table *table) {
    const mmrec_compare_task *t = &c->options->task;
    long long batch = (long long)t->batch, time = (long long)t->time;
    mmrec_table_cell(table, "task");
    if (t->kind == MMREC_COMPARE_LANGUAGE)
        mmrec_table_cell(table, "language: %lld ids, batch %lld, length %lld", (long long)t->outputs, batch, time);
    else
        mmrec_table_cell(table, "%s: %lld inputs, %lld outputs, batch %lld, length %lld; %lld samples, %lld held out",
                         compare_task_name(t->kind), (long long)t->inputs, (long long)t->outputs, batch, time,
                         (long long)t->samples, (long long)t->held_out);
    mmrec_table_cell(table, "data");
    mmrec_table_cell(table, "%s", c->data[0] ? c->data : "n/a");
}

static void run_rows(const mmrec_comparison *c, mmrec_table *table) {
    const mmrec_compare_options *o = c->options;
    unsigned long long seed = (unsigned long long)o->task.seed;
    mmrec_table_cell(table, "run");
    mmrec_table_cell(table, "backend %s, %s, %d thread%s, HEM %s, seed %llu, %s", c->backend,
                     mmrec_dtype_name(mmrec_backend_dtype(o->backend, o->bf16)), c->machine.threads,
                     c->machine.threads == 1 ? "" : "s", o->hem ? "on" : "off", seed, c->started);
    if (o->match != MMREC_MATCH_NONE) {
        mmrec_table_cell(table, "sized");
        mmrec_table_cell(table, "to a common budget of %s", compare_match_name(o->match));
    }
    if (o->train_steps < 1) return;
    mmrec_table_cell(table, "training");
    mmrec_table_cell(table, "%lld steps of AdamW at rate %g, %d seed%s from %llu", (long long)o->train_steps, o->rate,
                     o->seeds, o->seeds == 1 ? "" : "s", seed);
}

static void head(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_table table;
    mmrec_table_begin(&table, out->allocator, 2, 0);
    mmrec_table_header(&table, "machine| ");
    mmrec_markdown_machine(&c->machine, &table);
    device_row(c, &table);
    ceilings_row(c, &table);
    task_rows(c, &table);
    run_rows(c, &table);
    mmrec_table_end(&table, out);
    if (c->interrupted) mmrec_buffer_text(out, "\n**Interrupted.** The figures are those measured till then.\n");
}

/* ---- the table of all rows ---- */

static void norm_cell(const mmrec_compare_row *r, mmrec_table *table) {
    if (isfinite(r->gradient_norm) && r->gradient_count > 0)
        mmrec_table_cell(table, "%.4g", r->gradient_norm);
    else
        mmrec_table_cell(table, r->gradient_count > 0 ? "n/a (not finite)" : "n/a");
}

static void default_row(const mmrec_comparison *c, int row, mmrec_table *table) {
    const mmrec_compare_row *r = &c->row[row];
    char text[MMREC_UNITS_TEXT];
    compare_figures f;
    if (!compare_row_begin(c, row, 7, &f, table)) return;
    mmrec_table_cell(table, "%lld", (long long)r->parameters);
    mmrec_table_cell(table, "%s", mmrec_units_scaled_text(r->forward.flops, "FLOP", text));
    compare_time_cell(c, row, MMREC_PART_FORWARD, &f, table);
    compare_time_cell(c, row, MMREC_PART_BACKWARD, &f, table);
    mmrec_table_cell(table, "%.3f", (double)f.planned / 1e6);
    norm_cell(r, table);
}

static void default_note(const mmrec_comparison *c, mmrec_buffer *out) {
    const mmrec_compare_task *t = &c->options->task;
    mmrec_buffer_format(out, "\nFLOPs are those of a forward pass, counted from the ops run, of batch %lld",
                        (long long)t->batch);
    if (t->kind == MMREC_COMPARE_LANGUAGE || t->time > 1)
        mmrec_buffer_format(out, " and length %lld", (long long)t->time);
    mmrec_buffer_text(out,
                      ".\nTimes: median \xc2\xb1 half its 95 % interval; the backward pass alone. Memory: what the "
                      "plan of a training step holds,\n1 MB = 1,000,000 bytes. Grad Norm: of all gradients at the "
                      "initial values, on the first batch.\n");
}

static void failures(const mmrec_comparison *c, mmrec_buffer *out) {
    bool any = false;
    for (int i = 0; i < c->options->count; i++) {
        char text[MMREC_ERROR_MESSAGE];
        compare_figures f;
        compare_figures_of(c, i, &f);
        if (f.measured) continue;
        mmrec_buffer_format(out, "%s- %s: %s\n", any ? "" : "\nNot measured:\n\n", f.label,
                            mmrec_text_printable(f.failure, strlen(f.failure), text, sizeof text));
        any = true;
    }
}

static void default_table(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_table table;
    mmrec_buffer_text(out, "\n");
    mmrec_table_begin(&table, out->allocator, 7, 0x7e);
    mmrec_table_header(&table, "Model|Parameters|FLOPs|Forward (ms)|Backward (ms)|Memory (MB)|Grad Norm");
    for (int i = 0; i < c->options->count; i++) default_row(c, i, &table);
    mmrec_table_end(&table, out);
    default_note(c, out);
    failures(c, out);
}

/* ---- counts ---- */

/* What --match aimed at; widths and parameters are whole, FLOPs have a unit. */
static const char *aim_text(mmrec_match match, double value, char text[MMREC_UNITS_TEXT]) {
    if (match == MMREC_MATCH_FLOPS) return mmrec_units_scaled_text(value, "FLOP", text);
    snprintf(text, MMREC_UNITS_TEXT, "%.0f", value);
    return text;
}

static void aim_cells(const mmrec_comparison *c, int row, const compare_figures *f, mmrec_table *table) {
    const mmrec_compare_entry *e = &c->options->entries[row];
    char text[MMREC_UNITS_TEXT];
    if (!isfinite(f->aim_error)) {
        for (int i = 0; i < 3; i++) mmrec_table_cell(table, "n/a");
        return;
    }
    mmrec_table_cell(table, "%s", aim_text(c->options->match, e->budget, text));
    mmrec_table_cell(table, "%s", aim_text(c->options->match, e->reached, text));
    mmrec_table_cell(table, f->aim_error == 0 ? "0 %%" : "%+.2f %%", 100 * f->aim_error);
}

static void count_row(const mmrec_comparison *c, int row, int columns, mmrec_table *table) {
    const mmrec_compare_row *r = &c->row[row];
    char text[MMREC_UNITS_TEXT];
    compare_figures f;
    if (!compare_row_begin(c, row, columns, &f, table)) return;
    mmrec_table_cell(table, "%lld", (long long)r->parameters);
    mmrec_table_cell(table, "%lld", (long long)r->trainable);
    mmrec_table_cell(table, "%lld", (long long)r->dead);
    mmrec_table_cell(table, "%s", mmrec_units_bytes_text((double)r->size_bytes, text));
    mmrec_table_cell(table, "%s", mmrec_units_scaled_text(r->forward.flops, "FLOP", text));
    mmrec_table_cell(table, "%s", mmrec_units_scaled_text(r->backward.flops, "FLOP", text));
    mmrec_table_cell(table, "%s", mmrec_units_scaled_text(r->optimizer.flops, "FLOP", text));
    if (columns > 8) aim_cells(c, row, &f, table);
}

static void counts(const mmrec_comparison *c, mmrec_buffer *out) {
    bool matched = c->options->match != MMREC_MATCH_NONE;
    int columns = matched ? 11 : 8;
    mmrec_table table;
    mmrec_buffer_text(out, "\n## Counts\n\n");
    mmrec_table_begin(&table, out->allocator, columns, 0x7fe);
    mmrec_table_header(&table, "Model|Parameters|Trainable|Dead|Size|FLOPs forward|backward|optimizer");
    if (matched) mmrec_table_header(&table, "Aimed at|Reached|Off by");
    for (int i = 0; i < c->options->count; i++) count_row(c, i, columns, &table);
    mmrec_table_end(&table, out);
    mmrec_buffer_text(out,
                      "\nDead parameters get no gradient, or only zeros, though mathematics does not ask for them. "
                      "Size: of the parameters as\nthey are stored.");
    if (matched)
        mmrec_buffer_format(out, " The budget is one of %s%s.", compare_match_name(c->options->match),
                            c->options->match == MMREC_MATCH_FLOPS ? ", forward and backward" : "");
    mmrec_buffer_text(out, "\n");
}

/* ---- all of it ---- */

static void warning_lines(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_warnings warnings;
    compare_warnings_of(c, &warnings);
    for (int i = 0; i < warnings.count; i++)
        mmrec_buffer_format(out, "%s- %s\n", i == 0 ? "\nWarnings:\n\n" : "", warnings.item[i].message);
}

static void pictures_line(const compare_pictures *p, mmrec_buffer *out) {
    char folder[COMPARE_PATH];
    if (!p->wanted) return;
    mmrec_text_printable(p->folder, strlen(p->folder), folder, sizeof folder);
    if (p->note[0])
        mmrec_buffer_format(out, "\nPictures: not drawn: %s.\n", p->note);
    else
        mmrec_buffer_format(out, "\nPictures: %s/%s%s\n", folder, p->front ? "front.svg, front.png" : "",
                            !p->scaling ? ""
                            : p->front  ? ", scaling.svg, scaling.png"
                                        : "scaling.svg, scaling.png");
}

void compare_report(const mmrec_comparison *c, const mmrec_options *options, const compare_pictures *pictures,
                    bool details, mmrec_buffer *out) {
    mmrec_buffer_format(out, "# %s\n\n", mmrec_program_name(options->program));
    head(c, out);
    default_table(c, out);
    compare_print_front(c, out);
    counts(c, out);
    compare_print_times(c, out);
    compare_print_memory(c, out);
    compare_print_gradients(c, details, out);
    if (c->options->train_steps > 0) compare_print_quality(c, out);
    if (c->options->axis_name) compare_print_scaling(c, out);
    if (c->options->layers) compare_print_layers(c, out);
    pictures_line(pictures, out);
    warning_lines(c, out);
}
