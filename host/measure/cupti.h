/* The time of every kernel, by CUPTI's activity records. Loaded at run time: without it, or when another profiler holds
 * the device, the caller times by events instead.
 *
 * One recorder at a time in a process, because CUPTI's callbacks carry no context. Records are counted where CUPTI
 * hands them over, by kernel name, so that a run of any length needs the same memory. */
#ifndef MMREC_MEASURE_CUPTI_H
#define MMREC_MEASURE_CUPTI_H

#include "mmrec/measure.h"

enum { CUPTI_WHY = 200 };

/* False, with the reason in `why`, when kernels cannot be recorded. Buffers come from `allocator`, tag MEASURE. */
bool cupti_open(mmrec_allocator *allocator, char why[CUPTI_WHY]);
/* Forgets what was recorded. */
void cupti_reset(void);
/* Takes in every record of work that is done (the caller has waited for it) and gives the sum of the kernels' times.
 * Records that found no room are counted in `lost`. */
mmrec_status cupti_collect(double *ns, uint64_t *lost, mmrec_error *error) MMREC_MUST_CHECK;
/* The kernels since the reset, the longest first: at most `room`; returns how many there are in `out`. */
int cupti_kernels(mmrec_kernel_time *out, int room);
/* kernel_name.c: `given` as a reader of C++ would write it, without arguments; as it is where it cannot be read. Cut to
 * fit. */
void kernel_name(const char *given, char out[MMREC_KERNEL_NAME]);
void cupti_close(mmrec_allocator *allocator);

#endif
