/* Batches of the three tasks: addressed, the same for everyone, and what their comments claim of them. */
#include "compare_rig.h"

typedef struct task_rig {
    mmrec_allocator allocator;
    mmrec_io io;
    compare_task task;
} task_rig;

static void begin(task_rig *r, const mmrec_compare_task *spec, uint64_t seed) {
    mmrec_error error = {0};
    memset(r, 0, sizeof *r);
    must(compare_task_create(&r->allocator, &r->io, spec, seed, &r->task, &error), &error);
}

static void end(task_rig *r) {
    compare_task_free(&r->task);
    assert_int_equal(r->allocator.total.live_bytes, 0);
}

/* A sum over everything in the batch, in which every place has a weight of its own. */
static double mark_of(const compare_task *t) {
    const mmrec_compare_task *s = &t->spec;
    double sum = 0;
    for (int64_t i = 0; t->x && i < s->batch * s->inputs; i++) sum += t->x[i] * (double)(i + 1);
    for (int64_t i = 0; t->target && i < s->batch * s->outputs; i++) sum += t->target[i] * (double)(i + 7);
    for (int64_t i = 0; t->ids && i < t->places; i++) sum += t->ids[i] * (double)(i + 3);
    for (int64_t i = 0; t->targets && i < t->places; i++) sum += t->targets[i] * (double)(i + 5);
    return sum;
}

static const mmrec_compare_task *tasks(int which) {
    static mmrec_compare_task all[3];
    all[0] = text_task();
    all[1] = classes_task(10, 4);
    all[2] = values_task();
    return &all[which];
}

/* A batch is what its seed, part and number say, whatever was drawn before. */
static void test_addressed(void **state) {
    (void)state;
    for (int which = 0; which < 3; which++) {
        double marks[2][3][2];
        task_rig a, b;
        begin(&a, tasks(which), 7);
        begin(&b, tasks(which), 8);
        for (int64_t number = 0; number < 3; number++) {
            for (int split = 0; split < 2; split++) {
                compare_task_batch(&a.task, (mmrec_split)split, number);
                compare_task_batch(&b.task, (mmrec_split)split, number);
                marks[0][number][split] = mark_of(&a.task);
                marks[1][number][split] = mark_of(&b.task);
            }
        }
        for (int64_t number = 2; number >= 0; number--) {
            for (int split = 0; split < 2; split++) {
                compare_task_batch(&a.task, (mmrec_split)split, number);
                assert_true(mark_of(&a.task) == marks[0][number][split]);
                assert_true(marks[0][number][split] != marks[1][number][split]);
                assert_true(marks[0][number][split] != marks[0][(number + 1) % 3][split]);
                assert_true(marks[0][number][0] != marks[0][number][1]);
            }
        }
        end(&a);
        end(&b);
    }
}

/* Held-out batches begin again behind the last one; there are as many as the task says, rounded up. */
static void test_held_out(void **state) {
    (void)state;
    task_rig r;
    mmrec_compare_task spec = classes_task(6, 3);
    spec.held_out = 3 * spec.batch + 1;
    begin(&r, &spec, 7);
    assert_int_equal(r.task.held_out, 4);
    compare_task_batch(&r.task, MMREC_SPLIT_HELD_OUT, 1);
    double first = mark_of(&r.task);
    compare_task_batch(&r.task, MMREC_SPLIT_HELD_OUT, 5);
    assert_true(mark_of(&r.task) == first);
    end(&r);
    spec.held_out = 0;
    begin(&r, &spec, 7);
    assert_int_equal(r.task.held_out, 0);
    end(&r);
}

/* An epoch holds every sample once: its sums are those of the next, in another order. */
static void test_epochs(void **state) {
    (void)state;
    enum { BATCHES = 6 };
    mmrec_compare_task spec = values_task();
    double sums[2] = {0}, first[2] = {0};
    task_rig r;
    spec.samples = spec.batch * BATCHES;
    begin(&r, &spec, 3);
    for (int64_t i = 0; i < 2 * BATCHES; i++) {
        compare_task_batch(&r.task, MMREC_SPLIT_TRAIN, i);
        if (i % BATCHES == 0) first[i / BATCHES] = r.task.target[0];
        for (int64_t k = 0; k < spec.batch; k++) sums[i / BATCHES] += r.task.target[k] * r.task.x[k * spec.inputs];
    }
    assert_true(fabs(sums[0] - sums[1]) <= 1e-9 * fabs(sums[0]));
    assert_true(first[0] != first[1]);
    end(&r);
}

/* Fewer samples than a batch has: it goes on with the next epoch. */
static void test_few_samples(void **state) {
    (void)state;
    mmrec_compare_task spec = classes_task(3, 2);
    task_rig r;
    spec.samples = 5;
    begin(&r, &spec, 3);
    compare_task_batch(&r.task, MMREC_SPLIT_TRAIN, 0);
    for (int64_t i = 0; i < 5; i++) {
        int found = 0;
        for (int64_t k = 5; k < 10; k++) found += r.task.x[3 * i] == r.task.x[3 * k];
        assert_int_equal(found, 1);
    }
    end(&r);
}

/* A sample lies near its class's prototype or the opposite one, both as often, and its label is that class in 95 of
 * 100. */
static void test_classes(void **state) {
    (void)state;
    enum { SAMPLES = 4000, CLASSES = 5, WIDTH = 32 };
    mmrec_compare_task spec = classes_task(WIDTH, CLASSES);
    int right = 0, negative = 0, counts[CLASSES] = {0};
    task_rig r;
    spec.batch = SAMPLES;
    begin(&r, &spec, 11);
    compare_task_batch(&r.task, MMREC_SPLIT_HELD_OUT, 0);
    for (int64_t i = 0; i < SAMPLES; i++) {
        double best = 0;
        int nearest = 0, label = r.task.targets[i];
        assert_in_range(label, 0, CLASSES - 1);
        for (int c = 0; c < CLASSES; c++) {
            double dot = 0, squares = 0;
            for (int k = 0; k < WIDTH; k++) {
                double v = r.task.made_up[c * WIDTH + k];
                dot += v * r.task.x[i * WIDTH + k];
                squares += v * v;
            }
            if (fabs(dot / squares) <= fabs(best)) continue;
            best = dot / squares;
            nearest = c;
        }
        right += nearest == label;
        negative += best < 0;
        counts[label]++;
    }
    /* Three times the scatter of each count. */
    assert_in_range(right, 3800 - 42, 3800 + 42);
    assert_in_range(negative, 2000 - 95, 2000 + 95);
    for (int c = 0; c < CLASSES; c++) assert_in_range(counts[c], 800 - 76, 800 + 76);
    assert_true(fabs(r.task.best_loss - 0.267830) <= 1e-5); /* -0.95 ln 0.95 - 0.05 ln(0.05 / 4) */
    end(&r);
}

/* y has mean 0, variance near 1, and noise of 0.1 around its function, which is found again here. */
static void test_values(void **state) {
    (void)state;
    enum { SAMPLES = 8000, WIDTH = 5 };
    mmrec_compare_task spec = values_task();
    double sum = 0, squares = 0, noise = 0;
    task_rig r;
    spec.batch = SAMPLES;
    begin(&r, &spec, 11);
    compare_task_batch(&r.task, MMREC_SPLIT_TRAIN, 0);
    for (int64_t i = 0; i < SAMPLES; i++) {
        double a = 0, b = 0, y = r.task.target[i];
        for (int k = 0; k < WIDTH; k++) {
            a += r.task.made_up[k] * r.task.x[i * WIDTH + k];
            b += r.task.made_up[WIDTH + k] * r.task.x[i * WIDTH + k];
        }
        double rest = y - sin(2 * a) - (b * b - 1) / 2;
        sum += y;
        squares += y * y;
        noise += rest * rest;
    }
    assert_true(fabs(sum / SAMPLES) <= 0.05);
    assert_true(squares / SAMPLES >= 0.8 && squares / SAMPLES <= 1.4);
    assert_true(fabs(noise / SAMPLES - 0.01) <= 5e-4);
    assert_true(fabs(r.task.best_loss - 0.01) <= 1e-15);
    end(&r);
}

/* Text is what data.h makes of it: targets are the ids one step later, and the entropy is known. */
static void test_text(void **state) {
    (void)state;
    mmrec_compare_task spec = text_task();
    task_rig r;
    begin(&r, &spec, 5);
    compare_task_batch(&r.task, MMREC_SPLIT_TRAIN, 4);
    for (int64_t row = 0; row < spec.batch; row++) {
        for (int64_t t = 0; t + 1 < spec.time; t++) {
            assert_int_equal(r.task.targets[row * spec.time + t], r.task.ids[row * spec.time + t + 1]);
        }
    }
    assert_true(r.task.best_loss > 0 && r.task.best_loss < log(8));
    assert_true(r.task.held_out > 0);
    assert_string_equal(r.task.name, "task text-markov");
    end(&r);
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        mmrec_compare_task task;
        const char *message;
    } bad[] = {
        {{.kind = MMREC_COMPARE_CLASSES, .batch = 0, .time = 1, .inputs = 2, .outputs = 2, .samples = 1},
         "batch of the task is 0; it must be from 1 to 268435456"},
        {{.kind = MMREC_COMPARE_CLASSES, .batch = 1, .time = 1, .inputs = 2, .outputs = 1, .samples = 1},
         "outputs of the task is 1; it must be from 2 to 268435456"},
        {{.kind = MMREC_COMPARE_VALUES, .batch = 1, .time = 1, .inputs = 0, .outputs = 1, .samples = 1},
         "inputs of the task is 0; it must be from 1 to 268435456"},
        {{.kind = MMREC_COMPARE_VALUES, .batch = 1, .time = 1, .inputs = 1, .outputs = 1, .samples = 0},
         "samples of the task is 0; it must be from 1 to 268435456"},
        {{.kind = MMREC_COMPARE_VALUES, .batch = 1 << 20, .time = 1, .inputs = 1 << 20, .outputs = 1, .samples = 1},
         "batch times inputs of the task is 1099511627776; it may be at most 2147483647"},
        {{.kind = MMREC_COMPARE_LANGUAGE, .batch = 2, .time = 8, .outputs = 4, .seed = 1},
         "the vocabulary of the task is 4, but \"task text-markov\" has 8: give it at least that"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        task_rig r;
        mmrec_error error = {0};
        memset(&r, 0, sizeof r);
        assert_int_equal(compare_task_create(&r.allocator, &r.io, &bad[i].task, 1, &r.task, &error), MMREC_CONFIG);
        assert_string_equal(error.message, bad[i].message);
        end(&r);
    }
}

static void test_missing_file(void **state) {
    (void)state;
    mmrec_compare_task spec = text_task();
    task_rig r;
    mmrec_error error = {0};
    memset(&r, 0, sizeof r);
    spec.data_path = "no such file.txt";
    spec.outputs = 256;
    assert_int_equal(compare_task_create(&r.allocator, &r.io, &spec, 1, &r.task, &error), MMREC_IO);
    assert_non_null(strstr(error.message, "no such file.txt"));
    end(&r);
}

/* Every request for memory fails once. */
static void test_no_memory(void **state) {
    (void)state;
    for (int which = 0; which < 3; which++) {
        mmrec_status status = MMREC_NO_MEMORY;
        uint64_t k = 0;
        while (status != MMREC_OK) {
            task_rig r;
            mmrec_error error = {0};
            memset(&r, 0, sizeof r);
            r.allocator.fail_at = ++k;
            status = compare_task_create(&r.allocator, &r.io, tasks(which), 1, &r.task, &error);
            if (status != MMREC_OK) assert_int_equal(status, MMREC_NO_MEMORY);
            end(&r);
        }
        assert_true(k >= 4);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addressed),   cmocka_unit_test(test_held_out), cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_few_samples), cmocka_unit_test(test_classes),  cmocka_unit_test(test_values),
        cmocka_unit_test(test_text),        cmocka_unit_test(test_refusals), cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
