/* Status names and error messages. */
#include "mmrec/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *text;
    int exit_code;
} statuses[MMREC_STATUS_COUNT] = {
#define MMREC_STATUS(name, exit_code, text) {#name, text, exit_code},
#include "mmrec/status.def"
#undef MMREC_STATUS
};

static bool known(mmrec_status status) { return (unsigned)status < MMREC_STATUS_COUNT; }

/* The text is formatted beside the error first: its arguments may be the very message that it replaces. */
mmrec_status mmrec_error_set(mmrec_error *error, mmrec_status code, const char *file, int line, const char *format,
                             ...) {
    if (!error) return code;
    char message[MMREC_ERROR_MESSAGE] = "";
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    mmrec_error_clear(error);
    error->code = code;
    memcpy(error->message, message, sizeof message);
    error->file = file;
    error->line = line;
    return code;
}

void mmrec_error_frame(mmrec_error *error, const char *format, ...) {
    if (!error || error->frames >= MMREC_ERROR_FRAMES) return;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->frame[error->frames++], MMREC_ERROR_FRAME, format, arguments);
    va_end(arguments);
}

void mmrec_error_clear(mmrec_error *error) {
    if (error) memset(error, 0, sizeof *error);
}

/* Appends at `*used`, which never passes the terminator. */
static void append(char *text, size_t size, size_t *used, const char *piece) {
    size_t room = size - 1 - *used, length = strlen(piece);
    if (length > room) length = room;
    memcpy(text + *used, piece, length);
    *used += length;
    text[*used] = '\0';
}

const char *mmrec_error_text(const mmrec_error *error, char *text, size_t size) {
    if (size == 0) return "";
    size_t used = 0;
    text[0] = '\0';
    append(text, size, &used, error->message);
    for (int i = 0; i < error->frames; i++) {
        append(text, size, &used, i == 0 ? " (while " : "; while ");
        append(text, size, &used, error->frame[i]);
    }
    if (error->frames > 0) append(text, size, &used, ")");
    return text;
}

const char *mmrec_status_name(mmrec_status status) { return known(status) ? statuses[status].name : "?"; }

const char *mmrec_status_text(mmrec_status status) { return known(status) ? statuses[status].text : "unknown status"; }

int mmrec_status_exit(mmrec_status status) {
    return known(status) ? statuses[status].exit_code : statuses[MMREC_INTERNAL].exit_code;
}
