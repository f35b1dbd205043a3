/* What the files of the parity check share: the fixture, its configuration, and the list of tensors it must have. */
#ifndef MMREC_PARITY_IMPL_H
#define MMREC_PARITY_IMPL_H

#include <jansson.h>

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
    /* Where the fixture joins what the graph has layer by layer: the name with the number left open, and the layers. */
    const char *series;
    int64_t parts;
    bool repeated; /* its first axis counts the repeats */
    int64_t kept;  /* outputs, gradients: where its values begin in work->kept */
} parity_item;

enum { PARITY_LOGS = 4, PARITY_WAYS = 2, PARITY_MODELS = 2 };

typedef struct parity_work parity_work;

typedef struct parity_axes {
    const char *tensor, *axes;
} parity_axes;

typedef struct parity_kind {
    const char *name;
    const char *models[PARITY_MODELS];
    const char *choice; /* the field that says which of them; NULL: the first */
    parity_axes axes[PARITY_WAYS];
    const char *inputs, *outputs, *logs; /* names without "in." and "out."; inputs that the graph lacks are left out */
    bool seeded;                         /* mmrec_model_run */
    mmrec_status (*run)(parity_work *work, mmrec_error *error); /* NULL: parity_run_graph */
} parity_kind;

struct mmrec_parity {
    mmrec_allocator *allocator;
    const mmrec_parity_options *options; /* during the run only */
    char label[256];                     /* "block_pe.safetensors: block" */
    mmrec_parity_row *rows;
    size_t row_count, row_capacity;
};

/* One run of a fixture: everything is released by parity_work_free. */
struct parity_work {
    mmrec_parity *result;
    mmrec_safetensors *file;
    const parity_kind *kind;
    mmrec_model_kind model;
    mmrec_any_config config;
    int64_t repeats; /* runs, one after the other, whose inputs lie behind each other in the file */
    bool repeated;   /* there is an axis for them */
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_exec *exec;
    mmrec_stream *stream;
    bool trains; /* kinds train*: parameters are compared after steps of the optimizer, not gradients */
    mmrec_optimizer *optimizer;
    double *log; /* what is compared of every step, (PARITY_LOGS, steps) */
    size_t log_count;
    json_t *zero_grad; /* metadata: rows of gradients that are 0 by mathematics; NULL: none */
    double largest_gradient;
    parity_item *items;
    size_t item_count, item_capacity;
    double *expected, *got; /* room for the largest item each */
    double *kept;           /* of outputs (all repeats) and gradients (their sum) */
    int32_t *ids, *piece;   /* the whole of in.ids; room for some of its columns */
    size_t room, id_count, kept_count;
};

/* parity_kind.c: the kind of an open file; UNSUPPORTED naming them all. */
mmrec_status parity_kind_find(const mmrec_safetensors *file, const parity_kind **out,
                              mmrec_error *error) MMREC_MUST_CHECK;
/* Batch, time and repeats as the shapes of the inputs have them. */
mmrec_status parity_sizes(parity_work *work, mmrec_model_run *run, mmrec_error *error) MMREC_MUST_CHECK;

/* parity_config.c: work->model and work->config from the file's JSON text; every key must be known and all must be
 * there. */
mmrec_status parity_config_parse(parity_work *work, const char *text, mmrec_error *error) MMREC_MUST_CHECK;
/* The same for an optimizer, which must be AdamW, and its rate. */
mmrec_status parity_optimizer_parse(mmrec_allocator *allocator, const char *text, mmrec_optimizer_config *out,
                                    double *rate, mmrec_error *error) MMREC_MUST_CHECK;

/* parity_zero.c: metadata zero_grad, where it is there, and the largest gradient of the file, which stands in for the
 * largest of a tensor that is far smaller. */
mmrec_status parity_zero_read(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
/* Errors of work->got against work->expected, gradients and trained parameters by the rules of zero_grad. */
void parity_measure(parity_work *work, const parity_item *item, mmrec_parity_row *row);

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
mmrec_status parity_read_ids(parity_work *work, int64_t vocab, mmrec_error *error) MMREC_MUST_CHECK;
/* The same where the graph reads ids: below the rows of its embedding. */
mmrec_status parity_read_ids_of_graph(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
/* Columns [first, first + count) of a batch of in.ids, whose shape is `ids` (batch, columns), as (batch, count) in
 * work->piece. `number`: which batch, where in.ids holds several. */
void parity_take_columns(parity_work *work, const mmrec_shape *ids, int64_t number, int64_t first, int64_t count);
/* Compares work->got with the file's values of an item: one row. */
mmrec_status parity_compare(parity_work *work, const parity_item *item, mmrec_error *error) MMREC_MUST_CHECK;

/* parity_interface.c: items of the kind's inputs and outputs, after the graph's tensors of those names. */
mmrec_status parity_items_of_kind(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
/* Values of one repeat into the inputs of the graph; those that the fixture does not have get zeros. */
mmrec_status parity_write_inputs(parity_work *work, int64_t repeat, mmrec_error *error) MMREC_MUST_CHECK;
/* Values of an item's tensors into `to`. */
mmrec_status parity_item_read(parity_work *work, const parity_item *item, double *to,
                              mmrec_error *error) MMREC_MUST_CHECK;

/* parity_graph.c, parity_stream.c, parity_train.c, parity_states.c: the ways of running. */
mmrec_status parity_run_graph(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status parity_run_stream(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status parity_run_train(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status parity_run_states(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
/* Graph, items of its parameters; plan and exec with the file's parameters written. */
mmrec_status parity_build(parity_work *work, mmrec_model_run run, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status parity_load(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
/* Room for outputs and gradients of all repeats; runs them all; compares what was kept. */
mmrec_status parity_keep(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status parity_run_all(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status parity_compare_kept(parity_work *work, mmrec_error *error) MMREC_MUST_CHECK;

#endif
