/* rmsnorm: y = w x / (rms + eps), rms = sqrt(mean of x^2 over a row); with g = w dy and d = rms + eps:
 *   dx = g / d - x sum(g x) / (d^2 D rms),   dw = sum over rows of dy x / d.
 *
 * Source: host/ops/rmsnorm.c.
 *
 *   x, y, dy, dx   (rows, D)   float or bf16, rows may be slices of wider ones
 *   w, dw          (D)         float
 *   rms            (rows, 1)   float, saved
 *   scratch        (pieces, D) float, backward: partial sums of dw
 *
 * A warp has a row, a block where D > 1024 (rows.cuh). The row stays in registers from the sum to the result, so x is
 * read once: 8 bytes an element forward and 12 backward in float. Backward a block has a piece of the rows; each thread
 * keeps the sums of dw for its columns in registers, so dw costs no second reading of x and dy (8 bytes an element),
 * only one row of scratch a piece: at 2048 rows an eighth of one of the arrays.
 *
 * Order of sums: a row's by lanes then over lanes; dw by rows in a warp, warps, pieces (columns.cuh). Fixed.
 * Considered: the row in shared memory, one code for every width: a barrier for every row, where a warp needs none. */
#include "columns.cuh"

enum { IN_X, IN_WEIGHT };

template <typename T, int ITEMS, bool WARP>
SIMT_KERNEL(ROW_THREADS)
k_rmsnorm_fwd(matrix<const T> x, const float *weight, matrix<T> y, matrix<float> rms, int64_t rows, int width,
              float eps, bool wide) {
    float *shared = simt_shared<float>();
    for (int64_t r = row_first<WARP>(); r < rows; r += row_step<WARP>()) {
        float v[ITEMS][PACK], w[PACK], sum = 0.0f;
        for (int i = 0; i < ITEMS; i++) pack_load(v[i], x.row(r), row_column<WARP>(i), width, wide);
        for (int i = 0; i < ITEMS; i++) {
            for (int j = 0; j < PACK; j++) sum += v[i][j] * v[i][j];
        }
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, width); i++) {
            float more[PACK];
            pack_load(more, x.row(r), row_column<WARP>(i), width, wide);
            for (int j = 0; j < PACK; j++) sum += more[j] * more[j];
        }
        float root = sqrtf(row_sum<WARP>(sum, shared) / static_cast<float>(width)), scale = 1.0f / (root + eps);
        if (row_lane<WARP>() == 0) *rms.row(r) = root;
        for (int i = 0; i < ITEMS; i++) {
            pack_load(w, weight, row_column<WARP>(i), width, wide);
            for (int j = 0; j < PACK; j++) v[i][j] *= w[j] * scale;
            pack_deliver(y.row(r), row_column<WARP>(i), width, wide, v[i], false);
        }
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, width); i++) {
            float more[PACK];
            pack_load(more, x.row(r), row_column<WARP>(i), width, wide);
            pack_load(w, weight, row_column<WARP>(i), width, wide);
            for (int j = 0; j < PACK; j++) more[j] *= w[j] * scale;
            pack_deliver(y.row(r), row_column<WARP>(i), width, wide, more, false);
        }
    }
}

template <typename T> struct rmsnorm_back {
    matrix<const T> x, dy;
    matrix<T> dx;
    const float *weight;
    matrix<const float> rms;
    float *parts; /* NULL: dw is not wanted */
    row_pieces pieces;
    float eps;
    bool wide, add;
};

/* Four columns of a row: dx, and the share of dw added to `part`. */
template <typename T>
SIMT_DEVICE void rmsnorm_pack(const rmsnorm_back<T> &a, int64_t r, int at, const float (&x)[PACK],
                              const float (&dy)[PACK], float scale, float back, float (&part)[PACK]) {
    float w[PACK], dx[PACK];
    pack_load(w, a.weight, at, a.pieces.columns, a.wide);
    for (int j = 0; j < PACK; j++) {
        dx[j] = w[j] * dy[j] * scale - x[j] * back;
        part[j] += dy[j] * x[j] * scale;
    }
    if (a.dx.data) pack_deliver(a.dx.row(r), at, a.pieces.columns, a.wide, dx, a.add);
}

/* This thread's share of sum(w dy x) over four columns. */
SIMT_DEVICE float rmsnorm_dot(const float *weight, int at, int width, bool wide, const float (&x)[PACK],
                              const float (&dy)[PACK]) {
    float w[PACK], sum = 0.0f;
    pack_load(w, weight, at, width, wide);
    for (int j = 0; j < PACK; j++) sum += w[j] * dy[j] * x[j];
    return sum;
}

template <typename T, int ITEMS, bool WARP> SIMT_KERNEL(ROW_THREADS) k_rmsnorm_bwd(rmsnorm_back<T> a) {
    float *shared = simt_shared<float>(), part[ITEMS][PACK] = {};
    int64_t to = blockIdx.x * a.pieces.stride;
    int width = a.pieces.columns;
    int64_t first = blockIdx.x * a.pieces.length, end = first + a.pieces.length;
    if (end > a.pieces.rows) end = a.pieces.rows;
    for (int64_t r = first + (WARP ? simt_warp() : 0); r < end; r += WARP ? ROW_WARPS : 1) {
        float x[ITEMS][PACK], dy[ITEMS][PACK], x_more[PACK], dy_more[PACK], sum = 0.0f;
        for (int i = 0; i < ITEMS; i++) {
            pack_load(x[i], a.x.row(r), row_column<WARP>(i), width, a.wide);
            pack_load(dy[i], a.dy.row(r), row_column<WARP>(i), width, a.wide);
        }
        for (int i = 0; i < ITEMS; i++) {
            sum += rmsnorm_dot(a.weight, row_column<WARP>(i), width, a.wide, x[i], dy[i]);
        }
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, width); i++) {
            pack_load(x_more, a.x.row(r), row_column<WARP>(i), width, a.wide);
            pack_load(dy_more, a.dy.row(r), row_column<WARP>(i), width, a.wide);
            sum += rmsnorm_dot(a.weight, row_column<WARP>(i), width, a.wide, x_more, dy_more);
        }
        float rms = *a.rms.row(r), scale = 1.0f / (rms + a.eps);
        sum = row_sum<WARP>(sum, shared) * scale * scale;
        float back = rms > 0.0f ? sum / (static_cast<float>(width) * rms) : 0.0f;
        for (int i = 0; i < ITEMS; i++) {
            rmsnorm_pack(a, r, row_column<WARP>(i), x[i], dy[i], scale, back, part[i]);
        }
        for (int i = ITEMS; row_beyond<ITEMS, WARP>(i, width); i++) { /* sums of dw: in scratch from the start */
            float more[PACK] = {};
            int at = row_column<WARP>(i);
            pack_load(x_more, a.x.row(r), at, width, a.wide);
            pack_load(dy_more, a.dy.row(r), at, width, a.wide);
            rmsnorm_pack(a, r, at, x_more, dy_more, scale, back, more);
            if (a.parts) pack_deliver(a.parts + to, at, width, true, more, r > first);
        }
    }
    if (a.parts) part_store<ITEMS, WARP>(part, a.parts + to, a.pieces, shared);
}

static float epsilon(const mmrec_op_call *call) { return static_cast<float>(call->sizes->attr[0]); }

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[IN_X], &weight = call->in[IN_WEIGHT], &y = call->out[0];
    int64_t rows = mmrec_shape_rows(&x.shape), width = mmrec_shape_columns(&x.shape);
    MMREC_TRY(row_check("rmsnorm", width, error));
    simt_shape shape = {row_grid(rows, width), ROW_THREADS, 32 * sizeof(float), SIMT_FREE, 0};
    bool wide = packs(x) && packs(weight) && packs(y);
    SIMT_BY_DTYPE(x, T,
                  ROWS_BY_WIDTH(width, ITEMS, WARP,
                                return SIMT_LAUNCH((k_rmsnorm_fwd<T, ITEMS, WARP>), shape, error, matrix_of<const T>(x),
                                                   static_cast<const float *>(weight.data), matrix_of<T>(y),
                                                   matrix_of<float>(call->saved[0]), rows, static_cast<int>(width),
                                                   epsilon(call), wide)));
}

template <typename T> static mmrec_status backward_as(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &x = call->in[IN_X], &weight = call->in[IN_WEIGHT], &dy = call->d_out[0], &dx = call->d_in[IN_X];
    float *dweight = static_cast<float *>(call->d_in[IN_WEIGHT].data);
    rmsnorm_back<T> a;
    a.x = matrix_of<const T>(x);
    a.dy = matrix_of<const T>(dy);
    a.dx = matrix_of<T>(dx);
    a.weight = static_cast<const float *>(weight.data);
    a.rms = matrix_of<const float>(call->saved[0]);
    a.parts = dweight ? static_cast<float *>(call->scratch) : nullptr;
    a.pieces = pieces_of_norm(mmrec_shape_rows(&x.shape), mmrec_shape_columns(&x.shape));
    a.eps = epsilon(call);
    a.wide = packs(x) && packs(weight) && packs(dy) && packs(dx);
    a.add = call_adds(call, IN_X);
    simt_shape shape = {static_cast<unsigned>(a.pieces.count), ROW_THREADS, row_share_bytes(a.pieces), SIMT_FREE, 0};
    ROWS_BY_WIDTH(a.pieces.columns, ITEMS, WARP,
                  MMREC_TRY(SIMT_LAUNCH((k_rmsnorm_bwd<T, ITEMS, WARP>), shape, error, a)));
    column_join<float> join = {a.parts, dweight, call_adds(call, IN_WEIGHT)};
    return columns_join(join, {nullptr, nullptr, false}, a.pieces, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    if (!call->d_in[IN_X].data && !call->d_in[IN_WEIGHT].data) return MMREC_OK;
    MMREC_TRY(row_check("rmsnorm", mmrec_shape_columns(&call->in[IN_X].shape), error));
    SIMT_BY_DTYPE(call->in[IN_X], T, return backward_as<T>(call, error));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_rmsnorm = {{forward, backward}};
