/* randn: y = scale times standard normal numbers, of `rows` x `columns`.
 *
 * Source: Box-Muller on Philox words (include/mmrec/rng.h). Element (r, c) is number r * columns + c of the stream
 * under the call's seed, so neither threads nor padding change it; all arithmetic is double and rounded once, so the
 * fast function gives the bits of the reference. */
#include "fast_loop.h"

enum { ATTR_ROWS, ATTR_COLUMNS, ATTR_SCALE, ATTR_STREAM };

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *y = &call->out[0];
    int64_t rows = mmrec_shape_rows(&y->shape), columns = mmrec_shape_columns(&y->shape);
    double scale = call->sizes->attr[ATTR_SCALE];
    uint64_t stream = (uint64_t)call->sizes->attr[ATTR_STREAM];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            view_row(y, r)[c] = (real)(scale * mmrec_rng_normal(call->seed, stream, (uint64_t)(r * columns + c)));
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* `count` numbers of the stream from number `from` on, which may lie inside a block of four. */
static void draw(const mmrec_op_call *call, uint64_t from, int64_t count, float *restrict to) {
    double scale = call->sizes->attr[ATTR_SCALE], number[4];
    uint64_t stream = (uint64_t)call->sizes->attr[ATTR_STREAM];
    for (int64_t c = 0; c < count;) {
        uint64_t index = from + (uint64_t)c;
        mmrec_rng_normal4(call->seed, stream, index >> 2, number);
        for (uint64_t k = index & 3; k < 4 && c < count; k++) to[c++] = (float)(scale * number[k]);
    }
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *y = &call->out[0];
    fast_matrix m = fast_matrix_of(y, y);
    /* A number takes 20 ns, so 256 of them are worth a second thread. */
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (m.rows * m.columns > 256)
    for (int64_t s = 0; s < m.rows * m.spans; s++) {
        int64_t row = s / m.spans, first = s % m.spans * FAST_SPAN;
        draw(call, (uint64_t)(row * m.columns + first), fast_min(FAST_SPAN, m.columns - first),
             view_row(y, row) + first);
    }
    return MMREC_OK;
}
#endif

/* Attributes are doubles, which hold every whole number up to 2^53. */
static mmrec_status whole(double value, double least, const char *name, mmrec_error *error) {
    if (!(value >= least && value <= 0x1p53) || value != (double)(int64_t)value) {
        MMREC_FAIL(error, MMREC_SHAPE, "randn: %s is %g; give a whole number of at least %g", name, value, least);
    }
    return MMREC_OK;
}

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    MMREC_TRY(whole(sizes->attr[ATTR_ROWS], 1, "rows", error));
    MMREC_TRY(whole(sizes->attr[ATTR_COLUMNS], 1, "columns", error));
    MMREC_TRY(whole(sizes->attr[ATTR_STREAM], 0, "stream", error));
    MMREC_SIZE(sizes, N) = (int64_t)sizes->attr[ATTR_ROWS];
    MMREC_SIZE(sizes, D) = (int64_t)sizes->attr[ATTR_COLUMNS];
    return MMREC_OK;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)sizes;
    (void)pass;
    mmrec_work w = {0, 0, 0}; /* the generator's arithmetic is not the tensor's */
    return w;
}

static const char *const samples[] = {"rows=1 columns=1", "rows=3 columns=5 scale=0.02 stream=7",
                                      "rows=17 columns=13 stream=1", "rows=5 columns=1025 scale=-3", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(randn);
const mmrec_op_def MMREC_OP_DEFINE(randn) = {
    .name = "randn",
    .formula = "y = scale n, n ~ N(0, 1)",
    .source = "Box and Muller, \"A note on the generation of random normal deviates\", 1958; Philox 4x32-10",
    .out = {{.name = "y", .dims = "N D"}},
    .attr = {"rows", "columns", "scale", "stream"},
    .attr_default = {1, 1, 1, 0},
    .infer = infer,
    .work = work,
    .function = {forward, NULL},
    .fast = {MMREC_FAST(fast_forward), NULL},
    .tolerance = {6e-8, 0, "the double rounded once: eps / 2"},
    .samples = samples,
    .bench = "rows=1000 columns=1000",
};
