/* The bar with the time left, on a terminal of its own. */
#include "mmrec/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Standard error as a terminal of its own; what was written to it. */
typedef struct terminal {
    int master, kept;
} terminal;

static terminal terminal_open(void) {
    terminal t = {.master = posix_openpt(O_RDWR | O_NOCTTY), .kept = dup(STDERR_FILENO)};
    if (t.master < 0) skip();
    assert_int_equal(grantpt(t.master), 0);
    assert_int_equal(unlockpt(t.master), 0);
    int slave = open(ptsname(t.master), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0 && dup2(slave, STDERR_FILENO) >= 0);
    close(slave);
    assert_int_equal(fcntl(t.master, F_SETFL, O_NONBLOCK), 0);
    setenv("TERM", "xterm", 1);
    return t;
}

static const char *terminal_read(const terminal *t) {
    static char text[4096];
    ssize_t got = read(t->master, text, sizeof text - 1);
    text[got > 0 ? got : 0] = '\0';
    return text;
}

static void terminal_close(terminal *t) {
    assert_true(dup2(t->kept, STDERR_FILENO) >= 0);
    close(t->kept);
    close(t->master);
}

static void expect_left(mmrec_progress_bar *bar, const terminal *t, double left_s, const char *want) {
    char all[128];
    bar->drawn_ns = 0;
    mmrec_progress_show(bar, 0.5, left_s, "step 5/10");
    snprintf(all, sizeof all, "\r[#####.....]  50 %% step 5/10%s ", want);
    const char *got = terminal_read(t);
    if (strncmp(got, all, strlen(all)) != 0) {
        assert_true(dup2(t->kept, STDERR_FILENO) >= 0);
        fail_msg("wanted %s, got %s", all, got);
    }
}

static void bar_says_the_time_left(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_progress_bar bar;
    terminal t = terminal_open();
    (void)mmrec_progress_begin(&bar, &io, false);
    expect_left(&bar, &t, 12, ", 12 s left");
    expect_left(&bar, &t, 0.2, ", 1 s left");
    expect_left(&bar, &t, 59.5, ", 1 min 0 s left");
    expect_left(&bar, &t, 200, ", 3 min 20 s left");
    expect_left(&bar, &t, 3 * 3600 + 59, ", 3 h 0 min left");
    expect_left(&bar, &t, 2 * 86400 + 5 * 3600, ", 2 d 5 h left");
    expect_left(&bar, &t, -1, "");
    expect_left(&bar, &t, NAN, "");
    expect_left(&bar, &t, INFINITY, "");
    mmrec_progress_show(&bar, 0.6, 1, "too soon");
    assert_string_equal(terminal_read(&t), "");
    mmrec_progress_hide(&bar);
    const char *hidden = terminal_read(&t);
    assert_true(strspn(hidden, "\r ") == strlen(hidden) && strlen(hidden) > 20);
    mmrec_progress_hide(&bar);
    assert_string_equal(terminal_read(&t), "");
    mmrec_progress_show(&bar, 0.6, 1, "at once");
    assert_non_null(strstr(terminal_read(&t), "at once"));
    mmrec_progress_end(&bar);
    terminal_close(&t);
}

static void bar_is_quiet(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_progress_bar bar;
    terminal t = terminal_open();
    (void)mmrec_progress_begin(&bar, &io, true);
    mmrec_progress_show(&bar, 0.5, 1, "unseen");
    mmrec_progress_hide(&bar);
    mmrec_progress_end(&bar);
    assert_string_equal(terminal_read(&t), "");
    terminal_close(&t);
    (void)mmrec_progress_begin(&bar, &io, false);
    bar.terminal = false;
    mmrec_progress_show(&bar, 0.5, 1, "unseen");
    mmrec_progress_end(&bar);
    assert_int_equal(io.attempts, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bar_says_the_time_left),
        cmocka_unit_test(bar_is_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
