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
    MMREC_IO_MKDIR, MMREC_IO_STAT, MMREC_IO_LIST, MMREC_IO_OPS
} mmrec_io_op;

/* One call as it ended, the way mmrec_io.log gets to see it: right after, before anything else is done. */
typedef struct mmrec_io_event {
    mmrec_io_op op;
    int reason;            /* errno of a call that failed, 0: it went well */
    int fd;                /* opened, or worked on; -1: none */
    int flags;             /* of an open */
    const char *path, *to; /* of a call by path; `to` of a rename */
    const void *data;      /* what was read or written, as far as the call went: `size` bytes */
    size_t size;
} mmrec_io_event;

typedef struct mmrec_io {
    uint64_t calls[MMREC_IO_OPS], bytes[MMREC_IO_OPS]; /* bytes: read and written */
    uint64_t attempts;                                 /* all calls, failed ones included */
    uint64_t fail_at;                                  /* 1-based call that fails; 0 = none */
    bool fail_after;                                   /* every call from fail_at on fails too */
    int fail_errno;                                    /* the errno given to it; 0 = EIO */
    bool short_write;                                  /* the failing write first writes half of its bytes */
    void (*log)(void *context, const mmrec_io_event *event); /* told of every call, for tests; NULL: nobody */
    void *log_context;
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

/* mmrec_io_write_file for what must not be lost: before the rename the temporary file is read back and compared, from
 * the disk where the system lets go of its own copy. `path` is always that of a file; a pipe or device is refused. */
mmrec_status mmrec_io_write_verified(mmrec_io *io, const char *path, const void *data, size_t size,
                                     mmrec_error *error) MMREC_MUST_CHECK;

/* Checks now that mmrec_io_write_file could write `path` later, by creating and removing the temporary file. */
mmrec_status mmrec_io_check_writable(mmrec_io *io, const char *path, mmrec_error *error) MMREC_MUST_CHECK;

/* Writes all bytes to an open descriptor (1 = standard output), through short writes and EINTR. */
mmrec_status mmrec_io_write_fd(mmrec_io *io, int fd, const char *what, const void *data, size_t size,
                               mmrec_error *error) MMREC_MUST_CHECK;

/* A log: a file that grows by whole lines (mmrec_io_write_fd), each of which begins with `mark` (at most 64 bytes). Open
 * creates it and missing parent folders and changes nothing that is there: CONFIG for a file that begins with something
 * else. Begin empties it, or with `keep` only takes away a last line that a killed run left unfinished. Pipes and
 * devices are written as they are. */
mmrec_status mmrec_io_log_open(mmrec_io *io, const char *path, const char *mark, int *fd,
                               mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_io_log_begin(mmrec_io *io, int fd, const char *path, bool keep, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_io_log_close(mmrec_io *io, int fd, const char *path, mmrec_error *error) MMREC_MUST_CHECK;

/* Creates the folder and those above it where they are missing, makes it durable, and checks that files can be created
 * in it. */
mmrec_status mmrec_io_make_folder(mmrec_io *io, const char *path, mmrec_error *error) MMREC_MUST_CHECK;

/* Calls `each` for every name in a folder but "." and "..", in no order, until it fails. No folder: OK, and `*there` is
 * false. Names may be removed meanwhile. */
typedef mmrec_status (*mmrec_io_entry)(void *context, const char *name, mmrec_error *error);
mmrec_status mmrec_io_list(mmrec_io *io, const char *folder, mmrec_io_entry each, void *context, bool *there,
                           mmrec_error *error) MMREC_MUST_CHECK;

/* Removes a file; OK too where there is none. */
mmrec_status mmrec_io_remove(mmrec_io *io, const char *path, mmrec_error *error) MMREC_MUST_CHECK;

/* Removes the temporary files that killed programs of mmrec left in a folder: those whose process is gone, and those of
 * this process, which must not be writing there. What cannot be removed stays. */
mmrec_status mmrec_io_remove_leftovers(mmrec_io *io, const char *folder, mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
