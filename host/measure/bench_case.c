/* One case: check, then time every kind, both sides in alternation where both are wanted. */
#include <math.h>
#include <string.h>

#include "bench_impl.h"
#include "mmrec/optimizer.h"

enum { TRACED_RUNS = 3 };
/* Traced runs end early where they take long: the whole of a default run must stay under a minute. */
static const double traced_box_s = 0.5;

/* A net on one side, for one kind. */
typedef struct subject {
    const mmrec_backend *backend;
    const bench_net *net;
    mmrec_exec *exec; /* of the net, or a traced one */
    const bench_inputs *inputs;
    mmrec_optimizer *optimizer; /* of the exec */
    mmrec_measure_kind kind;
} subject;

/* A case under way; sides that are absent stay empty. */
typedef struct case_run {
    bench_runner *runner;
    mmrec_bench_case_result *result;
    bench_inputs inputs;
    bench_net net[BENCH_SIDES], inference[BENCH_SIDES]; /* net: with gradient; inference: sharing its parameters */
    mmrec_optimizer *optimizer[BENCH_SIDES];
} case_run;

static const char *const kind_names[MMREC_MEASURE_KINDS] = {"block forward", "block backward", "model forward",
                                                            "model forward + backward", "optimizer step"};

const char *mmrec_measure_kind_name(mmrec_measure_kind kind) {
    return (unsigned)kind < MMREC_MEASURE_KINDS ? kind_names[kind] : "?";
}

bool mmrec_measure_wanted(const mmrec_bench_options *options, mmrec_measure_kind kind) {
    return kind != MMREC_MEASURE_OPTIMIZER || options->optimizer_slots > 0;
}

/* Which phases a kind runs. A training step has new parameters, so whatever is derived from them is part of it. */
static bool kind_runs(mmrec_measure_kind kind, mmrec_phase phase) {
    if (kind == MMREC_MEASURE_MODEL_FORWARD_BACKWARD) return true;
    if (kind == MMREC_MEASURE_OPTIMIZER) return false;
    return phase == (kind == MMREC_MEASURE_BLOCK_BACKWARD ? MMREC_PHASE_BACKWARD : MMREC_PHASE_FORWARD);
}

/* ---- one run of a subject ---- */

/* A backward phase destroys what its forward saved, so each needs its own, untimed. The optimizer finds the gradients
 * of the last step. */
static mmrec_status prepare(void *context, mmrec_error *error) {
    const subject *s = context;
    if (s->kind == MMREC_MEASURE_OPTIMIZER) return MMREC_OK;
    MMREC_TRY(bench_net_feed(s->net, s->exec, s->inputs, error));
    if (s->kind == MMREC_MEASURE_MODEL_FORWARD_BACKWARD) mmrec_exec_params_changed(s->exec);
    return s->kind == MMREC_MEASURE_BLOCK_BACKWARD ? mmrec_exec_run(s->exec, MMREC_PHASE_FORWARD, error) : MMREC_OK;
}

/* On a device the work is only queued: whoever times it waits. */
static mmrec_status run(void *context, mmrec_error *error) {
    const subject *s = context;
    if (s->kind == MMREC_MEASURE_OPTIMIZER) return mmrec_optimizer_queue(s->optimizer, error);
    if (kind_runs(s->kind, MMREC_PHASE_FORWARD)) MMREC_TRY(mmrec_exec_queue(s->exec, MMREC_PHASE_FORWARD, error));
    return kind_runs(s->kind, MMREC_PHASE_BACKWARD) ? mmrec_exec_queue(s->exec, MMREC_PHASE_BACKWARD, error) : MMREC_OK;
}

static subject subject_of(case_run *c, int side, mmrec_measure_kind kind) {
    const bench_net *net = kind == MMREC_MEASURE_MODEL_FORWARD ? &c->inference[side] : &c->net[side];
    return (subject){c->runner->options->backend, net, net->exec, &c->inputs, c->optimizer[side], kind};
}

/* ---- what is known of a row without timing ---- */

static void describe_row(const subject *s, mmrec_bench_row *row) {
    row->tokens = s->inputs->tokens;
    for (int phase = 0; phase < MMREC_PHASES; phase++) {
        if (!kind_runs(s->kind, (mmrec_phase)phase)) continue;
        mmrec_work work = mmrec_graph_work(s->net->graph, (mmrec_phase)phase);
        row->work.flops += work.flops;
        row->work.transcendentals += work.transcendentals;
        row->work.bytes += work.bytes;
    }
    for (int node = 0; node < mmrec_graph_node_count(s->net->graph); node++) {
        row->nodes += kind_runs(s->kind, mmrec_graph_node_info(s->net->graph, node).phase);
    }
    if (s->kind == MMREC_MEASURE_OPTIMIZER) row->work = mmrec_optimizer_work(s->net->graph, s->backend->real);
}

/* ---- overhead: what a run takes beyond its nodes ---- */

static double nodes_ns(const subject *s) {
    int count = 0;
    const mmrec_trace_record *trace = mmrec_exec_trace(s->exec, &count);
    double sum = 0;
    for (int i = 0; i < count; i++) {
        if (kind_runs(s->kind, mmrec_graph_node_info(s->net->graph, trace[i].node).phase)) sum += (double)trace[i].ns;
    }
    return sum;
}

static mmrec_status run_traced(subject *s, mmrec_error *error) {
    MMREC_TRY(prepare(s, error));
    for (int phase = MMREC_PHASE_FORWARD; phase < MMREC_PHASES; phase++) {
        if (kind_runs(s->kind, (mmrec_phase)phase)) MMREC_TRY(mmrec_exec_run(s->exec, (mmrec_phase)phase, error));
    }
    return MMREC_OK;
}

/* The median of a few traced runs, on an exec of its own: tracing stays out of the timed one. */
static mmrec_status traced_ns(case_run *c, subject s, double *ns, mmrec_error *error) {
    const mmrec_bench_options *options = c->runner->options;
    mmrec_exec_options traced = {.params_from = s.exec, .trace = true};
    double sums[TRACED_RUNS] = {0};
    MMREC_TRY(
        mmrec_exec_create(c->runner->allocator, options->backend, s.net->graph, s.net->plan, traced, &s.exec, error));
    mmrec_status status = run_traced(&s, error); /* touches its memory for the first time */
    uint64_t start = mmrec_clock_ns();
    int runs = 0;
    while (status == MMREC_OK && runs < TRACED_RUNS && (double)(mmrec_clock_ns() - start) * 1e-9 < traced_box_s) {
        status = run_traced(&s, error);
        sums[runs++] = nodes_ns(&s);
    }
    *ns = mmrec_stats_of(sums, runs).median;
    mmrec_exec_destroy(&s.exec);
    return status;
}

static mmrec_status find_overhead(case_run *c, subject s, mmrec_bench_row *row, mmrec_error *error) {
    double ns = 0;
    row->overhead_ns = (double)NAN;
    if (mmrec_measure_interrupted() || s.kind == MMREC_MEASURE_OPTIMIZER || row->series.untimed) return MMREC_OK;
    MMREC_TRY_WHILE(traced_ns(c, s, &ns, error), error, "tracing the nodes");
    row->overhead_ns = row->series.stats.median - ns;
    return MMREC_OK;
}

/* ---- timing one kind ---- */

/* Part of a case's time, so that every kind gets as many samples: a backward half costs two forward ones, a block's
 * needs an untimed forward too, and a model of L layers costs L blocks. */
static double weight_of(mmrec_measure_kind kind, int64_t layers) {
    if (kind == MMREC_MEASURE_OPTIMIZER) return 1;
    double model =
        kind == MMREC_MEASURE_MODEL_FORWARD || kind == MMREC_MEASURE_MODEL_FORWARD_BACKWARD ? (double)layers : 1;
    bool backward = kind == MMREC_MEASURE_BLOCK_BACKWARD || kind == MMREC_MEASURE_MODEL_FORWARD_BACKWARD;
    return model * (backward ? 3 : 1);
}

static double share_of(const mmrec_bench_options *options, mmrec_measure_kind kind, int64_t layers) {
    double all = 0;
    for (int k = 0; k < MMREC_MEASURE_KINDS; k++) {
        if (mmrec_measure_wanted(options, (mmrec_measure_kind)k)) all += weight_of((mmrec_measure_kind)k, layers);
    }
    return weight_of(kind, layers) / all;
}

static mmrec_status time_sides(case_run *c, mmrec_measure_kind kind, mmrec_error *error) {
    mmrec_bench_case_result *result = c->result;
    mmrec_allocator *allocator = c->runner->allocator;
    subject s[BENCH_SIDES] = {subject_of(c, 0, kind), subject_of(c, 1, kind)};
    mmrec_subject timed[BENCH_SIDES] = {{.run = run, .context = &s[0], .prepare = prepare},
                                        {.run = run, .context = &s[1], .prepare = prepare}};
    mmrec_bench_row *row[BENCH_SIDES] = {&result->side[0].row[kind], &result->side[1].row[kind]};
    bool both = result->side[0].present && result->side[1].present;
    mmrec_sampling sampling = bench_sampling(c->runner, both ? 2 : 1);
    mmrec_progress progress = bench_progress(c->runner);
    if (both) {
        return mmrec_measure_pair(allocator, timed[0], timed[1], &sampling, progress, &row[0]->series, &row[1]->series,
                                  &result->paired[kind], error);
    }
    int side = result->side[1].present;
    return mmrec_measure(allocator, timed[side], &sampling, progress, &row[side]->series, error);
}

static mmrec_status measure_kind(case_run *c, mmrec_measure_kind kind, mmrec_error *error) {
    if (mmrec_measure_interrupted() || !mmrec_measure_wanted(c->runner->options, kind)) return MMREC_OK;
    bench_message(c->runner, kind_names[kind]);
    c->runner->share = share_of(c->runner->options, kind, c->result->input.model.layers);
    MMREC_TRY_WHILE(time_sides(c, kind, error), error, "timing %s", kind_names[kind]);
    for (int side = 0; side < BENCH_SIDES; side++) {
        if (!c->result->side[side].present) continue;
        mmrec_bench_row *row = &c->result->side[side].row[kind];
        subject s = subject_of(c, side, kind);
        mmrec_subject counted = {.run = run, .context = &s, .prepare = prepare};
        describe_row(&s, row);
        MMREC_TRY(bench_count_launches(c->runner->allocator, &c->runner->meter, &counted, row, error));
        MMREC_TRY(find_overhead(c, s, row, error));
    }
    c->runner->share_done += c->runner->share;
    return MMREC_OK;
}

/* ---- making the nets, and what memory that took ---- */

static bench_recipe recipe_of(const case_run *c, int side, mmrec_model_kind kind) {
    const mmrec_bench_options *options = c->runner->options;
    bool model = kind != MMREC_MODEL_block;
    return (bench_recipe){.kind = kind,
                          .input = &c->result->input,
                          .backend = options->backend,
                          .threads = options->threads,
                          .graphs = options->graphs,
                          .bf16 = options->bf16,
                          .hem = c->result->side[side].hem,
                          .gradient = true,
                          .recompute = options->recompute && model,
                          .optimizer_slots = model ? options->optimizer_slots : 0,
                          .seed = options->seed};
}

static mmrec_status create_net(case_run *c, int side, mmrec_model_kind kind, mmrec_error *error) {
    bench_recipe recipe = recipe_of(c, side, kind);
    bench_net *net = &c->net[side];
    MMREC_TRY(bench_net_create(c->runner->allocator, &recipe, net, error));
    MMREC_TRY(bench_net_feed(net, net->exec, &c->inputs, error));
    return mmrec_exec_run(net->exec, MMREC_PHASE_FORWARD, error);
}

/* Growth of the allocators' peaks since `before`, which was taken just after a reset. A device has no peaks to reset:
 * its arenas are made once, so what lives is the peak. */
static void read_memory(const case_run *c, const mmrec_allocator *before, const size_t device_before[MMREC_ARENAS],
                        const mmrec_plan *plan, mmrec_memory_figures *out) {
    const mmrec_allocator *allocator = c->runner->allocator;
    const mmrec_device *device = c->runner->options->backend->device;
    static const mmrec_alloc_tag tags[MMREC_ARENAS] = {MMREC_ALLOC_PARAMS, MMREC_ALLOC_GRADS, MMREC_ALLOC_OPTIMIZER,
                                                       MMREC_ALLOC_SAVED, MMREC_ALLOC_SCRATCH};
    size_t arenas = 0;
    for (int arena = 0; arena < MMREC_ARENAS; arena++) {
        out->planned[arena] = mmrec_plan_arena_bytes(plan, (mmrec_arena)arena);
        out->allocated_peak[arena] = allocator->by_tag[tags[arena]].peak_bytes - before->by_tag[tags[arena]].live_bytes;
        arenas += out->allocated_peak[arena];
        if (device) out->allocated_peak[arena] += device->allocated(arena).live_bytes - device_before[arena];
    }
    size_t all = 0;
    for (int tag = 0; tag < MMREC_ALLOC_TAGS; tag++) {
        all += allocator->by_tag[tag].peak_bytes - before->by_tag[tag].live_bytes;
    }
    out->other_peak = all - arenas;
}

/* Both sides live at once, as they are timed in alternation; each one's memory is what its own making added. A step
 * allocates nothing, so this is its peak. */
static mmrec_status create_nets(case_run *c, mmrec_model_kind kind, mmrec_error *error) {
    mmrec_allocator *allocator = c->runner->allocator;
    const mmrec_device *device = c->runner->options->backend->device;
    for (int side = 0; side < BENCH_SIDES; side++) {
        mmrec_bench_side *out = &c->result->side[side];
        if (!out->present) continue;
        mmrec_allocator_reset_peak(allocator);
        mmrec_allocator before = *allocator;
        size_t device_before[MMREC_ARENAS] = {0};
        for (int arena = 0; device && arena < MMREC_ARENAS; arena++)
            device_before[arena] = device->allocated(arena).live_bytes;
        MMREC_TRY_WHILE(create_net(c, side, kind, error), error, "preparing HEM %s", out->hem ? "on" : "off");
        read_memory(c, &before, device_before, c->net[side].plan,
                    kind == MMREC_MODEL_block ? &out->block_memory : &out->model_memory);
    }
    return MMREC_OK;
}

/* The model as it is used after training: no loss, no dropout, nothing saved, parameters of the other net. */
static mmrec_status create_inference(case_run *c, int side, mmrec_error *error) {
    const mmrec_bench_options *options = c->runner->options;
    mmrec_bench_case input = c->result->input;
    input.model.dropout = 0;
    bench_recipe recipe = {.kind = MMREC_MODEL_mmrec,
                           .input = &input,
                           .backend = options->backend,
                           .threads = options->threads,
                           .bf16 = options->bf16,
                           .hem = c->result->side[side].hem,
                           .graphs = options->graphs,
                           .params_from = c->net[side].exec};
    return bench_net_create(c->runner->allocator, &recipe, &c->inference[side], error);
}

/* The gradients of one step are what its steps find; a rate of 0 leaves the parameters to the other measures, and is
 * the same work. */
static mmrec_status create_optimizer(case_run *c, int side, mmrec_error *error) {
    mmrec_optimizer_config config = mmrec_optimizer_config_default();
    bench_net *net = &c->net[side];
    if (c->runner->options->optimizer_slots == 0) return MMREC_OK;
    MMREC_TRY(mmrec_exec_run(net->exec, MMREC_PHASE_BACKWARD, error));
    MMREC_TRY(mmrec_optimizer_create(c->runner->allocator, net->exec, &config, &c->optimizer[side], error));
    return mmrec_optimizer_rate(c->optimizer[side], 0, error);
}

static void free_nets(case_run *c) {
    for (int side = 0; side < BENCH_SIDES; side++) {
        mmrec_optimizer_destroy(&c->optimizer[side]);
        bench_net_free(&c->inference[side]); /* before the owner of its parameters */
        bench_net_free(&c->net[side]);
    }
}

/* ---- the case ---- */

/* Making the nets of a large case takes seconds: an interrupt does not wait for them. */
static mmrec_status measure_block(case_run *c, mmrec_error *error) {
    if (mmrec_measure_interrupted()) return MMREC_OK;
    MMREC_TRY(create_nets(c, MMREC_MODEL_block, error));
    MMREC_TRY(measure_kind(c, MMREC_MEASURE_BLOCK_FORWARD, error));
    MMREC_TRY(measure_kind(c, MMREC_MEASURE_BLOCK_BACKWARD, error));
    free_nets(c);
    return MMREC_OK;
}

static void describe_model(case_run *c, int side) {
    mmrec_bench_side *out = &c->result->side[side];
    c->result->parameters = mmrec_graph_param_count(c->net[side].graph);
    out->forward = mmrec_graph_work(c->net[side].graph, MMREC_PHASE_FORWARD);
    out->backward = mmrec_graph_work(c->net[side].graph, MMREC_PHASE_BACKWARD);
}

/* Each side alone, before the nets that are timed: their memory would be in the figures. */
static mmrec_status measure_memory(case_run *c, mmrec_error *error) {
    for (int side = 0; side < BENCH_SIDES && !mmrec_measure_interrupted(); side++) {
        mmrec_bench_side *out = &c->result->side[side];
        if (!out->present) continue;
        bench_recipe recipe = recipe_of(c, side, MMREC_MODEL_mmrec);
        MMREC_TRY_WHILE(bench_memory(c->runner, &recipe, &c->inputs, out->memory, error), error,
                        "following the memory of HEM %s", out->hem ? "on" : "off");
    }
    return MMREC_OK;
}

/* What a profiler is to look at: one training step of the last side, alone, with the optimizer's where there is one. */
static mmrec_status show_profiler(case_run *c, mmrec_error *error) {
    int side = c->result->side[1].present;
    subject s = subject_of(c, side, MMREC_MEASURE_MODEL_FORWARD_BACKWARD);
    subject update = subject_of(c, side, MMREC_MEASURE_OPTIMIZER);
    if (!c->runner->options->profile || mmrec_measure_interrupted()) return MMREC_OK;
    MMREC_TRY(prepare(&s, error));
    mmrec_exec_capture(s.backend, true);
    mmrec_status status = run(&s, error);
    if (status == MMREC_OK && update.optimizer) status = run(&update, error);
    if (status == MMREC_OK) status = device_meter_wait(s.backend, error);
    mmrec_exec_capture(s.backend, false);
    if (status != MMREC_OK) mmrec_error_frame(error, "running the step for a profiler");
    return status;
}

static mmrec_status measure_model(case_run *c, mmrec_error *error) {
    if (mmrec_measure_interrupted()) return MMREC_OK;
    MMREC_TRY(measure_memory(c, error));
    MMREC_TRY(create_nets(c, MMREC_MODEL_mmrec, error));
    for (int side = 0; side < BENCH_SIDES; side++) {
        if (!c->result->side[side].present) continue;
        describe_model(c, side);
        MMREC_TRY_WHILE(create_optimizer(c, side, error), error, "preparing the optimizer");
        MMREC_TRY_WHILE(create_inference(c, side, error), error, "preparing inference");
    }
    MMREC_TRY(measure_kind(c, MMREC_MEASURE_MODEL_FORWARD, error));
    MMREC_TRY(measure_kind(c, MMREC_MEASURE_MODEL_FORWARD_BACKWARD, error));
    MMREC_TRY(measure_kind(c, MMREC_MEASURE_OPTIMIZER, error));
    return show_profiler(c, error);
}

static mmrec_status run_case(case_run *c, mmrec_error *error) {
    const mmrec_bench_options *options = c->runner->options;
    MMREC_TRY(mmrec_model_config_check(&c->result->input.model, error));
    MMREC_TRY(bench_room(c->runner, c->result, error));
    MMREC_TRY(bench_inputs_create(c->runner->allocator, &c->result->input, options->seed, c->runner->data, &c->inputs,
                                  error));
    bench_message(c->runner, "checking against the reference");
    MMREC_TRY(bench_check(c->runner, c->result, error));
    MMREC_TRY(measure_block(c, error));
    return measure_model(c, error);
}

mmrec_status bench_case_run(bench_runner *runner, mmrec_bench_case_result *result, mmrec_error *error) {
    case_run c = {.runner = runner, .result = result};
    mmrec_status status = run_case(&c, error);
    free_nets(&c);
    bench_inputs_free(&c.inputs);
    return status;
}
