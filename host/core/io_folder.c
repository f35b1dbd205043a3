/* Folders: creating them so that they last, listing them, and removing what is in them. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/io_impl.h"

/* ---- creating ----------------------------------------------------------------------------------------------- */

/* Everything before the last slash: "." without one, "/" for a file in the root. */
void io_folder_of(const char *path, char *folder) {
    const char *slash = strrchr(path, '/');
    size_t length = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(folder, path, length);
    folder[length] = '\0';
    if (!slash) memcpy(folder, ".", 2);
}

mmrec_status io_sync_folder(mmrec_io *io, const char *folder, mmrec_error *error) {
    int fd = io_open(io, folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) FAIL_PATH(error, "open the folder", folder);
    /* EINVAL: a file system that cannot sync folders; there is nothing more that could be done on it. */
    bool ok = io_sync(io, fd) || errno == EINVAL;
    int reason = errno;
    (void)io_close(io, fd);
    errno = reason;
    if (!ok) FAIL_PATH(error, "sync the folder", folder);
    return MMREC_OK;
}

static mmrec_status folder_exists(mmrec_io *io, const char *path, bool *exists, mmrec_error *error) {
    struct stat info;
    *exists = io_stat(io, path, &info);
    if (!*exists && errno != ENOENT) FAIL_PATH(error, "reach the folder", path);
    return MMREC_OK;
}

/* Creates one folder where there is none, and makes its entry in the folder above durable. */
static mmrec_status make_folder(mmrec_io *io, const char *path, mmrec_error *error) {
    bool exists = false;
    MMREC_TRY(folder_exists(io, path, &exists, error));
    if (exists) return MMREC_OK;
    if (!io_mkdir(io, path)) {
        if (errno == EEXIST) return MMREC_OK; /* another process was faster */
        FAIL_PATH(error, "create the folder", path);
    }
    char above[PATH_MAX];
    io_folder_of(path, above);
    return io_sync_folder(io, above, error);
}

mmrec_status io_make_folders(mmrec_io *io, const char *folder, mmrec_error *error) {
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

static mmrec_status copy_path(const char *path, char copy[PATH_MAX], mmrec_error *error) {
    size_t length = strlen(path);
    errno = length == 0 ? ENOENT : ENAMETOOLONG;
    if (length == 0 || length >= PATH_MAX) FAIL_PATH(error, "create the folder", path);
    memcpy(copy, path, length + 1);
    while (length > 1 && copy[length - 1] == '/') copy[--length] = '\0';
    return MMREC_OK;
}

/* A process that was killed may have made the folder and not its entry durable, so that is done again for one that
 * exists. A folder above that may not be read cannot be synced, and is none that mmrec made. */
static mmrec_status make_or_sync(mmrec_io *io, const char *path, mmrec_error *error) {
    bool exists = false;
    MMREC_TRY(folder_exists(io, path, &exists, error));
    if (!exists) return io_make_folders(io, path, error);
    char above[PATH_MAX];
    io_folder_of(path, above);
    if (access(above, R_OK) != 0) return MMREC_OK;
    return io_sync_folder(io, above, error);
}

mmrec_status io_make_durable(mmrec_io *io, const char *path, char copy[PATH_MAX], mmrec_error *error) {
    MMREC_TRY(copy_path(path, copy, error));
    MMREC_TRY_WHILE(make_or_sync(io, copy, error), error, "making the folder \"%.120s\"", copy);
    return MMREC_OK;
}

/* ---- listing and removing ----------------------------------------------------------------------------------- */

static DIR *list_open(mmrec_io *io, const char *folder) {
    DIR *list = io_allowed(io, MMREC_IO_LIST) ? opendir(folder) : NULL;
    (void)io_ended(io, (mmrec_io_event){.op = MMREC_IO_LIST, .fd = -1, .path = folder}, list != NULL);
    return list;
}

/* The next name that is not "." or ".."; NULL at the end, and with errno where the call failed. */
static const char *list_next(mmrec_io *io, DIR *list) {
    const char *name = NULL;
    do {
        bool ok = io_allowed(io, MMREC_IO_LIST);
        if (ok) errno = 0;
        struct dirent *entry = ok ? readdir(list) : NULL;
        name = entry ? entry->d_name : NULL;
        (void)io_ended(io, (mmrec_io_event){.op = MMREC_IO_LIST, .fd = -1, .path = name}, name || errno == 0);
    } while (name && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0));
    return name;
}

static mmrec_status list_all(mmrec_io *io, DIR *list, const char *folder, mmrec_io_entry each, void *context,
                             mmrec_error *error) {
    const char *name = NULL;
    while ((name = list_next(io, list))) MMREC_TRY(each(context, name, error));
    if (errno != 0) FAIL_PATH(error, "list the folder", folder);
    return MMREC_OK;
}

mmrec_status mmrec_io_list(mmrec_io *io, const char *folder, mmrec_io_entry each, void *context, bool *there,
                           mmrec_error *error) {
    DIR *list = list_open(io, folder);
    *there = list != NULL;
    if (!list && errno == ENOENT) return MMREC_OK;
    if (!list) FAIL_PATH(error, "list the folder", folder);
    mmrec_status status = list_all(io, list, folder, each, context, error);
    (void)closedir(list);
    return status;
}

mmrec_status mmrec_io_remove(mmrec_io *io, const char *path, mmrec_error *error) {
    if (!io_unlink(io, path) && errno != ENOENT) FAIL_PATH(error, "remove", path);
    return MMREC_OK;
}

typedef struct leftovers {
    mmrec_io *io;
    const char *folder;
} leftovers;

/* The process in the name of a temporary file; 0: it is none of ours. */
static pid_t process_of(const char *name) {
    enum { MOST = 9 }; /* digits of a process, 2^22 at most on Linux */
    static const char digits[] = "0123456789";
    if (strncmp(name, IO_TEMPORARY, strlen(IO_TEMPORARY)) != 0) return 0;
    const char *process = name + strlen(IO_TEMPORARY);
    size_t length = strspn(process, digits);
    if (length < 1 || length > MOST || process[length] != '-') return 0;
    const char *number = process + length + 1;
    length = strspn(number, digits);
    if (length < 1 || length > MOST || strcmp(number + length, IO_TEMPORARY_END) != 0) return 0;
    return (pid_t)strtol(process, NULL, 10);
}

static mmrec_status remove_leftover(void *context, const char *name, mmrec_error *error) {
    const leftovers *in = context;
    char path[PATH_MAX + 256];
    pid_t process = process_of(name);
    (void)error;
    if (process < 1 || (process != getpid() && (kill(process, 0) == 0 || errno != ESRCH))) return MMREC_OK;
    (void)snprintf(path, sizeof path, "%s/%s", in->folder, name);
    (void)io_unlink(in->io, path);
    return MMREC_OK;
}

mmrec_status mmrec_io_remove_leftovers(mmrec_io *io, const char *folder, mmrec_error *error) {
    leftovers in = {io, folder};
    bool there = false;
    return mmrec_io_list(io, folder, remove_leftover, &in, &there, error);
}
