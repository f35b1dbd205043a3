/* The double reference against answers worked out elsewhere: answers/<op>.txt, written by answers/make.py.
 *
 * Everything else in this harness holds an op to itself: forward to backward, float to double. A forward function that
 * computes another thing throughout is seen only here. Lines: "sample TEXT", "in NAME numbers", "out NAME numbers", or
 * "none: reason" for an op that is checked elsewhere. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmrec/io.h"

enum { LARGEST_FILE = 1 << 20 };
#define ANSWER_TOLERANCE 1e-12 /* sums of a few dozen numbers of order 1, in another order */

typedef struct answer {
    harness *h;
    const subject *s;
    trial trial;
    sample_values values;
    results got, want;
    unsigned inputs, outputs; /* given by the file */
    int samples;
    bool open, good;
} answer;

static int find_arg(const mmrec_arg *list, const char *name) {
    for (int i = 0; list[i].name; i++) {
        if (strcmp(list[i].name, name) == 0) return i;
    }
    return -1;
}

static void compare(answer *a) {
    const mmrec_op_def *def = a->s->def;
    for (int i = 0; def->out[i].name; i++) {
        if (!((a->outputs >> i) & 1u)) continue;
        mmrec_difference d = mmrec_compare(a->got.out[i], a->want.out[i], mmrec_shape_elements(&a->trial.sizes.out[i]));
        harness_check(a->h, mmrec_difference_within(&d, ANSWER_TOLERANCE, 0),
                      "output %s is not the known answer: element %lld is %.17g, not %.17g", def->out[i].name,
                      (long long)d.worst, a->got.out[i][d.worst], a->want.out[i][d.worst]);
    }
}

/* Runs the sample whose lines have all been read. */
static void finish(answer *a) {
    if (!a->open) return;
    bool complete = a->good && a->inputs == a->trial.sizes.given && a->outputs != 0;
    harness_check(a->h, complete || !a->good, "the answer does not give every input and an output");
    if (complete && trial_forward(a->h, &a->trial, &a->values, &a->got)) compare(a);
    results_destroy(a->h, &a->want);
    results_destroy(a->h, &a->got);
    sample_values_destroy(a->h, &a->values);
    trial_close(a->h, &a->trial);
    a->open = false;
}

static void start(answer *a, const char *sample) {
    finish(a);
    a->samples++;
    a->h->sample = sample;
    a->inputs = a->outputs = 0;
    a->open = true;
    a->good = trial_open(a->h, &a->trial, a->s, 1, 0) &&
              sample_values_create(a->h, a->s->def, &a->trial.sizes, 0, &a->values) &&
              results_create(a->h, &a->trial.sizes, &a->got) && results_create(a->h, &a->trial.sizes, &a->want);
}

/* `count` numbers and nothing after them. */
static bool read_numbers(const char *text, double *to, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        char *end;
        to[i] = strtod(text, &end);
        if (end == text) return false;
        text = end;
    }
    return text[strspn(text, " ")] == 0;
}

static void read_array(answer *a, bool input, char *line) {
    char *numbers = line + strcspn(line, " ");
    if (*numbers) *numbers++ = 0;
    int i = find_arg(input ? a->s->def->in : a->s->def->out, line);
    if (!a->open || !a->good) return;
    double *to = i < 0 ? NULL : input ? a->values.in[i] : a->want.out[i];
    a->good = harness_check(a->h, to != NULL, "the answer names %s, which is not part of the sample", line);
    if (!a->good) return;
    const mmrec_shape *shape = input ? &a->trial.sizes.in[i] : &a->trial.sizes.out[i];
    a->good = harness_check(a->h, read_numbers(numbers, to, mmrec_shape_elements(shape)),
                            "the answer's %s does not have %lld numbers", line, (long long)mmrec_shape_elements(shape));
    if (input)
        a->inputs |= 1u << i;
    else
        a->outputs |= 1u << i;
}

static void read_line(answer *a, char *line) {
    if (strncmp(line, "sample ", 7) == 0)
        start(a, line + 7);
    else if (strncmp(line, "in ", 3) == 0)
        read_array(a, true, line + 3);
    else if (strncmp(line, "out ", 4) == 0)
        read_array(a, false, line + 4);
    else if (strncmp(line, "none: ", 6) == 0)
        a->samples++;
    else
        harness_check(a->h, line[0] == 0, "the answers have a line that says nothing: %s", line);
}

void check_answers(harness *h, const subject *s, const char *folder) {
    char path[1024];
    void *data = NULL;
    size_t size = 0;
    mmrec_io io = {0};
    mmrec_error error = {0};
    answer a = {.h = h, .s = s};
    h->sample = "answers";
    snprintf(h->where, sizeof h->where, "%s, answers", s->name);
    snprintf(path, sizeof path, "%s/%s.txt", folder, h->op);
    mmrec_status status = mmrec_io_read_file(&io, h->allocator, path, LARGEST_FILE, &data, &size, &error);
    if (!harness_check(h, status == MMREC_OK && size > 0, "no known answers: %s", error.message)) return;
    ((char *)data)[size - 1] = 0; /* in place of the last line's end */
    char *rest = data;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) read_line(&a, line);
    finish(&a);
    harness_check(h, a.samples > 0, "no known answers in %s", path);
    h->sample = "-";
    mmrec_alloc(h->allocator, data, size, 0, MMREC_ALLOC_FILE);
}
