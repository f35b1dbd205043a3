/* memory_write: memory_out = memory (1 - w (x) e) + w (x) a, e = sg(erase), a = tanh(add), w by content
 * (content_address.cuh).
 *
 * Source: host/ops/memory_write.c.
 *
 *   key, dkey              (B, M)   float or bf16
 *   strength, dstrength    (B, 1)   float or bf16
 *   erase, add, derase, dadd        (B, M)   float or bf16
 *   memory, dmemory        (1 or B memories of N rows, M)   float
 *   memory_out, dm         (B N, M) float
 *   saved: weights, similarities (B, N), row_norms (1 or B, N), key_norms (B, 1)   float
 *   scratch                (B, N)   float: dw, then g
 *
 * Forward, and backward for all but the memory: a block has a sample, 8 lanes a row, and the four columns of a lane
 * stay the same while it goes from row to row, so that e and a of the columns are made once and the sums over rows stay
 * in registers. Backward for the memory: a second kernel, a thread has 4 columns of a row. Order of sums:
 * content_address.cuh. Making w again from the gradient of memory_out instead of saving it would save 4 N bytes a
 * sample and read the memory twice more. */
#include "content_address.cuh"

enum { IN_ERASE = 2, IN_ADD, IN_MEMORY };

template <typename T> struct memory_write {
    content_address<T> address;
    matrix<const T> erase, add;
    matrix<float> out;      /* forward */
    matrix<const float> dm; /* backward, as the following */
    matrix<T> derase, dadd; /* data NULL: not wanted */
    bool wide, add_erase, add_add;
};

/* e of this thread's columns; beyond the row's end that of 0, which nobody looks at. */
template <typename T>
SIMT_DEVICE void erase_load(float (&e)[PACK], const matrix<const T> &erase, int64_t b, int at, int width, bool wide) {
    pack_load(e, erase.row(b), at, width, wide);
    for (int j = 0; j < PACK; j++) e[j] = sigmoid(e[j]);
}
template <typename T>
SIMT_DEVICE void add_load(float (&v)[PACK], const matrix<const T> &add, int64_t b, int at, int width, bool wide) {
    pack_load(v, add.row(b), at, width, wide);
    for (int j = 0; j < PACK; j++) v[j] = tanhf(v[j]);
}

template <typename T> SIMT_KERNEL(ROW_THREADS) k_memory_write_fwd(memory_write<T> x) {
    const content_address<T> &a = x.address;
    int64_t b = blockIdx.x;
    address_sample(a, b, simt_shared<float>());
    const float *w = a.weights.row(b);
    for (int at = group_lane() * PACK; at < a.width; at += GROUP_COLUMNS) {
        float e[PACK], add[PACK], v[PACK];
        erase_load(e, x.erase, b, at, a.width, x.wide);
        add_load(add, x.add, b, at, a.width, x.wide);
        for (int n = group_number(); n < a.slots; n += GROUPS) {
            pack_load(v, address_row(a, b, n), at, a.width, x.wide);
            for (int j = 0; j < PACK; j++) v[j] = v[j] * (1.0f - w[n] * e[j]) + w[n] * add[j];
            pack_deliver(x.out.row(b * a.slots + n), at, a.width, x.wide, v, false);
        }
    }
}

/* One strip of 32 columns: its share of dw is added to g, its derase and dadd are delivered. */
template <typename T>
SIMT_DEVICE void strip_back(const memory_write<T> &x, float *g, int64_t b, int strip, float *shared) {
    const content_address<T> &a = x.address;
    float e[PACK], add[PACK], erased[PACK] = {}, added[PACK] = {}, d[PACK], v[PACK];
    int at = strip + group_lane() * PACK;
    erase_load(e, x.erase, b, at, a.width, x.wide);
    add_load(add, x.add, b, at, a.width, x.wide);
    for (int first = 0; first < a.slots; first += GROUPS) {
        int n = first + group_number();
        float dw = 0.0f;
        if (n < a.slots) {
            float w = a.weights.row(b)[n];
            pack_load(d, x.dm.row(b * a.slots + n), at, a.width, x.wide);
            pack_load(v, address_row(a, b, n), at, a.width, x.wide);
            for (int j = 0; j < PACK; j++) {
                dw += d[j] * (add[j] - v[j] * e[j]);
                added[j] += d[j] * w;
                erased[j] += d[j] * w * v[j];
            }
        }
        dw = group_sum(dw);
        if (n < a.slots && group_lane() == 0) g[n] = strip == 0 ? dw : g[n] + dw;
    }
    float erase_sum = group_columns(erased, shared), add_sum = group_columns(added, shared);
    int m = strip + simt_lane();
    if (simt_warp() != 0 || m >= a.width) return;
    float gate = sigmoid(simt_float(x.erase.row(b)[m])), news = tanhf(simt_float(x.add.row(b)[m]));
    if (x.derase.data) deliver(&x.derase.row(b)[m], -erase_sum * gate * (1.0f - gate), x.add_erase);
    if (x.dadd.data) deliver(&x.dadd.row(b)[m], add_sum * (1.0f - news * news), x.add_add);
}

template <typename T> SIMT_KERNEL(ROW_THREADS) k_memory_write_bwd(memory_write<T> x, address_gradients<T> to) {
    float *shared = simt_shared<float>();
    int64_t b = blockIdx.x;
    for (int strip = 0; strip < x.address.width; strip += GROUP_COLUMNS) {
        strip_back(x, to.g + b * x.address.slots, b, strip, shared);
    }
    address_back(x.address, to, b, shared);
}

template <typename T>
SIMT_KERNEL(ROW_THREADS)
k_memory_write_rows_bwd(address_rows<T> r, matrix<const T> erase, matrix<const float> dm) {
    address_row_gradient(r, simt_shared<float>(), [&](int64_t b, int n, int at, float(&sum)[PACK]) {
        const content_address<T> &a = r.address;
        float w = a.weights.row(b)[n], e[PACK], d[PACK];
        erase_load(e, erase, b, at, a.width, r.wide);
        pack_load(d, dm.row(b * a.slots + n), at, a.width, r.wide);
        for (int j = 0; j < PACK; j++) sum[j] += d[j] * (1.0f - w * e[j]);
    });
}

/* Inputs, and whether all views that are read or written by packs allow whole ones. */
template <typename T> static memory_write<T> write_of(const mmrec_op_call *call, const mmrec_view &rows) {
    memory_write<T> x = {};
    x.address = address_of<T>(call, IN_MEMORY, false);
    x.erase = matrix_of<const T>(call->in[IN_ERASE]);
    x.add = matrix_of<const T>(call->in[IN_ADD]);
    x.wide = x.address.wide && packs(call->in[IN_ERASE]) && packs(call->in[IN_ADD]) && packs(rows);
    return x;
}

template <typename T> static mmrec_status forward_as(const mmrec_op_call *call, mmrec_error *error) {
    memory_write<T> x = write_of<T>(call, call->out[0]);
    x.out = matrix_of<float>(call->out[0]);
    return SIMT_LAUNCH((k_memory_write_fwd<T>), address_shape(x.address.batch, 32), error, x);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(address_check("memory_write", call, error));
    SIMT_BY_DTYPE(call->in[ADDRESS_KEY], T, return forward_as<T>(call, error));
}

template <typename T> static mmrec_status backward_as(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dm = call->d_out[0];
    memory_write<T> x = write_of<T>(call, dm);
    x.dm = matrix_of<const float>(dm);
    x.derase = matrix_of<T>(call->d_in[IN_ERASE]);
    x.dadd = matrix_of<T>(call->d_in[IN_ADD]);
    x.add_erase = call_adds(call, IN_ERASE);
    x.add_add = call_adds(call, IN_ADD);
    MMREC_TRY(SIMT_LAUNCH((k_memory_write_bwd<T>), address_shape(x.address.batch, STRIP_FLOATS), error, x,
                          address_gradients_of<T>(call)));
    if (!call->d_in[IN_MEMORY].data) return MMREC_OK;
    address_rows<T> r = address_rows_of(call, x.address, IN_MEMORY, x.wide);
    return SIMT_LAUNCH((k_memory_write_rows_bwd<T>), address_rows_shape(r), error, r, x.erase, x.dm);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(address_check("memory_write", call, error));
    SIMT_BY_DTYPE(call->in[ADDRESS_KEY], T, return backward_as<T>(call, error));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_memory_write = {{forward, backward}};
