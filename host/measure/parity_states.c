/* Kind `nsm_states`: the vectors of the active slots through a graph, and what the state manager makes of evidence. */
#include <string.h>

#include "core/units.h"
#include "mmrec/state_manager.h"
#include "parity_impl.h"

enum { COUNTS = 4 };

/* Results of the manager; the calls go on from what the one before left, prunings from what was allocated. */
enum { SCORE, BY_GRADIENT, BY_WEIGHTS, PRUNED, ALLOCATED, REFUSED, FORCED, SLOT_RESULTS };
static const char *const slot_results[SLOT_RESULTS] = {"score",         "logits_gradient",  "logits_weights",
                                                       "active_pruned", "active_allocated", "active_refused",
                                                       "active_forced"};

/* A fixture's manager, and the places where its results are kept. */
typedef struct bank {
    parity_work *work;
    mmrec_state_manager *manager;
    int64_t max, batch;
    int64_t allocate;
    bool *mask; /* room for max */
    const parity_item *results, *counts;
} bank;

static double *place(const bank *b, int result) { return b->work->kept + b->results[result].kept; }

static void keep_mask(const bank *b, int result, int64_t count) {
    const bool *mask = mmrec_state_manager_mask(b->manager);
    for (int64_t i = 0; i < b->max; i++) place(b, result)[i] = mask[i];
    b->work->kept[b->counts->kept + result - PRUNED] = (double)count;
}

static void keep_logits(const bank *b, int result) {
    memcpy(place(b, result), mmrec_state_manager_logits(b->manager), (size_t)b->max * sizeof(double));
}

static mmrec_status prune_and_keep(const bank *b, int result, double threshold, bool force, mmrec_error *error) {
    int64_t count = 0;
    MMREC_TRY(mmrec_state_manager_prune(b->manager, threshold, force, &count, error));
    keep_mask(b, result, count);
    return MMREC_OK;
}

static mmrec_status allocate_and_keep(const bank *b, mmrec_error *error) {
    int64_t count = 0;
    MMREC_TRY(mmrec_state_manager_allocate(b->manager, b->allocate, &count, error));
    keep_mask(b, ALLOCATED, count);
    return MMREC_OK;
}

static mmrec_status update(const bank *b, mmrec_error *error) {
    mmrec_shape gradient, weights;
    parity_work *work = b->work;
    MMREC_TRY(parity_shape(work, "in.gradient", 2, &gradient, error));
    MMREC_TRY(parity_shape(work, "in.weights", 2, &weights, error));
    mmrec_state_manager_scores(b->manager, place(b, SCORE));
    MMREC_TRY(parity_read(work, "in.gradient", error));
    MMREC_TRY(
        mmrec_state_manager_update_by_gradient(b->manager, work->expected, gradient.dim[0], gradient.dim[1], error));
    keep_logits(b, BY_GRADIENT);
    MMREC_TRY(parity_read(work, "in.weights", error));
    MMREC_TRY(mmrec_state_manager_update_by_weights(b->manager, work->expected, weights.dim[0], weights.dim[1], error));
    keep_logits(b, BY_WEIGHTS);
    return MMREC_OK;
}

static mmrec_status begin(const bank *b, mmrec_error *error) {
    MMREC_TRY(parity_read(b->work, "in.active", error));
    for (int64_t i = 0; i < b->max; i++) b->mask[i] = b->work->expected[i] != 0;
    MMREC_TRY(parity_read(b->work, "param.importance", error));
    return mmrec_state_manager_set(b->manager, b->work->expected, b->mask, b->max, error);
}

static mmrec_status run_manager(bank *b, mmrec_error *error) {
    double threshold = b->work->config.states.threshold;
    MMREC_TRY(begin(b, error));
    MMREC_TRY(update(b, error));
    MMREC_TRY(prune_and_keep(b, PRUNED, threshold, false, error));
    MMREC_TRY(allocate_and_keep(b, error));
    MMREC_TRY(prune_and_keep(b, REFUSED, 1, false, error));
    /* Forced from the same mask: the refusal before it changed nothing, which `active_refused` shows. */
    return prune_and_keep(b, FORCED, 1, true, error);
}

static mmrec_status manage(bank *b, mmrec_error *error) {
    const mmrec_nsm_states_config *c = &b->work->config.states;
    mmrec_state_config config = {.max = c->max, .initial = c->initial, .threshold = c->threshold};
    mmrec_allocator *allocator = b->work->result->allocator;
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, (size_t)b->max, sizeof(bool), MMREC_ALLOC_MEASURE, &memory, error));
    b->mask = memory;
    mmrec_status status = mmrec_state_manager_create(allocator, &config, &b->manager, error);
    if (status == MMREC_OK) status = run_manager(b, error);
    mmrec_state_manager_destroy(&b->manager);
    mmrec_alloc(allocator, memory, (size_t)b->max * sizeof(bool), 0, MMREC_ALLOC_MEASURE);
    return status;
}

/* Slots that are active at first, which are the ids of the graph. */
static mmrec_status read_active(parity_work *work, int64_t *count, mmrec_error *error) {
    const mmrec_safetensors_tensor *found = mmrec_safetensors_find(work->file, "in.active");
    int64_t max = work->config.states.max;
    if (!found) MMREC_FAIL(error, MMREC_FORMAT, "tensor 'in.active' is missing");
    double *active = NULL;
    size_t elements = mmrec_safetensors_elements(found);
    void *memory = NULL;
    if (elements != (size_t)max) {
        MMREC_FAIL(error, MMREC_SHAPE, "tensor 'in.active' has %zu elements; there are %lld slots", elements,
                   (long long)max);
    }
    MMREC_TRY(mmrec_alloc_zero(work->result->allocator, elements, sizeof *active, MMREC_ALLOC_MEASURE, &memory, error));
    active = memory;
    mmrec_status status = mmrec_safetensors_read_f64(found, active, elements, error);
    for (size_t i = 0; status == MMREC_OK && i < elements; i++) *count += active[i] != 0;
    mmrec_alloc(work->result->allocator, memory, elements * sizeof *active, 0, MMREC_ALLOC_MEASURE);
    return status;
}

static mmrec_status write_active(parity_work *work, int64_t count, mmrec_error *error) {
    int32_t *ids = NULL;
    void *memory = NULL;
    int64_t used = 0;
    MMREC_TRY(parity_read(work, "in.active", error));
    MMREC_TRY(
        mmrec_alloc_zero(work->result->allocator, (size_t)count, sizeof *ids, MMREC_ALLOC_MEASURE, &memory, error));
    ids = memory;
    for (int64_t i = 0; i < work->config.states.max; i++) {
        if (work->expected[i] != 0) ids[used++] = (int32_t)i;
    }
    mmrec_status status = mmrec_exec_write_ids(work->exec, mmrec_graph_find(work->graph, "ids"), ids, count, error);
    mmrec_alloc(work->result->allocator, memory, (size_t)count * sizeof *ids, 0, MMREC_ALLOC_MEASURE);
    return status;
}

static mmrec_status add_items(parity_work *work, bank *b, mmrec_error *error) {
    mmrec_shape slots = mmrec_shape1(b->max), weights;
    size_t first = work->item_count;
    MMREC_TRY(parity_shape(work, "in.weights", 2, &weights, error));
    for (int i = 0; i < SLOT_RESULTS; i++) {
        MMREC_TRY(parity_item_add(work, PARITY_OUTPUT, slot_results[i], slots, 0, error));
    }
    MMREC_TRY(parity_item_add(work, PARITY_OUTPUT, "counts", mmrec_shape1(COUNTS), 0, error));
    MMREC_TRY(parity_item_add(work, PARITY_INPUT, "active", slots, 0, error));
    MMREC_TRY(parity_item_add(work, PARITY_INPUT, "gradient", mmrec_shape2(b->max, work->config.states.dim), 0, error));
    MMREC_TRY(parity_item_add(work, PARITY_INPUT, "weights", mmrec_shape2(weights.dim[0], b->max), 0, error));
    MMREC_TRY(parity_items_of_kind(work, error));
    MMREC_TRY(parity_items_check(work, error));
    b->results = &work->items[first];
    b->counts = &work->items[first + SLOT_RESULTS];
    return MMREC_OK;
}

static mmrec_status read_allocate(const parity_work *work, int64_t *out, mmrec_error *error) {
    const char *text = mmrec_safetensors_metadata(work->file, "allocate");
    if (text && mmrec_units_whole(text, out) && *out >= 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT, "metadata 'allocate' must be a whole number of slots");
}

mmrec_status parity_run_states(parity_work *work, mmrec_error *error) {
    bank b = {.work = work, .max = work->config.states.max};
    mmrec_model_run run = {.batch = 1, .gradient = true, .seeded = true};
    work->repeats = 1;
    MMREC_TRY(read_allocate(work, &b.allocate, error));
    MMREC_TRY(read_active(work, &run.time, error));
    MMREC_TRY_WHILE(parity_build(work, run, error), error, "building a graph for the active slots");
    MMREC_TRY(add_items(work, &b, error));
    MMREC_TRY(parity_load(work, error));
    MMREC_TRY(parity_keep(work, error));
    MMREC_TRY(write_active(work, run.time, error));
    MMREC_TRY(parity_run_all(work, error));
    MMREC_TRY(manage(&b, error));
    return parity_compare_kept(work, error);
}
