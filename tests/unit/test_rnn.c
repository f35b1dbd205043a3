/* The recurrent layers lstm and gru where the harness's samples do not reach: sizes that are refused, gates far from
 * zero and very near it, a sequence in two halves, one input for all steps, and any number of threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/op.h"
#include "mmrec/rng.h"

static const mmrec_op_id both[] = {MMREC_OP_lstm, MMREC_OP_gru};

/* One call; values follow from the argument's name, so that two rigs of the same sizes hold the same. */
typedef struct rig {
    const mmrec_op_def *def;
    mmrec_dtype type;
    mmrec_op_sizes sizes;
    mmrec_op_call call;
    void *memory[40];
    int used;
} rig;

static void put(const mmrec_view *view, int64_t i, double value) {
    if (view->dtype == MMREC_F64)
        ((double *)view->data)[i] = value;
    else
        ((float *)view->data)[i] = (float)value;
}

static double at(const mmrec_view *view, int64_t i) {
    return view->dtype == MMREC_F64 ? ((const double *)view->data)[i] : (double)((const float *)view->data)[i];
}

static void *take(rig *r, size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 64) / 64 * 64);
    assert_non_null(memory);
    return r->memory[r->used++] = memory;
}

static mmrec_view tensor(rig *r, mmrec_shape shape, const char *name) {
    int64_t count = mmrec_shape_elements(&shape);
    mmrec_view view = mmrec_view_dense(take(r, (size_t)count * mmrec_dtype_bytes(r->type)), r->type, shape);
    uint64_t stream = 0;
    for (const char *c = name; *c; c++) stream = stream * 31 + (uint64_t)*c;
    for (int64_t i = 0; i < count; i++) put(&view, i, mmrec_rng_uniform(7, stream, (uint64_t)i) - 0.5);
    return view;
}

static void open_rig(rig *r, mmrec_op_id op, mmrec_variant variant, const char *text, int threads) {
    mmrec_error error = {0};
    memset(r, 0, sizeof *r);
    r->def = mmrec_op_get(op, variant);
    r->type = variant == MMREC_VARIANT_F64 ? MMREC_F64 : MMREC_F32;
    assert_int_equal(mmrec_op_from_text(r->def, text, threads, &r->sizes, &error), MMREC_OK);
    r->call.sizes = &r->sizes;
    for (int i = 0; r->def->in[i].name; i++) {
        if (!((r->sizes.given >> i) & 1u)) continue;
        r->call.in[i] = tensor(r, r->sizes.in[i], r->def->in[i].name);
        r->call.d_in[i] = tensor(r, r->sizes.in[i], r->def->in[i].name);
    }
    for (int i = 0; r->def->out[i].name; i++) {
        r->call.out[i] = tensor(r, r->sizes.out[i], r->def->out[i].name);
        r->call.d_out[i] = tensor(r, r->sizes.out[i], r->def->out[i].name);
    }
    for (int i = 0; r->def->saved[i].name; i++) r->call.saved[i] = tensor(r, r->sizes.saved[i], r->def->saved[i].name);
    size_t most = r->sizes.scratch_bytes[MMREC_FORWARD];
    if (most < r->sizes.scratch_bytes[MMREC_BACKWARD]) most = r->sizes.scratch_bytes[MMREC_BACKWARD];
    r->call.scratch = take(r, most);
}

static void close_rig(rig *r) {
    for (int i = 0; i < r->used; i++) free(r->memory[i]);
}

static void run(rig *r, mmrec_pass pass) {
    mmrec_error error = {0};
    bool fast = r->type == MMREC_F32;
    assert_int_equal((fast ? r->def->fast[pass] : r->def->function[pass])(&r->call, &error), MMREC_OK);
}

static void fill(const mmrec_view *view, double value) {
    for (int64_t i = 0; i < mmrec_shape_elements(&view->shape); i++) put(view, i, value);
}

static int input(const rig *r, const char *name) {
    for (int i = 0; r->def->in[i].name; i++) {
        if (strcmp(r->def->in[i].name, name) == 0) return i;
    }
    fail_msg("no input %s", name);
    return -1;
}

static void refused(mmrec_op_id op, const char *text, const char *wanted) {
    mmrec_op_sizes sizes;
    mmrec_error error = {0};
    const mmrec_op_def *def = mmrec_op_get(op, MMREC_VARIANT_F32);
    assert_int_equal(mmrec_op_from_text(def, text, 1, &sizes, &error), MMREC_SHAPE);
    if (!strstr(error.message, wanted)) fail_msg("\"%s\" does not say \"%s\"", error.message, wanted);
}

static void test_refused(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        refused(both[i], "B=1 X=2 D=1 H=1 steps=3", "x has 2 steps but 3 are wanted");
        refused(both[i], "B=1 X=3 D=1 H=1 steps=2", "x has 3 steps but 2 are wanted");
        refused(both[i], "B=1 X=1 D=1 H=1 steps=2.5", "steps is 2.5");
        refused(both[i], "B=1 X=1 D=1 H=1 steps=-1", "steps is -1");
        refused(both[i], "B=70000 X=1 D=1 H=1 steps=70000", "4900000000 rows (B T)");
        refused(both[i], "B=1 X=1 D=1 H=600000000", "2400000000 gate columns (4 H)");
        refused(both[i], "B=1 X=1 D=3000000000 H=1", "3000000000 input columns");
    }
}

/* Sums of +-1e30 open or close every gate: h is at most 1, and so are all slopes finite. NaN stays NaN. */
static void test_far_values(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        for (int sign = -1; sign <= 1; sign++) {
            rig r;
            open_rig(&r, both[i], MMREC_VARIANT_F32, "B=2 X=3 D=2 H=19", 1);
            fill(&r.call.in[input(&r, "bias_ih")], sign == 0 ? (double)NAN : sign * 1e30);
            run(&r, MMREC_FORWARD);
            run(&r, MMREC_BACKWARD);
            for (int64_t k = 0; k < 2 * 3 * 19; k++) {
                double h = at(&r.call.out[0], k);
                assert_true(sign == 0 ? isnan(h) : fabs(h) <= 1);
            }
            for (int64_t k = 0; k < 2 * 3 * 2; k++) {
                assert_true((isfinite(at(&r.call.d_in[0], k)) != 0) == (sign != 0));
            }
            close_rig(&r);
        }
    }
}

/* tanh x is x to 1e-14 for x = 1e-7: with everything but the bias of a tanh at 0, gates are a half. lstm: c = x / 2,
 * h = x / 4; gru: h = x / 2. A tanh made from 1 - 2 / (1 + e^2x) would be off by half of it. */
static void test_near_zero(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        rig r;
        open_rig(&r, both[i], MMREC_VARIANT_F32, i == 0 ? "B=1 X=1 D=1 H=21 -h0 -c0" : "B=1 X=1 D=1 H=21 -h0", 1);
        for (int k = 0; r.def->in[k].name; k++) {
            if (r.call.in[k].data) fill(&r.call.in[k], 0);
        }
        for (int64_t k = 0; k < 21; k++) put(&r.call.in[input(&r, "bias_ih")], 2 * 21 + k, 1e-7);
        run(&r, MMREC_FORWARD);
        for (int64_t k = 0; k < 21; k++) {
            double want = i == 0 ? 0.25e-7 : 0.5e-7, got = at(&r.call.out[0], k);
            assert_true(fabs(got - want) <= 1e-6 * want);
        }
        close_rig(&r);
    }
}

/* The last state of the first half starts the second: the same as in one piece. */
static void test_two_halves(void **state) {
    (void)state;
    enum { BATCH = 3, HALF = 4, INPUTS = 5, WIDTH = 18 };
    for (int i = 0; i < 2; i++) {
        rig whole, half;
        open_rig(&whole, both[i], MMREC_VARIANT_F32, "B=3 X=8 D=5 H=18", 2);
        open_rig(&half, both[i], MMREC_VARIANT_F32, "B=3 X=4 D=5 H=18", 2);
        run(&whole, MMREC_FORWARD);
        for (int part = 0; part < 2; part++) {
            for (int64_t k = 0; k < BATCH * HALF * INPUTS; k++) {
                int64_t b = k / (HALF * INPUTS), from = b * HALF * INPUTS + part * HALF * INPUTS + k;
                put(&half.call.in[0], k, at(&whole.call.in[0], from));
            }
            run(&half, MMREC_FORWARD);
            for (int s = 1; half.def->out[s].name; s++) {
                for (int64_t k = 0; k < BATCH * WIDTH; k++) put(&half.call.in[s], k, at(&half.call.out[s], k));
            }
        }
        for (int64_t b = 0; b < BATCH; b++) {
            for (int64_t k = 0; k < HALF * WIDTH; k++) {
                double want = at(&whole.call.out[0], (2 * b + 1) * HALF * WIDTH + k);
                assert_true(fabs(at(&half.call.out[0], b * HALF * WIDTH + k) - want) <= 1e-6);
            }
        }
        close_rig(&whole);
        close_rig(&half);
    }
}

/* One input for all steps is that input written out: outputs alike, gradients of x added up over the steps. */
static void test_one_input(void **state) {
    (void)state;
    enum { BATCH = 2, STEPS = 5, INPUTS = 3, WIDTH = 7 };
    for (int i = 0; i < 2; i++) {
        rig one, all;
        open_rig(&one, both[i], MMREC_VARIANT_F64, "B=2 X=1 D=3 H=7 steps=5", 1);
        open_rig(&all, both[i], MMREC_VARIANT_F64, "B=2 X=5 D=3 H=7", 1);
        for (int64_t k = 0; k < BATCH * STEPS * INPUTS; k++) {
            put(&all.call.in[0], k, at(&one.call.in[0], k / (STEPS * INPUTS) * INPUTS + k % INPUTS));
        }
        run(&one, MMREC_FORWARD);
        run(&all, MMREC_FORWARD);
        assert_memory_equal(one.call.out[0].data, all.call.out[0].data, BATCH * STEPS * WIDTH * sizeof(double));
        run(&one, MMREC_BACKWARD);
        run(&all, MMREC_BACKWARD);
        for (int64_t k = 0; k < BATCH * INPUTS; k++) {
            double sum = 0;
            for (int64_t t = 0; t < STEPS; t++) {
                sum += at(&all.call.d_in[0], (k / INPUTS * STEPS + t) * INPUTS + k % INPUTS);
            }
            assert_true(fabs(at(&one.call.d_in[0], k) - sum) <= 1e-12);
        }
        close_rig(&one);
        close_rig(&all);
    }
}

/* Groups of units fall to other threads, and batches cross every block of rows: the bits stay. */
static void test_threads(void **state) {
    (void)state;
    static const char *const texts[] = {"B=1 X=3 D=4 H=70", "B=13 X=3 D=4 H=70", "B=37 X=2 D=3 H=150"};
    for (int i = 0; i < 2; i++) {
        for (size_t s = 0; s < sizeof texts / sizeof texts[0]; s++) {
            rig single, several;
            open_rig(&single, both[i], MMREC_VARIANT_F32, texts[s], 1);
            open_rig(&several, both[i], MMREC_VARIANT_F32, texts[s], 5);
            for (int pass = 0; pass < MMREC_PASSES; pass++) {
                run(&single, (mmrec_pass)pass);
                run(&several, (mmrec_pass)pass);
            }
            for (int k = 0; single.def->in[k].name; k++) {
                const mmrec_view *a = &single.call.d_in[k], *b = &several.call.d_in[k];
                assert_memory_equal(a->data, b->data, (size_t)mmrec_shape_elements(&a->shape) * sizeof(float));
            }
            const mmrec_view *y = &single.call.out[0];
            size_t bytes = (size_t)mmrec_shape_elements(&y->shape) * sizeof(float);
            assert_memory_equal(y->data, several.call.out[0].data, bytes);
            close_rig(&single);
            close_rig(&several);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_far_values), cmocka_unit_test(test_near_zero),
        cmocka_unit_test(test_two_halves), cmocka_unit_test(test_one_input),  cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
