/* A fused MLP beside the same model as a graph on the reference backend: same parameters, same samples. */
#ifndef MLP_RIG_H
#define MLP_RIG_H

#include "baseline_rig.h"
#include "each_backend.h"
#include "mmrec/mlp.h"

enum { MOST_SAMPLES = 128, MOST_WIDTH = 64 };

static inline bool is_f64(const mmrec_backend *backend) { return backend->real == MMREC_F64; }

static inline mmrec_mlp_config mlp_config(const char *text) {
    mmrec_any_config config;
    configure(MMREC_MODEL_mlp, text, &config);
    return config.mlp;
}

/* Numbers that every backend holds exactly. */
static inline double number(uint64_t stream, int64_t i) {
    return (double)(float)mmrec_rng_normal(23, stream, (uint64_t)i);
}

/* Made-up samples of a configuration; `from` chooses which. */
typedef struct samples {
    double x[MOST_SAMPLES * MOST_WIDTH], target[MOST_SAMPLES * MOST_WIDTH];
    int32_t classes[MOST_SAMPLES];
    mmrec_mlp_samples view;
} samples;

static inline mmrec_mlp_samples view_of(const samples *s, const mmrec_mlp_config *c, int64_t first, int64_t count) {
    bool classes = c->loss == MMREC_MLP_CROSS_ENTROPY;
    return (mmrec_mlp_samples){.x = s->x + first * c->inputs,
                               .target = classes ? NULL : s->target + first * c->outputs,
                               .classes = classes ? s->classes + first : NULL,
                               .count = count};
}

static inline void samples_fill(samples *s, const mmrec_mlp_config *c, int64_t count, uint64_t from) {
    assert_true(count <= MOST_SAMPLES && c->inputs <= MOST_WIDTH && c->outputs <= MOST_WIDTH);
    for (int64_t i = 0; i < count * c->inputs; i++) s->x[i] = number(2 * from, i);
    for (int64_t i = 0; i < count * c->outputs; i++) s->target[i] = number(2 * from + 1, i);
    for (int64_t i = 0; i < count; i++) {
        s->classes[i] = (int32_t)mmrec_rng_below(29, from, (uint64_t)i, (uint32_t)c->outputs);
    }
    s->view = view_of(s, c, 0, count);
}

static inline mmrec_mlp_trainer *fused(mmrec_allocator *allocator, const mmrec_backend *backend,
                                       const mmrec_mlp_config *config, const mmrec_optimizer_config *optimizer,
                                       int64_t batch) {
    mmrec_mlp_trainer *t = NULL;
    mmrec_error error = {0};
    must(mmrec_mlp_create(allocator, backend, config, optimizer, batch, 7, &t, &error), &error);
    return t;
}

static inline void fused_end(mmrec_mlp_trainer **t, const mmrec_allocator *allocator) {
    mmrec_mlp_destroy(t);
    assert_null(*t);
    assert_int_equal(allocator->total.live_bytes, 0);
}

/* All parameters, one layer after the other, weight before bias. Returns how many. */
static inline int64_t fused_read(const mmrec_mlp_trainer *t, const mmrec_mlp_config *c, double *values) {
    mmrec_error error = {0};
    int64_t used = 0;
    for (int l = 0; l <= c->hidden.count; l++) {
        int64_t in = l > 0 ? c->hidden.width[l - 1] : c->inputs;
        int64_t out = l < c->hidden.count ? c->hidden.width[l] : c->outputs;
        char name[32];
        snprintf(name, sizeof name, "layers.%d.weight", l);
        must(mmrec_mlp_read(t, name, values + used, out * in, &error), &error);
        snprintf(name, sizeof name, "layers.%d.bias", l);
        must(mmrec_mlp_read(t, name, values + used + out * in, out, &error), &error);
        used += out * (in + 1);
    }
    assert_int_equal(used, mmrec_mlp_parameters(c));
    return used;
}

/* ---- the graph ---- */

typedef struct plain {
    rig r;
    mmrec_optimizer *optimizer;
} plain;

static inline void plain_start(plain *p, const mmrec_mlp_config *c, const mmrec_optimizer_config *optimizer,
                               int64_t batch) {
    const mmrec_backend *ref = backend_named("ref");
    mmrec_model_run run = {.batch = batch, .time = 1, .gradient = true};
    mmrec_plan_options plan = {.optimizer_slots = 2};
    mmrec_exec_options options = {0};
    mmrec_error error = {0};
    rig *r = &p->r;
    memset(p, 0, sizeof *p);
    must(mmrec_graph_create(&r->allocator, ref->real, 1, &r->graph, &error), &error);
    must(mmrec_model_build(MMREC_MODEL_mlp, c, &run, r->graph, &error), &error);
    must(mmrec_plan_create(&r->allocator, r->graph, plan, &r->plan, &error), &error);
    must(mmrec_exec_create(&r->allocator, ref, r->graph, r->plan, options, &r->exec, &error), &error);
    must(mmrec_model_init(r->exec, r->graph, &r->allocator, 7, &error), &error);
    must(mmrec_optimizer_create(&r->allocator, r->exec, optimizer, &p->optimizer, &error), &error);
}

static inline void plain_end(plain *p) {
    mmrec_optimizer_destroy(&p->optimizer);
    rig_end(&p->r);
}

static inline int64_t plain_read(plain *p, double *values) {
    mmrec_error error = {0};
    int64_t used = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(p->r.graph); t++) {
        if (mmrec_graph_tensor_info(p->r.graph, t).kind != MMREC_TENSOR_PARAM) continue;
        must(mmrec_exec_read(p->r.exec, t, values + used, elements_of(&p->r, t), &error), &error);
        used += elements_of(&p->r, t);
    }
    return used;
}

static inline double plain_forward(plain *p, const mmrec_mlp_config *c, const mmrec_mlp_samples *s) {
    mmrec_error error = {0};
    double loss;
    rig *r = &p->r;
    must(mmrec_exec_write(r->exec, mmrec_graph_find(r->graph, "x"), s->x, s->count * c->inputs, &error), &error);
    if (s->target) {
        mmrec_tensor to = mmrec_graph_find(r->graph, "target");
        must(mmrec_exec_write(r->exec, to, s->target, s->count * c->outputs, &error), &error);
    } else {
        mmrec_tensor to = mmrec_graph_find(r->graph, "targets");
        must(mmrec_exec_write_ids(r->exec, to, s->classes, s->count, &error), &error);
    }
    must(mmrec_exec_run(r->exec, MMREC_PHASE_FORWARD, &error), &error);
    must(mmrec_exec_read(r->exec, mmrec_graph_find(r->graph, "loss"), &loss, 1, &error), &error);
    return loss;
}

static inline mmrec_mlp_report plain_step(plain *p, const mmrec_mlp_config *c, const mmrec_mlp_samples *s,
                                          double rate) {
    mmrec_error error = {0};
    mmrec_optimizer_report report = {0};
    double loss = plain_forward(p, c, s);
    must(mmrec_exec_run(p->r.exec, MMREC_PHASE_BACKWARD, &error), &error);
    must(mmrec_optimizer_step(p->optimizer, rate, &report, &error), &error);
    return (mmrec_mlp_report){loss, report.gradient_norm, report.skipped, report.step};
}

#endif
