/* The scheduler's own parts: fibers with their place in the launch, meetings, the queue, one launch at a time. */
#ifndef MMREC_EMULATION_SCHEDULER_H
#define MMREC_EMULATION_SCHEDULER_H

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "fiber.h"
#include "simt.h"

namespace simt_emulation {

struct block;
struct cluster;

/* What a fiber is held up by. */
enum hold { RUNS, BLOCK_BARRIER, WARP_BARRIER, SHUFFLE, BALLOT, CLUSTER_BARRIER, MBARRIER, SPINS, LEFT };

struct site {
    hold kind;
    const char *file;
    int line;
};

struct fiber {
    fiber_context context;
    block *home;
    unsigned thread;
    site at;
    const uint64_t *bar; /* kind MBARRIER: waits for the end of the phase of this parity */
    unsigned parity;
    bool gave_up;
    /* For __threadfence: what relaxed accesses touched since the last fence, and whether there ever was one. */
    enum { SEEN = 32 };
    const void *seen[SEEN];
    unsigned seen_count;
    bool fenced;
};

/* Where a fixed set of fibers meets again and again. A fast one can be one turn ahead of a slow one that has not looked
 * at the last turn's result yet, never two: what a turn carries is kept twice. */
struct meeting {
    fiber *first;
    unsigned size, arrived, turn;
    site at;           /* where the first of this turn stands: the others must stand there too */
    bool all[2];       /* votes */
    uint64_t order[2]; /* addresses for TSan's order */
};

struct warp {
    meeting meet;
    uint32_t word[2][32];
};

struct block {
    unsigned index;
    unsigned char *shared;
    fiber *fibers;
    warp *warps;
    cluster *team;
    meeting barrier;
    unsigned left;        /* threads that have finished */
    unsigned under_way;   /* asynchronous stores to its shared memory that have not arrived */
    fiber_context engine; /* what carries them, as TSan sees it: a thread of its own */
};

struct cluster {
    meeting sync;
    block *blocks;
    unsigned size;
};

/* A store_async on its way, in the order of issue. A list by hand: TSan would take a vector's moves for the kernel's.
 */
struct store {
    store *before, *after;
    void *to;
    uint64_t value, *bar;
    unsigned bytes;
    block *from, *home;
};

enum schedule { FORWARD, REVERSE, RANDOM };

/* Fibers that can run: a ring with two ends. */
class ready_queue {
  public:
    void reserve(size_t fibers);
    size_t count() const { return held; }
    void clear() { held = 0; }
    void push_back(fiber *f) { ring[(head + held++) & mask] = f; }
    void push_front(fiber *f) {
        head = (head - 1) & mask;
        ring[head] = f;
        held++;
    }
    fiber *pop() {
        fiber *f = ring[head];
        head = (head + 1) & mask;
        held--;
        return f;
    }
    void bring_forward(size_t index) {
        fiber *&a = ring[head], *&b = ring[(head + index) & mask], *first = a;
        a = b;
        b = first;
    }

  private:
    std::vector<fiber *> ring;
    size_t head = 0, held = 0, mask = 0;
};

/* The launch that runs. Memory is kept from launch to launch. */
struct launch {
    const call *what;
    const void *body;
    enum schedule schedule;
    uint64_t random;
    fiber *current;
    fiber_context host;
    ready_queue ready;
    std::vector<fiber> fibers;
    std::vector<block> blocks;
    std::vector<warp> warps;
    std::vector<cluster> clusters;
    block *group; /* the blocks alive */
    unsigned group_blocks, unfinished;
    store *first_store, *last_store;
    uint32_t stores;
    uint64_t quiet;    /* spins since anything else happened */
    uint64_t order[2]; /* TSan: start and end of the launch */
    bool failed, deadlock;
    char words[480];
};
extern launch now;

uint32_t draw(uint32_t below); /* the schedule's random numbers */

/* scheduler.cpp. Lets the next fiber run; returns when the caller is chosen again. */
void run_next();
/* Makes fibers ready that a meeting or a barrier held up, in the schedule's order. */
void wake(fiber *first, unsigned count, bool soon);
/* Ends the launch with these words, from inside a kernel. */
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* meeting.cpp */
void meeting_begin(meeting *m, fiber *first, unsigned size);

/* cluster.cpp. Both: whether there was one to be done. */
bool store_deliver();
bool wait_give_up();
void stores_drop();
void block_leaves(block *b);

/* report.cpp: why nobody can run. */
void describe_deadlock(char *words, size_t bytes);
const char *base_name(const char *file);

} // namespace simt_emulation
#endif
