/* Kinds `train`, `train_gpt`, `train_mlp`: steps of AdamW, a batch of its own for each, and what they leave of the
 * parameters. */
#include <stdio.h>
#include <string.h>

#include "parity_impl.h"

static const char gradient_norm[] = "grad_norm";

/* Word `index` of a list with blanks between; false behind the last. */
static bool word_at(const char *words, int index, char *out, size_t size) {
    for (; index > 0 && *words; index--) {
        words += strcspn(words, " ");
        words += *words == ' ';
    }
    snprintf(out, size, "%.*s", (int)strcspn(words, " "), words);
    return out[0] != '\0';
}

static mmrec_status add_logs(parity_work *work, mmrec_error *error) {
    void *memory = NULL;
    char name[32];
    size_t count = (size_t)work->repeats * PARITY_LOGS;
    for (int i = 0; word_at(work->kind->logs, i, name, sizeof name); i++) {
        MMREC_TRY(parity_item_add(work, PARITY_LOG, name, mmrec_shape1(work->repeats), 0, error));
    }
    MMREC_TRY(mmrec_alloc_zero(work->result->allocator, count, sizeof *work->log, MMREC_ALLOC_MEASURE, &memory, error));
    work->log = memory;
    work->log_count = count;
    return MMREC_OK;
}

/* A loss of the step, 0 where the model has none of that name; what the optimizer knows is left to it. */
static mmrec_status read_loss(parity_work *work, int log, int64_t step, mmrec_error *error) {
    char name[32];
    if (!word_at(work->kind->logs, log, name, sizeof name) || strcmp(name, gradient_norm) == 0) return MMREC_OK;
    mmrec_tensor tensor = mmrec_graph_find(work->graph, name);
    double *to = &work->log[log * work->repeats + step];
    return tensor ? mmrec_exec_read(work->exec, tensor, to, 1, error) : MMREC_OK;
}

static int log_of_norm(const parity_work *work) {
    char name[32];
    int log = 0;
    while (word_at(work->kind->logs, log, name, sizeof name) && strcmp(name, gradient_norm) != 0) log++;
    return log;
}

static mmrec_status train_step(parity_work *work, int64_t step, double rate, mmrec_error *error) {
    mmrec_optimizer_report report;
    MMREC_TRY(parity_write_inputs(work, step, error));
    MMREC_TRY(mmrec_exec_run(work->exec, MMREC_PHASE_FORWARD, error));
    for (int i = 0; i < PARITY_LOGS; i++) MMREC_TRY(read_loss(work, i, step, error));
    MMREC_TRY(mmrec_exec_run(work->exec, MMREC_PHASE_BACKWARD, error));
    MMREC_TRY(mmrec_optimizer_step(work->optimizer, rate, &report, error));
    work->log[log_of_norm(work) * work->repeats + step] = report.gradient_norm;
    return MMREC_OK;
}

/* Items of the logs are the first, in their order. */
static mmrec_status compare_logs(parity_work *work, mmrec_error *error) {
    for (int i = 0; work->items[i].role == PARITY_LOG; i++) {
        memcpy(work->got, work->log + i * work->repeats, (size_t)work->repeats * sizeof *work->got);
        MMREC_TRY(parity_compare(work, &work->items[i], error));
    }
    return MMREC_OK;
}

static mmrec_status compare_trained(parity_work *work, mmrec_error *error) {
    for (size_t i = 0; i < work->item_count; i++) {
        const parity_item *item = &work->items[i];
        if (item->role != PARITY_TRAINED) continue;
        MMREC_TRY(parity_item_read(work, item, work->got, error));
        MMREC_TRY(parity_compare(work, item, error));
    }
    return MMREC_OK;
}

static mmrec_status read_optimizer(parity_work *work, mmrec_optimizer_config *config, double *rate,
                                   mmrec_error *error) {
    const char *text = mmrec_safetensors_metadata(work->file, "optimizer");
    if (!text) MMREC_FAIL(error, MMREC_FORMAT, "metadata 'optimizer' is missing");
    return parity_optimizer_parse(work->result->allocator, text, config, rate, error);
}

/* Builds what the file describes and holds its tensors against it. */
static mmrec_status prepare(parity_work *work, mmrec_model_run run, mmrec_error *error) {
    work->trains = true;
    MMREC_TRY(add_logs(work, error));
    MMREC_TRY_WHILE(parity_build(work, run, error), error, "building model %s for the fixture's inputs",
                    mmrec_model_get(work->model)->name);
    MMREC_TRY(parity_items_of_kind(work, error));
    MMREC_TRY(parity_items_check(work, error));
    MMREC_TRY(parity_load(work, error));
    return parity_read_ids_of_graph(work, error);
}

mmrec_status parity_run_train(parity_work *work, mmrec_error *error) {
    mmrec_model_run run = {.gradient = true};
    mmrec_optimizer_config config;
    double rate = 0;
    MMREC_TRY(read_optimizer(work, &config, &rate, error));
    MMREC_TRY(parity_sizes(work, &run, error));
    MMREC_TRY(prepare(work, run, error));
    MMREC_TRY(mmrec_optimizer_create(work->result->allocator, work->exec, &config, &work->optimizer, error));
    for (int64_t step = 0; step < work->repeats; step++) {
        MMREC_TRY_WHILE(train_step(work, step, rate, error), error, "training step %lld", (long long)(step + 1));
    }
    MMREC_TRY(compare_logs(work, error));
    return compare_trained(work, error);
}
