/* Helpers of the models: parameters, single nodes, weighted sums. */
#include "build.h"

#include <math.h>
#include <stdio.h>

mmrec_initial mmrec_initial_constant(double value) {
    return (mmrec_initial){.kind = MMREC_INITIAL_CONSTANT, .mean = value};
}

mmrec_initial mmrec_initial_normal(double deviation) {
    return (mmrec_initial){.kind = MMREC_INITIAL_NORMAL, .spread = deviation};
}

mmrec_initial mmrec_initial_uniform(double bound) {
    return (mmrec_initial){.kind = MMREC_INITIAL_UNIFORM, .spread = bound};
}

mmrec_tensor mmrec_param(mmrec_graph *graph, const char *name, mmrec_shape shape, mmrec_initial initial) {
    mmrec_tensor param = mmrec_graph_param(graph, name, shape);
    mmrec_graph_initial(graph, param, initial);
    return param;
}

mmrec_affine mmrec_affine_drawn(mmrec_graph *graph, const char *name, int64_t out, int64_t in, mmrec_initial weight,
                                mmrec_initial bias) {
    char text[64];
    mmrec_affine map;
    snprintf(text, sizeof text, "%s.weight", name);
    map.weight = mmrec_param(graph, text, mmrec_shape2(out, in), weight);
    snprintf(text, sizeof text, "%s.bias", name);
    map.bias = mmrec_param(graph, text, mmrec_shape1(out), bias);
    return map;
}

mmrec_affine mmrec_affine_param(mmrec_graph *graph, const char *name, int64_t out, int64_t in) {
    return mmrec_affine_drawn(graph, name, out, in, mmrec_initial_normal(1 / sqrt((double)in)),
                              mmrec_initial_constant(0));
}

mmrec_tensor mmrec_affine_apply(mmrec_graph *graph, mmrec_affine map, mmrec_tensor x) {
    mmrec_node_spec spec = {.in = {x, map.weight, map.bias}};
    return mmrec_graph_add(graph, MMREC_OP_linear, spec);
}

mmrec_tensor mmrec_add1(mmrec_graph *graph, mmrec_op_id op, mmrec_tensor a) { return mmrec_add2(graph, op, a, 0); }

mmrec_tensor mmrec_add2(mmrec_graph *graph, mmrec_op_id op, mmrec_tensor a, mmrec_tensor b) {
    mmrec_node_spec spec = {.in = {a, b}};
    return mmrec_graph_add(graph, op, spec);
}

static mmrec_tensor add_combine(mmrec_graph *graph, const mmrec_term *terms, int count, mmrec_drop drop, bool precise) {
    mmrec_node_spec spec = {.attr_set = (1u << (MMREC_MAX_IN + 2)) - 1, .precise = precise};
    int used = 0;
    for (int i = 0; i < count; i++) {
        if (!terms[i].tensor) continue;
        spec.in[used] = terms[i].tensor;
        spec.attr[used++] = terms[i].factor;
    }
    spec.attr[MMREC_MAX_IN] = drop.p;
    spec.attr[MMREC_MAX_IN + 1] = (double)drop.stream;
    return mmrec_graph_add(graph, MMREC_OP_combine, spec);
}

mmrec_tensor mmrec_add_sum(mmrec_graph *graph, const mmrec_term *terms, int count) {
    mmrec_drop none = {0, 0};
    return add_combine(graph, terms, count, none, false);
}

mmrec_tensor mmrec_add_losses(mmrec_graph *graph, const mmrec_term *terms, int count) {
    mmrec_drop none = {0, 0};
    return add_combine(graph, terms, count, none, true);
}

mmrec_tensor mmrec_add_dropped_sum(mmrec_graph *graph, const mmrec_term *terms, int count, mmrec_drop drop) {
    return add_combine(graph, terms, count, drop, false);
}
