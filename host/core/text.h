/* Foreign text in messages: what a file says must not steer the terminal that shows it. */
#ifndef MMREC_CORE_TEXT_H
#define MMREC_CORE_TEXT_H

#include <stddef.h>

/* Copies at most `length` bytes of `from`, control characters as '?', and "..." at the end where it had to be cut
 * (never inside a UTF-8 character). Always terminated, size >= 4; returns `text`. */
const char *mmrec_text_printable(const char *from, size_t length, char *text, size_t size);

#endif
