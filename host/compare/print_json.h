/* The two files that make the JSON of a comparison. */
#ifndef MMREC_COMPARE_PRINT_JSON_H
#define MMREC_COMPARE_PRINT_JSON_H

#include "compare/compare_print.h"
#include "report/json_impl.h"

/* A row with all that was measured of it, at the end of `rows`. */
void compare_json_row(json_out rows, const mmrec_comparison *c, int row);

#endif
