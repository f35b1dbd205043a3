/* A row of the JSON document. */
#include <math.h>
#include <string.h>

#include "compare/print_json.h"

/* ---- the model ---- */

static void put_field(json_out out, const mmrec_model_field *f, const void *config) {
    const char *at = (const char *)config + f->offset;
    char text[256];
    if (f->type == MMREC_FIELD_WHOLE) {
        int64_t whole;
        memcpy(&whole, at, sizeof whole);
        json_put_whole(out, f->key, whole);
    } else if (f->type == MMREC_FIELD_REAL) {
        double real;
        memcpy(&real, at, sizeof real);
        json_put_real(out, f->key, real);
    } else {
        json_put_text(out, f->key, mmrec_model_field_text(f, config, text, sizeof text));
    }
}

static void put_model(json_out out, const mmrec_comparison *c, int row, const compare_figures *f) {
    const mmrec_compare_entry *e = &c->options->entries[row];
    const mmrec_model_def *def = mmrec_model_get(e->kind);
    json_put_text(out, "label", e->label);
    json_put_text(out, "model", def->name);
    json_out config = json_put_object(out, "config");
    for (const mmrec_model_field *field = def->fields; field->key; field++) put_field(config, field, &e->config);
    json_put_bool(out, "fused", e->fused);
    json_put_known(out, "failure", f->failure);
    json_put_real_if(out, "budget", e->budget > 0, e->budget);
    json_put_real_if(out, "reached", e->budget > 0, e->reached);
    json_put_real(out, "off_by_share", f->aim_error);
}

static void put_counts(json_out out, const mmrec_compare_row *r, const compare_figures *f) {
    json_put_whole_if(out, "parameters", f->measured, r->parameters);
    json_put_whole_if(out, "trainable_parameters", f->measured, r->trainable);
    json_put_whole_if(out, "dead_parameters", f->measured, r->dead);
    json_put_whole_if(out, "size_bytes", f->measured, (int64_t)r->size_bytes);
    json_put_whole_if(out, "tokens_per_step", f->measured, r->tokens);
}

/* ---- times ---- */

static void put_paired(json_out out, const mmrec_paired *p, bool valid) {
    if (json_put_null_if(out, "ratio_to_first", !valid)) return;
    json_out o = json_put_object(out, "ratio_to_first");
    json_put_whole(o, "pairs", p->pairs);
    json_put_real(o, "ratio", p->ratio);
    json_put_real(o, "ci95_low", p->ci95.low);
    json_put_real(o, "ci95_high", p->ci95.high);
    json_put_real(o, "ci99_low", p->ci99.low);
    json_put_real(o, "ci99_high", p->ci99.high);
    json_put_text(o, "verdict", mmrec_verdict_name(p->verdict));
}

/* The series is handed on with the reason why it has no times, and without samples that mean nothing. */
static void put_part(json_out out, const mmrec_comparison *c, int row, mmrec_compare_part part,
                     const compare_figures *f) {
    const mmrec_row_figures *p = &f->part[part];
    mmrec_bench_row timed = f->timed[part];
    json_out o = json_put_object(out, mmrec_compare_part_name(part));
    if (!p->valid) {
        timed.series.untimed = compare_no_time_reason(c, row, part);
        timed.series.count = 0;
    }
    json_put_series(o, &timed, p);
    json_put_real_if(o, "tokens_per_s", p->valid && part != MMREC_PART_OPTIMIZER, p->tokens_per_s);
    json_put_share(o, "sgemm_share", &c->row[row].sgemm_share[part], p->valid && p->sgemm_share > 0);
    put_paired(o, &c->row[row].paired[part], p->valid && c->row[row].paired[part].valid);
}

static void put_parts(json_out out, const mmrec_comparison *c, int row, const compare_figures *f) {
    json_out parts = json_put_object(out, "parts");
    for (int p = 0; p < MMREC_PARTS; p++) put_part(parts, c, row, (mmrec_compare_part)p, f);
}

/* ---- memory and gradients ---- */

static void put_memory(json_out out, const mmrec_compare_memory *m, const compare_figures *f) {
    if (json_put_null_if(out, "memory", !f->measured)) return;
    json_out o = json_put_object(out, "memory");
    json_put_arenas(o, "planned_bytes", m->planned);
    json_put_whole(o, "planned_all_bytes", (int64_t)f->planned);
    json_put_whole(o, "created_bytes", (int64_t)m->created);
    json_put_whole(o, "after_forward_bytes", (int64_t)m->forward);
    json_put_whole(o, "after_backward_bytes", (int64_t)m->backward);
    json_put_whole(o, "after_step_bytes", (int64_t)m->step);
    json_put_whole(o, "peak_bytes", (int64_t)m->peak);
}

static void put_tensors(json_out out, const mmrec_compare_row *r) {
    json_out list = json_put_array(out, "tensors");
    for (int i = 0; i < r->gradient_count; i++) {
        const mmrec_compare_gradient *g = &r->gradients[i];
        json_out o = json_put_object(list, NULL);
        json_put_text(o, "name", g->name);
        json_put_whole_if(o, "layer", g->layer >= 0, g->layer);
        json_put_whole(o, "elements", g->count);
        json_put_whole(o, "zeros", g->zeros);
        json_put_whole(o, "not_finite", g->not_finite);
        json_put_whole(o, "exempt", g->exempt);
        json_put_real(o, "norm", g->norm);
        json_put_text(o, "flow", compare_flow_name(g->flow));
    }
}

static void put_depths(json_out out, const mmrec_compare_row *r) {
    json_out list = json_put_array(out, "by_depth");
    compare_depth d;
    for (int layer = -1; compare_depth_next(r, layer, &d); layer = d.layer + 1) {
        json_out o = json_put_object(list, NULL);
        json_put_whole_if(o, "layer", d.layer >= 0, d.layer);
        json_put_whole(o, "tensors", d.tensors);
        json_put_whole(o, "elements", d.count);
        json_put_real(o, "norm", d.norm);
        json_put_real(o, "norm_by_element", compare_depth_rms(&d));
    }
}

static void put_gradients(json_out out, const mmrec_compare_row *r) {
    if (json_put_null_if(out, "gradients", r->gradient_count == 0)) return;
    json_out o = json_put_object(out, "gradients");
    json_put_real(o, "norm", r->gradient_norm);
    json_put_whole(o, "zero", r->zero);
    json_put_whole(o, "missing", r->missing);
    json_put_whole(o, "not_finite", r->not_finite);
    put_depths(o, r);
    put_tensors(o, r);
}

/* ---- quality ---- */

static void put_estimate(json_out out, const char *key, double value, bool interval, mmrec_interval ci95) {
    if (json_put_null_if(out, key, !isfinite(value))) return;
    json_out o = json_put_object(out, key);
    json_put_real(o, "mean", value);
    json_put_real_if(o, "ci95_low", interval, ci95.low);
    json_put_real_if(o, "ci95_high", interval, ci95.high);
}

static void put_runs(json_out out, const mmrec_comparison *c, int row) {
    const mmrec_compare_quality *q = &c->row[row].quality;
    json_out list = json_put_array(out, "runs");
    for (int k = 0; k < q->seeds; k++) {
        json_out o = json_put_object(list, NULL);
        json_put_seed(o, "seed", c->options->task.seed + (uint64_t)k);
        json_put_real(o, "held_out_loss", q->loss[k]);
        json_put_real(o, "accuracy", q->accuracy[k]);
        json_put_real(o, "training_loss", q->train_loss[k]);
        json_put_real_if(o, "training_s", !compare_untimed(c), q->seconds[k]);
        json_put_bool(o, "diverged", q->diverged[k]);
    }
}

static void put_quality(json_out out, const mmrec_comparison *c, int row, const compare_learned *l) {
    if (json_put_null_if(out, "quality", l->seeds == 0)) return;
    json_out o = json_put_object(out, "quality");
    json_put_whole(o, "diverged", l->diverged);
    put_estimate(o, "held_out_loss", l->loss, l->has_interval, l->loss_ci95);
    put_estimate(o, "perplexity", l->perplexity, l->has_interval, l->perplexity_ci95);
    put_estimate(o, "bits_per_byte", l->bits, l->has_interval, l->bits_ci95);
    put_estimate(o, "accuracy", l->accuracy, l->has_interval, l->accuracy_ci95);
    put_runs(o, c, row);
}

/* ---- scaling and layers ---- */

static void put_fit(json_out out, const char *key, const mmrec_compare_fit *fit, bool wanted) {
    if (json_put_null_if(out, key, !fit->valid || !wanted)) return;
    json_out o = json_put_object(out, key);
    json_put_real(o, "exponent", fit->exponent);
    json_put_real(o, "ci95_low", fit->low);
    json_put_real(o, "ci95_high", fit->high);
    json_put_real(o, "largest_log_residual", fit->residual);
    json_put_text(o, "interval", compare_exponent_word(fit));
}

static void put_point(json_out list, const mmrec_comparison *c, const mmrec_compare_point *p) {
    mmrec_row_figures f = compare_point_of(c, p);
    json_out o = json_put_object(list, NULL);
    json_put_whole(o, "at", p->at);
    json_put_real_if(o, "step_median_ns", f.valid, p->step.median);
    json_put_real_if(o, "step_ci95_low_ns", f.has_interval, p->step.ci95.low);
    json_put_real_if(o, "step_ci95_high_ns", f.has_interval, p->step.ci95.high);
    json_put_samples(o, &p->series);
    json_put_known_size(o, "planned_bytes", p->bytes);
    json_put_work(o, "work", &p->work);
    json_put_known(o, "failure", p->failure);
}

static void put_scaling(json_out out, const mmrec_comparison *c, const mmrec_compare_row *r) {
    if (json_put_null_if(out, "scaling", !r->points)) return;
    json_out o = json_put_object(out, "scaling");
    put_fit(o, "time", &r->time_fit, !compare_untimed(c));
    put_fit(o, "memory", &r->memory_fit, true);
    json_out list = json_put_array(o, "points");
    for (int k = 0; k < c->options->axis_count; k++) put_point(list, c, &r->points[k]);
}

static void put_layer(json_out list, const mmrec_comparison *c, const mmrec_compare_row *r,
                      const mmrec_compare_layer *l) {
    bool op = l->op != MMREC_OP_NONE, timed = r->layers_step_ns > 0 && !compare_untimed(c);
    json_out o = json_put_object(list, NULL);
    json_put_known(o, "module", l->module);
    json_put_known(o, "op", op ? mmrec_op_get(l->op, MMREC_VARIANT_F64)->name : "");
    json_put_known(o, "pass", op ? mmrec_pass_name(l->pass) : "");
    json_put_whole_if(o, "layer", l->layer >= 0, l->layer);
    json_put_whole_if(o, "calls", l->module[0] != '\0', l->calls);
    json_put_real_if(o, "median_ns", timed, l->ns);
    json_put_real_if(o, "step_share", timed, l->ns / r->layers_step_ns);
    json_put_work(o, "work", &l->work);
    json_put_whole(o, "saved_bytes", (int64_t)l->saved_bytes);
}

static void put_layers(json_out out, const mmrec_comparison *c, const mmrec_compare_row *r) {
    if (json_put_null_if(out, "layers", r->layer_count == 0)) return;
    json_out o = json_put_object(out, "layers");
    json_put_real_if(o, "step_median_ns", r->layers_step_ns > 0 && !compare_untimed(c), r->layers_step_ns);
    json_out list = json_put_array(o, "lines");
    for (int i = 0; i < r->layer_count; i++) put_layer(list, c, r, &r->layers[i]);
}

static void put_with_interval(json_out out, const char *key, double value, mmrec_interval ci95) {
    json_out o = json_put_object(out, key);
    json_put_real(o, "value", value);
    json_put_real(o, "ci95_low", ci95.low);
    json_put_real(o, "ci95_high", ci95.high);
}

static void put_epochs(json_out out, const mmrec_compare_epochs *e) {
    if (json_put_null_if(out, "epochs", e->epochs == 0)) return;
    json_out o = json_put_object(out, "epochs");
    json_put_whole(o, "epochs", e->epochs);
    json_put_whole(o, "samples", e->samples);
    json_put_real(o, "seconds", e->seconds);
    put_with_interval(o, "samples_per_s", e->samples_per_s, e->ci95);
    put_with_interval(o, "sgemm_time_over_fused", e->sgemm.ratio, e->sgemm.ci95);
    put_with_interval(o, "graph_time_over_fused", e->graph.ratio, e->graph.ci95);
}

void compare_json_row(json_out rows, const mmrec_comparison *c, int row) {
    const mmrec_compare_row *r = &c->row[row];
    compare_figures f;
    compare_figures_of(c, row, &f);
    json_out o = json_put_object(rows, NULL);
    put_model(o, c, row, &f);
    put_counts(o, r, &f);
    put_parts(o, c, row, &f);
    put_memory(o, &r->memory, &f);
    put_gradients(o, r);
    put_quality(o, c, row, &f.learned);
    put_scaling(o, c, r);
    put_layers(o, c, r);
    put_epochs(o, &r->epochs);
    json_put_bool(o, "front", c->front[row]);
}
