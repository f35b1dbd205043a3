/* Runs what the setup asks for and keeps the results for the printers. */
#include "mmrec/report.h"

#include <stdio.h>
#include <string.h>

mmrec_status mmrec_report_run(mmrec_allocator *allocator, mmrec_bench_observer observer, mmrec_report *report,
                              mmrec_error *error) {
    report->has_ceilings = !report->setup->run.no_ceilings;
    return mmrec_bench_run(allocator, &report->setup->run, observer, &report->bench, error);
}

/* The head of a report whose cases are not timed. */
static void begin_head(mmrec_report *report, const char *data) {
    const mmrec_bench_options *run = &report->setup->run;
    mmrec_bench_result *head = &report->bench;
    memset(head, 0, sizeof *head);
    mmrec_machine_read(&head->machine, run->threads);
    mmrec_bench_head(run, head);
    snprintf(head->data, sizeof head->data, "%s", data);
    head->seed = run->seed;
    mmrec_clock_date(head->started, sizeof head->started);
}

static void end_head(mmrec_report *report) {
    report->bench.interrupted = mmrec_measure_interrupted();
    report->bench.peak_rss_bytes = mmrec_machine_peak_rss();
    mmrec_clock_date(report->bench.ended, sizeof report->bench.ended);
}

/* ---- ops ---- */

/* Progress of one op as a part of all of them. */
typedef struct op_part {
    mmrec_bench_observer all;
    int index, count;
} op_part;

static void part_message(void *context, const char *text) {
    const op_part *part = context;
    if (part->all.message) part->all.message(part->all.context, text);
}

static void part_progress(void *context, double done) {
    const op_part *part = context;
    if (part->all.progress) part->all.progress(part->all.context, (part->index + done) / part->count);
}

static void run_op(mmrec_allocator *allocator, op_part *part, const mmrec_ceiling_source *ceilings,
                   mmrec_report *report) {
    const mmrec_bench_setup *setup = report->setup;
    mmrec_op_result *result = &report->ops[part->index];
    mmrec_bench_observer observer = {part_message, part_progress, part};
    mmrec_error error;
    mmrec_error_clear(&error);
    mmrec_op_id op = setup->op[part->index];
    mmrec_status status = mmrec_bench_op(allocator, op, setup->at, &setup->run, ceilings, observer, result, &error);
    report->bench.timing = result->timing; /* the same for every op */
    if (status == MMREC_OK) return;
    const mmrec_op_def *def = mmrec_op_get(op, MMREC_VARIANT_F64);
    result->op = def->name;
    snprintf(result->size, sizeof result->size, "%s", setup->at ? setup->at : def->bench);
    mmrec_error_text(&error, result->failure, sizeof result->failure);
    result->device_lost = error.code == MMREC_NO_DEVICE;
}

static mmrec_status open_ceilings(mmrec_allocator *allocator, mmrec_bench_observer observer, mmrec_report *report,
                                  mmrec_ceiling_source *out, mmrec_error *error) {
    *out = (mmrec_ceiling_source){0};
    report->has_ceilings = !report->setup->run.no_ceilings;
    if (!report->has_ceilings) return MMREC_OK;
    if (observer.message) observer.message(observer.context, "machine: measuring sgemm and copy rates");
    MMREC_TRY(mmrec_ceilings_open(allocator, report->setup->run.threads, out, error));
    report->bench.ceilings = out->best;
    return MMREC_OK;
}

static mmrec_status run_ops(mmrec_allocator *allocator, mmrec_bench_observer observer,
                            const mmrec_ceiling_source *ceilings, mmrec_report *report, mmrec_error *error) {
    int count = report->setup->op_count;
    void *ops = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, (size_t)count, sizeof *report->ops, MMREC_ALLOC_REPORT, &ops, error));
    report->ops = ops;
    for (int i = 0; i < count && !mmrec_measure_interrupted(); i++) {
        op_part part = {observer, i, count};
        report->op_count = i + 1;
        run_op(allocator, &part, ceilings, report);
    }
    return MMREC_OK;
}

mmrec_status mmrec_report_run_ops(mmrec_allocator *allocator, mmrec_bench_observer observer, mmrec_report *report,
                                  mmrec_error *error) {
    mmrec_ceiling_source ceilings;
    begin_head(report, "random values");
    MMREC_TRY(mmrec_backend_set_threads(report->setup->run.threads, error));
    MMREC_TRY(open_ceilings(allocator, observer, report, &ceilings, error));
    mmrec_status status = run_ops(allocator, observer, report->has_ceilings ? &ceilings : NULL, report, error);
    mmrec_ceilings_close(&ceilings);
    if (status != MMREC_OK) return status;
    end_head(report);
    return MMREC_OK;
}

/* ---- plans ---- */

static mmrec_status plan_case(mmrec_allocator *allocator, int index, mmrec_report *report, mmrec_error *error) {
    const mmrec_bench_setup *setup = report->setup;
    for (int hem = 0; hem < 2; hem++) {
        if (setup->run.hem == (hem ? MMREC_HEM_OFF : MMREC_HEM_ON)) continue;
        MMREC_TRY_WHILE(mmrec_bench_plan(allocator, &setup->cases[index], hem, &setup->run, setup->budget_bytes,
                                         &report->plans[report->plan_count], error),
                        error, "planning case %d of %d", index + 1, setup->run.case_count);
        report->plan_count++;
    }
    return MMREC_OK;
}

mmrec_status mmrec_report_plan(mmrec_allocator *allocator, mmrec_report *report, mmrec_error *error) {
    const mmrec_bench_setup *setup = report->setup;
    void *plans = NULL;
    begin_head(report, "no data");
    MMREC_TRY(mmrec_alloc_zero(allocator, 2 * (size_t)setup->run.case_count, sizeof *report->plans, MMREC_ALLOC_REPORT,
                               &plans, error));
    report->plans = plans;
    for (int i = 0; i < setup->run.case_count && !mmrec_measure_interrupted(); i++)
        MMREC_TRY(plan_case(allocator, i, report, error));
    end_head(report);
    return MMREC_OK;
}

void mmrec_report_free(mmrec_allocator *allocator, mmrec_report *report) {
    for (int i = 0; i < report->op_count; i++) mmrec_op_result_free(allocator, &report->ops[i]);
    size_t ops = (size_t)report->setup->op_count, plans = 2 * (size_t)report->setup->run.case_count;
    if (report->ops) mmrec_alloc(allocator, report->ops, ops * sizeof *report->ops, 0, MMREC_ALLOC_REPORT);
    if (report->plans) mmrec_alloc(allocator, report->plans, plans * sizeof *report->plans, 0, MMREC_ALLOC_REPORT);
    report->ops = NULL;
    report->plans = NULL;
    report->op_count = report->plan_count = 0;
    mmrec_bench_result_free(allocator, &report->bench);
}
