/* Models nsm-advanced and nsm-sequential: attention over steps made of one vector, a convolution block that drives a
 * content memory, and an RNN over the repeated result. The mathematics in words: docs/baselines.md.
 * They have steps of their own: a run's time is not read.
 *
 * What an affine map makes of a mean is the mean of what it makes, so it is applied once where only the mean is read:
 * conv.out and attention.out of nsm-sequential. In nsm-advanced the last step of the block is read alone, which sees
 * the last `kernel` steps: the others are not computed. The RNN reads one vector at all steps, whose product is one. */

#include "transformer.h"

/* Layers of the graph: attention, convolution and memory, RNN. */
enum { LAYER_ATTENTION, LAYER_MEMORY, LAYER_RNN };

/* Places of dropout in nsm-advanced, by the stream of their draws; behind RNN layer i: DROP_RNN + i. */
enum { DROP_WEIGHTS, DROP_ATTENTION, DROP_OUT, DROP_Y, DROP_RNN };

typedef struct hybrid {
    mmrec_graph *graph;
    const mmrec_hybrid_config *config;
    int64_t batch;
    mmrec_tensor memory; /* (N,M), before this call; 0: every sample starts from the parameter memory.rows */
} hybrid;

static bool is_advanced(const hybrid *h) { return h->config->model == MMREC_HYBRID_ADVANCED; }

/* ---- helpers ---- */

static mmrec_tensor map(const hybrid *h, const char *name, int64_t out, int64_t in, mmrec_tensor x) {
    return mmrec_affine_apply(h->graph, mmrec_xavier_param(h->graph, name, out, in), x);
}

static mmrec_tensor norm(const hybrid *h, const char *name, mmrec_tensor x) {
    if (!is_advanced(h)) return x;
    return mmrec_norm_apply(h->graph, mmrec_norm_param(h->graph, name, h->config->dim), x);
}

static mmrec_drop drop_at(const hybrid *h, int64_t place) {
    mmrec_drop drop = {h->config->dropout, place};
    return drop;
}

static mmrec_tensor dropped(const hybrid *h, int64_t place, mmrec_tensor x) {
    return mmrec_dropout_add(h->graph, x, drop_at(h, place));
}

/* The last `count` steps of x, or all. */
static mmrec_tensor last_steps(const hybrid *h, mmrec_tensor x, int64_t steps, int64_t count) {
    mmrec_node_spec spec = {.in = {x}, .attr = {(double)(steps - count), (double)count}, .attr_set = 3};
    return count < steps ? mmrec_graph_add(h->graph, MMREC_OP_take_steps, spec) : x;
}

/* Maps of one vector whose parameters are rows of one stack, so that one product serves all of them. */
enum { PARTS_MAX = 4 };
typedef struct part {
    const char *weight, *bias; /* names */
    int64_t rows;
    mmrec_tensor y; /* columns of the product */
} part;

static void apply_parts(const hybrid *h, const char *weights, const char *biases, part *parts, int count,
                        mmrec_tensor x) {
    int64_t dim = h->config->dim, rows = 0, first = 0;
    for (int i = 0; i < count; i++) rows += parts[i].rows;
    mmrec_affine all = {mmrec_graph_stack(h->graph, weights, mmrec_shape2(rows, dim)),
                        mmrec_graph_stack(h->graph, biases, mmrec_shape1(rows))};
    for (int i = 0; i < count; first += parts[i++].rows) {
        mmrec_tensor weight = mmrec_graph_stack_param(h->graph, all.weight, first * dim, parts[i].weight,
                                                      mmrec_shape2(parts[i].rows, dim));
        mmrec_graph_stack_param(h->graph, all.bias, first, parts[i].bias, mmrec_shape1(parts[i].rows));
        mmrec_graph_initial(h->graph, weight, mmrec_initial_uniform(mmrec_xavier_bound(parts[i].rows, dim)));
    }
    mmrec_tensor y = mmrec_affine_apply(h->graph, all, x);
    first = 0;
    for (int i = 0; i < count; first += parts[i++].rows) {
        parts[i].y = mmrec_graph_columns(h->graph, y, first, parts[i].rows);
    }
}

/* ---- the parts ---- */

/* The steps made of x, (B,T,E). */
static mmrec_tensor steps_of(const hybrid *h, mmrec_tensor x) {
    const mmrec_hybrid_config *c = h->config;
    mmrec_tensor flat = map(h, "input", c->time * c->dim, c->inputs, x);
    mmrec_tensor steps = mmrec_graph_reshape(h->graph, flat, mmrec_shape3(h->batch, c->time, c->dim));
    mmrec_tensor table = mmrec_param(h->graph, "position", mmrec_shape2(c->time, c->dim), mmrec_initial_normal(1));
    return norm(h, "norm1", mmrec_add2(h->graph, MMREC_OP_add_position, steps, table));
}

static mmrec_tensor attend(const hybrid *h, mmrec_tensor s) {
    int64_t dim = h->config->dim;
    part parts[] = {{"attention.q.weight", "attention.q.bias", dim, 0},
                    {"attention.k.weight", "attention.k.bias", dim, 0},
                    {"attention.v.weight", "attention.v.bias", dim, 0}};
    mmrec_attend how = {.heads = h->config->heads, .drop = drop_at(h, DROP_WEIGHTS)};
    apply_parts(h, "qkv.weight", "qkv.bias", parts, 3, s);
    return mmrec_attend_add(h->graph, parts[0].y, parts[1].y, parts[2].y, how);
}

/* What the RNN reads of the attention, mean_t a (B,E); and a itself, where the block reads it. */
static mmrec_tensor attention_mean(const hybrid *h, mmrec_tensor s, mmrec_tensor *a) {
    int64_t dim = h->config->dim;
    mmrec_tensor heads = attend(h, s);
    if (!is_advanced(h)) return map(h, "attention.out", dim, dim, mmrec_add1(h->graph, MMREC_OP_mean_steps, heads));
    *a = norm(h, "norm2", dropped(h, DROP_ATTENTION, map(h, "attention.out", dim, dim, heads)));
    return mmrec_add1(h->graph, MMREC_OP_mean_steps, *a);
}

/* silu(c) g of the convolution block, for the steps of x. */
static mmrec_tensor convolve(const hybrid *h, mmrec_tensor x) {
    const mmrec_hybrid_config *c = h->config;
    int64_t width = c->expand * c->dim;
    mmrec_tensor halves = map(h, "conv.in", 2 * width, c->dim, x);
    mmrec_initial usual = mmrec_initial_uniform(mmrec_xavier_bound(width * c->kernel, c->kernel));
    mmrec_affine taps = {mmrec_param(h->graph, "conv.kernel.weight", mmrec_shape2(width, c->kernel), usual),
                         mmrec_param(h->graph, "conv.kernel.bias", mmrec_shape1(width), mmrec_initial_constant(0))};
    mmrec_node_spec spec = {.in = {halves, taps.weight, taps.bias}};
    return mmrec_graph_add(h->graph, MMREC_OP_conv_gate, spec);
}

/* The feature f (B,E) that drives the memory: of the last step of `a`, or of the mean over the steps `s`. */
static mmrec_tensor feature(const hybrid *h, mmrec_tensor s, mmrec_tensor a) {
    const mmrec_hybrid_config *c = h->config;
    int64_t width = c->expand * c->dim, seen = c->kernel < c->time ? c->kernel : c->time;
    if (!is_advanced(h)) {
        mmrec_tensor mean = mmrec_add1(h->graph, MMREC_OP_mean_steps, convolve(h, s));
        return map(h, "conv.out", c->dim, width, mean);
    }
    mmrec_tensor block = convolve(h, last_steps(h, a, c->time, seen));
    mmrec_tensor last = mmrec_graph_reshape(h->graph, last_steps(h, block, seen, 1), mmrec_shape2(h->batch, width));
    return norm(h, "norm3", map(h, "conv.out", c->dim, width, last));
}

/* The memory after the write that f asks for. */
static mmrec_tensor write_memory(const hybrid *h, mmrec_tensor f) {
    int64_t width = h->config->width;
    part parts[] = {{"memory.write_key.weight", "memory.write_key.bias", width, 0},
                    {"memory.erase.weight", "memory.erase.bias", width, 0},
                    {"memory.add.weight", "memory.add.bias", width, 0},
                    {"memory.write_strength.weight", "memory.write_strength.bias", 1, 0}};
    mmrec_tensor before = h->memory;
    if (!before) {
        before = mmrec_param(h->graph, "memory.rows", mmrec_shape2(h->config->slots, width), mmrec_initial_normal(0.1));
    }
    apply_parts(h, "write.weight", "write.bias", parts, 4, f);
    mmrec_node_spec spec = {.in = {parts[0].y, parts[3].y, parts[1].y, parts[2].y, before}};
    return mmrec_graph_add(h->graph, h->memory ? MMREC_OP_memory_write_shared : MMREC_OP_memory_write, spec);
}

static mmrec_tensor read_memory(const hybrid *h, mmrec_tensor f, mmrec_tensor memory) {
    part parts[] = {{"memory.read_key.weight", "memory.read_key.bias", h->config->width, 0},
                    {"memory.read_strength.weight", "memory.read_strength.bias", 1, 0}};
    apply_parts(h, "read.weight", "read.bias", parts, 2, f);
    mmrec_node_spec spec = {.in = {parts[0].y, parts[1].y, memory}, .attr = {h->memory != 0}, .attr_set = 1};
    return mmrec_graph_add(h->graph, MMREC_OP_memory_read, spec);
}

/* The last state (B,H) of the RNN over `steps` times the vector v (B, E + M). */
static mmrec_tensor recur(const hybrid *h, mmrec_tensor v) {
    const mmrec_hybrid_config *c = h->config;
    int64_t rows = mmrec_rnn_gates(c->cell) * c->hidden, inputs = c->dim + c->width;
    mmrec_rnn_pass pass = {.y = mmrec_graph_reshape(h->graph, v, mmrec_shape3(h->batch, 1, inputs)), .steps = c->steps};
    for (int layer = 0; layer < c->layers; layer++, inputs = c->hidden) {
        mmrec_rnn_initial initial = {mmrec_initial_uniform(mmrec_xavier_bound(rows, inputs)),
                                     mmrec_initial_uniform(mmrec_xavier_bound(rows, c->hidden)),
                                     mmrec_initial_constant(0)};
        mmrec_rnn_weights weights = mmrec_rnn_param(h->graph, c->cell, "rnn.", layer, inputs, c->hidden, &initial);
        pass.x = layer == 0 ? pass.y : dropped(h, DROP_RNN + layer - 1, pass.y);
        pass.last = layer == c->layers - 1;
        mmrec_rnn_add(h->graph, &weights, &pass);
    }
    return pass.h_last;
}

static mmrec_tensor read_out(const hybrid *h, mmrec_tensor v) {
    const mmrec_hybrid_config *c = h->config;
    mmrec_tensor out = dropped(h, DROP_OUT, map(h, "rnn.out", c->hidden, c->hidden, recur(h, v)));
    return dropped(h, DROP_Y, map(h, "head", c->outputs, c->hidden, out));
}

/* ---- the model ---- */

/* y (B,O) of x (B,I); keeps what the memory gave and became. */
static mmrec_tensor add_all(const hybrid *h, mmrec_tensor x) {
    mmrec_tensor a = 0;
    mmrec_graph_scope(h->graph, LAYER_ATTENTION, "");
    mmrec_tensor s = steps_of(h, x), mean = attention_mean(h, s, &a);
    mmrec_graph_scope(h->graph, LAYER_MEMORY, "");
    mmrec_tensor f = feature(h, s, a), memory = write_memory(h, f), read = read_memory(h, f, memory);
    mmrec_graph_scope(h->graph, LAYER_RNN, "");
    mmrec_tensor y = read_out(h, mmrec_add2(h->graph, MMREC_OP_concat, mean, read));
    mmrec_graph_scope(h->graph, -1, "");
    mmrec_graph_keep(h->graph, read, "read");
    mmrec_graph_keep(h->graph, memory, "next.memory");
    return y;
}

static mmrec_status build(const void *settings, const mmrec_model_run *run, mmrec_graph *graph, mmrec_error *error) {
    const mmrec_hybrid_config *c = settings;
    const char *name = c->model == MMREC_HYBRID_ADVANCED ? "nsm-advanced" : "nsm-sequential";
    const mmrec_abilities can = {.model = name, .seeded = true, .loss = true};
    MMREC_TRY(mmrec_baseline_check(run, &can, error));
    mmrec_baseline ends = {.graph = graph, .run = run};
    hybrid h = {.graph = graph, .config = c, .batch = run->batch};
    mmrec_graph_scope(graph, -1, "");
    mmrec_tensor x = mmrec_baseline_input(&ends, "x", mmrec_shape2(run->batch, c->inputs));
    if (c->variant == MMREC_FAITHFUL) {
        h.memory = mmrec_graph_input(graph, "state.memory", MMREC_F32, mmrec_shape2(c->slots, c->width));
    }
    mmrec_tensor y = add_all(&h, x);
    mmrec_baseline_result(&ends, y, "y");
    if (mmrec_baseline_loss(run)) mmrec_baseline_class_loss(&ends, y);
    return mmrec_baseline_finish(&ends, error);
}

/* ---- configuration ---- */

#define WHOLE(member, standard, high, help) MMREC_WHOLE(mmrec_hybrid_config, member, standard, 1, high, help)
#define WORD(member, standard, choices, help) MMREC_WORD(mmrec_hybrid_config, member, standard, choices, help)
/* The fields of both, whose defaults differ. */
#define FIELDS(which, steps_made, memory_slots, slot_width, rnn_layers, rnn_cell, rnn_steps)                           \
    WORD(model, which, "advanced|sequential", "which of the two"),                                                     \
        WORD(variant, "faithful", "faithful|repaired", "memory as published, or one for each sample that learns"),     \
        WHOLE(inputs, "784", MMREC_SIZE_LIMIT, "width I of x"), WHOLE(outputs, "10", MMREC_SIZE_LIMIT, "outputs O"),   \
        WHOLE(dim, "128", MMREC_SIZE_LIMIT, "width E of a step"),                                                      \
        WHOLE(time, steps_made, MMREC_SIZE_LIMIT, "steps T made of x"),                                                \
        WHOLE(heads, "8", MMREC_SIZE_LIMIT, "attention heads, a divisor of E"),                                        \
        WHOLE(kernel, "4", MMREC_SIZE_LIMIT, "taps k of the convolution"),                                             \
        WHOLE(expand, "2", MMREC_SIZE_LIMIT, "width of the convolution block, in E"),                                  \
        WHOLE(slots, memory_slots, MMREC_SIZE_LIMIT, "memory slots N"),                                                \
        WHOLE(width, slot_width, MMREC_SIZE_LIMIT, "width M of a slot"),                                               \
        WHOLE(hidden, "128", MMREC_SIZE_LIMIT, "width H of the RNN"),                                                  \
        WHOLE(layers, rnn_layers, MMREC_LAYERS_MAX, "layers of the RNN"),                                              \
        WORD(cell, rnn_cell, "lstm|gru", "cell of the RNN"),                                                           \
        WHOLE(steps, rnn_steps, MMREC_SIZE_LIMIT, "steps of the RNN")
static const mmrec_model_field advanced_fields[] = {
    FIELDS("advanced", "16", "128", "20", "2", "lstm", "16"),
    MMREC_LATER_REAL(mmrec_hybrid_config, dropout, "0.1", 0, 1, "probability of dropout"),
    {0},
};
static const mmrec_model_field sequential_fields[] = {
    FIELDS("sequential", "8", "64", "16", "1", "gru", "4"),
    {0},
};
#undef FIELDS
#undef WORD
#undef WHOLE

static void scale(void *config, int64_t width) {
    mmrec_hybrid_config *c = config;
    c->dim = width;
    c->hidden = width;
    c->heads = mmrec_heads_for(width, c->heads);
}

/* A product of two fields, each within its range. */
static mmrec_status check_product(const char *what, int64_t product, mmrec_error *error) {
    if (product <= MMREC_SIZE_LIMIT) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "%s is %lld; it may be at most %d", what, (long long)product, MMREC_SIZE_LIMIT);
}

static mmrec_status check_both(const mmrec_hybrid_config *c, mmrec_error *error) {
    MMREC_TRY(mmrec_transformer_check(c->heads, c->dim, error));
    MMREC_TRY(check_product("time times dim", c->time * c->dim, error));
    MMREC_TRY(check_product("expand times dim", c->expand * c->dim, error));
    return check_product("expand times dim times kernel", c->expand * c->dim * c->kernel, error);
}

static mmrec_status check_advanced(const void *config, mmrec_error *error) {
    const mmrec_hybrid_config *c = config;
    if (c->model != MMREC_HYBRID_ADVANCED) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "model is sequential; in nsm-advanced it must be advanced (nsm-sequential is "
                   "the other)");
    }
    if (c->steps != c->time) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "steps is %lld and time is %lld; the RNN of nsm-advanced has as many steps as x makes",
                   (long long)c->steps, (long long)c->time);
    }
    return check_both(c, error);
}

static mmrec_status check_sequential(const void *config, mmrec_error *error) {
    const mmrec_hybrid_config *c = config;
    if (c->model != MMREC_HYBRID_SEQUENTIAL) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "model is advanced; in nsm-sequential it must be sequential (nsm-advanced is "
                   "the other)");
    }
    if (c->dropout != 0) {
        MMREC_FAIL(error, MMREC_CONFIG, "dropout is %g; nsm-sequential has none, it must be 0", c->dropout);
    }
    return check_both(c, error);
}

const mmrec_model_def mmrec_model_nsm_advanced = {
    .name = "nsm-advanced",
    .title = "AdvancedHybrid",
    .source = "the published AdvancedHybrid of the Neural State Machines",
    .fields = advanced_fields,
    .config_bytes = sizeof(mmrec_hybrid_config),
    .width = "dim",
    .scale = scale,
    .check = check_advanced,
    .build = build,
};

const mmrec_model_def mmrec_model_nsm_sequential = {
    .name = "nsm-sequential",
    .title = "SequentialHybrid",
    .source = "the published SequentialHybrid of the Neural State Machines",
    .fields = sequential_fields,
    .config_bytes = sizeof(mmrec_hybrid_config),
    .width = "dim",
    .scale = scale,
    .check = check_sequential,
    .build = build,
};
