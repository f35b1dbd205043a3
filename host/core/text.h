/* Foreign text in messages: what a file says must not steer the terminal that shows it. And lists of words and of
 * choices. */
#ifndef MMREC_CORE_TEXT_H
#define MMREC_CORE_TEXT_H

#include <stddef.h>

/* Copies at most `length` bytes of `from`, control characters as '?', and "..." at the end where it had to be cut
 * (never inside a UTF-8 character). Always terminated, size >= 4; returns `text`. */
const char *mmrec_text_printable(const char *from, size_t length, char *text, size_t size);

/* The next word of a list with a comma or a blank between any two, cut where it does not fit; returns what is behind
 * it. Two separators side by side have an empty word between them. */
const char *mmrec_text_word(const char *list, char *word, size_t size);

/* ---- lists of choices: "a|b|c", none of them empty ---- */

/* Which of the choices the word is, counted from 0; -1: none of them. */
int mmrec_choice_find(const char *choices, const char *word);
int mmrec_choice_count(const char *choices);
/* The name of a choice, "?" for one that is not in the list. Always terminated; returns `text`. */
const char *mmrec_choice_name(const char *choices, int choice, char *text, size_t size);
/* "a, b or c", as much of it as fits. Always terminated; returns `text`. */
const char *mmrec_choice_words(const char *choices, char *text, size_t size);

#endif
