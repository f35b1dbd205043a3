/* The check of the recurrence on first use: does every regime give on this device what the plain kernel gives?
 *
 * The case is small but of the real kind: D = 8 units for each of up to 64 multiprocessors, so that the grid has many
 * blocks and a cluster its full size; 3 batch rows, 4 steps, so that each buffer and each phase of a barrier comes
 * round again. Results are filled with NaN before every run: values of the run before cannot pass. Regimes must agree
 * in every bit; with and without tensor cores sums have another order, and 2^-7 of the largest value is allowed, which
 * a wrong fragment exceeds at once.
 *
 *   memory   inputs, two sets of results, scratch: about 20 MB at D = 512, held only during the check
 *
 * One thread an element, striding over the grid; the only sums are maxima. */
#include "recurrence.h"

#include "device.cuh"
#include "ops/recurrence_device.h"

#include <stdio.h>
#include <string.h>

enum { THREADS = 256, WAVES = 4 };
enum { BATCH = 3, STEPS = 4, UNITS_A_BLOCK = 8, MOST_BLOCKS = 64 };
enum { INPUTS = 7, RESULTS = 6, DH = INPUTS, TENSORS };
static const float TENSOR_CORE_TOLERANCE = 0.0078125f; /* 2^-7 */

/* Uniform in [low, high), a stream for each tensor. */
SIMT_KERNEL(THREADS) k_recurrence_check_fill(float *to, int64_t count, uint64_t stream, float low, float high) {
    int64_t stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        to[i] = low + (high - low) * mmrec_rng_uniform(1, stream, static_cast<uint64_t>(i));
    }
}

/* found[0]: 1 where any bit differs; [1], [2]: bits of max |got - want| and max |want|, which order like the numbers,
 * NaN above all. */
SIMT_KERNEL(THREADS) k_recurrence_check_compare(const float *got, const float *want, int64_t count, unsigned *found) {
    int64_t stride = (int64_t)gridDim.x * blockDim.x;
    unsigned differs = 0, off = 0, largest = 0;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        if (__float_as_uint(got[i]) != __float_as_uint(want[i])) differs = 1;
        off = max(off, __float_as_uint(fabsf(got[i] - want[i])));
        largest = max(largest, __float_as_uint(fabsf(want[i])));
    }
    atomicMax(found, differs);
    atomicMax(found + 1, off);
    atomicMax(found + 2, largest);
}

/* Device memory of a check and what lies in it, in floats. */
struct recurrence_probe {
    mmrec_op_sizes sizes;
    float *memory, *input[TENSORS], *result[2]; /* result: h, m, dz, dgamma, dh0, dWg, one after the other */
    int64_t count[TENSORS], result_count;
    unsigned *found;
    void *scratch;
    size_t bytes;
};

static int64_t probe_width() {
    int sms = mmrec_cuda_now()->sms;
    return UNITS_A_BLOCK * static_cast<int64_t>(sms < MOST_BLOCKS ? sms : MOST_BLOCKS);
}

static void probe_sizes(recurrence_probe *p) {
    int64_t width = probe_width(), rows = BATCH * STEPS;
    memset(p, 0, sizeof *p);
    p->sizes.letter['B' - 'A'] = BATCH;
    p->sizes.letter['T' - 'A'] = STEPS;
    p->sizes.letter['D' - 'A'] = width;
    p->sizes.threads = MMREC_ON_DEVICE;
    int64_t counts[TENSORS] = {rows * width, rows * width,      BATCH * width, width * width,
                               width,        2 * width * width, width,         rows * width};
    memcpy(p->count, counts, sizeof counts);
    p->result_count = 4 * rows * width + BATCH * width + width * width;
}

/* All tensors in one piece of memory, each a multiple of 64 bytes. */
static size_t probe_place(recurrence_probe *p) {
    size_t at = 0;
    for (int i = 0; i < TENSORS; i++) {
        p->input[i] = p->memory + at;
        at += static_cast<size_t>(recurrence_up(p->count[i], 16));
    }
    for (int set = 0; set < 2; set++) {
        p->result[set] = p->memory + at;
        at += static_cast<size_t>(recurrence_up(p->result_count, 16));
    }
    p->found = reinterpret_cast<unsigned *>(p->memory + at);
    p->scratch = p->memory + at + 16;
    size_t most = 0;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        p->sizes.attr[0] = bf16;
        for (int pass = 0; pass < MMREC_PASSES; pass++) {
            size_t bytes = recurrence_sizes_of(&p->sizes, static_cast<mmrec_pass>(pass)).bytes;
            most = bytes > most ? bytes : most;
        }
    }
    return (at + 16) * sizeof(float) + most;
}

static mmrec_status probe_fill(recurrence_probe *p, mmrec_error *error) {
    float reach = 1.5f / sqrtf(static_cast<float>(probe_width()));
    const float high[TENSORS] = {1.5f, 0.95f, 1.5f, reach, 1.0f, reach, 1.0f, 1.0f};
    for (int i = 0; i < TENSORS; i++) {
        simt_shape shape = {grid_for(p->count[i], THREADS, WAVES), THREADS, 0, SIMT_FREE, 0};
        MMREC_TRY(SIMT_LAUNCH(k_recurrence_check_fill, shape, error, p->input[i], p->count[i], static_cast<uint64_t>(i),
                              i == 1 ? 0.05f : -high[i], high[i]));
    }
    return MMREC_OK;
}

static mmrec_status probe_open(recurrence_probe *p, mmrec_error *error) {
    probe_sizes(p);
    p->bytes = probe_place(p);
    void *memory = nullptr;
    MMREC_TRY(mmrec_cuda_check(cudaMalloc(&memory, p->bytes), "cudaMalloc for the check of the recurrence", error));
    p->memory = static_cast<float *>(memory);
    probe_place(p);
    return probe_fill(p, error);
}

static mmrec_view probe_view(float *data, int64_t rows, int64_t columns) {
    return mmrec_view_dense(data, MMREC_F32, mmrec_shape2(rows, columns));
}

static mmrec_op_call probe_call(const recurrence_probe *p, int set) {
    int64_t width = probe_width(), rows = BATCH * STEPS, all = rows * width;
    mmrec_op_call call;
    memset(&call, 0, sizeof call);
    call.sizes = &p->sizes;
    call.scratch = p->scratch;
    for (int i = 0; i < INPUTS; i++) {
        int64_t columns = i == 5 ? 2 * width : width;
        call.in[i] = probe_view(p->input[i], p->count[i] / columns, columns);
    }
    float *to = p->result[set];
    call.out[0] = probe_view(to, rows, width);
    call.saved[0] = probe_view(to + all, rows, width);
    call.d_in[0] = probe_view(to + 2 * all, rows, width);
    call.d_in[1] = probe_view(to + 3 * all, rows, width);
    call.d_in[2] = probe_view(to + 4 * all, BATCH, width);
    call.d_in[3] = probe_view(to + 4 * all + BATCH * width, width, width);
    call.d_out[0] = probe_view(p->input[DH], rows, width);
    return call;
}

/* Waits; what has been reported, which is cleared. */
static mmrec_status fault_take(mmrec_cuda_fault *fault, mmrec_error *error) {
    const mmrec_cuda *device = mmrec_cuda_now();
    MMREC_TRY(
        mmrec_cuda_check(cudaMemcpyAsync(fault, device->fault, sizeof *fault, cudaMemcpyDeviceToHost, device->stream),
                         "reading the fault word", error));
    MMREC_TRY(mmrec_cuda_check(cudaStreamSynchronize(device->stream), "checking the recurrence", error));
    if (fault->code == MMREC_CUDA_FAULT_NONE) return MMREC_OK;
    return mmrec_cuda_check(cudaMemsetAsync(device->fault, 0, sizeof *fault, device->stream), "clearing the fault word",
                            error);
}

static mmrec_status fault_put(const mmrec_cuda_fault *fault, mmrec_error *error) {
    const mmrec_cuda *device = mmrec_cuda_now();
    MMREC_TRY(
        mmrec_cuda_check(cudaMemcpyAsync(device->fault, fault, sizeof *fault, cudaMemcpyHostToDevice, device->stream),
                         "writing the fault word", error));
    return mmrec_cuda_check(cudaStreamSynchronize(device->stream), "checking the recurrence", error);
}

static mmrec_status probe_run(const recurrence_probe *p, int set, mmrec_recurrence_regime way, bool plain,
                              bool *in_time, mmrec_error *error) {
    mmrec_op_call call = probe_call(p, set);
    size_t bytes = static_cast<size_t>(p->result_count) * sizeof(float);
    MMREC_TRY(mmrec_cuda_check(cudaMemsetAsync(p->result[set], 0xFF, bytes, mmrec_cuda_now()->stream),
                               "cudaMemsetAsync", error));
    MMREC_TRY(mmrec_recurrence_run(&call, MMREC_FORWARD, way, plain, error));
    MMREC_TRY(mmrec_recurrence_run(&call, MMREC_BACKWARD, way, plain, error));
    mmrec_cuda_fault fault;
    MMREC_TRY(fault_take(&fault, error));
    *in_time = fault.code == MMREC_CUDA_FAULT_NONE;
    return MMREC_OK;
}

/* Set 1 against set 0. */
static mmrec_status probe_compare(const recurrence_probe *p, bool *same_bits, bool *close, mmrec_error *error) {
    cudaStream_t stream = mmrec_cuda_now()->stream;
    unsigned found[3];
    float off, largest;
    simt_shape shape = {grid_for(p->result_count, THREADS, WAVES), THREADS, 0, SIMT_FREE, 0};
    MMREC_TRY(mmrec_cuda_check(cudaMemsetAsync(p->found, 0, sizeof found, stream), "cudaMemsetAsync", error));
    MMREC_TRY(
        SIMT_LAUNCH(k_recurrence_check_compare, shape, error, p->result[1], p->result[0], p->result_count, p->found));
    MMREC_TRY(mmrec_cuda_check(cudaMemcpyAsync(found, p->found, sizeof found, cudaMemcpyDeviceToHost, stream),
                               "reading the check's result", error));
    MMREC_TRY(mmrec_cuda_check(cudaStreamSynchronize(stream), "checking the recurrence", error));
    memcpy(&off, &found[1], sizeof off);
    memcpy(&largest, &found[2], sizeof largest);
    *close = off <= TENSOR_CORE_TOLERANCE * largest; /* false for NaN */
    *same_bits = found[0] == 0 && *close;
    return MMREC_OK;
}

/* What a run of set 1 showed: "" if it is as it must be. `exact`: bit for bit. A launch that the device refuses is an
 * answer too, unless the device is gone. */
static mmrec_status probe_judge(const recurrence_probe *p, mmrec_recurrence_regime way, bool plain, bool exact,
                                char *why, size_t why_size, mmrec_error *error) {
    bool in_time = false, same = false, close = false;
    why[0] = '\0';
    mmrec_status status = probe_run(p, 1, way, plain, &in_time, error);
    if (status == MMREC_NO_DEVICE) return status;
    if (status != MMREC_OK) {
        snprintf(why, why_size, "%.200s", error ? error->message : "the launch failed");
        mmrec_error_clear(error);
        return MMREC_OK;
    }
    MMREC_TRY(probe_compare(p, &same, &close, error));
    if (!in_time) {
        snprintf(why, why_size, "a block waited too long for the others");
    } else if (!(exact ? same : close)) {
        snprintf(why, why_size, "the results are wrong");
    }
    return MMREC_OK;
}

/* Every regime for one kind of weights. */
static mmrec_status probe_regimes(const recurrence_probe *p, unsigned *proven, char *why, size_t why_size,
                                  mmrec_error *error) {
    static const struct {
        mmrec_recurrence_regime way;
        const char *name;
        bool plain, exact;
    } runs[] = {{MMREC_RECURRENCE_GRAPH, "graph against the kernel without tensor cores", true, false},
                {MMREC_RECURRENCE_CLUSTER, "cluster against graph", false, true},
                {MMREC_RECURRENCE_GRID, "grid against graph", false, true}};
    bool in_time = true;
    MMREC_TRY(probe_run(p, 0, MMREC_RECURRENCE_GRAPH, false, &in_time, error));
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        char found[256];
        if (runs[i].way == MMREC_RECURRENCE_CLUSTER && mmrec_cuda_now()->max_cluster < 2) continue;
        MMREC_TRY(probe_judge(p, runs[i].way, runs[i].plain, runs[i].exact, found, sizeof found, error));
        if (!found[0]) continue;
        *proven &= ~(1u << runs[i].way);
        if (!why[0]) snprintf(why, why_size, "%s: %.230s", runs[i].name, found);
    }
    return MMREC_OK;
}

static mmrec_status check_all(unsigned *proven, char *why, size_t why_size, mmrec_error *error) {
    recurrence_probe probe;
    mmrec_status status = probe_open(&probe, error);
    unsigned good = ~0u;
    for (int bf16 = 0; bf16 < 2 && status == MMREC_OK; bf16++) {
        probe.sizes.attr[0] = bf16;
        status = probe_regimes(&probe, &good, why, why_size, error);
    }
    if (!probe.memory) return status;
    mmrec_status freed = mmrec_cuda_check(cudaFree(probe.memory), "cudaFree", status == MMREC_OK ? error : nullptr);
    if (status == MMREC_OK && freed == MMREC_OK) *proven = good;
    return status == MMREC_OK ? freed : status;
}

/* The check runs in the middle of somebody's step: what a kernel before it has reported (an id out of range) is kept
 * out of it and not lost to it. */
mmrec_status mmrec_recurrence_check(unsigned *proven, char *why, size_t why_size, mmrec_error *error) {
    mmrec_cuda_fault before;
    why[0] = '\0';
    *proven = 0;
    MMREC_TRY(fault_take(&before, error));
    mmrec_status status = check_all(proven, why, why_size, error);
    if (before.code == MMREC_CUDA_FAULT_NONE || status == MMREC_NO_DEVICE) return status;
    mmrec_status kept = fault_put(&before, status == MMREC_OK ? error : nullptr);
    return status == MMREC_OK ? kept : status;
}
