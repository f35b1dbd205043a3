/* Status names and error messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/status.h"

static void every_status_has_name_text_and_exit_code(void **state) {
    (void)state;
    for (int i = 0; i < MMREC_STATUS_COUNT; i++) {
        mmrec_status status = (mmrec_status)i;
        int exit_code = mmrec_status_exit(status);
        assert_true(strlen(mmrec_status_name(status)) > 1);
        assert_true(strlen(mmrec_status_text(status)) > 5);
        assert_true(exit_code == 0 || exit_code == 1 || exit_code == 2 || exit_code == 77 || exit_code == 130);
        assert_int_equal(exit_code == 0, status == MMREC_OK);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(mmrec_status_name(status), mmrec_status_name((mmrec_status)j));
            assert_string_not_equal(mmrec_status_text(status), mmrec_status_text((mmrec_status)j));
        }
    }
    assert_string_equal(mmrec_status_name(MMREC_NO_MEMORY), "NO_MEMORY");
    assert_int_equal(mmrec_status_exit(MMREC_NO_DEVICE), 77);
    assert_int_equal(mmrec_status_exit(MMREC_INTERRUPTED), 130);
    assert_int_equal(mmrec_status_exit(MMREC_MISMATCH), 1);
}

static void status_outside_the_list(void **state) {
    (void)state;
    assert_string_equal(mmrec_status_name(MMREC_STATUS_COUNT), "?");
    assert_string_equal(mmrec_status_text((mmrec_status)-1), "unknown status");
    assert_int_equal(mmrec_status_exit((mmrec_status)9999), 2);
}

static mmrec_status fails(mmrec_error *error) { MMREC_FAIL(error, MMREC_SHAPE, "got %d, wanted %s", 3, "four"); }

static mmrec_status fails_inside(mmrec_error *error) {
    MMREC_TRY_WHILE(fails(error), error, "reading row %d", 7);
    return MMREC_OK;
}

static void message_and_frames(void **state) {
    (void)state;
    mmrec_error error = {0};
    char text[200];
    assert_int_equal(fails_inside(&error), MMREC_SHAPE);
    assert_int_equal(error.code, MMREC_SHAPE);
    assert_string_equal(error.message, "got 3, wanted four");
    assert_true(strstr(error.file, "test_status.c") != NULL && error.line > 0);
    mmrec_error_frame(&error, "loading %s", "x");
    assert_string_equal(mmrec_error_text(&error, text, sizeof text),
                        "got 3, wanted four (while reading row 7; while loading x)");
    assert_int_equal(fails(&error), MMREC_SHAPE);
    assert_string_equal(mmrec_error_text(&error, text, sizeof text), "got 3, wanted four");
    mmrec_error_clear(&error);
    assert_int_equal(error.code, MMREC_OK);
    assert_string_equal(mmrec_error_text(&error, text, sizeof text), "");
}

static void frames_past_the_last_are_dropped(void **state) {
    (void)state;
    mmrec_error error = {0};
    for (int i = 0; i < MMREC_ERROR_FRAMES + 3; i++) mmrec_error_frame(&error, "step %d", i);
    char text[200];
    assert_int_equal(error.frames, MMREC_ERROR_FRAMES);
    assert_string_equal(mmrec_error_text(&error, text, sizeof text),
                        " (while step 0; while step 1; while step 2; while step 3)");
}

static void no_error_wanted(void **state) {
    (void)state;
    assert_int_equal(fails_inside(NULL), MMREC_SHAPE);
    mmrec_error_frame(NULL, "nothing");
    mmrec_error_clear(NULL);
}

static void long_messages_are_cut_and_terminated(void **state) {
    (void)state;
    char lengthy[2000];
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    mmrec_error error;
    memset(&error, 0x55, sizeof error);
    assert_int_equal(mmrec_error_set(&error, MMREC_IO, "f", 1, "%s", lengthy), MMREC_IO);
    assert_int_equal(strlen(error.message), MMREC_ERROR_MESSAGE - 1);
    mmrec_error_frame(&error, "%s", lengthy);
    assert_int_equal(strlen(error.frame[0]), MMREC_ERROR_FRAME - 1);
    /* Every size of the caller's buffer: terminated within it, and never a byte behind it. */
    for (size_t size = 0; size < 900; size++) {
        char text[901];
        memset(text, '#', sizeof text);
        const char *result = mmrec_error_text(&error, text, size);
        if (size > 0) assert_true(result == text && memchr(text, '\0', size) != NULL);
        assert_int_equal(text[size], '#');
    }
}

static void message_made_from_itself(void **state) {
    (void)state;
    mmrec_error error = {0};
    assert_int_equal(fails(&error), MMREC_SHAPE);
    assert_int_equal(mmrec_error_set(&error, MMREC_CONFIG, "f", 2, "again: %s", error.message), MMREC_CONFIG);
    assert_string_equal(error.message, "again: got 3, wanted four");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_name_text_and_exit_code),
        cmocka_unit_test(status_outside_the_list),
        cmocka_unit_test(message_and_frames),
        cmocka_unit_test(frames_past_the_last_are_dropped),
        cmocka_unit_test(no_error_wanted),
        cmocka_unit_test(long_messages_are_cut_and_terminated),
        cmocka_unit_test(message_made_from_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
