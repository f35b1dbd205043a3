/* From options to the cases of a run. */
#include "report/setup.h"
#include "core/text.h"
#include "mmrec/report.h"

#include <math.h>
#include <string.h>

/* ---- axes ---- */

static mmrec_status add_axis(mmrec_sweep *s, const mmrec_options *options, const char *where, const char **text,
                             mmrec_error *error) {
    int n = s->axis_count;
    MMREC_TRY(mmrec_option_axis(text, where, &s->axis[n], &s->id[n], error));
    for (int i = 0; i < n; i++) {
        if (s->id[i] == s->id[n]) MMREC_FAIL(error, MMREC_USAGE, "%s: two axes over %s", where, s->axis[n].name);
    }
    /* An axis is more precise than a weaker source's single value; the same source must not say both. */
    const mmrec_option_value *single = &options->value[s->id[n]];
    bool chosen = single->count > 0 && single->source != MMREC_SOURCE_DEFAULT;
    if (chosen && single->source >= options->value[MMREC_OPTION_axis].source) {
        MMREC_FAIL(error, MMREC_USAGE, "%s: an axis over %s and --%s=%s exclude each other", where, s->axis[n].name,
                   s->axis[n].name, single->text[0]);
    }
    s->axis_count++;
    return MMREC_OK;
}

static mmrec_status read_axes(mmrec_sweep *s, const mmrec_options *options, mmrec_error *error) {
    const mmrec_option_value *value = &options->value[MMREC_OPTION_axis];
    for (int i = 0; i < value->count; i++) {
        const char *text = value->text[i] + strspn(value->text[i], " \t");
        while (text) MMREC_TRY(add_axis(s, options, "--axis", &text, error));
    }
    return MMREC_OK;
}

/* Steps to the next point, the last axis fastest; false after the last. */
static bool next_point(mmrec_sweep *s) {
    for (int i = s->axis_count - 1; i >= 0; i--) {
        if (++s->index[i] < s->axis[i].count) return true;
        s->index[i] = 0;
    }
    return false;
}

static mmrec_status count_points(const mmrec_sweep *s, int *count, mmrec_error *error) {
    *count = 1;
    for (int i = 0; i < s->axis_count; i++) {
        *count *= s->axis[i].count;
        if (*count > MMREC_SETUP_CASES) {
            MMREC_FAIL(error, MMREC_USAGE, "--axis: the product of the axes is more than %d cases", MMREC_SETUP_CASES);
        }
    }
    return MMREC_OK;
}

static mmrec_status make_cases(mmrec_allocator *allocator, const mmrec_options *options, mmrec_bench_setup *out,
                               mmrec_error *error) {
    mmrec_sweep s = {0};
    int count = 0;
    MMREC_TRY(read_axes(&s, options, error));
    MMREC_TRY(count_points(&s, &count, error));
    void *cases = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, (size_t)count, sizeof(mmrec_bench_case), MMREC_ALLOC_OTHER, &cases, error));
    out->run.cases = out->cases = cases;
    out->run.case_count = count;
    for (int i = 0; i < count; i++) {
        out->cases[i] = mmrec_setup_case(options, &s);
        MMREC_TRY(mmrec_setup_case_check(&out->cases[i], error));
        next_point(&s);
    }
    return MMREC_OK;
}

/* ---- ops ---- */

static mmrec_status add_op(mmrec_bench_setup *out, const char *name, mmrec_error *error) {
    const char *names[MMREC_OPS];
    char quote[MMREC_OPTION_QUOTE];
    for (int i = 1; i < MMREC_OPS; i++) names[i - 1] = mmrec_op_get((mmrec_op_id)i, MMREC_VARIANT_F64)->name;
    mmrec_op_id op = mmrec_op_find(name);
    if (op == MMREC_OP_NONE) {
        const char *nearest = mmrec_nearest_name(name, names, MMREC_OPS - 1);
        MMREC_FAIL(error, MMREC_USAGE, "--op: there is no op '%s'%s%s%s", mmrec_option_quote(name, quote),
                   nearest ? ", did you mean " : "; --op list names them", nearest ? nearest : "", nearest ? "?" : "");
    }
    if (out->op_count == MMREC_SETUP_OPS) MMREC_FAIL(error, MMREC_USAGE, "--op: more than %d ops", MMREC_SETUP_OPS);
    out->op[out->op_count++] = op;
    return MMREC_OK;
}

static mmrec_status read_op_names(mmrec_bench_setup *out, const char *text, mmrec_error *error) {
    while (*text) {
        char name[MMREC_OPTION_QUOTE];
        text = mmrec_text_word(text, name, sizeof name);
        if (strcmp(name, "list") == 0)
            out->list_ops = true;
        else
            MMREC_TRY(add_op(out, name, error));
    }
    return MMREC_OK;
}

/* Sizes are checked for all ops before the first is timed. */
static mmrec_status check_op_sizes(const mmrec_bench_setup *out, mmrec_error *error) {
    for (int i = 0; i < out->op_count; i++) {
        const mmrec_op_def *def = mmrec_op_get(out->op[i], MMREC_VARIANT_F64);
        mmrec_op_sizes sizes;
        MMREC_TRY_WHILE(mmrec_op_from_text(def, out->at ? out->at : def->bench, out->run.threads, &sizes, error), error,
                        "reading the sizes of op %s", def->name);
    }
    return MMREC_OK;
}

/* A yardstick measures one op, and only where both run on a device. */
static mmrec_status check_against(const mmrec_bench_setup *out, mmrec_error *error) {
    const char *name = mmrec_against_name(out->run.against);
    if (out->run.against == MMREC_AGAINST_NONE) return MMREC_OK;
    if (out->op_count == 0) {
        MMREC_FAIL(error, MMREC_USAGE, "--against %s is for --op recurrence, and there is no op", name);
    }
    for (int i = 0; i < out->op_count; i++) {
        if (out->op[i] == MMREC_OP_recurrence) continue;
        MMREC_FAIL(error, MMREC_USAGE, "--against %s is for --op recurrence alone, and has no effect on op %s", name,
                   mmrec_op_get(out->op[i], MMREC_VARIANT_F64)->name);
    }
    if (out->run.backend->device) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE, "--against %s is for a device, and backend %s runs on the host", name,
               out->run.backend->name);
}

static mmrec_status read_ops(const mmrec_options *options, mmrec_bench_setup *out, mmrec_error *error) {
    const mmrec_option_value *value = &options->value[MMREC_OPTION_op];
    for (int i = 0; i < value->count; i++) MMREC_TRY(read_op_names(out, value->text[i], error));
    out->at = mmrec_option_text(options, MMREC_OPTION_at);
    if (out->at && value->count == 0) MMREC_FAIL(error, MMREC_USAGE, "--at is for --op, and there is no --op");
    if (value->count > 0 && out->op_count == 0 && !out->list_ops) MMREC_FAIL(error, MMREC_USAGE, "--op names no op");
    MMREC_TRY(check_against(out, error));
    return check_op_sizes(out, error);
}

/* ---- the rest ---- */

/* A ratio needs so many; who sets a cap on time means it. */
enum { PAIRS_FOR_RATIO = 8 };

/* A plan or a list runs nothing. */
static mmrec_status read_place(const mmrec_options *options, mmrec_bench_options *run, mmrec_error *error) {
    mmrec_place place;
    bool runs = !mmrec_option_on(options, MMREC_OPTION_plan) && !mmrec_option_on(options, MMREC_OPTION_list);
    MMREC_TRY(mmrec_setup_place(options, runs, &place, error));
    run->backend = place.backend;
    run->threads = place.threads;
    run->graphs = place.graphs;
    run->tf32 = place.tf32;
    run->bf16 = place.bf16;
    return MMREC_OK;
}

static mmrec_status read_run(const mmrec_options *options, mmrec_bench_options *run, mmrec_error *error) {
    const mmrec_option_value *value = options->value;
    run->hem = (mmrec_hem_mode)value[MMREC_OPTION_hem].whole;
    run->self_test = mmrec_option_on(options, MMREC_OPTION_self_test);
    run->seed = value[MMREC_OPTION_seed].bits;
    run->data_path = mmrec_option_text(options, MMREC_OPTION_data);
    run->recompute = mmrec_option_on(options, MMREC_OPTION_recompute);
    run->optimizer_slots = mmrec_option_is(options, MMREC_OPTION_optimizer, "adamw") ? 2 : 0;
    run->against = (mmrec_against)value[MMREC_OPTION_against].whole;
    run->timer = (mmrec_timer)value[MMREC_OPTION_timer].whole;
    run->cold = mmrec_option_is(options, MMREC_OPTION_cache, "cold");
    run->profile = mmrec_option_on(options, MMREC_OPTION_profile);
    run->no_ceilings = !mmrec_option_on(options, MMREC_OPTION_ceilings);
    run->sampling = mmrec_sampling_default();
    run->sampling.warmup_s = value[MMREC_OPTION_warmup].real;
    run->sampling.min_time_s = value[MMREC_OPTION_min_time].real;
    run->sampling.max_time_s = value[MMREC_OPTION_max_time].real;
    run->sampling.target_ci = value[MMREC_OPTION_target_ci].real;
    bool own_cap =
        value[MMREC_OPTION_max_time].source != MMREC_SOURCE_DEFAULT || value[MMREC_OPTION_total_time].count > 0;
    run->sampling.least_samples = own_cap ? 0 : PAIRS_FOR_RATIO;
    if (run->self_test && run->hem == MMREC_HEM_BOTH) {
        MMREC_FAIL(error, MMREC_USAGE, "--self-test times one side against itself: say --hem on or --hem off with it");
    }
    if (value[MMREC_OPTION_min_time].source == MMREC_SOURCE_DEFAULT) {
        run->sampling.min_time_s = fmin(run->sampling.min_time_s, run->sampling.max_time_s);
    }
    if (run->sampling.min_time_s > run->sampling.max_time_s) {
        MMREC_FAIL(error, MMREC_USAGE, "--min-time (%s) is longer than --max-time (%s)",
                   value[MMREC_OPTION_min_time].text[0], value[MMREC_OPTION_max_time].text[0]);
    }
    MMREC_TRY(read_place(options, run, error));
    if (run->cold && !run->backend->device) {
        MMREC_FAIL(error, MMREC_USAGE, "--cache cold is for a device, and backend %s runs on the host",
                   run->backend->name);
    }
    if (run->backend->device) run->no_ceilings = true; /* those of the host say nothing of a device */
    return MMREC_OK;
}

/* A size of the model on the command line says nothing about an op: who writes it expects it to count. */
static mmrec_status check_op_flags(const mmrec_options *options, mmrec_error *error) {
    static const mmrec_option_id of_models[] = {MMREC_OPTION_hem,  MMREC_OPTION_self_test, MMREC_OPTION_size,
                                                MMREC_OPTION_axis, MMREC_OPTION_data,      MMREC_OPTION_optimizer};
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        const mmrec_option_def *def = mmrec_option_get((mmrec_option_id)i);
        bool of_model = def->group == MMREC_GROUP_MODEL;
        for (size_t k = 0; k < sizeof of_models / sizeof *of_models; k++) of_model = of_model || i == (int)of_models[k];
        if (!of_model || options->value[i].source != MMREC_SOURCE_FLAG) continue;
        MMREC_FAIL(error, MMREC_USAGE, "--%s is for the model and has no effect on --op, which takes sizes by --at",
                   def->flag);
    }
    return MMREC_OK;
}

/* What is done instead of timing the model: at most one thing. */
static mmrec_status check_mode(const mmrec_options *options, mmrec_error *error) {
    bool list = mmrec_option_on(options, MMREC_OPTION_list), plan = mmrec_option_on(options, MMREC_OPTION_plan);
    bool op = mmrec_option_given(options, MMREC_OPTION_op);
    if (list + plan + op > 1) {
        MMREC_FAIL(error, MMREC_USAGE, "--%s and --%s exclude each other", list ? "list" : "plan", op ? "op" : "plan");
    }
    if (op) MMREC_TRY(check_op_flags(options, error));
    if (mmrec_option_given(options, MMREC_OPTION_memory) && !plan) {
        MMREC_FAIL(error, MMREC_USAGE, "--memory is for --plan, and there is no --plan");
    }
    for (int i = MMREC_OPTION_export_json; list && i <= MMREC_OPTION_export_csv; i++) {
        if (!mmrec_option_given(options, (mmrec_option_id)i)) continue;
        MMREC_FAIL(error, MMREC_USAGE, "--%s has nothing to write with --list",
                   mmrec_option_get((mmrec_option_id)i)->flag);
    }
    return MMREC_OK;
}

/* With checks, warm-up and ceilings the default run then stays below a minute. */
static const double default_case_s = 40;

mmrec_status mmrec_bench_setup_create(mmrec_allocator *allocator, mmrec_io *io, const mmrec_options *options,
                                      mmrec_bench_setup *out, mmrec_error *error) {
    memset(out, 0, sizeof *out);
    MMREC_TRY(check_mode(options, error));
    MMREC_TRY(read_run(options, &out->run, error));
    MMREC_TRY(read_ops(options, out, error));
    out->run.io = io;
    out->budget_bytes = options->value[MMREC_OPTION_memory].bits;
    mmrec_status status = make_cases(allocator, options, out, error);
    const mmrec_option_value *total = &options->value[MMREC_OPTION_total_time];
    out->run.budget_s = total->count > 0 ? total->real : default_case_s * out->run.case_count;
    if (status != MMREC_OK) mmrec_bench_setup_free(allocator, out);
    return status;
}

void mmrec_bench_setup_free(mmrec_allocator *allocator, mmrec_bench_setup *setup) {
    mmrec_alloc(allocator, setup->cases, (size_t)setup->run.case_count * sizeof *setup->cases, 0, MMREC_ALLOC_OTHER);
    setup->run.cases = setup->cases = NULL;
    setup->run.case_count = 0;
}
