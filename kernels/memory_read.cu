/* memory_read: read = sum_n w_n memory_n, w by content (content_address.cuh).
 *
 * Source: host/ops/memory_read.c.
 *
 *   key, dkey              (B, M)   float or bf16
 *   strength, dstrength    (B, 1)   float or bf16
 *   memory, dmemory        (1 or B memories of N rows, M)   float
 *   read, dread            (B, M)   float or bf16
 *   saved: weights, similarities (B, N), row_norms (1 or B, N), key_norms (B, 1)   float
 *   scratch                (B, N)   float: dw, then g
 *
 * Forward, and backward for key and strength: a block has a sample. Backward for the memory: a second kernel, a thread
 * has 4 columns of a row. Which lanes take what, and the order of sums: content_address.cuh. Adding the gradient of a
 * shared memory in the first kernel would save a launch and need either atomics or a copy for every sample. */
#include "content_address.cuh"

enum { IN_MEMORY = 2 };

template <typename T> SIMT_KERNEL(ROW_THREADS) k_memory_read_fwd(content_address<T> a, matrix<T> read) {
    float *shared = simt_shared<float>();
    int64_t b = blockIdx.x;
    address_sample(a, b, shared);
    address_mix(a, b, a.weights.row(b), shared, [&](int m, float sum) { read.row(b)[m] = simt_cast<T>(sum); });
}

template <typename T>
SIMT_KERNEL(ROW_THREADS)
k_memory_read_bwd(content_address<T> a, matrix<const T> dread, address_gradients<T> to) {
    float *shared = simt_shared<float>(), d[PACK], v[PACK];
    int64_t b = blockIdx.x;
    for (int first = 0; first < a.slots; first += GROUPS) {
        int n = first + group_number();
        float dw = 0.0f;
        for (int at = group_lane() * PACK; n < a.slots && at < a.width; at += GROUP_COLUMNS) {
            pack_load(d, dread.row(b), at, a.width, a.wide);
            pack_load(v, address_row(a, b, n), at, a.width, a.wide);
            for (int j = 0; j < PACK; j++) dw += d[j] * v[j];
        }
        dw = group_sum(dw);
        if (n < a.slots && group_lane() == 0) to.g[b * a.slots + n] = dw;
    }
    address_back(a, to, b, shared);
}

template <typename T> SIMT_KERNEL(ROW_THREADS) k_memory_read_rows_bwd(address_rows<T> r, matrix<const T> dread) {
    address_row_gradient(r, simt_shared<float>(), [&](int64_t b, int n, int at, float(&sum)[PACK]) {
        float w = r.address.weights.row(b)[n], v[PACK];
        pack_load(v, dread.row(b), at, r.address.width, r.wide);
        for (int j = 0; j < PACK; j++) sum[j] += w * v[j];
    });
}

static bool twice(const mmrec_op_call *call) { return call->sizes->attr[0] != 0; }

template <typename T> static mmrec_status forward_as(const mmrec_op_call *call, mmrec_error *error) {
    content_address<T> a = address_of<T>(call, IN_MEMORY, twice(call));
    return SIMT_LAUNCH((k_memory_read_fwd<T>), address_shape(a.batch, STRIP_FLOATS), error, a,
                       matrix_of<T>(call->out[0]));
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(address_check("memory_read", call, error));
    SIMT_BY_DTYPE(call->in[ADDRESS_KEY], T, return forward_as<T>(call, error));
}

template <typename T> static mmrec_status backward_as(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dread = call->d_out[0];
    content_address<T> a = address_of<T>(call, IN_MEMORY, twice(call));
    a.wide = a.wide && packs(dread);
    MMREC_TRY(SIMT_LAUNCH((k_memory_read_bwd<T>), address_shape(a.batch, STRIP_FLOATS), error, a,
                          matrix_of<const T>(dread), address_gradients_of<T>(call)));
    if (!call->d_in[IN_MEMORY].data) return MMREC_OK;
    address_rows<T> r = address_rows_of(call, a, IN_MEMORY, true);
    return SIMT_LAUNCH((k_memory_read_rows_bwd<T>), address_rows_shape(r), error, r, matrix_of<const T>(dread));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(address_check("memory_read", call, error));
    SIMT_BY_DTYPE(call->in[ADDRESS_KEY], T, return backward_as<T>(call, error));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_memory_read = {{forward, backward}};
