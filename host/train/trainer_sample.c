/* Text from the model: ids drawn one by one, each fed back. */
#include <math.h>

#include "mmrec/rng.h"
#include "trainer_impl.h"

/* The first of the largest; -1 where a logit is not a number. */
static int64_t most_probable(const double *logits, int64_t count) {
    int64_t best = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isnan(logits[i])) return -1;
        if (logits[i] > logits[best]) best = i;
    }
    return best;
}

/* The first id at which the sum of probabilities passes `place` of their total. Overwrites the logits. */
static int64_t draw(double *logits, int64_t count, double temperature, double place) {
    int64_t best = most_probable(logits, count);
    double most = best < 0 ? NAN : logits[best], total = 0, sum = 0;
    if (temperature <= 0 || !isfinite(most)) return isfinite(most) ? best : -1;
    for (int64_t i = 0; i < count; i++) {
        logits[i] = exp((logits[i] - most) / temperature);
        total += logits[i];
    }
    for (int64_t i = 0; i < count; i++) {
        sum += logits[i];
        if (sum > place * total) return i;
    }
    return best;
}

static mmrec_status feed_prompt(mmrec_stream *stream, const int32_t *prompt, int64_t count, double *logits,
                                mmrec_error *error) {
    /* Apart, so that there is room for one row of logits only. */
    if (count > 1) MMREC_TRY(mmrec_stream_feed(stream, prompt, count - 1, NULL, error));
    return mmrec_stream_feed(stream, prompt + count - 1, 1, logits, error);
}

typedef struct request {
    const int32_t *prompt;
    int64_t prompt_count, count;
    double temperature;
    uint64_t seed;
} request;

static mmrec_status write_ids(mmrec_trainer *t, mmrec_stream *stream, const request *r, int32_t *ids,
                              mmrec_error *error) {
    int64_t vocab = t->config.model.vocab;
    MMREC_TRY(feed_prompt(stream, r->prompt, r->prompt_count, t->piece, error));
    for (int64_t i = 0; i < r->count; i++) {
        double place = (double)mmrec_rng_uniform(r->seed, 0, (uint64_t)i);
        int64_t id = draw(t->piece, vocab, r->temperature, place);
        if (id < 0) MMREC_FAIL(error, MMREC_MISMATCH, "the logits of id %lld are not finite", (long long)i);
        ids[i] = (int32_t)id;
        if (i + 1 < r->count) MMREC_TRY(mmrec_stream_feed(stream, &ids[i], 1, t->piece, error));
    }
    return MMREC_OK;
}

mmrec_status mmrec_trainer_sample(mmrec_trainer *t, const int32_t *prompt, int64_t prompt_count, double temperature,
                                  uint64_t seed, int32_t *ids, int64_t count, mmrec_error *error) {
    request r = {prompt, prompt_count, count, temperature, seed};
    mmrec_stream *stream = NULL;
    if (prompt_count < 1 || count < 0) {
        MMREC_FAIL(error, MMREC_CONFIG, "a sample of %lld ids behind %lld: it must be at least 0 behind at least 1",
                   (long long)count, (long long)prompt_count);
    }
    if (!(temperature >= 0 && isfinite(temperature))) {
        MMREC_FAIL(error, MMREC_CONFIG, "the temperature of a sample is %g; it must be a number of at least 0",
                   temperature);
    }
    MMREC_TRY(mmrec_stream_create(t->allocator, t->backend, t->net.exec, &t->config.model, 1, t->config.hem,
                                  t->config.threads, &stream, error));
    mmrec_status status = write_ids(t, stream, &r, ids, error);
    mmrec_stream_destroy(&stream);
    if (status != MMREC_OK) mmrec_error_frame(error, "drawing a sample");
    return status;
}
