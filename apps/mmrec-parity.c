/* mmrec-parity: compares what a backend computes with fixture files. The work is in host/measure/parity*.c. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/text.h"
#include "core/units.h"
#include "mmrec/fault.h"
#include "mmrec/options.h"
#include "mmrec/parity.h"
#include "mmrec/version.h"

static const char help[] = "Usage: mmrec-parity [OPTION]... FILE...\n"
                           "\n"
                           "Rebuilds the model of each fixture FILE from its configuration, runs it, and\n"
                           "compares every output and gradient with those in the file.\n"
                           "\n"
                           "  --backend ref|cpu    ref: plain double (default); cpu: float32 with threads\n"
                           "  --hem on|off         Fused projections (default: on)\n"
                           "  --recompute on|off   Compute blocks again for the backward half (default: off)\n"
                           "  --tolerance X        Largest relative error of every tensor (default: 1e-6 on\n"
                           "                       ref; on cpu 1e-5 for outputs and 1e-4 for gradients)\n"
                           "  --threads N          Threads, 1 to 1024 (default: the processors available)\n"
                           "  --version            Print the version\n"
                           "  --help               Print this text\n"
                           "\n"
                           "Exit status: 0 all within tolerance; 1 a tensor is not; 2 usage, file or memory.\n";

enum { BACKEND, HEM, RECOMPUTE, TOLERANCE, THREADS, VERSION, HELP, FLAGS };
static const char *const names[FLAGS] = {"backend", "hem", "recompute", "tolerance", "threads", "version", "help"};

static mmrec_status on_off(const char *flag, const char *text, bool *out, mmrec_error *error) {
    *out = strcmp(text, "on") == 0;
    if (*out || strcmp(text, "off") == 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE, "--%s must be on or off, not '%.60s'", flag, text);
}

static mmrec_status take(int flag, const char *text, mmrec_parity_options *options, mmrec_error *error) {
    int64_t threads = 0;
    switch (flag) {
    case BACKEND:
        return mmrec_backend_find(text, &options->backend, error);
    case HEM:
        return on_off(names[flag], text, &options->hem, error);
    case RECOMPUTE:
        return on_off(names[flag], text, &options->recompute, error);
    case TOLERANCE:
        if (mmrec_units_real(text, &options->tolerance) && options->tolerance > 0) return MMREC_OK;
        MMREC_FAIL(error, MMREC_USAGE, "--tolerance must be a number above 0, not '%.60s'", text);
    default:
        if (mmrec_units_whole(text, &threads) && threads >= 1 && threads <= 1024) {
            options->threads = (int)threads;
            return MMREC_OK;
        }
        MMREC_FAIL(error, MMREC_USAGE, "--threads must be a whole number from 1 to 1024, not '%.60s'", text);
    }
}

/* getopt_long accepts abbreviations, which break on the day a longer flag is added: only whole names pass. */
static mmrec_status check_name(const char *word, mmrec_error *error) {
    char name[64], shown[64];
    if (word[0] != '-' || word[1] == '\0' || strcmp(word, "--") == 0) return MMREC_OK;
    const char *start = word + (word[1] == '-' ? 2 : 1);
    size_t length = strcspn(start, "=");
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), start);
    for (int i = 0; i < FLAGS && word[1] == '-'; i++) {
        if (strcmp(names[i], name) == 0) return MMREC_OK;
    }
    const char *near = mmrec_nearest_name(name, names, FLAGS);
    mmrec_text_printable(word, strcspn(word, "="), shown, sizeof shown);
    if (near) MMREC_FAIL(error, MMREC_USAGE, "unknown option %s, did you mean --%s?", shown, near);
    MMREC_FAIL(error, MMREC_USAGE, "unknown option %s; see mmrec-parity --help", shown);
}

/* Fills `options`; `*action` becomes HELP or VERSION when one of them was asked for. Options and files may stand in any
 * order: the files are gathered at argv[1] .. argv[*files]. */
static mmrec_status parse(int argc, char **argv, mmrec_parity_options *options, int *action, int *files,
                          mmrec_error *error) {
    struct option list[FLAGS + 1];
    memset(list, 0, sizeof list);
    for (int i = 0; i < FLAGS; i++) {
        /* + 2: getopt_long says 1 for a word that is no option ("-" in its third argument). */
        list[i] = (struct option){names[i], i < VERSION ? required_argument : no_argument, NULL, i + 2};
    }
    opterr = 0;
    for (;;) {
        if (optind < argc) MMREC_TRY(check_name(argv[optind], error));
        int flag = getopt_long(argc, argv, "-:", list, NULL);
        if (flag == -1) break;
        if (flag == ':') MMREC_FAIL(error, MMREC_USAGE, "%s needs a value", argv[optind - 1]);
        if (flag == '?') MMREC_FAIL(error, MMREC_USAGE, "%.60s: this option takes no value", argv[optind - 1]);
        if (flag == 1)
            argv[++*files] = optarg;
        else if (flag - 2 >= VERSION)
            *action = flag - 2;
        else
            MMREC_TRY(take(flag - 2, optarg, options, error));
    }
    while (optind < argc) argv[++*files] = argv[optind++]; /* after "--" */
    if (*action == FLAGS && !*files) MMREC_FAIL(error, MMREC_USAGE, "no fixture file given; see mmrec-parity --help");
    return MMREC_OK;
}

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

static mmrec_status print_text(mmrec_io *io, int action, mmrec_error *error) {
    char text[64];
    snprintf(text, sizeof text, "mmrec-parity %s\n", mmrec_version());
    const char *shown = action == HELP ? help : text;
    return mmrec_io_write_fd(io, STDOUT_FILENO, "standard output", shown, strlen(shown), error);
}

int main(int argc, char **argv) {
    mmrec_allocator allocator = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_parity_options options = {.hem = true, .threads = mmrec_backend_processors()};
    int action = FLAGS, files = 0, exit_code = 0;
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is a write error with a message */
    if (mmrec_fault_arm(getenv("MMREC_FAULT"), &allocator, &io, &error) != MMREC_OK) return report(&error);
    if (mmrec_backend_find("ref", &options.backend, &error) != MMREC_OK) return report(&error);
    if (parse(argc, argv, &options, &action, &files, &error) != MMREC_OK) return report(&error);
    if (action != FLAGS) return print_text(&io, action, &error) == MMREC_OK ? 0 : report(&error);
    if (mmrec_backend_set_threads(options.threads, &error) != MMREC_OK) return report(&error);
    for (int i = 1; i <= files; i++) {
        int code = check_file(&allocator, &io, argv[i], &options);
        if (code > exit_code) exit_code = code;
    }
    return exit_code;
}
