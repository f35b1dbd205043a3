/* Figures of a row, once for all printers. */
#include <math.h>
#include <stdio.h>

#include "compare/compare_print.h"

static const double none = (double)NAN;

/* ---- names ---- */

const char *compare_task_name(mmrec_task_kind kind) {
    static const char *const names[] = {"language", "classes", "values"};
    return names[kind];
}

const char *compare_match_name(mmrec_match match) {
    static const char *const names[MMREC_MATCHES] = {"none", "width", "parameters", "flops"};
    return names[match];
}

const char *compare_flow_name(mmrec_flow flow) {
    static const char *const names[] = {"flows", "zero", "missing", "not finite"};
    return names[flow];
}

const char *compare_loss_unit(mmrec_task_kind kind) {
    return kind == MMREC_COMPARE_VALUES ? "mean squared error" : "nats";
}

const char *compare_rate_name(const mmrec_comparison *c) {
    return c->options->task.kind == MMREC_COMPARE_LANGUAGE ? "tokens/s" : "samples/s";
}

/* ---- times ---- */

const char *compare_untimed(const mmrec_comparison *c) { return c->device.emulated ? "emulated" : NULL; }

const char *compare_no_time_reason(const mmrec_comparison *c, int row, mmrec_compare_part part) {
    const char *untimed = c->row[row].series[part].untimed;
    if (c->row[row].failure[0] || c->options->entries[row].refused[0]) return "the row failed";
    if (compare_untimed(c)) return compare_untimed(c);
    if (untimed) return untimed;
    return c->options->entries[row].fused && part != MMREC_PART_STEP ? "fused" : "no samples were taken";
}

const char *compare_no_time(const mmrec_comparison *c, int row, mmrec_compare_part part, char text[COMPARE_CELL]) {
    const char *untimed = compare_untimed(c) ? compare_untimed(c) : c->row[row].series[part].untimed;
    bool fused = c->options->entries[row].fused && part != MMREC_PART_STEP;
    if (!untimed && fused) untimed = "fused";
    snprintf(text, COMPARE_CELL, untimed ? "n/a (%.30s)" : "n/a", untimed);
    return text;
}

/* The optimizer's time does not depend on the tokens: it has no rate of them. */
static void part_of(const mmrec_comparison *c, int row, mmrec_compare_part part, compare_figures *out) {
    const mmrec_compare_row *r = &c->row[row];
    mmrec_bench_row *timed = &out->timed[part];
    *timed = (mmrec_bench_row){.series = r->series[part], .work = mmrec_compare_part_work(r, part)};
    if (part != MMREC_PART_OPTIMIZER) timed->tokens = r->tokens;
    if (compare_untimed(c) || !out->measured) timed->series.stats.valid = false;
    out->part[part] = mmrec_figures_of(timed, 1, &(mmrec_ceilings){0}); /* its share is of the sgemm beside it */
    out->part[part].sgemm_share = r->sgemm_share[part].valid ? r->sgemm_share[part].median : 0;
}

/* ---- quality ---- */

static double mean_of(const double *values, int count) {
    double sum = 0;
    int finite = 0;
    for (int i = 0; i < count; i++) {
        if (!isfinite(values[i])) continue;
        sum += values[i];
        finite++;
    }
    return finite > 0 ? sum / finite : none;
}

static mmrec_interval interval_of(mmrec_interval i, double (*of)(double value)) {
    return (mmrec_interval){of(i.low), of(i.high)};
}

static double bits_of(double nats) { return nats / log(2); }

static void add_language(const mmrec_compare_task *task, compare_learned *l) {
    l->perplexity = exp(l->loss);
    l->perplexity_ci95 = interval_of(l->loss_ci95, exp);
    if (!task->data_path) return;
    l->bits = bits_of(l->loss);
    l->bits_ci95 = interval_of(l->loss_ci95, bits_of);
}

static compare_learned learned_of(const mmrec_comparison *c, int row) {
    const mmrec_compare_quality *q = &c->row[row].quality;
    const mmrec_compare_task *task = &c->options->task;
    compare_learned l = {.seeds = q->seeds, .loss = none, .perplexity = none, .bits = none, .accuracy = none};
    for (int k = 0; k < q->seeds; k++) {
        l.finite += isfinite(q->loss[k]);
        l.diverged += q->diverged[k];
    }
    l.train_loss = mean_of(q->train_loss, q->seeds);
    l.seconds = compare_untimed(c) ? none : mean_of(q->seconds, q->seeds);
    l.valid = l.finite > 0 && isfinite(q->loss_mean);
    if (!l.valid) return l;
    l.has_interval = l.finite > 1;
    l.loss = q->loss_mean;
    l.loss_ci95 = (mmrec_interval){q->loss_low, q->loss_high};
    if (task->kind != MMREC_COMPARE_VALUES) l.accuracy = q->accuracy_mean;
    l.accuracy_ci95 = (mmrec_interval){fmax(0, q->accuracy_low), fmin(1, q->accuracy_high)}; /* it is a share */
    if (task->kind == MMREC_COMPARE_LANGUAGE) add_language(task, &l);
    return l;
}

/* ---- all of a row ---- */

void compare_figures_of(const mmrec_comparison *c, int row, compare_figures *out) {
    const mmrec_compare_entry *e = &c->options->entries[row];
    const mmrec_compare_row *r = &c->row[row];
    *out = (compare_figures){.label = e->label, .failure = r->failure[0] ? r->failure : e->refused};
    out->measured = out->failure[0] == '\0';
    for (int p = 0; p < MMREC_PARTS; p++) part_of(c, row, (mmrec_compare_part)p, out);
    out->planned = mmrec_figures_sum(r->memory.planned);
    out->aim_error = e->budget > 0 ? e->reached / e->budget - 1 : none;
    out->learned = learned_of(c, row);
}

/* ---- gradients by depth ---- */

static compare_depth depth_of(const mmrec_compare_row *row, int layer) {
    compare_depth d = {.layer = layer};
    double squares = 0;
    for (int i = 0; i < row->gradient_count; i++) {
        const mmrec_compare_gradient *g = &row->gradients[i];
        if (g->layer != layer) continue;
        d.tensors++;
        d.count += g->count;
        squares += g->norm * g->norm;
    }
    d.norm = sqrt(squares);
    return d;
}

bool compare_depth_next(const mmrec_compare_row *row, int layer, compare_depth *out) {
    int next = -2;
    for (int i = 0; i < row->gradient_count; i++) {
        int at = row->gradients[i].layer;
        if (at >= layer && (next == -2 || at < next)) next = at;
    }
    if (next != -2) *out = depth_of(row, next);
    return next != -2;
}

double compare_depth_rms(const compare_depth *depth) {
    return depth->count > 0 ? depth->norm / sqrt((double)depth->count) : none;
}

/* ---- scaling ---- */

mmrec_row_figures compare_point_of(const mmrec_comparison *c, const mmrec_compare_point *point) {
    mmrec_bench_row row = {.work = point->work};
    row.series.stats = point->step;
    if (compare_untimed(c) || point->failure[0]) row.series.stats.valid = false;
    return mmrec_figures_of(&row, 1, &c->ceilings);
}

/* ---- cells ---- */

void compare_cells_missing(const char *label, int columns, mmrec_table *table) {
    mmrec_table_cell(table, "%s", label);
    for (int i = 1; i < columns; i++) mmrec_table_cell(table, "n/a");
}

bool compare_row_begin(const mmrec_comparison *c, int row, int columns, compare_figures *f, mmrec_table *table) {
    compare_figures_of(c, row, f);
    if (f->measured)
        mmrec_table_cell(table, "%s", f->label);
    else
        compare_cells_missing(f->label, columns, table);
    return f->measured;
}

void compare_time_cell(const mmrec_comparison *c, int row, mmrec_compare_part part, const compare_figures *f,
                       mmrec_table *table) {
    char text[COMPARE_CELL];
    bool valid = f->part[part].valid;
    mmrec_table_cell(table, "%s", valid ? compare_ms_text(&f->part[part], text) : compare_no_time(c, row, part, text));
}

const char *compare_ms_text(const mmrec_row_figures *f, char text[COMPARE_CELL]) {
    int digits = 3;
    double ms = f->median_ns / 1e6;
    for (double shown = 1e3 * ms; digits < 6 && shown < 1000; digits++) shown *= 10;
    if (f->has_interval)
        snprintf(text, COMPARE_CELL, "%.*f \xc2\xb1 %.*f", digits, ms, digits, f->half_width_ns / 1e6);
    else
        snprintf(text, COMPARE_CELL, "%.*f \xc2\xb1 n/a", digits, ms);
    return text;
}

const char *compare_interval_text(double value, bool has_interval, mmrec_interval ci95, int digits,
                                  char text[COMPARE_CELL]) {
    if (has_interval)
        snprintf(text, COMPARE_CELL, "%.*f (%.*f to %.*f)", digits, value, digits, ci95.low, digits, ci95.high);
    else
        snprintf(text, COMPARE_CELL, "%.*f", digits, value);
    return text;
}

const char *compare_exponent_word(const mmrec_compare_fit *fit) {
    if (!fit->valid) return "";
    const double rounding = 1e-6; /* memory that is exactly linear has an interval as narrow as that */
    bool one = fit->low <= 1 + rounding && 1 - rounding <= fit->high;
    bool two = fit->low <= 2 + rounding && 2 - rounding <= fit->high;
    if (one && two) return "contains 1 and 2";
    if (one || two) return one ? "contains 1" : "contains 2";
    return "contains neither 1 nor 2";
}
