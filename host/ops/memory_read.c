/* memory_read: what a key finds in a memory, read = sum_n w_n memory_n, w by content (content_address.h).
 *
 * Source: the content memory of the hybrid Neural State Machines (docs/model.md). The memory is one for the batch (no
 * leading axis, or one of size 1) or one per sample; the gradient of a shared one is a sum over the batch, in batch
 * order. `twice` applies softplus to the strength a second time, as published.
 * Backward: dw_n = dread . memory_n, and what follows from it; dmemory_n is w_n dread besides. */
#include "content_address.h"
#include "content_address_device.h"

enum { IN_MEMORY = 2 };
enum { ATTR_TWICE };

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    double twice = sizes->attr[ATTR_TWICE];
    if (twice != 0 && twice != 1) MMREC_FAIL(error, MMREC_CONFIG, "memory_read: twice is %g; it must be 0 or 1", twice);
    MMREC_TRY(memory_check("memory_read", sizes, error));
    sizes->scratch_bytes[MMREC_BACKWARD] =
        (size_t)MMREC_SIZE(sizes, B) * (size_t)MMREC_SIZE(sizes, N) * sizeof(real); /* g */
    return MMREC_OK;
}

static content_address address_of_call(const mmrec_op_call *call) {
    return address_of(call, IN_MEMORY, call->sizes->attr[ATTR_TWICE] != 0);
}

static void read_sample(const mmrec_op_call *call, const content_address *a, int64_t b) {
    address_sample(a, b);
    const real *w = view_row(&a->weights, b);
    real *read = view_row(&call->out[0], b);
    address_start(read, a->width, false);
    for (int64_t n = 0; n < a->slots; n++) {
        address_add(read, w[n], view_row(&a->memory, address_row(a, b, n)), a->width);
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const content_address a = address_of_call(call);
    address_samples(call, &a, read_sample);
    return MMREC_OK;
}

/* g, and the gradients of key and strength. */
static void back_sample(const mmrec_op_call *call, const content_address *a, int64_t b) {
    const real *dread = view_row(&call->d_out[0], b);
    real *g = (real *)call->scratch + b * a->slots;
    for (int64_t n = 0; n < a->slots; n++) {
        g[n] = address_dot(dread, view_row(&a->memory, address_row(a, b, n)), a->width);
    }
    real dbeta = address_back(a, b, g);
    address_strength_gradient(a, call, b, dbeta);
    address_key_gradient(a, call, b, dbeta, g);
}

/* The gradient of a row, counted through all memories. */
static void back_row(const mmrec_op_call *call, const content_address *a, int64_t row) {
    int64_t n = row % a->slots;
    const real *g = (const real *)call->scratch + n;
    real *to = view_row(&call->d_in[IN_MEMORY], row), pull = (real)0;
    address_start(to, a->width, accumulates(call, IN_MEMORY));
    for (int64_t b = address_first(a, row); b < address_end(a, row); b++) {
        address_add(to, view_row(&a->weights, b)[n], view_row(&call->d_out[0], b), a->width);
        address_add(to, g[b * a->slots], view_row(&a->key, b), a->width);
        pull += address_row_pull(a, b, n, g[b * a->slots]);
    }
    address_pull_row(a, row, pull, to);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const content_address a = address_of_call(call);
    address_backward(call, &a, back_sample, IN_MEMORY, back_row);
    return MMREC_OK;
}

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    return pass == MMREC_BACKWARD ? address_device_bytes(sizes) : 0;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    bool twice = sizes->attr[ATTR_TWICE] != 0;
    double elements = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, N) * (double)MMREC_SIZE(sizes, M);
    mmrec_work w = pass == MMREC_FORWARD ? address_forward_work(sizes, twice) : address_backward_work(sizes, twice);
    w.flops += elements * (pass == MMREC_FORWARD ? 2 : 4);
    return w;
}

static const char *const samples[] = {
    "B=1 N=1 M=1",  "B=2 S=2 N=3 M=5",           "B=3 N=7 M=13 twice=1",  "B=2 S=1 N=259 M=4",
    "B=37 N=5 M=7", "B=3 S=3 N=33 M=35 twice=1", "B=2 N=2 M=131 twice=1", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(memory_read);
const mmrec_op_def MMREC_OP_DEFINE(memory_read) = {
    .name = "memory_read",
    .formula = "read = softmax_n(beta cos(key, memory_n)) memory, beta = softplus(strength)",
    .source = "the content memory of the hybrids, the read head",
    .in = {{.name = "key", .dims = "B M", .flags = MMREC_ARG_KEEP},
           {.name = "strength", .dims = "B 1", .flags = MMREC_ARG_KEEP},
           {.name = "memory", .dims = "* N M", .flags = MMREC_ARG_KEEP | MMREC_ARG_F32}},
    .out = {{.name = "read", .dims = "B M"}},
    .saved = {{.name = "weights", .dims = "B N", .flags = MMREC_ARG_F32},
              {.name = "similarities", .dims = "B N", .flags = MMREC_ARG_F32},
              {.name = "row_norms", .dims = "* N", .flags = MMREC_ARG_F32},
              {.name = "key_norms", .dims = "B 1", .flags = MMREC_ARG_F32}},
    .attr = {"twice"},
    .attr_default = {0},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .device_scratch = device_scratch,
    .tolerance = {1e-6, 3e-6,
                  "a sum of 131 products is off by near sqrt(131 / 3) eps / 2 = 4e-7, in lanes by less; strengths "
                  "are of order 1; backward: two such sums and a difference of like terms"},
    .samples = samples,
    .bench = "B=64 S=64 N=128 M=20",
};
