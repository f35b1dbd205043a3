/* cuDNN's LSTM, for comparison with the recurrence: one layer without an input product (CUDNN_SKIP_INPUT), since the
 * recurrence is given projections too. Forward runs in training mode, which keeps what backward reads; backward gives
 * the gradients of the data and of the recurrent weights.
 *
 * Each algorithm that cuDNN takes for the size is made, tried, and recorded as a CUDA graph; for each pass the fastest
 * one is used from then on. The dynamic persistent algorithm is left out: it compiles itself at run time, and cuDNN
 * takes it only without tensor cores. Everything is allocated when it is made, in one piece. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cudnn_calls.h"

enum { ALGORITHMS = 2, TRIAL_RUNS = 5, ALIGN = 256 };

typedef struct algorithm {
    const char *name;
    cudnnRNNAlgo_t number;
    cudnnRNNDescriptor_t rnn;
    size_t weight_bytes, work_bytes, reserve_bytes;
    bool usable;
    void *graph[MMREC_PASSES]; /* NULL: it cannot be recorded */
} algorithm;

/* The pieces of the memory. Values have 2 bytes; y, dx, work and reserve are written by cuDNN alone. */
typedef enum piece {
    PIECE_X,
    PIECE_Y,
    PIECE_DY,
    PIECE_DX,
    PIECE_H,
    PIECE_C,
    PIECE_WEIGHTS,
    PIECE_DWEIGHTS,
    PIECE_WORK,
    PIECE_RESERVE,
    PIECE_LENGTHS,
    PIECES
} piece;

static struct lstm {
    bool made; /* the parts below may be there without, on the way */
    mmrec_lstm_request request;
    const cudnn_calls *calls;
    cudnnHandle_t handle;
    cudnnRNNDataDescriptor_t sequence;
    cudnnTensorDescriptor_t state;
    cudnnDropoutDescriptor_t dropout;
    algorithm algorithms[ALGORITHMS];
    const algorithm *best[MMREC_PASSES];
    size_t bytes[PIECES], all_bytes;
    unsigned char *memory, *at[PIECES];
    void *from, *to; /* events */
} lstm;

/* ---- describing ---- */

static cudnnDataType_t value_type(void) { return lstm.request.bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF; }

static mmrec_status describe(mmrec_error *error) {
    const mmrec_lstm_request *r = &lstm.request;
    const cudnn_sequences sequences = {
        value_type(), CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED, r->batch, r->steps, r->width, r->allocator};
    MMREC_TRY(cudnn_make_dropout(lstm.calls, lstm.handle, &lstm.dropout, error));
    MMREC_TRY(cudnn_make_state(lstm.calls, value_type(), r->batch, r->width, &lstm.state, error));
    return cudnn_make_sequences(lstm.calls, &sequences, &lstm.sequence, error);
}

static mmrec_status describe_algorithm(algorithm *a, mmrec_error *error) {
    int32_t width = (int32_t)lstm.request.width;
    CUDNN_TRY(lstm.calls, CreateRNNDescriptor, error, &a->rnn);
    CUDNN_TRY(lstm.calls, SetRNNDescriptor_v8, error, a->rnn, a->number, CUDNN_LSTM, CUDNN_RNN_SINGLE_REC_BIAS,
              CUDNN_UNIDIRECTIONAL, CUDNN_SKIP_INPUT, value_type(), CUDNN_DATA_FLOAT, CUDNN_TENSOR_OP_MATH, width,
              width, width, 1, lstm.dropout, CUDNN_RNN_PADDED_IO_DISABLED);
    CUDNN_TRY(lstm.calls, GetRNNWeightSpaceSize, error, lstm.handle, a->rnn, &a->weight_bytes);
    CUDNN_TRY(lstm.calls, GetRNNTempSpaceSizes, error, lstm.handle, a->rnn, CUDNN_FWD_MODE_TRAINING, lstm.sequence,
              &a->work_bytes, &a->reserve_bytes);
    return MMREC_OK;
}

/* ---- memory ---- */

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static void measure_pieces(void) {
    const mmrec_lstm_request *r = &lstm.request;
    size_t state = (size_t)(r->batch * r->width) * sizeof(uint16_t), sequence = (size_t)r->steps * state;
    size_t *bytes = lstm.bytes;
    for (int i = PIECE_X; i <= PIECE_DX; i++) bytes[i] = sequence;
    bytes[PIECE_H] = bytes[PIECE_C] = state;
    bytes[PIECE_LENGTHS] = (size_t)r->batch * sizeof(int32_t);
    for (int i = 0; i < ALGORITHMS; i++) {
        const algorithm *a = &lstm.algorithms[i];
        if (!a->usable) continue;
        bytes[PIECE_WEIGHTS] = bytes[PIECE_DWEIGHTS] = larger(bytes[PIECE_WEIGHTS], a->weight_bytes);
        bytes[PIECE_WORK] = larger(bytes[PIECE_WORK], a->work_bytes);
        bytes[PIECE_RESERVE] = larger(bytes[PIECE_RESERVE], a->reserve_bytes);
    }
}

static mmrec_status allocate(mmrec_error *error) {
    void *memory = NULL;
    measure_pieces();
    for (int i = 0; i < PIECES; i++) lstm.all_bytes += (lstm.bytes[i] + ALIGN - 1) / ALIGN * ALIGN;
    MMREC_TRY(cuda_alloc_own(lstm.all_bytes, &memory, "cudaMalloc for cuDNN's LSTM", error));
    lstm.memory = memory;
    size_t used = 0;
    for (int i = 0; i < PIECES; i++) {
        lstm.at[i] = lstm.memory + used;
        used += (lstm.bytes[i] + ALIGN - 1) / ALIGN * ALIGN;
    }
    return MMREC_OK;
}

/* The nearest half or bfloat16 of a value of at most 1. A half has 11 bits, and below 2^-14 fewer; the 1 before the
 * point of a normal one is what raises its exponent by one. */
static uint16_t bits_of(float value, bool bf16) {
    if (bf16) {
        uint32_t wide;
        memcpy(&wide, &value, sizeof wide);
        return (uint16_t)((wide + 0x7fff + (wide >> 16 & 1)) >> 16);
    }
    int exponent = 0;
    frexpf(value, &exponent); /* value = f 2^exponent, 0.5 <= f < 1 */
    int lowest = exponent - 1 < -14 ? -14 : exponent - 1;
    long steps = lrintf(ldexpf(fabsf(value), 10 - lowest));
    return (uint16_t)((value < 0 ? 0x8000 : 0) + ((lowest + 14) << 10) + steps);
}

/* 2048 values spread evenly over +-scale, drawn at random: zeros would let the device run cooler. */
static mmrec_status fill(piece which, float scale, uint64_t seed, mmrec_error *error) {
    enum { LEVELS = 2048, CHUNK = 1 << 16 };
    static uint16_t chunk[CHUNK];
    uint16_t level[LEVELS];
    size_t count = lstm.bytes[which] / sizeof *chunk;
    uint64_t state = seed * 2 + 1;
    for (int i = 0; i < LEVELS; i++) level[i] = bits_of(scale * ((float)(2 * i + 1) / LEVELS - 1), lstm.request.bf16);
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t part = count - done < CHUNK ? count - done : CHUNK;
        for (size_t i = 0; i < part; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            chunk[i] = level[state >> 53];
        }
        MMREC_TRY(cuda_copy_in(lstm.at[which] + done * sizeof *chunk, chunk, part * sizeof *chunk, error));
    }
    return MMREC_OK;
}

static mmrec_status fill_all(mmrec_error *error) {
    static const piece values[] = {PIECE_X, PIECE_DY, PIECE_H, PIECE_C};
    uint64_t seed = lstm.request.seed * PIECES;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) MMREC_TRY(fill(values[i], 1, seed + values[i], error));
    MMREC_TRY(fill(PIECE_WEIGHTS, 1 / sqrtf((float)lstm.request.width), seed + PIECE_WEIGHTS, error));
    return cudnn_fill_lengths(lstm.at[PIECE_LENGTHS], lstm.request.batch, lstm.request.steps, error);
}

/* ---- running ---- */

static const int32_t *lengths(void) { return (const int32_t *)(const void *)lstm.at[PIECE_LENGTHS]; }

static mmrec_status forward(const algorithm *a, mmrec_error *error) {
    unsigned char *const *at = lstm.at;
    CUDNN_TRY(lstm.calls, RNNForward, error, lstm.handle, a->rnn, CUDNN_FWD_MODE_TRAINING, lengths(), lstm.sequence,
              at[PIECE_X], lstm.sequence, at[PIECE_Y], lstm.state, at[PIECE_H], NULL, lstm.state, at[PIECE_C], NULL,
              a->weight_bytes, at[PIECE_WEIGHTS], a->work_bytes, at[PIECE_WORK], a->reserve_bytes, at[PIECE_RESERVE]);
    return MMREC_OK;
}

static mmrec_status backward(const algorithm *a, mmrec_error *error) {
    unsigned char *const *at = lstm.at;
    CUDNN_TRY(lstm.calls, RNNBackwardData_v8, error, lstm.handle, a->rnn, lengths(), lstm.sequence, at[PIECE_Y],
              at[PIECE_DY], lstm.sequence, at[PIECE_DX], lstm.state, at[PIECE_H], NULL, NULL, lstm.state, at[PIECE_C],
              NULL, NULL, a->weight_bytes, at[PIECE_WEIGHTS], a->work_bytes, at[PIECE_WORK], a->reserve_bytes,
              at[PIECE_RESERVE]);
    CUDNN_TRY(lstm.calls, RNNBackwardWeights_v8, error, lstm.handle, a->rnn, CUDNN_WGRAD_MODE_ADD, lengths(),
              lstm.sequence, at[PIECE_X], lstm.state, at[PIECE_H], lstm.sequence, at[PIECE_Y], a->weight_bytes,
              at[PIECE_DWEIGHTS], a->work_bytes, at[PIECE_WORK], a->reserve_bytes, at[PIECE_RESERVE]);
    return MMREC_OK;
}

static mmrec_status queue_pass(const algorithm *a, mmrec_pass pass, mmrec_error *error) {
    return pass == MMREC_FORWARD ? forward(a, error) : backward(a, error);
}

static mmrec_status run_pass(const algorithm *a, mmrec_pass pass, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    return a->graph[pass] ? cuda_graph_launch(a->graph[pass], error) : queue_pass(a, pass, error);
}

/* Backward reads, and may overwrite, what a forward pass of the same algorithm has kept; the weights' gradients are
 * added to what is there, and half would soon be infinite. */
static mmrec_status prepare_pass(const algorithm *a, mmrec_pass pass, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    if (pass == MMREC_FORWARD) return MMREC_OK;
    CUDA_TRY(cudaMemsetAsync(lstm.at[PIECE_DWEIGHTS], 0, lstm.bytes[PIECE_DWEIGHTS], cuda_state.stream),
             "cudaMemsetAsync", error);
    return run_pass(a, MMREC_FORWARD, error);
}

/* ---- choosing ---- */

/* Once as it is, then recorded; what cannot be recorded is called each time. */
static mmrec_status try_pass(algorithm *a, mmrec_pass pass, mmrec_error *error) {
    MMREC_TRY(prepare_pass(a, pass, error));
    MMREC_TRY(queue_pass(a, pass, error));
    MMREC_TRY(cuda_synchronize(error));
    MMREC_TRY(cuda_capture_begin(error));
    bool recorded = queue_pass(a, pass, NULL) == MMREC_OK && cuda_capture_end(&a->graph[pass], NULL) == MMREC_OK;
    if (!recorded) cuda_capture_abandon();
    return cuda_usable(error);
}

static mmrec_status try_algorithm(algorithm *a, mmrec_error *error) {
    MMREC_TRY(try_pass(a, MMREC_FORWARD, error));
    return try_pass(a, MMREC_BACKWARD, error);
}

/* Does `step` for each algorithm still usable; one that fails is so no longer. OK while any is left. */
static mmrec_status for_usable(mmrec_status (*step)(algorithm *a, mmrec_error *error), mmrec_error *error) {
    char last[400] = "";
    bool any = false;
    for (int i = 0; i < ALGORITHMS; i++) {
        algorithm *a = &lstm.algorithms[i];
        mmrec_error why;
        mmrec_error_clear(&why);
        if (!a->usable) continue;
        mmrec_status status = step(a, &why);
        a->usable = status == MMREC_OK;
        any = any || a->usable;
        MMREC_TRY(cuda_usable(error));
        if (!a->usable) snprintf(last, sizeof last, "%.*s", (int)sizeof last - 1, why.message);
    }
    if (any) return MMREC_OK;
    MMREC_FAIL(error, MMREC_UNSUPPORTED, "cuDNN takes no such LSTM: %s", last);
}

/* The shortest of a few runs, the first not counted. */
static mmrec_status time_pass(const algorithm *a, mmrec_pass pass, double *best, mmrec_error *error) {
    *best = INFINITY;
    for (int i = 0; i <= TRIAL_RUNS; i++) {
        double ns = 0;
        MMREC_TRY(prepare_pass(a, pass, error));
        MMREC_TRY(cuda_event_record(lstm.from, error));
        MMREC_TRY(run_pass(a, pass, error));
        MMREC_TRY(cuda_event_record(lstm.to, error));
        MMREC_TRY(cuda_event_elapsed_ns(lstm.from, lstm.to, &ns, error));
        if (i > 0) *best = fmin(*best, ns);
    }
    return MMREC_OK;
}

static mmrec_status choose(mmrec_pass pass, mmrec_error *error) {
    double least = INFINITY;
    for (int i = 0; i < ALGORITHMS; i++) {
        const algorithm *a = &lstm.algorithms[i];
        double ns = 0;
        if (!a->usable) continue;
        MMREC_TRY(time_pass(a, pass, &ns, error));
        if (lstm.best[pass] && !(ns < least)) continue;
        lstm.best[pass] = a;
        least = ns;
    }
    return MMREC_OK;
}

/* ---- making one ---- */

static mmrec_status check_request(const mmrec_lstm_request *r, mmrec_error *error) {
    int64_t state = 0, sequence = 0;
    bool fits = r->width > 0 && r->batch > 0 && r->steps > 0 && r->steps <= INT32_MAX &&
                !__builtin_mul_overflow(r->width, r->batch, &state) && state <= INT32_MAX &&
                !__builtin_mul_overflow(state, r->steps, &sequence) && sequence < (int64_t)1 << 40;
    if (lstm.made) MMREC_FAIL(error, MMREC_UNSUPPORTED, "there is an LSTM already, and only one at a time");
    if (fits) return MMREC_OK;
    MMREC_FAIL(error, MMREC_UNSUPPORTED, "cuDNN takes no LSTM of D %lld, B %lld, T %lld", (long long)r->width,
               (long long)r->batch, (long long)r->steps);
}

static mmrec_status make(mmrec_error *error) {
    lstm.algorithms[0] = (algorithm){.name = "standard", .number = CUDNN_RNN_ALGO_STANDARD, .usable = true};
    lstm.algorithms[1] = (algorithm){.name = "persistent", .number = CUDNN_RNN_ALGO_PERSIST_STATIC, .usable = true};
    MMREC_TRY(cudnn_open(&lstm.calls, &lstm.handle, error));
    MMREC_TRY(describe(error));
    MMREC_TRY(for_usable(describe_algorithm, error));
    MMREC_TRY(allocate(error));
    MMREC_TRY(fill_all(error));
    MMREC_TRY(for_usable(try_algorithm, error));
    MMREC_TRY(cuda_event_create(&lstm.from, error));
    MMREC_TRY(cuda_event_create(&lstm.to, error));
    MMREC_TRY(choose(MMREC_FORWARD, error));
    return choose(MMREC_BACKWARD, error);
}

static void tell(mmrec_lstm_info *info) {
    *info = (mmrec_lstm_info){.version = (int)lstm.calls->GetVersion(),
                              .weight_bytes = lstm.bytes[PIECE_WEIGHTS],
                              .work_bytes = lstm.bytes[PIECE_WORK],
                              .reserve_bytes = lstm.bytes[PIECE_RESERVE],
                              .all_bytes = lstm.all_bytes};
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        info->algorithm[pass] = lstm.best[pass]->name;
        info->recorded[pass] = lstm.best[pass]->graph[pass] != NULL;
    }
}

mmrec_status cuda_lstm_create(const mmrec_lstm_request *request, mmrec_lstm_info *info, mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    MMREC_TRY(check_request(request, error));
    lstm.request = *request;
    mmrec_status status = make(error);
    if (status != MMREC_OK) {
        cuda_lstm_destroy();
        return status;
    }
    lstm.made = true;
    tell(info);
    return MMREC_OK;
}

static mmrec_status check_made(mmrec_error *error) {
    if (!lstm.made) MMREC_FAIL(error, MMREC_UNSUPPORTED, "there is no LSTM: it has to be created first");
    return MMREC_OK;
}

mmrec_status cuda_lstm_prepare(mmrec_pass pass, mmrec_error *error) {
    MMREC_TRY(check_made(error));
    return prepare_pass(lstm.best[pass], pass, error);
}

mmrec_status cuda_lstm_run(mmrec_pass pass, mmrec_error *error) {
    MMREC_TRY(check_made(error));
    return run_pass(lstm.best[pass], pass, error);
}

void cuda_lstm_destroy(void) {
    const cudnn_calls *calls = lstm.calls;
    mmrec_status waited = lstm.memory ? cuda_synchronize(NULL) : MMREC_OK; /* what is queued reads the memory */
    (void)waited;
    for (int i = 0; i < ALGORITHMS; i++) {
        algorithm *a = &lstm.algorithms[i];
        for (int pass = 0; pass < MMREC_PASSES; pass++) cuda_graph_destroy(a->graph[pass]);
        if (a->rnn) calls->DestroyRNNDescriptor(a->rnn);
    }
    if (lstm.sequence) calls->DestroyRNNDataDescriptor(lstm.sequence);
    if (lstm.state) calls->DestroyTensorDescriptor(lstm.state);
    if (lstm.dropout) calls->DestroyDropoutDescriptor(lstm.dropout);
    if (lstm.from) cuda_event_destroy(lstm.from);
    if (lstm.to) cuda_event_destroy(lstm.to);
    cuda_free_own(lstm.memory, lstm.all_bytes);
    memset(&lstm, 0, sizeof lstm);
}
