/* Inside of checkpoints. */
#ifndef MMREC_CHECKPOINT_CHECKPOINT_IMPL_H
#define MMREC_CHECKPOINT_CHECKPOINT_IMPL_H

#include <limits.h>

#include "mmrec/checkpoint.h"

#define CHECKPOINT_FORMAT "mmrec-checkpoint"
#define CHECKPOINT_CHECKSUM "checksum"
enum {
    CHECKPOINT_DIGITS = 8,   /* of the checksum */
    CHECKPOINT_RESERVED = 3, /* entries of the metadata that every file begins with */
    CHECKPOINT_SHOWN = 72    /* a foreign text in a message, cut and made printable */
};

/* Values and name of one tensor, in this order. */
typedef struct checkpoint_block {
    void *memory;
    size_t bytes;
} checkpoint_block;

struct mmrec_checkpoint {
    mmrec_allocator *allocator;
    /* What was put. */
    mmrec_safetensors_tensor *tensors; /* each lies in the block of its index */
    checkpoint_block *blocks;          /* the first `made` exist; those from `count` on wait to be used again */
    size_t count, tensor_capacity, made, block_capacity;
    size_t data_bytes;
    mmrec_safetensors_entry *entries; /* of the caller alone; the key of each begins a block that its value ends */
    size_t entry_count, entry_capacity;
    /* What was read; else NULL. */
    mmrec_safetensors *file;
    void *owned; /* bytes of the file where they are this checkpoint's */
    size_t owned_size;
};

/* The entries that every file begins with; the digits of the checksum are zeros. */
extern const mmrec_safetensors_entry checkpoint_reserved[CHECKPOINT_RESERVED];
bool checkpoint_is_reserved(const char *key);

/* The same as mmrec_checkpoint_encode, but without its checksum, into a block as in safetensors_encode_into; and the
 * checksum of such bytes, which takes no memory. */
mmrec_status checkpoint_encode_unsealed(const mmrec_checkpoint *checkpoint, mmrec_allocator *allocator, void **block,
                                        size_t *capacity, size_t *size, mmrec_error *error) MMREC_MUST_CHECK;
void checkpoint_seal(void *bytes, size_t size);

/* mmrec_checkpoint_read_file without its name in the error. */
mmrec_status checkpoint_read(mmrec_allocator *allocator, mmrec_io *io, const char *path, mmrec_checkpoint **out,
                             mmrec_error *error) MMREC_MUST_CHECK;

/* <folder>/step-<12 digits>.safetensors; IO where that is too long. */
mmrec_status checkpoint_path(const char *folder, int64_t step, char path[PATH_MAX],
                             mmrec_error *error) MMREC_MUST_CHECK;

/* Removes the checkpoints of steps up to `step` beyond the newest `keep` of them. Takes no memory. */
mmrec_status checkpoint_prune(mmrec_io *io, const char *folder, int64_t step, int keep,
                              mmrec_error *error) MMREC_MUST_CHECK;

#endif
