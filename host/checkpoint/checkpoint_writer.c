/* Checkpoints written on a thread of its own.
 *
 * The caller's thread encodes into the writer's block and hands it over; the writing thread computes the checksum,
 * writes, and never asks for memory, since an allocator belongs to one thread. What both touch is guarded by `lock`. */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "checkpoint/checkpoint_impl.h"

typedef enum writer_state { WRITER_IDLE, WRITER_BUSY, WRITER_ENDED } writer_state;

struct mmrec_checkpoint_writer {
    mmrec_allocator *allocator;
    mmrec_io *io;
    char *folder;
    size_t folder_bytes;
    int keep;
    pthread_t thread;
    bool started;
    void *block; /* the file; belongs to the thread while it is busy */
    size_t capacity, size;
    int64_t step;
    mmrec_status status; /* of the save that ended; read once it is known to have */
    mmrec_error error;
    /* Guarded by the lock. */
    pthread_mutex_t *lock;
    pthread_mutex_t own_lock;
    pthread_cond_t changed;
    writer_state state;
    bool stop;
    int64_t saved;
};

/* ---- the writing thread ------------------------------------------------------------------------------------- */

static void set_saved(mmrec_checkpoint_writer *w) {
    pthread_mutex_lock(w->lock);
    w->saved = w->step;
    pthread_mutex_unlock(w->lock);
}

static mmrec_status write_one(mmrec_checkpoint_writer *w, mmrec_error *error) {
    char path[PATH_MAX];
    checkpoint_seal(w->block, w->size);
    MMREC_TRY(checkpoint_path(w->folder, w->step, path, error));
    MMREC_TRY(mmrec_io_write_verified(w->io, path, w->block, w->size, error));
    set_saved(w);
    MMREC_TRY_WHILE(checkpoint_prune(w->io, w->folder, w->step, w->keep, error), error,
                    "removing old checkpoints; that of step %lld is saved", (long long)w->step);
    return MMREC_OK;
}

/* Waits for a save; false: for the end. */
static bool next_save(mmrec_checkpoint_writer *w) {
    pthread_mutex_lock(w->lock);
    while (w->state != WRITER_BUSY && !w->stop) pthread_cond_wait(&w->changed, w->lock);
    bool busy = w->state == WRITER_BUSY;
    pthread_mutex_unlock(w->lock);
    return busy;
}

static void set_state(mmrec_checkpoint_writer *w, writer_state state) {
    pthread_mutex_lock(w->lock);
    w->state = state;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(w->lock);
}

static void *run(void *context) {
    mmrec_checkpoint_writer *w = context;
    while (next_save(w)) {
        mmrec_error_clear(&w->error);
        w->status = write_one(w, &w->error);
        set_state(w, WRITER_ENDED);
    }
    return NULL;
}

/* Signals are for the other threads: none of them may interrupt a write. */
static mmrec_status start(mmrec_checkpoint_writer *w, mmrec_error *error) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int reason = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->started = reason == 0;
    if (w->started) return MMREC_OK;
    MMREC_FAIL(error, MMREC_IO, "cannot start the thread that writes checkpoints: %s", strerror(reason));
}

/* ---- the caller's thread ------------------------------------------------------------------------------------ */

static mmrec_status prepare(mmrec_checkpoint_writer *w, const char *folder, mmrec_error *error) {
    char path[PATH_MAX];
    void *memory = NULL;
    MMREC_TRY(checkpoint_path(folder, 0, path, error));
    MMREC_TRY(mmrec_alloc_zero(w->allocator, strlen(folder) + 1, 1, MMREC_ALLOC_FILE, &memory, error));
    w->folder = memcpy(memory, folder, strlen(folder) + 1);
    w->folder_bytes = strlen(folder) + 1;
    MMREC_TRY(mmrec_io_make_folder(w->io, folder, error));
    MMREC_TRY(mmrec_io_remove_leftovers(w->io, folder, error));
    return start(w, error);
}

mmrec_status mmrec_checkpoint_writer_create(mmrec_allocator *allocator, mmrec_io *io, const char *folder, int keep,
                                            mmrec_checkpoint_writer **out, mmrec_error *error) {
    void *memory = NULL;
    *out = NULL;
    if (keep < 1) MMREC_FAIL(error, MMREC_CONFIG, "%d checkpoints cannot be kept, wanted 1 or more", keep);
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof **out, MMREC_ALLOC_FILE, &memory, error));
    mmrec_checkpoint_writer *w = memory;
    *w = (mmrec_checkpoint_writer){.allocator = allocator, .io = io, .keep = keep, .saved = -1};
    pthread_mutex_init(&w->own_lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->lock = &w->own_lock;
    mmrec_status status = prepare(w, folder, error);
    if (status != MMREC_OK) mmrec_checkpoint_writer_destroy(&w);
    *out = w;
    return status;
}

static void end_thread(mmrec_checkpoint_writer *w) {
    pthread_mutex_lock(w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(w->lock);
    pthread_join(w->thread, NULL);
}

void mmrec_checkpoint_writer_destroy(mmrec_checkpoint_writer **writer) {
    mmrec_checkpoint_writer *w = *writer;
    if (!w) return;
    if (w->started) end_thread(w);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(w->lock);
    mmrec_alloc(w->allocator, w->block, w->capacity, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(w->allocator, w->folder, w->folder_bytes, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(w->allocator, w, sizeof *w, 0, MMREC_ALLOC_FILE);
    *writer = NULL;
}

static writer_state state_of(mmrec_checkpoint_writer *w, bool wait) {
    pthread_mutex_lock(w->lock);
    while (wait && w->state == WRITER_BUSY) pthread_cond_wait(&w->changed, w->lock);
    writer_state state = w->state;
    pthread_mutex_unlock(w->lock);
    return state;
}

/* Takes what a save that ended has to say, once. */
static mmrec_status collect(mmrec_checkpoint_writer *w, writer_state state, mmrec_error *error) {
    if (state != WRITER_ENDED) return MMREC_OK;
    set_state(w, WRITER_IDLE);
    if (w->status != MMREC_OK && error) *error = w->error;
    return w->status;
}

mmrec_status mmrec_checkpoint_writer_poll(mmrec_checkpoint_writer *writer, bool *idle, mmrec_error *error) {
    writer_state state = state_of(writer, false);
    *idle = state != WRITER_BUSY;
    return collect(writer, state, error);
}

mmrec_status mmrec_checkpoint_writer_wait(mmrec_checkpoint_writer *writer, mmrec_error *error) {
    return collect(writer, state_of(writer, true), error);
}

mmrec_status mmrec_checkpoint_writer_save(mmrec_checkpoint_writer *writer, const mmrec_checkpoint *checkpoint,
                                          int64_t step, mmrec_error *error) {
    MMREC_TRY(mmrec_checkpoint_writer_wait(writer, error));
    if (step < 0 || step > MMREC_CHECKPOINT_MOST_STEP) {
        MMREC_FAIL(error, MMREC_CONFIG, "a checkpoint of step %lld, wanted 0 to %lld", (long long)step,
                   (long long)MMREC_CHECKPOINT_MOST_STEP);
    }
    MMREC_TRY_WHILE(checkpoint_encode_unsealed(checkpoint, writer->allocator, &writer->block, &writer->capacity,
                                               &writer->size, error),
                    error, "saving step %lld", (long long)step);
    writer->step = step;
    set_state(writer, WRITER_BUSY);
    return MMREC_OK;
}

int64_t mmrec_checkpoint_writer_saved(const mmrec_checkpoint_writer *writer) {
    pthread_mutex_lock(writer->lock);
    int64_t saved = writer->saved;
    pthread_mutex_unlock(writer->lock);
    return saved;
}
