/* Where what a training tells goes: lines, records, the bar, and the first failure of any of them but the bar. */
#include "run/log.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/text.h"

static const char mark[] = "{\"record\":";

const char *train_stop_name(train_stop stop) {
    static const char *const name[TRAIN_STOPS] = {"goes on",    "finished",    "max-time",
                                                  "stop-after", "interrupted", "failed"};
    return name[stop];
}

/* ---- outputs ---- */

static void keep_failure(train_log *log, mmrec_status status, const mmrec_error *error) {
    if (status == MMREC_OK || log->status != MMREC_OK) return;
    log->status = status;
    log->error = *error;
}

/* The bar may stand where the line will: it goes first. */
static void put_text(train_log *log, const char *text, size_t size) {
    mmrec_error error;
    if (!log->people) return;
    if (log->terminal) mmrec_progress_hide(&log->bar);
    mmrec_status status = mmrec_io_write_fd(log->io, STDOUT_FILENO, "standard output", text, size, &error);
    keep_failure(log, status, &error);
    log->people = status == MMREC_OK;
}

static void put_line(train_log *log, char line[TRAIN_LINE], int size) {
    int end = size < TRAIN_LINE - 1 ? size : TRAIN_LINE - 2;
    line[end] = '\n';
    put_text(log, line, (size_t)end + 1);
}

static mmrec_status write_record(train_log *log, bool made, mmrec_error *error) {
    const char *name = log->file == STDOUT_FILENO ? "standard output" : log->setup->log_path;
    if (!made) MMREC_FAIL(error, MMREC_NO_MEMORY, "not enough memory for a record of the log %.300s", name);
    if (log->file == STDOUT_FILENO && log->terminal) mmrec_progress_hide(&log->bar);
    return mmrec_io_write_fd(log->io, log->file, name, log->record.data, log->record.size, error);
}

/* `made`: what is to be written lies in log->record; else there was no memory for it. */
static void put_record(train_log *log, bool made) {
    mmrec_error error;
    mmrec_status status = write_record(log, made, &error);
    keep_failure(log, status, &error);
    log->records = status == MMREC_OK;
}

/* Standard error that cannot be written to is no reason to stop training. */
static void put_warning(train_log *log, const char *text) {
    char line[TRAIN_LINE], plain[TRAIN_LINE - 32];
    mmrec_error ignored;
    mmrec_progress_hide(&log->bar);
    mmrec_text_printable(text, strlen(text), plain, sizeof plain);
    int size = snprintf(line, sizeof line, "mmrec: warning: %s\n", plain);
    mmrec_status status = mmrec_io_write_fd(log->io, STDERR_FILENO, "standard error", line, (size_t)size, &ignored);
    (void)status;
}

/* ---- opening and closing ---- */

mmrec_status train_log_open(train_log *log, mmrec_allocator *allocator, mmrec_io *io, const mmrec_train_setup *setup,
                            mmrec_error *error) {
    bool on_standard = setup->log_path && strcmp(setup->log_path, "-") == 0;
    *log = (train_log){.allocator = allocator, .io = io, .setup = setup, .people = !on_standard, .file = -1};
    mmrec_buffer_begin(&log->record, allocator);
    mmrec_buffer_begin(&log->early, allocator);
    (void)mmrec_progress_begin(&log->bar, io, setup->quiet);
    log->terminal = isatty(STDOUT_FILENO);
    MMREC_TRY(mmrec_io_check_writable(io, "-", error));
    if (on_standard) log->file = STDOUT_FILENO;
    log->records = setup->log_path != NULL;
    if (on_standard || !setup->log_path) return MMREC_OK;
    return mmrec_io_log_open(io, setup->log_path, mark, &log->file, error);
}

void train_log_close(train_log *log) {
    mmrec_error error;
    mmrec_progress_end(&log->bar);
    mmrec_buffer_free(&log->record);
    mmrec_buffer_free(&log->early);
    if (log->file > STDOUT_FILENO)
        keep_failure(log, mmrec_io_log_close(log->io, log->file, log->setup->log_path, &error), &error);
    log->file = -1;
}

/* ---- what is told ---- */

static void put_head(train_log *log, const train_log_head *head) {
    mmrec_buffer text;
    mmrec_error error;
    mmrec_buffer_begin(&text, log->allocator);
    train_people_head(head, &text);
    mmrec_status status = mmrec_buffer_status(&text, &error);
    keep_failure(log, status, &error);
    if (status == MMREC_OK) put_text(log, text.data, text.size);
    mmrec_buffer_free(&text);
}

/* An event as it waits for the head, before which no record may stand. */
typedef struct event_told {
    train_event event;
    int64_t step;
    char text[TRAIN_LINE / 2];
} event_told;

static bool is_warning(train_event event) {
    return event == TRAIN_EVENT_CHECKPOINT_SKIPPED || event == TRAIN_EVENT_SAVE_FAILED || event == TRAIN_EVENT_WARNING;
}

static void put_event(train_log *log, const event_told *told) {
    char line[TRAIN_LINE];
    if (log->people && !is_warning(told->event)) put_line(log, line, train_people_event(told->event, told->text, line));
    if (log->records) put_record(log, train_record_event(log, told->event, told->step, told->text));
}

static void put_early(train_log *log) {
    event_told told;
    mmrec_error error;
    for (size_t at = 0; at + sizeof told <= log->early.size; at += sizeof told) {
        memcpy(&told, log->early.data + at, sizeof told);
        put_event(log, &told);
    }
    keep_failure(log, mmrec_buffer_status(&log->early, &error), &error);
}

void train_log_event(train_log *log, train_event event, int64_t step, const char *format, ...) {
    char text[TRAIN_LINE / 2];
    event_told told = {.event = event, .step = step};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    mmrec_text_printable(text, strlen(text), told.text, sizeof told.text);
    if (is_warning(event)) put_warning(log, told.text);
    if (log->data)
        put_event(log, &told);
    else
        mmrec_buffer_bytes(&log->early, &told, sizeof told);
}

void train_log_start(train_log *log, const train_log_head *head) {
    mmrec_error error;
    log->setup = head->setup;
    log->data = head->data;
    if (log->people) put_head(log, head);
    if (log->file > STDOUT_FILENO) {
        mmrec_status status = mmrec_io_log_begin(log->io, log->file, log->setup->log_path, log->setup->resume, &error);
        keep_failure(log, status, &error);
        log->records = status == MMREC_OK;
    }
    if (log->records) put_record(log, train_record_run(log, head));
    put_early(log);
}

/* A line of the table; on a terminal its header comes again where the one before has scrolled away. */
static void put_row(train_log *log, char line[TRAIN_LINE], int size) {
    char header[TRAIN_LINE];
    if (log->rows == 0 || (log->terminal && log->rows % TRAIN_HEADER_EVERY == 0))
        put_line(log, header, train_people_header(log, header));
    log->rows++;
    put_line(log, line, size);
}

static void tell_guard(train_log *log, const mmrec_train_record *r) {
    if (r->spike) {
        train_log_event(log, TRAIN_EVENT_SPIKE, r->step, "step %lld: the loss %.4f is %.1f deviations above its median",
                        (long long)r->step, r->loss, r->spike_score);
    }
    if (r->skipped) {
        train_log_event(log, TRAIN_EVENT_SKIPPED, r->step,
                        "step %lld: a %s is not finite, first in %s; the weights stay as they were", (long long)r->step,
                        isfinite(r->loss) ? "gradient" : "loss",
                        r->culprit[0] ? r->culprit : "an op that is not known");
    }
}

void train_log_of_step(train_log *log, const train_log_step *step) {
    const mmrec_train_record *r = step->record;
    char line[TRAIN_LINE];
    log->tokens += r->tokens;
    log->ns += r->ns;
    if (log->records) put_record(log, train_record_step(log, step));
    if (r->step % log->setup->log_every == 0) {
        if (log->people) put_row(log, line, train_people_step(log, step, line));
        log->tokens = 0;
        log->ns = 0;
    }
    tell_guard(log, r);
}

void train_log_validation(train_log *log, int64_t step, const mmrec_evaluation *e, uint64_t ns) {
    char line[TRAIN_LINE];
    if (log->people) put_row(log, line, train_people_validation(log, e, ns, line));
    if (log->records) put_record(log, train_record_validation(log, step, e, ns));
}

void train_log_gradients(train_log *log, int64_t step, double norm, const mmrec_gradient_stat *stats, int count) {
    char line[TRAIN_LINE];
    if (log->records) put_record(log, train_record_gradients(log, step, norm, stats, count));
    if (!log->people) return;
    put_line(log, line, train_people_gradients(norm, stats, count, line));
    for (int i = 0; i < MMREC_GRADIENT_STATES; i++) {
        mmrec_gradient_state state = (mmrec_gradient_state)i;
        int size = state == MMREC_GRADIENT_FLOWS ? 0 : train_people_named(state, stats, count, line);
        if (size > 0) put_line(log, line, size);
    }
}

void train_log_sample(train_log *log, int64_t step, const char *prompt, const char *text) {
    char line[TRAIN_LINE];
    if (log->records) put_record(log, train_record_sample(log, step, prompt, text));
    if (!log->people) return;
    put_line(log, line,
             snprintf(line, sizeof line, "\nsample at temperature %g, the first %zu %s are the prompt:",
                      log->setup->temperature, strlen(prompt), log->setup->data.path ? "bytes" : "symbols"));
    put_text(log, prompt, strlen(prompt));
    put_text(log, text, strlen(text));
    put_text(log, "\n\n", 2);
}

void train_log_end(train_log *log, const train_log_tail *tail) {
    char line[TRAIN_LINE];
    if (log->people) put_line(log, line, train_people_tail(tail, log->setup, line));
    if (log->records) put_record(log, train_record_end(log, tail));
}

void train_log_progress(train_log *log, double done, double left_s, const mmrec_train_record *record) {
    char text[128];
    snprintf(text, sizeof text, "step %lld/%lld, loss %.4f", (long long)record->step, (long long)log->setup->steps,
             record->loss_main);
    mmrec_progress_show(&log->bar, done, left_s, text);
}
