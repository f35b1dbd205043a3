/* Timing the fused MLP. With a number as argument: that many epochs of 5-64-32-16-1 on 10,000 samples in batches of 32,
 * and what they took. */
#include "mlp_rig.h"

#include "mmrec/bench.h"

static mmrec_mlp_bench_options options_of(const mmrec_mlp_config *c, const mmrec_optimizer_config *optimizer) {
    mmrec_mlp_bench_options o = {.backend = backend_named("cpu"), .model = c, .optimizer = optimizer, .rate = 1e-3};
    o.batch = 32;
    o.samples = 10000;
    o.epochs = 8;
    o.threads = 2;
    o.seed = 1;
    o.sampling = mmrec_sampling_default();
    return o;
}

static int show(int epochs) {
    mmrec_mlp_config c = mlp_config("");
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_mlp_bench_options o = options_of(&c, &optimizer);
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_mlp_bench b;
    o.epochs = epochs;
    mmrec_status status = mmrec_mlp_bench_run(&allocator, &o, &b, &error);
    if (status != MMREC_OK) {
        printf("%s\n", error.message);
        return mmrec_status_exit(status);
    }
    printf("isa %s, graph and sgemm with %d threads\n", mmrec_op_isa(), o.threads);
    printf("%d epochs of %lld samples in %.3f s, loss %.4g to %.4g\n", b.fused.count, (long long)o.samples, b.seconds,
           b.first_loss, b.last_loss);
    printf("samples/s, fused   %.4g  [%.4g, %.4g]\n", b.samples_per_s.value, b.samples_per_s.ci95.low,
           b.samples_per_s.ci95.high);
    printf("FLOP/s of products %.4g  [%.4g, %.4g]\n", b.flops_per_s.value, b.flops_per_s.ci95.low,
           b.flops_per_s.ci95.high);
    printf("samples/s, graph   %.4g  [%.4g, %.4g]\n", b.graph_samples_per_s.value, b.graph_samples_per_s.ci95.low,
           b.graph_samples_per_s.ci95.high);
    printf("time of the products by sgemm / fused %.3f  [%.3f, %.3f]\n", b.against_sgemm.ratio,
           b.against_sgemm.ci95.low, b.against_sgemm.ci95.high);
    printf("time of the graph / fused             %.2f  [%.2f, %.2f]\n", b.against_graph.ratio,
           b.against_graph.ci95.low, b.against_graph.ci95.high);
    mmrec_mlp_bench_free(&allocator, &b);
    return 0;
}

static void check_figures(const char *text) {
    mmrec_mlp_config c = mlp_config(text);
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_mlp_bench_options o = options_of(&c, &optimizer);
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_mlp_bench b;
    o.batch = 8;
    o.samples = 100;
    o.epochs = 10;
    o.sampling = (mmrec_sampling){.min_samples = 8, .max_samples = 8, .max_time_s = 5};
    must(mmrec_mlp_bench_run(&allocator, &o, &b, &error), &error);
    assert_int_equal(b.fused.count, 10);
    assert_int_equal(b.sgemm.count, 10);
    assert_int_equal(b.graph.count, 8);
    assert_true(b.against_sgemm.valid && b.against_sgemm.ratio > 0);
    assert_true(b.against_graph.valid && b.against_graph.ratio > 0);
    assert_true(b.flops == mmrec_mlp_flops(&c, 100));
    assert_true(fabs(b.samples_per_s.value * b.fused.stats.median - 100e9) <= 1);
    assert_true(b.samples_per_s.ci95.low <= b.samples_per_s.value);
    assert_true(b.samples_per_s.ci95.high >= b.samples_per_s.value);
    assert_true(fabs(b.graph_samples_per_s.value * b.graph.stats.median - 100e9) <= 1);
    assert_true(b.last_loss < b.first_loss);
    double sum = 0;
    for (int i = 0; i < 10; i++) sum += b.fused.samples_ns[i];
    assert_true(fabs(b.seconds - sum * 1e-9) <= 1e-12);
    mmrec_mlp_bench_free(&allocator, &b);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void test_figures(void **state) {
    (void)state;
    check_figures("hidden=9,7");
    check_figures("hidden=6 outputs=4 loss=cross-entropy");
}

static void refused(const mmrec_mlp_bench_options *o, mmrec_status want, const char *words) {
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_mlp_bench b;
    assert_int_equal(mmrec_mlp_bench_run(&allocator, o, &b, &error), want);
    if (!strstr(error.message, words)) fail_msg("\"%s\" does not hold \"%s\"", error.message, words);
    mmrec_mlp_bench_free(&allocator, &b);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void test_refused(void **state) {
    (void)state;
    mmrec_mlp_config c = mlp_config("hidden=9");
    mmrec_optimizer_config optimizer = mmrec_optimizer_config_default();
    mmrec_mlp_bench_options o = options_of(&c, &optimizer);
    mmrec_error error = {0};
    o.epochs = 7;
    refused(&o, MMREC_CONFIG, "epochs must be at least 8, got 7");
    o.epochs = 8;
    o.samples = 31;
    refused(&o, MMREC_CONFIG, "samples must be 32 (a batch) to 2147483647, got 31");
    o.samples = 32;
    o.threads = 0;
    refused(&o, MMREC_CONFIG, "threads must be 1 to 1024");
    o.threads = 1;
    optimizer.epsilon = 0;
    refused(&o, MMREC_CONFIG, "epsilon");
    if (mmrec_backend_find("cuda", &o.backend, &error) == MMREC_OK) refused(&o, MMREC_UNSUPPORTED, "mmrec-compare");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_figures), cmocka_unit_test(test_refused)};
    if (argc > 1) return show(atoi(argv[1]));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mmrec_backend_close();
    return failed;
}
