/* Events: the time at which the queue came to them. The clock is the processor's, and half a microsecond more for each
 * reading, so that no two events have the same time. */
#include "state.h"

#include <time.h>

struct CUevent_st {
    fake_handle handle;
    bool timed, captured; /* captured: the last recording went into a graph without being a node of it */
    cudaStream_t stream;  /* of the last recording; compared, not used, once that stream is gone */
    fake_queue *queue;
    uint64_t number;       /* of the recording in that queue; 0: never recorded */
    uint64_t recorded_at;  /* ns; 0: not yet */
    uint64_t wanted, seen; /* recordings queued and run outside of graphs */
};

enum { TICK_NS = 500 };

uint64_t fake_clock_ns(void) {
    static uint64_t ticks;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + ++ticks * TICK_NS;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags) {
    FAKE_TRY(fake_enter("cudaEventCreate"));
    *event = fake_handle_create(FAKE_EVENT, sizeof **event);
    if (!*event) return fake_fail(cudaErrorMemoryAllocation);
    (*event)->timed = !(flags & cudaEventDisableTiming);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    cudaError_t code = fake_enter(__func__);
    if (!fake_handle_valid(event, FAKE_EVENT)) return fake_fail(cudaErrorInvalidResourceHandle);
    fake_handle_end(event);
    return code;
}

static void run_record(void *context) {
    cudaEvent_t event = *(cudaEvent_t *)context;
    event->recorded_at = fake_clock_ns();
    event->seen++;
}

static void run_record_in_graph(void *context) { (*(cudaEvent_t *)context)->recorded_at = fake_clock_ns(); }

/* A plain recording in a captured stream orders the graph and takes no time; an external one is a node that does. */
static cudaError_t record_captured(cudaEvent_t event, cudaStream_t stream, unsigned int flags) {
    event->captured = flags != cudaEventRecordExternal;
    if (event->captured) return cudaSuccess;
    return fake_submit(stream, "an event", run_record_in_graph, &event, sizeof event);
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned int flags) {
    FAKE_TRY(fake_enter("cudaEventRecord"));
    if (!fake_handle_valid(event, FAKE_EVENT) || !fake_stream_valid(stream))
        return fake_fail(cudaErrorInvalidResourceHandle);
    if (stream && stream->capture) return record_captured(event, stream, flags);
    FAKE_TRY(fake_submit(stream, "an event", run_record, &event, sizeof event));
    event->captured = false;
    event->queue = fake_queue_of(stream);
    event->number = event->queue->queued;
    event->wanted++;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return cudaEventRecordWithFlags(event, stream, cudaEventRecordDefault);
}

static cudaError_t refuse_event(cudaEvent_t event) {
    if (!fake_handle_valid(event, FAKE_EVENT)) return fake_fail(cudaErrorInvalidResourceHandle);
    return event->captured ? fake_fail(cudaErrorCapturedEvent) : cudaSuccess;
}

static void wait_for(cudaEvent_t event) {
    if (event->seen < event->wanted) fake_queue_run(event->queue, event->number);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    FAKE_TRY(fake_enter_unsafe(__func__));
    FAKE_TRY(refuse_event(event));
    wait_for(event);
    return fake_waited();
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    FAKE_TRY(fake_enter_unsafe(__func__));
    FAKE_TRY(refuse_event(event));
    if (event->seen == event->wanted) return fake_waited();
    fake_queue_run(event->queue, event->queue->done + 1);
    FAKE_TRY(fake_waited());
    return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
    FAKE_TRY(fake_enter(__func__));
    FAKE_TRY(refuse_event(from));
    FAKE_TRY(refuse_event(to));
    if (!from->timed || !to->timed || !(from->wanted || from->recorded_at) || !(to->wanted || to->recorded_at))
        return fake_fail(cudaErrorInvalidResourceHandle);
    if (from->seen < from->wanted || to->seen < to->wanted) return cudaErrorNotReady;
    *milliseconds = (float)((double)(int64_t)(to->recorded_at - from->recorded_at) * 1e-6);
    return cudaSuccess;
}

static void run_wait(void *context) { wait_for(*(cudaEvent_t *)context); }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags) {
    FAKE_TRY(fake_enter(__func__));
    if (flags) return fake_fail(cudaErrorInvalidValue);
    FAKE_TRY(refuse_event(event));
    /* In one queue the order is there already. */
    if (!event->wanted || event->queue == fake_queue_of(stream)) return cudaSuccess;
    return fake_submit(stream, "a wait", run_wait, &event, sizeof event);
}
