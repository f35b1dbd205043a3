/* The state manager. Evidence is brought together in an array of its own and looked at before any logit moves. */
#include "mmrec/state_manager.h"

#include <math.h>
#include <string.h>

#include "mmrec/rng.h"

/* Above those of dropout, which count up from 0, and those of the initial parameters, which count up from 2^32. */
static const uint64_t importance_stream = (uint64_t)1 << 33;

/* A gradient's length may be any: what is kept below 1 has a logit. Within it agrees with the formula as published. */
static const double least = 1e-6, most = 1 - 1e-6;

struct mmrec_state_manager {
    mmrec_allocator *allocator;
    mmrec_state_config config;
    double *logits, *evidence;
    bool *mask;
};

static size_t slots_of(const mmrec_state_manager *m) { return (size_t)m->config.max; }

static mmrec_status check_threshold(double threshold, mmrec_error *error) {
    if (threshold >= 0 && threshold <= 1) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "state manager: the threshold is %g; a score lies in [0, 1], choose one there",
               threshold);
}

static mmrec_status check_config(const mmrec_state_config *config, mmrec_error *error) {
    if (config->max < 1 || config->max > INT32_MAX) {
        MMREC_FAIL(error, MMREC_CONFIG, "state manager: max is %lld slots; it must be between 1 and %d",
                   (long long)config->max, INT32_MAX);
    }
    if (config->initial < 1 || config->initial > config->max) {
        MMREC_FAIL(error, MMREC_CONFIG, "state manager: initial is %lld slots; it must be between 1 and max, %lld",
                   (long long)config->initial, (long long)config->max);
    }
    return check_threshold(config->threshold, error);
}

static mmrec_status reserve(mmrec_state_manager *m, mmrec_error *error) {
    size_t slots = slots_of(m);
    MMREC_TRY(mmrec_alloc_zero(m->allocator, slots, sizeof(double), MMREC_ALLOC_PARAMS, (void **)&m->logits, error));
    MMREC_TRY(mmrec_alloc_zero(m->allocator, slots, sizeof(double), MMREC_ALLOC_SCRATCH, (void **)&m->evidence, error));
    return mmrec_alloc_zero(m->allocator, slots, sizeof(bool), MMREC_ALLOC_PARAMS, (void **)&m->mask, error);
}

mmrec_status mmrec_state_manager_create(mmrec_allocator *allocator, const mmrec_state_config *config,
                                        mmrec_state_manager **out, mmrec_error *error) {
    void *memory = NULL;
    *out = NULL;
    MMREC_TRY(check_config(config, error));
    MMREC_TRY_WHILE(mmrec_alloc_zero(allocator, 1, sizeof **out, MMREC_ALLOC_PARAMS, &memory, error), error,
                    "making a state manager");
    mmrec_state_manager *m = memory;
    m->allocator = allocator;
    m->config = *config;
    mmrec_status status = reserve(m, error);
    if (status != MMREC_OK) {
        mmrec_error_frame(error, "making a state manager of %lld slots", (long long)config->max);
        mmrec_state_manager_destroy(&m);
        return status;
    }
    for (int64_t i = 0; i < config->max; i++) {
        m->logits[i] = 0.5 + 0.5 * (double)mmrec_rng_uniform(config->seed, importance_stream, (uint64_t)i);
        m->mask[i] = i < config->initial;
    }
    *out = m;
    return MMREC_OK;
}

static void give_back(const mmrec_state_manager *m, void *memory, size_t size, mmrec_alloc_tag tag) {
    if (memory) mmrec_alloc(m->allocator, memory, slots_of(m) * size, 0, tag);
}

void mmrec_state_manager_destroy(mmrec_state_manager **manager) {
    mmrec_state_manager *m = *manager;
    if (!m) return;
    give_back(m, m->logits, sizeof(double), MMREC_ALLOC_PARAMS);
    give_back(m, m->evidence, sizeof(double), MMREC_ALLOC_SCRATCH);
    give_back(m, m->mask, sizeof(bool), MMREC_ALLOC_PARAMS);
    mmrec_alloc(m->allocator, m, sizeof *m, 0, MMREC_ALLOC_PARAMS);
    *manager = NULL;
}

const mmrec_state_config *mmrec_state_manager_config(const mmrec_state_manager *manager) { return &manager->config; }
const double *mmrec_state_manager_logits(const mmrec_state_manager *manager) { return manager->logits; }
const bool *mmrec_state_manager_mask(const mmrec_state_manager *manager) { return manager->mask; }

/* `what` is given for so many slots. */
static mmrec_status check_slots(const mmrec_state_manager *m, const char *what, int64_t slots, mmrec_error *error) {
    if (slots == m->config.max) return MMREC_OK;
    MMREC_FAIL(error, MMREC_SHAPE, "state manager: %s for %lld slots; there are %lld", what, (long long)slots,
               (long long)m->config.max);
}

static mmrec_status check_size(const char *what, int64_t size, mmrec_error *error) {
    if (size >= 1) return MMREC_OK;
    MMREC_FAIL(error, MMREC_SHAPE, "state manager: %s is %lld; it must be at least 1", what, (long long)size);
}

mmrec_status mmrec_state_manager_set(mmrec_state_manager *manager, const double *logits, const bool *mask,
                                     int64_t count, mmrec_error *error) {
    MMREC_TRY(check_slots(manager, "logits or a mask", count, error));
    for (int64_t i = 0; logits && i < count; i++) {
        if (isfinite(logits[i])) continue;
        MMREC_FAIL(error, MMREC_CONFIG, "state manager: the logit of slot %lld is %g; it must be finite", (long long)i,
                   logits[i]);
    }
    if (logits) memcpy(manager->logits, logits, slots_of(manager) * sizeof *logits);
    if (mask) memcpy(manager->mask, mask, slots_of(manager) * sizeof *mask);
    return MMREC_OK;
}

static double score_of(const mmrec_state_manager *m, int64_t slot) { return 1 / (1 + exp(-m->logits[slot])); }

void mmrec_state_manager_scores(const mmrec_state_manager *manager, double *scores) {
    for (int64_t i = 0; i < manager->config.max; i++) scores[i] = score_of(manager, i);
}

int64_t mmrec_state_manager_active_ids(const mmrec_state_manager *manager, int32_t *ids) {
    int64_t count = 0;
    for (int64_t i = 0; i < manager->config.max; i++) {
        if (!manager->mask[i]) continue;
        if (ids) ids[count] = (int32_t)i;
        count++;
    }
    return count;
}

/* Moves all logits, or none. */
static mmrec_status update_by(mmrec_state_manager *m, const double *evidence, mmrec_error *error) {
    for (int64_t i = 0; i < m->config.max; i++) {
        if (isfinite(evidence[i])) continue;
        MMREC_FAIL(error, MMREC_MISMATCH,
                   "state manager: the evidence of slot %lld is %g, not a finite number; leave out this update",
                   (long long)i, evidence[i]);
    }
    for (int64_t i = 0; i < m->config.max; i++) {
        double q = 0.9 * score_of(m, i) + 0.1 * evidence[i];
        q = q < least ? least : q > most ? most : q;
        m->logits[i] = log(q / (1 - q + 1e-8));
    }
    return MMREC_OK;
}

mmrec_status mmrec_state_manager_update(mmrec_state_manager *manager, const double *evidence, int64_t slots,
                                        mmrec_error *error) {
    MMREC_TRY(check_slots(manager, "evidence", slots, error));
    return update_by(manager, evidence, error);
}

mmrec_status mmrec_state_manager_update_by_gradient(mmrec_state_manager *manager, const double *gradient, int64_t slots,
                                                    int64_t width, mmrec_error *error) {
    MMREC_TRY(check_slots(manager, "a gradient", slots, error));
    MMREC_TRY(check_size("the width of the gradient", width, error));
    for (int64_t i = 0; i < slots; i++) {
        double sum = 0;
        for (int64_t d = 0; d < width; d++) sum += gradient[i * width + d] * gradient[i * width + d];
        manager->evidence[i] = sqrt(sum);
    }
    return update_by(manager, manager->evidence, error);
}

mmrec_status mmrec_state_manager_update_by_weights(mmrec_state_manager *manager, const double *weights, int64_t batch,
                                                   int64_t slots, mmrec_error *error) {
    MMREC_TRY(check_slots(manager, "weights", slots, error));
    MMREC_TRY(check_size("the batch of the weights", batch, error));
    for (int64_t i = 0; i < slots; i++) {
        double sum = 0;
        for (int64_t b = 0; b < batch; b++) sum += weights[b * slots + i];
        manager->evidence[i] = sum / (double)batch;
    }
    return update_by(manager, manager->evidence, error);
}

static bool is_low(const mmrec_state_manager *m, int64_t slot, double threshold) {
    return m->mask[slot] && score_of(m, slot) < threshold;
}

mmrec_status mmrec_state_manager_prune(mmrec_state_manager *manager, double threshold, bool force, int64_t *count,
                                       mmrec_error *error) {
    *count = 0;
    MMREC_TRY(check_threshold(threshold, error));
    int64_t low = 0;
    for (int64_t i = 0; i < manager->config.max; i++) low += is_low(manager, i, threshold);
    if (!force && low == mmrec_state_manager_active_ids(manager, NULL)) return MMREC_OK;
    for (int64_t i = 0; i < manager->config.max; i++) {
        if (is_low(manager, i, threshold)) manager->mask[i] = false;
    }
    *count = low;
    return MMREC_OK;
}

mmrec_status mmrec_state_manager_allocate(mmrec_state_manager *manager, int64_t wanted, int64_t *count,
                                          mmrec_error *error) {
    *count = 0;
    if (wanted < 0) {
        MMREC_FAIL(error, MMREC_CONFIG, "state manager: %lld slots are to be woken; it must be 0 or more",
                   (long long)wanted);
    }
    for (int64_t i = 0; i < manager->config.max && *count < wanted; i++) {
        if (manager->mask[i]) continue;
        manager->mask[i] = true;
        (*count)++;
    }
    return MMREC_OK;
}
