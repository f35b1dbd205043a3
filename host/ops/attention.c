/* attention: per head, ctx = dropout(softmax(query key^T / sqrt(D / H))) value, without a matrix of all weights.
 *
 * Source: Vaswani et al., "Attention is all you need", 2017; in blocks with an online softmax as in Dao et al.,
 * "FlashAttention", 2022. Head h owns the columns [h D/H, (h + 1) D/H) of query, key, value and ctx. With s the scaled
 * scores of a query, L = log sum exp(s) over the keys that it sees:
 *
 *   p = exp(s - L),  ctx = sum_j keep_j p_j value_j          keep: 0, or 1 / (1 - p) where a weight is kept (mask.h)
 *   dvalue_j = sum_i keep p dctx_i,  dp_j = keep_j dctx . value_j,  ds = p (dp - dctx . ctx) / sqrt(D / H)
 *   dquery = sum_j ds key_j,  dkey_j = sum_i ds query_i
 *
 * Only L is kept: the weights come again from query and key. dctx . ctx is the sum of p dp, dropped weights included.
 * causal = 1: query i sees the keys 0 .. i, and nothing is computed for those behind. A key whose `visible` is below
 * one half, or NaN, is hidden from every query of its batch row. A query that sees nothing has a ctx of NaN. The weight
 * of (b, h, i, j) is element ((b H + h) T + i) M + j of dropout's mask.
 *
 * Order of sums: the reference goes through keys in order, gradients of keys and values through queries. */
#include "mask.h"

#if MMREC_REAL_F32
#include <omp.h>
#endif

enum { IN_QUERY, IN_KEY, IN_VALUE, IN_VISIBLE };
enum { ATTR_HEADS, ATTR_CAUSAL, ATTR_P, ATTR_STREAM };

/* What one head sees of one batch row. */
typedef struct head_place {
    int64_t query, key;    /* first rows: of query and ctx, of key and value */
    int64_t column, width; /* of the head */
    int64_t pair;          /* b H + h: its row of logsum */
    int64_t batch;
} head_place;

static head_place head_place_of(const mmrec_op_sizes *sizes, int64_t pair) {
    int64_t heads = MMREC_SIZE(sizes, H), width = MMREC_SIZE(sizes, D) / heads, batch = pair / heads;
    head_place x = {
        batch * MMREC_SIZE(sizes, T), batch * MMREC_SIZE(sizes, M), pair % heads * width, width, pair, batch};
    return x;
}

static bool is_causal(const mmrec_op_sizes *sizes) { return sizes->attr[ATTR_CAUSAL] != 0; }
static double score_scale(const mmrec_op_sizes *sizes) {
    return 1.0 / sqrt((double)MMREC_SIZE(sizes, D) / (double)MMREC_SIZE(sizes, H));
}
/* Number of the first weight of query i. */
static int64_t weight_number(const mmrec_op_sizes *sizes, const head_place *x, int64_t i) {
    return (x->pair * MMREC_SIZE(sizes, T) + i) * MMREC_SIZE(sizes, M);
}
static bool key_hidden(const mmrec_op_call *call, const head_place *x, int64_t j) {
    return call->in[IN_VISIBLE].data && !(view_row(&call->in[IN_VISIBLE], x->batch)[j] >= (real)0.5);
}

static real *head_row(const mmrec_view *view, int64_t row, const head_place *x) {
    return view_row(view, row) + x->column;
}

static real dot(const real *a, const real *b, int64_t count) {
    real sum = (real)0;
    for (int64_t d = 0; d < count; d++) sum += a[d] * b[d];
    return sum;
}

/* The scaled score of query i and key j, -infinity for a hidden key. */
static real score_of(const mmrec_op_call *call, const head_place *x, int64_t i, int64_t j) {
    const real *query = head_row(&call->in[IN_QUERY], x->query + i, x);
    real score = dot(query, head_row(&call->in[IN_KEY], x->key + j, x), x->width) * (real)score_scale(call->sizes);
    return key_hidden(call, x, j) ? (real)-INFINITY : score;
}

/* Scores become weights that are not divided by their sum, which is returned; their maximum goes to `top`. */
static real exponentials(real *score, int64_t count, real *top) {
    real sum = (real)0;
    *top = score[0];
    for (int64_t j = 1; j < count; j++) *top = score[j] > *top ? score[j] : *top;
    for (int64_t j = 0; j < count; j++) {
        score[j] = real_exp(score[j] - *top);
        sum += score[j];
    }
    return sum;
}

static void attend(const mmrec_op_call *call, const head_place *x, int64_t i, int64_t seen) {
    real *weight = (real *)call->scratch, *ctx = head_row(&call->out[0], x->query + i, x), top;
    mask m = mask_of(call, ATTR_P);
    for (int64_t j = 0; j < seen; j++) weight[j] = score_of(call, x, i, j);
    real sum = exponentials(weight, seen, &top);
    if (call->saved[0].data) view_row(&call->saved[0], x->pair)[i] = top + real_log(sum);
    for (int64_t j = 0; m.drops && j < seen; j++) {
        weight[j] = mask_pass(&m, weight[j], weight_number(call->sizes, x, i) + j);
    }
    for (int64_t d = 0; d < x->width; d++) {
        real mixed = (real)0;
        for (int64_t j = 0; j < seen; j++) mixed += weight[j] * head_row(&call->in[IN_VALUE], x->key + j, x)[d];
        ctx[d] = mixed / sum;
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_op_sizes *sizes = call->sizes;
    int64_t pairs = MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, H), queries = MMREC_SIZE(sizes, T);
    for (int64_t pair = 0; pair < pairs; pair++) {
        head_place x = head_place_of(sizes, pair);
        for (int64_t i = 0; i < queries; i++) attend(call, &x, i, is_causal(sizes) ? i + 1 : MMREC_SIZE(sizes, M));
    }
    return MMREC_OK;
}

/* Row r of a gradient += factor * from. */
static void add_row(const mmrec_view *to, int64_t r, const head_place *x, real factor, const real *from) {
    for (int64_t d = 0; to->data && d < x->width; d++) head_row(to, r, x)[d] += factor * from[d];
}

/* The shares of one query in all gradients. */
static void attend_back(const mmrec_op_call *call, const head_place *x, int64_t i, int64_t seen) {
    const mmrec_view *key = &call->in[IN_KEY], *value = &call->in[IN_VALUE], *d_in = call->d_in;
    const real *query = head_row(&call->in[IN_QUERY], x->query + i, x);
    const real *dctx = head_row(&call->d_out[0], x->query + i, x);
    real inner = dot(dctx, head_row(&call->out[0], x->query + i, x), x->width);
    mask m = mask_of(call, ATTR_P);
    for (int64_t j = 0; j < seen; j++) {
        real weight = real_exp(score_of(call, x, i, j) - view_row(&call->saved[0], x->pair)[i]), kept = weight;
        real dweight = dot(dctx, head_row(value, x->key + j, x), x->width);
        if (m.drops) {
            int64_t number = weight_number(call->sizes, x, i) + j;
            kept = mask_pass(&m, weight, number);
            dweight = mask_pass(&m, dweight, number);
        }
        real dscore = weight * (dweight - inner) * (real)score_scale(call->sizes);
        add_row(&d_in[IN_QUERY], x->query + i, x, dscore, head_row(key, x->key + j, x));
        add_row(&d_in[IN_KEY], x->key + j, x, dscore, query);
        add_row(&d_in[IN_VALUE], x->key + j, x, kept, dctx);
    }
}

/* Gradients start from zero, or from what they are to be added to. */
static void start_sum(const mmrec_op_call *call, int input) {
    const mmrec_view *to = &call->d_in[input];
    if (!to->data || accumulates(call, input)) return;
    int64_t rows = mmrec_shape_rows(&to->shape), columns = mmrec_shape_columns(&to->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) view_row(to, r)[c] = (real)0;
    }
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_op_sizes *sizes = call->sizes;
    int64_t pairs = MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, H), queries = MMREC_SIZE(sizes, T);
    for (int input = IN_QUERY; input <= IN_VALUE; input++) start_sum(call, input);
    for (int64_t pair = 0; pair < pairs; pair++) {
        head_place x = head_place_of(sizes, pair);
        for (int64_t i = 0; i < queries; i++) attend_back(call, &x, i, is_causal(sizes) ? i + 1 : MMREC_SIZE(sizes, M));
    }
    return MMREC_OK;
}

/* Pairs of a query and a key that meet, hidden ones included: whether `visible` hides them is not known beforehand. */
static double pairs_of(const mmrec_op_sizes *sizes) {
    double queries = (double)MMREC_SIZE(sizes, T), keys = (double)MMREC_SIZE(sizes, M);
    double heads = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, H);
    return heads * (is_causal(sizes) ? queries * (queries + 1) / 2 : queries * keys);
}

#if MMREC_REAL_F32
/* A pair and a column are some multiply-adds, where FAST_SERIAL counts elements of a plain loop. */
static bool worth_threads(const mmrec_op_sizes *sizes) {
    return pairs_of(sizes) * (double)MMREC_SIZE(sizes, D) / (double)MMREC_SIZE(sizes, H) > FAST_SERIAL;
}

#include "attention_backward.h"
#include "attention_forward.h"
#endif

/* Scratch of the processor: a row of scores for the reference, a tile a thread for the float functions. */
static size_t scratch_of(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    size_t row = pass == MMREC_FORWARD ? (size_t)MMREC_SIZE(sizes, M) * sizeof(real) : 0;
#if MMREC_REAL_F32
    int64_t width = MMREC_SIZE(sizes, D) / MMREC_SIZE(sizes, H);
    size_t tiles = (size_t)(sizes->threads * tile_floats(width, pass == MMREC_BACKWARD)) * sizeof(float);
    return row > tiles ? row : tiles;
#else
    return row;
#endif
}

/* The kernels keep dctx . ctx of every query and head. */
static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    int64_t rows = MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, H) * MMREC_SIZE(sizes, T);
    return pass == MMREC_BACKWARD ? (size_t)rows * sizeof(float) : 0;
}

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    int64_t width = MMREC_SIZE(sizes, D), queries = MMREC_SIZE(sizes, T), keys = MMREC_SIZE(sizes, M);
    double heads = sizes->attr[ATTR_HEADS], causal = sizes->attr[ATTR_CAUSAL];
    if (!(heads >= 1 && heads <= (double)width) || heads != (double)(int64_t)heads || width % (int64_t)heads != 0) {
        MMREC_FAIL(error, MMREC_SHAPE, "attention: %g heads do not divide the width %lld; choose a divisor of it",
                   heads, (long long)width);
    }
    if (causal != 0 && causal != 1) {
        MMREC_FAIL(error, MMREC_CONFIG, "attention: causal is %g; it must be 0 or 1", causal);
    }
    if (causal != 0 && queries != keys) {
        MMREC_FAIL(error, MMREC_SHAPE,
                   "attention: causal with %lld queries and %lld keys; it needs as many keys as queries",
                   (long long)queries, (long long)keys);
    }
    MMREC_TRY(mask_check("attention", sizes, ATTR_P, error));
    MMREC_SIZE(sizes, H) = (int64_t)heads;
    for (int pass = 0; pass < MMREC_PASSES; pass++) sizes->scratch_bytes[pass] = scratch_of(sizes, (mmrec_pass)pass);
    return MMREC_OK;
}

/* A pair: 2 products of the head's width and 5 in backward; the score's scale, its distance from the maximum and the
 * sum; backward the scale, the distance from L and 3 for the gradient of the score. A product for each use of a mask.
 */
static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double pairs = pairs_of(sizes), width = (double)MMREC_SIZE(sizes, D) / (double)MMREC_SIZE(sizes, H);
    double rows = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, H) * (double)MMREC_SIZE(sizes, T);
    double drop = sizes->attr[ATTR_P] > 0 ? 1 : 0, stored = sizes->stored & 1u;
    mmrec_work forward_work = {pairs * (4 * width + 3 + drop) + rows * (width + stored), pairs + rows * stored, 0};
    mmrec_work backward_work = {pairs * (10 * width + 5 + 2 * drop) + rows * 2 * width, pairs, 0};
    return pass == MMREC_FORWARD ? forward_work : backward_work;
}

/* Tiles of the fast functions and of the kernels end at 96 and 64: 101 and 131 lie beyond. */
static const char *const samples[] = {"B=1 T=1 M=1 D=1 -visible",
                                      "B=2 T=3 M=5 D=6 heads=2",
                                      "B=2 T=2 M=3 D=4 heads=2 p=0.25 stream=2 -visible",
                                      "B=1 T=7 M=7 D=9 heads=3 causal=1 p=0.5 stream=3",
                                      "B=1 T=17 M=17 D=10 heads=2 causal=1 -visible",
                                      "B=1 T=101 M=101 D=2 causal=1 -visible",
                                      "B=1 T=27 M=131 D=2 p=0.25 stream=5",
                                      "B=1 T=3 M=4 D=66 -visible",
                                      "B=1 T=2 M=101 D=16 -visible",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(attention);
const mmrec_op_def MMREC_OP_DEFINE(attention) = {
    .name = "attention",
    .formula = "ctx = dropout(softmax(query key^T / sqrt(D / H))) value, per head",
    .source = "Vaswani et al., \"Attention is all you need\", 2017; in blocks: Dao et al., \"FlashAttention\", 2022",
    .in = {{.name = "query", .dims = "B T D", .flags = MMREC_ARG_KEEP},
           {.name = "key", .dims = "B M D", .flags = MMREC_ARG_KEEP},
           {.name = "value", .dims = "B M D", .flags = MMREC_ARG_KEEP},
           {.name = "visible",
            .dims = "B M",
            .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_NO_GRAD | MMREC_ARG_F32 | MMREC_ARG_KEEP,
            .low = 0,
            .high = 2}},
    .out = {{.name = "ctx", .dims = "B T D", .flags = MMREC_ARG_KEEP}},
    .saved = {{.name = "logsum", .dims = "B H T", .flags = MMREC_ARG_F32 | MMREC_ARG_OPTIONAL}},
    .attr = {"heads", "causal", "p", "stream"},
    .attr_default = {1, 0, 0, 0},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance = {2e-6, 5e-6,
                  "scores of magnitude up to 30 are rounded to 2e-6 before the exponential; gradients are sums over up "
                  "to 131 weights"},
    .samples = samples,
    .bench = "B=2 T=1024 M=1024 D=512 heads=8 causal=1 -visible",
};
