/* --match of mmrec-compare: how near the rows come to a budget, what is preferred among equals, and what is refused. */
#include "compare_setup_rig.h"

static double away(double value, double budget) { return fabs(value / budget - 1); }

/* FLOPs of a step as the budget counts them: all phases of a graph with gradients. */
static double flops_of(const mmrec_compare_entry *e, const mmrec_compare_options *o) {
    mmrec_model_run run = {.batch = o->task.batch, .time = o->task.time, .hem = o->hem, .loss = true, .gradient = true};
    mmrec_graph *graph = NULL;
    mmrec_error error = {0};
    double sum = 0;
    assert_int_equal(mmrec_graph_create(&allocator, MMREC_F32, 1, &graph, &error), MMREC_OK);
    assert_int_equal(mmrec_model_build(e->kind, &e->config, &run, graph, &error), MMREC_OK);
    for (int p = 0; p < MMREC_PHASES; p++) sum += mmrec_graph_work(graph, (mmrec_phase)p).flops;
    mmrec_graph_destroy(&graph);
    return sum;
}

/* The four language models at 800,000 parameters, whichever is first. */
static void parameters_of_a_budget(void **state) {
    (void)state;
    const mmrec_compare_setup *s = expect_good("--models=lstm,gpt,mmrec,gru|--match=parameters|--budget=800000");
    for (int i = 0; i < 4; i++) {
        const mmrec_compare_entry *e = &s->entries[i];
        double parameters = (double)parameters_of(e, &s->run.task);
        assert_string_equal(e->refused, "");
        assert_true(e->budget == 800000 && e->reached == parameters);
        if (!(away(parameters, 800000) < 0.05)) fail_msg("%s has %.0f parameters", e->label, parameters);
    }
    assert_int_equal(s->entries[1].config.gpt.dim % 4, 0);
    assert_int_equal(s->entries[1].config.gpt.heads, 4);
    assert_int_equal(s->entries[2].config.mmrec.heads, 4);
}

static void parameters_of_the_first(void **state) {
    (void)state;
    const mmrec_compare_setup *s = expect_good("--models=gpt,lstm,gru|--match=parameters");
    double first = (double)parameters_of(&s->entries[0], &s->run.task);
    assert_int_equal(s->entries[0].config.gpt.dim, 128);
    for (int i = 0; i < 3; i++) {
        assert_true(s->entries[i].budget == first);
        assert_true(away(s->entries[i].reached, first) < 0.01);
    }
}

static void flops_of_a_step(void **state) {
    (void)state;
    const mmrec_compare_setup *s = expect_good("--models=lstm,mmrec,gpt|--match=flops|--time=32|--batch=2");
    double first = flops_of(&s->entries[0], &s->run);
    assert_true(s->entries[0].budget == first && first > 1e6);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(s->entries[i].refused, "");
        assert_true(s->entries[i].reached == flops_of(&s->entries[i], &s->run));
        assert_true(away(s->entries[i].reached, first) < 0.1);
    }
}

static void widths(void **state) {
    (void)state;
    const mmrec_compare_setup *s = expect_good("--models=lstm,gpt,mmrec|--match=width|--budget=96");
    assert_int_equal(s->entries[0].config.rnn.hidden, 96);
    assert_int_equal(s->entries[0].config.rnn.inputs, 96);
    assert_int_equal(s->entries[1].config.gpt.dim, 96);
    assert_true(s->entries[2].config.mmrec.dim == 96 && s->entries[2].config.mmrec.ffn == 384);
    s = expect_good("--suite=mlp|--match=width|--budget=32");
    const mmrec_widths *hidden = &s->entries[1].config.mlp.hidden;
    assert_true(hidden->width[0] == 32 && hidden->width[1] == 16 && hidden->width[2] == 8);
}

/* At 1,997 a multiple of 8 is within 1 % of the budget; at 13 none is, and heads of 4 have no width as near. */
static void multiples_of_eight(void **state) {
    (void)state;
    assert_int_equal(expect_good("--models=lstm|--match=width|--budget=1997")->entries[0].config.rnn.hidden, 2000);
    assert_int_equal(expect_good("--models=lstm|--match=width|--budget=13")->entries[0].config.rnn.hidden, 13);
    assert_int_equal(expect_good("--models=gpt|--match=width|--budget=13")->entries[0].config.gpt.dim, 12);
    assert_int_equal(setup.entries[0].config.gpt.heads, 4);
    assert_int_equal(expect_good("--models=gpt|--match=width|--budget=6")->entries[0].config.gpt.dim, 6);
    assert_int_equal(setup.entries[0].config.gpt.heads, 3);
}

/* The proportions of an mlp are those of its own widths, whatever was tried on the way. */
static void sized_from_what_it_was(void **state) {
    (void)state;
    const mmrec_compare_setup *s = expect_good("--models=mlp,mlp|--task=values|--match=parameters|--budget=12000");
    const mmrec_widths *hidden = &s->entries[0].config.mlp.hidden;
    assert_true(hidden->width[0] > 120 && hidden->width[0] < 150);
    assert_int_equal(hidden->width[1], (hidden->width[0] + 1) / 2);
    assert_memory_equal(&s->entries[0].config, &s->entries[1].config, sizeof s->entries[0].config.mlp);
}

static void rows_that_cannot_be_sized(void **state) {
    (void)state;
    const mmrec_compare_setup *s = expect_good("--models=lstm,encoder|--task=classes|--inputs=4|--match=parameters|"
                                               "--budget=500");
    assert_string_equal(s->entries[0].refused, "");
    expect_refused(&s->entries[1],
                   "model encoder cannot be sized to 500 parameters: width 1 comes nearest with 12339; take "
                   "another budget, or change its other sizes");
    expect_refusal("--models=encoder|--inputs=4|--match=parameters|--budget=500", MMREC_CONFIG,
                   "model encoder cannot be sized to 500 parameters: width 1 comes nearest with 12339; take another "
                   "budget, or change its other sizes");
    s = expect_good("--model=mlp|--set=hidden=none|--set=hidden=8|--match=parameters|--budget=100000");
    expect_refused(&s->entries[0], "model mlp has no width that it could be sized by");
    assert_string_equal(s->entries[1].refused, "");
}

static void refusals(void **state) {
    (void)state;
    expect_refusal("--models=lstm,gru|--budget=5", MMREC_USAGE,
                   "--budget is for --match, and there is none: say --match width, parameters or flops");
    expect_refusal("--models=lstm|--match=flops", MMREC_USAGE,
                   "--match flops sizes the other rows to the first, and there is one alone: give --budget N");
    expect_refusal(
        "--models=block,lstm|--match=width", MMREC_CONFIG,
        "the first row is what --match sizes the others to, but model block cannot do a task: it is a part of a "
        "model, without a loss of its own; leave it out; put another first or give --budget N");
}

/* What a graph refuses at a row's own width is said, not what it would be at another. */
static void a_model_that_cannot_be_built(void **state) {
    (void)state;
    expect_refusal("--model=nsm-simple|--time=8192|--inputs=8192|--set=sequence=last|--match=flops|--budget=1e9",
                   MMREC_CONFIG, "time is 8192, but nsm-simple makes nodes for every step: give at most 4096");
}

/* Every request may fail once: words, nothing left behind, and no row that is quietly smaller. */
static void no_memory(void **state) {
    (void)state;
    parse("--models=lstm,gru|--match=parameters|--budget=5000|--time=4");
    bool done = false;
    int failures = 0;
    for (uint64_t k = 1; !done; k += 13) {
        mmrec_error error = {0};
        allocator.fail_at = allocator.attempts + k;
        mmrec_status status = mmrec_compare_setup_create(&allocator, &io, &options, &setup, &error);
        done = allocator.attempts < allocator.fail_at;
        if (!done) assert_int_equal(status, MMREC_NO_MEMORY);
        if (!done) assert_true(error.message[0]);
        failures += !done;
        assert_int_equal(allocator.total.live_bytes, 0);
    }
    allocator.fail_at = 0;
    assert_true(failures > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_of_a_budget),
        cmocka_unit_test(parameters_of_the_first),
        cmocka_unit_test(flops_of_a_step),
        cmocka_unit_test(widths),
        cmocka_unit_test(multiples_of_eight),
        cmocka_unit_test(sized_from_what_it_was),
        cmocka_unit_test(rows_that_cannot_be_sized),
        cmocka_unit_test(refusals),
        cmocka_unit_test(a_model_that_cannot_be_built),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests_name("compare_setup_match", tests, NULL, NULL);
}
