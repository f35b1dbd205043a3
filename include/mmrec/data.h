/* What is trained on: bytes of a file, or a task made up from a seed; and the loader that fetches batches ahead.
 *
 * A batch is addressed by its number, counted from 0 over the whole training: the data keeps no position, so "where it
 * was" is one integer, and any thread draws the same batch for the same number. ids (B,T) are what the model reads,
 * targets (B,T) what comes one step later.
 *
 * A file is read whole when the data is created; what happens to it afterwards does not matter. Its rows are
 *   windows  (stream false) the training part is cut into windows of T steps from an offset in [0, T) drawn anew for
 *            each epoch, as many as fit at every offset: size / T - 1. An epoch visits them once, in an order drawn
 *            anew; a last batch that would not be full is left out, other windows each time.
 *   stream   row b reads region b of B equal regions from its beginning, T steps a batch: state can be carried.
 * The held-out part is the tail of the file, read the same way without draws: windows in order from its beginning. Its
 * batches are 0 .. held_out_batches - 1 and begin again behind the last one; those of training go on into the next
 * epoch. No target of the training part lies in the held-out part.
 *
 * Tasks: a sequence is one block after another until T is full. Training and held-out sequences are drawn from
 * different streams of the seed, so no held-out sequence was trained on except by chance; held out are as many batches
 * as make 65,536 tokens. `stream` changes nothing, each row is a sequence of its own.
 *
 *   task         T   vocabulary                             a block
 *   copy         4   8 letters, mark, end: 10               a word, the mark, the word again, the end; words have 6
 *                                                           letters, T / 2 where that is less
 *   recall       8   4 keys, 8 values, mark, end: 14        2 pairs of key and value, the mark, both keys again in any
 *                                                           order, each with its value, the end
 *   text-markov  2   8 letters                              letters of a Markov chain of order 2, drawn by the seed
 *
 * (T: the least.) Asked for are the letters of the word behind the mark, the values behind it, and every letter. The
 * sizes are what a model of one layer and width 64 learns at T 16 in 1,500 steps of batch 16 or fewer
 * (tests/unit/test_learning.c): the recurrence carries D numbers without a matrix, and three pairs of 4 keys and 4
 * values were at 77 % after as many.
 *
 * Thread rule: after creation the data is only read, by any number of threads. */
#ifndef MMREC_DATA_H
#define MMREC_DATA_H

#include "mmrec/alloc.h"
#include "mmrec/io.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmrec_task {
    MMREC_TASK_NONE,
    MMREC_TASK_COPY,
    MMREC_TASK_RECALL,
    MMREC_TASK_TEXT_MARKOV,
    MMREC_TASKS
} mmrec_task;
const char *mmrec_task_name(mmrec_task task); /* "none", "copy", "recall", "text-markov" */

typedef enum mmrec_split { MMREC_SPLIT_TRAIN, MMREC_SPLIT_HELD_OUT } mmrec_split;

typedef struct mmrec_data_request {
    const char *path;    /* bytes of this file; NULL: `task` */
    mmrec_task task;     /* NONE with a path */
    uint64_t seed;       /* of the order of windows, and of a task's sequences */
    double held_out;     /* share of the file kept for validation, 0 <= share < 1; 0: nothing is. A task ignores it */
    int64_t batch, time; /* 1 to 2^28 */
    bool stream;
} mmrec_data_request;

typedef struct mmrec_data_info {
    char name[256];            /* "tinyshakespeare.txt", "task recall" */
    int64_t vocab;             /* 256 for a file */
    int64_t tokens[2];         /* bytes by mmrec_split; of a task: 0, as it has no end */
    int64_t batches_per_epoch; /* training; 0: a task has no epochs */
    int64_t held_out_batches;  /* 0: nothing is held out */
    uint32_t checksum;         /* CRC-32 (zlib) of the file; of a task: of what decides its sequences, seed included */
    double best_loss;          /* mean cross-entropy over all (B,T) that no model can beat but by chance, nats; NaN: not
                                  known. Of a task exact: the entropy of each target given what stands before it */
    double best_accuracy;      /* likewise the share of right guesses, of the places asked for; NaN: not known */
} mmrec_data_info;

typedef struct mmrec_data mmrec_data;

/* Reads or defines the data. IO (missing, unreadable, a folder); FORMAT (over 2^34 bytes); CONFIG for a request out of
 * range, a T below what the task needs, or a file with too little for one batch of a part: windows need (B + 1) T bytes
 * to train on, a stream and the held-out part B T + 1; the message says how large the file would have to be. NO_MEMORY.
 * The request's path is copied. Destroy is NULL-safe and clears. */
mmrec_status mmrec_data_create(mmrec_allocator *allocator, mmrec_io *io, const mmrec_data_request *request,
                               mmrec_data **out, mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_data_destroy(mmrec_data **data);
const mmrec_data_info *mmrec_data_info_of(const mmrec_data *data);
const mmrec_data_request *mmrec_data_request_of(const mmrec_data *data);

/* Fills ids and targets (B,T) of batch `number` >= 0 of a part that has batches. `asked` (B,T) may be NULL: 1 where a
 * task asks for the target (and accuracy counts), 0 elsewhere; of a file 1 everywhere. */
void mmrec_data_batch(const mmrec_data *data, mmrec_split split, int64_t number, int32_t *ids, int32_t *targets,
                      uint8_t *asked);
/* Whether batch `number` begins new sequences: always for windows and tasks, for streams at the start of an epoch. */
bool mmrec_data_starts(const mmrec_data *data, mmrec_split split, int64_t number);

/* One batch as the loader hands it out; memory is the loader's, valid until the next call. */
typedef struct mmrec_batch {
    int64_t number;
    const int32_t *ids, *targets; /* (B,T) */
    bool starts;
} mmrec_batch;

/* Fetches training batches first, first + 1 ... on a thread of its own, four to eight ahead of the reader. `data` must
 * outlive it. NO_MEMORY; IO when no thread can be started. After creation nothing is allocated. Next never blocks:
 * where the thread is behind, the reader makes its batch itself, and that is counted. The thread takes no signals.
 * Destroy stops it within one batch, whether or not all it fetched was read; NULL-safe, clears. Thread rule: one
 * reader, who also asks for the waits and destroys it. */
typedef struct mmrec_loader mmrec_loader;
mmrec_status mmrec_loader_create(mmrec_allocator *allocator, const mmrec_data *data, int64_t first, mmrec_loader **out,
                                 mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_loader_destroy(mmrec_loader **loader);
void mmrec_loader_next(mmrec_loader *loader, mmrec_batch *out);
/* Calls of next that found no batch ready, and the time that making it took them, ns. */
void mmrec_loader_waits(const mmrec_loader *loader, int64_t *count, uint64_t *ns);

#ifdef __cplusplus
}
#endif
#endif
