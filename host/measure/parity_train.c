/* Kind `train`: steps of AdamW, a batch of its own for each, and what they leave of the parameters. */
#include <string.h>

#include "parity_impl.h"

enum { LOSS, LOSS_MAIN, LOSS_AUX, GRADIENT_NORM };
static const char *const logs[PARITY_LOGS] = {"loss", "loss_main", "loss_aux", "grad_norm"};

static mmrec_status add_logs(parity_work *work, int64_t steps, mmrec_error *error) {
    void *memory = NULL;
    size_t count = (size_t)steps * PARITY_LOGS;
    for (int i = 0; i < PARITY_LOGS; i++) {
        MMREC_TRY(parity_item_add(work, PARITY_LOG, logs[i], mmrec_shape1(steps), 0, error));
    }
    MMREC_TRY(mmrec_alloc_zero(work->result->allocator, count, sizeof *work->log, MMREC_ALLOC_MEASURE, &memory, error));
    work->log = memory;
    work->log_count = count;
    return MMREC_OK;
}

/* A loss of the step, 0 where the model has none of that name. */
static mmrec_status read_loss(parity_work *work, int log, double *to, mmrec_error *error) {
    mmrec_tensor tensor = mmrec_graph_find(work->graph, logs[log]);
    return tensor ? mmrec_exec_read(work->exec, tensor, to, 1, error) : MMREC_OK;
}

static mmrec_status train_step(parity_work *work, const mmrec_shape *ids, int64_t step, double rate,
                               mmrec_error *error) {
    int64_t steps = (int64_t)(work->log_count / PARITY_LOGS);
    mmrec_optimizer_report report;
    MMREC_TRY(parity_write_batch(work, ids, step, error));
    MMREC_TRY(mmrec_exec_run(work->exec, MMREC_PHASE_FORWARD, error));
    for (int i = LOSS; i <= LOSS_AUX; i++) MMREC_TRY(read_loss(work, i, &work->log[i * steps + step], error));
    MMREC_TRY(mmrec_exec_run(work->exec, MMREC_PHASE_BACKWARD, error));
    MMREC_TRY(mmrec_optimizer_step(work->optimizer, rate, &report, error));
    work->log[GRADIENT_NORM * steps + step] = report.gradient_norm;
    return MMREC_OK;
}

/* Items of the logs follow each other. */
static mmrec_status compare_logs(parity_work *work, const parity_item *items, int64_t steps, mmrec_error *error) {
    for (int i = 0; i < PARITY_LOGS; i++) {
        memcpy(work->got, work->log + i * steps, (size_t)steps * sizeof *work->got);
        MMREC_TRY(parity_compare(work, &items[i], error));
    }
    return MMREC_OK;
}

static mmrec_status read_optimizer(parity_work *work, mmrec_optimizer_config *config, double *rate,
                                   mmrec_error *error) {
    const char *text = mmrec_safetensors_metadata(work->file, "optimizer");
    if (!text) MMREC_FAIL(error, MMREC_FORMAT, "metadata 'optimizer' is missing");
    return parity_optimizer_parse(work->result->allocator, text, config, rate, error);
}

/* Builds what the file describes and holds its tensors against it; `ids`: the shape of one step's (B, T + 1). */
static mmrec_status prepare(parity_work *work, mmrec_shape all, const mmrec_shape *ids, mmrec_error *error) {
    mmrec_model_run run = {.batch = ids->dim[0], .time = ids->dim[1] - 1, .gradient = true};
    work->trains = true;
    MMREC_TRY_WHILE(parity_build(work, MMREC_MODEL_mmrec, run, error), error,
                    "building a model for in.ids (steps, B, T + 1)");
    MMREC_TRY(parity_item_add(work, PARITY_INPUT, "ids", all, 0, error));
    MMREC_TRY(parity_items_check(work, error));
    MMREC_TRY(parity_load(work, error));
    return parity_read_ids(work, error);
}

mmrec_status parity_run_train(parity_work *work, mmrec_error *error) {
    mmrec_optimizer_config config;
    mmrec_shape all;
    double rate = 0;
    MMREC_TRY(read_optimizer(work, &config, &rate, error));
    MMREC_TRY(parity_shape(work, "in.ids", 3, &all, error));
    if (all.dim[0] < 1)
        MMREC_FAIL(error, MMREC_SHAPE, "in.ids holds no step of training; it must be (steps, B, T + 1)");
    mmrec_shape ids = mmrec_shape2(all.dim[1], all.dim[2]);
    MMREC_TRY(add_logs(work, all.dim[0], error));
    MMREC_TRY(prepare(work, all, &ids, error));
    MMREC_TRY(mmrec_optimizer_create(work->result->allocator, work->exec, &config, &work->optimizer, error));
    for (int64_t step = 0; step < all.dim[0]; step++) {
        MMREC_TRY_WHILE(train_step(work, &ids, step, rate, error), error, "training step %lld", (long long)(step + 1));
    }
    MMREC_TRY(compare_logs(work, work->items, all.dim[0], error));
    return parity_compare_role(work, PARITY_TRAINED, error);
}
