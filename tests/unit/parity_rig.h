/* Fixtures, whole and changed, for the tests of parity. */
#ifndef PARITY_RIG_H
#define PARITY_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mmrec/parity.h"
#include "mmrec/safetensors.h"

enum { LIMIT = 1 << 24, MAX_TENSORS = 512 };

static inline const char *fixture_path(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/fixtures/%s.safetensors", MMREC_GOLDEN, name);
    return path;
}

static inline mmrec_parity_options ways(const char *backend, bool hem, bool recompute) {
    mmrec_parity_options options = {.hem = hem, .recompute = recompute, .threads = 2};
    assert_int_equal(mmrec_backend_find(backend, &options.backend, NULL), MMREC_OK);
    return options;
}

static inline void must(mmrec_status status, const mmrec_error *error) {
    char text[1024];
    if (status != MMREC_OK) fail_msg("%s", mmrec_error_text(error, text, sizeof text));
}

/* A fixture in memory that a test may change before it is written out again. */
typedef struct draft {
    mmrec_allocator allocator;
    mmrec_safetensors *file;
    mmrec_safetensors_tensor tensors[MAX_TENSORS];
    mmrec_safetensors_entry metadata[16];
    size_t count, entries;
    float values[1 << 16];
} draft;

static inline draft *draft_open(const char *name) {
    static draft d;
    mmrec_io io = {0};
    mmrec_error error = {0};
    memset(&d, 0, sizeof d);
    must(mmrec_safetensors_open(&io, &d.allocator, fixture_path(name), LIMIT, &d.file, &error), &error);
    d.count = mmrec_safetensors_count(d.file);
    d.entries = mmrec_safetensors_metadata_count(d.file);
    assert_true(d.count < MAX_TENSORS && d.entries < 16);
    for (size_t i = 0; i < d.count; i++) d.tensors[i] = *mmrec_safetensors_at(d.file, i);
    for (size_t i = 0; i < d.entries; i++) d.metadata[i] = *mmrec_safetensors_metadata_at(d.file, i);
    return &d;
}

static inline mmrec_safetensors_tensor *draft_find(draft *d, const char *name) {
    for (size_t i = 0; i < d->count; i++) {
        if (strcmp(d->tensors[i].name, name) == 0) return &d->tensors[i];
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Values of a tensor that can be written to. */
static inline float *draft_values(draft *d, const char *name) {
    mmrec_safetensors_tensor *tensor = draft_find(d, name);
    assert_true(tensor->bytes <= sizeof d->values);
    memcpy(d->values, tensor->data, tensor->bytes);
    tensor->data = d->values;
    return d->values;
}

/* Changes a value of the metadata, or takes the key out where `value` is NULL. */
static inline void draft_meta(draft *d, const char *key, const char *value) {
    for (size_t i = 0; i < d->entries; i++) {
        if (strcmp(d->metadata[i].key, key) != 0) continue;
        d->metadata[i].value = value;
        if (!value) d->metadata[i] = d->metadata[--d->entries];
        return;
    }
    fail_msg("no metadata %s", key);
}

/* Writes the draft to a file of its own, runs it, removes it. */
static inline mmrec_status draft_run(draft *d, mmrec_parity_options options, mmrec_parity **out, mmrec_error *error) {
    char path[] = "/tmp/mmrec-parity-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    mmrec_io io = {0};
    must(mmrec_safetensors_write(&io, &d->allocator, path, d->tensors, d->count, d->metadata, d->entries, error),
         error);
    mmrec_status status = mmrec_parity_run(&d->allocator, &io, path, &options, out, error);
    unlink(path);
    return status;
}

static inline void draft_close(draft *d) {
    mmrec_safetensors_destroy(&d->file);
    assert_int_equal(d->allocator.total.live_bytes, 0);
}

#endif
