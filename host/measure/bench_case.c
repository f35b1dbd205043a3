/* One case: check, then time every kind, both sides in alternation where both are wanted. */
#include <math.h>
#include <string.h>

#include "bench_impl.h"

enum { TRACED_RUNS = 3 };
/* Traced runs end early where they take long: the whole of a default run must stay under a minute. */
static const double traced_box_s = 0.5;

/* A net on one side, for one kind. */
typedef struct subject {
    const bench_net *net;
    mmrec_exec *exec; /* of the net, or a traced one */
    const bench_inputs *inputs;
    mmrec_measure_kind kind;
} subject;

/* A case under way; sides that are absent stay empty. */
typedef struct case_run {
    bench_runner *runner;
    mmrec_bench_case_result *result;
    bench_inputs inputs;
    bench_net net[BENCH_SIDES], inference[BENCH_SIDES]; /* net: with gradient; inference: sharing its parameters */
} case_run;

static const char *const kind_names[MMREC_MEASURE_KINDS] = {"block forward", "block backward", "model forward",
                                                            "model forward + backward"};

const char *mmrec_measure_kind_name(mmrec_measure_kind kind) {
    return (unsigned)kind < MMREC_MEASURE_KINDS ? kind_names[kind] : "?";
}

/* Which phases a kind runs. A training step has new parameters, so whatever is derived from them is part of it. */
static bool kind_runs(mmrec_measure_kind kind, mmrec_phase phase) {
    if (kind == MMREC_MEASURE_MODEL_FORWARD_BACKWARD) return true;
    return phase == (kind == MMREC_MEASURE_BLOCK_BACKWARD ? MMREC_PHASE_BACKWARD : MMREC_PHASE_FORWARD);
}

/* ---- one run of a subject ---- */

/* A backward phase destroys what its forward saved, so each needs its own, untimed. */
static mmrec_status prepare(void *context, mmrec_error *error) {
    const subject *s = context;
    MMREC_TRY(bench_net_feed(s->net, s->exec, s->inputs, error));
    if (s->kind == MMREC_MEASURE_MODEL_FORWARD_BACKWARD) mmrec_exec_params_changed(s->exec);
    return s->kind == MMREC_MEASURE_BLOCK_BACKWARD ? mmrec_exec_run(s->exec, MMREC_PHASE_FORWARD, error) : MMREC_OK;
}

static mmrec_status run(void *context, mmrec_error *error) {
    const subject *s = context;
    if (kind_runs(s->kind, MMREC_PHASE_FORWARD)) MMREC_TRY(mmrec_exec_run(s->exec, MMREC_PHASE_FORWARD, error));
    return kind_runs(s->kind, MMREC_PHASE_BACKWARD) ? mmrec_exec_run(s->exec, MMREC_PHASE_BACKWARD, error) : MMREC_OK;
}

static subject subject_of(case_run *c, int side, mmrec_measure_kind kind) {
    const bench_net *net = kind == MMREC_MEASURE_MODEL_FORWARD ? &c->inference[side] : &c->net[side];
    return (subject){net, net->exec, &c->inputs, kind};
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

static mmrec_status run_prepared(subject *s, mmrec_error *error) {
    MMREC_TRY(prepare(s, error));
    return run(s, error);
}

/* The median of a few traced runs, on an exec of its own: tracing stays out of the timed one. */
static mmrec_status traced_ns(case_run *c, subject s, double *ns, mmrec_error *error) {
    const mmrec_bench_options *options = c->runner->options;
    mmrec_exec_options traced = {.params_from = s.exec, .trace = true};
    double sums[TRACED_RUNS] = {0};
    MMREC_TRY(
        mmrec_exec_create(c->runner->allocator, options->backend, s.net->graph, s.net->plan, traced, &s.exec, error));
    mmrec_status status = run_prepared(&s, error); /* touches its memory for the first time */
    uint64_t start = mmrec_clock_ns();
    int runs = 0;
    while (status == MMREC_OK && runs < TRACED_RUNS && (double)(mmrec_clock_ns() - start) * 1e-9 < traced_box_s) {
        status = run_prepared(&s, error);
        sums[runs++] = nodes_ns(&s);
    }
    *ns = mmrec_stats_of(sums, runs).median;
    mmrec_exec_destroy(&s.exec);
    return status;
}

static mmrec_status find_overhead(case_run *c, subject s, mmrec_bench_row *row, mmrec_error *error) {
    double ns = 0;
    row->overhead_ns = (double)NAN;
    if (mmrec_measure_interrupted()) return MMREC_OK;
    MMREC_TRY_WHILE(traced_ns(c, s, &ns, error), error, "tracing the nodes");
    row->overhead_ns = row->series.stats.median - ns;
    return MMREC_OK;
}

/* ---- timing one kind ---- */

/* Part of a case's time, so that every kind gets as many samples: a backward half costs two forward ones, a block's
 * needs an untimed forward too, and a model of L layers costs L blocks. */
static double share_of(mmrec_measure_kind kind, int64_t layers) {
    double model =
        kind == MMREC_MEASURE_MODEL_FORWARD || kind == MMREC_MEASURE_MODEL_FORWARD_BACKWARD ? (double)layers : 1;
    bool backward = kind == MMREC_MEASURE_BLOCK_BACKWARD || kind == MMREC_MEASURE_MODEL_FORWARD_BACKWARD;
    return model * (backward ? 3 : 1) / (4 + 4 * (double)layers);
}

static mmrec_status time_sides(case_run *c, mmrec_measure_kind kind, mmrec_error *error) {
    mmrec_bench_case_result *result = c->result;
    mmrec_allocator *allocator = c->runner->allocator;
    subject s[BENCH_SIDES] = {subject_of(c, 0, kind), subject_of(c, 1, kind)};
    mmrec_subject timed[BENCH_SIDES] = {{run, &s[0], prepare}, {run, &s[1], prepare}};
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
    if (mmrec_measure_interrupted()) return MMREC_OK;
    bench_message(c->runner, kind_names[kind]);
    c->runner->share = share_of(kind, c->result->input.model.layers);
    MMREC_TRY_WHILE(time_sides(c, kind, error), error, "timing %s", kind_names[kind]);
    for (int side = 0; side < BENCH_SIDES; side++) {
        if (!c->result->side[side].present) continue;
        mmrec_bench_row *row = &c->result->side[side].row[kind];
        subject s = subject_of(c, side, kind);
        describe_row(&s, row);
        MMREC_TRY(find_overhead(c, s, row, error));
    }
    c->runner->share_done += c->runner->share;
    return MMREC_OK;
}

/* ---- making the nets, and what memory that took ---- */

static mmrec_status create_net(case_run *c, int side, mmrec_model_kind kind, mmrec_error *error) {
    const mmrec_bench_options *options = c->runner->options;
    bench_recipe recipe = {.kind = kind,
                           .input = &c->result->input,
                           .backend = options->backend,
                           .threads = options->threads,
                           .hem = c->result->side[side].hem,
                           .gradient = true,
                           .recompute = options->recompute && kind != MMREC_MODEL_block,
                           .seed = options->seed};
    MMREC_TRY(bench_net_create(c->runner->allocator, &recipe, &c->net[side], error));
    MMREC_TRY(bench_net_feed(&c->net[side], c->net[side].exec, &c->inputs, error));
    return mmrec_exec_run(c->net[side].exec, MMREC_PHASE_FORWARD, error);
}

/* Growth of the allocator's peaks since `before`, which was taken just after a reset. */
static void read_memory(const mmrec_allocator *allocator, const mmrec_allocator *before, const mmrec_plan *plan,
                        mmrec_memory_figures *out) {
    static const mmrec_alloc_tag tags[MMREC_ARENAS] = {MMREC_ALLOC_PARAMS, MMREC_ALLOC_GRADS, MMREC_ALLOC_OPTIMIZER,
                                                       MMREC_ALLOC_SAVED, MMREC_ALLOC_SCRATCH};
    size_t arenas = 0;
    for (int arena = 0; arena < MMREC_ARENAS; arena++) {
        out->planned[arena] = mmrec_plan_arena_bytes(plan, (mmrec_arena)arena);
        out->allocated_peak[arena] = allocator->by_tag[tags[arena]].peak_bytes - before->by_tag[tags[arena]].live_bytes;
        arenas += out->allocated_peak[arena];
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
    for (int side = 0; side < BENCH_SIDES; side++) {
        mmrec_bench_side *out = &c->result->side[side];
        if (!out->present) continue;
        mmrec_allocator_reset_peak(allocator);
        mmrec_allocator before = *allocator;
        MMREC_TRY_WHILE(create_net(c, side, kind, error), error, "preparing HEM %s", out->hem ? "on" : "off");
        read_memory(allocator, &before, c->net[side].plan,
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
                           .hem = c->result->side[side].hem,
                           .params_from = c->net[side].exec};
    return bench_net_create(c->runner->allocator, &recipe, &c->inference[side], error);
}

static void free_nets(case_run *c) {
    for (int side = 0; side < BENCH_SIDES; side++) {
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

static mmrec_status measure_model(case_run *c, mmrec_error *error) {
    if (mmrec_measure_interrupted()) return MMREC_OK;
    MMREC_TRY(create_nets(c, MMREC_MODEL_mmrec, error));
    for (int side = 0; side < BENCH_SIDES; side++) {
        if (!c->result->side[side].present) continue;
        describe_model(c, side);
        MMREC_TRY_WHILE(create_inference(c, side, error), error, "preparing inference");
    }
    MMREC_TRY(measure_kind(c, MMREC_MEASURE_MODEL_FORWARD, error));
    return measure_kind(c, MMREC_MEASURE_MODEL_FORWARD_BACKWARD, error);
}

static mmrec_status run_case(case_run *c, mmrec_error *error) {
    const mmrec_bench_options *options = c->runner->options;
    MMREC_TRY(mmrec_model_config_check(&c->result->input.model, error));
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
