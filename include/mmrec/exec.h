/* Execution of a planned graph on a backend, node by node, with one trace record per node.
 *
 * After mmrec_exec_create a step allocates nothing. Only this module reads clocks around nodes and opens NVTX ranges. */
#ifndef MMREC_EXEC_H
#define MMREC_EXEC_H

#include "mmrec/backend.h"
#include "mmrec/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmrec_exec mmrec_exec;

typedef struct mmrec_exec_options {
    mmrec_exec *params_from; /* share parameters (and the stacks made of them) with this exec, which must outlive the
                                new one and have been built from the same model configuration: CONFIG where a
                                parameter lies elsewhere in it; NULL: own them */
    bool trace;              /* record time and work of every node */
    bool check_finite;       /* also look for the first non-finite value after every node (slow) */
} mmrec_exec_options;

/* One node of the last run. */
typedef struct mmrec_trace_record {
    int node;
    mmrec_op_id op;
    mmrec_pass pass;
    int layer;
    uint64_t ns;       /* 0 when the node did not run */
    mmrec_work work;
    bool finite;       /* true unless check_finite found otherwise */
} mmrec_trace_record;

/* Allocates the arenas (zeroed parameters, gradients and optimizer state; other arenas zeroed too) and resolves every
 * pointer. Graph and plan must outlive it. NO_MEMORY; UNSUPPORTED when the backend computes in another type than the
 * graph; CONFIG for parameters that cannot be shared. Destroy is NULL-safe and clears. */
mmrec_status mmrec_exec_create(mmrec_allocator *allocator, const mmrec_backend *backend, const mmrec_graph *graph,
                               const mmrec_plan *plan, mmrec_exec_options options, mmrec_exec **out,
                               mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_exec_destroy(mmrec_exec **exec);

/* Copies values in or out, `count` = elements of the tensor, converting between double and the tensor's type. SHAPE when
 * the count is another or, writing, the tensor holds ids. Writing a parameter marks the derived values as stale. */
mmrec_status mmrec_exec_write(mmrec_exec *exec, mmrec_tensor tensor, const double *values, int64_t count,
                              mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_exec_read(mmrec_exec *exec, mmrec_tensor tensor, double *values, int64_t count,
                             mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_exec_write_ids(mmrec_exec *exec, mmrec_tensor tensor, const int32_t *values, int64_t count,
                                  mmrec_error *error) MMREC_MUST_CHECK;
/* The tensor's memory, for host backends; data NULL when the plan gave it none. */
mmrec_view mmrec_exec_view(const mmrec_exec *exec, mmrec_tensor tensor);

/* Parameters were changed through a view: run the REFRESH phase before the next forward. */
void mmrec_exec_params_changed(mmrec_exec *exec);
/* The number that addresses this step's random draws (dropout). 0 at creation. */
void mmrec_exec_seed(mmrec_exec *exec, uint64_t seed);

/* Runs a phase. FORWARD first runs REFRESH if the parameters changed. BACKWARD needs a FORWARD before it, one for each,
 * with the same parameters: INTERNAL otherwise. On failure the error carries a frame that names node, op and layer. */
mmrec_status mmrec_exec_run(mmrec_exec *exec, mmrec_phase phase, mmrec_error *error) MMREC_MUST_CHECK;

/* Trace of the latest run of each node; `*count` = node_count. NULL unless `trace` or `check_finite` was asked for. */
const mmrec_trace_record *mmrec_exec_trace(const mmrec_exec *exec, int *count);

#ifdef __cplusplus
}
#endif
#endif
