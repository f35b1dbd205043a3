/* Batches of the task: those of data.h for language, samples made from the seed for classes and values.
 *
 * Of made-up samples an epoch visits each of `samples` once, in an order drawn anew; a last batch that would not be
 * full goes on with the next epoch. Held out are `held_out` others, rounded up to whole batches. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compare_impl.h"

/* ---- room for a batch ---- */

typedef struct room {
    void **at;
    int64_t count;
    size_t size;
} room;

enum { ROOMS = 6 };

static void rooms_of(compare_task *t, room rooms[ROOMS]) {
    const mmrec_compare_task *s = &t->spec;
    bool language = s->kind == MMREC_COMPARE_LANGUAGE, values = s->kind == MMREC_COMPARE_VALUES;
    const room all[ROOMS] = {{(void **)&t->x, language ? 0 : s->batch * s->inputs, sizeof *t->x},
                             {(void **)&t->target, values ? s->batch * s->outputs : 0, sizeof *t->target},
                             {(void **)&t->ids, language ? t->places : 0, sizeof *t->ids},
                             {(void **)&t->targets, values ? 0 : t->places, sizeof *t->targets},
                             {(void **)&t->asked, values ? 0 : t->places, sizeof *t->asked},
                             {(void **)&t->made_up, (int64_t)compare_made_up_size(s), sizeof *t->made_up}};
    memcpy(rooms, all, sizeof all);
}

static mmrec_status make_room(compare_task *t, mmrec_error *error) {
    room rooms[ROOMS];
    rooms_of(t, rooms);
    for (int i = 0; i < ROOMS; i++) {
        void *memory = NULL;
        if (rooms[i].count == 0) continue;
        MMREC_TRY_WHILE(compare_alloc(t->allocator, (size_t)rooms[i].count, rooms[i].size, &memory, error), error,
                        "making room for a batch");
        *rooms[i].at = memory;
    }
    return MMREC_OK;
}

/* ---- what is refused ---- */

static mmrec_status check_size(const char *what, int64_t value, int64_t least, mmrec_error *error) {
    enum { MOST = 1 << 28 };
    if (value >= least && value <= MOST) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "%s of the task is %lld; it must be from %lld to %d", what, (long long)value,
               (long long)least, MOST);
}

static mmrec_status check_product(const char *what, int64_t a, int64_t b, mmrec_error *error) {
    if (a * b <= INT32_MAX) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "%s of the task is %lld; it may be at most %d", what, (long long)(a * b),
               INT32_MAX);
}

static mmrec_status check_made_up(const mmrec_compare_task *s, mmrec_error *error) {
    MMREC_TRY(check_size("inputs", s->inputs, 1, error));
    MMREC_TRY(check_size("samples", s->samples, 1, error));
    MMREC_TRY(check_size("held-out samples", s->held_out, 0, error));
    MMREC_TRY(check_product("batch times inputs", s->batch, s->inputs, error));
    return check_product("inputs times outputs", s->inputs, s->outputs, error);
}

static mmrec_status check(const mmrec_compare_task *s, mmrec_error *error) {
    MMREC_TRY(check_size("batch", s->batch, 1, error));
    MMREC_TRY(check_size("time", s->time, 1, error));
    MMREC_TRY(check_size("outputs", s->outputs, s->kind == MMREC_COMPARE_VALUES ? 1 : 2, error));
    MMREC_TRY(check_product("batch times time", s->batch, s->time, error));
    MMREC_TRY(check_product("batch times outputs", s->batch, s->outputs, error));
    return s->kind == MMREC_COMPARE_LANGUAGE ? MMREC_OK : check_made_up(s, error);
}

/* ---- beginning ---- */

static mmrec_status begin_language(compare_task *t, mmrec_io *io, mmrec_error *error) {
    const mmrec_compare_task *s = &t->spec;
    mmrec_data_request request = {.path = s->data_path,
                                  .task = s->data_path ? MMREC_TASK_NONE : MMREC_TASK_TEXT_MARKOV,
                                  .seed = s->seed,
                                  .held_out = s->val,
                                  .batch = s->batch,
                                  .time = s->time};
    MMREC_TRY_WHILE(mmrec_data_create(t->allocator, io, &request, &t->data, error), error, "reading the task's data");
    const mmrec_data_info *info = mmrec_data_info_of(t->data);
    if (info->vocab > s->outputs) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "the vocabulary of the task is %lld, but \"%s\" has %lld: give it at least that",
                   (long long)s->outputs, info->name, (long long)info->vocab);
    }
    t->held_out = info->held_out_batches;
    t->best_loss = info->best_loss;
    snprintf(t->name, sizeof t->name, "%s", info->name);
    return MMREC_OK;
}

static void begin_made_up(compare_task *t) {
    const mmrec_compare_task *s = &t->spec;
    const char *what = s->kind == MMREC_COMPARE_CLASSES ? "classes" : "values";
    t->order = data_order_of(s->samples);
    t->held_out = (s->held_out + s->batch - 1) / s->batch;
    t->best_loss = compare_made_up_best(s);
    snprintf(t->name, sizeof t->name, "%lld %s of %lld inputs, made up: %lld samples, %lld held out",
             (long long)s->outputs, what, (long long)s->inputs, (long long)s->samples,
             (long long)(t->held_out * s->batch));
    compare_made_up_begin(t);
    if (t->asked) memset(t->asked, 1, (size_t)t->places);
}

mmrec_status compare_task_create(mmrec_allocator *allocator, mmrec_io *io, const mmrec_compare_task *spec,
                                 uint64_t seed, compare_task *out, mmrec_error *error) {
    *out = (compare_task){.allocator = allocator, .best_loss = (double)NAN};
    MMREC_TRY(check(spec, error));
    out->spec = *spec;
    out->spec.seed = seed;
    out->places = spec->batch * (spec->kind == MMREC_COMPARE_LANGUAGE ? spec->time : 1);
    MMREC_TRY(make_room(out, error));
    if (spec->kind == MMREC_COMPARE_LANGUAGE) return begin_language(out, io, error);
    begin_made_up(out);
    return MMREC_OK;
}

void compare_task_free(compare_task *t) {
    room rooms[ROOMS];
    rooms_of(t, rooms);
    for (int i = 0; i < ROOMS && t->allocator; i++) {
        compare_release(t->allocator, *rooms[i].at, (size_t)rooms[i].count, rooms[i].size);
    }
    mmrec_data_destroy(&t->data);
    *t = (compare_task){0};
}

/* ---- a batch ---- */

void compare_task_batch(compare_task *t, mmrec_split split, int64_t number) {
    const mmrec_compare_task *s = &t->spec;
    if (split == MMREC_SPLIT_HELD_OUT && t->held_out > 0) number %= t->held_out;
    if (t->data) {
        mmrec_data_batch(t->data, split, number, t->ids, t->targets, t->asked);
        return;
    }
    for (int64_t row = 0; row < s->batch; row++) {
        int64_t sample = number * s->batch + row;
        if (split == MMREC_SPLIT_TRAIN) {
            sample = data_order_at(&t->order, s->seed, sample / s->samples, sample % s->samples);
        }
        compare_made_up_sample(t, split, sample, row);
    }
}
