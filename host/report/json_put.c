#include "report/json_impl.h"

#include <math.h>
#include <stdio.h>

void json_put(json_out out, const char *key, json_t *value) {
    int bad = key ? json_object_set_new(out.to, key, value) : json_array_append_new(out.to, value);
    if (bad != 0) out.document->failed = true;
}

static json_out put_container(json_out out, const char *key, json_t *value) {
    json_put(out, key, value);
    /* After a failure the reference may be gone; the rest of the document is then not built. */
    return (json_out){out.document->failed ? NULL : value, out.document};
}

json_out json_put_object(json_out out, const char *key) { return put_container(out, key, json_object()); }
json_out json_put_array(json_out out, const char *key) { return put_container(out, key, json_array()); }

static uint64_t failed_requests(const json_out *out) {
    return out->document->allocator->attempts - out->document->allocator->total.requests;
}

/* A file's name, and so the text about it, can be any bytes; jansson refuses what is not UTF-8, and lack of memory in
 * the same way. */
void json_put_text(json_out out, const char *key, const char *text) {
    uint64_t before = failed_requests(&out);
    json_t *value = json_string(text);
    if (!value && failed_requests(&out) == before) {
        char plain[512];
        snprintf(plain, sizeof plain, "%s", text);
        for (char *c = plain; *c; c++) *c = (unsigned char)*c < 0x80 ? *c : '?';
        value = json_string(plain);
    }
    json_put(out, key, value);
}

void json_put_known(json_out out, const char *key, const char *text) {
    if (*text)
        json_put_text(out, key, text);
    else
        json_put(out, key, json_null());
}

void json_put_buffer(json_out out, const char *key, mmrec_buffer *text) {
    mmrec_buffer_bytes(text, "", 1);
    if (text->failed) out.document->failed = true;
    json_put_known(out, key, text->failed ? "" : text->data);
    mmrec_buffer_free(text);
}

bool json_put_null_if(json_out out, const char *key, bool nothing) {
    if (nothing) json_put(out, key, json_null());
    return nothing;
}

void json_put_seed(json_out out, const char *key, uint64_t seed) {
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    json_put_text(out, key, text);
}

void json_put_whole(json_out out, const char *key, int64_t value) { json_put(out, key, json_integer(value)); }

void json_put_whole_if(json_out out, const char *key, bool valid, int64_t value) {
    json_put(out, key, valid ? json_integer(value) : json_null());
}

void json_put_known_size(json_out out, const char *key, uint64_t size) {
    json_put_whole_if(out, key, size > 0, (int64_t)size);
}

void json_put_real(json_out out, const char *key, double value) {
    json_put(out, key, isfinite(value) ? json_real(value) : json_null());
}

void json_put_real_if(json_out out, const char *key, bool valid, double value) {
    json_put_real(out, key, valid ? value : (double)NAN);
}

void json_put_bool(json_out out, const char *key, bool value) { json_put(out, key, json_boolean(value)); }

/* ---- what several sections hold ---- */

void json_put_sizes(json_out out, const char *key, const mmrec_bench_case *input, bool recompute) {
    const mmrec_model_config *m = &input->model;
    json_out o = json_put_object(out, key);
    for (int i = 0; i < MMREC_CASE_SIZES; i++) json_put_whole(o, mmrec_case_size_name(i), mmrec_case_size(input, i));
    json_put_text(o, "uboo", mmrec_uboo_name(m->uboo));
    json_put_real(o, "uboo_weight", m->uboo_weight);
    json_put_real(o, "memory_decay", m->memory_decay);
    json_put_real(o, "dropout", m->dropout);
    json_put_bool(o, "recompute", recompute);
}

void json_put_work(json_out out, const char *key, const mmrec_work *work) {
    if (json_put_null_if(out, key, !(work->flops + work->bytes > 0))) return;
    json_out o = json_put_object(out, key);
    json_put_real(o, "flops", work->flops);
    json_put_real(o, "transcendentals", work->transcendentals);
    json_put_real(o, "bytes", work->bytes);
}

void json_put_arenas(json_out out, const char *key, const size_t bytes[MMREC_ARENAS]) {
    json_out o = json_put_object(out, key);
    for (int a = 0; a < MMREC_ARENAS; a++) json_put_whole(o, mmrec_arena_name((mmrec_arena)a), (int64_t)bytes[a]);
}

void json_put_check(json_out out, const mmrec_bench_check *c) {
    json_out o = json_put_object(out, "check");
    json_put_bool(o, "done", c->done);
    json_put_bool(o, "passed", c->done && c->passed);
    json_put_real_if(o, "output_error", c->done, c->output_error);
    json_put_real_if(o, "output_tolerance", c->done, c->output_tolerance);
    json_put_real_if(o, "gradient_error", c->done, c->gradient_error);
    json_put_real_if(o, "gradient_tolerance", c->done, c->gradient_tolerance);
    json_put_whole(o, "batch", c->batch);
    json_put_whole(o, "time", c->time);
    json_put_whole(o, "dim", c->dim);
    json_put_whole(o, "layers", c->layers);
    if (!c->done) json_put_text(o, "reason", "it was not compared");
}

static void put_stats(json_out out, const char *key, const mmrec_stats *s, const mmrec_row_figures *f) {
    json_out o = json_put_object(out, key);
    json_put_real(o, "median_ns", s->median);
    json_put_real_if(o, "ci95_low_ns", f->has_interval, s->ci95.low);
    json_put_real_if(o, "ci95_high_ns", f->has_interval, s->ci95.high);
    json_put_real(o, "mean_ns", s->mean);
    json_put_real(o, "min_ns", s->min);
    json_put_real(o, "max_ns", s->max);
    json_put_real(o, "q1_ns", s->q1);
    json_put_real(o, "q3_ns", s->q3);
    json_put_real_if(o, "deviation_ns", s->count > 1, s->deviation);
    json_put_real(o, "mad_ns", s->mad);
}

void json_put_share(json_out out, const char *key, const mmrec_stats *share, bool known) {
    char low[64], high[64];
    bool interval = known && share->count >= MMREC_INTERVAL_SAMPLES;
    snprintf(low, sizeof low, "%s_ci95_low", key);
    snprintf(high, sizeof high, "%s_ci95_high", key);
    json_put_real_if(out, key, known, share->median);
    json_put_real_if(out, low, interval, share->ci95.low);
    json_put_real_if(out, high, interval, share->ci95.high);
}

void json_put_samples(json_out out, const mmrec_series *series) {
    json_out samples = json_put_array(out, "samples_ns");
    for (int i = 0; i < series->count; i++) json_put_real(samples, NULL, series->samples_ns[i]);
}

void json_put_series(json_out out, const mmrec_bench_row *row, const mmrec_row_figures *f) {
    const mmrec_series *s = &row->series;
    if (f->valid) {
        put_stats(out, "stats", &s->stats, f);
    } else {
        json_put(out, "stats", json_null());
        json_put_text(out, "reason", s->untimed ? s->untimed : "no samples were taken");
    }
    json_put_real_if(out, "flops_per_s", f->has_work, f->flops_per_s);
    json_put_real_if(out, "bytes_per_s", f->has_work, f->bytes_per_s);
    json_put_work(out, "work", &row->work);
    json_put(out, "stop_reason", f->valid ? json_string(mmrec_stop_reason_name(s->stop)) : json_null());
    json_put_whole(out, "warmup_runs", s->warmup_runs);
    json_put_real(out, "warmup_s", s->warmup_s);
    json_put_whole(out, "runs_per_sample", s->runs_per_sample);
    json_put_real_if(out, "waited_share", f->valid, s->waited_share);
    json_put_samples(out, s);
}

static void put_kernels(json_out out, const mmrec_bench_row *row) {
    json_out kernels = json_put_array(out, "kernels");
    for (int i = 0; i < row->kernel_count; i++) {
        json_out o = json_put_object(kernels, NULL);
        json_put_text(o, "name", row->kernels[i].name);
        json_put_real(o, "launches", row->kernels[i].launches);
        json_put_real(o, "ns", row->kernels[i].ns);
    }
}

static void put_notes(json_out out, const mmrec_series *s) {
    json_out list = json_put_array(out, "samples");
    for (int i = 0; i < s->count && s->notes; i++) {
        const mmrec_sample_note *note = &s->notes[i];
        char reasons[160];
        json_out o = json_put_object(list, NULL);
        json_put_real(o, "host_ns", note->host_ns);
        json_put_known_size(o, "sm_mhz", (uint64_t)note->sm_mhz);
        json_put_known_size(o, "memory_mhz", (uint64_t)note->memory_mhz);
        json_put_known(o, "slowed_by", mmrec_throttle_text(note->throttle, reasons, sizeof reasons));
    }
}

void json_put_row_of_device(json_out out, const mmrec_report *report, const mmrec_bench_row *row,
                            const mmrec_row_figures *f) {
    const mmrec_series *s = &row->series;
    if (json_put_null_if(out, "device", !mmrec_of_device(report))) return;
    json_out o = json_put_object(out, "device");
    json_put_known_size(o, "launches", (uint64_t)row->launches);
    if (!json_put_null_if(o, "host_stats", !f->has_host)) put_stats(o, "host_stats", &s->host, f);
    json_put_whole_if(o, "slowed_samples", report->bench.timing.clocks && f->valid, s->throttled);
    put_notes(o, s);
    put_kernels(o, row);
}
