/* Options from a config file: lines of `flag = value`, read by inih. */
#include "core/options_impl.h"

#include <ctype.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

typedef struct config_reader {
    mmrec_options *options;
    const char *name, *text, *end;
    int line;
    bool failed;
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
static char *keep(mmrec_options *options, const char *value) {
    size_t size = strlen(value) + 1;
    char *copy = options->file_text + options->file_used;
    memcpy(copy, value, size);
    options->file_used += size;
    return copy;
}

/* The byte that the escape behind a backslash stands for, and past it; -1: it is none. */
static int escaped(const char **text) {
    static const char names[] = "\\\"nrt", bytes[] = "\\\"\n\r\t";
    const char *name = **text ? strchr(names, **text) : NULL;
    unsigned byte = 0;
    if (name) {
        (*text)++;
        return (unsigned char)bytes[name - names];
    }
    bool hex = **text == 'x' && isxdigit((unsigned char)(*text)[1]) && isxdigit((unsigned char)(*text)[2]);
    if (!hex || sscanf(*text + 1, "%2x", &byte) != 1 || byte == 0) return -1;
    *text += 3;
    return (int)byte;
}

/* Takes a value out of its quotes, in place; one that does not begin with a quote stays. NULL, or what is wrong. */
static const char *unquote(char *value) {
    char *to = value;
    if (*value != '"') return NULL;
    for (const char *from = value + 1; *from;) {
        int c = (unsigned char)*from++;
        if (c == '"') {
            *to = '\0';
            return *from ? "more text behind the closing quote" : NULL;
        }
        if (c == '\\' && (c = escaped(&from)) < 0)
            return "an escape other than \\\\ \\\" \\n \\r \\t or \\x and two digits";
        *to++ = (char)c;
    }
    return "no closing quote (a ; behind a blank is written \\x3b)";
}

static void take_value(config_reader *reader, mmrec_option_id id, const char *value) {
    char where[320], *kept = keep(reader->options, value);
    snprintf(where, sizeof where, "%s:%d: %s", reader->name, reader->line, mmrec_option_get(id)->flag);
    const char *fault = unquote(kept);
    if (fault) {
        REFUSE(reader, "%s has %s", where, fault);
        return;
    }
    mmrec_status status =
        mmrec_option_set(reader->options, id, MMREC_SOURCE_FILE, reader->line, where, kept, reader->error);
    reader->failed = status != MMREC_OK;
    if (reader->failed && reader->error) reader->error->code = MMREC_CONFIG;
}

/* Refuses a key that is no option of the program. */
static void refuse_key(config_reader *reader, const char *name) {
    char quote[MMREC_OPTION_QUOTE], hint[96];
    mmrec_program program = reader->options->program;
    const char *elsewhere = mmrec_option_elsewhere(program, name);
    if (elsewhere)
        REFUSE(reader, "%s:%d: %s is an option of %s", reader->name, reader->line, name, elsewhere);
    else
        REFUSE(reader, "%s:%d: unknown option '%s'%s", reader->name, reader->line, mmrec_option_quote(name, quote),
               mmrec_option_suggest(program, name, "", "", hint, sizeof hint));
}

static int take_pair(void *context, const char *section, const char *name, const char *value) {
    config_reader *reader = context;
    char quote[MMREC_OPTION_QUOTE];
    if (reader->failed) return 0;
    mmrec_option_id id = mmrec_option_find(reader->options->program, name);
    if (*section) {
        REFUSE(reader, "%s:%d: sections are not used, remove [%s]", reader->name, reader->line,
               mmrec_option_quote(section, quote));
    } else if (id == MMREC_OPTIONS) {
        refuse_key(reader, name);
    } else if (mmrec_option_for_line(id)) {
        REFUSE(reader, "%s:%d: %s is for the command line only", reader->name, reader->line, name);
    } else {
        take_value(reader, id, value);
    }
    return !reader->failed;
}

mmrec_status mmrec_options_parse_config(mmrec_options *options, const char *name, const char *text, size_t size,
                                        mmrec_error *error) {
    options->file_name = name;
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
