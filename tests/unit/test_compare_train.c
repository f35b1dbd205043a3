/* What rows learn in a comparison: each task a little, the same bits for the same seed, figures over seeds. */
#include "compare_rig.h"

static compare_rig r;

static void train(int64_t steps, int seeds) {
    r.options.sampling = (mmrec_sampling){.max_time_s = 1e-3, .min_samples = 1, .max_samples = 1};
    r.options.train_steps = steps;
    r.options.seeds = seeds;
    compare_go(&r);
    for (int row = 0; row < r.options.count; row++) {
        if (r.result.row[row].failure[0]) fail_msg("%s: %s", r.entries[row].label, r.result.row[row].failure);
        assert_int_equal(r.result.row[row].quality.seeds, seeds);
    }
}

/* ---- each task ---- */

/* Text: far below what a model knows that only counts letters (near 2.0 of ln 8 = 2.08 nats), not below its entropy. */
static void test_learns_text(void **state) {
    (void)state;
    mmrec_compare_task task = text_task();
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_mmrec, "vocab=8 dim=32 layers=1 heads=2 slots=8 level=1 ffn=64 inner=8");
    compare_add(&r, MMREC_MODEL_lstm, "vocab=8 inputs=16 hidden=32 outputs=8 head=all");
    compare_add(&r, MMREC_MODEL_gpt, "vocab=8 dim=32 layers=1 heads=2 context=12");
    r.options.rate = 1e-2;
    train(600, 1);
    for (int row = 0; row < 3; row++) {
        const mmrec_compare_quality *q = &r.result.row[row].quality;
        if (!(q->loss[0] <= 1.8)) fail_msg("%s: %.4f", r.entries[row].label, q->loss[0]);
        assert_true(q->loss[0] >= r.result.best_loss - 0.02);
        assert_true(q->accuracy[0] >= 0.2 && q->accuracy[0] < 1 && fabs(q->train_loss[0] - q->loss[0]) <= 0.1);
        assert_true(q->seconds[0] > 0 && !q->diverged[0]);
    }
    compare_end(&r);
}

/* Classes: a linear model stays at chance, others do not. */
static void test_learns_classes(void **state) {
    (void)state;
    mmrec_compare_task task = classes_task(16, 4);
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_mlp, "inputs=16 outputs=4 hidden=none loss=cross-entropy");
    compare_add(&r, MMREC_MODEL_mlp, "inputs=16 outputs=4 hidden=64 loss=cross-entropy");
    compare_add(&r, MMREC_MODEL_nsm_simple, "inputs=16 outputs=4 dim=32 states=4");
    compare_add(&r, MMREC_MODEL_lstm, "inputs=16 outputs=4 hidden=32");
    compare_add(&r, MMREC_MODEL_nsm_advanced,
                "inputs=16 outputs=4 dim=32 time=4 steps=4 slots=8 width=8 hidden=32 dropout=0");
    r.options.rate = 1e-2;
    train(250, 1);
    const mmrec_compare_quality *linear = &r.result.row[0].quality;
    assert_true(linear->accuracy[0] < 0.4 && linear->loss[0] > 1.3);
    for (int row = 1; row < 5; row++) {
        const mmrec_compare_quality *q = &r.result.row[row].quality;
        if (!(q->accuracy[0] >= 0.8)) fail_msg("%s: %.3f", r.entries[row].label, q->accuracy[0]);
        assert_true(q->accuracy[0] <= 0.99 && q->loss[0] >= r.result.best_loss - 0.1);
    }
    compare_end(&r);
}

/* Values: from a mean square of 1 to far less, never below the noise. */
static void test_learns_values(void **state) {
    (void)state;
    mmrec_compare_task task = values_task();
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_mlp, "activation=tanh");
    r.options.rate = 1e-2;
    train(600, 1);
    const mmrec_compare_quality *q = &r.result.row[0].quality;
    if (!(q->loss[0] <= 0.2 && q->loss[0] >= 0.009)) fail_msg("%.4f", q->loss[0]);
    assert_true(isnan(q->accuracy[0]) && isnan(q->accuracy_mean));
    compare_end(&r);
}

/* ---- seeds ---- */

static void add_two(void) {
    mmrec_compare_task task = classes_task(8, 3);
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_nsm_advanced,
                "inputs=8 outputs=3 dim=8 heads=2 time=4 steps=4 slots=4 width=4 hidden=8");
    compare_add(&r, MMREC_MODEL_gru, "inputs=8 outputs=3 hidden=8");
}

static void test_same_bits(void **state) {
    (void)state;
    static double first[2][3], norms[2];
    for (int turn = 0; turn < 2; turn++) {
        add_two();
        train(20, 3);
        for (int row = 0; row < 2; row++) {
            const mmrec_compare_row *at = &r.result.row[row];
            if (turn == 0) norms[row] = at->gradient_norm;
            assert_true(norms[row] == at->gradient_norm);
            for (int seed = 0; seed < 3; seed++) {
                if (turn == 0) first[row][seed] = at->quality.loss[seed];
                assert_true(first[row][seed] == at->quality.loss[seed]);
            }
            assert_true(first[row][0] != first[row][1] && first[row][1] != first[row][2]);
        }
        compare_end(&r);
    }
}

/* A seed's figures are those of a comparison that begins with it, whatever rows stand beside. */
static void test_seeds_stand_alone(void **state) {
    (void)state;
    double second;
    add_two();
    train(12, 2);
    second = r.result.row[1].quality.loss[1];
    compare_end(&r);
    add_two();
    r.options.task.seed++;
    r.entries[0] = r.entries[1];
    r.options.count = 1;
    train(12, 1);
    assert_true(r.result.row[0].quality.loss[0] == second);
    compare_end(&r);
}

/* Mean and interval by Student's t: of three values 4.303 deviations of their mean to either side. */
static void test_estimates(void **state) {
    (void)state;
    add_two();
    train(6, 3);
    const mmrec_compare_quality *q = &r.result.row[0].quality;
    double mean = (q->loss[0] + q->loss[1] + q->loss[2]) / 3, squares = 0;
    for (int i = 0; i < 3; i++) squares += (q->loss[i] - mean) * (q->loss[i] - mean);
    double half = 4.3027 * sqrt(squares / 2 / 3);
    assert_true(fabs(q->loss_mean - mean) <= 1e-12);
    assert_true(fabs(q->loss_high - mean - half) <= 2e-3 * half && fabs(mean - q->loss_low - half) <= 2e-3 * half);
    compare_end(&r);
    add_two();
    train(6, 1);
    assert_true(isnan(r.result.row[0].quality.loss_low) && isfinite(r.result.row[0].quality.loss_mean));
    compare_end(&r);
}

/* A memory that is kept from call to call is carried from batch to batch, and into the held-out ones. */
static void test_memory_is_carried(void **state) {
    (void)state;
    mmrec_compare_task task = classes_task(8, 3);
    mmrec_error error = {0};
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_nsm_sequential,
                "inputs=8 outputs=3 dim=8 heads=2 time=4 steps=4 slots=4 width=4 hidden=8");
    compare_run run = {.allocator = &r.allocator, .options = &r.options, .out = &r.result};
    compare_recipe recipe = compare_recipe_of(&run, 0);
    compare_net net, exam;
    must(compare_task_create(&r.allocator, &r.io, &task, task.seed, &run.task, &error), &error);
    compare_task_batch(&run.task, MMREC_SPLIT_TRAIN, 0);
    must(compare_net_create(&r.allocator, &recipe, &net, &error), &error);
    assert_int_equal(net.state_count, 1);
    assert_int_equal(net.value_count, 16);
    double before[16], now[16];
    for (int turn = 0; turn < 2; turn++) {
        memcpy(before, net.values, sizeof before);
        must(compare_net_feed(&net, &run.task, net.exec, &error), &error);
        must(mmrec_exec_run(net.exec, MMREC_PHASE_FORWARD, &error), &error);
        must(compare_net_carry(&net, &error), &error);
        memcpy(now, net.values, sizeof now);
        for (int i = 0; i < 16; i++) assert_true(now[i] != before[i] && (turn > 0 || before[i] == 0));
    }
    recipe.gradient = false;
    recipe.params_from = net.exec;
    must(compare_net_create(&r.allocator, &recipe, &exam, &error), &error);
    compare_net_carry_from(&exam, &net);
    assert_memory_equal(exam.values, now, sizeof now);
    compare_net_free(&exam);
    compare_net_free(&net);
    compare_task_free(&run.task);
    compare_end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns_text),       cmocka_unit_test(test_learns_classes),
        cmocka_unit_test(test_learns_values),     cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_seeds_stand_alone), cmocka_unit_test(test_estimates),
        cmocka_unit_test(test_memory_is_carried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
