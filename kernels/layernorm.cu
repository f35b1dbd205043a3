/* layernorm: y = (x - mean) rstd w + b, rstd = 1 / sqrt(var + eps) over each row; with xhat = (x - mean) rstd, g = w
 * dy: dx = rstd (g - mean(g) - xhat mean(g xhat)),   dw = sum over rows of dy xhat,   db = sum over rows of dy.
 *
 * Source: host/ops/layernorm.c.
 *
 *   x, y, dy, dx   (rows, D)      float or bf16, rows may be slices of wider ones
 *   w, b, dw, db   (D)            float
 *   mean, rstd     (rows, 1)      float, saved
 *   scratch        (2 pieces, D)  float, backward: partial sums of dw, then of db
 *
 * A warp has a row, a block where D > 1024 (rows.cuh). The row stays in registers: the variance is the second sum over
 * them, not the one-pass form, which loses all digits where |mean| is 1e4 times the spread. x is read once: 8 bytes an
 * element forward and 12 backward in float. Backward a block has a piece of the rows and keeps the sums of dw and db in
 * registers; one launch joins the pieces of both.
 *
 * Order of sums: a row's by lanes then over lanes; dw and db by rows in a warp, warps, pieces (columns.cuh). Fixed.
 * Considered: dw and db in a kernel of their own, which frees 64 registers a thread and reads x and dy again, 8 bytes
 * an element more. */
#include "columns.cuh"

enum { IN_X, IN_WEIGHT, IN_BIAS };

template <typename T> struct layernorm_front {
    matrix<const T> x;
    matrix<T> y;
    const float *weight, *bias;
    matrix<float> mean, rstd;
    int64_t rows;
    int width;
    float eps;
    bool wide;
};

template <typename T>
SIMT_DEVICE void layernorm_pack(const layernorm_front<T> &a, int64_t r, int at, const float (&x)[PACK], float mean,
                                float rstd) {
    float w[PACK], y[PACK];
    pack_load(w, a.weight, at, a.width, a.wide);
    pack_load(y, a.bias, at, a.width, a.wide);
    for (int j = 0; j < PACK; j++) y[j] += (x[j] - mean) * rstd * w[j];
    pack_deliver(a.y.row(r), at, a.width, a.wide, y, false);
}

/* Sum of squares about the mean of the columns that exist. */
SIMT_DEVICE float layernorm_squares(const float (&x)[PACK], int at, int width, float mean) {
    float sum = 0.0f;
    for (int j = 0; j < PACK; j++) sum += at + j < width ? (x[j] - mean) * (x[j] - mean) : 0.0f;
    return sum;
}

template <typename T, int ITEMS, bool WARP> SIMT_KERNEL(ROW_THREADS) k_layernorm_fwd(layernorm_front<T> a) {
    float *shared = simt_shared<float>(), scale = 1.0f / static_cast<float>(a.width);
    for (int64_t r = row_first<WARP>(); r < a.rows; r += row_step<WARP>()) {
        float x[ITEMS][PACK], more[PACK], sum = 0.0f, squares = 0.0f;
        for (int i = 0; i < ITEMS; i++) pack_load(x[i], a.x.row(r), row_column<WARP>(i), a.width, a.wide);
        for (int i = 0; i < ITEMS; i++) {
            for (int j = 0; j < PACK; j++) sum += x[i][j];
        }
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, a.width); i++) {
            pack_load(more, a.x.row(r), row_column<WARP>(i), a.width, a.wide);
            for (int j = 0; j < PACK; j++) sum += more[j];
        }
        float mean = row_sum<WARP>(sum, shared) * scale;
        for (int i = 0; i < ITEMS; i++) squares += layernorm_squares(x[i], row_column<WARP>(i), a.width, mean);
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, a.width); i++) {
            pack_load(more, a.x.row(r), row_column<WARP>(i), a.width, a.wide);
            squares += layernorm_squares(more, row_column<WARP>(i), a.width, mean);
        }
        float rstd = 1.0f / sqrtf(row_sum<WARP>(squares, shared) * scale + a.eps);
        for (int i = 0; i < ITEMS; i++) layernorm_pack(a, r, row_column<WARP>(i), x[i], mean, rstd);
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, a.width); i++) {
            pack_load(more, a.x.row(r), row_column<WARP>(i), a.width, a.wide);
            layernorm_pack(a, r, row_column<WARP>(i), more, mean, rstd);
        }
        if (row_lane<WARP>() == 0) {
            *a.mean.row(r) = mean;
            *a.rstd.row(r) = rstd;
        }
    }
}

template <typename T> struct layernorm_back {
    matrix<const T> x, dy;
    matrix<T> dx;
    const float *weight;
    matrix<const float> mean, rstd;
    float *dweight, *dbias; /* partial sums; NULL: neither is wanted */
    row_pieces pieces;
    bool wide, add;
};

struct layernorm_scale {
    float mean, rstd, mean_g, slope; /* slope: rstd mean(g xhat) */
};

/* Four columns of a row: dx, and their shares of dw and db. */
template <typename T>
SIMT_DEVICE void layernorm_back_pack(const layernorm_back<T> &a, int64_t r, int at, const float (&x)[PACK],
                                     const float (&dy)[PACK], const layernorm_scale &s, float (&dweight)[PACK],
                                     float (&dbias)[PACK]) {
    float w[PACK], dx[PACK];
    pack_load(w, a.weight, at, a.pieces.columns, a.wide);
    for (int j = 0; j < PACK; j++) {
        dx[j] = s.rstd * (w[j] * dy[j] - s.mean_g - (x[j] - s.mean) * s.slope);
        dweight[j] += dy[j] * ((x[j] - s.mean) * s.rstd);
        dbias[j] += dy[j];
    }
    if (a.dx.data) pack_deliver(a.dx.row(r), at, a.pieces.columns, a.wide, dx, a.add);
}

/* Adds this thread's share of sum(g) and sum(g (x - mean)); columns that do not exist have dy = 0. */
template <typename T>
SIMT_DEVICE void layernorm_dot(const layernorm_back<T> &a, int at, const float (&x)[PACK], const float (&dy)[PACK],
                               float mean, float *sum, float *product) {
    float w[PACK];
    pack_load(w, a.weight, at, a.pieces.columns, a.wide);
    for (int j = 0; j < PACK; j++) {
        *sum += w[j] * dy[j];
        *product += w[j] * dy[j] * (x[j] - mean);
    }
}

template <typename T, int ITEMS, bool WARP> SIMT_KERNEL(ROW_THREADS) k_layernorm_bwd(layernorm_back<T> a) {
    float *shared = simt_shared<float>(), dweight[ITEMS][PACK] = {}, dbias[ITEMS][PACK] = {};
    int64_t part = blockIdx.x * a.pieces.stride;
    int width = a.pieces.columns;
    int64_t first = blockIdx.x * a.pieces.length, end = first + a.pieces.length;
    if (end > a.pieces.rows) end = a.pieces.rows;
    for (int64_t r = first + (WARP ? simt_warp() : 0); r < end; r += WARP ? ROW_WARPS : 1) {
        float x[ITEMS][PACK], dy[ITEMS][PACK], x_more[PACK], dy_more[PACK], sum = 0.0f, product = 0.0f;
        layernorm_scale s = {*a.mean.row(r), *a.rstd.row(r), 0.0f, 0.0f};
        for (int i = 0; i < ITEMS; i++) {
            pack_load(x[i], a.x.row(r), row_column<WARP>(i), width, a.wide);
            pack_load(dy[i], a.dy.row(r), row_column<WARP>(i), width, a.wide);
        }
        for (int i = 0; i < ITEMS; i++) layernorm_dot(a, row_column<WARP>(i), x[i], dy[i], s.mean, &sum, &product);
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, width); i++) {
            pack_load(x_more, a.x.row(r), row_column<WARP>(i), width, a.wide);
            pack_load(dy_more, a.dy.row(r), row_column<WARP>(i), width, a.wide);
            layernorm_dot(a, row_column<WARP>(i), x_more, dy_more, s.mean, &sum, &product);
        }
        s.mean_g = row_sum<WARP>(sum, shared) / static_cast<float>(width);
        s.slope = row_sum<WARP>(product, shared) * s.rstd * s.rstd / static_cast<float>(width);
        for (int i = 0; i < ITEMS; i++) {
            layernorm_back_pack(a, r, row_column<WARP>(i), x[i], dy[i], s, dweight[i], dbias[i]);
        }
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, width); i++) { /* their sums: in scratch from the start */
            float dweight_more[PACK] = {}, dbias_more[PACK] = {};
            int at = row_column<WARP>(i);
            pack_load(x_more, a.x.row(r), at, width, a.wide);
            pack_load(dy_more, a.dy.row(r), at, width, a.wide);
            layernorm_back_pack(a, r, at, x_more, dy_more, s, dweight_more, dbias_more);
            if (!a.dweight) continue;
            pack_deliver(a.dweight + part, at, width, true, dweight_more, r > first);
            pack_deliver(a.dbias + part, at, width, true, dbias_more, r > first);
        }
    }
    if (!a.dweight) return;
    part_store<ITEMS, WARP>(dweight, a.dweight + part, a.pieces, shared);
    part_store<ITEMS, WARP>(dbias, a.dbias + part, a.pieces, shared);
}

template <typename T> static mmrec_status forward_as(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[IN_X], &weight = call->in[IN_WEIGHT], &bias = call->in[IN_BIAS], &y = call->out[0];
    layernorm_front<T> a;
    a.x = matrix_of<const T>(x);
    a.y = matrix_of<T>(y);
    a.weight = static_cast<const float *>(weight.data);
    a.bias = static_cast<const float *>(bias.data);
    a.mean = matrix_of<float>(call->saved[0]);
    a.rstd = matrix_of<float>(call->saved[1]);
    a.rows = mmrec_shape_rows(&x.shape);
    a.width = static_cast<int>(mmrec_shape_columns(&x.shape));
    a.eps = static_cast<float>(call->sizes->attr[0]);
    a.wide = packs(x) && packs(weight) && packs(bias) && packs(y);
    simt_shape shape = {row_grid(a.rows, a.width), ROW_THREADS, 32 * sizeof(float), SIMT_FREE, 0};
    ROWS_BY_WIDTH(a.width, ITEMS, WARP, return SIMT_LAUNCH((k_layernorm_fwd<T, ITEMS, WARP>), shape, error, a));
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(row_check("layernorm", mmrec_shape_columns(&call->in[IN_X].shape), error));
    SIMT_BY_DTYPE(call->in[IN_X], T, return forward_as<T>(call, error));
}

template <typename T> static mmrec_status backward_as(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[IN_X], &weight = call->in[IN_WEIGHT], &dy = call->d_out[0], &dx = call->d_in[IN_X];
    float *dweight = static_cast<float *>(call->d_in[IN_WEIGHT].data);
    float *dbias = static_cast<float *>(call->d_in[IN_BIAS].data);
    layernorm_back<T> a;
    a.x = matrix_of<const T>(x);
    a.dy = matrix_of<const T>(dy);
    a.dx = matrix_of<T>(dx);
    a.weight = static_cast<const float *>(weight.data);
    a.mean = matrix_of<const float>(call->saved[0]);
    a.rstd = matrix_of<const float>(call->saved[1]);
    a.pieces = pieces_of_norm(mmrec_shape_rows(&x.shape), mmrec_shape_columns(&x.shape));
    a.dweight = dweight || dbias ? static_cast<float *>(call->scratch) : nullptr;
    a.dbias = a.dweight ? a.dweight + a.pieces.count * a.pieces.stride : nullptr;
    a.wide = packs(x) && packs(weight) && packs(dy) && packs(dx);
    a.add = call_adds(call, IN_X);
    simt_shape shape = {static_cast<unsigned>(a.pieces.count), ROW_THREADS, row_share_bytes(a.pieces), SIMT_FREE, 0};
    ROWS_BY_WIDTH(a.pieces.columns, ITEMS, WARP,
                  MMREC_TRY(SIMT_LAUNCH((k_layernorm_bwd<T, ITEMS, WARP>), shape, error, a)));
    return columns_join({a.dweight, dweight, call_adds(call, IN_WEIGHT)}, {a.dbias, dbias, call_adds(call, IN_BIAS)},
                        a.pieces, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *d_in = call->d_in;
    if (!d_in[IN_X].data && !d_in[IN_WEIGHT].data && !d_in[IN_BIAS].data) return MMREC_OK;
    MMREC_TRY(row_check("layernorm", mmrec_shape_columns(&call->in[IN_X].shape), error));
    SIMT_BY_DTYPE(call->in[IN_X], T, return backward_as<T>(call, error));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_layernorm = {{forward, backward}};
