/* linear: y = x W^T + b;   dx = dy W,   dW = dy^T x,   db = column sums of dy.
 *
 * Source: host/ops/linear.c.
 *
 *   x, dx     (rows, D)   float or bf16, rows may be slices of wider ones
 *   W         (F, D)      as x;  dW: float
 *   b         (F)         as x;  db: float
 *   y, dy     (rows, F)   as x
 *   scratch   (pieces, F) float, backward: partial sums of db
 *
 * The products are cuBLASLt's (mmrec_cuda_gemm): the bias is its epilogue, gradients are added to by beta = 1, slices
 * of columns are read in place by their row stride. db is ours: column sums in two kernels (columns.cuh), since the
 * epilogue that makes it belongs to the product of dW and cannot add to what is there.
 *
 * Order of sums: products as cuBLASLt's chosen algorithm has it, the same in every run; db fixed by the sizes. */
#include "columns.cuh"

enum { IN_X, IN_WEIGHT, IN_BIAS };

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const void *bias = call->in[IN_BIAS].data;
    return mmrec_cuda_gemm(&call->in[IN_X], false, &call->in[IN_WEIGHT], true, &call->out[0], bias, false, error);
}

static mmrec_status bias_gradient(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dy = call->d_out[0];
    float *parts = static_cast<float *>(call->scratch), *to = static_cast<float *>(call->d_in[IN_BIAS].data);
    row_pieces pieces = pieces_of_bias(mmrec_shape_rows(&dy.shape), mmrec_shape_columns(&dy.shape));
    SIMT_BY_DTYPE(dy, T, MMREC_TRY(columns_part<T>(dy, 1, pieces, parts, error)));
    return columns_join({parts, to, call_adds(call, IN_BIAS)}, {nullptr, nullptr, false}, pieces, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *x = &call->in[IN_X], *weight = &call->in[IN_WEIGHT], *dy = &call->d_out[0];
    const mmrec_view *dx = &call->d_in[IN_X], *dweight = &call->d_in[IN_WEIGHT];
    if (dx->data) MMREC_TRY(mmrec_cuda_gemm(dy, false, weight, false, dx, nullptr, call_adds(call, IN_X), error));
    if (dweight->data) {
        MMREC_TRY(mmrec_cuda_gemm(dy, true, x, false, dweight, nullptr, call_adds(call, IN_WEIGHT), error));
    }
    return call->d_in[IN_BIAS].data ? bias_gradient(call, error) : MMREC_OK;
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_linear = {{forward, backward}};
