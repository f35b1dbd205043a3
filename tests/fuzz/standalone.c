/* Drives a fuzz target where there is no libFuzzer: replays the corpus, then runs seeded mutations of it.
 *
 *   fuzz_<name> [--seconds S] [--runs N] [--seed N] FILE|FOLDER...
 *
 * Without coverage to guide it this is no search for the unknown (use libFuzzer for that) but a regression test that
 * also tries some hundred thousand neighbours of every input. Run number n of a seed is always the same input. One that
 * fails is left in ./fuzz-failure. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "mmrec/rng.h"

enum { MAX_INPUTS = 1000, MAX_BYTES = 4096, MAX_CHANGES = 4, LONGEST_BLOCK = 32 };

#pragma weak LLVMFuzzerCustomMutator
/* Present where a sanitizer is linked in. */
void __sanitizer_set_death_callback(void (*callback)(void));
#pragma weak __sanitizer_set_death_callback

/* The driver's state: the targets' interface has no place for it. */
static struct {
    uint8_t *input[MAX_INPUTS];
    size_t size[MAX_INPUTS];
    size_t count;
} corpus;
static struct { uint64_t seed, run, drawn; /* the address of the next random number */ } chance = {.seed = 1};
static struct {
    const uint8_t *data;
    size_t size;
} running;

/* ---- chance and mutation ------------------------------------------------------------------------------------ */

static size_t below(size_t limit) {
    return mmrec_rng_below(chance.seed, chance.run, chance.drawn++, (uint32_t)(limit > 0 ? limit : 1));
}

/* Puts `length` bytes in place of `removed` ones at `at`; does nothing where there is no room. */
static size_t exchange(uint8_t *data, size_t size, size_t capacity, size_t at, size_t removed, const void *bytes,
                       size_t length) {
    if (size - removed + length > capacity) return size;
    uint8_t kept[MAX_BYTES];
    memcpy(kept, bytes, length); /* `bytes` may be part of `data` */
    memmove(data + at + length, data + at + removed, size - at - removed);
    memcpy(data + at, kept, length);
    return size - removed + length;
}

static size_t block_length(size_t room) {
    size_t length = 1 + below(LONGEST_BLOCK);
    return length < room ? length : room;
}

static bool digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* Replaces the number written at or after a random place by one at a limit. */
static size_t swap_number(uint8_t *data, size_t size, size_t capacity) {
    static const char *const numbers[] = {"0",
                                          "1",
                                          "-1",
                                          "8",
                                          "9",
                                          "255",
                                          "65536",
                                          "2147483648",
                                          "4294967296",
                                          "1e9",
                                          "0.5",
                                          "4611686018427387904",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "18446744073709551616"};
    size_t at = below(size);
    while (at < size && !digit(data[at])) at++;
    size_t end = at;
    while (end < size && digit(data[end])) end++;
    if (at == end) return size;
    const char *number = numbers[below(sizeof numbers / sizeof *numbers)];
    return exchange(data, size, capacity, at, end - at, number, strlen(number));
}

/* Puts a piece of another input of the corpus over or into this one. */
static size_t borrow_piece(uint8_t *data, size_t size, size_t capacity) {
    size_t other = below(corpus.count), from = below(corpus.size[other]), at = below(size + 1);
    size_t length = block_length(corpus.size[other] - from), removed = below(2) ? 0 : length;
    if (removed > size - at) removed = size - at;
    return exchange(data, size, capacity, at, removed, corpus.input[other] + from, length);
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity) {
    enum { FLIP, SET, INSERT, REMOVE, REPEAT, NUMBER, SPLICE, KINDS };
    uint8_t byte = (uint8_t)below(256);
    size_t kind = below(KINDS), at = below(size);
    if (size == 0) return exchange(data, size, capacity, 0, 0, &byte, 1);
    switch (kind) {
    case FLIP:
        data[at] = (uint8_t)(data[at] ^ 1u << below(8));
        return size;
    case SET:
        data[at] = byte;
        return size;
    case INSERT:
        return exchange(data, size, capacity, at, 0, &byte, 1);
    case REMOVE:
        return exchange(data, size, capacity, at, block_length(size - at), "", 0);
    case REPEAT:
        return exchange(data, size, capacity, below(size + 1), 0, data + at, block_length(size - at));
    case NUMBER:
        return swap_number(data, size, capacity);
    default:
        return borrow_piece(data, size, capacity);
    }
}

static size_t mutate(uint8_t *data, size_t size) {
    for (size_t changes = 1 + below(MAX_CHANGES); changes > 0; changes--) {
        size = LLVMFuzzerCustomMutator ? LLVMFuzzerCustomMutator(data, size, MAX_BYTES, (unsigned)below(UINT32_MAX))
                                       : LLVMFuzzerMutate(data, size, MAX_BYTES);
    }
    return size;
}

/* ---- running ------------------------------------------------------------------------------------------------ */

/* Called on the way down: only calls that a signal handler may make. */
static void keep_failure(void) {
    int fd = creat("fuzz-failure", 0644);
    bool ok = fd >= 0 && write(fd, running.data, running.size) == (ssize_t)running.size;
    const char *text = ok ? "the input is in ./fuzz-failure\n" : "the input could not be kept\n";
    if (write(STDERR_FILENO, text, strlen(text)) < 0) _exit(3);
}

static void on_signal(int number) {
    keep_failure();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void watch_for_failures(void) {
    (void)signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(keep_failure);
        return;
    }
    (void)signal(SIGSEGV, on_signal);
    (void)signal(SIGFPE, on_signal);
}

/* The block has exactly the input's size, so that a sanitizer sees a read behind it. */
static void run_one(const uint8_t *data, size_t size) {
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (!exact) abort();
    memcpy(exact, data, size);
    running.data = exact;
    running.size = size;
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static double seconds_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void run_mutations(double seconds, uint64_t runs) {
    uint8_t data[MAX_BYTES];
    double start = seconds_now();
    for (chance.run = 1; chance.run <= runs; chance.run++) {
        chance.drawn = 0;
        size_t from = below(corpus.count);
        memcpy(data, corpus.input[from], corpus.size[from]);
        run_one(data, mutate(data, corpus.size[from]));
        if (chance.run % 64 == 0 && seconds_now() - start > seconds) break;
    }
    double took = seconds_now() - start, done = (double)(chance.run - (chance.run > runs));
    (void)printf("%zu inputs, %.0f mutations of seed %llu in %.1f s: %.0f executions per second\n", corpus.count, done,
                 (unsigned long long)chance.seed, took, done / took);
}

/* ---- corpus and command line -------------------------------------------------------------------------------- */

static bool load_file(const char *path) {
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(MAX_BYTES);
    if (!file || !bytes || corpus.count == MAX_INPUTS) {
        (void)fprintf(stderr, "cannot take \"%s\" into the corpus\n", path);
        return false;
    }
    corpus.size[corpus.count] = fread(bytes, 1, MAX_BYTES, file);
    corpus.input[corpus.count++] = bytes;
    bool whole = fgetc(file) == EOF;
    (void)fclose(file);
    if (!whole) (void)fprintf(stderr, "\"%s\" has more than %d bytes\n", path, MAX_BYTES);
    return whole;
}

/* In the order of names, as the folder's own order is not the same everywhere. */
static bool load_folder(const char *path) {
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);
    bool ok = count >= 0;
    for (int i = 0; i < count; i++) {
        char name[1024];
        (void)snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        if (ok && entries[i]->d_name[0] != '.') ok = load_file(name);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

static bool load(const char *path) {
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return load_folder(path);
    return load_file(path);
}

int main(int count, char **arguments) {
    double seconds = 5;
    uint64_t runs = UINT64_MAX - 1;
    for (int i = 1; i < count; i++) {
        bool has_value = i + 1 < count;
        if (strcmp(arguments[i], "--seconds") == 0 && has_value) {
            seconds = strtod(arguments[++i], NULL);
        } else if (strcmp(arguments[i], "--runs") == 0 && has_value) {
            runs = strtoull(arguments[++i], NULL, 10);
        } else if (strcmp(arguments[i], "--seed") == 0 && has_value) {
            chance.seed = strtoull(arguments[++i], NULL, 10);
        } else if (!load(arguments[i])) {
            return 2;
        }
    }
    if (corpus.count == 0) {
        (void)fprintf(stderr, "usage: %s [--seconds S] [--runs N] [--seed N] FILE|FOLDER...\n", arguments[0]);
        return 2;
    }
    watch_for_failures();
    for (size_t i = 0; i < corpus.count; i++) run_one(corpus.input[i], corpus.size[i]);
    run_mutations(seconds, runs);
    for (size_t i = 0; i < corpus.count; i++) free(corpus.input[i]);
    return 0;
}
