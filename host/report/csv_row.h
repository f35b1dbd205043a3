/* Rows of CSV (RFC 4180), for the files that print tables of that kind. */
#ifndef MMREC_REPORT_CSV_ROW_H
#define MMREC_REPORT_CSV_ROW_H

#include <math.h>
#include <string.h>

#include "report/buffer.h"
#include "report/figures.h"

/* One row under way. The header and the rows come from the same calls, so that they agree. */
typedef struct csv_row {
    mmrec_buffer *out;
    bool header;
    int fields;
} csv_row;

/* A field is quoted when it holds a separator, a quote or an end of line. */
static inline void csv_put(csv_row *row, const char *text) {
    bool quote = strpbrk(text, ",\"\r\n") != NULL;
    if (row->fields++ > 0) mmrec_buffer_text(row->out, ",");
    if (quote) mmrec_buffer_text(row->out, "\"");
    for (; *text; text++) {
        if (*text == '"') mmrec_buffer_text(row->out, "\"");
        mmrec_buffer_bytes(row->out, text, 1);
    }
    if (quote) mmrec_buffer_text(row->out, "\"");
}

static inline void text_field(csv_row *row, const char *name, const char *text) {
    csv_put(row, row->header ? name : text);
}

static inline void whole_field(csv_row *row, const char *name, int64_t value) {
    if (row->header)
        csv_put(row, name);
    else
        mmrec_buffer_format(row->out, "%s%lld", row->fields++ > 0 ? "," : "", (long long)value);
}

/* 17 digits: reading it back gives the same number. */
static inline void real_field(csv_row *row, const char *name, bool valid, double value) {
    if (row->header || !valid || !isfinite(value))
        csv_put(row, row->header ? name : "");
    else
        mmrec_buffer_format(row->out, "%s%.17g", row->fields++ > 0 ? "," : "", value);
}

/* A count that is 0 while it is not known. */
static inline void known_field(csv_row *row, const char *name, int64_t value) {
    if (row->header || value > 0)
        whole_field(row, name, value);
    else
        csv_put(row, "");
}

static inline void end_row(csv_row *row) {
    mmrec_buffer_text(row->out, "\r\n");
    row->fields = 0;
    row->header = false;
}

/* Samples, statistics, work and rates of what was timed. */
static inline void series_fields(csv_row *row, const mmrec_bench_row *r, const mmrec_row_figures *f) {
    const mmrec_stats *s = &r->series.stats;
    whole_field(row, "samples", r->series.count);
    real_field(row, "median_ns", f->valid, s->median);
    real_field(row, "ci95_low_ns", f->has_interval, s->ci95.low);
    real_field(row, "ci95_high_ns", f->has_interval, s->ci95.high);
    real_field(row, "mean_ns", f->valid, s->mean);
    real_field(row, "min_ns", f->valid, s->min);
    real_field(row, "max_ns", f->valid, s->max);
    real_field(row, "q1_ns", f->valid, s->q1);
    real_field(row, "q3_ns", f->valid, s->q3);
    real_field(row, "deviation_ns", f->valid && s->count > 1, s->deviation);
    real_field(row, "mad_ns", f->valid, s->mad);
    text_field(row, "stop", f->valid ? mmrec_stop_reason_name(r->series.stop) : "");
    real_field(row, "waited_share", f->valid, r->series.waited_share);
    real_field(row, "flops", f->has_work, r->work.flops);
    real_field(row, "bytes", f->has_work, r->work.bytes);
    real_field(row, "flops_per_s", f->has_work, f->flops_per_s);
    real_field(row, "bytes_per_s", f->has_work, f->bytes_per_s);
}

#endif
