/* Every figure of every variant beside the baseline's, seed by seed, and the word for the difference. */
#include <math.h>

#include "run/study.h"

/* Times are noisy in ways that few seeds do not show, so that a word about them asks for more (docs/measuring.md). */
static const double usual_level = 0.95, ratio_level = 0.99, ratio_margin = 0.01;

const char *study_word_text(study_word word) {
    static const char *const texts[STUDY_WORDS] = {"better", "worse",       "more", "less", "no difference shown",
                                                   "same",   "not decided", ""};
    return (unsigned)word < STUDY_WORDS ? texts[word] : "?";
}

/* ---- which seeds ---- */

static bool run_ended(const study *s, const study_run *run) { return run->failure[0] || run->step_count >= s->steps; }

static bool seed_ended(const study *s, int seed) {
    for (int v = 0; v < s->variant_count; v++) {
        if (!run_ended(s, &s->run[seed][v])) return false;
    }
    return true;
}

/* The seeds that came to their end; where none did, the first as far as it got: its variants made the same steps. */
static int usable_seeds(const study *s) {
    int count = 0;
    while (count < s->begun && seed_ended(s, count)) count++;
    return count > 0 ? count : s->begun > 0;
}

static int64_t steps_reached(const study *s, int seeds) {
    int64_t most = 0;
    for (int k = 0; k < seeds; k++) {
        for (int v = 0; v < s->variant_count; v++) {
            if (s->run[k][v].step_count > most) most = s->run[k][v].step_count;
        }
    }
    return most;
}

/* The largest final loss of the baseline: one that each of its runs that did not diverge reaches. */
static double target_of(const study *s, int seeds) {
    double worst = (double)NAN;
    if (isfinite(s->target)) return s->target;
    for (int k = 0; k < seeds; k++) {
        const study_point *last = study_last(&s->run[k][0]);
        if (last && isfinite(last->validation.loss)) worst = fmax(worst, last->validation.loss);
    }
    return worst;
}

/* ---- differences ---- */

typedef struct pairs {
    double value[STUDY_SEEDS];
    int count;
} pairs;

static study_estimate exponent(study_estimate e) {
    return (study_estimate){e.count, exp(e.mean), e.has_interval, {exp(e.interval.low), exp(e.interval.high)}};
}

/* Of differences, or of logarithms of ratios. */
static study_estimate estimate(const study_figure_def *def, const pairs *p, double level) {
    study_estimate e = study_estimate_of(p->value, p->count, level);
    return def->ratio ? exponent(e) : e;
}

/* The steps of both in pairs, which drift does not reach; NaN where there are too few. */
static mmrec_paired paired_steps(const study *s, int seed, int variant) {
    const study_run *a = &s->run[seed][0], *b = &s->run[seed][variant];
    int64_t steps = a->step_count < b->step_count ? a->step_count : b->step_count, first = study_untimed(steps);
    if (mmrec_train_untimed(s->setup)) return (mmrec_paired){0};
    return mmrec_paired_of(a->step_ns + first, b->step_ns + first, (int)(steps - first));
}

static double pair_value(const study *s, study_figure figure, int seed, int variant, double a, double b) {
    if (!study_figure_get(figure)->ratio) return b - a;
    mmrec_paired p = {0};
    if (figure == STUDY_STEP_TIME || figure == STUDY_TOKENS) p = paired_steps(s, seed, variant);
    if (!p.valid) return log(b / a);
    return figure == STUDY_TOKENS ? -log(p.ratio) : log(p.ratio);
}

static void collect(const study *s, const study_summary *summary, study_figure figure, int variant, pairs *p,
                    study_difference *d) {
    const study_figure_def *def = study_figure_get(figure);
    for (int k = 0; k < summary->seeds; k++) {
        double a = def->value(s, summary->target, k, 0), b = def->value(s, summary->target, k, variant);
        bool has_a = isfinite(a), has_b = isfinite(b);
        d->missing[0] += !has_a && has_b;
        d->missing[1] += has_a && !has_b;
        if (has_a && has_b) p->value[p->count++] = pair_value(s, figure, k, variant, a, b);
    }
}

/* With one seed the time per step, and the rate made of it, have the interval of its own steps. */
static void from_one_seed(const study *s, study_figure figure, int variant, study_difference *d) {
    mmrec_paired p = paired_steps(s, 0, variant);
    bool rate = figure == STUDY_TOKENS;
    if (!p.valid || !(p.ci99.low > 0) || (figure != STUDY_STEP_TIME && !rate)) return;
    d->estimate.has_interval = true;
    d->estimate.interval = rate ? (mmrec_interval){1 / p.ci95.high, 1 / p.ci95.low} : p.ci95;
    d->decides = rate ? (mmrec_interval){1 / p.ci99.high, 1 / p.ci99.low} : p.ci99;
}

static double level_of(const study_summary *summary, study_figure figure) {
    if (figure == STUDY_LOSS) return summary->level;
    return study_figure_get(figure)->ratio ? ratio_level : usual_level;
}

static study_difference compare(const study *s, const study_summary *summary, study_figure figure, int variant) {
    const study_figure_def *def = study_figure_get(figure);
    study_difference d = {0};
    pairs p = {.count = 0};
    collect(s, summary, figure, variant, &p, &d);
    d.estimate = estimate(def, &p, usual_level);
    d.decides = estimate(def, &p, level_of(summary, figure)).interval;
    if (summary->seeds == 1) from_one_seed(s, figure, variant, &d);
    /* Where a loss was reached is known to one interval of validation: a smaller difference is none. */
    if (figure == STUDY_TO_TARGET && fabs(d.estimate.mean) < (double)s->val_every) {
        d.decides.low = fmin(d.decides.low, 0);
        d.decides.high = fmax(d.decides.high, 0);
    }
    d.word = study_word_of(def, &d);
    return d;
}

/* ---- words ---- */

static study_word word_for(const study_figure_def *def, bool more) {
    if (def->better == 0) return more ? STUDY_MORE : STUDY_LESS;
    return more == (def->better > 0) ? STUDY_BETTER : STUDY_WORSE;
}

static study_word word_of_pairs(const study_figure_def *def, const study_difference *d) {
    double zero = def->ratio ? 1 : 0, mean = d->estimate.mean;
    if (def->exact) return mean == zero ? STUDY_SAME : word_for(def, mean > zero);
    if (!d->estimate.has_interval) return STUDY_UNDECIDED;
    bool apart = d->decides.low > zero || d->decides.high < zero;
    if (def->ratio && fabs(mean - 1) < ratio_margin) apart = false;
    if (!apart) return STUDY_NO_DIFFERENCE;
    return word_for(def, mean > zero);
}

/* Seeds of which one side has no value (it diverged, or never got to the target) leave a choice in its favour: only a
 * word against that side stands. */
study_word study_word_of(const study_figure_def *def, const study_difference *d) {
    study_word word = word_of_pairs(def, d);
    bool alone = d->missing[0] + d->missing[1] > 0 && def->better != 0;
    if (d->estimate.count == 0) return alone ? STUDY_UNDECIDED : STUDY_NOTHING;
    bool stands = (d->missing[0] == 0 || word == STUDY_BETTER) && (d->missing[1] == 0 || word == STUDY_WORSE);
    return stands ? word : STUDY_UNDECIDED;
}

/* ---- all ---- */

static study_estimate side_of(const study *s, const study_summary *summary, study_figure figure, int variant) {
    double values[STUDY_SEEDS];
    for (int k = 0; k < summary->seeds; k++)
        values[k] = study_figure_get(figure)->value(s, summary->target, k, variant);
    study_estimate e = study_estimate_of(values, summary->seeds, usual_level);
    if (study_figure_get(figure)->exact) e.has_interval = false;
    return e;
}

void study_summarise(const study *s, study_summary *out) {
    int others = s->variant_count - 1;
    *out = (study_summary){.seeds = usable_seeds(s)};
    out->complete = out->seeds == s->seed_count && seed_ended(s, out->seeds - 1);
    out->reached = steps_reached(s, out->seeds);
    out->target = target_of(s, out->seeds);
    /* Bonferroni: with two variants each is asked for 97.5 %, so that a false word about either is a case of 5 %. */
    out->level = 1 - (1 - usual_level) / (others > 0 ? others : 1);
    for (int f = 0; f < STUDY_FIGURES; f++) {
        for (int v = 0; v < s->variant_count; v++) {
            out->row[f].side[v] = side_of(s, out, (study_figure)f, v);
            if (v > 0) out->row[f].difference[v] = compare(s, out, (study_figure)f, v);
        }
    }
}
