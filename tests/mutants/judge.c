/* One mutant: compile, link, run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mutants.h"

enum { CPU_SECONDS = 60, WALL_SECONDS = 300 };

enum { MAX_VARIABLES = 8 };

/* A command under construction: words, variables that it runs with, and room for those that are made. */
typedef struct command {
    char *word[2 * MAX_WORDS], *variable[MAX_VARIABLES], text[4 * PATH_BYTES];
    int count, variables;
} command;

static void add(command *c, const char *word) {
    c->word[c->count++] = (char *)(size_t)word;
    c->word[c->count] = NULL;
}

static void add_all(command *c, char *const *words) {
    for (; *words; words++) add(c, *words);
}

/* Its exit code, or 128 + signal. */
static int run_program(const command *c, bool quiet) {
    pid_t child = fork();
    if (child < 0) return -1;
    if (child == 0) {
        struct rlimit seconds = {CPU_SECONDS, CPU_SECONDS}, none = {0, 0};
        setrlimit(RLIMIT_CPU, &seconds); /* a loop that never ends is caught as well, */
        alarm(WALL_SECONDS);             /* and a heap so broken that its lock is never given back */
        setrlimit(RLIMIT_CORE, &none);
        for (int i = 0; i < c->variables; i++) putenv(c->variable[i]);
        if (quiet && (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))) _exit(127);
        execvp(c->word[0], c->word);
        _exit(127);
    }
    int status;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- building ---- */

static bool compile(const settings *s, const char *source, const char *object, const char *const *more) {
    command c = {.count = 0};
    add_all(&c, s->compiler);
    for (; *more; more++) add(&c, *more);
    add(&c, "-c");
    add(&c, source);
    add(&c, "-o");
    add(&c, object);
    return run_program(&c, false) == 0;
}

bool judge_prepare(const settings *s) {
    static const char *const header[] = {"-x", "c++-header", NULL};
    char compiled[PATH_BYTES];
    mkdir(s->work, 0777);
    snprintf(compiled, sizeof compiled, "%s/prelude.h.gch", s->work);
    return !s->prelude || compile(s, s->prelude, compiled, header);
}

/* Double, and the floats of the best instruction set here. */
static bool build_op(const settings *s, const mutant_list *list, const char *folder, const char *library) {
    static const char *const reference[] = {"-DMMREC_REAL_F64=1", "-ffp-contract=off", NULL};
    static const char *const avx2[] = {"-DMMREC_REAL_F32=1", "-DMMREC_ISA_NAME=avx2", "-march=x86-64-v3", NULL};
    static const char *const base[] = {"-DMMREC_REAL_F32=1", "-DMMREC_ISA_NAME=base", NULL};
    char source[PATH_BYTES], f64[PATH_BYTES], f32[PATH_BYTES];
    snprintf(source, sizeof source, "%s/%s.c", folder, list->name);
    snprintf(f64, sizeof f64, "%s/f64.o", folder);
    snprintf(f32, sizeof f32, "%s/f32.o", folder);
    __builtin_cpu_init();
    const char *const *set = __builtin_cpu_supports("x86-64-v3") ? avx2 : base;
    if (!compile(s, source, f64, reference) || !compile(s, source, f32, set)) return false;
    command c = {.word = {s->compiler[0], (char *)(size_t) "-shared", f64, f32}, .count = 4};
    add(&c, "-o");
    add(&c, library);
    return run_program(&c, false) == 0;
}

/* The objects and flags to link with, without the object that is replaced: it must be among them once. */
static bool write_rest(const settings *s, const mutant_list *list, const char *path) {
    char from[PATH_BYTES], object[80], *text;
    snprintf(from, sizeof from, "%s/%s.rsp", s->objects, list->objects);
    snprintf(object, sizeof object, "/%s.cu.o", list->name);
    text = list_read_text(from);
    FILE *file = text ? fopen(path, "w") : NULL;
    int replaced = 0;
    char *rest = text;
    for (char *line = file ? strsep(&rest, "\n") : NULL; line; line = strsep(&rest, "\n")) {
        size_t length = strlen(line), tail = strlen(object);
        if (length >= tail && strcmp(line + length - tail, object) == 0)
            replaced++;
        else
            fprintf(file, "%s\n", line);
    }
    free(text);
    bool written = file && fclose(file) == 0;
    return (written && replaced == 1) || list_complain(list, from, "does not name the object once");
}

static bool build_kernel(const settings *s, const mutant_list *list, const char *folder, const char *library) {
    char source[PATH_BYTES], object[PATH_BYTES], rest[PATH_BYTES], prelude[PATH_BYTES];
    const char *const more[] = {"-include", prelude, NULL};
    snprintf(source, sizeof source, "%s/%s.cu", folder, list->name);
    snprintf(object, sizeof object, "%s/kernel.o", folder);
    snprintf(rest, sizeof rest, "@%s/rest.rsp", folder);
    snprintf(prelude, sizeof prelude, "%s/prelude.h", s->work);
    if (!write_rest(s, list, rest + 1) || !compile(s, source, object, more + (s->prelude ? 0 : 2))) return false;
    command c = {.word = {s->compiler[0], object, rest}, .count = 3};
    add(&c, "-o");
    add(&c, library);
    return run_program(&c, false) == 0;
}

/* ---- judging ---- */

static const char *replaced(const mutant_list *list, const char *library, const char *word) {
    if (strcmp(word, "{name}") == 0) return list->name;
    return strcmp(word, "{library}") == 0 ? library : word;
}

/* The next word of `*rest`, up to a space or, from a quote on, to the next quote; NULL at the end. */
static char *next_word(char **rest) {
    while (*rest && **rest == ' ') ++*rest;
    if (!*rest || !**rest) return NULL;
    if (**rest != '\'') return strsep(rest, " ");
    ++*rest;
    return strsep(rest, "'");
}

/* Words of a list's own command: variables come first, programs lie where that of the usual command does. */
static void split(command *c, const settings *s, const mutant_list *list, const char *library, const char *run) {
    char *rest = c->text, *path = c->text + 2 * PATH_BYTES;
    snprintf(c->text, PATH_BYTES, "%s", run);
    for (char *word = next_word(&rest); word && c->count < MAX_WORDS; word = next_word(&rest)) {
        if (c->count == 0 && strchr(word, '=') && c->variables < MAX_VARIABLES) {
            c->variable[c->variables++] = word;
        } else if (c->count == 0 && word[0] != '{') {
            const char *slash = strrchr(s->judge[0], '/');
            int length = slash ? (int)(slash + 1 - s->judge[0]) : 0;
            snprintf(path, PATH_BYTES, "%.*s%s", length, s->judge[0], word);
            add(c, path);
        } else {
            add(c, replaced(list, library, word));
        }
    }
}

static int judge_by(const settings *s, const mutant_list *list, const char *library, const char *run) {
    command c = {.count = 0};
    if (run)
        split(&c, s, list, library, run);
    else
        for (char *const *word = s->judge; *word; word++) add(&c, replaced(list, library, *word));
    int code = c.count ? run_program(&c, true) : 2;
    if (code == 0) return SURVIVED;
    return code == 1 || code > 128 ? CAUGHT : BROKEN;
}

/* Whether the command of mutant `number` is to be tried on the unchanged file: the first of this share that has it. */
static bool to_be_tried(const mutant_list *list, int number) {
    const mutant *m = &list->mutant[number];
    for (int n = 1; n < number; n++) {
        if (list->mutant[n].verdict != SPARED && list->mutant[n].run == m->run) return false;
    }
    return m->verdict != SPARED;
}

int judge(const settings *s, const mutant_list *list, int number) {
    char folder[PATH_BYTES / 2], library[PATH_BYTES];
    snprintf(folder, sizeof folder, "%s/%s-%d", s->work, list->name, number);
    snprintf(library, sizeof library, "%s/changed.so", folder);
    if (!list_apply(s, list, &list->mutant[number], folder)) return BROKEN;
    if (!(s->objects ? build_kernel : build_op)(s, list, folder, library)) {
        list_complain(list, number ? list->mutant[number].old : "(unchanged)", "does not compile");
        return BROKEN;
    }
    setenv("MMREC_CUDA_MODULE", library, 1);
    int verdict = SURVIVED;
    if (number) {
        verdict = judge_by(s, list, library, list->mutant[number].run);
    } else {
        for (int n = 1; n < list->count && verdict == SURVIVED; n++) {
            if (to_be_tried(list, n)) verdict = judge_by(s, list, library, list->mutant[n].run);
        }
    }
    unlink(library); /* 1 MB each, and there are hundreds */
    return verdict;
}
