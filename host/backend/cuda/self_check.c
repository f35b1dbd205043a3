/* Which regimes of the recurrence AUTO may use: found out once per device and build, then read from a small file.
 *
 * The file is $XDG_CACHE_HOME/mmrec/recurrence-check (or $HOME/.cache/mmrec/..): a line that names device, driver and
 * module, and a line with what was found. Any other content, and a file that cannot be read, count as nothing known;
 * one that cannot be written is no fault, the next process checks again. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mmrec/io.h"

#include "recurrence.h"

enum { PATH_BYTES = 1024, TEXT_BYTES = 1024, WHY_BYTES = 320 };
static const unsigned ALL = (1u << MMREC_RECURRENCE_REGIMES) - 1;
static const unsigned ONLY_GRAPH = 1u << MMREC_RECURRENCE_GRAPH;

/* What this process knows. */
static unsigned known_regimes;
static bool known;

/* ---- the file ---- */

static bool cache_path(char *path) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = 0;
    if (cache && cache[0] == '/') {
        length = snprintf(path, PATH_BYTES, "%s/mmrec/recurrence-check", cache);
    } else if (home && home[0] == '/') {
        length = snprintf(path, PATH_BYTES, "%s/.cache/mmrec/recurrence-check", home);
    }
    return length > 0 && length < PATH_BYTES;
}

/* A build is told by the size and time of the file that this code was loaded from. */
static bool cache_key(char *key) {
    struct cudaDeviceProp properties;
    Dl_info module;
    struct stat file;
    int driver = 0;
    if (!dladdr(&ALL, &module) || !module.dli_fname || stat(module.dli_fname, &file) != 0) return false;
    if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess || cudaDriverGetVersion(&driver) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    int length = snprintf(key, TEXT_BYTES / 2, "%s, %d SMs, driver %d, build %lld.%lld.%09ld", properties.name,
                          properties.multiProcessorCount, driver, (long long)file.st_size,
                          (long long)file.st_mtim.tv_sec, (long)file.st_mtim.tv_nsec);
    return length > 0 && length < TEXT_BYTES / 2;
}

static int cache_text(char *text, const char *key, unsigned regimes) {
    return snprintf(text, TEXT_BYTES, "mmrec recurrence check 1: %s\nproven %u\n", key, regimes);
}

/* What the file says for this key: it must be, byte for byte, what would have been written. */
static bool cache_read(const char *path, const char *key, unsigned *regimes) {
    mmrec_io io = {0};
    mmrec_allocator allocator = {0};
    void *data = NULL;
    size_t size = 0;
    char want[TEXT_BYTES];
    bool found = false;
    if (mmrec_io_read_file(&io, &allocator, path, TEXT_BYTES, &data, &size, NULL) != MMREC_OK) return false;
    for (unsigned r = 0; r <= ALL && !found; r++) {
        int length = cache_text(want, key, r);
        found = length > 0 && (size_t)length == size && !memcmp(want, data, size);
        if (found) *regimes = r;
    }
    mmrec_alloc(&allocator, data, size, 0, MMREC_ALLOC_FILE);
    return found;
}

static void cache_write(const char *path, const char *key, unsigned regimes) {
    mmrec_io io = {0};
    char text[TEXT_BYTES];
    int length = cache_text(text, key, regimes);
    mmrec_status ignored = mmrec_io_write_file(&io, path, text, (size_t)length, NULL);
    (void)ignored;
}

/* ---- the answer ---- */

static bool recording(void) {
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    return cudaStreamIsCapturing(mmrec_cuda_now()->stream, &status) != cudaSuccess ||
           status != cudaStreamCaptureStatusNone;
}

static unsigned find_out(const char *path, const char *key) {
    mmrec_error error;
    char why[WHY_BYTES];
    unsigned regimes = 0;
    mmrec_error_clear(&error);
    if (mmrec_recurrence_check(&regimes, why, sizeof why, &error) != MMREC_OK) {
        mmrec_cuda_warn("the recurrence could not be checked on this device (%s); --recurrence auto means graph",
                        error.message);
        return ONLY_GRAPH;
    }
    regimes &= ALL;
    if (why[0]) {
        mmrec_cuda_warn("the recurrence failed its check on this device (%s); --recurrence auto avoids what failed",
                        why);
    }
    if (path[0]) cache_write(path, key, regimes);
    return regimes;
}

unsigned mmrec_recurrence_proven(void) {
    char path[PATH_BYTES], key[TEXT_BYTES / 2];
    if (!mmrec_cuda_now()->self_check) return ALL;
    if (known) return known_regimes;
    if (recording()) return ONLY_GRAPH;
    bool kept = cache_path(path) && cache_key(key);
    if (!kept) path[0] = key[0] = '\0';
    if (!kept || !cache_read(path, key, &known_regimes)) {
        known_regimes = find_out(path, key);
    } else if (known_regimes != ALL) {
        mmrec_cuda_warn(
            "the recurrence failed its check on this device earlier (%s says so; delete it to check again); "
            "--recurrence auto avoids what failed",
            path);
    }
    known = true;
    return known_regimes;
}
