/* The one table of file operations: system calls that count themselves and fail on request, and on top of them
 * reading a file whole and replacing a file whole. */
#include "mmrec/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A call that reports EINTR this often in a row is not being interrupted, it is broken. */
enum { MAX_INTERRUPTS = 100, MAX_TEMPORARIES = 100, NEW_FILE_MODE = 0666, NEW_FOLDER_MODE = 0777 };

/* ---- system calls ------------------------------------------------------------------------------------------- */

/* Counts one call; false (with errno) where the tests want it to fail. */
static bool allowed(mmrec_io *io, mmrec_io_op op) {
    io->calls[op]++;
    io->attempts++;
    if (io->fail_at == 0 || io->attempts < io->fail_at) return true;
    if (io->attempts > io->fail_at && !io->fail_after) return true;
    errno = io->fail_errno ? io->fail_errno : EIO;
    return false;
}

static bool interrupted(int *times) { return errno == EINTR && ++*times < MAX_INTERRUPTS; }

static int call_open(mmrec_io *io, const char *path, int flags, mode_t mode) {
    int fd = -1, times = 0;
    do {
        fd = allowed(io, MMREC_IO_OPEN) ? open(path, flags | O_CLOEXEC, mode) : -1;
    } while (fd < 0 && interrupted(&times));
    return fd;
}

static ssize_t call_read(mmrec_io *io, int fd, void *data, size_t size) {
    ssize_t got = -1;
    int times = 0;
    do {
        got = allowed(io, MMREC_IO_READ) ? read(fd, data, size) : -1;
    } while (got < 0 && interrupted(&times));
    if (got > 0) io->bytes[MMREC_IO_READ] += (uint64_t)got;
    return got;
}

/* One write. `*done` is what reached the file, also where the call fails after half of it. */
static bool call_write(mmrec_io *io, int fd, const void *data, size_t size, size_t *done) {
    bool ok = allowed(io, MMREC_IO_WRITE);
    int injected = ok ? 0 : errno;
    size_t part = ok ? size : io->short_write ? size / 2 : 0;
    ssize_t got = ok || part > 0 ? write(fd, data, part) : 0;
    *done = got > 0 ? (size_t)got : 0;
    io->bytes[MMREC_IO_WRITE] += *done;
    if (!ok) errno = injected;
    return ok && got >= 0;
}

static bool call_sync(mmrec_io *io, int fd) { return allowed(io, MMREC_IO_SYNC) && fsync(fd) == 0; }

/* The descriptor is gone whatever close says, so an interrupted close is a close; the data was synced before. */
static bool call_close(mmrec_io *io, int fd) {
    bool ok = allowed(io, MMREC_IO_CLOSE);
    int injected = ok ? 0 : errno;
    if (close(fd) != 0) ok = false;
    if (injected) errno = injected;
    return ok || errno == EINTR;
}

static bool call_rename(mmrec_io *io, const char *from, const char *to) {
    return allowed(io, MMREC_IO_RENAME) && rename(from, to) == 0;
}

static bool call_unlink(mmrec_io *io, const char *path) { return allowed(io, MMREC_IO_UNLINK) && unlink(path) == 0; }

static bool call_mkdir(mmrec_io *io, const char *path) {
    return allowed(io, MMREC_IO_MKDIR) && mkdir(path, NEW_FOLDER_MODE) == 0;
}

static bool call_stat(mmrec_io *io, const char *path, struct stat *info) {
    return allowed(io, MMREC_IO_STAT) && stat(path, info) == 0;
}

static bool call_fstat(mmrec_io *io, int fd, struct stat *info) {
    return allowed(io, MMREC_IO_STAT) && fstat(fd, info) == 0;
}

/* The path is cut to 300 bytes so that the reason behind it always fits into the message. */
#define FAIL_PATH(error, verb, path)                                                                                   \
    MMREC_FAIL((error), MMREC_IO, "cannot %s \"%.300s\": %s", (verb), (path), strerror(errno))

/* ---- reading ------------------------------------------------------------------------------------------------ */

/* Fills `data` with exactly `size` bytes; the byte after them must not exist. */
static mmrec_status read_exactly(mmrec_io *io, int fd, const char *path, char *data, size_t size, mmrec_error *error) {
    size_t done = 0;
    while (done < size) {
        ssize_t got = call_read(io, fd, data + done, size - done);
        if (got < 0) FAIL_PATH(error, "read", path);
        if (got == 0) {
            MMREC_FAIL(error, MMREC_IO, "cannot read \"%.300s\": it shrank from %zu to %zu bytes while being read",
                       path, size, done);
        }
        done += (size_t)got;
    }
    char beyond;
    ssize_t more = call_read(io, fd, &beyond, 1);
    if (more < 0) FAIL_PATH(error, "read", path);
    if (more == 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_IO, "cannot read \"%.300s\": it grew beyond %zu bytes while being read", path, size);
}

static mmrec_status regular_size(mmrec_io *io, int fd, const char *path, size_t limit, size_t *size,
                                 mmrec_error *error) {
    struct stat info;
    if (!call_fstat(io, fd, &info)) FAIL_PATH(error, "read", path);
    if (S_ISDIR(info.st_mode)) MMREC_FAIL(error, MMREC_IO, "cannot read \"%.300s\": it is a folder", path);
    if (!S_ISREG(info.st_mode)) MMREC_FAIL(error, MMREC_IO, "cannot read \"%.300s\": it is not a regular file", path);
    if ((uint64_t)info.st_size > limit) {
        MMREC_FAIL(error, MMREC_FORMAT, "\"%.300s\" has %lld bytes, at most %zu are read", path,
                   (long long)info.st_size, limit);
    }
    *size = (size_t)info.st_size;
    return MMREC_OK;
}

static mmrec_status read_open(mmrec_io *io, mmrec_allocator *allocator, int fd, const char *path, size_t limit,
                              void **data, size_t *size, mmrec_error *error) {
    size_t bytes = 0;
    MMREC_TRY(regular_size(io, fd, path, limit, &bytes, error));
    void *memory = NULL;
    if (bytes > 0) memory = mmrec_alloc(allocator, NULL, 0, bytes, MMREC_ALLOC_FILE);
    if (bytes > 0 && !memory) {
        MMREC_FAIL(error, MMREC_NO_MEMORY, "not enough memory for the %zu bytes of \"%.300s\"", bytes, path);
    }
    mmrec_status status = read_exactly(io, fd, path, memory, bytes, error);
    if (status != MMREC_OK) {
        mmrec_alloc(allocator, memory, bytes, 0, MMREC_ALLOC_FILE);
        return status;
    }
    *data = memory;
    *size = bytes;
    return MMREC_OK;
}

/* Opening without blocking: a named pipe is refused as not regular, instead of waiting for its writer. */
mmrec_status mmrec_io_read_file(mmrec_io *io, mmrec_allocator *allocator, const char *path, size_t limit, void **data,
                                size_t *size, mmrec_error *error) {
    *data = NULL;
    *size = 0;
    int fd = call_open(io, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0) FAIL_PATH(error, "open", path);
    mmrec_status status = read_open(io, allocator, fd, path, limit, data, size, error);
    /* Nothing can be lost by a close after reading, so its failure is no failure of the read. */
    (void)call_close(io, fd);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

static bool write_all(mmrec_io *io, int fd, const char *data, size_t size) {
    size_t done = 0;
    int times = 0;
    while (done < size) {
        size_t part = 0;
        bool ok = call_write(io, fd, data + done, size - done, &part);
        done += part;
        if (part > 0) times = 0;
        if (!ok && !interrupted(&times)) return false;
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

/* Everything before the last slash: "." without one, "/" for a file in the root. */
static void folder_of(const char *path, char *folder) {
    const char *slash = strrchr(path, '/');
    size_t length = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(folder, path, length);
    folder[length] = '\0';
    if (!slash) memcpy(folder, ".", 2);
}

static mmrec_status target_find(mmrec_io *io, const char *path, target *to, mmrec_error *error) {
    size_t length = strlen(path);
    errno = length == 0 ? ENOENT : ENAMETOOLONG;
    if (length == 0 || length >= sizeof to->path) FAIL_PATH(error, "write", path);
    memcpy(to->path, path, length + 1);
    to->mode = NEW_FILE_MODE;
    to->device = false;
    struct stat info;
    if (call_stat(io, path, &info)) {
        if (S_ISDIR(info.st_mode)) MMREC_FAIL(error, MMREC_IO, "cannot write \"%.300s\": it is a folder", path);
        to->device = !S_ISREG(info.st_mode);
        to->mode = info.st_mode & 0777;
        if (!to->device && !realpath(path, to->path)) FAIL_PATH(error, "write", path);
    } else if (errno != ENOENT) {
        FAIL_PATH(error, "write", path);
    }
    folder_of(to->path, to->folder);
    return MMREC_OK;
}

static mmrec_status sync_folder(mmrec_io *io, const char *folder, mmrec_error *error) {
    int fd = call_open(io, folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) FAIL_PATH(error, "open the folder", folder);
    /* EINVAL: a file system that cannot sync folders; there is nothing more that could be done on it. */
    bool ok = call_sync(io, fd) || errno == EINVAL;
    int reason = errno;
    (void)call_close(io, fd);
    errno = reason;
    if (!ok) FAIL_PATH(error, "sync the folder", folder);
    return MMREC_OK;
}

static mmrec_status folder_exists(mmrec_io *io, const char *path, bool *exists, mmrec_error *error) {
    struct stat info;
    *exists = call_stat(io, path, &info);
    if (!*exists && errno != ENOENT) FAIL_PATH(error, "reach the folder", path);
    return MMREC_OK;
}

/* Creates one folder where there is none, and makes its entry in the folder above durable. */
static mmrec_status make_folder(mmrec_io *io, const char *path, mmrec_error *error) {
    bool exists = false;
    MMREC_TRY(folder_exists(io, path, &exists, error));
    if (exists) return MMREC_OK;
    if (!call_mkdir(io, path)) {
        if (errno == EEXIST) return MMREC_OK; /* another process was faster */
        FAIL_PATH(error, "create the folder", path);
    }
    char above[PATH_MAX];
    folder_of(path, above);
    return sync_folder(io, above, error);
}

static mmrec_status make_folders(mmrec_io *io, const char *folder, mmrec_error *error) {
    bool exists = false;
    MMREC_TRY(folder_exists(io, folder, &exists, error));
    if (exists) return MMREC_OK;
    char path[PATH_MAX];
    memcpy(path, folder, strlen(folder) + 1);
    for (char *at = path + 1; *at; at++) {
        if (*at != '/' || at[-1] == '/') continue;
        *at = '\0';
        MMREC_TRY(make_folder(io, path, error));
        *at = '/';
    }
    return make_folder(io, path, error);
}

/* A short name of its own, so that any legal file name can be written; taken names are left behind by killed runs. */
static int temporary_open(mmrec_io *io, target *to) {
    int fd = -1;
    for (int i = 0; i < MAX_TEMPORARIES && fd < 0; i++) {
        (void)snprintf(to->temporary, sizeof to->temporary, "%s/.mmrec-%ld-%d.tmp", to->folder, (long)getpid(), i);
        fd = call_open(io, to->temporary, O_WRONLY | O_CREAT | O_EXCL, to->mode);
        if (fd < 0 && errno != EEXIST) break;
    }
    return fd;
}

/* Removes it for good: the fault that is being handled may also fail the first unlink. */
static void temporary_remove(mmrec_io *io, const target *to) {
    int reason = errno;
    if (!call_unlink(io, to->temporary) && errno != ENOENT) (void)unlink(to->temporary);
    errno = reason;
}

static mmrec_status temporary_create(mmrec_io *io, const char *path, target *to, int *fd, mmrec_error *error) {
    MMREC_TRY_WHILE(make_folders(io, to->folder, error), error, "writing \"%.120s\"", path);
    *fd = temporary_open(io, to);
    if (*fd >= 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_IO, "cannot write \"%.300s\": cannot create a file in its folder: %s", path,
               strerror(errno));
}

/* What happens to the temporary file up to its new name. A failed fsync may have dropped the data already, and a
 * second one would then report success: it is never repeated. Returns the verb that failed, NULL on success. */
static const char *fill_and_rename(mmrec_io *io, const target *to, int fd, const void *data, size_t size) {
    const char *failed = NULL;
    if (!write_all(io, fd, data, size)) {
        failed = "write";
    } else if (!call_sync(io, fd)) {
        failed = "sync";
    }
    int reason = errno;
    if (!call_close(io, fd) && !failed) return "close";
    errno = reason;
    if (!failed && !call_rename(io, to->temporary, to->path)) failed = "rename the new file to";
    return failed;
}

static mmrec_status replace(mmrec_io *io, const char *path, target *to, const void *data, size_t size,
                            mmrec_error *error) {
    int fd = -1;
    MMREC_TRY(temporary_create(io, path, to, &fd, error));
    const char *failed = fill_and_rename(io, to, fd, data, size);
    if (failed) {
        temporary_remove(io, to);
        FAIL_PATH(error, failed, path);
    }
    MMREC_TRY_WHILE(sync_folder(io, to->folder, error), error,
                    "making \"%.80s\" durable: it is written, but a power cut may lose it", path);
    return MMREC_OK;
}

static mmrec_status write_in_place(mmrec_io *io, const char *path, const void *data, size_t size, mmrec_error *error) {
    int fd = call_open(io, path, O_WRONLY, 0);
    if (fd < 0) FAIL_PATH(error, "open", path);
    const char *failed = write_all(io, fd, data, size) ? NULL : "write";
    int reason = errno;
    if (!call_close(io, fd) && !failed) {
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
    return replace(io, path, &to, data, size, error);
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
    bool ok = call_close(io, fd);
    temporary_remove(io, &to);
    if (!ok) FAIL_PATH(error, "write", path);
    return MMREC_OK;
}
