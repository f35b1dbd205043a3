/* A model ready to run on the task: graph, plan, exec, optimizer, and the state that it carries. */
#include <string.h>

#include "compare_impl.h"

/* ---- making it ---- */

/* Held-out data is for the model as it is used: nothing is dropped. */
static void without_dropout(mmrec_model_kind kind, mmrec_any_config *config) {
    for (const mmrec_model_field *f = mmrec_model_get(kind)->fields; f->key; f++) {
        if (strcmp(f->key, "dropout") == 0) *(double *)((char *)config + f->offset) = 0;
    }
}

static mmrec_status build(compare_net *net, const compare_recipe *r, mmrec_error *error) {
    const mmrec_compare_options *options = r->options;
    mmrec_any_config config = r->entry->config;
    mmrec_model_run run = {.batch = r->batch,
                           .time = r->time,
                           .hem = options->hem,
                           .loss = true,
                           .gradient = r->gradient,
                           .recompute = r->gradient && options->recompute};
    if (!r->gradient) without_dropout(r->entry->kind, &config);
    MMREC_TRY(mmrec_graph_create(net->allocator, mmrec_backend_dtype(options->backend, options->bf16),
                                 mmrec_backend_threads(options->backend, options->threads), &net->graph, error));
    return mmrec_model_build(r->entry->kind, &config, &run, net->graph, error);
}

static void find_ends(compare_net *net) {
    const struct {
        mmrec_tensor *to;
        const char *name, *else_name;
    } ends[] = {{&net->x, "x", NULL},
                {&net->target, "target", NULL},
                {&net->ids, "ids", NULL},
                {&net->targets, "targets", NULL},
                {&net->loss, "loss_main", "loss"},
                {&net->result, "logits", "y"}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        *ends[i].to = mmrec_graph_find(net->graph, ends[i].name);
        if (!*ends[i].to && ends[i].else_name) *ends[i].to = mmrec_graph_find(net->graph, ends[i].else_name);
    }
}

static mmrec_status prepare(compare_net *net, const compare_recipe *r, mmrec_error *error) {
    const mmrec_compare_options *options = r->options;
    mmrec_plan_options plan = {.optimizer_slots = r->gradient ? 2 : 0};
    mmrec_exec_options exec = {.params_from = r->params_from, .graphs = options->graphs};
    MMREC_TRY(mmrec_plan_create(net->allocator, net->graph, plan, &net->plan, error));
    MMREC_TRY(mmrec_exec_create(net->allocator, options->backend, net->graph, net->plan, exec, &net->exec, error));
    mmrec_exec_seed(net->exec, r->seed);
    if (!r->params_from) MMREC_TRY(mmrec_model_init(net->exec, net->graph, net->allocator, r->seed, error));
    if (!r->gradient) return MMREC_OK;
    MMREC_TRY(mmrec_optimizer_create(net->allocator, net->exec, &options->optimizer, &net->optimizer, error));
    return mmrec_optimizer_rate(net->optimizer, 0, error);
}

/* ---- carried state ---- */

static bool is_state(const mmrec_tensor_info *info) {
    return info->kind == MMREC_TENSOR_INPUT && strncmp(info->name, "state.", 6) == 0;
}

/* MM-Rec's h begins at zero with every batch; a memory (nsm hybrids, faithful) is kept from call to call. */
static mmrec_tensor next_of(const mmrec_graph *graph, const char *name) {
    return strcmp(name, "state.memory") == 0 ? mmrec_graph_find(graph, "next.memory") : 0;
}

static mmrec_status find_states(compare_net *net, mmrec_error *error) {
    void *memory = NULL;
    int count = 0, all = mmrec_graph_tensor_count(net->graph);
    for (mmrec_tensor t = 1; t <= all; t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(net->graph, t);
        count += is_state(&info);
    }
    if (count == 0) return MMREC_OK;
    MMREC_TRY(compare_alloc(net->allocator, (size_t)count, sizeof *net->states, &memory, error));
    net->states = memory;
    net->state_count = count;
    count = 0;
    for (mmrec_tensor t = 1; t <= all; t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(net->graph, t);
        if (!is_state(&info)) continue;
        int64_t elements = mmrec_shape_elements(&info.shape);
        net->states[count++] = (compare_state){t, next_of(net->graph, info.name), net->value_count, elements};
        net->value_count += elements;
    }
    MMREC_TRY(compare_alloc(net->allocator, (size_t)net->value_count, sizeof *net->values, &memory, error));
    net->values = memory;
    return MMREC_OK;
}

mmrec_status compare_net_carry(compare_net *net, mmrec_error *error) {
    for (int i = 0; i < net->state_count; i++) {
        const compare_state *s = &net->states[i];
        if (s->next) MMREC_TRY(mmrec_exec_read(net->exec, s->next, net->values + s->first, s->count, error));
    }
    return MMREC_OK;
}

void compare_net_carry_from(compare_net *net, const compare_net *from) {
    if (net->value_count > 0 && net->value_count == from->value_count) {
        memcpy(net->values, from->values, (size_t)net->value_count * sizeof *net->values);
    }
}

/* ---- life ---- */

mmrec_status compare_net_create(mmrec_allocator *allocator, const compare_recipe *recipe, compare_net *out,
                                mmrec_error *error) {
    *out = (compare_net){.allocator = allocator};
    MMREC_TRY(build(out, recipe, error));
    find_ends(out);
    if (recipe->entry->fused) return compare_fused_create(out, recipe, error);
    MMREC_TRY(find_states(out, error));
    return prepare(out, recipe, error);
}

void compare_net_free(compare_net *net) {
    if (!net->allocator) return;
    mmrec_mlp_destroy(&net->fused);
    mmrec_optimizer_destroy(&net->optimizer);
    mmrec_exec_destroy(&net->exec);
    mmrec_plan_destroy(&net->plan);
    mmrec_graph_destroy(&net->graph);
    compare_release(net->allocator, net->states, (size_t)net->state_count, sizeof *net->states);
    compare_release(net->allocator, net->values, net->values ? (size_t)net->value_count : 0, sizeof *net->values);
    *net = (compare_net){0};
}

/* ---- running it ---- */

static mmrec_status give(mmrec_exec *exec, mmrec_tensor to, const double *values, int64_t count, mmrec_error *error) {
    if (!to) return MMREC_OK;
    if (!values) MMREC_FAIL(error, MMREC_CONFIG, "the model reads or is judged by real numbers, but the task has none");
    return mmrec_exec_write(exec, to, values, count, error);
}

static mmrec_status give_ids(mmrec_exec *exec, mmrec_tensor to, const int32_t *values, int64_t count,
                             mmrec_error *error) {
    if (!to) return MMREC_OK;
    if (!values) MMREC_FAIL(error, MMREC_CONFIG, "the model reads or is judged by ids, but the task has none");
    return mmrec_exec_write_ids(exec, to, values, count, error);
}

mmrec_status compare_net_feed(const compare_net *net, const compare_task *task, mmrec_exec *exec, mmrec_error *error) {
    const mmrec_compare_task *s = &task->spec;
    if (net->fused) return compare_fused_feed(net, task, error);
    MMREC_TRY_WHILE(give(exec, net->x, task->x, s->batch * s->inputs, error), error, "feeding x");
    MMREC_TRY_WHILE(give(exec, net->target, task->target, s->batch * s->outputs, error), error, "feeding target");
    MMREC_TRY_WHILE(give_ids(exec, net->ids, task->ids, task->places, error), error, "feeding ids");
    MMREC_TRY_WHILE(give_ids(exec, net->targets, task->targets, task->places, error), error, "feeding targets");
    for (int i = 0; i < net->state_count; i++) {
        const compare_state *state = &net->states[i];
        MMREC_TRY(mmrec_exec_write(exec, state->in, net->values + state->first, state->count, error));
    }
    return MMREC_OK;
}

mmrec_status compare_net_queue(const compare_net *net, mmrec_compare_part part, mmrec_error *error) {
    bool all = part == MMREC_PART_STEP;
    if (net->fused) return compare_fused_queue(net, error);
    if (all || part == MMREC_PART_FORWARD) MMREC_TRY(mmrec_exec_queue(net->exec, MMREC_PHASE_FORWARD, error));
    if (all || part == MMREC_PART_BACKWARD) MMREC_TRY(mmrec_exec_queue(net->exec, MMREC_PHASE_BACKWARD, error));
    if (all || part == MMREC_PART_OPTIMIZER) MMREC_TRY(mmrec_optimizer_queue(net->optimizer, error));
    return MMREC_OK;
}

mmrec_status compare_net_loss(const compare_net *net, double *loss, mmrec_error *error) {
    return mmrec_exec_read(net->exec, net->loss, loss, 1, error);
}

size_t compare_net_planned(const compare_net *net, mmrec_arena arena) {
    return net->fused ? mmrec_mlp_bytes(net->fused, arena) : mmrec_plan_arena_bytes(net->plan, arena);
}

size_t compare_net_planned_all(const compare_net *net) {
    size_t bytes = 0;
    for (int arena = 0; arena < MMREC_ARENAS; arena++) bytes += compare_net_planned(net, (mmrec_arena)arena);
    return bytes;
}

mmrec_work compare_net_forward_work(const compare_net *net) {
    mmrec_work work = mmrec_graph_work(net->graph, MMREC_PHASE_FORWARD),
               more = mmrec_graph_work(net->graph, MMREC_PHASE_REFRESH);
    return (mmrec_work){work.flops + more.flops, work.transcendentals + more.transcendentals, work.bytes + more.bytes};
}
