#include "report/buffer.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

void mmrec_buffer_begin(mmrec_buffer *buffer, mmrec_allocator *allocator) {
    *buffer = (mmrec_buffer){.allocator = allocator};
}

/* Room for `more` bytes behind the text. */
static bool reserve(mmrec_buffer *buffer, size_t more) {
    void *data = buffer->data;
    if (buffer->failed) return false;
    buffer->failed = mmrec_alloc_grow(buffer->allocator, &data, &buffer->capacity, buffer->size + more, 1,
                                      MMREC_ALLOC_REPORT, NULL) != MMREC_OK;
    buffer->data = data;
    return !buffer->failed;
}

void mmrec_buffer_bytes(mmrec_buffer *buffer, const void *data, size_t size) {
    if (size == 0 || !reserve(buffer, size)) return;
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
}

void mmrec_buffer_text(mmrec_buffer *buffer, const char *text) { mmrec_buffer_bytes(buffer, text, strlen(text)); }

void mmrec_buffer_list(mmrec_buffer *buffer, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = uselocale(plain);
    int size = vsnprintf(NULL, 0, format, arguments);
    if (size > 0 && reserve(buffer, (size_t)size + 1)) {
        vsnprintf(buffer->data + buffer->size, (size_t)size + 1, format, again);
        buffer->size += (size_t)size;
    }
    uselocale(before);
    freelocale(plain);
    va_end(again);
}

void mmrec_buffer_format(mmrec_buffer *buffer, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    mmrec_buffer_list(buffer, format, arguments);
    va_end(arguments);
}

mmrec_status mmrec_buffer_status(const mmrec_buffer *buffer, mmrec_error *error) {
    if (!buffer->failed) return MMREC_OK;
    MMREC_FAIL(error, MMREC_NO_MEMORY, "not enough memory for the text of the report after %zu bytes", buffer->size);
}

void mmrec_buffer_free(mmrec_buffer *buffer) {
    buffer->data = mmrec_alloc(buffer->allocator, buffer->data, buffer->capacity, 0, MMREC_ALLOC_REPORT);
    buffer->size = buffer->capacity = 0;
}
