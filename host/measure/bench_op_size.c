/* A smaller size of an op, for its check: the text's letters halved while the op still accepts them. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_op_impl.h"

/* About 0.1 s of the plain reference, both passes. */
static const double cheap_work = 1e8;

enum { PARTS = 32 };

typedef struct part {
    char text[32];
    int64_t value; /* of a letter that may still be halved; 0 otherwise */
} part;

typedef struct parts {
    part part[PARTS];
    int count;
} parts;

/* "D=1024" is a letter with a size; "p=0.25" and "-bias" are kept as they are. */
static void split(const char *text, parts *out) {
    out->count = 0;
    while (out->count < PARTS) {
        text += strspn(text, " ");
        size_t length = strcspn(text, " ");
        if (length == 0) return;
        part *p = &out->part[out->count++];
        snprintf(p->text, sizeof p->text, "%.*s", (int)length, text);
        bool letter = isupper((unsigned char)p->text[0]) && p->text[1] == '=';
        p->value = letter ? strtoll(p->text + 2, NULL, 10) : 0;
        text += length;
    }
}

static void join(const parts *p, char *out, size_t size) {
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i < p->count && used < size; i++) {
        int wrote = snprintf(out + used, size - used, "%s%s", i ? " " : "", p->part[i].text);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

static part *largest(parts *p) {
    part *found = NULL;
    for (int i = 0; i < p->count; i++) {
        if (p->part[i].value > 1 && (!found || p->part[i].value > found->value)) found = &p->part[i];
    }
    return found;
}

static double cost_of(const mmrec_op_def *def, const mmrec_op_sizes *sizes) {
    double cost = 0;
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        if (!def->function[pass]) continue;
        mmrec_work work = mmrec_op_work(def, sizes, (mmrec_pass)pass, MMREC_F64);
        cost += work.flops + 10 * work.transcendentals + work.bytes / 8;
    }
    return cost;
}

/* Halves one letter if the op allows it; otherwise leaves it out of later attempts. */
static void halve(const mmrec_op_def *def, parts *p, part *which, mmrec_op_sizes *sizes) {
    char text[PARTS * 32];
    part before = *which;
    mmrec_op_sizes smaller;
    which->value /= 2;
    snprintf(which->text, sizeof which->text, "%c=%" PRId64, before.text[0], which->value);
    join(p, text, sizeof text);
    if (mmrec_op_from_text(def, text, 1, &smaller, NULL) == MMREC_OK) {
        *sizes = smaller;
        return;
    }
    *which = before;
    which->value = 0;
}

mmrec_status op_size_reduce(const mmrec_op_def *def, const char *text, char *out, size_t size, mmrec_error *error) {
    parts p;
    mmrec_op_sizes sizes;
    MMREC_TRY(mmrec_op_from_text(def, text, 1, &sizes, error));
    split(text, &p);
    part *which;
    while (cost_of(def, &sizes) > cheap_work && (which = largest(&p))) halve(def, &p, which, &sizes);
    join(&p, out, size);
    return MMREC_OK;
}
