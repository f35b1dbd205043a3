/* What a comparison knows of its rows without a clock: parameters, dead ones, work, memory, gradients. */
#include "compare_rig.h"

static compare_rig r;

/* The suite's task, with the batch that its FLOPs are published for. */
static mmrec_compare_task suite_task(int64_t batch) {
    mmrec_compare_task task = classes_task(784, 10);
    task.batch = batch;
    task.samples = task.held_out = 64;
    return task;
}

static void go_once(void) {
    r.options.sampling = (mmrec_sampling){.max_time_s = 1e-3, .min_samples = 1, .max_samples = 1};
    compare_go(&r);
    for (int row = 0; row < r.options.count; row++) {
        if (r.result.row[row].failure[0]) fail_msg("%s: %s", r.entries[row].label, r.result.row[row].failure);
    }
}

/* ---- parameters ---- */

/* The five rows of the NSM suite as published; without a gradient remain the writes of a memory that is stopped there,
 * and behind the zero memory all that leads to addresses: 29,954. In `repaired` nothing is dead. */
static void test_suite(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config;
        int64_t parameters, trainable, dead;
    } rows[] = {
        {MMREC_MODEL_nsm_simple, "gate=lstm", 320906, 320906, 0},
        {MMREC_MODEL_nsm_simple, "gate=gru", 288010, 288010, 0},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE, 524748, 524748 - 3185, 29954},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE "variant=repaired", 525260, 525260, 0},
        /* One step from a state of zeros: what multiplies the state sees nothing. */
        {MMREC_MODEL_lstm, "inputs=784 hidden=128 outputs=10", 469258, 469258, 4 * 128 * 128},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    mmrec_compare_task task = suite_task(16);
    compare_begin(&r, &task);
    for (int i = 0; i < ROWS; i++) compare_add(&r, rows[i].kind, rows[i].config);
    go_once();
    for (int i = 0; i < ROWS; i++) {
        const mmrec_compare_row *row = &r.result.row[i];
        assert_int_equal(row->parameters, rows[i].parameters);
        assert_int_equal(row->trainable, rows[i].trainable);
        assert_int_equal(row->dead, rows[i].dead);
        assert_int_equal(row->size_bytes, 4 * rows[i].parameters);
        assert_int_equal(row->tokens, 16);
    }
    compare_end(&r);
}

/* A key's own bias has no gradient but rounding, and is no dead parameter: packed, the middle third of a tensor. */
static void test_key_biases(void **state) {
    (void)state;
    mmrec_compare_task task = suite_task(4);
    int64_t apart = 0, packed = 0;
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_nsm_advanced, NSM_SUITE "variant=repaired");
    compare_add(&r, MMREC_MODEL_nsm_simple, "");
    go_once();
    for (int i = 0; i < 2; i++) {
        const mmrec_compare_row *row = &r.result.row[i];
        assert_int_equal(row->zero, 0);
        for (int k = 0; k < row->gradient_count; k++) {
            const mmrec_compare_gradient *g = &row->gradients[k];
            if (g->exempt == 0) continue;
            *(i == 0 ? &apart : &packed) += g->exempt;
            assert_string_equal(g->name, i == 0 ? "attention.k.bias" : "attention.qkv.bias");
            assert_int_equal(g->flow, i == 0 ? MMREC_FLOW_ZERO : MMREC_FLOW_FLOWS);
        }
    }
    assert_int_equal(apart, 64);
    assert_int_equal(packed, 128);
    compare_end(&r);
}

/* ---- gradients ---- */

/* Norms, by tensor and of all of them, against those of the gradients themselves. */
static void test_gradient_norms(void **state) {
    (void)state;
    mmrec_compare_task task = classes_task(6, 3);
    mmrec_error error = {0};
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_mlp, "inputs=6 outputs=3 hidden=5,4 loss=cross-entropy activation=tanh");
    go_once();
    const mmrec_compare_row *row = &r.result.row[0];
    assert_int_equal(row->gradient_count, 6);
    compare_run run = {.allocator = &r.allocator, .options = &r.options, .out = &r.result};
    compare_recipe recipe = compare_recipe_of(&run, 0);
    compare_net net;
    must(compare_task_create(&r.allocator, &r.io, &task, task.seed, &run.task, &error), &error);
    compare_task_batch(&run.task, MMREC_SPLIT_TRAIN, 0);
    must(compare_net_create(&r.allocator, &recipe, &net, &error), &error);
    must(compare_net_feed(&net, &run.task, net.exec, &error), &error);
    must(mmrec_exec_run(net.exec, MMREC_PHASE_FORWARD, &error), &error);
    must(mmrec_exec_run(net.exec, MMREC_PHASE_BACKWARD, &error), &error);
    double all = 0;
    for (int i = 0; i < row->gradient_count; i++) {
        double values[64], squares = 0;
        const mmrec_compare_gradient *g = &row->gradients[i];
        mmrec_tensor param = mmrec_graph_find(net.graph, g->name);
        assert_true(param && g->count <= 64);
        must(mmrec_exec_read(net.exec, mmrec_graph_gradient(net.graph, param), values, g->count, &error), &error);
        for (int64_t k = 0; k < g->count; k++) squares += values[k] * values[k];
        assert_true(fabs(g->norm - sqrt(squares)) <= 1e-12);
        assert_int_equal(g->flow, MMREC_FLOW_FLOWS);
        assert_int_equal(g->layer, i / 2);
        all += squares;
    }
    assert_true(fabs(row->gradient_norm - sqrt(all)) <= 1e-12 && all > 0);
    assert_int_equal(row->missing + row->zero + row->not_finite, 0);
    compare_net_free(&net);
    compare_task_free(&run.task);
    compare_end(&r);
}

/* ---- work ---- */

/* As the graph counts it, at this batch; the optimizer 17 by parameter. */
static void test_work(void **state) {
    (void)state;
    mmrec_compare_task task = text_task();
    mmrec_error error = {0};
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_mmrec, "vocab=8 dim=16 layers=2 heads=2 slots=8 level=1 ffn=24 inner=4");
    compare_add(&r, MMREC_MODEL_gpt, "vocab=8 dim=16 layers=1 heads=2 context=12");
    compare_add(&r, MMREC_MODEL_lstm, "vocab=8 inputs=8 hidden=12 outputs=8 head=all");
    go_once();
    for (int i = 0; i < 3; i++) {
        const mmrec_compare_row *row = &r.result.row[i];
        mmrec_model_run run = {.batch = task.batch, .time = task.time, .hem = true, .loss = true, .gradient = true};
        mmrec_graph *graph = NULL;
        must(mmrec_graph_create(&r.allocator, MMREC_F32, 2, &graph, &error), &error);
        must(mmrec_model_build(r.entries[i].kind, &r.entries[i].config, &run, graph, &error), &error);
        double refresh = mmrec_graph_work(graph, MMREC_PHASE_REFRESH).flops;
        assert_true(row->forward.flops == mmrec_graph_work(graph, MMREC_PHASE_FORWARD).flops + refresh);
        assert_true(row->backward.flops == mmrec_graph_work(graph, MMREC_PHASE_BACKWARD).flops);
        assert_true(row->forward.flops > 0 && row->backward.flops > row->forward.flops);
        assert_true(row->optimizer.flops == 17 * (double)row->parameters);
        assert_int_equal(row->parameters, mmrec_graph_param_count(graph));
        assert_int_equal(row->tokens, task.batch * task.time);
        mmrec_graph_destroy(&graph);
    }
    compare_end(&r);
}

/* ---- memory ---- */

/* A row alone: what it allocates is its plan and what administers it, and a step allocates nothing. */
static void test_memory(void **state) {
    (void)state;
    mmrec_compare_task task = suite_task(8);
    compare_begin(&r, &task);
    compare_add(&r, MMREC_MODEL_nsm_simple, "");
    compare_add(&r, MMREC_MODEL_nsm_simple, "");
    go_once();
    for (int i = 0; i < 2; i++) {
        const mmrec_compare_memory *m = &r.result.row[i].memory;
        size_t planned = 0;
        for (int arena = 0; arena < MMREC_ARENAS; arena++) planned += m->planned[arena];
        assert_true(m->planned[MMREC_ARENA_PARAMS] >= 4 * 288010 && m->planned[MMREC_ARENA_GRADS] >= 4 * 288010);
        assert_true(m->planned[MMREC_ARENA_OPTIMIZER] >= 8 * 288010 && m->planned[MMREC_ARENA_SAVED] > 0);
        assert_true(m->created >= planned && m->created < planned + (1 << 20));
        assert_true(m->forward == m->created && m->backward == m->created && m->step == m->created);
        assert_true(m->peak >= m->created);
        assert_memory_equal(m, &r.result.row[0].memory, sizeof *m);
    }
    compare_end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite), cmocka_unit_test(test_key_biases), cmocka_unit_test(test_gradient_norms),
        cmocka_unit_test(test_work),  cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
