/* Most kinds: one graph, forward and backward, once or for several inputs one after the other. */
#include <string.h>

#include "parity_impl.h"

mmrec_status parity_build(parity_work *work, mmrec_model_run run, mmrec_error *error) {
    const mmrec_parity_options *options = work->result->options;
    run.hem = options->hem;
    run.recompute = options->recompute;
    MMREC_TRY(mmrec_graph_create(work->result->allocator, mmrec_backend_dtype(options->backend, options->bf16),
                                 mmrec_backend_threads(options->backend, options->threads), &work->graph, error));
    MMREC_TRY(mmrec_model_build(work->model, &work->config, &run, work->graph, error));
    return parity_items_of_graph(work, error);
}

mmrec_status parity_load(parity_work *work, mmrec_error *error) {
    mmrec_plan_options plan = {.optimizer_slots = work->trains ? 2 : 0};
    mmrec_exec_options defaults = {.graphs = work->result->options->graphs};
    mmrec_allocator *allocator = work->result->allocator;
    MMREC_TRY(mmrec_plan_create(allocator, work->graph, plan, &work->plan, error));
    MMREC_TRY(mmrec_exec_create(allocator, work->result->options->backend, work->graph, work->plan, defaults,
                                &work->exec, error));
    for (size_t i = 0; i < work->item_count; i++) {
        const parity_item *item = &work->items[i];
        if (item->role != PARITY_PARAM) continue;
        MMREC_TRY(parity_read(work, item->name, error));
        MMREC_TRY(
            mmrec_exec_write(work->exec, item->tensor, work->expected, mmrec_shape_elements(&item->shape), error));
    }
    return MMREC_OK;
}

static bool is_kept(const parity_item *item) { return item->role == PARITY_OUTPUT || item->role == PARITY_GRADIENT; }

mmrec_status parity_keep(parity_work *work, mmrec_error *error) {
    void *memory = NULL;
    size_t count = 0;
    for (size_t i = 0; i < work->item_count; i++) {
        parity_item *item = &work->items[i];
        if (!is_kept(item)) continue;
        item->kept = (int64_t)count;
        count += (size_t)mmrec_shape_elements(&item->shape);
    }
    MMREC_TRY(
        mmrec_alloc_zero(work->result->allocator, count, sizeof *work->kept, MMREC_ALLOC_MEASURE, &memory, error));
    work->kept = memory;
    work->kept_count = count;
    return MMREC_OK;
}

/* Outputs and gradients of inputs go to their repeat's place; gradients of parameters are those of the sum of all
 * repeats, each of which the next knows only as values. */
static mmrec_status gather(parity_work *work, int64_t repeat, mmrec_error *error) {
    for (size_t i = 0; i < work->item_count; i++) {
        const parity_item *item = &work->items[i];
        if (!is_kept(item) || (!item->tensor && !item->series)) continue; /* 0 stays where the graph has nothing */
        int64_t count = mmrec_shape_elements(&item->shape) / (item->repeated ? work->repeats : 1);
        double *to = work->kept + item->kept + (item->repeated ? repeat * count : 0);
        MMREC_TRY(parity_item_read(work, item, work->got, error));
        for (int64_t e = 0; e < count; e++) to[e] += work->got[e];
    }
    return MMREC_OK;
}

mmrec_status parity_run_all(parity_work *work, mmrec_error *error) {
    memset(work->kept, 0, work->kept_count * sizeof *work->kept);
    for (int64_t r = 0; r < work->repeats; r++) {
        MMREC_TRY(parity_write_inputs(work, r, error));
        MMREC_TRY(mmrec_exec_run(work->exec, MMREC_PHASE_FORWARD, error));
        MMREC_TRY(mmrec_exec_run(work->exec, MMREC_PHASE_BACKWARD, error));
        MMREC_TRY(gather(work, r, error));
    }
    return MMREC_OK;
}

static mmrec_status compare_role(parity_work *work, parity_role role, mmrec_error *error) {
    for (size_t i = 0; i < work->item_count; i++) {
        const parity_item *item = &work->items[i];
        if (item->role != role) continue;
        memcpy(work->got, work->kept + item->kept, (size_t)mmrec_shape_elements(&item->shape) * sizeof *work->got);
        MMREC_TRY(parity_compare(work, item, error));
    }
    return MMREC_OK;
}

mmrec_status parity_compare_kept(parity_work *work, mmrec_error *error) {
    MMREC_TRY(compare_role(work, PARITY_OUTPUT, error));
    return compare_role(work, PARITY_GRADIENT, error);
}

/* With graphs the second step is recorded and the third launched from the record, which is what is compared then.
 * Inputs share their memory with other values, so they are written again. */
static mmrec_status run_and_compare(parity_work *work, mmrec_error *error) {
    const mmrec_parity_options *options = work->result->options;
    int times = options->graphs && options->backend->device ? 3 : 1;
    for (int i = 0; i < times; i++) MMREC_TRY(parity_run_all(work, error));
    return parity_compare_kept(work, error);
}

/* What only the file can tell: whether it begins with states, and whether something is hidden. */
static void read_flags(const parity_work *work, mmrec_model_run *run) {
    const mmrec_safetensors *file = work->file;
    run->gradient = run->logits = true;
    run->seeded = work->kind->seeded;
    run->input_gradient = true;
    run->carried =
        work->kind->seeded && (mmrec_safetensors_find(file, "in.h0") || mmrec_safetensors_find(file, "in.s0"));
    run->masked = mmrec_safetensors_find(file, "in.visible") != NULL;
}

mmrec_status parity_run_graph(parity_work *work, mmrec_error *error) {
    mmrec_model_run run = {0};
    read_flags(work, &run);
    MMREC_TRY(parity_sizes(work, &run, error));
    MMREC_TRY_WHILE(parity_build(work, run, error), error, "building model %s for the fixture's inputs",
                    mmrec_model_get(work->model)->name);
    MMREC_TRY(parity_items_of_kind(work, error));
    MMREC_TRY(parity_items_check(work, error));
    MMREC_TRY(parity_load(work, error));
    MMREC_TRY(parity_read_ids_of_graph(work, error));
    MMREC_TRY(parity_keep(work, error));
    return run_and_compare(work, error);
}
