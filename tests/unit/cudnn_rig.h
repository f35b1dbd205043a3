/* What the suites of cuDNN ask the library in its place for (fake_cudnn.c). */
#ifndef CUDNN_RIG_H
#define CUDNN_RIG_H

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static inline void *fake_library(void) {
    void *library = dlopen(MMREC_FAKE_CUDNN, RTLD_NOW | RTLD_LOCAL);
    if (!library) fail_msg("%s", dlerror());
    return library;
}

static inline void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) fail_msg("the fake cuDNN has no %s", name);
    return found;
}

/* How often a journal of calls holds a name. */
static inline int count_in(const char *journal, const char *name) {
    int count = 0;
    for (const char *at = journal; (at = strstr(at, name)); at += strlen(name)) count++;
    return count;
}

#endif
