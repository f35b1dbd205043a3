/* A baseline in one graph: configured by text, filled as model_rig.h does, and its objective. */
#ifndef BASELINE_RIG_H
#define BASELINE_RIG_H

#include "model_ways.h"

/* The published sizes of the suite that compares the hybrids. */
#define NSM_SUITE "time=8 steps=8 dim=64 heads=4 slots=32 width=16 hidden=64 "

/* A configuration from "key=value key=value", set in that order on top of the defaults. */
static inline void configure(mmrec_model_kind kind, const char *text, mmrec_any_config *config) {
    char words[256], *rest = words;
    mmrec_error error = {0};
    assert_true(strlen(text) < sizeof words);
    snprintf(words, sizeof words, "%s", text);
    mmrec_model_defaults(kind, config);
    for (char *word = strtok_r(rest, " ", &rest); word; word = strtok_r(rest, " ", &rest)) {
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value++ = '\0';
        must(mmrec_model_set(kind, config, word, value, &error), &error);
    }
}

/* The graph alone. `ids_below`: ids and class targets are drawn from as many. */
static inline mmrec_status graph_try(rig *r, mmrec_model_kind kind, const char *text, const mmrec_model_run *run,
                                     int64_t ids_below, mmrec_error *error) {
    mmrec_any_config config;
    configure(kind, text, &config);
    memset(r, 0, sizeof *r);
    r->vocab = ids_below;
    MMREC_TRY(mmrec_graph_create(&r->allocator, MMREC_F64, 2, &r->graph, error));
    return mmrec_model_build(kind, &config, run, r->graph, error);
}

static inline void graph_start(rig *r, mmrec_model_kind kind, const char *text, const mmrec_model_run *run) {
    mmrec_error error = {0};
    must(graph_try(r, kind, text, run, 1, &error), &error);
}

/* Ready to run on the reference backend. */
static inline void baseline_start(rig *r, mmrec_model_kind kind, const char *text, const mmrec_model_run *run,
                                  int64_t ids_below) {
    mmrec_plan_options no_options = {0};
    mmrec_exec_options options = {0};
    mmrec_error error = {0};
    must(graph_try(r, kind, text, run, ids_below, &error), &error);
    must(mmrec_plan_create(&r->allocator, r->graph, no_options, &r->plan, &error), &error);
    must(mmrec_plan_check(r->plan, &error), &error);
    must(mmrec_exec_create(&r->allocator, backend_named("ref"), r->graph, r->plan, options, &r->exec, &error), &error);
}

static inline int64_t elements_of(const rig *r, mmrec_tensor t) {
    mmrec_shape shape = mmrec_graph_tensor_info(r->graph, t).shape;
    return mmrec_shape_elements(&shape);
}

/* The loss, or the sum of d.r r over the results r that have a seed. */
static inline double objective(rig *r) {
    static double values[MAX_VALUES], seeds[MAX_VALUES];
    double sum = 0;
    if (mmrec_graph_find(r->graph, "loss")) {
        read_named(r, "loss", &sum, 1);
        return sum;
    }
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r->graph); t++) {
        char name[64];
        mmrec_tensor_info info = mmrec_graph_tensor_info(r->graph, t);
        snprintf(name, sizeof name, "d.%s", info.name);
        if (!info.name[0] || !mmrec_graph_find(r->graph, name)) continue;
        read_named(r, info.name, values, elements_of(r, t));
        for (int64_t i = 0; i < elements_of(r, t); i++) {
            uint64_t stream = 0; /* as fill_kind draws the input of that name */
            for (const char *c = name; *c; c++) stream = stream * 31 + (unsigned char)*c;
            seeds[i] = 0.6 * mmrec_rng_normal(11, stream, (uint64_t)i) + (strstr(name, "norm") ? 1 : 0);
            sum += seeds[i] * values[i];
        }
    }
    return sum;
}

#endif
