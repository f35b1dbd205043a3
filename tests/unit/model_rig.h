/* A model in one graph, on the reference backend unless another is named, filled with reproducible values: what the
 * tests of models share. */
#ifndef MODEL_RIG_H
#define MODEL_RIG_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/compare.h"
#include "mmrec/model.h"
#include "mmrec/rng.h"

enum { MAX_VALUES = 1 << 16 };

/* A model in one graph, ready to run. */
typedef struct rig {
    mmrec_allocator allocator;
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_exec *exec;
    int64_t vocab;
} rig;

static inline const mmrec_backend *backend_named(const char *name) {
    const mmrec_backend *backend = NULL;
    assert_int_equal(mmrec_backend_find(name, &backend, NULL), MMREC_OK);
    return backend;
}

static inline void must(mmrec_status status, const mmrec_error *error) {
    char text[1024];
    if (status != MMREC_OK) fail_msg("%s", mmrec_error_text(error, text, sizeof text));
}

static inline mmrec_model_config small_config(void) {
    mmrec_model_config c = mmrec_model_config_default(19, 12, 2, 3);
    c.ffn = 20;
    c.inner = 5;
    c.slots = 16;
    c.level = 1;
    return c;
}

static inline mmrec_status rig_try_on(rig *r, const char *backend_name, int threads, mmrec_model_kind kind,
                                      const mmrec_model_config *c, const mmrec_model_run *run, mmrec_exec *params_from,
                                      mmrec_error *error) {
    const mmrec_backend *backend = backend_named(backend_name);
    mmrec_plan_options no_options = {0};
    mmrec_exec_options options = {.params_from = params_from};
    r->vocab = c->vocab;
    MMREC_TRY(mmrec_graph_create(&r->allocator, backend->real, threads, &r->graph, error));
    MMREC_TRY(mmrec_model_build(kind, c, run, r->graph, error));
    MMREC_TRY(mmrec_plan_create(&r->allocator, r->graph, no_options, &r->plan, error));
    return mmrec_exec_create(&r->allocator, backend, r->graph, r->plan, options, &r->exec, error);
}

static inline mmrec_status rig_try(rig *r, mmrec_model_kind kind, const mmrec_model_config *c,
                                   const mmrec_model_run *run, mmrec_exec *params_from, mmrec_error *error) {
    return rig_try_on(r, "ref", 2, kind, c, run, params_from, error);
}

static inline void rig_end(rig *r) {
    mmrec_exec_destroy(&r->exec);
    mmrec_plan_destroy(&r->plan);
    mmrec_graph_destroy(&r->graph);
    assert_int_equal(r->allocator.total.live_bytes, 0);
}

static inline void rig_start(rig *r, mmrec_model_kind kind, const mmrec_model_config *c, const mmrec_model_run *run,
                             mmrec_exec *params_from) {
    mmrec_error error = {0};
    memset(r, 0, sizeof *r);
    must(rig_try(r, kind, c, run, params_from, &error), &error);
    must(mmrec_plan_check(r->plan, &error), &error);
}

/* Reproducible values: ids of the vocabulary, everything else normal. The parameters get larger spreads than training
 * starts with, and biases that are not zero, so that every term matters. */
static inline mmrec_status fill_kind(rig *r, mmrec_tensor_kind kind, mmrec_error *error) {
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(r->graph, t);
        if (info.kind != kind) continue;
        int64_t count = mmrec_shape_elements(&info.shape);
        uint64_t stream = 0;
        for (const char *c = info.name; *c; c++) stream = stream * 31 + (unsigned char)*c;
        static double values[MAX_VALUES];
        static int32_t ids[MAX_VALUES];
        assert_true(count <= MAX_VALUES);
        for (int64_t i = 0; i < count; i++) {
            ids[i] = (int32_t)mmrec_rng_below(11, stream, (uint64_t)i, (uint32_t)r->vocab);
            values[i] = 0.6 * mmrec_rng_normal(11, stream, (uint64_t)i);
            if (strstr(info.name, "norm")) values[i] += 1;
        }
        MMREC_TRY(info.dtype == MMREC_I32 ? mmrec_exec_write_ids(r->exec, t, ids, count, error)
                                          : mmrec_exec_write(r->exec, t, values, count, error));
    }
    return MMREC_OK;
}

static inline mmrec_status rig_step(rig *r, bool gradient, mmrec_error *error) {
    MMREC_TRY(fill_kind(r, MMREC_TENSOR_PARAM, error));
    MMREC_TRY(fill_kind(r, MMREC_TENSOR_INPUT, error));
    mmrec_exec_seed(r->exec, 77);
    MMREC_TRY(mmrec_exec_run(r->exec, MMREC_PHASE_FORWARD, error));
    return gradient ? mmrec_exec_run(r->exec, MMREC_PHASE_BACKWARD, error) : MMREC_OK;
}

static inline void read_named(rig *r, const char *name, double *values, int64_t count) {
    mmrec_error error = {0};
    must(mmrec_exec_read(r->exec, mmrec_graph_find(r->graph, name), values, count, &error), &error);
}

/* A tensor moves by `step` along a random direction of its own; direction * gradient is added to `slope`. */
static inline void move_tensor(rig *r, mmrec_tensor t, double step, double *slope) {
    static double values[MAX_VALUES], gradient[MAX_VALUES];
    mmrec_error error = {0};
    mmrec_shape shape = mmrec_graph_tensor_info(r->graph, t).shape;
    int64_t count = mmrec_shape_elements(&shape);
    must(mmrec_exec_read(r->exec, t, values, count, &error), &error);
    must(mmrec_exec_read(r->exec, mmrec_graph_gradient(r->graph, t), gradient, count, &error), &error);
    for (int64_t i = 0; i < count; i++) {
        double direction = mmrec_rng_normal(9, (uint64_t)t, (uint64_t)i);
        *slope += direction * gradient[i];
        values[i] += step * direction;
    }
    must(mmrec_exec_write(r->exec, t, values, count, &error), &error);
}

enum { MOST_STREAMS = 64 };

/* Where the random numbers of a node that drops out come from, with probability `p` and a stream of its own: the node's
 * layer and 1 for its stream, 0 for streams nobody has. Returns how many such nodes there are. */
static inline int dropping_nodes(const rig *r, double p, int layer[MOST_STREAMS]) {
    int found = 0;
    memset(layer, 0, MOST_STREAMS * sizeof *layer);
    for (int i = 0; i < mmrec_graph_node_count(r->graph); i++) {
        mmrec_node_info info = mmrec_graph_node_info(r->graph, i);
        const mmrec_op_def *def = mmrec_op_get(info.op, MMREC_VARIANT_F64);
        int at = mmrec_op_attr(def, "p");
        if (info.phase != MMREC_PHASE_FORWARD || at < 0 || info.sizes->attr[at] == 0) continue;
        int stream = (int)info.sizes->attr[mmrec_op_attr(def, "stream")];
        assert_true(info.sizes->attr[at] == p);
        assert_in_range(stream, 0, MOST_STREAMS - 1);
        assert_int_equal(layer[stream], 0);
        layer[stream] = info.layer + 1;
        found++;
    }
    return found;
}

#endif
