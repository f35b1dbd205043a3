/* Launches, shared memory, shuffles, barriers and exchange between blocks: the only way kernels reach them.
 *
 * nvcc sees thin wrappers of CUDA's own. A C++ compiler (preset `emu`) sees kernels/emulation: one fiber per CUDA
 * thread, barriers and shuffles as meeting points, dynamic shared memory of the exact size filled with NaN. Kernels
 * therefore
 * - never write <<< >>>, __shared__, __syncthreads or __shfl: they use what stands below;
 * - keep all shared memory dynamic (simt_shared), sized by the launcher;
 * - take block sizes that are multiples of 32 and never rely on lock step within a warp;
 * - have a tail for every loop: no size is a multiple of anything;
 * - put code the emulation cannot run (tensor cores, bulk copies) behind one function with a plain twin.
 * threadIdx, blockIdx, blockDim, gridDim (x, y, z), __global__, __device__, __restrict__, atomicAdd/CAS/Max/Exch on
 * int, unsigned and uint64, __ldg, sincospi, and math.h's functions are there in both. No float atomics: sums have a
 * fixed order. */
#ifndef MMREC_SIMT_H
#define MMREC_SIMT_H

#include "cuda.h"

/* How a launch is placed. */
enum simt_kind {
    SIMT_FREE,    /* blocks run in any order, perhaps one after another */
    SIMT_RESIDENT /* all blocks are on the device at once (cooperative launch), so they may wait for each other */
};

struct simt_shape {
    unsigned grid, block; /* blocks, threads per block (x axis only: kernels split indices themselves) */
    size_t shared_bytes;  /* dynamic shared memory per block */
    simt_kind kind;
    unsigned cluster; /* blocks per cluster; 0 or 1: none */
};

#if defined(__CUDACC__)
#include "simt_cuda.h"
#else
#include "emulation/simt_emulated.h"
#endif

/* The compiler deduces P from the kernel; arguments convert to the kernel's own types. */
template <typename T> struct simt_identity { typedef T type; };
template <typename... P>
static mmrec_status simt_start(void (*kernel)(P...), const char *name, simt_shape shape, mmrec_error *error,
                               typename simt_identity<P>::type... arguments) {
    return simt_launch<P...>(kernel, name, shape, error, arguments...);
}
#define SIMT_LAUNCH(kernel, shape, error, ...) simt_start(kernel, #kernel, shape, error, ##__VA_ARGS__)

/* Arrivals count up in barrier[0]; the last one resets it and steps the generation in barrier[1]. */
SIMT_DEVICE bool simt_grid_sync(unsigned *barrier, uint64_t spin_limit) {
    simt_block_sync();
    bool good = true;
    if (threadIdx.x == 0) {
        unsigned generation = simt_load_acquire(barrier + 1);
        __threadfence();
        if (atomicAdd(barrier, 1u) == gridDim.x - 1) {
            __threadfence(); /* what the others did before they arrived is seen from here on */
            atomicExch(barrier, 0u);
            simt_store_release(barrier + 1, generation + 1);
        } else {
            for (uint64_t round = 0; good && simt_load_acquire(barrier + 1) == generation;
                 good = ++round < spin_limit) {
                simt_spin();
            }
        }
    }
    return simt_block_all(good);
}

/* Both headers provide, with the same meaning:
 *
 *   SIMT_LAUNCH(kernel, shape, error, arguments...)   mmrec_status; queues the kernel on the device's stream.
 *                                                     `kernel` may be a template instance: (k_gelu_fwd<float>)
 *   SIMT_KERNEL(threads)                              before `void k_...(...)`: at most so many threads a block
 *   SIMT_KERNEL_ALONE(threads)                        the same where a block has a multiprocessor to itself: its
 *                                                     threads may take all registers, none are left for another
 *   int simt_clusters_at_once(kernel, shape)          how many clusters of this shape the device holds; 0: none
 *   SIMT_DEVICE                                       before a function called by kernels
 *
 *   T *simt_shared<T>()              the block's dynamic shared memory (one array; carve it by hand)
 *   void simt_block_sync()           barrier of all threads of the block
 *   bool simt_block_all(bool)        the same; whether all of them said true
 *   void simt_warp_sync()            barrier of the warp, which also orders its memory
 *   T simt_shuffle(T v, int lane), simt_shuffle_xor(v, mask), simt_shuffle_up(v, by), simt_shuffle_down(v, by)
 *                                    T is float, int or unsigned; whole warps only
 *   unsigned simt_ballot(bool)       whole warps only
 *   int simt_lane()                  threadIdx.x % 32;   int simt_warp() threadIdx.x / 32
 *
 *   float simt_product(a, b)         a b, rounded: never fused with a sum it enters
 *   simt_bf16                        16-bit storage type; float simt_float(T), T simt_cast<T>(float) round to nearest
 * even, both also for T = float
 *
 * Between blocks (SIMT_RESIDENT launches):
 *   uint32_t simt_load_acquire(const uint32_t *), void simt_store_release(uint32_t *, uint32_t)      device scope
 *   uint64_t simt_load_word(const uint64_t *), void simt_store_word(uint64_t *, uint64_t)
 *                                    one 8-byte access past the first cache, never torn: data that carries its own flag
 *   void simt_spin()                 inside every waiting loop (lets others run)
 *   bool simt_grid_sync(unsigned *barrier, uint64_t spin_limit)
 *                                    all threads of all blocks; false when it gave up: leave the kernel
 *
 * Inside a cluster:
 *   unsigned simt_cluster_rank(), simt_cluster_size()
 *   T *simt_cluster_map(T *mine, unsigned rank)   where the block of that rank has the same shared address
 *   void simt_cluster_sync()                      all threads of the cluster; orders shared memory across it
 *   simt_mbarrier (8 bytes of shared memory):
 *     void simt_mbarrier_init(simt_mbarrier *, unsigned arrivals)          one thread; then simt_cluster_sync
 *     void simt_mbarrier_expect(simt_mbarrier *, unsigned bytes)           one arrival that announces so many bytes
 *     bool simt_mbarrier_wait(simt_mbarrier *, unsigned parity, uint64_t spin_limit)   false: gave up
 *     void simt_store_async(uint32_t or uint64_t *peer, value, simt_mbarrier *peers)   to a mapped address; counts its
 *                                                 bytes at the peer's barrier when it has arrived */
#endif
