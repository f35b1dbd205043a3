/* Where a step's time goes: by op and module, from traced steps. The trace is of an exec of its own, which shares the
 * parameters; the optimizer is timed by itself. What a step takes beside all of these is the last line. */
#include <stdio.h>
#include <string.h>

#include "compare_impl.h"

enum { TRACED_STEPS = 21 };
/* Large models must not make others wait: a step is traced no longer than this, but three times. */
static const double traced_box_s = 3;

/* Lines under way: by (layer, op, pass), with the time of each traced step. */
typedef struct tally {
    const compare_run *run;
    const compare_net *net;
    mmrec_exec *exec; /* traced */
    mmrec_compare_layer *lines;
    double *ns; /* [line][TRACED_STEPS] */
    double step_ns[TRACED_STEPS];
    int count, room, steps;
} tally;

/* ---- the lines ---- */

static int line_of(tally *t, const mmrec_node_info *node) {
    for (int i = 0; i < t->count; i++) {
        const mmrec_compare_layer *line = &t->lines[i];
        if (line->layer == node->layer && line->op == node->op && line->pass == node->pass) return i;
    }
    mmrec_compare_layer *line = &t->lines[t->count];
    const char *op = mmrec_op_get(node->op, MMREC_VARIANT_F64)->name;
    *line = (mmrec_compare_layer){.layer = node->layer, .op = node->op, .pass = node->pass};
    if (node->layer >= 0)
        snprintf(line->module, sizeof line->module, "layer %d: %s", node->layer, op);
    else
        snprintf(line->module, sizeof line->module, "%s", op);
    return t->count++;
}

static void add_work(mmrec_work *sum, mmrec_work work) {
    sum->flops += work.flops;
    sum->transcendentals += work.transcendentals;
    sum->bytes += work.bytes;
}

/* What a forward node makes and the backward half reads lies in the arena of saved values from that node on. */
static void add_saved(tally *t) {
    const mmrec_graph *graph = t->net->graph;
    for (int i = 0; i < mmrec_plan_entry_count(t->net->plan); i++) {
        const mmrec_plan_entry *entry = mmrec_plan_entry_at(t->net->plan, i);
        if (entry->arena != MMREC_ARENA_SAVED || !entry->tensor || entry->first >= mmrec_graph_node_count(graph))
            continue;
        if (mmrec_graph_tensor_info(graph, entry->tensor).kind != MMREC_TENSOR_VALUE) continue;
        mmrec_node_info node = mmrec_graph_node_info(graph, entry->first);
        if (node.phase == MMREC_PHASE_FORWARD) t->lines[line_of(t, &node)].saved_bytes += entry->bytes;
    }
}

static void list_lines(tally *t) {
    for (int node = 0; node < mmrec_graph_node_count(t->net->graph); node++) {
        mmrec_node_info info = mmrec_graph_node_info(t->net->graph, node);
        mmrec_compare_layer *line = &t->lines[line_of(t, &info)];
        const mmrec_op_def *def = mmrec_op_get(info.op, MMREC_VARIANT_F64);
        line->calls++;
        add_work(&line->work, mmrec_op_work(def, info.sizes, info.pass, info.storage));
    }
    add_saved(t);
}

/* ---- traced steps ---- */

static mmrec_status run_step(tally *t, double *optimizer_ns, double *step_ns, mmrec_error *error) {
    const mmrec_backend *backend = t->run->options->backend;
    MMREC_TRY(compare_net_feed(t->net, &t->run->task, t->exec, error));
    mmrec_exec_params_changed(t->exec);
    MMREC_TRY(device_meter_wait(backend, error));
    uint64_t start = mmrec_clock_ns();
    MMREC_TRY(mmrec_exec_run(t->exec, MMREC_PHASE_FORWARD, error));
    MMREC_TRY(mmrec_exec_run(t->exec, MMREC_PHASE_BACKWARD, error));
    uint64_t ran = mmrec_clock_ns();
    MMREC_TRY(mmrec_optimizer_queue(t->net->optimizer, error));
    MMREC_TRY(device_meter_wait(backend, error));
    *optimizer_ns = (double)(mmrec_clock_ns() - ran);
    *step_ns = (double)(mmrec_clock_ns() - start);
    return MMREC_OK;
}

static void take_trace(tally *t) {
    int count = 0;
    const mmrec_trace_record *trace = mmrec_exec_trace(t->exec, &count);
    for (int i = 0; i < count; i++) {
        mmrec_node_info node = mmrec_graph_node_info(t->net->graph, trace[i].node);
        t->ns[line_of(t, &node) * TRACED_STEPS + t->steps] += (double)trace[i].ns;
    }
}

/* The first step touches memory for the first time. */
static mmrec_status run_steps(tally *t, mmrec_error *error) {
    double optimizer = 0, step = 0, *last = t->ns + (size_t)t->count * TRACED_STEPS;
    uint64_t start = mmrec_clock_ns();
    MMREC_TRY(run_step(t, &optimizer, &step, error));
    while (t->steps < TRACED_STEPS && !mmrec_measure_interrupted()) {
        if (t->steps >= 3 && mmrec_clock_seconds_since(start) > traced_box_s) break;
        MMREC_TRY(run_step(t, &last[t->steps], &t->step_ns[t->steps], error));
        take_trace(t);
        t->steps++;
    }
    return MMREC_OK;
}

/* ---- what comes of it ---- */

/* Times that mean nothing stay 0. */
static void conclude(tally *t, mmrec_compare_row *row) {
    const mmrec_meter *meter = device_meter_of(&t->run->meter);
    bool timed = !(meter && meter->untimed);
    mmrec_compare_layer *optimizer = &t->lines[t->count], *rest = optimizer + 1;
    *optimizer = (mmrec_compare_layer){.module = "optimizer", .layer = -1, .calls = 1, .work = row->optimizer};
    *rest = (mmrec_compare_layer){.layer = -1};
    row->layers_step_ns = timed ? mmrec_stats_of(t->step_ns, t->steps).median : 0;
    rest->ns = row->layers_step_ns;
    for (int i = 0; i <= t->count && timed; i++) {
        t->lines[i].ns = mmrec_stats_of(t->ns + (size_t)i * TRACED_STEPS, t->steps).median;
        rest->ns -= t->lines[i].ns;
    }
    row->layer_count = t->count + 2;
}

/* The array keeps its room: layer_count is what it was allocated with only after this. */
static mmrec_status keep(const tally *t, mmrec_compare_row *row, mmrec_error *error) {
    void *memory = NULL;
    MMREC_TRY(compare_alloc(t->run->allocator, (size_t)row->layer_count, sizeof *row->layers, &memory, error));
    row->layers = memory;
    memcpy(memory, t->lines, (size_t)row->layer_count * sizeof *row->layers);
    return MMREC_OK;
}

static mmrec_status trace_row(tally *t, mmrec_compare_row *row, mmrec_error *error) {
    mmrec_exec_options options = {.params_from = t->net->exec, .trace = true};
    MMREC_TRY(mmrec_exec_create(t->run->allocator, t->run->options->backend, t->net->graph, t->net->plan, options,
                                &t->exec, error));
    list_lines(t);
    MMREC_TRY(run_steps(t, error));
    conclude(t, row);
    mmrec_status status = keep(t, row, error);
    if (status != MMREC_OK) row->layer_count = 0;
    return status;
}

/* At most as many lines as nodes, and two. */
static mmrec_status tally_row(tally *t, mmrec_compare_row *row, mmrec_error *error) {
    void *memory = NULL;
    mmrec_allocator *allocator = t->run->allocator;
    t->room = mmrec_graph_node_count(t->net->graph) + 2;
    MMREC_TRY(compare_alloc(allocator, (size_t)t->room, sizeof *t->lines, &memory, error));
    t->lines = memory;
    size_t times = (size_t)t->room * TRACED_STEPS;
    mmrec_status status = compare_alloc(allocator, times, sizeof *t->ns, &memory, error);
    if (status == MMREC_OK) {
        t->ns = memory;
        status = trace_row(t, row, error);
    }
    mmrec_exec_destroy(&t->exec);
    compare_release(allocator, t->ns, times, sizeof *t->ns);
    compare_release(allocator, t->lines, (size_t)t->room, sizeof *t->lines);
    return status;
}

/* A step that is one function has no ops to tell apart. */
mmrec_status compare_layers(compare_run *run, int row, mmrec_error *error) {
    if (run->options->entries[row].fused) return MMREC_OK;
    compare_recipe recipe = compare_recipe_of(run, row);
    compare_net net = {0};
    tally t = {.run = run, .net = &net};
    mmrec_status status = compare_net_create(run->allocator, &recipe, &net, error);
    if (status == MMREC_OK) status = compare_net_feed(&net, &run->task, net.exec, error);
    if (status == MMREC_OK) status = mmrec_exec_run(net.exec, MMREC_PHASE_FORWARD, error);
    if (status == MMREC_OK) status = mmrec_exec_run(net.exec, MMREC_PHASE_BACKWARD, error);
    if (status == MMREC_OK) status = tally_row(&t, &run->out->row[row], error);
    compare_net_free(&net);
    return status;
}
