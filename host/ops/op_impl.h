/* What every host/ops/<op>.c starts from: the number type, names per variant, and reading of views.
 *
 * The same file is compiled several times: MMREC_REAL_F64 (double, the reference), MMREC_REAL_F32 with
 * MMREC_ISA_NAME base, avx2 or avx512 (float, the CPU backend), and as C++ with MMREC_REAL_COUNT (a number that
 * counts its operations). So everything in an op file is static except its definition, code outside
 * `#if MMREC_REAL_F32` is valid C11 and C++20, and reals are made with (real)x. */
#ifndef MMREC_OP_IMPL_H
#define MMREC_OP_IMPL_H

#include "mmrec/op.h"
#include "mmrec/rng.h"

#ifndef MMREC_REAL_F64
#define MMREC_REAL_F64 0
#endif
#ifndef MMREC_REAL_F32
#define MMREC_REAL_F32 0
#endif
#ifndef MMREC_REAL_COUNT
#define MMREC_REAL_COUNT 0
#endif

#if MMREC_REAL_COUNT
#include "counting_real.h" /* tests/ops: class real and overloads of the functions below */
#define MMREC_VARIANT_NAME count
#else
#include <math.h>
#if MMREC_REAL_F64
typedef double real;
#define MMREC_VARIANT_NAME f64
#define REAL_EXP exp
#define REAL_LOG log
#define REAL_SQRT sqrt
#define REAL_ERF erf
#define REAL_TANH tanh
#else
typedef float real;
#define MMREC_VARIANT_NAME MMREC_ISA_NAME
#define REAL_EXP expf
#define REAL_LOG logf
#define REAL_SQRT sqrtf
#define REAL_ERF erff
#define REAL_TANH tanhf
#endif
static inline real real_exp(real x) { return REAL_EXP(x); }
static inline real real_log(real x) { return REAL_LOG(x); }
static inline real real_sqrt(real x) { return REAL_SQRT(x); }
static inline real real_erf(real x) { return REAL_ERF(x); }
static inline real real_tanh(real x) { return REAL_TANH(x); }
static inline double real_value(real x) { return (double)x; }
#endif

#define MMREC_PASTE3(a, b, c) a##b##_##c
#define MMREC_PASTE(a, b, c) MMREC_PASTE3(a, b, c)
/* const mmrec_op_def MMREC_OP_DEFINE(linear) = {...}; */
#define MMREC_OP_DEFINE(op) MMREC_PASTE(mmrec_op_, op, MMREC_VARIANT_NAME)

/* A fast function exists in the float variants only. */
#if MMREC_REAL_F32
#define MMREC_FAST(function) function
#else
#define MMREC_FAST(function) NULL
#endif

#ifdef __cplusplus
#define MMREC_OP_EXTERN extern "C"
#else
#define MMREC_OP_EXTERN extern
#endif

/* Row r of a view of reals, or of ids. */
static inline real *view_row(const mmrec_view *view, int64_t r) { return (real *)view->data + r * view->stride; }
static inline const int32_t *view_ids(const mmrec_view *view, int64_t r) {
    return (const int32_t *)view->data + r * view->stride;
}

/* The way every backward function delivers an element: overwrite or add. */
static inline void deliver(real *to, real value, bool add) { *to = add ? *to + value : value; }
static inline bool accumulates(const mmrec_op_call *call, int input) { return ((call->accumulate >> input) & 1u) != 0; }

static inline real real_sigmoid(real x) { return (real)1 / ((real)1 + real_exp((real)0 - x)); }

#endif
