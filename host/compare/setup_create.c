/* From options to what mmrec-compare does: everything that can be refused before data is read is refused here. */
#include <math.h>
#include <string.h>

#include "compare_print.h"
#include "compare_setup.h"
#include "report/setup.h"

bool compare_flag_given(const mmrec_options *o, mmrec_option_id id) {
    return mmrec_option_given(o, id) && o->value[id].source == MMREC_SOURCE_FLAG;
}

/* ---- what does not go together ---- */

static mmrec_status check_rows(const mmrec_options *o, mmrec_error *error) {
    bool models = mmrec_option_given(o, MMREC_OPTION_models), model = mmrec_option_given(o, MMREC_OPTION_model);
    bool suite = o->value[MMREC_OPTION_suite].whole != COMPARE_SUITE_NONE;
    if (mmrec_option_given(o, MMREC_OPTION_set) && !model) {
        MMREC_FAIL(error, MMREC_USAGE,
                   "--set changes fields of --model NAME, and there is none: name one model; each --set makes a row");
    }
    if (models + model + suite == 0) {
        MMREC_FAIL(error, MMREC_USAGE,
                   "there is nothing to compare: give --models NAME,... or all, --suite nsm, language or mlp, or "
                   "--model NAME with --set; --list lists the models");
    }
    if (models + model + suite == 1) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE, "--%s and --%s exclude each other: give one of them", models ? "models" : "suite",
               model ? "model" : "suite");
}

static mmrec_status check_list(const mmrec_options *o, mmrec_error *error) {
    static const mmrec_option_id outputs[] = {MMREC_OPTION_compare_export_json, MMREC_OPTION_compare_export_markdown,
                                              MMREC_OPTION_compare_export_csv, MMREC_OPTION_plot};
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        if (!compare_flag_given(o, outputs[i])) continue;
        MMREC_FAIL(error, MMREC_USAGE, "--%s has nothing to write with --list", mmrec_option_get(outputs[i])->flag);
    }
    return MMREC_OK;
}

/* ---- scaling ---- */

static mmrec_status check_point(const mmrec_compare_options *run, int64_t value, mmrec_error *error) {
    const mmrec_compare_task *t = &run->task;
    bool time = strcmp(run->axis_name, "time") == 0;
    if (time && t->kind == MMREC_COMPARE_CLASSES && t->inputs % value != 0) {
        MMREC_FAIL(error, MMREC_USAGE,
                   "--axis: %lld inputs cannot be cut into %lld steps of the same width; take divisors of --inputs",
                   (long long)t->inputs, (long long)value);
    }
    return MMREC_OK;
}

static mmrec_status check_axis(const mmrec_compare_options *run, const mmrec_axis *axis, mmrec_error *error) {
    static const char *const names[] = {"time", "batch", "dim"};
    bool known = false;
    for (int i = 0; i < 3; i++) known = known || strcmp(axis->name, names[i]) == 0;
    if (!known) {
        MMREC_FAIL(error, MMREC_USAGE, "--axis: %s is not the same size in all models; it can be time, batch or dim",
                   axis->name);
    }
    if (run->task.kind == MMREC_COMPARE_VALUES && strcmp(axis->name, "time") == 0) {
        MMREC_FAIL(error, MMREC_USAGE, "--axis time has no effect on task values, which has no time");
    }
    for (int i = 1; i < axis->count; i++) {
        if (axis->value[i] > axis->value[i - 1]) continue;
        MMREC_FAIL(error, MMREC_USAGE, "--axis: %lld comes behind %lld; the values must rise",
                   (long long)axis->value[i], (long long)axis->value[i - 1]);
    }
    return MMREC_OK;
}

static mmrec_status read_axis(const mmrec_options *o, mmrec_compare_options *run, mmrec_error *error) {
    const mmrec_option_value *value = &o->value[MMREC_OPTION_compare_axis];
    mmrec_axis axis;
    mmrec_option_id id;
    if (value->count == 0) return MMREC_OK;
    const char *text = value->text[0] + strspn(value->text[0], " \t");
    MMREC_TRY(mmrec_option_axis(&text, "--axis", &axis, &id, error));
    if (text || value->count > 1) MMREC_FAIL(error, MMREC_USAGE, "--axis is one size at a time: give one of them");
    MMREC_TRY(check_axis(run, &axis, error));
    run->axis_name = mmrec_option_get(id)->flag;
    run->axis_count = axis.count;
    for (int i = 0; i < axis.count; i++) {
        run->axis[i] = axis.value[i];
        MMREC_TRY(check_point(run, axis.value[i], error));
    }
    return MMREC_OK;
}

/* ---- the rest ---- */

/* A ratio needs so many; who sets a cap on time means it. */
enum { PAIRS_FOR_RATIO = 8 };

static mmrec_status read_sampling(const mmrec_options *o, mmrec_sampling *out, mmrec_error *error) {
    const mmrec_option_value *value = o->value;
    *out = mmrec_sampling_default();
    out->warmup_s = value[MMREC_OPTION_warmup].real;
    out->min_time_s = value[MMREC_OPTION_min_time].real;
    out->max_time_s = value[MMREC_OPTION_max_time].real;
    out->target_ci = value[MMREC_OPTION_target_ci].real;
    out->least_samples = value[MMREC_OPTION_max_time].source == MMREC_SOURCE_DEFAULT ? PAIRS_FOR_RATIO : 0;
    if (value[MMREC_OPTION_min_time].source == MMREC_SOURCE_DEFAULT) {
        out->min_time_s = fmin(out->min_time_s, out->max_time_s);
    }
    if (out->min_time_s <= out->max_time_s) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE, "--min-time (%s) is longer than --max-time (%s)",
               value[MMREC_OPTION_min_time].text[0], value[MMREC_OPTION_max_time].text[0]);
}

static mmrec_status read_place(const mmrec_options *o, mmrec_compare_options *run, mmrec_error *error) {
    mmrec_place place;
    MMREC_TRY(mmrec_setup_place(o, true, &place, error));
    run->backend = place.backend;
    run->threads = place.threads;
    run->graphs = place.graphs;
    run->bf16 = place.bf16;
    if (run->backend->device) run->no_ceilings = true; /* those of the host say nothing of a device */
    return MMREC_OK;
}

static mmrec_status read_run(const mmrec_options *o, mmrec_compare_options *run, mmrec_error *error) {
    run->match = (mmrec_match)o->value[MMREC_OPTION_match].whole;
    run->hem = mmrec_option_on(o, MMREC_OPTION_compare_hem);
    run->recompute = mmrec_option_on(o, MMREC_OPTION_recompute);
    run->no_ceilings = !mmrec_option_on(o, MMREC_OPTION_ceilings);
    run->layers = mmrec_option_on(o, MMREC_OPTION_compare_layers);
    run->optimizer = mmrec_optimizer_config_default();
    run->rate = o->value[MMREC_OPTION_rate].real;
    run->seeds = (int)mmrec_option_whole(o, MMREC_OPTION_compare_seeds, 1);
    MMREC_TRY(compare_setup_steps(o, &run->task, &run->train_steps, error));
    MMREC_TRY(read_axis(o, run, error));
    return read_sampling(o, &run->sampling, error);
}

mmrec_status mmrec_compare_setup_create(mmrec_allocator *allocator, mmrec_io *io, const mmrec_options *options,
                                        mmrec_compare_setup *out, mmrec_error *error) {
    compare_names names;
    memset(out, 0, sizeof *out);
    out->run.entries = out->entries;
    out->run.io = io;
    out->list = mmrec_option_on(options, MMREC_OPTION_compare_list);
    if (out->list) return check_list(options, error);
    MMREC_TRY(check_rows(options, error));
    MMREC_TRY(compare_setup_names(options, &names, error));
    MMREC_TRY(compare_setup_task(options, names.kind, names.count, &out->run.task, error));
    MMREC_TRY(read_run(options, &out->run, error));
    MMREC_TRY(compare_setup_rows(options, &names, out, error));
    MMREC_TRY(read_place(options, &out->run, error));
    return compare_setup_match(allocator, options, out, error);
}
