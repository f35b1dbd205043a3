/* The JSON document (docs/study.schema.json): the figures of the tables, and the value of every run that they are of.
 */
#include <stdio.h>

#include "report/json_impl.h"
#include "run/study.h"

static void put_data(json_out out, const study *s) {
    char checksum[16];
    json_out o = json_put_object(out, "data");
    snprintf(checksum, sizeof checksum, "%08x", (unsigned)s->data.checksum);
    json_put_text(o, "name", s->data.name);
    json_put_text(o, "crc32", checksum);
    json_put_whole(o, "vocab", s->data.vocab);
    json_put_whole(o, "training_tokens", s->data.tokens[MMREC_SPLIT_TRAIN]);
    json_put_whole(o, "held_out_tokens", s->data.tokens[MMREC_SPLIT_HELD_OUT]);
    json_put_real(o, "best_loss", s->data.best_loss);
}

static void put_sizes(json_out out, const study *s) {
    const mmrec_train_config *c = &s->variant[0].train;
    mmrec_bench_case sizes = {c->model, c->batch, c->time};
    json_put_sizes(out, "sizes", &sizes, c->recompute);
}

static void put_variants(json_out out, const study *s) {
    json_out list = json_put_array(out, "variants");
    for (int v = 0; v < s->variant_count; v++) {
        const study_variant *variant = &s->variant[v];
        json_out o = json_put_object(list, NULL);
        json_put_text(o, "name", variant->name);
        json_put_text(o, "title", variant->title);
        json_put_text(o, "uboo", mmrec_uboo_name(variant->train.model.uboo));
        json_put_bool(o, "hem", variant->train.hem);
        json_put_whole(o, "dpg", variant->train.model.dpg);
        json_put_bool(o, "auxiliary_loss", variant->auxiliary);
    }
}

static void put_estimate(json_out out, const study_estimate *e) {
    bool interval = e->count > 0 && e->has_interval;
    json_put_whole(out, "seeds", e->count);
    json_put_real_if(out, "mean", e->count > 0, e->mean);
    json_put_real_if(out, "ci95_low", interval, e->interval.low);
    json_put_real_if(out, "ci95_high", interval, e->interval.high);
}

static void put_side(json_out list, const study *s, const study_summary *summary, study_figure figure, int variant) {
    json_out o = json_put_object(list, NULL);
    json_put_text(o, "variant", s->variant[variant].name);
    put_estimate(o, &summary->row[figure].side[variant]);
    json_out runs = json_put_array(o, "by_seed");
    for (int k = 0; k < summary->seeds; k++)
        json_put_real(runs, NULL, study_figure_get(figure)->value(s, summary->target, k, variant));
}

static void put_difference(json_out list, const study *s, const study_summary *summary, study_figure figure,
                           int variant) {
    const study_difference *d = &summary->row[figure].difference[variant];
    json_out o = json_put_object(list, NULL);
    json_put_text(o, "variant", s->variant[variant].name);
    put_estimate(o, &d->estimate);
    json_put_known(o, "word", study_word_text(d->word));
}

static void put_figures(json_out out, const study *s, const study_summary *summary) {
    json_out list = json_put_array(out, "figures");
    for (int f = 0; f < STUDY_FIGURES; f++) {
        const study_figure_def *def = study_figure_get((study_figure)f);
        if (!study_figure_shown(s, summary, (study_figure)f)) continue;
        json_out o = json_put_object(list, NULL);
        json_put_text(o, "key", def->key);
        json_put_text(o, "name", def->name);
        json_put_known(o, "better", def->better < 0 ? "less" : def->better > 0 ? "more" : "");
        json_put_text(o, "compared_by", def->ratio ? "ratio" : "difference");
        json_out sides = json_put_array(o, "sides");
        for (int v = 0; v < s->variant_count; v++) put_side(sides, s, summary, (study_figure)f, v);
        json_out differences = json_put_array(o, "differences");
        for (int v = 1; v < s->variant_count; v++) put_difference(differences, s, summary, (study_figure)f, v);
    }
}

static void put_verdicts(json_out out, const study *s, const study_summary *summary) {
    json_out list = json_put_array(out, "verdicts");
    for (int v = 1; v < s->variant_count; v++) {
        mmrec_buffer text;
        mmrec_buffer_begin(&text, s->allocator);
        study_verdict(s, summary, v, &text);
        json_out o = json_put_object(list, NULL);
        json_put_text(o, "variant", s->variant[v].name);
        json_put_buffer(o, "text", &text);
    }
}

static void put_failures(json_out out, const study *s) {
    json_out list = json_put_array(out, "diverged");
    for (int k = 0; k < s->begun; k++) {
        for (int v = 0; v < s->variant_count; v++) {
            if (!s->run[k][v].failure[0]) continue;
            json_out o = json_put_object(list, NULL);
            json_put_seed(o, "seed", s->seed[k]);
            json_put_text(o, "variant", s->variant[v].name);
            json_put_text(o, "message", s->run[k][v].failure);
        }
    }
}

static void put_head(json_out out, const study *s, const study_summary *summary) {
    json_put_schema(out, "mmrec.study", "1.0", s->setup->options->program);
    json_put_text(out, "study", study_name(s->kind));
    json_put_text(out, "started_at", s->started);
    json_put_text(out, "ended_at", s->ended);
    json_put_bool(out, "complete", summary->complete && !s->stopped[0]);
    json_put_known(out, "stopped", s->stopped);
    json_put_options(out, s->setup->options);
    json_put_machine(out, &s->machine);
    json_put_text(out, "backend", s->setup->backend->name);
    put_data(out, s);
    put_sizes(out, s);
    json_out seeds = json_put_array(out, "seeds");
    for (int k = 0; k < summary->seeds; k++) json_put_seed(seeds, NULL, s->seed[k]);
    json_put_whole(out, "steps", s->steps);
    json_put_whole(out, "steps_reached", summary->reached);
    json_put_whole(out, "validation_every", s->val_every);
    json_put_whole(out, "validation_batches", s->val_batches);
    json_put_whole(out, "window", study_window(s->steps));
    json_put_real(out, "target_loss", summary->target);
    json_put_real(out, "deciding_level", summary->level);
}

mmrec_status study_json(const study *s, const study_summary *summary, mmrec_buffer *out, mmrec_error *error) {
    json_document document;
    json_out all = json_begin(&document, s->allocator);
    put_head(all, s, summary);
    put_variants(all, s);
    put_figures(all, s, summary);
    put_verdicts(all, s, summary);
    put_failures(all, s);
    return json_end(&document, "study", out, error);
}
