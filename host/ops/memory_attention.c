/* memory_attention: per head, ctx = softmax(query key^T / sqrt(D / H)) value, over the M slots of a memory.
 *
 * Source: step 5 of the MM-Rec block. Head h owns the columns [h D/H, (h + 1) D/H) of query, key, value and ctx. The
 * memory is one for all batch rows (no leading axis, or one of size 1) or one per row; the gradients of a shared one
 * are sums over the batch, in batch order.
 * The probabilities are saved as (H, B, T, M): all rows that read one memory through one head lie together, so a
 * shared memory sees one matrix of B T rows.
 * Backward of the softmax: ds = p (dp - sum dp p) / sqrt(D / H). */
#include "attention_device.h"
#include "memory_rows.h"

#if MMREC_REAL_F32
#include <omp.h>

#include "fast_loop.h"
#include "fast_math.h"
#endif

enum { IN_QUERY, IN_KEY, IN_VALUE };
enum { ATTR_HEADS };

/* Query rows that one step of the float functions takes: 128 x 64 scores are 32 KiB and stay in the second cache from
 * one GEMM over the softmax to the next. 64 and 256 rows differ from it by less than a tenth. */
enum { TILE = 128 };

/* Rows that read one memory. */
static int64_t rows_per_memory(const mmrec_op_sizes *sizes) {
    return MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, T) / memory_count(sizes);
}

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    int64_t width = MMREC_SIZE(sizes, D);
    double heads = sizes->attr[ATTR_HEADS];
    if (!(heads >= 1 && heads <= (double)width) || heads != (double)(int64_t)heads || width % (int64_t)heads != 0) {
        MMREC_FAIL(error, MMREC_SHAPE,
                   "memory_attention: %g heads do not divide the width %lld; choose a divisor of it", heads,
                   (long long)width);
    }
    MMREC_TRY(memory_check("memory_attention", sizes, error));
    MMREC_SIZE(sizes, H) = (int64_t)heads;
    size_t slots = (size_t)MMREC_SIZE(sizes, M);
#if MMREC_REAL_F32
    sizes->scratch_bytes[MMREC_BACKWARD] = (size_t)sizes->threads * TILE * slots * sizeof(float);
#else
    sizes->scratch_bytes[MMREC_BACKWARD] = slots * sizeof(real);
#endif
    return MMREC_OK;
}

/* One query row seen by one head: which rows and columns of the views it meets. */
typedef struct head_row {
    int64_t row;           /* of query and ctx */
    int64_t slot;          /* first row of its memory */
    int64_t probs;         /* row of the saved probabilities */
    int64_t column, width; /* of the head */
    int64_t slots;
} head_row;

static head_row head_row_of(const mmrec_op_call *call, int64_t h, int64_t row) {
    const mmrec_op_sizes *sizes = call->sizes;
    int64_t width = MMREC_SIZE(sizes, D) / MMREC_SIZE(sizes, H), slots = MMREC_SIZE(sizes, M);
    head_row x = {row, row / rows_per_memory(sizes) * slots, 0, h * width, width, slots};
    x.probs = h * MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, T) + row;
    return x;
}

static double score_scale(const mmrec_op_sizes *sizes) {
    return 1.0 / sqrt((double)MMREC_SIZE(sizes, D) / (double)MMREC_SIZE(sizes, H));
}

static real dot(const real *a, const real *b, int64_t count) {
    real sum = 0;
    for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

static void softmax(real *p, int64_t count) {
    real largest = p[0], sum = 0;
    for (int64_t j = 1; j < count; j++) {
        if (real_value(p[j]) > real_value(largest)) largest = p[j];
    }
    for (int64_t j = 0; j < count; j++) {
        p[j] = real_exp(p[j] - largest);
        sum += p[j];
    }
    for (int64_t j = 0; j < count; j++) p[j] = p[j] / sum;
}

static void attend(const mmrec_op_call *call, const head_row *x) {
    const mmrec_view *key = &call->in[IN_KEY], *value = &call->in[IN_VALUE];
    const real *query = view_row(&call->in[IN_QUERY], x->row) + x->column;
    real *p = view_row(&call->saved[0], x->probs), *ctx = view_row(&call->out[0], x->row) + x->column;
    for (int64_t j = 0; j < x->slots; j++) {
        real score = dot(query, view_row(key, x->slot + j) + x->column, x->width);
        p[j] = score * (real)score_scale(call->sizes);
    }
    softmax(p, x->slots);
    for (int64_t d = 0; d < x->width; d++) {
        real sum = 0;
        for (int64_t j = 0; j < x->slots; j++) sum += p[j] * view_row(value, x->slot + j)[x->column + d];
        ctx[d] = sum;
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->out[0].shape);
    for (int64_t h = 0; h < MMREC_SIZE(call->sizes, H); h++) {
        for (int64_t row = 0; row < rows; row++) {
            head_row x = head_row_of(call, h, row);
            attend(call, &x);
        }
    }
    return MMREC_OK;
}

/* ds, the gradient of the scores before scaling, for one row. */
static void score_gradient(const mmrec_op_call *call, const head_row *x, real *ds) {
    const real *p = view_row(&call->saved[0], x->probs), *dctx = view_row(&call->d_out[0], x->row) + x->column;
    for (int64_t j = 0; j < x->slots; j++) {
        ds[j] = dot(dctx, view_row(&call->in[IN_VALUE], x->slot + j) + x->column, x->width);
    }
    real sum = dot(ds, p, x->slots);
    for (int64_t j = 0; j < x->slots; j++) ds[j] = p[j] * (ds[j] - sum) * (real)score_scale(call->sizes);
}

/* Adds one row's share to the gradients of its memory: dkey += ds^T query, dvalue += p^T dctx. */
static void memory_gradient(const mmrec_op_call *call, const head_row *x, const real *ds) {
    const mmrec_view *dkey = &call->d_in[IN_KEY], *dvalue = &call->d_in[IN_VALUE];
    const real *query = view_row(&call->in[IN_QUERY], x->row), *dctx = view_row(&call->d_out[0], x->row);
    const real *p = view_row(&call->saved[0], x->probs);
    for (int64_t j = 0; j < x->slots; j++) {
        for (int64_t d = x->column; d < x->column + x->width; d++) {
            if (dkey->data) view_row(dkey, x->slot + j)[d] += ds[j] * query[d];
            if (dvalue->data) view_row(dvalue, x->slot + j)[d] += p[j] * dctx[d];
        }
    }
}

static void query_gradient(const mmrec_op_call *call, const head_row *x, const real *ds) {
    real *dquery = view_row(&call->d_in[IN_QUERY], x->row) + x->column;
    for (int64_t d = 0; d < x->width; d++) {
        real sum = 0;
        for (int64_t j = 0; j < x->slots; j++) sum += ds[j] * view_row(&call->in[IN_KEY], x->slot + j)[x->column + d];
        deliver(&dquery[d], sum, accumulates(call, IN_QUERY));
    }
}

/* A gradient that rows will add to starts from zero, or from what it is to be added to. */
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
    real *ds = (real *)call->scratch;
    int64_t rows = mmrec_shape_rows(&call->d_out[0].shape);
    start_sum(call, IN_KEY);
    start_sum(call, IN_VALUE);
    for (int64_t h = 0; h < MMREC_SIZE(call->sizes, H); h++) {
        for (int64_t row = 0; row < rows; row++) {
            head_row x = head_row_of(call, h, row);
            score_gradient(call, &x, ds);
            if (call->d_in[IN_QUERY].data) query_gradient(call, &x, ds);
            memory_gradient(call, &x, ds);
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* A block of a view as CBLAS takes it. */
typedef struct block {
    float *at;
    int rows, columns, stride;
} block;

static block block_of(const mmrec_view *view, int64_t row, int64_t column, int64_t rows, int64_t columns) {
    block b = {view_row(view, row) + column, (int)rows, (int)columns, (int)view->stride};
    return b;
}

/* c = a b + beta c, with a and b as they lie or transposed. */
static void multiply(block a, bool transpose_a, block b, bool transpose_b, float beta, block c) {
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans, c.rows,
                c.columns, transpose_a ? a.rows : a.columns, 1.0f, a.at, a.stride, b.at, b.stride, beta, c.at,
                c.stride);
}

static void scaled_softmax(float *restrict p, int64_t count, float scale) {
    float largest = p[0], sum = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t j = 0; j < count; j++) largest = p[j] > largest ? p[j] : largest;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
        p[j] = fast_expf(scale * (p[j] - largest));
        sum += p[j];
    }
    float inverse = 1.0f / sum;
    for (int64_t j = 0; j < count; j++) p[j] *= inverse;
}

/* `count` query rows from x on. */
static void attend_tile(const mmrec_op_call *call, const head_row *x, int64_t count) {
    block query = block_of(&call->in[IN_QUERY], x->row, x->column, count, x->width);
    block key = block_of(&call->in[IN_KEY], x->slot, x->column, x->slots, x->width);
    block value = block_of(&call->in[IN_VALUE], x->slot, x->column, x->slots, x->width);
    block probs = block_of(&call->saved[0], x->probs, 0, count, x->slots);
    float scale = 1.0f / sqrtf((float)x->width);
    multiply(query, false, key, true, 0.0f, probs);
    for (int64_t i = 0; i < count; i++) scaled_softmax(view_row(&call->saved[0], x->probs + i), x->slots, scale);
    multiply(probs, false, value, false, 0.0f, block_of(&call->out[0], x->row, x->column, count, x->width));
}

static mmrec_status check_strides(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *const views[] = {&call->in[IN_QUERY],   &call->in[IN_KEY],   &call->in[IN_VALUE],
                                       &call->d_in[IN_QUERY], &call->d_in[IN_KEY], &call->d_in[IN_VALUE],
                                       &call->out[0],         &call->d_out[0],     &call->saved[0]};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        if (views[i]->stride > INT_MAX || mmrec_shape_rows(&views[i]->shape) > INT_MAX) {
            MMREC_FAIL(error, MMREC_SHAPE, "memory_attention: more than %d rows or columns; use smaller pieces",
                       INT_MAX);
        }
    }
    return MMREC_OK;
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(check_strides(call, error));
    const mmrec_op_sizes *sizes = call->sizes;
    int64_t heads = MMREC_SIZE(sizes, H), per_memory = rows_per_memory(sizes), tiles = fast_blocks(per_memory, TILE);
    int64_t items = heads * memory_count(sizes) * tiles;
#pragma omp parallel for num_threads(sizes->threads) schedule(static)
    for (int64_t i = 0; i < items; i++) {
        int64_t first = i % tiles * TILE, memory = i / tiles % memory_count(sizes), h = i / tiles / memory_count(sizes);
        head_row x = head_row_of(call, h, memory * per_memory + first);
        attend_tile(call, &x, fast_min(TILE, per_memory - first));
    }
    return MMREC_OK;
}

/* dp becomes ds, in place. */
static void softmax_back(const float *restrict p, float *restrict dp, int64_t count, float scale) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) sum += p[j] * dp[j];
    for (int64_t j = 0; j < count; j++) dp[j] = p[j] * (dp[j] - sum) * scale;
}

/* All gradients of `count` rows from x on; the first tile of a memory overwrites where nothing is to be added to. */
static void backward_tile(const mmrec_op_call *call, const head_row *x, int64_t count, bool first, float *scratch) {
    const mmrec_view *d_in = call->d_in;
    block query = block_of(&call->in[IN_QUERY], x->row, x->column, count, x->width);
    block key = block_of(&call->in[IN_KEY], x->slot, x->column, x->slots, x->width);
    block value = block_of(&call->in[IN_VALUE], x->slot, x->column, x->slots, x->width);
    block dctx = block_of(&call->d_out[0], x->row, x->column, count, x->width);
    block probs = block_of(&call->saved[0], x->probs, 0, count, x->slots);
    block ds = {scratch, (int)count, (int)x->slots, (int)x->slots};
    float scale = 1.0f / sqrtf((float)x->width);
    multiply(dctx, false, value, true, 0.0f, ds);
    for (int64_t i = 0; i < count; i++) {
        softmax_back(view_row(&call->saved[0], x->probs + i), scratch + i * x->slots, x->slots, scale);
    }
    if (d_in[IN_QUERY].data) {
        float beta = accumulates(call, IN_QUERY) ? 1.0f : 0.0f;
        multiply(ds, false, key, false, beta, block_of(&d_in[IN_QUERY], x->row, x->column, count, x->width));
    }
    if (d_in[IN_KEY].data) {
        float beta = first && !accumulates(call, IN_KEY) ? 0.0f : 1.0f;
        multiply(ds, true, query, false, beta, block_of(&d_in[IN_KEY], x->slot, x->column, x->slots, x->width));
    }
    if (d_in[IN_VALUE].data) {
        float beta = first && !accumulates(call, IN_VALUE) ? 0.0f : 1.0f;
        multiply(probs, true, dctx, false, beta, block_of(&d_in[IN_VALUE], x->slot, x->column, x->slots, x->width));
    }
}

/* Threads take whole (head, memory) pairs, 8 or more at the model's sizes, whose tiles then run in order: the sums of
 * a memory's gradients need neither locks nor partial copies. */
static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(check_strides(call, error));
    const mmrec_op_sizes *sizes = call->sizes;
    int64_t memories = memory_count(sizes), pairs = MMREC_SIZE(sizes, H) * memories;
    int64_t per_memory = rows_per_memory(sizes);
#pragma omp parallel for num_threads(sizes->threads) schedule(static)
    for (int64_t i = 0; i < pairs; i++) {
        float *scratch = (float *)call->scratch + omp_get_thread_num() * TILE * MMREC_SIZE(sizes, M);
        for (int64_t first = 0; first < per_memory; first += TILE) {
            head_row x = head_row_of(call, i / memories, i % memories * per_memory + first);
            backward_tile(call, &x, fast_min(TILE, per_memory - first), first == 0, scratch);
        }
    }
    return MMREC_OK;
}
#endif

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    int64_t floats = attention_scores(sizes) + 2 * attention_parts(sizes);
    return pass == MMREC_BACKWARD ? (size_t)floats * sizeof(float) : 0;
}

/* Per row and head: the products 2 slots width each, 4 in backward and a fifth for the gradient of the scores. */
static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double rows = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, T), slots = (double)MMREC_SIZE(sizes, M);
    double products = 2 * rows * slots * (double)MMREC_SIZE(sizes, D),
           scores = rows * slots * (double)MMREC_SIZE(sizes, H);
    mmrec_work w = {pass == MMREC_FORWARD ? 2 * products + 4 * scores : 4 * products + 5 * scores,
                    pass == MMREC_FORWARD ? scores : 0, 0};
    return w;
}

static const char *const samples[] = {"B=1 T=1 M=1 D=1 heads=1",       "B=2 T=2 M=3 D=6 heads=2",
                                      "B=3 N=3 T=3 M=5 D=15 heads=3",  "B=2 N=1 T=17 M=7 D=26 heads=2",
                                      "B=3 T=101 M=17 D=8 heads=4",    "B=2 N=2 T=259 M=5 D=4 heads=1",
                                      "B=1 N=1 T=5 M=65 D=66 heads=1", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(memory_attention);
const mmrec_op_def MMREC_OP_DEFINE(memory_attention) = {
    .name = "memory_attention",
    .formula = "ctx = softmax(query key^T / sqrt(D / H)) value, per head",
    .source = "step 5 of the block, the read from memory",
    .in = {{.name = "query", .dims = "B T D", .flags = MMREC_ARG_KEEP},
           {.name = "key", .dims = "* M D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32},
           {.name = "value", .dims = "* M D", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32}},
    .out = {{.name = "ctx", .dims = "B T D"}},
    .saved = {{.name = "probs", .dims = "H B T M", .flags = MMREC_ARG_F32}},
    .attr = {"heads"},
    .attr_default = {1},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance = {2e-6, 5e-6,
                  "scores of magnitude up to 30 are rounded to 2e-6 before the exponential, in head widths up to 66; "
                  "gradients of the memory are sums over up to 303 rows"},
    .samples = samples,
    .bench = "B=2 T=1024 M=64 D=1024 heads=8",
};
