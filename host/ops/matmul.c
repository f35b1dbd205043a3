/* matmul: c = a b of two plain matrices, both stored as written.
 *
 * Source: the product itself; linear is the same with the second matrix stored transposed.
 * Order of sums: the reference adds products in the order of the inner axis; the fast functions leave it to sgemm. */
#include <limits.h>

#include "fast_loop.h"

enum { IN_A, IN_B };

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *a = &call->in[IN_A], *b = &call->in[IN_B], *c = &call->out[0];
    int64_t rows = MMREC_SIZE(call->sizes, N), inner = MMREC_SIZE(call->sizes, K), width = MMREC_SIZE(call->sizes, F);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t o = 0; o < width; o++) {
            real sum = (real)0;
            for (int64_t i = 0; i < inner; i++) sum += view_row(a, r)[i] * view_row(b, i)[o];
            view_row(c, r)[o] = sum;
        }
    }
    return MMREC_OK;
}

/* da = dc b^T */
static void left_gradient(const mmrec_op_call *call, int64_t rows, int64_t inner, int64_t width) {
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < inner; i++) {
            real sum = (real)0;
            for (int64_t o = 0; o < width; o++) {
                sum += view_row(&call->d_out[0], r)[o] * view_row(&call->in[IN_B], i)[o];
            }
            deliver(&view_row(&call->d_in[IN_A], r)[i], sum, accumulates(call, IN_A));
        }
    }
}

/* db = a^T dc */
static void right_gradient(const mmrec_op_call *call, int64_t rows, int64_t inner, int64_t width) {
    for (int64_t i = 0; i < inner; i++) {
        for (int64_t o = 0; o < width; o++) {
            real sum = (real)0;
            for (int64_t r = 0; r < rows; r++) {
                sum += view_row(&call->in[IN_A], r)[i] * view_row(&call->d_out[0], r)[o];
            }
            deliver(&view_row(&call->d_in[IN_B], i)[o], sum, accumulates(call, IN_B));
        }
    }
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = MMREC_SIZE(call->sizes, N), inner = MMREC_SIZE(call->sizes, K), width = MMREC_SIZE(call->sizes, F);
    if (call->d_in[IN_A].data) left_gradient(call, rows, inner, width);
    if (call->d_in[IN_B].data) right_gradient(call, rows, inner, width);
    return MMREC_OK;
}

#if MMREC_REAL_F32
static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    return fast_gemm(&call->in[IN_A], false, &call->in[IN_B], false, &call->out[0], false, error);
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *a = &call->in[IN_A], *b = &call->in[IN_B], *dc = &call->d_out[0];
    const mmrec_view *da = &call->d_in[IN_A], *db = &call->d_in[IN_B];
    if (da->data) MMREC_TRY(fast_gemm(dc, false, b, true, da, accumulates(call, IN_A), error));
    if (db->data) MMREC_TRY(fast_gemm(a, true, dc, false, db, accumulates(call, IN_B), error));
    return MMREC_OK;
}
#endif

/* CBLAS counts in int; the refusal stands here so that every backend takes the same sizes. */
static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    int64_t rows = MMREC_SIZE(sizes, N), inner = MMREC_SIZE(sizes, K), width = MMREC_SIZE(sizes, F);
    if (rows > INT_MAX || inner > INT_MAX || width > INT_MAX) {
        MMREC_FAIL(error, MMREC_SHAPE,
                   "matmul: (%lld, %lld) times (%lld, %lld), but no size may exceed %d; multiply smaller pieces",
                   (long long)rows, (long long)inner, (long long)inner, (long long)width, INT_MAX);
    }
    return MMREC_OK;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double product = (double)MMREC_SIZE(sizes, N) * (double)MMREC_SIZE(sizes, K) * (double)MMREC_SIZE(sizes, F);
    mmrec_work w = {(pass == MMREC_FORWARD ? 2 : 4) * product, 0, 0};
    return w;
}

static const char *const samples[] = {
    "N=1 K=1 F=1", "N=3 K=5 F=7", "N=17 K=13 F=1", "N=65 K=33 F=17", "N=2 K=67 F=65", "N=3 K=331 F=5", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(matmul);
const mmrec_op_def MMREC_OP_DEFINE(matmul) = {
    .name = "matmul",
    .formula = "c = a b",
    .source = "the matrix product",
    .in = {{.name = "a", .dims = "N K", .flags = MMREC_ARG_KEEP},
           {.name = "b", .dims = "K F", .flags = MMREC_ARG_KEEP}},
    .out = {{.name = "c", .dims = "N F"}},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {2e-6, 4e-6,
                  "sums of at most 331 normal products, whose error is near sqrt(331) eps / 2 = 1.1e-6 of the largest "
                  "result; gradients hold two roundings more where they are added"},
    .samples = samples,
    .bench = "N=1000 K=500 F=200",
};
