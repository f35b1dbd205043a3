/* Records for machines, docs/train.schema.json: one JSON object a line, `record` first. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/json_impl.h"
#include "run/log.h"

/* A record that is being made. */
typedef struct record {
    train_log *log;
    json_document document;
    json_out out;
} record;

static void record_begin(record *r, train_log *log, const char *kind) {
    r->log = log;
    r->out = json_begin(&r->document, log->allocator);
    json_put_text(r->out, "record", kind);
}

/* The text lands in log->record, whose memory stays for the next one. */
static bool record_end(record *r) {
    mmrec_buffer *text = &r->log->record;
    text->size = 0;
    bool good = json_finish(&r->document, JSON_COMPACT, text);
    return good && !text->failed;
}

/* ---- run ---- */

static void put_data(json_out out, const train_log_head *head) {
    const mmrec_data_info *d = head->data;
    bool file = head->setup->data.path != NULL;
    char checksum[16];
    snprintf(checksum, sizeof checksum, "%08lx", (unsigned long)d->checksum);
    json_out o = json_put_object(out, "data");
    json_put_text(o, "name", d->name);
    json_put(o, "task", file ? json_null() : json_string(mmrec_task_name(head->setup->data.task)));
    json_put_text(o, "crc32", checksum);
    json_put_whole(o, "vocab", d->vocab);
    json_put_whole_if(o, "train_tokens", file, d->tokens[MMREC_SPLIT_TRAIN]);
    json_put_whole_if(o, "held_out_tokens", file, d->tokens[MMREC_SPLIT_HELD_OUT]);
    json_put_known_size(o, "batches_per_epoch", (uint64_t)d->batches_per_epoch);
    json_put_whole(o, "held_out_batches", d->held_out_batches);
    json_put_real(o, "best_loss_nats", d->best_loss);
    json_put_real(o, "best_accuracy", d->best_accuracy);
}

static void put_backend(json_out out, const train_log_head *head) {
    const mmrec_train_setup *s = head->setup;
    const mmrec_device *device = s->backend->device;
    mmrec_machine machine;
    mmrec_machine_read(&machine, s->train.threads);
    json_put_machine(out, &machine);
    json_put_text(out, "backend", s->backend->name);
    json_put_known(out, "backend_choice", mmrec_backend_choice());
    json_put_text(out, "dtype", mmrec_dtype_name(mmrec_backend_dtype(s->backend, s->train.bf16)));
    json_put_device(out, device ? &device->info : &(mmrec_device_info){0});
}

static void put_plan(json_out out, const train_log_head *head) {
    const mmrec_train_config *c = &head->setup->train;
    mmrec_bench_case input = {.model = c->model, .batch = c->batch, .time = c->time};
    json_put_sizes(out, "sizes", &input, c->recompute);
    json_put_bool(out, "hem", c->hem);
    json_put_bool(out, "stream", c->stream);
    json_put_whole(out, "accumulate", c->accumulate);
    json_put_whole(out, "steps", head->setup->steps);
    json_put_seed(out, "seed", c->seed);
    json_put_whole(out, "parameters", head->parameters);
    json_put_arenas(out, "planned_bytes", head->planned);
}

bool train_record_run(train_log *log, const train_log_head *head) {
    char started[32];
    record r;
    mmrec_clock_date(started, sizeof started);
    record_begin(&r, log, "run");
    json_put_schema(r.out, "mmrec.train", "1.0", head->setup->options->program);
    json_put_text(r.out, "started_at", started);
    json_put_whole_if(r.out, "resumed_from_step", head->resumed, head->made.steps);
    json_put_whole_if(r.out, "resumed_from_micro_batch", head->resumed, head->made.micro_batches);
    json_put_options(r.out, head->setup->options);
    put_backend(r.out, head);
    put_data(r.out, head);
    put_plan(r.out, head);
    return record_end(&r);
}

/* ---- steps ---- */

/* Why some figures of a step are null: "" where none is. */
static const char *reason_of(const mmrec_train_record *r, char text[256]) {
    int used = 0;
    text[0] = '\0';
    if (!isfinite(r->loss)) used += snprintf(text, 256, "the loss is %s", isnan(r->loss) ? "NaN" : "infinite");
    if (!isfinite(r->gradient_norm) && isfinite(r->loss)) {
        used += snprintf(text + used, 256 - (size_t)used, "%sa gradient is not finite", used ? "; " : "");
    }
    if (!isfinite(r->growth))
        snprintf(text + used, 256 - (size_t)used, "%sthe growth of h is not finite", used ? "; " : "");
    return text;
}

static void put_losses(json_out out, const train_log *log, double main, double aux) {
    json_put_real_if(out, "loss_aux_nats", log->setup->train.model.uboo != MMREC_UBOO_OFF, aux);
    json_put_real(out, "perplexity", exp(main));
    json_put_real_if(out, "bits_per_byte", log->setup->data.path != NULL, main / M_LN2);
}

/* null where times mean nothing. */
static void put_time(json_out out, const train_log *log, const char *key, uint64_t ns) {
    json_put_whole_if(out, key, !mmrec_train_untimed(log->setup), (int64_t)ns);
}

bool train_record_step(train_log *log, const train_log_step *step) {
    const mmrec_train_record *s = step->record;
    char reason[256];
    record r;
    record_begin(&r, log, "step");
    json_put_whole(r.out, "step", s->step);
    json_put_real(r.out, "loss_nats", s->loss);
    json_put_real(r.out, "loss_main_nats", s->loss_main);
    put_losses(r.out, log, s->loss_main, s->loss_aux);
    json_put_real(r.out, "gradient_norm", s->gradient_norm);
    json_put_real(r.out, "clip_factor", s->clip_factor);
    json_put_real(r.out, "learning_rate", s->rate);
    json_put_real(r.out, "h_growth", s->growth);
    json_put_whole(r.out, "tokens", s->tokens);
    put_time(r.out, log, "step_ns", s->ns);
    json_put_real_if(r.out, "tokens_per_s", s->ns > 0 && !mmrec_train_untimed(log->setup),
                     (double)s->tokens / (double)s->ns * 1e9);
    json_put_whole(r.out, "memory_bytes", (json_int_t)step->host_bytes);
    json_put_whole_if(r.out, "device_memory_bytes", log->setup->backend->device != NULL, (int64_t)step->device_bytes);
    json_put_bool(r.out, "skipped", s->skipped);
    json_put_bool(r.out, "spike", s->spike);
    json_put_real(r.out, "spike_score", s->spike_score);
    json_put_known(r.out, "culprit", s->culprit);
    json_put_known(r.out, "reason", reason_of(s, reason));
    return record_end(&r);
}

bool train_record_validation(train_log *log, int64_t step, const mmrec_evaluation *e, uint64_t ns) {
    record r;
    record_begin(&r, log, "validation");
    json_put_whole(r.out, "step", step);
    json_put_real(r.out, "loss_nats", e->loss);
    put_losses(r.out, log, e->loss, e->loss_aux);
    json_put_real(r.out, "above_best_nats", e->loss - log->data->best_loss);
    json_put_real(r.out, "accuracy", e->accuracy);
    json_put_whole(r.out, "batches", e->batches);
    json_put_whole(r.out, "tokens", e->tokens);
    json_put_whole(r.out, "asked", e->asked);
    put_time(r.out, log, "validation_ns", ns);
    json_put_known(r.out, "reason", isfinite(e->loss) ? "" : "the loss is not finite");
    return record_end(&r);
}

static void put_gradient(json_out list, const mmrec_gradient_stat *g) {
    json_out o = json_put_object(list, NULL);
    json_put_text(o, "name", g->name);
    json_put_text(o, "state", mmrec_gradient_state_name(g->state));
    json_put_whole(o, "values", g->count);
    json_put_whole(o, "zeros", g->zeros);
    json_put_whole(o, "not_finite", g->not_finite);
    json_put_real(o, "norm", g->norm);
    json_put_real(o, "parameter_norm", g->parameter_norm);
    json_put_whole(o, "dead_steps", g->dead_steps);
}

bool train_record_gradients(train_log *log, int64_t step, double norm, const mmrec_gradient_stat *stats, int count) {
    record r;
    record_begin(&r, log, "gradients");
    json_put_whole(r.out, "step", step);
    json_put_real(r.out, "gradient_norm", norm);
    json_put_known(r.out, "reason", isfinite(norm) ? "" : "a gradient is not finite");
    json_out list = json_put_array(r.out, "parameters");
    for (int i = 0; i < count; i++) put_gradient(list, &stats[i]);
    return record_end(&r);
}

/* ---- events, text and end ---- */

bool train_record_event(train_log *log, train_event event, int64_t step, const char *text) {
    static const char *const name[TRAIN_EVENTS] = {
        "resumed", "note", "checkpoint skipped", "spike", "skipped", "saved", "save failed", "warning", "stopped"};
    record r;
    record_begin(&r, log, "event");
    json_put_text(r.out, "event", name[event]);
    json_put_whole(r.out, "step", step);
    json_put_text(r.out, "message", text);
    return record_end(&r);
}

bool train_record_sample(train_log *log, int64_t step, const char *prompt, const char *text) {
    record r;
    record_begin(&r, log, "sample");
    json_put_whole(r.out, "step", step);
    json_put_real(r.out, "temperature", log->setup->temperature);
    json_put_text(r.out, "prompt", prompt);
    json_put_text(r.out, "text", text);
    return record_end(&r);
}

bool train_record_end(train_log *log, const train_log_tail *t) {
    char ended[32];
    record r;
    mmrec_clock_date(ended, sizeof ended);
    record_begin(&r, log, "end");
    json_put_text(r.out, "ended_at", ended);
    json_put_text(r.out, "status", train_stop_name(t->stop));
    json_put_whole(r.out, "exit_code", t->exit_code);
    json_put_known(r.out, "failure", t->failure ? t->failure : "");
    json_put_whole(r.out, "step", t->totals.steps);
    json_put_whole(r.out, "micro_batches", t->totals.micro_batches);
    json_put_whole(r.out, "tokens", t->totals.tokens);
    json_put_whole(r.out, "skipped", t->totals.skipped);
    json_put_whole(r.out, "spikes", t->totals.spikes);
    json_put_real(r.out, "largest_h_growth", t->totals.largest_growth);
    json_put_whole(r.out, "run_steps", t->steps);
    json_put_whole(r.out, "run_tokens", t->tokens);
    json_put_real(r.out, "wall_s", t->wall_s);
    json_put_whole(r.out, "data_waits", t->waits);
    json_put_whole(r.out, "data_wait_ns", (json_int_t)t->wait_ns);
    json_put_whole_if(r.out, "checkpoint_step", t->saved >= 0, t->saved);
    json_put_whole(r.out, "memory_peak_bytes", (json_int_t)t->host_peak_bytes);
    return record_end(&r);
}
