/* The models that MM-Rec is compared with: parameters, FLOPs, initial values, and what they refuse. What they compute
 * and its gradients: test_baselines_run.c, and the fixtures. */
#include "baseline_checks.h"

static const mmrec_model_kind kinds[] = {MMREC_MODEL_lstm, MMREC_MODEL_gru, MMREC_MODEL_encoder, MMREC_MODEL_gpt,
                                         MMREC_MODEL_mlp};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- parameters ---- */

/* The published counts. */
static void test_parameter_counts(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config;
        int64_t count;
    } published[] = {
        {MMREC_MODEL_lstm, "", 99328},
        {MMREC_MODEL_gru, "", 74496},
        {MMREC_MODEL_lstm, "inputs=784 hidden=128 layers=2 outputs=10", 601354},
        {MMREC_MODEL_gru, "inputs=784 hidden=128 layers=2 outputs=10", 451338},
        {MMREC_MODEL_lstm, "inputs=3072 hidden=128 layers=2 outputs=10", 1772810},
        {MMREC_MODEL_gru, "inputs=3072 hidden=128 layers=2 outputs=10", 1329930},
        {MMREC_MODEL_lstm, "vocab=100 hidden=128 layers=2 outputs=100", 289892},
        {MMREC_MODEL_gru, "vocab=100 hidden=128 layers=2 outputs=100", 223844},
        {MMREC_MODEL_lstm, "vocab=10000 hidden=128 layers=2 outputs=2", 1544450},
        {MMREC_MODEL_gru, "vocab=10000 hidden=128 layers=2 outputs=2", 1478402},
        {MMREC_MODEL_encoder, "", 562304},
        {MMREC_MODEL_encoder, "dim=128 inputs=784 positions=1000 outputs=10", 1415818},
        {MMREC_MODEL_encoder, "dim=128 inputs=3072 positions=1000 outputs=10", 1708682},
        {MMREC_MODEL_encoder, "dim=128 vocab=100 positions=1000 outputs=100", 1339748},
        {MMREC_MODEL_encoder, "dim=128 vocab=10000 positions=1000 outputs=2", 2594306},
        {MMREC_MODEL_gpt, "", 842496},
        {MMREC_MODEL_gpt, "vocab=50257 dim=768 layers=12 heads=12 context=1024", 124439808},
        {MMREC_MODEL_mlp, "", 3009},
    };
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        assert_param_count(published[i].kind, published[i].config, published[i].count);
    }
}

static void test_parameters_of_runs(void **state) {
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        mmrec_model_run run = {.batch = 1, .time = 2}, other = {.batch = 3, .time = 4, .gradient = true};
        const char *config = kinds[i] == MMREC_MODEL_gpt || kinds[i] == MMREC_MODEL_mlp ? "" : "outputs=3";
        assert_same_params(kinds[i], config, &run, &other);
    }
}

/* Every model can be differentiated and planned for a device, whatever it stores. */
static void test_storage(void **state) {
    (void)state;
    static const mmrec_dtype storages[] = {MMREC_F32, MMREC_BF16};
    for (int i = 0; i < 2 * KINDS; i++) {
        mmrec_model_kind kind = kinds[i / 2];
        const char *config = kind == MMREC_MODEL_gpt || kind == MMREC_MODEL_mlp ? "" : "outputs=3 dropout=0.1";
        mmrec_model_run run = {.batch = 2, .time = 3, .gradient = true, .input_gradient = true};
        mmrec_plan_options no_options = {0};
        mmrec_any_config c;
        mmrec_error error = {0};
        rig r = {0};
        configure(kind, config, &c);
        must(mmrec_graph_create(&r.allocator, storages[i % 2], MMREC_ON_DEVICE, &r.graph, &error), &error);
        must(mmrec_model_build(kind, &c, &run, r.graph, &error), &error);
        must(mmrec_plan_create(&r.allocator, r.graph, no_options, &r.plan, &error), &error);
        must(mmrec_plan_check(r.plan, &error), &error);
        rig_end(&r);
    }
}

/* ---- FLOPs ---- */

/* Multiply-adds of the matrix products of a node, times 2, from its sizes. Of attention: all pairs that are computed.
 */
static double products(const mmrec_node_info *node) {
    const mmrec_op_sizes *s = node->sizes;
    double steps = (double)MMREC_SIZE(s, B) * (double)MMREC_SIZE(s, T), hidden = (double)MMREC_SIZE(s, H);
    double width = (double)MMREC_SIZE(s, D), keys = (double)MMREC_SIZE(s, M);
    switch (node->op) {
    case MMREC_OP_linear:
        return 2 * (double)mmrec_shape_rows(&s->in[0]) * width * (double)MMREC_SIZE(s, F);
    case MMREC_OP_lstm:
        return 2 * steps * 4 * hidden * (width + hidden);
    case MMREC_OP_gru:
        return 2 * steps * 3 * hidden * (width + hidden);
    case MMREC_OP_attention: /* attribute 1: causal */
        return 4 * steps * (s->attr[1] == 0 ? keys : (keys + 1) / 2) * width;
    default:
        return 0;
    }
}

/* What a node computes besides: a bias or less for each result of a product, a score's softmax, some 20 for each
 * element of a gate or a norm. That bounds what the formula of an op may have beside its products. */
static double most_besides(const mmrec_node_info *node) {
    const mmrec_op_sizes *s = node->sizes;
    double elements = (double)mmrec_shape_elements(&s->out[0]);
    if (node->op == MMREC_OP_linear) return elements;
    if (node->op != MMREC_OP_attention) return 20 * elements;
    double rows = (double)MMREC_SIZE(s, B) * (double)MMREC_SIZE(s, H) * (double)MMREC_SIZE(s, T);
    return 4 * rows * (double)MMREC_SIZE(s, M) + 2 * elements;
}

/* Products of the forward phase. Nodes and graph must agree on their sum, and no node may hide or miss a product. */
static double forward_products(const rig *r) {
    double sum = 0, all = 0;
    for (int i = 0; i < mmrec_graph_node_count(r->graph); i++) {
        mmrec_node_info node = mmrec_graph_node_info(r->graph, i);
        const mmrec_op_def *def = mmrec_op_get(node.op, MMREC_VARIANT_F64);
        double flops = mmrec_op_work(def, node.sizes, node.pass, node.storage).flops, part = products(&node);
        if (!(flops >= part && flops <= part + most_besides(&node))) {
            fail_msg("%s: %.0f FLOPs, %.0f of products and at most %.0f besides", def->name, flops, part,
                     most_besides(&node));
        }
        sum += part;
        all += flops;
    }
    assert_true(mmrec_graph_work(r->graph, MMREC_PHASE_FORWARD).flops == all);
    return sum;
}

/* The published totals of one sample, and the formulas behind them at other sizes. A recurrent layer is asked with a
 * state, as the product with a state of zeros is left out. A causal kernel computes T (T + 1) / 2 pairs, where the
 * published 4 T^2 D has T^2: 31,457,280 with the square. */
static void test_flops(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config;
        int64_t batch, time;
        bool carried;
        double products;
    } published[] = {
        {MMREC_MODEL_lstm, "", 1, 10, true, 1966080},
        {MMREC_MODEL_lstm, "", 3, 10, true, 3 * 1966080},
        {MMREC_MODEL_gru, "", 1, 10, true, 1474560},
        {MMREC_MODEL_lstm, "inputs=5 hidden=7 layers=2 outputs=3", 1, 6, true, 2 * 6 * 28 * (12 + 14) + 2 * 7 * 3},
        {MMREC_MODEL_encoder, "", 1, 10, false, 11192320},
        {MMREC_MODEL_encoder, "dim=16 heads=2 ffn=48 layers=1 inputs=10 outputs=5", 1, 9, false,
         2 * 9 * 10 * 16 + 8 * 9 * 256 + 4 * 81 * 16 + 4 * 9 * 16 * 48 + 2 * 16 * 5},
        {MMREC_MODEL_gpt, "", 1, 16, false,
         4 * (8. * 16 * 128 * 128 + 4. * 16 * 17 / 2 * 128 + 16. * 16 * 128 * 128) + 2. * 16 * 128 * 256},
        {MMREC_MODEL_mlp, "", 1, 1, false, 5792},
        {MMREC_MODEL_mlp, "", 10, 1, false, 57920},
    };
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        mmrec_model_run run = {.batch = published[i].batch, .time = published[i].time, .carried = published[i].carried};
        rig r;
        graph_start(&r, published[i].kind, published[i].config, &run);
        double found = forward_products(&r);
        if (!(found == published[i].products)) {
            fail_msg("%s %s: %.0f, published %.0f", mmrec_model_get(published[i].kind)->name, published[i].config,
                     found, published[i].products);
        }
        rig_end(&r);
    }
}

/* ---- configurations ---- */

static void test_ranges(void **state) {
    (void)state;
    for (int i = 0; i < KINDS; i++) assert_ranges(kinds[i]);
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config, *message;
    } bad[] = {
        {MMREC_MODEL_lstm, "cell=gru", "cell is gru in a configuration of model lstm; give it to model gru"},
        {MMREC_MODEL_gru, "cell=lstm", "cell is lstm in a configuration of model gru; give it to model lstm"},
        {MMREC_MODEL_gru, "head=all", "head is all, but outputs is 0: there is no head; set outputs to at least 1"},
        {MMREC_MODEL_encoder, "inputs=3 vocab=5",
         "inputs is 3 and vocab is 5: x or ids, not both; set one of them to 0"},
        {MMREC_MODEL_encoder, "heads=5", "heads (5) must divide dim (64)"},
        {MMREC_MODEL_gpt, "heads=3", "heads (3) must divide dim (128)"},
        {MMREC_MODEL_mlp, "loss=cross-entropy",
         "outputs is 1, but loss is cross-entropy, which needs at least 2 classes"},
        {MMREC_MODEL_mlp, "hidden=4,0", "hidden is 0; it must be from 1 to 268435456"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmrec_any_config config;
        configure(bad[i].kind, bad[i].config, &config);
        assert_refused(bad[i].kind, &config, bad[i].message);
    }
}

static void test_run_refusals(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config;
        mmrec_model_run run;
        const char *message;
    } bad[] = {
        {MMREC_MODEL_gpt, "", {.carried = true}, "model gpt has no state that could be carried; run it without"},
        {MMREC_MODEL_encoder,
         "",
         {.carried = true},
         "model encoder has no state that could be carried; run it without"},
        {MMREC_MODEL_mlp, "", {.carried = true}, "model mlp has no state that could be carried; run it without"},
        {MMREC_MODEL_lstm, "", {.masked = true}, "model lstm has no input that hides tokens (masked); run it without"},
        {MMREC_MODEL_gpt,
         "",
         {.gradient = true, .seeded = true},
         "model gpt has no seeded gradients, only those of its loss; run it without"},
        {MMREC_MODEL_mlp,
         "",
         {.gradient = true, .seeded = true},
         "model mlp has no seeded gradients, only those of its loss; run it without"},
        {MMREC_MODEL_gru, "", {.growth = true}, "model gru has no multipliers of h (growth); run it without"},
        {MMREC_MODEL_gru, "", {.state_gradient = true}, "model gru has no gradients of carried memory; run it without"},
        {MMREC_MODEL_gpt,
         "",
         {.gradient = true, .part = MMREC_LOSS_AUX},
         "model gpt has no loss of several parts; run it without"},
        {MMREC_MODEL_lstm,
         "outputs=3",
         {.loss = true, .gradient = true, .seeded = true},
         "gradients of model lstm are to start from seeds and from a loss; choose one of them"},
        {MMREC_MODEL_lstm,
         "",
         {.loss = true},
         "model lstm has no loss; to have one set outputs, the classes of its head"},
        {MMREC_MODEL_encoder,
         "",
         {.gradient = true},
         "model encoder has no loss that gradients could start from; to have one set outputs, the classes of its head"},
        {MMREC_MODEL_gpt,
         "context=7",
         {.time = 8},
         "time is 8, but model gpt has 7 positions (context); give it a larger context or shorter sequences"},
        {MMREC_MODEL_encoder,
         "positions=7",
         {.time = 8},
         "time is 8, but model encoder has 7 positions; give it more positions, none (0), or shorter sequences"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmrec_model_run run = bad[i].run;
        run.batch = 1;
        if (run.time == 0) run.time = 2;
        assert_run_refused(bad[i].kind, bad[i].config, &run, bad[i].message);
    }
}

/* The largest time that is not refused. */
static void test_all_positions(void **state) {
    (void)state;
    mmrec_model_run run = {.batch = 2, .time = 7};
    rig r;
    graph_start(&r, MMREC_MODEL_gpt, "context=7", &run);
    rig_end(&r);
    graph_start(&r, MMREC_MODEL_encoder, "positions=7", &run);
    rig_end(&r);
}

/* The field that sizes a model takes along what follows from it, and other fields nothing. */
static void test_scale(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config;
        int64_t width;
        const char *key, *wanted;
    } cases[] = {
        {MMREC_MODEL_lstm, "inputs=9", 50, "inputs", "9"},
        {MMREC_MODEL_gru, "vocab=7", 50, "inputs", "50"},
        {MMREC_MODEL_gru, "vocab=7", 50, "hidden", "50"},
        {MMREC_MODEL_encoder, "", 30, "heads", "3"},
        {MMREC_MODEL_encoder, "", 30, "ffn", "2048"},
        {MMREC_MODEL_gpt, "", 7, "heads", "1"},
        {MMREC_MODEL_gpt, "", 96, "heads", "4"},
        {MMREC_MODEL_mlp, "", 128, "hidden", "128,64,32"},
        {MMREC_MODEL_mlp, "", 3, "hidden", "3,2,1"},
        {MMREC_MODEL_mlp, "hidden=8,4", 1, "hidden", "1,1"},
        {MMREC_MODEL_mlp, "hidden=none", 9, "hidden", "none"},
        {MMREC_MODEL_mlp, "hidden=2,1000000", MMREC_WIDTHS << 20, "hidden", "8388608,268435456"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmrec_any_config config;
        configure(cases[i].kind, cases[i].config, &config);
        mmrec_model_get(cases[i].kind)->scale(&config, cases[i].width);
        assert_int_equal(mmrec_model_check(cases[i].kind, &config, NULL), MMREC_OK);
        assert_field(cases[i].kind, &config, cases[i].key, cases[i].wanted);
    }
}

/* Text in, text out; widths are set as they are given. */
static void test_widths(void **state) {
    (void)state;
    static const char *const texts[] = {"7", "16,32,64", "1,2,3,4,5,6,7,8", "none"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mmrec_any_config config;
        char setting[64];
        snprintf(setting, sizeof setting, "hidden=%s", texts[i]);
        configure(MMREC_MODEL_mlp, setting, &config);
        assert_field(MMREC_MODEL_mlp, &config, "hidden", texts[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameter_counts),
        cmocka_unit_test(test_parameters_of_runs),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_flops),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_run_refusals),
        cmocka_unit_test(test_all_positions),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
