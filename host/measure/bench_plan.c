/* The memory plan of a case without running it, and the largest batch that fits a budget. */
#include <stdio.h>
#include <string.h>

#include "bench_impl.h"

/* Above this the sizes of one axis end long before any memory does. */
static const int64_t batch_limit = (int64_t)1 << 40;

typedef struct planner {
    mmrec_allocator *allocator;
    const mmrec_bench_options *options;
    mmrec_bench_case input;
    bool hem;
    mmrec_graph *graph;
    mmrec_plan *plan;
} planner;

static void forget(planner *p) {
    mmrec_plan_destroy(&p->plan);
    mmrec_graph_destroy(&p->graph);
}

static mmrec_status make(planner *p, mmrec_error *error) {
    const mmrec_bench_options *options = p->options;
    mmrec_model_run run = {.batch = p->input.batch,
                           .time = p->input.time,
                           .hem = p->hem,
                           .loss = true,
                           .gradient = true,
                           .recompute = options->recompute};
    mmrec_plan_options plan_options = {.optimizer_slots = options->optimizer_slots};
    MMREC_TRY(mmrec_graph_create(p->allocator, mmrec_backend_dtype(options->backend, options->bf16),
                                 mmrec_backend_threads(options->backend, options->threads), &p->graph, error));
    MMREC_TRY(mmrec_model_build(MMREC_MODEL_mmrec, &p->input.model, &run, p->graph, error));
    return mmrec_plan_create(p->allocator, p->graph, plan_options, &p->plan, error);
}

/* ---- figures ---- */

/* The name of the parameter of which `tensor` is the gradient; "" where it is of none. */
static const char *gradient_of(const mmrec_graph *graph, mmrec_tensor tensor) {
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph); t++) {
        if (mmrec_graph_gradient(graph, t) == tensor) return mmrec_graph_tensor_info(graph, t).name;
    }
    return "";
}

static void name_entry(const planner *p, const mmrec_plan_entry *entry, mmrec_plan_item *item) {
    const char *name = "";
    if (entry->tensor) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(p->graph, entry->tensor);
        mmrec_shape_text(&info.shape, item->shape, sizeof item->shape);
        item->dtype = mmrec_dtype_name(info.dtype);
        name = info.name;
    }
    int node = entry->tensor ? entry->first : entry->node;
    if (name[0]) {
        snprintf(item->name, sizeof item->name, "%s", name);
    } else if (entry->arena == MMREC_ARENA_GRADS) {
        snprintf(item->name, sizeof item->name, "gradient of %s", gradient_of(p->graph, entry->tensor));
    } else if (node < 0) {
        snprintf(item->name, sizeof item->name, "optimizer state");
    } else {
        mmrec_node_info info = mmrec_graph_node_info(p->graph, node);
        char place[24] = "";
        if (info.layer >= 0) snprintf(place, sizeof place, ", block %d", info.layer);
        snprintf(item->name, sizeof item->name, "%s %s %s%s", entry->tensor ? "made by" : "scratch of",
                 mmrec_op_get(info.op, MMREC_VARIANT_F64)->name, info.pass == MMREC_FORWARD ? "forward" : "backward",
                 place);
    }
}

/* Keeps the list of the largest sorted, the first of equals first. */
static void keep_largest(const planner *p, const mmrec_plan_entry *entry, mmrec_plan_report *out) {
    int at = out->largest_count;
    while (at > 0 && out->largest[at - 1].bytes < entry->bytes) at--;
    if (at == MMREC_PLAN_LARGEST) return;
    if (out->largest_count < MMREC_PLAN_LARGEST) out->largest_count++;
    memmove(&out->largest[at + 1], &out->largest[at], (size_t)(out->largest_count - at - 1) * sizeof *out->largest);
    mmrec_plan_item item = {.dtype = "", .arena = entry->arena, .bytes = entry->bytes};
    name_entry(p, entry, &item);
    out->largest[at] = item;
}

static void describe(const planner *p, mmrec_plan_report *out) {
    for (int arena = 0; arena < MMREC_ARENAS; arena++) {
        out->arena_bytes[arena] = mmrec_plan_arena_bytes(p->plan, (mmrec_arena)arena);
    }
    for (int i = 0; i < mmrec_plan_entry_count(p->plan); i++) {
        const mmrec_plan_entry *entry = mmrec_plan_entry_at(p->plan, i);
        out->unshared_bytes[entry->arena] += entry->bytes;
        keep_largest(p, entry, out);
    }
    for (int node = 0; node < mmrec_graph_node_count(p->graph); node++) {
        out->nodes[mmrec_graph_node_info(p->graph, node).phase]++;
    }
    out->total_bytes = mmrec_plan_total_bytes(p->plan);
    out->parameters = mmrec_graph_param_count(p->graph);
    out->forward = mmrec_graph_work(p->graph, MMREC_PHASE_FORWARD);
    out->backward = mmrec_graph_work(p->graph, MMREC_PHASE_BACKWARD);
}

/* ---- the batch that fits ---- */

typedef struct search {
    planner *planner;
    size_t budget;
} search;

/* Whether a batch fits the budget. Sizes that no plan can hold do not fit; anything else that fails is an error. */
static mmrec_status fits(void *context, int64_t batch, bool *fit, size_t *bytes, mmrec_error *error) {
    const search *s = context;
    planner *p = s->planner;
    p->input.batch = batch;
    mmrec_error inner;
    mmrec_error_clear(&inner);
    mmrec_status status = make(p, &inner);
    *bytes = status == MMREC_OK ? mmrec_plan_total_bytes(p->plan) : 0;
    *fit = status == MMREC_OK && *bytes <= s->budget;
    forget(p);
    if (status == MMREC_OK || status == MMREC_SHAPE || status == MMREC_CONFIG) return MMREC_OK;
    if (error) *error = inner;
    return status;
}

/* `low` always fits, `high` never does. */
mmrec_status bench_largest_batch(bench_fits test, void *context, int64_t *batch, size_t *batch_bytes,
                                 mmrec_error *error) {
    int64_t low = 0, high = 1;
    size_t bytes = 0;
    bool fit = true;
    *batch_bytes = 0;
    while (high <= batch_limit) {
        MMREC_TRY(test(context, high, &fit, &bytes, error));
        if (!fit) break;
        low = high;
        *batch_bytes = bytes;
        high *= 2;
    }
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        MMREC_TRY(test(context, middle, &fit, &bytes, error));
        if (fit) *batch_bytes = bytes;
        *(fit ? &low : &high) = middle;
    }
    *batch = low;
    return MMREC_OK;
}

mmrec_status mmrec_bench_plan(mmrec_allocator *allocator, const mmrec_bench_case *input, bool hem,
                              const mmrec_bench_options *options, size_t budget_bytes, mmrec_plan_report *out,
                              mmrec_error *error) {
    memset(out, 0, sizeof *out);
    out->input = *input;
    out->hem = hem;
    out->budget_bytes = budget_bytes;
    planner p = {.allocator = allocator, .options = options, .input = *input, .hem = hem};
    mmrec_status status = make(&p, error);
    if (status == MMREC_OK) describe(&p, out);
    forget(&p);
    if (status != MMREC_OK || budget_bytes == 0) return status;
    search s = {&p, budget_bytes};
    MMREC_TRY_WHILE(bench_largest_batch(fits, &s, &out->batch_fit, &out->batch_fit_bytes, error), error,
                    "looking for the batch that fits");
    return MMREC_OK;
}
