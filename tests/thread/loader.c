/* The thread that loads batches, for ThreadSanitizer: several loaders at once over a file and over a task, read in
 * different rhythms and stopped at any moment. Every batch must be the data's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mmrec/data.h"

enum { LOADERS = 3, ROOM = 1024 };

static mmrec_allocator allocator;

static void nap(long us) {
    struct timespec time = {.tv_nsec = us * 1000};
    (void)nanosleep(&time, NULL);
}

/* Reads all of what the loader hands out, so that a write to it at the same time is seen. */
static bool same_batch(const mmrec_data *data, const mmrec_batch *batch, int64_t number) {
    static int32_t ids[ROOM], targets[ROOM];
    const mmrec_data_request *r = mmrec_data_request_of(data);
    size_t bytes = (size_t)(r->batch * r->time) * sizeof *ids;
    mmrec_data_batch(data, MMREC_SPLIT_TRAIN, number, ids, targets, NULL);
    return batch->number == number && memcmp(batch->ids, ids, bytes) == 0 &&
           memcmp(batch->targets, targets, bytes) == 0;
}

/* Loader `k` is read `k + 1` times a round; one round in eight leaves the threads time to run ahead. */
static bool read_all(const mmrec_data *data, mmrec_loader **loaders, int64_t rounds) {
    int64_t next[LOADERS] = {0};
    for (int64_t round = 0; round < rounds; round++) {
        if (round % 8 == 0) nap(300);
        for (int k = 0; k < LOADERS; k++) {
            for (int i = 0; i <= k; i++) {
                mmrec_batch batch;
                mmrec_loader_next(loaders[k], &batch);
                if (!same_batch(data, &batch, next[k]++)) return false;
            }
        }
    }
    return true;
}

static bool run(const mmrec_data_request *request, int64_t rounds) {
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_data *data = NULL;
    mmrec_loader *loaders[LOADERS] = {NULL};
    bool good = mmrec_data_create(&allocator, &io, request, &data, &error) == MMREC_OK;
    for (int k = 0; k < LOADERS && good; k++) {
        good = mmrec_loader_create(&allocator, data, 0, &loaders[k], &error) == MMREC_OK;
    }
    if (!good) (void)fprintf(stderr, "%s\n", error.message);
    if (good && !read_all(data, loaders, rounds)) {
        (void)fprintf(stderr, "a batch is not the data's\n");
        good = false;
    }
    for (int k = 0; k < LOADERS; k++) mmrec_loader_destroy(&loaders[k]);
    mmrec_data_destroy(&data);
    return good && allocator.total.live_bytes == 0;
}

static bool write_file(char *path) {
    unsigned char bytes[9000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * i >> 7);
    int fd = mkstemp(path);
    bool good = fd >= 0 && write(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes;
    return fd >= 0 && close(fd) == 0 && good;
}

int main(void) {
    char path[] = "/tmp/mmrec-loader-XXXXXX";
    mmrec_data_request file = {.path = path, .seed = 1, .batch = 7, .time = 31, .held_out = 0.1};
    mmrec_data_request task = {.task = MMREC_TASK_TEXT_MARKOV, .seed = 1, .batch = 4, .time = 64};
    bool good = write_file(path) && run(&file, 200) && run(&task, 200);
    for (int64_t i = 0; i < 40 && good; i++) good = run(i % 2 ? &file : &task, i % 5);
    (void)unlink(path);
    return good ? 0 : 1;
}
