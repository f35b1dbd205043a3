/* Kernels' names as a reader of C++ writes them: k_recurrence_fwd<bf16_tile<tensor_core, 2>> for
 * _Z16k_recurrence_fwdI9bf16_tileI11tensor_coreLi2EEEv16recurrence_frame12forward_cell.
 *
 * Of the ABI's grammar (Itanium C++ ABI, "Mangling") it reads what kernel names are made of: nested names, template
 * arguments that are plain types, classes and numbers. The types of the kernel's own arguments are left out. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "measure/cupti.h"

typedef struct name_reader {
    const char *at;
    char *out;
    size_t used;
} name_reader;

static void put(name_reader *r, const char *text, size_t length) {
    size_t room = MMREC_KERNEL_NAME - 1 - r->used;
    if (length > room) length = room;
    memcpy(r->out + r->used, text, length);
    r->used += length;
    r->out[r->used] = '\0';
}

static bool skip(name_reader *r, char c) {
    if (*r->at != c) return false;
    r->at++;
    return true;
}

/* 10k_gelu_fwd */
static bool read_identifier(name_reader *r) {
    char *end;
    if (!isdigit((unsigned char)*r->at)) return false;
    unsigned long length = strtoul(r->at, &end, 10);
    if (length == 0 || length > strlen(end)) return false;
    put(r, end, length);
    r->at = end + length;
    return true;
}

/* Li8E, Lb1E, Lin8E */
static bool read_value(name_reader *r) {
    bool truth = *r->at == 'b';
    if (!islower((unsigned char)*r->at)) return false;
    r->at++;
    if (skip(r, 'n')) put(r, "-", 1);
    size_t digits = strspn(r->at, "0123456789");
    bool yes = *r->at != '0';
    if (digits == 0 || r->at[digits] != 'E') return false;
    if (truth)
        put(r, yes ? "true" : "false", yes ? 4 : 5);
    else
        put(r, r->at, digits);
    r->at += digits + 1;
    return true;
}

static bool read_plain_type(name_reader *r) {
    static const struct {
        char letter;
        const char *name;
    } types[] = {{'f', "float"}, {'d', "double"},        {'i', "int"},  {'j', "unsigned"},
                 {'l', "long"},  {'m', "unsigned long"}, {'b', "bool"}, {'c', "char"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!skip(r, types[i].letter)) continue;
        put(r, types[i].name, strlen(types[i].name));
        return true;
    }
    return false;
}

static bool read_name(name_reader *r);

static bool read_arguments(name_reader *r) {
    put(r, "<", 1);
    for (int i = 0; !skip(r, 'E'); i++) {
        if (i > 0) put(r, ", ", 2);
        bool good = skip(r, 'L') ? read_value(r) : read_plain_type(r) || read_name(r);
        if (!good) return false;
    }
    put(r, ">", 1);
    return true;
}

static bool read_part(name_reader *r) { return read_identifier(r) && (!skip(r, 'I') || read_arguments(r)); }

/* A part, or N part part ... E. */
static bool read_name(name_reader *r) {
    if (!skip(r, 'N')) return read_part(r);
    for (int i = 0; !skip(r, 'E'); i++) {
        if (i > 0) put(r, "::", 2);
        if (!read_part(r)) return false;
    }
    return true;
}

void kernel_name(const char *given, char out[MMREC_KERNEL_NAME]) {
    name_reader r = {given, out, 0};
    bool good = skip(&r, '_') && skip(&r, 'Z');
    (void)skip(&r, 'L'); /* static */
    if (good && read_name(&r)) return;
    r.used = 0;
    put(&r, given, strlen(given));
}
