/* Adding nodes: inputs checked and brought to the type the op wants, sizes resolved by the op, outputs and saved
 * tensors made. */
#include <string.h>

#include "graph_impl.h"

const mmrec_op_def *graph_op_def(const mmrec_graph *graph, mmrec_op_id op) {
    return mmrec_op_get(op, graph->real == MMREC_F64 ? MMREC_VARIANT_F64 : MMREC_VARIANT_F32);
}

bool graph_push_node(mmrec_graph *graph, const graph_node *node) {
    if (graph->error.code != MMREC_OK) return false;
    void *array = graph->nodes;
    if (mmrec_alloc_grow(graph->allocator, &array, &graph->node_capacity, graph->node_count + 1, sizeof(graph_node),
                         MMREC_ALLOC_GRAPH, &graph->error) != MMREC_OK) {
        return false;
    }
    graph->nodes = array;
    graph->nodes[graph->node_count++] = *node;
    return true;
}

/* Does it follow from parameters alone? A REFRESH node runs when they changed, so it can read nothing else. */
static bool is_settled(const mmrec_graph *graph, mmrec_tensor tensor) {
    const graph_tensor *storage = graph_tensor_at(graph, graph_storage(graph, tensor));
    return storage->kind == MMREC_TENSOR_PARAM || storage->kind == MMREC_TENSOR_STACK || storage->refreshed;
}

static bool check_input(mmrec_graph *graph, const mmrec_op_def *def, int i, mmrec_tensor tensor) {
    if (tensor < 0 || (size_t)tensor > graph->tensor_count) {
        mmrec_graph_refuse(graph, MMREC_INTERNAL, "%s: input %s is tensor %d, which is not in this graph", def->name,
                           def->in[i].name, tensor);
        return false;
    }
    bool ids = (def->in[i].flags & MMREC_ARG_IDS) != 0;
    if ((graph_tensor_at(graph, tensor)->dtype == MMREC_I32) != ids) {
        mmrec_graph_refuse(graph, MMREC_SHAPE, "%s: input %s must hold %s", def->name, def->in[i].name,
                           ids ? "ids (i32)" : "real numbers");
        return false;
    }
    if (graph->phase == MMREC_PHASE_REFRESH && !is_settled(graph, tensor)) {
        mmrec_graph_refuse(graph, MMREC_INTERNAL,
                           "%s in the refresh phase reads %s, which does not follow from "
                           "parameters alone",
                           def->name, def->in[i].name);
        return false;
    }
    return true;
}

static mmrec_tensor add_node(mmrec_graph *graph, mmrec_op_id op, const mmrec_node_spec *spec, mmrec_dtype storage);

/* The tensor in the wanted type: itself, or its copy, made when first asked for. */
static mmrec_tensor in_type(mmrec_graph *graph, mmrec_tensor tensor, mmrec_dtype wanted) {
    const graph_tensor *t = graph_tensor_at(graph, tensor);
    if (t->dtype == wanted || t->copy) return t->dtype == wanted ? tensor : t->copy;
    mmrec_phase phase = graph->phase;
    bool settled = is_settled(graph, tensor);
    mmrec_node_spec spec = {.in = {tensor}};
    if (settled) graph->phase = MMREC_PHASE_REFRESH;
    mmrec_tensor copy = add_node(graph, wanted == MMREC_BF16 ? MMREC_OP_narrow : MMREC_OP_widen, &spec, MMREC_BF16);
    graph->phase = phase;
    if (!copy) return 0;
    graph_tensor_at(graph, tensor)->copy = copy;
    if (settled) graph_tensor_at(graph, copy)->source = tensor;
    return copy;
}

static bool gather_inputs(mmrec_graph *graph, const mmrec_op_def *def, const mmrec_node_spec *spec, graph_node *node) {
    int count = mmrec_arg_count(def->in);
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        mmrec_tensor tensor = spec->in[i];
        if (!tensor) continue;
        if (i >= count) {
            mmrec_graph_refuse(graph, MMREC_INTERNAL, "%s has %d inputs, got one more", def->name, count);
            return false;
        }
        if (!check_input(graph, def, i, tensor)) return false;
        tensor = in_type(graph, tensor, mmrec_arg_dtype(&def->in[i], node->storage));
        if (!tensor) return false;
        node->in[i] = tensor;
        node->sizes.in[i] = graph_tensor_at(graph, tensor)->shape;
        node->sizes.given |= 1u << i;
    }
    return true;
}

static mmrec_tensor make_value(mmrec_graph *graph, const graph_node *node, const mmrec_arg *arg, mmrec_shape shape) {
    mmrec_tensor value = graph_new_tensor(graph, MMREC_TENSOR_VALUE, mmrec_arg_dtype(arg, node->storage), shape);
    if (value) graph_tensor_at(graph, value)->refreshed = node->phase == MMREC_PHASE_REFRESH;
    return value;
}

bool graph_store(mmrec_graph *graph, const mmrec_op_def *def, graph_node *node) {
    for (int i = 0; i < mmrec_arg_count(def->saved); i++) {
        if (node->saved[i] || ((node->sizes.stored >> i) & 1u) == 0) continue;
        node->saved[i] = make_value(graph, node, &def->saved[i], node->sizes.saved[i]);
        if (!node->saved[i]) return false;
        graph_tensor_at(graph, node->saved[i])->layer = node->layer;
    }
    return true;
}

/* All that a node may write without making it: a part of a stack, when the parameters changed. */
static bool check_into(mmrec_graph *graph, const mmrec_op_def *def, int i, mmrec_tensor into) {
    bool known = into > 0 && (size_t)into <= graph->tensor_count;
    const graph_tensor *tensor = known ? graph_tensor_at(graph, into) : NULL;
    if (known && tensor->base && tensor->kind == MMREC_TENSOR_VALUE && graph->phase == MMREC_PHASE_REFRESH &&
        graph_tensor_at(graph, tensor->base)->kind == MMREC_TENSOR_STACK) {
        if (!tensor->copy && !graph_tensor_at(graph, tensor->base)->copy) return true;
        mmrec_graph_refuse(graph, MMREC_INTERNAL, "%s: output %s would be written after its bf16 copy was made",
                           def->name, def->out[i].name);
        return false;
    }
    mmrec_graph_refuse(graph, MMREC_INTERNAL,
                       "%s: output %s can be written into a value of a stack in the refresh phase", def->name,
                       def->out[i].name);
    return false;
}

static bool place_output(mmrec_graph *graph, const mmrec_op_def *def, graph_node *node, int i, mmrec_tensor into) {
    if (!into) {
        node->out[i] = make_value(graph, node, &def->out[i], node->sizes.out[i]);
        return node->out[i] != 0;
    }
    if (!check_into(graph, def, i, into)) return false;
    if (!mmrec_shape_equal(&graph_tensor_at(graph, into)->shape, &node->sizes.out[i])) {
        char wanted[96], got[96];
        mmrec_graph_refuse(graph, MMREC_SHAPE, "%s: output %s has shape %s but is to be written into %s", def->name,
                           def->out[i].name, mmrec_shape_text(&node->sizes.out[i], wanted, sizeof wanted),
                           mmrec_shape_text(&graph_tensor_at(graph, into)->shape, got, sizeof got));
        return false;
    }
    node->out[i] = into;
    return true;
}

static bool place_outputs(mmrec_graph *graph, const mmrec_op_def *def, const mmrec_node_spec *spec, graph_node *node) {
    for (int i = 0; i < mmrec_arg_count(def->out); i++) {
        if (((node->sizes.made >> i) & 1u) == 0) continue;
        if (!place_output(graph, def, node, i, spec->into[i])) return false;
    }
    return graph_store(graph, def, node);
}

static mmrec_tensor add_node(mmrec_graph *graph, mmrec_op_id op, const mmrec_node_spec *spec, mmrec_dtype storage) {
    const mmrec_op_def *def = graph_op_def(graph, op);
    graph_node node;
    memset(&node, 0, sizeof node);
    node.op = op;
    node.pass = MMREC_FORWARD;
    node.phase = graph->phase;
    node.layer = graph->layer;
    node.storage = storage;
    mmrec_op_sizes_init(def, graph->threads, &node.sizes);
    node.sizes.made &= ~spec->skip;
    /* What may be left out is stored when differentiation asks for it. */
    for (int i = 0; i < mmrec_arg_count(def->saved); i++) {
        if (def->saved[i].flags & MMREC_ARG_OPTIONAL) node.sizes.stored &= ~(1u << i);
    }
    for (int i = 0; i < MMREC_MAX_ATTR; i++) {
        if ((spec->attr_set >> i) & 1u) node.sizes.attr[i] = spec->attr[i];
    }
    if (!gather_inputs(graph, def, spec, &node)) return 0;
    if (mmrec_op_resolve(def, &node.sizes, &graph->error) != MMREC_OK) {
        if (graph->prefix[0]) mmrec_error_frame(&graph->error, "adding %s in %s", def->name, graph->prefix);
        return 0;
    }
    if (!place_outputs(graph, def, spec, &node) || !graph_push_node(graph, &node)) return 0;
    return node.out[0];
}

mmrec_tensor mmrec_graph_add(mmrec_graph *graph, mmrec_op_id op, mmrec_node_spec spec) {
    if (graph->error.code != MMREC_OK) return 0;
    const mmrec_op_def *def = graph_op_def(graph, op);
    if (!def || graph->differentiated) {
        mmrec_graph_refuse(graph, MMREC_INTERNAL, def ? "%s added after differentiation" : "no such op: %s",
                           def ? def->name : "none");
        return 0;
    }
    /* What follows from parameters is computed as they are, and rounded once, when a step reads it. */
    bool precise = spec.precise || graph->phase == MMREC_PHASE_REFRESH;
    return add_node(graph, op, &spec, precise ? graph->real : graph->storage);
}

mmrec_tensor mmrec_graph_result(const mmrec_graph *graph, int i) {
    if (graph->error.code != MMREC_OK || !graph->node_count || i < 0 || i >= MMREC_MAX_OUT) return 0;
    return graph->nodes[graph->node_count - 1].out[i];
}

mmrec_tensor mmrec_graph_saved(const mmrec_graph *graph, int i) {
    if (graph->error.code != MMREC_OK || !graph->node_count || i < 0 || i >= MMREC_MAX_SAVED) return 0;
    return graph->nodes[graph->node_count - 1].saved[i];
}
