/* Opening and closing the device, and the table that is the backend. */
#include <stdio.h>
#include <string.h>

#include "backend/cuda_module.h"
#include "cuda_impl.h"

/* Rounds that a block waits for another one: each is a trip to the second-level cache, near a microsecond, so this is
 * far past the longest step of a kernel and far below forever. The emulation's rounds are switches between fibers. */
#ifdef MMREC_EMULATED
enum { SPIN_LIMIT = 200000 };
#else
enum { SPIN_LIMIT = 20000000 };
#endif
/* Words for grid barriers; a fault; a seed: one allocation. */
enum { BARRIER_BYTES = 256, WORDS_BYTES = 512 };

mmrec_cuda cuda_state;
static bool is_open;
static void *words;

const mmrec_cuda *mmrec_cuda_now(void) { return &cuda_state; }

static mmrec_recurrence_regime use_regime(mmrec_recurrence_regime regime) {
    mmrec_recurrence_regime before = cuda_state.recurrence;
    cuda_state.recurrence = regime;
    return before;
}

static mmrec_library_choice use_rnn(mmrec_library_choice choice) {
    mmrec_library_choice before = cuda_state.rnn;
    cuda_state.rnn = choice;
    return before;
}

static mmrec_library_choice use_attention(mmrec_library_choice choice) {
    mmrec_library_choice before = cuda_state.attention;
    cuda_state.attention = choice;
    return before;
}

mmrec_device cuda_device = {.copy_in = cuda_copy_in,
                            .copy_out = cuda_copy_out,
                            .capture_begin = cuda_capture_begin,
                            .capture_end = cuda_capture_end,
                            .capture_abandon = cuda_capture_abandon,
                            .graph_launch = cuda_graph_launch,
                            .graph_destroy = cuda_graph_destroy,
                            .event_create = cuda_event_create,
                            .event_destroy = cuda_event_destroy,
                            .event_record = cuda_event_record,
                            .event_elapsed_ns = cuda_event_elapsed_ns,
                            .hold = cuda_hold,
                            .release = cuda_release,
                            .flush_cache = cuda_flush_cache,
                            .memory = cuda_memory,
                            .launches = cuda_launches,
                            .seed = cuda_seed,
                            .allocated = cuda_allocated,
                            .gemm = cuda_gemm_record,
                            .profiler = cuda_profiler,
                            .recurrence = use_regime,
                            .rnn = use_rnn,
                            .attention = use_attention,
                            .lstm = {cuda_lstm_create, cuda_lstm_prepare, cuda_lstm_run, cuda_lstm_destroy}};

/* ---- ops ---- */

static const mmrec_cuda_op *const ops[MMREC_OPS] = {
#define MMREC_OP(name) [MMREC_OP_##name] = &mmrec_cuda_op_##name,
#include "mmrec/ops.def"
#undef MMREC_OP
};

static mmrec_status run(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    return ops[op]->function[pass](call, error);
}

static mmrec_status adamw(const mmrec_adamw_call *call, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    return mmrec_cuda_adamw(call, error);
}

static mmrec_status mlp(const struct mmrec_mlp_call *call, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    return mmrec_cuda_mlp(call, error);
}

static const mmrec_backend backend = {.name = "cuda",
                                      .real = MMREC_F32,
                                      .variant = MMREC_VARIANT_F32,
                                      .stores_bf16 = true,
                                      .host_memory = false,
                                      .alloc = cuda_alloc,
                                      .free = cuda_free,
                                      .run = run,
                                      .synchronize = cuda_synchronize,
                                      .device = &cuda_device,
                                      .adamw = adamw,
                                      .mlp = mlp};

/* ---- seed ---- */

static uint64_t seed_queued;
static uint64_t *seed_word(void) { return (uint64_t *)((char *)words + BARRIER_BYTES + sizeof(mmrec_cuda_fault)); }

mmrec_status cuda_seed(uint64_t seed, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    if (seed == seed_queued) return MMREC_OK;
    uint64_t before = cuda_launches();
    MMREC_TRY(mmrec_cuda_set_word(seed_word(), seed, error));
    cuda_count_launches(before - cuda_launches()); /* it is no part of the step */
    seed_queued = seed;
    return MMREC_OK;
}

/* ---- open and close ---- */

static mmrec_status attribute(enum cudaDeviceAttr which, int *out, mmrec_error *error) {
    return mmrec_cuda_check(cudaDeviceGetAttribute(out, which, 0), "reading the device's properties", error);
}

static mmrec_status read_limits(mmrec_error *error) {
    mmrec_cuda *c = &cuda_state;
    int major = 0, minor = 0, l2 = 0, clusters = 0;
    MMREC_TRY(attribute(cudaDevAttrComputeCapabilityMajor, &major, error));
    MMREC_TRY(attribute(cudaDevAttrComputeCapabilityMinor, &minor, error));
    MMREC_TRY(attribute(cudaDevAttrMultiProcessorCount, &c->sms, error));
    MMREC_TRY(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, &c->max_shared_bytes, error));
    MMREC_TRY(attribute(cudaDevAttrL2CacheSize, &l2, error));
    MMREC_TRY(attribute(cudaDevAttrClusterLaunch, &clusters, error));
    c->capability = 10 * major + minor;
    c->max_cluster = clusters ? 16 : 1; /* above 8 a kernel must say that it may (simt_launch does) */
    c->l2_bytes = (size_t)l2;
    return MMREC_OK;
}

static mmrec_status describe(mmrec_error *error) {
    mmrec_device_info *info = &cuda_device.info;
    struct cudaDeviceProp properties;
    size_t free_bytes = 0;
    CUDA_TRY(cudaGetDeviceProperties(&properties, 0), "reading the device's name", error);
    CUDA_TRY(cudaMemGetInfo(&free_bytes, &info->memory_bytes), "cudaMemGetInfo", error);
    CUDA_TRY(cudaRuntimeGetVersion(&info->runtime_version), "reading the version of the runtime", error);
    CUDA_TRY(cudaDriverGetVersion(&info->driver_version), "reading the version of the driver", error);
    snprintf(info->name, sizeof info->name, "%.*s", (int)sizeof info->name - 1, properties.name);
    snprintf(info->pci, sizeof info->pci, "%04x:%02x:%02x.0", (unsigned)properties.pciDomainID & 0xffffu,
             (unsigned)properties.pciBusID & 0xffu, (unsigned)properties.pciDeviceID & 0xffu);
#ifdef MMREC_EMULATED
    info->emulated = true;
#endif
    info->capability = cuda_state.capability;
    info->sms = cuda_state.sms;
    info->l2_bytes = cuda_state.l2_bytes;
    return MMREC_OK;
}

static mmrec_status make_words(mmrec_error *error) {
    MMREC_TRY(cuda_alloc_own(WORDS_BYTES, &words, "cudaMalloc of the backend's words", error));
    CUDA_TRY(cudaMemsetAsync(words, 0, WORDS_BYTES, cuda_state.stream), "cudaMemsetAsync", error);
    cuda_state.barrier = words;
    cuda_state.fault = (mmrec_cuda_fault *)((char *)words + BARRIER_BYTES);
    cuda_device.seed_at = seed_word();
    seed_queued = 0;
    return MMREC_OK;
}

static mmrec_status find_device(mmrec_error *error) {
    int count = 0;
    CUDA_TRY(cudaGetDeviceCount(&count), "looking for a CUDA device", error);
    if (count < 1) MMREC_FAIL(error, MMREC_NO_DEVICE, "the CUDA driver sees no device");
    CUDA_TRY(cudaSetDevice(0), "choosing device 0", error);
    MMREC_TRY(read_limits(error));
    if (cuda_state.capability >= MMREC_CUDA_OLDEST && cuda_state.capability <= MMREC_CUDA_NEWEST) {
        return describe(error);
    }
    MMREC_FAIL(error, MMREC_NO_DEVICE, "device 0 has compute capability %d.%d, there are kernels for %d.%d to %d.%d",
               cuda_state.capability / 10, cuda_state.capability % 10, MMREC_CUDA_OLDEST / 10, MMREC_CUDA_OLDEST % 10,
               MMREC_CUDA_NEWEST / 10, MMREC_CUDA_NEWEST % 10);
}

static mmrec_status open_device(mmrec_error *error) {
    MMREC_TRY(find_device(error));
    CUDA_TRY(cudaStreamCreateWithFlags(&cuda_state.stream, cudaStreamNonBlocking), "creating a stream", error);
    MMREC_TRY(make_words(error));
    MMREC_TRY(cuda_gemm_open(error));
    return cuda_synchronize(error);
}

static void close_device(void) {
    cuda_release();
    cuda_lstm_destroy();
    cuda_rnn_free();
    cuda_attention_free();
    cuda_cudnn_close();
    cuda_gemm_close();
    cuda_flush_free();
    cuda_free_own(words, words ? WORDS_BYTES : 0);
    words = NULL;
    if (cuda_state.stream && !cuda_lost()) cudaStreamDestroy(cuda_state.stream);
    memset(&cuda_state, 0, sizeof cuda_state);
    is_open = false;
}

static mmrec_status module_open(const mmrec_device_options *options, const mmrec_backend **out, mmrec_error *error) {
    *out = &backend;
    if (is_open) return MMREC_OK;
    *out = NULL;
    MMREC_TRY(cuda_usable(error));
    cuda_state.tf32 = options->tf32;
    cuda_state.recurrence = options->recurrence;
    cuda_state.rnn = options->rnn;
    cuda_state.attention = options->attention;
    cuda_state.self_check = !options->no_self_check;
    cuda_state.spin_limit = SPIN_LIMIT;
    mmrec_status status = open_device(error);
    if (status != MMREC_OK) {
        close_device();
        return status;
    }
    is_open = true;
    *out = &backend;
    return MMREC_OK;
}

__attribute__((visibility("default"))) const mmrec_cuda_module *mmrec_cuda_module_get(void);
const mmrec_cuda_module *mmrec_cuda_module_get(void) {
    static const mmrec_cuda_module module = {MMREC_CUDA_ABI, module_open, close_device};
    return &module;
}
