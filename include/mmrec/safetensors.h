/* Reading and writing safetensors files: 8 bytes with the length of a JSON header, the header, the tensors' bytes.
 *
 * A file is foreign: everything it says is checked before anything of it is handed out. Beyond the format's own rules
 * (names unique, offsets contiguous and covering the data exactly, sizes matching dtype and shape) mmrec keeps to the
 * limits below and refuses keys it does not know. The bytes are little-endian, as are all machines mmrec runs on.
 *
 * Thread rule: a file may be read by many threads at once; creating and destroying belong to its allocator's thread. */
#ifndef MMREC_SAFETENSORS_H
#define MMREC_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "mmrec/alloc.h"
#include "mmrec/io.h"
#include "mmrec/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element types: ENTRY(name as in the file, bytes of one element). The only list. */
#define MMREC_SAFETENSORS_DTYPE_LIST(ENTRY)                                                                            \
    ENTRY(F64, 8)                                                                                                      \
    ENTRY(F32, 4) ENTRY(F16, 2) ENTRY(BF16, 2) ENTRY(I64, 8) ENTRY(I32, 4) ENTRY(I16, 2) ENTRY(I8, 1) ENTRY(U8, 1)     \
        ENTRY(BOOL, 1)

typedef enum mmrec_safetensors_dtype {
#define MMREC_SAFETENSORS_ENTRY(name, bytes) MMREC_SAFETENSORS_##name,
    MMREC_SAFETENSORS_DTYPE_LIST(MMREC_SAFETENSORS_ENTRY)
#undef MMREC_SAFETENSORS_ENTRY
        MMREC_SAFETENSORS_DTYPES
} mmrec_safetensors_dtype;

enum {
    MMREC_SAFETENSORS_MAX_HEADER = 16 << 20, /* bytes */
    MMREC_SAFETENSORS_MAX_NAME = 255,        /* bytes, of a tensor's name and of a metadata key; at least 1 */
    MMREC_SAFETENSORS_MAX_DIMS = 8,
    MMREC_SAFETENSORS_MAX_TENSORS = 65536,
    MMREC_SAFETENSORS_MAX_METADATA = 65536
};

/* One tensor. From a file: `name` and `data` belong to the file, and `data` is not aligned. To be written: all are the
 * caller's. */
typedef struct mmrec_safetensors_tensor {
    const char *name; /* UTF-8, terminated */
    mmrec_safetensors_dtype dtype;
    int ndim;                                /* 0: a scalar, one element */
    int64_t dim[MMREC_SAFETENSORS_MAX_DIMS]; /* 0 is allowed: no elements */
    const void *data;
    size_t bytes; /* elements times the size of one */
} mmrec_safetensors_tensor;

/* One entry of the file's metadata, both UTF-8 and terminated. */
typedef struct mmrec_safetensors_entry {
    const char *key, *value;
} mmrec_safetensors_entry;

typedef struct mmrec_safetensors mmrec_safetensors;

/* Bytes of one element (0 for a value outside the list), and "F32" and the like ("?"). */
size_t mmrec_safetensors_dtype_bytes(mmrec_safetensors_dtype dtype);
const char *mmrec_safetensors_dtype_name(mmrec_safetensors_dtype dtype);

/* Parses a whole file held in memory. `bytes` stays the caller's, and must outlive `*out`. FORMAT says what is wrong
 * and where; `*out` is then NULL. */
mmrec_status mmrec_safetensors_parse(mmrec_allocator *allocator, const void *bytes, size_t size,
                                     mmrec_safetensors **out, mmrec_error *error) MMREC_MUST_CHECK;

/* Reads a file of at most `limit` bytes and parses it. */
mmrec_status mmrec_safetensors_open(mmrec_io *io, mmrec_allocator *allocator, const char *path, size_t limit,
                                    mmrec_safetensors **out, mmrec_error *error) MMREC_MUST_CHECK;

/* Frees the file and everything it handed out; NULL is allowed, `*file` becomes NULL. */
void mmrec_safetensors_destroy(mmrec_safetensors **file);

/* Tensors in the order of their data: their number, one by index (0 <= index < count), and one by name (NULL: none). */
size_t mmrec_safetensors_count(const mmrec_safetensors *file);
const mmrec_safetensors_tensor *mmrec_safetensors_at(const mmrec_safetensors *file, size_t index);
const mmrec_safetensors_tensor *mmrec_safetensors_find(const mmrec_safetensors *file, const char *name);

/* Metadata in the order of the file: number of entries, one by index, and the value of a key (NULL: none). */
size_t mmrec_safetensors_metadata_count(const mmrec_safetensors *file);
const mmrec_safetensors_entry *mmrec_safetensors_metadata_at(const mmrec_safetensors *file, size_t index);
const char *mmrec_safetensors_metadata(const mmrec_safetensors *file, const char *key);

/* Elements of a tensor that came from a file, or that was accepted for writing. */
size_t mmrec_safetensors_elements(const mmrec_safetensors_tensor *tensor);

/* Copies all elements, of any dtype, into `out`. SHAPE: `count` is not their number; FORMAT: an I64 that a double
 * cannot hold exactly. BOOL becomes 0 or 1. */
mmrec_status mmrec_safetensors_read_f64(const mmrec_safetensors_tensor *tensor, double *out, size_t count,
                                        mmrec_error *error) MMREC_MUST_CHECK;

/* Builds a whole file in memory from `allocator` (tag FILE); the caller frees `*bytes` (size `*size`). Data begins at a
 * multiple of 64 bytes, and the tensors follow by falling size of their elements, otherwise in the order given, so that
 * each is aligned to its element in the file. FORMAT where the file would break the rules above: what is written has
 * been parsed before. */
mmrec_status mmrec_safetensors_encode(mmrec_allocator *allocator, const mmrec_safetensors_tensor *tensors, size_t count,
                                      const mmrec_safetensors_entry *metadata, size_t entries, void **bytes,
                                      size_t *size, mmrec_error *error) MMREC_MUST_CHECK;

/* mmrec_safetensors_encode into a file, whole or not at all (mmrec_io_write_file). */
mmrec_status mmrec_safetensors_write(mmrec_io *io, mmrec_allocator *allocator, const char *path,
                                     const mmrec_safetensors_tensor *tensors, size_t count,
                                     const mmrec_safetensors_entry *metadata, size_t entries,
                                     mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
