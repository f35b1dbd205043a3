/* Verified writing, folders, and the log of calls. */
#include "io_rig.h"

/* ---- verified writing --------------------------------------------------------------------------------------- */

static void verified_write(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_error error = {0};
    char before[PATH_MAX];
    assert_int_equal(mmrec_io_write_verified(&io, in_folder("new/file"), new_text, strlen(new_text), NULL), MMREC_OK);
    holds(in_folder("new/file"), new_text);
    assert_int_equal(io.bytes[MMREC_IO_READ], strlen(new_text));
    assert_int_equal(entries(in_folder("new")), 1);
    assert_int_equal(mmrec_io_write_verified(&io, in_folder("new/file"), "", 0, NULL), MMREC_OK);
    holds(in_folder("new/file"), "");
    assert_int_equal(mmrec_io_write_verified(&io, "/dev/null", "x", 1, &error), MMREC_IO);
    assert_string_equal(error.message, "cannot write \"/dev/null\": it is not a regular file");
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    mmrec_status dash = mmrec_io_write_verified(&io, "-", "x", 1, NULL); /* a file of that name */
    assert_int_equal(chdir(before), 0);
    assert_int_equal(dash, MMREC_OK);
    holds(in_folder("-"), "x");
}

/* A disk that keeps something else than what was written: done to the temporary file as soon as it is closed. */
typedef struct liar {
    char path[PATH_MAX];
    int way, done;
} liar;

static void lie(void *context, const mmrec_io_event *event) {
    liar *l = context;
    if (event->op == MMREC_IO_OPEN && event->flags & O_CREAT)
        (void)snprintf(l->path, sizeof l->path, "%s", event->path);
    if (event->op != MMREC_IO_CLOSE || l->done++) return;
    FILE *file = fopen(l->path, l->way == 2 ? "a" : "r+");
    assert_non_null(file);
    if (l->way == 0) assert_int_equal(fputc('?', file), '?');
    if (l->way == 1) assert_int_equal(ftruncate(fileno(file), 5), 0);
    if (l->way == 2) assert_int_equal(fputc('?', file), '?');
    assert_int_equal(fclose(file), 0);
}

static void a_disk_that_lies(void **state) {
    (void)state;
    static const int behind[] = {0, 5, 0};
    for (int way = 0; way < 3; way++) {
        liar l = {.way = way};
        mmrec_io io = {.log = lie, .log_context = &l};
        mmrec_error error = {0};
        char wanted[600];
        plain_write(in_folder("file"), old_text);
        assert_int_equal(mmrec_io_write_verified(&io, in_folder("file"), new_text, strlen(new_text), &error), MMREC_IO);
        (void)snprintf(
            wanted, sizeof wanted,
            "cannot write \"%s\": read back, it differs from what was written behind byte %d; disk or memory "
            "may be failing",
            in_folder("file"), behind[way]);
        assert_string_equal(error.message, wanted);
        holds(in_folder("file"), old_text);
        assert_int_equal(entries(folder), 1);
        assert_int_equal(io.calls[MMREC_IO_RENAME], 0);
    }
}

static void a_large_file_is_verified(void **state) {
    (void)state;
    enum { SIZE = 300001 };
    mmrec_io io = {0};
    unsigned char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (unsigned char)(i * i >> 3);
    assert_int_equal(mmrec_io_write_verified(&io, in_folder("large"), bytes, SIZE, NULL), MMREC_OK);
    assert_int_equal(io.bytes[MMREC_IO_READ], SIZE);
    free(bytes);
}

/* ---- folders ------------------------------------------------------------------------------------------------ */

typedef struct names {
    int count, most;
    char all[200];
} names;

static mmrec_status add_name(void *context, const char *name, mmrec_error *error) {
    names *n = context;
    if (n->count == n->most) MMREC_FAIL(error, MMREC_FORMAT, "enough of them");
    n->count++;
    strncat(n->all, name, sizeof n->all - strlen(n->all) - 1);
    return MMREC_OK;
}

static void listing(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_error error = {0};
    names n = {.most = 9};
    bool there = false;
    int descriptors = open_descriptors();
    assert_int_equal(mmrec_io_list(&io, folder, add_name, &n, &there, NULL), MMREC_OK);
    assert_true(there && n.count == 0);
    plain_write(in_folder("one"), "x");
    plain_write(in_folder(".two"), "x");
    assert_int_equal(mkdir(in_folder("three"), 0700), 0);
    assert_int_equal(mmrec_io_list(&io, folder, add_name, &n, &there, NULL), MMREC_OK);
    assert_int_equal(n.count, 3);
    assert_true(strstr(n.all, "one") && strstr(n.all, ".two") && strstr(n.all, "three"));
    n = (names){.most = 1};
    assert_int_equal(mmrec_io_list(&io, folder, add_name, &n, &there, &error), MMREC_FORMAT);
    assert_string_equal(error.message, "enough of them");
    assert_int_equal(mmrec_io_list(&io, in_folder("none"), add_name, &n, &there, &error), MMREC_OK);
    assert_false(there);
    assert_int_equal(mmrec_io_list(&io, in_folder("one"), add_name, &n, &there, &error), MMREC_IO);
    assert_true(strstr(error.message, "cannot list the folder \"") && strstr(error.message, "/one\": Not a directory"));
    assert_false(there);
    assert_int_equal(open_descriptors(), descriptors);
}

static void every_fault_of_listing(void **state) {
    (void)state;
    plain_write(in_folder("one"), "x");
    plain_write(in_folder("two"), "x");
    int failed = 0, descriptors = open_descriptors();
    bool reached = true;
    for (uint64_t k = 1; reached; k++) {
        mmrec_io io = {.fail_at = k};
        mmrec_error error = {0};
        names n = {.most = 9};
        bool there = false;
        mmrec_status status = mmrec_io_list(&io, folder, add_name, &n, &there, &error);
        reached = io.attempts >= k;
        assert_int_equal(status, reached ? MMREC_IO : MMREC_OK);
        if (reached) assert_non_null(strstr(error.message, "\": Input/output error"));
        if (!reached) assert_int_equal(n.count, 2);
        failed += reached;
        assert_int_equal(open_descriptors(), descriptors);
    }
    assert_int_equal(failed, 6); /* opening, two names, "." and "..", the end */
}

static void removing(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_error error = {0};
    plain_write(in_folder("one"), "x");
    assert_int_equal(mmrec_io_remove(&io, in_folder("one"), NULL), MMREC_OK);
    assert_int_equal(entries(folder), 0);
    assert_int_equal(mmrec_io_remove(&io, in_folder("one"), NULL), MMREC_OK);
    assert_int_equal(mkdir(in_folder("deep"), 0700), 0);
    assert_int_equal(mmrec_io_remove(&io, in_folder("deep"), &error), MMREC_IO);
    assert_true(strstr(error.message, "cannot remove \"") && strstr(error.message, "/deep\": Is a directory"));
    assert_int_equal(io.calls[MMREC_IO_UNLINK], 3);
}

static void making_a_folder(void **state) {
    (void)state;
    mmrec_io io = {0};
    assert_int_equal(mmrec_io_make_folder(&io, in_folder("a/b//"), NULL), MMREC_OK);
    assert_int_equal(entries(in_folder("a/b")), 0);
    assert_int_equal(io.calls[MMREC_IO_SYNC], 2);
    assert_int_equal(mmrec_io_make_folder(&io, in_folder("a/b//"), NULL), MMREC_OK);
    assert_int_equal(io.calls[MMREC_IO_SYNC], 3); /* its entry again: who made it may not have lived to do that */
    assert_int_equal(io.calls[MMREC_IO_MKDIR], 2);
    assert_int_equal(mmrec_io_make_folder(&io, "/", NULL), access("/", W_OK) == 0 ? MMREC_OK : MMREC_IO);
    mmrec_error error = {0};
    plain_write(in_folder("file"), "x");
    assert_int_equal(mmrec_io_make_folder(&io, in_folder("file"), &error), MMREC_IO);
    assert_true(strstr(error.message, "cannot create a file in the folder \"") &&
                strstr(error.message, "Not a directory"));
    assert_int_equal(mmrec_io_make_folder(&io, "", &error), MMREC_IO);
    assert_string_equal(error.message, "cannot create the folder \"\": No such file or directory");
}

static void every_fault_of_making_a_folder(void **state) {
    (void)state;
    int failed = 0;
    for (int old = 0; old < 2; old++) {
        bool reached = true;
        for (uint64_t k = 1; reached; k++) {
            mmrec_io io = {.fail_at = k, .fail_errno = ENOSPC};
            mmrec_error error = {0};
            char text[1000];
            empty_folder(NULL);
            if (old) assert_int_equal(mkdir(in_folder("a"), 0700) || mkdir(in_folder("a/b"), 0700), 0);
            mmrec_status status = mmrec_io_make_folder(&io, in_folder("a/b"), &error);
            reached = io.attempts >= k;
            assert_true(status == MMREC_OK || (status == MMREC_IO && reached));
            assert_true(status == MMREC_OK || strstr(mmrec_error_text(&error, text, sizeof text), folder));
            assert_true(entries(in_folder("a/b")) <= 0);
            failed += status != MMREC_OK;
        }
    }
    assert_true(failed >= 10);
}

/* ---- the log ------------------------------------------------------------------------------------------------ */

typedef struct told {
    char text[400];
    int reasons;
} told;

static void tell(void *context, const mmrec_io_event *event) {
    static const char *const ops[MMREC_IO_OPS] = {"open",   "read",   "write", "sync", "close",
                                                  "rename", "unlink", "mkdir", "stat", "list"};
    told *t = context;
    size_t used = strlen(t->text);
    (void)snprintf(t->text + used, sizeof t->text - used, "%s%s%s%.*s ", ops[event->op], event->reason ? "!" : "",
                   event->to ? ">" : "", event->op == MMREC_IO_WRITE ? (int)event->size : 0,
                   event->data ? (const char *)event->data : "");
    t->reasons += event->reason;
    assert_true((event->fd >= 0) == (event->path == NULL) || event->op == MMREC_IO_OPEN || event->op == MMREC_IO_LIST);
    errno = EDOM; /* what a log does to errno must not be seen */
}

static void every_call_is_told(void **state) {
    (void)state;
    told t = {0};
    mmrec_io io = {.log = tell, .log_context = &t};
    assert_int_equal(mmrec_io_write_verified(&io, in_folder("f"), "abc", 3, NULL), MMREC_OK);
    assert_string_equal(t.text, "stat! stat open writeabc sync close open read read close rename> open sync close ");
    assert_int_equal(t.reasons, ENOENT);
    uint64_t calls = 0;
    for (int i = 0; i < MMREC_IO_OPS; i++) calls += io.calls[i];
    assert_true(calls == io.attempts && calls == 14);
    t = (told){0};
    io = (mmrec_io){.log = tell, .log_context = &t, .fail_at = 4, .short_write = true, .fail_errno = EINTR};
    assert_int_equal(mmrec_io_write_file(&io, in_folder("f"), "abcd", 4, NULL), MMREC_OK);
    assert_string_equal(t.text, "stat stat open write!ab writecd sync close rename> open sync close ");
    assert_int_equal(t.reasons, EINTR);
    holds(in_folder("f"), "abcd");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, empty_folder)
    const struct CMUnitTest tests[] = {
        TEST(verified_write),           TEST(a_disk_that_lies),
        TEST(a_large_file_is_verified), TEST(listing),
        TEST(every_fault_of_listing),   TEST(removing),
        TEST(making_a_folder),          TEST(every_fault_of_making_a_folder),
        TEST(every_call_is_told),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
