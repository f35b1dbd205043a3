/* The executor: which phases may follow which, when derived weights are made again, shared parameters, extreme sizes.
 */
#include "model_rig.h"

static mmrec_status forward(rig *r) { return mmrec_exec_run(r->exec, MMREC_PHASE_FORWARD, NULL); }
static mmrec_status backward(rig *r) { return mmrec_exec_run(r->exec, MMREC_PHASE_BACKWARD, NULL); }

static void trained_rig(rig *r, const mmrec_model_config *c, bool hem) {
    mmrec_model_run run = {.batch = 2, .time = 3, .hem = hem, .gradient = true, .logits = true};
    mmrec_error error = {0};
    rig_start(r, MMREC_MODEL_mmrec, c, &run, NULL);
    must(fill_kind(r, MMREC_TENSOR_PARAM, &error), &error);
    must(fill_kind(r, MMREC_TENSOR_INPUT, &error), &error);
}

static void touch_parameter(rig *r, const char *name, int64_t count) {
    static double values[MAX_VALUES];
    mmrec_error error = {0};
    read_named(r, name, values, count);
    for (int64_t i = 0; i < count; i++) values[i] += 0.25;
    must(mmrec_exec_write(r->exec, mmrec_graph_find(r->graph, name), values, count, &error), &error);
}

/* One backward phase for each forward phase, with the parameters it read. */
static void test_order_of_phases(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    rig r;
    trained_rig(&r, &c, true);
    assert_int_equal(backward(&r), MMREC_INTERNAL);
    assert_int_equal(forward(&r), MMREC_OK);
    assert_int_equal(forward(&r), MMREC_OK);
    assert_int_equal(backward(&r), MMREC_OK);
    assert_int_equal(backward(&r), MMREC_INTERNAL);
    assert_int_equal(forward(&r), MMREC_OK);
    touch_parameter(&r, "norm.weight", 12);
    assert_int_equal(backward(&r), MMREC_INTERNAL);
    assert_int_equal(forward(&r), MMREC_OK);
    assert_int_equal(backward(&r), MMREC_OK);
    rig_end(&r);
}

/* A failed forward phase leaves nothing to go back from. */
static void test_backward_after_failure(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    mmrec_error error = {0};
    const int32_t bad[6] = {0, 1, 2, 3, 19, 5};
    rig r;
    trained_rig(&r, &c, false);
    assert_int_equal(forward(&r), MMREC_OK);
    must(mmrec_exec_write_ids(r.exec, mmrec_graph_find(r.graph, "ids"), bad, 6, &error), &error);
    assert_int_equal(mmrec_exec_run(r.exec, MMREC_PHASE_FORWARD, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "embedding: id 19 at batch row 1, step 1 is not in [0, 19)");
    assert_int_equal(error.frames, 1);
    assert_int_equal(backward(&r), MMREC_INTERNAL);
    rig_end(&r);
}

/* The folded product follows the parameters it is made of, also when another exec changes them, and when they are
 * changed through a view. */
static void test_refresh_is_shared(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    c.pe = 7;
    mmrec_model_run run = {.batch = 2, .time = 3, .hem = true};
    static double on[2 * 3 * 19], off[2 * 3 * 19], before[2 * 3 * 19];
    mmrec_error error = {0};
    rig owner, borrower;
    trained_rig(&owner, &c, false);
    rig_start(&borrower, MMREC_MODEL_mmrec, &c, &run, owner.exec);
    must(fill_kind(&borrower, MMREC_TENSOR_INPUT, &error), &error);
    for (int way = 0; way < 4; way++) {
        if (way == 1) touch_parameter(&owner, "blocks.0.p.weight", 7 * 12);
        if (way == 2) touch_parameter(&borrower, "blocks.1.e.bias", 12);
        if (way == 3) {
            mmrec_view view = mmrec_exec_view(owner.exec, mmrec_graph_find(owner.graph, "blocks.0.e.weight"));
            ((double *)view.data)[5] += 0.5;
            mmrec_exec_params_changed(owner.exec);
        }
        assert_int_equal(forward(&owner), MMREC_OK);
        assert_int_equal(forward(&borrower), MMREC_OK);
        memcpy(before, off, sizeof before);
        read_named(&owner, "logits", off, 2 * 3 * 19);
        read_named(&borrower, "logits", on, 2 * 3 * 19);
        assert_true(mmrec_compare(on, off, 2 * 3 * 19).max_rel <= 1e-12);
        assert_true(way == 0 || mmrec_compare(before, off, 2 * 3 * 19).max_rel > 1e-6);
    }
    rig_end(&borrower);
    rig_end(&owner);
}

/* Two models whose parameters take equally many bytes are still two models: 16 rows more in the feed-forward network
 * weigh 8 fewer in each of the two decay networks. */
static void test_sharing_needs_the_same_places(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    c.ffn = c.inner = 16;
    mmrec_model_config other = c, heads = c;
    mmrec_model_run run = {.batch = 2, .time = 3};
    mmrec_error error = {0};
    rig owner, good = {0}, bad = {0};
    trained_rig(&owner, &c, true);
    heads.heads = 6; /* no parameter depends on it */
    must(rig_try(&good, MMREC_MODEL_mmrec, &heads, &run, owner.exec, &error), &error);
    other.ffn += 16;
    other.inner -= 8;
    assert_int_equal(rig_try(&bad, MMREC_MODEL_mmrec, &other, &run, owner.exec, &error), MMREC_CONFIG);
    assert_int_equal(mmrec_plan_arena_bytes(bad.plan, MMREC_ARENA_PARAMS),
                     mmrec_plan_arena_bytes(owner.plan, MMREC_ARENA_PARAMS));
    if (!strstr(error.message, "the owner has no \"blocks.0.decay.in.weight\" at the same place")) {
        fail_msg("%s", error.message);
    }
    rig_end(&bad);
    rig_end(&good);
    rig_end(&owner);
}

static void test_writing_refuses(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    mmrec_error error = {0};
    const double values[6] = {0};
    const int32_t ids[6] = {0};
    rig r;
    trained_rig(&r, &c, true);
    mmrec_tensor ids_tensor = mmrec_graph_find(r.graph, "ids"), norm = mmrec_graph_find(r.graph, "norm.weight");
    assert_int_equal(mmrec_exec_write(r.exec, ids_tensor, values, 6, &error), MMREC_SHAPE);
    assert_string_equal(error.message, "tensor \"ids\" holds ids, not real numbers");
    assert_int_equal(mmrec_exec_write_ids(r.exec, ids_tensor, ids, 5, &error), MMREC_SHAPE);
    assert_int_equal(mmrec_exec_write_ids(r.exec, mmrec_graph_find(r.graph, "state.0.h"), ids, 24, &error),
                     MMREC_SHAPE);
    assert_int_equal(mmrec_exec_write(r.exec, norm, values, 6, &error), MMREC_SHAPE);
    assert_int_equal(mmrec_exec_write(r.exec, 0, values, 6, &error), MMREC_INTERNAL);
    assert_int_equal(mmrec_exec_write(r.exec, 1 << 20, values, 6, &error), MMREC_INTERNAL);
    rig_end(&r);
}

/* ---- sizes at the edge, on the fast backend ---- */

/* Every size is 1 somewhere, every head is one column wide somewhere. */
static mmrec_model_config edge(int i) {
    static const struct {
        int64_t vocab, dim, layers, heads, ffn, inner, slots, level, pe, dpg;
        mmrec_uboo uboo;
        double dropout, memory_decay;
    } edges[] = {{1, 1, 1, 1, 1, 1, 1, 0, 0, 0, MMREC_UBOO_DEEP, 0, 0},
                 {1, 7, 1, 7, 3, 1, 4, 1, 1, 1, MMREC_UBOO_PLANNING, 0, 1},
                 {2, 17, 2, 17, 5, 2, 1, 0, 3, 0, MMREC_UBOO_DEEP, 0.5, 0.99},
                 {5, 33, 3, 3, 1, 40, 16, 2, 0, 35, MMREC_UBOO_PLANNING, 0.25, 0.5},
                 {131, 65, 1, 5, 67, 1, 64, 1, 65, 0, MMREC_UBOO_OFF, 0, 0.99},
                 {3, 16, 2, 1, 33, 9, 12, 1, 16, 1, MMREC_UBOO_DEEP, 0.1, 0}};
    mmrec_model_config c = mmrec_model_config_default(edges[i].vocab, edges[i].dim, edges[i].layers, edges[i].heads);
    c.ffn = edges[i].ffn;
    c.inner = edges[i].inner;
    c.slots = edges[i].slots;
    c.level = edges[i].level;
    c.pe = edges[i].pe;
    c.dpg = edges[i].dpg;
    c.uboo = edges[i].uboo;
    c.dropout = edges[i].dropout;
    c.memory_decay = edges[i].memory_decay;
    return c;
}
enum { EDGES = 6 };

static void edge_rig(rig *r, const char *backend, int threads, int number, const mmrec_model_run *run) {
    mmrec_model_config c = edge(number);
    mmrec_error error = {0};
    memset(r, 0, sizeof *r);
    must(rig_try_on(r, backend, threads, MMREC_MODEL_mmrec, &c, run, NULL, &error), &error);
    must(mmrec_plan_check(r->plan, &error), &error);
    must(rig_step(r, true, &error), &error);
}

/* Gradients of all parameters one behind the other; returns how many values. */
static int64_t read_gradients(rig *r, double *to) {
    mmrec_error error = {0};
    int64_t used = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(r->graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        int64_t count = mmrec_shape_elements(&info.shape);
        assert_true(used + count <= 2 * MAX_VALUES);
        must(mmrec_exec_read(r->exec, mmrec_graph_gradient(r->graph, t), to + used, count, &error), &error);
        used += count;
    }
    return used;
}

static double got[2 * MAX_VALUES], want[2 * MAX_VALUES];

static void assert_close(rig *fast, rig *truth, int number) {
    double loss[2];
    read_named(fast, "loss", &loss[0], 1);
    read_named(truth, "loss", &loss[1], 1);
    if (!(fabs(loss[0] - loss[1]) <= 1e-5 * (1 + fabs(loss[1])))) fail_msg("edge %d: %g, %g", number, loss[0], loss[1]);
    int64_t count = read_gradients(fast, got);
    assert_int_equal(read_gradients(truth, want), count);
    mmrec_difference d = mmrec_compare(got, want, count);
    /* A vocabulary of one word has no gradient at all: what is left is then rounding. */
    if (!mmrec_difference_within(&d, 1e-4, 1e-3)) fail_msg("edge %d: gradients differ by %g", number, d.max_abs);
}

/* More threads than processors, than heads, than rows: the sizes of the teams follow from the work. */
static void test_edges(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 7, 64};
    for (int i = 0; i < EDGES * 8; i++) {
        mmrec_model_run plain = {.batch = 1 + 2 * (i & 1), .time = i & 2 ? 5 : 1, .gradient = true}, run = plain;
        run.hem = i & 1;
        run.recompute = i & 4;
        run.carried = plain.carried = i & 2;
        rig truth, fast;
        edge_rig(&truth, "ref", 1, i / 8, &plain);
        edge_rig(&fast, "cpu", threads[i % 4], i / 8, &run);
        assert_close(&fast, &truth, i / 8);
        rig_end(&fast);
        rig_end(&truth);
    }
}

/* The same build, instruction set, seed and threads: the same bits, in memory that held something else before. */
static void test_same_bits_again(void **state) {
    (void)state;
    mmrec_model_run run = {.batch = 3, .time = 17, .hem = true, .gradient = true};
    for (int threads = 1; threads <= 3; threads++) {
        rig one, two;
        edge_rig(&one, "cpu", threads, 4, &run);
        edge_rig(&two, "cpu", threads, 4, &run);
        mmrec_error error = {0};
        must(rig_step(&two, true, &error), &error);
        int64_t count = read_gradients(&one, got);
        assert_int_equal(read_gradients(&two, want), count);
        assert_memory_equal(got, want, (size_t)count * sizeof(double));
        rig_end(&two);
        rig_end(&one);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_phases),   cmocka_unit_test(test_backward_after_failure),
        cmocka_unit_test(test_refresh_is_shared), cmocka_unit_test(test_sharing_needs_the_same_places),
        cmocka_unit_test(test_writing_refuses),   cmocka_unit_test(test_edges),
        cmocka_unit_test(test_same_bits_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
