/* add_position: y[b, t] = x[b, t] + table[t], for a table of P >= T learned positions.
 *
 * Source: Radford et al., "Language models are unsupervised multitask learners", 2019 (GPT-2).
 * Order of sums: dtable[t] adds the batch rows from first to last, in every variant; rows from T on get zero. */
#include "op_impl.h"

#if MMREC_REAL_F32
#include "fast_loop.h"
#endif

enum { IN_X, IN_TABLE };

static void add_row(const mmrec_op_call *call, int64_t row) {
    const real *x = view_row(&call->in[IN_X], row);
    const real *position = view_row(&call->in[IN_TABLE], row % MMREC_SIZE(call->sizes, T));
    real *y = view_row(&call->out[0], row);
    int64_t columns = MMREC_SIZE(call->sizes, D);
    for (int64_t d = 0; d < columns; d++) y[d] = x[d] + position[d];
}

static void pass_row(const mmrec_op_call *call, int64_t row) {
    const real *dy = view_row(&call->d_out[0], row);
    real *dx = view_row(&call->d_in[IN_X], row);
    int64_t columns = MMREC_SIZE(call->sizes, D);
    bool add = accumulates(call, IN_X);
    for (int64_t d = 0; d < columns; d++) deliver(&dx[d], dy[d], add);
}

/* Row t of dtable, columns [first, first + count): the batch's sum goes through `sum`, and is delivered once. */
static void table_row(const mmrec_op_call *call, int64_t t, int64_t first, int64_t count, real *sum) {
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T);
    real *to = view_row(&call->d_in[IN_TABLE], t) + first;
    bool add = accumulates(call, IN_TABLE);
    for (int64_t d = 0; d < count; d++) sum[d] = (real)0;
    for (int64_t b = 0; t < steps && b < batch; b++) {
        const real *dy = view_row(&call->d_out[0], b * steps + t) + first;
        for (int64_t d = 0; d < count; d++) sum[d] += dy[d];
    }
    for (int64_t d = 0; d < count; d++) deliver(&to[d], sum[d], add);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->out[0].shape);
    for (int64_t r = 0; r < rows; r++) add_row(call, r);
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = call->d_in[IN_X].data ? mmrec_shape_rows(&call->d_out[0].shape) : 0;
    int64_t positions = call->d_in[IN_TABLE].data ? MMREC_SIZE(call->sizes, P) : 0;
    int64_t columns = MMREC_SIZE(call->sizes, D);
    for (int64_t r = 0; r < rows; r++) pass_row(call, r);
    for (int64_t t = 0; t < positions; t++) {
        for (int64_t d = 0; d < columns; d++) {
            real sum;
            table_row(call, t, d, 1, &sum);
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->out[0].shape), columns = MMREC_SIZE(call->sizes, D);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * columns >= FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) add_row(call, r);
    return MMREC_OK;
}

static void fast_table_gradient(const mmrec_op_call *call) {
    int64_t positions = MMREC_SIZE(call->sizes, P), columns = MMREC_SIZE(call->sizes, D);
    int64_t touched = mmrec_shape_elements(&call->d_out[0].shape) + positions * columns;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (touched >= FAST_SERIAL)
    for (int64_t t = 0; t < positions; t++) {
        float sum[FAST_SPAN];
        for (int64_t first = 0; first < columns; first += FAST_SPAN) {
            table_row(call, t, first, fast_min(FAST_SPAN, columns - first), sum);
        }
    }
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t columns = MMREC_SIZE(call->sizes, D);
    int64_t rows = call->d_in[IN_X].data ? mmrec_shape_rows(&call->d_out[0].shape) : 0;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * columns >= FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) pass_row(call, r);
    if (call->d_in[IN_TABLE].data) fast_table_gradient(call);
    return MMREC_OK;
}
#endif

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    int64_t steps = MMREC_SIZE(sizes, T), positions = MMREC_SIZE(sizes, P);
    if (steps > positions) {
        MMREC_FAIL(
            error, MMREC_SHAPE,
            "add_position: %lld steps, but the table has %lld positions; use shorter sequences or a longer table",
            (long long)steps, (long long)positions);
    }
    return MMREC_OK;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)pass; /* a sum for every element of y forward, and for every element of dy in dtable */
    mmrec_work w = {(double)mmrec_shape_elements(&sizes->in[IN_X]), 0, 0};
    return w;
}

static const char *const samples[] = {"B=1 T=1 P=1 D=1",
                                      "B=2 T=2 P=3 D=5",
                                      "B=3 T=3 P=3 D=7",
                                      "B=5 T=17 P=19 D=13",
                                      "B=2 T=5 P=7 D=1027",
                                      "B=3 T=65 P=66 D=132",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(add_position);
const mmrec_op_def MMREC_OP_DEFINE(add_position) = {
    .name = "add_position",
    .formula = "y[b, t] = x[b, t] + table[t]",
    .source = "Radford et al., \"Language models are unsupervised multitask learners\", 2019",
    .in = {{.name = "x", .dims = "B T D"}, {.name = "table", .dims = "P D", .flags = MMREC_ARG_F32}},
    .out = {{.name = "y", .dims = "B T D"}},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {2e-7, 4e-7,
                  "one sum of rounded inputs; a gradient sums up to 5 batch rows: 5 half eps of their magnitude"},
    .samples = samples,
    .bench = "B=8 T=512 P=1024 D=1024",
};
