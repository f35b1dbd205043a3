/* The executor as its own files see it: exec.c (creation, running), exec_values.c (values in and out, finite or not),
 * exec_device.c (events, recorded phases, free memory). */
#ifndef MMREC_EXEC_IMPL_H
#define MMREC_EXEC_IMPL_H

#include "graph_impl.h"
#include "mmrec/exec.h"

/* Copies between host and device go through so many bytes: enough to make the price of a copy small beside its bytes.
 */
enum { EXEC_STAGING_BYTES = 1 << 18 };

/* Around a node that is traced on a device. Whether the stream may be held meanwhile is known from the run before. */
typedef struct exec_events {
    void *from, *to;
    uint64_t launches; /* the device's count when the node began */
    bool hold;
} exec_events;

struct mmrec_exec {
    mmrec_allocator *allocator;
    const mmrec_backend *backend;
    const mmrec_graph *graph;
    const mmrec_plan *plan;
    mmrec_exec *owner; /* of the parameters: itself, or the exec they are shared with */
    void *arena[MMREC_ARENAS];
    size_t arena_bytes[MMREC_ARENAS];
    mmrec_op_call *calls; /* one per node */
    mmrec_trace_record *trace;
    size_t node_count;
    uint64_t seed;
    /* On a device: room on the host for copies; a pair of events per node where it is traced; a phase is run as it is
     * the first time, recorded the second, and launched from then on. */
    char *staging;
    exec_events *events;
    bool graphs, seen[MMREC_PHASES];
    void *recorded[MMREC_PHASES];
    uint64_t version;   /* of the parameters; counted by the owner, from 1 */
    uint64_t refreshed; /* version at the last REFRESH, 0: none */
    uint64_t forward;   /* version that the last FORWARD read, 0: none, or its values are used up */
    bool check_finite;
};

/* exec_values.c: does all that the call wrote is finite? */
mmrec_status exec_call_finite(const mmrec_exec *exec, const graph_node *node, const mmrec_op_call *call, bool *finite,
                              mmrec_error *error) MMREC_MUST_CHECK;

/* exec_device.c. The events of a node, around its call, with the stream held meanwhile so that the time between them
 * holds no wait for the host; then their times into the trace. A node's first run is not held: kernels are loaded and
 * algorithms chosen then, which may wait for the device. */
mmrec_status exec_events_create(mmrec_exec *exec, mmrec_error *error) MMREC_MUST_CHECK;
void exec_device_release(mmrec_exec *exec);
mmrec_status exec_event_start(mmrec_exec *exec, size_t node, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status exec_event_stop(mmrec_exec *exec, size_t node, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status exec_events_read(mmrec_exec *exec, mmrec_phase phase, mmrec_error *error) MMREC_MUST_CHECK;
/* Runs the nodes of a phase by `run`: as they are, recording them, or from the record. */
typedef mmrec_status (*exec_runner)(mmrec_exec *exec, mmrec_phase phase, mmrec_error *error);
mmrec_status exec_run_recorded(mmrec_exec *exec, mmrec_phase phase, exec_runner run,
                               mmrec_error *error) MMREC_MUST_CHECK;

#endif
