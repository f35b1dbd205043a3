/* The op `attention`: which of its calls cuDNN runs (cudnn_attention.c), and which the kernels do
 * (kernels/attention.cu). */
#include "cuda_impl.h"

enum { IN_VISIBLE = 3, INPUTS = 3, ATTR_P = 2, OCTET = 8 };

/* A graph's tensors begin on 16 bytes. */
static bool begins_well(const mmrec_view *view) { return (uintptr_t)view->data % (OCTET * sizeof(uint16_t)) == 0; }

/* So do all rows of a head: cuDNN's engines want heads of a multiple of 8 halves. */
static bool lies_well(const mmrec_view *view) { return view->data && view->stride % OCTET == 0 && begins_well(view); }

/* bf16 without dropped weights or hidden keys. cuDNN writes its gradients, all three, and adds to none. */
static bool cudnn_takes(mmrec_pass pass, const mmrec_op_call *call) {
    const mmrec_op_sizes *s = call->sizes;
    bool good = call->in[0].dtype == MMREC_BF16 && !(s->attr[ATTR_P] > 0) && !call->in[IN_VISIBLE].data &&
                MMREC_SIZE(s, D) / MMREC_SIZE(s, H) % OCTET == 0 && lies_well(&call->out[0]) &&
                begins_well(&call->saved[0]);
    for (int i = 0; i < INPUTS && good; i++) good = lies_well(&call->in[i]);
    if (pass == MMREC_FORWARD || !good) return good;
    for (int i = 0; i < INPUTS && good; i++) good = lies_well(&call->d_in[i]) && !((call->accumulate >> i) & 1u);
    return good && lies_well(&call->d_out[0]);
}

mmrec_status mmrec_cuda_attention(mmrec_pass pass, const mmrec_op_call *call, bool *done, mmrec_error *error) {
    *done = false;
    if (cuda_state.attention == MMREC_LIBRARY_KERNELS) return MMREC_OK;
    bool required = cuda_state.attention == MMREC_LIBRARY_CUDNN;
    return cudnn_takes(pass, call) ? cuda_attention_run(pass, call, required, done, error) : MMREC_OK;
}
