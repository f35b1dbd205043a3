/* cuBLASLt's descriptors and matrix products. d = alpha op(a) op(b) + beta c [+ bias along d's rows], columns or rows
 * first, sums in float in the order of k, so that every call repeats to the bit. An algorithm carries the problem and
 * the alignments it was asked for, and a product that does not keep them is refused: what holds here holds on a device.
 */
#include "state.h"

#include <stdlib.h>
#include <string.h>

#include <cublasLt.h>

enum { ALGO_MARK = 0x6d6d7265, WORKSPACE_NEEDED = 4096, BIAS_ALIGNMENT = 16 };

typedef struct layout {
    fake_handle handle;
    cudaDataType type;
    int32_t order, batch;
    uint64_t rows, columns;
    int64_t ld, batch_stride;
} layout;

typedef struct matmul_desc {
    fake_handle handle;
    cublasComputeType_t compute;
    cudaDataType scale, bias_type;
    int32_t transpose_a, transpose_b;
    uint32_t epilogue;
    const void *bias;
    bool bias_type_set;
} matmul_desc;

typedef struct preference {
    fake_handle handle;
    uint64_t workspace_bytes;
    uint32_t align[4]; /* of a, b, c, d */
    uint32_t search, scheme;
} preference;

struct cublasLtContext {
    fake_handle handle;
};

/* What cublasLtMatmulAlgo_t holds; it is 64 bytes, the caller's to copy. */
typedef struct algorithm {
    uint64_t mark, problem;
    uint32_t align[4];
    uint64_t workspace_bytes;
} algorithm;
_Static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm must fit");

/* A matrix as the loops see it. */
typedef struct operand {
    const void *data;
    cudaDataType type;
    int64_t row_step, column_step, batch_step;
} operand;

typedef struct product {
    operand a, b, c;
    void *d;
    operand d_place;
    const void *bias;
    cudaDataType bias_type;
    int64_t m, n, k, batch;
    float alpha, beta;
    bool tf32;
} product;

/* ---- calls and their errors ---- */

static cublasStatus_t status_of(cudaError_t code) {
    if (code == cudaSuccess) return CUBLAS_STATUS_SUCCESS;
    return code == cudaErrorMemoryAllocation ? CUBLAS_STATUS_ALLOC_FAILED : CUBLAS_STATUS_EXECUTION_FAILED;
}

/* Host errors of cuBLASLt are its own: an injected one is not left as the runtime's last error unless the device is
 * lost. */
static cublasStatus_t enter(const char *call) {
    cudaError_t code = fake_enter(call);
    if (code != cudaSuccess && fake_lost() == cudaSuccess) (void)cudaGetLastError();
    return status_of(code);
}

#define LT_TRY(expression)                                                                                             \
    do {                                                                                                               \
        cublasStatus_t lt_code_ = (expression);                                                                        \
        if (lt_code_ != CUBLAS_STATUS_SUCCESS) return lt_code_;                                                        \
    } while (0)

#define STATUSES(X)                                                                                                    \
    X(CUBLAS_STATUS_SUCCESS)                                                                                           \
    X(CUBLAS_STATUS_NOT_INITIALIZED)                                                                                   \
    X(CUBLAS_STATUS_ALLOC_FAILED)                                                                                      \
    X(CUBLAS_STATUS_INVALID_VALUE)                                                                                     \
    X(CUBLAS_STATUS_ARCH_MISMATCH)                                                                                     \
    X(CUBLAS_STATUS_MAPPING_ERROR)                                                                                     \
    X(CUBLAS_STATUS_EXECUTION_FAILED)                                                                                  \
    X(CUBLAS_STATUS_INTERNAL_ERROR)                                                                                    \
    X(CUBLAS_STATUS_NOT_SUPPORTED)

const char *cublasLtGetStatusName(cublasStatus_t status) {
#define NAME(name)                                                                                                     \
    case name:                                                                                                         \
        return #name;
    switch (status) { STATUSES(NAME) }
#undef NAME
    return "unknown cuBLAS status";
}

const char *cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }
size_t cublasLtGetVersion(void) { return 130000; }

/* ---- descriptors ---- */

static cublasStatus_t destroy(const char *call, void *handle, fake_kind kind) {
    cublasStatus_t status = enter(call);
    if (!fake_handle_valid(handle, kind)) return CUBLAS_STATUS_INVALID_VALUE;
    fake_handle_end(handle);
    return status;
}

/* Writes an attribute whose size must be the field's. */
static cublasStatus_t set_field(void *field, size_t field_bytes, const void *value, size_t bytes) {
    if (!value || bytes != field_bytes) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(field, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}
#define SET(field) set_field(&(field), sizeof(field), value, bytes)

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    LT_TRY(enter(__func__));
    *handle = fake_handle_create(FAKE_BLAS, sizeof **handle);
    return *handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return destroy(__func__, handle, FAKE_BLAS); }

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows, uint64_t cols,
                                          int64_t ld) {
    LT_TRY(enter(__func__));
    layout *made = fake_handle_create(FAKE_BLAS_LAYOUT, sizeof *made);
    if (!made) return CUBLAS_STATUS_ALLOC_FAILED;
    made->type = type;
    made->rows = rows;
    made->columns = cols;
    made->ld = ld;
    made->batch = 1;
    *out = (cublasLtMatrixLayout_t)(void *)made;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t made) {
    return destroy(__func__, made, FAKE_BLAS_LAYOUT);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t made, cublasLtMatrixLayoutAttribute_t attribute,
                                                const void *value, size_t bytes) {
    LT_TRY(enter(__func__));
    if (!fake_handle_valid(made, FAKE_BLAS_LAYOUT)) return CUBLAS_STATUS_INVALID_VALUE;
    layout *l = (layout *)(void *)made;
    switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
        return SET(l->type);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
        return SET(l->order);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
        return SET(l->rows);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
        return SET(l->columns);
    case CUBLASLT_MATRIX_LAYOUT_LD:
        return SET(l->ld);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
        return SET(l->batch);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
        return SET(l->batch_stride);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute, cudaDataType scale) {
    LT_TRY(enter(__func__));
    matmul_desc *made = fake_handle_create(FAKE_BLAS_DESC, sizeof *made);
    if (!made) return CUBLAS_STATUS_ALLOC_FAILED;
    made->compute = compute;
    made->scale = scale;
    made->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    *out = (cublasLtMatmulDesc_t)(void *)made;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t made) { return destroy(__func__, made, FAKE_BLAS_DESC); }

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t made, cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes) {
    LT_TRY(enter(__func__));
    if (!fake_handle_valid(made, FAKE_BLAS_DESC)) return CUBLAS_STATUS_INVALID_VALUE;
    matmul_desc *d = (matmul_desc *)(void *)made;
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
        return SET(d->compute);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
        return SET(d->scale);
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return SET(d->transpose_a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return SET(d->transpose_b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return SET(d->epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return SET(d->bias);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        d->bias_type_set = true;
        return SET(d->bias_type);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out) {
    LT_TRY(enter(__func__));
    preference *made = fake_handle_create(FAKE_BLAS_PREFERENCE, sizeof *made);
    if (!made) return CUBLAS_STATUS_ALLOC_FAILED;
    for (int i = 0; i < 4; i++) made->align[i] = 256; /* the documented default */
    *out = (cublasLtMatmulPreference_t)(void *)made;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t made) {
    return destroy(__func__, made, FAKE_BLAS_PREFERENCE);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t made,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                                    size_t bytes) {
    LT_TRY(enter(__func__));
    if (!fake_handle_valid(made, FAKE_BLAS_PREFERENCE)) return CUBLAS_STATUS_INVALID_VALUE;
    preference *p = (preference *)(void *)made;
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
        return SET(p->search);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return SET(p->workspace_bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        return SET(p->scheme);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
        return SET(p->align[0]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
        return SET(p->align[1]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
        return SET(p->align[2]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return SET(p->align[3]);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

/* ---- the problem ---- */

typedef struct problem {
    const matmul_desc *desc;
    const layout *a, *b, *c, *d;
} problem;

static bool problem_of(cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, problem *out) {
    *out = (problem){(const matmul_desc *)(void *)desc, (const layout *)(void *)a, (const layout *)(void *)b,
                     (const layout *)(void *)c, (const layout *)(void *)d};
    return fake_handle_valid(desc, FAKE_BLAS_DESC) && fake_handle_valid(a, FAKE_BLAS_LAYOUT) &&
           fake_handle_valid(b, FAKE_BLAS_LAYOUT) && fake_handle_valid(c, FAKE_BLAS_LAYOUT) &&
           fake_handle_valid(d, FAKE_BLAS_LAYOUT);
}

static bool layout_good(const layout *l) {
    uint64_t least = l->order == CUBLASLT_ORDER_ROW ? l->columns : l->rows;
    return l->rows > 0 && l->columns > 0 && l->ld > 0 && (uint64_t)l->ld >= least && l->batch > 0;
}

static bool shapes_good(const problem *p) {
    bool ta = p->desc->transpose_a != CUBLAS_OP_N, tb = p->desc->transpose_b != CUBLAS_OP_N;
    uint64_t m = ta ? p->a->columns : p->a->rows, k = ta ? p->a->rows : p->a->columns;
    uint64_t kb = tb ? p->b->columns : p->b->rows, n = tb ? p->b->rows : p->b->columns;
    bool batches = p->a->batch == p->d->batch && p->b->batch == p->d->batch && p->c->batch == p->d->batch;
    return layout_good(p->a) && layout_good(p->b) && layout_good(p->c) && layout_good(p->d) && k == kb &&
           p->d->rows == m && p->d->columns == n && p->c->rows == m && p->c->columns == n && batches;
}

/* A library that has no epilogue for the layout, as some versions for some. */
static bool without_bias(void) {
    const char *option = getenv("MMREC_FAKE_CUDA");
    return option && strstr(option, "no-bias");
}

/* The combinations of types that the real library has and that we use. */
static bool supported(const problem *p) {
    bool same = p->a->type == p->b->type && p->c->type == p->d->type && p->desc->scale == CUDA_R_32F;
    bool types = p->a->type == CUDA_R_16BF || p->d->type == CUDA_R_32F;
    bool compute = p->desc->compute != CUBLAS_COMPUTE_32F_FAST_TF32 || p->a->type == CUDA_R_32F;
    bool plain = p->desc->epilogue == CUBLASLT_EPILOGUE_DEFAULT;
    bool bias = p->desc->epilogue == CUBLASLT_EPILOGUE_BIAS && p->d->order == CUBLASLT_ORDER_COL &&
                (!p->desc->bias_type_set || p->desc->bias_type == p->d->type) && !without_bias();
    return same && types && compute && (plain || bias);
}

static uint64_t mix(uint64_t h, uint64_t v) { return (h ^ v) * 1099511628211u; }

static uint64_t mix_layout(uint64_t h, const layout *l) {
    h = mix(mix(mix(h, (uint64_t)l->type), (uint64_t)l->order), (uint64_t)l->batch);
    return mix(mix(mix(mix(h, l->rows), l->columns), (uint64_t)l->ld), (uint64_t)l->batch_stride);
}

static uint64_t problem_hash(const problem *p) {
    uint64_t h = mix(14695981039346656037u, (uint64_t)p->desc->compute);
    h = mix(mix(mix(h, (uint64_t)p->desc->transpose_a), (uint64_t)p->desc->transpose_b), p->desc->epilogue);
    return mix_layout(mix_layout(mix_layout(mix_layout(h, p->a), p->b), p->c), p->d);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t wishes, int asked,
                                              cublasLtMatmulHeuristicResult_t results[], int *found) {
    problem p;
    *found = 0;
    LT_TRY(enter(__func__));
    if (!fake_handle_valid(handle, FAKE_BLAS) || !fake_handle_valid(wishes, FAKE_BLAS_PREFERENCE) || asked < 1 ||
        !problem_of(desc, a, b, c, d, &p) || !shapes_good(&p))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!supported(&p)) return CUBLAS_STATUS_NOT_SUPPORTED;
    const preference *wish = (const preference *)(void *)wishes;
    algorithm chosen = {.mark = ALGO_MARK, .problem = problem_hash(&p)};
    chosen.workspace_bytes = wish->workspace_bytes < WORKSPACE_NEEDED ? 0 : WORKSPACE_NEEDED;
    memcpy(chosen.align, wish->align, sizeof chosen.align);
    memset(&results[0], 0, sizeof results[0]);
    memcpy(&results[0].algo, &chosen, sizeof chosen);
    results[0].workspaceSize = (size_t)chosen.workspace_bytes;
    results[0].state = CUBLAS_STATUS_SUCCESS;
    results[0].wavesCount = 1.0f;
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute, void *value,
                                                    size_t bytes, size_t *written) {
    LT_TRY(enter(__func__));
    const uint32_t number = attribute == CUBLASLT_ALGO_CONFIG_SPLITK_NUM ? 1 : 0;
    if (!algo || !value || bytes != sizeof number) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(value, &number, sizeof number);
    if (written) *written = sizeof number;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- the product ---- */

static size_t type_bytes(cudaDataType type) { return type == CUDA_R_16BF ? 2 : 4; }

static float load(const void *data, cudaDataType type, int64_t at) {
    if (type == CUDA_R_32F) return ((const float *)data)[at];
    uint32_t word = (uint32_t)((const uint16_t *)data)[at] << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static void store(void *data, cudaDataType type, int64_t at, float value) {
    if (type == CUDA_R_32F) {
        ((float *)data)[at] = value;
        return;
    }
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    uint32_t rounded = value == value ? (word + 0x7fffu + ((word >> 16) & 1u)) >> 16 : 0x7fffu;
    ((uint16_t *)data)[at] = (uint16_t)rounded;
}

/* To 10 bits of fraction, halves away from zero, as the conversion instruction does. */
static float round_tf32(float value) {
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    if ((word & 0x7f800000u) == 0x7f800000u) return value;
    word = (word + 0x1000u) & ~0x1fffu;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* op(x) of one batch, dense, rows first. */
static void pack(const operand *x, int64_t batch, int64_t rows, int64_t columns, bool tf32, float *to) {
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            float v = load(x->data, x->type, batch * x->batch_step + i * x->row_step + j * x->column_step);
            *to++ = tf32 ? round_tf32(v) : v;
        }
    }
}

static void multiply_row(const float *a, const float *b, int64_t n, int64_t k, float *sum) {
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t x = 0; x < k; x++) {
        for (int64_t j = 0; j < n; j++) sum[j] += a[x] * b[x * n + j];
    }
}

static void deliver_row(const product *p, int64_t batch, int64_t i, const float *sum) {
    float bias = p->bias ? load(p->bias, p->bias_type, i) : 0.0f;
    for (int64_t j = 0; j < p->n; j++) {
        int64_t from = batch * p->c.batch_step + i * p->c.row_step + j * p->c.column_step;
        int64_t to = batch * p->d_place.batch_step + i * p->d_place.row_step + j * p->d_place.column_step;
        float value = p->alpha * sum[j];
        if (p->beta != 0.0f) value += p->beta * load(p->c.data, p->c.type, from);
        store(p->d, p->d_place.type, to, value + bias);
    }
}

static void run_product(void *context) {
    const product *p = context;
    size_t a_size = (size_t)(p->m * p->k), b_size = (size_t)(p->k * p->n);
    float *a = malloc((a_size + b_size + (size_t)p->n) * sizeof *a);
    if (!a) {
        fake_lose(cudaErrorMemoryAllocation);
        return;
    }
    float *b = a + a_size, *sum = b + b_size;
    for (int64_t batch = 0; batch < p->batch; batch++) {
        pack(&p->a, batch, p->m, p->k, p->tf32, a);
        pack(&p->b, batch, p->k, p->n, p->tf32, b);
        for (int64_t i = 0; i < p->m; i++) {
            multiply_row(a + i * p->k, b, p->n, p->k, sum);
            deliver_row(p, batch, i, sum);
        }
    }
    free(a);
}

static operand operand_of(const layout *l, bool transpose, const void *data) {
    bool by_rows = l->order == CUBLASLT_ORDER_ROW;
    operand x = {data, l->type, by_rows ? l->ld : 1, by_rows ? 1 : l->ld, l->batch_stride};
    if (!transpose) return x;
    return (operand){data, l->type, x.column_step, x.row_step, x.batch_step};
}

/* The last element of all batches lies in the same allocation as the first. */
static bool in_memory(const layout *l, const void *data, uint32_t align) {
    bool by_rows = l->order == CUBLASLT_ORDER_ROW;
    int64_t rows = (int64_t)l->rows, columns = (int64_t)l->columns;
    int64_t last = by_rows ? (rows - 1) * l->ld + columns : (columns - 1) * l->ld + rows;
    last += (l->batch - 1) * l->batch_stride;
    return (uintptr_t)data % align == 0 && last > 0 && fake_memory_device(data, (size_t)last * type_bytes(l->type));
}

static bool arguments_good(const problem *p, const algorithm *algo, const void *a, const void *b, const void *c,
                           const void *d, float beta) {
    bool good = algo->mark == ALGO_MARK && algo->problem == problem_hash(p) && in_memory(p->a, a, algo->align[0]) &&
                in_memory(p->b, b, algo->align[1]) && in_memory(p->d, d, algo->align[3]);
    if (beta != 0.0f) good = good && in_memory(p->c, c, algo->align[2]);
    if (p->desc->epilogue != CUBLASLT_EPILOGUE_BIAS) return good;
    cudaDataType type = p->desc->bias_type_set ? p->desc->bias_type : p->d->type;
    return good && (uintptr_t)p->desc->bias % BIAS_ALIGNMENT == 0 &&
           fake_memory_device(p->desc->bias, (size_t)p->d->rows * type_bytes(type));
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
    problem p;
    algorithm chosen;
    LT_TRY(enter(__func__));
    if (!fake_handle_valid(handle, FAKE_BLAS) || !problem_of(desc, a_layout, b_layout, c_layout, d_layout, &p) || !algo)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&chosen, algo, sizeof chosen);
    float scale_new = *(const float *)alpha, scale_old = *(const float *)beta;
    if (!arguments_good(&p, &chosen, a, b, c, d, scale_old) || workspace_bytes < chosen.workspace_bytes)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (chosen.workspace_bytes && !fake_memory_device(workspace, workspace_bytes)) return CUBLAS_STATUS_INVALID_VALUE;
    bool ta = p.desc->transpose_a != CUBLAS_OP_N, tb = p.desc->transpose_b != CUBLAS_OP_N;
    bool bias = p.desc->epilogue == CUBLASLT_EPILOGUE_BIAS;
    const product work = {.a = operand_of(p.a, ta, a),
                          .b = operand_of(p.b, tb, b),
                          .c = operand_of(p.c, false, c),
                          .d = d,
                          .d_place = operand_of(p.d, false, d),
                          .bias = bias ? p.desc->bias : NULL,
                          .bias_type = p.desc->bias_type_set ? p.desc->bias_type : p.d->type,
                          .m = (int64_t)p.d->rows,
                          .n = (int64_t)p.d->columns,
                          .k = (int64_t)(ta ? p.a->rows : p.a->columns),
                          .batch = p.d->batch,
                          .alpha = scale_new,
                          .beta = scale_old,
                          .tf32 = p.desc->compute == CUBLAS_COMPUTE_32F_FAST_TF32};
    return status_of(fake_submit(stream, "cublasLtMatmul", run_product, &work, sizeof work));
}
