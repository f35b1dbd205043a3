/* Device memory: arenas, counted to the byte, and copies. */
#include <string.h>

#include "cuda_impl.h"

/* By arena; the last one counts the backend's own buffers. */
static mmrec_alloc_count counts[MMREC_ARENAS + 1];

mmrec_alloc_count cuda_allocated(int arena) {
    mmrec_alloc_count none = {0, 0, 0};
    return arena >= 0 && arena <= MMREC_ARENAS ? counts[arena] : none;
}

static mmrec_status allocate(mmrec_alloc_count *count, size_t bytes, void **out, const char *what, mmrec_error *error) {
    *out = NULL;
    MMREC_TRY(cuda_usable(error));
    CUDA_TRY(cudaMalloc(out, bytes), what, error);
    count->requests++;
    count->live_bytes += bytes;
    if (count->live_bytes > count->peak_bytes) count->peak_bytes = count->live_bytes;
    return MMREC_OK;
}

/* A lost device has taken its memory with it: freeing is only bookkeeping then. */
static void release(mmrec_alloc_count *count, void *memory, size_t bytes) {
    if (!memory) return;
    count->live_bytes -= bytes;
    if (cuda_lost()) return;
    mmrec_status dropped = mmrec_cuda_check(cudaFree(memory), "cudaFree", NULL);
    (void)dropped; /* what was lost is said by the next call that can fail */
}

mmrec_status cuda_alloc(mmrec_allocator *allocator, mmrec_arena arena, size_t bytes, void **out, mmrec_error *error) {
    (void)allocator; /* it counts the host's memory */
    MMREC_TRY(allocate(&counts[arena], bytes, out, "cudaMalloc", error));
    mmrec_status status =
        mmrec_cuda_check(cudaMemsetAsync(*out, 0, bytes, cuda_state.stream), "cudaMemsetAsync", error);
    if (status == MMREC_OK) return MMREC_OK;
    release(&counts[arena], *out, bytes);
    *out = NULL;
    return status;
}

/* No arena is alive, so no recorded graph is. */
static bool all_free(void) {
    for (int arena = 0; arena < MMREC_ARENAS; arena++) {
        if (counts[arena].live_bytes > 0) return false;
    }
    return true;
}

void cuda_free(mmrec_allocator *allocator, mmrec_arena arena, void *memory, size_t bytes) {
    (void)allocator;
    cuda_rnn_forget(memory, bytes);
    release(&counts[arena], memory, bytes);
    if (all_free()) cuda_attention_free();
}

mmrec_status cuda_alloc_own(size_t bytes, void **out, const char *what, mmrec_error *error) {
    return allocate(&counts[MMREC_ARENAS], bytes, out, what, error);
}

void cuda_free_own(void *memory, size_t bytes) { release(&counts[MMREC_ARENAS], memory, bytes); }

mmrec_status cuda_copy_in(void *device, const void *host, size_t bytes, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    CUDA_TRY(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, cuda_state.stream), "copying to the device",
             error);
    return mmrec_cuda_check(cudaStreamSynchronize(cuda_state.stream), "copying to the device", error);
}

mmrec_status cuda_copy_out(void *host, const void *device, size_t bytes, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    CUDA_TRY(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, cuda_state.stream), "copying from the device",
             error);
    return mmrec_cuda_check(cudaStreamSynchronize(cuda_state.stream), "copying from the device", error);
}

mmrec_status cuda_memory(size_t *free_bytes, size_t *total_bytes, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    return mmrec_cuda_check(cudaMemGetInfo(free_bytes, total_bytes), "cudaMemGetInfo", error);
}
