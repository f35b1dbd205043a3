/* Inside of the data: the bytes of a file cut into rows, the order of windows, and the sequences of tasks. */
#ifndef MMREC_TRAIN_DATA_IMPL_H
#define MMREC_TRAIN_DATA_IMPL_H

#include "mmrec/data.h"
#include "mmrec/rng.h"

/* Every draw is addressed by (seed, stream, index); the highest byte of the stream says what for, below it stands the
 * number of an epoch or sequence. Initial values and dropout use streams of the same seed that begin with 0. */
#define DATA_DRAW_ORDER (UINT64_C(0xD1) << 56)
#define DATA_DRAW_OFFSET (UINT64_C(0xD2) << 56)
#define DATA_DRAW_TRAIN (UINT64_C(0xD3) << 56)
#define DATA_DRAW_HELD_OUT (UINT64_C(0xD4) << 56)
#define DATA_DRAW_CHAIN (UINT64_C(0xD5) << 56)

/* ---- order of windows (data_order.c) ---- */

/* Numbers below `count` as cells of a grid that is as square as can be; tall * wide - count < wide. */
typedef struct data_order {
    int64_t count, tall, wide;
} data_order;

data_order data_order_of(int64_t count);
/* The window at a place, 0 <= place < count: for one seed and epoch a permutation of the numbers below `count`. */
int64_t data_order_at(const data_order *order, uint64_t seed, int64_t epoch, int64_t place);

/* ---- files (data_file.c) ---- */

typedef struct data_part {
    const unsigned char *bytes;
    int64_t size, batches; /* of the training part: batches in an epoch */
    int64_t region;        /* stream: bytes from a row's beginning to the next row's */
    data_order order;      /* windows of the training part */
} data_part;

/* Reads the file and cuts it into the two parts. On failure `data` may hold the file. */
mmrec_status data_file_read(mmrec_data *data, mmrec_io *io, mmrec_error *error) MMREC_MUST_CHECK;
void data_file_batch(const mmrec_data *data, mmrec_split split, int64_t number, int32_t *ids, int32_t *targets);

/* ---- tasks (task.c, task_chain.c) ---- */

enum { CHAIN_LETTERS = 8, CHAIN_PAIRS = CHAIN_LETTERS * CHAIN_LETTERS };

/* A Markov chain of order 2. A letter is drawn by one 32-bit word: it is the number of limits at or below the word, so
 * probabilities are multiples of 2^-32 and known exactly. */
typedef struct task_chain {
    uint32_t next[CHAIN_PAIRS][CHAIN_LETTERS - 1]; /* of the letter behind a pair */
    uint32_t first[CHAIN_PAIRS - 1];               /* of the pair that a sequence begins with */
} task_chain;

/* Means for one target: entropy in nats and how often the best guess is right, of the letter behind one letter and
 * behind two. */
typedef struct task_chain_limits {
    double entropy[2], accuracy[2];
} task_chain_limits;

/* Draws the chain, finds how often each pair stands in an endless text, and what follows from that. */
task_chain_limits task_chain_make(task_chain *chain, uint64_t seed);

/* A task at a length: `unit` is the letters of a word (copy) or the pairs (recall), `period` the symbols after which
 * the sequence begins anew; both 0 for text-markov. */
typedef struct task_plan {
    int64_t vocab, unit, period;
    task_chain chain; /* of text-markov */
} task_plan;

/* Fits the task of data->request to its time and fills data->info. */
mmrec_status task_define(mmrec_data *data, mmrec_error *error) MMREC_MUST_CHECK;
void task_batch(const mmrec_data *data, mmrec_split split, int64_t number, int32_t *ids, int32_t *targets,
                uint8_t *asked);

/* The words of one stream, one after the other; `next` from 0. */
typedef struct task_words {
    uint64_t seed, stream, next;
    mmrec_rng_block block;
} task_words;

static inline uint32_t task_word(task_words *words) {
    if ((words->next & 3) == 0) words->block = mmrec_rng_philox(words->seed, words->stream, words->next >> 2);
    return words->block.word[words->next++ & 3];
}

/* ---- */

struct mmrec_data {
    mmrec_allocator *allocator;
    mmrec_data_request request; /* its path points behind the struct */
    mmrec_data_info info;
    void *file;
    size_t file_size, own_size;
    data_part part[2]; /* by mmrec_split */
    task_plan task;
};

#endif
