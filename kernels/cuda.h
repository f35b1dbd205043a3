/* What the kernels' launchers share with the CUDA backend (host/backend/cuda): the device in use, the op table, GEMM.
 *
 * Both sides live in one module, libmmrec_cuda.so, which is loaded only when a device is asked for. In the preset `emu`
 * the same files are compiled against a runtime on host memory (kernels/fake) and run on the processor.
 *
 * Launchers have the C signature of every op function, `mmrec_status f(const mmrec_op_call *, mmrec_error *)`: the
 * views' data are device addresses, a launcher only queues work on the device's stream and never waits, so that a
 * phase can be captured into a CUDA graph. Nothing is allocated: scratch comes with the call. */
#ifndef MMREC_KERNELS_CUDA_H
#define MMREC_KERNELS_CUDA_H

#include <cuda_runtime_api.h>

#include "mmrec/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a kernel can report: it cannot return an error, so it writes the first fault here and goes on harmlessly.
 * Read, and turned into an mmrec_error, when the backend synchronizes. */
typedef enum mmrec_cuda_fault_code {
    MMREC_CUDA_FAULT_NONE,
    MMREC_CUDA_FAULT_ID,  /* `value` at row `at` of `op` is not in [0, limit) */
    MMREC_CUDA_FAULT_SPIN /* a block of `op` waited `value` rounds for step `at`: it gave up */
} mmrec_cuda_fault_code;

typedef struct mmrec_cuda_fault {
    uint32_t code, op; /* op: mmrec_op_id */
    int64_t at, value, limit;
} mmrec_cuda_fault;

/* The device in use; one per process. */
typedef struct mmrec_cuda {
    cudaStream_t stream;
    int device, sms, capability; /* capability: 80, 90 */
    int max_shared_bytes;        /* per block, with opt-in */
    int max_cluster;             /* blocks; 1 where there are no clusters */
    size_t l2_bytes;
    mmrec_cuda_fault *fault; /* device address */
    unsigned *barrier;       /* device address: words of grid barriers (simt_grid_sync), no arrivals in between */
    bool tf32;               /* float products may round their factors to 10 bits */
    mmrec_recurrence_regime recurrence; /* as asked for by the user */
    mmrec_library_choice rnn, attention;
    bool self_check;
    uint64_t spin_limit; /* rounds after which a waiting block gives up */
} mmrec_cuda;

/* Valid while a device is open. */
const mmrec_cuda *mmrec_cuda_now(void);

/* One op on the device; backward NULL where the op has none. kernels/<op>.cu defines mmrec_cuda_op_<op>. */
typedef struct mmrec_cuda_op {
    mmrec_op_function function[MMREC_PASSES];
} mmrec_cuda_op;

#define MMREC_OP(name) extern const mmrec_cuda_op mmrec_cuda_op_##name;
#include "mmrec/ops.def"
#undef MMREC_OP

/* c = op(a) op(b) [+ bias] [+ c], row-major matrices as views, op(x) = x or its transpose; bias (may be NULL): one per
 * column of c, in c's type. float x float -> float (TF32 only where the device was opened so), bf16 x bf16 -> float or
 * bf16; sums in float. By cuBLASLt: the algorithm is chosen once per problem and recorded, its workspace never changes,
 * so results repeat. */
mmrec_status mmrec_cuda_gemm(const mmrec_view *a, bool transpose_a, const mmrec_view *b, bool transpose_b,
                             const mmrec_view *c, const void *bias, bool accumulate, mmrec_error *error);

/* device_words.cu: c = from [+ c], views of one shape, both float or both bf16; the same where one row is all rows of
 * `from`; a word of device memory set in stream order. */
mmrec_status mmrec_cuda_put(const mmrec_view *c, const mmrec_view *from, bool accumulate, mmrec_error *error);
mmrec_status mmrec_cuda_put_row(const mmrec_view *c, const void *row, bool accumulate, mmrec_error *error);
mmrec_status mmrec_cuda_set_word(uint64_t *at, uint64_t value, mmrec_error *error);

/* Has cuDNN run a call of `lstm` or `gru` where --rnn says so (host/backend/cuda/rnn.c). Not `done`: it is for the
 * kernels. */
mmrec_status mmrec_cuda_rnn(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, bool *done, mmrec_error *error);
/* The same for a call of `attention` and --attention (host/backend/cuda/attention.c). */
mmrec_status mmrec_cuda_attention(mmrec_pass pass, const mmrec_op_call *call, bool *done, mmrec_error *error);

/* The backend's `adamw`: one launch (adamw.cu). */
mmrec_status mmrec_cuda_adamw(const mmrec_adamw_call *call, mmrec_error *error);
/* The backend's `mlp`: one launch (mlp.cu). */
mmrec_status mmrec_cuda_mlp(const struct mmrec_mlp_call *call, mmrec_error *error);

/* OK for cudaSuccess; otherwise a message that names `what` and the CUDA error: NO_MEMORY for failed allocations,
 * NO_DEVICE for sticky errors (the context is lost: every later call fails, and the backend says so), else INTERNAL. */
mmrec_status mmrec_cuda_check(cudaError_t code, const char *what, mmrec_error *error);

/* Called by every launch: counts kernels (mmrec_device_api.launches) and, at the end of a launch, maps its error. */
mmrec_status mmrec_cuda_launched(cudaError_t code, const char *kernel, mmrec_error *error);

/* One line on standard error, for what the user should know though the call succeeds. */
void mmrec_cuda_warn(const char *format, ...) MMREC_PRINTF(1, 2);

#ifdef __cplusplus
}
#endif
#endif
