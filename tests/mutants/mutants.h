/* mutants: do the tests notice when a source file is wrong?
 *
 * LISTS/<name>.txt names small changes of one source file, one a line:
 *     old text => new text ## what is wrong with it
 * The old text must occur exactly once in the file; \\n in it stands for a new line. Changes that leave the mathematics
 * as it is (another order of sums, a slower path) are no mutants and are not listed. Other lines:
 *     @ FILE.h             the lines below change that file beside the source
 *     run: [VAR=X] WORDS   the lines below are judged by this command; without words: by the usual one again
 *     ~ old => ...         this one survives, and the words behind ## say why
 *     objects: NAME        kernels: what the changed object is linked with, instead of `module`
 *     trivial: reason      3 mutants are enough
 *     # ...                a comment
 *
 * Every change is applied to a copy, compiled to a library and given to the judge, a command of which the words {name}
 * and {library} are replaced; it must exit with 1 or die. The unchanged file goes through the same steps and must pass,
 * or nothing would be shown. Two kinds:
 *     ops      host/ops/<op>.c, compiled in double and for one set of floats: the judge loads the library itself
 *     kernels  kernels/<name>.cu for the emulation, linked with the objects of the rest; $MMREC_CUDA_MODULE names it */
#ifndef MMREC_MUTANTS_H
#define MMREC_MUTANTS_H

#include <stdbool.h>

enum { MAX_LISTS = 64, MAX_MUTANTS = 64, MAX_WORDS = 64, PATH_BYTES = 1024 };
/* Exit codes of a judgement; BROKEN: the list or the compiler is at fault; SPARED: not of this share. */
enum { SURVIVED, CAUGHT, BROKEN, SPARED };

typedef struct mutant {
    char file[64], *old, *new, *what;
    const char *run; /* NULL: the usual command */
    bool survives;
    int verdict;
} mutant;

typedef struct mutant_list {
    char name[64], *text;
    const char *objects;
    mutant mutant[MAX_MUTANTS + 1]; /* number 0 changes nothing */
    int count;
    bool trivial;
} mutant_list;

typedef struct settings {
    const char *sources, *lists, *work, *only;
    const char *objects; /* kernels: the folder of <objects>.rsp, one object or flag of the linker a line; ops: NULL */
    const char *prelude; /* a header without mutants, compiled once; or NULL */
    int jobs, least, share, shares;
    char *judge[MAX_WORDS], *compiler[MAX_WORDS];
} settings;

/* list.c. Each prints what is wrong and returns false. */
bool list_complain(const mutant_list *list, const char *line, const char *why);
char *list_read_text(const char *path);
bool list_read(const settings *s, mutant_list *list);
/* The lists there must be: one for every source file. Their number. */
int list_find_all(const settings *s, mutant_list *lists);
/* Every mutant's text is in its file, once: those of other shares are looked up too. */
bool list_fits(const settings *s, const mutant_list *list);
/* Fills `folder` with the source files, one of them changed. */
bool list_apply(const settings *s, const mutant_list *list, const mutant *m, const char *folder);

/* judge.c: compiles and judges one mutant; number 0: by all commands that the share needs. Its verdict. */
int judge(const settings *s, const mutant_list *list, int number);
bool judge_prepare(const settings *s);

#endif
