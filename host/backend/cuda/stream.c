/* The one stream: waiting for it, faults that kernels left, events, holding it, and the cache. */
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <cuda_profiler_api.h>

#include "cuda_impl.h"

/* ---- faults ---- */

static const char *const op_names[MMREC_OPS] = {
#define MMREC_OP(name) [MMREC_OP_##name] = #name,
#include "mmrec/ops.def"
#undef MMREC_OP
};

static mmrec_status fault_error(const mmrec_cuda_fault *fault, mmrec_error *error) {
    /* The optimizer is no op: what waits and has no number is its kernel. */
    const char *op = fault->op > MMREC_OP_NONE && fault->op < MMREC_OPS ? op_names[fault->op] : "adamw";
    if (fault->code == MMREC_CUDA_FAULT_ID) {
        MMREC_FAIL(error, MMREC_CONFIG, "%s: %s %lld of row %lld is not in [0, %lld)", op,
                   fault->op == MMREC_OP_cross_entropy ? "target" : "id", (long long)fault->value, (long long)fault->at,
                   (long long)fault->limit);
    }
    MMREC_FAIL(error, MMREC_INTERNAL,
               "%s: a block waited %lld rounds at step %lld for the others and gave up; try --recurrence graph", op,
               (long long)fault->value, (long long)fault->at);
}

/* Waits; a fault that a kernel reported since the last time becomes the error, and is cleared for the next run; so are
 * the arrivals at a grid barrier that blocks have left. */
mmrec_status cuda_synchronize(mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    mmrec_cuda_fault fault;
    CUDA_TRY(cudaMemcpyAsync(&fault, cuda_state.fault, sizeof fault, cudaMemcpyDeviceToHost, cuda_state.stream),
             "reading the fault word", error);
    CUDA_TRY(cudaStreamSynchronize(cuda_state.stream), "running kernels", error);
    if (fault.code == MMREC_CUDA_FAULT_NONE) return MMREC_OK;
    CUDA_TRY(cudaMemsetAsync(cuda_state.fault, 0, sizeof fault, cuda_state.stream), "clearing the fault word", error);
    CUDA_TRY(cudaMemsetAsync(cuda_state.barrier, 0, sizeof *cuda_state.barrier, cuda_state.stream),
             "clearing the fault word", error);
    return fault_error(&fault, error);
}

/* ---- events ---- */

mmrec_status cuda_event_create(void **event, mmrec_error *error) {
    *event = NULL;
    MMREC_TRY(cuda_usable(error));
    cudaEvent_t made;
    CUDA_TRY(cudaEventCreate(&made), "cudaEventCreate", error);
    *event = made;
    return MMREC_OK;
}

void cuda_event_destroy(void *event) {
    if (event && !cuda_lost()) cudaEventDestroy(event);
}

mmrec_status cuda_event_record(void *event, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    return mmrec_cuda_check(cudaEventRecord(event, cuda_state.stream), "cudaEventRecord", error);
}

mmrec_status cuda_event_elapsed_ns(void *from, void *to, double *ns, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    float ms = 0;
    CUDA_TRY(cudaEventSynchronize(to), "cudaEventSynchronize", error);
    CUDA_TRY(cudaEventElapsedTime(&ms, from, to), "cudaEventElapsedTime", error);
    *ns = (double)ms * 1e6;
    return MMREC_OK;
}

/* ---- holding the stream ---- */

enum { HOLD_LIMIT_NS = 1000000000 };
static atomic_uint_fast64_t held, released; /* tickets: a hold waits until its own was released */

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Runs on a thread of the driver, in the stream's order. A limit, because a program that stops between hold and release
 * would otherwise never end. */
static void wait_for_release(void *ticket) {
    int64_t end = now_ns() + HOLD_LIMIT_NS;
    while (atomic_load(&released) < (uint_fast64_t)(uintptr_t)ticket && now_ns() < end) sched_yield();
}

mmrec_status cuda_hold(mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    uintptr_t ticket = (uintptr_t)atomic_fetch_add(&held, 1) + 1;
    return mmrec_cuda_check(cudaLaunchHostFunc(cuda_state.stream, wait_for_release, (void *)ticket),
                            "cudaLaunchHostFunc", error);
}

void cuda_release(void) { atomic_store(&released, atomic_load(&held)); }

/* ---- cache, profiler, seed ---- */

static void *flush_memory;
static size_t flush_bytes;

/* Writing twice the cache's size leaves nothing of what was there. The buffer is made at the first use: a run that
 * never asks for a cold cache does without it. */
mmrec_status cuda_flush_cache(mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    if (!flush_memory) {
        size_t bytes = cuda_state.l2_bytes ? 2 * cuda_state.l2_bytes : (size_t)1 << 20;
        MMREC_TRY(cuda_alloc_own(bytes, &flush_memory, "cudaMalloc of the buffer that clears the cache", error));
        flush_bytes = bytes;
    }
    return mmrec_cuda_check(cudaMemsetAsync(flush_memory, 0x5a, flush_bytes, cuda_state.stream), "clearing the cache",
                            error);
}

void cuda_flush_free(void) {
    cuda_free_own(flush_memory, flush_bytes);
    flush_memory = NULL;
    flush_bytes = 0;
}

void cuda_profiler(bool on) {
    if (cuda_lost()) return;
    if (on)
        cudaProfilerStart();
    else
        cudaProfilerStop();
}
