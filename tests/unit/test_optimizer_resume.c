/* What a checkpoint takes out of the optimizer and puts back: another one goes on with the same bits. Views of memory
 * that is no tensor. */
#include "optimizer_rig.h"

/* Parameter p and its moments, from one store to another. */
static void carry_over(store *from, store *to, int p) {
    mmrec_error error = {0};
    mmrec_view source[2], target[2];
    must(mmrec_exec_read(from->exec, from->param[p], buffer, from->size[p], &error), &error);
    must(mmrec_exec_write(to->exec, to->param[p], buffer, to->size[p], &error), &error);
    must(mmrec_optimizer_moments(from->optimizer, from->param[p], source, &error), &error);
    must(mmrec_optimizer_moments(to->optimizer, to->param[p], target, &error), &error);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mmrec_shape_elements(&source[i].shape), from->size[p]);
        must(mmrec_exec_read_view(from->exec, &source[i], buffer, &error), &error);
        double sum = 0;
        for (int64_t k = 0; k < from->size[p]; k++) sum += fabs(buffer[k]);
        assert_true(sum > 0);
        must(mmrec_exec_write_view(to->exec, &target[i], buffer, &error), &error);
    }
}

static void check_resume(const mmrec_backend *backend) {
    static double want[ALL], all[ALL];
    mmrec_optimizer_config c = mmrec_optimizer_config_default();
    mmrec_error error = {0};
    mmrec_optimizer_progress progress = {0};
    store a, b;
    store_start(&a, backend, &c);
    store_start(&b, backend, &c);
    for (int step = 1; step <= 3; step++) {
        write_gradients(&a, step);
        step_with(&a, 1e-2);
    }
    must(mmrec_optimizer_progress_of(a.optimizer, &progress, &error), &error);
    assert_int_equal(progress.step, 3);
    assert_true(fabs(progress.power1 - pow(0.9, 3)) <= 1e-15 && fabs(progress.power2 - pow(0.95, 3)) <= 1e-15);
    for (int p = 0; p < TENSORS; p++) carry_over(&a, &b, p);
    must(mmrec_optimizer_resume(b.optimizer, &progress, &error), &error);
    for (int step = 4; step <= 6; step++) {
        write_gradients(&a, step);
        write_gradients(&b, step);
        mmrec_optimizer_report x = step_with(&a, 5e-3), y = step_with(&b, 5e-3);
        assert_true(x.step == step && y.step == step && x.gradient_norm == y.gradient_norm);
        read_all(&a, want);
        read_all(&b, all);
        assert_memory_equal(want, all, sizeof all);
    }
    store_end(&a);
    store_end(&b);
}

static void test_resume(void **state) {
    (void)state;
    on_each(check_resume);
}

static void test_refusals(void **state) {
    (void)state;
    mmrec_optimizer_config c = mmrec_optimizer_config_default();
    const mmrec_optimizer_progress bad[] = {{-1, 1, 1}, {1, -0.1, 1}, {1, 0.5, 1.5}, {1, NAN, 0.5}};
    mmrec_view moments[2];
    store s;
    store_start(&s, backend_named("cpu"), &c);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmrec_error error = {0};
        assert_int_equal(mmrec_optimizer_resume(s.optimizer, &bad[i], &error), MMREC_CONFIG);
        assert_non_null(strstr(error.message, "cannot go on from step"));
    }
    mmrec_error error = {0};
    mmrec_tensor gradient = mmrec_graph_gradient(s.graph, s.param[0]);
    assert_int_equal(mmrec_optimizer_moments(s.optimizer, gradient, moments, &error), MMREC_INTERNAL);
    assert_int_equal(mmrec_optimizer_moments(s.optimizer, 0, moments, &error), MMREC_INTERNAL);
    store_end(&s);
}

/* Rows with gaps between them are read and written without what lies in the gaps; ids are read and not written. */
static void check_views(const mmrec_backend *backend) {
    mmrec_optimizer_config c = mmrec_optimizer_config_default();
    mmrec_error error = {0};
    double some[6], all[4097];
    store s;
    store_start(&s, backend, &c);
    mmrec_view view = mmrec_exec_view(s.exec, s.param[4]); /* 17 rows of 241 */
    view.shape = mmrec_shape2(3, 2);
    must(mmrec_exec_read_view(s.exec, &view, some, &error), &error);
    must(mmrec_exec_read(s.exec, s.param[4], all, 4097, &error), &error);
    for (int i = 0; i < 6; i++) assert_true(some[i] == all[i / 2 * 241 + i % 2]);
    for (int i = 0; i < 6; i++) some[i] = 100 + i;
    must(mmrec_exec_write_view(s.exec, &view, some, &error), &error);
    for (int i = 0; i < 6; i++) all[i / 2 * 241 + i % 2] = 100 + i;
    must(mmrec_exec_read(s.exec, s.param[4], buffer, 4097, &error), &error);
    assert_memory_equal(buffer, all, sizeof all);
    view.dtype = MMREC_I32;
    assert_int_equal(mmrec_exec_write_view(s.exec, &view, some, &error), MMREC_SHAPE);
    store_end(&s);
}

static void test_views(void **state) {
    (void)state;
    on_each(check_views);
}

/* The gradients of all parameters lie within the row that is said to hold them. */
static void test_gradients(void **state) {
    (void)state;
    mmrec_optimizer_config c = mmrec_optimizer_config_default();
    store s;
    store_start(&s, backend_named("cpu"), &c);
    mmrec_view row = mmrec_exec_gradients(s.exec);
    const char *first = row.data, *end = first + mmrec_shape_elements(&row.shape) * 4;
    assert_int_equal(row.dtype, MMREC_F32);
    for (int p = 0; p < TENSORS; p++) {
        const char *at = mmrec_exec_view(s.exec, mmrec_graph_gradient(s.graph, s.param[p])).data;
        assert_true(at >= first && at + s.size[p] * 4 <= end);
    }
    store_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_resume), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_views), cmocka_unit_test(test_gradients)};
    int failed = cmocka_run_group_tests_name("optimizer_resume", tests, NULL, NULL);
    mmrec_backend_close();
    return failed;
}
