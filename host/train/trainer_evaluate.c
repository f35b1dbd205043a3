/* Losses and accuracy on the held-out part, through a graph of its own that shares the parameters. */
#include <math.h>

#include "trainer_impl.h"

/* Sums over the batches so far. */
typedef struct tally {
    double loss, aux;
    int64_t right, asked;
} tally;

static mmrec_status prepare(mmrec_trainer *t, mmrec_error *error) {
    train_use use = {.carried = t->config.stream, .params_from = t->net.exec};
    MMREC_TRY(train_need_batch(t, error));
    if (t->config.stream && !t->evaluation_carry.memory) {
        MMREC_TRY(train_carry_create(t, &t->evaluation_carry, error));
    }
    return t->evaluation.exec ? MMREC_OK : train_net_create(t, &use, &t->evaluation, error);
}

/* ---- accuracy ---- */

static bool is_right(const double *logits, int64_t vocab, int32_t target) {
    for (int64_t i = 0; i < vocab; i++) {
        bool below = i < target ? logits[i] < logits[target] : logits[i] <= logits[target];
        if (!below) return false; /* nor where either is not a number */
    }
    return true;
}

/* Rows [first, first + count) of the logits (B T, V). */
static mmrec_status count_rows(mmrec_trainer *t, int64_t first, int64_t count, tally *sum, mmrec_error *error) {
    int64_t vocab = t->config.model.vocab;
    mmrec_view logits = mmrec_exec_view(t->evaluation.exec, t->evaluation.logits);
    mmrec_view rows = flat_part(logits, first * vocab, mmrec_shape2(count, vocab));
    MMREC_TRY(mmrec_exec_read_view(t->evaluation.exec, &rows, t->piece, error));
    for (int64_t i = 0; i < count; i++) {
        if (!t->batch.asked[first + i]) continue;
        sum->asked++;
        sum->right += is_right(t->piece + i * vocab, vocab, t->batch.targets[first + i]);
    }
    return MMREC_OK;
}

static mmrec_status count_right(mmrec_trainer *t, tally *sum, mmrec_error *error) {
    int64_t tokens = train_tokens(t), room = train_piece_room(t) / t->config.model.vocab;
    for (int64_t first = 0; first < tokens; first += room) {
        int64_t count = tokens - first < room ? tokens - first : room;
        MMREC_TRY(count_rows(t, first, count, sum, error));
    }
    return MMREC_OK;
}

/* ---- batches ---- */

static mmrec_status run_batch(mmrec_trainer *t, int64_t number, tally *sum, mmrec_error *error) {
    const train_net *net = &t->evaluation;
    double loss, aux;
    mmrec_data_batch(t->data, MMREC_SPLIT_HELD_OUT, number, t->batch.ids, t->batch.targets, t->batch.asked);
    bool starts = !t->config.stream || mmrec_data_starts(t->data, MMREC_SPLIT_HELD_OUT, number);
    const train_carry *state = starts ? NULL : &t->evaluation_carry;
    MMREC_TRY(train_feed(t, net, t->batch.ids, t->batch.targets, state, error));
    MMREC_TRY(mmrec_exec_run(net->exec, MMREC_PHASE_FORWARD, error));
    MMREC_TRY(train_net_read(net, net->loss_main, &loss, error));
    MMREC_TRY(train_net_read(net, net->loss_aux, &aux, error));
    sum->loss += loss;
    sum->aux += aux;
    return t->config.stream ? train_state_take(t, net, &t->evaluation_carry, error) : MMREC_OK;
}

static mmrec_status run_batches(mmrec_trainer *t, int64_t batches, bool accuracy, tally *sum, mmrec_error *error) {
    MMREC_TRY(prepare(t, error));
    for (int64_t n = 0; n < batches; n++) {
        MMREC_TRY_WHILE(run_batch(t, n, sum, error), error, "running held-out batch %lld", (long long)n);
        if (accuracy) MMREC_TRY(count_right(t, sum, error));
    }
    return MMREC_OK;
}

mmrec_status mmrec_trainer_evaluate(mmrec_trainer *t, int64_t batches, bool accuracy, mmrec_evaluation *out,
                                    mmrec_error *error) {
    int64_t there = mmrec_data_info_of(t->data)->held_out_batches;
    tally sum = {0};
    if (there < 1) MMREC_FAIL(error, MMREC_CONFIG, "nothing of the data is held out: there is nothing to evaluate on");
    if (batches < 1) {
        MMREC_FAIL(error, MMREC_CONFIG, "an evaluation on %lld batches; it must be at least 1", (long long)batches);
    }
    if (batches > there) batches = there;
    MMREC_TRY_WHILE(run_batches(t, batches, accuracy, &sum, error), error, "evaluating");
    *out = (mmrec_evaluation){.loss = sum.loss / (double)batches,
                              .loss_aux = sum.aux / (double)batches,
                              .accuracy = sum.asked ? (double)sum.right / (double)sum.asked : NAN,
                              .batches = batches,
                              .tokens = batches * train_tokens(t),
                              .asked = sum.asked};
    return MMREC_OK;
}
