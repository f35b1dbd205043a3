/* What the bench_*.c files share. One run: bench_run.c (cases, budget, progress) -> bench_case.c (what is measured of a
 * case) -> bench_check.c (correctness), bench_net.c (a model ready to run), bench_inputs.c (what it is fed). */
#ifndef MMREC_BENCH_IMPL_H
#define MMREC_BENCH_IMPL_H

#include "measure/device_meter.h"
#include "mmrec/bench.h"

enum { BENCH_SIDES = 2 };

/* What every side of a case is fed; freed by bench_inputs_free. */
typedef struct bench_inputs {
    int64_t tokens, width, rows; /* batch * time, D, batch */
    double *x, *dy, *h0;         /* block: (tokens, D) twice, (rows, D) of zeros */
    int32_t *ids, *targets;      /* model: tokens each */
    mmrec_allocator *allocator;
} bench_inputs;

/* Bytes of the data file, or none. */
typedef struct bench_data {
    unsigned char *bytes;
    size_t size;
} bench_data;

/* `count` zeroed doubles, tag MEASURE. */
mmrec_status bench_doubles(mmrec_allocator *allocator, size_t count, double **out, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status bench_inputs_create(mmrec_allocator *allocator, const mmrec_bench_case *input, uint64_t seed,
                                 bench_data data, bench_inputs *out, mmrec_error *error) MMREC_MUST_CHECK;
void bench_inputs_free(bench_inputs *inputs);
/* Reads the file and refuses one that is too short for any of the cases. */
mmrec_status bench_data_read(mmrec_allocator *allocator, const mmrec_bench_options *options, bench_data *out,
                             mmrec_error *error) MMREC_MUST_CHECK;

/* A model ready to run. */
typedef struct bench_net {
    mmrec_model_kind kind;
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_exec *exec;
} bench_net;

typedef struct bench_recipe {
    mmrec_model_kind kind;
    const mmrec_bench_case *input;
    const mmrec_backend *backend;
    int threads;
    bool bf16, hem, gradient, logits, recompute, graphs; /* logits: kept even beside gradients */
    int optimizer_slots;
    mmrec_exec *params_from; /* NULL: own parameters, drawn with `seed` */
    uint64_t seed;           /* of parameters and dropout */
} bench_recipe;

/* On failure `out` holds what there is; bench_net_free either way. */
mmrec_status bench_net_create(mmrec_allocator *allocator, const bench_recipe *recipe, bench_net *out,
                              mmrec_error *error) MMREC_MUST_CHECK;
void bench_net_free(bench_net *net);
/* Writes the inputs: they are needed again before every run. */
mmrec_status bench_net_feed(const bench_net *net, mmrec_exec *exec, const bench_inputs *inputs,
                            mmrec_error *error) MMREC_MUST_CHECK;

/* Nothing done yet. */
mmrec_bench_check bench_check_begin(mmrec_tolerance allowed);
/* What is compared must be within tolerance of the reference: false (also for NaN) otherwise. `worst`, NaN before the
 * first comparison, is raised; nothing is compared after a false. */
bool bench_check_values(const double *got, const double *want, int64_t count, double tolerance, double scale,
                        double *worst);

/* A run under way. */
typedef struct bench_runner {
    mmrec_allocator *allocator;
    const mmrec_bench_options *options;
    mmrec_bench_observer observer;
    bench_data data;
    device_meter meter;
    uint64_t start_ns;
    double share, share_done; /* of the measure under way and of those before it; a whole case is 1 */
    const char *title;        /* of the case, for messages */
} bench_runner;

void bench_message(const bench_runner *runner, const char *what);
/* Progress of the measure under way; its context is the runner. */
mmrec_progress bench_progress(bench_runner *runner);
/* The sampling of the measure under way: the caller's, its cap lowered to what the budget leaves for `sides` series. */
mmrec_sampling bench_sampling(const bench_runner *runner, int sides);

/* A run each is enough where times mean nothing: that it runs, and what it launches. */
mmrec_sampling bench_sampling_untimed(const mmrec_meter *meter);

/* Tries batches by doubling, then by halving the gap: the largest one that fits, 0 for none, and the bytes it takes. */
typedef mmrec_status (*bench_fits)(void *context, int64_t batch, bool *fit, size_t *bytes, mmrec_error *error);
mmrec_status bench_largest_batch(bench_fits fits, void *context, int64_t *batch, size_t *bytes,
                                 mmrec_error *error) MMREC_MUST_CHECK;

/* NO_MEMORY, with what is needed and what is free and the largest batch that fits, when a case does not fit the device.
 */
mmrec_status bench_room(const bench_runner *runner, const mmrec_bench_case_result *result,
                        mmrec_error *error) MMREC_MUST_CHECK;
/* Makes the recipe's model, runs a step and frees it, for its memory by phase. */
mmrec_status bench_memory(const bench_runner *runner, const bench_recipe *recipe, const bench_inputs *inputs,
                          mmrec_memory_point out[MMREC_MEMORY_PHASES], mmrec_error *error) MMREC_MUST_CHECK;
/* Counts launches, and kernels by CUPTI, of one run into the row. */
mmrec_status bench_count_launches(mmrec_allocator *allocator, device_meter *meter, const mmrec_subject *subject,
                                  mmrec_bench_row *row, mmrec_error *error) MMREC_MUST_CHECK;
void bench_row_free(mmrec_allocator *allocator, mmrec_bench_row *row);

/* Checks both sides of a case on a small slice; an error only where the check could not be done or failed. */
mmrec_status bench_check(const bench_runner *runner, mmrec_bench_case_result *result,
                         mmrec_error *error) MMREC_MUST_CHECK;
/* Checks and measures a case. */
mmrec_status bench_case_run(bench_runner *runner, mmrec_bench_case_result *result, mmrec_error *error) MMREC_MUST_CHECK;

#endif
