/* What cuDNN needs to run one layer of `lstm` or `gru`, and what it keeps from its forward to its backward pass. */
#ifndef MMREC_CUDNN_SLOTS_H
#define MMREC_CUDNN_SLOTS_H

#include "cudnn_calls.h"

enum { CUDNN_MOST_GATES = 4 };

/* Device memory of a slot, each made when it is first asked for. */
typedef enum slot_piece {
    SLOT_WEIGHTS,
    SLOT_WORK,
    SLOT_RESERVE,
    SLOT_LENGTHS,
    SLOT_GRADIENTS, /* of the weights */
    SLOT_COPY,      /* of the reserve */
    /* Packed stand-ins for tensors that are absent, not packed, or added to. */
    SLOT_DX,
    SLOT_DY,
    SLOT_H_LAST,
    SLOT_C_LAST,
    SLOT_DH_LAST,
    SLOT_DC_LAST,
    SLOT_DH0,
    SLOT_DC0,
    SLOT_PIECES
} slot_piece;

/* Whose slot it is. `owner` is the address of saved tensor 0, or of the scratch memory where nothing is saved: two
 * calls whose values are both alive never have it in common. */
typedef struct slot_key {
    mmrec_op_id op;
    const void *owner;
    int64_t batch, steps, inputs, width;
    bool training;
} slot_key;

typedef struct rnn_slot {
    slot_key key; /* op MMREC_OP_NONE: a free place */
    int gates;
    cudnnRNNDescriptor_t rnn;
    cudnnRNNDataDescriptor_t x, y;
    cudnnTensorDescriptor_t state;
    size_t bytes[SLOT_PIECES];
    void *at[SLOT_PIECES];
    /* Where gate g of the input's half (g) and of the state's (gates + g) lies in the weights, and its bias. */
    size_t matrix[2 * CUDNN_MOST_GATES], bias[2 * CUDNN_MOST_GATES];
    bool kept; /* a forward pass has left weights, and what it keeps where it trains */
} rnn_slot;

/* The library. Where there is none: UNSUPPORTED, "no cuDNN: " and why, if it is required; else no handle. */
mmrec_status slots_open(bool required, const cudnn_calls **calls, cudnnHandle_t *handle,
                        mmrec_error *error) MMREC_MUST_CHECK;

/* The slot of that key, NULL where there is none. */
rnn_slot *slot_find(const slot_key *key);
/* Whether one more can be made. */
bool slots_have_room(void);
/* The slot of that key; made where there is none. */
mmrec_status slot_get(const slot_key *key, rnn_slot **out, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status slot_memory(rnn_slot *slot, slot_piece piece, void **out, mmrec_error *error) MMREC_MUST_CHECK;

#endif
