/* memory_write_shared: all samples write into one memory, one after the other, each at the place its key found in the
 * memory as it was before the first: memory = memory (1 - w_b (x) e_b) + w_b (x) a_b for b = 0 .. B-1, w by content
 * (content_address.h), e = sg(sg(erase)), a = tanh(tanh(add)), beta = softplus(softplus(strength)).
 *
 * Source: the content memory of the hybrid Neural State Machines as published (docs/model.md): every squashing function
 * is applied twice, and no gradient passes. Each element is a recurrence of its own over the samples, whose order
 * matters: 0 to B-1. */
#include "content_address.h"
#include "content_address_device.h"

enum { IN_ERASE = 2, IN_ADD, IN_MEMORY };

/* Scratch: what a call that could be differentiated would save, and what every sample erases and adds. */
typedef struct write_scratch {
    real *weights, *similarities, *row_norms, *key_norms, *erase, *add;
    int64_t count;
} write_scratch;

/* `base` NULL: the count alone. */
static write_scratch scratch_of(const mmrec_op_sizes *sizes, real *base) {
    int64_t batch = MMREC_SIZE(sizes, B), slots = MMREC_SIZE(sizes, N), width = MMREC_SIZE(sizes, M);
    write_scratch s;
    s.count = batch * (2 * slots + 1 + 2 * width) + slots;
    s.weights = base;
    s.similarities = base ? s.weights + batch * slots : base;
    s.row_norms = base ? s.similarities + batch * slots : base;
    s.key_norms = base ? s.row_norms + slots : base;
    s.erase = base ? s.key_norms + batch : base;
    s.add = base ? s.erase + batch * width : base;
    return s;
}

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    (void)error;
    sizes->scratch_bytes[MMREC_FORWARD] = (size_t)scratch_of(sizes, NULL).count * sizeof(real);
    return MMREC_OK;
}

static content_address address_in(const mmrec_op_call *call) {
    content_address a = address_inputs(call, IN_MEMORY, true);
    write_scratch s = scratch_of(call->sizes, (real *)call->scratch);
    mmrec_dtype dtype = call->in[ADDRESS_KEY].dtype;
    a.weights = mmrec_view_dense(s.weights, dtype, mmrec_shape2(a.batch, a.slots));
    a.similarities = mmrec_view_dense(s.similarities, dtype, mmrec_shape2(a.batch, a.slots));
    a.row_norms = mmrec_view_dense(s.row_norms, dtype, mmrec_shape2(1, a.slots));
    a.key_norms = mmrec_view_dense(s.key_norms, dtype, mmrec_shape2(a.batch, 1));
    return a;
}

/* Where sample b writes, and what. */
static void prepare_sample(const mmrec_op_call *call, const content_address *x, int64_t b) {
    const write_scratch s = scratch_of(call->sizes, (real *)call->scratch);
    const real *erase = view_row(&call->in[IN_ERASE], b), *add = view_row(&call->in[IN_ADD], b);
    address_sample(x, b);
    for (int64_t m = 0; m < x->width; m++) {
        s.erase[b * x->width + m] = real_sigmoid(real_sigmoid(erase[m]));
        s.add[b * x->width + m] = real_tanh(real_tanh(add[m]));
    }
}

static void write_once(real *to, real w, const real *e, const real *a, int64_t width) {
    for (int64_t m = 0; m < width; m++) to[m] = to[m] * ((real)1 - w * e[m]) + w * a[m];
}

/* All samples into row n. */
static void write_row(const mmrec_op_call *call, const content_address *x, int64_t n) {
    const write_scratch s = scratch_of(call->sizes, (real *)call->scratch);
    const real *from = view_row(&x->memory, n);
    real *to = view_row(&call->out[0], n);
    for (int64_t m = 0; m < x->width; m++) to[m] = from[m];
    for (int64_t b = 0; b < x->batch; b++) {
        write_once(to, s.weights[b * x->slots + n], s.erase + b * x->width, s.add + b * x->width, x->width);
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const content_address x = address_in(call);
    address_samples(call, &x, prepare_sample);
    address_each(call, &x, x.slots, write_row);
    return MMREC_OK;
}

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    return pass == MMREC_FORWARD ? (size_t)write_shared_cut(sizes).count * sizeof(float) : 0;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double columns = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, M);
    mmrec_work w = {0, 0, 0};
    if (pass == MMREC_BACKWARD) return w;
    w = address_forward_work(sizes, true);
    w.flops += columns * (6 + 5 * (double)MMREC_SIZE(sizes, N));
    w.transcendentals += 4 * columns;
    return w;
}

static const char *const samples[] = {"B=1 N=1 M=1",   "B=2 N=3 M=5", "B=37 N=5 M=7", "B=3 N=33 M=35", "B=2 N=65 M=131",
                                      "B=1 N=259 M=2", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(memory_write_shared);
const mmrec_op_def MMREC_OP_DEFINE(memory_write_shared) = {
    .name = "memory_write_shared",
    .formula = "for b: memory = memory (1 - w_b (x) sg(sg(erase_b))) + w_b (x) tanh(tanh(add_b))",
    .source = "the content memory of the hybrids, the write head as published",
    .in = {{.name = "key", .dims = "B M", .flags = MMREC_ARG_NO_GRAD},
           {.name = "strength", .dims = "B 1", .flags = MMREC_ARG_NO_GRAD},
           {.name = "erase", .dims = "B M", .flags = MMREC_ARG_NO_GRAD},
           {.name = "add", .dims = "B M", .flags = MMREC_ARG_NO_GRAD},
           {.name = "memory", .dims = "N M", .flags = MMREC_ARG_NO_GRAD | MMREC_ARG_F32}},
    .out = {{.name = "memory_out", .dims = "N M", .flags = MMREC_ARG_NO_GRAD | MMREC_ARG_F32}},
    .infer = infer,
    .work = work,
    .function = {forward, NULL},
    .device_scratch = device_scratch,
    .tolerance =
        {1e-6, 0,
         "a sum of 131 products is off by near sqrt(131 / 3) eps / 2 = 4e-7, in vector lanes by less; each of 37 "
         "writes keeps most of what was there"},
    .samples = samples,
    .bench = "B=64 N=128 M=20",
};
