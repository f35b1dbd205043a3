/* mmrec-bench: times the MM-Rec block and model with HEM on and off, single ops, or plans memory.
 *
 * options -> setup (the cases) -> run, ops or plan -> report. Nothing is computed here; see docs/bench.md. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "mmrec/fault.h"
#include "mmrec/report.h"

extern char **environ;

typedef struct program {
    mmrec_allocator allocator;
    mmrec_io io;
    mmrec_options options;
    mmrec_bench_setup setup;
    mmrec_report report;
    mmrec_progress_bar bar;
    mmrec_error error;
} program;

static volatile sig_atomic_t signal_seen;

/* The first signal ends the run after the sample under way; a second one meets the default action. */
static void on_signal(int number) {
    signal_seen = number;
    mmrec_measure_interrupt();
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    /* A reader that went away is an error of the write and must not lose the other outputs. */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGPIPE, &ignore, NULL);
}

/* One line, whatever names of files the text quotes. */
static int complain(const char *text, int code) {
    char line[2 * MMREC_ERROR_MESSAGE];
    fprintf(stderr, "mmrec-bench: %s\n", mmrec_text_printable(text, strlen(text), line, sizeof line));
    return code;
}

static mmrec_status measure(program *p) {
    mmrec_bench_observer observer =
        mmrec_progress_begin(&p->bar, &p->io, mmrec_option_on(&p->options, MMREC_OPTION_quiet));
    mmrec_status status = p->setup.op_count > 0 ? mmrec_report_run_ops(&p->allocator, observer, &p->report, &p->error)
                                                : mmrec_report_run(&p->allocator, observer, &p->report, &p->error);
    mmrec_progress_end(&p->bar);
    return status;
}

/* The report of what was asked for; standard output and every file are checked before anything is measured. */
static mmrec_status make_report(program *p) {
    MMREC_TRY(mmrec_report_check_outputs(&p->io, &p->options, &p->error));
    if (mmrec_option_on(&p->options, MMREC_OPTION_plan)) {
        MMREC_TRY(mmrec_report_plan(&p->allocator, &p->report, &p->error));
    } else {
        MMREC_TRY(measure(p));
    }
    p->report.interrupt_exit = signal_seen == SIGTERM ? 128 + SIGTERM : 0;
    return mmrec_report_write(&p->allocator, &p->io, &p->report, &p->error);
}

static mmrec_status report(program *p, int *code) {
    char failures[MMREC_ERROR_MESSAGE + 64];
    p->report = (mmrec_report){.options = &p->options, .setup = &p->setup};
    mmrec_status status = make_report(p);
    *code = mmrec_report_exit(&p->report, failures, sizeof failures);
    if (status == MMREC_OK && *code != 0) complain(failures, *code);
    mmrec_report_free(&p->allocator, &p->report);
    return status;
}

static mmrec_status run(program *p, int *code) {
    MMREC_TRY(mmrec_bench_setup_create(&p->allocator, &p->io, &p->options, &p->setup, &p->error));
    bool list = p->setup.list_ops || mmrec_option_on(&p->options, MMREC_OPTION_list);
    mmrec_status status = list ? mmrec_report_list(&p->allocator, &p->io, &p->setup, &p->error) : report(p, code);
    mmrec_bench_setup_free(&p->allocator, &p->setup);
    return status;
}

static mmrec_status start(program *p, int argc, char **argv, int *code) {
    MMREC_TRY(mmrec_fault_arm(getenv("MMREC_FAULT"), &p->allocator, &p->io, &p->error));
    MMREC_TRY(mmrec_options_parse(&p->allocator, &p->io, "mmrec-bench", argc, argv, environ, &p->options, &p->error));
    if (mmrec_option_on(&p->options, MMREC_OPTION_help)) return mmrec_report_help(&p->allocator, &p->io, &p->error);
    if (mmrec_option_on(&p->options, MMREC_OPTION_version))
        return mmrec_report_version(&p->allocator, &p->io, &p->error);
    return run(p, code);
}

int main(int argc, char **argv) {
    static program p;
    int code = 0;
    catch_signals();
    mmrec_status status = start(&p, argc, argv, &code);
    mmrec_options_free(&p.options);
    mmrec_backend_close();
    if (status != MMREC_OK) {
        char text[2 * MMREC_ERROR_MESSAGE];
        return complain(mmrec_error_text(&p.error, text, sizeof text), mmrec_status_exit(status));
    }
    return code;
}
