/* Options of the programs, from the command line, the environment and a config file.
 *
 * One table (options.def) gives flag, environment variable, config key, type, default, range, help, and the programs
 * (programs.def) that take it. Precedence: flag, then environment, then config file, then default; every value remembers
 * where it came from. An option means the same wherever it stands, may be given once (unless it is a list), and is never
 * abbreviated. A value that cannot be used is refused even when a stronger source replaces it. A program sees its own
 * options only: no other variable is read, and a flag or key of another program is refused with its name.
 *
 * A config file has lines `flag = value`; `#` begins a comment in front of a line, `;` also behind a value and a blank. A
 * value between double quotes is read like a string of C, with \\ \" \n \r \t and \x with two digits: so it can begin
 * or end with blanks, and hold anything (a ; as \x3b).
 *
 * Ownership: values point into argv, the environment and a buffer of the options; mmrec_options_free releases the
 * latter. Thread rule: mmrec_options_parse runs on one thread at a time in a process (getopt_long keeps its state in
 * globals). */
#ifndef MMREC_OPTIONS_H
#define MMREC_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "mmrec/alloc.h"
#include "mmrec/io.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmrec_program {
#define MMREC_PROGRAM(id, ...) MMREC_PROGRAM_##id,
#include "mmrec/programs.def"
#undef MMREC_PROGRAM
    MMREC_PROGRAMS
} mmrec_program;

/* "mmrec-bench": begins messages and help. */
const char *mmrec_program_name(mmrec_program program);

typedef enum mmrec_option_id {
#define MMREC_OPTION(id, ...) MMREC_OPTION_##id,
#include "mmrec/options.def"
#undef MMREC_OPTION
    MMREC_OPTIONS
} mmrec_option_id;

typedef enum mmrec_option_group {
    MMREC_GROUP_WHAT, MMREC_GROUP_MODEL, MMREC_GROUP_TRAINING, MMREC_GROUP_SAMPLING, MMREC_GROUP_INSTEAD,
    MMREC_GROUP_OUTPUT, MMREC_GROUP_OTHER, MMREC_GROUPS
} mmrec_option_group;

typedef enum mmrec_option_kind {
    MMREC_KIND_FLAG,    /* takes no value on the command line, on or off elsewhere */
    MMREC_KIND_WORD,    /* one of `choices` */
    MMREC_KIND_COUNT,   /* whole number */
    MMREC_KIND_REAL,    /* number */
    MMREC_KIND_PERCENT, /* 1 or 1% */
    MMREC_KIND_TIME,    /* 500us, 2s */
    MMREC_KIND_SIZE,    /* 24GiB, 500MB */
    MMREC_KIND_SEED,    /* 0 .. 2^64 - 1 */
    MMREC_KIND_TEXT,    /* anything but nothing */
    MMREC_KIND_LIST,    /* names separated by commas, repeatable */
    MMREC_KIND_PAIRS,   /* KEY=VALUE, repeatable */
    MMREC_KIND_AXES     /* NAME=RANGE (units.h), repeatable */
} mmrec_option_kind;

typedef struct mmrec_option_def {
    const char *flag;
    mmrec_option_group group;
    mmrec_option_kind kind;
    const char *metavar, *standard; /* standard: the default as text, "" = not given */
    double low, high;
    const char *choices, *help;
    unsigned programs; /* bit p: program p takes it */
    bool yields;       /* to say its default is not the same as to say nothing */
} mmrec_option_def;

typedef enum mmrec_option_source {
    MMREC_SOURCE_DEFAULT, MMREC_SOURCE_FILE, MMREC_SOURCE_ENVIRONMENT, MMREC_SOURCE_FLAG
} mmrec_option_source;

enum { MMREC_OPTION_REPEATS = 16, MMREC_OPTION_ENV = 48 };

typedef struct mmrec_option_value {
    mmrec_option_source source;
    int line;                               /* of the config file, 0 elsewhere */
    int count;                              /* of texts; 0: not given */
    const char *text[MMREC_OPTION_REPEATS]; /* as it was written */
    int64_t whole;                          /* COUNT; index of a WORD; 0 or 1 for a FLAG */
    double real;                            /* REAL; PERCENT as a share; TIME in seconds */
    uint64_t bits;                          /* SIZE in bytes; SEED */
} mmrec_option_value;

typedef struct mmrec_options {
    mmrec_program program;
    mmrec_option_value value[MMREC_OPTIONS]; /* of options that the program does not take: not given */
    mmrec_allocator *allocator;
    const char *file_name; /* of the config file, NULL: none */
    char *file_text;       /* values of the config file */
    size_t file_size, file_used;
} mmrec_options;

/* The definition of an option; its environment variable written into `text`. */
const mmrec_option_def *mmrec_option_get(mmrec_option_id id);
const char *mmrec_option_env(mmrec_option_id id, char text[MMREC_OPTION_ENV]);
/* Whether the program takes the option. */
bool mmrec_option_taken(mmrec_program program, mmrec_option_id id);
/* The program's option of that flag (without dashes), or MMREC_OPTIONS. */
mmrec_option_id mmrec_option_find(mmrec_program program, const char *flag);
/* "default", "file", "environment", "flag". */
const char *mmrec_option_source_name(mmrec_option_source source);

/* Fills `out` from all sources. USAGE or CONFIG with a message naming flag, variable, or file and line; IO or FORMAT
 * when the config file cannot be read. `out` may be freed in any case. `environment` is a list like environ, or NULL. */
mmrec_status mmrec_options_parse(mmrec_allocator *allocator, mmrec_io *io, mmrec_program program, int argc, char **argv,
                                 char *const *environment, mmrec_options *out, mmrec_error *error) MMREC_MUST_CHECK;
/* One step of it: the text of a config file; `name` is used in messages and kept. Values that a flag or the environment
 * gave stay, but are checked. At most one file per mmrec_options. */
mmrec_status mmrec_options_parse_config(mmrec_options *options, const char *name, const char *text, size_t size,
                                        mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_options_free(mmrec_options *options);

/* Reading values. `given`: some source named it, or it has a default. */
bool mmrec_option_given(const mmrec_options *options, mmrec_option_id id);
bool mmrec_option_on(const mmrec_options *options, mmrec_option_id id);            /* FLAG, or WORD off|on */
bool mmrec_option_is(const mmrec_options *options, mmrec_option_id id, const char *word);
int64_t mmrec_option_whole(const mmrec_options *options, mmrec_option_id id, int64_t otherwise);
const char *mmrec_option_text(const mmrec_options *options, mmrec_option_id id); /* NULL: not given */

/* What --size says of an option that is a size of the model; false where it says nothing. What is given wins over it. */
bool mmrec_option_size(const mmrec_options *options, mmrec_option_id id, int64_t *out);

/* Checks a number against the range of an option as its value would be. USAGE, the message beginning with `where`. */
mmrec_status mmrec_option_check_whole(mmrec_option_id id, int64_t value, const char *where,
                                      mmrec_error *error) MMREC_MUST_CHECK;

/* The name among `count` that is nearest to `word`, or NULL when none is near (more than a third of it differs). */
const char *mmrec_nearest_name(const char *word, const char *const *names, int count);

/* Where text goes, piece by piece. */
typedef struct mmrec_option_writer {
    void (*write)(void *context, const char *text, size_t size);
    void *context;
} mmrec_option_writer;
/* Prints every option of the program, as lines of a config file that gives the same values again (those for the command
 * line alone aside); a comment behind each says where the value came from. What was repeated stands on as many lines. An
 * option that follows --size is printed with what that is. Lines of comment stand for what is not given, for a default
 * that may give way, and for a value that no line of a config file can hold (over about 170 bytes). */
void mmrec_options_print(const mmrec_options *options, mmrec_option_writer writer);

/* Prints the help (at most 80 columns). */
void mmrec_options_help(mmrec_program program, mmrec_option_writer writer);

#ifdef __cplusplus
}
#endif
#endif
