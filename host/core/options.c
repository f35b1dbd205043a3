/* The option table, reading values from it, and the nearest name to a misspelt one. */
#include "core/options_impl.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* The words of the column `programs`. */
enum {
#define MMREC_PROGRAM(id, ...) id = 1 << MMREC_PROGRAM_##id,
#include "mmrec/programs.def"
#undef MMREC_PROGRAM
    YIELDS = 1 << MMREC_PROGRAMS
};

static const mmrec_option_def table[MMREC_OPTIONS] = {
#define MMREC_OPTION(id, programs, flag, group, kind, metavar, standard, low, high, choices, help)                     \
    [MMREC_OPTION_##id] = {flag, MMREC_GROUP_##group,  MMREC_KIND_##kind,       metavar, standard, low, high, choices, \
                           help, (programs) & ~YIELDS, ((programs)&YIELDS) != 0},
#include "mmrec/options.def"
#undef MMREC_OPTION
};

const char *mmrec_program_name(mmrec_program program) {
    static const char *const names[MMREC_PROGRAMS] = {
#define MMREC_PROGRAM(id, name, ...) name,
#include "mmrec/programs.def"
#undef MMREC_PROGRAM
    };
    return names[program];
}

const mmrec_option_def *mmrec_option_get(mmrec_option_id id) { return &table[id]; }

const char *mmrec_option_env(mmrec_option_id id, char text[MMREC_OPTION_ENV]) {
    snprintf(text, MMREC_OPTION_ENV, "MMREC_%s", table[id].flag);
    for (char *c = text; *c; c++) *c = (char)(*c == '-' ? '_' : toupper((unsigned char)*c));
    return text;
}

bool mmrec_option_taken(mmrec_program program, mmrec_option_id id) { return table[id].programs >> program & 1; }

mmrec_option_id mmrec_option_find(mmrec_program program, const char *flag) {
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        mmrec_option_id id = (mmrec_option_id)i;
        if (mmrec_option_taken(program, id) && strcmp(table[id].flag, flag) == 0) return id;
    }
    return MMREC_OPTIONS;
}

const char *mmrec_option_elsewhere(mmrec_program program, const char *flag) {
    for (int other = 0; other < MMREC_PROGRAMS; other++) {
        if (other == (int)program) continue;
        if (mmrec_option_find((mmrec_program)other, flag) != MMREC_OPTIONS)
            return mmrec_program_name((mmrec_program)other);
    }
    return NULL;
}

bool mmrec_option_for_line(mmrec_option_id id) {
    return id == MMREC_OPTION_config || id == MMREC_OPTION_help || id == MMREC_OPTION_version ||
           id == MMREC_OPTION_print_config;
}

const char *mmrec_option_source_name(mmrec_option_source source) {
    static const char *const names[] = {"default", "file", "environment", "flag"};
    return names[source];
}

bool mmrec_option_given(const mmrec_options *options, mmrec_option_id id) { return options->value[id].count > 0; }

bool mmrec_option_on(const mmrec_options *options, mmrec_option_id id) { return options->value[id].whole != 0; }

bool mmrec_option_is(const mmrec_options *options, mmrec_option_id id, const char *word) {
    return mmrec_option_given(options, id) && strcmp(options->value[id].text[0], word) == 0;
}

int64_t mmrec_option_whole(const mmrec_options *options, mmrec_option_id id, int64_t otherwise) {
    return mmrec_option_given(options, id) ? options->value[id].whole : otherwise;
}

const char *mmrec_option_text(const mmrec_options *options, mmrec_option_id id) {
    return mmrec_option_given(options, id) ? options->value[id].text[0] : NULL;
}

enum { LONGEST_WORD = 31 };

static int least(int a, int b) { return a < b ? a : b; }

/* Letters to insert, remove, change or swap with their neighbour to make `b` of `a`; both at most LONGEST_WORD. */
static int distance(const char *a, const char *b) {
    int cost[LONGEST_WORD + 1][LONGEST_WORD + 1];
    int rows = (int)strlen(a), columns = (int)strlen(b);
    for (int i = 0; i <= rows; i++) {
        for (int j = 0; j <= columns; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = i + j;
                continue;
            }
            int shift = least(cost[i - 1][j], cost[i][j - 1]) + 1;
            cost[i][j] = least(shift, cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) cost[i][j] = least(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    }
    return cost[rows][columns];
}

const char *mmrec_nearest_name(const char *word, const char *const *names, int count) {
    size_t length = strlen(word);
    if (length == 0 || length > LONGEST_WORD) return NULL;
    /* A third of the letters, and at least one, may be wrong; more would be a guess and not a suggestion. */
    int best = length < 3 ? 1 : (int)(length / 3);
    const char *nearest = NULL;
    for (int i = 0; i < count; i++) {
        if (strlen(names[i]) > LONGEST_WORD) continue;
        int d = distance(word, names[i]);
        if (d < best || (d == best && !nearest)) {
            best = d;
            nearest = names[i];
        }
    }
    return nearest;
}

const char *mmrec_option_suggest(mmrec_program program, const char *flag, const char *dashes, const char *otherwise,
                                 char *text, size_t size) {
    const char *names[MMREC_OPTIONS];
    int count = 0;
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        if (mmrec_option_taken(program, (mmrec_option_id)i)) names[count++] = table[i].flag;
    }
    const char *nearest = mmrec_nearest_name(flag, names, count);
    if (nearest)
        snprintf(text, size, ", did you mean %s%s?", dashes, nearest);
    else
        snprintf(text, size, "%s", otherwise);
    return text;
}

void mmrec_options_free(mmrec_options *options) {
    if (options->file_text) {
        options->file_text =
            mmrec_alloc(options->allocator, options->file_text, options->file_size, 0, MMREC_ALLOC_FILE);
    }
    options->file_size = options->file_used = 0;
}
