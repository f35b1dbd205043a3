/* CSV: one row per model and part of the step, every row complete in itself. */
#include <stdio.h>

#include "compare/compare_print.h"
#include "report/csv_row.h"

static void run_fields(csv_row *row, const mmrec_comparison *c) {
    const mmrec_compare_options *o = c->options;
    text_field(row, "backend", c->backend);
    text_field(row, "device", c->device.name);
    text_field(row, "dtype", mmrec_dtype_name(mmrec_backend_dtype(o->backend, o->bf16)));
    whole_field(row, "threads", c->machine.threads);
    text_field(row, "task", compare_task_name(o->task.kind));
    whole_field(row, "batch", o->task.batch);
    whole_field(row, "time", o->task.time);
}

static void count_fields(csv_row *row, const mmrec_comparison *c, int index, const compare_figures *f) {
    const mmrec_compare_row *r = &c->row[index];
    const mmrec_compare_entry *e = &c->options->entries[index];
    real_field(row, "parameters", f->measured, (double)r->parameters);
    real_field(row, "trainable", f->measured, (double)r->trainable);
    real_field(row, "dead", f->measured, (double)r->dead);
    real_field(row, "size_bytes", f->measured, (double)r->size_bytes);
    text_field(row, "match", compare_match_name(c->options->match));
    real_field(row, "budget", e->budget > 0, e->budget);
    real_field(row, "reached", e->budget > 0, e->reached);
}

static void rate_fields(csv_row *row, const mmrec_comparison *c, int index, mmrec_compare_part part,
                        const compare_figures *f) {
    const mmrec_row_figures *p = &f->part[part];
    const mmrec_paired *paired = &c->row[index].paired[part];
    bool valid = paired->valid && p->valid;
    real_field(row, "tokens_per_s", p->valid && part != MMREC_PART_OPTIMIZER, p->tokens_per_s);
    real_field(row, "sgemm_share", p->valid && p->sgemm_share > 0, p->sgemm_share);
    text_field(row, "untimed", f->measured && !p->valid ? compare_no_time_reason(c, index, part) : "");
    text_field(row, "ratio_to", valid ? c->options->entries[0].label : "");
    real_field(row, "ratio", valid, paired->ratio);
    real_field(row, "ratio_ci95_low", valid, paired->ci95.low);
    real_field(row, "ratio_ci95_high", valid, paired->ci95.high);
    text_field(row, "verdict", valid ? mmrec_verdict_name(paired->verdict) : "");
}

static void memory_fields(csv_row *row, const mmrec_compare_memory *m, const compare_figures *f) {
    for (int a = 0; a < MMREC_ARENAS; a++) {
        char name[64];
        snprintf(name, sizeof name, "%s_planned_bytes", mmrec_arena_name((mmrec_arena)a));
        real_field(row, name, f->measured, (double)m->planned[a]);
    }
    real_field(row, "planned_bytes", f->measured, (double)f->planned);
    real_field(row, "created_bytes", f->measured, (double)m->created);
    real_field(row, "after_forward_bytes", f->measured, (double)m->forward);
    real_field(row, "after_backward_bytes", f->measured, (double)m->backward);
    real_field(row, "after_step_bytes", f->measured, (double)m->step);
    real_field(row, "peak_bytes", f->measured, (double)m->peak);
}

static void gradient_fields(csv_row *row, const mmrec_compare_row *r) {
    bool known = r->gradient_count > 0;
    real_field(row, "gradient_norm", known, r->gradient_norm);
    real_field(row, "gradient_tensors", known, r->gradient_count);
    real_field(row, "zero_tensors", known, r->zero);
    real_field(row, "missing_tensors", known, r->missing);
    real_field(row, "not_finite_tensors", known, r->not_finite);
}

static void learned_fields(csv_row *row, const mmrec_comparison *c, const compare_learned *l) {
    bool interval = l->valid && l->has_interval;
    whole_field(row, "train_steps", c->options->train_steps);
    whole_field(row, "seeds", l->seeds);
    real_field(row, "diverged", l->seeds > 0, l->diverged);
    real_field(row, "held_out_loss", l->valid, l->loss);
    real_field(row, "held_out_loss_ci95_low", interval, l->loss_ci95.low);
    real_field(row, "held_out_loss_ci95_high", interval, l->loss_ci95.high);
    real_field(row, "perplexity", l->valid, l->perplexity);
    real_field(row, "bits_per_byte", l->valid, l->bits);
    real_field(row, "accuracy_share", l->valid, l->accuracy);
    real_field(row, "training_loss", l->seeds > 0, l->train_loss);
    real_field(row, "training_s", l->seeds > 0, l->seconds);
}

static void fit_fields(csv_row *row, const char *of, const mmrec_compare_fit *fit) {
    static const char *const parts[] = {"exponent", "exponent_ci95_low", "exponent_ci95_high"};
    const double values[] = {fit->exponent, fit->low, fit->high};
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s_%s", of, parts[i]);
        real_field(row, name, fit->valid, values[i]);
    }
}

static void part_row(csv_row *row, const mmrec_comparison *c, int index, mmrec_compare_part part) {
    static const mmrec_compare_fit no_fit;
    const mmrec_compare_row *r = &c->row[index];
    compare_figures f;
    compare_figures_of(c, index, &f);
    whole_field(row, "row", index + 1);
    text_field(row, "label", f.label);
    text_field(row, "model", mmrec_model_get(c->options->entries[index].kind)->name);
    text_field(row, "part", mmrec_compare_part_name(part));
    run_fields(row, c);
    count_fields(row, c, index, &f);
    series_fields(row, &f.timed[part], &f.part[part]);
    rate_fields(row, c, index, part, &f);
    real_field(row, "counted_flops", f.measured, f.timed[part].work.flops);
    memory_fields(row, &r->memory, &f);
    gradient_fields(row, r);
    learned_fields(row, c, &f.learned);
    text_field(row, "axis", c->options->axis_name ? c->options->axis_name : "");
    fit_fields(row, "time", compare_untimed(c) ? &no_fit : &r->time_fit);
    fit_fields(row, "memory", &r->memory_fit);
    text_field(row, "front", !f.measured ? "" : c->front[index] ? "yes" : "no");
    text_field(row, "failure", f.failure);
    end_row(row);
}

void compare_csv(const mmrec_comparison *c, mmrec_buffer *out) {
    csv_row row = {.out = out, .header = true};
    for (int i = 0; i < c->options->count; i++) {
        for (int p = 0; p < MMREC_PARTS; p++) {
            if (row.header) part_row(&row, c, i, (mmrec_compare_part)p);
            part_row(&row, c, i, (mmrec_compare_part)p);
        }
    }
}
