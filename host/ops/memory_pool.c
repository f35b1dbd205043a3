/* memory_pool: the mean over groups of 4^level neighbouring memory slots, (.., S, D) -> (.., S / 4^level, D).
 *
 * Source: step 5 of the MM-Rec block: groups of 4, `level` times. A mean of means of equal groups is the mean of all,
 * and 4^level is a power of two, so one division per result rounds no worse than `level` of them. */
#include "op_impl.h"

#if MMREC_REAL_F32
#include "fast_loop.h"
#endif

enum { ATTR_LEVEL };

/* Binds M and refuses a level that does not fit S. */
static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    int64_t slots = MMREC_SIZE(sizes, S), group = 1;
    double level = sizes->attr[ATTR_LEVEL];
    if (!(level >= 0 && level <= 31) || level != (double)(int)level) {
        MMREC_FAIL(error, MMREC_SHAPE, "memory_pool: level %g is not a whole number from 0 to 31", level);
    }
    for (int i = 0; i < (int)level && group <= slots; i++) group *= 4;
    if (slots % group != 0) {
        MMREC_FAIL(error, MMREC_SHAPE,
                   "memory_pool: %lld slots cannot be pooled at level %d: the number of slots must be a multiple of "
                   "4^%d; use a lower level or more slots",
                   (long long)slots, (int)level, (int)level);
    }
    MMREC_SIZE(sizes, M) = slots / group;
    return MMREC_OK;
}

static int64_t group_size(const mmrec_op_call *call) { return MMREC_SIZE(call->sizes, S) / MMREC_SIZE(call->sizes, M); }

/* The group divides S, so groups never cross from one memory to the next and rows can be counted straight through. */
static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *m = &call->in[0], *pooled = &call->out[0];
    int64_t group = group_size(call), rows = mmrec_shape_rows(&pooled->shape), columns = MMREC_SIZE(call->sizes, D);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t d = 0; d < columns; d++) {
            real sum = 0;
            for (int64_t i = 0; i < group; i++) sum += view_row(m, r * group + i)[d];
            view_row(pooled, r)[d] = sum / (real)(double)group;
        }
    }
    return MMREC_OK;
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *dy = &call->d_out[0], *dm = &call->d_in[0];
    int64_t group = group_size(call), rows = mmrec_shape_rows(&dy->shape), columns = MMREC_SIZE(call->sizes, D);
    for (int64_t r = 0; dm->data && r < rows; r++) {
        for (int64_t d = 0; d < columns; d++) {
            real part = view_row(dy, r)[d] / (real)(double)group;
            for (int64_t i = 0; i < group; i++) {
                deliver(&view_row(dm, r * group + i)[d], part, accumulates(call, 0));
            }
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
static void pool_row(const mmrec_op_call *call, int64_t r, int64_t group, int64_t columns) {
    const mmrec_view *m = &call->in[0];
    mmrec_view slots = {view_row(m, r * group), MMREC_F32, mmrec_shape2(group, columns), m->stride};
    float *restrict to = view_row(&call->out[0], r), scale = 1.0f / (float)group;
    for (int64_t first = 0; first < columns; first += FAST_STRIP) {
        float sum[FAST_STRIP];
        int64_t count = fast_min(FAST_STRIP, columns - first);
        fast_strip_sum(&slots, first, count, sum);
        for (int64_t d = 0; d < count; d++) to[first + d] = sum[d] * scale;
    }
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t group = group_size(call), rows = mmrec_shape_rows(&call->out[0].shape),
            columns = MMREC_SIZE(call->sizes, D);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * group * columns >= FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) pool_row(call, r, group, columns);
    return MMREC_OK;
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *dy = &call->d_out[0], *dm = &call->d_in[0];
    int64_t group = group_size(call), columns = MMREC_SIZE(call->sizes, D);
    int64_t rows = dm->data ? mmrec_shape_rows(&dm->shape) : 0;
    float scale = 1.0f / (float)group;
    bool add = accumulates(call, 0);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * columns >= FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) {
        const float *restrict from = view_row(dy, r / group);
        float *restrict to = view_row(dm, r);
        for (int64_t d = 0; d < columns; d++) deliver(&to[d], from[d] * scale, add);
    }
    return MMREC_OK;
}
#endif

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double all = (double)mmrec_shape_elements(&sizes->in[0]);
    double pooled = all / (double)MMREC_SIZE(sizes, S) * (double)MMREC_SIZE(sizes, M);
    mmrec_work w = {pass == MMREC_FORWARD ? all + pooled : pooled, 0, 0};
    return w;
}

static const char *const samples[] = {"S=1 D=1 level=0",
                                      "N=1 S=4 D=3 level=1",
                                      "N=3 S=48 D=5",
                                      "S=64 D=65 level=3",
                                      "N=2 S=80 D=67 level=2",
                                      "S=12 D=7 level=0",
                                      "N=2 S=256 D=129 level=4",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(memory_pool);
const mmrec_op_def MMREC_OP_DEFINE(memory_pool) = {
    .name = "memory_pool",
    .formula = "pooled[j] = mean of m[4^level j .. 4^level (j + 1))",
    .source = "step 5 of the block, the pyramid of memory slots",
    .in = {{.name = "m", .dims = "* S D", .flags = MMREC_ARG_F32}},
    .out = {{.name = "pooled", .dims = "* M D", .flags = MMREC_ARG_F32}},
    .attr = {"level"},
    .attr_default = {2},
    .infer = infer,
    .work = work,
    .function = {forward, backward},
    .fast = {MMREC_FAST(fast_forward), MMREC_FAST(fast_backward)},
    .tolerance = {1e-6, 2e-7,
                  "sums of up to 256 normal values, 64 at a time: 8 eps of their magnitude, over their mean"},
    .samples = samples,
    .bench = "N=2 S=1024 D=1024",
};
