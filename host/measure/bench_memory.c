/* Memory of a model by phase, and whether a case fits the device at all. */
#include <stdio.h>
#include <string.h>

#include "bench_impl.h"
#include "core/units.h"
#include "mmrec/optimizer.h"

const char *mmrec_memory_phase_name(mmrec_memory_phase phase) {
    static const char *const names[MMREC_MEMORY_PHASES] = {"before",   "create",    "warm-up", "forward",
                                                           "backward", "optimizer", "after"};
    return (unsigned)phase < MMREC_MEMORY_PHASES ? names[phase] : "?";
}

int64_t mmrec_memory_unaccounted(const mmrec_memory_point *before, const mmrec_memory_point *point) {
    int64_t used = (int64_t)point->device_used_bytes - (int64_t)before->device_used_bytes;
    return used - ((int64_t)point->allocated_bytes - (int64_t)before->allocated_bytes);
}

/* ---- by phase ---- */

typedef struct walk {
    const bench_runner *runner;
    const bench_recipe *recipe;
    const bench_inputs *inputs;
    bench_net net;
    mmrec_optimizer *optimizer;
    mmrec_memory_point *out;
    size_t allocated_before; /* what the host's allocator held: the checks' remains are not the model's */
    size_t allocated_last;   /* on the device, when the last phase ended */
} walk;

static void begin_phase(const walk *w) { mmrec_allocator_reset_peak(w->runner->allocator); }

static mmrec_status end_phase(walk *w, mmrec_memory_phase phase, mmrec_error *error) {
    const mmrec_device *device = w->recipe->backend->device;
    const mmrec_alloc_count *host = &w->runner->allocator->total;
    mmrec_memory_point *point = &w->out[phase];
    size_t free_bytes = 0, total_bytes = 0;
    point->taken = true;
    point->planned_bytes = w->net.plan ? mmrec_plan_total_bytes(w->net.plan) : 0;
    if (!device) {
        point->allocated_bytes = host->live_bytes - w->allocated_before;
        point->allocated_peak = host->peak_bytes - w->allocated_before;
        return MMREC_OK;
    }
    for (int arena = 0; arena <= MMREC_ARENAS; arena++) point->allocated_bytes += device->allocated(arena).live_bytes;
    /* Nothing comes and goes within a phase. */
    point->allocated_peak = point->allocated_bytes > w->allocated_last ? point->allocated_bytes : w->allocated_last;
    w->allocated_last = point->allocated_bytes;
    MMREC_TRY(device->memory(&free_bytes, &total_bytes, error));
    point->device_used_bytes = total_bytes - free_bytes;
    return MMREC_OK;
}

static mmrec_status create(walk *w, mmrec_error *error) {
    mmrec_allocator *allocator = w->runner->allocator;
    begin_phase(w);
    MMREC_TRY(bench_net_create(allocator, w->recipe, &w->net, error));
    if (w->recipe->optimizer_slots > 0) {
        mmrec_optimizer_config config = mmrec_optimizer_config_default();
        MMREC_TRY(mmrec_optimizer_create(allocator, w->net.exec, &config, &w->optimizer, error));
    }
    MMREC_TRY(bench_net_feed(&w->net, w->net.exec, w->inputs, error));
    return end_phase(w, MMREC_MEMORY_CREATE, error);
}

static mmrec_status run_phase(walk *w, mmrec_phase phase, mmrec_memory_phase as, mmrec_error *error) {
    begin_phase(w);
    MMREC_TRY(mmrec_exec_run(w->net.exec, phase, error));
    return end_phase(w, as, error);
}

/* On a device the first runs load code and record graphs; on the host nothing is left for a second one to find. */
static mmrec_status warm_up(walk *w, mmrec_error *error) {
    int runs = w->recipe->backend->device ? 2 : 1;
    begin_phase(w);
    for (int i = 0; i < runs; i++) {
        MMREC_TRY(mmrec_exec_run(w->net.exec, MMREC_PHASE_FORWARD, error));
        if (runs > 1) MMREC_TRY(mmrec_exec_run(w->net.exec, MMREC_PHASE_BACKWARD, error));
    }
    return end_phase(w, MMREC_MEMORY_WARM_UP, error);
}

static mmrec_status step(walk *w, mmrec_error *error) {
    mmrec_optimizer_report report;
    MMREC_TRY(warm_up(w, error));
    MMREC_TRY(run_phase(w, MMREC_PHASE_FORWARD, MMREC_MEMORY_FORWARD, error));
    MMREC_TRY(run_phase(w, MMREC_PHASE_BACKWARD, MMREC_MEMORY_BACKWARD, error));
    if (!w->optimizer) return MMREC_OK;
    begin_phase(w);
    MMREC_TRY(mmrec_optimizer_step(w->optimizer, 0, &report, error));
    return end_phase(w, MMREC_MEMORY_OPTIMIZER, error);
}

mmrec_status bench_memory(const bench_runner *runner, const bench_recipe *recipe, const bench_inputs *inputs,
                          mmrec_memory_point out[MMREC_MEMORY_PHASES], mmrec_error *error) {
    walk w = {.runner = runner, .recipe = recipe, .inputs = inputs, .out = out};
    memset(out, 0, MMREC_MEMORY_PHASES * sizeof *out);
    w.allocated_before = runner->allocator->total.live_bytes;
    begin_phase(&w);
    mmrec_status status = end_phase(&w, MMREC_MEMORY_BEFORE, error);
    if (status == MMREC_OK) status = create(&w, error);
    if (status == MMREC_OK) status = step(&w, error);
    begin_phase(&w);
    mmrec_optimizer_destroy(&w.optimizer);
    bench_net_free(&w.net);
    return status == MMREC_OK ? end_phase(&w, MMREC_MEMORY_AFTER, error) : status;
}

/* ---- does it fit? ---- */

/* What the nets of a case need together: each side has one with gradients and one without, and one side at a time has a
 * third with gradients, whose nodes are traced. They share the parameters of the first. */
typedef enum need { OWN, INFERENCE, TRACED } need;

typedef struct room {
    const bench_runner *runner;
    const mmrec_bench_case_result *result;
    size_t free_bytes, needed[MMREC_ARENAS];
} room;

static mmrec_status add_plan(room *r, const mmrec_bench_case *input, bool hem, need what, mmrec_error *error) {
    const mmrec_bench_options *options = r->runner->options;
    bool gradient = what != INFERENCE;
    mmrec_model_run run = {.batch = input->batch,
                           .time = input->time,
                           .hem = hem,
                           .loss = gradient,
                           .gradient = gradient,
                           .recompute = gradient && options->recompute};
    mmrec_plan_options plan_options = {.optimizer_slots = gradient ? options->optimizer_slots : 0};
    mmrec_graph *graph = NULL;
    mmrec_plan *plan = NULL;
    mmrec_allocator *allocator = r->runner->allocator;
    mmrec_status status = mmrec_graph_create(allocator, mmrec_backend_dtype(options->backend, options->bf16),
                                             mmrec_backend_threads(options->backend, options->threads), &graph, error);
    if (status == MMREC_OK) status = mmrec_model_build(MMREC_MODEL_mmrec, &input->model, &run, graph, error);
    if (status == MMREC_OK) status = mmrec_plan_create(allocator, graph, plan_options, &plan, error);
    for (int arena = 0; arena < MMREC_ARENAS && status == MMREC_OK; arena++) {
        if (what == OWN || arena != MMREC_ARENA_PARAMS)
            r->needed[arena] += mmrec_plan_arena_bytes(plan, (mmrec_arena)arena);
    }
    mmrec_plan_destroy(&plan);
    mmrec_graph_destroy(&graph);
    return status;
}

static mmrec_status add_sides(room *r, int64_t batch, size_t *bytes, mmrec_error *error) {
    mmrec_bench_case input = r->result->input;
    input.batch = batch;
    memset(r->needed, 0, sizeof r->needed);
    for (int side = 0; side < BENCH_SIDES; side++) {
        const mmrec_bench_side *s = &r->result->side[side];
        if (!s->present) continue;
        MMREC_TRY(add_plan(r, &input, s->hem, OWN, error));
        MMREC_TRY(add_plan(r, &input, s->hem, INFERENCE, error));
    }
    MMREC_TRY(add_plan(r, &input, r->result->side[1].present && r->result->side[1].hem, TRACED, error));
    *bytes = 0;
    for (int arena = 0; arena < MMREC_ARENAS; arena++) *bytes += r->needed[arena];
    return MMREC_OK;
}

/* Sizes that no plan can hold do not fit; anything else that fails is an error. */
static mmrec_status fits(void *context, int64_t batch, bool *fit, size_t *bytes, mmrec_error *error) {
    room *r = context;
    mmrec_error inner;
    mmrec_error_clear(&inner);
    mmrec_status status = add_sides(r, batch, bytes, &inner);
    *fit = status == MMREC_OK && *bytes <= r->free_bytes;
    if (status == MMREC_OK || status == MMREC_SHAPE || status == MMREC_CONFIG) return MMREC_OK;
    if (error) *error = inner;
    return status;
}

/* "parameters 1.50 GiB, gradients ..." of the arenas that need something. */
static void list_needed(const size_t needed[MMREC_ARENAS], char *text, size_t size) {
    size_t used = 0;
    char bytes[MMREC_UNITS_TEXT];
    text[0] = '\0';
    for (int arena = 0; arena < MMREC_ARENAS; arena++) {
        if (needed[arena] == 0 || used >= size) continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s %s", used ? ", " : "",
                                 mmrec_arena_name((mmrec_arena)arena),
                                 mmrec_units_bytes_text((double)needed[arena], bytes));
    }
}

mmrec_status bench_room(const bench_runner *runner, const mmrec_bench_case_result *result, mmrec_error *error) {
    const mmrec_device *device = runner->options->backend->device;
    room r = {.runner = runner, .result = result};
    size_t needed = 0, total = 0, fit_bytes = 0;
    int64_t batch = 0;
    if (!device) return MMREC_OK;
    MMREC_TRY(device->memory(&r.free_bytes, &total, error));
    MMREC_TRY(add_sides(&r, result->input.batch, &needed, error));
    if (needed <= r.free_bytes) return MMREC_OK;
    char parts[320], all[MMREC_UNITS_TEXT], there[MMREC_UNITS_TEXT], advice[120];
    list_needed(r.needed, parts, sizeof parts);
    MMREC_TRY_WHILE(bench_largest_batch(fits, &r, &batch, &fit_bytes, error), error, "looking for the batch that fits");
    if (batch > 0)
        snprintf(advice, sizeof advice, "the largest batch that fits is %lld", (long long)batch);
    else
        snprintf(advice, sizeof advice, "not even batch 1 fits");
    MMREC_FAIL(error, MMREC_NO_MEMORY, "the case needs %s on the device (%s) and %s are free; %s",
               mmrec_units_bytes_text((double)needed, all), parts, mmrec_units_bytes_text((double)r.free_bytes, there),
               advice);
}
