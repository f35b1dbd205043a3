/* What the files of the fused MLP share: mlp.c has its life and parameters, mlp_steps.c what it does with samples,
 * mlp_size.c what it costs and what is refused. */
#ifndef MMREC_TRAIN_MLP_IMPL_H
#define MMREC_TRAIN_MLP_IMPL_H

#include "backend/mlp.h"
#include "mmrec/mlp.h"

/* A piece of the backend's memory. */
typedef struct mlp_memory {
    mmrec_arena arena;
    size_t bytes;
    void *at;
} mlp_memory;

/* Samples as a call reads them, and where each step leaves its record. */
typedef struct mlp_data {
    mlp_memory memory;
    void *x, *target, *y;
    int32_t *classes, *order;
    mmrec_mlp_record *record;
    int64_t count;
} mlp_data;

struct mmrec_mlp_trainer {
    mmrec_allocator *allocator;
    const mmrec_backend *backend;
    mmrec_mlp_config config;
    mmrec_mlp_call call; /* without samples; its state and moments as training has them */
    mlp_memory parameters, moments, scratch;
    mlp_data batch, loaded;    /* room for one batch; the samples of an epoch, count 0: none */
    mmrec_mlp_record *records; /* the host's copy of those of the loaded samples */
    size_t records_bytes;
    void *wire; /* what goes to the backend's memory or comes from it, in its types */
    size_t wire_bytes;
};

/* UNSUPPORTED where the backend has none; CONFIG where it is too large. `call` gets the layers. */
mmrec_status mlp_size_check(const mmrec_backend *backend, const mmrec_mlp_config *config, int64_t batch,
                            mmrec_mlp_call *call, mmrec_error *error) MMREC_MUST_CHECK;

mmrec_status mlp_memory_get(mmrec_mlp_trainer *trainer, mlp_memory *memory, mmrec_arena arena, size_t bytes,
                            mmrec_error *error) MMREC_MUST_CHECK;
void mlp_memory_free(mmrec_mlp_trainer *trainer, mlp_memory *memory);

/* Room for samples: of inputs and targets or classes, results where `results`, an order and one record for each batch.
 */
mmrec_status mlp_data_get(mmrec_mlp_trainer *trainer, mlp_data *data, int64_t count, bool results,
                          mmrec_error *error) MMREC_MUST_CHECK;
void mlp_data_free(mmrec_mlp_trainer *trainer, mlp_data *data);

/* Bytes between host and backend; complete when they return. */
mmrec_status mlp_copy_in(const mmrec_mlp_trainer *trainer, void *to, const void *from, size_t bytes,
                         mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mlp_copy_out(const mmrec_mlp_trainer *trainer, void *to, const void *from, size_t bytes,
                          mmrec_error *error) MMREC_MUST_CHECK;

static inline int64_t mlp_outputs(const mmrec_mlp_trainer *t) { return t->call.layer[t->call.layers - 1].out; }
static inline bool mlp_has_classes(const mmrec_mlp_trainer *t) { return t->config.loss == MMREC_MLP_CROSS_ENTROPY; }

#endif
