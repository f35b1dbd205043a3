/* Dropout as an op applies it, alone (dropout) or behind its own arithmetic (gelu, combine).
 *
 * The mask is a function of (seed, stream, element number r * columns + c), uniform in (0, 1) from Philox: it is drawn
 * again in the backward pass and takes no memory. p is compared in float, in every variant and on every backend. The op
 * has two attributes next to each other, p and stream. */
#ifndef MMREC_MASK_H
#define MMREC_MASK_H

#include "op_impl.h"

#if MMREC_REAL_F32
#include "fast_loop.h"
#endif

typedef struct mask {
    uint64_t seed, stream;
    float p;
    real scale; /* of what is kept */
    bool drops; /* p > 0 */
} mask;

/* `attr_p`: number of the attribute p. */
static inline mask mask_of(const mmrec_op_call *call, int attr_p) {
    double p = call->sizes->attr[attr_p];
    mask m = {call->seed, (uint64_t)call->sizes->attr[attr_p + 1], (float)p, (real)(1 / (1 - p)), p > 0};
    return m;
}

/* v / (1 - p) where the mask keeps element `number`, else 0: the same map for values and for gradients. */
static inline real mask_pass(const mask *m, real v, int64_t number) {
    bool keep = mmrec_rng_uniform(m->seed, m->stream, (uint64_t)number) >= m->p;
    real scaled = v * m->scale;
    return keep ? scaled : (real)0;
}

static inline mmrec_status mask_check(const char *op, const mmrec_op_sizes *sizes, int attr_p, mmrec_error *error) {
    double p = sizes->attr[attr_p], stream = sizes->attr[attr_p + 1];
    if (!(p >= 0 && p < 1)) MMREC_FAIL(error, MMREC_CONFIG, "%s: p is %g; it must be at least 0 and below 1", op, p);
    if (!(stream >= 0 && stream <= 0x1p53) || stream != (double)(int64_t)stream) {
        MMREC_FAIL(error, MMREC_CONFIG, "%s: stream is %g; it must be a whole number of at least 0", op, stream);
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* Blocks of four words that hold the numbers of one span, wherever in a block it begins. */
enum { MASK_BLOCKS = FAST_SPAN / 4 + 1 };

/* mask_pass for the elements of a span, in place, from element `number` on. */
static inline void mask_span(const mask *m, int64_t number, int64_t count, float *restrict value) {
    uint32_t words[4 * MASK_BLOCKS];
    uint64_t index = (uint64_t)number;
    int64_t before = (int64_t)(index & 3), blocks = fast_blocks(before + count, 4);
    for (int64_t b = 0; b < blocks; b++) {
        mmrec_rng_block block = mmrec_rng_philox(m->seed, m->stream, (index >> 2) + (uint64_t)b);
        for (int k = 0; k < 4; k++) words[4 * b + k] = block.word[k];
    }
    const uint32_t *restrict word = words + before;
    float p = m->p, scale = m->scale;
    for (int64_t c = 0; c < count; c++) value[c] = mmrec_rng_unit(word[c]) >= p ? value[c] * scale : 0.0f;
}
#endif

#endif
