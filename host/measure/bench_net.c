/* A model ready to run: graph, plan, exec, parameters drawn. */
#include <stdio.h>

#include "bench_impl.h"

mmrec_status bench_net_create(mmrec_allocator *allocator, const bench_recipe *recipe, bench_net *out,
                              mmrec_error *error) {
    *out = (bench_net){.kind = recipe->kind};
    mmrec_model_run run = {.batch = recipe->input->batch,
                           .time = recipe->input->time,
                           .hem = recipe->hem,
                           .loss = recipe->gradient,
                           .gradient = recipe->gradient,
                           .logits = recipe->logits,
                           .recompute = recipe->recompute};
    mmrec_plan_options plan_options = {.optimizer_slots = recipe->optimizer_slots};
    mmrec_exec_options options = {.params_from = recipe->params_from, .graphs = recipe->graphs};
    MMREC_TRY(mmrec_graph_create(allocator, mmrec_backend_dtype(recipe->backend, recipe->bf16),
                                 mmrec_backend_threads(recipe->backend, recipe->threads), &out->graph, error));
    MMREC_TRY(mmrec_model_build(recipe->kind, &recipe->input->model, &run, out->graph, error));
    MMREC_TRY(mmrec_plan_create(allocator, out->graph, plan_options, &out->plan, error));
    MMREC_TRY(mmrec_exec_create(allocator, recipe->backend, out->graph, out->plan, options, &out->exec, error));
    mmrec_exec_seed(out->exec, recipe->seed);
    if (recipe->params_from) return MMREC_OK;
    return mmrec_model_init(out->exec, out->graph, allocator, recipe->seed, error);
}

void bench_net_free(bench_net *net) {
    mmrec_exec_destroy(&net->exec);
    mmrec_plan_destroy(&net->plan);
    mmrec_graph_destroy(&net->graph);
}

static mmrec_status feed_values(const bench_net *net, mmrec_exec *exec, const char *name, const double *values,
                                int64_t count, mmrec_error *error) {
    mmrec_tensor tensor = mmrec_graph_find(net->graph, name);
    return tensor ? mmrec_exec_write(exec, tensor, values, count, error) : MMREC_OK;
}

static mmrec_status feed_block(const bench_net *net, mmrec_exec *exec, const bench_inputs *in, mmrec_error *error) {
    int64_t values = in->tokens * in->width;
    MMREC_TRY(feed_values(net, exec, "x", in->x, values, error));
    MMREC_TRY(feed_values(net, exec, "h0", in->h0, in->rows * in->width, error));
    return feed_values(net, exec, "d.y", in->dy, values, error);
}

static mmrec_status feed_model(const bench_net *net, mmrec_exec *exec, const bench_inputs *in, mmrec_error *error) {
    mmrec_tensor targets = mmrec_graph_find(net->graph, "targets");
    MMREC_TRY(mmrec_exec_write_ids(exec, mmrec_graph_find(net->graph, "ids"), in->ids, in->tokens, error));
    if (targets) MMREC_TRY(mmrec_exec_write_ids(exec, targets, in->targets, in->tokens, error));
    for (int layer = 0;; layer++) {
        char name[32];
        snprintf(name, sizeof name, "state.%d.h", layer);
        if (!mmrec_graph_find(net->graph, name)) return MMREC_OK;
        MMREC_TRY(feed_values(net, exec, name, in->h0, in->rows * in->width, error));
    }
}

mmrec_status bench_net_feed(const bench_net *net, mmrec_exec *exec, const bench_inputs *in, mmrec_error *error) {
    mmrec_status (*feed)(const bench_net *, mmrec_exec *, const bench_inputs *, mmrec_error *) =
        net->kind == MMREC_MODEL_block ? feed_block : feed_model;
    MMREC_TRY_WHILE(feed(net, exec, in, error), error, "writing the inputs");
    return MMREC_OK;
}
