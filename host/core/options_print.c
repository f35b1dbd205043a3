/* The configuration as a file that gives it again. */
#include "core/options_impl.h"
#include "core/text.h"

#include <stdio.h>
#include <string.h>

/* inih gives a line of 200 bytes with its end, which the reader of config files adds (options_config.c). */
enum { LONGEST_LINE = 198, COMMENT_COLUMN = 36, LONGEST_COMMENT = 120 };

typedef struct printer {
    const mmrec_options *options;
    mmrec_option_writer writer;
} printer;

static void put(const printer *p, const char *text) { p->writer.write(p->writer.context, text, strlen(text)); }

/* Characters that a value outside of quotes would lose, or begin something else with. */
static bool needs_quotes(const char *text) {
    size_t length = strlen(text);
    if (text[0] == '"' || text[0] == ' ' || (length > 0 && text[length - 1] == ' ')) return true;
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f || *text == ';') return true;
    }
    return false;
}

static void quote_byte(char *to, size_t size, char c) {
    if (c == '\\' || c == '"')
        snprintf(to, size, "\\%c", c);
    else if (c == '\n')
        snprintf(to, size, "\\n");
    else if ((unsigned char)c < 0x20 || c == 0x7f || c == ';')
        snprintf(to, size, "\\x%02x", (unsigned)(unsigned char)c);
    else
        snprintf(to, size, "%c", c);
}

/* Writes `flag = value` as a line of a config file; false where it does not fit. */
static bool write_pair(char line[LONGEST_LINE + 1], const char *flag, const char *text) {
    bool quotes = needs_quotes(text);
    size_t used = (size_t)snprintf(line, LONGEST_LINE + 1, "%s = %s", flag, quotes ? "\"" : "");
    for (; *text; text++) {
        char part[8] = {*text};
        if (quotes) quote_byte(part, sizeof part, *text);
        if (used + strlen(part) + 1 > LONGEST_LINE) return false;
        used += (size_t)snprintf(line + used, LONGEST_LINE + 1 - used, "%s", part);
    }
    if (quotes) memcpy(line + used, "\"", 2);
    return true;
}

/* A line with its comment behind it, or above it where both are too long for one. */
static void put_line(const printer *p, const char *line, const char *comment) {
    char text[LONGEST_LINE + LONGEST_COMMENT + 16];
    int length = snprintf(text, sizeof text, "%-*s ; %s\n", COMMENT_COLUMN, line, comment);
    if (length > LONGEST_LINE) snprintf(text, sizeof text, "; %s\n%s\n", comment, line);
    put(p, text);
}

/* Where a value came from, in words. */
static const char *origin(const mmrec_options *options, const mmrec_option_value *value, char text[LONGEST_COMMENT]) {
    char name[64] = "";
    if (value->source != MMREC_SOURCE_FILE) return mmrec_option_source_name(value->source);
    if (options->file_name) mmrec_text_printable(options->file_name, strlen(options->file_name), name, sizeof name);
    snprintf(text, LONGEST_COMMENT, "file %s:%d", name, value->line);
    return text;
}

/* Whether --axis gives the option's values, which then must not stand beside it. */
static bool swept(const mmrec_options *options, mmrec_option_id id) {
    const mmrec_option_value *value = &options->value[MMREC_OPTION_axis];
    for (int i = 0; i < value->count; i++) {
        const char *text = value->text[i] + strspn(value->text[i], " \t");
        while (text) {
            mmrec_axis axis;
            mmrec_option_id over;
            if (mmrec_option_axis(&text, "--axis", &axis, &over, NULL) != MMREC_OK) return false;
            if (over == id) return true;
        }
    }
    return false;
}

static void put_given(const printer *p, mmrec_option_id id) {
    const mmrec_option_def *def = mmrec_option_get(id);
    const mmrec_option_value *value = &p->options->value[id];
    char line[LONGEST_LINE + 1], note[sizeof "# " + LONGEST_LINE], text[LONGEST_COMMENT];
    bool off = mmrec_option_for_line(id) || (def->yields && value->source == MMREC_SOURCE_DEFAULT);
    for (int i = 0; i < value->count; i++) {
        bool fits = write_pair(line, def->flag, value->text[i]) && (!off || strlen(line) + 2 <= LONGEST_LINE);
        if (fits)
            snprintf(note, sizeof note, "%s%s", off ? "# " : "", line);
        else
            snprintf(note, sizeof note, "# %s is longer than a line may be: give it as a flag", def->flag);
        put_line(p, note, origin(p->options, value, text));
    }
}

static void put_option(const printer *p, mmrec_option_id id) {
    const mmrec_option_def *def = mmrec_option_get(id);
    const mmrec_options *options = p->options;
    char line[LONGEST_LINE + 1], comment[LONGEST_COMMENT];
    int64_t size = 0;
    if (swept(options, id)) {
        snprintf(line, sizeof line, "# %s is swept by --axis\n", def->flag);
        put(p, line);
    } else if (mmrec_option_given(options, id)) {
        put_given(p, id);
    } else if (mmrec_option_size(options, id, &size)) {
        const char *name = mmrec_option_text(options, mmrec_option_find(options->program, "size"));
        snprintf(line, sizeof line, "%s = %lld", def->flag, (long long)size);
        snprintf(comment, sizeof comment, "of --size %s", name);
        put_line(p, line, comment);
    } else {
        snprintf(line, sizeof line, "# %s is not given\n", def->flag);
        put(p, line);
    }
}

static void put_group(const printer *p, mmrec_option_group group) {
    mmrec_program program = p->options->program;
    char line[LONGEST_LINE + 1];
    bool begun = false;
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        mmrec_option_id id = (mmrec_option_id)i;
        if (mmrec_option_get(id)->group != group || !mmrec_option_taken(program, id)) continue;
        bool asks = mmrec_option_for_line(id) && id != MMREC_OPTION_config;
        if (asks) continue;
        snprintf(line, sizeof line, "\n# %s\n", mmrec_option_group_name(program, group));
        if (!begun) put(p, line);
        begun = true;
        put_option(p, id);
    }
}

void mmrec_options_print(const mmrec_options *options, mmrec_option_writer writer) {
    const printer p = {options, writer};
    put(&p, "# ");
    put(&p, mmrec_program_name(options->program));
    put(&p, ": every option, its value and where it came from\n");
    for (int group = 0; group < MMREC_GROUPS; group++) put_group(&p, (mmrec_option_group)group);
}
