/* memory_write_shared: for b = 0 .. B-1: memory = memory (1 - w_b (x) e_b) + w_b (x) a_b, e = sg(sg(erase)),
 * a = tanh(tanh(add)), w by content from the memory before the first (content_address.cuh). No gradient.
 *
 * Source: host/ops/memory_write_shared.c.
 *
 *   key, erase, add       (B, M)   float or bf16
 *   strength              (B, 1)   float or bf16
 *   memory, memory_out    (N, M)   float
 *   scratch               float: weights, similarities (B, N), norms, e and a (B, M); content_address_device.h
 *
 * Two kernels. In the first a block has a sample and leaves its w, e and a. In the second a thread has 4 columns of a
 * row and goes from sample to sample, the only order that gives the published result; four samples are loaded at a
 * time. A memory of 128 x 20 gives 640 threads: the steps of one sample after another take as long whatever the number
 * of threads. Two steps joined into one, (1 - w e) and w a of both, would halve their number and round otherwise.
 *
 * Order of sums: none over samples; else content_address.cuh. */
#include "content_address.cuh"

enum { IN_ERASE = 2, IN_ADD, IN_MEMORY };
enum { WRITE_THREADS = 64 }; /* few threads are spread over more processors */

template <typename T> struct write_shared {
    content_address<T> address;
    matrix<const T> erase, add;
    matrix<float> e, a;
    matrix<float> out;
    int packs;
    bool wide;
};

template <typename T> SIMT_KERNEL(ROW_THREADS) k_memory_write_shared_place(write_shared<T> x) {
    int64_t b = blockIdx.x;
    address_sample(x.address, b, simt_shared<float>());
    for (int m = static_cast<int>(threadIdx.x); m < x.address.width; m += ROW_THREADS) {
        x.e.row(b)[m] = sigmoid(sigmoid(simt_float(x.erase.row(b)[m])));
        x.a.row(b)[m] = tanhf(tanhf(simt_float(x.add.row(b)[m])));
    }
}

template <typename T> SIMT_KERNEL(WRITE_THREADS) k_memory_write_shared_fwd(write_shared<T> x) {
    const content_address<T> &address = x.address;
    int64_t item = (int64_t)blockIdx.x * WRITE_THREADS + threadIdx.x, row = item / x.packs;
    int at = static_cast<int>(item % x.packs) * PACK, width = address.width;
    if (row >= address.slots) return;
    float v[PACK];
    pack_load(v, address.memory.row(row), at, width, x.wide);
#pragma unroll 4
    for (int64_t b = 0; b < address.batch; b++) {
        float w = address.weights.row(b)[row], e[PACK], a[PACK];
        pack_load(e, x.e.row(b), at, width, true);
        pack_load(a, x.a.row(b), at, width, true);
        for (int j = 0; j < PACK; j++) v[j] = v[j] * (1.0f - w * e[j]) + w * a[j];
    }
    pack_deliver(x.out.row(row), at, width, x.wide, v, false);
}

template <typename T> static write_shared<T> write_of(const mmrec_op_call *call) {
    write_shared_parts p = write_shared_cut(call->sizes);
    float *scratch = static_cast<float *>(call->scratch);
    write_shared<T> x = {};
    x.address = address_inputs<T>(call, IN_MEMORY);
    x.address.weights = {scratch + p.weights, p.slots};
    x.address.similarities = {scratch + p.similarities, p.slots};
    x.address.row_norms = {scratch + p.row_norms, p.slots};
    x.address.key_norms = {scratch + p.key_norms, 1};
    x.address.twice = true;
    x.address.shared_memory = true;
    x.erase = matrix_of<const T>(call->in[IN_ERASE]);
    x.add = matrix_of<const T>(call->in[IN_ADD]);
    x.e = {scratch + p.erase, p.width};
    x.a = {scratch + p.add, p.width};
    x.out = matrix_of<float>(call->out[0]);
    x.packs = static_cast<int>(p.width / PACK);
    x.wide = packs(call->in[IN_MEMORY]) && packs(call->out[0]);
    return x;
}

template <typename T> static mmrec_status forward_as(const mmrec_op_call *call, mmrec_error *error) {
    write_shared<T> x = write_of<T>(call);
    MMREC_TRY(SIMT_LAUNCH((k_memory_write_shared_place<T>), address_shape(x.address.batch, 32), error, x));
    int64_t items = static_cast<int64_t>(x.address.slots) * x.packs;
    unsigned blocks = static_cast<unsigned>((items + WRITE_THREADS - 1) / WRITE_THREADS);
    simt_shape shape = {blocks, WRITE_THREADS, 0, SIMT_FREE, 0};
    return SIMT_LAUNCH((k_memory_write_shared_fwd<T>), shape, error, x);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(address_check("memory_write_shared", call, error));
    SIMT_BY_DTYPE(call->in[ADDRESS_KEY], T, return forward_as<T>(call, error));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_memory_write_shared = {{forward, nullptr}};
