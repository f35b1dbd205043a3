/* A study made by hand: three seeds, planning and deep beside the baseline, 200 steps, validated every 50. */
#ifndef MMREC_TESTS_STUDY_EXAMPLE_H
#define MMREC_TESTS_STUDY_EXAMPLE_H

#include "example_rig.h"
#include "run/study.h"

enum { EXAMPLE_SEEDS = 3, EXAMPLE_STEPS = 200, EXAMPLE_EVERY = 50 };

/* Small numbers without a pattern, the same in every run. */
static inline double wobble(int seed, int variant, int64_t step) {
    return sin(7.0 * seed + 3.0 * variant + 1.7 * (double)step);
}

static inline double example_loss(int seed, int variant, int64_t step) {
    double base = 1.9 + 3.5 * exp(-(double)step / 40);
    return base + 0.01 * seed + (variant == 2 ? 0.05 : 0) + 0.002 * wobble(seed, variant, step);
}

static inline void example_point(study *s, int seed, int variant, int64_t step) {
    study_run *run = &s->run[seed][variant];
    study_point *p = &run->points[run->point_count++];
    double loss = example_loss(seed, variant, step);
    *p = (study_point){.step = step,
                       .validation = {.loss = loss, .accuracy = (double)NAN, .batches = 4, .tokens = 1024},
                       .angle = {(double)NAN, (double)NAN, (double)NAN}};
    if (variant == 0) return;
    p->validation.loss_aux = loss / (variant == 1 ? 20 : 2);
    p->angle = (mmrec_gradient_angle){2, 0.5 + 0.1 * variant, 0.3 + 0.05 * wobble(seed, variant, step)};
}

static inline void example_run(study *s, int seed, int variant) {
    static const double step_ns[] = {10e6, 12e6, 11e6};
    study_run *run = &s->run[seed][variant];
    mmrec_error error;
    must(study_run_create(s->allocator, run, s->steps, s->steps / s->val_every + 2, &error), &error);
    example_point(s, seed, variant, 0);
    for (int64_t i = 0; i < s->steps; i++) {
        double loss = example_loss(seed, variant, i) + 0.1 * wobble(seed, variant, i);
        run->steps[i] = (study_step){loss, loss, variant ? 0.1 : 0, 1, 1.05, false, i == 77 && variant == 2};
        run->step_ns[i] = step_ns[variant] * (1 + 0.01 * wobble(seed, variant, i));
        run->step_count = i + 1;
        if ((i + 1) % s->val_every == 0) example_point(s, seed, variant, i + 1);
    }
}

static inline void example_variant(study *s, int variant, const char *name, const char *title) {
    study_variant *v = &s->variant[variant];
    *v = (study_variant){.train = s->setup->train, .auxiliary = variant > 0, .parameters = 1000 + 100 * variant};
    v->train.model.uboo = (mmrec_uboo)variant;
    snprintf(v->name, sizeof v->name, "%s", name);
    snprintf(v->title, sizeof v->title, "%s", title);
    for (int a = 0; a < MMREC_ARENAS; a++) v->memory[a] = (size_t)(1 << 20) * (size_t)(a + 1) + 4096 * (size_t)variant;
}

typedef struct example {
    mmrec_options options;
    mmrec_train_setup setup;
    study *s;
} example;

static inline void example_begin(example *e) {
    void *memory = NULL;
    mmrec_error error;
    memset(e, 0, sizeof *e);
    e->options.program = MMREC_PROGRAM_TRAIN;
    e->setup.options = &e->options;
    must(mmrec_backend_find("ref", &e->setup.backend, &error), &error);
    e->setup.train = mmrec_train_config_default();
    e->setup.train.batch = 4;
    e->setup.train.time = 64;
    e->setup.data.path = "text.txt";
    must(mmrec_alloc_zero(&allocator, 1, sizeof(study), MMREC_ALLOC_OTHER, &memory, &error), &error);
    study *s = e->s = memory;
    s->allocator = &allocator;
    s->setup = &e->setup;
    s->kind = MMREC_STUDY_UBOO;
    s->steps = EXAMPLE_STEPS;
    s->val_every = EXAMPLE_EVERY;
    s->val_batches = 4;
    s->seed_count = s->begun = EXAMPLE_SEEDS;
    s->variant_count = 3;
    s->target = (double)NAN;
    snprintf(s->data.name, sizeof s->data.name, "text.txt");
    s->data.checksum = 0x1234abcd;
    s->data.vocab = 256;
    s->data.held_out_batches = 9;
    s->data.best_loss = (double)NAN;
    example_machine(&s->machine);
    snprintf(s->started, sizeof s->started, "2000-01-01T00:00:00Z");
    snprintf(s->ended, sizeof s->ended, "2000-01-01T00:10:00Z");
    snprintf(s->folder, sizeof s->folder, "study-uboo");
    for (int k = 0; k < STUDY_SEEDS; k++) s->seed[k] = (uint64_t)k + 1;
}

static inline void example_start(example *e) {
    static const char *const names[] = {"off", "planning", "deep"};
    static const char *const titles[] = {"Baseline", "UB\xc3\x96O planning", "UB\xc3\x96O deep"};
    example_begin(e);
    for (int v = 0; v < 3; v++) example_variant(e->s, v, names[v], titles[v]);
    for (int k = 0; k < EXAMPLE_SEEDS; k++) {
        for (int v = 0; v < 3; v++) example_run(e->s, k, v);
    }
}

static inline void example_end(example *e) {
    study_destroy(&e->s);
    assert_int_equal(allocator.total.live_bytes, 0);
}

/* The run ends at `step`, with the points it had till then. */
static inline void example_diverges(study *s, int seed, int variant, int64_t step) {
    study_run *run = &s->run[seed][variant];
    run->step_count = step;
    while (run->point_count > 0 && run->points[run->point_count - 1].step > step) run->point_count--;
    snprintf(run->failure, sizeof run->failure, "diverged at step %lld: the loss is not finite", (long long)step);
}

/* Gives a run the final validation loss. */
static inline void example_final(study *s, int seed, int variant, double loss) {
    study_run *run = &s->run[seed][variant];
    run->points[run->point_count - 1].validation.loss = loss;
}

#endif
