/* cuDNN as the yardstick (lstm.c) and the ops `lstm`, `gru` (cudnn_rnn.c) and `attention` (cudnn_attention.c) use it:
 * loaded at the first request, a handle on the backend's stream. */
#ifndef MMREC_CUDNN_CALLS_H
#define MMREC_CUDNN_CALLS_H

#include <cudnn.h>

#include "cuda_impl.h"

/* Every function that is looked up in the library, without its "cudnn". */
#define CUDNN_CALLS(CALL)                                                                                              \
    CALL(GetVersion)                                                                                                   \
    CALL(GetErrorString)                                                                                               \
    CALL(GetLastErrorString)                                                                                           \
    CALL(Create)                                                                                                       \
    CALL(Destroy)                                                                                                      \
    CALL(SetStream)                                                                                                    \
    CALL(CreateTensorDescriptor)                                                                                       \
    CALL(DestroyTensorDescriptor)                                                                                      \
    CALL(SetTensorNdDescriptor)                                                                                        \
    CALL(GetTensorNdDescriptor)                                                                                        \
    CALL(CreateDropoutDescriptor)                                                                                      \
    CALL(DestroyDropoutDescriptor)                                                                                     \
    CALL(SetDropoutDescriptor)                                                                                         \
    CALL(CreateRNNDescriptor)                                                                                          \
    CALL(DestroyRNNDescriptor)                                                                                         \
    CALL(SetRNNDescriptor_v8)                                                                                          \
    CALL(CreateRNNDataDescriptor)                                                                                      \
    CALL(DestroyRNNDataDescriptor)                                                                                     \
    CALL(SetRNNDataDescriptor)                                                                                         \
    CALL(GetRNNWeightSpaceSize)                                                                                        \
    CALL(GetRNNWeightParams)                                                                                           \
    CALL(GetRNNTempSpaceSizes)                                                                                         \
    CALL(RNNForward)                                                                                                   \
    CALL(RNNBackwardData_v8)                                                                                           \
    CALL(RNNBackwardWeights_v8)                                                                                        \
    CALL(BackendCreateDescriptor)                                                                                      \
    CALL(BackendDestroyDescriptor)                                                                                     \
    CALL(BackendSetAttribute)                                                                                          \
    CALL(BackendGetAttribute)                                                                                          \
    CALL(BackendFinalize)                                                                                              \
    CALL(BackendExecute)

typedef struct cudnn_calls {
#define CUDNN_CALL(name) __typeof__(cudnn##name) *name;
    CUDNN_CALLS(CUDNN_CALL)
#undef CUDNN_CALL
} cudnn_calls;

/* The library and its handle, made at the first call. UNSUPPORTED, "no cuDNN: " and why, where they cannot be had. */
mmrec_status cudnn_open(const cudnn_calls **calls, cudnnHandle_t *handle, mmrec_error *error) MMREC_MUST_CHECK;

/* INTERNAL with cuDNN's own words for anything but success; NO_DEVICE where the device was lost on the way. */
mmrec_status cudnn_check(cudnnStatus_t code, const char *call, mmrec_error *error) MMREC_MUST_CHECK;
#define CUDNN_TRY(calls, name, error, ...) MMREC_TRY(cudnn_check((calls)->name(__VA_ARGS__), "cudnn" #name, (error)))

/* The same for what --FLAG may ask for. `required`, by --FLAG cudnn: where there is none, also what to do. Else there may
 * be none, which is found out once: `*handle` is NULL then. */
mmrec_status cudnn_find(const char *flag, bool required, const cudnn_calls **calls, cudnnHandle_t *handle,
                        mmrec_error *error) MMREC_MUST_CHECK;
/* What was found missing may be there by now. */
void cudnn_look_again(void);

/* Refuses while a CUDA graph is recorded: memory and plans are had before. */
mmrec_status cudnn_not_recording(mmrec_error *error) MMREC_MUST_CHECK;

/* After a call that puts kernels into the stream, about so many: as cudnn_check, but a failure inside a recording has
 * the recording for its likely cause. */
mmrec_status cudnn_queued(cudnnStatus_t code, const char *call, uint64_t kernels, mmrec_error *error) MMREC_MUST_CHECK;

/* ---- what both recurrent layers describe ---- */

/* No dropout: neither keeps anything for it. */
mmrec_status cudnn_make_dropout(const cudnn_calls *calls, cudnnHandle_t handle, cudnnDropoutDescriptor_t *out,
                                mmrec_error *error) MMREC_MUST_CHECK;

/* Packed states, (1, batch, width). */
mmrec_status cudnn_make_state(const cudnn_calls *calls, cudnnDataType_t type, int64_t batch, int64_t width,
                              cudnnTensorDescriptor_t *out, mmrec_error *error) MMREC_MUST_CHECK;

/* Sequences that are all `steps` long, (batch, steps, width) or (steps, batch, width). */
typedef struct cudnn_sequences {
    cudnnDataType_t type;
    cudnnRNNDataLayout_t layout;
    int64_t batch, steps, width;
    mmrec_allocator *allocator; /* of their lengths, for the moment of the call */
} cudnn_sequences;
mmrec_status cudnn_make_sequences(const cudnn_calls *calls, const cudnn_sequences *sequences,
                                  cudnnRNNDataDescriptor_t *out, mmrec_error *error) MMREC_MUST_CHECK;

/* The same lengths in device memory, one after the other. */
mmrec_status cudnn_fill_lengths(void *at, int64_t batch, int64_t steps, mmrec_error *error) MMREC_MUST_CHECK;

#endif
