/* Fails the k-th allocation or file operation of a whole program, for every k until it runs clean, and looks at what
 * the user would see: a known exit code, one line of words, the old output file untouched, no temporary file left.
 *
 * usage: loop FAULTS STEP OUTPUT COMMAND [ARG ...]
 *   FAULTS  "alloc:%,alloc:%+,io:%:ENOSPC" ...: one after the other, % replaced by k
 *   STEP    k advances by this much after the first 40 (1 tests every k)
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

static void child(char **command, const char *fault, int errors) {
    int null = open("/dev/null", O_WRONLY);
    if (null < 0 || dup2(null, 1) < 0 || dup2(errors, 2) < 0) _exit(126);
    setenv("MMREC_FAULT", fault, 1);
    execv(command[0], command);
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
    for (size_t i = 0; i < used; i++) o.lines += o.text[i] == '\n';
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

/* 1 when this run breaks a promise. */
static int judge(const char *fault, const outcome *o, const char *output) {
    if (judge_file(fault, o, output)) return 1;
    if (o->exit_code == 0) return 0;
    if (o->exit_code != 1 && o->exit_code != 2) return complain(fault, "exit code is not 0, 1 or 2", o);
    if (o->lines < 1 || !strstr(o->text, ": ")) return complain(fault, "no message", o);
    if (o->exit_code == 2 && o->lines != 1) return complain(fault, "the message is not one line", o);
    return 0;
}

static void fault_text(const char *form, long k, char *text, size_t size) {
    const char *hole = strchr(form, '%');
    snprintf(text, size, "%.*s%ld%s", hole ? (int)(hole - form) : 0, form, k, hole ? hole + 1 : "");
}

/* All k of one form; returns the number of broken promises. */
static long walk(const char *form, long step, const char *output, char **command, long *runs, long *refused) {
    /* Interrupted reads and writes are made again; an interrupted fsync or rename is a failed save like any other. So
     * for EINTR k just runs far enough, and no number of failures is right or wrong. */
    bool interruption = strstr(form, "EINTR") != NULL;
    long failures = 0, ended = 0, clean = 0;
    /* A single failure may be survived; three clean runs in a row mean that k has passed the end. */
    for (long k = 1; (interruption ? k <= 40 : clean < 3) && failures < 5; k += k < 40 || clean ? 1 : step) {
        char fault[128];
        fault_text(form, k, fault, sizeof fault);
        write_old(output);
        outcome o = run(command, fault);
        failures += judge(fault, &o, output);
        clean = o.exit_code == 0 ? clean + 1 : 0;
        ended += o.exit_code != 0;
        ++*runs;
    }
    if (!interruption && ended == 0) {
        printf("%s: no run failed, so the fault never came\n", form);
        failures++;
    }
    *refused += ended;
    return failures;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    long step = strtol(argv[2], NULL, 10), runs = 0, refused = 0, failures = 0;
    for (char *form = strtok(argv[1], ","); form; form = strtok(NULL, ",")) {
        failures += walk(form, step, argv[3], argv + 4, &runs, &refused);
    }
    printf("%ld runs, %ld ended with a message, %ld broken promises\n", runs, refused, failures);
    return failures > 0 || runs == 0;
}
