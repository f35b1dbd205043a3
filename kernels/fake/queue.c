/* Streams: queues of commands that run when something waits for them, and not before, so that a host that forgets to
 * wait reads old data here as well. The default stream and all blocking streams share one queue; a non-blocking stream
 * has its own, and a plain cudaMemcpy does not wait for it. */
#include "fake.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>

static fake_queue shared;
enum { MAX_STREAMS = 16 };
static cudaStream_t streams[MAX_STREAMS]; /* alive, NULL where free */

fake_command *fake_command_create(const char *name, void (*run)(void *context), const void *context, size_t bytes) {
    fake_command *command = calloc(1, sizeof *command + bytes);
    if (!command) return NULL;
    command->name = name;
    command->run = run;
    command->bytes = bytes;
    if (bytes) memcpy(command->context, context, bytes);
    return command;
}

void fake_commands_free(fake_command *first) {
    for (fake_command *next; first; first = next) {
        next = first->next;
        free(first);
    }
}

void fake_command_run(const fake_command *command) {
    if (fake_lost() != cudaSuccess) return;
    fake_memory_open();
    fake_memory_watch(command->name);
    command->run((void *)command->context);
    fake_memory_watch(NULL);
    fake_memory_check(command->name);
    fake_memory_close();
}

void fake_queue_push(fake_queue *queue, fake_command *command) {
    if (!queue->first) queue->last = &queue->first;
    *queue->last = command;
    queue->last = &command->next;
    queue->queued++;
}

void fake_queue_run(fake_queue *queue, uint64_t until) {
    if (!queue->first || queue->done >= until) return;
    fake_memory_open();
    while (queue->first && queue->done < until) {
        fake_command *command = queue->first;
        queue->first = command->next;
        queue->done++;
        fake_command_run(command);
        free(command);
    }
    fake_memory_close();
}

void fake_queues_run(void) {
    fake_queue_run(&shared, shared.queued);
    for (int i = 0; i < MAX_STREAMS; i++) {
        if (streams[i]) fake_queue_run(&streams[i]->queue, streams[i]->queue.queued);
    }
}

void fake_queues_drop(void) {
    fake_commands_free(shared.first);
    shared.first = NULL;
    for (int i = 0; i < MAX_STREAMS; i++) {
        if (!streams[i]) continue;
        fake_commands_free(streams[i]->queue.first);
        streams[i]->queue.first = NULL;
    }
}

cudaStream_t fake_capturing(void) {
    for (int i = 0; i < MAX_STREAMS; i++) {
        if (streams[i] && streams[i]->capture) return streams[i];
    }
    return NULL;
}

bool fake_stream_valid(cudaStream_t stream) { return !stream || fake_handle_valid(stream, FAKE_STREAM); }

fake_queue *fake_queue_of(cudaStream_t stream) { return stream && stream->non_blocking ? &stream->queue : &shared; }

cudaError_t fake_submit(cudaStream_t stream, const char *name, void (*run)(void *context), const void *context,
                        size_t bytes) {
    if (!fake_stream_valid(stream)) return fake_fail(cudaErrorInvalidResourceHandle);
    cudaStream_t capturing = fake_capturing();
    if (!stream && capturing && !capturing->non_blocking) {
        capturing->invalid = true;
        return fake_fail(cudaErrorStreamCaptureImplicit);
    }
    if (stream && stream->capture && stream->invalid) return fake_fail(cudaErrorStreamCaptureInvalidated);
    fake_command *command = fake_command_create(name, run, context, bytes);
    if (!command) return fake_fail(cudaErrorMemoryAllocation);
    fake_queue_push(stream && stream->capture ? fake_graph_queue(stream->capture) : fake_queue_of(stream), command);
    return cudaSuccess;
}

cudaError_t mmrec_fake_launch(cudaStream_t stream, const char *name, void (*run)(void *context), const void *context,
                              size_t bytes) {
    FAKE_TRY(fake_enter("launch"));
    return fake_submit(stream, name, run, context, bytes);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags) {
    FAKE_TRY(fake_enter("cudaStreamCreate"));
    int at = 0;
    while (at < MAX_STREAMS && streams[at]) at++;
    *stream = at < MAX_STREAMS ? fake_handle_create(FAKE_STREAM, sizeof **stream) : NULL;
    if (!*stream) return fake_fail(cudaErrorMemoryAllocation);
    (*stream)->non_blocking = flags == cudaStreamNonBlocking;
    streams[at] = *stream;
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

/* What is queued still runs; only then the stream ends. */
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    cudaError_t code = fake_enter(__func__);
    if (!fake_handle_valid(stream, FAKE_STREAM)) return fake_fail(cudaErrorInvalidResourceHandle);
    fake_queue_run(&stream->queue, stream->queue.queued);
    for (int i = 0; i < MAX_STREAMS; i++) {
        if (streams[i] == stream) streams[i] = NULL;
    }
    fake_handle_end(stream);
    return code;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    FAKE_TRY(fake_enter_unsafe(__func__));
    if (!fake_stream_valid(stream)) return fake_fail(cudaErrorInvalidResourceHandle);
    fake_queue *queue = fake_queue_of(stream);
    fake_queue_run(queue, queue->queued);
    return fake_waited();
}

/* Asking makes progress by one command, so that a host that polls gets there. */
cudaError_t cudaStreamQuery(cudaStream_t stream) {
    FAKE_TRY(fake_enter_unsafe(__func__));
    if (!fake_stream_valid(stream)) return fake_fail(cudaErrorInvalidResourceHandle);
    fake_queue *queue = fake_queue_of(stream);
    if (!queue->first) return fake_waited();
    fake_queue_run(queue, queue->done + 1);
    return cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize(void) {
    FAKE_TRY(fake_enter_unsafe(__func__));
    fake_queues_run();
    return fake_waited();
}

typedef struct host_call {
    cudaHostFn_t function;
    void *data;
} host_call;

static void run_host_call(void *context) {
    const host_call *call = context;
    call->function(call->data);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data) {
    FAKE_TRY(fake_enter(__func__));
    const host_call call = {function, data};
    return fake_submit(stream, "a host function", run_host_call, &call, sizeof call);
}

typedef struct transfer {
    void *to;
    const void *from;
    size_t bytes;
    int value;
} transfer;

static void run_copy(void *context) {
    const transfer *t = context;
    memmove(t->to, t->from, t->bytes);
}

static void run_fill(void *context) {
    const transfer *t = context;
    memset(t->to, t->value, t->bytes);
}

/* A copy from pageable host memory: the bytes come behind the transfer. */
static void run_staged_copy(void *context) {
    const transfer *t = context;
    memcpy(t->to, t + 1, t->bytes);
}

static cudaError_t submit_staged(const transfer *t, cudaStream_t stream) {
    transfer *staged = malloc(sizeof *staged + t->bytes);
    if (!staged) return fake_fail(cudaErrorMemoryAllocation);
    *staged = *t;
    memcpy(staged + 1, t->from, t->bytes);
    cudaError_t code = fake_submit(stream, "a copy", run_staged_copy, staged, sizeof *staged + t->bytes);
    free(staged);
    return code;
}

/* As documented for pageable host memory: a copy from it has taken the bytes when it returns, a copy to it is complete.
 * Only copies between device and pinned memory are left in the queue, and all those that are captured. */
static cudaError_t submit_transfer(const transfer *t, bool to_device, bool from_device, cudaStream_t stream) {
    bool captured = stream && fake_stream_valid(stream) && stream->capture;
    bool pageable_from = !from_device && !fake_memory_pinned(t->from, t->bytes);
    bool pageable_to = !to_device && !fake_memory_pinned(t->to, t->bytes);
    if (!captured && pageable_from) return submit_staged(t, stream);
    FAKE_TRY(fake_submit(stream, "a copy", run_copy, t, sizeof *t));
    if (captured || !pageable_to) return cudaSuccess;
    fake_queue *queue = fake_queue_of(stream);
    fake_queue_run(queue, queue->queued);
    return fake_waited();
}

static bool on_side(const void *at, size_t bytes, bool device) {
    return device ? fake_memory_device(at, bytes) : fake_memory_host(at, bytes);
}

static cudaError_t submit_copy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                               cudaStream_t stream) {
    if (bytes == 0) return cudaSuccess;
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (kind == cudaMemcpyDefault) {
        to_device = fake_memory_device(to, bytes);
        from_device = fake_memory_device(from, bytes);
    }
    if (!on_side(to, bytes, to_device) || !on_side(from, bytes, from_device)) return fake_fail(cudaErrorInvalidValue);
    const transfer t = {to, from, bytes, 0};
    return submit_transfer(&t, to_device, from_device, stream);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
    FAKE_TRY(fake_enter(__func__));
    return submit_copy(to, from, bytes, kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    FAKE_TRY(fake_enter_unsafe(__func__));
    FAKE_TRY(submit_copy(to, from, bytes, kind, NULL));
    fake_queue_run(&shared, shared.queued);
    return fake_waited();
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
    FAKE_TRY(fake_enter(__func__));
    if (bytes == 0) return cudaSuccess;
    if (!fake_memory_device(memory, bytes)) return fake_fail(cudaErrorInvalidValue);
    const transfer t = {memory, NULL, bytes, value};
    return fake_submit(stream, "a fill", run_fill, &t, sizeof t);
}

/* Like the real one on device memory it only queues, on the default stream. */
cudaError_t cudaMemset(void *memory, int value, size_t bytes) { return cudaMemsetAsync(memory, value, bytes, NULL); }
