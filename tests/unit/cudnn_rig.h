/* What the suites of cuDNN ask the library in its place for (fake_cudnn.c). */
#ifndef CUDNN_RIG_H
#define CUDNN_RIG_H

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/backend.h"

/* Whether the device is the emulated one, and why the suite is skipped where not: a real one would be given nonsense. */
static inline bool device_emulated(void) {
    const mmrec_backend *cuda = NULL;
    mmrec_error error = {0};
    mmrec_status status = mmrec_backend_find("cuda", &cuda, &error);
    bool emulated = status == MMREC_OK && cuda->device->info.emulated;
    if (!emulated) printf("SKIP: %s\n", status == MMREC_OK ? "the device is a real one" : error.message);
    mmrec_backend_close();
    return emulated;
}

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
