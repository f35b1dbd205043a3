/* Pictures: the figures in plot.dat and the gnuplot script plot.gp beside it, which anyone can run again. front: the
 * time of a step against the held-out loss, or the memory where nothing was learned. scaling: time and memory along the
 * axis, with the power laws. */
#include <math.h>
#include <stdio.h>

#include "compare/compare_print.h"

enum { LOOKS = 8 };

/* Okabe and Ito's colours, which people with any kind of colour vision can tell apart. */
static const char *const colours[LOOKS] = {"#000000", "#0072B2", "#D55E00", "#009E73",
                                           "#CC79A7", "#E69F00", "#56B4E9", "#808000"};

/* ---- what there is ---- */

static compare_criterion across(const mmrec_comparison *c) {
    return compare_criterion_used(c, COMPARE_LOSS) ? COMPARE_LOSS : COMPARE_MEMORY;
}

static bool on_front_picture(const mmrec_comparison *c, int row) {
    return isfinite(compare_criterion_of(c, row, COMPARE_TIME)) && isfinite(compare_criterion_of(c, row, across(c)));
}

/* A point's time (ns) or memory (bytes); NaN without. */
static double value_at(const mmrec_comparison *c, int row, int index, bool memory) {
    const mmrec_compare_point *p = c->row[row].points ? &c->row[row].points[index] : NULL;
    if (!p || p->failure[0]) return (double)NAN;
    mmrec_row_figures f = compare_point_of(c, p);
    if (memory) return p->bytes > 0 ? (double)p->bytes : (double)NAN;
    return f.valid ? f.median_ns : (double)NAN;
}

static int points_of(const mmrec_comparison *c, int row, bool memory) {
    int count = 0;
    for (int k = 0; k < c->options->axis_count && c->options->axis_name; k++)
        count += isfinite(value_at(c, row, k, memory));
    return count;
}

static bool has_points(const mmrec_comparison *c, bool memory) {
    bool any = false;
    for (int i = 0; i < c->options->count; i++) any = any || points_of(c, i, memory) > 1;
    return any;
}

void compare_plot_what(const mmrec_comparison *c, compare_pictures *pictures) {
    int rows = 0;
    for (int i = 0; i < c->options->count; i++) rows += on_front_picture(c, i);
    pictures->front = rows > 1;
    pictures->scaling = has_points(c, false) || has_points(c, true);
    pictures->note[0] = '\0';
    if (!pictures->front && !pictures->scaling)
        snprintf(pictures->note, sizeof pictures->note, "there are not two rows or points with %s",
                 compare_untimed(c) ? "times: the device is emulated" : "figures to draw");
}

/* ---- data ---- */

/* A label between double quotes. */
static void put_label(const char *label, mmrec_buffer *out) {
    mmrec_buffer_text(out, " \"");
    for (; *label; label++) {
        bool plain = (unsigned char)*label >= ' ' && *label != '"' && *label != '\\' && *label != 0x7f;
        mmrec_buffer_bytes(out, plain ? label : "?", 1);
    }
    mmrec_buffer_text(out, "\"\n");
}

static void put_three(double value, bool has_interval, double low, double high, mmrec_buffer *out) {
    mmrec_buffer_format(out, "%.9g %.9g %.9g ", value, has_interval ? low : value, has_interval ? high : value);
}

static void put_front(const mmrec_comparison *c, int row, mmrec_buffer *out) {
    compare_figures f;
    compare_figures_of(c, row, &f);
    const mmrec_row_figures *step = &f.part[MMREC_PART_STEP];
    const mmrec_interval *ci95 = &f.timed[MMREC_PART_STEP].series.stats.ci95;
    if (across(c) == COMPARE_LOSS)
        put_three(f.learned.loss, f.learned.has_interval, f.learned.loss_ci95.low, f.learned.loss_ci95.high, out);
    else
        put_three((double)f.planned / 1e6, false, 0, 0, out);
    put_three(step->median_ns / 1e6, step->has_interval, ci95->low / 1e6, ci95->high / 1e6, out);
    mmrec_buffer_format(out, "%d", c->front[row]);
    put_label(f.label, out);
}

/* Names of blocks have the same length: gnuplot would take one that another begins with. */
static void put_points(const mmrec_comparison *c, int row, bool memory, mmrec_buffer *out) {
    if (points_of(c, row, memory) == 0) return;
    mmrec_buffer_format(out, "# %s %02d\n", memory ? "memory" : "time", row + 1);
    for (int k = 0; k < c->options->axis_count; k++) {
        const mmrec_compare_point *p = &c->row[row].points[k];
        mmrec_row_figures f = compare_point_of(c, p);
        double value = value_at(c, row, k, memory), unit = 1e6;
        if (!isfinite(value)) continue;
        mmrec_buffer_format(out, "%lld ", (long long)p->at);
        put_three(value / unit, !memory && f.has_interval, p->step.ci95.low / unit, p->step.ci95.high / unit, out);
        mmrec_buffer_text(out, "\n");
    }
    mmrec_buffer_text(out, "\n\n");
}

void compare_plot_data(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_buffer_format(out,
                        "# front: %s; its 95 %% interval from, to; step in ms, from, to; on the front; label.\n"
                        "# time, memory: the axis; step in ms or MB; its 95 %% interval from, to.\n# front\n",
                        across(c) == COMPARE_LOSS ? "held-out loss" : "planned memory in MB");
    for (int i = 0; i < c->options->count; i++) {
        if (on_front_picture(c, i)) put_front(c, i, out);
    }
    mmrec_buffer_text(out, "\n\n");
    for (int i = 0; i < c->options->count; i++) {
        put_points(c, i, false, out);
        put_points(c, i, true, out);
    }
}

/* ---- script ---- */

static void add_terminal(const char *name, int width, int height, mmrec_buffer *out) {
    mmrec_buffer_format(out,
                        "if (kind eq 'svg') { set terminal svg size %d,%d font 'sans-serif,15' background 'white' }\n"
                        "if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) "
                        "{ set terminal pngcairo size %d,%d font 'sans,11' background 'white' }\n"
                        "if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') == 0) "
                        "{ set terminal png size %d,%d }\nset output '%s.'.kind\n",
                        width, height, width, height, width, height, name);
}

/* A quote in a text between single quotes is doubled. */
static void add_title(const char *label, mmrec_buffer *out) {
    for (; *label; label++) {
        mmrec_buffer_bytes(out, (unsigned char)*label >= ' ' && *label != 0x7f ? label : "?", 1);
        if (*label == '\'') mmrec_buffer_text(out, "'");
    }
}

static void add_front_row(const mmrec_comparison *c, int row, int number, mmrec_buffer *out) {
    mmrec_buffer_format(out,
                        ", \\\n  'plot.dat' index 'front' every ::%d::%d using 1:4:2:3:5:6 with xyerrorbars pt %d "
                        "ps 1.5 lc rgb '%s' title '",
                        number, number, c->front[row] ? 7 : 6, colours[row % LOOKS]);
    add_title(c->options->entries[row].label, out);
    mmrec_buffer_text(out, "'");
}

/* Gnuplot writes powers of ten alone, of which a narrow range may have none: these are few enough to be read and at
 * least two. */
static void add_tics(char axis, double low, double high, mmrec_buffer *out) {
    static const double wide[] = {1, 2, 5, 0}, narrow[] = {1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9, 0};
    const double *steps = high > 10 * low ? wide : narrow;
    const char *comma = "";
    mmrec_buffer_format(out, "set %ctics (", axis);
    for (double power = pow(10, floor(log10(low))); power <= high; power *= 10) {
        for (int i = 0; steps[i] > 0; i++) {
            double tic = steps[i] * power;
            if (tic < low || tic > high) continue;
            mmrec_buffer_format(out, "%s%.6g", comma, tic);
            comma = ", ";
        }
    }
    mmrec_buffer_text(out, ")\n");
}

/* A tenth of a decade around what is drawn: gnuplot's own ranges are whole decades. */
static void add_range(const mmrec_comparison *c, char axis, compare_criterion criterion, double unit,
                      mmrec_buffer *out) {
    mmrec_interval range = {(double)NAN, (double)NAN};
    for (int i = 0; i < c->options->count; i++) {
        if (!on_front_picture(c, i)) continue;
        range.low = fmin(range.low, compare_criterion_of(c, i, criterion) / unit);
        range.high = fmax(range.high, compare_criterion_of(c, i, criterion) / unit);
    }
    mmrec_buffer_format(out, "set logscale %c\nset %crange [%.3g:%.3g]\n", axis, axis, 0.8 * range.low,
                        1.25 * range.high);
    add_tics(axis, 0.8 * range.low, 1.25 * range.high, out);
}

static void add_front(const mmrec_comparison *c, mmrec_buffer *out) {
    bool loss = across(c) == COMPARE_LOSS;
    int number = 0;
    add_terminal("front", 1000, 560, out);
    mmrec_buffer_format(out,
                        "set title 'Trade-off (filled: on the Pareto front)'\nset xlabel '%s'\nset ylabel 'step, ms'\n",
                        loss ? "held-out loss" : "planned memory, MB");
    add_range(c, 'y', COMPARE_TIME, 1e6, out);
    if (!loss) add_range(c, 'x', COMPARE_MEMORY, 1e6, out);
    mmrec_buffer_format(out,
                        "%sset grid back lt 1 lw 1 lc rgb '#d8d8d8'\nset key outside right noenhanced samplen 2\n"
                        "plot NaN notitle",
                        loss ? "set offsets graph 0.05, graph 0.05, 0, 0\n" : "");
    for (int i = 0; i < c->options->count; i++) {
        if (on_front_picture(c, i)) add_front_row(c, i, number++, out);
    }
    mmrec_buffer_text(out, "\nreset\n");
}

/* The power law goes through the mean of the logarithms of its points. */
static double factor_of(const mmrec_comparison *c, int row, bool memory, double exponent) {
    double sum = 0;
    int count = 0;
    for (int k = 0; k < c->options->axis_count; k++) {
        double value = value_at(c, row, k, memory);
        if (!isfinite(value)) continue;
        sum += log(value / 1e6) - exponent * log((double)c->row[row].points[k].at);
        count++;
    }
    return exp(sum / count);
}

static void add_curve(const mmrec_comparison *c, int row, bool memory, mmrec_buffer *out) {
    const mmrec_compare_fit *fit = memory ? &c->row[row].memory_fit : &c->row[row].time_fit;
    const char *colour = colours[row % LOOKS];
    int points = points_of(c, row, memory), shape = 4 + 2 * (row / LOOKS) + row % 2;
    if (points == 0) return;
    mmrec_buffer_format(out, ", \\\n  'plot.dat' index '%s %02d' with yerrorbars pt %d lc rgb '%s' title '",
                        memory ? "memory" : "time", row + 1, shape, colour);
    add_title(c->options->entries[row].label, out);
    if (fit->valid) mmrec_buffer_format(out, ": %.2f", fit->exponent);
    mmrec_buffer_text(out, "'");
    if (fit->valid)
        mmrec_buffer_format(out, ", \\\n  %.9g * x ** %.9g with lines lc rgb '%s' dt %d notitle",
                            factor_of(c, row, memory, fit->exponent), fit->exponent, colour, 1 + row / LOOKS);
}

static void add_panel(const mmrec_comparison *c, bool memory, mmrec_buffer *out) {
    if (!has_points(c, memory)) return;
    mmrec_buffer_format(out, "set title '%s'\nset ylabel '%s'\nplot NaN notitle",
                        memory ? "Planned memory" : "Time of a step", memory ? "MB" : "ms");
    for (int i = 0; i < c->options->count; i++) add_curve(c, i, memory, out);
    mmrec_buffer_text(out, "\n");
}

/* At most ten marks, at points. */
static void add_marks(const mmrec_compare_options *o, mmrec_buffer *out) {
    int step = (o->axis_count + 9) / 10;
    mmrec_buffer_text(out, "set xtics (");
    for (int k = 0; k < o->axis_count; k += step)
        mmrec_buffer_format(out, "%s%lld", k > 0 ? ", " : "", (long long)o->axis[k]);
    mmrec_buffer_text(out, ")\n");
}

static void add_scaling(const mmrec_comparison *c, mmrec_buffer *out) {
    int64_t low = c->options->axis[0], high = low, panels = has_points(c, false) + has_points(c, true);
    for (int k = 1; k < c->options->axis_count; k++) {
        if (c->options->axis[k] < low) low = c->options->axis[k];
        if (c->options->axis[k] > high) high = c->options->axis[k];
    }
    add_terminal("scaling", panels > 1 ? 1200 : 700, 560, out);
    mmrec_buffer_format(out,
                        "set multiplot layout 1,%d\nset logscale xy\nset grid back lt 1 lw 1 lc rgb '#d8d8d8'\n"
                        "set key left top noenhanced samplen 2\nset xlabel '%s'\nset xrange [%.9g:%.9g]\n",
                        (int)panels, c->options->axis_name, 0.85 * (double)low, 1.18 * (double)high);
    add_marks(c->options, out);
    add_panel(c, false, out);
    add_panel(c, true, out);
    mmrec_buffer_text(out, "unset multiplot\nreset\n");
}

void compare_plot_script(const mmrec_comparison *c, mmrec_buffer *out) {
    compare_pictures what = {0};
    compare_plot_what(c, &what);
    mmrec_buffer_text(out, "# gnuplot plot.gp, in this folder, draws the pictures from plot.dat.\n"
                           "set encoding utf8\ndo for [kind in 'svg png'] {\n");
    if (what.front) add_front(c, out);
    if (what.scaling) add_scaling(c, out);
    mmrec_buffer_text(out, "unset output\n}\n");
}
