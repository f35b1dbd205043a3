/* The work formula of a definition against the operations really done by the reference. */
#include "harness.h"

#include <stdio.h>

#include "real_counts.h"

static void compare_counts(harness *h, const mmrec_op_def *def, const trial *t, mmrec_pass pass) {
    mmrec_work said = def->work(&t->sizes, pass);
    const char *name = pass == MMREC_FORWARD ? "forward" : "backward";
    double flops = (double)mmrec_real_counted.flops, others = (double)mmrec_real_counted.transcendentals;
    harness_check(h, said.flops == flops, "%s: work says %.0f FLOPs, counted are %.0f", name, said.flops, flops);
    harness_check(h, said.transcendentals == others, "%s: work says %.0f transcendentals, counted are %.0f", name,
                  said.transcendentals, others);
}

void check_count(harness *h, const mmrec_op_def *def, const mmrec_op_def *counting, const sample_values *values) {
    const subject s = {.def = counting, .name = "count", .dtype = MMREC_F64};
    backward_options plain = {0};
    trial t;
    results r = {0};
    snprintf(h->where, sizeof h->where, "count");
    bool good = trial_open(h, &t, &s, 1, 0) && results_create(h, &t.sizes, &r);
    mmrec_real_counted = (mmrec_real_counts){0, 0};
    if (good && trial_forward(h, &t, values, &r)) {
        compare_counts(h, def, &t, MMREC_FORWARD);
        mmrec_real_counted = (mmrec_real_counts){0, 0};
        if (differentiable_inputs(def, &t.sizes) && trial_backward(h, &t, values, plain, &r)) {
            compare_counts(h, def, &t, MMREC_BACKWARD);
        }
    }
    results_destroy(h, &r);
    trial_close(h, &t);
}
