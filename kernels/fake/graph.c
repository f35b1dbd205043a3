/* Capture: the commands of a stream go into a graph instead of its queue. Launching an executable graph queues one
 * command, which runs them all. */
#include "state.h"

struct CUgraph_st {
    fake_handle handle;
    fake_queue commands;
};

struct CUgraphExec_st {
    fake_handle handle;
    fake_queue commands;
    uint64_t pending; /* launches in a queue: a destroyed graph lives until they have run */
};

fake_queue *fake_graph_queue(cudaGraph_t graph) { return &graph->commands; }

static void free_commands(fake_queue *queue) {
    fake_commands_free(queue->first);
    *queue = (fake_queue){0};
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    FAKE_TRY(fake_enter(__func__));
    if (!fake_handle_valid(stream, FAKE_STREAM)) return fake_fail(cudaErrorStreamCaptureUnsupported);
    if (fake_capturing()) return fake_fail(cudaErrorIllegalState);
    stream->capture = fake_handle_create(FAKE_GRAPH, sizeof *stream->capture);
    if (!stream->capture) return fake_fail(cudaErrorMemoryAllocation);
    stream->invalid = false;
    stream->mode = mode;
    return cudaSuccess;
}

void fake_graph_release(fake_handle *handle) {
    if (handle->kind == FAKE_GRAPH) free_commands(&((cudaGraph_t)handle)->commands);
    if (handle->kind == FAKE_GRAPH_EXEC) free_commands(&((cudaGraphExec_t)handle)->commands);
}

static void graph_end(cudaGraph_t graph) {
    free_commands(&graph->commands);
    fake_handle_end(graph);
}

/* The capture ends whatever the outcome. */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    cudaError_t code = fake_enter(__func__);
    *graph = NULL;
    if (!fake_handle_valid(stream, FAKE_STREAM)) return fake_fail(cudaErrorInvalidResourceHandle);
    cudaGraph_t captured = stream->capture;
    if (!captured) return code == cudaSuccess ? fake_fail(cudaErrorIllegalState) : code;
    stream->capture = NULL;
    if (code == cudaSuccess && stream->invalid) code = fake_fail(cudaErrorStreamCaptureInvalidated);
    if (code == cudaSuccess)
        *graph = captured;
    else
        graph_end(captured);
    return code;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    FAKE_TRY(fake_enter(__func__));
    *status = !stream || !stream->capture ? cudaStreamCaptureStatusNone
              : stream->invalid           ? cudaStreamCaptureStatusInvalidated
                                          : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags) {
    FAKE_TRY(fake_enter_unsafe(__func__));
    *exec = NULL;
    if (!fake_handle_valid(graph, FAKE_GRAPH) || flags) return fake_fail(cudaErrorInvalidValue);
    cudaGraphExec_t made = fake_handle_create(FAKE_GRAPH_EXEC, sizeof *made);
    if (!made) return fake_fail(cudaErrorMemoryAllocation);
    for (const fake_command *c = graph->commands.first; c; c = c->next) {
        fake_command *copy = fake_command_create(c->name, c->run, c->context, c->bytes);
        if (!copy) {
            free_commands(&made->commands);
            fake_handle_end(made);
            return fake_fail(cudaErrorMemoryAllocation);
        }
        fake_queue_push(&made->commands, copy);
    }
    *exec = made;
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
    FAKE_TRY(fake_enter(__func__));
    bool valid = fake_handle_valid(exec, FAKE_GRAPH_EXEC) && fake_stream_valid(stream);
    return valid ? cudaSuccess : fake_fail(cudaErrorInvalidValue);
}

static void run_graph(void *context) {
    cudaGraphExec_t exec = *(cudaGraphExec_t *)context;
    for (const fake_command *c = exec->commands.first; c; c = c->next) fake_command_run(c);
    if (--exec->pending == 0 && !exec->handle.alive) free_commands(&exec->commands);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    FAKE_TRY(fake_enter(__func__));
    if (!fake_handle_valid(exec, FAKE_GRAPH_EXEC)) return fake_fail(cudaErrorInvalidValue);
    if (stream && stream->capture) return fake_fail(cudaErrorNotSupported);
    FAKE_TRY(fake_submit(stream, "a graph", run_graph, &exec, sizeof exec));
    exec->pending++;
    return cudaSuccess;
}

/* Counts only. */
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
    FAKE_TRY(fake_enter(__func__));
    if (!fake_handle_valid(graph, FAKE_GRAPH) || nodes) return fake_fail(cudaErrorInvalidValue);
    *count = (size_t)graph->commands.queued;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    cudaError_t code = fake_enter(__func__);
    if (!fake_handle_valid(graph, FAKE_GRAPH)) return fake_fail(cudaErrorInvalidValue);
    graph_end(graph);
    return code;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    cudaError_t code = fake_enter(__func__);
    if (!fake_handle_valid(exec, FAKE_GRAPH_EXEC)) return fake_fail(cudaErrorInvalidValue);
    if (exec->pending == 0 || fake_lost() != cudaSuccess) free_commands(&exec->commands);
    fake_handle_end(exec);
    return code;
}
