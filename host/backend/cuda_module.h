/* What libmmrec_cuda.so exports, and what the library (module.c) expects of it. */
#ifndef MMREC_CUDA_MODULE_H
#define MMREC_CUDA_MODULE_H

#include "backend/mlp.h"

/* Both sides are compiled from one tree, but a module left over from another build would be found beside the program
 * all the same. It is told by the sizes of what passes between the two; the first number counts changes of meaning. */
#define MMREC_CUDA_ABI                                                                                                 \
    {                                                                                                                  \
        1, MMREC_OPS, sizeof(mmrec_op_sizes), sizeof(mmrec_op_call), sizeof(mmrec_error), sizeof(mmrec_device),        \
            sizeof(mmrec_backend), sizeof(mmrec_device_options), sizeof(mmrec_adamw_call), sizeof(mmrec_adamw_range),  \
            sizeof(mmrec_lstm_request), sizeof(mmrec_lstm_info), sizeof(mmrec_mlp_call)                                \
    }
enum { MMREC_CUDA_ABI_NUMBERS = 13 };

/* Compute capabilities there are kernels for (cmake/cuda.cmake): code for 8.0 runs on all 8.x, code for 9.0 there only.
 */
enum { MMREC_CUDA_OLDEST = 80, MMREC_CUDA_NEWEST = 90 };

typedef struct mmrec_cuda_module {
    uint64_t abi[MMREC_CUDA_ABI_NUMBERS];
    /* Opens the device; a second call returns the same backend. NO_DEVICE, NO_MEMORY, UNSUPPORTED (too old). */
    mmrec_status (*open)(const mmrec_device_options *options, const mmrec_backend **out, mmrec_error *error);
    void (*close)(void);
} mmrec_cuda_module;

#define MMREC_CUDA_MODULE_FILE "libmmrec_cuda.so"
#define MMREC_CUDA_MODULE_SYMBOL "mmrec_cuda_module_get"
typedef const mmrec_cuda_module *(*mmrec_cuda_module_getter)(void);

#endif
