/* What every JSON document has: its beginning and its end, and what stands at its head. */
#include "core/json.h"
#include "mmrec/version.h"
#include "report/json_impl.h"

json_out json_begin(json_document *document, mmrec_allocator *allocator) {
    *document = (json_document){.allocator = allocator, .before = mmrec_json_use(allocator)};
    document->root = json_object();
    return (json_out){document->root, document};
}

static int append(const char *data, size_t size, void *context) {
    mmrec_buffer *out = context;
    mmrec_buffer_bytes(out, data, size);
    return out->failed ? -1 : 0;
}

bool json_finish(json_document *document, size_t form, mmrec_buffer *out) {
    form |= JSON_REAL_PRECISION(17);
    bool good = !document->failed && json_dump_callback(document->root, append, out, form) == 0;
    json_decref(document->root);
    mmrec_json_use(document->before);
    mmrec_buffer_text(out, "\n");
    return good;
}

mmrec_status json_end(json_document *document, const char *what, mmrec_buffer *out, mmrec_error *error) {
    bool good = json_finish(document, JSON_INDENT(1), out);
    if (!good) MMREC_FAIL(error, MMREC_NO_MEMORY, "not enough memory for the JSON of the %s", what);
    return mmrec_buffer_status(out, error);
}

/* ---- the head ---- */

void json_put_schema(json_out out, const char *name, const char *version, mmrec_program program) {
    json_put_text(out, "schema", name);
    json_put_text(out, "schema_version", version);
    json_out generator = json_put_object(out, "generator");
    json_put_text(generator, "name", mmrec_program_name(program));
    json_put_text(generator, "version", mmrec_version());
}

/* Every option that has a value, as it was written, and where it came from. */
void json_put_options(json_out out, const mmrec_options *all) {
    json_out options = json_put_object(out, "options");
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        const mmrec_option_value *value = &all->value[i];
        if (value->count == 0 || i == MMREC_OPTION_context) continue;
        json_out o = json_put_object(options, mmrec_option_get((mmrec_option_id)i)->flag);
        json_put_text(o, "source", mmrec_option_source_name(value->source));
        if (value->source == MMREC_SOURCE_FILE) json_put_whole(o, "line", value->line);
        json_out texts = json_put_array(o, "values");
        for (int t = 0; t < value->count; t++) json_put_text(texts, NULL, value->text[t]);
    }
}

void json_put_machine(json_out out, const mmrec_machine *m) {
    json_out o = json_put_object(out, "environment");
    json_put_known(o, "cpu", m->cpu);
    json_put_known(o, "os", m->os);
    json_put_known(o, "kernel", m->kernel);
    json_put_known(o, "governor", m->governor);
    json_put_known(o, "isa", m->isa);
    json_put_known(o, "blas", m->blas);
    json_put_known(o, "compiler", m->compiler);
    json_put_whole(o, "processors", m->processors);
    json_put_whole(o, "threads", m->threads);
    json_put_known_size(o, "memory_bytes", m->memory_bytes);
    json_put_known_size(o, "l1d_bytes", m->l1d_bytes);
    json_put_known_size(o, "l2_bytes", m->l2_bytes);
    json_put_known_size(o, "l3_bytes", m->l3_bytes);
    json_put_real_if(o, "load1", m->load1 >= 0, m->load1);
}

void json_put_device(json_out out, const mmrec_device_info *d) {
    if (json_put_null_if(out, "device", !d->name[0])) return;
    json_out o = json_put_object(out, "device");
    json_put_text(o, "name", d->name);
    json_put_bool(o, "emulated", d->emulated);
    json_put_whole(o, "capability", d->capability);
    json_put_whole(o, "sms", d->sms);
    json_put_known_size(o, "memory_bytes", d->memory_bytes);
    json_put_known_size(o, "l2_bytes", d->l2_bytes);
    json_put_whole(o, "runtime_version", d->runtime_version);
    json_put_whole(o, "driver_version", d->driver_version);
}

void json_put_sampling(json_out out, const mmrec_sampling *s, const double *budget_s) {
    json_out o = json_put_object(out, "sampling");
    json_put_real(o, "warmup_s", s->warmup_s);
    json_put_real(o, "min_time_s", s->min_time_s);
    json_put_real(o, "max_time_s", s->max_time_s);
    if (budget_s) json_put_real(o, "total_time_s", *budget_s);
    json_put_real(o, "target_ci", s->target_ci);
    json_put_whole(o, "min_samples", s->min_samples);
    json_put_whole(o, "max_samples", s->max_samples);
    if (budget_s) json_put_whole(o, "least_samples", s->least_samples);
}

void json_put_ceilings(json_out out, const mmrec_ceilings *ceilings) {
    if (json_put_null_if(out, "ceilings", !ceilings)) return;
    json_out o = json_put_object(out, "ceilings");
    json_put_real(o, "sgemm_flops_per_s", ceilings->sgemm_flops_per_s);
    json_put_real(o, "copy_bytes_per_s", ceilings->copy_bytes_per_s);
}

void json_put_warnings(json_out out, const mmrec_warnings *warnings) {
    json_out list = json_put_array(out, "warnings");
    for (int i = 0; i < warnings->count; i++) {
        json_out o = json_put_object(list, NULL);
        json_put_text(o, "code", warnings->item[i].code);
        json_put_text(o, "message", warnings->item[i].message);
    }
}
