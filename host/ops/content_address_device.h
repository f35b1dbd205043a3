/* Scratch of the kernels that address by content (kernels/content_address.cuh): shared with the op files, which must
 * know it without a device. */
#ifndef MMREC_CONTENT_ADDRESS_DEVICE_H
#define MMREC_CONTENT_ADDRESS_DEVICE_H

#include "mmrec/op.h"

/* Backward: g, one for each weight. */
static inline size_t address_device_bytes(const mmrec_op_sizes *sizes) {
    return (size_t)(MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, N)) * sizeof(float);
}

/* memory_write_shared, in floats: where each part begins. Rows begin on 16 bytes. */
typedef struct write_shared_parts {
    int64_t weights, similarities, row_norms, key_norms, erase, add, count;
    int64_t slots, width; /* from one row to the next */
} write_shared_parts;

static inline write_shared_parts write_shared_cut(const mmrec_op_sizes *sizes) {
    int64_t batch = MMREC_SIZE(sizes, B);
    write_shared_parts p;
    p.slots = (MMREC_SIZE(sizes, N) + 3) / 4 * 4;
    p.width = (MMREC_SIZE(sizes, M) + 3) / 4 * 4;
    p.weights = 0;
    p.similarities = p.weights + batch * p.slots;
    p.row_norms = p.similarities + batch * p.slots;
    p.erase = p.row_norms + p.slots;
    p.add = p.erase + batch * p.width;
    p.key_norms = p.add + batch * p.width;
    p.count = p.key_norms + batch;
    return p;
}

#endif
