/* What the setups of the programs have in common: where something runs, and the model that the options ask for. */
#ifndef MMREC_REPORT_SETUP_H
#define MMREC_REPORT_SETUP_H

#include "core/options_impl.h"
#include "mmrec/bench.h"

typedef struct mmrec_place {
    const mmrec_backend *backend;
    int threads;
    bool graphs, tf32;
    bool bf16; /* what the backend is to store; it does */
} mmrec_place;

/* The backend of the options, its device opened where the program `runs` anything. */
mmrec_status mmrec_setup_place(const mmrec_options *options, bool runs, mmrec_place *out,
                               mmrec_error *error) MMREC_MUST_CHECK;

/* Axes over sizes of the model, and the point of their product that is being looked at. */
typedef struct mmrec_sweep {
    mmrec_axis axis[MMREC_OPTIONS];
    mmrec_option_id id[MMREC_OPTIONS];
    int axis_count, index[MMREC_OPTIONS];
} mmrec_sweep;

/* Model, batch and time: each size from an axis of `sweep` (NULL: none), from its option, of --size, or as it follows
 * from the width. The vocabulary is 256 in a program that takes it from its data. */
mmrec_bench_case mmrec_setup_case(const mmrec_options *options, const mmrec_sweep *sweep);
/* CONFIG naming the value, also for more tokens in a batch than ids of 32 bits can count. */
mmrec_status mmrec_setup_case_check(const mmrec_bench_case *c, mmrec_error *error) MMREC_MUST_CHECK;

#endif
