/* The models: refusals, parameters, HEM on against off, recomputation, dropout, initial values. */
#include "model_ways.h"

/* ---- configuration ---- */

static void test_config_refusals(void **state) {
    (void)state;
    static const struct {
        size_t offset;
        int64_t value;
        const char *message;
    } bad[] = {
        {offsetof(mmrec_model_config, heads), 7, "heads (7) must divide dim (12)"},
        {offsetof(mmrec_model_config, heads), 0, "heads is 0; it must be from 1 to 268435456"},
        {offsetof(mmrec_model_config, vocab), 0, "vocab is 0; it must be from 1 to 268435456"},
        {offsetof(mmrec_model_config, dim), -4, "dim is -4; it must be from 1 to 268435456"},
        {offsetof(mmrec_model_config, dim), INT64_MAX, "dim is 9223372036854775807; it must be from 1 to 268435456"},
        {offsetof(mmrec_model_config, layers), 5000, "layers is 5000; it must be from 1 to 4096"},
        {offsetof(mmrec_model_config, ffn), 0, "ffn is 0; it must be from 1 to 268435456"},
        {offsetof(mmrec_model_config, inner), 0, "inner is 0; it must be from 1 to 268435456"},
        {offsetof(mmrec_model_config, slots), 0, "slots is 0; it must be from 1 to 268435456"},
        {offsetof(mmrec_model_config, slots), 18, "4^level (4) must divide slots (18): slots are pooled 4 to 1 1 time"},
        {offsetof(mmrec_model_config, level), 3,
         "4^level (64) must divide slots (16): slots are pooled 4 to 1 3 times"},
        {offsetof(mmrec_model_config, level), 15, "level is 15; it must be from 0 to 14"},
        {offsetof(mmrec_model_config, pe), -1, "pe is -1; it must be from 0 to 268435456"},
        {offsetof(mmrec_model_config, dpg), -1, "dpg is -1; it must be from 0 to 268435456"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmrec_model_config c = small_config();
        mmrec_error error = {0};
        memcpy((char *)&c + bad[i].offset, &bad[i].value, sizeof bad[i].value);
        assert_int_equal(mmrec_model_config_check(&c, &error), MMREC_CONFIG);
        assert_string_equal(error.message, bad[i].message);
    }
}

static void test_config_real_refusals(void **state) {
    (void)state;
    static const struct {
        size_t offset;
        double value;
        const char *message;
    } bad[] = {
        {offsetof(mmrec_model_config, dropout), 1, "dropout is 1; it must be at least 0 and below 1"},
        {offsetof(mmrec_model_config, dropout), -0.1, "dropout is -0.1; it must be at least 0 and below 1"},
        {offsetof(mmrec_model_config, dropout), NAN, "dropout is nan; it must be at least 0 and below 1"},
        {offsetof(mmrec_model_config, memory_decay), 1.5,
         "memory_decay is 1.5; it must be from 0 (replace) to 1 (never change)"},
        {offsetof(mmrec_model_config, uboo_weight), INFINITY, "uboo_weight is inf; it must be a number of at least 0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmrec_model_config c = small_config();
        mmrec_error error = {0};
        memcpy((char *)&c + bad[i].offset, &bad[i].value, sizeof bad[i].value);
        assert_int_equal(mmrec_model_config_check(&c, &error), MMREC_CONFIG);
        assert_string_equal(error.message, bad[i].message);
    }
}

static void test_config_defaults(void **state) {
    (void)state;
    mmrec_model_config c = mmrec_model_config_default(1000, 512, 2, 8), narrow = mmrec_model_config_default(2, 3, 1, 1);
    assert_int_equal(c.ffn, 2048);
    assert_int_equal(c.inner, 128);
    assert_int_equal(c.slots, 1024);
    assert_int_equal(c.level, 2);
    assert_true(c.memory_decay == 0.99 && c.uboo_weight == 0.1 && c.dropout == 0);
    assert_int_equal(narrow.inner, 1);
    assert_int_equal(mmrec_model_config_check(&c, NULL), MMREC_OK);
    assert_int_equal(mmrec_model_config_check(&narrow, NULL), MMREC_OK);
}

static void test_uboo_names(void **state) {
    (void)state;
    mmrec_error error = {0};
    for (int i = MMREC_UBOO_OFF; i <= MMREC_UBOO_DEEP; i++) {
        mmrec_model_config c = small_config();
        must(mmrec_model_set(MMREC_MODEL_mmrec, &c, "uboo", mmrec_uboo_name((mmrec_uboo)i), &error), &error);
        assert_int_equal(c.uboo, i);
    }
    mmrec_model_config c = small_config();
    assert_int_equal(mmrec_model_set(MMREC_MODEL_mmrec, &c, "uboo", "deeper\n", &error), MMREC_CONFIG);
    assert_string_equal(error.message, "uboo of model mmrec is 'deeper?'; it must be off|planning|deep");
}

static void test_run_refusals(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    mmrec_model_run bad[] = {{.batch = 0, .time = 1}, {.batch = 1, .time = 0}, {.batch = 1 << 20, .time = 1 << 20}};
    static const char *const message[] = {"batch is 0; it must be from 1 to 268435456",
                                          "time is 0; it must be from 1 to 268435456",
                                          "batch times time is 1099511627776; it must be from 1 to 2147483647"};
    for (int i = 0; i < 3; i++) {
        rig r = {0};
        mmrec_error error = {0};
        assert_int_equal(rig_try(&r, MMREC_MODEL_mmrec, &c, &bad[i], NULL, &error), MMREC_CONFIG);
        assert_string_equal(error.message, message[i]);
        rig_end(&r);
    }
}

/* ---- parameters ---- */

/* Elements of all parameters, counted by hand from the table of docs/model.md. */
static int64_t expected_params(const mmrec_model_config *c, bool whole) {
    int64_t d = c->dim, affine = d * d + d, n = 2 * d; /* two norms */
    n += 4 * affine + (c->pe ? c->pe * d + c->pe + d * c->pe + d : 0);
    n += c->dpg ? c->dpg * d + c->dpg + d * c->dpg + d : 2 * (c->inner * d + c->inner + d * c->inner + d);
    n += affine + 2 * d * d + d + 2 * affine + 2 * c->slots * d;
    n += c->ffn * d + c->ffn + d * c->ffn + d;
    n += c->uboo == MMREC_UBOO_PLANNING ? 4 * affine : 0;
    if (!whole) return n;
    int64_t heads = c->uboo == MMREC_UBOO_DEEP ? (c->layers - 1) * c->vocab * d : 0;
    return c->layers * n + heads + c->vocab * d + d;
}

/* Where a parameter lies in its arena. */
static size_t place_of(const rig *r, const char *name) {
    mmrec_tensor t = mmrec_graph_find(r->graph, name);
    assert_true(t != 0);
    const mmrec_plan_entry *entry = mmrec_plan_find(r->plan, t);
    assert_non_null(entry);
    assert_int_equal(entry->arena, MMREC_ARENA_PARAMS);
    return entry->offset + (size_t)mmrec_graph_tensor_info(r->graph, t).offset * sizeof(double);
}

static void assert_same_places(const rig *a, const rig *b) {
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(a->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(a->graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        assert_int_equal(place_of(a, info.name), place_of(b, info.name));
    }
}

/* All combinations of options: the parameters are those of the table, and lie at the same places whatever is run. */
static void test_parameters(void **state) {
    (void)state;
    for (int i = 0; i < 2 * 2 * 3 * 2; i++) {
        mmrec_model_config c = small_config();
        c.pe = i % 2 ? 7 : 0;
        c.dpg = i / 2 % 2 ? 3 : 0;
        c.uboo = (mmrec_uboo)(i / 4 % 3);
        mmrec_model_kind kind = i / 12 ? MMREC_MODEL_mmrec : MMREC_MODEL_block;
        mmrec_model_run train = {.batch = 2, .time = 3, .hem = true, .gradient = true, .recompute = true};
        mmrec_model_run infer = {.batch = 1, .time = 5, .carried = true};
        rig a, b;
        rig_start(&a, kind, &c, &train, NULL);
        rig_start(&b, kind, &c, &infer, NULL);
        assert_int_equal(mmrec_graph_param_count(a.graph), expected_params(&c, kind == MMREC_MODEL_mmrec));
        assert_int_equal(mmrec_graph_param_count(b.graph), mmrec_graph_param_count(a.graph));
        assert_int_equal(mmrec_plan_arena_bytes(a.plan, MMREC_ARENA_PARAMS),
                         mmrec_plan_arena_bytes(b.plan, MMREC_ARENA_PARAMS));
        assert_same_places(&a, &b);
        rig_end(&a);
        rig_end(&b);
    }
}

/* HEM is one product instead of six, and folds only then. */
static void test_hem_nodes(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    c.pe = 7;
    mmrec_model_run run = {.batch = 1, .time = 3, .hem = true};
    rig on, off;
    rig_start(&on, MMREC_MODEL_block, &c, &run, NULL);
    run.hem = false;
    rig_start(&off, MMREC_MODEL_block, &c, &run, NULL);
    assert_int_equal(count_nodes(&on, MMREC_OP_linear, MMREC_PHASE_FORWARD, 5 * c.dim), 1);
    assert_int_equal(count_nodes(&off, MMREC_OP_linear, MMREC_PHASE_FORWARD, 5 * c.dim), 0);
    assert_int_equal(count_nodes(&off, MMREC_OP_linear, MMREC_PHASE_FORWARD, 0),
                     count_nodes(&on, MMREC_OP_linear, MMREC_PHASE_FORWARD, 0) + 5);
    assert_int_equal(count_nodes(&on, MMREC_OP_matmul, MMREC_PHASE_REFRESH, 0), 1);
    assert_int_equal(count_nodes(&off, MMREC_OP_matmul, MMREC_PHASE_REFRESH, 0), 0);
    assert_int_equal(count_nodes(&off, MMREC_OP_linear, MMREC_PHASE_REFRESH, 0), 0);
    rig_end(&on);
    rig_end(&off);
}

/* What nobody asked for is not computed: n and the planning error without a loss, pooling at level 0. */
static void test_nothing_more(void **state) {
    (void)state;
    for (int asked = 0; asked < 2; asked++) {
        mmrec_model_config c = small_config();
        c.uboo = MMREC_UBOO_PLANNING;
        c.level = asked;
        mmrec_model_run run = {.batch = 1, .time = 3, .loss = asked};
        rig r;
        rig_start(&r, MMREC_MODEL_mmrec, &c, &run, NULL);
        assert_int_equal(count_nodes(&r, MMREC_OP_mean_square, MMREC_PHASE_FORWARD, 0), 2 * asked);
        assert_int_equal(count_nodes(&r, MMREC_OP_cross_entropy, MMREC_PHASE_FORWARD, 0), asked);
        assert_int_equal(count_nodes(&r, MMREC_OP_memory_pool, MMREC_PHASE_FORWARD, 0), 4 * asked);
        for (int i = 0; i < mmrec_graph_node_count(r.graph); i++) {
            mmrec_node_info info = mmrec_graph_node_info(r.graph, i);
            if (info.op == MMREC_OP_recurrence) assert_int_equal(info.sizes->made, asked ? 3 : 1);
        }
        rig_end(&r);
    }
}

/* ---- the same function, run in different ways ---- */

static void test_hem_agrees(void **state) {
    (void)state;
    mmrec_model_run on = {.batch = 2, .time = 7, .hem = true, .gradient = true}, off = on;
    off.hem = false;
    compare_ways(MMREC_MODEL_block, on, off, 1e-12);
    compare_ways(MMREC_MODEL_mmrec, on, off, 1e-12);
    on.carried = off.carried = true;
    compare_ways(MMREC_MODEL_mmrec, on, off, 1e-12);
}

static void test_recompute_is_equal(void **state) {
    (void)state;
    for (int hem = 0; hem < 2; hem++) {
        mmrec_model_run keep = {.batch = 2, .time = 7, .hem = hem, .gradient = true}, again = keep;
        again.recompute = true;
        compare_ways(MMREC_MODEL_block, keep, again, 0);
        compare_ways(MMREC_MODEL_mmrec, keep, again, 0);
    }
}

/* Where nobody asks for the logits the classifier works in their memory. */
static void test_logits_are_optional(void **state) {
    (void)state;
    for (int recompute = 0; recompute < 2; recompute++) {
        mmrec_model_run without = {.batch = 2, .time = 7, .hem = true, .gradient = true, .recompute = recompute};
        mmrec_model_run with = without;
        with.logits = true;
        compare_ways(MMREC_MODEL_mmrec, without, with, 0);
    }
}

/* What the logits of a step cost: with 150 classes the logits, their shares and their gradient are most of it. */
static void test_logits_take_memory_once(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    c.vocab = 150;
    mmrec_model_run run = {.batch = 2, .time = 32, .hem = true, .gradient = true};
    const size_t once = 2 * 32 * 150 * sizeof(double);
    rig without, with;
    rig_start(&without, MMREC_MODEL_mmrec, &c, &run, NULL);
    run.logits = true;
    rig_start(&with, MMREC_MODEL_mmrec, &c, &run, NULL);
    assert_int_equal(mmrec_graph_find(without.graph, "logits"), 0);
    assert_int_equal(mmrec_plan_total_bytes(with.plan), mmrec_plan_total_bytes(without.plan) + once);
    rig_end(&without);
    rig_end(&with);
}

/* The gradient of the main loss is 1 to the last bit unless the loss is a mean of several, so that the classifier's
 * backward pass has nothing to do. */
static void test_main_loss_has_gradient_one(void **state) {
    (void)state;
    for (int uboo = MMREC_UBOO_OFF; uboo <= MMREC_UBOO_DEEP; uboo++) {
        mmrec_model_config c = small_config();
        mmrec_model_run run = {.batch = 2, .time = 3, .gradient = true};
        mmrec_error error = {0};
        double gradient = 0;
        rig r = {.vocab = c.vocab};
        c.uboo = (mmrec_uboo)uboo;
        must(mmrec_graph_create(&r.allocator, MMREC_F32, 1, &r.graph, &error), &error);
        must(mmrec_model_build(MMREC_MODEL_mmrec, &c, &run, r.graph, &error), &error);
        must(mmrec_plan_create(&r.allocator, r.graph, (mmrec_plan_options){.unshared = true}, &r.plan, &error), &error);
        must(mmrec_exec_create(&r.allocator, backend_named("cpu"), r.graph, r.plan, (mmrec_exec_options){0}, &r.exec,
                               &error),
             &error);
        must(rig_step(&r, true, &error), &error);
        mmrec_tensor main = mmrec_graph_find(r.graph, "loss_main");
        must(mmrec_exec_read(r.exec, mmrec_graph_gradient(r.graph, main), &gradient, 1, &error), &error);
        assert_true(gradient == (uboo == MMREC_UBOO_DEEP ? 0.5 : 1));
        rig_end(&r);
    }
}

static int count_recomputed(const rig *r) {
    int found = 0;
    for (int i = 0; i < mmrec_graph_node_count(r->graph); i++) found += mmrec_graph_node_info(r->graph, i).recompute;
    return found;
}

static void test_recompute_happens(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        mmrec_model_config c = small_config();
        mmrec_model_run run = {.batch = 1, .time = 3, .gradient = true, .recompute = i % 2};
        rig r;
        rig_start(&r, i / 2 ? MMREC_MODEL_mmrec : MMREC_MODEL_block, &c, &run, NULL);
        assert_int_equal(count_recomputed(&r) > 0, i % 2);
        rig_end(&r);
    }
}

/* Only block inputs are kept: the saved arena shrinks where blocks are many. */
static void test_recompute_saves_memory(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    c.layers = 6;
    mmrec_model_run run = {.batch = 2, .time = 32, .hem = true, .gradient = true};
    rig keep, again;
    rig_start(&keep, MMREC_MODEL_mmrec, &c, &run, NULL);
    run.recompute = true;
    rig_start(&again, MMREC_MODEL_mmrec, &c, &run, NULL);
    assert_true(mmrec_plan_total_bytes(again.plan) < mmrec_plan_total_bytes(keep.plan));
    assert_true(2 * mmrec_plan_arena_bytes(again.plan, MMREC_ARENA_SAVED) <
                mmrec_plan_arena_bytes(keep.plan, MMREC_ARENA_SAVED));
    rig_end(&keep);
    rig_end(&again);
}

/* ---- gradients ---- */

/* Every parameter moves by `step` along one random direction; returns direction * gradient, summed. */
static double move(rig *r, double step) {
    double slope = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(r->graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        move_tensor(r, t, step, &slope);
    }
    return slope;
}

static double loss_at(rig *r, double step) {
    mmrec_error error = {0};
    double loss = 0;
    move(r, step);
    must(fill_kind(r, MMREC_TENSOR_INPUT, &error), &error);
    must(mmrec_exec_run(r->exec, MMREC_PHASE_FORWARD, &error), &error);
    read_named(r, "loss", &loss, 1);
    return loss;
}

/* The gradient of the loss is its numeric derivative, for combinations of options that no fixture has, with dropout and
 * carried state. Not with `planning`: its gradient is stopped on purpose (the fixtures hold that one). */
static void test_gradient_is_the_derivative(void **state) {
    (void)state;
    const double step = 1e-5; /* error of the central difference near step^2, rounding near 1e-16 / step */
    for (int i = 0; i < 8; i++) {
        mmrec_model_config c = variant(i);
        if (c.uboo == MMREC_UBOO_PLANNING) continue;
        mmrec_model_run run = {.batch = 2, .time = 5, .hem = i / 2 % 2, .carried = i % 2, .gradient = true};
        mmrec_error error = {0};
        rig r;
        rig_start(&r, MMREC_MODEL_mmrec, &c, &run, NULL);
        must(rig_step(&r, true, &error), &error);
        double slope = move(&r, 0), above = loss_at(&r, step), below = loss_at(&r, -2 * step);
        double numeric = (above - below) / (2 * step);
        if (!(fabs(slope - numeric) <= 1e-6 * fabs(numeric))) fail_msg("variant %d: %.12g, %.12g", i, slope, numeric);
        rig_end(&r);
    }
}

/* ---- dropout ---- */

static void test_dropout_streams(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    mmrec_model_run run = {.batch = 1, .time = 3, .hem = true};
    int layer[MOST_STREAMS];
    rig r;
    for (int drops = 0; drops < 2; drops++) {
        c.dropout = drops ? 0.25 : 0;
        rig_start(&r, MMREC_MODEL_mmrec, &c, &run, NULL);
        assert_int_equal(dropping_nodes(&r, 0.25, layer), drops ? 6 : 0);
        for (int stream = 0; drops && stream < 6; stream++) assert_int_equal(layer[stream], stream / 3 + 1);
        assert_int_equal(count_nodes(&r, MMREC_OP_dropout, MMREC_PHASE_FORWARD, 0), 0);
        rig_end(&r);
    }
}

/* ---- initial values ---- */

static void assert_spread(rig *r, const char *name, int64_t count, double mean, double deviation) {
    static double v[MAX_VALUES];
    double sum = 0, squares = 0;
    read_named(r, name, v, count);
    for (int64_t i = 0; i < count; i++) sum += v[i];
    for (int64_t i = 0; i < count; i++) squares += (v[i] - mean) * (v[i] - mean);
    double n = (double)count, found = sqrt(squares / n);
    /* Five standard errors of a mean, and of a standard deviation, of n normal numbers. */
    if (!(fabs(sum / n - mean) <= 5 * deviation / sqrt(n))) fail_msg("%s: mean %g", name, sum / n);
    if (!(fabs(found - deviation) <= 5 * deviation / sqrt(2 * n))) fail_msg("%s: deviation %g", name, found);
}

static void test_init(void **state) {
    (void)state;
    mmrec_model_config c = mmrec_model_config_default(50, 32, 2, 4);
    c.slots = 64;
    mmrec_model_run run = {.batch = 1, .time = 2, .hem = true};
    mmrec_error error = {0};
    rig a, b;
    rig_start(&a, MMREC_MODEL_mmrec, &c, &run, NULL);
    run.hem = false;
    rig_start(&b, MMREC_MODEL_mmrec, &c, &run, NULL);
    must(mmrec_model_init(a.exec, a.graph, &a.allocator, 5, &error), &error);
    must(mmrec_model_init(b.exec, b.graph, &b.allocator, 5, &error), &error);
    assert_spread(&a, "embedding.weight", 50 * 32, 0, 0.02);
    double first[50 * 32];
    read_named(&a, "embedding.weight", first, 50 * 32); /* parameter 0: the address is a promise */
    for (int i = 0; i < 50 * 32; i++)
        assert_true(first[i] == 0.02 * mmrec_rng_normal(5, (uint64_t)1 << 32, (uint64_t)i));
    assert_spread(&a, "blocks.1.memory.k", 64 * 32, 0, 0.02);
    assert_spread(&a, "blocks.0.memory.query.weight", 32 * 32, 0, 1 / sqrt(32));
    assert_spread(&a, "blocks.0.mdi_gate.weight", 32 * 64, 0, 1 / sqrt(64));
    assert_spread(&a, "blocks.1.q.weight", 32 * 32, 0, 1 / sqrt(32));
    assert_spread(&a, "blocks.0.norm1.weight", 32, 1, 0);
    assert_spread(&a, "norm.weight", 32, 1, 0);
    assert_spread(&a, "blocks.0.q.bias", 32, 0, 0);
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(a.graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(a.graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        assert_true(difference(&a, t, &b, mmrec_graph_find(b.graph, info.name)) == 0);
    }
    mmrec_tensor q0 = mmrec_graph_find(a.graph, "blocks.0.q.weight");
    mmrec_tensor k0 = mmrec_graph_find(a.graph, "blocks.0.k.weight");
    assert_true(difference(&a, q0, &a, k0) > 0.5); /* other parameters, and other seeds, are other values */
    must(mmrec_model_init(b.exec, b.graph, &b.allocator, 6, &error), &error);
    assert_true(difference(&a, q0, &b, mmrec_graph_find(b.graph, "blocks.0.q.weight")) > 0.5);
    rig_end(&a);
    rig_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_refusals),
        cmocka_unit_test(test_config_real_refusals),
        cmocka_unit_test(test_config_defaults),
        cmocka_unit_test(test_uboo_names),
        cmocka_unit_test(test_run_refusals),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_hem_nodes),
        cmocka_unit_test(test_nothing_more),
        cmocka_unit_test(test_hem_agrees),
        cmocka_unit_test(test_recompute_is_equal),
        cmocka_unit_test(test_logits_are_optional),
        cmocka_unit_test(test_logits_take_memory_once),
        cmocka_unit_test(test_main_loss_has_gradient_one),
        cmocka_unit_test(test_recompute_happens),
        cmocka_unit_test(test_recompute_saves_memory),
        cmocka_unit_test(test_gradient_is_the_derivative),
        cmocka_unit_test(test_dropout_streams),
        cmocka_unit_test(test_init),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
