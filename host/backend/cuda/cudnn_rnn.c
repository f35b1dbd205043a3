/* `lstm` and `gru` by cuDNN: a layer in one direction, in float, with both biases. PyTorch's layout of the ops is
 * cuDNN's: rows i, f, g, o of the weights (r, z, n for gru), first those of the input and then those of the state, are
 * its matrices 0, 1, 2 ..., and n = tanh(a_n + r b_n).
 *
 * Where a matrix lies in cuDNN's weights it tells itself; weights are copied there before a forward pass, and the
 * gradients from where they lie likewise. A backward pass reads the weights that its forward pass has left there.
 *
 * cuDNN's backward pass may overwrite what the forward pass has kept, and an op's may not: it gets a copy. Tensors that
 * it would have to add to, or that are not packed, pass through memory of the slot. */
#include "cudnn_slots.h"

enum { IN_X, IN_H0, IN_C0, OUT_Y = 0, OUT_H_LAST, OUT_C_LAST };

/* cuDNN does not tell how many kernels a call launches. Its own way takes a product and a pointwise kernel a step; so
 * many are counted, lest a held stream be filled. */
enum { LAUNCHES_A_STEP = 4 };

typedef struct rnn_kind {
    int weights, gates; /* the input that is weight_ih; weight_hh, bias_ih and bias_hh follow */
    bool cells;         /* has c0 and c_last */
} rnn_kind;

/* One call under way. */
typedef struct rnn_run {
    const mmrec_op_call *call;
    rnn_kind kind;
    rnn_slot *slot;
    const cudnn_calls *calls;
    cudnnHandle_t handle;
} rnn_run;

static bool adds(const rnn_run *r, int input) { return ((r->call->accumulate >> input) & 1u) != 0; }

/* ---- weights ---- */

/* The rows of gate `id` in a weight or a bias of the call. */
static mmrec_view gate_of(const rnn_run *r, const mmrec_view *of, int id) {
    int64_t width = r->slot->key.width, gate = id % r->kind.gates, columns = mmrec_shape_columns(&of->shape);
    bool vector = mmrec_shape_rows(&of->shape) == 1;
    int64_t stride = vector ? 1 : of->stride;
    float *first = (float *)of->data + gate * width * stride;
    mmrec_view view = mmrec_view_dense(first, MMREC_F32, mmrec_shape2(width, vector ? 1 : columns));
    view.stride = stride;
    return view;
}

static mmrec_view packed_at(void *memory, size_t offset, const mmrec_shape *shape) {
    return mmrec_view_dense((char *)memory + offset, MMREC_F32, *shape);
}

static mmrec_status pack(const rnn_run *r, mmrec_error *error) {
    void *memory = r->slot->at[SLOT_WEIGHTS];
    for (int id = 0; id < 2 * r->kind.gates; id++) {
        const mmrec_view *weight = &r->call->in[r->kind.weights + id / r->kind.gates];
        mmrec_view from = gate_of(r, weight, id), bias = gate_of(r, weight + 2, id);
        mmrec_view to = packed_at(memory, r->slot->matrix[id], &from.shape);
        MMREC_TRY(mmrec_cuda_put(&to, &from, false, error));
        to = packed_at(memory, r->slot->bias[id], &bias.shape);
        MMREC_TRY(mmrec_cuda_put(&to, &bias, false, error));
    }
    return MMREC_OK;
}

/* The gradient of gate `id` of one input from where cuDNN has it. */
static mmrec_status unpack_gate(const rnn_run *r, int input, int id, size_t offset, mmrec_error *error) {
    const mmrec_view *gradient = &r->call->d_in[input];
    if (!gradient->data) return MMREC_OK;
    mmrec_view to = gate_of(r, gradient, id), from = packed_at(r->slot->at[SLOT_GRADIENTS], offset, &to.shape);
    return mmrec_cuda_put(&to, &from, adds(r, input), error);
}

static mmrec_status unpack(const rnn_run *r, mmrec_error *error) {
    for (int id = 0; id < 2 * r->kind.gates; id++) {
        int weight = r->kind.weights + id / r->kind.gates;
        MMREC_TRY(unpack_gate(r, weight, id, r->slot->matrix[id], error));
        MMREC_TRY(unpack_gate(r, weight + 2, id, r->slot->bias[id], error));
    }
    return MMREC_OK;
}

/* ---- other tensors ---- */

/* Where cuDNN reads `view`: there, or in a packed copy. An absent one is NULL, which cuDNN takes for zeros. */
static mmrec_status source(const rnn_run *r, slot_piece piece, const mmrec_view *view, void **out, mmrec_error *error) {
    *out = view->data;
    if (!view->data || cuda_rnn_packed(view)) return MMREC_OK;
    MMREC_TRY(slot_memory(r->slot, piece, out, error));
    mmrec_view copy = packed_at(*out, 0, &view->shape);
    return mmrec_cuda_put(&copy, view, false, error);
}

static bool is_direct(const mmrec_view *view, bool add) { return view->data && !add && cuda_rnn_packed(view); }

/* Where cuDNN writes `view`: there, or where `deliver` takes it from. An absent one is NULL: cuDNN does not make it. */
static mmrec_status target(const rnn_run *r, slot_piece piece, const mmrec_view *view, bool add, void **out,
                           mmrec_error *error) {
    *out = view->data;
    if (!view->data || is_direct(view, add)) return MMREC_OK;
    return slot_memory(r->slot, piece, out, error);
}

static mmrec_status deliver(const rnn_run *r, slot_piece piece, const mmrec_view *view, bool add, mmrec_error *error) {
    if (!view->data || is_direct(view, add)) return MMREC_OK;
    mmrec_view from = packed_at(r->slot->at[piece], 0, &view->shape);
    return mmrec_cuda_put(view, &from, add, error);
}

/* ---- calls ---- */

#define RNN_TRY(r, name, error, ...)                                                                                   \
    MMREC_TRY(cudnn_queued((r)->calls->name((r)->handle, (r)->slot->rnn, __VA_ARGS__), "cudnn" #name,                  \
                           (uint64_t)((r)->slot->key.steps * LAUNCHES_A_STEP), (error)))

static cudnnTensorDescriptor_t cell_state(const rnn_run *r) { return r->kind.cells ? r->slot->state : NULL; }
static const void *first_cell(const rnn_run *r) { return r->kind.cells ? r->call->in[IN_C0].data : NULL; }

static mmrec_status forward(const rnn_run *r, mmrec_error *error) {
    static const mmrec_view none;
    const mmrec_op_call *call = r->call;
    rnn_slot *s = r->slot;
    const mmrec_view *last = &call->out[OUT_H_LAST], *cell = r->kind.cells ? &call->out[OUT_C_LAST] : &none;
    void *h_last = NULL, *c_last = NULL;
    s->kept = false;
    MMREC_TRY(pack(r, error));
    MMREC_TRY(target(r, SLOT_H_LAST, last, false, &h_last, error));
    MMREC_TRY(target(r, SLOT_C_LAST, cell, false, &c_last, error));
    RNN_TRY(r, RNNForward, error, s->key.training ? CUDNN_FWD_MODE_TRAINING : CUDNN_FWD_MODE_INFERENCE,
            s->at[SLOT_LENGTHS], s->x, call->in[IN_X].data, s->y, call->out[OUT_Y].data, s->state, call->in[IN_H0].data,
            h_last, cell_state(r), first_cell(r), c_last, s->bytes[SLOT_WEIGHTS], s->at[SLOT_WEIGHTS],
            s->bytes[SLOT_WORK], s->at[SLOT_WORK], s->bytes[SLOT_RESERVE], s->at[SLOT_RESERVE]);
    MMREC_TRY(deliver(r, SLOT_H_LAST, last, false, error));
    MMREC_TRY(deliver(r, SLOT_C_LAST, cell, false, error));
    s->kept = true;
    return MMREC_OK;
}

/* What the backward pass reads and writes, as cuDNN is to find it. */
typedef struct gradients {
    void *reserve, *dy, *dh_last, *dc_last, *dx, *dh0, *dc0;
} gradients;

/* cuDNN wants dy and dx even where nobody else does. */
static mmrec_status make_ends(const rnn_run *r, gradients *g, mmrec_error *error) {
    rnn_slot *s = r->slot;
    if (!g->dx) MMREC_TRY(slot_memory(s, SLOT_DX, &g->dx, error));
    if (g->dy) return MMREC_OK;
    MMREC_TRY(slot_memory(s, SLOT_DY, &g->dy, error));
    return mmrec_cuda_check(cudaMemsetAsync(g->dy, 0, s->bytes[SLOT_DY], cuda_state.stream), "cudaMemsetAsync", error);
}

static mmrec_status gather(const rnn_run *r, gradients *g, mmrec_error *error) {
    const mmrec_view *d_out = r->call->d_out, *d_in = r->call->d_in;
    rnn_slot *s = r->slot;
    MMREC_TRY(slot_memory(s, SLOT_COPY, &g->reserve, error));
    CUDA_TRY(cudaMemcpyAsync(g->reserve, s->at[SLOT_RESERVE], s->bytes[SLOT_RESERVE], cudaMemcpyDeviceToDevice,
                             cuda_state.stream),
             "copying what cuDNN keeps", error);
    MMREC_TRY(source(r, SLOT_DY, &d_out[OUT_Y], &g->dy, error));
    MMREC_TRY(source(r, SLOT_DH_LAST, &d_out[OUT_H_LAST], &g->dh_last, error));
    MMREC_TRY(target(r, SLOT_DX, &d_in[IN_X], adds(r, IN_X), &g->dx, error));
    MMREC_TRY(target(r, SLOT_DH0, &d_in[IN_H0], adds(r, IN_H0), &g->dh0, error));
    MMREC_TRY(make_ends(r, g, error));
    if (!r->kind.cells) return MMREC_OK;
    MMREC_TRY(source(r, SLOT_DC_LAST, &d_out[OUT_C_LAST], &g->dc_last, error));
    return target(r, SLOT_DC0, &d_in[IN_C0], adds(r, IN_C0), &g->dc0, error);
}

static mmrec_status backward_data(const rnn_run *r, const gradients *g, mmrec_error *error) {
    const mmrec_op_call *call = r->call;
    const rnn_slot *s = r->slot;
    RNN_TRY(r, RNNBackwardData_v8, error, s->at[SLOT_LENGTHS], s->y, call->out[OUT_Y].data, g->dy, s->x, g->dx,
            s->state, call->in[IN_H0].data, g->dh_last, g->dh0, cell_state(r), first_cell(r), g->dc_last, g->dc0,
            s->bytes[SLOT_WEIGHTS], s->at[SLOT_WEIGHTS], s->bytes[SLOT_WORK], s->at[SLOT_WORK], s->bytes[SLOT_COPY],
            g->reserve);
    MMREC_TRY(deliver(r, SLOT_DX, &call->d_in[IN_X], adds(r, IN_X), error));
    MMREC_TRY(deliver(r, SLOT_DH0, &call->d_in[IN_H0], adds(r, IN_H0), error));
    return r->kind.cells ? deliver(r, SLOT_DC0, &call->d_in[IN_C0], adds(r, IN_C0), error) : MMREC_OK;
}

/* cuDNN adds to what is there. */
static mmrec_status backward_weights(const rnn_run *r, const gradients *g, mmrec_error *error) {
    const mmrec_op_call *call = r->call;
    rnn_slot *s = r->slot;
    void *sums = NULL;
    MMREC_TRY(slot_memory(s, SLOT_GRADIENTS, &sums, error));
    CUDA_TRY(cudaMemsetAsync(sums, 0, s->bytes[SLOT_GRADIENTS], cuda_state.stream), "cudaMemsetAsync", error);
    RNN_TRY(r, RNNBackwardWeights_v8, error, CUDNN_WGRAD_MODE_ADD, s->at[SLOT_LENGTHS], s->x, call->in[IN_X].data,
            s->state, call->in[IN_H0].data, s->y, call->out[OUT_Y].data, s->bytes[SLOT_GRADIENTS], sums,
            s->bytes[SLOT_WORK], s->at[SLOT_WORK], s->bytes[SLOT_COPY], g->reserve);
    return unpack(r, error);
}

static mmrec_status backward(const rnn_run *r, mmrec_error *error) {
    gradients g = {0};
    bool weights = false;
    for (int i = 0; i < 4; i++) weights = weights || r->call->d_in[r->kind.weights + i].data;
    MMREC_TRY(gather(r, &g, error));
    MMREC_TRY(backward_data(r, &g, error));
    return weights ? backward_weights(r, &g, error) : MMREC_OK;
}

/* ---- one call ---- */

static slot_key key_of(mmrec_op_id op, const mmrec_op_call *call) {
    const mmrec_op_sizes *s = call->sizes;
    bool training = call->saved[0].data && (op != MMREC_OP_lstm || call->saved[1].data);
    return (slot_key){.op = op,
                      .owner = training ? call->saved[0].data : call->scratch,
                      .batch = MMREC_SIZE(s, B),
                      .steps = MMREC_SIZE(s, T),
                      .inputs = MMREC_SIZE(s, D),
                      .width = MMREC_SIZE(s, H),
                      .training = training};
}

/* Whether a call that need not be cuDNN's is: it has room for it, or has run its forward pass. */
static bool has_place(mmrec_pass pass, const slot_key *key) {
    const rnn_slot *slot = slot_find(key);
    return pass == MMREC_FORWARD ? slot || slots_have_room() : slot && slot->kept;
}

mmrec_status cuda_rnn_run(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, bool required, bool *done,
                          mmrec_error *error) {
    bool cells = op == MMREC_OP_lstm;
    rnn_run r = {.call = call, .kind = {cells ? IN_C0 + 1 : IN_C0, cells ? 4 : 3, cells}};
    slot_key key = key_of(op, call);
    *done = false;
    MMREC_TRY(slots_open(required, &r.calls, &r.handle, error));
    if (!r.handle || (!required && !has_place(pass, &key))) return MMREC_OK;
    *done = true;
    if (pass == MMREC_FORWARD) {
        MMREC_TRY(slot_get(&key, &r.slot, error));
        return forward(&r, error);
    }
    r.slot = slot_find(&key);
    if (r.slot && r.slot->kept) return backward(&r, error);
    MMREC_FAIL(error, MMREC_INTERNAL,
               "%s backward: cuDNN has run no forward pass with this place for saved tensors; --rnn must not change "
               "between the two",
               cells ? "lstm" : "gru");
}
