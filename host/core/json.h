/* JSON through jansson, with its memory taken from mmrec_alloc (tag JSON): the one place that sets this up.
 *
 * jansson asks for memory without saying for whom, so each thread names the allocator first. Freeing needs no name:
 * every block remembers where it came from, and that allocator must outlive it. */
#ifndef MMREC_CORE_JSON_H
#define MMREC_CORE_JSON_H

#include <jansson.h>

#include "mmrec/alloc.h"
#include "mmrec/status.h"

/* From now on this thread's JSON memory comes from `allocator`; returns the one before, to be put back afterwards.
 * While it is NULL, as at the start, every jansson call that needs memory fails. */
mmrec_allocator *mmrec_json_use(mmrec_allocator *allocator);

/* Parses text that must be one whole JSON object or array, without duplicate keys, invalid UTF-8 or NUL characters.
 * Nesting is limited by jansson to 2048 levels. FORMAT: "invalid JSON near byte N: why"; NO_MEMORY. The caller ends
 * `*out` with json_decref. */
mmrec_status mmrec_json_parse(mmrec_allocator *allocator, const char *text, size_t size, json_t **out,
                              mmrec_error *error) MMREC_MUST_CHECK;

#endif
