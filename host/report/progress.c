/* Progress on standard error. Nothing here may disturb a measurement: the runner calls between samples, and a bar is
 * drawn at most ten times a second. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/text.h"
#include "mmrec/report.h"

enum { BAR_WIDTH = 10, DEFAULT_COLUMNS = 80, MOST_COLUMNS = 160 };
static const uint64_t redraw_ns = 100000000;

/* Standard error that cannot be written to is no reason to stop measuring. */
static void put(mmrec_progress_bar *bar, const char *text, size_t size) {
    mmrec_error ignored;
    if (mmrec_io_write_fd(bar->io, STDERR_FILENO, "standard error", text, size, &ignored) != MMREC_OK)
        bar->quiet = true;
}

/* Overwrites the line; what is left of the old text is overwritten with blanks, so that no escape codes are needed. */
static void draw_line(mmrec_progress_bar *bar, const char *text) {
    char line[MOST_COLUMNS + 2];
    struct winsize window;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1) bar->columns = window.ws_col;
    int width = bar->columns - 1 < MOST_COLUMNS ? bar->columns - 1 : MOST_COLUMNS;
    int size = snprintf(line, sizeof line, "\r%-*.*s", width, width, text);
    put(bar, line, (size_t)size);
}

static void draw(mmrec_progress_bar *bar) {
    char text[BAR_WIDTH + sizeof bar->message + 16], blocks[BAR_WIDTH + 1];
    int full = (int)(bar->done * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++) blocks[i] = i < full ? '#' : '.';
    blocks[BAR_WIDTH] = '\0';
    snprintf(text, sizeof text, "[%s] %3.0f %% %s", blocks, 100 * bar->done, bar->message);
    draw_line(bar, text);
    bar->drawn_ns = mmrec_clock_ns();
}

static void on_message(void *context, const char *text) {
    mmrec_progress_bar *bar = context;
    if (bar->quiet) return;
    mmrec_text_printable(text, strlen(text), bar->message, sizeof bar->message);
    if (bar->terminal) {
        draw(bar);
        return;
    }
    char line[sizeof bar->message + 2];
    int size = snprintf(line, sizeof line, "%s\n", bar->message);
    put(bar, line, (size_t)size);
}

static void on_progress(void *context, double done) {
    mmrec_progress_bar *bar = context;
    if (bar->quiet || !bar->terminal) return;
    bar->done = done < 0 ? 0 : done > 1 ? 1 : done;
    if (mmrec_clock_ns() - bar->drawn_ns >= redraw_ns) draw(bar);
}

mmrec_bench_observer mmrec_progress_begin(mmrec_progress_bar *bar, mmrec_io *io, bool quiet) {
    const char *term = getenv("TERM");
    *bar = (mmrec_progress_bar){.io = io, .quiet = quiet, .columns = DEFAULT_COLUMNS};
    bar->terminal = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
    return (mmrec_bench_observer){on_message, on_progress, bar};
}

/* The two largest units of a time: "2 d 3 h", "3 min 20 s", "12 s". Seconds of a long time would be no knowledge. */
static void left_text(double seconds, char *text, size_t size) {
    static const struct {
        const char *name;
        double s;
    } unit[] = {{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}};
    enum { LAST = sizeof unit / sizeof *unit - 1 };
    double whole = ceil(seconds);
    int i = 0;
    while (i < LAST && whole < unit[i].s) i++;
    double first = floor(whole / unit[i].s), rest = whole - first * unit[i].s;
    if (i == LAST)
        snprintf(text, size, ", %.0f s left", first);
    else
        snprintf(text, size, ", %.0f %s %.0f %s left", first, unit[i].name, floor(rest / unit[i + 1].s),
                 unit[i + 1].name);
}

void mmrec_progress_show(mmrec_progress_bar *bar, double done, double left_s, const char *text) {
    static const double longest_s = 1000.0 * 86400;
    char left[64] = "";
    if (bar->quiet || !bar->terminal || mmrec_clock_ns() - bar->drawn_ns < redraw_ns) return;
    if (left_s >= 0 && left_s < longest_s) left_text(left_s, left, sizeof left);
    bar->done = done >= 0 ? fmin(done, 1) : 0;
    snprintf(bar->message, sizeof bar->message, "%s%s", text, left);
    draw(bar);
}

void mmrec_progress_hide(mmrec_progress_bar *bar) {
    if (bar->quiet || !bar->terminal || bar->drawn_ns == 0) return;
    draw_line(bar, "");
    put(bar, "\r", 1);
    bar->drawn_ns = 0;
}

void mmrec_progress_end(mmrec_progress_bar *bar) { mmrec_progress_hide(bar); }
