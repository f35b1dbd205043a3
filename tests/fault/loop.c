/* Fails the k-th allocation, file operation or call of the CUDA runtime of a whole program, for every k until it runs
 * clean, and looks at what the user would see: a known exit code, one line of words, the old output file untouched, no
 * temporary file left, everything given back.
 *
 * usage: loop FAULTS FIRST STEP OUTPUT COMMAND [ARG ...]
 *   FAULTS  "alloc:%,alloc:%+,io:%:ENOSPC" ...: one after the other, % replaced by k. "cuda:fail:%:sticky" is for the
 *           runtime on host memory (kernels/fake); it tells how many calls there are, and k goes through them all
 *   FIRST   every k up to here, where a program reads and allocates what all of it stands on
 *   STEP    k advances by this much beyond (1 tests every k)
 *   OUTPUT  the file COMMAND writes; it holds known bytes before each run. "-": COMMAND writes no file
 * Leaks are found when COMMAND is built with LeakSanitizer: its exit code is then none of those allowed. */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char old_content[] = "old content\n";

typedef struct outcome {
    int exit_code; /* -1: killed by a signal */
    char text[4096];
    size_t lines;
} outcome;

static void write_old(const char *path) {
    if (strcmp(path, "-") == 0) return;
    FILE *file = fopen(path, "w");
    if (!file || fputs(old_content, file) < 0 || fclose(file) != 0) {
        perror(path);
        exit(2);
    }
}

typedef enum file_state { MISSING, OLD, WHOLE, TORN } file_state;

/* Every file the programs write is longer than the old content and ends with a line. */
static file_state output_state(const char *path) {
    char text[64] = "";
    FILE *file = fopen(path, "r");
    if (!file) return MISSING;
    size_t size = fread(text, 1, sizeof text - 1, file);
    text[size] = '\0';
    int last = size ? text[size - 1] : 0;
    for (int c; (c = fgetc(file)) != EOF;) last = c;
    fclose(file);
    if (strcmp(text, old_content) == 0) return OLD;
    return size > sizeof old_content && last == '\n' ? WHOLE : TORN;
}

/* Files in the output's folder beside the output itself. */
static int strangers(const char *path) {
    char folder[512];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash) return 0;
    *slash = '\0';
    int count = 0;
    DIR *handle = opendir(folder);
    for (struct dirent *entry; handle && (entry = readdir(handle));) {
        if (entry->d_name[0] == '.' && (entry->d_name[1] == '\0' || strcmp(entry->d_name, "..") == 0)) continue;
        if (strcmp(entry->d_name, slash + 1) != 0) count++;
    }
    if (handle) closedir(handle);
    return count;
}

static const char cuda_prefix[] = "cuda:";
static bool is_cuda(const char *fault) { return strncmp(fault, cuda_prefix, strlen(cuda_prefix)) == 0; }

/* Lines that are not warnings. */
static size_t count_messages(const char *text) {
    static const char warning[] = "mmrec: warning: ";
    size_t lines = 0;
    for (const char *end; (end = strchr(text, '\n')); text = end + 1)
        lines += strncmp(text, warning, strlen(warning)) != 0;
    return lines;
}

static void set_fault(const char *fault) {
    char text[160];
    if (!is_cuda(fault)) {
        setenv("MMREC_FAULT", fault, 1);
        return;
    }
    snprintf(text, sizeof text, "leaks,%s", fault + strlen(cuda_prefix));
    setenv("MMREC_FAKE_CUDA", text, 1);
}

static void child(char **command, const char *fault, int errors) {
    int null = open("/dev/null", O_WRONLY);
    if (null < 0 || dup2(null, 1) < 0 || dup2(errors, 2) < 0) _exit(126);
    set_fault(fault);
    execvp(command[0], command); /* a script is run by "sh" */
    _exit(127);
}

static outcome run(char **command, const char *fault) {
    outcome o = {.exit_code = -1};
    int ends[2];
    if (pipe(ends) != 0) exit(2);
    pid_t pid = fork();
    if (pid == 0) child(command, fault, ends[1]);
    close(ends[1]);
    size_t used = 0;
    for (ssize_t got; (got = read(ends[0], o.text + used, sizeof o.text - 1 - used)) > 0;) used += (size_t)got;
    char rest[1024];
    while (read(ends[0], rest, sizeof rest) > 0) continue; /* a long report must not block the child */
    close(ends[0]);
    int status = 0;
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status)) o.exit_code = WEXITSTATUS(status);
    o.lines = count_messages(o.text);
    return o;
}

static int complain(const char *fault, const char *what, const outcome *o) {
    printf("%s: %s; exit %d, %zu lines: %s\n", fault, what, o->exit_code, o->lines, o->text);
    return 1;
}

/* The file is the old one or a whole new one. Failing later, for another output, does not take the new one back. */
static int judge_file(const char *fault, const outcome *o, const char *output) {
    if (strcmp(output, "-") == 0) return 0;
    file_state state = output_state(output);
    if (strangers(output)) return complain(fault, "a temporary file was left behind", o);
    if (state == MISSING) return complain(fault, "the old output file is gone", o);
    if (state == TORN) return complain(fault, "the output file is torn", o);
    if (o->exit_code == 0 && state != WHOLE) return complain(fault, "success without an output file", o);
    return 0;
}

/* A lost device is one that is not there any more (docs/cuda.md). */
static bool known_code(const char *fault, int code) {
    enum { DONE_BAD = 1, REFUSED = 2, NO_DEVICE = 77 };
    if (is_cuda(fault) && strstr(fault, ":sticky")) return code == NO_DEVICE;
    return code == DONE_BAD || code == REFUSED || (is_cuda(fault) && code == NO_DEVICE);
}

/* 1 when this run breaks a promise. */
static int judge(const char *fault, const outcome *o, const char *output) {
    if (judge_file(fault, o, output)) return 1;
    if (o->exit_code == 0) return 0;
    if (!known_code(fault, o->exit_code)) return complain(fault, "not an exit code for this", o);
    if (o->lines < 1 || !strstr(o->text, ": ")) return complain(fault, "no message", o);
    if (o->exit_code != 1 && o->lines != 1) return complain(fault, "the message is not one line", o);
    return 0;
}

/* Calls of the CUDA runtime in a run without faults, which must give everything back; -1 when it fails. */
static long runtime_calls(char **command) {
    char fault[64] = "cuda:count:/tmp/mmrec-fault-XXXXXX", *path = strchr(fault, '/');
    int file = mkstemp(path);
    if (file < 0) return -1;
    outcome o = run(command, fault);
    char text[64] = "";
    long total = -1;
    if (read(file, text, sizeof text - 1) > 0) sscanf(text, "total %ld", &total);
    close(file);
    unlink(path);
    if (o.exit_code != 0) complain(fault, "the run without a fault does not end well", &o);
    return o.exit_code == 0 ? total : -1;
}

static void fault_text(const char *form, long k, char *text, size_t size) {
    const char *hole = strchr(form, '%');
    snprintf(text, size, "%.*s%ld%s", hole ? (int)(hole - form) : 0, form, k, hole ? hole + 1 : "");
}

/* What is counted while k goes up. */
typedef struct walked {
    long runs, refused, failures;
} walked;

static outcome try_one(const char *form, long k, const char *output, char **command, walked *w) {
    char fault[128];
    fault_text(form, k, fault, sizeof fault);
    write_old(output);
    outcome o = run(command, fault);
    w->failures += judge(fault, &o, output);
    w->refused += o.exit_code != 0;
    w->runs++;
    return o;
}

enum { MAX_FAILURES = 5 };
typedef struct stride {
    long first, step;
} stride;
static long next(long k, stride by) { return k + (k < by.first ? 1 : by.step); }

/* Interrupted reads and writes are made again; an interrupted fsync or rename is a failed save like any other. So for
 * EINTR k just runs far enough, and no number of failures is right or wrong. */
static bool is_interruption(const char *form) { return strstr(form, "EINTR") != NULL; }

static void walk_host(const char *form, stride by, const char *output, char **command, walked *w) {
    bool interruption = is_interruption(form);
    long clean = 0;
    const stride near = {.step = 1};
    /* A single failure may be survived; three clean runs in a row mean that k has passed the end. */
    for (long k = 1; (interruption ? k <= by.first : clean < 3) && w->failures < MAX_FAILURES;
         k = next(k, clean ? near : by)) {
        clean = try_one(form, k, output, command, w).exit_code == 0 ? clean + 1 : 0;
    }
}

static void walk_cuda(const char *form, stride by, const char *output, char **command, walked *w) {
    write_old(output);
    long calls = runtime_calls(command);
    if (calls < 1) w->failures++;
    for (long k = 1; k <= calls && w->failures < MAX_FAILURES; k = next(k, by)) {
        try_one(form, k, output, command, w);
    }
}

/* All k of one form, added to `sum`. */
static void walk(const char *form, stride by, const char *output, char **command, walked *sum) {
    walked w = {0};
    (is_cuda(form) ? walk_cuda : walk_host)(form, by, output, command, &w);
    if (w.refused == 0 && !is_interruption(form)) {
        printf("%s: no run failed, so the fault never came\n", form);
        w.failures++;
    }
    sum->runs += w.runs;
    sum->refused += w.refused;
    sum->failures += w.failures;
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    const stride by = {.first = strtol(argv[2], NULL, 10), .step = strtol(argv[3], NULL, 10)};
    if (by.step < 1) return 2;
    walked sum = {0};
    for (char *form = strtok(argv[1], ","); form; form = strtok(NULL, ",")) walk(form, by, argv[4], argv + 5, &sum);
    printf("%ld runs, %ld ended with a message, %ld broken promises\n", sum.runs, sum.refused, sum.failures);
    return sum.failures > 0 || sum.runs == 0;
}
