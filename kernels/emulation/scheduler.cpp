/* One launch: which blocks are alive, which fiber runs next.
 *
 * SIMT_FREE: blocks one after another (those of a cluster together). SIMT_RESIDENT: all at once. The schedule decides
 * the order: `forward` and `reverse` run threads by ascending or descending number, each as far as it can, a warp
 * before the next one starts (so one warp is as far ahead of the others as barriers allow); `random` takes any that can
 * run, and also stops threads at spins, atomics and exchange. */
#include "scheduler.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace simt_emulation {

launch now;

namespace {

/* Spins without any other event after which the launch is given up: about 1 s. Kernels bound their own waits far below.
 */
const uint64_t QUIET_LIMIT = uint64_t(1) << 24;

#if defined(MMREC_EMULATION_TSAN)
const bool FOR_TSAN = true; /* blocks keep their fibers, stacks and memory to the end of the launch */
#else
const bool FOR_TSAN = false;
#endif

bool schedule_read(uint64_t launches) {
    const char *text = getenv("MMREC_EMULATION_SCHEDULE");
    uint64_t seed = 1;
    if (!text || !strcmp(text, "forward")) {
        now.schedule = FORWARD;
    } else if (!strcmp(text, "reverse")) {
        now.schedule = REVERSE;
    } else if (!strncmp(text, "random", 6) && (!text[6] || text[6] == ':')) {
        char *end = NULL;
        if (text[6]) seed = strtoull(text + 7, &end, 10);
        if (end && (*end || end == text + 7)) return false;
        now.schedule = RANDOM;
    } else {
        return false;
    }
    now.random = (seed + launches) * 0x9E3779B97F4A7C15u | 1u;
    return true;
}

void shared_give(block *b) {
    void *memory = NULL;
    size_t bytes = now.what->shape.shared_bytes;
    if (posix_memalign(&memory, 128, bytes)) abort(); /* a test's machine is out of memory */
    b->shared = static_cast<unsigned char *>(memory);
    memset(b->shared, 0xFF, bytes); /* NaN in every float and bfloat16 */
}

void shared_take(block *b) {
    free(b->shared);
    b->shared = NULL;
}

void fiber_main() {
    fiber *me = now.current;
    fiber_entered(&me->context, &now.host);
    order_acquire(&now.order[0]);
    now.what->enter(now.body);
    if (fiber_overran(&me->context)) fail("the stack of thread %u of block %u ran over", me->thread, me->home->index);
    order_release(&now.order[1]);
    me->at.kind = LEFT;
    now.unfinished--;
    now.quiet = 0;
    block *b = me->home;
    if (++b->left == now.what->shape.block) {
        block_leaves(b);
        if (!FOR_TSAN) shared_take(b);
    }
    run_next();
    abort(); /* a fiber that has left is never chosen */
}

void block_begin(block *b, unsigned index, cluster *team) {
    unsigned threads = now.what->shape.block;
    size_t place = static_cast<size_t>(b - now.blocks.data());
    b->index = index;
    b->team = team;
    b->left = b->under_way = 0;
    b->fibers = &now.fibers[place * threads];
    b->warps = &now.warps[place * (threads / 32)];
    shared_give(b);
    meeting_begin(&b->barrier, b->fibers, threads);
    for (unsigned w = 0; w < threads / 32; w++) meeting_begin(&b->warps[w].meet, b->fibers + 32 * w, 32);
    for (unsigned t = 0; t < threads; t++) {
        fiber *f = &b->fibers[t];
        f->home = b;
        f->thread = t;
        f->at.kind = RUNS;
        f->seen_count = 0;
        f->fenced = f->gave_up = false;
        fiber_prepare(&f->context, fiber_main, static_cast<size_t>(f - now.fibers.data()));
    }
}

/* Runs the blocks from `first` on to their end. */
void group_run(unsigned first) {
    unsigned size = std::max(1u, now.what->shape.cluster), place = FOR_TSAN ? first : 0;
    now.group = &now.blocks[place];
    for (unsigned b = 0; b < now.group_blocks; b++) {
        cluster *team = &now.clusters[(place + b) / size];
        block_begin(now.group + b, first + b, team);
        if (b % size == 0) {
            team->blocks = now.group + b;
            team->size = size;
            meeting_begin(&team->sync, now.group[b].fibers, size * now.what->shape.block);
        }
    }
    now.unfinished = now.group_blocks * now.what->shape.block;
    now.quiet = 0;
    order_release(&now.order[0]);
    wake(now.group->fibers, now.unfinished, false);
    now.current = now.ready.pop();
    threadIdx.x = now.current->thread;
    blockIdx.x = now.current->home->index;
    fiber_switch(&now.host, &now.current->context, false);
}

void launch_prepare() {
    const simt_shape &shape = now.what->shape;
    unsigned together = shape.kind == SIMT_RESIDENT ? shape.grid : std::max(1u, shape.cluster);
    size_t blocks = FOR_TSAN ? shape.grid : together, threads = blocks * shape.block;
    now.group_blocks = together;
    if (now.fibers.size() < threads) now.fibers.resize(threads);
    if (now.warps.size() < threads / 32) now.warps.resize(threads / 32);
    if (now.blocks.size() < blocks) now.blocks.resize(blocks);
    if (now.clusters.size() < blocks) now.clusters.resize(blocks);
    now.ready.reserve(static_cast<size_t>(together) * shape.block);
    now.ready.clear();
    now.failed = now.deadlock = false;
    blockDim = dim3(shape.block);
    gridDim = dim3(shape.grid);
    fiber_host(&now.host);
}

void launch_run() {
    unsigned groups = now.what->shape.grid / now.group_blocks;
    std::vector<unsigned> order(groups);
    for (unsigned g = 0; g < groups; g++) order[g] = now.schedule == REVERSE ? groups - 1 - g : g;
    if (now.schedule == RANDOM) {
        for (unsigned g = groups; g > 1; g--) std::swap(order[g - 1], order[draw(g)]);
    }
    for (unsigned g = 0; g < groups && !now.failed; g++) group_run(order[g] * now.group_blocks);
    order_acquire(&now.order[1]);
    if (now.deadlock) describe_deadlock(now.words, sizeof now.words);
    stores_drop();
    if (now.failed) {
        for (fiber &f : now.fibers) {
            if (f.context.stack.low) fiber_abandon(&f.context);
        }
        if (FOR_TSAN) return; /* fibers that never came to an end may not be seen to lose their memory */
    }
    for (block &b : now.blocks) shared_take(&b);
}

/* Where to go on: a fiber, or the host when all have finished or the launch has failed. */
fiber *pick() {
    for (;;) {
        if (now.failed) return NULL;
        if (now.schedule == RANDOM && now.stores && draw(16) == 0) store_deliver();
        if (now.ready.count()) {
            if (now.schedule == RANDOM) now.ready.bring_forward(draw(static_cast<uint32_t>(now.ready.count())));
            return now.ready.pop();
        }
        if (now.unfinished == 0) return NULL;
        if (store_deliver() || wait_give_up()) continue;
        now.failed = now.deadlock = true;
    }
}

} // namespace

void ready_queue::reserve(size_t fibers) {
    size_t size = ring.empty() ? 1 : ring.size();
    while (size < fibers) size *= 2;
    ring.resize(size);
    mask = size - 1;
}

/* xorshift64* */
uint32_t draw(uint32_t below) {
    now.random ^= now.random >> 12;
    now.random ^= now.random << 25;
    now.random ^= now.random >> 27;
    return static_cast<uint32_t>((now.random * 0x2545F4914F6CDD1Du >> 32) * below >> 32);
}

void run_next() {
    fiber *me = now.current, *next = pick();
    if (next == me) return;
    if (!next) {
        fiber_switch(&me->context, &now.host, true);
        abort(); /* the launch is over */
    }
    now.current = next;
    threadIdx.x = next->thread;
    blockIdx.x = next->home->index;
    fiber_switch(&me->context, &next->context, me->at.kind == LEFT);
}

void wake(fiber *first, unsigned count, bool soon) {
    now.quiet = 0;
    bool up = (now.schedule == REVERSE) == soon; /* to the front the one to run first goes last */
    for (unsigned i = 0; i < count; i++) {
        fiber *f = first + (up ? i : count - 1 - i);
        f->at.kind = RUNS;
        soon ? now.ready.push_front(f) : now.ready.push_back(f);
    }
}

void fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(now.words, sizeof now.words, format, list);
    va_end(list);
    now.failed = true;
    order_release(&now.order[1]);
    run_next();
    abort(); /* the host goes on */
}

void spin(const char *file, int line) {
    fiber *me = now.current;
    me->at = {SPINS, file, line};
    if (++now.quiet > now.ready.count() + 1 && store_deliver()) now.quiet = 0;
    if (now.quiet > QUIET_LIMIT && !wait_give_up()) now.failed = now.deadlock = true;
    now.ready.push_back(me);
    run_next();
    me->at.kind = RUNS;
}

void exchange(const void *at, bool writes) {
    fiber *me = now.current;
    if (writes) now.quiet = 0;
    if (now.schedule == RANDOM && draw(4) == 0) {
        now.ready.push_back(me);
        run_next();
    }
    if (!FOR_TSAN) return;
    if (writes && me->fenced) order_release(at);
    me->seen[me->seen_count++ % fiber::SEEN] = at;
}

void fence() {
    fiber *me = now.current;
    for (unsigned i = 0; i < std::min<unsigned>(me->seen_count, fiber::SEEN); i++) order_acquire(me->seen[i]);
    me->seen_count = 0;
    me->fenced = true;
}

unsigned char *shared_memory() { return now.current->home->shared; }

/* Kernels' names come as the launcher wrote them: "(k_gelu_fwd<T>)". */
static void failed(const char *name, const char *words) {
    char plain[128];
    snprintf(plain, sizeof plain, "%s", name + (*name == '('));
    if (*name == '(') plain[strlen(plain) - 1] = 0;
    mmrec_fake_kernel_failed(plain, words);
}

void run(void *context) {
    static uint64_t launches;
    now.what = static_cast<const call *>(context);
    now.body = now.what->body(context);
    if (!schedule_read(launches++)) {
        failed(now.what->name, "MMREC_EMULATION_SCHEDULE is not forward, reverse, random or random:SEED");
        return;
    }
    if (now.what->shape.block % 32) {
        failed(now.what->name, "blocks of whole warps are needed");
        return;
    }
    launch_prepare();
    launch_run();
    if (now.failed) failed(now.what->name, now.words);
}

} // namespace simt_emulation
