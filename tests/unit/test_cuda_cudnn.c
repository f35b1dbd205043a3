/* cuDNN's LSTM behind the backend's table, with a library of the test in cuDNN's place (fake_cudnn.c): that it is
 * loaded only when asked for, every refusal in one line, sizes and order of the calls, and that nothing is left. Only
 * on the emulated device: a real one would be given nonsense. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cudnn_rig.h"

enum { WIDTH = 24, BATCH = 3, STEPS = 5, VALUE_BYTES = 2 };

static const mmrec_backend *cuda;
static const mmrec_lstm *lstm;
static mmrec_allocator allocator;
static mmrec_error error;
static mmrec_lstm_info info;

/* ---- the library of the test ---- */

typedef struct seen {
    void *stream;
    int batch, width, steps, length_sum, type, algorithm;
    const void *x, *y, *weights, *work, *reserve, *gradients;
    size_t weight_bytes;
} seen;

static struct fake {
    char *fails, *journal;
    size_t *version, *weight_bytes, *work_bytes, *reserve_bytes;
    int *alive;
    const seen *seen;
} fake;

static void open_fake(void) {
    void *library = fake_library();
    fake = (struct fake){symbol(library, "fake_cudnn_fails"),      symbol(library, "fake_cudnn_journal"),
                         symbol(library, "fake_cudnn_version"),    symbol(library, "fake_cudnn_weight_bytes"),
                         symbol(library, "fake_cudnn_work_bytes"), symbol(library, "fake_cudnn_reserve_bytes"),
                         symbol(library, "fake_cudnn_alive"),      symbol(library, "fake_cudnn_seen")};
}

static void set_failures(const char *what) { strcpy(fake.fails, what); }

static int count_calls(const char *name) { return count_in(fake.journal, name); }

/* ---- around every test ---- */

static int open_device(void **state) {
    (void)state;
    setenv("MMREC_CUDNN", MMREC_FAKE_CUDNN, 1);
    set_failures("");
    fake.journal[0] = '\0';
    mmrec_error_clear(&error);
    if (mmrec_backend_find("cuda", &cuda, &error) != MMREC_OK) fail_msg("%s", error.message);
    lstm = &cuda->device->lstm;
    return 0;
}

static size_t own_bytes(void) { return cuda->device->allocated(MMREC_ARENAS).live_bytes; }

static int close_device(void **state) {
    (void)state;
    set_failures("");
    lstm->destroy();
    mmrec_backend_close();
    assert_int_equal(*fake.alive, 0);
    assert_int_equal(own_bytes(), 0);
    return 0;
}

static mmrec_status create(bool bf16) {
    mmrec_lstm_request request = {WIDTH, BATCH, STEPS, bf16, 7, &allocator};
    return lstm->create(&request, &info, &error);
}

static void must_create(bool bf16) {
    if (create(bf16) != MMREC_OK) fail_msg("%s", error.message);
}

static void must(mmrec_status status) {
    if (status != MMREC_OK) fail_msg("%s", error.message);
}

static void expect_refusal(const char *words) {
    size_t before = own_bytes();
    assert_int_equal(create(false), MMREC_UNSUPPORTED);
    if (!strstr(error.message, words)) fail_msg("\"%s\" does not say \"%s\"", error.message, words);
    assert_null(strchr(error.message, '\n'));
    assert_int_equal(own_bytes(), before);
    mmrec_error_clear(&error);
}

/* ---- loading: in this order, since what is loaded once stays ---- */

static void test_not_loaded_without_a_name(void **state) {
    (void)state;
    unsetenv("MMREC_CUDNN");
    expect_refusal("emulated");
    setenv("MMREC_CUDNN", "", 1);
    expect_refusal("emulated");
    assert_int_equal(lstm->run(MMREC_FORWARD, &error), MMREC_UNSUPPORTED);
    assert_non_null(strstr(error.message, "has to be created first"));
    assert_int_equal(lstm->prepare(MMREC_BACKWARD, &error), MMREC_UNSUPPORTED);
}

static void test_no_library(void **state) {
    (void)state;
    setenv("MMREC_CUDNN", "/nowhere/libcudnn.so", 1);
    expect_refusal("no cuDNN: /nowhere/libcudnn.so: cannot open shared object file");
    setenv("MMREC_CUDNN", "libm.so.6", 1);
    expect_refusal("no cuDNN: libm.so.6 lacks cudnnGetVersion");
}

static void test_wrong_version(void **state) {
    (void)state;
    *fake.version = 8902;
    expect_refusal("is version 8.9, this build is for version 9");
    *fake.version = 101200;
    expect_refusal("is version 10.12, this build is for version 9");
    *fake.version = 91900;
    assert_string_equal(fake.journal, "");
}

static void test_no_handle(void **state) {
    (void)state;
    set_failures("Create ");
    expect_refusal("no cuDNN: cudnnCreate failed with CUDNN_STATUS_NOT_INITIALIZED: the fake was told to fail");
    set_failures("SetStream ");
    expect_refusal("no cuDNN: cudnnSetStream failed with CUDNN_STATUS_BAD_PARAM");
    assert_int_equal(*fake.alive, 0);
}

/* ---- making one ---- */

static void test_every_call_fails(void **state) {
    static const char *const calls[] = {"CreateDropoutDescriptor ",
                                        "SetDropoutDescriptor ",
                                        "CreateTensorDescriptor ",
                                        "SetTensorNdDescriptor ",
                                        "CreateRNNDataDescriptor ",
                                        "SetRNNDataDescriptor ",
                                        "CreateRNNDescriptor ",
                                        "SetRNNDescriptor_v8 ",
                                        "GetRNNWeightSpaceSize ",
                                        "GetRNNTempSpaceSizes ",
                                        "RNNForward ",
                                        "RNNBackwardData_v8 ",
                                        "RNNBackwardWeights_v8 ",
                                        "RNNForward:0@1 RNNForward:1@2 RNNForward:1@3 RNNForward:1@4 "};
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        fake.journal[0] = '\0';
        set_failures(calls[i]);
        size_t before = own_bytes();
        char wanted[64];
        snprintf(wanted, sizeof wanted, "cudnn%.*s failed with CUDNN_STATUS_", (int)strcspn(calls[i], " :"), calls[i]);
        assert_int_not_equal(create(false), MMREC_OK);
        if (!strstr(error.message, wanted)) fail_msg("\"%s\" does not say \"%s\"", error.message, wanted);
        assert_null(strchr(error.message, '\n'));
        assert_int_equal(own_bytes(), before);
        assert_int_equal(*fake.alive, 1); /* the handle */
    }
    assert_int_equal(cuda->synchronize(&error), MMREC_OK);
}

static void test_algorithms(void **state) {
    (void)state;
    set_failures("SetRNNDescriptor_v8:1 ");
    must_create(false);
    assert_string_equal(info.algorithm[MMREC_FORWARD], "standard");
    assert_string_equal(info.algorithm[MMREC_BACKWARD], "standard");
    assert_int_equal(info.reserve_bytes, fake.reserve_bytes[0]);
    lstm->destroy();
    set_failures("RNNForward:0 ");
    must_create(false);
    assert_string_equal(info.algorithm[MMREC_FORWARD], "persistent");
    assert_string_equal(info.algorithm[MMREC_BACKWARD], "persistent");
    lstm->destroy();
    set_failures("SetRNNDescriptor_v8 ");
    expect_refusal("cuDNN takes no such LSTM: cudnnSetRNNDescriptor_v8 failed with CUDNN_STATUS_NOT_SUPPORTED");
}

static void test_sizes(void **state) {
    (void)state;
    size_t before = own_bytes(), values = (size_t)WIDTH * BATCH * VALUE_BYTES;
    must_create(true);
    assert_int_equal(fake.seen->width, WIDTH);
    assert_int_equal(fake.seen->batch, BATCH);
    assert_int_equal(fake.seen->steps, STEPS);
    assert_int_equal(fake.seen->length_sum, BATCH * STEPS);
    assert_int_equal(fake.seen->type, 9); /* CUDNN_DATA_BFLOAT16 */
    assert_int_equal(info.version, 91900);
    assert_int_equal(info.weight_bytes, fake.weight_bytes[1]); /* the larger of both, each */
    assert_int_equal(info.work_bytes, fake.work_bytes[0]);
    assert_int_equal(info.reserve_bytes, fake.reserve_bytes[1]);
    assert_true(info.all_bytes >= 4 * STEPS * values + 2 * values + 2 * info.weight_bytes + info.work_bytes +
                                      info.reserve_bytes + BATCH * sizeof(int32_t));
    assert_int_equal(own_bytes() - before, info.all_bytes);
    assert_int_equal(create(true), MMREC_UNSUPPORTED); /* one at a time */
    assert_non_null(strstr(error.message, "only one at a time"));
    assert_int_equal(own_bytes() - before, info.all_bytes);
    lstm->destroy();
    assert_int_equal(own_bytes(), before);
    must_create(false);
    assert_int_equal(fake.seen->type, 2);        /* CUDNN_DATA_HALF */
    assert_int_equal(count_calls("Create "), 1); /* one handle for all */
}

static void test_refused_sizes(void **state) {
    static const mmrec_lstm_request requests[] = {{0, 1, 1, false, 1, &allocator},
                                                  {65536, 65536, 1, false, 1, &allocator},
                                                  {16, 16, (int64_t)1 << 33, false, 1, &allocator},
                                                  {(int64_t)1 << 62, 4, 1, false, 1, &allocator}};
    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        assert_int_equal(lstm->create(&requests[i], &info, &error), MMREC_UNSUPPORTED);
        assert_non_null(strstr(error.message, "cuDNN takes no LSTM of D "));
    }
    assert_string_equal(fake.journal, "");
}

/* ---- values ---- */

static int compare_bits(const void *a, const void *b) { return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b; }

/* All values are among the 2048 levels of the scale, as the compiler rounds them to half, and most levels occur. */
static void test_half_values(void **state) {
    enum { LEVELS = 2048, COUNT = 4096 / VALUE_BYTES };
    static uint16_t level[LEVELS], got[COUNT];
    float scale = 1 / sqrtf((float)WIDTH);
    int met = 0;
    (void)state;
    set_failures("SetRNNDescriptor_v8:1 ");
    must_create(false);
    for (int i = 0; i < LEVELS; i++) {
        _Float16 half = (_Float16)(scale * ((float)(2 * i + 1) / LEVELS - 1));
        memcpy(&level[i], &half, sizeof half);
    }
    qsort(level, LEVELS, sizeof *level, compare_bits);
    must(cuda->device->copy_out(got, fake.seen->weights, sizeof got, &error));
    for (int i = 0; i < COUNT; i++) assert_non_null(bsearch(&got[i], level, LEVELS, sizeof *level, compare_bits));
    qsort(got, COUNT, sizeof *got, compare_bits);
    for (int i = 1; i < COUNT; i++) met += got[i] != got[i - 1];
    assert_true(met > COUNT / 2); /* 63 % of the levels, were they drawn evenly */
}

static void test_bf16_values(void **state) {
    enum { COUNT = WIDTH * BATCH * STEPS };
    uint16_t got[COUNT];
    double sum = 0, square = 0;
    (void)state;
    must_create(true);
    must(cuda->device->copy_out(got, fake.seen->x, sizeof got, &error));
    for (int i = 0; i < COUNT; i++) {
        uint32_t wide = (uint32_t)got[i] << 16;
        float value;
        memcpy(&value, &wide, sizeof value);
        assert_true(fabsf(value) <= 1);
        sum += value / COUNT;
        square += value * value / COUNT;
    }
    assert_true(fabs(sum) < 0.12); /* 4 deviations of the mean of 360 */
    assert_true(square > 0.27 && square < 0.4);
}

/* ---- running ---- */

static void test_recorded(void **state) {
    (void)state;
    must_create(false);
    assert_true(info.recorded[MMREC_FORWARD] && info.recorded[MMREC_BACKWARD]);
    fake.journal[0] = '\0';
    must(lstm->prepare(MMREC_FORWARD, &error));
    must(lstm->run(MMREC_FORWARD, &error));
    must(lstm->prepare(MMREC_BACKWARD, &error));
    must(lstm->run(MMREC_BACKWARD, &error));
    must(cuda->synchronize(&error));
    assert_string_equal(fake.journal, ""); /* graphs, made of what was recorded */
}

/* The second forward pass of an algorithm is the one that would be recorded, the third prepares backward. */
static void test_not_recorded(void **state) {
    char zeros[4096] = {0}, got[4096];
    (void)state;
    set_failures("SetRNNDescriptor_v8:1 RNNForward:0@2 RNNBackwardData_v8:0@2 ");
    must_create(false);
    assert_false(info.recorded[MMREC_FORWARD] || info.recorded[MMREC_BACKWARD]);
    fake.journal[0] = '\0';
    set_failures("");
    must(lstm->prepare(MMREC_FORWARD, &error));
    assert_string_equal(fake.journal, "");
    must(lstm->run(MMREC_FORWARD, &error));
    assert_string_equal(fake.journal, "RNNForward:0 ");
    must(lstm->prepare(MMREC_BACKWARD, &error));
    must(lstm->run(MMREC_BACKWARD, &error));
    assert_string_equal(fake.journal, "RNNForward:0 RNNForward:0 RNNBackwardData_v8:0 RNNBackwardWeights_v8:0 ");
    must(cuda->device->copy_out(got, fake.seen->gradients, sizeof got, &error));
    assert_memory_equal(got, zeros, sizeof got); /* cuDNN adds to them */
    set_failures("RNNBackwardWeights_v8 ");
    assert_int_equal(lstm->run(MMREC_BACKWARD, &error), MMREC_INTERNAL);
    assert_non_null(strstr(error.message, "cudnnRNNBackwardWeights_v8 failed with CUDNN_STATUS_EXECUTION_FAILED: the "
                                          "fake was told to fail"));
}

/* Closing the device with an LSTM on it gives everything back, the handle last; a new device has a new handle. */
static void test_reopen(void **state) {
    (void)state;
    must_create(false);
    mmrec_backend_close();
    assert_int_equal(*fake.alive, 0);
    assert_string_equal(strrchr(fake.journal, 'D'), "Destroy ");
    fake.journal[0] = '\0';
    if (mmrec_backend_find("cuda", &cuda, &error) != MMREC_OK) fail_msg("%s", error.message);
    must_create(false);
    assert_int_equal(count_calls("Create "), 1);
}

static void test_regime(void **state) {
    (void)state;
    assert_int_equal(cuda->device->recurrence(MMREC_RECURRENCE_BARRIER), MMREC_RECURRENCE_AUTO);
    assert_int_equal(cuda->device->recurrence(MMREC_RECURRENCE_AUTO), MMREC_RECURRENCE_BARRIER);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_device, close_device)

int main(void) {
    const struct CMUnitTest tests[] = {CASE(test_not_loaded_without_a_name),
                                       CASE(test_no_library),
                                       CASE(test_wrong_version),
                                       CASE(test_no_handle),
                                       CASE(test_every_call_fails),
                                       CASE(test_algorithms),
                                       CASE(test_sizes),
                                       CASE(test_refused_sizes),
                                       CASE(test_half_values),
                                       CASE(test_bf16_values),
                                       CASE(test_recorded),
                                       CASE(test_not_recorded),
                                       CASE(test_reopen),
                                       CASE(test_regime)};
    if (!device_emulated()) return 77;
    open_fake();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
