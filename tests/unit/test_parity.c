/* Parity: every fixture passes in every way of running; a changed fixture is noticed. */
#include <math.h>

#include "parity_rig.h"

static const char *const fixtures[] = {"block_plain",    "block_pe",    "block_dpg",      "block_uboo",
                                       "block_one_step", "model_plain", "model_planning", "model_deep",
                                       "stream",         "train_plain", "train_planning"};
enum { FIXTURES = sizeof fixtures / sizeof *fixtures };

/* Of the models that have no fused projection: HEM is accepted and changes nothing. */
static const char *const baselines[] = {"nsm_simple_gru",
                                        "nsm_simple_lstm",
                                        "nsm_sequence_last",
                                        "nsm_sequence_mean",
                                        "nsm_sequence_all",
                                        "nsm_advanced_faithful",
                                        "nsm_advanced_memory",
                                        "nsm_advanced_repaired",
                                        "nsm_sequential_faithful",
                                        "nsm_sequential_memory",
                                        "nsm_sequential_repaired",
                                        "nsm_router_cut",
                                        "nsm_router_pad",
                                        "nsm_layer",
                                        "nsm_layer_mask",
                                        "nsm_states",
                                        "lstm",
                                        "lstm_one_step",
                                        "lstm_classifier",
                                        "gru",
                                        "gru_one_step",
                                        "gru_classifier",
                                        "transformer_encoder",
                                        "encoder_classifier",
                                        "gpt",
                                        "mlp",
                                        "train_gpt",
                                        "train_mlp"};
enum { BASELINES = sizeof baselines / sizeof *baselines };

/* How many tensors named out.* and grad.* a file has. */
static int expected_rows(mmrec_allocator *allocator, const char *path) {
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_safetensors *file = NULL;
    int rows = 0;
    must(mmrec_safetensors_open(&io, allocator, path, LIMIT, &file, &error), &error);
    for (size_t i = 0; i < mmrec_safetensors_count(file); i++) {
        const char *name = mmrec_safetensors_at(file, i)->name;
        rows += strncmp(name, "out.", 4) == 0 || strncmp(name, "grad.", 5) == 0;
    }
    mmrec_safetensors_destroy(&file);
    return rows;
}

static void check_fixture(const char *name, mmrec_parity_options options) {
    mmrec_allocator allocator = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_parity *parity = NULL;
    must(mmrec_parity_run(&allocator, &io, fixture_path(name), &options, &parity, &error), &error);
    assert_int_equal(mmrec_parity_count(parity), expected_rows(&allocator, fixture_path(name)));
    for (int i = 0; i < mmrec_parity_count(parity); i++) {
        const mmrec_parity_row *row = mmrec_parity_at(parity, i);
        bool f64 = options.backend->real == MMREC_F64, trained = strncmp(name, "train", 5) == 0;
        assert_true(row->tolerance == (f64 ? 1e-6 : trained || row->name[0] == 'g' ? 1e-4 : 1e-5));
        if (row->passed) continue;
        fail_msg("%s %s hem %d recompute %d: %s is off by %g (L2 %g), allowed %g", options.backend->name, name,
                 options.hem, options.recompute, row->name, row->max_error, row->l2_error, row->tolerance);
    }
    assert_int_equal(mmrec_parity_failures(parity), 0);
    mmrec_parity_destroy(&parity);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void check_backend(const char *backend) {
    for (int i = 0; i < FIXTURES; i++) {
        for (int way = 0; way < 4; way++) check_fixture(fixtures[i], ways(backend, way & 1, way & 2));
    }
    for (int i = 0; i < BASELINES; i++) {
        for (int recompute = 0; recompute < 2; recompute++) {
            check_fixture(baselines[i], ways(backend, recompute == 0, recompute));
        }
    }
}

static void test_ref(void **state) {
    (void)state;
    check_backend("ref");
}

static void test_cpu(void **state) {
    (void)state;
    check_backend("cpu");
}

/* The draft is run and exactly the named row fails. */
static void assert_one_failure(draft *d, const char *backend, const char *name) {
    mmrec_parity *parity = NULL;
    mmrec_error error = {0};
    must(draft_run(d, ways(backend, true, false), &parity, &error), &error);
    assert_int_equal(mmrec_parity_failures(parity), 1);
    for (int i = 0; i < mmrec_parity_count(parity); i++) {
        const mmrec_parity_row *row = mmrec_parity_at(parity, i);
        assert_int_equal(row->passed, strcmp(row->name, name) != 0);
    }
    mmrec_parity_destroy(&parity);
}

static void test_wrong_values_are_found(void **state) {
    (void)state;
    static const struct {
        const char *fixture, *tensor;
    } at[] = {{"block_pe", "out.gamma"},
              {"block_pe", "grad.e.weight"},
              {"block_plain", "out.aux"},
              {"model_deep", "grad.blocks.0.uboo_head.weight"},
              {"stream", "out.state.1.mem_v"},
              {"train_plain", "out.loss"},
              {"train_plain", "out.loss_aux"},
              {"train_planning", "out.grad_norm"},
              {"train_planning", "out.param.blocks.1.e.bias"},
              {"nsm_sequence_all", "out.states"},
              {"nsm_sequence_mean", "grad.s0"},
              {"nsm_advanced_faithful", "out.memory"},
              {"nsm_advanced_faithful", "grad.head.weight"},
              {"nsm_states", "out.logits_weights"},
              {"nsm_states", "out.counts"},
              {"lstm", "out.c_n"},
              {"lstm", "grad.h0"},
              {"gru_classifier", "grad.embedding.weight"},
              {"nsm_layer_mask", "grad.tokens"},
              {"mlp", "grad.x"},
              {"train_mlp", "out.grad_norm"},
              {"train_gpt", "out.param.position"}};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        for (int bad = 0; bad < 3; bad++) {
            draft *d = draft_open(at[i].fixture);
            float *values = draft_values(d, at[i].tensor);
            float largest = 1e-3f;
            for (size_t n = 0; n < draft_find(d, at[i].tensor)->bytes / sizeof *values; n++) {
                largest = fmaxf(largest, fabsf(values[n]));
            }
            values[0] = bad == 0 ? values[0] + 1e-3f * largest : bad == 1 ? NAN : INFINITY;
            /* Twenty steps on cpu take a fifth of the time; what is told apart is the same. */
            bool trains = strncmp(at[i].fixture, "train", 5) == 0;
            assert_one_failure(d, trains ? "cpu" : "ref", at[i].tensor);
            draft_close(d);
        }
    }
}

/* Rows that mathematics is said to make 0 may hold rounding, and no more. */
static void test_rows_that_are_zero(void **state) {
    (void)state;
    static const struct {
        const char *fixture, *zero, *failing;
    } said[] = {{"nsm_advanced_repaired", "{\"attention.k.bias\": [0, 16], \"head.bias\": [1, 2]}", "grad.head.bias"},
                {"nsm_states", "{\"importance\": [0, 12], \"states\": [0, 12]}", "grad.states"}};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        draft *d = draft_open(said[i].fixture);
        draft_meta(d, "zero_grad", said[i].zero);
        assert_one_failure(d, "cpu", said[i].failing);
        draft_close(d);
    }
}

static void test_tolerance_decides(void **state) {
    (void)state;
    draft *d = draft_open("block_one_step");
    float *values = draft_values(d, "out.y");
    for (int i = 0; i < 32; i++) values[i] *= 1 + 1e-3f;
    for (int loose = 0; loose < 2; loose++) {
        mmrec_parity_options options = ways("cpu", true, false);
        options.tolerance = loose ? 2e-3 : 5e-4;
        mmrec_parity *parity = NULL;
        mmrec_error error = {0};
        must(draft_run(d, options, &parity, &error), &error);
        assert_int_equal(mmrec_parity_failures(parity), !loose);
        mmrec_parity_destroy(&parity);
    }
    draft_close(d);
}

/* Small errors everywhere are an error too: the largest is below the tolerance, their sum of squares is not. */
static void test_both_errors_count(void **state) {
    (void)state;
    draft *d = draft_open("block_plain");
    mmrec_parity_options options = ways("ref", true, false);
    mmrec_parity *parity = NULL;
    mmrec_error error = {0};
    float *values = draft_values(d, "out.y"), largest = 0;
    size_t count = draft_find(d, "out.y")->bytes / sizeof *values;
    for (size_t i = 0; i < count; i++) largest = fmaxf(largest, fabsf(values[i]));
    for (size_t i = 0; i < count; i++) values[i] += 8e-4f * largest;
    options.tolerance = 1e-3;
    must(draft_run(d, options, &parity, &error), &error);
    assert_int_equal(mmrec_parity_failures(parity), 1);
    const mmrec_parity_row *y = mmrec_parity_at(parity, 0);
    assert_string_equal(y->name, "out.y");
    assert_true(y->max_error < 1e-3 && y->l2_error > 1e-3);
    mmrec_parity_destroy(&parity);
    draft_close(d);
}

/* Every setting of the optimizer decides: with another value the parameters are others, by more than float may be off.
 */
static void test_settings_of_training_decide(void **state) {
    (void)state;
#define OTHER(lr, beta1, beta2, eps, decay, clip)                                                                      \
    "{\"name\": \"adamw\", \"lr\": " lr ", \"beta1\": " beta1 ", \"beta2\": " beta2 ", \"eps\": " eps                  \
    ", \"weight_decay\": " decay ", \"clip_norm\": " clip "}"
    static const char *const other[] = {
        OTHER("0.003", "0.9", "0.95", "1e-8", "0.1", "1"),  OTHER("0.00301", "0.9", "0.95", "1e-8", "0.1", "1"),
        OTHER("0.003", "0.91", "0.95", "1e-8", "0.1", "1"), OTHER("0.003", "0.9", "0.96", "1e-8", "0.1", "1"),
        OTHER("0.003", "0.9", "0.95", "1e-5", "0.1", "1"),  OTHER("0.003", "0.9", "0.95", "1e-8", "0", "1"),
        OTHER("0.003", "0.9", "0.95", "1e-8", "0.1", "0.5")};
#undef OTHER
    for (int i = 0; i < 7; i++) {
        draft *d = draft_open("train_plain");
        mmrec_parity *parity = NULL;
        mmrec_error error = {0};
        draft_meta(d, "optimizer", other[i]);
        must(draft_run(d, ways("cpu", true, false), &parity, &error), &error);
        int failures = mmrec_parity_failures(parity);
        if ((failures == 0) != (i == 0)) fail_msg("%d rows fail with %s", failures, other[i]);
        mmrec_parity_destroy(&parity);
        draft_close(d);
    }
}

/* ---- printing ---- */

static void test_print(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_parity *parity = NULL;
    mmrec_parity_options options = ways("ref", true, false);
    char path[] = "/tmp/mmrec-parity-XXXXXX", text[16384];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    must(mmrec_parity_run(&allocator, &io, fixture_path("block_pe"), &options, &parity, &error), &error);
    must(mmrec_parity_print(parity, &io, fd, &error), &error);
    ssize_t size = pread(fd, text, sizeof text - 1, 0);
    assert_in_range(size, 1000, sizeof text - 1);
    text[size] = '\0';
    int lines = 0, width = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        if (lines < mmrec_parity_count(parity) + 1) { /* columns line up under the heading's */
            const char *end = strchr(line, '\n');
            int length = (int)(end - line) - (lines == 0 ? 0 : (int)strlen("  ok"));
            width = lines == 0 ? length : width;
            assert_int_equal(length, width);
        }
        lines++;
    }
    assert_int_equal(lines, mmrec_parity_count(parity) + 3);
    assert_non_null(strstr(text, "\ngrad.memory.query.weight  (32, 32) "));
    assert_non_null(strstr(text, "\nblock_pe.safetensors: block, 45 tensors, all within tolerance; closest to it: "));
    close(fd);
    unlink(path);
    assert_int_equal(mmrec_parity_print(parity, &io, fd, &error), MMREC_IO);
    mmrec_parity_destroy(&parity);
}

/* ---- faults ---- */

static mmrec_status run_quietly(mmrec_allocator *allocator, mmrec_io *io, const char *name, mmrec_error *error) {
    mmrec_parity_options options = ways("ref", true, true);
    mmrec_parity *parity = NULL;
    mmrec_status status = mmrec_parity_run(allocator, io, fixture_path(name), &options, &parity, error);
    mmrec_parity_destroy(&parity);
    assert_int_equal(allocator->total.live_bytes, 0);
    return status;
}

static void test_no_memory(void **state) {
    (void)state;
    static const char *const names[] = {"block_one_step",        "model_plain", "stream",   "train_plain",
                                        "nsm_advanced_faithful", "nsm_states",  "train_mlp"};
    for (int i = 0; i < 7; i++) {
        mmrec_allocator counter = {0};
        mmrec_io io = {0};
        mmrec_error error = {0};
        must(run_quietly(&counter, &io, names[i], &error), &error);
        assert_true(counter.attempts > 100);
        /* Every request of the first 60, then every 7th: names of tensors repeat the same path hundreds of times. */
        for (uint64_t k = 1; k <= counter.attempts; k += k < 60 ? 1 : 7) {
            mmrec_allocator allocator = {.fail_at = k};
            assert_int_equal(run_quietly(&allocator, &io, names[i], &error), MMREC_NO_MEMORY);
        }
    }
}

static void test_io_faults(void **state) {
    (void)state;
    mmrec_status status = MMREC_IO;
    int failures = 0;
    for (uint64_t k = 1; status != MMREC_OK; k++) {
        mmrec_allocator allocator = {0};
        mmrec_io io = {.fail_at = k};
        mmrec_error error = {0};
        status = run_quietly(&allocator, &io, "block_one_step", &error);
        if (status != MMREC_OK) assert_int_equal(status, MMREC_IO);
        failures += status != MMREC_OK;
    }
    assert_true(failures >= 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_wrong_values_are_found),
        cmocka_unit_test(test_rows_that_are_zero),
        cmocka_unit_test(test_tolerance_decides),
        cmocka_unit_test(test_both_errors_count),
        cmocka_unit_test(test_settings_of_training_decide),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_io_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
