/* Which op broke a step: its micro-batches again, with every node's results looked at.
 *
 * The graph, inputs, state, parameters and draws are those of the step, so the values are too. This costs a second set
 * of gradients and activations while it runs, and allocates: it happens only where a step is skipped. */
#include <stdio.h>

#include "trainer_impl.h"

/* The graph is the trainer's; the plan and the exec are made here. */
typedef struct replay {
    mmrec_trainer *trainer;
    train_net net;
    int64_t first, count;
    char *text;
    bool found;
} replay;

static void name_node(replay *r, const mmrec_trace_record *record) {
    const char *op = mmrec_op_get(record->op, r->trainer->backend->variant)->name;
    const char *pass = record->pass == MMREC_FORWARD ? "forward" : "backward";
    r->found = true;
    if (record->layer < 0)
        snprintf(r->text, MMREC_CULPRIT, "%s %s", op, pass);
    else
        snprintf(r->text, MMREC_CULPRIT, "%s %s, layer %d", op, pass, record->layer);
}

/* The first node of a phase whose results are not finite. */
static void look(replay *r, mmrec_phase phase) {
    int count = 0;
    const mmrec_trace_record *trace = mmrec_exec_trace(r->net.exec, &count);
    for (int n = 0; n < count && !r->found; n++) {
        if (mmrec_graph_node_info(r->net.graph, n).phase == phase && !trace[n].finite) name_node(r, &trace[n]);
    }
}

static mmrec_status run_phases(replay *r, mmrec_error *error) {
    MMREC_TRY(mmrec_exec_run(r->net.exec, MMREC_PHASE_FORWARD, error)); /* and REFRESH before it */
    look(r, MMREC_PHASE_REFRESH);
    look(r, MMREC_PHASE_FORWARD);
    if (r->found) return MMREC_OK;
    MMREC_TRY(mmrec_exec_run(r->net.exec, MMREC_PHASE_BACKWARD, error));
    look(r, MMREC_PHASE_BACKWARD);
    return MMREC_OK;
}

/* Micro-batch `index` of the step. */
static mmrec_status run_micro(replay *r, int64_t index, mmrec_error *error) {
    mmrec_trainer *t = r->trainer;
    int64_t number = t->totals.micro_batches - t->step.done + index;
    mmrec_data_batch(t->data, MMREC_SPLIT_TRAIN, number, t->batch.ids, t->batch.targets, NULL);
    const train_carry *state = train_state_before(t, index, mmrec_data_starts(t->data, MMREC_SPLIT_TRAIN, number));
    mmrec_exec_seed(r->net.exec, train_seed(t, number));
    MMREC_TRY(train_feed(t, &r->net, t->batch.ids, t->batch.targets, state, error));
    MMREC_TRY(run_phases(r, error));
    if (r->found || !t->config.stream || r->count == 1) return MMREC_OK;
    return train_state_take(t, &r->net, &t->carry[TRAIN_WITHIN], error);
}

static mmrec_status prepare(replay *r, mmrec_error *error) {
    mmrec_trainer *t = r->trainer;
    mmrec_plan_options plan = {0};
    mmrec_exec_options options = {.params_from = t->net.exec, .check_finite = true};
    MMREC_TRY(train_need_batch(t, error));
    MMREC_TRY(mmrec_plan_create(t->allocator, t->net.graph, plan, &r->net.plan, error));
    r->net.graph = t->net.graph;
    MMREC_TRY(mmrec_exec_create(t->allocator, t->backend, r->net.graph, r->net.plan, options, &r->net.exec, error));
    return train_net_wire(t, &r->net, error);
}

static mmrec_status run_all(replay *r, mmrec_error *error) {
    MMREC_TRY(prepare(r, error));
    for (int64_t i = 0; i < r->count && !r->found; i++) MMREC_TRY(run_micro(r, r->first + i, error));
    return MMREC_OK;
}

void train_name_culprit(mmrec_trainer *t, int64_t first, int64_t count, const char *otherwise,
                        char text[MMREC_CULPRIT]) {
    replay r = {.trainer = t, .first = first, .count = count, .text = text};
    mmrec_error error = {0};
    snprintf(text, MMREC_CULPRIT, "%s", otherwise);
    if (run_all(&r, &error) != MMREC_OK) {
        snprintf(text, MMREC_CULPRIT, "an op that could not be found: %.80s", error.message);
    }
    r.net.graph = NULL; /* the trainer's */
    train_net_destroy(t, &r.net);
}
