/* Graphs of the model: the one that is trained, and those that look on with its parameters. */
#include <stdio.h>

#include "trainer_impl.h"

static mmrec_status build(mmrec_trainer *t, const train_use *use, train_net *net, mmrec_error *error) {
    const mmrec_train_config *c = &t->config;
    mmrec_model_config model = c->model;
    mmrec_model_run run = {.batch = c->batch,
                           .time = c->time,
                           .hem = c->hem,
                           .carried = use->carried,
                           .loss = true,
                           .gradient = use->gradient,
                           .recompute = c->recompute,
                           .growth = use->growth,
                           .state_gradient = use->carried && use->gradient,
                           .part = use->part};
    if (!use->train) model.dropout = 0;
    MMREC_TRY(mmrec_graph_create(t->allocator, mmrec_backend_dtype(t->backend, c->bf16), t->flat.threads, &net->graph,
                                 error));
    return mmrec_model_build(MMREC_MODEL_mmrec, &model, &run, net->graph, error);
}

static mmrec_tensor find_layer(const mmrec_graph *graph, const char *what, int64_t layer, const char *name) {
    char text[64];
    snprintf(text, sizeof text, "%s.%lld.%s", what, (long long)layer, name);
    return mmrec_graph_find(graph, text);
}

static void wire_layer(const train_net *net, int64_t layer) {
    static const char *const state[TRAIN_STATES] = {"h", "mem_k", "mem_v"};
    static const char *const first[TRAIN_STATES] = {"", "memory.k", "memory.v"};
    train_layer *l = &net->layers[layer];
    char text[32];
    for (int i = 0; i < TRAIN_STATES; i++) {
        l->state[i] = find_layer(net->graph, "state", layer, state[i]);
        l->next[i] = find_layer(net->graph, "next", layer, state[i]);
        l->first[i] = find_layer(net->graph, "blocks", layer, first[i]);
    }
    snprintf(text, sizeof text, "growth.%lld", (long long)layer);
    l->growth = mmrec_graph_find(net->graph, text);
}

mmrec_status train_net_wire(mmrec_trainer *t, train_net *net, mmrec_error *error) {
    const struct {
        const char *name;
        mmrec_tensor *to;
    } rows[] = {{"ids", &net->ids},   {"targets", &net->targets},     {"logits", &net->logits},
                {"loss", &net->loss}, {"loss_main", &net->loss_main}, {"loss_aux", &net->loss_aux}};
    void *memory = NULL;
    MMREC_TRY(train_alloc(t, (size_t)t->config.model.layers, sizeof(train_layer), &memory, error));
    net->layers = memory;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) *rows[i].to = mmrec_graph_find(net->graph, rows[i].name);
    for (int64_t layer = 0; layer < t->config.model.layers; layer++) wire_layer(net, layer);
    return MMREC_OK;
}

static mmrec_status prepare(mmrec_trainer *t, const train_use *use, train_net *net, mmrec_error *error) {
    mmrec_plan_options plan = {.optimizer_slots = use->train ? 2 : 0};
    mmrec_exec_options options = {.params_from = use->params_from, .graphs = t->config.graphs};
    MMREC_TRY(build(t, use, net, error));
    MMREC_TRY(mmrec_plan_create(t->allocator, net->graph, plan, &net->plan, error));
    MMREC_TRY(mmrec_exec_create(t->allocator, t->backend, net->graph, net->plan, options, &net->exec, error));
    return train_net_wire(t, net, error);
}

mmrec_status train_net_create(mmrec_trainer *t, const train_use *use, train_net *net, mmrec_error *error) {
    mmrec_status status = prepare(t, use, net, error);
    if (status != MMREC_OK) train_net_destroy(t, net);
    return status;
}

void train_net_destroy(mmrec_trainer *t, train_net *net) {
    train_net none = {0};
    train_release(t, net->layers, (size_t)t->config.model.layers * sizeof(train_layer));
    mmrec_exec_destroy(&net->exec);
    mmrec_plan_destroy(&net->plan);
    mmrec_graph_destroy(&net->graph);
    *net = none;
}

mmrec_status train_net_read(const train_net *net, mmrec_tensor scalar, double *value, mmrec_error *error) {
    *value = 0;
    return scalar ? mmrec_exec_read(net->exec, scalar, value, 1, error) : MMREC_OK;
}
