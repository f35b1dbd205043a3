/* memory_update: m_next = decay m + (1 - decay) mean over t of y, the same mean for every slot.
 *
 * Source: step 8 of the MM-Rec block. The gradient is stopped: nothing here is differentiable. The first memory may be
 * shared by all batch rows; the next one is per row. */
#include "memory_rows.h"
#include "pieces_device.h"

#if MMREC_REAL_F32
#include "fast_loop.h"
#endif

enum { IN_M, IN_Y };
enum { ATTR_DECAY };

static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    double decay = sizes->attr[ATTR_DECAY];
    if (!(decay >= 0 && decay <= 1)) {
        MMREC_FAIL(error, MMREC_SHAPE, "memory_update: decay %g is not in [0, 1]", decay);
    }
    return memory_check("memory_update", sizes, error);
}

/* Slot s of the memory that batch row b reads. */
static const real *slot(const mmrec_op_call *call, int64_t b, int64_t s) {
    int64_t own = memory_count(call->sizes) == 1 ? 0 : b;
    return view_row(&call->in[IN_M], own * MMREC_SIZE(call->sizes, S) + s);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *y = &call->in[IN_Y], *next = &call->out[0];
    int64_t batch = MMREC_SIZE(call->sizes, B), steps = MMREC_SIZE(call->sizes, T);
    int64_t slots = MMREC_SIZE(call->sizes, S), columns = MMREC_SIZE(call->sizes, D);
    double decay = call->sizes->attr[ATTR_DECAY];
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t d = 0; d < columns; d++) {
            real sum = 0;
            for (int64_t t = 0; t < steps; t++) sum += view_row(y, b * steps + t)[d];
            real news = (real)(1 - decay) * (sum / (real)(double)steps);
            for (int64_t s = 0; s < slots; s++) {
                view_row(next, b * slots + s)[d] = (real)decay * slot(call, b, s)[d] + news;
            }
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* Columns [first, first + count) of the memory of batch row b. */
static void update_strip(const mmrec_op_call *call, int64_t b, int64_t first, int64_t count) {
    const mmrec_view *y = &call->in[IN_Y];
    int64_t steps = MMREC_SIZE(call->sizes, T), slots = MMREC_SIZE(call->sizes, S);
    mmrec_view sequence = {view_row(y, b * steps), MMREC_F32, mmrec_shape2(steps, MMREC_SIZE(call->sizes, D)),
                           y->stride};
    float news[FAST_STRIP], decay = (float)call->sizes->attr[ATTR_DECAY];
    float share = (float)((1 - call->sizes->attr[ATTR_DECAY]) / (double)steps);
    fast_strip_sum(&sequence, first, count, news);
    for (int64_t d = 0; d < count; d++) news[d] *= share;
    for (int64_t s = 0; s < slots; s++) {
        const float *restrict from = slot(call, b, s) + first;
        float *restrict to = view_row(&call->out[0], b * slots + s) + first;
        for (int64_t d = 0; d < count; d++) to[d] = decay * from[d] + news[d];
    }
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t batch = MMREC_SIZE(call->sizes, B), columns = MMREC_SIZE(call->sizes, D);
    int64_t strips = fast_blocks(columns, FAST_STRIP);
    int64_t rows = MMREC_SIZE(call->sizes, T) + MMREC_SIZE(call->sizes, S);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (batch * rows * columns >= FAST_SERIAL)
    for (int64_t i = 0; i < batch * strips; i++) {
        int64_t first = i % strips * FAST_STRIP;
        update_strip(call, i / strips, first, fast_min(FAST_STRIP, columns - first));
    }
    return MMREC_OK;
}
#endif

static size_t device_scratch(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    row_pieces pieces = pieces_of_steps(MMREC_SIZE(sizes, T), MMREC_SIZE(sizes, D));
    return pass == MMREC_FORWARD ? (size_t)MMREC_SIZE(sizes, B) * pieces_bytes(pieces) : 0;
}

static mmrec_work work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double columns = (double)MMREC_SIZE(sizes, B) * (double)MMREC_SIZE(sizes, D);
    double each = (double)MMREC_SIZE(sizes, T) + 2 + 2 * (double)MMREC_SIZE(sizes, S);
    mmrec_work w = {pass == MMREC_FORWARD ? columns * each : 0, 0, 0};
    return w;
}

static const char *const samples[] = {
    "B=1 T=1 S=1 D=1",           "B=2 N=2 T=2 S=3 D=5 decay=0.5",     "B=3 N=1 T=3 S=7 D=13",
    "B=2 T=17 S=5 D=65 decay=0", "B=3 N=3 T=67 S=17 D=131 decay=0.9", NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(memory_update);
const mmrec_op_def MMREC_OP_DEFINE(memory_update) = {
    .name = "memory_update",
    .formula = "m_next = decay m + (1 - decay) mean_t y",
    .source = "step 8 of the block",
    .in = {{.name = "m", .dims = "* S D", .flags = MMREC_ARG_NO_GRAD | MMREC_ARG_F32},
           {.name = "y", .dims = "B T D", .flags = MMREC_ARG_NO_GRAD}},
    .out = {{.name = "m_next", .dims = "B S D", .flags = MMREC_ARG_NO_GRAD | MMREC_ARG_F32}},
    .attr = {"decay"},
    .attr_default = {0.99},
    .infer = infer,
    .work = work,
    .function = {forward, NULL},
    .fast = {MMREC_FAST(fast_forward), NULL},
    .device_scratch = device_scratch,
    .tolerance = {1e-6, 0, "sums of up to 67 normal values, 64 at a time: 8 eps of their magnitude, over their mean"},
    .samples = samples,
    .bench = "B=2 N=2 T=1024 S=1024 D=1024",
};
