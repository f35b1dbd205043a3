/* Clusters: each other's shared memory, mbarriers, stores that arrive by themselves.
 *
 * A store_async is delivered as late as can be: when nobody else can run, or all that run are spinning (schedule
 * `random`: at any time), forward in the order of issue, reverse in the opposite one. Who reads without having waited
 * for the barrier reads what was there before. As TSan sees it, the write happens where it is issued, and order goes to
 * whoever waits for the barrier's phase by way of a thread of its own per block. */
#include "scheduler.h"

#include <stdlib.h>
#include <string.h>

namespace simt_emulation {

/* An mbarrier's 8 bytes. A phase ends when all have arrived and all announced bytes have come; bytes may come before
 * they are announced. */
struct mbarrier {
    uint16_t expected, missing; /* arrivals per phase, and those to come in this one */
    int32_t pending;            /* bytes << 1 | parity of the phase */
};
static_assert(sizeof(mbarrier) == sizeof(simt_mbarrier), "8 bytes of shared memory");

static mbarrier read(const uint64_t *bar) {
    mbarrier state;
    memcpy(&state, bar, sizeof state);
    if (*bar == ~uint64_t(0)) fail("block %u uses an mbarrier before simt_mbarrier_init", now.current->home->index);
    return state;
}

static unsigned parity_of(const mbarrier &state) { return static_cast<unsigned>(state.pending) & 1u; }

/* TSan's order for a phase: two addresses within the barrier. */
static const void *order_of(const uint64_t *bar, unsigned parity) {
    return reinterpret_cast<const unsigned char *>(bar) + 4 * parity;
}

static void update(uint64_t *bar, unsigned arrivals, int32_t bytes) {
    mbarrier state = read(bar);
    unsigned parity = parity_of(state);
    if (arrivals > state.missing) {
        fail("block %u: more arrivals at an mbarrier than it was made for (%u)", now.current->home->index,
             state.expected);
    }
    order_release(order_of(bar, parity));
    state.missing = static_cast<uint16_t>(state.missing - arrivals);
    state.pending += bytes * 2;
    bool ends = state.missing == 0 && state.pending >> 1 == 0;
    if (ends) {
        state.missing = state.expected;
        state.pending = !parity;
    }
    memcpy(bar, &state, sizeof state);
    if (!ends) return;
    for (unsigned i = 0; i < now.group_blocks * now.what->shape.block; i++) {
        fiber *f = &now.group->fibers[i];
        if (f->at.kind == MBARRIER && f->bar == bar && f->parity == parity) wake(f, 1, false);
    }
}

unsigned cluster_size() { return now.current->home->team->size; }

unsigned cluster_rank() {
    const block *mine = now.current->home;
    return static_cast<unsigned>(mine - mine->team->blocks);
}

void *cluster_map(void *mine, unsigned rank) {
    const block *home = now.current->home;
    size_t offset = static_cast<size_t>(static_cast<unsigned char *>(mine) - home->shared);
    if (rank >= home->team->size) fail("simt_cluster_map: rank %u in a cluster of %u", rank, home->team->size);
    if (offset >= now.what->shape.shared_bytes) fail("simt_cluster_map: not an address in the block's shared memory");
    const block *peer = &home->team->blocks[rank];
    if (!peer->shared) fail("block %u maps the shared memory of block %u, which has left", home->index, peer->index);
    return peer->shared + offset;
}

void barrier_init(uint64_t *bar, unsigned arrivals) {
    mbarrier state = {static_cast<uint16_t>(arrivals), static_cast<uint16_t>(arrivals), 0};
    if (arrivals == 0 || arrivals > 0xFFFE) fail("an mbarrier of %u arrivals", arrivals);
    memcpy(bar, &state, sizeof state);
}

void barrier_expect(uint64_t *bar, unsigned bytes) { update(bar, 1, static_cast<int32_t>(bytes)); }

bool barrier_wait(uint64_t *bar, unsigned parity, uint64_t spin_limit, const char *file, int line) {
    fiber *me = now.current;
    if (parity_of(read(bar)) == parity) {
        if (spin_limit == 0) return false;
        me->at = {MBARRIER, file, line};
        me->bar = bar;
        me->parity = parity;
        me->gave_up = false;
        run_next();
        if (me->gave_up) return false;
    }
    order_acquire(order_of(bar, parity));
    return true;
}

/* On the device a bounded wait ends by itself; here when nothing else can happen any more. */
bool wait_give_up() {
    for (unsigned i = 0; i < now.group_blocks * now.what->shape.block; i++) {
        fiber *f = &now.group->fibers[i];
        if (f->at.kind != MBARRIER) continue;
        f->gave_up = true;
        wake(f, 1, false);
        return true;
    }
    return false;
}

/* The block of the cluster in whose shared memory the bytes lie. */
static block *block_at(const void *at, unsigned bytes) {
    cluster *team = now.current->home->team;
    const unsigned char *first = static_cast<const unsigned char *>(at);
    for (unsigned b = 0; b < team->size; b++) {
        const unsigned char *shared = team->blocks[b].shared;
        if (shared && first >= shared && first + bytes <= shared + now.what->shape.shared_bytes)
            return &team->blocks[b];
    }
    fail("block %u: simt_store_async to no block's shared memory", now.current->home->index);
}

void store_async(void *peer, uint64_t value, unsigned bytes, uint64_t *peers) {
    block *home = block_at(peer, bytes), *from = now.current->home;
    if (block_at(peers, 8) != home)
        fail("block %u: simt_store_async to one block, its mbarrier in another", from->index);
    if (reinterpret_cast<uintptr_t>(peer) % bytes) fail("block %u: simt_store_async to an odd address", from->index);
    store *sent = static_cast<store *>(malloc(sizeof *sent));
    if (!sent) abort(); /* a test's machine is out of memory */
    *sent = {now.last_store, NULL, peer, value, peers, bytes, from, home};
    (now.last_store ? now.last_store->after : now.first_store) = sent;
    now.last_store = sent;
    now.stores++;
    home->under_way++;
    order_write(peer, bytes);
    order_release(sent);
}

/* Takes the next one to arrive out of the list. */
static store *store_take() {
    store *sent = now.schedule == REVERSE ? now.last_store : now.first_store;
    if (now.schedule == RANDOM) {
        for (uint32_t steps = draw(now.stores < 64 ? now.stores : 64); steps; steps--) sent = sent->after;
    }
    (sent->before ? sent->before->after : now.first_store) = sent->after;
    (sent->after ? sent->after->before : now.last_store) = sent->before;
    now.stores--;
    return sent;
}

bool store_deliver() {
    if (!now.stores) return false;
    store *sent = store_take();
    order_as(&sent->from->engine);
    order_acquire(sent);
    if (sent->bytes == 4) {
        *static_cast<volatile uint32_t *>(sent->to) = static_cast<uint32_t>(sent->value);
    } else {
        *static_cast<volatile uint64_t *>(sent->to) = sent->value;
    }
    sent->home->under_way--;
    update(sent->bar, 0, -static_cast<int32_t>(sent->bytes));
    free(sent);
    order_as(&now.current->context);
    return true;
}

void stores_drop() {
    while (now.stores) free(store_take());
}

void block_leaves(block *b) {
    if (b->under_way) fail("block %u has left, asynchronous stores to it still under way: %u", b->index, b->under_way);
}

} // namespace simt_emulation
