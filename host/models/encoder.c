/* Model encoder: Transformer layers without a mask, with norms behind their halves; in front of them a linear map or an
 * embedding and positions, behind them a mean over time and a linear head, where there are any. */
#include "transformer.h"

typedef struct encoder_model {
    mmrec_baseline base;
    const mmrec_encoder_config *config;
    mmrec_transformer_layer first; /* which all layers begin as */
} encoder_model;

/* ---- configuration ---- */

#define WHOLE(member, standard, low, help)                                                                             \
    MMREC_WHOLE(mmrec_encoder_config, member, standard, low, MMREC_SIZE_LIMIT, help)
static const mmrec_model_field fields[] = {
    WHOLE(dim, "64", 1, "width D"),
    WHOLE(heads, "4", 1, "attention heads H, a divisor of D"),
    WHOLE(ffn, "2048", 1, "feed-forward width F"),
    MMREC_WHOLE(mmrec_encoder_config, layers, "2", 1, MMREC_LAYERS_MAX, "layers L"),
    WHOLE(inputs, "0", 0, "width I of x, mapped to D; 0: x has D columns"),
    WHOLE(vocab, "0", 0, "vocabulary V: inputs are ids; 0: they are x"),
    WHOLE(positions, "0", 0, "learned positions, the largest T; 0: none"),
    WHOLE(outputs, "0", 0, "outputs O of a linear head on the mean over time; 0: no head"),
    MMREC_LATER_REAL(mmrec_encoder_config, dropout, "0", 0, 1, "probability of dropout"),
    {0},
};
#undef WHOLE

/* The feed-forward width stays: it is 2048 at every width that was published. */
static void scale(void *config, int64_t width) {
    mmrec_encoder_config *c = config;
    c->dim = width;
    c->heads = mmrec_heads_for(width, c->heads);
}

static mmrec_status check(const void *config, mmrec_error *error) {
    const mmrec_encoder_config *c = config;
    if (c->inputs > 0 && c->vocab > 0) {
        MMREC_FAIL(error, MMREC_CONFIG, "inputs is %lld and vocab is %lld: x or ids, not both; set one of them to 0",
                   (long long)c->inputs, (long long)c->vocab);
    }
    return mmrec_transformer_check(c->heads, c->dim, error);
}

static mmrec_status check_run(const mmrec_encoder_config *c, const mmrec_model_run *run, mmrec_error *error) {
    mmrec_abilities can = {.model = "encoder",
                           .seeded = true,
                           .loss = c->outputs > 0,
                           .to_have_loss = "set outputs, the classes of its head"};
    MMREC_TRY(mmrec_baseline_check(run, &can, error));
    if (c->positions == 0 || run->time <= c->positions) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG,
               "time is %lld, but model encoder has %lld positions; give it more positions, none (0), or shorter "
               "sequences",
               (long long)run->time, (long long)c->positions);
}

/* ---- the graph ---- */

static mmrec_tensor embed(encoder_model *m) {
    const mmrec_encoder_config *c = m->config;
    mmrec_graph *graph = m->base.graph;
    int64_t batch = m->base.run->batch, time = m->base.run->time;
    if (c->vocab > 0) {
        mmrec_tensor ids = mmrec_graph_input(graph, "ids", MMREC_I32, mmrec_shape2(batch, time));
        mmrec_shape shape = mmrec_shape2(c->vocab, c->dim);
        mmrec_tensor table = mmrec_param(graph, "embedding.weight", shape, mmrec_initial_normal(1));
        return mmrec_add2(graph, MMREC_OP_embedding, ids, table);
    }
    int64_t width = c->inputs > 0 ? c->inputs : c->dim;
    mmrec_tensor x = mmrec_baseline_input(&m->base, "x", mmrec_shape3(batch, time, width));
    return c->inputs > 0 ? mmrec_affine_apply(graph, mmrec_usual_param(graph, "input", c->dim, c->inputs), x) : x;
}

static mmrec_tensor add_positions(encoder_model *m, mmrec_tensor x) {
    const mmrec_encoder_config *c = m->config;
    if (c->positions == 0) return x;
    mmrec_shape shape = mmrec_shape2(c->positions, c->dim);
    mmrec_tensor table = mmrec_param(m->base.graph, "position", shape, mmrec_initial_normal(1));
    return mmrec_add2(m->base.graph, MMREC_OP_add_position, x, table);
}

/* norm1(x + attention(x)), then norm2(. + ffn(.)) */
static mmrec_tensor add_layer(encoder_model *m, int layer, mmrec_tensor x) {
    const mmrec_encoder_config *c = m->config;
    mmrec_graph *graph = m->base.graph;
    mmrec_baseline_scope(graph, "blocks", layer);
    mmrec_transformer_layer w = mmrec_transformer_param(graph, c->dim, c->ffn);
    if (layer == 0) m->first = w;
    if (layer > 0) mmrec_transformer_copy(graph, &w, &m->first);
    mmrec_attend how = {.heads = c->heads};
    mmrec_tensor attended = mmrec_self_attention_apply(graph, &w.attention, x, how);
    x = mmrec_transformer_residual(graph, x, attended, mmrec_transformer_drop(c->dropout, layer, MMREC_DROP_ATTENTION));
    x = mmrec_norm_apply(graph, w.norm1, x);
    mmrec_tensor hidden = mmrec_add1(graph, MMREC_OP_relu, mmrec_affine_apply(graph, w.ffn_in, x));
    hidden = mmrec_dropout_add(graph, hidden, mmrec_transformer_drop(c->dropout, layer, MMREC_DROP_HIDDEN));
    mmrec_tensor out = mmrec_affine_apply(graph, w.ffn_out, hidden);
    x = mmrec_transformer_residual(graph, x, out, mmrec_transformer_drop(c->dropout, layer, MMREC_DROP_FFN));
    return mmrec_norm_apply(graph, w.norm2, x);
}

static mmrec_tensor add_head(encoder_model *m, mmrec_tensor x) {
    mmrec_graph *graph = m->base.graph;
    mmrec_affine head = mmrec_usual_param(graph, "head", m->config->outputs, m->config->dim);
    return mmrec_affine_apply(graph, head, mmrec_add1(graph, MMREC_OP_mean_steps, x));
}

static mmrec_status build(const void *settings, const mmrec_model_run *run, mmrec_graph *graph, mmrec_error *error) {
    const mmrec_encoder_config *c = settings;
    MMREC_TRY(check_run(c, run, error));
    encoder_model m = {.base = {.graph = graph, .run = run}, .config = c};
    mmrec_graph_scope(graph, -1, "");
    mmrec_tensor x = add_positions(&m, embed(&m));
    for (int layer = 0; layer < c->layers; layer++) x = add_layer(&m, layer, x);
    mmrec_graph_scope(graph, -1, "");
    if (c->outputs > 0) x = add_head(&m, x);
    mmrec_baseline_result(&m.base, x, "y");
    if (mmrec_baseline_loss(run)) mmrec_baseline_class_loss(&m.base, x);
    return mmrec_baseline_finish(&m.base, error);
}

const mmrec_model_def mmrec_model_encoder = {
    .name = "encoder",
    .title = "Transformer encoder",
    .source = "Vaswani et al., \"Attention is all you need\", 2017, as PyTorch lays it out",
    .fields = fields,
    .config_bytes = sizeof(mmrec_encoder_config),
    .width = "dim",
    .scale = scale,
    .check = check,
    .build = build,
};
