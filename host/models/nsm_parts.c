/* Models nsm-router, nsm-layer and nsm-states: parts of Neural State Machines, each by itself. The mathematics in
 * words: docs/baselines.md. They end in states, not in class scores, so they have no loss: gradients are seeded. */
#include "transformer.h"

#define WHOLE(type, member, standard, help) MMREC_WHOLE(type, member, standard, 1, MMREC_SIZE_LIMIT, help)

/* ---- nsm-router ---- */

/* The mean over heads of (B,n, h S), head after head, eight at a time. */
static mmrec_tensor mean_of_heads(mmrec_graph *graph, mmrec_tensor scores, int64_t heads, int64_t states) {
    mmrec_term terms[MMREC_MAX_IN];
    int count = 0;
    for (int64_t i = 0; i < heads; i++) {
        mmrec_term next = {mmrec_graph_columns(graph, scores, i * states, states), 1 / (double)heads};
        if (count == MMREC_MAX_IN) {
            terms[0] = (mmrec_term){mmrec_add_sum(graph, terms, count), 1};
            count = 1;
        }
        terms[count++] = next;
    }
    return mmrec_add_sum(graph, terms, count);
}

static mmrec_status build_router(const void *settings, const mmrec_model_run *run, mmrec_graph *graph,
                                 mmrec_error *error) {
    const mmrec_nsm_router_config *c = settings;
    const mmrec_abilities can = {.model = "nsm-router", .seeded = true};
    MMREC_TRY(mmrec_baseline_check(run, &can, error));
    mmrec_baseline ends = {.graph = graph, .run = run};
    mmrec_graph_scope(graph, -1, "");
    mmrec_tensor tokens = mmrec_baseline_input(&ends, "tokens", mmrec_shape3(run->batch, run->time, c->tokens));
    mmrec_affine router = mmrec_usual_param(graph, "router", c->heads * c->states, c->tokens);
    mmrec_affine out = mmrec_usual_param(graph, "out", c->dim, c->dim);
    mmrec_tensor scores = mean_of_heads(graph, mmrec_affine_apply(graph, router, tokens), c->heads, c->states);
    mmrec_tensor weights = mmrec_add1(graph, MMREC_OP_softmax, scores);
    mmrec_node_spec route = {.in = {weights, tokens}, .attr = {(double)c->dim}, .attr_set = 1};
    mmrec_tensor routed = mmrec_graph_add(graph, MMREC_OP_route, route);
    mmrec_baseline_result(&ends, mmrec_affine_apply(graph, out, routed), "y");
    mmrec_baseline_result(&ends, weights, "w");
    return mmrec_baseline_finish(&ends, error);
}

static mmrec_status check_router(const void *config, mmrec_error *error) {
    const mmrec_nsm_router_config *c = config;
    if (c->heads * c->states <= MMREC_SIZE_LIMIT) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "heads times states is %lld; it may be at most %d",
               (long long)(c->heads * c->states), MMREC_SIZE_LIMIT);
}

static void scale_router(void *config, int64_t width) { ((mmrec_nsm_router_config *)config)->dim = width; }

static const mmrec_model_field router_fields[] = {
    WHOLE(mmrec_nsm_router_config, tokens, "64", "width Q of a token"),
    WHOLE(mmrec_nsm_router_config, dim, "128", "width D of a state"),
    WHOLE(mmrec_nsm_router_config, states, "8", "states S"),
    MMREC_WHOLE(mmrec_nsm_router_config, heads, "4", 1, MMREC_LAYERS_MAX, "linear maps whose mean is taken"),
    {0},
};

const mmrec_model_def mmrec_model_nsm_router = {
    .name = "nsm-router",
    .title = "TokenToStateRouter",
    .source = "the published router of the Neural State Machines",
    .fields = router_fields,
    .config_bytes = sizeof(mmrec_nsm_router_config),
    .width = "dim",
    .scale = scale_router,
    .check = check_router,
    .build = build_router,
};

/* ---- nsm-layer ---- */

static mmrec_tensor map(mmrec_graph *graph, const char *name, int64_t out, int64_t in, mmrec_tensor x) {
    return mmrec_affine_apply(graph, mmrec_usual_param(graph, name, out, in), x);
}

/* LN(states + linear([states ; a]; update)), a what the states see of the tokens: one map makes keys and values. */
static mmrec_tensor next_states(mmrec_graph *graph, const mmrec_nsm_layer_config *c, mmrec_tensor states,
                                mmrec_tensor tokens, mmrec_tensor visible) {
    mmrec_attend how = {.heads = c->heads, .visible = visible};
    mmrec_tensor query = map(graph, "query", c->dim, c->dim, states);
    mmrec_tensor seen = map(graph, "token", c->dim, c->tokens, tokens);
    mmrec_tensor a = map(graph, "out", c->dim, c->dim, mmrec_attend_add(graph, query, seen, seen, how));
    mmrec_tensor both = mmrec_add2(graph, MMREC_OP_concat, states, a);
    mmrec_term sum[] = {{states, 1}, {map(graph, "update", c->dim, 2 * c->dim, both), 1}};
    return mmrec_norm_apply(graph, mmrec_norm_param(graph, "norm", c->dim), mmrec_add_sum(graph, sum, 2));
}

static mmrec_status build_layer(const void *settings, const mmrec_model_run *run, mmrec_graph *graph,
                                mmrec_error *error) {
    const mmrec_nsm_layer_config *c = settings;
    const mmrec_abilities can = {.model = "nsm-layer", .seeded = true, .masked = true};
    MMREC_TRY(mmrec_baseline_check(run, &can, error));
    mmrec_baseline ends = {.graph = graph, .run = run};
    mmrec_graph_scope(graph, -1, "");
    mmrec_tensor states = mmrec_baseline_input(&ends, "states", mmrec_shape3(run->batch, c->states, c->dim));
    mmrec_tensor tokens = mmrec_baseline_input(&ends, "tokens", mmrec_shape3(run->batch, run->time, c->tokens));
    mmrec_tensor visible = 0;
    if (run->masked) visible = mmrec_graph_input(graph, "visible", MMREC_F32, mmrec_shape2(run->batch, run->time));
    mmrec_graph_scope(graph, 0, "");
    mmrec_tensor y = next_states(graph, c, states, tokens, visible);
    mmrec_graph_scope(graph, -1, "");
    mmrec_baseline_result(&ends, y, "y");
    return mmrec_baseline_finish(&ends, error);
}

static void scale_layer(void *config, int64_t width) {
    mmrec_nsm_layer_config *c = config;
    c->dim = width;
    c->heads = mmrec_heads_for(width, c->heads);
}

static mmrec_status check_layer(const void *config, mmrec_error *error) {
    const mmrec_nsm_layer_config *c = config;
    return mmrec_transformer_check(c->heads, c->dim, error);
}

static const mmrec_model_field layer_fields[] = {
    WHOLE(mmrec_nsm_layer_config, dim, "128", "width D of a state"),
    WHOLE(mmrec_nsm_layer_config, tokens, "64", "width Q of a token"),
    WHOLE(mmrec_nsm_layer_config, states, "8", "states S"),
    WHOLE(mmrec_nsm_layer_config, heads, "4", "attention heads, a divisor of D"),
    {0},
};

const mmrec_model_def mmrec_model_nsm_layer = {
    .name = "nsm-layer",
    .title = "NSMLayer",
    .source = "the published layer of the Neural State Machines",
    .fields = layer_fields,
    .config_bytes = sizeof(mmrec_nsm_layer_config),
    .width = "dim",
    .scale = scale_layer,
    .check = check_layer,
    .build = build_layer,
};

/* ---- nsm-states ---- */

static mmrec_status check_slots(const mmrec_nsm_states_config *c, const mmrec_model_run *run, mmrec_error *error) {
    if (run->batch != 1) {
        MMREC_FAIL(error, MMREC_CONFIG, "batch is %lld; nsm-states has one list of active slots, give 1",
                   (long long)run->batch);
    }
    if (run->time <= c->max) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "time is %lld, the number of active slots, but nsm-states has %lld (max)",
               (long long)run->time, (long long)c->max);
}

static mmrec_status build_states(const void *settings, const mmrec_model_run *run, mmrec_graph *graph,
                                 mmrec_error *error) {
    const mmrec_nsm_states_config *c = settings;
    const mmrec_abilities can = {.model = "nsm-states", .seeded = true};
    MMREC_TRY(mmrec_baseline_check(run, &can, error));
    MMREC_TRY(check_slots(c, run, error));
    mmrec_baseline ends = {.graph = graph, .run = run};
    mmrec_graph_scope(graph, -1, "");
    mmrec_tensor ids = mmrec_graph_input(graph, "ids", MMREC_I32, mmrec_shape2(1, run->time));
    mmrec_tensor states = mmrec_param(graph, "states", mmrec_shape2(c->max, c->dim), mmrec_initial_normal(0.1));
    /* Logits of how much a slot matters: read by whoever wakes and drops slots, by no node. U(0.5, 1). */
    mmrec_initial likely = {.kind = MMREC_INITIAL_UNIFORM, .mean = 0.75, .spread = 0.25};
    mmrec_param(graph, "importance", mmrec_shape1(c->max), likely);
    mmrec_tensor active = mmrec_add2(graph, MMREC_OP_embedding, ids, states);
    mmrec_baseline_result(&ends, mmrec_graph_reshape(graph, active, mmrec_shape2(run->time, c->dim)), "y");
    return mmrec_baseline_finish(&ends, error);
}

static mmrec_status check_states(const void *config, mmrec_error *error) {
    const mmrec_nsm_states_config *c = config;
    if (c->initial <= c->max) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "initial is %lld, the slots active at first; there are %lld (max)",
               (long long)c->initial, (long long)c->max);
}

static void scale_states(void *config, int64_t width) { ((mmrec_nsm_states_config *)config)->dim = width; }

static const mmrec_model_field states_fields[] = {
    WHOLE(mmrec_nsm_states_config, dim, "128", "width D of a state"),
    WHOLE(mmrec_nsm_states_config, max, "64", "slots"),
    WHOLE(mmrec_nsm_states_config, initial, "64", "slots active at first"),
    MMREC_REAL(mmrec_nsm_states_config, threshold, "0.1", 0, 1, "importance below which a slot is dropped"),
    {0},
};

const mmrec_model_def mmrec_model_nsm_states = {
    .name = "nsm-states",
    .title = "StateManager",
    .source = "the published state manager of the Neural State Machines",
    .fields = states_fields,
    .config_bytes = sizeof(mmrec_nsm_states_config),
    .width = "dim",
    .scale = scale_states,
    .check = check_states,
    .build = build_states,
};

#undef WHOLE
