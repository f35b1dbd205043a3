/* Results of a benchmark made by hand, for the tests of what prints them. */
#ifndef MMREC_TESTS_REPORT_EXAMPLE_H
#define MMREC_TESTS_REPORT_EXAMPLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "mmrec/report.h"

static mmrec_allocator allocator;
static mmrec_io io;

enum { SAMPLES = 6 };

typedef struct example {
    mmrec_options options;
    mmrec_bench_setup setup;
    mmrec_report report;
    mmrec_bench_case input;
    mmrec_bench_case_result cases[2];
    mmrec_op_result ops[2];
    mmrec_plan_report plans[1];
    double samples[2][MMREC_MEASURE_KINDS][SAMPLES];
} example;

static mmrec_machine example_machine(void) {
    mmrec_machine m = {.cpu = "Example CPU | 2000",
                       .os = "Debian GNU/Linux 12",
                       .kernel = "Linux 6.1",
                       .governor = "powersave",
                       .isa = "avx2",
                       .blas = "OpenBLAS 0.3.21 DYNAMIC_ARCH Haswell",
                       .compiler = "gcc 12.2.0"};
    m.processors = 2;
    m.threads = 4;
    m.memory_bytes = 8ull << 30;
    m.l1d_bytes = 32 << 10;
    m.l2_bytes = 1 << 20;
    m.l3_bytes = 0; /* not told */
    m.load1 = 1.5;
    return m;
}

/* Six samples around `ns`, with the statistics that belong to them written down. */
static void fill_row(mmrec_bench_row *row, double *samples, double ns, int nodes) {
    const double factor[SAMPLES] = {0.99, 0.995, 1.0, 1.0, 1.005, 1.02};
    for (int i = 0; i < SAMPLES; i++) samples[i] = ns * factor[i];
    row->series = (mmrec_series){.samples_ns = samples,
                                 .count = SAMPLES,
                                 .warmup_runs = 5,
                                 .warmup_s = 0.25,
                                 .runs_per_sample = 1,
                                 .stop = MMREC_STOP_TIME};
    row->series.stats = (mmrec_stats){.valid = true,
                                      .count = SAMPLES,
                                      .median = ns,
                                      .mean = ns,
                                      .min = 0.99 * ns,
                                      .max = 1.02 * ns,
                                      .q1 = 0.995 * ns,
                                      .q3 = 1.005 * ns,
                                      .deviation = 0.01 * ns,
                                      .mad = 0.005 * ns,
                                      .ci95 = {0.99 * ns, 1.02 * ns}};
    row->work = (mmrec_work){2e9, 1e6, 3e8};
    row->tokens = 1024;
    row->nodes = nodes;
    row->overhead_ns = 1e4;
}

static mmrec_memory_figures memory_of(size_t unit) {
    mmrec_memory_figures m = {.planned = {10 * unit, 10 * unit, 0, 5 * unit, unit}, .other_peak = 12345};
    memcpy(m.allocated_peak, m.planned, sizeof m.planned);
    return m;
}

static void fill_side(example *e, mmrec_bench_side *side, int hem) {
    static const double ns[MMREC_MEASURE_OPTIMIZER] = {2.5e6, 5e6, 6.123456789e6, 20e6};
    side->present = true;
    side->hem = hem;
    for (int k = 0; k < MMREC_MEASURE_OPTIMIZER; k++)
        fill_row(&side->row[k], e->samples[hem][k], ns[k] * (hem ? 0.95 : 1), 40 - hem);
    side->block_memory = memory_of(1 << 16);
    side->model_memory = memory_of((size_t)((hem ? 15 : 16) << 16));
    side->check = (mmrec_bench_check){.done = true,
                                      .passed = true,
                                      .output_error = 1.25e-7,
                                      .gradient_error = 2.5e-6,
                                      .output_tolerance = 1e-5,
                                      .gradient_tolerance = 1e-4,
                                      .batch = 1,
                                      .time = 8,
                                      .dim = 64,
                                      .layers = 2};
    for (int phase = 0; phase < MMREC_MEMORY_PHASES; phase++) {
        bool made = phase != MMREC_MEMORY_BEFORE && phase != MMREC_MEMORY_AFTER;
        size_t bytes = made ? (size_t)26 << 20 : 0;
        side->memory[phase] =
            (mmrec_memory_point){phase != MMREC_MEMORY_OPTIMIZER, bytes, bytes + 12345, bytes + 23456, 0};
    }
    side->forward = (mmrec_work){hem ? 2.6e9 : 2.5e9, 1e6, 3e8};
    side->backward = (mmrec_work){5e9, 1e6, 6e8};
}

static void fill_case(example *e) {
    mmrec_bench_case_result *r = &e->cases[0];
    r->input = e->input;
    r->parameters = 3409408;
    fill_side(e, &r->side[0], 0);
    fill_side(e, &r->side[1], 1);
    static const mmrec_verdict verdicts[MMREC_MEASURE_OPTIMIZER] = {MMREC_FASTER, MMREC_SAME, MMREC_UNCLEAR,
                                                                    MMREC_SLOWER};
    for (int k = 0; k < MMREC_MEASURE_OPTIMIZER; k++) {
        r->paired[k] = (mmrec_paired){.valid = true,
                                      .pairs = SAMPLES,
                                      .ratio = 0.95,
                                      .ci95 = {0.94, 0.96},
                                      .ci99 = {0.93, 0.97},
                                      .verdict = verdicts[k],
                                      .same_margin = 0.01,
                                      .resolution = 0.03};
    }
}

static mmrec_bench_case example_case(void) {
    mmrec_bench_case c = {.batch = 2, .time = 512};
    c.model = (mmrec_model_config){.vocab = 1000,
                                   .dim = 512,
                                   .layers = 2,
                                   .heads = 8,
                                   .ffn = 2048,
                                   .inner = 128,
                                   .slots = 1024,
                                   .level = 2,
                                   .memory_decay = 0.99,
                                   .uboo_weight = 0.1};
    return c;
}

/* Options as parsed from a few words, and one timed case. */
static void make_example(example *e) {
    static char program[] = "mmrec-bench", seed[] = "--seed=18446744073709551615",
                note[] = "--context=note=a, \"quoted\" one";
    char *words[] = {program, seed, note, NULL};
    mmrec_error error;
    memset(e, 0, sizeof *e);
    if (mmrec_options_parse(&allocator, &io, MMREC_PROGRAM_BENCH, 3, words, NULL, &e->options, &error) != MMREC_OK)
        fail_msg("%s", error.message);
    e->setup.run = (mmrec_bench_options){.hem = MMREC_HEM_BOTH, .threads = 4, .budget_s = 40, .seed = UINT64_MAX};
    e->setup.run.sampling = (mmrec_sampling){.warmup_s = 0.2, .min_time_s = 0.5, .max_time_s = 6, .target_ci = 0.01};
    e->setup.run.sampling.min_samples = 20;
    e->setup.run.sampling.max_samples = 1000;
    e->setup.run.sampling.least_samples = 8;
    e->input = example_case();
    fill_case(e);
    e->report = (mmrec_report){.options = &e->options, .setup = &e->setup, .has_ceilings = true};
    mmrec_bench_result *b = &e->report.bench;
    *b = (mmrec_bench_result){.machine = example_machine(),
                              .ceilings = {100e9, 12.5e9},
                              .backend = "cpu",
                              .started = "2026-01-02T03:04:05Z",
                              .ended = "2026-01-02T03:05:05Z",
                              .seed = UINT64_MAX,
                              .data = "random ids",
                              .peak_rss_bytes = 123456789,
                              .cases = e->cases,
                              .case_count = 1};
}

/* What a device adds: its own clock and the host's, launches, clocks, kernels, and the driver's memory. */
static void fill_device_row(mmrec_bench_row *row, mmrec_sample_note *notes, mmrec_kernel_time *kernels, int launches) {
    mmrec_series *series = &row->series;
    for (int i = 0; i < SAMPLES; i++) {
        notes[i] = (mmrec_sample_note){1.25 * series->samples_ns[i], i < 5 ? 1980 : 1200, 2619, i < 5 ? 0x2 : 0x24};
    }
    series->notes = notes;
    series->host = series->stats;
    series->host.median *= 1.25;
    series->throttled = 1;
    row->launches = launches;
    kernels[0] = (mmrec_kernel_time){"k_recurrence_fwd | grid", 1, 1.5e6};
    kernels[1] = (mmrec_kernel_time){"k_rmsnorm_fwd", 2, 5e5};
    row->kernels = kernels;
    row->kernel_count = 2;
}

static mmrec_sample_note device_notes[2][MMREC_MEASURE_KINDS][SAMPLES];
static mmrec_kernel_time device_kernels[2];

static void make_device(example *e) {
    make_example(e);
    e->setup.run.optimizer_slots = 2;
    mmrec_bench_result *b = &e->report.bench;
    b->device = (mmrec_device_info){.name = "Example GPU",
                                    .capability = 90,
                                    .sms = 132,
                                    .memory_bytes = (size_t)80 << 30,
                                    .l2_bytes = (size_t)50 << 20,
                                    .runtime_version = 13000,
                                    .driver_version = 13010};
    b->timing = (mmrec_timing){
        .wanted = MMREC_TIMER_CUPTI, .used = MMREC_TIMER_EVENT, .cold = true, .clocks = true, .gaps = true};
    snprintf(b->timing.fallback, sizeof b->timing.fallback, "another profiler holds the device");
    snprintf(b->backend, sizeof b->backend, "cuda");
    e->report.has_ceilings = false;
    for (int side = 0; side < 2; side++) {
        mmrec_bench_side *s = &e->cases[0].side[side];
        fill_row(&s->row[MMREC_MEASURE_OPTIMIZER], e->samples[side][MMREC_MEASURE_OPTIMIZER], 3e5, 0);
        for (int k = 0; k < MMREC_MEASURE_KINDS; k++)
            fill_device_row(&s->row[k], device_notes[side][k], device_kernels, 30 * (k + 1) - side);
        for (int phase = 0; phase < MMREC_MEMORY_PHASES; phase++) {
            s->memory[phase].taken = true;
            s->memory[phase].device_used_bytes = ((size_t)500 << 20) + (size_t)phase * (5 << 20);
        }
    }
}

/* The same on an emulated device: no times. */
static void make_emulated(example *e) {
    make_device(e);
    e->report.bench.device.emulated = true;
    snprintf(e->report.bench.device.name, sizeof e->report.bench.device.name, "emulated on the processor");
    e->report.bench.timing = (mmrec_timing){.used = MMREC_TIMER_EVENT};
    memset(e->cases[0].paired, 0, sizeof e->cases[0].paired);
    for (int i = 0; i < 2 * MMREC_MEASURE_KINDS; i++) {
        mmrec_bench_row *row = &e->cases[0].side[i % 2].row[i / 2];
        row->series = (mmrec_series){.untimed = "emulated"};
        row->overhead_ns = 0;
        row->kernel_count = 0;
    }
}

/* The second side and everything paired is gone. */
static void keep_side_on(example *e) {
    e->setup.run.hem = MMREC_HEM_ON;
    memset(&e->cases[0].side[0], 0, sizeof e->cases[0].side[0]);
    memset(e->cases[0].paired, 0, sizeof e->cases[0].paired);
}

static void make_ops(example *e) {
    make_example(e);
    e->report.bench.case_count = 0;
    e->report.ops = e->ops;
    e->report.op_count = 2;
    e->ops[0] =
        (mmrec_op_result){.op = "matmul",
                          .size = "M=1000 K=500 N=200",
                          .backend = "cpu",
                          .has_pass = {true, true},
                          .ceiling_share = {{.valid = true, .count = 12, .median = 0.875, .ci95 = {0.855, 0.885}},
                                            {.valid = true, .count = 5, .median = 0.5, .ci95 = {0.4, 0.6}}}};
    fill_row(&e->ops[0].pass[0], e->samples[0][0], 2e6, 1);
    fill_row(&e->ops[0].pass[1], e->samples[0][1], 4e6, 1);
    e->ops[0].check = (mmrec_bench_check){
        .done = true, .passed = true, .output_error = 1e-7, .output_tolerance = 1e-5, .gradient_tolerance = 1e-4};
    e->ops[1] = (mmrec_op_result){.op = "fill",
                                  .size = "R=1000 C=1000",
                                  .backend = "cpu",
                                  .has_pass = {true, false},
                                  .ceiling = {MMREC_CEILING_COPY},
                                  .ceiling_share = {{.valid = true, .count = 6, .median = 0.4, .ci95 = {0.3, 0.5}}}};
    fill_row(&e->ops[1].pass[0], e->samples[1][0], 1.5e5, 1);
    e->ops[1].pass[0].work = (mmrec_work){0, 0, 4e6};
    e->ops[1].check = (mmrec_bench_check){
        .done = true, .passed = false, .output_error = 0.5, .output_tolerance = 1e-5, .gradient_tolerance = 1e-4};
}

/* The recurrence on a device, with cuDNN's LSTM in alternation. */
static void make_against(example *e) {
    make_device(e);
    e->setup.run.against = MMREC_AGAINST_LSTM_FP16;
    e->report.bench.case_count = 0;
    e->report.ops = e->ops;
    e->report.op_count = 1;
    mmrec_op_result *op = &e->ops[0];
    *op = (mmrec_op_result){.op = "recurrence",
                            .size = "B=16 T=1024 D=512",
                            .backend = "cuda",
                            .timing = {.used = MMREC_TIMER_EVENT, .clocks = true},
                            .has_pass = {true, true},
                            .against = {.what = MMREC_AGAINST_LSTM_FP16,
                                        .version = "9.19.0",
                                        .kernel = {"persistent", "standard (not recorded)"},
                                        .device_bytes = (size_t)70 << 20}};
    op->check = (mmrec_bench_check){
        .done = true, .passed = true, .output_error = 1e-7, .output_tolerance = 1e-5, .gradient_tolerance = 1e-4};
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        mmrec_bench_row *own = &op->pass[pass], *other = &op->against.row[pass];
        fill_row(own, e->samples[0][pass], 1e6 * (1 + pass), 1);
        fill_row(other, e->samples[1][pass], 1.25e6 * (1 + pass), 0);
        fill_device_row(own, device_notes[0][pass], device_kernels, 5 + pass);
        fill_device_row(other, device_notes[1][pass], device_kernels, 0);
        other->work = (mmrec_work){0, 0, 0};
        other->kernel_count = 0;
        op->against.paired[pass] = (mmrec_paired){.valid = true,
                                                  .pairs = SAMPLES,
                                                  .ratio = 0.8,
                                                  .ci95 = {0.79, 0.81},
                                                  .ci99 = {0.78, 0.82},
                                                  .verdict = pass == MMREC_FORWARD ? MMREC_FASTER : MMREC_UNCLEAR,
                                                  .same_margin = 0.01,
                                                  .resolution = 0.03};
    }
}

/* The same where there is no cuDNN. */
static void make_yardstick_missing(example *e) {
    make_against(e);
    mmrec_op_against *a = &e->ops[0].against;
    *a = (mmrec_op_against){.what = MMREC_AGAINST_LSTM_FP16};
    snprintf(a->missing, sizeof a->missing, "no cuDNN: built without it");
}

static void make_plan(example *e) {
    make_example(e);
    e->report.bench.case_count = 0;
    e->report.has_ceilings = false;
    e->report.plans = e->plans;
    e->report.plan_count = 1;
    e->plans[0] = (mmrec_plan_report){.input = e->input,
                                      .hem = true,
                                      .arena_bytes = {1 << 20, 1 << 20, 2 << 20, 3 << 20, 1 << 10},
                                      .unshared_bytes = {1 << 20, 1 << 20, 2 << 20, 9 << 20, 1 << 14},
                                      .total_bytes = (7 << 20) + 1024,
                                      .parameters = 262144,
                                      .forward = {1e9, 0, 1e6},
                                      .backward = {2e9, 0, 2e6},
                                      .nodes = {2, 30, 60},
                                      .largest_count = 1,
                                      .budget_bytes = 24ull << 30,
                                      .batch_fit = 77,
                                      .batch_fit_bytes = 23ull << 30};
    e->plans[0].largest[0] = (mmrec_plan_item){"blocks.0.q.weight", "(512, 512)", "f32", MMREC_ARENA_PARAMS, 1 << 20};
}

#endif
