/* A disk as a power cut sees it: what was made durable is there, of everything else any part may be.
 *
 * The log of file operations (mmrec_io.log) becomes a list of events. Playing the first ones of them gives two sets:
 * what fsync has made durable, and what is pending. A state of the disk is the durable part with some of the pending
 * part, in any order: a folder's entries appear and disappear one by one (a rename is an entry that appears and one
 * that disappears, together or not), and what was written to a file is missing, cut, or has blocks of something else in
 * it. */
#ifndef MMREC_TESTS_CRASH_DISK_H
#define MMREC_TESTS_CRASH_DISK_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmrec/io.h"

enum { DISK_MOST_EVENTS = 1000, DISK_MOST_FILES = 100, DISK_NAME = 64, DISK_PATH = 128 };

typedef enum disk_kind {
    DISK_CREATE,
    DISK_WRITE,
    DISK_SYNC_FILE,
    DISK_SYNC_FOLDER,
    DISK_RENAME,
    DISK_UNLINK,
    DISK_MAKE_FOLDER,
    DISK_SAVED
} disk_kind;

typedef struct disk_event {
    disk_kind kind;
    char path[DISK_PATH], to[DISK_PATH]; /* below the root, "" is the root itself */
    unsigned char *data;                 /* written */
    size_t size;
    int64_t step; /* of a save that returned OK */
} disk_event;

/* The events of one run, in order. */
typedef struct disk_log {
    char root[PATH_MAX];
    disk_event event[DISK_MOST_EVENTS];
    size_t count;
    char open[64][DISK_PATH]; /* path of each open descriptor */
    bool is_folder[64];
} disk_log;

/* For mmrec_io.log, with the disk_log as its context. Ends the program where it is told something it does not know. */
void disk_record(void *context, const mmrec_io_event *event);
void disk_record_saved(disk_log *log, int64_t step);
void disk_log_free(disk_log *log);

/* Makes the state that number `damage` of the power cut behind the first `events` of the log leaves, in the empty
 * folder `root`: 0 is without anything pending, 1 with all of it, all others are drawn from (seed, events, damage). */
void disk_state(const disk_log *log, size_t events, uint64_t seed, uint64_t damage, const char *root);

#endif
