/* Timing on a device, with a device made up here: its clock moves by what was queued, and NVML and CUPTI are libraries
 * of the test (fake_nvml.c, fake_cupti.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "measure/bench_impl.h"
#include "measure/cupti.h"

/* ---- the device ---- */

enum { RUN_NS = 40000, LAUNCH_NS = 3000 };

static struct device_state {
    double clock_ns, queued_ns;
    bool held;
    int events, holds, released, flushed, waits;
    uint64_t launches;
    const char *fail; /* the call that fails */
} now;

static mmrec_status fails(const char *name, mmrec_error *error) {
    if (now.fail && strcmp(now.fail, name) == 0) MMREC_FAIL(error, MMREC_INTERNAL, "%s fails on purpose", name);
    return MMREC_OK;
}

/* An event is a place in the queue: a time, once the work before it is done. */
static mmrec_status event_create(void **event, mmrec_error *error) {
    static double places[8];
    MMREC_TRY(fails("event_create", error));
    *event = &places[now.events++ % 8];
    return MMREC_OK;
}
static void event_destroy(void *event) { now.events -= event != NULL; }
static mmrec_status event_record(void *event, mmrec_error *error) {
    *(double *)event = now.clock_ns + now.queued_ns;
    return fails("event_record", error);
}
static mmrec_status event_elapsed(void *from, void *to, double *ns, mmrec_error *error) {
    *ns = *(double *)to - *(double *)from;
    return fails("event_elapsed", error);
}
static mmrec_status hold(mmrec_error *error) {
    MMREC_TRY(fails("hold", error));
    assert_false(now.held);
    now.held = true;
    now.holds++;
    return MMREC_OK;
}
static void release(void) {
    assert_true(now.held);
    now.held = false;
    now.released++;
}
static mmrec_status flush_cache(mmrec_error *error) {
    now.flushed++;
    return fails("flush_cache", error);
}
static uint64_t launches(void) { return now.launches; }
static mmrec_status synchronize(mmrec_error *error) {
    assert_false(now.held); /* it would wait for ever */
    now.clock_ns += now.queued_ns;
    now.queued_ns = 0;
    now.waits++;
    return fails("synchronize", error);
}

static mmrec_device device = {.info = {.name = "made up", .pci = "0000:17:00.0"},
                              .event_create = event_create,
                              .event_destroy = event_destroy,
                              .event_record = event_record,
                              .event_elapsed_ns = event_elapsed,
                              .hold = hold,
                              .release = release,
                              .flush_cache = flush_cache,
                              .launches = launches};
static const mmrec_backend backend = {.name = "made up", .synchronize = synchronize, .device = &device};

/* ---- what runs on it ---- */

typedef void (*kernel_function)(const char *name, uint64_t start_ns, uint64_t end_ns);
static kernel_function tell_cupti; /* NULL: nobody listens */

typedef struct work {
    int kernels, runs, prepared;
} work;

/* A launch on a stream that is not held costs time between the kernels; on one that is, the device waits for nothing.
 */
static mmrec_status run(void *context, mmrec_error *error) {
    work *w = context;
    w->runs++;
    for (int i = 0; i < w->kernels; i++) {
        uint64_t start = 1000 + now.launches * RUN_NS;
        if (tell_cupti) tell_cupti(i % 2 ? "k_short" : "k_long", start, start + (i % 2 ? RUN_NS / 4 : RUN_NS));
        now.queued_ns += RUN_NS + (now.held ? 0 : LAUNCH_NS);
        now.launches++;
    }
    return fails("run", error);
}
static mmrec_status prepare(void *context, mmrec_error *error) {
    ((work *)context)->prepared++;
    return fails("prepare", error);
}

static mmrec_allocator allocator;

static int start(void **state) {
    (void)state;
    memset(&now, 0, sizeof now);
    device.info.emulated = false;
    tell_cupti = NULL;
    unsetenv("MMREC_CUPTI");
    setenv("MMREC_NVML", MMREC_FAKE_NVML, 1);
    return 0;
}

static int end(void **state) {
    (void)state;
    return allocator.total.live_bytes != 0 || now.held || now.holds != now.released;
}

static mmrec_sampling brief(const device_meter *meter) {
    return (mmrec_sampling){
        .max_time_s = 5, .target_ci = 0.5, .min_samples = 8, .max_samples = 8, .meter = device_meter_of(meter)};
}

static void measure(mmrec_timer timer, bool cold, work *w, mmrec_timing *timing, mmrec_series *series) {
    device_meter meter;
    mmrec_error error = {0};
    mmrec_subject subject = {.run = run, .context = w, .prepare = prepare};
    if (device_meter_open(&allocator, &backend, timer, cold, &meter, &error) != MMREC_OK) fail_msg("%s", error.message);
    mmrec_sampling sampling = brief(&meter);
    if (mmrec_measure(&allocator, subject, &sampling, (mmrec_progress){0}, series, &error) != MMREC_OK)
        fail_msg("%s", error.message);
    *timing = meter.timing;
    device_meter_close(&meter);
    assert_int_equal(now.events, 0);
}

static void *fake(const char *library, const char *name) {
    void *handle = dlopen(library, RTLD_NOW), *symbol = handle ? dlsym(handle, name) : NULL;
    assert_non_null(symbol);
    return symbol; /* the handle is kept: the library must stay where it is */
}

/* ---- by events ---- */

static void events_leave_the_host_out(void **state) {
    (void)state;
    work w = {.kernels = 3};
    mmrec_timing timing;
    mmrec_series series;
    measure(MMREC_TIMER_AUTO, false, &w, &timing, &series);
    assert_int_equal(timing.used, MMREC_TIMER_EVENT);
    assert_string_equal(timing.fallback, "");
    assert_false(timing.gaps);
    assert_int_equal(series.count, 8);
    for (int i = 0; i < 8; i++) {
        assert_true(series.samples_ns[i] == 3 * RUN_NS); /* no launch in it */
        assert_true(series.notes[i].host_ns > 0);
        assert_int_equal(series.notes[i].sm_mhz, 1980);
    }
    assert_true(series.host.valid && series.host.count == 8);
    assert_int_equal(w.prepared, w.runs); /* the host's run and the device's, each prepared */
    assert_int_equal(now.flushed, 0);
    mmrec_series_free(&allocator, &series);
}

static void cold_means_a_flush_before_every_run(void **state) {
    (void)state;
    work w = {.kernels = 1};
    mmrec_timing timing;
    mmrec_series series;
    measure(MMREC_TIMER_EVENT, true, &w, &timing, &series);
    assert_true(timing.cold);
    assert_int_equal(now.flushed, w.runs);
    assert_int_equal(series.runs_per_sample, 1);
    mmrec_series_free(&allocator, &series);
}

/* More launches than the driver queues would wait for a place behind a stream that is held for them. */
static void too_many_launches_are_not_held(void **state) {
    (void)state;
    work w = {.kernels = 1500};
    mmrec_timing timing;
    mmrec_series series;
    measure(MMREC_TIMER_EVENT, false, &w, &timing, &series);
    assert_true(timing.gaps);
    assert_int_equal(now.holds, 0);
    assert_true(series.stats.median == 1500.0 * (RUN_NS + LAUNCH_NS));
    mmrec_series_free(&allocator, &series);
}

/* Nor is it held for what may queue more than it tells. */
static void a_subject_can_refuse_to_be_held(void **state) {
    (void)state;
    work w = {.kernels = 3};
    device_meter meter;
    mmrec_error error = {0};
    mmrec_series series;
    mmrec_subject subject = {.run = run, .context = &w, .unheld = true};
    assert_int_equal(device_meter_open(&allocator, &backend, MMREC_TIMER_EVENT, false, &meter, &error), MMREC_OK);
    mmrec_sampling sampling = brief(&meter);
    assert_int_equal(mmrec_measure(&allocator, subject, &sampling, (mmrec_progress){0}, &series, &error), MMREC_OK);
    assert_true(meter.timing.gaps);
    assert_int_equal(now.holds, 0);
    assert_true(series.stats.median == 3.0 * (RUN_NS + LAUNCH_NS));
    mmrec_series_free(&allocator, &series);
    device_meter_close(&meter);
}

static void the_hosts_clock_can_be_asked_for(void **state) {
    (void)state;
    work w = {.kernels = 2};
    mmrec_timing timing;
    mmrec_series series;
    measure(MMREC_TIMER_HOST, false, &w, &timing, &series);
    assert_int_equal(timing.used, MMREC_TIMER_HOST);
    assert_int_equal(now.holds, 0);
    assert_true(series.samples_ns[3] == series.notes[3].host_ns);
    mmrec_series_free(&allocator, &series);
}

static void emulated_times_are_not_kept(void **state) {
    (void)state;
    work w = {.kernels = 2};
    mmrec_timing timing;
    mmrec_series series;
    device.info.emulated = true;
    measure(MMREC_TIMER_AUTO, false, &w, &timing, &series);
    assert_int_equal(series.count, 0);
    assert_false(series.stats.valid || series.host.valid);
    assert_string_equal(series.untimed, "emulated");
    assert_true(w.runs > 0);
    assert_int_equal(now.holds, 0);
    mmrec_series_free(&allocator, &series);
}

static void failures_are_passed_on(void **state) {
    (void)state;
    static const char *const calls[] = {"event_create", "event_record", "event_elapsed", "hold",
                                        "flush_cache",  "synchronize",  "run",           "prepare"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        work w = {.kernels = 2};
        device_meter meter;
        mmrec_error error = {0};
        mmrec_series series = {0};
        mmrec_subject subject = {.run = run, .context = &w, .prepare = prepare};
        now.fail = calls[i];
        mmrec_status status = device_meter_open(&allocator, &backend, MMREC_TIMER_EVENT, true, &meter, &error);
        mmrec_sampling sampling = brief(&meter);
        if (status == MMREC_OK)
            status = mmrec_measure(&allocator, subject, &sampling, (mmrec_progress){0}, &series, &error);
        assert_int_equal(status, MMREC_INTERNAL);
        assert_non_null(strstr(error.message, calls[i]));
        device_meter_close(&meter);
        assert_int_equal(now.holds, now.released); /* a stream left held would stop everything */
        assert_int_equal(allocator.total.live_bytes, 0);
    }
}

/* ---- clocks ---- */

static void slowed_samples_are_marked_and_kept(void **state) {
    (void)state;
    work w = {.kernels = 1};
    mmrec_timing timing;
    mmrec_series series;
    unsigned long long *reasons = fake(MMREC_FAKE_NVML, "fake_nvml_reasons");
    *reasons = 0x24;
    measure(MMREC_TIMER_EVENT, false, &w, &timing, &series);
    *reasons = 0;
    assert_true(timing.clocks);
    assert_int_equal(series.throttled, 8);
    assert_int_equal(series.count, 8);
    char text[80];
    assert_string_equal(mmrec_throttle_text(series.notes[0].throttle, text, sizeof text), "power cap, heat");
    assert_string_equal(mmrec_throttle_text(0x3, text, sizeof text), ""); /* idle, clocks set by someone */
    mmrec_series_free(&allocator, &series);
    assert_int_equal(*(int *)fake(MMREC_FAKE_NVML, "fake_nvml_open"), 0);
}

static void without_nvml_there_are_no_clocks(void **state) {
    (void)state;
    nvml_probe probe;
    mmrec_sample_note note = {0};
    char why[NVML_WHY];
    int *init = fake(MMREC_FAKE_NVML, "fake_nvml_init_code"), *devices = fake(MMREC_FAKE_NVML, "fake_nvml_devices");
    setenv("MMREC_NVML", "/nowhere/libnvidia-ml.so", 1);
    assert_false(nvml_open(&probe, "0000:17:00.0", why));
    assert_non_null(strstr(why, "NVML is not there (/nowhere/"));
    nvml_read(&probe, &note); /* does nothing */
    assert_int_equal(note.sm_mhz, 0);
    setenv("MMREC_NVML", MMREC_FAKE_CUPTI, 1);
    assert_false(nvml_open(&probe, "", why));
    assert_string_equal(why, "NVML lacks a function");
    setenv("MMREC_NVML", MMREC_FAKE_NVML, 1);
    *init = 9;
    assert_false(nvml_open(&probe, "", why));
    assert_string_equal(why, "NVML cannot start (its error 9)");
    *init = 0;
    assert_false(nvml_open(&probe, "0000:99:00.0", why));
    assert_string_equal(why, "NVML does not know the device at 0000:99:00.0");
    *devices = 2;
    assert_false(nvml_open(&probe, "", why)); /* which of them? */
    *devices = 1;
    assert_true(nvml_open(&probe, "", why));
    nvml_close(&probe);
    assert_int_equal(*(int *)fake(MMREC_FAKE_NVML, "fake_nvml_open"), 0);
}

/* ---- CUPTI ---- */

static void hear_kernels(void) {
    setenv("MMREC_CUPTI", MMREC_FAKE_CUPTI, 1);
    void *symbol = fake(MMREC_FAKE_CUPTI, "fake_cupti_kernel");
    memcpy(&tell_cupti, &symbol, sizeof symbol);
}

static void cupti_sums_and_lists_kernels(void **state) {
    (void)state;
    work w = {.kernels = 3};
    mmrec_timing timing;
    mmrec_series series;
    hear_kernels();
    measure(MMREC_TIMER_CUPTI, false, &w, &timing, &series);
    assert_int_equal(timing.used, MMREC_TIMER_CUPTI);
    for (int i = 0; i < 8; i++) assert_true(series.samples_ns[i] == 2.25 * RUN_NS);
    mmrec_series_free(&allocator, &series);
    assert_int_equal(*(int *)fake(MMREC_FAKE_CUPTI, "fake_cupti_enabled"), 0);

    device_meter meter;
    mmrec_bench_row row = {0};
    mmrec_subject subject = {.run = run, .context = &w, .prepare = prepare};
    assert_int_equal(device_meter_open(&allocator, &backend, MMREC_TIMER_CUPTI, false, &meter, NULL), MMREC_OK);
    assert_int_equal(bench_count_launches(&allocator, &meter, &subject, &row, NULL), MMREC_OK);
    device_meter_close(&meter);
    assert_int_equal(row.launches, 3);
    assert_int_equal(row.kernel_count, 2);
    assert_string_equal(row.kernels[0].name, "k_long");
    assert_true(row.kernels[0].launches == 2 && row.kernels[0].ns == 2.0 * RUN_NS);
    assert_string_equal(row.kernels[1].name, "k_short");
    assert_true(row.kernels[1].launches == 1 && row.kernels[1].ns == RUN_NS / 4.0);
    bench_row_free(&allocator, &row);
}

/* As nvcc has made them, and what is no name of C++ or has more in it than names of kernels have. */
static void names_of_kernels_can_be_read(void **state) {
    (void)state;
    static const char *const names[][2] = {
        {"_Z10k_gelu_fwdIfLi4EEv6matrixIKfES0_IT_E9each_loop4mask", "k_gelu_fwd<float, 4>"},
        {"_Z13k_softmax_fwdI13__nv_bfloat16Li2ELb1EEv6matrixIKT_ES1_IS2_Elib", "k_softmax_fwd<__nv_bfloat16, 2, true>"},
        {"_Z16k_recurrence_fwdI9bf16_tileI11tensor_coreLin2EEEv5frame", "k_recurrence_fwd<bf16_tile<tensor_core, -2>>"},
        {"_Z7k_adamw17mmrec_adamw_call", "k_adamw"},
        {"_ZL7k_adamw17mmrec_adamw_call", "k_adamw"},
        {"_ZN7cutlass6KernelINS_4gemmEEEvv", "_ZN7cutlass6KernelINS_4gemmEEEvv"},
        {"_ZN7cutlass4gemm6KernelIfEEvv", "cutlass::gemm::Kernel<float>"},
        {"sm90_xmma_gemm_f32f32", "sm90_xmma_gemm_f32f32"},
        {"_Z99k_short", "_Z99k_short"},
        {"_Z6k_scanILb1", "_Z6k_scanILb1"},
        {"_Z", "_Z"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[MMREC_KERNEL_NAME];
        kernel_name(names[i][0], name);
        assert_string_equal(name, names[i][1]);
    }
    char given[300], name[MMREC_KERNEL_NAME];
    memset(given, 'k', sizeof given);
    memcpy(given, "_Z200", 5);
    given[sizeof given - 1] = '\0';
    kernel_name(given, name);
    assert_int_equal(strlen(name), MMREC_KERNEL_NAME - 1);
    assert_int_equal(name[0], 'k');
}

/* 8 buffers of 256 KiB have room for 9700 records; the fake hands over full ones, so that more pass through. */
static void cupti_takes_more_records_than_fit(void **state) {
    (void)state;
    work w = {.kernels = 20000};
    mmrec_timing timing;
    mmrec_series series;
    hear_kernels();
    measure(MMREC_TIMER_CUPTI, false, &w, &timing, &series);
    assert_true(series.stats.median == 10000 * 1.25 * RUN_NS);
    assert_int_equal(timing.records_lost, 0);
    mmrec_series_free(&allocator, &series);
    *(size_t *)fake(MMREC_FAKE_CUPTI, "fake_cupti_dropped") = 7;
    w.kernels = 2;
    measure(MMREC_TIMER_CUPTI, false, &w, &timing, &series);
    assert_int_equal(timing.records_lost, 0); /* those were lost before the first run that counts */
    mmrec_series_free(&allocator, &series);
}

static void falls_back_to_events(const char *says) {
    work w = {.kernels = 2};
    mmrec_timing timing;
    mmrec_series series;
    measure(MMREC_TIMER_CUPTI, false, &w, &timing, &series);
    assert_int_equal(timing.used, MMREC_TIMER_EVENT);
    assert_int_equal(timing.wanted, MMREC_TIMER_CUPTI);
    if (!strstr(timing.fallback, says)) fail_msg("%s", timing.fallback);
    assert_true(series.stats.median == 2.0 * RUN_NS);
    mmrec_series_free(&allocator, &series);
}

static void cupti_falls_back(void **state) {
    (void)state;
    setenv("MMREC_CUPTI", "/nowhere/libcupti.so", 1);
    falls_back_to_events("CUPTI is not there (/nowhere/");
    setenv("MMREC_CUPTI", MMREC_FAKE_NVML, 1);
    falls_back_to_events("lacks a function");
    setenv("MMREC_CUPTI", MMREC_FAKE_CUPTI, 1);
    int *code = fake(MMREC_FAKE_CUPTI, "fake_cupti_enable_code");
    *code = 39;
    falls_back_to_events("another profiler holds the device");
    *code = 35;
    falls_back_to_events("may not profile");
    *code = 1;
    falls_back_to_events("its error 1");
    *code = 0;
    allocator.fail_at = allocator.attempts + 1;
    falls_back_to_events("no memory for CUPTI's records");
    allocator.fail_at = 0;
}

static void a_failing_flush_is_an_error(void **state) {
    (void)state;
    device_meter meter;
    mmrec_bench_row row = {0};
    mmrec_error error = {0};
    work w = {.kernels = 1};
    mmrec_subject subject = {.run = run, .context = &w, .prepare = prepare};
    hear_kernels();
    int *code = fake(MMREC_FAKE_CUPTI, "fake_cupti_flush_code");
    assert_int_equal(device_meter_open(&allocator, &backend, MMREC_TIMER_CUPTI, false, &meter, &error), MMREC_OK);
    *code = 999;
    assert_int_equal(bench_count_launches(&allocator, &meter, &subject, &row, &error), MMREC_INTERNAL);
    assert_non_null(strstr(error.message, "its error 999"));
    *code = 0;
    device_meter_close(&meter);
}

/* ---- the host ---- */

static void the_host_has_its_own_clock(void **state) {
    (void)state;
    const mmrec_backend *cpu;
    device_meter meter;
    assert_int_equal(mmrec_backend_find("cpu", &cpu, NULL), MMREC_OK);
    for (int timer = 0; timer < MMREC_TIMERS; timer++) {
        assert_int_equal(device_meter_open(&allocator, cpu, (mmrec_timer)timer, false, &meter, NULL), MMREC_OK);
        assert_null(device_meter_of(&meter));
        assert_int_equal(meter.timing.used, MMREC_TIMER_HOST);
        bool refused = timer == MMREC_TIMER_EVENT || timer == MMREC_TIMER_CUPTI;
        assert_true((meter.timing.fallback[0] != '\0') == refused);
        device_meter_close(&meter);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_leave_the_host_out, start, end),
        cmocka_unit_test_setup_teardown(cold_means_a_flush_before_every_run, start, end),
        cmocka_unit_test_setup_teardown(too_many_launches_are_not_held, start, end),
        cmocka_unit_test_setup_teardown(a_subject_can_refuse_to_be_held, start, end),
        cmocka_unit_test_setup_teardown(the_hosts_clock_can_be_asked_for, start, end),
        cmocka_unit_test_setup_teardown(emulated_times_are_not_kept, start, end),
        cmocka_unit_test_setup_teardown(failures_are_passed_on, start, end),
        cmocka_unit_test_setup_teardown(slowed_samples_are_marked_and_kept, start, end),
        cmocka_unit_test_setup_teardown(without_nvml_there_are_no_clocks, start, end),
        cmocka_unit_test_setup_teardown(cupti_sums_and_lists_kernels, start, end),
        cmocka_unit_test(names_of_kernels_can_be_read),
        cmocka_unit_test_setup_teardown(cupti_takes_more_records_than_fit, start, end),
        cmocka_unit_test_setup_teardown(cupti_falls_back, start, end),
        cmocka_unit_test_setup_teardown(a_failing_flush_is_an_error, start, end),
        cmocka_unit_test_setup_teardown(the_host_has_its_own_clock, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
