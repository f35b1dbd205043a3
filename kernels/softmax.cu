/* softmax over the columns of each row: y = exp(x - max x) / sum of the same; dx = y (dy - sum(dy y)).
 *
 * Source: host/ops/softmax.c.
 *
 *   x, y, dy, dx   (rows, D)   float or bf16, rows may be slices of wider ones
 *
 * A warp has a row, a block where D > 1024 (rows.cuh). The row stays in registers between maximum, sum and result, so
 * memory sees each element once: 8 bytes forward, 12 backward in float. Rows beyond 8192 columns are read again from
 * the cache. NaN anywhere in a row makes all of it NaN: the maximum passes it by, the sum does not. Order of sums: a
 * thread's columns, then over lanes and warps. Fixed. Considered: maximum and sum in one pass with a running
 * correction; it saves a pass over memory, but here that pass is over registers, and it costs an expf more. */
#include "rows.cuh"

template <typename T>
SIMT_DEVICE void pack_scaled(T *row, int at, int width, bool wide, float (&v)[PACK], float scale) {
    for (int j = 0; j < PACK; j++) v[j] *= scale;
    pack_deliver(row, at, width, wide, v, false);
}

template <typename T, int ITEMS, bool WARP>
SIMT_KERNEL(ROW_THREADS)
k_softmax_fwd(matrix<const T> x, matrix<T> y, int64_t rows, int width, bool wide) {
    float *shared = simt_shared<float>();
    for (int64_t r = row_first<WARP>(); r < rows; r += row_step<WARP>()) {
        float v[ITEMS][PACK], more[PACK], top = -INFINITY, sum = 0.0f;
        for (int i = 0; i < ITEMS; i++) {
            pack_load(v[i], x.row(r), row_column<WARP>(i), width, wide, -INFINITY);
            top = pack_max(v[i], top);
        }
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, width); i++) {
            pack_load(more, x.row(r), row_column<WARP>(i), width, wide, -INFINITY);
            top = pack_max(more, top);
        }
        top = row_max<WARP>(top, shared);
        for (int i = 0; i < ITEMS; i++) sum += pack_exp(v[i], top);
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, width); i++) {
            pack_load(more, x.row(r), row_column<WARP>(i), width, wide, -INFINITY);
            sum += pack_exp(more, top);
        }
        float scale = 1.0f / row_sum<WARP>(sum, shared);
        for (int i = 0; i < ITEMS; i++) pack_scaled(y.row(r), row_column<WARP>(i), width, wide, v[i], scale);
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, width); i++) {
            pack_load(more, x.row(r), row_column<WARP>(i), width, wide, -INFINITY);
            pack_exp(more, top);
            pack_scaled(y.row(r), row_column<WARP>(i), width, wide, more, scale);
        }
    }
}

template <typename T> struct softmax_back {
    matrix<const T> y, dy;
    matrix<T> dx;
    int64_t rows;
    int width;
    bool wide, add;
};

/* Four columns of y and dy, and this pack's share of sum(dy y). */
template <typename T>
SIMT_DEVICE float softmax_load(const softmax_back<T> &a, int64_t r, int at, float (&y)[PACK], float (&dy)[PACK]) {
    float sum = 0.0f;
    pack_load(y, a.y.row(r), at, a.width, a.wide);
    pack_load(dy, a.dy.row(r), at, a.width, a.wide);
    for (int j = 0; j < PACK; j++) sum += dy[j] * y[j];
    return sum;
}

template <typename T>
SIMT_DEVICE void softmax_give(const softmax_back<T> &a, int64_t r, int at, const float (&y)[PACK], float (&dy)[PACK],
                              float sum) {
    for (int j = 0; j < PACK; j++) dy[j] = y[j] * (dy[j] - sum);
    pack_deliver(a.dx.row(r), at, a.width, a.wide, dy, a.add);
}

template <typename T, int ITEMS, bool WARP> SIMT_KERNEL(ROW_THREADS) k_softmax_bwd(softmax_back<T> a) {
    float *shared = simt_shared<float>();
    for (int64_t r = row_first<WARP>(); r < a.rows; r += row_step<WARP>()) {
        float y[ITEMS][PACK], dy[ITEMS][PACK], y_more[PACK], dy_more[PACK], sum = 0.0f;
        for (int i = 0; i < ITEMS; i++) sum += softmax_load(a, r, row_column<WARP>(i), y[i], dy[i]);
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, a.width); i++) {
            sum += softmax_load(a, r, row_column<WARP>(i), y_more, dy_more);
        }
        sum = row_sum<WARP>(sum, shared);
        for (int i = 0; i < ITEMS; i++) softmax_give(a, r, row_column<WARP>(i), y[i], dy[i], sum);
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, a.width); i++) {
            softmax_load(a, r, row_column<WARP>(i), y_more, dy_more);
            softmax_give(a, r, row_column<WARP>(i), y_more, dy_more, sum);
        }
    }
}

static simt_shape shape_for(int64_t rows, int64_t width) {
    return {row_grid(rows, width), ROW_THREADS, 32 * sizeof(float), SIMT_FREE, 0};
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[0], &y = call->out[0];
    int64_t rows = mmrec_shape_rows(&x.shape), width = mmrec_shape_columns(&x.shape);
    bool wide = packs(x) && packs(y);
    MMREC_TRY(row_check("softmax", width, error));
    SIMT_BY_DTYPE(
        x, T,
        ROWS_BY_WIDTH(width, ITEMS, WARP,
                      return SIMT_LAUNCH((k_softmax_fwd<T, ITEMS, WARP>), shape_for(rows, width), error,
                                         matrix_of<const T>(x), matrix_of<T>(y), rows, static_cast<int>(width), wide)));
}

template <typename T>
static mmrec_status launch_backward(const mmrec_op_call *call, int64_t rows, int64_t width, mmrec_error *error) {
    const mmrec_view &y = call->out[0], &dy = call->d_out[0], &dx = call->d_in[0];
    softmax_back<T> a = {matrix_of<const T>(y),   matrix_of<const T>(dy),
                         matrix_of<T>(dx),        rows,
                         static_cast<int>(width), packs(y) && packs(dy) && packs(dx),
                         call_adds(call, 0)};
    ROWS_BY_WIDTH(width, ITEMS, WARP,
                  return SIMT_LAUNCH((k_softmax_bwd<T, ITEMS, WARP>), shape_for(rows, width), error, a));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &y = call->out[0];
    int64_t rows = mmrec_shape_rows(&y.shape), width = mmrec_shape_columns(&y.shape);
    if (!call->d_in[0].data) return MMREC_OK;
    MMREC_TRY(row_check("softmax", width, error));
    SIMT_BY_DTYPE(y, T, return launch_backward<T>(call, rows, width, error));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_softmax = {{forward, backward}};
