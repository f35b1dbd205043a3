/* Device memory: pages that nobody may touch but work in the queue, so that a host that reads a device address stops at
 * once. Each allocation lies between guards, which are looked at after every command and when it is freed; new memory
 * is full of 0xFF (a NaN), freed memory stays unreachable. Host memory for copies is guarded alike and always open.
 * Under AddressSanitizer the guards are poisoned instead of looked at: it names the line. */
#include "state.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define GUARDS_POISONED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GUARDS_POISONED 1
#endif
#endif
#ifdef GUARDS_POISONED
#include <sanitizer/asan_interface.h>
#endif

enum { GUARD = 256, GUARD_BYTE = 0xA5, RETIRED = 1024, LARGE = 4 << 20 };

/* The mapping: GUARD bytes, the memory, at least GUARD bytes up to the end of the last page. */
typedef struct block {
    struct block *next;
    unsigned char *map;
    size_t map_bytes, bytes;
    bool device;
} block;

static struct {
    block *first;
    size_t used, total;
    int open;
    bool always_open;
    struct {
        void *map;
        size_t bytes;
    } retired[RETIRED]; /* a ring of freed mappings, kept unreachable */
    unsigned next_retired;
} memory;

static unsigned char *data_of(const block *b) { return b->map + GUARD; }
static unsigned char *tail_of(const block *b) { return data_of(b) + b->bytes; }
static size_t tail_bytes(const block *b) { return b->map_bytes - GUARD - b->bytes; }

size_t fake_memory_total(void) {
    if (memory.total) return memory.total;
    const char *value = getenv("MMREC_FAKE_CUDA_MEMORY"), *option = getenv("MMREC_FAKE_CUDA");
    memory.always_open = option && strstr(option, "open");
    char *end = NULL;
    double size = value ? strtod(value, &end) : 0;
    double unit = end && *end == 'K'   ? 1024.0
                  : end && *end == 'M' ? 1048576.0
                  : end && *end == 'G' ? 1073741824.0
                                       : 1.0;
    memory.total = size >= 1 ? (size_t)(size * unit) : (size_t)2 << 30;
    return memory.total;
}

static void protect(const block *b, int how) {
    if (b->device && !memory.always_open) mprotect(b->map, b->map_bytes, how);
}

void fake_memory_open(void) {
    if (memory.open++) return;
    for (const block *b = memory.first; b; b = b->next) protect(b, PROT_READ | PROT_WRITE);
}

void fake_memory_close(void) {
    if (--memory.open) return;
    for (const block *b = memory.first; b; b = b->next) protect(b, PROT_NONE);
}

#ifdef GUARDS_POISONED
static void guards_set(const block *b) {
    __asan_poison_memory_region(b->map, GUARD);
    __asan_poison_memory_region(tail_of(b), tail_bytes(b));
}
static void guards_drop(const block *b) { __asan_unpoison_memory_region(b->map, b->map_bytes); }
static bool guards_hold(const block *b, size_t tail) {
    (void)b, (void)tail;
    return true;
}
#else
static void guards_set(const block *b) {
    memset(b->map, GUARD_BYTE, GUARD);
    memset(tail_of(b), GUARD_BYTE, tail_bytes(b));
}
static void guards_drop(const block *b) { (void)b; }
static bool guard_holds(const unsigned char *at, size_t bytes) {
    return at[0] == GUARD_BYTE && memcmp(at, at + 1, bytes - 1) == 0;
}
static bool guards_hold(const block *b, size_t tail) {
    return guard_holds(b->map, GUARD) && guard_holds(tail_of(b), tail);
}
#endif

/* A NaN in every float. Of large blocks only the ends: opening and closing memory costs time by the page that was ever
 * touched (0.3 ms for a workspace of 32 MiB), and work that runs past what it has written soon meets an end. */
static void fill_fresh(const block *b) {
    size_t end = b->bytes > LARGE ? LARGE / 4 : b->bytes;
    memset(data_of(b), 0xFF, end);
    memset(tail_of(b) - end, 0xFF, end);
}

static cudaError_t block_create(void **out, size_t bytes, bool device) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *out = NULL;
    if (bytes == 0) return cudaSuccess;
    if (device && bytes > fake_memory_total() - memory.used) return fake_fail(cudaErrorMemoryAllocation);
    block *b = calloc(1, sizeof *b);
    if (!b) return fake_fail(cudaErrorMemoryAllocation);
    b->bytes = bytes;
    b->device = device;
    b->map_bytes = (bytes + 2 * GUARD + page - 1) / page * page;
    void *map = mmap(NULL, b->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        free(b);
        return fake_fail(cudaErrorMemoryAllocation);
    }
    b->map = map;
    fill_fresh(b);
    guards_set(b);
    if (!memory.open) protect(b, PROT_NONE);
    b->next = memory.first;
    memory.first = b;
    if (device) memory.used += bytes;
    *out = data_of(b);
    return cudaSuccess;
}

static void check_block(const block *b, size_t tail, const char *after) {
    if (guards_hold(b, tail)) return;
    fprintf(stderr, "fake CUDA: %s wrote outside an allocation of %zu bytes\n", after, b->bytes);
    fake_lose(cudaErrorIllegalAddress);
    guards_set(b);
}

void fake_memory_check(const char *after) {
    for (const block *b = memory.first; b; b = b->next) check_block(b, GUARD, after);
}

static void retire(void *map, size_t bytes) {
    unsigned at = memory.next_retired++ % RETIRED;
    if (memory.retired[at].map) munmap(memory.retired[at].map, memory.retired[at].bytes);
    memory.retired[at].map =
        mmap(map, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    memory.retired[at].bytes = bytes;
}

/* `code` is what the call returns for a block that is there: a lost device gives its memory back all the same. */
static cudaError_t block_free(void *at, bool device, cudaError_t code) {
    if (!at) return code;
    for (block **link = &memory.first; *link; link = &(*link)->next) {
        block *b = *link;
        if (data_of(b) != at || b->device != device) continue;
        protect(b, PROT_READ | PROT_WRITE);
        check_block(b, tail_bytes(b), "somebody");
        guards_drop(b);
        *link = b->next;
        retire(b->map, b->map_bytes);
        if (device) memory.used -= b->bytes;
        free(b);
        return code == cudaSuccess ? fake_waited() : code;
    }
    return code == cudaSuccess ? fake_fail(cudaErrorInvalidValue) : code;
}

static bool inside(const void *at, size_t bytes, bool device) {
    uintptr_t from = (uintptr_t)at;
    for (const block *b = memory.first; b; b = b->next) {
        uintptr_t start = (uintptr_t)data_of(b);
        if (b->device == device && from >= start && from - start <= b->bytes && bytes <= b->bytes - (from - start))
            return true;
    }
    return false;
}

bool fake_memory_device(const void *at, size_t bytes) { return inside(at, bytes, true); }
bool fake_memory_pinned(const void *at, size_t bytes) { return inside(at, bytes, false); }

bool fake_memory_host(const void *at, size_t bytes) {
    uintptr_t from = (uintptr_t)at;
    for (const block *b = memory.first; b; b = b->next) {
        uintptr_t start = (uintptr_t)b->map;
        if (b->device && from < start + b->map_bytes && from + bytes > start) return false;
    }
    return true;
}

/* ---- bad addresses ---- */

static const char *worker;

static const block *nearest(uintptr_t at, long long *distance) {
    const block *best = NULL;
    for (const block *b = memory.first; b; b = b->next) {
        uintptr_t start = (uintptr_t)data_of(b), end = start + b->bytes;
        long long away = at < start ? -(long long)(start - at) : (long long)(at - end);
        if (best && llabs(away) >= llabs(*distance)) continue;
        best = b;
        *distance = away;
    }
    return best;
}

/* Says who it was, and lets the processor's own end come. */
static void bad_address(int number, siginfo_t *info, void *context) {
    (void)context;
    enum { LOWEST = 65536 }; /* below is a null pointer and an index */
    char text[256], where[96] = "";
    long long distance = 0;
    const block *b = nearest((uintptr_t)info->si_addr, &distance);
    if (b && (uintptr_t)info->si_addr >= LOWEST)
        snprintf(where, sizeof where, ", %lld bytes %s an allocation of %zu bytes", llabs(distance),
                 distance < 0 ? "before" : "past the end of", b->bytes);
    int length = snprintf(text, sizeof text, "fake CUDA: %s used the bad address %p%s\n", worker ? worker : "the host",
                          info->si_addr, where);
    if (length > 0 && write(STDERR_FILENO, text, (size_t)length) < 0) _exit(2);
    signal(number, SIG_DFL);
}

/* Once, unless a sanitizer or somebody else looks after bad addresses already. */
static void install_handler(void) {
    static char stack[64 * 1024];
    struct sigaction now;
    const stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
    if (sigaction(SIGSEGV, NULL, &now) != 0 || now.sa_handler != SIG_DFL) return;
    const struct sigaction wanted = {.sa_sigaction = bad_address, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (sigaltstack(&alternative, NULL) == 0) sigaction(SIGSEGV, &wanted, NULL);
}

void fake_memory_watch(const char *name) {
    static bool installed;
    if (!installed) install_handler();
    installed = true;
    worker = name;
}

int fake_memory_alive(size_t *bytes) {
    int count = 0;
    *bytes = 0;
    for (const block *b = memory.first; b; b = b->next, count++) *bytes += b->bytes;
    return count;
}

void fake_memory_release(void) {
    for (block *b = memory.first, *next; b; b = next) {
        next = b->next;
        guards_drop(b);
        munmap(b->map, b->map_bytes);
        free(b);
    }
    for (int i = 0; i < RETIRED; i++) {
        if (memory.retired[i].map) munmap(memory.retired[i].map, memory.retired[i].bytes);
    }
    memset(&memory, 0, sizeof memory);
    struct sigaction now;
    if (sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == bad_address) signal(SIGSEGV, SIG_DFL);
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
    FAKE_TRY(fake_enter_unsafe(__func__));
    return block_create(out, bytes, true);
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned int flags) {
    FAKE_TRY(fake_enter_unsafe(__func__));
    return flags & ~(unsigned)cudaHostAllocMapped ? fake_fail(cudaErrorInvalidValue) : block_create(out, bytes, false);
}

cudaError_t cudaMallocHost(void **out, size_t bytes) {
    FAKE_TRY(fake_enter_unsafe(__func__));
    return block_create(out, bytes, false);
}

/* Freeing waits for the device, as the real one does. */
cudaError_t cudaFree(void *at) {
    cudaError_t code = fake_enter_unsafe(__func__);
    if (code == cudaSuccess) fake_queues_run();
    return block_free(at, true, code);
}

cudaError_t cudaFreeHost(void *at) {
    cudaError_t code = fake_enter_unsafe(__func__);
    if (code == cudaSuccess) fake_queues_run();
    return block_free(at, false, code);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    FAKE_TRY(fake_enter(__func__));
    *total_bytes = fake_memory_total();
    *free_bytes = *total_bytes - memory.used;
    return cudaSuccess;
}
