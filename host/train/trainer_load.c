/* Everything that the next step depends on, out of a checkpoint. What it says is checked as it is read: the file may be
 * whole and still not belong here, or hold numbers that would spread. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "trainer_impl.h"

typedef struct loading {
    mmrec_trainer *trainer;
    const mmrec_checkpoint *from;
    mmrec_trainer_note note;
    void *context;
    double *values;
} loading;

/* ---- configuration ---- */

enum { VALUE_TEXT = 100 };

/* What is here, and what the checkpoint says, as texts; whether they are the same. */
static mmrec_status compare_key(const loading *l, const train_key *key, char here[VALUE_TEXT], char there[VALUE_TEXT],
                                bool *same, mmrec_error *error) {
    const char *text = mmrec_checkpoint_text(l->from, key->name);
    int64_t whole = 0;
    double real = 0;
    if (!text) MMREC_FAIL(error, MMREC_FORMAT, "it does not say %s", key->name);
    if (key->kind == TRAIN_KEY_WHOLE) {
        MMREC_TRY(mmrec_checkpoint_whole(l->from, key->name, &whole, error));
        *same = whole == key->whole;
        snprintf(here, VALUE_TEXT, "%lld", (long long)key->whole);
        snprintf(there, VALUE_TEXT, "%lld", (long long)whole);
    } else if (key->kind == TRAIN_KEY_REAL) {
        MMREC_TRY(mmrec_checkpoint_real(l->from, key->name, &real, error));
        *same = real == key->real;
        snprintf(here, VALUE_TEXT, "%.9g", key->real);
        snprintf(there, VALUE_TEXT, "%.9g", real);
    } else {
        if (key->kind == TRAIN_KEY_SEED)
            snprintf(here, VALUE_TEXT, "%llu", (unsigned long long)key->seed);
        else
            snprintf(here, VALUE_TEXT, "%s", key->text);
        *same = strcmp(key->kind == TRAIN_KEY_SEED ? here : key->text, text) == 0;
        mmrec_text_printable(text, strlen(text), there, VALUE_TEXT);
    }
    return MMREC_OK;
}

static mmrec_status check_key(const loading *l, const train_key *key, mmrec_error *error) {
    char here[VALUE_TEXT], there[VALUE_TEXT], text[320];
    bool same = false;
    MMREC_TRY(compare_key(l, key, here, there, &same, error));
    if (same) return MMREC_OK;
    if (key->must_match) {
        MMREC_FAIL(
            error, MMREC_CONFIG,
            "%s is %s in the checkpoint, %s here: a training goes on only with the same model, data, batch and seed",
            key->name, there, here);
    }
    snprintf(text, sizeof text, "%s was %s in the checkpoint and is %s from here on", key->name, there, here);
    if (l->note) l->note(l->context, text);
    return MMREC_OK;
}

static mmrec_status check_keys(const loading *l, mmrec_error *error) {
    train_key keys[TRAIN_KEYS];
    int64_t done = 0;
    MMREC_TRY(mmrec_checkpoint_whole(l->from, "step.done", &done, error));
    int count = train_keys(l->trainer, done > 0, keys);
    for (int i = 0; i < count; i++) MMREC_TRY(check_key(l, &keys[i], error));
    return MMREC_OK;
}

/* ---- progress ---- */

static mmrec_status get_flag(const loading *l, const char *key, bool *out, mmrec_error *error) {
    int64_t value = 0;
    MMREC_TRY(mmrec_checkpoint_whole(l->from, key, &value, error));
    if (value != 0 && value != 1)
        MMREC_FAIL(error, MMREC_FORMAT, "%s is %lld; it must be 0 or 1", key, (long long)value);
    *out = value == 1;
    return MMREC_OK;
}

static mmrec_status get_count(const loading *l, const train_count *c, mmrec_error *error) {
    if (c->real) return mmrec_checkpoint_real(l->from, c->name, c->real, error);
    MMREC_TRY(mmrec_checkpoint_whole(l->from, c->name, c->whole, error));
    if (*c->whole >= 0 && *c->whole < (int64_t)1 << 53) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT, "%s is %lld; it must be at least 0 and below 2^53", c->name, (long long)*c->whole);
}

static mmrec_status check_step(const mmrec_trainer *t, mmrec_error *error) {
    const train_step *s = &t->step;
    bool fits = s->done < t->config.accumulate && s->good <= s->done && s->bad == (s->good < s->done);
    if (fits && s->done <= t->totals.micro_batches) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT,
               "%lld micro-batches of a step are done and %lld were good: that is no moment of a step of %lld",
               (long long)s->done, (long long)s->good, (long long)t->config.accumulate);
}

static mmrec_status get_culprit(const loading *l, mmrec_error *error) {
    train_step *s = &l->trainer->step;
    const char *text = mmrec_checkpoint_text(l->from, "step.culprit");
    if (!s->bad) return MMREC_OK;
    if (!text) MMREC_FAIL(error, MMREC_FORMAT, "it does not say step.culprit");
    mmrec_text_printable(text, strlen(text), s->culprit, sizeof s->culprit);
    return MMREC_OK;
}

static mmrec_status get_progress(const loading *l, mmrec_error *error) {
    mmrec_trainer *t = l->trainer;
    train_count counts[TRAIN_COUNTS];
    mmrec_optimizer_progress progress;
    int count = train_counts(t, counts);
    t->step = (train_step){0};
    for (int i = 0; i < count; i++) MMREC_TRY(get_count(l, &counts[i], error));
    MMREC_TRY(get_flag(l, "step.bad", &t->step.bad, error));
    MMREC_TRY(get_flag(l, "step.starts", &t->step.starts, error));
    MMREC_TRY(get_flag(l, "state.carried", &t->carried, error));
    MMREC_TRY(check_step(t, error));
    MMREC_TRY(get_culprit(l, error));
    MMREC_TRY(mmrec_checkpoint_whole(l->from, "optimizer.step", &progress.step, error));
    MMREC_TRY(mmrec_checkpoint_real(l->from, "optimizer.power1", &progress.power1, error));
    MMREC_TRY(mmrec_checkpoint_real(l->from, "optimizer.power2", &progress.power2, error));
    return mmrec_optimizer_resume(t->optimizer, &progress, error);
}

/* ---- tensors ---- */

/* Finite as the backend's numbers, and at least `low`. */
static mmrec_status check_values(const loading *l, const char *name, int64_t count, double low, mmrec_error *error) {
    double most = l->trainer->backend->real == MMREC_F64 ? DBL_MAX : (double)FLT_MAX;
    for (int64_t i = 0; i < count; i++) {
        double value = l->values[i];
        if (value >= low && fabs(value) <= most) continue;
        MMREC_FAIL(error, MMREC_FORMAT, "\"%s\" holds %g at element %lld: it must be finite%s", name, value,
                   (long long)i, low == 0 ? " and at least 0" : "");
    }
    return MMREC_OK;
}

static mmrec_status get_view(const void *context, const char *name, const mmrec_view *view, double least,
                             mmrec_error *error) {
    const loading *l = context;
    MMREC_TRY(mmrec_checkpoint_get(l->from, name, &view->shape, l->values, error));
    MMREC_TRY(check_values(l, name, mmrec_shape_elements(&view->shape), least, error));
    return mmrec_exec_write_view(l->trainer->net.exec, view, l->values, error);
}

/* Every step that was made has entered its loss, so the window's length is known. */
static mmrec_status get_guards(const loading *l, mmrec_error *error) {
    mmrec_trainer *t = l->trainer;
    mmrec_shape all = mmrec_shape1(t->param_count);
    int64_t made = t->totals.steps - t->totals.skipped;
    mmrec_shape window = mmrec_shape1(made < MMREC_GUARD_WINDOW ? made : MMREC_GUARD_WINDOW);
    double losses[MMREC_GUARD_WINDOW];
    if (made > 0) MMREC_TRY(mmrec_checkpoint_get(l->from, "guard.window", &window, losses, error));
    guard_restore(&t->guard, losses, made > 0 ? window.dim[0] : 0);
    MMREC_TRY(mmrec_checkpoint_get(l->from, "guard.zero_since", &all, l->values, error));
    for (int64_t i = 0; i < t->param_count; i++) {
        if (!(l->values[i] >= 0 && l->values[i] <= (double)t->totals.steps)) {
            MMREC_FAIL(error, MMREC_FORMAT, "\"guard.zero_since\" holds %g after %lld steps", l->values[i],
                       (long long)t->totals.steps);
        }
        t->params[i].zero_since = (int64_t)l->values[i];
    }
    return MMREC_OK;
}

static mmrec_status get_all(const loading *l, mmrec_error *error) {
    mmrec_trainer *t = l->trainer;
    MMREC_TRY(check_keys(l, error));
    MMREC_TRY(get_progress(l, error));
    MMREC_TRY(train_each_part(t, get_view, l, error));
    mmrec_exec_params_changed(t->net.exec);
    MMREC_TRY(get_guards(l, error));
    MMREC_TRY(train_each_state(t, get_view, l, error));
    return train_loader(t, error);
}

mmrec_status mmrec_trainer_load(mmrec_trainer *t, const mmrec_checkpoint *from, mmrec_trainer_note note, void *context,
                                mmrec_error *error) {
    size_t room = (size_t)train_largest(t);
    void *memory = NULL;
    MMREC_TRY_WHILE(train_alloc(t, room, sizeof(double), &memory, error), error, "loading a checkpoint");
    loading l = {t, from, note, context, memory};
    mmrec_status status = get_all(&l, error);
    train_release(t, memory, room * sizeof(double));
    if (status != MMREC_OK) mmrec_error_frame(error, "loading a checkpoint");
    return status;
}
