/* The thread that writes checkpoints: what it keeps, when it says so, and what it does where it cannot. */
#include "checkpoint_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <sys/wait.h>

typedef mmrec_checkpoint_writer writer;

static writer *open_writer(mmrec_allocator *a, mmrec_io *io, int keep) {
    writer *w = NULL;
    mmrec_error error = {0};
    if (mmrec_checkpoint_writer_create(a, io, rig_folder, keep, &w, &error) != MMREC_OK) fail_msg("%s", error.message);
    return w;
}

static mmrec_status save(mmrec_allocator *a, writer *w, int64_t step, mmrec_error *error) {
    mmrec_checkpoint *c = rig_checkpoint(a, step);
    mmrec_status status = mmrec_checkpoint_writer_save(w, c, step, error);
    mmrec_checkpoint_destroy(&c); /* it was encoded: it may go or change at once */
    return status;
}

static void save_and_wait(mmrec_allocator *a, writer *w, int64_t step) {
    assert_int_equal(save(a, w, step, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_writer_wait(w, NULL), MMREC_OK);
    assert_true(mmrec_checkpoint_writer_saved(w) == step);
}

static bool exists(int64_t step) { return access(rig_step_path(step), F_OK) == 0; }

/* ---- what is kept ------------------------------------------------------------------------------------------- */

static void the_newest_are_kept(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    writer *w = open_writer(&a, &io, 2);
    assert_true(mmrec_checkpoint_writer_saved(w) == -1);
    for (int64_t step = 1; step <= 5; step++) {
        save_and_wait(&a, w, step);
        assert_int_equal(rig_count(rig_folder, ""), step < 2 ? 1 : 2);
        assert_int_equal(rig_expect_newest(step).count, 0);
    }
    assert_true(exists(4) && exists(5));
    save_and_wait(&a, w, 5); /* the same step again replaces its file */
    assert_int_equal(rig_count(rig_folder, ""), 2);
    mmrec_checkpoint_writer_destroy(&w);
    assert_null(w);
    mmrec_checkpoint_writer_destroy(&w);
    assert_int_equal(a.total.live_bytes, 0);
}

static void keeping_one(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    for (int64_t step = 1; step <= 7; step++) rig_save(&a, step);
    writer *w = open_writer(&a, &io, 1);
    assert_int_equal(rig_count(rig_folder, ""), 7); /* nothing is removed before something is saved */
    save_and_wait(&a, w, 8);
    assert_int_equal(rig_count(rig_folder, ""), 1);
    assert_true(exists(8));
    mmrec_checkpoint_writer_destroy(&w);
}

/* Another training's checkpoints of later steps are not counted and not removed, whatever is saved below them. */
static void later_steps_are_not_touched(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    rig_save(&a, 500);
    rig_save(&a, 490);
    rig_save(&a, 3);
    rig_write(rig_path("notes.txt"), "mine", 4);
    writer *w = open_writer(&a, &io, 2);
    for (int64_t step = 10; step <= 40; step += 10) {
        save_and_wait(&a, w, step);
        assert_true(exists(step) && exists(490) && exists(500));
    }
    assert_int_equal(rig_count(rig_folder, ""), 5);
    assert_true(exists(30) && access(rig_path("notes.txt"), F_OK) == 0);
    mmrec_checkpoint_writer_destroy(&w);
}

static void destroying_waits_for_the_save(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    for (int64_t step = 1; step < 20; step++) {
        writer *w = open_writer(&a, &io, 1);
        assert_int_equal(save(&a, w, step, NULL), MMREC_OK);
        mmrec_checkpoint_writer_destroy(&w);
        assert_int_equal(rig_expect_newest(step).count, 0);
        assert_int_equal(rig_count(rig_folder, ""), 1);
    }
    assert_int_equal(a.total.live_bytes, 0);
}

/* The memory for the file is asked for once: a second save of the same state has it already. */
static void memory_is_kept_from_save_to_save(void **state) {
    (void)state;
    enum { COUNT = 300000, SMALL = 20000 };
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_shape shape = mmrec_shape1(COUNT);
    double *values = calloc(COUNT, sizeof *values);
    mmrec_checkpoint *c = NULL;
    writer *w = open_writer(&a, &io, 2);
    assert_non_null(values);
    assert_int_equal(mmrec_checkpoint_create(&a, &c, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_put(c, "x", MMREC_SAFETENSORS_F64, &shape, values, NULL), MMREC_OK);
    size_t before = a.total.live_bytes;
    for (int64_t step = 0; step < 3; step++) {
        assert_int_equal(mmrec_checkpoint_writer_save(w, c, step, NULL), MMREC_OK);
        if (step > 0) assert_true(a.total.peak_bytes - a.total.live_bytes < SMALL);
        if (step == 0) assert_true(a.total.live_bytes - before >= COUNT * sizeof *values);
        mmrec_allocator_reset_peak(&a);
    }
    assert_int_equal(mmrec_checkpoint_writer_wait(w, NULL), MMREC_OK);
    mmrec_checkpoint_writer_destroy(&w);
    mmrec_checkpoint_destroy(&c);
    free(values);
    assert_int_equal(a.total.live_bytes, 0);
}

/* ---- when it says so ---------------------------------------------------------------------------------------- */

/* Holds the writing thread up at its first fsync. */
typedef struct gate {
    sem_t reached, open;
    bool armed;
} gate;

static void hold(void *context, const mmrec_io_event *event) {
    gate *g = context;
    if (event->op != MMREC_IO_SYNC || !g->armed) return;
    g->armed = false;
    sem_post(&g->reached);
    sem_wait(&g->open);
}

static void polling_never_blocks(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    gate g;
    assert_int_equal(sem_init(&g.reached, 0, 0), 0);
    assert_int_equal(sem_init(&g.open, 0, 0), 0);
    g.armed = false;
    mmrec_io io = {.log = hold, .log_context = &g};
    writer *w = open_writer(&a, &io, 2);
    bool idle = false;
    assert_int_equal(mmrec_checkpoint_writer_poll(w, &idle, NULL), MMREC_OK);
    assert_true(idle);
    g.armed = true; /* the thread sees it through the lock that hands the save over */
    assert_int_equal(save(&a, w, 1, NULL), MMREC_OK);
    sem_wait(&g.reached);
    assert_int_equal(mmrec_checkpoint_writer_poll(w, &idle, NULL), MMREC_OK);
    assert_false(idle);
    assert_true(mmrec_checkpoint_writer_saved(w) == -1);
    assert_int_equal(rig_expect_newest(-1).count, 0);
    sem_post(&g.open);
    assert_int_equal(mmrec_checkpoint_writer_wait(w, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_writer_poll(w, &idle, NULL), MMREC_OK);
    assert_true(idle);
    assert_true(mmrec_checkpoint_writer_saved(w) == 1);
    mmrec_checkpoint_writer_destroy(&w);
    sem_destroy(&g.reached);
    sem_destroy(&g.open);
}

/* Fails the renames from now on, from the writing thread itself. */
typedef struct breaker {
    mmrec_io *io;
    bool broken;
} breaker;

static void fail_rename(void *context, const mmrec_io_event *event) {
    breaker *b = context;
    /* The call behind the close of the file that was read back. */
    if (event->op == MMREC_IO_READ && event->size == 0) b->io->fail_at = b->broken ? b->io->attempts + 2 : 0;
}

static mmrec_status until_idle(writer *w, mmrec_error *error) {
    mmrec_status status = MMREC_OK;
    for (bool idle = false; !idle;) {
        status = mmrec_checkpoint_writer_poll(w, &idle, error);
        if (!idle) usleep(100);
    }
    return status;
}

static void a_failure_is_told_once(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {.log = fail_rename, .fail_errno = EIO};
    breaker b = {&io, false};
    io.log_context = &b;
    writer *w = open_writer(&a, &io, 2);
    save_and_wait(&a, w, 1);
    for (int by = 0; by < 3; by++) { /* wait, poll, and the next save */
        mmrec_error error = {0};
        bool idle = false;
        b.broken = true;
        assert_int_equal(save(&a, w, 2, NULL), MMREC_OK);
        mmrec_status status = by == 0   ? mmrec_checkpoint_writer_wait(w, &error)
                              : by == 1 ? until_idle(w, &error)
                                        : save(&a, w, 3, &error);
        assert_int_equal(status, MMREC_IO);
        assert_non_null(strstr(error.message, "cannot rename the new file to \""));
        assert_non_null(strstr(error.message, "step-000000000002.safetensors\": Input/output error"));
        assert_int_equal(mmrec_checkpoint_writer_wait(w, NULL), MMREC_OK);
        assert_int_equal(mmrec_checkpoint_writer_poll(w, &idle, NULL), MMREC_OK);
        assert_true(idle && mmrec_checkpoint_writer_saved(w) == 1);
        assert_int_equal(rig_count(rig_folder, ""), 1); /* the save that was told of it did not begin */
        assert_int_equal(rig_expect_newest(1).count, 0);
    }
    b.broken = false;
    save_and_wait(&a, w, 2);
    mmrec_checkpoint_writer_destroy(&w);
    assert_int_equal(a.total.live_bytes, 0);
}

/* An old checkpoint that cannot be removed: told, but the new one is safe. */
static void a_failed_removal_is_told(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    char text[1200];
    assert_int_equal(mkdir(rig_step_path(1), 0700), 0);
    rig_write(rig_path("step-000000000001.safetensors/x"), "", 0);
    writer *w = open_writer(&a, &io, 1);
    assert_int_equal(save(&a, w, 2, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_writer_wait(w, &error), MMREC_IO);
    mmrec_error_text(&error, text, sizeof text);
    assert_non_null(strstr(text, "cannot remove \""));
    assert_non_null(strstr(text, "(while removing old checkpoints; that of step 2 is saved)"));
    assert_true(mmrec_checkpoint_writer_saved(w) == 2);
    mmrec_checkpoint_writer_destroy(&w);
    assert_int_equal(rig_expect_newest(2).count, 0);
}

/* Whoever else cleans the folder up meanwhile, what was saved and what is to be kept stays. */
static void remove_others(void *context, const mmrec_io_event *event) {
    (void)context;
    if (event->op != MMREC_IO_UNLINK || !strstr(event->path, "step-")) return;
    for (int64_t step = 1; step < 5; step++) (void)unlink(rig_step_path(step));
}

static void somebody_else_removes_too(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {.log = remove_others};
    for (int64_t step = 1; step <= 7; step++) rig_save(&a, step);
    writer *w = open_writer(&a, &io, 3);
    save_and_wait(&a, w, 8);
    assert_int_equal(rig_count(rig_folder, ""), 3);
    assert_true(exists(6) && exists(7) && exists(8));
    mmrec_checkpoint_writer_destroy(&w);
}

/* ---- where it cannot ---------------------------------------------------------------------------------------- */

static void refused_writers(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_error e = {0};
    writer *w = (writer *)&a;
    char deep[PATH_MAX];
    assert_int_equal(mmrec_checkpoint_writer_create(&a, &io, rig_folder, 0, &w, &e), MMREC_CONFIG);
    assert_string_equal(e.message, "0 checkpoints cannot be kept, wanted 1 or more");
    assert_null(w);
    rig_write(rig_path("file"), "x", 1);
    assert_int_equal(mmrec_checkpoint_writer_create(&a, &io, rig_path("file"), 1, &w, &e), MMREC_IO);
    assert_non_null(strstr(e.message, "/file\": Not a directory"));
    assert_int_equal(mmrec_checkpoint_writer_create(&a, &io, rig_path("file/x"), 1, &w, &e), MMREC_IO);
    assert_non_null(strstr(e.message, "/file/x\": Not a directory"));
    assert_int_equal(mmrec_checkpoint_writer_create(&a, &io, "/proc/none/such", 1, &w, &e), MMREC_IO);
    assert_non_null(strstr(e.message, "cannot create the folder \"/proc/none\""));
    assert_int_equal(mmrec_checkpoint_writer_create(&a, &io, "", 1, &w, &e), MMREC_IO);
    assert_string_equal(e.message, "cannot create the folder \"\": No such file or directory");
    memset(deep, 'n', sizeof deep - 20);
    deep[sizeof deep - 20] = '\0';
    assert_int_equal(mmrec_checkpoint_writer_create(&a, &io, deep, 1, &w, &e), MMREC_IO);
    assert_non_null(strstr(e.message, "has a name of 4076 bytes, which is too long for files in it"));
    assert_int_equal(a.total.live_bytes, 0);
    assert_int_equal(rig_count(rig_folder, ""), 1);
}

static void refused_steps(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_error e = {0};
    writer *w = open_writer(&a, &io, 1);
    assert_int_equal(save(&a, w, -1, &e), MMREC_CONFIG);
    assert_string_equal(e.message, "a checkpoint of step -1, wanted 0 to 999999999999");
    assert_int_equal(save(&a, w, INT64_C(1000000000000), &e), MMREC_CONFIG);
    save_and_wait(&a, w, 0);
    save_and_wait(&a, w, MMREC_CHECKPOINT_MOST_STEP);
    mmrec_checkpoint_writer_destroy(&w);
    assert_int_equal(rig_expect_newest(MMREC_CHECKPOINT_MOST_STEP).count, 0);
}

/* Trailing slashes, and folders above that do not exist yet. */
static void folders_are_made(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    writer *w = NULL;
    assert_int_equal(mmrec_checkpoint_writer_create(&a, &io, rig_path("a/b/c//"), 1, &w, NULL), MMREC_OK);
    save_and_wait(&a, w, 3);
    mmrec_checkpoint_writer_destroy(&w);
    assert_int_equal(access(rig_path("a/b/c/step-000000000003.safetensors"), F_OK), 0);
    assert_int_equal(rig_count(rig_path("a/b/c"), ""), 1);
}

static pid_t ended_process(void) {
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return pid;
}

/* Only names of our own pattern, and only of a process that is gone, or of this one. */
static void leftovers_are_removed(void **state) {
    (void)state;
    static const char *const foreign[] = {".mmrec-1-0.tmp",        ".mmrec-x-0.tmp",         ".mmrec--0.tmp",
                                          ".mmrec-999999-0.tmp.x", "mmrec-999-0.tmp",        ".mmrec-999-0.tm",
                                          ".mmrec-999-.tmp",       ".mmrec-0-0.tmp",         ".mmrec-999.tmp",
                                          ".mmrec- 999-0.tmp",     ".mmrec-9999999999-0.tmp"};
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    char name[64];
    (void)snprintf(name, sizeof name, ".mmrec-%ld-0.tmp", (long)getpid());
    rig_write(rig_path(name), "x", 1);
    (void)snprintf(name, sizeof name, ".mmrec-%ld-37.tmp", (long)ended_process());
    rig_write(rig_path(name), "x", 1);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) rig_write(rig_path(foreign[i]), "x", 1);
    writer *w = open_writer(&a, &io, 1);
    assert_int_equal(rig_count(rig_folder, ""), sizeof foreign / sizeof *foreign);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_int_equal(access(rig_path(foreign[i]), F_OK), 0);
    mmrec_checkpoint_writer_destroy(&w);
}

/* Bytes of address space that this process has. */
static rlim_t address_space(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    assert_int_equal(fclose(file), 0);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* Without address space for its stack a thread cannot be started. It comes first: later there are stacks of ended
 * threads to take. Under a sanitizer no limit can be set. */
static void no_thread(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
    enum { ROOM = 1 << 20 }; /* for what lists the folder, not for a stack */
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_error e = {0};
    writer *w = NULL;
    struct rlimit before, less;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    less = before;
    less.rlim_cur = address_space() + ROOM;
    assert_int_equal(setrlimit(RLIMIT_AS, &less), 0);
    mmrec_status status = mmrec_checkpoint_writer_create(&a, &io, rig_folder, 1, &w, &e);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(status, MMREC_IO);
    assert_string_equal(e.message, "cannot start the thread that writes checkpoints: Resource temporarily unavailable");
    assert_int_equal(a.total.live_bytes, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, rig_empty)
    const struct CMUnitTest tests[] = {
        TEST(no_thread),
        TEST(the_newest_are_kept),
        TEST(keeping_one),
        TEST(later_steps_are_not_touched),
        TEST(destroying_waits_for_the_save),
        TEST(memory_is_kept_from_save_to_save),
        TEST(polling_never_blocks),
        TEST(a_failure_is_told_once),
        TEST(a_failed_removal_is_told),
        TEST(somebody_else_removes_too),
        TEST(refused_writers),
        TEST(refused_steps),
        TEST(folders_are_made),
        TEST(leftovers_are_removed),
    };
    return cmocka_run_group_tests(tests, rig_make, rig_remove);
}
