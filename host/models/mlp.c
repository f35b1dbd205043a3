/* Model mlp: linear maps with an activation between them. It has no time: a run's is not read. */
#include "baseline.h"

#include <stdio.h>

/* ---- configuration ---- */

static const mmrec_model_field fields[] = {
    MMREC_WHOLE(mmrec_mlp_config, inputs, "5", 1, MMREC_SIZE_LIMIT, "width I of x"),
    {"hidden", offsetof(mmrec_mlp_config, hidden), MMREC_FIELD_WIDTHS, "64,32,16", 1, MMREC_SIZE_LIMIT, NULL,
     "widths of the hidden layers, or none", false},
    MMREC_WHOLE(mmrec_mlp_config, outputs, "1", 1, MMREC_SIZE_LIMIT, "outputs O"),
    MMREC_LATER_WORD(mmrec_mlp_config, activation, "relu", "relu|tanh|gelu", "after all layers but the last"),
    MMREC_LATER_WORD(mmrec_mlp_config, loss, "mse", "mse|cross-entropy", "mean squared error, or of class scores"),
    {0},
};

/* The first hidden width, the others in the proportions that they have to it, to the nearest and at least 1. */
static void scale(void *config, int64_t width) {
    mmrec_widths *hidden = &((mmrec_mlp_config *)config)->hidden;
    int64_t first = hidden->width[0];
    if (first < 1 || first == width) return;
    for (int i = 0; i < hidden->count; i++) {
        double scaled = (double)hidden->width[i] * (double)width / (double)first + 0.5;
        hidden->width[i] = scaled < 1 ? 1 : scaled < (double)MMREC_SIZE_LIMIT ? (int64_t)scaled : MMREC_SIZE_LIMIT;
    }
}

static mmrec_status check(const void *config, mmrec_error *error) {
    const mmrec_mlp_config *c = config;
    if (c->loss == MMREC_MLP_MSE || c->outputs >= 2) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "outputs is %lld, but loss is cross-entropy, which needs at least 2 classes",
               (long long)c->outputs);
}

/* ---- the graph ---- */

static mmrec_op_id activation(const mmrec_mlp_config *c) {
    static const mmrec_op_id ops[] = {[MMREC_ACTIVATION_RELU] = MMREC_OP_relu,
                                      [MMREC_ACTIVATION_TANH] = MMREC_OP_tanh,
                                      [MMREC_ACTIVATION_GELU] = MMREC_OP_gelu};
    return ops[c->activation];
}

static mmrec_tensor add_layer(mmrec_graph *graph, const mmrec_mlp_config *c, int layer, mmrec_tensor x) {
    char name[24];
    int64_t in = layer > 0 ? c->hidden.width[layer - 1] : c->inputs;
    bool last = layer == c->hidden.count;
    snprintf(name, sizeof name, "layers.%d", layer);
    mmrec_graph_scope(graph, layer, "");
    mmrec_affine map = mmrec_usual_param(graph, name, last ? c->outputs : c->hidden.width[layer], in);
    mmrec_tensor y = mmrec_affine_apply(graph, map, x);
    return last ? y : mmrec_add1(graph, activation(c), y);
}

static void add_loss(mmrec_baseline *m, const mmrec_mlp_config *c, mmrec_tensor y) {
    if (c->loss == MMREC_MLP_CROSS_ENTROPY) {
        mmrec_baseline_class_loss(m, y);
        return;
    }
    mmrec_tensor target = mmrec_graph_input(m->graph, "target", MMREC_F32, mmrec_shape2(m->run->batch, c->outputs));
    mmrec_baseline_keep_loss(m, mmrec_add2(m->graph, MMREC_OP_mean_square, y, target));
}

static mmrec_status build(const void *settings, const mmrec_model_run *run, mmrec_graph *graph, mmrec_error *error) {
    const mmrec_mlp_config *c = settings;
    mmrec_abilities can = {.model = "mlp", .loss = true};
    MMREC_TRY(mmrec_baseline_check(run, &can, error));
    mmrec_baseline m = {.graph = graph, .run = run};
    mmrec_graph_scope(graph, -1, "");
    mmrec_tensor x = mmrec_baseline_input(&m, "x", mmrec_shape2(run->batch, c->inputs));
    for (int layer = 0; layer <= c->hidden.count; layer++) x = add_layer(graph, c, layer, x);
    mmrec_graph_scope(graph, -1, "");
    mmrec_baseline_result(&m, x, "y");
    if (mmrec_baseline_loss(run)) add_loss(&m, c, x);
    return mmrec_baseline_finish(&m, error);
}

const mmrec_model_def mmrec_model_mlp = {
    .name = "mlp",
    .title = "MLP",
    .source = "Rumelhart, Hinton and Williams, \"Learning representations by back-propagating errors\", 1986",
    .fields = fields,
    .config_bytes = sizeof(mmrec_mlp_config),
    .width = "hidden",
    .scale = scale,
    .check = check,
    .build = build,
};
