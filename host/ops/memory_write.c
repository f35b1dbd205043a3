/* memory_write: erases and adds where a key points, memory_out = memory (1 - w (x) sg(erase)) + w (x) tanh(add), w by
 * content (content_address.h) with beta = softplus(strength).
 *
 * Source: the content memory of the hybrid Neural State Machines (docs/model.md), every sample into its own memory. The
 * memory read is one for the batch (no leading axis, or one of size 1) or one per sample; the gradient of a shared one
 * is a sum over the batch, in batch order.
 * Backward, with e = sg(erase), a = tanh(add) and dm the gradient of memory_out:
 *   dw_n = sum_m dm (a - memory e),  de = -sum_n dm memory w,  da = sum_n dm w,  dmemory = dm (1 - w e) and through w.
 */
#include "content_address.h"
#include "content_address_device.h"

enum { IN_ERASE = 2, IN_ADD, IN_MEMORY };

/* Rows of scratch that a sample has: what it erases and adds, and in the backward pass their gradients; then g. */
enum { ROW_ERASE, ROW_ADD, ROWS_FORWARD, ROW_ERASED = ROWS_FORWARD, ROW_ADDED, ROWS_BACKWARD };

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    size_t batch = (size_t)MMREC_SIZE(sizes, B), width = (size_t)MMREC_SIZE(sizes, M);
    MMREC_TRY(memory_check("memory_write", sizes, error));
    sizes->scratch_bytes[MMREC_FORWARD] = batch * ROWS_FORWARD * width * sizeof(real);
    sizes->scratch_bytes[MMREC_BACKWARD] =
        batch * (ROWS_BACKWARD * width + (size_t)MMREC_SIZE(sizes, N)) * sizeof(real);
    return MMREC_OK;
}

/* Row `row` of sample b, each kind together. */
static real *scratch_row(const mmrec_op_call *call, int row, int64_t b) {
    return (real *)call->scratch + (row * MMREC_SIZE(call->sizes, B) + b) * MMREC_SIZE(call->sizes, M);
}
static real *scratch_g(const mmrec_op_call *call, int64_t b) {
    return scratch_row(call, ROWS_BACKWARD, 0) + b * MMREC_SIZE(call->sizes, N);
}

/* sg(erase) and tanh(add) of sample b. */
static void squash(const mmrec_op_call *call, int64_t b) {
    const real *erase = view_row(&call->in[IN_ERASE], b), *add = view_row(&call->in[IN_ADD], b);
    real *e = scratch_row(call, ROW_ERASE, b), *a = scratch_row(call, ROW_ADD, b);
    for (int64_t m = 0; m < MMREC_SIZE(call->sizes, M); m++) {
        e[m] = real_sigmoid(erase[m]);
        a[m] = real_tanh(add[m]);
    }
}

static void write_row(const real *from, real w, const real *e, const real *a, real *to, int64_t width) {
    for (int64_t m = 0; m < width; m++) to[m] = from[m] * ((real)1 - w * e[m]) + w * a[m];
}

static void write_sample(const mmrec_op_call *call, const content_address *x, int64_t b) {
    address_sample(x, b);
    squash(call, b);
    const real *w = view_row(&x->weights, b), *e = scratch_row(call, ROW_ERASE, b), *a = scratch_row(call, ROW_ADD, b);
    for (int64_t n = 0; n < x->slots; n++) {
        write_row(view_row(&x->memory, address_row(x, b, n)), w[n], e, a, view_row(&call->out[0], b * x->slots + n),
                  x->width);
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const content_address x = address_of(call, IN_MEMORY, false);
    address_samples(call, &x, write_sample);
    return MMREC_OK;
}

/* dw of one row: sum_m dm (a - memory e). */
static real weight_gradient(const real *dm, const real *memory, const real *e, const real *a, int64_t width) {
    real sum = (real)0;
    ADDRESS_SUM
    for (int64_t m = 0; m < width; m++) sum += dm[m] * (a[m] - memory[m] * e[m]);
    return sum;
}

/* A row's shares of sum dm memory w and sum dm w. */
static void add_shares(const real *dm, const real *memory, real w, real *erased, real *added, int64_t width) {
    for (int64_t m = 0; m < width; m++) {
        real share = dm[m] * w;
        added[m] += share;
        erased[m] += share * memory[m];
    }
}

static void deliver_shares(const mmrec_op_call *call, int64_t b) {
    const mmrec_view *derase = &call->d_in[IN_ERASE], *dadd = &call->d_in[IN_ADD];
    const real *e = scratch_row(call, ROW_ERASE, b), *a = scratch_row(call, ROW_ADD, b);
    const real *erased = scratch_row(call, ROW_ERASED, b), *added = scratch_row(call, ROW_ADDED, b);
    int64_t width = MMREC_SIZE(call->sizes, M);
    for (int64_t m = 0; m < width && derase->data; m++) {
        deliver(&view_row(derase, b)[m], erased[m] * e[m] * (e[m] - (real)1), accumulates(call, IN_ERASE));
    }
    for (int64_t m = 0; m < width && dadd->data; m++) {
        deliver(&view_row(dadd, b)[m], added[m] * ((real)1 - a[m] * a[m]), accumulates(call, IN_ADD));
    }
}

/* g, and the gradients of all but the memory. */
static void back_sample(const mmrec_op_call *call, const content_address *x, int64_t b) {
    real *erased = scratch_row(call, ROW_ERASED, b), *added = scratch_row(call, ROW_ADDED, b), *g = scratch_g(call, b);
    squash(call, b);
    const real *e = scratch_row(call, ROW_ERASE, b), *a = scratch_row(call, ROW_ADD, b);
    address_start(erased, x->width, false);
    address_start(added, x->width, false);
    for (int64_t n = 0; n < x->slots; n++) {
        const real *dm = view_row(&call->d_out[0], b * x->slots + n);
        const real *memory = view_row(&x->memory, address_row(x, b, n));
        g[n] = weight_gradient(dm, memory, e, a, x->width);
        add_shares(dm, memory, view_row(&x->weights, b)[n], erased, added, x->width);
    }
    real dbeta = address_back(x, b, g);
    deliver_shares(call, b);
    address_strength_gradient(x, call, b, dbeta);
    address_key_gradient(x, call, b, dbeta, g);
}

static void keep_row(const real *dm, real w, const real *e, real *to, int64_t width) {
    for (int64_t m = 0; m < width; m++) to[m] += dm[m] * ((real)1 - w * e[m]);
}

/* The gradient of a row, counted through all memories. */
static void back_row(const mmrec_op_call *call, const content_address *x, int64_t row) {
    int64_t n = row % x->slots;
    real *to = view_row(&call->d_in[IN_MEMORY], row), pull = (real)0;
    address_start(to, x->width, accumulates(call, IN_MEMORY));
    for (int64_t b = address_first(x, row); b < address_end(x, row); b++) {
        real g = scratch_g(call, b)[n];
        keep_row(view_row(&call->d_out[0], b * x->slots + n), view_row(&x->weights, b)[n],
                 scratch_row(call, ROW_ERASE, b), to, x->width);
        address_add(to, g, view_row(&x->key, b), x->width);
        pull += address_row_pull(x, b, n, g);
    }
    address_pull_row(x, row, pull, to);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const content_address x = address_of(call, IN_MEMORY, false);
    address_backward(call, &x, back_sample, IN_MEMORY, back_row);
    return MMREC_OK;
}

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    return pass == MMREC_BACKWARD ? address_device_bytes(sizes) : 0;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double rows = (double)MMREC_SIZE(sizes, B), columns = rows * (double)MMREC_SIZE(sizes, M);
    double elements = columns * (double)MMREC_SIZE(sizes, N);
    mmrec_work w = pass == MMREC_FORWARD ? address_forward_work(sizes, false) : address_backward_work(sizes, false);
    w.flops += pass == MMREC_FORWARD ? 3 * columns + 5 * elements : 9 * columns + 12 * elements;
    w.transcendentals += 2 * columns;
    return w;
}

static const char *const samples[] = {"B=1 N=1 M=1",  "B=2 S=2 N=3 M=5",   "B=3 N=7 M=13",  "B=2 S=1 N=259 M=4",
                                      "B=37 N=5 M=7", "B=3 S=3 N=33 M=35", "B=2 N=2 M=131", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(memory_write);
const mmrec_op_def MMREC_OP_DEFINE(memory_write) = {
    .name = "memory_write",
    .formula = "memory_out = memory (1 - w (x) sg(erase)) + w (x) tanh(add), w = softmax(beta cos(key, memory))",
    .source = "the content memory of the hybrids, the write head, a memory for each sample",
    .in = {{.name = "key", .dims = "B M", .flags = MMREC_ARG_KEEP},
           {.name = "strength", .dims = "B 1", .flags = MMREC_ARG_KEEP},
           {.name = "erase", .dims = "B M", .flags = MMREC_ARG_KEEP},
           {.name = "add", .dims = "B M", .flags = MMREC_ARG_KEEP},
           {.name = "memory", .dims = "* N M", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32}},
    .out = {{.name = "memory_out", .dims = "B N M", .flags = MMREC_ARG_F32}},
    .saved = {{.name = "weights", .dims = "B N", .flags = MMREC_ARG_F32},
              {.name = "similarities", .dims = "B N", .flags = MMREC_ARG_F32},
              {.name = "row_norms", .dims = "* N", .flags = MMREC_ARG_F32},
              {.name = "key_norms", .dims = "B 1", .flags = MMREC_ARG_F32}},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .device_scratch = device_scratch,
    .tolerance = {1e-6, 3e-6,
                  "a sum of 131 products is off by near sqrt(131 / 3) eps / 2 = 4e-7, in lanes by less; strengths "
                  "are of order 1; backward: two such sums and a difference of like terms"},
    .samples = samples,
    .bench = "B=64 N=128 M=20",
};
