/* CSV (RFC 4180): the points of the curves, and every step. Fields without a figure are empty; times stand last. */
#include <math.h>

#include "run/study.h"

static void real(mmrec_buffer *out, double value) {
    if (isfinite(value))
        mmrec_buffer_format(out, ",%.9g", value);
    else
        mmrec_buffer_text(out, ",");
}

static void begin_row(const study *s, int seed, int variant, int64_t step, mmrec_buffer *out) {
    mmrec_buffer_format(out, "%llu,%s,%lld", (unsigned long long)s->seed[seed], s->variant[variant].name,
                        (long long)step);
}

/* The steps from one point up to the next. */
typedef struct stretch {
    double loss, growth, ms; /* mean main loss, largest growth, median time */
} stretch;

static stretch stretch_of(const study_run *run, int64_t first, int64_t end) {
    stretch s = {(double)NAN, (double)NAN, (double)NAN};
    double sum = 0;
    int64_t count = 0;
    for (int64_t i = first; i < end; i++) {
        s.growth = fmax(s.growth, run->steps[i].growth);
        if (run->steps[i].skipped || !isfinite(run->steps[i].loss_main)) continue;
        sum += run->steps[i].loss_main;
        count++;
    }
    if (count > 0) s.loss = sum / (double)count;
    mmrec_stats times = mmrec_stats_of(run->step_ns + first, (int)(end - first));
    if (times.valid) s.ms = times.median / 1e6;
    return s;
}

static void point_row(const study *s, int seed, int variant, int64_t index, mmrec_buffer *out) {
    const study_run *run = &s->run[seed][variant];
    const study_point *p = &run->points[index];
    stretch before = stretch_of(run, index > 0 ? run->points[index - 1].step : 0, p->step);
    bool auxiliary = s->variant[variant].auxiliary;
    begin_row(s, seed, variant, p->step, out);
    real(out, before.loss);
    real(out, p->validation.loss);
    real(out, auxiliary ? p->validation.loss_aux : (double)NAN);
    real(out, p->validation.accuracy);
    real(out, p->angle.cosine);
    real(out, p->angle.main_norm);
    real(out, p->angle.aux_norm);
    real(out, before.growth);
    real(out, before.ms);
    mmrec_buffer_text(out, "\r\n");
}

void study_curves_csv(const study *s, mmrec_buffer *out) {
    mmrec_buffer_text(out, "seed,variant,step,train_loss,validation_loss,validation_aux,accuracy,cosine,main_norm,"
                           "aux_norm,growth,step_ms\r\n");
    for (int k = 0; k < s->begun; k++) {
        for (int v = 0; v < s->variant_count; v++) {
            for (int64_t i = 0; i < s->run[k][v].point_count; i++) point_row(s, k, v, i, out);
        }
    }
}

static void step_row(const study *s, int seed, int variant, int64_t index, mmrec_buffer *out) {
    const study_run *run = &s->run[seed][variant];
    const study_step *t = &run->steps[index];
    begin_row(s, seed, variant, index + 1, out);
    real(out, t->loss);
    real(out, t->loss_main);
    real(out, s->variant[variant].auxiliary ? t->loss_aux : (double)NAN);
    real(out, t->gradient_norm);
    real(out, t->growth);
    mmrec_buffer_format(out, ",%d,%d", t->skipped, t->spike);
    real(out, run->step_ns[index] / 1e6);
    mmrec_buffer_text(out, "\r\n");
}

void study_steps_csv(const study *s, mmrec_buffer *out) {
    mmrec_buffer_text(out, "seed,variant,step,loss,loss_main,loss_aux,gradient_norm,growth,skipped,spike,step_ms\r\n");
    for (int k = 0; k < s->begun; k++) {
        for (int v = 0; v < s->variant_count; v++) {
            for (int64_t i = 0; i < s->run[k][v].step_count; i++) step_row(s, k, v, i, out);
        }
    }
}
