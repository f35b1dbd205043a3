/* A step of AdamW in double (`ref`) and in float (`cpu`). */
#ifndef MMREC_BACKEND_ADAMW_H
#define MMREC_BACKEND_ADAMW_H

#include "mmrec/backend.h"

mmrec_status adamw_ref(const mmrec_adamw_call *call, mmrec_error *error);
mmrec_status adamw_cpu(const mmrec_adamw_call *call, mmrec_error *error);

#endif
