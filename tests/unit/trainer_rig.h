/* A trainer of a tiny model on a small file: what the tests of training share. */
#ifndef TRAINER_RIG_H
#define TRAINER_RIG_H

#include "mmrec/train.h"
#include "model_rig.h"

/* What a test trains. */
typedef struct training {
    mmrec_allocator allocator;
    mmrec_io io;
    mmrec_data *data;
    mmrec_trainer *trainer;
} training;

static inline mmrec_train_config tiny_config(void) {
    mmrec_train_config c = mmrec_train_config_default();
    c.model = small_config();
    c.model.vocab = 256;
    c.schedule = (mmrec_schedule){.rate = 1e-2, .final_share = 0.1, .warmup_steps = 3, .steps = 40};
    c.batch = 3;
    c.time = 8;
    c.seed = 5;
    return c;
}

/* A stream has an epoch of 9 batches of (3,8): 235 bytes are trained on. */
static inline mmrec_status training_try(training *r, const char *backend, const mmrec_train_config *c,
                                        mmrec_error *error) {
    mmrec_data_request request = {.path = MMREC_GOLDEN "/text/harbour.txt",
                                  .seed = 9,
                                  .held_out = 0.99,
                                  .batch = c->batch,
                                  .time = c->time,
                                  .stream = c->stream};
    MMREC_TRY(mmrec_data_create(&r->allocator, &r->io, &request, &r->data, error));
    return mmrec_trainer_create(&r->allocator, backend_named(backend), r->data, c, &r->trainer, error);
}

static inline void training_start(training *r, const char *backend, const mmrec_train_config *c) {
    mmrec_error error = {0};
    memset(r, 0, sizeof *r);
    must(training_try(r, backend, c, &error), &error);
}

static inline void training_end(training *r) {
    mmrec_trainer_destroy(&r->trainer);
    mmrec_data_destroy(&r->data);
    assert_int_equal(r->allocator.total.live_bytes, 0);
}

static inline mmrec_train_record step_of(training *r) {
    mmrec_error error = {0};
    mmrec_train_record record;
    must(mmrec_trainer_step(r->trainer, &record, &error), &error);
    return record;
}

/* ---- values of the exec ---- */

static inline mmrec_tensor tensor_named(const training *r, const char *name) {
    mmrec_tensor t = mmrec_graph_find(mmrec_exec_graph(mmrec_trainer_exec(r->trainer)), name);
    if (!t) fail_msg("there is no tensor %s", name);
    return t;
}

static inline int64_t count_of(const training *r, mmrec_tensor t) {
    mmrec_shape shape = mmrec_graph_tensor_info(mmrec_exec_graph(mmrec_trainer_exec(r->trainer)), t).shape;
    return mmrec_shape_elements(&shape);
}

/* Sets one element of a parameter. */
static inline void poke(training *r, const char *name, int64_t at, double value) {
    static double values[MAX_VALUES];
    mmrec_error error = {0};
    mmrec_exec *exec = mmrec_trainer_exec(r->trainer);
    mmrec_tensor t = tensor_named(r, name);
    int64_t count = count_of(r, t);
    assert_true(count <= MAX_VALUES && at < count);
    must(mmrec_exec_read(exec, t, values, count, &error), &error);
    values[at] = value;
    must(mmrec_exec_write(exec, t, values, count, &error), &error);
}

/* All parameters one after the other, or the gradients of all; returns how many numbers. */
static inline int64_t read_parameters(training *r, bool gradients, double *to, int64_t room) {
    mmrec_error error = {0};
    mmrec_exec *exec = mmrec_trainer_exec(r->trainer);
    const mmrec_graph *graph = mmrec_exec_graph(exec);
    int64_t at = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph); t++) {
        if (mmrec_graph_tensor_info(graph, t).kind != MMREC_TENSOR_PARAM) continue;
        int64_t count = count_of(r, t);
        assert_true(at + count <= room);
        must(mmrec_exec_read(exec, gradients ? mmrec_graph_gradient(graph, t) : t, to + at, count, &error), &error);
        at += count;
    }
    return at;
}

/* Parameters and moments: what an update writes. Numbers, and their bits are compared. */
enum { WEIGHTS_ROOM = 1 << 16 };
typedef struct weights {
    int64_t count, moment_count;
    double value[WEIGHTS_ROOM], moment[WEIGHTS_ROOM];
} weights;

static inline void read_weights(training *r, weights *w) {
    mmrec_error error = {0};
    mmrec_exec *exec = mmrec_trainer_exec(r->trainer);
    mmrec_view moments = mmrec_exec_optimizer(exec);
    memset(w, 0, sizeof *w);
    w->count = read_parameters(r, false, w->value, WEIGHTS_ROOM);
    w->moment_count = mmrec_shape_elements(&moments.shape);
    assert_true(w->moment_count <= WEIGHTS_ROOM);
    must(mmrec_exec_read_view(exec, &moments, w->moment, &error), &error);
}

static inline bool same_weights(const weights *a, const weights *b) {
    return a->count == b->count && a->moment_count == b->moment_count &&
           memcmp(a->value, b->value, sizeof a->value) == 0 && memcmp(a->moment, b->moment, sizeof a->moment) == 0;
}

static inline bool same_bits(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

/* All of a record but the time it took. */
static inline bool same_record(const mmrec_train_record *a, const mmrec_train_record *b) {
    return a->step == b->step && same_bits(a->loss, b->loss) && same_bits(a->loss_main, b->loss_main) &&
           same_bits(a->loss_aux, b->loss_aux) && same_bits(a->gradient_norm, b->gradient_norm) &&
           same_bits(a->clip_factor, b->clip_factor) && same_bits(a->rate, b->rate) &&
           same_bits(a->growth, b->growth) && a->tokens == b->tokens && a->skipped == b->skipped &&
           a->spike == b->spike && same_bits(a->spike_score, b->spike_score) && strcmp(a->culprit, b->culprit) == 0;
}

#endif
