/* Matrix products by cuBLASLt. Per problem (sizes, strides, types, alignment) the library's heuristic is asked once;
 * the answer and the descriptors stay in a table, so the same problem always runs the same way, and a step asks
 * nothing.
 *
 * cuBLASLt counts columns first. A row-major matrix read that way is its own transpose, and c^T = op(b)^T op(a)^T: so b
 * is handed over first, nothing is copied, and a bias along c's columns is the bias along rows that the epilogue knows.
 * The epilogue's bias has c's type; where no algorithm takes it, it is laid over c and the product added to it. Either
 * way a result is rounded once.
 *
 * Sums over split k are joined in the workspace in float, in a fixed order (reduction scheme COMPUTE_TYPE): in place
 * they would be rounded to c's type between parts. */
#include <cublasLt.h>
#include <string.h>

#include "cuda_impl.h"

enum { PROBLEMS = 512, WORKSPACE_BYTES = 32 << 20 };

/* No padding: keys are compared as bytes. */
typedef struct problem {
    int64_t m, n, k, stride_a, stride_b, stride_c;
    uint32_t align_a, align_b, align_c; /* bytes, a power of two up to 256 */
    uint8_t transpose_a, transpose_b, bf16_in, bf16_out, bias, padding[3];
} problem;

typedef struct choice {
    problem key;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulHeuristicResult_t chosen;
    bool no_epilogue; /* there is a bias, but no algorithm takes it */
    uint64_t kernels; /* per product: 2 where parts of split k are joined */
    uint64_t calls;
} choice;

static cublasLtHandle_t handle;
static void *workspace;
static choice table[PROBLEMS + 1]; /* the last one serves, chosen anew each time, when all others are taken */

/* ---- errors ---- */

static mmrec_status check(cublasStatus_t code, const char *what, mmrec_error *error) {
    if (code == CUBLAS_STATUS_SUCCESS) return MMREC_OK;
    MMREC_TRY(mmrec_cuda_check(cudaPeekAtLastError(), what, error));
    mmrec_status status = code == CUBLAS_STATUS_ALLOC_FAILED ? MMREC_NO_MEMORY : MMREC_INTERNAL;
    MMREC_FAIL(error, status, "%s failed with %s", what, cublasLtGetStatusName(code));
}

#define LT_TRY(call, what, error) MMREC_TRY(check((call), (what), (error)))

/* ---- choosing ---- */

static mmrec_status set_desc(choice *c, cublasLtMatmulDescAttributes_t which, const void *value, size_t bytes,
                             mmrec_error *error) {
    return check(cublasLtMatmulDescSetAttribute(c->desc, which, value, bytes), "describing a product to cuBLASLt",
                 error);
}

static mmrec_status set_epilogue(choice *c, cublasLtEpilogue_t epilogue, mmrec_error *error) {
    return set_desc(c, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue, error);
}

static mmrec_status describe(choice *c, mmrec_error *error) {
    static const char what[] = "describing a product to cuBLASLt";
    const problem *p = &c->key;
    cudaDataType in = p->bf16_in ? CUDA_R_16BF : CUDA_R_32F, out = p->bf16_out ? CUDA_R_16BF : CUDA_R_32F;
    bool tf32 = cuda_state.tf32 && !p->bf16_in;
    cublasOperation_t first = p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t second = p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    uint64_t m = (uint64_t)p->m, n = (uint64_t)p->n, k = (uint64_t)p->k;
    LT_TRY(cublasLtMatmulDescCreate(&c->desc, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
           what, error);
    MMREC_TRY(set_desc(c, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first, error));
    MMREC_TRY(set_desc(c, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second, error));
    LT_TRY(cublasLtMatrixLayoutCreate(&c->b, in, p->transpose_b ? k : n, p->transpose_b ? n : k, p->stride_b), what,
           error);
    LT_TRY(cublasLtMatrixLayoutCreate(&c->a, in, p->transpose_a ? m : k, p->transpose_a ? k : m, p->stride_a), what,
           error);
    LT_TRY(cublasLtMatrixLayoutCreate(&c->c, out, n, m, p->stride_c), what, error);
    return MMREC_OK;
}

static mmrec_status ask(choice *c, cublasLtMatmulPreference_t preference, int *found, mmrec_error *error) {
    cublasStatus_t code =
        cublasLtMatmulAlgoGetHeuristic(handle, c->desc, c->b, c->a, c->c, c->c, preference, 1, &c->chosen, found);
    if (code == CUBLAS_STATUS_NOT_SUPPORTED) {
        *found = 0;
        return MMREC_OK;
    }
    if (code == CUBLAS_STATUS_SUCCESS && *found > 0) code = c->chosen.state;
    return check(code, "choosing an algorithm of cuBLASLt", error);
}

static mmrec_status set_preference(cublasLtMatmulPreference_t preference, const problem *p, mmrec_error *error) {
    const uint64_t room = WORKSPACE_BYTES;
    const uint32_t scheme = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t which;
        const void *value;
        size_t bytes;
    } list[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room},
                {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &scheme, sizeof scheme},
                {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &p->align_b, sizeof p->align_b},
                {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &p->align_a, sizeof p->align_a},
                {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &p->align_c, sizeof p->align_c},
                {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &p->align_c, sizeof p->align_c}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        LT_TRY(cublasLtMatmulPreferenceSetAttribute(preference, list[i].which, list[i].value, list[i].bytes),
               "describing a product to cuBLASLt", error);
    }
    return MMREC_OK;
}

static mmrec_status set_bias(choice *c, const void *bias, mmrec_error *error) {
    return set_desc(c, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias, error);
}

/* With the bias as an epilogue if any algorithm takes it, else without. Its address is there before the question: an
 * algorithm may depend on it being given. */
static mmrec_status search(choice *c, cublasLtMatmulPreference_t preference, const void *bias, mmrec_error *error) {
    int found = 0;
    MMREC_TRY(set_preference(preference, &c->key, error));
    c->no_epilogue = false;
    if (c->key.bias) {
        MMREC_TRY(set_epilogue(c, CUBLASLT_EPILOGUE_BIAS, error));
        MMREC_TRY(set_bias(c, bias, error));
        MMREC_TRY(ask(c, preference, &found, error));
        if (found > 0) return MMREC_OK;
        c->no_epilogue = true;
    }
    MMREC_TRY(set_epilogue(c, CUBLASLT_EPILOGUE_DEFAULT, error));
    MMREC_TRY(ask(c, preference, &found, error));
    if (found > 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_UNSUPPORTED, "cuBLASLt has no algorithm for a product of (%lld, %lld) and (%lld, %lld)",
               (long long)c->key.m, (long long)c->key.k, (long long)c->key.k, (long long)c->key.n);
}

static uint32_t algorithm_number(const choice *c, cublasLtMatmulAlgoConfigAttributes_t which) {
    uint32_t value = 0;
    size_t written = 0;
    if (cublasLtMatmulAlgoConfigGetAttribute(&c->chosen.algo, which, &value, sizeof value, &written) !=
        CUBLAS_STATUS_SUCCESS) {
        return 0;
    }
    return value;
}

static void forget(choice *c) {
    if (!cuda_lost()) {
        if (c->desc) cublasLtMatmulDescDestroy(c->desc);
        if (c->a) cublasLtMatrixLayoutDestroy(c->a);
        if (c->b) cublasLtMatrixLayoutDestroy(c->b);
        if (c->c) cublasLtMatrixLayoutDestroy(c->c);
    }
    memset(c, 0, sizeof *c);
}

static mmrec_status choose(choice *c, const problem *key, const void *bias, mmrec_error *error) {
    cublasLtMatmulPreference_t preference = NULL;
    c->key = *key;
    mmrec_status status = describe(c, error);
    if (status == MMREC_OK) {
        status = check(cublasLtMatmulPreferenceCreate(&preference), "describing a product to cuBLASLt", error);
    }
    if (status == MMREC_OK) status = search(c, preference, bias, error);
    if (preference) cublasLtMatmulPreferenceDestroy(preference);
    if (status != MMREC_OK) {
        forget(c);
        return status;
    }
    bool parts = algorithm_number(c, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) > 1;
    c->kernels = parts ? 2 : 1;
    return MMREC_OK;
}

static uint64_t hash(const problem *key) {
    const unsigned char *bytes = (const unsigned char *)key;
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < sizeof *key; i++) h = (h ^ bytes[i]) * 1099511628211u;
    return h;
}

/* The choice for a problem, made now if it is new. */
static mmrec_status look_up(const problem *key, const void *bias, choice **out, mmrec_error *error) {
    uint64_t start = hash(key);
    for (uint64_t i = 0; i < PROBLEMS; i++) {
        choice *c = &table[(start + i) % PROBLEMS];
        *out = c;
        if (!c->desc) return choose(c, key, bias, error);
        if (memcmp(&c->key, key, sizeof *key) == 0) return MMREC_OK;
    }
    *out = &table[PROBLEMS];
    forget(*out);
    return choose(*out, key, bias, error);
}

/* ---- running ---- */

static uint32_t alignment(const void *at) {
    uint32_t align = 256;
    while ((uintptr_t)at % align != 0) align /= 2;
    return align;
}

static int64_t rows_of(const mmrec_view *v) { return mmrec_shape_elements(&v->shape) / mmrec_shape_columns(&v->shape); }

static problem problem_of(const mmrec_view *a, bool transpose_a, const mmrec_view *b, bool transpose_b,
                          const mmrec_view *c, const void *bias) {
    problem p;
    memset(&p, 0, sizeof p);
    p.m = rows_of(c);
    p.n = mmrec_shape_columns(&c->shape);
    p.k = transpose_a ? rows_of(a) : mmrec_shape_columns(&a->shape);
    p.stride_a = a->stride;
    p.stride_b = b->stride;
    p.stride_c = c->stride;
    p.align_a = alignment(a->data);
    p.align_b = alignment(b->data);
    p.align_c = alignment(c->data);
    p.transpose_a = transpose_a;
    p.transpose_b = transpose_b;
    p.bf16_in = a->dtype == MMREC_BF16;
    p.bf16_out = c->dtype == MMREC_BF16;
    p.bias = bias && alignment(bias) >= 16; /* the epilogue reads it in pieces of 16 bytes */
    return p;
}

static mmrec_status check_views(const problem *p, const mmrec_view *a, const mmrec_view *b, mmrec_error *error) {
    int64_t k = p->transpose_b ? mmrec_shape_columns(&b->shape) : rows_of(b);
    int64_t n = p->transpose_b ? rows_of(b) : mmrec_shape_columns(&b->shape);
    int64_t m = p->transpose_a ? mmrec_shape_columns(&a->shape) : rows_of(a);
    if (k == p->k && m == p->m && n == p->n && a->dtype == b->dtype && (p->bf16_in || !p->bf16_out)) return MMREC_OK;
    MMREC_FAIL(error, MMREC_INTERNAL, "a product of (%lld, %lld) %s and (%lld, %lld) %s cannot give (%lld, %lld)",
               (long long)m, (long long)p->k, mmrec_dtype_name(a->dtype), (long long)k, (long long)n,
               mmrec_dtype_name(b->dtype), (long long)p->m, (long long)p->n);
}

mmrec_status mmrec_cuda_gemm(const mmrec_view *a, bool transpose_a, const mmrec_view *b, bool transpose_b,
                             const mmrec_view *c, const void *bias, bool accumulate, mmrec_error *error) {
    problem key = problem_of(a, transpose_a, b, transpose_b, c, bias);
    choice *use = NULL;
    MMREC_TRY(cuda_usable(error));
    MMREC_TRY(check_views(&key, a, b, error));
    MMREC_TRY(look_up(&key, bias, &use, error));
    bool epilogue = key.bias && !use->no_epilogue, first = bias && !epilogue;
    const float one = 1.0f, beta = accumulate || first ? 1.0f : 0.0f;
    if (epilogue) MMREC_TRY(set_bias(use, bias, error));
    if (first) MMREC_TRY(mmrec_cuda_put_row(c, bias, accumulate, error));
    LT_TRY(cublasLtMatmul(handle, use->desc, &one, b->data, use->b, a->data, use->a, &beta, c->data, use->c, c->data,
                          use->c, &use->chosen.algo, workspace, WORKSPACE_BYTES, cuda_state.stream),
           "cublasLtMatmul", error);
    cuda_count_launches(use->kernels);
    use->calls++;
    return MMREC_OK;
}

bool cuda_gemm_record(int index, mmrec_gemm_record *out) {
    for (int i = 0; i <= PROBLEMS; i++) {
        const choice *c = &table[i];
        if (!c->desc || index-- > 0) continue;
        out->m = c->key.m;
        out->n = c->key.n;
        out->k = c->key.k;
        out->transpose_a = c->key.transpose_a;
        out->transpose_b = c->key.transpose_b;
        out->in = c->key.bf16_in ? MMREC_BF16 : MMREC_F32;
        out->out = c->key.bf16_out ? MMREC_BF16 : MMREC_F32;
        out->bias_in_epilogue = c->key.bias && !c->no_epilogue;
        out->algorithm = algorithm_number(c, CUBLASLT_ALGO_CONFIG_ID);
        out->tile = algorithm_number(c, CUBLASLT_ALGO_CONFIG_TILE_ID);
        out->stages = algorithm_number(c, CUBLASLT_ALGO_CONFIG_STAGES_ID);
        out->split_k = algorithm_number(c, CUBLASLT_ALGO_CONFIG_SPLITK_NUM);
        out->workspace_bytes = c->chosen.workspaceSize;
        out->calls = c->calls;
        return true;
    }
    return false;
}

mmrec_status cuda_gemm_open(mmrec_error *error) {
    LT_TRY(cublasLtCreate(&handle), "starting cuBLASLt", error);
    return cuda_alloc_own(WORKSPACE_BYTES, &workspace, "cudaMalloc of the workspace of cuBLASLt", error);
}

void cuda_gemm_close(void) {
    for (int i = 0; i <= PROBLEMS; i++) forget(&table[i]);
    if (handle && !cuda_lost()) cublasLtDestroy(handle);
    handle = NULL;
    cuda_free_own(workspace, workspace ? WORKSPACE_BYTES : 0);
    workspace = NULL;
}
