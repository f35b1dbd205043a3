/* The results in the JSON document. */
#include "report/json_impl.h"

static void put_memory(json_out out, const char *key, const mmrec_memory_figures *m) {
    if (json_put_null_if(out, key, mmrec_figures_sum(m->planned) == 0)) return;
    json_out o = json_put_object(out, key);
    json_put_arenas(o, "planned_bytes", m->planned);
    json_put_arenas(o, "allocated_peak_bytes", m->allocated_peak);
    json_put_whole(o, "other_peak_bytes", (int64_t)m->other_peak);
}

static void put_phases(json_out out, const mmrec_report *report, const mmrec_bench_side *s) {
    bool device = mmrec_of_device(report);
    json_out phases = json_put_array(out, "memory_phases");
    for (int i = 0; i < MMREC_MEMORY_PHASES; i++) {
        const mmrec_memory_point *p = &s->memory[i];
        if (!p->taken) continue;
        json_out o = json_put_object(phases, NULL);
        json_put_text(o, "phase", mmrec_memory_phase_name((mmrec_memory_phase)i));
        json_put_whole(o, "planned_bytes", (int64_t)p->planned_bytes);
        json_put_whole(o, "allocated_bytes", (int64_t)p->allocated_bytes);
        json_put_whole(o, "allocated_peak_bytes", (int64_t)p->allocated_peak);
        json_put_whole_if(o, "device_used_bytes", device, (int64_t)p->device_used_bytes);
        json_put_whole_if(o, "unaccounted_bytes", device, mmrec_memory_unaccounted(&s->memory[MMREC_MEMORY_BEFORE], p));
    }
}

static void put_measure(json_out out, const mmrec_report *report, const mmrec_bench_case_result *r, int side,
                        mmrec_measure_kind kind) {
    const mmrec_bench_row *row = &r->side[side].row[kind];
    mmrec_row_figures f = mmrec_figures_of(row, mmrec_figures_layers(&r->input, kind), &report->bench.ceilings);
    json_out o = json_put_object(out, NULL);
    json_put_text(o, "name", mmrec_measure_kind_name(kind));
    json_put_series(o, row, &f);
    json_put_row_of_device(o, report, row, &f);
    json_put_known_size(o, "tokens", (uint64_t)row->tokens);
    json_put_real_if(o, "tokens_per_s", f.valid, f.tokens_per_s);
    json_put_real_if(o, "per_layer_ns", f.valid, f.per_layer_ns);
    json_put_real_if(o, "sgemm_share", f.sgemm_share > 0, f.sgemm_share);
    json_put_known_size(o, "nodes", (uint64_t)row->nodes);
    json_put_real_if(o, "overhead_ns", f.valid, row->overhead_ns);
}

static void put_side(json_out out, const mmrec_report *report, const mmrec_bench_case_result *r, int side) {
    const mmrec_bench_side *s = &r->side[side];
    json_out o = json_put_object(out, NULL);
    json_put_text(o, "name", mmrec_side_name(report, side));
    json_put_bool(o, "hem", s->hem);
    json_put_check(o, &s->check);
    json_put_work(o, "forward", &s->forward);
    json_put_work(o, "backward", &s->backward);
    put_memory(o, "block_memory", &s->block_memory);
    put_memory(o, "model_memory", &s->model_memory);
    put_phases(o, report, s);
    json_out measures = json_put_array(o, "measures");
    for (int k = 0; k < MMREC_MEASURE_KINDS; k++) {
        if (!mmrec_measure_wanted(&report->setup->run, (mmrec_measure_kind)k)) continue;
        put_measure(measures, report, r, side, (mmrec_measure_kind)k);
    }
}

void json_put_cases(json_out out, const mmrec_report *report) {
    json_out cases = json_put_array(out, "cases");
    for (int i = 0; i < report->bench.case_count; i++) {
        const mmrec_bench_case_result *r = &report->bench.cases[i];
        char name[MMREC_NAME_TEXT];
        json_out o = json_put_object(cases, NULL);
        json_put_text(o, "name", mmrec_case_name(&r->input, name));
        json_put_sizes(o, "sizes", &r->input, report->setup->run.recompute);
        json_put_known_size(o, "parameters", (uint64_t)r->parameters);
        json_put_known(o, "failure", r->failure);
        json_out sides = json_put_array(o, "sides");
        for (int side = 0; side < 2; side++) {
            if (r->side[side].present) put_side(sides, report, r, side);
        }
    }
}

/* A ratio into `out`; `untimed`: of the second side. */
static void put_paired(json_out out, const char *ratio_of, const mmrec_paired *p, const char *untimed) {
    mmrec_improvement gain = mmrec_improvement_of_time(p);
    json_put_text(out, "ratio_of", ratio_of);
    json_put_real_if(out, "ratio", p->valid, p->ratio);
    json_put_real_if(out, "ratio_ci95_low", p->valid, p->ci95.low);
    json_put_real_if(out, "ratio_ci95_high", p->valid, p->ci95.high);
    json_put_real_if(out, "ratio_ci99_low", p->valid, p->ci99.low);
    json_put_real_if(out, "ratio_ci99_high", p->valid, p->ci99.high);
    json_put_real_if(out, "improvement", gain.valid, gain.value);
    json_put_whole(out, "pairs", p->pairs);
    json_put_real_if(out, "same_margin", p->valid, p->same_margin);
    json_put_real_if(out, "resolution", p->valid, p->resolution);
    json_put(out, "verdict", p->valid ? json_string(mmrec_verdict_name(p->verdict)) : json_null());
    if (!p->valid) json_put_text(out, "reason", untimed ? untimed : "too few pairs of samples");
}

static void put_comparison(json_out out, const mmrec_report *report, int index, mmrec_measure_kind kind) {
    const mmrec_bench_case_result *r = &report->bench.cases[index];
    char name[MMREC_NAME_TEXT];
    json_out o = json_put_object(out, NULL);
    json_put_whole(o, "case", index);
    json_put_text(o, "measure", mmrec_measure_kind_name(kind));
    put_paired(o, mmrec_ratio_name(report, name), &r->paired[kind], r->side[1].row[kind].series.untimed);
}

void json_put_comparisons(json_out out, const mmrec_report *report) {
    json_out list = json_put_array(out, "comparisons");
    for (int i = 0; i < report->bench.case_count; i++) {
        const mmrec_bench_case_result *r = &report->bench.cases[i];
        for (int k = 0; k < MMREC_MEASURE_KINDS && r->side[0].present && r->side[1].present; k++) {
            if (!mmrec_measure_wanted(&report->setup->run, (mmrec_measure_kind)k)) continue;
            put_comparison(list, report, i, (mmrec_measure_kind)k);
        }
    }
}

static void put_pass(json_out out, const mmrec_report *report, const mmrec_op_result *op, int pass) {
    mmrec_row_figures f = mmrec_figures_of(&op->pass[pass], 1, &report->bench.ceilings);
    json_out o = json_put_object(out, NULL);
    json_put_text(o, "name", mmrec_pass_name(pass));
    json_put_series(o, &op->pass[pass], &f);
    json_put_row_of_device(o, report, &op->pass[pass], &f);
    const mmrec_stats *share = &op->ceiling_share[pass];
    json_put_known(o, "ceiling", share->valid ? mmrec_ceiling_name(op->ceiling[pass]) : "");
    json_put_share(o, "ceiling_ratio", share, share->valid);
    json_put_whole(o, "ceiling_windows", share->count);
}

static void put_yardstick_pass(json_out out, const mmrec_report *report, const mmrec_op_result *op, int pass) {
    const mmrec_op_against *a = &op->against;
    mmrec_row_figures f = mmrec_figures_of(&a->row[pass], 1, &report->bench.ceilings);
    char name[MMREC_NAME_TEXT];
    json_out o = json_put_object(out, NULL);
    json_put_text(o, "name", mmrec_pass_name(pass));
    json_put_series(o, &a->row[pass], &f);
    json_put_row_of_device(o, report, &a->row[pass], &f);
    json_put_known(o, "kernel", a->kernel[pass]);
    put_paired(json_put_object(o, "comparison"), mmrec_against_ratio_name(op, name), &a->paired[pass],
               op->pass[pass].series.untimed);
}

static void put_yardstick(json_out out, const mmrec_report *report, const mmrec_op_result *op) {
    const mmrec_op_against *a = &op->against;
    if (json_put_null_if(out, "against", a->what == MMREC_AGAINST_NONE)) return;
    json_out o = json_put_object(out, "against");
    json_put_text(o, "name", mmrec_against_name(a->what));
    json_put_known(o, "missing", a->missing);
    json_put_known(o, "version", a->version);
    json_put_known_size(o, "device_bytes", a->device_bytes);
    json_out passes = json_put_array(o, "passes");
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        if (op->has_pass[pass] && !a->missing[0]) put_yardstick_pass(passes, report, op, pass);
    }
}

void json_put_ops(json_out out, const mmrec_report *report) {
    json_out ops = json_put_array(out, "ops");
    for (int i = 0; i < report->op_count; i++) {
        const mmrec_op_result *op = &report->ops[i];
        json_out o = json_put_object(ops, NULL);
        json_put_text(o, "op", op->op);
        json_put_text(o, "size", op->size);
        json_put_known(o, "check_size", op->check_size);
        json_put_check(o, &op->check);
        json_out passes = json_put_array(o, "passes");
        for (int pass = 0; pass < MMREC_PASSES; pass++) {
            if (op->has_pass[pass]) put_pass(passes, report, op, pass);
        }
        put_yardstick(o, report, op);
    }
}

static void put_largest(json_out out, const mmrec_plan_report *p) {
    json_out list = json_put_array(out, "largest");
    for (int i = 0; i < p->largest_count; i++) {
        json_out o = json_put_object(list, NULL);
        json_put_text(o, "name", p->largest[i].name);
        json_put_text(o, "shape", p->largest[i].shape);
        json_put_known(o, "dtype", p->largest[i].dtype);
        json_put_text(o, "arena", mmrec_arena_name(p->largest[i].arena));
        json_put_whole(o, "bytes", (int64_t)p->largest[i].bytes);
    }
}

void json_put_plans(json_out out, const mmrec_report *report) {
    static const char *const phases[MMREC_PHASES] = {"refresh", "forward", "backward"};
    json_out plans = json_put_array(out, "plans");
    for (int i = 0; i < report->plan_count; i++) {
        const mmrec_plan_report *p = &report->plans[i];
        json_out o = json_put_object(plans, NULL);
        json_put_bool(o, "hem", p->hem);
        json_put_sizes(o, "sizes", &p->input, report->setup->run.recompute);
        json_put_whole(o, "parameters", p->parameters);
        json_put_arenas(o, "planned_bytes", p->arena_bytes);
        json_put_arenas(o, "without_sharing_bytes", p->unshared_bytes);
        json_put_whole(o, "total_bytes", (int64_t)p->total_bytes);
        json_put_work(o, "forward", &p->forward);
        json_put_work(o, "backward", &p->backward);
        json_out nodes = json_put_object(o, "nodes");
        for (int phase = 0; phase < MMREC_PHASES; phase++) json_put_whole(nodes, phases[phase], p->nodes[phase]);
        put_largest(o, p);
        json_put_known_size(o, "budget_bytes", p->budget_bytes);
        json_put_whole_if(o, "batch_fit", p->budget_bytes > 0, p->batch_fit);
        json_put_known_size(o, "batch_fit_bytes", p->batch_fit_bytes);
    }
}
