/* Lines for people, 79 characters wide where no auxiliary loss makes them wider. The first column is the step, or a
 * word for what else the line tells; `loss` is the cross-entropy of the last layer's head, `aux` what the auxiliary
 * loss adds to what is trained. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/units.h"
#include "mmrec/version.h"
#include "run/log.h"

static bool of_bytes(const train_log *log) { return log->setup->data.path != NULL; }
static bool has_auxiliary(const train_log *log) { return log->setup->train.model.uboo != MMREC_UBOO_OFF; }

/* A line that grows at its end and is cut where it is full. */
typedef struct piece {
    char *line;
    int used;
} piece;

static void add(piece *p, const char *format, ...) MMREC_PRINTF(2, 3);
static void add(piece *p, const char *format, ...) {
    size_t room = (size_t)(TRAIN_LINE - p->used);
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(p->line + p->used, room, format, arguments);
    va_end(arguments);
    if (size > 0) p->used += (size_t)size < room ? size : (int)room - 1;
}

/* A number in a column; one that is not finite is told as such, without a sign that means nothing. */
static void add_number(piece *p, const char *format, int width, double value) {
    if (isfinite(value))
        add(p, format, width, value);
    else
        add(p, " %*s", width, isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
}

/* Bits per byte of a file; the perplexity of a task, whose ids are no bytes. */
static void add_losses(piece *p, const train_log *log, double loss, double aux) {
    add_number(p, " %*.4f", 7, loss);
    if (has_auxiliary(log)) add_number(p, " %*.4f", 7, aux);
    if (of_bytes(log))
        add_number(p, " %*.4f", 9, loss / M_LN2);
    else
        add_number(p, " %*.5g", 10, exp(loss));
}

int train_people_header(const train_log *log, char line[TRAIN_LINE]) {
    piece p = {line, 0};
    add(&p, "%7s %7s", "step", "loss");
    if (has_auxiliary(log)) add(&p, " %7s", "aux");
    add(&p, of_bytes(log) ? " %9s" : " %10s", of_bytes(log) ? "bits/byte" : "perplexity");
    add(&p, " %8s %8s %8s %8s %8s %8s", "norm", "lr", "ms", "tokens/s", "memory", "h growth");
    return p.used;
}

int train_people_step(const train_log *log, const train_log_step *step, char line[TRAIN_LINE]) {
    const mmrec_train_record *r = step->record;
    char memory[MMREC_UNITS_TEXT];
    piece p = {line, 0};
    add(&p, "%7lld", (long long)r->step);
    add_losses(&p, log, r->loss_main, r->loss_aux);
    add_number(&p, " %#*.4g", 8, r->gradient_norm);
    add_number(&p, " %*.2e", 8, r->rate);
    if (mmrec_train_untimed(log->setup)) {
        add(&p, " %8s %8s", "n/a", "n/a");
    } else {
        add_number(&p, " %*.2f", 8, (double)r->ns * 1e-6);
        add_number(&p, " %*.0f", 8, log->ns > 0 ? (double)log->tokens / (double)log->ns * 1e9 : NAN);
    }
    double bytes = (double)(step->device_bytes > 0 ? step->device_bytes : step->host_bytes);
    add(&p, " %8s", mmrec_units_bytes_text(bytes, memory));
    add_number(&p, " %*.4f", 8, r->growth);
    return p.used;
}

int train_people_validation(const train_log *log, const mmrec_evaluation *e, uint64_t ns, char line[TRAIN_LINE]) {
    char took[MMREC_UNITS_TEXT];
    piece p = {line, 0};
    add(&p, "%7s", "val");
    add_losses(&p, log, e->loss, e->loss_aux);
    if (isfinite(log->data->best_loss)) add(&p, "  %.4f above the best possible", e->loss - log->data->best_loss);
    if (isfinite(e->accuracy)) add(&p, "  accuracy %.4f", e->accuracy);
    if (isfinite(e->accuracy) && isfinite(log->data->best_accuracy)) add(&p, " of %.4f", log->data->best_accuracy);
    add(&p, "  %lld batches", (long long)e->batches);
    if (!mmrec_train_untimed(log->setup)) add(&p, " in %s", mmrec_units_time_text((double)ns, took));
    return p.used;
}

/* ---- gradients ---- */

typedef struct gradient_summary {
    int state[MMREC_GRADIENT_STATES];
    const mmrec_gradient_stat *largest, *smallest; /* of those that flow; NULL: none does */
} gradient_summary;

static gradient_summary summarise(const mmrec_gradient_stat *stats, int count) {
    gradient_summary s = {0};
    for (int i = 0; i < count; i++) {
        const mmrec_gradient_stat *g = &stats[i];
        s.state[g->state]++;
        if (g->state != MMREC_GRADIENT_FLOWS) continue;
        if (!s.largest || g->norm > s.largest->norm) s.largest = g;
        if (!s.smallest || g->norm < s.smallest->norm) s.smallest = g;
    }
    return s;
}

int train_people_gradients(double norm, const mmrec_gradient_stat *stats, int count, char line[TRAIN_LINE]) {
    gradient_summary s = summarise(stats, count);
    piece p = {line, 0};
    add(&p, "%7s  norm", "grads");
    add_number(&p, " %*.4g", 0, norm);
    add(&p, " over %d parameters", count);
    for (int i = 0; i < MMREC_GRADIENT_STATES; i++) {
        if (i != MMREC_GRADIENT_FLOWS)
            add(&p, ", %d %s", s.state[i], mmrec_gradient_state_name((mmrec_gradient_state)i));
    }
    if (s.largest) {
        add(&p, "; largest %s %.3g, smallest %s %.3g", s.largest->name, s.largest->norm, s.smallest->name,
            s.smallest->norm);
    }
    return p.used;
}

int train_people_named(mmrec_gradient_state state, const mmrec_gradient_stat *stats, int count, char line[TRAIN_LINE]) {
    enum { NAMED = 8 };
    piece p = {line, 0};
    int found = 0;
    line[0] = '\0';
    for (int i = 0; i < count; i++) {
        const mmrec_gradient_stat *g = &stats[i];
        if (g->state != state || found++ >= NAMED) continue;
        if (found == 1)
            add(&p, "%7s  %s: ", "grads", state == MMREC_GRADIENT_ZERO ? "dead" : mmrec_gradient_state_name(state));
        else
            add(&p, ", ");
        add(&p, "%s", g->name);
        if (g->dead_steps > 0) add(&p, " (%lld steps)", (long long)g->dead_steps);
    }
    if (found > NAMED) add(&p, " and %d more", found - NAMED);
    return p.used;
}

/* ---- events, beginning and end ---- */

int train_people_event(train_event event, const char *text, char line[TRAIN_LINE]) {
    static const char *const word[TRAIN_EVENTS] = {"resumed", "note",    "warning", "spike",  "skipped",
                                                   "saved",   "warning", "warning", "stopped"};
    piece p = {line, 0};
    add(&p, "%7s  %s", word[event], text);
    return p.used;
}

static void head_data(const train_log_head *head, mmrec_buffer *out) {
    const mmrec_data_info *d = head->data;
    mmrec_buffer_format(out, "%7s  %s: ", "data", d->name);
    if (head->setup->data.path) {
        mmrec_buffer_format(out, "%lld bytes to train on, %lld held out", (long long)d->tokens[MMREC_SPLIT_TRAIN],
                            (long long)d->tokens[MMREC_SPLIT_HELD_OUT]);
    } else {
        mmrec_buffer_format(out, "%lld symbols", (long long)d->vocab);
        if (isfinite(d->best_loss)) mmrec_buffer_format(out, ", best possible loss %.4f", d->best_loss);
    }
    mmrec_buffer_format(out, ", CRC-32 %08lx\n", (unsigned long)d->checksum);
}

static void head_model(const train_log_head *head, mmrec_buffer *out) {
    const mmrec_train_config *c = &head->setup->train;
    const mmrec_backend *backend = head->setup->backend;
    mmrec_buffer_format(out, "%7s  mmrec: D %lld, L %lld, H %lld, V %lld, %lld parameters; HEM %s, auxiliary loss %s\n",
                        "model", (long long)c->model.dim, (long long)c->model.layers, (long long)c->model.heads,
                        (long long)c->model.vocab, (long long)head->parameters, c->hem ? "on" : "off",
                        mmrec_uboo_name(c->model.uboo));
    mmrec_buffer_format(out, "%7s  %s, %s", "backend", backend->name,
                        mmrec_dtype_name(mmrec_backend_dtype(backend, c->bf16)));
    if (backend->device)
        mmrec_buffer_format(out, ", %s\n", backend->device->info.name);
    else
        mmrec_buffer_format(out, ", %d %s\n", c->threads, c->threads == 1 ? "thread" : "threads");
}

static void head_memory(const train_log_head *head, mmrec_buffer *out) {
    char text[MMREC_UNITS_TEXT];
    double sum = 0;
    for (int a = 0; a < MMREC_ARENAS; a++) sum += (double)head->planned[a];
    mmrec_buffer_format(out, "%7s  %s planned:", "memory", mmrec_units_bytes_text(sum, text));
    for (int a = 0; a < MMREC_ARENAS; a++) {
        mmrec_buffer_format(out, "%s %s %s", a ? "," : "", mmrec_arena_name((mmrec_arena)a),
                            mmrec_units_bytes_text((double)head->planned[a], text));
    }
    mmrec_buffer_text(out, "\n");
}

static void head_steps(const train_log_head *head, mmrec_buffer *out) {
    const mmrec_train_config *c = &head->setup->train;
    mmrec_buffer_format(out, "%7s  %lld of %lld x %lld", "steps", (long long)head->setup->steps, (long long)c->batch,
                        (long long)c->time);
    if (c->accumulate > 1) mmrec_buffer_format(out, " x %lld", (long long)c->accumulate);
    mmrec_buffer_text(out, " tokens");
    if (head->data->batches_per_epoch > 0) {
        double epochs = (double)head->setup->steps * (double)c->accumulate / (double)head->data->batches_per_epoch;
        mmrec_buffer_format(out, " (%.2f epochs)", epochs);
    }
    if (c->stream) mmrec_buffer_text(out, ", state carried");
    mmrec_buffer_text(out, "\n\n");
}

void train_people_head(const train_log_head *head, mmrec_buffer *out) {
    mmrec_buffer_format(out, "%s %s\n", mmrec_program_name(head->setup->options->program), mmrec_version());
    head_data(head, out);
    head_model(head, out);
    head_memory(head, out);
    head_steps(head, out);
}

int train_people_tail(const train_log_tail *tail, const mmrec_train_setup *setup, char line[TRAIN_LINE]) {
    char wall[MMREC_UNITS_TEXT], waited[MMREC_UNITS_TEXT];
    piece p = {line, 0};
    add(&p, "%7s  step %lld of %lld (%s): %lld steps, %lld tokens in %s", "end", (long long)tail->totals.steps,
        (long long)setup->steps, train_stop_name(tail->stop), (long long)tail->steps, (long long)tail->tokens,
        mmrec_units_time_text(tail->wall_s * 1e9, wall));
    if (tail->wall_s > 0 && !mmrec_train_untimed(setup)) add(&p, ", %.0f tokens/s", (double)tail->tokens / tail->wall_s);
    add(&p, "; %lld skipped, %lld spikes; waited for data %lld times, %s", (long long)tail->totals.skipped,
        (long long)tail->totals.spikes, (long long)tail->waits, mmrec_units_time_text((double)tail->wait_ns, waited));
    if (tail->saved >= 0) add(&p, "; newest checkpoint: step %lld", (long long)tail->saved);
    return p.used;
}
