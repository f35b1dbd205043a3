/* From options to rows and task of mmrec-compare: suites with their published parameter counts, labels, defaults, and
 * every refusal in words. */
#include "compare_setup_rig.h"

/* ---- rows ---- */

typedef struct wanted_row {
    const char *label;
    int64_t parameters;
} wanted_row;

static void expect_rows(const char *words, const wanted_row *rows, int count) {
    const mmrec_compare_setup *s = expect_good(words);
    assert_int_equal(s->run.count, count);
    assert_ptr_equal(s->run.entries, s->entries);
    for (int i = 0; i < count; i++) {
        const mmrec_compare_entry *e = &s->entries[i];
        assert_string_equal(e->label, rows[i].label);
        assert_string_equal(e->refused, "");
        assert_true(e->budget == 0 && e->reached == 0);
        if (rows[i].parameters > 0) assert_int_equal(parameters_of(e, &s->run.task), rows[i].parameters);
    }
}
#define ROWS(words, ...)                                                                                               \
    do {                                                                                                               \
        const wanted_row rows_[] = {__VA_ARGS__};                                                                      \
        expect_rows((words), rows_, (int)(sizeof rows_ / sizeof *rows_));                                              \
    } while (0)

/* The encoder: 562,304 of its layers, 784 * 64 + 64 of the map in front, 64,000 positions, 64 * 10 + 10 of the head. */
static void suite_nsm(void **state) {
    (void)state;
    ROWS("--suite=nsm", {"nsm-simple", 288010}, {"nsm-advanced", 524748}, {"nsm-sequential", 1102668}, {"lstm", 601354},
         {"encoder", 677194});
    const mmrec_compare_task *t = &setup.run.task;
    assert_true(t->kind == MMREC_COMPARE_CLASSES && t->inputs == 784 && t->outputs == 10 && t->batch == 32);
    assert_true(t->time == 1 && t->samples == 10000 && t->held_out == 2000);
    ROWS("--suite=nsm|--variant=repaired", {"nsm-simple", 288010}, {"nsm-advanced variant=repaired", 525260},
         {"nsm-sequential variant=repaired", 1103692}, {"lstm", 601354}, {"encoder", 677194});
}

static void suite_nsm_resized(void **state) {
    (void)state;
    ROWS("--suite=nsm|--inputs=3072", {"nsm-simple", 288010 + 128 * 2288}, {"nsm-advanced", 524748 + 512 * 2288},
         {"nsm-sequential", 1102668 + 1024 * 2288}, {"lstm", 1772810}, {"encoder", 677194 + 64 * 2288});
}

static void suite_language(void **state) {
    (void)state;
    ROWS("--suite=language|--time=128", {"mmrec", 0}, {"lstm", 0}, {"gru", 0}, {"gpt", 842496});
    const mmrec_compare_task *t = &setup.run.task;
    assert_true(t->kind == MMREC_COMPARE_LANGUAGE && t->outputs == 256 && t->batch == 12 && t->time == 128);
    assert_null(t->data_path);
    assert_int_equal(setup.entries[1].config.rnn.head, MMREC_HEAD_ALL);
    assert_int_equal(setup.entries[1].config.rnn.inputs, setup.entries[1].config.rnn.hidden);
    expect_good("--suite=language|--data=some file.txt|--val=0.2");
    assert_string_equal(setup.run.task.data_path, "some file.txt");
    assert_true(setup.run.task.val == 0.2 && setup.entries[3].config.gpt.context == 64);
}

static void suite_mlp(void **state) {
    (void)state;
    ROWS("--suite=mlp|--epochs=300", {"mlp", 3009}, {"mlp fused", 3009});
    const mmrec_compare_task *t = &setup.run.task;
    assert_true(t->kind == MMREC_COMPARE_VALUES && t->inputs == 5 && t->outputs == 1 && t->batch == 32);
    assert_int_equal(t->samples, 10000);
    assert_true(!setup.entries[0].fused && setup.entries[1].fused);
    assert_int_equal(setup.entries[1].config.mlp.loss, MMREC_MLP_MSE);
    assert_int_equal(setup.run.train_steps, 93750); /* 300 * 10,000 / 32 */
}

static void labels(void **state) {
    (void)state;
    ROWS("--models=lstm,lstm,gru|--models=lstm", {"lstm", 0}, {"lstm (2)", 0}, {"gru", 0}, {"lstm (3)", 0});
    ROWS("--model=nsm-simple|--set=gate=gru|--set=gate=lstm|--set=gate=lstm,states=8", {"nsm-simple gate=gru", 288010},
         {"nsm-simple gate=lstm", 320906}, {"nsm-simple gate=lstm,states=8", 0});
    assert_int_equal(setup.entries[2].config.nsm.states, 8);
    ROWS("--model=lstm", {"lstm", 0});
    ROWS("--model=mlp|--task=values|--set=hidden=64,32,16,activation=tanh|--set=hidden=none",
         {"mlp hidden=64,32,16,activation=tanh", 3009}, {"mlp hidden=none", 6});
    assert_int_equal(setup.entries[0].config.mlp.activation, MMREC_ACTIVATION_TANH);
}

/* A label that is too long is cut, and still no two are the same. */
static void long_labels(void **state) {
    (void)state;
    const char *words =
        "--model=mmrec|--set=dim=16,heads=2,layers=1,slots=16,level=1,memory_decay=0.125,uboo_weight=0.25"
        "|--set=dim=16,heads=2,layers=1,slots=16,level=1,memory_decay=0.125,uboo_weight=0.375";
    expect_good(words);
    assert_true(strncmp(setup.entries[1].label, setup.entries[0].label, strlen(setup.entries[0].label)) == 0);
    assert_string_equal(setup.entries[1].label + strlen(setup.entries[0].label), " (2)");
    assert_true(setup.entries[1].config.mmrec.uboo_weight == 0.375);
}

/* Those that can do the task come first; the others say why they cannot. */
static void all_models(void **state) {
    (void)state;
    static const char *const order[] = {"lstm",           "gru",   "encoder", "mlp", "nsm-simple", "nsm-advanced",
                                        "nsm-sequential", "block", "mmrec",   "gpt", "nsm-router", "nsm-layer",
                                        "nsm-states"};
    const mmrec_compare_setup *s = expect_good("--models=all");
    assert_int_equal(s->run.count, MMREC_MODELS);
    assert_int_equal(s->run.task.kind, MMREC_COMPARE_CLASSES);
    for (int i = 0; i < MMREC_MODELS; i++) {
        assert_string_equal(s->entries[i].label, order[i]);
        assert_int_equal(s->entries[i].refused[0] != '\0', i >= 7);
        if (i < 7) assert_true(parameters_of(&s->entries[i], &s->run.task) > 0);
    }
    expect_refused(&s->entries[7],
                   "model block cannot do a task: it is a part of a model, without a loss of its own; leave it out");
    expect_refused(&s->entries[8],
                   "model mmrec cannot do task classes: it reads ids and is judged at every step; leave "
                   "it out, or take --task language");
    s = expect_good("--models=all|--task=values");
    assert_string_equal(s->entries[0].label, "mlp");
    expect_refused(&s->entries[3], "model lstm cannot do task values: its loss is over classes; leave it out, or take "
                                   "--task language");
}

static void one_that_cannot(void **state) {
    (void)state;
    expect_refusal(
        "--models=nsm-layer", MMREC_CONFIG,
        "model nsm-layer cannot do a task: it is a part of a model, without a loss of its own; leave it out");
    expect_refusal("--model=encoder|--task=language|--set=dim=8|--set=dim=16", MMREC_CONFIG,
                   "model encoder cannot do task language: it has no mask, so a step would see those that it is to "
                   "predict; leave it out, or take --task classes");
    expect_good("--models=encoder,lstm|--task=language");
    assert_true(setup.entries[0].refused[0] && !setup.entries[1].refused[0]);
}

/* ---- the task ---- */

static void task_by_models(void **state) {
    (void)state;
    assert_int_equal(expect_good("--models=mmrec,lstm,gpt,nsm-simple")->run.task.kind, MMREC_COMPARE_LANGUAGE);
    expect_refused(&setup.entries[3], "model nsm-simple cannot do task language: it reads vectors, not ids; leave it "
                                      "out, or take --task classes");
    assert_int_equal(expect_good("--models=lstm,gru")->run.task.kind, MMREC_COMPARE_LANGUAGE);
    assert_int_equal(expect_good("--models=lstm,nsm-simple")->run.task.kind, MMREC_COMPARE_CLASSES);
    assert_int_equal(expect_good("--models=mlp")->run.task.kind, MMREC_COMPARE_CLASSES);
    assert_int_equal(expect_good("--models=mlp|--task=values")->run.task.kind, MMREC_COMPARE_VALUES);
    assert_int_equal(expect_good("--models=lstm,nsm-simple|--data=x")->run.task.kind, MMREC_COMPARE_LANGUAGE);
    assert_int_equal(expect_good("--suite=mlp|--task=values")->run.task.kind, MMREC_COMPARE_VALUES);
}

/* Models that read sequences get the inputs in pieces, others as one vector. */
static void sequences(void **state) {
    (void)state;
    const mmrec_compare_setup *s =
        expect_good("--models=lstm,encoder,mlp,nsm-simple|--inputs=784|--time=28|--batch=4|--outputs=7");
    assert_int_equal(s->entries[0].config.rnn.inputs, 28);
    assert_true(s->entries[1].config.encoder.inputs == 28 && s->entries[1].config.encoder.positions == 28);
    assert_true(s->entries[2].config.mlp.inputs == 784 && s->entries[2].config.mlp.outputs == 7);
    assert_int_equal(s->entries[3].config.nsm.inputs, 784);
    for (int i = 0; i < 4; i++) assert_true(parameters_of(&s->entries[i], &s->run.task) > 0);
    s = expect_good("--model=nsm-simple|--time=28|--set=sequence=mean|--set=sequence=off");
    assert_int_equal(s->entries[0].config.nsm.inputs, 28);
    assert_int_equal(s->entries[1].config.nsm.inputs, 784);
    expect_good("--models=lstm,mlp|--task=classes|--inputs=784|--time=10");
    expect_refused(&setup.entries[0],
                   "model lstm reads a sequence, and 784 inputs cannot be cut into 10 steps of the same "
                   "width; give a --time that divides --inputs");
    assert_string_equal(setup.entries[1].refused, "");
}

/* What the engine does at the points of an axis: positions grow with the time, and never shrink. */
static void fits_again(void **state) {
    (void)state;
    mmrec_error error = {0};
    expect_good("--model=gpt|--time=64|--set=context=100");
    mmrec_compare_task task = setup.run.task;
    assert_int_equal(setup.entries[0].config.gpt.context, 100);
    task.time = 512;
    assert_int_equal(mmrec_compare_fit_task(&setup.entries[0], &task, &error), MMREC_OK);
    assert_int_equal(setup.entries[0].config.gpt.context, 512);
    task.kind = MMREC_COMPARE_VALUES;
    assert_int_equal(mmrec_compare_fit_task(&setup.entries[0], &task, &error), MMREC_CONFIG);
    expect_good("--model=lstm|--task=language|--set=inputs=32|--set=hidden=64");
    task = setup.run.task;
    task.outputs = 50;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mmrec_compare_fit_task(&setup.entries[i], &task, &error), MMREC_OK);
        assert_true(setup.entries[i].config.rnn.vocab == 50 && setup.entries[i].config.rnn.outputs == 50);
    }
    assert_true(setup.entries[0].config.rnn.inputs == 32 && setup.entries[1].config.rnn.inputs == 64);
}

/* ---- the run ---- */

static void defaults_of_a_run(void **state) {
    (void)state;
    const mmrec_compare_options *r = &expect_good("--models=lstm,gru")->run;
    mmrec_optimizer_config usual = mmrec_optimizer_config_default();
    assert_true(r->match == MMREC_MATCH_NONE && r->hem && !r->bf16 && !r->recompute && !r->layers && !r->no_ceilings);
    assert_true(r->threads == 1 && r->train_steps == 0 && r->seeds == 3 && r->rate == 1e-3 && !r->axis_name);
    assert_true(r->task.seed == 1 && r->sampling.min_time_s == 0.5 && r->sampling.least_samples == 8);
    assert_memory_equal(&r->optimizer, &usual, sizeof usual);
    assert_string_equal(r->backend->name, "cpu");
    assert_ptr_equal(r->io, &io);
    assert_false(setup.list);
    assert_true(expect_good("--list")->list);
}

static void every_option_arrives(void **state) {
    (void)state;
    const mmrec_compare_options *r =
        &expect_good(
             "--models=mmrec,gpt|--hem=off|--recompute=on|--layers|--ceilings=off|--train-steps=20|--seeds=2|"
             "--rate=0.01|--seed=9|--min-time=1ms|--max-time=2ms|--warmup=0|--target-ci=5|--vocab=300|--batch=3|"
             "--time=16|--dim=32|--axis=time=8:32:*2")
             ->run;
    assert_true(!r->hem && r->recompute && r->layers && r->no_ceilings && r->train_steps == 20 && r->seeds == 2);
    assert_true(r->rate == 0.01 && r->task.seed == 9 && r->task.outputs == 300 && r->task.batch == 3);
    assert_true(r->sampling.min_time_s == 1e-3 && r->sampling.max_time_s == 2e-3 && r->sampling.warmup_s == 0);
    assert_true(r->sampling.target_ci == 0.05 && r->sampling.least_samples == 0 && r->task.time == 16);
    assert_string_equal(r->axis_name, "time");
    assert_true(r->axis_count == 3 && r->axis[0] == 8 && r->axis[2] == 32);
    assert_true(r->entries[0].config.mmrec.dim == 32 && r->entries[0].config.mmrec.ffn == 128);
    assert_true(r->entries[1].config.gpt.dim == 32 && r->entries[1].config.gpt.vocab == 300);
    r = &expect_good("--suite=nsm|--epochs=0.07|--samples=100|--batch=1|--max-time=1ms|--axis=dim=8,16")->run;
    assert_true(r->train_steps == 7 && r->sampling.min_time_s == 1e-3 && r->task.held_out == 20);
}

/* ---- refusals ---- */

static void refused_rows(void **state) {
    (void)state;
    expect_refusal("--set=dim=8", MMREC_USAGE,
                   "--set changes fields of --model NAME, and there is none: name one model; each --set makes a row");
    expect_refusal("--models=lstm|--set=dim=8", MMREC_USAGE,
                   "--set changes fields of --model NAME, and there is none: name one model; each --set makes a row");
    expect_refusal(
        "", MMREC_USAGE,
        "there is nothing to compare: give --models NAME,... or all, --suite nsm, language or mlp, or --model "
        "NAME with --set; --list lists the models");
    expect_refusal("--models=lstm|--suite=nsm", MMREC_USAGE,
                   "--models and --suite exclude each other: give one of them");
    expect_refusal("--models=lstm|--model=gru", MMREC_USAGE,
                   "--models and --model exclude each other: give one of them");
    expect_refusal("--suite=mlp|--model=gru", MMREC_USAGE, "--suite and --model exclude each other: give one of them");
    expect_refusal("--models=,", MMREC_USAGE, "--models names no model");
    expect_refusal("--models=lstm,gpd", MMREC_CONFIG,
                   "there is no model 'gpd', did you mean gpt? (while reading --models)");
    expect_refusal("--model=lsmt", MMREC_CONFIG,
                   "there is no model 'lsmt', did you mean lstm? (while reading --model)");
    expect_refusal("--models=all,all,all", MMREC_USAGE, "--models names more than 32 models");
    expect_refusal("--models=lstm,gru|--variant=repaired", MMREC_USAGE,
                   "--variant is for models nsm-advanced and nsm-sequential, and neither is compared");
    expect_refusal("--model=nsm-advanced|--variant=repaired|--set=variant=faithful", MMREC_USAGE,
                   "--variant and --set variant=faithful exclude each other: leave --variant out");
    expect_refusal("--list|--export-csv=x", MMREC_USAGE, "--export-csv has nothing to write with --list");
}

static void refused_fields(void **state) {
    (void)state;
    expect_refusal("--model=lstm|--set=hiden=8", MMREC_CONFIG,
                   "model lstm has no field 'hiden', did you mean hidden? (while reading --set hiden=8)");
    expect_refusal("--model=lstm|--set=hidden=8,=3", MMREC_USAGE,
                   "'=3' is not KEY=VALUE (while reading --set hidden=8,=3)");
    expect_refusal("--model=lstm|--set=hidden=8,", MMREC_CONFIG,
                   "hidden of model lstm is '8,'; it must be a whole number (while reading --set hidden=8,)");
    expect_refusal("--model=nsm-simple|--set=gate=rnn", MMREC_CONFIG,
                   "gate of model nsm-simple is 'rnn'; it must be lstm|gru (while reading --set gate=rnn)");
    expect_refusal("--model=gpt|--set=heads=5", MMREC_CONFIG,
                   "heads (5) must divide dim (128) (while reading --set heads=5)");
    expect_refusal("--model=lstm|--task=classes|--set=inputs=8", MMREC_USAGE,
                   "inputs of model lstm is decided by the task, which is the same for all rows: give --inputs (while "
                   "reading --set inputs=8)");
    expect_refusal(
        "--model=mlp|--set=loss=mse", MMREC_USAGE,
        "loss of model mlp is decided by the task, which is the same for all rows: give --task (while reading "
        "--set loss=mse)");
    expect_refusal("--model=lstm|--set=head=last", MMREC_USAGE,
                   "head of model lstm is decided by the task, which is the same for all rows (while reading --set "
                   "head=last)");
    expect_refusal(
        "--model=gpt|--set=context=32", MMREC_CONFIG,
        "model gpt has 32 positions, but the task has 64 steps; give it more, or --time (while reading --set "
        "context=32)");
    expect_refusal(
        "--model=nsm-simple|--set=sequence=all", MMREC_CONFIG,
        "sequence=all of model nsm-simple gives a result at every step, and task classes has one class for all "
        "of them; set sequence to off, last or mean (while reading --set sequence=all)");
}

static void refused_tasks(void **state) {
    (void)state;
    expect_refusal("--suite=nsm|--task=language", MMREC_USAGE,
                   "--suite nsm is of task classes; leave --task language out, or name --models instead");
    expect_refusal("--models=lstm|--task=language|--inputs=3", MMREC_USAGE,
                   "--inputs has no effect on task language, which has --vocab and --time");
    expect_refusal("--suite=nsm|--vocab=30", MMREC_USAGE,
                   "--vocab has no effect on task classes, which has --inputs, --outputs and --samples");
    expect_refusal("--suite=nsm|--data=x", MMREC_USAGE,
                   "--data has no effect on task classes, which has --inputs, --outputs and --samples");
    expect_refusal(
        "--suite=language|--val=0.2", MMREC_USAGE,
        "--val has no effect on task language without --data: other sequences of the Markov text are held out");
    expect_refusal("--suite=mlp|--time=2", MMREC_USAGE, "--time has no effect on task values, which has no time");
    expect_refusal("--suite=language|--batch=1000000|--time=10000", MMREC_CONFIG,
                   "--batch (1000000) times --time (10000) is more than 2147483647 tokens");
    expect_refusal("--suite=nsm|--outputs=1", MMREC_CONFIG,
                   "--outputs is 1, but task classes needs at least 2 to choose from");
}

static void refused_runs(void **state) {
    (void)state;
    expect_refusal("--suite=mlp|--epochs=1|--train-steps=5", MMREC_USAGE,
                   "--train-steps and --epochs exclude each other: give one of them");
    expect_refusal("--suite=language|--epochs=1", MMREC_USAGE,
                   "--epochs is for --task classes and values, whose samples are counted: give --train-steps");
    expect_refusal("--suite=mlp|--epochs=1000000|--batch=1", MMREC_USAGE,
                   "--epochs: train-steps must be a whole number from 0 to 1000000000, got 10000000000");
    expect_refusal("--suite=mlp|--seeds=2", MMREC_USAGE, "--seeds is for --train-steps, and nothing is trained");
    expect_refusal("--suite=mlp|--rate=2", MMREC_USAGE, "--rate is for --train-steps, and nothing is trained");
    expect_refusal("--suite=language|--data=x|--val=0|--train-steps=5", MMREC_USAGE,
                   "--train-steps judges by what is held out: --val must be above 0 with it");
    expect_refusal("--suite=mlp|--min-time=2s|--max-time=1s", MMREC_USAGE,
                   "--min-time (2s) is longer than --max-time (1s)");
    expect_refusal("--suite=mlp|--dtype=bf16", MMREC_UNSUPPORTED,
                   "backend cpu stores f32 only: bf16 needs --backend cuda");
}

static void refused_axes(void **state) {
    (void)state;
    expect_refusal("--suite=language|--axis=heads=1,2", MMREC_USAGE,
                   "--axis: heads is not the same size in all models; it can be time, batch or dim");
    expect_refusal("--suite=language|--axis=time=8,16 dim=8,16", MMREC_USAGE,
                   "--axis is one size at a time: give one of them");
    expect_refusal("--suite=language|--axis=time=8,16|--axis=dim=8,16", MMREC_USAGE,
                   "--axis is one size at a time: give one of them");
    expect_refusal("--suite=mlp|--axis=time=1,2", MMREC_USAGE,
                   "--axis time has no effect on task values, which has no time");
    expect_refusal("--suite=nsm|--axis=time=1,5", MMREC_USAGE,
                   "--axis: 784 inputs cannot be cut into 5 steps of the same width; take divisors of --inputs");
    expect_refusal("--suite=nsm|--axis=batch=1,4,4", MMREC_USAGE, "--axis: 4 comes behind 4; the values must rise");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suite_nsm),
        cmocka_unit_test(suite_nsm_resized),
        cmocka_unit_test(suite_language),
        cmocka_unit_test(suite_mlp),
        cmocka_unit_test(labels),
        cmocka_unit_test(long_labels),
        cmocka_unit_test(all_models),
        cmocka_unit_test(one_that_cannot),
        cmocka_unit_test(task_by_models),
        cmocka_unit_test(sequences),
        cmocka_unit_test(fits_again),
        cmocka_unit_test(defaults_of_a_run),
        cmocka_unit_test(every_option_arrives),
        cmocka_unit_test(refused_rows),
        cmocka_unit_test(refused_fields),
        cmocka_unit_test(refused_tasks),
        cmocka_unit_test(refused_runs),
        cmocka_unit_test(refused_axes),
    };
    return cmocka_run_group_tests_name("compare_setup", tests, NULL, NULL);
}
