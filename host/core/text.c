/* Foreign text made safe to print. */
#include "core/text.h"

#include <stdbool.h>
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
