/* What the files of the CUDA backend share. The module has one device, one stream, and no memory of its own: whatever
 * must be remembered (graphs, chosen algorithms) has a table of fixed size. */
#ifndef MMREC_CUDA_IMPL_H
#define MMREC_CUDA_IMPL_H

#include "cuda.h"

/* Every entry of the backend starts here: NO_DEVICE, saying what happened, once the device is lost. */
mmrec_status cuda_usable(mmrec_error *error) MMREC_MUST_CHECK;
bool cuda_lost(void);
#define CUDA_TRY(call, what, error) MMREC_TRY(mmrec_cuda_check((call), (what), (error)))

/* device.c */
extern mmrec_cuda cuda_state;
extern mmrec_device cuda_device;

/* memory.c */
mmrec_status cuda_alloc(mmrec_allocator *allocator, mmrec_arena arena, size_t bytes, void **out, mmrec_error *error);
void cuda_free(mmrec_allocator *allocator, mmrec_arena arena, void *memory, size_t bytes);
mmrec_status cuda_copy_in(void *device, const void *host, size_t bytes, mmrec_error *error);
mmrec_status cuda_copy_out(void *host, const void *device, size_t bytes, mmrec_error *error);
mmrec_status cuda_memory(size_t *free_bytes, size_t *total_bytes, mmrec_error *error);
mmrec_alloc_count cuda_allocated(int arena);
/* The backend's own buffers, counted as MMREC_ARENAS; not zeroed. */
mmrec_status cuda_alloc_own(size_t bytes, void **out, const char *what, mmrec_error *error);
void cuda_free_own(void *memory, size_t bytes);

/* stream.c */
mmrec_status cuda_synchronize(mmrec_error *error);
mmrec_status cuda_event_create(void **event, mmrec_error *error);
void cuda_event_destroy(void *event);
mmrec_status cuda_event_record(void *event, mmrec_error *error);
mmrec_status cuda_event_elapsed_ns(void *from, void *to, double *ns, mmrec_error *error);
mmrec_status cuda_hold(mmrec_error *error);
void cuda_release(void);
mmrec_status cuda_flush_cache(mmrec_error *error);
void cuda_flush_free(void);
void cuda_profiler(bool on);
mmrec_status cuda_seed(uint64_t seed, mmrec_error *error);

/* graphs.c */
mmrec_status cuda_capture_begin(mmrec_error *error);
mmrec_status cuda_capture_end(void **graph, mmrec_error *error);
void cuda_capture_abandon(void);
mmrec_status cuda_graph_launch(void *graph, mmrec_error *error);
void cuda_graph_destroy(void *graph);
bool cuda_capturing(void);
uint64_t cuda_launches(void);
void cuda_count_launches(uint64_t kernels);

/* lstm.c, or no_cudnn.c in a build without cuDNN */
mmrec_status cuda_lstm_create(const mmrec_lstm_request *request, mmrec_lstm_info *info, mmrec_error *error);
mmrec_status cuda_lstm_prepare(mmrec_pass pass, mmrec_error *error);
mmrec_status cuda_lstm_run(mmrec_pass pass, mmrec_error *error);
void cuda_lstm_destroy(void);

/* rnn.c: whether a tensor that is there lies as cuDNN wants it */
bool cuda_rnn_packed(const mmrec_view *view);

/* cudnn_rnn.c and cudnn_slots.c, or no_cudnn.c: a call of `lstm` or `gru` by cuDNN. What it keeps from forward to
 * backward is forgotten with the memory that the call's tensors lie in. Not `done`, unless it is required: it is not
 * there, has no room for another layer, or has not run the forward pass of a backward one. */
mmrec_status cuda_rnn_run(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, bool required, bool *done,
                          mmrec_error *error);
void cuda_rnn_forget(const void *memory, size_t bytes);
void cuda_rnn_free(void);

/* cudnn_attention.c, or no_cudnn.c: a call of `attention` by cuDNN. Not `done`: it has no engine for it, or, unless it
 * is required, is not there. */
mmrec_status cuda_attention_run(mmrec_pass pass, const mmrec_op_call *call, bool required, bool *done,
                                mmrec_error *error);
void cuda_attention_free(void);

/* cudnn.c, or no_cudnn.c: gives back cuDNN's handle */
void cuda_cudnn_close(void);

/* gemm.c */
mmrec_status cuda_gemm_open(mmrec_error *error);
void cuda_gemm_close(void);
bool cuda_gemm_record(int index, mmrec_gemm_record *out);

#endif
