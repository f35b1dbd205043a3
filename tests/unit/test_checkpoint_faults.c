/* Checkpoints while file operations and requests for memory fail: the k-th, for every k until a run is clean. */
#include "checkpoint_rig.h"

#include <errno.h>

static int open_descriptors(void) { return rig_count("/proc/self/fd", ""); }

/* One line of words that names the folder. */
static void check_words(const mmrec_error *error, char text[1200]) {
    mmrec_error_text(error, text, 1200);
    assert_non_null(strstr(text, rig_folder));
    assert_null(strchr(text, '\n'));
}

/* A writer's life with one save of step 2, as far as it gets. */
static mmrec_status life(mmrec_allocator *a, mmrec_io *io, int64_t *saved, mmrec_error *error) {
    mmrec_checkpoint_writer *w = NULL;
    *saved = -1;
    MMREC_TRY(mmrec_checkpoint_writer_create(a, io, rig_folder, 1, &w, error));
    mmrec_checkpoint *c = rig_checkpoint(a, 2);
    mmrec_status status = mmrec_checkpoint_writer_save(w, c, 2, error);
    if (status == MMREC_OK) status = mmrec_checkpoint_writer_wait(w, error);
    *saved = mmrec_checkpoint_writer_saved(w);
    mmrec_checkpoint_writer_destroy(&w);
    mmrec_checkpoint_destroy(&c);
    return status;
}

enum { NOT_SAVED, UNSYNCED, SAVED_NOT_PRUNED, CLEAN, OUTCOMES };

/* What became of the save, after a look at everything that may not have happened. */
static int outcome(mmrec_status status, int64_t saved, const mmrec_error *error, const char *reason) {
    char text[1200];
    bool two = access(rig_step_path(2), F_OK) == 0, one = access(rig_step_path(1), F_OK) == 0;
    assert_int_equal(rig_count(rig_folder, ".mmrec-"), 0);
    assert_int_equal(rig_expect_newest(two ? 2 : 1).count, 0);
    assert_int_equal(rig_count(rig_folder, ""), one + two);
    assert_true((status == MMREC_OK || saved == 2) == (saved == 2));
    if (status == MMREC_OK) {
        assert_true(two && !one);
        return CLEAN;
    }
    assert_int_equal(status, MMREC_IO);
    check_words(error, text);
    assert_non_null(strstr(text, reason));
    assert_true(one);
    if (saved == 2) {
        assert_non_null(strstr(text, "removing old checkpoints; that of step 2 is saved"));
        return SAVED_NOT_PRUNED;
    }
    assert_true(two == (strstr(text, "a power cut may lose it") != NULL));
    return two ? UNSYNCED : NOT_SAVED;
}

static void walk_save(mmrec_io fault, int seen[OUTCOMES]) {
    for (uint64_t k = 1, reached = true; reached; k++) {
        mmrec_allocator a = {0};
        mmrec_io io = fault;
        mmrec_error error = {0};
        int64_t saved = 0;
        rig_empty(NULL);
        rig_save(&a, 1);
        int descriptors = open_descriptors();
        io.fail_at = k;
        mmrec_status status = life(&a, &io, &saved, &error);
        int result = outcome(status, saved, &error, strerror(fault.fail_errno));
        assert_int_equal(open_descriptors(), descriptors);
        assert_int_equal(a.total.live_bytes, 0);
        reached = io.attempts >= k;
        if (!reached) assert_int_equal(result, CLEAN);
        seen[result]++;
        assert_true(k < 200);
    }
}

static void every_fault_of_a_save(void **state) {
    (void)state;
    static const int reasons[] = {EIO, ENOSPC, EDQUOT, EINTR, EROFS};
    int seen[OUTCOMES] = {0};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        for (int bits = 0; bits < 4; bits++) {
            walk_save((mmrec_io){.fail_errno = reasons[i], .fail_after = bits & 1, .short_write = bits & 2}, seen);
        }
    }
    for (int i = 0; i < OUTCOMES; i++) assert_true(seen[i] > 0);
    print_message("%d not saved, %d not synced, %d not pruned, %d clean\n", seen[NOT_SAVED], seen[UNSYNCED],
                  seen[SAVED_NOT_PRUNED], seen[CLEAN]);
}

/* What the log saw of the calls that may not be made again. */
typedef struct watch {
    int failed_syncs, syncs_after, renames_after;
    bool broken;
} watch;

static void watch_syncs(void *context, const mmrec_io_event *event) {
    watch *w = context;
    if (w->broken && event->op == MMREC_IO_SYNC) w->syncs_after++;
    if (w->broken && event->op == MMREC_IO_RENAME) w->renames_after++;
    if (event->op != MMREC_IO_SYNC || event->reason == 0) return;
    w->failed_syncs++;
    w->broken = true;
}

/* After a sync that failed the data may be gone and the next sync would say that all is well. */
static void a_failed_sync_is_not_repeated(void **state) {
    (void)state;
    int failed = 0;
    bool reached = true;
    for (uint64_t k = 1; reached; k++) {
        mmrec_allocator a = {0};
        watch w = {0};
        mmrec_io io = {.fail_at = k, .fail_errno = EIO, .log = watch_syncs, .log_context = &w};
        mmrec_checkpoint *c = rig_checkpoint(&a, 1);
        mmrec_status status = mmrec_checkpoint_write_file(c, &io, rig_step_path((int64_t)k), NULL);
        mmrec_checkpoint_destroy(&c);
        reached = io.attempts >= k;
        failed += w.failed_syncs;
        if (w.failed_syncs > 0) assert_int_equal(status, MMREC_IO);
        assert_true(w.failed_syncs <= 1 && w.syncs_after == 0 && w.renames_after == 0);
    }
    assert_int_equal(failed, 2); /* of the file, of its folder */
}

/* A writer whose disk fails for a while goes on when it does not fail any more. */
static void a_writer_recovers(void **state) {
    (void)state;
    for (uint64_t k = 1; k < 40; k++) {
        mmrec_allocator a = {0};
        mmrec_io io = {0};
        mmrec_checkpoint_writer *w = NULL;
        rig_empty(NULL);
        assert_int_equal(mmrec_checkpoint_writer_create(&a, &io, rig_folder, 2, &w, NULL), MMREC_OK);
        io.fail_at = io.attempts + k; /* the thread waits: it gets to see this with the next save */
        int failures = 0;
        for (int64_t step = 1; step <= 4; step++) {
            mmrec_checkpoint *c = rig_checkpoint(&a, step);
            assert_int_equal(mmrec_checkpoint_writer_save(w, c, step, NULL), MMREC_OK);
            failures += mmrec_checkpoint_writer_wait(w, NULL) != MMREC_OK;
            mmrec_checkpoint_destroy(&c);
            int64_t newest = access(rig_step_path(step), F_OK) == 0 ? step : step - 1;
            if (newest > 0) assert_int_equal(rig_expect_newest(newest).count, 0);
        }
        assert_true(failures <= 1);
        mmrec_checkpoint_writer_destroy(&w);
        assert_int_equal(rig_count(rig_folder, ".mmrec-"), 0);
        assert_int_equal(a.total.live_bytes, 0);
    }
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

enum { FOUND_NEWEST, FOUND_OLDER, NONE_VALID, NOT_LISTED, FINDINGS };

static int find(mmrec_allocator *a, mmrec_io *io, const char *reason) {
    mmrec_checkpoint *out = NULL;
    mmrec_error error = {0};
    rig_skips skips = {0};
    char text[1200];
    int64_t step = 0;
    mmrec_status status = mmrec_checkpoint_newest(a, io, rig_folder, rig_skipped, &skips, &out, &step, &error);
    for (int i = 0; i < skips.count; i++) assert_non_null(strstr(skips.why[i], reason));
    if (status == MMREC_OK) {
        assert_non_null(out);
        rig_expect(out, step);
        assert_true(step == 2 - skips.count);
        mmrec_checkpoint_destroy(&out);
        return step == 2 ? FOUND_NEWEST : FOUND_OLDER;
    }
    assert_true(out == NULL && step == -1);
    check_words(&error, text);
    assert_non_null(strstr(text, reason));
    assert_true(status == MMREC_IO || status == MMREC_FORMAT);
    assert_int_equal(skips.count, status == MMREC_IO ? 0 : 2);
    return status == MMREC_IO ? NOT_LISTED : NONE_VALID;
}

static void every_fault_of_reading(void **state) {
    (void)state;
    static const int reasons[] = {EIO, EACCES, EINTR};
    int seen[FINDINGS] = {0};
    mmrec_allocator saver = {0};
    rig_save(&saver, 1);
    rig_save(&saver, 2);
    int descriptors = open_descriptors();
    for (size_t i = 0; i < 6; i++) {
        bool reached = true;
        for (uint64_t k = 1; reached; k++) {
            mmrec_allocator a = {0};
            mmrec_io io = {.fail_at = k, .fail_errno = reasons[i % 3], .fail_after = i >= 3};
            int result = find(&a, &io, strerror(reasons[i % 3]));
            reached = io.attempts >= k;
            if (!reached) assert_int_equal(result, FOUND_NEWEST);
            seen[result]++;
            assert_int_equal(a.total.live_bytes, 0);
            assert_int_equal(open_descriptors(), descriptors);
            assert_true(k < 100);
        }
    }
    for (int i = 0; i < FINDINGS; i++) assert_true(seen[i] > 0);
}

/* ---- memory ------------------------------------------------------------------------------------------------- */

static mmrec_status put_all(mmrec_checkpoint *c, mmrec_error *error) {
    double values[40] = {1};
    mmrec_shape shape = mmrec_shape1(40);
    for (int i = 0; i < 3; i++) {
        char name[12];
        (void)snprintf(name, sizeof name, "%d", i);
        MMREC_TRY(mmrec_checkpoint_put(c, name, MMREC_SAFETENSORS_F32, &shape, values, error));
        MMREC_TRY(mmrec_checkpoint_put_whole(c, name, i, error));
    }
    return MMREC_OK;
}

/* Everything that asks for memory: putting together, a writer, a save, a second one, finding it again. */
static mmrec_status work(mmrec_allocator *a, mmrec_io *io, mmrec_checkpoint **c, mmrec_checkpoint_writer **w,
                         mmrec_checkpoint **found, mmrec_error *error) {
    int64_t step = 0;
    MMREC_TRY(mmrec_checkpoint_create(a, c, error));
    MMREC_TRY(put_all(*c, error));
    MMREC_TRY(mmrec_checkpoint_writer_create(a, io, rig_folder, 2, w, error));
    MMREC_TRY(mmrec_checkpoint_writer_save(*w, *c, 1, error));
    MMREC_TRY(mmrec_checkpoint_writer_save(*w, *c, 2, error));
    MMREC_TRY(mmrec_checkpoint_writer_wait(*w, error));
    mmrec_io reader = {0};
    return mmrec_checkpoint_newest(a, &reader, rig_folder, NULL, NULL, found, &step, error);
}

static void every_fault_of_memory(void **state) {
    (void)state;
    for (int after = 0; after < 2; after++) {
        bool reached = true;
        for (uint64_t k = 1; reached; k++) {
            mmrec_allocator a = {.fail_at = k, .fail_after = after};
            mmrec_io io = {0};
            mmrec_error error = {0};
            mmrec_checkpoint *c = NULL, *found = NULL;
            mmrec_checkpoint_writer *w = NULL;
            mmrec_status status = work(&a, &io, &c, &w, &found, &error);
            reached = a.attempts >= k;
            assert_int_equal(status, reached ? MMREC_NO_MEMORY : MMREC_OK);
            if (reached) assert_non_null(strstr(error.message, "memory"));
            mmrec_checkpoint_destroy(&found);
            mmrec_checkpoint_writer_destroy(&w);
            mmrec_checkpoint_destroy(&c);
            assert_int_equal(a.total.live_bytes, 0);
            assert_int_equal(rig_count(rig_folder, ".mmrec-"), 0);
            assert_true(k < 1000);
        }
    }
}

/* A checkpoint that lacked memory for one put takes the same put again. */
static void a_put_that_failed_can_be_repeated(void **state) {
    (void)state;
    bool reached = true;
    for (uint64_t k = 1; reached; k++) {
        mmrec_allocator a = {0};
        mmrec_checkpoint *c = rig_checkpoint(&a, 3);
        double more[100] = {5}, got[100];
        mmrec_shape shape = mmrec_shape1(100);
        a.fail_at = a.attempts + k;
        mmrec_status status = mmrec_checkpoint_put(c, "more", MMREC_SAFETENSORS_F64, &shape, more, NULL);
        reached = a.attempts >= a.fail_at;
        assert_int_equal(status, reached ? MMREC_NO_MEMORY : MMREC_OK);
        if (reached) {
            assert_false(mmrec_checkpoint_has(c, "more"));
            assert_int_equal(mmrec_checkpoint_put(c, "more", MMREC_SAFETENSORS_F64, &shape, more, NULL), MMREC_OK);
        }
        assert_int_equal(mmrec_checkpoint_get(c, "more", &shape, got, NULL), MMREC_OK);
        assert_memory_equal(got, more, sizeof got);
        rig_expect(c, 3);
        mmrec_checkpoint_destroy(&c);
        assert_int_equal(a.total.live_bytes, 0);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, rig_empty)
    const struct CMUnitTest tests[] = {
        TEST(every_fault_of_a_save),  TEST(a_failed_sync_is_not_repeated), TEST(a_writer_recovers),
        TEST(every_fault_of_reading), TEST(every_fault_of_memory),         TEST(a_put_that_failed_can_be_repeated),
    };
    return cmocka_run_group_tests(tests, rig_make, rig_remove);
}
