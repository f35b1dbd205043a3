/* ops_mutants: does the harness notice when an op is wrong?
 *
 * mutants/<op>.txt lists one small change of host/ops/<op>.c per line:
 *     old text => new text ## what is wrong with it
 * The old text must occur exactly once in the file; \\n in it stands for a new line. "@ FILE.h" makes the lines below
 * it change that header instead. "trivial: reason" excuses an op from the least number of mutants. Lines starting with
 * # are comments. Changes that leave the mathematics as it is (another order of sums, a slower path) are no mutants and
 * are not listed.
 *
 * Every change is applied to a copy, compiled (double and one float set) to a library and given to the harness, which
 * must fail. The unchanged op goes through the same steps and must pass, or nothing would be shown. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    MAX_OPS = 64,
    MAX_MUTANTS = 64,
    MAX_ARGS = 64,
    LEAST_MUTANTS = 10,
    PERCENT = 95,
    CPU_SECONDS = 60,
    WALL_SECONDS = 120
};
enum { SURVIVED, CAUGHT, BROKEN }; /* exit codes of a judge; BROKEN: the list or the compiler is at fault */

typedef struct mutant {
    char file[64], *old, *new, *what;
    int verdict;
} mutant;

typedef struct op_list {
    char name[64], *text;
    mutant mutant[MAX_MUTANTS + 1]; /* number 0 changes nothing */
    int count;
    bool trivial;
} op_list;

typedef struct settings {
    const char *ops, *lists, *harness, *answers, *work, *only;
    int jobs;
    char *compiler[MAX_ARGS];
} settings;

static char *read_text(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        long size = ftell(file);
        rewind(file);
        text = size < 0 ? NULL : calloc((size_t)size + 1, 1);
        if (text && fread(text, 1, (size_t)size, file) != (size_t)size) text[0] = 0;
    }
    fclose(file);
    return text;
}

/* ---- lists ---- */

static bool bad_line(const op_list *op, const char *line, const char *why) {
    fprintf(stderr, "mutants/%s.txt: %s: %s\n", op->name, why, line);
    return false;
}

/* \\n becomes a new line, in place. */
static char *unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from; from++) {
        bool line = from[0] == '\\' && from[1] == 'n';
        *to++ = line ? '\n' : *from;
        from += line;
    }
    *to = 0;
    return text;
}

static bool read_line(op_list *op, const char *file, char *line) {
    char *arrow = strstr(line, " => "), *mark = strstr(line, " ## ");
    if (!arrow || !mark || mark < arrow) return bad_line(op, line, "is not \"old => new ## what\"");
    if (op->count > MAX_MUTANTS) return bad_line(op, line, "is one too many");
    *arrow = *mark = 0;
    mutant *m = &op->mutant[op->count++];
    snprintf(m->file, sizeof m->file, "%s", file);
    m->old = unescape(line);
    m->new = unescape(arrow + 4);
    m->what = mark + 4;
    return true;
}

static bool read_list(const settings *s, op_list *op) {
    char path[1024], file[64];
    snprintf(path, sizeof path, "%s/%s.txt", s->lists, op->name);
    snprintf(file, sizeof file, "%.60s.c", op->name);
    op->mutant[op->count++] = (mutant){.what = "nothing changed"};
    snprintf(op->mutant[0].file, sizeof op->mutant[0].file, "%s", file);
    op->text = read_text(path);
    if (!op->text) return bad_line(op, path, "the op has no list");
    char *rest = op->text;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        if (!line[0] || line[0] == '#') continue;
        if (line[0] == '@')
            snprintf(file, sizeof file, "%.60s", line + 2);
        else if (strncmp(line, "trivial: ", 9) == 0)
            op->trivial = true;
        else if (!read_line(op, file, line))
            return false;
    }
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const op_list *)a)->name, ((const op_list *)b)->name);
}

/* Every C file of the folder is an op. */
static int find_ops(const settings *s, op_list *ops) {
    int count = 0;
    DIR *folder = opendir(s->ops);
    if (!folder) return 0;
    for (struct dirent *entry = readdir(folder); entry && count < MAX_OPS; entry = readdir(folder)) {
        size_t length = strlen(entry->d_name);
        if (length < 3 || length > 60 || strcmp(entry->d_name + length - 2, ".c") != 0) continue;
        snprintf(ops[count].name, sizeof ops[count].name, "%.*s", (int)length - 2, entry->d_name);
        if (!s->only || strcmp(s->only, ops[count].name) == 0) count++;
    }
    closedir(folder);
    qsort(ops, (size_t)count, sizeof *ops, by_name);
    return count;
}

/* ---- one mutant ---- */

/* Runs a program, quiet; its exit code, or 128 + signal. */
static int run_program(char *const *arguments, bool quiet) {
    pid_t child = fork();
    if (child < 0) return -1;
    if (child == 0) {
        struct rlimit seconds = {CPU_SECONDS, CPU_SECONDS}, none = {0, 0};
        setrlimit(RLIMIT_CPU, &seconds); /* a loop that never ends is caught as well, */
        alarm(WALL_SECONDS);             /* and a heap so broken that its lock is never given back */
        setrlimit(RLIMIT_CORE, &none);
        if (quiet && (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))) _exit(127);
        execvp(arguments[0], arguments);
        _exit(127);
    }
    int status;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The folder of the mutant shows every file of host/ops; the changed one is then written in place of its link. */
static bool link_sources(const settings *s, const char *folder) {
    mkdir(s->work, 0777);
    mkdir(folder, 0777);
    DIR *from = opendir(s->ops);
    if (!from) return false;
    bool good = true;
    for (struct dirent *entry = readdir(from); entry; entry = readdir(from)) {
        char source[1024], target[1024];
        if (!strchr(entry->d_name, '.') || entry->d_name[0] == '.') continue;
        snprintf(source, sizeof source, "%s/%s", s->ops, entry->d_name);
        snprintf(target, sizeof target, "%s/%s", folder, entry->d_name);
        unlink(target);
        good = good && symlink(source, target) == 0;
    }
    closedir(from);
    return good;
}

static bool write_changed(const char *path, const char *text, const char *at, const mutant *m) {
    unlink(path);
    FILE *file = fopen(path, "wb");
    if (!file) return false;
    fprintf(file, "%.*s%s%s", (int)(at - text), text, m->new, at + strlen(m->old));
    return fclose(file) == 0;
}

/* Applies the change to the copy in `folder`; false unless the old text is there exactly once. */
static bool apply(const settings *s, const char *folder, const op_list *op, const mutant *m) {
    if (!m->old) return true;
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", s->ops, m->file);
    char *text = read_text(path);
    if (!text) return bad_line(op, m->file, "no such file");
    char *first = strstr(text, m->old);
    bool good = first && !strstr(first + 1, m->old);
    if (!good) bad_line(op, m->old, first ? "occurs more than once" : "does not occur");
    snprintf(path, sizeof path, "%s/%s", folder, m->file);
    good = good && write_changed(path, text, first, m);
    free(text);
    return good;
}

static bool compile(const settings *s, const char *source, const char *object, const char *const *extra) {
    char *arguments[2 * MAX_ARGS];
    int count = 0;
    while (s->compiler[count]) {
        arguments[count] = s->compiler[count];
        count++;
    }
    for (; *extra; extra++) arguments[count++] = (char *)(size_t)*extra;
    arguments[count++] = (char *)(size_t) "-c";
    arguments[count++] = (char *)(size_t)source;
    arguments[count++] = (char *)(size_t) "-o";
    arguments[count++] = (char *)(size_t)object;
    arguments[count] = NULL;
    return run_program(arguments, false) == 0;
}

static bool build(const settings *s, const char *folder, const op_list *op, char *library, size_t size) {
    static const char *const reference[] = {"-DMMREC_REAL_F64=1", "-ffp-contract=off", NULL};
    static const char *const avx2[] = {"-DMMREC_REAL_F32=1", "-DMMREC_ISA_NAME=avx2", "-march=x86-64-v3", NULL};
    static const char *const base[] = {"-DMMREC_REAL_F32=1", "-DMMREC_ISA_NAME=base", NULL};
    char source[1024], f64[1024], f32[1024];
    snprintf(source, sizeof source, "%s/%s.c", folder, op->name);
    snprintf(f64, sizeof f64, "%s/f64.o", folder);
    snprintf(f32, sizeof f32, "%s/f32.o", folder);
    snprintf(library, size, "%s/op.so", folder);
    __builtin_cpu_init();
    const char *const *set = __builtin_cpu_supports("x86-64-v3") ? avx2 : base;
    if (!compile(s, source, f64, reference) || !compile(s, source, f32, set)) return false;
    char *link[] = {s->compiler[0], (char *)(size_t) "-shared", f64, f32, (char *)(size_t) "-o", library, NULL};
    return run_program(link, false) == 0;
}

static int judge(const settings *s, const op_list *op, int number) {
    char folder[512], library[1024];
    snprintf(folder, sizeof folder, "%s/%s-%d", s->work, op->name, number);
    if (!link_sources(s, folder)) return bad_line(op, folder, "cannot be filled") ? SURVIVED : BROKEN;
    if (!apply(s, folder, op, &op->mutant[number])) return BROKEN;
    if (!build(s, folder, op, library, sizeof library)) {
        bad_line(op, number ? op->mutant[number].old : "(unchanged)", "does not compile");
        return BROKEN;
    }
    char *run[] = {(char *)(size_t)s->harness,
                   (char *)(size_t) "--first",
                   (char *)(size_t) "--answers",
                   (char *)(size_t)s->answers,
                   (char *)(size_t) "--op",
                   (char *)(size_t)op->name,
                   (char *)(size_t) "--op-library",
                   library,
                   NULL};
    int code = run_program(run, true);
    if (code == 0) return SURVIVED;
    return code == 1 || code > 128 ? CAUGHT : BROKEN;
}

/* ---- all of them ---- */

typedef struct job {
    pid_t process;
    op_list *op;
    int number;
} job;

static void collect(job *running, int *busy) {
    int status;
    pid_t done = wait(&status);
    for (int i = 0; i < *busy; i++) {
        if (running[i].process != done) continue;
        running[i].op->mutant[running[i].number].verdict = WIFEXITED(status) ? WEXITSTATUS(status) : BROKEN;
        running[i] = running[--*busy];
        return;
    }
}

static void judge_all(const settings *s, op_list *ops, int count) {
    job running[64];
    int busy = 0;
    for (int o = 0; o < count; o++) {
        for (int n = 0; n < ops[o].count; n++) {
            if (busy == s->jobs) collect(running, &busy);
            fflush(stdout);
            pid_t child = fork();
            if (child == 0) _exit(judge(s, &ops[o], n));
            ops[o].mutant[n].verdict = BROKEN;
            if (child > 0) running[busy++] = (job){child, &ops[o], n};
        }
    }
    while (busy) collect(running, &busy);
}

/* Adds to the counts of all ops. */
static bool report_op(const op_list *op, int *all_caught, int *all) {
    int caught = 0, broken = 0, total = op->count - 1;
    bool control = op->mutant[0].verdict == SURVIVED;
    for (int n = 1; n < op->count; n++) {
        const mutant *m = &op->mutant[n];
        caught += m->verdict == CAUGHT;
        broken += m->verdict == BROKEN;
        if (m->verdict == SURVIVED) printf("  survived in %s: %s => %s (%s)\n", m->file, m->old, m->new, m->what);
    }
    bool enough = op->trivial ? total > 0 : total >= LEAST_MUTANTS;
    bool good = control && enough && !broken && 100 * caught >= PERCENT * total;
    printf("%-17s %2d of %2d caught%s%s%s  %s\n", op->name, caught, total, control ? "" : ", the unchanged op fails",
           enough ? "" : ", too few mutants", broken ? ", some lines are broken" : "", good ? "ok" : "FAILED");
    *all_caught += caught;
    *all += total;
    return good;
}

static bool read_settings(int argc, char **argv, settings *s) {
    int i = 1;
    s->jobs = 2;
    for (; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
        if (strcmp(argv[i], "--ops") == 0)
            s->ops = argv[i + 1];
        else if (strcmp(argv[i], "--lists") == 0)
            s->lists = argv[i + 1];
        else if (strcmp(argv[i], "--harness") == 0)
            s->harness = argv[i + 1];
        else if (strcmp(argv[i], "--answers") == 0)
            s->answers = argv[i + 1];
        else if (strcmp(argv[i], "--work") == 0)
            s->work = argv[i + 1];
        else if (strcmp(argv[i], "--op") == 0)
            s->only = argv[i + 1];
        else if (strcmp(argv[i], "--jobs") == 0)
            s->jobs = atoi(argv[i + 1]);
        else
            return false;
    }
    int count = 0;
    for (i++; i < argc && count + 1 < MAX_ARGS; i++) s->compiler[count++] = argv[i];
    return s->ops && s->lists && s->harness && s->answers && s->work && count && s->jobs >= 1 && s->jobs <= 64;
}

int main(int argc, char **argv) {
    static op_list ops[MAX_OPS];
    settings s = {0};
    if (!read_settings(argc, argv, &s)) {
        fprintf(stderr, "usage: ops_mutants --ops FOLDER --lists FOLDER --harness PROGRAM --answers FOLDER --work "
                        "FOLDER [--op NAME] "
                        "[--jobs N] -- COMPILER FLAGS...\n");
        return 2;
    }
    int count = find_ops(&s, ops);
    bool good = count > 0;
    for (int o = 0; o < count; o++) good = read_list(&s, &ops[o]) && good;
    judge_all(&s, ops, count);
    int caught = 0, total = 0;
    for (int o = 0; o < count; o++) {
        good = report_op(&ops[o], &caught, &total) && good;
        free(ops[o].text);
    }
    printf("%d of %d mutants of %d ops caught\n", caught, total, count);
    return good ? 0 : 1;
}
