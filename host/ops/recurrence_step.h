/* A time step's product over the panels of one thread, and the threads' meeting after it.
 *
 * Each thread owns a range of panels for the whole sequence, so that its weights stay in its cache. The range is walked
 * up in one step and down in the next: where the weights are larger than the cache, what was read last is still there.
 * At B = 1 on two threads with 1 MB of cache each that gains 4 % at D = 512 and 1 % at 1024 and 2048; at B >= 4 nothing
 * is lost. */
#ifndef MMREC_RECURRENCE_STEP_H
#define MMREC_RECURRENCE_STEP_H

#include <linux/futex.h>
#include <omp.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "recurrence_product.h"

/* Where a tile lies: its panels, batch rows and the step it belongs to. */
typedef struct place {
    int64_t panel, row, t;
    int blocks, rows;
} place;

/* What happens to a tile: `prepare` before the product asks for the memory that `finish` will touch, which is one cache
 * line in each of many rows; `finish` receives the sums, laid out as in struct tile_input. */
typedef struct tile_actions {
    void (*prepare)(const void *run, const place *at);
    void (*finish)(const void *run, const place *at, const vec *sums);
} tile_actions;

typedef struct stepper {
    product_function product;
    const float *panels;
    int64_t panel_words, row_words, depth; /* of one panel, of a state row, of the product */
    int64_t panel_count, batch;
} stepper;

typedef struct range {
    int64_t first, end;
} range;

static range panels_of(const stepper *s, int thread, int threads) {
    range r = {s->panel_count * thread / threads, s->panel_count * (thread + 1) / threads};
    return r;
}

/* DEPTH_CHUNK: what of the depth all rows of a set meet before the rest, so that the panels of a group (64 KiB) and the
 * rows (another 64 KiB) are in the second-level cache for each other. Whole rows of lstm's backward pass do not fit: 64
 * with H = 512 are 512 KiB. */
enum { DEPTH_CHUNK = 256, ROWS_OF_SET = 64 };

/* Rows [first_row, first_row + rows) against panels [first, first + count) at step t; `next` comes after these. */
typedef struct step_set {
    int64_t first, count, next, first_row, rows, t;
} step_set;

/* What is read after `panel` of the chunk from k to `end`: the same of the next panel; behind the last panel what
 * follows `end` in the first one, and behind the last chunk the panels after these. */
static const float *step_ahead(const stepper *s, const step_set *set, int64_t panel, int64_t k, int64_t end) {
    if (panel + 1 < set->first + set->count) return s->panels + (panel + 1) * s->panel_words + 2 * LANES * k;
    if (end < s->depth) return s->panels + set->first * s->panel_words + 2 * LANES * end;
    return s->panels + set->next * s->panel_words;
}

/* The chunk of the depth from k to `end`. The last one ends with the tiles' actions. */
static void step_chunk(const stepper *s, const step_set *set, const float *state, int64_t k, int64_t end, bool last,
                       vec *sums, const tile_actions *actions, const void *run) {
    int64_t row_blocks = divide_up(set->rows, ROWS), length = end - k;
    int most = (int)divide_up(set->rows, row_blocks);
    for (int64_t done = 0, taken; done < set->count; done += taken) {
        taken = tile_blocks(most, set->count - done);
        const float *ahead = step_ahead(s, set, set->first + done + taken - 1, k, end);
        for (int64_t block = 0; block < row_blocks; block++) {
            int64_t row = set->rows * block / row_blocks, rows = set->rows * (block + 1) / row_blocks - row;
            place at = {set->first + done, set->first_row + row, set->t, (int)taken, (int)rows};
            tile_input tile = {s->panels + at.panel * s->panel_words + 2 * LANES * k,
                               state + at.row * s->row_words + k,
                               s->panel_words,
                               s->row_words,
                               length,
                               sums + 2 * (done * set->rows + row * taken),
                               ahead + 2 * LANES * (length * block / row_blocks),
                               divide_up(2 * LANES, row_blocks),
                               k > 0};
            if (last) actions->prepare(run, &at);
            s->product(&tile, at.rows, at.blocks);
            if (last) actions->finish(run, &at, tile.sums);
        }
    }
}

/* All batch rows against `count` panels. Sets and blocks of rows differ by one row at most. */
static void step_group(const stepper *s, const float *state, int64_t depth, int64_t first, int64_t count, int64_t next,
                       int64_t t, const tile_actions *actions, const void *run) {
    int64_t sets = divide_up(s->batch, ROWS_OF_SET), chunks = depth > 0 ? divide_up(depth, DEPTH_CHUNK) : 1;
    _Alignas(64) vec sums[2 * BLOCKS * ROWS_OF_SET];
    for (int64_t i = 0; i < sets; i++) {
        int64_t row = s->batch * i / sets, end = s->batch * (i + 1) / sets;
        step_set set = {first, count, i + 1 < sets ? first : next, row, end - row, t};
        for (int64_t chunk = 0; chunk < chunks; chunk++) {
            bool last = chunk + 1 == chunks;
            int64_t k = chunk * DEPTH_CHUNK;
            step_chunk(s, &set, state, k, last ? depth : k + DEPTH_CHUNK, last, sums, actions, run);
        }
    }
}

/* Where group i of a thread's panels begins, up in one step and down in the next. */
static int64_t group_first(range own, int64_t i, int64_t t) {
    int64_t groups = divide_up(own.end - own.first, BLOCKS);
    return own.first + BLOCKS * (t % 2 == 0 ? i : groups - 1 - i);
}

/* One step over a thread's panels; depth 0 gives sums of zero. */
static void step_range(const stepper *s, range own, const float *state, int64_t depth, int64_t t,
                       const tile_actions *actions, const void *run) {
    int64_t groups = divide_up(own.end - own.first, BLOCKS);
    for (int64_t i = 0; i < groups; i++) {
        int64_t first = group_first(own, i, t), next = i + 1 < groups ? group_first(own, i + 1, t) : first;
        int64_t count = own.end - first < BLOCKS ? own.end - first : BLOCKS;
        step_group(s, state, depth, first, count, next, t, actions, run);
    }
}

/* Threads that meet after every step. */
typedef struct team_sync {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_int round;
    atomic_int sleepers;
} team_sync;

/* Sleeps until the round is over. The count of sleepers rises before the kernel compares `round`, and the last to
 * arrive reads it after changing `round`: one of them sees the other. */
static void team_sleep(team_sync *team, int round) {
    atomic_fetch_add(&team->sleepers, 1);
    while (atomic_load(&team->round) == round) {
        syscall(SYS_futex, &team->round, FUTEX_WAIT_PRIVATE, round, NULL, NULL, 0);
    }
    atomic_fetch_sub(&team->sleepers, 1);
}

/* Spins for some 30 us, more than the threads of a step differ by while each has a processor; then sleeps, because the
 * one waited for is not running and may need this processor. With 12 busy threads of other programs on 2 processors, 64
 * steps of D = 512, B = 1 took 253 ms with sched_yield in place of the sleep and 43 ms with it (alone: 0.9 ms). */
static void team_meet(team_sync *team, int threads) {
    enum { SPINS = 2000 };
    if (threads == 1) return;
    int round = atomic_load_explicit(&team->round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == threads) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store(&team->round, round + 1);
        if (atomic_load(&team->sleepers)) syscall(SYS_futex, &team->round, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
        return;
    }
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&team->round, memory_order_acquire) != round) return;
        __builtin_ia32_pause();
    }
    team_sleep(team, round);
}

/* A thread more must save more than a meeting costs (about 0.3 us): MULTIPLY_ADDS of work per step each. */
static int team_size(const mmrec_op_call *call, const stepper *s) {
    const double multiply_adds = 32768;
    double useful = 1 + 2 * LANES * (double)s->panel_count * (double)s->depth * (double)s->batch / multiply_adds;
    int64_t most = s->panel_count < call->sizes->threads ? s->panel_count : call->sizes->threads;
    return useful < (double)most ? (int)useful : (int)most;
}

#endif
