/* Ops at values the random samples of the harness do not reach: rows of zeros, huge logits, bad ids, batches told
 * apart, padding, and sizes that must be refused. Expected figures are worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "mmrec/op.h"
#include "mmrec/rng.h"

enum { ROOM = 64 }; /* elements of one tensor */

/* One op call on small tensors; the same numbers as double and as float. */
typedef struct rig {
    const mmrec_op_def *def;
    bool single; /* float, and the fast function */
    mmrec_op_sizes sizes;
    mmrec_op_call call;
    mmrec_error error;
    double memory[5 * 4][ROOM], scratch[ROOM];
    int used;
} rig;

static mmrec_view tensor(rig *r, mmrec_shape shape, const double *values) {
    mmrec_view view = mmrec_view_dense(r->memory[r->used++], r->single ? MMREC_F32 : MMREC_F64, shape);
    for (int64_t i = 0; values && i < mmrec_shape_elements(&shape); i++) {
        if (r->single)
            ((float *)view.data)[i] = (float)values[i];
        else
            ((double *)view.data)[i] = values[i];
    }
    return view;
}

static double value(const rig *r, const mmrec_view *view, int64_t i) {
    return r->single ? (double)((const float *)view->data)[i] : ((const double *)view->data)[i];
}

/* Opens the op at the sizes of a text; the caller then gives it inputs. */
static void open_op(rig *r, mmrec_op_id op, bool single, const char *text) {
    memset(r, 0, sizeof *r);
    r->single = single;
    r->def = mmrec_op_get(op, single ? MMREC_VARIANT_F32 : MMREC_VARIANT_F64);
    assert_int_equal(mmrec_op_from_text(r->def, text, 2, &r->sizes, &r->error), MMREC_OK);
    r->call.sizes = &r->sizes;
    r->call.scratch = r->scratch;
    assert_true(r->sizes.scratch_bytes[MMREC_BACKWARD] <= sizeof r->scratch);
    for (int i = 0; r->def->out[i].name; i++) r->call.out[i] = tensor(r, r->sizes.out[i], NULL);
    for (int i = 0; r->def->saved[i].name; i++) r->call.saved[i] = tensor(r, r->sizes.saved[i], NULL);
}

static void give(rig *r, int input, const double *values) {
    r->call.in[input] = tensor(r, r->sizes.in[input], values);
    r->call.d_in[input] = tensor(r, r->sizes.in[input], NULL);
}

static void give_ids(rig *r, int input, const int32_t *ids) {
    mmrec_view *view = &r->call.in[input];
    *view = mmrec_view_dense(r->memory[r->used++], MMREC_I32, r->sizes.in[input]);
    memcpy(view->data, ids, (size_t)mmrec_shape_elements(&view->shape) * sizeof *ids);
}

static mmrec_status run(rig *r, mmrec_pass pass) {
    mmrec_op_function fast = r->single ? r->def->fast[pass] : NULL;
    return (fast ? fast : r->def->function[pass])(&r->call, &r->error);
}

static void run_both(rig *r, const double *d_out) {
    assert_int_equal(run(r, MMREC_FORWARD), MMREC_OK);
    r->call.d_out[0] = tensor(r, r->sizes.out[0], d_out);
    assert_int_equal(run(r, MMREC_BACKWARD), MMREC_OK);
}

static void expect(const rig *r, const mmrec_view *view, const double *wanted, double scale) {
    double allowed = (r->single ? 1e-6 : 1e-14) * scale;
    for (int64_t i = 0; i < mmrec_shape_elements(&view->shape); i++) {
        if (!(fabs(value(r, view, i) - wanted[i]) <= allowed))
            fail_msg("%s: element %d is %.17g, not %.17g", r->def->name, (int)i, value(r, view, i), wanted[i]);
    }
}

static void refused(rig *r, mmrec_pass pass, const char *message) {
    assert_int_equal(run(r, pass), MMREC_CONFIG);
    assert_string_equal(r->error.message, message);
}

static void refused_sizes(mmrec_op_id op, const char *text, mmrec_status code, const char *message) {
    mmrec_op_sizes sizes;
    mmrec_error error;
    const mmrec_op_def *def = mmrec_op_get(op, MMREC_VARIANT_F64);
    assert_int_equal(mmrec_op_from_text(def, text, 1, &sizes, &error), code);
    assert_string_equal(error.message, message);
}

/* ---- lookups ---- */

static void embedding_looks_up_each_batch_row(void **state) {
    (void)state;
    const double table[] = {1, 2, 3, 4, 5, 6}, dx[] = {1, 10, 2, 20, 4, 40, 8, 80};
    const double x[] = {3, 4, 1, 2, 3, 4, 3, 4}, dtable[] = {2, 20, 13, 130, 0, 0};
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_embedding, single, "B=2 T=2 V=3 D=2");
        give_ids(&r, 0, (const int32_t[]){1, 0, 1, 1});
        give(&r, 1, table);
        run_both(&r, dx);
        expect(&r, &r.call.out[0], x, 1);
        expect(&r, &r.call.d_in[1], dtable, 1);
    }
}

static void ids_out_of_range_are_refused(void **state) {
    (void)state;
    const double table[] = {1, 2, 3};
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_embedding, single, "B=2 T=2 V=3 D=1");
        give_ids(&r, 0, (const int32_t[]){2, 0, 1, 3});
        give(&r, 1, table);
        refused(&r, MMREC_FORWARD, "embedding: id 3 at batch row 1, step 1 is not in [0, 3)");
        give_ids(&r, 0, (const int32_t[]){2, -1, 1, 0});
        refused(&r, MMREC_BACKWARD, "embedding: id -1 at batch row 0, step 1 is not in [0, 3)");
    }
}

static void cross_entropy_refuses_a_target_out_of_range(void **state) {
    (void)state;
    const double logits[] = {1, 2, 3, 4};
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_cross_entropy, single, "N=2 V=2");
        give(&r, 0, logits);
        give_ids(&r, 1, (const int32_t[]){1, 2});
        refused(&r, MMREC_FORWARD, "cross_entropy: target 2 of row 1 is not in [0, 2)");
        give_ids(&r, 1, (const int32_t[]){INT32_MIN, 0});
        refused(&r, MMREC_FORWARD, "cross_entropy: target -2147483648 of row 0 is not in [0, 2)");
    }
}

/* In place, shares of 1/4 and 3/4: a gradient of 1 is already there, so that memory which cannot be written is left
 * alone; one of 2 doubles it. */
static void cross_entropy_in_place(void **state) {
    (void)state;
    const double t = log(3), logits[] = {0, t}, share[] = {0.25, -0.25}, twice[] = {0.5, -0.5};
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_cross_entropy, single, "N=1 V=2");
        give(&r, 0, logits);
        give_ids(&r, 1, (const int32_t[]){1});
        void *own = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(own != MAP_FAILED);
        memcpy(own, r.call.in[0].data, 2 * mmrec_dtype_bytes(r.call.in[0].dtype));
        r.call.in[0].data = r.call.saved[0].data = r.call.d_in[0].data = own;
        assert_int_equal(run(&r, MMREC_FORWARD), MMREC_OK);
        expect(&r, &r.call.saved[0], share, 1);
        assert_int_equal(mprotect(own, page, PROT_READ), 0);
        r.call.d_out[0] = tensor(&r, r.sizes.out[0], (const double[]){1});
        assert_int_equal(run(&r, MMREC_BACKWARD), MMREC_OK);
        expect(&r, &r.call.d_in[0], share, 1);
        assert_int_equal(mprotect(own, page, PROT_READ | PROT_WRITE), 0);
        r.call.d_out[0] = tensor(&r, r.sizes.out[0], (const double[]){2});
        assert_int_equal(run(&r, MMREC_BACKWARD), MMREC_OK);
        expect(&r, &r.call.d_in[0], twice, 1);
        munmap(own, page);
    }
}

/* Forward alone: the loss without a share. */
static void cross_entropy_without_share(void **state) {
    (void)state;
    const double t = log(3), logits[] = {0, t}, loss = log(4.0 / 3);
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_cross_entropy, single, "N=1 V=2 -share");
        assert_false(mmrec_op_has_backward(r.def, &r.sizes));
        r.call.saved[0].data = NULL;
        give(&r, 0, logits);
        give_ids(&r, 1, (const int32_t[]){1});
        assert_int_equal(run(&r, MMREC_FORWARD), MMREC_OK);
        expect(&r, &r.call.out[0], &loss, 1);
        expect(&r, &r.call.in[0], logits, 4);
    }
}

/* ---- large and vanishing values ---- */

/* Shares 1/4 and 3/4, then 3/4 and 1/4, then two equal ones at 1000, then one so unlikely that it counts for nothing;
 * every row has another loss, so targets of the wrong batch row would show. */
static void cross_entropy_of_large_logits(void **state) {
    (void)state;
    const double t = log(3), one = 1, logits[] = {0, t, t, 0, 1000, 1000, -1e30, 0};
    const double loss = (log(4) + log(4.0 / 3) + log(2) + 0) / 4;
    const double wanted[] = {-0.75 / 4, 0.75 / 4, -0.25 / 4, 0.25 / 4, 0.5 / 4, -0.5 / 4, 0, 0};
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_cross_entropy, single, "B=2 T=2 V=2");
        give(&r, 0, logits);
        give_ids(&r, 1, (const int32_t[]){0, 0, 1, 1});
        run_both(&r, &one);
        expect(&r, &r.call.out[0], &loss, 1);
        expect(&r, &r.call.d_in[0], wanted, 1);
    }
}

static void softmax_of_large_and_masked_values(void **state) {
    (void)state;
    const double x[] = {3e30, 3e30, -INFINITY, 0, -1000, -1000}, y[] = {0.5, 0.5, 0, 1, 0, 0};
    const double dy[] = {1, 3, 5, 1, 2, 3}, dx[] = {-0.5, 0.5, 0, 0, 0, 0};
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_softmax, single, "N=2 D=3");
        give(&r, 0, x);
        run_both(&r, dy);
        expect(&r, &r.call.out[0], y, 1);
        expect(&r, &r.call.d_in[0], dx, 1);
    }
}

/* Row (3, 4) has rms sqrt(12.5); a row of zeros gives zeros and the gradient dy w / eps. */
static void rmsnorm_of_a_row_of_zeros(void **state) {
    (void)state;
    const double x[] = {0, 0, 3, 4}, weight[] = {2, 1}, dy[] = {1, -1, 1, 0};
    const double d = sqrt(12.5) + 0.5, y[] = {0, 0, 6 / d, 4 / d};
    const double back = 6 / (d * d * 2 * sqrt(12.5));
    const double dx[] = {4, -2, 2 / d - 3 * back, -4 * back}, dweight[] = {3 / d, 0};
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_rmsnorm, single, "N=2 D=2 eps=0.5");
        give(&r, 0, x);
        give(&r, 1, weight);
        run_both(&r, dy);
        expect(&r, &r.call.out[0], y, 1);
        expect(&r, &r.call.d_in[0], dx, 4);
        expect(&r, &r.call.d_in[1], dweight, 1);
    }
}

/* Rows far from zero: (c - 1, c + 1) normalises to -+1 / sqrt(1 + eps) whatever c is. */
static void layernorm_far_from_zero(void **state) {
    (void)state;
    const double x[] = {4095, 4097, -1, 1}, weight[] = {2, 3}, bias[] = {10, 20}, h = 1 / sqrt(1 + 1e-5);
    const double y[] = {10 - 2 * h, 20 + 3 * h, 10 - 2 * h, 20 + 3 * h};
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_layernorm, single, "N=2 D=2");
        give(&r, 0, x);
        give(&r, 1, weight);
        give(&r, 2, bias);
        assert_int_equal(run(&r, MMREC_FORWARD), MMREC_OK);
        expect(&r, &r.call.out[0], y, 20);
    }
}

/* ---- products ---- */

static void products_are_not_transposed(void **state) {
    (void)state;
    const double a[] = {1, 2, 3, 4, 5, 6}, b[] = {1, 0, 2, 0, 1, 3}, bias[] = {10, 20};
    const double product[] = {1, 2, 8, 3, 4, 18, 5, 6, 28}, affine[] = {17, 31, 26, 43};
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_matmul, single, "N=3 K=2 F=3");
        give(&r, 0, a);
        give(&r, 1, b);
        assert_int_equal(run(&r, MMREC_FORWARD), MMREC_OK);
        expect(&r, &r.call.out[0], product, 10);
        open_op(&r, MMREC_OP_linear, single, "N=2 D=3 F=2");
        give(&r, 0, a);
        give(&r, 1, b);
        give(&r, 2, bias);
        assert_int_equal(run(&r, MMREC_FORWARD), MMREC_OK);
        expect(&r, &r.call.out[0], affine, 10);
    }
}

/* ---- maxima ---- */

/* The largest multiplier of ROOM elements in the variant for `isa` (NULL: double). */
static double growth_of(const char *isa, const double *gamma, const double *m) {
    rig r;
    open_op(&r, MMREC_OP_growth, isa != NULL, "N=1 D=64");
    if (isa) r.def = mmrec_op_get_isa(MMREC_OP_growth, isa);
    give(&r, 0, gamma);
    give(&r, 1, m);
    assert_int_equal(run(&r, MMREC_FORWARD), MMREC_OK);
    return value(&r, &r.call.out[0], 0);
}

/* A NaN, of either sign, anywhere, in either input: NaN. Infinities are numbers. */
static void growth_keeps_what_is_not_a_number(void **state) {
    (void)state;
    static const char *const isas[] = {NULL, "base", "avx2", "avx512"};
    for (int v = 0; v < 4; v++) {
        double gamma[ROOM], m[ROOM];
        if (isas[v] && !mmrec_op_get_isa(MMREC_OP_growth, isas[v])) continue;
        for (int i = 0; i < ROOM; i++) gamma[i] = m[i] = 0.25;
        for (int i = 0; i < ROOM; i++) {
            gamma[i] = 0.75;
            assert_true(fabs(growth_of(isas[v], gamma, m) - 0.9) < 1e-7);
            gamma[i] = i % 2 ? NAN : -NAN;
            assert_true(isnan(growth_of(isas[v], gamma, m)));
            gamma[i] = INFINITY;
            assert_true(growth_of(isas[v], gamma, m) == INFINITY);
            gamma[i] = -INFINITY;
            assert_true(fabs(growth_of(isas[v], gamma, m) - 0.35) < 1e-7);
            gamma[i] = 0.25;
            m[i] = i % 2 ? -NAN : NAN;
            assert_true(isnan(growth_of(isas[v], gamma, m)));
            m[i] = 0.25;
        }
        for (int i = 0; i < ROOM; i++) gamma[i] = -INFINITY;
        assert_true(growth_of(isas[v], gamma, m) == -INFINITY);
    }
}

/* ---- drawn and constant values ---- */

static void fill_follows_the_view(void **state) {
    (void)state;
    for (int single = 0; single <= 1; single++) {
        rig r;
        open_op(&r, MMREC_OP_fill, single, "rows=1 columns=1 value=3");
        const double before[] = {7, 7, 7, 7, 7, 7}, after[] = {3, 3, 7, 3, 3, 7};
        mmrec_view whole = tensor(&r, mmrec_shape2(2, 3), before);
        r.call.out[0] = whole;
        r.call.out[0].shape = mmrec_shape2(2, 2);
        assert_int_equal(run(&r, MMREC_FORWARD), MMREC_OK);
        expect(&r, &whole, after, 1);
    }
}

static void draws_are_those_of_the_generator(void **state) {
    (void)state;
    for (int single = 0; single <= 1; single++) {
        rig r;
        double x[15], kept[15], number[15];
        for (uint64_t i = 0; i < 15; i++) {
            x[i] = (double)i + 1;
            kept[i] = mmrec_rng_uniform(9, 4, i) >= 0.5f ? 2 * x[i] : 0;
            number[i] = 0.25 * mmrec_rng_normal(9, 4, i);
        }
        open_op(&r, MMREC_OP_dropout, single, "N=3 D=5 p=0.5 stream=4");
        give(&r, 0, x);
        r.call.seed = 9;
        assert_int_equal(run(&r, MMREC_FORWARD), MMREC_OK);
        expect(&r, &r.call.out[0], kept, 1);
        open_op(&r, MMREC_OP_randn, single, "rows=3 columns=5 scale=0.25 stream=4");
        r.call.seed = 9;
        assert_int_equal(run(&r, MMREC_FORWARD), MMREC_OK);
        expect(&r, &r.call.out[0], number, 1);
    }
}

/* ---- refusals ---- */

static void sizes_and_attributes_are_refused(void **state) {
    (void)state;
    refused_sizes(MMREC_OP_linear, "N=3000000000 D=2 F=4", MMREC_SHAPE,
                  "linear: 3000000000 rows, 2 columns in and 4 out, but no size may exceed 2147483647; use a smaller "
                  "batch");
    refused_sizes(MMREC_OP_matmul, "N=2 K=3000000000 F=4", MMREC_SHAPE,
                  "matmul: (2, 3000000000) times (3000000000, 4), but no size may exceed 2147483647; multiply smaller "
                  "pieces");
    refused_sizes(MMREC_OP_fill, "rows=0 columns=2", MMREC_SHAPE, "fill: rows is 0; give a whole number of at least 1");
    refused_sizes(MMREC_OP_randn, "rows=2 columns=2.5", MMREC_SHAPE,
                  "randn: columns is 2.5; give a whole number of at least 1");
    refused_sizes(MMREC_OP_randn, "rows=2 columns=2 stream=-1", MMREC_SHAPE,
                  "randn: stream is -1; give a whole number of at least 0");
    refused_sizes(MMREC_OP_dropout, "N=2 D=2 p=1", MMREC_CONFIG, "dropout: p is 1; it must be at least 0 and below 1");
    refused_sizes(MMREC_OP_dropout, "N=2 D=2 stream=0.5", MMREC_CONFIG,
                  "dropout: stream is 0.5; it must be a whole number of at least 0");
    refused_sizes(MMREC_OP_rmsnorm, "N=2 D=2 eps=0", MMREC_CONFIG, "rmsnorm: eps is 0; it must be above 0");
    refused_sizes(MMREC_OP_layernorm, "N=2 D=2 eps=-1", MMREC_CONFIG, "layernorm: eps is -1; it must be above 0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embedding_looks_up_each_batch_row),
        cmocka_unit_test(ids_out_of_range_are_refused),
        cmocka_unit_test(cross_entropy_refuses_a_target_out_of_range),
        cmocka_unit_test(cross_entropy_in_place),
        cmocka_unit_test(cross_entropy_without_share),
        cmocka_unit_test(cross_entropy_of_large_logits),
        cmocka_unit_test(softmax_of_large_and_masked_values),
        cmocka_unit_test(rmsnorm_of_a_row_of_zeros),
        cmocka_unit_test(layernorm_far_from_zero),
        cmocka_unit_test(products_are_not_transposed),
        cmocka_unit_test(growth_keeps_what_is_not_a_number),
        cmocka_unit_test(fill_follows_the_view),
        cmocka_unit_test(draws_are_those_of_the_generator),
        cmocka_unit_test(sizes_and_attributes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
