/* Writing safetensors files: header text, padding, data; parsed once before anybody gets it. */
#include <stdio.h>
#include <string.h>

#include "checkpoint/safetensors_impl.h"

/* ---- header text -------------------------------------------------------------------------------------------- */

typedef struct writer {
    mmrec_allocator *allocator;
    mmrec_error *error;
    mmrec_status status; /* of the first failure; what follows it does nothing */
    char *text;
    size_t used, capacity;
} writer;

static void put(writer *w, const char *text, size_t length) {
    if (w->status != MMREC_OK) return;
    void *block = w->text;
    w->status = mmrec_alloc_grow(w->allocator, &block, &w->capacity, w->used + length, 1, MMREC_ALLOC_FILE, w->error);
    if (w->status != MMREC_OK) return;
    w->text = block;
    memcpy(w->text + w->used, text, length);
    w->used += length;
}

static void put_text(writer *w, const char *text) { put(w, text, strlen(text)); }

static void put_number(writer *w, int64_t value) {
    char digits[24];
    put(w, digits, (size_t)snprintf(digits, sizeof digits, "%lld", (long long)value));
}

static void put_string(writer *w, const char *text) {
    put_text(w, "\"");
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        char escaped[8];
        if (c < 0x20) {
            put(w, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", c));
        } else {
            if (c == '"' || c == '\\') put_text(w, "\\");
            put(w, text, 1);
        }
    }
    put_text(w, "\"");
}

static void put_metadata(writer *w, const mmrec_safetensors_entry *metadata, size_t entries) {
    if (entries == 0) return;
    put_string(w, SAFETENSORS_METADATA_KEY);
    for (size_t i = 0; i < entries; i++) {
        put_text(w, i == 0 ? ":{" : ",");
        put_string(w, metadata[i].key);
        put_text(w, ":");
        put_string(w, metadata[i].value);
    }
    put_text(w, "}");
}

static void put_tensor(writer *w, const mmrec_safetensors_tensor *tensor, size_t begin) {
    put_string(w, tensor->name);
    put_text(w, ":{\"dtype\":");
    put_string(w, mmrec_safetensors_dtype_name(tensor->dtype));
    put_text(w, ",\"shape\":[");
    for (int i = 0; i < tensor->ndim; i++) {
        if (i > 0) put_text(w, ",");
        put_number(w, tensor->dim[i]);
    }
    put_text(w, "],\"data_offsets\":[");
    put_number(w, (int64_t)begin);
    put_text(w, ",");
    put_number(w, (int64_t)(begin + tensor->bytes));
    put_text(w, "]}");
}

/* ---- order and layout --------------------------------------------------------------------------------------- */

/* A walk over the tensors by falling size of their elements: each then begins at a multiple of its own. */
typedef struct cursor {
    size_t element, next; /* bytes of the elements being visited; where the search goes on */
} cursor;

static const cursor first = {8, 0};

static const mmrec_safetensors_tensor *next_tensor(cursor *at, const mmrec_safetensors_tensor *tensors, size_t count) {
    for (; at->element > 0; at->element /= 2, at->next = 0) {
        while (at->next < count) {
            const mmrec_safetensors_tensor *tensor = &tensors[at->next++];
            if (mmrec_safetensors_dtype_bytes(tensor->dtype) == at->element) return tensor;
        }
    }
    return NULL;
}

static mmrec_status check_tensor(const mmrec_safetensors_tensor *tensor, mmrec_error *error) {
    char buffer[SAFETENSORS_SHOWN];
    const char *shown = safetensors_shown(tensor->name, buffer);
    size_t bytes = 0;
    if (mmrec_safetensors_dtype_bytes(tensor->dtype) == 0) {
        MMREC_FAIL(error, MMREC_FORMAT, "dtype of tensor \"%s\" is %d, which is none", shown, (int)tensor->dtype);
    }
    if (tensor->ndim < 0 || tensor->ndim > MMREC_SAFETENSORS_MAX_DIMS) {
        MMREC_FAIL(error, MMREC_FORMAT, "tensor \"%s\" has %d axes, at most %d are allowed", shown, tensor->ndim,
                   MMREC_SAFETENSORS_MAX_DIMS);
    }
    if (strcmp(tensor->name, SAFETENSORS_METADATA_KEY) == 0) {
        MMREC_FAIL(error, MMREC_FORMAT, "a tensor cannot be named \"%s\"", shown);
    }
    MMREC_TRY(safetensors_size(tensor, shown, &bytes, error));
    if (bytes > 0 && !tensor->data) MMREC_FAIL(error, MMREC_FORMAT, "tensor \"%s\" has no data", shown);
    if (bytes == tensor->bytes) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT, "tensor \"%s\" has %zu bytes of data, its dtype and shape need %zu", shown,
               tensor->bytes, bytes);
}

static mmrec_status check_tensors(const mmrec_safetensors_tensor *tensors, size_t count, size_t *data_size,
                                  mmrec_error *error) {
    *data_size = 0;
    for (size_t i = 0; i < count; i++) {
        MMREC_TRY(check_tensor(&tensors[i], error));
        if (__builtin_add_overflow(*data_size, tensors[i].bytes, data_size) || *data_size > PTRDIFF_MAX) {
            MMREC_FAIL(error, MMREC_FORMAT, "%zu tensors would have 2^63 bytes or more", count);
        }
    }
    return MMREC_OK;
}

/* Header text with its length in front, padded by spaces so that the data begins aligned. */
static void put_header(writer *w, const mmrec_safetensors_tensor *tensors, size_t count,
                       const mmrec_safetensors_entry *metadata, size_t entries) {
    char length[SAFETENSORS_PREFIX] = {0};
    put(w, length, sizeof length);
    put_text(w, "{");
    put_metadata(w, metadata, entries);
    bool follows = entries > 0;
    size_t begin = 0;
    const mmrec_safetensors_tensor *tensor = NULL;
    for (cursor at = first; (tensor = next_tensor(&at, tensors, count)); begin += tensor->bytes) {
        if (follows) put_text(w, ",");
        put_tensor(w, tensor, begin);
        follows = true;
    }
    put_text(w, "}");
    while (w->status == MMREC_OK && w->used % SAFETENSORS_DATA_ALIGN != 0) put_text(w, " ");
    if (w->status != MMREC_OK) return;
    uint64_t text_size = w->used - SAFETENSORS_PREFIX;
    for (int i = 0; i < SAFETENSORS_PREFIX; i++) w->text[i] = (char)(text_size >> 8 * i & 255);
}

/* A block that is too small is given back first: a new one beside it would need the memory of both. */
static mmrec_status make_room(mmrec_allocator *allocator, size_t size, void **block, size_t *capacity,
                              mmrec_error *error) {
    if (size <= *capacity) return MMREC_OK;
    mmrec_alloc(allocator, *block, *capacity, 0, MMREC_ALLOC_FILE);
    *block = mmrec_alloc(allocator, NULL, 0, size, MMREC_ALLOC_FILE);
    *capacity = *block ? size : 0;
    if (*block) return MMREC_OK;
    MMREC_FAIL(error, MMREC_NO_MEMORY, "not enough memory for a safetensors file of %zu bytes", size);
}

/* The whole file in one block. */
static void join(const writer *header, const mmrec_safetensors_tensor *tensors, size_t count, unsigned char *at) {
    memcpy(at, header->text, header->used);
    at += header->used;
    const mmrec_safetensors_tensor *tensor = NULL;
    for (cursor next = first; (tensor = next_tensor(&next, tensors, count));) {
        if (tensor->bytes > 0) memcpy(at, tensor->data, tensor->bytes);
        at += tensor->bytes;
    }
}

/* What is handed out must be readable: names, duplicates, UTF-8 and the limits are judged by the reader alone. */
static mmrec_status check_readable(mmrec_allocator *allocator, const void *bytes, size_t size, mmrec_error *error) {
    mmrec_safetensors *file = NULL;
    MMREC_TRY_WHILE(mmrec_safetensors_parse(allocator, bytes, size, &file, error), error,
                    "checking a safetensors file before it is written");
    mmrec_safetensors_destroy(&file);
    return MMREC_OK;
}

mmrec_status safetensors_encode_into(mmrec_allocator *allocator, const mmrec_safetensors_tensor *tensors, size_t count,
                                     const mmrec_safetensors_entry *metadata, size_t entries, void **block,
                                     size_t *capacity, size_t *size, mmrec_error *error) {
    size_t data_size = 0;
    MMREC_TRY(check_tensors(tensors, count, &data_size, error));
    writer w = {.allocator = allocator, .error = error};
    put_header(&w, tensors, count, metadata, entries);
    *size = w.used + data_size;
    mmrec_status status = w.status;
    if (status == MMREC_OK) status = make_room(allocator, *size, block, capacity, error);
    if (status == MMREC_OK) join(&w, tensors, count, *block);
    mmrec_alloc(allocator, w.text, w.capacity, 0, MMREC_ALLOC_FILE);
    if (status == MMREC_OK) status = check_readable(allocator, *block, *size, error);
    return status;
}

mmrec_status mmrec_safetensors_encode(mmrec_allocator *allocator, const mmrec_safetensors_tensor *tensors, size_t count,
                                      const mmrec_safetensors_entry *metadata, size_t entries, void **bytes,
                                      size_t *size, mmrec_error *error) {
    size_t capacity = 0;
    *bytes = NULL;
    mmrec_status status =
        safetensors_encode_into(allocator, tensors, count, metadata, entries, bytes, &capacity, size, error);
    if (status == MMREC_OK) return MMREC_OK;
    mmrec_alloc(allocator, *bytes, capacity, 0, MMREC_ALLOC_FILE);
    *bytes = NULL;
    *size = 0;
    return status;
}

mmrec_status mmrec_safetensors_write(mmrec_io *io, mmrec_allocator *allocator, const char *path,
                                     const mmrec_safetensors_tensor *tensors, size_t count,
                                     const mmrec_safetensors_entry *metadata, size_t entries, mmrec_error *error) {
    void *bytes = NULL;
    size_t size = 0;
    MMREC_TRY_WHILE(mmrec_safetensors_encode(allocator, tensors, count, metadata, entries, &bytes, &size, error), error,
                    "writing \"%.140s\"", path);
    mmrec_status status = mmrec_io_write_file(io, path, bytes, size, error);
    mmrec_alloc(allocator, bytes, size, 0, MMREC_ALLOC_FILE);
    return status;
}
