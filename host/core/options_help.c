/* The help, made from the option table: at most 80 columns, grouped. */
#include "mmrec/options.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS = 80, HELP_COLUMN = 27 };

static const char *const group_names[MMREC_GROUPS] = {
    "What is run", "Sizes of the model", "Sampling", "Instead of timing", "Output", "Other"};

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

void mmrec_options_help(const char *program, const char *summary, mmrec_option_writer writer) {
    char line[COLUMNS + 1];
    snprintf(line, sizeof line, "Usage: %s [--option VALUE | --option=VALUE]...\n\n", program);
    put(writer, line);
    put(writer, summary);
    for (int group = 0; group < MMREC_GROUPS; group++) {
        snprintf(line, sizeof line, "\n%s:\n", group_names[group]);
        put(writer, line);
        for (int i = 0; i < MMREC_OPTIONS; i++) {
            const mmrec_option_def *def = mmrec_option_get((mmrec_option_id)i);
            if ((int)def->group == group) one_option(writer, def);
        }
    }
    put(writer, "\nEvery option can stand in the environment (--min-time as MMREC_MIN_TIME) and in\n"
                "a config file (min-time = 2s); a flag wins over the environment, that over the\n"
                "file. An option is written in full, once, and means the same at any place.\n"
                "\nExit status: 0 good; 1 a case failed or is wrong; 2 usage, config or file;\n"
                "77 hardware absent; 130 or 143 interrupted, with what was measured till then.\n");
}
