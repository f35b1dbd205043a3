/* The parts of the Markdown report; each adds its section to `out`. */
#ifndef MMREC_REPORT_MARKDOWN_H
#define MMREC_REPORT_MARKDOWN_H

#include "core/units.h"
#include "report/buffer.h"
#include "report/figures.h"

/* The whole report. `view`: with the table "Metric | Original | HEM | Improvement" of every case. */
void mmrec_markdown(const mmrec_report *report, bool view, mmrec_buffer *out);

/* The rows of a table of two columns that say what ran it: processor, memory, system, software. */
void mmrec_markdown_machine(const mmrec_machine *machine, mmrec_table *table);

void mmrec_markdown_case(const mmrec_report *report, int index, mmrec_buffer *out);
/* All cases of a sweep side by side, one table per measure. */
void mmrec_markdown_sweep(const mmrec_report *report, mmrec_buffer *out);
void mmrec_markdown_view(const mmrec_report *report, int index, mmrec_buffer *out);
void mmrec_markdown_ops(const mmrec_report *report, mmrec_buffer *out);
void mmrec_markdown_plans(const mmrec_report *report, mmrec_buffer *out);

/* One unit for a column of times: the largest in which the smallest of them is at least 0.1. */
typedef struct mmrec_time_unit {
    const char *name;
    double ns;
} mmrec_time_unit;
mmrec_time_unit mmrec_time_unit_for(double smallest_ns);

/* "2.500 ± 0.012" in the unit; the interval of too few samples is "n/a". `share`: of the median, 1 or per layer. */
const char *mmrec_time_text(const mmrec_row_figures *figures, double share, mmrec_time_unit unit,
                            char text[MMREC_UNITS_TEXT]);
/* "3 of 40" samples, "n/a" where no clocks are known. */
const char *mmrec_slowed_text(const mmrec_report *report, const mmrec_series *series, char text[MMREC_UNITS_TEXT]);
/* What tables of times share: the header of the column of times (on a device two, gpu and host); the cells below it and
 * the spread, `timer` being what the row was timed by; a row of ratios, of 5 cells. */
void mmrec_time_header(const mmrec_report *report, mmrec_time_unit unit, mmrec_table *table);
void mmrec_time_cells(const mmrec_report *report, mmrec_timer timer, const mmrec_bench_row *row,
                      const mmrec_row_figures *figures, mmrec_time_unit unit, mmrec_table *table);
void mmrec_ratio_row(const char *name, const mmrec_paired *paired, mmrec_table *table);
/* The kernels of a row that CUPTI timed; nothing without. `name`: of the row. */
void mmrec_markdown_kernels(const mmrec_bench_row *row, const char *name, mmrec_buffer *out);
/* "1.2 %", or "n/a" for too few samples. */
const char *mmrec_spread_text(const mmrec_row_figures *figures, char text[MMREC_UNITS_TEXT]);
/* " (blocks computed twice)" behind the FLOPs of a backward half that recomputes, or "". */
const char *mmrec_recompute_note(const mmrec_report *report);
/* "+4.7 % (+4.2 to +5.2)" */
const char *mmrec_improvement_text(const mmrec_improvement *improvement, char text[MMREC_UNITS_TEXT]);

#endif
