/* The printers, from hand-made results: golden texts, CSV and JSON that others can read, and what happens without
 * figures, without memory and without a place to write to. */
#include "../cli/json_schema.h"
#include "core/json.h"
#include "golden_text.h"
#include "output_aside.h"
#include "report/markdown.h"
#include "report/output.h"
#include "report_example.h"

#include <math.h>
#include <sys/stat.h>

/* ---- golden texts ---- */

static void check_text(const char *name, const example *e, bool csv, bool view) {
    char path[64];
    mmrec_buffer text;
    mmrec_buffer_begin(&text, &allocator);
    if (csv)
        mmrec_csv(&e->report, &text);
    else
        mmrec_markdown(&e->report, view, &text);
    snprintf(path, sizeof path, "report/%s", name);
    expect_golden(path, &text);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void markdown_both(void **state) {
    (void)state;
    static example e;
    make_example(&e);
    check_text("both.md", &e, false, true);
}

static void markdown_single(void **state) {
    (void)state;
    static example e;
    make_example(&e);
    keep_side_on(&e);
    check_text("single.md", &e, false, true);
}

static void markdown_ops(void **state) {
    (void)state;
    static example e;
    make_ops(&e);
    check_text("ops.md", &e, false, false);
}

static void markdown_against(void **state) {
    (void)state;
    static example e;
    make_against(&e);
    check_text("against.md", &e, false, false);
    make_yardstick_missing(&e);
    check_text("against-missing.md", &e, false, false);
}

/* The words of the option stand for the enumeration, in its order. */
static void names_of_yardsticks(void **state) {
    (void)state;
    const char *choice = mmrec_option_get(MMREC_OPTION_against)->choices;
    for (int i = 0; i < MMREC_AGAINST_COUNT; i++) {
        size_t length = strcspn(choice, "|");
        assert_int_equal(strlen(mmrec_against_name((mmrec_against)i)), length);
        assert_memory_equal(mmrec_against_name((mmrec_against)i), choice, length);
        choice += length + (choice[length] == '|');
    }
    assert_string_equal(choice, "");
}

static void markdown_plan(void **state) {
    (void)state;
    static example e;
    make_plan(&e);
    check_text("plan.md", &e, false, false);
}

/* An interrupted run of two cases: one side half measured, one case not at all. */
static void make_partial(example *e) {
    make_example(e);
    e->report.bench.interrupted = true;
    e->report.bench.case_count = 2;
    e->cases[1].input = e->input;
    snprintf(e->cases[1].failure, sizeof e->cases[1].failure, "interrupted before it was measured");
    memset(&e->cases[0].paired[2], 0, sizeof e->cases[0].paired[2]);
    memset(&e->cases[0].side[1].row[3], 0, sizeof e->cases[0].side[1].row[3]);
    memset(&e->cases[0].paired[3], 0, sizeof e->cases[0].paired[3]);
    e->cases[0].side[1].row[3].series.stats.median = 0;
}

static void markdown_partial(void **state) {
    (void)state;
    static example e;
    make_partial(&e);
    check_text("partial.md", &e, false, true);
}

static void markdown_device(void **state) {
    (void)state;
    static example e;
    make_device(&e);
    check_text("device.md", &e, false, true);
    make_emulated(&e);
    check_text("emulated.md", &e, false, true);
}

static void csv_texts(void **state) {
    (void)state;
    static example e;
    make_example(&e);
    snprintf(e.cases[0].failure, sizeof e.cases[0].failure, "a \"quoted\", bad thing");
    check_text("both.csv", &e, true, false);
    make_device(&e);
    check_text("device.csv", &e, true, false);
    make_emulated(&e);
    check_text("emulated.csv", &e, true, false);
    make_ops(&e);
    check_text("ops.csv", &e, true, false);
    make_against(&e);
    check_text("against.csv", &e, true, false);
    make_yardstick_missing(&e);
    check_text("against-missing.csv", &e, true, false);
    make_plan(&e);
    check_text("plan.csv", &e, true, false);
}

/* ---- JSON ---- */

static json_t *parse_file(const char *path) {
    json_error_t fault;
    json_t *value = json_load_file(path, JSON_REJECT_DUPLICATES, &fault);
    if (!value) fail_msg("%s:%d: %s", path, fault.line, fault.text);
    return value;
}

static json_t *render_json(const example *e) {
    mmrec_buffer text;
    mmrec_error error;
    json_error_t fault;
    mmrec_buffer_begin(&text, &allocator);
    if (mmrec_json(&allocator, &e->report, &text, &error) != MMREC_OK) fail_msg("%s", error.message);
    json_t *value = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &fault);
    if (!value) fail_msg("line %d: %s", fault.line, fault.text);
    mmrec_buffer_free(&text);
    return value;
}

static json_t *valid_json(const example *e) {
    schema_check check;
    json_t *schema = parse_file(MMREC_GOLDEN "/../../docs/bench.schema.json");
    json_t *value = render_json(e);
    const char *fault = schema_fault(&check, schema, value);
    if (*fault) fail_msg("%s", fault);
    json_decref(schema);
    return value;
}

static const json_t *at(const json_t *value, const char *path) {
    char part[64];
    for (; *path; path += *path == '.') {
        size_t length = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)length, path);
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(part)) : json_object_get(value, part);
        path += length;
    }
    return value;
}

static void json_both(void **state) {
    (void)state;
    static example e;
    make_example(&e);
    mmrec_allocator *before = mmrec_json_use(&allocator);
    json_t *value = valid_json(&e);
    assert_string_equal(json_string_value(at(value, "seed")), "18446744073709551615");
    assert_string_equal(json_string_value(at(value, "options.seed.source")), "flag");
    assert_string_equal(json_string_value(at(value, "options.hem.source")), "default");
    assert_string_equal(json_string_value(at(value, "context.0.value")), "a, \"quoted\" one");
    assert_true(json_is_null(at(value, "environment.l3_bytes")));
    /* Samples and figures come back exactly. */
    for (int i = 0; i < SAMPLES; i++) {
        char path[80];
        snprintf(path, sizeof path, "cases.0.sides.0.measures.2.samples_ns.%d", i);
        assert_true(json_real_value(at(value, path)) == e.samples[0][2][i]);
    }
    assert_true(json_real_value(at(value, "cases.0.sides.0.measures.2.stats.median_ns")) == 6.123456789e6);
    assert_true(json_real_value(at(value, "cases.0.sides.0.measures.2.tokens_per_s")) == 1024 * (1e9 / 6.123456789e6));
    assert_true(json_real_value(at(value, "comparisons.0.improvement")) == 1 - 0.95);
    assert_string_equal(json_string_value(at(value, "comparisons.3.verdict")), "slower");
    assert_string_equal(json_string_value(at(value, "comparisons.3.ratio_of")), "HEM on / HEM off");
    assert_int_equal(json_integer_value(at(value, "status.exit_code")), 0);
    assert_int_equal(json_array_size(at(value, "warnings")), 5);
    json_decref(value);
    mmrec_json_use(before);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static bool has_warning(const json_t *value, const char *code);

static void json_device(void **state) {
    (void)state;
    static example e;
    make_device(&e);
    mmrec_allocator *before = mmrec_json_use(&allocator);
    json_t *value = valid_json(&e);
    const json_t *row = at(value, "cases.0.sides.1.measures.4");
    assert_string_equal(json_string_value(at(value, "device.name")), "Example GPU");
    assert_string_equal(json_string_value(at(value, "timing.fallback")), "another profiler holds the device");
    assert_string_equal(json_string_value(at(row, "name")), "optimizer step");
    assert_int_equal(json_integer_value(at(row, "device.launches")), 149);
    assert_true(json_real_value(at(row, "device.host_stats.median_ns")) == 1.25 * 3e5);
    assert_string_equal(json_string_value(at(row, "device.samples.5.slowed_by")), "power cap, heat");
    assert_true(json_is_null(at(row, "device.samples.0.slowed_by"))); /* clocks set by someone are no trouble */
    assert_int_equal(json_integer_value(at(row, "device.slowed_samples")), 1);
    assert_int_equal(json_integer_value(at(row, "device.kernels.1.launches")), 0); /* a real number */
    assert_true(json_real_value(at(row, "device.kernels.1.launches")) == 2);
    const json_t *memory = at(value, "cases.0.sides.0.memory_phases");
    assert_int_equal(json_array_size(memory), MMREC_MEMORY_PHASES);
    assert_int_equal(json_integer_value(at(memory, "0.unaccounted_bytes")), 0);
    assert_int_equal(json_integer_value(at(memory, "1.unaccounted_bytes")), (5 << 20) - (26 << 20));
    assert_true(has_warning(value, "slowed") && has_warning(value, "timer_fallback") &&
                has_warning(value, "launch_gaps"));
    assert_false(has_warning(value, "clocks_unknown"));
    json_decref(value);
    make_emulated(&e);
    value = valid_json(&e);
    row = at(value, "cases.0.sides.1.measures.0");
    assert_true(json_is_null(at(row, "stats")) && json_is_null(at(row, "tokens_per_s")));
    assert_string_equal(json_string_value(at(row, "reason")), "emulated");
    assert_int_equal(json_array_size(at(row, "samples_ns")), 0);
    assert_int_equal(json_integer_value(at(row, "device.launches")), 29);
    assert_true(json_is_null(at(value, "comparisons.0.verdict")));
    assert_string_equal(json_string_value(at(value, "comparisons.0.reason")), "emulated");
    assert_true(has_warning(value, "emulated"));
    json_decref(value);
    mmrec_json_use(before);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static bool has_warning(const json_t *value, const char *code) {
    size_t i;
    const json_t *list = at(value, "warnings"), *one;
    json_array_foreach(list, i, one) {
        if (strcmp(json_string_value(at(one, "code")), code) == 0) return true;
    }
    return false;
}

/* One sample has no spread; it must not look exact. */
static void few_samples_have_no_interval(void **state) {
    (void)state;
    static example e;
    make_example(&e);
    mmrec_series *series = &e.cases[0].side[0].row[0].series;
    series->count = series->stats.count = 1;
    series->stats.ci95 = (mmrec_interval){series->stats.median, series->stats.median};
    mmrec_allocator *before = mmrec_json_use(&allocator);
    json_t *value = valid_json(&e);
    const json_t *stats = at(value, "cases.0.sides.0.measures.0.stats");
    assert_true(json_real_value(at(stats, "median_ns")) == 2.5e6);
    assert_true(json_is_null(at(stats, "ci95_low_ns")) && json_is_null(at(stats, "ci95_high_ns")));
    assert_true(json_is_null(at(stats, "deviation_ns")));
    assert_true(has_warning(value, "samples_few"));
    json_decref(value);
    mmrec_json_use(before);
    check_text("few.md", &e, false, true);
}

static void make_self_test(example *e) {
    make_example(e);
    e->setup.run.self_test = true;
    e->setup.run.hem = MMREC_HEM_ON;
    e->cases[0].side[0].hem = true;
}

static void self_test_names_its_sides(void **state) {
    (void)state;
    static example e;
    make_self_test(&e);
    mmrec_allocator *before = mmrec_json_use(&allocator);
    json_t *value = valid_json(&e);
    assert_string_equal(json_string_value(at(value, "comparisons.0.ratio_of")), "HEM on, second / HEM on, first");
    assert_true(json_is_true(at(value, "cases.0.sides.0.hem")));
    assert_true(has_warning(value, "self_test"));
    json_decref(value);
    mmrec_json_use(before);
    check_text("self.md", &e, false, true);
}

static void json_against(void **state) {
    (void)state;
    static example e;
    make_against(&e);
    mmrec_allocator *before = mmrec_json_use(&allocator);
    json_t *value = valid_json(&e);
    assert_string_equal(json_string_value(at(value, "ops.0.against.name")), "cudnn-lstm-fp16");
    assert_string_equal(json_string_value(at(value, "ops.0.against.passes.1.kernel")), "standard (not recorded)");
    assert_true(json_is_null(at(value, "ops.0.against.passes.0.work")));
    assert_true(json_is_null(at(value, "ops.0.against.passes.0.flops_per_s")));
    assert_true(json_is_null(at(value, "ops.0.against.passes.0.device.launches")));
    assert_true(json_real_value(at(value, "ops.0.against.passes.0.stats.median_ns")) == 1.25e6);
    assert_true(json_real_value(at(value, "ops.0.against.passes.1.comparison.ratio")) == 0.8);
    assert_string_equal(json_string_value(at(value, "ops.0.against.passes.0.comparison.verdict")), "faster");
    assert_string_equal(json_string_value(at(value, "ops.0.against.passes.0.comparison.ratio_of")),
                        "recurrence / cudnn-lstm-fp16");
    json_decref(value);
    make_yardstick_missing(&e);
    value = valid_json(&e);
    assert_string_equal(json_string_value(at(value, "ops.0.against.missing")), "no cuDNN: built without it");
    assert_int_equal(json_array_size(at(value, "ops.0.against.passes")), 0);
    json_decref(value);
    make_ops(&e);
    value = valid_json(&e);
    assert_true(json_is_null(at(value, "ops.0.against")));
    json_decref(value);
    mmrec_json_use(before);
}

static void json_others(void **state) {
    (void)state;
    static example e;
    mmrec_allocator *before = mmrec_json_use(&allocator);
    make_partial(&e);
    json_t *value = valid_json(&e);
    assert_int_equal(json_integer_value(at(value, "status.exit_code")), 130);
    assert_true(json_is_null(at(value, "cases.0.sides.1.measures.3.stats")));
    assert_true(json_is_null(at(value, "cases.1.parameters")));
    assert_string_equal(json_string_value(at(value, "cases.0.sides.1.measures.3.reason")), "no samples were taken");
    assert_true(json_is_null(at(value, "comparisons.3.ratio")));
    json_decref(value);
    make_ops(&e);
    value = valid_json(&e);
    assert_int_equal(json_integer_value(at(value, "status.exit_code")), 1);
    assert_int_equal(json_integer_value(at(value, "status.failures.0.op")), 1);
    json_decref(value);
    make_plan(&e);
    value = valid_json(&e);
    assert_int_equal(json_integer_value(at(value, "plans.0.batch_fit")), 77);
    assert_true(json_is_null(at(value, "ceilings")));
    json_decref(value);
    mmrec_json_use(before);
    assert_int_equal(allocator.total.live_bytes, 0);
}

/* What is not a number must not become a token that JSON does not have, and what is not UTF-8 must not stop it. */
static void json_hostile(void **state) {
    (void)state;
    static example e;
    make_example(&e);
    mmrec_allocator *before = mmrec_json_use(&allocator);
    snprintf(e.report.bench.data, sizeof e.report.bench.data, "fi\xffle (3 bytes)");
    e.cases[0].paired[0].ratio = (double)NAN;
    e.cases[0].side[0].check.output_error = (double)INFINITY;
    e.cases[0].side[0].check.passed = false;
    json_t *value = valid_json(&e);
    assert_string_equal(json_string_value(at(value, "data")), "fi?le (3 bytes)");
    assert_true(json_is_null(at(value, "comparisons.0.ratio")));
    assert_true(json_is_null(at(value, "cases.0.sides.0.check.output_error")));
    assert_int_equal(json_integer_value(at(value, "status.exit_code")), 1);
    json_decref(value);
    mmrec_json_use(before);
}

/* The validator itself finds faults: without this it could accept everything. */
static void validator_refuses(void **state) {
    (void)state;
    static example e;
    schema_check check;
    make_example(&e);
    mmrec_allocator *before = mmrec_json_use(&allocator);
    json_t *schema = parse_file(MMREC_GOLDEN "/../../docs/bench.schema.json"), *value = valid_json(&e);
    json_object_set_new(value, "extra", json_null());
    assert_string_equal(schema_fault(&check, schema, value), "$: has the unknown key extra");
    json_object_del(value, "extra");
    json_object_set_new(json_object_get(value, "status"), "exit_code", json_integer(3));
    assert_string_equal(schema_fault(&check, schema, value), "$.status.exit_code: is not in the enum ");
    json_object_set_new(json_object_get(value, "status"), "exit_code", json_integer(0));
    json_object_set_new(json_object_get(value, "environment"), "processors", json_integer(0));
    assert_string_equal(schema_fault(&check, schema, value), "$.environment.processors: is below the minimum ");
    json_object_set_new(json_object_get(value, "environment"), "processors", json_string("2"));
    assert_string_equal(schema_fault(&check, schema, value), "$.environment.processors: has the wrong type ");
    json_object_del(json_object_get(value, "environment"), "processors");
    assert_string_equal(schema_fault(&check, schema, value), "$.environment: lacks processors");
    json_object_set_new(schema, "pattern", json_string("x"));
    assert_string_equal(schema_fault(&check, schema, json_object_get(value, "seed")), "$: has the wrong type ");
    json_object_del(schema, "type");
    assert_string_equal(schema_fault(&check, schema, json_object_get(value, "seed")), "$: the schema uses pattern");
    json_decref(value);
    json_decref(schema);
    mmrec_json_use(before);
}

/* ---- exit codes, faults, outputs ---- */

static void exit_codes(void **state) {
    (void)state;
    static example e;
    char text[MMREC_ERROR_MESSAGE];
    make_example(&e);
    assert_int_equal(mmrec_report_exit(&e.report, text, sizeof text), 0);
    assert_string_equal(text, "");
    e.cases[0].side[1].check.passed = false;
    assert_int_equal(mmrec_report_exit(&e.report, text, sizeof text), 1);
    assert_string_equal(text, "1 of 1 failed; the first: HEM on differs from ref: outputs by 1.2e-07 (at most 1e-05), "
                              "gradients by 2.5e-06 (at most 0.0001)");
    e.cases[0].side[0].check.done = false;
    assert_int_equal(mmrec_report_exit(&e.report, text, sizeof text), 1);
    assert_string_equal(text, "1 of 1 failed; the first: HEM off was not checked against ref");
    make_partial(&e);
    assert_int_equal(mmrec_report_exit(&e.report, text, sizeof text), 130);
    e.report.interrupt_exit = 143;
    assert_int_equal(mmrec_report_exit(&e.report, text, sizeof text), 143);
}

static mmrec_status write_with_json(const char *path, mmrec_error *error) {
    static example e;
    make_example(&e);
    e.options.value[MMREC_OPTION_export_json].count = 1;
    e.options.value[MMREC_OPTION_export_json].text[0] = path;
    mmrec_error_clear(error);
    return mmrec_report_write(&allocator, &io, &e.report, error);
}

/* Every request for memory, and every call of the system, fails once: always a message, never a leak or a torn file. */
static void faults(void **state) {
    (void)state;
    char path[64];
    mmrec_error error;
    snprintf(path, sizeof path, "/tmp/mmrec-test-report-%ld.json", (long)getpid());
    int standard = output_nowhere(), failures = 0;
    for (uint64_t k = 1;; k++) {
        allocator.fail_at = allocator.attempts + k;
        mmrec_status status = write_with_json(path, &error);
        assert_int_equal(allocator.total.live_bytes, 0);
        if (allocator.attempts < allocator.fail_at) break;
        failures++;
        assert_int_equal(status, MMREC_NO_MEMORY);
        assert_true(error.message[0] != '\0');
    }
    allocator.fail_at = 0;
    assert_true(failures > 100);
    unlink(path);
    mmrec_allocator *before = mmrec_json_use(&allocator);
    for (uint64_t k = 1;; k++) {
        io.fail_at = io.attempts + k;
        mmrec_status status = write_with_json(path, &error);
        if (io.attempts < io.fail_at) break;
        if (status != MMREC_OK) assert_true(error.message[0] != '\0');
        struct stat file;
        if (stat(path, &file) == 0) json_decref(parse_file(path));
    }
    io.fail_at = 0;
    mmrec_json_use(before);
    unlink(path);
    output_back(standard);
}

static void locale_plays_no_part(void **state) {
    (void)state;
    mmrec_buffer text;
    mmrec_buffer_begin(&text, &allocator);
    mmrec_buffer_format(&text, "%.2f", 1.5);
    assert_memory_equal(text.data, "1.50", 4);
    mmrec_buffer_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markdown_both),
        cmocka_unit_test(markdown_single),
        cmocka_unit_test(markdown_ops),
        cmocka_unit_test(markdown_against),
        cmocka_unit_test(names_of_yardsticks),
        cmocka_unit_test(markdown_plan),
        cmocka_unit_test(markdown_partial),
        cmocka_unit_test(markdown_device),
        cmocka_unit_test(csv_texts),
        cmocka_unit_test(json_both),
        cmocka_unit_test(json_device),
        cmocka_unit_test(few_samples_have_no_interval),
        cmocka_unit_test(self_test_names_its_sides),
        cmocka_unit_test(json_against),
        cmocka_unit_test(json_others),
        cmocka_unit_test(json_hostile),
        cmocka_unit_test(validator_refuses),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(faults),
        cmocka_unit_test(locale_plays_no_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
