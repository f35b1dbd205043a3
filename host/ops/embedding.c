/* embedding: x[b, t] = table[ids[b, t]].
 *
 * Source: the first step of the language model (docs/model.md).
 * Order of sums: a table row's gradient adds the rows of dx that name it from first to last, in every variant. */
#include <string.h>

#include "embedding_device.h"
#include "fast_loop.h"

enum { IN_IDS, IN_TABLE };

/* The row of the table that output row r shows. */
static int32_t id_of(const mmrec_op_call *call, int64_t r) {
    int64_t time = MMREC_SIZE(call->sizes, T);
    return view_ids(&call->in[IN_IDS], r / time)[r % time];
}

static int64_t output_rows(const mmrec_op_call *call) {
    return MMREC_SIZE(call->sizes, B) * MMREC_SIZE(call->sizes, T);
}

/* Ids are the caller's data: one out of range is refused before anything is read or written through it. */
static mmrec_status check_ids(const mmrec_op_call *call, mmrec_error *error) {
    int64_t rows = output_rows(call), time = MMREC_SIZE(call->sizes, T), vocab = MMREC_SIZE(call->sizes, V);
    for (int64_t r = 0; r < rows; r++) {
        int32_t id = id_of(call, r);
        if (id < 0 || id >= vocab) {
            MMREC_FAIL(error, MMREC_CONFIG, "embedding: id %d at batch row %lld, step %lld is not in [0, %lld)",
                       (int)id, (long long)(r / time), (long long)(r % time), (long long)vocab);
        }
    }
    return MMREC_OK;
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(check_ids(call, error));
    int64_t rows = output_rows(call), width = MMREC_SIZE(call->sizes, D);
    for (int64_t r = 0; r < rows; r++) {
        const real *from = view_row(&call->in[IN_TABLE], id_of(call, r));
        for (int64_t d = 0; d < width; d++) view_row(&call->out[0], r)[d] = from[d];
    }
    return MMREC_OK;
}

/* dtable[v] = sum of dx over the rows that show v, for columns [first, first + count) */
static void table_gradient(const mmrec_op_call *call, int64_t first, int64_t count) {
    const mmrec_view *dx = &call->d_out[0], *dtable = &call->d_in[IN_TABLE];
    int64_t rows = output_rows(call), vocab = MMREC_SIZE(call->sizes, V);
    for (int64_t v = 0; v < vocab && !accumulates(call, IN_TABLE); v++) {
        for (int64_t d = 0; d < count; d++) view_row(dtable, v)[first + d] = (real)0;
    }
    for (int64_t r = 0; r < rows; r++) {
        const real *from = view_row(dx, r) + first;
        real *to = view_row(dtable, id_of(call, r)) + first;
        for (int64_t d = 0; d < count; d++) to[d] += from[d];
    }
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    if (!call->d_in[IN_TABLE].data) return MMREC_OK;
    MMREC_TRY(check_ids(call, error));
    table_gradient(call, 0, MMREC_SIZE(call->sizes, D));
    return MMREC_OK;
}

#if MMREC_REAL_F32
static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(check_ids(call, error));
    int64_t rows = output_rows(call), width = MMREC_SIZE(call->sizes, D);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * width > FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) {
        memcpy(view_row(&call->out[0], r), view_row(&call->in[IN_TABLE], id_of(call, r)),
               (size_t)width * sizeof(float));
    }
    return MMREC_OK;
}

/* Cut by columns, so no two threads meet in a table row and the order of sums stays that of the reference. */
static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    if (!call->d_in[IN_TABLE].data) return MMREC_OK;
    MMREC_TRY(check_ids(call, error));
    int64_t width = MMREC_SIZE(call->sizes, D), touched = (output_rows(call) + MMREC_SIZE(call->sizes, V)) * width;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (touched > FAST_SERIAL)
    for (int64_t first = 0; first < width; first += FAST_STRIP) {
        table_gradient(call, first, fast_min(FAST_STRIP, width - first));
    }
    return MMREC_OK;
}
#endif

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    return pass == MMREC_BACKWARD ? (size_t)embedding_scratch_of(sizes).words * sizeof(uint32_t) : 0;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double elements = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, T) * (double)MMREC_SIZE(sizes, D);
    mmrec_work w = {pass == MMREC_FORWARD ? 0 : elements, 0, 0};
    return w;
}

/* Few table rows for many ids, and the other way round: rows named often (more than EMBEDDING_CHUNK times in the last),
 * and rows named never. */
static const char *const samples[] = {"B=1 T=1 V=1 D=1",
                                      "B=3 T=5 V=7 D=5",
                                      "B=2 T=17 V=3 D=13",
                                      "B=7 T=2 V=67 D=65",
                                      "B=5 T=3 V=11 D=131",
                                      "B=3 T=67 V=2 D=12",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(embedding);
const mmrec_op_def MMREC_OP_DEFINE(embedding) = {
    .name = "embedding",
    .formula = "x = table[ids]",
    .source = "the token embedding of the language model",
    .in = {{.name = "ids", .dims = "B T", .flags = MMREC_ARG_IDS | MMREC_ARG_KEEP, .below = 'V'},
           {.name = "table", .dims = "V D", .flags = MMREC_ARG_F32}},
    .out = {{.name = "x", .dims = "B T D"}},
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .device_scratch = device_scratch,
    .tolerance = {6e-8, 2e-6,
                  "a copy; a gradient is a sum of near 100 normal numbers at most: error near sqrt(100) eps / 2 = 6e-7 "
                  "of the largest"},
    .samples = samples,
    .bench = "B=2 T=1024 V=1000 D=1024",
};
