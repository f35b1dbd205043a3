/* What is known of a row without a clock: its parameters and their gradients at the initial values on the first batch,
 * the work of a step, and its memory by phase while it is alone. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compare_impl.h"

/* A gradient this far below the largest one, by its mean square, is what rounding leaves of a zero: sums of float terms
 * that cancel keep about 1e-7 of them. */
static const double rounding_share = 1e-6;

/* ---- memory ---- */

typedef struct walk {
    const compare_run *run;
    compare_net *net;
    mmrec_compare_memory *out;
    size_t before, most;
} walk;

static size_t live_bytes(const compare_run *run) {
    const mmrec_device *device = run->options->backend->device;
    size_t bytes = 0;
    if (!device) return run->allocator->total.live_bytes;
    for (int arena = 0; arena <= MMREC_ARENAS; arena++) bytes += device->allocated(arena).live_bytes;
    return bytes;
}

static void look(walk *w, size_t *phase) {
    size_t live = live_bytes(w->run);
    *phase = live > w->before ? live - w->before : 0;
    if (*phase > w->most) w->most = *phase;
}

/* On the host a phase's own coming and going is in the allocator's peak; on a device nothing comes and goes. */
static void conclude(walk *w) {
    const mmrec_alloc_count *host = &w->run->allocator->total;
    w->out->peak = w->run->options->backend->device ? w->most : host->peak_bytes - w->before;
    for (int arena = 0; arena < MMREC_ARENAS; arena++) {
        w->out->planned[arena] = compare_net_planned(w->net, (mmrec_arena)arena);
    }
}

static mmrec_status run_part(const walk *w, mmrec_compare_part part, mmrec_error *error) {
    MMREC_TRY(compare_net_queue(w->net, part, error));
    return device_meter_wait(w->run->options->backend, error);
}

/* One step; the optimizer's rate is 0, so the parameters keep their initial values. */
static mmrec_status make_step(walk *w, const compare_recipe *recipe, double *loss, mmrec_error *error) {
    const compare_run *run = w->run;
    MMREC_TRY(compare_net_create(run->allocator, recipe, w->net, error));
    MMREC_TRY(compare_net_feed(w->net, &run->task, w->net->exec, error));
    look(w, &w->out->created);
    MMREC_TRY(run_part(w, MMREC_PART_FORWARD, error));
    look(w, &w->out->forward);
    MMREC_TRY(compare_net_loss(w->net, loss, error));
    MMREC_TRY(run_part(w, MMREC_PART_BACKWARD, error));
    look(w, &w->out->backward);
    MMREC_TRY(run_part(w, MMREC_PART_OPTIMIZER, error));
    look(w, &w->out->step);
    conclude(w);
    return MMREC_OK;
}

/* ---- gradients ---- */

static bool ends_with(const char *name, const char *tail) {
    size_t length = strlen(name), size = strlen(tail);
    return length >= size && strcmp(name + length - size, tail) == 0;
}

/* A key's own bias moves all scores of a query alike, so its gradient is 0 whatever the data: a tensor of its own, or
 * the middle third of the packed one. */
static int64_t exempt_of(const char *name, int64_t count) {
    if (ends_with(name, "attention.k.bias")) return count;
    return ends_with(name, "attention.qkv.bias") ? count / 3 : 0;
}

static void take_stat(mmrec_compare_gradient *g, const double *values) {
    double squares = 0;
    for (int64_t i = 0; i < g->count; i++) {
        g->zeros += values[i] == 0;
        g->not_finite += !isfinite(values[i]);
        if (isfinite(values[i])) squares += values[i] * values[i];
    }
    g->norm = sqrt(squares);
}

static mmrec_status read_gradient(const compare_net *net, mmrec_tensor param, double *values, mmrec_compare_gradient *g,
                                  mmrec_error *error) {
    mmrec_tensor_info info = mmrec_graph_tensor_info(net->graph, param);
    snprintf(g->name, sizeof g->name, "%s", info.name);
    g->layer = info.layer;
    g->count = mmrec_shape_elements(&info.shape);
    g->exempt = exempt_of(info.name, g->count);
    g->flow = mmrec_graph_unreached(net->graph, param) ? MMREC_FLOW_MISSING : MMREC_FLOW_FLOWS;
    if (g->flow == MMREC_FLOW_MISSING) {
        g->zeros = g->count;
        return MMREC_OK;
    }
    MMREC_TRY(mmrec_exec_read(net->exec, mmrec_graph_gradient(net->graph, param), values, g->count, error));
    take_stat(g, values);
    return MMREC_OK;
}

static int count_params(const mmrec_graph *graph) {
    int count = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph); t++) {
        count += mmrec_graph_tensor_info(graph, t).kind == MMREC_TENSOR_PARAM;
    }
    return count;
}

static mmrec_status read_gradients(const compare_net *net, mmrec_compare_row *row, mmrec_error *error) {
    size_t largest = (size_t)mmrec_graph_largest_param(net->graph);
    void *values = NULL;
    mmrec_status status = MMREC_OK;
    int at = 0;
    MMREC_TRY(compare_alloc(net->allocator, largest, sizeof(double), &values, error));
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(net->graph) && status == MMREC_OK; t++) {
        if (mmrec_graph_tensor_info(net->graph, t).kind != MMREC_TENSOR_PARAM) continue;
        status = read_gradient(net, t, values, &row->gradients[at++], error);
    }
    compare_release(net->allocator, values, largest, sizeof(double));
    return status;
}

static double by_element(const mmrec_compare_gradient *g) { return g->norm / sqrt((double)g->count); }

/* Which tensors have nothing but zeros shows beside the largest of them. */
static void judge_gradients(mmrec_compare_row *row) {
    double largest = 0, squares = 0;
    row->trainable = row->parameters;
    for (int i = 0; i < row->gradient_count; i++) {
        largest = fmax(largest, by_element(&row->gradients[i]));
        squares += row->gradients[i].norm * row->gradients[i].norm;
    }
    row->gradient_norm = sqrt(squares);
    for (int i = 0; i < row->gradient_count; i++) {
        mmrec_compare_gradient *g = &row->gradients[i];
        bool missing = g->flow == MMREC_FLOW_MISSING, zero = by_element(g) <= rounding_share * largest;
        if (g->not_finite > 0)
            g->flow = MMREC_FLOW_NOT_FINITE;
        else if (!missing && zero)
            g->flow = MMREC_FLOW_ZERO;
        bool dead = missing || g->flow == MMREC_FLOW_ZERO;
        row->dead += dead ? g->count - g->exempt : 0;
        row->trainable -= missing ? g->count : 0;
        row->missing += missing;
        row->zero += g->flow == MMREC_FLOW_ZERO && g->exempt < g->count;
        row->not_finite += g->flow == MMREC_FLOW_NOT_FINITE;
    }
}

/* ---- sizes and work ---- */

static size_t stored_bytes(const mmrec_graph *graph) {
    size_t bytes = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        bytes += (size_t)mmrec_shape_elements(&info.shape) * mmrec_dtype_bytes(info.dtype);
    }
    return bytes;
}

static void describe(const compare_run *run, const compare_net *net, mmrec_compare_row *row) {
    const mmrec_compare_task *task = &run->options->task;
    row->parameters = mmrec_graph_param_count(net->graph);
    row->size_bytes = stored_bytes(net->graph);
    row->forward = compare_net_forward_work(net);
    row->backward = mmrec_graph_work(net->graph, MMREC_PHASE_BACKWARD);
    row->optimizer = mmrec_optimizer_work(net->graph, run->options->backend->real);
    row->tokens = task->batch * (task->kind == MMREC_COMPARE_LANGUAGE ? task->time : 1);
}

/* ---- all of it ---- */

static mmrec_status check_finite(const mmrec_compare_row *row, double loss, mmrec_error *error) {
    if (!isfinite(loss)) MMREC_FAIL(error, MMREC_MISMATCH, "the loss is not finite at the initial values");
    for (int i = 0; i < row->gradient_count; i++) {
        const mmrec_compare_gradient *g = &row->gradients[i];
        if (g->not_finite == 0) continue;
        MMREC_FAIL(error, MMREC_MISMATCH, "the gradient of \"%s\" is not finite at the initial values: %lld of %lld",
                   g->name, (long long)g->not_finite, (long long)g->count);
    }
    return MMREC_OK;
}

static mmrec_status look_at(walk *w, const compare_recipe *recipe, mmrec_compare_row *row, mmrec_error *error) {
    double loss = 0;
    void *memory = NULL;
    MMREC_TRY(make_step(w, recipe, &loss, error));
    describe(w->run, w->net, row);
    int count = count_params(w->net->graph);
    MMREC_TRY(compare_alloc(w->run->allocator, (size_t)count, sizeof *row->gradients, &memory, error));
    row->gradients = memory;
    row->gradient_count = count;
    MMREC_TRY_WHILE(read_gradients(w->net, row, error), error, "reading the gradients");
    judge_gradients(row);
    return check_finite(row, loss, error);
}

static walk begin_walk(const compare_run *run, compare_net *net, int row) {
    mmrec_allocator_reset_peak(run->allocator);
    return (walk){.run = run, .net = net, .out = &run->out->row[row].memory, .before = live_bytes(run)};
}

/* Memory of a step that is one function, in the place of its graph's. */
static mmrec_status follow_fused(const compare_run *run, int row, mmrec_error *error) {
    compare_recipe recipe = compare_recipe_of(run, row);
    compare_net net = {0};
    walk w = begin_walk(run, &net, row);
    mmrec_compare_memory *m = w.out;
    mmrec_status status = compare_net_create(run->allocator, &recipe, &net, error);
    if (status == MMREC_OK) status = compare_net_feed(&net, &run->task, NULL, error);
    look(&w, &m->created);
    if (status == MMREC_OK) status = run_part(&w, MMREC_PART_STEP, error);
    look(&w, &m->step);
    m->forward = m->backward = m->step;
    if (status == MMREC_OK) conclude(&w);
    compare_net_free(&net);
    return status;
}

mmrec_status compare_facts(compare_run *run, int row, mmrec_error *error) {
    compare_recipe recipe = compare_recipe_of(run, row);
    mmrec_compare_entry graph = *recipe.entry;
    compare_net net = {0};
    walk w = begin_walk(run, &net, row);
    graph.fused = false;
    recipe.entry = &graph;
    mmrec_status status = look_at(&w, &recipe, &run->out->row[row], error);
    compare_net_free(&net);
    if (status != MMREC_OK || !run->options->entries[row].fused) return status;
    return follow_fused(run, row, error);
}
