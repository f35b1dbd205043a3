/* The trainer as its own files see it: trainer.c (creation), trainer_net.c (graphs), trainer_state.c (carried state),
 * trainer_step.c (steps), trainer_culprit.c (which op broke), trainer_evaluate.c, trainer_angle.c, trainer_gradients.c,
 * trainer_sample.c (what looks on), trainer_save.c, trainer_load.c, trainer_keys.c (checkpoints). */
#ifndef MMREC_TRAIN_TRAINER_IMPL_H
#define MMREC_TRAIN_TRAINER_IMPL_H

#include "flat.h"
#include "guard.h"
#include "mmrec/train.h"

/* Numbers converted to double at a time where tensors are looked at: half a MiB. */
enum { TRAIN_PIECE = 1 << 16 };

enum { TRAIN_H, TRAIN_K, TRAIN_V, TRAIN_STATES };
enum { TRAIN_LOSS, TRAIN_LOSS_MAIN, TRAIN_LOSS_AUX, TRAIN_LOSSES };

/* What a layer is given and gives, and the parameters that are its first memory. */
typedef struct train_layer {
    mmrec_tensor state[TRAIN_STATES]; /* state.<i>.h, mem_k, mem_v: without carried state only h */
    mmrec_tensor next[TRAIN_STATES];
    mmrec_tensor first[TRAIN_STATES]; /* 0, memory.k, memory.v */
    mmrec_tensor growth;              /* 0: not asked for */
} train_layer;

/* A graph of the model, ready to run. */
typedef struct train_net {
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_exec *exec;
    mmrec_tensor ids, targets, logits, loss, loss_main, loss_aux; /* 0: not there */
    train_layer *layers;
} train_net;

/* What a graph is built for. */
typedef struct train_use {
    bool gradient, carried, growth;
    bool train; /* with the dropout of the configuration, and room for the optimizer */
    mmrec_loss_part part;
    mmrec_exec *params_from;
} train_use;

/* Carried state outside of the graph, whose inputs lose theirs during a run: (h, mem_k, mem_v) per layer. */
typedef struct train_carry {
    void *memory;
    size_t bytes;
} train_carry;

enum { TRAIN_BEFORE, TRAIN_WITHIN, TRAIN_MOMENTS };

/* A batch that is not the loader's: ids, targets and marks (B,T) each. */
typedef struct train_batch {
    int32_t *ids, *targets;
    uint8_t *asked;
} train_batch;

typedef struct train_param {
    const char *name;
    mmrec_tensor tensor, gradient;
    mmrec_shape shape;
    int64_t count;
    int64_t zero_since; /* the step at which the gradient was first seen to be all zero; 0: it was not, last time */
} train_param;

/* The step that is being made. */
typedef struct train_step {
    int64_t done, good;             /* micro-batches behind us; those of them that were computed and finite */
    double loss, main, aux, growth; /* sums; the largest, NaN where one was not finite */
    bool bad;                       /* a guard acted: the rest of the step is not computed */
    bool starts;                    /* new sequences began in it */
    char culprit[MMREC_CULPRIT];    /* of a micro-batch that was bad */
    uint64_t ns;
} train_step;

struct mmrec_trainer {
    mmrec_allocator *allocator;
    const mmrec_backend *backend;
    const mmrec_data *data;
    mmrec_train_config config;
    flat flat;
    train_net net;
    mmrec_optimizer *optimizer;
    mmrec_loader *loader;
    train_param *params;
    int64_t param_count;

    /* Sum of the gradients of a step of several micro-batches, laid out as the exec's gradients are. */
    void *sum;
    size_t sum_bytes;
    /* The state before this step, if there is one (`carried`), and, within a step of several micro-batches, behind the
     * last of them. */
    train_carry carry[TRAIN_MOMENTS];
    bool carried;
    /* What is read of every micro-batch: losses and growths; with `stream` also h and a slot of either memory, per
     * layer and row of the batch. */
    train_carry look;

    mmrec_train_totals totals;
    train_step step;
    guard guard;

    double *piece; /* TRAIN_PIECE numbers, or a row of logits where that is longer */
    /* Made when first asked for. */
    train_batch batch;
    train_net evaluation, part[2]; /* part: main, auxiliary */
    train_carry evaluation_carry;
};

/* ---- trainer.c ---- */

int64_t train_tokens(const mmrec_trainer *t); /* of a micro-batch */
/* Zeroed memory of the trainer's, and back; release takes NULL. */
mmrec_status train_alloc(mmrec_trainer *t, size_t count, size_t size, void **out, mmrec_error *error) MMREC_MUST_CHECK;
void train_release(mmrec_trainer *t, void *memory, size_t bytes);
int64_t train_piece_room(const mmrec_trainer *t); /* numbers in `piece` */
/* Makes `batch`, if it is not there yet. */
mmrec_status train_need_batch(mmrec_trainer *t, mmrec_error *error) MMREC_MUST_CHECK;
/* The seed of the draws of a micro-batch. */
uint64_t train_seed(const mmrec_trainer *t, int64_t micro_batch);
/* A loader that begins with the next micro-batch, in the place of the one that is there. */
mmrec_status train_loader(mmrec_trainer *t, mmrec_error *error) MMREC_MUST_CHECK;
/* The sum of a parameter's gradients, where there is one. */
mmrec_view train_sum_view(const mmrec_trainer *t, const train_param *param);

/* ---- trainer_net.c ---- */

mmrec_status train_net_create(mmrec_trainer *t, const train_use *use, train_net *net,
                              mmrec_error *error) MMREC_MUST_CHECK;
/* The names of the graph of a net whose exec was made by another. */
mmrec_status train_net_wire(mmrec_trainer *t, train_net *net, mmrec_error *error) MMREC_MUST_CHECK;
void train_net_destroy(mmrec_trainer *t, train_net *net); /* of what is there */
mmrec_status train_net_read(const train_net *net, mmrec_tensor scalar, double *value,
                            mmrec_error *error) MMREC_MUST_CHECK;

/* ---- trainer_state.c ---- */

mmrec_status train_carry_create(mmrec_trainer *t, train_carry *carry, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status train_look_create(mmrec_trainer *t, mmrec_error *error) MMREC_MUST_CHECK;
/* Numbers in `look` before those of the state, a multiple of 16. */
int64_t train_values_room(const mmrec_trainer *t);
void train_carry_destroy(mmrec_trainer *t, train_carry *carry); /* either */
/* State `which` of a layer. */
mmrec_view train_carry_view(const mmrec_trainer *t, const train_carry *carry, int64_t layer, int which);
/* Writes the state inputs of a net: h = 0 and, where it has them, the first memory; or what is carried. */
mmrec_status train_state_begin(mmrec_trainer *t, const train_net *net, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status train_state_give(mmrec_trainer *t, const train_net *net, const train_carry *from,
                              mmrec_error *error) MMREC_MUST_CHECK;
/* Takes what a forward phase left; and looks whether it is finite. */
mmrec_status train_state_take(mmrec_trainer *t, const train_net *net, const train_carry *to,
                              mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status train_state_finite(mmrec_trainer *t, const train_net *net, bool *finite,
                                mmrec_error *error) MMREC_MUST_CHECK;
/* Where sequences began with the first memory: its gradient is the sum of those of its copies. */
mmrec_status train_state_gradient(mmrec_trainer *t, const train_net *net, mmrec_error *error) MMREC_MUST_CHECK;

/* ---- trainer_step.c ---- */

/* Writes the inputs of a net for training batch `number`: `state` NULL: sequences begin. */
mmrec_status train_feed(mmrec_trainer *t, const train_net *net, const int32_t *ids, const int32_t *targets,
                        const train_carry *state, mmrec_error *error) MMREC_MUST_CHECK;
/* The state from which micro-batch `index` of this step starts, NULL where sequences begin. */
const train_carry *train_state_before(const mmrec_trainer *t, int64_t index, bool starts);

/* ---- trainer_culprit.c ---- */

/* Runs `count` micro-batches of this step again, from number `first` on, node by node, and says which node wrote the
 * first value that is not finite, or `otherwise` where all are. Always fills `text`. */
void train_name_culprit(mmrec_trainer *t, int64_t first, int64_t count, const char *otherwise,
                        char text[MMREC_CULPRIT]);

/* ---- trainer_keys.c ---- */

/* What of the configuration and the data a checkpoint says. */
typedef enum train_key_kind { TRAIN_KEY_WHOLE, TRAIN_KEY_REAL, TRAIN_KEY_SEED, TRAIN_KEY_TEXT } train_key_kind;
typedef struct train_key {
    const char *name; /* "config.dim" */
    train_key_kind kind;
    bool must_match; /* else a difference is noted */
    int64_t whole;
    double real;
    uint64_t seed;
    const char *text;
} train_key;
enum { TRAIN_KEYS = 64 };
/* Fills `keys`, returns how many. Within a step the number of its micro-batches must match too. */
int train_keys(const mmrec_trainer *t, bool within_step, train_key keys[TRAIN_KEYS]);

/* Every whole number and every real of the progress, by name: pointers into a trainer. */
typedef struct train_count {
    const char *name;
    int64_t *whole; /* or */
    double *real;
} train_count;
enum { TRAIN_COUNTS = 16 };
int train_counts(mmrec_trainer *t, train_count counts[TRAIN_COUNTS]);

/* 0: the state before this step, 1: behind its last micro-batch; false: not part of this moment's checkpoint. */
bool train_has_state(const mmrec_trainer *t, int which);
/* The tensors of a checkpoint, in the backend's memory and in its order: of each parameter its values, its two moments
 * and, within a step, its summed gradient; and the carried states. `least` is the smallest value one may hold. */
typedef mmrec_status (*train_visit)(const void *context, const char *name, const mmrec_view *view, double least,
                                    mmrec_error *error);
mmrec_status train_each_part(mmrec_trainer *t, train_visit visit, const void *context,
                             mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status train_each_state(mmrec_trainer *t, train_visit visit, const void *context,
                              mmrec_error *error) MMREC_MUST_CHECK;
/* Elements of the largest tensor of a checkpoint. */
int64_t train_largest(const mmrec_trainer *t);

#endif
