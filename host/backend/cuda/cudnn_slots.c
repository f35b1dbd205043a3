/* The table of slots (cudnn_slots.h). A slot is made in the first run of a phase, which is never recorded, and lives as
 * long as the memory that its owner lies in: recorded graphs hold its addresses. */
#include <string.h>

#include "cudnn_slots.h"

enum { SLOTS = 64 }; /* layers of all execs alive, twice where one of them also runs without saving */

static rnn_slot table[SLOTS];

static struct {
    const cudnn_calls *calls;
    cudnnHandle_t handle;
    cudnnDropoutDescriptor_t dropout;
    cudnnTensorDescriptor_t matrix, bias; /* cuDNN writes into them what GetRNNWeightParams tells */
} library;

/* ---- the library ---- */

static void close_library(void) {
    const cudnn_calls *calls = library.calls;
    if (library.matrix) calls->DestroyTensorDescriptor(library.matrix);
    if (library.bias) calls->DestroyTensorDescriptor(library.bias);
    if (library.dropout) calls->DestroyDropoutDescriptor(library.dropout);
    memset(&library, 0, sizeof library);
}

static mmrec_status make_shared(mmrec_error *error) {
    MMREC_TRY(cudnn_make_dropout(library.calls, library.handle, &library.dropout, error));
    CUDNN_TRY(library.calls, CreateTensorDescriptor, error, &library.matrix);
    CUDNN_TRY(library.calls, CreateTensorDescriptor, error, &library.bias);
    return MMREC_OK;
}

mmrec_status slots_open(bool required, const cudnn_calls **calls, cudnnHandle_t *handle, mmrec_error *error) {
    MMREC_TRY(cudnn_find("rnn", required, calls, handle, error));
    if (!*handle || library.calls) return MMREC_OK;
    library.calls = *calls;
    library.handle = *handle;
    mmrec_status status = make_shared(error);
    if (status != MMREC_OK) close_library();
    return status;
}

/* ---- memory ---- */

mmrec_status slot_memory(rnn_slot *slot, slot_piece piece, void **out, mmrec_error *error) {
    if (!slot->at[piece] && slot->bytes[piece] > 0) {
        MMREC_TRY(cudnn_not_recording(error));
        MMREC_TRY(cuda_alloc_own(slot->bytes[piece], &slot->at[piece], "cudaMalloc for cuDNN", error));
    }
    *out = slot->at[piece];
    return MMREC_OK;
}

/* ---- making one ---- */

static void release(rnn_slot *slot) {
    if (slot->rnn) library.calls->DestroyRNNDescriptor(slot->rnn);
    if (slot->x) library.calls->DestroyRNNDataDescriptor(slot->x);
    if (slot->y) library.calls->DestroyRNNDataDescriptor(slot->y);
    if (slot->state) library.calls->DestroyTensorDescriptor(slot->state);
    for (int i = 0; i < SLOT_PIECES; i++) cuda_free_own(slot->at[i], slot->bytes[i]);
    memset(slot, 0, sizeof *slot);
}

/* The standard algorithm is the one that promises the same bits for the same input. */
static mmrec_status describe(rnn_slot *slot, mmrec_error *error) {
    const slot_key *k = &slot->key;
    mmrec_allocator moment = {0};
    cudnn_sequences sequences = {.type = CUDNN_DATA_FLOAT,
                                 .layout = CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED,
                                 .batch = k->batch,
                                 .steps = k->steps,
                                 .width = k->inputs,
                                 .allocator = &moment};
    cudnnMathType_t math = cuda_state.tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
    MMREC_TRY(cudnn_make_sequences(library.calls, &sequences, &slot->x, error));
    sequences.width = k->width;
    MMREC_TRY(cudnn_make_sequences(library.calls, &sequences, &slot->y, error));
    MMREC_TRY(cudnn_make_state(library.calls, CUDNN_DATA_FLOAT, k->batch, k->width, &slot->state, error));
    CUDNN_TRY(library.calls, CreateRNNDescriptor, error, &slot->rnn);
    CUDNN_TRY(library.calls, SetRNNDescriptor_v8, error, slot->rnn, CUDNN_RNN_ALGO_STANDARD,
              k->op == MMREC_OP_lstm ? CUDNN_LSTM : CUDNN_GRU, CUDNN_RNN_DOUBLE_BIAS, CUDNN_UNIDIRECTIONAL,
              CUDNN_LINEAR_INPUT, CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT, math, (int32_t)k->inputs, (int32_t)k->width,
              (int32_t)k->width, 1, library.dropout, CUDNN_RNN_PADDED_IO_ENABLED);
    return MMREC_OK;
}

static mmrec_status measure(rnn_slot *slot, mmrec_error *error) {
    const slot_key *k = &slot->key;
    size_t *bytes = slot->bytes, state = (size_t)(k->batch * k->width) * sizeof(float);
    cudnnForwardMode_t mode = k->training ? CUDNN_FWD_MODE_TRAINING : CUDNN_FWD_MODE_INFERENCE;
    CUDNN_TRY(library.calls, GetRNNWeightSpaceSize, error, library.handle, slot->rnn, &bytes[SLOT_WEIGHTS]);
    CUDNN_TRY(library.calls, GetRNNTempSpaceSizes, error, library.handle, slot->rnn, mode, slot->x, &bytes[SLOT_WORK],
              &bytes[SLOT_RESERVE]);
    if (!k->training) bytes[SLOT_RESERVE] = 0;
    bytes[SLOT_LENGTHS] = (size_t)k->batch * sizeof(int32_t);
    bytes[SLOT_GRADIENTS] = bytes[SLOT_WEIGHTS];
    bytes[SLOT_COPY] = bytes[SLOT_RESERVE];
    bytes[SLOT_DX] = (size_t)(k->batch * k->inputs) * (size_t)k->steps * sizeof(float);
    bytes[SLOT_DY] = state * (size_t)k->steps;
    for (int i = SLOT_H_LAST; i <= SLOT_DC0; i++) bytes[i] = state;
    return MMREC_OK;
}

/* Where cuDNN says that a matrix, or a column of biases, of so many rows lies: dense, and inside of the weights. */
static mmrec_status check_place(const rnn_slot *slot, cudnnTensorDescriptor_t told, const void *at, int64_t columns,
                                size_t *offset, mmrec_error *error) {
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    int count = 0, dims[3] = {0}, strides[3] = {0};
    int64_t rows = slot->key.width;
    CUDNN_TRY(library.calls, GetTensorNdDescriptor, error, told, 3, &type, &count, dims, strides);
    uintptr_t from = (uintptr_t)slot->at[SLOT_WEIGHTS], here = (uintptr_t)at;
    size_t bytes = (size_t)(rows * columns) * sizeof(float), all = slot->bytes[SLOT_WEIGHTS];
    bool dense = type == CUDNN_DATA_FLOAT && count == 3 && dims[0] == 1 && dims[1] == rows && dims[2] == columns &&
                 strides[1] == columns && strides[2] == 1;
    *offset = here - from;
    if (dense && here >= from && bytes <= all && *offset <= all - bytes) return MMREC_OK;
    MMREC_FAIL(error, MMREC_INTERNAL,
               "cuDNN lays its weights out in a way that is not understood here: %lld x %lld values were expected and "
               "%d x %d are told; use --rnn kernels",
               (long long)rows, (long long)columns, dims[1], dims[2]);
}

static mmrec_status locate(rnn_slot *slot, int id, mmrec_error *error) {
    void *matrix = NULL, *bias = NULL;
    int64_t columns = id < slot->gates ? slot->key.inputs : slot->key.width;
    CUDNN_TRY(library.calls, GetRNNWeightParams, error, library.handle, slot->rnn, 0, slot->bytes[SLOT_WEIGHTS],
              slot->at[SLOT_WEIGHTS], id, library.matrix, &matrix, library.bias, &bias);
    MMREC_TRY(check_place(slot, library.matrix, matrix, columns, &slot->matrix[id], error));
    return check_place(slot, library.bias, bias, 1, &slot->bias[id], error);
}

/* Memory that every pass uses; between the matrices there may be gaps, which are zeros. */
static mmrec_status prepare(rnn_slot *slot, mmrec_error *error) {
    void *weights = NULL, *lengths = NULL, *other = NULL;
    MMREC_TRY(slot_memory(slot, SLOT_WEIGHTS, &weights, error));
    MMREC_TRY(slot_memory(slot, SLOT_WORK, &other, error));
    MMREC_TRY(slot_memory(slot, SLOT_RESERVE, &other, error));
    MMREC_TRY(slot_memory(slot, SLOT_LENGTHS, &lengths, error));
    CUDA_TRY(cudaMemsetAsync(weights, 0, slot->bytes[SLOT_WEIGHTS], cuda_state.stream), "cudaMemsetAsync", error);
    return cudnn_fill_lengths(lengths, slot->key.batch, slot->key.steps, error);
}

static mmrec_status make(rnn_slot *slot, mmrec_error *error) {
    MMREC_TRY(describe(slot, error));
    MMREC_TRY(measure(slot, error));
    MMREC_TRY(prepare(slot, error));
    for (int id = 0; id < 2 * slot->gates; id++) MMREC_TRY(locate(slot, id, error));
    return MMREC_OK;
}

/* ---- the table ---- */

static bool same_key(const slot_key *a, const slot_key *b) {
    return a->op == b->op && a->owner == b->owner && a->batch == b->batch && a->steps == b->steps &&
           a->inputs == b->inputs && a->width == b->width && a->training == b->training;
}

rnn_slot *slot_find(const slot_key *key) {
    for (int i = 0; i < SLOTS; i++) {
        if (same_key(&table[i].key, key)) return &table[i];
    }
    return NULL;
}

static rnn_slot *free_slot(void) {
    for (int i = 0; i < SLOTS; i++) {
        if (table[i].key.op == MMREC_OP_NONE) return &table[i];
    }
    return NULL;
}

bool slots_have_room(void) { return free_slot(); }

mmrec_status slot_get(const slot_key *key, rnn_slot **out, mmrec_error *error) {
    *out = slot_find(key);
    if (*out) return MMREC_OK;
    rnn_slot *slot = free_slot();
    if (!slot) {
        MMREC_FAIL(error, MMREC_UNSUPPORTED, "%d layers are the most that cuDNN can run at a time; use --rnn kernels",
                   SLOTS);
    }
    slot->key = *key;
    slot->gates = key->op == MMREC_OP_lstm ? 4 : 3;
    mmrec_status status = make(slot, error);
    if (status != MMREC_OK)
        release(slot);
    else
        *out = slot;
    return status;
}

void cuda_rnn_forget(const void *memory, size_t bytes) {
    for (int i = 0; i < SLOTS; i++) {
        uintptr_t from = (uintptr_t)memory, owner = (uintptr_t)table[i].key.owner;
        if (table[i].key.op != MMREC_OP_NONE && owner >= from && owner - from < bytes) release(&table[i]);
    }
}

void cuda_rnn_free(void) {
    for (int i = 0; i < SLOTS; i++) {
        if (table[i].key.op != MMREC_OP_NONE) release(&table[i]);
    }
    close_library();
}
