/* A backend: a table of functions that own memory and run op calls. `ref` is double and plain C, the truth; `cpu` is
 * float with threads, CBLAS and SIMD; `cuda` is kernels on a device, or the same kernels emulated on the processor. */
#ifndef MMREC_BACKEND_H
#define MMREC_BACKEND_H

#include "mmrec/alloc.h"
#include "mmrec/op.h"
#include "mmrec/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A matrix product the device has run, and the algorithm of cuBLASLt that was chosen for it once: numbers as the library
 * gives them. */
typedef struct mmrec_gemm_record {
    int64_t m, n, k;
    bool transpose_a, transpose_b, bias_in_epilogue;
    mmrec_dtype in, out;
    uint32_t algorithm, tile, stages, split_k;
    size_t workspace_bytes;
    uint64_t calls;
} mmrec_gemm_record;

/* What a device backend can do beyond running calls. All work goes to one stream; functions that queue do not wait. */
typedef struct mmrec_device_info {
    char name[128];              /* "NVIDIA H100 80GB HBM3"; "emulated on the processor" */
    bool emulated;               /* kernels run on the processor: results are real, times mean nothing */
    int capability, sms;         /* 90 for 9.0 */
    size_t memory_bytes, l2_bytes;
    int runtime_version, driver_version; /* 13000 */
    char pci[20];                /* "0000:17:00.0"; "" unknown */
} mmrec_device_info;

/* Which kernel runs the recurrence (docs/recurrence.md). */
typedef enum mmrec_recurrence_regime {
    MMREC_RECURRENCE_AUTO, MMREC_RECURRENCE_CLUSTER, MMREC_RECURRENCE_GRID, MMREC_RECURRENCE_BARRIER,
    MMREC_RECURRENCE_GRAPH, MMREC_RECURRENCE_REGIMES
} mmrec_recurrence_regime;

/* What runs an op that cuDNN has too, where both can (docs/cuda.md). */
typedef enum mmrec_library_choice {
    MMREC_LIBRARY_AUTO, MMREC_LIBRARY_CUDNN, MMREC_LIBRARY_KERNELS, MMREC_LIBRARY_CHOICES
} mmrec_library_choice;

/* The yardstick of the recurrence: cuDNN's LSTM, one layer in one direction, without an input product, with random
 * weights and sequences. There is one at a time. cuDNN is loaded by the first create, or where it runs `lstm` and `gru`,
 * and by nothing else. */
typedef struct mmrec_lstm_request {
    int64_t width, batch, steps;
    bool bf16; /* of weights and values: bfloat16, else half; sums are float */
    uint64_t seed;
    mmrec_allocator *allocator; /* of what the host needs while it is made */
} mmrec_lstm_request;

typedef struct mmrec_lstm_info {
    int version;                           /* 91900 for 9.19.0 */
    const char *algorithm[MMREC_PASSES];   /* the faster one of those that cuDNN takes: "standard" or "persistent" */
    bool recorded[MMREC_PASSES];           /* launched as a CUDA graph; else by as many launches as cuDNN makes */
    size_t weight_bytes, work_bytes, reserve_bytes, all_bytes; /* all: with sequences, gradients and states */
} mmrec_lstm_info;

typedef struct mmrec_lstm {
    /* UNSUPPORTED where it cannot be had: the message begins "no cuDNN: " where that is the reason. */
    mmrec_status (*create)(const mmrec_lstm_request *request, mmrec_lstm_info *info, mmrec_error *error);
    /* Queues what a pass needs before each run: for backward a forward pass in training mode, and zeroed gradients. */
    mmrec_status (*prepare)(mmrec_pass pass, mmrec_error *error);
    /* Queues a pass: forward in training mode; backward by data and by weights. */
    mmrec_status (*run)(mmrec_pass pass, mmrec_error *error);
    void (*destroy)(void);
} mmrec_lstm;

/* Launches to queue while a stream is held. The driver has room for 1024; one more waits for a place, which a held
 * stream never gives it. What is launched beside the kernels (copies, fills, events) takes places too. */
enum { MMREC_MOST_HELD = 900 };

typedef struct mmrec_device {
    mmrec_device_info info;
    /* Between host memory and the device; complete when it returns. */
    mmrec_status (*copy_in)(void *device, const void *host, size_t bytes, mmrec_error *error);
    mmrec_status (*copy_out)(void *host, const void *device, size_t bytes, mmrec_error *error);
    /* Between begin and end calls are recorded, not run; end makes a graph that launch runs as a whole. After a failed
     * call in between, abandon ends the recording. */
    mmrec_status (*capture_begin)(mmrec_error *error);
    mmrec_status (*capture_end)(void **graph, mmrec_error *error);
    void (*capture_abandon)(void);
    mmrec_status (*graph_launch)(void *graph, mmrec_error *error);
    void (*graph_destroy)(void *graph);
    /* Events: recorded in the stream; elapsed waits for both. */
    mmrec_status (*event_create)(void **event, mmrec_error *error);
    void (*event_destroy)(void *event);
    mmrec_status (*event_record)(void *event, mmrec_error *error);
    mmrec_status (*event_elapsed_ns)(void *from, void *to, double *ns, mmrec_error *error);
    /* Holds the stream until release, so that work can be queued before any of it runs: at most MMREC_MOST_HELD
     * launches, none of a kernel's first. It gives up after a second. */
    mmrec_status (*hold)(mmrec_error *error);
    void (*release)(void);
    /* Fills the second-level cache with other data: what runs next finds it cold. */
    mmrec_status (*flush_cache)(mmrec_error *error);
    mmrec_status (*memory)(size_t *free_bytes, size_t *total_bytes, mmrec_error *error);
    uint64_t (*launches)(void); /* kernels queued so far, those in graphs counted at each launch */
    /* Sets, in stream order, the word that calls find at seed_at; does nothing when it holds the value already. */
    mmrec_status (*seed)(uint64_t value, mmrec_error *error);
    const uint64_t *seed_at;
    /* Device memory handed out by alloc, by arena; MMREC_ARENAS: the backend's own (workspace, cache flush). */
    mmrec_alloc_count (*allocated)(int arena);
    /* Product `index` of those met so far; false past the last one. */
    bool (*gemm)(int index, mmrec_gemm_record *out);
    void (*profiler)(bool on);  /* cudaProfilerStart and Stop */
    /* Sets the regime of the calls that follow and gives the one before; what graphs have recorded stays. */
    mmrec_recurrence_regime (*recurrence)(mmrec_recurrence_regime regime);
    /* The same for what runs `lstm` and `gru`; a backward call goes with a forward call of the same setting. */
    mmrec_library_choice (*rnn)(mmrec_library_choice choice);
    /* The same for what runs `attention`, whose passes go together whatever runs them. */
    mmrec_library_choice (*attention)(mmrec_library_choice choice);
    mmrec_lstm lstm;
} mmrec_device;

/* One step of AdamW over all parameters, as a backend is asked for it (mmrec/optimizer.h has the formula). Everything
 * pointed to lies in the backend's memory, numbers are of its real type, and nothing is strided.
 *
 * The elements of all ranges are cut into chunks of MMREC_ADAMW_CHUNK, the last one of a range shorter. The sum of squares
 * is made of MMREC_ADAMW_PARTS partial sums, number p over the chunks p, p + PARTS ...: its order follows from the
 * sizes, not from threads or device. */
enum { MMREC_ADAMW_CHUNK = 4096, MMREC_ADAMW_PARTS = 1024 };

typedef struct mmrec_adamw_range {
    void *parameter, *first, *second; /* first and second moment */
    const void *gradient;
    int64_t count, chunk; /* elements; the number of the range's first chunk */
    double decay;         /* 1: the parameter decays, 0: it does not */
} mmrec_adamw_range;

typedef struct mmrec_adamw_state {
    double beta1, beta2, epsilon, weight_decay, clip_norm; /* the settings; clip_norm 0: no clipping */
    double rate;                                           /* of the next step */
    double power1, power2;                                 /* beta1^step, beta2^step */
    double step;                                           /* updates made, a whole number */
    double gradient_norm, clip_factor, skipped;            /* of the last call; skipped: 1 where it wrote nothing else */
} mmrec_adamw_state;

typedef struct mmrec_adamw_call {
    const mmrec_adamw_range *ranges; /* by chunk */
    int64_t range_count, chunk_count;
    mmrec_adamw_state *state;
    double *partials; /* MMREC_ADAMW_PARTS */
} mmrec_adamw_call;

/* Training steps of a small MLP, forward, backward and AdamW in one call (mmrec/mlp.h asks for them): host/backend/mlp.h. */
struct mmrec_mlp_call;

typedef struct mmrec_backend {
    const char *name;
    mmrec_dtype real; /* what it computes in */
    mmrec_variant variant;
    bool stores_bf16; /* its calls take bf16 (op.h), computing in f32 */
    bool host_memory; /* arenas can be read and written directly */
    /* Zeroed memory for an arena, aligned to 64; freed with the same size. */
    mmrec_status (*alloc)(mmrec_allocator *allocator, mmrec_arena arena, size_t bytes, void **out, mmrec_error *error);
    void (*free)(mmrec_allocator *allocator, mmrec_arena arena, void *memory, size_t bytes);
    mmrec_status (*run)(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, mmrec_error *error);
    mmrec_status (*synchronize)(mmrec_error *error); /* NULL: calls are complete when they return */
    const mmrec_device *device;                      /* NULL on the host */
    mmrec_status (*adamw)(const mmrec_adamw_call *call, mmrec_error *error);
    mmrec_status (*mlp)(const struct mmrec_mlp_call *call, mmrec_error *error);
} mmrec_backend;

/* How a graph for this backend counts threads: its own number on the host, MMREC_ON_DEVICE on a device. */
int mmrec_backend_threads(const mmrec_backend *backend, int threads);

/* The storage type of a graph for this backend: bf16 where asked for, else its real type. */
mmrec_dtype mmrec_backend_dtype(const mmrec_backend *backend, bool bf16);
/* UNSUPPORTED, with what to do, when graphs of that storage type cannot run on it. */
mmrec_status mmrec_backend_stores(const mmrec_backend *backend, mmrec_dtype storage, mmrec_error *error) MMREC_MUST_CHECK;

/* What a device is opened with; set before the first mmrec_backend_find of "cuda". */
typedef struct mmrec_device_options {
    bool tf32;                          /* float products may round their factors to TF32 */
    mmrec_recurrence_regime recurrence; /* which kernel runs the recurrence (docs/recurrence.md) */
    mmrec_library_choice rnn;           /* what runs `lstm` and `gru` (docs/cuda.md) */
    mmrec_library_choice attention;     /* what runs `attention` */
    bool no_self_check;                 /* trust `auto` without the check on first use */
} mmrec_device_options;
void mmrec_backend_device_options(const mmrec_device_options *options);

/* "ref", "cpu", "cuda", or "auto": cuda where a usable device is there (an emulated one is not), else cpu. The CUDA module
 * is loaded only when cuda is asked for, or auto has seen a device. USAGE naming the choices for another name; NO_DEVICE
 * saying why for cuda where there is none; UNSUPPORTED in a build without it. Borrowed, never freed. */
mmrec_status mmrec_backend_find(const char *name, const mmrec_backend **out, mmrec_error *error) MMREC_MUST_CHECK;
/* The same to plan for, without opening a device: real, variant and threads are those of the backend, nothing else of it
 * may be called. */
mmrec_status mmrec_backend_describe(const char *name, const mmrec_backend **out, mmrec_error *error) MMREC_MUST_CHECK;
/* Why "auto" chose what it chose: "cpu: no CUDA device (no driver is loaded)". "" before it was asked. */
const char *mmrec_backend_choice(void);
/* Gives the device back, if one was opened: its memory must have been freed. Safe at any time. */
void mmrec_backend_close(void);
/* Threads used by CBLAS and by ops that follow; 1 .. 1024. The graph's `threads` must not be larger. */
mmrec_status mmrec_backend_set_threads(int threads, mmrec_error *error) MMREC_MUST_CHECK;
/* Processors this process may run on. */
int mmrec_backend_processors(void);

#ifdef __cplusplus
}
#endif
#endif
