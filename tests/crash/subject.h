/* Checkpoints whose every value follows from their step, so that a whole one of a known step is recognised. */
#ifndef MMREC_TESTS_CRASH_SUBJECT_H
#define MMREC_TESTS_CRASH_SUBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "mmrec/checkpoint.h"

/* Value i of tensor `name` (0 or 1) of a step. */
static inline double subject_value(int64_t step, int name, int64_t i) {
    return (double)(step * 7919 % 100003) + (double)name * 0.5 + (double)i / 1024;
}

/* Puts two tensors of `count` values and the step into an empty checkpoint; `values` is room for them. */
static inline mmrec_status subject_put(mmrec_checkpoint *checkpoint, int64_t step, int64_t count, double *values,
                                       mmrec_error *error) {
    static const char *const names[] = {"first", "second"};
    mmrec_shape shape = mmrec_shape1(count);
    MMREC_TRY(mmrec_checkpoint_put_whole(checkpoint, "step", step, error));
    for (int name = 0; name < 2; name++) {
        for (int64_t i = 0; i < count; i++) values[i] = subject_value(step, name, i);
        MMREC_TRY(mmrec_checkpoint_put(checkpoint, names[name], MMREC_SAFETENSORS_F64, &shape, values, error));
    }
    return MMREC_OK;
}

/* Whether it is that of `step`, every value of it. */
static inline bool subject_is(const mmrec_checkpoint *checkpoint, int64_t step, int64_t count, double *values) {
    static const char *const names[] = {"first", "second"};
    mmrec_shape shape = mmrec_shape1(count);
    int64_t named = -1;
    if (mmrec_checkpoint_whole(checkpoint, "step", &named, NULL) != MMREC_OK || named != step) return false;
    for (int name = 0; name < 2; name++) {
        if (mmrec_checkpoint_get(checkpoint, names[name], &shape, values, NULL) != MMREC_OK) return false;
        for (int64_t i = 0; i < count; i++) {
            if (!(values[i] == subject_value(step, name, i))) return false;
        }
    }
    return true;
}

#endif
