/* The ops of the content memory where norms are clamped: keys and rows shorter than 1e-12, and rows all zero. The
 * gradient of the reference is held to differences of its outputs, the other backends to the reference; the device
 * where there is one. */
#include "model_rig.h"

enum { BATCH = 2, SLOTS = 3, WIDTH = 4, INPUTS = 5, OUT = BATCH * SLOTS * WIDTH, STATES = SLOTS * WIDTH };
enum { KEY, STRENGTH, ERASE, ADD, MEMORY };

static const char *const names[INPUTS] = {"key", "strength", "erase", "add", "memory"};
static const int64_t counts[INPUTS] = {BATCH * WIDTH, BATCH, BATCH *WIDTH, BATCH *WIDTH, STATES};

/* The first key and the second row are clamped, the last row is zero. */
static const double first_values[INPUTS][STATES] = {
    [KEY] = {3e-13, -1e-13, 2e-13, 4e-13, 0.5, -1, 0.25, 2},
    [STRENGTH] = {2.5, -0.5},
    [ERASE] = {0.5, -1, 0.25, 1.5, -0.75, 1, 0.5, -2},
    [ADD] = {-0.5, 1, 0.75, -0.25, 1.5, 0.5, -1, 0.25},
    [MEMORY] = {1, -0.5, 0.25, 2, 2e-13, 1e-13, -3e-13, 1e-13, 0, 0, 0, 0},
};

/* One node and its backward pass, on one memory for both samples. */
typedef struct node {
    rig r;
    mmrec_op_id op;
    mmrec_tensor in[INPUTS], dout;
    int64_t outputs;
    double value[INPUTS][STATES];
} node;

static mmrec_shape shape_of(int input) {
    if (input == MEMORY) return mmrec_shape2(SLOTS, WIDTH);
    return mmrec_shape2(BATCH, input == STRENGTH ? 1 : WIDTH);
}

static bool takes(const node *n, int input) {
    return n->op == MMREC_OP_memory_write || (input != ERASE && input != ADD);
}

static double dout_of(int64_t i) { return 0.25 * (double)(i % 5) - 0.375; }

static void open_node(node *n, const mmrec_backend *backend, mmrec_op_id op) {
    mmrec_error error = {0};
    mmrec_node_spec spec = {0};
    int used = 0;
    memset(n, 0, sizeof *n);
    n->op = op;
    n->outputs = op == MMREC_OP_memory_write ? OUT : BATCH * WIDTH;
    memcpy(n->value, first_values, sizeof first_values);
    must(mmrec_graph_create(&n->r.allocator, backend->real, mmrec_backend_threads(backend, 1), &n->r.graph, &error),
         &error);
    for (int i = 0; i < INPUTS; i++) {
        if (!takes(n, i)) continue;
        n->in[i] = mmrec_graph_param(n->r.graph, names[i], shape_of(i));
        spec.in[used++] = n->in[i];
    }
    mmrec_tensor out = mmrec_graph_add(n->r.graph, op, spec);
    mmrec_graph_keep(n->r.graph, out, "out");
    n->dout = mmrec_graph_input(n->r.graph, "dout", MMREC_F32, mmrec_graph_tensor_info(n->r.graph, out).shape);
    const mmrec_seed seed = {.tensor = out, .gradient = n->dout};
    must(mmrec_graph_differentiate(n->r.graph, &seed, 1, NULL, 0, false, &error), &error);
    must(mmrec_plan_create(&n->r.allocator, n->r.graph, (mmrec_plan_options){0}, &n->r.plan, &error), &error);
    must(
        mmrec_exec_create(&n->r.allocator, backend, n->r.graph, n->r.plan, (mmrec_exec_options){0}, &n->r.exec, &error),
        &error);
}

/* Runs both passes on n->value; returns sum(dout out). */
static double run(node *n, double *out) {
    mmrec_error error = {0};
    double dout[OUT], sum = 0;
    for (int64_t i = 0; i < n->outputs; i++) dout[i] = dout_of(i);
    must(mmrec_exec_write(n->r.exec, n->dout, dout, n->outputs, &error), &error);
    for (int i = 0; i < INPUTS; i++) {
        if (takes(n, i)) must(mmrec_exec_write(n->r.exec, n->in[i], n->value[i], counts[i], &error), &error);
    }
    must(mmrec_exec_run(n->r.exec, MMREC_PHASE_FORWARD, &error), &error);
    must(mmrec_exec_run(n->r.exec, MMREC_PHASE_BACKWARD, &error), &error);
    read_named(&n->r, "out", out, n->outputs);
    for (int64_t i = 0; i < n->outputs; i++) sum += dout[i] * out[i];
    return sum;
}

static void read_gradient(node *n, int input, double *values) {
    mmrec_error error = {0};
    mmrec_tensor gradient = mmrec_graph_gradient(n->r.graph, n->in[input]);
    must(mmrec_exec_read(n->r.exec, gradient, values, counts[input], &error), &error);
}

/* Of rows that are clamped the gradient is some 1e12, of others some 1: each sample or row is a scale of its own. */
static void expect_rows(const char *what, int input, const double *got, const double *want, double tolerance) {
    int64_t width = input == STRENGTH ? 1 : WIDTH;
    for (int64_t row = 0; row < counts[input] / width; row++) {
        mmrec_difference d = mmrec_compare(got + row * width, want + row * width, width);
        if (!mmrec_difference_within(&d, tolerance, 1e-2))
            fail_msg("%s: gradient of %s, row %d, is off by %g", what, names[input], (int)row, d.max_rel);
    }
}

/* How far an element is moved: a thousandth of what its row's norm is taken to be. A row of zeros stays as it is
 * clamped. */
static double step_of(int input, int64_t i) {
    bool clamped = (input == KEY && i < WIDTH) || (input == MEMORY && i >= WIDTH);
    return clamped ? 1e-15 : 1e-4;
}

static void the_gradient_is_that_of_the_clamped_formula(void **state) {
    (void)state;
    static const mmrec_op_id ops[] = {MMREC_OP_memory_read, MMREC_OP_memory_write};
    for (int o = 0; o < 2; o++) {
        node n;
        double out[OUT], got[STATES], want[STATES];
        open_node(&n, backend_named("ref"), ops[o]);
        for (int input = 0; input < INPUTS; input++) {
            for (int64_t i = 0; takes(&n, input) && i < counts[input]; i++) {
                double at = n.value[input][i], step = step_of(input, i);
                n.value[input][i] = at + step;
                double above = run(&n, out);
                n.value[input][i] = at - step;
                want[i] = (above - run(&n, out)) / (2 * step);
                n.value[input][i] = at;
            }
            if (!takes(&n, input)) continue;
            run(&n, out);
            read_gradient(&n, input, got);
            expect_rows("ref", input, got, want, 1e-5);
        }
        rig_end(&n.r);
    }
}

static void expect_backend(const mmrec_backend *backend, mmrec_op_id op) {
    node ref, n;
    double out[OUT], want_out[OUT], got[STATES], want[STATES];
    open_node(&ref, backend_named("ref"), op);
    open_node(&n, backend, op);
    run(&ref, want_out);
    run(&n, out);
    mmrec_difference d = mmrec_compare(out, want_out, n.outputs);
    if (!mmrec_difference_within(&d, 1e-6, 0)) fail_msg("%s: the output is off by %g", backend->name, d.max_rel);
    for (int input = 0; input < INPUTS; input++) {
        if (!takes(&n, input)) continue;
        read_gradient(&ref, input, want);
        read_gradient(&n, input, got);
        expect_rows(backend->name, input, got, want, 2e-5);
    }
    rig_end(&n.r);
    rig_end(&ref.r);
}

static void backends_agree_where_norms_are_clamped(void **state) {
    (void)state;
    const mmrec_backend *cuda = NULL;
    bool device = mmrec_backend_find("cuda", &cuda, NULL) == MMREC_OK;
    expect_backend(backend_named("cpu"), MMREC_OP_memory_read);
    expect_backend(backend_named("cpu"), MMREC_OP_memory_write);
    if (!device) return;
    expect_backend(cuda, MMREC_OP_memory_read);
    expect_backend(cuda, MMREC_OP_memory_write);
    mmrec_backend_close();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_is_that_of_the_clamped_formula),
        cmocka_unit_test(backends_agree_where_norms_are_clamped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
