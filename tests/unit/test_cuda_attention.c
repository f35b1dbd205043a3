/* The op `attention` by cuDNN, with a library of the test in its place that computes (fake_cudnn_graph.c): when it is
 * loaded, and which calls it gets and which stay with the kernels. Numbers are compared with the kernels', which
 * ops_harness compares with the reference. Only on the emulated device. */
#include "attention_rig.h"

/* Tiles of the kernels end at 64. */
static const char *const sizes[] = {"B=2 T=19 M=19 D=48 heads=3 causal=1 -visible",
                                    "B=2 T=5 M=70 D=16 heads=2 -visible", "B=1 T=67 M=67 D=8 causal=1 -visible",
                                    "B=1 T=7 M=3 D=128 -visible", "B=2 T=1 M=1 D=8 -visible"};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* ---- loading: in this order, since what is loaded once stays ---- */

static void test_not_loaded(void **state) {
    (void)state;
    setenv("MMREC_CUDNN", "/nowhere/libcudnn.so", 1);
    open_layer(&a, small, dense);
    attend(&a, KERNELS, KERNELS);
    open_layer_of(&b, MMREC_F32, "attention", small, dense);
    attend(&b, AUTO, AUTO);
    attend(&b, CUDNN, CUDNN);
    assert_string_equal(fake.journal, "");
}

static void expect_no_library(const char *begin) {
    static const char end[] = "; use --attention kernels";
    choose(CUDNN);
    mmrec_status status = run(&a, MMREC_FORWARD);
    if (strncmp(error.message, begin, strlen(begin)) != 0) fail_msg("\"%s\"", error.message);
    assert_string_equal(error.message + strlen(error.message) - (sizeof end - 1), end);
    expect_failure(status, MMREC_UNSUPPORTED, end);
    expect_failure(run(&a, MMREC_BACKWARD), MMREC_UNSUPPORTED, "no cuDNN: ");
}

static void expect_kernels_by_themselves(void) {
    open_two(small, dense);
    attend(&a, AUTO, AUTO);
    attend(&b, KERNELS, KERNELS);
    expect_equal();
    assert_int_equal(runs(), 0);
}

static void test_no_library(void **state) {
    (void)state;
    setenv("MMREC_CUDNN", "/nowhere/libcudnn.so", 1);
    expect_kernels_by_themselves();
    expect_no_library("no cuDNN: /nowhere/libcudnn.so: cannot open");
    unsetenv("MMREC_CUDNN");
    expect_no_library("no cuDNN: the device is emulated; use --attention kernels");
    close_two();
    expect_kernels_by_themselves();
    close_two();
    assert_string_equal(fake.journal, "");
}

/* One that is there but cannot be used is none; it is asked once while memory is in use. */
static void test_useless_library(void **state) {
    (void)state;
    set_failures("Create ");
    expect_kernels_by_themselves();
    assert_string_equal(fake.journal, "Create ");
    expect_no_library("no cuDNN: cudnnCreate failed with CUDNN_STATUS_NOT_INIT");
    close_two();
    set_failures("");
    open_layer(&a, small, dense);
    attend(&a, AUTO, AUTO);
    assert_int_equal(runs(), 2);
}

/* ---- both ways ---- */

static void compare_ways(const char *text, paddings p, int forward, int backward) {
    open_two(text, p);
    set_failures("");
    attend(&a, forward, backward);
    assert_int_equal(runs(), (forward != KERNELS) + (backward != KERNELS));
    attend(&b, KERNELS, KERNELS);
    expect_all_near();
    close_two();
}

static void test_both_ways(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++) compare_ways(sizes[i], dense, CUDNN, CUDNN);
    compare_ways(sizes[0], dense, AUTO, AUTO);
}

/* What is saved is the same. */
static void test_one_each(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++) {
        compare_ways(sizes[i], dense, CUDNN, KERNELS);
        compare_ways(sizes[i], dense, KERNELS, CUDNN);
    }
}

static void test_padded(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++)
        compare_ways(sizes[i], (paddings){.in = 8, .out = 16, .saved = 5, .d_in = 24, .d_out = 32}, CUDNN, CUDNN);
}

/* Rows of every tensor are apart by other numbers. */
static void spread(layer *l) {
    for (int i = 0; i < 3; i++) {
        l->call.in[i] = place(l, &l->sizes.in[i], MMREC_BF16, 8 * (i + 1));
        l->call.d_in[i] = place(l, &l->sizes.in[i], MMREC_BF16, 8 * (i + 5));
    }
}

/* Query, key and value are columns of one tensor, and their gradients of another. */
static void join(layer *l) {
    int64_t rows = mmrec_shape_rows(&l->sizes.in[0]), columns = mmrec_shape_columns(&l->sizes.in[0]);
    const mmrec_shape shape = mmrec_shape2(rows, 3 * columns);
    mmrec_view both[2] = {place(l, &shape, MMREC_BF16, 0), place(l, &shape, MMREC_BF16, 0)};
    for (int i = 0; i < 3; i++) {
        l->call.in[i].data = (uint16_t *)both[0].data + i * columns;
        l->call.d_in[i].data = (uint16_t *)both[1].data + i * columns;
        l->call.in[i].stride = l->call.d_in[i].stride = 3 * columns;
    }
}

static void test_other_places(void **state) {
    void (*const changes[])(layer *) = {spread, join};
    (void)state;
    for (int i = 0; i < 2; i++) {
        open_two(sizes[0], dense);
        changes[i](&a);
        changes[i](&b);
        attend(&a, CUDNN, CUDNN);
        attend(&b, KERNELS, KERNELS);
        expect_all_near();
        close_two();
    }
    assert_int_equal(runs(), 4);
}

/* ---- calls for the kernels ---- */

static void expect_kernels(void) {
    set_failures("");
    attend(&a, CUDNN, CUDNN);
    assert_string_equal(fake.journal, "");
    attend(&b, KERNELS, KERNELS);
    expect_equal();
    close_two();
}

/* Of the backward pass alone: of a forward pass that cuDNN ran. */
static void expect_backward_by_kernels(void) {
    choose(CUDNN);
    must(run(&a, MMREC_FORWARD));
    must(run(&b, MMREC_FORWARD));
    assert_int_equal(runs(), 2);
    set_failures("");
    must(run(&a, MMREC_BACKWARD));
    assert_string_equal(fake.journal, "");
    choose(KERNELS);
    must(run(&b, MMREC_BACKWARD));
    read_back(&a);
    read_back(&b);
    expect_equal();
    close_two();
}

static void test_for_the_kernels(void **state) {
    static const char *const texts[] = {"B=2 T=3 M=5 D=16 heads=2 p=0.25 stream=2 -visible",
                                        "B=2 T=3 M=13 D=16 heads=2", "B=2 T=3 M=5 D=24 heads=2 -visible"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        open_two(texts[i], dense);
        expect_kernels();
    }
}

/* That there is no engine is remembered. */
static void test_no_engine(void **state) {
    (void)state;
    open_two("B=1 T=3 M=5 D=136 -visible", dense);
    attend(&a, CUDNN, CUDNN);
    attend(&b, KERNELS, KERNELS);
    expect_equal();
    assert_int_equal(searches(), 2);
    assert_int_equal(own_bytes(), own_at_first);
    set_failures("");
    attend(&a, CUDNN, CUDNN);
    attend(&a, AUTO, AUTO);
    assert_string_equal(fake.journal, "");
}

static void misplace(layer *l, int i) {
    mmrec_view *view = view_at(l, i);
    *view = place(l, &view->shape, view->dtype, 8);
    view->data = (char *)view->data + mmrec_dtype_bytes(view->dtype);
}

static void stretch(layer *l, int i) {
    mmrec_view *view = view_at(l, i);
    *view = place(l, &view->shape, view->dtype, 1);
}

/* Rows of what is saved may lie anywhere. */
static void test_badly_placed(void **state) {
    void (*const changes[])(layer *, int) = {misplace, stretch};
    (void)state;
    for (int i = 0; i < 2 * VIEWS; i++) {
        if (changes[i % 2] == stretch && i / 2 == VIEW_SAVED) continue;
        set_failures("");
        open_two(small, dense);
        changes[i % 2](&a, i / 2);
        changes[i % 2](&b, i / 2);
        if (i / 2 < FIRST_OF_BACKWARD)
            expect_kernels();
        else
            expect_backward_by_kernels();
    }
}

static void test_other_gradients(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        set_failures("");
        open_two(small, dense);
        a.call.d_in[i].data = b.call.d_in[i].data = NULL;
        expect_backward_by_kernels();
        set_failures("");
        open_two(small, dense);
        a.call.accumulate = b.call.accumulate = 1u << i;
        expect_backward_by_kernels();
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_device, close_device)

int main(void) {
    const struct CMUnitTest tests[] = {CASE(test_not_loaded),   CASE(test_no_library),      CASE(test_useless_library),
                                       CASE(test_both_ways),    CASE(test_one_each),        CASE(test_padded),
                                       CASE(test_other_places), CASE(test_for_the_kernels), CASE(test_no_engine),
                                       CASE(test_badly_placed), CASE(test_other_gradients)};
    if (!device_emulated()) return 77;
    open_fake();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
