/* Building JSON with jansson, the first failure latched (it can only be memory). */
#ifndef MMREC_REPORT_JSON_IMPL_H
#define MMREC_REPORT_JSON_IMPL_H

#include <jansson.h>

#include "report/buffer.h"
#include "report/figures.h"

typedef struct json_document {
    mmrec_allocator *allocator; /* where jansson's memory comes from (core/json.h) */
    mmrec_allocator *before;    /* and came from until the document was begun */
    json_t *root;
    bool failed;
} json_document;

/* An object or array that is being filled. */
typedef struct json_out {
    json_t *to;
    json_document *document;
} json_out;

/* An empty document: the object to fill. It must be ended. */
json_out json_begin(json_document *document, mmrec_allocator *allocator);
/* Writes the document to `out`, and frees it. NO_MEMORY, also for what failed before: "... the JSON of the <what>". */
mmrec_status json_end(json_document *document, const char *what, mmrec_buffer *out,
                      mmrec_error *error) MMREC_MUST_CHECK;
/* The same in a form of jansson's, JSON_COMPACT, and without words: false for what failed before and while writing, but
 * for the end of the line, of which `out` knows. */
bool json_finish(json_document *document, size_t form, mmrec_buffer *out) MMREC_MUST_CHECK;

/* All of these add under `key`, or at the end of an array when `key` is NULL. */
void json_put(json_out out, const char *key, json_t *value); /* takes the reference */
json_out json_put_object(json_out out, const char *key);
json_out json_put_array(json_out out, const char *key);
void json_put_text(json_out out, const char *key, const char *text);     /* not UTF-8: every bad byte as '?' */
void json_put_known(json_out out, const char *key, const char *text);    /* "" becomes null */
void json_put_buffer(json_out out, const char *key, mmrec_buffer *text); /* its text, likewise; frees it */
/* Null where there is nothing to tell, which it returns. */
bool json_put_null_if(json_out out, const char *key, bool nothing);
void json_put_seed(json_out out, const char *key, uint64_t seed); /* as text: 64 bits are too many for a JSON number */
void json_put_whole(json_out out, const char *key, int64_t value);
void json_put_whole_if(json_out out, const char *key, bool valid, int64_t value); /* otherwise null */
void json_put_known_size(json_out out, const char *key, uint64_t size);           /* 0 = unknown becomes null */
void json_put_real(json_out out, const char *key, double value);                  /* not finite: null */
void json_put_real_if(json_out out, const char *key, bool valid, double value);   /* otherwise null */
void json_put_bool(json_out out, const char *key, bool value);

void json_put_sizes(json_out out, const char *key, const mmrec_bench_case *input, bool recompute);
void json_put_work(json_out out, const char *key, const mmrec_work *work); /* nothing: null */
void json_put_arenas(json_out out, const char *key, const size_t bytes[MMREC_ARENAS]);
void json_put_check(json_out out, const mmrec_bench_check *check);
/* Statistics, samples and derived figures of one row, into `out` itself. */
/* The median as `key`, its interval as `key`_ci95_low and _high: null where it is not known, or of too few windows. */
void json_put_share(json_out out, const char *key, const mmrec_stats *share, bool known);
void json_put_samples(json_out out, const mmrec_series *series); /* "samples_ns", in the order they were taken */
void json_put_series(json_out out, const mmrec_bench_row *row, const mmrec_row_figures *figures);

/* What stands at the head of every document: schema and program, the options, the machine ("environment"), the device
 * (null on the host). */
void json_put_schema(json_out out, const char *name, const char *version, mmrec_program program);
void json_put_options(json_out out, const mmrec_options *options);
void json_put_machine(json_out out, const mmrec_machine *machine);
void json_put_device(json_out out, const mmrec_device_info *device);
/* What those that measure add. `budget_s`: for all cases together, and so the fewest samples of each are told too;
 * NULL: no such budget. `ceilings` NULL: not measured. */
void json_put_sampling(json_out out, const mmrec_sampling *sampling, const double *budget_s);
void json_put_ceilings(json_out out, const mmrec_ceilings *ceilings);
void json_put_warnings(json_out out, const mmrec_warnings *warnings);

/* What a device adds to a row: null on the host. */
void json_put_row_of_device(json_out out, const mmrec_report *report, const mmrec_bench_row *row,
                            const mmrec_row_figures *figures);

void json_put_cases(json_out out, const mmrec_report *report);
void json_put_comparisons(json_out out, const mmrec_report *report);
void json_put_ops(json_out out, const mmrec_report *report);
void json_put_plans(json_out out, const mmrec_report *report);

#endif
