/* Gradient checkpointing: the values inside a block are made again, just before its backward nodes, instead of being
 * kept since the forward phase. The copies run the same nodes on the same inputs (random draws are addressed, not
 * drawn), so the gradients have the same bits. */
#include <string.h>

#include "graph_impl.h"

/* What one block needs again. Arrays are by tensor. */
typedef struct block_copy {
    mmrec_graph *graph;
    size_t forward_nodes;
    int layer;
    bool *inside; /* made in this block, only read in it, and not kept for the user */
    bool *wanted; /* must exist again */
    mmrec_tensor *remap;
} block_copy;

static bool in_block(const block_copy *c, const graph_node *node) {
    return node->layer == c->layer && node->phase == MMREC_PHASE_FORWARD;
}

/* Slices share the fate of their base, so all questions are asked of the storage. */
static mmrec_tensor storage(const block_copy *c, mmrec_tensor t) { return t ? graph_storage(c->graph, t) : 0; }

static void mark_inside(block_copy *c) {
    for (size_t n = 0; n < c->forward_nodes; n++) {
        const graph_node *node = &c->graph->nodes[n];
        if (!in_block(c, node)) continue;
        for (int i = 0; i < MMREC_MAX_OUT; i++) {
            if (node->out[i]) c->inside[storage(c, node->out[i])] = true;
        }
        for (int i = 0; i < MMREC_MAX_SAVED; i++) {
            if (node->saved[i]) c->inside[node->saved[i]] = true;
        }
    }
    for (size_t n = 0; n < c->forward_nodes; n++) {
        const graph_node *node = &c->graph->nodes[n];
        for (int i = 0; i < MMREC_MAX_IN && !in_block(c, node); i++) {
            if (node->in[i]) c->inside[storage(c, node->in[i])] = false;
        }
    }
    for (size_t t = 1; t <= c->graph->tensor_count; t++) {
        if (graph_tensor_at(c->graph, (mmrec_tensor)t)->keep) c->inside[t] = false;
    }
}

static void want(block_copy *c, mmrec_tensor t) {
    if (t && c->inside[storage(c, t)]) c->wanted[storage(c, t)] = true;
}

/* What the backward node of `node` reads. */
static void want_backward(block_copy *c, const graph_node *node, const mmrec_op_def *def, const bool *needs) {
    bool reached = false;
    for (int i = 0; i < MMREC_MAX_OUT; i++) reached = reached || (node->out[i] && needs[node->out[i]]);
    if (!reached) return;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if (node->in[i] && (def->in[i].flags & MMREC_ARG_KEEP)) want(c, node->in[i]);
    }
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        if (node->out[i] && (def->out[i].flags & MMREC_ARG_KEEP)) want(c, node->out[i]);
    }
    for (int i = 0; i < MMREC_MAX_SAVED; i++) want(c, node->saved[i]);
}

static bool makes_wanted(const block_copy *c, const graph_node *node) {
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        if (node->out[i] && c->wanted[storage(c, node->out[i])]) return true;
    }
    for (int i = 0; i < MMREC_MAX_SAVED; i++) {
        if (node->saved[i] && c->wanted[node->saved[i]]) return true;
    }
    return false;
}

/* Marks, from the last node to the first, what must exist again. */
static void mark_wanted(block_copy *c, const bool *needs) {
    for (size_t n = c->forward_nodes; n-- > 0;) {
        const graph_node *node = &c->graph->nodes[n];
        if (!in_block(c, node)) continue;
        want_backward(c, node, graph_op_def(c->graph, node->op), needs);
        if (!makes_wanted(c, node)) continue;
        for (int i = 0; i < MMREC_MAX_IN; i++) want(c, node->in[i]);
    }
}

/* The copy of a tensor inside the block; itself outside. */
static mmrec_tensor copy_of(block_copy *c, mmrec_tensor t) {
    if (!t || !c->inside[storage(c, t)]) return t;
    if (c->remap[t]) return c->remap[t];
    graph_tensor tensor = *graph_tensor_at(c->graph, t);
    mmrec_tensor copy;
    if (tensor.base) {
        mmrec_tensor base = copy_of(c, tensor.base);
        copy = base ? graph_new_slice(c->graph, base, tensor.kind, tensor.offset, tensor.stride, tensor.shape) : 0;
    } else {
        copy = graph_new_tensor(c->graph, tensor.kind, tensor.dtype, tensor.shape);
    }
    if (copy) graph_tensor_at(c->graph, copy)->layer = tensor.layer;
    c->remap[t] = copy;
    return copy;
}

/* An output that leaves the block keeps its first value: the copy of the node writes a tensor nobody reads. */
static mmrec_tensor copy_of_output(block_copy *c, mmrec_tensor t) {
    if (!t || c->inside[storage(c, t)]) return copy_of(c, t);
    graph_tensor tensor = *graph_tensor_at(c->graph, t);
    return graph_new_tensor(c->graph, tensor.kind, tensor.dtype, tensor.shape);
}

static void copy_node(block_copy *c, size_t n) {
    graph_node node = c->graph->nodes[n];
    node.phase = MMREC_PHASE_BACKWARD;
    node.recompute = true;
    for (int i = 0; i < MMREC_MAX_IN; i++) node.in[i] = copy_of(c, node.in[i]);
    for (int i = 0; i < MMREC_MAX_OUT; i++) node.out[i] = copy_of_output(c, node.out[i]);
    for (int i = 0; i < MMREC_MAX_SAVED; i++) node.saved[i] = copy_of(c, node.saved[i]);
    graph_push_node(c->graph, &node);
}

/* Backward nodes read slices too: each slice of a copied base needs its copy. */
static void copy_slices(block_copy *c, size_t tensors) {
    for (size_t t = 1; t <= tensors; t++) {
        mmrec_tensor base = graph_tensor_at(c->graph, (mmrec_tensor)t)->base;
        if (base && c->inside[base] && c->wanted[base]) copy_of(c, (mmrec_tensor)t);
    }
}

mmrec_status graph_recompute_layer(mmrec_graph *graph, size_t forward_nodes, int layer, const bool *needs,
                                   mmrec_tensor *remap, mmrec_error *error) {
    size_t n = graph->tensor_count + 1, tensors = graph->tensor_count;
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(graph->allocator, 2 * n, sizeof(bool), MMREC_ALLOC_GRAPH, &memory, error));
    block_copy c = {graph, forward_nodes, layer, memory, (bool *)memory + n, remap};
    mark_inside(&c);
    mark_wanted(&c, needs);
    int outer = graph->layer;
    graph->layer = layer;
    for (size_t i = 0; i < forward_nodes; i++) {
        if (in_block(&c, &graph->nodes[i]) && makes_wanted(&c, &graph->nodes[i])) copy_node(&c, i);
    }
    copy_slices(&c, tensors);
    graph->layer = outer;
    mmrec_alloc(graph->allocator, memory, 2 * n * sizeof(bool), 0, MMREC_ALLOC_GRAPH);
    return mmrec_graph_status(graph, error);
}
