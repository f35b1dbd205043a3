/* The Neural State Machines as they are built: parameters, FLOPs, initial values, and what they refuse. What they
 * compute: test_nsm_run.c, and the fixtures. */
#include "baseline_checks.h"

/* ---- parameters ---- */

/* The published counts. */
static void test_parameter_counts(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config;
        int64_t count;
    } published[] = {
        {MMREC_MODEL_nsm_simple, "", 288010},
        {MMREC_MODEL_nsm_simple, "gate=lstm", 320906},
        {MMREC_MODEL_nsm_simple, "sequence=last", 288010},
        {MMREC_MODEL_nsm_simple, "states=8", 276746},
        {MMREC_MODEL_nsm_simple, "states=32", 310538},
        {MMREC_MODEL_nsm_simple, "states=64", 355594},
        {MMREC_MODEL_nsm_simple, "dim=64 states=8", 97418},
        {MMREC_MODEL_nsm_simple, "dim=256 states=32 gate=lstm", 1080074},
        {MMREC_MODEL_nsm_simple, "inputs=64 dim=32 states=8", 15434},
        {MMREC_MODEL_nsm_simple, "dim=64", 103050},
        {MMREC_MODEL_nsm_simple, "inputs=3072 dim=64", 249482},
        {MMREC_MODEL_nsm_advanced, "", 2079580},
        {MMREC_MODEL_nsm_advanced, "variant=repaired", 2082140},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE, 524748},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE "variant=repaired", 525260},
        {MMREC_MODEL_nsm_sequential, "", 1102668},
        {MMREC_MODEL_nsm_sequential, "variant=repaired", 1103692},
        {MMREC_MODEL_nsm_router, "", 18592},
        {MMREC_MODEL_nsm_layer, "", 74496},
        {MMREC_MODEL_nsm_states, "", 8256},
    };
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        assert_param_count(published[i].kind, published[i].config, published[i].count);
    }
}

/* The published parts of AdvancedHybrid at the sizes of the suite, and of SequentialHybrid: parameters by how their
 * names begin. */
static void test_parts(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config, *begin;
        int64_t count;
    } parts[] = {
        {MMREC_MODEL_nsm_advanced, NSM_SUITE, "input", 401920},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE, "position", 512},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE, "norm", 384},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE, "attention.", 16640},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE, "conv.", 25536},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE, "memory.", 4290},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE "variant=repaired", "memory.", 4290 + 512},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE, "rnn.", 37376 + 33280 + 4160},
        {MMREC_MODEL_nsm_advanced, NSM_SUITE, "head", 650},
        {MMREC_MODEL_nsm_sequential, "", "input", 803840},
        {MMREC_MODEL_nsm_sequential, "", "position", 1024},
        {MMREC_MODEL_nsm_sequential, "", "norm", 0},
        {MMREC_MODEL_nsm_sequential, "", "attention.", 66048},
        {MMREC_MODEL_nsm_sequential, "", "conv.", 100224},
        {MMREC_MODEL_nsm_sequential, "", "memory.", 8514},
        {MMREC_MODEL_nsm_sequential, "", "rnn.", 105216 + 16512},
        {MMREC_MODEL_nsm_sequential, "", "head", 1290},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        mmrec_model_run run = {.batch = 1, .time = 1};
        int64_t count = 0;
        rig r;
        graph_start(&r, parts[i].kind, parts[i].config, &run);
        for (mmrec_tensor t = next_param(&r, 0); t; t = next_param(&r, t)) {
            if (starts(mmrec_graph_tensor_info(r.graph, t).name, parts[i].begin)) count += elements_of(&r, t);
        }
        assert_int_equal(count, parts[i].count);
        rig_end(&r);
    }
}

/* What a parameter begins with. Weights of shape (out, in): usual uniform in 1 / sqrt(in), X in sqrt(6 / (in + out)).
 */
static void test_initial_values(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config, *name;
        mmrec_initial_kind drawn;
        double mean, square; /* of the spread */
    } cases[] = {
        {MMREC_MODEL_nsm_simple, "", "input.weight", MMREC_INITIAL_UNIFORM, 0, 1. / 784},
        {MMREC_MODEL_nsm_simple, "", "input.bias", MMREC_INITIAL_UNIFORM, 0, 1. / 784},
        {MMREC_MODEL_nsm_simple, "", "initial", MMREC_INITIAL_NORMAL, 0, 1},
        {MMREC_MODEL_nsm_simple, "sequence=all", "initial", MMREC_INITIAL_NORMAL, 0, 0.01},
        {MMREC_MODEL_nsm_simple, "", "gate.reset.weight", MMREC_INITIAL_UNIFORM, 0, 1. / 256},
        {MMREC_MODEL_nsm_simple, "", "gate.candidate.weight", MMREC_INITIAL_UNIFORM, 0, 1. / 256},
        {MMREC_MODEL_nsm_simple, "gate=lstm", "gate.forget.bias", MMREC_INITIAL_UNIFORM, 0, 1. / 256},
        {MMREC_MODEL_nsm_simple, "", "attention.qkv.weight", MMREC_INITIAL_UNIFORM, 0, 6. / 512},
        {MMREC_MODEL_nsm_simple, "", "attention.out.weight", MMREC_INITIAL_UNIFORM, 0, 1. / 128},
        {MMREC_MODEL_nsm_simple, "", "attention.out.bias", MMREC_INITIAL_CONSTANT, 0, 0},
        {MMREC_MODEL_nsm_simple, "", "norm.weight", MMREC_INITIAL_CONSTANT, 1, 0},
        {MMREC_MODEL_nsm_simple, "", "head.weight", MMREC_INITIAL_UNIFORM, 0, 1. / 2048},
        {MMREC_MODEL_nsm_advanced, "", "input.weight", MMREC_INITIAL_UNIFORM, 0, 6. / (784 + 2048)},
        {MMREC_MODEL_nsm_advanced, "", "position", MMREC_INITIAL_NORMAL, 0, 1},
        {MMREC_MODEL_nsm_advanced, "", "norm3.weight", MMREC_INITIAL_CONSTANT, 1, 0},
        {MMREC_MODEL_nsm_advanced, "", "attention.v.weight", MMREC_INITIAL_UNIFORM, 0, 6. / 256},
        {MMREC_MODEL_nsm_advanced, "", "attention.v.bias", MMREC_INITIAL_CONSTANT, 0, 0},
        {MMREC_MODEL_nsm_advanced, "", "conv.kernel.weight", MMREC_INITIAL_UNIFORM, 0, 6. / (4 + 1024)},
        {MMREC_MODEL_nsm_advanced, "", "conv.kernel.bias", MMREC_INITIAL_CONSTANT, 0, 0},
        {MMREC_MODEL_nsm_advanced, "", "memory.add.weight", MMREC_INITIAL_UNIFORM, 0, 6. / (128 + 20)},
        {MMREC_MODEL_nsm_advanced, "", "memory.read_strength.weight", MMREC_INITIAL_UNIFORM, 0, 6. / 129},
        {MMREC_MODEL_nsm_advanced, "variant=repaired", "memory.rows", MMREC_INITIAL_NORMAL, 0, 0.01},
        {MMREC_MODEL_nsm_advanced, "", "rnn.weight_ih_l0", MMREC_INITIAL_UNIFORM, 0, 6. / (512 + 148)},
        {MMREC_MODEL_nsm_advanced, "", "rnn.weight_ih_l1", MMREC_INITIAL_UNIFORM, 0, 6. / (512 + 128)},
        {MMREC_MODEL_nsm_sequential, "", "rnn.weight_hh_l0", MMREC_INITIAL_UNIFORM, 0, 6. / (384 + 128)},
        {MMREC_MODEL_nsm_sequential, "", "rnn.bias_ih_l0", MMREC_INITIAL_CONSTANT, 0, 0},
        {MMREC_MODEL_nsm_sequential, "", "rnn.out.weight", MMREC_INITIAL_UNIFORM, 0, 6. / 256},
        {MMREC_MODEL_nsm_router, "", "router.weight", MMREC_INITIAL_UNIFORM, 0, 1. / 64},
        {MMREC_MODEL_nsm_layer, "", "update.bias", MMREC_INITIAL_UNIFORM, 0, 1. / 256},
        {MMREC_MODEL_nsm_states, "", "states", MMREC_INITIAL_NORMAL, 0, 0.01},
        {MMREC_MODEL_nsm_states, "", "importance", MMREC_INITIAL_UNIFORM, 0.75, 0.0625},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmrec_model_run run = {.batch = 1, .time = 1};
        rig r;
        graph_start(&r, cases[i].kind, cases[i].config, &run);
        mmrec_tensor t = mmrec_graph_find(r.graph, cases[i].name);
        if (!t) fail_msg("no %s", cases[i].name);
        mmrec_initial found = mmrec_graph_tensor_info(r.graph, t).initial;
        bool same = found.kind == cases[i].drawn && found.mean == cases[i].mean &&
                    fabs(found.spread * found.spread - cases[i].square) <= 1e-15;
        if (!same) fail_msg("%s: %d, %g, %g", cases[i].name, (int)found.kind, found.mean, found.spread);
        rig_end(&r);
    }
}

/* ---- FLOPs ---- */

/* Multiply-adds of the matrix products and convolutions of a node, times 2, from its sizes. */
static double products(const mmrec_node_info *node) {
    const mmrec_op_sizes *s = node->sizes;
    double batch = (double)MMREC_SIZE(s, B), steps = (double)MMREC_SIZE(s, T), width = (double)MMREC_SIZE(s, D);
    double hidden = (double)MMREC_SIZE(s, H), given = (double)MMREC_SIZE(s, X), taps = (double)MMREC_SIZE(s, K);
    double slots = batch * (double)MMREC_SIZE(s, N);
    switch (node->op) {
    case MMREC_OP_linear:
        return 2 * (double)mmrec_shape_rows(&s->in[0]) * width * (double)MMREC_SIZE(s, F);
    case MMREC_OP_attention:
        return 4 * batch * steps * (double)MMREC_SIZE(s, M) * width;
    case MMREC_OP_lstm: /* from a state of zeros */
    case MMREC_OP_gru:
        return 2 * (node->op == MMREC_OP_lstm ? 4 : 3) * batch * hidden * (given * width + (steps - 1) * hidden);
    case MMREC_OP_conv_gate: /* taps that meet zeros are left out */
        return 2 * batch * (double)MMREC_SIZE(s, W) * taps * (steps - (taps - 1) / 2);
    case MMREC_OP_memory_read: /* similarities and the sum */
        return 4 * slots * (double)MMREC_SIZE(s, M);
    case MMREC_OP_memory_write: /* similarities, erase, add */
    case MMREC_OP_memory_write_shared:
        return 6 * slots * (double)MMREC_SIZE(s, M);
    case MMREC_OP_route:
        return 2 * slots * (double)MMREC_SIZE(s, S) * fmin((double)MMREC_SIZE(s, Q), width);
    default:
        return 0;
    }
}

/* Products of the forward phase; their nodes count at least these. */
static double forward_products(const rig *r) {
    double sum = 0;
    for (int i = 0; i < mmrec_graph_node_count(r->graph); i++) {
        mmrec_node_info node = mmrec_graph_node_info(r->graph, i);
        const mmrec_op_def *def = mmrec_op_get(node.op, MMREC_VARIANT_F64);
        double flops = mmrec_op_work(def, node.sizes, node.pass, node.storage).flops, part = products(&node);
        if (node.phase == MMREC_PHASE_FORWARD) sum += part;
        if (!(flops >= part)) fail_msg("%s: %.0f FLOPs, but %.0f of products", def->name, flops, part);
    }
    double all = mmrec_graph_work(r->graph, MMREC_PHASE_FORWARD).flops;
    /* What is not a product: near 3 % at the published sizes. */
    assert_true(all >= sum && all <= 1.08 * sum);
    assert_true(mmrec_graph_work(r->graph, MMREC_PHASE_REFRESH).flops == 0);
    return sum;
}

static double executed(mmrec_model_kind kind, const char *config, mmrec_model_run run) {
    rig r;
    graph_start(&r, kind, config, &run);
    double sum = forward_products(&r);
    rig_end(&r);
    return sum;
}

/* 3.09 MFLOP a sample and 1.05 once a batch, of the published 5.62: the input half of every gate once for all 16 states
 * (15 of 16 products of 3 gates saved), the state half of two gates once for all samples. */
static void test_simple_flops(void **state) {
    (void)state;
    const double d2 = 128. * 128, published = 5615616, once = 2 * 2 * 16 * d2, later = published - 3 * 15 * 2 * d2;
    assert_true(once == 1048576 && later - once == 3092480);
    for (int batch = 1; batch <= 64; batch += 21) {
        mmrec_model_run run = {.batch = batch, .time = 1};
        assert_true(executed(MMREC_MODEL_nsm_simple, "", run) == once + batch * (later - once));
        /* States given for each sample, or left by the step before, are not shared. */
        run.carried = true;
        assert_true(executed(MMREC_MODEL_nsm_simple, "", run) == batch * later);
    }
    /* lstm: all four state halves meet the shared states. */
    const double lstm = published + 4 * 16 * d2 - 4 * 15 * 2 * d2, shared = 4 * 2 * 16 * d2;
    mmrec_model_run run = {.batch = 5, .time = 1};
    assert_true(executed(MMREC_MODEL_nsm_simple, "gate=lstm", run) == shared + 5 * (lstm - shared));
}

/* The head is applied once for `last`, and for `mean` too, to the mean of the states. */
static void test_sequence_flops(void **state) {
    (void)state;
    const double d2 = 128. * 128, once = 2 * 2 * 16 * d2, head = 2 * 16 * 128 * 10, step = 5615616 - 3 * 15 * 2 * d2;
    mmrec_model_run run = {.batch = 3, .time = 5};
    double states = 5 * (step - head) - once; /* of a sample */
    assert_true(executed(MMREC_MODEL_nsm_simple, "sequence=last", run) == once + 3 * (states + head));
    assert_true(executed(MMREC_MODEL_nsm_simple, "sequence=mean", run) == once + 3 * (states + head));
    assert_true(executed(MMREC_MODEL_nsm_simple, "sequence=all", run) == once + 3 * (states + 5 * head));
}

/* What is saved of the published 2,677,248 and 5,272,576: steps of the convolution block that nobody reads, maps of a
 * mean that are the mean of maps, the RNN's product with its constant input at all steps but one and with a state of
 * zeros, rnn.out of all steps but the last, and taps that meet zeros. */
static void test_hybrid_flops(void **state) {
    (void)state;
    const double e = 64, w = 128, h = 64, gates = 4 * 64, inputs = 64 + 16;
    double block = 4 * 2 * e * 2 * w + 7 * 2 * w * e + 2 * w * (8 * 4 - 10);
    double rnn = 7 * 2 * gates * inputs + 2 * 2 * gates * h + 7 * 2 * h * h;
    const double se = 128, sw = 256, sh = 128, sgates = 3 * 128, sinputs = 128 + 16;
    double maps = 7 * 2 * sw * se + 7 * 2 * se * se + 2 * sw * 6;
    double srnn = 3 * 2 * sgates * sinputs + 2 * sgates * sh + 3 * 2 * sh * sh;
    for (int repaired = 0; repaired < 2; repaired++) {
        mmrec_model_run one = {.batch = 1, .time = 1}, seven = {.batch = 7, .time = 1};
        const char *advanced = repaired ? NSM_SUITE "variant=repaired" : NSM_SUITE;
        const char *sequential = repaired ? "variant=repaired" : "";
        assert_true(executed(MMREC_MODEL_nsm_advanced, advanced, one) == 2677248 - block - rnn);
        assert_true(executed(MMREC_MODEL_nsm_advanced, advanced, seven) == 7 * (2677248 - block - rnn));
        assert_true(executed(MMREC_MODEL_nsm_sequential, sequential, one) == 5272576 - maps - srnn);
    }
}

static void test_part_flops(void **state) {
    (void)state;
    mmrec_model_run run = {.batch = 3, .time = 12};
    assert_true(executed(MMREC_MODEL_nsm_router, "", run) == 3 * (2. * 12 * 64 * 5 * 8 + 2. * 8 * 128 * 128));
    assert_true(executed(MMREC_MODEL_nsm_layer, "", run) ==
                3 * (8. * 8 * 128 * 128 + 2. * 12 * 64 * 128 + 4. * 8 * 12 * 128));
}

/* ---- configurations ---- */

static const mmrec_model_kind kinds[] = {MMREC_MODEL_nsm_simple, MMREC_MODEL_nsm_advanced, MMREC_MODEL_nsm_sequential,
                                         MMREC_MODEL_nsm_router, MMREC_MODEL_nsm_layer,    MMREC_MODEL_nsm_states};
enum { KINDS = sizeof kinds / sizeof *kinds };

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
        {MMREC_MODEL_nsm_simple, "heads=5", "heads (5) must divide dim (128)"},
        {MMREC_MODEL_nsm_simple, "states=2097153",
         "states times dim is 268435584, the width of what the head reads; it may be at most 268435456"},
        {MMREC_MODEL_nsm_advanced, "heads=3", "heads (3) must divide dim (128)"},
        {MMREC_MODEL_nsm_advanced, "model=sequential",
         "model is sequential; in nsm-advanced it must be advanced (nsm-sequential is the other)"},
        {MMREC_MODEL_nsm_advanced, "time=8",
         "steps is 16 and time is 8; the RNN of nsm-advanced has as many steps as x makes"},
        {MMREC_MODEL_nsm_advanced, "time=2097153 steps=2097153",
         "time times dim is 268435584; it may be at most 268435456"},
        {MMREC_MODEL_nsm_advanced, "expand=2097153", "expand times dim is 268435584; it may be at most 268435456"},
        {MMREC_MODEL_nsm_advanced, "kernel=1048577",
         "expand times dim times kernel is 268435712; it may be at most 268435456"},
        {MMREC_MODEL_nsm_sequential, "heads=7", "heads (7) must divide dim (128)"},
        {MMREC_MODEL_nsm_sequential, "model=advanced",
         "model is advanced; in nsm-sequential it must be sequential (nsm-advanced is the other)"},
        {MMREC_MODEL_nsm_router, "states=67108865", "heads times states is 268435460; it may be at most 268435456"},
        {MMREC_MODEL_nsm_layer, "heads=3", "heads (3) must divide dim (128)"},
        {MMREC_MODEL_nsm_states, "max=8 initial=9", "initial is 9, the slots active at first; there are 8 (max)"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmrec_any_config config;
        mmrec_error error = {0};
        configure(bad[i].kind, bad[i].config, &config);
        assert_int_equal(mmrec_model_check(bad[i].kind, &config, &error), MMREC_CONFIG);
        assert_string_equal(error.message, bad[i].message);
    }
}

/* A field that is none of nsm-sequential's, but is in its configuration. */
static void test_sequential_has_no_dropout(void **state) {
    (void)state;
    mmrec_any_config config;
    mmrec_error error = {0};
    configure(MMREC_MODEL_nsm_sequential, "", &config);
    config.hybrid.dropout = 0.1;
    assert_refused(MMREC_MODEL_nsm_sequential, &config, "dropout is 0.1; nsm-sequential has none, it must be 0");
    assert_int_equal(mmrec_model_set(MMREC_MODEL_nsm_sequential, &config, "dropout", "0.1", &error), MMREC_CONFIG);
    configure(MMREC_MODEL_nsm_advanced, "", &config);
    assert_true(config.hybrid.dropout == 0.1);
}

static void test_run_refusals(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config;
        mmrec_model_run run;
        const char *message;
    } bad[] = {
        {MMREC_MODEL_nsm_simple,
         "sequence=last",
         {.batch = 1, .time = 4097},
         "time is 4097, but nsm-simple makes nodes for every step: give at most 4096"},
        {MMREC_MODEL_nsm_simple,
         "",
         {.batch = 1, .time = 1, .masked = true},
         "model nsm-simple has no input that hides tokens (masked); run it without"},
        {MMREC_MODEL_nsm_simple,
         "",
         {.batch = 1, .time = 1, .gradient = true, .seeded = true, .loss = true},
         "gradients of model nsm-simple are to start from seeds and from a loss; choose one of them"},
        {MMREC_MODEL_nsm_advanced,
         "",
         {.batch = 1, .time = 1, .carried = true},
         "model nsm-advanced has no state that could be carried; run it without"},
        {MMREC_MODEL_nsm_sequential,
         "",
         {.batch = 1, .time = 1, .growth = true},
         "model nsm-sequential has no multipliers of h (growth); run it without"},
        {MMREC_MODEL_nsm_router,
         "",
         {.batch = 1, .time = 3, .gradient = true},
         "model nsm-router has no loss that gradients could start from"},
        {MMREC_MODEL_nsm_layer, "", {.batch = 1, .time = 3, .loss = true}, "model nsm-layer has no loss"},
        {MMREC_MODEL_nsm_states,
         "",
         {.batch = 2, .time = 3},
         "batch is 2; nsm-states has one list of active slots, give 1"},
        {MMREC_MODEL_nsm_states,
         "max=5 initial=5",
         {.batch = 1, .time = 6},
         "time is 6, the number of active slots, but nsm-states has 5 (max)"},
        {MMREC_MODEL_nsm_states,
         "",
         {.batch = 1, .time = 3, .gradient = true},
         "model nsm-states has no loss that gradients could start from"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_run_refused(bad[i].kind, bad[i].config, &bad[i].run, bad[i].message);
    }
}

/* Where a sample is one vector, a run's time changes nothing. */
static void test_time_is_not_read(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        mmrec_model_run one = {.batch = 2, .time = 1, .gradient = true},
                        many = {.batch = 2, .time = 5000, .gradient = true};
        rig a, b;
        graph_start(&a, kinds[i], "", &one);
        graph_start(&b, kinds[i], "", &many);
        assert_int_equal(mmrec_graph_tensor_count(a.graph), mmrec_graph_tensor_count(b.graph));
        assert_true(mmrec_graph_work(a.graph, MMREC_PHASE_BACKWARD).flops ==
                    mmrec_graph_work(b.graph, MMREC_PHASE_BACKWARD).flops);
        rig_end(&a);
        rig_end(&b);
    }
}

static void test_parameters_of_runs(void **state) {
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        bool loss = i < 3;
        mmrec_model_run run = {.batch = 1, .time = 2},
                        other = {.batch = 1, .time = 4, .gradient = true, .seeded = !loss};
        assert_same_params(kinds[i], "", &run, &other);
    }
}

/* The field that sizes a model takes along what follows from it. */
static void test_scale(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config, *key, *wanted;
    } cases[] = {
        {MMREC_MODEL_nsm_simple, "dim=30", "heads", "3"},      {MMREC_MODEL_nsm_simple, "dim=64", "heads", "4"},
        {MMREC_MODEL_nsm_simple, "dim=64", "states", "16"},    {MMREC_MODEL_nsm_advanced, "dim=20", "heads", "5"},
        {MMREC_MODEL_nsm_advanced, "dim=20", "hidden", "20"},  {MMREC_MODEL_nsm_advanced, "dim=20", "width", "20"},
        {MMREC_MODEL_nsm_advanced, "dim=20", "slots", "128"},  {MMREC_MODEL_nsm_sequential, "dim=40", "hidden", "40"},
        {MMREC_MODEL_nsm_sequential, "dim=40", "width", "16"}, {MMREC_MODEL_nsm_router, "dim=7", "dim", "7"},
        {MMREC_MODEL_nsm_router, "dim=7", "heads", "4"},       {MMREC_MODEL_nsm_layer, "dim=7", "heads", "1"},
        {MMREC_MODEL_nsm_states, "dim=7", "max", "64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmrec_any_config config;
        configure(cases[i].kind, cases[i].config, &config);
        assert_int_equal(mmrec_model_check(cases[i].kind, &config, NULL), MMREC_OK);
        assert_field(cases[i].kind, &config, cases[i].key, cases[i].wanted);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameter_counts),   cmocka_unit_test(test_parts),
        cmocka_unit_test(test_initial_values),     cmocka_unit_test(test_simple_flops),
        cmocka_unit_test(test_sequence_flops),     cmocka_unit_test(test_hybrid_flops),
        cmocka_unit_test(test_part_flops),         cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_refusals),           cmocka_unit_test(test_sequential_has_no_dropout),
        cmocka_unit_test(test_run_refusals),       cmocka_unit_test(test_time_is_not_read),
        cmocka_unit_test(test_parameters_of_runs), cmocka_unit_test(test_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
