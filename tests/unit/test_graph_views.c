/* Values read in another shape, and what parameters begin with. */
#include "graph_rig.h"
#include "mmrec/model.h"

static void test_a_view_is_found_again(void **state) {
    fixture *f = *state;
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(2, 12));
    mmrec_tensor wide = mmrec_graph_reshape(f->graph, x, mmrec_shape3(2, 3, 4));
    assert_int_equal(mmrec_graph_reshape(f->graph, x, mmrec_shape3(2, 3, 4)), wide);
    assert_int_equal(mmrec_graph_reshape(f->graph, x, mmrec_shape2(2, 12)), x);
    mmrec_tensor_info info = mmrec_graph_tensor_info(f->graph, wide);
    mmrec_shape shape = mmrec_shape3(2, 3, 4);
    assert_true(mmrec_shape_equal(&info.shape, &shape));
    assert_true(info.base == x && info.offset == 0 && info.stride == 4);
    assert_int_equal(mmrec_graph_status(f->graph, &f->error), MMREC_OK);
}

static void test_another_number_of_elements(void **state) {
    fixture *f = *state;
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(2, 12));
    assert_int_equal(mmrec_graph_reshape(f->graph, x, mmrec_shape2(5, 5)), 0);
    expect_refusal(f, MMREC_SHAPE, "a value of shape (2, 12) cannot be read as (5, 5)");
}

static void test_a_second_shape(void **state) {
    fixture *f = *state;
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(2, 12));
    mmrec_graph_reshape(f->graph, x, mmrec_shape2(4, 6));
    assert_int_equal(mmrec_graph_reshape(f->graph, x, mmrec_shape2(8, 3)), 0);
    expect_refusal(f, MMREC_SHAPE, "it is read in slices or in another shape");
}

static void test_columns_and_shape_exclude_each_other(void **state) {
    fixture *f = *state;
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(2, 12));
    mmrec_graph_reshape(f->graph, x, mmrec_shape2(4, 6));
    assert_int_equal(mmrec_graph_columns(f->graph, x, 0, 3), 0);
    expect_refusal(f, MMREC_SHAPE, "overlap");
}

static void test_a_slice_or_parameter_has_one_shape(void **state) {
    fixture *f = *state;
    mmrec_tensor w = mmrec_graph_param(f->graph, "w", mmrec_shape2(2, 12));
    assert_int_equal(mmrec_graph_reshape(f->graph, w, mmrec_shape2(4, 6)), 0);
    expect_refusal(f, MMREC_SHAPE, "a slice or parameter of shape (2, 12)");
}

/* loss = mean((flat(x W^T) - (x W^T, whole) ...)): the product is read whole and in another shape, so its gradient is a
 * sum of both, whichever comes first. Checked against differences, which are exact for a square. */
static void test_gradient_through_both(void **state) {
    fixture *f = *state;
    enum { W = 12, X = 6 };
    mmrec_tensor x = mmrec_graph_input(f->graph, "x", MMREC_F64, mmrec_shape2(2, 3));
    mmrec_tensor w = mmrec_graph_param(f->graph, "w", mmrec_shape2(4, 3));
    mmrec_tensor v = mmrec_graph_param(f->graph, "v", mmrec_shape2(4, 2)), c = add(f, MMREC_OP_linear, x, w);
    mmrec_tensor other = mmrec_graph_reshape(f->graph, c, mmrec_shape2(4, 2));
    mmrec_tensor a = add(f, MMREC_OP_mean_square, other, v), b = add(f, MMREC_OP_mean_square, c, c);
    mmrec_tensor g = add(f, MMREC_OP_gelu, c, 0),
                 zero = mmrec_graph_input(f->graph, "z", MMREC_F64, mmrec_shape2(2, 4));
    mmrec_tensor d = add(f, MMREC_OP_mean_square, g, zero);
    mmrec_graph_keep(f->graph, a, "a");
    mmrec_graph_keep(f->graph, d, "d");
    mmrec_seed seeds[] = {{a, 0, 1}, {b, 0, 1}, {d, 0, 1}};
    mmrec_tensor wanted[] = {x};
    assert_int_equal(mmrec_graph_differentiate(f->graph, seeds, 3, wanted, 1, false, &f->error), MMREC_OK);
    start(f, (mmrec_exec_options){0});
    double weights[W], inputs[X], vs[8] = {0.3, -0.2, 0.5, 0.1, -0.4, 0.7, 0.2, -0.6}, dw[W], zeros[8] = {0};
    for (int i = 0; i < W; i++) weights[i] = mmrec_rng_uniform(1, 1, (uint64_t)i) - 0.5;
    for (int i = 0; i < X; i++) inputs[i] = mmrec_rng_uniform(1, 2, (uint64_t)i) - 0.5;
    for (int i = -1; i < W; i++) {
        double loss[2] = {0, 0}, kept = i < 0 ? 0 : weights[i];
        for (int side = 0; side < 2; side++) {
            double part[2];
            if (i >= 0) weights[i] = kept + (side ? 1e-5 : -1e-5);
            assert_int_equal(mmrec_exec_write(f->exec, w, weights, W, &f->error), MMREC_OK);
            assert_int_equal(mmrec_exec_write(f->exec, v, vs, 8, &f->error), MMREC_OK);
            assert_int_equal(mmrec_exec_write(f->exec, x, inputs, X, &f->error), MMREC_OK);
            assert_int_equal(mmrec_exec_write(f->exec, zero, zeros, 8, &f->error), MMREC_OK);
            assert_int_equal(mmrec_exec_run(f->exec, MMREC_PHASE_FORWARD, &f->error), MMREC_OK);
            assert_int_equal(mmrec_exec_read(f->exec, a, &part[0], 1, &f->error), MMREC_OK);
            assert_int_equal(mmrec_exec_read(f->exec, d, &part[1], 1, &f->error), MMREC_OK);
            loss[side] = part[0] + part[1];
        }
        if (i >= 0) {
            weights[i] = kept;
            assert_true(fabs((loss[1] - loss[0]) / 2e-5 - dw[i]) <= 1e-8);
            continue;
        }
        assert_int_equal(mmrec_exec_run(f->exec, MMREC_PHASE_BACKWARD, &f->error), MMREC_OK);
        assert_int_equal(mmrec_exec_read(f->exec, mmrec_graph_gradient(f->graph, w), dw, W, &f->error), MMREC_OK);
    }
}

/* ---- initial values ---- */

static void read_param(fixture *f, const char *name, double *values, int64_t count) {
    assert_int_equal(mmrec_exec_read(f->exec, mmrec_graph_find(f->graph, name), values, count, &f->error), MMREC_OK);
}

static void test_initial_values(void **state) {
    fixture *f = *state;
    enum { N = 4000 };
    static double a[N], b[N], c[N], d[N];
    mmrec_shape shape = mmrec_shape1(N);
    mmrec_tensor normal = mmrec_graph_param(f->graph, "normal", shape);
    mmrec_tensor uniform = mmrec_graph_param(f->graph, "uniform", shape);
    mmrec_tensor copy = mmrec_graph_param(f->graph, "copy", shape), flat = mmrec_graph_param(f->graph, "flat", shape);
    mmrec_graph_param(f->graph, "untold", shape);
    mmrec_graph_initial(f->graph, normal, (mmrec_initial){MMREC_INITIAL_NORMAL, 1, 0.5, 0});
    mmrec_graph_initial(f->graph, uniform, (mmrec_initial){MMREC_INITIAL_UNIFORM, 0.75, 0.25, 0});
    mmrec_graph_initial(f->graph, copy, (mmrec_initial){MMREC_INITIAL_UNIFORM, 0.75, 0.25, uniform});
    mmrec_graph_initial(f->graph, flat, (mmrec_initial){MMREC_INITIAL_CONSTANT, 3, 0, 0});
    mmrec_tensor loss = add(f, MMREC_OP_mean_square, normal, uniform);
    mmrec_graph_keep(f->graph, loss, "loss");
    start(f, (mmrec_exec_options){0});
    assert_int_equal(mmrec_model_init(f->exec, f->graph, &f->allocator, 7, &f->error), MMREC_OK);
    read_param(f, "normal", a, N);
    read_param(f, "uniform", b, N);
    read_param(f, "copy", c, N);
    assert_memory_equal(b, c, sizeof b);
    double mean = 0, low = 1, high = 0, sum = 0;
    for (int i = 0; i < N; i++) {
        assert_true(a[i] == 1 + 0.5 * mmrec_rng_normal(7, (uint64_t)1 << 32, (uint64_t)i));
        mean += b[i] / N;
        low = fmin(low, b[i]);
        high = fmax(high, b[i]);
    }
    /* Uniform numbers of deviation 0.25 / sqrt 3; five standard errors of their mean. */
    assert_true(fabs(mean - 0.75) <= 5 * 0.25 / sqrt(3.0 * N) && low >= 0.5 && high < 1 && low < 0.51 && high > 0.99);
    read_param(f, "flat", d, N);
    for (int i = 0; i < N; i++) sum += fabs(d[i] - 3);
    read_param(f, "untold", d, N);
    for (int i = 0; i < N; i++) sum += fabs(d[i]);
    assert_true(sum == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_view_is_found_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_number_of_elements, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_second_shape, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_columns_and_shape_exclude_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_slice_or_parameter_has_one_shape, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gradient_through_both, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_initial_values, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
