/* Pictures by gnuplot, where there is one. */
#ifndef MMREC_REPORT_GNUPLOT_H
#define MMREC_REPORT_GNUPLOT_H

enum { MMREC_GNUPLOT_NOTE = 160 };

/* Runs `program` ("gnuplot", by its name in PATH) with the script plot.gp in `folder`, for at most a minute. `note`
 * becomes why nothing was drawn, "" where it was. Never a failure: data and script are there, and anyone can run it
 * again. */
void mmrec_gnuplot(const char *program, const char *folder, char note[MMREC_GNUPLOT_NOTE]);

#endif
