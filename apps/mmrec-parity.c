/* mmrec-parity: compares what a backend computes with fixture files. The work is in host/measure/parity*.c. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mmrec/fault.h"
#include "mmrec/parity.h"
#include "mmrec/version.h"

static int report(const mmrec_error *error) {
    char text[2 * MMREC_ERROR_MESSAGE];
    fprintf(stderr, "mmrec-parity: %s\n", mmrec_error_text(error, text, sizeof text));
    return mmrec_status_exit(error->code);
}

/* Returns the exit code of one file. */
static int check_file(mmrec_allocator *allocator, mmrec_io *io, const char *path, const mmrec_parity_options *options) {
    mmrec_parity *parity = NULL;
    mmrec_error error = {0};
    mmrec_status status = mmrec_parity_run(allocator, io, path, options, &parity, &error);
    if (status != MMREC_OK) return report(&error);
    status = mmrec_parity_print(parity, io, STDOUT_FILENO, &error);
    int failures = mmrec_parity_failures(parity);
    mmrec_parity_destroy(&parity);
    return status == MMREC_OK ? failures > 0 : report(&error);
}

static int check_files(mmrec_allocator *allocator, mmrec_io *io, char **files,
                       const mmrec_parity_arguments *arguments) {
    int exit_code = 0;
    for (int i = 1; i <= arguments->files; i++) {
        int code = check_file(allocator, io, files[i], &arguments->options);
        if (code > exit_code) exit_code = code;
    }
    return exit_code;
}

static mmrec_status print_text(mmrec_io *io, mmrec_parity_action action, mmrec_error *error) {
    char text[64];
    snprintf(text, sizeof text, "mmrec-parity %s\n", mmrec_version());
    const char *shown = action == MMREC_PARITY_HELP ? mmrec_parity_help : text;
    return mmrec_io_write_fd(io, STDOUT_FILENO, "standard output", shown, strlen(shown), error);
}

int main(int argc, char **argv) {
    mmrec_allocator allocator = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_parity_arguments arguments;
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is a write error with a message */
    if (mmrec_fault_arm(getenv("MMREC_FAULT"), &allocator, &io, NULL, &error) != MMREC_OK) return report(&error);
    if (mmrec_parity_parse(argc, argv, &arguments, &error) != MMREC_OK) return report(&error);
    if (arguments.action != MMREC_PARITY_CHECK) {
        return print_text(&io, arguments.action, &error) == MMREC_OK ? 0 : report(&error);
    }
    if (mmrec_backend_set_threads(arguments.options.threads, &error) != MMREC_OK) return report(&error);
    int exit_code = check_files(&allocator, &io, argv, &arguments);
    mmrec_backend_close();
    return exit_code;
}
