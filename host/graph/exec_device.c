/* What an exec does only on a device: whether its memory fits, times of nodes by events, recorded phases. */
#include <stdio.h>

#include "core/units.h"
#include "exec_impl.h"

/* ---- memory ---- */

static const char *arena_list(const size_t bytes[MMREC_ARENAS], char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (int a = 0; a < MMREC_ARENAS; a++) {
        char amount[MMREC_UNITS_TEXT];
        if (!bytes[a] || used >= size) continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s %s", used ? ", " : "",
                                 mmrec_arena_name((mmrec_arena)a), mmrec_units_bytes_text((double)bytes[a], amount));
    }
    return text;
}

mmrec_status mmrec_exec_fits(const mmrec_backend *backend, const mmrec_plan *plan, bool shared_params,
                             mmrec_error *error) {
    size_t bytes[MMREC_ARENAS], needed = 0, free_bytes = 0, total = 0;
    char list[200], need[MMREC_UNITS_TEXT], there[MMREC_UNITS_TEXT], all[MMREC_UNITS_TEXT];
    if (!backend->device) return MMREC_OK;
    for (int a = 0; a < MMREC_ARENAS; a++) {
        bytes[a] = shared_params && a == MMREC_ARENA_PARAMS ? 0 : mmrec_plan_arena_bytes(plan, (mmrec_arena)a);
        needed += bytes[a];
    }
    MMREC_TRY(backend->device->memory(&free_bytes, &total, error));
    if (needed <= free_bytes) return MMREC_OK;
    MMREC_FAIL(error, MMREC_NO_MEMORY, "the plan needs %s of device memory (%s), but %s of %s are free",
               mmrec_units_bytes_text((double)needed, need), arena_list(bytes, list, sizeof list),
               mmrec_units_bytes_text((double)free_bytes, there), mmrec_units_bytes_text((double)total, all));
}

/* ---- events around nodes ---- */

mmrec_status exec_events_create(mmrec_exec *exec, mmrec_error *error) {
    void *memory = NULL;
    MMREC_TRY(
        mmrec_alloc_zero(exec->allocator, exec->node_count, sizeof(exec_events), MMREC_ALLOC_TRACE, &memory, error));
    exec->events = memory;
    for (size_t n = 0; n < exec->node_count; n++) {
        MMREC_TRY(exec->backend->device->event_create(&exec->events[n].from, error));
        MMREC_TRY(exec->backend->device->event_create(&exec->events[n].to, error));
    }
    return MMREC_OK;
}

void exec_device_release(mmrec_exec *exec) {
    const mmrec_device *device = exec->backend->device;
    if (!device) return;
    for (int phase = 0; phase < MMREC_PHASES; phase++) device->graph_destroy(exec->recorded[phase]);
    if (exec->staging) mmrec_alloc(exec->allocator, exec->staging, EXEC_STAGING_BYTES, 0, MMREC_ALLOC_EXEC);
    if (!exec->events) return;
    for (size_t n = 0; n < exec->node_count; n++) {
        device->event_destroy(exec->events[n].from);
        device->event_destroy(exec->events[n].to);
    }
    mmrec_alloc(exec->allocator, exec->events, exec->node_count * sizeof(exec_events), 0, MMREC_ALLOC_TRACE);
}

mmrec_status exec_event_start(mmrec_exec *exec, size_t node, mmrec_error *error) {
    const mmrec_device *device = exec->backend->device;
    exec_events *e = &exec->events[node];
    e->launches = device->launches();
    if (e->hold) MMREC_TRY(device->hold(error));
    mmrec_status status = device->event_record(e->from, error);
    if (status != MMREC_OK && e->hold) device->release();
    return status;
}

mmrec_status exec_event_stop(mmrec_exec *exec, size_t node, mmrec_error *error) {
    const mmrec_device *device = exec->backend->device;
    exec_events *e = &exec->events[node];
    mmrec_status status = device->event_record(e->to, error);
    if (e->hold) device->release();
    e->hold = device->launches() - e->launches <= MMREC_MOST_HELD;
    return status;
}

mmrec_status exec_events_read(mmrec_exec *exec, mmrec_phase phase, mmrec_error *error) {
    for (size_t n = 0; n < exec->node_count; n++) {
        double ns = 0;
        if (exec->graph->nodes[n].phase != phase) continue;
        MMREC_TRY(exec->backend->device->event_elapsed_ns(exec->events[n].from, exec->events[n].to, &ns, error));
        exec->trace[n].ns = (uint64_t)ns;
    }
    return MMREC_OK;
}

/* ---- recorded phases ---- */

static mmrec_status record(mmrec_exec *exec, mmrec_phase phase, exec_runner run, mmrec_error *error) {
    const mmrec_device *device = exec->backend->device;
    MMREC_TRY(device->capture_begin(error));
    mmrec_status status = run(exec, phase, error);
    if (status == MMREC_OK) return device->capture_end(&exec->recorded[phase], error);
    device->capture_abandon();
    return status;
}

/* The first run is not recorded: ops may look at the device then, choose algorithms or check themselves. */
mmrec_status exec_run_recorded(mmrec_exec *exec, mmrec_phase phase, exec_runner run, mmrec_error *error) {
    if (!exec->seen[phase]) {
        MMREC_TRY(run(exec, phase, error));
        exec->seen[phase] = true;
        return MMREC_OK;
    }
    if (!exec->recorded[phase]) {
        MMREC_TRY_WHILE(record(exec, phase, run, error), error, "recording a CUDA graph");
    }
    return exec->backend->device->graph_launch(exec->recorded[phase], error);
}
