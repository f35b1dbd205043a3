/* Counting of runtime calls, injected failures, the lost device and the report at exit.
 *
 * MMREC_FAKE_CUDA holds, with commas between:
 * - fail:N[:CODE][:sticky]: the N-th call fails with CODE (a number; else out of memory for what allocates or creates,
 * and cudaErrorOperatingSystem for the rest). sticky: the device is lost (with CODE, else an illegal address), every
 *   later call fails too.
 * - count:FILE: the number of calls is written at exit, in all and of each function.
 * - leaks: what was not given back is told at exit, and the exit code is 99. Not after the device was lost, which takes
 *   everything with it.
 * - open: device memory is open to the host, so that a debugger can look at it.
 * - no-bias: cuBLASLt finds no algorithm with a bias as its epilogue (blaslt.c).
 *
 * MMREC_FAKE_CUDA_MEMORY: bytes of device memory, with K, M or G after it (memory.c). */
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CALLS = 128, LEAK_EXIT = 99 };

typedef struct call_count {
    const char *name;
    uint64_t count;
} call_count;

static struct {
    bool read, sticky, leaks;
    uint64_t fail_at, calls;
    cudaError_t code; /* cudaSuccess: by the kind of call */
    char count_file[512];
    call_count count[MAX_CALLS];
    cudaError_t last, lost;
    fake_handle *handles;
} state;

static void refuse_option(const char *text) {
    fprintf(stderr, "MMREC_FAKE_CUDA: cannot read '%s' (fail:N[:CODE][:sticky], count:FILE, leaks, open, no-bias)\n",
            text);
    _exit(2);
}

static void read_failure(char *text) {
    char *end;
    state.fail_at = strtoull(text, &end, 10);
    if (state.fail_at == 0) refuse_option(text);
    if (*end == ':' && end[1] >= '0' && end[1] <= '9') state.code = (cudaError_t)strtol(end + 1, &end, 10);
    if (strcmp(end, ":sticky") == 0)
        state.sticky = true;
    else if (*end)
        refuse_option(text);
}

static void read_environment(void) {
    const char *value = getenv("MMREC_FAKE_CUDA");
    state.read = true;
    char text[1024];
    snprintf(text, sizeof text, "%s", value ? value : "");
    for (char *rest = text, *part; (part = strtok_r(rest, ",", &rest));) {
        if (strncmp(part, "fail:", 5) == 0)
            read_failure(part + 5);
        else if (strncmp(part, "count:", 6) == 0)
            snprintf(state.count_file, sizeof state.count_file, "%s", part + 6);
        else if (strcmp(part, "leaks") == 0)
            state.leaks = true;
        else if (strcmp(part, "open") != 0 && strcmp(part, "no-bias") != 0)
            refuse_option(part);
    }
}

static void count_call(const char *name) {
    state.calls++;
    for (int i = 0; i < MAX_CALLS; i++) {
        if (!state.count[i].name) state.count[i].name = name;
        if (strcmp(state.count[i].name, name) != 0) continue;
        state.count[i].count++;
        return;
    }
}

static cudaError_t injected_code(const char *call) {
    if (state.code != cudaSuccess) return state.code;
    if (state.sticky) return cudaErrorIllegalAddress;
    return strstr(call, "lloc") || strstr(call, "Create") ? cudaErrorMemoryAllocation : cudaErrorOperatingSystem;
}

cudaError_t fake_enter(const char *call) {
    if (!state.read) read_environment();
    count_call(call);
    if (state.lost == cudaSuccess && state.calls == state.fail_at) {
        cudaError_t code = injected_code(call);
        if (state.sticky) fake_lose(code);
        return fake_fail(code);
    }
    return fake_waited();
}

cudaError_t fake_enter_unsafe(const char *call) {
    FAKE_TRY(fake_enter(call));
    cudaStream_t stream = fake_capturing();
    if (!stream || stream->mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
    stream->invalid = true;
    return fake_fail(cudaErrorStreamCaptureUnsupported);
}

cudaError_t fake_fail(cudaError_t code) { return state.last = code; }

void fake_lose(cudaError_t code) {
    if (state.lost == cudaSuccess) state.lost = code;
}

cudaError_t fake_lost(void) { return state.lost; }

cudaError_t fake_waited(void) { return state.lost == cudaSuccess ? cudaSuccess : fake_fail(state.lost); }

cudaError_t cudaPeekAtLastError(void) { return state.lost == cudaSuccess ? state.last : state.lost; }

cudaError_t cudaGetLastError(void) {
    cudaError_t code = cudaPeekAtLastError();
    state.last = cudaSuccess;
    return code;
}

const char *cudaGetErrorName(cudaError_t error) {
#define NAME(name, value, words)                                                                                       \
    case name:                                                                                                         \
        return #name;
    switch (error) { MMREC_FAKE_CUDA_ERRORS(NAME) }
#undef NAME
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error) {
#define WORDS(name, value, words)                                                                                      \
    case name:                                                                                                         \
        return words;
    switch (error) { MMREC_FAKE_CUDA_ERRORS(WORDS) }
#undef WORDS
    return "unrecognized error code";
}

void *fake_handle_create(fake_kind kind, size_t bytes) {
    fake_handle *handle = calloc(1, bytes);
    if (!handle) return NULL;
    handle->kind = kind;
    handle->alive = true;
    handle->next = state.handles;
    state.handles = handle;
    return handle;
}

bool fake_handle_valid(const void *handle, fake_kind kind) {
    const fake_handle *h = handle;
    return h && h->alive && h->kind == kind;
}

void fake_handle_end(void *handle) { ((fake_handle *)handle)->alive = false; }

int fake_handles_alive(fake_kind kind) {
    int count = 0;
    for (const fake_handle *h = state.handles; h; h = h->next) count += h->alive && h->kind == kind;
    return count;
}

void fake_handles_release(void) {
    for (fake_handle *h = state.handles, *next; h; h = next) {
        next = h->next;
        fake_graph_release(h);
        free(h);
    }
    state.handles = NULL;
}

static void write_counts(void) {
    FILE *file = fopen(state.count_file, "w");
    if (!file) return;
    fprintf(file, "total %llu\n", (unsigned long long)state.calls);
    for (int i = 0; i < MAX_CALLS && state.count[i].name; i++)
        fprintf(file, "%s %llu\n", state.count[i].name, (unsigned long long)state.count[i].count);
    fclose(file);
}

/* True when something was not given back. */
static bool report_leaks(void) {
    static const char *const name[FAKE_KINDS] = {"streams",
                                                 "events",
                                                 "graphs",
                                                 "executable graphs",
                                                 "cuBLASLt handles",
                                                 "cuBLASLt layouts",
                                                 "cuBLASLt descriptors",
                                                 "cuBLASLt preferences"};
    size_t bytes;
    int total = fake_memory_alive(&bytes);
    if (total) fprintf(stderr, "fake CUDA: %d allocations (%zu bytes) were not given back\n", total, bytes);
    for (int kind = 0; kind < FAKE_KINDS; kind++) {
        int count = fake_handles_alive((fake_kind)kind);
        if (count) fprintf(stderr, "fake CUDA: %d %s were not given back\n", count, name[kind]);
        total += count;
    }
    return total > 0;
}

__attribute__((destructor)) static void at_exit(void) {
    if (state.count_file[0]) write_counts();
    bool leaked = state.leaks && state.lost == cudaSuccess && report_leaks();
    fake_queues_drop();
    fake_handles_release();
    fake_memory_release();
    if (leaked) {
        fflush(NULL);
        _exit(LEAK_EXIT);
    }
}
