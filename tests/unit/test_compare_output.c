/* What a comparison prints: golden texts, CSV and JSON that others can read, and every figure that can be missing. */
#include "../cli/json_schema.h"
#include "compare_example.h"
#include "core/json.h"
#include "golden_text.h"

static const compare_pictures no_pictures;

/* ---- texts ---- */

static mmrec_buffer report_of(const example *e, const compare_pictures *pictures, bool details) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, &allocator);
    compare_report(&e->c, &e->options, pictures, details, &text);
    return text;
}

static void golden_texts(void **state) {
    (void)state;
    static example e;
    compare_pictures pictures = {.wanted = true, .folder = "pictures"};
    mmrec_buffer text;
    example_start(&e);
    compare_plot_what(&e.c, &pictures);
    text = report_of(&e, &pictures, true);
    expect_golden("compare/report.md", &text);
    mmrec_buffer_begin(&text, &allocator);
    compare_csv(&e.c, &text);
    expect_golden("compare/rows.csv", &text);
    mmrec_buffer_begin(&text, &allocator);
    compare_plot_data(&e.c, &text);
    expect_golden("compare/plot.dat", &text);
    mmrec_buffer_begin(&text, &allocator);
    compare_plot_script(&e.c, &text);
    expect_golden("compare/plot.gp", &text);
    example_emulated(&e);
    text = report_of(&e, &no_pictures, false);
    expect_golden("compare/emulated.md", &text);
    assert_int_equal(allocator.total.live_bytes, 0);
}

/* The text of a report, ended by a zero byte. */
static const char *text_of(mmrec_buffer *text) {
    mmrec_buffer_bytes(text, "", 1);
    assert_false(text->failed);
    return text->data;
}

static void expect_in(const example *e, const char *wanted, bool there) {
    mmrec_buffer text = report_of(e, &no_pictures, false);
    if ((strstr(text_of(&text), wanted) != NULL) != there)
        fail_msg("%s '%s' in\n%s", there ? "no" : "unexpected", wanted, text.data);
    mmrec_buffer_free(&text);
}

/* What was not asked for has no section; values, not seeds, make the other tasks' columns. */
static void sections(void **state) {
    (void)state;
    static example e;
    example_start(&e);
    e.run.train_steps = 0;
    e.run.axis_name = NULL;
    e.run.layers = false;
    e.run.match = MMREC_MATCH_NONE;
    for (int row = 0; row < ROWS; row++) e.c.row[row].quality = (mmrec_compare_quality){0};
    compare_front(&e.c);
    expect_in(&e, "## Quality", false);
    expect_in(&e, "## Scaling", false);
    expect_in(&e, "## Layers", false);
    expect_in(&e, "Aimed at", false);
    expect_in(&e, "On the Pareto front of step time and planned memory (2 of 3): lstm, gpt heads=4.", false);
    expect_in(&e, "step time and planned memory (", true);
    example_start(&e);
    e.run.task.data_path = NULL;
    expect_in(&e, "Bits per byte", false);
    expect_in(&e, "Perplexity", true);
    e.run.task.kind = MMREC_COMPARE_CLASSES;
    expect_in(&e, "Perplexity", false);
    expect_in(&e, "Accuracy, %", true);
    expect_in(&e, "samples/s", true);
    e.run.task.kind = MMREC_COMPARE_VALUES;
    expect_in(&e, "Accuracy, %", false);
    expect_in(&e, "Held-out loss, mean squared error", true);
    e.c.best_loss = 0.01;
    expect_in(&e, "No model can come below a held-out loss of 0.0100 but by chance.", true);
    e.c.interrupted = true;
    expect_in(&e, "**Interrupted.**", true);
}

/* ---- missing figures ---- */

static void one_row(void **state) {
    (void)state;
    static example e;
    example_start(&e);
    e.run.count = 1;
    compare_front(&e.c);
    expect_in(&e, "Only one row was measured: there is nothing to weigh.", true);
    expect_in(&e, "| Front |", false);
    example_fails(&e, 0, "no memory");
    compare_front(&e.c);
    expect_in(&e, "No row was measured: there is nothing to weigh.", true);
    expect_in(&e, "| lstm  |        n/a |   n/a |          n/a |           n/a |         n/a |       n/a |", true);
    expect_in(&e, "- lstm: no memory", true);
}

static void refused_entry(void **state) {
    (void)state;
    static example e;
    example_start(&e);
    snprintf(e.entries[3].refused, sizeof e.entries[3].refused, "it cannot read ids");
    expect_in(&e, "- gru a|b,\"c\": the loss of?the first batch is not finite", true);
    e.c.row[3].failure[0] = '\0';
    expect_in(&e, "- gru a|b,\"c\": it cannot read ids", true);
}

static void spoil(example *e, int row) {
    mmrec_compare_row *r = &e->c.row[row];
    r->gradient_norm = (double)NAN;
    r->gradients[1].norm = (double)INFINITY;
    r->gradients[1].not_finite = 7;
    r->gradients[1].flow = MMREC_FLOW_NOT_FINITE;
    r->gradients[2].flow = MMREC_FLOW_MISSING;
    r->not_finite = r->missing = 1;
    for (int k = 0; k < SEEDS; k++) {
        r->quality.loss[k] = r->quality.accuracy[k] = r->quality.train_loss[k] = (double)NAN;
        r->quality.diverged[k] = true;
    }
    r->quality.loss_mean = r->quality.loss_low = r->quality.loss_high = (double)NAN;
    r->quality.accuracy_mean = r->quality.accuracy_low = r->quality.accuracy_high = (double)NAN;
    r->time_fit.valid = false;
    snprintf(r->points[3].failure, sizeof r->points[3].failure, "not enough memory");
}

/* Nothing that is not a number gets into a table. */
static void not_finite(void **state) {
    (void)state;
    static example e;
    example_start(&e);
    spoil(&e, 1);
    compare_front(&e.c);
    expect_in(&e, "n/a (not finite)", true);
    expect_in(&e, "3 of 3", true);
    expect_in(&e, "- gpt heads=4 at time 128: not enough memory", true);
    expect_in(&e, "nan", false);
    expect_in(&e, "inf", false);
}

/* One seed has no interval, and few samples have none. */
static void few(void **state) {
    (void)state;
    static example e;
    example_start(&e);
    for (int row = 0; row < 3; row++) {
        e.c.row[row].quality.seeds = 1;
        e.c.row[row].quality.loss_mean = e.c.row[row].quality.loss[0];
        for (int p = 0; p < MMREC_PARTS; p++) {
            mmrec_series *s = &e.c.row[row].series[p];
            s->count = 3;
            s->stats = mmrec_stats_of(s->samples_ns, 3);
            e.c.row[row].paired[p].valid = false;
        }
    }
    compare_front(&e.c);
    expect_in(&e, "\xc2\xb1 n/a", true);
    expect_in(&e, " and a held-out loss that differs by -0.0", true);
    expect_in(&e, " (not decided).", true);
    compare_figures f;
    compare_figures_of(&e.c, 0, &f);
    assert_true(f.learned.valid && !f.learned.has_interval && !f.part[MMREC_PART_STEP].has_interval);
}

/* The example's machine is quiet and its intervals are too wide. */
static void warnings(void **state) {
    (void)state;
    static example e;
    example_start(&e);
    expect_in(&e,
              "\nWarnings:\n\n- Half the interval of a step is wider than the 1 % asked for: lstm, gpt heads=4, mmrec.",
              true);
    expect_in(&e, "load average", false);
    e.run.sampling.target_ci = 0.5;
    expect_in(&e, "Warnings", false);
    e.c.machine.load1 = 0.6;
    e.c.machine.threads = 4;
    e.c.row[1].series[MMREC_PART_STEP].waited_share = 0.03;
    e.c.row[2].series[MMREC_PART_STEP].stats.count = 2;
    expect_in(&e, "- The load average was 0.60 on 2 processors", true);
    expect_in(&e, "- 4 threads share 2 processors", true);
    expect_in(&e, "for more than 2 % of the time: gpt heads=4.", true);
    expect_in(&e, "too few for an interval: mmrec.", true);
    for (int row = 0; row < 3; row++) {
        memset(e.entries[row].label, 'x', MMREC_COMPARE_LABEL - 1);
        e.c.row[row].series[MMREC_PART_STEP].waited_share = 1;
    }
    e.entries[3] = e.entries[0];
    e.c.row[3] = e.c.row[0];
    expect_in(&e, "xxx, ... Other programs ran", false);
    expect_in(&e, "xxx, .... Other programs ran", true);
    example_emulated(&e);
    expect_in(&e, "Warnings", false);
}

static void fused(void **state) {
    (void)state;
    static example e;
    example_start(&e);
    e.entries[0].fused = true;
    e.c.row[0].series[MMREC_PART_FORWARD] = (mmrec_series){0};
    expect_in(&e, "n/a (fused)", true);
    assert_string_equal(compare_no_time_reason(&e.c, 0, MMREC_PART_FORWARD), "fused");
    assert_string_equal(compare_no_time_reason(&e.c, 0, MMREC_PART_STEP), "no samples were taken");
}

/* ---- the trade-off ---- */

static void expect_sentence(const example *e, int row, const char *wanted) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, &allocator);
    compare_front_sentence(&e->c, row, &text);
    assert_string_equal(text_of(&text), wanted);
    mmrec_buffer_free(&text);
}

/* Row 2 is made worse than row 0, equal to it, and better. */
static void sentences(void **state) {
    (void)state;
    static example e;
    example_start(&e);
    assert_int_equal(compare_beaten_by(&e.c, 2), 0);
    expect_sentence(&e, 0, "");
    expect_sentence(&e, 3, "");
    compare_gap gap = compare_gap_of(&e.c, 0, 2, COMPARE_MEMORY);
    assert_true(gap.known && gap.word == COMPARE_BETTER && fabs(gap.value - 0.8) < 1e-12);
    /* Its quality is that of row 0 to the last bit. */
    e.c.row[2].quality = e.c.row[0].quality;
    gap = compare_gap_of(&e.c, 0, 2, COMPARE_LOSS);
    assert_true(gap.known && gap.has_interval && gap.value == 0 && gap.word == COMPARE_SAME);
    /* Without its samples the ratio is bound by the intervals of the medians. */
    compare_gap paired = compare_gap_of(&e.c, 0, 2, COMPARE_TIME);
    e.c.row[2].series[MMREC_PART_STEP].count = SAMPLES - 1;
    gap = compare_gap_of(&e.c, 0, 2, COMPARE_TIME);
    assert_true(gap.has_interval && gap.ci95.low < paired.ci95.low && gap.ci95.high > paired.ci95.high);
    /* It is slower in the middle, but may be faster. */
    e.c.row[2].series[MMREC_PART_STEP].count = SAMPLES;
    e.c.row[2].memory = e.c.row[0].memory;
    for (int i = 0; i < SAMPLES; i++)
        e.samples[2][MMREC_PART_STEP][i] = e.samples[0][MMREC_PART_STEP][i] * (i % 4 < 2 ? 0.9 : 1.12);
    e.c.row[2].series[MMREC_PART_STEP].stats = mmrec_stats_of(e.samples[2][MMREC_PART_STEP], SAMPLES);
    compare_front(&e.c);
    assert_false(e.c.front[2] && e.c.front[0]);
    mmrec_buffer text;
    mmrec_buffer_begin(&text, &allocator);
    compare_front_sentence(&e.c, e.c.front[2] ? 0 : 2, &text);
    assert_non_null(strstr(text_of(&text), " is behind "));
    assert_non_null(
        strstr(text.data, "; not decided), 1.000 times the memory (same) and a held-out loss that differs by +0.0000"));
    mmrec_buffer_free(&text);
}

/* A row without a loss is behind the one that has it and is no worse; what nobody has decides nothing. */
static void front_without_loss(void **state) {
    (void)state;
    static example e;
    example_start(&e);
    spoil(&e, 2);
    compare_front(&e.c);
    assert_true(e.c.front[0] && e.c.front[1] && !e.c.front[2]);
    assert_int_equal(compare_beaten_by(&e.c, 2), 0);
    assert_false(compare_gap_of(&e.c, 0, 2, COMPARE_LOSS).known);
    /* Nothing is known of it but that it ran. */
    memset(&e.c.row[2].memory, 0, sizeof e.c.row[2].memory);
    e.c.row[2].series[MMREC_PART_STEP] = (mmrec_series){0};
    e.c.front[2] = false;
    mmrec_buffer text;
    mmrec_buffer_begin(&text, &allocator);
    compare_front_sentence(&e.c, 2, &text);
    assert_non_null(strstr(text_of(&text), "mmrec is "));
    mmrec_buffer_free(&text);
}

static void exponents(void **state) {
    (void)state;
    mmrec_compare_fit fit = {true, 1.01, 0.98, 1.04, 0.01};
    assert_string_equal(compare_exponent_word(&fit), "contains 1");
    fit.low = 0.5, fit.high = 2.5;
    assert_string_equal(compare_exponent_word(&fit), "contains 1 and 2");
    fit.low = 1.5;
    assert_string_equal(compare_exponent_word(&fit), "contains 2");
    fit.low = 1.2, fit.high = 1.8;
    assert_string_equal(compare_exponent_word(&fit), "contains neither 1 nor 2");
    fit.valid = false;
    assert_string_equal(compare_exponent_word(&fit), "");
}

/* ---- CSV ---- */

/* The next field of a row, unquoted into `field`; what ended it: ',' or '\n'. */
static int next_field(const char **at, char *field, size_t size) {
    const char *c = *at;
    bool quoted = *c == '"';
    size_t used = 0;
    c += quoted;
    for (; quoted ? !(c[0] == '"' && c[1] != '"') : *c != ',' && *c != '\r'; c++) {
        assert_true(*c != '\0' && used + 1 < size);
        c += quoted && c[0] == '"';
        field[used++] = *c;
    }
    field[used] = '\0';
    c += quoted;
    int end = *c == ',' ? ',' : '\n';
    if (end == '\n') assert_memory_equal(c, "\r\n", 2);
    *at = c + (end == ',' ? 1 : 2);
    return end;
}

enum { FIELDS = 96, FIELD = 600 };
typedef struct csv_text {
    char name[FIELDS][FIELD], value[FIELDS][FIELD];
    int columns;
} csv_text;

static int read_row(const char **at, char fields[FIELDS][FIELD]) {
    int count = 0, end;
    do {
        assert_true(count < FIELDS);
        end = next_field(at, fields[count++], FIELD);
    } while (end == ',');
    return count;
}

static const char *field_of(const csv_text *csv, const char *name) {
    for (int i = 0; i < csv->columns; i++) {
        if (strcmp(csv->name[i], name) == 0) return csv->value[i];
    }
    fail_msg("no column %s", name);
    return NULL;
}

static void check_csv_row(const csv_text *csv, const example *e, int row, int part) {
    const mmrec_compare_row *r = &e->c.row[row];
    bool timed = r->series[part].stats.valid;
    assert_string_equal(field_of(csv, "label"), e->entries[row].label);
    assert_string_equal(field_of(csv, "part"), mmrec_compare_part_name((mmrec_compare_part)part));
    assert_string_equal(field_of(csv, "failure"), r->failure);
    if (timed) assert_true(strtod(field_of(csv, "median_ns"), NULL) == r->series[part].stats.median);
    if (!timed) assert_string_equal(field_of(csv, "median_ns"), "");
    if (!r->failure[0]) assert_int_equal(strtoll(field_of(csv, "parameters"), NULL, 10), r->parameters);
    assert_string_equal(field_of(csv, "verdict"),
                        r->paired[part].valid ? mmrec_verdict_name(r->paired[part].verdict) : "");
    if (isfinite(r->quality.loss_mean) && r->quality.seeds)
        assert_true(strtod(field_of(csv, "held_out_loss"), NULL) == r->quality.loss_mean);
    else
        assert_string_equal(field_of(csv, "held_out_loss"), "");
}

static void check_csv(const example *e) {
    static csv_text csv;
    mmrec_buffer text;
    mmrec_buffer_begin(&text, &allocator);
    compare_csv(&e->c, &text);
    const char *at = text_of(&text), *end = text.data + text.size - 1;
    csv.columns = read_row(&at, csv.name);
    for (int row = 0; row < e->run.count; row++) {
        for (int part = 0; part < MMREC_PARTS; part++) {
            assert_int_equal(read_row(&at, csv.value), csv.columns);
            check_csv_row(&csv, e, row, part);
        }
    }
    assert_ptr_equal(at, end);
    mmrec_buffer_free(&text);
}

static void csv(void **state) {
    (void)state;
    static example e;
    example_start(&e);
    check_csv(&e);
    spoil(&e, 1);
    check_csv(&e);
    example_emulated(&e);
    check_csv(&e);
}

/* ---- JSON ---- */

/* The document, after it was held against the schema. */
static json_t *document_of(const example *e) {
    mmrec_buffer text;
    mmrec_error error;
    json_error_t fault;
    schema_check check;
    mmrec_buffer_begin(&text, &allocator);
    must(compare_json(&e->c, &e->options, &text, &error), &error);
    json_t *value = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &fault);
    json_t *schema = json_load_file(MMREC_GOLDEN "/../../docs/compare.schema.json", JSON_REJECT_DUPLICATES, &fault);
    if (!schema) fail_msg("compare.schema.json:%d: %s", fault.line, fault.text);
    assert_non_null(value);
    assert_string_equal(schema_fault(&check, schema, value), "");
    json_decref(schema);
    mmrec_buffer_free(&text);
    return value;
}

static json_t *row_of(const json_t *document, int row) {
    return json_array_get(json_object_get(document, "rows"), (size_t)row);
}

static void json_full(void **state) {
    (void)state;
    static example e;
    mmrec_allocator *before = mmrec_json_use(&allocator);
    example_start(&e);
    json_t *all = document_of(&e);
    json_t *step = json_object_get(json_object_get(row_of(all, 1), "parts"), "step");
    json_t *samples = json_object_get(step, "samples_ns");
    assert_int_equal(json_array_size(samples), SAMPLES);
    assert_true(json_real_value(json_array_get(samples, 5)) == e.samples[1][MMREC_PART_STEP][5]);
    assert_string_equal(json_string_value(json_object_get(json_object_get(all, "task"), "seed")),
                        "18446744073709551613");
    assert_true(json_is_null(json_object_get(row_of(all, 3), "memory")));
    assert_string_equal(json_string_value(json_object_get(row_of(all, 3), "failure")), e.c.row[3].failure);
    json_t *config = json_object_get(row_of(all, 0), "config");
    assert_int_equal(json_integer_value(json_object_get(config, "hidden")), e.entries[0].config.rnn.hidden);
    json_t *point = json_array_get(json_object_get(json_object_get(row_of(all, 1), "scaling"), "points"), 2);
    samples = json_object_get(point, "samples_ns");
    assert_int_equal(json_array_size(samples), SAMPLES);
    assert_true(json_real_value(json_array_get(samples, 7)) == e.point_samples[1][2][7]);
    json_t *trade = json_object_get(all, "trade_off");
    assert_int_equal(json_array_size(json_object_get(trade, "front")), 2);
    assert_int_equal(json_array_size(json_object_get(trade, "behind")), 1);
    json_decref(all);
    mmrec_json_use(before);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void json_of_less(void **state) {
    (void)state;
    static example e;
    mmrec_allocator *before = mmrec_json_use(&allocator);
    example_start(&e);
    spoil(&e, 1);
    json_decref(document_of(&e));
    example_emulated(&e);
    json_t *all = document_of(&e);
    json_t *step = json_object_get(json_object_get(row_of(all, 0), "parts"), "step");
    assert_true(json_is_null(json_object_get(step, "stats")));
    assert_string_equal(json_string_value(json_object_get(step, "reason")), "emulated");
    json_decref(all);
    e.run.train_steps = 0;
    e.run.axis_name = NULL;
    e.run.task.kind = MMREC_COMPARE_VALUES;
    e.c.ceilings = (mmrec_ceilings){0};
    for (int row = 0; row < ROWS; row++) {
        e.c.row[row].points = NULL;
        e.c.row[row].layer_count = e.c.row[row].gradient_count = 0;
        e.c.row[row].quality.seeds = 0;
    }
    json_decref(document_of(&e));
    for (int row = 0; row < ROWS; row++) example_fails(&e, row, "lost");
    compare_front(&e.c);
    json_decref(document_of(&e));
    mmrec_json_use(before);
    assert_int_equal(allocator.total.live_bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_texts),       cmocka_unit_test(sections),     cmocka_unit_test(one_row),
        cmocka_unit_test(refused_entry),      cmocka_unit_test(not_finite),   cmocka_unit_test(few),
        cmocka_unit_test(warnings),           cmocka_unit_test(fused),        cmocka_unit_test(sentences),
        cmocka_unit_test(front_without_loss), cmocka_unit_test(exponents),    cmocka_unit_test(csv),
        cmocka_unit_test(json_full),          cmocka_unit_test(json_of_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
