/* Tensors in one memory, one after the other: what an op saves over its input, and a gradient over what was saved
 * (mmrec_arg.over). The classifier's logits, their shares and their gradient then take N V values instead of 3 N V.
 *
 * A tensor takes another's place where the node that makes it (which accumulates nothing, so nobody has before) is the
 * last to touch the other, and both are whole values of one shape and type that nobody reads by name. So their
 * lifetimes meet in that one node. */
#include <string.h>

#include "plan_impl.h"

void plan_node_storage(const mmrec_graph *graph, const graph_node *node, mmrec_tensor storage[PLAN_NODE_TENSORS]) {
    const mmrec_tensor *const lists[] = {node->in, node->d_in, node->out, node->d_out, node->saved};
    const int counts[] = {MMREC_MAX_IN, MMREC_MAX_IN, MMREC_MAX_OUT, MMREC_MAX_OUT, MMREC_MAX_SAVED};
    for (int l = 0, k = 0; l < (int)(sizeof counts / sizeof *counts); l++) {
        for (int i = 0; i < counts[l]; i++) storage[k++] = lists[l][i] ? graph_storage(graph, lists[l][i]) : 0;
    }
}

/* What saved tensor i of the node may replace (`from`) with what (`to`), as its op says; false where there is no such
 * pair. */
static bool declared_pair(const mmrec_graph *graph, const graph_node *node, int i, mmrec_tensor *from,
                          mmrec_tensor *to) {
    int input = graph_op_def(graph, node->op)->saved[i].over - 1;
    if (!node->saved[i] || input < 0) return false;
    bool forward = node->pass == MMREC_FORWARD;
    *from = forward ? node->in[input] : node->saved[i];
    *to = forward ? node->saved[i] : node->d_in[input];
    return *from && *to && (forward || ((node->accumulate >> input) & 1u) == 0);
}

static int times_touched(const mmrec_graph *graph, const graph_node *node, mmrec_tensor t) {
    mmrec_tensor storage[PLAN_NODE_TENSORS];
    int count = 0;
    plan_node_storage(graph, node, storage);
    for (int i = 0; i < PLAN_NODE_TENSORS; i++) count += storage[i] == t;
    return count;
}

/* A value or gradient that is not part of another, has no parts, and nobody reads by name. */
static bool is_plain(const mmrec_graph *graph, mmrec_tensor t) {
    const graph_tensor *tensor = graph_tensor_at(graph, t);
    bool made = tensor->kind == MMREC_TENSOR_VALUE || tensor->kind == MMREC_TENSOR_GRADIENT;
    return made && !tensor->base && !tensor->first_slice && !tensor->keep && !tensor->refreshed;
}

/* Whether the node leaves both tensors to this pair alone, and they fit one memory. */
static bool fits_pair(const mmrec_graph *graph, const graph_node *node, mmrec_tensor from, mmrec_tensor to) {
    const graph_tensor *a = graph_tensor_at(graph, from), *b = graph_tensor_at(graph, to);
    return is_plain(graph, from) && is_plain(graph, to) && a->dtype == b->dtype &&
           mmrec_shape_equal(&a->shape, &b->shape) && times_touched(graph, node, from) == 1 &&
           times_touched(graph, node, to) == 1;
}

/* ---- deciding ---- */

static void merge(plan_life *lives, mmrec_tensor *home, mmrec_tensor from, mmrec_tensor to) {
    plan_life *life = &lives[home[from]];
    home[to] = home[from];
    life->last = lives[to].last;
    life->in_forward = life->in_forward || lives[to].in_forward;
    life->in_backward = life->in_backward || lives[to].in_backward;
}

void plan_merge(const mmrec_graph *graph, plan_life *lives, mmrec_tensor *home) {
    for (size_t n = 0; n < graph->node_count; n++) {
        const graph_node *node = &graph->nodes[n];
        for (int i = 0; i < MMREC_MAX_SAVED; i++) {
            mmrec_tensor from, to;
            if (!declared_pair(graph, node, i, &from, &to) || !fits_pair(graph, node, from, to)) continue;
            if (lives[from].last == (int)n) merge(lives, home, from, to);
        }
    }
}

/* ---- judging ---- */

typedef struct judge {
    const mmrec_plan *plan;
    mmrec_tensor *holder; /* by entry: the tensor whose values are in it, 0: none yet */
    mmrec_error *error;
} judge;

static mmrec_status refuse(const judge *j, mmrec_tensor a, mmrec_tensor b, int n, const char *why) {
    const char *first = graph_tensor_at(j->plan->graph, a)->name, *second = graph_tensor_at(j->plan->graph, b)->name;
    MMREC_FAIL(j->error, MMREC_INTERNAL, "tensor %d \"%s\" and tensor %d \"%s\" share memory, but at node %d %s", a,
               first ? first : "", b, second ? second : "", n, why);
}

static mmrec_tensor *holder_of(const judge *j, mmrec_tensor t) {
    int entry = j->plan->by_tensor[t];
    return entry < 0 ? NULL : &j->holder[entry];
}

static bool may_replace(const mmrec_graph *graph, const graph_node *node, mmrec_tensor old, mmrec_tensor t) {
    mmrec_tensor from, to;
    for (int i = 0; i < MMREC_MAX_SAVED; i++) {
        if (declared_pair(graph, node, i, &from, &to) && from == old && to == t) {
            return fits_pair(graph, node, from, to);
        }
    }
    return false;
}

static mmrec_status judge_read(const judge *j, mmrec_tensor t, int n) {
    if (!t) return MMREC_OK;
    t = graph_storage(j->plan->graph, t);
    const mmrec_tensor *holder = holder_of(j, t);
    if (!holder || !*holder || *holder == t) return MMREC_OK;
    return refuse(j, t, *holder, n, "the first is read after the second was written over it");
}

static mmrec_status judge_write(const judge *j, mmrec_tensor t, int n) {
    const mmrec_graph *graph = j->plan->graph;
    const graph_node *node = &graph->nodes[n];
    if (!t) return MMREC_OK;
    t = graph_storage(graph, t);
    mmrec_tensor *holder = holder_of(j, t), old = holder ? *holder : t;
    if (holder) *holder = t;
    if (!old || old == t) return MMREC_OK;
    if (times_touched(graph, node, old) == 0 || may_replace(graph, node, old, t)) return MMREC_OK;
    return refuse(j, old, t, n, "the second is written while the first is live");
}

static mmrec_status judge_list(const judge *j, const mmrec_tensor *list, int count, int n, bool write) {
    for (int i = 0; i < count; i++) MMREC_TRY(write ? judge_write(j, list[i], n) : judge_read(j, list[i], n));
    return MMREC_OK;
}

static mmrec_status judge_node(const judge *j, int n) {
    const graph_node *node = &j->plan->graph->nodes[n];
    bool forward = node->pass == MMREC_FORWARD;
    MMREC_TRY(judge_list(j, node->in, MMREC_MAX_IN, n, false));
    MMREC_TRY(judge_list(j, node->d_out, MMREC_MAX_OUT, n, false));
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if ((node->accumulate >> i) & 1u) MMREC_TRY(judge_read(j, node->d_in[i], n));
    }
    MMREC_TRY(judge_list(j, node->out, MMREC_MAX_OUT, n, forward));
    MMREC_TRY(judge_list(j, node->saved, MMREC_MAX_SAVED, n, forward));
    return judge_list(j, node->d_in, MMREC_MAX_IN, n, true);
}

/* Values that outlast the nodes that touch them have their memory to themselves. */
static mmrec_status judge_lasting(const judge *j) {
    const mmrec_graph *graph = j->plan->graph;
    for (mmrec_tensor t = 1; t <= (mmrec_tensor)graph->tensor_count; t++) {
        int entry = j->plan->by_tensor[t];
        mmrec_tensor home = entry < 0 ? t : j->plan->entries[entry].tensor;
        if (home == t) continue;
        if (!is_plain(graph, t)) return refuse(j, t, home, 0, "the first must last");
        if (!is_plain(graph, home)) return refuse(j, home, t, 0, "the first must last");
    }
    return MMREC_OK;
}

mmrec_status plan_check_order(const mmrec_plan *plan, mmrec_error *error) {
    void *memory = NULL;
    size_t bytes = (plan->count + 1) * sizeof(mmrec_tensor);
    MMREC_TRY(mmrec_alloc_zero(plan->allocator, 1, bytes, MMREC_ALLOC_PLAN, &memory, error));
    judge j = {plan, memory, error};
    mmrec_status status = judge_lasting(&j);
    for (size_t n = 0; n < plan->graph->node_count && status == MMREC_OK; n++) status = judge_node(&j, (int)n);
    mmrec_alloc(plan->allocator, memory, bytes, 0, MMREC_ALLOC_PLAN);
    return status;
}
