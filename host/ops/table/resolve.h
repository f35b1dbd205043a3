/* Dims text ("B T 2D", "* D", "1"), shared by resolve.c and sample.c. */
#ifndef MMREC_RESOLVE_H
#define MMREC_RESOLVE_H

#include "mmrec/op.h"

/* One word: "*", a number (letter 0), or a letter with its factor. */
typedef struct mmrec_dims_word {
    int times;
    char letter;
    bool star;
} mmrec_dims_word;

/* The next word of a dims text, moving `*text` past it; false at the end. */
bool mmrec_dims_next(const char **text, mmrec_dims_word *word);

/* The shape an argument has once its letters are bound. INTERNAL for an unbound letter, SHAPE where it overflows. */
mmrec_status mmrec_dims_shape(const mmrec_op_def *def, const mmrec_op_sizes *sizes, const mmrec_arg *arg,
                              mmrec_shape *out, mmrec_error *error) MMREC_MUST_CHECK;

#endif
