/* Which variants a study trains, and what it refuses before anything is trained. */
#include <stdio.h>

#include "run/study.h"

const char *study_name(mmrec_study kind) {
    static const char *const names[] = {"none", "uboo", "hem", "dpg"};
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "?";
}

/* ---- refusals ---- */

/* What a study varies by itself. A file of options may name it, as it may serve other runs too. */
static mmrec_status refuse_given(const mmrec_train_setup *setup, mmrec_option_id id, const char *sides,
                                 mmrec_error *error) {
    if (setup->options->value[id].source != MMREC_SOURCE_FLAG) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE, "--%s cannot be given with --study %s, which trains %s: leave it out",
               mmrec_option_get(id)->flag, study_name(setup->study), sides);
}

static mmrec_status check(const mmrec_train_setup *setup, mmrec_error *error) {
    if (setup->study == MMREC_STUDY_HEM) return refuse_given(setup, MMREC_OPTION_train_hem, "off and on", error);
    if (setup->study != MMREC_STUDY_UBOO) return MMREC_OK;
    MMREC_TRY(refuse_given(setup, MMREC_OPTION_uboo, "off, planning and deep", error));
    if (setup->train.model.layers < 2) {
        MMREC_FAIL(
            error, MMREC_CONFIG,
            "--study uboo needs at least 2 layers, got %lld: the heads of deep are on the blocks before the last",
            (long long)setup->train.model.layers);
    }
    return MMREC_OK;
}

/* ---- variants ---- */

static study_variant *add(study *s, const char *name, const char *title) {
    study_variant *v = &s->variant[s->variant_count++];
    v->train = s->setup->train;
    snprintf(v->name, sizeof v->name, "%s", name);
    snprintf(v->title, sizeof v->title, "%s", title);
    return v;
}

static void add_uboo(study *s) {
    for (int u = 0; u <= MMREC_UBOO_DEEP; u++) {
        const char *name = mmrec_uboo_name((mmrec_uboo)u);
        char title[STUDY_NAME] = "Baseline";
        if (u > 0) snprintf(title, sizeof title, "UB\xc3\x96O %s", name);
        add(s, name, title)->train.model.uboo = (mmrec_uboo)u;
    }
}

static void add_hem(study *s) {
    add(s, "off", "Baseline")->train.hem = false;
    add(s, "on", "HEM")->train.hem = true;
}

/* The rank that was asked for, or an eighth of the width. */
static void add_dpg(study *s) {
    const mmrec_model_config *m = &s->setup->train.model;
    int64_t rank = m->dpg > 0 ? m->dpg : m->dim / 8;
    add(s, "off", "Baseline")->train.model.dpg = 0;
    add(s, "on", "DPG")->train.model.dpg = rank > 0 ? rank : 1;
}

static void fill(study *s) {
    const mmrec_train_setup *setup = s->setup;
    if (setup->study == MMREC_STUDY_HEM)
        add_hem(s);
    else if (setup->study == MMREC_STUDY_DPG)
        add_dpg(s);
    else
        add_uboo(s);
    s->seed_count = setup->seeds < STUDY_SEEDS ? setup->seeds : STUDY_SEEDS; /* as many as the option takes */
    for (int k = 0; k < s->seed_count; k++) s->seed[k] = setup->train.seed + (uint64_t)k;
    s->target = setup->target;
    if (setup->output)
        snprintf(s->folder, sizeof s->folder, "%s", setup->output);
    else
        snprintf(s->folder, sizeof s->folder, "study-%s", study_name(s->kind));
}

mmrec_status study_create(mmrec_allocator *allocator, const mmrec_train_setup *setup, study **out, mmrec_error *error) {
    void *memory = NULL;
    *out = NULL;
    MMREC_TRY(check(setup, error));
    MMREC_TRY_WHILE(mmrec_alloc_zero(allocator, 1, sizeof(study), MMREC_ALLOC_OTHER, &memory, error), error,
                    "starting a study");
    study *s = memory;
    s->allocator = allocator;
    s->setup = setup;
    s->kind = setup->study;
    fill(s);
    *out = s;
    return MMREC_OK;
}

static void end_run(mmrec_allocator *allocator, study_run *run) {
    size_t steps = (size_t)run->step_room, points = (size_t)run->point_room;
    mmrec_alloc(allocator, run->steps, run->steps ? steps * sizeof *run->steps : 0, 0, MMREC_ALLOC_OTHER);
    mmrec_alloc(allocator, run->step_ns, run->step_ns ? steps * sizeof *run->step_ns : 0, 0, MMREC_ALLOC_OTHER);
    mmrec_alloc(allocator, run->points, run->points ? points * sizeof *run->points : 0, 0, MMREC_ALLOC_OTHER);
    *run = (study_run){0};
}

void study_destroy(study **pointer) {
    study *s = *pointer;
    if (!s) return;
    for (int k = 0; k < STUDY_SEEDS; k++) {
        for (int v = 0; v < STUDY_VARIANTS; v++) end_run(s->allocator, &s->run[k][v]);
    }
    mmrec_alloc(s->allocator, s, sizeof *s, 0, MMREC_ALLOC_OTHER);
    *pointer = NULL;
}
