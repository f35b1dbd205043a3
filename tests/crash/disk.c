#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mmrec/rng.h"

static void stop(const char *what) {
    (void)fprintf(stderr, "disk: %s\n", what);
    exit(2);
}

/* ---- recording ---------------------------------------------------------------------------------------------- */

static void below_root(const disk_log *log, const char *path, char out[DISK_PATH]) {
    size_t length = strlen(log->root);
    if (strncmp(path, log->root, length) != 0) stop("a path outside of the root was touched");
    path += length;
    while (*path == '/') path++;
    if (strlen(path) >= DISK_PATH) stop("a path is too long");
    memcpy(out, path, strlen(path) + 1);
}

static disk_event *add(disk_log *log, disk_kind kind, const char *path) {
    if (log->count == DISK_MOST_EVENTS) stop("too many events");
    disk_event *event = &log->event[log->count++];
    *event = (disk_event){.kind = kind};
    memcpy(event->path, path, strlen(path) + 1);
    return event;
}

static void record_open(disk_log *log, const mmrec_io_event *event) {
    if (event->fd < 0 || event->fd >= 64) stop("a descriptor beyond 63");
    below_root(log, event->path, log->open[event->fd]);
    log->is_folder[event->fd] = (event->flags & O_DIRECTORY) != 0;
    if (event->flags & O_CREAT) add(log, DISK_CREATE, log->open[event->fd]);
}

static void record_write(disk_log *log, const mmrec_io_event *event) {
    disk_event *written = add(log, DISK_WRITE, log->open[event->fd]);
    written->data = malloc(event->size + 1);
    if (!written->data) stop("no memory");
    memcpy(written->data, event->data, event->size);
    written->size = event->size;
}

void disk_record(void *context, const mmrec_io_event *event) {
    disk_log *log = context;
    char path[DISK_PATH];
    if (event->reason) return; /* nothing fails on the way; what is missing is looked for */
    switch (event->op) {
    case MMREC_IO_OPEN:
        record_open(log, event);
        return;
    case MMREC_IO_WRITE:
        record_write(log, event);
        return;
    case MMREC_IO_SYNC:
        add(log, log->is_folder[event->fd] ? DISK_SYNC_FOLDER : DISK_SYNC_FILE, log->open[event->fd]);
        return;
    case MMREC_IO_RENAME:
        below_root(log, event->path, path);
        below_root(log, event->to, add(log, DISK_RENAME, path)->to);
        return;
    case MMREC_IO_UNLINK:
    case MMREC_IO_MKDIR:
        below_root(log, event->path, path);
        add(log, event->op == MMREC_IO_UNLINK ? DISK_UNLINK : DISK_MAKE_FOLDER, path);
        return;
    case MMREC_IO_READ:
    case MMREC_IO_CLOSE:
    case MMREC_IO_STAT:
    case MMREC_IO_LIST:
        return;
    case MMREC_IO_OPS:
        break;
    }
    stop("an operation that it does not know");
}

void disk_record_saved(disk_log *log, int64_t step) { add(log, DISK_SAVED, "")->step = step; }

void disk_log_free(disk_log *log) {
    for (size_t i = 0; i < log->count; i++) free(log->event[i].data);
    log->count = 0;
}

/* ---- playing ------------------------------------------------------------------------------------------------ */

typedef struct file {
    bool is_folder;
    char path[DISK_PATH]; /* of a folder */
    unsigned char *data;  /* all that was written */
    size_t size, durable; /* of it; only the first `durable` bytes are certain */
} file;

/* An entry that appears in a folder or disappears from it. */
typedef struct change {
    char folder[DISK_PATH], name[DISK_NAME];
    int file;
    bool appears, durable;
} change;

typedef struct disk {
    file files[DISK_MOST_FILES];
    int file_count;
    change changes[2 * DISK_MOST_EVENTS];
    int change_count;
} disk;

static void split(const char *path, char folder[DISK_PATH], char name[DISK_NAME]) {
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    memcpy(folder, path, length);
    folder[length] = '\0';
    (void)snprintf(name, DISK_NAME, "%.*s", DISK_NAME - 1, slash ? slash + 1 : path);
}

static void change_entry(disk *d, const char *path, int which, bool appears) {
    change *c = &d->changes[d->change_count++];
    *c = (change){.file = which, .appears = appears};
    split(path, c->folder, c->name);
}

/* What a path names when every change is done. */
static int find(const disk *d, const char *path) {
    char folder[DISK_PATH], name[DISK_NAME];
    split(path, folder, name);
    for (int i = d->change_count - 1; i >= 0; i--) {
        const change *c = &d->changes[i];
        if (strcmp(c->folder, folder) == 0 && strcmp(c->name, name) == 0 && c->appears) return c->file;
    }
    stop("a file that was not created");
    return -1;
}

static int new_file(disk *d, bool is_folder, const char *path) {
    if (d->file_count == DISK_MOST_FILES) stop("too many files");
    file *f = &d->files[d->file_count];
    *f = (file){.is_folder = is_folder};
    (void)snprintf(f->path, sizeof f->path, "%s", path);
    return d->file_count++;
}

static void write_on(file *f, const disk_event *event) {
    f->data = realloc(f->data, f->size + event->size + 1);
    if (!f->data) stop("no memory");
    memcpy(f->data + f->size, event->data, event->size);
    f->size += event->size;
}

static void sync_folder(disk *d, const char *folder) {
    for (int i = 0; i < d->change_count; i++) {
        if (strcmp(d->changes[i].folder, folder) == 0) d->changes[i].durable = true;
    }
}

static void play(disk *d, const disk_event *event) {
    file *f = NULL;
    switch (event->kind) {
    case DISK_CREATE:
    case DISK_MAKE_FOLDER:
        change_entry(d, event->path, new_file(d, event->kind == DISK_MAKE_FOLDER, event->path), true);
        break;
    case DISK_WRITE:
        write_on(&d->files[find(d, event->path)], event);
        break;
    case DISK_SYNC_FILE:
        f = &d->files[find(d, event->path)];
        f->durable = f->size;
        break;
    case DISK_SYNC_FOLDER:
        sync_folder(d, event->path);
        break;
    case DISK_RENAME:
        change_entry(d, event->to, find(d, event->path), true);
        change_entry(d, event->path, find(d, event->path), false);
        break;
    case DISK_UNLINK:
        change_entry(d, event->path, find(d, event->path), false);
        break;
    case DISK_SAVED:
        break;
    }
}

/* ---- damage ------------------------------------------------------------------------------------------------- */

typedef struct chance {
    uint64_t seed, stream, drawn;
} chance;

static size_t below(chance *c, size_t limit) {
    return mmrec_rng_below(c->seed, c->stream, c->drawn++, (uint32_t)(limit ? limit : 1));
}

static void garble(chance *c, unsigned char *data, size_t from, size_t size) {
    enum { BLOCK = 512 };
    for (size_t at = from; at < size; at += BLOCK) {
        size_t length = size - at < BLOCK ? size - at : BLOCK, way = below(c, 4);
        if (way == 0) memset(data + at, 0, length);
        for (size_t i = 0; way == 1 && i < length; i++) data[at + i] = (unsigned char)below(c, 256);
    }
}

static void write_file(const char *path, const unsigned char *data, size_t size) {
    FILE *out = fopen(path, "w");
    if (!out || (size > 0 && fwrite(data, 1, size, out) != size) || fclose(out) != 0) stop("cannot write a state");
}

static void make_file(const file *f, chance *c, uint64_t damage, const char *path) {
    size_t pending = f->size - f->durable;
    unsigned char *data = malloc(f->size + 1);
    if (!data) stop("no memory");
    if (f->size > 0) memcpy(data, f->data, f->size);
    size_t size = f->size;
    if (damage == 0) size = f->durable;
    if (damage > 1 && pending > 0) {
        size_t way = below(c, 4); /* missing, cut, garbled, cut and garbled; 1 in 4 of the cuts takes nothing */
        if (way == 0) size = f->durable;
        if (way % 2 == 1 && below(c, 4)) size = f->durable + below(c, pending + 1);
        if (way >= 2) garble(c, data, f->durable, size);
    }
    write_file(path, data, size);
    free(data);
}

/* The changes that a state has, in the order in which they count: the durable ones as they came, then some others. */
static int choose(const disk *d, chance *c, uint64_t damage, int chosen[2 * DISK_MOST_EVENTS]) {
    int count = 0;
    for (int i = 0; i < d->change_count; i++) {
        if (d->changes[i].durable) chosen[count++] = i;
    }
    int first = count;
    for (int i = 0; i < d->change_count && damage > 0; i++) {
        if (!d->changes[i].durable && (damage == 1 || below(c, 2))) chosen[count++] = i;
    }
    for (int i = count - 1; i > first && damage > 1; i--) {
        int other = first + (int)below(c, (size_t)(i - first + 1)), kept = chosen[i];
        chosen[i] = chosen[other];
        chosen[other] = kept;
    }
    return count;
}

/* The entry that counts for a name: the last one. -1: it is none, or one of an earlier change of the same name. */
static int entry_at(const disk *d, const int *chosen, int count, int at) {
    const change *c = &d->changes[chosen[at]];
    if (!c->appears) return -1;
    for (int i = at + 1; i < count; i++) {
        const change *later = &d->changes[chosen[i]];
        bool same = strcmp(later->folder, c->folder) == 0 && strcmp(later->name, c->name) == 0;
        if (same && (later->appears || later->file == c->file)) return -1;
    }
    return c->file;
}

static void make_folder(const disk *d, const int *chosen, int count, chance *c, uint64_t damage, const char *root,
                        const char *folder) {
    char path[PATH_MAX];
    for (int i = 0; i < count; i++) {
        const change *one = &d->changes[chosen[i]];
        int which = strcmp(one->folder, folder) == 0 ? entry_at(d, chosen, count, i) : -1;
        if (which < 0) continue;
        (void)snprintf(path, sizeof path, "%.3000s/%s%s%s", root, folder, *folder ? "/" : "", one->name);
        if (!d->files[which].is_folder) {
            make_file(&d->files[which], c, damage, path);
        } else {
            if (mkdir(path, 0700) != 0) stop("cannot make a folder of a state");
            make_folder(d, chosen, count, c, damage, root, d->files[which].path);
        }
    }
}

void disk_state(const disk_log *log, size_t events, uint64_t seed, uint64_t damage, const char *root) {
    static disk d; /* too large for a stack */
    int chosen[2 * DISK_MOST_EVENTS];
    chance c = {seed, events << 20 | damage, 0};
    memset(&d, 0, sizeof d);
    for (size_t i = 0; i < events; i++) play(&d, &log->event[i]);
    int count = choose(&d, &c, damage, chosen);
    make_folder(&d, chosen, count, &c, damage, root, "");
    for (int i = 0; i < d.file_count; i++) free(d.files[i].data);
}
