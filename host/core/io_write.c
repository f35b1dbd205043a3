/* Replacing a file whole: a temporary one beside it, made durable, verified on request, and renamed over it. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/io_impl.h"

enum { MAX_TEMPORARIES = 100, NEW_FILE_MODE = 0666, PIECE = 1 << 16 /* bytes compared at a time */ };

static bool write_all(mmrec_io *io, int fd, const char *data, size_t size) {
    size_t done = 0;
    int times = 0;
    while (done < size) {
        size_t part = 0;
        bool ok = io_write(io, fd, data + done, size - done, &part);
        done += part;
        if (part > 0) times = 0;
        if (!ok && !io_interrupted(&times)) return false;
        if (ok && part == 0) {
            errno = EIO; /* a write that takes nothing and reports nothing would loop for ever */
            return false;
        }
    }
    return true;
}

mmrec_status mmrec_io_write_fd(mmrec_io *io, int fd, const char *what, const void *data, size_t size,
                               mmrec_error *error) {
    if (write_all(io, fd, data, size)) return MMREC_OK;
    MMREC_FAIL(error, MMREC_IO, "cannot write %zu bytes to %.300s: %s", size, what, strerror(errno));
}

/* Where a file will be written: links followed, so that a link stays a link and its target is replaced. */
typedef struct target {
    char path[PATH_MAX], folder[PATH_MAX], temporary[PATH_MAX + 64];
    mode_t mode;
    bool device; /* a pipe, a terminal, /dev/null: written in place */
} target;

static mmrec_status target_find(mmrec_io *io, const char *path, target *to, mmrec_error *error) {
    size_t length = strlen(path);
    errno = length == 0 ? ENOENT : ENAMETOOLONG;
    if (length == 0 || length >= sizeof to->path) FAIL_PATH(error, "write", path);
    memcpy(to->path, path, length + 1);
    to->mode = NEW_FILE_MODE;
    to->device = false;
    struct stat info;
    if (io_stat(io, path, &info)) {
        if (S_ISDIR(info.st_mode)) MMREC_FAIL(error, MMREC_IO, "cannot write \"%.300s\": it is a folder", path);
        to->device = !S_ISREG(info.st_mode);
        to->mode = info.st_mode & 0777;
        if (!to->device && !realpath(path, to->path)) FAIL_PATH(error, "write", path);
    } else if (errno != ENOENT) {
        FAIL_PATH(error, "write", path);
    }
    io_folder_of(to->path, to->folder);
    return MMREC_OK;
}

/* A short name of its own, so that any legal file name can be written; taken names are left behind by killed runs. */
static int temporary_open(mmrec_io *io, target *to) {
    int fd = -1;
    for (int i = 0; i < MAX_TEMPORARIES && fd < 0; i++) {
        (void)snprintf(to->temporary, sizeof to->temporary, "%s/" IO_TEMPORARY "%ld-%d" IO_TEMPORARY_END, to->folder,
                       (long)getpid(), i);
        fd = io_open(io, to->temporary, O_WRONLY | O_CREAT | O_EXCL, to->mode);
        if (fd < 0 && errno != EEXIST) break;
    }
    return fd;
}

/* Removes it for good: the fault that is being handled may also fail the first unlink. */
static void temporary_remove(mmrec_io *io, const target *to) {
    int reason = errno;
    if (!io_unlink(io, to->temporary) && errno != ENOENT) (void)unlink(to->temporary);
    errno = reason;
}

static mmrec_status temporary_create(mmrec_io *io, const char *path, target *to, int *fd, mmrec_error *error) {
    MMREC_TRY_WHILE(io_make_folders(io, to->folder, error), error, "writing \"%.120s\"", path);
    *fd = temporary_open(io, to);
    if (*fd >= 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_IO, "cannot write \"%.300s\": cannot create a file in its folder: %s", path,
               strerror(errno));
}

/* A failed fsync may have dropped the data already, and a second one would then report success: it is never repeated.
 */
static mmrec_status temporary_fill(mmrec_io *io, const char *path, int fd, const void *data, size_t size,
                                   mmrec_error *error) {
    const char *failed = NULL;
    if (!write_all(io, fd, data, size)) {
        failed = "write";
    } else if (!io_sync(io, fd)) {
        failed = "sync";
    }
    int reason = errno;
    bool closed = io_close(io, fd);
    if (failed) errno = reason;
    if (!failed && !closed) failed = "close";
    if (failed) FAIL_PATH(error, failed, path);
    return MMREC_OK;
}

static mmrec_status compare(mmrec_io *io, int fd, const char *path, const char *data, size_t size, mmrec_error *error) {
    char piece[PIECE];
    size_t done = 0;
    ssize_t got = 0;
    while ((got = io_read(io, fd, piece, sizeof piece)) > 0) {
        if ((size_t)got > size - done || memcmp(piece, data + done, (size_t)got) != 0) break;
        done += (size_t)got;
    }
    if (got < 0) FAIL_PATH(error, "read back", path);
    if (got == 0 && done == size) return MMREC_OK;
    MMREC_FAIL(error, MMREC_IO,
               "cannot write \"%.300s\": read back, it differs from what was written behind byte %zu; "
               "disk or memory may be failing",
               path, done);
}

/* Asks the system to forget its copy first: else the comparison would see memory and not the disk. */
static mmrec_status temporary_verify(mmrec_io *io, const target *to, const char *path, const void *data, size_t size,
                                     mmrec_error *error) {
    int fd = io_open(io, to->temporary, O_RDONLY, 0);
    if (fd < 0) FAIL_PATH(error, "read back", path);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    mmrec_status status = compare(io, fd, path, data, size, error);
    (void)io_close(io, fd);
    return status;
}

/* What happens to the temporary file up to its new name. */
static mmrec_status fill_and_rename(mmrec_io *io, const char *path, const target *to, int fd, const void *data,
                                    size_t size, bool verify, mmrec_error *error) {
    MMREC_TRY(temporary_fill(io, path, fd, data, size, error));
    if (verify) MMREC_TRY(temporary_verify(io, to, path, data, size, error));
    if (!io_rename(io, to->temporary, to->path)) FAIL_PATH(error, "rename the new file to", path);
    return MMREC_OK;
}

static mmrec_status replace(mmrec_io *io, const char *path, target *to, const void *data, size_t size, bool verify,
                            mmrec_error *error) {
    int fd = -1;
    MMREC_TRY(temporary_create(io, path, to, &fd, error));
    mmrec_status status = fill_and_rename(io, path, to, fd, data, size, verify, error);
    if (status != MMREC_OK) {
        temporary_remove(io, to);
        return status;
    }
    MMREC_TRY_WHILE(io_sync_folder(io, to->folder, error), error,
                    "making \"%.80s\" durable: it is written, but a power cut may lose it", path);
    return MMREC_OK;
}

static mmrec_status write_in_place(mmrec_io *io, const char *path, const void *data, size_t size, mmrec_error *error) {
    int fd = io_open(io, path, O_WRONLY, 0);
    if (fd < 0) FAIL_PATH(error, "open", path);
    const char *failed = write_all(io, fd, data, size) ? NULL : "write";
    int reason = errno;
    if (!io_close(io, fd) && !failed) {
        failed = "close";
        reason = errno;
    }
    errno = reason;
    if (failed) FAIL_PATH(error, failed, path);
    return MMREC_OK;
}

mmrec_status mmrec_io_write_file(mmrec_io *io, const char *path, const void *data, size_t size, mmrec_error *error) {
    if (strcmp(path, "-") == 0) return mmrec_io_write_fd(io, STDOUT_FILENO, "standard output", data, size, error);
    target to;
    MMREC_TRY(target_find(io, path, &to, error));
    if (to.device) return write_in_place(io, path, data, size, error);
    return replace(io, path, &to, data, size, false, error);
}

mmrec_status mmrec_io_write_verified(mmrec_io *io, const char *path, const void *data, size_t size,
                                     mmrec_error *error) {
    target to;
    MMREC_TRY(target_find(io, path, &to, error));
    if (to.device) MMREC_FAIL(error, MMREC_IO, "cannot write \"%.300s\": it is not a regular file", path);
    return replace(io, path, &to, data, size, true, error);
}

static mmrec_status check_in_place(const char *path, bool ok, mmrec_error *error) {
    if (!ok) FAIL_PATH(error, "write", path);
    return MMREC_OK;
}

mmrec_status mmrec_io_check_writable(mmrec_io *io, const char *path, mmrec_error *error) {
    if (strcmp(path, "-") == 0) {
        int mode = fcntl(STDOUT_FILENO, F_GETFL);
        bool ok = mode >= 0 && (mode & O_ACCMODE) != O_RDONLY;
        if (mode >= 0) errno = EBADF; /* open, but for reading only: what a write would say */
        return check_in_place("standard output", ok, error);
    }
    target to;
    MMREC_TRY(target_find(io, path, &to, error));
    if (to.device) return check_in_place(path, access(path, W_OK) == 0, error);
    int fd = -1;
    MMREC_TRY(temporary_create(io, path, &to, &fd, error));
    bool ok = io_close(io, fd);
    temporary_remove(io, &to);
    if (!ok) FAIL_PATH(error, "write", path);
    return MMREC_OK;
}

/* ---- logs --------------------------------------------------------------------------------------------------- */

/* Reads up to `size` bytes at an offset; what is missing at the end of the file is not there. */
static ssize_t read_at(mmrec_io *io, int fd, off_t offset, char *data, size_t size) {
    size_t done = 0;
    if (lseek(fd, offset, SEEK_SET) != offset) return -1;
    while (done < size) {
        ssize_t got = io_read(io, fd, data + done, size - done);
        if (got < 0) return -1;
        if (got == 0) break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static mmrec_status log_is_ours(mmrec_io *io, int fd, const char *path, const char *mark, mmrec_error *error) {
    enum { LONGEST_MARK = 64 };
    char start[LONGEST_MARK];
    ssize_t got = read_at(io, fd, 0, start, strlen(mark));
    if (got < 0) FAIL_PATH(error, "read", path);
    if (memcmp(start, mark, (size_t)got) == 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG,
               "\"%.300s\" is not a log: its first line does not begin with %s; it is left as it is", path, mark);
}

mmrec_status mmrec_io_log_open(mmrec_io *io, const char *path, const char *mark, int *fd, mmrec_error *error) {
    target to;
    struct stat info;
    MMREC_TRY(target_find(io, path, &to, error));
    if (!to.device) MMREC_TRY_WHILE(io_make_folders(io, to.folder, error), error, "writing \"%.120s\"", path);
    *fd = io_open(io, to.path, (to.device ? O_WRONLY : O_RDWR | O_CREAT) | O_APPEND, NEW_FILE_MODE);
    if (*fd < 0) FAIL_PATH(error, "write", path);
    mmrec_status status = MMREC_OK;
    if (!io_fstat(io, *fd, &info))
        status =
            mmrec_error_set(error, MMREC_IO, __FILE__, __LINE__, "cannot read \"%.300s\": %s", path, strerror(errno));
    else if (S_ISREG(info.st_mode))
        status = log_is_ours(io, *fd, path, mark, error);
    if (status == MMREC_OK) return MMREC_OK;
    (void)io_close(io, *fd);
    *fd = -1;
    return status;
}

/* Where the last whole line ends; -1 where the file cannot be read. */
static off_t whole_lines(mmrec_io *io, int fd, off_t size) {
    char piece[4096];
    while (size > 0) {
        size_t length = size < (off_t)sizeof piece ? (size_t)size : sizeof piece;
        off_t from = size - (off_t)length;
        if (read_at(io, fd, from, piece, length) != (ssize_t)length) return -1;
        for (size_t i = length; i > 0; i--) {
            if (piece[i - 1] == '\n') return from + (off_t)i;
        }
        size = from;
    }
    return 0;
}

mmrec_status mmrec_io_log_begin(mmrec_io *io, int fd, const char *path, bool keep, mmrec_error *error) {
    struct stat info;
    if (!io_fstat(io, fd, &info)) FAIL_PATH(error, "read", path);
    if (!S_ISREG(info.st_mode)) return MMREC_OK;
    errno = EIO; /* a file that shrinks while it is read has no errno of its own */
    off_t kept = keep ? whole_lines(io, fd, info.st_size) : 0;
    if (kept < 0) FAIL_PATH(error, "read", path);
    if (kept < info.st_size && ftruncate(fd, kept) != 0) FAIL_PATH(error, "write", path);
    return MMREC_OK;
}

mmrec_status mmrec_io_log_close(mmrec_io *io, int fd, const char *path, mmrec_error *error) {
    if (!io_close(io, fd)) FAIL_PATH(error, "close", path);
    return MMREC_OK;
}

mmrec_status mmrec_io_make_folder(mmrec_io *io, const char *path, mmrec_error *error) {
    target to = {.mode = NEW_FILE_MODE};
    MMREC_TRY(io_make_durable(io, path, to.folder, error));
    int fd = temporary_open(io, &to);
    if (fd < 0) FAIL_PATH(error, "create a file in the folder", path);
    bool ok = io_close(io, fd);
    temporary_remove(io, &to);
    if (!ok) FAIL_PATH(error, "create a file in the folder", path);
    return MMREC_OK;
}
