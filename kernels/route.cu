/* route: y[b, s] = sum over n of weights[b, n, s] fit(tokens[b, n]), where fit pads with zeros, or cuts, from Q to D
 * features; with F = min(Q, D):
 *   dweights[n, s] = sum over d < F of tokens[n, d] dy[s, d],   dtokens[n, d] = sum over s of weights[n, s] dy[s, d]
 * for d < F, else 0.
 *
 * Source: host/ops/route.c.
 *
 *   weights, dweights   (B N, S)   float or bf16
 *   tokens, dtokens     (B N, Q)   the same type
 *   y, dy               (B S, D)   the same type
 *
 * Three products for each sample, of 64 x 64 tiles (tile.cuh), a block for each tile; what lies beyond F is a factor of
 * zeros. At S = 16 three quarters of a tile are beyond the last state: B = 32, N = 64, Q = 128 are 8.4 MFLOP forward,
 * which as full tiles are 34, half a microsecond of an H100's float units (67 TFLOP/s, data sheet) against 0.5 us for
 * the 1.4 MB at 3.35 TB/s.
 *
 * Order of sums: the inner index, in order. Fixed. Considered: cuBLASLt's strided batches, one launch as well; float
 * units are as fast at sizes where the launch is most of the time. */
#include "tile.cuh"

enum { IN_WEIGHTS, IN_TOKENS };

/* A product for each sample: to (rows, columns) = left (rows, inner) right (inner, columns), in which `passing` columns
 * of the right factor exist. Rows of a view from one sample to the next: left_rows, right_rows, rows. */
template <typename T> struct route_product {
    matrix<const T> left, right;
    matrix<T> to;
    int64_t rows, columns, inner, passing, left_rows, right_rows;
    unsigned row_tiles, column_tiles;
    bool wide, add;
};

/* LEFT, RIGHT: neighbours in memory are neighbours in the outer index of that factor (tile_factor). There are seldom
 * more tiles than a device has processors, so a block may take the registers of one (91 to 95 a thread on sm_90a); held
 * to 64, ptxas spilled 4 bytes. */
template <typename T, bool LEFT, bool RIGHT> SIMT_KERNEL_ALONE(ROW_THREADS) k_route(route_product<T> p) {
    unsigned line = blockIdx.x / p.column_tiles, b = line / p.row_tiles;
    unsigned column = (blockIdx.x - line * p.column_tiles) * TILE, row = (line - b * p.row_tiles) * TILE;
    const T *left = p.left.row(b * p.left_rows), *right = p.right.row(b * p.right_rows);
    tile_factor<T, LEFT> a = {left + (LEFT ? row : row * p.left.stride), p.left.stride, p.rows - row, p.inner, p.wide};
    tile_factor<T, RIGHT> c = {right + (RIGHT ? column : column * p.right.stride), p.right.stride, p.passing - column,
                               p.inner, p.wide};
    float sum[PACK][PACK] = {};
    tile_product(a, c, p.inner, simt_shared<float>(), sum);
    tile_deliver(p.to.row(b * p.rows + row) + column, p.to.stride, p.rows - row, p.columns - column, p.wide, p.add,
                 1.0f, sum);
}

/* Sizes of one sample's product; `left` and `right` have `left_rows` and `right_rows` rows for each. */
struct route_sizes {
    int64_t batch, rows, columns, inner, passing, left_rows, right_rows;
};

static unsigned tiles_of(int64_t count) { return static_cast<unsigned>((count + TILE - 1) / TILE); }

template <typename T, bool LEFT, bool RIGHT>
static mmrec_status multiply(const mmrec_view &left, const mmrec_view &right, const mmrec_view &to,
                             const route_sizes &s, bool add, mmrec_error *error) {
    route_product<T> p = {matrix_of<const T>(left),
                          matrix_of<const T>(right),
                          matrix_of<T>(to),
                          s.rows,
                          s.columns,
                          s.inner,
                          s.passing,
                          s.left_rows,
                          s.right_rows,
                          tiles_of(s.rows),
                          tiles_of(s.columns),
                          packs(left) && packs(right) && packs(to),
                          add};
    simt_shape shape = {static_cast<unsigned>(s.batch) * p.row_tiles * p.column_tiles, ROW_THREADS,
                        TILE_FLOATS * sizeof(float), SIMT_FREE, 0};
    return SIMT_LAUNCH((k_route<T, LEFT, RIGHT>), shape, error, p);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_op_sizes *z = call->sizes;
    int64_t given = MMREC_SIZE(z, Q), wanted = MMREC_SIZE(z, D), tokens = MMREC_SIZE(z, N);
    route_sizes s = {
        MMREC_SIZE(z, B), MMREC_SIZE(z, S), wanted, tokens, given < wanted ? given : wanted, tokens, tokens};
    SIMT_BY_DTYPE(
        call->out[0], T,
        return (multiply<T, true, true>(call->in[IN_WEIGHTS], call->in[IN_TOKENS], call->out[0], s, false, error)));
}

template <typename T> static mmrec_status backward_as(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_op_sizes *z = call->sizes;
    const mmrec_view &dy = call->d_out[0], &weights = call->in[IN_WEIGHTS], &tokens = call->in[IN_TOKENS];
    const mmrec_view &dweights = call->d_in[IN_WEIGHTS], &dtokens = call->d_in[IN_TOKENS];
    int64_t batch = MMREC_SIZE(z, B), count = MMREC_SIZE(z, N), states = MMREC_SIZE(z, S);
    int64_t given = MMREC_SIZE(z, Q), wanted = MMREC_SIZE(z, D), passing = given < wanted ? given : wanted;
    if (dweights.data) {
        route_sizes s = {batch, count, states, passing, states, count, states};
        MMREC_TRY((multiply<T, false, false>(tokens, dy, dweights, s, call_adds(call, IN_WEIGHTS), error)));
    }
    if (dtokens.data) {
        route_sizes s = {batch, count, given, states, passing, count, states};
        MMREC_TRY((multiply<T, false, true>(weights, dy, dtokens, s, call_adds(call, IN_TOKENS), error)));
    }
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    SIMT_BY_DTYPE(call->d_out[0], T, return backward_as<T>(call, error));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_route = {{forward, backward}};
