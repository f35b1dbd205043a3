/* What the gates of the Neural State Machines share (nsm_reset, nsm_update, nsm_lstm).
 *
 * The linear map of a gate on [s ; u] comes in two halves. `a` is the state half, a row for each state; `u` is the
 * input half with the biases in it, a row for each sample, the same for all its states. The states are one set for the
 * whole batch (no leading axis) or a set for each sample. So the gradients of a and of the states are sums over the
 * batch where the set is shared, that of u is a sum over the states. */
#ifndef MMREC_NSM_GATES_H
#define MMREC_NSM_GATES_H

#include "fast_loop.h"

enum { NSM_A, NSM_U }; /* the inputs that every one of these ops starts with */

/* Refuses leading axes that are neither absent nor the batch. */
static inline mmrec_status nsm_check(const char *op, const mmrec_op_sizes *sizes, mmrec_error *error) {
    const mmrec_shape *star = &sizes->star;
    int64_t batch = MMREC_SIZE(sizes, B);
    if (star->ndim > 1 || (star->ndim == 1 && star->dim[0] != batch)) {
        char text[64];
        MMREC_FAIL(error, MMREC_SHAPE,
                   "%s: a and s have leading axes %s for a batch of %lld: give one set of states without leading axes, "
                   "or (%lld)",
                   op, mmrec_shape_text(star, text, sizeof text), (long long)batch, (long long)batch);
    }
    return MMREC_OK;
}

/* One set of states for the whole batch. */
static inline bool nsm_shared(const mmrec_op_sizes *sizes) { return sizes->star.ndim == 0; }

/* Samples of a chunk, and chunks, where the batch shares its states (nsm_fast.h). */
enum { NSM_CHUNK = 4, NSM_CHUNKS = 16 };

/* Samples whose gradients of a and s are added up by one thread. */
static inline int64_t nsm_chunk(const mmrec_op_sizes *sizes) {
    int64_t least = fast_blocks(MMREC_SIZE(sizes, B), NSM_CHUNKS);
    if (!nsm_shared(sizes)) return 1;
    return least > NSM_CHUNK ? least : (int64_t)NSM_CHUNK;
}

/* Floats of one chunk's sums: `gates` blocks and the gradient of s for each state. */
static inline int64_t nsm_part_floats(const mmrec_op_sizes *sizes, int gates) {
    return MMREC_SIZE(sizes, S) * (gates + 1) * MMREC_SIZE(sizes, D);
}
static inline size_t nsm_scratch_bytes(const mmrec_op_sizes *sizes, int gates) {
    int64_t chunks = fast_blocks(MMREC_SIZE(sizes, B), nsm_chunk(sizes));
    return nsm_shared(sizes) ? (size_t)(chunks * nsm_part_floats(sizes, gates)) * sizeof(float) : 0;
}

/* Checks the shapes and asks for scratch, which only the float functions need; `gates`: blocks of a that are read. */
static inline mmrec_status nsm_infer(const char *op, int gates, mmrec_op_sizes *sizes, mmrec_error *error) {
    MMREC_TRY(nsm_check(op, sizes, error));
    sizes->scratch_bytes[MMREC_BACKWARD] = MMREC_REAL_F32 ? nsm_scratch_bytes(sizes, gates) : 0;
    return MMREC_OK;
}

static const char *const nsm_samples[] = {"B=1 S=1 D=1",   "B=2 N=2 S=3 D=5",    "B=3 S=2 D=7",
                                          "B=17 S=5 D=13", "B=2 N=2 S=3 D=65",   "B=5 S=3 D=136",
                                          "B=67 S=3 D=21", "B=3 N=3 S=11 D=128", NULL};

/* The row of a, s and their gradients that belongs to state s of sample b. */
static inline int64_t nsm_row(const mmrec_op_sizes *sizes, int64_t b, int64_t s) {
    return nsm_shared(sizes) ? s : b * MMREC_SIZE(sizes, S) + s;
}

/* Block k of D columns: of the state half of state s, of the input half of sample b. */
static inline const real *nsm_state_half(const mmrec_op_call *call, int64_t b, int64_t s, int64_t k) {
    return view_row(&call->in[NSM_A], nsm_row(call->sizes, b, s)) + k * MMREC_SIZE(call->sizes, D);
}
static inline const real *nsm_input_half(const mmrec_op_call *call, int64_t b, int64_t k) {
    return view_row(&call->in[NSM_U], b) + k * MMREC_SIZE(call->sizes, D);
}

/* Delivers sample b's share of the gradient of a or of the states. */
static inline void nsm_deliver_state(const mmrec_op_call *call, int input, int64_t b, int64_t s, int64_t column,
                                     real value) {
    const mmrec_view *to = &call->d_in[input];
    bool add = accumulates(call, input) || (nsm_shared(call->sizes) && b > 0);
    if (to->data) deliver(&view_row(to, nsm_row(call->sizes, b, s))[column], value, add);
}

/* Delivers state s's share of the gradient of u. */
static inline void nsm_deliver_input(const mmrec_op_call *call, int64_t b, int64_t s, int64_t column, real value) {
    const mmrec_view *to = &call->d_in[NSM_U];
    if (to->data) deliver(&view_row(to, b)[column], value, accumulates(call, NSM_U) || s > 0);
}

/* The gradient of columns [first, first + count) that the op does not read. */
static inline void nsm_clear(const mmrec_op_call *call, int input, int64_t first, int64_t count) {
    const mmrec_view *to = &call->d_in[input];
    int64_t rows = to->data && !accumulates(call, input) ? mmrec_shape_rows(&to->shape) : 0;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < count; c++) view_row(to, r)[first + c] = (real)0;
    }
}

/* One element of one state. Its value is the op's, which has a function of this name. */
typedef void (*nsm_element)(const mmrec_op_call *call, int64_t b, int64_t s, int64_t d);
static void element_value(const mmrec_op_call *call, int64_t b, int64_t s, int64_t d);

static inline void nsm_each(const mmrec_op_call *call, nsm_element element) {
    int64_t batch = MMREC_SIZE(call->sizes, B), states = MMREC_SIZE(call->sizes, S), width = MMREC_SIZE(call->sizes, D);
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t s = 0; s < states; s++) {
            for (int64_t d = 0; d < width; d++) element(call, b, s, d);
        }
    }
}

static mmrec_status nsm_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    nsm_each(call, element_value);
    return MMREC_OK;
}

/* Work of `gates` gates: `flops` and `others` for each element, and the sums of the gradients: of `gates` columns of a
 * and one of s over the batch where it shares a set of states, of `inputs` columns of u over the states. */
static inline mmrec_work nsm_work(const mmrec_op_sizes *sizes, mmrec_pass pass, double flops, double others, int gates,
                                  int inputs) {
    double batch = (double)MMREC_SIZE(sizes, B), states = (double)MMREC_SIZE(sizes, S);
    double width = (double)MMREC_SIZE(sizes, D), elements = batch * states * width;
    double over_batch = nsm_shared(sizes) ? (gates + 1) * (batch - 1) * states * width : 0;
    double sums = over_batch + inputs * batch * (states - 1) * width;
    mmrec_work w = {flops * elements + (pass == MMREC_BACKWARD ? sums : 0), others * elements, 0};
    return w;
}

#endif
