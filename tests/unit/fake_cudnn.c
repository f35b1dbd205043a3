/* A cuDNN that computes nothing, for the tests of what compares with its LSTM: $MMREC_CUDNN names it. It keeps a
 * journal of what it was asked for, and refuses what it is told to. The test finds both by dlsym. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cudnn.h>

enum { PARAMETERS = 4 };

/* Settings: what fails, with a space after each ("Create "; "RNNForward:1 ", only for algorithm 1; "RNNForward:1@2 ",
 * only the second of these), the version, sizes that differ by algorithm. */
char fake_cudnn_fails[96];
char fake_cudnn_words[96] = "the fake was told to fail\nand this line is not the error";
size_t fake_cudnn_version = 91900;
size_t fake_cudnn_weight_bytes[2] = {4096, 6144}, fake_cudnn_work_bytes[2] = {2048, 512},
       fake_cudnn_reserve_bytes[2] = {1024, 8192};
/* What was seen: calls by name in order ("RNNForward:1" with the algorithm), objects alive, and the last pass. */
char fake_cudnn_journal[1 << 16];
int fake_cudnn_alive;
struct {
    cudaStream_t stream;
    int batch, width, steps, length_sum, type, algorithm;
    const void *x, *y, *weights, *work, *reserve, *gradients;
    size_t weight_bytes, work_bytes, reserve_bytes;
} fake_cudnn_seen;

struct cudnnContext {
    int unused;
};
struct cudnnTensorStruct {
    int unused;
};
struct cudnnDropoutStruct {
    int unused;
};
struct cudnnRNNStruct {
    int algorithm;
};
struct cudnnRNNDataStruct {
    int unused;
};

static struct cudnnContext contexts[PARAMETERS];
static struct cudnnTensorStruct tensors[PARAMETERS];
static struct cudnnDropoutStruct dropouts[PARAMETERS];
static struct cudnnRNNStruct rnns[PARAMETERS];
static struct cudnnRNNDataStruct sequences[PARAMETERS];

static int count_in_journal(const char *entry) {
    int count = 0;
    for (const char *at = fake_cudnn_journal; (at = strstr(at, entry)); at += strlen(entry)) count++;
    return count;
}

static bool is_to_fail(const char *text) { return strstr(fake_cudnn_fails, text) != NULL; }

/* Writes the call down; whether it is to fail. */
static cudnnStatus_t note(const char *call, int algorithm, cudnnStatus_t failure) {
    char plain[64], entry[64], numbered[80];
    size_t used = strlen(fake_cudnn_journal);
    snprintf(plain, sizeof plain, "%s ", call);
    if (algorithm < 0)
        memcpy(entry, plain, sizeof entry);
    else
        snprintf(entry, sizeof entry, "%s:%d ", call, algorithm);
    snprintf(fake_cudnn_journal + used, sizeof fake_cudnn_journal - used, "%s", entry);
    snprintf(numbered, sizeof numbered, "%.*s@%d ", (int)strlen(entry) - 1, entry, count_in_journal(entry));
    return is_to_fail(plain) || is_to_fail(entry) || is_to_fail(numbered) ? failure : CUDNN_STATUS_SUCCESS;
}

#define MAKE(call, out, places)                                                                                        \
    do {                                                                                                               \
        cudnnStatus_t code_ = note(call, -1, CUDNN_STATUS_NOT_INITIALIZED);                                            \
        if (code_ != CUDNN_STATUS_SUCCESS) return code_;                                                               \
        *(out) = &(places)[fake_cudnn_alive++ % PARAMETERS];                                                           \
        return CUDNN_STATUS_SUCCESS;                                                                                   \
    } while (0)
#define END(call)                                                                                                      \
    do {                                                                                                               \
        fake_cudnn_alive--;                                                                                            \
        return note(call, -1, CUDNN_STATUS_BAD_PARAM);                                                                 \
    } while (0)

size_t cudnnGetVersion(void) { return fake_cudnn_version; }

const char *cudnnGetErrorString(cudnnStatus_t status) {
    switch (status) {
    case CUDNN_STATUS_NOT_INITIALIZED:
        return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_NOT_SUPPORTED:
        return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_EXECUTION_FAILED:
        return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
        return "CUDNN_STATUS_BAD_PARAM";
    }
}

void cudnnGetLastErrorString(char *message, size_t max_size) { snprintf(message, max_size, "%s", fake_cudnn_words); }

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) { MAKE("Create", handle, contexts); }
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    (void)handle;
    END("Destroy");
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    (void)handle;
    fake_cudnn_seen.stream = stream;
    return note("SetStream", -1, CUDNN_STATUS_BAD_PARAM);
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *tensor) {
    MAKE("CreateTensorDescriptor", tensor, tensors);
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t tensor) {
    (void)tensor;
    END("DestroyTensorDescriptor");
}
cudnnStatus_t cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t tensor, cudnnDataType_t type, int dimensions,
                                         const int sizes[], const int strides[]) {
    bool dense = tensor && dimensions == 3 && sizes[0] == 1 && strides[2] == 1 && strides[1] == sizes[2] &&
                 strides[0] == sizes[1] * sizes[2];
    fake_cudnn_seen.type = (int)type;
    return dense ? note("SetTensorNdDescriptor", -1, CUDNN_STATUS_BAD_PARAM) : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnCreateDropoutDescriptor(cudnnDropoutDescriptor_t *dropout) {
    MAKE("CreateDropoutDescriptor", dropout, dropouts);
}
cudnnStatus_t cudnnDestroyDropoutDescriptor(cudnnDropoutDescriptor_t dropout) {
    (void)dropout;
    END("DestroyDropoutDescriptor");
}
cudnnStatus_t cudnnSetDropoutDescriptor(cudnnDropoutDescriptor_t descriptor, cudnnHandle_t handle, float dropout,
                                        void *states, size_t state_bytes, unsigned long long seed) {
    bool none = descriptor && handle && dropout == 0 && !states && state_bytes == 0 && seed == 0;
    return none ? note("SetDropoutDescriptor", -1, CUDNN_STATUS_BAD_PARAM) : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnCreateRNNDescriptor(cudnnRNNDescriptor_t *rnn) { MAKE("CreateRNNDescriptor", rnn, rnns); }
cudnnStatus_t cudnnDestroyRNNDescriptor(cudnnRNNDescriptor_t rnn) {
    (void)rnn;
    END("DestroyRNNDescriptor");
}
cudnnStatus_t cudnnSetRNNDescriptor_v8(cudnnRNNDescriptor_t rnn, cudnnRNNAlgo_t algorithm, cudnnRNNMode_t mode,
                                       cudnnRNNBiasMode_t bias, cudnnDirectionMode_t direction,
                                       cudnnRNNInputMode_t input, cudnnDataType_t type, cudnnDataType_t sums,
                                       cudnnMathType_t math, int32_t input_size, int32_t hidden_size,
                                       int32_t projection_size, int32_t layers, cudnnDropoutDescriptor_t dropout,
                                       uint32_t flags) {
    bool good = mode == CUDNN_LSTM && bias == CUDNN_RNN_SINGLE_REC_BIAS && direction == CUDNN_UNIDIRECTIONAL &&
                input == CUDNN_SKIP_INPUT && sums == CUDNN_DATA_FLOAT && math == CUDNN_TENSOR_OP_MATH &&
                (int)type == fake_cudnn_seen.type && input_size == hidden_size && projection_size == hidden_size &&
                layers == 1 && dropout && flags == CUDNN_RNN_PADDED_IO_DISABLED;
    rnn->algorithm = (int)algorithm;
    return good ? note("SetRNNDescriptor_v8", rnn->algorithm, CUDNN_STATUS_NOT_SUPPORTED) : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnCreateRNNDataDescriptor(cudnnRNNDataDescriptor_t *data) {
    MAKE("CreateRNNDataDescriptor", data, sequences);
}
cudnnStatus_t cudnnDestroyRNNDataDescriptor(cudnnRNNDataDescriptor_t data) {
    (void)data;
    END("DestroyRNNDataDescriptor");
}
cudnnStatus_t cudnnSetRNNDataDescriptor(cudnnRNNDataDescriptor_t data, cudnnDataType_t type,
                                        cudnnRNNDataLayout_t layout, int most_steps, int batch, int width,
                                        const int lengths[], void *padding) {
    bool good =
        data && (int)type == fake_cudnn_seen.type && layout == CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED && !padding;
    fake_cudnn_seen.batch = batch;
    fake_cudnn_seen.width = width;
    fake_cudnn_seen.steps = most_steps;
    fake_cudnn_seen.length_sum = 0;
    for (int i = 0; i < batch; i++) fake_cudnn_seen.length_sum += lengths[i];
    return good ? note("SetRNNDataDescriptor", -1, CUDNN_STATUS_BAD_PARAM) : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnGetRNNWeightSpaceSize(cudnnHandle_t handle, cudnnRNNDescriptor_t rnn, size_t *bytes) {
    *bytes = fake_cudnn_weight_bytes[rnn->algorithm];
    return handle ? note("GetRNNWeightSpaceSize", rnn->algorithm, CUDNN_STATUS_BAD_PARAM) : CUDNN_STATUS_BAD_PARAM;
}
cudnnStatus_t cudnnGetRNNTempSpaceSizes(cudnnHandle_t handle, cudnnRNNDescriptor_t rnn, cudnnForwardMode_t mode,
                                        cudnnRNNDataDescriptor_t x, size_t *work_bytes, size_t *reserve_bytes) {
    bool good = handle && x && mode == CUDNN_FWD_MODE_TRAINING;
    *work_bytes = fake_cudnn_work_bytes[rnn->algorithm];
    *reserve_bytes = fake_cudnn_reserve_bytes[rnn->algorithm];
    return good ? note("GetRNNTempSpaceSizes", rnn->algorithm, CUDNN_STATUS_BAD_PARAM) : CUDNN_STATUS_BAD_PARAM;
}

/* ---- passes ---- */

static bool sizes_are_own(const struct cudnnRNNStruct *rnn, size_t weight_bytes, size_t work_bytes,
                          size_t reserve_bytes) {
    return weight_bytes == fake_cudnn_weight_bytes[rnn->algorithm] &&
           work_bytes == fake_cudnn_work_bytes[rnn->algorithm] &&
           reserve_bytes == fake_cudnn_reserve_bytes[rnn->algorithm];
}

cudnnStatus_t cudnnRNNForward(cudnnHandle_t handle, cudnnRNNDescriptor_t rnn, cudnnForwardMode_t mode,
                              const int32_t device_lengths[], cudnnRNNDataDescriptor_t x_data, const void *x,
                              cudnnRNNDataDescriptor_t y_data, void *y, cudnnTensorDescriptor_t h_state, const void *hx,
                              void *hy, cudnnTensorDescriptor_t c_state, const void *cx, void *cy, size_t weight_bytes,
                              const void *weights, size_t work_bytes, void *work, size_t reserve_bytes, void *reserve) {
    bool good = handle && mode == CUDNN_FWD_MODE_TRAINING && device_lengths && x_data && x && y_data && y && h_state &&
                hx && !hy && c_state && cx && !cy && weights && work && reserve &&
                sizes_are_own(rnn, weight_bytes, work_bytes, reserve_bytes);
    fake_cudnn_seen.x = x;
    fake_cudnn_seen.y = y;
    fake_cudnn_seen.weights = weights;
    fake_cudnn_seen.work = work;
    fake_cudnn_seen.reserve = reserve;
    fake_cudnn_seen.algorithm = rnn->algorithm;
    return good ? note("RNNForward", rnn->algorithm, CUDNN_STATUS_EXECUTION_FAILED) : CUDNN_STATUS_BAD_PARAM;
}

/* Backward goes with what the latest forward pass left, of the same algorithm. */
static bool follows(const struct cudnnRNNStruct *rnn, const void *y, const void *reserve) {
    return fake_cudnn_seen.algorithm == rnn->algorithm && y == fake_cudnn_seen.y && reserve == fake_cudnn_seen.reserve;
}

cudnnStatus_t cudnnRNNBackwardData_v8(cudnnHandle_t handle, cudnnRNNDescriptor_t rnn, const int32_t device_lengths[],
                                      cudnnRNNDataDescriptor_t y_data, const void *y, const void *dy,
                                      cudnnRNNDataDescriptor_t x_data, void *dx, cudnnTensorDescriptor_t h_state,
                                      const void *hx, const void *dhy, void *dhx, cudnnTensorDescriptor_t c_state,
                                      const void *cx, const void *dcy, void *dcx, size_t weight_bytes,
                                      const void *weights, size_t work_bytes, void *work, size_t reserve_bytes,
                                      void *reserve) {
    bool good = handle && device_lengths && y_data && dy && x_data && dx && h_state && hx && !dhy && !dhx && c_state &&
                cx && !dcy && !dcx && weights == fake_cudnn_seen.weights && work == fake_cudnn_seen.work &&
                follows(rnn, y, reserve) && sizes_are_own(rnn, weight_bytes, work_bytes, reserve_bytes);
    return good ? note("RNNBackwardData_v8", rnn->algorithm, CUDNN_STATUS_EXECUTION_FAILED) : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnRNNBackwardWeights_v8(cudnnHandle_t handle, cudnnRNNDescriptor_t rnn, cudnnWgradMode_t mode,
                                         const int32_t device_lengths[], cudnnRNNDataDescriptor_t x_data, const void *x,
                                         cudnnTensorDescriptor_t h_state, const void *hx,
                                         cudnnRNNDataDescriptor_t y_data, const void *y, size_t weight_bytes,
                                         void *weight_gradients, size_t work_bytes, void *work, size_t reserve_bytes,
                                         void *reserve) {
    bool good = handle && mode == CUDNN_WGRAD_MODE_ADD && device_lengths && x_data && x == fake_cudnn_seen.x &&
                h_state && hx && y_data && weight_gradients && weight_gradients != fake_cudnn_seen.weights && work &&
                follows(rnn, y, reserve) && sizes_are_own(rnn, weight_bytes, work_bytes, reserve_bytes);
    fake_cudnn_seen.gradients = weight_gradients;
    fake_cudnn_seen.weight_bytes = weight_bytes;
    return good ? note("RNNBackwardWeights_v8", rnn->algorithm, CUDNN_STATUS_EXECUTION_FAILED) : CUDNN_STATUS_BAD_PARAM;
}
