/* The order in which rows take their turns, and what comes of times that are made up: no clock decides these tests. */
#include "compare_rig.h"

enum { ROWS = 4, TURNS_MAX = 4000 };

/* Times as a made-up machine gives them: a row's own, times a drift that grows with every turn. */
typedef struct made_up {
    double own[ROWS], drift, noise;
    int turns[TURNS_MAX], count; /* the rows in the order of their turns */
    int fails_at[ROWS];          /* the turn of a row, from 1, that fails; 0: none */
    int taken[ROWS], failed[ROWS];
    char message[MMREC_ERROR_MESSAGE];
    int interrupt_at; /* turn of all rows; 0: none */
} made_up;

static mmrec_status take(void *context, int row, double ns[MMREC_PARTS], mmrec_sample_note notes[MMREC_PARTS],
                         mmrec_error *error) {
    made_up *m = context;
    (void)notes;
    assert_true(m->count < TURNS_MAX);
    if (++m->taken[row] == m->fails_at[row]) MMREC_FAIL(error, MMREC_NO_MEMORY, "row %d has had enough", row);
    if (m->count + 1 == m->interrupt_at) mmrec_measure_interrupt();
    double time = m->own[row] * (1 + m->drift * m->count) *
                  exp(m->noise * mmrec_rng_normal(3, (uint64_t)row, (uint64_t)m->count));
    m->turns[m->count++] = row;
    for (int part = 0; part < MMREC_PARTS; part++) ns[part] = part == MMREC_PART_STEP ? time : time / 4;
    return MMREC_OK;
}

static void note_failure(void *context, int row, mmrec_error *error) {
    made_up *m = context;
    m->failed[row]++;
    mmrec_error_text(error, m->message, sizeof m->message);
}

typedef struct stage {
    mmrec_allocator allocator;
    mmrec_sampling sampling;
    mmrec_series series[ROWS][MMREC_PARTS];
    mmrec_paired paired[ROWS][MMREC_PARTS];
    compare_rounds rounds;
} stage;

static void prepare(stage *s, made_up *m, int rows, mmrec_sampling sampling) {
    memset(s, 0, sizeof *s);
    s->sampling = sampling;
    s->rounds = (compare_rounds){.allocator = &s->allocator,
                                 .sampling = &s->sampling,
                                 .rows = rows,
                                 .take = take,
                                 .fail = note_failure,
                                 .context = m};
    for (int row = 0; row < rows; row++) {
        s->rounds.series[row] = s->series[row];
        s->rounds.paired[row] = s->paired[row];
    }
}

static void play(stage *s, made_up *m, int rows, int samples) {
    prepare(s, m, rows, (mmrec_sampling){.max_time_s = 100, .min_samples = samples, .max_samples = samples});
    compare_rounds_run(&s->rounds);
}

static void clear(stage *s) {
    for (int row = 0; row < ROWS; row++) {
        for (int part = 0; part < MMREC_PARTS; part++) mmrec_series_free(&s->allocator, &s->series[row][part]);
    }
    assert_int_equal(s->allocator.total.live_bytes, 0);
    mmrec_measure_interrupt_clear();
}

/* Every two rounds are an order and its reverse, warm-up included, and no row is always the first. */
static void test_palindromes(void **state) {
    (void)state;
    for (int rows = 1; rows <= ROWS; rows++) {
        static stage s;
        static made_up m;
        int first[ROWS] = {0};
        m = (made_up){.own = {1e6, 1e6, 1e6, 1e6}};
        play(&s, &m, rows, 24);
        assert_int_equal(m.count, (24 + 2) * rows);
        for (int block = 0; block < m.count / (2 * rows); block++) {
            const int *turn = m.turns + block * 2 * rows;
            int seen = 0;
            for (int i = 0; i < rows; i++) {
                assert_int_equal(turn[i], turn[2 * rows - 1 - i]);
                seen |= 1 << turn[i];
            }
            assert_int_equal(seen, (1 << rows) - 1);
            first[turn[0]]++;
        }
        for (int row = 0; row < rows; row++) assert_true(first[row] >= 13 / rows);
        clear(&s);
    }
}

/* What is run beside the rounds: before the first, between them, and after the last. */
typedef struct bystander {
    int taken[64], count, fail_at;
    bool last;
} bystander;

static mmrec_status look_on(void *context, int taken, bool last, mmrec_error *error) {
    bystander *b = context;
    assert_false(b->last);
    if (b->count == b->fail_at) MMREC_FAIL(error, MMREC_NO_MEMORY, "no more");
    b->taken[b->count++] = taken;
    b->last = last;
    return MMREC_OK;
}

static void test_beside(void **state) {
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        static stage s;
        static made_up m;
        bystander b = {.fail_at = fails ? 3 : -1};
        mmrec_beside hook = {look_on, &b};
        m = (made_up){.own = {1e6, 2e6}};
        prepare(&s, &m, 2, (mmrec_sampling){.max_time_s = 100, .min_samples = 10, .max_samples = 10});
        s.rounds.beside = &hook;
        compare_rounds_run(&s.rounds);
        assert_int_equal(b.count, fails ? 3 : 11);
        for (int i = 0; i < b.count; i++) assert_int_equal(b.taken[i], i);
        assert_int_equal(b.last, !fails);
        assert_int_equal(s.rounds.beside == NULL, fails);
        assert_int_equal(s.series[1][MMREC_PART_STEP].count, 10); /* the rows go on without it */
        clear(&s);
    }
}

/* A drift that is linear in the turns leaves nothing in a pair, to its square. */
static void test_drift_cancels(void **state) {
    (void)state;
    static stage s;
    static made_up m;
    m = (made_up){.own = {1e6, 1e6, 2e6, 0.5e6}, .drift = 1e-3};
    play(&s, &m, ROWS, 40);
    static const double ratios[] = {0, 1, 2, 0.5};
    for (int row = 1; row < ROWS; row++) {
        for (int part = 0; part < MMREC_PARTS; part++) {
            const mmrec_paired *p = &s.paired[row][part];
            assert_true(p->valid && p->pairs == 40);
            if (!(fabs(p->ratio / ratios[row] - 1) <= 1e-5)) fail_msg("row %d: %.9g", row, p->ratio);
        }
    }
    assert_false(s.paired[0][MMREC_PART_STEP].valid);
    assert_int_equal(s.paired[1][MMREC_PART_STEP].verdict, MMREC_SAME);
    assert_int_equal(s.paired[2][MMREC_PART_STEP].verdict, MMREC_SLOWER);
    assert_int_equal(s.paired[3][MMREC_PART_STEP].verdict, MMREC_FASTER);
    clear(&s);
}

/* A row beside itself is the same, also under noise of 2 %. */
static void test_same_row(void **state) {
    (void)state;
    static stage s;
    static made_up m;
    m = (made_up){.own = {1e6, 1e6}, .drift = 1e-4, .noise = 0.02};
    play(&s, &m, 2, 400);
    assert_int_equal(s.paired[1][MMREC_PART_STEP].verdict, MMREC_SAME);
    clear(&s);
}

static void test_samples_are_kept(void **state) {
    (void)state;
    static stage s;
    static made_up m;
    m = (made_up){.own = {4e6, 8e6, 8e6}};
    play(&s, &m, 3, 10);
    for (int row = 0; row < 3; row++) {
        for (int part = 0; part < MMREC_PARTS; part++) {
            const mmrec_series *series = &s.series[row][part];
            double wanted = part == MMREC_PART_STEP ? m.own[row] : m.own[row] / 4;
            assert_int_equal(series->count, 10);
            assert_int_equal(series->warmup_runs, 2);
            assert_int_equal(series->stop, MMREC_STOP_SAMPLES);
            assert_true(series->stats.valid && series->stats.median == wanted && series->stats.max == wanted);
        }
    }
    clear(&s);
}

/* Narrow at once: it stops with the fewest samples allowed, a whole block of them. */
static void test_stops_when_narrow(void **state) {
    (void)state;
    static stage s;
    static made_up m;
    m = (made_up){.own = {1e6, 3e6}};
    prepare(&s, &m, 2, (mmrec_sampling){.max_time_s = 100, .min_samples = 11, .max_samples = 1000, .target_ci = 0.01});
    compare_rounds_run(&s.rounds);
    assert_int_equal(s.series[0][0].count, 12);
    assert_int_equal(s.series[1][MMREC_PART_STEP].stop, MMREC_STOP_CI);
    clear(&s);
}

/* A row that fails drops out with its reason; the others go on and stay paired. */
static void test_a_row_fails(void **state) {
    (void)state;
    static stage s;
    static made_up m;
    m = (made_up){.own = {1e6, 1e6, 2e6}, .fails_at = {0, 7, 0}};
    play(&s, &m, 3, 20);
    assert_int_equal(m.failed[1], 1);
    assert_non_null(strstr(m.message, "row 1 has had enough"));
    assert_int_equal(m.taken[1], 7);
    assert_int_equal(s.series[1][MMREC_PART_STEP].count, 0);
    assert_false(s.paired[1][MMREC_PART_STEP].valid);
    assert_int_equal(s.series[2][MMREC_PART_STEP].count, 20);
    assert_true(s.paired[2][MMREC_PART_STEP].valid && fabs(s.paired[2][MMREC_PART_STEP].ratio - 2) <= 1e-9);
    clear(&s);
    /* Without row 0 there is nothing to compare with. */
    m = (made_up){.own = {1e6, 1e6, 2e6}, .fails_at = {1, 0, 0}};
    play(&s, &m, 3, 20);
    assert_int_equal(s.series[2][MMREC_PART_STEP].count, 20);
    for (int row = 0; row < 3; row++) assert_false(s.paired[row][MMREC_PART_STEP].valid);
    clear(&s);
}

static void test_all_rows_fail(void **state) {
    (void)state;
    static stage s;
    static made_up m;
    m = (made_up){.own = {1, 1}, .fails_at = {1, 1}};
    play(&s, &m, 2, 20);
    assert_int_equal(m.failed[0] + m.failed[1], 2);
    assert_int_equal(m.count, 0);
    clear(&s);
}

/* An interrupt ends it behind the round under way: every row has as many samples. */
static void test_interrupt(void **state) {
    (void)state;
    static stage s;
    static made_up m;
    m = (made_up){.own = {1e6, 1e6, 1e6}, .interrupt_at = 3 * (2 + 9) + 2};
    play(&s, &m, 3, 40);
    for (int row = 0; row < 3; row++) {
        assert_int_equal(s.series[row][MMREC_PART_STEP].count, 10);
        assert_int_equal(s.series[row][MMREC_PART_STEP].stop, MMREC_STOP_INTERRUPT);
    }
    clear(&s);
}

/* Memory for samples that is not there drops the row that wanted it. */
static void test_no_memory_for_samples(void **state) {
    (void)state;
    static stage s;
    static made_up m;
    m = (made_up){.own = {1e6, 1e6}};
    prepare(&s, &m, 2, (mmrec_sampling){.max_time_s = 100, .min_samples = 9, .max_samples = 9});
    s.allocator.fail_at = 2;
    compare_rounds_run(&s.rounds);
    assert_int_equal(m.failed[0] + m.failed[1], 1);
    assert_int_equal(s.series[m.failed[0] ? 1 : 0][0].count, 9);
    clear(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_palindromes),      cmocka_unit_test(test_beside),
        cmocka_unit_test(test_drift_cancels),    cmocka_unit_test(test_same_row),
        cmocka_unit_test(test_samples_are_kept), cmocka_unit_test(test_stops_when_narrow),
        cmocka_unit_test(test_a_row_fails),      cmocka_unit_test(test_all_rows_fail),
        cmocka_unit_test(test_interrupt),        cmocka_unit_test(test_no_memory_for_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
