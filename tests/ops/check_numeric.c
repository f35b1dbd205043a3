/* The backward function of the double reference against central differences of its forward function.
 *
 * L = sum of d_out * out over the differentiable outputs; dL/dx by (L(x + e) - L(x - e)) / 2e. */
#include "harness.h"

#include <math.h>
#include <stdio.h>

#include "mmrec/rng.h"

/* With e = 1e-6 the quotient carries a rounding error near 1e-10 |L| and a truncation error near 1e-12. The worst of
 * all ops and samples is 1.1e-6 of the largest gradient (the mean of 38 thousand squares), which RELATIVE leaves a
 * factor of 9; a wrong term stands out by orders of magnitude. ABSOLUTE is for gradients that are
 * themselves below 1e-2, where rounding shows more (decay_gate near a clamp: 8e-3 of a gradient of 1e-6). */
#define STEP 1e-6
#define ABSOLUTE 1e-7
#define RELATIVE 1e-5
/* Small inputs are tried whole. Of others the ends and some between: what goes wrong in the middle of a long row alone,
 * the float variants show, which are held to the reference everywhere. */
enum { ALL_UP_TO = 400, PICKED = 48, STREAM_PICK = 299 };

static double loss(const trial *t, const sample_values *values, const results *r) {
    unsigned outputs = differentiable_outputs(t->subject->def, &t->sizes);
    double sum = 0;
    for (int o = 0; o < MMREC_MAX_OUT; o++) {
        if (!((outputs >> o) & 1u)) continue;
        int64_t count = mmrec_shape_elements(&t->sizes.out[o]);
        for (int64_t i = 0; i < count; i++) sum += values->d_out[o][i] * r->out[o][i];
    }
    return sum;
}

static bool loss_at(harness *h, trial *t, const sample_values *values, results *scratch, double *at, double x,
                    double *out) {
    double before = *at;
    *at = x;
    bool good = trial_forward(h, t, values, scratch);
    *out = loss(t, values, scratch);
    *at = before;
    return good;
}

static void check_element(harness *h, trial *t, const sample_values *values, results *scratch, int input, int64_t i,
                          double analytic, double largest) {
    double *at = &values->in[input][i], up, down;
    /* The step that was really taken, after rounding. */
    double high = *at + STEP, low = *at - STEP;
    if (!loss_at(h, t, values, scratch, at, high, &up) || !loss_at(h, t, values, scratch, at, low, &down)) return;
    double numeric = (up - down) / (high - low), error = fabs(numeric - analytic);
    harness_check(h, error <= ABSOLUTE + RELATIVE * largest,
                  "gradient of %s, element %lld: backward says %.9g, the difference quotient %.9g",
                  t->subject->def->in[input].name, (long long)i, analytic, numeric);
    double relative = largest > 0 ? error / largest : error;
    if (!(relative <= h->numeric)) h->numeric = relative;
}

static double largest_of(const results *analytic, const mmrec_op_sizes *sizes, int input) {
    const double *d = analytic->d_in[input];
    return mmrec_compare(d, d, mmrec_shape_elements(&sizes->in[input])).max_want;
}

/* The k-th element to be tried of an input: all of a small one. */
static int64_t tried_element(int64_t k, int64_t count) {
    if (count <= ALL_UP_TO || k == 0) return k;
    return k == 1 ? count - 1 : mmrec_rng_below(HARNESS_SEED, STREAM_PICK, (uint64_t)k, (uint32_t)count);
}

static void check_input(harness *h, trial *t, const sample_values *values, results *scratch, const results *analytic,
                        int input) {
    int64_t count = mmrec_shape_elements(&t->sizes.in[input]);
    int64_t tried = count > ALL_UP_TO ? PICKED : count;
    double largest = largest_of(analytic, &t->sizes, input);
    for (int64_t k = 0; k < tried && !harness_stop(h); k++) {
        int64_t i = tried_element(k, count);
        check_element(h, t, values, scratch, input, i, analytic->d_in[input][i], largest);
    }
}

void check_numeric(harness *h, const subject *s, const sample_values *values, const results *analytic) {
    trial t;
    results scratch = {0};
    snprintf(h->where, sizeof h->where, "%s, numeric", s->name);
    bool good = trial_open(h, &t, s, 1, 0) && results_create(h, &t.sizes, &scratch);
    unsigned inputs = good ? differentiable_inputs(s->def, &t.sizes) : 0;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if ((inputs >> i) & 1u) check_input(h, &t, values, &scratch, analytic, i);
    }
    results_destroy(h, &scratch);
    trial_close(h, &t);
}
