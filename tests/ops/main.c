/* ops_harness --answers FOLDER [--op NAME] [--op-library FILE] [--first]
 *
 * --answers FOLDER   where <op>.txt with known answers lie
 * --op NAME          only this op
 * --op-library FILE  its definitions (f64 and one float set) come from this shared library: how mutants are judged
 * --first            stop at the first failure
 *
 * Exit 0: all good. 1: something failed. 2: usage. */
#include "harness.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_FAILURES = 12 };

bool harness_stop(const harness *h) { return h->stop_at_first && h->failures > 0; }

bool harness_check(harness *h, bool good, const char *format, ...) {
    h->checks++;
    if (good) return true;
    if (++h->failures > SHOWN_FAILURES) return false;
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s [%s] %s: ", h->op, h->sample, h->where);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, h->failures == SHOWN_FAILURES ? " (and no more of this op is shown)\n" : "\n");
    va_end(arguments);
    return false;
}

typedef struct options {
    const char *answers, *op, *library;
    bool first;
} options;

static bool read_options(int argc, char **argv, options *o) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--answers") == 0 && i + 1 < argc)
            o->answers = argv[++i];
        else if (strcmp(argv[i], "--first") == 0)
            o->first = true;
        else if (strcmp(argv[i], "--op") == 0 && i + 1 < argc)
            o->op = argv[++i];
        else if (strcmp(argv[i], "--op-library") == 0 && i + 1 < argc)
            o->library = argv[++i];
        else
            return false;
    }
    return o->answers && (!o->library || o->op);
}

static const char *const float_sets[] = {"base", "avx2", "avx512"};
enum { FLOAT_SETS = 3 };

/* The definitions under test: the table's, or those of a library. */
typedef struct definitions {
    const mmrec_op_def *f64, *f32[FLOAT_SETS], *counting;
} definitions;

static definitions from_table(mmrec_op_id op) {
    definitions d = {.f64 = mmrec_op_get(op, MMREC_VARIANT_F64), .counting = mmrec_op_get_counting(op)};
    for (int i = 0; i < FLOAT_SETS; i++) d.f32[i] = mmrec_op_get_isa(op, float_sets[i]);
    return d;
}

static const mmrec_op_def *find_symbol(void *library, const char *op, const char *variant) {
    char symbol[128];
    snprintf(symbol, sizeof symbol, "mmrec_op_%s_%s", op, variant);
    return dlsym(library, symbol);
}

static bool from_library(const char *file, const char *op, definitions *d) {
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "ops_harness: %s\n", dlerror());
        return false;
    }
    memset(d, 0, sizeof *d);
    d->f64 = find_symbol(library, op, "f64");
    bool any = false;
    for (int i = 0; i < FLOAT_SETS; i++) {
        d->f32[i] = find_symbol(library, op, float_sets[i]);
        any = any || d->f32[i];
    }
    if (d->f64 && any) return true;
    fprintf(stderr, "ops_harness: %s has no f64 or no float definition of %s\n", file, op);
    return false;
}

static void check_float_sets(harness *h, const definitions *d, const sample_values *values, const results *truth,
                             results *r) {
    for (int i = 0; i < FLOAT_SETS; i++) {
        for (int fast = 0; fast <= 1 && d->f32[i] && !harness_stop(h); fast++) {
            bool has_fast = d->f32[i]->fast[MMREC_FORWARD] || d->f32[i]->fast[MMREC_BACKWARD];
            const subject s = {.def = d->f32[i], .name = float_sets[i], .dtype = MMREC_F32, .fast = fast != 0};
            if (!fast || has_fast) check_subject(h, &s, values, truth, r);
        }
    }
}

static void check_sample(harness *h, const definitions *d, int index) {
    const subject reference = {.def = d->f64, .name = "f64", .dtype = MMREC_F64};
    mmrec_op_sizes sizes;
    mmrec_error error = {0};
    sample_values values = {0};
    results truth = {0}, r = {0};
    h->sample = d->f64->samples[index];
    if (mmrec_op_from_text(d->f64, h->sample, 1, &sizes, &error) != MMREC_OK) return; /* check_definition said so */
    bool good = sample_values_create(h, d->f64, &sizes, index, &values) && results_create(h, &sizes, &truth) &&
                results_create(h, &sizes, &r);
    if (good) check_subject(h, &reference, &values, NULL, &truth);
    if (good && !harness_stop(h)) check_float_sets(h, d, &values, &truth, &r);
    if (good && !harness_stop(h)) check_numeric(h, &reference, &values, &truth);
    if (good && d->counting && !harness_stop(h)) check_count(h, d->f64, d->counting, &values);
    results_destroy(h, &r);
    results_destroy(h, &truth);
    sample_values_destroy(h, &values);
}

/* Adds the number of checks to `*checks`. */
static bool check_op(mmrec_allocator *allocator, const char *name, const definitions *d, const options *o,
                     long *checks) {
    const subject reference = {.def = d->f64, .name = "f64", .dtype = MMREC_F64};
    harness h = {.allocator = allocator, .op = name, .sample = "-", .stop_at_first = o->first};
    int samples = 0;
    check_definition(&h, d->f64);
    check_answers(&h, &reference, o->answers);
    for (; d->f64->samples[samples] && !harness_stop(&h); samples++) check_sample(&h, d, samples);
    printf("%-17s %2d samples %7d checks  numeric %.1e  output %.1e (%.1e allowed)  gradient %.1e (%.1e)  %s\n", name,
           samples, h.checks, h.numeric, h.output, d->f64->tolerance.output, h.gradient, d->f64->tolerance.gradient,
           h.failures ? "FAILED" : "ok");
    fflush(stdout);
    *checks += h.checks;
    return h.failures == 0;
}

static int check_table(mmrec_allocator *allocator, const options *o) {
    int failed = 0, ops = 0;
    long checks = 0;
    for (int op = MMREC_OP_NONE + 1; op < MMREC_OPS; op++) {
        definitions d = from_table((mmrec_op_id)op);
        if (o->op && strcmp(o->op, d.f64->name) != 0) continue;
        if (o->library && !from_library(o->library, o->op, &d)) return 2;
        if (!check_op(allocator, d.f64->name, &d, o, &checks)) failed++;
        ops++;
    }
    printf("%d ops, %ld checks, %d ops failed\n", ops, checks, failed);
    return failed ? 1 : 0;
}

int main(int argc, char **argv) {
    options o = {0};
    if (!read_options(argc, argv, &o) || (o.op && mmrec_op_find(o.op) == MMREC_OP_NONE)) {
        fprintf(stderr, "usage: ops_harness --answers FOLDER [--op NAME [--op-library FILE]] [--first]\n");
        return 2;
    }
    mmrec_allocator allocator = {0};
    int code = check_table(&allocator, &o);
    if (allocator.total.live_bytes) {
        fprintf(stderr, "ops_harness: %zu bytes were not given back\n", allocator.total.live_bytes);
        return 1;
    }
    return code;
}
