/* In the place of cudnn.c and lstm.c where the build found no cudnn.h. */
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

void cuda_lstm_close(void) {}
