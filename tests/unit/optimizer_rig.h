/* Parameters of awkward sizes without a model, an optimizer over them, and gradients that are written by the test. */
#ifndef OPTIMIZER_RIG_H
#define OPTIMIZER_RIG_H

#include "each_backend.h"
#include "mmrec/optimizer.h"

static const struct {
    const char *name;
    int ndim;
    int64_t rows, columns;
    bool decays;
} shapes[] = {{"one", 1, 1, 1, false},
              {"bias", 1, 1, 7, false},
              {"weight", 2, 3, 5, true},
              {"chunk", 2, 64, 64, true},
              {"chunk_and_one", 2, 17, 241, true},
              {"long", 1, 1, 8193, false},
              {"memory.k", 2, 5, 9, false},
              {"row", 2, 1, 13, true},
              {"last", 1, 1, 3, false}};
enum { COUNT = sizeof shapes / sizeof *shapes, STACKED = 2, TENSORS = COUNT + STACKED, LONGEST = 8193 };

static const double settings_rate[] = {3e-3, 1e-2, 0, 2e-3, 5e-4};
enum { STEPS = sizeof settings_rate / sizeof *settings_rate };

/* Parameters of the shapes above, then two in a stack: the second starts at an odd element. */
typedef struct store {
    mmrec_allocator allocator;
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_exec *exec;
    mmrec_optimizer *optimizer;
    mmrec_tensor param[TENSORS];
    bool decays[TENSORS];
    int64_t size[TENSORS];
} store;

static inline mmrec_shape shape_of(int i) {
    return shapes[i].ndim == 1 ? mmrec_shape1(shapes[i].columns) : mmrec_shape2(shapes[i].rows, shapes[i].columns);
}

static inline void add_parameters(store *s) {
    for (int i = 0; i < COUNT; i++) {
        s->param[i] = mmrec_graph_param(s->graph, shapes[i].name, shape_of(i));
        s->decays[i] = shapes[i].decays;
        s->size[i] = shapes[i].rows * shapes[i].columns;
    }
    mmrec_tensor stack = mmrec_graph_stack(s->graph, "stack", mmrec_shape2(7, 3));
    s->param[COUNT] = mmrec_graph_stack_param(s->graph, stack, 0, "stack.a", mmrec_shape2(3, 3));
    s->param[COUNT + 1] = mmrec_graph_stack_param(s->graph, stack, 9, "stack.b", mmrec_shape2(4, 3));
    s->size[COUNT] = 9;
    s->size[COUNT + 1] = 12;
    s->decays[COUNT] = s->decays[COUNT + 1] = true;
}

static inline mmrec_status store_try(store *s, const mmrec_backend *backend, const mmrec_optimizer_config *config,
                                     mmrec_error *error) {
    mmrec_plan_options plan = {.optimizer_slots = 2};
    mmrec_exec_options options = {0};
    int threads = mmrec_backend_threads(backend, 2);
    MMREC_TRY(mmrec_graph_create(&s->allocator, backend->real, threads, &s->graph, error));
    add_parameters(s);
    MMREC_TRY(mmrec_graph_differentiate(s->graph, NULL, 0, NULL, 0, false, error));
    MMREC_TRY(mmrec_plan_create(&s->allocator, s->graph, plan, &s->plan, error));
    MMREC_TRY(mmrec_exec_create(&s->allocator, backend, s->graph, s->plan, options, &s->exec, error));
    return mmrec_optimizer_create(&s->allocator, s->exec, config, &s->optimizer, error);
}

static inline void store_end(store *s) {
    mmrec_optimizer_destroy(&s->optimizer);
    mmrec_exec_destroy(&s->exec);
    mmrec_plan_destroy(&s->plan);
    mmrec_graph_destroy(&s->graph);
    assert_int_equal(s->allocator.total.live_bytes, 0);
}

/* Value number i of parameter p; of its gradient in step `step` (from 1 on). */
static inline double value(int p, int step, int64_t i) {
    double normal = mmrec_rng_normal(5, (uint64_t)(p * 64 + step), (uint64_t)i);
    return (double)(float)(step ? 0.02 * normal : normal);
}

static double buffer[LONGEST];

static inline void write_tensor(store *s, mmrec_tensor t, int p, int step) {
    mmrec_error error = {0};
    for (int64_t i = 0; i < s->size[p]; i++) buffer[i] = value(p, step, i);
    must(mmrec_exec_write(s->exec, t, buffer, s->size[p], &error), &error);
}

static inline void write_gradients(store *s, int step) {
    for (int p = 0; p < TENSORS; p++) write_tensor(s, mmrec_graph_gradient(s->graph, s->param[p]), p, step);
}

static inline void store_start(store *s, const mmrec_backend *backend, const mmrec_optimizer_config *config) {
    mmrec_error error = {0};
    memset(s, 0, sizeof *s);
    must(store_try(s, backend, config, &error), &error);
    for (int p = 0; p < TENSORS; p++) write_tensor(s, s->param[p], p, 0);
}

static inline mmrec_optimizer_report step_with(store *s, double rate) {
    mmrec_error error = {0};
    mmrec_optimizer_report report = {0};
    must(mmrec_optimizer_step(s->optimizer, rate, &report, &error), &error);
    return report;
}

/* All parameters, one after the other. */
enum { ALL = 1 + 7 + 15 + 4096 + 4097 + 8193 + 45 + 13 + 3 + 9 + 12 };
static inline void read_all(store *s, double *all) {
    mmrec_error error = {0};
    for (int p = 0; p < TENSORS; p++) {
        must(mmrec_exec_read(s->exec, s->param[p], all, s->size[p], &error), &error);
        all += s->size[p];
    }
}

#endif
