/* What the tests of bf16 storage share: a model on any backend and in any storage type. */
#ifndef BF16_RIG_H
#define BF16_RIG_H

#include "model_rig.h"
#include "rounded_backend.h"

static inline mmrec_status stored_try(rig *r, const mmrec_backend *backend, mmrec_dtype storage, mmrec_model_kind kind,
                                      const mmrec_model_config *c, const mmrec_model_run *run,
                                      mmrec_exec_options options, mmrec_error *error) {
    memset(r, 0, sizeof *r);
    r->vocab = c->vocab;
    MMREC_TRY(mmrec_graph_create(&r->allocator, storage, mmrec_backend_threads(backend, 1), &r->graph, error));
    MMREC_TRY(mmrec_model_build(kind, c, run, r->graph, error));
    MMREC_TRY(mmrec_plan_create(&r->allocator, r->graph, (mmrec_plan_options){0}, &r->plan, error));
    MMREC_TRY(mmrec_plan_check(r->plan, error));
    return mmrec_exec_create(&r->allocator, backend, r->graph, r->plan, options, &r->exec, error);
}

/* A step of a model made for it; the caller ends it. */
static inline void stored_step(rig *r, const mmrec_backend *backend, mmrec_dtype storage, mmrec_model_kind kind,
                               const mmrec_model_config *c, const mmrec_model_run *run) {
    mmrec_error error = {0};
    must(stored_try(r, backend, storage, kind, c, run, (mmrec_exec_options){0}, &error), &error);
    must(rig_step(r, run->gradient, &error), &error);
}

/* Configurations that together have every op of the models, and both their kinds. */
enum { STORED_MODELS = 4 };
static inline mmrec_model_kind stored_model(int which, mmrec_model_config *c, mmrec_model_run *run) {
    *c = small_config();
    *run =
        (mmrec_model_run){.batch = 2, .time = 5, .hem = which % 2 == 0, .loss = true, .gradient = true, .logits = true};
    if (which % 2 == 0) c->pe = 7;
    if (which == 1) c->dpg = 3;
    if (which < 2) c->uboo = MMREC_UBOO_PLANNING;
    if (which == 2) c->uboo = MMREC_UBOO_DEEP;
    run->recompute = which == 3;
    return which < 1 ? MMREC_MODEL_block : MMREC_MODEL_mmrec;
}

#endif
