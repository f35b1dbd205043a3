#include "adamw.h"

#include <float.h>
#include <math.h>

#define ADAMW_FUNCTION static inline

#define ADAMW_REAL double
#define ADAMW_NAME(name) f64_##name
#define ADAMW_SQRT sqrt
#define ADAMW_LARGEST DBL_MAX
#include "adamw_host.h"
#undef ADAMW_REAL
#undef ADAMW_NAME
#undef ADAMW_SQRT
#undef ADAMW_LARGEST

#define ADAMW_REAL float
#define ADAMW_NAME(name) f32_##name
#define ADAMW_SQRT sqrtf
#define ADAMW_LARGEST FLT_MAX
#include "adamw_host.h"

mmrec_status adamw_ref(const mmrec_adamw_call *call, mmrec_error *error) {
    (void)error;
    f64_step(call);
    return MMREC_OK;
}

mmrec_status adamw_cpu(const mmrec_adamw_call *call, mmrec_error *error) {
    (void)error;
    f32_step(call);
    return MMREC_OK;
}
