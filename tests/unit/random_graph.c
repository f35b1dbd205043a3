#include "random_graph.h"

#include <stdio.h>
#include <string.h>

enum { BATCH = 2, TIME = 3, WIDTH = 4, SLOTS = 4, CLASSES = 3 /* at least */ };

static int64_t columns_of(const random_graph *r, mmrec_tensor t) {
    if (!t) return 1; /* the graph's error tells */
    mmrec_shape shape = mmrec_graph_tensor_info(r->graph, t).shape;
    return mmrec_shape_columns(&shape);
}

static void keep_value(random_graph *r, mmrec_tensor t) {
    if (t && r->value_count < RANDOM_GRAPH_VALUES) r->values[r->value_count++] = t;
}

static mmrec_tensor any_value(random_graph *r) { return r->values[random_graph_pick(r, r->value_count)]; }

/* A value with as many columns as `like`; at worst `like` itself, which puts one tensor into one node twice. */
static mmrec_tensor same_width(random_graph *r, mmrec_tensor like) {
    for (int attempt = 0; attempt < 8; attempt++) {
        mmrec_tensor t = any_value(r);
        if (columns_of(r, t) == columns_of(r, like)) return t;
    }
    return like;
}

/* Names are made of a letter and the number of draws so far: each use must be preceded by a draw of its own. */
static const char *fresh_name(random_graph *r, const char *letter, char name[32]) {
    random_graph_pick(r, 2);
    snprintf(name, 32, "%s%llu", letter, (unsigned long long)r->draws);
    return name;
}

static mmrec_tensor parameter(random_graph *r, mmrec_shape shape) {
    char name[32];
    return mmrec_graph_param(r->graph, fresh_name(r, "w", name), shape);
}

static mmrec_tensor add(random_graph *r, mmrec_op_id op, mmrec_tensor a, mmrec_tensor b) {
    return mmrec_graph_add(r->graph, op, (mmrec_node_spec){.in = {a, b}});
}

static mmrec_tensor add_linear_to(random_graph *r, mmrec_tensor x, int64_t width) {
    return add(r, MMREC_OP_linear, x, parameter(r, mmrec_shape2(width, columns_of(r, x))));
}

static mmrec_tensor add_linear(random_graph *r, mmrec_tensor x) {
    static const int64_t widths[] = {3, 4, 8, 13};
    return add_linear_to(r, x, widths[random_graph_pick(r, 4)]);
}

/* Two slices of one value, with or without a gap between them; or one slice that is all of it. */
static void add_slices(random_graph *r, mmrec_tensor y) {
    int64_t width = y ? columns_of(r, y) : 0, gap = random_graph_pick(r, 2);
    if (width < 3) return;
    if (random_graph_pick(r, 4) == 0) {
        keep_value(r, mmrec_graph_columns(r->graph, y, 0, width));
    } else {
        keep_value(r, mmrec_graph_columns(r->graph, y, 0, width / 2));
        keep_value(r, mmrec_graph_columns(r->graph, y, width / 2 + gap, width - width / 2 - gap));
    }
    if (random_graph_pick(r, 2)) keep_value(r, y);
}

static void slice_something(random_graph *r) {
    bool input = !r->x_sliced && random_graph_pick(r, 8) == 0;
    if (input) r->x_sliced = true;
    add_slices(r, input ? r->x : add_linear(r, any_value(r)));
}

/* The state before the first step, (2, columns of `like`). */
static mmrec_tensor start_state(random_graph *r, mmrec_tensor like) {
    return columns_of(r, like) == WIDTH ? r->h0 : add_linear_to(r, r->h0, columns_of(r, like));
}

/* Its second output carries no gradient: what reads it must not reach a loss. */
static void add_recurrence(random_graph *r, mmrec_tensor z) {
    int64_t width = columns_of(r, z);
    mmrec_node_spec spec = {.in = {z, add(r, MMREC_OP_decay_gate, same_width(r, z), 0), start_state(r, z)}};
    spec.in[3] = parameter(r, mmrec_shape2(width, width));
    spec.in[4] = parameter(r, mmrec_shape1(width));
    spec.in[5] = parameter(r, mmrec_shape2(width, 2 * width));
    spec.in[6] = parameter(r, mmrec_shape1(width));
    spec.skip = random_graph_pick(r, 2) ? 2 : 0;
    keep_value(r, mmrec_graph_add(r->graph, MMREC_OP_recurrence, spec));
    mmrec_tensor n = mmrec_graph_result(r->graph, 1);
    if (n) add(r, MMREC_OP_gelu, n, 0);
}

/* What attention reads: one memory for all rows, the same pooled, or the steps of a value as a memory for each row. */
static mmrec_tensor add_memory(random_graph *r, mmrec_tensor like, int kind) {
    if (kind == 0) return same_width(r, like);
    mmrec_tensor memory = parameter(r, mmrec_shape2(SLOTS, columns_of(r, like)));
    mmrec_node_spec spec = {.in = {memory}, .attr = {1}, .attr_set = 1};
    return kind == 1 ? memory : mmrec_graph_add(r->graph, MMREC_OP_memory_pool, spec);
}

/* The memory's next state is kept, and has no gradient. */
static void add_attention(random_graph *r, mmrec_tensor query) {
    char name[32];
    int kind = random_graph_pick(r, 3);
    mmrec_tensor key = add_memory(r, query, kind), value = add_memory(r, query, kind);
    mmrec_node_spec spec = {.in = {query, key, value}};
    keep_value(r, mmrec_graph_add(r->graph, MMREC_OP_memory_attention, spec));
    mmrec_graph_keep(r->graph, add(r, MMREC_OP_memory_update, key, query), fresh_name(r, "memory", name));
}

static void add_dropout(random_graph *r, mmrec_tensor x) {
    mmrec_node_spec spec = {.in = {x}, .attr = {0.25, (double)r->draws}, .attr_set = 3};
    keep_value(r, mmrec_graph_add(r->graph, MMREC_OP_dropout, spec));
}

/* A stack of a parameter and of a product of two others made in the refresh phase, read whole or part by part. */
static void add_stack(random_graph *r, mmrec_tensor x) {
    char name[32];
    int64_t rows = 2 + random_graph_pick(r, 3), columns = columns_of(r, x);
    mmrec_shape part = mmrec_shape2(rows, columns);
    mmrec_tensor a = parameter(r, mmrec_shape2(rows, 2)), b = parameter(r, mmrec_shape2(2, columns));
    mmrec_tensor stack = mmrec_graph_stack(r->graph, fresh_name(r, "stack", name), mmrec_shape2(2 * rows, columns));
    mmrec_tensor first = mmrec_graph_stack_param(r->graph, stack, 0, fresh_name(r, "w", name), part);
    mmrec_tensor second = mmrec_graph_stack_value(r->graph, stack, rows * columns, part);
    mmrec_graph_phase(r->graph, MMREC_PHASE_REFRESH);
    mmrec_graph_add(r->graph, MMREC_OP_matmul, (mmrec_node_spec){.in = {a, b}, .into = {second}});
    mmrec_graph_phase(r->graph, MMREC_PHASE_FORWARD);
    if (random_graph_pick(r, 3)) {
        add_slices(r, add(r, MMREC_OP_linear, x, stack));
    } else {
        keep_value(r, add(r, MMREC_OP_linear, x, first));
        keep_value(r, add(r, MMREC_OP_linear, x, second));
    }
}

/* With a small epsilon a row of one column is a step function, and no difference quotient finds its slope. */
static mmrec_tensor add_norm(random_graph *r, mmrec_tensor x) {
    mmrec_node_spec spec = {.in = {x, parameter(r, mmrec_shape1(columns_of(r, x)))}, .attr = {0.5}, .attr_set = 1};
    return mmrec_graph_add(r->graph, MMREC_OP_rmsnorm, spec);
}

/* A weight made in the refresh phase by ops that save something for their gradient. */
static void add_refreshed(random_graph *r, mmrec_tensor x) {
    mmrec_tensor w = parameter(r, mmrec_shape2(3, columns_of(r, x)));
    mmrec_graph_phase(r->graph, MMREC_PHASE_REFRESH);
    w = add(r, MMREC_OP_gelu, add_norm(r, w), 0);
    mmrec_graph_phase(r->graph, MMREC_PHASE_FORWARD);
    keep_value(r, add(r, MMREC_OP_linear, x, w));
}

/* Logits of their own, as in a model, or any value, which others may read before and after; sometimes read by name or
 * in parts. Sometimes the loss itself is never used, and sometimes its gradient is 1. */
static void add_classifier(random_graph *r, mmrec_tensor x) {
    char name[32];
    mmrec_tensor logits = random_graph_pick(r, 3) || columns_of(r, x) < CLASSES ? add_linear(r, x) : x;
    int others = logits == x ? 0 : random_graph_pick(r, 6);
    if (!r->targets) r->targets = mmrec_graph_input(r->graph, "targets", MMREC_I32, mmrec_shape2(BATCH, TIME));
    if (others == 1) keep_value(r, logits);
    if (others == 2) mmrec_graph_keep(r->graph, logits, fresh_name(r, "logits", name));
    if (others == 3) add_slices(r, logits);
    mmrec_tensor loss = add(r, MMREC_OP_cross_entropy, logits, r->targets);
    if (random_graph_pick(r, 5) == 0) return;
    double factor = random_graph_pick(r, 2) ? 1 : 0.375;
    mmrec_node_spec sum = {.in = {loss, r->classified}, .attr = {factor, 1}, .attr_set = 3};
    r->classified = mmrec_graph_add(r->graph, MMREC_OP_combine, sum);
}

static void add_sum(random_graph *r, mmrec_tensor x) {
    mmrec_node_spec spec = {.in = {x, same_width(r, x), same_width(r, x)}, .attr = {0.5, -0.25, 0.125}, .attr_set = 7};
    keep_value(r, mmrec_graph_add(r->graph, MMREC_OP_combine, spec));
}

static void add_node(random_graph *r) {
    static const mmrec_op_id simple[] = {MMREC_OP_gelu, MMREC_OP_decay_gate, MMREC_OP_softmax};
    mmrec_tensor x = any_value(r);
    switch (random_graph_pick(r, 15)) {
    case 0:
    case 1:
        keep_value(r, add_linear(r, x));
        break;
    case 2:
    case 3:
        slice_something(r);
        break;
    case 4:
        keep_value(r, add_norm(r, x));
        break;
    case 5:
    case 6:
        add_sum(r, x);
        break;
    case 7:
        add_recurrence(r, x);
        break;
    case 8:
        keep_value(r, add(r, MMREC_OP_shift, x, start_state(r, x)));
        break;
    case 9:
        add_attention(r, x);
        break;
    case 10:
        add_dropout(r, x);
        break;
    case 11:
        add_stack(r, x);
        break;
    case 12:
        add_refreshed(r, x);
        break;
    case 13:
        add_classifier(r, x);
        break;
    default:
        keep_value(r, add(r, simple[random_graph_pick(r, 3)], x, 0));
    }
}

/* From one block to the next only the last value passes, as in a model. */
static void open_block(random_graph *r, int layer) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "block%d.", layer);
    mmrec_graph_scope(r->graph, layer, prefix);
    mmrec_tensor last = r->values[r->value_count - 1];
    r->value_count = 0;
    keep_value(r, last);
}

/* Any value, or one nobody reads, whose gradient can be the seed itself. */
static void choose_seeded(random_graph *r) {
    r->seeded = any_value(r);
    if (r->seeded == r->x || random_graph_pick(r, 2)) r->seeded = add(r, MMREC_OP_combine, r->seeded, 0);
    r->seeded_times = 1 + random_graph_pick(r, 2);
    if (!r->seeded) return; /* the graph's error tells */
    r->dy = mmrec_graph_input(r->graph, "dy", MMREC_F64, mmrec_graph_tensor_info(r->graph, r->seeded).shape);
    mmrec_graph_keep(r->graph, r->seeded, "seeded");
}

mmrec_status random_graph_build(random_graph *r, mmrec_allocator *allocator, uint64_t seed, int nodes, int layers,
                                bool recompute, mmrec_error *error) {
    memset(r, 0, sizeof *r);
    r->seed = seed;
    MMREC_TRY(mmrec_graph_create(allocator, MMREC_F64, 1, &r->graph, error));
    r->x = mmrec_graph_input(r->graph, "x", MMREC_F64, mmrec_shape3(BATCH, TIME, WIDTH));
    r->h0 = mmrec_graph_input(r->graph, "h0", MMREC_F64, mmrec_shape2(BATCH, WIDTH));
    MMREC_TRY(mmrec_graph_status(r->graph, error));
    keep_value(r, r->x);
    for (int layer = 0; layer < layers; layer++) {
        open_block(r, layer);
        for (int i = 0; i < nodes / layers; i++) {
            add_node(r);
            MMREC_TRY(mmrec_graph_status(r->graph, error));
        }
    }
    mmrec_graph_scope(r->graph, -1, "");
    mmrec_tensor a = r->values[r->value_count - 1], b = same_width(r, a), c = any_value(r);
    choose_seeded(r);
    mmrec_seed seeds[5] = {{add(r, MMREC_OP_mean_square, a, b), 0, 1.0},
                           {add(r, MMREC_OP_mean_square, c, add(r, MMREC_OP_gelu, c, 0)), 0, 0.5},
                           {r->seeded, r->dy, 0},
                           {r->seeded, r->dy, 0}};
    int seed_count = 2 + r->seeded_times;
    if (r->classified) {
        mmrec_graph_keep(r->graph, r->classified, "loss2");
        seeds[seed_count++] = (mmrec_seed){r->classified, 0, 1.0};
    }
    mmrec_graph_keep(r->graph, seeds[0].tensor, "loss0");
    mmrec_graph_keep(r->graph, seeds[1].tensor, "loss1");
    mmrec_tensor wanted[] = {r->x, r->h0};
    MMREC_TRY(mmrec_graph_status(r->graph, error));
    return mmrec_graph_differentiate(r->graph, seeds, seed_count, wanted, 2, recompute, error);
}
