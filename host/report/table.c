/* Markdown tables that are also aligned as plain text. */
#include "report/buffer.h"

#include <string.h>

void mmrec_table_begin(mmrec_table *table, mmrec_allocator *allocator, int columns, unsigned right) {
    *table = (mmrec_table){.columns = columns, .right = right};
    mmrec_buffer_begin(&table->cells, allocator);
}

void mmrec_table_cell(mmrec_table *table, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    mmrec_buffer_list(&table->cells, format, arguments);
    va_end(arguments);
    mmrec_buffer_bytes(&table->cells, "", 1);
    table->count++;
}

void mmrec_table_header(mmrec_table *table, const char *names) {
    while (*names) {
        size_t length = strcspn(names, "|");
        mmrec_table_cell(table, "%.*s", (int)length, names);
        names += length + (names[length] == '|');
    }
}

/* Columns on the screen: bytes that do not continue a UTF-8 character, and the escape of a bar. */
static size_t width_of(const char *text) {
    size_t width = 0;
    for (; *text; text++) width += (size_t)(((unsigned char)*text & 0xc0) != 0x80) + (*text == '|');
    return width;
}

static void repeat(mmrec_buffer *out, char c, size_t count) {
    while (count-- > 0) mmrec_buffer_bytes(out, &c, 1);
}

static void print_cell(mmrec_buffer *out, const char *text, size_t width, bool right) {
    size_t pad = width - width_of(text);
    mmrec_buffer_text(out, " ");
    if (right) repeat(out, ' ', pad);
    for (; *text; text++) {
        bool control = (unsigned char)*text < ' ' || *text == 0x7f; /* a file's name may hold a line feed */
        if (*text == '|') mmrec_buffer_text(out, "\\");
        mmrec_buffer_bytes(out, control ? "?" : text, 1);
    }
    if (!right) repeat(out, ' ', pad);
    mmrec_buffer_text(out, " |");
}

static void print_rule(const mmrec_table *table, const size_t *width, mmrec_buffer *out) {
    mmrec_buffer_text(out, "|");
    for (int c = 0; c < table->columns; c++) {
        bool right = table->right >> c & 1;
        repeat(out, '-', width[c] + (right ? 1 : 2));
        mmrec_buffer_text(out, right ? ":|" : "|");
    }
    mmrec_buffer_text(out, "\n");
}

void mmrec_table_end(mmrec_table *table, mmrec_buffer *out) {
    size_t width[MMREC_TABLE_COLUMNS] = {0};
    const char *cell = table->cells.data;
    out->failed |= table->cells.failed;
    int count = out->failed ? 0 : table->count;
    for (int i = 0; i < count; i++, cell += strlen(cell) + 1) {
        size_t w = width_of(cell);
        if (w > width[i % table->columns]) width[i % table->columns] = w;
    }
    cell = table->cells.data;
    for (int i = 0; i < count; i++, cell += strlen(cell) + 1) {
        int c = i % table->columns;
        if (c == 0) mmrec_buffer_text(out, "|");
        print_cell(out, cell, width[c], table->right >> c & 1);
        if (c + 1 == table->columns) mmrec_buffer_text(out, "\n");
        if (i + 1 == table->columns) print_rule(table, width, out);
    }
    mmrec_buffer_free(&table->cells);
}
