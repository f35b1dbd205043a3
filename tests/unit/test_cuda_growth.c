/* The kernel of growth at values the harness does not draw: a NaN anywhere must come out. */
#include "cuda_rig.h"
#include "model_rig.h"

static const mmrec_backend *cuda;

/* A graph of the one node, on values that are 0.25 all over: 0.35. */
typedef struct single {
    rig r;
    mmrec_tensor in[2], out;
    int64_t count;
} single;

static void start(single *s, int64_t rows, int64_t columns) {
    mmrec_error error = {0};
    memset(s, 0, sizeof *s);
    must(mmrec_graph_create(&s->r.allocator, cuda->real, mmrec_backend_threads(cuda, 1), &s->r.graph, &error), &error);
    s->in[0] = mmrec_graph_input(s->r.graph, "gamma", MMREC_F32, mmrec_shape2(rows, columns));
    s->in[1] = mmrec_graph_input(s->r.graph, "m", MMREC_F32, mmrec_shape2(rows, columns));
    s->out = mmrec_graph_add(s->r.graph, MMREC_OP_growth, (mmrec_node_spec){.in = {s->in[0], s->in[1]}});
    mmrec_graph_keep(s->r.graph, s->out, "growth");
    must(mmrec_plan_create(&s->r.allocator, s->r.graph, (mmrec_plan_options){0}, &s->r.plan, &error), &error);
    must(mmrec_exec_create(&s->r.allocator, cuda, s->r.graph, s->r.plan, (mmrec_exec_options){0}, &s->r.exec, &error),
         &error);
    s->count = rows * columns;
}

/* Growth where element `at` of input `which` is `with`. */
static double growth_with(single *s, int which, int64_t at, double with) {
    static double values[MAX_VALUES];
    mmrec_error error = {0};
    double growth = 0;
    for (int i = 0; i < 2; i++) {
        for (int64_t k = 0; k < s->count; k++) values[k] = i == which && k == at ? with : 0.25;
        must(mmrec_exec_write(s->r.exec, s->in[i], values, s->count, &error), &error);
    }
    must(mmrec_exec_run(s->r.exec, MMREC_PHASE_FORWARD, &error), &error);
    read_named(&s->r, "growth", &growth, 1);
    return growth;
}

/* Places in the first and last lane, warp and block, in a whole piece and in a row's short end. */
static void what_is_not_a_number_is_kept(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{1, 1}, {1, 37}, {3, 1029}};
    for (int i = 0; i < 3; i++) {
        single s;
        start(&s, sizes[i][0], sizes[i][1]);
        const int64_t places[] = {0, 1, 31, 33, 127, 128, 1023, 1028, 1029, s.count - 1};
        for (int p = 0; p < 10; p++) {
            if (places[p] >= s.count) continue;
            assert_true(fabs(growth_with(&s, 0, places[p], 0.75) - 0.9) < 1e-6);
            assert_true(isnan(growth_with(&s, 0, places[p], p % 2 ? NAN : -NAN)));
            assert_true(isnan(growth_with(&s, 1, places[p], p % 2 ? -NAN : NAN)));
            assert_true(growth_with(&s, 0, places[p], INFINITY) == INFINITY);
        }
        rig_end(&s.r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_not_a_number_is_kept)};
    int skip = cuda_rig_open(&cuda);
    if (skip) return skip;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mmrec_backend_close();
    return failed;
}
