/* The loader: a thread that writes batches into a ring, ahead of the reader.
 *
 * Batch i (counted from `first`) lies in slot i modulo 9. The reader holds one slot, so the thread may have eight more
 * filled: it makes none while made - taken is 8, and the slot it writes is never the one that is held. Then it sleeps
 * until only four are left, as waking it costs the reader more than a batch: 20 us here, so 5 us a batch.
 *
 * The reader never waits for the thread, which may have no processor while others compute: on a busy machine it got one
 * after 100 to 300 us, and a batch takes 1 to 20 us to make. Where its batch is not there the reader makes it, in a
 * slot of its own, and what the thread may be writing at that moment is dropped. Both would have written the same. */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "core/clock.h"
#include "mmrec/data.h"

enum { AHEAD = 8, LOW = AHEAD / 2, RING = AHEAD + 1, OWN = RING, SLOTS };

struct mmrec_loader {
    mmrec_allocator *allocator;
    const mmrec_data *data;
    int64_t first, count; /* count: ids of a batch, and as many targets */
    int32_t *slots;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t room;  /* few batches are left, or the thread is to stop */
    int64_t made, taken;
    bool stop;
    int64_t late; /* of the reader alone */
    uint64_t late_ns;
};

static int32_t *slot_of(const mmrec_loader *l, int64_t slot) { return l->slots + slot * 2 * l->count; }

static void make(const mmrec_loader *l, int64_t i, int64_t slot) {
    int32_t *ids = slot_of(l, slot);
    mmrec_data_batch(l->data, MMREC_SPLIT_TRAIN, l->first + i, ids, ids + l->count, NULL);
}

/* The next batch to make, once there is room for it; -1 to stop. */
static int64_t wait_for_room(mmrec_loader *l) {
    pthread_mutex_lock(&l->lock);
    bool full = l->made - l->taken == AHEAD;
    while (full && !l->stop && l->made - l->taken > LOW) pthread_cond_wait(&l->room, &l->lock);
    int64_t next = l->stop ? -1 : l->made;
    pthread_mutex_unlock(&l->lock);
    return next;
}

static void *run(void *context) {
    mmrec_loader *l = context;
    for (int64_t i = wait_for_room(l); i >= 0; i = wait_for_room(l)) {
        make(l, i, i % RING);
        pthread_mutex_lock(&l->lock);
        if (l->made == i) l->made++; /* unless the reader went past it */
        pthread_mutex_unlock(&l->lock);
    }
    return NULL;
}

/* The thread takes no signals: they are for the program's own. */
static int start_thread(mmrec_loader *l) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&l->thread, NULL, run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

static size_t slot_bytes(const mmrec_loader *l) { return (size_t)(SLOTS * 2 * l->count) * sizeof(int32_t); }

static void release(mmrec_loader *l) {
    if (l->slots) mmrec_alloc(l->allocator, l->slots, slot_bytes(l), 0, MMREC_ALLOC_OTHER);
    mmrec_alloc(l->allocator, l, sizeof *l, 0, MMREC_ALLOC_OTHER);
}

static mmrec_status start(mmrec_loader *l, mmrec_error *error) {
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(l->allocator, 1, slot_bytes(l), MMREC_ALLOC_OTHER, &memory, error));
    l->slots = memory;
    int failed = start_thread(l);
    if (failed) MMREC_FAIL(error, MMREC_IO, "cannot start a thread to load data: %s", strerror(failed));
    return MMREC_OK;
}

mmrec_status mmrec_loader_create(mmrec_allocator *allocator, const mmrec_data *data, int64_t first, mmrec_loader **out,
                                 mmrec_error *error) {
    const mmrec_data_request *request = mmrec_data_request_of(data);
    *out = NULL;
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof(mmrec_loader), MMREC_ALLOC_OTHER, &memory, error));
    mmrec_loader *l = memory;
    *l = (mmrec_loader){.allocator = allocator,
                        .data = data,
                        .first = first,
                        .count = request->batch * request->time,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .room = PTHREAD_COND_INITIALIZER};
    mmrec_status status = start(l, error);
    if (status != MMREC_OK) {
        release(l);
        return status;
    }
    *out = l;
    return MMREC_OK;
}

void mmrec_loader_destroy(mmrec_loader **loader) {
    mmrec_loader *l = *loader;
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_signal(&l->room);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->room);
    pthread_mutex_destroy(&l->lock);
    release(l);
    *loader = NULL;
}

/* The number of the batch that is due. `*ready`: the thread has made it. */
static int64_t take(mmrec_loader *l, bool *ready) {
    pthread_mutex_lock(&l->lock);
    int64_t i = l->taken++;
    *ready = l->made > i;
    if (!*ready) l->made = l->taken;
    if (l->made - l->taken <= LOW) pthread_cond_signal(&l->room);
    pthread_mutex_unlock(&l->lock);
    return i;
}

static void make_own(mmrec_loader *l, int64_t i) {
    uint64_t begin = core_clock_ns();
    make(l, i, OWN);
    l->late_ns += core_clock_ns() - begin;
    l->late++;
}

void mmrec_loader_next(mmrec_loader *loader, mmrec_batch *out) {
    bool ready = false;
    int64_t i = take(loader, &ready);
    if (!ready) make_own(loader, i);
    out->number = loader->first + i;
    out->ids = slot_of(loader, ready ? i % RING : OWN);
    out->targets = out->ids + loader->count;
    out->starts = mmrec_data_starts(loader->data, MMREC_SPLIT_TRAIN, out->number);
}

void mmrec_loader_waits(const mmrec_loader *loader, int64_t *count, uint64_t *ns) {
    *count = loader->late;
    *ns = loader->late_ns;
}
