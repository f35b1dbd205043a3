/* A folder of its own for each test, and checkpoints whose content says which one they are. */
#ifndef MMREC_TESTS_CHECKPOINT_RIG_H
#define MMREC_TESTS_CHECKPOINT_RIG_H

#include <dirent.h>
#include <ftw.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "mmrec/checkpoint.h"

enum { RIG_ROWS = 3, RIG_COLUMNS = 5, RIG_VALUES = RIG_ROWS * RIG_COLUMNS };

static char rig_folder[48];

/* The path of a name inside the folder; eight of them live at a time. */
static inline const char *rig_path(const char *name) {
    static char path[8][PATH_MAX];
    static int next;
    next = (next + 1) % 8;
    (void)snprintf(path[next], PATH_MAX, "%s/%s", rig_folder, name);
    return path[next];
}

static inline const char *rig_step_path(int64_t step) {
    char name[64];
    (void)snprintf(name, sizeof name, "step-%012lld.safetensors", (long long)step);
    return rig_path(name);
}

static inline int rig_remove_one(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)info;
    (void)type;
    return where->level > 0 ? remove(path) : 0;
}

static inline int rig_empty(void **state) {
    (void)state;
    return nftw(rig_folder, rig_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* In memory where there is such a place: thousands of small saves would wait for a disk. */
static inline int rig_make(void **state) {
    (void)state;
    (void)snprintf(rig_folder, sizeof rig_folder, "/dev/shm/mmrec-checkpoint-XXXXXX");
    if (mkdtemp(rig_folder)) return 0;
    (void)snprintf(rig_folder, sizeof rig_folder, "/tmp/mmrec-checkpoint-XXXXXX");
    return mkdtemp(rig_folder) ? 0 : -1;
}

static inline int rig_remove(void **state) { return rig_empty(state) || rmdir(rig_folder); }

/* Names inside a folder, without "." and ".."; those that begin with `prefix`. */
static inline int rig_count(const char *path, const char *prefix) {
    DIR *dir = opendir(path);
    if (!dir) return -1;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        bool dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        count += !dots && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    }
    closedir(dir);
    return count;
}

static inline void rig_write(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline double rig_value(int64_t step, int i) { return (double)step * 1000 + i + 0.1; }

/* Everything in it follows from `step`. */
static inline mmrec_checkpoint *rig_checkpoint(mmrec_allocator *allocator, int64_t step) {
    mmrec_checkpoint *checkpoint = NULL;
    double values[RIG_VALUES];
    mmrec_shape shape = mmrec_shape2(RIG_ROWS, RIG_COLUMNS);
    for (int i = 0; i < RIG_VALUES; i++) values[i] = rig_value(step, i);
    assert_int_equal(mmrec_checkpoint_create(allocator, &checkpoint, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_put(checkpoint, "rounded", MMREC_SAFETENSORS_F32, &shape, values, NULL),
                     MMREC_OK);
    assert_int_equal(mmrec_checkpoint_put(checkpoint, "exact", MMREC_SAFETENSORS_F64, &shape, values, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_put_whole(checkpoint, "step", step, NULL), MMREC_OK);
    return checkpoint;
}

static inline void rig_expect(const mmrec_checkpoint *checkpoint, int64_t step) {
    double exact[RIG_VALUES], rounded[RIG_VALUES];
    mmrec_shape shape = mmrec_shape2(RIG_ROWS, RIG_COLUMNS);
    int64_t got = -1;
    assert_int_equal(mmrec_checkpoint_get(checkpoint, "exact", &shape, exact, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_get(checkpoint, "rounded", &shape, rounded, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_whole(checkpoint, "step", &got, NULL), MMREC_OK);
    assert_int_equal(got, step);
    for (int i = 0; i < RIG_VALUES; i++) {
        assert_true(exact[i] == rig_value(step, i));
        assert_true(rounded[i] == (double)(float)rig_value(step, i));
    }
}

/* Saves through a file, not through a writer. */
static inline void rig_save(mmrec_allocator *allocator, int64_t step) {
    mmrec_io io = {0};
    mmrec_checkpoint *checkpoint = rig_checkpoint(allocator, step);
    assert_int_equal(mmrec_checkpoint_write_file(checkpoint, &io, rig_step_path(step), NULL), MMREC_OK);
    mmrec_checkpoint_destroy(&checkpoint);
}

/* What mmrec_checkpoint_newest told of files it passed over. */
typedef struct rig_skips {
    int count;
    char file[4][64], why[4][500];
} rig_skips;

static inline void rig_skipped(void *context, const char *file, const char *why) {
    rig_skips *skips = context;
    if (skips->count < 4) {
        (void)snprintf(skips->file[skips->count], 64, "%s", file);
        (void)snprintf(skips->why[skips->count], 500, "%s", why);
    }
    skips->count++;
}

/* The newest checkpoint of the folder must be that of `step`. */
static inline rig_skips rig_expect_newest(int64_t step) {
    mmrec_allocator allocator = {0};
    mmrec_io io = {0};
    mmrec_checkpoint *newest = NULL;
    rig_skips skips = {0};
    int64_t got = 0;
    assert_int_equal(mmrec_checkpoint_newest(&allocator, &io, rig_folder, rig_skipped, &skips, &newest, &got, NULL),
                     MMREC_OK);
    assert_int_equal(got, step);
    assert_true((newest != NULL) == (step >= 0));
    if (newest) rig_expect(newest, step);
    mmrec_checkpoint_destroy(&newest);
    assert_int_equal(allocator.total.live_bytes, 0);
    return skips;
}

#endif
