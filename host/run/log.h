/* What a training tells of itself: lines for people on standard output, records for machines (docs/train.schema.json),
 * and a bar with the time left on standard error.
 *
 * The first failure of an output is kept, and nothing more is written to that one: who tells something never checks,
 * the loop asks for `status`. A line or record is one write, so a killed run loses at most the last one; with `--log -`
 * records go to standard output and there are no lines. Lines allocate nothing; records take and give back what jansson
 * needs. */
#ifndef MMREC_RUN_LOG_H
#define MMREC_RUN_LOG_H

#include "mmrec/report.h"
#include "mmrec/run.h"
#include "report/buffer.h"

enum { TRAIN_LINE = 1024, TRAIN_HEADER_EVERY = 40 };

typedef struct train_log {
    mmrec_allocator *allocator;
    mmrec_io *io;
    const mmrec_train_setup *setup;
    const mmrec_data_info *data; /* set by start, NULL before */
    mmrec_progress_bar bar;
    bool people, terminal;      /* lines are written; standard output is a terminal, which the bar may stand on too */
    int rows;                   /* of steps and validations since the header was printed */
    int file;                   /* of the records, -1: none; 1 with `--log -` */
    bool records;               /* they are written: there is a file, and it has not failed */
    mmrec_buffer record, early; /* early: events told before start, which come behind the head */
    int64_t tokens;             /* of the steps since the last line of one */
    uint64_t ns;
    mmrec_status status; /* of the first output that failed */
    mmrec_error error;
} train_log;

/* What is known when a run begins. */
typedef struct train_log_head {
    const mmrec_train_setup *setup; /* fitted to the data */
    const mmrec_data_info *data;
    int64_t parameters; /* trained values */
    size_t planned[MMREC_ARENAS];
    bool resumed;
    mmrec_train_totals made; /* before this run */
} train_log_head;

/* A finished step, and what mmrec has allocated behind it: of the host, of the device 0 where there is none. */
typedef struct train_log_step {
    const mmrec_train_record *record;
    size_t host_bytes, device_bytes;
} train_log_step;

typedef enum train_event {
    TRAIN_EVENT_RESUMED,
    TRAIN_EVENT_NOTE,
    TRAIN_EVENT_CHECKPOINT_SKIPPED,
    TRAIN_EVENT_SPIKE,
    TRAIN_EVENT_SKIPPED,
    TRAIN_EVENT_SAVED,
    TRAIN_EVENT_SAVE_FAILED,
    TRAIN_EVENT_WARNING,
    TRAIN_EVENT_STOPPED,
    TRAIN_EVENTS
} train_event;

typedef enum train_stop {
    TRAIN_GOES_ON,
    TRAIN_DONE,        /* all steps were made */
    TRAIN_TIME_IS_UP,  /* --max-time */
    TRAIN_STOP_AFTER,  /* --stop-after */
    TRAIN_INTERRUPTED, /* by a signal */
    TRAIN_FAILED,      /* a step failed, or an output */
    TRAIN_STOPS
} train_stop;
const char *train_stop_name(train_stop stop); /* "finished", "max-time", "stop-after", "interrupted", "failed" */

/* What is known when it ends. */
typedef struct train_log_tail {
    train_stop stop;
    int exit_code;
    const char *failure; /* one line, NULL: none */
    mmrec_train_totals totals;
    int64_t steps, tokens; /* of this run */
    double wall_s;
    int64_t waits; /* for data */
    uint64_t wait_ns;
    int64_t saved; /* step of the newest checkpoint of this run, -1: none */
    size_t host_peak_bytes;
} train_log_tail;

/* Opens the file of the records without changing it. Close is for a log that open was called for, whatever it returned.
 */
mmrec_status train_log_open(train_log *log, mmrec_allocator *allocator, mmrec_io *io, const mmrec_train_setup *setup,
                            mmrec_error *error) MMREC_MUST_CHECK;
/* Afterwards `status` is final. */
void train_log_close(train_log *log);

void train_log_start(train_log *log, const train_log_head *head);
/* Every step is recorded; every --log-every-th has a line, with the tokens/s since the one before. */
void train_log_of_step(train_log *log, const train_log_step *step);
void train_log_validation(train_log *log, int64_t step, const mmrec_evaluation *evaluation, uint64_t ns);
void train_log_gradients(train_log *log, int64_t step, double norm, const mmrec_gradient_stat *stats, int count);
/* Told to both; what was skipped or failed goes to standard error instead of the lines, as a warning. */
void train_log_event(train_log *log, train_event event, int64_t step, const char *format, ...) MMREC_PRINTF(4, 5);
/* `text`: printable. */
void train_log_sample(train_log *log, int64_t step, const char *prompt, const char *text);
void train_log_end(train_log *log, const train_log_tail *tail);

/* The bar, its text being the step and its loss. */
void train_log_progress(train_log *log, double done, double left_s, const mmrec_train_record *record);

/* log_people.c: texts for people, into `line`; the end of the line is not among them. Their length is returned. */
int train_people_header(const train_log *log, char line[TRAIN_LINE]);
int train_people_step(const train_log *log, const train_log_step *step, char line[TRAIN_LINE]);
int train_people_validation(const train_log *log, const mmrec_evaluation *evaluation, uint64_t ns,
                            char line[TRAIN_LINE]);
/* Norms and counts; then the names of dead parameters, and of those with values that are not finite: "" without any. */
int train_people_gradients(double norm, const mmrec_gradient_stat *stats, int count, char line[TRAIN_LINE]);
int train_people_named(mmrec_gradient_state state, const mmrec_gradient_stat *stats, int count, char line[TRAIN_LINE]);
int train_people_event(train_event event, const char *text, char line[TRAIN_LINE]);
/* Several lines each. */
void train_people_head(const train_log_head *head, mmrec_buffer *out);
int train_people_tail(const train_log_tail *tail, const mmrec_train_setup *setup, char line[TRAIN_LINE]);

/* log_record.c: each writes one record into log->record; false: no memory. */
bool train_record_run(train_log *log, const train_log_head *head);
bool train_record_step(train_log *log, const train_log_step *step);
bool train_record_validation(train_log *log, int64_t step, const mmrec_evaluation *evaluation, uint64_t ns);
bool train_record_gradients(train_log *log, int64_t step, double norm, const mmrec_gradient_stat *stats, int count);
bool train_record_event(train_log *log, train_event event, int64_t step, const char *text);
bool train_record_sample(train_log *log, int64_t step, const char *prompt, const char *text);
bool train_record_end(train_log *log, const train_log_tail *tail);

#endif
