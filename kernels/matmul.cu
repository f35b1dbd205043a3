/* matmul: c = a b;   da = dc b^T,   db = a^T dc.
 *
 * Source: host/ops/matmul.c.
 *
 *   a, da   (N, K)   float or bf16
 *   b, db   (K, F)   as a
 *   c, dc   (N, F)   as a
 *
 * Three products by cuBLASLt (mmrec_cuda_gemm); gradients are added to by beta = 1. Order of sums: as the chosen
 * algorithm has it, the same in every run. */
#include "cuda.h"

enum { IN_A, IN_B };

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    return mmrec_cuda_gemm(&call->in[IN_A], false, &call->in[IN_B], false, &call->out[0], nullptr, false, error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *a = &call->in[IN_A], *b = &call->in[IN_B], *dc = &call->d_out[0];
    const mmrec_view *da = &call->d_in[IN_A], *db = &call->d_in[IN_B];
    bool add_a = ((call->accumulate >> IN_A) & 1u) != 0, add_b = ((call->accumulate >> IN_B) & 1u) != 0;
    if (da->data) MMREC_TRY(mmrec_cuda_gemm(dc, false, b, true, da, nullptr, add_a, error));
    if (db->data) MMREC_TRY(mmrec_cuda_gemm(a, true, dc, false, db, nullptr, add_b, error));
    return MMREC_OK;
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_matmul = {{forward, backward}};
