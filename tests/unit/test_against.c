/* --against: the recurrence and its yardstick in alternation, on a device made up here over the cpu backend, whose
 * clock moves by what was queued. The yardsticks' speeds are known, so the ratios are too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "mmrec/bench.h"

enum { OP_NS = 100000, BARRIER_NS = 200000, LSTM_NS = 50000, BACKWARD_FACTOR = 3 };

static const mmrec_backend *cpu;
static mmrec_allocator allocator;
static mmrec_op_sizes host_sizes;
static void *host_scratch;

static struct device_state {
    double clock_ns, queued_ns;
    bool held;
    int events;
    mmrec_recurrence_regime regime;
    bool lstm_made, prepared, recorded;
    int made, prepares, forwards, backwards, held_backwards;
    mmrec_lstm_request request;
    const char *refuse; /* why the yardstick cannot be had */
    mmrec_status refusal;
    char order[64]; /* of what backward runs: 'o' the op, 'y' the yardstick */
} now;

/* ---- the device ---- */

static void note_order(char who) {
    size_t used = strlen(now.order);
    if (used + 1 < sizeof now.order) now.order[used] = who;
}

static mmrec_status run(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, mmrec_error *error) {
    mmrec_op_call own = *call;
    own.sizes = &host_sizes;
    own.scratch = host_scratch;
    if (now.regime == MMREC_RECURRENCE_BARRIER && now.refuse) MMREC_FAIL(error, now.refusal, "%s", now.refuse);
    if (pass == MMREC_BACKWARD) note_order(now.regime == MMREC_RECURRENCE_BARRIER ? 'y' : 'o');
    double ns = now.regime == MMREC_RECURRENCE_BARRIER ? BARRIER_NS : OP_NS;
    now.queued_ns += pass == MMREC_BACKWARD ? BACKWARD_FACTOR * ns : ns;
    return cpu->run(op, pass, &own, error);
}

static mmrec_status synchronize(mmrec_error *error) {
    (void)error;
    assert_false(now.held);
    now.clock_ns += now.queued_ns;
    now.queued_ns = 0;
    return MMREC_OK;
}

static mmrec_status copy(void *to, const void *from, size_t bytes, mmrec_error *error) {
    (void)error;
    memcpy(to, from, bytes);
    return MMREC_OK;
}

static mmrec_status event_create(void **event, mmrec_error *error) {
    static double places[4];
    (void)error;
    *event = &places[now.events++ % 4];
    return MMREC_OK;
}
static void event_destroy(void *event) { now.events -= event != NULL; }
static mmrec_status event_record(void *event, mmrec_error *error) {
    (void)error;
    *(double *)event = now.clock_ns + now.queued_ns;
    return MMREC_OK;
}
static mmrec_status event_elapsed(void *from, void *to, double *ns, mmrec_error *error) {
    (void)error;
    *ns = *(double *)to - *(double *)from;
    return MMREC_OK;
}
static mmrec_status hold(mmrec_error *error) {
    (void)error;
    now.held = true;
    return MMREC_OK;
}
static void release(void) { now.held = false; }
static uint64_t launches(void) { return 0; }
static mmrec_status seed(uint64_t value, mmrec_error *error) {
    (void)value;
    (void)error;
    return MMREC_OK;
}
static mmrec_recurrence_regime recurrence(mmrec_recurrence_regime regime) {
    mmrec_recurrence_regime before = now.regime;
    now.regime = regime;
    return before;
}

static mmrec_status lstm_create(const mmrec_lstm_request *request, mmrec_lstm_info *info, mmrec_error *error) {
    if (now.refuse) MMREC_FAIL(error, now.refusal, "%s", now.refuse);
    assert_false(now.lstm_made);
    now.lstm_made = true;
    now.made++;
    now.request = *request;
    *info = (mmrec_lstm_info){.version = 91902,
                              .algorithm = {"persistent", "standard"},
                              .recorded = {true, now.recorded},
                              .all_bytes = 12345};
    return MMREC_OK;
}
static mmrec_status lstm_prepare(mmrec_pass pass, mmrec_error *error) {
    (void)error;
    assert_true(now.lstm_made && pass == MMREC_BACKWARD);
    now.prepared = true;
    now.prepares++;
    now.queued_ns += LSTM_NS;
    return MMREC_OK;
}
static mmrec_status lstm_run(mmrec_pass pass, mmrec_error *error) {
    (void)error;
    assert_true(now.lstm_made);
    now.queued_ns += pass == MMREC_BACKWARD ? BACKWARD_FACTOR * LSTM_NS : LSTM_NS;
    if (pass == MMREC_FORWARD) {
        now.forwards++;
        return MMREC_OK;
    }
    assert_true(now.prepared); /* each backward pass has its own forward pass, which is not timed */
    now.prepared = false;
    now.backwards++;
    now.held_backwards += now.held;
    note_order('y');
    return MMREC_OK;
}
static void lstm_destroy(void) { now.lstm_made = false; }

static mmrec_device device = {.info = {.name = "made up", .capability = 90},
                              .copy_in = copy,
                              .copy_out = copy,
                              .event_create = event_create,
                              .event_destroy = event_destroy,
                              .event_record = event_record,
                              .event_elapsed_ns = event_elapsed,
                              .hold = hold,
                              .release = release,
                              .launches = launches,
                              .seed = seed,
                              .recurrence = recurrence,
                              .lstm = {lstm_create, lstm_prepare, lstm_run, lstm_destroy}};
static mmrec_backend backend;

/* ---- a run ---- */

static const char size[] = "B=2 T=3 D=8";
static mmrec_op_result result;
static mmrec_error error;

static int start(void **state) {
    (void)state;
    memset(&now, 0, sizeof now);
    memset(&result, 0, sizeof result);
    mmrec_error_clear(&error);
    now.recorded = true;
    setenv("MMREC_NVML", "/nowhere", 1);
    return 0;
}

static int end(void **state) {
    (void)state;
    mmrec_op_result_free(&allocator, &result);
    return now.lstm_made || now.held || now.events != 0 || now.regime != MMREC_RECURRENCE_AUTO ||
           allocator.total.live_bytes != 0;
}

static mmrec_status measure(mmrec_against against) {
    mmrec_bench_options options = {.backend = &backend, .threads = 1, .seed = 5, .against = against};
    options.sampling = (mmrec_sampling){.max_time_s = 20, .target_ci = 0.5, .min_samples = 12, .max_samples = 12};
    return mmrec_bench_op(&allocator, MMREC_OP_recurrence, size, &options, NULL, (mmrec_bench_observer){0}, &result,
                          &error);
}

static void must_measure(mmrec_against against) {
    if (measure(against) != MMREC_OK) fail_msg("%s", error.message);
    assert_true(result.check.passed && result.has_pass[MMREC_FORWARD] && result.has_pass[MMREC_BACKWARD]);
}

static void expect_ratio(double ratio, double yardstick_ns, mmrec_verdict verdict) {
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        const mmrec_paired *p = &result.against.paired[pass];
        double factor = pass == MMREC_BACKWARD ? BACKWARD_FACTOR : 1;
        assert_true(p->valid && p->ratio == ratio);
        assert_int_equal(p->verdict, verdict);
        assert_int_equal(p->pairs, 12);
        assert_true(result.pass[pass].series.stats.median == factor * OP_NS);
        assert_true(result.against.row[pass].series.stats.median == factor * yardstick_ns);
    }
}

/* A ratio is of the op's time over the yardstick's, from runs in the order y o o y. */
static void lstm_in_alternation(void **state) {
    (void)state;
    must_measure(MMREC_AGAINST_LSTM_BF16);
    expect_ratio(2, LSTM_NS, MMREC_SLOWER);
    assert_string_equal(result.against.missing, "");
    assert_string_equal(result.against.version, "9.19.2");
    assert_string_equal(result.against.kernel[MMREC_FORWARD], "persistent");
    assert_string_equal(result.against.kernel[MMREC_BACKWARD], "standard");
    assert_int_equal(result.against.device_bytes, 12345);
    assert_int_equal(now.made, 1);
    assert_true(now.request.width == 8 && now.request.batch == 2 && now.request.steps == 3);
    assert_true(now.request.bf16 && now.request.seed == 5);
    assert_int_equal(now.prepares, now.backwards);
    assert_true(now.forwards > 12 && now.backwards > 12);
    assert_int_equal(now.held_backwards * 2, now.backwards - 1); /* the device's runs; not the host's, nor the count */
    assert_true(result.against.row[0].work.flops == 0 && result.against.row[0].launches == 0);
    assert_non_null(strstr(now.order, "ooyyyyoooo")); /* each sample runs twice: for the host's clock, and for events */
    assert_false(result.timing.gaps);
}

static void half_is_half(void **state) {
    (void)state;
    must_measure(MMREC_AGAINST_LSTM_FP16);
    assert_false(now.request.bf16);
    assert_int_equal(result.against.what, MMREC_AGAINST_LSTM_FP16);
}

static void what_is_not_recorded_is_not_held(void **state) {
    (void)state;
    now.recorded = false;
    must_measure(MMREC_AGAINST_LSTM_FP16);
    assert_int_equal(now.held_backwards, 0);
    assert_string_equal(result.against.kernel[MMREC_BACKWARD], "standard (not recorded)");
    assert_true(result.timing.gaps);
}

static void barrier_in_alternation(void **state) {
    (void)state;
    must_measure(MMREC_AGAINST_GRID_BARRIER);
    expect_ratio(0.5, BARRIER_NS, MMREC_FASTER);
    assert_true(result.against.row[0].work.flops == result.pass[0].work.flops && result.pass[0].work.flops > 0);
    assert_int_equal(now.made, 0);
    assert_string_equal(result.against.version, "");
}

/* The op is measured alone where its yardstick is not there, for whatever reason but a lost device. */
static void missing_is_told(void **state) {
    static const mmrec_against kinds[] = {MMREC_AGAINST_LSTM_FP16, MMREC_AGAINST_GRID_BARRIER};
    static const mmrec_status statuses[] = {MMREC_UNSUPPORTED, MMREC_NO_MEMORY, MMREC_INTERNAL};
    (void)state;
    now.refuse = "no cuDNN: for a test";
    for (int i = 0; i < 6; i++) {
        now.refusal = statuses[i / 2];
        must_measure(kinds[i % 2]);
        assert_string_equal(result.against.missing, "no cuDNN: for a test");
        assert_false(result.against.paired[0].valid || result.against.row[0].series.stats.valid);
        assert_true(result.pass[0].series.stats.median == OP_NS);
        mmrec_op_result_free(&allocator, &result);
    }
    now.refusal = MMREC_NO_DEVICE;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(measure(kinds[i]), MMREC_NO_DEVICE);
        assert_string_equal(error.message, "no cuDNN: for a test");
    }
}

static void without_a_yardstick(void **state) {
    (void)state;
    must_measure(MMREC_AGAINST_NONE);
    assert_int_equal(now.made, 0);
    assert_null(strchr(now.order, 'y'));
    assert_string_equal(result.against.missing, "");
}

/* ---- all ---- */

static int make_backend(void **state) {
    (void)state;
    const mmrec_op_def *def = mmrec_op_get(MMREC_OP_recurrence, MMREC_VARIANT_F32);
    assert_int_equal(mmrec_backend_find("cpu", &cpu, &error), MMREC_OK);
    assert_int_equal(mmrec_op_from_text(def, size, 1, &host_sizes, &error), MMREC_OK);
    size_t bytes = host_sizes.scratch_bytes[0] + host_sizes.scratch_bytes[1] + 1;
    assert_int_equal(posix_memalign(&host_scratch, 64, bytes), 0);
    backend = *cpu;
    backend.name = "made up";
    backend.run = run;
    backend.synchronize = synchronize;
    backend.device = &device;
    return 0;
}

static int drop_backend(void **state) {
    (void)state;
    free(host_scratch);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lstm_in_alternation, start, end),
        cmocka_unit_test_setup_teardown(half_is_half, start, end),
        cmocka_unit_test_setup_teardown(what_is_not_recorded_is_not_held, start, end),
        cmocka_unit_test_setup_teardown(barrier_in_alternation, start, end),
        cmocka_unit_test_setup_teardown(missing_is_told, start, end),
        cmocka_unit_test_setup_teardown(without_a_yardstick, start, end),
    };
    return cmocka_run_group_tests(tests, make_backend, drop_backend);
}
