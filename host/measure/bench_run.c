/* A whole run: the machine, then case by case; what fails is recorded and the run goes on. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench_impl.h"

/* Share of a measure's part of the budget that sampling may take: the rest is warm-up and traced runs. */
static const double sampling_share = 0.85;
/* However little the budget leaves, a series gets this long, which shows in the result as stopped by time. */
static const double least_time_s = 0.05;

void bench_message(const bench_runner *runner, const char *what) {
    char text[128 + MMREC_ERROR_MESSAGE];
    if (!runner->observer.message) return;
    snprintf(text, sizeof text, "%.120s: %s", runner->title, what);
    runner->observer.message(runner->observer.context, text);
}

static void tick(void *context, double done) {
    const bench_runner *runner = context;
    if (!runner->observer.progress) return;
    runner->observer.progress(runner->observer.context,
                              (runner->share_done + done * runner->share) / runner->options->case_count);
}

mmrec_progress bench_progress(bench_runner *runner) { return (mmrec_progress){tick, runner}; }

mmrec_sampling bench_sampling_untimed(const mmrec_meter *meter) {
    return (mmrec_sampling){.max_time_s = 1e-3, .min_samples = 1, .max_samples = 1, .meter = meter};
}

mmrec_sampling bench_sampling(const bench_runner *runner, int sides) {
    mmrec_sampling sampling = runner->options->sampling;
    sampling.meter = device_meter_of(&runner->meter);
    if (sampling.meter && sampling.meter->untimed) return bench_sampling_untimed(sampling.meter);
    if (!(runner->options->budget_s > 0)) return sampling;
    double left = runner->options->budget_s - mmrec_clock_seconds_since(runner->start_ns);
    double part = sampling_share * left * runner->share / (runner->options->case_count - runner->share_done) / sides;
    sampling.max_time_s = fmin(sampling.max_time_s, fmax(part, least_time_s));
    sampling.min_time_s = fmin(sampling.min_time_s, sampling.max_time_s);
    return sampling;
}

static void describe_data(const bench_runner *runner, mmrec_bench_result *out) {
    const char *path = runner->options->data_path;
    if (path)
        snprintf(out->data, sizeof out->data, "%.200s (%zu bytes)", path, runner->data.size);
    else
        snprintf(out->data, sizeof out->data, "random ids");
}

static void name_case(const bench_runner *runner, int index, char *text, size_t size) {
    const mmrec_bench_case *input = &runner->options->cases[index];
    snprintf(text, size, "case %d/%d (D %lld, L %lld, T %lld, B %lld)", index + 1, runner->options->case_count,
             (long long)input->model.dim, (long long)input->model.layers, (long long)input->time,
             (long long)input->batch);
}

static void choose_sides(const mmrec_bench_options *options, mmrec_bench_side side[BENCH_SIDES]) {
    side[0].present = options->self_test || options->hem != MMREC_HEM_ON;
    side[1].present = options->self_test || options->hem != MMREC_HEM_OFF;
    side[0].hem = options->self_test && options->hem == MMREC_HEM_ON;
    side[1].hem = options->hem != MMREC_HEM_OFF;
}

static void run_case(bench_runner *runner, int index, mmrec_bench_case_result *result) {
    mmrec_error error;
    mmrec_error_clear(&error);
    char title[128];
    name_case(runner, index, title, sizeof title);
    runner->title = title;
    result->input = runner->options->cases[index];
    choose_sides(runner->options, result->side);
    if (mmrec_measure_interrupted()) {
        snprintf(result->failure, sizeof result->failure, "interrupted before it was measured");
    } else if (bench_case_run(runner, result, &error) != MMREC_OK) {
        mmrec_error_text(&error, result->failure, sizeof result->failure);
        result->device_lost = error.code == MMREC_NO_DEVICE;
        bench_message(runner, result->failure);
    }
    runner->share_done = index + 1;
}

static mmrec_status measure_ceilings(bench_runner *runner, mmrec_bench_result *out, mmrec_error *error) {
    if (runner->options->no_ceilings) return MMREC_OK;
    runner->title = "machine";
    bench_message(runner, "measuring sgemm and copy rates");
    return mmrec_measure_ceilings(runner->allocator, runner->options->threads, &out->ceilings, error);
}

static mmrec_status run_all(bench_runner *runner, mmrec_bench_result *out, mmrec_error *error) {
    const mmrec_bench_options *options = runner->options;
    void *cases = NULL;
    MMREC_TRY(
        device_meter_open(runner->allocator, options->backend, options->timer, options->cold, &runner->meter, error));
    MMREC_TRY(mmrec_backend_set_threads(options->threads, error));
    MMREC_TRY(bench_data_read(runner->allocator, options, &runner->data, error));
    describe_data(runner, out);
    MMREC_TRY(mmrec_alloc_zero(runner->allocator, (size_t)options->case_count, sizeof *out->cases, MMREC_ALLOC_MEASURE,
                               &cases, error));
    out->cases = cases;
    out->case_count = options->case_count;
    MMREC_TRY(measure_ceilings(runner, out, error));
    for (int i = 0; i < options->case_count; i++) run_case(runner, i, &out->cases[i]);
    return MMREC_OK;
}

void mmrec_bench_head(const mmrec_bench_options *options, mmrec_bench_result *out) {
    snprintf(out->backend, sizeof out->backend, "%s", options->backend->name);
    out->dtype = mmrec_backend_dtype(options->backend, options->bf16);
    if (options->backend->device) out->device = options->backend->device->info;
    snprintf(out->choice, sizeof out->choice, "%.199s", mmrec_backend_choice());
}

mmrec_status mmrec_bench_run(mmrec_allocator *allocator, const mmrec_bench_options *options,
                             mmrec_bench_observer observer, mmrec_bench_result *out, mmrec_error *error) {
    memset(out, 0, sizeof *out);
    bench_runner runner = {.allocator = allocator, .options = options, .observer = observer, .title = ""};
    runner.start_ns = mmrec_clock_ns();
    mmrec_clock_date(out->started, sizeof out->started);
    mmrec_machine_read(&out->machine, options->threads);
    mmrec_bench_head(options, out);
    out->seed = options->seed;
    if (options->case_count < 1) MMREC_FAIL(error, MMREC_USAGE, "there is no case to measure");
    mmrec_status status = run_all(&runner, out, error);
    device_meter_close(&runner.meter);
    out->timing = runner.meter.timing;
    mmrec_alloc(allocator, runner.data.bytes, runner.data.size, 0, MMREC_ALLOC_FILE);
    if (status != MMREC_OK) {
        mmrec_bench_result_free(allocator, out);
        return status;
    }
    out->interrupted = mmrec_measure_interrupted();
    out->peak_rss_bytes = mmrec_machine_peak_rss();
    mmrec_clock_date(out->ended, sizeof out->ended);
    return MMREC_OK;
}

void mmrec_bench_result_free(mmrec_allocator *allocator, mmrec_bench_result *result) {
    for (int i = 0; i < result->case_count; i++) {
        for (int side = 0; side < BENCH_SIDES; side++) {
            for (int kind = 0; kind < MMREC_MEASURE_KINDS; kind++) {
                bench_row_free(allocator, &result->cases[i].side[side].row[kind]);
            }
        }
    }
    if (result->cases) {
        mmrec_alloc(allocator, result->cases, (size_t)result->case_count * sizeof *result->cases, 0,
                    MMREC_ALLOC_MEASURE);
    }
    result->cases = NULL;
    result->case_count = 0;
}
