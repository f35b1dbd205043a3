/* What the fused MLP refuses, and in which words; memory: how much, none in a step, none left when there is too little.
 */
#include "mlp_rig.h"

static void refused(mmrec_status got, mmrec_status want, const mmrec_error *error, const char *words) {
    assert_int_equal(got, want);
    if (!strstr(error->message, words)) fail_msg("\"%s\" does not hold \"%s\"", error->message, words);
}

/* ---- sizes ---- */

static void refused_size(const char *text, int64_t batch, const char *words) {
    mmrec_mlp_config c = mlp_config(text);
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_allocator allocator = {0};
    mmrec_mlp_trainer *t = NULL;
    mmrec_error error = {0};
    refused(mmrec_mlp_check(backend_named("cpu"), &c, batch, &error), MMREC_CONFIG, &error, words);
    refused(mmrec_mlp_create(&allocator, backend_named("ref"), &c, &optimizer, batch, 1, &t, &error), MMREC_CONFIG,
            &error, words);
    assert_null(t);
    assert_int_equal(allocator.attempts, 0);
}

/* Rows are filled up to 16. With widths of 200: 4 times 6 x 208 + 201 x 208 + 201 x 16 for weights, gradients and
 * moments, (200 + 1) x 208 of turned weights, and for each sample 16 + 208 + 208 + 16 of values and 2 x 208 of
 * gradients. */
static void test_too_large(void **state) {
    (void)state;
    mmrec_error error = {0};
    mmrec_mlp_config c = mlp_config("hidden=16");
    refused_size("hidden=200,200", 32,
                 "an MLP 5-200-200-1 with batches of 32 needs 254544 numbers (parameters, gradients, moments, "
                 "activations), at most 131072 stay in the cache");
    refused_size(
        "inputs=268435456 hidden=268435456,268435456,268435456,268435456,268435456,268435456,268435456,268435456 "
        "outputs=268435456",
        1 << 17, "an MLP 268435456-268435456-");
    refused_size("", 0, "a batch must have 1 to 131072 samples, got 0");
    refused_size("", 131073, "got 131073");
    int64_t fits = 1;
    while (mmrec_mlp_check(backend_named("cpu"), &c, fits + 1, &error) == MMREC_OK) fits++;
    int64_t numbers = 4 * (6 * 16 + 17 * 16) + 16, sample = 16 + 32 + 16 + 2 * 16;
    assert_int_equal(fits, (MMREC_MLP_NUMBERS - numbers) / sample);
}

static void test_model_refused(void **state) {
    (void)state;
    mmrec_mlp_config c = mlp_config("loss=cross-entropy outputs=2");
    mmrec_backend none = *backend_named("cpu");
    mmrec_error error = {0};
    c.outputs = 1;
    refused(mmrec_mlp_check(backend_named("cpu"), &c, 4, &error), MMREC_CONFIG, &error, "at least 2 classes");
    none.mlp = NULL;
    c.outputs = 2;
    refused(mmrec_mlp_check(&none, &c, 4, &error), MMREC_UNSUPPORTED, &error, "backend cpu has no fused MLP");
}

/* A device has another limit. */
static void test_too_large_for_a_block(void **state) {
    (void)state;
    const mmrec_backend *cuda = NULL;
    mmrec_error error = {0};
    mmrec_mlp_config c = mlp_config("hidden=128,128"), large = mlp_config("hidden=300,300");
    if (mmrec_backend_find("cuda", &cuda, &error) != MMREC_OK) {
        print_message("no cuda: %s\n", error.message);
        return;
    }
    must(mmrec_mlp_check(cuda, &c, 16, &error), &error);
    refused(mmrec_mlp_check(cuda, &large, 16, &error), MMREC_CONFIG, &error, "bytes or more of shared memory");
    large = mlp_config("inputs=268435456 hidden=268435456,268435456 outputs=268435456");
    refused(mmrec_mlp_check(cuda, &large, 1 << 17, &error), MMREC_CONFIG, &error, "use smaller widths or batches");
}

/* ---- calls ---- */

static void check_calls(const mmrec_backend *backend) {
    static samples s;
    double values[6], y[4];
    mmrec_mlp_config c = mlp_config("inputs=2 hidden=3 outputs=2 loss=cross-entropy");
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_mlp_report report;
    mmrec_mlp_trainer *t = fused(&allocator, backend, &c, &optimizer, 2);
    samples_fill(&s, &c, 3, 1);
    mmrec_mlp_samples two = view_of(&s, &c, 0, 2), bad = s.view;
    refused(mmrec_mlp_step(t, &bad, 1e-3, &report, &error), MMREC_CONFIG, &error,
            "at most the 2 samples of a batch, got 3");
    bad.count = 0;
    refused(mmrec_mlp_step(t, &bad, 1e-3, &report, &error), MMREC_CONFIG, &error, "must be 1 to 2147483647, got 0");
    refused(mmrec_mlp_step(t, &two, -1, &report, &error), MMREC_CONFIG, &error, "a learning rate");
    refused(mmrec_mlp_step(t, &two, NAN, &report, &error), MMREC_CONFIG, &error, "a learning rate");
    bad = two;
    bad.target = s.target;
    refused(mmrec_mlp_load(t, &bad, &error), MMREC_CONFIG, &error, "inputs and classes, and no targets");
    bad = two;
    bad.classes = NULL;
    refused(mmrec_mlp_loss_of(t, &bad, y, &error), MMREC_CONFIG, &error, "inputs and classes, and no targets");
    s.classes[1] = 2;
    refused(mmrec_mlp_step(t, &two, 1e-3, &report, &error), MMREC_CONFIG, &error,
            "class 2 of sample 1 is not in [0, 2)");
    s.classes[1] = -1;
    refused(mmrec_mlp_load(t, &two, &error), MMREC_CONFIG, &error, "class -1 of sample 1");
    refused(mmrec_mlp_epoch(t, NULL, 1e-3, &report, &error), MMREC_CONFIG, &error, "load them before an epoch");
    refused(mmrec_mlp_read(t, "layers.2.bias", values, 2, &error), MMREC_CONFIG, &error, "i from 0 to 1");
    refused(mmrec_mlp_write(t, "layers.1.weight", values, 5, &error), MMREC_SHAPE, &error, "has 6 values, got 5");
    fused_end(&t, &allocator);
}

static void test_calls_refused(void **state) {
    (void)state;
    on_each(check_calls);
}

static void check_order(const mmrec_backend *backend) {
    static samples s;
    int32_t order[3] = {2, 0, 3};
    mmrec_mlp_config c = mlp_config("hidden=3");
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_mlp_trainer *t = fused(&allocator, backend, &c, &optimizer, 2);
    samples_fill(&s, &c, 3, 1);
    must(mmrec_mlp_load(t, &s.view, &error), &error);
    refused(mmrec_mlp_epoch(t, order, 1e-3, NULL, &error), MMREC_CONFIG, &error, "has 3 at place 2, but there are 3");
    order[2] = -1;
    refused(mmrec_mlp_epoch(t, order, 1e-3, NULL, &error), MMREC_CONFIG, &error, "has -1 at place 2");
    order[2] = 1;
    must(mmrec_mlp_epoch(t, order, 1e-3, NULL, &error), &error);
    fused_end(&t, &allocator);
}

static void test_order_refused(void **state) {
    (void)state;
    on_each(check_order);
}

static void test_optimizer_refused(void **state) {
    (void)state;
    mmrec_mlp_config c = mlp_config("");
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_allocator allocator = {0};
    mmrec_mlp_trainer *t = NULL;
    mmrec_error error = {0};
    optimizer.beta2 = 1;
    refused(mmrec_mlp_create(&allocator, backend_named("cpu"), &c, &optimizer, 4, 1, &t, &error), MMREC_CONFIG, &error,
            "the optimizer's beta2 is 1");
    assert_null(t);
}

/* ---- memory ---- */

static mmrec_status use(mmrec_mlp_trainer *t, const samples *s, mmrec_error *error) {
    double y[MOST_WIDTH], loss;
    mmrec_mlp_report report;
    mmrec_mlp_samples one = view_of(s, &(mmrec_mlp_config){.inputs = 5, .outputs = 1}, 0, 4);
    MMREC_TRY(mmrec_mlp_step(t, &one, 1e-3, &report, error));
    MMREC_TRY(mmrec_mlp_epoch(t, NULL, 1e-3, &report, error));
    MMREC_TRY(mmrec_mlp_loss_of(t, &s->view, &loss, error));
    return mmrec_mlp_predict(t, s->x, 10, y, error);
}

static void check_no_allocation(const mmrec_backend *backend) {
    static samples s;
    mmrec_mlp_config c = mlp_config("hidden=9");
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_mlp_trainer *t = fused(&allocator, backend, &c, &optimizer, 4);
    samples_fill(&s, &c, 10, 1);
    must(mmrec_mlp_load(t, &s.view, &error), &error);
    uint64_t before = allocator.attempts;
    for (int i = 0; i < 3; i++) must(use(t, &s, &error), &error);
    assert_int_equal(allocator.attempts, before);
    size_t real = mmrec_dtype_bytes(backend->real);
    assert_true(mmrec_mlp_bytes(t, MMREC_ARENA_PARAMS) >= (size_t)mmrec_mlp_parameters(&c) * real);
    assert_true(mmrec_mlp_bytes(t, MMREC_ARENA_OPTIMIZER) >= 2 * (size_t)mmrec_mlp_parameters(&c) * real);
    assert_true(mmrec_mlp_bytes(t, MMREC_ARENA_SCRATCH) >= 10 * 6 * real);
    assert_int_equal(mmrec_mlp_bytes(t, MMREC_ARENA_GRADS), 0);
    if (backend->host_memory) {
        assert_int_equal(mmrec_mlp_bytes(t, MMREC_ARENA_PARAMS), allocator.by_tag[MMREC_ALLOC_PARAMS].live_bytes);
        assert_int_equal(mmrec_mlp_bytes(t, MMREC_ARENA_SCRATCH), allocator.by_tag[MMREC_ALLOC_SCRATCH].live_bytes);
    }
    fused_end(&t, &allocator);
}

static void test_no_allocation(void **state) {
    (void)state;
    on_each(check_no_allocation);
}

static mmrec_status make_and_use(mmrec_allocator *allocator, const mmrec_backend *backend, const samples *s,
                                 mmrec_error *error) {
    mmrec_mlp_config c = mlp_config("hidden=9");
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_mlp_trainer *t = NULL;
    mmrec_status status = mmrec_mlp_create(allocator, backend, &c, &optimizer, 4, 1, &t, error);
    assert_true((status == MMREC_OK) == (t != NULL));
    if (status == MMREC_OK) status = mmrec_mlp_load(t, &s->view, error);
    if (status == MMREC_OK) status = use(t, s, error);
    mmrec_mlp_destroy(&t);
    return status;
}

static void check_no_memory(const mmrec_backend *backend) {
    static samples s;
    mmrec_mlp_config c = mlp_config("hidden=9");
    uint64_t fail_at = 0;
    mmrec_status status;
    samples_fill(&s, &c, 10, 1);
    do {
        mmrec_allocator allocator = {.fail_at = ++fail_at};
        mmrec_error error = {0};
        status = make_and_use(&allocator, backend, &s, &error);
        assert_int_equal(allocator.total.live_bytes, 0);
        if (status != MMREC_OK) assert_int_equal(status, MMREC_NO_MEMORY);
        if (status != MMREC_OK) assert_true(error.message[0] != '\0');
    } while (status != MMREC_OK);
    assert_true(fail_at > 8);
}

static void test_no_memory(void **state) {
    (void)state;
    on_each(check_no_memory);
}

/* ---- counts ---- */

/* 5-64-32-16-1: 320 + 2048 + 512 + 16 weights, 113 biases. */
static void test_counts(void **state) {
    (void)state;
    mmrec_mlp_config c = mlp_config("");
    assert_int_equal(mmrec_mlp_parameters(&c), 3009);
    assert_true(mmrec_mlp_flops(&c, 32) == 32.0 * (4 * 320 + 6 * (2048 + 512 + 16)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_large),     cmocka_unit_test(test_model_refused),
        cmocka_unit_test(test_calls_refused), cmocka_unit_test(test_too_large_for_a_block),
        cmocka_unit_test(test_order_refused), cmocka_unit_test(test_optimizer_refused),
        cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_counts)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mmrec_backend_close();
    return failed;
}
