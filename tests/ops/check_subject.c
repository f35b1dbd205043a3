/* Everything a subject must hold to apart from being right: repeats, views, absent gradients, accumulation, threads.
 *
 * The same call with the same layout must give the same bits, whatever the number of threads. Where only the
 * mathematics is the same (a view, another set of wanted gradients) the double reference keeps its bits too; float
 * functions may take another path (gcc contracts to FMA in the vector part of a loop and not in its tail) and hold to
 * the tolerance. What is stored as bf16 may be off by its rounding besides, each element by its own. */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct setting {
    harness *h;
    const subject *s;
    const sample_values *values;
    const results *truth;     /* NULL: there is none */
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

/* How far a result may be from what is wanted. */
typedef struct allowance {
    double tolerance, scale; /* of the larger of `scale` and the largest element; tolerance < 0: the same bits */
    double rounding;         /* of each element: what storing it may have rounded off */
    double sum_rounding;     /* the same of the sum of an element and that of `added`, which was stored */
    const double *added;     /* NULL: nothing */
} allowance;

/* bf16 has 8 significant bits: the nearest one is at most 2^-8 of a number away. */
static double rounding_of(mmrec_dtype dtype) { return dtype == MMREC_BF16 ? 0x1p-8 : 0; }

/* Whether all elements are near enough; the first that is not becomes `d->worst`. */
static bool within(const double *got, const double *want, int64_t count, const allowance *a, mmrec_difference *d) {
    double near = a->tolerance * fmax(d->max_want, a->scale);
    for (int64_t i = 0; i < count; i++) {
        double rounded = a->rounding * fabs(want[i]);
        if (a->added) rounded += a->sum_rounding * fabs(want[i] + a->added[i]);
        if (fabs(got[i] - want[i]) <= near + rounded) continue;
        d->worst = i;
        d->max_abs = fabs(got[i] - want[i]);
        return false;
    }
    return d->finite;
}

static void expect_array(harness *h, const char *what, const char *kind, const char *name, const double *got,
                         const double *want, const mmrec_shape *shape, allowance a) {
    int64_t count = mmrec_shape_elements(shape);
    if (a.tolerance < 0) {
        harness_check(h, memcmp(got, want, (size_t)count * sizeof(double)) == 0, "%s changes the bits of %s %s", what,
                      kind, name);
        return;
    }
    mmrec_difference d = mmrec_compare(got, want, count);
    harness_check(h, within(got, want, count, &a, &d),
                  "%s: %s %s is off by %.3g, allowed are %.3g of %.3g and %.3g of itself; element %lld is %.9g, not "
                  "%.9g",
                  what, kind, name, d.max_abs, a.tolerance, fmax(d.max_want, a.scale), a.rounding, (long long)d.worst,
                  got[d.worst], want[d.worst]);
}

/* `roundings`: 1 where only `got` was stored, 2 where `want` was too. */
static void expect_forward(const setting *x, const trial *t, const char *what, const results *got, const results *want,
                           double tolerance, int roundings) {
    const mmrec_op_def *def = x->s->def;
    for (int i = 0; def->out[i].name; i++) {
        if (!got->out[i]) continue;
        double rounding = rounding_of(mmrec_arg_dtype(&def->out[i], x->s->dtype));
        allowance a = {.tolerance = tolerance, .rounding = roundings * rounding};
        expect_array(x->h, what, "output", def->out[i].name, got->out[i], want->out[i], &t->sizes.out[i], a);
    }
}

static void expect_gradients(const setting *x, const trial *t, const char *what, const results *got,
                             const results *want, double tolerance, int roundings, unsigned mask) {
    const mmrec_op_def *def = x->s->def;
    double scale = gradient_scale(x->values, want, &t->sizes);
    for (int i = 0; def->in[i].name; i++) {
        if (!((x->inputs & mask) >> i & 1u)) continue;
        double rounding = rounding_of(mmrec_arg_gradient_dtype(&def->in[i], x->s->dtype));
        allowance a = {.tolerance = tolerance, .scale = scale, .rounding = roundings * rounding};
        expect_array(x->h, what, "gradient of", def->in[i].name, got->d_in[i], want->d_in[i], &t->sizes.in[i], a);
    }
}

/* Tolerances for the same mathematics by another path: none for the double reference. */
static double path_tolerance(const setting *x, double single) { return x->s->dtype == MMREC_F64 ? -1 : single; }

static void expect_same_forward(const setting *x, const trial *t, const char *what, const results *got,
                                const results *want) {
    expect_forward(x, t, what, got, want, path_tolerance(x, x->s->def->tolerance.output), 2);
}

static void expect_same_gradients(const setting *x, const trial *t, const char *what, const results *got,
                                  const results *want, unsigned mask) {
    expect_gradients(x, t, what, got, want, path_tolerance(x, x->s->def->tolerance.gradient), 2, mask);
}

static bool backward(const setting *x, trial *t, const backward_options *options, results *r) {
    return trial_backward(x->h, t, x->values, *options, r);
}

/* The same call again, with everything poisoned anew. */
static void check_repeat(const setting *x, trial *t, const results *want, results *again) {
    backward_options plain = {0};
    if (!trial_forward(x->h, t, x->values, again)) return;
    expect_forward(x, t, "the same call again", again, want, -1, 0);
    if (x->inputs && backward(x, t, &plain, again)) {
        expect_gradients(x, t, "the same call again", again, want, -1, 0, ~0u);
    }
}

/* Backward is only given what it declared. */
static void check_forgotten(const setting *x, trial *t, const results *want, results *again) {
    backward_options forget = {.forget = true};
    if (backward(x, t, &forget, again)) {
        expect_gradients(x, t, "leaving out what is not KEEP", again, want, -1, 0, ~0u);
    }
}

static void check_absent_inputs(const setting *x, trial *t, const results *want, results *again) {
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if (!((x->inputs >> i) & 1u)) continue;
        backward_options options = {.skip_in = 1u << i};
        char what[64];
        snprintf(what, sizeof what, "not wanting the gradient of %s", x->s->def->in[i].name);
        if (backward(x, t, &options, again)) expect_same_gradients(x, t, what, again, want, ~options.skip_in);
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
            expect_gradients(x, t, what, again, zeros, tolerance, 2, ~0u);
        }
    }
}

/* sums = old + plain. What is stored as bf16 must be the rounded sum, not the sum of something rounded: only the double
 * reference can tell, as `plain` was rounded itself. */
static void expect_sum(const setting *x, const trial *t, int input, unsigned mask, double *sums, const double *plain) {
    const double *old = x->values->old[input];
    const mmrec_arg *arg = &x->s->def->in[input];
    int64_t count = mmrec_shape_elements(&t->sizes.in[input]);
    double rounding = rounding_of(mmrec_arg_gradient_dtype(arg, x->s->dtype));
    bool exact = rounding > 0 && x->truth;
    const double *want = exact ? x->truth->d_in[input] : plain;
    for (int64_t k = 0; k < count; k++) sums[k] -= old[k];
    mmrec_difference d = mmrec_compare(sums, want, count);
    /* Old values are normal numbers: their own rounding is part of what is left after subtracting them. */
    allowance a = {.tolerance = x->s->dtype == MMREC_F64 ? 1e-14 : fmax(x->s->def->tolerance.gradient, 5e-7),
                   .scale = 4 + d.max_want,
                   .rounding = exact ? 0 : rounding,
                   .sum_rounding = rounding,
                   .added = old};
    harness_check(x->h, within(sums, want, count, &a, &d),
                  "accumulating into the gradient of %s (mask %x): off by %.3g from old + gradient", arg->name, mask,
                  d.max_abs);
}

static void check_accumulation(const setting *x, trial *t, const results *plain, results *sums, unsigned mask) {
    backward_options options = {.accumulate = mask};
    if (!backward(x, t, &options, sums)) return;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if ((x->inputs & mask) >> i & 1u) expect_sum(x, t, i, mask, sums->d_in[i], plain->d_in[i]);
    }
    expect_same_gradients(x, t, "accumulating elsewhere", sums, plain, ~mask);
}

static void check_backward_variations(const setting *x, trial *t, const results *want, results *again, results *other) {
    check_forgotten(x, t, want, again);
    check_absent_inputs(x, t, want, again);
    check_absent_outputs(x, t, other, again);
    check_accumulation(x, t, want, again, x->inputs);
    check_accumulation(x, t, want, again, x->inputs & 0x55u);
    check_accumulation(x, t, want, again, x->inputs & 0xaau);
}

/* Gradients of 1 for all outputs, in memory of `unit`. */
static sample_values with_ones(const setting *x, const trial *t, results *unit) {
    sample_values values = *x->values;
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        int64_t count = unit->out[i] ? mmrec_shape_elements(&t->sizes.out[i]) : 0;
        for (int64_t k = 0; k < count; k++) unit->out[i][k] = 1;
        values.d_out[i] = unit->out[i];
    }
    return values;
}

static void expect_same_saved(const setting *x, const trial *t, const results *got, const results *want) {
    allowance bits = {.tolerance = -1};
    for (int i = 0; i < MMREC_MAX_SAVED; i++) {
        if (!got->saved[i]) continue;
        expect_array(x->h, "working in place", "saved", x->s->def->saved[i].name, got->saved[i], want->saved[i],
                     &t->sizes.saved[i], bits);
    }
}

/* Forward, backward and both with saved tensors where inputs or gradients are: the bits of a call with all apart. */
static void compare_in_place(const setting *x, trial *t, const sample_values *values, results *apart, results *again) {
    backward_options plain = {0};
    bool good = trial_forward(x->h, t, values, apart) && trial_backward(x->h, t, values, plain, apart);
    for (unsigned passes = 1; passes < 1u << MMREC_PASSES && good; passes++) {
        t->in_place = passes;
        good = trial_forward(x->h, t, values, again) && trial_backward(x->h, t, values, plain, again);
        t->in_place = 0;
        if (!good) return;
        expect_forward(x, t, "working in place", again, apart, -1, 0);
        expect_same_saved(x, t, again, apart);
        expect_gradients(x, t, "working in place", again, apart, -1, 0, ~0u);
    }
}

/* With gradients of 1 too: an op may know that there is nothing left to do then. */
static void check_in_place(const setting *x, trial *t, results *apart, results *again) {
    results unit = {0};
    bool allowed = false;
    for (int i = 0; x->s->def->saved[i].name; i++) allowed = allowed || x->s->def->saved[i].over;
    if (!allowed || !x->inputs || !results_create(x->h, &t->sizes, &unit)) return;
    sample_values ones = with_ones(x, t, &unit);
    compare_in_place(x, t, x->values, apart, again);
    compare_in_place(x, t, &ones, apart, again);
    results_destroy(x->h, &unit);
}

/* Rows further apart than they are long. */
static void check_view(const setting *x, int threads, int padding, const results *want, results *again,
                       results *other) {
    backward_options plain = {0}, all = {.accumulate = ~0u};
    trial t;
    if (trial_open(x->h, &t, x->s, threads, padding) && trial_forward(x->h, &t, x->values, again)) {
        expect_same_forward(x, &t, "a view", again, want);
        trial_adopt(&t, x->s, want);
        if (x->inputs && backward(x, &t, &plain, again)) {
            expect_same_gradients(x, &t, "a view", again, want, ~0u);
            check_accumulation(x, &t, want, again, all.accumulate);
        }
        check_in_place(x, &t, other, again);
    }
    trial_close(x->h, &t);
}

/* Off alignment; and aligned, which on a device are other loads and stores. */
static void check_views(const setting *x, int threads, const results *want, results *again, results *other) {
    check_view(x, threads, 3, want, again, other);
    if (x->s->backend) check_view(x, threads, -8, want, again, other);
}

static void check_truth(const setting *x, const trial *t, const results *got) {
    const mmrec_op_def *def = x->s->def;
    const results *truth = x->truth;
    double scale = gradient_scale(x->values, truth, &t->sizes);
    expect_forward(x, t, "against double", got, truth, def->tolerance.output, 1);
    expect_gradients(x, t, "against double", got, truth, def->tolerance.gradient, 1, ~0u);
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

static void check_dense(setting *x, int threads, results *r, results *again, results *other) {
    trial t;
    backward_options plain = {0};
    bool good = trial_open(x->h, &t, x->s, threads, 0);
    x->inputs = good ? differentiable_inputs(x->s->def, &t.sizes) : 0;
    x->outputs = good ? differentiable_outputs(x->s->def, &t.sizes) : 0;
    if (good && trial_forward(x->h, &t, x->values, r)) {
        good = !x->inputs || backward(x, &t, &plain, r);
        if (good && x->truth) check_truth(x, &t, r);
        if (good) check_repeat(x, &t, r, again);
        if (good && x->inputs) check_backward_variations(x, &t, r, again, other);
        if (good) check_in_place(x, &t, other, again);
    }
    trial_close(x->h, &t);
}

/* One thread or two: the bits of a sum must not depend on how many there were. */
static void check_threads(const setting *x, const mmrec_op_sizes *sizes, const results *one, const results *two) {
    trial t = {.subject = x->s, .sizes = *sizes};
    expect_forward(x, &t, "a second thread", two, one, -1, 0);
    expect_gradients(x, &t, "a second thread", two, one, -1, 0, ~0u);
}

void check_subject(harness *h, const subject *s, const sample_values *values, const results *truth, results *r) {
    setting x = {.h = h, .s = s, .values = values, .truth = truth};
    mmrec_op_sizes sizes;
    mmrec_error error = {0};
    results two = {0}, again = {0}, other = {0};
    if (!harness_check(h, mmrec_op_from_text(s->def, h->sample, 1, &sizes, &error) == MMREC_OK, "%s", error.message))
        return;
    const bool device = s->backend != NULL;
    bool good =
        results_create(h, &sizes, &two) && results_create(h, &sizes, &again) && results_create(h, &sizes, &other);
    for (int threads = 1; threads <= (device ? 1 : 2) && good && !harness_stop(h); threads++) {
        results *into = threads == 1 ? r : &two;
        snprintf(h->where, sizeof h->where, "%s%s, %d thread%s", s->name, s->fast ? " fast" : "", threads,
                 threads > 1 ? "s" : "");
        if (device) snprintf(h->where, sizeof h->where, "%s", s->name);
        check_dense(&x, device ? MMREC_ON_DEVICE : threads, into, &again, &other);
        check_views(&x, device ? MMREC_ON_DEVICE : threads, into, &again, &other);
    }
    if (good && !device && !harness_stop(h)) check_threads(&x, &sizes, r, &two);
    results_destroy(h, &two);
    results_destroy(h, &again);
    results_destroy(h, &other);
}
