/* Kinds `block` and `model`: one graph, forward and backward. */
#include <stdio.h>
#include <string.h>

#include "parity_impl.h"

mmrec_status parity_build(parity_work *work, mmrec_model_kind kind, mmrec_model_run run, mmrec_error *error) {
    const mmrec_parity_options *options = work->result->options;
    run.hem = options->hem;
    run.recompute = options->recompute;
    MMREC_TRY(mmrec_graph_create(work->result->allocator, mmrec_backend_dtype(options->backend, options->bf16),
                                 mmrec_backend_threads(options->backend, options->threads), &work->graph, error));
    MMREC_TRY(mmrec_model_build(kind, &work->config, &run, work->graph, error));
    return parity_items_of_graph(work, error);
}

mmrec_status parity_load(parity_work *work, mmrec_error *error) {
    mmrec_plan_options plan = {.optimizer_slots = work->trains ? 2 : 0};
    mmrec_exec_options defaults = {.graphs = work->result->options->graphs};
    mmrec_allocator *allocator = work->result->allocator;
    MMREC_TRY(mmrec_plan_create(allocator, work->graph, plan, &work->plan, error));
    MMREC_TRY(mmrec_exec_create(allocator, work->result->options->backend, work->graph, work->plan, defaults,
                                &work->exec, error));
    for (size_t i = 0; i < work->item_count; i++) {
        const parity_item *item = &work->items[i];
        if (item->role != PARITY_PARAM) continue;
        MMREC_TRY(parity_read(work, item->name, error));
        MMREC_TRY(
            mmrec_exec_write(work->exec, item->tensor, work->expected, mmrec_shape_elements(&item->shape), error));
    }
    return MMREC_OK;
}

/* An item for a named tensor of the graph; where the graph has none (no auxiliary loss), a number that is 0. */
static mmrec_status add_named(parity_work *work, parity_role role, const char *item, const char *tensor,
                              mmrec_error *error) {
    mmrec_tensor found = mmrec_graph_find(work->graph, tensor);
    mmrec_shape shape = mmrec_shape1(1);
    if (found) shape = mmrec_graph_tensor_info(work->graph, found).shape;
    return parity_item_add(work, role, item, shape, found, error);
}

static mmrec_status add_outputs(parity_work *work, const char *const *names, mmrec_error *error) {
    for (; *names; names++) MMREC_TRY(add_named(work, PARITY_OUTPUT, *names, *names, error));
    return MMREC_OK;
}

mmrec_status parity_compare_role(parity_work *work, parity_role role, mmrec_error *error) {
    for (size_t i = 0; i < work->item_count; i++) {
        const parity_item *item = &work->items[i];
        if (item->role != role) continue;
        work->got[0] = 0; /* the value of an item without a tensor */
        int64_t count = mmrec_shape_elements(&item->shape);
        if (item->tensor) MMREC_TRY(mmrec_exec_read(work->exec, item->tensor, work->got, count, error));
        MMREC_TRY(parity_compare(work, item, error));
    }
    return MMREC_OK;
}

typedef mmrec_status (*writer)(parity_work *work, mmrec_error *error);

/* With graphs the second step is recorded and the third launched from the record, which is what is compared then.
 * Inputs share their memory with other values, so they are written again. */
static mmrec_status step_and_compare(parity_work *work, writer write, mmrec_error *error) {
    const mmrec_parity_options *options = work->result->options;
    int steps = options->graphs && options->backend->device ? 3 : 1;
    for (int i = 0; i < steps; i++) {
        MMREC_TRY(write(work, error));
        MMREC_TRY(mmrec_exec_run(work->exec, MMREC_PHASE_FORWARD, error));
        MMREC_TRY(mmrec_exec_run(work->exec, MMREC_PHASE_BACKWARD, error));
    }
    MMREC_TRY(parity_compare_role(work, PARITY_OUTPUT, error));
    return parity_compare_role(work, PARITY_GRADIENT, error);
}

/* Gradient of an input of the block, which differentiation was asked for. */
static mmrec_status add_input(parity_work *work, const char *name, mmrec_error *error) {
    mmrec_tensor input = mmrec_graph_find(work->graph, name);
    mmrec_shape shape = mmrec_graph_tensor_info(work->graph, input).shape;
    MMREC_TRY(parity_item_add(work, PARITY_INPUT, name, shape, input, error));
    return parity_item_add(work, PARITY_GRADIENT, name, shape, mmrec_graph_gradient(work->graph, input), error);
}

static mmrec_status write_inputs(parity_work *work, mmrec_error *error) {
    for (size_t i = 0; i < work->item_count; i++) {
        const parity_item *item = &work->items[i];
        if (item->role != PARITY_INPUT) continue;
        MMREC_TRY(parity_read(work, item->name, error));
        MMREC_TRY(
            mmrec_exec_write(work->exec, item->tensor, work->expected, mmrec_shape_elements(&item->shape), error));
    }
    return MMREC_OK;
}

mmrec_status parity_run_block(parity_work *work, mmrec_error *error) {
    static const char *const outputs[] = {"y", "gamma", "h", "aux", "h_last", "mem_k", "mem_v", NULL};
    mmrec_shape x;
    MMREC_TRY(parity_shape(work, "in.x", 3, &x, error));
    mmrec_model_run run = {.batch = x.dim[0], .time = x.dim[1], .gradient = true};
    MMREC_TRY(parity_build(work, MMREC_MODEL_block, run, error));
    MMREC_TRY(add_outputs(work, outputs, error));
    MMREC_TRY(add_input(work, "x", error));
    MMREC_TRY(add_input(work, "h0", error));
    MMREC_TRY(add_named(work, PARITY_INPUT, "dy", "d.y", error));
    MMREC_TRY(parity_items_check(work, error));
    MMREC_TRY(parity_load(work, error));
    return step_and_compare(work, write_inputs, error);
}

/* Steps [first, first + T) of a batch of in.ids (B, T + 1) into a tensor of ids. */
static mmrec_status write_ids(parity_work *work, const char *name, const mmrec_shape *ids, int64_t number,
                              int64_t first, mmrec_error *error) {
    int64_t time = ids->dim[1] - 1;
    parity_take_columns(work, ids, number, first, time);
    return mmrec_exec_write_ids(work->exec, mmrec_graph_find(work->graph, name), work->piece, ids->dim[0] * time,
                                error);
}

/* A sequence starts with h = 0. */
static mmrec_status write_zero_state(parity_work *work, int64_t batch, mmrec_error *error) {
    size_t count = (size_t)(batch * work->config.dim);
    memset(work->got, 0, count * sizeof *work->got);
    for (int64_t layer = 0; layer < work->config.layers; layer++) {
        char name[48];
        snprintf(name, sizeof name, "state.%lld.h", (long long)layer);
        MMREC_TRY(mmrec_exec_write(work->exec, mmrec_graph_find(work->graph, name), work->got, (int64_t)count, error));
    }
    return MMREC_OK;
}

mmrec_status parity_write_batch(parity_work *work, const mmrec_shape *ids, int64_t number, mmrec_error *error) {
    MMREC_TRY(write_ids(work, "ids", ids, number, 0, error));
    MMREC_TRY(write_ids(work, "targets", ids, number, 1, error));
    return write_zero_state(work, ids->dim[0], error);
}

static mmrec_status write_model_inputs(parity_work *work, mmrec_error *error) {
    mmrec_shape ids;
    MMREC_TRY(parity_shape(work, "in.ids", 2, &ids, error));
    return parity_write_batch(work, &ids, 0, error);
}

mmrec_status parity_run_model(parity_work *work, mmrec_error *error) {
    static const char *const outputs[] = {"logits", "loss", "loss_main", "loss_aux", NULL};
    mmrec_shape ids;
    MMREC_TRY(parity_shape(work, "in.ids", 2, &ids, error));
    mmrec_model_run run = {.batch = ids.dim[0], .time = ids.dim[1] - 1, .gradient = true, .logits = true};
    MMREC_TRY_WHILE(parity_build(work, MMREC_MODEL_mmrec, run, error), error, "building a model for in.ids (B, T + 1)");
    MMREC_TRY(add_outputs(work, outputs, error));
    MMREC_TRY(parity_item_add(work, PARITY_INPUT, "ids", ids, 0, error));
    MMREC_TRY(parity_items_check(work, error));
    MMREC_TRY(parity_load(work, error));
    MMREC_TRY(parity_read_ids(work, error));
    return step_and_compare(work, write_model_inputs, error);
}
