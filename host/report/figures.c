#include "report/figures.h"

#include <stdio.h>
#include <string.h>

mmrec_row_figures mmrec_figures_of(const mmrec_bench_row *row, int64_t layers, const mmrec_ceilings *ceilings) {
    const mmrec_stats *s = &row->series.stats;
    mmrec_row_figures f = {.valid = s->valid && s->median > 0};
    if (!f.valid) return f;
    double per_second = 1e9 / s->median;
    f.median_ns = s->median;
    f.has_interval = s->count >= MMREC_INTERVAL_SAMPLES;
    if (f.has_interval) {
        f.half_width_ns = (s->ci95.high - s->ci95.low) / 2;
        f.spread = (s->q3 - s->q1) / s->median;
    }
    const mmrec_stats *host = &row->series.host;
    f.has_host = host->valid;
    f.host_ns = host->median;
    if (f.has_interval && f.has_host) f.host_half_width_ns = (host->ci95.high - host->ci95.low) / 2;
    f.tokens_per_s = (double)row->tokens * per_second;
    f.has_work = row->work.flops + row->work.bytes > 0;
    f.flops_per_s = row->work.flops * per_second;
    f.bytes_per_s = row->work.bytes * per_second;
    f.per_layer_ns = s->median / (double)(layers > 0 ? layers : 1);
    f.sgemm_share = ceilings->sgemm_flops_per_s > 0 ? f.flops_per_s / ceilings->sgemm_flops_per_s : 0;
    return f;
}

const char *mmrec_missing_text(const mmrec_series *series, char text[MMREC_UNITS_TEXT]) {
    snprintf(text, MMREC_UNITS_TEXT, series->untimed ? "n/a (%.30s)" : "n/a", series->untimed);
    return text;
}

bool mmrec_row_shown(const mmrec_bench_row *row) { return row->series.stats.valid || row->series.untimed; }

int64_t mmrec_figures_layers(const mmrec_bench_case *input, mmrec_measure_kind kind) {
    bool block = kind == MMREC_MEASURE_BLOCK_FORWARD || kind == MMREC_MEASURE_BLOCK_BACKWARD;
    return block ? 1 : input->model.layers;
}

mmrec_improvement mmrec_improvement_of_time(const mmrec_paired *p) {
    mmrec_improvement i = {.valid = p->valid};
    if (i.valid) i = (mmrec_improvement){true, 1 - p->ratio, {1 - p->ci95.high, 1 - p->ci95.low}};
    return i;
}

mmrec_improvement mmrec_improvement_of_rate(const mmrec_paired *p) {
    mmrec_improvement i = {.valid = p->valid && p->ci95.low > 0};
    if (i.valid) i = (mmrec_improvement){true, 1 / p->ratio - 1, {1 / p->ci95.high - 1, 1 / p->ci95.low - 1}};
    return i;
}

bool mmrec_of_device(const mmrec_report *report) { return report->bench.device.name[0] != '\0'; }

size_t mmrec_figures_sum(const size_t by_arena[MMREC_ARENAS]) {
    size_t sum = 0;
    for (int a = 0; a < MMREC_ARENAS; a++) sum += by_arena[a];
    return sum;
}

/* ---- names ---- */

const char *mmrec_case_name(const mmrec_bench_case *c, char text[MMREC_NAME_TEXT]) {
    const mmrec_model_config *m = &c->model;
    snprintf(text, MMREC_NAME_TEXT, "D %lld, T %lld, B %lld, L %lld, H %lld, V %lld", (long long)m->dim,
             (long long)c->time, (long long)c->batch, (long long)m->layers, (long long)m->heads, (long long)m->vocab);
    return text;
}

const char *mmrec_case_details(const mmrec_bench_case *c, bool recompute, char text[MMREC_NAME_TEXT]) {
    const mmrec_model_config *m = &c->model;
    snprintf(text, MMREC_NAME_TEXT,
             "F %lld, I %lld, S %lld (level %lld), P %lld, R %lld, uboo %s, dropout %g, recompute %s",
             (long long)m->ffn, (long long)m->inner, (long long)m->slots, (long long)m->level, (long long)m->pe,
             (long long)m->dpg, mmrec_uboo_name(m->uboo), m->dropout, recompute ? "on" : "off");
    return text;
}

typedef struct case_size {
    const char *name;
    size_t offset;
} case_size;

static const case_size sizes[MMREC_CASE_SIZES] = {
    {"dim", offsetof(mmrec_bench_case, model.dim)},     {"layers", offsetof(mmrec_bench_case, model.layers)},
    {"heads", offsetof(mmrec_bench_case, model.heads)}, {"time", offsetof(mmrec_bench_case, time)},
    {"batch", offsetof(mmrec_bench_case, batch)},       {"vocab", offsetof(mmrec_bench_case, model.vocab)},
    {"ffn", offsetof(mmrec_bench_case, model.ffn)},     {"slots", offsetof(mmrec_bench_case, model.slots)},
    {"inner", offsetof(mmrec_bench_case, model.inner)}, {"level", offsetof(mmrec_bench_case, model.level)},
    {"pe", offsetof(mmrec_bench_case, model.pe)},       {"dpg", offsetof(mmrec_bench_case, model.dpg)}};

const char *mmrec_case_size_name(int index) { return sizes[index].name; }

int64_t mmrec_case_size(const mmrec_bench_case *c, int index) {
    return *(const int64_t *)(const void *)((const char *)c + sizes[index].offset);
}

const char *mmrec_hem_name(bool hem) { return hem ? "HEM on" : "HEM off"; }

const char *mmrec_side_name(const mmrec_report *report, int side) {
    static const char *const selves[2][2] = {{"HEM off, first", "HEM off, second"},
                                             {"HEM on, first", "HEM on, second"}};
    const mmrec_bench_options *run = &report->setup->run;
    return run->self_test ? selves[run->hem == MMREC_HEM_ON][side] : mmrec_hem_name(side);
}

const char *mmrec_ratio_name(const mmrec_report *report, char text[MMREC_NAME_TEXT]) {
    snprintf(text, MMREC_NAME_TEXT, "%s / %s", mmrec_side_name(report, 1), mmrec_side_name(report, 0));
    return text;
}

const char *mmrec_pass_name(int pass) { return pass == MMREC_FORWARD ? "forward" : "backward"; }

const char *mmrec_against_ratio_name(const mmrec_op_result *op, char text[MMREC_NAME_TEXT]) {
    snprintf(text, MMREC_NAME_TEXT, "%s / %s", op->op, mmrec_against_name(op->against.what));
    return text;
}

const char *mmrec_against_missing(const mmrec_op_result *op) {
    return op->against.missing[0] ? op->against.missing : op->against.row[MMREC_FORWARD].series.untimed;
}

const char *mmrec_report_mode(const mmrec_report *report) {
    if (report->ops) return "op";
    return report->plans ? "plan" : "model";
}

/* ---- failures ---- */

static bool check_failure(const mmrec_bench_check *check, const char *who, char *text, size_t size) {
    if (check->done && check->passed) return false;
    if (check->done) {
        snprintf(text, size, "%s differs from ref: outputs by %.2g (at most %.2g), gradients by %.2g (at most %.2g)",
                 who, check->output_error, check->output_tolerance, check->gradient_error, check->gradient_tolerance);
    } else {
        snprintf(text, size, "%s was not checked against ref", who);
    }
    return true;
}

bool mmrec_case_failure(const mmrec_report *report, const mmrec_bench_case_result *r, char *text, size_t size) {
    snprintf(text, size, "%s", r->failure);
    bool failed = r->failure[0] != '\0';
    for (int side = 0; side < 2 && !failed; side++) {
        failed =
            r->side[side].present && check_failure(&r->side[side].check, mmrec_side_name(report, side), text, size);
    }
    return failed;
}

bool mmrec_op_failure(const mmrec_op_result *r, char *text, size_t size) {
    snprintf(text, size, "%s", r->failure);
    return r->failure[0] != '\0' || check_failure(&r->check, r->op, text, size);
}

int mmrec_report_exit(const mmrec_report *report, char *text, size_t size) {
    char reason[MMREC_ERROR_MESSAGE], first[MMREC_ERROR_MESSAGE] = "";
    int failed = 0, all = report->bench.case_count + report->op_count;
    bool lost = false;
    for (int i = 0; i < all; i++) {
        int op = i - report->bench.case_count;
        bool bad = op < 0 ? mmrec_case_failure(report, &report->bench.cases[i], reason, sizeof reason)
                          : mmrec_op_failure(&report->ops[op], reason, sizeof reason);
        if (bad && failed++ == 0) memcpy(first, reason, sizeof first);
        lost = lost || (op < 0 ? report->bench.cases[i].device_lost : report->ops[op].device_lost);
    }
    text[0] = '\0';
    if (report->bench.interrupted) {
        snprintf(text, size, "interrupted; what was measured till then is in the report");
        return report->interrupt_exit ? report->interrupt_exit : mmrec_status_exit(MMREC_INTERRUPTED);
    }
    if (failed == 0) return 0;
    snprintf(text, size, "%d of %d failed; the first: %s", failed, all, first);
    return mmrec_status_exit(lost ? MMREC_NO_DEVICE : MMREC_MISMATCH);
}
