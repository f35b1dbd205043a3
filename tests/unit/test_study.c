/* The study's statistics and words, from studies made by hand: intervals against known values, targets that are never
 * reached, runs that diverged, variants that are the same, and what the report says of all that. */
#include "study_example.h"

static bool near(double got, double want, double tolerance) { return fabs(got - want) <= tolerance; }

/* ---- intervals ---- */

/* Quantiles of t from the usual tables: 12.706 (1), 2.776 (4), 2.262 (9) at 95 %; 3.495 (4) at 97.5 %. */
static void intervals(void **state) {
    (void)state;
    const double values[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    study_estimate e = study_estimate_of(values, 2, 0.95);
    assert_true(e.has_interval && near(e.mean, 1.5, 1e-12) && near(e.interval.high - 1.5, 12.706 * 0.5, 1e-2));
    e = study_estimate_of(values, 5, 0.95);
    assert_true(near(e.mean, 3, 1e-12) && near(e.interval.low, 3 - 2.776 * sqrt(0.5), 1e-3));
    assert_true(near(e.interval.high, 3 + 2.776 * sqrt(0.5), 1e-3));
    e = study_estimate_of(values, 10, 0.95);
    assert_true(near(e.interval.high - e.mean, 2.262 * sqrt(55.0 / 6 / 10), 1e-3));
    e = study_estimate_of(values, 5, 0.975);
    assert_true(near(e.interval.high - e.mean, 3.495 * sqrt(0.5), 1e-3));
}

static void intervals_of_little(void **state) {
    (void)state;
    const double gaps[] = {(double)NAN, 4, (double)INFINITY, 6, -(double)INFINITY}, same[] = {0.1, 0.1, 0.1};
    study_estimate e = study_estimate_of(gaps, 5, 0.95);
    assert_true(e.count == 2 && near(e.mean, 5, 1e-12) && e.has_interval);
    e = study_estimate_of(gaps, 2, 0.95);
    assert_true(e.count == 1 && e.mean == 4 && !e.has_interval);
    e = study_estimate_of(gaps, 1, 0.95);
    assert_true(e.count == 0 && !e.has_interval);
    e = study_estimate_of(same, 3, 0.95);
    assert_true(e.interval.low == 0.1 && e.interval.high == 0.1); /* exactly: equal runs must not differ */
}

/* ---- the order of steps ---- */

/* Any two steps from an even one on are an order and its reverse; over all of them every variant has every place alike.
 */
static void turns(void **state) {
    (void)state;
    for (int variants = 2; variants <= STUDY_VARIANTS; variants++) {
        int at[STUDY_VARIANTS][STUDY_VARIANTS] = {{0}};
        for (int64_t step = 0; step < 2 * variants; step++) {
            unsigned seen = 0;
            for (int turn = 0; turn < variants; turn++) {
                int v = study_turn(variants, step, turn);
                assert_in_range(v, 0, variants - 1);
                seen |= 1u << v;
                at[v][turn]++;
                if (step % 2 == 0) assert_int_equal(v, study_turn(variants, step + 1, variants - 1 - turn));
            }
            assert_int_equal(seen, (1u << variants) - 1);
        }
        for (int v = 0; v < variants; v++) {
            for (int turn = 0; turn < variants; turn++) assert_int_equal(at[v][turn], 2);
        }
    }
}

static void windows(void **state) {
    (void)state;
    assert_int_equal(study_window(5), 5);
    assert_int_equal(study_window(100), 20);
    assert_int_equal(study_window(1000), 100);
    assert_int_equal(study_window(50000), 200);
    assert_int_equal(study_untimed(19), 0);
    assert_int_equal(study_untimed(1000), 4);
}

/* ---- the target ---- */

static void steps_to_a_target(void **state) {
    (void)state;
    study_point points[] = {{.step = 0}, {.step = 50}, {.step = 100}, {.step = 150}};
    const double losses[] = {5, (double)NAN, 2, 2.5};
    study_run run = {.points = points, .point_count = 4};
    for (int i = 0; i < 4; i++) points[i].validation.loss = losses[i];
    assert_int_equal(study_steps_to(&run, 5), 0);
    assert_int_equal(study_steps_to(&run, 4.9), 100); /* what is not a number reached nothing */
    assert_int_equal(study_steps_to(&run, 2), 100);
    assert_int_equal(study_steps_to(&run, 1.99), -1);
    assert_int_equal(study_steps_to(&run, (double)NAN), -1);
    run.point_count = 0;
    assert_int_equal(study_steps_to(&run, 5), -1);
}

static void targets(void **state) {
    (void)state;
    example e;
    study_summary summary;
    example_start(&e);
    study_summarise(e.s, &summary);
    double worst = 0;
    for (int k = 0; k < EXAMPLE_SEEDS; k++) worst = fmax(worst, example_loss(k, 0, EXAMPLE_STEPS));
    assert_true(summary.target == worst && summary.complete && summary.seeds == EXAMPLE_SEEDS);
    assert_int_equal(summary.row[STUDY_TO_TARGET].side[0].count, EXAMPLE_SEEDS); /* the baseline always reaches it */
    example_diverges(e.s, 2, 0, 100); /* the worst one; now it is another's */
    study_summarise(e.s, &summary);
    assert_true(summary.target < worst && summary.target > 1);
    for (int k = 0; k < 2; k++) example_diverges(e.s, k, 0, 100);
    study_summarise(e.s, &summary);
    assert_true(isnan(summary.target));
    e.s->target = 3;
    study_summarise(e.s, &summary);
    assert_true(summary.target == 3);
    example_end(&e);
}

static void not_reached(void **state) {
    (void)state;
    example e;
    study_summary summary;
    char text[STUDY_CELL];
    example_start(&e);
    e.s->target = example_loss(1, 1, EXAMPLE_STEPS); /* seed 3 of planning ends above it, and all of deep */
    study_summarise(e.s, &summary);
    study_side_text(e.s, &summary, STUDY_TO_TARGET, 2, text);
    assert_string_equal(text, "not reached (3 of 3)");
    study_difference_text(e.s, &summary, STUDY_TO_TARGET, 2, text);
    assert_string_equal(text, "n/a: not decided");
    study_side_text(e.s, &summary, STUDY_TO_TARGET, 1, text);
    assert_non_null(strstr(text, "; not reached (1 of 3)"));
    example_end(&e);
}

/* ---- words ---- */

typedef struct word_case {
    study_figure figure;
    double mean, low, high;
    int count, missing_baseline, missing_variant;
    study_word want;
} word_case;

static void words(void **state) {
    (void)state;
    static const word_case cases[] = {
        {STUDY_LOSS, -0.1, -0.2, -0.01, 5, 0, 0, STUDY_BETTER},
        {STUDY_LOSS, 0.1, 0.01, 0.2, 5, 0, 0, STUDY_WORSE},
        {STUDY_LOSS, 0.1, -0.01, 0.2, 5, 0, 0, STUDY_NO_DIFFERENCE},
        {STUDY_LOSS, 0, 0, 0, 5, 0, 0, STUDY_NO_DIFFERENCE},
        {STUDY_LOSS, -0.1, -0.2, -0.01, 4, 0, 1, STUDY_UNDECIDED},
        {STUDY_LOSS, 0.1, 0.01, 0.2, 4, 0, 1, STUDY_WORSE},
        {STUDY_LOSS, 0.1, 0.01, 0.2, 4, 1, 0, STUDY_UNDECIDED},
        {STUDY_LOSS, -0.1, -0.2, -0.1, 4, 1, 0, STUDY_BETTER},
        {STUDY_LOSS, 0, -0.2, 0.2, 4, 0, 1, STUDY_UNDECIDED},
        {STUDY_LOSS, -0.1, 0, 0, 1, 0, 0, STUDY_UNDECIDED}, /* one seed */
        {STUDY_LOSS, 0, 0, 0, 0, 0, 2, STUDY_UNDECIDED},
        {STUDY_LOSS, 0, 0, 0, 0, 0, 0, STUDY_NOTHING},
        {STUDY_ACCURACY, 1, 0.5, 2, 5, 0, 0, STUDY_BETTER},
        {STUDY_GROWTH, 0.1, 0.05, 0.2, 5, 0, 0, STUDY_MORE},
        {STUDY_GROWTH, -0.1, -0.15, -0.05, 5, 0, 0, STUDY_LESS},
        {STUDY_STEP_TIME, 1.2, 1.1, 1.3, 5, 0, 0, STUDY_WORSE},
        {STUDY_STEP_TIME, 0.8, 0.7, 0.9, 5, 0, 0, STUDY_BETTER},
        {STUDY_STEP_TIME, 1.005, 1.001, 1.009, 5, 0, 0, STUDY_NO_DIFFERENCE}, /* below 1 % */
        {STUDY_TOKENS, 0.8, 0.7, 0.9, 5, 0, 0, STUDY_WORSE},
        {STUDY_PARAMETERS, 0, 0, 0, 5, 0, 0, STUDY_SAME},
        {STUDY_PARAMETERS, 10, 10, 10, 1, 0, 0, STUDY_MORE},
        {STUDY_MEMORY, 10, 10, 10, 1, 0, 0, STUDY_WORSE},
        {STUDY_LOSS, -0.1, (double)NAN, (double)NAN, 5, 0, 0, STUDY_NO_DIFFERENCE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const word_case *c = &cases[i];
        study_difference d = {.estimate = {c->count, c->mean, c->count > 1, {c->low, c->high}},
                              .decides = {c->low, c->high},
                              .missing = {c->missing_baseline, c->missing_variant}};
        study_word got = study_word_of(study_figure_get(c->figure), &d);
        if (got != c->want) fail_msg("case %zu: %s, not %s", i, study_word_text(got), study_word_text(c->want));
    }
}

/* Two comparisons: a difference that 95 % would call one, and 97.5 % do not. */
static void two_comparisons(void **state) {
    (void)state;
    example e;
    study_summary summary;
    mmrec_buffer text;
    example_start(&e);
    const double difference[] = {0.010, 0.020, 0.012}; /* mean 0.014, 95 %: +- 0.0131, 97.5 %: +- 0.0189 */
    for (int k = 0; k < EXAMPLE_SEEDS; k++) {
        example_final(e.s, k, 0, 2);
        example_final(e.s, k, 1, 2 + difference[k]);
    }
    study_summarise(e.s, &summary);
    const study_difference *d = &summary.row[STUDY_LOSS].difference[1];
    assert_true(near(summary.level, 0.975, 1e-12));
    assert_true(d->estimate.interval.low > 0 && d->decides.low < 0);
    assert_int_equal(d->word, STUDY_NO_DIFFERENCE);
    mmrec_buffer_begin(&text, &allocator);
    study_verdict(e.s, &summary, 1, &text);
    mmrec_buffer_bytes(&text, "", 1);
    assert_non_null(strstr(text.data, "**UB\xc3\x96O planning: nothing gained.**"));
    assert_non_null(
        strstr(text.data, "That interval excludes 0, but not the one of 97.5 % that 2 comparisons ask for."));
    mmrec_buffer_free(&text);
    e.s->variant_count = 2;
    study_summarise(e.s, &summary);
    assert_int_equal(summary.row[STUDY_LOSS].difference[1].word, STUDY_WORSE);
    example_end(&e);
}

static void expect_outcome(const study *s, int variant, const char *want) {
    study_summary summary;
    mmrec_buffer text;
    study_summarise(s, &summary);
    mmrec_buffer_begin(&text, &allocator);
    study_verdict(s, &summary, variant, &text);
    mmrec_buffer_bytes(&text, "", 1);
    const char *start = strchr(text.data, ':');
    assert_non_null(start);
    if (strncmp(start + 2, want, strlen(want)) != 0) fail_msg("not \"%s\" but %.60s", want, text.data);
    mmrec_buffer_free(&text);
}

static void next_to_nothing(void **state) {
    (void)state;
    const double apart[] = {-0.02, -0.004, 0.004, 0.02};
    const char *const want[] = {"gained.**", "gained next to nothing.**", "lost next to nothing.**", "lost.**"};
    example e;
    example_start(&e);
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < EXAMPLE_SEEDS; k++) {
            example_final(e.s, k, 0, 2);
            example_final(e.s, k, 1, 2 + apart[i] * (1 + 0.01 * k));
        }
        expect_outcome(e.s, 1, want[i]);
    }
    example_diverges(e.s, 0, 1, 100);
    expect_outcome(e.s, 1, "lost.**"); /* also without that seed */
    for (int k = 1; k < EXAMPLE_SEEDS; k++) example_final(e.s, k, 1, 1.9 + 0.001 * k);
    expect_outcome(e.s, 1, "lost, as it diverged more often.**");
    example_diverges(e.s, 1, 0, 100);
    expect_outcome(e.s, 1, "not decided.**");
    example_end(&e);
}

/* A difference in steps that is smaller than the distance of two validations is not known to be one. */
static void resolution(void **state) {
    (void)state;
    example e;
    study_summary summary;
    example_start(&e);
    for (int k = 0; k < EXAMPLE_SEEDS; k++) {
        for (int i = 0; i < 3; i++) e.s->run[k][0].points[i].validation.loss = 5 - i;
        for (int i = 0; i < 3; i++) e.s->run[k][1].points[i].validation.loss = 5 - i - (k > 0);
    }
    e.s->target = 3;
    study_summarise(e.s, &summary);
    assert_true(near(summary.row[STUDY_TO_TARGET].difference[1].estimate.mean, -100.0 / 3, 1e-9));
    assert_int_equal(summary.row[STUDY_TO_TARGET].difference[1].word, STUDY_NO_DIFFERENCE);
    e.s->run[0][1].points[1].validation.loss = 3; /* now 50 steps earlier in every seed */
    study_summarise(e.s, &summary);
    assert_int_equal(summary.row[STUDY_TO_TARGET].difference[1].word, STUDY_BETTER);
    example_end(&e);
}

/* ---- whole studies ---- */

static void copy_run(study *s, int seed, int from, int to) {
    const study_run *a = &s->run[seed][from];
    study_run *b = &s->run[seed][to];
    memcpy(b->steps, a->steps, (size_t)a->step_count * sizeof *a->steps);
    memcpy(b->step_ns, a->step_ns, (size_t)a->step_count * sizeof *a->step_ns);
    memcpy(b->points, a->points, (size_t)a->point_count * sizeof *a->points);
}

static void same_variants(void **state) {
    (void)state;
    example e;
    study_summary summary;
    char text[STUDY_CELL];
    example_start(&e);
    for (int k = 0; k < EXAMPLE_SEEDS; k++) copy_run(e.s, k, 0, 1);
    e.s->variant[1] = e.s->variant[0];
    study_summarise(e.s, &summary);
    for (int f = 0; f < STUDY_FIGURES; f++) {
        const study_difference *d = &summary.row[f].difference[1];
        if (d->estimate.count == 0) continue;
        assert_true(d->estimate.mean == (study_figure_get((study_figure)f)->ratio ? 1 : 0));
        assert_true(d->word == STUDY_NO_DIFFERENCE || d->word == STUDY_SAME);
    }
    study_difference_text(e.s, &summary, STUDY_LOSS, 1, text);
    assert_string_equal(text, "0.0000 (0.0000 to 0.0000): no difference shown");
    study_difference_text(e.s, &summary, STUDY_MEMORY, 1, text);
    assert_string_equal(text, "0 B: same");
    example_end(&e);
}

static void time_ratio(void **state) {
    (void)state;
    example e;
    study_summary summary;
    example_start(&e);
    study_summarise(e.s, &summary);
    const study_difference *d = &summary.row[STUDY_STEP_TIME].difference[1];
    assert_true(near(d->estimate.mean, 1.2, 0.005) && d->word == STUDY_WORSE);
    assert_true(near(summary.row[STUDY_TOKENS].difference[1].estimate.mean, 1 / d->estimate.mean, 1e-9));
    assert_int_equal(summary.row[STUDY_TOKENS].difference[1].word, STUDY_WORSE);
    assert_true(near(summary.row[STUDY_STEP_TIME].side[0].mean, 10, 0.05));
    assert_true(near(summary.row[STUDY_TOKENS].side[0].mean, 25600, 200));
    example_end(&e);
}

static void one_seed(void **state) {
    (void)state;
    example e;
    study_summary summary;
    char text[STUDY_CELL];
    mmrec_buffer verdict;
    example_start(&e);
    e.s->seed_count = e.s->begun = 1;
    study_summarise(e.s, &summary);
    assert_int_equal(summary.row[STUDY_LOSS].difference[2].word, STUDY_UNDECIDED);
    assert_null(strstr(study_side_text(e.s, &summary, STUDY_LOSS, 0, text), "\xc2\xb1"));
    assert_null(strstr(study_difference_text(e.s, &summary, STUDY_LOSS, 2, text), " to "));
    assert_non_null(strstr(text, ": not decided"));
    /* Times have pairs of steps. */
    assert_true(summary.row[STUDY_STEP_TIME].difference[1].estimate.has_interval);
    assert_int_equal(summary.row[STUDY_STEP_TIME].difference[1].word, STUDY_WORSE);
    assert_int_equal(summary.row[STUDY_TOKENS].difference[1].word, STUDY_WORSE);
    mmrec_buffer_begin(&verdict, &allocator);
    study_verdict(e.s, &summary, 2, &verdict);
    mmrec_buffer_bytes(&verdict, "", 1);
    assert_non_null(strstr(verdict.data, "not decided by one seed"));
    assert_null(strstr(verdict.data, "95 % interval"));
    mmrec_buffer_free(&verdict);
    example_end(&e);
}

static void diverged_run(void **state) {
    (void)state;
    example e;
    study_summary summary;
    char text[STUDY_CELL];
    mmrec_buffer out;
    example_start(&e);
    example_diverges(e.s, 1, 1, 120);
    for (int i = 117; i < 120; i++) {
        e.s->run[1][1].steps[i] =
            (study_step){(double)NAN, (double)NAN, (double)NAN, (double)NAN, (double)NAN, true, false};
    }
    study_summarise(e.s, &summary);
    assert_true(summary.complete && summary.seeds == EXAMPLE_SEEDS);
    for (int f = 0; f < STUDY_FIGURES; f++) {
        for (int v = 0; v < 3; v++) assert_true(isfinite(summary.row[f].side[v].mean));
    }
    assert_int_equal(summary.row[STUDY_LOSS].side[1].count, 2);
    assert_true(summary.row[STUDY_SKIPPED].side[1].mean == 1);
    study_side_text(e.s, &summary, STUDY_LOSS, 1, text);
    assert_non_null(strstr(text, "; diverged (1 of 3)"));
    study_side_text(e.s, &summary, STUDY_DIVERGED, 1, text);
    assert_string_equal(text, "1 of 3");
    study_difference_text(e.s, &summary, STUDY_DIVERGED, 1, text);
    assert_string_equal(text, "+1 of 3: no difference shown"); /* one run is no proof */
    study_difference_text(e.s, &summary, STUDY_LOSS, 1, text);
    assert_non_null(strstr(text, " over 2 of 3 seeds: not decided"));
    mmrec_buffer_begin(&out, &allocator);
    study_report(e.s, &summary, &out);
    mmrec_buffer_bytes(&out, "", 1);
    assert_non_null(strstr(out.data, "UB\xc3\x96O planning: lost, as it diverged more often."));
    assert_non_null(strstr(out.data, "- seed 2, planning: diverged at step 120: the loss is not finite\n"));
    assert_null(strstr(out.data, "nan"));
    mmrec_buffer_free(&out);
    example_end(&e);
}

static void stopped(void **state) {
    (void)state;
    example e;
    study_summary summary;
    mmrec_buffer out;
    example_start(&e);
    e.s->run[2][1].step_count = e.s->run[2][0].step_count = e.s->run[2][2].step_count = 120;
    e.s->seed_count = 5;
    snprintf(e.s->stopped, sizeof e.s->stopped, "it was interrupted");
    study_summarise(e.s, &summary);
    assert_true(!summary.complete && summary.seeds == 2 && summary.reached == 200);
    for (int v = 0; v < 3; v++) e.s->run[0][v].step_count = 60;
    for (int v = 0; v < 3; v++) e.s->run[0][v].point_count = 2;
    study_summarise(e.s, &summary);
    assert_true(!summary.complete && summary.seeds == 1 && summary.reached == 60);
    mmrec_buffer_begin(&out, &allocator);
    study_tables(e.s, &summary, &out);
    mmrec_buffer_bytes(&out, "", 1);
    const char *want = "**Incomplete: it was interrupted.** The figures are of 1 of 5 seeds, at step 60 of 200.\n";
    assert_memory_equal(out.data, want, strlen(want));
    mmrec_buffer_free(&out);
    example_end(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals),
        cmocka_unit_test(intervals_of_little),
        cmocka_unit_test(turns),
        cmocka_unit_test(windows),
        cmocka_unit_test(steps_to_a_target),
        cmocka_unit_test(targets),
        cmocka_unit_test(not_reached),
        cmocka_unit_test(words),
        cmocka_unit_test(two_comparisons),
        cmocka_unit_test(next_to_nothing),
        cmocka_unit_test(resolution),
        cmocka_unit_test(same_variants),
        cmocka_unit_test(time_ratio),
        cmocka_unit_test(one_seed),
        cmocka_unit_test(diverged_run),
        cmocka_unit_test(stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
