/* What the library's side of the backends shares. */
#ifndef MMREC_BACKEND_IMPL_H
#define MMREC_BACKEND_IMPL_H

#include "mmrec/backend.h"

/* module.c: the name that `auto` stands for on this machine, noting why; the CUDA backend with its device open. */
const char *backend_auto(void);
mmrec_status backend_cuda(const mmrec_backend **out, mmrec_error *error) MMREC_MUST_CHECK;

#endif
