/* What the SIMT emulation (kernels/emulation) needs of the runtime on host memory. */
#ifndef MMREC_FAKE_H
#define MMREC_FAKE_H

#include <stdbool.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Queues run(context) on the stream, as a kernel launch does: it runs later, when something waits for the stream, and
 * again and again when it was captured into a graph. The bytes of the context are copied; run must leave them as they
 * are. `name` is kept, not copied. A library in cuDNN's place (tests/unit/fake_cudnn.c) looks it up in the module. */
__attribute__((visibility("default"))) cudaError_t
mmrec_fake_launch(cudaStream_t stream, const char *name, void (*run)(void *context), const void *context,
                              size_t bytes);

/* What a device would say to this shape: cudaErrorInvalidConfiguration, InvalidClusterSize, LaunchOutOfResources or
 * CooperativeLaunchTooLarge. `resident`: all blocks must fit at once. Not counted as a runtime call. */
cudaError_t mmrec_fake_shape(unsigned grid, unsigned block, size_t shared_bytes, bool resident, unsigned cluster);

/* Called inside run: prints "kernel NAME: WORDS" once and loses the device with cudaErrorLaunchFailure, so that the
 * next call that waits, and every later one, fails. */
void mmrec_fake_kernel_failed(const char *name, const char *words);

#ifdef __cplusplus
}
#endif
#endif
