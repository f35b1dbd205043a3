/* Model `mmrec`: embedding, blocks, final norm, tied logits, and the losses. */
#include "build.h"

#include <stdio.h>

/* Total of the auxiliary terms as the blocks are added. */
typedef struct auxiliary {
    mmrec_tensor sum;
    int count;
} auxiliary;

typedef struct language_model {
    mmrec_graph *graph;
    const mmrec_model_config *config;
    const mmrec_model_run *run;
    mmrec_tensor ids, targets, table;
    auxiliary aux;
} language_model;

/* Names from here on are "<what>.<layer>.<name>". */
static void scope(mmrec_graph *graph, const char *what, int layer) {
    char prefix[40];
    snprintf(prefix, sizeof prefix, "%s.%d.", what, layer);
    mmrec_graph_scope(graph, layer, prefix);
}

static void declare_state(const language_model *m, int layer, mmrec_block *block) {
    mmrec_shape memory = mmrec_shape3(m->run->batch, m->config->slots, m->config->dim);
    scope(m->graph, "state", layer);
    block->h0 = mmrec_graph_input(m->graph, "h", MMREC_F32, mmrec_shape2(m->run->batch, m->config->dim));
    if (!m->run->carried) return;
    block->state_k = mmrec_graph_input(m->graph, "mem_k", MMREC_F32, memory);
    block->state_v = mmrec_graph_input(m->graph, "mem_v", MMREC_F32, memory);
}

static void keep_state(const language_model *m, int layer, const mmrec_block *block) {
    scope(m->graph, "next", layer);
    mmrec_graph_keep(m->graph, block->h_last, "h");
    mmrec_graph_keep(m->graph, block->mem_k, "mem_k");
    mmrec_graph_keep(m->graph, block->mem_v, "mem_v");
}

static mmrec_tensor cross_entropy(const language_model *m, mmrec_tensor x, mmrec_tensor head) {
    mmrec_tensor logits = mmrec_add2(m->graph, MMREC_OP_linear, x, head);
    return mmrec_add2(m->graph, MMREC_OP_cross_entropy, logits, m->targets);
}

static void add_auxiliary(language_model *m, mmrec_tensor term) {
    mmrec_term parts[] = {{m->aux.sum, 1}, {term, 1}};
    if (!term) return;
    m->aux.sum = m->aux.sum ? mmrec_add_losses(m->graph, parts, 2) : term;
    m->aux.count++;
}

/* Deep: a vocabulary head on every block but the last. Its weight is declared even where no loss is asked for. */
static void deep_head(language_model *m, int layer, mmrec_tensor y) {
    const mmrec_model_config *c = m->config;
    if (c->uboo != MMREC_UBOO_DEEP || layer == c->layers - 1) return;
    mmrec_tensor head = mmrec_graph_param(m->graph, "uboo_head.weight", mmrec_shape2(c->vocab, c->dim));
    if (m->run->loss) add_auxiliary(m, cross_entropy(m, y, head));
}

static mmrec_tensor add_layer(language_model *m, int layer, mmrec_tensor x) {
    mmrec_block block = {.x = x};
    declare_state(m, layer, &block);
    scope(m->graph, "blocks", layer);
    mmrec_block_add(m->graph, m->config, m->run, layer, m->run->loss, &block);
    deep_head(m, layer, block.y);
    add_auxiliary(m, block.aux);
    keep_state(m, layer, &block);
    return block.y;
}

/* loss = main + lambda sum(aux) for planning, (main + mean of the heads) / 2 for deep, main otherwise. */
static mmrec_tensor add_loss(language_model *m, mmrec_tensor logits) {
    mmrec_tensor main = mmrec_add2(m->graph, MMREC_OP_cross_entropy, logits, m->targets), aux = 0;
    bool deep = m->config->uboo == MMREC_UBOO_DEEP && m->aux.count > 0;
    if (m->aux.count > 0) {
        mmrec_term term = {m->aux.sum, deep ? 1.0 / m->aux.count : m->config->uboo_weight};
        aux = mmrec_add_losses(m->graph, &term, 1);
        mmrec_graph_keep(m->graph, aux, "loss_aux");
    }
    mmrec_term parts[] = {{main, deep ? 0.5 : 1}, {aux, deep ? 0.5 : 1}};
    mmrec_tensor loss = mmrec_add_losses(m->graph, parts, 2);
    mmrec_graph_keep(m->graph, main, "loss_main");
    mmrec_graph_keep(m->graph, loss, "loss");
    return loss;
}

mmrec_status mmrec_model_build_mmrec(const mmrec_model_config *config, const mmrec_model_run *run, mmrec_graph *graph,
                                     mmrec_error *error) {
    mmrec_model_run with_loss = *run;
    with_loss.loss = run->loss || run->gradient;
    language_model m = {.graph = graph, .config = config, .run = &with_loss};
    mmrec_shape tokens = mmrec_shape2(run->batch, run->time);
    mmrec_graph_scope(graph, -1, "");
    m.ids = mmrec_graph_input(graph, "ids", MMREC_I32, tokens);
    if (with_loss.loss) m.targets = mmrec_graph_input(graph, "targets", MMREC_I32, tokens);
    m.table = mmrec_graph_param(graph, "embedding.weight", mmrec_shape2(config->vocab, config->dim));

    mmrec_tensor x = mmrec_add2(graph, MMREC_OP_embedding, m.ids, m.table);
    for (int layer = 0; layer < config->layers; layer++) x = add_layer(&m, layer, x);
    mmrec_graph_scope(graph, -1, "");
    mmrec_tensor norm = mmrec_graph_param(graph, "norm.weight", mmrec_shape1(config->dim));
    mmrec_tensor logits = mmrec_add2(graph, MMREC_OP_linear, mmrec_add2(graph, MMREC_OP_rmsnorm, x, norm), m.table);
    /* With gradients the classifier writes over them: B T V values are not kept for nobody. */
    if (run->logits || !run->gradient) mmrec_graph_keep(graph, logits, "logits");
    mmrec_tensor loss = with_loss.loss ? add_loss(&m, logits) : 0;
    if (!run->gradient) return mmrec_graph_status(graph, error);
    mmrec_seed seed = {loss, 0, 1};
    return mmrec_graph_differentiate(graph, &seed, 1, NULL, 0, run->recompute, error);
}
