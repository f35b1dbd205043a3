/* The loader: what it hands out is the data's, whoever made it; nothing is allocated, waited for or left behind. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "mmrec/data.h"

/* The loader's own call, made to fail on request. */
static int thread_fault;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *context) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    if (thread_fault) return thread_fault;
    return real(thread, attributes, run, context);
}

static void nap(long ms) {
    struct timespec time = {.tv_nsec = ms * 1000000};
    (void)nanosleep(&time, NULL);
}

static mmrec_allocator allocator;

static mmrec_data *create_data(const mmrec_data_request *request) {
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_data *data = NULL;
    memset(&allocator, 0, sizeof allocator);
    if (mmrec_data_create(&allocator, &io, request, &data, &error) != MMREC_OK) fail_msg("%s", error.message);
    return data;
}

static mmrec_data_request file_request(bool stream) {
    return (mmrec_data_request){
        .path = MMREC_GOLDEN "/text/harbour.txt", .seed = 1, .batch = 5, .time = 33, .held_out = 0.1, .stream = stream};
}

static mmrec_data_request task_request(int64_t batch, int64_t time) {
    return (mmrec_data_request){.task = MMREC_TASK_TEXT_MARKOV, .seed = 1, .batch = batch, .time = time};
}

static mmrec_loader *create_loader(const mmrec_data *data, int64_t first) {
    mmrec_error error = {0};
    mmrec_loader *loader = NULL;
    if (mmrec_loader_create(&allocator, data, first, &loader, &error) != MMREC_OK) fail_msg("%s", error.message);
    return loader;
}

static void end(mmrec_loader **loader, mmrec_data **data) {
    mmrec_loader_destroy(loader);
    assert_null(*loader);
    mmrec_loader_destroy(loader);
    mmrec_data_destroy(data);
    assert_int_equal(allocator.total.live_bytes, 0);
}

enum { ROOM = 8192 };

static void check_batch(const mmrec_data *data, const mmrec_batch *batch, int64_t number) {
    static int32_t ids[ROOM], targets[ROOM];
    const mmrec_data_request *r = mmrec_data_request_of(data);
    size_t bytes = (size_t)(r->batch * r->time) * sizeof *ids;
    assert_true(bytes <= sizeof ids);
    mmrec_data_batch(data, MMREC_SPLIT_TRAIN, number, ids, targets, NULL);
    assert_int_equal(batch->number, number);
    assert_memory_equal(batch->ids, ids, bytes);
    assert_memory_equal(batch->targets, targets, bytes);
    assert_int_equal(batch->starts, mmrec_data_starts(data, MMREC_SPLIT_TRAIN, number));
}

/* Batches over several epochs, some asked for at once and some after a while, so that both sides make some. */
static void check_loader(const mmrec_data_request *request, int64_t first, int64_t count) {
    mmrec_data *data = create_data(request);
    mmrec_loader *loader = create_loader(data, first);
    uint64_t attempts = allocator.attempts;
    for (int64_t i = 0; i < count; i++) {
        mmrec_batch batch = {0};
        if (i % 97 == 50) nap(2);
        mmrec_loader_next(loader, &batch);
        check_batch(data, &batch, first + i);
    }
    assert_int_equal(allocator.attempts, attempts);
    end(&loader, &data);
}

static void batches_are_the_data(void **state) {
    (void)state;
    mmrec_data_request windows = file_request(false), stream = file_request(true), task = task_request(3, 40);
    check_loader(&windows, 0, 600);
    check_loader(&windows, 123456789, 300);
    check_loader(&stream, 0, 600);
    check_loader(&stream, 77, 300);
    check_loader(&task, 5, 600);
}

/* A batch stays as it is while the thread goes on as far as it may. */
static void a_batch_is_held_until_the_next(void **state) {
    (void)state;
    mmrec_data_request request = task_request(64, 128);
    mmrec_data *data = create_data(&request);
    mmrec_loader *loader = create_loader(data, 0);
    for (int64_t i = 0; i < 40; i++) {
        mmrec_batch batch = {0};
        mmrec_loader_next(loader, &batch);
        nap(i % 2 ? 10 : 0);
        check_batch(data, &batch, i);
    }
    end(&loader, &data);
}

/* A reader that asks without doing anything between is ahead of the thread sooner or later. */
static void a_reader_that_is_faster_is_counted(void **state) {
    (void)state;
    mmrec_data_request request = task_request(64, 128);
    mmrec_data *data = create_data(&request);
    mmrec_loader *loader = create_loader(data, 0);
    int64_t late = 0;
    uint64_t ns = 0;
    mmrec_batch batch = {0};
    for (int64_t i = 0; i < 200; i++) mmrec_loader_next(loader, &batch);
    mmrec_loader_waits(loader, &late, &ns);
    assert_in_range(late, 1, 200);
    assert_true(ns > 0);
    check_batch(data, &batch, 199);
    end(&loader, &data);
}

/* Sleeps until this process has computed next to nothing for three naps: the thread has all that it may fetch. */
static void wait_for_rest(void) {
    for (int quiet = 0, i = 0; quiet < 3 && i < 500; i++) {
        struct timespec before, after;
        (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
        nap(10);
        (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
        double ms = 1e3 * (double)(after.tv_sec - before.tv_sec) + 1e-6 * (double)(after.tv_nsec - before.tv_nsec);
        quiet = ms < 0.5 ? quiet + 1 : 0;
    }
}

/* Then more than four batches are there. They are so large, 5 ms each, that none is made between two calls; on a
 * machine that holds the reader up for so long, or the thread for three naps, not every time counts. */
static void batches_are_fetched_ahead(void **state) {
    (void)state;
    enum { TIMES = 7 };
    mmrec_data_request request = task_request(128, 4096);
    mmrec_data *data = create_data(&request);
    mmrec_loader *loader = create_loader(data, 0);
    int good = 0;
    for (int i = 0; i < TIMES; i++) {
        int64_t before = 0, after = 0;
        uint64_t ns = 0;
        mmrec_batch batch = {0};
        wait_for_rest();
        mmrec_loader_waits(loader, &before, &ns);
        for (int k = 0; k < 5; k++) mmrec_loader_next(loader, &batch);
        mmrec_loader_waits(loader, &after, &ns);
        good += after == before;
    }
    assert_in_range(good, TIMES - 2, TIMES);
    end(&loader, &data);
}

static void destroyed_at_any_moment(void **state) {
    (void)state;
    mmrec_data_request request = task_request(16, 64);
    for (int64_t i = 0; i < 200; i++) {
        mmrec_data *data = create_data(&request);
        mmrec_loader *loader = create_loader(data, i);
        mmrec_batch batch = {0};
        for (int64_t k = 0; k < i % 5; k++) mmrec_loader_next(loader, &batch);
        if (i % 7 == 0) nap(1);
        end(&loader, &data);
    }
}

/* ---- what can fail ------------------------------------------------------------------------------------------ */

static void no_memory(void **state) {
    (void)state;
    mmrec_data_request request = task_request(2, 16);
    mmrec_data *data = create_data(&request);
    bool reached = true;
    for (uint64_t k = 1; reached; k++) {
        mmrec_allocator a = {.fail_at = k};
        mmrec_error error = {0};
        mmrec_loader *loader = NULL;
        mmrec_status status = mmrec_loader_create(&a, data, 0, &loader, &error);
        reached = a.attempts >= k;
        assert_int_equal(status, reached ? MMREC_NO_MEMORY : MMREC_OK);
        if (reached) assert_non_null(strstr(error.message, "not enough memory"));
        mmrec_loader_destroy(&loader);
        assert_int_equal(a.total.live_bytes, 0);
        assert_true(k < 10);
    }
    mmrec_data_destroy(&data);
}

static void no_thread(void **state) {
    (void)state;
    mmrec_data_request request = task_request(2, 16);
    mmrec_data *data = create_data(&request);
    size_t live = allocator.total.live_bytes;
    mmrec_loader *loader = NULL;
    mmrec_error error = {0};
    thread_fault = EAGAIN;
    assert_int_equal(mmrec_loader_create(&allocator, data, 0, &loader, &error), MMREC_IO);
    thread_fault = 0;
    assert_string_equal(error.message, "cannot start a thread to load data: Resource temporarily unavailable");
    assert_null(loader);
    assert_int_equal(allocator.total.live_bytes, live);
    mmrec_data_destroy(&data);
}

/* ---- signals ------------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t handled;

static void handle(int signal) {
    (void)signal;
    handled = 1;
}

/* A signal that the program has blocked for itself stays pending: the thread does not take it. */
static void signals_are_not_for_the_thread(void **state) {
    (void)state;
    mmrec_data_request request = task_request(2, 16);
    mmrec_data *data = create_data(&request);
    mmrec_loader *loader = create_loader(data, 0);
    struct sigaction action = {.sa_handler = handle}, before;
    sigset_t one, old, pending;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &one, &old), 0);
    assert_false(sigismember(&old, SIGUSR1)); /* creating the thread has left the program's own mask as it was */
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    nap(5);
    assert_int_equal(sigpending(&pending), 0);
    assert_true(!handled && sigismember(&pending, SIGUSR1));
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
    assert_true(handled);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    end(&loader, &data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_the_data),
        cmocka_unit_test(a_batch_is_held_until_the_next),
        cmocka_unit_test(a_reader_that_is_faster_is_counted),
        cmocka_unit_test(batches_are_fetched_ahead),
        cmocka_unit_test(destroyed_at_any_moment),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(no_thread),
        cmocka_unit_test(signals_are_not_for_the_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
