/* safetensors files as handles: opening, looking up, closing. */
#include "mmrec/safetensors.h"

#include <string.h>

#include "checkpoint/safetensors_impl.h"
#include "core/text.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[MMREC_SAFETENSORS_DTYPES] = {
#define ENTRY(name, bytes) {#name, bytes},
    MMREC_SAFETENSORS_DTYPE_LIST(ENTRY)
#undef ENTRY
};

static bool known(mmrec_safetensors_dtype dtype) { return (unsigned)dtype < MMREC_SAFETENSORS_DTYPES; }

size_t mmrec_safetensors_dtype_bytes(mmrec_safetensors_dtype dtype) { return known(dtype) ? dtypes[dtype].bytes : 0; }

const char *mmrec_safetensors_dtype_name(mmrec_safetensors_dtype dtype) {
    return known(dtype) ? dtypes[dtype].name : "?";
}

const char *safetensors_shown(const char *name, char shown[SAFETENSORS_SHOWN]) {
    return mmrec_text_printable(name, strlen(name), shown, SAFETENSORS_SHOWN);
}

mmrec_status safetensors_size(const mmrec_safetensors_tensor *tensor, const char *shown, size_t *bytes,
                              mmrec_error *error) {
    int64_t total = (int64_t)mmrec_safetensors_dtype_bytes(tensor->dtype);
    for (int i = 0; i < tensor->ndim; i++) {
        if (tensor->dim[i] < 0) {
            MMREC_FAIL(error, MMREC_FORMAT, "axis %d of tensor \"%s\" is %lld, wanted 0 or more", i, shown,
                       (long long)tensor->dim[i]);
        }
        if (__builtin_mul_overflow(total, tensor->dim[i], &total)) {
            MMREC_FAIL(error, MMREC_FORMAT, "tensor \"%s\" would have 2^63 bytes or more", shown);
        }
    }
    *bytes = (size_t)total;
    return MMREC_OK;
}

/* ---- opening and closing ------------------------------------------------------------------------------------ */

static uint64_t little_endian(const unsigned char *bytes) {
    uint64_t value = 0;
    for (int i = SAFETENSORS_PREFIX - 1; i >= 0; i--) value = value << 8 | bytes[i];
    return value;
}

/* The frame around the header; what is in it is read by safetensors_read_header. */
static mmrec_status header_size(const unsigned char *bytes, size_t size, size_t *header, mmrec_error *error) {
    enum { SMALLEST = 2 }; /* "{}" */
    if (size < SAFETENSORS_PREFIX + SMALLEST) {
        MMREC_FAIL(error, MMREC_FORMAT, "a file of %zu bytes is too short, wanted at least %d", size,
                   SAFETENSORS_PREFIX + SMALLEST);
    }
    uint64_t length = little_endian(bytes);
    if (length < SMALLEST || length > MMREC_SAFETENSORS_MAX_HEADER) {
        MMREC_FAIL(error, MMREC_FORMAT, "a header of %llu bytes, wanted %d to %d", (unsigned long long)length, SMALLEST,
                   MMREC_SAFETENSORS_MAX_HEADER);
    }
    if (length > size - SAFETENSORS_PREFIX) {
        MMREC_FAIL(error, MMREC_FORMAT, "a header of %llu bytes, but only %zu follow its length",
                   (unsigned long long)length, size - SAFETENSORS_PREFIX);
    }
    *header = (size_t)length;
    return MMREC_OK;
}

static mmrec_status fill(mmrec_safetensors *file, const unsigned char *bytes, size_t size, mmrec_error *error) {
    size_t header = 0;
    MMREC_TRY(header_size(bytes, size, &header, error));
    size_t before_data = SAFETENSORS_PREFIX + header;
    return safetensors_read_header(file, (const char *)bytes + SAFETENSORS_PREFIX, header, bytes + before_data,
                                   size - before_data, error);
}

mmrec_status mmrec_safetensors_parse(mmrec_allocator *allocator, const void *bytes, size_t size,
                                     mmrec_safetensors **out, mmrec_error *error) {
    void *memory = NULL;
    *out = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof **out, MMREC_ALLOC_FILE, &memory, error));
    mmrec_safetensors *file = memory;
    file->allocator = allocator;
    mmrec_status status = fill(file, bytes, size, error);
    if (status == MMREC_OK) {
        *out = file;
    } else {
        mmrec_safetensors_destroy(&file);
    }
    return status;
}

mmrec_status mmrec_safetensors_open(mmrec_io *io, mmrec_allocator *allocator, const char *path, size_t limit,
                                    mmrec_safetensors **out, mmrec_error *error) {
    void *bytes = NULL;
    size_t size = 0;
    *out = NULL;
    MMREC_TRY(mmrec_io_read_file(io, allocator, path, limit, &bytes, &size, error));
    mmrec_status status = mmrec_safetensors_parse(allocator, bytes, size, out, error);
    if (status != MMREC_OK) {
        mmrec_alloc(allocator, bytes, size, 0, MMREC_ALLOC_FILE);
        mmrec_error_frame(error, "reading \"%.140s\"", path);
        return status;
    }
    (*out)->owned = bytes;
    (*out)->owned_size = size;
    return MMREC_OK;
}

void mmrec_safetensors_destroy(mmrec_safetensors **file) {
    mmrec_safetensors *f = *file;
    if (!f) return;
    mmrec_alloc(f->allocator, f->tensors, f->count * sizeof *f->tensors, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(f->allocator, f->by_name, f->count * sizeof *f->by_name, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(f->allocator, f->entries, f->entry_count * sizeof *f->entries, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(f->allocator, f->text, f->text_size, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(f->allocator, f->owned, f->owned_size, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(f->allocator, f, sizeof *f, 0, MMREC_ALLOC_FILE);
    *file = NULL;
}

/* ---- looking up --------------------------------------------------------------------------------------------- */

size_t mmrec_safetensors_count(const mmrec_safetensors *file) { return file->count; }

const mmrec_safetensors_tensor *mmrec_safetensors_at(const mmrec_safetensors *file, size_t index) {
    return &file->tensors[index];
}

const mmrec_safetensors_tensor *mmrec_safetensors_find(const mmrec_safetensors *file, const char *name) {
    size_t first = 0, end = file->count;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        const mmrec_safetensors_tensor *tensor = &file->tensors[file->by_name[middle]];
        int order = strcmp(name, tensor->name);
        if (order == 0) return tensor;
        if (order < 0) {
            end = middle;
        } else {
            first = middle + 1;
        }
    }
    return NULL;
}

size_t mmrec_safetensors_metadata_count(const mmrec_safetensors *file) { return file->entry_count; }

const mmrec_safetensors_entry *mmrec_safetensors_metadata_at(const mmrec_safetensors *file, size_t index) {
    return &file->entries[index];
}

const char *mmrec_safetensors_metadata(const mmrec_safetensors *file, const char *key) {
    for (size_t i = 0; i < file->entry_count; i++) {
        if (strcmp(file->entries[i].key, key) == 0) return file->entries[i].value;
    }
    return NULL;
}
