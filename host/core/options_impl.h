/* Shared by the files of the option parser. */
#ifndef MMREC_CORE_OPTIONS_IMPL_H
#define MMREC_CORE_OPTIONS_IMPL_H

#include "core/units.h"
#include "mmrec/options.h"

enum { MMREC_OPTION_QUOTE = 64 };

/* `text` fit for a message of one line: text.h. Returns `quote`. */
const char *mmrec_option_quote(const char *text, char quote[MMREC_OPTION_QUOTE]);

/* Checks `text` as a value of the option and, unless a stronger source has given one, stores it. `where` begins the
 * message ("--dim", "MMREC_DIM", "file.ini:3: dim"). */
mmrec_status mmrec_option_set(mmrec_options *options, mmrec_option_id id, mmrec_option_source source, int line,
                              const char *where, const char *text, mmrec_error *error) MMREC_MUST_CHECK;

/* Behind "unknown option": ", did you mean <dashes>name?" for the program's nearest flag, or `otherwise`; written into
 * `text`. */
const char *mmrec_option_suggest(mmrec_program program, const char *flag, const char *dashes, const char *otherwise,
                                 char *text, size_t size);
/* Name of another program that takes the flag, NULL where none does. */
const char *mmrec_option_elsewhere(mmrec_program program, const char *flag);
/* Help, version and the like: not in files, nor in the environment (but for --config). */
bool mmrec_option_for_line(mmrec_option_id id);

/* "Sizes of the model": how the program's help heads a group. */
const char *mmrec_option_group_name(mmrec_program program, mmrec_option_group group);

/* One axis of an AXES text (several are separated by blanks) checked against the sizes of the model: its name is the
 * flag of `*id`. Returns the rest of the text, NULL at the end. */
mmrec_status mmrec_option_axis(const char **text, const char *where, mmrec_axis *axis, mmrec_option_id *id,
                               mmrec_error *error) MMREC_MUST_CHECK;

#endif
