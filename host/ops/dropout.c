/* dropout: y = x / (1 - p) where the element's number is at least p, 0 elsewhere.
 *
 * Source: the dropouts of the MM-Rec block (docs/model.md).
 * The mask is a function of (seed, stream, element number r * columns + c), uniform in (0, 1) from Philox: it is drawn
 * again in the backward pass and takes no memory. p is compared in float, in every variant and on every backend. */
#include "fast_loop.h"

enum { ATTR_P, ATTR_STREAM };

/* to = from / (1 - p) where the mask keeps: the same map for values and for gradients. */
static void apply(const mmrec_op_call *call, const mmrec_view *from, const mmrec_view *to, bool add) {
    int64_t rows = mmrec_shape_rows(&from->shape), columns = mmrec_shape_columns(&from->shape);
    float p = (float)call->sizes->attr[ATTR_P];
    uint64_t stream = (uint64_t)call->sizes->attr[ATTR_STREAM];
    real scale = (real)(1 / (1 - call->sizes->attr[ATTR_P]));
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            bool keep = mmrec_rng_uniform(call->seed, stream, (uint64_t)(r * columns + c)) >= p;
            real scaled = view_row(from, r)[c] * scale;
            deliver(&view_row(to, r)[c], keep ? scaled : (real)0, add);
        }
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    apply(call, &call->in[0], &call->out[0], false);
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    if (call->d_in[0].data) apply(call, &call->d_out[0], &call->d_in[0], accumulates(call, 0));
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* Blocks of four words that hold the numbers of one span, wherever in a block it begins. */
enum { SPAN_BLOCKS = FAST_SPAN / 4 + 1 };

/* One span from element number `index` on. */
static void apply_span(const mmrec_op_call *call, uint64_t index, int64_t count, const float *restrict from,
                       float *restrict to, bool add) {
    uint32_t words[4 * SPAN_BLOCKS];
    uint64_t seed = call->seed, stream = (uint64_t)call->sizes->attr[ATTR_STREAM];
    int64_t before = (int64_t)(index & 3), blocks = fast_blocks(before + count, 4);
    for (int64_t b = 0; b < blocks; b++) {
        mmrec_rng_block block = mmrec_rng_philox(seed, stream, (index >> 2) + (uint64_t)b);
        for (int k = 0; k < 4; k++) words[4 * b + k] = block.word[k];
    }
    const uint32_t *restrict word = words + before;
    float p = (float)call->sizes->attr[ATTR_P], scale = (float)(1 / (1 - call->sizes->attr[ATTR_P]));
    for (int64_t c = 0; c < count; c++) deliver(&to[c], mmrec_rng_unit(word[c]) >= p ? from[c] * scale : 0.0f, add);
}

static void fast_apply(const mmrec_op_call *call, const mmrec_view *from, const mmrec_view *to, bool add) {
    fast_matrix m = fast_matrix_of(from, to);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (m.rows * m.columns > FAST_SERIAL)
    for (int64_t s = 0; s < m.rows * m.spans; s++) {
        int64_t row = s / m.spans, first = s % m.spans * FAST_SPAN;
        apply_span(call, (uint64_t)(row * m.columns + first), fast_min(FAST_SPAN, m.columns - first),
                   view_row(from, row) + first, view_row(to, row) + first, add);
    }
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    fast_apply(call, &call->in[0], &call->out[0], false);
    return MMREC_OK;
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    if (call->d_in[0].data) fast_apply(call, &call->d_out[0], &call->d_in[0], accumulates(call, 0));
    return MMREC_OK;
}
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    double p = sizes->attr[ATTR_P], stream = sizes->attr[ATTR_STREAM];
    if (!(p >= 0 && p < 1)) MMREC_FAIL(error, MMREC_CONFIG, "dropout: p is %g; it must be at least 0 and below 1", p);
    if (!(stream >= 0 && stream <= 0x1p53) || stream != (double)(int64_t)stream) {
        MMREC_FAIL(error, MMREC_CONFIG, "dropout: stream is %g; it must be a whole number of at least 0", stream);
    }
    return MMREC_OK;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)pass;
    mmrec_work w = {(double)mmrec_shape_elements(&sizes->in[0]), 0, 0};
    return w;
}

static const char *const samples[] = {"N=1 D=1 p=0.5",
                                      "N=3 D=5 p=0.25",
                                      "N=17 D=13 p=0.5 stream=9",
                                      "B=2 T=3 D=65 p=0",
                                      "N=5 D=1025 p=0.3 stream=3",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(dropout);
const mmrec_op_def MMREC_OP_DEFINE(dropout) = {
    .name = "dropout",
    .formula = "y = x mask / (1 - p)",
    .source = "Srivastava et al., \"Dropout: a simple way to prevent neural networks from overfitting\", 2014",
    .in = {{.name = "x", .dims = "* D"}},
    .out = {{.name = "y", .dims = "* D"}},
    .attr = {"p", "stream"},
    .attr_default = {0.1, 0},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {2e-7, 3e-7,
                  "the scale and one product, each rounded once: eps; a third rounding where gradients are added"},
    .samples = samples,
    .bench = "N=2048 D=1024 p=0.1",
};
