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
    bool graphs;             /* on a device, unless traced: record each phase at its second run and launch it whole */
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
 * graph or does not store what it stores; CONFIG for parameters that cannot be shared. Destroy is NULL-safe and clears. */
mmrec_status mmrec_exec_create(mmrec_allocator *allocator, const mmrec_backend *backend, const mmrec_graph *graph,
                               const mmrec_plan *plan, mmrec_exec_options options, mmrec_exec **out,
                               mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_exec_destroy(mmrec_exec **exec);

/* On a device: NO_MEMORY naming what each arena needs and what is free, when the plan does not fit; asked by
 * mmrec_exec_create before it allocates. OK on the host. */
mmrec_status mmrec_exec_fits(const mmrec_backend *backend, const mmrec_plan *plan, bool shared_params,
                             mmrec_error *error) MMREC_MUST_CHECK;

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

/* Copies between double and a view of this exec's backend memory that need not be a tensor: a part of one, optimizer
 * state, memory of the caller's. All its elements, in order; ids are read as numbers. SHAPE writing ids. Nothing is
 * marked as stale. */
mmrec_status mmrec_exec_read_view(mmrec_exec *exec, const mmrec_view *view, double *values,
                                  mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_exec_write_view(mmrec_exec *exec, const mmrec_view *view, const double *values,
                                   mmrec_error *error) MMREC_MUST_CHECK;

/* What the exec was made of; its optimizer state, and the gradients of all parameters with the gaps between them, each
 * as one row of reals in the backend's memory: data NULL when the plan has none (mmrec_plan_options.optimizer_slots). */
const mmrec_backend *mmrec_exec_backend(const mmrec_exec *exec);
const mmrec_graph *mmrec_exec_graph(const mmrec_exec *exec);
mmrec_view mmrec_exec_optimizer(const mmrec_exec *exec);
mmrec_view mmrec_exec_gradients(const mmrec_exec *exec);

/* Parameters were changed through a view: run the REFRESH phase before the next forward. */
void mmrec_exec_params_changed(mmrec_exec *exec);
/* The number that addresses this step's random draws (dropout). 0 at creation. */
void mmrec_exec_seed(mmrec_exec *exec, uint64_t seed);

/* Runs a phase. FORWARD first runs REFRESH if the parameters changed. BACKWARD needs a FORWARD before it, one for each,
 * with the same parameters: INTERNAL otherwise. On failure the error carries a frame that names node, op and layer. */
mmrec_status mmrec_exec_run(mmrec_exec *exec, mmrec_phase phase, mmrec_error *error) MMREC_MUST_CHECK;
/* The same without waiting for the device, so that several phases can be queued and timed as one; an error of the device
 * is then found by whoever waits. On the host it is mmrec_exec_run. */
mmrec_status mmrec_exec_queue(mmrec_exec *exec, mmrec_phase phase, mmrec_error *error) MMREC_MUST_CHECK;

/* Marks what runs between on and off as what a profiler is to record: an NVTX range "capture", and on a device the
 * profiler's own start and stop. */
void mmrec_exec_capture(const mmrec_backend *backend, bool on);

/* Trace of the latest run of each node (on a device: the latest that was waited for); `*count` = node_count. NULL unless `trace` or `check_finite` was asked for. */
const mmrec_trace_record *mmrec_exec_trace(const mmrec_exec *exec, int *count);

#ifdef __cplusplus
}
#endif
#endif
