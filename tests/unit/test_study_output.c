/* What a study prints: golden texts, CSV and JSON that others can read, lack of memory and disk, and drawing. */
#include "../cli/json_schema.h"
#include "core/json.h"
#include "golden_text.h"
#include "output_aside.h"
#include "study_example.h"

static mmrec_io io;

/* ---- texts ---- */

static void golden_texts(void **state) {
    (void)state;
    example e;
    study_summary summary;
    mmrec_buffer text;
    example_start(&e);
    study_summarise(e.s, &summary);
    mmrec_buffer_begin(&text, &allocator);
    study_tables(e.s, &summary, &text);
    expect_golden("study/tables.md", &text);
    mmrec_buffer_begin(&text, &allocator);
    study_curves_csv(e.s, &text);
    expect_golden("study/curves.csv", &text);
    mmrec_buffer_begin(&text, &allocator);
    study_plot_script(e.s, &text);
    expect_golden("study/plot.gp", &text);
    example_end(&e);
}

/* As many fields in every row as in the header. */
static void check_csv(const mmrec_buffer *text, int rows) {
    int wanted = 0, fields = 1, count = 0;
    for (size_t i = 0; i < text->size; i++) {
        if (text->data[i] == ',') fields++;
        if (text->data[i] != '\n') continue;
        assert_int_equal(text->data[i - 1], '\r');
        if (count++ == 0) wanted = fields;
        assert_int_equal(fields, wanted);
        fields = 1;
    }
    assert_int_equal(count, rows + 1);
}

static void csv(void **state) {
    (void)state;
    example e;
    mmrec_buffer text;
    example_start(&e);
    e.s->run[0][1].steps[3] =
        (study_step){(double)NAN, (double)NAN, (double)NAN, (double)NAN, (double)NAN, true, false};
    mmrec_buffer_begin(&text, &allocator);
    study_steps_csv(e.s, &text);
    check_csv(&text, EXAMPLE_SEEDS * 3 * EXAMPLE_STEPS);
    mmrec_buffer_bytes(&text, "", 1);
    assert_non_null(strstr(text.data, "\r\n1,planning,4,,,,,,1,0,"));
    mmrec_buffer_free(&text);
    mmrec_buffer_begin(&text, &allocator);
    study_curves_csv(e.s, &text);
    check_csv(&text, EXAMPLE_SEEDS * 3 * 5);
    mmrec_buffer_free(&text);
    example_end(&e);
}

static void check_json(const example *e) {
    study_summary summary;
    mmrec_buffer text;
    mmrec_error error;
    json_error_t fault;
    schema_check check;
    mmrec_buffer_begin(&text, &allocator);
    study_summarise(e->s, &summary);
    must(study_json(e->s, &summary, &text, &error), &error);
    mmrec_allocator *before = mmrec_json_use(&allocator);
    json_t *value = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &fault);
    json_t *schema = json_load_file(MMREC_GOLDEN "/../../docs/study.schema.json", JSON_REJECT_DUPLICATES, &fault);
    if (!schema) fail_msg("study.schema.json:%d: %s", fault.line, fault.text);
    assert_non_null(value);
    assert_string_equal(schema_fault(&check, schema, value), "");
    json_decref(value);
    json_decref(schema);
    mmrec_json_use(before);
    mmrec_buffer_free(&text);
}

static void json(void **state) {
    (void)state;
    example e;
    example_start(&e);
    check_json(&e);
    example_diverges(e.s, 1, 1, 120);
    snprintf(e.s->stopped, sizeof e.s->stopped, "it was interrupted");
    check_json(&e);
    e.s->seed_count = e.s->begun = 1;
    for (int v = 0; v < 3; v++) example_diverges(e.s, 0, v, 60);
    check_json(&e);
    example_end(&e);
}

/* ---- faults ---- */

static mmrec_status print_all(const example *e, const study_summary *summary, mmrec_error *error) {
    mmrec_buffer text, document;
    mmrec_buffer_begin(&text, &allocator);
    mmrec_buffer_begin(&document, &allocator);
    study_report(e->s, summary, &text);
    study_curves_csv(e->s, &text);
    study_plot_data(e->s, summary, &text);
    mmrec_status first = mmrec_buffer_status(&text, error);
    mmrec_status second = study_json(e->s, summary, &document, first == MMREC_OK ? error : NULL);
    mmrec_buffer_free(&text);
    mmrec_buffer_free(&document);
    return first != MMREC_OK ? first : second;
}

static void no_memory(void **state) {
    (void)state;
    example e;
    study_summary summary;
    mmrec_error error;
    example_start(&e);
    study_summarise(e.s, &summary);
    uint64_t before = allocator.attempts;
    size_t live = allocator.total.live_bytes;
    must(print_all(&e, &summary, &error), &error);
    uint64_t requests = allocator.attempts - before;
    for (uint64_t k = 1; k <= requests; k += 1 + requests / 50) {
        allocator.fail_at = allocator.attempts + k;
        assert_int_equal(print_all(&e, &summary, &error), MMREC_NO_MEMORY);
        assert_int_equal(allocator.total.live_bytes, live);
    }
    allocator.fail_at = 0;
    example_end(&e);
}

/* Standard output goes nowhere in the meantime. */
static mmrec_status write_quietly(study *s, mmrec_error *error) {
    int kept = output_nowhere();
    mmrec_status status = study_write(&io, s, error);
    output_back(kept);
    return status;
}

static bool is_there(const study *s, const char *name) {
    char path[STUDY_PATH + 32];
    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    return access(path, F_OK) == 0;
}

static void remove_outputs(const study *s) {
    static const char *const names[] = {"report.md", "results.json", "curves.csv", "steps.csv", "plot.dat", "plot.gp"};
    char path[STUDY_PATH + 32];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", s->folder, names[i]);
        unlink(path);
    }
    rmdir(s->folder);
}

/* One file operation fails: the others are made all the same, and the failure is told. */
static void disk_faults(void **state) {
    (void)state;
    example e;
    mmrec_error error;
    char *path = getenv("PATH"), kept[4096];
    snprintf(kept, sizeof kept, "%s", path ? path : "");
    setenv("PATH", "/nonexistent", 1); /* nothing is drawn */
    example_start(&e);
    snprintf(e.s->folder, sizeof e.s->folder, "/tmp/mmrec-study-disk-%d", (int)getpid());
    uint64_t before = io.attempts;
    must(write_quietly(e.s, &error), &error);
    uint64_t calls = io.attempts - before;
    assert_true(calls > 20 && is_there(e.s, "report.md") && is_there(e.s, "plot.gp"));
    assert_string_equal(e.s->plot_note, "no gnuplot; where there is one, `gnuplot plot.gp` draws them");
    size_t live = allocator.total.live_bytes;
    for (uint64_t k = 1; k <= calls; k += 5) {
        remove_outputs(e.s);
        io.fail_at = io.attempts + k;
        mmrec_status status = write_quietly(e.s, &error);
        if (status != MMREC_OK && status != MMREC_IO) fail_msg("operation %d: status %d", (int)k, (int)status);
        assert_int_equal(allocator.total.live_bytes, live);
        /* A folder that cannot be made or looked at at first is made for the next file. */
        assert_true(is_there(e.s, "report.md") || is_there(e.s, "steps.csv"));
    }
    io.fail_at = io.attempts + 1;
    io.fail_after = true;
    assert_int_equal(write_quietly(e.s, &error), MMREC_IO);
    io.fail_at = 0;
    io.fail_after = false;
    remove_outputs(e.s);
    setenv("PATH", kept, 1);
    example_end(&e);
}

/* ---- drawing ---- */

static void drawing(void **state) {
    (void)state;
    example e;
    char folder[] = "/tmp/mmrec-study-XXXXXX";
    example_start(&e);
    assert_non_null(mkdtemp(folder));
    snprintf(e.s->folder, sizeof e.s->folder, "%s", folder);
    study_draw(e.s, "no-such-gnuplot");
    assert_string_equal(e.s->plot_note, "no gnuplot; where there is one, `gnuplot plot.gp` draws them");
    study_draw(e.s, "false");
    assert_string_equal(e.s->plot_note, "gnuplot ended with status 1; `gnuplot plot.gp` says why");
    study_draw(e.s, "true");
    assert_string_equal(e.s->plot_note, "");
    rmdir(folder);
    example_end(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_texts), cmocka_unit_test(csv),         cmocka_unit_test(json),
        cmocka_unit_test(no_memory),    cmocka_unit_test(disk_faults), cmocka_unit_test(drawing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
