/* Inside of the safetensors reader and writer. */
#ifndef MMREC_CHECKPOINT_SAFETENSORS_IMPL_H
#define MMREC_CHECKPOINT_SAFETENSORS_IMPL_H

#include "mmrec/safetensors.h"

enum {
    SAFETENSORS_PREFIX = 8,      /* bytes of the header's length, little-endian */
    SAFETENSORS_DATA_ALIGN = 64, /* of written data; the reader takes any */
    SAFETENSORS_SHOWN = 72       /* a foreign name in a message, cut and made printable */
};
#define SAFETENSORS_METADATA_KEY "__metadata__"

struct mmrec_safetensors {
    mmrec_allocator *allocator;
    mmrec_safetensors_tensor *tensors; /* by position of their data */
    uint32_t *by_name;                 /* indices of `tensors`, sorted by name */
    mmrec_safetensors_entry *entries;
    char *text; /* every name, key and value, each terminated */
    size_t count, entry_count, text_size;
    void *owned; /* the file's bytes where they were read by mmrec_safetensors_open */
    size_t owned_size;
};

/* Fills `file` from a header of `size` bytes that describes `data`. On failure `file` is partly filled. */
mmrec_status safetensors_read_header(mmrec_safetensors *file, const char *header, size_t size,
                                     const unsigned char *data, size_t data_size, mmrec_error *error) MMREC_MUST_CHECK;

/* Bytes that dtype and shape need, every product checked; `shown` is the name as it may be printed. */
mmrec_status safetensors_size(const mmrec_safetensors_tensor *tensor, const char *shown, size_t *bytes,
                              mmrec_error *error) MMREC_MUST_CHECK;

/* mmrec_safetensors_encode into a block of the caller, NULL and 0 bytes at first, that is exchanged where it is too
 * small: memory used again costs a tenth of fresh memory, whose pages have to be made. It stays the caller's on failure
 * too. */
mmrec_status safetensors_encode_into(mmrec_allocator *allocator, const mmrec_safetensors_tensor *tensors, size_t count,
                                     const mmrec_safetensors_entry *metadata, size_t entries, void **block,
                                     size_t *capacity, size_t *size, mmrec_error *error) MMREC_MUST_CHECK;

/* A name as it may be printed. */
const char *safetensors_shown(const char *name, char shown[SAFETENSORS_SHOWN]);

#endif
