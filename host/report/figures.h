/* What the printers share: figures derived from a result, once, names of cases, warnings and failures. */
#ifndef MMREC_REPORT_FIGURES_H
#define MMREC_REPORT_FIGURES_H

#include "core/units.h"
#include "mmrec/report.h"

/* Derived from one measured row. Nothing is derived, and `valid` is false, when there are no samples. */
typedef struct mmrec_row_figures {
    bool valid;
    bool has_interval;               /* from MMREC_INTERVAL_SAMPLES on: the two below are nothing before */
    double median_ns, half_width_ns; /* of the 95 % interval of the median */
    double spread;                   /* distance of the quartiles over the median */
    bool has_work;                   /* the work is known, and the two rates of it with it */
    double tokens_per_s, flops_per_s, bytes_per_s;
    bool has_host;                      /* a device's run by the host's clock, from the first call until it is done */
    double host_ns, host_half_width_ns; /* the latter 0 without an interval */
    double per_layer_ns;                /* median over the layers of what was timed */
    double sgemm_share;                 /* FLOP/s over the run's sgemm rate; 0 when that is not known */
} mmrec_row_figures;

/* Even minimum and maximum of fewer samples cover the median less often than 95 %, and one sample would look exact. */
enum { MMREC_INTERVAL_SAMPLES = 6 };
mmrec_row_figures mmrec_figures_of(const mmrec_bench_row *row, int64_t layers, const mmrec_ceilings *ceilings);
/* Why a row has no figures, as a cell: "n/a (emulated)", or "n/a" where nothing was sampled. */
const char *mmrec_missing_text(const mmrec_series *series, char text[MMREC_UNITS_TEXT]);
/* Whether there is something to show: figures, or the reason why there are none. */
bool mmrec_row_shown(const mmrec_bench_row *row);
/* Layers that a measure runs through: 1 for a block. */
int64_t mmrec_figures_layers(const mmrec_bench_case *input, mmrec_measure_kind kind);

/* How much better HEM is, as a share: for times 1 - ratio, for rates 1 / ratio - 1, positive is better. */
typedef struct mmrec_improvement {
    bool valid;
    double value;
    mmrec_interval ci95;
} mmrec_improvement;
mmrec_improvement mmrec_improvement_of_time(const mmrec_paired *paired);
mmrec_improvement mmrec_improvement_of_rate(const mmrec_paired *paired);

/* Whether the report is of a device, of which there is more to tell. */
bool mmrec_of_device(const mmrec_report *report);
/* Sum over the arenas. */
size_t mmrec_figures_sum(const size_t by_arena[MMREC_ARENAS]);

enum { MMREC_NAME_TEXT = 192, MMREC_WARNINGS = 19, MMREC_WARNING_TEXT = 600 };

/* "D 512, T 512, B 2, L 2, H 8, V 1000", and the sizes and options not in it. */
const char *mmrec_case_name(const mmrec_bench_case *input, char text[MMREC_NAME_TEXT]);
const char *mmrec_case_details(const mmrec_bench_case *input, bool recompute, char text[MMREC_NAME_TEXT]);
/* Every size of a case, in one order for all outputs: "dim", 512. */
enum { MMREC_CASE_SIZES = 12 };
const char *mmrec_case_size_name(int index);
int64_t mmrec_case_size(const mmrec_bench_case *input, int index);
/* "HEM off", "HEM on". */
const char *mmrec_hem_name(bool hem);
/* The name of a side of the report's cases; a self-test has "HEM on, first" and "HEM on, second". */
const char *mmrec_side_name(const mmrec_report *report, int side);
/* Side 1 is compared with side 0: the quotient of a ratio, "HEM on / HEM off". */
const char *mmrec_ratio_name(const mmrec_report *report, char text[MMREC_NAME_TEXT]);
/* "forward", "backward". */
const char *mmrec_pass_name(int pass);
/* An op against its yardstick: "recurrence / cudnn-lstm-fp16". */
const char *mmrec_against_ratio_name(const mmrec_op_result *op, char text[MMREC_NAME_TEXT]);
/* Why a yardstick has no times: "no cuDNN: ...", "emulated"; NULL where it was not asked for, or has some. */
const char *mmrec_against_missing(const mmrec_op_result *op);
/* "model", "op" or "plan": what a report holds. */
const char *mmrec_report_mode(const mmrec_report *report);

/* Why a case or op is not good, written into `text`; false when it is good. */
bool mmrec_case_failure(const mmrec_report *report, const mmrec_bench_case_result *result, char *text, size_t size);
bool mmrec_op_failure(const mmrec_op_result *result, char *text, size_t size);

typedef struct mmrec_warnings {
    int count;
    struct {
        const char *code;
        char message[MMREC_WARNING_TEXT];
    } item[MMREC_WARNINGS];
} mmrec_warnings;
/* What makes the figures less sure than asked for, each with what can be done about it. */
void mmrec_warnings_of(const mmrec_report *report, mmrec_warnings *out);

#endif
