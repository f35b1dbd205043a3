/* A comparison made by hand: four models on text, trained with three seeds, scaled over time, looked at by layer. The
 * third is behind the first, the fourth failed. */
#ifndef MMREC_TESTS_COMPARE_EXAMPLE_H
#define MMREC_TESTS_COMPARE_EXAMPLE_H

#include "compare/compare_impl.h"
#include "compare/compare_print.h"
#include "example_rig.h"
#include "run/study.h"

static mmrec_io io;

enum { ROWS = 4, SAMPLES = 12, SEEDS = 3, POINTS = 4, TENSORS = 4, LINES = 4 };

typedef struct example {
    mmrec_options options;
    mmrec_compare_options run;
    mmrec_compare_entry entries[ROWS];
    mmrec_comparison c;
    double samples[ROWS][MMREC_PARTS][SAMPLES];
    mmrec_compare_gradient gradients[ROWS][TENSORS];
    mmrec_compare_layer layers[ROWS][LINES];
    mmrec_compare_point points[ROWS][POINTS];
    double point_samples[ROWS][POINTS][SAMPLES];
} example;

/* Small numbers without a pattern, the same in every run. */
static inline double wobble(int a, int b) { return sin(7.0 * a + 1.7 * b); }

/* ---- a row ---- */

static inline void example_series(example *e, int row, mmrec_compare_part part, double ns) {
    mmrec_compare_row *r = &e->c.row[row];
    for (int i = 0; i < SAMPLES; i++) e->samples[row][part][i] = ns * (1 + 0.02 * wobble(row + 1, i));
    r->series[part] = (mmrec_series){.samples_ns = e->samples[row][part],
                                     .count = SAMPLES,
                                     .warmup_runs = 3,
                                     .warmup_s = 0.25,
                                     .runs_per_sample = 1,
                                     .stop = MMREC_STOP_CI,
                                     .stats = mmrec_stats_of(e->samples[row][part], SAMPLES)};
    if (row > 0) r->paired[part] = mmrec_paired_of(e->samples[0][part], e->samples[row][part], SAMPLES);
}

static inline void example_gradients(example *e, int row) {
    static const char *const names[TENSORS] = {"embedding.weight", "layers.0.weight", "layers.1.weight", "head.bias"};
    static const int layers[TENSORS] = {-1, 0, 1, -1};
    static const int64_t counts[TENSORS] = {25600, 10000, 2500, 256};
    mmrec_compare_row *r = &e->c.row[row];
    r->gradients = e->gradients[row];
    r->gradient_count = TENSORS;
    for (int i = 0; i < TENSORS; i++) {
        mmrec_compare_gradient *g = &e->gradients[row][i];
        *g = (mmrec_compare_gradient){.layer = layers[i], .count = counts[i], .norm = 0.25 * (row + 1) * (i + 1)};
        snprintf(g->name, sizeof g->name, "%s", names[i]);
    }
    if (row == 2) {
        e->gradients[row][3] = (mmrec_compare_gradient){
            .name = "head.bias", .layer = -1, .count = 256, .zeros = 256, .flow = MMREC_FLOW_ZERO};
        r->zero = 1;
        r->dead = 256;
    }
    r->gradient_norm = 1.25 * (row + 1);
}

static inline void example_quality(example *e, int row) {
    static const double base[ROWS] = {1.62, 1.55, 1.625, 9};
    mmrec_compare_quality *q = &e->c.row[row].quality;
    q->seeds = SEEDS;
    for (int k = 0; k < SEEDS; k++) {
        q->loss[k] = base[row] + 0.004 * k + 0.006 * wobble(row, k);
        q->accuracy[k] = 0.5 + 0.01 * row + 0.001 * k;
        q->train_loss[k] = q->loss[k] - 0.1;
        q->seconds[k] = 10 + row;
    }
    study_estimate loss = study_estimate_of(q->loss, SEEDS, 0.95), right = study_estimate_of(q->accuracy, SEEDS, 0.95);
    q->loss_mean = loss.mean;
    q->loss_low = loss.interval.low;
    q->loss_high = loss.interval.high;
    q->accuracy_mean = right.mean;
    q->accuracy_low = right.interval.low;
    q->accuracy_high = right.interval.high;
}

static inline void example_layers(example *e, int row) {
    mmrec_compare_layer *l = e->layers[row];
    const mmrec_work work = {2e6, 1e3, 4e5};
    l[0] = (mmrec_compare_layer){"layer 0: linear", 0, MMREC_OP_linear, MMREC_FORWARD, 2, 1e6, work, 65536};
    l[1] = (mmrec_compare_layer){"layer 0: linear", 0, MMREC_OP_linear, MMREC_BACKWARD, 2, 2e6, work, 0};
    l[2] = (mmrec_compare_layer){"optimizer", -1, MMREC_OP_NONE, MMREC_FORWARD, 1, 3e5, {1e5, 0, 1e6}, 0};
    l[3] = (mmrec_compare_layer){.layer = -1, .ns = 2e5};
    e->c.row[row].layers = l;
    e->c.row[row].layer_count = LINES;
    e->c.row[row].layers_step_ns = 3.5e6;
}

/* Time grows linearly in the first row and quadratically in the second, memory linearly in all. */
static inline void example_points(example *e, int row) {
    double at[POINTS], ns[POINTS], bytes[POINTS];
    mmrec_compare_row *r = &e->c.row[row];
    r->points = e->points[row];
    for (int k = 0; k < POINTS; k++) {
        mmrec_compare_point *p = &e->points[row][k];
        double t = (double)e->run.axis[k];
        *p = (mmrec_compare_point){.at = e->run.axis[k], .bytes = (size_t)(4096 * t), .work = {1e6 * t, 0, 1e5 * t}};
        double *samples = e->point_samples[row][k],
               typical = 1e5 * pow(t, row == 1 ? 2 : 1) * (1 + 0.02 * wobble(row, k));
        for (int i = 0; i < SAMPLES; i++) samples[i] = typical * (1 + 0.01 * wobble(k, i));
        p->series = (mmrec_series){.samples_ns = samples, .count = SAMPLES};
        p->step = mmrec_stats_of(samples, SAMPLES);
        at[k] = t;
        ns[k] = p->step.median;
        bytes[k] = (double)p->bytes;
    }
    r->time_fit = compare_fit_of(at, ns, POINTS);
    r->memory_fit = compare_fit_of(at, bytes, POINTS);
}

static inline void example_row(example *e, int row) {
    static const double step_ns[ROWS] = {10e6, 4e6, 10.4e6, 1};
    static const size_t unit[ROWS] = {1 << 18, 3 << 18, 5 << 16, 1};
    mmrec_compare_row *r = &e->c.row[row];
    r->parameters = 38356 - 10 * row;
    r->trainable = r->parameters - row;
    r->size_bytes = (size_t)(4 * r->parameters);
    r->forward = (mmrec_work){2e8 + 1e6 * row, 1e5, 3e7};
    r->backward = (mmrec_work){4e8, 2e5, 6e7};
    r->optimizer = (mmrec_work){4e5, 3e4, 1e6};
    r->tokens = 768;
    example_series(e, row, MMREC_PART_FORWARD, 0.3 * step_ns[row]);
    example_series(e, row, MMREC_PART_BACKWARD, 0.6 * step_ns[row]);
    example_series(e, row, MMREC_PART_OPTIMIZER, 0.002 * step_ns[row]);
    example_series(e, row, MMREC_PART_STEP, step_ns[row]);
    for (int p = 0; p < MMREC_PARTS; p++) {
        double share = mmrec_compare_part_work(r, (mmrec_compare_part)p).flops / r->series[p].stats.median / 90;
        r->sgemm_share[p] = (mmrec_stats){
            .valid = true, .count = p == MMREC_PART_STEP ? 12 : 5, .median = share, .ci95 = {0.9 * share, 1.2 * share}};
    }
    for (int a = 0; a < MMREC_ARENAS; a++) r->memory.planned[a] = unit[row] * (size_t)(a + 1);
    r->memory.created = 9 * unit[row];
    r->memory.forward = r->memory.backward = r->memory.step = 15 * unit[row];
    r->memory.peak = 16 * unit[row];
    example_gradients(e, row);
    example_quality(e, row);
    example_layers(e, row);
    example_points(e, row);
}

static inline void example_fails(example *e, int row, const char *why) {
    mmrec_compare_row *r = &e->c.row[row];
    memset(r, 0, sizeof *r);
    snprintf(r->failure, sizeof r->failure, "%s", why);
}

/* ---- all ---- */

static inline void example_entry(example *e, int row, const char *model, const char *label) {
    mmrec_compare_entry *entry = &e->entries[row];
    mmrec_error error;
    must(mmrec_model_find(model, &entry->kind, &error), &error);
    mmrec_model_defaults(entry->kind, &entry->config);
    snprintf(entry->label, sizeof entry->label, "%s", label);
    entry->budget = 38356;
    entry->reached = 38356 - 10 * row;
}

static inline void example_options(example *e) {
    mmrec_error error;
    mmrec_compare_options *o = &e->run;
    *o = (mmrec_compare_options){.entries = e->entries, .count = ROWS, .match = MMREC_MATCH_PARAMETERS, .threads = 2};
    o->task = (mmrec_compare_task){.kind = MMREC_COMPARE_LANGUAGE, .batch = 12, .time = 64, .outputs = 256, .val = 0.1};
    o->task.data_path = "text.txt";
    o->task.seed = UINT64_MAX - 2; /* more than a double holds */
    must(mmrec_backend_find("ref", &o->backend, &error), &error);
    o->hem = true;
    o->sampling = mmrec_sampling_default();
    o->optimizer = mmrec_optimizer_config_default();
    o->rate = 1e-3;
    o->train_steps = 200;
    o->seeds = SEEDS;
    o->layers = true;
    o->axis_name = "time";
    o->axis_count = POINTS;
    for (int k = 0; k < POINTS; k++) o->axis[k] = 16 << k;
    o->io = &io;
}

static inline void example_start(example *e) {
    memset(e, 0, sizeof *e);
    e->options.program = MMREC_PROGRAM_COMPARE;
    example_options(e);
    example_entry(e, 0, "lstm", "lstm");
    example_entry(e, 1, "gpt", "gpt heads=4");
    example_entry(e, 2, "mmrec", "mmrec");
    example_entry(e, 3, "gru", "gru a|b,\"c\"");
    mmrec_comparison *c = &e->c;
    c->allocator = &allocator;
    c->options = &e->run;
    c->best_loss = (double)NAN;
    c->ceilings = (mmrec_ceilings){1e11, 1e10};
    example_machine(&c->machine);
    snprintf(c->backend, sizeof c->backend, "ref");
    snprintf(c->started, sizeof c->started, "2000-01-01T00:00:00Z");
    snprintf(c->ended, sizeof c->ended, "2000-01-01T00:10:00Z");
    snprintf(c->data, sizeof c->data, "text.txt, 1000 bytes");
    for (int row = 0; row < ROWS; row++) example_row(e, row);
    example_fails(e, 3, "the loss of\nthe first batch is not finite");
    compare_front(c);
}

/* As on a device that is none: nothing is timed. */
static inline void example_emulated(example *e) {
    e->c.device = (mmrec_device_info){.name = "emulated on the processor", .emulated = true};
    for (int row = 0; row < ROWS; row++) {
        mmrec_compare_row *r = &e->c.row[row];
        for (int p = 0; p < MMREC_PARTS; p++) {
            r->series[p] = (mmrec_series){.untimed = "emulated"};
            r->paired[p] = (mmrec_paired){0};
            r->sgemm_share[p] = (mmrec_stats){0};
        }
        for (int k = 0; k < POINTS && r->points; k++) {
            r->points[k].step = (mmrec_stats){0};
            r->points[k].series = (mmrec_series){0};
        }
        r->layers_step_ns = 0;
        r->time_fit.valid = false;
    }
    compare_front(&e->c);
}

#endif
