/* Text that grows, and aligned tables in it. The first lack of memory is latched: building never checks, the end does.
 */
#ifndef MMREC_REPORT_BUFFER_H
#define MMREC_REPORT_BUFFER_H

#include <stdarg.h>

#include "mmrec/alloc.h"

typedef struct mmrec_buffer {
    mmrec_allocator *allocator;
    char *data; /* not terminated */
    size_t size, capacity;
    bool failed;
} mmrec_buffer;

void mmrec_buffer_begin(mmrec_buffer *buffer, mmrec_allocator *allocator);
void mmrec_buffer_bytes(mmrec_buffer *buffer, const void *data, size_t size);
void mmrec_buffer_text(mmrec_buffer *buffer, const char *text);
/* Numbers are written with a point, whatever the locale. */
void mmrec_buffer_format(mmrec_buffer *buffer, const char *format, ...) MMREC_PRINTF(2, 3);
void mmrec_buffer_list(mmrec_buffer *buffer, const char *format, va_list arguments);
/* NO_MEMORY if anything was lost. */
mmrec_status mmrec_buffer_status(const mmrec_buffer *buffer, mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_buffer_free(mmrec_buffer *buffer);

/* A Markdown table: cells row by row, the first row is the header. Bit c of `right` aligns column c to the right. */
typedef struct mmrec_table {
    mmrec_buffer cells; /* each ends with a zero byte */
    int columns, count;
    unsigned right;
} mmrec_table;

enum { MMREC_TABLE_COLUMNS = 16 };

void mmrec_table_begin(mmrec_table *table, mmrec_allocator *allocator, int columns, unsigned right);
/* '|' in the text is escaped. */
void mmrec_table_cell(mmrec_table *table, const char *format, ...) MMREC_PRINTF(2, 3);
/* The header's cells, separated by '|'. */
void mmrec_table_header(mmrec_table *table, const char *names);
/* Writes the table to `out`, every column as wide as its widest cell, and frees it. */
void mmrec_table_end(mmrec_table *table, mmrec_buffer *out);

#endif
