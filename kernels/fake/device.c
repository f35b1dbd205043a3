/* One device with the limits of capability 9.0 and few multiprocessors, which are fibers on one processor here. */
#include "fake.h"
#include "state.h"

#include <stdio.h>
#include <string.h>

#include <cuda_profiler_api.h>

enum { DRIVER_VERSION = 13000, CAPABILITY_MAJOR = 9, CAPABILITY_MINOR = 0, REGISTERS = 65536, WARP = 32 };

cudaError_t cudaRuntimeGetVersion(int *version) {
    FAKE_TRY(fake_enter(__func__));
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
    FAKE_TRY(fake_enter(__func__));
    *version = DRIVER_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    *count = 0;
    FAKE_TRY(fake_enter(__func__));
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
    FAKE_TRY(fake_enter(__func__));
    *device = 0;
    return cudaSuccess;
}

static cudaError_t only_device(int device) { return device == 0 ? cudaSuccess : fake_fail(cudaErrorInvalidDevice); }

cudaError_t cudaSetDevice(int device) {
    FAKE_TRY(fake_enter(__func__));
    return only_device(device);
}

cudaError_t cudaInitDevice(int device, unsigned int device_flags, unsigned int flags) {
    (void)device_flags, (void)flags;
    FAKE_TRY(fake_enter(__func__));
    return only_device(device);
}

cudaError_t cudaSetDeviceFlags(unsigned int flags) {
    (void)flags;
    return fake_enter(__func__);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device) {
    FAKE_TRY(fake_enter(__func__));
    FAKE_TRY(only_device(device));
    *properties = (struct cudaDeviceProp){.name = "emulated on the processor",
                                          .totalGlobalMem = fake_memory_total(),
                                          .sharedMemPerBlock = FAKE_SHARED_PER_BLOCK,
                                          .sharedMemPerBlockOptin = FAKE_SHARED_OPTIN,
                                          .sharedMemPerMultiprocessor = FAKE_SHARED_PER_SM,
                                          .major = CAPABILITY_MAJOR,
                                          .minor = CAPABILITY_MINOR,
                                          .multiProcessorCount = FAKE_SMS,
                                          .l2CacheSize = FAKE_L2_BYTES,
                                          .warpSize = WARP,
                                          .regsPerBlock = REGISTERS,
                                          .maxThreadsPerBlock = FAKE_THREADS_PER_BLOCK,
                                          .maxThreadsPerMultiProcessor = FAKE_THREADS_PER_SM,
                                          .memoryBusWidth = 64,
                                          .cooperativeLaunch = 1};
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
    FAKE_TRY(fake_enter(__func__));
    FAKE_TRY(only_device(device));
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = FAKE_THREADS_PER_BLOCK;
        break;
    case cudaDevAttrMaxBlockDimX:
        *value = FAKE_THREADS_PER_BLOCK;
        break;
    case cudaDevAttrMaxGridDimX:
        *value = 0x7fffffff;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = FAKE_SHARED_PER_BLOCK;
        break;
    case cudaDevAttrWarpSize:
        *value = WARP;
        break;
    case cudaDevAttrMaxRegistersPerBlock:
        *value = REGISTERS;
        break;
    case cudaDevAttrClockRate:
        *value = 1000000;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = FAKE_SMS;
        break;
    case cudaDevAttrMemoryClockRate:
        *value = 1000000;
        break;
    case cudaDevAttrGlobalMemoryBusWidth:
        *value = 64;
        break;
    case cudaDevAttrL2CacheSize:
        *value = FAKE_L2_BYTES;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = FAKE_THREADS_PER_SM;
        break;
    case cudaDevAttrUnifiedAddressing:
        *value = 1;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = CAPABILITY_MAJOR;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = CAPABILITY_MINOR;
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = FAKE_SHARED_PER_SM;
        break;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
        *value = REGISTERS;
        break;
    case cudaDevAttrManagedMemory:
        *value = 0;
        break;
    case cudaDevAttrCooperativeLaunch:
        *value = 1;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = FAKE_SHARED_OPTIN;
        break;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
        *value = FAKE_BLOCKS_PER_SM;
        break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
        *value = FAKE_SHARED_RESERVED;
        break;
    case cudaDevAttrClusterLaunch:
        *value = 1;
        break;
    default:
        return fake_fail(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int size, int device) {
    FAKE_TRY(fake_enter(__func__));
    FAKE_TRY(only_device(device));
    if (size < 13) return fake_fail(cudaErrorInvalidValue);
    snprintf(id, (size_t)size, "0000:00:00.0");
    return cudaSuccess;
}

cudaError_t cudaDeviceReset(void) {
    FAKE_TRY(fake_enter_unsafe(__func__));
    fake_queues_run();
    return fake_waited();
}

cudaError_t cudaProfilerStart(void) { return fake_enter(__func__); }
cudaError_t cudaProfilerStop(void) { return fake_enter(__func__); }

cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attribute, int value) {
    FAKE_TRY(fake_enter(__func__));
    bool too_much =
        attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && (value < 0 || value > FAKE_SHARED_OPTIN);
    return !function || too_much ? fake_fail(cudaErrorInvalidValue) : cudaSuccess;
}

/* Blocks of a shape that one multiprocessor holds, by threads and shared memory; registers are not known here. */
static int blocks_per_sm(unsigned block, size_t shared_bytes) {
    if (block == 0 || block > FAKE_THREADS_PER_BLOCK || shared_bytes > FAKE_SHARED_OPTIN) return 0;
    int by_threads = FAKE_THREADS_PER_SM / (int)((block + WARP - 1) / WARP * WARP);
    int by_shared = FAKE_SHARED_PER_SM / (int)(shared_bytes + FAKE_SHARED_RESERVED);
    int blocks = by_threads < by_shared ? by_threads : by_shared;
    return blocks < FAKE_BLOCKS_PER_SM ? blocks : FAKE_BLOCKS_PER_SM;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *function, int block_size,
                                                          size_t dynamic_shared_bytes) {
    FAKE_TRY(fake_enter(__func__));
    if (!function || block_size <= 0) return fake_fail(cudaErrorInvalidValue);
    *blocks = blocks_per_sm((unsigned)block_size, dynamic_shared_bytes);
    return cudaSuccess;
}

static unsigned cluster_of(const cudaLaunchConfig_t *config) {
    for (unsigned i = 0; i < config->numAttrs; i++) {
        if (config->attrs[i].id == cudaLaunchAttributeClusterDimension) return config->attrs[i].val.clusterDim.x;
    }
    return 1;
}

cudaError_t cudaOccupancyMaxActiveClusters(int *clusters, const void *function, const cudaLaunchConfig_t *config) {
    FAKE_TRY(fake_enter(__func__));
    unsigned cluster = cluster_of(config);
    if (!function || cluster == 0 || cluster > FAKE_MAX_CLUSTER) return fake_fail(cudaErrorInvalidClusterSize);
    *clusters = FAKE_SMS * blocks_per_sm(config->blockDim.x, config->dynamicSmemBytes) / (int)cluster;
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxPotentialClusterSize(int *size, const void *function, const cudaLaunchConfig_t *config) {
    FAKE_TRY(fake_enter(__func__));
    if (!function || !config) return fake_fail(cudaErrorInvalidValue);
    *size = FAKE_MAX_CLUSTER;
    return cudaSuccess;
}

cudaError_t mmrec_fake_shape(unsigned grid, unsigned block, size_t shared_bytes, bool resident, unsigned cluster) {
    if (grid == 0 || block == 0 || block > FAKE_THREADS_PER_BLOCK) return fake_fail(cudaErrorInvalidConfiguration);
    if (cluster > FAKE_MAX_CLUSTER) return fake_fail(cudaErrorInvalidClusterSize);
    if (cluster > 1 && grid % cluster) return fake_fail(cudaErrorInvalidConfiguration);
    if (shared_bytes > FAKE_SHARED_OPTIN) return fake_fail(cudaErrorInvalidValue);
    int blocks = FAKE_SMS * blocks_per_sm(block, shared_bytes);
    if (blocks < (int)cluster) return fake_fail(cudaErrorLaunchOutOfResources);
    return resident && grid > (unsigned)blocks ? fake_fail(cudaErrorCooperativeLaunchTooLarge) : cudaSuccess;
}

void mmrec_fake_kernel_failed(const char *name, const char *words) {
    if (fake_lost() != cudaSuccess) return;
    fprintf(stderr, "kernel %s: %s\n", name, words);
    fake_lose(cudaErrorLaunchFailure);
}
