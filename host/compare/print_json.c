/* The JSON document (docs/compare.schema.json): real numbers, units in the keys, null with a reason where there is
 * none.
 */
#include "compare/print_json.h"

/* ---- head ---- */

static void put_status(json_out out, const mmrec_comparison *c) {
    json_out o = json_put_object(out, "status");
    json_put_bool(o, "interrupted", c->interrupted);
    json_out list = json_put_array(o, "failures");
    for (int i = 0; i < c->options->count; i++) {
        compare_figures f;
        compare_figures_of(c, i, &f);
        if (f.measured) continue;
        json_out failure = json_put_object(list, NULL);
        json_put_whole(failure, "row", i);
        json_put_text(failure, "message", f.failure);
    }
}

static void put_task(json_out out, const mmrec_comparison *c) {
    const mmrec_compare_task *t = &c->options->task;
    bool language = t->kind == MMREC_COMPARE_LANGUAGE;
    json_out o = json_put_object(out, "task");
    json_put_text(o, "kind", compare_task_name(t->kind));
    json_put_text(o, "data", c->data);
    json_put_known(o, "data_path", language && t->data_path ? t->data_path : "");
    json_put_text(o, "loss_unit", compare_loss_unit(t->kind));
    json_put_real(o, "best_loss", c->best_loss);
    json_put_whole(o, "batch", t->batch);
    json_put_whole(o, "time", t->time);
    json_put_whole_if(o, "inputs", !language, t->inputs);
    json_put_whole(o, "outputs", t->outputs);
    json_put_whole_if(o, "samples", !language, t->samples);
    json_put_whole_if(o, "held_out", !language, t->held_out);
    json_put_real_if(o, "held_out_share", language, t->val);
    json_put_seed(o, "seed", t->seed);
}

static void put_training(json_out out, const mmrec_compare_options *options) {
    const mmrec_optimizer_config *a = &options->optimizer;
    if (json_put_null_if(out, "training", options->train_steps < 1)) return;
    json_out o = json_put_object(out, "training");
    json_put_whole(o, "steps", options->train_steps);
    json_put_whole(o, "seeds", options->seeds);
    json_put_real(o, "rate", options->rate);
    json_put_real(o, "beta1", a->beta1);
    json_put_real(o, "beta2", a->beta2);
    json_put_real(o, "epsilon", a->epsilon);
    json_put_real(o, "weight_decay", a->weight_decay);
    json_put_real(o, "clip_norm", a->clip_norm);
}

static void put_axis(json_out out, const mmrec_compare_options *options) {
    if (json_put_null_if(out, "axis", !options->axis_name)) return;
    json_out o = json_put_object(out, "axis");
    json_put_text(o, "name", options->axis_name);
    json_out values = json_put_array(o, "values");
    for (int i = 0; i < options->axis_count; i++) json_put_whole(values, NULL, options->axis[i]);
}

static void put_run(json_out out, const mmrec_comparison *c) {
    const mmrec_compare_options *o = c->options;
    json_put_text(out, "backend", c->backend);
    json_put_known(out, "backend_choice", c->choice);
    json_put_text(out, "dtype", mmrec_dtype_name(mmrec_backend_dtype(o->backend, o->bf16)));
    json_put_device(out, &c->device);
    json_put_ceilings(out, c->ceilings.sgemm_flops_per_s > 0 ? &c->ceilings : NULL);
    json_put_sampling(out, &o->sampling, NULL);
    put_task(out, c);
    json_put_text(out, "match", compare_match_name(o->match));
    json_put_bool(out, "hem", o->hem);
    json_put_bool(out, "recompute", o->recompute);
    put_training(out, o);
    put_axis(out, o);
}

static void put_head(json_out out, const mmrec_comparison *c, const mmrec_options *options) {
    json_put_schema(out, "mmrec.compare", "1.1", options->program);
    json_put_text(out, "started_at", c->started);
    json_put_text(out, "ended_at", c->ended);
    put_status(out, c);
    json_put_options(out, options);
    json_put_machine(out, &c->machine);
    put_run(out, c);
}

/* ---- the trade-off ---- */

typedef void (*sentence)(const mmrec_comparison *c, int row, mmrec_buffer *out);

static void summary(const mmrec_comparison *c, int row, mmrec_buffer *out) {
    (void)row;
    compare_front_summary(c, out);
}

static void put_sentence(json_out out, const char *key, const mmrec_comparison *c, int row, sentence of) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, out.document->allocator);
    of(c, row, &text);
    json_put_buffer(out, key, &text);
}

static void put_gap(json_out list, const mmrec_comparison *c, int by, int row, compare_criterion criterion) {
    compare_gap gap = compare_gap_of(c, by, row, criterion);
    bool interval = gap.known && gap.has_interval;
    if (!gap.known) return;
    json_out o = json_put_object(list, NULL);
    json_put_text(o, "criterion", compare_criterion_name(criterion));
    json_put_text(o, "compared_by", criterion == COMPARE_LOSS ? "difference" : "ratio");
    json_put_real(o, "value", gap.value);
    json_put_real_if(o, "ci95_low", interval, gap.ci95.low);
    json_put_real_if(o, "ci95_high", interval, gap.ci95.high);
    json_put_text(o, "word", compare_word_name(gap.word));
}

static void put_behind(json_out list, const mmrec_comparison *c, int row) {
    compare_figures f;
    compare_figures_of(c, row, &f);
    if (c->front[row] || !f.measured) return;
    int by = compare_beaten_by(c, row);
    json_out o = json_put_object(list, NULL);
    json_put_whole(o, "row", row);
    json_put_whole_if(o, "by", by >= 0, by);
    json_out gaps = json_put_array(o, "gaps");
    for (int k = 0; k < COMPARE_CRITERIA && by >= 0; k++) put_gap(gaps, c, by, row, (compare_criterion)k);
    put_sentence(o, "text", c, row, compare_front_sentence);
}

static void put_trade_off(json_out out, const mmrec_comparison *c) {
    json_out o = json_put_object(out, "trade_off");
    json_out criteria = json_put_array(o, "criteria");
    for (int k = 0; k < COMPARE_CRITERIA; k++) {
        if (compare_criterion_used(c, (compare_criterion)k))
            json_put_text(criteria, NULL, compare_criterion_name((compare_criterion)k));
    }
    json_out front = json_put_array(o, "front");
    for (int i = 0; i < c->options->count; i++) {
        if (c->front[i]) json_put_whole(front, NULL, i);
    }
    put_sentence(o, "text", c, 0, summary);
    json_out behind = json_put_array(o, "behind");
    for (int i = 0; i < c->options->count; i++) put_behind(behind, c, i);
}

/* ---- all of it ---- */

mmrec_status compare_json(const mmrec_comparison *c, const mmrec_options *options, mmrec_buffer *out,
                          mmrec_error *error) {
    json_document document;
    mmrec_warnings warnings;
    json_out all = json_begin(&document, out->allocator);
    compare_warnings_of(c, &warnings);
    put_head(all, c, options);
    json_out rows = json_put_array(all, "rows");
    for (int i = 0; i < c->options->count; i++) compare_json_row(rows, c, i);
    put_trade_off(all, c);
    json_put_warnings(all, &warnings);
    return json_end(&document, "comparison", out, error);
}
