/* Model gpt: a causal Transformer with norms in front of its halves, learned positions and a tied head. */
#include "transformer.h"

#include <math.h>

enum { FFN_RATIO = 4 };

/* Standard deviation of tables and matrices; those that add to the residual sum are smaller by sqrt(2 layers), so that
 * the sum does not grow with their number. */
static const double spread = 0.02;

typedef struct gpt_model {
    mmrec_baseline base;
    const mmrec_gpt_config *config;
} gpt_model;

/* ---- configuration ---- */

#define WHOLE(member, standard, high, help) MMREC_WHOLE(mmrec_gpt_config, member, standard, 1, high, help)
static const mmrec_model_field fields[] = {
    WHOLE(vocab, "256", MMREC_SIZE_LIMIT, "vocabulary V"),
    WHOLE(dim, "128", MMREC_SIZE_LIMIT, "width D"),
    WHOLE(layers, "4", MMREC_LAYERS_MAX, "blocks L"),
    WHOLE(heads, "4", MMREC_SIZE_LIMIT, "attention heads H, a divisor of D"),
    WHOLE(context, "128", MMREC_SIZE_LIMIT, "learned positions, the largest T"),
    MMREC_LATER_REAL(mmrec_gpt_config, dropout, "0", 0, 1, "probability of dropout"),
    {0},
};
#undef WHOLE

static void scale(void *config, int64_t width) {
    mmrec_gpt_config *c = config;
    c->dim = width;
    c->heads = mmrec_heads_for(width, c->heads);
}

static mmrec_status check(const void *config, mmrec_error *error) {
    const mmrec_gpt_config *c = config;
    return mmrec_transformer_check(c->heads, c->dim, error);
}

/* ---- the graph ---- */

/* x + attention(norm1(x)), then + ffn(norm2(.)), each dropped out. */
static mmrec_tensor add_block(gpt_model *m, int layer, mmrec_tensor x) {
    const mmrec_gpt_config *c = m->config;
    mmrec_graph *graph = m->base.graph;
    mmrec_baseline_scope(graph, "blocks", layer);
    mmrec_transformer_layer w = mmrec_transformer_param(graph, c->dim, FFN_RATIO * c->dim);
    mmrec_transformer_normal(graph, &w, spread, spread / sqrt(2 * (double)c->layers));
    mmrec_attend how = {
        .heads = c->heads, .causal = true, .drop = mmrec_transformer_drop(c->dropout, layer, MMREC_DROP_WEIGHTS)};
    mmrec_tensor attended = mmrec_self_attention_apply(graph, &w.attention, mmrec_norm_apply(graph, w.norm1, x), how);
    x = mmrec_transformer_residual(graph, x, attended, mmrec_transformer_drop(c->dropout, layer, MMREC_DROP_ATTENTION));
    mmrec_tensor in = mmrec_affine_apply(graph, w.ffn_in, mmrec_norm_apply(graph, w.norm2, x));
    mmrec_tensor out = mmrec_affine_apply(graph, w.ffn_out, mmrec_add1(graph, MMREC_OP_gelu, in));
    return mmrec_transformer_residual(graph, x, out, mmrec_transformer_drop(c->dropout, layer, MMREC_DROP_FFN));
}

/* With gradients the classifier writes over the logits: B T V values are not kept unless the run asks for them. */
static void add_loss(gpt_model *m, mmrec_tensor logits) {
    const mmrec_model_run *run = m->base.run;
    if (run->logits || !run->gradient) mmrec_graph_keep(m->base.graph, logits, "logits");
    if (mmrec_baseline_loss(run)) mmrec_baseline_class_loss(&m->base, logits);
}

static mmrec_status check_run(const mmrec_gpt_config *c, const mmrec_model_run *run, mmrec_error *error) {
    mmrec_abilities can = {.model = "gpt", .loss = true};
    MMREC_TRY(mmrec_baseline_check(run, &can, error));
    if (run->time <= c->context) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG,
               "time is %lld, but model gpt has %lld positions (context); give it a larger context or "
               "shorter sequences",
               (long long)run->time, (long long)c->context);
}

static mmrec_status build(const void *settings, const mmrec_model_run *run, mmrec_graph *graph, mmrec_error *error) {
    const mmrec_gpt_config *c = settings;
    MMREC_TRY(check_run(c, run, error));
    gpt_model m = {.base = {.graph = graph, .run = run}, .config = c};
    mmrec_graph_scope(graph, -1, "");
    mmrec_tensor ids = mmrec_graph_input(graph, "ids", MMREC_I32, mmrec_shape2(run->batch, run->time));
    mmrec_tensor table =
        mmrec_param(graph, "embedding.weight", mmrec_shape2(c->vocab, c->dim), mmrec_initial_normal(spread));
    mmrec_tensor position =
        mmrec_param(graph, "position", mmrec_shape2(c->context, c->dim), mmrec_initial_normal(spread));
    mmrec_tensor x =
        mmrec_add2(graph, MMREC_OP_add_position, mmrec_add2(graph, MMREC_OP_embedding, ids, table), position);
    x = mmrec_dropout_add(graph, x, (mmrec_drop){c->dropout, 0});
    for (int layer = 0; layer < c->layers; layer++) x = add_block(&m, layer, x);
    mmrec_graph_scope(graph, -1, "");
    x = mmrec_norm_apply(graph, mmrec_norm_param(graph, "norm", c->dim), x);
    add_loss(&m, mmrec_add2(graph, MMREC_OP_linear, x, table));
    return mmrec_baseline_finish(&m.base, error);
}

const mmrec_model_def mmrec_model_gpt = {
    .name = "gpt",
    .title = "GPT",
    .source = "Radford et al., \"Language models are unsupervised multitask learners\", 2019 (GPT-2)",
    .fields = fields,
    .config_bytes = sizeof(mmrec_gpt_config),
    .width = "dim",
    .scale = scale,
    .check = check,
    .build = build,
};
