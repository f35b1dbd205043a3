/* The thread that writes checkpoints, for ThreadSanitizer: saves, polls and waits in every order, disks that fail, and
 * state that changes as soon as a save has returned. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mmrec/checkpoint.h"

enum { VALUES = 2000, SAVES = 60 };

static void check(bool holds, const char *what) {
    if (holds) return;
    (void)fprintf(stderr, "checkpoint_writer: %s\n", what);
    exit(1);
}

static void fill(mmrec_checkpoint *c, int64_t step) {
    double values[VALUES];
    mmrec_shape shape = mmrec_shape1(VALUES);
    for (int i = 0; i < VALUES; i++) values[i] = (double)step + i;
    mmrec_checkpoint_clear(c);
    check(mmrec_checkpoint_put(c, "x", MMREC_SAFETENSORS_F64, &shape, values, NULL) == MMREC_OK, "no put");
}

/* What a training does between two saves: asks now and then, waits now and then, or goes straight on. */
static int meanwhile(mmrec_checkpoint_writer *w, int64_t step) {
    bool idle = false;
    int failures = 0;
    if (step % 3 == 0) return mmrec_checkpoint_writer_wait(w, NULL) != MMREC_OK;
    for (int polls = 0; step % 3 == 1 && !idle && polls < 50; polls++) {
        failures += mmrec_checkpoint_writer_poll(w, &idle, NULL) != MMREC_OK;
        check(mmrec_checkpoint_writer_saved(w) <= step, "a step is saved before it is");
        (void)usleep(50);
    }
    return failures;
}

static int save_all(mmrec_allocator *a, mmrec_io *io, const char *folder) {
    mmrec_checkpoint_writer *w = NULL;
    mmrec_checkpoint *c = NULL;
    int failures = 0;
    check(mmrec_checkpoint_create(a, &c, NULL) == MMREC_OK, "no checkpoint");
    check(mmrec_checkpoint_writer_create(a, io, folder, 2, &w, NULL) == MMREC_OK, "no writer");
    for (int64_t step = 1; step <= SAVES; step++) {
        fill(c, step);
        if (mmrec_checkpoint_writer_save(w, c, step, NULL) != MMREC_OK) {
            failures++; /* of the save before; it did not begin */
            check(mmrec_checkpoint_writer_save(w, c, step, NULL) == MMREC_OK, "a save that does not begin");
        }
        fill(c, -step);
        failures += meanwhile(w, step);
    }
    mmrec_checkpoint_writer_destroy(&w); /* with the last save in flight */
    mmrec_checkpoint_destroy(&c);
    return failures;
}

/* The last one that is whole, whose every value must be of its own step. */
static int64_t newest(const char *folder) {
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_checkpoint *c = NULL;
    double values[VALUES];
    mmrec_shape shape = mmrec_shape1(VALUES);
    int64_t step = -1;
    check(mmrec_checkpoint_newest(&a, &io, folder, NULL, NULL, &c, &step, NULL) == MMREC_OK && c,
          "no checkpoint found");
    check(mmrec_checkpoint_get(c, "x", &shape, values, NULL) == MMREC_OK, "no values found");
    for (int i = 0; i < VALUES; i++) check(values[i] == (double)step + i, "values of another step");
    mmrec_checkpoint_destroy(&c);
    return step;
}

static void remove_all(const char *folder) {
    char path[200];
    for (int64_t step = 1; step <= SAVES; step++) {
        (void)snprintf(path, sizeof path, "%s/step-%012lld.safetensors", folder, (long long)step);
        (void)unlink(path);
    }
    check(rmdir(folder) == 0, "something else is left in the folder");
}

int main(void) {
    int failures = 0;
    for (uint64_t fault = 0; fault < 120; fault += 40) {
        char folder[] = "thread-XXXXXX"; /* where it is run: one that a race ends early stays in the build folder */
        mmrec_allocator a = {0};
        mmrec_io io = {.fail_at = fault ? 300 + fault : 0};
        check(mkdtemp(folder) != NULL, "no folder");
        int failed = save_all(&a, &io, folder);
        check(failed <= (fault ? 1 : 0), "more failures than faults");
        check(newest(folder) >= SAVES - failed, "the last step is not there");
        check(a.total.live_bytes == 0, "memory was not given back");
        remove_all(folder);
        failures += failed;
    }
    (void)printf("%d saves, %d of them failed on purpose\n", 3 * SAVES, failures);
    return 0;
}
