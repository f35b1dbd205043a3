/* A folder of its own for each test of file operations, and plain ways to fill it and look into it. */
#ifndef MMREC_TESTS_IO_RIG_H
#define MMREC_TESTS_IO_RIG_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
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

#include "mmrec/io.h"

static char folder[] = "/tmp/mmrec-io-XXXXXX";
static const char *const old_text = "the old file", *const new_text = "the new file, which is longer";

static inline const char *in_folder(const char *name) {
    static char path[8][PATH_MAX];
    static int next;
    next = (next + 1) % 8;
    (void)snprintf(path[next], PATH_MAX, "%s/%s", folder, name);
    return path[next];
}

static inline int remove_one(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)info;
    (void)type;
    return where->level > 0 ? remove(path) : 0;
}

static inline int empty_folder(void **state) {
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state) { return empty_folder(state) || rmdir(folder); }

/* Files and folders directly inside, without "." and "..". */
static inline int entries(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return -1;
    int count = -2;
    while (readdir(dir)) count++;
    closedir(dir);
    return count;
}

static inline int open_descriptors(void) { return entries("/proc/self/fd"); }

static inline void plain_write(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* The file holds exactly `text`; NULL: it must not exist. */
static inline void holds(const char *path, const char *text) {
    char got[200] = "";
    FILE *file = fopen(path, "r");
    if (!text) assert_null(file);
    if (!text) return;
    assert_non_null(file);
    size_t size = fread(got, 1, sizeof got - 1, file);
    fclose(file);
    assert_int_equal(size, strlen(text));
    assert_string_equal(got, text);
}

#endif
