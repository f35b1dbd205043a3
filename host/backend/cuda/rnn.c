/* The ops `lstm` and `gru`: which of their calls cuDNN runs (cudnn_rnn.c), and which the kernels do (kernels/rnn.cuh).
 */
#include "cuda_impl.h"

enum { IN_X, IN_H0, IN_C0, OUT_Y = 0, WHOLE_LOAD = 16 };

/* What --rnn auto means: cuDNN, but for layers of up to so many units, all steps of which the kernels can take in one
 * launch (kernels/rnn.cuh) where cuDNN has one or more for each. Neither was timed on a device yet; a rule that a
 * measurement has shown goes here, and nowhere else. */
enum { SMALL_WIDTH = 128 };
static bool is_for_cudnn(const mmrec_op_sizes *sizes) {
    if (cuda_state.rnn == MMREC_LIBRARY_AUTO) return MMREC_SIZE(sizes, H) > SMALL_WIDTH;
    return cuda_state.rnn == MMREC_LIBRARY_CUDNN;
}

/* A library may load 16 bytes at once from where a tensor begins. */
bool cuda_rnn_packed(const mmrec_view *view) {
    return view->stride == mmrec_shape_columns(&view->shape) && (uintptr_t)view->data % WHOLE_LOAD == 0;
}

static bool absent_or_packed(const mmrec_view *view) { return !view->data || cuda_rnn_packed(view); }

/* cuDNN counts in int, wants a row of x for every step, and everything packed. Only what both passes are given is
 * asked, so that a backward call is judged as its forward call was; the rest is copied where it lies otherwise. */
static bool cudnn_takes(mmrec_op_id op, const mmrec_op_call *call) {
    const mmrec_op_sizes *s = call->sizes;
    int64_t batch = MMREC_SIZE(s, B), steps = MMREC_SIZE(s, T), width = MMREC_SIZE(s, H);
    if (MMREC_SIZE(s, X) != steps || MMREC_SIZE(s, D) > INT32_MAX || batch > INT32_MAX / width) return false;
    if (steps > INT32_MAX || !cuda_rnn_packed(&call->in[IN_X]) || !cuda_rnn_packed(&call->out[OUT_Y])) return false;
    return absent_or_packed(&call->in[IN_H0]) && (op != MMREC_OP_lstm || absent_or_packed(&call->in[IN_C0]));
}

mmrec_status mmrec_cuda_rnn(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, bool *done,
                            mmrec_error *error) {
    bool required = cuda_state.rnn == MMREC_LIBRARY_CUDNN;
    *done = false;
    if (!is_for_cudnn(call->sizes) || !cudnn_takes(op, call)) return MMREC_OK;
    return cuda_rnn_run(op, pass, call, required, done, error);
}
