/* What the main programs have in common: signals, faults on request, options, the questions that are answered instead
 * of running (--help, --version, --print-config), and the one line about a failure. */
#ifndef MMREC_RUN_PROGRAM_H
#define MMREC_RUN_PROGRAM_H

#include "mmrec/io.h"
#include "mmrec/options.h"

typedef struct mmrec_process {
    mmrec_program program;
    mmrec_allocator allocator;
    mmrec_io io;
    mmrec_io save_io; /* of the thread that writes checkpoints */
    mmrec_options options;
    mmrec_error error;
} mmrec_process;

/* Fills a zeroed `process`. `*answered`: a question was, and there is nothing to run. To be followed by
 * mmrec_process_end in any case. */
mmrec_status mmrec_process_start(mmrec_process *process, mmrec_program program, int argc, char **argv,
                                 bool *answered) MMREC_MUST_CHECK;
/* Gives everything back and tells why `status` is not OK. Returns the exit status, `code` where it is OK. */
int mmrec_process_end(mmrec_process *process, mmrec_status status, int code);

/* SIGINT or SIGTERM when one came, else 0. It asks what runs to end (mmrec_measure_interrupt); the same one again meets
 * its default action. */
int mmrec_process_signal(void);

/* Writes "program: text" as one line to standard error, whatever the text quotes. Failing to is no failure. */
void mmrec_process_complain(const mmrec_process *process, const char *text);

#endif
