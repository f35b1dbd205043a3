/* The JSON document (docs/bench.schema.json): real numbers, units in the keys, null with a reason where there is none.
 */
#include "core/json.h"
#include "mmrec/version.h"
#include "report/json_impl.h"
#include "report/output.h"

#include <stdio.h>
#include <string.h>

static void put_generator(json_out out, const mmrec_report *report) {
    json_out o = json_put_object(out, "generator");
    json_put_text(o, "name", mmrec_program_name(report->options->program));
    json_put_text(o, "version", mmrec_version());
}

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

/* Every option that has a value, as it was written, and where it came from. */
void json_put_options(json_out out, const mmrec_options *all) {
    json_out options = json_put_object(out, "options");
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        const mmrec_option_value *value = &all->value[i];
        if (value->count == 0 || i == MMREC_OPTION_context) continue;
        json_out o = json_put_object(options, mmrec_option_get((mmrec_option_id)i)->flag);
        json_put_text(o, "source", mmrec_option_source_name(value->source));
        if (value->source == MMREC_SOURCE_FILE) json_put_whole(o, "line", value->line);
        json_out texts = json_put_array(o, "values");
        for (int t = 0; t < value->count; t++) json_put_text(texts, NULL, value->text[t]);
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

void json_put_machine(json_out out, const mmrec_machine *m) {
    json_out o = json_put_object(out, "environment");
    json_put_known(o, "cpu", m->cpu);
    json_put_known(o, "os", m->os);
    json_put_known(o, "kernel", m->kernel);
    json_put_known(o, "governor", m->governor);
    json_put_known(o, "isa", m->isa);
    json_put_known(o, "blas", m->blas);
    json_put_known(o, "compiler", m->compiler);
    json_put_whole(o, "processors", m->processors);
    json_put_whole(o, "threads", m->threads);
    json_put_known_size(o, "memory_bytes", m->memory_bytes);
    json_put_known_size(o, "l1d_bytes", m->l1d_bytes);
    json_put_known_size(o, "l2_bytes", m->l2_bytes);
    json_put_known_size(o, "l3_bytes", m->l3_bytes);
    json_put_real_if(o, "load1", m->load1 >= 0, m->load1);
}

void json_put_device(json_out out, const mmrec_device_info *d) {
    if (!d->name[0]) {
        json_put(out, "device", json_null());
        return;
    }
    json_out o = json_put_object(out, "device");
    json_put_text(o, "name", d->name);
    json_put_bool(o, "emulated", d->emulated);
    json_put_whole(o, "capability", d->capability);
    json_put_whole(o, "sms", d->sms);
    json_put_known_size(o, "memory_bytes", d->memory_bytes);
    json_put_known_size(o, "l2_bytes", d->l2_bytes);
    json_put_whole(o, "runtime_version", d->runtime_version);
    json_put_whole(o, "driver_version", d->driver_version);
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

static void put_ceilings(json_out out, const mmrec_report *report) {
    if (!report->has_ceilings) {
        json_put(out, "ceilings", json_null());
        return;
    }
    json_out o = json_put_object(out, "ceilings");
    json_put_real(o, "sgemm_flops_per_s", report->bench.ceilings.sgemm_flops_per_s);
    json_put_real(o, "copy_bytes_per_s", report->bench.ceilings.copy_bytes_per_s);
}

static void put_sampling(json_out out, const mmrec_bench_options *run) {
    const mmrec_sampling *s = &run->sampling;
    json_out o = json_put_object(out, "sampling");
    json_put_real(o, "warmup_s", s->warmup_s);
    json_put_real(o, "min_time_s", s->min_time_s);
    json_put_real(o, "max_time_s", s->max_time_s);
    json_put_real(o, "total_time_s", run->budget_s);
    json_put_real(o, "target_ci", s->target_ci);
    json_put_whole(o, "min_samples", s->min_samples);
    json_put_whole(o, "max_samples", s->max_samples);
    json_put_whole(o, "least_samples", s->least_samples);
}

static void put_warnings(json_out out, const mmrec_report *report) {
    mmrec_warnings warnings;
    mmrec_warnings_of(report, &warnings);
    json_out list = json_put_array(out, "warnings");
    for (int i = 0; i < warnings.count; i++) {
        json_out o = json_put_object(list, NULL);
        json_put_text(o, "code", warnings.item[i].code);
        json_put_text(o, "message", warnings.item[i].message);
    }
}

/* A seed has 64 bits, a JSON number 53: it is written as text. */
static void put_head(json_out out, const mmrec_report *report) {
    char seed[32];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)report->bench.seed);
    json_put_text(out, "schema", "mmrec.bench");
    json_put_text(out, "schema_version", "1.1");
    put_generator(out, report);
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
    json_put_text(out, "seed", seed);
    json_put_text(out, "data", report->bench.data);
    put_sampling(out, &report->setup->run);
    put_ceilings(out, report);
    json_put_known_size(out, "peak_rss_bytes", report->bench.peak_rss_bytes);
}

static int append(const char *data, size_t size, void *context) {
    mmrec_buffer *out = context;
    mmrec_buffer_bytes(out, data, size);
    return out->failed ? -1 : 0;
}

mmrec_status mmrec_json(mmrec_allocator *allocator, const mmrec_report *report, mmrec_buffer *out, mmrec_error *error) {
    mmrec_allocator *before = mmrec_json_use(allocator);
    json_document document = {.allocator = allocator};
    json_t *root = json_object();
    json_out all = {root, &document};
    put_head(all, report);
    json_put_cases(all, report);
    json_put_comparisons(all, report);
    json_put_ops(all, report);
    json_put_plans(all, report);
    put_warnings(all, report);
    bool bad = document.failed || json_dump_callback(root, append, out, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) != 0;
    json_decref(root);
    mmrec_json_use(before);
    mmrec_buffer_text(out, "\n");
    if (bad) MMREC_FAIL(error, MMREC_NO_MEMORY, "not enough memory for the JSON of the report");
    return mmrec_buffer_status(out, error);
}
