/* Models lstm and gru: layers of one cell, with an embedding in front and a linear head behind where there are any. */
#include "baseline.h"

typedef struct rnn_model {
    mmrec_baseline base;
    const mmrec_rnn_config *config;
    mmrec_tensor x;      /* input of the next layer */
    mmrec_tensor h_last; /* of the top layer, where the head reads it */
} rnn_model;

/* ---- configuration ---- */

/* The tables of both models differ in the cell, which fixtures name. */
#define WHOLE(member, standard, low, help) MMREC_WHOLE(mmrec_rnn_config, member, standard, low, MMREC_SIZE_LIMIT, help)
#define FIELDS(cell_name)                                                                                              \
    {                                                                                                                  \
        MMREC_WORD(mmrec_rnn_config, cell, cell_name, "lstm|gru", "the cell, which is that of the model"),             \
            WHOLE(inputs, "64", 1, "width I of x, or of the embedding"), WHOLE(hidden, "128", 1, "width H"),           \
            MMREC_WHOLE(mmrec_rnn_config, layers, "1", 1, MMREC_LAYERS_MAX, "layers L"),                               \
            WHOLE(outputs, "0", 0, "outputs O of a linear head; 0: no head"),                                          \
            WHOLE(vocab, "0", 0, "vocabulary V: inputs are ids; 0: they are x"),                                       \
            MMREC_LATER_WORD(mmrec_rnn_config, head, "last", "last|all", "steps that the head reads"),                 \
            MMREC_LATER_REAL(mmrec_rnn_config, dropout, "0", 0, 1, "probability of dropout between layers"), {         \
            0                                                                                                          \
        }                                                                                                              \
    }

static const mmrec_model_field lstm_fields[] = FIELDS("lstm");
static const mmrec_model_field gru_fields[] = FIELDS("gru");
#undef FIELDS
#undef WHOLE

static const char *cell_name(mmrec_cell cell) { return cell == MMREC_CELL_LSTM ? "lstm" : "gru"; }

/* An embedding is as wide as the layers that read it. */
static void scale(void *config, int64_t width) {
    mmrec_rnn_config *c = config;
    c->hidden = width;
    if (c->vocab > 0) c->inputs = width;
}

static mmrec_status check(const mmrec_rnn_config *c, mmrec_cell cell, mmrec_error *error) {
    if (c->cell != cell) {
        MMREC_FAIL(error, MMREC_CONFIG, "cell is %s in a configuration of model %s; give it to model %s",
                   cell_name(c->cell), cell_name(cell), cell_name(c->cell));
    }
    if (c->head == MMREC_HEAD_LAST || c->outputs > 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "head is all, but outputs is 0: there is no head; set outputs to at least 1");
}

static mmrec_status check_lstm(const void *config, mmrec_error *error) { return check(config, MMREC_CELL_LSTM, error); }
static mmrec_status check_gru(const void *config, mmrec_error *error) { return check(config, MMREC_CELL_GRU, error); }

/* ---- the graph ---- */

static mmrec_tensor input(rnn_model *m) {
    const mmrec_rnn_config *c = m->config;
    const mmrec_model_run *run = m->base.run;
    if (c->vocab == 0) return mmrec_baseline_input(&m->base, "x", mmrec_shape3(run->batch, run->time, c->inputs));
    mmrec_tensor ids = mmrec_graph_input(m->base.graph, "ids", MMREC_I32, mmrec_shape2(run->batch, run->time));
    mmrec_tensor table =
        mmrec_param(m->base.graph, "embedding.weight", mmrec_shape2(c->vocab, c->inputs), mmrec_initial_normal(1));
    return mmrec_add2(m->base.graph, MMREC_OP_embedding, ids, table);
}

static void declare_state(rnn_model *m, int layer, mmrec_rnn_pass *pass) {
    mmrec_shape shape = mmrec_shape2(m->base.run->batch, m->config->hidden);
    mmrec_baseline_scope(m->base.graph, "state", layer);
    pass->h0 = mmrec_baseline_input(&m->base, "h", shape);
    if (m->config->cell == MMREC_CELL_LSTM) pass->c0 = mmrec_baseline_input(&m->base, "c", shape);
}

static void keep_state(rnn_model *m, int layer, const mmrec_rnn_pass *pass) {
    mmrec_baseline_scope(m->base.graph, "next", layer);
    mmrec_baseline_result(&m->base, pass->h_last, "h");
    if (m->config->cell == MMREC_CELL_LSTM) mmrec_baseline_result(&m->base, pass->c_last, "c");
}

/* Parameters have no prefix. A head on the last step reads the op's own h_last: B rows, and no gradient of all steps
 * that is zero but for one. */
static void add_layer(rnn_model *m, int layer) {
    const mmrec_rnn_config *c = m->config;
    mmrec_graph *graph = m->base.graph;
    bool carried = m->base.run->carried, top = layer == c->layers - 1;
    mmrec_rnn_initial initial = mmrec_rnn_usual(c->hidden);
    mmrec_rnn_pass pass = {.state = carried, .last = top && c->outputs > 0 && c->head == MMREC_HEAD_LAST};
    if (carried) declare_state(m, layer, &pass);
    mmrec_graph_scope(graph, layer, "");
    mmrec_rnn_weights weights =
        mmrec_rnn_param(graph, c->cell, "", layer, layer > 0 ? c->hidden : c->inputs, c->hidden, &initial);
    pass.x = layer > 0 ? mmrec_dropout_add(graph, m->x, (mmrec_drop){c->dropout, layer}) : m->x;
    mmrec_rnn_add(graph, &weights, &pass);
    m->x = pass.y;
    m->h_last = pass.h_last;
    if (carried) keep_state(m, layer, &pass);
}

/* Logits of a language model are B T V values: with gradients the classifier writes over them unless the run asks for
 * them. */
static void add_head(rnn_model *m) {
    const mmrec_rnn_config *c = m->config;
    const mmrec_model_run *run = m->base.run;
    bool all = c->head == MMREC_HEAD_ALL, logits = all && c->vocab > 0;
    mmrec_affine head = mmrec_usual_param(m->base.graph, "head", c->outputs, c->hidden);
    mmrec_tensor y = mmrec_affine_apply(m->base.graph, head, all ? m->x : m->h_last);
    bool kept = !logits || run->logits || run->seeded || !run->gradient;
    if (kept) mmrec_baseline_result(&m->base, y, logits ? "logits" : "y");
    if (mmrec_baseline_loss(run)) mmrec_baseline_class_loss(&m->base, y);
}

static mmrec_status build(const void *settings, const mmrec_model_run *run, mmrec_graph *graph, mmrec_error *error) {
    const mmrec_rnn_config *c = settings;
    mmrec_abilities can = {.model = cell_name(c->cell),
                           .carried = true,
                           .seeded = true,
                           .loss = c->outputs > 0,
                           .to_have_loss = "set outputs, the classes of its head"};
    MMREC_TRY(mmrec_baseline_check(run, &can, error));
    rnn_model m = {.base = {.graph = graph, .run = run}, .config = c};
    mmrec_graph_scope(graph, -1, "");
    m.x = input(&m);
    for (int layer = 0; layer < c->layers; layer++) add_layer(&m, layer);
    mmrec_graph_scope(graph, -1, "");
    if (c->outputs > 0) {
        add_head(&m);
    } else {
        mmrec_baseline_result(&m.base, m.x, "y");
    }
    return mmrec_baseline_finish(&m.base, error);
}

const mmrec_model_def mmrec_model_lstm = {
    .name = "lstm",
    .title = "LSTM",
    .source = "Hochreiter and Schmidhuber 1997, Gers et al. 2000, as PyTorch lays it out",
    .fields = lstm_fields,
    .config_bytes = sizeof(mmrec_rnn_config),
    .width = "hidden",
    .scale = scale,
    .check = check_lstm,
    .build = build,
};

const mmrec_model_def mmrec_model_gru = {
    .name = "gru",
    .title = "GRU",
    .source = "Cho et al. 2014, as PyTorch lays it out",
    .fields = gru_fields,
    .config_bytes = sizeof(mmrec_rnn_config),
    .width = "hidden",
    .scale = scale,
    .check = check_gru,
    .build = build,
};
