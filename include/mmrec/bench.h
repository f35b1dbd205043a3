/* mmrec-bench as a library: what is measured, and the result that the report printers show. */
#ifndef MMREC_BENCH_H
#define MMREC_BENCH_H

#include "mmrec/io.h"
#include "mmrec/measure.h"
#include "mmrec/model.h"
#include "mmrec/optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmrec_hem_mode { MMREC_HEM_OFF, MMREC_HEM_ON, MMREC_HEM_BOTH } mmrec_hem_mode;

/* What is timed of a case. FORWARD_BACKWARD includes the loss; OPTIMIZER is there where an optimizer was asked for. */
typedef enum mmrec_measure_kind {
    MMREC_MEASURE_BLOCK_FORWARD, MMREC_MEASURE_BLOCK_BACKWARD, MMREC_MEASURE_MODEL_FORWARD,
    MMREC_MEASURE_MODEL_FORWARD_BACKWARD, MMREC_MEASURE_OPTIMIZER, MMREC_MEASURE_KINDS
} mmrec_measure_kind;
const char *mmrec_measure_kind_name(mmrec_measure_kind kind); /* "block forward" ... */

/* What the recurrence is sampled in alternation with (--against): itself with one grid barrier a step, or cuDNN's LSTM of
 * the same sizes. */
typedef enum mmrec_against {
    MMREC_AGAINST_NONE, MMREC_AGAINST_GRID_BARRIER, MMREC_AGAINST_LSTM_FP16, MMREC_AGAINST_LSTM_BF16, MMREC_AGAINST_COUNT
} mmrec_against;
const char *mmrec_against_name(mmrec_against against); /* "none", "grid-barrier", "cudnn-lstm-fp16", "cudnn-lstm-bf16" */

/* One point of a sweep. */
typedef struct mmrec_bench_case {
    mmrec_model_config model;
    int64_t batch, time;
} mmrec_bench_case;

typedef struct mmrec_bench_options {
    mmrec_hem_mode hem;
    bool self_test;         /* the side of `hem`, not both, against itself */
    const mmrec_backend *backend;
    bool bf16;              /* activations and weights are stored in it (mmrec_backend_stores) */
    bool tf32;              /* on a device that was opened so: what the check allows */
    bool graphs;            /* on a device: a phase is launched as one CUDA graph */
    int threads;
    uint64_t seed;
    const char *data_path;  /* bytes of this file are ids (modulo vocab); NULL: seeded random ids */
    mmrec_sampling sampling;
    bool recompute;
    int optimizer_slots;    /* moments per parameter: 2 times AdamW's step too, 0 has no optimizer */
    mmrec_against against;  /* of mmrec_bench_op alone: on a device, for the recurrence */
    mmrec_timer timer;
    bool cold;              /* fill the device's cache with other data before every run */
    bool profile;           /* mark one span for a profiler: a training step of the last side, or one run of each pass */
    const mmrec_bench_case *cases;
    int case_count;
    mmrec_io *io;           /* reads data_path; needed only with one */
    bool no_ceilings;       /* leave out the 1.5 s of measuring sgemm and copy rates: they are 0 in the result */
    double budget_s;        /* time for all of the run's sampling: caps shrink so that it is kept; 0: no budget */
} mmrec_bench_options;
/* Whether a run times this at all. */
bool mmrec_measure_wanted(const mmrec_bench_options *options, mmrec_measure_kind kind);

/* Memory of one side, bytes: planned by arena, and the allocator's own peak while it ran. */
typedef struct mmrec_memory_figures {
    size_t planned[MMREC_ARENAS], allocated_peak[MMREC_ARENAS];
    size_t other_peak; /* graph, plan, samples and the rest */
} mmrec_memory_figures;

/* Memory while a model is made, trained by a step and freed, alone. A step allocates nothing, so what is seen at the end of
 * a phase is its peak. */
typedef enum mmrec_memory_phase {
    MMREC_MEMORY_BEFORE, MMREC_MEMORY_CREATE, MMREC_MEMORY_WARM_UP, MMREC_MEMORY_FORWARD, MMREC_MEMORY_BACKWARD,
    MMREC_MEMORY_OPTIMIZER, MMREC_MEMORY_AFTER, MMREC_MEMORY_PHASES
} mmrec_memory_phase;
const char *mmrec_memory_phase_name(mmrec_memory_phase phase); /* "before" ... */
typedef struct mmrec_memory_point {
    bool taken;               /* false: not reached, or (optimizer) not asked for */
    size_t planned_bytes;     /* of all arenas; 0 before and after */
    size_t allocated_bytes;   /* by mmrec: on the device, with what the backend itself holds; on the host, the allocator's */
    size_t allocated_peak;    /* the same, highest in this phase */
    size_t device_used_bytes; /* of the whole device, by the driver's count; 0 on the host */
} mmrec_memory_point;
/* What the device has given out since `before` that mmrec did not ask for: code of kernels, graphs, the libraries. */
int64_t mmrec_memory_unaccounted(const mmrec_memory_point *before, const mmrec_memory_point *point);

/* Correctness of a side on a small slice (same model, short time, against ref) before timing. */
typedef struct mmrec_bench_check {
    bool done, passed;
    double output_error, gradient_error; /* max |a - b| / max |b|; NaN: not compared */
    double output_tolerance, gradient_tolerance;
    int64_t batch, time;                 /* size of the slice */
    int64_t dim, layers;                 /* smaller than the case's where ref would take too long; 0 for an op */
} mmrec_bench_check;

/* One timed quantity of one side. */
typedef struct mmrec_bench_row {
    mmrec_series series;
    mmrec_work work;      /* of what was timed */
    int64_t tokens;       /* batch * time */
    int nodes;            /* executed per sample */
    int64_t launches;     /* kernels of one run; 0 on the host */
    /* --timer cupti: the longest kernels of one run, the longest first; owned by the row (tag MEASURE). */
    mmrec_kernel_time *kernels;
    int kernel_count;
    /* Series median minus the sum of the nodes' own times in a traced run: may be negative noise, NaN without one. */
    double overhead_ns;
} mmrec_bench_row;

/* HEM off (side 0) or on (side 1) of a case; in a self-test both are the same. */
typedef struct mmrec_bench_side {
    bool present, hem;
    mmrec_bench_row row[MMREC_MEASURE_KINDS];
    mmrec_memory_figures block_memory, model_memory;
    mmrec_memory_point memory[MMREC_MEMORY_PHASES]; /* of the model */
    mmrec_bench_check check;
    mmrec_work forward, backward; /* model, one step */
} mmrec_bench_side;

typedef struct mmrec_bench_case_result {
    mmrec_bench_case input;
    int64_t parameters;                  /* of the model */
    mmrec_bench_side side[2];            /* [0] HEM off ("Original"), [1] HEM on */
    mmrec_paired paired[MMREC_MEASURE_KINDS]; /* side 1 / side 0; valid only with both */
    char failure[MMREC_ERROR_MESSAGE];   /* "" or why the case was not measured */
    bool device_lost;                    /* ... because there is no device any more */
} mmrec_bench_case_result;

typedef struct mmrec_bench_result {
    mmrec_machine machine;
    mmrec_ceilings ceilings;
    char backend[16], started[32], ended[32]; /* RFC 3339 UTC */
    mmrec_dtype dtype;        /* what activations and weights are stored in */
    mmrec_device_info device; /* name "" on the host */
    char choice[200];         /* why there is a device or none, where the backend was left to choose; "" */
    mmrec_timing timing;
    uint64_t seed;
    char data[256]; /* "random ids" or the file's name and size */
    bool interrupted;
    uint64_t peak_rss_bytes;
    mmrec_bench_case_result *cases;
    int case_count;
} mmrec_bench_result;

/* Called when a case or measure starts; text is one line without a newline. `done` of the whole run in [0, 1]. */
typedef struct mmrec_bench_observer {
    void (*message)(void *context, const char *text);
    void (*progress)(void *context, double done);
    void *context;
} mmrec_bench_observer;

/* Runs every case; a case that fails is recorded in its `failure` and the run goes on (NO_MEMORY too). The result is
 * owned by the caller and freed by mmrec_bench_result_free. */
mmrec_status mmrec_bench_run(mmrec_allocator *allocator, const mmrec_bench_options *options,
                             mmrec_bench_observer observer, mmrec_bench_result *out, mmrec_error *error) MMREC_MUST_CHECK;
/* What the head of a result says of backend and device. */
void mmrec_bench_head(const mmrec_bench_options *options, mmrec_bench_result *out);
void mmrec_bench_result_free(mmrec_allocator *allocator, mmrec_bench_result *result);

/* The yardstick of an op. What was compared does not fail where the yardstick is missing. */
typedef struct mmrec_op_against {
    mmrec_against what;                  /* NONE: not asked for, the rest is empty */
    char missing[MMREC_ERROR_MESSAGE];   /* "" or why it was not run: "no cuDNN: ...", "emulated" */
    mmrec_bench_row row[MMREC_PASSES];   /* work and launches only of what is mmrec's own */
    mmrec_paired paired[MMREC_PASSES];   /* the op / the yardstick, of times */
    char version[24], kernel[MMREC_PASSES][32]; /* of cuDNN: "9.19.0"; "persistent", "standard (not recorded)"; else "" */
    size_t device_bytes;                 /* what the yardstick took of the device for itself; 0: it used the op's */
} mmrec_op_against;

/* --op: one op of the table at a size given as text (op.h: "N=1000 D=500"; NULL: its own bench size), beside `ceilings`
 * (NULL: beside nothing). */
typedef struct mmrec_op_result {
    const char *op;
    char size[128], backend[16];
    mmrec_timing timing;
    char check_size[128]; /* at which it was compared with ref: smaller where ref would take long */
    mmrec_bench_row pass[MMREC_PASSES];
    bool has_pass[MMREC_PASSES];
    mmrec_ceiling ceiling[MMREC_PASSES]; /* the one that binds: sgemm where FLOPs take longer, copy where bytes do */
    mmrec_stats ceiling_share[MMREC_PASSES]; /* rate / ceiling over windows of some 100 ms; not valid: not known */
    mmrec_bench_check check;
    mmrec_op_against against;
    char failure[MMREC_ERROR_MESSAGE]; /* for the caller of mmrec_bench_op: "" or why the op was not measured */
    bool device_lost;                  /* for the caller too: ... because there is no device any more */
} mmrec_op_result;
mmrec_status mmrec_bench_op(mmrec_allocator *allocator, mmrec_op_id op, const char *size, const mmrec_bench_options *options,
                            const mmrec_ceiling_source *ceilings, mmrec_bench_observer observer, mmrec_op_result *out,
                            mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_op_result_free(mmrec_allocator *allocator, mmrec_op_result *result);

/* The plan of a case without running it: bytes by arena and category, largest tensors, and the largest batch whose plan
 * fits `budget_bytes` (0: not asked; result 0: not even one row fits). */
typedef struct mmrec_plan_item {
    char name[96], shape[64];
    const char *dtype; /* "bf16"; "" where it is no tensor */
    mmrec_arena arena;
    size_t bytes;
} mmrec_plan_item;
enum { MMREC_PLAN_LARGEST = 10 };
typedef struct mmrec_plan_report {
    mmrec_bench_case input;
    bool hem;
    size_t arena_bytes[MMREC_ARENAS];      /* peak of each arena: what will be allocated */
    size_t unshared_bytes[MMREC_ARENAS];   /* sum of its tensors, had none shared memory */
    size_t total_bytes;
    int64_t parameters;
    mmrec_work forward, backward;
    int nodes[MMREC_PHASES];
    mmrec_plan_item largest[MMREC_PLAN_LARGEST];
    int largest_count;
    size_t budget_bytes;
    int64_t batch_fit;
    size_t batch_fit_bytes;
} mmrec_plan_report;
mmrec_status mmrec_bench_plan(mmrec_allocator *allocator, const mmrec_bench_case *input, bool hem,
                              const mmrec_bench_options *options, size_t budget_bytes, mmrec_plan_report *out,
                              mmrec_error *error) MMREC_MUST_CHECK;

/* ---- the fused MLP (mlp.h) ---- */

/* Epochs of a small MLP by one call each, in alternation with the same products by sgemm, then with the same training as a
 * graph. Samples are made up from the seed and lie in the backend's memory; the graph's are written step by step. */
typedef struct mmrec_mlp_bench_options {
    const mmrec_backend *backend;
    const mmrec_mlp_config *model;
    const mmrec_optimizer_config *optimizer;
    double rate;
    int64_t batch, samples;
    int epochs;  /* timed, each once; those that warm up come before them. At least 8, which a ratio needs */
    int threads; /* of the graph and of sgemm; the fused MLP has one */
    uint64_t seed;
    mmrec_sampling sampling; /* of the graph's epochs */
} mmrec_mlp_bench_options;

/* A figure with its 95 % interval. */
typedef struct mmrec_mlp_figure {
    double value;
    mmrec_interval ci95;
} mmrec_mlp_figure;

typedef struct mmrec_mlp_bench {
    mmrec_series fused, sgemm;   /* an epoch each; sgemm: the products that its FLOPs are counted of */
    mmrec_series graph, beside;  /* an epoch as a graph, and the fused ones in alternation with it */
    mmrec_paired against_sgemm, against_graph; /* times of sgemm, and of the graph, over those of the fused epoch */
    double flops;                /* of an epoch's products, forward and backward */
    double seconds;              /* all timed epochs of `fused` together */
    mmrec_mlp_figure samples_per_s, flops_per_s, graph_samples_per_s; /* by medians */
    double first_loss, last_loss; /* of the first and last epoch of the fused MLP, mean over its samples */
} mmrec_mlp_bench;

/* CONFIG for what mmrec_mlp_create refuses, fewer than 8 epochs, and samples or threads out of range; UNSUPPORTED on a
 * device, where sgemm of the processor is no yardstick; NO_MEMORY. Free in any case. */
mmrec_status mmrec_mlp_bench_run(mmrec_allocator *allocator, const mmrec_mlp_bench_options *options,
                                 mmrec_mlp_bench *out, mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_mlp_bench_free(mmrec_allocator *allocator, mmrec_mlp_bench *bench);

#ifdef __cplusplus
}
#endif
#endif
