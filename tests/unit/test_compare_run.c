/* A whole comparison: times, layers, rows that fail, the same bits twice, memory that is not there. */
#include "compare_rig.h"

#define TINY_MMREC "vocab=8 dim=16 layers=2 heads=2 slots=8 level=1 ffn=24 inner=4"
#define TINY_GPT "vocab=8 dim=16 layers=1 heads=2 context=16"
#define TINY_LSTM "vocab=8 inputs=8 hidden=12 outputs=8 head=all"

static compare_rig r;

static void no_failure(void) {
    for (int row = 0; row < r.options.count; row++) {
        if (r.result.row[row].failure[0]) fail_msg("%s: %s", r.entries[row].label, r.result.row[row].failure);
    }
}

/* ---- times ---- */

/* A model beside itself: the same figures wherever no clock is in them, and a verdict that is made of the pairs. */
static void test_itself(void **state) {
    (void)state;
    mmrec_compare_task task = text_task();
    compare_begin(&r, &task);
    r.options.sampling.min_samples = r.options.sampling.max_samples = 24;
    compare_add(&r, MMREC_MODEL_gpt, TINY_GPT);
    compare_add(&r, MMREC_MODEL_gpt, TINY_GPT);
    compare_go(&r);
    no_failure();
    const mmrec_compare_row *a = &r.result.row[0], *b = &r.result.row[1];
    for (int part = 0; part < MMREC_PARTS; part++) {
        mmrec_paired p = mmrec_paired_of(a->series[part].samples_ns, b->series[part].samples_ns, 24);
        assert_int_equal(a->series[part].count, 24);
        assert_int_equal(b->series[part].count, 24);
        assert_true(a->series[part].stats.valid && a->series[part].stats.min > 0);
        assert_true(b->paired[part].valid && b->paired[part].ratio == p.ratio && b->paired[part].verdict == p.verdict);
        assert_false(a->paired[part].valid);
    }
    assert_true(a->gradient_norm == b->gradient_norm && a->gradient_norm > 0);
    assert_int_equal(a->gradient_count, b->gradient_count);
    for (int i = 0; i < a->gradient_count; i++) assert_true(a->gradients[i].norm == b->gradients[i].norm);
    assert_memory_equal(&a->memory, &b->memory, sizeof a->memory);
    assert_true(a->forward.flops == b->forward.flops && a->backward.flops == b->backward.flops);
    compare_end(&r);
}

/* Timing moves no parameter: a row that was timed has the gradient of one that was not. */
static void test_timing_changes_nothing(void **state) {
    (void)state;
    mmrec_compare_task task = text_task();
    double norm[2];
    for (int rounds = 1; rounds <= 9; rounds += 8) {
        compare_begin(&r, &task);
        r.options.sampling.min_samples = r.options.sampling.max_samples = rounds;
        r.options.train_steps = 3;
        compare_add(&r, MMREC_MODEL_mmrec, TINY_MMREC);
        compare_go(&r);
        no_failure();
        norm[rounds > 1] = r.result.row[0].quality.loss[0];
        compare_end(&r);
    }
    assert_true(norm[0] == norm[1]);
}

/* ---- layers ---- */

/* Lines are all nodes of the graph, the optimizer and the rest, and add up to the step. */
static void test_layers(void **state) {
    (void)state;
    mmrec_compare_task task = text_task();
    compare_begin(&r, &task);
    r.options.layers = true;
    compare_add(&r, MMREC_MODEL_mmrec, TINY_MMREC);
    compare_go(&r);
    no_failure();
    const mmrec_compare_row *row = &r.result.row[0];
    double sum = 0, flops = 0;
    size_t saved = 0;
    bool modules[2] = {false, false};
    for (int i = 0; i < row->layer_count; i++) {
        const mmrec_compare_layer *line = &row->layers[i];
        for (int k = 0; k < i; k++) {
            bool same = line->op == row->layers[k].op && line->pass == row->layers[k].pass;
            if (line->op) assert_false(same && line->layer == row->layers[k].layer);
        }
        if (line->op) assert_true(line->calls > 0 && line->ns > 0);
        if (line->layer >= 0) modules[line->layer] = true;
        sum += line->ns;
        flops += line->work.flops;
        saved += line->saved_bytes;
    }
    const mmrec_compare_layer *optimizer = &row->layers[row->layer_count - 2], *rest = optimizer + 1;
    assert_string_equal(optimizer->module, "optimizer");
    assert_true(optimizer->op == MMREC_OP_NONE && optimizer->ns > 0 && optimizer->layer == -1);
    assert_string_equal(rest->module, "");
    assert_true(rest->op == MMREC_OP_NONE && rest->work.flops == 0);
    assert_true(modules[0] && modules[1]);
    assert_true(row->layers_step_ns > 0 && fabs(sum - row->layers_step_ns) <= 1e-6 * row->layers_step_ns);
    double all = row->forward.flops + row->backward.flops + row->optimizer.flops;
    assert_true(fabs(flops - all) <= 1e-9 * all);
    assert_true(saved > 0 && saved <= row->memory.planned[MMREC_ARENA_SAVED]);
    compare_end(&r);
}

/* ---- rows that fail ---- */

static void test_failures(void **state) {
    (void)state;
    mmrec_compare_task task = text_task();
    char text[200];
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_lstm, TINY_LSTM);
    compare_add(&r, MMREC_MODEL_gpt, "vocab=8 dim=16 layers=1 heads=2 context=4"); /* too short for the task */
    snprintf(compare_add(&r, MMREC_MODEL_gru, "")->refused, MMREC_ERROR_MESSAGE, "it cannot do this task");
    compare_add(&r, MMREC_MODEL_mlp, "inputs=3 outputs=8"); /* reads real numbers */
    compare_add(&r, MMREC_MODEL_gpt, TINY_GPT);
    r.options.layers = true;
    r.options.train_steps = 2;
    compare_go(&r);
    assert_string_equal(r.result.row[0].failure, "");
    assert_non_null(strstr(r.result.row[1].failure, "time is 12, but model gpt has 4 positions"));
    assert_string_equal(r.result.row[2].failure, "it cannot do this task");
    assert_non_null(strstr(r.result.row[3].failure, "the task has none (while feeding x)"));
    assert_string_equal(r.result.row[4].failure, "");
    assert_true(r.result.row[4].paired[MMREC_PART_STEP].valid && r.result.row[4].quality.seeds == 1);
    assert_true(r.result.row[1].series[MMREC_PART_STEP].count == 0 && r.result.row[1].quality.seeds == 0);
    assert_false(r.result.front[1] || r.result.front[2] || r.result.front[3]);
    assert_true(r.result.front[0] || r.result.front[4]);
    assert_int_equal(mmrec_comparison_exit(&r.result, text, sizeof text), 1);
    assert_string_equal(text, "3 of 5 models could not be measured: gpt 2, gru 3, mlp 4");
    compare_end(&r);
}

/* ---- a step that is one function ---- */

/* Beside its graph: the same parameters, gradients and work; a time of the whole step, none of parts; it learns the
 * same to rounding. */
static void test_fused(void **state) {
    (void)state;
    for (int which = 0; which < 2; which++) {
        mmrec_compare_task task = which ? classes_task(6, 3) : values_task();
        const char *config = which ? "inputs=6 outputs=3 hidden=8 loss=cross-entropy" : "hidden=8,4 activation=tanh";
        compare_begin(&r, &task);
        r.options.layers = true;
        r.options.train_steps = 20;
        r.options.axis_name = "batch";
        r.options.axis_count = 1;
        r.options.axis[0] = 8;
        compare_add(&r, MMREC_MODEL_mlp, config);
        compare_add(&r, MMREC_MODEL_mlp, config)->fused = true;
        compare_go(&r);
        no_failure();
        const mmrec_compare_row *graph = &r.result.row[0], *fused = &r.result.row[1];
        assert_int_equal(fused->parameters, graph->parameters);
        assert_true(fused->gradient_norm == graph->gradient_norm && fused->forward.flops == graph->forward.flops);
        assert_int_equal(fused->series[MMREC_PART_STEP].count, 8);
        assert_int_equal(fused->series[MMREC_PART_FORWARD].count, 0);
        assert_true(fused->paired[MMREC_PART_STEP].valid && !fused->paired[MMREC_PART_BACKWARD].valid);
        assert_true(fused->memory.planned[MMREC_ARENA_PARAMS] > 0 && fused->memory.created > 0);
        assert_int_equal(fused->layer_count, 0);
        assert_true(fused->points[0].step.valid && fused->points[0].work.flops == graph->points[0].work.flops);
        assert_true(fused->quality.loss[0] > 0);
        assert_true(fabs(fused->quality.loss[0] / graph->quality.loss[0] - 1) <= 1e-4);
        assert_true(which == 0 || fabs(fused->quality.accuracy[0] - graph->quality.accuracy[0]) <= 0.01);
        compare_end(&r);
    }
}

/* What cannot run as one function says so. */
static void test_fused_refused(void **state) {
    (void)state;
    mmrec_compare_task task = classes_task(6, 3);
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_gru, "inputs=6 outputs=3 hidden=4")->fused = true;
    compare_go(&r);
    assert_string_equal(r.result.row[0].failure, "\"gru 1\" is to run as one function, which only model mlp has");
    compare_end(&r);
}

static void test_exit_when_all_is_well(void **state) {
    (void)state;
    mmrec_compare_task task = text_task();
    char text[8] = "before";
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_lstm, TINY_LSTM);
    compare_go(&r);
    assert_int_equal(mmrec_comparison_exit(&r.result, text, sizeof text), 0);
    assert_string_equal(text, "");
    assert_true(r.result.front[0]);
    assert_string_equal(r.result.data, "task text-markov");
    assert_true(r.result.best_loss > 0 && r.result.best_loss < log(8));
    compare_end(&r);
}

/* A learning rate without measure: what is not finite is recorded, and the other row goes on. */
static void test_diverged(void **state) {
    (void)state;
    mmrec_compare_task task = values_task();
    compare_begin(&r, &task);
    r.options.train_steps = 30;
    r.options.rate = 1e30;
    r.options.seeds = 2;
    compare_add(&r, MMREC_MODEL_mlp, "inputs=5 outputs=1 hidden=8,8,8");
    compare_go(&r);
    no_failure();
    const mmrec_compare_quality *q = &r.result.row[0].quality;
    assert_int_equal(q->seeds, 2);
    assert_true(q->diverged[0] && q->diverged[1] && isnan(q->loss[0]) && isnan(q->loss_mean));
    compare_end(&r);
}

static void test_refusals(void **state) {
    (void)state;
    mmrec_compare_task task = values_task();
    mmrec_error error = {0};
    compare_begin(&r, &task);
    assert_int_equal(compare_try(&r, &error), MMREC_USAGE);
    assert_string_equal(error.message, "there are 0 models to compare; there must be from 1 to 32");
    compare_end(&r);
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_mlp, "");
    r.options.train_steps = 5;
    r.options.task.held_out = 0;
    assert_int_equal(compare_try(&r, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "5 steps are to be trained, but nothing is held out to see what was learned");
    compare_end(&r);
}

/* An interrupt before the first row: nothing is measured, everything says why. */
static void test_interrupt(void **state) {
    (void)state;
    mmrec_compare_task task = text_task();
    compare_begin(&r, &task);
    r.options.train_steps = 5;
    compare_add(&r, MMREC_MODEL_lstm, TINY_LSTM);
    mmrec_measure_interrupt();
    compare_go(&r);
    mmrec_measure_interrupt_clear();
    assert_true(r.result.interrupted);
    assert_string_equal(r.result.row[0].failure, "interrupted before it was measured");
    assert_int_equal(r.result.row[0].quality.seeds, 0);
    compare_end(&r);
}

/* ---- the sgemm beside them ---- */

static void test_share_of_sgemm(void **state) {
    (void)state;
    mmrec_compare_task task = classes_task(12, 3);
    compare_begin(&r, &task);
    r.options.no_ceilings = false;
    compare_add(&r, MMREC_MODEL_mlp, "inputs=12 outputs=3 hidden=64,64 loss=cross-entropy");
    compare_add(&r, MMREC_MODEL_mlp, "inputs=12 outputs=3 hidden=64,64 loss=cross-entropy");
    r.entries[1].fused = true;
    compare_go(&r);
    no_failure();
    assert_true(r.result.ceilings.sgemm_flops_per_s > 0 && r.result.ceilings.copy_bytes_per_s > 0);
    for (int part = 0; part < MMREC_PARTS; part++) {
        const mmrec_stats *share = &r.result.row[0].sgemm_share[part];
        assert_true(share->valid && share->count >= 1 && share->median > 0);
        /* A fused step has no parts, and no sgemm to be compared with in them. */
        assert_int_equal(r.result.row[1].sgemm_share[part].valid, part == MMREC_PART_STEP);
    }
    compare_end(&r);
}

/* ---- sizes ---- */

/* Work and memory of a step grow as the batch does; parameters' share of the memory does not. */
static void test_axis(void **state) {
    (void)state;
    mmrec_compare_task task = classes_task(12, 3);
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_mlp, "inputs=12 outputs=3 hidden=8 loss=cross-entropy");
    compare_add(&r, MMREC_MODEL_nsm_simple, "inputs=12 outputs=3 dim=8 states=2 heads=2");
    r.options.axis_name = "batch";
    r.options.axis_count = 4;
    for (int i = 0; i < 4; i++) r.options.axis[i] = 8 << i;
    compare_go(&r);
    no_failure();
    for (int row = 0; row < 2; row++) {
        const mmrec_compare_row *at = &r.result.row[row];
        for (int i = 0; i < 4; i++) {
            const mmrec_compare_point *p = &at->points[i];
            assert_string_equal(p->failure, "");
            assert_int_equal(p->at, 8 << i);
            assert_true(p->step.valid && p->step.count == 8 && p->bytes > 0);
            if (i > 0) assert_true(p->bytes > at->points[i - 1].bytes);
            if (i > 0 && row == 0) assert_true(fabs(p->work.flops / at->points[i - 1].work.flops - 2) <= 0.05);
        }
        size_t planned = 0;
        for (int arena = 0; arena < MMREC_ARENAS; arena++) planned += at->memory.planned[arena];
        assert_int_equal(at->points[1].bytes, planned); /* the task's own batch */
        assert_true(at->time_fit.valid && at->memory_fit.valid);
        assert_true(at->memory_fit.exponent > 0 && at->memory_fit.exponent < 1);
    }
    compare_end(&r);
}

typedef struct said_lines {
    char text[1024];
} said_lines;

static void say(void *context, const char *line) {
    said_lines *said = context;
    size_t used = strlen(said->text);
    if (strstr(line, " at batch ")) snprintf(said->text + used, sizeof said->text - used, "%s;", line);
}

/* Up and down: a machine that slows down steadily does so for all points alike. */
static void test_axis_twice(void **state) {
    (void)state;
    mmrec_compare_task task = classes_task(12, 3);
    said_lines said = {""};
    mmrec_compare_observer observer = {.message = say, .context = &said};
    mmrec_error error = {0};
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_mlp, "inputs=12 outputs=3 hidden=8 loss=cross-entropy");
    compare_add(&r, MMREC_MODEL_mlp, "inputs=12 outputs=3 hidden=9 loss=cross-entropy");
    r.options.axis_name = "batch";
    r.options.axis_count = 2;
    r.options.axis[0] = 8;
    r.options.axis[1] = 16;
    r.options.sampling.min_samples = r.options.sampling.max_samples = 5;
    must(mmrec_compare_run(&r.allocator, &r.options, observer, &r.result, &error), &error);
    assert_string_equal(said.text, "mlp 1 at batch 8;mlp 2 at batch 8;mlp 1 at batch 16;mlp 2 at batch 16;"
                                   "mlp 1 at batch 16 again;mlp 2 at batch 16 again;mlp 1 at batch 8 again;"
                                   "mlp 2 at batch 8 again;");
    for (int i = 0; i < 2; i++) {
        const mmrec_compare_point *p = &r.result.row[1].points[i];
        assert_int_equal(p->series.count, 6); /* 5 are not two halves */
        assert_true(p->step.count == 6 && p->step.valid);
    }
    compare_end(&r);
}

/* The width, and points that cannot be: they fail alone. */
static void test_axis_of_width(void **state) {
    (void)state;
    mmrec_compare_task task = classes_task(12, 3);
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_nsm_simple, "inputs=12 outputs=3 dim=8 states=2 heads=2");
    r.options.axis_name = "dim";
    r.options.axis_count = 3;
    r.options.axis[0] = 8;
    r.options.axis[1] = 16;
    r.options.axis[2] = -1;
    compare_go(&r);
    no_failure();
    const mmrec_compare_point *p = r.result.row[0].points;
    assert_true(p[1].work.flops > 2 * p[0].work.flops && p[1].step.valid);
    assert_non_null(strstr(p[2].failure, "dim is -1"));
    assert_false(r.result.row[0].time_fit.valid);
    compare_end(&r);
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_mlp, "inputs=12 outputs=3 loss=cross-entropy");
    r.options.axis_name = "depth";
    r.options.axis_count = 1;
    mmrec_error error = {0};
    assert_int_equal(compare_try(&r, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "the axis is \"depth\"; it must be time, batch or dim");
    compare_end(&r);
}

/* ---- memory that is not there ---- */

static void add_small(void) {
    mmrec_compare_task task = classes_task(4, 2);
    compare_begin(&r, &task);
    r.options.sampling = (mmrec_sampling){.max_time_s = 1e-3, .min_samples = 1, .max_samples = 1};
    r.options.task.held_out = 16;
    r.options.train_steps = 1;
    r.options.layers = true;
    r.options.axis_name = "batch";
    r.options.axis_count = 1;
    r.options.axis[0] = 4;
    compare_add(&r, MMREC_MODEL_mlp, "inputs=4 outputs=2 hidden=3 loss=cross-entropy");
    compare_add(&r, MMREC_MODEL_mlp, "inputs=4 outputs=2 hidden=2 loss=cross-entropy");
}

static bool any_failure(void) {
    bool failed = false;
    for (int row = 0; row < 2; row++) {
        const mmrec_compare_row *at = &r.result.row[row];
        failed = failed || at->failure[0] || (at->points && at->points[0].failure[0]);
        if (at->failure[0]) assert_non_null(strstr(at->failure, "memory"));
    }
    return failed;
}

/* The k-th request fails, for every k: one row, one point or the whole says so, all else is there, nothing is lost. */
static void test_no_memory(void **state) {
    (void)state;
    uint64_t k = 0;
    for (bool failed = true; failed; mmrec_comparison_free(&r.result)) {
        mmrec_error error = {0};
        add_small();
        r.allocator.fail_at = ++k;
        mmrec_status status = compare_try(&r, &error);
        if (status != MMREC_OK) assert_int_equal(status, MMREC_NO_MEMORY);
        failed = status != MMREC_OK || any_failure();
        if (!failed) assert_true(r.allocator.attempts < k);
        int fine = !r.result.row[0].failure[0] + !r.result.row[1].failure[0];
        if (status == MMREC_OK) assert_true(fine >= 1);
        mmrec_comparison_free(&r.result);
        assert_int_equal(r.allocator.total.live_bytes, 0);
    }
    assert_true(k > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_itself),
        cmocka_unit_test(test_timing_changes_nothing),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_exit_when_all_is_well),
        cmocka_unit_test(test_diverged),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_share_of_sgemm),
        cmocka_unit_test(test_axis),
        cmocka_unit_test(test_axis_twice),
        cmocka_unit_test(test_axis_of_width),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_fused),
        cmocka_unit_test(test_fused_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
