/* CUDA's errors as statuses. Two kinds matter: a plain one fails the call that made it and is over; a sticky one has
 * destroyed the context, every later call of the process fails with it, and only a new process gets the device back. */
#include <stdio.h>

#include "cuda_impl.h"

static char lost_to[192]; /* what destroyed the context; "" while it lives */

bool cuda_lost(void) { return lost_to[0] != '\0'; }

mmrec_status cuda_usable(mmrec_error *error) {
    if (!cuda_lost()) return MMREC_OK;
    MMREC_FAIL(error, MMREC_NO_DEVICE, "the device was lost: %s; start the program again", lost_to);
}

static bool is_sticky(cudaError_t code) {
    switch ((int)code) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorExternalDevice:
    case cudaErrorMpsClientTerminated:
    case cudaErrorContextIsDestroyed:
    case cudaErrorUnknown:
        return true;
    default:
        return false;
    }
}

static mmrec_status status_of(cudaError_t code) {
    switch ((int)code) {
    case cudaErrorMemoryAllocation:
        return MMREC_NO_MEMORY;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorInitializationError:
    case cudaErrorDevicesUnavailable:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorNoKernelImageForDevice:
        return MMREC_NO_DEVICE;
    default:
        return MMREC_INTERNAL;
    }
}

mmrec_status mmrec_cuda_check(cudaError_t code, const char *what, mmrec_error *error) {
    if (code == cudaSuccess) return MMREC_OK;
    cudaGetLastError(); /* a plain error is remembered by the runtime until somebody asks */
    if (cuda_lost()) return cuda_usable(error);
    if (is_sticky(code)) {
        snprintf(lost_to, sizeof lost_to, "%.60s failed with %.40s (%.70s)", what, cudaGetErrorName(code),
                 cudaGetErrorString(code));
        return cuda_usable(error);
    }
    MMREC_FAIL(error, status_of(code), "%s failed with %s (%s)", what, cudaGetErrorName(code),
               cudaGetErrorString(code));
}

mmrec_status mmrec_cuda_launched(cudaError_t code, const char *kernel, mmrec_error *error) {
    if (code == cudaSuccess) {
        cuda_count_launches(1);
        return MMREC_OK;
    }
    char what[96];
    snprintf(what, sizeof what, "launching %.80s", kernel);
    return mmrec_cuda_check(code, what, error);
}
