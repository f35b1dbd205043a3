/* Studies that really train, tiny ones: variants begin alike, runs are the same twice, and what stops one early: a
 * signal, the time, a run that diverges, no memory, data that changed. */
#include "run/study.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ARGUMENTS = 40 };

static mmrec_allocator allocator;
static mmrec_io io;

typedef struct rig {
    mmrec_options options;
    mmrec_train_setup setup;
    mmrec_train_context context;
    study *s;
    int count;
    char *argument[ARGUMENTS];
    char text[ARGUMENTS][128];
} rig;

static void must(mmrec_status status, const mmrec_error *error) {
    char text[1024];
    if (status != MMREC_OK) fail_msg("%s", mmrec_error_text(error, text, sizeof text));
}

static void add_words(rig *r, const char *words) {
    while (*words) {
        size_t length = strcspn(words, " ");
        assert_true(r->count + 1 < ARGUMENTS && length < sizeof r->text[0]);
        snprintf(r->text[r->count], sizeof r->text[0], "%.*s", (int)length, words);
        r->argument[r->count] = r->text[r->count];
        r->count++;
        words += length + (words[length] == ' ');
    }
}

/* A study of a model so small that a step takes half a millisecond. Words are separated by blanks. */
static mmrec_status try_begin(rig *r, const char *words, mmrec_error *error) {
    memset(r, 0, sizeof *r);
    r->context = (mmrec_train_context){&allocator, &io, &io, NULL};
    static char *const environment[] = {"MMREC_DIM=8",
                                        "MMREC_HEADS=2",
                                        "MMREC_SLOTS=16",
                                        "MMREC_LEVEL=1",
                                        "MMREC_TIME=8",
                                        "MMREC_BATCH=2",
                                        "MMREC_THREADS=1",
                                        "MMREC_QUIET=on",
                                        "MMREC_SEEDS=2",
                                        "MMREC_STEPS=6",
                                        "MMREC_VAL_EVERY=2",
                                        "MMREC_VAL_BATCHES=2",
                                        NULL};
    add_words(r, "mmrec-train");
    add_words(r, words);
    MMREC_TRY(mmrec_options_parse(&allocator, &io, MMREC_PROGRAM_TRAIN, r->count, r->argument, environment, &r->options,
                                  error));
    MMREC_TRY(mmrec_train_setup_create(&r->options, &r->setup, error));
    return study_create(&allocator, &r->setup, &r->s, error);
}

static void begin(rig *r, const char *words) {
    mmrec_error error;
    must(try_begin(r, words, &error), &error);
}

static void end(rig *r) {
    study_destroy(&r->s);
    mmrec_options_free(&r->options);
    assert_int_equal(allocator.total.live_bytes, 0);
}

/* ---- whole ones ---- */

static void uboo_begins_alike(void **state) {
    (void)state;
    mmrec_error error;
    rig r;
    begin(&r, "--task copy --study uboo --seed 7");
    must(study_train(&r.context, r.s, &error), &error);
    const study *s = r.s;
    assert_true(s->begun == 2 && s->variant_count == 3 && s->steps == 6 && s->stopped[0] == '\0');
    assert_true(s->seed[0] == 7 && s->seed[1] == 8);
    for (int k = 0; k < 2; k++) {
        for (int v = 0; v < 3; v++) {
            const study_run *run = &s->run[k][v];
            assert_true(run->step_count == 6 && run->point_count == 4 && run->failure[0] == '\0');
            assert_true(run->points[0].step == 0 && run->points[3].step == 6);
            /* Deep has parameters of its own in between: what is shared is the baseline's all the same. */
            assert_true(run->points[0].validation.loss == s->run[k][0].points[0].validation.loss);
            assert_true(run->steps[0].loss_main == s->run[k][0].steps[0].loss_main);
            assert_true(isfinite(run->points[0].angle.cosine) == (v > 0));
            for (int i = 0; i < 6; i++) assert_true(run->step_ns[i] > 0);
        }
        assert_true(s->run[k][2].points[3].validation.loss != s->run[k][0].points[3].validation.loss);
    }
    assert_true(s->run[0][0].points[0].validation.loss != s->run[1][0].points[0].validation.loss);
    assert_true(s->variant[2].parameters > s->variant[0].parameters && s->variant[1].auxiliary);
    assert_false(s->variant[0].auxiliary);
    end(&r);
}

/* An auxiliary loss of weight 0 is none: the two must not differ in any bit. */
static void weight_of_nothing(void **state) {
    (void)state;
    mmrec_error error;
    study_summary summary;
    rig r;
    begin(&r, "--task copy --study uboo --uboo-weight 0");
    must(study_train(&r.context, r.s, &error), &error);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 4; i++)
            assert_true(r.s->run[k][1].points[i].validation.loss == r.s->run[k][0].points[i].validation.loss);
    }
    study_summarise(r.s, &summary);
    assert_true(summary.row[STUDY_LOSS].difference[1].estimate.mean == 0);
    assert_int_equal(summary.row[STUDY_LOSS].difference[1].word, STUDY_NO_DIFFERENCE);
    end(&r);
}

static void other_kinds(void **state) {
    (void)state;
    mmrec_error error;
    rig r;
    begin(&r, "--task recall --study hem");
    must(study_train(&r.context, r.s, &error), &error);
    assert_true(!r.s->variant[0].train.hem && r.s->variant[1].train.hem);
    assert_int_equal(r.s->variant[0].parameters, r.s->variant[1].parameters);
    for (int i = 0; i < 4; i++) {
        double a = r.s->run[1][0].points[i].validation.loss, b = r.s->run[1][1].points[i].validation.loss;
        assert_true(fabs(a - b) <= 1e-5 * a); /* the same function */
    }
    end(&r);
    begin(&r, "--task text-markov --study dpg");
    assert_true(r.s->variant[0].train.model.dpg == 0 && r.s->variant[1].train.model.dpg == 1);
    must(study_train(&r.context, r.s, &error), &error);
    assert_true(r.s->variant[0].parameters != r.s->variant[1].parameters);
    end(&r);
    begin(&r, "--task text-markov --study dpg --dpg 3");
    assert_true(r.s->variant[0].train.model.dpg == 0 && r.s->variant[1].train.model.dpg == 3);
    end(&r);
}

static void same_twice(void **state) {
    (void)state;
    mmrec_error error;
    mmrec_buffer text[2];
    rig r;
    for (int i = 0; i < 2; i++) {
        begin(&r, "--task copy --study uboo --dropout 0.1");
        must(study_train(&r.context, r.s, &error), &error);
        for (int k = 0; k < 2; k++) {
            for (int v = 0; v < 3; v++) memset(r.s->run[k][v].step_ns, 0, 6 * sizeof(double));
        }
        mmrec_buffer_begin(&text[i], &allocator);
        study_steps_csv(r.s, &text[i]);
        study_curves_csv(r.s, &text[i]);
        study_destroy(&r.s);
        mmrec_options_free(&r.options);
    }
    assert_int_equal(text[0].size, text[1].size);
    assert_memory_equal(text[0].data, text[1].data, text[0].size);
    for (int i = 0; i < 2; i++) mmrec_buffer_free(&text[i]);
    assert_int_equal(allocator.total.live_bytes, 0);
}

/* ---- ends before the end ---- */

static int asked, answer_after;
static int signal_later(void) { return ++asked > answer_after ? 2 : 0; }

static void a_signal(void **state) {
    (void)state;
    mmrec_error error;
    study_summary summary;
    rig r;
    begin(&r, "--task copy --study uboo");
    r.context.stop_signal = signal_later;
    asked = 0;
    answer_after = 3;
    must(study_train(&r.context, r.s, &error), &error);
    assert_string_equal(r.s->stopped, "it was interrupted");
    for (int v = 0; v < 3; v++) {
        assert_int_equal(r.s->run[0][v].step_count, 3);
        assert_int_equal(r.s->run[0][v].points[r.s->run[0][v].point_count - 1].step,
                         3); /* looked at where it stopped */
    }
    study_summarise(r.s, &summary);
    assert_true(!summary.complete && summary.seeds == 1 && summary.reached == 3);
    assert_true(isfinite(summary.row[STUDY_LOSS].difference[2].estimate.mean));
    end(&r);
    begin(&r, "--task copy --study uboo");
    r.context.stop_signal = signal_later;
    asked = 0;
    answer_after = 8;
    must(study_train(&r.context, r.s, &error), &error);
    study_summarise(r.s, &summary);
    assert_true(!summary.complete && summary.seeds == 1 && summary.reached == 6 && r.s->begun == 2);
    end(&r);
}

static void the_time(void **state) {
    (void)state;
    mmrec_error error;
    rig r;
    begin(&r, "--task copy --study hem --steps 100000 --val-every 0 --max-time 300ms");
    must(study_train(&r.context, r.s, &error), &error);
    assert_string_equal(r.s->stopped, "the time of --max-time was over");
    assert_true(r.s->run[0][0].step_count > 0 && r.s->run[0][0].step_count < 100000);
    assert_int_equal(r.s->run[0][0].step_count, r.s->run[0][1].step_count);
    assert_int_equal(r.s->run[0][0].point_count, 2);
    end(&r);
}

/* A rate at which weights leave the range of float: every run diverges, and that is a result. */
static void divergence(void **state) {
    (void)state;
    mmrec_error error;
    study_summary summary;
    mmrec_buffer text;
    rig r;
    begin(&r, "--task copy --study uboo --lr-warmup 0 --steps 50");
    r.setup.train.schedule.rate = 1e30;
    must(study_train(&r.context, r.s, &error), &error);
    for (int k = 0; k < 2; k++) {
        for (int v = 0; v < 3; v++) {
            const study_run *run = &r.s->run[k][v];
            assert_non_null(strstr(run->failure, "diverged at step "));
            assert_true(run->step_count >= MMREC_GUARD_MOST && run->step_count < 50);
            assert_true(run->steps[run->step_count - 1].skipped);
        }
    }
    study_summarise(r.s, &summary);
    assert_true(summary.complete && summary.row[STUDY_LOSS].side[0].count == 0 && isnan(summary.target));
    mmrec_buffer_begin(&text, &allocator);
    study_report(r.s, &summary, &text);
    mmrec_buffer_bytes(&text, "", 1);
    assert_non_null(strstr(text.data, "2 of 2 in the baseline, 2 of 2 in UB\xc3\x96O deep"));
    assert_null(strstr(text.data, "nan"));
    assert_null(strstr(text.data, "inf "));
    mmrec_buffer_free(&text);
    end(&r);
}

static char data_path[64];

static void write_text(const char *path, int step) {
    char text[4000];
    mmrec_error error;
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i * (size_t)step % 23);
    must(mmrec_io_write_file(&io, path, text, sizeof text, &error), &error);
}

static int change_data(void) {
    if (asked++ == 0) write_text(data_path, 7);
    return 0;
}

static void data_that_changes(void **state) {
    (void)state;
    mmrec_error error;
    char words[160];
    rig r;
    snprintf(data_path, sizeof data_path, "/tmp/mmrec-study-data-%d", (int)getpid());
    write_text(data_path, 5);
    snprintf(words, sizeof words, "--data %s --study dpg", data_path);
    begin(&r, words);
    r.context.stop_signal = change_data;
    asked = 0;
    assert_int_equal(study_train(&r.context, r.s, &error), MMREC_IO);
    assert_non_null(strstr(error.message, "changed while the study ran: its CRC-32 was "));
    assert_non_null(strstr(r.s->stopped, "it failed: "));
    assert_int_equal(r.s->run[0][1].step_count, 6); /* the first seed is there */
    unlink(data_path);
    end(&r);
}

/* Wherever memory ends, what was made is given back. */
static void no_memory(void **state) {
    (void)state;
    mmrec_error error;
    rig r;
    uint64_t requests = 0;
    for (uint64_t k = 0; k <= requests; k += 1 + requests / 60) {
        begin(&r, "--task copy --study uboo --seeds 1 --steps 2");
        uint64_t before = allocator.attempts;
        allocator.fail_at = k > 0 ? before + k : 0;
        mmrec_status status = study_train(&r.context, r.s, &error);
        allocator.fail_at = 0;
        if (k == 0) requests = allocator.attempts - before;
        if (status != (k == 0 ? MMREC_OK : MMREC_NO_MEMORY)) fail_msg("request %d: status %d", (int)k, (int)status);
        end(&r);
    }
    assert_true(requests > 100);
}

/* ---- refusals ---- */

static void refusals(void **state) {
    (void)state;
    static const struct {
        const char *words, *want;
        mmrec_status status;
    } cases[] = {
        {"--task copy --study hem --hem on",
         "--hem cannot be given with --study hem, which trains off and on: leave it out", MMREC_USAGE},
        {"--task copy --study uboo --uboo deep",
         "--uboo cannot be given with --study uboo, which trains off, planning and deep: leave it out", MMREC_USAGE},
        {"--task copy --study uboo --layers 1",
         "--study uboo needs at least 2 layers, got 1: the heads of deep are on the blocks before the last",
         MMREC_CONFIG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmrec_error error;
        rig r;
        assert_int_equal(try_begin(&r, cases[i].words, &error), cases[i].status);
        assert_string_equal(error.message, cases[i].want);
        assert_null(r.s);
        end(&r);
    }
    rig r;
    begin(&r, "--task copy --study hem --uboo planning --layers 1");
    end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uboo_begins_alike), cmocka_unit_test(weight_of_nothing), cmocka_unit_test(other_kinds),
        cmocka_unit_test(same_twice),        cmocka_unit_test(a_signal),          cmocka_unit_test(the_time),
        cmocka_unit_test(divergence),        cmocka_unit_test(data_that_changes), cmocka_unit_test(no_memory),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
