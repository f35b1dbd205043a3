/* MMREC_FAULT: every form arms what it names and nothing else, and what is no form is refused. */
#include "mmrec/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

typedef struct armed {
    mmrec_allocator allocator;
    mmrec_io io, save_io;
} armed;

static armed arm(const char *text) {
    armed a;
    mmrec_error error = {0};
    memset(&a, 0, sizeof a);
    if (mmrec_fault_arm(text, &a.allocator, &a.io, &a.save_io, &error) != MMREC_OK) fail_msg("%s", error.message);
    return a;
}

static void nothing(void **state) {
    (void)state;
    const armed none = arm(NULL), empty = arm("");
    assert_int_equal(none.allocator.fail_at + none.io.fail_at + none.save_io.fail_at, 0);
    assert_int_equal(empty.allocator.fail_at + empty.io.fail_at + empty.save_io.fail_at, 0);
}

static void memory(void **state) {
    (void)state;
    armed a = arm("alloc:17");
    assert_true(a.allocator.fail_at == 17 && !a.allocator.fail_after);
    assert_int_equal(a.io.fail_at + a.save_io.fail_at, 0);
    a = arm("alloc:1+");
    assert_true(a.allocator.fail_at == 1 && a.allocator.fail_after);
}

/* The forms of a prefix, in the io that it names. */
static void forms(const char *prefix) {
    static const struct {
        const char *rest;
        uint64_t at;
        bool after;
        int code;
        bool half;
    } form[] = {{"3", 3, false, EIO, false},           {"3+", 3, true, EIO, false},
                {"4:EIO", 4, false, EIO, false},       {"4+:ENOSPC", 4, true, ENOSPC, false},
                {"5:EDQUOT", 5, false, EDQUOT, false}, {"6:EACCES", 6, false, EACCES, false},
                {"7+:EINTR", 7, true, EINTR, false},   {"8:short", 8, false, ENOSPC, true}};
    bool save = strcmp(prefix, "save:") == 0;
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        char text[32];
        strcat(strcpy(text, prefix), form[i].rest);
        const armed a = arm(text);
        const mmrec_io *io = save ? &a.save_io : &a.io, *other = save ? &a.io : &a.save_io;
        assert_true(io->fail_at == form[i].at && io->fail_after == form[i].after);
        assert_true(io->fail_errno == form[i].code && io->short_write == form[i].half);
        assert_int_equal(other->fail_at + a.allocator.fail_at, 0);
    }
}

static void files(void **state) {
    (void)state;
    forms("io:");
}

static void saving(void **state) {
    (void)state;
    forms("save:");
}

static void refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "io",       "io:",      "io:0",  "io:-1",  "io:3 ",          "io:3:",  "io:3:EX",
        "alloc:3:", "alloc:+3", "save:", "save:0", "save:3:shorter", "disk:3", "io:99999999999999999999",
        "alloc:x",  "alloc:3++"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        armed a;
        mmrec_error error = {0};
        memset(&a, 0, sizeof a);
        assert_int_equal(mmrec_fault_arm(bad[i], &a.allocator, &a.io, &a.save_io, &error), MMREC_CONFIG);
        assert_non_null(strstr(error.message, "io:N, io:N+, save:N or save:N+ (with :EIO"));
        assert_int_equal(a.allocator.fail_at + a.io.fail_at + a.save_io.fail_at, 0);
    }
}

/* A program that writes no checkpoints has nothing that could fail so. */
static void no_saving(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    assert_int_equal(mmrec_fault_arm("save:3", &allocator, &io, NULL, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "MMREC_FAULT is \"save:3\", which is not alloc:N, alloc:N+, io:N or io:N+ (with "
                                       ":EIO, :ENOSPC, :EDQUOT, :EACCES, :EINTR or :short)");
    assert_int_equal(mmrec_fault_arm("io:3", &allocator, &io, NULL, &error), MMREC_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing), cmocka_unit_test(memory),  cmocka_unit_test(files),
        cmocka_unit_test(saving),  cmocka_unit_test(refused), cmocka_unit_test(no_saving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
