/* What a run of a model may ask for besides: the growth of the state, gradients of one part of the loss, gradients of
 * carried memory. */
#include "model_ways.h"

/* ---- growth ---- */

static void write_all(rig *r, int layer, const char *name, const double *values, int64_t count) {
    char full[64];
    mmrec_error error = {0};
    snprintf(full, sizeof full, "blocks.%d.%s", layer, name);
    must(mmrec_exec_write(r->exec, mmrec_graph_find(r->graph, full), values, count, &error), &error);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* Where the weights that see a token are 0, gamma and m of a layer follow from three biases for each column. Writes
 * them and returns the largest multiplier of h. */
static double settle_gates(rig *r, int layer, int64_t dim) {
    static const double zero[2 * 12 * 12];
    double decay[12], context[12], gate[12], top = 0;
    for (int64_t i = 0; i < dim; i++) {
        decay[i] = mmrec_rng_normal(3, (uint64_t)(3 * layer), (uint64_t)i);
        context[i] = mmrec_rng_normal(3, (uint64_t)(3 * layer + 1), (uint64_t)i);
        gate[i] = mmrec_rng_normal(3, (uint64_t)(3 * layer + 2), (uint64_t)i);
        top = fmax(top, 1.1 * sigmoid(decay[i]) * sigmoid(context[i]) + 0.1 * (1 - sigmoid(gate[i])));
    }
    write_all(r, layer, "decay.out.weight", zero, dim * 5);
    write_all(r, layer, "context.out.weight", zero, dim * 5);
    write_all(r, layer, "mdi_gate.weight", zero, dim * 2 * dim);
    write_all(r, layer, "decay.out.bias", decay, dim);
    write_all(r, layer, "context.out.bias", context, dim);
    write_all(r, layer, "mdi_gate.bias", gate, dim);
    return top;
}

static void test_growth_is_the_largest_multiplier(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        mmrec_model_config c = small_config();
        mmrec_model_run run = {
            .batch = 2, .time = 7, .hem = true, .gradient = way > 0, .recompute = way > 1, .growth = true};
        mmrec_error error = {0};
        double expected[2], growth = 0;
        rig r;
        rig_start(&r, MMREC_MODEL_mmrec, &c, &run, NULL);
        must(fill_kind(&r, MMREC_TENSOR_PARAM, &error), &error);
        must(fill_kind(&r, MMREC_TENSOR_INPUT, &error), &error);
        for (int layer = 0; layer < 2; layer++) expected[layer] = settle_gates(&r, layer, c.dim);
        must(mmrec_exec_run(r.exec, MMREC_PHASE_FORWARD, &error), &error);
        if (run.gradient) must(mmrec_exec_run(r.exec, MMREC_PHASE_BACKWARD, &error), &error);
        for (int layer = 0; layer < 2; layer++) {
            char name[20];
            snprintf(name, sizeof name, "growth.%d", layer);
            read_named(&r, name, &growth, 1);
            if (!(fabs(growth - expected[layer]) <= 1e-14)) fail_msg("%s: %.17g, %.17g", name, growth, expected[layer]);
        }
        assert_true(expected[0] != expected[1]);
        rig_end(&r);
    }
}

/* Asking for it changes no other bit, and it is computed once, in the forward phase. */
static void test_growth_changes_nothing(void **state) {
    (void)state;
    for (int recompute = 0; recompute < 2; recompute++) {
        mmrec_model_run without = {.batch = 2, .time = 7, .hem = true, .gradient = true, .recompute = recompute};
        mmrec_model_run with = without;
        with.growth = true;
        compare_ways(MMREC_MODEL_block, without, with, 0);
        compare_ways(MMREC_MODEL_mmrec, without, with, 0);
        mmrec_model_config c = small_config();
        rig r;
        rig_start(&r, MMREC_MODEL_mmrec, &c, &with, NULL);
        assert_int_equal(count_nodes(&r, MMREC_OP_growth, MMREC_PHASE_FORWARD, 0), 2);
        assert_int_equal(count_nodes(&r, MMREC_OP_growth, MMREC_PHASE_BACKWARD, 0), 0);
        rig_end(&r);
    }
    mmrec_model_run keep = {.batch = 2, .time = 7, .gradient = true, .growth = true}, again = keep;
    again.recompute = true;
    compare_ways(MMREC_MODEL_block, keep, again, 0);
    compare_ways(MMREC_MODEL_mmrec, keep, again, 0);
}

/* A state that is not a number is not harmless. */
static void test_growth_of_nan(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    mmrec_model_run run = {.batch = 2, .time = 7, .growth = true};
    for (int single = 0; single < 2; single++) {
        mmrec_error error = {0};
        double growth[2], bias[12] = {0, 0, 0, 0, NAN};
        rig r;
        memset(&r, 0, sizeof r);
        must(rig_try_on(&r, single ? "cpu" : "ref", 1, MMREC_MODEL_mmrec, &c, &run, NULL, &error), &error);
        must(fill_kind(&r, MMREC_TENSOR_PARAM, &error), &error);
        must(fill_kind(&r, MMREC_TENSOR_INPUT, &error), &error);
        write_all(&r, 1, "mdi_gate.bias", bias, c.dim);
        must(mmrec_exec_run(r.exec, MMREC_PHASE_FORWARD, &error), &error);
        read_named(&r, "growth.0", &growth[0], 1);
        read_named(&r, "growth.1", &growth[1], 1);
        assert_true(growth[0] > 0 && growth[0] < 1.2);
        assert_true(isnan(growth[1]));
        rig_end(&r);
    }
}

/* ---- parts of the loss, carried memory ---- */

static void expect_config(mmrec_model_kind kind, const mmrec_model_config *c, mmrec_model_run run,
                          const char *message) {
    rig r = {0};
    mmrec_error error = {0};
    assert_int_equal(rig_try(&r, kind, c, &run, NULL, &error), MMREC_CONFIG);
    assert_string_equal(error.message, message);
    rig_end(&r);
}

static void test_part_refusals(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    mmrec_model_run run = {.batch = 1, .time = 2, .gradient = true, .part = MMREC_LOSS_AUX};
    expect_config(MMREC_MODEL_mmrec, &c, run,
                  "gradients of the auxiliary loss were asked for, but uboo off with 2 layers has none");
    c.uboo = MMREC_UBOO_DEEP;
    c.layers = 1;
    expect_config(MMREC_MODEL_mmrec, &c, run,
                  "gradients of the auxiliary loss were asked for, but uboo deep with 1 layer has none");
    run.part = (mmrec_loss_part)3;
    expect_config(MMREC_MODEL_mmrec, &c, run, "part is 3; it must be all (0), main (1) or aux (2)");
    run.part = MMREC_LOSS_MAIN;
    expect_config(MMREC_MODEL_block, &c, run,
                  "parts of a loss and gradients of carried memory are for model mmrec, not block");
    run = (mmrec_model_run){.batch = 1, .time = 2, .carried = true, .gradient = true, .state_gradient = true};
    expect_config(MMREC_MODEL_block, &c, run,
                  "parts of a loss and gradients of carried memory are for model mmrec, not block");
}

/* Gradient of a parameter into `to`; returns its elements. */
static int64_t read_gradient(rig *r, const char *name, double *to) {
    mmrec_error error = {0};
    mmrec_tensor t = mmrec_graph_find(r->graph, name);
    mmrec_shape shape = mmrec_graph_tensor_info(r->graph, t).shape;
    int64_t count = mmrec_shape_elements(&shape);
    must(mmrec_exec_read(r->exec, mmrec_graph_gradient(r->graph, t), to, count, &error), &error);
    return count;
}

/* Parameter by parameter: the gradients of the two parts are there and make up that of the loss. Returns the largest
 * gradient of the auxiliary part. */
static double assert_parts_add_up(rig r[3]) {
    static double all[MAX_VALUES], main[MAX_VALUES], aux[MAX_VALUES];
    double largest = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r[0].graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(r[0].graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        int64_t count = read_gradient(&r[MMREC_LOSS_ALL], info.name, all);
        read_gradient(&r[MMREC_LOSS_MAIN], info.name, main);
        read_gradient(&r[MMREC_LOSS_AUX], info.name, aux);
        for (int64_t i = 0; i < count; i++) {
            double off = fabs(main[i] + aux[i] - all[i]), size = fabs(main[i]) + fabs(aux[i]);
            if (!(off <= 1e-12 * (1 + size))) fail_msg("%s: %g + %g, %g", info.name, main[i], aux[i], all[i]);
            largest = fmax(largest, fabs(aux[i]));
        }
    }
    return largest;
}

static void test_parts_add_up(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        mmrec_model_config c = small_config();
        mmrec_error error = {0};
        rig r[3];
        c.uboo = i % 2 ? MMREC_UBOO_DEEP : MMREC_UBOO_PLANNING;
        c.layers = 3;
        for (int part = 0; part < 3; part++) {
            mmrec_model_run run = {.batch = 2, .time = 5, .hem = true, .gradient = true};
            run.recompute = i / 2 % 2;
            run.carried = i / 4 % 2;
            run.part = (mmrec_loss_part)part;
            rig_start(&r[part], MMREC_MODEL_mmrec, &c, &run, NULL);
            must(rig_step(&r[part], true, &error), &error);
        }
        assert_true(assert_parts_add_up(r) > 1e-3);
        for (int part = 0; part < 3; part++) rig_end(&r[part]);
    }
}

/* Carried memory moves by `step` along one random direction; returns direction * gradient, summed. */
static double move_memory(rig *r, double step) {
    double slope = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(r->graph, t);
        if (strncmp(info.name, "state.", 6) != 0 || !strstr(info.name, ".mem_")) continue;
        move_tensor(r, t, step, &slope);
    }
    return slope;
}

static double loss_with_memory_at(rig *r, double step) {
    mmrec_error error = {0};
    double loss = 0;
    must(fill_kind(r, MMREC_TENSOR_INPUT, &error), &error);
    move_memory(r, step);
    must(mmrec_exec_run(r->exec, MMREC_PHASE_FORWARD, &error), &error);
    read_named(r, "loss", &loss, 1);
    return loss;
}

static void test_memory_gradient_is_the_derivative(void **state) {
    (void)state;
    const double step = 1e-5;
    for (int recompute = 0; recompute < 2; recompute++) {
        mmrec_model_config c = small_config();
        mmrec_error error = {0};
        mmrec_model_run run = {.batch = 2, .time = 5, .hem = true, .carried = true, .gradient = true};
        rig r;
        run.state_gradient = true;
        run.recompute = recompute;
        rig_start(&r, MMREC_MODEL_mmrec, &c, &run, NULL);
        must(rig_step(&r, true, &error), &error);
        double slope = move_memory(&r, 0), above = loss_with_memory_at(&r, step),
               below = loss_with_memory_at(&r, -step);
        double numeric = (above - below) / (2 * step);
        assert_true(fabs(numeric) > 1e-4);
        if (!(fabs(slope - numeric) <= 1e-6 * fabs(numeric))) fail_msg("%.12g, %.12g", slope, numeric);
        assert_int_equal(mmrec_graph_gradient(r.graph, mmrec_graph_find(r.graph, "state.0.h")), 0);
        rig_end(&r);
    }
}

/* Asked for where there is no carried memory, nothing changes. */
static void test_memory_gradient_of_a_first_chunk(void **state) {
    (void)state;
    mmrec_model_run run = {.batch = 2, .time = 3, .gradient = true}, asked = run;
    asked.state_gradient = true;
    compare_ways(MMREC_MODEL_mmrec, run, asked, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth_is_the_largest_multiplier),
        cmocka_unit_test(test_growth_changes_nothing),
        cmocka_unit_test(test_growth_of_nan),
        cmocka_unit_test(test_part_refusals),
        cmocka_unit_test(test_parts_add_up),
        cmocka_unit_test(test_memory_gradient_is_the_derivative),
        cmocka_unit_test(test_memory_gradient_of_a_first_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
