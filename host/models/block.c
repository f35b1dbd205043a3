/* The MM-Rec block, and the model `block` that is one of it. The mathematics in words: docs/model.md. */
#include "build.h"

#include <math.h>

/* Weight of the long-term gate's state and of v in the block's sum; weight of q in the memory query. */
static const double mix_v = 0.1, mix_q = 0.5;

/* Standard deviation of the first memory. */
static const double first_memory = 0.02;

/* Places of dropout in a block: inside the sum, the GELU and the last sum; a draw is addressed by stream 3 layer +
 * place. */
enum { DROP_SUM, DROP_HIDDEN, DROP_OUTPUT, DROP_PLACES };

/* The projections of xn. Their weights are always rows of one stack, whether or not the fused product uses it, so that
 * graphs with and without HEM have the same parameter memory and can share it. */
enum { PART_Q, PART_K, PART_V, PART_Z, PART_E, PARTS };

typedef struct projections {
    mmrec_affine part[PARTS]; /* q, k, v, z: parameters; e: the folded product, only rows of the stack */
    mmrec_affine stack;
    mmrec_affine p, e; /* the positional path's own two maps */
} projections;

typedef struct weights {
    mmrec_tensor norm1, norm2;
    projections project;
    mmrec_affine dpg_down, dpg_up, decay_in, decay_out, context_in, context_out;
    mmrec_affine gate, mdi, query, out;
    mmrec_tensor memory_k, memory_v;
    mmrec_affine ffn_in, ffn_out;
    mmrec_affine error_in, error_out, target_in, target_out;
} weights;

/* Rows [part D, part D + D) of the stack as the parameters of one projection. */
static mmrec_affine stacked_param(mmrec_graph *graph, mmrec_affine stack, int part, const char *weight,
                                  const char *bias, int64_t dim) {
    mmrec_affine map;
    map.weight = mmrec_graph_stack_param(graph, stack.weight, part * dim * dim, weight, mmrec_shape2(dim, dim));
    map.bias = mmrec_graph_stack_param(graph, stack.bias, part * dim, bias, mmrec_shape1(dim));
    mmrec_graph_initial(graph, map.weight, mmrec_initial_normal(1 / sqrt((double)dim)));
    return map;
}

static void declare_projections(mmrec_graph *graph, const mmrec_model_config *c, projections *w) {
    int64_t dim = c->dim, parts = c->pe ? PARTS : PART_E;
    w->stack.weight = mmrec_graph_stack(graph, "hem.weight", mmrec_shape2(parts * dim, dim));
    w->stack.bias = mmrec_graph_stack(graph, "hem.bias", mmrec_shape1(parts * dim));
    w->part[PART_Q] = stacked_param(graph, w->stack, PART_Q, "q.weight", "q.bias", dim);
    w->part[PART_K] = stacked_param(graph, w->stack, PART_K, "k.weight", "k.bias", dim);
    w->part[PART_V] = stacked_param(graph, w->stack, PART_V, "v.weight", "v.bias", dim);
    w->part[PART_Z] = stacked_param(graph, w->stack, PART_Z, "z.weight", "z.bias", dim);
    if (!c->pe) return;
    mmrec_affine *fold = &w->part[PART_E];
    fold->weight = mmrec_graph_stack_value(graph, w->stack.weight, PART_E * dim * dim, mmrec_shape2(dim, dim));
    fold->bias = mmrec_graph_stack_value(graph, w->stack.bias, PART_E * dim, mmrec_shape1(dim));
    w->p = mmrec_affine_param(graph, "p", c->pe, dim);
    w->e = mmrec_affine_param(graph, "e", dim, c->pe);
}

static void declare_decay(mmrec_graph *graph, const mmrec_model_config *c, weights *w) {
    if (c->dpg) {
        w->dpg_down = mmrec_affine_param(graph, "dpg.down", c->dpg, c->dim);
        w->dpg_up = mmrec_affine_param(graph, "dpg.up", c->dim, c->dpg);
        return;
    }
    w->decay_in = mmrec_affine_param(graph, "decay.in", c->inner, c->dim);
    w->decay_out = mmrec_affine_param(graph, "decay.out", c->dim, c->inner);
    w->context_in = mmrec_affine_param(graph, "context.in", c->inner, c->dim);
    w->context_out = mmrec_affine_param(graph, "context.out", c->dim, c->inner);
}

/* Every parameter of the configuration, also those this graph will not read: memory is shared between graphs. */
static void declare(mmrec_graph *graph, const mmrec_model_config *c, weights *w) {
    int64_t dim = c->dim;
    w->norm1 = mmrec_param(graph, "norm1.weight", mmrec_shape1(dim), mmrec_initial_constant(1));
    declare_projections(graph, c, &w->project);
    declare_decay(graph, c, w);
    w->gate = mmrec_affine_param(graph, "gate", dim, dim);
    w->mdi = mmrec_affine_param(graph, "mdi_gate", dim, 2 * dim);
    w->query = mmrec_affine_param(graph, "memory.query", dim, dim);
    w->out = mmrec_affine_param(graph, "memory.out", dim, dim);
    w->memory_k = mmrec_param(graph, "memory.k", mmrec_shape2(c->slots, dim), mmrec_initial_normal(first_memory));
    w->memory_v = mmrec_param(graph, "memory.v", mmrec_shape2(c->slots, dim), mmrec_initial_normal(first_memory));
    w->norm2 = mmrec_param(graph, "norm2.weight", mmrec_shape1(dim), mmrec_initial_constant(1));
    w->ffn_in = mmrec_affine_param(graph, "ffn.in", c->ffn, dim);
    w->ffn_out = mmrec_affine_param(graph, "ffn.out", dim, c->ffn);
    if (c->uboo != MMREC_UBOO_PLANNING) return;
    w->error_in = mmrec_affine_param(graph, "plan_error.in", dim, dim);
    w->error_out = mmrec_affine_param(graph, "plan_error.out", dim, dim);
    w->target_in = mmrec_affine_param(graph, "plan_target.in", dim, dim);
    w->target_out = mmrec_affine_param(graph, "plan_target.out", dim, dim);
}

/* out(activation(in(x))) */
static mmrec_tensor mlp(mmrec_graph *graph, mmrec_affine in, mmrec_op_id activation, mmrec_affine out, mmrec_tensor x) {
    mmrec_tensor hidden = mmrec_add1(graph, activation, mmrec_affine_apply(graph, in, x));
    return mmrec_affine_apply(graph, out, hidden);
}

/* We Wp and We bp + be into their rows of the stack, whenever the parameters changed. */
static void fold_positional(mmrec_graph *graph, const projections *w) {
    mmrec_node_spec weight = {.in = {w->e.weight, w->p.weight}, .into = {w->part[PART_E].weight}};
    mmrec_node_spec bias = {.in = {w->p.bias, w->e.weight, w->e.bias}, .into = {w->part[PART_E].bias}};
    mmrec_graph_phase(graph, MMREC_PHASE_REFRESH);
    mmrec_graph_add(graph, MMREC_OP_matmul, weight);
    mmrec_graph_add(graph, MMREC_OP_linear, bias);
    mmrec_graph_phase(graph, MMREC_PHASE_FORWARD);
}

/* q, k, v, z and e (0 without a positional path): one product with the stacked weight, or six. */
static void project(mmrec_graph *graph, const mmrec_model_config *c, bool hem, const projections *w, mmrec_tensor xn,
                    mmrec_tensor to[PARTS]) {
    int parts = c->pe ? PARTS : PART_E;
    to[PART_E] = 0;
    if (hem) {
        if (c->pe) fold_positional(graph, w);
        mmrec_tensor all = mmrec_affine_apply(graph, w->stack, xn);
        for (int i = 0; i < parts; i++) to[i] = mmrec_graph_columns(graph, all, i * c->dim, c->dim);
        return;
    }
    for (int i = 0; i < PART_E; i++) to[i] = mmrec_affine_apply(graph, w->part[i], xn);
    if (c->pe) to[PART_E] = mmrec_affine_apply(graph, w->e, mmrec_affine_apply(graph, w->p, xn));
}

static mmrec_tensor decay(mmrec_graph *graph, const mmrec_model_config *c, const weights *w, mmrec_tensor z,
                          mmrec_tensor k) {
    if (c->dpg) {
        return mmrec_add1(graph, MMREC_OP_decay_gate, mlp(graph, w->dpg_down, MMREC_OP_relu, w->dpg_up, z));
    }
    mmrec_tensor own = mlp(graph, w->decay_in, MMREC_OP_gelu, w->decay_out, z);
    mmrec_tensor context = mlp(graph, w->context_in, MMREC_OP_gelu, w->context_out, k);
    return mmrec_add2(graph, MMREC_OP_decay_gate, own, context);
}

static mmrec_tensor pool(mmrec_graph *graph, const mmrec_model_config *c, mmrec_tensor memory) {
    if (c->level == 0) return memory;
    mmrec_node_spec spec = {.in = {memory}, .attr = {(double)c->level}, .attr_set = 1};
    return mmrec_graph_add(graph, MMREC_OP_memory_pool, spec);
}

static mmrec_tensor attend(mmrec_graph *graph, const mmrec_model_config *c, const weights *w, mmrec_tensor h,
                           mmrec_tensor q, mmrec_tensor memory_k, mmrec_tensor memory_v) {
    mmrec_term query[] = {{mmrec_affine_apply(graph, w->query, h), 1}, {q, mix_q}};
    mmrec_node_spec spec = {.attr = {(double)c->heads}, .attr_set = 1};
    spec.in[0] = mmrec_add_sum(graph, query, 2);
    spec.in[1] = pool(graph, c, memory_k);
    spec.in[2] = pool(graph, c, memory_v);
    return mmrec_affine_apply(graph, w->out, mmrec_graph_add(graph, MMREC_OP_memory_attention, spec));
}

static mmrec_drop drop_at(const mmrec_model_config *c, int layer, int place) {
    mmrec_drop drop = {c->dropout, (int64_t)layer * DROP_PLACES + place};
    return drop;
}

/* y = r + dropout(linear(dropout(gelu(linear(RMSNorm2(r)))))) */
static mmrec_tensor feed_forward(mmrec_graph *graph, const mmrec_model_config *c, int layer, const weights *w,
                                 mmrec_tensor r) {
    mmrec_tensor in = mmrec_affine_apply(graph, w->ffn_in, mmrec_add2(graph, MMREC_OP_rmsnorm, r, w->norm2));
    mmrec_drop drop = drop_at(c, layer, DROP_HIDDEN);
    mmrec_node_spec gelu = {.in = {in}, .attr = {drop.p, (double)drop.stream}, .attr_set = 3};
    mmrec_tensor hidden = mmrec_graph_add(graph, MMREC_OP_gelu, gelu);
    mmrec_term parts[] = {{r, 1}, {mmrec_affine_apply(graph, w->ffn_out, hidden), 1}};
    return mmrec_add_dropped_sum(graph, parts, 2, drop_at(c, layer, DROP_OUTPUT));
}

/* mean((E(n) - G(h_{t-1}))^2); n carries no gradient back, by the definition of the recurrence. */
static mmrec_tensor planning_error(mmrec_graph *graph, const weights *w, mmrec_tensor n, mmrec_tensor h,
                                   mmrec_tensor h0) {
    mmrec_tensor before = mmrec_add2(graph, MMREC_OP_shift, h, h0);
    mmrec_tensor seen = mlp(graph, w->error_in, MMREC_OP_gelu, w->error_out, n);
    mmrec_tensor expected = mlp(graph, w->target_in, MMREC_OP_gelu, w->target_out, before);
    return mmrec_add2(graph, MMREC_OP_mean_square, seen, expected);
}

static mmrec_tensor update_memory(mmrec_graph *graph, const mmrec_model_config *c, mmrec_tensor memory,
                                  mmrec_tensor y) {
    mmrec_node_spec spec = {.in = {memory, y}, .attr = {c->memory_decay}, .attr_set = 1};
    return mmrec_graph_add(graph, MMREC_OP_memory_update, spec);
}

void mmrec_block_add(mmrec_graph *graph, const mmrec_model_config *c, const mmrec_model_run *run, int layer,
                     bool aux_wanted, mmrec_block *b) {
    weights w = {0};
    declare(graph, c, &w);
    mmrec_tensor memory_k = b->state_k ? b->state_k : w.memory_k, memory_v = b->state_v ? b->state_v : w.memory_v;
    bool plan = aux_wanted && c->uboo == MMREC_UBOO_PLANNING;

    mmrec_tensor part[PARTS];
    project(graph, c, run->hem, &w.project, mmrec_add2(graph, MMREC_OP_rmsnorm, b->x, w.norm1), part);
    b->gamma = decay(graph, c, &w, part[PART_Z], part[PART_K]);
    mmrec_node_spec recurrence = {
        .in = {part[PART_Z], b->gamma, b->h0, w.gate.weight, w.gate.bias, w.mdi.weight, w.mdi.bias},
        .attr = {mmrec_graph_dtype(graph) == MMREC_BF16}, /* its weights are too, inside; z, gamma, h stay f32 */
        .attr_set = 1,
        .skip = plan ? 0 : 2};
    b->h = mmrec_graph_add(graph, MMREC_OP_recurrence, recurrence);
    mmrec_tensor n = plan ? mmrec_graph_result(graph, 1) : 0;
    b->growth = run->growth ? mmrec_add2(graph, MMREC_OP_growth, b->gamma, mmrec_graph_saved(graph, 0)) : 0;

    mmrec_tensor context = attend(graph, c, &w, b->h, part[PART_Q], memory_k, memory_v);
    mmrec_term sum[] = {{b->x, 1}, {b->h, 1}, {context, 1}, {part[PART_V], mix_v}, {part[PART_E], 1}};
    mmrec_tensor r = mmrec_add_dropped_sum(graph, sum, 5, drop_at(c, layer, DROP_SUM));
    b->y = feed_forward(graph, c, layer, &w, r);
    b->aux = plan ? planning_error(graph, &w, n, b->h, b->h0) : 0;
    b->h_last = mmrec_add1(graph, MMREC_OP_last_step, b->h);
    b->mem_k = update_memory(graph, c, memory_k, b->y);
    b->mem_v = update_memory(graph, c, memory_v, b->y);
}

static void keep_results(mmrec_graph *graph, const mmrec_block *b) {
    mmrec_graph_keep(graph, b->y, "y");
    mmrec_graph_keep(graph, b->gamma, "gamma");
    mmrec_graph_keep(graph, b->h, "h");
    if (b->aux) mmrec_graph_keep(graph, b->aux, "aux");
    if (b->growth) mmrec_graph_keep(graph, b->growth, "growth");
    mmrec_graph_keep(graph, b->h_last, "h_last");
    mmrec_graph_keep(graph, b->mem_k, "mem_k");
    mmrec_graph_keep(graph, b->mem_v, "mem_v");
}

mmrec_status mmrec_block_build(const void *settings, const mmrec_model_run *run, mmrec_graph *graph,
                               mmrec_error *error) {
    const mmrec_model_config *config = settings;
    mmrec_shape sequence = mmrec_shape3(run->batch, run->time, config->dim);
    mmrec_shape memory = mmrec_shape3(run->batch, config->slots, config->dim);
    mmrec_block b = {0};
    if (run->part != MMREC_LOSS_ALL || run->state_gradient) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "parts of a loss and gradients of carried memory are for model mmrec, not block");
    }
    mmrec_graph_scope(graph, 0, "");
    b.x = mmrec_graph_input(graph, "x", MMREC_F32, sequence);
    b.h0 = mmrec_graph_input(graph, "h0", MMREC_F32, mmrec_shape2(run->batch, config->dim));
    if (run->carried) {
        b.state_k = mmrec_graph_input(graph, "state.mem_k", MMREC_F32, memory);
        b.state_v = mmrec_graph_input(graph, "state.mem_v", MMREC_F32, memory);
    }
    mmrec_block_add(graph, config, run, 0, true, &b);
    keep_results(graph, &b);
    if (!run->gradient) return mmrec_graph_status(graph, error);
    mmrec_seed seeds[] = {{b.y, mmrec_graph_input(graph, "d.y", MMREC_F32, sequence), 0},
                          {b.aux, 0, config->uboo_weight}};
    mmrec_tensor wanted[] = {b.x, b.h0};
    return mmrec_graph_differentiate(graph, seeds, b.aux ? 2 : 1, wanted, 2, run->recompute, error);
}
