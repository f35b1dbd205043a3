/* From options to what mmrec-train does: defaults, every option in its field, every refusal, and what the data decides.
 */
#include "mmrec/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_WORDS = 48, WORDS_ROOM = 1024, FILE_BYTES = 5000 };

static mmrec_allocator allocator;
static mmrec_io io;

/* The options of words separated by '|', and of a config file's text unless NULL. */
static void parse(const char *words, const char *config, mmrec_options *out) {
    static char text[WORDS_ROOM], name[] = "mmrec-train";
    static char *argument[MOST_WORDS] = {name};
    mmrec_error error = {0};
    int count = 1;
    snprintf(text, sizeof text, "%s", words);
    for (char *word = strtok(text, "|"); word; word = strtok(NULL, "|")) argument[count++] = word;
    argument[count] = NULL;
    mmrec_status status = mmrec_options_parse(&allocator, &io, MMREC_PROGRAM_TRAIN, count, argument, NULL, out, &error);
    if (status == MMREC_OK && config) {
        status = mmrec_options_parse_config(out, "test.ini", config, strlen(config), &error);
    }
    if (status != MMREC_OK) fail_msg("'%s': %s", words, error.message);
}

static mmrec_train_setup expect_good(const char *words, const char *config, mmrec_options *options) {
    mmrec_train_setup setup;
    mmrec_error error = {0};
    parse(words, config, options);
    if (mmrec_train_setup_create(options, &setup, &error) != MMREC_OK) fail_msg("'%s': %s", words, error.message);
    assert_ptr_equal(setup.options, options);
    return setup;
}

static void expect_refusal_of(const char *words, const char *config, mmrec_status wanted, const char *message) {
    mmrec_options options;
    mmrec_train_setup setup;
    mmrec_error error = {0};
    parse(words, config, &options);
    mmrec_status status = mmrec_train_setup_create(&options, &setup, &error);
    if (status != wanted || strcmp(error.message, message) != 0) {
        fail_msg("'%s': status %s, message\n  %s\nexpected\n  %s", words, mmrec_status_name(status), error.message,
                 message);
    }
    mmrec_options_free(&options);
}

static void expect_refusal(const char *words, const char *message) {
    expect_refusal_of(words, NULL, MMREC_USAGE, message);
}

/* ---- defaults ---- */

static void same(double a, double b) { assert_memory_equal(&a, &b, sizeof a); }

/* The program's defaults are the library's. */
static void defaults_of_the_library(void **state) {
    (void)state;
    mmrec_options options;
    const mmrec_train_config t = expect_good("--task=copy|--backend=cpu|--threads=1", NULL, &options).train;
    const mmrec_train_config d = mmrec_train_config_default();
    const mmrec_optimizer_config o = mmrec_optimizer_config_default();
    same(t.optimizer.beta1, o.beta1);
    same(t.optimizer.beta2, o.beta2);
    same(t.optimizer.epsilon, o.epsilon);
    same(t.optimizer.weight_decay, o.weight_decay);
    same(t.optimizer.clip_norm, o.clip_norm);
    same(t.schedule.rate, d.schedule.rate);
    same(t.schedule.final_share, d.schedule.final_share);
    same(t.spike_score, d.spike_score);
    assert_int_equal(t.schedule.warmup_steps, d.schedule.warmup_steps);
    assert_int_equal(t.schedule.steps, d.schedule.steps);
    assert_int_equal(t.batch, d.batch);
    assert_int_equal(t.time, d.time);
    assert_int_equal(t.accumulate, d.accumulate);
    assert_int_equal(t.seed, d.seed);
    assert_true(t.stream == d.stream && t.hem == d.hem && t.recompute == d.recompute && t.bf16 == d.bf16);
    assert_true(t.graphs == d.graphs);
    mmrec_options_free(&options);
}

static void default_model(void **state) {
    (void)state;
    mmrec_options options;
    const mmrec_model_config m = expect_good("--task=copy|--backend=cpu", NULL, &options).train.model;
    const mmrec_model_config d = mmrec_train_config_default().model;
    assert_true(m.dim == d.dim && m.layers == d.layers && m.heads == d.heads);
    assert_true(m.slots == d.slots && m.level == d.level && d.slots == 64);
    assert_true(m.ffn == d.ffn && m.inner == d.inner && m.pe == d.pe && m.dpg == d.dpg && m.uboo == d.uboo);
    same(m.memory_decay, d.memory_decay);
    same(m.uboo_weight, d.uboo_weight);
    same(m.dropout, d.dropout);
    mmrec_options_free(&options);
}

static void defaults_of_a_run(void **state) {
    (void)state;
    mmrec_options options;
    const mmrec_train_setup s = expect_good("--task=recall|--backend=cpu", NULL, &options);
    assert_int_equal(s.steps, 1000);
    assert_true(s.epochs == 0 && s.max_time_s == 0 && s.stop_after == 0 && s.sample == 0 && s.grad_stats_every == 0);
    assert_true(s.log_every == 1 && s.val_every == 100 && s.val_batches == 20 && s.save_every == 100 && s.keep == 2);
    assert_true(!s.log_path && !s.checkpoint && !s.output && !s.resume && !s.quiet && !s.bench);
    assert_string_equal(s.prompt, "\n");
    assert_true(s.temperature == 0.8 && s.study == MMREC_STUDY_NONE && s.seeds == 5 && isnan(s.target));
    assert_true(s.data.task == MMREC_TASK_RECALL && !s.data.path && !s.data.stream && s.data.held_out == 0.1);
    assert_true(s.data.batch == 12 && s.data.time == 64 && s.data.seed == 1);
    assert_string_equal(s.backend->name, "cpu");
    mmrec_options_free(&options);
}

/* ---- values ---- */

static void values_of_a_training(void **state) {
    (void)state;
    mmrec_options options;
    const mmrec_train_setup s =
        expect_good("--data=x|--backend=ref|--hem=off|--recompute=on|--threads=3|--seed=9|--lr=0.5|"
                    "--lr-final=0.25|--lr-warmup=7|--weight-decay=0.5|--beta1=0.75|--beta2=0.5|"
                    "--clip=2|--accumulate=4|--stream=on|--spike=3|--steps=50|--val=0.5|"
                    "--batch=3|--time=5|--graphs=off",
                    NULL, &options);
    const mmrec_train_config *t = &s.train;
    assert_string_equal(s.backend->name, "ref");
    assert_true(!t->hem && t->recompute && t->threads == 3 && t->seed == 9 && !t->graphs && !t->bf16 && t->stream);
    assert_true(t->schedule.rate == 0.5 && t->schedule.final_share == 0.25 && t->schedule.warmup_steps == 7);
    assert_true(t->schedule.steps == 50 && s.steps == 50 && t->accumulate == 4 && t->spike_score == 3);
    assert_true(t->optimizer.weight_decay == 0.5 && t->optimizer.beta1 == 0.75 && t->optimizer.beta2 == 0.5);
    assert_true(t->optimizer.clip_norm == 2 && t->batch == 3 && t->time == 5);
    assert_true(s.data.batch == 3 && s.data.time == 5 && s.data.stream && s.data.seed == 9 && s.data.held_out == 0.5);
    assert_string_equal(s.data.path, "x");
    mmrec_options_free(&options);
}

static void values_of_a_model(void **state) {
    (void)state;
    mmrec_options options;
    mmrec_train_setup s = expect_good(
        "--data=x|--backend=cpu|--size=small|--dim=96|--layers=5|--heads=6|--slots=48|--level=2|--pe=3|--dpg=7|"
        "--uboo=planning|--uboo-weight=0.5|--memory-decay=0.75|--dropout=0.25",
        NULL, &options);
    const mmrec_model_config *m = &s.train.model;
    assert_true(m->dim == 96 && m->layers == 5 && m->heads == 6 && m->slots == 48 && m->level == 2 && m->pe == 3);
    assert_true(m->dpg == 7 && m->uboo == MMREC_UBOO_PLANNING && m->uboo_weight == 0.5 && m->memory_decay == 0.75);
    assert_true(m->dropout == 0.25 && m->ffn == 384 && m->inner == 24 && s.train.batch == 2 && s.train.time == 512);
    mmrec_options_free(&options);
    s = expect_good("--data=x|--backend=cpu|--size=medium|--ffn=11|--inner=13", NULL, &options);
    assert_true(s.train.model.dim == 1024 && s.train.model.ffn == 11 && s.train.model.inner == 13);
    mmrec_options_free(&options);
}

static void values_of_a_run(void **state) {
    (void)state;
    mmrec_options options;
    mmrec_train_setup s = expect_good(
        "--data=x|--backend=cpu|--max-time=3s|--stop-after=4|--log=l|--log-every=5|--val-every=0|"
        "--val-batches=6|--grad-stats=7|--sample=8|--prompt=p|--temperature=0|--checkpoint=c|--save-every=9|"
        "--keep=10|--resume|--quiet",
        NULL, &options);
    assert_true(s.max_time_s == 3 && s.stop_after == 4 && s.log_every == 5 && s.val_every == 0 && s.val_batches == 6);
    assert_true(s.grad_stats_every == 7 && s.sample == 8 && s.temperature == 0 && s.save_every == 9 && s.keep == 10);
    assert_true(s.resume && s.quiet);
    assert_string_equal(s.log_path, "l");
    assert_string_equal(s.prompt, "p");
    assert_string_equal(s.checkpoint, "c");
    mmrec_options_free(&options);
    s = expect_good("--task=copy|--backend=cpu|--study=dpg|--seeds=3|--target=1.5|--output=o", NULL, &options);
    assert_true(s.study == MMREC_STUDY_DPG && s.seeds == 3 && s.target == 1.5);
    assert_string_equal(s.output, "o");
    mmrec_options_free(&options);
}

/* Words stand in the order of the enumerations that their numbers become. */
static void words(void **state) {
    (void)state;
    for (int task = 1; task < MMREC_TASKS; task++) {
        mmrec_options options;
        char text[64];
        snprintf(text, sizeof text, "--backend=cpu|--task=%s", mmrec_task_name((mmrec_task)task));
        assert_int_equal(expect_good(text, NULL, &options).data.task, task);
        mmrec_options_free(&options);
    }
    static const char *const names[] = {"none", "uboo", "hem", "dpg"};
    for (int study = 0; study <= MMREC_STUDY_DPG; study++) {
        mmrec_options options;
        char text[64];
        snprintf(text, sizeof text, "--backend=cpu|--task=copy|--study=%s", names[study]);
        assert_int_equal(expect_good(text, NULL, &options).study, study);
        mmrec_options_free(&options);
    }
}

/* ---- refusals ---- */

static void refused_data(void **state) {
    (void)state;
    expect_refusal("", "there is nothing to train on: give --data FILE, or --task copy, recall or text-markov");
    expect_refusal("--task=none",
                   "there is nothing to train on: give --data FILE, or --task copy, recall or text-markov");
    expect_refusal("--data=x|--task=copy", "--data and --task copy exclude each other: give one of them");
    expect_refusal("--task=recall|--stream=on",
                   "--stream on is for --data: the sequences of --task recall do not go on");
    expect_refusal("--task=text-markov|--stream=on",
                   "--stream on is for --data: the sequences of --task text-markov do not go on");
    expect_refusal("--task=copy|--epochs=2", "--epochs is for --data: --task copy has no end, give --steps");
    expect_refusal("--task=copy|--val=0.2", "--val is for --data: of a task other sequences are held out");
    expect_refusal("--data=x|--val=0|--val-every=5", "--val-every has no effect with --val 0: nothing is held out");
    expect_refusal("--data=x|--val=0|--val-batches=5", "--val-batches has no effect with --val 0: nothing is held out");
}

static void refused_lengths(void **state) {
    (void)state;
    expect_refusal("--data=x|--epochs=1|--steps=1000", "--steps and --epochs exclude each other: give one of them");
    expect_refusal_of("--data=x|--epochs=1", "steps = 5\n", MMREC_USAGE,
                      "--steps and --epochs exclude each other: give one of them");
    expect_refusal("--data=x|--steps=50|--lr-warmup=51", "--lr-warmup (51) is more than the training's steps (50)");
}

static void refused_modes(void **state) {
    (void)state;
    expect_refusal("--data=x|--bench|--study=hem", "--bench and --study exclude each other");
    expect_refusal("--data=x|--study=hem|--val=0",
                   "--study compares losses on what is held out: --val must be above 0 with it");
    expect_refusal("--data=x|--study=hem|--resume", "--resume has no effect with --study");
    expect_refusal("--data=x|--study=hem|--checkpoint=c", "--checkpoint has no effect with --study");
    expect_refusal("--data=x|--bench|--checkpoint=c", "--checkpoint has no effect with --bench");
    expect_refusal("--data=x|--bench|--stop-after=3", "--stop-after has no effect with --bench");
    expect_refusal("--data=x|--bench|--log=l", "--log has no effect with --bench");
    expect_refusal("--data=x|--bench|--sample=3", "--sample has no effect with --bench");
    expect_refusal("--data=x|--bench|--val-every=3", "--val-every has no effect with --bench");
    expect_refusal("--data=x|--seeds=3", "--seeds is for --study, and there is none");
    expect_refusal("--data=x|--target=3", "--target is for --study, and there is none");
    expect_refusal("--data=x|--bench|--output=o", "--output is for --study, and there is none");
}

static void refused_company(void **state) {
    (void)state;
    expect_refusal("--data=x|--resume",
                   "--resume goes on from a checkpoint, and there is no --checkpoint DIR to find one in");
    expect_refusal_of("--data=x", "resume = on\n", MMREC_USAGE,
                      "--resume goes on from a checkpoint, and there is no --checkpoint DIR to find one in");
    expect_refusal("--data=x|--stop-after=3", "--stop-after is for --checkpoint DIR, and there is none");
    expect_refusal("--data=x|--save-every=3", "--save-every is for --checkpoint DIR, and there is none");
    expect_refusal("--data=x|--keep=3", "--keep is for --checkpoint DIR, and there is none");
    expect_refusal("--data=x|--prompt=a", "--prompt is for --sample, and there is none");
    expect_refusal("--data=x|--temperature=1", "--temperature is for --sample, and there is none");
    expect_refusal("--data=x|--uboo-weight=1", "--uboo-weight is for --uboo planning");
    expect_refusal("--data=x|--uboo=deep|--uboo-weight=1", "--uboo-weight is for --uboo planning");
}

static void refused_models(void **state) {
    (void)state;
    expect_refusal_of("--data=x|--heads=3", NULL, MMREC_CONFIG, "heads (3) must divide dim (128)");
    expect_refusal_of("--data=x|--slots=10", NULL, MMREC_CONFIG,
                      "4^level (4) must divide slots (10): slots are pooled 4 to 1 1 time");
    expect_refusal_of("--data=x|--batch=1048576|--time=16777216", NULL, MMREC_CONFIG,
                      "batch (1048576) times time (16777216) is more than 2147483647 tokens");
    expect_refusal_of("--data=x|--backend=cpu|--dtype=bf16", NULL, MMREC_UNSUPPORTED,
                      "backend cpu stores f32 only: bf16 needs --backend cuda");
}

/* A file may serve several runs: what has no effect in this one is left aside, and says so nowhere. */
static void files_serve_several_runs(void **state) {
    (void)state;
    static const char file[] =
        "checkpoint = c\nstop-after = 5\nresume = on\nlog = l\nsample = 3\nseeds = 4\nkeep = 3\n";
    mmrec_options options;
    mmrec_train_setup s = expect_good("--data=x|--backend=cpu|--bench", file, &options);
    assert_true(s.bench && !s.checkpoint && !s.resume && !s.log_path && s.stop_after == 0 && s.sample == 0);
    mmrec_options_free(&options);
    s = expect_good("--data=x|--backend=cpu|--study=uboo|--uboo-weight=0.2", file, &options);
    assert_true(s.study == MMREC_STUDY_UBOO && !s.checkpoint && s.seeds == 4 && s.train.model.uboo_weight == 0.2);
    mmrec_options_free(&options);
    s = expect_good("--data=x|--backend=cpu", file, &options);
    assert_true(s.checkpoint && s.resume && s.stop_after == 5 && s.keep == 3);
    mmrec_options_free(&options);
}

typedef struct printed {
    char text[8192];
    size_t size;
} printed;

static void collect(void *context, const char *text, size_t size) {
    printed *p = context;
    assert_true(p->size + size < sizeof p->text);
    memcpy(p->text + p->size, text, size);
    p->size += size;
    p->text[p->size] = '\0';
}

/* What --print-config says asks for the same: no default it spells out stands against what was given. */
static void printed_configs_are_accepted(void **state) {
    (void)state;
    static const char *const runs[] = {"--data=x|--backend=cpu|--epochs=2",     "--task=copy|--backend=cpu|--steps=30",
                                       "--data=x|--backend=cpu|--val=0",        "--data=x|--backend=cpu|--bench",
                                       "--task=copy|--backend=cpu|--study=hem", "--data=x|--backend=cpu|--stream=on"};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        static printed text;
        mmrec_options options, again;
        mmrec_train_setup a = expect_good(runs[i], NULL, &options);
        text.size = 0;
        mmrec_options_print(&options, (mmrec_option_writer){collect, &text});
        mmrec_options_free(&options);
        mmrec_train_setup b = expect_good("", text.text, &again);
        a.options = b.options = NULL;
        a.data.path = b.data.path = a.log_path = b.log_path = a.prompt = b.prompt = NULL;
        assert_true(memcmp(&a.train, &b.train, sizeof a.train) == 0);
        assert_true(a.steps == b.steps && a.epochs == b.epochs && a.bench == b.bench && a.study == b.study);
        mmrec_options_free(&again);
    }
}

/* ---- data ---- */

static const char *data_file(void) {
    static char path[64], bytes[FILE_BYTES];
    snprintf(path, sizeof path, "/tmp/mmrec-test-setup-%ld.bin", (long)getpid());
    for (int i = 0; i < FILE_BYTES; i++) bytes[i] = (char)(i * 7);
    mmrec_error error;
    if (mmrec_io_write_file(&io, path, bytes, sizeof bytes, &error) != MMREC_OK) fail_msg("%s", error.message);
    return path;
}

/* The setup once its data is read, which gives `batches` per epoch and `vocab`. */
static mmrec_train_setup with_data(const char *rest, int64_t *batches, int64_t *vocab) {
    char text[256];
    mmrec_options options;
    mmrec_data *data = NULL;
    mmrec_error error = {0};
    snprintf(text, sizeof text, "--backend=cpu|%s", rest);
    mmrec_train_setup s = expect_good(text, NULL, &options);
    mmrec_status status = mmrec_train_setup_data(&allocator, &io, &s, &data, &error);
    if (status != MMREC_OK) fail_msg("%s", error.message);
    *batches = mmrec_data_info_of(data)->batches_per_epoch;
    *vocab = mmrec_data_info_of(data)->vocab;
    mmrec_data_destroy(&data);
    mmrec_options_free(&options);
    assert_int_equal(allocator.total.live_bytes, 0);
    return s;
}

static void epochs_to_steps(void **state) {
    (void)state;
    static const struct {
        double epochs;
        int64_t accumulate;
    } run[] = {{1, 1}, {2, 1}, {0.5, 1}, {1, 3}, {0.07, 1}, {0.001, 1}, {3, 7}, {0.29, 2}};
    const char *path = data_file();
    for (size_t i = 0; i < sizeof run / sizeof *run; i++) {
        char text[128];
        int64_t batches = 0, vocab = 0;
        snprintf(text, sizeof text, "--batch=4|--time=8|--data=%s|--epochs=%g|--accumulate=%lld", path, run[i].epochs,
                 (long long)run[i].accumulate);
        mmrec_train_setup s = with_data(text, &batches, &vocab);
        assert_true(batches > 10);
        assert_int_equal(vocab, 256);
        /* Thousandths of an epoch, whole. */
        int64_t share = (int64_t)lround(1000 * run[i].epochs) * batches, whole = 1000 * run[i].accumulate;
        assert_int_equal(s.steps, (share + whole - 1) / whole);
        assert_int_equal(s.train.schedule.steps, s.steps);
        assert_int_equal(s.train.schedule.warmup_steps, s.steps / 10 < 100 ? s.steps / 10 : 100);
        assert_int_equal(s.train.model.vocab, 256);
    }
    unlink(path);
}

/* 2.2 * 95 is 209, and in doubles a little more. */
static void rounding_costs_no_step(void **state) {
    (void)state;
    char text[128];
    int64_t batches = 0, vocab = 0;
    const char *path = data_file();
    snprintf(text, sizeof text, "--batch=47|--time=1|--data=%s|--epochs=2.2", path);
    mmrec_train_setup s = with_data(text, &batches, &vocab);
    assert_int_equal(batches, 95);
    assert_int_equal(s.steps, 209);
    unlink(path);
}

static void steps_stay(void **state) {
    (void)state;
    int64_t batches = -1, vocab = 0;
    mmrec_train_setup s = with_data("--task=copy|--steps=200|--lr-warmup=200", &batches, &vocab);
    assert_true(s.steps == 200 && s.train.schedule.steps == 200 && s.train.schedule.warmup_steps == 200);
    assert_true(batches == 0 && vocab > 0 && s.train.model.vocab == vocab);
}

static void refused_by_the_data(const char *words_text, mmrec_status wanted, const char *message) {
    mmrec_options options;
    mmrec_data *data = NULL;
    mmrec_error error = {0};
    mmrec_train_setup s = expect_good(words_text, NULL, &options);
    mmrec_status status = mmrec_train_setup_data(&allocator, &io, &s, &data, &error);
    if (status != wanted || strcmp(error.message, message) != 0) {
        fail_msg("status %s, message\n  %s\nexpected\n  %s", mmrec_status_name(status), error.message, message);
    }
    assert_null(data);
    mmrec_options_free(&options);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void refused_once_data_is_read(void **state) {
    (void)state;
    char text[256];
    const char *path = data_file();
    refused_by_the_data("--backend=cpu|--data=/nonexistent/x", MMREC_IO,
                        "cannot open \"/nonexistent/x\": No such file or directory");
    snprintf(text, sizeof text, "--backend=cpu|--batch=1|--time=1|--data=%s|--epochs=1000000", path);
    refused_by_the_data(text, MMREC_USAGE,
                        "--epochs: steps must be a whole number from 1 to 1000000000, got 4499000000");
    snprintf(text, sizeof text, "--backend=cpu|--batch=4|--time=8|--data=%s|--epochs=0.001|--lr-warmup=2", path);
    refused_by_the_data(text, MMREC_USAGE, "--lr-warmup (2) is more than the training's steps (1)");
    unlink(path);
}

static void data_without_memory(void **state) {
    (void)state;
    mmrec_options options;
    mmrec_train_setup s = expect_good("--task=text-markov|--backend=cpu", NULL, &options);
    mmrec_status status = MMREC_NO_MEMORY;
    for (uint64_t k = 1; status != MMREC_OK; k++) {
        mmrec_data *data = NULL;
        mmrec_error error = {0};
        allocator.fail_at = allocator.attempts + k;
        status = mmrec_train_setup_data(&allocator, &io, &s, &data, &error);
        assert_true(status == MMREC_OK || (status == MMREC_NO_MEMORY && !data));
        mmrec_data_destroy(&data);
        assert_int_equal(allocator.total.live_bytes, 0);
        assert_true(k < 100);
    }
    allocator.fail_at = 0;
    mmrec_options_free(&options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_of_the_library),
        cmocka_unit_test(default_model),
        cmocka_unit_test(defaults_of_a_run),
        cmocka_unit_test(values_of_a_training),
        cmocka_unit_test(values_of_a_model),
        cmocka_unit_test(values_of_a_run),
        cmocka_unit_test(words),
        cmocka_unit_test(refused_data),
        cmocka_unit_test(refused_lengths),
        cmocka_unit_test(refused_modes),
        cmocka_unit_test(refused_company),
        cmocka_unit_test(refused_models),
        cmocka_unit_test(files_serve_several_runs),
        cmocka_unit_test(printed_configs_are_accepted),
        cmocka_unit_test(epochs_to_steps),
        cmocka_unit_test(rounding_costs_no_step),
        cmocka_unit_test(steps_stay),
        cmocka_unit_test(refused_once_data_is_read),
        cmocka_unit_test(data_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
