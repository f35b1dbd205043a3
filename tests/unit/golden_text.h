/* Texts held to files below tests/golden. With MMREC_GOLDEN_UPDATE=1 they are written first: read the difference before
 * keeping it. */
#ifndef GOLDEN_TEXT_H
#define GOLDEN_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mmrec/io.h"
#include "report/buffer.h"

static inline void assert_same_text(const char *name, const char *got, size_t got_size, const char *want,
                                    size_t want_size) {
    size_t at = 0, line = 1, end;
    for (; at < got_size && at < want_size && got[at] == want[at]; at++) line += got[at] == '\n';
    if (at == got_size && at == want_size) return;
    while (at > 0 && got[at - 1] != '\n') at--;
    for (end = at; end < got_size && got[end] != '\n';) end++;
    fail_msg("%s differs from line %zu on; got\n%.*s", name, line, (int)(end - at), got + at);
}

/* `name`: folder and file. The text is freed. */
static inline void expect_golden(const char *name, mmrec_buffer *text) {
    mmrec_allocator memory = {0};
    mmrec_io files = {0};
    mmrec_error error = {0};
    char path[512];
    void *want = NULL;
    size_t size = 0;
    assert_false(text->failed);
    snprintf(path, sizeof path, "%s/%s", MMREC_GOLDEN, name);
    if (getenv("MMREC_GOLDEN_UPDATE") && mmrec_io_write_file(&files, path, text->data, text->size, &error) != MMREC_OK)
        fail_msg("%s", error.message);
    if (mmrec_io_read_file(&files, &memory, path, 1 << 20, &want, &size, &error) != MMREC_OK)
        fail_msg("%s", error.message);
    assert_same_text(name, text->data, text->size, want, size);
    mmrec_alloc(&memory, want, size, 0, MMREC_ALLOC_FILE);
    assert_int_equal(memory.total.live_bytes, 0);
    mmrec_buffer_free(text);
}

#endif
