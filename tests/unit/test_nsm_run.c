/* The Neural State Machines, run: gradients against numeric derivatives, what is dead in the published memory, carried
 * states, dropout, recomputation. Their values are held to fixtures by mmrec-parity. */
#include "baseline_checks.h"

/* Small sizes that differ from each other, so that no two axes can be taken for one another. */
#define SIMPLE "inputs=5 dim=6 heads=3 states=4 outputs=3 "
#define ADVANCED "inputs=5 dim=6 heads=3 expand=2 kernel=3 slots=7 width=3 hidden=5 outputs=4 time=4 steps=4 "
#define SEQUENTIAL "inputs=5 dim=6 heads=2 expand=3 kernel=2 slots=7 width=3 hidden=5 outputs=4 time=4 steps=3 "

typedef struct model_case {
    mmrec_model_kind kind;
    const char *config;
    mmrec_model_run run;
} model_case;

enum { IDS = 3 }; /* of classes and slots: below all that is asked for here */

/* ---- gradients ---- */

static void check_derivative(const model_case *c, choice chosen) {
    mmrec_error error = {0};
    rig r;
    baseline_start(&r, c->kind, c->config, &c->run, IDS);
    must(rig_step(&r, true, &error), &error);
    assert_true(fabs(assert_derivative(&r, chosen, c->config)) > 1e-3);
    rig_end(&r);
}

#define SEEDED .gradient = true, .seeded = true, .input_gradient = true
#define LOSS .gradient = true, .loss = true
/* More than 8 steps and more than 64: sums and joins of one, two and three levels. */
static const model_case smooth[] = {
    {MMREC_MODEL_nsm_simple, SIMPLE "gate=gru", {.batch = 2, .time = 1, SEEDED}},
    {MMREC_MODEL_nsm_simple, SIMPLE "gate=lstm", {.batch = 2, .time = 1, SEEDED}},
    {MMREC_MODEL_nsm_simple, SIMPLE "gate=gru", {.batch = 3, .time = 1, .carried = true, SEEDED}},
    {MMREC_MODEL_nsm_simple, SIMPLE "gate=lstm", {.batch = 3, .time = 1, LOSS}},
    {MMREC_MODEL_nsm_simple, SIMPLE "sequence=last gate=gru", {.batch = 2, .time = 5, SEEDED}},
    {MMREC_MODEL_nsm_simple, SIMPLE "sequence=last gate=lstm", {.batch = 2, .time = 3, .carried = true, LOSS}},
    {MMREC_MODEL_nsm_simple, SIMPLE "sequence=mean gate=lstm", {.batch = 2, .time = 17, .carried = true, SEEDED}},
    {MMREC_MODEL_nsm_simple, SIMPLE "sequence=mean gate=gru", {.batch = 2, .time = 8, LOSS}},
    {MMREC_MODEL_nsm_simple, SIMPLE "sequence=mean gate=gru", {.batch = 1, .time = 1, SEEDED}},
    {MMREC_MODEL_nsm_simple, SIMPLE "sequence=all gate=gru", {.batch = 2, .time = 11, SEEDED}},
    {MMREC_MODEL_nsm_simple, SIMPLE "sequence=all gate=lstm", {.batch = 1, .time = 66, LOSS}},
    {MMREC_MODEL_nsm_simple, SIMPLE "sequence=all gate=gru", {.batch = 2, .time = 1, .carried = true, SEEDED}},
    {MMREC_MODEL_nsm_advanced, ADVANCED "variant=repaired dropout=0", {.batch = 3, .time = 1, SEEDED}},
    {MMREC_MODEL_nsm_advanced, ADVANCED "variant=repaired dropout=0.3", {.batch = 3, .time = 1, SEEDED}},
    {MMREC_MODEL_nsm_advanced, ADVANCED "variant=repaired kernel=6", {.batch = 2, .time = 1, LOSS}},
    {MMREC_MODEL_nsm_advanced, ADVANCED "variant=repaired kernel=1 layers=3 cell=gru", {.batch = 2, .time = 1, SEEDED}},
    {MMREC_MODEL_nsm_advanced, ADVANCED "variant=repaired time=1 steps=1", {.batch = 2, .time = 1, SEEDED}},
    {MMREC_MODEL_nsm_sequential, SEQUENTIAL "variant=repaired", {.batch = 3, .time = 1, SEEDED}},
    {MMREC_MODEL_nsm_sequential, SEQUENTIAL "variant=repaired layers=2 cell=lstm", {.batch = 3, .time = 1, LOSS}},
    {MMREC_MODEL_nsm_router, "tokens=5 dim=7 states=3 heads=2", {.batch = 2, .time = 4, SEEDED}},
    {MMREC_MODEL_nsm_router, "tokens=5 dim=4 states=3 heads=17", {.batch = 2, .time = 4, SEEDED}},
    {MMREC_MODEL_nsm_router, "tokens=5 dim=5 states=3 heads=1", {.batch = 1, .time = 1, SEEDED}},
    {MMREC_MODEL_nsm_layer, "tokens=5 dim=6 states=4 heads=3", {.batch = 2, .time = 7, SEEDED}},
    {MMREC_MODEL_nsm_states, "dim=5 max=6 initial=4", {.batch = 1, .time = 3, SEEDED}},
};
enum { SMOOTH = sizeof smooth / sizeof *smooth };

static void test_gradient_is_the_derivative(void **state) {
    (void)state;
    for (int i = 0; i < SMOOTH; i++) check_derivative(&smooth[i], every);
}

/* Hidden and seen tokens, in every row at least one that is seen. */
static void test_masked_layer(void **state) {
    (void)state;
    enum { BATCH = 2, TOKENS = 5, STATES = 3, DIM = 4, WIDTH = 3 };
    static const double visible[BATCH * TOKENS] = {1, 0, 1, 0, 0, 0, 0, 1, 1, 1};
    mmrec_model_run run = {.batch = BATCH, .time = TOKENS, .masked = true, SEEDED};
    double gradient[BATCH * TOKENS * WIDTH];
    mmrec_error error = {0};
    rig r;
    baseline_start(&r, MMREC_MODEL_nsm_layer, "tokens=3 dim=4 states=3 heads=2", &run, IDS);
    must(fill_kind(&r, MMREC_TENSOR_PARAM, &error), &error);
    must(fill_kind(&r, MMREC_TENSOR_INPUT, &error), &error);
    must(mmrec_exec_write(r.exec, mmrec_graph_find(r.graph, "visible"), visible, BATCH * TOKENS, &error), &error);
    must(mmrec_exec_run(r.exec, MMREC_PHASE_FORWARD, &error), &error);
    must(mmrec_exec_run(r.exec, MMREC_PHASE_BACKWARD, &error), &error);
    mmrec_tensor tokens = mmrec_graph_gradient(r.graph, mmrec_graph_find(r.graph, "tokens"));
    must(mmrec_exec_read(r.exec, tokens, gradient, BATCH * TOKENS * WIDTH, &error), &error);
    for (int i = 0; i < BATCH * TOKENS; i++) {
        double size = 0;
        for (int q = 0; q < WIDTH; q++) size += fabs(gradient[i * WIDTH + q]);
        assert_true(visible[i] > 0 ? size > 1e-6 : size == 0);
    }
    rig_end(&r);
}

/* ---- the published memory ---- */

/* What no gradient reaches by construction: the write is not differentiated. */
static bool only_written(const char *name) {
    return starts(name, "memory.write") || starts(name, "memory.erase") || starts(name, "memory.add");
}

/* What the written memory does not depend on: there the gradient is the derivative. */
static bool behind_memory(const char *name) {
    return starts(name, "rnn.") || starts(name, "head.") || starts(name, "memory.read");
}
static bool beside_memory(const char *name) { return behind_memory(name) || starts(name, "attention."); }

static void test_faithful_gradient(void **state) {
    (void)state;
    const model_case advanced = {
        MMREC_MODEL_nsm_advanced, ADVANCED "variant=faithful dropout=0.2", {.batch = 3, .time = 1, SEEDED}};
    const model_case sequential = {
        MMREC_MODEL_nsm_sequential, SEQUENTIAL "variant=faithful", {.batch = 3, .time = 1, SEEDED}};
    check_derivative(&advanced, behind_memory);
    check_derivative(&sequential, beside_memory);
}

static int64_t unreached(const rig *r, choice expected) {
    int64_t count = 0;
    for (mmrec_tensor t = next_param(r, 0); t; t = next_param(r, t)) {
        bool chosen = expected(mmrec_graph_tensor_info(r->graph, t).name);
        assert_int_equal(mmrec_graph_unreached(r->graph, t), chosen);
        if (chosen) count += elements_of(r, t);
    }
    return count;
}

static bool none(const char *name) { return name[0] == '\0'; }
static bool importance(const char *name) { return strcmp(name, "importance") == 0; }
static bool initial(const char *name) { return strcmp(name, "initial") == 0; }

/* The published counts of what the write alone would train, at the published sizes. */
static void test_unreached(void **state) {
    (void)state;
    static const struct {
        model_case model;
        choice expected;
        int64_t count;
    } cases[] = {
        {{MMREC_MODEL_nsm_advanced, NSM_SUITE "variant=faithful", {.batch = 2, .time = 1, LOSS}}, only_written, 3185},
        {{MMREC_MODEL_nsm_advanced, "variant=faithful", {.batch = 2, .time = 1, SEEDED}}, only_written, 7869},
        {{MMREC_MODEL_nsm_sequential, "variant=faithful", {.batch = 2, .time = 1, LOSS}}, only_written, 6321},
        {{MMREC_MODEL_nsm_advanced, NSM_SUITE "variant=repaired", {.batch = 2, .time = 1, LOSS}}, none, 0},
        {{MMREC_MODEL_nsm_sequential, "variant=repaired", {.batch = 2, .time = 1, SEEDED}}, none, 0},
        {{MMREC_MODEL_nsm_states, "max=9 initial=4", {.batch = 1, .time = 3, SEEDED}}, importance, 9},
        {{MMREC_MODEL_nsm_simple, SIMPLE, {.batch = 2, .time = 1, .carried = true, LOSS}}, initial, 24},
        {{MMREC_MODEL_nsm_simple, SIMPLE, {.batch = 2, .time = 1, LOSS}}, none, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rig r;
        graph_start(&r, cases[i].model.kind, cases[i].model.config, &cases[i].model.run);
        assert_int_equal(unreached(&r, cases[i].expected), cases[i].count);
        rig_end(&r);
    }
}

/* The largest gradient of what is chosen, and of the rest. */
static void gradient_sizes(rig *r, choice chosen, double size[2]) {
    static double values[MAX_VALUES];
    mmrec_error error = {0};
    size[0] = size[1] = 0;
    for (mmrec_tensor t = next_param(r, 0); t; t = next_param(r, t)) {
        double *largest = &size[chosen(mmrec_graph_tensor_info(r->graph, t).name)];
        int64_t count = elements_of(r, t);
        must(mmrec_exec_read(r->exec, mmrec_graph_gradient(r->graph, t), values, count, &error), &error);
        for (int64_t i = 0; i < count; i++) *largest = fmax(*largest, fabs(values[i]));
    }
}

/* What equal rows of the memory leave without a gradient. */
static bool drives_memory(const char *name) {
    return starts(name, "memory.") || starts(name, "conv.") || starts(name, "norm3");
}

/* The published counts of what never learns from a memory that begins with zeros. */
static void test_dead_counts(void **state) {
    (void)state;
    static const struct {
        mmrec_model_kind kind;
        const char *config;
        int64_t count;
    } dead[] = {{MMREC_MODEL_nsm_advanced, "", 111058},
                {MMREC_MODEL_nsm_advanced, NSM_SUITE, 29954},
                {MMREC_MODEL_nsm_sequential, "", 108738}};
    for (size_t i = 0; i < sizeof dead / sizeof *dead; i++) {
        mmrec_model_run run = {.batch = 1, .time = 1};
        int64_t count = 0;
        rig r;
        graph_start(&r, dead[i].kind, dead[i].config, &run);
        for (mmrec_tensor t = next_param(&r, 0); t; t = next_param(&r, t)) {
            if (drives_memory(mmrec_graph_tensor_info(r.graph, t).name)) count += elements_of(&r, t);
        }
        assert_int_equal(count, dead[i].count);
        rig_end(&r);
    }
}

/* Memory that begins with zeros stays the same in all rows, so that no address matters; from other rows it does. */
static void test_equal_rows(void **state) {
    (void)state;
    mmrec_model_run run = {.batch = 4, .time = 1, SEEDED};
    for (int kind = 0; kind < 2; kind++) {
        mmrec_error error = {0};
        double zeros[21] = {0}, size[2], memory[21];
        rig r;
        baseline_start(&r, kind ? MMREC_MODEL_nsm_sequential : MMREC_MODEL_nsm_advanced,
                       kind ? SEQUENTIAL : ADVANCED "dropout=0", &run, IDS);
        must(rig_step(&r, true, &error), &error);
        gradient_sizes(&r, drives_memory, size);
        assert_true(size[1] > 1e-4 * size[0]);
        must(fill_kind(&r, MMREC_TENSOR_INPUT, &error), &error);
        must(mmrec_exec_write(r.exec, mmrec_graph_find(r.graph, "state.memory"), zeros, 21, &error), &error);
        must(mmrec_exec_run(r.exec, MMREC_PHASE_FORWARD, &error), &error);
        must(mmrec_exec_run(r.exec, MMREC_PHASE_BACKWARD, &error), &error);
        gradient_sizes(&r, drives_memory, size);
        assert_true(size[0] > 1e-3 && size[1] < 1e-14 * size[0]);
        read_named(&r, "next.memory", memory, 21);
        for (int i = 3; i < 21; i++) assert_true(fabs(memory[i] - memory[i - 3]) < 1e-14);
        assert_true(fabs(memory[0]) > 1e-3);
        rig_end(&r);
    }
}

/* All six maps of the memory learn, and samples do not see each other. */
static void test_repaired_learns(void **state) {
    (void)state;
    static const char *const maps[] = {"read_key", "read_strength", "write_key", "write_strength", "erase", "add"};
    mmrec_model_run run = {.batch = 3, .time = 1, SEEDED};
    for (int i = 0; i < 6; i++) {
        double values[32], sum = 0;
        char name[48];
        mmrec_error error = {0};
        rig r;
        baseline_start(&r, MMREC_MODEL_nsm_advanced, ADVANCED "variant=repaired dropout=0", &run, IDS);
        must(rig_step(&r, true, &error), &error);
        snprintf(name, sizeof name, "memory.%s.weight", maps[i]);
        mmrec_tensor map = mmrec_graph_find(r.graph, name);
        int64_t count = elements_of(&r, map);
        must(mmrec_exec_read(r.exec, mmrec_graph_gradient(r.graph, map), values, count, &error), &error);
        for (int64_t k = 0; k < count; k++) sum += fabs(values[k]);
        assert_true(sum > 1e-6);
        rig_end(&r);
    }
}

/* Results of sample 0 with its neighbours, and alone. */
static void test_repaired_samples_are_apart(void **state) {
    (void)state;
    mmrec_model_run three = {.batch = 3, .time = 1}, one = {.batch = 1, .time = 1};
    double y[12], alone[4], x[15];
    mmrec_error error = {0};
    rig a, b;
    for (int i = 0; i < 15; i++) x[i] = mmrec_rng_normal(3, 1, (uint64_t)i);
    baseline_start(&a, MMREC_MODEL_nsm_sequential, SEQUENTIAL "variant=repaired", &three, IDS);
    baseline_start(&b, MMREC_MODEL_nsm_sequential, SEQUENTIAL "variant=repaired", &one, IDS);
    must(rig_step(&a, false, &error), &error);
    must(rig_step(&b, false, &error), &error);
    must(mmrec_exec_write(a.exec, mmrec_graph_find(a.graph, "x"), x, 15, &error), &error);
    must(mmrec_exec_write(b.exec, mmrec_graph_find(b.graph, "x"), x, 5, &error), &error);
    must(mmrec_exec_run(a.exec, MMREC_PHASE_FORWARD, &error), &error);
    must(mmrec_exec_run(b.exec, MMREC_PHASE_FORWARD, &error), &error);
    read_named(&a, "y", y, 12);
    read_named(&b, "y", alone, 4);
    for (int i = 0; i < 4; i++) assert_true(fabs(y[i] - alone[i]) <= 1e-13 * (1 + fabs(alone[i])));
    rig_end(&a);
    rig_end(&b);
}

/* ---- the same function, run in different ways ---- */

static void test_recompute_is_equal(void **state) {
    (void)state;
    for (int i = 0; i < SMOOTH; i++) {
        const model_case *c = &smooth[i];
        mmrec_model_run other = c->run;
        other.recompute = true;
        bool has_blocks = c->kind != MMREC_MODEL_nsm_router && c->kind != MMREC_MODEL_nsm_states;
        assert_int_equal(assert_runs_agree(c->kind, c->config, &c->run, &other, IDS) > 0, has_blocks);
    }
}

/* Over time nothing of a step stays but its states. */
static void test_recompute_saves_memory(void **state) {
    (void)state;
    mmrec_model_run run = {.batch = 4, .time = 16, LOSS};
    rig keep, again;
    baseline_start(&keep, MMREC_MODEL_nsm_simple, SIMPLE "sequence=last", &run, IDS);
    run.recompute = true;
    baseline_start(&again, MMREC_MODEL_nsm_simple, SIMPLE "sequence=last", &run, IDS);
    assert_true(2 * mmrec_plan_arena_bytes(again.plan, MMREC_ARENA_SAVED) <
                mmrec_plan_arena_bytes(keep.plan, MMREC_ARENA_SAVED));
    assert_true(mmrec_plan_total_bytes(again.plan) < mmrec_plan_total_bytes(keep.plan));
    rig_end(&keep);
    rig_end(&again);
}

/* Two runs of one graph draw the same where the seed is the same, and only there. */
static void test_dropout_draws(void **state) {
    (void)state;
    mmrec_model_run run = {.batch = 3, .time = 1};
    double y[3][12];
    mmrec_error error = {0};
    rig r;
    baseline_start(&r, MMREC_MODEL_nsm_advanced, ADVANCED "variant=repaired dropout=0.4", &run, IDS);
    for (int i = 0; i < 3; i++) {
        must(rig_step(&r, false, &error), &error);
        must(fill_kind(&r, MMREC_TENSOR_INPUT, &error), &error);
        mmrec_exec_seed(r.exec, i == 2 ? 8 : 7);
        must(mmrec_exec_run(r.exec, MMREC_PHASE_FORWARD, &error), &error);
        read_named(&r, "y", y[i], 12);
    }
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    assert_memory_not_equal(y[0], y[2], sizeof y[0]);
    rig_end(&r);
}

/* Every place that the published model has, each with draws of its own: the attention's weights, after attention.out,
 * between RNN layers, after rnn.out, on y. */
static void test_dropout_places(void **state) {
    (void)state;
    for (int layers = 1; layers <= 3; layers++) {
        mmrec_model_run run = {.batch = 2, .time = 1};
        char config[160];
        int places = 4 + layers - 1;
        int layer_of[MOST_STREAMS];
        rig r;
        snprintf(config, sizeof config, "%s dropout=0.25 layers=%d", ADVANCED, layers);
        graph_start(&r, MMREC_MODEL_nsm_advanced, config, &run);
        assert_int_equal(dropping_nodes(&r, 0.25, layer_of), places);
        for (int stream = 0; stream < places; stream++) assert_true(layer_of[stream] != 0);
        assert_int_equal(count_nodes(&r, MMREC_OP_dropout, MMREC_PHASE_FORWARD, 4), 1); /* on y */
        rig_end(&r);
    }
}

/* ---- over time ---- */

/* `last` and `mean` are the last step and the mean of what `all` gives. */
static void test_sequence_results(void **state) {
    (void)state;
    enum { STEPS = 19, BATCH = 2, OUTPUTS = 3 };
    static const char *const configs[] = {SIMPLE "sequence=all", SIMPLE "sequence=last", SIMPLE "sequence=mean"};
    mmrec_model_run run = {.batch = BATCH, .time = STEPS};
    double all[BATCH * STEPS * OUTPUTS], y[2][BATCH * OUTPUTS];
    for (int i = 0; i < 3; i++) {
        mmrec_error error = {0};
        rig r;
        baseline_start(&r, MMREC_MODEL_nsm_simple, configs[i], &run, IDS);
        must(rig_step(&r, false, &error), &error);
        read_named(&r, "y", i ? y[i - 1] : all, i ? BATCH * OUTPUTS : BATCH * STEPS * OUTPUTS);
        rig_end(&r);
    }
    for (int k = 0; k < BATCH * OUTPUTS; k++) {
        const double *of = all + k / OUTPUTS * STEPS * OUTPUTS + k % OUTPUTS;
        double sum = 0;
        for (int t = 0; t < STEPS; t++) sum += of[t * OUTPUTS];
        assert_true(fabs(y[0][k] - of[(STEPS - 1) * OUTPUTS]) <= 1e-13);
        assert_true(fabs(y[1][k] - sum / STEPS) <= 1e-12);
    }
}

/* ---- states given by the caller ---- */

/* The trained first states, given for every sample, are what a run without them starts from. */
static void test_carried_initial(void **state) {
    (void)state;
    enum { BATCH = 3, STATES = 4, DIM = 6 };
    static const char *const configs[] = {SIMPLE "gate=gru", SIMPLE "gate=lstm sequence=last", SIMPLE "sequence=mean",
                                          SIMPLE "sequence=all"};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        mmrec_model_run own = {.batch = BATCH, .time = i ? 5 : 1, SEEDED}, given = own;
        static double start[BATCH * STATES * DIM], y[2][BATCH * 5 * 3], states[2][BATCH * 5 * STATES * DIM];
        mmrec_error error = {0};
        rig a, b;
        given.carried = true;
        baseline_start(&a, MMREC_MODEL_nsm_simple, configs[i], &own, IDS);
        baseline_start(&b, MMREC_MODEL_nsm_simple, configs[i], &given, IDS);
        must(rig_step(&a, true, &error), &error);
        must(fill_kind(&b, MMREC_TENSOR_PARAM, &error), &error);
        must(fill_kind(&b, MMREC_TENSOR_INPUT, &error), &error);
        read_named(&b, "initial", start, STATES * DIM);
        for (int k = STATES * DIM; k < BATCH * STATES * DIM; k++) start[k] = start[k - STATES * DIM];
        must(mmrec_exec_write(b.exec, mmrec_graph_find(b.graph, "s0"), start, BATCH * STATES * DIM, &error), &error);
        must(mmrec_exec_run(b.exec, MMREC_PHASE_FORWARD, &error), &error);
        must(mmrec_exec_run(b.exec, MMREC_PHASE_BACKWARD, &error), &error);
        int64_t outputs = elements_of(&a, mmrec_graph_find(a.graph, "y")),
                all = elements_of(&a, mmrec_graph_find(a.graph, "states"));
        read_named(&a, "y", y[0], outputs);
        read_named(&b, "y", y[1], outputs);
        read_named(&a, "states", states[0], all);
        read_named(&b, "states", states[1], all);
        assert_true(mmrec_compare(y[1], y[0], outputs).max_rel <= 1e-13);
        assert_true(mmrec_compare(states[1], states[0], all).max_rel <= 1e-13);
        assert_true(difference(&b, mmrec_graph_gradient(b.graph, mmrec_graph_find(b.graph, "gate.candidate.weight")),
                               &a, mmrec_graph_gradient(a.graph, mmrec_graph_find(a.graph, "gate.candidate.weight"))) <=
                    1e-12);
        /* The gradient of the shared states is the sum over the samples. */
        static double shared[STATES * DIM], each[BATCH * STATES * DIM];
        must(mmrec_exec_read(a.exec, mmrec_graph_gradient(a.graph, mmrec_graph_find(a.graph, "initial")), shared,
                             STATES * DIM, &error),
             &error);
        must(mmrec_exec_read(b.exec, mmrec_graph_gradient(b.graph, mmrec_graph_find(b.graph, "s0")), each,
                             BATCH * STATES * DIM, &error),
             &error);
        for (int k = STATES * DIM; k < BATCH * STATES * DIM; k++) each[k % (STATES * DIM)] += each[k];
        assert_true(mmrec_compare(each, shared, STATES * DIM).max_rel <= 1e-12);
        rig_end(&a);
        rig_end(&b);
    }
}

/* One sequence in two pieces, the states handed on, is the sequence. */
static void test_carried_on(void **state) {
    (void)state;
    enum { STEPS = 5, FIRST = 2, VECTOR = 24, INPUTS = 5 };
    mmrec_model_run whole = {.batch = 1, .time = STEPS}, begin = {.batch = 1, .time = FIRST},
                    rest = {.batch = 1, .time = STEPS - FIRST, .carried = true};
    double x[STEPS * INPUTS], all[STEPS * VECTOR], head[FIRST * VECTOR], tail[(STEPS - FIRST) * VECTOR];
    const mmrec_model_run *runs[] = {&whole, &begin, &rest};
    double *to[] = {all, head, tail};
    for (int i = 0; i < STEPS * INPUTS; i++) x[i] = mmrec_rng_normal(5, 1, (uint64_t)i);
    for (int i = 0; i < 3; i++) {
        mmrec_error error = {0};
        rig r;
        baseline_start(&r, MMREC_MODEL_nsm_simple, SIMPLE "sequence=last", runs[i], IDS);
        must(fill_kind(&r, MMREC_TENSOR_PARAM, &error), &error);
        must(mmrec_exec_write(r.exec, mmrec_graph_find(r.graph, "x"), x + (i == 2 ? FIRST * INPUTS : 0),
                              runs[i]->time * INPUTS, &error),
             &error);
        if (i == 2) {
            must(mmrec_exec_write(r.exec, mmrec_graph_find(r.graph, "s0"), head + (FIRST - 1) * VECTOR, VECTOR, &error),
                 &error);
        }
        must(mmrec_exec_run(r.exec, MMREC_PHASE_FORWARD, &error), &error);
        read_named(&r, "states", to[i], runs[i]->time * VECTOR);
        rig_end(&r);
    }
    assert_true(mmrec_compare(head, all, FIRST * VECTOR).max_rel <= 1e-13);
    assert_true(mmrec_compare(tail, all + FIRST * VECTOR, (STEPS - FIRST) * VECTOR).max_rel <= 1e-12);
}

/* Values of all steps are a result to look at: a training graph does without. */
static void test_states_are_no_burden(void **state) {
    (void)state;
    mmrec_model_run run = {.batch = 2, .time = 9, LOSS};
    rig r;
    graph_start(&r, MMREC_MODEL_nsm_simple, SIMPLE "sequence=last", &run);
    assert_int_equal(mmrec_graph_find(r.graph, "states"), 0);
    assert_int_equal(count_nodes(&r, MMREC_OP_concat, MMREC_PHASE_FORWARD, 0), 0);
    rig_end(&r);
    run.gradient = false;
    graph_start(&r, MMREC_MODEL_nsm_simple, SIMPLE "sequence=last", &run);
    assert_true(mmrec_graph_find(r.graph, "states") != 0);
    rig_end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_is_the_derivative),
        cmocka_unit_test(test_masked_layer),
        cmocka_unit_test(test_faithful_gradient),
        cmocka_unit_test(test_unreached),
        cmocka_unit_test(test_dead_counts),
        cmocka_unit_test(test_equal_rows),
        cmocka_unit_test(test_repaired_learns),
        cmocka_unit_test(test_repaired_samples_are_apart),
        cmocka_unit_test(test_recompute_is_equal),
        cmocka_unit_test(test_recompute_saves_memory),
        cmocka_unit_test(test_dropout_draws),
        cmocka_unit_test(test_dropout_places),
        cmocka_unit_test(test_sequence_results),
        cmocka_unit_test(test_carried_initial),
        cmocka_unit_test(test_carried_on),
        cmocka_unit_test(test_states_are_no_burden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
