/* Fuzz target: the options of every program, from a command line and a config file, and printed as one.
 *
 * An input is text: words of the command line, one per line, then a line "%%", then the config file. */
#include <string.h>

#include "core/options_impl.h"
#include "fuzz.h"
#include "mmrec/options.h"

enum { MOST_WORDS = 64, WORD_ROOM = 4200, PRINT_ROOM = 1 << 20 };

static void check_message(const mmrec_error *error) {
    FUZZ_CHECK(error->message[0] != '\0');
    for (const char *text = error->message; *text; text++) {
        FUZZ_CHECK((unsigned char)*text >= 0x20 && *text != 0x7f);
    }
}

/* Splits the first part of the text into words; returns what follows the line "%%". */
static char *split_words(char *text, char *end, char **words, int *count) {
    while (text < end) {
        char *line = text, *newline = memchr(text, '\n', (size_t)(end - text));
        if (!newline) newline = end;
        *newline = '\0';
        text = newline < end ? newline + 1 : end;
        if (strcmp(line, "%%") == 0) break;
        if (*count < MOST_WORDS) words[(*count)++] = line;
    }
    return text;
}

/* What is accepted is within the ranges of the table. */
static void check_values(const mmrec_options *options) {
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        const mmrec_option_def *def = mmrec_option_get((mmrec_option_id)i);
        const mmrec_option_value *value = &options->value[i];
        FUZZ_CHECK(value->count >= 0 && value->count <= MMREC_OPTION_REPEATS);
        for (int t = 0; t < value->count; t++) FUZZ_CHECK(value->text[t] != NULL);
        bool taken = mmrec_option_taken(options->program, (mmrec_option_id)i);
        FUZZ_CHECK(taken || value->count == 0);
        if (value->count == 0) {
            FUZZ_CHECK(def->standard[0] == '\0' || !taken);
            continue;
        }
        double number = def->kind == MMREC_KIND_PERCENT ? 100 * value->real : value->real;
        if (def->kind == MMREC_KIND_COUNT) number = (double)value->whole;
        if (def->kind == MMREC_KIND_SIZE) number = (double)value->bits;
        if (def->high > def->low) FUZZ_CHECK(number >= def->low && number <= def->high);
    }
}

static void check_same(const mmrec_option_value *a, const mmrec_option_value *b) {
    FUZZ_CHECK(a->count == b->count && a->whole == b->whole && a->bits == b->bits);
    FUZZ_CHECK(!(a->real < b->real) && !(a->real > b->real));
}

/* Everything that was accepted, written as flags, is accepted again and means the same. */
static void check_round_trip(const mmrec_options *options) {
    static char text[MMREC_OPTIONS * MMREC_OPTION_REPEATS][WORD_ROOM];
    char *words[MMREC_OPTIONS * MMREC_OPTION_REPEATS + 1] = {"fuzz"};
    int count = 1;
    mmrec_allocator allocator = {0};
    mmrec_io io = {0};
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        const mmrec_option_def *def = mmrec_option_get((mmrec_option_id)i);
        for (int t = 0; t < options->value[i].count; t++) {
            if (def->kind == MMREC_KIND_FLAG && !options->value[i].whole) continue;
            int size = snprintf(text[count], WORD_ROOM, "--%s=%s", def->flag, options->value[i].text[t]);
            FUZZ_CHECK(size > 0 && size < WORD_ROOM);
            if (def->kind == MMREC_KIND_FLAG) text[count][2 + strlen(def->flag)] = '\0';
            words[count] = text[count];
            count++;
        }
    }
    mmrec_options again;
    FUZZ_CHECK(mmrec_options_parse(&allocator, &io, options->program, count, words, NULL, &again, NULL) == MMREC_OK);
    for (int i = 0; i < MMREC_OPTIONS; i++) check_same(&options->value[i], &again.value[i]);
    mmrec_options_free(&again);
    FUZZ_CHECK(allocator.total.live_bytes == 0);
}

typedef struct printed {
    char text[PRINT_ROOM];
    size_t size;
} printed;

static void collect(void *context, const char *text, size_t size) {
    printed *p = context;
    FUZZ_CHECK(p->size + size < sizeof p->text);
    memcpy(p->text + p->size, text, size);
    p->size += size;
    p->text[p->size] = '\0';
}

/* Whether printing can give the value again: what only the command line takes it cannot, nor what an axis sweeps, and
 * of
 * --size it gives the numbers. */
static bool printable(const mmrec_options *options, mmrec_option_id id) {
    int64_t size = 0;
    bool swept = options->value[MMREC_OPTION_axis].count > 0 && mmrec_option_get(id)->group == MMREC_GROUP_MODEL;
    bool of_size = options->value[id].count == 0 && mmrec_option_size(options, id, &size);
    return !swept && !of_size && !mmrec_option_for_line(id);
}

/* The printed configuration is accepted and means the same, unless it says that a line was too long for a value. */
static void check_print(const mmrec_options *options) {
    static printed text;
    char *words[2] = {"fuzz"};
    mmrec_allocator allocator = {0};
    mmrec_io io = {0};
    mmrec_options again;
    text.size = 0;
    mmrec_options_print(options, (mmrec_option_writer){collect, &text});
    FUZZ_CHECK(mmrec_options_parse(&allocator, &io, options->program, 1, words, NULL, &again, NULL) == MMREC_OK);
    FUZZ_CHECK(mmrec_options_parse_config(&again, "printed.ini", text.text, text.size, NULL) == MMREC_OK);
    bool lost = strstr(text.text, "is longer than a line may be") != NULL;
    for (int i = 0; i < MMREC_OPTIONS && !lost; i++) {
        if (printable(options, (mmrec_option_id)i)) check_same(&options->value[i], &again.value[i]);
    }
    mmrec_options_free(&again);
    FUZZ_CHECK(allocator.total.live_bytes == 0);
}

static void one_program(mmrec_program program, const uint8_t *data, size_t size) {
    char *text = malloc(size + 1), *words[MOST_WORDS + 1] = {"fuzz"};
    if (!text) return;
    memcpy(text, data, size);
    int count = 1;
    char *config = split_words(text, text + size, words, &count);
    mmrec_allocator allocator = {0};
    mmrec_io io = {.fail_at = 1, .fail_after = true}; /* --config and any path: no file is touched */
    mmrec_error error = {0};
    mmrec_options options;
    mmrec_status status = mmrec_options_parse(&allocator, &io, program, count, words, NULL, &options, &error);
    FUZZ_CHECK(status == MMREC_OK || status == MMREC_USAGE || status == MMREC_IO);
    if (status == MMREC_OK) {
        size_t config_size = (size_t)(text + size - config);
        status = mmrec_options_parse_config(&options, "fuzz.ini", config, config_size, &error);
        FUZZ_CHECK(status == MMREC_OK || status == MMREC_CONFIG);
    }
    if (status == MMREC_OK) {
        check_values(&options);
        check_round_trip(&options);
        check_print(&options);
    } else if (status != MMREC_IO) { /* those quote the path as it is: the apps clean what they print */
        check_message(&error);
    }
    mmrec_options_free(&options);
    FUZZ_CHECK(allocator.total.live_bytes == 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int p = 0; p < MMREC_PROGRAMS; p++) one_program((mmrec_program)p, data, size);
    return 0;
}
