/* Files as data: sizes that just suffice, requests and files that are refused and in what words, faults. */
#include <errno.h>

#include "data_rig.h"

/* ---- sizes that just suffice -------------------------------------------------------------------------------- */

static mmrec_status try_size(const mmrec_data_request *request, size_t size, mmrec_error *error) {
    mmrec_data *data = NULL;
    write_file(noise, size);
    mmrec_status status = try_create(request, &data, error);
    if (status == MMREC_OK) {
        read_batch(data, MMREC_SPLIT_TRAIN, 0);
        read_batch(data, MMREC_SPLIT_TRAIN, 1);
        if (request->held_out > 0) read_batch(data, MMREC_SPLIT_HELD_OUT, 0);
        mmrec_data_destroy(&data);
    }
    return status;
}

/* The size that the refusal of one byte asks for is enough, and one byte less is not. */
static void the_least_size_is_right(void **state) {
    (void)state;
    static const double shares[] = {0, 0.01, 0.1, 1.0 / 3, 0.5, 0.9};
    for (int64_t batch = 1; batch <= 4; batch += 3) {
        for (int64_t time = 1; time <= 9; time += 4) {
            for (size_t i = 0; i < 12; i++) {
                mmrec_data_request request = request_of(batch, time);
                mmrec_error error = {0};
                request.held_out = shares[i / 2];
                request.stream = i % 2;
                assert_int_equal(try_size(&request, 1, &error), MMREC_CONFIG);
                const char *least = strstr(error.message, "must have ");
                assert_non_null(least);
                size_t size = (size_t)atoi(least + strlen("must have "));
                assert_int_equal(try_size(&request, size, &error), MMREC_OK);
                assert_int_equal(try_size(&request, size - 1, &error), MMREC_CONFIG);
            }
        }
    }
}

/* ---- refusals ----------------------------------------------------------------------------------------------- */

static void refused(const mmrec_data_request *request, mmrec_status wanted, const char *format, ...) {
    char message[700], text[1024];
    mmrec_error error = {0};
    mmrec_data *data = NULL;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    assert_int_equal(try_create(request, &data, &error), wanted);
    assert_string_equal(mmrec_error_text(&error, text, sizeof text), message);
}

static void bad_requests(void **state) {
    (void)state;
    write_file(noise, 1000);
    mmrec_data_request r = request_of(2, 8);
    r.batch = 0;
    refused(&r, MMREC_CONFIG, "the data's batch is 0, it must be 1 to 268435456");
    r.batch = (1 << 28) + 1;
    refused(&r, MMREC_CONFIG, "the data's batch is 268435457, it must be 1 to 268435456");
    r = request_of(2, -1);
    refused(&r, MMREC_CONFIG, "the data's time is -1, it must be 1 to 268435456");
    r = request_of(2, 8);
    r.held_out = 1;
    refused(&r, MMREC_CONFIG, "the share to hold out is 1, it must be at least 0 and below 1");
    r.held_out = -0.1;
    refused(&r, MMREC_CONFIG, "the share to hold out is -0.1, it must be at least 0 and below 1");
    r.held_out = (double)NAN;
    mmrec_data *data = NULL;
    assert_int_equal(try_create(&r, &data, NULL), MMREC_CONFIG);
    r = request_of(2, 8);
    r.task = MMREC_TASK_COPY;
    refused(&r, MMREC_CONFIG, "both the file \"%s\" and the task copy are to be trained on: choose one", path);
    r = (mmrec_data_request){.batch = 2, .time = 8};
    refused(&r, MMREC_CONFIG,
            "there is nothing to train on: choose a file, or one of the tasks copy, recall and text-markov");
    r.task = MMREC_TASKS;
    refused(&r, MMREC_CONFIG, "there is no task number 4: tasks are 1 to 3");
}

static void files_that_are_too_short(void **state) {
    (void)state;
    mmrec_data_request r = request_of(12, 64);
    write_file("", 0);
    refused(&r, MMREC_CONFIG, "\"%s\" is empty: there is nothing to train on", path);
    write_file(noise, 831);
    refused(
        &r, MMREC_CONFIG,
        "\"%s\" has 831 bytes to train on, a batch of 12 rows of 64 steps needs 832: the file has 831 bytes and must "
        "have 832, or choose a smaller batch or time",
        path);
    r.stream = true;
    write_file(noise, 768);
    refused(
        &r, MMREC_CONFIG,
        "\"%s\" has 768 bytes to train on, a batch of 12 rows of 64 steps needs 769: the file has 768 bytes and must "
        "have 769, or choose a smaller batch or time",
        path);
    r.held_out = 0.1;
    write_file(noise, 2000);
    refused(&r, MMREC_CONFIG,
            "\"%s\" has 200 bytes held out to validate on, a batch of 12 rows of 64 steps needs 769: the file has 2000 "
            "bytes and must have 7690, or choose a smaller batch or time",
            path);
    r.batch = 1 << 28;
    refused(
        &r, MMREC_CONFIG,
        "\"%s\" has 1800 bytes to train on, a batch of 268435456 rows of 64 steps needs 17179869185: choose a smaller "
        "batch or time, or another share to hold out than 0.1",
        path);
}

static void files_that_cannot_be_read(void **state) {
    (void)state;
    char missing[80];
    (void)snprintf(missing, sizeof missing, "%s/nothing", folder);
    mmrec_data_request r = request_of(2, 8);
    r.path = missing;
    refused(&r, MMREC_IO, "cannot open \"%s\": No such file or directory (while reading the data to train on)",
            missing);
    r.path = folder;
    refused(&r, MMREC_IO, "cannot read \"%s\": it is a folder (while reading the data to train on)", folder);
    write_file(noise, 10);
    r.path = path;
    if (truncate(path, ((off_t)1 << 34) + 1) == 0) {
        refused(&r, MMREC_FORMAT,
                "\"%s\" has 17179869185 bytes, at most 17179869184 are read (while reading the data to train on)",
                path);
    }
}

/* A file without permission, which root could read all the same: the refusal of the call is made up. */
static void a_file_without_permission(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {.fail_at = 1, .fail_errno = EACCES};
    mmrec_data_request r = request_of(2, 8);
    mmrec_data *data = NULL;
    mmrec_error error = {0};
    char wanted[200];
    write_file(noise, 100);
    assert_int_equal(mmrec_data_create(&a, &io, &r, &data, &error), MMREC_IO);
    (void)snprintf(wanted, sizeof wanted, "cannot open \"%s\": Permission denied", path);
    assert_string_equal(error.message, wanted);
}

static void a_name_cannot_steer_the_terminal(void **state) {
    (void)state;
    char odd[80];
    (void)snprintf(odd, sizeof odd, "%s/a\x1b[31mb", folder);
    write_file(noise, 100);
    assert_int_equal(rename(path, odd), 0);
    mmrec_data_request request = request_of(2, 8);
    request.path = odd;
    mmrec_data *data = create(&request);
    assert_string_equal(mmrec_data_info_of(data)->name, "a?[31mb");
    mmrec_data_destroy(&data);
    assert_int_equal(unlink(odd), 0);
}

/* ---- faults ------------------------------------------------------------------------------------------------- */

static void every_request_for_memory_failing(void **state) {
    (void)state;
    write_file(noise, 500);
    for (int after = 0; after < 2; after++) {
        bool reached = true;
        for (uint64_t k = 1; reached; k++) {
            mmrec_io io = {0};
            mmrec_allocator a = {.fail_at = k, .fail_after = after == 1};
            mmrec_error error = {0};
            mmrec_data_request request = request_of(2, 8);
            mmrec_data *data = NULL;
            mmrec_status status = mmrec_data_create(&a, &io, &request, &data, &error);
            reached = a.attempts >= k;
            assert_int_equal(status, reached ? MMREC_NO_MEMORY : MMREC_OK);
            if (reached) assert_non_null(strstr(error.message, "not enough memory"));
            mmrec_data_destroy(&data);
            assert_int_equal(a.total.live_bytes, 0);
            assert_true(k < 10);
        }
    }
}

static void every_file_operation_failing(void **state) {
    (void)state;
    write_file(noise, 500);
    for (int after = 0; after < 2; after++) {
        bool reached = true;
        for (uint64_t k = 1; reached; k++) {
            mmrec_io io = {.fail_at = k, .fail_after = after == 1, .fail_errno = EIO};
            mmrec_allocator a = {0};
            mmrec_data_request request = request_of(2, 8);
            mmrec_data *data = NULL;
            mmrec_error error = {0};
            mmrec_status status = mmrec_data_create(&a, &io, &request, &data, &error);
            reached = io.attempts >= k;
            /* A failed close loses nothing of what was read. */
            bool closing = reached && io.calls[MMREC_IO_CLOSE] > 0;
            assert_true(status == MMREC_OK ? !reached || closing : reached && status == MMREC_IO && *error.message);
            mmrec_data_destroy(&data);
            assert_int_equal(a.total.live_bytes, 0);
            assert_true(k < 20);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_size_is_right),          cmocka_unit_test(bad_requests),
        cmocka_unit_test(files_that_are_too_short),         cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(a_file_without_permission),        cmocka_unit_test(a_name_cannot_steer_the_terminal),
        cmocka_unit_test(every_request_for_memory_failing), cmocka_unit_test(every_file_operation_failing),
    };
    return cmocka_run_group_tests(tests, fill_noise, remove_folder);
}
