/* What the files of the parity check share: the fixture, its configuration, and the list of tensors it must have. */
#ifndef MMREC_PARITY_IMPL_H
#define MMREC_PARITY_IMPL_H

#include "mmrec/optimizer.h"
#include "mmrec/parity.h"
#include "mmrec/safetensors.h"

/* LOG, TRAINED: figures of steps of training, and parameters after them; "out." in the file, with a tolerance of their
 * own. */
typedef enum parity_role {
    PARITY_PARAM,
    PARITY_INPUT,
    PARITY_OUTPUT,
    PARITY_GRADIENT,
    PARITY_LOG,
    PARITY_TRAINED
} parity_role;

/* A tensor the fixture must hold. */
typedef struct parity_item {
    char name[MMREC_PARITY_NAME];
    parity_role role;
    mmrec_shape shape;
    mmrec_tensor tensor; /* of the graph; 0: none, the value is 0 by definition (or not read from a graph) */
} parity_item;

enum { PARITY_LOGS = 4 };

struct mmrec_parity {
    mmrec_allocator *allocator;
    const mmrec_parity_options *options; /* during the run only */
    char label[256];                     /* "block_pe.safetensors: block" */
    mmrec_parity_row *rows;
    size_t row_count, row_capacity;
};

/* One run of a fixture: everything is released by parity_work_free. */
typedef struct parity_work {
    mmrec_parity *result;
    mmrec_safetensors *file;
    mmrec_model_config config;
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_exec *exec;
    mmrec_stream *stream;
    bool trains; /* kind train: parameters are compared after steps of the optimizer, not gradients */
    mmrec_optimizer *optimizer;
    double *log; /* what is compared of every step, (PARITY_LOGS, steps) */
    size_t log_count;
    parity_item *items;
    size_t item_count, item_capacity;
    double *expected, *got; /* room for the largest item each */
    int32_t *ids, *piece;   /* the whole of in.ids; room for some of its columns */
    size_t room, id_count;
} parity_work;

/* parity_config.c: the model configuration from JSON text; every key must be known and all must be there. */
mmrec_status parity_config_parse(mmrec_allocator *allocator, const char *text, mmrec_model_config *out,
                                 mmrec_error *error) MMREC_MUST_CHECK;
/* The same for an optimizer, which must be AdamW, and its rate. */
mmrec_status parity_optimizer_parse(mmrec_allocator *allocator, const char *text, mmrec_optimizer_config *out,
                                    double *rate, mmrec_error *error) MMREC_MUST_CHECK;

/* parity_items.c: the list and the file, held against each other. */
mmrec_status parity_item_add(parity_work *work, parity_role role, const char *name, mmrec_shape shape,
                             mmrec_tensor tensor, mmrec_error *error) MMREC_MUST_CHECK;
/* An item per parameter of the graph, and one per gradient where it has them; where `trains` is set, one for the
 * parameter's last value instead. */
mmrec_status parity_items_of_graph(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
/* Every item is in the file with its shape, and the file has no other tensor; then makes room for values. */
mmrec_status parity_items_check(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
/* The shape of a tensor of the file that must be there with `ndim` axes. */
mmrec_status parity_shape(const parity_work *work, const char *name, int ndim, mmrec_shape *out,
                          mmrec_error *error) MMREC_MUST_CHECK;
/* Values of a tensor of the file, into work->expected. */
mmrec_status parity_read(const parity_work *work, const char *name, mmrec_error *error) MMREC_MUST_CHECK;
/* in.ids as integers in [0, vocab), into work->ids. Once per work. */
mmrec_status parity_read_ids(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
/* Columns [first, first + count) of a batch of in.ids, whose shape is `ids` (batch, columns), as (batch, count) in
 * work->piece. `number`: which batch, where in.ids holds several. */
void parity_take_columns(parity_work *work, const mmrec_shape *ids, int64_t number, int64_t first, int64_t count);
/* Compares work->got with the file's values of an item: one row. */
mmrec_status parity_compare(parity_work *work, const parity_item *item, mmrec_error *error) MMREC_MUST_CHECK;

/* parity_graph.c, parity_stream.c, parity_train.c: the kinds. */
mmrec_status parity_run_block(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status parity_run_model(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status parity_run_stream(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status parity_run_train(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
/* Graph, items of its parameters; plan and exec with the file's parameters written. */
mmrec_status parity_build(parity_work *work, mmrec_model_kind kind, mmrec_model_run run,
                          mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status parity_load(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
/* Batch `number` of in.ids, (batch, T + 1), as inputs and targets; h = 0 at the beginning. */
mmrec_status parity_write_batch(parity_work *work, const mmrec_shape *ids, int64_t number,
                                mmrec_error *error) MMREC_MUST_CHECK;
/* Compares every item of a role with the graph's values, 0 for one without a tensor. */
mmrec_status parity_compare_role(parity_work *work, parity_role role, mmrec_error *error) MMREC_MUST_CHECK;

#endif
