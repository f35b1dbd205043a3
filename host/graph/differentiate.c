/* Reverse-mode differentiation: walks the forward nodes backwards and appends one backward node for each that a
 * gradient reaches. The first gradient to reach a tensor overwrites, the later ones add; which is which is decided
 * here, so a run needs no zeroing.
 *
 * Slices: the gradient of a slice is the same slice of its base's gradient. A base whose slices were written one by one
 * is completed (missing slices zeroed) before anything reads it whole. */
#include <string.h>

#include "graph_impl.h"

typedef struct derivation {
    mmrec_graph *graph;
    size_t forward_nodes, forward_tensors;
    bool *needs;         /* by tensor: a gradient is wanted through it */
    bool *written;       /* by tensor: its gradient holds a value (for slices: this slice) */
    bool *part_written;  /* by base: some slice is written */
    int *direct_uses;    /* by tensor: differentiable inputs it is, and seeds */
    int64_t *sliced;     /* by base: elements covered by slices */
    mmrec_tensor *remap; /* by tensor: the copy to read in the backward phase, 0: itself */
    mmrec_error *error;
} derivation;

/* Whose gradient is meant by the gradient of `t`: its own, or that of the parameter it is a copy of. */
static mmrec_tensor original(const derivation *d, mmrec_tensor t) {
    mmrec_tensor source = graph_tensor_at(d->graph, t)->source;
    return source ? source : t;
}

static bool differentiable_input(const mmrec_op_def *def, int i) {
    return def->in[i].name && (def->in[i].flags & (MMREC_ARG_IDS | MMREC_ARG_NO_GRAD)) == 0;
}

static bool node_input_needs(const derivation *d, const graph_node *node, const mmrec_op_def *def, int i) {
    return node->in[i] && differentiable_input(def, i) && d->needs[node->in[i]];
}

static bool node_output_passes(const graph_node *node, const mmrec_op_def *def, int i) {
    return node->out[i] && (def->out[i].flags & MMREC_ARG_NO_GRAD) == 0;
}

/* Marks what depends on parameters or wanted inputs, in the order of execution. */
static void mark_needs(derivation *d, const mmrec_tensor *wanted, int wanted_count) {
    mmrec_graph *graph = d->graph;
    for (mmrec_tensor t = 1; t <= (mmrec_tensor)graph->tensor_count; t++) {
        mmrec_tensor_kind kind = graph_tensor_at(graph, t)->kind;
        d->needs[t] = kind == MMREC_TENSOR_PARAM || kind == MMREC_TENSOR_STACK;
    }
    for (int i = 0; i < wanted_count; i++) d->needs[wanted[i]] = true;
    for (size_t n = 0; n < graph->node_count; n++) {
        const graph_node *node = &graph->nodes[n];
        const mmrec_op_def *def = graph_op_def(graph, node->op);
        bool any = false;
        for (int i = 0; i < MMREC_MAX_IN; i++) {
            /* A slice made after its base became needed inherits from the base. */
            if (node->in[i] && d->needs[graph_storage(graph, node->in[i])]) d->needs[node->in[i]] = true;
            any = any || node_input_needs(d, node, def, i);
        }
        for (int i = 0; i < MMREC_MAX_OUT; i++) {
            if (any && node_output_passes(node, def, i)) d->needs[node->out[i]] = true;
        }
    }
}

static void count_uses(derivation *d, const mmrec_seed *seeds, int seed_count) {
    mmrec_graph *graph = d->graph;
    for (int i = 0; i < seed_count; i++) d->direct_uses[graph_storage(graph, seeds[i].tensor)]++;
    for (size_t n = 0; n < graph->node_count; n++) {
        const graph_node *node = &graph->nodes[n];
        const mmrec_op_def *def = graph_op_def(graph, node->op);
        for (int i = 0; i < MMREC_MAX_IN; i++) {
            if (node_input_needs(d, node, def, i)) d->direct_uses[original(d, node->in[i])]++;
        }
    }
    for (mmrec_tensor t = 1; t <= (mmrec_tensor)graph->tensor_count; t++) {
        const graph_tensor *tensor = graph_tensor_at(graph, t);
        if (!tensor->base) continue;
        d->sliced[tensor->base] += mmrec_shape_elements(&tensor->shape);
        if (d->direct_uses[t]) d->direct_uses[tensor->base]++;
    }
}

/* The gradient tensor of `t`, made when first asked for. 0 on failure. */
static mmrec_tensor gradient_of(derivation *d, mmrec_tensor t) {
    mmrec_graph *graph = d->graph;
    graph_tensor tensor = *graph_tensor_at(graph, t);
    if (tensor.gradient) return tensor.gradient;
    mmrec_tensor gradient;
    if (tensor.base) {
        mmrec_tensor base = gradient_of(d, tensor.base);
        gradient =
            base ? graph_new_slice(graph, base, MMREC_TENSOR_GRADIENT, tensor.offset, tensor.stride, tensor.shape) : 0;
    } else {
        gradient = graph_new_tensor(graph, MMREC_TENSOR_GRADIENT, tensor.dtype, tensor.shape);
    }
    if (!gradient) return 0;
    graph_tensor_at(graph, gradient)->layer = tensor.layer;
    graph_tensor_at(graph, t)->gradient = gradient;
    return gradient;
}

/* Writes a constant over a gradient tensor. */
static void fill_gradient(derivation *d, mmrec_tensor gradient, double value) {
    const graph_tensor *tensor = graph_tensor_at(d->graph, gradient);
    const mmrec_op_def *def = graph_op_def(d->graph, MMREC_OP_fill);
    graph_node node;
    memset(&node, 0, sizeof node);
    node.op = MMREC_OP_fill;
    node.phase = MMREC_PHASE_BACKWARD;
    node.layer = tensor->layer;
    node.storage = tensor->dtype;
    node.out[0] = gradient;
    mmrec_op_sizes_init(def, d->graph->threads, &node.sizes);
    node.sizes.attr[mmrec_op_attr(def, "value")] = value;
    node.sizes.attr[mmrec_op_attr(def, "rows")] = (double)mmrec_shape_rows(&tensor->shape);
    node.sizes.attr[mmrec_op_attr(def, "columns")] = (double)mmrec_shape_columns(&tensor->shape);
    if (mmrec_op_resolve(def, &node.sizes, &d->graph->error) == MMREC_OK) graph_push_node(d->graph, &node);
}

/* to += from (or to = from): the backward function of a sum of one, or of what took `to` from the other type. */
static void add_gradient(derivation *d, mmrec_tensor to, mmrec_tensor from, bool accumulate) {
    mmrec_dtype there = graph_tensor_at(d->graph, to)->dtype, here = graph_tensor_at(d->graph, from)->dtype;
    mmrec_op_id cast = there == MMREC_BF16 ? MMREC_OP_widen : MMREC_OP_narrow;
    graph_node node;
    memset(&node, 0, sizeof node);
    node.op = there == here ? MMREC_OP_combine : cast;
    const mmrec_op_def *def = graph_op_def(d->graph, node.op);
    node.pass = MMREC_BACKWARD;
    node.phase = MMREC_PHASE_BACKWARD;
    node.layer = graph_tensor_at(d->graph, to)->layer;
    node.storage = there == here ? there : MMREC_BF16;
    node.d_out[0] = from;
    node.d_in[0] = to;
    node.accumulate = accumulate ? 1u : 0u;
    mmrec_op_sizes_init(def, d->graph->threads, &node.sizes);
    node.sizes.in[0] = graph_tensor_at(d->graph, to)->shape;
    node.sizes.given = 1;
    if (mmrec_op_resolve(def, &node.sizes, &d->graph->error) == MMREC_OK) graph_push_node(d->graph, &node);
}

/* A base some of whose slices hold gradients becomes whole: the other slices are zeroed. */
static void complete_base(derivation *d, mmrec_tensor base) {
    if (d->written[base] || !d->part_written[base]) return;
    for (mmrec_tensor t = graph_tensor_at(d->graph, base)->first_slice; t; t = graph_tensor_at(d->graph, t)->sibling) {
        if (d->written[t]) continue;
        mmrec_tensor gradient = gradient_of(d, t);
        if (!gradient) return;
        fill_gradient(d, gradient, 0);
    }
    d->written[base] = true;
}

/* Does a gradient value exist for `t`? Completes a partly written base. */
static bool gradient_ready(derivation *d, mmrec_tensor t) {
    mmrec_tensor base = graph_tensor_at(d->graph, t)->base;
    if (base) return d->written[t] || d->written[base];
    complete_base(d, t);
    return d->written[t];
}

/* Called when something is about to write the gradient of `t`: true when it must add to what is there. */
static bool begin_write(derivation *d, mmrec_tensor t) {
    mmrec_tensor base = graph_tensor_at(d->graph, t)->base;
    if (!base) {
        bool add = gradient_ready(d, t);
        d->written[t] = true;
        return add;
    }
    /* Slices that leave gaps cannot make a base whole one by one: zero all of it first. */
    if (!d->written[base] && !d->part_written[base] &&
        d->sliced[base] != mmrec_shape_elements(&graph_tensor_at(d->graph, base)->shape)) {
        mmrec_tensor gradient = gradient_of(d, base);
        if (gradient) fill_gradient(d, gradient, 0);
        d->written[base] = true;
    }
    bool add = d->written[t] || d->written[base];
    d->written[t] = true;
    d->part_written[base] = true;
    return add;
}

static mmrec_tensor current(const derivation *d, mmrec_tensor t) { return t && d->remap[t] ? d->remap[t] : t; }

/* Tensors a backward node reads, by the op's KEEP flags; everything else stays 0 and may be gone by then. */
static void keep_arguments(const derivation *d, const graph_node *forward, const mmrec_op_def *def, graph_node *node) {
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        bool kept = forward->in[i] && (def->in[i].flags & MMREC_ARG_KEEP) != 0;
        node->in[i] = kept ? current(d, forward->in[i]) : 0;
    }
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        bool kept = forward->out[i] && (def->out[i].flags & MMREC_ARG_KEEP) != 0;
        node->out[i] = kept ? current(d, forward->out[i]) : 0;
    }
    for (int i = 0; i < MMREC_MAX_SAVED; i++) {
        node->saved[i] = current(d, forward->saved[i]);
        if (node->saved[i]) graph_tensor_at(d->graph, node->saved[i])->recalled = true;
    }
}

static bool gather_output_gradients(derivation *d, const graph_node *forward, const mmrec_op_def *def,
                                    graph_node *node) {
    bool any = false;
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        node->d_out[i] = 0;
        if (!node_output_passes(forward, def, i) || !d->needs[forward->out[i]]) continue;
        if (!gradient_ready(d, forward->out[i])) continue;
        node->d_out[i] = gradient_of(d, forward->out[i]);
        any = true;
    }
    return any;
}

/* A tensor given to one node twice, or whole and as a slice: the later gradient goes to a tensor of its own and is
 * added afterwards, because the arguments of a call never overlap. So does a gradient that the op makes in another type
 * than the tensor's gradient has. */
typedef struct late_sum {
    mmrec_tensor to, from;
    bool add;
} late_sum;

static bool meets_earlier_input(const derivation *d, const graph_node *forward, const mmrec_op_def *def, int i) {
    mmrec_tensor later = original(d, forward->in[i]), base = graph_tensor_at(d->graph, later)->base;
    for (int j = 0; j < i; j++) {
        if (!node_input_needs(d, forward, def, j)) continue;
        mmrec_tensor earlier = original(d, forward->in[j]);
        if (earlier == later || earlier == base || graph_tensor_at(d->graph, earlier)->base == later) return true;
    }
    return false;
}

static int gather_input_gradients(derivation *d, const graph_node *forward, const mmrec_op_def *def, graph_node *node,
                                  late_sum *late) {
    int late_count = 0;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        node->d_in[i] = 0;
        if (!node_input_needs(d, forward, def, i)) continue;
        mmrec_tensor t = original(d, forward->in[i]);
        mmrec_dtype dtype = mmrec_arg_gradient_dtype(&def->in[i], forward->storage);
        bool add = begin_write(d, t);
        mmrec_tensor gradient = gradient_of(d, t);
        if (!gradient) return 0;
        if (graph_tensor_at(d->graph, gradient)->dtype != dtype || meets_earlier_input(d, forward, def, i)) {
            node->d_in[i] = graph_new_tensor(d->graph, MMREC_TENSOR_GRADIENT, dtype, forward->sizes.in[i]);
            late[late_count++] = (late_sum){gradient, node->d_in[i], add};
            continue;
        }
        if (add) node->accumulate |= 1u << i;
        node->d_in[i] = gradient;
    }
    return late_count;
}

/* Appends the backward node of forward node n, when a gradient reaches it and leads anywhere. */
static mmrec_status reverse_node(derivation *d, size_t n) {
    graph_node forward = d->graph->nodes[n], node = forward;
    const mmrec_op_def *def = graph_op_def(d->graph, forward.op);
    bool wanted = false;
    for (int i = 0; i < MMREC_MAX_IN; i++) wanted = wanted || node_input_needs(d, &forward, def, i);
    if (!wanted || !gather_output_gradients(d, &forward, def, &node)) return MMREC_OK;
    if (!def->function[MMREC_BACKWARD]) {
        MMREC_FAIL(d->error, MMREC_INTERNAL, "%s has no backward function but a gradient reaches it", def->name);
    }
    late_sum late[MMREC_MAX_IN];
    node.pass = MMREC_BACKWARD;
    node.phase = MMREC_PHASE_BACKWARD;
    node.accumulate = 0;
    int late_count = gather_input_gradients(d, &forward, def, &node, late);
    keep_arguments(d, &forward, def, &node);
    graph_push_node(d->graph, &node);
    for (int i = 0; i < late_count; i++) add_gradient(d, late[i].to, late[i].from, late[i].add);
    return mmrec_graph_status(d->graph, d->error);
}

static void plant_seed(derivation *d, const mmrec_seed *seed) {
    mmrec_graph *graph = d->graph;
    graph_tensor *tensor = graph_tensor_at(graph, seed->tensor);
    /* Nothing else adds to the gradient of a value nobody reads or seeds again: the user's own tensor serves, without a
     * copy. */
    bool same_type = seed->gradient && graph_tensor_at(graph, seed->gradient)->dtype == tensor->dtype;
    if (same_type && tensor->kind == MMREC_TENSOR_VALUE && !tensor->base && d->direct_uses[seed->tensor] == 1) {
        tensor->gradient = seed->gradient;
        d->written[seed->tensor] = true;
        return;
    }
    bool add = begin_write(d, seed->tensor);
    mmrec_tensor gradient = gradient_of(d, seed->tensor);
    if (!gradient) return;
    if (seed->gradient) {
        add_gradient(d, gradient, seed->gradient, add);
    } else if (!add) {
        fill_gradient(d, gradient, seed->value);
    } else {
        mmrec_graph_refuse(graph, MMREC_UNSUPPORTED, "one tensor is seeded twice");
    }
}

/* Parameters (and wanted inputs) that nothing depends on get zeros, so that every gradient can be read. */
static void zero_unreached(derivation *d, const mmrec_tensor *wanted, int wanted_count) {
    for (mmrec_tensor t = 1; t <= (mmrec_tensor)d->forward_tensors; t++) {
        const graph_tensor *tensor = graph_tensor_at(d->graph, t);
        bool asked = tensor->kind == MMREC_TENSOR_PARAM;
        for (int i = 0; i < wanted_count; i++) asked = asked || wanted[i] == t;
        if (!asked) continue;
        bool ready = gradient_ready(d, t);
        mmrec_tensor gradient = gradient_of(d, t);
        if (!gradient) return;
        graph_tensor_at(d->graph, graph_storage(d->graph, gradient))->keep = true;
        graph_tensor_at(d->graph, t)->unreached = !ready;
        if (!ready) fill_gradient(d, gradient, 0);
    }
}

static mmrec_status reverse_all(derivation *d, bool recompute) {
    int open_layer = -1;
    for (size_t i = d->forward_nodes; i-- > 0;) {
        int layer = d->graph->nodes[i].layer;
        if (recompute && layer >= 0 && layer != open_layer) {
            MMREC_TRY(graph_recompute_layer(d->graph, d->forward_nodes, layer, d->needs, d->remap, d->error));
            open_layer = layer;
        }
        MMREC_TRY(reverse_node(d, i));
    }
    return MMREC_OK;
}

/* A tensor of real numbers in this graph. */
static bool holds_reals(const mmrec_graph *graph, mmrec_tensor t) {
    return t >= 1 && (size_t)t <= graph->tensor_count && graph_tensor_at(graph, t)->dtype != MMREC_I32;
}

static mmrec_status check_seed(const mmrec_graph *graph, const mmrec_seed *seed, int number, mmrec_error *error) {
    mmrec_tensor t = seed->tensor, g = seed->gradient;
    if (!holds_reals(graph, t) || (g && !holds_reals(graph, g))) {
        MMREC_FAIL(error, MMREC_INTERNAL, "seed %d names no tensor of real numbers in this graph", number);
    }
    if (!g) return MMREC_OK;
    const graph_tensor *gradient = graph_tensor_at(graph, g);
    if (gradient->kind != MMREC_TENSOR_INPUT || gradient->base) {
        MMREC_FAIL(error, MMREC_INTERNAL, "seed %d: a gradient must be an input of its own", number);
    }
    if (!mmrec_shape_equal(&graph_tensor_at(graph, t)->shape, &gradient->shape)) {
        MMREC_FAIL(error, MMREC_SHAPE, "seed %d: a gradient must have the shape of its tensor", number);
    }
    return MMREC_OK;
}

static mmrec_status check_arguments(const mmrec_graph *graph, const mmrec_seed *seeds, int seed_count,
                                    const mmrec_tensor *wanted, int wanted_count, mmrec_error *error) {
    if (graph->differentiated) MMREC_FAIL(error, MMREC_INTERNAL, "a graph can be differentiated once only");
    for (int i = 0; i < seed_count; i++) MMREC_TRY(check_seed(graph, &seeds[i], i, error));
    for (int i = 0; i < wanted_count; i++) {
        bool input = holds_reals(graph, wanted[i]) && graph_tensor_at(graph, wanted[i])->kind == MMREC_TENSOR_INPUT &&
                     !graph_tensor_at(graph, wanted[i])->base;
        if (!input) {
            MMREC_FAIL(error, MMREC_INTERNAL, "wanted gradient %d is not of an input of real numbers in this graph", i);
        }
    }
    return MMREC_OK;
}

/* Saved tensors that may be left out are made for all nodes before anything is counted by tensors, and forgotten where
 * no backward node turns out to read them: where no gradient arrives, and where the forward node is run again. */
static mmrec_status store_optional(mmrec_graph *graph, mmrec_error *error) {
    for (size_t n = 0; n < graph->node_count; n++) {
        graph_node *node = &graph->nodes[n];
        const mmrec_op_def *def = graph_op_def(graph, node->op);
        unsigned all = (1u << mmrec_arg_count(def->saved)) - 1u;
        if (node->sizes.stored == all) continue;
        node->sizes.stored = all;
        MMREC_TRY(mmrec_op_resolve(def, &node->sizes, error));
        if (!graph_store(graph, def, node)) break;
    }
    return mmrec_graph_status(graph, error);
}

static bool is_unread(const mmrec_graph *graph, const mmrec_op_def *def, const graph_node *node, int i) {
    bool optional = (def->saved[i].flags & MMREC_ARG_OPTIONAL) != 0;
    return optional && node->saved[i] && !graph_tensor_at(graph, node->saved[i])->recalled;
}

/* What a node needs of scratch may depend on what it stores. */
static mmrec_status forget_unread(mmrec_graph *graph, mmrec_error *error) {
    for (size_t n = 0; n < graph->node_count; n++) {
        graph_node *node = &graph->nodes[n];
        const mmrec_op_def *def = graph_op_def(graph, node->op);
        unsigned before = node->sizes.stored;
        for (int i = 0; i < mmrec_arg_count(def->saved) && node->pass == MMREC_FORWARD; i++) {
            if (!is_unread(graph, def, node, i)) continue;
            node->saved[i] = 0;
            node->sizes.stored &= ~(1u << i);
            memset(&node->sizes.saved[i], 0, sizeof node->sizes.saved[i]);
        }
        if (node->sizes.stored != before) MMREC_TRY(mmrec_op_resolve(def, &node->sizes, error));
    }
    return MMREC_OK;
}

static mmrec_status derive(derivation *d, const mmrec_seed *seeds, int seed_count, const mmrec_tensor *wanted,
                           int wanted_count, bool recompute) {
    mark_needs(d, wanted, wanted_count);
    count_uses(d, seeds, seed_count);
    int layer = d->graph->layer;
    d->graph->layer = -1;
    for (int i = 0; i < seed_count; i++) plant_seed(d, &seeds[i]);
    MMREC_TRY(reverse_all(d, recompute));
    zero_unreached(d, wanted, wanted_count);
    MMREC_TRY(mmrec_graph_status(d->graph, d->error));
    MMREC_TRY(forget_unread(d->graph, d->error));
    d->graph->layer = layer;
    d->graph->differentiated = true;
    return mmrec_graph_status(d->graph, d->error);
}

mmrec_status mmrec_graph_differentiate(mmrec_graph *graph, const mmrec_seed *seeds, int seed_count,
                                       const mmrec_tensor *wanted, int wanted_count, bool recompute,
                                       mmrec_error *error) {
    MMREC_TRY(mmrec_graph_status(graph, error));
    MMREC_TRY(check_arguments(graph, seeds, seed_count, wanted, wanted_count, error));
    MMREC_TRY(store_optional(graph, error));
    size_t n = graph->tensor_count + 1;
    size_t bytes = n * (3 * sizeof(bool) + sizeof(int) + sizeof(int64_t) + sizeof(mmrec_tensor));
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(graph->allocator, 1, bytes, MMREC_ALLOC_GRAPH, &memory, error));
    derivation d = {
        .graph = graph, .forward_nodes = graph->node_count, .forward_tensors = graph->tensor_count, .error = error};
    /* Widest type first, so that each part is aligned. */
    d.sliced = memory;
    d.direct_uses = (int *)(d.sliced + n);
    d.remap = (mmrec_tensor *)(d.direct_uses + n);
    d.needs = (bool *)(d.remap + n);
    d.written = d.needs + n;
    d.part_written = d.written + n;
    mmrec_status status = derive(&d, seeds, seed_count, wanted, wanted_count, recompute);
    mmrec_alloc(graph->allocator, memory, bytes, 0, MMREC_ALLOC_GRAPH);
    return status;
}
