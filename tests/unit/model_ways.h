/* One model run in two ways: everything that both name must be the same. */
#ifndef MODEL_WAYS_H
#define MODEL_WAYS_H

#include "model_rig.h"

/* A tensor of both rigs compared; returns the larger of the two errors. */
static inline double difference(rig *a, mmrec_tensor in_a, rig *b, mmrec_tensor in_b) {
    static double left[MAX_VALUES], right[MAX_VALUES];
    mmrec_error error = {0};
    assert_true(in_a && in_b);
    mmrec_shape shape = mmrec_graph_tensor_info(a->graph, in_a).shape;
    int64_t count = mmrec_shape_elements(&shape);
    assert_true(count <= MAX_VALUES);
    must(mmrec_exec_read(a->exec, in_a, left, count, &error), &error);
    must(mmrec_exec_read(b->exec, in_b, right, count, &error), &error);
    mmrec_difference d = mmrec_compare(left, right, count);
    return d.max_rel > d.l2_rel ? d.max_rel : d.l2_rel;
}

/* Every named result and every gradient of b equals that of a within `tolerance`; returns how many were compared. */
static inline int assert_same(rig *a, rig *b, double tolerance) {
    int compared = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(a->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(a->graph, t);
        if (!info.name[0] || info.kind == MMREC_TENSOR_STACK) continue;
        mmrec_tensor other = mmrec_graph_find(b->graph, info.name);
        mmrec_tensor gradient = mmrec_graph_gradient(a->graph, t);
        double d = info.kind == MMREC_TENSOR_VALUE ? difference(a, t, b, other) : 0;
        if (!(d <= tolerance)) fail_msg("%s differs by %g, allowed %g", info.name, d, tolerance);
        bool derived = info.kind == MMREC_TENSOR_PARAM || (info.kind == MMREC_TENSOR_INPUT && gradient);
        if (derived) d = difference(a, gradient, b, mmrec_graph_gradient(b->graph, other));
        if (!(d <= tolerance)) fail_msg("gradient of %s differs by %g, allowed %g", info.name, d, tolerance);
        compared += derived || info.kind == MMREC_TENSOR_VALUE;
    }
    return compared;
}

static inline int count_nodes(const rig *r, mmrec_op_id op, mmrec_phase phase, int64_t columns) {
    int found = 0;
    for (int i = 0; i < mmrec_graph_node_count(r->graph); i++) {
        mmrec_node_info info = mmrec_graph_node_info(r->graph, i);
        bool wide = columns == 0 || mmrec_shape_columns(&info.sizes->out[0]) == columns;
        found += info.op == op && info.phase == phase && info.pass == MMREC_FORWARD && wide;
    }
    return found;
}

/* Options that exercise every node, by number. */
static inline mmrec_model_config variant(int i) {
    mmrec_model_config c = small_config();
    c.pe = i & 1 ? 7 : 0;
    c.dpg = i & 2 ? 3 : 0;
    c.uboo = (mmrec_uboo)(i % 3);
    c.level = i % 3 == 1 ? 0 : 1;
    c.dropout = i & 4 ? 0.3 : 0;
    c.layers = 3;
    return c;
}

/* Runs two ways of the same model and compares everything they name. */
static inline void compare_ways(mmrec_model_kind kind, mmrec_model_run one, mmrec_model_run two, double tolerance) {
    for (int i = 0; i < 8; i++) {
        mmrec_model_config c = variant(i);
        mmrec_error error = {0};
        rig a, b;
        rig_start(&a, kind, &c, &one, NULL);
        rig_start(&b, kind, &c, &two, NULL);
        must(rig_step(&a, true, &error), &error);
        must(rig_step(&b, true, &error), &error);
        /* block: 28 parameters at least, x and h0, 6 results */
        assert_true(assert_same(&a, &b, tolerance) >= 24);
        rig_end(&a);
        rig_end(&b);
    }
}

#endif
