/* The recurrence by a chosen regime, and which regimes AUTO may choose. */
#ifndef MMREC_KERNELS_RECURRENCE_H
#define MMREC_KERNELS_RECURRENCE_H

#include "cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One pass by one regime, never AUTO. `plain`: without tensor cores, in the regime GRAPH. UNSUPPORTED, saying what is
 * missing, where the device cannot run it. */
mmrec_status mmrec_recurrence_run(const mmrec_op_call *call, mmrec_pass pass, mmrec_recurrence_regime way, bool plain,
                                  mmrec_error *error) MMREC_MUST_CHECK;

/* A bit for each regime that AUTO may choose on this device; without the bit of GRAPH, tensor cores are not to be used
 * either. Answers from the check on first use or from what an earlier process found (host/backend/cuda/self_check.c).
 * While the stream records a graph nothing can be checked, and only GRAPH is proven; ask once before. */
unsigned mmrec_recurrence_proven(void);

/* Runs the check: every regime this device can run, forward and backward, float and bf16, on a small case. GRAPH must
 * agree with the kernel without tensor cores, the others must give the bits of GRAPH. `why` says what went wrong first,
 * "" if nothing did. Fails only where nothing could be found out: no memory, or the device is lost. */
mmrec_status mmrec_recurrence_check(unsigned *proven, char *why, size_t why_size, mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
