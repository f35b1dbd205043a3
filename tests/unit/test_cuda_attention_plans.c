/* Plans of cuDNN for the op `attention` (test_cuda_attention.c): which are made and kept, every refusal in words,
 * memory, recording. Only on the emulated device. */
#include "attention_rig.h"

enum { MOST_PLANS = 64, PLAN = 5 };

/* ---- plans ---- */

static void test_second_configuration(void **state) {
    (void)state;
    open_two(small, dense);
    set_failures("configuration:0 ");
    attend(&a, CUDNN, CUDNN);
    assert_int_equal(count_calls("BackendExecute:1 "), 2);
    assert_int_equal(runs(), 2);
    attend(&b, KERNELS, KERNELS);
    expect_all_near();
}

static void test_no_configuration(void **state) {
    (void)state;
    open_two(small, dense);
    set_failures("configuration ");
    attend(&a, CUDNN, CUDNN);
    assert_int_equal(plans(), 4); /* two of each pass */
    attend(&b, KERNELS, KERNELS);
    expect_equal();
    set_failures("");
    attend(&a, AUTO, AUTO);
    assert_string_equal(fake.journal, "");
}

static void test_no_heuristic(void **state) {
    (void)state;
    open_two(small, dense);
    set_failures("heuristic ");
    attend(&a, CUDNN, CUDNN);
    assert_int_equal(plans(), 0);
    attend(&b, KERNELS, KERNELS);
    expect_equal();
}

/* One for a pass of the same sizes and strides. */
static void test_plans_are_kept(void **state) {
    (void)state;
    open_two(small, dense);
    attend(&a, CUDNN, CUDNN);
    assert_int_equal(plans(), 2);
    size_t kept = own_bytes();
    assert_true(kept > own_at_first);
    attend(&a, CUDNN, CUDNN);
    attend(&b, AUTO, AUTO);
    assert_int_equal(plans(), 2);
    assert_int_equal(own_bytes(), kept);
    expect_equal();
    for (int i = 0; i < VIEWS; i++) {
        mmrec_view *view = view_at(&b, i);
        set_failures("");
        *view = place(&b, &view->shape, view->dtype, 8);
        fill(&b);
        attend(&b, CUDNN, CUDNN);
        assert_int_equal(plans(), i < FIRST_OF_BACKWARD ? 2 : 1);
        assert_int_equal(runs(), 2);
    }
}

/* Causal or not, forward or backward, one number of heads or another: of tensors of the same shape. */
static void test_plans_differ(void **state) {
    static const char *const texts[] = {"B=2 T=3 M=3 D=16 -visible",         "B=2 T=3 M=3 D=16 causal=1 -visible",
                                        "B=2 T=3 M=3 D=16 heads=2 -visible", "B=1 T=3 M=3 D=16 -visible",
                                        "B=2 T=2 M=3 D=16 -visible",         "B=2 T=3 M=2 D=16 -visible"};
    (void)state;
    open_layer(&b, small, dense); /* an arena that keeps the plans */
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            set_failures("");
            open_layer(&a, texts[i], dense);
            attend(&a, CUDNN, CUDNN);
            assert_int_equal(plans(), again ? 0 : 2);
            close_layer(&a);
        }
    }
}

static void test_inference(void **state) {
    (void)state;
    open_layer(&a, "B=2 T=3 M=5 D=16 heads=2 -visible -logsum", dense);
    assert_null(a.call.saved[0].data);
    attend_forward(&a, CUDNN);
    assert_int_equal(runs(), 1);
    open_layer(&b, small, dense);
    attend_forward(&b, CUDNN);
    assert_int_equal(runs(), 2);
    assert_int_equal(plans(), 2);
    expect_view("output", 0, &a.call.out[0], &b.call.out[0], 0);
}

static void expect_full_table(void) {
    size_t full = own_bytes();
    int alive = *fake.alive;
    open_layer(&a, "B=1 T=65 M=1 D=8 -visible", dense);
    expect_failure(run(&a, MMREC_FORWARD), MMREC_UNSUPPORTED,
                   "64 sizes of attention are the most that cuDNN can run at a time; use --attention kernels");
    set_failures("");
    attend_forward(&a, AUTO); /* by the kernels */
    assert_int_equal(runs(), 0);
    close_layer(&a);
    assert_int_equal(own_bytes(), full);
    assert_int_equal(*fake.alive, alive);
}

static void test_full_table(void **state) {
    (void)state;
    open_layer(&b, small, dense); /* an arena that keeps the plans */
    for (int i = 0; i <= MOST_PLANS; i++) {
        char text[64];
        snprintf(text, sizeof text, "B=1 T=%d M=1 D=8 -visible", i % MOST_PLANS + 1); /* the last one is known */
        set_failures("");
        open_layer(&a, text, dense);
        attend_forward(&a, CUDNN);
        assert_int_equal(plans(), i < MOST_PLANS);
        assert_int_equal(runs(), 1);
        close_layer(&a);
    }
    expect_full_table();
    close_layer(&b);
    open_layer(&a, "B=1 T=65 M=1 D=8 -visible", dense);
    attend(&a, CUDNN, CUDNN);
}

/* ---- failures ---- */

/* How the n-th of the calls of that name was written down. */
static int kind_of(const char *name, int n) {
    const char *at = fake.journal;
    for (int i = 0; i < n; i++) {
        at = strstr(at, name);
        assert_non_null(at);
        at += strlen(name);
    }
    return atoi(at);
}

/* A plan that is refused is one of cuDNN's answers. */
static void fail_one(const char *name, int n, mmrec_pass pass) {
    char fails[64], wanted[64];
    snprintf(fails, sizeof fails, "%.*s@%d ", (int)strlen(name) - 1, name, n);
    snprintf(wanted, sizeof wanted, "cudnn%.*s failed with CUDNN_STATUS_", (int)strlen(name) - 1, name);
    open_layer(&a, small, dense);
    choose(CUDNN);
    set_failures(fails);
    mmrec_status status = run(&a, pass);
    if (status == MMREC_OK) {
        assert_int_equal(kind_of(name, n), PLAN);
        assert_string_equal(name, "BackendFinalize:");
        assert_int_equal(count_calls("BackendExecute:1 "), 1);
    } else {
        expect_failure(status, MMREC_INTERNAL, wanted);
        assert_int_equal(count_calls(name), n);
    }
    set_failures("");
    must(run(&a, pass));
    assert_int_equal(runs(), 1);
    must(cuda->synchronize(&error));
    expect_nothing_kept();
}

static void test_every_call_fails(void **state) {
    static const struct {
        const char *name;
        int step; /* attributes are many, and set in one place */
    } calls[] = {{"BackendCreateDescriptor:", 1},
                 {"BackendSetAttribute:", 11},
                 {"BackendFinalize:", 1},
                 {"BackendGetAttribute:", 1},
                 {"BackendExecute:", 1}};
    (void)state;
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
            open_layer(&a, small, dense);
            set_failures("");
            must(run(&a, (mmrec_pass)pass));
            int count = count_calls(calls[i].name);
            assert_true(count > 0);
            close_layer(&a);
            for (int n = 1; n <= count; n += calls[i].step) fail_one(calls[i].name, n, (mmrec_pass)pass);
        }
    }
}

/* ---- recording ---- */

static void replay(void *const *graphs, uint32_t seed) {
    a.seed = b.seed = seed;
    fill(&a);
    fill(&b);
    set_failures("");
    for (int pass = 0; pass < MMREC_PASSES; pass++) must(cuda->device->graph_launch(graphs[pass], &error));
    read_back(&a);
    expect_only_results(&a);
    assert_string_equal(fake.journal, "");
    attend(&b, CUDNN, CUDNN);
    expect_equal();
}

static void test_recorded(void **state) {
    void *graphs[MMREC_PASSES] = {NULL};
    (void)state;
    open_two("B=2 T=19 M=19 D=48 heads=3 causal=1 -visible", dense);
    uint64_t before = cuda->device->launches();
    attend(&a, CUDNN, CUDNN);
    uint64_t eager = cuda->device->launches() - before;
    assert_true(eager > 0);
    size_t kept = own_bytes();
    for (int pass = 0; pass < MMREC_PASSES; pass++) record(&a, (mmrec_pass)pass, &graphs[pass]);
    replay(graphs, 1);
    before = cuda->device->launches();
    replay(graphs, 2);
    assert_int_equal(cuda->device->launches() - before, 2 * eager);
    assert_int_equal(own_bytes(), kept);
    for (int pass = 0; pass < MMREC_PASSES; pass++) cuda->device->graph_destroy(graphs[pass]);
}

static void test_recording_fails(void **state) {
    static const char unknown[] = "cuDNN needs memory for a layer that it has not run before, which cannot be had "
                                  "while a CUDA graph is recorded; run the phase once before, or use --graphs off";
    (void)state;
    open_layer(&a, small, dense);
    fail_recording(&a, MMREC_FORWARD, MMREC_INTERNAL, unknown);
    choose(AUTO);
    fail_recording(&a, MMREC_FORWARD, MMREC_INTERNAL, unknown);
    must(run(&a, MMREC_FORWARD));
    fail_recording(&a, MMREC_BACKWARD, MMREC_INTERNAL, unknown);
    must(run(&a, MMREC_BACKWARD));
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        set_failures("BackendExecute ");
        fail_recording(&a, (mmrec_pass)pass, MMREC_UNSUPPORTED,
                       "cuDNN cannot be recorded into a CUDA graph here: cudnnBackendExecute failed with "
                       "CUDNN_STATUS_EXECUTION_FAILED: the fake was told to fail; use --graphs off");
    }
    set_failures("");
    attend(&a, CUDNN, CUDNN);
    assert_int_equal(runs(), 2);
}

/* ---- memory ---- */

static void test_last_arena(void **state) {
    (void)state;
    open_two(small, dense);
    attend(&a, CUDNN, CUDNN);
    size_t kept = own_bytes();
    int alive = *fake.alive;
    assert_true(kept > own_at_first);
    close_layer(&a);
    assert_int_equal(own_bytes(), kept);
    assert_int_equal(*fake.alive, alive);
    set_failures("");
    attend(&b, CUDNN, CUDNN);
    assert_int_equal(plans(), 0);
    close_layer(&b);
    assert_int_equal(own_bytes(), own_at_first);
    assert_int_equal(*fake.alive, 1);
    open_layer(&a, small, dense);
    attend(&a, CUDNN, CUDNN);
    assert_int_equal(plans(), 2);
    assert_int_equal(count_calls("Create "), 0);
    assert_int_equal(own_bytes(), kept);
}

/* Closed while the arena is still there. */
static void test_reopen(void **state) {
    (void)state;
    open_layer(&a, small, dense);
    attend(&a, CUDNN, CUDNN);
    end_device();
    open_device(NULL);
    attend(&a, CUDNN, CUDNN);
    assert_int_equal(count_calls("Create "), 1);
    assert_int_equal(plans(), 2);
    assert_int_equal(runs(), 2);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_device, close_device)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_second_configuration), CASE(test_no_configuration), CASE(test_no_heuristic),
        CASE(test_plans_are_kept),       CASE(test_plans_differ),     CASE(test_inference),
        CASE(test_full_table),           CASE(test_every_call_fails), CASE(test_recorded),
        CASE(test_recording_fails),      CASE(test_last_arena),       CASE(test_reopen)};
    if (!device_emulated()) return 77;
    open_fake();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
