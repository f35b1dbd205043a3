/* A library in cuDNN's place, for the tests: $MMREC_CUDNN names it. It keeps a journal of what it was asked for, and
 * refuses what it is told to; the test finds both by dlsym. The LSTM that others are compared with computes nothing,
 * the layers with two biases do (fake_cudnn_rnn.c), and graphs of operations do (fake_cudnn_graph.c). */
#include "fake_cudnn.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Settings: what fails, with a space after each ("Create "; "RNNForward:1 ", only for algorithm 1; "RNNForward:1@2 ",
 * only the second of these; "RNNForward@2 ", the second of any algorithm), the version, sizes that differ by
 * algorithm. */
char fake_cudnn_fails[96];
char fake_cudnn_words[96] = "the fake was told to fail\nand this line is not the error";
size_t fake_cudnn_version = 91900;
size_t fake_cudnn_weight_bytes[2] = {4096, 6144}, fake_cudnn_work_bytes[2] = {2048, 512},
       fake_cudnn_reserve_bytes[2] = {1024, 8192};
/* What was seen: calls by name in order ("RNNForward:1" with the algorithm), objects alive, and the last pass. An
 * attention graph takes about 300 calls of 26 letters. */
char fake_cudnn_journal[1 << 18];
int fake_cudnn_alive;
struct {
    cudaStream_t stream;
    int batch, width, steps, length_sum, type, algorithm;
    const void *x, *y, *weights, *work, *reserve, *gradients;
    size_t weight_bytes, work_bytes, reserve_bytes;
} fake_cudnn_seen;

int fake_cudnn_math; /* of the latest layer that computes */

static struct cudnnContext context;

static int count_in_journal(const char *entry) {
    int count = 0;
    for (const char *at = fake_cudnn_journal; (at = strstr(at, entry)); at += strlen(entry)) count++;
    return count;
}

static bool is_to_fail(const char *text) { return strstr(fake_cudnn_fails, text) != NULL; }

/* `entry` ends with ' ' or ':', and is the latest of its kind. */
static bool this_one_is_to_fail(const char *entry) {
    char numbered[80];
    if (!strchr(fake_cudnn_fails, '@')) return false;
    snprintf(numbered, sizeof numbered, "%.*s@%d ", (int)strlen(entry) - 1, entry, count_in_journal(entry));
    return is_to_fail(numbered);
}

cudnnStatus_t fake_note(const char *call, int algorithm, cudnnStatus_t failure) {
    char plain[64], entry[64], any[64];
    size_t used = strlen(fake_cudnn_journal);
    snprintf(plain, sizeof plain, "%s ", call);
    if (algorithm < 0)
        memcpy(entry, plain, sizeof entry);
    else
        snprintf(entry, sizeof entry, "%s:%d ", call, algorithm);
    snprintf(fake_cudnn_journal + used, sizeof fake_cudnn_journal - used, "%s", entry);
    snprintf(any, sizeof any, "%s:", call);
    bool fails = is_to_fail(plain) || is_to_fail(entry) || this_one_is_to_fail(entry) || this_one_is_to_fail(any);
    return fails ? failure : CUDNN_STATUS_SUCCESS;
}

/* The runtime lives in the backend's module, whose names are nobody else's but for one. */
typedef cudaError_t (*launcher)(cudaStream_t stream, const char *name, void (*run)(void *context), const void *context,
                                size_t bytes);

static int find_launcher(struct dl_phdr_info *info, size_t size, void *out) {
    (void)size;
    void *module = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD), *symbol = NULL;
    if (!module) return 0;
    symbol = dlsym(module, "mmrec_fake_launch");
    dlclose(module);
    memcpy(out, &symbol, sizeof symbol);
    return symbol != NULL;
}

cudnnStatus_t fake_cudnn_queue(cudnnHandle_t handle, const char *name, void (*run)(void *job), const void *job,
                               size_t bytes) {
    static launcher launch;
    if (!launch) dl_iterate_phdr(find_launcher, &launch);
    bool queued = launch && launch(handle->stream, name, run, job, bytes) == cudaSuccess;
    return queued ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

#define MAKE(call, out)                                                                                                \
    do {                                                                                                               \
        cudnnStatus_t code_ = fake_note(call, -1, CUDNN_STATUS_NOT_INITIALIZED);                                       \
        if (code_ != CUDNN_STATUS_SUCCESS) return code_;                                                               \
        *(out) = calloc(1, sizeof **(out));                                                                            \
        fake_cudnn_alive++;                                                                                            \
        return *(out) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_INITIALIZED;                                           \
    } while (0)
#define END(call, object)                                                                                              \
    do {                                                                                                               \
        free(object);                                                                                                  \
        fake_cudnn_alive--;                                                                                            \
        return fake_note(call, -1, CUDNN_STATUS_BAD_PARAM);                                                            \
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

/* One handle, which a lost device is not asked to end. */
cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
    cudnnStatus_t code = fake_note("Create", -1, CUDNN_STATUS_NOT_INITIALIZED);
    if (code != CUDNN_STATUS_SUCCESS) return code;
    *handle = &context;
    fake_cudnn_alive++;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    (void)handle;
    fake_cudnn_alive--;
    return fake_note("Destroy", -1, CUDNN_STATUS_BAD_PARAM);
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    handle->stream = fake_cudnn_seen.stream = stream;
    return fake_note("SetStream", -1, CUDNN_STATUS_BAD_PARAM);
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *tensor) { MAKE("CreateTensorDescriptor", tensor); }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t tensor) { END("DestroyTensorDescriptor", tensor); }
cudnnStatus_t cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t tensor, cudnnDataType_t type, int dimensions,
                                         const int sizes[], const int strides[]) {
    bool dense = tensor && dimensions == 3 && sizes[0] == 1 && strides[2] == 1 && strides[1] == sizes[2] &&
                 strides[0] == sizes[1] * sizes[2];
    fake_cudnn_seen.type = (int)type;
    if (!dense) return CUDNN_STATUS_BAD_PARAM;
    tensor->type = type;
    tensor->dimensions = dimensions;
    memcpy(tensor->size, sizes, sizeof tensor->size);
    memcpy(tensor->stride, strides, sizeof tensor->stride);
    return fake_note("SetTensorNdDescriptor", -1, CUDNN_STATUS_BAD_PARAM);
}
cudnnStatus_t cudnnGetTensorNdDescriptor(const cudnnTensorDescriptor_t tensor, int most, cudnnDataType_t *type,
                                         int *dimensions, int sizes[], int strides[]) {
    if (most != 3) return CUDNN_STATUS_BAD_PARAM;
    *type = tensor->type;
    *dimensions = tensor->dimensions;
    memcpy(sizes, tensor->size, sizeof tensor->size);
    memcpy(strides, tensor->stride, sizeof tensor->stride);
    return fake_note("GetTensorNdDescriptor", -1, CUDNN_STATUS_BAD_PARAM);
}

cudnnStatus_t cudnnCreateDropoutDescriptor(cudnnDropoutDescriptor_t *dropout) {
    MAKE("CreateDropoutDescriptor", dropout);
}
cudnnStatus_t cudnnDestroyDropoutDescriptor(cudnnDropoutDescriptor_t dropout) {
    END("DestroyDropoutDescriptor", dropout);
}
cudnnStatus_t cudnnSetDropoutDescriptor(cudnnDropoutDescriptor_t descriptor, cudnnHandle_t handle, float dropout,
                                        void *states, size_t state_bytes, unsigned long long seed) {
    bool none = descriptor && handle && dropout == 0 && !states && state_bytes == 0 && seed == 0;
    return none ? fake_note("SetDropoutDescriptor", -1, CUDNN_STATUS_BAD_PARAM) : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnCreateRNNDescriptor(cudnnRNNDescriptor_t *rnn) { MAKE("CreateRNNDescriptor", rnn); }
cudnnStatus_t cudnnDestroyRNNDescriptor(cudnnRNNDescriptor_t rnn) { END("DestroyRNNDescriptor", rnn); }
cudnnStatus_t cudnnSetRNNDescriptor_v8(cudnnRNNDescriptor_t rnn, cudnnRNNAlgo_t algorithm, cudnnRNNMode_t mode,
                                       cudnnRNNBiasMode_t bias, cudnnDirectionMode_t direction,
                                       cudnnRNNInputMode_t input, cudnnDataType_t type, cudnnDataType_t sums,
                                       cudnnMathType_t math, int32_t input_size, int32_t hidden_size,
                                       int32_t projection_size, int32_t layers, cudnnDropoutDescriptor_t dropout,
                                       uint32_t flags) {
    bool float_sums = sums == CUDNN_DATA_FLOAT, one = projection_size == hidden_size && layers == 1 && dropout;
    bool computes = bias == CUDNN_RNN_DOUBLE_BIAS && input == CUDNN_LINEAR_INPUT && type == CUDNN_DATA_FLOAT &&
                    (mode == CUDNN_LSTM || mode == CUDNN_GRU) &&
                    (math == CUDNN_FMA_MATH || math == CUDNN_DEFAULT_MATH) && algorithm == CUDNN_RNN_ALGO_STANDARD &&
                    input_size > 0 && hidden_size > 0 && flags == CUDNN_RNN_PADDED_IO_ENABLED;
    bool yardstick = mode == CUDNN_LSTM && bias == CUDNN_RNN_SINGLE_REC_BIAS && input == CUDNN_SKIP_INPUT &&
                     math == CUDNN_TENSOR_OP_MATH && (int)type == fake_cudnn_seen.type && input_size == hidden_size &&
                     flags == CUDNN_RNN_PADDED_IO_DISABLED;
    bool good = (computes || yardstick) && one && float_sums && direction == CUDNN_UNIDIRECTIONAL;
    *rnn = (struct cudnnRNNStruct){(int)algorithm, computes, mode, input_size, hidden_size};
    if (computes) fake_cudnn_math = (int)math;
    return good ? fake_note("SetRNNDescriptor_v8", rnn->algorithm, CUDNN_STATUS_NOT_SUPPORTED) : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnCreateRNNDataDescriptor(cudnnRNNDataDescriptor_t *data) { MAKE("CreateRNNDataDescriptor", data); }
cudnnStatus_t cudnnDestroyRNNDataDescriptor(cudnnRNNDataDescriptor_t data) { END("DestroyRNNDataDescriptor", data); }
cudnnStatus_t cudnnSetRNNDataDescriptor(cudnnRNNDataDescriptor_t data, cudnnDataType_t type,
                                        cudnnRNNDataLayout_t layout, int most_steps, int batch, int width,
                                        const int lengths[], void *padding) {
    bool packed = layout == CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED && (int)type == fake_cudnn_seen.type;
    bool good = data && !padding && (packed || layout == CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED);
    *data = (struct cudnnRNNDataStruct){type, layout, batch, most_steps, width};
    fake_cudnn_seen.batch = batch;
    fake_cudnn_seen.width = width;
    fake_cudnn_seen.steps = most_steps;
    fake_cudnn_seen.length_sum = 0;
    for (int i = 0; i < batch; i++) fake_cudnn_seen.length_sum += lengths[i];
    return good ? fake_note("SetRNNDataDescriptor", -1, CUDNN_STATUS_BAD_PARAM) : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnGetRNNWeightSpaceSize(cudnnHandle_t handle, cudnnRNNDescriptor_t rnn, size_t *bytes) {
    *bytes = rnn->computes ? fake_rnn_weight_bytes(rnn) : fake_cudnn_weight_bytes[rnn->algorithm];
    return handle ? fake_note("GetRNNWeightSpaceSize", rnn->algorithm, CUDNN_STATUS_BAD_PARAM) : CUDNN_STATUS_BAD_PARAM;
}
cudnnStatus_t cudnnGetRNNTempSpaceSizes(cudnnHandle_t handle, cudnnRNNDescriptor_t rnn, cudnnForwardMode_t mode,
                                        cudnnRNNDataDescriptor_t x, size_t *work_bytes, size_t *reserve_bytes) {
    bool training = mode == CUDNN_FWD_MODE_TRAINING, good = handle && x && (training || rnn->computes);
    *work_bytes = rnn->computes ? fake_rnn_work_bytes(rnn) : fake_cudnn_work_bytes[rnn->algorithm];
    *reserve_bytes = rnn->computes ? fake_rnn_reserve_bytes(rnn, x) : fake_cudnn_reserve_bytes[rnn->algorithm];
    return good ? fake_note("GetRNNTempSpaceSizes", rnn->algorithm, CUDNN_STATUS_BAD_PARAM) : CUDNN_STATUS_BAD_PARAM;
}

/* ---- passes ---- */

/* What every pass is given, by the names of its parameters. */
#define ALL_PASSES                                                                                                     \
    .handle = handle, .rnn = rnn, .lengths = device_lengths, .x_data = x_data, .y_data = y_data, .h_state = h_state,   \
    .hx = hx, .work = work, .reserve = reserve, .weight_bytes = weight_bytes, .work_bytes = work_bytes,                \
    .reserve_bytes = reserve_bytes

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
    const fake_pass p = {ALL_PASSES,         .mode = mode, .c_state = c_state, .x = x,  .cx = cx,
                         .weights = weights, .y = y,       .hy = hy,           .cy = cy};
    if (rnn->computes) return fake_rnn_forward(&p);
    bool good = handle && mode == CUDNN_FWD_MODE_TRAINING && device_lengths && x_data && x && y_data && y && h_state &&
                hx && !hy && c_state && cx && !cy && weights && work && reserve &&
                sizes_are_own(rnn, weight_bytes, work_bytes, reserve_bytes);
    fake_cudnn_seen.x = x;
    fake_cudnn_seen.y = y;
    fake_cudnn_seen.weights = weights;
    fake_cudnn_seen.work = work;
    fake_cudnn_seen.reserve = reserve;
    fake_cudnn_seen.algorithm = rnn->algorithm;
    return good ? fake_note("RNNForward", rnn->algorithm, CUDNN_STATUS_EXECUTION_FAILED) : CUDNN_STATUS_BAD_PARAM;
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
    const fake_pass p = {ALL_PASSES,         .c_state = c_state, .cx = cx, .dy = dy,   .dhy = dhy, .dcy = dcy,
                         .weights = weights, .y = (void *)y,     .dx = dx, .dhx = dhx, .dcx = dcx};
    if (rnn->computes) return fake_rnn_backward_data(&p);
    bool good = handle && device_lengths && y_data && dy && x_data && dx && h_state && hx && !dhy && !dhx && c_state &&
                cx && !dcy && !dcx && weights == fake_cudnn_seen.weights && work == fake_cudnn_seen.work &&
                follows(rnn, y, reserve) && sizes_are_own(rnn, weight_bytes, work_bytes, reserve_bytes);
    return good ? fake_note("RNNBackwardData_v8", rnn->algorithm, CUDNN_STATUS_EXECUTION_FAILED)
                : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnRNNBackwardWeights_v8(cudnnHandle_t handle, cudnnRNNDescriptor_t rnn, cudnnWgradMode_t mode,
                                         const int32_t device_lengths[], cudnnRNNDataDescriptor_t x_data, const void *x,
                                         cudnnTensorDescriptor_t h_state, const void *hx,
                                         cudnnRNNDataDescriptor_t y_data, const void *y, size_t weight_bytes,
                                         void *weight_gradients, size_t work_bytes, void *work, size_t reserve_bytes,
                                         void *reserve) {
    const fake_pass p = {ALL_PASSES, .x = x, .y = (void *)y, .gradients = weight_gradients};
    if (rnn->computes) return mode == CUDNN_WGRAD_MODE_ADD ? fake_rnn_backward_weights(&p) : CUDNN_STATUS_BAD_PARAM;
    bool good = handle && mode == CUDNN_WGRAD_MODE_ADD && device_lengths && x_data && x == fake_cudnn_seen.x &&
                h_state && hx && y_data && weight_gradients && weight_gradients != fake_cudnn_seen.weights && work &&
                follows(rnn, y, reserve) && sizes_are_own(rnn, weight_bytes, work_bytes, reserve_bytes);
    fake_cudnn_seen.gradients = weight_gradients;
    fake_cudnn_seen.weight_bytes = weight_bytes;
    return good ? fake_note("RNNBackwardWeights_v8", rnn->algorithm, CUDNN_STATUS_EXECUTION_FAILED)
                : CUDNN_STATUS_BAD_PARAM;
}
