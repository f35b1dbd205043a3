/* Everything a subject must hold to apart from being right: repeats, views, absent gradients, accumulation, threads.
 *
 * The same call with the same layout must give the same bits, whatever the number of threads. Where only the
 * mathematics is the same (a view, another set of wanted gradients) the double reference keeps its bits too; float
 * functions may take another path (gcc contracts to FMA in the vector part of a loop and not in its tail) and hold to
 * the tolerance. */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct setting {
    harness *h;
    const subject *s;
    const sample_values *values;
    unsigned inputs, outputs; /* differentiable ones */
} setting;

static double largest_in(const double *values, const mmrec_shape *shape) {
    return values ? mmrec_compare(values, values, mmrec_shape_elements(shape)).max_want : 0;
}

/* Rounding noise on a gradient that is zero or cancels (a normalisation over one element, the sum of a softmax) is as
 * large as that of the terms it is made of: a quarter of the largest gradient going in or coming out stands for them.
 */
static double gradient_scale(const sample_values *values, const results *truth, const mmrec_op_sizes *sizes) {
    double largest = 0;
    for (int i = 0; i < MMREC_MAX_IN; i++) largest = fmax(largest, largest_in(truth->d_in[i], &sizes->in[i]));
    for (int i = 0; i < MMREC_MAX_OUT; i++) largest = fmax(largest, largest_in(values->d_out[i], &sizes->out[i]));
    return largest / 4;
}

static void note_worst(harness *h, bool gradient, double error) {
    double *worst = gradient ? &h->gradient : &h->output;
    if (!(error <= *worst)) *worst = error;
}

/* `tolerance` < 0: the bits must be the same. */
static void expect_array(harness *h, const char *what, const char *kind, const char *name, const double *got,
                         const double *want, const mmrec_shape *shape, double tolerance, double scale) {
    int64_t count = mmrec_shape_elements(shape);
    if (tolerance < 0) {
        harness_check(h, memcmp(got, want, (size_t)count * sizeof(double)) == 0, "%s changes the bits of %s %s", what,
                      kind, name);
        return;
    }
    mmrec_difference d = mmrec_compare(got, want, count);
    harness_check(h, mmrec_difference_within(&d, tolerance, scale),
                  "%s: %s %s is off by %.3g, allowed are %.3g of %.3g; element %lld is %.9g, not %.9g", what, kind,
                  name, d.max_abs, tolerance, fmax(d.max_want, scale), (long long)d.worst, got[d.worst], want[d.worst]);
}

static void expect_forward(const setting *x, const trial *t, const char *what, const results *got, const results *want,
                           double tolerance) {
    const mmrec_op_def *def = x->s->def;
    for (int i = 0; def->out[i].name; i++) {
        if (!got->out[i]) continue;
        expect_array(x->h, what, "output", def->out[i].name, got->out[i], want->out[i], &t->sizes.out[i], tolerance, 0);
    }
}

static void expect_gradients(const setting *x, const trial *t, const char *what, const results *got,
                             const results *want, double tolerance, unsigned mask) {
    const mmrec_op_def *def = x->s->def;
    double scale = gradient_scale(x->values, want, &t->sizes);
    for (int i = 0; def->in[i].name; i++) {
        if (!((x->inputs & mask) >> i & 1u)) continue;
        expect_array(x->h, what, "gradient of", def->in[i].name, got->d_in[i], want->d_in[i], &t->sizes.in[i],
                     tolerance, scale);
    }
}

/* Tolerance for the same mathematics by another path: none for the double reference. */
static double path_tolerance(const setting *x, double single) { return x->s->dtype == MMREC_F64 ? -1 : single; }

static bool backward(const setting *x, trial *t, const backward_options *options, results *r) {
    return trial_backward(x->h, t, x->values, *options, r);
}

/* The same call again, with everything poisoned anew. */
static void check_repeat(const setting *x, trial *t, const results *want, results *again) {
    backward_options plain = {0};
    if (!trial_forward(x->h, t, x->values, again)) return;
    expect_forward(x, t, "the same call again", again, want, -1);
    if (x->inputs && backward(x, t, &plain, again)) {
        expect_gradients(x, t, "the same call again", again, want, -1, ~0u);
    }
}

/* Backward is only given what it declared. */
static void check_forgotten(const setting *x, trial *t, const results *want, results *again) {
    backward_options forget = {.forget = true};
    if (backward(x, t, &forget, again)) {
        expect_gradients(x, t, "leaving out what is not KEEP", again, want, -1, ~0u);
    }
}

static void check_absent_inputs(const setting *x, trial *t, const results *want, results *again) {
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if (!((x->inputs >> i) & 1u)) continue;
        backward_options options = {.skip_in = 1u << i};
        char what[64];
        snprintf(what, sizeof what, "not wanting the gradient of %s", x->s->def->in[i].name);
        if (backward(x, t, &options, again)) {
            expect_gradients(x, t, what, again, want, path_tolerance(x, x->s->def->tolerance.gradient),
                             ~options.skip_in);
        }
    }
}

/* An absent output gradient is the same as zeros. */
static void check_absent_outputs(const setting *x, trial *t, results *zeros, results *again) {
    if ((x->outputs & (x->outputs - 1)) == 0) return;
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        if (!((x->outputs >> i) & 1u)) continue;
        backward_options zero = {.zero_out = 1u << i}, skip = {.skip_out = 1u << i};
        char what[64];
        snprintf(what, sizeof what, "no gradient of output %s", x->s->def->out[i].name);
        double tolerance = x->s->dtype == MMREC_F64 ? 1e-14 : x->s->def->tolerance.gradient;
        if (backward(x, t, &zero, zeros) && backward(x, t, &skip, again)) {
            expect_gradients(x, t, what, again, zeros, tolerance, ~0u);
        }
    }
}

static void check_accumulation(const setting *x, trial *t, const results *plain, results *sums, unsigned mask) {
    backward_options options = {.accumulate = mask};
    if (!backward(x, t, &options, sums)) return;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if (!((x->inputs >> i) & 1u) || !((mask >> i) & 1u)) continue;
        int64_t count = mmrec_shape_elements(&t->sizes.in[i]);
        for (int64_t k = 0; k < count; k++) sums->d_in[i][k] -= x->values->old[i][k];
        mmrec_difference d = mmrec_compare(sums->d_in[i], plain->d_in[i], count);
        /* Old values are normal numbers: their own rounding is part of what is left after subtracting them. */
        double tolerance = x->s->dtype == MMREC_F64 ? 1e-14 : fmax(x->s->def->tolerance.gradient, 5e-7);
        double scale = 4 + d.max_want;
        harness_check(x->h, mmrec_difference_within(&d, tolerance, scale),
                      "accumulating into the gradient of %s (mask %x): off by %.3g from old + gradient",
                      x->s->def->in[i].name, mask, d.max_abs);
    }
    expect_gradients(x, t, "accumulating elsewhere", sums, plain, path_tolerance(x, x->s->def->tolerance.gradient),
                     ~mask);
}

static void check_backward_variations(const setting *x, trial *t, const results *want, results *again, results *other) {
    check_forgotten(x, t, want, again);
    check_absent_inputs(x, t, want, again);
    check_absent_outputs(x, t, other, again);
    check_accumulation(x, t, want, again, x->inputs);
    check_accumulation(x, t, want, again, x->inputs & 0x55u);
    check_accumulation(x, t, want, again, x->inputs & 0xaau);
}

/* Rows further apart than they are long, and off alignment. */
static void check_views(const setting *x, int threads, const results *want, results *again) {
    const mmrec_tolerance *allowed = &x->s->def->tolerance;
    backward_options plain = {0}, all = {.accumulate = ~0u};
    trial t;
    if (trial_open(x->h, &t, x->s, threads, 3) && trial_forward(x->h, &t, x->values, again)) {
        expect_forward(x, &t, "a view", again, want, path_tolerance(x, allowed->output));
        if (x->inputs && backward(x, &t, &plain, again)) {
            expect_gradients(x, &t, "a view", again, want, path_tolerance(x, allowed->gradient), ~0u);
            check_accumulation(x, &t, want, again, all.accumulate);
        }
    }
    trial_close(x->h, &t);
}

static void check_truth(const setting *x, const trial *t, const results *got, const results *truth) {
    const mmrec_op_def *def = x->s->def;
    double scale = gradient_scale(x->values, truth, &t->sizes);
    expect_forward(x, t, "against double", got, truth, def->tolerance.output);
    expect_gradients(x, t, "against double", got, truth, def->tolerance.gradient, ~0u);
    for (int i = 0; def->out[i].name; i++) {
        if (!got->out[i]) continue;
        mmrec_difference d = mmrec_compare(got->out[i], truth->out[i], mmrec_shape_elements(&t->sizes.out[i]));
        if (d.max_abs > 0) note_worst(x->h, false, d.max_rel);
    }
    for (int i = 0; def->in[i].name; i++) {
        if (!((x->inputs >> i) & 1u)) continue;
        mmrec_difference d = mmrec_compare(got->d_in[i], truth->d_in[i], mmrec_shape_elements(&t->sizes.in[i]));
        if (d.max_abs > 0) note_worst(x->h, true, d.max_abs / fmax(d.max_want, scale));
    }
}

static void check_dense(setting *x, int threads, const results *truth, results *r, results *again, results *other) {
    trial t;
    backward_options plain = {0};
    bool good = trial_open(x->h, &t, x->s, threads, 0);
    x->inputs = good ? differentiable_inputs(x->s->def, &t.sizes) : 0;
    x->outputs = good ? differentiable_outputs(x->s->def, &t.sizes) : 0;
    if (good && trial_forward(x->h, &t, x->values, r)) {
        good = !x->inputs || backward(x, &t, &plain, r);
        if (good && truth) check_truth(x, &t, r, truth);
        if (good) check_repeat(x, &t, r, again);
        if (good && x->inputs) check_backward_variations(x, &t, r, again, other);
    }
    trial_close(x->h, &t);
}

/* One thread or two: the bits of a sum must not depend on how many there were. */
static void check_threads(const setting *x, const mmrec_op_sizes *sizes, const results *one, const results *two) {
    trial t = {.subject = x->s, .sizes = *sizes};
    expect_forward(x, &t, "a second thread", two, one, -1);
    expect_gradients(x, &t, "a second thread", two, one, -1, ~0u);
}

void check_subject(harness *h, const subject *s, const sample_values *values, const results *truth, results *r) {
    setting x = {.h = h, .s = s, .values = values};
    mmrec_op_sizes sizes;
    mmrec_error error = {0};
    results two = {0}, again = {0}, other = {0};
    if (!harness_check(h, mmrec_op_from_text(s->def, h->sample, 1, &sizes, &error) == MMREC_OK, "%s", error.message))
        return;
    bool good =
        results_create(h, &sizes, &two) && results_create(h, &sizes, &again) && results_create(h, &sizes, &other);
    for (int threads = 1; threads <= 2 && good && !harness_stop(h); threads++) {
        results *into = threads == 1 ? r : &two;
        snprintf(h->where, sizeof h->where, "%s%s, %d thread%s", s->name, s->fast ? " fast" : "", threads,
                 threads > 1 ? "s" : "");
        check_dense(&x, threads, truth, into, &again, &other);
        check_views(&x, threads, into, &again);
    }
    if (good && !harness_stop(h)) check_threads(&x, &sizes, r, &two);
    results_destroy(h, &two);
    results_destroy(h, &again);
    results_destroy(h, &other);
}
