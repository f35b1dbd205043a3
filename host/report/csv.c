/* CSV: one table per mode, every row complete in itself, empty fields where there is no figure. */
#include "report/csv_row.h"
#include "report/output.h"

#include <stdio.h>

static void case_fields(csv_row *row, const mmrec_bench_case *c, const mmrec_bench_options *run) {
    for (int i = 0; i < MMREC_CASE_SIZES; i++) whole_field(row, mmrec_case_size_name(i), mmrec_case_size(c, i));
    text_field(row, "uboo", mmrec_uboo_name(c->model.uboo));
    real_field(row, "dropout", true, c->model.dropout);
    text_field(row, "recompute", run->recompute ? "on" : "off");
}

static void run_fields(csv_row *row, const mmrec_report *report, const char *dtype) {
    text_field(row, "backend", report->bench.backend);
    text_field(row, "dtype", dtype);
    whole_field(row, "threads", report->bench.machine.threads);
}

static void device_fields(csv_row *row, const mmrec_report *report, const mmrec_timing *timing,
                          const mmrec_bench_row *r, const mmrec_row_figures *f) {
    const mmrec_series *s = &r->series;
    bool device = mmrec_of_device(report);
    text_field(row, "device", report->bench.device.name);
    text_field(row, "timer", mmrec_timer_name(timing->used));
    text_field(row, "cache", !device ? "" : timing->cold ? "cold" : "hot");
    text_field(row, "untimed", s->untimed ? s->untimed : "");
    known_field(row, "launches", r->launches);
    real_field(row, "host_median_ns", f->has_host, s->host.median);
    real_field(row, "host_ci95_low_ns", f->has_host && f->has_interval, s->host.ci95.low);
    real_field(row, "host_ci95_high_ns", f->has_host && f->has_interval, s->host.ci95.high);
    real_field(row, "slowed_samples", device && timing->clocks && f->valid, s->throttled);
}

static void check_fields(csv_row *row, const mmrec_bench_check *c) {
    text_field(row, "check", !c->done ? "" : c->passed ? "passed" : "failed");
    real_field(row, "output_error", c->done, c->output_error);
    real_field(row, "gradient_error", c->done, c->gradient_error);
}

static void memory_fields(csv_row *row, const mmrec_memory_figures *m) {
    char name[64];
    bool valid = mmrec_figures_sum(m->planned) > 0;
    for (int a = 0; a < MMREC_ARENAS; a++) {
        snprintf(name, sizeof name, "%s_planned_bytes", mmrec_arena_name((mmrec_arena)a));
        real_field(row, name, valid, (double)m->planned[a]);
    }
    for (int a = 0; a < MMREC_ARENAS; a++) {
        snprintf(name, sizeof name, "%s_allocated_peak_bytes", mmrec_arena_name((mmrec_arena)a));
        real_field(row, name, valid, (double)m->allocated_peak[a]);
    }
}

static void paired_fields(csv_row *row, const char *ratio_of, const mmrec_paired *p) {
    text_field(row, "ratio_of", p->valid ? ratio_of : "");
    real_field(row, "ratio", p->valid, p->ratio);
    real_field(row, "ratio_ci95_low", p->valid, p->ci95.low);
    real_field(row, "ratio_ci95_high", p->valid, p->ci95.high);
    text_field(row, "verdict", p->valid ? mmrec_verdict_name(p->verdict) : "");
}

static void measure_row(csv_row *row, const mmrec_report *report, int index, int side, mmrec_measure_kind kind) {
    const mmrec_bench_case_result *r = &report->bench.cases[index];
    const mmrec_bench_side *s = &r->side[side];
    const mmrec_bench_row *measured = &s->row[kind];
    mmrec_row_figures f = mmrec_figures_of(measured, mmrec_figures_layers(&r->input, kind), &report->bench.ceilings);
    bool block = kind == MMREC_MEASURE_BLOCK_FORWARD || kind == MMREC_MEASURE_BLOCK_BACKWARD;
    char failure[MMREC_ERROR_MESSAGE], name[MMREC_NAME_TEXT];
    whole_field(row, "case", index + 1);
    text_field(row, "side", mmrec_side_name(report, side));
    text_field(row, "hem", s->hem ? "on" : "off");
    text_field(row, "measure", mmrec_measure_kind_name(kind));
    run_fields(row, report, mmrec_dtype_name(report->bench.dtype));
    case_fields(row, &r->input, &report->setup->run);
    series_fields(row, measured, &f);
    device_fields(row, report, &report->bench.timing, measured, &f);
    known_field(row, "tokens", measured->tokens);
    real_field(row, "tokens_per_s", f.valid, f.tokens_per_s);
    real_field(row, "per_layer_ns", f.valid, f.per_layer_ns);
    real_field(row, "sgemm_share", f.sgemm_share > 0, f.sgemm_share);
    known_field(row, "nodes", measured->nodes);
    real_field(row, "overhead_ns", f.valid, measured->overhead_ns);
    known_field(row, "parameters", r->parameters);
    memory_fields(row, block ? &s->block_memory : &s->model_memory);
    paired_fields(row, mmrec_ratio_name(report, name), &r->paired[kind]);
    check_fields(row, &s->check);
    mmrec_case_failure(report, r, failure, sizeof failure);
    text_field(row, "failure", failure);
    end_row(row);
}

static void case_rows(csv_row *row, const mmrec_report *report, int index) {
    for (int side = 0; side < 2; side++) {
        if (!report->bench.cases[index].side[side].present) continue;
        for (int kind = 0; kind < MMREC_MEASURE_KINDS; kind++) {
            if (!mmrec_measure_wanted(&report->setup->run, (mmrec_measure_kind)kind)) continue;
            if (row->header) measure_row(row, report, index, side, (mmrec_measure_kind)kind);
            measure_row(row, report, index, side, (mmrec_measure_kind)kind);
        }
    }
}

/* An op, or its yardstick, which lacks some of what an op has. */
static void op_row(csv_row *row, const mmrec_report *report, const mmrec_op_result *op, int pass, bool yardstick) {
    static const mmrec_bench_check unchecked;
    static const mmrec_paired unpaired;
    static const mmrec_stats unrated;
    const mmrec_op_against *a = &op->against;
    mmrec_bench_row measured = yardstick ? a->row[pass] : op->pass[pass];
    if (yardstick && a->missing[0]) measured.series.untimed = a->missing;
    mmrec_row_figures f = mmrec_figures_of(&measured, 1, &report->bench.ceilings);
    char failure[MMREC_ERROR_MESSAGE] = "", name[MMREC_NAME_TEXT];
    const mmrec_stats *share = yardstick ? &unrated : &op->ceiling_share[pass];
    bool interval = share->count >= MMREC_INTERVAL_SAMPLES;
    text_field(row, "op", yardstick ? mmrec_against_name(a->what) : op->op);
    text_field(row, "size", op->size);
    text_field(row, "check_size", yardstick ? "" : op->check_size);
    text_field(row, "pass", mmrec_pass_name(pass));
    run_fields(row, report, yardstick ? "" : mmrec_dtype_name(report->bench.dtype)); /* it says its own */
    series_fields(row, &measured, &f);
    device_fields(row, report, &op->timing, &measured, &f);
    real_field(row, "ceiling_ratio", share->valid, share->median);
    real_field(row, "ceiling_ratio_ci95_low", interval, share->ci95.low);
    real_field(row, "ceiling_ratio_ci95_high", interval, share->ci95.high);
    text_field(row, "ceiling", share->valid ? mmrec_ceiling_name(op->ceiling[pass]) : "");
    paired_fields(row, mmrec_against_ratio_name(op, name), yardstick ? &unpaired : &a->paired[pass]);
    check_fields(row, yardstick ? &unchecked : &op->check);
    if (!yardstick) mmrec_op_failure(op, failure, sizeof failure);
    text_field(row, "failure", failure);
    end_row(row);
}

static void op_rows(csv_row *row, const mmrec_report *report, const mmrec_op_result *op) {
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        bool only_failure = pass == MMREC_FORWARD && op->failure[0];
        if (!op->has_pass[pass] && !only_failure) continue;
        if (row->header) op_row(row, report, op, pass, false);
        op_row(row, report, op, pass, false);
        if (op->against.what != MMREC_AGAINST_NONE && op->has_pass[pass]) op_row(row, report, op, pass, true);
    }
}

static void plan_row(csv_row *row, const mmrec_report *report, const mmrec_plan_report *p, int arena) {
    text_field(row, "hem", p->hem ? "on" : "off");
    text_field(row, "arena", mmrec_arena_name((mmrec_arena)arena));
    text_field(row, "dtype", mmrec_dtype_name(report->bench.dtype));
    case_fields(row, &p->input, &report->setup->run);
    whole_field(row, "planned_bytes", (int64_t)p->arena_bytes[arena]);
    whole_field(row, "without_sharing_bytes", (int64_t)p->unshared_bytes[arena]);
    whole_field(row, "total_bytes", (int64_t)p->total_bytes);
    whole_field(row, "parameters", p->parameters);
    real_field(row, "forward_flops", true, p->forward.flops);
    real_field(row, "backward_flops", true, p->backward.flops);
    real_field(row, "batch_fit", p->budget_bytes > 0, (double)p->batch_fit);
    end_row(row);
}

static void plan_rows(csv_row *row, const mmrec_report *report, const mmrec_plan_report *p) {
    for (int arena = 0; arena < MMREC_ARENAS; arena++) {
        if (row->header) plan_row(row, report, p, arena);
        plan_row(row, report, p, arena);
    }
}

void mmrec_csv(const mmrec_report *report, mmrec_buffer *out) {
    csv_row row = {.out = out, .header = true};
    for (int i = 0; i < report->bench.case_count; i++) case_rows(&row, report, i);
    for (int i = 0; i < report->op_count; i++) op_rows(&row, report, &report->ops[i]);
    for (int i = 0; i < report->plan_count; i++) plan_rows(&row, report, &report->plans[i]);
}
