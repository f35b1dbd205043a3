/* The JSON document (docs/bench.schema.json): real numbers, units in the keys, null with a reason where there is none.
 */
#include "report/json_impl.h"
#include "report/output.h"

#include <stdio.h>
#include <string.h>

static void put_status(json_out out, const mmrec_report *report) {
    char text[MMREC_ERROR_MESSAGE];
    json_out o = json_put_object(out, "status");
    json_put_whole(o, "exit_code", mmrec_report_exit(report, text, sizeof text));
    json_put_bool(o, "interrupted", report->bench.interrupted);
    json_out failures = json_put_array(o, "failures");
    for (int i = 0; i < report->bench.case_count + report->op_count; i++) {
        int op = i - report->bench.case_count;
        bool failed = op < 0 ? mmrec_case_failure(report, &report->bench.cases[i], text, sizeof text)
                             : mmrec_op_failure(&report->ops[op], text, sizeof text);
        if (!failed) continue;
        json_out failure = json_put_object(failures, NULL);
        json_put_whole(failure, op < 0 ? "case" : "op", op < 0 ? i : op);
        json_put_text(failure, "message", text);
    }
}

static void put_context(json_out out, const mmrec_report *report) {
    const mmrec_option_value *value = &report->options->value[MMREC_OPTION_context];
    json_out list = json_put_array(out, "context");
    for (int i = 0; i < value->count; i++) {
        const char *equals = strchr(value->text[i], '=');
        char key[256];
        snprintf(key, sizeof key, "%.*s", (int)(equals - value->text[i]), value->text[i]);
        json_out o = json_put_object(list, NULL);
        json_put_text(o, "key", key);
        json_put_text(o, "value", equals + 1);
    }
}

static void put_timing(json_out out, const mmrec_bench_result *b) {
    const mmrec_timing *t = &b->timing;
    json_out o = json_put_object(out, "timing");
    json_put_text(o, "wanted", mmrec_timer_name(t->wanted));
    json_put_text(o, "used", mmrec_timer_name(t->used));
    json_put_known(o, "fallback", t->fallback);
    json_put(o, "cache", b->device.name[0] ? json_string(t->cold ? "cold" : "hot") : json_null());
    json_put_bool(o, "clocks", t->clocks);
    json_put_known(o, "no_clocks", t->no_clocks);
    json_put_bool(o, "launch_gaps", t->gaps);
    json_put_whole(o, "kernel_records_lost", (int64_t)t->records_lost);
}

static void put_head(json_out out, const mmrec_report *report) {
    json_put_schema(out, "mmrec.bench", "1.2", report->options->program);
    json_put_text(out, "mode", mmrec_report_mode(report));
    json_put_text(out, "started_at", report->bench.started);
    json_put_text(out, "ended_at", report->bench.ended);
    put_status(out, report);
    json_put_options(out, report->options);
    put_context(out, report);
    json_put_machine(out, &report->bench.machine);
    json_put_text(out, "backend", report->bench.backend);
    json_put_known(out, "backend_choice", report->bench.choice);
    json_put_text(out, "dtype", mmrec_dtype_name(report->bench.dtype));
    json_put_device(out, &report->bench.device);
    put_timing(out, &report->bench);
    json_put_seed(out, "seed", report->bench.seed);
    json_put_text(out, "data", report->bench.data);
    json_put_sampling(out, &report->setup->run.sampling, &report->setup->run.budget_s);
    json_put_ceilings(out, report->has_ceilings ? &report->bench.ceilings : NULL);
    json_put_known_size(out, "peak_rss_bytes", report->bench.peak_rss_bytes);
}

mmrec_status mmrec_json(mmrec_allocator *allocator, const mmrec_report *report, mmrec_buffer *out, mmrec_error *error) {
    json_document document;
    mmrec_warnings warnings;
    json_out all = json_begin(&document, allocator);
    mmrec_warnings_of(report, &warnings);
    put_head(all, report);
    json_put_cases(all, report);
    json_put_comparisons(all, report);
    json_put_ops(all, report);
    json_put_plans(all, report);
    json_put_warnings(all, &warnings);
    return json_end(&document, "report", out, error);
}
