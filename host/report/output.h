/* The machine-readable outputs, built in memory. */
#ifndef MMREC_REPORT_OUTPUT_H
#define MMREC_REPORT_OUTPUT_H

#include "report/buffer.h"
#include "report/figures.h"

/* RFC 4180: a header, then one row per case, side and measure (or op and pass; or plan and arena). */
void mmrec_csv(const mmrec_report *report, mmrec_buffer *out);
/* docs/bench.schema.json. */
mmrec_status mmrec_json(mmrec_allocator *allocator, const mmrec_report *report, mmrec_buffer *out,
                        mmrec_error *error) MMREC_MUST_CHECK;

#endif
