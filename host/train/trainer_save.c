/* Everything that the next step depends on, into a checkpoint. */
#include <stdio.h>

#include "trainer_impl.h"

typedef struct saving {
    mmrec_trainer *trainer;
    mmrec_checkpoint *to;
    mmrec_safetensors_dtype dtype; /* of the backend's numbers: every one is kept bit by bit */
    double *values;
} saving;

static mmrec_status put_view(const void *context, const char *name, const mmrec_view *view, double least,
                             mmrec_error *error) {
    const saving *s = context;
    (void)least;
    MMREC_TRY(mmrec_exec_read_view(s->trainer->net.exec, view, s->values, error));
    return mmrec_checkpoint_put(s->to, name, s->dtype, &view->shape, s->values, error);
}

/* The losses the spike guard remembers, and since when parameters are dead. */
static mmrec_status put_guards(const saving *s, mmrec_error *error) {
    mmrec_trainer *t = s->trainer;
    double losses[MMREC_GUARD_WINDOW];
    mmrec_shape count = mmrec_shape1(guard_losses(&t->guard, losses)), all = mmrec_shape1(t->param_count);
    if (t->guard.count) {
        MMREC_TRY(mmrec_checkpoint_put(s->to, "guard.window", MMREC_SAFETENSORS_F64, &count, losses, error));
    }
    for (int64_t i = 0; i < t->param_count; i++) s->values[i] = (double)t->params[i].zero_since;
    return mmrec_checkpoint_put(s->to, "guard.zero_since", MMREC_SAFETENSORS_F64, &all, s->values, error);
}

static mmrec_status put_key(const saving *s, const train_key *key, mmrec_error *error) {
    char text[24];
    if (key->kind == TRAIN_KEY_WHOLE) return mmrec_checkpoint_put_whole(s->to, key->name, key->whole, error);
    if (key->kind == TRAIN_KEY_REAL) return mmrec_checkpoint_put_real(s->to, key->name, key->real, error);
    snprintf(text, sizeof text, "%llu", (unsigned long long)key->seed);
    return mmrec_checkpoint_put_text(s->to, key->name, key->kind == TRAIN_KEY_SEED ? text : key->text, error);
}

static mmrec_status put_texts(const saving *s, mmrec_error *error) {
    mmrec_trainer *t = s->trainer;
    train_key keys[TRAIN_KEYS];
    train_count counts[TRAIN_COUNTS];
    int key_count = train_keys(t, false, keys), count = train_counts(t, counts);
    for (int i = 0; i < key_count; i++) MMREC_TRY(put_key(s, &keys[i], error));
    for (int i = 0; i < count; i++) {
        const train_count *c = &counts[i];
        MMREC_TRY(c->whole ? mmrec_checkpoint_put_whole(s->to, c->name, *c->whole, error)
                           : mmrec_checkpoint_put_real(s->to, c->name, *c->real, error));
    }
    MMREC_TRY(mmrec_checkpoint_put_whole(s->to, "step.bad", t->step.bad, error));
    if (t->step.bad) MMREC_TRY(mmrec_checkpoint_put_text(s->to, "step.culprit", t->step.culprit, error));
    MMREC_TRY(mmrec_checkpoint_put_whole(s->to, "step.starts", t->step.starts, error));
    MMREC_TRY(mmrec_checkpoint_put_whole(s->to, "state.carried", train_has_state(t, TRAIN_BEFORE), error));
    mmrec_optimizer_progress progress;
    MMREC_TRY(mmrec_optimizer_progress_of(t->optimizer, &progress, error));
    MMREC_TRY(mmrec_checkpoint_put_whole(s->to, "optimizer.step", progress.step, error));
    MMREC_TRY(mmrec_checkpoint_put_real(s->to, "optimizer.power1", progress.power1, error));
    return mmrec_checkpoint_put_real(s->to, "optimizer.power2", progress.power2, error);
}

static mmrec_status put_all(const saving *s, mmrec_error *error) {
    MMREC_TRY(put_texts(s, error));
    MMREC_TRY(train_each_part(s->trainer, put_view, s, error));
    MMREC_TRY(put_guards(s, error));
    return train_each_state(s->trainer, put_view, s, error);
}

mmrec_status mmrec_trainer_save(mmrec_trainer *t, mmrec_checkpoint *to, mmrec_error *error) {
    size_t room = (size_t)train_largest(t);
    void *memory = NULL;
    MMREC_TRY_WHILE(train_alloc(t, room, sizeof(double), &memory, error), error, "saving the training");
    saving s = {t, to, t->backend->real == MMREC_F64 ? MMREC_SAFETENSORS_F64 : MMREC_SAFETENSORS_F32, memory};
    mmrec_status status = put_all(&s, error);
    train_release(t, memory, room * sizeof(double));
    if (status != MMREC_OK) mmrec_error_frame(error, "saving the training");
    return status;
}
