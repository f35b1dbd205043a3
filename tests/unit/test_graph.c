/* Building graphs: what is accepted, what is refused and in which words, slices, names, gradients of slices. */
#include "graph_rig.h"

static void test_shapes_follow(void **state) {
    fixture *f = *state;
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape3(2, 3, 5));
    mmrec_tensor w = mmrec_graph_param(f->graph, "w", mmrec_shape2(7, 5));
    mmrec_tensor y = add(f, MMREC_OP_linear, x, w);
    assert_int_equal(mmrec_graph_status(f->graph, &f->error), MMREC_OK);
    mmrec_shape expected = mmrec_shape3(2, 3, 7), got = mmrec_graph_tensor_info(f->graph, y).shape;
    assert_true(mmrec_shape_equal(&got, &expected));
    assert_int_equal(mmrec_graph_param_count(f->graph), 35);
    assert_int_equal(mmrec_graph_find(f->graph, "w"), w);
    assert_int_equal(mmrec_graph_find(f->graph, "nothing"), 0);
    assert_true(mmrec_graph_work(f->graph, MMREC_PHASE_FORWARD).flops == 2.0 * 6 * 5 * 7);
}

/* What a node saves can be read by others, unless it is made for differentiation alone. */
static void test_saved_of_the_last_node(void **state) {
    fixture *f = *state;
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(6, 5));
    mmrec_tensor ids = mmrec_graph_input(f->graph, "ids", MMREC_I32, mmrec_shape1(6));
    mmrec_tensor w = mmrec_graph_param(f->graph, "w", mmrec_shape1(5));
    mmrec_shape rows = mmrec_shape2(6, 1);
    assert_int_equal(mmrec_graph_saved(f->graph, 0), 0);
    add(f, MMREC_OP_rmsnorm, x, w);
    mmrec_tensor saved = mmrec_graph_saved(f->graph, 0);
    assert_true(saved != 0);
    mmrec_shape shape = mmrec_graph_tensor_info(f->graph, saved).shape;
    assert_true(mmrec_shape_equal(&shape, &rows));
    assert_int_equal(mmrec_graph_saved(f->graph, 1), 0);
    assert_int_equal(mmrec_graph_saved(f->graph, -1), 0);
    assert_int_equal(mmrec_graph_saved(f->graph, MMREC_MAX_SAVED), 0);
    add(f, MMREC_OP_cross_entropy, x, ids);
    assert_int_equal(mmrec_graph_saved(f->graph, 0), 0);
    add(f, MMREC_OP_rmsnorm, x, w);
    assert_true(mmrec_graph_saved(f->graph, 0) != 0 && mmrec_graph_saved(f->graph, 0) != saved);
    assert_int_equal(mmrec_graph_status(f->graph, &f->error), MMREC_OK);
    mmrec_graph_refuse(f->graph, MMREC_CONFIG, "no");
    assert_int_equal(mmrec_graph_saved(f->graph, 0), 0);
}

static void test_misfit_is_latched(void **state) {
    fixture *f = *state;
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(3, 5));
    mmrec_tensor w = mmrec_graph_param(f->graph, "w", mmrec_shape2(7, 6));
    mmrec_graph_scope(f->graph, 0, "blocks.0.");
    assert_int_equal(add(f, MMREC_OP_linear, x, w), 0);
    expect_refusal(f, MMREC_SHAPE, "blocks.0.");
    assert_int_equal(mmrec_graph_param(f->graph, "later", mmrec_shape1(3)), 0);
    assert_int_equal(mmrec_graph_node_count(f->graph), 0);
}

static void test_impossible_shape(void **state) {
    fixture *f = *state;
    assert_int_equal(mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape3(1 << 30, 1 << 30, 1 << 30)), 0);
    expect_refusal(f, MMREC_SHAPE, "(1073741824, 1073741824, 1073741824)");
}

static void test_ids_where_reals_belong(void **state) {
    fixture *f = *state;
    mmrec_tensor ids = mmrec_graph_input(f->graph, "ids", MMREC_I32, mmrec_shape2(3, 5));
    mmrec_tensor w = mmrec_graph_param(f->graph, "w", mmrec_shape2(7, 5));
    add(f, MMREC_OP_linear, ids, w);
    expect_refusal(f, MMREC_SHAPE, "must hold real numbers");
}

static void test_duplicate_name(void **state) {
    fixture *f = *state;
    mmrec_graph_param(f->graph, "w", mmrec_shape1(3));
    mmrec_graph_param(f->graph, "w", mmrec_shape1(4));
    expect_refusal(f, MMREC_INTERNAL, "two tensors are named \"w\"");
}

static void test_bad_slices(void **state) {
    fixture *f = *state;
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(3, 5));
    assert_int_equal(mmrec_graph_columns(f->graph, x, 3, 3), 0);
    expect_refusal(f, MMREC_SHAPE, "3 columns from 3 on are not a slice of a value with 5 columns");
}

/* Two gradients would be written to one place. */
static void test_slices_overlap(void **state) {
    fixture *f = *state;
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(3, 5));
    assert_true(mmrec_graph_columns(f->graph, x, 0, 2) && mmrec_graph_columns(f->graph, x, 3, 2));
    assert_true(mmrec_graph_columns(f->graph, x, 2, 1) != 0);
    assert_int_equal(mmrec_graph_columns(f->graph, x, 1, 2), 0);
    expect_refusal(f, MMREC_SHAPE, "2 columns from 1 on overlap another slice");
}

static void test_columns_of_a_parameter(void **state) {
    fixture *f = *state;
    mmrec_tensor w = mmrec_graph_param(f->graph, "w", mmrec_shape2(3, 5));
    assert_int_equal(mmrec_graph_columns(f->graph, w, 0, 2), 0);
    expect_refusal(f, MMREC_SHAPE, "not a slice of a slice or parameter");
}

static void test_stack_overflow(void **state) {
    fixture *f = *state;
    mmrec_tensor stack = mmrec_graph_stack(f->graph, "s", mmrec_shape2(4, 3));
    mmrec_graph_stack_param(f->graph, stack, 6, "a", mmrec_shape2(3, 3));
    expect_refusal(f, MMREC_SHAPE, "does not fit into its stack");
}

static void test_stack_slices_overlap(void **state) {
    fixture *f = *state;
    mmrec_tensor stack = mmrec_graph_stack(f->graph, "s", mmrec_shape2(4, 3));
    assert_true(mmrec_graph_stack_param(f->graph, stack, 0, "a", mmrec_shape2(2, 3)) != 0);
    assert_int_equal(mmrec_graph_stack_value(f->graph, stack, 5, mmrec_shape1(3)), 0);
    expect_refusal(f, MMREC_SHAPE, "another slice is there");
}

/* What a refresh node reads must not change without the parameters. */
static void test_refresh_reads_parameters(void **state) {
    fixture *f = *state;
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(3, 5));
    mmrec_tensor w = mmrec_graph_param(f->graph, "w", mmrec_shape2(7, 5));
    mmrec_graph_phase(f->graph, MMREC_PHASE_REFRESH);
    mmrec_tensor made = add(f, MMREC_OP_gelu, w, 0);
    assert_true(add(f, MMREC_OP_gelu, made, 0) != 0);
    assert_int_equal(add(f, MMREC_OP_linear, x, made), 0);
    expect_refusal(f, MMREC_INTERNAL, "linear in the refresh phase reads x");
}

static void test_into_is_for_stacks(void **state) {
    fixture *f = *state;
    mmrec_tensor w = mmrec_graph_param(f->graph, "w", mmrec_shape2(2, 3));
    mmrec_tensor stack = mmrec_graph_stack(f->graph, "s", mmrec_shape2(4, 3));
    mmrec_tensor part = mmrec_graph_stack_value(f->graph, stack, 0, mmrec_shape2(2, 3));
    mmrec_graph_phase(f->graph, MMREC_PHASE_REFRESH);
    assert_int_equal(mmrec_graph_add(f->graph, MMREC_OP_gelu, (mmrec_node_spec){.in = {w}, .into = {part}}), part);
    assert_int_equal(mmrec_graph_add(f->graph, MMREC_OP_gelu, (mmrec_node_spec){.in = {w}, .into = {w}}), 0);
    expect_refusal(f, MMREC_INTERNAL, "gelu: output y can be written into a value of a stack");
}

static void test_missing_input(void **state) {
    fixture *f = *state;
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(3, 5));
    add(f, MMREC_OP_linear, x, 0);
    expect_refusal(f, MMREC_SHAPE, "weight");
}

static void test_create_refuses(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_graph *graph = NULL;
    mmrec_error error = {0};
    assert_int_equal(mmrec_graph_create(&allocator, MMREC_I32, 1, &graph, &error), MMREC_UNSUPPORTED);
    assert_int_equal(mmrec_graph_create(&allocator, MMREC_F64, 0, &graph, &error), MMREC_CONFIG);
    assert_null(graph);
}

/* One value read whole and through two of its three slices: the fused projection's situation, with a gap. */
static void build_sliced(fixture *f, mmrec_tensor *w, mmrec_tensor *wanted) {
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(4, 3));
    *w = mmrec_graph_param(f->graph, "w", mmrec_shape2(6, 3));
    mmrec_tensor y = add(f, MMREC_OP_linear, x, *w);
    mmrec_tensor a = mmrec_graph_columns(f->graph, y, 0, 2), b = mmrec_graph_columns(f->graph, y, 2, 2);
    mmrec_graph_columns(f->graph, y, 4, 2);
    mmrec_tensor s = add(f, MMREC_OP_mean_square, a, b);
    *wanted = x;
    mmrec_seed seed = {s, 0, 1.0};
    assert_int_equal(mmrec_graph_differentiate(f->graph, &seed, 1, wanted, 1, false, &f->error), MMREC_OK);
}

static double run_loss(fixture *f, const double *w, const double *x, double *dw) {
    assert_int_equal(mmrec_exec_write(f->exec, mmrec_graph_find(f->graph, "w"), w, 18, &f->error), MMREC_OK);
    assert_int_equal(mmrec_exec_write(f->exec, mmrec_graph_find(f->graph, "x"), x, 12, &f->error), MMREC_OK);
    assert_int_equal(mmrec_exec_run(f->exec, MMREC_PHASE_FORWARD, &f->error), MMREC_OK);
    double a[2] = {0, 0}, loss = 0;
    for (int r = 0; r < 4; r++) {
        for (int c = 0; c < 2; c++) {
            a[0] = a[1] = 0;
            for (int k = 0; k < 3; k++) {
                a[0] += x[r * 3 + k] * w[c * 3 + k];
                a[1] += x[r * 3 + k] * w[(c + 2) * 3 + k];
            }
            loss += (a[0] - a[1]) * (a[0] - a[1]) / 8;
        }
    }
    if (dw) {
        assert_int_equal(mmrec_exec_run(f->exec, MMREC_PHASE_BACKWARD, &f->error), MMREC_OK);
        mmrec_tensor g = mmrec_graph_gradient(f->graph, mmrec_graph_find(f->graph, "w"));
        assert_int_equal(mmrec_exec_read(f->exec, g, dw, 18, &f->error), MMREC_OK);
    }
    return loss;
}

static void test_gradient_through_slices(void **state) {
    fixture *f = *state;
    mmrec_tensor w, x;
    build_sliced(f, &w, &x);
    start(f, (mmrec_exec_options){.trace = true});
    double weights[18], inputs[12], dw[18];
    for (int i = 0; i < 18; i++) weights[i] = mmrec_rng_uniform(1, 1, (uint64_t)i) - 0.5;
    for (int i = 0; i < 12; i++) inputs[i] = mmrec_rng_uniform(1, 2, (uint64_t)i) - 0.5;
    run_loss(f, weights, inputs, dw);
    for (int i = 0; i < 18; i++) {
        double step = 1e-5, kept = weights[i];
        weights[i] = kept + step;
        double up = run_loss(f, weights, inputs, NULL);
        weights[i] = kept - step;
        double down = run_loss(f, weights, inputs, NULL);
        weights[i] = kept;
        assert_true(fabs((up - down) / (2 * step) - dw[i]) <=
                    1e-8); /* quadratic loss: the difference is exact but rounding */
    }
    for (int i = 12; i < 18; i++) assert_true(dw[i] == 0); /* the third slice is read by nobody */
    assert_int_equal(mmrec_exec_run(f->exec, MMREC_PHASE_FORWARD, &f->error), MMREC_OK);
    assert_int_equal(mmrec_exec_run(f->exec, MMREC_PHASE_BACKWARD, &f->error), MMREC_OK);
    assert_int_equal(mmrec_exec_run(f->exec, MMREC_PHASE_BACKWARD, &f->error), MMREC_INTERNAL); /* once per forward */
}

static mmrec_tensor attend(mmrec_graph *g, mmrec_tensor query, mmrec_tensor memory) {
    return mmrec_graph_add(g, MMREC_OP_memory_attention, (mmrec_node_spec){.in = {query, memory, memory}});
}

/* A parameter that nothing depends on has a gradient, of zeros, and is told apart from one that is reached. */
static void test_unreached(void **state) {
    fixture *f = *state;
    mmrec_tensor w, x, unused = mmrec_graph_param(f->graph, "unused", mmrec_shape2(2, 2));
    assert_false(mmrec_graph_unreached(f->graph, unused));
    build_sliced(f, &w, &x);
    assert_true(mmrec_graph_unreached(f->graph, unused));
    assert_true(mmrec_graph_gradient(f->graph, unused) != 0);
    assert_false(mmrec_graph_unreached(f->graph, w) || mmrec_graph_unreached(f->graph, x));
    assert_false(mmrec_graph_unreached(f->graph, 0));
}

/* One node reads a value whole and as a slice, the slice that is all of it; beside it the same with a copy in place of
 * the slice. The gradients are seeded twice, so they double, and the input that seeds them is only read. */
static void test_gradient_of_base_and_slice(void **state) {
    fixture *f = *state;
    mmrec_graph *g = f->graph;
    const mmrec_shape shape = mmrec_shape3(2, 3, 4);
    mmrec_tensor x[2] = {mmrec_graph_input(g, "x0", MMREC_F64, shape), mmrec_graph_input(g, "x1", MMREC_F64, shape)};
    mmrec_tensor dy = mmrec_graph_input(g, "dy", MMREC_F64, shape);
    mmrec_tensor y = add(f, MMREC_OP_combine, x[0], 0);
    mmrec_tensor sliced = attend(g, y, mmrec_graph_columns(g, y, 0, 4));
    mmrec_tensor copied = attend(g, x[1], add(f, MMREC_OP_combine, x[1], 0));
    mmrec_seed seeds[] = {{sliced, dy, 0}, {sliced, dy, 0}, {copied, dy, 0}, {copied, dy, 0}};
    assert_int_equal(mmrec_graph_differentiate(g, seeds, 4, x, 2, false, &f->error), MMREC_OK);
    start(f, (mmrec_exec_options){0});
    double given[24], read[24], other[24];
    for (int i = 0; i < 24; i++) given[i] = mmrec_rng_normal(1, 3, (uint64_t)i);
    for (int k = 0; k < 2; k++) assert_int_equal(mmrec_exec_write(f->exec, x[k], given, 24, &f->error), MMREC_OK);
    assert_int_equal(mmrec_exec_write(f->exec, dy, given, 24, &f->error), MMREC_OK);
    for (int repeat = 0; repeat < 2; repeat++) {
        assert_int_equal(mmrec_exec_run(f->exec, MMREC_PHASE_FORWARD, &f->error), MMREC_OK);
        assert_int_equal(mmrec_exec_run(f->exec, MMREC_PHASE_BACKWARD, &f->error), MMREC_OK);
        assert_int_equal(mmrec_exec_read(f->exec, mmrec_graph_gradient(g, x[0]), read, 24, &f->error), MMREC_OK);
        assert_int_equal(mmrec_exec_read(f->exec, mmrec_graph_gradient(g, x[1]), other, 24, &f->error), MMREC_OK);
        for (int i = 0; i < 24; i++) assert_true(other[i] != 0 && fabs(read[i] - other[i]) <= 1e-12);
        assert_int_equal(mmrec_exec_read(f->exec, dy, read, 24, &f->error), MMREC_OK);
        assert_memory_equal(read, given, sizeof given);
    }
}

/* Gradients are of real numbers, and are given by inputs. */
static void test_differentiate_refuses(void **state) {
    fixture *f = *state;
    mmrec_tensor ids = mmrec_graph_input(f->graph, "ids", MMREC_I32, mmrec_shape2(2, 3));
    mmrec_tensor table = mmrec_graph_param(f->graph, "table", mmrec_shape2(5, 4));
    mmrec_tensor x = add(f, MMREC_OP_embedding, ids, table);
    mmrec_tensor y = add(f, MMREC_OP_gelu, x, 0);
    const mmrec_seed good = {y, 0, 1.0}, of_ids = {ids, 0, 1.0}, by_value = {y, x, 0}, of_nothing = {0, 0, 1.0};
    const mmrec_tensor wanted[] = {ids, x, -1, 1000};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(mmrec_graph_differentiate(f->graph, &good, 1, &wanted[i], 1, false, &f->error),
                         MMREC_INTERNAL);
    }
    assert_int_equal(mmrec_graph_differentiate(f->graph, &of_ids, 1, NULL, 0, false, &f->error), MMREC_INTERNAL);
    assert_int_equal(mmrec_graph_differentiate(f->graph, &by_value, 1, NULL, 0, false, &f->error), MMREC_INTERNAL);
    assert_int_equal(mmrec_graph_differentiate(f->graph, &of_nothing, 1, NULL, 0, false, &f->error), MMREC_INTERNAL);
    assert_int_equal(mmrec_graph_differentiate(f->graph, &good, 1, NULL, 0, false, &f->error), MMREC_OK);
}

static void test_differentiate_once(void **state) {
    fixture *f = *state;
    mmrec_tensor w, x;
    build_sliced(f, &w, &x);
    mmrec_seed seed = {w, 0, 1.0};
    assert_int_equal(mmrec_graph_differentiate(f->graph, &seed, 1, NULL, 0, false, &f->error), MMREC_INTERNAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shapes_follow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_saved_of_the_last_node, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_misfit_is_latched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_impossible_shape, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ids_where_reals_belong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_duplicate_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_slices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slices_overlap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_columns_of_a_parameter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stack_overflow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stack_slices_overlap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refresh_reads_parameters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_into_is_for_stacks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_input, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gradient_through_slices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gradient_of_base_and_slice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unreached, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_differentiate_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_differentiate_once, set_up, tear_down),
        cmocka_unit_test(test_create_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
