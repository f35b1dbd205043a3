/* What every model beside MM-Rec is held to, whichever suite asks: parameters, configurations and runs that are
 * refused, gradients against differences, one function whatever way it is run. */
#ifndef BASELINE_CHECKS_H
#define BASELINE_CHECKS_H

#include "baseline_rig.h"

/* A choice of tensors by their names. */
typedef bool (*choice)(const char *name);

static inline bool every(const char *name) { return name[0] != '\0'; }
static inline bool starts(const char *name, const char *with) { return strncmp(name, with, strlen(with)) == 0; }

/* ---- parameters ---- */

/* The parameter that follows `t`, the first where that is 0; 0 behind the last. */
static inline mmrec_tensor next_param(const rig *r, mmrec_tensor t) {
    while (++t <= mmrec_graph_tensor_count(r->graph)) {
        if (mmrec_graph_tensor_info(r->graph, t).kind == MMREC_TENSOR_PARAM) return t;
    }
    return 0;
}

static inline void assert_param_count(mmrec_model_kind kind, const char *config, int64_t count) {
    mmrec_model_run run = {.batch = 1, .time = 2};
    rig r;
    graph_start(&r, kind, config, &run);
    assert_int_equal(mmrec_graph_param_count(r.graph), count);
    rig_end(&r);
}

/* What a run asks for changes no parameter, neither name, number nor order. */
static inline void assert_same_params(mmrec_model_kind kind, const char *config, const mmrec_model_run *one,
                                      const mmrec_model_run *other) {
    mmrec_tensor next = 0;
    rig a, b;
    graph_start(&a, kind, config, one);
    graph_start(&b, kind, config, other);
    assert_int_equal(mmrec_graph_param_count(a.graph), mmrec_graph_param_count(b.graph));
    for (mmrec_tensor t = next_param(&a, 0); t; t = next_param(&a, t)) {
        next = next_param(&b, next);
        assert_string_equal(mmrec_graph_tensor_info(b.graph, next).name, mmrec_graph_tensor_info(a.graph, t).name);
    }
    rig_end(&a);
    rig_end(&b);
}

/* ---- configurations ---- */

static inline void assert_field(mmrec_model_kind kind, const mmrec_any_config *config, const char *key,
                                const char *wanted) {
    char text[128];
    const mmrec_model_field *f = mmrec_model_get(kind)->fields;
    while (f->key && strcmp(f->key, key) != 0) f++;
    assert_non_null(f->key);
    assert_string_equal(mmrec_model_field_text(f, config, text, sizeof text), wanted);
}

static inline void assert_refused(mmrec_model_kind kind, const mmrec_any_config *config, const char *begin) {
    mmrec_error error = {0};
    assert_int_equal(mmrec_model_check(kind, config, &error), MMREC_CONFIG);
    if (!starts(error.message, begin)) fail_msg("\"%s\", wanted \"%s\"", error.message, begin);
}

/* One step beyond each end of the range of every field is refused by name; the defaults are not. */
static inline void assert_ranges(mmrec_model_kind kind) {
    for (const mmrec_model_field *f = mmrec_model_get(kind)->fields; f->key; f++) {
        for (int end = 0; end < 2; end++) {
            mmrec_any_config config;
            char begin[64];
            configure(kind, "", &config);
            assert_int_equal(mmrec_model_check(kind, &config, NULL), MMREC_OK);
            void *place = (char *)&config + f->offset;
            double beyond = end ? f->high + 1 : f->low - 1;
            if (f->type == MMREC_FIELD_WORD) *(int *)place = end ? 100 : -1;
            if (f->type == MMREC_FIELD_REAL) *(double *)place = end ? f->high : -1e-9;
            if (f->type == MMREC_FIELD_WHOLE || f->type == MMREC_FIELD_WIDTHS) *(int64_t *)place = (int64_t)beyond;
            snprintf(begin, sizeof begin, "%s is ", f->key);
            assert_refused(kind, &config, begin);
        }
    }
}

static inline void assert_run_refused(mmrec_model_kind kind, const char *config, const mmrec_model_run *run,
                                      const char *message) {
    mmrec_error error = {0};
    rig r;
    assert_int_equal(graph_try(&r, kind, config, run, 1, &error), MMREC_CONFIG);
    assert_string_equal(error.message, message);
    rig_end(&r);
}

/* ---- gradients ---- */

/* Every chosen parameter and every chosen input with a gradient moves by `step` along a random direction of its own;
 * returns direction * gradient, summed. */
static inline double move_chosen(rig *r, choice chosen, double step) {
    double slope = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(r->graph, t);
        bool given = info.kind == MMREC_TENSOR_INPUT && mmrec_graph_gradient(r->graph, t);
        if ((given || info.kind == MMREC_TENSOR_PARAM) && chosen(info.name)) move_tensor(r, t, step, &slope);
    }
    return slope;
}

static inline double objective_at(rig *r, choice chosen, double step) {
    mmrec_error error = {0};
    must(fill_kind(r, MMREC_TENSOR_PARAM, &error), &error);
    must(fill_kind(r, MMREC_TENSOR_INPUT, &error), &error);
    move_chosen(r, chosen, step);
    must(mmrec_exec_run(r->exec, MMREC_PHASE_FORWARD, &error), &error);
    return objective(r);
}

/* Of a rig that has made its step: the gradient is the numeric derivative, which is returned. */
static inline double assert_derivative(rig *r, choice chosen, const char *what) {
    const double step = 1e-5; /* error of the central difference near step^2, rounding near 1e-16 / step */
    double slope = move_chosen(r, chosen, 0);
    double numeric = (objective_at(r, chosen, step) - objective_at(r, chosen, -step)) / (2 * step);
    if (!(fabs(slope - numeric) <= 1e-6 * fabs(numeric))) {
        fail_msg("%s: gradient %.12g, numeric %.12g", what, slope, numeric);
    }
    return numeric;
}

/* ---- one function, run in different ways ---- */

static inline int count_recomputed(const rig *r) {
    int found = 0;
    for (int i = 0; i < mmrec_graph_node_count(r->graph); i++) found += mmrec_graph_node_info(r->graph, i).recompute;
    return found;
}

/* Two runs of one model: everything that both name is the same to the last bit. Returns how many nodes the second one
 * computes again; the first one none. */
static inline int assert_runs_agree(mmrec_model_kind kind, const char *config, const mmrec_model_run *one,
                                    const mmrec_model_run *two, int64_t ids_below) {
    mmrec_error error = {0};
    rig a, b;
    baseline_start(&a, kind, config, one, ids_below);
    baseline_start(&b, kind, config, two, ids_below);
    int again = count_recomputed(&b);
    assert_int_equal(count_recomputed(&a), 0);
    must(rig_step(&a, true, &error), &error);
    must(rig_step(&b, true, &error), &error);
    assert_true(assert_same(&a, &b, 0) >= 3); /* at least a weight, its bias and a result */
    rig_end(&a);
    rig_end(&b);
    return again;
}

#endif
