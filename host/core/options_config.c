/* Options from a config file: lines of `flag = value`, read by inih. */
#include "core/options_impl.h"

#include <ini.h>
#include <stdio.h>
#include <string.h>

typedef struct config_reader {
    mmrec_options *options;
    const char *name, *text, *end;
    int line;
    bool failed;
    bool seen[MMREC_OPTIONS];
    mmrec_error *error;
} config_reader;

/* Stops the reading with a message about the current line. */
#define REFUSE(reader, ...)                                                                                            \
    do {                                                                                                               \
        (reader)->failed = true;                                                                                       \
        (void)mmrec_error_set((reader)->error, MMREC_CONFIG, __FILE__, __LINE__, __VA_ARGS__);                         \
    } while (0)

/* fgets for inih. Leading blanks are dropped, as inih takes an indented line for more of the value above it; a line
 * that its buffer cannot hold, or one with a zero byte, would be read as something else and is refused. */
static char *read_line(char *line, int room, void *stream) {
    config_reader *reader = stream;
    if (reader->failed || reader->text == reader->end) return NULL;
    reader->line++;
    size_t left = (size_t)(reader->end - reader->text);
    const char *newline = memchr(reader->text, '\n', left);
    size_t length = newline ? (size_t)(newline - reader->text) : left;
    const char *start = reader->text;
    reader->text += length + (newline != NULL);
    for (; length > 0 && (*start == ' ' || *start == '\t'); length--) start++;
    if (length + 2 > (size_t)room) {
        REFUSE(reader, "%s:%d: the line is longer than %d characters", reader->name, reader->line, room - 2);
        return NULL;
    }
    if (memchr(start, '\0', length)) {
        REFUSE(reader, "%s:%d: the line holds a zero byte", reader->name, reader->line);
        return NULL;
    }
    memcpy(line, start, length);
    memcpy(line + length, "\n", 2);
    return line;
}

/* Keeps a copy of a value for as long as the options live. */
static const char *keep(mmrec_options *options, const char *value) {
    size_t size = strlen(value) + 1;
    char *copy = options->file_text + options->file_used;
    memcpy(copy, value, size);
    options->file_used += size;
    return copy;
}

static int take_pair(void *context, const char *section, const char *name, const char *value) {
    config_reader *reader = context;
    char quote[MMREC_OPTION_QUOTE], hint[96], where[320];
    if (reader->failed) return 0;
    mmrec_option_id id = mmrec_option_find(name);
    if (*section) {
        REFUSE(reader, "%s:%d: sections are not used, remove [%s]", reader->name, reader->line,
               mmrec_option_quote(section, quote));
    } else if (id == MMREC_OPTIONS) {
        REFUSE(reader, "%s:%d: unknown option '%s'%s", reader->name, reader->line, mmrec_option_quote(name, quote),
               mmrec_option_suggest(name, "", "", hint, sizeof hint));
    } else if (id == MMREC_OPTION_config || id == MMREC_OPTION_help || id == MMREC_OPTION_version) {
        REFUSE(reader, "%s:%d: %s is for the command line only", reader->name, reader->line, name);
    } else {
        snprintf(where, sizeof where, "%s:%d: %s", reader->name, reader->line, name);
        mmrec_status status = mmrec_option_set(reader->options, id, MMREC_SOURCE_FILE, reader->line, where,
                                               keep(reader->options, value), reader->error);
        reader->failed = status != MMREC_OK;
        if (reader->failed && reader->error) reader->error->code = MMREC_CONFIG;
    }
    return !reader->failed;
}

mmrec_status mmrec_options_parse_config(mmrec_options *options, const char *name, const char *text, size_t size,
                                        mmrec_error *error) {
    if (size == 0) return MMREC_OK;
    /* A value is shorter than its line, so the file's size (and one end of string) holds all of them. */
    void *copy = NULL;
    MMREC_TRY(mmrec_alloc_zero(options->allocator, size + 1, 1, MMREC_ALLOC_FILE, &copy, error));
    options->file_text = copy;
    options->file_size = size + 1;
    options->file_used = 0;
    config_reader reader = {.options = options, .name = name, .text = text, .end = text + size, .error = error};
    int bad_line = ini_parse_stream(read_line, &reader, take_pair, &reader);
    if (reader.failed) return MMREC_CONFIG;
    if (bad_line != 0) MMREC_FAIL(error, MMREC_CONFIG, "%s:%d: not a line of the form flag = value", name, bad_line);
    return MMREC_OK;
}
