/* simt.h for a C++ compiler: what kernels see of the emulation. Compiled with the kernels, so that sanitizers watch
 * them; the scheduler behind it (scheduler.cpp, fiber.cpp, cluster.cpp) is not watched by TSan.
 *
 * Every meeting takes the place it was called from, so that threads which wait at different lines are told apart. */
#ifndef MMREC_SIMT_EMULATED_H
#define MMREC_SIMT_EMULATED_H

#include <math.h>
#include <string.h>

#include <type_traits>

#include "fake/fake.h"

#define __global__
#define __host__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))

#define SIMT_KERNEL(threads) void
#define SIMT_KERNEL_ALONE(threads) static void
#define SIMT_DEVICE inline __attribute__((always_inline))

/* Of the thread that runs: set at every switch. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace simt_emulation {

/* A launch, followed in memory by the kernel and its arguments. */
struct call {
    simt_shape shape;
    const char *name;
    void (*enter)(const void *body); /* one thread of the kernel */
    const void *(*body)(const void *call);
};

void run(void *call); /* as mmrec_fake_launch takes it */

unsigned char *shared_memory();
void block_sync(const char *file, int line);
bool block_all(bool yes, const char *file, int line);
void warp_sync(const char *file, int line);
unsigned ballot(bool yes, const char *file, int line);
/* The word of lane `source`; a lane past the warp's ends means one's own. */
uint32_t shuffle(uint32_t word, int source, const char *file, int line);

/* Before every access that other blocks may see: lets others run (schedule `random`), keeps order as fences ask. */
void exchange(const void *at, bool writes);
void fence();
void spin(const char *file, int line);

unsigned cluster_rank();
unsigned cluster_size();
void *cluster_map(void *mine, unsigned rank);
void cluster_sync(const char *file, int line);
void barrier_init(uint64_t *bar, unsigned arrivals);
void barrier_expect(uint64_t *bar, unsigned bytes);
bool barrier_wait(uint64_t *bar, unsigned parity, uint64_t spin_limit, const char *file, int line);
void store_async(void *peer, uint64_t value, unsigned bytes, uint64_t *peers);

template <typename T> SIMT_DEVICE uint32_t bits(T v) {
    static_assert(std::is_same<T, float>::value || std::is_same<T, int>::value || std::is_same<T, unsigned>::value,
                  "shuffles take float, int and unsigned");
    uint32_t word;
    memcpy(&word, &v, sizeof word);
    return word;
}
template <typename T> SIMT_DEVICE T from_bits(uint32_t word) {
    T v;
    memcpy(&v, &word, sizeof v);
    return v;
}

} // namespace simt_emulation

/* The place of the call, as last arguments. */
#define SIMT_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

template <typename T> SIMT_DEVICE T *simt_shared() { return reinterpret_cast<T *>(simt_emulation::shared_memory()); }
SIMT_DEVICE int simt_lane() { return static_cast<int>(threadIdx.x & 31u); }
SIMT_DEVICE int simt_warp() { return static_cast<int>(threadIdx.x >> 5); }
SIMT_DEVICE void simt_block_sync(SIMT_HERE) { simt_emulation::block_sync(file, line); }
SIMT_DEVICE bool simt_block_all(bool yes, SIMT_HERE) { return simt_emulation::block_all(yes, file, line); }
SIMT_DEVICE void simt_warp_sync(SIMT_HERE) { simt_emulation::warp_sync(file, line); }
SIMT_DEVICE unsigned simt_ballot(bool yes, SIMT_HERE) { return simt_emulation::ballot(yes, file, line); }

template <typename T> SIMT_DEVICE T simt_shuffle(T v, int lane, SIMT_HERE) {
    return simt_emulation::from_bits<T>(simt_emulation::shuffle(simt_emulation::bits(v), lane & 31, file, line));
}
template <typename T> SIMT_DEVICE T simt_shuffle_xor(T v, int mask, SIMT_HERE) {
    return simt_emulation::from_bits<T>(
        simt_emulation::shuffle(simt_emulation::bits(v), simt_lane() ^ mask, file, line));
}
template <typename T> SIMT_DEVICE T simt_shuffle_up(T v, unsigned by, SIMT_HERE) {
    return simt_emulation::from_bits<T>(
        simt_emulation::shuffle(simt_emulation::bits(v), simt_lane() - static_cast<int>(by), file, line));
}
template <typename T> SIMT_DEVICE T simt_shuffle_down(T v, unsigned by, SIMT_HERE) {
    return simt_emulation::from_bits<T>(
        simt_emulation::shuffle(simt_emulation::bits(v), simt_lane() + static_cast<int>(by), file, line));
}

/* The stored 16 bits; a trivial type, as CUDA's is. */
struct simt_bf16 {
    uint16_t bits;
};
SIMT_DEVICE float simt_float(float v) { return v; }
SIMT_DEVICE float simt_float(simt_bf16 v) {
    return simt_emulation::from_bits<float>(static_cast<uint32_t>(v.bits) << 16);
}
template <typename T> SIMT_DEVICE T simt_cast(float v);
template <> SIMT_DEVICE float simt_cast<float>(float v) { return v; }
template <> SIMT_DEVICE simt_bf16 simt_cast<simt_bf16>(float v) {
    if (v != v) return {0x7FFF}; /* as CUDA: one NaN for all */
    uint32_t word = simt_emulation::bits(v);
    return {static_cast<uint16_t>((word + 0x7FFFu + ((word >> 16) & 1u)) >> 16)};
}

/* Vectors and the few functions of CUDA's own that kernels use. */
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
SIMT_DEVICE float2 make_float2(float x, float y) { return {x, y}; }
SIMT_DEVICE float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
SIMT_DEVICE int2 make_int2(int x, int y) { return {x, y}; }
SIMT_DEVICE int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
SIMT_DEVICE uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
SIMT_DEVICE uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

template <typename T> SIMT_DEVICE T __ldg(const T *at) { return *at; }
SIMT_DEVICE float simt_product(float a, float b) { return a * b; }
SIMT_DEVICE float rsqrtf(float v) { return 1.0f / sqrtf(v); }
SIMT_DEVICE void sincospi(double half_turns, double *sine, double *cosine) {
    double angle = 3.141592653589793 * half_turns;
    *sine = sin(angle);
    *cosine = cos(angle);
}
SIMT_DEVICE unsigned __float_as_uint(float v) { return simt_emulation::bits(v); }
SIMT_DEVICE float __uint_as_float(unsigned v) { return simt_emulation::from_bits<float>(v); }
SIMT_DEVICE int __popc(unsigned v) { return __builtin_popcount(v); }
SIMT_DEVICE int __ffs(int v) { return __builtin_ffs(v); }
SIMT_DEVICE int __clz(int v) { return v ? __builtin_clz(static_cast<unsigned>(v)) : 32; }

/* min and max of equal types, as nvcc has them everywhere. */
#define SIMT_MIN_MAX(T)                                                                                                \
    SIMT_DEVICE T min(T a, T b) { return a < b ? a : b; }                                                              \
    SIMT_DEVICE T max(T a, T b) { return a > b ? a : b; }
SIMT_MIN_MAX(int)
SIMT_MIN_MAX(unsigned)
SIMT_MIN_MAX(long)
SIMT_MIN_MAX(unsigned long)
SIMT_MIN_MAX(long long)
SIMT_MIN_MAX(unsigned long long)
#undef SIMT_MIN_MAX

/* Atomics are relaxed, as CUDA's: order comes from __threadfence, acquire and release. */
#define SIMT_ATOMICS(T)                                                                                                \
    SIMT_DEVICE T atomicAdd(T *at, T v) {                                                                              \
        simt_emulation::exchange(at, true);                                                                            \
        return __atomic_fetch_add(at, v, __ATOMIC_RELAXED);                                                            \
    }                                                                                                                  \
    SIMT_DEVICE T atomicExch(T *at, T v) {                                                                             \
        simt_emulation::exchange(at, true);                                                                            \
        return __atomic_exchange_n(at, v, __ATOMIC_RELAXED);                                                           \
    }                                                                                                                  \
    SIMT_DEVICE T atomicCAS(T *at, T expected, T v) {                                                                  \
        simt_emulation::exchange(at, true);                                                                            \
        __atomic_compare_exchange_n(at, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                      \
        return expected;                                                                                               \
    }                                                                                                                  \
    SIMT_DEVICE T atomicMax(T *at, T v) {                                                                              \
        T now = atomicAdd(at, static_cast<T>(0));                                                                      \
        while (v > now && !__atomic_compare_exchange_n(at, &now, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {      \
        }                                                                                                              \
        return now;                                                                                                    \
    }                                                                                                                  \
    SIMT_DEVICE T atomicMin(T *at, T v) {                                                                              \
        T now = atomicAdd(at, static_cast<T>(0));                                                                      \
        while (v < now && !__atomic_compare_exchange_n(at, &now, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {      \
        }                                                                                                              \
        return now;                                                                                                    \
    }
SIMT_ATOMICS(int)
SIMT_ATOMICS(unsigned)
SIMT_ATOMICS(unsigned long long)
#undef SIMT_ATOMICS

SIMT_DEVICE void __threadfence() { simt_emulation::fence(); }
SIMT_DEVICE uint32_t simt_load_acquire(const uint32_t *at) {
    simt_emulation::exchange(at, false);
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}
SIMT_DEVICE void simt_store_release(uint32_t *at, uint32_t v) {
    simt_emulation::exchange(at, true);
    __atomic_store_n(at, v, __ATOMIC_RELEASE);
}
SIMT_DEVICE uint64_t simt_load_word(const uint64_t *at) {
    simt_emulation::exchange(at, false);
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}
SIMT_DEVICE void simt_store_word(uint64_t *at, uint64_t v) {
    simt_emulation::exchange(at, true);
    __atomic_store_n(at, v, __ATOMIC_RELAXED);
}
SIMT_DEVICE void simt_spin(SIMT_HERE) { simt_emulation::spin(file, line); }

SIMT_DEVICE unsigned simt_cluster_rank() { return simt_emulation::cluster_rank(); }
SIMT_DEVICE unsigned simt_cluster_size() { return simt_emulation::cluster_size(); }
template <typename T> SIMT_DEVICE T *simt_cluster_map(T *mine, unsigned rank) {
    return static_cast<T *>(simt_emulation::cluster_map(mine, rank));
}
SIMT_DEVICE void simt_cluster_sync(SIMT_HERE) { simt_emulation::cluster_sync(file, line); }

typedef uint64_t simt_mbarrier;
SIMT_DEVICE void simt_mbarrier_init(simt_mbarrier *bar, unsigned arrivals) {
    simt_emulation::barrier_init(bar, arrivals);
}
SIMT_DEVICE void simt_mbarrier_expect(simt_mbarrier *bar, unsigned bytes) {
    simt_emulation::barrier_expect(bar, bytes);
}
SIMT_DEVICE bool simt_mbarrier_wait(simt_mbarrier *bar, unsigned parity, uint64_t spin_limit, SIMT_HERE) {
    return simt_emulation::barrier_wait(bar, parity, spin_limit, file, line);
}
SIMT_DEVICE void simt_store_async(uint32_t *peer, uint32_t value, simt_mbarrier *peers) {
    simt_emulation::store_async(peer, value, 4, peers);
}
SIMT_DEVICE void simt_store_async(uint64_t *peer, uint64_t value, simt_mbarrier *peers) {
    simt_emulation::store_async(peer, value, 8, peers);
}

namespace simt_emulation {

template <typename Body> struct packed {
    call head;
    Body body;
    static void enter(const void *body) { (*static_cast<const Body *>(body))(); }
    static const void *find(const void *head) { return &static_cast<const packed *>(head)->body; }
};

} // namespace simt_emulation

/* Clusters run one after another; that they all have a place keeps layouts as they would be. */
template <typename... P> static int simt_clusters_at_once(void (*)(P...), simt_shape shape) {
    cudaError_t code = mmrec_fake_shape(shape.grid, shape.block, shape.shared_bytes, false, shape.cluster);
    if (code == cudaSuccess) return static_cast<int>(shape.grid / shape.cluster);
    cudaGetLastError(); /* an answer, not an error to be found later */
    return 0;
}

/* Queues the call on the stream of the runtime on host memory; arguments have the kernel's own types here. */
template <typename... P>
static mmrec_status simt_launch(void (*kernel)(P...), const char *name, simt_shape shape, mmrec_error *error,
                                P... arguments) {
    auto body = [=] { kernel(arguments...); };
    typedef simt_emulation::packed<decltype(body)> packed;
    static_assert(std::is_trivially_copyable<decltype(body)>::value, "a kernel's arguments are copied byte by byte");
    packed context = {{shape, name, packed::enter, packed::find}, body};
    cudaError_t code =
        mmrec_fake_shape(shape.grid, shape.block, shape.shared_bytes, shape.kind == SIMT_RESIDENT, shape.cluster);
    if (code == cudaSuccess) {
        code = mmrec_fake_launch(mmrec_cuda_now()->stream, name, simt_emulation::run, &context, sizeof context);
    }
    return mmrec_cuda_launched(code, name, error);
}

#endif
