/* What programs of tests on the device begin with. */
#ifndef CUDA_RIG_H
#define CUDA_RIG_H

#include <stdio.h>

#include "mmrec/backend.h"

/* The backend, or the exit code of a program that cannot have it: 77, saying why it is skipped, where there is no
 * device; 1 where the device fails. 0: go on. */
static inline int cuda_rig_open(const mmrec_backend **cuda) {
    mmrec_error error = {0};
    mmrec_status status = mmrec_backend_find("cuda", cuda, &error);
    bool absent = status == MMREC_NO_DEVICE || status == MMREC_UNSUPPORTED;
    if (status != MMREC_OK) printf("%s%s\n", absent ? "SKIP: " : "", error.message);
    return status == MMREC_OK ? 0 : absent ? 77 : 1;
}

#endif
