/* ops_harness --answers FOLDER [--op NAME] [--op-library FILE] [--first] [--no-numeric]
 * ops_harness --backend cuda [--dtype bf16] [--recurrence REGIME] [--rnn cudnn] [--attention cudnn]
 *             [--op NAME [--sample TEXT]] [--most MFLOP] [--hash FILE] [--first]
 *
 * --answers FOLDER   where <op>.txt with known answers lie
 * --backend cuda     only what runs on the device, against the double reference
 * --dtype bf16       what calls store, float32 without it: inputs are numbers of bf16, the same for the reference
 * --recurrence ...   auto (default), cluster, grid, barrier or graph: which kernels run it
 * --rnn cudnn        cuDNN runs lstm and gru: what they save it keeps in its own memory
 * --attention cudnn  cuDNN runs attention where it can
 * --op NAME          only this op
 * --sample TEXT      at this size instead of its samples
 * --most MFLOP       samples that need more on the device, both passes together, are left out by name
 * --hash FILE        a line per op: a number made of every byte the device has written
 * --op-library FILE  its definitions (f64 and one float set) come from this shared library: how mutants are judged
 * --first            stop at the first failure
 * --no-numeric       gradients are not held to differences, most of the time: the reference over and over
 *
 * Exit 0: all good. 1: something failed. 2: usage. */
#include "harness.h"

#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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
    const char *answers, *op, *sample, *library, *backend, *hash;
    double most_mflop;
    mmrec_device_options device;
    bool bf16, first, no_numeric;
} options;

static const char *value_of(int argc, char **argv, int *i, const char *name) {
    if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc) return NULL;
    return argv[++*i];
}

static bool read_regime(const char *name, mmrec_recurrence_regime *out) {
    static const char *const names[MMREC_RECURRENCE_REGIMES] = {"auto", "cluster", "grid", "barrier", "graph"};
    for (int i = 0; i < MMREC_RECURRENCE_REGIMES; i++) {
        *out = (mmrec_recurrence_regime)i;
        if (strcmp(names[i], name) == 0) return true;
    }
    return false;
}

static bool read_options(int argc, char **argv, options *o) {
    o->most_mflop = HUGE_VAL;
    for (int i = 1; i < argc; i++) {
        const char *value;
        if ((value = value_of(argc, argv, &i, "--answers")))
            o->answers = value;
        else if ((value = value_of(argc, argv, &i, "--op")))
            o->op = value;
        else if ((value = value_of(argc, argv, &i, "--sample")))
            o->sample = value;
        else if ((value = value_of(argc, argv, &i, "--op-library")))
            o->library = value;
        else if ((value = value_of(argc, argv, &i, "--backend")))
            o->backend = value;
        else if ((value = value_of(argc, argv, &i, "--most")))
            o->most_mflop = strtod(value, NULL);
        else if ((value = value_of(argc, argv, &i, "--hash")))
            o->hash = value;
        else if ((value = value_of(argc, argv, &i, "--dtype")) && strcmp(value, "bf16") == 0)
            o->bf16 = true;
        else if ((value = value_of(argc, argv, &i, "--rnn")) && strcmp(value, "cudnn") == 0)
            o->device.rnn = MMREC_LIBRARY_CUDNN;
        else if ((value = value_of(argc, argv, &i, "--attention")) && strcmp(value, "cudnn") == 0)
            o->device.attention = MMREC_LIBRARY_CUDNN;
        else if (strcmp(argv[i], "--first") == 0)
            o->first = true;
        else if (strcmp(argv[i], "--no-numeric") == 0)
            o->no_numeric = true;
        else if (!(value = value_of(argc, argv, &i, "--recurrence")) || !read_regime(value, &o->device.recurrence))
            return false;
    }
    if (o->sample && (!o->backend || !o->op)) return false;
    if (o->backend) return !o->answers && !o->no_numeric && !o->library && strcmp(o->backend, "cuda") == 0;
    return o->answers && !o->bf16 && (!o->library || o->op);
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
    if (good && !h->no_numeric && !harness_stop(h)) check_numeric(h, &reference, &values, &truth);
    if (good && d->counting && !harness_stop(h)) check_count(h, d->f64, d->counting, &values);
    results_destroy(h, &r);
    results_destroy(h, &truth);
    sample_values_destroy(h, &values);
}

/* Adds the number of checks to `*checks`. */
static bool check_op(mmrec_allocator *allocator, const char *name, const definitions *d, const options *o,
                     long *checks) {
    const subject reference = {.def = d->f64, .name = "f64", .dtype = MMREC_F64};
    harness h = {
        .allocator = allocator, .op = name, .sample = "-", .stop_at_first = o->first, .no_numeric = o->no_numeric};
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

/* ---- the device ---- */

static bool device_forward(harness *h, const subject *device, const sample_values *values, results *r) {
    trial t;
    bool good = trial_open(h, &t, device, MMREC_ON_DEVICE, 0) && trial_forward(h, &t, values, r);
    trial_close(h, &t);
    return good;
}

/* The reference's backward reads what the device's forward has stored (`stored`): a rounding there is no error of
 * either. */
static bool reference_results(harness *h, const subject *device, const sample_values *values, const results *stored,
                              results *r) {
    const subject s = {.def = mmrec_op_get(device->op, MMREC_VARIANT_F64), .name = "f64", .dtype = MMREC_F64};
    trial t;
    backward_options plain = {0};
    bool good = trial_open(h, &t, &s, 1, 0) && trial_forward(h, &t, values, r);
    if (good && differentiable_inputs(s.def, &t.sizes)) {
        trial_adopt(&t, device, stored);
        good = trial_backward(h, &t, values, plain, r);
    }
    trial_close(h, &t);
    return good;
}

static bool affordable(const mmrec_op_def *def, const mmrec_op_sizes *sizes, const char *sample, const options *o) {
    double flops = mmrec_op_work(def, sizes, MMREC_FORWARD, MMREC_F32).flops;
    if (def->function[MMREC_BACKWARD]) flops += mmrec_op_work(def, sizes, MMREC_BACKWARD, MMREC_F32).flops;
    if (flops <= o->most_mflop * 1e6) return true;
    printf("%s [%s] is left out: %.1f MFLOP\n", def->name, sample, flops * 1e-6);
    return false;
}

static void check_device_sample(harness *h, const subject *device, int index, const options *o) {
    mmrec_op_sizes sizes;
    mmrec_error error = {0};
    sample_values values = {0};
    results truth = {0}, r = {0};
    h->sample = o->sample ? o->sample : device->def->samples[index];
    if (!harness_check(h, mmrec_op_from_text(device->def, h->sample, 1, &sizes, &error) == MMREC_OK, "%s",
                       error.message))
        return;
    if (!affordable(device->def, &sizes, h->sample, o)) return;
    bool good = sample_values_create(h, device->def, &sizes, index, &values) && results_create(h, &sizes, &truth) &&
                results_create(h, &sizes, &r);
    if (good) round_values(device, &sizes, &values);
    good = good && device_forward(h, device, &values, &r) && reference_results(h, device, &values, &r, &truth);
    if (good) check_subject(h, device, &values, &truth, &r);
    results_destroy(h, &r);
    results_destroy(h, &truth);
    sample_values_destroy(h, &values);
}

static bool check_device_op(mmrec_allocator *allocator, const subject *device, const options *o, FILE *hashes) {
    harness h = {.allocator = allocator, .op = device->def->name, .stop_at_first = o->first};
    int samples = 0;
    const int most = o->sample ? 1 : INT_MAX;
    check_types(&h, device);
    for (; samples < most && device->def->samples[samples] && !harness_stop(&h); samples++) {
        check_device_sample(&h, device, samples, o);
    }
    printf("%-17s %2d samples %7d checks  output %.1e (%.1e allowed%s)  gradient %.1e (%.1e)  %s\n", h.op, samples,
           h.checks, h.output, device->def->tolerance.output, o->bf16 ? ", and 2^-8 of what is bf16" : "", h.gradient,
           device->def->tolerance.gradient, h.failures ? "FAILED" : "ok");
    fflush(stdout);
    if (hashes) fprintf(hashes, "%s %016llx\n", h.op, (unsigned long long)h.hash);
    return h.failures == 0;
}

/* cuDNN's attention rounds its weights, and their slopes, to bf16 before it multiplies with them: by up to 2^-8 of each,
 * of values that may be twice the largest result. */
static mmrec_op_def by_cudnn(const mmrec_op_def *def) {
    mmrec_op_def rounded = *def;
    rounded.tolerance.output = rounded.tolerance.gradient = 0x1p-7;
    return rounded;
}

static int check_device(mmrec_allocator *allocator, const options *o) {
    const mmrec_op_def attention = by_cudnn(mmrec_op_get(MMREC_OP_attention, MMREC_VARIANT_F32));
    int failed = 0, ops = 0;
    mmrec_error error = {0};
    subject device = {.name = o->bf16 ? "cuda bf16" : o->backend,
                      .dtype = o->bf16 ? MMREC_BF16 : MMREC_F32,
                      .saves_elsewhere = o->device.rnn == MMREC_LIBRARY_CUDNN};
    mmrec_backend_device_options(&o->device);
    mmrec_status status = mmrec_backend_find(o->backend, &device.backend, &error);
    if (status != MMREC_OK) {
        fprintf(stderr, "ops_harness: %s\n", error.message);
        return mmrec_status_exit(status);
    }
    FILE *hashes = o->hash ? fopen(o->hash, "w") : NULL;
    for (int op = MMREC_OP_NONE + 1; op < MMREC_OPS; op++) {
        device.op = (mmrec_op_id)op;
        device.def = mmrec_op_get(device.op, MMREC_VARIANT_F32);
        if (op == MMREC_OP_attention && o->device.attention == MMREC_LIBRARY_CUDNN) device.def = &attention;
        if (o->op && strcmp(o->op, device.def->name) != 0) continue;
        if (!check_device_op(allocator, &device, o, hashes)) failed++;
        ops++;
    }
    bool written = !o->hash || (hashes && fclose(hashes) == 0);
    if (!written) fprintf(stderr, "ops_harness: cannot write %s\n", o->hash);
    mmrec_backend_close();
    printf("%d ops on %s, %d failed\n", ops, o->backend, failed);
    return failed || !written ? 1 : 0;
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
        fprintf(stderr,
                "usage: ops_harness --answers FOLDER [--op NAME [--op-library FILE]] [--first] [--no-numeric]\n"
                "       ops_harness --backend cuda [--dtype bf16] [--recurrence REGIME] [--rnn cudnn] [--attention "
                "cudnn] [--op NAME [--sample TEXT]] [--most MFLOP] [--hash FILE] [--first]\n");
        return 2;
    }
    mmrec_allocator allocator = {0};
    int code = o.backend ? check_device(&allocator, &o) : check_table(&allocator, &o);
    if (allocator.total.live_bytes) {
        fprintf(stderr, "ops_harness: %zu bytes were not given back\n", allocator.total.live_bytes);
        return 1;
    }
    return code;
}
