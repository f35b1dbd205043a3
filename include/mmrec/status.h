/* Status codes and error messages: how every fallible function of mmrec reports trouble.
 *
 * A fallible function returns mmrec_status and takes `mmrec_error *` last. On anything but MMREC_OK the
 * error holds the code and one message in words: what, where, got, wanted, what to do. Callers on the
 * way up may add up to four "while ..." frames. Nothing in the library aborts or exits.
 *
 * Thread rule: an mmrec_error belongs to one thread at a time. */
#ifndef MMREC_STATUS_H
#define MMREC_STATUS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmrec_status {
#define MMREC_STATUS(name, exit_code, text) MMREC_##name,
#include "mmrec/status.def"
#undef MMREC_STATUS
    MMREC_STATUS_COUNT
} mmrec_status;

enum { MMREC_ERROR_FRAMES = 4, MMREC_ERROR_MESSAGE = 512, MMREC_ERROR_FRAME = 160 };

typedef struct mmrec_error {
    mmrec_status code;
    char message[MMREC_ERROR_MESSAGE];
    int frames;
    char frame[MMREC_ERROR_FRAMES][MMREC_ERROR_FRAME]; /* innermost first */
    const char *file;                                  /* of the source line that failed */
    int line;
} mmrec_error;

#if defined(__GNUC__)
#define MMREC_MUST_CHECK __attribute__((warn_unused_result))
#define MMREC_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#else
#define MMREC_MUST_CHECK
#define MMREC_PRINTF(text, first)
#endif

/* Fills `error` (NULL: the message is dropped) and returns `code`. The format is mandatory. */
mmrec_status mmrec_error_set(mmrec_error *error, mmrec_status code, const char *file, int line, const char *format, ...)
    MMREC_PRINTF(5, 6);

/* Adds a "while ..." frame to an error on its way up; past MMREC_ERROR_FRAMES it does nothing. */
void mmrec_error_frame(mmrec_error *error, const char *format, ...) MMREC_PRINTF(2, 3);

/* Forgets what `error` holds (NULL is allowed). */
void mmrec_error_clear(mmrec_error *error);

/* Writes "message (while a; while b)" into `text`, always terminated; returns `text`. */
const char *mmrec_error_text(const mmrec_error *error, char *text, size_t size);

/* "NO_MEMORY" and the like; "?" for a value outside the list. */
const char *mmrec_status_name(mmrec_status status);
/* One line of words for the status. */
const char *mmrec_status_text(mmrec_status status);
/* The exit code an app ends with: 0, 1, 2, 77 or 130. */
int mmrec_status_exit(mmrec_status status);

/* Return from the calling function with a message / with the failure of a call / adding a frame to it. */
#define MMREC_FAIL(error, code, ...) return mmrec_error_set((error), (code), __FILE__, __LINE__, __VA_ARGS__)
#define MMREC_TRY(call)                                                                                                \
    do {                                                                                                               \
        mmrec_status mmrec_try_ = (call);                                                                              \
        if (mmrec_try_ != MMREC_OK) return mmrec_try_;                                                                 \
    } while (0)
#define MMREC_TRY_WHILE(call, error, ...)                                                                              \
    do {                                                                                                               \
        mmrec_status mmrec_try_ = (call);                                                                              \
        if (mmrec_try_ != MMREC_OK) {                                                                                  \
            mmrec_error_frame((error), __VA_ARGS__);                                                                   \
            return mmrec_try_;                                                                                         \
        }                                                                                                              \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
