/* Logs: files that grow by whole lines, and are left alone where they are no logs. */
#include "mmrec/io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[] = "/tmp/mmrec-io-log-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static size_t read_text(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t got = fread(text, 1, size - 1, file);
    text[got] = '\0';
    fclose(file);
    return got;
}

static void log_file_grows_by_whole_lines(void **state) {
    (void)state;
    static char text[1 << 14];
    char path[128];
    mmrec_io io = {0};
    mmrec_error error;
    int fd = -1;
    snprintf(path, sizeof path, "%s", in_folder("deep/er.jsonl"));
    assert_int_equal(mmrec_io_log_open(&io, path, "{\"a\":", &fd, &error), MMREC_OK);
    assert_int_equal(mmrec_io_log_begin(&io, fd, path, true, &error), MMREC_OK);
    assert_int_equal(mmrec_io_write_fd(&io, fd, path, "{\"a\":1}\n{\"a\":", 13, &error), MMREC_OK);
    assert_int_equal(mmrec_io_log_close(&io, fd, path, &error), MMREC_OK);
    assert_int_equal(mmrec_io_log_open(&io, path, "{\"a\":", &fd, &error), MMREC_OK);
    read_text(path, text, sizeof text);
    assert_string_equal(text, "{\"a\":1}\n{\"a\":");
    assert_int_equal(mmrec_io_log_begin(&io, fd, path, true, &error), MMREC_OK);
    read_text(path, text, sizeof text);
    assert_string_equal(text, "{\"a\":1}\n");
    assert_int_equal(mmrec_io_write_fd(&io, fd, path, "{\"a\":2}\n", 8, &error), MMREC_OK);
    read_text(path, text, sizeof text);
    assert_string_equal(text, "{\"a\":1}\n{\"a\":2}\n");
    assert_int_equal(mmrec_io_log_begin(&io, fd, path, false, &error), MMREC_OK);
    assert_int_equal(read_text(path, text, sizeof text), 0);
    assert_int_equal(mmrec_io_log_close(&io, fd, path, &error), MMREC_OK);
}

/* A last line of more than one block of the search backwards, and a file without any whole line. */
static void log_file_with_a_long_torn_line(void **state) {
    (void)state;
    static char text[1 << 14], long_line[9000];
    char path[128];
    mmrec_io io = {0};
    mmrec_error error;
    int fd = -1;
    snprintf(path, sizeof path, "%s", in_folder("long.jsonl"));
    for (int whole = 0; whole < 2; whole++) {
        memset(long_line, 'x', sizeof long_line - 1);
        memcpy(long_line, "{a\n{", 4);
        if (!whole) long_line[2] = 'x';
        write_text(path, long_line);
        assert_int_equal(mmrec_io_log_open(&io, path, "{", &fd, &error), MMREC_OK);
        assert_int_equal(mmrec_io_log_begin(&io, fd, path, true, &error), MMREC_OK);
        assert_int_equal(mmrec_io_log_close(&io, fd, path, &error), MMREC_OK);
        assert_int_equal(read_text(path, text, sizeof text), whole ? 3 : 0);
    }
}

static void log_file_of_others_is_refused(void **state) {
    (void)state;
    static char text[64];
    char path[128];
    mmrec_io io = {0};
    mmrec_error error;
    int fd = -1;
    snprintf(path, sizeof path, "%s", in_folder("thesis.txt"));
    write_text(path, "years of work");
    assert_int_equal(mmrec_io_log_open(&io, path, "{\"a\":", &fd, &error), MMREC_CONFIG);
    assert_int_equal(fd, -1);
    read_text(path, text, sizeof text);
    assert_string_equal(text, "years of work");
    assert_int_equal(mmrec_io_log_open(&io, folder, "{", &fd, &error), MMREC_IO);
    assert_int_equal(mmrec_io_log_open(&io, "/dev/null", "{", &fd, &error), MMREC_OK);
    assert_int_equal(mmrec_io_log_begin(&io, fd, "/dev/null", true, &error), MMREC_OK);
    assert_int_equal(mmrec_io_log_close(&io, fd, "/dev/null", &error), MMREC_OK);
}

static void log_file_faults(void **state) {
    (void)state;
    char path[128];
    mmrec_error error;
    snprintf(path, sizeof path, "%s", in_folder("fault.jsonl"));
    for (uint64_t k = 1;; k++) {
        mmrec_io io = {.fail_at = k};
        int fd = -1;
        write_text(path, "{1\n{2");
        mmrec_status status = mmrec_io_log_open(&io, path, "{", &fd, &error);
        assert_true(status == MMREC_OK ? fd >= 0 : fd == -1);
        if (status == MMREC_OK) {
            status = mmrec_io_log_begin(&io, fd, path, true, &error);
            mmrec_status closed = mmrec_io_log_close(&io, fd, path, &error);
            if (status == MMREC_OK) status = closed;
        }
        assert_int_equal(status, io.attempts >= k ? MMREC_IO : MMREC_OK);
        if (io.attempts < k) break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_file_grows_by_whole_lines),
        cmocka_unit_test(log_file_with_a_long_torn_line),
        cmocka_unit_test(log_file_of_others_is_refused),
        cmocka_unit_test(log_file_faults),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
