/* Lists of mutants, and the changed copies of source files. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mutants.h"

bool list_complain(const mutant_list *list, const char *line, const char *why) {
    fprintf(stderr, "%s.txt: %s: %s\n", list->name, why, line);
    return false;
}

char *list_read_text(const char *path) {
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

static const char *extension(const settings *s) { return s->objects ? ".cu" : ".c"; }

/* ---- reading ---- */

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

static bool read_mutant(mutant_list *list, const char *file, const char *run, char *line) {
    char *arrow = strstr(line, " => "), *mark = strstr(line, " ## ");
    if (!arrow || !mark || mark < arrow) return list_complain(list, line, "is not \"old => new ## what\"");
    if (list->count > MAX_MUTANTS) return list_complain(list, line, "is one too many");
    *arrow = *mark = 0;
    mutant *m = &list->mutant[list->count++];
    snprintf(m->file, sizeof m->file, "%s", file);
    m->survives = strncmp(line, "~ ", 2) == 0;
    m->old = unescape(m->survives ? line + 2 : line);
    m->new = unescape(arrow + 4);
    m->what = mark + 4;
    m->run = run;
    return true;
}

/* What stands behind `word` at the start of the line, or NULL. */
static char *after(char *line, const char *word) {
    size_t length = strlen(word);
    if (strncmp(line, word, length) != 0) return NULL;
    return line + length + (line[length] == ' ');
}

bool list_read(const settings *s, mutant_list *list) {
    char path[PATH_BYTES], file[64], *run = NULL, *words;
    snprintf(path, sizeof path, "%s/%s.txt", s->lists, list->name);
    snprintf(file, sizeof file, "%.60s%s", list->name, extension(s));
    list->objects = "module";
    list->mutant[list->count++] = (mutant){.what = "nothing changed"};
    snprintf(list->mutant[0].file, sizeof list->mutant[0].file, "%s", file);
    list->text = list_read_text(path);
    if (!list->text) return list_complain(list, path, "there is no such list");
    char *rest = list->text;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        if (!line[0] || line[0] == '#') continue;
        if ((words = after(line, "@")))
            snprintf(file, sizeof file, "%.60s", words);
        else if ((words = after(line, "run:")))
            run = words[0] ? words : NULL;
        else if ((words = after(line, "objects:")))
            list->objects = words;
        else if (after(line, "trivial:"))
            list->trivial = true;
        else if (!read_mutant(list, file, run, line))
            return false;
    }
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const mutant_list *)a)->name, ((const mutant_list *)b)->name);
}

int list_find_all(const settings *s, mutant_list *lists) {
    int count = 0;
    size_t tail = strlen(extension(s));
    DIR *folder = opendir(s->sources);
    if (!folder) return 0;
    for (struct dirent *entry = readdir(folder); entry && count < MAX_LISTS; entry = readdir(folder)) {
        size_t length = strlen(entry->d_name);
        if (length <= tail || length > 60 || strcmp(entry->d_name + length - tail, extension(s)) != 0) continue;
        snprintf(lists[count].name, sizeof lists[count].name, "%.*s", (int)(length - tail), entry->d_name);
        if (!s->only || strcmp(s->only, lists[count].name) == 0) count++;
    }
    closedir(folder);
    qsort(lists, (size_t)count, sizeof *lists, by_name);
    return count;
}

/* ---- changing ---- */

/* The folder of the mutant shows every source file; the changed one is then written in place of its link. */
static bool link_sources(const settings *s, const char *folder) {
    mkdir(s->work, 0777);
    mkdir(folder, 0777);
    DIR *from = opendir(s->sources);
    if (!from) return false;
    bool good = true;
    for (struct dirent *entry = readdir(from); entry; entry = readdir(from)) {
        char source[PATH_BYTES], target[PATH_BYTES];
        if (!strchr(entry->d_name, '.') || entry->d_name[0] == '.') continue;
        snprintf(source, sizeof source, "%s/%s", s->sources, entry->d_name);
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

/* The text of the mutant's file, to be freed, and the one place where it is changed. */
static char *find_change(const settings *s, const mutant_list *list, const mutant *m, char **at) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", s->sources, m->file);
    char *text = list_read_text(path);
    *at = text ? strstr(text, m->old) : NULL;
    if (*at && !strstr(*at + 1, m->old)) return text;
    list_complain(list, text ? m->old : m->file,
                  !text ? "no such file"
                  : *at ? "occurs more than once"
                        : "does not occur");
    free(text);
    return NULL;
}

bool list_fits(const settings *s, const mutant_list *list) {
    bool good = true;
    for (int n = 1; n < list->count; n++) {
        char *at, *text = find_change(s, list, &list->mutant[n], &at);
        good = good && text;
        free(text);
    }
    return good;
}

bool list_apply(const settings *s, const mutant_list *list, const mutant *m, const char *folder) {
    char path[PATH_BYTES], *at;
    if (!link_sources(s, folder)) return list_complain(list, folder, "cannot be filled");
    if (!m->old) return true;
    char *text = find_change(s, list, m, &at);
    snprintf(path, sizeof path, "%s/%s", folder, m->file);
    bool good = text && write_changed(path, text, at, m);
    free(text);
    return good;
}
