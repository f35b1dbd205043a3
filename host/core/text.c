/* Foreign text made safe to print; lists of words and of choices. */
#include "core/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool continues_character(char c) { return ((unsigned char)c & 0xc0) == 0x80; }

const char *mmrec_text_printable(const char *from, size_t length, char *text, size_t size) {
    bool cut = length > size - 1;
    size_t kept = cut ? size - 4 : length;
    while (cut && kept > 0 && continues_character(from[kept])) kept--;
    for (size_t i = 0; i < kept; i++) {
        unsigned char c = (unsigned char)from[i];
        text[i] = c < 0x20 || c == 0x7f ? '?' : from[i];
    }
    memcpy(text + kept, "...", cut ? 4 : 0);
    if (!cut) text[kept] = '\0';
    return text;
}

const char *mmrec_text_word(const char *list, char *word, size_t size) {
    size_t length = strcspn(list, ", ");
    snprintf(word, size, "%.*s", (int)(length < size ? length : size - 1), list);
    return list + length + (list[length] != '\0');
}

/* ---- lists of choices ---- */

int mmrec_choice_find(const char *choices, const char *word) {
    size_t length = strlen(word);
    for (int i = 0; *choices; i++) {
        size_t size = strcspn(choices, "|");
        if (size == length && memcmp(choices, word, size) == 0) return i;
        choices += size + (choices[size] == '|');
    }
    return -1;
}

int mmrec_choice_count(const char *choices) {
    int count = 1;
    for (; *choices; choices++) count += *choices == '|';
    return count;
}

const char *mmrec_choice_name(const char *choices, int choice, char *text, size_t size) {
    bool known = choice >= 0 && choice < mmrec_choice_count(choices);
    for (; known && choice > 0; choice--) choices = strchr(choices, '|') + 1;
    snprintf(text, size, "%.*s", known ? (int)strcspn(choices, "|") : 1, known ? choices : "?");
    return text;
}

const char *mmrec_choice_words(const char *choices, char *text, size_t size) {
    size_t used = 0;
    for (const char *c = choices; *c && used + 5 < size; c++) {
        if (*c != '|')
            text[used++] = *c;
        else
            used += (size_t)snprintf(text + used, size - used, "%s", strchr(c + 1, '|') ? ", " : " or ");
    }
    text[used] = '\0';
    return text;
}
