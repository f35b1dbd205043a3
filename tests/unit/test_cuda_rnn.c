/* The ops `lstm` and `gru` by cuDNN, with a library of the test in its place that computes (fake_cudnn_rnn.c): what
 * is loaded when, which calls it gets, every refusal in words, memory, recording. That the numbers are right is for
 * ops_harness --rnn cudnn and for mmrec-parity; here both ways of running a call are compared. Only on the emulated
 * device. */
#define CALL_ARENA_BYTES (1 << 20) /* a layer of 129 units with its gradients takes 600 KiB */
#include "call_rig.h"

enum { LSTM_WEIGHTS = 3, MOST_LAYERS = 64 };

static int *fake_math;

static void open_layer(layer *l, const char *op, const char *text, paddings p) {
    open_layer_of(l, MMREC_F32, op, text, p);
}

static const double NEAR = 3e-6; /* of sums of some 20 products of numbers up to 1; a wrong sign or place is 1e-2 */

/* ---- around every test ---- */

static bool tf32;

static int open_device(void **state) {
    (void)state;
    const mmrec_device_options options = {.rnn = MMREC_LIBRARY_CUDNN, .tf32 = tf32};
    begin_device(&options);
    return 0;
}

static int close_device(void **state) {
    (void)state;
    set_failures("");
    close_layer(&a);
    close_layer(&b);
    end_device();
    return 0;
}

static const char *const small = "B=2 X=3 D=5 H=4";
static const char *const wide = "B=1 X=2 D=3 H=129"; /* more than the kernels take in one launch */

/* ---- loading: in this order, since what is loaded once stays ---- */

static void test_not_asked_for(void **state) {
    (void)state;
    setenv("MMREC_CUDNN", "/nowhere/libcudnn.so", 1);
    open_layer(&a, "lstm", small, dense);
    assert_int_equal(cuda->device->rnn(MMREC_LIBRARY_AUTO), MMREC_LIBRARY_CUDNN);
    run_both(&a);
    assert_int_equal(cuda->device->rnn(MMREC_LIBRARY_KERNELS), MMREC_LIBRARY_AUTO);
    run_both(&a);
    assert_int_equal(cuda->device->rnn(MMREC_LIBRARY_CUDNN), MMREC_LIBRARY_KERNELS);
    open_layer(&b, "gru", "B=2 X=1 D=5 H=4 steps=3", dense);
    run_both(&b);
    assert_string_equal(fake.journal, "");
}

/* auto does without. */
static void test_auto_without_library(void **state) {
    (void)state;
    setenv("MMREC_CUDNN", "/nowhere/libcudnn.so", 1);
    cuda->device->rnn(MMREC_LIBRARY_AUTO);
    open_layer(&a, "lstm", wide, dense);
    run_both(&a);
    setenv("MMREC_CUDNN", MMREC_FAKE_CUDNN, 1); /* that there is none was found out once */
    run_both(&a);
    assert_string_equal(fake.journal, "");
}

static void test_no_library(void **state) {
    (void)state;
    size_t before = own_bytes();
    open_layer(&a, "lstm", small, dense);
    unsetenv("MMREC_CUDNN");
    expect_failure(run(&a, MMREC_FORWARD), MMREC_UNSUPPORTED, "no cuDNN: the device is emulated; use --rnn kernels");
    setenv("MMREC_CUDNN", "/nowhere/libcudnn.so", 1);
    expect_failure(run(&a, MMREC_FORWARD), MMREC_UNSUPPORTED, "no cuDNN: /nowhere/libcudnn.so: cannot open");
    expect_failure(run(&a, MMREC_BACKWARD), MMREC_UNSUPPORTED, "no cuDNN: ");
    setenv("MMREC_CUDNN", MMREC_FAKE_CUDNN, 1);
    set_failures("Create ");
    expect_failure(run(&a, MMREC_FORWARD), MMREC_UNSUPPORTED,
                   "no cuDNN: cudnnCreate failed with CUDNN_STATUS_NOT_INIT");
    assert_int_equal(own_bytes(), before);
}

/* ---- both ways ---- */

/* The layer of `text` by cuDNN and by the kernels. */
static void compare_ways(const char *op, const char *text, paddings p, unsigned accumulate) {
    open_layer(&a, op, text, p);
    open_layer(&b, op, text, p);
    a.call.accumulate = b.call.accumulate = accumulate;
    run_both(&a);
    assert_int_equal(cuda->device->rnn(MMREC_LIBRARY_KERNELS), MMREC_LIBRARY_CUDNN);
    run_both(&b);
    cuda->device->rnn(MMREC_LIBRARY_CUDNN);
    expect_same(NEAR);
    close_layer(&a);
    close_layer(&b);
}

static void expect_passes(int forward, int data, int weights) {
    assert_int_equal(count_calls("RNNForward:0 "), forward);
    assert_int_equal(count_calls("RNNBackwardData_v8:0 "), data);
    assert_int_equal(count_calls("RNNBackwardWeights_v8:0 "), weights);
    set_failures("");
}

static void test_both_ways(void **state) {
    static const char *const texts[] = {"B=2 X=3 D=5 H=4", "B=3 X=1 D=1 H=1", "B=1 X=4 D=2 H=7 -h0 -h_last"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        compare_ways("lstm", texts[i], dense, 0);
        expect_passes(1, 1, 1);
        compare_ways("gru", texts[i], dense, 0);
        expect_passes(1, 1, 1);
    }
    assert_int_equal(*fake_math, 3); /* CUDNN_FMA_MATH */
}

/* auto is cuDNN for what is not small. */
static void test_auto(void **state) {
    (void)state;
    assert_int_equal(cuda->device->rnn(MMREC_LIBRARY_AUTO), MMREC_LIBRARY_CUDNN);
    open_layer(&a, "lstm", "B=1 X=2 D=3 H=128", dense);
    run_both(&a);
    close_layer(&a);
    expect_passes(0, 0, 0);
    open_layer(&a, "lstm", wide, dense);
    open_layer(&b, "lstm", wide, dense);
    run_both(&a);
    assert_int_equal(cuda->device->rnn(MMREC_LIBRARY_KERNELS), MMREC_LIBRARY_AUTO);
    run_both(&b);
    expect_passes(1, 1, 1);
    expect_same(3 * NEAR); /* sums of 129 products, not 20: their roundings grow by the root */
}

static void test_tf32(void **state) {
    (void)state;
    open_layer(&a, "gru", small, dense);
    must(run(&a, MMREC_FORWARD));
    assert_int_equal(*fake_math, 0); /* CUDNN_DEFAULT_MATH */
}

/* Only what both passes read must be packed: the rest goes through memory of the backend's. */
static void test_other_places(void **state) {
    static const char *const ops[] = {"lstm", "gru"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        compare_ways(ops[i], small, (paddings){.d_in = 3, .d_out = 1}, 0);
        compare_ways(ops[i], small, (paddings){.d_in = 3, .d_out = 1}, ~0u);
        compare_ways(ops[i], small, dense, 0x55u);
        compare_ways(ops[i], small, dense, 0xaau);
        expect_passes(4, 4, 4);
    }
}

/* h_last and c_last, and the weights, may lie anywhere. */
static void test_strided_states(void **state) {
    (void)state;
    open_layer(&a, "lstm", small, dense);
    open_layer(&b, "lstm", small, dense);
    for (int i = 1; i <= 2; i++) {
        a.call.out[i] = place(&a, &a.sizes.out[i], MMREC_F32, 5);
        mmrec_view weight = place(&a, &a.sizes.in[LSTM_WEIGHTS + i - 1], MMREC_F32, 2);
        for (int64_t k = 0; k < mmrec_shape_elements(&weight.shape); k++) {
            float value = element(&a, &a.call.in[LSTM_WEIGHTS + i - 1], k);
            int64_t columns = mmrec_shape_columns(&weight.shape), at = k / columns * weight.stride + k % columns;
            must(cuda->device->copy_in((float *)weight.data + at, &value, sizeof value, &error));
        }
        a.call.in[LSTM_WEIGHTS + i - 1] = weight;
    }
    run_both(&a);
    run_both(&b);
    expect_passes(2, 2, 2);
    expect_same(0);
}

static void test_falls_back(void **state) {
    (void)state;
    compare_ways("lstm", "B=2 X=1 D=5 H=4 steps=3", dense, 0);
    compare_ways("gru", small, (paddings){.in = 1}, 0);
    compare_ways("lstm", small, (paddings){.out = 1}, 0);
    open_layer(&a, "lstm", small, dense); /* rows begin anywhere */
    a.call.in[0].data = (float *)a.call.in[0].data + 1;
    run_both(&a);
    for (int state_in = 1; state_in <= 2; state_in++) { /* a state that is not packed */
        close_layer(&a);
        open_layer(&a, "lstm", small, dense);
        a.call.in[state_in] = place(&a, &a.sizes.in[state_in], MMREC_F32, 1);
        run_both(&a);
    }
    assert_string_equal(fake.journal, "");
}

/* ---- what is asked of the backward pass ---- */

static void test_absent_gradients(void **state) {
    (void)state;
    open_layer(&a, "lstm", small, dense);
    open_layer(&b, "lstm", small, dense);
    a.call.d_out[0].data = b.call.d_out[0].data = NULL;
    a.call.d_in[0].data = b.call.d_in[0].data = NULL;
    for (int i = 0; i < 4; i++) a.call.d_in[LSTM_WEIGHTS + i].data = b.call.d_in[LSTM_WEIGHTS + i].data = NULL;
    run_both(&a);
    expect_passes(1, 1, 0);
    cuda->device->rnn(MMREC_LIBRARY_KERNELS);
    run_both(&b);
    expect_same(NEAR);
}

/* cuDNN's backward pass uses up what it reads. */
static void test_backward_again(void **state) {
    (void)state;
    open_layer(&a, "gru", small, dense);
    open_layer(&b, "gru", small, dense);
    run_both(&a);
    run_both(&b);
    must(run(&a, MMREC_BACKWARD));
    read_back(&a);
    expect_passes(2, 3, 3);
    expect_same(0);
}

static void test_backward_alone(void **state) {
    (void)state;
    open_layer(&a, "lstm", small, dense);
    expect_failure(run(&a, MMREC_BACKWARD), MMREC_INTERNAL, "lstm backward: cuDNN has run no forward pass");
    cuda->device->rnn(MMREC_LIBRARY_KERNELS);
    must(run(&a, MMREC_FORWARD));
    cuda->device->rnn(MMREC_LIBRARY_CUDNN);
    expect_failure(run(&a, MMREC_BACKWARD), MMREC_INTERNAL, "--rnn must not change between the two");
    set_failures("RNNForward:0@2 ");
    must(run(&a, MMREC_FORWARD));
    expect_failure(run(&a, MMREC_FORWARD), MMREC_INTERNAL, "cudnnRNNForward failed with");
    expect_failure(run(&a, MMREC_BACKWARD), MMREC_INTERNAL, "cuDNN has run no forward pass");
}

/* ---- memory ---- */

static void test_slots(void **state) {
    size_t before = own_bytes(), first, second;
    (void)state;
    open_layer(&a, "lstm", small, dense);
    run_both(&a);
    first = own_bytes();
    assert_true(first > before);
    run_both(&a);
    assert_int_equal(own_bytes(), first);
    open_layer(&b, "lstm", small, dense); /* the same layer elsewhere */
    run_both(&b);
    second = own_bytes();
    assert_int_equal(second - first, first - before);
    close_layer(&b);
    assert_int_equal(own_bytes(), first);
    open_layer(&b, "gru", small, dense); /* another one, and one that saves nothing, at the same address */
    b.call.saved[0].data = a.call.saved[0].data;
    must(run(&b, MMREC_FORWARD));
    second = own_bytes();
    assert_true(second > first);
    b.call.scratch = b.call.saved[0].data;
    b.call.saved[0].data = NULL;
    must(run(&b, MMREC_FORWARD));
    assert_true(own_bytes() > second);
    must(cuda->synchronize(&error));
    close_layer(&a);
    assert_int_equal(own_bytes(), before);
}

/* Nothing is kept where nothing is saved; the place is known by its scratch memory. */
static void test_inference(void **state) {
    size_t before = own_bytes(), training;
    (void)state;
    open_layer(&a, "lstm", small, dense);
    must(run(&a, MMREC_FORWARD));
    training = own_bytes() - before;
    open_layer(&b, "lstm", "B=2 X=3 D=5 H=4 -gates -cells", dense);
    must(run(&b, MMREC_FORWARD));
    assert_true(own_bytes() - before - training < training);
    read_back(&a);
    read_back(&b);
    expect_passes(2, 0, 0);
    for (int i = 0; i < MMREC_MAX_OUT; i++) expect_view("output", i, &a.call.out[i], &b.call.out[i], 0);
    close_layer(&b);
    assert_int_equal(own_bytes() - before, training);
}

static void test_full_table(void **state) {
    size_t before = own_bytes();
    (void)state;
    open_layer(&a, "gru", "B=1 X=1 D=1 H=1 -gates", dense);
    for (int i = 0; i < MOST_LAYERS; i++) {
        must(run(&a, MMREC_FORWARD));
        a.call.scratch = (char *)a.call.scratch + MMREC_ALIGN;
    }
    size_t full = own_bytes();
    expect_failure(run(&a, MMREC_FORWARD), MMREC_UNSUPPORTED, "64 layers are the most that cuDNN can run at a time");
    assert_int_equal(own_bytes(), full);
    set_failures("");
    cuda->device->rnn(MMREC_LIBRARY_AUTO); /* which has the kernels for one more */
    open_layer(&b, "lstm", wide, dense);
    run_both(&b);
    expect_passes(0, 0, 0);
    cuda->device->rnn(MMREC_LIBRARY_CUDNN);
    close_layer(&b);
    close_layer(&a);
    assert_int_equal(own_bytes(), before);
    open_layer(&a, "gru", small, dense);
    run_both(&a);
}

/* ---- failures ---- */

static void test_every_call_fails(void **state) {
    static const char *const calls[] = {
        "CreateDropoutDescriptor ",    "SetDropoutDescriptor ",    "CreateTensorDescriptor ",
        "CreateTensorDescriptor @2 ",  "CreateRNNDataDescriptor ", "SetRNNDataDescriptor ",
        "CreateRNNDataDescriptor @2 ", "SetRNNDataDescriptor @2 ", "CreateTensorDescriptor ",
        "SetTensorNdDescriptor ",      "CreateRNNDescriptor ",     "SetRNNDescriptor_v8 ",
        "GetRNNWeightSpaceSize ",      "GetRNNTempSpaceSizes ",    "GetRNNWeightParams:0@7 ",
        "GetTensorNdDescriptor @8 "};
    size_t before = own_bytes();
    (void)state;
    open_layer(&a, "lstm", small, dense);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        char wanted[64], fails[64];
        int length = (int)strcspn(calls[i], " :");
        snprintf(wanted, sizeof wanted, "cudnn%.*s failed with CUDNN_STATUS_", length, calls[i]);
        snprintf(fails, sizeof fails, "%.*s%s", length, calls[i], strchr(calls[i], '@') ? strchr(calls[i], '@') : " ");
        if (strchr(calls[i], ':')) snprintf(fails, sizeof fails, "%s", calls[i]);
        set_failures(fails);
        expect_failure(run(&a, MMREC_FORWARD), MMREC_INTERNAL, wanted);
        assert_int_equal(own_bytes(), before);
    }
    set_failures("layout ");
    expect_failure(run(&a, MMREC_FORWARD), MMREC_INTERNAL, "cuDNN lays its weights out in a way");
    assert_int_equal(own_bytes(), before);
    set_failures("");
    must(run(&a, MMREC_FORWARD));
    set_failures("RNNBackwardData_v8 ");
    expect_failure(run(&a, MMREC_BACKWARD), MMREC_INTERNAL, "cudnnRNNBackwardData_v8 failed with CUDNN_STATUS_EXEC");
    set_failures("RNNBackwardWeights_v8 ");
    expect_failure(run(&a, MMREC_BACKWARD), MMREC_INTERNAL, "cudnnRNNBackwardWeights_v8 failed with CUDNN_STATUS_EXEC");
    set_failures("");
    run_both(&a);
}

/* ---- recording ---- */

static void test_recorded(void **state) {
    void *graphs[MMREC_PASSES] = {NULL};
    (void)state;
    open_layer(&a, "lstm", small, dense);
    open_layer(&b, "lstm", small, dense);
    run_both(&a);
    run_both(&b);
    size_t before = own_bytes();
    for (int pass = 0; pass < MMREC_PASSES; pass++) record(&a, (mmrec_pass)pass, &graphs[pass]);
    set_failures("");
    fill(&a);
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        /* 16 matrices and biases, and 3 steps with 4 each: of the one call of cuDNN, or of two. */
        const uint64_t wanted[MMREC_PASSES] = {16 + 12, 16 + 24}, launches = cuda->device->launches();
        must(cuda->device->graph_launch(graphs[pass], &error));
        assert_int_equal(cuda->device->launches() - launches, wanted[pass]);
    }
    read_back(&a);
    assert_string_equal(fake.journal, "");
    assert_int_equal(own_bytes(), before);
    expect_same(0);
    for (int pass = 0; pass < MMREC_PASSES; pass++) cuda->device->graph_destroy(graphs[pass]);
}

static void test_recording_fails(void **state) {
    (void)state;
    open_layer(&a, "gru", small, dense);
    fail_recording(&a, MMREC_FORWARD, MMREC_INTERNAL, "run the phase once before, or use --graphs off");
    must(run(&a, MMREC_FORWARD));
    fail_recording(&a, MMREC_BACKWARD, MMREC_INTERNAL, "run the phase once before, or use --graphs off");
    must(run(&a, MMREC_BACKWARD));
    set_failures("RNNForward ");
    fail_recording(&a, MMREC_FORWARD, MMREC_UNSUPPORTED,
                   "cuDNN cannot be recorded into a CUDA graph here: cudnnRNNForward failed with "
                   "CUDNN_STATUS_EXECUTION_FAILED: the fake was told to fail; use --graphs off");
    set_failures("");
    run_both(&a);
}

/* A device that was closed and opened again has cuDNN anew. */
static void test_reopen(void **state) {
    (void)state;
    open_layer(&a, "gru", small, dense);
    run_both(&a);
    close_layer(&a);
    mmrec_backend_close();
    assert_int_equal(*fake.alive, 0);
    open_device(NULL);
    open_layer(&a, "gru", small, dense);
    run_both(&a);
    assert_int_equal(count_calls("Create "), 1);
}

static int open_tf32(void **state) {
    tf32 = true;
    open_device(state);
    tf32 = false;
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_device, close_device)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_not_asked_for),  CASE(test_auto_without_library),
        CASE(test_no_library),     CASE(test_auto),
        CASE(test_both_ways),      cmocka_unit_test_setup_teardown(test_tf32, open_tf32, close_device),
        CASE(test_other_places),   CASE(test_strided_states),
        CASE(test_falls_back),     CASE(test_absent_gradients),
        CASE(test_backward_again), CASE(test_backward_alone),
        CASE(test_slots),          CASE(test_inference),
        CASE(test_full_table),     CASE(test_every_call_fails),
        CASE(test_recorded),       CASE(test_recording_fails),
        CASE(test_reopen)};
    if (!device_emulated()) return 77;
    fake_math = symbol(open_fake(), "fake_cudnn_math");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
