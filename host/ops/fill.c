/* fill: y = value everywhere, of `rows` x `columns`; also how automatic differentiation writes zeros or a constant.
 *
 * It has no input to take its shape from: infer reads attributes, and the functions follow the view they are given,
 * which may be any existing tensor, with padding between its rows. */
#include "fast_loop.h"

enum { ATTR_VALUE, ATTR_ROWS, ATTR_COLUMNS };

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *y = &call->out[0];
    int64_t rows = mmrec_shape_rows(&y->shape), columns = mmrec_shape_columns(&y->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) view_row(y, r)[c] = (real)call->sizes->attr[ATTR_VALUE];
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *y = &call->out[0];
    const float value = (float)call->sizes->attr[ATTR_VALUE];
    fast_matrix m = fast_matrix_of(y, y);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (m.rows * m.columns > FAST_SERIAL)
    for (int64_t s = 0; s < m.rows * m.spans; s++) {
        int64_t first = s % m.spans * FAST_SPAN, count = fast_min(FAST_SPAN, m.columns - first);
        float *restrict to = view_row(y, s / m.spans) + first;
        for (int64_t c = 0; c < count; c++) to[c] = value;
    }
    return MMREC_OK;
}
#endif

/* Attributes are doubles, which hold every whole number up to 2^53. */
static mmrec_status bind(mmrec_op_sizes *sizes, int attr, const char *name, int64_t *letter, mmrec_error *error) {
    double size = sizes->attr[attr];
    if (!(size >= 1 && size <= 0x1p53) || size != (double)(int64_t)size) {
        MMREC_FAIL(error, MMREC_SHAPE, "fill: %s is %g; give a whole number of at least 1", name, size);
    }
    *letter = (int64_t)size;
    return MMREC_OK;
}

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    MMREC_TRY(bind(sizes, ATTR_ROWS, "rows", &MMREC_SIZE(sizes, N), error));
    return bind(sizes, ATTR_COLUMNS, "columns", &MMREC_SIZE(sizes, D), error);
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)sizes;
    (void)pass;
    mmrec_work w = {0, 0, 0};
    return w;
}

static const char *const samples[] = {"rows=1 columns=1 value=1", "rows=3 columns=5 value=-2.5",
                                      "rows=17 columns=13 value=0", "rows=65 columns=1025 value=0.1", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(fill);
const mmrec_op_def MMREC_OP_DEFINE(fill) = {
    .name = "fill",
    .formula = "y = value",
    .source = "initial gradients, and gradients nothing contributes to",
    .out = {{.name = "y", .dims = "N D"}},
    .attr = {"value", "rows", "columns"},
    .attr_default = {0, 1, 1},
    .infer = infer,
    .work = work,
    .function = {forward, NULL},
    .fast = {MMREC_FAST(fast_forward), NULL},
    .tolerance = {6e-8, 0, "the value rounded once: eps / 2"},
    .samples = samples,
    .bench = "rows=1000 columns=1000 value=1",
};
