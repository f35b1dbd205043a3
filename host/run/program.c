#include "run/program.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/text.h"
#include "mmrec/fault.h"
#include "mmrec/measure.h"
#include "mmrec/report.h"

extern char **environ;

static volatile sig_atomic_t signal_seen;

static void on_signal(int number) {
    signal_seen = number;
    mmrec_measure_interrupt();
}

int mmrec_process_signal(void) { return signal_seen; }

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

mmrec_status mmrec_process_start(mmrec_process *p, mmrec_program program, int argc, char **argv, bool *answered) {
    p->program = program;
    *answered = true;
    catch_signals();
    mmrec_io *save_io = program == MMREC_PROGRAM_TRAIN ? &p->save_io : NULL;
    MMREC_TRY(mmrec_fault_arm(getenv("MMREC_FAULT"), &p->allocator, &p->io, save_io, &p->error));
    MMREC_TRY(mmrec_options_parse(&p->allocator, &p->io, program, argc, argv, environ, &p->options, &p->error));
    const mmrec_options *o = &p->options;
    if (mmrec_option_on(o, MMREC_OPTION_help)) return mmrec_report_help(&p->allocator, &p->io, program, &p->error);
    if (mmrec_option_on(o, MMREC_OPTION_version)) {
        return mmrec_report_version(&p->allocator, &p->io, program, &p->error);
    }
    if (mmrec_option_on(o, MMREC_OPTION_print_config)) {
        return mmrec_report_config(&p->allocator, &p->io, o, &p->error);
    }
    *answered = false;
    return MMREC_OK;
}

void mmrec_process_complain(const mmrec_process *p, const char *text) {
    char clean[2 * MMREC_ERROR_MESSAGE], line[2 * MMREC_ERROR_MESSAGE + 32];
    mmrec_io io = {0}; /* not the program's own: a fault in that must not keep its message back */
    mmrec_text_printable(text, strlen(text), clean, sizeof clean);
    int length = snprintf(line, sizeof line, "%s: %s\n", mmrec_program_name(p->program), clean);
    if (length > 0) (void)!mmrec_io_write_fd(&io, STDERR_FILENO, "standard error", line, (size_t)length, NULL);
}

int mmrec_process_end(mmrec_process *p, mmrec_status status, int code) {
    mmrec_options_free(&p->options);
    mmrec_backend_close();
    if (status == MMREC_OK) return code;
    char text[2 * MMREC_ERROR_MESSAGE];
    mmrec_process_complain(p, mmrec_error_text(&p->error, text, sizeof text));
    return mmrec_status_exit(status);
}
