/* Carried state: h and memory of every layer from the end of one batch to the beginning of the next.
 *
 * The inputs of a graph share their memory with later values, and a step that is skipped must leave the state as it
 * was, so it is kept outside: 2 B S D numbers of memory per layer, copied in and out once each. */
#include <math.h>

#include "trainer_impl.h"

static mmrec_shape state_shape(const mmrec_trainer *t, int which) {
    const mmrec_train_config *c = &t->config;
    if (which == TRAIN_H) return mmrec_shape2(c->batch, c->model.dim);
    return mmrec_shape3(c->batch, c->model.slots, c->model.dim);
}

/* Each begins at a multiple of 16 numbers, as tensors of a plan do. */
static int64_t state_room(const mmrec_trainer *t, int which) {
    mmrec_shape shape = state_shape(t, which);
    return (mmrec_shape_elements(&shape) + 15) / 16 * 16;
}

static int64_t layer_room(const mmrec_trainer *t) {
    return state_room(t, TRAIN_H) + state_room(t, TRAIN_K) + state_room(t, TRAIN_V);
}

static mmrec_status create(mmrec_trainer *t, int64_t numbers, train_carry *carry, mmrec_error *error) {
    size_t bytes = (size_t)numbers * mmrec_dtype_bytes(t->backend->real);
    MMREC_TRY_WHILE(t->backend->alloc(t->allocator, MMREC_ARENA_SAVED, bytes, &carry->memory, error), error,
                    "allocating %zu bytes of carried state", bytes);
    carry->bytes = bytes;
    return MMREC_OK;
}

mmrec_status train_carry_create(mmrec_trainer *t, train_carry *carry, mmrec_error *error) {
    return create(t, t->config.model.layers * layer_room(t), carry, error);
}

int64_t train_values_room(const mmrec_trainer *t) { return (TRAIN_LOSSES + t->config.model.layers + 15) / 16 * 16; }

mmrec_status train_look_create(mmrec_trainer *t, mmrec_error *error) {
    const mmrec_train_config *c = &t->config;
    int64_t state = c->stream ? c->model.layers * TRAIN_STATES * c->batch * c->model.dim : 0;
    return create(t, train_values_room(t) + state, &t->look, error);
}

void train_carry_destroy(mmrec_trainer *t, train_carry *carry) {
    if (carry->memory) t->backend->free(t->allocator, MMREC_ARENA_SAVED, carry->memory, carry->bytes);
    carry->memory = NULL;
}

mmrec_view train_carry_view(const mmrec_trainer *t, const train_carry *carry, int64_t layer, int which) {
    int64_t first = layer * layer_room(t);
    for (int i = 0; i < which; i++) first += state_room(t, i);
    mmrec_view all = mmrec_view_dense(carry->memory, t->backend->real, mmrec_shape1(1));
    return flat_part(all, first, state_shape(t, which));
}

/* Row b of a state (B,S,D), as (S,D). */
static mmrec_view row_of(const mmrec_trainer *t, mmrec_view state, int64_t b) {
    const mmrec_model_config *m = &t->config.model;
    return flat_part(state, b * m->slots * m->dim, mmrec_shape2(m->slots, m->dim));
}

static mmrec_status begin_memory(mmrec_trainer *t, const train_net *net, const train_layer *l, int which,
                                 mmrec_error *error) {
    mmrec_view to = mmrec_exec_view(net->exec, l->state[which]), first = mmrec_exec_view(net->exec, l->first[which]);
    for (int64_t b = 0; b < t->config.batch; b++) {
        MMREC_TRY(flat_copy(t->flat, row_of(t, to, b), first, 1, error));
    }
    return MMREC_OK;
}

mmrec_status train_state_begin(mmrec_trainer *t, const train_net *net, mmrec_error *error) {
    for (int64_t layer = 0; layer < t->config.model.layers; layer++) {
        const train_layer *l = &net->layers[layer];
        MMREC_TRY(flat_fill(t->flat, mmrec_exec_view(net->exec, l->state[TRAIN_H]), 0, error));
        for (int i = TRAIN_K; i < TRAIN_STATES; i++) {
            if (l->state[i]) MMREC_TRY(begin_memory(t, net, l, i, error));
        }
    }
    return MMREC_OK;
}

mmrec_status train_state_give(mmrec_trainer *t, const train_net *net, const train_carry *from, mmrec_error *error) {
    for (int64_t layer = 0; layer < t->config.model.layers; layer++) {
        for (int i = 0; i < TRAIN_STATES; i++) {
            mmrec_view to = mmrec_exec_view(net->exec, net->layers[layer].state[i]);
            MMREC_TRY(flat_copy(t->flat, to, train_carry_view(t, from, layer, i), 1, error));
        }
    }
    return MMREC_OK;
}

mmrec_status train_state_take(mmrec_trainer *t, const train_net *net, const train_carry *to, mmrec_error *error) {
    for (int64_t layer = 0; layer < t->config.model.layers; layer++) {
        for (int i = 0; i < TRAIN_STATES; i++) {
            mmrec_view from = mmrec_exec_view(net->exec, net->layers[layer].next[i]);
            MMREC_TRY(flat_copy(t->flat, train_carry_view(t, to, layer, i), from, 1, error));
        }
    }
    return MMREC_OK;
}

/* The first slot of each row of a memory, or h, as (B,D). */
static mmrec_view first_slots(const mmrec_trainer *t, mmrec_view state, int which) {
    const mmrec_model_config *m = &t->config.model;
    state.shape = mmrec_shape2(t->config.batch, m->dim);
    state.stride = which == TRAIN_H ? m->dim : m->slots * m->dim;
    return state;
}

static mmrec_status gather(mmrec_trainer *t, const train_net *net, mmrec_view all, mmrec_error *error) {
    mmrec_shape shape = mmrec_shape2(t->config.batch, t->config.model.dim);
    int64_t count = mmrec_shape_elements(&shape), at = 0;
    for (int64_t layer = 0; layer < t->config.model.layers; layer++) {
        for (int i = 0; i < TRAIN_STATES; i++, at += count) {
            mmrec_view next = mmrec_exec_view(net->exec, net->layers[layer].next[i]);
            MMREC_TRY(flat_copy(t->flat, flat_part(all, at, shape), first_slots(t, next, i), 1, error));
        }
    }
    return MMREC_OK;
}

/* The memory was finite before, since the loss that came of it is, and to all slots of a row the same mean was added:
 * the first slot stands for all. Gathered first, so that a device is waited for once. */
mmrec_status train_state_finite(mmrec_trainer *t, const train_net *net, bool *finite, mmrec_error *error) {
    const mmrec_train_config *c = &t->config;
    int64_t count = c->model.layers * TRAIN_STATES * c->batch * c->model.dim;
    mmrec_view look = mmrec_view_dense(t->look.memory, t->backend->real, mmrec_shape1(1));
    mmrec_view all = flat_part(look, train_values_room(t), mmrec_shape1(count));
    *finite = true;
    MMREC_TRY(gather(t, net, all, error));
    for (int64_t first = 0; first < count; first += TRAIN_PIECE) {
        int64_t some = count - first < TRAIN_PIECE ? count - first : TRAIN_PIECE;
        mmrec_view part = flat_part(all, first, mmrec_shape1(some));
        MMREC_TRY(mmrec_exec_read_view(net->exec, &part, t->piece, error));
        for (int64_t i = 0; i < some; i++) *finite = *finite && isfinite(t->piece[i]);
    }
    return MMREC_OK;
}

static mmrec_status add_memory(mmrec_trainer *t, const train_net *net, const train_layer *l, int which,
                               mmrec_error *error) {
    mmrec_view copies = mmrec_exec_view(net->exec, mmrec_graph_gradient(net->graph, l->state[which]));
    mmrec_view to = mmrec_exec_view(net->exec, mmrec_graph_gradient(net->graph, l->first[which]));
    for (int64_t b = 0; b < t->config.batch; b++) {
        MMREC_TRY(flat_add(t->flat, to, row_of(t, copies, b), 1, error));
    }
    return MMREC_OK;
}

mmrec_status train_state_gradient(mmrec_trainer *t, const train_net *net, mmrec_error *error) {
    for (int64_t layer = 0; layer < t->config.model.layers; layer++) {
        for (int i = TRAIN_K; i < TRAIN_STATES; i++) {
            MMREC_TRY(add_memory(t, net, &net->layers[layer], i, error));
        }
    }
    return MMREC_OK;
}
