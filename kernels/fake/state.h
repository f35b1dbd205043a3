/* Shared by the files of the runtime on host memory. Like the backend that uses it, it serves one thread.
 *
 *   fault.c   counting, injected failures, the last error, the lost device, the report at exit
 *   memory.c  guarded allocations that only work in the queue can touch
 *   queue.c   streams as queues that run when something waits for them; copies, fills, launches
 *   event.c   events and their clock      graph.c  capture and replay
 *   device.c  identity, limits, occupancy blaslt.c matrix products */
#ifndef MMREC_FAKE_STATE_H
#define MMREC_FAKE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cuda_runtime_api.h>

enum {
    FAKE_SMS = 16, /* one cluster of 16 blocks that fill a multiprocessor each still fits */
    FAKE_MAX_CLUSTER = 16,
    FAKE_THREADS_PER_BLOCK = 1024,
    FAKE_THREADS_PER_SM = 2048,
    FAKE_BLOCKS_PER_SM = 32,
    FAKE_SHARED_PER_BLOCK = 48 * 1024,
    FAKE_SHARED_OPTIN = 227 * 1024, /* the limits of capability 9.0 */
    FAKE_SHARED_PER_SM = 228 * 1024,
    FAKE_SHARED_RESERVED = 1024,
    FAKE_L2_BYTES = 4 * 1024 * 1024
};

/* fault.c: every fallible call begins with one of these and returns what is not cudaSuccess. */
cudaError_t fake_enter(const char *call);
/* The same for calls that no stream may be captured during. */
cudaError_t fake_enter_unsafe(const char *call);
#define FAKE_TRY(expression)                                                                                           \
    do {                                                                                                               \
        cudaError_t fake_code_ = (expression);                                                                         \
        if (fake_code_ != cudaSuccess) return fake_code_;                                                              \
    } while (0)
cudaError_t fake_fail(cudaError_t code); /* remembers it as the last error; returns it */
void fake_lose(cudaError_t code);        /* from here on every call fails so */
cudaError_t fake_lost(void);             /* cudaSuccess, or what the device was lost with */
/* cudaSuccess, or the error of a lost device: what a call that waited returns. */
cudaError_t fake_waited(void);

/* Everything created and not yet destroyed. A dead handle stays in the list, so that its use is seen. */
typedef enum fake_kind {
    FAKE_STREAM,
    FAKE_EVENT,
    FAKE_GRAPH,
    FAKE_GRAPH_EXEC,
    FAKE_BLAS,
    FAKE_BLAS_LAYOUT,
    FAKE_BLAS_DESC,
    FAKE_BLAS_PREFERENCE,
    FAKE_KINDS
} fake_kind;

typedef struct fake_handle {
    struct fake_handle *next;
    fake_kind kind;
    bool alive;
} fake_handle;

void *fake_handle_create(fake_kind kind, size_t bytes); /* zeroed, a fake_handle first; NULL without memory */
bool fake_handle_valid(const void *handle, fake_kind kind);
void fake_handle_end(void *handle);
/* At exit: how many of a kind live, and release of all. */
int fake_handles_alive(fake_kind kind);
void fake_handles_release(void);

/* Work that waits in a queue or in a graph. */
typedef struct fake_command {
    struct fake_command *next;
    const char *name;
    void (*run)(void *context);
    size_t bytes;
    _Alignas(max_align_t) unsigned char context[];
} fake_command;

fake_command *fake_command_create(const char *name, void (*run)(void *context), const void *context, size_t bytes);
void fake_commands_free(fake_command *first);
/* Runs one command with device memory open, unless the device is lost; looks for damage after it. */
void fake_command_run(const fake_command *command);

typedef struct fake_queue {
    fake_command *first, **last;
    uint64_t queued, done;
} fake_queue;

struct CUstream_st {
    fake_handle handle;
    bool non_blocking;
    fake_queue queue; /* of non-blocking streams; all others share one with the default stream */
    cudaGraph_t capture;
    bool invalid; /* the capture was spoilt */
    enum cudaStreamCaptureMode mode;
};

/* queue.c */
cudaError_t fake_submit(cudaStream_t stream, const char *name, void (*run)(void *context), const void *context,
                        size_t bytes);
bool fake_stream_valid(cudaStream_t stream);
fake_queue *fake_queue_of(cudaStream_t stream);
void fake_queue_push(fake_queue *queue, fake_command *command);
void fake_queue_run(fake_queue *queue, uint64_t until); /* all commands up to number `until` */
void fake_queues_run(void);                             /* all streams */
void fake_queues_drop(void);
cudaStream_t fake_capturing(void); /* the stream that is being captured, if any */

/* graph.c: where the commands of a captured stream go. */
fake_queue *fake_graph_queue(cudaGraph_t graph);
/* Frees what a graph still holds, where the handle is one: a lost device is never asked to end them. */
void fake_graph_release(fake_handle *handle);

/* event.c */
uint64_t fake_clock_ns(void);

/* memory.c */
void fake_memory_open(void); /* device memory can be touched until close; nests */
void fake_memory_close(void);
bool fake_memory_device(const void *at, size_t bytes); /* wholly inside one live device allocation */
bool fake_memory_host(const void *at, size_t bytes);   /* no byte of it is device memory */
bool fake_memory_pinned(const void *at, size_t bytes); /* wholly inside one live allocation of host memory */
/* From here on a bad address is told with the name of the work that used it; NULL: nobody works. */
void fake_memory_watch(const char *worker);
void fake_memory_check(const char *after); /* loses the device if a guard was overwritten, naming who did it */
int fake_memory_alive(size_t *bytes);
void fake_memory_release(void);
size_t fake_memory_total(void);

#endif
