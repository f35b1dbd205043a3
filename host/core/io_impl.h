/* Inside of the file operations: what the files of one folder share. */
#ifndef MMREC_CORE_IO_IMPL_H
#define MMREC_CORE_IO_IMPL_H

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "mmrec/io.h"

/* Temporary files are IO_TEMPORARY, the process, '-', a number, IO_TEMPORARY_END. */
#define IO_TEMPORARY ".mmrec-"
#define IO_TEMPORARY_END ".tmp"

/* Counts one call; false (with errno) where the tests want it to fail. */
bool io_allowed(mmrec_io *io, mmrec_io_op op);

/* Tells the log how a call ended, with errno as its reason where it is not `ok`; returns `ok`, errno stays. */
bool io_ended(mmrec_io *io, mmrec_io_event event, bool ok);

/* The calls themselves, all counted and told. Opening and reading go on where they are interrupted. */
int io_open(mmrec_io *io, const char *path, int flags, mode_t mode);
ssize_t io_read(mmrec_io *io, int fd, void *data, size_t size);
/* One write. `*done` is what reached the file, also where the call fails after half of it. */
bool io_write(mmrec_io *io, int fd, const void *data, size_t size, size_t *done);
bool io_sync(mmrec_io *io, int fd);
bool io_close(mmrec_io *io, int fd);
bool io_rename(mmrec_io *io, const char *from, const char *to);
bool io_unlink(mmrec_io *io, const char *path);
bool io_mkdir(mmrec_io *io, const char *path);
bool io_stat(mmrec_io *io, const char *path, struct stat *info);
bool io_fstat(mmrec_io *io, int fd, struct stat *info);

/* After a failed call: it was interrupted, and not yet so often that it must be broken. `*times` counts. */
bool io_interrupted(int *times);

/* Everything before the last slash: "." without one, "/" for a file in the root. */
void io_folder_of(const char *path, char *folder);
mmrec_status io_sync_folder(mmrec_io *io, const char *folder, mmrec_error *error) MMREC_MUST_CHECK;
/* Creates a folder and those above it where they are missing, each with its entry made durable. */
mmrec_status io_make_folders(mmrec_io *io, const char *folder, mmrec_error *error) MMREC_MUST_CHECK;
/* The same, durable also where it existed; `copy` gets the path without slashes at its end. */
mmrec_status io_make_durable(mmrec_io *io, const char *path, char copy[PATH_MAX], mmrec_error *error) MMREC_MUST_CHECK;

/* The path is cut to 300 bytes so that the reason behind it always fits into the message. */
#define FAIL_PATH(error, verb, path)                                                                                   \
    MMREC_FAIL((error), MMREC_IO, "cannot %s \"%.300s\": %s", (verb), (path), strerror(errno))

#endif
