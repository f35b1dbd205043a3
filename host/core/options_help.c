/* The help, made from the option table: at most 80 columns, grouped. */
#include "core/options_impl.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS = 80, HELP_COLUMN = 27 };

static const struct {
    const char *summary, *exits;
} texts[MMREC_PROGRAMS] = {
#define MMREC_PROGRAM(id, name, summary, exits) {summary, exits},
#include "mmrec/programs.def"
#undef MMREC_PROGRAM
};

const char *mmrec_option_group_name(mmrec_program program, mmrec_option_group group) {
    static const char *const names[MMREC_GROUPS] = {
        "What is run", "Sizes of the model", "Training", "Sampling", "Instead of timing", "Output", "Other"};
    if (program == MMREC_PROGRAM_TRAIN && group == MMREC_GROUP_INSTEAD) return "Instead of training";
    if (program == MMREC_PROGRAM_TRAIN && group == MMREC_GROUP_OUTPUT) return "Log and checkpoints";
    return names[group];
}

static void put(mmrec_option_writer writer, const char *text) { writer.write(writer.context, text, strlen(text)); }

/* Writes `text` from column `at` on, broken between words, continued at HELP_COLUMN; ends the line. */
static void wrapped(mmrec_option_writer writer, int at, const char *text) {
    for (bool first = true; *text; first = false) {
        size_t word = strcspn(text, " ");
        if (!first && at + 1 + (int)word > COLUMNS) {
            char indent[HELP_COLUMN + 2];
            snprintf(indent, sizeof indent, "\n%*s", HELP_COLUMN, "");
            put(writer, indent);
            at = HELP_COLUMN;
        } else if (!first) {
            put(writer, " ");
            at++;
        }
        writer.write(writer.context, text, word);
        at += (int)word;
        text += word + strspn(text + word, " ");
    }
    put(writer, "\n");
}

static void one_option(mmrec_option_writer writer, const mmrec_option_def *def) {
    char left[64], help[400];
    int width = snprintf(left, sizeof left, "  --%s%s%s", def->flag, *def->metavar ? " " : "", def->metavar);
    put(writer, left);
    char pad[HELP_COLUMN + 2] = "";
    if (width + 2 > HELP_COLUMN)
        snprintf(pad, sizeof pad, "\n%*s", HELP_COLUMN, "");
    else
        snprintf(pad, sizeof pad, "%*s", HELP_COLUMN - width, "");
    put(writer, pad);
    bool tell = *def->standard && def->kind != MMREC_KIND_FLAG;
    snprintf(help, sizeof help, "%s%s%s%s", def->help, tell ? " (default: " : "", tell ? def->standard : "",
             tell ? ")" : "");
    wrapped(writer, HELP_COLUMN, help);
}

static void one_group(mmrec_option_writer writer, mmrec_program program, mmrec_option_group group) {
    char line[COLUMNS + 1];
    bool begun = false;
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        const mmrec_option_def *def = mmrec_option_get((mmrec_option_id)i);
        if (def->group != group || !mmrec_option_taken(program, (mmrec_option_id)i)) continue;
        snprintf(line, sizeof line, "\n%s:\n", mmrec_option_group_name(program, group));
        if (!begun) put(writer, line);
        begun = true;
        one_option(writer, def);
    }
}

void mmrec_options_help(mmrec_program program, mmrec_option_writer writer) {
    char line[COLUMNS + 1];
    snprintf(line, sizeof line, "Usage: %s [--option VALUE | --option=VALUE]...\n\n", mmrec_program_name(program));
    put(writer, line);
    put(writer, texts[program].summary);
    for (int group = 0; group < MMREC_GROUPS; group++) one_group(writer, program, (mmrec_option_group)group);
    put(writer, "\nEvery option can stand in the environment (--max-time as MMREC_MAX_TIME) and in\n"
                "a config file (max-time = 2s); a flag wins over the environment, that over the\n"
                "file. An option is written in full, once, and means the same at any place.\n\n");
    put(writer, texts[program].exits);
}
