/* simt.h for nvcc. */
#ifndef MMREC_SIMT_CUDA_H
#define MMREC_SIMT_CUDA_H

#include <cuda_bf16.h>

#define SIMT_KERNEL(threads) __global__ void __launch_bounds__(threads)
#define SIMT_KERNEL_ALONE(threads) __global__ void __launch_bounds__(threads, 1)
#define SIMT_DEVICE __device__ __forceinline__

typedef __nv_bfloat16 simt_bf16;

SIMT_DEVICE float simt_float(float v) { return v; }
SIMT_DEVICE float simt_float(simt_bf16 v) { return __bfloat162float(v); }
template <typename T> SIMT_DEVICE T simt_cast(float v);
template <> SIMT_DEVICE float simt_cast<float>(float v) { return v; }
template <> SIMT_DEVICE simt_bf16 simt_cast<simt_bf16>(float v) { return __float2bfloat16_rn(v); }

extern __shared__ __align__(128) unsigned char simt_shared_memory[];
template <typename T> SIMT_DEVICE T *simt_shared() { return reinterpret_cast<T *>(simt_shared_memory); }

SIMT_DEVICE int simt_lane() { return static_cast<int>(threadIdx.x & 31u); }
SIMT_DEVICE int simt_warp() { return static_cast<int>(threadIdx.x >> 5); }
SIMT_DEVICE void simt_block_sync() { __syncthreads(); }
SIMT_DEVICE bool simt_block_all(bool yes) { return __syncthreads_and(yes) != 0; }
SIMT_DEVICE void simt_warp_sync() { __syncwarp(); }
template <typename T> SIMT_DEVICE T simt_shuffle(T v, int lane) { return __shfl_sync(~0u, v, lane); }
template <typename T> SIMT_DEVICE T simt_shuffle_xor(T v, int mask) { return __shfl_xor_sync(~0u, v, mask); }
template <typename T> SIMT_DEVICE T simt_shuffle_up(T v, unsigned by) { return __shfl_up_sync(~0u, v, by); }
template <typename T> SIMT_DEVICE T simt_shuffle_down(T v, unsigned by) { return __shfl_down_sync(~0u, v, by); }
SIMT_DEVICE unsigned simt_ballot(bool yes) { return __ballot_sync(~0u, yes); }

SIMT_DEVICE float simt_product(float a, float b) { return __fmul_rn(a, b); }

SIMT_DEVICE uint32_t simt_load_acquire(const uint32_t *at) {
    uint32_t v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(at) : "memory");
    return v;
}
SIMT_DEVICE void simt_store_release(uint32_t *at, uint32_t v) {
    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(at), "r"(v) : "memory");
}
SIMT_DEVICE uint64_t simt_load_word(const uint64_t *at) {
    uint64_t v;
    asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(v) : "l"(at) : "memory");
    return v;
}
SIMT_DEVICE void simt_store_word(uint64_t *at, uint64_t v) {
    asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(at), "l"(v) : "memory");
}
SIMT_DEVICE void simt_spin() {}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
SIMT_DEVICE unsigned simt_cluster_rank() {
    unsigned rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
SIMT_DEVICE unsigned simt_cluster_size() {
    unsigned size;
    asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    return size;
}
template <typename T> SIMT_DEVICE T *simt_cluster_map(T *mine, unsigned rank) {
    uint64_t mapped;
    asm volatile("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(reinterpret_cast<uint64_t>(mine)), "r"(rank));
    return reinterpret_cast<T *>(mapped);
}
/* Not .aligned: it may follow code in which the threads of a warp have parted. */
SIMT_DEVICE void simt_cluster_sync() {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

typedef uint64_t simt_mbarrier;
SIMT_DEVICE uint32_t simt_shared_address(const void *at) { return static_cast<uint32_t>(__cvta_generic_to_shared(at)); }
/* Of an address made by simt_cluster_map: the shared::cluster window's 32-bit form. */
SIMT_DEVICE uint32_t simt_peer_address(const void *at) {
    uint64_t window;
    asm volatile("cvta.to.shared::cluster.u64 %0, %1;" : "=l"(window) : "l"(reinterpret_cast<uint64_t>(at)));
    return static_cast<uint32_t>(window);
}
SIMT_DEVICE void simt_mbarrier_init(simt_mbarrier *bar, unsigned arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(simt_shared_address(bar)), "r"(arrivals) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
SIMT_DEVICE void simt_mbarrier_expect(simt_mbarrier *bar, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(simt_shared_address(bar)), "r"(bytes)
                 : "memory");
}
/* A try sleeps for a microsecond at most: how long is the system's choice otherwise, and a wait would have no bound. */
SIMT_DEVICE bool simt_mbarrier_wait(simt_mbarrier *bar, unsigned parity, uint64_t spin_limit) {
    const uint32_t most_ns = 1000;
    uint32_t done = 0;
    for (uint64_t round = 0; !done && round < spin_limit; round++) {
        asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2, %3;\n"
                     "selp.u32 %0, 1, 0, p;\n}"
                     : "=r"(done)
                     : "r"(simt_shared_address(bar)), "r"(parity), "r"(most_ns)
                     : "memory");
    }
    return done != 0;
}
SIMT_DEVICE void simt_store_async(uint32_t *peer, uint32_t value, simt_mbarrier *peers) {
    asm volatile(
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%0], %1, [%2];" ::"r"(simt_peer_address(peer)),
        "r"(value), "r"(simt_peer_address(peers))
        : "memory");
}
SIMT_DEVICE void simt_store_async(uint64_t *peer, uint64_t value, simt_mbarrier *peers) {
    asm volatile(
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.u64 [%0], %1, [%2];" ::"r"(simt_peer_address(peer)),
        "l"(value), "r"(simt_peer_address(peers))
        : "memory");
}
#endif

/* What a shape asks of a launch. */
struct simt_config {
    cudaLaunchAttribute attribute[2] = {};
    cudaLaunchConfig_t config = {};

    explicit simt_config(const simt_shape &shape) {
        config.gridDim = dim3(shape.grid);
        config.blockDim = dim3(shape.block);
        config.dynamicSmemBytes = shape.shared_bytes;
        config.stream = mmrec_cuda_now()->stream;
        config.attrs = attribute;
        if (shape.kind == SIMT_RESIDENT) {
            attribute[config.numAttrs].id = cudaLaunchAttributeCooperative;
            attribute[config.numAttrs++].val.cooperative = 1;
        }
        if (shape.cluster > 1) {
            attribute[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
            attribute[config.numAttrs].val.clusterDim.x = shape.cluster;
            attribute[config.numAttrs].val.clusterDim.y = 1;
            attribute[config.numAttrs++].val.clusterDim.z = 1;
        }
    }
    simt_config(const simt_config &) = delete;
};

/* What the function itself must be told first. Always the most shared memory that there is: a lower number would hold
 * for launches already recorded into a graph as well, and would not let more blocks onto a multiprocessor. */
static inline cudaError_t simt_permit(const void *function, const simt_shape &shape) {
    cudaError_t code = cudaSuccess;
    if (shape.shared_bytes > 48 * 1024) {
        code = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    mmrec_cuda_now()->max_shared_bytes);
    }
    if (code != cudaSuccess || shape.cluster <= 8) return code;
    return cudaFuncSetAttribute(function, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
}

template <typename... P> static int simt_clusters_at_once(void (*kernel)(P...), simt_shape shape) {
    const void *function = reinterpret_cast<const void *>(kernel);
    simt_config ask(shape);
    int clusters = 0;
    cudaError_t code = simt_permit(function, shape);
    if (code == cudaSuccess) code = cudaOccupancyMaxActiveClusters(&clusters, function, &ask.config);
    if (code == cudaSuccess) return clusters;
    cudaGetLastError(); /* an answer, not an error to be found later */
    return 0;
}

/* cudaLaunchKernelExC with what the shape asks for; parameters are converted to the kernel's own types first. */
template <typename... P>
static mmrec_status simt_launch(void (*kernel)(P...), const char *name, simt_shape shape, mmrec_error *error,
                                P... arguments) {
    void *list[sizeof...(P) ? sizeof...(P) : 1] = {static_cast<void *>(&arguments)...};
    const void *function = reinterpret_cast<const void *>(kernel);
    simt_config launch(shape);
    cudaError_t code = simt_permit(function, shape);
    if (code == cudaSuccess) code = cudaLaunchKernelExC(&launch.config, function, list);
    return mmrec_cuda_launched(code, name, error);
}

#endif
