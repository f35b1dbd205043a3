/* Curves: means over seeds with their intervals in plot.dat, and the gnuplot script beside it, which anyone can run
 * again. Here it is run too where gnuplot is installed. */
#include <math.h>

#include "report/gnuplot.h"
#include "run/study.h"

/* ---- data ---- */

typedef double (*quantity)(const study *s, int seed, int variant, int64_t index);

static const study_point *point_at(const study *s, int seed, int variant, int64_t index) {
    const study_run *run = &s->run[seed][variant];
    return index < run->point_count ? &run->points[index] : NULL;
}

static double loss_at(const study *s, int seed, int variant, int64_t index) {
    const study_point *p = point_at(s, seed, variant, index);
    return p ? p->validation.loss : (double)NAN;
}

static double difference_at(const study *s, int seed, int variant, int64_t index) {
    return loss_at(s, seed, variant, index) - loss_at(s, seed, 0, index);
}

static double aux_at(const study *s, int seed, int variant, int64_t index) {
    const study_point *p = point_at(s, seed, variant, index);
    return p && s->variant[variant].auxiliary ? p->validation.loss_aux : (double)NAN;
}

static double cosine_at(const study *s, int seed, int variant, int64_t index) {
    const study_point *p = point_at(s, seed, variant, index);
    return p ? p->angle.cosine : (double)NAN;
}

/* Of the values that are finite. */
static mmrec_interval range_of(const double *values, int count) {
    mmrec_interval range = {(double)NAN, (double)NAN};
    for (int i = 0; i < count; i++) {
        if (!isfinite(values[i])) continue;
        range.low = fmin(range.low, values[i]);
        range.high = fmax(range.high, values[i]);
    }
    return range;
}

/* A line of a curve; a point that no seed has is left out. */
static void put_point(const study *s, int seeds, quantity of, int variant, int64_t index, mmrec_buffer *out) {
    double values[STUDY_SEEDS];
    int64_t step = -1;
    for (int k = 0; k < seeds; k++) {
        const study_point *p = point_at(s, k, variant, index);
        values[k] = of(s, k, variant, index);
        if (p) step = p->step;
    }
    study_estimate e = study_estimate_of(values, seeds, 0.95);
    if (e.count == 0) return;
    if (!e.has_interval) e.interval = (mmrec_interval){e.mean, e.mean};
    mmrec_interval range = range_of(values, seeds);
    mmrec_buffer_format(out, "%lld %.9g %.9g %.9g %.9g %.9g %d\n", (long long)step, e.mean, range.low, range.high,
                        e.interval.low, e.interval.high, e.count);
}

static void put_curve(const study *s, int seeds, const char *name, quantity of, int variant, mmrec_buffer *out) {
    int64_t most = 0;
    for (int k = 0; k < seeds; k++) {
        if (s->run[k][variant].point_count > most) most = s->run[k][variant].point_count;
    }
    mmrec_buffer_format(out, "# %s %s\n", name, s->variant[variant].name);
    for (int64_t i = 0; i < most; i++) put_point(s, seeds, of, variant, i, out);
    mmrec_buffer_text(out, "\n\n");
}

void study_plot_data(const study *s, const study_summary *summary, mmrec_buffer *out) {
    mmrec_buffer_text(out, "# Each block: step; over seeds the mean, lowest, highest, 95 % interval of the mean from, "
                           "to; number of seeds.\n");
    for (int v = 0; v < s->variant_count; v++) {
        put_curve(s, summary->seeds, "loss", loss_at, v, out);
        if (v > 0) put_curve(s, summary->seeds, "difference", difference_at, v, out);
        if (!s->variant[v].auxiliary) continue;
        put_curve(s, summary->seeds, "aux", aux_at, v, out);
        put_curve(s, summary->seeds, "cosine", cosine_at, v, out);
    }
}

/* ---- script ---- */

/* Okabe and Ito's colours, which people with any kind of colour vision can tell apart; and dashes for print. */
static const struct {
    const char *colour;
    int dash;
} looks[STUDY_VARIANTS] = {{"#000000", 1}, {"#0072B2", 1}, {"#D55E00", 2}};

/* The first losses are far above all others and would flatten them: as many points as the first twentieth of the steps
 * has are left out of their panel, where two are left. */
static int64_t first_losses(const study *s) {
    const study_run *run = &s->run[0][0];
    int64_t count = 0;
    while (count < run->point_count && 20 * run->points[count].step < s->steps) count++;
    return count + 2 <= run->point_count ? count : 0;
}

static bool has_auxiliary(const study *s) {
    bool any = false;
    for (int v = 0; v < s->variant_count; v++) any = any || s->variant[v].auxiliary;
    return any;
}

/* The curves of one figure: a band and a line for each variant that has it. */
typedef struct panel {
    const char *name, *title, *axis, *band; /* in plot.dat; columns of the band */
    int first;                              /* variant; 1: those beside the baseline, and a line at 0 */
    bool auxiliary;
    int64_t skip; /* points that are left out */
} panel;

static void add_curve(const study *s, const panel *p, int variant, mmrec_buffer *out) {
    const study_variant *v = &s->variant[variant];
    mmrec_buffer_format(out,
                        ", \\\n  'plot.dat' index '%s %s' every ::%lld using %s with filledcurves lc rgb '%s' "
                        "fs transparent solid 0.2 noborder notitle",
                        p->name, v->name, (long long)p->skip, p->band, looks[variant].colour);
    mmrec_buffer_format(
        out, ", \\\n  'plot.dat' index '%s %s' every ::%lld using 1:2 with lines lw 2 dt %d lc rgb '%s' title '%s'",
        p->name, v->name, (long long)p->skip, looks[variant].dash, looks[variant].colour, v->title);
}

static void add_panel(const study *s, const panel *p, mmrec_buffer *out) {
    mmrec_buffer_format(out, "set title \"%s\"\nset ylabel \"%s\"\n", p->title, p->axis);
    mmrec_buffer_format(out, "plot %s with lines lc rgb '#808080' notitle", p->first > 0 ? "0" : "NaN");
    for (int v = p->first; v < s->variant_count; v++) {
        if (!p->auxiliary || s->variant[v].auxiliary) add_curve(s, p, v, out);
    }
    mmrec_buffer_text(out, "\n");
}

static void add_terminals(int height, mmrec_buffer *out) {
    mmrec_buffer_format(out,
                        "if (kind eq 'svg') { set terminal svg size 1200,%d font 'sans-serif,15' background 'white' }\n"
                        "if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) "
                        "{ set terminal pngcairo size 1200,%d font 'sans,11' background 'white' }\n"
                        "if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') == 0) "
                        "{ set terminal png size 1200,%d }\n",
                        height, height, height);
}

void study_plot_script(const study *s, mmrec_buffer *out) {
    const panel loss = {"loss", "Validation loss (band: all seeds)", "nats", "1:3:4", 0, false, first_losses(s)};
    static const panel difference = {
        "difference", "Validation loss less the baseline's (band: 95 % interval)", "nats", "1:5:6", 1, false, 0};
    static const panel aux = {
        "aux", "Auxiliary loss, held-out (band: all seeds)", "as it enters the loss", "1:3:4", 0, true, 0};
    static const panel cosine = {
        "cosine", "Main and auxiliary gradient (band: all seeds)", "cosine of their angle", "1:3:4", 0, true, 0};
    bool auxiliary = has_auxiliary(s);
    mmrec_buffer_text(out, "# gnuplot plot.gp, in this folder, draws plot.svg and plot.png from plot.dat.\n"
                           "set encoding utf8\ndo for [kind in 'svg png'] {\n");
    add_terminals(auxiliary ? 920 : 500, out);
    mmrec_buffer_format(out,
                        "set output 'plot.'.kind\n"
                        "set multiplot layout %d,2 margins 0.085,0.97,%g,%g spacing 0.1,0.15\n"
                        "set grid back lt 1 lw 1 lc rgb '#d8d8d8'\nset border lc rgb '#404040'\n"
                        "set key at screen 0.5,0.985 center top vertical maxrows 1 samplen 3\n"
                        "set xlabel 'steps of training'\nset xrange [0:%lld]\n",
                        auxiliary ? 2 : 1, auxiliary ? 0.07 : 0.13, auxiliary ? 0.9 : 0.82, (long long)s->steps);
    add_panel(s, &loss, out);
    mmrec_buffer_text(out, "unset key\n"); /* the colours are the same everywhere */
    add_panel(s, &difference, out);
    if (auxiliary) {
        mmrec_buffer_text(out, "set logscale y\nset format y '10^{%T}'\n"); /* planning and deep lie far apart */
        add_panel(s, &aux, out);
        mmrec_buffer_text(out, "unset logscale y\nset format y\n");
        add_panel(s, &cosine, out);
    }
    mmrec_buffer_text(out, "unset multiplot\nunset output\n}\n");
}

/* ---- drawing ---- */

void study_draw(study *s, const char *program) { mmrec_gnuplot(program, s->folder, s->plot_note); }
