/* The models with their fields, for --list: at most 80 columns. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compare/compare_print.h"
#include "report/files.h"

enum { COLUMNS = 80, KEY = 2, HELP = 18 };

static void indent(int columns, mmrec_buffer *out) {
    for (int i = 0; i < columns; i++) mmrec_buffer_text(out, " ");
}

/* The text from column `at` on, broken between words and continued at column `left`; ends the line. */
static void wrapped(const char *text, int at, int left, mmrec_buffer *out) {
    for (bool first = true; *text; first = false) {
        size_t size = strcspn(text, " ");
        int width = 0;
        for (size_t i = 0; i < size; i++) width += ((unsigned char)text[i] & 0xc0) != 0x80;
        if (!first && at + 1 + width > COLUMNS) {
            mmrec_buffer_text(out, "\n");
            indent(left, out);
            at = left;
        } else if (!first) {
            mmrec_buffer_text(out, " ");
            at++;
        }
        mmrec_buffer_bytes(out, text, size);
        at += width;
        text += size;
        text += strspn(text, " ");
    }
    mmrec_buffer_text(out, "\n");
}

static void range_text(const mmrec_model_field *f, char *text, size_t size) {
    if (f->type == MMREC_FIELD_WORD)
        snprintf(text, size, "%s", f->choices);
    else if (isinf(f->high))
        snprintf(text, size, "at least %.9g", f->low);
    else
        snprintf(text, size, "%s%.9g to %.9g", f->type == MMREC_FIELD_WIDTHS ? "none, or each " : "", f->low, f->high);
}

static void list_field(const mmrec_model_def *def, const mmrec_model_field *f, mmrec_buffer *out) {
    char range[128], text[512];
    bool width = def->width && strcmp(def->width, f->key) == 0;
    range_text(f, range, sizeof range);
    snprintf(text, sizeof text, "%s (%s; default %s)%s", f->help, range, f->standard, width ? "; sizes the model" : "");
    mmrec_buffer_format(out, "  %-*s ", HELP - KEY - 1, f->key);
    int at = KEY + (int)strlen(f->key) + 1;
    wrapped(text, at > HELP ? at : HELP, HELP, out);
}

static void list_model(const mmrec_model_def *def, mmrec_buffer *out) {
    mmrec_buffer_format(out, "%s: ", def->name);
    wrapped(def->title, (int)strlen(def->name) + 2, KEY, out);
    indent(KEY, out);
    wrapped(def->source, KEY, KEY, out);
    for (const mmrec_model_field *f = def->fields; f->key; f++) list_field(def, f, out);
}

mmrec_status mmrec_compare_list(mmrec_allocator *allocator, mmrec_io *io, mmrec_error *error) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, allocator);
    for (int i = 0; i < MMREC_MODELS; i++) {
        if (i > 0) mmrec_buffer_text(&text, "\n");
        list_model(mmrec_model_get((mmrec_model_kind)i), &text);
    }
    return mmrec_file_write(io, "-", mmrec_buffer_status(&text, error), &text, error);
}
