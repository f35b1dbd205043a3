/* Scratch of the backward kernels of embedding (kernels/embedding.cu): shared with the op file, which must know its
 * size without a device. All of it is 32-bit words, but for the sums at the end. */
#ifndef MMREC_EMBEDDING_DEVICE_H
#define MMREC_EMBEDDING_DEVICE_H

#include "mmrec/op.h"

/* Rows of dx that one thread adds up. A table row named more often (a frequent token, an alphabet of bytes) is cut into
 * chunks, or one block would add while the others are done. */
enum { EMBEDDING_CHUNK = 64, EMBEDDING_ALIGN = 16 };

typedef struct embedding_scratch {
    int64_t rows, vocab;
    int64_t chunks; /* at most: an id with c > 64 rows has less than 2 c / 64 */
    int64_t stride; /* floats from one chunk's sums to the next */
    int64_t count, start, first_chunk, seat, list, order, chunk_id, sums, words; /* where each begins, and the end */
} embedding_scratch;

static inline int64_t embedding_next(int64_t at, int64_t words) {
    return at + (words + EMBEDDING_ALIGN - 1) / EMBEDDING_ALIGN * EMBEDDING_ALIGN;
}

static inline embedding_scratch embedding_scratch_of(const mmrec_op_sizes *sizes) {
    embedding_scratch s;
    s.rows = MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, T);
    s.vocab = MMREC_SIZE(sizes, V);
    s.chunks = s.rows / (EMBEDDING_CHUNK / 2);
    s.stride = embedding_next(0, MMREC_SIZE(sizes, D));
    s.count = EMBEDDING_ALIGN; /* behind two counters */
    s.start = embedding_next(s.count, s.vocab);
    s.first_chunk = embedding_next(s.start, s.vocab);
    s.seat = embedding_next(s.first_chunk, s.vocab);
    s.list = embedding_next(s.seat, s.rows);
    s.order = embedding_next(s.list, s.rows);
    s.chunk_id = embedding_next(s.order, s.rows);
    s.sums = embedding_next(s.chunk_id, s.chunks);
    s.words = s.sums + s.chunks * s.stride;
    return s;
}

#endif
