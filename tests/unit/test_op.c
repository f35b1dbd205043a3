/* Sizes of ops (a made-up definition shows every rule of the dims text) and the op table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "mmrec/op.h"

/* ---- a definition that uses everything ---- */

static mmrec_status toy_infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    if (sizes->attr[1] < 0) MMREC_FAIL(error, MMREC_CONFIG, "toy: heads is %g", sizes->attr[1]);
    if (sizes->attr[1] > 0) MMREC_SIZE(sizes, H) = (int64_t)sizes->attr[1]; /* 0: forgets to bind H */
    sizes->scratch_bytes[MMREC_FORWARD] = 64 * (size_t)sizes->threads;
    return MMREC_OK;
}
static mmrec_work toy_work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)sizes;
    return (mmrec_work){pass == MMREC_FORWARD ? 10 : 20, 3, 0};
}
static mmrec_status toy_run(const mmrec_op_call *call, mmrec_error *error) {
    (void)call;
    (void)error;
    return MMREC_OK;
}
static const mmrec_op_def toy = {
    .name = "toy",
    .in = {{.name = "x", .dims = "* D", .flags = MMREC_ARG_KEEP},
           {.name = "weight", .dims = "D 2D"},
           {.name = "ids", .dims = "*", .flags = MMREC_ARG_IDS | MMREC_ARG_KEEP, .below = 'V'},
           {.name = "scale", .dims = "1", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_NO_GRAD},
           {.name = "extra", .dims = "3E", .flags = MMREC_ARG_OPTIONAL | MMREC_ARG_F32}},
    .out = {{.name = "y", .dims = "* 2D", .flags = MMREC_ARG_KEEP},
            {.name = "n", .dims = "H", .flags = MMREC_ARG_OPTIONAL}},
    .saved = {{.name = "stat", .dims = "*"}},
    .attr = {"p", "heads"},
    .attr_default = {0.5, 2},
    .infer = toy_infer,
    .work = toy_work,
    .function = {toy_run, toy_run},
};
/* x (2, 3, 5), weight (5, 10), ids (2, 3), scale (1), extra (6) */
static mmrec_op_sizes toy_sizes(void) {
    mmrec_op_sizes sizes;
    mmrec_op_sizes_init(&toy, 2, &sizes);
    sizes.given = 0x1f;
    sizes.in[0] = mmrec_shape3(2, 3, 5);
    sizes.in[1] = mmrec_shape2(5, 10);
    sizes.in[2] = mmrec_shape2(2, 3);
    sizes.in[3] = mmrec_shape1(1);
    sizes.in[4] = mmrec_shape1(6);
    return sizes;
}

static void expect_shape(const mmrec_shape *shape, const char *text) {
    char got[64];
    assert_string_equal(mmrec_shape_text(shape, got, sizeof got), text);
}

/* The toy's sizes after `change`, refused with exactly these words. */
static void expect_refused(const mmrec_op_sizes *sizes, mmrec_status status, const char *words) {
    mmrec_op_sizes tried = *sizes;
    mmrec_error error = {0};
    assert_int_equal(mmrec_op_resolve(&toy, &tried, &error), status);
    assert_string_equal(error.message, words);
}

static void starting_sizes(void **state) {
    (void)state;
    mmrec_op_sizes sizes;
    memset(&sizes, 0xff, sizeof sizes);
    mmrec_op_sizes_init(&toy, 0, &sizes);
    assert_int_equal(sizes.threads, 1);
    assert_int_equal(sizes.given, 0);
    assert_int_equal(sizes.made, 3);
    assert_int_equal(sizes.stored, 1);
    assert_true(sizes.attr[0] == 0.5 && sizes.attr[1] == 2);
    mmrec_op_sizes_init(&toy, 7, &sizes);
    assert_int_equal(sizes.threads, 7);
}

static void small_questions(void **state) {
    (void)state;
    assert_int_equal(mmrec_arg_count(toy.in), 5);
    assert_int_equal(mmrec_arg_count(toy.saved), 1);
    assert_int_equal(mmrec_op_attr(&toy, "p"), 0);
    assert_int_equal(mmrec_op_attr(&toy, "heads"), 1);
    assert_int_equal(mmrec_op_attr(&toy, "head"), -1);
    assert_int_equal(mmrec_op_attr(&toy, ""), -1);
}

static void shapes_follow_from_inputs(void **state) {
    (void)state;
    mmrec_op_sizes sizes = toy_sizes();
    mmrec_error error = {0};
    sizes.letter['Q' - 'A'] = 99; /* what was bound before plays no part */
    assert_int_equal(mmrec_op_resolve(&toy, &sizes, &error), MMREC_OK);
    assert_int_equal(MMREC_SIZE(&sizes, D), 5);
    assert_int_equal(MMREC_SIZE(&sizes, E), 2);
    assert_int_equal(MMREC_SIZE(&sizes, H), 2);
    assert_int_equal(MMREC_SIZE(&sizes, Q), 0);
    expect_shape(&sizes.star, "(2, 3)");
    expect_shape(&sizes.out[0], "(2, 3, 10)");
    expect_shape(&sizes.out[1], "(2)");
    expect_shape(&sizes.saved[0], "(2, 3)");
    assert_int_equal(sizes.scratch_bytes[MMREC_FORWARD], 128);
    assert_int_equal(sizes.scratch_bytes[MMREC_BACKWARD], 0);
}

static void absent_arguments_have_no_shape(void **state) {
    (void)state;
    mmrec_op_sizes sizes = toy_sizes();
    mmrec_error error = {0};
    sizes.given = 0x7;
    sizes.made = 1;
    sizes.attr[1] = 0; /* nobody binds H, and nobody needs it */
    assert_int_equal(mmrec_op_resolve(&toy, &sizes, &error), MMREC_OK);
    assert_int_equal(sizes.in[3].ndim, 0);
    assert_int_equal(sizes.out[1].ndim, 0);
    assert_int_equal(MMREC_SIZE(&sizes, E), 0);
}

static void star_may_be_nothing(void **state) {
    (void)state;
    mmrec_op_sizes sizes = toy_sizes();
    mmrec_error error = {0};
    sizes.in[0] = mmrec_shape1(5);
    sizes.in[2] = (mmrec_shape){0};
    assert_int_equal(mmrec_op_resolve(&toy, &sizes, &error), MMREC_OK);
    expect_shape(&sizes.out[0], "(10)");
    assert_int_equal(sizes.saved[0].ndim, 0);
}

static void misfits_are_refused_in_words(void **state) {
    (void)state;
    mmrec_op_sizes sizes = toy_sizes();
    sizes.in[1] = mmrec_shape2(6, 10);
    expect_refused(&sizes, MMREC_SHAPE, "toy: weight is (6, 10) but D is 5 (from x)");
    sizes.in[1] = mmrec_shape2(5, 12);
    expect_refused(&sizes, MMREC_SHAPE, "toy: weight is (5, 12) but D is 5 (from x)");
    sizes.in[1] = mmrec_shape2(5, 11);
    expect_refused(&sizes, MMREC_SHAPE, "toy: weight is (5, 11) but D is 5 (from x)");
    sizes.in[1] = mmrec_shape3(5, 10, 1);
    expect_refused(&sizes, MMREC_SHAPE, "toy: weight is (5, 10, 1), wanted (D 2D)");
    sizes = toy_sizes();
    sizes.in[0].ndim = 0;
    expect_refused(&sizes, MMREC_SHAPE, "toy: x is (), wanted (* D)");
    sizes = toy_sizes();
    sizes.in[2] = mmrec_shape2(3, 2);
    expect_refused(&sizes, MMREC_SHAPE, "toy: ids is (3, 2) but its leading axes must be (2, 3) (from x)");
    sizes = toy_sizes();
    sizes.in[3] = mmrec_shape1(2);
    expect_refused(&sizes, MMREC_SHAPE, "toy: scale is (2) but that axis must be 1");
    sizes = toy_sizes();
    sizes.in[4] = mmrec_shape1(7);
    expect_refused(&sizes, MMREC_SHAPE, "toy: extra is (7) but that axis must be a multiple of 3");
}

static void missing_and_surplus_arguments_are_refused(void **state) {
    (void)state;
    mmrec_op_sizes sizes = toy_sizes();
    sizes.given = 0x1d;
    expect_refused(&sizes, MMREC_SHAPE, "toy: input weight is missing");
    sizes.given = 0x3f;
    expect_refused(&sizes, MMREC_SHAPE, "toy: takes 5 inputs at most");
    sizes = toy_sizes();
    sizes.made = 2;
    expect_refused(&sizes, MMREC_SHAPE, "toy: output y cannot be left out");
    sizes = toy_sizes();
    sizes.stored = 0;
    expect_refused(&sizes, MMREC_SHAPE, "toy: saved tensor stat cannot be left out");
}

static void impossible_sizes_are_refused(void **state) {
    (void)state;
    mmrec_op_sizes sizes = toy_sizes();
    sizes.in[0].dim[1] = 0;
    expect_refused(&sizes, MMREC_SHAPE,
                   "toy: x is (2, 0, 5); sizes must be at least 1 and their product must fit 62 bits");
    sizes.in[0].dim[1] = -4;
    expect_refused(&sizes, MMREC_SHAPE,
                   "toy: x is (2, -4, 5); sizes must be at least 1 and their product must fit 62 bits");
    sizes.in[0] = mmrec_shape3(INT64_C(1) << 40, INT64_C(1) << 40, 5);
    expect_refused(
        &sizes, MMREC_SHAPE,
        "toy: x is (1099511627776, 1099511627776, 5); sizes must be at least 1 and their product must fit 62 bits");
    /* The inputs fit, the output is twice as wide. */
    sizes = toy_sizes();
    sizes.in[0] = mmrec_shape3(INT64_C(1) << 59, 1, 5);
    sizes.in[2] = mmrec_shape2(INT64_C(1) << 59, 1);
    expect_refused(&sizes, MMREC_SHAPE, "toy: y would have more elements than 62 bits can count, or none");
    sizes.in[0] = (mmrec_shape){4, {1, 1, 1, 5}};
    sizes.in[2] = mmrec_shape3(1, 1, 1);
    sizes.in[0].ndim = 5;
    mmrec_error error = {0};
    assert_int_equal(mmrec_op_resolve(&toy, &sizes, &error), MMREC_SHAPE);
}

static void infer_has_the_last_word(void **state) {
    (void)state;
    mmrec_op_sizes sizes = toy_sizes();
    sizes.attr[1] = -1;
    expect_refused(&sizes, MMREC_CONFIG, "toy: heads is -1");
    sizes.attr[1] = 0;
    expect_refused(&sizes, MMREC_INTERNAL, "toy: no input says how large H of n is");
}

/* ---- sample texts ---- */

static void text_gives_everything(void **state) {
    (void)state;
    mmrec_op_sizes sizes;
    mmrec_error error = {0};
    assert_int_equal(mmrec_op_from_text(&toy, "B=2  T=3 D=5 E=2 p=0.25 heads=4 -scale ", 3, &sizes, &error), MMREC_OK);
    expect_shape(&sizes.in[0], "(2, 3, 5)");
    expect_shape(&sizes.in[1], "(5, 10)");
    expect_shape(&sizes.in[4], "(6)");
    expect_shape(&sizes.out[0], "(2, 3, 10)");
    expect_shape(&sizes.out[1], "(4)");
    assert_int_equal(sizes.given, 0x17);
    assert_int_equal(sizes.threads, 3);
    assert_true(sizes.attr[0] == 0.25);
}

static void text_may_leave_out(void **state) {
    (void)state;
    mmrec_op_sizes sizes;
    mmrec_error error = {0};
    assert_int_equal(mmrec_op_from_text(&toy, "N=7 D=1 H=2 -extra", 1, &sizes, &error), MMREC_OK);
    expect_shape(&sizes.in[0], "(7, 1)");
    assert_int_equal(mmrec_op_from_text(&toy, "D=1 -extra -scale -n", 1, &sizes, &error), MMREC_OK);
    assert_int_equal(sizes.made, 1);
    assert_int_equal(sizes.given, 7);
}

static void bad_texts_are_refused_in_words(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"N=7 D", "toy: \"D\" in \"N=7 D\" is neither name=value nor -name"},
        {"N=0 D=1", "toy: \"N=0\" in \"N=0 D=1\" is not a size of at least 1"},
        {"D=-2", "toy: \"D=-2\" in \"D=-2\" is not a size of at least 1"},
        {"D=2x", "toy: \"D=2x\" in \"D=2x\" is not a size of at least 1"},
        {"D=", "toy: \"D=\" in \"D=\" is not a size of at least 1"},
        {"D=99999999999999999999", "toy: \"D=99999999999999999999\" in \"D=99999999999999999999\" is not a size of at "
                                   "least 1"},
        {"D=2 D=2", "toy: \"D=2\" in \"D=2 D=2\" gives an axis a second time"},
        {"A=1 B=1 C=1 F=1 G=1", "toy: \"G=1\" in \"A=1 B=1 C=1 F=1 G=1\" is one axis too many"},
        {"width=3",
         "toy: \"width=3\" in \"width=3\" names neither an axis (a capital letter) nor an attribute of this op"},
        {"=3", "toy: \"=3\" in \"=3\" names neither an axis (a capital letter) nor an attribute of this op"},
        {"p=x", "toy: \"p=x\" in \"p=x\" has no number after the ="},
        {"p=nan", "toy: \"p=nan\" in \"p=nan\" has no number after the ="},
        {"p=1e999", "toy: \"p=1e999\" in \"p=1e999\" has no number after the ="},
        {"-x", "toy: \"-x\" in \"-x\" names no optional argument of this op"},
        {"-y", "toy: \"-y\" in \"-y\" names no optional argument of this op"},
        {"-", "toy: \"-\" in \"-\" names no optional argument of this op"},
        {"N=7 E=1", "toy: \"N=7 E=1\" gives no size for D of x (* D)"},
        {"D=2 E=3 -extra", "toy: E=3 in \"D=2 E=3 -extra\" plays no part"},
        {"D=2 H=3 -extra", "toy: H=3 in \"D=2 H=3 -extra\" but the other sizes make it 2"},
        {"D=2 -extra heads=-1", "toy: heads is -1"},
        {"D=4611686018427387904 -extra", "toy: x would have more elements than 62 bits can count, or none"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=1",
         "toy: a word of \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\" is longer than 63 characters"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mmrec_op_sizes sizes;
        mmrec_error error = {0};
        assert_int_not_equal(mmrec_op_from_text(&toy, bad[i][0], 1, &sizes, &error), MMREC_OK);
        assert_string_equal(error.message, bad[i][1]);
    }
}

static void an_axis_nobody_has_is_refused(void **state) {
    (void)state;
    mmrec_op_def plain = {.name = "plain", .in = {{.name = "x", .dims = "B D"}}, .out = {{.name = "y", .dims = "D"}}};
    mmrec_op_sizes sizes;
    mmrec_error error = {0};
    assert_int_equal(mmrec_op_from_text(&plain, "B=1 D=1 T=1", 1, &sizes, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "plain: \"T=1\" in \"B=1 D=1 T=1\" names no axis of this op");
    assert_int_equal(mmrec_op_from_text(&plain, "B=4 D=6", 1, &sizes, &error), MMREC_OK);
    expect_shape(&sizes.out[0], "(6)");
}

/* ---- work ---- */

static void bytes_count_every_argument_once(void **state) {
    (void)state;
    mmrec_op_sizes sizes = toy_sizes();
    mmrec_error error = {0};
    assert_int_equal(mmrec_op_resolve(&toy, &sizes, &error), MMREC_OK);
    /* x 30, weight 50, scale 1, extra 6, y 60, n 2, stat 6 reals; 6 ids. */
    mmrec_work forward = mmrec_op_work(&toy, &sizes, MMREC_FORWARD, MMREC_F32);
    assert_true(forward.flops == 10 && forward.transcendentals == 3);
    assert_true(forward.bytes == (30 + 50 + 1 + 6 + 60 + 2 + 6) * 4 + 6 * 4);
    assert_true(mmrec_op_work(&toy, &sizes, MMREC_FORWARD, MMREC_F64).bytes ==
                (30 + 50 + 1 + 6 + 60 + 2 + 6) * 8 + 6 * 4);
    /* In bfloat16 the argument `extra` stays float. */
    assert_true(mmrec_op_work(&toy, &sizes, MMREC_FORWARD, MMREC_BF16).bytes ==
                (30 + 50 + 1 + 60 + 2 + 6) * 2 + 6 * 4 + 24);
    /* Backward: KEEP x, ids and y; stat; dy, dn; dx, dweight, dextra. */
    mmrec_work backward = mmrec_op_work(&toy, &sizes, MMREC_BACKWARD, MMREC_F32);
    assert_true(backward.flops == 20 && backward.bytes == (30 + 60 + 6 + 62 + 30 + 50 + 6) * 4 + 6 * 4);
}

static void absent_arguments_have_no_bytes(void **state) {
    (void)state;
    mmrec_op_sizes sizes;
    mmrec_error error = {0};
    assert_int_equal(mmrec_op_from_text(&toy, "D=1 -extra -scale -n", 1, &sizes, &error), MMREC_OK);
    assert_true(mmrec_op_work(&toy, &sizes, MMREC_FORWARD, MMREC_F32).bytes == (1 + 2 + 2 + 1) * 4 + 4);
    mmrec_op_def forward_only = toy;
    forward_only.function[MMREC_BACKWARD] = NULL;
    mmrec_work none = mmrec_op_work(&forward_only, &sizes, MMREC_BACKWARD, MMREC_F32);
    assert_true(none.flops == 0 && none.transcendentals == 0 && none.bytes == 0);
}

/* Without what is saved there is nothing to differentiate. */
static void what_is_saved_may_be_optional(void **state) {
    (void)state;
    mmrec_op_def loose = toy;
    loose.saved[0].flags = MMREC_ARG_OPTIONAL;
    mmrec_op_sizes with, without;
    mmrec_error error = {0};
    assert_int_equal(mmrec_op_from_text(&loose, "N=7 D=1 -extra", 1, &with, &error), MMREC_OK);
    assert_int_equal(mmrec_op_from_text(&loose, "N=7 D=1 -extra -stat", 1, &without, &error), MMREC_OK);
    assert_true(mmrec_op_has_backward(&loose, &with) && !mmrec_op_has_backward(&loose, &without));
    assert_int_equal(without.saved[0].ndim, 0);
    assert_true(mmrec_op_work(&loose, &with, MMREC_FORWARD, MMREC_F32).bytes ==
                mmrec_op_work(&loose, &without, MMREC_FORWARD, MMREC_F32).bytes + 7 * 4);
    loose.function[MMREC_BACKWARD] = NULL;
    assert_false(mmrec_op_has_backward(&loose, &with));
}

/* ---- the table ---- */

static void every_op_is_found_by_its_name(void **state) {
    (void)state;
    static const char *const names[] = {
#define MMREC_OP(op) #op,
#include "mmrec/ops.def"
#undef MMREC_OP
    };
    for (int op = MMREC_OP_NONE + 1; op < MMREC_OPS; op++) {
        assert_int_equal(mmrec_op_find(names[op - 1]), op);
        assert_string_equal(mmrec_op_get((mmrec_op_id)op, MMREC_VARIANT_F64)->name, names[op - 1]);
        assert_string_equal(mmrec_op_get((mmrec_op_id)op, MMREC_VARIANT_F32)->name, names[op - 1]);
    }
}

static void what_is_not_in_the_table_is_null(void **state) {
    (void)state;
    assert_int_equal(mmrec_op_find("lineal"), MMREC_OP_NONE);
    assert_int_equal(mmrec_op_find(""), MMREC_OP_NONE);
    assert_null(mmrec_op_get(MMREC_OP_NONE, MMREC_VARIANT_F64));
    assert_null(mmrec_op_get(MMREC_OPS, MMREC_VARIANT_F32));
    assert_null(mmrec_op_get((mmrec_op_id)-1, MMREC_VARIANT_F32));
    assert_null(mmrec_op_get(MMREC_OP_linear, MMREC_VARIANTS));
    assert_null(mmrec_op_get_isa(MMREC_OP_linear, "sse9"));
    assert_null(mmrec_op_get_isa(MMREC_OP_NONE, "base"));
}

/* What this process chooses, and whether the table follows it. The choice is made once per process. */
static bool chooses(const char *best) {
    const mmrec_op_def *single = mmrec_op_get(MMREC_OP_linear, MMREC_VARIANT_F32);
    return strcmp(mmrec_op_isa(), best) == 0 && single == mmrec_op_get_isa(MMREC_OP_linear, best) &&
           single != mmrec_op_get(MMREC_OP_linear, MMREC_VARIANT_F64);
}

static void expect_choice(const char *asked, const char *best) {
    pid_t child = fork();
    if (child == 0) {
        if (asked)
            setenv("MMREC_ISA", asked, 1);
        else
            unsetenv("MMREC_ISA");
        _exit(chooses(best) ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0) fail_msg("MMREC_ISA=%s does not choose %s", asked ? asked : "(unset)", best);
}

/* Runs first: the children must inherit a process that has not chosen. */
static void the_instruction_set_is_the_one_asked_for(void **state) {
    (void)state;
    bool avx2 = mmrec_op_get_isa(MMREC_OP_linear, "avx2"), avx512 = mmrec_op_get_isa(MMREC_OP_linear, "avx512");
    assert_non_null(mmrec_op_get_isa(MMREC_OP_linear, "base"));
    const char *best = avx512 ? "avx512" : avx2 ? "avx2" : "base";
    expect_choice(NULL, best);
    expect_choice("", best);
    expect_choice("avx512", best);
    expect_choice("avx2", avx2 ? "avx2" : "base");
    expect_choice("base", "base");
    expect_choice("AVX2", "base"); /* any other word means base */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_instruction_set_is_the_one_asked_for),
        cmocka_unit_test(starting_sizes),
        cmocka_unit_test(small_questions),
        cmocka_unit_test(shapes_follow_from_inputs),
        cmocka_unit_test(absent_arguments_have_no_shape),
        cmocka_unit_test(star_may_be_nothing),
        cmocka_unit_test(misfits_are_refused_in_words),
        cmocka_unit_test(missing_and_surplus_arguments_are_refused),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(infer_has_the_last_word),
        cmocka_unit_test(text_gives_everything),
        cmocka_unit_test(text_may_leave_out),
        cmocka_unit_test(bad_texts_are_refused_in_words),
        cmocka_unit_test(an_axis_nobody_has_is_refused),
        cmocka_unit_test(bytes_count_every_argument_once),
        cmocka_unit_test(absent_arguments_have_no_bytes),
        cmocka_unit_test(what_is_saved_may_be_optional),
        cmocka_unit_test(every_op_is_found_by_its_name),
        cmocka_unit_test(what_is_not_in_the_table_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
