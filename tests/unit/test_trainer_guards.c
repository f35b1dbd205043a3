/* Guards of a step: what is not finite never reaches weights, moments or carried state; the op is named; three in a row
 * are the end; spikes are told. */
#include "train/trainer_impl.h"
#include "trainer_rig.h"

static weights before, after;

/* ---- where it broke ---- */

typedef struct place {
    const char *parameter;
    int64_t at;
    double value;
    const char *culprit;
} place;

static double read_one(training *r, const char *name, int64_t at) {
    static double values[MAX_VALUES];
    mmrec_error error = {0};
    mmrec_tensor t = tensor_named(r, name);
    must(mmrec_exec_read(mmrec_trainer_exec(r->trainer), t, values, count_of(r, t), &error), &error);
    return values[at];
}

/* A step that is skipped changes nothing but the counters; with the value put right, the next one is made. */
static void check_place(const char *backend, const mmrec_train_config *c, const place *p) {
    training r;
    training_start(&r, backend, c);
    for (int i = 0; i < 2; i++) step_of(&r);
    double good = read_one(&r, p->parameter, p->at);
    poke(&r, p->parameter, p->at, p->value);
    read_weights(&r, &before);
    mmrec_train_record record = step_of(&r);
    if (!record.skipped || strcmp(record.culprit, p->culprit) != 0) {
        fail_msg("%s on %s: \"%s\" instead of \"%s\"", p->parameter, backend, record.culprit, p->culprit);
    }
    read_weights(&r, &after);
    assert_true(same_weights(&before, &after));
    mmrec_train_totals totals = mmrec_trainer_totals(r.trainer);
    assert_int_equal(totals.steps, 3);
    assert_int_equal(totals.micro_batches, 3 * c->accumulate);
    assert_int_equal(totals.skipped, 1);
    assert_int_equal(totals.skipped_in_row, 1);
    assert_true(isnan(record.spike_score) && !record.spike && record.clip_factor == 1);
    poke(&r, p->parameter, p->at, good);
    record = step_of(&r);
    assert_true(!record.skipped && isfinite(record.loss) && !record.culprit[0]);
    assert_int_equal(mmrec_trainer_totals(r.trainer).skipped_in_row, 0);
    training_end(&r);
}

static void test_places(void **state) {
    (void)state;
    static const place places[] = {
        {"embedding.weight", 32 * 12, NAN, "embedding forward"}, /* of a blank */
        {"blocks.0.norm1.weight", 3, INFINITY, "rmsnorm forward, layer 0"},
        {"blocks.0.gate.weight", 5, NAN, "recurrence forward, layer 0"},
        {"blocks.1.memory.k", 7, NAN, "memory_pool forward, layer 1"},
        {"blocks.1.memory.out.bias", 1, -INFINITY, "linear forward, layer 1"},
        {"blocks.1.ffn.in.weight", 2, NAN, "linear forward, layer 1"},
        {"norm.weight", 0, NAN, "rmsnorm forward"},
    };
    mmrec_train_config c = tiny_config();
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        check_place("cpu", &c, &places[i]);
        check_place("ref", &c, &places[i]);
    }
}

/* Nodes that run when parameters change, and those that run again before the backward half. */
static void test_other_phases(void **state) {
    (void)state;
    place folded = {"blocks.1.e.weight", 0, NAN, "matmul forward, layer 1"};
    place again = {"blocks.1.ffn.out.bias", 0, NAN, "linear forward, layer 1"};
    mmrec_train_config c = tiny_config();
    c.model.pe = 3;
    check_place("ref", &c, &folded);
    c.recompute = true;
    check_place("cpu", &c, &again);
}

/* Numbers that are finite themselves and too large for what follows. 3e38 is no trouble in double. */
static void test_overflow(void **state) {
    (void)state;
    place large = {"blocks.0.norm1.weight", 3, 3e38, "rmsnorm forward, layer 0"};
    training r;
    mmrec_train_config c = tiny_config();
    check_place("cpu", &c, &large);
    training_start(&r, "ref", &c);
    poke(&r, large.parameter, large.at, large.value);
    assert_false(step_of(&r).skipped);
    training_end(&r);
}

static void scale(training *r, const char *name, double factor) {
    static double values[MAX_VALUES];
    mmrec_error error = {0};
    mmrec_tensor t = tensor_named(r, name);
    int64_t count = count_of(r, t);
    must(mmrec_exec_read(mmrec_trainer_exec(r->trainer), t, values, count, &error), &error);
    for (int64_t i = 0; i < count; i++) values[i] *= factor;
    must(mmrec_exec_write(mmrec_trainer_exec(r->trainer), t, values, count, &error), &error);
}

/* The last norm multiplies by 9e37 and the first divides by 1e-6: the logits are below 1e34, the gradients beyond f32.
 */
static void test_backward(void **state) {
    (void)state;
    training r;
    mmrec_train_config c = tiny_config();
    c.batch = 1;
    c.time = 1;
    training_start(&r, "cpu", &c);
    scale(&r, "embedding.weight", 1e-5);
    scale(&r, "norm.weight", 9e37);
    read_weights(&r, &before);
    mmrec_train_record record = step_of(&r);
    assert_true(record.skipped && isfinite(record.loss) && !isfinite(record.gradient_norm));
    assert_string_equal(record.culprit, "rmsnorm backward, layer 0");
    read_weights(&r, &after);
    assert_true(same_weights(&before, &after));
    training_end(&r);
}

/* Finite gradients whose squares are beyond f32, without clipping. */
static void test_norm(void **state) {
    (void)state;
    training r;
    mmrec_train_config c = tiny_config();
    c.optimizer.clip_norm = 0;
    c.accumulate = 2;
    training_start(&r, "cpu", &c);
    scale(&r, "norm.weight", 1e25);
    read_weights(&r, &before);
    mmrec_train_record record = step_of(&r);
    assert_true(record.skipped && isfinite(record.loss) && record.gradient_norm > 1e20);
    assert_non_null(strstr(record.culprit, "the optimizer: "));
    read_weights(&r, &after);
    assert_true(same_weights(&before, &after));
    training_end(&r);
}

/* 3e38 overflows in a hidden unit where dropout keeps and doubles it: the op is found with the draws of the step. */
static void test_draws(void **state) {
    (void)state;
    int skipped = 0;
    mmrec_train_config c = tiny_config();
    c.batch = 1;
    c.time = 1;
    c.model.dropout = 0.5;
    for (int unit = 0; unit < 8; unit++) {
        training r;
        training_start(&r, "cpu", &c);
        poke(&r, "blocks.0.ffn.in.bias", unit, 3e38);
        for (int i = 0; i < 6; i++) {
            mmrec_train_record record;
            mmrec_status status = mmrec_trainer_step(r.trainer, &record, NULL); /* three in a row may happen */
            assert_true(status == MMREC_OK || status == MMREC_MISMATCH);
            if (record.skipped) assert_string_equal(record.culprit, "gelu forward, layer 0");
            skipped += record.skipped;
        }
        training_end(&r);
    }
    assert_true(skipped > 8 && skipped < 40); /* of 48 */
}

/* ---- several micro-batches ---- */

static bool micro(training *r, mmrec_train_record *record) {
    mmrec_error error = {0};
    bool finished = false;
    must(mmrec_trainer_micro(r->trainer, &finished, record, &error), &error);
    return finished;
}

/* Micro-batch `bad` of three meets a NaN that is gone again when the next begins: the step is skipped all the same. */
static void test_part_of_a_step(void **state) {
    (void)state;
    for (int bad = 0; bad < 3; bad++) {
        training r;
        mmrec_train_record record;
        mmrec_train_config c = tiny_config();
        c.accumulate = 3;
        training_start(&r, "ref", &c);
        step_of(&r);
        read_weights(&r, &before);
        double good = read_one(&r, "blocks.1.q.bias", 4);
        for (int i = 0; i < 3; i++) {
            if (i == bad) poke(&r, "blocks.1.q.bias", 4, NAN);
            assert_int_equal(micro(&r, &record), i == 2);
            poke(&r, "blocks.1.q.bias", 4, good);
        }
        assert_true(record.skipped && isnan(record.loss) && isnan(record.gradient_norm));
        assert_string_equal(record.culprit, "linear forward, layer 1");
        assert_int_equal(record.tokens, 72);
        read_weights(&r, &after);
        assert_true(same_weights(&before, &after));
        assert_int_equal(mmrec_trainer_totals(r.trainer).micro_batches, 6);
        assert_false(step_of(&r).skipped);
        training_end(&r);
    }
}

/* ---- carried state ---- */

enum { STATE_VALUES = 2 * (3 * 12 + 2 * 3 * 16 * 12) };

static void read_state(training *r, double *to) {
    mmrec_error error = {0};
    mmrec_trainer *t = r->trainer;
    for (int i = 0; i < 2 * TRAIN_STATES; i++) {
        mmrec_view view = train_carry_view(t, &t->carry[TRAIN_BEFORE], i / TRAIN_STATES, i % TRAIN_STATES);
        must(mmrec_exec_read_view(t->net.exec, &view, to, &error), &error);
        to += mmrec_shape_elements(&view.shape);
    }
}

/* One element of a carried state. */
static void poke_state(training *r, int64_t layer, int which, double value) {
    mmrec_error error = {0};
    mmrec_trainer *t = r->trainer;
    mmrec_view view = flat_part(train_carry_view(t, &t->carry[TRAIN_BEFORE], layer, which), 5, mmrec_shape1(1));
    must(mmrec_exec_write_view(t->net.exec, &view, &value, &error), &error);
}

/* A skipped step leaves the state of the last good one, however many micro-batches were good; the next step goes on
 * from it with the data that comes then. */
static void test_state_stays(void **state) {
    (void)state;
    static double there[STATE_VALUES], now[STATE_VALUES];
    for (int accumulate = 1; accumulate <= 3; accumulate++) {
        training r;
        mmrec_train_record record;
        mmrec_train_config c = tiny_config();
        c.stream = true;
        c.accumulate = accumulate;
        training_start(&r, "cpu", &c);
        step_of(&r);
        read_state(&r, there);
        double good = read_one(&r, "blocks.0.z.bias", 0);
        for (int i = 0; i < accumulate; i++) {
            if (i == accumulate - 1) poke(&r, "blocks.0.z.bias", 0, NAN);
            micro(&r, &record);
        }
        assert_true(record.skipped);
        read_state(&r, now);
        assert_memory_equal(there, now, sizeof now);
        poke(&r, "blocks.0.z.bias", 0, good);
        assert_false(step_of(&r).skipped);
        read_state(&r, now);
        assert_true(memcmp(there, now, sizeof now) != 0);
        training_end(&r);
    }
}

/* A state that is not finite is found by what reads it first. */
static void test_bad_state(void **state) {
    (void)state;
    static const struct {
        int64_t layer;
        int which;
        const char *culprit;
    } rows[] = {{0, TRAIN_H, "recurrence forward, layer 0"},
                {1, TRAIN_H, "recurrence forward, layer 1"},
                {0, TRAIN_K, "memory_pool forward, layer 0"},
                {1, TRAIN_V, "memory_pool forward, layer 1"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        training r;
        mmrec_train_config c = tiny_config();
        c.stream = true;
        training_start(&r, "cpu", &c);
        step_of(&r);
        poke_state(&r, rows[i].layer, rows[i].which, NAN);
        read_weights(&r, &before);
        mmrec_train_record record = step_of(&r);
        assert_true(record.skipped);
        assert_string_equal(record.culprit, rows[i].culprit);
        read_weights(&r, &after);
        assert_true(same_weights(&before, &after));
        training_end(&r);
    }
}

/* The loss may be finite and the state behind it not: the last norm forgets a y of 1e38, whose mean over time
 * overflows. */
static void test_state_overflow(void **state) {
    (void)state;
    static double there[STATE_VALUES], now[STATE_VALUES];
    training r;
    mmrec_train_config c = tiny_config();
    c.stream = true;
    training_start(&r, "cpu", &c);
    step_of(&r);
    read_state(&r, there);
    poke(&r, "blocks.1.ffn.out.bias", 0, 3e38);
    read_weights(&r, &before);
    mmrec_train_record record = step_of(&r);
    assert_true(record.skipped);
    assert_string_equal(record.culprit, "memory_update forward, layer 1");
    read_weights(&r, &after);
    assert_true(same_weights(&before, &after));
    read_state(&r, now);
    assert_memory_equal(there, now, sizeof now);
    training_end(&r);
}

/* Skipped where an epoch began: the state is that of the old one, so the next batch begins anew. */
static void test_skipped_start(void **state) {
    (void)state;
    training r;
    mmrec_train_config c = tiny_config();
    c.stream = true;
    training_start(&r, "cpu", &c);
    for (int i = 0; i < 9; i++) step_of(&r);
    assert_true(r.trainer->carried);
    double good = read_one(&r, "norm.weight", 0);
    poke(&r, "norm.weight", 0, NAN);
    assert_true(step_of(&r).skipped);
    assert_false(r.trainer->carried);
    poke_state(&r, 1, TRAIN_K, NAN); /* what is left of the old state is not read */
    poke(&r, "norm.weight", 0, good);
    assert_false(step_of(&r).skipped);
    assert_true(r.trainer->carried);
    training_end(&r);
}

/* ---- three in a row, spikes ---- */

static void test_three_in_row(void **state) {
    (void)state;
    training r;
    mmrec_error error = {0};
    mmrec_train_record record;
    mmrec_train_config c = tiny_config();
    training_start(&r, "cpu", &c);
    for (int i = 0; i < 4; i++) step_of(&r);
    double good = read_one(&r, "blocks.1.norm2.weight", 0);
    for (int round = 0; round < 2; round++) {
        poke(&r, "blocks.1.norm2.weight", 0, NAN);
        read_weights(&r, &before);
        for (int i = 0; i < 2; i++) assert_true(step_of(&r).skipped);
        if (round == 0) { /* two in a row are not the end */
            poke(&r, "blocks.1.norm2.weight", 0, good);
            assert_false(step_of(&r).skipped);
        }
    }
    memset(&record, 0, sizeof record);
    assert_int_equal(mmrec_trainer_step(r.trainer, &record, &error), MMREC_MISMATCH);
    assert_int_equal(record.step, 10);
    assert_true(record.skipped);
    assert_string_equal(record.culprit, "rmsnorm forward, layer 1");
    assert_non_null(strstr(error.message, "step 10 is number 3 in a row without an update"));
    assert_non_null(strstr(error.message, "rmsnorm forward, layer 1"));
    assert_non_null(strstr(error.message, "those of step 7"));
    read_weights(&r, &after);
    assert_true(same_weights(&before, &after));
    mmrec_train_totals totals = mmrec_trainer_totals(r.trainer);
    assert_int_equal(totals.skipped, 5);
    assert_int_equal(totals.skipped_in_row, MMREC_GUARD_MOST);
    training_end(&r);
}

static void test_spike(void **state) {
    (void)state;
    training r;
    mmrec_train_config c = tiny_config();
    c.schedule.rate = 1e-4;
    training_start(&r, "cpu", &c);
    for (int i = 0; i < MMREC_GUARD_LEAST; i++) {
        mmrec_train_record record = step_of(&r);
        assert_true(!record.spike && isnan(record.spike_score));
    }
    assert_true(isfinite(step_of(&r).spike_score));
    scale(&r, "norm.weight", 100);
    mmrec_train_record record = step_of(&r);
    assert_true(record.spike && record.spike_score >= c.spike_score && !record.skipped);
    assert_int_equal(mmrec_trainer_totals(r.trainer).spikes, 1);
    scale(&r, "norm.weight", 0.01);
    assert_false(step_of(&r).spike); /* one spike moves neither median nor deviation */
    training_end(&r);
}

/* No memory to look with: the step is skipped all the same, and the text says why nothing is named. */
static void test_no_memory_to_look(void **state) {
    (void)state;
    training r;
    mmrec_train_config c = tiny_config();
    training_start(&r, "cpu", &c);
    step_of(&r);
    poke(&r, "norm.weight", 0, NAN);
    read_weights(&r, &before);
    for (uint64_t k = 1; k < 3; k++) {
        r.allocator.fail_at = r.allocator.attempts + k;
        mmrec_train_record record = step_of(&r);
        assert_true(record.skipped);
        assert_non_null(strstr(record.culprit, "could not be found: "));
    }
    r.allocator.fail_at = 0;
    read_weights(&r, &after);
    assert_true(same_weights(&before, &after));
    training_end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),         cmocka_unit_test(test_other_phases),
        cmocka_unit_test(test_overflow),       cmocka_unit_test(test_backward),
        cmocka_unit_test(test_norm),           cmocka_unit_test(test_draws),
        cmocka_unit_test(test_part_of_a_step), cmocka_unit_test(test_state_stays),
        cmocka_unit_test(test_bad_state),      cmocka_unit_test(test_state_overflow),
        cmocka_unit_test(test_skipped_start),  cmocka_unit_test(test_three_in_row),
        cmocka_unit_test(test_spike),          cmocka_unit_test(test_no_memory_to_look),
    };
    return cmocka_run_group_tests_name("trainer_guards", tests, NULL, NULL);
}
