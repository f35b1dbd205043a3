/* A folder of checkpoints: their names, the newest valid one, and removing old ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint_impl.h"

#define NAME "step-%012lld.safetensors"
enum { DIGITS = 12, DIGITS_AT = 5, WHY = 400 };

static const char *name_of(int64_t step, char name[MMREC_CHECKPOINT_NAME]) {
    (void)snprintf(name, MMREC_CHECKPOINT_NAME, NAME, (long long)step);
    return name;
}

/* The step in a file's name, -1: it is no checkpoint's. Written again it must be the same. */
static int64_t step_of(const char *name) {
    char again[MMREC_CHECKPOINT_NAME];
    if (strncmp(name, NAME, DIGITS_AT) != 0 || strspn(name + DIGITS_AT, "0123456789") != DIGITS) return -1;
    int64_t step = strtoll(name + DIGITS_AT, NULL, 10);
    return strcmp(name, name_of(step, again)) == 0 ? step : -1;
}

mmrec_status checkpoint_path(const char *folder, int64_t step, char path[PATH_MAX], mmrec_error *error) {
    char name[MMREC_CHECKPOINT_NAME];
    int length = snprintf(path, PATH_MAX, "%s/%s", folder, name_of(step, name));
    if (length > 0 && length < PATH_MAX) return MMREC_OK;
    MMREC_FAIL(error, MMREC_IO, "the folder \"%.120s...\" has a name of %zu bytes, which is too long for files in it",
               folder, strlen(folder));
}

/* ---- the newest --------------------------------------------------------------------------------------------- */

typedef struct steps {
    mmrec_allocator *allocator;
    int64_t *step;
    size_t count, capacity;
} steps;

static mmrec_status add_step(void *context, const char *name, mmrec_error *error) {
    steps *all = context;
    int64_t step = step_of(name);
    if (step < 0) return MMREC_OK;
    void *array = all->step;
    mmrec_status status = mmrec_alloc_grow(all->allocator, &array, &all->capacity, all->count + 1, sizeof *all->step,
                                           MMREC_ALLOC_FILE, error);
    all->step = array;
    if (status == MMREC_OK) all->step[all->count++] = step;
    return status;
}

static int newest_first(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a < b) - (a > b);
}

typedef struct search {
    mmrec_allocator *allocator;
    mmrec_io *io;
    const char *folder;
    mmrec_checkpoint_skipped skipped;
    void *context;
} search;

/* One that is not valid leaves `*out` NULL and is OK; only too little memory says nothing about the file. */
static mmrec_status try_step(const search *in, int64_t step, mmrec_checkpoint **out, char why[WHY],
                             mmrec_error *error) {
    char path[PATH_MAX], name[MMREC_CHECKPOINT_NAME];
    mmrec_error reason = {0};
    MMREC_TRY(checkpoint_path(in->folder, step, path, error));
    mmrec_status status = checkpoint_read(in->allocator, in->io, path, out, &reason);
    if (status == MMREC_NO_MEMORY && error) *error = reason;
    if (status == MMREC_OK || status == MMREC_NO_MEMORY) return status;
    mmrec_error_text(&reason, why, WHY);
    if (in->skipped) in->skipped(in->context, name_of(step, name), why);
    return MMREC_OK;
}

static mmrec_status try_all(const search *in, const steps *all, mmrec_checkpoint **out, int64_t *step,
                            mmrec_error *error) {
    char newest[WHY] = "", why[WHY], name[MMREC_CHECKPOINT_NAME];
    for (size_t i = 0; i < all->count; i++) {
        MMREC_TRY(try_step(in, all->step[i], out, i == 0 ? newest : why, error));
        if (!*out) continue;
        *step = all->step[i];
        return MMREC_OK;
    }
    if (all->count == 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT,
               "none of the checkpoints in \"%.120s\" is valid, %zu of them; the newest, %s: %.250s", in->folder,
               all->count, name_of(all->step[0], name), newest);
}

mmrec_status mmrec_checkpoint_newest(mmrec_allocator *allocator, mmrec_io *io, const char *folder,
                                     mmrec_checkpoint_skipped skipped, void *context, mmrec_checkpoint **out,
                                     int64_t *step, mmrec_error *error) {
    steps all = {.allocator = allocator};
    search in = {allocator, io, folder, skipped, context};
    bool there = false;
    *out = NULL;
    *step = -1;
    mmrec_status status = mmrec_io_list(io, folder, add_step, &all, &there, error);
    if (all.count > 1) qsort(all.step, all.count, sizeof *all.step, newest_first);
    if (status == MMREC_OK) status = try_all(&in, &all, out, step, error);
    mmrec_alloc(allocator, all.step, all.capacity * sizeof *all.step, 0, MMREC_ALLOC_FILE);
    return status;
}

/* ---- removing old ones -------------------------------------------------------------------------------------- */

typedef struct survey {
    int64_t last, oldest; /* steps beyond `last` are not looked at */
    int64_t count;
} survey;

static mmrec_status count_step(void *context, const char *name, mmrec_error *error) {
    survey *seen = context;
    int64_t step = step_of(name);
    (void)error;
    if (step < 0 || step > seen->last) return MMREC_OK;
    if (seen->count++ == 0 || step < seen->oldest) seen->oldest = step;
    return MMREC_OK;
}

static mmrec_status look(mmrec_io *io, const char *folder, int64_t last, survey *seen, mmrec_error *error) {
    bool there = false;
    *seen = (survey){.last = last};
    return mmrec_io_list(io, folder, count_step, seen, &there, error);
}

/* The folder is gone through again for each: the thread that writes may not ask for memory, and there is nearly always
 * one to remove. That is not made durable: a file that a power cut brings back is removed after the next save. */
mmrec_status checkpoint_prune(mmrec_io *io, const char *folder, int64_t step, int keep, mmrec_error *error) {
    char path[PATH_MAX];
    survey seen;
    MMREC_TRY(look(io, folder, step, &seen, error));
    /* Bounded by the first count: somebody else may remove or add some meanwhile. */
    for (int64_t excess = seen.count - keep; excess > 0 && seen.count > keep; excess--) {
        MMREC_TRY(checkpoint_path(folder, seen.oldest, path, error));
        MMREC_TRY(mmrec_io_remove(io, path, error));
        if (excess > 1) MMREC_TRY(look(io, folder, step, &seen, error));
    }
    return MMREC_OK;
}
