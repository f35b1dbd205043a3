/* Steps: micro-batches, the mean of their gradients, the update, and the guards around it.
 *
 * A step is made whole or not at all. Where a loss, a state or a gradient is not finite, what is left of the step is
 * not computed, and weights, moments and carried state stay what they were before it; only the counters go on. */
#include <math.h>
#include <string.h>

#include "core/clock.h"
#include "trainer_impl.h"

/* ---- one micro-batch ---- */

mmrec_status train_feed(mmrec_trainer *t, const train_net *net, const int32_t *ids, const int32_t *targets,
                        const train_carry *state, mmrec_error *error) {
    int64_t tokens = train_tokens(t);
    MMREC_TRY(mmrec_exec_write_ids(net->exec, net->ids, ids, tokens, error));
    MMREC_TRY(mmrec_exec_write_ids(net->exec, net->targets, targets, tokens, error));
    return state ? train_state_give(t, net, state, error) : train_state_begin(t, net, error);
}

const train_carry *train_state_before(const mmrec_trainer *t, int64_t index, bool starts) {
    if (!t->config.stream || starts || (index == 0 && !t->carried)) return NULL;
    return &t->carry[index == 0 ? TRAIN_BEFORE : TRAIN_WITHIN];
}

/* Losses, then the growth of each layer. */
static mmrec_tensor value_at(const train_net *net, int64_t i) {
    const mmrec_tensor losses[TRAIN_LOSSES] = {net->loss, net->loss_main, net->loss_aux};
    return i < TRAIN_LOSSES ? losses[i] : net->layers[i - TRAIN_LOSSES].growth;
}

/* All of them to `piece`, 0 for one that is not there. Gathered behind what is queued, so that a device is waited for
 * once. */
static mmrec_status gather_values(mmrec_trainer *t, mmrec_error *error) {
    int64_t count = TRAIN_LOSSES + t->config.model.layers;
    mmrec_view all = mmrec_view_dense(t->look.memory, t->backend->real, mmrec_shape1(count));
    for (int64_t i = 0; i < count; i++) {
        mmrec_view from = mmrec_exec_view(t->net.exec, value_at(&t->net, i));
        if (from.data) MMREC_TRY(flat_copy(t->flat, flat_part(all, i, from.shape), from, 1, error));
    }
    if (t->backend->synchronize) MMREC_TRY(t->backend->synchronize(error));
    return mmrec_exec_read_view(t->net.exec, &all, t->piece, error);
}

/* Into the sums of the step. */
static mmrec_status read_values(mmrec_trainer *t, bool *finite, mmrec_error *error) {
    train_step *s = &t->step;
    const double *value = t->piece;
    MMREC_TRY(gather_values(t, error));
    for (int64_t layer = 0; layer < t->config.model.layers; layer++) {
        double growth = value[TRAIN_LOSSES + layer];
        if (!isfinite(growth)) s->growth = NAN;
        if (growth > s->growth) s->growth = growth; /* never where it is NaN */
    }
    *finite = true;
    for (int i = 0; i < TRAIN_LOSSES; i++) *finite = *finite && isfinite(value[i]);
    if (!*finite) return MMREC_OK;
    s->loss += value[TRAIN_LOSS];
    s->main += value[TRAIN_LOSS_MAIN];
    s->aux += value[TRAIN_LOSS_AUX];
    return MMREC_OK;
}

static mmrec_status add_gradients(mmrec_trainer *t, mmrec_error *error) {
    double share = 1.0 / (double)t->config.accumulate;
    mmrec_view gradients = mmrec_exec_gradients(t->net.exec), sum = gradients;
    sum.data = t->sum;
    if (t->config.accumulate == 1) return MMREC_OK;
    if (t->step.good == 0) return flat_copy(t->flat, sum, gradients, share, error);
    return flat_add(t->flat, sum, gradients, share, error);
}

/* Between the micro-batches of a step the state goes on apart; behind the last one it waits in the graph
 * until the step is made. */
static mmrec_status keep_state(mmrec_trainer *t, mmrec_error *error) {
    if (!t->config.stream || t->step.good + 1 == t->config.accumulate) return MMREC_OK;
    return train_state_take(t, &t->net, &t->carry[TRAIN_WITHIN], error);
}

static mmrec_status compute(mmrec_trainer *t, const mmrec_batch *batch, mmrec_error *error) {
    const train_carry *state = train_state_before(t, t->step.good, batch->starts);
    bool finite = true;
    mmrec_exec_seed(t->net.exec, train_seed(t, batch->number));
    MMREC_TRY(train_feed(t, &t->net, batch->ids, batch->targets, state, error));
    MMREC_TRY(mmrec_exec_queue(t->net.exec, MMREC_PHASE_FORWARD, error));
    MMREC_TRY(mmrec_exec_queue(t->net.exec, MMREC_PHASE_BACKWARD, error));
    MMREC_TRY(read_values(t, &finite, error));
    if (finite && t->config.stream) MMREC_TRY(train_state_finite(t, &t->net, &finite, error));
    if (!finite) {
        t->step.bad = true;
        train_name_culprit(t, t->step.good, 1, "an op that did not do it again", t->step.culprit);
        return MMREC_OK;
    }
    if (t->config.stream && !state) MMREC_TRY(train_state_gradient(t, &t->net, error));
    MMREC_TRY(add_gradients(t, error));
    return keep_state(t, error);
}

/* ---- the end of a step ---- */

/* The mean of the gradients takes the place of the last ones, for the optimizer and for whoever looks. */
static mmrec_status update(mmrec_trainer *t, mmrec_train_record *record, mmrec_error *error) {
    mmrec_optimizer_report report;
    mmrec_view gradients = mmrec_exec_gradients(t->net.exec), sum = gradients;
    sum.data = t->sum;
    if (t->sum) MMREC_TRY(flat_copy(t->flat, gradients, sum, 1, error));
    MMREC_TRY(mmrec_optimizer_step(t->optimizer, record->rate, &report, error));
    record->gradient_norm = report.gradient_norm;
    record->clip_factor = report.clip_factor;
    t->step.bad = report.skipped;
    if (!t->step.bad) return MMREC_OK;
    train_name_culprit(t, 0, t->config.accumulate, "the optimizer: the gradients' norm is beyond what it can square",
                       t->step.culprit);
    return MMREC_OK;
}

/* The state behind the step, if it was made. Where sequences began in one that was not, what was carried belongs to
 * others: the next batch begins anew. */
static mmrec_status settle_state(mmrec_trainer *t, mmrec_error *error) {
    if (!t->config.stream) return MMREC_OK;
    if (t->step.bad) {
        t->carried = t->carried && !t->step.starts;
        return MMREC_OK;
    }
    t->carried = true;
    return train_state_take(t, &t->net, &t->carry[TRAIN_BEFORE], error);
}

static void fill_record(mmrec_trainer *t, mmrec_train_record *record) {
    const train_step *s = &t->step;
    double count = (double)t->config.accumulate;
    bool whole = s->good == t->config.accumulate; /* all of it was computed */
    *record = (mmrec_train_record){.step = t->totals.steps + 1, .clip_factor = 1, .gradient_norm = NAN};
    record->loss = whole ? s->loss / count : NAN;
    record->loss_main = whole ? s->main / count : NAN;
    record->loss_aux = whole ? s->aux / count : NAN;
    record->rate = mmrec_schedule_rate(&t->config.schedule, t->totals.steps);
    record->growth = s->growth;
    record->tokens = t->config.accumulate * train_tokens(t);
    record->spike_score = NAN;
}

static void judge(mmrec_trainer *t, mmrec_train_record *record) {
    record->skipped = t->step.bad;
    memcpy(record->culprit, t->step.culprit, sizeof record->culprit);
    if (record->skipped) return;
    record->spike_score = guard_score(&t->guard, record->loss);
    record->spike = record->spike_score >= t->config.spike_score;
    guard_add(&t->guard, record->loss);
}

static void count_step(mmrec_trainer *t, const mmrec_train_record *record) {
    mmrec_train_totals *totals = &t->totals;
    totals->steps++;
    totals->tokens += record->tokens;
    totals->skipped += record->skipped;
    totals->skipped_in_row = record->skipped ? totals->skipped_in_row + 1 : 0;
    totals->spikes += record->spike;
    if (record->growth > totals->largest_growth) totals->largest_growth = record->growth;
}

static mmrec_status finish(mmrec_trainer *t, mmrec_train_record *record, mmrec_error *error) {
    fill_record(t, record);
    if (!t->step.bad) MMREC_TRY(update(t, record, error));
    MMREC_TRY(settle_state(t, error));
    judge(t, record);
    count_step(t, record);
    return MMREC_OK;
}

static mmrec_status check_row(const mmrec_trainer *t, const mmrec_train_record *record, mmrec_error *error) {
    if (t->totals.skipped_in_row < MMREC_GUARD_MOST) return MMREC_OK;
    MMREC_FAIL(
        error, MMREC_MISMATCH,
        "step %lld is number %lld in a row without an update: values are not finite, first in %s; the parameters "
        "are those of step %lld. Go on from a checkpoint with a lower learning rate or a smaller clipping norm",
        (long long)record->step, (long long)t->totals.skipped_in_row, record->culprit,
        (long long)(t->totals.steps - t->totals.skipped_in_row));
}

/* ---- the public face ---- */

/* Counted too where it was not computed: the data goes on. */
static mmrec_status advance(mmrec_trainer *t, mmrec_error *error) {
    mmrec_batch batch;
    mmrec_loader_next(t->loader, &batch);
    t->step.starts = t->step.starts || batch.starts;
    if (!t->step.bad) {
        MMREC_TRY_WHILE(compute(t, &batch, error), error, "running micro-batch %lld", (long long)batch.number);
        t->step.good += !t->step.bad;
    }
    t->step.done++;
    t->totals.micro_batches++;
    return MMREC_OK;
}

mmrec_status mmrec_trainer_micro(mmrec_trainer *t, bool *finished, mmrec_train_record *record, mmrec_error *error) {
    uint64_t start = core_clock_ns();
    *finished = false;
    MMREC_TRY(advance(t, error));
    *finished = t->step.done == t->config.accumulate;
    if (*finished) MMREC_TRY(finish(t, record, error));
    t->step.ns += core_clock_ns() - start;
    if (!*finished) return MMREC_OK;
    record->ns = t->step.ns;
    t->step = (train_step){0};
    return check_row(t, record, error);
}

mmrec_status mmrec_trainer_step(mmrec_trainer *t, mmrec_train_record *record, mmrec_error *error) {
    bool finished = false;
    while (!finished) MMREC_TRY(mmrec_trainer_micro(t, &finished, record, error));
    return MMREC_OK;
}
