/* Building JSON with jansson, the first failure latched (it can only be memory). */
#ifndef MMREC_REPORT_JSON_IMPL_H
#define MMREC_REPORT_JSON_IMPL_H

#include <jansson.h>

#include "report/figures.h"

typedef struct json_document {
    mmrec_allocator *allocator; /* where jansson's memory comes from (core/json.h) */
    bool failed;
} json_document;

/* An object or array that is being filled. */
typedef struct json_out {
    json_t *to;
    json_document *document;
} json_out;

/* All of these add under `key`, or at the end of an array when `key` is NULL. */
void json_put(json_out out, const char *key, json_t *value); /* takes the reference */
json_out json_put_object(json_out out, const char *key);
json_out json_put_array(json_out out, const char *key);
void json_put_text(json_out out, const char *key, const char *text);  /* not UTF-8: every bad byte as '?' */
void json_put_known(json_out out, const char *key, const char *text); /* "" becomes null */
void json_put_whole(json_out out, const char *key, int64_t value);
void json_put_known_size(json_out out, const char *key, uint64_t size);         /* 0 = unknown becomes null */
void json_put_real(json_out out, const char *key, double value);                /* not finite: null */
void json_put_real_if(json_out out, const char *key, bool valid, double value); /* otherwise null */
void json_put_bool(json_out out, const char *key, bool value);

void json_put_sizes(json_out out, const char *key, const mmrec_bench_case *input, bool recompute);
void json_put_work(json_out out, const char *key, const mmrec_work *work); /* nothing: null */
void json_put_arenas(json_out out, const char *key, const size_t bytes[MMREC_ARENAS]);
void json_put_check(json_out out, const mmrec_bench_check *check);
/* Statistics, samples and derived figures of one row, into `out` itself. */
void json_put_series(json_out out, const mmrec_bench_row *row, const mmrec_row_figures *figures);

/* What stands at the head of every document: the options, the machine ("environment"), the device (null on the host). */
void json_put_options(json_out out, const mmrec_options *options);
void json_put_machine(json_out out, const mmrec_machine *machine);
void json_put_device(json_out out, const mmrec_device_info *device);

/* What a device adds to a row: null on the host. */
void json_put_row_of_device(json_out out, const mmrec_report *report, const mmrec_bench_row *row,
                            const mmrec_row_figures *figures);

void json_put_cases(json_out out, const mmrec_report *report);
void json_put_comparisons(json_out out, const mmrec_report *report);
void json_put_ops(json_out out, const mmrec_report *report);
void json_put_plans(json_out out, const mmrec_report *report);

#endif
