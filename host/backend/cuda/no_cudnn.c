/* In the place of what needs cudnn.h where the build found none. */
#include "cuda_impl.h"

mmrec_status cuda_lstm_create(const mmrec_lstm_request *request, mmrec_lstm_info *info, mmrec_error *error) {
    (void)request;
    (void)info;
    MMREC_FAIL(error, MMREC_UNSUPPORTED, "no cuDNN: built without it");
}

mmrec_status cuda_lstm_prepare(mmrec_pass pass, mmrec_error *error) {
    (void)pass;
    return cuda_lstm_create(NULL, NULL, error);
}

mmrec_status cuda_lstm_run(mmrec_pass pass, mmrec_error *error) { return cuda_lstm_prepare(pass, error); }

void cuda_lstm_destroy(void) {}

mmrec_status cuda_rnn_run(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, bool required, bool *done,
                          mmrec_error *error) {
    (void)op;
    (void)pass;
    (void)call;
    *done = false;
    if (!required) return MMREC_OK;
    MMREC_FAIL(error, MMREC_UNSUPPORTED, "no cuDNN: built without it; use --rnn kernels");
}

void cuda_rnn_forget(const void *memory, size_t bytes) {
    (void)memory;
    (void)bytes;
}

void cuda_rnn_free(void) {}

mmrec_status cuda_attention_run(mmrec_pass pass, const mmrec_op_call *call, bool required, bool *done,
                                mmrec_error *error) {
    (void)pass;
    (void)call;
    *done = false;
    if (!required) return MMREC_OK;
    MMREC_FAIL(error, MMREC_UNSUPPORTED, "no cuDNN: built without it; use --attention kernels");
}

void cuda_attention_free(void) {}

void cuda_cudnn_close(void) {}
