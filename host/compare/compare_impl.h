/* What the files behind mmrec_compare_run share.
 *
 *   compare_run.c      the whole run: row by row, then all rows together
 *   compare_task.c     batches of the task; compare_made_up.c: the two that are made from the seed
 *   compare_net.c      a model ready to run: graph, plan, exec, optimizer, inputs, carried state
 *   compare_fused.c    rows whose step is one function
 *   compare_facts.c    parameters, work, memory by phase, gradients at the initial values
 *   compare_rounds.c   all rows in turns, whatever it is that takes their time
 *   compare_times.c    what takes the time of a step and its parts
 *   compare_layers.c   time by op and module
 *   compare_train.c    training over seeds
 *   compare_scaling.c  the same at several sizes
 *   compare_fit.c      power laws, and the Pareto front
 *
 * What goes wrong with a row is entered in it (compare_fail) and the run goes on. */
#ifndef MMREC_COMPARE_IMPL_H
#define MMREC_COMPARE_IMPL_H

#include "measure/device_meter.h"
#include "mmrec/comparison.h"
#include "mmrec/data.h"
#include "mmrec/mlp.h"
#include "train/data_impl.h"

/* ---- the task ---- */

/* Batches of the task, addressed by (seed, number): what is in `x` ... `asked` is the batch that was filled last. */
typedef struct compare_task {
    mmrec_allocator *allocator;
    mmrec_compare_task spec; /* its seed is that of these batches */
    mmrec_data *data;        /* LANGUAGE */
    data_order order;        /* CLASSES, VALUES: of the samples in an epoch */
    int64_t held_out;        /* batches */
    double best_loss;        /* NaN: not known */
    char name[256];
    int64_t places;         /* of a batch at which something is predicted: B T, or B */
    double *x, *target;     /* (B,I), (B,O); NULL where the task has none, as below */
    int32_t *ids, *targets; /* (B,T); (B,T) or (B) */
    uint8_t *asked;         /* as targets: 1 where accuracy counts */
    double *made_up;        /* what the formulas of compare_made_up.c keep */
} compare_task;

/* CONFIG for sizes that no batch can have and data without what is asked for; IO, FORMAT; NO_MEMORY. Free in any case.
 */
mmrec_status compare_task_create(mmrec_allocator *allocator, mmrec_io *io, const mmrec_compare_task *spec,
                                 uint64_t seed, compare_task *out, mmrec_error *error) MMREC_MUST_CHECK;
void compare_task_free(compare_task *task);
/* Fills in batch `number` of a part; training goes on into the next epoch, held-out begins again behind the last. */
void compare_task_batch(compare_task *task, mmrec_split split, int64_t number);

/* Numbers that the formulas keep; then fills them. */
size_t compare_made_up_size(const mmrec_compare_task *spec);
void compare_made_up_begin(compare_task *task);
/* Sample `sample` of a part into row `row` of the batch. */
void compare_made_up_sample(compare_task *task, mmrec_split split, int64_t sample, int64_t row);
/* What no model can beat but by chance. */
double compare_made_up_best(const mmrec_compare_task *spec);

/* ---- a model ready to run ---- */

typedef struct compare_recipe {
    const mmrec_compare_options *options;
    const mmrec_compare_entry *entry;
    int64_t batch, time;
    bool gradient;           /* with an optimizer; else without dropout, and the result is kept */
    mmrec_exec *params_from; /* NULL: own parameters, drawn with `seed` */
    uint64_t seed;           /* of parameters and dropout */
} compare_recipe;

/* A state that goes into the model: zeros, or with `next` what the run before left there. */
typedef struct compare_state {
    mmrec_tensor in, next;
    int64_t first, count; /* its place in `values` */
} compare_state;

typedef struct compare_net {
    mmrec_allocator *allocator;
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_exec *exec;
    mmrec_optimizer *optimizer;
    mmrec_mlp_trainer *fused;             /* in the place of plan, exec and optimizer */
    mmrec_tensor x, target, ids, targets; /* inputs, 0: it has none of that name */
    mmrec_tensor loss, result;            /* loss: without an auxiliary one; result: 0 where it is not kept */
    compare_state *states;
    int state_count;
    double *values;
    int64_t value_count;
} compare_net;

/* On failure `out` holds what there is; compare_net_free either way. */
mmrec_status compare_net_create(mmrec_allocator *allocator, const compare_recipe *recipe, compare_net *out,
                                mmrec_error *error) MMREC_MUST_CHECK;
void compare_net_free(compare_net *net);
/* Writes inputs and states: they are needed again before every run. SHAPE where the task's batch is none of the
 * model's. */
mmrec_status compare_net_feed(const compare_net *net, const compare_task *task, mmrec_exec *exec,
                              mmrec_error *error) MMREC_MUST_CHECK;
/* Keeps the states that the last run left for the next; those of `from` first, which has the same. */
mmrec_status compare_net_carry(compare_net *net, mmrec_error *error) MMREC_MUST_CHECK;
void compare_net_carry_from(compare_net *net, const compare_net *from);
/* Queues a part of a step, or all of it; the optimizer at the rate it was given (0 at first). */
mmrec_status compare_net_queue(const compare_net *net, mmrec_compare_part part, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status compare_net_loss(const compare_net *net, double *loss, mmrec_error *error) MMREC_MUST_CHECK;
size_t compare_net_planned(const compare_net *net, mmrec_arena arena);
size_t compare_net_planned_all(const compare_net *net);
/* Work of its forward half, with what is derived from the parameters, which every step makes anew. */
mmrec_work compare_net_forward_work(const compare_net *net);

/* ---- compare_fused.c: what the functions above, and training, do for a net with `fused` ---- */

mmrec_status compare_fused_create(compare_net *net, const compare_recipe *recipe, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status compare_fused_feed(const compare_net *net, const compare_task *task, mmrec_error *error) MMREC_MUST_CHECK;
/* A step at rate 0 on the samples that were fed. */
mmrec_status compare_fused_queue(const compare_net *net, mmrec_error *error) MMREC_MUST_CHECK;
/* A step on the task's batch; its loss and scores, without training. */
mmrec_status compare_fused_train(const compare_net *net, const compare_task *task, double rate, double *loss,
                                 bool *skipped, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status compare_fused_examine(const compare_net *net, const compare_task *task, double *loss, double *scores,
                                   mmrec_error *error) MMREC_MUST_CHECK;

/* ---- the run ---- */

typedef struct compare_run {
    mmrec_allocator *allocator;
    const mmrec_compare_options *options;
    mmrec_compare_observer observer;
    mmrec_comparison *out;
    compare_task task; /* at the first seed */
    device_meter meter;
    double units, done; /* of work, for progress */
} compare_run;

/* Epochs of a fused row (mmrec_compare_row.epochs). */
void compare_epochs(compare_run *run, int row);

void compare_message(const compare_run *run, const char *format, ...) MMREC_PRINTF(2, 3);
/* `part` of the unit under way is done, in [0, 1]; the unit is. */
void compare_progress(const compare_run *run, double part);
void compare_done(compare_run *run);
/* Whether the row is still to be measured. */
bool compare_goes_on(const compare_run *run, int row);
/* Enters the error as the row's failure and forgets it. */
void compare_fail(compare_run *run, int row, mmrec_error *error);
/* A recipe for training the row on the task. */
compare_recipe compare_recipe_of(const compare_run *run, int row);
mmrec_status compare_alloc(mmrec_allocator *allocator, size_t count, size_t size, void **out,
                           mmrec_error *error) MMREC_MUST_CHECK;
void compare_release(mmrec_allocator *allocator, void *memory, size_t count, size_t size);

mmrec_status compare_facts(compare_run *run, int row, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status compare_times(compare_run *run, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status compare_layers(compare_run *run, int row, mmrec_error *error) MMREC_MUST_CHECK;
/* What cannot be trained at all: no held-out data, say. */
mmrec_status compare_train(compare_run *run, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status compare_scaling(compare_run *run, mmrec_error *error) MMREC_MUST_CHECK;

/* ---- rounds ---- */

/* Every row takes its times once a round, in an order and its reverse by turns (study_turn). A time that is NaN is of a
 * part that the row does not have: it is not kept. */
typedef struct compare_rounds {
    mmrec_allocator *allocator;
    const mmrec_sampling *sampling; /* its meter says whether times mean anything */
    int rows;
    bool out[MMREC_COMPARE_ROWS];             /* takes no part, or no longer */
    mmrec_series *series[MMREC_COMPARE_ROWS]; /* MMREC_PARTS each, empty */
    mmrec_paired *paired[MMREC_COMPARE_ROWS]; /* MMREC_PARTS each: against row 0 */
    mmrec_status (*take)(void *context, int row, double ns[MMREC_PARTS], mmrec_sample_note notes[MMREC_PARTS],
                         mmrec_error *error);
    void (*fail)(void *context, int row, mmrec_error *error); /* the row drops out */
    void (*tick)(void *context, double done);                 /* NULL: nobody */
    void *context;
    const mmrec_beside *beside; /* run between rounds, `taken` of them; NULL: nothing, or it has failed */
} compare_rounds;

void compare_rounds_run(compare_rounds *rounds);

/* ---- figures ---- */

/* The power law through `count` points with at > 0; points with a value that is not above 0 are left out. */
mmrec_compare_fit compare_fit_of(const double *at, const double *values, int count);
void compare_front(mmrec_comparison *comparison);

#endif
