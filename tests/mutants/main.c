/* mutants --sources FOLDER --lists FOLDER --work FOLDER [--objects FOLDER] [--prelude HEADER] [--least N]
 *         [--share I/N] [--name NAME] [--jobs N] -- JUDGE WORDS... -- COMPILER FLAGS...
 *
 * --share I/N   judges every N-th mutant, from the I-th on, and their files unchanged
 *               ($MMREC_MUTANTS_SHARE and $MMREC_MUTANTS_NAME go before the options)
 * --least N     so many mutants a list must have, unless it calls its file trivial
 *
 * Exit 0: of each list at least 95 % of those judged are as the list has it, and of all mutants at most 5 % are marked
 * as survivors. 1: not so. 2: usage. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mutants.h"

enum { LEAST_TRIVIAL = 3, PERCENT = 95, MOST_JOBS = 64 };

typedef struct job {
    pid_t process;
    mutant *mutant;
} job;

static void collect(job *running, int *busy) {
    int status;
    pid_t done = wait(&status);
    for (int i = 0; i < *busy; i++) {
        if (running[i].process != done) continue;
        running[i].mutant->verdict = WIFEXITED(status) ? WEXITSTATUS(status) : BROKEN;
        running[i] = running[--*busy];
        return;
    }
}

/* Marks what is not of this share. The unchanged file is, wherever one of its mutants is. */
static void choose(const settings *s, mutant_list *lists, int count) {
    int mutants = 0;
    for (int l = 0; l < count; l++) {
        int *unchanged = &lists[l].mutant[0].verdict;
        *unchanged = SPARED;
        for (int n = 1; n < lists[l].count; n++) {
            bool chosen = mutants++ % s->shares == s->share;
            lists[l].mutant[n].verdict = chosen ? BROKEN : SPARED;
            if (chosen) *unchanged = BROKEN;
        }
    }
}

static void judge_all(const settings *s, mutant_list *lists, int count) {
    job running[MOST_JOBS];
    int busy = 0;
    for (int l = 0; l < count; l++) {
        for (int n = 0; n < lists[l].count; n++) {
            mutant *m = &lists[l].mutant[n];
            if (m->verdict == SPARED) continue;
            if (busy == s->jobs) collect(running, &busy);
            fflush(stdout);
            pid_t child = fork();
            if (child == 0) _exit(judge(s, &lists[l], n));
            if (child > 0) running[busy++] = (job){child, m};
        }
    }
    while (busy) collect(running, &busy);
}

typedef struct tally {
    int listed, judged, caught, survivors;
} tally;

/* One line a list, and one for each mutant that is not as the list has it. */
static bool report(const settings *s, const mutant_list *list, tally *all) {
    tally t = {.listed = list->count - 1};
    int wrong = 0;
    bool broken = false;
    for (int n = 1; n < list->count; n++) {
        const mutant *m = &list->mutant[n];
        t.judged += m->verdict != SPARED;
        t.caught += m->verdict == CAUGHT;
        t.survivors += m->survives;
        if (m->verdict == SPARED || m->verdict == (m->survives ? SURVIVED : CAUGHT)) continue;
        wrong++;
        broken = broken || m->verdict == BROKEN;
        if (m->verdict == SURVIVED) printf("  survived in %s: %s => %s (%s)\n", m->file, m->old, m->new, m->what);
        if (m->verdict == CAUGHT) printf("  caught in %s, unlike the list says: %s => %s\n", m->file, m->old, m->new);
    }
    bool control = list->mutant[0].verdict == (t.judged ? SURVIVED : SPARED);
    bool enough = t.listed >= (list->trivial ? LEAST_TRIVIAL : s->least);
    bool good = control && enough && !broken && 100 * (t.judged - wrong) >= PERCENT * t.judged;
    printf("%-17s %2d of %2d caught%s%s  %s\n", list->name, t.caught, t.judged,
           control ? "" : ", the unchanged file fails", enough ? "" : ", too few mutants", good ? "ok" : "FAILED");
    all->listed += t.listed;
    all->judged += t.judged;
    all->caught += t.caught;
    all->survivors += t.survivors;
    return good;
}

/* ---- options ---- */

static bool read_share(settings *s, const char *text) {
    return sscanf(text, "%d/%d", &s->share, &s->shares) == 2 && s->share-- >= 1 && s->share < s->shares;
}

static bool read_option(settings *s, const char *name, const char *value) {
    if (strcmp(name, "--sources") == 0)
        s->sources = value;
    else if (strcmp(name, "--lists") == 0)
        s->lists = value;
    else if (strcmp(name, "--work") == 0)
        s->work = value;
    else if (strcmp(name, "--objects") == 0)
        s->objects = value;
    else if (strcmp(name, "--prelude") == 0)
        s->prelude = value;
    else if (strcmp(name, "--name") == 0)
        s->only = value;
    else if (strcmp(name, "--jobs") == 0)
        s->jobs = atoi(value);
    else if (strcmp(name, "--least") == 0)
        s->least = atoi(value);
    else
        return strcmp(name, "--share") == 0 && read_share(s, value);
    return true;
}

/* Words up to the next "--". */
static int read_words(int argc, char **argv, int i, char **words) {
    int count = 0;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (count + 1 < MAX_WORDS) words[count++] = argv[i];
    }
    return i + 1;
}

static bool read_settings(int argc, char **argv, settings *s) {
    int i = 1;
    for (; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
        if (!read_option(s, argv[i], argv[i + 1])) return false;
    }
    i = read_words(argc, argv, i + 1, s->judge);
    read_words(argc, argv, i, s->compiler);
    const char *share = getenv("MMREC_MUTANTS_SHARE"), *only = getenv("MMREC_MUTANTS_NAME");
    if ((share && !read_share(s, share)) || (only && !read_option(s, "--name", only))) return false;
    return s->sources && s->lists && s->work && s->judge[0] && s->compiler[0] && s->jobs >= 1 && s->jobs <= MOST_JOBS;
}

int main(int argc, char **argv) {
    static mutant_list lists[MAX_LISTS];
    static settings s = {.jobs = 2, .least = 1, .shares = 1};
    if (!read_settings(argc, argv, &s)) {
        fprintf(stderr,
                "usage: mutants --sources FOLDER --lists FOLDER --work FOLDER [--objects FOLDER] [--prelude HEADER] "
                "[--least N] [--share I/N] [--name NAME] [--jobs N] -- JUDGE WORDS... -- COMPILER FLAGS...\n");
        return 2;
    }
    int count = list_find_all(&s, lists);
    bool good = count > 0 && judge_prepare(&s);
    for (int l = 0; l < count; l++) good = list_read(&s, &lists[l]) && list_fits(&s, &lists[l]) && good;
    choose(&s, lists, count);
    if (good) judge_all(&s, lists, count);
    tally all = {.listed = 0};
    for (int l = 0; l < count; l++) {
        good = report(&s, &lists[l], &all) && good;
        free(lists[l].text);
    }
    printf("%d mutants of %d files, %d judged, %d caught, %d known to survive\n", all.listed, count, all.judged,
           all.caught, all.survivors);
    return good && 100 * (all.listed - all.survivors) >= PERCENT * all.listed ? 0 : 1;
}
