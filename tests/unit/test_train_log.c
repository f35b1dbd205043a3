/* What a training tells: lines word by word, records against their schema, outputs that break, and what telling costs
 * in memory. */
#include "../cli/json_schema.h"
#include "core/json.h"
#include "output_aside.h"
#include "run/run_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

static char folder[] = "/tmp/mmrec-train-log-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* What this program itself reads of JSON. */
static mmrec_allocator json_memory;

static int make_folder(void **state) {
    (void)state;
    (void)mmrec_json_use(&json_memory);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static size_t read_text(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t got = fread(text, 1, size - 1, file);
    text[got] = '\0';
    fclose(file);
    return got;
}

/* ---- a training made by hand ---- */

typedef struct example {
    mmrec_allocator allocator;
    mmrec_io io;
    mmrec_options options;
    mmrec_train_setup setup;
    mmrec_data_info data;
    mmrec_train_record record;
    mmrec_evaluation evaluation;
    mmrec_gradient_stat gradients[12];
    train_log log;
} example;

static void example_fill(example *e, const char *log_path) {
    memset(e, 0, sizeof *e);
    e->options.program = MMREC_PROGRAM_TRAIN;
    assert_int_equal(mmrec_backend_find("cpu", &e->setup.backend, NULL), MMREC_OK);
    e->setup.options = &e->options;
    e->setup.train = mmrec_train_config_default();
    e->setup.train.threads = 1;
    e->setup.data.path = "some.txt";
    e->setup.steps = 100;
    e->setup.log_every = 1;
    e->setup.log_path = log_path;
    e->setup.temperature = 0.5;
    e->setup.quiet = true;
    e->data = (mmrec_data_info){.name = "some.txt", .vocab = 256, .tokens = {900, 100}, .batches_per_epoch = 7};
    e->data.held_out_batches = 2;
    e->data.checksum = 0xbeef;
    e->data.best_loss = e->data.best_accuracy = NAN;
    e->record = (mmrec_train_record){.step = 12, .loss = 2.5, .loss_main = 2.0794415416798357, .loss_aux = 0.25};
    e->record.gradient_norm = 1.25;
    e->record.clip_factor = 0.8;
    e->record.rate = 3e-4;
    e->record.growth = 1.0625;
    e->record.tokens = 1000;
    e->record.ns = 250000000;
    e->record.spike_score = NAN;
    e->evaluation = (mmrec_evaluation){.loss = 2.0794415416798357, .loss_aux = 0.25, .accuracy = NAN, .batches = 2};
    e->evaluation.tokens = 2000;
}

static train_log_head head_of(const example *e) {
    return (train_log_head){.setup = &e->setup, .data = &e->data, .parameters = 1234, .planned = {1, 2, 3, 4, 5}};
}

static void example_open(example *e) {
    mmrec_error error;
    assert_int_equal(train_log_open(&e->log, &e->allocator, &e->io, &e->setup, &error), MMREC_OK);
    e->log.data = &e->data;
}

/* ---- lines ---- */

static void line_of_a_file(void **state) {
    (void)state;
    static example e;
    char line[TRAIN_LINE];
    train_log_step step = {.record = &e.record, .host_bytes = 3 << 20};
    example_fill(&e, NULL);
    e.log = (train_log){.setup = &e.setup, .data = &e.data, .tokens = 2000, .ns = 500000000};
    train_people_header(&e.log, line);
    assert_string_equal(line, "   step    loss bits/byte     norm       lr       ms tokens/s   memory h growth");
    train_people_step(&e.log, &step, line);
    assert_string_equal(line, "     12  2.0794    3.0000    1.250 3.00e-04   250.00     4000 3.00 MiB   1.0625");
    train_people_validation(&e.log, &e.evaluation, 1500000, line);
    assert_string_equal(line, "    val  2.0794    3.0000  2 batches in 1.50 ms");
}

static void line_of_a_task(void **state) {
    (void)state;
    static example e;
    char line[TRAIN_LINE];
    train_log_step step = {.record = &e.record, .host_bytes = 1, .device_bytes = 5 << 20};
    example_fill(&e, NULL);
    e.setup.data = (mmrec_data_request){.task = MMREC_TASK_COPY};
    e.setup.train.model.uboo = MMREC_UBOO_DEEP;
    e.data.best_loss = 2;
    e.data.best_accuracy = 1;
    e.evaluation.accuracy = 0.75;
    e.log = (train_log){.setup = &e.setup, .data = &e.data};
    train_people_header(&e.log, line);
    assert_string_equal(line,
                        "   step    loss     aux perplexity     norm       lr       ms tokens/s   memory h growth");
    train_people_step(&e.log, &step, line);
    assert_string_equal(line,
                        "     12  2.0794  0.2500          8    1.250 3.00e-04   250.00      nan 5.00 MiB   1.0625");
    train_people_validation(&e.log, &e.evaluation, 1500000, line);
    assert_string_equal(line, "    val  2.0794  0.2500          8  0.0794 above the best possible  accuracy 0.7500 of "
                              "1.0000  2 batches in 1.50 ms");
}

static void line_without_numbers(void **state) {
    (void)state;
    static example e;
    char line[TRAIN_LINE];
    train_log_step step = {.record = &e.record};
    example_fill(&e, NULL);
    e.record.loss_main = -NAN;
    e.record.gradient_norm = INFINITY;
    e.record.growth = -INFINITY;
    e.log = (train_log){.setup = &e.setup, .data = &e.data, .tokens = 1, .ns = 1000};
    train_people_step(&e.log, &step, line);
    assert_string_equal(line, "     12     nan       nan      inf 3.00e-04   250.00  1000000      0 B     -inf");
}

static void fill_gradients(example *e, int dead) {
    static const char *const name[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};
    for (int i = 0; i < 12; i++) {
        mmrec_gradient_state state = i < dead ? MMREC_GRADIENT_ZERO : MMREC_GRADIENT_FLOWS;
        e->gradients[i] = (mmrec_gradient_stat){.name = name[i], .count = 4, .norm = i, .state = state};
        e->gradients[i].dead_steps = state == MMREC_GRADIENT_ZERO ? 3 : 0;
    }
}

static void line_of_gradients(void **state) {
    (void)state;
    static example e;
    char line[TRAIN_LINE];
    fill_gradients(&e, 2);
    e.gradients[5].state = MMREC_GRADIENT_NOT_FINITE;
    train_people_gradients(1.5, e.gradients, 12, line);
    assert_string_equal(
        line, "  grads  norm 1.5 over 12 parameters, 2 zero, 0 missing, 1 not finite; largest l 11, smallest c 2");
    assert_int_equal(train_people_named(MMREC_GRADIENT_ZERO, e.gradients, 12, line), 39);
    assert_string_equal(line, "  grads  dead: a (3 steps), b (3 steps)");
    train_people_named(MMREC_GRADIENT_NOT_FINITE, e.gradients, 12, line);
    assert_string_equal(line, "  grads  not finite: f");
    fill_gradients(&e, 12);
    train_people_gradients(NAN, e.gradients, 12, line);
    assert_string_equal(line, "  grads  norm nan over 12 parameters, 12 zero, 0 missing, 0 not finite");
    train_people_named(MMREC_GRADIENT_ZERO, e.gradients, 12, line);
    assert_string_equal(line + strlen(line) - 35, "g (3 steps), h (3 steps) and 4 more");
    fill_gradients(&e, 0);
    assert_int_equal(train_people_named(MMREC_GRADIENT_ZERO, e.gradients, 12, line), 0);
}

static void long_lines_are_cut(void **state) {
    (void)state;
    char line[TRAIN_LINE], text[2 * TRAIN_LINE];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(train_people_event(TRAIN_EVENT_NOTE, text, line), TRAIN_LINE - 1);
    assert_int_equal(strlen(line), TRAIN_LINE - 1);
}

/* ---- records ---- */

static json_t *load_schema(void) {
    json_error_t fault;
    json_t *schema = json_load_file(MMREC_GOLDEN "/../../docs/train.schema.json", JSON_REJECT_DUPLICATES, &fault);
    assert_non_null(schema);
    return schema;
}

static json_t *parse(const char *line) {
    json_error_t fault;
    json_t *value = json_loads(line, JSON_REJECT_DUPLICATES, &fault);
    if (!value) fail_msg("no JSON: %s in %s", fault.text, line);
    return value;
}

static void assert_follows(const json_t *schema, const char *line) {
    schema_check check;
    json_t *value = parse(line);
    if (*schema_fault(&check, schema, value)) fail_msg("%s in %s", check.fault, line);
    json_decref(value);
}

/* Every kind of record with every kind of value, one a line. */
static void write_records(example *e) {
    static const char binary[] = "caf\xe9 \x1b[31m";
    train_log_head head = head_of(e);
    train_log_step step = {.record = &e->record, .host_bytes = 7};
    train_log_tail tail = {.stop = TRAIN_FAILED, .exit_code = 2, .failure = binary, .saved = -1};
    head.resumed = true;
    train_log_start(&e->log, &head);
    train_log_of_step(&e->log, &step);
    e->record = (mmrec_train_record){.step = 13, .loss = NAN, .loss_main = NAN, .loss_aux = NAN, .skipped = true};
    e->record.gradient_norm = e->record.growth = e->record.spike_score = NAN;
    snprintf(e->record.culprit, sizeof e->record.culprit, "%s", binary);
    train_log_of_step(&e->log, &step);
    e->record.loss = e->record.loss_main = INFINITY;
    e->record.skipped = false;
    e->record.spike = true;
    e->record.spike_score = 9;
    train_log_of_step(&e->log, &step);
    train_log_validation(&e->log, 13, &e->evaluation, 5);
    e->evaluation.loss = NAN;
    train_log_validation(&e->log, 14, &e->evaluation, 5);
    fill_gradients(e, 1);
    e->gradients[3].state = MMREC_GRADIENT_NOT_FINITE;
    e->gradients[3].parameter_norm = INFINITY;
    train_log_gradients(&e->log, 14, NAN, e->gradients, 12);
    for (int i = 0; i < TRAIN_EVENTS; i++) {
        bool to_people =
            i != TRAIN_EVENT_CHECKPOINT_SKIPPED && i != TRAIN_EVENT_SAVE_FAILED && i != TRAIN_EVENT_WARNING;
        if (to_people) train_log_event(&e->log, (train_event)i, 3, "%s %d", binary, i);
    }
    train_log_sample(&e->log, 14, "prompt", "text");
    train_log_end(&e->log, &tail);
    tail = (train_log_tail){.stop = TRAIN_DONE, .saved = 4, .wall_s = 1};
    train_log_end(&e->log, &tail);
}

static void records_follow_the_schema(void **state) {
    (void)state;
    static example e;
    static char text[1 << 16];
    json_t *schema = load_schema();
    example_fill(&e, in_folder("records.jsonl"));
    example_open(&e);
    int kept = output_nowhere();
    write_records(&e);
    output_back(kept);
    train_log_close(&e.log);
    assert_int_equal(e.log.status, MMREC_OK);
    assert_int_equal(e.allocator.total.live_bytes, 0);
    read_text(in_folder("records.jsonl"), text, sizeof text);
    int lines = 0;
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, lines++) {
        *end = '\0';
        assert_follows(schema, at);
    }
    assert_int_equal(lines, 1 + 3 + 2 + 2 + 1 + TRAIN_EVENTS - 3 + 1 + 2);
    json_decref(schema);
}

static void assert_refused(const json_t *schema, const char *line, const char *fault) {
    schema_check check;
    json_t *value = parse(line);
    assert_string_equal(schema_fault(&check, schema, value), fault);
    json_decref(value);
}

static void schema_has_teeth(void **state) {
    (void)state;
    json_t *schema = load_schema();
    assert_refused(schema, "{\"record\":\"event\",\"event\":\"saved\",\"step\":3}", "$: lacks message");
    assert_refused(schema, "{\"record\":\"event\",\"event\":\"saved\",\"step\":-3,\"message\":\"\"}",
                   "$.step: is below the minimum ");
    assert_refused(schema, "{\"record\":\"event\",\"event\":\"gone\",\"step\":3,\"message\":\"\"}",
                   "$.event: is not in the enum ");
    assert_refused(schema, "{\"record\":\"other\"}", "$: fits no rule of oneOf");
    json_decref(schema);
}

static void skipped_step_says_why(void **state) {
    (void)state;
    static example e;
    train_log_step step = {.record = &e.record};
    example_fill(&e, in_folder("why.jsonl"));
    example_open(&e);
    e.record.loss = e.record.loss_main = NAN;
    assert_true(train_record_step(&e.log, &step));
    mmrec_buffer_bytes(&e.log.record, "", 1);
    json_t *value = parse(e.log.record.data);
    assert_true(json_is_null(json_object_get(value, "loss_nats")));
    assert_true(json_is_null(json_object_get(value, "perplexity")));
    assert_string_equal(json_string_value(json_object_get(value, "reason")), "the loss is NaN");
    json_decref(value);
    e.record.loss = e.record.loss_main = 1;
    e.record.gradient_norm = INFINITY;
    e.record.growth = NAN;
    assert_true(train_record_step(&e.log, &step));
    mmrec_buffer_bytes(&e.log.record, "", 1);
    value = parse(e.log.record.data);
    assert_string_equal(json_string_value(json_object_get(value, "reason")),
                        "a gradient is not finite; the growth of h is not finite");
    json_decref(value);
    train_log_close(&e.log);
}

/* Events before the head wait for it: the record of the run is the first. */
static void head_comes_first(void **state) {
    (void)state;
    static example e;
    static char text[1 << 14];
    example_fill(&e, in_folder("early.jsonl"));
    example_open(&e);
    e.log.data = NULL;
    train_log_event(&e.log, TRAIN_EVENT_RESUMED, 5, "from afar");
    train_log_event(&e.log, TRAIN_EVENT_NOTE, 5, "really");
    assert_int_equal(read_text(in_folder("early.jsonl"), text, sizeof text), 0);
    train_log_head head = head_of(&e);
    int kept = output_nowhere();
    train_log_start(&e.log, &head);
    output_back(kept);
    train_log_close(&e.log);
    read_text(in_folder("early.jsonl"), text, sizeof text);
    assert_int_equal(strncmp(text, "{\"record\":\"run\",", 16), 0);
    assert_non_null(
        strstr(text, "\n{\"record\":\"event\",\"event\":\"resumed\",\"step\":5,\"message\":\"from afar\"}\n{"));
    assert_int_equal(e.allocator.total.live_bytes, 0);
}

/* ---- outputs that break ---- */

static void first_failure_is_kept(void **state) {
    (void)state;
    static example e;
    static char text[1 << 14];
    train_log_step step = {.record = &e.record};
    example_fill(&e, in_folder("broken.jsonl"));
    example_open(&e);
    e.log.people = false;
    e.io.fail_errno = ENOSPC;
    e.io.fail_at = e.io.attempts + 3;
    for (int i = 0; i < 5; i++) train_log_of_step(&e.log, &step);
    assert_int_equal(e.log.status, MMREC_IO);
    assert_int_equal(e.io.attempts, e.io.fail_at);
    train_log_close(&e.log);
    assert_non_null(strstr(e.log.error.message, "No space left on device"));
    read_text(in_folder("broken.jsonl"), text, sizeof text);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

/* Each output goes on without the other. */
static void outputs_fail_apart(void **state) {
    (void)state;
    static example e;
    train_log_step step = {.record = &e.record};
    for (int which = 0; which < 2; which++) {
        example_fill(&e, in_folder("apart.jsonl"));
        example_open(&e);
        int kept = output_nowhere();
        e.log.rows = 1;                                     /* no header */
        e.io.fail_at = e.io.attempts + 1 + (unsigned)which; /* the record of a step comes first, then its line */
        for (int i = 0; i < 5; i++) train_log_of_step(&e.log, &step);
        output_back(kept);
        assert_int_equal(e.log.records, which);
        assert_int_equal(e.log.people, !which);
        assert_int_equal(e.io.attempts, e.io.fail_at - 1u - (unsigned)which + 6);
        train_log_close(&e.log);
        assert_int_equal(e.log.status, MMREC_IO);
    }
}

static void no_memory_for_a_record(void **state) {
    (void)state;
    static example e;
    example_fill(&e, in_folder("memory.jsonl"));
    for (uint64_t k = 1;; k++) {
        mmrec_error error;
        train_log_step step = {.record = &e.record};
        e.allocator = (mmrec_allocator){.fail_at = k};
        assert_int_equal(train_log_open(&e.log, &e.allocator, &e.io, &e.setup, &error), MMREC_OK);
        e.log.data = &e.data;
        e.log.people = false;
        train_log_of_step(&e.log, &step);
        bool reached = e.allocator.attempts >= k;
        train_log_close(&e.log);
        assert_int_equal(e.allocator.total.live_bytes, 0);
        assert_int_equal(e.log.status, reached ? MMREC_NO_MEMORY : MMREC_OK);
        if (!reached) break;
    }
}

/* ---- text of ids ---- */

static void text_steers_no_terminal(void **state) {
    (void)state;
    static const char from[] =
        "a\n\tb\x1b[1m\r\x7f|\xc3\xa9|\xe2\x82\xac|\xf0\x9f\x98\x80|\xc2\x9b|\xe2\x80\xae|\xc0\xaf|\xed\xa0\x80|"
        "\xf4\x90\x80\x80|\xff\xfe|\xe2\x82";
    static const char want[] = "a\n\tb?[1m??|\xc3\xa9|\xe2\x82\xac|\xf0\x9f\x98\x80|??|???|??|???|????|??|??";
    int32_t ids[sizeof from];
    char text[sizeof from];
    for (size_t i = 0; i < sizeof from - 1; i++) ids[i] = (unsigned char)from[i];
    run_text(true, ids, sizeof from - 1, text);
    assert_string_equal(text, want);
    for (int32_t id = 0; id < 256; id++) {
        run_text(true, &id, 1, text);
        bool plain = id == '\n' || id == '\t' || (id >= 0x20 && id < 0x7f);
        assert_int_equal(text[0], plain ? id : '?');
        assert_int_equal(text[1], 0);
    }
}

static void symbols_go_both_ways(void **state) {
    (void)state;
    char text[2];
    for (int32_t id = 0; id < 62; id++) {
        run_text(false, &id, 1, text);
        assert_int_equal(run_symbol(text[0], 62), id);
        assert_int_equal(run_symbol(text[0], id), -1);
    }
    int32_t far = 62;
    run_text(false, &far, 1, text);
    assert_string_equal(text, "?");
    assert_int_equal(run_symbol('\0', 62), -1);
    assert_int_equal(run_symbol('?', 62), -1);
}

/* ---- what steps cost ---- */

/* Requests for memory of a whole training of so many steps. */
static uint64_t requests_of(int steps, const char *log_path) {
    char count[16];
    snprintf(count, sizeof count, "%d", steps);
    char *arguments[] = {"mmrec-train",
                         "--data",
                         MMREC_GOLDEN "/text/harbour.txt",
                         "--dim",
                         "8",
                         "--heads",
                         "2",
                         "--layers",
                         "1",
                         "--slots",
                         "16",
                         "--level",
                         "1",
                         "--time",
                         "8",
                         "--batch",
                         "2",
                         "--threads",
                         "1",
                         "--backend",
                         "cpu",
                         "--quiet",
                         "--steps",
                         count,
                         "--val-every",
                         "1000",
                         log_path ? "--log" : NULL,
                         (char *)(size_t)log_path,
                         NULL};
    static mmrec_allocator allocator;
    static mmrec_options options;
    static mmrec_train_setup setup;
    mmrec_io io = {0}, save_io = {0};
    mmrec_error error;
    mmrec_train_context context = {&allocator, &io, &save_io, NULL};
    int code = -1, size = log_path ? 28 : 26, kept = output_nowhere();
    memset(&allocator, 0, sizeof allocator);
    assert_int_equal(mmrec_options_parse(&allocator, &io, MMREC_PROGRAM_TRAIN, size, arguments, NULL, &options, &error),
                     MMREC_OK);
    assert_int_equal(mmrec_train_setup_create(&options, &setup, &error), MMREC_OK);
    mmrec_status status = mmrec_train_run(&context, &setup, &code, &error);
    output_back(kept);
    assert_int_equal(status, MMREC_OK);
    assert_int_equal(code, 0);
    mmrec_options_free(&options);
    assert_int_equal(allocator.total.live_bytes, 0);
    return allocator.total.requests;
}

static void steps_allocate_nothing(void **state) {
    (void)state;
    assert_int_equal(requests_of(8, NULL), requests_of(3, NULL));
}

/* What jansson asks for, and it is the same for every step. */
static void records_allocate_the_same_each(void **state) {
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s", in_folder("count.jsonl"));
    uint64_t few = requests_of(3, path), more = requests_of(8, path), most = requests_of(13, path);
    assert_int_equal(most - more, more - few);
    assert_true((more - few) / 5 < 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_of_a_file),          cmocka_unit_test(line_of_a_task),
        cmocka_unit_test(line_without_numbers),    cmocka_unit_test(line_of_gradients),
        cmocka_unit_test(long_lines_are_cut),      cmocka_unit_test(records_follow_the_schema),
        cmocka_unit_test(schema_has_teeth),        cmocka_unit_test(skipped_step_says_why),
        cmocka_unit_test(head_comes_first),        cmocka_unit_test(first_failure_is_kept),
        cmocka_unit_test(outputs_fail_apart),      cmocka_unit_test(no_memory_for_a_record),
        cmocka_unit_test(text_steers_no_terminal), cmocka_unit_test(symbols_go_both_ways),
        cmocka_unit_test(steps_allocate_nothing),  cmocka_unit_test(records_allocate_the_same_each),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
