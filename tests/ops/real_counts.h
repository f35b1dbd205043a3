/* What the counting number counted: shared by the C harness and the C++ number. */
#ifndef MMREC_REAL_COUNTS_H
#define MMREC_REAL_COUNTS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmrec_real_counts {
    uint64_t flops, transcendentals;
} mmrec_real_counts;

extern mmrec_real_counts mmrec_real_counted;

#ifdef __cplusplus
}
#endif
#endif
