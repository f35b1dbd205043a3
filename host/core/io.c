/* The one table of file operations: system calls that count themselves, fail on request and tell the log; and reading
 * a file whole. */
#include "mmrec/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/io_impl.h"

/* A call that reports EINTR this often in a row is not being interrupted, it is broken. */
enum { MAX_INTERRUPTS = 100, NEW_FOLDER_MODE = 0777 };

/* ---- system calls ------------------------------------------------------------------------------------------- */

bool io_allowed(mmrec_io *io, mmrec_io_op op) {
    io->calls[op]++;
    io->attempts++;
    if (io->fail_at == 0 || io->attempts < io->fail_at) return true;
    if (io->attempts > io->fail_at && !io->fail_after) return true;
    errno = io->fail_errno ? io->fail_errno : EIO;
    return false;
}

bool io_ended(mmrec_io *io, mmrec_io_event event, bool ok) {
    int reason = errno;
    event.reason = ok ? 0 : reason;
    if (io->log) io->log(io->log_context, &event);
    errno = reason;
    return ok;
}

static bool ended_by_path(mmrec_io *io, mmrec_io_op op, const char *path, bool ok) {
    return io_ended(io, (mmrec_io_event){.op = op, .fd = -1, .path = path}, ok);
}

bool io_interrupted(int *times) { return errno == EINTR && ++*times < MAX_INTERRUPTS; }

int io_open(mmrec_io *io, const char *path, int flags, mode_t mode) {
    int fd = -1, times = 0;
    do {
        fd = io_allowed(io, MMREC_IO_OPEN) ? open(path, flags | O_CLOEXEC, mode) : -1;
        (void)io_ended(io, (mmrec_io_event){.op = MMREC_IO_OPEN, .fd = fd, .flags = flags, .path = path}, fd >= 0);
    } while (fd < 0 && io_interrupted(&times));
    return fd;
}

ssize_t io_read(mmrec_io *io, int fd, void *data, size_t size) {
    ssize_t got = -1;
    int times = 0;
    do {
        got = io_allowed(io, MMREC_IO_READ) ? read(fd, data, size) : -1;
        mmrec_io_event event = {.op = MMREC_IO_READ, .fd = fd, .data = data, .size = got > 0 ? (size_t)got : 0};
        (void)io_ended(io, event, got >= 0);
    } while (got < 0 && io_interrupted(&times));
    if (got > 0) io->bytes[MMREC_IO_READ] += (uint64_t)got;
    return got;
}

bool io_write(mmrec_io *io, int fd, const void *data, size_t size, size_t *done) {
    bool ok = io_allowed(io, MMREC_IO_WRITE);
    int injected = ok ? 0 : errno;
    size_t part = ok ? size : io->short_write ? size / 2 : 0;
    ssize_t got = ok || part > 0 ? write(fd, data, part) : 0;
    *done = got > 0 ? (size_t)got : 0;
    io->bytes[MMREC_IO_WRITE] += *done;
    if (!ok) errno = injected;
    return io_ended(io, (mmrec_io_event){.op = MMREC_IO_WRITE, .fd = fd, .data = data, .size = *done}, ok && got >= 0);
}

bool io_sync(mmrec_io *io, int fd) {
    bool ok = io_allowed(io, MMREC_IO_SYNC) && fsync(fd) == 0;
    return io_ended(io, (mmrec_io_event){.op = MMREC_IO_SYNC, .fd = fd}, ok);
}

/* The descriptor is gone whatever close says, so an interrupted close is a close; the data was synced before. */
bool io_close(mmrec_io *io, int fd) {
    bool ok = io_allowed(io, MMREC_IO_CLOSE);
    int injected = ok ? 0 : errno;
    if (close(fd) != 0) ok = false;
    if (injected) errno = injected;
    return io_ended(io, (mmrec_io_event){.op = MMREC_IO_CLOSE, .fd = fd}, ok) || errno == EINTR;
}

bool io_rename(mmrec_io *io, const char *from, const char *to) {
    bool ok = io_allowed(io, MMREC_IO_RENAME) && rename(from, to) == 0;
    return io_ended(io, (mmrec_io_event){.op = MMREC_IO_RENAME, .fd = -1, .path = from, .to = to}, ok);
}

bool io_unlink(mmrec_io *io, const char *path) {
    return ended_by_path(io, MMREC_IO_UNLINK, path, io_allowed(io, MMREC_IO_UNLINK) && unlink(path) == 0);
}

bool io_mkdir(mmrec_io *io, const char *path) {
    bool ok = io_allowed(io, MMREC_IO_MKDIR) && mkdir(path, NEW_FOLDER_MODE) == 0;
    return ended_by_path(io, MMREC_IO_MKDIR, path, ok);
}

bool io_stat(mmrec_io *io, const char *path, struct stat *info) {
    return ended_by_path(io, MMREC_IO_STAT, path, io_allowed(io, MMREC_IO_STAT) && stat(path, info) == 0);
}

bool io_fstat(mmrec_io *io, int fd, struct stat *info) {
    bool ok = io_allowed(io, MMREC_IO_STAT) && fstat(fd, info) == 0;
    return io_ended(io, (mmrec_io_event){.op = MMREC_IO_STAT, .fd = fd}, ok);
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

/* Fills `data` with exactly `size` bytes; the byte after them must not exist. */
static mmrec_status read_exactly(mmrec_io *io, int fd, const char *path, char *data, size_t size, mmrec_error *error) {
    size_t done = 0;
    while (done < size) {
        ssize_t got = io_read(io, fd, data + done, size - done);
        if (got < 0) FAIL_PATH(error, "read", path);
        if (got == 0) {
            MMREC_FAIL(error, MMREC_IO, "cannot read \"%.300s\": it shrank from %zu to %zu bytes while being read",
                       path, size, done);
        }
        done += (size_t)got;
    }
    char beyond;
    ssize_t more = io_read(io, fd, &beyond, 1);
    if (more < 0) FAIL_PATH(error, "read", path);
    if (more == 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_IO, "cannot read \"%.300s\": it grew beyond %zu bytes while being read", path, size);
}

static mmrec_status regular_size(mmrec_io *io, int fd, const char *path, size_t limit, size_t *size,
                                 mmrec_error *error) {
    struct stat info;
    if (!io_fstat(io, fd, &info)) FAIL_PATH(error, "read", path);
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
    int fd = io_open(io, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0) FAIL_PATH(error, "open", path);
    mmrec_status status = read_open(io, allocator, fd, path, limit, data, size, error);
    /* Nothing can be lost by a close after reading, so its failure is no failure of the read. */
    (void)io_close(io, fd);
    return status;
}
