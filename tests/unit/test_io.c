/* File operations: whole or not at all, with a fault at every single call. */
#include "io_rig.h"

static void write_then_read(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_allocator a = {0};
    mmrec_error error = {0};
    void *data = NULL;
    size_t size = 0;
    const char *path = in_folder("file");
    assert_int_equal(mmrec_io_write_file(&io, path, new_text, strlen(new_text), &error), MMREC_OK);
    assert_int_equal(entries(folder), 1);
    assert_int_equal(io.calls[MMREC_IO_SYNC], 2); /* the file and its folder */
    assert_int_equal(io.bytes[MMREC_IO_WRITE], strlen(new_text));
    assert_int_equal(mmrec_io_read_file(&io, &a, path, 1000, &data, &size, &error), MMREC_OK);
    assert_int_equal(size, strlen(new_text));
    assert_memory_equal(data, new_text, size);
    assert_int_equal(a.by_tag[MMREC_ALLOC_FILE].live_bytes, size);
    assert_int_equal(io.bytes[MMREC_IO_READ], size);
    mmrec_alloc(&a, data, size, 0, MMREC_ALLOC_FILE);
    assert_int_equal(mmrec_io_write_file(&io, path, "", 0, &error), MMREC_OK);
    assert_int_equal(mmrec_io_read_file(&io, &a, path, 0, &data, &size, &error), MMREC_OK);
    assert_true(data == NULL && size == 0);
}

static void large_file(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_allocator a = {0};
    enum { SIZE = 3000001 };
    unsigned char *bytes = mmrec_alloc(&a, NULL, 0, SIZE, MMREC_ALLOC_OTHER);
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (unsigned char)(i * i >> 3);
    void *data = NULL;
    size_t size = 0;
    assert_int_equal(mmrec_io_write_file(&io, in_folder("large"), bytes, SIZE, NULL), MMREC_OK);
    assert_int_equal(mmrec_io_read_file(&io, &a, in_folder("large"), SIZE, &data, &size, NULL), MMREC_OK);
    assert_int_equal(size, SIZE);
    assert_memory_equal(data, bytes, SIZE);
    mmrec_alloc(&a, data, size, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(&a, bytes, SIZE, 0, MMREC_ALLOC_OTHER);
}

static void parents_are_created(void **state) {
    (void)state;
    mmrec_io io = {0};
    assert_int_equal(mmrec_io_write_file(&io, in_folder("a/b//c/file"), "x", 1, NULL), MMREC_OK);
    holds(in_folder("a/b/c/file"), "x");
    assert_int_equal(io.calls[MMREC_IO_SYNC],
                     5); /* file, its folder, and the folder above each of the three new ones */
    assert_int_equal(mmrec_io_check_writable(&io, in_folder("d/e/file"), NULL), MMREC_OK);
    assert_int_equal(entries(in_folder("d/e")), 0);
}

static void relative_path(void **state) {
    (void)state;
    char before[PATH_MAX];
    mmrec_io io = {0};
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    mmrec_status file = mmrec_io_write_file(&io, "relative", "x", 1, NULL);
    mmrec_status deep = mmrec_io_write_file(&io, "one/two", "y", 1, NULL);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(file, MMREC_OK);
    assert_int_equal(deep, MMREC_OK);
    holds(in_folder("relative"), "x");
    holds(in_folder("one/two"), "y");
}

static void links_and_modes_stay(void **state) {
    (void)state;
    mmrec_io io = {0};
    struct stat info;
    plain_write(in_folder("real"), old_text);
    assert_int_equal(chmod(in_folder("real"), 0600), 0);
    assert_int_equal(symlink("real", in_folder("link")), 0);
    assert_int_equal(mmrec_io_write_file(&io, in_folder("link"), new_text, strlen(new_text), NULL), MMREC_OK);
    holds(in_folder("real"), new_text);
    assert_int_equal(lstat(in_folder("link"), &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(in_folder("real"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

/* A device is written in place: renaming over it would replace it by a file. */
static void devices_are_written_in_place(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_error error = {0};
    struct stat info;
    assert_int_equal(mmrec_io_check_writable(&io, "/dev/null", NULL), MMREC_OK);
    assert_int_equal(mmrec_io_write_file(&io, "/dev/null", "x", 1, NULL), MMREC_OK);
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    assert_int_equal(mmrec_io_write_file(&io, "/dev/full", "x", 1, &error), MMREC_IO);
    assert_string_equal(error.message, "cannot write \"/dev/full\": No space left on device");
}

static void stale_temporary_files_are_passed_over(void **state) {
    (void)state;
    mmrec_io io = {0};
    char name[64];
    (void)snprintf(name, sizeof name, ".mmrec-%ld-0.tmp", (long)getpid());
    plain_write(in_folder(name), "left by a killed run");
    assert_int_equal(mmrec_io_write_file(&io, in_folder("file"), "x", 1, NULL), MMREC_OK);
    holds(in_folder("file"), "x");
    holds(in_folder(name), "left by a killed run");
}

static void refused_reads(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_allocator a = {0};
    mmrec_error error = {0};
    void *data = &io;
    size_t size = 7;
    char wanted[600];
    plain_write(in_folder("ten"), "0123456789");
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_int_equal(symlink("/proc/self/status", in_folder("grows")), 0); /* says that it has 0 bytes */
    struct {
        const char *name, *message;
        mmrec_status status;
    } cases[] = {{"none", "cannot open \"%s\": No such file or directory", MMREC_IO},
                 {"", "cannot read \"%s\": it is a folder", MMREC_IO},
                 {"pipe", "cannot read \"%s\": it is not a regular file", MMREC_IO},
                 {"grows", "cannot read \"%s\": it grew beyond 0 bytes while being read", MMREC_IO},
                 {"ten/x", "cannot open \"%s\": Not a directory", MMREC_IO},
                 {"ten", "\"%s\" has 10 bytes, at most 9 are read", MMREC_FORMAT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = in_folder(cases[i].name);
        data = &io;
        assert_int_equal(mmrec_io_read_file(&io, &a, path, 9, &data, &size, &error), cases[i].status);
        (void)snprintf(wanted, sizeof wanted, cases[i].message, path);
        assert_string_equal(error.message, wanted);
        assert_true(data == NULL && size == 0);
    }
}

static void refused_writes(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_error error = {0};
    char wanted[900], lengthy[PATH_MAX + 10];
    plain_write(in_folder("file"), old_text);
    memset(lengthy, 'n', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    for (int check = 0; check < 2; check++) {
#define ATTEMPT(path)                                                                                                  \
    (check ? mmrec_io_check_writable(&io, (path), &error) : mmrec_io_write_file(&io, (path), "x", 1, &error))
        assert_int_equal(ATTEMPT(folder), MMREC_IO);
        (void)snprintf(wanted, sizeof wanted, "cannot write \"%s\": it is a folder", folder);
        assert_string_equal(error.message, wanted);
        assert_int_equal(ATTEMPT(in_folder("file/below")), MMREC_IO);
        (void)snprintf(wanted, sizeof wanted, "cannot write \"%s/file/below\": Not a directory", folder);
        assert_string_equal(error.message, wanted);
        assert_int_equal(ATTEMPT(""), MMREC_IO);
        assert_string_equal(error.message, "cannot write \"\": No such file or directory");
        assert_int_equal(ATTEMPT(lengthy), MMREC_IO);
        assert_true(strstr(error.message, "\": File name too long") != NULL);
#undef ATTEMPT
    }
    holds(in_folder("file"), old_text);
    assert_int_equal(entries(folder), 1);
}

enum { REPLACED, KEPT, UNSYNCED };

typedef mmrec_status (*writing)(mmrec_io *, const char *, const void *, size_t, mmrec_error *);

/* One save with the k-th call failing; says what became of the file, after checking that nothing else changed. */
static int faulty_save(writing save, mmrec_io *io, const char *path, const char *before) {
    mmrec_error error = {0};
    int descriptors = open_descriptors();
    mmrec_status status = save(io, path, new_text, strlen(new_text), &error);
    assert_int_equal(open_descriptors(), descriptors);
    assert_int_equal(entries(folder), before || access(path, F_OK) == 0 ? 1 : 0);
    if (status == MMREC_OK) {
        holds(path, new_text);
        return REPLACED;
    }
    char text[1000];
    assert_int_equal(status, MMREC_IO);
    assert_non_null(strstr(mmrec_error_text(&error, text, sizeof text), folder));
    assert_non_null(strstr(text, strerror(io->fail_errno)));
    bool unsynced = strstr(text, "a power cut may lose it") != NULL;
    holds(path, unsynced ? new_text : before);
    return unsynced ? UNSYNCED : KEPT;
}

/* Fails call 1, 2, 3, ... until a run no longer reaches the fault. */
static void save_loop(writing save, mmrec_io fault, const char *before) {
    const char *path = in_folder("file");
    int seen[3] = {0};
    bool reached = true;
    for (uint64_t k = 1; reached; k++) {
        empty_folder(NULL);
        if (before) plain_write(path, before);
        mmrec_io io = fault;
        io.fail_at = k;
        int result = faulty_save(save, &io, path, before);
        reached = io.attempts >= k;
        if (!reached) assert_int_equal(result, REPLACED);
        seen[result]++;
        assert_true(k < 50);
    }
    assert_true(seen[KEPT] >= 3 && seen[UNSYNCED] >= 1 && seen[REPLACED] >= 1);
}

static void every_fault_of_a_save(void **state) {
    (void)state;
    static const int reasons[] = {ENOSPC, EIO, EDQUOT, EINTR, EROFS};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        for (int bits = 0; bits < 8; bits++) {
            mmrec_io fault = {.fail_errno = reasons[i], .fail_after = bits & 1, .short_write = bits & 2};
            save_loop(mmrec_io_write_file, fault, bits & 4 ? old_text : NULL);
            if (bits & 4) save_loop(mmrec_io_write_verified, fault, old_text);
        }
    }
}

/* The sync that fails is the last call before the cleaning up, even where its reason is a mere interruption. */
static void failed_sync_is_not_repeated(void **state) {
    (void)state;
    const char *path = in_folder("file");
    plain_write(path, old_text);
    mmrec_io io = {0};
    mmrec_error error = {0};
    for (uint64_t k = 1; k < 50 && !strstr(error.message, "cannot sync \""); k++) {
        io = (mmrec_io){.fail_at = k, .fail_errno = EINTR};
        if (mmrec_io_write_file(&io, path, old_text, strlen(old_text), &error) == MMREC_OK) mmrec_error_clear(&error);
    }
    assert_non_null(strstr(error.message, "cannot sync \""));
    assert_int_equal(io.calls[MMREC_IO_SYNC], 1);
    assert_int_equal(io.calls[MMREC_IO_RENAME], 0);
}

/* A close may be what tells that the bytes did not arrive. */
static void failed_close_is_a_failed_save(void **state) {
    (void)state;
    const char *path = in_folder("file");
    plain_write(path, old_text);
    mmrec_error error = {0};
    for (uint64_t k = 1; k < 50 && !strstr(error.message, "cannot close \""); k++) {
        mmrec_io io = {.fail_at = k, .fail_errno = EDQUOT};
        if (mmrec_io_write_file(&io, path, old_text, strlen(old_text), &error) == MMREC_OK) mmrec_error_clear(&error);
    }
    assert_non_null(strstr(error.message, "cannot close \""));
    assert_non_null(strstr(error.message, strerror(EDQUOT)));
}

/* A single interruption, and a write that is cut short, change nothing but the number of calls. */
static void interrupted_writes_go_on(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    for (int half = 0; half < 2; half++) {
        mmrec_io io = {.fail_at = 1, .fail_errno = EINTR, .short_write = half};
        char got[100] = "";
        assert_int_equal(mmrec_io_write_fd(&io, ends[1], "pipe", new_text, strlen(new_text), NULL), MMREC_OK);
        assert_int_equal(read(ends[0], got, sizeof got - 1), (ssize_t)strlen(new_text));
        assert_string_equal(got, new_text);
        assert_int_equal(io.calls[MMREC_IO_WRITE], 2);
        assert_int_equal(io.bytes[MMREC_IO_WRITE], strlen(new_text));
    }
    close(ends[0]);
    close(ends[1]);
}

static void write_to_a_closed_descriptor(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_error error = {0};
    assert_int_equal(mmrec_io_write_fd(&io, -1, "standard output", "x", 1, &error), MMREC_IO);
    assert_string_equal(error.message, "cannot write 1 bytes to standard output: Bad file descriptor");
    io = (mmrec_io){.fail_at = 1, .fail_after = true, .fail_errno = EINTR};
    assert_int_equal(mmrec_io_write_fd(&io, -1, "x", "x", 1, &error), MMREC_IO);
    assert_string_equal(error.message, "cannot write 1 bytes to x: Interrupted system call");
}

/* Makes `path` the standard output; NULL closes it. */
static void redirect(const char *path, int flags) {
    close(1);
    if (!path) return;
    assert_int_equal(open(path, flags, 0600), 1);
}

/* "-" with standard output being a file, full, only readable, and closed. */
static void standard_output(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_error full = {0}, closed = {0}, unwritable = {0};
    fflush(stdout);
    int saved = dup(1);
    redirect(in_folder("out"), O_WRONLY | O_CREAT);
    mmrec_status good = mmrec_io_write_file(&io, "-", "text", 4, NULL);
    mmrec_status check = mmrec_io_check_writable(&io, "-", NULL);
    redirect("/dev/full", O_WRONLY);
    mmrec_status no_space = mmrec_io_write_file(&io, "-", "text", 4, &full);
    redirect("/dev/null", O_RDONLY);
    mmrec_status read_only = mmrec_io_check_writable(&io, "-", &unwritable);
    redirect(NULL, 0);
    mmrec_status none = mmrec_io_check_writable(&io, "-", &closed);
    assert_int_equal(dup2(saved, 1), 1);
    close(saved);
    assert_true(good == MMREC_OK && check == MMREC_OK);
    assert_true(no_space == MMREC_IO && read_only == MMREC_IO && none == MMREC_IO);
    holds(in_folder("out"), "text");
    assert_string_equal(full.message, "cannot write 4 bytes to standard output: No space left on device");
    assert_string_equal(unwritable.message, "cannot write \"standard output\": Bad file descriptor");
    assert_string_equal(closed.message, "cannot write \"standard output\": Bad file descriptor");
}

static void every_fault_of_a_read(void **state) {
    (void)state;
    const char *path = in_folder("file");
    plain_write(path, old_text);
    int descriptors = open_descriptors();
    static const int reasons[] = {EIO, EACCES, EINTR};
    for (size_t i = 0; i < 6; i++) {
        bool reached = true;
        for (uint64_t k = 1; reached; k++) {
            mmrec_io io = {.fail_at = k, .fail_errno = reasons[i % 3], .fail_after = i >= 3};
            mmrec_allocator a = {0};
            void *data = NULL;
            size_t size = 0;
            mmrec_error error = {0};
            mmrec_status status = mmrec_io_read_file(&io, &a, path, 100, &data, &size, &error);
            reached = io.attempts >= k;
            assert_true(status == MMREC_OK || (status == MMREC_IO && reached));
            assert_int_equal(a.total.live_bytes, status == MMREC_OK ? strlen(old_text) : 0);
            if (status == MMREC_OK) assert_memory_equal(data, old_text, size);
            if (status != MMREC_OK) assert_non_null(strstr(error.message, path));
            mmrec_alloc(&a, data, size, 0, MMREC_ALLOC_FILE);
            assert_int_equal(open_descriptors(), descriptors);
        }
    }
}

static void no_memory_for_a_read(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_allocator a = {.fail_at = 1};
    mmrec_error error = {0};
    void *data = NULL;
    size_t size = 0;
    const char *path = in_folder("file");
    plain_write(path, old_text);
    int descriptors = open_descriptors();
    assert_int_equal(mmrec_io_read_file(&io, &a, path, 100, &data, &size, &error), MMREC_NO_MEMORY);
    assert_int_equal(open_descriptors(), descriptors);
    char wanted[300];
    (void)snprintf(wanted, sizeof wanted, "not enough memory for the 12 bytes of \"%s\"", path);
    assert_string_equal(error.message, wanted);
    assert_int_equal(io.calls[MMREC_IO_CLOSE], 1);
}

static void every_fault_of_a_check_and_of_new_folders(void **state) {
    (void)state;
    for (int check = 0; check < 2; check++) {
        bool reached = true;
        for (uint64_t k = 1; reached; k++) {
            empty_folder(NULL);
            mmrec_io io = {.fail_at = k, .fail_errno = ENOSPC};
            mmrec_error error = {0};
            const char *path = in_folder("p/q/file");
            mmrec_status status =
                check ? mmrec_io_check_writable(&io, path, &error) : mmrec_io_write_file(&io, path, "x", 1, &error);
            reached = io.attempts >= k;
            /* Only the removal of what was checked, and closing a folder, may fail without harm. */
            assert_true(status == MMREC_IO || status == MMREC_OK);
            if (!reached) assert_int_equal(status, MMREC_OK);
            char text[1000];
            assert_true(status == MMREC_OK || strstr(mmrec_error_text(&error, text, sizeof text), folder));
            int inside = entries(in_folder("p/q"));
            assert_true(inside <= (access(path, F_OK) == 0));
            if (status == MMREC_OK) assert_int_equal(inside, check ? 0 : 1);
        }
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, empty_folder)
    const struct CMUnitTest tests[] = {
        TEST(write_then_read),
        TEST(large_file),
        TEST(parents_are_created),
        TEST(relative_path),
        TEST(links_and_modes_stay),
        TEST(devices_are_written_in_place),
        TEST(stale_temporary_files_are_passed_over),
        TEST(refused_reads),
        TEST(refused_writes),
        TEST(every_fault_of_a_save),
        TEST(failed_sync_is_not_repeated),
        TEST(failed_close_is_a_failed_save),
        TEST(interrupted_writes_go_on),
        TEST(write_to_a_closed_descriptor),
        TEST(standard_output),
        TEST(every_fault_of_a_read),
        TEST(no_memory_for_a_read),
        TEST(every_fault_of_a_check_and_of_new_folders),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
