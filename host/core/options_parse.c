/* Options from the command line and the environment, and the order of the sources. */
#include "core/options_impl.h"
#include "core/text.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* A config file is a page of text; more than this is some other file. */
enum { CONFIG_LIMIT = 1 << 20 };

/* What getopt_long returns for an option: beyond the characters that it reports faults by. */
enum { FIRST_OPTION = 256 };

static void long_options(mmrec_program program, struct option list[MMREC_OPTIONS + 1]) {
    int count = 0;
    memset(list, 0, (MMREC_OPTIONS + 1) * sizeof *list);
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        const mmrec_option_def *def = mmrec_option_get((mmrec_option_id)i);
        if (!mmrec_option_taken(program, (mmrec_option_id)i)) continue;
        int argument = def->kind == MMREC_KIND_FLAG ? no_argument : required_argument;
        list[count++] = (struct option){def->flag, argument, NULL, FIRST_OPTION + i};
    }
}

/* Refuses what getopt_long would let pass: words that are no flags, abbreviations (they break on the day a longer flag
 * is added), and flags it reports only by number. Returns the flag's id in `id`. */
static mmrec_status check_word(const char *word, mmrec_program program, mmrec_option_id *id, mmrec_error *error) {
    char name[32], quote[MMREC_OPTION_QUOTE], hint[96], otherwise[64];
    if (strncmp(word, "--", 2) != 0 || word[2] == '\0') {
        MMREC_FAIL(error, MMREC_USAGE, "unexpected argument '%s'; options are words that begin with --",
                   mmrec_option_quote(word, quote));
    }
    size_t length = strcspn(word + 2, "=");
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), word + 2);
    *id = mmrec_option_find(program, name);
    if (*id != MMREC_OPTIONS) return MMREC_OK;
    const char *elsewhere = mmrec_option_elsewhere(program, name);
    snprintf(otherwise, sizeof otherwise, "; see %s --help", mmrec_program_name(program));
    if (elsewhere) MMREC_FAIL(error, MMREC_USAGE, "--%s is an option of %s%s", name, elsewhere, otherwise);
    mmrec_option_suggest(program, name, "--", otherwise, hint, sizeof hint);
    MMREC_FAIL(error, MMREC_USAGE, "unknown option --%s%s", mmrec_text_printable(word + 2, length, quote, sizeof quote),
               hint);
}

static mmrec_status take_flag(mmrec_options *options, mmrec_option_id id, int got, bool apart, mmrec_error *error) {
    const mmrec_option_def *def = mmrec_option_get(id);
    char where[40];
    snprintf(where, sizeof where, "--%s", def->flag);
    if (got == '?') MMREC_FAIL(error, MMREC_USAGE, "%s takes no value", where);
    if (got == ':') MMREC_FAIL(error, MMREC_USAGE, "%s needs a value: %s", where, def->metavar);
    const char *text = def->kind == MMREC_KIND_FLAG ? "on" : optarg;
    if (apart && strncmp(text, "--", 2) == 0) {
        char quote[MMREC_OPTION_QUOTE];
        MMREC_FAIL(error, MMREC_USAGE, "%s needs a value: %s; '%s' is an option", where, def->metavar,
                   mmrec_option_quote(text, quote));
    }
    return mmrec_option_set(options, id, MMREC_SOURCE_FLAG, 0, where, text, error);
}

static mmrec_status parse_flags(mmrec_options *options, int argc, char **argv, mmrec_error *error) {
    struct option list[MMREC_OPTIONS + 1];
    long_options(options->program, list);
    optind = 0; /* glibc: start afresh, as tests and fuzzers parse more than once */
    opterr = 0;
    for (int next = 1; next < argc; next = optind) {
        mmrec_option_id id;
        MMREC_TRY(check_word(argv[next], options->program, &id, error));
        int got =
            getopt_long(argc, argv, "+:", list, NULL); /* '+': in the order given; ':': tell missing values apart */
        bool apart =
            got == FIRST_OPTION + (int)id && mmrec_option_get(id)->kind != MMREC_KIND_FLAG && !strchr(argv[next], '=');
        MMREC_TRY(take_flag(options, id, got, apart, error));
    }
    return MMREC_OK;
}

/* The value of a variable in a list like environ, or NULL. */
static const char *variable(char *const *environment, const char *name) {
    size_t length = strlen(name);
    for (; environment && *environment; environment++) {
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') return *environment + length + 1;
    }
    return NULL;
}

/* An empty variable counts as not set, as is the custom. */
static mmrec_status parse_environment(mmrec_options *options, char *const *environment, mmrec_error *error) {
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        if (!mmrec_option_taken(options->program, (mmrec_option_id)i)) continue;
        if (i != MMREC_OPTION_config && mmrec_option_for_line((mmrec_option_id)i)) continue;
        char name[MMREC_OPTION_ENV];
        const char *text = variable(environment, mmrec_option_env((mmrec_option_id)i, name));
        if (!text || !*text) continue;
        MMREC_TRY(mmrec_option_set(options, (mmrec_option_id)i, MMREC_SOURCE_ENVIRONMENT, 0, name, text, error));
    }
    return MMREC_OK;
}

static mmrec_status parse_defaults(mmrec_options *options, mmrec_error *error) {
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        const mmrec_option_def *def = mmrec_option_get((mmrec_option_id)i);
        if (def->standard[0] == '\0' || !mmrec_option_taken(options->program, (mmrec_option_id)i)) continue;
        MMREC_TRY(
            mmrec_option_set(options, (mmrec_option_id)i, MMREC_SOURCE_DEFAULT, 0, def->flag, def->standard, error));
    }
    return MMREC_OK;
}

static mmrec_status parse_file(mmrec_options *options, mmrec_io *io, mmrec_error *error) {
    const char *path = mmrec_option_text(options, MMREC_OPTION_config);
    void *data = NULL;
    size_t size = 0;
    if (!path) return MMREC_OK;
    MMREC_TRY(mmrec_io_read_file(io, options->allocator, path, CONFIG_LIMIT, &data, &size, error));
    mmrec_status status = mmrec_options_parse_config(options, path, data, size, error);
    mmrec_alloc(options->allocator, data, size, 0, MMREC_ALLOC_FILE);
    return status;
}

mmrec_status mmrec_options_parse(mmrec_allocator *allocator, mmrec_io *io, mmrec_program program, int argc, char **argv,
                                 char *const *environment, mmrec_options *out, mmrec_error *error) {
    memset(out, 0, sizeof *out);
    out->program = program;
    out->allocator = allocator;
    MMREC_TRY(parse_flags(out, argc, argv, error));
    MMREC_TRY(parse_environment(out, environment, error));
    MMREC_TRY(parse_file(out, io, error));
    return parse_defaults(out, error);
}
