/* Checkpoints in memory: putting values and texts in, and reading them back. */
#include "mmrec/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint_impl.h"
#include "core/text.h"

enum { NUMBER = 40, SHAPE_TEXT = 200 }; /* bytes of any number in its form, of 8 axes as text */

static const char *shown(const char *name, char text[CHECKPOINT_SHOWN]) {
    return mmrec_text_printable(name, strlen(name), text, CHECKPOINT_SHOWN);
}

/* ---- making and forgetting ---------------------------------------------------------------------------------- */

mmrec_status mmrec_checkpoint_create(mmrec_allocator *allocator, mmrec_checkpoint **out, mmrec_error *error) {
    void *memory = NULL;
    *out = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof **out, MMREC_ALLOC_FILE, &memory, error));
    *out = memory;
    (*out)->allocator = allocator;
    return MMREC_OK;
}

static size_t entry_bytes(const mmrec_safetensors_entry *entry) {
    return strlen(entry->key) + 1 + strlen(entry->value) + 1;
}

void mmrec_checkpoint_clear(mmrec_checkpoint *checkpoint) {
    for (size_t i = 0; i < checkpoint->entry_count; i++) {
        const mmrec_safetensors_entry *entry = &checkpoint->entries[i];
        mmrec_alloc(checkpoint->allocator, (void *)entry->key, entry_bytes(entry), 0, MMREC_ALLOC_FILE);
    }
    checkpoint->entry_count = 0;
    checkpoint->count = 0;
    checkpoint->data_bytes = 0;
}

void mmrec_checkpoint_destroy(mmrec_checkpoint **checkpoint) {
    mmrec_checkpoint *c = *checkpoint;
    if (!c) return;
    mmrec_allocator *a = c->allocator;
    mmrec_checkpoint_clear(c);
    for (size_t i = 0; i < c->made; i++) {
        mmrec_alloc(a, c->blocks[i].memory, c->blocks[i].bytes, 0, MMREC_ALLOC_FILE);
    }
    mmrec_alloc(a, c->blocks, c->block_capacity * sizeof *c->blocks, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(a, c->tensors, c->tensor_capacity * sizeof *c->tensors, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(a, c->entries, c->entry_capacity * sizeof *c->entries, 0, MMREC_ALLOC_FILE);
    mmrec_safetensors_destroy(&c->file);
    mmrec_alloc(a, c->owned, c->owned_size, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(a, c, sizeof *c, 0, MMREC_ALLOC_FILE);
    *checkpoint = NULL;
}

/* ---- putting values ----------------------------------------------------------------------------------------- */

static const mmrec_safetensors_tensor *find_tensor(const mmrec_checkpoint *checkpoint, const char *name) {
    if (checkpoint->file) return mmrec_safetensors_find(checkpoint->file, name);
    for (size_t i = 0; i < checkpoint->count; i++) {
        if (strcmp(checkpoint->tensors[i].name, name) == 0) return &checkpoint->tensors[i];
    }
    return NULL;
}

static mmrec_status check_open(const mmrec_checkpoint *checkpoint, const char *name, mmrec_error *error) {
    char text[CHECKPOINT_SHOWN];
    if (!checkpoint->file) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "cannot put \"%s\" into a checkpoint that was read", shown(name, text));
}

/* Refuses before a value is looked at. */
static mmrec_status check_put(const mmrec_checkpoint *checkpoint, const char *name, mmrec_safetensors_dtype dtype,
                              const mmrec_shape *shape, mmrec_error *error) {
    char text[CHECKPOINT_SHOWN];
    MMREC_TRY(check_open(checkpoint, name, error));
    if (dtype != MMREC_SAFETENSORS_F64 && dtype != MMREC_SAFETENSORS_F32) {
        MMREC_FAIL(error, MMREC_CONFIG, "values of \"%s\" cannot be kept as %s, wanted F64 or F32", shown(name, text),
                   mmrec_safetensors_dtype_name(dtype));
    }
    if (find_tensor(checkpoint, name)) {
        MMREC_FAIL(error, MMREC_CONFIG, "the checkpoint has values \"%s\" already", shown(name, text));
    }
    if (!mmrec_shape_valid(shape)) MMREC_FAIL(error, MMREC_CONFIG, "the shape of \"%s\" is none", shown(name, text));
    size_t room = (MMREC_CHECKPOINT_MOST_BYTES - checkpoint->data_bytes) / mmrec_safetensors_dtype_bytes(dtype);
    if ((uint64_t)mmrec_shape_elements(shape) <= room) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "with \"%s\" the checkpoint would have more than the %zu bytes that are allowed",
               shown(name, text), MMREC_CHECKPOINT_MOST_BYTES);
}

/* Makes the next block one of `bytes` bytes. */
static mmrec_status next_block(mmrec_checkpoint *c, size_t bytes, mmrec_error *error) {
    void *tensors = c->tensors, *blocks = c->blocks;
    mmrec_status status = mmrec_alloc_grow(c->allocator, &tensors, &c->tensor_capacity, c->count + 1,
                                           sizeof *c->tensors, MMREC_ALLOC_FILE, error);
    c->tensors = tensors;
    MMREC_TRY(status);
    status = mmrec_alloc_grow(c->allocator, &blocks, &c->block_capacity, c->count + 1, sizeof *c->blocks,
                              MMREC_ALLOC_FILE, error);
    c->blocks = blocks;
    MMREC_TRY(status);
    checkpoint_block *block = &c->blocks[c->count];
    if (c->count == c->made) c->blocks[c->made++] = (checkpoint_block){NULL, 0};
    if (block->bytes == bytes) return MMREC_OK;
    mmrec_alloc(c->allocator, block->memory, block->bytes, 0, MMREC_ALLOC_FILE);
    block->memory = mmrec_alloc(c->allocator, NULL, 0, bytes, MMREC_ALLOC_FILE);
    block->bytes = block->memory ? bytes : 0;
    if (block->memory) return MMREC_OK;
    MMREC_FAIL(error, MMREC_NO_MEMORY, "not enough memory for %zu bytes of a checkpoint", bytes);
}

static void keep_values(mmrec_safetensors_dtype dtype, const double *values, size_t count, void *memory) {
    float *floats = memory;
    if (dtype == MMREC_SAFETENSORS_F64) {
        memcpy(memory, values, count * sizeof *values);
    } else {
        for (size_t i = 0; i < count; i++) floats[i] = (float)values[i];
    }
}

mmrec_status mmrec_checkpoint_put(mmrec_checkpoint *checkpoint, const char *name, mmrec_safetensors_dtype dtype,
                                  const mmrec_shape *shape, const double *values, mmrec_error *error) {
    MMREC_TRY(check_put(checkpoint, name, dtype, shape, error));
    size_t count = (size_t)mmrec_shape_elements(shape), bytes = count * mmrec_safetensors_dtype_bytes(dtype);
    MMREC_TRY(next_block(checkpoint, bytes + strlen(name) + 1, error));
    char *memory = checkpoint->blocks[checkpoint->count].memory;
    keep_values(dtype, values, count, memory);
    memcpy(memory + bytes, name, strlen(name) + 1);
    mmrec_safetensors_tensor *tensor = &checkpoint->tensors[checkpoint->count++];
    *tensor = (mmrec_safetensors_tensor){memory + bytes, dtype, shape->ndim, {0}, memory, bytes};
    for (int i = 0; i < shape->ndim; i++) tensor->dim[i] = shape->dim[i];
    checkpoint->data_bytes += bytes;
    return MMREC_OK;
}

/* ---- putting texts ------------------------------------------------------------------------------------------ */

mmrec_status mmrec_checkpoint_put_text(mmrec_checkpoint *checkpoint, const char *key, const char *text,
                                       mmrec_error *error) {
    char name[CHECKPOINT_SHOWN];
    MMREC_TRY(check_open(checkpoint, key, error));
    if (checkpoint_is_reserved(key) || mmrec_checkpoint_text(checkpoint, key)) {
        MMREC_FAIL(error, MMREC_CONFIG, "the checkpoint has a text \"%s\" already", shown(key, name));
    }
    void *entries = checkpoint->entries;
    mmrec_status status =
        mmrec_alloc_grow(checkpoint->allocator, &entries, &checkpoint->entry_capacity, checkpoint->entry_count + 1,
                         sizeof *checkpoint->entries, MMREC_ALLOC_FILE, error);
    checkpoint->entries = entries;
    MMREC_TRY(status);
    mmrec_safetensors_entry entry = {key, text};
    char *block = mmrec_alloc(checkpoint->allocator, NULL, 0, entry_bytes(&entry), MMREC_ALLOC_FILE);
    if (!block) MMREC_FAIL(error, MMREC_NO_MEMORY, "not enough memory for a text of a checkpoint");
    entry.key = memcpy(block, key, strlen(key) + 1);
    entry.value = memcpy(block + strlen(key) + 1, text, strlen(text) + 1);
    checkpoint->entries[checkpoint->entry_count++] = entry;
    return MMREC_OK;
}

static const char *whole_text(int64_t value, char text[NUMBER]) {
    (void)snprintf(text, NUMBER, "%lld", (long long)value);
    return text;
}

static const char *real_text(double value, char text[NUMBER]) {
    (void)snprintf(text, NUMBER, "%a", value);
    return text;
}

mmrec_status mmrec_checkpoint_put_whole(mmrec_checkpoint *checkpoint, const char *key, int64_t value,
                                        mmrec_error *error) {
    char text[NUMBER];
    return mmrec_checkpoint_put_text(checkpoint, key, whole_text(value, text), error);
}

mmrec_status mmrec_checkpoint_put_real(mmrec_checkpoint *checkpoint, const char *key, double value,
                                       mmrec_error *error) {
    char text[NUMBER];
    return mmrec_checkpoint_put_text(checkpoint, key, real_text(value, text), error);
}

/* ---- reading back ------------------------------------------------------------------------------------------- */

bool mmrec_checkpoint_has(const mmrec_checkpoint *checkpoint, const char *name) {
    return find_tensor(checkpoint, name) != NULL;
}

static const char *shape_text(int ndim, const int64_t *dim, char text[SHAPE_TEXT]) {
    size_t used = (size_t)snprintf(text, SHAPE_TEXT, "(");
    for (int i = 0; i < ndim; i++) {
        used += (size_t)snprintf(text + used, SHAPE_TEXT - used, i ? ", %lld" : "%lld", (long long)dim[i]);
    }
    (void)snprintf(text + used, SHAPE_TEXT - used, ")");
    return text;
}

static bool same_shape(const mmrec_safetensors_tensor *tensor, const mmrec_shape *shape) {
    if (tensor->ndim != shape->ndim) return false;
    for (int i = 0; i < shape->ndim; i++) {
        if (tensor->dim[i] != shape->dim[i]) return false;
    }
    return true;
}

mmrec_status mmrec_checkpoint_get(const mmrec_checkpoint *checkpoint, const char *name, const mmrec_shape *shape,
                                  double *values, mmrec_error *error) {
    char text[CHECKPOINT_SHOWN], got[SHAPE_TEXT], wanted[SHAPE_TEXT];
    const mmrec_safetensors_tensor *tensor = find_tensor(checkpoint, name);
    if (!tensor) MMREC_FAIL(error, MMREC_FORMAT, "the checkpoint has no values \"%s\"", shown(name, text));
    if (!same_shape(tensor, shape)) {
        MMREC_FAIL(error, MMREC_FORMAT, "\"%s\" has the shape %s in the checkpoint, wanted %s", shown(name, text),
                   shape_text(tensor->ndim, tensor->dim, got), shape_text(shape->ndim, shape->dim, wanted));
    }
    return mmrec_safetensors_read_f64(tensor, values, mmrec_safetensors_elements(tensor), error);
}

const char *mmrec_checkpoint_text(const mmrec_checkpoint *checkpoint, const char *key) {
    if (checkpoint->file) return mmrec_safetensors_metadata(checkpoint->file, key);
    for (size_t i = 0; i < checkpoint->entry_count; i++) {
        if (strcmp(checkpoint->entries[i].key, key) == 0) return checkpoint->entries[i].value;
    }
    return NULL;
}

/* The text of a number; whether it is one is decided by writing it again. */
static mmrec_status number_text(const mmrec_checkpoint *checkpoint, const char *key, const char **out,
                                mmrec_error *error) {
    char name[CHECKPOINT_SHOWN];
    *out = mmrec_checkpoint_text(checkpoint, key);
    if (*out) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT, "the checkpoint has no \"%s\"", shown(key, name));
}

static mmrec_status check_number(const char *key, const char *text, const char *again, const char *wanted,
                                 mmrec_error *error) {
    char name[CHECKPOINT_SHOWN], got[CHECKPOINT_SHOWN];
    if (strcmp(text, again) == 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT, "\"%s\" is \"%s\" in the checkpoint, wanted %s", shown(key, name), shown(text, got),
               wanted);
}

mmrec_status mmrec_checkpoint_whole(const mmrec_checkpoint *checkpoint, const char *key, int64_t *out,
                                    mmrec_error *error) {
    const char *text = NULL;
    char again[NUMBER];
    MMREC_TRY(number_text(checkpoint, key, &text, error));
    int64_t value = strtoll(text, NULL, 10);
    MMREC_TRY(check_number(key, text, whole_text(value, again), "a whole number of 64 bits", error));
    *out = value;
    return MMREC_OK;
}

mmrec_status mmrec_checkpoint_real(const mmrec_checkpoint *checkpoint, const char *key, double *out,
                                   mmrec_error *error) {
    const char *text = NULL;
    char again[NUMBER];
    MMREC_TRY(number_text(checkpoint, key, &text, error));
    double value = strtod(text, NULL);
    MMREC_TRY(check_number(key, text, real_text(value, again), "a real number as 0x1.8p+1", error));
    *out = value;
    return MMREC_OK;
}
