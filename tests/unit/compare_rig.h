/* Comparisons small enough for tests: options, entries configured by text, and a run of them. */
#ifndef COMPARE_RIG_H
#define COMPARE_RIG_H

#include "baseline_rig.h"
#include "compare/compare_impl.h"

typedef struct compare_rig {
    mmrec_allocator allocator;
    mmrec_io io;
    mmrec_compare_options options;
    mmrec_compare_entry entries[MMREC_COMPARE_ROWS];
    mmrec_comparison result;
} compare_rig;

/* Few samples, whatever they say: 8 rounds. */
static inline mmrec_sampling few_samples(void) {
    return (mmrec_sampling){.max_time_s = 10, .min_samples = 8, .max_samples = 8};
}

static inline void compare_begin(compare_rig *r, const mmrec_compare_task *task) {
    memset(r, 0, sizeof *r);
    r->options = (mmrec_compare_options){.entries = r->entries,
                                         .task = *task,
                                         .backend = backend_named("cpu"),
                                         .threads = 2,
                                         .hem = true,
                                         .no_ceilings = true,
                                         .sampling = few_samples(),
                                         .optimizer = mmrec_optimizer_config_default(),
                                         .rate = 3e-3,
                                         .seeds = 1,
                                         .io = &r->io};
}

static inline mmrec_compare_entry *compare_add(compare_rig *r, mmrec_model_kind kind, const char *config) {
    mmrec_compare_entry *entry = &r->entries[r->options.count++];
    entry->kind = kind;
    configure(kind, config, &entry->config);
    snprintf(entry->label, sizeof entry->label, "%s %d", mmrec_model_get(kind)->name, r->options.count);
    return entry;
}

static inline mmrec_status compare_try(compare_rig *r, mmrec_error *error) {
    mmrec_compare_observer nobody = {0};
    return mmrec_compare_run(&r->allocator, &r->options, nobody, &r->result, error);
}

static inline void compare_go(compare_rig *r) {
    mmrec_error error = {0};
    must(compare_try(r, &error), &error);
}

/* Everything was given back. */
static inline void compare_end(compare_rig *r) {
    mmrec_comparison_free(&r->result);
    assert_int_equal(r->allocator.total.live_bytes, 0);
}

/* Labels of text drawn from the seed: 8 letters. */
static inline mmrec_compare_task text_task(void) {
    return (mmrec_compare_task){
        .kind = MMREC_COMPARE_LANGUAGE, .batch = 8, .time = 12, .outputs = 8, .val = 0.1, .seed = 7};
}

static inline mmrec_compare_task classes_task(int64_t inputs, int64_t classes) {
    return (mmrec_compare_task){.kind = MMREC_COMPARE_CLASSES,
                                .batch = 16,
                                .time = 1,
                                .inputs = inputs,
                                .outputs = classes,
                                .samples = 2000,
                                .held_out = 400,
                                .seed = 7};
}

static inline mmrec_compare_task values_task(void) {
    return (mmrec_compare_task){.kind = MMREC_COMPARE_VALUES,
                                .batch = 32,
                                .time = 1,
                                .inputs = 5,
                                .outputs = 1,
                                .samples = 4000,
                                .held_out = 500,
                                .seed = 7};
}

#endif
