/* Model `mmrec`: embedding, blocks, final norm, tied logits, and the losses. */
#include "build.h"

#include <math.h>
#include <stdio.h>

/* Total of the auxiliary terms as the blocks are added. */
typedef struct auxiliary {
    mmrec_tensor sum;
    int count;
} auxiliary;

/* loss = factor (main + aux); aux 0 where there is none. */
typedef struct losses {
    mmrec_tensor sum, main, aux;
    double factor;
} losses;

typedef struct language_model {
    mmrec_graph *graph;
    const mmrec_model_config *config;
    const mmrec_model_run *run;
    mmrec_tensor ids, targets, table;
    auxiliary aux;
    mmrec_tensor wanted[2 * MMREC_LAYERS_MAX]; /* carried memory whose gradients are asked for */
    int wanted_count;
} language_model;

/* Names from here on are "<what>.<layer>.<name>". */
static void scope(mmrec_graph *graph, const char *what, int layer) {
    char prefix[40];
    snprintf(prefix, sizeof prefix, "%s.%d.", what, layer);
    mmrec_graph_scope(graph, layer, prefix);
}

static void declare_state(language_model *m, int layer, mmrec_block *block) {
    mmrec_shape memory = mmrec_shape3(m->run->batch, m->config->slots, m->config->dim);
    scope(m->graph, "state", layer);
    block->h0 = mmrec_graph_input(m->graph, "h", MMREC_F32, mmrec_shape2(m->run->batch, m->config->dim));
    if (!m->run->carried) return;
    block->state_k = mmrec_graph_input(m->graph, "mem_k", MMREC_F32, memory);
    block->state_v = mmrec_graph_input(m->graph, "mem_v", MMREC_F32, memory);
    if (!m->run->state_gradient) return;
    m->wanted[m->wanted_count++] = block->state_k;
    m->wanted[m->wanted_count++] = block->state_v;
}

static void keep_state(const language_model *m, int layer, const mmrec_block *block) {
    scope(m->graph, "next", layer);
    mmrec_graph_keep(m->graph, block->h_last, "h");
    mmrec_graph_keep(m->graph, block->mem_k, "mem_k");
    mmrec_graph_keep(m->graph, block->mem_v, "mem_v");
    if (!block->growth) return;
    char name[32];
    snprintf(name, sizeof name, "growth.%d", layer);
    mmrec_graph_scope(m->graph, layer, "");
    mmrec_graph_keep(m->graph, block->growth, name);
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
    mmrec_tensor head = mmrec_param(m->graph, "uboo_head.weight", mmrec_shape2(c->vocab, c->dim),
                                    mmrec_initial_normal(1 / sqrt((double)c->dim)));
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
static losses add_loss(language_model *m, mmrec_tensor logits) {
    bool deep = m->config->uboo == MMREC_UBOO_DEEP && m->aux.count > 0;
    losses l = {.main = mmrec_add2(m->graph, MMREC_OP_cross_entropy, logits, m->targets), .factor = deep ? 0.5 : 1};
    if (m->aux.count > 0) {
        mmrec_term term = {m->aux.sum, deep ? 1.0 / m->aux.count : m->config->uboo_weight};
        l.aux = mmrec_add_losses(m->graph, &term, 1);
        mmrec_graph_keep(m->graph, l.aux, "loss_aux");
    }
    mmrec_term parts[] = {{l.main, l.factor}, {l.aux, l.factor}};
    l.sum = mmrec_add_losses(m->graph, parts, 2);
    mmrec_graph_keep(m->graph, l.main, "loss_main");
    mmrec_graph_keep(m->graph, l.sum, "loss");
    return l;
}

static mmrec_status differentiate(const language_model *m, const losses *l, mmrec_error *error) {
    const mmrec_seed seed[] = {[MMREC_LOSS_ALL] = {l->sum, 0, 1},
                               [MMREC_LOSS_MAIN] = {l->main, 0, l->factor},
                               [MMREC_LOSS_AUX] = {l->aux, 0, l->factor}};
    return mmrec_graph_differentiate(m->graph, &seed[m->run->part], 1, m->wanted, m->wanted_count, m->run->recompute,
                                     error);
}

/* Where there is no auxiliary loss its gradients would all be 0: nobody can mean that. */
static mmrec_status check_part(const mmrec_model_config *c, mmrec_loss_part part, mmrec_error *error) {
    if ((unsigned)part > MMREC_LOSS_AUX) {
        MMREC_FAIL(error, MMREC_CONFIG, "part is %d; it must be all (0), main (1) or aux (2)", (int)part);
    }
    bool none = c->uboo == MMREC_UBOO_OFF || (c->uboo == MMREC_UBOO_DEEP && c->layers == 1);
    if (part != MMREC_LOSS_AUX || !none) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG,
               "gradients of the auxiliary loss were asked for, but uboo %s with %lld layer%s has none",
               mmrec_uboo_name(c->uboo), (long long)c->layers, c->layers == 1 ? "" : "s");
}

mmrec_status mmrec_build(const void *settings, const mmrec_model_run *run, mmrec_graph *graph, mmrec_error *error) {
    const mmrec_model_config *config = settings;
    mmrec_model_run with_loss = *run;
    MMREC_TRY(check_part(config, run->part, error));
    with_loss.loss = run->loss || run->gradient;
    language_model m = {.graph = graph, .config = config, .run = &with_loss};
    mmrec_shape tokens = mmrec_shape2(run->batch, run->time);
    mmrec_graph_scope(graph, -1, "");
    m.ids = mmrec_graph_input(graph, "ids", MMREC_I32, tokens);
    if (with_loss.loss) m.targets = mmrec_graph_input(graph, "targets", MMREC_I32, tokens);
    m.table =
        mmrec_param(graph, "embedding.weight", mmrec_shape2(config->vocab, config->dim), mmrec_initial_normal(0.02));

    mmrec_tensor x = mmrec_add2(graph, MMREC_OP_embedding, m.ids, m.table);
    for (int layer = 0; layer < config->layers; layer++) x = add_layer(&m, layer, x);
    mmrec_graph_scope(graph, -1, "");
    mmrec_tensor norm = mmrec_param(graph, "norm.weight", mmrec_shape1(config->dim), mmrec_initial_constant(1));
    mmrec_tensor logits = mmrec_add2(graph, MMREC_OP_linear, mmrec_add2(graph, MMREC_OP_rmsnorm, x, norm), m.table);
    /* With gradients the classifier writes over them: B T V values are not kept for nobody. */
    if (run->logits || !run->gradient) mmrec_graph_keep(graph, logits, "logits");
    losses l = {0};
    if (with_loss.loss) l = add_loss(&m, logits);
    MMREC_TRY(mmrec_graph_status(graph, error));
    return run->gradient ? differentiate(&m, &l, error) : MMREC_OK;
}
