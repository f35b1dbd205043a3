/* The models that MM-Rec is compared with, run: gradients against differences, recomputation, carried state, dropout
 * and initial values. That they compute what was published is for the fixtures to say. */
#include "baseline_checks.h"

/* A small model and a run of it; ids are drawn from as many as it has classes, where it has both. */
typedef struct small {
    mmrec_model_kind kind;
    const char *config;
    mmrec_model_run run;
    int64_t ids_below;
} small;

/* Every way through the models: input, state, head, loss, seeds, dropout. */
static const small smalls[] = {
    {MMREC_MODEL_lstm, "inputs=5 hidden=4 layers=3 dropout=0.2", {.carried = true, .seeded = true}, 1},
    {MMREC_MODEL_gru, "inputs=5 hidden=4 layers=3 dropout=0.2", {.carried = true, .seeded = true}, 1},
    {MMREC_MODEL_lstm, "vocab=7 hidden=6 layers=2 outputs=7 head=all dropout=0.3", {.carried = true}, 7},
    {MMREC_MODEL_gru, "inputs=5 hidden=4 layers=2 outputs=3", {.loss = true}, 3},
    {MMREC_MODEL_gru, "vocab=7 hidden=4 outputs=3", {.carried = true, .seeded = true}, 7},
    {MMREC_MODEL_lstm, "inputs=5 hidden=4 outputs=3 head=all", {.seeded = true}, 1},
    {MMREC_MODEL_gpt, "vocab=11 dim=12 layers=2 heads=3 context=8 dropout=0.2", {.loss = true}, 11},
    {MMREC_MODEL_encoder, "dim=12 heads=3 ffn=20 layers=3 dropout=0.2", {.seeded = true}, 1},
    {MMREC_MODEL_encoder, "vocab=4 dim=8 heads=2 ffn=10 positions=9 outputs=4", {.loss = true}, 4},
    {MMREC_MODEL_encoder, "dim=8 inputs=5 heads=4 ffn=10 positions=5 outputs=3", {.seeded = true}, 1},
    {MMREC_MODEL_mlp, "hidden=9,7 outputs=2", {.loss = true}, 1},
    {MMREC_MODEL_mlp, "hidden=9,7 activation=tanh", {.loss = true}, 1},
    {MMREC_MODEL_mlp, "hidden=9 outputs=4 activation=gelu loss=cross-entropy", {.loss = true}, 4},
    {MMREC_MODEL_mlp, "hidden=none outputs=3", {.loss = true}, 1},
};
enum { SMALLS = sizeof smalls / sizeof *smalls, BATCH = 2, TIME = 5 };

static mmrec_model_run run_of(const small *s) {
    mmrec_model_run run = s->run;
    run.batch = BATCH;
    run.time = TIME;
    run.gradient = true;
    run.input_gradient = true;
    return run;
}

static void start(rig *r, const small *s, const mmrec_model_run *run) {
    baseline_start(r, s->kind, s->config, run, s->ids_below);
}

/* ---- gradients ---- */

/* All real numbers that come from outside. */
static bool is_real_input(const mmrec_tensor_info *info) {
    return info->kind == MMREC_TENSOR_INPUT && info->dtype != MMREC_I32 && !starts(info->name, "d.") &&
           strcmp(info->name, "target") != 0;
}

/* Gradients of all parameters and of all real inputs are the numeric derivative. */
static void test_gradient_is_the_derivative(void **state) {
    (void)state;
    for (int i = 0; i < SMALLS; i++) {
        mmrec_model_run run = run_of(&smalls[i]);
        mmrec_error error = {0};
        rig r;
        start(&r, &smalls[i], &run);
        must(rig_step(&r, true, &error), &error);
        for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r.graph); t++) {
            mmrec_tensor_info info = mmrec_graph_tensor_info(r.graph, t);
            if (info.kind != MMREC_TENSOR_INPUT) continue;
            assert_int_equal(mmrec_graph_gradient(r.graph, t) != 0, is_real_input(&info));
        }
        assert_derivative(&r, every, smalls[i].config);
        rig_end(&r);
    }
}

/* Every parameter has a gradient that something reaches, and without being asked no input has one. */
static void test_what_has_gradients(void **state) {
    (void)state;
    for (int i = 0; i < SMALLS; i++) {
        mmrec_model_run run = run_of(&smalls[i]);
        rig r;
        run.input_gradient = false;
        start(&r, &smalls[i], &run);
        for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r.graph); t++) {
            mmrec_tensor_info info = mmrec_graph_tensor_info(r.graph, t);
            if (info.kind == MMREC_TENSOR_PARAM && mmrec_graph_unreached(r.graph, t)) fail_msg("%s", info.name);
            if (info.kind == MMREC_TENSOR_INPUT) assert_int_equal(mmrec_graph_gradient(r.graph, t), 0);
        }
        rig_end(&r);
    }
}

/* Layers are blocks of the graph, so their values can be made again. A lone linear map has none, and tanh needs only
 * its result, which the next layer keeps anyway. */
static void test_recompute_is_equal(void **state) {
    (void)state;
    for (int i = 0; i < SMALLS; i++) {
        mmrec_model_run keep = run_of(&smalls[i]), again = keep;
        again.recompute = true;
        if (strstr(smalls[i].config, "none") || strstr(smalls[i].config, "tanh")) continue;
        assert_true(assert_runs_agree(smalls[i].kind, smalls[i].config, &keep, &again, smalls[i].ids_below) > 0);
    }
}

/* Logits stay where they are asked for, and nothing else changes. */
static void test_logits_are_optional(void **state) {
    (void)state;
    const int models[] = {2, 6}; /* lstm and gpt with classes of every step */
    for (int i = 0; i < 2; i++) {
        const small *s = &smalls[models[i]];
        mmrec_model_run without = run_of(s), with = without, forward = without;
        rig r;
        with.logits = true;
        forward.gradient = false;
        assert_int_equal(assert_runs_agree(s->kind, s->config, &without, &with, s->ids_below), 0);
        for (int kept = 0; kept < 3; kept++) {
            start(&r, s, kept == 0 ? &without : kept == 1 ? &with : &forward);
            assert_int_equal(mmrec_graph_find(r.graph, "logits") != 0, kept > 0);
            rig_end(&r);
        }
    }
}

/* ---- state ---- */

static mmrec_tensor named(const rig *r, const char *format, int layer, const char *part) {
    char name[40];
    snprintf(name, sizeof name, format, layer, part);
    return mmrec_graph_find(r->graph, name);
}

/* The state inputs: zeros, or what another run left. Returns how many there are. */
static int give_state(rig *r, rig *from) {
    static double values[MAX_VALUES];
    static const char *const parts[] = {"h", "c"};
    mmrec_error error = {0};
    int given = 0;
    for (int i = 0; i < 8; i++) {
        mmrec_tensor to = named(r, "state.%d.%s", i / 2, parts[i % 2]);
        if (!to) continue;
        memset(values, 0, sizeof values);
        if (from) {
            mmrec_tensor next = named(from, "next.%d.%s", i / 2, parts[i % 2]);
            must(mmrec_exec_read(from->exec, next, values, elements_of(r, to), &error), &error);
        }
        must(mmrec_exec_write(r->exec, to, values, elements_of(r, to), &error), &error);
        given++;
    }
    return given;
}

/* A state of zeros is the same as none, gradients included. */
static void test_zero_state_is_no_state(void **state) {
    (void)state;
    static const small cases[] = {
        {MMREC_MODEL_lstm, "inputs=5 hidden=4 layers=3 outputs=3 dropout=0.2", {.loss = true}, 3},
        {MMREC_MODEL_gru, "inputs=5 hidden=4 layers=3 outputs=3 dropout=0.2", {.loss = true}, 3},
        {MMREC_MODEL_lstm, "vocab=7 hidden=6 layers=3 outputs=7 head=all", {.logits = true}, 7},
    };
    for (int i = 0; i < 3; i++) {
        mmrec_model_run none = run_of(&cases[i]), carried = none;
        mmrec_error error = {0};
        rig a, b;
        carried.carried = true;
        start(&a, &cases[i], &none);
        start(&b, &cases[i], &carried);
        must(rig_step(&a, true, &error), &error);
        must(fill_kind(&b, MMREC_TENSOR_PARAM, &error), &error);
        must(fill_kind(&b, MMREC_TENSOR_INPUT, &error), &error);
        assert_int_equal(give_state(&b, NULL), cases[i].kind == MMREC_MODEL_lstm ? 6 : 3);
        mmrec_exec_seed(b.exec, 77);
        must(mmrec_exec_run(b.exec, MMREC_PHASE_FORWARD, &error), &error);
        must(mmrec_exec_run(b.exec, MMREC_PHASE_BACKWARD, &error), &error);
        assert_true(assert_same(&a, &b, 0) >= 12 + 4); /* 4 tensors a layer, head, result and loss */
        rig_end(&a);
        rig_end(&b);
    }
}

/* One chunk of a sequence of 6 steps: `first` and what the run before left, then y of its steps. */
static void run_chunk(rig *r, const double *x, int64_t first, int64_t steps, rig *before, double *y) {
    double chunk[6 * 5];
    mmrec_error error = {0};
    for (int64_t i = 0; i < steps * 5; i++) chunk[i] = x[first * 5 + i];
    must(fill_kind(r, MMREC_TENSOR_PARAM, &error), &error);
    must(mmrec_exec_write(r->exec, mmrec_graph_find(r->graph, "x"), chunk, steps * 5, &error), &error);
    assert_true(give_state(r, before) >= 2);
    must(mmrec_exec_run(r->exec, MMREC_PHASE_FORWARD, &error), &error);
    read_named(r, "y", y + first * 4, steps * 4);
}

/* A sequence in two chunks gives what it gives in one. */
static void test_state_goes_on(void **state) {
    (void)state;
    for (int gru = 0; gru < 2; gru++) {
        const small s = {gru ? MMREC_MODEL_gru : MMREC_MODEL_lstm, "inputs=5 hidden=4 layers=2", {0}, 1};
        mmrec_model_run run = {.batch = 1, .time = 6, .carried = true};
        double x[6 * 5], whole[6 * 4], pieces[6 * 4];
        rig all, first, second;
        for (int i = 0; i < 6 * 5; i++) x[i] = mmrec_rng_normal(3, 0, (uint64_t)i);
        start(&all, &s, &run);
        run.time = 4;
        start(&first, &s, &run);
        run.time = 2;
        start(&second, &s, &run);
        run_chunk(&all, x, 0, 6, NULL, whole);
        run_chunk(&first, x, 0, 4, NULL, pieces);
        run_chunk(&second, x, 4, 2, &first, pieces);
        for (int i = 0; i < 6 * 4; i++) assert_true(whole[i] == pieces[i]);
        rig_end(&all);
        rig_end(&first);
        rig_end(&second);
    }
}

/* ---- dropout ---- */

/* Places where a model drops out, each with a stream of its own, and none without a probability. */
static void test_dropout_places(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config;
        int places;
    } cases[] = {
        {MMREC_MODEL_lstm, "layers=4", 3},
        {MMREC_MODEL_gru, "layers=1", 0},
        {MMREC_MODEL_gpt, "layers=3", 1 + 3 * 3},
        {MMREC_MODEL_encoder, "layers=3", 3 * 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int drops = 0; drops < 2; drops++) {
            char config[64];
            int layer[MOST_STREAMS];
            mmrec_model_run run = {.batch = 1, .time = 2};
            rig r;
            snprintf(config, sizeof config, "%s dropout=%s", cases[i].config, drops ? "0.25" : "0");
            graph_start(&r, cases[i].kind, config, &run);
            assert_int_equal(dropping_nodes(&r, 0.25, layer), drops ? cases[i].places : 0);
            if (!drops) assert_int_equal(count_nodes(&r, MMREC_OP_dropout, MMREC_PHASE_FORWARD, 0), 0);
            rig_end(&r);
        }
    }
}

/* ---- initial values ---- */

static void start_init(rig *r, mmrec_model_kind kind, const char *config, int64_t time, uint64_t seed) {
    mmrec_model_run run = {.batch = 1, .time = time};
    mmrec_error error = {0};
    baseline_start(r, kind, config, &run, 1);
    must(mmrec_model_init(r->exec, r->graph, &r->allocator, seed, &error), &error);
}

static int64_t read_param(rig *r, const char *name, double *values) {
    mmrec_tensor t = mmrec_graph_find(r->graph, name);
    if (!t) fail_msg("no parameter %s", name);
    read_named(r, name, values, elements_of(r, t));
    return elements_of(r, t);
}

/* Uniform in +-bound: inside, near both ends, and of the deviation bound / sqrt(3) within five standard errors (the
 * squares of uniform numbers vary by 2 / sqrt(5) of their mean). */
static void assert_uniform(rig *r, const char *name, double bound) {
    static double v[MAX_VALUES];
    int64_t n = read_param(r, name, v);
    double squares = 0, low = 0, high = 0;
    for (int64_t i = 0; i < n; i++) {
        squares += v[i] * v[i];
        low = v[i] < low ? v[i] : low;
        high = v[i] > high ? v[i] : high;
    }
    double share = squares / (double)n / (bound * bound / 3) - 1, allowed = 5 * sqrt(0.8 / (double)n);
    bool inside = low >= -bound && high <= bound && low < -0.8 * bound && high > 0.8 * bound;
    if (!inside || !(fabs(share) <= allowed)) fail_msg("%s: %g to %g, bound %g, %g", name, low, high, bound, share);
}

/* Mean 0 and that deviation within five standard errors. */
static void assert_normal(rig *r, const char *name, double deviation) {
    static double v[MAX_VALUES];
    int64_t count = read_param(r, name, v);
    double sum = 0, squares = 0, n = (double)count;
    for (int64_t i = 0; i < count; i++) sum += v[i];
    for (int64_t i = 0; i < count; i++) squares += v[i] * v[i];
    if (!(fabs(sum / n) <= 5 * deviation / sqrt(n))) fail_msg("%s: mean %g", name, sum / n);
    if (!(fabs(sqrt(squares / n) - deviation) <= 5 * deviation / sqrt(2 * n))) {
        fail_msg("%s: deviation %g, wanted %g", name, sqrt(squares / n), deviation);
    }
}

static void assert_constant(rig *r, const char *name, double value) {
    static double v[MAX_VALUES];
    int64_t n = read_param(r, name, v);
    for (int64_t i = 0; i < n; i++) assert_true(v[i] == value);
}

static void test_init_rnn(void **state) {
    (void)state;
    rig r;
    start_init(&r, MMREC_MODEL_lstm, "vocab=50 hidden=64 layers=2 outputs=40", 2, 5);
    assert_normal(&r, "embedding.weight", 1);
    assert_uniform(&r, "weight_ih_l0", 1 / 8.0);
    assert_uniform(&r, "weight_hh_l1", 1 / 8.0);
    assert_uniform(&r, "bias_ih_l1", 1 / 8.0);
    assert_uniform(&r, "bias_hh_l0", 1 / 8.0);
    assert_uniform(&r, "head.weight", 1 / 8.0);
    assert_uniform(&r, "head.bias", 1 / 8.0);
    rig_end(&r);
    start_init(&r, MMREC_MODEL_gru, "inputs=9 hidden=64", 2, 5);
    assert_uniform(&r, "weight_ih_l0", 1 / 8.0); /* of the hidden width, whatever the inputs */
    rig_end(&r);
}

static void test_init_mlp(void **state) {
    (void)state;
    rig r;
    start_init(&r, MMREC_MODEL_mlp, "inputs=25 hidden=64,49", 1, 5);
    assert_uniform(&r, "layers.0.weight", 1 / 5.0);
    assert_uniform(&r, "layers.0.bias", 1 / 5.0);
    assert_uniform(&r, "layers.1.weight", 1 / 8.0);
    assert_uniform(&r, "layers.2.weight", 1 / 7.0);
    rig_end(&r);
}

static void test_init_gpt(void **state) {
    (void)state;
    rig r;
    start_init(&r, MMREC_MODEL_gpt, "vocab=60 dim=64 layers=8 context=40", 2, 5);
    assert_normal(&r, "embedding.weight", 0.02);
    assert_normal(&r, "position", 0.02);
    assert_normal(&r, "blocks.3.attention.qkv.weight", 0.02);
    assert_normal(&r, "blocks.7.attention.out.weight", 0.02 / 4);
    assert_normal(&r, "blocks.0.ffn.in.weight", 0.02);
    assert_normal(&r, "blocks.5.ffn.out.weight", 0.02 / 4);
    assert_constant(&r, "blocks.2.ffn.in.bias", 0);
    assert_constant(&r, "blocks.2.ffn.out.bias", 0);
    assert_constant(&r, "blocks.2.attention.qkv.bias", 0);
    assert_constant(&r, "blocks.2.attention.out.bias", 0);
    assert_constant(&r, "norm.weight", 1);
    assert_constant(&r, "blocks.1.norm2.bias", 0);
    mmrec_tensor one = mmrec_graph_find(r.graph, "blocks.0.ffn.in.weight");
    assert_true(difference(&r, one, &r, mmrec_graph_find(r.graph, "blocks.1.ffn.in.weight")) > 0.5);
    rig_end(&r);
}

/* Every layer begins as a copy of the first. */
static void test_init_encoder(void **state) {
    (void)state;
    rig r;
    start_init(&r, MMREC_MODEL_encoder, "dim=64 layers=3 ffn=100 vocab=30 positions=70 outputs=9", 2, 5);
    assert_normal(&r, "embedding.weight", 1);
    assert_normal(&r, "position", 1);
    assert_uniform(&r, "blocks.0.attention.qkv.weight", sqrt(6.0 / (4 * 64)));
    assert_uniform(&r, "blocks.0.attention.out.weight", 1 / 8.0);
    assert_constant(&r, "blocks.1.attention.qkv.bias", 0);
    assert_constant(&r, "blocks.1.attention.out.bias", 0);
    assert_uniform(&r, "blocks.0.ffn.in.weight", 1 / 8.0);
    assert_uniform(&r, "blocks.0.ffn.in.bias", 1 / 8.0);
    assert_uniform(&r, "blocks.0.ffn.out.weight", 1 / 10.0);
    assert_uniform(&r, "head.weight", 1 / 8.0);
    assert_constant(&r, "blocks.1.norm1.weight", 1);
    int copies = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r.graph); t++) {
        char first[64];
        mmrec_tensor_info info = mmrec_graph_tensor_info(r.graph, t);
        if (strncmp(info.name, "blocks.", 7) != 0 || info.name[7] == '0') continue;
        snprintf(first, sizeof first, "blocks.0%s", info.name + 8);
        assert_true(difference(&r, t, &r, mmrec_graph_find(r.graph, first)) == 0);
        copies++;
    }
    assert_int_equal(copies, 2 * 12);
    mmrec_tensor in = mmrec_graph_find(r.graph, "blocks.0.ffn.in.weight");
    mmrec_tensor out = mmrec_graph_find(r.graph, "blocks.0.ffn.out.weight");
    double left[100 * 64], right[100 * 64];
    mmrec_error error = {0};
    must(mmrec_exec_read(r.exec, in, left, 100 * 64, &error), &error);
    must(mmrec_exec_read(r.exec, out, right, 100 * 64, &error), &error);
    assert_true(mmrec_compare(left, right, 100 * 64).max_rel > 0.5); /* numbers of their own */
    rig_end(&r);
}

/* The same numbers from the same seed, whatever is run, and others from another. */
static void test_init_is_repeated(void **state) {
    (void)state;
    for (int i = 0; i < SMALLS; i++) {
        rig a, b, c;
        start_init(&a, smalls[i].kind, smalls[i].config, 2, 5);
        start_init(&b, smalls[i].kind, smalls[i].config, 5, 5);
        start_init(&c, smalls[i].kind, smalls[i].config, 2, 6);
        for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(a.graph); t++) {
            mmrec_tensor_info info = mmrec_graph_tensor_info(a.graph, t);
            if (info.kind != MMREC_TENSOR_PARAM) continue;
            assert_true(difference(&a, t, &b, mmrec_graph_find(b.graph, info.name)) == 0);
            if (info.initial.kind == MMREC_INITIAL_CONSTANT) continue;
            assert_true(difference(&a, t, &c, mmrec_graph_find(c.graph, info.name)) > 0.1);
        }
        rig_end(&a);
        rig_end(&b);
        rig_end(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_is_the_derivative),
        cmocka_unit_test(test_what_has_gradients),
        cmocka_unit_test(test_recompute_is_equal),
        cmocka_unit_test(test_logits_are_optional),
        cmocka_unit_test(test_zero_state_is_no_state),
        cmocka_unit_test(test_state_goes_on),
        cmocka_unit_test(test_dropout_places),
        cmocka_unit_test(test_init_rnn),
        cmocka_unit_test(test_init_mlp),
        cmocka_unit_test(test_init_gpt),
        cmocka_unit_test(test_init_encoder),
        cmocka_unit_test(test_init_is_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
