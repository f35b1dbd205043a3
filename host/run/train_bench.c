/* --bench: a whole training step beside the block's own forward and backward pass, sampled in alternation, so that what
 * a step costs beyond its arithmetic is one ratio; then the optimizer alone, and steps in a row for what only they
 * show: waits for data, allocations. Nothing is logged while it runs.
 *
 * A step is timed by the host's clock until the device is done, as whoever trains waits for it. The block and the
 * optimizer are timed as mmrec-bench does: on a device by events, the host's time kept out of it. */
#include <stdio.h>
#include <unistd.h>

#include "core/units.h"
#include "measure/bench_impl.h"
#include "mmrec/run.h"
#include "report/buffer.h"
#include "report/figures.h"

/* The second step records the graphs of a device. A ratio needs 8 pairs, so they are worth a wait. */
enum { FIRST_STEPS = 2, LEAST_SAMPLES = 8, LEAST_STEPS = 4 };
static const double row_s = 0.5;

/* What steps in a row cost beside their time. */
typedef struct step_costs {
    int64_t steps, waits;
    uint64_t wait_ns, allocations, launches;
} step_costs;

typedef struct step_bench {
    const mmrec_train_context *context;
    const mmrec_train_setup *setup;
    mmrec_data *data;
    mmrec_trainer *trainer;
    mmrec_optimizer *optimizer; /* of the trainer's exec, at a rate of 0: it changes no parameter */
    mmrec_bench_case input;
    bench_inputs inputs;
    bench_net block;
    device_meter events; /* of the block and the optimizer */
    mmrec_meter meter;   /* on a device: of both ways to time; its context is this bench */
    mmrec_sampling sampling;
    mmrec_series step_series, block_series, optimizer_series;
    mmrec_paired paired; /* block / step, of times */
    step_costs costs;
} step_bench;

static const mmrec_backend *backend_of(const step_bench *b) { return b->setup->backend; }

/* ---- what is timed ---- */

static mmrec_status run_step(void *context, mmrec_error *error) {
    const step_bench *b = context;
    mmrec_train_record record;
    return mmrec_trainer_step(b->trainer, &record, error);
}

static mmrec_status feed_block(void *context, mmrec_error *error) {
    const step_bench *b = context;
    return bench_net_feed(&b->block, b->block.exec, &b->inputs, error);
}

static mmrec_status run_block(void *context, mmrec_error *error) {
    const step_bench *b = context;
    MMREC_TRY(mmrec_exec_queue(b->block.exec, MMREC_PHASE_FORWARD, error));
    return mmrec_exec_queue(b->block.exec, MMREC_PHASE_BACKWARD, error);
}

static mmrec_status run_optimizer(void *context, mmrec_error *error) {
    const step_bench *b = context;
    return mmrec_optimizer_queue(b->optimizer, error);
}

static mmrec_status time_step(step_bench *b, int repeats, double *ns, mmrec_error *error) {
    MMREC_TRY(device_meter_wait(backend_of(b), error));
    uint64_t start = mmrec_clock_ns();
    for (int i = 0; i < repeats; i++) MMREC_TRY(run_step(b, error));
    MMREC_TRY(device_meter_wait(backend_of(b), error));
    *ns = (double)(mmrec_clock_ns() - start) / repeats;
    return MMREC_OK;
}

static mmrec_status time_run(void *context, const mmrec_subject *subject, int repeats, double *ns,
                             mmrec_sample_note *note, mmrec_error *error) {
    step_bench *b = context;
    const mmrec_meter *meter = &b->events.meter;
    if (subject->run == run_step) return time_step(b, repeats, ns, error);
    return meter->time(meter->context, subject, repeats, ns, note, error);
}

/* ---- making it ---- */

static mmrec_status open_meter(step_bench *b, mmrec_error *error) {
    const mmrec_backend *backend = backend_of(b);
    MMREC_TRY(device_meter_open(b->context->allocator, backend, MMREC_TIMER_AUTO, false, &b->events, error));
    b->sampling = mmrec_sampling_default();
    b->sampling.least_samples = LEAST_SAMPLES;
    if (b->setup->max_time_s > 0) {
        b->sampling.max_time_s = b->setup->max_time_s;
        b->sampling.least_samples = 0;
    }
    if (!backend->device) return MMREC_OK;
    b->meter = (mmrec_meter){.time = time_run, .context = b, .untimed = b->events.meter.untimed};
    if (b->meter.untimed) b->sampling = bench_sampling_untimed(&b->meter);
    b->sampling.meter = &b->meter;
    return MMREC_OK;
}

static mmrec_status create(step_bench *b, mmrec_error *error) {
    const mmrec_train_config *c = &b->setup->train;
    mmrec_allocator *allocator = b->context->allocator;
    MMREC_TRY(mmrec_trainer_create(allocator, backend_of(b), b->data, c, &b->trainer, error));
    b->input = (mmrec_bench_case){c->model, c->batch, c->time};
    bench_recipe recipe = {.kind = MMREC_MODEL_block,
                           .input = &b->input,
                           .backend = backend_of(b),
                           .threads = c->threads,
                           .bf16 = c->bf16,
                           .hem = c->hem,
                           .gradient = true,
                           .recompute = c->recompute,
                           .graphs = c->graphs,
                           .seed = c->seed};
    MMREC_TRY(bench_inputs_create(allocator, &b->input, c->seed, (bench_data){0}, &b->inputs, error));
    MMREC_TRY(bench_net_create(allocator, &recipe, &b->block, error));
    return open_meter(b, error);
}

/* ---- measuring ---- */

static mmrec_status measure_pair(step_bench *b, mmrec_error *error) {
    mmrec_subject step = {.run = run_step, .context = b};
    mmrec_subject block = {.run = run_block, .context = b, .prepare = feed_block};
    MMREC_TRY_WHILE(mmrec_measure_pair(b->context->allocator, step, block, &b->sampling, (mmrec_progress){0},
                                       &b->step_series, &b->block_series, &b->paired, error),
                    error, "timing a training step");
    return MMREC_OK;
}

static mmrec_status measure_optimizer(step_bench *b, mmrec_error *error) {
    mmrec_subject optimizer = {.run = run_optimizer, .context = b};
    mmrec_allocator *allocator = b->context->allocator;
    MMREC_TRY(mmrec_optimizer_create(allocator, mmrec_trainer_exec(b->trainer), &b->setup->train.optimizer,
                                     &b->optimizer, error));
    MMREC_TRY_WHILE(mmrec_measure(allocator, optimizer, &b->sampling, (mmrec_progress){0}, &b->optimizer_series, error),
                    error, "timing the optimizer");
    return MMREC_OK;
}

static step_costs costs_now(const step_bench *b) {
    const mmrec_device *device = backend_of(b)->device;
    step_costs c = {.allocations = b->context->allocator->attempts};
    mmrec_trainer_waits(b->trainer, &c.waits, &c.wait_ns);
    if (!device) return c;
    c.launches = device->launches();
    for (int arena = 0; arena <= MMREC_ARENAS; arena++) c.allocations += device->allocated(arena).requests;
    return c;
}

/* Beside other work the thread that loads data would have more time than in a training. */
static mmrec_status count_costs(step_bench *b, mmrec_error *error) {
    step_costs *c = &b->costs, before = costs_now(b);
    uint64_t start = mmrec_clock_ns();
    int64_t steps = 0;
    while ((steps < LEAST_STEPS || mmrec_clock_seconds_since(start) < row_s) && !mmrec_measure_interrupted()) {
        MMREC_TRY(run_step(b, error));
        steps++;
    }
    *c = costs_now(b);
    c->steps = steps;
    c->waits -= before.waits;
    c->wait_ns -= before.wait_ns;
    c->allocations -= before.allocations;
    c->launches -= before.launches;
    return MMREC_OK;
}

static mmrec_status measure(step_bench *b, mmrec_error *error) {
    for (int i = 0; i < FIRST_STEPS; i++) MMREC_TRY(run_step(b, error));
    MMREC_TRY(count_costs(b, error));
    MMREC_TRY(measure_pair(b, error));
    return mmrec_measure_interrupted() ? MMREC_OK : measure_optimizer(b, error);
}

/* ---- the report ---- */

/* FLOPs of the forward and backward phase. */
static double flops_of(const mmrec_graph *graph) {
    return mmrec_graph_work(graph, MMREC_PHASE_FORWARD).flops + mmrec_graph_work(graph, MMREC_PHASE_BACKWARD).flops;
}

static void add_interval(mmrec_table *table, const mmrec_stats *stats) {
    char low[MMREC_UNITS_TEXT], high[MMREC_UNITS_TEXT];
    if (stats->count >= MMREC_INTERVAL_SAMPLES)
        mmrec_table_cell(table, "%s to %s", mmrec_units_time_text(stats->ci95.low, low),
                         mmrec_units_time_text(stats->ci95.high, high));
    else
        mmrec_table_cell(table, "n/a");
}

/* Of tokens and FLOPs; 0: a run has none that are counted. */
static void add_rates(mmrec_table *table, double tokens_per_s, double flops_per_s) {
    char text[MMREC_UNITS_TEXT] = "n/a";
    if (tokens_per_s > 0) snprintf(text, sizeof text, "%.0f", tokens_per_s);
    mmrec_table_cell(table, "%s", text);
    mmrec_table_cell(table, "%s", flops_per_s > 0 ? mmrec_units_scaled_text(flops_per_s, "FLOP/s", text) : "n/a");
}

static void add_row(mmrec_table *table, const char *name, const mmrec_series *series, double tokens, double flops) {
    char text[MMREC_UNITS_TEXT];
    const mmrec_stats *stats = &series->stats;
    mmrec_table_cell(table, "%s", name);
    if (stats->valid && stats->median > 0) {
        mmrec_table_cell(table, "%s", mmrec_units_time_text(stats->median, text));
        add_interval(table, stats);
        add_rates(table, tokens / stats->median * 1e9, flops / stats->median * 1e9);
    } else {
        for (int i = 0; i < 4; i++) mmrec_table_cell(table, "%s", mmrec_missing_text(series, text));
    }
    mmrec_table_cell(table, "%d", stats->count);
}

static void add_times(mmrec_buffer *out, const step_bench *b, double step_flops, double block_flops) {
    const mmrec_train_config *c = &b->setup->train;
    double tokens = (double)(c->batch * c->time);
    mmrec_table table;
    mmrec_table_begin(&table, out->allocator, 6, 0x3eu);
    mmrec_table_header(&table, "What|Median|95 % interval|Tokens/s|Rate|Samples");
    add_row(&table, "training step", &b->step_series, (double)c->accumulate * tokens, step_flops);
    add_row(&table, "block forward + backward", &b->block_series, tokens, block_flops);
    add_row(&table, "optimizer", &b->optimizer_series, 0, 0);
    mmrec_table_end(&table, out);
}

static void add_ratios(mmrec_buffer *out, const step_bench *b, double factor) {
    char text[MMREC_UNITS_TEXT];
    const mmrec_paired *p = &b->paired;
    const mmrec_stats *step = &b->step_series.stats, *optimizer = &b->optimizer_series.stats;
    if (p->valid)
        mmrec_buffer_format(out, "\nRate of the step over the block's: %.2f (95 %% interval %.2f to %.2f, %d pairs)\n",
                            factor * p->ratio, factor * p->ci95.low, factor * p->ci95.high, p->pairs);
    else
        mmrec_buffer_format(out, "\nRate of the step over the block's: %s\n",
                            b->step_series.untimed ? mmrec_missing_text(&b->step_series, text)
                                                   : "n/a (fewer than 8 pairs of samples)");
    if (step->valid && optimizer->valid && step->median > 0)
        mmrec_buffer_format(out, "Share of the optimizer in a step: %.1f %%\n", 100 * optimizer->median / step->median);
}

static void add_costs(mmrec_buffer *out, const step_bench *b) {
    const step_costs *c = &b->costs;
    char waited[MMREC_UNITS_TEXT];
    long long steps = (long long)c->steps;
    bool timed = !b->step_series.untimed;
    mmrec_buffer_format(out, "Waits for data: %lld in %lld steps in a row", (long long)c->waits, steps);
    if (timed) mmrec_buffer_format(out, ", %s together", mmrec_units_time_text((double)c->wait_ns, waited));
    mmrec_buffer_format(out, "\nAllocations: %llu in %lld steps\n", (unsigned long long)c->allocations, steps);
    if (backend_of(b)->device && steps > 0)
        mmrec_buffer_format(out, "Launches: %.0f a step\n", (double)c->launches / (double)steps);
    if (timed)
        mmrec_buffer_format(out, "Threads that were ready but had no processor: %.1f %% of their time\n",
                            100 * b->step_series.waited_share);
}

static void add_head(mmrec_buffer *out, const step_bench *b) {
    char text[MMREC_NAME_TEXT];
    mmrec_machine machine;
    const mmrec_train_config *c = &b->setup->train;
    const mmrec_backend *backend = backend_of(b);
    mmrec_machine_read(&machine, c->threads);
    mmrec_buffer_format(out, "mmrec-train --bench: %s\n", mmrec_case_name(&b->input, text));
    mmrec_buffer_format(out, "%s, HEM %s, accumulate %lld, stream %s\n",
                        mmrec_case_details(&b->input, c->recompute, text), c->hem ? "on" : "off",
                        (long long)c->accumulate, c->stream ? "on" : "off");
    mmrec_buffer_format(out, "backend %s, %s, %d thread%s, seed %llu; %s, %d processor%s, %s%s%s\n\n", backend->name,
                        mmrec_dtype_name(mmrec_backend_dtype(backend, c->bf16)), c->threads, c->threads == 1 ? "" : "s",
                        (unsigned long long)c->seed, machine.cpu, machine.processors,
                        machine.processors == 1 ? "" : "s", machine.isa, backend->device ? "; " : "",
                        backend->device ? backend->device->info.name : "");
}

static mmrec_status report(const step_bench *b, mmrec_error *error) {
    double step_flops = (double)b->setup->train.accumulate * flops_of(mmrec_exec_graph(mmrec_trainer_exec(b->trainer)));
    double block_flops = flops_of(b->block.graph);
    mmrec_buffer out;
    mmrec_buffer_begin(&out, b->context->allocator);
    add_head(&out, b);
    add_times(&out, b, step_flops, block_flops);
    add_ratios(&out, b, step_flops / block_flops);
    add_costs(&out, b);
    mmrec_status status = mmrec_buffer_status(&out, error);
    if (status == MMREC_OK)
        status = mmrec_io_write_fd(b->context->io, STDOUT_FILENO, "standard output", out.data, out.size, error);
    mmrec_buffer_free(&out);
    return status;
}

/* ---- all of it ---- */

static void release(step_bench *b) {
    mmrec_allocator *allocator = b->context->allocator;
    mmrec_series_free(allocator, &b->step_series);
    mmrec_series_free(allocator, &b->block_series);
    mmrec_series_free(allocator, &b->optimizer_series);
    device_meter_close(&b->events);
    bench_net_free(&b->block);
    bench_inputs_free(&b->inputs);
    mmrec_optimizer_destroy(&b->optimizer);
    mmrec_trainer_destroy(&b->trainer);
    mmrec_data_destroy(&b->data);
}

static int exit_code(const mmrec_train_context *context) {
    enum { EXIT_SIGNAL = 128, SIGNAL_INTERRUPT = 2 };
    int number = context->stop_signal ? context->stop_signal() : 0;
    return mmrec_measure_interrupted() ? EXIT_SIGNAL + (number > 0 ? number : SIGNAL_INTERRUPT) : 0;
}

mmrec_status mmrec_train_bench(const mmrec_train_context *context, const mmrec_train_setup *setup, int *code,
                               mmrec_error *error) {
    mmrec_train_setup fitted = *setup;
    step_bench b = {.context = context, .setup = &fitted};
    mmrec_status status = mmrec_train_setup_data(context->allocator, context->io, &fitted, &b.data, error);
    if (status == MMREC_OK) status = create(&b, error);
    if (status == MMREC_OK) status = measure(&b, error);
    if (status == MMREC_OK) status = report(&b, error);
    *code = exit_code(context);
    release(&b);
    return status;
}
