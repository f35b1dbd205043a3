/* mmrec-bench around the runner: from options to cases, from results to tables and files.
 *
 * The printers compute nothing that is measured: they format what bench.h holds, through one set of derived figures
 * (host/report/figures.h), so that all of them say the same. What each output holds: docs/bench.md. */
#ifndef MMREC_REPORT_H
#define MMREC_REPORT_H

#include "mmrec/bench.h"
#include "mmrec/io.h"
#include "mmrec/options.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MMREC_SETUP_OPS = 64, MMREC_SETUP_CASES = 1024 };

/* What the options ask for. `run.cases` are the points of the sweep, the first axis outermost. */
typedef struct mmrec_bench_setup {
    mmrec_bench_options run;
    mmrec_bench_case *cases;
    mmrec_op_id op[MMREC_SETUP_OPS];
    int op_count;
    bool list_ops;     /* --op list */
    const char *at;    /* sizes of the ops, NULL: their own */
    size_t budget_bytes;
} mmrec_bench_setup;

/* USAGE or CONFIG, naming option and value, when the options do not fit together; every case is checked here, so that a
 * bad one is refused before anything runs. `io` reads the data
 * file later. `options` must outlive the setup. */
mmrec_status mmrec_bench_setup_create(mmrec_allocator *allocator, mmrec_io *io, const mmrec_options *options,
                                      mmrec_bench_setup *out, mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_bench_setup_free(mmrec_allocator *allocator, mmrec_bench_setup *setup);

/* Everything a report shows. `bench` heads all of them (machine, ceilings, times); its cases, the ops or the plans are
 * there according to what was done. */
typedef struct mmrec_report {
    const mmrec_options *options;
    const mmrec_bench_setup *setup;
    mmrec_bench_result bench;
    bool has_ceilings;
    mmrec_op_result *ops;
    int op_count;
    mmrec_plan_report *plans;
    int plan_count;
    int interrupt_exit; /* exit status if interrupted; 0: that of SIGINT */
} mmrec_report;

/* Times the model: fills `bench`. */
mmrec_status mmrec_report_run(mmrec_allocator *allocator, mmrec_bench_observer observer, mmrec_report *report,
                              mmrec_error *error) MMREC_MUST_CHECK;
/* Times the ops of the setup: fills `ops` and the head of `bench`. An interrupt ends it after the op under way. */
mmrec_status mmrec_report_run_ops(mmrec_allocator *allocator, mmrec_bench_observer observer, mmrec_report *report,
                                  mmrec_error *error) MMREC_MUST_CHECK;
/* Plans every case, for each side of --hem. */
mmrec_status mmrec_report_plan(mmrec_allocator *allocator, mmrec_report *report, mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_report_free(mmrec_allocator *allocator, mmrec_report *report);

/* 0, 1 (a case or op failed or is wrong), 77 (one failed because the device was lost), or interrupt_exit. `text` gets one line about failures, "" without. */
int mmrec_report_exit(const mmrec_report *report, char *text, size_t size);

/* Refuses now what mmrec_report_write could not write later: unwritable files, two exports to standard output. */
mmrec_status mmrec_report_check_outputs(mmrec_io *io, const mmrec_options *options, mmrec_error *error) MMREC_MUST_CHECK;
/* Writes the exports, then the tables to standard output unless an export went there. Every output is tried; the first
 * failure is returned. */
mmrec_status mmrec_report_write(mmrec_allocator *allocator, mmrec_io *io, const mmrec_report *report,
                                mmrec_error *error) MMREC_MUST_CHECK;

/* Text for standard output: help and version of any program, the configuration (--print-config); of mmrec-bench the cases
 * (--list), the ops (--op list). */
mmrec_status mmrec_report_help(mmrec_allocator *allocator, mmrec_io *io, mmrec_program program,
                               mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_report_version(mmrec_allocator *allocator, mmrec_io *io, mmrec_program program,
                                  mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_report_config(mmrec_allocator *allocator, mmrec_io *io, const mmrec_options *options,
                                 mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_report_list(mmrec_allocator *allocator, mmrec_io *io, const mmrec_bench_setup *setup,
                               mmrec_error *error) MMREC_MUST_CHECK;

/* Progress on standard error: a bar on a terminal, redrawn at most ten times a second and only when the runner calls
 * (between samples); elsewhere a plain line per message; nothing when quiet. Failing to write it is no failure. */
typedef struct mmrec_progress_bar {
    mmrec_io *io;
    bool quiet, terminal;
    int columns;
    uint64_t drawn_ns;
    double done;
    char message[256];
} mmrec_progress_bar;
mmrec_bench_observer mmrec_progress_begin(mmrec_progress_bar *bar, mmrec_io *io, bool quiet);
/* For a run that says all the time how far it is: on a terminal, at most ten times a second, the bar with `text` and the
 * time left (seconds; negative or NaN: not known); elsewhere nothing. */
void mmrec_progress_show(mmrec_progress_bar *bar, double done, double left_s, const char *text);
/* Takes the bar off the terminal, so that a line can be written where it stands; what is shown next draws it again. */
void mmrec_progress_hide(mmrec_progress_bar *bar);
/* Clears the bar's line. */
void mmrec_progress_end(mmrec_progress_bar *bar);

#ifdef __cplusplus
}
#endif
#endif
