/* Power cuts at every moment of a few saves: whatever state of the disk one leaves, the newest checkpoint is the last
 * one whose save returned OK or the one being saved, whole; and nothing under a checkpoint's name is anything else.
 *
 * usage: crash_states [--wrong] [--damages N]
 *   --wrong  plays wrong protocols instead, made of the log of the right one: each must be found out */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "subject.h"

enum { SAVES = 3, VALUES = 1000, SEED = 4, RECOVER_EVERY = 5, SHOWN = 2 };
static const char folder[] = "runs/checkpoints";

static void stop(const char *what, const mmrec_error *error) {
    char text[1200];
    (void)fprintf(stderr, "states: %s: %s\n", what, error ? mmrec_error_text(error, text, sizeof text) : "");
    exit(2);
}

/* ---- folders ------------------------------------------------------------------------------------------------ */

/* In memory where there is such a place: thousands of states are written. */
static void make_root(char root[PATH_MAX]) {
    (void)snprintf(root, PATH_MAX, "/dev/shm/mmrec-crash-XXXXXX");
    if (mkdtemp(root)) return;
    (void)snprintf(root, PATH_MAX, "/tmp/mmrec-crash-XXXXXX");
    if (!mkdtemp(root)) stop("cannot make a folder", NULL);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)info;
    (void)type;
    return where->level > 0 ? remove(path) : 0;
}

static void empty(const char *root) {
    if (nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0) stop("cannot empty a folder", NULL);
}

/* ---- the right protocol, recorded --------------------------------------------------------------------------- */

static mmrec_status save_all(mmrec_allocator *a, mmrec_checkpoint_writer *w, disk_log *log, mmrec_error *error) {
    double values[VALUES];
    mmrec_checkpoint *c = NULL;
    MMREC_TRY(mmrec_checkpoint_create(a, &c, error));
    mmrec_status status = MMREC_OK;
    for (int64_t step = 1; step <= SAVES && status == MMREC_OK; step++) {
        mmrec_checkpoint_clear(c);
        status = subject_put(c, step, VALUES, values, error);
        if (status == MMREC_OK) status = mmrec_checkpoint_writer_save(w, c, step, error);
        if (status == MMREC_OK)
            status = mmrec_checkpoint_writer_wait(w, error); /* the log is the thread's until then */
        if (status == MMREC_OK) disk_record_saved(log, step);
    }
    mmrec_checkpoint_destroy(&c);
    return status;
}

static void record(disk_log *log, int keep) {
    mmrec_allocator a = {0};
    mmrec_io io = {.log = disk_record, .log_context = log};
    mmrec_error error = {0};
    mmrec_checkpoint_writer *w = NULL;
    char path[PATH_MAX + 64];
    make_root(log->root);
    (void)snprintf(path, sizeof path, "%s/%s", log->root, folder);
    if (mmrec_checkpoint_writer_create(&a, &io, path, keep, &w, &error) != MMREC_OK) stop("no writer", &error);
    if (save_all(&a, w, log, &error) != MMREC_OK) stop("a save failed", &error);
    mmrec_checkpoint_writer_destroy(&w);
    empty(log->root);
    (void)rmdir(log->root);
}

/* ---- judging a state ---------------------------------------------------------------------------------------- */

typedef struct verdict {
    char text[300]; /* "": as promised */
} verdict;

static void skipped(void *context, const char *file, const char *why) {
    verdict *v = context;
    (void)snprintf(v->text, sizeof v->text, "%.60s is not valid: %.200s", file, why);
}

/* The step found must be `saved`, or the one behind it; -1 is none at all. */
static void judge(const char *root, int64_t saved, verdict *v) {
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_checkpoint *c = NULL;
    double values[VALUES];
    int64_t step = -1, next = saved < 0 ? 1 : saved + 1;
    char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/%s", root, folder);
    mmrec_status status = mmrec_checkpoint_newest(&a, &io, path, skipped, v, &c, &step, &error);
    if (status != MMREC_OK) {
        (void)snprintf(v->text, sizeof v->text, "%.290s", error.message);
    } else if (step != saved && step != next) {
        (void)snprintf(v->text, sizeof v->text, "step %lld was saved, step %lld is found", (long long)saved,
                       (long long)step);
    } else if (c && !subject_is(c, step, VALUES, values)) {
        (void)snprintf(v->text, sizeof v->text, "what is found as step %lld is another", (long long)step);
    }
    mmrec_checkpoint_destroy(&c);
    if (a.total.live_bytes > 0) stop("memory was not given back", NULL);
}

/* A training goes on from any of the states: it saves, finds what it saved, and leaves no temporary file. */
static void recover(const char *root, verdict *v) {
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_checkpoint_writer *w = NULL;
    mmrec_checkpoint *c = NULL;
    double values[VALUES];
    char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/%s", root, folder);
    mmrec_status status = mmrec_checkpoint_create(&a, &c, &error);
    if (status == MMREC_OK) status = subject_put(c, SAVES + 1, VALUES, values, &error);
    if (status == MMREC_OK) status = mmrec_checkpoint_writer_create(&a, &io, path, 1, &w, &error);
    if (status == MMREC_OK) status = mmrec_checkpoint_writer_save(w, c, SAVES + 1, &error);
    if (status == MMREC_OK) status = mmrec_checkpoint_writer_wait(w, &error);
    mmrec_checkpoint_writer_destroy(&w);
    mmrec_checkpoint_destroy(&c);
    if (status != MMREC_OK) (void)snprintf(v->text, sizeof v->text, "it cannot go on: %.250s", error.message);
    if (status == MMREC_OK) judge(root, SAVES + 1, v);
    /* Its folder holds that file alone. */
    struct stat info;
    (void)snprintf(path, sizeof path, "%s/%s/.mmrec-%ld-0.tmp", root, folder, (long)getpid());
    if (!v->text[0] && stat(path, &info) == 0) (void)snprintf(v->text, sizeof v->text, "a temporary file stays");
}

/* ---- every prefix ------------------------------------------------------------------------------------------- */

static int64_t saved_before(const disk_log *log, size_t events) {
    int64_t saved = -1;
    for (size_t i = 0; i < events; i++) {
        if (log->event[i].kind == DISK_SAVED) saved = log->event[i].step;
    }
    return saved;
}

typedef struct tally {
    long states, recovered, broken;
} tally;

static void try_state(const disk_log *log, size_t events, uint64_t damage, const char *root, const char *name,
                      tally *t) {
    verdict v = {""};
    disk_state(log, events, SEED, damage, root);
    judge(root, saved_before(log, events), &v);
    if (!v.text[0] && t->states % RECOVER_EVERY == 0) {
        recover(root, &v);
        t->recovered++;
    }
    empty(root);
    t->states++;
    if (!v.text[0]) return;
    if (t->broken++ < SHOWN) {
        (void)printf("  %s: power cut after %zu of %zu operations, damage %llu: %s\n", name, events, log->count,
                     (unsigned long long)damage, v.text);
    }
}

static tally try_all(const disk_log *log, uint64_t damages, const char *name) {
    char root[PATH_MAX];
    tally t = {0};
    make_root(root);
    for (size_t events = 0; events <= log->count; events++) {
        for (uint64_t damage = 0; damage < damages + 2; damage++) try_state(log, events, damage, root, name, &t);
    }
    (void)rmdir(root);
    (void)printf("%s: %zu operations, %zu prefixes, %ld states, %ld of them gone on from: %ld broken\n", name,
                 log->count, log->count + 1, t.states, t.recovered, t.broken);
    return t;
}

/* ---- wrong protocols ---------------------------------------------------------------------------------------- */

static void drop(disk_log *log, size_t at) {
    free(log->event[at].data);
    memmove(&log->event[at], &log->event[at + 1], (log->count - at - 1) * sizeof *log->event);
    log->count--;
}

/* Takes event `from` out and puts it in so that it is number `to`. */
static void move(disk_log *log, size_t from, size_t to) {
    disk_event event = log->event[from];
    memmove(&log->event[from], &log->event[from + 1], (log->count - from - 1) * sizeof *log->event);
    memmove(&log->event[to + 1], &log->event[to], (log->count - 1 - to) * sizeof *log->event);
    log->event[to] = event;
}

static size_t next_of(const disk_log *log, size_t from, disk_kind kind) {
    while (from < log->count && log->event[from].kind != kind) from++;
    return from;
}

static void drop_all(disk_log *log, disk_kind kind, const char *path) {
    for (size_t i = log->count; i-- > 0;) {
        if (log->event[i].kind == kind && (!path || strcmp(log->event[i].path, path) == 0)) drop(log, i);
    }
}

static void without_sync(disk_log *log) { drop_all(log, DISK_SYNC_FILE, NULL); }
static void without_folder_sync(disk_log *log) { drop_all(log, DISK_SYNC_FOLDER, folder); }
static void without_parent_sync(disk_log *log) { drop_all(log, DISK_SYNC_FOLDER, "runs"); }
static void without_root_sync(disk_log *log) { drop_all(log, DISK_SYNC_FOLDER, ""); }

static void renamed_before_sync(disk_log *log) {
    for (size_t i = 0; (i = next_of(log, i, DISK_SYNC_FILE)) < log->count;) {
        size_t renamed = next_of(log, i, DISK_RENAME);
        move(log, i, renamed);
        i = renamed + 1;
    }
}

/* The old checkpoint goes before the new one has its name. */
static void removed_before_rename(disk_log *log) {
    for (size_t i = 0; (i = next_of(log, i, DISK_UNLINK)) < log->count; i++) {
        if (!strstr(log->event[i].path, "step-")) continue;
        size_t renamed = i;
        while (log->event[renamed].kind != DISK_RENAME) renamed--;
        move(log, i, renamed);
    }
}

/* The new name is not durable yet, the old file may be gone already. */
static void removed_before_folder_sync(disk_log *log) {
    for (size_t i = 0; (i = next_of(log, i, DISK_UNLINK)) < log->count; i++) {
        if (!strstr(log->event[i].path, "step-")) continue;
        size_t synced = i;
        while (log->event[synced].kind != DISK_SYNC_FOLDER) synced--;
        move(log, i, synced);
    }
}

/* OK is said before the folder is synced. */
static void told_too_early(disk_log *log) {
    for (size_t i = 0; (i = next_of(log, i, DISK_SAVED)) < log->count; i++) {
        size_t renamed = i;
        while (log->event[renamed].kind != DISK_RENAME) renamed--;
        move(log, i, renamed + 1);
    }
}

/* The file is written under its last name. */
static void written_in_place(disk_log *log) {
    for (size_t i = 0; i < log->count; i++) {
        size_t renamed = next_of(log, i, DISK_RENAME);
        disk_event *event = &log->event[i];
        bool of_file = event->kind == DISK_CREATE || event->kind == DISK_WRITE || event->kind == DISK_SYNC_FILE;
        size_t removed = next_of(log, i, DISK_UNLINK);
        if (!of_file || renamed == log->count || removed < renamed) continue;
        memcpy(event->path, log->event[renamed].to, sizeof event->path);
    }
    drop_all(log, DISK_RENAME, NULL);
}

static const struct {
    const char *name;
    int keep;
    void (*change)(disk_log *);
} wrong[] = {
    {"without fsync of the file", 2, without_sync},
    {"without fsync of the folder", 2, without_folder_sync},
    {"without fsync of the folder above", 2, without_parent_sync},
    {"without fsync of the folder above that", 2, without_root_sync},
    {"renamed before the fsync", 2, renamed_before_sync},
    {"old one removed before the rename", 1, removed_before_rename},
    {"old one removed before the fsync of the folder", 1, removed_before_folder_sync},
    {"OK before the fsync of the folder", 2, told_too_early},
    {"written in place", 2, written_in_place},
};

/* ---- both modes --------------------------------------------------------------------------------------------- */

static int try_right(uint64_t damages) {
    static disk_log log; /* too large for a stack */
    long broken = 0;
    for (int keep = 1; keep <= SAVES; keep++) {
        char name[60];
        memset(&log, 0, sizeof log);
        record(&log, keep);
        (void)snprintf(name, sizeof name, "%d saves, %d kept", SAVES, keep);
        broken += try_all(&log, damages, name).broken;
        disk_log_free(&log);
    }
    return broken > 0;
}

static int try_wrong(uint64_t damages) {
    static disk_log log;
    int missed = 0;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memset(&log, 0, sizeof log);
        record(&log, wrong[i].keep);
        wrong[i].change(&log);
        if (try_all(&log, damages, wrong[i].name).broken == 0) missed++;
        disk_log_free(&log);
    }
    (void)printf("%zu wrong protocols, %d not found out\n", sizeof wrong / sizeof *wrong, missed);
    return missed > 0;
}

int main(int argc, char **argv) {
    uint64_t damages = 20;
    bool is_wrong = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--wrong") == 0)
            is_wrong = true;
        else if (strcmp(argv[i], "--damages") == 0 && i + 1 < argc)
            damages = strtoull(argv[++i], NULL, 10);
        else
            stop("usage: crash_states [--wrong] [--damages N]", NULL);
    }
    return is_wrong ? try_wrong(damages) : try_right(damages);
}
