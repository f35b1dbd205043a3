/* Programs that write checkpoints, killed at random times: what is found afterwards is whole, and nothing that was said
 * to be saved is missing.
 *
 * usage: crash_kill writer KILLS FOLDER
 *          a process of its own saves without pause and tells which steps are safe
 *        crash_kill in-place KILLS FOLDER
 *          the same with files written in place: harm must be found
 *        crash_kill train KILLS FOLDER PROGRAM ARGUMENT...
 *          PROGRAM is run to its end once, then killed, and run again with --resume, until it ends; what it leaves must
 *          be equal to the bit. @DIR@ in an ARGUMENT is the folder of checkpoints
 * FOLDER of a writer may be "-": one of its own in memory, where a save takes a fraction of what a disk needs */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mmrec/rng.h"
#include "subject.h"

enum { VALUES = 1 << 16 /* two tensors: 1 MiB */, KEEP = 2, SEED = 4, MOST_ARGUMENTS = 100, TEXT = 600 };

static void stop(const char *what, const char *why) {
    (void)fprintf(stderr, "kill: %s: %s\n", what, why);
    exit(2);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_ns(uint64_t ns) {
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) continue;
}

static uint64_t random_ns(uint64_t number, uint64_t most) {
    return (uint64_t)((double)mmrec_rng_uniform(SEED, 0, number) * (double)most);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)info;
    (void)type;
    return where->level > 0 ? remove(path) : 0;
}

/* An empty folder, whatever was there. */
static void fresh(const char *folder) {
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) stop(folder, strerror(errno));
    if (nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0) stop(folder, strerror(errno));
}

/* FOLDER, or one of our own for "-", in memory where there is such a place. */
static const char *folder_named(const char *name) {
    static char own[] = "/dev/shm/mmrec-kill-XXXXXX", other[] = "/tmp/mmrec-kill-XXXXXX";
    if (strcmp(name, "-") != 0) return name;
    if (mkdtemp(own)) return own;
    if (!mkdtemp(other)) stop(other, strerror(errno));
    return other;
}

/* ---- what is found ------------------------------------------------------------------------------------------ */

typedef struct found {
    int64_t step; /* -1: none */
    mmrec_checkpoint *checkpoint;
    int invalid;
} found;

static void skipped(void *context, const char *file, const char *why) {
    found *f = context;
    f->invalid++;
    (void)printf("  %s is not valid: %s\n", file, why);
}

static found look(mmrec_allocator *a, const char *folder) {
    found f = {.step = -1};
    mmrec_io io = {0};
    mmrec_error error = {0};
    if (mmrec_checkpoint_newest(a, &io, folder, skipped, &f, &f.checkpoint, &f.step, &error) == MMREC_OK) return f;
    (void)printf("  %s\n", error.message);
    f.invalid++;
    return f;
}

typedef struct tally {
    long kills, saves, corrupt, missing, older, different;
} tally;

/* How many kills did harm. */
static long report(const char *name, const tally *t, uint64_t began) {
    long bad = t->corrupt + t->missing + t->older + t->different;
    (void)printf("%s: %ld kills, %ld saves seen: %ld corrupt, %ld missing, %ld older than said, %ld different; "
                 "%.1f s\n",
                 name, t->kills, t->saves, t->corrupt, t->missing, t->older, t->different,
                 (double)(now_ns() - began) * 1e-9);
    return bad;
}

/* ---- a writer of our own ------------------------------------------------------------------------------------ */

/* Where and how a writer writes. */
typedef struct writing {
    mmrec_allocator *allocator;
    const char *folder;
    bool in_place; /* the wrong way: no temporary file, no order */
    mmrec_checkpoint *checkpoint;
    mmrec_checkpoint_writer *writer;
} writing;

static mmrec_status save_in_place(const writing *w, int64_t step, mmrec_error *error) {
    char path[2][2 * TEXT];
    void *bytes = NULL;
    size_t size = 0;
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path[i], sizeof path[i], "%s/step-%012lld.safetensors", w->folder, (long long)(step - KEEP * i));
    }
    MMREC_TRY(mmrec_checkpoint_encode(w->checkpoint, w->allocator, &bytes, &size, error));
    int fd = open(path[0], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || fsync(fd) != 0 || close(fd) != 0)
        stop(path[0], "unwritten");
    (void)unlink(path[1]);
    mmrec_alloc(w->allocator, bytes, size, 0, MMREC_ALLOC_FILE);
    return MMREC_OK;
}

static mmrec_status save(const writing *w, int64_t step, mmrec_error *error) {
    static double values[VALUES];
    mmrec_checkpoint_clear(w->checkpoint);
    MMREC_TRY(subject_put(w->checkpoint, step, VALUES, values, error));
    if (w->in_place) return save_in_place(w, step, error);
    MMREC_TRY(mmrec_checkpoint_writer_save(w->writer, w->checkpoint, step, error));
    return mmrec_checkpoint_writer_wait(w->writer, error);
}

/* Saves the steps behind `step` up to `last`, and tells each on `told` (-1: nobody) when it is safe. */
static mmrec_status write_steps(const char *folder, bool in_place, int64_t step, int64_t last, int told,
                                mmrec_error *error) {
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    writing w = {.allocator = &a, .folder = folder, .in_place = in_place};
    mmrec_status status = mmrec_checkpoint_create(&a, &w.checkpoint, error);
    if (status == MMREC_OK) status = mmrec_checkpoint_writer_create(&a, &io, folder, KEEP, &w.writer, error);
    while (status == MMREC_OK && step < last) {
        status = save(&w, ++step, error);
        if (status == MMREC_OK && told >= 0 && write(told, &step, sizeof step) != sizeof step) break;
    }
    mmrec_checkpoint_writer_destroy(&w.writer);
    mmrec_checkpoint_destroy(&w.checkpoint);
    return status;
}

/* How long a life may be: a few saves, however fast they are here. */
static uint64_t most_life(const char *folder) {
    enum { TRIED = 4, LIVED = 4 };
    mmrec_error error = {0};
    uint64_t began = now_ns(), most = UINT64_C(40000000);
    if (write_steps(folder, false, 0, TRIED, -1, &error) != MMREC_OK) stop("saving", error.message);
    uint64_t life = (now_ns() - began) / TRIED * LIVED;
    return life < most ? life : most;
}

/* One life of the writer, which goes on behind `step`; the last step that it said was safe is left in `*said`. */
static void one_life(const char *folder, bool in_place, int64_t step, uint64_t life_ns, int64_t *said, tally *t) {
    int ends[2], status = 0;
    if (pipe(ends) != 0) stop("pipe", strerror(errno));
    pid_t pid = fork();
    if (pid < 0) stop("fork", strerror(errno));
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        mmrec_error error = {0};
        close(ends[0]);
        (void)write_steps(folder, in_place, step, INT64_MAX, ends[1], &error);
        (void)fprintf(stderr, "kill: the writer ended: %s\n", error.message);
        _exit(1);
    }
    close(ends[1]);
    sleep_ns(life_ns);
    (void)kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status)) stop("the writer", "it ended by itself");
    for (int64_t one = 0; read(ends[0], &one, sizeof one) == sizeof one; t->saves++) *said = one;
    close(ends[0]);
    t->kills++;
}

static void judge_life(const char *folder, int64_t said, int64_t *step, tally *t) {
    static double values[VALUES];
    mmrec_allocator a = {0};
    found f = look(&a, folder);
    t->corrupt += f.invalid > 0 || (f.checkpoint && !subject_is(f.checkpoint, f.step, VALUES, values));
    t->missing += said >= 0 && !f.checkpoint;
    t->older += f.checkpoint && f.step < said;
    t->different += f.checkpoint && f.step > (said < 0 ? 1 : said + 1); /* saves follow one another */
    mmrec_checkpoint_destroy(&f.checkpoint);
    *step = f.step;
}

static tally kill_writer(long kills, const char *folder, bool in_place) {
    tally t = {0};
    int64_t said = -1, step = -1;
    fresh(folder);
    uint64_t most = most_life(folder);
    fresh(folder);
    for (long i = 0; i < kills; i++) {
        one_life(folder, in_place, step < 0 ? 0 : step, random_ns((uint64_t)i, most), &said, &t);
        judge_life(folder, said, &step, &t);
        if (step > said) said = step; /* it was complete, only not yet told: it may not vanish either */
    }
    fresh(folder);
    (void)rmdir(folder);
    if (t.saves == 0) stop("the writer", "it never lived long enough for a save");
    return t;
}

/* ---- a program ---------------------------------------------------------------------------------------------- */

typedef struct subject {
    char **argument; /* program and arguments */
    int count;
    const char *folder; /* of everything */
    char checkpoints[TEXT], output[TEXT];
} subject;

static char *with_folder(const char *argument, const char *folder) {
    const char *hole = strstr(argument, "@DIR@");
    char *text = malloc(strlen(argument) + strlen(folder) + 1);
    if (!text) stop("memory", "none");
    if (hole)
        (void)sprintf(text, "%.*s%s%s", (int)(hole - argument), argument, folder, hole + 5);
    else
        (void)strcpy(text, argument);
    return text;
}

/* The child's side: everything it prints goes to a file, which is shown where it fails. */
static void become(const subject *s, bool resume) {
    char *argument[MOST_ARGUMENTS + 2] = {NULL};
    int out = open(s->output, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) _exit(126);
    for (int i = 0; i < s->count; i++) argument[i] = with_folder(s->argument[i], s->checkpoints);
    if (resume) argument[s->count] = with_folder("--resume", "");
    execv(argument[0], argument);
    _exit(127);
}

static void show_output(const subject *s) {
    char line[TEXT];
    FILE *file = fopen(s->output, "r");
    while (file && fgets(line, sizeof line, file)) (void)fprintf(stderr, "    %s", line);
    if (file) (void)fclose(file);
}

/* Runs it, for at most `life_ns`; whether it came to its end. */
static bool run(const subject *s, bool resume, uint64_t life_ns) {
    uint64_t began = now_ns();
    int status = 0;
    pid_t pid = fork(), ended = 0;
    if (pid < 0) stop("fork", strerror(errno));
    if (pid == 0) become(s, resume);
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 && now_ns() - began < life_ns) sleep_ns(500000);
    if (ended == 0) {
        (void)kill(pid, SIGKILL);
        if (waitpid(pid, &status, 0) != pid) stop("waitpid", strerror(errno));
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    show_output(s);
    stop(s->argument[0], "it did not end well");
    return false;
}

/* Everything in two files but the checksum. */
static bool same_files(const mmrec_safetensors *a, const mmrec_safetensors *b) {
    size_t count = mmrec_safetensors_count(a), texts = mmrec_safetensors_metadata_count(a);
    bool same = count == mmrec_safetensors_count(b) && texts == mmrec_safetensors_metadata_count(b);
    for (size_t i = 0; i < count; i++) {
        const mmrec_safetensors_tensor *x = mmrec_safetensors_at(a, i), *y = mmrec_safetensors_find(b, x->name);
        if (y && x->dtype == y->dtype && x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0) continue;
        (void)printf("  \"%s\" differs\n", x->name);
        same = false;
    }
    for (size_t i = 0; i < texts; i++) {
        const mmrec_safetensors_entry *x = mmrec_safetensors_metadata_at(a, i);
        const char *y = mmrec_safetensors_metadata(b, x->key);
        if (strcmp(x->key, "checksum") == 0 || (y && strcmp(x->value, y) == 0)) continue;
        (void)printf("  \"%s\" is \"%s\" and \"%s\"\n", x->key, x->value, y ? y : "none");
        same = false;
    }
    return same;
}

static mmrec_safetensors *open_step(mmrec_allocator *a, const char *folder, int64_t step) {
    char path[2 * TEXT];
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_safetensors *file = NULL;
    (void)snprintf(path, sizeof path, "%s/step-%012lld.safetensors", folder, (long long)step);
    if (mmrec_safetensors_open(&io, a, path, MMREC_CHECKPOINT_MOST_BYTES, &file, &error) == MMREC_OK) return file;
    stop(path, error.message);
    return NULL;
}

static int64_t step_of(const char *folder, tally *t) {
    mmrec_allocator a = {0};
    found f = look(&a, folder);
    t->corrupt += f.invalid > 0;
    mmrec_checkpoint_destroy(&f.checkpoint);
    return f.step;
}

/* The killed run has ended at last: it must have left what the undisturbed one did. */
static void compare(const subject *s, const char *whole, tally *t) {
    mmrec_allocator a = {0};
    int64_t wanted = step_of(whole, t), got = step_of(s->checkpoints, t);
    if (wanted != got || got < 0) {
        (void)printf("  its last step is %lld, wanted %lld\n", (long long)got, (long long)wanted);
        t->different++;
        return;
    }
    mmrec_safetensors *x = open_step(&a, whole, wanted), *y = open_step(&a, s->checkpoints, got);
    t->different += !same_files(x, y);
    mmrec_safetensors_destroy(&x);
    mmrec_safetensors_destroy(&y);
}

static bool kill_program(long kills, subject *s) {
    tally t = {0};
    char whole[TEXT];
    uint64_t began = now_ns(), number = 0;
    long ends = 0;
    fresh(s->folder);
    (void)snprintf(whole, sizeof whole, "%s/whole", s->folder);
    (void)snprintf(s->output, sizeof s->output, "%s/output.txt", s->folder);
    (void)snprintf(s->checkpoints, sizeof s->checkpoints, "%s", whole);
    if (!run(s, false, UINT64_MAX)) stop(s->argument[0], "it was killed by somebody else");
    uint64_t length = now_ns() - began;
    (void)snprintf(s->checkpoints, sizeof s->checkpoints, "%s/killed", s->folder);
    for (int64_t step = -1; t.kills < kills || step >= 0;) {
        uint64_t life = t.kills < kills ? random_ns(number++, length) : UINT64_MAX;
        bool ended = run(s, step >= 0, life);
        int64_t now = step_of(s->checkpoints, &t);
        t.kills += !ended;
        t.saves += now > step;
        t.missing += now < 0 && step >= 0;
        t.older += now >= 0 && now < step;
        step = ended ? -1 : now;
        if (!ended && (step >= 0 || t.kills < kills)) continue;
        if (ended) compare(s, whole, &t);
        ends += ended;
        fresh(s->checkpoints);
        step = -1;
        if (t.kills >= kills) break;
    }
    (void)printf("%s: an undisturbed run takes %.2f s; %ld killed ones came to their end\n", s->argument[0],
                 (double)length * 1e-9, ends);
    if (ends == 0) stop(s->argument[0], "no killed run came to its end");
    return report(s->argument[0], &t, began) > 0;
}

int main(int argc, char **argv) {
    long kills = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
    uint64_t began = now_ns();
    bool in_place = argc == 4 && strcmp(argv[1], "in-place") == 0;
    if (kills > 0 && argc == 4 && (in_place || strcmp(argv[1], "writer") == 0)) {
        tally t = kill_writer(kills, folder_named(argv[3]), in_place);
        return (report(argv[1], &t, began) > 0) != in_place;
    }
    if (kills > 0 && argc > 4 && argc - 4 <= MOST_ARGUMENTS && strcmp(argv[1], "train") == 0) {
        subject s = {.argument = argv + 4, .count = argc - 4, .folder = argv[3]};
        return kill_program(kills, &s);
    }
    stop("usage", "crash_kill writer|in-place KILLS FOLDER | train KILLS FOLDER PROGRAM ARGUMENT...");
    return 2;
}
