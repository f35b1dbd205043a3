/* The Markdown report: what ran where, then the sections, then what to mind. */
#include "report/markdown.h"
#include "core/text.h"
#include "mmrec/version.h"

#include <stdio.h>
#include <string.h>

static void separated(char *text, size_t size, const char *part) {
    size_t used = strlen(text);
    if (*part) snprintf(text + used, size - used, "%s%s", used ? ", " : "", part);
}

static void bytes_part(char *text, size_t size, const char *name, uint64_t bytes) {
    char number[MMREC_UNITS_TEXT], part[80];
    if (bytes == 0) return;
    snprintf(part, sizeof part, "%s%s", name, mmrec_units_bytes_text((double)bytes, number));
    separated(text, size, part);
}

static void processor_row(const mmrec_machine *m, mmrec_table *table) {
    char governor[48] = "", load[32] = "";
    if (m->governor[0]) snprintf(governor, sizeof governor, ", governor %s", m->governor);
    if (m->load1 >= 0) snprintf(load, sizeof load, ", load %.2f", m->load1);
    mmrec_table_cell(table, "processor");
    mmrec_table_cell(table, "%s, %d processor%s, %s%s%s", m->cpu[0] ? m->cpu : "unknown", m->processors,
                     m->processors == 1 ? "" : "s", m->isa, governor, load);
}

static void memory_row(const mmrec_machine *m, mmrec_table *table) {
    char text[160] = "";
    bytes_part(text, sizeof text, "", m->memory_bytes);
    bytes_part(text, sizeof text, "L1d ", m->l1d_bytes);
    bytes_part(text, sizeof text, "L2 ", m->l2_bytes);
    bytes_part(text, sizeof text, "L3 ", m->l3_bytes);
    mmrec_table_cell(table, "memory");
    mmrec_table_cell(table, "%s", text[0] ? text : "unknown");
}

/* Two words of what the library says of itself, its name and version: how it was built is in the JSON. */
static void software_rows(const mmrec_machine *m, mmrec_table *table) {
    char system[256] = "", libraries[256] = "", blas[64];
    size_t name = strcspn(m->blas, " ");
    size_t length = name + (m->blas[name] ? 1 + strcspn(m->blas + name + 1, " ") : 0);
    snprintf(blas, sizeof blas, "%.*s", (int)(length < sizeof blas ? length : sizeof blas - 1), m->blas);
    separated(system, sizeof system, m->os);
    separated(system, sizeof system, m->kernel);
    separated(libraries, sizeof libraries, blas);
    separated(libraries, sizeof libraries, m->compiler);
    mmrec_table_cell(table, "system");
    mmrec_table_cell(table, "%s", system[0] ? system : "unknown");
    mmrec_table_cell(table, "software");
    mmrec_table_cell(table, "mmrec %s, %s", mmrec_version(), libraries);
}

static void device_row(const mmrec_report *report, mmrec_table *table) {
    const mmrec_device_info *d = &report->bench.device;
    const char *choice = report->bench.choice;
    char memory[MMREC_UNITS_TEXT], cache[MMREC_UNITS_TEXT];
    mmrec_table_cell(table, "device");
    if (!d->name[0]) {
        mmrec_table_cell(table, "n/a (no device)%s%s", *choice ? "; " : "", choice);
    } else if (d->emulated) {
        mmrec_table_cell(table, "%s: results are real, times mean nothing", d->name);
    } else {
        mmrec_table_cell(table, "%s, compute capability %d.%d, %d SMs, %s, L2 %s, CUDA %d.%d, driver for CUDA %d.%d",
                         d->name, d->capability / 10, d->capability % 10, d->sms,
                         mmrec_units_bytes_text((double)d->memory_bytes, memory),
                         mmrec_units_bytes_text((double)d->l2_bytes, cache), d->runtime_version / 1000,
                         d->runtime_version % 1000 / 10, d->driver_version / 1000, d->driver_version % 1000 / 10);
    }
}

static void run_rows(const mmrec_report *report, mmrec_table *table) {
    const mmrec_machine *m = &report->bench.machine;
    const mmrec_bench_result *b = &report->bench;
    const char *plural = m->threads == 1 ? "" : "s";
    char sgemm[MMREC_UNITS_TEXT], copy[MMREC_UNITS_TEXT];
    if (report->has_ceilings) {
        mmrec_table_cell(table, "ceilings");
        mmrec_table_cell(table, "sgemm %s, copy %s, measured in this run with %d thread%s",
                         mmrec_units_scaled_text(b->ceilings.sgemm_flops_per_s, "FLOP/s", sgemm),
                         mmrec_units_scaled_text(b->ceilings.copy_bytes_per_s, "B/s", copy), m->threads, plural);
    }
    mmrec_table_cell(table, "run");
    mmrec_table_cell(table, "backend %s, %s, %d thread%s, %s, seed %llu, %s", b->backend, mmrec_dtype_name(b->dtype),
                     m->threads, plural, b->data, (unsigned long long)b->seed, b->started);
    if (!mmrec_of_device(report) || report->plans) return;
    mmrec_table_cell(table, "timing");
    if (b->device.emulated) {
        mmrec_table_cell(table, "n/a (emulated), cache %s", b->timing.cold ? "cold" : "hot");
        return;
    }
    mmrec_table_cell(table, "gpu by %s, cache %s, clocks %s", mmrec_timer_name(b->timing.used),
                     b->timing.cold ? "cold" : "hot", b->timing.clocks ? "by NVML" : "not known");
}

void mmrec_markdown_machine(const mmrec_machine *machine, mmrec_table *table) {
    processor_row(machine, table);
    memory_row(machine, table);
    software_rows(machine, table);
}

static void machine_table(const mmrec_report *report, mmrec_buffer *out) {
    mmrec_table table;
    mmrec_table_begin(&table, out->allocator, 2, 0);
    mmrec_table_header(&table, "machine| ");
    mmrec_markdown_machine(&report->bench.machine, &table);
    device_row(report, &table);
    run_rows(report, &table);
    mmrec_table_end(&table, out);
}

static void context_lines(const mmrec_report *report, mmrec_buffer *out) {
    const mmrec_option_value *value = &report->options->value[MMREC_OPTION_context];
    for (int i = 0; i < value->count; i++) {
        char note[400];
        mmrec_text_printable(value->text[i], strlen(value->text[i]), note, sizeof note);
        mmrec_buffer_format(out, "%s- %s\n", i == 0 ? "\n" : "", note);
    }
}

static void legend(const mmrec_report *report, bool view, mmrec_buffer *out) {
    if (report->plans) return;
    mmrec_buffer_text(out,
                      "\n\xc2\xb1 is half the 95 % interval of the median, spread the distance of the quartiles over "
                      "the median, n the number of\nsamples, ended by what stopped them: the interval asked for, or "
                      "a cap on time or samples, or an interrupt.\n");
    if (mmrec_of_device(report)) {
        mmrec_buffer_text(out,
                          "gpu is the device's time, the host's kept out of it; host is a run by the host's clock, "
                          "from the first call until\nthe device is done; launches are kernels of one run; slowed are "
                          "samples while which the device was held below\nits clocks (they count all the same).\n");
    }
    if (report->bench.case_count == 0) return;
    if (mmrec_of_device(report)) {
        mmrec_buffer_text(out, "Memory by phase is the device's: allocated is mmrec's, with the backend's workspace; "
                               "unaccounted is what came into use\nsince before that mmrec did not allocate.\n");
    }
    mmrec_buffer_text(out, "tokens/s and layer of a block are of that one block; layer of a model is its time over its "
                           "layers, embedding and\nhead included.");
    if (report->setup->run.self_test) {
        mmrec_buffer_text(out, " Both sides are the same here: another verdict than same is noise of this machine.");
    } else if (report->setup->run.hem == MMREC_HEM_BOTH) {
        mmrec_buffer_text(out, " The ratio is of times, paired in alternation: below 1 HEM on is faster.");
        if (view)
            mmrec_buffer_text(out, "\nOriginal is HEM off. An improvement is positive where HEM is better, with "
                                   "its 95 % interval.");
    }
    mmrec_buffer_text(out, "\n");
}

static void peak_line(const mmrec_report *report, mmrec_buffer *out) {
    char text[MMREC_UNITS_TEXT];
    if (report->plans || report->bench.peak_rss_bytes == 0) return;
    mmrec_buffer_format(out, "\nPeak resident memory of the process, libraries included: %s\n",
                        mmrec_units_bytes_text((double)report->bench.peak_rss_bytes, text));
}

static void warning_lines(const mmrec_report *report, mmrec_buffer *out) {
    mmrec_warnings warnings;
    mmrec_warnings_of(report, &warnings);
    for (int i = 0; i < warnings.count; i++) {
        mmrec_buffer_format(out, "%s- %s\n", i == 0 ? "\nWarnings:\n\n" : "", warnings.item[i].message);
    }
}

void mmrec_markdown(const mmrec_report *report, bool view, mmrec_buffer *out) {
    mmrec_buffer_format(out, "# %s\n\n", mmrec_program_name(report->options->program));
    machine_table(report, out);
    context_lines(report, out);
    for (int i = 0; i < report->bench.case_count; i++) {
        mmrec_markdown_case(report, i, out);
        if (view) mmrec_markdown_view(report, i, out);
    }
    mmrec_markdown_sweep(report, out);
    if (report->ops) mmrec_markdown_ops(report, out);
    if (report->plans) mmrec_markdown_plans(report, out);
    legend(report, view, out);
    peak_line(report, out);
    warning_lines(report, out);
}

mmrec_time_unit mmrec_time_unit_for(double smallest_ns) {
    static const mmrec_time_unit units[] = {{"s", 1e9}, {"ms", 1e6}, {"us", 1e3}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (smallest_ns >= 0.1 * units[i].ns) return units[i];
    }
    return (mmrec_time_unit){"ns", 1};
}

const char *mmrec_time_text(const mmrec_row_figures *f, double share, mmrec_time_unit unit,
                            char text[MMREC_UNITS_TEXT]) {
    char half[MMREC_UNITS_TEXT / 2] = "n/a";
    if (f->has_interval) snprintf(half, sizeof half, "%.3f", share * f->half_width_ns / unit.ns);
    snprintf(text, MMREC_UNITS_TEXT, "%.3f \xc2\xb1 %s", share * f->median_ns / unit.ns, half);
    return text;
}

/* The same of the host's clock. */
static const char *host_time_text(const mmrec_row_figures *f, mmrec_time_unit unit, char text[MMREC_UNITS_TEXT]) {
    mmrec_row_figures host = *f;
    host.median_ns = f->host_ns;
    host.half_width_ns = f->host_half_width_ns;
    return mmrec_time_text(&host, 1, unit, text);
}

const char *mmrec_slowed_text(const mmrec_report *report, const mmrec_series *series, char text[MMREC_UNITS_TEXT]) {
    bool known = report->bench.timing.clocks && series->count > 0;
    snprintf(text, MMREC_UNITS_TEXT, known ? "%d of %d" : "n/a", series->throttled, series->count);
    return text;
}

void mmrec_time_header(const mmrec_report *report, mmrec_time_unit unit, mmrec_table *table) {
    char header[64];
    snprintf(header, sizeof header,
             mmrec_of_device(report) ? "gpu \xc2\xb1 95 %% [%s]|host \xc2\xb1 95 %% [%s]"
                                     : "median \xc2\xb1 95 %% [%s]",
             unit.name, unit.name);
    mmrec_table_header(table, header);
}

void mmrec_time_cells(const mmrec_report *report, mmrec_timer timer, const mmrec_bench_row *row,
                      const mmrec_row_figures *f, mmrec_time_unit unit, mmrec_table *table) {
    char text[MMREC_UNITS_TEXT], missing[MMREC_UNITS_TEXT];
    bool device = mmrec_of_device(report), timed = f->valid && !(device && timer == MMREC_TIMER_HOST);
    mmrec_missing_text(&row->series, missing);
    mmrec_table_cell(table, "%s", timed ? mmrec_time_text(f, 1, unit, text) : missing);
    if (device) mmrec_table_cell(table, "%s", f->has_host ? host_time_text(f, unit, text) : missing);
    mmrec_table_cell(table, "%s", f->valid ? mmrec_spread_text(f, text) : missing);
}

void mmrec_ratio_row(const char *name, const mmrec_paired *p, mmrec_table *table) {
    mmrec_table_cell(table, "%s", name);
    mmrec_table_cell(table, "%.3f", p->ratio);
    mmrec_table_cell(table, "%.3f to %.3f", p->ci95.low, p->ci95.high);
    mmrec_table_cell(table, "%d", p->pairs);
    mmrec_table_cell(table, "%s", mmrec_verdict_name(p->verdict));
}

void mmrec_markdown_kernels(const mmrec_bench_row *row, const char *name, mmrec_buffer *out) {
    mmrec_table table;
    double sum = 0;
    if (row->kernel_count == 0) return;
    for (int i = 0; i < row->kernel_count; i++) sum += row->kernels[i].ns;
    mmrec_table_begin(&table, out->allocator, 4, 0xe);
    mmrec_table_cell(&table, "kernels of %s", name);
    mmrec_table_header(&table, "launches|us of one run|share");
    for (int i = 0; i < row->kernel_count; i++) {
        const mmrec_kernel_time *k = &row->kernels[i];
        mmrec_table_cell(&table, "%s", k->name);
        mmrec_table_cell(&table, "%.0f", k->launches);
        mmrec_table_cell(&table, "%.3f", k->ns / 1e3);
        mmrec_table_cell(&table, "%.1f %%", sum > 0 ? 100 * k->ns / sum : 0);
    }
    mmrec_buffer_text(out, "\n");
    mmrec_table_end(&table, out);
}

const char *mmrec_spread_text(const mmrec_row_figures *f, char text[MMREC_UNITS_TEXT]) {
    snprintf(text, MMREC_UNITS_TEXT, f->has_interval ? "%.1f %%" : "n/a", 100 * f->spread);
    return text;
}

const char *mmrec_recompute_note(const mmrec_report *report) {
    return report->setup->run.recompute ? " (blocks computed twice)" : "";
}

const char *mmrec_improvement_text(const mmrec_improvement *i, char text[MMREC_UNITS_TEXT]) {
    snprintf(text, MMREC_UNITS_TEXT, "%+.1f %% (%+.1f to %+.1f)", 100 * i->value, 100 * i->ci95.low,
             100 * i->ci95.high);
    return text;
}
