#include "measure/cupti.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is used of cupti.h, which is only there with the toolkit. The fields of a kernel's record up to its name have
 * had these places in every version of the record since CUDA 9 (CUpti_ActivityKernel4 to 10). */
enum {
    ACTIVITY_CONCURRENT_KERNEL = 10,
    FLUSH_FORCED = 1,
    NO_MORE_RECORDS = 12,
    OTHER_PROFILER = 39,
    NO_PRIVILEGE = 35
};

typedef struct kernel_record {
    uint32_t kind;
    uint8_t settings[12];
    uint64_t start_ns, end_ns, completed_ns;
    uint32_t device, context, stream, grid[3], block[3];
    uint32_t memory[4], correlation;
    int64_t grid_id;
    const char *name;
} kernel_record;
_Static_assert(offsetof(kernel_record, start_ns) == 16 && offsetof(kernel_record, correlation) == 92 &&
                   offsetof(kernel_record, name) == 104,
               "as CUPTI lays it out");

typedef void (*request_function)(uint8_t **buffer, size_t *size, size_t *most_records);
typedef void (*complete_function)(void *context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid);

/* 8 buffers of 256 KiB hold some 9000 records on their way; a step of a large model has hundreds. */
enum { BUFFERS = 8, BUFFER_BYTES = 256 << 10, KERNELS = 256 };

static struct recorder {
    void *library;
    int (*enable)(int kind);
    int (*disable)(int kind);
    int (*flush)(uint32_t flag);
    int (*next)(uint8_t *buffer, size_t valid, kernel_record **record);
    int (*dropped)(void *context, uint32_t stream, size_t *dropped);
    int (*register_callbacks)(request_function request, complete_function complete);
    unsigned char *memory;
    atomic_bool taken[BUFFERS];
    atomic_flag lock; /* of the figures below: records arrive on a thread of CUPTI's own */
    mmrec_kernel_time kernel[KERNELS];
    int count;
    double ns;
    uint64_t lost;
} recorder = {.lock = ATOMIC_FLAG_INIT};

static void lock(void) {
    while (atomic_flag_test_and_set_explicit(&recorder.lock, memory_order_acquire)) {
    }
}
static void unlock(void) { atomic_flag_clear_explicit(&recorder.lock, memory_order_release); }

/* ---- called by CUPTI ---- */

/* No buffer: CUPTI drops the record and counts it. */
static void request(uint8_t **buffer, size_t *size, size_t *most_records) {
    *buffer = NULL;
    *size = 0;
    *most_records = 0;
    for (size_t i = 0; i < BUFFERS && recorder.memory; i++) {
        if (atomic_exchange(&recorder.taken[i], true)) continue;
        *buffer = recorder.memory + i * BUFFER_BYTES;
        *size = BUFFER_BYTES;
        return;
    }
}

static void count_kernel(const kernel_record *record) {
    double ns = (double)(record->end_ns - record->start_ns);
    char name[MMREC_KERNEL_NAME];
    kernel_name(record->name ? record->name : "?", name);
    recorder.ns += ns;
    int at = 0;
    while (at < recorder.count && strcmp(recorder.kernel[at].name, name) != 0) at++;
    if (at == KERNELS) return; /* its time is in the sum */
    if (at == recorder.count) {
        recorder.kernel[recorder.count++] = (mmrec_kernel_time){.launches = 0};
        memcpy(recorder.kernel[at].name, name, sizeof name);
    }
    recorder.kernel[at].launches++;
    recorder.kernel[at].ns += ns;
}

static void complete(void *context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid) {
    (void)size;
    kernel_record *record = NULL;
    size_t dropped = 0;
    lock();
    while (valid > 0 && recorder.next(buffer, valid, &record) == 0) {
        /* A start of 0: the time could not be taken. */
        if (record->kind != ACTIVITY_CONCURRENT_KERNEL) continue;
        if (record->start_ns == 0 || record->end_ns < record->start_ns)
            recorder.lost++;
        else
            count_kernel(record);
    }
    if (recorder.dropped(context, stream, &dropped) == 0) recorder.lost += dropped;
    unlock();
    size_t index = (size_t)(buffer - recorder.memory) / BUFFER_BYTES;
    if (index < BUFFERS) atomic_store(&recorder.taken[index], false);
}

/* ---- opening ---- */

static bool find(const char *name, size_t size, void *function) {
    void *symbol = dlsym(recorder.library, name);
    memcpy(function, &symbol, size);
    return symbol != NULL;
}
#define FIND(field, name) find(name, sizeof recorder.field, &recorder.field)

static void load(char why[CUPTI_WHY]) {
    static const char *const files[] = {"libcupti.so.13", "libcupti.so.12", "libcupti.so"};
    const char *chosen = getenv("MMREC_CUPTI");
    if (chosen && *chosen) {
        recorder.library = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
    } else {
        for (size_t i = 0; !recorder.library && i < sizeof files / sizeof *files; i++)
            recorder.library = dlopen(files[i], RTLD_NOW | RTLD_LOCAL);
    }
    if (!recorder.library)
        snprintf(why, CUPTI_WHY, "CUPTI is not there (%.100s)", chosen && *chosen ? chosen : files[0]);
}

static void explain(int code, char why[CUPTI_WHY]) {
    if (code == OTHER_PROFILER)
        snprintf(why, CUPTI_WHY, "another profiler holds the device");
    else if (code == NO_PRIVILEGE)
        snprintf(why, CUPTI_WHY, "this user may not profile (NVreg_RestrictProfilingToAdminUsers)");
    else
        snprintf(why, CUPTI_WHY, "CUPTI refuses to record kernels (its error %d)", code);
}

static bool start(char why[CUPTI_WHY]) {
    if (!FIND(enable, "cuptiActivityEnable") || !FIND(disable, "cuptiActivityDisable") ||
        !FIND(flush, "cuptiActivityFlushAll") || !FIND(next, "cuptiActivityGetNextRecord") ||
        !FIND(dropped, "cuptiActivityGetNumDroppedRecords") ||
        !FIND(register_callbacks, "cuptiActivityRegisterCallbacks")) {
        snprintf(why, CUPTI_WHY, "this CUPTI lacks a function of the activity records");
        return false;
    }
    int code = recorder.register_callbacks(request, complete);
    if (code == 0) code = recorder.enable(ACTIVITY_CONCURRENT_KERNEL);
    if (code != 0) explain(code, why);
    return code == 0;
}

static void release(mmrec_allocator *allocator) {
    mmrec_alloc(allocator, recorder.memory, (size_t)BUFFERS * BUFFER_BYTES, 0, MMREC_ALLOC_MEASURE);
    recorder.memory = NULL;
    recorder.library = NULL; /* stays loaded: CUPTI does not bear being unloaded */
}

bool cupti_open(mmrec_allocator *allocator, char why[CUPTI_WHY]) {
    why[0] = '\0';
    if (recorder.memory) {
        snprintf(why, CUPTI_WHY, "kernels are being recorded already");
        return false;
    }
    load(why);
    if (!recorder.library) return false;
    recorder.memory = mmrec_alloc(allocator, NULL, 0, (size_t)BUFFERS * BUFFER_BYTES, MMREC_ALLOC_MEASURE);
    if (!recorder.memory) snprintf(why, CUPTI_WHY, "there is no memory for CUPTI's records");
    for (int i = 0; i < BUFFERS; i++) atomic_store(&recorder.taken[i], false);
    cupti_reset();
    if (recorder.memory && start(why)) return true;
    release(allocator);
    return false;
}

/* ---- using ---- */

void cupti_reset(void) {
    lock();
    recorder.count = 0;
    recorder.ns = 0;
    recorder.lost = 0;
    unlock();
}

mmrec_status cupti_collect(double *ns, uint64_t *lost, mmrec_error *error) {
    int code = recorder.flush(FLUSH_FORCED);
    if (code != 0) MMREC_FAIL(error, MMREC_INTERNAL, "CUPTI does not hand over its records (its error %d)", code);
    lock();
    *ns = recorder.ns;
    *lost = recorder.lost;
    unlock();
    return MMREC_OK;
}

int cupti_kernels(mmrec_kernel_time *out, int room) {
    int count = 0;
    lock();
    for (int i = 0; i < recorder.count; i++) {
        int at = count < room ? count : room;
        while (at > 0 && out[at - 1].ns < recorder.kernel[i].ns) at--;
        if (at == room) continue;
        count += count < room;
        memmove(&out[at + 1], &out[at], (size_t)(count - at - 1) * sizeof *out);
        out[at] = recorder.kernel[i];
    }
    unlock();
    return count;
}

void cupti_close(mmrec_allocator *allocator) {
    if (!recorder.memory) return;
    recorder.disable(ACTIVITY_CONCURRENT_KERNEL);
    recorder.flush(FLUSH_FORCED); /* every buffer comes back */
    release(allocator);
}
