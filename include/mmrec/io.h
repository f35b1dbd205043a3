/* The one table of file operations: everything mmrec reads or writes goes through it, counted by operation.
 *
 * As with the allocator, the k-th call can be made to fail with a chosen errno, once or from then on, or to
 * write short: tests walk k until a run finishes clean.
 *
 * Thread rule: one mmrec_io belongs to one thread at a time. */
#ifndef MMREC_IO_H
#define MMREC_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmrec/alloc.h"
#include "mmrec/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmrec_io_op {
    MMREC_IO_OPEN, MMREC_IO_READ, MMREC_IO_WRITE, MMREC_IO_SYNC, MMREC_IO_CLOSE, MMREC_IO_RENAME, MMREC_IO_UNLINK,
    MMREC_IO_MKDIR, MMREC_IO_STAT, MMREC_IO_OPS
} mmrec_io_op;

typedef struct mmrec_io {
    uint64_t calls[MMREC_IO_OPS], bytes[MMREC_IO_OPS]; /* bytes: read and written */
    uint64_t attempts;                                 /* all calls, failed ones included */
    uint64_t fail_at;                                  /* 1-based call that fails; 0 = none */
    bool fail_after;                                   /* every call from fail_at on fails too */
    int fail_errno;                                    /* the errno given to it; 0 = EIO */
    bool short_write;                                  /* the failing write first writes half of its bytes */
} mmrec_io;

/* Reads a whole regular file of at most `limit` bytes into memory from `allocator` (tag FILE).
 * The caller frees `*data` (size `*size`). Errors: IO (missing, unreadable, a folder), FORMAT (larger than limit). */
mmrec_status mmrec_io_read_file(mmrec_io *io, mmrec_allocator *allocator, const char *path, size_t limit,
                                void **data, size_t *size, mmrec_error *error) MMREC_MUST_CHECK;

/* Writes the file whole or not at all: a temporary file in the same folder, written, fsynced, closed, renamed over
 * `path`, folder fsynced. On failure the old file is as it was and the temporary one is removed; only where the very
 * last step fails, the folder's fsync, the new file is in place and the message says that it may not survive a power
 * cut. Missing parent folders are created. A link stays a link, its target is replaced; a pipe or device is written in
 * place. `path` "-" writes to standard output instead, and a closed or full standard output is an error. */
mmrec_status mmrec_io_write_file(mmrec_io *io, const char *path, const void *data, size_t size,
                                 mmrec_error *error) MMREC_MUST_CHECK;

/* Checks now that mmrec_io_write_file could write `path` later, by creating and removing the temporary file. */
mmrec_status mmrec_io_check_writable(mmrec_io *io, const char *path, mmrec_error *error) MMREC_MUST_CHECK;

/* Writes all bytes to an open descriptor (1 = standard output), through short writes and EINTR. */
mmrec_status mmrec_io_write_fd(mmrec_io *io, int fd, const char *what, const void *data, size_t size,
                               mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
