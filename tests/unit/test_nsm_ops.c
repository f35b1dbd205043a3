/* Ops of the Neural State Machines where the random samples of the harness do not go: gates that are shut or wide open,
 * and sizes that must be refused. Expected figures are worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/op.h"

enum { ROOM = 64, TENSORS = 2 * MMREC_MAX_IN + 2 };

/* One call on small tensors, as double by the reference or as float by the fast functions. */
typedef struct rig {
    const mmrec_op_def *def;
    bool single;
    mmrec_op_sizes sizes;
    mmrec_op_call call;
    mmrec_error error;
    double memory[TENSORS][ROOM], scratch[ROOM];
    int used;
} rig;

static mmrec_view tensor(rig *r, mmrec_shape shape) {
    assert_true(mmrec_shape_elements(&shape) <= ROOM);
    return mmrec_view_dense(r->memory[r->used++], r->single ? MMREC_F32 : MMREC_F64, shape);
}

static void set(const rig *r, const mmrec_view *view, int64_t i, double to) {
    if (r->single)
        ((float *)view->data)[i] = (float)to;
    else
        ((double *)view->data)[i] = to;
}

static double get(const rig *r, const mmrec_view *view, int64_t i) {
    return r->single ? (double)((const float *)view->data)[i] : ((const double *)view->data)[i];
}

static void open_op(rig *r, mmrec_op_id op, bool single, const char *text) {
    memset(r, 0, sizeof *r);
    r->single = single;
    r->def = mmrec_op_get(op, single ? MMREC_VARIANT_F32 : MMREC_VARIANT_F64);
    assert_int_equal(mmrec_op_from_text(r->def, text, 1, &r->sizes, &r->error), MMREC_OK);
    r->call.sizes = &r->sizes;
    r->call.scratch = r->scratch;
    assert_true(r->sizes.scratch_bytes[MMREC_BACKWARD] <= sizeof r->scratch);
    for (int i = 0; r->def->in[i].name; i++) {
        r->call.in[i] = tensor(r, r->sizes.in[i]);
        r->call.d_in[i] = tensor(r, r->sizes.in[i]);
    }
    r->call.out[0] = tensor(r, r->sizes.out[0]);
    r->call.d_out[0] = tensor(r, r->sizes.out[0]);
}

/* Forward, then backward for a gradient of 1 everywhere. */
static void run(rig *r) {
    for (int64_t i = 0; i < mmrec_shape_elements(&r->sizes.out[0]); i++) set(r, &r->call.d_out[0], i, 1);
    for (int pass = MMREC_FORWARD; pass <= MMREC_BACKWARD; pass++) {
        mmrec_op_function function = r->single ? r->def->fast[pass] : r->def->function[pass];
        assert_int_equal(function(&r->call, &r->error), MMREC_OK);
    }
}

static void expect(const rig *r, const mmrec_view *view, int64_t i, double wanted) {
    double got = get(r, view, i);
    if (!(fabs(got - wanted) <= 1e-6)) fail_msg("%s: element %d is %.9g, not %.9g", r->def->name, (int)i, got, wanted);
}

/* Two columns, one shut and one open, by halves of 100 each. */
static void reset_at_its_ends(void **state) {
    (void)state;
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_nsm_reset, single, "B=1 S=1 D=2");
        for (int d = 0; d < 2; d++) {
            set(&r, &r.call.in[0], d, d == 0 ? -100 : 100);
            set(&r, &r.call.in[1], d, d == 0 ? -100 : 100);
            set(&r, &r.call.in[2], d, 3);
        }
        run(&r);
        for (int d = 0; d < 2; d++) {
            expect(&r, &r.call.out[0], d, d == 0 ? 0 : 3);
            expect(&r, &r.call.d_in[0], d, 0);
            expect(&r, &r.call.d_in[2], d, d == 0 ? 0 : 1);
        }
    }
}

/* z at 0 keeps the state and its gradient, at 1 replaces it by tanh(0.5 + 0.25). */
static void update_at_its_ends(void **state) {
    (void)state;
    const double candidate = tanh(0.75);
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_nsm_update, single, "B=1 S=1 D=2");
        for (int d = 0; d < 2; d++) {
            set(&r, &r.call.in[0], 2 + d, d == 0 ? -100 : 100);
            set(&r, &r.call.in[1], 2 + d, d == 0 ? -100 : 100);
            set(&r, &r.call.in[1], 4 + d, 0.25);
            set(&r, &r.call.in[2], d, 0.5);
            set(&r, &r.call.in[3], d, 3);
        }
        run(&r);
        for (int d = 0; d < 2; d++) {
            expect(&r, &r.call.out[0], d, d == 0 ? 3 : candidate);
            expect(&r, &r.call.d_in[0], 2 + d, 0);
            expect(&r, &r.call.d_in[2], d, d == 0 ? 0 : 1 - candidate * candidate);
            expect(&r, &r.call.d_in[3], d, d == 0 ? 1 : 0);
        }
    }
}

/* Everything forgotten and nothing let in is 0; everything kept and let in and out is tanh(s + tanh n) = tanh(3 - 1).
 */
static void lstm_at_its_ends(void **state) {
    (void)state;
    const double open = tanh(2), slope = 1 - open * open;
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_nsm_lstm, single, "B=1 S=1 D=2");
        for (int k = 0; k < 4; k++) {
            for (int d = 0; d < 2; d++) set(&r, &r.call.in[0], 2 * k + d, d == 0 || k == 3 ? -200 : 200);
        }
        for (int d = 0; d < 2; d++) set(&r, &r.call.in[2], d, 3);
        run(&r);
        for (int d = 0; d < 2; d++) {
            expect(&r, &r.call.out[0], d, d == 0 ? 0 : open);
            expect(&r, &r.call.d_in[2], d, d == 0 ? 0 : slope);
            for (int k = 0; k < 4; k++) expect(&r, &r.call.d_in[1], 2 * k + d, 0);
        }
    }
}

/* c far from 0: silu is 0 or c itself, its slope 0 or 1. */
static void convolution_at_its_ends(void **state) {
    (void)state;
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_conv_gate, single, "B=1 T=1 W=2 K=3");
        for (int w = 0; w < 2; w++) {
            set(&r, &r.call.in[0], w, w == 0 ? -20 : 20);
            set(&r, &r.call.in[0], 2 + w, 0.5);
            for (int j = 0; j < 3; j++) set(&r, &r.call.in[1], 3 * w + j, j == 2 ? 10 : NAN); /* those meet no step */
        }
        run(&r);
        for (int w = 0; w < 2; w++) {
            expect(&r, &r.call.out[0], w, w == 0 ? 0 : 100);
            expect(&r, &r.call.d_in[0], w, w == 0 ? 0 : 5);
            expect(&r, &r.call.d_in[0], 2 + w, w == 0 ? 0 : 200);
            for (int j = 0; j < 3; j++) expect(&r, &r.call.d_in[1], 3 * w + j, w == 1 && j == 2 ? 10 : 0);
            expect(&r, &r.call.d_in[2], w, w == 0 ? 0 : 0.5);
        }
    }
}

static void refused(mmrec_op_id op, const char *text, mmrec_status code, const char *message) {
    for (int variant = 0; variant < MMREC_VARIANTS; variant++) {
        mmrec_op_sizes sizes;
        mmrec_error error;
        const mmrec_op_def *def = mmrec_op_get(op, (mmrec_variant)variant);
        assert_int_equal(mmrec_op_from_text(def, text, 1, &sizes, &error), code);
        assert_string_equal(error.message, message);
    }
}

static void sizes_are_refused(void **state) {
    (void)state;
    refused(
        MMREC_OP_nsm_reset, "B=2 N=1 S=3 D=4", MMREC_SHAPE,
        "nsm_reset: a and s have leading axes (1) for a batch of 2: give one set of states without leading axes, or "
        "(2)");
    refused(
        MMREC_OP_nsm_update, "B=2 N=3 S=3 D=4", MMREC_SHAPE,
        "nsm_update: a and s have leading axes (3) for a batch of 2: give one set of states without leading axes, or "
        "(2)");
    refused(MMREC_OP_nsm_lstm, "B=2 N=2 M=1 S=3 D=4", MMREC_SHAPE,
            "nsm_lstm: a and s have leading axes (2, 1) for a batch of 2: give one set of states without leading axes, "
            "or (2)");
    refused(MMREC_OP_route, "B=2 N=3 S=4 Q=5 width=-1", MMREC_CONFIG,
            "route: width is -1; it must be the number of features of a state, or 0 for that of a token");
    refused(MMREC_OP_route, "B=2 N=3 S=4 Q=5 width=2.5", MMREC_CONFIG,
            "route: width is 2.5; it must be the number of features of a state, or 0 for that of a token");
    refused(
        MMREC_OP_route, "B=1 N=3000000000 S=4 Q=5", MMREC_SHAPE,
        "route: 3000000000 tokens of 5 features for 4 states, but no size may exceed 2147483647; use smaller pieces");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_at_its_ends), cmocka_unit_test(update_at_its_ends),
        cmocka_unit_test(lstm_at_its_ends),  cmocka_unit_test(convolution_at_its_ends),
        cmocka_unit_test(sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
