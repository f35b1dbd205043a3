#include "nsm_steps.h"

mmrec_tensor mmrec_steps_sum_end(mmrec_graph *graph, mmrec_steps_sum *sum) {
    mmrec_tensor all = mmrec_add_sum(graph, sum->term, sum->count);
    sum->term[0] = (mmrec_term){all, 1};
    sum->count = 1;
    return all;
}

void mmrec_steps_sum_add(mmrec_graph *graph, mmrec_steps_sum *sum, mmrec_tensor tensor, double factor) {
    if (sum->count == MMREC_MAX_IN) mmrec_steps_sum_end(graph, sum);
    sum->term[sum->count++] = (mmrec_term){tensor, factor};
}

/* The parts of a level side by side; one alone is copied, as it may be a view. */
static mmrec_tensor join_level(mmrec_graph *graph, mmrec_steps_join *join, int level) {
    mmrec_node_spec spec = {.attr_set = 0};
    for (int i = 0; i < join->count[level]; i++) spec.in[i] = join->part[level][i];
    mmrec_op_id op = join->count[level] == 1 ? MMREC_OP_combine : MMREC_OP_concat;
    join->count[level] = 0;
    return mmrec_graph_add(graph, op, spec);
}

void mmrec_steps_join_add(mmrec_graph *graph, mmrec_steps_join *join, mmrec_tensor tensor) {
    for (int level = 0; level < MMREC_JOIN_LEVELS; level++) {
        join->part[level][join->count[level]++] = tensor;
        if (join->count[level] < MMREC_MAX_IN) return;
        tensor = join_level(graph, join, level);
    }
    mmrec_graph_refuse(graph, MMREC_CONFIG, "more than %d steps cannot be joined", 1 << 3 * MMREC_JOIN_LEVELS);
}

mmrec_tensor mmrec_steps_join_end(mmrec_graph *graph, mmrec_steps_join *join) {
    mmrec_tensor later = 0; /* all that the levels below hold */
    for (int level = 0; level < MMREC_JOIN_LEVELS; level++) {
        if (later && join->count[level] > 0) join->part[level][join->count[level]++] = later;
        if (join->count[level] > 0) later = join_level(graph, join, level);
    }
    return later;
}
